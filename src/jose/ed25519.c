/* EdDSA with Ed25519 (RFC 8037 section 3.1): it signs the text itself, in one piece. */
#include "jose/internal.h"

#include "base/fail.h"

#define SIGNATURE_SIZE 64

static int prepare(struct dmsg_jose_key *key, struct dmsg_error *error)
{
    const struct dmsg_context *context = key->jose->context;
    key->size = SIGNATURE_SIZE;
    key->signer = EVP_MD_CTX_new();
    if (key->signer == NULL)
        return dmsg_fail_memory(error);
    int ready = key->use == DMSG_USE_SIGN
                    ? EVP_DigestSignInit_ex(key->signer, NULL, NULL, context->library,
                          dmsg_jose_key_properties(key), key->pkey, NULL)
                    : EVP_DigestVerifyInit_ex(key->signer, NULL, NULL, context->library,
                          dmsg_jose_key_properties(key), key->pkey, NULL);
    return ready == 1 ? 0 : dmsg_fail_openssl(error, "cannot prepare an Ed25519 key");
}

/* The pieces as one: as they stand when only the first is used, else joined in the scratch. */
static int join(struct dmsg_jose *jose, const struct dmsg_span pieces[DMSG_SIGNING_PIECES],
    struct dmsg_span *out, struct dmsg_error *error)
{
    *out = pieces[0];
    if (pieces[1].size == 0)
        return 0;
    jose->scratch.size = 0;
    for (size_t i = 0; i < DMSG_SIGNING_PIECES; i++)
        dmsg_buffer_put_span(&jose->scratch, pieces[i]);
    if (jose->scratch.failed) {
        dmsg_buffer_done(&jose->scratch);
        return dmsg_fail_memory(error);
    }
    *out = dmsg_buffer_span(&jose->scratch);
    return 0;
}

static int sign(struct dmsg_jose_key *key, const struct dmsg_span pieces[DMSG_SIGNING_PIECES],
    uint8_t *signature, struct dmsg_error *error)
{
    struct dmsg_span text;
    size_t size = SIGNATURE_SIZE;
    int result = join(key->jose, pieces, &text, error);
    if (result < 0)
        return result;
    if (EVP_DigestSignInit_ex(key->signer, NULL, NULL, NULL, NULL, NULL, NULL) != 1 ||
        EVP_DigestSign(key->signer, signature, &size, text.data, text.size) != 1 ||
        size != SIGNATURE_SIZE)
        return dmsg_fail_openssl(error, "cannot sign with the Ed25519 key");
    return 0;
}

static int verify(struct dmsg_jose_key *key, const struct dmsg_span pieces[DMSG_SIGNING_PIECES],
    const uint8_t *signature, struct dmsg_error *error)
{
    struct dmsg_span text;
    int result = join(key->jose, pieces, &text, error);
    if (result < 0)
        return result;
    if (EVP_DigestVerifyInit_ex(key->signer, NULL, NULL, NULL, NULL, NULL, NULL) != 1)
        return dmsg_fail_openssl(error, "cannot verify with the Ed25519 key");
    if (EVP_DigestVerify(key->signer, signature, SIGNATURE_SIZE, text.data, text.size) == 1)
        return 0;
    return dmsg_openssl_lacked_memory() ? dmsg_fail_memory(error) : DMSG_E_SIGNATURE;
}

const struct dmsg_family dmsg_family_ed25519 = {.prepare = prepare, .sign = sign, .verify = verify};
