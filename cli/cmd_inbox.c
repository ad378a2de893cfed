/* danemsg inbox: what a receiver has kept, looked at while it runs. */
#include "base/fail.h"
#include "base/utf8.h"
#include "inbox.h"
#include "show.h"

#include <string.h>
#include <unistd.h>

/* Characters of a message's first line in the list. */
#define FIRST_LINE 60

static const char *const delivery_words[] = {
    [DMSG_UNDELIVERED] = "undelivered", [DMSG_DELIVERED] = "delivered", [DMSG_FAILED] = "failed"};

#define JSON_OPTION                                                                                \
    {                                                                                              \
        .name = "json", .kind = OPTION_FLAG, .at = offsetof(struct inbox, json),                   \
        .help = "an object a line"                                                                 \
    }
#define UNDELIVERED_OPTION                                                                         \
    {                                                                                              \
        .name = "undelivered", .kind = OPTION_FLAG, .at = offsetof(struct inbox, undelivered),     \
        .help = "only what is not delivered yet, or failed"                                        \
    }

int inbox_open(struct dmsg_store **out, const struct dmsg_context *context,
    const struct inbox *options, bool change, struct dmsg_error *error)
{
    struct dmsg_name name;
    int result = own_name(&name, &options->identity, error);
    return result < 0 ? result
                      : open_existing_store(out, context, &options->store, &name, change, error);
}

/* --------------------------------------------------------------------------- showing messages */

/* An object: what is known of its keeping, then what receive --json says. */
static void put_json(struct dmsg_buffer *out, const struct dmsg_record *record, bool content)
{
    static const char no_content[] = ",\"payload\":\"\"}";
    struct dmsg_buffer json = {0};
    struct dmsg_record shown = *record;
    if (!content)
        shown.content = (struct dmsg_span){0};
    show_json(&json, &shown, false);
    if (!content && !json.failed) {
        json.size -= sizeof no_content - 1;
        dmsg_buffer_put_byte(&json, '}');
    }
    dmsg_buffer_put_byte(out, '{');
    json_member_number(out, "row", record->row);
    json_member_text(out, "delivery", delivery_words[record->delivery]);
    if (record->failures > 0)
        json_member_number(out, "failures", record->failures);
    json_member_number(out, "size", (int64_t)record->content.size);
    if (record->kid[0] != '\0')
        json_member_text(out, "kid", record->kid);
    dmsg_buffer_put_byte(out, ',');
    dmsg_buffer_put(out, json.data + 1, json.size - 1); /* without its brace */
    dmsg_buffer_put_byte(out, '\n');
    out->failed |= json.failed;
    dmsg_buffer_done(&json);
}

static void put_first_line(struct dmsg_buffer *out, struct dmsg_span text)
{
    const uint8_t *end = text.size > 0 ? memchr(text.data, '\n', text.size) : NULL;
    size_t size = end != NULL ? (size_t)(end - text.data) : text.size;
    bool cut = size > FIRST_LINE;
    if (cut) {
        size = FIRST_LINE;
        while (size > 0 && (text.data[size] & 0xc0) == 0x80)
            size--; /* not within a character */
    }
    dmsg_text_escape(out, (struct dmsg_span){text.data, size}, true);
    if (cut || (end != NULL && end + 1 < text.data + text.size))
        dmsg_buffer_put_text(out, " ...");
}

static void put_line(struct dmsg_buffer *out, const struct dmsg_record *record)
{
    char arrival[32];
    time_text(arrival, record->received_at);
    dmsg_buffer_format(out, "%6lld  %s  %-11s  %s  %s  %s  %zu  ", (long long)record->row, arrival,
        delivery_words[record->delivery], record->sender.text, record->id,
        record->content_type[0] != '\0' ? record->content_type : "-", record->content.size);
    put_first_line(out, record->content);
    dmsg_buffer_put_byte(out, '\n');
}

static void put_time(struct dmsg_buffer *out, const char *name, int64_t seconds)
{
    char text[32];
    time_text(text, seconds);
    dmsg_buffer_format(out, "%-10s %s\n", name, text);
}

static void put_headers(struct dmsg_buffer *out, const struct dmsg_record *record)
{
    dmsg_buffer_format(
        out, "%-10s %s\n%-10s %s\n", "From:", record->sender.text, "Id:", record->id);
    if (record->format == DMSG_FORMAT_POC)
        dmsg_buffer_format(out, "%-10s poc: not addressed, not replay-protected\n", "Format:");
    if (record->kid[0] != '\0')
        dmsg_buffer_format(out, "%-10s %s\n", "Key:", record->kid);
    dmsg_buffer_format(out, "%-10s ", "Topic:");
    dmsg_text_escape(out, record->topic, true);
    dmsg_buffer_put_byte(out, '\n');
    if (record->content_type[0] != '\0')
        dmsg_buffer_format(out, "%-10s %s\n", "Type:", record->content_type);
    if (record->format == DMSG_FORMAT_V1) {
        put_time(out, "Issued:", record->issued_at);
        put_time(out, "Expires:", record->expires_at);
    }
    put_time(out, "Received:", record->received_at);
    if (record->stale)
        dmsg_buffer_format(out, "%-10s stale: verified while DNS gave no answer\n", "Keys:");
    dmsg_buffer_format(out, "%-10s %s", "Delivery:", delivery_words[record->delivery]);
    if (record->failures > 0)
        dmsg_buffer_format(out, ", failed %lld times", (long long)record->failures);
    dmsg_buffer_format(out, "\n%-10s %zu\n\n", "Octets:", record->content.size);
}

/* --------------------------------------------------------------------------------- all of them */

