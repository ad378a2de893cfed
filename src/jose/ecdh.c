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
    return EVP_PKEY_CTX_new_from_name(context->library, key->algorithm->type, context->properties);
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

/* A public key whose point is replaced with each message's: on a named curve it begins without one,
   X25519 cannot, and begins with the base point (RFC 7748 section 4.1). */
static int prepare_peer(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    struct dmsg_curve *curve = curve_of(key);
    const char *group = key->algorithm->group;
    uint8_t base_point[32] = {9};
    char name[32] = "";

    if (curve->peer != NULL)
        return 0;
    if (group != NULL)
        memcpy(name, group, strlen(group) + 1);
    OSSL_PARAM parameters[] = {
        group != NULL ? OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, name, 0)
                      : OSSL_PARAM_construct_octet_string(
                            OSSL_PKEY_PARAM_PUB_KEY, base_point, sizeof base_point),
        OSSL_PARAM_construct_end()};
    DMSG_CLEANUP(dmsg_cleanup_pkey_ctx) EVP_PKEY_CTX *ctx = new_context(key);
    if (ctx == NULL || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &curve->peer,
            group != NULL ? EVP_PKEY_KEY_PARAMETERS : EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        return dmsg_fail_openssl(error, "cannot prepare for ephemeral public keys");
    return 0;
}

/* Once per recipient, so that each message can do without: on the curve, and not infinity. */
static int check_recipient(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    int result = dmsg_jose_key_context(key, error);
    if (result < 0)
        return result;
    bool good = EVP_PKEY_public_check(key->ctx) == 1;
    EVP_PKEY_CTX_free(key->ctx);
    key->ctx = NULL;
    if (good)
        return 0;
    return dmsg_jose_out_of_memory()
               ? dmsg_fail_memory(error)
               : dmsg_fail(error, DMSG_E_CERTIFICATE,
                     "the recipient's public key is not a point of its curve");
}

static int prepare(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    if (key->use == DMSG_USE_ENCRYPT) {
        int result = check_recipient(key, error);
        return result < 0 ? result : prepare_generation(key, error);
    }
    int result = prepare_peer(key, error);
    if (result == 0)
        result = dmsg_jose_key_context(key, error);
    if (result < 0)
        return result;
    if (EVP_PKEY_derive_init(key->ctx) != 1)
        return dmsg_fail_openssl(error, "cannot prepare a key for key agreement");
    return 0;
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

/* A shared secret of exactly the field's size; an all-zero one of X25519 fails (RFC 8037 section
   3.2). The peer's key was checked before. */
static bool derive(EVP_PKEY_CTX *ctx, EVP_PKEY *peer, uint8_t *secret, size_t size)
{
    size_t written = DMSG_FIELD_SIZE_MAX;
    return EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) == 1 &&
           EVP_PKEY_derive(ctx, secret, &written) == 1 && written == size;
}

/* The secret shared with the recipient through a new ephemeral key, whose point goes to out. */
static bool agree(struct dmsg_jose_key *key, uint8_t *secret, struct dmsg_wrapped_key *out)
{
    const struct dmsg_context *context = key->jose->context;
    const struct dmsg_algorithm *algorithm = key->algorithm;
    DMSG_CLEANUP(dmsg_cleanup_pkey) EVP_PKEY *ephemeral = NULL;
    size_t size = 0;

    if (EVP_PKEY_generate(curve_of(key)->generate, &ephemeral) != 1 ||
        EVP_PKEY_get_octet_string_param(ephemeral, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, out->point,
            sizeof out->point, &size) != 1 ||
        size != point_size(algorithm))
        return false;
    DMSG_CLEANUP(dmsg_cleanup_pkey_ctx)
    EVP_PKEY_CTX *ctx =
        EVP_PKEY_CTX_new_from_pkey(context->library, ephemeral, context->properties);
    return ctx != NULL && EVP_PKEY_derive_init(ctx) == 1 &&
           derive(ctx, key->pkey, secret, algorithm->field_size);
}

static int wrap(struct dmsg_jose_key *key, struct dmsg_span cek, struct dmsg_wrapped_key *out,
    struct dmsg_error *error)
{
    uint8_t secret[DMSG_FIELD_SIZE_MAX], kek[DMSG_KEK_SIZE];
    int result = agree(key, secret, out)
                     ? derive_kek(key, secret, kek, error)
                     : dmsg_fail_openssl(error, "cannot agree on a key with the recipient");
    if (result == 0)
        result = dmsg_key_wrap(key->jose, kek, cek, out->encrypted_key, error);
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(kek, sizeof kek);
    return result;
}

/* ------------------------------------------------------------------------------------ opening */

/*
 * The secret shared with the sender's ephemeral key. The import refuses a point that is not on
 * the curve, against which the derivation is then not checked again. The point is always handed
 * over with its coordinates, for OpenSSL takes one octet 00 as infinity.
 */
static bool meet(struct dmsg_jose_key *key, const uint8_t *point, uint8_t *secret)
{
    EVP_PKEY *peer = curve_of(key)->peer;
    const struct dmsg_algorithm *algorithm = key->algorithm;
    return EVP_PKEY_set1_encoded_public_key(peer, point, point_size(algorithm)) == 1 &&
           derive(key->ctx, peer, secret, algorithm->field_size);
}

static int unwrap(struct dmsg_jose_key *key, const struct dmsg_wrapped_key *in, uint8_t *cek,
    size_t cek_size, struct dmsg_error *error)
{
    uint8_t secret[DMSG_FIELD_SIZE_MAX] = {0}, kek[DMSG_KEK_SIZE];
    bool met = meet(key, in->point, secret);
    if (!met && dmsg_jose_out_of_memory())
        return dmsg_fail_memory(error);
    int result = derive_kek(key, secret, kek, error);
    if (result == 0)
        result = dmsg_key_unwrap(key->jose, kek, in->encrypted_key, cek, cek_size, error);
    OPENSSL_cleanse(secret, sizeof secret);
    OPENSSL_cleanse(kek, sizeof kek);
    return met || result < 0 ? result : 0;
}

const struct dmsg_family dmsg_family_ecdh_es = {.prepare = prepare, .wrap = wrap, .unwrap = unwrap};
