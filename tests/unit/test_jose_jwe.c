/* Decryption: what a JWE must be before any crypto, and that all else fails in one way. */
#include "test_jose.h"

#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>

static struct dmsg_jose_header header;

#define PLAINTEXT "the plaintext that nobody else may read, of more than one block"

/* A JWE in pieces, decoded, so that each can be altered. */
struct pieces {
    char json[4096];
    uint8_t encrypted_key[DMSG_RSA_SIZE_MAX + 8], iv[32], ciphertext[256], tag[64];
    size_t encrypted_key_size, iv_size, ciphertext_size, tag_size;
};

static size_t take(uint8_t *out, struct dmsg_span encoded)
{
    long size = dmsg_base64url_decode(out, encoded);
    CHECK(size >= 0);
    return size >= 0 ? (size_t)size : 0;
}

/* A good one. */
static struct pieces seal(const char *kind, enum dmsg_jose_enc enc)
{
    struct pieces made = {.json = ""};
    struct dmsg_buffer out = {0};
    struct dmsg_jwe jwe = {0};
    CHECK(dmsg_jwe_encrypt(key_for(kind, DMSG_USE_ENCRYPT), enc, text(""), text(PLAINTEXT),
              DMSG_FORM_COMPACT, &out, NULL) == 0);
    CHECK(dmsg_jwe_parse(&jwe, dmsg_buffer_span(&out), NULL) == 0);
    made.json[take((uint8_t *)made.json, jwe.protected_header)] = '\0';
    made.encrypted_key_size = take(made.encrypted_key, jwe.encrypted_key);
    made.iv_size = take(made.iv, jwe.iv);
    made.ciphertext_size = take(made.ciphertext, jwe.ciphertext);
    made.tag_size = take(made.tag, jwe.tag);
    dmsg_buffer_done(&out);
    return made;
}

static void put(struct dmsg_buffer *out, const struct pieces *pieces)
{
    const struct dmsg_span parts[] = {text(pieces->json),
        {pieces->encrypted_key, pieces->encrypted_key_size}, {pieces->iv, pieces->iv_size},
        {pieces->ciphertext, pieces->ciphertext_size}, {pieces->tag, pieces->tag_size}};
    put_compact(out, parts, 5);
}

/* Puts one text in the place of another. */
static void replace(struct pieces *pieces, const char *from, const char *to)
{
    char *at = strstr(pieces->json, from);
    REQUIRE(at != NULL && strlen(pieces->json) + strlen(to) < sizeof pieces->json);
    memmove(at + strlen(to), at + strlen(from), strlen(at + strlen(from)) + 1);
    memcpy(at, to, strlen(to));
}

/* More than any of these texts takes, so that all of it is known to be empty before. */
#define ROOM 32768

static struct dmsg_error last_error;

/* Opens a text; checks that a failure leaves nothing behind: not in the output, not after it, not
   in OpenSSL's queue. */
static int open_text(const char *kind, struct dmsg_span jwe_text)
{
    struct dmsg_buffer opened = {0};
    struct dmsg_jwe jwe;
    uint8_t *room = dmsg_buffer_reserve(&opened, ROOM);
    if (room != NULL)
        memset(room, 0, ROOM);
    dmsg_buffer_put_text(&opened, "before");
    last_error.code = 77;
    int result = dmsg_jwe_parse(&jwe, jwe_text, &last_error);
    if (result == 0)
        result = dmsg_jwe_header_parse(&header, &jwe, &last_error);
    if (result == 0)
        result =
            dmsg_jwe_decrypt(key_for(kind, DMSG_USE_DECRYPT), &jwe, &header, &opened, &last_error);
    CHECK(last_error.code == (result < 0 ? result : 77));
    CHECK(!opened.failed && memcmp(opened.data, "before", 6) == 0);
    if (result < 0) {
        CHECK(opened.size == 6);
        CHECK(memmem(opened.data, opened.capacity, PLAINTEXT, 16) == NULL);
    } else {
        CHECK(
            dmsg_span_equal_text((struct dmsg_span){opened.data + 6, opened.size - 6}, PLAINTEXT));
    }
    CHECK(ERR_peek_error() == 0);
    dmsg_buffer_done(&opened);
    return result;
}

