/* Ours: src/jose, as the messages use it. */
#include "jose/jose.h"
#include "jwk.h"
#include "program.h"

#include <string.h>

struct work {
    struct dmsg_jose *jose;
    struct dmsg_jose_key *key;
    struct dmsg_buffer out;
    struct dmsg_error error;
};

static int make_key(struct work *work, const struct request *request)
{
    static const struct dmsg_context context;
    static const enum dmsg_jose_use uses[] = {[SIGN] = DMSG_USE_SIGN,
        [VERIFY] = DMSG_USE_VERIFY,
        [ENCRYPT] = DMSG_USE_ENCRYPT,
        [DECRYPT] = DMSG_USE_DECRYPT};
    json_t *jwk = json_loads(request->jwk, 0, NULL);
    EVP_PKEY *pkey =
        jwk != NULL ? jwk_read(jwk, request->command == SIGN || request->command == DECRYPT) : NULL;
    json_decref(jwk);
    if (pkey == NULL)
        return BROKEN;
    int result = dmsg_jose_new(&work->jose, &context, &work->error);
    if (result == 0)
        result =
            dmsg_jose_key_new(&work->key, work->jose, pkey, uses[request->command], &work->error);
    EVP_PKEY_free(pkey);
    if (result < 0)
        return refuse(work->error.text);
    return strcmp(dmsg_jose_key_algorithm(work->key), request->alg) == 0 ? DONE : BROKEN;
}

static int verify(struct work *work, struct dmsg_span text)
{
    struct dmsg_jws jws;
    struct dmsg_jose_header header;
    int result = dmsg_jws_parse(&jws, text, &work->error);
    if (result == 0)
        result = dmsg_jws_header_parse(&header, &jws, &work->error);
    if (result == 0)
        result = dmsg_jws_verify(work->key, &jws, &header, &work->error);
    return result < 0 ? result : dmsg_jws_payload(&jws, &work->out, &work->error);
}

static int decrypt(struct work *work, struct dmsg_span text)
{
    struct dmsg_jwe jwe;
    struct dmsg_jose_header header;
    int result = dmsg_jwe_parse(&jwe, text, &work->error);
    if (result == 0)
        result = dmsg_jwe_header_parse(&header, &jwe, &work->error);
    return result < 0 ? result
                      : dmsg_jwe_decrypt(work->key, &jwe, &header, &work->out, &work->error);
}

static int do_it(struct work *work, const struct request *request)
{
    const struct dmsg_span input = {(const uint8_t *)request->input, request->input_size};
    const struct dmsg_span members = dmsg_span_text("\"cty\":\"text/plain\"");
    enum dmsg_jose_form form = request->compact ? DMSG_FORM_COMPACT : DMSG_FORM_FLATTENED;
    switch (request->command) {
    case SIGN:
        return dmsg_jws_sign(work->key, members, input, form, &work->out, &work->error);
    case VERIFY:
        return verify(work, input);
    case ENCRYPT:
        return dmsg_jwe_encrypt(work->key,
            strcmp(request->enc, "A256GCM") == 0 ? DMSG_ENC_A256GCM : DMSG_ENC_A256CBC_HS512,
            members, input, form, &work->out, &work->error);
    case DECRYPT:
        return decrypt(work, input);
    case COMMANDS:
        break;
    }
    return DMSG_E_USAGE;
}

int answer(const struct request *request)
{
    struct work work = {0};
    int status = make_key(&work, request);
    if (status == DONE && do_it(&work, request) < 0)
        status = refuse(work.error.text);
    if (status == DONE)
        write_out(work.out.data, work.out.size);
    dmsg_buffer_done(&work.out);
    dmsg_jose_key_free(&work.key);
    dmsg_jose_free(&work.jose);
    return status;
}
