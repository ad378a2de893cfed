#include "show.h"

#include "base/base64url.h"
#include "base/fail.h"
#include "base/utf8.h"

#include <string.h>

#define INDENT "    "

static const char *format_word(const struct dmsg_record *record)
{
    return record->format == DMSG_FORMAT_POC ? "poc" : "v1";
}

void show_line(struct dmsg_buffer *out, const struct dmsg_record *record)
{
    struct dmsg_span rest = record->content;
    dmsg_buffer_format(out, "%s says: ", record->sender.text);
    for (;;) {
        const uint8_t *newline = rest.size > 0 ? memchr(rest.data, '\n', rest.size) : NULL;
        size_t size = newline != NULL ? (size_t)(newline - rest.data) : rest.size;
        dmsg_text_escape(out, (struct dmsg_span){rest.data, size}, false);
        if (newline == NULL)
            return;
        rest.data += size + 1;
        rest.size -= size + 1;
        /* A newline at the very end is the sender's editor's, not a line. */
        if (rest.size == 0)
            return;
        dmsg_buffer_put_text(out, "\n" INDENT);
    }
}

static void put_members(struct dmsg_buffer *out, const struct dmsg_record *record)
{
    char arrival[32];
    time_text(arrival, record->received_at);
    json_member_text(out, "sender", record->sender.text);
    json_member_text(out, "id", record->id);
    json_member_text(out, "format", format_word(record));
    if (record->topic.size > 0)
        json_member(out, "topic", record->topic);
    if (record->content_type[0] != '\0')
        json_member_text(out, "content_type", record->content_type);
    if (record->format == DMSG_FORMAT_V1) {
        json_member_number(out, "issued_at", record->issued_at);
        json_member_number(out, "expires_at", record->expires_at);
    }
    if (record->received_at != 0)
        json_member_text(out, "received_at", arrival);
    if (record->stale)
        json_member_bool(out, "stale", true);
    if (dmsg_utf8_valid(record->content)) {
        json_member(out, "payload", record->content);
        return;
    }
    json_key(out, "payload_base64");
    dmsg_buffer_put_byte(out, '"');
    dmsg_base64_put(out, record->content);
    dmsg_buffer_put_byte(out, '"');
}

/* Our own JSON has no white space, so a comma or brace outside of strings is structure. */
static void put_pretty(struct dmsg_buffer *out, struct dmsg_span json)
{
    bool in_string = false;
    for (size_t i = 0; i < json.size; i++) {
        char c = (char)json.data[i];
        if (in_string && c == '\\') {
            dmsg_buffer_put(out, json.data + i++, 2);
            continue;
        }
        if (c == '"')
            in_string = !in_string;
        if (!in_string && c == '}')
            dmsg_buffer_put_byte(out, '\n');
        dmsg_buffer_put_byte(out, (uint8_t)c);
        if (!in_string && (c == '{' || c == ','))
            dmsg_buffer_put_text(out, "\n  ");
        if (!in_string && c == ':')
            dmsg_buffer_put_byte(out, ' ');
    }
}

void show_json(struct dmsg_buffer *out, const struct dmsg_record *record, bool pretty)
{
    struct dmsg_buffer json = {0};
    dmsg_buffer_put_byte(&json, '{');
    put_members(&json, record);
    dmsg_buffer_put_byte(&json, '}');
    if (pretty)
        put_pretty(out, dmsg_buffer_span(&json));
    else
        dmsg_buffer_put_span(out, dmsg_buffer_span(&json));
    out->failed |= json.failed;
    dmsg_buffer_done(&json);
}

/* ---------------------------------------------------------------------------------- format */

static void put_hexadecimal(struct dmsg_buffer *out, struct dmsg_span data, bool upper)
{
    for (size_t i = 0; i < data.size; i++)
        dmsg_buffer_format(out, upper ? "%02X" : "%02x", data.data[i]);
}

/* %{name}: how many characters of format it took, 0 if there is no such name. */
static size_t put_named(
    struct dmsg_buffer *out, const struct dmsg_record *record, const char *format)
{
    const struct {
        const char *name;
        const char *value;
    } rows[] = {{"{sender}", record->sender.text}, {"{id}", record->id},
        {"{cty}", record->content_type}, {"{format}", format_word(record)}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        size_t size = strlen(rows[i].name);
        if (strncmp(format, rows[i].name, size) == 0) {
            dmsg_buffer_put_text(out, rows[i].value);
            return size;
        }
    }
    return 0;
}

static size_t put_conversion(
    struct dmsg_buffer *out, const struct dmsg_record *record, const char *format)
{
    char arrival[32];
    switch (*format) {
    case '%':
        dmsg_buffer_put_byte(out, '%');
        return 1;
    case 'p':
        dmsg_buffer_put_span(out, record->content);
        return 1;
    case 't':
        dmsg_buffer_put_span(out, record->topic);
        return 1;
    case 'l':
        dmsg_buffer_format(out, "%zu", record->content.size);
        return 1;
    case 'x':
    case 'X':
        put_hexadecimal(out, record->content, *format == 'X');
        return 1;
    case 'I':
        time_text(arrival, record->received_at);
        dmsg_buffer_put_text(out, arrival);
        return 1;
    case 'U':
        dmsg_buffer_format(out, "%lld", (long long)record->received_at);
        return 1;
    case 'j':
        show_json(out, record, false);
        return 1;
    case '{':
        return put_named(out, record, format);
    default:
        return 0;
    }
}

static size_t put_escape(struct dmsg_buffer *out, char letter)
{
    static const char letters[] = "nrte0\\", values[] = {'\n', '\r', '\t', 0x1b, '\0', '\\'};
    const char *found = letter != '\0' ? strchr(letters, letter) : NULL;
    if (found == NULL)
        return 0;
    dmsg_buffer_put_byte(out, (uint8_t)values[found - letters]);
    return 1;
}

int show_format(struct dmsg_buffer *out, const struct dmsg_record *record, const char *format,
    struct dmsg_error *error)
{
    for (const char *c = format; *c != '\0'; c++) {
        size_t took = 1;
        if (*c == '%')
            took = put_conversion(out, record, c + 1);
        else if (*c == '\\')
            took = put_escape(out, c[1]);
        else
            dmsg_buffer_put_byte(out, (uint8_t)*c);
        if (took == 0)
            return dmsg_fail(error, DMSG_E_USAGE,
                "-F knows %%p %%t %%l %%x %%X %%I %%U %%j %%{sender} %%{id} %%{cty} %%{format} "
                "%%%% "
                "and \\n \\r \\t \\e \\0 \\\\, not '%.8s'",
                c);
        c += *c == '%' || *c == '\\' ? took : 0;
    }
    return 0;
}
