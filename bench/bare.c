#include "bare.h"

#include <openssl/core_names.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

#define JTI_SIZE 16
#define CEK_SIZE_MAX 64
#define IV_SIZE_MAX 16
#define SEMIBLOCK 8
#define SECRET_MAX 66
#define POINT_MAX (1 + 2 * SECRET_MAX)
#define KEY_TEXT_MAX 1024 /* octets of an encrypted key or signature */

struct bare {
    const struct bench_suite *suite;
    EVP_PKEY *signing, *encryption;
    EVP_PKEY_CTX *sign, *verify;         /* RSA, ECDSA: prehashed */
    EVP_MD_CTX *ed_sign, *ed_verify;     /* Ed25519 */
    EVP_PKEY_CTX *encrypt, *decrypt;     /* RSA-OAEP */
    EVP_PKEY_CTX *generate, *derive;     /* ECDH */
    EVP_PKEY *epk;                       /* takes each ephemeral point in turn */
    EVP_MD_CTX *hash, *sha256;           /* of the signature; of the KDF */
    EVP_CIPHER_CTX *wrap, *unwrap;       /* AES-256-ECB */
    EVP_CIPHER_CTX *enc_seal, *enc_open; /* AES-256-GCM or -CBC */
    EVP_MAC_CTX *hmac;
    size_t cek_size, iv_size;
    uint8_t *work; /* takes what is encrypted or decrypted */
};

/* -------------------------------------------------------------------------------- preparation */

static EVP_MD_CTX *new_hash(const char *name)
{
    EVP_MD *type = EVP_MD_fetch(NULL, name, NULL);
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    bench_must(type != NULL && ctx != NULL && EVP_DigestInit_ex2(ctx, type, NULL) == 1, name);
    EVP_MD_free(type);
    return ctx;
}

static EVP_CIPHER_CTX *new_cipher(const char *name, int encrypt)
{
    EVP_CIPHER *type = EVP_CIPHER_fetch(NULL, name, NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    bench_must(type != NULL && ctx != NULL &&
                   EVP_CipherInit_ex2(ctx, type, NULL, NULL, encrypt, NULL) == 1 &&
                   EVP_CIPHER_CTX_set_padding(ctx, encrypt) == 1,
        name);
    EVP_CIPHER_free(type);
    return ctx;
}

static EVP_MAC_CTX *new_hmac(void)
{
    char digest[] = "SHA2-512";
    const OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, digest, 0),
        OSSL_PARAM_construct_end()};
    EVP_MAC *type = EVP_MAC_fetch(NULL, "HMAC", NULL);
    EVP_MAC_CTX *ctx = EVP_MAC_CTX_new(type);
    bench_must(ctx != NULL && EVP_MAC_CTX_set_params(ctx, parameters) == 1, "HMAC");
    EVP_MAC_free(type);
    return ctx;
}

static EVP_PKEY_CTX *new_key_context(EVP_PKEY *key, int init(EVP_PKEY_CTX *))
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, key, NULL);
    bench_must(ctx != NULL && init(ctx) == 1, "preparing a key");
    return ctx;
}

static void prepare_signatures(struct bare *bare)
{
    if (bare->suite->family == BENCH_25519) {
        bare->ed_sign = EVP_MD_CTX_new();
        bare->ed_verify = EVP_MD_CTX_new();
        bench_must(EVP_DigestSignInit_ex(
                       bare->ed_sign, NULL, NULL, NULL, NULL, bare->signing, NULL) == 1 &&
                       EVP_DigestVerifyInit_ex(
                           bare->ed_verify, NULL, NULL, NULL, NULL, bare->signing, NULL) == 1,
            "preparing Ed25519");
        return;
    }
    bare->hash = new_hash(bare->suite->hash);
    bare->sign = new_key_context(bare->signing, EVP_PKEY_sign_init);
    bare->verify = new_key_context(bare->signing, EVP_PKEY_verify_init);
    const EVP_MD *type = EVP_MD_CTX_get0_md(bare->hash);
    bench_must(EVP_PKEY_CTX_set_signature_md(bare->sign, type) == 1 &&
                   EVP_PKEY_CTX_set_signature_md(bare->verify, type) == 1,
        "choosing the signature's hash");
}

