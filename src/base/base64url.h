/*
 * base64url without padding (RFC 7515 section 2), strict: the alphabet only, no padding, no white
 * space, length mod 4 never 1, unused trailing bits zero, so that each byte string has exactly
 * one text. And RFC 4648's padded base64 for x5c (RFC 7515 section 4.1.6), as strict.
 * Neither is constant in time; secrets that pass through are ephemeral (ciphertext, wrapped keys).
 */
#ifndef DANEMSG_BASE_BASE64URL_H
#define DANEMSG_BASE_BASE64URL_H

#include "danemsg/error.h"
#include "danemsg/span.h"

/* Characters that `size` bytes make; bytes that `size` characters make at most. */
size_t dmsg_base64url_encoded_size(size_t size);
size_t dmsg_base64url_decoded_size(size_t size);

/*
 * Writes exactly dmsg_base64url_encoded_size(in.size) characters, no NUL. in may be the last
 * in.size octets of the place that the characters take: what was made there is encoded forwards
 * without another buffer.
 */
void dmsg_base64url_encode(char *out, struct dmsg_span in);

/*
 * Writes dmsg_base64url_decoded_size(in.size) bytes and returns that number, or -1 when the text
 * is not canonical (out may then hold a part). out may be in.data itself: decoding in place.
 */
long dmsg_base64url_decode(uint8_t *out, struct dmsg_span in) DMSG_MUST_CHECK;

/* Appends; the second returns 0 or -1 (not canonical, or no room: then out->failed). */
void dmsg_base64url_put(struct dmsg_buffer *out, struct dmsg_span in);
int dmsg_base64url_take(struct dmsg_buffer *out, struct dmsg_span in) DMSG_MUST_CHECK;

/* RFC 4648 section 4 with padding, the alphabet only, no white space. */
void dmsg_base64_put(struct dmsg_buffer *out, struct dmsg_span in);
int dmsg_base64_take(struct dmsg_buffer *out, struct dmsg_span in) DMSG_MUST_CHECK;

#endif
