#include "help.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "common.h"

#include <string.h>

/* The screen that help is made for, less a line for the prompt. */
#define ROWS 23
#define COLUMNS 79

/* Where the text of an option begins. */
#define OPTION_COLUMN 33
#define LEFT_MAX 120

/* Column of the summaries in the list of commands. */
#define SUMMARY_COLUMN 15

#define VARIABLES                                                                                  \
    "Every --long-option can be given as DANEMSG_LONG_OPTION in the environment; a name in "       \
    "[brackets] is another variable for it. Times are 45s, 30m, 12h or 7d."

/* How much of a command is told. */
struct plan {
    bool all;      /* everything, however long */
    size_t own;    /* of its own options, in full */
    size_t groups; /* of its groups, in full */
    bool notes;
};

/* ------------------------------------------------------------------------------- lines of text */

/* Words, from this column on, with line breaks where the screen ends and further lines indented. */
static void put_wrapped(struct dmsg_buffer *out, const char *text, size_t column, size_t indent)
{
    bool first = true;
    while (*text != '\0') {
        size_t size = strcspn(text, " \n");
        if (!first && column + 1 + size > COLUMNS) {
            dmsg_buffer_format(out, "\n%*s", (int)indent, "");
            column = indent;
        } else if (!first) {
            dmsg_buffer_put_byte(out, ' ');
            column++;
        }
        dmsg_buffer_put(out, text, size);
        column += size;
        text += size;
        first = false;
        if (*text == ' ') {
            text++;
        } else if (*text == '\n') {
            text++;
            dmsg_buffer_format(out, "\n%*s", *text != '\0' ? (int)indent : 0, "");
            column = indent;
            first = true;
        }
    }
    dmsg_buffer_put_byte(out, '\n');
}

static void put_option(struct dmsg_buffer *out, const struct option *option)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    char left[LEFT_MAX] = "";
    const char *space = option->argument != NULL ? " " : "";
    const char *argument = option->argument != NULL ? option->argument : "";
    if (option->letter != 0 && option->name != NULL)
        snprintf(left, sizeof left, "-%c, --%s%s%s", option->letter, option->name, space, argument);
    else if (option->letter != 0)
        snprintf(left, sizeof left, "-%c%s%s", option->letter, space, argument);
    else
        snprintf(left, sizeof left, "    --%s%s%s", option->name, space, argument);
    dmsg_buffer_format(out, "  %-30s ", left);
    dmsg_buffer_put_text(&text, option->help);
    if (option->variable != NULL)
        dmsg_buffer_format(&text, " [%s]", option->variable);
    dmsg_buffer_put_byte(&text, '\0');
    size_t column = strlen(left) + 3;
    put_wrapped(out, (const char *)text.data, column > OPTION_COLUMN ? column : OPTION_COLUMN,
        OPTION_COLUMN);
}

static void put_options(struct dmsg_buffer *out, const struct option *options, size_t count)
{
    for (size_t i = 0; i < count; i++)
        put_option(out, &options[i]);
}

/* ------------------------------------------------------------------------------------ a command */

static void put_usage(struct dmsg_buffer *out, const struct command *command)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    dmsg_buffer_format(
        &text, "usage: %s%s [OPTIONS]", command->link ? "" : "danemsg ", command->name);
    size_t used = text.size + 1;
    if (command->arguments[0] != '\0')
        dmsg_buffer_format(&text, " %s", command->arguments);
    dmsg_buffer_put_byte(&text, '\0');
    put_wrapped(out, (const char *)text.data, 0, used);
    dmsg_buffer_put_byte(out, '\n');
    put_wrapped(out, command->summary, 0, 0);
}

static void put_further(struct dmsg_buffer *out, const struct command *command, size_t from)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer names = {0};
    for (size_t i = from; i < command->option_count; i++) {
        const struct option *option = &command->options[i];
        if (option->name != NULL)
            dmsg_buffer_format(&names, "%s--%s", i > from ? " " : "", option->name);
        else
            dmsg_buffer_format(&names, "%s-%c", i > from ? " " : "", option->letter);
    }
    dmsg_buffer_put_byte(&names, '\0');
    dmsg_buffer_put_text(out, "  and ");
    put_wrapped(out, (const char *)names.data, 6, 6);
}

static size_t group_count(const struct command *command)
{
    size_t count = 0;
    while (command->groups != NULL && command->groups[count].group != NULL)
        count++;
    return count;
}

/* Where what is not told here can be read. */
static void put_pointer(
    struct dmsg_buffer *out, const struct command *command, const struct plan *plan)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    size_t count = group_count(command);
    dmsg_buffer_put_text(&text, "--help-all shows ");
    for (size_t i = plan->groups; i < count; i++)
        dmsg_buffer_format(
            &text, "%s%s", i == plan->groups ? "" : ", ", command->groups[i].group->title);
    if (plan->groups < count)
        dmsg_buffer_put_text(&text, " options too, ");
    dmsg_buffer_put_text(&text, "the variables that set an option, and more.");
    dmsg_buffer_put_byte(&text, '\0');
    dmsg_buffer_put_byte(out, '\n');
    put_wrapped(out, (const char *)text.data, 0, 0);
}

