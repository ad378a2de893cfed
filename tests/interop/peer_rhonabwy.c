/* A peer: Rhonabwy, on GnuTLS and nettle. */
#include "program.h"

#include <jansson.h>
#include <rhonabwy.h>
#include <stdlib.h>
#include <string.h>

/* Keys come from the request alone. */
#define FETCH_NOTHING 0

static int give(char *text)
{
    if (text == NULL)
        return refuse("nothing comes out");
    write_out(text, strlen(text));
    r_free(text);
    return DONE;
}

static int mode(const struct request *request)
{
    return request->compact ? R_JSON_MODE_COMPACT : R_JSON_MODE_FLATTENED;
}

/* A string for the compact form; the other one is what its JSON function makes of one key. */
static int sign(jws_t *jws, jwk_t *key, jwks_t *keys, const struct request *request)
{
    if (r_jws_set_alg(jws, r_str_to_jwa_alg(request->alg)) != RHN_OK ||
        r_jws_set_payload(jws, (const unsigned char *)request->input, request->input_size) !=
            RHN_OK)
        return refuse("alg or payload");
    return give(request->compact
                    ? r_jws_serialize(jws, key, FETCH_NOTHING)
                    : r_jws_serialize_json_str(jws, keys, FETCH_NOTHING, mode(request)));
}

static int verify(jws_t *jws, jwk_t *key, const struct request *request)
{
    size_t size = 0;
    if (r_jws_advanced_parsen(
            jws, request->input, request->input_size, R_PARSE_NONE, FETCH_NOTHING) != RHN_OK)
        return refuse("no JWS");
    if (r_jws_get_alg(jws) != r_str_to_jwa_alg(request->alg) ||
        r_jws_verify_signature(jws, key, FETCH_NOTHING) != RHN_OK)
        return refuse("signature");
    const unsigned char *payload = r_jws_get_payload(jws, &size);
    write_out(payload, size);
    return DONE;
}

static int encrypt(jwe_t *jwe, jwk_t *key, jwks_t *keys, const struct request *request)
{
    if (r_jwe_set_alg(jwe, r_str_to_jwa_alg(request->alg)) != RHN_OK ||
        r_jwe_set_enc(jwe, r_str_to_jwa_enc(request->enc)) != RHN_OK ||
        r_jwe_set_payload(jwe, (const unsigned char *)request->input, request->input_size) !=
            RHN_OK)
        return refuse("alg, enc or payload");
    return give(request->compact
                    ? r_jwe_serialize(jwe, key, FETCH_NOTHING)
                    : r_jwe_serialize_json_str(jwe, keys, FETCH_NOTHING, mode(request)));
}

static int decrypt(jwe_t *jwe, jwk_t *key, const struct request *request)
{
    size_t size = 0;
    if (r_jwe_advanced_parsen(
            jwe, request->input, request->input_size, R_PARSE_NONE, FETCH_NOTHING) != RHN_OK)
        return refuse("no JWE");
    if (r_jwe_get_alg(jwe) != r_str_to_jwa_alg(request->alg) ||
        r_jwe_decrypt(jwe, key, FETCH_NOTHING) != RHN_OK)
        return refuse("decryption");
    const unsigned char *plaintext = r_jwe_get_payload(jwe, &size);
    write_out(plaintext, size);
    return DONE;
}

static int do_it(jwk_t *key, jwks_t *keys, const struct request *request)
{
    jws_t *jws = NULL;
    jwe_t *jwe = NULL;
    if (r_jws_init(&jws) != RHN_OK || r_jwe_init(&jwe) != RHN_OK)
        return BROKEN;
    int status = request->command == SIGN      ? sign(jws, key, keys, request)
                 : request->command == VERIFY  ? verify(jws, key, request)
                 : request->command == ENCRYPT ? encrypt(jwe, key, keys, request)
                                               : decrypt(jwe, key, request);
    r_jws_free(jws);
    r_jwe_free(jwe);
    return status;
}

int answer(const struct request *request)
{
    jwk_t *key = NULL;
    jwks_t *keys = NULL;
    if (r_global_init() != RHN_OK || r_jwk_init(&key) != RHN_OK || r_jwks_init(&keys) != RHN_OK)
        return BROKEN;
    int status = r_jwk_import_from_json_str(key, request->jwk) == RHN_OK &&
                         r_jwks_append_jwk(keys, key) == RHN_OK
                     ? do_it(key, keys, request)
                     : refuse("no key");
    r_jwks_free(keys);
    r_jwk_free(key);
    r_global_close();
    return status;
}
