/* danemsg outbox: what waits to be published. */
#include "base/fail.h"
#include "base/utf8.h"
#include "publisher.h"
#include "queueing.h"

#define WAIT_DEFAULT 30

struct outbox {
    struct identity_options identity;
    struct broker_options broker;
    struct dns_options dns;
    const char *state;
    bool json, expired, all, force;
    int64_t wait;
};

static const char *const state_words[] = {[DMSG_OUTGOING_OPEN] = "unsealed",
    [DMSG_OUTGOING_SEALED] = "sealed",
    [DMSG_OUTGOING_STUCK] = "unsealable"};

#define STATE_OPTION                                                                               \
    {                                                                                              \
        .name = "state", .argument = "FOLDER", .kind = OPTION_TEXT,                                \
        .at = offsetof(struct outbox, state), .help = "where the outbox's database is kept"        \
    }

/* ---------------------------------------------------------------------------------------- list */

static void put_json(struct dmsg_buffer *out, const struct dmsg_outgoing *message)
{
    dmsg_buffer_put_byte(out, '{');
    json_member_number(out, "row", message->row);
    json_member_text(out, "state", state_words[message->state]);
    json_member_text(out, "recipient", message->recipient.text);
    if (message->id[0] != '\0')
        json_member_text(out, "id", message->id);
    json_member_text(out, "topic", message->topic);
    if (message->content_type[0] != '\0')
        json_member_text(out, "content_type", message->content_type);
    json_member_number(out, "size", (int64_t)message->content.size);
    json_member_number(out, "qos", message->qos);
    json_member_bool(out, "retain", message->retain);
    json_member_number(out, "queued_at", message->queued_at);
    json_member_number(out, "expires_at", message->expires_at);
    json_member_number(out, "attempts", message->attempts);
    if (message->due_at > 0)
        json_member_number(out, "due_at", message->due_at);
    if (message->reason[0] != '\0')
        json_member_text(out, "reason", message->reason);
    dmsg_buffer_put_text(out, "}\n");
}

static void put_line(struct dmsg_buffer *out, const struct dmsg_outgoing *message)
{
    char queued[32], expires[32];
    time_text(queued, message->queued_at);
    time_text(expires, message->expires_at);
    dmsg_buffer_format(out, "%6lld  %s  %s  %s  %s  %zu  %lld  until %s", (long long)message->row,
        queued, state_words[message->state], message->recipient.text,
        message->id[0] != '\0' ? message->id : "-", message->content.size,
        (long long)message->attempts, expires);
    if (message->reason[0] != '\0') {
        dmsg_buffer_put_text(out, "  ");
        dmsg_text_escape(out, dmsg_span_text(message->reason), true);
    }
    dmsg_buffer_put_byte(out, '\n');
}

/* Each is read by itself, so that a slow reader holds nobody up. */
static int list(struct dmsg_outbox *outbox, bool json, struct dmsg_error *error)
{
    struct dmsg_buffer out = {0};
    struct dmsg_outgoing message = {0};
    int result = 1;
    while ((result = dmsg_outbox_list(outbox, message.row, &message, error)) == 1) {
        dmsg_buffer_reset(&out);
        if (json)
            put_json(&out, &message);
        else
            put_line(&out, &message);
        result = out.failed ? dmsg_fail_memory(error)
                            : write_output(stdout, dmsg_buffer_span(&out), error);
        if (result < 0)
            break;
    }
    dmsg_buffer_done(&out);
    return result;
}

static int open_own(struct dmsg_outbox **out, const struct dmsg_context *context,
    const struct outbox *options, enum outbox_mode mode, struct dmsg_error *error)
{
    struct dmsg_name name;
    int result = own_name(&name, &options->identity, error);
    return result < 0 ? result : open_outbox(out, context, options->state, &name, mode, error);
}

static int run_list(struct invocation *self, struct dmsg_error *error)
{
    const struct dmsg_context context = {0};
    const struct outbox *options = self->options;
    struct dmsg_outbox *outbox = NULL;
    int result = open_own(&outbox, &context, options, OUTBOX_LOOK, error);
    if (result == 0)
        result = list(outbox, options->json, error);
    dmsg_outbox_close(&outbox);
    return result;
}

/* --------------------------------------------------------------------------------------- flush */

static int run_flush(struct invocation *self, struct dmsg_error *error)
{
    const struct outbox *options = self->options;
    const struct publisher_options how = {.broker = &options->broker,
        .identity = &options->identity,
        .dns = &options->dns,
        .state = options->state,
        .once = true,
        .wait = options->wait};
    return publisher_run(self->program, &how, error);
}

/* --------------------------------------------------------------------------------------- purge */

/* What the command line names. */
struct choice {
    const struct outbox *options;
    char **rows;
    int row_count;
    int64_t now;
};

static bool is_chosen(const struct choice *choice, const struct dmsg_outgoing *message)
{
    int64_t row;
    if (choice->options->all)
        return true;
    if (choice->options->expired)
        return message->expires_at <= choice->now;
    for (int i = 0; i < choice->row_count; i++) {
        if (row_from(&row, choice->rows[i], "outbox list", NULL) == 0 && row == message->row)
            return true;
    }
    return false;
}

