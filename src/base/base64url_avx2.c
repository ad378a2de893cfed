#include "base/base64url_avx2.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define AVX2 __attribute__((target("avx2")))

/* Octets and characters of one step; encoding reads four octets more than it uses. */
#define STEP 24
#define STEP_TEXT 32
#define STEP_READS 28

/* The same 16 octets in both halves: byte shuffles work within a half. */
AVX2 static __m256i twice(__m128i half)
{
    return _mm256_broadcastsi128_si256(half);
}

/* Three octets in each group of four: to four values of six bits. */
AVX2 static __m256i split(__m256i octets)
{
    /* Per group the octets 1 0 2 1, so that each pair of values lies in one 16-bit word. */
    const __m128i order = _mm_setr_epi8(1, 0, 2, 1, 4, 3, 5, 4, 7, 6, 8, 7, 10, 9, 11, 10);
    const __m256i words = _mm256_shuffle_epi8(octets, twice(order));
    /* Multiplying by powers of two shifts each word by its own distance: right by 10 and 6 (the
       high half of the product), left by 4 and 8. */
    const __m256i even = _mm256_mulhi_epu16(
        _mm256_and_si256(words, _mm256_set1_epi32(0x0fc0fc00)), _mm256_set1_epi32(0x04000040));
    const __m256i odd = _mm256_mullo_epi16(
        _mm256_and_si256(words, _mm256_set1_epi32(0x003f03f0)), _mm256_set1_epi32(0x01000010));
    return _mm256_or_si256(even, odd);
}

/* Values to characters: what to add depends on the range, 0 is for a-z, 1 to 10 for the digits,
   11 for '-', 12 for '_' and 13 for A-Z. */
AVX2 static __m256i to_text(__m256i values)
{
    const __m128i add = _mm_setr_epi8('a' - 26, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52,
        '0' - 52, '0' - 52, '0' - 52, '0' - 52, '0' - 52, '-' - 62, '_' - 63, 'A', 0, 0);
    const __m256i above = _mm256_subs_epu8(values, _mm256_set1_epi8(51));
    const __m256i upper = _mm256_cmpgt_epi8(_mm256_set1_epi8(26), values);
    const __m256i range = _mm256_or_si256(above, _mm256_and_si256(upper, _mm256_set1_epi8(13)));
    return _mm256_add_epi8(values, _mm256_shuffle_epi8(twice(add), range));
}

AVX2 static size_t encode(char *out, struct dmsg_span in)
{
    size_t done = 0;
    for (; in.size - done >= STEP_READS; done += STEP, out += STEP_TEXT) {
        const uint8_t *p = in.data + done;
        const __m128i low = _mm_loadu_si128((const __m128i *)(const void *)p);
        const __m128i high = _mm_loadu_si128((const __m128i *)(const void *)(p + STEP / 2));
        const __m256i text = to_text(split(_mm256_set_m128i(high, low)));
        _mm256_storeu_si256((__m256i *)(void *)out, text);
    }
    return done;
}

/* Characters to values; false when one of them is outside the alphabet. */
AVX2 static bool to_values(__m256i text, __m256i *values)
{
    /* By the high four bits, 2 to 7: '-', 0-9, A-O, P-Z and '_', a-o, p-z. A character is valid
       when the bit of its high half is set for its low half. */
    const __m128i bits = _mm_setr_epi8(0, 0, 1, 2, 4, 8, 16, 32, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i valid = _mm_setr_epi8(2 + 8 + 32, 62, 62, 62, 62, 62, 62, 62, 62, 62,
        4 + 8 + 16 + 32, 4 + 16, 4 + 16, 1 + 4 + 16, 4 + 16, 4 + 8 + 16);
    const __m128i add = _mm_setr_epi8(
        0, 0, 62 - '-', 52 - '0', -'A', -'A', 26 - 'a', 26 - 'a', 0, 0, 0, 0, 0, 0, 0, 0);
    const __m256i nibble = _mm256_set1_epi8(0x0f);
    const __m256i high = _mm256_and_si256(_mm256_srli_epi16(text, 4), nibble);
    const __m256i low = _mm256_and_si256(text, nibble);
    const __m256i good = _mm256_and_si256(
        _mm256_shuffle_epi8(twice(bits), high), _mm256_shuffle_epi8(twice(valid), low));
    if (_mm256_movemask_epi8(_mm256_cmpeq_epi8(good, _mm256_setzero_si256())) != 0)
        return false;
    /* '_' shares its high half with P-Z. */
    const __m256i line = _mm256_cmpeq_epi8(text, _mm256_set1_epi8('_'));
    const __m256i more = _mm256_and_si256(line, _mm256_set1_epi8(63 - '_' + 'A'));
    *values = _mm256_add_epi8(_mm256_add_epi8(text, _mm256_shuffle_epi8(twice(add), high)), more);
    return true;
}

/* Four values of six bits in each group of four: to three octets, twelve in each half. */
AVX2 static __m256i join(__m256i values)
{
    const __m128i order = _mm_setr_epi8(2, 1, 0, 6, 5, 4, 10, 9, 8, 14, 13, 12, -1, -1, -1, -1);
    const __m256i pairs = _mm256_maddubs_epi16(values, _mm256_set1_epi32(0x01400140));
    const __m256i groups = _mm256_madd_epi16(pairs, _mm256_set1_epi32(0x00011000));
    return _mm256_shuffle_epi8(groups, twice(order));
}

AVX2 static size_t decode(uint8_t *out, struct dmsg_span in)
{
    size_t done = 0;
    __m256i values;
    for (; in.size - done >= STEP_TEXT; done += STEP_TEXT, out += STEP) {
        const void *p = in.data + done;
        if (!to_values(_mm256_loadu_si256((const __m256i *)p), &values))
            break;
        /* The two times twelve octets side by side. */
        const __m256i octets =
            _mm256_permutevar8x32_epi32(join(values), _mm256_setr_epi32(0, 1, 2, 4, 5, 6, 7, 7));
        _mm_storeu_si128((__m128i *)(void *)out, _mm256_castsi256_si128(octets));
        _mm_storel_epi64((__m128i *)(void *)(out + 16), _mm256_extracti128_si256(octets, 1));
    }
    return done;
}

size_t dmsg_base64url_encode_avx2(char *out, struct dmsg_span in)
{
    return __builtin_cpu_supports("avx2") ? encode(out, in) : 0;
}

size_t dmsg_base64url_decode_avx2(uint8_t *out, struct dmsg_span in)
{
    return __builtin_cpu_supports("avx2") ? decode(out, in) : 0;
}

#else

size_t dmsg_base64url_encode_avx2(char *out, struct dmsg_span in)
{
    (void)out, (void)in;
    return 0;
}

size_t dmsg_base64url_decode_avx2(uint8_t *out, struct dmsg_span in)
{
    (void)out, (void)in;
    return 0;
}

#endif
