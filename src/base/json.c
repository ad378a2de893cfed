#include "base/json.h"

#include "base/utf8.h"

#include <string.h>

static bool fail(struct dmsg_json *json, const char *why)
{
    if (json->fault == NULL)
        json->fault = why;
    return false;
}

void dmsg_json_init(struct dmsg_json *json, uint8_t *text, size_t size)
{
    json->next = text;
    json->end = text + size;
    json->fault = NULL;
    json->depth = 0;
    json->most_depth = DMSG_JSON_DEPTH_MAX;
    json->name_count = 0;
}

/* The next character after white space, or -1 at the end or after a fault. */
static int peek(struct dmsg_json *json)
{
    if (json->fault != NULL)
        return -1;
    while (json->next < json->end) {
        uint8_t c = *json->next;
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return c;
        json->next++;
    }
    return -1;
}

static bool expect(struct dmsg_json *json, char c, const char *why)
{
    if (peek(json) != c)
        return fail(json, why);
    json->next++;
    return true;
}

/* ----------------------------------------------------------------------------------- strings */

static bool is_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x80 && c != '"' && c != '\\';
}

static size_t plain_run(const uint8_t *from, const uint8_t *end)
{
    const uint8_t *p = from;
    while (p < end && is_plain(*p))
        p++;
    return (size_t)(p - from);
}

/* Four hex digits at p, or -1. */
static int32_t hex4(const uint8_t *p, const uint8_t *end)
{
    int32_t value = 0;
    if (end - p < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        uint8_t c = p[i], lower = c | 0x20;
        if (c >= '0' && c <= '9')
            value = value << 4 | (c - '0');
        else if (lower >= 'a' && lower <= 'f')
            value = value << 4 | (lower - 'a' + 10);
        else
            return -1;
    }
    return value;
}

static size_t put_utf8(uint8_t *to, uint32_t point)
{
    if (point < 0x80) {
        to[0] = (uint8_t)point;
        return 1;
    }
    if (point < 0x800) {
        to[0] = (uint8_t)(0xc0 | point >> 6);
        to[1] = (uint8_t)(0x80 | (point & 0x3f));
        return 2;
    }
    if (point < 0x10000) {
        to[0] = (uint8_t)(0xe0 | point >> 12);
        to[1] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
        to[2] = (uint8_t)(0x80 | (point & 0x3f));
        return 3;
    }
    to[0] = (uint8_t)(0xf0 | point >> 18);
    to[1] = (uint8_t)(0x80 | (point >> 12 & 0x3f));
    to[2] = (uint8_t)(0x80 | (point >> 6 & 0x3f));
    to[3] = (uint8_t)(0x80 | (point & 0x3f));
    return 4;
}

