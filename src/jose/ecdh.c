/* ECDH-ES+A256KW (RFC 7518 section 4.6) on the NIST curves, and X25519 (RFC 8037 section 3.2). */
#include "jose/internal.h"

#include "base/cleanup.h"
#include "base/fail.h"

#include <openssl/core_names.h>
#include <openssl/params.h>
#include <string.h>

static struct dmsg_curve *curve_of(const struct dmsg_jose_key *key)
{
    return &key->jose->curves[key->algorithm - dmsg_algorithms];
}

static size_t point_size(const struct dmsg_algorithm *algorithm)
{
    return algorithm->has_y ? 1 + 2 * algorithm->field_size : algorithm->field_size;
}

/* ------------------------------------------------------------------------------- preparation */

static EVP_PKEY_CTX *new_context(const struct dmsg_jose_key *key)
{
    const struct dmsg_context *context = key->jose->context;
    return EVP_PKEY_CTX_new_from_name(context->library, key->algorithm->type, DMSG_SOFTWARE);
}

static bool set_group(EVP_PKEY_CTX *ctx, const struct dmsg_algorithm *algorithm)
{
    return algorithm->group == NULL || EVP_PKEY_CTX_set_group_name(ctx, algorithm->group) == 1;
}

static int prepare_generation(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    struct dmsg_curve *curve = curve_of(key);
    if (curve->generate != NULL)
        return 0;
    DMSG_CLEANUP(dmsg_cleanup_pkey_ctx) EVP_PKEY_CTX *ctx = new_context(key);
    if (ctx == NULL || EVP_PKEY_keygen_init(ctx) != 1 || !set_group(ctx, key->algorithm))
        return dmsg_fail_openssl(error, "cannot prepare ephemeral keys");
    curve->generate = ctx;
    ctx = NULL;
    return 0;
}

/*
 * A key of this row from its public point, or without one: then only a named curve. OpenSSL refuses
 * a point that is not on the curve, and takes one octet 00 for infinity.
 */
static EVP_PKEY *import_point(const struct dmsg_jose_key *key, uint8_t *point, size_t size)
{
    const struct dmsg_algorithm *algorithm = key->algorithm;
    EVP_PKEY *made = NULL;
    OSSL_PARAM parameters[3];
    size_t count = 0;
    char group[32];

    if (algorithm->group != NULL) {
        memcpy(group, algorithm->group, strlen(algorithm->group) + 1);
        parameters[count++] =
            OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
    }
    if (size > 0)
        parameters[count++] =
            OSSL_PARAM_construct_octet_string(OSSL_PKEY_PARAM_PUB_KEY, point, size);
    parameters[count] = OSSL_PARAM_construct_end();
    DMSG_CLEANUP(dmsg_cleanup_pkey_ctx) EVP_PKEY_CTX *ctx = new_context(key);
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(
            ctx, &made, size > 0 ? EVP_PKEY_PUBLIC_KEY : EVP_PKEY_KEY_PARAMETERS, parameters) != 1)
        return NULL;
    return made;
}

/* The key whose point is replaced with each message's. X25519 has none without a point: there it
   begins with its base point (RFC 7748 section 4.1), though any other number would do. */
static int prepare_peer(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    struct dmsg_curve *curve = curve_of(key);
    uint8_t base_point[DMSG_FIELD_SIZE_MAX] = {9};
    if (curve->peer == NULL)
        curve->peer = import_point(
            key, base_point, key->algorithm->group != NULL ? 0 : key->algorithm->field_size);
    return curve->peer != NULL
               ? 0
               : dmsg_fail_openssl(error, "cannot prepare for ephemeral public keys");
}

/* --------------------------------------------------------------------------------- agreement */

/* A shared secret of exactly the field's size; an all-zero one of X25519 fails (RFC 8037 section
   3.2). The peer's key was checked before. */
static bool derive(EVP_PKEY_CTX *ctx, EVP_PKEY *peer, uint8_t *secret, size_t size)
{
    size_t written = DMSG_FIELD_SIZE_MAX;
    return EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) == 1 &&
           EVP_PKEY_derive(ctx, secret, &written) == 1 && written == size;
}

/* The secret shared with the recipient through a new ephemeral key, whose point goes to out: 1, 0
   when there is none with this recipient's key, or DMSG_E_INTERNAL. */
static int agree(struct dmsg_jose_key *key, uint8_t *secret, struct dmsg_wrapped_key *out,
    struct dmsg_error *error)
{
    const struct dmsg_algorithm *algorithm = key->algorithm;
    DMSG_CLEANUP(dmsg_cleanup_pkey) EVP_PKEY *ephemeral = NULL;
    size_t size = 0;

    if (EVP_PKEY_generate(curve_of(key)->generate, &ephemeral) != 1 ||
        EVP_PKEY_get_octet_string_param(ephemeral, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, out->point,
            sizeof out->point, &size) != 1 ||
        size != point_size(algorithm))
        return dmsg_fail_openssl(error, "cannot make an ephemeral key");
    DMSG_CLEANUP(dmsg_cleanup_pkey_ctx)
    EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_pkey(key->jose->context->library, ephemeral, DMSG_SOFTWARE);
    if (ctx == NULL || EVP_PKEY_derive_init(ctx) != 1)
        return dmsg_fail_openssl(error, "cannot prepare an ephemeral key");
    if (derive(ctx, key->pkey, secret, algorithm->field_size))
        return 1;
    return dmsg_openssl_lacked_memory() ? dmsg_fail_memory(error) : 0;
}

