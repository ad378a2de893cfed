/* RSA: RS256 (RFC 7518 section 3.3) and RSA-OAEP-256 (section 4.3). */
#include "jose/internal.h"

#include "base/fail.h"

#include <openssl/err.h>
#include <openssl/rsa.h>
#include <string.h>

/*
 * Threads that share an RSA key wait for its blinding, so that a private key is duplicated. A key
 * that lives in hardware cannot be, and is shared.
 */
static void own_private_key(struct dmsg_jose_key *key)
{
    ERR_set_mark();
    EVP_PKEY *own = EVP_PKEY_dup(key->pkey);
    ERR_pop_to_mark();
    if (own == NULL)
        return;
    EVP_PKEY_free(key->pkey);
    key->pkey = own;
}

static int prepare(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    int size = EVP_PKEY_get_size(key->pkey);
    if (size <= 0 || size > DMSG_RSA_SIZE_MAX)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "an RSA key of %d octets", size);
    key->size = (size_t)size;
    if (key->use == DMSG_USE_SIGN || key->use == DMSG_USE_DECRYPT)
        own_private_key(key);
    return dmsg_jose_key_context(key, error);
}

/* --------------------------------------------------------------------------------- signature */

static int prepare_signature(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    int result = prepare(key, error);
    if (result < 0)
        return result;
    const EVP_MD *hash = dmsg_jose_hash_type(key->jose, key->algorithm->hash);
    bool sign = key->use == DMSG_USE_SIGN;
    if ((sign ? EVP_PKEY_sign_init(key->ctx) : EVP_PKEY_verify_init(key->ctx)) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(key->ctx, RSA_PKCS1_PADDING) != 1 ||
        EVP_PKEY_CTX_set_signature_md(key->ctx, hash) != 1)
        return dmsg_fail_openssl(error, "cannot prepare an RSA key for signatures");
    return 0;
}

static int sign(struct dmsg_jose_key *key, const struct dmsg_span pieces[DMSG_SIGNING_PIECES],
    uint8_t *signature, struct dmsg_error *error)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t size = key->size;
    int digest_size =
        dmsg_jose_hash(key->jose, key->algorithm->hash, pieces, DMSG_SIGNING_PIECES, digest, error);
    if (digest_size < 0)
        return digest_size;
    if (EVP_PKEY_sign(key->ctx, signature, &size, digest, (size_t)digest_size) != 1 ||
        size != key->size)
        return dmsg_fail_openssl(error, "cannot sign with the RSA key");
    return 0;
}

static int verify(struct dmsg_jose_key *key, const struct dmsg_span pieces[DMSG_SIGNING_PIECES],
    const uint8_t *signature, struct dmsg_error *error)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    int digest_size =
        dmsg_jose_hash(key->jose, key->algorithm->hash, pieces, DMSG_SIGNING_PIECES, digest, error);
    if (digest_size < 0)
        return digest_size;
    if (EVP_PKEY_verify(key->ctx, signature, key->size, digest, (size_t)digest_size) == 1)
        return 0;
    return dmsg_jose_out_of_memory() ? dmsg_fail_memory(error) : DMSG_E_SIGNATURE;
}

const struct dmsg_family dmsg_family_rsa_signature = {
    .prepare = prepare_signature, .sign = sign, .verify = verify};

/* -------------------------------------------------------------------------------- encryption */

/* SHA-256 for the label, which is empty, and for MGF1. */
static int prepare_oaep(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    int result = prepare(key, error);
    if (result < 0)
        return result;
    const EVP_MD *hash = dmsg_jose_hash_type(key->jose, key->algorithm->hash);
    bool encrypt = key->use == DMSG_USE_ENCRYPT;
    if ((encrypt ? EVP_PKEY_encrypt_init(key->ctx) : EVP_PKEY_decrypt_init(key->ctx)) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(key->ctx, RSA_PKCS1_OAEP_PADDING) != 1 ||
        EVP_PKEY_CTX_set_rsa_oaep_md(key->ctx, hash) != 1 ||
        EVP_PKEY_CTX_set_rsa_mgf1_md(key->ctx, hash) != 1)
        return dmsg_fail_openssl(error, "cannot prepare an RSA key for encryption");
    return 0;
}

static int wrap(struct dmsg_jose_key *key, struct dmsg_span cek, struct dmsg_wrapped_key *out,
    struct dmsg_error *error)
{
    size_t size = sizeof out->encrypted_key;
    if (EVP_PKEY_encrypt(key->ctx, out->encrypted_key, &size, cek.data, cek.size) != 1 ||
        size != out->encrypted_key_size)
        return dmsg_fail_openssl(error, "cannot encrypt to the RSA key");
    return 0;
}

static int unwrap(struct dmsg_jose_key *key, const struct dmsg_wrapped_key *in, uint8_t *cek,
    size_t cek_size, struct dmsg_error *error)
{
    uint8_t decrypted[DMSG_RSA_SIZE_MAX] = {0};
    size_t size = sizeof decrypted;
    int result =
        EVP_PKEY_decrypt(key->ctx, decrypted, &size, in->encrypted_key, in->encrypted_key_size);
    bool memory = dmsg_jose_out_of_memory();
    memcpy(cek, decrypted, cek_size);
    OPENSSL_cleanse(decrypted, sizeof decrypted);
    return memory ? dmsg_fail_memory(error) : (result == 1) & (size == cek_size);
}

const struct dmsg_family dmsg_family_rsa_oaep = {
    .prepare = prepare_oaep, .wrap = wrap, .unwrap = unwrap};