static int open_pieces(const char *kind, const struct pieces *pieces)
{
    struct dmsg_buffer out = {0};
    put(&out, pieces);
    int result = open_text(kind, dmsg_buffer_span(&out));
    dmsg_buffer_done(&out);
    return result;
}

/* ------------------------------------------------------------------------------- before crypto */

static void sizes_of_parts(void)
{
    for (size_t s = 0; s < SUITES; s++) {
        for (int e = 0; e < DMSG_ENC_COUNT; e++) {
            const char *kind = suites[s].recipient;
            struct pieces good = seal(kind, (enum dmsg_jose_enc)e), bad = good;
            size_t *fields[] = {&bad.encrypted_key_size, &bad.iv_size, &bad.tag_size};
            CHECK(open_pieces(kind, &good) == 0);
            for (size_t f = 0; f < 3; f++) {
                size_t right = *fields[f];
                const size_t tried[] = {
                    0, 1, right / 2, right - 8, right - 1, right + 1, right + 3, right + 8};
                for (size_t i = 0; i < sizeof tried / sizeof tried[0]; i++) {
                    *fields[f] = tried[i];
                    CHECK_ROW(open_pieces(kind, &bad) == DMSG_E_FORMAT, "%s %d field %zu: %zu",
                        kind, e, f, tried[i]);
                }
                *fields[f] = right;
            }
        }
    }
}

/* Far longer than any buffer for it: refused before it is decoded. */
static void parts_that_fit_nowhere(void)
{
    for (size_t s = 0; s < 3; s++) {
        struct pieces good = seal(suites[s].recipient, DMSG_ENC_A256GCM);
        for (size_t which = 1; which < 5; which++) {
            static const uint8_t long_part[20000];
            struct dmsg_buffer out = {0};
            struct dmsg_span parts[] = {text(good.json),
                {good.encrypted_key, good.encrypted_key_size}, {good.iv, good.iv_size},
                {good.ciphertext, good.ciphertext_size}, {good.tag, good.tag_size}};
            parts[which] = (struct dmsg_span){long_part, sizeof long_part};
            put_compact(&out, parts, 5);
            CHECK_ROW(open_text(suites[s].recipient, dmsg_buffer_span(&out)) ==
                          (which == 3 ? DMSG_E_DECRYPT : DMSG_E_FORMAT),
                "part %zu", which);
            dmsg_buffer_done(&out);
        }
    }
}

/* The other enc's sizes are wrong here, and so are its names. */
static void enc_is_the_headers(void)
{
    struct pieces gcm = seal("P-256", DMSG_ENC_A256GCM),
                  cbc = seal("P-256", DMSG_ENC_A256CBC_HS512);
    replace(&gcm, "A256GCM", "A256CBC-HS512");
    CHECK(open_pieces("P-256", &gcm) == DMSG_E_FORMAT);
    memcpy(gcm.encrypted_key, cbc.encrypted_key, cbc.encrypted_key_size);
    gcm.encrypted_key_size = cbc.encrypted_key_size;
    CHECK(open_pieces("P-256", &gcm) == DMSG_E_FORMAT);
}

static void ciphertext_in_whole_blocks(void)
{
    for (size_t size = 0; size <= 64; size++) {
        struct pieces cbc = seal("X25519", DMSG_ENC_A256CBC_HS512);
        cbc.ciphertext_size = size;
        int expected = size == 64 ? 0 : size > 0 && size % 16 == 0 ? DMSG_E_DECRYPT : DMSG_E_FORMAT;
        CHECK_ROW(open_pieces("X25519", &cbc) == expected, "%zu", size);
        struct pieces gcm = seal("X25519", DMSG_ENC_A256GCM);
        gcm.ciphertext_size = size;
        expected = size == strlen(PLAINTEXT) ? 0 : DMSG_E_DECRYPT;
        CHECK_ROW(open_pieces("X25519", &gcm) == expected, "%zu", size);
    }
}

