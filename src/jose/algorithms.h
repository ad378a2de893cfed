/*
 * The table of algorithms: what a key can do is decided here and nowhere else. An algorithm is one
 * row and, when no family does it yet, one file.
 */
#ifndef DANEMSG_JOSE_ALGORITHMS_H
#define DANEMSG_JOSE_ALGORITHMS_H

#include "jose/jose.h"

/* Octets of the largest of each: RSA-8192; P-521; A256CBC-HS512. */
#define DMSG_RSA_SIZE_MAX (DMSG_JOSE_RSA_BITS_MAX / 8)
#define DMSG_FIELD_SIZE_MAX 66
#define DMSG_POINT_SIZE_MAX (1 + 2 * DMSG_FIELD_SIZE_MAX)
#define DMSG_CEK_SIZE_MAX 64
#define DMSG_IV_SIZE_MAX 16
#define DMSG_TAG_SIZE_MAX 32

enum dmsg_jose_hash { DMSG_HASH_SHA256, DMSG_HASH_SHA384, DMSG_HASH_SHA512, DMSG_HASH_COUNT };

/* What a signature is made over: the pieces in their order. */
#define DMSG_SIGNING_PIECES 3

/* A content encryption key on its way to the recipient. */
struct dmsg_wrapped_key {
    uint8_t encrypted_key[DMSG_RSA_SIZE_MAX];
    size_t encrypted_key_size;
    uint8_t point[DMSG_POINT_SIZE_MAX]; /* ECDH: the ephemeral public key, X9.62 or raw */
};

/* What one file does for the keys of its family. sign and verify, or wrap and unwrap. */
struct dmsg_family {
    /* Makes the contexts that the key's use needs. */
    int (*prepare)(struct dmsg_jose_key *key, struct dmsg_error *error);

    /* Writes key->size octets, to where there is room for DMSG_RSA_SIZE_MAX. */
    int (*sign)(struct dmsg_jose_key *key, const struct dmsg_span pieces[DMSG_SIGNING_PIECES],
        uint8_t *signature, struct dmsg_error *error);
    /* signature has key->size octets. 0, DMSG_E_SIGNATURE or DMSG_E_INTERNAL. */
    int (*verify)(struct dmsg_jose_key *key, const struct dmsg_span pieces[DMSG_SIGNING_PIECES],
        const uint8_t *signature, struct dmsg_error *error);

    /* out->encrypted_key_size is set by the caller. */
    int (*wrap)(struct dmsg_jose_key *key, struct dmsg_span cek, struct dmsg_wrapped_key *out,
        struct dmsg_error *error);
    /* 1 and the key in cek; 0 when it cannot be had, cek then holds anything; DMSG_E_INTERNAL
       when memory ran out. Takes the same time for 1 and 0 as far as OpenSSL allows. */
    int (*unwrap)(struct dmsg_jose_key *key, struct dmsg_wrapped_key *in, uint8_t *cek,
        size_t cek_size, struct dmsg_error *error);
};

struct dmsg_algorithm {
    const char *name;  /* alg in the header */
    const char *alias; /* another alg that means the same and is only read; or NULL */
    unsigned uses;     /* enum dmsg_jose_use */
    const char *type;  /* of the EVP_PKEY */
    const char *group; /* OpenSSL's name of the curve; NULL when the type says it */
    const char *kty, *crv;
    size_t field_size; /* octets of a coordinate, of half an ECDSA signature */
    bool has_y;        /* two coordinates, and 04 before them */
    enum dmsg_jose_hash hash;
    const struct dmsg_family *family;
};

#define DMSG_ALGORITHM_COUNT 10
extern const struct dmsg_algorithm dmsg_algorithms[DMSG_ALGORITHM_COUNT];

extern const struct dmsg_family dmsg_family_rsa_signature, dmsg_family_rsa_oaep, dmsg_family_ecdsa,
    dmsg_family_ed25519, dmsg_family_ecdh_es;

/* The row for a key and a use, NULL when there is none. May leave OpenSSL errors behind. */
const struct dmsg_algorithm *dmsg_algorithm_of_key(const EVP_PKEY *key, enum dmsg_jose_use use);

/* A row that has this name and one of the uses (several rows may share a name), or NULL. */
const struct dmsg_algorithm *dmsg_algorithm_of_name(struct dmsg_span name, unsigned uses);

/* True when name is the row's alg or alias. */
bool dmsg_algorithm_is_named(const struct dmsg_algorithm *algorithm, struct dmsg_span name);

/* ---------------------------------------------------------------------- content encryption */

struct dmsg_enc {
    const char *name;
    size_t cek_size, iv_size, tag_size;

    size_t (*ciphertext_size)(size_t plaintext);
    bool (*is_ciphertext_size)(size_t size);

    /* Writes ciphertext_size(plaintext.size) and tag_size octets. */
    int (*seal)(struct dmsg_jose *jose, const uint8_t *cek, const uint8_t *iv,
        struct dmsg_span protected_header, struct dmsg_span plaintext, uint8_t *ciphertext,
        uint8_t *tag, struct dmsg_error *error);
    /* In place; the plaintext's size goes to *size. 0, DMSG_E_DECRYPT without a text when it is
       not authentic, or DMSG_E_INTERNAL; after a failure data holds anything. */
    int (*open)(struct dmsg_jose *jose, const uint8_t *cek, const uint8_t *iv,
        struct dmsg_span protected_header, uint8_t *data, size_t *size, const uint8_t *tag,
        struct dmsg_error *error);
};

#define DMSG_ENC_COUNT 2
extern const struct dmsg_enc *const dmsg_encs[DMSG_ENC_COUNT]; /* by enum dmsg_jose_enc */
extern const struct dmsg_enc dmsg_enc_gcm, dmsg_enc_cbc;

const struct dmsg_enc *dmsg_enc_of_name(struct dmsg_span name);

#endif