/* Each is read by itself, so that a slow reader holds nothing up in the receiver. */
static int write_all(const struct inbox *options, struct dmsg_store *store,
    void (*put)(struct dmsg_buffer *out, const struct dmsg_record *record),
    struct dmsg_error *error)
{
    struct dmsg_record record = {0};
    struct dmsg_buffer out = {0};
    int result = 1;
    while ((result = dmsg_store_kept(store, record.row, &record, error)) == 1) {
        if (options->undelivered && record.delivery == DMSG_DELIVERED)
            continue;
        dmsg_buffer_reset(&out);
        put(&out, &record);
        result = out.failed ? dmsg_fail_memory(error)
                            : write_output(stdout, dmsg_buffer_span(&out), error);
        if (result < 0)
            break;
    }
    dmsg_buffer_done(&out);
    return result;
}

static void put_json_without_content(struct dmsg_buffer *out, const struct dmsg_record *record)
{
    put_json(out, record, false);
}

static void put_json_with_content(struct dmsg_buffer *out, const struct dmsg_record *record)
{
    put_json(out, record, true);
}

static int run_all(struct invocation *self,
    void (*put)(struct dmsg_buffer *out, const struct dmsg_record *record),
    struct dmsg_error *error)
{
    const struct dmsg_context context = {0};
    struct dmsg_store *store = NULL;
    int result = inbox_open(&store, &context, self->options, false, error);
    if (result == 0)
        result = write_all(self->options, store, put, error);
    dmsg_store_close(&store);
    return result;
}

static int run_list(struct invocation *self, struct dmsg_error *error)
{
    const struct inbox *options = self->options;
    return run_all(self, options->json ? put_json_without_content : put_line, error);
}

static int run_export(struct invocation *self, struct dmsg_error *error)
{
    return run_all(self, put_json_with_content, error);
}

/* ----------------------------------------------------------------------------------------- one */

static int write_one(
    const struct inbox *options, const struct dmsg_record *record, struct dmsg_error *error)
{
    struct dmsg_buffer out = {0};
    if (options->raw)
        return write_output(stdout, record->content, error);
    if (options->json) {
        put_json(&out, record, true);
    } else {
        put_headers(&out, record);
        dmsg_text_escape(&out, record->content, false);
        dmsg_buffer_put_byte(&out, '\n');
    }
    int result =
        out.failed ? dmsg_fail_memory(error) : write_output(stdout, dmsg_buffer_span(&out), error);
    dmsg_buffer_done(&out);
    return result;
}

static int run_show(struct invocation *self, struct dmsg_error *error)
{
    const struct dmsg_context context = {0};
    const struct inbox *options = self->options;
    struct dmsg_store *store = NULL;
    struct dmsg_record record;
    int64_t row = 0;
    int result = row_from(&row, self->arguments[0], "inbox list", error);
    if (result < 0)
        return result;
    if (options->raw && options->json)
        return dmsg_fail(error, DMSG_E_USAGE, "--raw or --json, not both");
    if (options->raw && isatty(STDOUT_FILENO))
        return dmsg_fail(error, DMSG_E_USAGE,
            "--raw writes a stranger's octets, which a terminal may obey: send them to a file or a "
            "pipe");
    result = inbox_open(&store, &context, options, false, error);
    if (result == 0)
        result = dmsg_store_kept(store, row - 1, &record, error);
    if (result == 1 && record.row == row)
        result = write_one(options, &record, error);
    else if (result >= 0)
        result = dmsg_fail(error, DMSG_E_LOCAL, "there is no message %lld", (long long)row);
    dmsg_store_close(&store);
    return result;
}

/* ------------------------------------------------------------------------------------ commands */

static const struct option list_options[] = {JSON_OPTION, UNDELIVERED_OPTION, INBOX_STORE_OPTIONS};
static const struct option show_options[] = {
    {.letter = 'N',
        .name = "raw",
        .kind = OPTION_FLAG,
        .at = offsetof(struct inbox, raw),
        .help = "the payload's octets alone, to a file or pipe"},
    JSON_OPTION, INBOX_STORE_OPTIONS};
static const struct option export_options[] = {UNDELIVERED_OPTION, INBOX_STORE_OPTIONS};
const struct command cmd_inbox_list = {
    .name = "inbox list",
    .arguments = "",
    .summary = "List the messages that a receiver has kept.",
    .notes = "Row, arrival, delivery, sender, id, type, octets, first line. May be run while the "
             "receiver runs.",
    .example = "danemsg inbox list --identity bob.example.net --undelivered",
    .options = list_options,
    .option_count = COUNT(list_options),
    .groups = INBOX_GROUPS,
    .size = sizeof(struct inbox),
    .run = run_list,
};

const struct command cmd_inbox_show = {
    .name = "inbox show",
    .arguments = "ROW",
    .summary = "Show one kept message.",
    .example = "danemsg inbox show 17 --identity bob.example.net",
    .options = show_options,
    .option_count = COUNT(show_options),
    .groups = INBOX_GROUPS,
    .size = sizeof(struct inbox),
    .least = 1,
    .most = 1,
    .run = run_show,
};

const struct command cmd_inbox_export = {
    .name = "inbox export",
    .arguments = "",
    .summary = "Write the kept messages, one JSON object a line.",
    .notes = "The payload is text (payload) or, when it is not UTF-8, payload_base64.",
    .example = "danemsg inbox export --identity bob.example.net > inbox.jsonl",
    .options = export_options,
    .option_count = COUNT(export_options),
    .groups = INBOX_GROUPS,
    .size = sizeof(struct inbox),
    .run = run_export,
};
