#include "jose/algorithms.h"

#include "base/cleanup.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#define SIGNS (DMSG_USE_SIGN | DMSG_USE_VERIFY)
#define ENCRYPTS (DMSG_USE_ENCRYPT | DMSG_USE_DECRYPT)

#define EC(bits, name, size)                                                                       \
    .type = "EC", .group = name, .kty = "EC", .crv = "P-" #bits, .field_size = size, .has_y = true

const struct dmsg_algorithm dmsg_algorithms[DMSG_ALGORITHM_COUNT] = {
    {.name = "RS256",
        .uses = SIGNS,
        .type = "RSA",
        .hash = DMSG_HASH_SHA256,
        .family = &dmsg_family_rsa_signature},
    {.name = "ES256",
        .uses = SIGNS,
        EC(256, "prime256v1", 32),
        .hash = DMSG_HASH_SHA256,
        .family = &dmsg_family_ecdsa},
    {.name = "ES384",
        .uses = SIGNS,
        EC(384, "secp384r1", 48),
        .hash = DMSG_HASH_SHA384,
        .family = &dmsg_family_ecdsa},
    {.name = "ES512",
        .uses = SIGNS,
        EC(521, "secp521r1", 66),
        .hash = DMSG_HASH_SHA512,
        .family = &dmsg_family_ecdsa},
    /* RFC 8037 section 3.1; RFC 9864 section 2.2 gives the alias. */
    {.name = "EdDSA",
        .alias = "Ed25519",
        .uses = SIGNS,
        .type = "ED25519",
        .field_size = 32,
        .family = &dmsg_family_ed25519},

    {.name = "RSA-OAEP-256",
        .uses = ENCRYPTS,
        .type = "RSA",
        .hash = DMSG_HASH_SHA256,
        .family = &dmsg_family_rsa_oaep},
    {.name = "ECDH-ES+A256KW",
        .uses = ENCRYPTS,
        EC(256, "prime256v1", 32),
        .family = &dmsg_family_ecdh_es},
    {.name = "ECDH-ES+A256KW",
        .uses = ENCRYPTS,
        EC(384, "secp384r1", 48),
        .family = &dmsg_family_ecdh_es},
    {.name = "ECDH-ES+A256KW",
        .uses = ENCRYPTS,
        EC(521, "secp521r1", 66),
        .family = &dmsg_family_ecdh_es},
    {.name = "ECDH-ES+A256KW",
        .uses = ENCRYPTS,
        .type = "X25519",
        .kty = "OKP",
        .crv = "X25519",
        .field_size = 32,
        .family = &dmsg_family_ecdh_es},
};

const struct dmsg_enc *const dmsg_encs[DMSG_ENC_COUNT] = {
    [DMSG_ENC_A256GCM] = &dmsg_enc_gcm,
    [DMSG_ENC_A256CBC_HS512] = &dmsg_enc_cbc,
};

/* Longest exponent that is accepted, in bits: larger ones only cost the verifier time. */
#define RSA_EXPONENT_BITS_MAX 32
#define RSA_EXPONENT_MIN 65537

struct rsa_numbers {
    BIGNUM *n, *e;
};

static bool read_numbers(struct rsa_numbers *out, const EVP_PKEY *key)
{
    return EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &out->n) == 1 &&
           EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &out->e) == 1;
}

/* The public key as others see it. */
static EVP_PKEY *encode_and_decode(const EVP_PKEY *key)
{
    uint8_t *der = NULL;
    int size = i2d_PUBKEY(key, &der);
    const uint8_t *next = der;
    EVP_PKEY *read = size > 0 ? d2i_PUBKEY(NULL, &next, size) : NULL;
    OPENSSL_free(der);
    return read;
}

/* A TPM's own word for 65537 is 0 (TPM 2.0 part 2, section 12.2.3.5), which its provider passes
   on. */
static void reread_exponent(struct rsa_numbers *numbers, const EVP_PKEY *key)
{
    DMSG_CLEANUP(dmsg_cleanup_pkey) EVP_PKEY *read = encode_and_decode(key);
    BIGNUM *e = NULL;
    if (read == NULL || EVP_PKEY_get_bn_param(read, OSSL_PKEY_PARAM_RSA_E, &e) != 1)
        return;
    BN_free(numbers->e);
    numbers->e = e;
}

static bool rsa_is_acceptable(const EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);
    struct rsa_numbers numbers = {NULL, NULL};
    bool read = bits >= DMSG_JOSE_RSA_BITS_MIN && bits <= DMSG_JOSE_RSA_BITS_MAX &&
                read_numbers(&numbers, key);
    if (read && BN_is_zero(numbers.e))
        reread_exponent(&numbers, key);
    bool acceptable = read && BN_is_odd(numbers.n) && BN_is_odd(numbers.e) &&
                      BN_num_bits(numbers.e) <= RSA_EXPONENT_BITS_MAX &&
                      BN_get_word(numbers.e) >= RSA_EXPONENT_MIN;
    BN_free(numbers.n);
    BN_free(numbers.e);
    return acceptable;
}

/* A curve by its name. One spelt out by its parameters is refused even when it is the same: the
   table names curves (RFC 5480 section 2.1.1 forbids them too). */
static bool has_group(const EVP_PKEY *key, const struct dmsg_algorithm *row)
{
    char group[32];
    int spelt_out = 0;
    if (EVP_PKEY_get_group_name(key, group, sizeof group, NULL) != 1)
        return false;
    if (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &spelt_out) ==
            1 &&
        spelt_out != 0)
        return false;
    return strcmp(group, row->group) == 0 || strcmp(group, row->crv) == 0;
}

static bool fits(const EVP_PKEY *key, const struct dmsg_algorithm *row)
{
    if (EVP_PKEY_is_a(key, row->type) != 1)
        return false;
    if (strcmp(row->type, "RSA") == 0)
        return rsa_is_acceptable(key);
    return row->group == NULL || has_group(key, row);
}

const struct dmsg_algorithm *dmsg_algorithm_of_key(const EVP_PKEY *key, enum dmsg_jose_use use)
{
    const struct dmsg_algorithm *found = NULL;
    for (size_t i = 0; i < DMSG_ALGORITHM_COUNT && found == NULL; i++) {
        const struct dmsg_algorithm *row = &dmsg_algorithms[i];
        if ((row->uses & use) != 0 && fits(key, row))
            found = row;
    }
    return found;
}

bool dmsg_algorithm_is_named(const struct dmsg_algorithm *algorithm, struct dmsg_span name)
{
    return dmsg_span_equal_text(name, algorithm->name) ||
           (algorithm->alias != NULL && dmsg_span_equal_text(name, algorithm->alias));
}

const struct dmsg_algorithm *dmsg_algorithm_of_name(struct dmsg_span name, unsigned uses)
{
    for (size_t i = 0; i < DMSG_ALGORITHM_COUNT; i++) {
        const struct dmsg_algorithm *row = &dmsg_algorithms[i];
        if ((row->uses & uses) != 0 && dmsg_algorithm_is_named(row, name))
            return row;
    }
    return NULL;
}

const struct dmsg_enc *dmsg_enc_of_name(struct dmsg_span name)
{
    for (size_t i = 0; i < DMSG_ENC_COUNT; i++) {
        if (dmsg_span_equal_text(name, dmsg_encs[i]->name))
            return dmsg_encs[i];
    }
    return NULL;
}
