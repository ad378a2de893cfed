/* The table of commands for programs: manuals, completions and their checks are made of it. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "common.h"
#include "help.h"

#include <string.h>

/* Texts of options that have none. */
static void member_if(struct dmsg_buffer *out, const char *name, const char *value)
{
    if (value != NULL)
        json_member_text(out, name, value);
}

static void put_default(struct dmsg_buffer *out, const struct option *option, const char *base)
{
    int64_t value;
    if (base == NULL || (option->kind != OPTION_NUMBER && option->kind != OPTION_DURATION))
        return;
    memcpy(&value, base + option->at, sizeof value);
    if (value != 0)
        json_member_number(out, "default", value);
}

/* An option; base is the struct that holds its default, if there is one. */
static void put_option(
    struct dmsg_buffer *out, const struct option *option, const char *group, const char *base)
{
    static const char *const kinds[] = {[OPTION_FLAG] = "flag",
        [OPTION_TEXT] = "text",
        [OPTION_NUMBER] = "number",
        [OPTION_DURATION] = "duration",
        [OPTION_LIST] = "list"};
    char letter[2] = {option->letter, '\0'};
    char variable[OPTION_VARIABLE_MAX];
    dmsg_buffer_put_byte(out, '{');
    member_if(out, "name", option->name);
    member_if(out, "letter", option->letter != 0 ? letter : NULL);
    member_if(out, "argument", option->argument);
    json_member_text(out, "kind", kinds[option->kind]);
    if (option->name != NULL) {
        options_variable(variable, option->name);
        json_member_text(out, "environment", variable);
    }
    member_if(out, "variable", option->variable);
    if (option->kind == OPTION_NUMBER) {
        json_member_number(out, "least", option->least);
        json_member_number(out, "most", option->most);
    }
    put_default(out, option, base);
    member_if(out, "group", group);
    json_member_text(out, "help", option->help);
    dmsg_buffer_put_byte(out, '}');
}

static void put_options(struct dmsg_buffer *out, const struct option *options, size_t count,
    const char *group, const char *base, bool *any)
{
    for (size_t i = 0; i < count; i++) {
        if (*any)
            dmsg_buffer_put_byte(out, ',');
        put_option(out, &options[i], group, base);
        *any = true;
    }
}

static void put_command(struct dmsg_buffer *out, const struct command *command)
{
    bool any = false;
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "command", command->name);
    json_member_bool(out, "link", command->link);
    json_member_text(out, "arguments", command->arguments);
    json_member_text(out, "summary", command->summary);
    json_member_text(out, "example", command->example);
    member_if(out, "notes", command->notes);
    json_member_number(out, "least", command->least);
    json_member_number(out, "most", command->most);
    json_key(out, "options");
    dmsg_buffer_put_byte(out, '[');
    put_options(out, command->options, command->option_count, NULL, command->defaults, &any);
    for (const struct group_use *use = command->groups; use != NULL && use->group != NULL; use++)
        put_options(out, use->group->options, use->group->count, use->group->title,
            command->defaults != NULL ? (const char *)command->defaults + use->at : NULL, &any);
    dmsg_buffer_put_text(out, "]}\n");
}

int help_json(struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    for (size_t i = 0; commands[i] != NULL; i++)
        put_command(&text, commands[i]);
    for (int code = 0; code >= -DMSG_ERROR_COUNT; code--) {
        dmsg_buffer_put_byte(&text, '{');
        json_member_text(&text, "outcome", dmsg_error_word(code));
        json_member_number(&text, "status", dmsg_error_exit_status(code));
        json_member_text(&text, "meaning", dmsg_error_meaning(code));
        dmsg_buffer_put_text(&text, "}\n");
    }
    if (text.failed)
        return dmsg_fail_memory(error);
    return write_output(stdout, dmsg_buffer_span(&text), error);
}
