#include "base/base64url.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "dane/uri.h"
#include "danemsg/message.h"
#include "jose/jose.h"
#include "message/keyring.h"
#include "message/wire.h"
#include "message/x5c.h"

#include <stdlib.h>
#include <string.h>

/* What dmsg_jws_sign puts before the members: {"alg":"ES256", and a brace behind them. */
#define ALG_ROOM 32

struct dmsg_sealer {
    const struct dmsg_context *context;
    const struct dmsg_identity *identity;
    const struct dmsg_identity_key *own;
    struct dmsg_jose *jose;
    struct dmsg_jose_key *signing;
    struct dmsg_keyring recipients;
    struct dmsg_buffer jws_members, jwe_members; /* header text in the making */
    struct dmsg_buffer x5c;                      /* the header's member, with so many of them: */
    size_t x5c_count;
    struct dmsg_buffer jws;
};

int dmsg_sealer_new(struct dmsg_sealer **out, const struct dmsg_context *context,
    const struct dmsg_identity *identity, struct dmsg_error *error)
{
    const struct dmsg_identity_key *own = dmsg_identity_current(identity, DMSG_FOR_SIGNATURES);
    if (own == NULL)
        return dmsg_fail(error, DMSG_E_CERTIFICATE, "%s has no key that may sign",
            dmsg_identity_name(identity)->text);
    struct dmsg_sealer *sealer = calloc(1, sizeof *sealer);
    if (sealer == NULL)
        return dmsg_fail_memory(error);
    sealer->context = context;
    sealer->identity = identity;
    sealer->own = own;
    int result = dmsg_jose_new(&sealer->jose, own->uri != NULL ? own->context : context, error);
    if (result == 0)
        result = dmsg_jose_key_new(&sealer->signing, sealer->jose, own->key, DMSG_USE_SIGN, error);
    if (result < 0) {
        dmsg_sealer_free(&sealer);
        return result;
    }
    *out = sealer;
    return 0;
}

void dmsg_sealer_free(struct dmsg_sealer **sealer)
{
    if (sealer == NULL || *sealer == NULL)
        return;
    dmsg_keyring_done(&(*sealer)->recipients);
    dmsg_jose_key_free(&(*sealer)->signing);
    dmsg_jose_free(&(*sealer)->jose);
    dmsg_buffer_done(&(*sealer)->jws_members);
    dmsg_buffer_done(&(*sealer)->jwe_members);
    dmsg_buffer_done(&(*sealer)->x5c);
    dmsg_buffer_done(&(*sealer)->jws);
    free(*sealer);
    *sealer = NULL;
}

int dmsg_sealer_certificates(size_t *out, const struct dmsg_sealer *sealer,
    const struct dmsg_peer *own, struct dmsg_error *error)
{
    return dmsg_x5c_needed(out, sealer->own, own, error);
}

/* --------------------------------------------------------------------------------- options */

static bool is_printable(const char *text)
{
    for (; *text != '\0'; text++) {
        if (*text < 0x20 || *text > 0x7e)
            return false;
    }
    return true;
}

static int check_content_type(const char *type, struct dmsg_error *error)
{
    if (type == NULL)
        return 0;
    if (type[0] == '\0' || strlen(type) > DMSG_CONTENT_TYPE_MAX || !is_printable(type))
        return dmsg_fail(error, DMSG_E_USAGE,
            "a content type is 1 to %d characters of printable ASCII", DMSG_CONTENT_TYPE_MAX);
    return 0;
}

static int check_topic(const char *topic, struct dmsg_error *error)
{
    if (topic == NULL)
        return 0;
    if (topic[0] == '\0' || strlen(topic) > DMSG_TOPIC_MAX || strpbrk(topic, "+#") != NULL ||
        !dmsg_utf8_valid(dmsg_span_text(topic)))
        return dmsg_fail(error, DMSG_E_USAGE,
            "a topic to publish on is UTF-8 without '+' and '#', at most %d octets",
            DMSG_TOPIC_MAX);
    return 0;
}

