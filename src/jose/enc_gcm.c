/* A256GCM (RFC 7518 section 5.3). */
#include "jose/internal.h"

#include "base/fail.h"

#define CEK_SIZE 32
#define IV_SIZE 12
#define TAG_SIZE 16

static size_t ciphertext_size(size_t plaintext)
{
    return plaintext;
}

static bool is_ciphertext_size(size_t size)
{
    return size <= DMSG_CONTENT_SIZE_MAX;
}

/* Sizes are below DMSG_CONTENT_SIZE_MAX. An empty update would end the additional data. */
static bool update(EVP_CIPHER_CTX *ctx, uint8_t *out, struct dmsg_span in)
{
    int size = 0;
    return in.size == 0 ||
           (EVP_CipherUpdate(ctx, out, &size, in.data, (int)in.size) == 1 && size == (int)in.size);
}

static int seal_gcm(struct dmsg_jose *jose, const uint8_t *cek, const uint8_t *iv,
    struct dmsg_span protected_header, struct dmsg_span plaintext, uint8_t *ciphertext,
    uint8_t *tag, struct dmsg_error *error)
{
    EVP_CIPHER_CTX *ctx = jose->gcm_seal;
    int size = 0;
    if (EVP_EncryptInit_ex2(ctx, NULL, cek, iv, NULL) != 1 ||
        !update(ctx, NULL, protected_header) || !update(ctx, ciphertext, plaintext) ||
        EVP_EncryptFinal_ex(ctx, tag, &size) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_GET_TAG, TAG_SIZE, tag) != 1)
        return dmsg_fail_openssl(error, "cannot encrypt with A256GCM");
    return 0;
}

static int open_gcm(struct dmsg_jose *jose, const uint8_t *cek, const uint8_t *iv,
    struct dmsg_span protected_header, uint8_t *data, size_t *size, const uint8_t *tag,
    struct dmsg_error *error)
{
    EVP_CIPHER_CTX *ctx = jose->gcm_open;
    uint8_t expected[TAG_SIZE], unused[TAG_SIZE];
    int rest = 0;
    for (size_t i = 0; i < TAG_SIZE; i++)
        expected[i] = tag[i];
    if (EVP_DecryptInit_ex2(ctx, NULL, cek, iv, NULL) != 1 ||
        EVP_CIPHER_CTX_ctrl(ctx, EVP_CTRL_AEAD_SET_TAG, TAG_SIZE, expected) != 1 ||
        !update(ctx, NULL, protected_header) || !update(ctx, data, (struct dmsg_span){data, *size}))
        return dmsg_fail_openssl(error, "cannot decrypt with A256GCM");
    return EVP_DecryptFinal_ex(ctx, unused, &rest) == 1 ? 0 : DMSG_E_DECRYPT;
}

const struct dmsg_enc dmsg_enc_gcm = {
    .name = "A256GCM",
    .cek_size = CEK_SIZE,
    .iv_size = IV_SIZE,
    .tag_size = TAG_SIZE,
    .ciphertext_size = ciphertext_size,
    .is_ciphertext_size = is_ciphertext_size,
    .seal = seal_gcm,
    .open = open_gcm,
};
