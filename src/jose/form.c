#include "jose/form.h"

#include "base/fail.h"

#include <string.h>

/* The flattened form is read by hand: its members are strings without escapes whose content the
   base64url decoder judges, so that memchr finds their ends. */
struct cursor {
    const uint8_t *next, *end;
};

static int peek(struct cursor *cursor)
{
    for (; cursor->next < cursor->end; cursor->next++) {
        uint8_t c = *cursor->next;
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return c;
    }
    return -1;
}

static bool take(struct cursor *cursor, char c)
{
    if (peek(cursor) != c)
        return false;
    cursor->next++;
    return true;
}

static bool take_string(struct cursor *cursor, struct dmsg_span *out)
{
    if (!take(cursor, '"'))
        return false;
    const uint8_t *start = cursor->next;
    const uint8_t *quote = memchr(start, '"', (size_t)(cursor->end - start));
    if (quote == NULL)
        return false;
    *out = (struct dmsg_span){start, (size_t)(quote - start)};
    cursor->next = quote + 1;
    return out->size == 0 || memchr(out->data, '\\', out->size) == NULL;
}

static int fail_json(struct dmsg_error *error, const char *what)
{
    return dmsg_fail(error, DMSG_E_FORMAT,
        "%s: not a JSON object whose members are strings without escapes", what);
}

/* One member into its part. */
static int take_member(struct cursor *cursor, const struct dmsg_form_part *parts, size_t count,
    unsigned *seen, const char *what, struct dmsg_error *error)
{
    struct dmsg_span name, value;
    if (!take_string(cursor, &name) || !take(cursor, ':'))
        return fail_json(error, what);
    for (size_t i = 0; i < count; i++) {
        if (!dmsg_span_equal_text(name, parts[i].name))
            continue;
        if ((*seen & 1u << i) != 0)
            return dmsg_fail(
                error, DMSG_E_FORMAT, "%s: the member %s appears twice", what, parts[i].name);
        if (!take_string(cursor, &value))
            return fail_json(error, what);
        *seen |= 1u << i;
        *parts[i].text = value;
        return 0;
    }
    return dmsg_fail(error, DMSG_E_FORMAT,
        "%s: a member that its flattened form does not have, or not here: unprotected headers, "
        "additional data and several recipients or signatures are not accepted",
        what);
}

static int split_flattened(const struct dmsg_form_part *parts, size_t count, struct dmsg_span text,
    const char *what, struct dmsg_error *error)
{
    struct cursor cursor = {text.data, text.data + text.size};
    unsigned seen = 0;

    if (!take(&cursor, '{'))
        return fail_json(error, what);
    do {
        int result = take_member(&cursor, parts, count, &seen, what, error);
        if (result < 0)
            return result;
    } while (take(&cursor, ','));
    if (!take(&cursor, '}') || peek(&cursor) >= 0)
        return fail_json(error, what);
    for (size_t i = 0; i < count; i++) {
        if ((seen & 1u << i) == 0)
            return dmsg_fail(
                error, DMSG_E_FORMAT, "%s: the member %s is missing", what, parts[i].name);
    }
    return 0;
}

static int split_compact(const struct dmsg_form_part *parts, size_t count, struct dmsg_span text,
    const char *what, struct dmsg_error *error)
{
    const uint8_t *start = text.data, *end = text.data + text.size;
    for (size_t i = 0; i < count; i++) {
        const uint8_t *dot = start < end ? memchr(start, '.', (size_t)(end - start)) : NULL;
        bool last = i + 1 == count;
        if ((dot == NULL) != last)
            return dmsg_fail(error, DMSG_E_FORMAT,
                "%s: neither JSON nor %zu parts separated by dots (RFC 7515 section 3.1, RFC 7516 "
                "section 3.1)",
                what, count);
        *parts[i].text = (struct dmsg_span){start, (size_t)((last ? end : dot) - start)};
        start = last ? end : dot + 1;
    }
    return 0;
}

int dmsg_form_split(enum dmsg_jose_form *form, const struct dmsg_form_part *parts, size_t count,
    struct dmsg_span text, const char *what, struct dmsg_error *error)
{
    struct cursor cursor = {text.data, text.data + text.size};
    if (text.size == 0)
        return dmsg_fail(error, DMSG_E_FORMAT, "%s: empty", what);
    *form = peek(&cursor) == '{' ? DMSG_FORM_FLATTENED : DMSG_FORM_COMPACT;
    return *form == DMSG_FORM_FLATTENED ? split_flattened(parts, count, text, what, error)
                                        : split_compact(parts, count, text, what, error);
}

size_t dmsg_form_frame_size(const char *const *around, size_t count)
{
    size_t size = 0;
    for (size_t i = 0; i < count; i++)
        size += strlen(around[i]);
    return size;
}
