/*
 * The bare primitives of one envelope, in the cheapest way that OpenSSL is known to offer.
 *
 * In the sum of a seal: one RAND_bytes for message id, content encryption key and IV; the hash of
 * the octets that are signed, and the signature; RSA-OAEP of the content encryption key, or a new
 * ephemeral key with its public point, the key agreement, the KDF's hash and the AES key wrap; the
 * content encryption of the octets that are encrypted, with those that are only authenticated, and
 * its tag. In the sum of an open: the same backwards, with the import of the ephemeral point and
 * the verification of the signature.
 *
 * Not in it: base64, JSON, names, claims, limits, copies, wiping, allocation of our own, the two
 * encodings of an ECDSA signature. All contexts are prepared before, and all octets are those of a
 * real envelope, so that both sides do the same cryptographic work on octets of the same number.
 */
#ifndef DANEMSG_BENCH_BARE_H
#define DANEMSG_BENCH_BARE_H

#include "suites.h"

/* The octets of one envelope, decoded. */
struct bare_message {
    struct dmsg_buffer
        text; /* JWE and JWS as they stand: header, jws and signing_input are in it */
    struct dmsg_buffer jws;
    struct dmsg_span header;        /* authenticated: the JWE's protected header, base64url */
    struct dmsg_span signing_input; /* of the JWS */
    struct dmsg_buffer ciphertext, encrypted_key, iv, tag;
    struct dmsg_buffer point;     /* ECDH: the ephemeral public key, X9.62 or raw */
    struct dmsg_buffer signature; /* as OpenSSL takes it: ECDSA in DER */
};

/* Opens the envelope with pair and keeps its octets. */
void bare_message_init(
    struct bare_message *message, struct bench_pair *pair, struct dmsg_span envelope);
void bare_message_done(struct bare_message *message);

struct bare;

/* keys are borrowed for the call. */
struct bare *bare_new(const struct bench_suite *suite, const struct bench_keys *keys);
void bare_free(struct bare *bare);

/* Fresh keys, IV and signature over the octets of message, thrown away. */
void bare_seal(struct bare *bare, const struct bare_message *message);

/* The tag and the signature are right, or the program ends. */
void bare_open(struct bare *bare, const struct bare_message *message);

#endif
