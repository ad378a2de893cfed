/* A256CBC-HS512 (RFC 7518 sections 5.2.2 and 5.2.5): encrypt, then authenticate. */
#include "jose/internal.h"

#include "base/fail.h"

#include <string.h>

#define CEK_SIZE 64
#define MAC_KEY_SIZE 32 /* the first half of the key; the second encrypts */
#define IV_SIZE 16
#define TAG_SIZE 32
#define MAC_SIZE 64
#define BLOCK 16

static size_t ciphertext_size(size_t plaintext)
{
    return plaintext / BLOCK * BLOCK + BLOCK;
}

static bool is_ciphertext_size(size_t size)
{
    return size > 0 && size % BLOCK == 0 && size <= DMSG_CONTENT_SIZE_MAX;
}

static bool update_mac(EVP_MAC_CTX *ctx, struct dmsg_span in)
{
    return in.size == 0 || EVP_MAC_update(ctx, in.data, in.size) == 1;
}

/* HMAC-SHA512 over header, IV, ciphertext and the header's length in bits; the tag is its first
   half. */
static bool compute_mac(struct dmsg_jose *jose, const uint8_t *cek, const uint8_t *iv,
    struct dmsg_span protected_header, struct dmsg_span ciphertext, uint8_t mac[static MAC_SIZE])
{
    EVP_MAC_CTX *ctx = jose->hmac;
    uint8_t length[8];
    size_t size = 0;
    for (size_t i = 0; i < sizeof length; i++)
        length[i] = (uint8_t)((uint64_t)protected_header.size * 8 >> (56 - 8 * i));
    return EVP_MAC_init(ctx, cek, MAC_KEY_SIZE, NULL) == 1 && update_mac(ctx, protected_header) &&
           update_mac(ctx, (struct dmsg_span){iv, IV_SIZE}) && update_mac(ctx, ciphertext) &&
           update_mac(ctx, (struct dmsg_span){length, sizeof length}) &&
           EVP_MAC_final(ctx, mac, &size, MAC_SIZE) == 1 && size == MAC_SIZE;
}

static bool update(EVP_CIPHER_CTX *ctx, uint8_t *out, const uint8_t *in, size_t size)
{
    int written = 0;
    return size == 0 ||
           (EVP_CipherUpdate(ctx, out, &written, in, (int)size) == 1 && written == (int)size);
}

/* All whole blocks, and then the last one with PKCS #7 padding (RFC 5652 section 6.3). */
static bool encrypt(EVP_CIPHER_CTX *ctx, struct dmsg_span plaintext, uint8_t *ciphertext)
{
    uint8_t last[BLOCK];
    size_t rest = plaintext.size % BLOCK, whole = plaintext.size - rest;
    memset(last, (int)(BLOCK - rest), sizeof last);
    if (rest > 0)
        memcpy(last, plaintext.data + whole, rest);
    bool done = update(ctx, ciphertext, plaintext.data, whole) &&
                update(ctx, ciphertext + whole, last, BLOCK);
    OPENSSL_cleanse(last, sizeof last);
    return done;
}

static int seal_cbc(struct dmsg_jose *jose, const uint8_t *cek, const uint8_t *iv,
    struct dmsg_span protected_header, struct dmsg_span plaintext, uint8_t *ciphertext,
    uint8_t *tag, struct dmsg_error *error)
{
    uint8_t mac[MAC_SIZE];
    const struct dmsg_span made = {ciphertext, ciphertext_size(plaintext.size)};
    if (EVP_EncryptInit_ex2(jose->cbc_seal, NULL, cek + MAC_KEY_SIZE, iv, NULL) != 1 ||
        !encrypt(jose->cbc_seal, plaintext, ciphertext) ||
        !compute_mac(jose, cek, iv, protected_header, made, mac))
        return dmsg_fail_openssl(error, "cannot encrypt with A256CBC-HS512");
    memcpy(tag, mac, TAG_SIZE);
    return 0;
}

/* Removes the padding; false when there is none. It was authenticated, so that its check tells
   nobody anything. */
static bool unpad(const uint8_t *data, size_t *size)
{
    uint8_t padding = data[*size - 1];
    if (padding == 0 || padding > BLOCK)
        return false;
    for (size_t i = 1; i <= padding; i++) {
        if (data[*size - i] != padding)
            return false;
    }
    *size -= padding;
    return true;
}

static int open_cbc(struct dmsg_jose *jose, const uint8_t *cek, const uint8_t *iv,
    struct dmsg_span protected_header, uint8_t *data, size_t *size, const uint8_t *tag,
    struct dmsg_error *error)
{
    uint8_t mac[MAC_SIZE];
    if (!compute_mac(jose, cek, iv, protected_header, (struct dmsg_span){data, *size}, mac))
        return dmsg_fail_openssl(error, "cannot authenticate with A256CBC-HS512");
    int differs = CRYPTO_memcmp(mac, tag, TAG_SIZE);
    OPENSSL_cleanse(mac, sizeof mac);
    if (differs != 0)
        return DMSG_E_DECRYPT;
    if (EVP_DecryptInit_ex2(jose->cbc_open, NULL, cek + MAC_KEY_SIZE, iv, NULL) != 1 ||
        !update(jose->cbc_open, data, data, *size))
        return dmsg_fail_openssl(error, "cannot decrypt with A256CBC-HS512");
    return unpad(data, size) ? 0 : DMSG_E_DECRYPT;
}

const struct dmsg_enc dmsg_enc_cbc = {
    .name = "A256CBC-HS512",
    .cek_size = CEK_SIZE,
    .iv_size = IV_SIZE,
    .tag_size = TAG_SIZE,
    .ciphertext_size = ciphertext_size,
    .is_ciphertext_size = is_ciphertext_size,
    .seal = seal_cbc,
    .open = open_cbc,
};
