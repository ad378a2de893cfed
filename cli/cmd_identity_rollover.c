/* danemsg identity rollover: a new key in the place of the old one, with no message lost. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "rollover.h"

#include <string.h>

static const struct option own_options[] = {
    {.name = "key",
        .argument = "TYPE|URI",
        .kind = OPTION_TEXT,
        .at = offsetof(struct rollover_options, key),
        .help = "start: of the new key (as the old one), or which key in hardware it is"},
    {.name = "days",
        .argument = "N",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct rollover_options, days),
        .least = 1,
        .most = DMSG_DAYS_MAX,
        .help = "start: validity of its certificate (3650)"},
    {.name = "csr",
        .kind = OPTION_FLAG,
        .at = offsetof(struct rollover_options, request),
        .help = "start: a signing request in place of the certificate"},
    {.name = "single-record",
        .kind = OPTION_FLAG,
        .at = offsetof(struct rollover_options, single_record),
        .help = "start: never two records in DNS"},
    {.name = "now",
        .kind = OPTION_FLAG,
        .at = offsetof(struct rollover_options, now),
        .help = "switch, finish, abort: without waiting; says what is lost"},
    {.name = "lifetime",
        .argument = "TIME",
        .kind = OPTION_DURATION,
        .at = offsetof(struct rollover_options, lifetime),
        .least = 1,
        .help = "finish, status: what messages live that no note of is here (7d)"},
    {.name = "json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct rollover_options, json),
        .help = "status: one JSON object"},
    {.name = "state",
        .argument = "FOLDER",
        .kind = OPTION_TEXT,
        .at = offsetof(struct rollover_options, state),
        .help = "where NAME.db is"},
};

enum { START = 1, SWITCH = 2, FINISH = 4, ABORT = 8, STATUS = 16 };

static const struct action {
    const char *word;
    unsigned bit;
    int (*run)(struct rollover_run *run, struct dmsg_error *error);
} actions[] = {
    {"start", START, rollover_start},
    {"switch", SWITCH, rollover_switch},
    {"finish", FINISH, rollover_finish},
    {"abort", ABORT, rollover_abort},
    {"status", STATUS, rollover_status},
};

/* No option is taken and ignored. */
static int check_options(
    const struct rollover_options *options, const struct action *action, struct dmsg_error *error)
{
    const struct {
        bool given;
        const char *name;
        unsigned for_actions;
    } rows[] = {
        {options->key != NULL, "--key", START},
        {options->days != 0, "--days", START},
        {options->request, "--csr", START},
        {options->single_record, "--single-record", START},
        {options->now, "--now", SWITCH | FINISH | ABORT},
        {options->lifetime != 0, "--lifetime", FINISH | STATUS},
        {options->json, "--json", STATUS},
        {publishing_possible(&options->publish), "a way to publish",
            START | SWITCH | FINISH | ABORT},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        if (rows[i].given && (rows[i].for_actions & action->bit) == 0)
            return dmsg_fail(
                error, DMSG_E_USAGE, "%s does not go with %s", rows[i].name, action->word);
    }
    if (options->request && options->days != 0)
        return dmsg_fail(error, DMSG_E_USAGE,
            "--days does not go with --csr: the CA says how long its certificate is valid");
    return 0;
}

/* ------------------------------------------------------------------------------ what all need */

int rollover_save(struct rollover_run *run, struct dmsg_error *error)
{
    return dmsg_rollover_write(&run->folder, &run->own.name, &run->state, error);
}

int rollover_load(struct rollover_run *run, struct dmsg_error *error)
{
    dmsg_identity_free(&run->own.identity);
    return dmsg_identity_load(
        &run->own.identity, &run->context, run->own.folder, &run->own.name, error);
}

