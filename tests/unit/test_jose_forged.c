/* Signatures that no honest signer makes: the numbers and encodings of published attacks. All have
   the right size, and none is by the key over the text. */
#include "test_jose.h"

#include <openssl/bn.h>
#include <openssl/ec.h>
#include <openssl/rsa.h>

static struct dmsg_jose_header header;

static struct dmsg_span signing_input(const char *alg)
{
    static char text_of_it[128];
    struct dmsg_buffer out = {0};
    char json[64];
    snprintf(json, sizeof json, "{\"alg\":\"%s\"}", alg);
    dmsg_base64url_put(&out, text(json));
    dmsg_buffer_put_text(&out, ".eA");
    memcpy(text_of_it, out.data, out.size);
    struct dmsg_span made = {(const uint8_t *)text_of_it, out.size};
    dmsg_buffer_done(&out);
    return made;
}

/* What becomes of these octets as the signature over signing_input. */
static int judge(const char *kind, const char *alg, struct dmsg_span signature)
{
    struct dmsg_buffer out = {0};
    struct dmsg_jws jws;
    dmsg_buffer_put_span(&out, signing_input(alg));
    dmsg_buffer_put_byte(&out, '.');
    dmsg_base64url_put(&out, signature);
    int result = dmsg_jws_parse(&jws, dmsg_buffer_span(&out), NULL);
    if (result == 0)
        result = dmsg_jws_header_parse(&header, &jws, NULL);
    if (result == 0)
        result = dmsg_jws_verify(key_for(kind, DMSG_USE_VERIFY), &jws, &header, NULL);
    CHECK(ERR_peek_error() == 0);
    dmsg_buffer_done(&out);
    return result;
}

static size_t sign(uint8_t *out, const char *kind, const char *alg)
{
    struct dmsg_jose_key *key = key_for(kind, DMSG_USE_SIGN);
    const struct dmsg_span pieces[DMSG_SIGNING_PIECES] = {signing_input(alg)};
    CHECK(key->algorithm->family->sign(key, pieces, out, NULL) == 0);
    return key->size;
}

/* --------------------------------------------------------------------------------- ECDSA */

enum { ZERO, ONE, BELOW_ORDER, ORDER, ABOVE_ORDER, PRIME, ALL_ONES, GOOD, NUMBERS };
static const char *const number_names[NUMBERS] = {
    "0", "1", "n-1", "n", "n+1", "p", "all bits", "the good one"};

static void make_numbers(
    uint8_t numbers[NUMBERS][DMSG_FIELD_SIZE_MAX], const char *kind, size_t half)
{
    EC_GROUP *group = EC_GROUP_new_by_curve_name(EC_curve_nist2nid(kind));
    BIGNUM *prime = BN_new(), *order = BN_dup(EC_GROUP_get0_order(group));
    int size = (int)half;
    CHECK(EC_GROUP_get_curve(group, prime, NULL, NULL, NULL) == 1);
    memset(numbers[ZERO], 0, half);
    memset(numbers[ONE], 0, half);
    numbers[ONE][half - 1] = 1;
    memset(numbers[ALL_ONES], 0xff, half);
    CHECK(BN_bn2binpad(order, numbers[ORDER], size) == size);
    CHECK(BN_bn2binpad(prime, numbers[PRIME], size) == size);
    CHECK(BN_sub_word(order, 1) == 1 && BN_bn2binpad(order, numbers[BELOW_ORDER], size) == size);
    CHECK(BN_add_word(order, 2) == 1 && BN_bn2binpad(order, numbers[ABOVE_ORDER], size) == size);
    BN_free(prime);
    BN_free(order);
    EC_GROUP_free(group);
}

