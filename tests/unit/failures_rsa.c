#include "failures_rsa.h"

#include "failures.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/param_build.h>
#include <stdio.h>

/* OpenSSL makes the blinding anew after so many uses of a private key. */
#define BLINDING_USES 32

/* Every how many allocations of it one fails, for the sake of time; and uses that are looked at
   afterwards. */
#define BLINDING_STRIDE 3
#define LATER_USES 2

struct trial {
    struct dmsg_jose *jose;
    struct dmsg_jose_key *private_key, *public_key;
    struct dmsg_buffer jwe;
    struct dmsg_error error;
};

static void trial_done(struct trial *trial)
{
    dmsg_jose_key_free(&trial->private_key);
    dmsg_jose_key_free(&trial->public_key);
    dmsg_buffer_done(&trial->jwe);
    dmsg_jose_free(&trial->jose);
}

static int verify(struct trial *trial, const struct dmsg_buffer *text)
{
    struct dmsg_jws jws;
    struct dmsg_jose_header header;
    int result = dmsg_jws_parse(&jws, dmsg_buffer_span(text), &trial->error);
    if (result == 0)
        result = dmsg_jws_header_parse(&header, &jws, &trial->error);
    return result < 0 ? result : dmsg_jws_verify(trial->public_key, &jws, &header, &trial->error);
}

/* DMSG_E_SIGNATURE when what was signed does not verify. */
static int sign(struct trial *trial)
{
    struct dmsg_buffer text = {0};
    int result = dmsg_jws_sign(trial->private_key, (struct dmsg_span){0}, dmsg_span_text("x"),
        DMSG_FORM_COMPACT, &text, &trial->error);
    failures_disarm();
    if (result == 0)
        result = verify(trial, &text);
    dmsg_buffer_done(&text);
    return result;
}

static int decrypt(struct trial *trial)
{
    struct dmsg_buffer plaintext = {0};
    struct dmsg_jwe jwe;
    struct dmsg_jose_header header;
    int result = dmsg_jwe_parse(&jwe, dmsg_buffer_span(&trial->jwe), &trial->error);
    if (result == 0)
        result = dmsg_jwe_header_parse(&header, &jwe, &trial->error);
    if (result == 0)
        result = dmsg_jwe_decrypt(trial->private_key, &jwe, &header, &plaintext, &trial->error);
    failures_disarm();
    dmsg_buffer_done(&plaintext);
    return result;
}

static int prepare(
    struct trial *trial, const struct dmsg_context *context, EVP_PKEY *key, enum dmsg_jose_use use)
{
    enum dmsg_jose_use public_use = use == DMSG_USE_SIGN ? DMSG_USE_VERIFY : DMSG_USE_ENCRYPT;
    int result = dmsg_jose_new(&trial->jose, context, &trial->error);
    if (result == 0)
        result = dmsg_jose_key_new(&trial->private_key, trial->jose, key, use, &trial->error);
    if (result == 0)
        result = dmsg_jose_key_new(&trial->public_key, trial->jose, key, public_use, &trial->error);
    if (result == 0 && use == DMSG_USE_DECRYPT)
        result = dmsg_jwe_encrypt(trial->public_key, DMSG_ENC_A256GCM, (struct dmsg_span){0},
            dmsg_span_text("x"), DMSG_FORM_COMPACT, &trial->jwe, &trial->error);
    return result;
}

/* A new key each time, so that it is known when its blinding is due. */
static const char *fail_at(struct trial *trial, enum dmsg_jose_use use, long n)
{
    int (*const go)(struct trial *) = use == DMSG_USE_SIGN ? sign : decrypt;
    for (int i = 0; i < BLINDING_USES; i++) {
        if (go(trial) < 0)
            return "it fails before anything was made to fail";
    }
    failures_arm(FAIL_MEMORY, n);
    int result = go(trial);
    if (result == DMSG_E_SIGNATURE)
        return "the signature is wrong";
    for (int i = 0; i < LATER_USES; i++) {
        if (go(trial) < 0)
            return use == DMSG_USE_SIGN ? "a later signature is wrong" : "a later decryption fails";
    }
    return NULL;
}

long rsa_fail_blinding(const struct dmsg_context *context, EVP_PKEY *key, enum dmsg_jose_use use,
    char *fault, size_t size)
{
    long n = 1;
    do {
        struct trial trial = {0};
        int result = prepare(&trial, context, key, use);
        const char *wrong = result < 0 ? "preparation" : fail_at(&trial, use, n);
        trial_done(&trial);
        if (wrong != NULL) {
            snprintf(fault, size, "%s: %s", failures_hit()->what, wrong);
            return -1;
        }
        n += BLINDING_STRIDE;
    } while (failures_hit()->reached);
    return n - BLINDING_STRIDE;
}

/* ---------------------------------------------------------------------------- an exponent of 0 */

static EVP_PKEY *without_exponent(EVP_PKEY *key)
{
    BIGNUM *n = NULL, *zero = BN_new();
    EVP_PKEY *made = NULL;
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    bool done = EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &n) == 1 &&
                OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n) == 1 &&
                OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, zero) == 1;
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    if (!done || EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &made, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        made = NULL;
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(builder);
    EVP_PKEY_CTX_free(ctx);
    BN_free(n);
    BN_free(zero);
    return made;
}

long rsa_fail_exponent(const struct dmsg_context *context, EVP_PKEY *key, char *fault, size_t size)
{
    static const enum failures_kind kinds[] = {FAIL_MEMORY, FAIL_ZERO, FAIL_MINUS_ONE};
    struct trial trial = {0};
    long points = 0;
    EVP_PKEY *without = without_exponent(key);
    bool refused = without != NULL && dmsg_jose_new(&trial.jose, context, &trial.error) == 0;
    for (size_t i = 0; refused && i < sizeof kinds / sizeof kinds[0]; i++) {
        long n = 0;
        do {
            failures_arm(kinds[i], ++n);
            int result = dmsg_jose_key_new(
                &trial.public_key, trial.jose, without, DMSG_USE_ENCRYPT, &trial.error);
            failures_disarm();
            refused = trial.public_key == NULL &&
                      (result == DMSG_E_CERTIFICATE ||
                          (result == DMSG_E_INTERNAL && failures_hit()->reached));
        } while (refused && failures_hit()->reached);
        points += n - 1;
    }
    snprintf(fault, size, "%s", failures_hit()->what);
    EVP_PKEY_free(without);
    trial_done(&trial);
    return refused ? points : -1;
}
