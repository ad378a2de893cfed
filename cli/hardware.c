#include "hardware.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "jose/jose.h"
#include "x509/certificate.h"

#include <openssl/crypto.h>
#include <stdlib.h>

#define SAMPLE "what this key does"

/* ----------------------------------------------------------------------------------- trying it */

static void free_header(struct dmsg_jose_header **header)
{
    free(*header);
}

/* The key, and its public half as a peer has it. */
struct trial {
    struct dmsg_context peer_context;
    struct dmsg_jose *own, *peer;
    struct dmsg_jose_key *private_key, *public_key;
    EVP_PKEY *public_half;
    struct dmsg_buffer text, result;
};

static void trial_done(struct trial *trial)
{
    dmsg_jose_key_free(&trial->private_key);
    dmsg_jose_key_free(&trial->public_key);
    dmsg_jose_free(&trial->own);
    dmsg_jose_free(&trial->peer);
    EVP_PKEY_free(trial->public_half);
    dmsg_buffer_done(&trial->text);
    dmsg_buffer_done(&trial->result);
}

static int take_public_half(struct trial *trial, const EVP_PKEY *key, struct dmsg_error *error)
{
    unsigned char *der = NULL;
    int size = i2d_PUBKEY(key, &der);
    if (size <= 0)
        return dmsg_fail_openssl(error,
            "reading the public key (in a PKCS #11 token it is an object of its own, with the id "
            "of the private one)");
    struct dmsg_span spki = {der, (size_t)size};
    int result = dmsg_public_key_parse(&trial->public_half, spki, error);
    OPENSSL_free(der);
    return result;
}

static int begin(struct trial *trial, EVP_PKEY *key, const struct dmsg_context *context,
    enum dmsg_jose_use own_use, enum dmsg_jose_use peer_use, struct dmsg_error *error)
{
    int result = take_public_half(trial, key, error);
    if (result == 0)
        result = dmsg_jose_new(&trial->own, context, error);
    if (result == 0)
        result = dmsg_jose_new(&trial->peer, &trial->peer_context, error);
    if (result == 0)
        result = dmsg_jose_key_new(&trial->private_key, trial->own, key, own_use, error);
    if (result == 0)
        result =
            dmsg_jose_key_new(&trial->public_key, trial->peer, trial->public_half, peer_use, error);
    return result;
}

int hardware_try_signing(
    EVP_PKEY *key, const struct dmsg_context *context, struct dmsg_error *error)
{
    DMSG_CLEANUP(trial_done) struct trial trial = {0};
    struct dmsg_jose_header *header DMSG_CLEANUP(free_header) = calloc(1, sizeof *header);
    struct dmsg_jws jws;
    int result = header != NULL ? begin(&trial, key, context, DMSG_USE_SIGN, DMSG_USE_VERIFY, error)
                                : dmsg_fail_memory(error);
    if (result == 0)
        result = dmsg_jws_sign(trial.private_key, (struct dmsg_span){0}, dmsg_span_text(SAMPLE),
            DMSG_FORM_COMPACT, &trial.text, error);
    if (result == 0)
        result = dmsg_jws_parse(&jws, dmsg_buffer_span(&trial.text), error);
    if (result == 0)
        result = dmsg_jws_header_parse(header, &jws, error);
    return result == 0 ? dmsg_jws_verify(trial.public_key, &jws, header, error) : result;
}