static int check_poc(const struct dmsg_sealer *sealer, const struct dmsg_seal_options *options,
    struct dmsg_span payload, struct dmsg_error *error)
{
    if (options->format != DMSG_FORMAT_POC)
        return 0;
    if (strcmp(dmsg_jose_key_algorithm(sealer->signing), DMSG_POC_SIGNATURE_ALGORITHM) != 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "the proof of concept's format is signed with an RSA key, and %s has another "
            "(`danemsg identity new --key rsa2048` makes one)",
            dmsg_identity_name(sealer->identity)->text);
    if (payload.size == 0 || !dmsg_utf8_valid(payload))
        return dmsg_fail(error, DMSG_E_USAGE,
            "a message in the proof of concept's format is UTF-8 text and not empty: its receiver "
            "dies of anything else");
    if (options->content_type != NULL || options->topic != NULL || options->lifetime != 0 ||
        options->certificates != 0)
        return dmsg_fail(error, DMSG_E_USAGE,
            "the proof of concept's format has no content type, topic, lifetime or certificates");
    return 0;
}

static int check_certificates(const struct dmsg_sealer *sealer,
    const struct dmsg_seal_options *options, struct dmsg_error *error)
{
    if (options->certificates == 0 || sealer->own->certificate != NULL)
        return 0;
    return dmsg_fail(error, DMSG_E_USAGE, "%s has no certificate that could go along",
        dmsg_identity_name(sealer->identity)->text);
}

static int check_options(const struct dmsg_sealer *sealer, const struct dmsg_seal_options *options,
    struct dmsg_span payload, struct dmsg_error *error)
{
    int result = check_content_type(options->content_type, error);
    if (result == 0)
        result = check_topic(options->topic, error);
    if (result == 0)
        result = check_poc(sealer, options, payload, error);
    if (result == 0)
        result = check_certificates(sealer, options, error);
    if (result == 0 && (options->lifetime < 0 || options->lifetime > DMSG_LIFE_MAX))
        result = dmsg_fail(error, DMSG_E_USAGE, "a message lives 1 second to 30 days");
    if (result == 0 && options->recipient == NULL && options->format == DMSG_FORMAT_V1)
        result = dmsg_fail(error, DMSG_E_USAGE, "a v1 message is signed for one recipient");
    return result;
}

/* ----------------------------------------------------------------------------- the headers */

static void put_uri_member(
    struct dmsg_buffer *out, const struct dmsg_name *name, enum dmsg_format format)
{
    dmsg_buffer_put_text(out, "\"x5u\":\"");
    dmsg_uri_put(out, name, format == DMSG_FORMAT_V1 ? DMSG_URI_V1 : DMSG_URI_POC);
    dmsg_buffer_put_byte(out, '"');
}

/* The topic belongs into the header only when it is not the recipient's name. */
static const char *topic_of(const struct dmsg_seal_options *options)
{
    if (options->topic == NULL || strcmp(options->topic, options->recipient->text) == 0)
        return NULL;
    return options->topic;
}

/* The same with every message: encoded once. */
static int put_certificates(
    struct dmsg_sealer *sealer, const struct dmsg_seal_options *options, struct dmsg_error *error)
{
    struct dmsg_buffer *out = &sealer->jws_members;
    if (sealer->x5c_count != options->certificates) {
        dmsg_buffer_reset(&sealer->x5c);
        sealer->x5c_count = 0;
        int result = dmsg_x5c_put(&sealer->x5c, sealer->own, options->certificates, error);
        if (result < 0)
            return result;
        sealer->x5c_count = options->certificates;
    }
    dmsg_buffer_put_byte(out, ',');
    dmsg_buffer_put_span(out, dmsg_buffer_span(&sealer->x5c));
    if (out->size + ALG_ROOM > DMSG_JOSE_HEADER_X5C_MAX)
        return dmsg_fail(error, DMSG_E_SIZE,
            "the certificate and its issuers make a header of %zu octets, where readers take %d: "
            "fewer issuers (NAME.crt.pem), or certificates of smaller keys",
            out->size, DMSG_JOSE_HEADER_X5C_MAX);
    return 0;
}