/* R and S of zero were believed by whole platforms (CVE-2022-21449, "psychic signatures"). */
static void ecdsa_numbers(void)
{
    static const struct {
        const char *kind, *alg;
        size_t half;
    } rows[] = {{"P-256", "ES256", 32}, {"P-384", "ES384", 48}, {"P-521", "ES512", 66}};
    for (size_t i = 0; i < 3; i++) {
        uint8_t numbers[2][NUMBERS][DMSG_FIELD_SIZE_MAX], made[2 * DMSG_FIELD_SIZE_MAX];
        uint8_t good[DMSG_RSA_SIZE_MAX];
        size_t half = rows[i].half;
        REQUIRE(sign(good, rows[i].kind, rows[i].alg) == 2 * half);
        for (size_t n = 0; n < 2; n++) {
            make_numbers(numbers[n], rows[i].kind, half);
            memcpy(numbers[n][GOOD], good + n * half, half);
        }
        for (size_t at = 0; at < (size_t)NUMBERS * NUMBERS; at++) {
            size_t r = at / NUMBERS, s = at % NUMBERS;
            memcpy(made, numbers[0][r], half);
            memcpy(made + half, numbers[1][s], half);
            int expected = r == GOOD && s == GOOD ? 0 : DMSG_E_SIGNATURE;
            CHECK_ROW(
                judge(rows[i].kind, rows[i].alg, (struct dmsg_span){made, 2 * half}) == expected,
                "%s: r is %s, s is %s", rows[i].alg, number_names[r], number_names[s]);
        }
        /* the halves the other way round */
        memcpy(made, good + half, half);
        memcpy(made + half, good, half);
        CHECK(judge(rows[i].kind, rows[i].alg, (struct dmsg_span){made, 2 * half}) ==
              DMSG_E_SIGNATURE);
    }
}

/* The encoding of everybody else, of 64 octets: no JWS has it (RFC 7518 section 3.4). */
static void ecdsa_in_der(void)
{
    uint8_t made[64] = {0x30, 62, 0x02, 28, [30] = 0x02, 32};
    memset(made + 4, 0x11, 26);
    memset(made + 32, 0x11, 32);
    CHECK(judge("P-256", "ES256", (struct dmsg_span){made, sizeof made}) == DMSG_E_SIGNATURE);
}

/* What a key in hardware says in the place of a signature; the linker puts this in the place of
   what our code calls. */
static struct dmsg_span from_token;

int __real_EVP_PKEY_sign(
    EVP_PKEY_CTX *ctx, unsigned char *out, size_t *size, const unsigned char *in, size_t in_size);
int __wrap_EVP_PKEY_sign(
    EVP_PKEY_CTX *ctx, unsigned char *out, size_t *size, const unsigned char *in, size_t in_size);

int __wrap_EVP_PKEY_sign(
    EVP_PKEY_CTX *ctx, unsigned char *out, size_t *size, const unsigned char *in, size_t in_size)
{
    if (from_token.data == NULL)
        return __real_EVP_PKEY_sign(ctx, out, size, in, in_size);
    CHECK(from_token.size <= *size);
    memcpy(out, from_token.data, from_token.size);
    *size = from_token.size;
    return 1;
}