int hardware_try_decryption(
    EVP_PKEY *key, const struct dmsg_context *context, struct dmsg_error *error)
{
    DMSG_CLEANUP(trial_done) struct trial trial = {0};
    struct dmsg_jose_header *header DMSG_CLEANUP(free_header) = calloc(1, sizeof *header);
    struct dmsg_jwe jwe;
    int result = header != NULL
                     ? begin(&trial, key, context, DMSG_USE_DECRYPT, DMSG_USE_ENCRYPT, error)
                     : dmsg_fail_memory(error);
    if (result == 0)
        result = dmsg_jwe_encrypt(trial.public_key, DMSG_ENC_A256GCM, (struct dmsg_span){0},
            dmsg_span_text(SAMPLE), DMSG_FORM_COMPACT, &trial.text, error);
    if (result == 0)
        result = dmsg_jwe_parse(&jwe, dmsg_buffer_span(&trial.text), error);
    if (result == 0)
        result = dmsg_jwe_header_parse(header, &jwe, error);
    return result == 0 ? dmsg_jwe_decrypt(trial.private_key, &jwe, header, &trial.result, error)
                       : result;
}

/* ------------------------------------------------------------------------- from the command line
 */

static int try_both(struct hardware *hardware, struct dmsg_error *error)
{
    char description[DMSG_KEY_DESCRIPTION_SIZE];
    EVP_PKEY *key = hardware->found.key;
    unsigned purposes = dmsg_key_purposes(key, NULL);
    dmsg_key_describe(description, key);
    if ((purposes & DMSG_FOR_SIGNATURES) == 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "%s: an identity cannot sign with this key (%s): RSA has 2048 to 8192 bits, EC one of "
            "P-256, P-384, P-521",
            hardware->uri.shown, description);
    int result = hardware_try_signing(key, &hardware->context, error);
    if (result < 0)
        return dmsg_fail_in(error, DMSG_E_CERTIFICATE,
            "%s: the key (%s) does not sign, as an identity's must", hardware->uri.shown,
            description);
    hardware->cannot_decrypt.code = DMSG_E_CERTIFICATE;
    if ((purposes & DMSG_FOR_ENCRYPTION) == 0)
        (void)dmsg_fail(
            &hardware->cannot_decrypt, DMSG_E_CERTIFICATE, "%s is for signatures", description);
    else if (hardware_try_decryption(key, &hardware->context, &hardware->cannot_decrypt) == 0)
        hardware->cannot_decrypt.code = 0;
    hardware->key.purposes =
        hardware->cannot_decrypt.code == 0 ? purposes : (unsigned)DMSG_FOR_SIGNATURES;
    return 0;
}

int hardware_find(struct hardware *out, const char *uri, const struct dmsg_context *context,
    const struct dmsg_identity *me, struct dmsg_error *error)
{
    struct dmsg_tokens *used = me != NULL ? dmsg_identity_tokens(me) : NULL;
    int result = dmsg_key_uri_parse(&out->uri, dmsg_span_text(uri), error);
    if (result < 0)
        return dmsg_fail_in(error, DMSG_E_USAGE, "--key");
    if (used != NULL)
        out->tokens = dmsg_tokens_share(used);
    else
        result = dmsg_tokens_new(&out->tokens, error);
    if (result == 0)
        result = dmsg_token_key_load(&out->found, out->tokens, &out->uri, error);
    if (result < 0)
        return result;
    out->context = *context;
    out->context.library = out->found.library;
    out->context.properties = out->found.properties;
    result = try_both(out, error);
    if (result < 0)
        return result;
    out->key.key = out->found.key;
    out->key.context = &out->context;
    out->key.uri = out->uri.text;
    return 0;
}

void hardware_use(
    const struct hardware *hardware, struct dmsg_creation *wanted, const char *program)
{
    wanted->hardware = &hardware->key;
    if (hardware->cannot_decrypt.code != 0)
        print_note(program,
            "%s only signs (%s): an X25519 key in a file (NAME.enc.key.pem) is made beside it, and "
            "decrypts what comes",
            hardware->uri.shown, hardware->cannot_decrypt.text);
}

void hardware_done(struct hardware *hardware)
{
    dmsg_token_key_done(&hardware->found);
    dmsg_tokens_free(&hardware->tokens);
    dmsg_key_uri_done(&hardware->uri);
    hardware->key = (struct dmsg_hardware_key){0};
}
