/* danemsg open: decrypt and verify standard input, no broker. */
#include "base/fail.h"
#include "common.h"
#include "danemsg/message.h"
#include "open_store.h"
#include "patterns.h"
#include "show.h"

#include <stdlib.h>
#include <string.h>

struct open_options {
    const char *from;
    const char *state;
    struct text_list accept_poc;
    int64_t size_limit;
    bool json;
    struct identity_options identity;
    struct dns_options dns;
};

static const struct option options_table[] = {
    {.name = "from",
        .argument = "NAME",
        .kind = OPTION_TEXT,
        .at = offsetof(struct open_options, from),
        .help = "insist on this sender"},
    {.name = "state",
        .argument = "FOLDER",
        .kind = OPTION_TEXT,
        .at = offsetof(struct open_options, state),
        .help = "refuse what was seen before: a database there remembers (only as an option)"},
    {.name = "accept-poc",
        .argument = "PATTERN",
        .kind = OPTION_LIST,
        .at = offsetof(struct open_options, accept_poc),
        .help = "read the proof of concept's format from these senders"},
    {.name = "max-message-size",
        .argument = "OCTETS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct open_options, size_limit),
        .least = 1,
        .most = INPUT_MAX,
        .variable = "MAX_MESSAGE_SIZE",
        .help = "on the wire (65536)"},
    {.name = "json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct open_options, json),
        .help = "payload and what is known of it, as one JSON object"},
};

/* ------------------------------------------------------------------------------ seen before? */

/* The variable is there for receivers; who opens a file for a look must not use it up by that. */
static bool is_remembered(const struct open_options *options)
{
    return options->state != NULL && options->state != getenv("DANEMSG_STATE");
}

static bool sent_v1(void *user, const struct dmsg_name *sender)
{
    return dmsg_store_sent_v1(user, sender);
}

static int open_memory(struct dmsg_store **out, const struct open_options *options,
    const struct dmsg_context *context, const struct dmsg_name *me, struct dmsg_error *error)
{
    const struct store_choice choice = {.state = options->state};
    return is_remembered(options) ? open_store(out, context, &choice, me, error) : 0;
}

/* Kept as delivered: what cannot be written in a moment is still in the inbox. */
static int remember(
    struct dmsg_store *store, const struct dmsg_message *message, struct dmsg_error *error)
{
    struct dmsg_record record = {0};
    int result = dmsg_store_accept(store, message, (struct dmsg_span){0}, error);
    if (result < 0)
        return result;
    while ((result = dmsg_store_next(store, record.row, &record, error)) == 1) {
        if (dmsg_name_equal(&record.sender, &message->sender) &&
            strcmp(record.id, message->id) == 0)
            return dmsg_store_delivered(store, record.row, error);
    }
    return result;
}

/* ------------------------------------------------------------------------------------- opening */

/* The payload as it is, and who sent it on stderr; with --json all of it in one object. */
static int print(
    const struct invocation *self, const struct dmsg_message *message, struct dmsg_error *error)
{
    const struct open_options *options = self->options;
    struct dmsg_record record = {.format = message->format,
        .sender = message->sender,
        .issued_at = message->issued_at,
        .expires_at = message->expires_at,
        .content = dmsg_buffer_span(&message->payload)};
    struct dmsg_buffer json = {0};
    memcpy(record.id, message->id, sizeof record.id);
    memcpy(record.content_type, message->content_type, sizeof record.content_type);
    print_note(self->program, "from %s, id %s, %s%s", message->sender.text, message->id,
        message->format == DMSG_FORMAT_POC ? "proof of concept: not addressed, not timed" : "v1",
        is_remembered(options) ? "" : "; replay not checked");
    if (!options->json)
        return write_payload(record.content, error);
    show_json(&json, &record, false);
    dmsg_buffer_put_byte(&json, '\n');
    int result = json.failed ? dmsg_fail_memory(error)
                             : write_output(stdout, dmsg_buffer_span(&json), error);
    dmsg_buffer_done(&json);
    return result;
}

static int open_with(struct dmsg_opener *opener, struct dmsg_discovery *discovery,
    struct dmsg_span envelope, struct dmsg_message *message, struct dmsg_error *error)
{
    const struct dmsg_peer *peer = NULL;
    int result = dmsg_open_begin(opener, envelope, (struct dmsg_span){0}, message, error);
    if (result == 0)
        result = dmsg_discovery_find(discovery, &message->sender, LOOKUP_TIMEOUT, &peer, error);
    if (result == 0)
        result = dmsg_open_finish(opener, message, peer, error);
    if (peer != NULL)
        dmsg_peer_release(peer);
    return result;
}

static int open_input(const struct invocation *self, struct dmsg_policy *policy,
    struct dmsg_discovery *discovery, const struct dmsg_context *context, struct dmsg_error *error)
{
    const struct open_options *options = self->options;
    struct dmsg_identity *me = NULL;
    struct dmsg_store *store = NULL;
    struct dmsg_opener *opener = NULL;
    struct dmsg_message message = {0};
    struct dmsg_buffer envelope = {
        .limit = policy->size_limit != 0 ? policy->size_limit : DMSG_MESSAGE_SIZE_MAX};
    int result = own_identity(&me, context, &options->identity, error);
    if (result == 0)
        result = open_memory(&store, options, context, dmsg_identity_name(me), error);
    policy->sent_v1 = store != NULL ? sent_v1 : NULL;
    policy->user = store;
    if (result == 0)
        result = dmsg_opener_new(&opener, context, me, policy, error);
    if (result == 0)
        result = read_input(&envelope, "-", error);
    if (result == 0)
        result = open_with(
            opener, discovery, without_line_end(dmsg_buffer_span(&envelope)), &message, error);
    if (result == 0 && store != NULL)
        result = remember(store, &message, error);
    if (result == 0)
        result = print(self, &message, error);
    dmsg_store_close(&store);
    dmsg_message_done(&message);
    dmsg_buffer_done(&envelope);
    dmsg_opener_free(&opener);
    dmsg_identity_free(&me);
    return result;
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct open_options *options = self->options;
    struct dmsg_context context = {0};
    struct dmsg_discovery *discovery = NULL;
    struct dmsg_pattern from = {0};
    struct pattern_list accept_poc = {0};
    struct dmsg_policy policy = {.size_limit = (size_t)options->size_limit};
    int result = add_patterns(&accept_poc, &options->accept_poc, "--accept-poc", error);
    if (result == 0 && options->from != NULL) {
        policy.allow = &from;
        policy.allow_count = 1;
        result = name_from(&from.name, options->from, "sender", error);
    }
    policy.accept_poc = accept_poc.items;
    policy.accept_poc_count = accept_poc.count;
    if (result == 0)
        result = open_discovery(&discovery, &context, &options->dns, error);
    if (result == 0)
        result = open_input(self, &policy, discovery, &context, error);
    dmsg_discovery_free(&discovery);
    free(accept_poc.items);
    return result;
}

const struct command cmd_open = {
    .name = "open",
    .arguments = "< ENVELOPE > PAYLOAD",
    .summary = "Decrypt and verify standard input; no broker.",
    .notes = "Nothing is written before everything has passed, and a terminal gets it escaped. "
             "Whether the message was seen before is not checked without --state.",
    .example = "danemsg open --from alice.example.net < report.jwe > report.pdf",
    .options = options_table,
    .option_count = COUNT(options_table),
    .groups = (const struct group_use[]){{&identity_group, offsetof(struct open_options, identity)},
        {&dns_group, offsetof(struct open_options, dns)}, {0}},
    .size = sizeof(struct open_options),
    .run = run,
};
