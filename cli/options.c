#include "options.h"

#include "base/fail.h"
#include "command.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WHITE_SPACE " \t\n"

/* One option of a command, in whichever table it stands. */
struct found {
    const struct option *option;
    void *value;
};

/* The tables of a command one after the other: its own, then those of its groups. */
static bool table_at(const struct invocation *self, size_t index, const struct option **options,
    size_t *count, char **base)
{
    const struct command *command = self->command;
    *base = self->options;
    if (index == 0) {
        *options = command->options;
        *count = command->option_count;
        return true;
    }
    if (command->groups == NULL || command->groups[index - 1].group == NULL)
        return false;
    const struct group_use *use = &command->groups[index - 1];
    *options = use->group->options;
    *count = use->group->count;
    *base += use->at;
    return true;
}

static struct found find(
    const struct invocation *self, const char *name, size_t name_size, char letter)
{
    const struct option *options;
    size_t count;
    char *base;
    for (size_t table = 0; table_at(self, table, &options, &count, &base); table++) {
        for (size_t i = 0; i < count; i++) {
            const struct option *option = &options[i];
            bool same = letter != 0 ? option->letter == letter
                                    : option->name != NULL && strlen(option->name) == name_size &&
                                          strncmp(option->name, name, name_size) == 0;
            if (same)
                return (struct found){option, base + option->at};
        }
    }
    return (struct found){0};
}

static int list_add(struct text_list *list, const char *text, struct dmsg_error *error)
{
    const char **items = realloc(list->items, (list->count + 1) * sizeof *items);
    if (items == NULL)
        return dmsg_fail_memory(error);
    items[list->count++] = text;
    list->items = items;
    return 0;
}

static int read_number(int64_t *out, const char *text, char **end)
{
    errno = 0;
    if (!isdigit((unsigned char)text[0]) && text[0] != '-')
        return -1;
    long long value = strtoll(text, end, 10);
    if (errno != 0)
        return -1;
    *out = value;
    return 0;
}

