#include "jose/internal.h"

#include "base/base64url.h"
#include "base/cleanup.h"
#include "base/fail.h"

#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/params.h>
#include <openssl/x509.h>
#include <string.h>

/* ------------------------------------------------------------------------------ the contexts */

static const char *const hash_names[DMSG_HASH_COUNT] = {
    [DMSG_HASH_SHA256] = "SHA2-256",
    [DMSG_HASH_SHA384] = "SHA2-384",
    [DMSG_HASH_SHA512] = "SHA2-512",
};

static EVP_MD_CTX *new_hash(const struct dmsg_context *context, const char *name)
{
    EVP_MD *type = EVP_MD_fetch(context->library, name, DMSG_SOFTWARE);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    if (type == NULL || ctx == NULL || EVP_DigestInit_ex2(ctx, type, NULL) != 1) {
        EVP_MD_CTX_free(ctx);
        ctx = NULL;
    }
    EVP_MD_free(type);
    return ctx;
}

/* A context with its cipher, its direction, and no padding. */
static EVP_CIPHER_CTX *new_cipher(const struct dmsg_context *context, const char *name, int encrypt)
{
    EVP_CIPHER *type = EVP_CIPHER_fetch(context->library, name, DMSG_SOFTWARE);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    if (type == NULL || ctx == NULL ||
        EVP_CipherInit_ex2(ctx, type, NULL, NULL, encrypt, NULL) != 1 ||
        EVP_CIPHER_CTX_set_padding(ctx, 0) != 1) {
        EVP_CIPHER_CTX_free(ctx);
        ctx = NULL;
    }
    EVP_CIPHER_free(type);
    return ctx;
}

static EVP_MAC_CTX *new_hmac(const struct dmsg_context *context)
{
    char digest[] = "SHA2-512", properties[] = DMSG_SOFTWARE;
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_PROPERTIES, properties, 0),
        OSSL_PARAM_construct_end()};
    EVP_MAC *type = EVP_MAC_fetch(context->library, "HMAC", DMSG_SOFTWARE);
    EVP_MAC_CTX *ctx = type != NULL ? EVP_MAC_CTX_new(type) : NULL;
    if (ctx != NULL && EVP_MAC_CTX_set_params(ctx, parameters) != 1) {
        EVP_MAC_CTX_free(ctx);
        ctx = NULL;
    }
    EVP_MAC_free(type);
    return ctx;
}

static bool prepare(struct dmsg_jose *jose)
{
    const struct dmsg_context *context = jose->context;
    for (size_t i = 0; i < DMSG_HASH_COUNT; i++) {
        if ((jose->hash[i] = new_hash(context, hash_names[i])) == NULL)
            return false;
    }
    return (jose->wrap = new_cipher(context, "AES-256-ECB", 1)) != NULL &&
           (jose->unwrap = new_cipher(context, "AES-256-ECB", 0)) != NULL &&
           (jose->gcm_seal = new_cipher(context, "AES-256-GCM", 1)) != NULL &&
           (jose->gcm_open = new_cipher(context, "AES-256-GCM", 0)) != NULL &&
           (jose->cbc_seal = new_cipher(context, "AES-256-CBC", 1)) != NULL &&
           (jose->cbc_open = new_cipher(context, "AES-256-CBC", 0)) != NULL &&
           (jose->hmac = new_hmac(context)) != NULL;
}

int dmsg_jose_new(
    struct dmsg_jose **out, const struct dmsg_context *context, struct dmsg_error *error)
{
    struct dmsg_jose *jose = calloc(1, sizeof *jose);
    if (jose == NULL)
        return dmsg_fail_memory(error);
    jose->context = context;
    if (!prepare(jose)) {
        dmsg_jose_free(&jose);
        return dmsg_fail_openssl(error, "cannot prepare SHA-2, AES-256 and HMAC");
    }
    dmsg_jose_tidy();
    *out = jose;
    return 0;
}