/* Each part, with what no canonical base64url ends in. */
static void parts_are_canonical(void)
{
    static const char *const insertions[] = {"=", "\n", " ", "+", "/", "\\u0041", "A", ".", "\xc3"};
    struct pieces good = seal("X25519", DMSG_ENC_A256GCM);
    struct dmsg_buffer out = {0};
    put(&out, &good);
    CHECK(open_text("X25519", dmsg_buffer_span(&out)) == 0);
    size_t dots = 0;
    for (size_t at = 0; at <= out.size; at++) {
        if (at < out.size && out.data[at] != '.')
            continue;
        for (size_t i = 0; i < sizeof insertions / sizeof insertions[0]; i++) {
            struct dmsg_buffer bad = {0};
            dmsg_buffer_put(&bad, out.data, at);
            dmsg_buffer_put_text(&bad, insertions[i]);
            dmsg_buffer_put(&bad, out.data + at, out.size - at);
            int result = open_text("X25519", dmsg_buffer_span(&bad));
            /* one more character in header or ciphertext may decode; then the tag is wrong */
            bool decodes = strcmp(insertions[i], "A") == 0 && (dots == 0 || dots == 3);
            CHECK_ROW(result == DMSG_E_FORMAT || (decodes && result == DMSG_E_DECRYPT),
                "'%s' after part %zu: %s", insertions[i], dots, dmsg_error_word(result));
            dmsg_buffer_done(&bad);
        }
        dots++;
    }
    CHECK(dots == 5);
    dmsg_buffer_done(&out);
}

static void algorithm_is_the_keys(void)
{
    static const char *const kinds[] = {"RSA", "P-256", "P-384", "P-521", "X25519"};
    for (size_t made = 0; made < 5; made++) {
        struct pieces pieces = seal(kinds[made], DMSG_ENC_A256GCM);
        for (size_t with = 0; with < 5; with++) {
            int result = open_pieces(kinds[with], &pieces);
            CHECK_ROW(result == (made == with ? 0 : DMSG_E_ALGORITHM), "%s with %s: %s",
                kinds[made], kinds[with], dmsg_error_word(result));
        }
    }
    struct pieces pieces = seal("P-256", DMSG_ENC_A256GCM);
    replace(&pieces, "\"EC\"", "\"OKP\"");
    CHECK(open_pieces("P-256", &pieces) == DMSG_E_ALGORITHM);
    pieces = seal("P-256", DMSG_ENC_A256GCM);
    replace(&pieces, "P-256", "prime256v1");
    CHECK(open_pieces("P-256", &pieces) == DMSG_E_ALGORITHM);
    pieces = seal("X25519", DMSG_ENC_A256GCM);
    replace(&pieces, "X25519", "Ed25519");
    CHECK(open_pieces("X25519", &pieces) == DMSG_E_ALGORITHM);
}

/* ---------------------------------------------------------------------- the ephemeral public key
 */

/* A JWE whose epk is made of these coordinates; y may be NULL. */
static int open_epk(const char *kind, const char *kty, const char *x, const char *y)
{
    struct pieces pieces = seal(kind, DMSG_ENC_A256GCM);
    char *epk = strstr(pieces.json, "\"epk\"");
    if (epk == NULL)
        return DMSG_E_INTERNAL;
    snprintf(epk, 3000, "\"epk\":{\"kty\":\"%s\",\"crv\":\"%s\",\"x\":\"%s\"%s%s%s}}", kty, kind, x,
        y != NULL ? ",\"y\":\"" : "", y != NULL ? y : "", y != NULL ? "\"" : "");
    return open_pieces(kind, &pieces);
}

#define ZEROS "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
#define ONE "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAE"
#define FFS "__________________________________________8"
/* RFC 7517 appendix A.1. */
#define P256_X "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4"
#define P256_Y "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM"
#define P256_Y1 "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyQ"

