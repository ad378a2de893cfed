/* base64url in its wide steps: the same as one group at a time, for all lengths and positions. */
#include "base/base64url.h"
#include "base/base64url_avx2.h"
#include "test.h"

#include <stdlib.h>

/* Longer than three steps of either direction, with every rest. */
#define SIZE_MAX_TRIED 400

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/* A bit at a time, to be obviously right. */
static size_t encode_slowly(char *out, const uint8_t *in, size_t size)
{
    size_t written = 0;
    unsigned value = 0, bits = 0;
    for (size_t bit = 0; bit < size * 8; bit++) {
        value = value << 1 | ((unsigned)in[bit / 8] >> (7 - bit % 8) & 1u);
        if (++bits == 6) {
            out[written++] = alphabet[value];
            value = bits = 0;
        }
    }
    if (bits > 0)
        out[written++] = alphabet[value << (6 - bits)];
    return written;
}

static uint8_t octet(size_t i, size_t salt)
{
    return (uint8_t)((i * 0x9e3779b9u + salt * 0x85ebca6bu) >> 13);
}

static void both_ways_for_all_sizes(void)
{
    for (size_t size = 0; size <= SIZE_MAX_TRIED; size++) {
        size_t length = dmsg_base64url_encoded_size(size);
        /* of exact size on the heap, so that one octet too many shows under ASan */
        uint8_t *in = malloc(size + 1), *back = malloc(size + 1);
        char *fast = malloc(length + 1), *slow = malloc(length + 1);
        REQUIRE(in != NULL && back != NULL && fast != NULL && slow != NULL);
        for (size_t i = 0; i < size; i++)
            in[i] = octet(i, size);
        in = realloc(in, size + (size == 0));
        CHECK_ROW(encode_slowly(slow, in, size) == length, "size %zu", size);
        fast[length] = '!';
        back[size] = '!';
        dmsg_base64url_encode(fast, (struct dmsg_span){in, size});
        CHECK_ROW(memcmp(fast, slow, length) == 0, "size %zu", size);
        struct dmsg_span text = {(uint8_t *)slow, length};
        CHECK_ROW(dmsg_base64url_decode(back, text) == (long)size, "size %zu", size);
        CHECK_ROW(memcmp(back, in, size) == 0, "size %zu", size);
        CHECK(fast[length] == '!' && back[size] == '!');
        CHECK_ROW(dmsg_base64url_decode((uint8_t *)slow, text) == (long)size &&
                      memcmp(slow, in, size) == 0,
            "in place, size %zu", size);
        free(in), free(back), free(fast), free(slow);
    }
}

static void from_the_end_of_its_own_place(void)
{
    uint8_t in[SIZE_MAX_TRIED];
    char place[SIZE_MAX_TRIED * 2], expected[SIZE_MAX_TRIED * 2];
    for (size_t size = 0; size <= SIZE_MAX_TRIED; size++) {
        size_t length = dmsg_base64url_encoded_size(size);
        for (size_t i = 0; i < size; i++)
            in[i] = octet(i, size + 7);
        encode_slowly(expected, in, size);
        memcpy(place + length - size, in, size);
        dmsg_base64url_encode(place, (struct dmsg_span){(uint8_t *)place + length - size, size});
        CHECK_ROW(memcmp(place, expected, length) == 0, "size %zu", size);
    }
}

static bool is_in_alphabet(unsigned c)
{
    return c != 0 && strchr(alphabet, (int)c) != NULL;
}

/* Every octet at every place of texts that take one step, two, and two and a rest. */
static void every_character_at_every_place(void)
{
    static const size_t lengths[] = {32, 64, 76, 78, 107};
    static const size_t ends[] = {1, 0, 16, 4}; /* what divides the last value, by length mod 4 */
    uint8_t in[128], out[128];
    for (size_t l = 0; l < sizeof lengths / sizeof lengths[0]; l++) {
        for (size_t at = 0; at < lengths[l]; at++) {
            for (unsigned c = 0; c < 256; c++) {
                memset(in, 'A', lengths[l]);
                in[at] = (uint8_t)c;
                size_t end = at + 1 == lengths[l] ? ends[lengths[l] % 4] : 1;
                bool good =
                    is_in_alphabet(c) && (size_t)(strchr(alphabet, (int)c) - alphabet) % end == 0;
                struct dmsg_span text = {in, lengths[l]};
                long expected = good ? (long)dmsg_base64url_decoded_size(lengths[l]) : -1;
                CHECK_ROW(dmsg_base64url_decode(out, text) == expected, "%02x at %zu of %zu", c, at,
                    lengths[l]);
            }
        }
    }
}

/* Whatever stands behind it. */
static void one_character_more_is_nothing(void)
{
    uint8_t in[SIZE_MAX_TRIED + 4], out[SIZE_MAX_TRIED];
    memset(in, 'A', sizeof in);
    for (size_t size = 1; size <= SIZE_MAX_TRIED; size += 4)
        CHECK_ROW(dmsg_base64url_decode(out, (struct dmsg_span){in, size}) < 0, "%zu", size);
}

static void wide_steps_stop_where_they_cannot_judge(void)
{
    uint8_t in[96], out[96];
    char text[128];
    struct dmsg_span span = {in, sizeof in};
    memset(in, 'A', sizeof in);
    bool wide = dmsg_base64url_decode_avx2(out, span) > 0;
    printf("# wide steps: %s\n", wide ? "AVX2" : "none");
    if (!wide)
        SKIP("no AVX2 here");
    CHECK(dmsg_base64url_decode_avx2(out, span) == 96);
    span.size = 95;
    CHECK(dmsg_base64url_decode_avx2(out, span) == 64);
    in[40] = '=';
    CHECK(dmsg_base64url_decode_avx2(out, span) == 32);
    in[0] = '+';
    CHECK(dmsg_base64url_decode_avx2(out, span) == 0);
    span.size = 28;
    CHECK(dmsg_base64url_encode_avx2(text, span) == 24);
    span.size = 27;
    CHECK(dmsg_base64url_encode_avx2(text, span) == 0);
}

TEST_MAIN(TEST(both_ways_for_all_sizes), TEST(from_the_end_of_its_own_place),
    TEST(every_character_at_every_place), TEST(one_character_more_is_nothing),
    TEST(wide_steps_stop_where_they_cannot_judge))