/* Counts, or takes out, in a transaction. */
static int purge(struct dmsg_outbox *outbox, const struct choice *choice, int64_t *count,
    struct dmsg_error *error)
{
    struct dmsg_outgoing message = {0};
    int result = 1;
    while ((result = dmsg_outbox_list(outbox, message.row, &message, error)) == 1) {
        enum dmsg_outgoing_end end =
            message.expires_at <= choice->now ? DMSG_OUTGOING_EXPIRED : DMSG_OUTGOING_DROPPED;
        if (!is_chosen(choice, &message))
            continue;
        ++*count;
        if (choice->options->force)
            result = dmsg_outbox_remove(outbox, message.row, end, error);
        if (result < 0)
            return result;
    }
    return result;
}

static int check_purge(
    const struct invocation *self, const struct outbox *options, struct dmsg_error *error)
{
    int64_t row;
    int ways = options->all + options->expired + (self->argument_count > 0);
    if (ways != 1)
        return dmsg_fail(error, DMSG_E_USAGE, "--all, --expired or ROW ..., one of them");
    for (int i = 0; i < self->argument_count; i++) {
        int result = row_from(&row, self->arguments[i], "outbox list", error);
        if (result < 0)
            return result;
    }
    return 0;
}

static int run_purge(struct invocation *self, struct dmsg_error *error)
{
    const struct dmsg_context context = {0};
    const struct outbox *options = self->options;
    const struct choice choice = {
        options, self->arguments, self->argument_count, dmsg_context_now(&context)};
    struct dmsg_outbox *outbox = NULL;
    int64_t count = 0;
    int result = check_purge(self, options, error);
    if (result == 0)
        result = open_own(
            &outbox, &context, options, options->force ? OUTBOX_CHANGE : OUTBOX_LOOK, error);
    if (result == 0 && options->force)
        result = dmsg_outbox_begin(outbox, true, error);
    if (result == 0)
        result = purge(outbox, &choice, &count, error);
    if (result == 0 && options->force)
        result = dmsg_outbox_commit(outbox, error);
    dmsg_outbox_close(&outbox);
    if (result == 0)
        printf(options->force ? "%lld message(s) taken away, unsent\n"
                              : "%lld message(s) would be taken away, unsent; --force does it\n",
            (long long)count);
    return result;
}

/* ------------------------------------------------------------------------------------ commands */

static const struct option list_options[] = {{.name = "json",
                                                 .kind = OPTION_FLAG,
                                                 .at = offsetof(struct outbox, json),
                                                 .help = "an object a line"},
    STATE_OPTION};
static const struct option flush_options[] = {
    {.letter = 'W',
        .name = "wait",
        .argument = "SECONDS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct outbox, wait),
        .least = 1,
        .most = 86400,
        .help = "without progress, and it is given up (30)"},
    STATE_OPTION};
static const struct option purge_options[] = {{.name = "expired",
                                                  .kind = OPTION_FLAG,
                                                  .at = offsetof(struct outbox, expired),
                                                  .help = "those that nobody would read any more"},
    {.name = "all", .kind = OPTION_FLAG, .at = offsetof(struct outbox, all), .help = "all of them"},
    {.name = "force",
        .kind = OPTION_FLAG,
        .at = offsetof(struct outbox, force),
        .help = "do it, and not only count them"},
    STATE_OPTION};

#define GROUPS                                                                                     \
    (const struct group_use[])                                                                     \
    {                                                                                              \
        {&identity_group, offsetof(struct outbox, identity)},                                      \
        {                                                                                          \
            0                                                                                      \
        }                                                                                          \
    }

const struct command cmd_outbox_list = {
    .name = "outbox list",
    .arguments = "",
    .summary = "List what waits to be published.",
    .notes =
        "Row, time of queueing, state, recipient, id, octets, failed attempts, expiry, and why "
        "the last attempt failed.",
    .example = "danemsg outbox list --identity alice.example.net",
    .options = list_options,
    .option_count = COUNT(list_options),
    .groups = GROUPS,
    .size = sizeof(struct outbox),
    .run = run_list,
};

static const struct outbox flush_defaults = {.wait = WAIT_DEFAULT};

const struct command cmd_outbox_flush = {
    .name = "outbox flush",
    .arguments = "",
    .summary = "Publish what `danemsg send --queue` has put into the outbox.",
    .notes =
        "Done when the outbox is empty. Each message is tried; what the broker refuses, or has "
        "no key in DNS, stays, and the exit status is the first failure's. For a timer; to "
        "publish at once what is queued, run `danemsg send --daemon` in its place.",
    .example = "danemsg outbox flush --identity alice.example.net",
    .options = flush_options,
    .option_count = COUNT(flush_options),
    .groups = (const struct group_use[]){{&broker_group, offsetof(struct outbox, broker)},
        {&identity_group, offsetof(struct outbox, identity)},
        {&dns_group, offsetof(struct outbox, dns)}, {0}},
    .size = sizeof(struct outbox),
    .defaults = &flush_defaults,
    .run = run_flush,
};

const struct command cmd_outbox_purge = {
    .name = "outbox purge",
    .arguments = "--expired | --all | ROW ...",
    .summary = "Take messages away that were not sent.",
    .notes = "One that is on its way to the broker at this moment may still arrive.",
    .example = "danemsg outbox purge --expired --force --identity alice.example.net",
    .options = purge_options,
    .option_count = COUNT(purge_options),
    .groups = GROUPS,
    .size = sizeof(struct outbox),
    .most = 100,
    .run = run_purge,
};