static int read_duration(int64_t *out, const char *text)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = {{'\0', 1}, {'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
    char *end;
    if (read_number(out, text, &end) < 0 || *out < 0 || (end[0] != '\0' && end[1] != '\0'))
        return -1;
    for (size_t i = 0; i < COUNT(units); i++) {
        if (end[0] == units[i].unit)
            return __builtin_mul_overflow(*out, units[i].seconds, out) ? -1 : 0;
    }
    return -1;
}

static int set(
    const struct found *found, const char *text, const char *called, struct dmsg_error *error)
{
    const struct option *option = found->option;
    int64_t number;
    char *end;
    switch (option->kind) {
    case OPTION_FLAG:
        *(bool *)found->value = true;
        return 0;
    case OPTION_TEXT:
        *(const char **)found->value = text;
        return 0;
    case OPTION_LIST:
        return list_add(found->value, text, error);
    case OPTION_NUMBER:
        if (read_number(&number, text, &end) < 0 || *end != '\0' || number < option->least ||
            number > option->most)
            return dmsg_fail(error, DMSG_E_USAGE, "%s wants a number from %lld to %lld, not '%s'",
                called, (long long)option->least, (long long)option->most, text);
        *(int64_t *)found->value = number;
        return 0;
    case OPTION_DURATION:
        if (read_duration(&number, text) < 0 || number < option->least)
            return dmsg_fail(error, DMSG_E_USAGE,
                "%s wants a time such as 45s, 30m, 12h or 7d, not '%s'", called, text);
        *(int64_t *)found->value = number;
        return 0;
    }
    return dmsg_fail(error, DMSG_E_INTERNAL, "%s is of no known kind", called);
}

/* ---------------------------------------------------------------------------- environment */

void options_variable(char out[static OPTION_VARIABLE_MAX], const char *option)
{
    snprintf(out, OPTION_VARIABLE_MAX, "DANEMSG_%s", option);
    for (char *c = out; *c != '\0'; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
}

static int set_flag(
    const struct found *found, const char *value, const char *variable, struct dmsg_error *error)
{
    static const char *const no[] = {"0", "no", "false", "off"};
    static const char *const yes[] = {"1", "yes", "true", "on"};
    for (size_t i = 0; i < COUNT(no); i++) {
        if (strcasecmp(value, no[i]) == 0) {
            *(bool *)found->value = false;
            return 0;
        }
    }
    for (size_t i = 0; i < COUNT(yes); i++) {
        if (strcasecmp(value, yes[i]) == 0) {
            *(bool *)found->value = true;
            return 0;
        }
    }
    return dmsg_fail(error, DMSG_E_USAGE, "%s wants 1 or 0, not '%s'", variable, value);
}

static int set_list(const struct found *found, const char *value, struct dmsg_error *error)
{
    struct text_list *list = found->value;
    char *position;
    list->copy = strdup(value);
    if (list->copy == NULL)
        return dmsg_fail_memory(error);
    for (char *item = strtok_r(list->copy, WHITE_SPACE, &position); item != NULL;
         item = strtok_r(NULL, WHITE_SPACE, &position)) {
        if (list_add(list, item, error) < 0)
            return DMSG_E_INTERNAL;
    }
    return 0;
}

static int set_from(
    const struct found *found, const char *variable, const char *value, struct dmsg_error *error)
{
    if (found->option->kind == OPTION_FLAG)
        return set_flag(found, value, variable, error);
    if (found->option->kind == OPTION_LIST)
        return set_list(found, value, error);
    return set(found, value, variable, error);
}

static bool fits(const struct option *option, const char *value)
{
    int64_t number;
    bool flag;
    if (option->kind == OPTION_FLAG)
        return set_flag(&(struct found){option, &flag}, value, "", NULL) == 0;
    return (option->kind == OPTION_NUMBER || option->kind == OPTION_DURATION) &&
           set(&(struct found){option, &number}, value, "", NULL) == 0;
}

static bool is_of_table(
    const struct option *option, const char *value, const struct option *others, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (others[i].name != NULL && strcmp(others[i].name, option->name) == 0 &&
            others[i].kind != option->kind && fits(&others[i], value))
            return true;
    }
    return false;
}

/* One file of variables may serve a receiver and a sender (systemd's EnvironmentFile). What makes
   no sense here, and does as an option of the same name of another kind, is that command's:
   --retain is a time for receive, and a flag for send as in mosquitto_pub. */
static bool is_for_another(const struct option *option, const char *value)
{
    for (size_t i = 0; commands[i] != NULL; i++) {
        const struct group_use *use = commands[i]->groups;
        if (is_of_table(option, value, commands[i]->options, commands[i]->option_count))
            return true;
        for (; use != NULL && use->group != NULL; use++) {
            if (is_of_table(option, value, use->group->options, use->group->count))
                return true;
        }
    }
    return false;
}

/* A compose file that passes on an unset variable passes an empty text. */
static const char *get_variable(const char *name)
{
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

/* In a command of `receive --exec` these tell of its message. They are no options then: a reply
   with `danemsg send` must not go where the message came from. */
static bool tells_of_a_message(const char *variable)
{
    static const char *const names[] = {"DANEMSG_ID", "DANEMSG_CONTENT_TYPE", "DANEMSG_TOPIC"};
    if (getenv("DANEMSG_SENDER") == NULL)
        return false;
    for (size_t i = 0; i < COUNT(names); i++) {
        if (strcmp(variable, names[i]) == 0)
            return true;
    }
    return false;
}

static int set_from_environment(const struct option *option, char *base, struct dmsg_error *error)
{
    char name[OPTION_VARIABLE_MAX];
    struct found found = {option, base + option->at};
    if (option->name == NULL)
        return 0;
    options_variable(name, option->name);
    const char *value = tells_of_a_message(name) ? NULL : get_variable(name);
    if (value != NULL) {
        int result = set_from(&found, name, value, error);
        return result == DMSG_E_USAGE && is_for_another(option, value) ? 0 : result;
    }
    value = option->variable != NULL ? get_variable(option->variable) : NULL;
    return value != NULL ? set_from(&found, option->variable, value, error) : 0;
}

static int read_environment(const struct invocation *self, struct dmsg_error *error)
{
    const struct option *options;
    size_t count;
    char *base;
    for (size_t table = 0; table_at(self, table, &options, &count, &base); table++) {
        for (size_t i = 0; i < count; i++) {
            int result = set_from_environment(&options[i], base, error);
            if (result < 0)
                return result;
        }
    }
    return 0;
}

/* ---------------------------------------------------------------------------- command line */

struct reader {
    struct invocation *self;
    int argc, next;
    char **argv;
    const struct option *lists[16]; /* lists that flags have begun */
    size_t list_count;
};

/* A list given by flags replaces the environment's. */
static void begin_list(struct reader *reader, const struct found *found)
{
    for (size_t i = 0; i < reader->list_count; i++) {
        if (reader->lists[i] == found->option)
            return;
    }
    if (reader->list_count < COUNT(reader->lists))
        reader->lists[reader->list_count++] = found->option;
    ((struct text_list *)found->value)->count = 0;
}

static int take_value(struct reader *reader, const struct found *found, const char *attached,
    const char *called, struct dmsg_error *error)
{
    if (found->option->kind == OPTION_LIST)
        begin_list(reader, found);
    if (attached == NULL) {
        if (reader->next >= reader->argc)
            return dmsg_fail(
                error, DMSG_E_USAGE, "%s wants a value (%s)", called, found->option->argument);
        attached = reader->argv[reader->next++];
    }
    return set(found, attached, called, error);
}

static int read_long(
    struct reader *reader, const char *text, enum help *help, struct dmsg_error *error)
{
    const char *name = text + 2;
    const char *equals = strchr(name, '=');
    size_t size = equals != NULL ? (size_t)(equals - name) : strlen(name);
    struct found found = find(reader->self, name, size, 0);
    char called[OPTION_VARIABLE_MAX];
    if (strcmp(text, "--help") == 0 || strcmp(text, "--help-all") == 0) {
        *help = strcmp(text, "--help") == 0 ? HELP_SHORT : HELP_ALL;
        return 0;
    }
    snprintf(called, sizeof called, "--%.*s", (int)(size < 60 ? size : 60), name);
    if (found.option == NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "there is no option %s", called);
    if (found.option->kind != OPTION_FLAG)
        return take_value(reader, &found, equals != NULL ? equals + 1 : NULL, called, error);
    if (equals != NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "%s takes no value", called);
    return set(&found, NULL, called, error);
}

static int read_letters(struct reader *reader, const char *text, struct dmsg_error *error)
{
    for (const char *letter = text + 1; *letter != '\0'; letter++) {
        char called[3] = {'-', *letter, '\0'};
        struct found found = find(reader->self, NULL, 0, *letter);
        if (found.option == NULL)
            return dmsg_fail(error, DMSG_E_USAGE, "there is no option %s", called);
        if (found.option->kind != OPTION_FLAG)
            return take_value(reader, &found, letter[1] != '\0' ? letter + 1 : NULL, called, error);
        int result = set(&found, NULL, called, error);
        if (result < 0)
            return result;
    }
    return 0;
}

static int check_arguments(const struct invocation *self, struct dmsg_error *error)
{
    const struct command *command = self->command;
    if (self->argument_count < command->least)
        return dmsg_fail(
            error, DMSG_E_USAGE, "arguments are missing: %s %s", self->program, command->arguments);
    if (self->argument_count > command->most)
        return dmsg_fail(error, DMSG_E_USAGE, "there is no place for '%s': %s%s%s",
            self->arguments[command->most], self->program, *command->arguments != '\0' ? " " : "",
            command->arguments);
    return 0;
}

int options_parse(
    struct invocation *self, int argc, char **argv, enum help *help, struct dmsg_error *error)
{
    struct reader reader = {.self = self, .argc = argc, .next = 1, .argv = argv};
    struct dmsg_error variables;
    bool ended = false;
    int result = 0;

    self->arguments = calloc((size_t)argc + 1, sizeof *self->arguments);
    if (self->arguments == NULL)
        return dmsg_fail_memory(error);
    int environment = read_environment(self, &variables);
    while (result == 0 && *help == HELP_NONE && reader.next < argc) {
        char *text = argv[reader.next++];
        if (!ended && strcmp(text, "--") == 0)
            ended = true;
        else if (!ended && text[0] == '-' && text[1] == '-')
            result = read_long(&reader, text, help, error);
        else if (!ended && text[0] == '-' && text[1] != '\0')
            result = read_letters(&reader, text, error);
        else
            self->arguments[self->argument_count++] = text;
    }
    if (result < 0 || *help != HELP_NONE)
        return result;
    if (environment < 0) { /* which keeps nobody from --help */
        *error = variables;
        return environment;
    }
    return check_arguments(self, error);
}

void options_done(struct invocation *self)
{
    const struct option *options;
    size_t count;
    char *base;
    for (size_t table = 0; table_at(self, table, &options, &count, &base); table++) {
        for (size_t i = 0; i < count; i++) {
            struct text_list *list = (void *)(base + options[i].at);
            if (options[i].kind == OPTION_LIST) {
                free(list->items);
                free(list->copy);
            }
        }
    }
    free(self->arguments);
}
