/*
 * The protected header of a JWS and of a JWE. The input is the JSON, which is encoded here. With
 * jansson at hand as a second opinion: what is accepted is exactly what doc/PROTOCOL.md allows,
 * judged once more on jansson's tree, and each member was read as jansson reads it.
 */
#include "target.h"

#include "base/base64url.h"
#include "base/json.h"
#include "base/utf8.h"
#include "jose/jose.h"

#include <string.h>
#ifdef FUZZ_JANSSON
#include <jansson.h>
#endif

unsigned long fuzz_accepted;

/* -------------------------------------------------------------------- by what was read alone */

/* Each member, its bit, and where its value is. */
static const struct text_member {
    const char *name;
    unsigned bit;
    size_t offset;
} text_members[] = {
#define TEXT_MEMBER(field, has)                                                                    \
    {                                                                                              \
        .name = #field, .bit = has, .offset = offsetof(struct dmsg_jose_header, field)             \
    }
    TEXT_MEMBER(alg, DMSG_HAS_ALG),
    TEXT_MEMBER(enc, DMSG_HAS_ENC),
    TEXT_MEMBER(typ, DMSG_HAS_TYP),
    TEXT_MEMBER(cty, DMSG_HAS_CTY),
    TEXT_MEMBER(x5u, DMSG_HAS_X5U),
    TEXT_MEMBER(kid, DMSG_HAS_KID),
    TEXT_MEMBER(aud, DMSG_HAS_AUD),
    TEXT_MEMBER(jti, DMSG_HAS_JTI),
    TEXT_MEMBER(topic, DMSG_HAS_TOPIC),
};
#define TEXT_MEMBERS (sizeof text_members / sizeof text_members[0])

static struct dmsg_span text_of(
    const struct dmsg_jose_header *header, const struct text_member *member)
{
    struct dmsg_span span;
    memcpy(&span, (const uint8_t *)header + member->offset, sizeof span);
    return span;
}

/* Inside the header's storage, UTF-8, without NUL; nothing at all when the member is absent. */
static void check_text(const struct dmsg_jose_header *header, struct dmsg_span text, bool present)
{
    if (text.data == NULL) {
        FUZZ_ASSERT(text.size == 0 && !present);
        return;
    }
    FUZZ_ASSERT(present);
    FUZZ_ASSERT(text.data >= header->storage &&
                text.data + text.size <= header->storage + sizeof header->storage);
    FUZZ_ASSERT(dmsg_utf8_valid(text));
    FUZZ_ASSERT(text.size == 0 || memchr(text.data, '\0', text.size) == NULL);
}

static void check_header(const struct dmsg_jose_header *header, bool encrypted)
{
    for (size_t i = 0; i < TEXT_MEMBERS; i++)
        check_text(header, text_of(header, &text_members[i]),
            (header->present & text_members[i].bit) != 0);
    FUZZ_ASSERT(header->iat >= 0 && header->iat < DMSG_JSON_INTEGER_LIMIT);
    FUZZ_ASSERT(header->exp >= 0 && header->exp < DMSG_JSON_INTEGER_LIMIT);
    FUZZ_ASSERT(header->x5c_count <= DMSG_JOSE_X5C_COUNT);
    FUZZ_ASSERT((header->x5c_count > 0) == ((header->present & DMSG_HAS_X5C) != 0));
    for (size_t i = 0; i < header->x5c_count; i++)
        check_text(header, header->x5c[i], true);
    bool epk = (header->present & DMSG_HAS_EPK) != 0;
    check_text(header, header->epk_kty, epk);
    check_text(header, header->epk_crv, epk);
    check_text(header, header->epk_x, epk);
    FUZZ_ASSERT(encrypted || (header->present & (DMSG_HAS_ENC | DMSG_HAS_EPK)) == 0);
}

/* ------------------------------------------------------------------------------ second opinion */

#ifdef FUZZ_JANSSON
static bool is_one_of(const json_t *value, const char *const *texts)
{
    for (; *texts != NULL; texts++) {
        if (json_string_length(value) == strlen(*texts) &&
            memcmp(json_string_value(value), *texts, strlen(*texts)) == 0)
            return true;
    }
    return false;
}