static void prepare_oaep(EVP_PKEY_CTX *ctx, const EVP_MD *hash)
{
    bench_must(EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
                   EVP_PKEY_CTX_set_rsa_oaep_md(ctx, hash) == 1 &&
                   EVP_PKEY_CTX_set_rsa_mgf1_md(ctx, hash) == 1,
        "preparing RSA-OAEP");
}

/* A public key to import points into, and a generator. */
static void prepare_curve(struct bare *bare)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, bare->encryption, NULL);
    bench_must(ctx != NULL && EVP_PKEY_keygen_init(ctx) == 1, "preparing ephemeral keys");
    if (bare->suite->family == BENCH_EC)
        bench_must(EVP_PKEY_CTX_set_group_name(ctx, bare->suite->curve) == 1, "choosing a curve");
    bare->generate = ctx;
    bench_must(EVP_PKEY_generate(ctx, &bare->epk) == 1, "making an ephemeral key");
    bare->derive = new_key_context(bare->encryption, EVP_PKEY_derive_init);
}

static void prepare_encryption(struct bare *bare)
{
    if (bare->suite->family == BENCH_RSA) {
        bare->encrypt = new_key_context(bare->encryption, EVP_PKEY_encrypt_init);
        bare->decrypt = new_key_context(bare->encryption, EVP_PKEY_decrypt_init);
        prepare_oaep(bare->encrypt, EVP_MD_CTX_get0_md(bare->sha256));
        prepare_oaep(bare->decrypt, EVP_MD_CTX_get0_md(bare->sha256));
    } else {
        prepare_curve(bare);
    }
    const char *cipher = bare->suite->cbc ? "AES-256-CBC" : "AES-256-GCM";
    bare->wrap = new_cipher("AES-256-ECB", 1);
    bare->unwrap = new_cipher("AES-256-ECB", 0);
    bench_must(EVP_CIPHER_CTX_set_padding(bare->wrap, 0) == 1, "AES-256-ECB");
    bare->enc_seal = new_cipher(cipher, 1);
    bare->enc_open = new_cipher(cipher, 0);
    bench_must(EVP_CIPHER_CTX_set_padding(bare->enc_open, 1) == 1, cipher);
    bare->hmac = bare->suite->cbc ? new_hmac() : NULL;
    bare->cek_size = bare->suite->cbc ? 64 : 32;
    bare->iv_size = bare->suite->cbc ? 16 : 12;
}

struct bare *bare_new(const struct bench_suite *suite, const struct bench_keys *keys)
{
    struct bench_keys own;
    struct bare *bare = calloc(1, sizeof *bare);
    bench_must(bare != NULL, "memory");
    bench_keys_dup(&own, keys);
    bare->suite = suite;
    bare->signing = own.signing;
    bare->encryption = own.encryption;
    bare->sha256 = new_hash("SHA2-256");
    bare->work = malloc(DMSG_MESSAGE_SIZE_MAX);
    bench_must(bare->work != NULL, "memory");
    prepare_signatures(bare);
    prepare_encryption(bare);
    return bare;
}

void bare_free(struct bare *bare)
{
    EVP_PKEY_CTX *const keys[] = {
        bare->sign, bare->verify, bare->encrypt, bare->decrypt, bare->generate, bare->derive};
    EVP_MD_CTX *const hashes[] = {bare->ed_sign, bare->ed_verify, bare->hash, bare->sha256};
    EVP_CIPHER_CTX *const ciphers[] = {bare->wrap, bare->unwrap, bare->enc_seal, bare->enc_open};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++)
        EVP_PKEY_CTX_free(keys[i]);
    for (size_t i = 0; i < sizeof hashes / sizeof hashes[0]; i++)
        EVP_MD_CTX_free(hashes[i]);
    for (size_t i = 0; i < sizeof ciphers / sizeof ciphers[0]; i++)
        EVP_CIPHER_CTX_free(ciphers[i]);
    EVP_MAC_CTX_free(bare->hmac);
    EVP_PKEY_free(bare->epk);
    EVP_PKEY_free(bare->signing);
    EVP_PKEY_free(bare->encryption);
    free(bare->work);
    free(bare);
}