/* \uXXXX, after the u; a pair of surrogates is one code point (RFC 8259 section 7). */
static size_t read_unicode(struct dmsg_json *json, uint8_t *to)
{
    int32_t point = hex4(json->next, json->end);
    if (point <= 0)
        return fail(json, "a \\u escape without four hex digits, or of U+0000");
    json->next += 4;
    if (point >= 0xd800 && point <= 0xdfff) {
        bool pair = json->end - json->next >= 6 && json->next[0] == '\\' && json->next[1] == 'u';
        int32_t low = pair ? hex4(json->next + 2, json->end) : -1;
        if (point >= 0xdc00 || low < 0xdc00 || low > 0xdfff)
            return fail(json, "an unpaired surrogate");
        json->next += 6;
        point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    return put_utf8(to, (uint32_t)point);
}

/* An escape, from its backslash; what it stands for is never longer. Returns 0 after a fault. */
static size_t read_escape(struct dmsg_json *json, uint8_t *to)
{
    static const char names[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    json->next++;
    if (json->next == json->end)
        return fail(json, "a string without end");
    uint8_t c = *json->next++;
    if (c == 'u')
        return read_unicode(json, to);
    const char *found = c != '\0' ? strchr(names, c) : NULL;
    if (found == NULL)
        return fail(json, "an escape that JSON does not have");
    *to = (uint8_t)values[found - names];
    return 1;
}

static size_t read_multibyte(struct dmsg_json *json, uint8_t *to)
{
    struct dmsg_span rest = {json->next, (size_t)(json->end - json->next)};
    size_t length = dmsg_utf8_next(rest, NULL);
    if (length == 0)
        return fail(json, "text that is not UTF-8");
    memmove(to, json->next, length);
    json->next += length;
    return length;
}

/* One octet of a string that is not plain; returns what was written, 0 after a fault. */
static size_t read_special(struct dmsg_json *json, uint8_t *to)
{
    if (*json->next == '\\')
        return read_escape(json, to);
    if (*json->next >= 0x80)
        return read_multibyte(json, to);
    return fail(json, "a control character inside a string");
}

bool dmsg_json_string(struct dmsg_json *json, struct dmsg_span *out)
{
    if (!expect(json, '"', "something else where a string belongs"))
        return false;
    uint8_t *start = json->next, *to = start;
    for (;;) {
        size_t run = plain_run(json->next, json->end);
        if (to != json->next)
            memmove(to, json->next, run);
        to += run;
        json->next += run;
        if (json->next == json->end)
            return fail(json, "a string without end");
        if (*json->next == '"')
            break;
        size_t written = read_special(json, to);
        if (written == 0)
            return false;
        to += written;
    }
    json->next++;
    *out = (struct dmsg_span){start, (size_t)(to - start)};
    return true;
}

/* ----------------------------------------------------------------------------------- numbers */

static bool is_at(const struct dmsg_json *json, char c)
{
    return json->next < json->end && *json->next == c;
}

static bool is_at_digit(const struct dmsg_json *json)
{
    return json->next < json->end && *json->next >= '0' && *json->next <= '9';
}

static bool skip_digits(struct dmsg_json *json)
{
    if (!is_at_digit(json))
        return fail(json, "a number that JSON does not have");
    while (is_at_digit(json))
        json->next++;
    return true;
}

/* The digits before a fraction; returns how many, 0 after a fault. */
static size_t skip_whole(struct dmsg_json *json)
{
    const uint8_t *first = json->next;
    if (!skip_digits(json))
        return 0;
    size_t count = (size_t)(json->next - first);
    return *first == '0' && count > 1 ? fail(json, "a number with a leading zero") : count;
}

static void skip_number(struct dmsg_json *json)
{
    if (is_at(json, '-'))
        json->next++;
    if (skip_whole(json) == 0)
        return;
    if (is_at(json, '.')) {
        json->next++;
        if (!skip_digits(json))
            return;
    }
    if (is_at(json, 'e') || is_at(json, 'E')) {
        json->next++;
        if (is_at(json, '+') || is_at(json, '-'))
            json->next++;
        skip_digits(json);
    }
}

bool dmsg_json_integer(struct dmsg_json *json, int64_t *out)
{
    int64_t value = 0;
    peek(json);
    if (json->fault != NULL || !is_at_digit(json))
        return fail(json, "something else where an integer belongs");
    const uint8_t *first = json->next;
    size_t count = skip_whole(json);
    if (count == 0)
        return false;
    if (is_at(json, '.') || is_at(json, 'e') || is_at(json, 'E'))
        return fail(json, "a fraction or exponent where an integer belongs");
    for (size_t i = 0; i < count && value < DMSG_JSON_INTEGER_LIMIT; i++)
        value = value * 10 + (first[i] - '0');
    if (value >= DMSG_JSON_INTEGER_LIMIT)
        return fail(json, "an integer of 2^53 or more");
    *out = value;
    return true;
}

/* ------------------------------------------------------------------------ objects and arrays */

static void enter(struct dmsg_json *json, char open, const char *why)
{
    if (!expect(json, open, why))
        return;
    if (json->depth == json->most_depth) {
        fail(json, "more depth than is read");
        return;
    }
    json->levels[json->depth++] = (struct dmsg_json_level){.first_name = json->name_count};
}

void dmsg_json_enter_object(struct dmsg_json *json)
{
    enter(json, '{', "something else where an object belongs");
}

void dmsg_json_enter_array(struct dmsg_json *json)
{
    enter(json, '[', "something else where an array belongs");
}

/* Before a member or element: true when there is one more; closes the level when there is not. */
static bool next(struct dmsg_json *json, char close)
{
    if (json->fault != NULL)
        return false;
    struct dmsg_json_level *level = &json->levels[json->depth - 1];
    if (peek(json) == close) {
        json->next++;
        json->name_count = level->first_name;
        json->depth--;
        return false;
    }
    if (level->begun && !expect(json, ',', "something else where a comma belongs"))
        return false;
    level->begun = true;
    return true;
}

/* Keeps the name; false when this object already has it (RFC 7515 section 4). */
static bool remember(struct dmsg_json *json, struct dmsg_span name)
{
    for (size_t i = json->levels[json->depth - 1].first_name; i < json->name_count; i++) {
        if (dmsg_span_equal(json->names[i], name))
            return fail(json, "a member that appears twice");
    }
    if (json->name_count == DMSG_JSON_MEMBERS_MAX)
        return fail(json, "more members than are read");
    json->names[json->name_count++] = name;
    return true;
}

bool dmsg_json_next_member(struct dmsg_json *json, struct dmsg_span *name)
{
    return next(json, '}') && dmsg_json_string(json, name) && remember(json, *name) &&
           expect(json, ':', "something else where a colon belongs");
}

bool dmsg_json_next_element(struct dmsg_json *json)
{
    return next(json, ']');
}

static void skip_word(struct dmsg_json *json, const char *word)
{
    size_t size = strlen(word);
    if ((size_t)(json->end - json->next) < size || memcmp(json->next, word, size) != 0)
        fail(json, "a value that JSON does not have");
    else
        json->next += size;
}

/* Calls itself for what is inside, most_depth deep at most. */
void dmsg_json_skip(struct dmsg_json *json)
{
    struct dmsg_span unused;
    switch (peek(json)) {
    case '{':
        dmsg_json_enter_object(json);
        while (dmsg_json_next_member(json, &unused))
            dmsg_json_skip(json);
        break;
    case '[':
        dmsg_json_enter_array(json);
        while (dmsg_json_next_element(json))
            dmsg_json_skip(json);
        break;
    case '"':
        (void)dmsg_json_string(json, &unused);
        break;
    case 't':
        skip_word(json, "true");
        break;
    case 'f':
        skip_word(json, "false");
        break;
    case 'n':
        skip_word(json, "null");
        break;
    default:
        skip_number(json);
    }
}

bool dmsg_json_finish(struct dmsg_json *json)
{
    if (peek(json) >= 0)
        return fail(json, "something after the end");
    return json->fault == NULL && json->depth == 0;
}
