/* danemsg status: what a receiver does and what waits, from its status file and its database. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "base/json.h"
#include "base/utf8.h"
#include "housekeeping.h"
#include "open_store.h"
#include "queueing.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

/* Octets of a status file: some members, and counts of two dozen outcomes. */
#define STATUS_MAX 16384

struct status {
    struct identity_options identity;
    struct store_choice store;
    bool json;
};

static const struct option options_table[] = {
    {.name = "json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct status, json),
        .help = "one object"},
    {.name = "store",
        .argument = "STORE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct status, store.store),
        .help = STORE_HELP},
    {.name = "state",
        .argument = "FOLDER",
        .kind = OPTION_TEXT,
        .at = offsetof(struct status, store.state),
        .help = "where the receiver keeps its database"},
};

/* ------------------------------------------------------------------------------ the status file */

struct count {
    struct dmsg_span outcome;
    int64_t count;
};

/* What a receiver wrote last (housekeeping_put_status). Texts are inside the text that was read. */
struct report {
    int64_t pid, started_at, broker_at, dns_at, accepted, delivered, failed;
    struct dmsg_span broker, dns;
    struct count refused[DMSG_ERROR_COUNT];
    size_t refused_count;
};

static void parse_refused(struct report *report, struct dmsg_json *json)
{
    struct count one = {0};
    dmsg_json_enter_object(json);
    while (dmsg_json_next_member(json, &one.outcome)) {
        if (dmsg_json_integer(json, &one.count) && report->refused_count < DMSG_ERROR_COUNT)
            report->refused[report->refused_count++] = one;
    }
}

static bool parse(struct report *out, struct dmsg_buffer *text)
{
    const struct {
        const char *name;
        int64_t *number;
    } numbers[] = {{"pid", &out->pid}, {"started_at", &out->started_at},
        {"broker_at", &out->broker_at}, {"dns_at", &out->dns_at}, {"accepted", &out->accepted},
        {"delivered", &out->delivered}, {"failed", &out->failed}};
    struct dmsg_json json;
    struct dmsg_span name;
    dmsg_json_init(&json, text->data, text->size);
    dmsg_json_enter_object(&json);
    while (dmsg_json_next_member(&json, &name)) {
        size_t i = 0;
        while (i < COUNT(numbers) && !dmsg_span_equal_text(name, numbers[i].name))
            i++;
        if (i < COUNT(numbers))
            (void)dmsg_json_integer(&json, numbers[i].number);
        else if (dmsg_span_equal_text(name, "broker"))
            (void)dmsg_json_string(&json, &out->broker);
        else if (dmsg_span_equal_text(name, "dns"))
            (void)dmsg_json_string(&json, &out->dns);
        else if (dmsg_span_equal_text(name, "refused"))
            parse_refused(out, &json);
        else
            dmsg_json_skip(&json);
    }
    return dmsg_json_finish(&json);
}

/* A file without its process was left behind by one that was killed. */
static bool is_there(int64_t pid)
{
    return pid > 0 && pid <= INT32_MAX && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

/* 1: a receiver runs, raw is the file and *out points into parsed; 0: none runs. */
static int read_report(struct report *out, struct dmsg_buffer *raw, struct dmsg_buffer *parsed,
    const char *path, struct dmsg_error *error)
{
    struct report report = {0};
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    raw->limit = STATUS_MAX;
    int result = read_input(raw, path, error);
    if (result < 0)
        return result;
    dmsg_buffer_put_span(parsed, dmsg_buffer_span(raw)); /* parsing changes it */
    if (parsed->failed)
        return dmsg_fail_memory(error);
    if (!parse(&report, parsed))
        return dmsg_fail(error, DMSG_E_LOCAL, "%s is not what a receiver wrote", path);
    if (!is_there(report.pid))
        return 0;
    *out = report;
    return 1;
}

/* ------------------------------------------------------------------------------------- showing */

static void put_since(struct dmsg_buffer *out, const char *word, int64_t at)
{
    char text[32];
    if (at == 0)
        return;
    time_text(text, at);
    dmsg_buffer_format(out, ", %s %s", word, text);
}

static void put_report(struct dmsg_buffer *out, const struct report *report)
{
    dmsg_buffer_format(out, "receiver   running, process %lld", (long long)report->pid);
    put_since(out, "since", report->started_at);
    dmsg_buffer_put_text(out, "\nbroker     ");
    dmsg_text_escape(out, report->broker, true);
    put_since(out, "since", report->broker_at);
    dmsg_buffer_put_text(out, "\nDNS        ");
    dmsg_text_escape(out, report->dns, true);
    put_since(out, "at", report->dns_at);
    dmsg_buffer_format(out, "\nsince then %lld accepted, %lld delivered, %lld failed\n",
        (long long)report->accepted, (long long)report->delivered, (long long)report->failed);
    for (size_t i = 0; i < report->refused_count; i++) {
        dmsg_buffer_put_text(out, i == 0 ? "refused    " : ", ");
        dmsg_text_escape(out, report->refused[i].outcome, true);
        dmsg_buffer_format(out, " %lld", (long long)report->refused[i].count);
    }
    if (report->refused_count > 0)
        dmsg_buffer_put_byte(out, '\n');
}

static void put_text(struct dmsg_buffer *out, const struct dmsg_name *name,
    const struct report *report, const struct dmsg_store_depths *depths)
{
    dmsg_buffer_format(out, "identity   %s\n", name->text);
    if (report != NULL)
        put_report(out, report);
    else
        dmsg_buffer_put_text(out, "receiver   not running with this state folder\n");
    if (depths == NULL) {
        dmsg_buffer_put_text(out, "messages   there is no database yet\n");
        return;
    }
    dmsg_buffer_format(out, "messages   %lld to deliver, %lld failed, %lld delivered and kept\n",
        (long long)depths->undelivered, (long long)depths->failed, (long long)depths->delivered);
    dmsg_buffer_format(out, "waiting    %lld for DNS\n", (long long)depths->waiting);
}

static void put_json(struct dmsg_buffer *out, const struct dmsg_name *name,
    const struct dmsg_span *raw, const struct dmsg_store_depths *depths)
{
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "identity", name->text);
    json_key(out, "receiver");
    if (raw != NULL)
        dmsg_buffer_put_span(out, *raw);
    else
        dmsg_buffer_put_text(out, "null");
    json_key(out, "messages");
    if (depths != NULL) {
        dmsg_buffer_put_byte(out, '{');
        json_member_number(out, "undelivered", depths->undelivered);
        json_member_number(out, "failed", depths->failed);
        json_member_number(out, "delivered", depths->delivered);
        json_member_number(out, "waiting", depths->waiting);
        dmsg_buffer_put_byte(out, '}');
    } else {
        dmsg_buffer_put_text(out, "null");
    }
}

