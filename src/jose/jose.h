/*
 * JOSE for danemsg: JWS (RFC 7515) and JWE (RFC 7516) with the algorithms of one table, as strict
 * as doc/PROTOCOL.md asks. This room knows bytes and keys; it does not know names, times,
 * recipients or trust: whoever calls it judges the header members.
 *
 *     struct dmsg_jose *jose;                         one per thread: fetched algorithms, contexts
 *     dmsg_jose_new(&jose, &context, &error);
 *
 *     struct dmsg_jose_key *key;                      one EVP_PKEY prepared for one use
 *     dmsg_jose_key_new(&key, jose, pkey, DMSG_USE_DECRYPT, &error);
 *
 *     struct dmsg_jwe jwe;                            spans into text, nothing copied
 *     struct dmsg_jose_header header;
 *     dmsg_jwe_parse(&jwe, text, &error);
 *     dmsg_jwe_header_parse(&header, &jwe, &error);
 *     ... is it for me, which of my keys ...
 *     dmsg_jwe_decrypt(key, &jwe, &header, &plaintext, &error);
 *
 * Not checked here: who the key belongs to, typ, cty, x5u, kid, aud, iat, exp, jti, topic, x5c.
 */
#ifndef DANEMSG_JOSE_JOSE_H
#define DANEMSG_JOSE_JOSE_H

#include "danemsg/context.h"
#include "danemsg/error.h"
#include "danemsg/span.h"

/* Decoded header: 4 KiB; with x5c (four certificates in base64) 16 KiB. */
#define DMSG_JOSE_HEADER_MAX 4096
#define DMSG_JOSE_HEADER_X5C_MAX 16384
#define DMSG_JOSE_X5C_COUNT 4

/* RSA keys in bits. Below is weak; above only costs time. The exponent is odd, 65537 to 2^32-1. */
#define DMSG_JOSE_RSA_BITS_MIN 2048
#define DMSG_JOSE_RSA_BITS_MAX 8192

/* base64url(SHA-256(SubjectPublicKeyInfo)) and a NUL: the v1 kid. */
#define DMSG_KID_SIZE 44

enum dmsg_jose_use {
    DMSG_USE_SIGN = 1,
    DMSG_USE_VERIFY = 2,
    DMSG_USE_ENCRYPT = 4,
    DMSG_USE_DECRYPT = 8,
};

enum dmsg_jose_enc { DMSG_ENC_A256GCM, DMSG_ENC_A256CBC_HS512 };

enum dmsg_jose_form { DMSG_FORM_COMPACT, DMSG_FORM_FLATTENED };

/*
 * Everything prepared that keys of one thread share. Not to be used by two threads at once, nor are
 * keys made with it, which it must outlive. The context's property query is for private keys, which
 * may live in hardware; all else is done by OpenSSL's own provider where it is loaded.
 */
