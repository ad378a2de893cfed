#include "base/utf8.h"

#define POINT_MAX 0x10ffff

/* Length of the sequence that this first byte begins, and the smallest code point that needs it. */
static size_t sequence_length(uint8_t first, uint32_t *bits, uint32_t *smallest)
{
    if (first < 0x80) {
        *bits = first, *smallest = 0;
        return 1;
    }
    if ((first & 0xe0) == 0xc0) {
        *bits = first & 0x1f, *smallest = 0x80;
        return 2;
    }
    if ((first & 0xf0) == 0xe0) {
        *bits = first & 0x0f, *smallest = 0x800;
        return 3;
    }
    if ((first & 0xf8) == 0xf0) {
        *bits = first & 0x07, *smallest = 0x10000;
        return 4;
    }
    return 0;
}

size_t dmsg_utf8_next(struct dmsg_span text, uint32_t *point)
{
    uint32_t value = 0, smallest = 0;
    if (text.size == 0)
        return 0;
    size_t length = sequence_length(text.data[0], &value, &smallest);
    if (length == 0 || length > text.size)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((text.data[i] & 0xc0) != 0x80)
            return 0;
        value = value << 6 | (text.data[i] & 0x3f);
    }
    if (value < smallest || value > POINT_MAX || (value >= 0xd800 && value <= 0xdfff))
        return 0;
    if (point != NULL)
        *point = value;
    return length;
}

bool dmsg_utf8_valid(struct dmsg_span text)
{
    while (text.size > 0) {
        size_t length = dmsg_utf8_next(text, NULL);
        if (length == 0)
            return false;
        text.data += length;
        text.size -= length;
    }
    return true;
}

struct range {
    uint32_t first, last;
};

/* What a terminal or a reader may be deceived with: controls, bidi, invisible, separators, tags,
   private use and non-characters at the end of the planes (Unicode 15, UAX 9 and UTS 39). */
static const struct range unsafe[] = {{0x00, 0x09}, {0x0b, 0x1f}, {0x7f, 0x9f}, {0xad, 0xad},
    {0x61c, 0x61c}, {0x180b, 0x180f}, {0x200b, 0x200f}, {0x2028, 0x202e}, {0x2060, 0x206f},
    {0xfe00, 0xfe0f}, {0xfeff, 0xfeff}, {0xe000, 0xf8ff}, {0xfdd0, 0xfdef}, {0xfff0, 0xfffc},
    {0xfffe, 0xffff}, {0xe0000, 0x10ffff}};

static bool is_unsafe(uint32_t point)
{
    for (size_t i = 0; i < sizeof unsafe / sizeof unsafe[0]; i++) {
        if (point >= unsafe[i].first && point <= unsafe[i].last)
            return true;
    }
    return false;
}

/* Printable ASCII at the front, which most texts are made of. */
static size_t plain_run(struct dmsg_span text)
{
    size_t run = 0;
    while (run < text.size && text.data[run] >= 0x20 && text.data[run] < 0x7f)
        run++;
    return run;
}

void dmsg_text_escape(struct dmsg_buffer *out, struct dmsg_span text, bool one_line)
{
    while (text.size > 0) {
        uint32_t point = 0;
        size_t run = plain_run(text);
        size_t length = run > 0 ? run : dmsg_utf8_next(text, &point);
        if (run > 0) {
            dmsg_buffer_put(out, text.data, run);
        } else if (length == 0) {
            dmsg_buffer_format(out, "\\x%02x", text.data[0]);
            length = 1;
        } else if (one_line && point == '\n') {
            dmsg_buffer_put_text(out, "\\n");
        } else if (one_line && point == '\t') {
            dmsg_buffer_put_text(out, "\\t");
        } else if (is_unsafe(point)) {
            dmsg_buffer_format(out, "\\u{%04x}", (unsigned)point);
        } else {
            dmsg_buffer_put(out, text.data, length);
        }
        text.data += length;
        text.size -= length;
    }
}

static void put_json_point(struct dmsg_buffer *out, uint32_t point)
{
    if (point == '"' || point == '\\')
        dmsg_buffer_format(out, "\\%c", (char)point);
    else if (point >= 0x20 && point < 0x7f)
        dmsg_buffer_put_byte(out, (uint8_t)point);
    else if (point < 0x10000)
        dmsg_buffer_format(out, "\\u%04x", (unsigned)point);
    else
        dmsg_buffer_format(out, "\\u%04x\\u%04x", (unsigned)(0xd7c0 + (point >> 10)),
            (unsigned)(0xdc00 + (point & 0x3ff)));
}

void dmsg_json_put_string(struct dmsg_buffer *out, struct dmsg_span text)
{
    dmsg_buffer_put_byte(out, '"');
    while (text.size > 0) {
        uint32_t point = 0xfffd;
        size_t length = dmsg_utf8_next(text, &point);
        if (length == 0)
            length = 1;
        put_json_point(out, point);
        text.data += length;
        text.size -= length;
    }
    dmsg_buffer_put_byte(out, '"');
}