void dmsg_jose_free(struct dmsg_jose **jose)
{
    struct dmsg_jose *old = jose != NULL ? *jose : NULL;
    if (old == NULL)
        return;
    for (size_t i = 0; i < DMSG_HASH_COUNT; i++)
        EVP_MD_CTX_free(old->hash[i]);
    EVP_CIPHER_CTX_free(old->wrap);
    EVP_CIPHER_CTX_free(old->unwrap);
    EVP_CIPHER_CTX_free(old->gcm_seal);
    EVP_CIPHER_CTX_free(old->gcm_open);
    EVP_CIPHER_CTX_free(old->cbc_seal);
    EVP_CIPHER_CTX_free(old->cbc_open);
    EVP_MAC_CTX_free(old->hmac);
    for (size_t i = 0; i < DMSG_ALGORITHM_COUNT; i++) {
        EVP_PKEY_CTX_free(old->curves[i].generate);
        EVP_PKEY_free(old->curves[i].peer);
    }
    dmsg_buffer_done(&old->scratch);
    OPENSSL_cleanse(old, sizeof *old);
    free(old);
    *jose = NULL;
}

/* ---------------------------------------------------------------------------------- the keys */

static bool is_one_use(enum dmsg_jose_use use)
{
    return use == DMSG_USE_SIGN || use == DMSG_USE_VERIFY || use == DMSG_USE_ENCRYPT ||
           use == DMSG_USE_DECRYPT;
}

const char *dmsg_jose_algorithm_of(const EVP_PKEY *key, enum dmsg_jose_use use)
{
    ERR_set_mark();
    const struct dmsg_algorithm *row = key != NULL ? dmsg_algorithm_of_key(key, use) : NULL;
    ERR_pop_to_mark();
    return row != NULL ? row->name : NULL;
}

static int find_algorithm(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    ERR_set_mark();
    key->algorithm = dmsg_algorithm_of_key(key->pkey, key->use);
    if (key->algorithm != NULL) {
        ERR_pop_to_mark();
        return 0;
    }
    if (dmsg_openssl_lacked_memory())
        return dmsg_fail_memory(error);
    return dmsg_fail(error, DMSG_E_CERTIFICATE, "a key that cannot be used to %s: it must be %s",
        key->use == DMSG_USE_SIGN     ? "sign"
        : key->use == DMSG_USE_VERIFY ? "verify"
                                      : "encrypt",
        key->use == DMSG_USE_SIGN || key->use == DMSG_USE_VERIFY
            ? "RSA (2048 to 8192 bits, exponent 65537 to 2^32-1), P-256, P-384, P-521 or Ed25519"
            : "RSA (2048 to 8192 bits, exponent 65537 to 2^32-1), P-256, P-384, P-521 or X25519");
}

int dmsg_jose_key_new(struct dmsg_jose_key **out, struct dmsg_jose *jose, EVP_PKEY *key,
    enum dmsg_jose_use use, struct dmsg_error *error)
{
    if (key == NULL || !is_one_use(use))
        return dmsg_fail(error, DMSG_E_USAGE, "a key is prepared for exactly one use");
    struct dmsg_jose_key *made = calloc(1, sizeof *made);
    if (made == NULL)
        return dmsg_fail_memory(error);
    if (EVP_PKEY_up_ref(key) != 1) {
        free(made);
        return dmsg_fail_openssl(error, "cannot share a key");
    }
    made->jose = jose;
    made->use = use;
    made->pkey = key;
    int result = find_algorithm(made, error);
    if (result == 0)
        result = made->algorithm->family->prepare(made, error);
    dmsg_jose_tidy();
    if (result < 0) {
        dmsg_jose_key_free(&made);
        return result;
    }
    *out = made;
    return 0;
}

void dmsg_jose_key_free(struct dmsg_jose_key **key)
{
    struct dmsg_jose_key *old = key != NULL ? *key : NULL;
    if (old == NULL)
        return;
    EVP_PKEY_CTX_free(old->ctx);
    EVP_MD_CTX_free(old->signer);
    EVP_PKEY_free(old->pkey);
    free(old);
    *key = NULL;
}

const char *dmsg_jose_key_algorithm(const struct dmsg_jose_key *key)
{
    return key->algorithm->name;
}

