/*
 * base64url in steps of 24 octets, for x86 processors with AVX2. Both functions handle what they
 * can from the front and leave the rest, elsewhere all of it, to the tables of base64url.c. They
 * judge nothing: decoding stops before a step that holds a character outside the alphabet.
 */
#ifndef DANEMSG_BASE_BASE64URL_AVX2_H
#define DANEMSG_BASE_BASE64URL_AVX2_H

#include "danemsg/span.h"

/* Returns the octets that were encoded, a multiple of 24; out got 4/3 of that. */
size_t dmsg_base64url_encode_avx2(char *out, struct dmsg_span in);

/* Returns the characters that were decoded, a multiple of 32; out got 3/4 of that. */
size_t dmsg_base64url_decode_avx2(uint8_t *out, struct dmsg_span in);

#endif
