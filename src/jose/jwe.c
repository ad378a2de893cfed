/* JSON Web Encryption (RFC 7516). */
#include "jose/internal.h"

#include "base/base64url.h"
#include "base/fail.h"
#include "jose/form.h"

#include <openssl/ec.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ reading */

int dmsg_jwe_parse(struct dmsg_jwe *out, struct dmsg_span text, struct dmsg_error *error)
{
    struct dmsg_jwe jwe = {0};
    const struct dmsg_form_part parts[] = {{"protected", &jwe.protected_header},
        {"encrypted_key", &jwe.encrypted_key}, {"iv", &jwe.iv}, {"ciphertext", &jwe.ciphertext},
        {"tag", &jwe.tag}};
    int result =
        dmsg_form_split(&jwe.form, parts, sizeof parts / sizeof parts[0], text, "JWE", error);
    if (result == 0)
        *out = jwe;
    return result;
}

int dmsg_jwe_header_parse(
    struct dmsg_jose_header *out, const struct dmsg_jwe *jwe, struct dmsg_error *error)
{
    return dmsg_jose_header_parse(out, jwe->protected_header, true, error);
}

/* --------------------------------------------------------------------------------- decrypting */

/* The parts of a JWE, decoded, and the keys that come out of them. */
struct opened {
    struct dmsg_wrapped_key wrapped;
    uint8_t iv[DMSG_IV_SIZE_MAX], tag[DMSG_TAG_SIZE_MAX];
    uint8_t cek[DMSG_CEK_SIZE_MAX];
};

static size_t encrypted_key_size(const struct dmsg_jose_key *key, const struct dmsg_enc *enc)
{
    return key->size > 0 ? key->size : enc->cek_size + DMSG_WRAP_OVERHEAD;
}

/* The key decides; the header can only agree. */
static int judge_header(const struct dmsg_jose_key *key, const struct dmsg_jose_header *header,
    const struct dmsg_enc **enc, struct dmsg_error *error)
{
    const struct dmsg_algorithm *algorithm = key->algorithm;
    if (key->use != DMSG_USE_DECRYPT)
        return dmsg_fail(error, DMSG_E_USAGE, "a key that was not prepared to decrypt");
    *enc = dmsg_enc_of_name(header->enc);
    if (*enc == NULL || !dmsg_algorithm_is_named(algorithm, header->alg))
        return dmsg_fail(error, DMSG_E_ALGORITHM,
            "JWE: the header's alg is not %s, which is the key's", algorithm->name);
    if (algorithm->crv != NULL && (!dmsg_span_equal_text(header->epk_kty, algorithm->kty) ||
                                      !dmsg_span_equal_text(header->epk_crv, algorithm->crv)))
        return dmsg_fail(error, DMSG_E_ALGORITHM,
            "JWE: epk is not on %s, the curve of the key (RFC 7518 section 4.6.1.1)",
            algorithm->crv);
    return 0;
}

/* A part of exactly this many octets. */
static bool decode_exactly(uint8_t *out, struct dmsg_span text, size_t size)
{
    return text.size == dmsg_base64url_encoded_size(size) &&
           dmsg_base64url_decode(out, text) == (long)size;
}

static bool decode_point(struct dmsg_wrapped_key *out, const struct dmsg_algorithm *algorithm,
    const struct dmsg_jose_header *header)
{
    size_t size = algorithm->field_size;
    if (algorithm->crv == NULL)
        return true;
    if (!algorithm->has_y)
        return header->epk_y.data == NULL && decode_exactly(out->point, header->epk_x, size);
    out->point[0] = POINT_CONVERSION_UNCOMPRESSED;
    return decode_exactly(out->point + 1, header->epk_x, size) &&
           decode_exactly(out->point + 1 + size, header->epk_y, size);
}