/* names: member names of the objects that are open. */
static bool is_bounded(json_t *value, size_t depth, size_t names)
{
    const char *name;
    json_t *member;
    size_t index;
    if ((json_is_object(value) || json_is_array(value)) && depth == DMSG_JSON_DEPTH_MAX)
        return false;
    json_object_foreach(value, name, member)
    {
        if (++names > DMSG_JSON_MEMBERS_MAX || !is_bounded(member, depth + 1, names))
            return false;
    }
    json_array_foreach(value, index, member)
    {
        if (!is_bounded(member, depth + 1, names))
            return false;
    }
    return true;
}

static bool has_refused_member(const json_t *root)
{
    static const char *const refused[] = {
        "crit", "zip", "b64", "jwk", "jku", "p2c", "p2s", "apu", "apv"};
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        if (json_object_get(root, refused[i]) != NULL)
            return true;
    }
    return false;
}

static bool is_good_integer(const json_t *value)
{
    return value == NULL || (json_is_integer(value) && json_integer_value(value) >= 0 &&
                                json_integer_value(value) < DMSG_JSON_INTEGER_LIMIT);
}

static bool is_good_x5c(const json_t *x5c)
{
    size_t index;
    json_t *certificate;
    if (x5c == NULL)
        return true;
    if (json_array_size(x5c) == 0 || json_array_size(x5c) > DMSG_JOSE_X5C_COUNT)
        return false;
    json_array_foreach(x5c, index, certificate)
    {
        if (json_string_length(certificate) == 0)
            return false;
    }
    return true;
}

static bool is_good_epk(const json_t *epk)
{
    const json_t *y = json_object_get(epk, "y");
    return epk == NULL ||
           (json_is_object(epk) && json_string_length(json_object_get(epk, "kty")) > 0 &&
               json_string_length(json_object_get(epk, "crv")) > 0 &&
               json_string_length(json_object_get(epk, "x")) > 0 &&
               (y == NULL || json_is_string(y)) && json_object_get(epk, "d") == NULL);
}

static bool is_good_algorithm(const json_t *root, bool encrypted)
{
    static const char *const signs[] = {
        "RS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", NULL};
    static const char *const rsa[] = {"RSA-OAEP-256", NULL}, *const ecdh[] = {
                                                                 "ECDH-ES+A256KW", NULL};
    static const char *const encs[] = {"A256GCM", "A256CBC-HS512", NULL};
    const json_t *alg = json_object_get(root, "alg"), *enc = json_object_get(root, "enc"),
                 *epk = json_object_get(root, "epk");
    if (!encrypted)
        return is_one_of(alg, signs) && enc == NULL && epk == NULL;
    return is_one_of(enc, encs) && is_one_of(alg, epk != NULL ? ecdh : rsa);
}

static bool is_good(json_t *root, size_t size, bool encrypted)
{
    if (!json_is_object(root) || !is_bounded(root, 0, 0) || has_refused_member(root))
        return false;
    for (size_t i = 0; i < TEXT_MEMBERS; i++) {
        const json_t *value = json_object_get(root, text_members[i].name);
        if (value != NULL && !json_is_string(value))
            return false;
    }
    size_t limit =
        json_object_get(root, "x5c") != NULL ? DMSG_JOSE_HEADER_X5C_MAX : DMSG_JOSE_HEADER_MAX;
    return size <= limit && is_good_integer(json_object_get(root, "iat")) &&
           is_good_integer(json_object_get(root, "exp")) &&
           is_good_x5c(json_object_get(root, "x5c")) && is_good_epk(json_object_get(root, "epk")) &&
           is_good_algorithm(root, encrypted);
}

static bool says(const json_t *value, struct dmsg_span text)
{
    return json_string_length(value) == text.size &&
           (text.size == 0 || memcmp(json_string_value(value), text.data, text.size) == 0);
}