static void points_off_the_curve(void)
{
    static const struct {
        const char *x, *y;
        int code;
    } rows[] = {{P256_X, P256_Y, DMSG_E_DECRYPT}, {P256_X, P256_Y1, DMSG_E_DECRYPT},
        {ZEROS, ZEROS, DMSG_E_DECRYPT}, {ONE, ONE, DMSG_E_DECRYPT}, {FFS, FFS, DMSG_E_DECRYPT},
        {P256_X, ZEROS, DMSG_E_DECRYPT}, {"", "", DMSG_E_FORMAT}, {"AA", "AA", DMSG_E_FORMAT},
        {P256_X, NULL, DMSG_E_FORMAT}, {P256_X, "", DMSG_E_FORMAT},
        {P256_X "AAAA", P256_Y, DMSG_E_FORMAT}, {P256_X, P256_Y "A", DMSG_E_FORMAT},
        {P256_X "=", P256_Y, DMSG_E_FORMAT}, {P256_X, P256_X P256_Y, DMSG_E_FORMAT},
        {"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D5", P256_Y, DMSG_E_FORMAT},
        {"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7A", P256_Y, DMSG_E_FORMAT}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int result = open_epk("P-256", "EC", rows[i].x, rows[i].y);
        CHECK_ROW(result == rows[i].code, "row %zu: %s", i, dmsg_error_word(result));
    }
    char long_coordinate[1800];
    memset(long_coordinate, 'A', sizeof long_coordinate);
    long_coordinate[sizeof long_coordinate - 1] = '\0';
    CHECK(open_epk("P-256", "EC", long_coordinate, P256_Y) == DMSG_E_FORMAT);
    CHECK(open_epk("P-256", "EC", P256_X, long_coordinate) == DMSG_E_FORMAT);
    CHECK(open_epk("X25519", "OKP", long_coordinate, NULL) == DMSG_E_FORMAT);
    /* the key is as good as before */
    struct pieces good = seal("P-256", DMSG_ENC_A256GCM);
    CHECK(open_pieces("P-256", &good) == 0);
}