/* Everything but the ciphertext. */
static int decode_parts(struct opened *out, const struct dmsg_jose_key *key,
    const struct dmsg_enc *enc, const struct dmsg_jwe *jwe, const struct dmsg_jose_header *header,
    struct dmsg_error *error)
{
    out->wrapped.encrypted_key_size = encrypted_key_size(key, enc);
    if (!decode_exactly(
            out->wrapped.encrypted_key, jwe->encrypted_key, out->wrapped.encrypted_key_size))
        return dmsg_fail(error, DMSG_E_FORMAT,
            "JWE: encrypted_key is not %zu octets of canonical base64url",
            out->wrapped.encrypted_key_size);
    if (!decode_exactly(out->iv, jwe->iv, enc->iv_size))
        return dmsg_fail(
            error, DMSG_E_FORMAT, "JWE: iv is not %zu octets of canonical base64url", enc->iv_size);
    if (!decode_exactly(out->tag, jwe->tag, enc->tag_size))
        return dmsg_fail(error, DMSG_E_FORMAT, "JWE: tag is not %zu octets of canonical base64url",
            enc->tag_size);
    if (!decode_point(&out->wrapped, key->algorithm, header))
        return dmsg_fail(error, DMSG_E_FORMAT,
            "JWE: the coordinates of epk are not %zu octets of canonical base64url (RFC 7518 "
            "section 6.2.1)",
            key->algorithm->field_size);
    return 0;
}

static int make_spare_cek(struct dmsg_jose *jose, struct dmsg_error *error)
{
    if (!jose->has_spare_cek &&
        dmsg_context_random(jose->context, jose->spare_cek, sizeof jose->spare_cek) != 0)
        return dmsg_fail_openssl(error, "cannot get random octets");
    jose->has_spare_cek = true;
    return 0;
}

/* Leaves cek as it is when good is 1, and makes it the spare one when good is 0, without a branch
   that an observer could time. */
static void select_cek(uint8_t *cek, const uint8_t *spare, size_t size, int good)
{
    unsigned mask = 0u - (unsigned)good;
    __asm__("" : "+r"(mask)); /* the compiler must not know that there are two values only */
    for (size_t i = 0; i < size; i++)
        cek[i] = (uint8_t)((cek[i] & mask) | (spare[i] & ~mask));
}

/* Decrypts data in place. The key's unwrapping fails no sooner than the tag does. */
static int open_data(struct opened *opened, struct dmsg_jose_key *key, const struct dmsg_enc *enc,
    struct dmsg_span protected_header, uint8_t *data, size_t *size, struct dmsg_error *error)
{
    struct dmsg_jose *jose = key->jose;
    int result = make_spare_cek(jose, error);
    if (result < 0)
        return result;
    int good =
        key->algorithm->family->unwrap(key, &opened->wrapped, opened->cek, enc->cek_size, error);
    if (good < 0)
        return good;
    select_cek(opened->cek, jose->spare_cek, enc->cek_size, good);
    result =
        enc->open(jose, opened->cek, opened->iv, protected_header, data, size, opened->tag, error);
    if (result != DMSG_E_DECRYPT)
        return result;
    jose->has_spare_cek = false;
    return dmsg_openssl_lacked_memory()
               ? dmsg_fail_memory(error)
               : dmsg_fail(error, DMSG_E_DECRYPT,
                     "JWE: not encrypted to this key, or altered on the way");
}

/* The ciphertext goes to where the plaintext will be. */
static int decode_and_open(struct opened *opened, struct dmsg_jose_key *key,
    const struct dmsg_enc *enc, const struct dmsg_jwe *jwe, struct dmsg_buffer *plaintext,
    struct dmsg_error *error)
{
    uint8_t *data;
    size_t room = dmsg_base64url_decoded_size(jwe->ciphertext.size);

    if (!enc->is_ciphertext_size(room))
        return dmsg_fail(
            error, DMSG_E_FORMAT, "JWE: a ciphertext of %zu octets, not whole blocks", room);
    int result = dmsg_jose_reserve(plaintext, room, &data, error);
    if (result < 0)
        return result;
    size_t size = room;
    if (dmsg_base64url_decode(data, jwe->ciphertext) != (long)room)
        result = dmsg_fail(error, DMSG_E_FORMAT, "JWE: ciphertext is not canonical base64url");
    else
        result = open_data(opened, key, enc, jwe->protected_header, data, &size, error);
    if (result < 0)
        OPENSSL_cleanse(data, room);
    else
        plaintext->size += size;
    return result;
}

int dmsg_jwe_decrypt(struct dmsg_jose_key *key, const struct dmsg_jwe *jwe,
    const struct dmsg_jose_header *header, struct dmsg_buffer *plaintext, struct dmsg_error *error)
{
    struct opened opened;
    const struct dmsg_enc *enc = NULL;
    int result = judge_header(key, header, &enc, error);
    if (result == 0)
        result = decode_parts(&opened, key, enc, jwe, header, error);
    if (result < 0)
        return result;
    result = decode_and_open(&opened, key, enc, jwe, plaintext, error);
    dmsg_jose_tidy();
    OPENSSL_cleanse(opened.cek, sizeof opened.cek);
    return result;
}