/* ---------------------------------------------------------------------------------- the parts */

static size_t hash(EVP_MD_CTX *ctx, struct dmsg_span in, uint8_t out[static EVP_MAX_MD_SIZE])
{
    unsigned size = 0;
    bench_must(EVP_DigestInit_ex2(ctx, NULL, NULL) == 1 &&
                   EVP_DigestUpdate(ctx, in.data, in.size) == 1 &&
                   EVP_DigestFinal_ex(ctx, out, &size) == 1,
        "hashing");
    return size;
}

static void sign(struct bare *bare, struct dmsg_span in)
{
    uint8_t digest[EVP_MAX_MD_SIZE], signature[KEY_TEXT_MAX];
    size_t size = sizeof signature;
    if (bare->suite->family == BENCH_25519) {
        bench_must(EVP_DigestSignInit_ex(bare->ed_sign, NULL, NULL, NULL, NULL, NULL, NULL) == 1 &&
                       EVP_DigestSign(bare->ed_sign, signature, &size, in.data, in.size) == 1,
            "signing");
        return;
    }
    size_t digest_size = hash(bare->hash, in, digest);
    bench_must(EVP_PKEY_sign(bare->sign, signature, &size, digest, digest_size) == 1, "signing");
}

static void verify(struct bare *bare, struct dmsg_span in, const struct dmsg_buffer *signature)
{
    uint8_t digest[EVP_MAX_MD_SIZE];
    if (bare->suite->family == BENCH_25519) {
        bench_must(
            EVP_DigestVerifyInit_ex(bare->ed_verify, NULL, NULL, NULL, NULL, NULL, NULL) == 1 &&
                EVP_DigestVerify(
                    bare->ed_verify, signature->data, signature->size, in.data, in.size) == 1,
            "verifying");
        return;
    }
    size_t digest_size = hash(bare->hash, in, digest);
    bench_must(
        EVP_PKEY_verify(bare->verify, signature->data, signature->size, digest, digest_size) == 1,
        "verifying");
}

/* The one hash of the Concat KDF (RFC 7518 section 4.6.2), with all of its input in one piece. */
static void derive_kek(struct bare *bare, const uint8_t *secret, uint8_t *kek)
{
    static const uint8_t around[] = "\0\0\0\1"
                                    "\0\0\0\16ECDH-ES+A256KW"
                                    "\0\0\0\0\0\0\0\0\0\0\1";
    uint8_t in[sizeof around + SECRET_MAX];
    size_t size = bare->suite->field_size;
    memcpy(in, around, 4);
    memcpy(in + 4, secret, size);
    memcpy(in + 4 + size, around + 4, sizeof around - 4);
    (void)hash(bare->sha256, (struct dmsg_span){in, sizeof around + size}, kek);
}

static void agree(EVP_PKEY_CTX *ctx, EVP_PKEY *peer, uint8_t *secret)
{
    size_t size = SECRET_MAX;
    bench_must(
        EVP_PKEY_derive_set_peer_ex(ctx, peer, 0) == 1 && EVP_PKEY_derive(ctx, secret, &size) == 1,
        "key agreement");
}

/* RFC 3394 sections 2.2.1 and 2.2.2, in place, over kept AES-256-ECB contexts. */
static void block(EVP_CIPHER_CTX *ctx, uint8_t data[static 2 * SEMIBLOCK])
{
    int size;
    bench_must(EVP_CipherUpdate(ctx, data, &size, data, 2 * SEMIBLOCK) == 1, "key wrap");
}