/* The import itself refuses what is not on the curve: the derivation does not look again. */
static void import_refuses_points_off_the_curve(void)
{
    static const char *const kinds[] = {"P-256", "P-384", "P-521"};
    for (size_t k = 0; k < 3; k++) {
        struct dmsg_jose_key *key = key_for(kinds[k], DMSG_USE_DECRYPT);
        EVP_PKEY *peer = test_jose()->curves[key->algorithm - dmsg_algorithms].peer;
        uint8_t point[DMSG_POINT_SIZE_MAX];
        size_t size = 0;
        REQUIRE(EVP_PKEY_get_octet_string_param(pkey_of(kinds[k]),
                    OSSL_PKEY_PARAM_ENCODED_PUBLIC_KEY, point, sizeof point, &size) == 1);
        for (size_t bit = 8; bit < 8 * size; bit++) { /* after the 04, which we put there */
            point[bit / 8] ^= (uint8_t)(1 << bit % 8);
            CHECK_ROW(EVP_PKEY_set1_encoded_public_key(peer, point, size) != 1, "%s bit %zu",
                kinds[k], bit);
            point[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        CHECK(EVP_PKEY_set1_encoded_public_key(peer, point, size) == 1);
    }
    ERR_clear_error();
}

/* Points of small order give an all-zero result (RFC 7748 section 6.1). */
static void x25519_points_of_small_order(void)
{
    static const char *const points[] = {ZEROS, "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "4Ot6fDtBuK4WVuP68Z_EatoJjeucMrH9hmIFFl9JuAA",
        "X5yVvKNQjCSx0LFVnIPvWwREXMRYHI6G2CJO3dCfEVc",
        "7P________________________________________8",
        "7f________________________________________38",
        "7v________________________________________8"};
    for (size_t i = 0; i < sizeof points / sizeof points[0]; i++) {
        bool sized = strlen(points[i]) == strlen(ZEROS);
        CHECK_ROW(
            open_epk("X25519", "OKP", points[i], NULL) == (sized ? DMSG_E_DECRYPT : DMSG_E_FORMAT),
            "row %zu", i);
    }
    CHECK(open_epk("X25519", "OKP", ZEROS, ZEROS) == DMSG_E_FORMAT);
    CHECK(open_epk("X25519", "OKP", ZEROS, "") == DMSG_E_FORMAT);
    CHECK(open_epk("X25519", "OKP", "AAAA", NULL) == DMSG_E_FORMAT);
}

/* If a shared secret of zeros were used after all, anyone could make this one. */
static void secret_of_zeros_opens_nothing(void)
{
    static const char *const kinds[] = {"X25519", "P-256"};
    for (size_t k = 0; k < 2; k++) {
        static const uint8_t zeros[32];
        const struct dmsg_span none = {0};
        const struct dmsg_enc *enc = dmsg_encs[DMSG_ENC_A256GCM];
        struct pieces forged = {.iv_size = 12, .tag_size = 16, .encrypted_key_size = 40};
        struct dmsg_buffer encoded = {0};
        uint8_t kek[32], cek[32] = {7};
        snprintf(forged.json, sizeof forged.json,
            "{\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\",\"epk\":{\"kty\":\"%s\",\"crv\":\"%"
            "s\","
            "\"x\":\"" ZEROS "\"%s}}",
            k == 0 ? "OKP" : "EC", kinds[k], k == 0 ? "" : ",\"y\":\"" ZEROS "\"");
        CHECK(dmsg_concat_kdf(test_jose(), (struct dmsg_span){zeros, 32}, "ECDH-ES+A256KW", none,
                  none, kek, 32, NULL) == 0);
        CHECK(dmsg_key_wrap(
                  test_jose(), kek, (struct dmsg_span){cek, 32}, forged.encrypted_key, NULL) == 0);
        dmsg_base64url_put(&encoded, text(forged.json));
        forged.ciphertext_size = strlen(PLAINTEXT);
        CHECK(enc->seal(test_jose(), cek, forged.iv, dmsg_buffer_span(&encoded), text(PLAINTEXT),
                  forged.ciphertext, forged.tag, NULL) == 0);
        CHECK_ROW(open_pieces(kinds[k], &forged) == DMSG_E_DECRYPT, "%s", kinds[k]);
        dmsg_buffer_done(&encoded);
    }
}

/* -------------------------------------------------------------------------------- one way to fail
 */

/* Every octet of every part that decodes. */
static void altered_octets(void)
{
    char first_text[DMSG_ERROR_TEXT] = "";
    for (size_t s = 0; s < 3; s++) {
        for (int e = 0; e < DMSG_ENC_COUNT; e++) {
            const char *kind = suites[s].recipient;
            struct pieces bad = seal(kind, (enum dmsg_jose_enc)e);
            uint8_t *const fields[] = {bad.encrypted_key, bad.iv, bad.ciphertext, bad.tag};
            const size_t field_sizes[] = {
                bad.encrypted_key_size, bad.iv_size, bad.ciphertext_size, bad.tag_size};
            CHECK(open_pieces(kind, &bad) == 0);
            for (size_t f = 0; f < 4; f++) {
                for (size_t i = 0; i < field_sizes[f]; i++) {
                    fields[f][i] ^= (uint8_t)(1 << i % 8);
                    CHECK_ROW(open_pieces(kind, &bad) == DMSG_E_DECRYPT, "%s field %zu octet %zu",
                        kind, f, i);
                    if (first_text[0] == '\0')
                        memcpy(first_text, last_error.text, sizeof first_text);
                    CHECK(strcmp(last_error.text, first_text) == 0);
                    fields[f][i] ^= (uint8_t)(1 << i % 8);
                }
            }
            CHECK(open_pieces(kind, &bad) == 0);
        }
    }
}

/* The CEK as RSA-OAEP would carry it, with any parameters. */
static void encrypt_cek(struct pieces *out, struct dmsg_span cek, const char *digest,
    const char *mgf1, const char *label, int padding)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey_of("RSA"), NULL);
    out->encrypted_key_size = sizeof out->encrypted_key;
    CHECK(EVP_PKEY_encrypt_init(ctx) == 1);
    CHECK(EVP_PKEY_CTX_set_rsa_padding(ctx, padding) == 1);
    if (padding == RSA_PKCS1_OAEP_PADDING) {
        CHECK(EVP_PKEY_CTX_set_rsa_oaep_md_name(ctx, digest, NULL) == 1);
        CHECK(EVP_PKEY_CTX_set_rsa_mgf1_md_name(ctx, mgf1, NULL) == 1);
    }
    if (label != NULL)
        CHECK(
            EVP_PKEY_CTX_set0_rsa_oaep_label(ctx, OPENSSL_strdup(label), (int)strlen(label)) == 1);
    CHECK(EVP_PKEY_encrypt(ctx, out->encrypted_key, &out->encrypted_key_size, cek.data, cek.size) ==
          1);
    EVP_PKEY_CTX_free(ctx);
}

