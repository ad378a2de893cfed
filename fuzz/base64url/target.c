/* base64url and base64: the same as a slow reader that follows RFC 4648 word by word, and each
   byte string has exactly one text. */
#include "target.h"

#include "base/base64url.h"

#include <string.h>

unsigned long fuzz_accepted;

static int value_of(uint8_t c)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *found = c != '\0' ? strchr(alphabet, c) : NULL;
    return found != NULL ? (int)(found - alphabet) : -1;
}

/* Bit by bit; -1 when the text is not canonical. */
static long decode_slowly(uint8_t *out, struct dmsg_span text)
{
    unsigned bits = 0, count = 0;
    long size = 0;
    for (size_t i = 0; i < text.size; i++) {
        int value = value_of(text.data[i]);
        if (value < 0)
            return -1;
        bits = bits << 6 | (unsigned)value;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out[size++] = (uint8_t)(bits >> count);
            bits &= (1u << count) - 1;
        }
    }
    return count >= 6 || bits != 0 ? -1 : size;
}

/* Memory of exactly that size, so that a sanitizer sees every octet beyond it. */
static uint8_t *allocate(size_t size)
{
    uint8_t *memory = malloc(size > 0 ? size : 1);
    FUZZ_ASSERT(memory != NULL);
    return memory;
}

static void check_decoding(struct dmsg_span text)
{
    size_t room = dmsg_base64url_decoded_size(text.size);
    uint8_t *decoded = allocate(room), *slowly = allocate(text.size), *place = allocate(text.size);
    long size = dmsg_base64url_decode(decoded, text);
    FUZZ_ASSERT(size == decode_slowly(slowly, text));
    if (text.size > 0)
        memcpy(place, text.data, text.size);
    FUZZ_ASSERT(dmsg_base64url_decode(place, (struct dmsg_span){place, text.size}) == size);
    if (size >= 0) {
        fuzz_accepted++;
        FUZZ_ASSERT((size_t)size == room && memcmp(decoded, slowly, room) == 0 &&
                    memcmp(decoded, place, room) == 0);
        struct dmsg_buffer again = {0};
        dmsg_base64url_put(&again, (struct dmsg_span){decoded, room});
        FUZZ_ASSERT(!again.failed && dmsg_span_equal(dmsg_buffer_span(&again), text));
        dmsg_buffer_done(&again);
    }
    free(decoded);
    free(slowly);
    free(place);
}

static void check_encoding(struct dmsg_span octets)
{
    size_t room = dmsg_base64url_encoded_size(octets.size);
    uint8_t *text = allocate(room), *back = allocate(octets.size);
    dmsg_base64url_encode((char *)text, octets);
    long size = dmsg_base64url_decode(back, (struct dmsg_span){text, room});
    FUZZ_ASSERT(size == (long)octets.size);
    FUZZ_ASSERT(dmsg_span_equal((struct dmsg_span){back, octets.size}, octets));
    free(text);
    free(back);
}

/* Padded base64, as x5c has it. */
static void check_padded(struct dmsg_span input)
{
    struct dmsg_buffer first = {0}, second = {0};
    if (dmsg_base64_take(&first, input) == 0) {
        dmsg_base64_put(&second, dmsg_buffer_span(&first));
        FUZZ_ASSERT(dmsg_span_equal(dmsg_buffer_span(&second), input));
    }
    dmsg_buffer_reset(&first);
    dmsg_buffer_reset(&second);
    dmsg_base64_put(&first, input);
    FUZZ_ASSERT(dmsg_base64_take(&second, dmsg_buffer_span(&first)) == 0);
    FUZZ_ASSERT(dmsg_span_equal(dmsg_buffer_span(&second), input));
    dmsg_buffer_done(&first);
    dmsg_buffer_done(&second);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dmsg_span input = {data, size};
    check_decoding(input);
    check_encoding(input);
    check_padded(input);
    return 0;
}