static void wrap(struct bare *bare, const uint8_t *kek, uint8_t *key, uint8_t *wrapped)
{
    uint8_t data[2 * SEMIBLOCK];
    size_t count = bare->cek_size / SEMIBLOCK;
    memset(data, 0xa6, SEMIBLOCK);
    bench_must(EVP_EncryptInit_ex2(bare->wrap, NULL, kek, NULL, NULL) == 1, "key wrap");
    for (size_t t = 1; t <= 6 * count; t++) {
        uint8_t *half = key + (t - 1) % count * SEMIBLOCK;
        memcpy(data + SEMIBLOCK, half, SEMIBLOCK);
        block(bare->wrap, data);
        data[SEMIBLOCK - 1] ^= (uint8_t)t;
        memcpy(half, data + SEMIBLOCK, SEMIBLOCK);
    }
    memcpy(wrapped, data, SEMIBLOCK);
}

static void unwrap(struct bare *bare, const uint8_t *kek, const uint8_t *wrapped, uint8_t *key)
{
    uint8_t data[2 * SEMIBLOCK];
    size_t count = bare->cek_size / SEMIBLOCK;
    memcpy(data, wrapped, SEMIBLOCK);
    memcpy(key, wrapped + SEMIBLOCK, bare->cek_size);
    bench_must(EVP_DecryptInit_ex2(bare->unwrap, NULL, kek, NULL, NULL) == 1, "key unwrap");
    for (size_t t = 6 * count; t >= 1; t--) {
        uint8_t *half = key + (t - 1) % count * SEMIBLOCK;
        memcpy(data + SEMIBLOCK, half, SEMIBLOCK);
        data[SEMIBLOCK - 1] ^= (uint8_t)t;
        block(bare->unwrap, data);
        memcpy(half, data + SEMIBLOCK, SEMIBLOCK);
    }
    bench_must(data[0] == 0xa6, "key unwrap");
}

/* HMAC-SHA512 of A256CBC-HS512 over header, IV, ciphertext and the header's length. */
static void authenticate(struct bare *bare, const uint8_t *cek, const uint8_t *iv,
    const struct bare_message *message, const uint8_t *ciphertext, uint8_t *mac)
{
    const uint8_t length[8] = {0};
    size_t size = 0;
    bench_must(EVP_MAC_init(bare->hmac, cek, bare->cek_size / 2, NULL) == 1 &&
                   EVP_MAC_update(bare->hmac, message->header.data, message->header.size) == 1 &&
                   EVP_MAC_update(bare->hmac, iv, bare->iv_size) == 1 &&
                   EVP_MAC_update(bare->hmac, ciphertext, message->ciphertext.size) == 1 &&
                   EVP_MAC_update(bare->hmac, length, sizeof length) == 1 &&
                   EVP_MAC_final(bare->hmac, mac, &size, EVP_MAX_MD_SIZE) == 1,
        "HMAC");
}

static void seal_content(
    struct bare *bare, const uint8_t *cek, const uint8_t *iv, const struct bare_message *message)
{
    EVP_CIPHER_CTX *ctx = bare->enc_seal;
    const struct dmsg_span text = dmsg_buffer_span(&message->jws), header = message->header;
    uint8_t tag[EVP_MAX_MD_SIZE];
    int size = 0, rest = 0;
    const uint8_t *key = bare->suite->cbc ? cek + bare->cek_size / 2 : cek;
    bench_must(EVP_EncryptInit_ex2(ctx, NULL, key, iv, NULL) == 1 &&
                   (bare->suite->cbc ||
                       EVP_EncryptUpdate(ctx, NULL, &size, header.data, (int)header.size) == 1) &&
                   EVP_EncryptUpdate(ctx, bare->work, &size, text.data, (int)text.size) == 1 &&
                   EVP_EncryptFinal_ex(ctx, bare->work + size, &rest) == 1,
        "content encryption");
    if (bare->suite->cbc)
        authenticate(bare, cek, iv, message, bare->work, tag);
    else
        bench_must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, 16, tag) == 1, "tag");
}

