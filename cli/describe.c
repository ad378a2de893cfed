#include "describe.h"

#include "base/cleanup.h"
#include "base/utf8.h"
#include "x509/certificate.h"

#include <stdarg.h>
#include <string.h>

/* Column at which values begin, and the last one of a line that is broken at a space. */
#define VALUE_COLUMN 15
#define LAST_COLUMN 96

/* Extensions told of one certificate: a hostile one could hold thousands. */
#define EXTENSIONS_SHOWN 32

/* --------------------------------------------------------------------------------------- fields */

/* How much of the text goes on a line: up to the last space that fits; a longer word stays whole,
   so that it can be copied. */
static size_t line_of(struct dmsg_span text)
{
    size_t room = LAST_COLUMN - VALUE_COLUMN;
    if (text.size <= room)
        return text.size;
    for (size_t i = room; i > 0; i--) {
        if (text.data[i] == ' ')
            return i;
    }
    const uint8_t *space = memchr(text.data, ' ', text.size);
    return space != NULL ? (size_t)(space - text.data) : text.size;
}

static void put_field(
    struct dmsg_buffer *out, int indent, const char *label, struct dmsg_span value)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    dmsg_text_escape(&text, value, true);
    size_t all = text.size;
    if (all == 0) {
        dmsg_buffer_put_text(&text, "(none)");
    } else if (all > FIELD_VALUE_MAX) {
        text.size = FIELD_VALUE_MAX;
        while (text.size > 0 && (text.data[text.size] & 0xc0) == 0x80) /* between characters */
            text.size--;
        dmsg_buffer_format(&text, "... (%zu characters)", all);
    }
    out->failed |= text.failed;
    dmsg_buffer_format(out, "%*s%-*s", indent, "", VALUE_COLUMN - indent, label);
    struct dmsg_span rest = dmsg_buffer_span(&text);
    while (rest.size > 0) {
        size_t size = line_of(rest);
        dmsg_buffer_put(out, rest.data, size);
        size += size < rest.size; /* the space */
        rest.data += size;
        rest.size -= size;
        dmsg_buffer_format(out, "\n%*s", rest.size > 0 ? VALUE_COLUMN : 0, "");
    }
}

void describe_field(struct dmsg_buffer *out, int indent, const char *label, const char *format, ...)
{
    char text[2 * FIELD_VALUE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    put_field(out, indent, label, dmsg_span_text(text));
}

void describe_certificate_field(struct dmsg_buffer *out, int indent, const char *label,
    describe_put *put, const X509 *certificate)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    put(&text, certificate);
    out->failed |= text.failed;
    put_field(out, indent, label, dmsg_buffer_span(&text));
}

void duration_text(char out[static 32], int64_t seconds)
{
    static const struct {
        int64_t seconds;
        const char *word;
    } units[] = {{31556952, "year"}, {86400, "day"}, {3600, "hour"}, {60, "minute"}, {1, "second"}};
    size_t i = 0;
    while (i < COUNT(units) - 1 && seconds < units[i].seconds)
        i++;
    long long count = seconds / units[i].seconds;
    snprintf(out, 32, "%lld %s%s", count, units[i].word, count == 1 ? "" : "s");
}

/* ----------------------------------------------------------------------------------- a certificate
 */

static void put_validity(struct dmsg_buffer *out, int indent, const X509 *certificate, int64_t now)
{
    int64_t from = 0, to = 0;
    char first[32], last[32], span[32];
    if (dmsg_certificate_dates(&from, &to, certificate, NULL) < 0) {
        describe_field(out, indent, "valid", "dates that cannot be read");
        return;
    }
    time_text(first, from);
    time_text(last, to);
    duration_text(span, now > to ? now - to : now < from ? from - now : to - now);
    describe_field(out, indent, "valid", "%s to %s, %s%s%s", first, last,
        now > to     ? "expired "
        : now < from ? "not before another "
                     : "",
        span,
        now > to     ? " ago"
        : now < from ? ""
                     : " left");
}

static void put_extension(struct dmsg_buffer *out, int indent, const X509 *certificate, int index)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    dmsg_certificate_put_extension_name(&text, certificate, index);
    bool names = dmsg_span_equal_text(dmsg_buffer_span(&text), "subjectAltName");
    if (dmsg_certificate_extension_critical(certificate, index))
        dmsg_buffer_put_text(&text, " (critical)");
    dmsg_buffer_put_text(&text, names ? ": the names above" : ": ");
    if (!names)
        dmsg_certificate_put_extension_value(&text, certificate, index);
    out->failed |= text.failed;
    put_field(out, indent, index == 0 ? "extensions" : "", dmsg_buffer_span(&text));
}