static int put_jws_members(
    struct dmsg_sealer *sealer, const struct dmsg_seal_options *options, struct dmsg_error *error)
{
    struct dmsg_buffer *out = &sealer->jws_members;
    uint8_t random[DMSG_JTI_OCTETS];
    char jti[DMSG_MESSAGE_ID_SIZE] = "";
    dmsg_buffer_reset(out);
    if (options->format == DMSG_FORMAT_V1) {
        int64_t now = dmsg_context_now(sealer->context);
        if (dmsg_context_random(sealer->context, random, sizeof random) < 0)
            return dmsg_fail_openssl(error, "taking random octets for a message id");
        dmsg_base64url_encode(jti, (struct dmsg_span){random, sizeof random});
        dmsg_buffer_put_text(out, "\"typ\":\"" DMSG_TYP_JWS "\",");
        if (options->content_type != NULL) {
            dmsg_buffer_put_text(out, "\"cty\":");
            dmsg_json_put_string(out, dmsg_span_text(options->content_type));
            dmsg_buffer_put_byte(out, ',');
        }
        dmsg_buffer_format(out,
            "\"kid\":\"%s\",\"aud\":\"%s\",\"iat\":%lld,\"exp\":%lld,\"jti\":\"%s\",",
            sealer->own->kid, options->recipient->text, (long long)now,
            (long long)(now + (options->lifetime != 0 ? options->lifetime : DMSG_LIFE_DEFAULT)),
            jti);
        if (topic_of(options) != NULL) {
            dmsg_buffer_put_text(out, "\"topic\":");
            dmsg_json_put_string(out, dmsg_span_text(topic_of(options)));
            dmsg_buffer_put_byte(out, ',');
        }
    }
    put_uri_member(out, dmsg_identity_name(sealer->identity), options->format);
    int result = options->certificates > 0 ? put_certificates(sealer, options, error) : 0;
    if (result == 0 && out->failed)
        result = dmsg_fail_memory(error);
    if (result == 0 && options->id != NULL)
        memcpy(options->id, jti, sizeof jti);
    return result;
}

static int put_jwe_members(
    struct dmsg_buffer *out, const struct dmsg_seal_options *options, struct dmsg_error *error)
{
    dmsg_buffer_reset(out);
    dmsg_buffer_put_text(out, "\"typ\":\"" DMSG_TYP_JWE "\",");
    if (options->format == DMSG_FORMAT_V1)
        dmsg_buffer_format(out, "\"cty\":\"" DMSG_TYP_JWS "\",\"kid\":\"%s\",", options->key->kid);
    put_uri_member(out, options->recipient, options->format);
    return out->failed ? dmsg_fail_memory(error) : 0;
}

/* -------------------------------------------------------------------------------- the steps */

static enum dmsg_jose_enc enc_of(const struct dmsg_seal_options *options)
{
    return options->cbc || options->format == DMSG_FORMAT_POC ? DMSG_ENC_A256CBC_HS512
                                                              : DMSG_ENC_A256GCM;
}

static enum dmsg_jose_form jws_form(const struct dmsg_seal_options *options)
{
    return options->format == DMSG_FORMAT_POC ? DMSG_FORM_FLATTENED : DMSG_FORM_COMPACT;
}

static size_t limit_of(const struct dmsg_seal_options *options)
{
    if (options->size_limit != 0)
        return options->size_limit;
    return options->format == DMSG_FORMAT_POC ? DMSG_MESSAGE_SIZE_POC : DMSG_MESSAGE_SIZE_MAX;
}

static int sign(struct dmsg_sealer *sealer, const struct dmsg_seal_options *options,
    struct dmsg_span payload, struct dmsg_buffer *jws, struct dmsg_error *error)
{
    return dmsg_jws_sign(sealer->signing, dmsg_buffer_span(&sealer->jws_members), payload,
        jws_form(options), jws, error);
}

static int encrypt(struct dmsg_jose_key *key, const struct dmsg_buffer *members,
    const struct dmsg_seal_options *options, struct dmsg_span plaintext, struct dmsg_buffer *jwe,
    struct dmsg_error *error)
{
    if (options->format == DMSG_FORMAT_POC &&
        strcmp(dmsg_jose_key_algorithm(key), DMSG_POC_ENCRYPTION_ALGORITHM) != 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "the proof of concept's format is encrypted to an RSA key, and %s publishes another",
            options->recipient->text);
    return dmsg_jwe_encrypt(key, enc_of(options), dmsg_buffer_span(members), plaintext,
        DMSG_FORM_FLATTENED, jwe, error);
}

int dmsg_sign(struct dmsg_sealer *sealer, const struct dmsg_seal_options *options,
    struct dmsg_span payload, struct dmsg_buffer *jws, struct dmsg_error *error)
{
    int result = check_options(sealer, options, payload, error);
    if (result == 0)
        result = put_jws_members(sealer, options, error);
    return result < 0 ? result : sign(sealer, options, payload, jws, error);
}

