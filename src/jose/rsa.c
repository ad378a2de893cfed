/* RSA: RS256 (RFC 7518 section 3.3) and RSA-OAEP-256 (section 4.3). */
#include "jose/internal.h"

#include "base/fail.h"

#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <string.h>

/* True for a key in this process's memory. A TPM's provider copies a key's handle and forgets what
   it takes to use it. */
static bool is_in_software(const EVP_PKEY *key)
{
    const OSSL_PROVIDER *provider = EVP_PKEY_get0_provider(key);
    const char *name = provider != NULL ? OSSL_PROVIDER_get0_name(provider) : "";
    return strcmp(name, "default") == 0 || strcmp(name, "fips") == 0;
}

/* Threads that share an RSA key wait for its blinding: a private key is duplicated where it can. */
static void own_private_key(struct dmsg_jose_key *key)
{
    ERR_set_mark();
    EVP_PKEY *own = is_in_software(key->pkey) ? EVP_PKEY_dup(key->pkey) : NULL;
    ERR_pop_to_mark();
    if (own == NULL)
        return;
    EVP_PKEY_free(key->pkey);
    key->pkey = own;
}

static int prepare(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    /* Not EVP_PKEY_get_size: for a key in a TPM it is the largest that the TPM may hold. */
    int bits = EVP_PKEY_get_bits(key->pkey);
    if (bits < DMSG_JOSE_RSA_BITS_MIN || bits > DMSG_JOSE_RSA_BITS_MAX)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "an RSA key of %d bits", bits);
    key->size = ((size_t)bits + 7) / 8;
    if (key->use == DMSG_USE_SIGN || key->use == DMSG_USE_DECRYPT)
        own_private_key(key);
    return dmsg_jose_key_context(key, error);
}

/*
 * When memory runs out while OpenSSL makes a private key's blinding anew, it goes on with one that
 * is wrong: this result and the next 31 are wrong too, and signing still says that all is well. A
 * key that this may have happened to is worn out, and replaced by a copy before it is used again.
 */
static int replace_worn_out(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    if (!key->worn_out)
        return 0;
    const EVP_PKEY *old = key->pkey;
    bool copied = is_in_software(old);
    EVP_PKEY_CTX_free(key->ctx);
    key->ctx = NULL;
    int result = key->algorithm->family->prepare(key, error);
    if (result == 0 && copied && key->pkey == old)
        result = dmsg_fail_memory(error);
    key->worn_out = result < 0;
    return result;
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
        return dmsg_fail_openssl(error, "cannot prepare an RSA key for RS256");
    return 0;
}

static int sign(struct dmsg_jose_key *key, const struct dmsg_span pieces[DMSG_SIGNING_PIECES],
    uint8_t *signature, struct dmsg_error *error)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    size_t size = DMSG_RSA_SIZE_MAX;
    int digest_size =
        dmsg_jose_hash(key->jose, key->algorithm->hash, pieces, DMSG_SIGNING_PIECES, digest, error);
    int result = digest_size < 0 ? digest_size : replace_worn_out(key, error);
    if (result < 0)
        return result;
    dmsg_jose_tidy();
    if (EVP_PKEY_sign(key->ctx, signature, &size, digest, (size_t)digest_size) != 1 ||
        size != key->size) {
        key->worn_out = true;
        return dmsg_fail_openssl(error, "cannot sign with the RSA key");
    }
    key->worn_out = dmsg_openssl_lacked_memory();
    return key->worn_out ? dmsg_fail_memory(error) : 0;
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
    return dmsg_openssl_lacked_memory() ? dmsg_fail_memory(error) : DMSG_E_SIGNATURE;
}

const struct dmsg_family dmsg_family_rsa_signature = {
    .prepare = prepare_signature, .sign = sign, .verify = verify};

/* -------------------------------------------------------------------------------- encryption */

/* For the label, which is empty; MGF1 takes the same one unless it is told otherwise. Not every
   kind of key lets itself be told where to fetch it from. */
static bool set_hash(EVP_PKEY_CTX *ctx, const EVP_MD *hash)
{
    return EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, EVP_MD_get0_name(hash), DMSG_SOFTWARE) == 1 ||
           EVP_PKEY_CTX_set_rsa_oaep_md(ctx, hash) == 1;
}

static int prepare_oaep(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    int result = prepare(key, error);
    if (result < 0)
        return result;
    bool encrypt = key->use == DMSG_USE_ENCRYPT;
    if ((encrypt ? EVP_PKEY_encrypt_init(key->ctx) : EVP_PKEY_decrypt_init(key->ctx)) != 1 ||
        EVP_PKEY_CTX_set_rsa_padding(key->ctx, RSA_PKCS1_OAEP_PADDING) != 1 ||
        !set_hash(key->ctx, dmsg_jose_hash_type(key->jose, key->algorithm->hash)))
        return dmsg_fail_openssl(
            error, "cannot prepare an RSA key for RSA-OAEP-256 (does its provider have it?)");
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

static int unwrap(struct dmsg_jose_key *key, struct dmsg_wrapped_key *in, uint8_t *cek,
    size_t cek_size, struct dmsg_error *error)
{
    uint8_t decrypted[DMSG_RSA_SIZE_MAX] = {0};
    size_t size = sizeof decrypted;
    int result = replace_worn_out(key, error);
    if (result < 0)
        return result;
    result =
        EVP_PKEY_decrypt(key->ctx, decrypted, &size, in->encrypted_key, in->encrypted_key_size);
    bool memory = key->worn_out = dmsg_openssl_lacked_memory();
    memcpy(cek, decrypted, cek_size);
    OPENSSL_cleanse(decrypted, sizeof decrypted);
    return memory ? dmsg_fail_memory(error) : (result == 1) & (size == cek_size);
}

const struct dmsg_family dmsg_family_rsa_oaep = {
    .prepare = prepare_oaep, .wrap = wrap, .unwrap = unwrap};
