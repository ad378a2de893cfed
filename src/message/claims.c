#include "message/claims.h"

#include "base/base64url.h"
#include "base/fail.h"
#include "message/wire.h"

#include <string.h>

#define V1_REQUIRED                                                                                \
    (DMSG_HAS_ALG | DMSG_HAS_X5U | DMSG_HAS_KID | DMSG_HAS_AUD | DMSG_HAS_IAT | DMSG_HAS_EXP |     \
        DMSG_HAS_JTI)
#define POC_EXCLUDED (DMSG_HAS_AUD | DMSG_HAS_IAT | DMSG_HAS_EXP | DMSG_HAS_JTI)
#define DIGEST_OCTETS 32

/* Copies base64url text of a known number of octets. */
static int read_id(
    char *out, struct dmsg_span text, size_t octets, const char *what, struct dmsg_error *error)
{
    uint8_t bytes[DIGEST_OCTETS];
    if (text.size != dmsg_base64url_encoded_size(octets) ||
        dmsg_base64url_decode(bytes, text) != (long)octets)
        return dmsg_fail(error, DMSG_E_FORMAT, "%s is not base64url of %zu octets", what, octets);
    memcpy(out, text.data, text.size);
    out[text.size] = '\0';
    return 0;
}

static int read_content_type(char *out, struct dmsg_span text, struct dmsg_error *error)
{
    if (text.size > DMSG_CONTENT_TYPE_MAX)
        return dmsg_fail(
            error, DMSG_E_FORMAT, "cty is longer than %d characters", DMSG_CONTENT_TYPE_MAX);
    for (size_t i = 0; i < text.size; i++) {
        if (text.data[i] < 0x20 || text.data[i] > 0x7e)
            return dmsg_fail(error, DMSG_E_FORMAT, "cty is not printable ASCII");
        out[i] = (char)text.data[i];
    }
    out[text.size] = '\0';
    return 0;
}

static int read_v1(
    struct dmsg_message *message, const struct dmsg_jose_header *header, struct dmsg_error *error)
{
    if ((header->present & V1_REQUIRED) != V1_REQUIRED)
        return dmsg_fail(error, DMSG_E_FORMAT,
            "a v1 message needs alg, x5u, kid, aud, iat, exp and jti in its signed header");
    if (header->exp <= header->iat)
        return dmsg_fail(error, DMSG_E_FORMAT, "exp is not after iat");
    message->format = DMSG_FORMAT_V1;
    message->issued_at = header->iat;
    message->expires_at = header->exp;
    int result = read_id(message->id, header->jti, DMSG_JTI_OCTETS, "jti", error);
    if (result == 0)
        result = read_id(message->kid, header->kid, DIGEST_OCTETS, "kid", error);
    if (result == 0)
        result = read_content_type(message->content_type, header->cty, error);
    return result;
}

int dmsg_claims_read(
    struct dmsg_message *message, const struct dmsg_jose_header *header, struct dmsg_error *error)
{
    if (dmsg_span_equal_text(header->typ, DMSG_TYP_JWS))
        return read_v1(message, header, error);
    if (!dmsg_span_equal_text(header->alg, DMSG_POC_SIGNATURE_ALGORITHM) ||
        (header->present & POC_EXCLUDED) != 0 || (header->present & DMSG_HAS_X5U) == 0)
        return dmsg_fail(error, DMSG_E_FORMAT,
            "the signed header is neither v1 (typ " DMSG_TYP_JWS
            ") nor the proof of concept's (RS256, x5u, none of aud, iat, exp, jti)");
    message->format = DMSG_FORMAT_POC;
    return 0;
}

static int judge_topic(const struct dmsg_jose_header *header, const struct dmsg_name *recipient,
    struct dmsg_span topic, struct dmsg_error *error)
{
    struct dmsg_span signed_topic = dmsg_span_text(recipient->text);
    if ((header->present & DMSG_HAS_TOPIC) != 0)
        signed_topic = header->topic;
    if (topic.size > 0 && !dmsg_span_equal(signed_topic, topic))
        return dmsg_fail(
            error, DMSG_E_AUDIENCE, "signed for another topic than it was published on");
    return 0;
}

static int judge_audience(struct dmsg_message *message, const struct dmsg_jose_header *header,
    const struct dmsg_name *recipient, struct dmsg_span topic, struct dmsg_error *error)
{
    struct dmsg_name audience;
    if (dmsg_name_parse(&audience, header->aud, NULL) < 0)
        return dmsg_fail(error, DMSG_E_AUDIENCE, "aud is no name");
    message->recipient = audience;
    if (recipient == NULL)
        return 0;
    if (!dmsg_name_equal(&audience, recipient))
        return dmsg_fail(
            error, DMSG_E_AUDIENCE, "signed for %s, not for %s", audience.text, recipient->text);
    return judge_topic(header, recipient, topic, error);
}

static int judge_times(struct dmsg_message *message, const struct dmsg_jose_header *header,
    const struct dmsg_context *context, struct dmsg_error *error)
{
    int64_t now = dmsg_context_now(context);
    if (header->exp - header->iat > DMSG_LIFE_MAX)
        return dmsg_fail(error, DMSG_E_TIME, "lives longer than %d days", DMSG_LIFE_MAX / 86400);
    if (header->exp <= now)
        return dmsg_fail(
            error, DMSG_E_TIME, "expired %lld seconds ago", (long long)(now - header->exp));
    if (header->iat <= now + DMSG_CLOCK_SKEW)
        return 0;
    message->early = !dmsg_context_synchronised(context);
    if (message->early)
        return 0;
    return dmsg_fail(error, DMSG_E_TIME,
        "signed %lld seconds in the future; a sender's clock may be %d ahead",
        (long long)(header->iat - now), DMSG_CLOCK_SKEW);
}

int dmsg_claims_judge(struct dmsg_message *message, const struct dmsg_jose_header *header,
    const struct dmsg_name *recipient, struct dmsg_span topic, const struct dmsg_context *context,
    struct dmsg_error *error)
{
    int result = judge_audience(message, header, recipient, topic, error);
    return result < 0 ? result : judge_times(message, header, context, error);
}
