#include "dane/frame.h"

#include "base/fail.h"
#include "dane/cursor.h"

#include <inttypes.h>
#include <string.h>

/* Beyond it a number of seconds is none: JSON's largest, and 285 million years. */
#define SIGNED_UNTIL_MAX ((INT64_C(1) << 53) - 1)

/* version, type, id: what size counts besides the body. */
#define AFTER_SIZE (DMSG_FRAME_HEADER - 4)

static void put_number(struct dmsg_buffer *out, uint64_t value, unsigned octets)
{
    while (octets-- > 0)
        dmsg_buffer_put_byte(out, (uint8_t)(value >> (8 * octets)));
}

static bool printable(struct dmsg_span text)
{
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < 0x20 || text.data[i] > 0x7e)
            return false;
    }
    return true;
}

void dmsg_printable(char *out, size_t size, struct dmsg_span text)
{
    size_t length = text.size < size ? text.size : size - 1;
    for (size_t i = 0; i < length; i++)
        out[i] = (char)(text.data[i] < 0x20 || text.data[i] > 0x7e ? '?' : text.data[i]);
    out[length] = '\0';
}

/* --------------------------------------------------------------------------------------- frames */

static bool known_type(uint64_t type)
{
    return (type >= DMSG_FRAME_SETUP && type <= DMSG_FRAME_PING) ||
           (type >= DMSG_FRAME_ANSWER && type <= DMSG_FRAME_CONFINED);
}

int dmsg_frame_take(struct dmsg_frame *out, struct dmsg_span *stream, struct dmsg_error *error)
{
    struct dmsg_cursor cursor = {.rest = *stream};
    size_t size = dmsg_cursor_size(&cursor, 4);
    if (cursor.failed)
        return 0;
    if (size < AFTER_SIZE || size > AFTER_SIZE + DMSG_FRAME_BODY_MAX)
        return dmsg_fail(error, DMSG_E_FORMAT, "a frame that says it has %zu octets", size);
    struct dmsg_cursor frame = {.rest = dmsg_cursor_take(&cursor, size)};
    if (cursor.failed)
        return 0;
    uint64_t version = dmsg_cursor_number(&frame, 1);
    uint64_t type = dmsg_cursor_number(&frame, 1);
    uint32_t id = (uint32_t)dmsg_cursor_number(&frame, 4);
    if (version != DMSG_FRAME_VERSION)
        return dmsg_fail(error, DMSG_E_FORMAT,
            "a frame of version %" PRIu64 "; this is version %d: two releases of danemsg are mixed",
            version, DMSG_FRAME_VERSION);
    if (!known_type(type))
        return dmsg_fail(error, DMSG_E_FORMAT, "a frame of unknown type %" PRIu64, type);
    *out = (struct dmsg_frame){.type = (enum dmsg_frame_type)type, .id = id, .body = frame.rest};
    *stream = cursor.rest;
    return 1;
}

void dmsg_frame_put(
    struct dmsg_buffer *out, enum dmsg_frame_type type, uint32_t id, struct dmsg_span body)
{
    if (body.size > DMSG_FRAME_BODY_MAX ||
        dmsg_buffer_reserve(out, DMSG_FRAME_HEADER + body.size) == NULL) {
        out->failed = true;
        return;
    }
    put_number(out, (uint32_t)(AFTER_SIZE + body.size), 4);
    put_number(out, DMSG_FRAME_VERSION, 1);
    put_number(out, type, 1);
    put_number(out, id, 4);
    dmsg_buffer_put_span(out, body);
}

/* --------------------------------------------------------------------------------------- bodies */

void dmsg_setup_put(struct dmsg_buffer *body, enum dmsg_setup_kind kind, const char *text)
{
    size_t size = strlen(text);
    if (size > DMSG_SETUP_TEXT_MAX) {
        body->failed = true;
        return;
    }
    put_number(body, kind, 1);
    put_number(body, (uint32_t)size, 2);
    dmsg_buffer_put(body, text, size);
}

int dmsg_setup_take(struct dmsg_setup_item *out, struct dmsg_span *body, struct dmsg_error *error)
{
    if (body->size == 0)
        return 0;
    struct dmsg_cursor cursor = {.rest = *body};
    uint64_t kind = dmsg_cursor_number(&cursor, 1);
    struct dmsg_span text = dmsg_cursor_take_sized(&cursor, 2);
    if (cursor.failed || kind < DMSG_SETUP_SERVER || kind > DMSG_SETUP_FOR_STRANGERS ||
        text.size == 0 || text.size > DMSG_SETUP_TEXT_MAX || !printable(text))
        return dmsg_fail(error, DMSG_E_FORMAT, "a setup item that is none");
    out->kind = (enum dmsg_setup_kind)kind;
    memcpy(out->text, text.data, text.size);
    out->text[text.size] = '\0';
    *body = cursor.rest;
    return 1;
}

