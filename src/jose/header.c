/* The protected header (RFC 7515 section 4, RFC 7516 section 4). */
#include "jose/internal.h"

#include "base/base64url.h"
#include "base/fail.h"
#include "base/json.h"

#include <stddef.h>
#include <string.h>

enum member_kind {
    TEXT,
    INTEGER,
    CERTIFICATES,
    EPHEMERAL_KEY,
    REFUSED, /* would change what the rest means, or offer a key or algorithm of its own */
};

struct member {
    const char *name;
    size_t name_size;
    enum member_kind kind;
    unsigned bit;  /* enum dmsg_jose_member */
    size_t offset; /* of the value in struct dmsg_jose_header */
};

#define MEMBER(field, member_kind, member_bit)                                                     \
    {                                                                                              \
        .name = #field, .name_size = sizeof #field - 1, .kind = member_kind, .bit = member_bit,    \
        .offset = offsetof(struct dmsg_jose_header, field)                                         \
    }
#define MEMBER_WITHOUT_FIELD(field, member_kind, member_bit)                                       \
    {                                                                                              \
        .name = #field, .name_size = sizeof #field - 1, .kind = member_kind, .bit = member_bit     \
    }
#define MEMBER_REFUSED(field) MEMBER_WITHOUT_FIELD(field, REFUSED, 0)

static const struct member members[] = {
    MEMBER(alg, TEXT, DMSG_HAS_ALG),
    MEMBER(enc, TEXT, DMSG_HAS_ENC),
    MEMBER(typ, TEXT, DMSG_HAS_TYP),
    MEMBER(cty, TEXT, DMSG_HAS_CTY),
    MEMBER(x5u, TEXT, DMSG_HAS_X5U),
    MEMBER(kid, TEXT, DMSG_HAS_KID),
    MEMBER(aud, TEXT, DMSG_HAS_AUD),
    MEMBER(iat, INTEGER, DMSG_HAS_IAT),
    MEMBER(exp, INTEGER, DMSG_HAS_EXP),
    MEMBER(jti, TEXT, DMSG_HAS_JTI),
    MEMBER(topic, TEXT, DMSG_HAS_TOPIC),
    MEMBER(x5c, CERTIFICATES, DMSG_HAS_X5C),
    MEMBER_WITHOUT_FIELD(epk, EPHEMERAL_KEY, DMSG_HAS_EPK),
    MEMBER_REFUSED(crit),
    MEMBER_REFUSED(zip),
    MEMBER_REFUSED(b64),
    MEMBER_REFUSED(jwk),
    MEMBER_REFUSED(jku),
    MEMBER_REFUSED(p2c),
    MEMBER_REFUSED(p2s),
    MEMBER_REFUSED(apu),
    MEMBER_REFUSED(apv),
};

static const struct member *find_member(struct dmsg_span name)
{
    for (size_t i = 0; i < sizeof members / sizeof members[0]; i++) {
        if (members[i].name_size == name.size && memcmp(members[i].name, name.data, name.size) == 0)
            return &members[i];
    }
    return NULL;
}

/* --------------------------------------------------------------------------------- reading it */

static void fault(struct dmsg_json *json, const char *why)
{
    if (json->fault == NULL)
        json->fault = why;
}

static void read_certificates(struct dmsg_jose_header *out, struct dmsg_json *json)
{
    struct dmsg_span certificate = {0};
    dmsg_json_enter_array(json);
    while (dmsg_json_next_element(json)) {
        if (out->x5c_count == DMSG_JOSE_X5C_COUNT)
            fault(json, "an x5c of more certificates than a leaf and three issuers");
        else if (dmsg_json_string(json, &certificate) && certificate.size > 0)
            out->x5c[out->x5c_count++] = certificate;
        else
            fault(json, "an empty certificate in x5c");
    }
    if (out->x5c_count == 0)
        fault(json, "an empty x5c (RFC 7515 section 4.1.6)");
}

static void read_ephemeral_key(struct dmsg_jose_header *out, struct dmsg_json *json)
{
    struct dmsg_span name;
    dmsg_json_enter_object(json);
    while (dmsg_json_next_member(json, &name)) {
        if (dmsg_span_equal_text(name, "kty"))
            (void)dmsg_json_string(json, &out->epk_kty);
        else if (dmsg_span_equal_text(name, "crv"))
            (void)dmsg_json_string(json, &out->epk_crv);
        else if (dmsg_span_equal_text(name, "x"))
            (void)dmsg_json_string(json, &out->epk_x);
        else if (dmsg_span_equal_text(name, "y"))
            (void)dmsg_json_string(json, &out->epk_y);
        else if (dmsg_span_equal_text(name, "d"))
            fault(json, "a private key as epk (RFC 7518 section 4.6.1.1)");
        else
            dmsg_json_skip(json);
    }
    if (out->epk_kty.size == 0 || out->epk_crv.size == 0 || out->epk_x.size == 0)
        fault(json, "an epk without kty, crv or x (RFC 7518 section 4.6.1.1)");
}