static void render(struct dmsg_buffer *out, const struct command *command, const struct plan *plan)
{
    put_usage(out, command);
    if (command->option_count > 0)
        dmsg_buffer_put_byte(out, '\n');
    put_options(out, command->options, plan->own);
    if (plan->own < command->option_count)
        put_further(out, command, plan->own);
    for (size_t i = 0; i < plan->groups; i++) {
        const struct option_group *group = command->groups[i].group;
        dmsg_buffer_format(out, "\n%s\n", group->title);
        put_options(out, group->options, group->count);
    }
    if (plan->notes && command->notes != NULL) {
        dmsg_buffer_put_byte(out, '\n');
        put_wrapped(out, command->notes, 0, 0);
    }
    if (plan->all) {
        dmsg_buffer_put_byte(out, '\n');
        put_wrapped(out, VARIABLES, 0, 0);
    } else if (command->option_count > 0 || group_count(command) > 0) {
        put_pointer(out, command, plan);
    }
    dmsg_buffer_put_text(out, "\nexample: ");
    put_wrapped(out, command->example, strlen("example: "), strlen("example: "));
}

static size_t rows(const struct dmsg_buffer *text)
{
    size_t count = 0;
    for (size_t i = 0; i < text->size; i++)
        count += text->data[i] == '\n';
    return count;
}

/* The next shorter plan; false when there is none. */
static bool shorten(struct plan *plan, const struct command *command)
{
    if (plan->groups > 0)
        plan->groups--;
    else if (plan->notes && command->notes != NULL)
        plan->notes = false;
    else if (plan->own > 0)
        plan->own--;
    else
        return false;
    return true;
}

int help_command(const struct command *command, bool all, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    struct plan plan = {all, command->option_count, group_count(command), true};
    do {
        dmsg_buffer_reset(&text);
        render(&text, command, &plan);
    } while (!all && !text.failed && rows(&text) > ROWS && shorten(&plan, command));
    if (text.failed)
        return dmsg_fail_memory(error);
    return write_output(stdout, dmsg_buffer_span(&text), error);
}

/* ------------------------------------------------------------------------------- all commands */

/* Whether the command's first word is this one and another follows. */
static bool begins_with(const struct command *command, const char *word, size_t size)
{
    return strncmp(command->name, word, size) == 0 && command->name[size] == ' ';
}

/* "inbox  list | show | export | purge" for a run of commands with the same first word; the last
   of them. */
static size_t put_family(struct dmsg_buffer *out, size_t at, size_t word)
{
    const char *name = commands[at]->name;
    dmsg_buffer_format(out, "  %-*.*s%s", SUMMARY_COLUMN - 2, (int)word, name, name + word + 1);
    while (commands[at + 1] != NULL && !commands[at + 1]->link &&
           begins_with(commands[at + 1], name, word)) {
        at++;
        dmsg_buffer_format(out, " | %s", commands[at]->name + word + 1);
    }
    dmsg_buffer_put_byte(out, '\n');
    return at;
}

static void put_commands(struct dmsg_buffer *out, const char *first_word)
{
    for (size_t i = 0; commands[i] != NULL; i++) {
        const char *name = commands[i]->name;
        size_t word = strcspn(name, " ");
        if (commands[i]->link ||
            (first_word != NULL && !begins_with(commands[i], first_word, strlen(first_word))))
            continue;
        if (first_word == NULL && name[word] == ' ') {
            i = put_family(out, i, word);
            continue;
        }
        dmsg_buffer_format(
            out, "  %-*s", SUMMARY_COLUMN - 2, first_word != NULL ? name + word + 1 : name);
        put_wrapped(out, commands[i]->summary, SUMMARY_COLUMN, SUMMARY_COLUMN);
    }
}

int help_program(FILE *stream, const char *first_word, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    dmsg_buffer_format(&text, "usage: danemsg %s%s [OPTIONS] [ARGUMENTS]\n",
        first_word != NULL ? first_word : "COMMAND", first_word != NULL ? " COMMAND" : "");
    if (first_word == NULL)
        dmsg_buffer_put_text(
            &text, "Sends messages to DNS names, signed and encrypted with keys found in DNS.\n");
    dmsg_buffer_put_byte(&text, '\n');
    put_commands(&text, first_word);
    dmsg_buffer_format(&text, "\n`danemsg %s%sCOMMAND --help` shows a command's options.\n",
        first_word != NULL ? first_word : "", first_word != NULL ? " " : "");
    return write_output(stream, dmsg_buffer_span(&text), error);
}