/* --------------------------------------------------------------------------------- encrypting */

/* What stands before each part, and after the last, in each form. */
static const char *const around[2][6] = {
    [DMSG_FORM_COMPACT] = {"", ".", ".", ".", ".", ""},
    [DMSG_FORM_FLATTENED] = {"{\"protected\":\"", "\",\"encrypted_key\":\"", "\",\"iv\":\"",
        "\",\"ciphertext\":\"", "\",\"tag\":\"", "\"}"},
};

/* {"alg":"...","enc":"...",MEMBERS,"epk":{...}} */
#define HEADER_ALG "{\"alg\":\""
#define HEADER_ENC "\",\"enc\":\""
#define HEADER_EPK ",\"epk\":{\"kty\":\""
#define HEADER_CRV "\",\"crv\":\""
#define HEADER_X "\",\"x\":\""
#define HEADER_Y "\",\"y\":\""

static size_t epk_size(const struct dmsg_algorithm *algorithm)
{
    size_t coordinate = dmsg_base64url_encoded_size(algorithm->field_size);
    if (algorithm->crv == NULL)
        return 0;
    return sizeof HEADER_EPK HEADER_CRV HEADER_X "\"}" - 1 + strlen(algorithm->kty) +
           strlen(algorithm->crv) + coordinate +
           (algorithm->has_y ? sizeof HEADER_Y - 1 + coordinate : 0);
}

static void put_epk(
    struct dmsg_buffer *header, const struct dmsg_algorithm *algorithm, const uint8_t *point)
{
    size_t size = algorithm->field_size;
    const uint8_t *x = algorithm->has_y ? point + 1 : point;
    dmsg_buffer_put_text(header, HEADER_EPK);
    dmsg_buffer_put_text(header, algorithm->kty);
    dmsg_buffer_put_text(header, HEADER_CRV);
    dmsg_buffer_put_text(header, algorithm->crv);
    dmsg_buffer_put_text(header, HEADER_X);
    dmsg_base64url_put(header, (struct dmsg_span){x, size});
    if (algorithm->has_y) {
        dmsg_buffer_put_text(header, HEADER_Y);
        dmsg_base64url_put(header, (struct dmsg_span){x + size, size});
    }
    dmsg_buffer_put_text(header, "\"}");
}

/* The header in the scratch. */
static int make_header(const struct dmsg_jose_key *key, const struct dmsg_enc *enc,
    struct dmsg_span members, const uint8_t *point, struct dmsg_error *error)
{
    struct dmsg_buffer *header = &key->jose->scratch;
    header->size = 0;
    dmsg_buffer_put_text(header, HEADER_ALG);
    dmsg_buffer_put_text(header, key->algorithm->name);
    dmsg_buffer_put_text(header, HEADER_ENC);
    dmsg_buffer_put_text(header, enc->name);
    dmsg_buffer_put_text(header, members.size > 0 ? "\"," : "\"");
    dmsg_buffer_put_span(header, members);
    if (key->algorithm->crv != NULL)
        put_epk(header, key->algorithm, point);
    dmsg_buffer_put_text(header, "}");
    return dmsg_jose_judge_scratch(key->jose, error);
}

static size_t text_size(const struct dmsg_jose_key *key, const struct dmsg_enc *enc, size_t header,
    size_t plaintext, enum dmsg_jose_form form)
{
    return dmsg_form_frame_size(around[form], 6) + dmsg_base64url_encoded_size(header) +
           dmsg_base64url_encoded_size(encrypted_key_size(key, enc)) +
           dmsg_base64url_encoded_size(enc->iv_size) +
           dmsg_base64url_encoded_size(enc->ciphertext_size(plaintext)) +
           dmsg_base64url_encoded_size(enc->tag_size);
}

size_t dmsg_jwe_size(const struct dmsg_jose_key *key, enum dmsg_jose_enc enc, size_t members,
    size_t plaintext, enum dmsg_jose_form form)
{
    size_t header = sizeof HEADER_ALG HEADER_ENC "\",}" - 1 + strlen(key->algorithm->name) +
                    strlen(dmsg_encs[enc]->name) + members - (members == 0) +
                    epk_size(key->algorithm);
    return text_size(key, dmsg_encs[enc], header, plaintext, form);
}