/* A JWE under a CEK that is known here; its encrypted key is still missing. */
static struct pieces seal_under(const uint8_t *cek, enum dmsg_jose_enc which)
{
    const struct dmsg_enc *enc = dmsg_encs[which];
    struct pieces made = {.iv_size = enc->iv_size, .tag_size = enc->tag_size};
    struct dmsg_buffer encoded = {0};
    snprintf(made.json, sizeof made.json, "{\"alg\":\"RSA-OAEP-256\",\"enc\":\"%s\"}", enc->name);
    dmsg_base64url_put(&encoded, text(made.json));
    made.ciphertext_size = enc->ciphertext_size(strlen(PLAINTEXT));
    CHECK(enc->seal(test_jose(), cek, made.iv, dmsg_buffer_span(&encoded), text(PLAINTEXT),
              made.ciphertext, made.tag, NULL) == 0);
    dmsg_buffer_done(&encoded);
    return made;
}

static void oaep_as_the_table_has_it(void)
{
    static const struct {
        const char *digest, *mgf1, *label;
        int padding;
        size_t cek_size;
        int code;
    } rows[] = {{"SHA256", "SHA256", NULL, RSA_PKCS1_OAEP_PADDING, 32, 0},
        {"SHA256", "SHA256", "", RSA_PKCS1_OAEP_PADDING, 32, 0},
        {"SHA1", "SHA1", NULL, RSA_PKCS1_OAEP_PADDING, 32, DMSG_E_DECRYPT},
        {"SHA256", "SHA1", NULL, RSA_PKCS1_OAEP_PADDING, 32, DMSG_E_DECRYPT},
        {"SHA1", "SHA256", NULL, RSA_PKCS1_OAEP_PADDING, 32, DMSG_E_DECRYPT},
        {"SHA512", "SHA512", NULL, RSA_PKCS1_OAEP_PADDING, 32, DMSG_E_DECRYPT},
        {"SHA256", "SHA256", "label", RSA_PKCS1_OAEP_PADDING, 32, DMSG_E_DECRYPT},
        {NULL, NULL, NULL, RSA_PKCS1_PADDING, 32, DMSG_E_DECRYPT},
        {"SHA256", "SHA256", NULL, RSA_PKCS1_OAEP_PADDING, 0, DMSG_E_DECRYPT},
        {"SHA256", "SHA256", NULL, RSA_PKCS1_OAEP_PADDING, 16, DMSG_E_DECRYPT},
        {"SHA256", "SHA256", NULL, RSA_PKCS1_OAEP_PADDING, 31, DMSG_E_DECRYPT},
        {"SHA256", "SHA256", NULL, RSA_PKCS1_OAEP_PADDING, 33, DMSG_E_DECRYPT},
        {"SHA256", "SHA256", NULL, RSA_PKCS1_OAEP_PADDING, 64, DMSG_E_DECRYPT},
        {"SHA256", "SHA256", NULL, RSA_PKCS1_OAEP_PADDING, 190, DMSG_E_DECRYPT}};
    uint8_t cek[190] = {1, 2, 3};
    char failure[DMSG_ERROR_TEXT] = "";
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct pieces pieces = seal_under(cek, DMSG_ENC_A256GCM);
        encrypt_cek(&pieces, (struct dmsg_span){cek, rows[i].cek_size}, rows[i].digest,
            rows[i].mgf1, rows[i].label, rows[i].padding);
        CHECK_ROW(open_pieces("RSA", &pieces) == rows[i].code, "row %zu", i);
        if (rows[i].code == 0)
            continue;
        if (failure[0] == '\0')
            memcpy(failure, last_error.text, sizeof failure);
        CHECK_ROW(strcmp(failure, last_error.text) == 0, "row %zu", i);
    }
    /* a key for the other enc: of another length */
    struct pieces cbc = seal_under(cek, DMSG_ENC_A256CBC_HS512);
    encrypt_cek(
        &cbc, (struct dmsg_span){cek, 32}, "SHA256", "SHA256", NULL, RSA_PKCS1_OAEP_PADDING);
    CHECK(open_pieces("RSA", &cbc) == DMSG_E_DECRYPT && strcmp(failure, last_error.text) == 0);
    encrypt_cek(
        &cbc, (struct dmsg_span){cek, 64}, "SHA256", "SHA256", NULL, RSA_PKCS1_OAEP_PADDING);
    CHECK(open_pieces("RSA", &cbc) == 0);
    /* an integer that is not below the modulus */
    memset(cbc.encrypted_key, 0xff, cbc.encrypted_key_size);
    CHECK(open_pieces("RSA", &cbc) == DMSG_E_DECRYPT && strcmp(failure, last_error.text) == 0);
    memset(cbc.encrypted_key, 0, cbc.encrypted_key_size);
    CHECK(open_pieces("RSA", &cbc) == DMSG_E_DECRYPT && strcmp(failure, last_error.text) == 0);
}

