/* JSON Web Signature (RFC 7515). */
#include "jose/internal.h"

#include "base/base64url.h"
#include "base/fail.h"
#include "jose/form.h"

#include <string.h>

/* What stands before each part, and after the last, in each form. */
static const char *const around[2][4] = {
    [DMSG_FORM_COMPACT] = {"", ".", ".", ""},
    [DMSG_FORM_FLATTENED] = {"{\"protected\":\"", "\",\"payload\":\"", "\",\"signature\":\"",
        "\"}"},
};

static const struct dmsg_span dot = {(const uint8_t *)".", 1};

/* ------------------------------------------------------------------------------------ reading */

int dmsg_jws_parse(struct dmsg_jws *out, struct dmsg_span text, struct dmsg_error *error)
{
    struct dmsg_jws jws = {0};
    const struct dmsg_form_part parts[] = {{"protected", &jws.protected_header},
        {"payload", &jws.payload}, {"signature", &jws.signature}};
    int result =
        dmsg_form_split(&jws.form, parts, sizeof parts / sizeof parts[0], text, "JWS", error);
    if (result < 0)
        return result;
    if (jws.form == DMSG_FORM_COMPACT)
        jws.signing_input =
            (struct dmsg_span){text.data, jws.protected_header.size + 1 + jws.payload.size};
    *out = jws;
    return 0;
}

int dmsg_jws_header_parse(
    struct dmsg_jose_header *out, const struct dmsg_jws *jws, struct dmsg_error *error)
{
    return dmsg_jose_header_parse(out, jws->protected_header, false, error);
}

static int judge_header(const struct dmsg_jose_key *key, const struct dmsg_jose_header *header,
    struct dmsg_error *error)
{
    if (key->use != DMSG_USE_VERIFY)
        return dmsg_fail(error, DMSG_E_USAGE, "a key that was not prepared to verify");
    if (!dmsg_algorithm_is_named(key->algorithm, header->alg))
        return dmsg_fail(error, DMSG_E_ALGORITHM,
            "signature: the header's alg is not %s, which is the key's", key->algorithm->name);
    return 0;
}

int dmsg_jws_verify(struct dmsg_jose_key *key, const struct dmsg_jws *jws,
    const struct dmsg_jose_header *header, struct dmsg_error *error)
{
    uint8_t signature[DMSG_RSA_SIZE_MAX];
    int result = judge_header(key, header, error);
    if (result < 0)
        return result;
    if (jws->signature.size != dmsg_base64url_encoded_size(key->size) ||
        dmsg_base64url_decode(signature, jws->signature) != (long)key->size)
        return dmsg_fail(error, DMSG_E_FORMAT,
            "signature: not %zu octets of canonical base64url, as %s of this key makes them "
            "(RFC 7518 section 3)",
            key->size, key->algorithm->name);
    const struct dmsg_span compact[DMSG_SIGNING_PIECES] = {jws->signing_input};
    const struct dmsg_span flattened[DMSG_SIGNING_PIECES] = {
        jws->protected_header, dot, jws->payload};
    result = key->algorithm->family->verify(
        key, jws->form == DMSG_FORM_COMPACT ? compact : flattened, signature, error);
    dmsg_jose_tidy();
    if (result == DMSG_E_SIGNATURE)
        return dmsg_fail(error, DMSG_E_SIGNATURE, "signature: not made by this key over this text");
    return result;
}

int dmsg_jws_payload(const struct dmsg_jws *jws, struct dmsg_buffer *out, struct dmsg_error *error)
{
    uint8_t *to;
    size_t room = dmsg_base64url_decoded_size(jws->payload.size);
    int result = dmsg_jose_reserve(out, room, &to, error);
    if (result < 0)
        return result;
    long size = dmsg_base64url_decode(to, jws->payload);
    if (size < 0) {
        OPENSSL_cleanse(to, room);
        return dmsg_fail(
            error, DMSG_E_FORMAT, "payload: not canonical base64url (RFC 7515 section 2)");
    }
    out->size += (size_t)size;
    return 0;
}