bool rollover_has_next(const struct rollover_run *run)
{
    for (size_t i = 0; i < dmsg_identity_key_count(run->own.identity); i++) {
        const struct dmsg_identity_key *key = dmsg_identity_key_get(run->own.identity, i);
        if (key->role == DMSG_KEY_NEXT && strcmp(key->kid, run->state.new_kid) == 0)
            return true;
    }
    return false;
}

static int complete_interrupted(struct rollover_run *run, struct dmsg_error *error)
{
    int64_t now = dmsg_context_now(&run->context);
    if (run->state.phase != DMSG_ROLLOVER_SWITCHING && run->state.phase != DMSG_ROLLOVER_ABORTING)
        return 0;
    print_note(
        run->program, "completing what was interrupted (%s)", dmsg_rollover_word(run->state.phase));
    return run->state.phase == DMSG_ROLLOVER_SWITCHING
               ? dmsg_rollover_switch(&run->folder, &run->own.name, &run->state, now, error)
               : dmsg_rollover_abort(&run->folder, &run->own.name, &run->state, now, error);
}

static int run_action(struct rollover_run *run, const struct invocation *self,
    const struct action *action, struct dmsg_error *error)
{
    int result = open_discovery(&run->discovery, &run->context, &run->options->dns, error);
    if (result == 0)
        result = own_files_find_at(&run->own, self, 1, &run->options->identity, error);
    if (result == 0)
        result = dmsg_rollover_lock(&run->folder, run->own.folder, error);
    if (result == 0)
        result = dmsg_rollover_read(&run->state, &run->folder, &run->own.name, error);
    if (result >= 0)
        result = complete_interrupted(run, error);
    if (result == 0)
        result = rollover_load(run, error);
    return result == 0 ? action->run(run, error) : result;
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    struct rollover_options *options = self->options;
    const struct action *action = NULL;
    options->key = own_key_wanted(options->key);
    for (size_t i = 0; i < COUNT(actions); i++) {
        if (strcmp(self->arguments[0], actions[i].word) == 0)
            action = &actions[i];
    }
    if (action == NULL)
        return dmsg_fail(error, DMSG_E_USAGE,
            "'%s' is none of start, switch, finish, abort, status", self->arguments[0]);
    int result = check_options(options, action, error);
    if (result < 0)
        return result;
    char program[80];
    snprintf(program, sizeof program, "%s %s", self->program, action->word);
    struct rollover_run run = {.program = program, .options = options, .folder = DMSG_FOLDER_NONE};
    result = run_action(&run, self, action, error);
    dmsg_peer_release(run.peer);
    own_files_done(&run.own);
    dmsg_folder_done(&run.folder);
    dmsg_discovery_free(&run.discovery);
    return result;
}

static const struct rollover_options defaults = {.publish = PUBLISH_DEFAULTS};

const struct command cmd_identity_rollover = {
    .name = "identity rollover",
    .arguments = "start|switch|finish|abort|status [NAME]",
    .summary =
        "Roll an own key over: a next one beside it, then in its place, then the old one out.",
    .notes = "start    makes the next key, and publishes both or prints what to publish.\n"
             "switch   signs with it, as soon as no cache can hold an answer without it.\n"
             "finish   takes the old record out when what the old key signed has expired;\n"
             "         30 days and a TTL later, again, it deletes the old private key.\n"
             "abort    takes the next key back, before the switch.\n"
             "status   says what waits for what. A step before its time changes nothing and\n"
             "         ends with 4.",
    .example = "danemsg identity rollover start --rfc2136 192.0.2.53 --tsig alice.tsig",
    .options = own_options,
    .option_count = COUNT(own_options),
    .groups =
        (const struct group_use[]){{&subject_group, offsetof(struct rollover_options, subject)},
            {&publish_group, offsetof(struct rollover_options, publish)},
            {&identity_group, offsetof(struct rollover_options, identity)},
            {&dns_group, offsetof(struct rollover_options, dns)}, {0}},
    .size = sizeof(struct rollover_options),
    .defaults = &defaults,
    .least = 1,
    .most = 2,
    .run = run,
};
