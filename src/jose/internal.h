/* What the files of this room share: the prepared contexts, a key, and the small derivations. */
#ifndef DANEMSG_JOSE_INTERNAL_H
#define DANEMSG_JOSE_INTERNAL_H

#include "jose/algorithms.h"

#include <limits.h>
#include <openssl/evp.h>

/* RFC 3394 section 2.2.3: a wrapped key is one block of 64 bits longer. */
#define DMSG_WRAP_OVERHEAD 8
#define DMSG_KEK_SIZE 32

/* Most octets of one message: OpenSSL counts in int, and base64url must not overflow either. */
#define DMSG_CONTENT_SIZE_MAX (INT_MAX / 4)

/*
 * The property query for everything but private keys: hashing, ciphers, ephemeral and others'
 * public keys stay with OpenSSL's own provider where it is loaded, even when the context's query
 * prefers a hardware's, which offers those too and is slow at them. FIPS is asked for in the
 * library context's default properties, which apply as well.
 */
#define DMSG_SOFTWARE "?provider=default"

/* What an ECDH row needs besides the key; made when the first key of the row is prepared. */
struct dmsg_curve {
    EVP_PKEY_CTX *generate; /* makes ephemeral keys */
    EVP_PKEY *peer;         /* takes the point of each epk in turn */
};

/*
 * Contexts that keep their fetched algorithm and, until the next message or dmsg_jose_free, the
 * last message's content encryption key.
 */
struct dmsg_jose {
    const struct dmsg_context *context;
    EVP_MD_CTX *hash[DMSG_HASH_COUNT];
    EVP_CIPHER_CTX *wrap, *unwrap;                  /* AES-256-ECB */
    EVP_CIPHER_CTX *gcm_seal, *gcm_open;            /* AES-256-GCM */
    EVP_CIPHER_CTX *cbc_seal, *cbc_open;            /* AES-256-CBC */
    EVP_MAC_CTX *hmac;                              /* HMAC-SHA512 */
    struct dmsg_curve curves[DMSG_ALGORITHM_COUNT]; /* by row of the table */
    struct dmsg_buffer scratch;                     /* headers; nothing secret */

    /* Goes on in the place of a content encryption key that cannot be had (RFC 7516 section
       11.5). Made before it is needed, so that a good message does not pay for it, and anew
       after each failure. */
    uint8_t spare_cek[DMSG_CEK_SIZE_MAX];
    bool has_spare_cek;
};

struct dmsg_jose_key {
    struct dmsg_jose *jose;
    const struct dmsg_algorithm *algorithm;
    enum dmsg_jose_use use;
    EVP_PKEY *pkey;
    EVP_PKEY_CTX *ctx;  /* the operation, prepared; NULL where another is needed per message */
    EVP_MD_CTX *signer; /* Ed25519, which does not sign digests */
    size_t size;        /* octets of a signature, or of the RSA modulus */
    bool worn_out;      /* RSA: memory ran out while it was used, see rsa.c */
};

/* The property query for a key: a private one may live in a provider of its own. */
const char *dmsg_jose_key_properties(const struct dmsg_jose_key *key);

/* key->ctx on key->pkey. */
int dmsg_jose_key_context(struct dmsg_jose_key *key, struct dmsg_error *error) DMSG_MUST_CHECK;

/* OpenSSL sometimes succeeds with an error left in its queue: nothing of ours stays there. */
void dmsg_jose_tidy(void);

/* The prepared digest. */
const EVP_MD *dmsg_jose_hash_type(const struct dmsg_jose *jose, enum dmsg_jose_hash hash);

/* Digest of the pieces; returns its size, or DMSG_E_INTERNAL. */
int dmsg_jose_hash(struct dmsg_jose *jose, enum dmsg_jose_hash hash, const struct dmsg_span *pieces,
    size_t count, uint8_t out[static EVP_MAX_MD_SIZE], struct dmsg_error *error) DMSG_MUST_CHECK;

/* DMSG_E_SIZE when `size` more octets are over out's limit (out is then as it was), else makes
   room and points *to at it. */
int dmsg_jose_reserve(
    struct dmsg_buffer *out, size_t size, uint8_t **to, struct dmsg_error *error) DMSG_MUST_CHECK;

/*
 * The Concat KDF of NIST SP 800-56A with SHA-256 as RFC 7518 section 4.6.2 fills it in, for keys
 * of up to 32 octets (one round).
 */
int dmsg_concat_kdf(struct dmsg_jose *jose, struct dmsg_span secret, const char *algorithm,
    struct dmsg_span party_u, struct dmsg_span party_v, uint8_t *key, size_t key_size,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* AES key wrap with a 256-bit key (RFC 3394) of 16 to DMSG_CEK_SIZE_MAX octets. Unwrap returns 1,
   0 when the integrity check fails (key then holds anything), or DMSG_E_INTERNAL. */
int dmsg_key_wrap(struct dmsg_jose *jose, const uint8_t kek[static DMSG_KEK_SIZE],
    struct dmsg_span key, uint8_t *wrapped, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_key_unwrap(struct dmsg_jose *jose, const uint8_t kek[static DMSG_KEK_SIZE],
    const uint8_t *wrapped, uint8_t *key, size_t key_size,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* The protected header of either kind of object (RFC 7515 section 4, RFC 7516 section 4). */
int dmsg_jose_header_parse(struct dmsg_jose_header *out, struct dmsg_span encoded, bool encrypted,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* After a header was put together in the scratch: memory ran out, or it is larger than a receiver
   accepts (DMSG_E_SIZE). */
int dmsg_jose_judge_scratch(struct dmsg_jose *jose, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Copies text without its NUL and returns what comes after it. */
uint8_t *dmsg_jose_put_text(uint8_t *to, const char *text);
uint8_t *dmsg_jose_put_base64url(uint8_t *to, struct dmsg_span in);

#endif