/* Key, IV and their wrapping; the random octets of both come in one call. */
struct sealed {
    struct dmsg_wrapped_key wrapped;
    uint8_t random[DMSG_CEK_SIZE_MAX + DMSG_IV_SIZE_MAX];
    const uint8_t *cek, *iv;
};

static int make_key(struct sealed *out, struct dmsg_jose_key *key, const struct dmsg_enc *enc,
    struct dmsg_error *error)
{
    if (dmsg_context_random(key->jose->context, out->random, enc->cek_size + enc->iv_size) != 0)
        return dmsg_fail_openssl(error, "cannot get random octets");
    out->cek = out->random;
    out->iv = out->random + enc->cek_size;
    out->wrapped.encrypted_key_size = encrypted_key_size(key, enc);
    return key->algorithm->family->wrap(
        key, (struct dmsg_span){out->cek, enc->cek_size}, &out->wrapped, error);
}

/*
 * Writes the text to a place of its exact size. The ciphertext is made at the end of the place
 * that its text will take and encoded forwards from there, without another buffer.
 */
static int put_sealed(uint8_t *to, struct dmsg_jose *jose, const struct dmsg_enc *enc,
    const struct sealed *sealed, struct dmsg_span plaintext, enum dmsg_jose_form form,
    struct dmsg_error *error)
{
    uint8_t tag[DMSG_TAG_SIZE_MAX];
    const char *const *frame = around[form];
    size_t size = enc->ciphertext_size(plaintext.size);

    uint8_t *start = to = dmsg_jose_put_text(to, frame[0]);
    to = dmsg_jose_put_base64url(to, dmsg_buffer_span(&jose->scratch));
    const struct dmsg_span protected_header = {start, (size_t)(to - start)};
    to = dmsg_jose_put_text(to, frame[1]);
    to = dmsg_jose_put_base64url(
        to, (struct dmsg_span){sealed->wrapped.encrypted_key, sealed->wrapped.encrypted_key_size});
    to = dmsg_jose_put_text(to, frame[2]);
    to = dmsg_jose_put_base64url(to, (struct dmsg_span){sealed->iv, enc->iv_size});
    to = dmsg_jose_put_text(to, frame[3]);
    uint8_t *ciphertext = to + dmsg_base64url_encoded_size(size) - size;
    int result = enc->seal(
        jose, sealed->cek, sealed->iv, protected_header, plaintext, ciphertext, tag, error);
    if (result < 0)
        return result;
    to = dmsg_jose_put_base64url(to, (struct dmsg_span){ciphertext, size});
    to = dmsg_jose_put_text(to, frame[4]);
    to = dmsg_jose_put_base64url(to, (struct dmsg_span){tag, enc->tag_size});
    (void)dmsg_jose_put_text(to, frame[5]);
    return 0;
}

static int seal(struct sealed *sealed, struct dmsg_jose_key *key, const struct dmsg_enc *enc,
    struct dmsg_span members, struct dmsg_span plaintext, enum dmsg_jose_form form,
    struct dmsg_buffer *out, struct dmsg_error *error)
{
    uint8_t *to;
    struct dmsg_jose *jose = key->jose;
    int result = make_key(sealed, key, enc, error);
    if (result == 0)
        result = make_header(key, enc, members, sealed->wrapped.point, error);
    if (result < 0)
        return result;
    size_t size = text_size(key, enc, jose->scratch.size, plaintext.size, form);
    result = dmsg_jose_reserve(out, size, &to, error);
    if (result == 0)
        result = put_sealed(to, jose, enc, sealed, plaintext, form, error);
    if (result == 0)
        out->size += size;
    return result;
}

int dmsg_jwe_encrypt(struct dmsg_jose_key *key, enum dmsg_jose_enc enc, struct dmsg_span members,
    struct dmsg_span plaintext, enum dmsg_jose_form form, struct dmsg_buffer *out,
    struct dmsg_error *error)
{
    struct sealed sealed;
    if (key->use != DMSG_USE_ENCRYPT)
        return dmsg_fail(error, DMSG_E_USAGE, "a key that was not prepared to encrypt");
    if (plaintext.size > DMSG_CONTENT_SIZE_MAX)
        return dmsg_fail(error, DMSG_E_SIZE, "a plaintext of %zu octets", plaintext.size);
    int result = seal(&sealed, key, dmsg_encs[enc], members, plaintext, form, out, error);
    dmsg_jose_tidy();
    OPENSSL_cleanse(sealed.random, sizeof sealed.random);
    return result;
}