/* ------------------------------------------------------------------------------------ signing */

#define HEADER_ALG "{\"alg\":\""

/* {"alg":"...",MEMBERS} in the scratch. */
static int make_header(
    const struct dmsg_jose_key *key, struct dmsg_span members, struct dmsg_error *error)
{
    struct dmsg_buffer *header = &key->jose->scratch;
    header->size = 0;
    dmsg_buffer_put_text(header, HEADER_ALG);
    dmsg_buffer_put_text(header, key->algorithm->name);
    dmsg_buffer_put_text(header, members.size > 0 ? "\"," : "\"");
    dmsg_buffer_put_span(header, members);
    dmsg_buffer_put_text(header, "}");
    return dmsg_jose_judge_scratch(key->jose, error);
}

static size_t text_size(
    const struct dmsg_jose_key *key, size_t header, size_t payload, enum dmsg_jose_form form)
{
    return dmsg_form_frame_size(around[form], 4) + dmsg_base64url_encoded_size(header) +
           dmsg_base64url_encoded_size(payload) + dmsg_base64url_encoded_size(key->size);
}

size_t dmsg_jws_size(
    const struct dmsg_jose_key *key, size_t members, size_t payload, enum dmsg_jose_form form)
{
    size_t header = sizeof HEADER_ALG - 1 + strlen(key->algorithm->name) + sizeof "\",}" - 1 +
                    members - (members == 0);
    return text_size(key, header, payload, form);
}

/* The text up to the signature, and the pieces of it that are signed; returns what comes after. */
static uint8_t *put_signed(uint8_t *to, struct dmsg_span header, struct dmsg_span payload,
    enum dmsg_jose_form form, struct dmsg_span pieces[DMSG_SIGNING_PIECES])
{
    uint8_t *protected_header = to = dmsg_jose_put_text(to, around[form][0]);
    uint8_t *end = to = dmsg_jose_put_base64url(to, header);
    uint8_t *body = to = dmsg_jose_put_text(to, around[form][1]);
    to = dmsg_jose_put_base64url(to, payload);
    if (form == DMSG_FORM_COMPACT) {
        pieces[0] = (struct dmsg_span){protected_header, (size_t)(to - protected_header)};
    } else {
        pieces[0] = (struct dmsg_span){protected_header, (size_t)(end - protected_header)};
        pieces[1] = dot;
        pieces[2] = (struct dmsg_span){body, (size_t)(to - body)};
    }
    return dmsg_jose_put_text(to, around[form][2]);
}

int dmsg_jws_sign(struct dmsg_jose_key *key, struct dmsg_span members, struct dmsg_span payload,
    enum dmsg_jose_form form, struct dmsg_buffer *out, struct dmsg_error *error)
{
    uint8_t signature[DMSG_RSA_SIZE_MAX], *to;
    struct dmsg_span pieces[DMSG_SIGNING_PIECES] = {{NULL, 0}};

    if (key->use != DMSG_USE_SIGN)
        return dmsg_fail(error, DMSG_E_USAGE, "a key that was not prepared to sign");
    if (payload.size > DMSG_CONTENT_SIZE_MAX)
        return dmsg_fail(error, DMSG_E_SIZE, "a payload of %zu octets", payload.size);
    int result = make_header(key, members, error);
    if (result < 0)
        return result;
    struct dmsg_span header = dmsg_buffer_span(&key->jose->scratch);
    size_t size = text_size(key, header.size, payload.size, form);
    result = dmsg_jose_reserve(out, size, &to, error);
    if (result < 0)
        return result;
    to = put_signed(to, header, payload, form, pieces);
    result = key->algorithm->family->sign(key, pieces, signature, error);
    dmsg_jose_tidy();
    if (result < 0)
        return result;
    to = dmsg_jose_put_base64url(to, (struct dmsg_span){signature, key->size});
    (void)dmsg_jose_put_text(to, around[form][3]);
    out->size += size;
    return 0;
}