static void read_member(
    struct dmsg_jose_header *out, const struct member *member, struct dmsg_json *json)
{
    uint8_t *field = (uint8_t *)out + member->offset;
    out->present |= member->bit;
    switch (member->kind) {
    case TEXT:
        (void)dmsg_json_string(json, (struct dmsg_span *)(void *)field);
        break;
    case INTEGER:
        (void)dmsg_json_integer(json, (int64_t *)(void *)field);
        break;
    case CERTIFICATES:
        read_certificates(out, json);
        break;
    case EPHEMERAL_KEY:
        read_ephemeral_key(out, json);
        break;
    case REFUSED:
        fault(json, "one of crit, zip, b64, jwk, jku, p2c, p2s, apu, apv, which are not accepted");
        break;
    }
}

static int read_members(struct dmsg_jose_header *out, struct dmsg_error *error)
{
    struct dmsg_json json;
    struct dmsg_span name;
    dmsg_json_init(&json, out->storage, out->json.size);
    dmsg_json_enter_object(&json);
    while (dmsg_json_next_member(&json, &name)) {
        const struct member *member = find_member(name);
        if (member != NULL)
            read_member(out, member, &json);
        else
            dmsg_json_skip(&json);
    }
    if (!dmsg_json_finish(&json))
        return dmsg_fail(error, DMSG_E_FORMAT,
            "protected header: %s (RFC 7515 section 4, RFC 8259)",
            json.fault != NULL ? json.fault : "not one JSON object");
    return 0;
}

static int decode(struct dmsg_jose_header *out, struct dmsg_span encoded, struct dmsg_error *error)
{
    if (dmsg_base64url_decoded_size(encoded.size) > sizeof out->storage)
        return dmsg_fail(
            error, DMSG_E_SIZE, "protected header: over %d octets", DMSG_JOSE_HEADER_X5C_MAX);
    long size = dmsg_base64url_decode(out->storage, encoded);
    if (size < 0)
        return dmsg_fail(
            error, DMSG_E_FORMAT, "protected header: not canonical base64url (RFC 7515 section 2)");
    out->json = (struct dmsg_span){out->storage, (size_t)size};
    return 0;
}

/* --------------------------------------------------------------------------------- judging it */

static int judge_encrypted(const struct dmsg_jose_header *header, struct dmsg_error *error)
{
    const struct dmsg_algorithm *row =
        dmsg_algorithm_of_name(header->alg, DMSG_USE_ENCRYPT | DMSG_USE_DECRYPT);
    if ((header->present & DMSG_HAS_ENC) == 0)
        return dmsg_fail(error, DMSG_E_FORMAT, "protected header: no enc (RFC 7516 section 4.1.2)");
    if (row == NULL)
        return dmsg_fail(error, DMSG_E_ALGORITHM,
            "protected header: alg is neither RSA-OAEP-256 nor ECDH-ES+A256KW");
    if (dmsg_enc_of_name(header->enc) == NULL)
        return dmsg_fail(
            error, DMSG_E_ALGORITHM, "protected header: enc is neither A256GCM nor A256CBC-HS512");
    if ((row->crv != NULL) != ((header->present & DMSG_HAS_EPK) != 0))
        return dmsg_fail(error, DMSG_E_FORMAT,
            "protected header: epk belongs to ECDH-ES, there and nowhere else (RFC 7518 section "
            "4.6.1)");
    return 0;
}

static int judge_signed(const struct dmsg_jose_header *header, struct dmsg_error *error)
{
    if ((header->present & (DMSG_HAS_ENC | DMSG_HAS_EPK)) != 0)
        return dmsg_fail(error, DMSG_E_FORMAT, "protected header: enc or epk in a JWS");
    if (dmsg_algorithm_of_name(header->alg, DMSG_USE_SIGN | DMSG_USE_VERIFY) == NULL)
        return dmsg_fail(error, DMSG_E_ALGORITHM,
            "protected header: alg is none of RS256, ES256, ES384, ES512, EdDSA");
    return 0;
}

static int parse(struct dmsg_jose_header *out, struct dmsg_span encoded, bool encrypted,
    struct dmsg_error *error)
{
    int result = decode(out, encoded, error);
    if (result == 0)
        result = read_members(out, error);
    if (result < 0)
        return result;
    if ((out->present & DMSG_HAS_X5C) == 0 && out->json.size > DMSG_JOSE_HEADER_MAX)
        return dmsg_fail(error, DMSG_E_SIZE, "protected header: over %d octets without x5c",
            DMSG_JOSE_HEADER_MAX);
    if ((out->present & DMSG_HAS_ALG) == 0)
        return dmsg_fail(error, DMSG_E_FORMAT, "protected header: no alg (RFC 7515 section 4.1.1)");
    return encrypted ? judge_encrypted(out, error) : judge_signed(out, error);
}

int dmsg_jose_header_parse(struct dmsg_jose_header *out, struct dmsg_span encoded, bool encrypted,
    struct dmsg_error *error)
{
    memset(out, 0, offsetof(struct dmsg_jose_header, storage));
    int result = parse(out, encoded, encrypted, error);
    if (result < 0)
        memset(out, 0, offsetof(struct dmsg_jose_header, storage));
    return result;
}