/* An X25519 point of low order has the shape of a key, and agrees on zero with everybody (RFC 7748
   section 6.1): better known before the first message. */
static int try_agreement(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    uint8_t secret[DMSG_FIELD_SIZE_MAX];
    struct dmsg_wrapped_key unused;
    int result = agree(key, secret, &unused, error);
    OPENSSL_cleanse(secret, sizeof secret);
    if (result < 0)
        return result;
    return result == 1 ? 0
                       : dmsg_fail(error, DMSG_E_CERTIFICATE,
                             "the recipient's X25519 key is a point of low order, which keeps no "
                             "secret");
}

/* ------------------------------------------------------------------------- a recipient, a reader
 */

/* Takes the recipient's point into a key of our own, which checks it once, so that each message
   can do without, and has no private part, wherever the given key lives. */
static int prepare_recipient(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    uint8_t point[DMSG_POINT_SIZE_MAX];
    size_t size = 0;
    bool read = EVP_PKEY_get_octet_string_param(
                    key->pkey, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point, &size) == 1;
    EVP_PKEY *own = read && size > 1 ? import_point(key, point, size) : NULL;
    if (own == NULL)
        return dmsg_openssl_lacked_memory()
                   ? dmsg_fail_memory(error)
                   : dmsg_fail(error, DMSG_E_CERTIFICATE,
                         "the recipient's key is not a point of its curve");
    EVP_PKEY_free(key->pkey);
    key->pkey = own;
    int result = prepare_generation(key, error);
    return result < 0 || key->algorithm->has_y ? result : try_agreement(key, error);
}

static int prepare(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    if (key->use == DMSG_USE_ENCRYPT)
        return prepare_recipient(key, error);
    int result = prepare_peer(key, error);
    if (result == 0)
        result = dmsg_jose_key_context(key, error);
    if (result < 0)
        return result;
    return EVP_PKEY_derive_init(key->ctx) == 1
               ? 0
               : dmsg_fail_openssl(error, "cannot prepare a key for key agreement");
}

/* ------------------------------------------------------------------------------------ sealing */

/* The key encryption key from the shared secret. */
static int derive_kek(
    struct dmsg_jose_key *key, const uint8_t *secret, uint8_t *kek, struct dmsg_error *error)
{
    const struct dmsg_span none = {0};
    const struct dmsg_span z = {secret, key->algorithm->field_size};
    return dmsg_concat_kdf(
        key->jose, z, key->algorithm->name, none, none, kek, DMSG_KEK_SIZE, error);
}

static int wrap(struct dmsg_jose_key *key, struct dmsg_span cek, struct dmsg_wrapped_key *out,
    struct dmsg_error *error)
{
    uint8_t secret[DMSG_FIELD_SIZE_MAX], kek[DMSG_KEK_SIZE];
    int result = agree(key, secret, out, error);
    if (result == 0)
        result = dmsg_fail_openssl(error, "cannot agree on a key with the recipient");
    if (result == 1)
        result = derive_kek(key, secret, kek, error);
    if (result == 0)
        result = dmsg_key_wrap(key->jose, kek, cek, out->encrypted_key, error);
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(kek, sizeof kek);
    return result;
}

/* ------------------------------------------------------------------------------------ opening */

/*
 * The sender's point as a key: the kept one, whose import refuses a point that is not on the curve,
 * or, for a private key that lives elsewhere and may keep what it has seen of another key, a new
 * one that *made frees. The point always comes with its coordinates, since OpenSSL takes one octet
 * 00 as infinity.
 */
static EVP_PKEY *import_peer(struct dmsg_jose_key *key, uint8_t *point, EVP_PKEY **made)
{
    EVP_PKEY *kept = curve_of(key)->peer;
    size_t size = point_size(key->algorithm);
    if (EVP_PKEY_get0_provider(key->pkey) != EVP_PKEY_get0_provider(kept))
        return *made = import_point(key, point, size);
    return EVP_PKEY_set1_encoded_public_key(kept, point, size) == 1 ? kept : NULL;
}

/*
 * The secret shared with the sender's ephemeral key: 1, 0 when that key is no good,
 * DMSG_E_INTERNAL. On a NIST curve every point that the import took has a secret, so that what then
 * fails is the private key, in a token that is gone for instance; with X25519 it is an all-zero
 * result.
 */
static int meet(
    struct dmsg_jose_key *key, uint8_t *point, uint8_t *secret, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_pkey) EVP_PKEY *made = NULL;
    EVP_PKEY *peer = import_peer(key, point, &made);
    if (peer != NULL && derive(key->ctx, peer, secret, key->algorithm->field_size))
        return 1;
    if (peer != NULL && key->algorithm->has_y)
        return dmsg_fail_openssl(error, "cannot agree on a key with the private key");
    return dmsg_openssl_lacked_memory() ? dmsg_fail_memory(error) : 0;
}

static int unwrap(struct dmsg_jose_key *key, struct dmsg_wrapped_key *in, uint8_t *cek,
    size_t cek_size, struct dmsg_error *error)
{
    uint8_t secret[DMSG_FIELD_SIZE_MAX] = {0}, kek[DMSG_KEK_SIZE];
    int met = meet(key, in->point, secret, error);
    int result = met < 0 ? met : derive_kek(key, secret, kek, error);
    if (result == 0)
        result = dmsg_key_unwrap(key->jose, kek, in->encrypted_key, cek, cek_size, error);
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(kek, sizeof kek);
    return met == 1 || result < 0 ? result : 0;
}

const struct dmsg_family dmsg_family_ecdh_es = {.prepare = prepare, .wrap = wrap, .unwrap = unwrap};