static void open_content(struct bare *bare, const uint8_t *cek, const struct bare_message *message)
{
    EVP_CIPHER_CTX *ctx = bare->enc_open;
    const struct dmsg_buffer *text = &message->ciphertext;
    const struct dmsg_span header = message->header;
    const uint8_t *iv = message->iv.data;
    uint8_t mac[EVP_MAX_MD_SIZE];
    int size = 0, rest = 0;
    if (bare->suite->cbc) {
        authenticate(bare, cek, iv, message, text->data, mac);
        cek += bare->cek_size / 2;
    }
    bench_must(EVP_DecryptInit_ex2(ctx, NULL, cek, iv, NULL) == 1, "content decryption");
    if (!bare->suite->cbc)
        bench_must(EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, 16, message->tag.data) == 1 &&
                       EVP_DecryptUpdate(ctx, NULL, &size, header.data, (int)header.size) == 1,
            "content decryption");
    bench_must(EVP_DecryptUpdate(ctx, bare->work, &size, text->data, (int)text->size) == 1 &&
                   EVP_DecryptFinal_ex(ctx, bare->work + size, &rest) == 1,
        "content decryption");
}

/* ------------------------------------------------------------------------------------ the sums */

static void seal_key_rsa(struct bare *bare, const uint8_t *cek)
{
    uint8_t encrypted_key[KEY_TEXT_MAX];
    size_t size = sizeof encrypted_key;
    bench_must(EVP_PKEY_encrypt(bare->encrypt, encrypted_key, &size, cek, bare->cek_size) == 1,
        "RSA-OAEP");
}

static void seal_key_ecdh(struct bare *bare, const uint8_t *cek)
{
    uint8_t point[POINT_MAX], secret[SECRET_MAX], kek[EVP_MAX_MD_SIZE];
    uint8_t key[CEK_SIZE_MAX], wrapped[SEMIBLOCK];
    size_t size = 0;
    EVP_PKEY *ephemeral = NULL;
    bench_must(EVP_PKEY_generate(bare->generate, &ephemeral) == 1 &&
                   EVP_PKEY_get_octet_string_param(ephemeral, OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY,
                       point, sizeof point, &size) == 1,
        "making an ephemeral key");
    EVP_PKEY_CTX *ctx = new_key_context(ephemeral, EVP_PKEY_derive_init);
    agree(ctx, bare->encryption, secret);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(ephemeral);
    derive_kek(bare, secret, kek);
    memcpy(key, cek, bare->cek_size);
    wrap(bare, kek, key, wrapped);
}

void bare_seal(struct bare *bare, const struct bare_message *message)
{
    uint8_t random[JTI_SIZE + CEK_SIZE_MAX + IV_SIZE_MAX];
    const uint8_t *cek = random + JTI_SIZE;
    bench_must(
        RAND_bytes(random, (int)(JTI_SIZE + bare->cek_size + bare->iv_size)) == 1, "randomness");
    sign(bare, message->signing_input);
    if (bare->suite->family == BENCH_RSA)
        seal_key_rsa(bare, cek);
    else
        seal_key_ecdh(bare, cek);
    seal_content(bare, cek, cek + bare->cek_size, message);
}

static void open_key_rsa(struct bare *bare, const struct bare_message *message, uint8_t *cek)
{
    size_t size = KEY_TEXT_MAX;
    bench_must(EVP_PKEY_decrypt(bare->decrypt, cek, &size, message->encrypted_key.data,
                   message->encrypted_key.size) == 1 &&
                   size == bare->cek_size,
        "RSA-OAEP");
}

static void open_key_ecdh(struct bare *bare, const struct bare_message *message, uint8_t *cek)
{
    uint8_t secret[SECRET_MAX], kek[EVP_MAX_MD_SIZE];
    bench_must(
        EVP_PKEY_set1_encoded_public_key(bare->epk, message->point.data, message->point.size) == 1,
        "importing an ephemeral key");
    agree(bare->derive, bare->epk, secret);
    derive_kek(bare, secret, kek);
    unwrap(bare, kek, message->encrypted_key.data, cek);
}

void bare_open(struct bare *bare, const struct bare_message *message)
{
    uint8_t cek[KEY_TEXT_MAX];
    if (bare->suite->family == BENCH_RSA)
        open_key_rsa(bare, message, cek);
    else
        open_key_ecdh(bare, message, cek);
    open_content(bare, cek, message);
    verify(bare, message->signing_input, &message->signature);
}