int dmsg_encrypt(const struct dmsg_context *context, const struct dmsg_seal_options *options,
    struct dmsg_span plaintext, struct dmsg_buffer *jwe, struct dmsg_error *error)
{
    struct dmsg_jose *jose = NULL;
    struct dmsg_jose_key *key = NULL;
    struct dmsg_buffer members = {0};
    int result = dmsg_jose_new(&jose, context, error);
    if (result == 0)
        result = dmsg_jose_key_new(&key, jose, options->key->key, DMSG_USE_ENCRYPT, error);
    if (result == 0)
        result = put_jwe_members(&members, options, error);
    if (result == 0 && (plaintext.size > limit_of(options) ||
                           dmsg_jwe_size(key, enc_of(options), members.size, plaintext.size,
                               DMSG_FORM_FLATTENED) > limit_of(options)))
        result = dmsg_fail(error, DMSG_E_SIZE,
            "%zu octets do not fit into a message of %zu on the wire (MAX_MESSAGE_SIZE)",
            plaintext.size, limit_of(options));
    if (result == 0)
        result = encrypt(key, &members, options, plaintext, jwe, error);
    dmsg_buffer_done(&members);
    dmsg_jose_key_free(&key);
    dmsg_jose_free(&jose);
    return result;
}

/* ------------------------------------------------------------------------------------- size */

/* Octets on the wire of a payload, once both headers are made. */
static size_t wire_size(const struct dmsg_sealer *sealer, const struct dmsg_seal_options *options,
    const struct dmsg_jose_key *key, size_t payload)
{
    size_t jws =
        dmsg_jws_size(sealer->signing, sealer->jws_members.size, payload, jws_form(options));
    return dmsg_jwe_size(key, enc_of(options), sealer->jwe_members.size, jws, DMSG_FORM_FLATTENED);
}

static int fail_size(const struct dmsg_sealer *sealer, const struct dmsg_seal_options *options,
    const struct dmsg_jose_key *key, size_t payload, struct dmsg_error *error)
{
    size_t limit = limit_of(options), fits = 0, fits_not = payload;
    if (wire_size(sealer, options, key, 0) > limit)
        return dmsg_fail(error, DMSG_E_SIZE,
            "a message for %s takes more than the limit of %zu octets even when it is empty",
            options->recipient->text, limit);
    while (fits_not - fits > 1) {
        size_t middle = fits + (fits_not - fits) / 2;
        if (middle <= limit && wire_size(sealer, options, key, middle) <= limit)
            fits = middle;
        else
            fits_not = middle;
    }
    return dmsg_fail(error, DMSG_E_SIZE,
        "%zu octets do not fit into a message of %zu on the wire: the largest that would is %zu "
        "(MAX_MESSAGE_SIZE sets the limit, on both sides)",
        payload, limit, fits);
}

static int check_size(const struct dmsg_sealer *sealer, const struct dmsg_seal_options *options,
    const struct dmsg_jose_key *key, size_t payload, struct dmsg_error *error)
{
    /* The payload alone first, so that the exact sum cannot overflow. */
    if (payload > limit_of(options) || wire_size(sealer, options, key, payload) > limit_of(options))
        return fail_size(sealer, options, key, payload, error);
    return 0;
}

int dmsg_seal(struct dmsg_sealer *sealer, const struct dmsg_seal_options *options,
    struct dmsg_span payload, struct dmsg_buffer *envelope, struct dmsg_error *error)
{
    struct dmsg_jose_key *key;
    int result = check_options(sealer, options, payload, error);
    if (result == 0)
        result = dmsg_keyring_get(
            &sealer->recipients, sealer->jose, options->key, DMSG_USE_ENCRYPT, &key, error);
    if (result == 0)
        result = put_jws_members(sealer, options, error);
    if (result == 0)
        result = put_jwe_members(&sealer->jwe_members, options, error);
    if (result == 0)
        result = check_size(sealer, options, key, payload.size, error);
    if (result < 0)
        return result;
    dmsg_buffer_reset(&sealer->jws);
    result = sign(sealer, options, payload, &sealer->jws, error);
    if (result == 0)
        result = encrypt(
            key, &sealer->jwe_members, options, dmsg_buffer_span(&sealer->jws), envelope, error);
    dmsg_buffer_reset(&sealer->jws);
    return result;
}