/* --------------------------------------------------------------------------------- the outbox */

static void put_outbox_text(struct dmsg_buffer *out, const struct dmsg_outbox_depths *outbox)
{
    dmsg_buffer_format(out,
        "outbox     %lld to send (%lld unsealed, %lld unsealable, %lld failed before), %lld "
        "expired unsent\n",
        (long long)outbox->messages, (long long)outbox->open, (long long)outbox->stuck,
        (long long)outbox->failed_once, (long long)outbox->expired);
}

static void put_outbox_json(struct dmsg_buffer *out, const struct dmsg_outbox_depths *outbox)
{
    dmsg_buffer_put_byte(out, '{');
    json_member_number(out, "messages", outbox->messages);
    json_member_number(out, "unsealed", outbox->open);
    json_member_number(out, "unsealable", outbox->stuck);
    json_member_number(out, "failed", outbox->failed_once);
    json_member_number(out, "octets", outbox->octets);
    json_member_number(out, "expired", outbox->expired);
    dmsg_buffer_put_byte(out, '}');
}

/* 1, or 0 when there is no database yet; the outbox is in the state folder, whatever --store says.
 */
static int read_outbox(struct dmsg_outbox_depths *out, const struct status *options,
    const struct dmsg_name *name, struct dmsg_error *error)
{
    const struct dmsg_context context = {0};
    const struct store_choice choice = {.state = options->store.state};
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    struct dmsg_outbox *outbox = NULL;
    int result = store_path(&path, &choice, name, error);
    if (result < 0 || (access(path, F_OK) < 0 && errno == ENOENT))
        return result;
    result = open_outbox(&outbox, &context, options->store.state, name, OUTBOX_LOOK, error);
    if (result == 0)
        result = dmsg_outbox_depths(outbox, out, error);
    dmsg_outbox_close(&outbox);
    return result < 0 ? result : 1;
}

/* ------------------------------------------------------------------------------------ the command
 */

/* 1, or 0 when there is no database yet. */
static int read_depths(struct dmsg_store_depths *out, const struct status *options,
    const struct dmsg_name *name, struct dmsg_error *error)
{
    const struct dmsg_context context = {0};
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    struct dmsg_store *store = NULL;
    bool shared = is_shared_store(&options->store);
    int result = shared ? 0 : store_path(&path, &options->store, name, error);
    if (result < 0 || (!shared && access(path, F_OK) < 0 && errno == ENOENT))
        return result;
    result = open_existing_store(&store, &context, &options->store, name, false, error);
    if (result == 0)
        result = dmsg_store_depths(store, out, error);
    dmsg_store_close(&store);
    return result < 0 ? result : 1;
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct status *options = self->options;
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer raw = {0};
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer parsed = {0};
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    struct dmsg_store_depths depths = {0};
    struct report report = {0};
    struct dmsg_name name;
    struct dmsg_outbox_depths outbox = {0};
    int running = 0, kept = 0, queued = 0;
    int result = own_name(&name, &options->identity, error);
    if (result == 0)
        result = state_file(&path, options->store.state, &name, STATUS_SUFFIX, error);
    if (result == 0)
        result = running = read_report(&report, &raw, &parsed, path, error);
    if (result >= 0)
        result = kept = read_depths(&depths, options, &name, error);
    if (result >= 0)
        result = queued = read_outbox(&outbox, options, &name, error);
    if (result < 0)
        return result;
    struct dmsg_span text = without_line_end(dmsg_buffer_span(&raw));
    if (options->json) {
        put_json(&out, &name, running == 1 ? &text : NULL, kept == 1 ? &depths : NULL);
        json_key(&out, "outbox");
        if (queued == 1)
            put_outbox_json(&out, &outbox);
        else
            dmsg_buffer_put_text(&out, "null");
        dmsg_buffer_put_text(&out, "}\n");
    } else {
        put_text(&out, &name, running == 1 ? &report : NULL, kept == 1 ? &depths : NULL);
        if (queued == 1)
            put_outbox_text(&out, &outbox);
    }
    return out.failed ? dmsg_fail_memory(error)
                      : write_output(stdout, dmsg_buffer_span(&out), error);
}

const struct command cmd_status = {
    .name = "status",
    .arguments = "",
    .summary = "Show what the receiver of an identity does, and what waits in its database.",
    .example = "danemsg status --identity bob.example.net",
    .options = options_table,
    .option_count = COUNT(options_table),
    .groups = (const struct group_use[]){{&identity_group, offsetof(struct status, identity)}, {0}},
    .size = sizeof(struct status),
    .run = run,
};
