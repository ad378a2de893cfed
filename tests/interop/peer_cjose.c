/* A peer: cjose (Cisco, OpenIDC). */
#include "program.h"

#include <cjose/cjose.h>
#include <stdlib.h>
#include <string.h>

static int sign(
    const cjose_jwk_t *key, cjose_header_t *header, const struct request *request, cjose_err *error)
{
    const char *text = NULL;
    if (!request->compact)
        return refuse("cjose exports a JWS in the compact form only");
    cjose_jws_t *jws =
        cjose_jws_sign(key, header, (const uint8_t *)request->input, request->input_size, error);
    bool done = jws != NULL && cjose_jws_export(jws, &text, error);
    if (done)
        write_out(text, strlen(text));
    cjose_jws_release(jws);
    return done ? DONE : refuse(error->message);
}

static int verify(const cjose_jwk_t *key, const struct request *request, cjose_err *error)
{
    uint8_t *payload = NULL;
    size_t size = 0;
    cjose_jws_t *jws = cjose_jws_import(request->input, request->input_size, error);
    bool done = jws != NULL && cjose_jws_verify(jws, key, error) &&
                cjose_jws_get_plaintext(jws, &payload, &size, error);
    if (done)
        write_out(payload, size);
    cjose_jws_release(jws);
    return done ? DONE : refuse(error->message);
}

static int encrypt(
    const cjose_jwk_t *key, cjose_header_t *header, const struct request *request, cjose_err *error)
{
    cjose_jwe_t *jwe =
        cjose_jwe_encrypt(key, header, (const uint8_t *)request->input, request->input_size, error);
    char *text = jwe == NULL        ? NULL
                 : request->compact ? cjose_jwe_export(jwe, error)
                                    : cjose_jwe_export_json(jwe, error);
    if (text != NULL)
        write_out(text, strlen(text));
    cjose_jwe_release(jwe);
    int status = text != NULL ? DONE : refuse(error->message);
    free(text);
    return status;
}

static int decrypt(const cjose_jwk_t *key, const struct request *request, cjose_err *error)
{
    size_t size = 0;
    cjose_jwe_t *jwe = request->input[0] == '{'
                           ? cjose_jwe_import_json(request->input, request->input_size, error)
                           : cjose_jwe_import(request->input, request->input_size, error);
    uint8_t *plaintext = jwe != NULL ? cjose_jwe_decrypt(jwe, key, &size, error) : NULL;
    if (plaintext != NULL)
        write_out(plaintext, size);
    cjose_jwe_release(jwe);
    int status = plaintext != NULL ? DONE : refuse(error->message);
    free(plaintext);
    return status;
}

int answer(const struct request *request)
{
    cjose_err error = {0};
    cjose_jwk_t *key = cjose_jwk_import(request->jwk, request->jwk_size, &error);
    cjose_header_t *header = cjose_header_new(&error);
    if (key == NULL || header == NULL)
        return refuse(error.message);
    int status = DONE;
    if (!cjose_header_set(header, CJOSE_HDR_ALG, request->alg, &error) ||
        (request->enc != NULL && !cjose_header_set(header, CJOSE_HDR_ENC, request->enc, &error)))
        status = refuse(error.message);
    else if (request->command == SIGN)
        status = sign(key, header, request, &error);
    else if (request->command == VERIFY)
        status = verify(key, request, &error);
    else if (request->command == ENCRYPT)
        status = encrypt(key, header, request, &error);
    else
        status = decrypt(key, request, &error);
    cjose_header_release(header);
    cjose_jwk_release(key);
    return status;
}