/* A name in its canonical form and no other. */
static int parse_name(struct dmsg_name *out, struct dmsg_span text, struct dmsg_error *error)
{
    struct dmsg_name name;
    if (dmsg_name_parse(&name, text, NULL) < 0 || !dmsg_span_equal_text(text, name.text))
        return dmsg_fail(error, DMSG_E_FORMAT, "a name that is not in its canonical form");
    *out = name;
    return 0;
}

int dmsg_ask_parse(struct dmsg_name *out, struct dmsg_span body, struct dmsg_error *error)
{
    return parse_name(out, body, error) < 0 ? DMSG_E_FORMAT : 0;
}

static void put_text(struct dmsg_buffer *body, const char *text, size_t size)
{
    size = strnlen(text, size - 1);
    put_number(body, size, 1);
    dmsg_buffer_put(body, text, size);
}

void dmsg_answer_put(struct dmsg_buffer *body, const struct dmsg_answer *answer)
{
    put_number(body, answer->status, 1);
    put_number(body, answer->nxdomain, 1);
    put_number(body, answer->ttl, 4);
    put_number(body, (uint64_t)answer->signed_until, 8);
    put_number(body, answer->cached_for, 4);
    put_text(body, answer->canonical.text, sizeof answer->canonical.text);
    put_text(body, answer->why, sizeof answer->why);
    put_text(body, answer->via, sizeof answer->via);
    put_number(body, answer->oversized, 1);
    put_number(body, answer->count, 1);
    for (size_t i = 0; i < answer->count; i++) {
        put_number(body, answer->records[i].size, 2);
        dmsg_buffer_put_span(body, answer->records[i]);
    }
}

static bool ascending(struct dmsg_span a, struct dmsg_span b)
{
    int order = memcmp(a.data, b.data, a.size < b.size ? a.size : b.size);
    return order < 0 || (order == 0 && a.size < b.size);
}

static void take_records(struct dmsg_answer *answer, struct dmsg_cursor *cursor)
{
    answer->count = dmsg_cursor_size(cursor, 1);
    if (answer->count > DMSG_ANSWER_RECORDS_MAX)
        cursor->failed = true;
    for (size_t i = 0; i < answer->count && !cursor->failed; i++) {
        struct dmsg_span *record = &answer->records[i];
        *record = dmsg_cursor_take_sized(cursor, 2);
        if (cursor->failed || record->size == 0 || record->size > DMSG_TLSA_RDATA_MAX ||
            (i > 0 && !ascending(record[-1], *record)))
            cursor->failed = true;
    }
}

/* A text of one line that fits into `size` octets with its NUL. */
static void take_text(char *out, size_t size, struct dmsg_cursor *cursor)
{
    struct dmsg_span text = dmsg_cursor_take_sized(cursor, 1);
    if (text.size >= size || !printable(text))
        cursor->failed = true;
    else
        dmsg_printable(out, size, text);
}

/* What is in an answer, as far as one part does not need to know of another. */
static void take_answer(
    struct dmsg_answer *answer, struct dmsg_span *canonical, struct dmsg_cursor *cursor)
{
    uint64_t status = dmsg_cursor_number(cursor, 1);
    uint64_t nxdomain = dmsg_cursor_number(cursor, 1);
    answer->ttl = (uint32_t)dmsg_cursor_number(cursor, 4);
    uint64_t signed_until = dmsg_cursor_number(cursor, 8);
    answer->cached_for = (uint32_t)dmsg_cursor_number(cursor, 4);
    *canonical = dmsg_cursor_take_sized(cursor, 1);
    take_text(answer->why, sizeof answer->why, cursor);
    take_text(answer->via, sizeof answer->via, cursor);
    answer->oversized = dmsg_cursor_size(cursor, 1);
    take_records(answer, cursor);
    if (status > DMSG_DNS_NOT_NOW || nxdomain > 1 || signed_until > SIGNED_UNTIL_MAX ||
        cursor->rest.size != 0)
        cursor->failed = true;
    answer->status = (enum dmsg_dns_status)status;
    answer->nxdomain = nxdomain == 1;
    answer->signed_until = (int64_t)signed_until;
}

int dmsg_answer_parse(struct dmsg_answer *out, const struct dmsg_name *name, struct dmsg_span body,
    struct dmsg_error *error)
{
    struct dmsg_cursor cursor = {.rest = body};
    struct dmsg_answer answer = {.name = *name, .canonical = *name};
    struct dmsg_span canonical;
    take_answer(&answer, &canonical, &cursor);
    if (cursor.failed)
        return dmsg_fail(error, DMSG_E_FORMAT, "an answer that is none");
    if (answer.count + answer.oversized > 0 &&
        (answer.nxdomain || answer.status == DMSG_DNS_NOT_NOW))
        return dmsg_fail(error, DMSG_E_FORMAT, "an answer with records that says there are none");
    if ((answer.signed_until != 0 || answer.cached_for != 0) && answer.status != DMSG_DNS_SECURE)
        return dmsg_fail(error, DMSG_E_FORMAT, "an answer with signatures that is not secure");
    if (canonical.size > 0 && parse_name(&answer.canonical, canonical, error) < 0)
        return DMSG_E_FORMAT;
    *out = answer;
    return 0;
}