static void compare(const json_t *root, const struct dmsg_jose_header *header)
{
    const json_t *epk = json_object_get(root, "epk"), *x5c = json_object_get(root, "x5c");
    for (size_t i = 0; i < TEXT_MEMBERS; i++) {
        const json_t *value = json_object_get(root, text_members[i].name);
        FUZZ_ASSERT((value != NULL) == ((header->present & text_members[i].bit) != 0));
        FUZZ_ASSERT(says(value, text_of(header, &text_members[i])));
    }
    FUZZ_ASSERT(json_integer_value(json_object_get(root, "iat")) == header->iat);
    FUZZ_ASSERT(json_integer_value(json_object_get(root, "exp")) == header->exp);
    FUZZ_ASSERT(json_array_size(x5c) == header->x5c_count);
    for (size_t i = 0; i < header->x5c_count; i++)
        FUZZ_ASSERT(says(json_array_get(x5c, i), header->x5c[i]));
    FUZZ_ASSERT(says(json_object_get(epk, "kty"), header->epk_kty));
    FUZZ_ASSERT(says(json_object_get(epk, "crv"), header->epk_crv));
    FUZZ_ASSERT(says(json_object_get(epk, "x"), header->epk_x));
    FUZZ_ASSERT(says(json_object_get(epk, "y"), header->epk_y));
}

/* jansson takes -0 for an integer, which we do not. */
static bool has_minus_zero(struct dmsg_span text)
{
    for (size_t i = 0; i + 1 < text.size; i++) {
        if (text.data[i] == '-' && text.data[i + 1] == '0')
            return true;
    }
    return false;
}

/* header: NULL when it was refused. */
static void ask_jansson(
    struct dmsg_span text, const struct dmsg_jose_header *header, bool encrypted)
{
    json_error_t error;
    if (text.size > 0 && memchr(text.data, '\0', text.size) != NULL) {
        FUZZ_ASSERT(header == NULL); /* jansson passes over a NUL after a number */
        return;
    }
    json_t *root = json_loadb((const char *)text.data, text.size, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        /* It refuses numbers that it cannot represent, wherever they stand. */
        FUZZ_ASSERT(header == NULL || json_error_code(&error) == json_error_numeric_overflow);
        return;
    }
    if (!has_minus_zero(text))
        FUZZ_ASSERT(is_good(root, text.size, encrypted) == (header != NULL));
    if (header != NULL)
        compare(root, header);
    json_decref(root);
}
#endif

/* ---------------------------------------------------------------------------------- the target */

static int parse(struct dmsg_jose_header *header, struct dmsg_span encoded, bool encrypted,
    struct dmsg_error *error)
{
    const struct dmsg_jwe jwe = {.protected_header = encoded};
    const struct dmsg_jws jws = {.protected_header = encoded};
    return encrypted ? dmsg_jwe_header_parse(header, &jwe, error)
                     : dmsg_jws_header_parse(header, &jws, error);
}

static bool check(struct dmsg_span text, struct dmsg_span encoded, bool encrypted)
{
    static struct dmsg_jose_header header;
    struct dmsg_error error;
    int result = parse(&header, encoded, encrypted, &error);
    if (result == 0) {
        check_header(&header, encrypted);
    } else {
        FUZZ_ASSERT(result == DMSG_E_FORMAT || result == DMSG_E_SIZE || result == DMSG_E_ALGORITHM);
        FUZZ_ASSERT(fuzz_is_printable(error.text) && header.present == 0);
    }
#ifdef FUZZ_JANSSON
    ask_jansson(text, result == 0 ? &header : NULL, encrypted);
#else
    (void)text;
#endif
    return result == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dmsg_span text = {data, size};
    struct dmsg_buffer encoded = {0};
    dmsg_base64url_put(&encoded, text);
    bool is_jws = check(text, dmsg_buffer_span(&encoded), false);
    bool is_jwe = check(text, dmsg_buffer_span(&encoded), true);
    FUZZ_ASSERT(!is_jws || !is_jwe);
    fuzz_accepted += is_jws || is_jwe;
    dmsg_buffer_done(&encoded);
    return 0;
}