struct dmsg_jose;
int dmsg_jose_new(struct dmsg_jose **out, const struct dmsg_context *context,
    struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_jose_free(struct dmsg_jose **jose);

/*
 * The algorithm that the table gives a key for a use, "ES256" or "RSA-OAEP-256" for instance
 * (static storage), or NULL: the type, curve, size or exponent is not in the table. Private or
 * public key alike. Reads parameters only; a hardware key is not touched.
 */
const char *dmsg_jose_algorithm_of(const EVP_PKEY *key, enum dmsg_jose_use use);

/* base64url(SHA-256(SubjectPublicKeyInfo)) of a private or public key, NUL-terminated. */
int dmsg_jose_kid(
    char kid[static DMSG_KID_SIZE], const EVP_PKEY *key, struct dmsg_error *error) DMSG_MUST_CHECK;

/*
 * Prepares a key for one use; takes a reference of its own on the EVP_PKEY, or a duplicate of an
 * RSA private key in memory, since threads that share one wait for each other. DMSG_E_CERTIFICATE
 * when the table does not have it, or the recipient's is not a point of its curve; DMSG_E_USAGE
 * when use is not exactly one.
 */
struct dmsg_jose_key;
int dmsg_jose_key_new(struct dmsg_jose_key **out, struct dmsg_jose *jose, EVP_PKEY *key,
    enum dmsg_jose_use use, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_jose_key_free(struct dmsg_jose_key **key);
const char *dmsg_jose_key_algorithm(const struct dmsg_jose_key *key);

/* ------------------------------------------------------------------------------- the header */

/* Which members were there. */
enum dmsg_jose_member {
    DMSG_HAS_ALG = 1 << 0,
    DMSG_HAS_ENC = 1 << 1,
    DMSG_HAS_TYP = 1 << 2,
    DMSG_HAS_CTY = 1 << 3,
    DMSG_HAS_X5U = 1 << 4,
    DMSG_HAS_KID = 1 << 5,
    DMSG_HAS_AUD = 1 << 6,
    DMSG_HAS_IAT = 1 << 7,
    DMSG_HAS_EXP = 1 << 8,
    DMSG_HAS_JTI = 1 << 9,
    DMSG_HAS_TOPIC = 1 << 10,
    DMSG_HAS_X5C = 1 << 11,
    DMSG_HAS_EPK = 1 << 12,
};

/*
 * A protected header, decoded. The spans point into storage (escapes resolved, valid UTF-8, not
 * NUL-terminated). A member that is absent is an empty span and no bit in present.
 */
struct dmsg_jose_header {
    unsigned present;
    struct dmsg_span alg, enc, typ, cty, x5u, kid, aud, jti, topic;
    int64_t iat, exp; /* 0 <= value < 2^53 */
    struct dmsg_span epk_kty, epk_crv, epk_x, epk_y;
    size_t x5c_count;
    struct dmsg_span x5c[DMSG_JOSE_X5C_COUNT]; /* padded base64, still encoded */
    struct dmsg_span json;                     /* the whole decoded text, after unescaping in place
                                                  no longer valid JSON: for sizes only */
    uint8_t storage[DMSG_JOSE_HEADER_X5C_MAX];
};

/* ------------------------------------------------------------------------------------- JWE */

/* The parts of a JWE as they stand in the text, still base64url. */
struct dmsg_jwe {
    enum dmsg_jose_form form;
    struct dmsg_span protected_header, encrypted_key, iv, ciphertext, tag;
};

/*
 * Compact or flattened JSON. Flattened: exactly the members protected, encrypted_key, iv,
 * ciphertext, tag, strings without escapes, in any order, JSON white space allowed; anything else
 * (header, unprotected, aad, recipients, a doubled or unknown member) is DMSG_E_FORMAT.
 */
int dmsg_jwe_parse(
    struct dmsg_jwe *out, struct dmsg_span text, struct dmsg_error *error) DMSG_MUST_CHECK;

/*
 * The protected header of a JWE. Refused with DMSG_E_FORMAT: not canonical base64url, not JSON as
 * doc/PROTOCOL.md "Strictness" has it, crit, zip, b64, jwk, jku, p2c, p2s, apu, apv, alg or enc
 * absent, epk when alg is not ECDH-ES, and the other way round. DMSG_E_SIZE over the header's
 * limit. DMSG_E_ALGORITHM: an alg or enc that the table does not have. Other unknown members are
 * ignored (RFC 7515 section 4), after the same syntax checks.
 */
int dmsg_jwe_header_parse(struct dmsg_jose_header *out, const struct dmsg_jwe *jwe,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/*
 * Decrypts and authenticates; appends the plaintext. The algorithm is the key's; a header that
 * says otherwise is DMSG_E_ALGORITHM. Lengths that cannot be right are DMSG_E_FORMAT, before any
 * crypto. All else fails in one way, DMSG_E_DECRYPT with one text and the same work: a bad
 * encrypted key continues with a random one (RFC 7516 section 11.5). On failure nothing is
 * appended and what was written is wiped.
 */
int dmsg_jwe_decrypt(struct dmsg_jose_key *key, const struct dmsg_jwe *jwe,
    const struct dmsg_jose_header *header, struct dmsg_buffer *plaintext,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/*
 * Encrypts to the key and appends the JWE's text. The protected header is
 * {"alg":…,"enc":…,MEMBERS,"epk":…}: members is JSON text without braces, `"typ":"JWE"` for
 * instance, may be empty, and must not hold alg, enc or epk. Nothing is appended on failure.
 * plaintext must not overlap out.
 */
int dmsg_jwe_encrypt(struct dmsg_jose_key *key, enum dmsg_jose_enc enc, struct dmsg_span members,
    struct dmsg_span plaintext, enum dmsg_jose_form form, struct dmsg_buffer *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* ------------------------------------------------------------------------------------- JWS */

struct dmsg_jws {
    enum dmsg_jose_form form;
    struct dmsg_span protected_header, payload, signature;
    struct dmsg_span signing_input; /* compact: "protected.payload" as it stands; else empty */
};

/* Compact or flattened JSON (exactly protected, payload, signature), as dmsg_jwe_parse. */
int dmsg_jws_parse(
    struct dmsg_jws *out, struct dmsg_span text, struct dmsg_error *error) DMSG_MUST_CHECK;

/* As dmsg_jwe_header_parse; enc and epk are refused. */
int dmsg_jws_header_parse(struct dmsg_jose_header *out, const struct dmsg_jws *jws,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* DMSG_E_ALGORITHM: the header's alg is not the key's. DMSG_E_FORMAT: a length that cannot be
   right. DMSG_E_SIGNATURE: all else. */
int dmsg_jws_verify(struct dmsg_jose_key *key, const struct dmsg_jws *jws,
    const struct dmsg_jose_header *header, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Appends the decoded payload; it may be empty. DMSG_E_FORMAT when not canonical base64url. */
int dmsg_jws_payload(
    const struct dmsg_jws *jws, struct dmsg_buffer *out, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Signs and appends the JWS's text; members as in dmsg_jwe_encrypt, without alg. */
int dmsg_jws_sign(struct dmsg_jose_key *key, struct dmsg_span members, struct dmsg_span payload,
    enum dmsg_jose_form form, struct dmsg_buffer *out, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Size of what dmsg_jws_sign and dmsg_jwe_encrypt append at most, for limits said before work. */
size_t dmsg_jws_size(
    const struct dmsg_jose_key *key, size_t members, size_t payload, enum dmsg_jose_form form);
size_t dmsg_jwe_size(const struct dmsg_jose_key *key, enum dmsg_jose_enc enc, size_t members,
    size_t plaintext, enum dmsg_jose_form form);

#endif
