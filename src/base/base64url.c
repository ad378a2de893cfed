#include "base/base64url.h"

#include "base/base64url_avx2.h"

#include <string.h>

static const char url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
static const char mime_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/* Value of each character, with BAD in a bit that no value has, so that one test after a run of
   look-ups finds any bad character. */
#define BAD 0x80
#define VALUE(c, c62, c63)                                                                         \
    (uint8_t)((c) >= 'A' && (c) <= 'Z'   ? (c) - 'A'                                               \
              : (c) >= 'a' && (c) <= 'z' ? (c) - 'a' + 26                                          \
              : (c) >= '0' && (c) <= '9' ? (c) - '0' + 52                                          \
              : (c) == (c62)             ? 62                                                      \
              : (c) == (c63)             ? 63                                                      \
                                         : BAD)
#define ROW4(c, x, y) VALUE(c, x, y), VALUE(c + 1, x, y), VALUE(c + 2, x, y), VALUE(c + 3, x, y)
#define ROW16(c, x, y) ROW4(c, x, y), ROW4(c + 4, x, y), ROW4(c + 8, x, y), ROW4(c + 12, x, y)
#define ROW64(c, x, y) ROW16(c, x, y), ROW16(c + 16, x, y), ROW16(c + 32, x, y), ROW16(c + 48, x, y)
#define TABLE(x, y)                                                                                \
    {                                                                                              \
        ROW64(0, x, y), ROW64(64, x, y), ROW64(128, x, y), ROW64(192, x, y)                        \
    }

static const uint8_t url_values[256] = TABLE('-', '_');
static const uint8_t mime_values[256] = TABLE('+', '/');

size_t dmsg_base64url_encoded_size(size_t size)
{
    return size / 3 * 4 + (size % 3 == 0 ? 0 : size % 3 + 1);
}

size_t dmsg_base64url_decoded_size(size_t size)
{
    return size / 4 * 3 + (size % 4 < 2 ? 0 : size % 4 - 1);
}

static char *encode(char *out, struct dmsg_span in, const char *alphabet)
{
    const uint8_t *p = in.data;
    size_t i = 0;
    for (; i + 2 < in.size; i += 3, out += 4) {
        unsigned group = (unsigned)p[i] << 16 | (unsigned)p[i + 1] << 8 | p[i + 2];
        out[0] = alphabet[group >> 18];
        out[1] = alphabet[group >> 12 & 63];
        out[2] = alphabet[group >> 6 & 63];
        out[3] = alphabet[group & 63];
    }
    if (i < in.size) {
        unsigned group = (unsigned)p[i] << 16;
        if (i + 1 < in.size)
            group |= (unsigned)p[i + 1] << 8;
        *out++ = alphabet[group >> 18];
        *out++ = alphabet[group >> 12 & 63];
        if (i + 1 < in.size)
            *out++ = alphabet[group >> 6 & 63];
    }
    return out;
}

static long decode(uint8_t *out, struct dmsg_span in, const uint8_t values[256])
{
    const uint8_t *p = in.data;
    size_t whole = in.size / 4 * 4, rest = in.size % 4, written = 0;
    unsigned bad = 0;

    if (rest == 1)
        return -1;
    for (size_t i = 0; i < whole; i += 4, written += 3) {
        unsigned a = values[p[i]], b = values[p[i + 1]], c = values[p[i + 2]], d = values[p[i + 3]];
        bad |= a | b | c | d;
        out[written] = (uint8_t)(a << 2 | b >> 4);
        out[written + 1] = (uint8_t)(b << 4 | c >> 2);
        out[written + 2] = (uint8_t)(c << 6 | d);
    }
    if (rest > 0) {
        unsigned a = values[p[whole]], b = values[p[whole + 1]];
        unsigned c = rest == 3 ? values[p[whole + 2]] : 0;
        bad |= a | b | c;
        if (rest == 2 ? (b & 15) != 0 : (c & 3) != 0) /* unused bits */
            return -1;
        out[written++] = (uint8_t)(a << 2 | b >> 4);
        if (rest == 3)
            out[written++] = (uint8_t)(b << 4 | c >> 2);
    }
    return (bad & BAD) != 0 ? -1 : (long)written;
}

void dmsg_base64url_encode(char *out, struct dmsg_span in)
{
    size_t done = dmsg_base64url_encode_avx2(out, in);
    (void)encode(
        out + done / 3 * 4, (struct dmsg_span){in.data + done, in.size - done}, url_alphabet);
}

long dmsg_base64url_decode(uint8_t *out, struct dmsg_span in)
{
    size_t done = dmsg_base64url_decode_avx2(out, in), written = done / 4 * 3;
    long rest =
        decode(out + written, (struct dmsg_span){in.data + done, in.size - done}, url_values);
    return rest < 0 ? -1 : (long)written + rest;
}

void dmsg_base64url_put(struct dmsg_buffer *out, struct dmsg_span in)
{
    size_t size = dmsg_base64url_encoded_size(in.size);
    char *to = (char *)dmsg_buffer_reserve(out, size);
    if (to == NULL)
        return;
    dmsg_base64url_encode(to, in);
    out->size += size;
}

static long decode_mime(uint8_t *out, struct dmsg_span in)
{
    return decode(out, in, mime_values);
}

static int take(
    struct dmsg_buffer *out, struct dmsg_span in, long (*decoder)(uint8_t *, struct dmsg_span))
{
    uint8_t *to = dmsg_buffer_reserve(out, dmsg_base64url_decoded_size(in.size));
    if (to == NULL)
        return -1;
    long size = decoder(to, in);
    if (size < 0)
        return -1;
    out->size += (size_t)size;
    return 0;
}

int dmsg_base64url_take(struct dmsg_buffer *out, struct dmsg_span in)
{
    return take(out, in, dmsg_base64url_decode);
}

void dmsg_base64_put(struct dmsg_buffer *out, struct dmsg_span in)
{
    size_t size = (in.size + 2) / 3 * 4;
    char *to = (char *)dmsg_buffer_reserve(out, size);
    if (to == NULL)
        return;
    char *end = encode(to, in, mime_alphabet);
    memset(end, '=', (size_t)(to + size - end));
    out->size += size;
}

int dmsg_base64_take(struct dmsg_buffer *out, struct dmsg_span in)
{
    size_t padding = 0;
    if (in.size % 4 != 0)
        return -1;
    while (padding < 2 && padding < in.size && in.data[in.size - 1 - padding] == '=')
        padding++;
    in.size -= padding;
    return take(out, in, decode_mime);
}
