/* cli: options from the command line and the environment. */
#include "base/fail.h"
#include "cli/command.h"
#include "test.h"

#include <stdlib.h>

struct group {
    const char *name;
};

struct values {
    bool flag, other;
    const char *text, *topic;
    int64_t number, time;
    struct text_list list;
    struct group group;
};

static const struct option group_options[] = {{.letter = 'g',
    .name = "group",
    .argument = "NAME",
    .kind = OPTION_TEXT,
    .at = offsetof(struct group, name),
    .variable = "POC_GROUP",
    .help = "group"}};
static const struct option_group group = {"Group", group_options, 1};

static const struct option options[] = {
    {.letter = 'a',
        .name = "flag",
        .kind = OPTION_FLAG,
        .at = offsetof(struct values, flag),
        .help = "flag"},
    {.letter = 'b',
        .name = "other",
        .kind = OPTION_FLAG,
        .at = offsetof(struct values, other),
        .help = "other"},
    {.letter = 't',
        .name = "some-text",
        .argument = "TEXT",
        .kind = OPTION_TEXT,
        .at = offsetof(struct values, text),
        .help = "text"},
    {.name = "topic",
        .argument = "TEXT",
        .kind = OPTION_TEXT,
        .at = offsetof(struct values, topic),
        .help = "topic"},
    {.letter = 'n',
        .name = "number",
        .argument = "N",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct values, number),
        .least = 1,
        .most = 100,
        .help = "number"},
    {.name = "time",
        .argument = "TIME",
        .kind = OPTION_DURATION,
        .at = offsetof(struct values, time),
        .help = "time"},
    {.letter = 'l',
        .name = "list",
        .argument = "ITEM",
        .kind = OPTION_LIST,
        .at = offsetof(struct values, list),
        .help = "list"},
};

static const struct command command = {.name = "test",
    .arguments = "[A [B]]",
    .summary = "s",
    .example = "e",
    .options = options,
    .option_count = COUNT(options),
    .groups = (const struct group_use[]){{&group, offsetof(struct values, group)}, {0}},
    .size = sizeof(struct values),
    .most = 2};

/* Another command, to which the same words mean something else. */
static const struct option others[] = {
    {.name = "flag", .kind = OPTION_DURATION, .help = "time"},
};
static const struct command other = {.name = "other",
    .options = (const struct option[]){{.name = "number", .kind = OPTION_FLAG, .help = "flag"}},
    .option_count = 1,
    .groups =
        (const struct group_use[]){{&(const struct option_group){"Others", others, 1}, 0}, {0}}};
const struct command *const commands[] = {&command, &other, NULL};

static struct values values;
static struct invocation self;
static enum help help;
static struct dmsg_error error;

#define ARGUMENTS_MAX 12

/* Words separated by spaces; the result stays until the next call. */
static int parse(const char *line)
{
    static char copy[300];
    static char *argv[ARGUMENTS_MAX + 1];
    int argc = 1;
    options_done(&self);
    values = (struct values){.number = 7};
    self = (struct invocation){.command = &command, .program = "test", .options = &values};
    help = HELP_NONE;
    argv[0] = (char *)(uintptr_t) "test";
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word != NULL && argc < ARGUMENTS_MAX;
         word = strtok(NULL, " "))
        argv[argc++] = word;
    argv[argc] = NULL;
    return options_parse(&self, argc, argv, &help, &error);
}

static void begin(void)
{
    self = (struct invocation){.command = &command, .options = &values};
    CHECK(parse("") == 0 && values.number == 7 && self.argument_count == 0);
}

static void flags_and_values(void)
{
    CHECK(parse("-ab -t x --number 5 --time=2h one two") == 0);
    CHECK(values.flag && values.other && strcmp(values.text, "x") == 0);
    CHECK(values.number == 5 && values.time == 7200 && self.argument_count == 2);
    CHECK(strcmp(self.arguments[1], "two") == 0);
    CHECK(parse("-abtx -n5") == 0 && values.other && strcmp(values.text, "x") == 0);
    CHECK(values.number == 5);
    CHECK(parse("--some-text= -g h") == 0 && values.text[0] == '\0');
    CHECK(strcmp(values.group.name, "h") == 0);
    CHECK(parse("-l one --list two --list=three") == 0 && values.list.count == 3);
    CHECK(strcmp(values.list.items[2], "three") == 0);
    CHECK(parse("-- -a --flag") == 0 && !values.flag && self.argument_count == 2);
    CHECK(parse("-") == 0 && self.argument_count == 1);
    CHECK(parse("-a --help --nonsense") == 0 && help == HELP_SHORT);
    CHECK(parse("-a --help-all --nonsense") == 0 && help == HELP_ALL);
    CHECK(parse("-t --help") == 0 && !help && strcmp(values.text, "--help") == 0);
    CHECK(parse("-- --help") == 0 && !help && self.argument_count == 1);
    CHECK(parse("-t x --") == 0 && strcmp(values.text, "x") == 0);
}