/* Rubbish from a token is no signature, and no overrun. */
static void tokens_that_make_no_sense(void)
{
    static const struct {
        const char *what, *der;
        size_t size;
        int code;
    } rows[] = {
        {"two small numbers", "\x30\x06\x02\x01\x05\x02\x01\x07", 8, 0},
        {"zeros before a number", "\x30\x08\x02\x03\0\0\x05\x02\x01\x07", 10, 0},
        {"nothing", "", 0, DMSG_E_INTERNAL},
        {"one octet", "\x30", 1, DMSG_E_INTERNAL},
        {"no sequence", "\x31\x06\x02\x01\x05\x02\x01\x07", 8, DMSG_E_INTERNAL},
        {"a sequence that is longer", "\x30\x07\x02\x01\x05\x02\x01\x07", 8, DMSG_E_INTERNAL},
        {"an octet behind it", "\x30\x06\x02\x01\x05\x02\x01\x07\0", 9, DMSG_E_INTERNAL},
        {"an octet behind both", "\x30\x07\x02\x01\x05\x02\x01\x07\0", 9, DMSG_E_INTERNAL},
        {"one number", "\x30\x03\x02\x01\x05", 5, DMSG_E_INTERNAL},
        {"three", "\x30\x09\x02\x01\x05\x02\x01\x07\x02\x01\x07", 11, DMSG_E_INTERNAL},
        {"no number", "\x30\x06\x03\x01\x05\x02\x01\x07", 8, DMSG_E_INTERNAL},
        {"a number that is longer", "\x30\x06\x02\x01\x05\x02\x02\x07", 8, DMSG_E_INTERNAL},
        {"a number that ends far away", "\x30\x06\x02\x7f\x05\x02\x01\x07", 8, DMSG_E_INTERNAL},
        {"a number of 33 octets",
            "\x30\x26\x02\x21\x01"
            "0123456789abcdef0123456789abcdef\x02\x01\x07",
            40, DMSG_E_INTERNAL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_buffer out = {0};
        from_token = (struct dmsg_span){(const uint8_t *)rows[i].der, rows[i].size};
        CHECK_ROW(dmsg_jws_sign(key_for("P-256", DMSG_USE_SIGN), text(""), text("x"),
                      DMSG_FORM_COMPACT, &out, NULL) == rows[i].code,
            "%s", rows[i].what);
        CHECK_ROW((out.size == 0) == (rows[i].code < 0), "%s", rows[i].what);
        dmsg_buffer_done(&out);
    }
    from_token = (struct dmsg_span){0};
}

/* --------------------------------------------------------------------------------- Ed25519 */

/* The order of the group, lowest octet first (RFC 8032 section 5.1). */
static const uint8_t ed25519_order[32] = {0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6,
    0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, [31] = 0x10};

/* S and S + L say the same of the same text; only the first is a signature (RFC 8032 section
   5.1.7). */
static void ed25519_numbers(void)
{
    uint8_t good[DMSG_RSA_SIZE_MAX], made[64];
    REQUIRE(sign(good, "ED25519", "EdDSA") == 64);
    CHECK(judge("ED25519", "EdDSA", (struct dmsg_span){good, 64}) == 0);
    CHECK(judge("ED25519", "Ed25519", (struct dmsg_span){good, 64}) == DMSG_E_SIGNATURE);
    memcpy(made, good, 64);
    for (int times = 1; times <= 8; times++) {
        unsigned carry = 0;
        for (size_t i = 0; i < 32; i++) {
            carry += (unsigned)made[32 + i] + ed25519_order[i];
            made[32 + i] = (uint8_t)carry;
            carry >>= 8;
        }
        CHECK_ROW(judge("ED25519", "EdDSA", (struct dmsg_span){made, 64}) == DMSG_E_SIGNATURE,
            "S + %d L", times);
    }
    for (int bit = 0; bit < 4; bit++) { /* the highest of R and of S */
        memcpy(made, good, 64);
        made[bit < 1 ? 31 : 63] ^= (uint8_t)(0x80 >> (bit < 1 ? 0 : bit - 1));
        CHECK_ROW(judge("ED25519", "EdDSA", (struct dmsg_span){made, 64}) == DMSG_E_SIGNATURE,
            "bit %d", bit);
    }
    memset(made, 0, 64);
    made[0] = 1; /* R is the neutral element, S is 0 */
    CHECK(judge("ED25519", "EdDSA", (struct dmsg_span){made, 64}) == DMSG_E_SIGNATURE);
}

/* ------------------------------------------------------------------------------------- RSA */

#define RSA_SIZE 256

/* What stands before a digest in RSASSA-PKCS1-v1_5 (RFC 8017 section 9.2, note 1). */
#define INFO_SHA256 "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"
#define INFO_NO_NULL "\x30\x2f\x30\x0b\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x04\x20"
#define INFO_SHA512_256                                                                            \
    "\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x06\x05\x00\x04\x20"
#define INFO_LONG_FORM                                                                             \
    "\x30\x81\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20"

struct encoding {
    const char *what;
    uint8_t first, type, filler;
    const char *info;
    size_t info_size;
    size_t trailing; /* octets after the digest, in the place of filler (Bleichenbacher 2006) */
    int code;
};

#define INFO(text) text, sizeof text - 1

static const struct encoding encodings[] = {
    {"the right one", 0, 1, 0xff, INFO(INFO_SHA256), 0, 0},
    {"one octet behind the digest", 0, 1, 0xff, INFO(INFO_SHA256), 1, DMSG_E_SIGNATURE},
    {"eight octets of filler alone", 0, 1, 0xff, INFO(INFO_SHA256), RSA_SIZE - 11 - 19 - 32,
        DMSG_E_SIGNATURE},
    {"no NULL", 0, 1, 0xff, INFO(INFO_NO_NULL), 0, DMSG_E_SIGNATURE},
    {"another hash's name", 0, 1, 0xff, INFO(INFO_SHA512_256), 0, DMSG_E_SIGNATURE},
    {"no name", 0, 1, 0xff, INFO(""), 0, DMSG_E_SIGNATURE},
    {"a length in long form", 0, 1, 0xff, INFO(INFO_LONG_FORM), 0, DMSG_E_SIGNATURE},
    {"the type of encryption", 0, 2, 0xff, INFO(INFO_SHA256), 0, DMSG_E_SIGNATURE},
    {"type 0", 0, 0, 0x00, INFO(INFO_SHA256), 0, DMSG_E_SIGNATURE},
    {"another filler", 0, 1, 0xfe, INFO(INFO_SHA256), 0, DMSG_E_SIGNATURE},
    {"a first octet", 0x40, 1, 0xff, INFO(INFO_SHA256), 0, DMSG_E_SIGNATURE},
};

/* The private key's operation on an encoded message. */
static void rsa_raw(uint8_t out[static RSA_SIZE], const uint8_t *encoded, int padding)
{
    uint8_t digest[32];
    size_t size = RSA_SIZE;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, pkey_of("RSA"), NULL);
    CHECK(EVP_PKEY_sign_init(ctx) == 1 && EVP_PKEY_CTX_set_rsa_padding(ctx, padding) == 1);
    if (padding == RSA_PKCS1_PSS_PADDING) {
        struct dmsg_span input = signing_input("RS256");
        CHECK(EVP_Q_digest(NULL, "SHA256", NULL, input.data, input.size, digest, NULL) == 1);
        CHECK(EVP_PKEY_CTX_set_signature_md(ctx, EVP_sha256()) == 1);
        CHECK(EVP_PKEY_sign(ctx, out, &size, digest, sizeof digest) == 1);
    } else {
        CHECK(EVP_PKEY_sign(ctx, out, &size, encoded, RSA_SIZE) == 1);
    }
    CHECK(size == RSA_SIZE);
    EVP_PKEY_CTX_free(ctx);
}

