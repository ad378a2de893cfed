/* danemsg status: what a receiver and a publisher do and what waits, from their status files and
   the database. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "base/json.h"
#include "base/utf8.h"
#include "figures.h"
#include "open_store.h"
#include "queueing.h"
#include "typed.h"

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
    const char *status;
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
    {.name = "status",
        .argument = "FILE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct status, status),
        .help = "the file of `receive --status`"},
};

/* ------------------------------------------------------------------------------ the status file */

struct count {
    struct dmsg_span outcome;
    int64_t count;
};

/* What a receiver or publisher wrote last (housekeeping_put_status). Texts are inside the text that
   was read. */
struct report {
    bool runs;
    struct dmsg_buffer raw, parsed;
    int64_t pid, started_at, written_at, broker_at, dns_at;
    int64_t accepted, delivered, failed;    /* of a receiver */
    int64_t published, expired, given_back; /* of a publisher; given back by the broker */
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

static bool parse(struct report *out)
{
    const struct {
        const char *name;
        int64_t *number;
    } numbers[] = {{"pid", &out->pid}, {"started_at", &out->started_at},
        {"written_at", &out->written_at}, {"broker_at", &out->broker_at}, {"dns_at", &out->dns_at},
        {"accepted", &out->accepted}, {"delivered", &out->delivered}, {"failed", &out->failed},
        {"published", &out->published}, {"expired", &out->expired},
        {"refused_by_broker", &out->given_back}};
    struct dmsg_json json;
    struct dmsg_span name;
    dmsg_json_init(&json, out->parsed.data, out->parsed.size);
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

static void report_done(struct report *report)
{
    dmsg_buffer_done(&report->raw);
    dmsg_buffer_done(&report->parsed);
}

/* Of a zeroed report. */
static int read_report(struct report *out, const char *path, struct dmsg_error *error)
{
    if (access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    out->raw.limit = STATUS_MAX;
    int result = read_input(&out->raw, path, error);
    if (result < 0)
        return result;
    dmsg_buffer_put_span(&out->parsed, dmsg_buffer_span(&out->raw)); /* parsing changes it */
    if (out->parsed.failed)
        return dmsg_fail_memory(error);
    if (!parse(out))
        return dmsg_fail(error, DMSG_E_LOCAL, "%s is not what a service wrote", path);
    out->runs = is_there(out->pid);
    return 0;
}

static int read_reports(struct report *receiver, struct report *publisher,
    const struct status *options, const struct dmsg_name *name, struct dmsg_error *error)
{
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    char *other DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    int result = state_file_path(&path, options->store.state, name, STATUS_SUFFIX, error);
    if (result == 0)
        result = read_report(receiver, options->status != NULL ? options->status : path, error);
    if (result == 0)
        result =
            state_file_path(&other, options->store.state, name, PUBLISHER_STATUS_SUFFIX, error);
    return result < 0 ? result : read_report(publisher, other, error);
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

static void put_service(struct dmsg_buffer *out, const struct report *report, const char *what)
{
    dmsg_buffer_format(out, "%-10s running, process %lld", what, (long long)report->pid);
    put_since(out, "since", report->started_at);
    put_since(out, "figures of", report->written_at);
    dmsg_buffer_put_text(out, "\nbroker     ");
    dmsg_text_escape(out, report->broker, true);
    put_since(out, "since", report->broker_at);
    dmsg_buffer_put_text(out, "\nDNS        ");
    dmsg_text_escape(out, report->dns, true);
    put_since(out, "at", report->dns_at);
}

static void put_receiver(struct dmsg_buffer *out, const struct report *report)
{
    put_service(out, report, "receiver");
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

/* What the database holds, and has counted; `is_there` false: there is none yet. */
struct kept {
    bool is_there;
    struct dmsg_store_depths depths;
    struct dmsg_store_counts counts;
};

static void put_counts(struct dmsg_buffer *out, const struct dmsg_store_counts *counts)
{
    const char *before = "\nrefused    altogether: ";
    dmsg_buffer_format(out, "altogether %lld accepted, %lld delivered, %lld failed",
        (long long)counts->accepted, (long long)counts->delivered, (long long)counts->put_aside);
    for (int i = 0; i < DMSG_ERROR_COUNT; i++) {
        if (counts->refused[i] == 0)
            continue;
        dmsg_buffer_format(
            out, "%s%s %lld", before, dmsg_error_word(-1 - i), (long long)counts->refused[i]);
        before = ", ";
    }
    dmsg_buffer_put_byte(out, '\n');
}

static void put_text(struct dmsg_buffer *out, const struct dmsg_name *name,
    const struct report *report, const struct kept *kept)
{
    const struct dmsg_store_depths *depths = &kept->depths;
    dmsg_buffer_format(out, "identity   %s\n", name->text);
    if (report->runs)
        put_receiver(out, report);
    else
        dmsg_buffer_put_text(out, "receiver   not running with this state folder\n");
    if (!kept->is_there) {
        dmsg_buffer_put_text(out, "messages   there is no database yet\n");
        return;
    }
    put_counts(out, &kept->counts);
    dmsg_buffer_format(out, "messages   %lld to deliver, %lld failed, %lld delivered and kept\n",
        (long long)depths->undelivered, (long long)depths->failed, (long long)depths->delivered);
    dmsg_buffer_format(out, "waiting    %lld for DNS\n", (long long)depths->waiting);
}

static void put_service_json(struct dmsg_buffer *out, const char *what, const struct report *report)
{
    json_key(out, what);
    if (report->runs)
        dmsg_buffer_put_span(out, without_line_end(dmsg_buffer_span(&report->raw)));
    else
        dmsg_buffer_put_text(out, "null");
}

static void put_counts_json(struct dmsg_buffer *out, const struct dmsg_store_counts *counts)
{
    json_key(out, "altogether");
    dmsg_buffer_put_byte(out, '{');
    json_member_number(out, "accepted", counts->accepted);
    json_member_number(out, "delivered", counts->delivered);
    json_member_number(out, "failed", counts->put_aside);
    put_refused(out, counts->refused);
    dmsg_buffer_put_byte(out, '}');
}

static void put_json(struct dmsg_buffer *out, const struct dmsg_name *name,
    const struct report *report, const struct kept *kept)
{
    const struct dmsg_store_depths *depths = &kept->depths;
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "identity", name->text);
    put_service_json(out, "receiver", report);
    json_key(out, "messages");
    if (kept->is_there) {
        dmsg_buffer_put_byte(out, '{');
        json_member_number(out, "undelivered", depths->undelivered);
        json_member_number(out, "failed", depths->failed);
        json_member_number(out, "delivered", depths->delivered);
        json_member_number(out, "waiting", depths->waiting);
        put_counts_json(out, &kept->counts);
        dmsg_buffer_put_byte(out, '}');
    } else {
        dmsg_buffer_put_text(out, "null");
    }
}

/* --------------------------------------------------------------------------------- the outbox */

struct queued {
    struct dmsg_outbox_depths depths;
    struct dmsg_outbox_counts counts;
};

/* One that does not run is worth a word when something waits for it. */
static void put_publisher(
    struct dmsg_buffer *out, const struct report *report, const struct dmsg_outbox_depths *outbox)
{
    if (report->runs) {
        put_service(out, report, "publisher");
        dmsg_buffer_format(out,
            "\nsince then %lld published, %lld dropped as expired, %lld refused by the broker\n",
            (long long)report->published, (long long)report->expired,
            (long long)report->given_back);
    } else if (outbox->messages > 0) {
        dmsg_buffer_put_text(out, "publisher  not running: `danemsg send --daemon`, or `danemsg "
                                  "outbox flush`, sends what waits\n");
    }
}

static void put_outbox_text(struct dmsg_buffer *out, const struct queued *queued)
{
    const struct dmsg_outbox_depths *depths = &queued->depths;
    dmsg_buffer_format(out,
        "outbox     %lld to send (%lld unsealed, %lld unsealable, %lld failed before), %lld "
        "expired unsent, %lld published altogether\n",
        (long long)depths->messages, (long long)depths->open, (long long)depths->stuck,
        (long long)depths->failed_once, (long long)depths->expired,
        (long long)queued->counts.published);
}

static void put_outbox_json(struct dmsg_buffer *out, const struct queued *queued)
{
    const struct dmsg_outbox_depths *depths = &queued->depths;
    dmsg_buffer_put_byte(out, '{');
    json_member_number(out, "messages", depths->messages);
    json_member_number(out, "unsealed", depths->open);
    json_member_number(out, "unsealable", depths->stuck);
    json_member_number(out, "failed", depths->failed_once);
    json_member_number(out, "octets", depths->octets);
    json_member_number(out, "expired", depths->expired);
    json_member_number(out, "published", queued->counts.published);
    json_member_number(out, "sealed", queued->counts.sealed);
    json_member_number(out, "refused_by_broker", queued->counts.refused);
    dmsg_buffer_put_byte(out, '}');
}

/* 1, or 0 when there is no database yet; the outbox is in the state folder, whatever --store says.
 */
static int read_outbox(struct queued *out, const struct status *options,
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
        result = dmsg_outbox_depths(outbox, &out->depths, error);
    if (result == 0)
        result = dmsg_outbox_counts(outbox, &out->counts, error);
    dmsg_outbox_close(&outbox);
    return result < 0 ? result : 1;
}

/* ------------------------------------------------------------------------------------ the command
 */

static int read_kept(struct kept *out, const struct status *options, const struct dmsg_name *name,
    struct dmsg_error *error)
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
        result = dmsg_store_depths(store, &out->depths, error);
    if (result == 0)
        result = dmsg_store_counts(store, &out->counts, error);
    out->is_there = result == 0;
    dmsg_store_close(&store);
    return result;
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct status *options = self->options;
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    DMSG_CLEANUP(report_done) struct report receiver = {0};
    DMSG_CLEANUP(report_done) struct report publisher = {0};
    struct kept kept = {0};
    struct dmsg_name name;
    struct queued outbox = {0};
    int queued = 0;
    int result = own_name(&name, &options->identity, error);
    if (result == 0)
        result = read_reports(&receiver, &publisher, options, &name, error);
    if (result == 0)
        result = read_kept(&kept, options, &name, error);
    if (result == 0)
        result = queued = read_outbox(&outbox, options, &name, error);
    if (result < 0)
        return result;
    if (options->json) {
        put_json(&out, &name, &receiver, &kept);
        put_service_json(&out, "publisher", &publisher);
        json_key(&out, "outbox");
        if (queued == 1)
            put_outbox_json(&out, &outbox);
        else
            dmsg_buffer_put_text(&out, "null");
        dmsg_buffer_put_text(&out, "}\n");
    } else {
        put_text(&out, &name, &receiver, &kept);
        put_publisher(&out, &publisher, &outbox.depths);
        if (queued == 1)
            put_outbox_text(&out, &outbox);
    }
    return out.failed ? dmsg_fail_memory(error)
                      : write_typed(stdout, dmsg_buffer_span(&out), error);
}

const struct command cmd_status = {
    .name = "status",
    .arguments = "",
    .summary = "Show what an identity's receiver does, and what waits there.",
    .example = "danemsg status --identity bob.example.net",
    .options = options_table,
    .option_count = COUNT(options_table),
    .groups = (const struct group_use[]){{&identity_group, offsetof(struct status, identity)}, {0}},
    .size = sizeof(struct status),
    .run = run,
};