void describe_certificate(struct dmsg_buffer *out, int indent, const X509 *certificate, int64_t now)
{
    bool self_issued =
        X509_NAME_cmp(X509_get_subject_name(certificate), X509_get_issuer_name(certificate)) == 0;
    describe_certificate_field(out, indent, "subject", dmsg_certificate_put_subject, certificate);
    describe_certificate_field(out, indent, "names", dmsg_certificate_put_names, certificate);
    if (self_issued)
        describe_field(out, indent, "issuer", "the subject itself");
    else
        describe_certificate_field(out, indent, "issuer", dmsg_certificate_put_issuer, certificate);
    put_validity(out, indent, certificate, now);
    describe_certificate_field(out, indent, "serial", dmsg_certificate_put_serial, certificate);
    describe_certificate_field(
        out, indent, "signed with", dmsg_certificate_put_signature_algorithm, certificate);
    int count = dmsg_certificate_extension_count(certificate);
    for (int i = 0; i < count && i < EXTENSIONS_SHOWN; i++)
        put_extension(out, indent, certificate, i);
    if (count > EXTENSIONS_SHOWN)
        describe_field(out, indent, "", "and %d more", count - EXTENSIONS_SHOWN);
    if (count == 0)
        describe_field(out, indent, "extensions", "%s", "");
}

/* ------------------------------------------------------------------------------------------ JSON
 */

void json_member_time(struct dmsg_buffer *out, const char *name, int64_t seconds)
{
    char text[32];
    time_text(text, seconds);
    json_member_text(out, name, text);
}

static void json_put(
    struct dmsg_buffer *out, const char *name, describe_put *put, const X509 *certificate)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    put(&text, certificate);
    out->failed |= text.failed;
    json_member(out, name, dmsg_buffer_span(&text));
}

/* One text for each name: a comma inside of one is escaped, so ", " only stands between two. */
static void json_names(struct dmsg_buffer *out, const X509 *certificate)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    dmsg_certificate_put_names(&text, certificate);
    out->failed |= text.failed;
    struct dmsg_span rest = dmsg_buffer_span(&text);
    json_key(out, "names");
    dmsg_buffer_put_byte(out, '[');
    while (rest.size > 0) {
        const uint8_t *comma = memchr(rest.data, ',', rest.size);
        size_t size = comma != NULL ? (size_t)(comma - rest.data) : rest.size;
        dmsg_json_put_string(out, (struct dmsg_span){rest.data, size});
        size += comma != NULL ? strlen(", ") : 0;
        rest.data += size;
        rest.size -= size;
        dmsg_buffer_put_text(out, rest.size > 0 ? "," : "");
    }
    dmsg_buffer_put_byte(out, ']');
}

static void json_extension(struct dmsg_buffer *out, const X509 *certificate, int index)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer name = {0}, value = {0};
    dmsg_certificate_put_extension_name(&name, certificate, index);
    dmsg_certificate_put_extension_value(&value, certificate, index);
    out->failed |= name.failed || value.failed;
    dmsg_buffer_put_byte(out, '{');
    json_member(out, "name", dmsg_buffer_span(&name));
    json_member_bool(out, "critical", dmsg_certificate_extension_critical(certificate, index));
    json_member(out, "value", dmsg_buffer_span(&value));
    dmsg_buffer_put_byte(out, '}');
}

void json_certificate(struct dmsg_buffer *out, X509 *certificate, const struct dmsg_name *name)
{
    int64_t from = 0, to = 0;
    json_put(out, "subject", dmsg_certificate_put_subject, certificate);
    json_names(out, certificate);
    json_put(out, "issuer", dmsg_certificate_put_issuer, certificate);
    if (dmsg_certificate_dates(&from, &to, certificate, NULL) == 0) {
        json_member_time(out, "not_before", from);
        json_member_time(out, "not_after", to);
    }
    json_put(out, "serial", dmsg_certificate_put_serial, certificate);
    json_put(out, "signature_algorithm", dmsg_certificate_put_signature_algorithm, certificate);
    json_member_bool(out, "bears_name", dmsg_certificate_bears_name(certificate, name));
    json_key(out, "extensions");
    dmsg_buffer_put_byte(out, '[');
    int count = dmsg_certificate_extension_count(certificate);
    for (int i = 0; i < count && i < EXTENSIONS_SHOWN; i++) {
        dmsg_buffer_put_text(out, i > 0 ? "," : "");
        json_extension(out, certificate, i);
    }
    dmsg_buffer_put_byte(out, ']');
}