const char *dmsg_jose_key_properties(const struct dmsg_jose_key *key)
{
    bool private_key = key->use == DMSG_USE_SIGN || key->use == DMSG_USE_DECRYPT;
    return private_key ? key->jose->context->properties : DMSG_SOFTWARE;
}

int dmsg_jose_key_context(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    key->ctx = EVP_PKEY_CTX_new_from_pkey(
        key->jose->context->library, key->pkey, dmsg_jose_key_properties(key));
    return key->ctx != NULL ? 0 : dmsg_fail_openssl(error, "cannot prepare a key");
}

int dmsg_jose_kid(char kid[static DMSG_KID_SIZE], const EVP_PKEY *key, struct dmsg_error *error)
{
    uint8_t digest[EVP_MAX_MD_SIZE], *der = NULL;
    unsigned size = 0;
    int der_size = i2d_PUBKEY(key, &der);
    if (der_size <= 0)
        return dmsg_fail_openssl(error, "cannot encode a public key");
    int hashed = EVP_Digest(der, (size_t)der_size, digest, &size, EVP_sha256(), NULL);
    OPENSSL_free(der);
    if (hashed != 1)
        return dmsg_fail_openssl(error, "cannot hash a public key");
    dmsg_jose_tidy();
    dmsg_base64url_encode(kid, (struct dmsg_span){digest, size});
    kid[DMSG_KID_SIZE - 1] = '\0';
    return 0;
}

/* ----------------------------------------------------------------------------------- helpers */

void dmsg_jose_tidy(void)
{
    if (ERR_peek_error() != 0)
        ERR_clear_error();
}

const EVP_MD *dmsg_jose_hash_type(const struct dmsg_jose *jose, enum dmsg_jose_hash hash)
{
    return EVP_MD_CTX_get0_md(jose->hash[hash]);
}

int dmsg_jose_hash(struct dmsg_jose *jose, enum dmsg_jose_hash hash, const struct dmsg_span *pieces,
    size_t count, uint8_t out[static EVP_MAX_MD_SIZE], struct dmsg_error *error)
{
    EVP_MD_CTX *ctx = jose->hash[hash];
    unsigned size = 0;
    bool done = EVP_DigestInit_ex2(ctx, NULL, NULL) == 1;
    for (size_t i = 0; i < count && done; i++)
        done = pieces[i].size == 0 || EVP_DigestUpdate(ctx, pieces[i].data, pieces[i].size) == 1;
    if (!done || EVP_DigestFinal_ex(ctx, out, &size) != 1)
        return dmsg_fail_openssl(error, "cannot hash");
    return (int)size;
}

int dmsg_jose_reserve(struct dmsg_buffer *out, size_t size, uint8_t **to, struct dmsg_error *error)
{
    if (out->limit != 0 && (out->size > out->limit || size > out->limit - out->size))
        return dmsg_fail(
            error, DMSG_E_SIZE, "%zu octets more are over the limit of %zu", size, out->limit);
    *to = dmsg_buffer_reserve(out, size);
    return *to != NULL ? 0 : dmsg_fail_memory(error);
}

int dmsg_jose_judge_scratch(struct dmsg_jose *jose, struct dmsg_error *error)
{
    if (jose->scratch.failed) {
        dmsg_buffer_done(&jose->scratch);
        return dmsg_fail_memory(error);
    }
    if (jose->scratch.size > DMSG_JOSE_HEADER_X5C_MAX)
        return dmsg_fail(error, DMSG_E_SIZE, "a protected header of %zu octets: at most %d",
            jose->scratch.size, DMSG_JOSE_HEADER_X5C_MAX);
    return 0;
}

uint8_t *dmsg_jose_put_text(uint8_t *to, const char *text)
{
    size_t size = strlen(text);
    memcpy(to, text, size);
    return to + size;
}

uint8_t *dmsg_jose_put_base64url(uint8_t *to, struct dmsg_span in)
{
    dmsg_base64url_encode((char *)to, in);
    return to + dmsg_base64url_encoded_size(in.size);
}