/* What goes on in the place of a CEK is not a constant that anyone could encrypt under. */
static void spare_key_is_secret_and_changes(void)
{
    static const uint8_t zeros[64];
    uint8_t spare[DMSG_CEK_SIZE_MAX];
    struct pieces forged = seal_under(zeros, DMSG_ENC_A256GCM);
    forged.encrypted_key_size = 256;
    CHECK(open_pieces("RSA", &forged) == DMSG_E_DECRYPT);
    CHECK(!test_jose()->has_spare_cek);
    struct pieces good = seal("RSA", DMSG_ENC_A256GCM);
    CHECK(open_pieces("RSA", &good) == 0);
    CHECK(test_jose()->has_spare_cek);
    memcpy(spare, test_jose()->spare_cek, sizeof spare);
    CHECK(memcmp(spare, zeros, 16) != 0 && memcmp(spare + 48, zeros, 16) != 0);
    CHECK(open_pieces("RSA", &forged) == DMSG_E_DECRYPT);
    CHECK(open_pieces("RSA", &good) == 0);
    CHECK(memcmp(spare, test_jose()->spare_cek, sizeof spare) != 0);
}

/* Padding with a right tag: only who has the key can make it, and it is refused all the same. */
static void cbc_padding(void)
{
    static const struct {
        uint8_t last[16];
        int code;
    } rows[] = {{{[15] = 1}, 0}, {{[15] = 0}, DMSG_E_DECRYPT}, {{[15] = 17}, DMSG_E_DECRYPT},
        {{[15] = 255}, DMSG_E_DECRYPT}, {{[14] = 1, [15] = 2}, DMSG_E_DECRYPT},
        {{[14] = 2, [15] = 2}, 0}, {{[15] = 16}, DMSG_E_DECRYPT},
        {{16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16, 16}, 0},
        {{17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17, 17}, DMSG_E_DECRYPT}};
    uint8_t cek[64] = {9}, iv[16] = {0}, mac[64], blocks[32];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
        EVP_CIPHER *aes = EVP_CIPHER_fetch(NULL, "AES-256-CBC", NULL);
        uint8_t input[16 + sizeof blocks + 8] = {0}, padded[sizeof blocks];
        size_t size = sizeof blocks, mac_size = 0;
        memset(padded, rows[i].last[15], 16); /* a block that goes on as the last one ends */
        memcpy(padded + 16, rows[i].last, 16);
        int written = 0;
        CHECK(EVP_EncryptInit_ex2(ctx, aes, cek + 32, iv, NULL) == 1);
        CHECK(EVP_CIPHER_CTX_set_padding(ctx, 0) == 1);
        CHECK(EVP_EncryptUpdate(ctx, blocks, &written, padded, sizeof padded) == 1 &&
              written == sizeof blocks);
        memcpy(input + 16, blocks, sizeof blocks); /* no header; IV, ciphertext, length 0 */
        CHECK(EVP_Q_mac(NULL, "HMAC", NULL, "SHA512", NULL, cek, 32, input, sizeof input, mac,
                  sizeof mac, &mac_size) != NULL);
        CHECK_ROW(dmsg_enc_cbc.open(test_jose(), cek, iv, (struct dmsg_span){0}, blocks, &size, mac,
                      NULL) == rows[i].code,
            "row %zu", i);
        CHECK(rows[i].code < 0 || size == sizeof blocks - rows[i].last[15]);
        EVP_CIPHER_free(aes);
        EVP_CIPHER_CTX_free(ctx);
    }
}