static void rsa_encodings(void)
{
    uint8_t signature[RSA_SIZE], digest[32];
    struct dmsg_span input = signing_input("RS256");
    CHECK(EVP_Q_digest(NULL, "SHA256", NULL, input.data, input.size, digest, NULL) == 1);
    for (size_t i = 0; i < sizeof encodings / sizeof encodings[0]; i++) {
        const struct encoding *row = &encodings[i];
        uint8_t encoded[RSA_SIZE] = {row->first, row->type};
        size_t end = RSA_SIZE - row->trailing - sizeof digest;
        memset(encoded + 2, row->filler, RSA_SIZE - 2);
        memcpy(encoded + end, digest, sizeof digest);
        memcpy(encoded + end - row->info_size, row->info, row->info_size);
        encoded[end - row->info_size - 1] = 0;
        rsa_raw(signature, encoded, RSA_NO_PADDING);
        CHECK_ROW(judge("RSA", "RS256", (struct dmsg_span){signature, RSA_SIZE}) == row->code, "%s",
            row->what);
    }
    rsa_raw(signature, NULL, RSA_PKCS1_PSS_PADDING);
    CHECK(judge("RSA", "RS256", (struct dmsg_span){signature, RSA_SIZE}) == DMSG_E_SIGNATURE);
}

/* Numbers whose power is known without the private key. */
static void rsa_numbers(void)
{
    uint8_t made[RSA_SIZE] = {0};
    BIGNUM *modulus = NULL;
    CHECK(judge("RSA", "RS256", (struct dmsg_span){made, RSA_SIZE}) == DMSG_E_SIGNATURE);
    made[RSA_SIZE - 1] = 1;
    CHECK(judge("RSA", "RS256", (struct dmsg_span){made, RSA_SIZE}) == DMSG_E_SIGNATURE);
    CHECK(EVP_PKEY_get_bn_param(pkey_of("RSA"), "n", &modulus) == 1);
    for (int i = 0; i < 3; i++) { /* n, n - 1, n - 2 */
        CHECK(BN_bn2binpad(modulus, made, RSA_SIZE) == RSA_SIZE);
        CHECK_ROW(judge("RSA", "RS256", (struct dmsg_span){made, RSA_SIZE}) == DMSG_E_SIGNATURE,
            "n - %d", i);
        CHECK(BN_sub_word(modulus, 1) == 1);
    }
    BN_free(modulus);
}

TEST_MAIN(TEST(ecdsa_numbers), TEST(ecdsa_in_der), TEST(tokens_that_make_no_sense),
    TEST(ed25519_numbers), TEST(rsa_encodings), TEST(rsa_numbers), TEST(frees_everything))