static void refused(void)
{
    static const char *const lines[] = {"-z", "--nonsense", "-t", "--some-text", "--flag=1",
        "--fla", "-n 0", "-n 101", "-n 5x", "-n x", "-n 99999999999999999999", "-n -5", "--time 5w",
        "--time x", "--time -5s", "--time 5hh", "--time 9999999999999999d", "one two three", "-ax"};
    for (size_t i = 0; i < COUNT(lines); i++)
        CHECK_ROW(parse(lines[i]) == DMSG_E_USAGE, "%s", lines[i]);
}

static void durations(void)
{
    static const struct {
        const char *line;
        int64_t seconds;
    } rows[] = {{"--time 0", 0}, {"--time 45", 45}, {"--time 45s", 45}, {"--time 30m", 1800},
        {"--time 12h", 43200}, {"--time 7d", 604800}};
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK_ROW(parse(rows[i].line) == 0 && values.time == rows[i].seconds, "%s", rows[i].line);
}

static void environment(void)
{
    setenv("DANEMSG_SOME_TEXT", "env", 1);
    setenv("DANEMSG_FLAG", "1", 1);
    setenv("DANEMSG_LIST", "one  two", 1);
    setenv("DANEMSG_NUMBER", "", 1);
    setenv("POC_GROUP", "poc", 1);
    CHECK(parse("") == 0 && values.flag && strcmp(values.text, "env") == 0);
    CHECK(values.list.count == 2 && strcmp(values.list.items[1], "two") == 0);
    CHECK(values.number == 7 && strcmp(values.group.name, "poc") == 0);
    CHECK(parse("-t flag -l three -l four") == 0 && strcmp(values.text, "flag") == 0);
    CHECK(values.list.count == 2 && strcmp(values.list.items[0], "three") == 0);
    setenv("DANEMSG_GROUP", "own", 1);
    CHECK(parse("") == 0 && strcmp(values.group.name, "own") == 0);
    setenv("DANEMSG_FLAG", "no", 1);
    CHECK(parse("") == 0 && !values.flag);
    setenv("DANEMSG_FLAG", "perhaps", 1);
    CHECK(parse("") == DMSG_E_USAGE && strstr(error.text, "DANEMSG_FLAG") != NULL);
    setenv("DANEMSG_FLAG", "0", 1);
    setenv("DANEMSG_NUMBER", "many", 1);
    CHECK(parse("") == DMSG_E_USAGE && strstr(error.text, "DANEMSG_NUMBER") != NULL);
    setenv("DANEMSG_NUMBER", "yes", 1);
    CHECK(parse("") == 0 && values.number == 7); /* the other command's */
    setenv("DANEMSG_FLAG", "90d", 1);
    CHECK(parse("") == 0 && !values.flag);
    setenv("DANEMSG_FLAG", "90x", 1);
    CHECK(parse("") == DMSG_E_USAGE && strstr(error.text, "DANEMSG_FLAG") != NULL);
    CHECK(parse("--help") == 0 && help == HELP_SHORT); /* whatever the environment holds */
    unsetenv("DANEMSG_FLAG");
    unsetenv("DANEMSG_NUMBER");
    CHECK(parse("") == 0);
    setenv("DANEMSG_GROUP", "", 1);
    CHECK(parse("") == 0 && strcmp(values.group.name, "poc") == 0);
}

/* What tells a command of `receive --exec` about its message is no option there. */
static void environment_of_a_message(void)
{
    setenv("DANEMSG_TOPIC", "theirs", 1);
    CHECK(parse("") == 0 && strcmp(values.topic, "theirs") == 0);
    setenv("DANEMSG_SENDER", "alice.example", 1);
    CHECK(parse("") == 0 && values.topic == NULL);
    CHECK(parse("--topic mine") == 0 && strcmp(values.topic, "mine") == 0);
    unsetenv("DANEMSG_SENDER");
    unsetenv("DANEMSG_TOPIC");
}

static void end(void)
{
    options_done(&self);
    self = (struct invocation){.command = &command, .options = &values};
    CHECK(self.arguments == NULL);
}

TEST_MAIN(TEST(begin), TEST(flags_and_values), TEST(refused), TEST(durations), TEST(environment),
    TEST(environment_of_a_message), TEST(end))