/* Wrong key of the right kind. */
static void messages_to_others(void)
{
    for (size_t s = 0; s < 3; s++) {
        const char *kind = suites[s].recipient;
        struct pieces pieces = seal(kind, DMSG_ENC_A256GCM);
        struct dmsg_jose_key *stranger = NULL;
        EVP_PKEY *pkey = new_pkey(kind);
        struct dmsg_buffer out = {0}, opened = {0};
        struct dmsg_jwe jwe;
        put(&out, &pieces);
        REQUIRE(dmsg_jose_key_new(&stranger, test_jose(), pkey, DMSG_USE_DECRYPT, NULL) == 0);
        REQUIRE(dmsg_jwe_parse(&jwe, dmsg_buffer_span(&out), NULL) == 0);
        REQUIRE(dmsg_jwe_header_parse(&header, &jwe, NULL) == 0);
        CHECK(dmsg_jwe_decrypt(stranger, &jwe, &header, &opened, NULL) == DMSG_E_DECRYPT);
        CHECK(opened.size == 0);
        CHECK(dmsg_jwe_decrypt(key_for(kind, DMSG_USE_DECRYPT), &jwe, &header, &opened, NULL) == 0);
        dmsg_jose_key_free(&stranger);
        EVP_PKEY_free(pkey);
        dmsg_buffer_done(&out);
        dmsg_buffer_done(&opened);
    }
}

/* Key, IV and ephemeral key are new each time. */
static void nothing_is_used_twice(void)
{
    for (size_t s = 0; s < 3; s++) {
        struct pieces a = seal(suites[s].recipient, DMSG_ENC_A256CBC_HS512);
        struct pieces b = seal(suites[s].recipient, DMSG_ENC_A256CBC_HS512);
        CHECK(memcmp(a.iv, b.iv, a.iv_size) != 0);
        CHECK(memcmp(a.encrypted_key, b.encrypted_key, a.encrypted_key_size) != 0);
        CHECK(memcmp(a.ciphertext, b.ciphertext, 16) != 0);
        CHECK((strcmp(a.json, b.json) != 0) == (s > 0));
    }
}

TEST_MAIN(TEST(sizes_of_parts), TEST(parts_that_fit_nowhere), TEST(enc_is_the_headers),
    TEST(ciphertext_in_whole_blocks), TEST(parts_are_canonical), TEST(algorithm_is_the_keys),
    TEST(points_off_the_curve), TEST(import_refuses_points_off_the_curve),
    TEST(x25519_points_of_small_order), TEST(secret_of_zeros_opens_nothing), TEST(altered_octets),
    TEST(oaep_as_the_table_has_it), TEST(spare_key_is_secret_and_changes), TEST(cbc_padding),
    TEST(messages_to_others), TEST(nothing_is_used_twice), TEST(frees_everything))
