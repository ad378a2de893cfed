/* Keys, whole round trips, and signatures. */
#include "test_jose.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/param_build.h>
#include <openssl/provider.h>
#include <openssl/x509.h>

static struct dmsg_jose_header header;

/* ----------------------------------------------------------------------------------- the keys */

static void table_of_keys(void)
{
    static const struct {
        const char *kind, *sign, *encrypt;
    } rows[] = {{"RSA", "RS256", "RSA-OAEP-256"}, {"P-256", "ES256", "ECDH-ES+A256KW"},
        {"P-384", "ES384", "ECDH-ES+A256KW"}, {"P-521", "ES512", "ECDH-ES+A256KW"},
        {"ED25519", "EdDSA", NULL}, {"X25519", NULL, "ECDH-ES+A256KW"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        for (int use = DMSG_USE_SIGN; use <= DMSG_USE_DECRYPT; use *= 2) {
            EVP_PKEY *pkey = pkey_of(rows[i].kind);
            const char *expected = use <= DMSG_USE_VERIFY ? rows[i].sign : rows[i].encrypt;
            const char *found = dmsg_jose_algorithm_of(pkey, (enum dmsg_jose_use)use);
            struct dmsg_jose_key *key = NULL;
            struct dmsg_error error;
            int result =
                dmsg_jose_key_new(&key, test_jose(), pkey, (enum dmsg_jose_use)use, &error);
            if (expected == NULL) {
                CHECK_ROW(found == NULL, "%s %d", rows[i].kind, use);
                CHECK_ROW(result == DMSG_E_CERTIFICATE && key == NULL, "%s", rows[i].kind);
            } else {
                CHECK_ROW(found != NULL && strcmp(found, expected) == 0, "%s", rows[i].kind);
                CHECK_ROW(result == 0 && strcmp(dmsg_jose_key_algorithm(key), expected) == 0, "%s",
                    rows[i].kind);
            }
            dmsg_jose_key_free(&key);
            CHECK(key == NULL && ERR_peek_error() == 0);
        }
    }
    CHECK(dmsg_jose_algorithm_of(NULL, DMSG_USE_SIGN) == NULL);
    dmsg_jose_key_free(NULL);
    dmsg_jose_free(NULL);
}

/* Whatever the use, the key must be refused. */
static void check_refused(EVP_PKEY *pkey, const char *what)
{
    REQUIRE(pkey != NULL);
    for (int use = DMSG_USE_SIGN; use <= DMSG_USE_DECRYPT; use *= 2) {
        struct dmsg_jose_key *key = NULL;
        CHECK_ROW(dmsg_jose_algorithm_of(pkey, (enum dmsg_jose_use)use) == NULL, "%s", what);
        CHECK_ROW(dmsg_jose_key_new(&key, test_jose(), pkey, (enum dmsg_jose_use)use, NULL) ==
                      DMSG_E_CERTIFICATE,
            "%s", what);
        CHECK(key == NULL && ERR_peek_error() == 0);
    }
    EVP_PKEY_free(pkey);
}

static EVP_PKEY *explicit_p256(void)
{
    EVP_PKEY *pkey = NULL, *read = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "EC", NULL);
    unsigned char *der = NULL;
    if (EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_CTX_set_group_name(ctx, "P-256") == 1 &&
        EVP_PKEY_CTX_set_ec_param_enc(ctx, 0) == 1 && EVP_PKEY_generate(ctx, &pkey) == 1) {
        int size = i2d_PUBKEY(pkey, &der);
        const unsigned char *next = der;
        read = d2i_PUBKEY(NULL, &next, size);
    }
    OPENSSL_free(der);
    EVP_PKEY_free(pkey);
    EVP_PKEY_CTX_free(ctx);
    return read;
}

static void keys_that_the_table_does_not_have(void)
{
    check_refused(EVP_PKEY_Q_keygen(NULL, NULL, "EC", "secp256k1"), "secp256k1");
    check_refused(EVP_PKEY_Q_keygen(NULL, NULL, "EC", "P-224"), "P-224");
    check_refused(EVP_PKEY_Q_keygen(NULL, NULL, "EC", "brainpoolP256r1"), "brainpool");
    check_refused(EVP_PKEY_Q_keygen(NULL, NULL, "ED448"), "Ed448");
    check_refused(EVP_PKEY_Q_keygen(NULL, NULL, "X448"), "X448");
    check_refused(EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)1024), "RSA-1024");
    check_refused(explicit_p256(), "P-256 spelt out");
    EVP_PKEY *pss = NULL;
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA-PSS", NULL);
    CHECK(EVP_PKEY_keygen_init(ctx) == 1 && EVP_PKEY_generate(ctx, &pss) == 1);
    EVP_PKEY_CTX_free(ctx);
    check_refused(pss, "RSA-PSS");
}

/* An RSA public key with any numbers. */
static EVP_PKEY *rsa_public(int bits, bool odd, uint64_t exponent)
{
    BIGNUM *n = BN_new(), *e = BN_new();
    uint8_t octets[8];
    EVP_PKEY *pkey = NULL;
    for (size_t i = 0; i < 8; i++)
        octets[i] = (uint8_t)(exponent >> (56 - 8 * i));
    BN_bin2bn(octets, 8, e);
    BN_set_bit(n, bits - 1);
    for (int i = 1; i < bits - 1; i += 3)
        BN_set_bit(n, i);
    if (odd)
        BN_set_bit(n, 0);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, n);
    OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, e);
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    if (EVP_PKEY_fromdata_init(ctx) != 1 ||
        EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, parameters) != 1)
        pkey = NULL;
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(builder);
    BN_free(n);
    BN_free(e);
    return pkey;
}

static void rsa_sizes_and_exponents(void)
{
    static const struct {
        int bits;
        bool odd, good;
        uint64_t exponent;
    } rows[] = {{2048, true, true, 65537}, {2047, true, false, 65537}, {2049, true, true, 65537},
        {8192, true, true, 65537}, {8193, true, false, 65537}, {16384, true, false, 65537},
        {2048, false, false, 65537}, {2048, true, false, 1}, {2048, true, false, 3},
        {2048, true, false, 65535}, {2048, true, false, 65536}, {2048, true, false, 65538},
        {2048, true, true, 65539}, {2048, true, true, 0xffffffff}, {2048, true, false, 0x100000001},
        {2048, true, false, 0xffffffffffffffff}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        EVP_PKEY *pkey = rsa_public(rows[i].bits, rows[i].odd, rows[i].exponent);
        REQUIRE(pkey != NULL);
        CHECK_ROW(
            (dmsg_jose_algorithm_of(pkey, DMSG_USE_VERIFY) != NULL) == rows[i].good, "row %zu", i);
        CHECK_ROW(
            (dmsg_jose_algorithm_of(pkey, DMSG_USE_ENCRYPT) != NULL) == rows[i].good, "row %zu", i);
        EVP_PKEY_free(pkey);
    }
}

/* The largest key fills every buffer to its end. */
static void largest_rsa_key(void)
{
    EVP_PKEY *pkey = rsa_public(DMSG_JOSE_RSA_BITS_MAX, true, 65537);
    struct dmsg_jose_key *encrypter = NULL, *verifier = NULL;
    struct dmsg_buffer out = {0}, encoded = {0};
    struct dmsg_jws jws = {.protected_header = text("eyJhbGciOiJSUzI1NiJ9"), .payload = text("")};
    uint8_t signature[DMSG_RSA_SIZE_MAX] = {0};
    REQUIRE(dmsg_jose_key_new(&encrypter, test_jose(), pkey, DMSG_USE_ENCRYPT, NULL) == 0);
    REQUIRE(dmsg_jose_key_new(&verifier, test_jose(), pkey, DMSG_USE_VERIFY, NULL) == 0);
    CHECK(dmsg_jwe_encrypt(encrypter, DMSG_ENC_A256CBC_HS512, text(""), text("x"),
              DMSG_FORM_COMPACT, &out, NULL) == 0);
    CHECK(out.size == dmsg_jwe_size(encrypter, DMSG_ENC_A256CBC_HS512, 0, 1, DMSG_FORM_COMPACT));
    dmsg_base64url_put(&encoded, (struct dmsg_span){signature, sizeof signature});
    jws.form = DMSG_FORM_FLATTENED;
    jws.signature = dmsg_buffer_span(&encoded);
    CHECK(dmsg_jws_header_parse(&header, &jws, NULL) == 0);
    CHECK(dmsg_jws_verify(verifier, &jws, &header, NULL) == DMSG_E_SIGNATURE);
    dmsg_buffer_done(&out);
    dmsg_buffer_done(&encoded);
    dmsg_jose_key_free(&encrypter);
    dmsg_jose_key_free(&verifier);
    EVP_PKEY_free(pkey);
    CHECK(ERR_peek_error() == 0);
}

/* d2i_PUBKEY takes one octet 00 for the point at infinity. */
static void recipient_at_infinity(void)
{
    static const unsigned char der[] = {0x30, 0x19, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce,
        0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x02,
        0x00, 0x00};
    const unsigned char *next = der;
    EVP_PKEY *pkey = d2i_PUBKEY(NULL, &next, sizeof der);
    struct dmsg_jose_key *key = NULL;
    ERR_clear_error();
    if (pkey == NULL)
        SKIP("OpenSSL refuses such a key itself");
    CHECK(dmsg_jose_key_new(&key, test_jose(), pkey, DMSG_USE_ENCRYPT, NULL) == DMSG_E_CERTIFICATE);
    CHECK(key == NULL && ERR_peek_error() == 0);
    EVP_PKEY_free(pkey);
}

static void one_use_for_each_key(void)
{
    struct dmsg_jose_key *key = NULL;
    struct dmsg_error error;
    EVP_PKEY *pkey = pkey_of("P-256");
    int both = DMSG_USE_SIGN | DMSG_USE_VERIFY;
    CHECK(
        dmsg_jose_key_new(&key, test_jose(), pkey, (enum dmsg_jose_use)0, &error) == DMSG_E_USAGE);
    CHECK(dmsg_jose_key_new(&key, test_jose(), pkey, (enum dmsg_jose_use)both, &error) ==
          DMSG_E_USAGE);
    CHECK(dmsg_jose_key_new(&key, test_jose(), NULL, DMSG_USE_SIGN, &error) == DMSG_E_USAGE);
    CHECK(key == NULL);

    struct dmsg_buffer out = {0};
    struct dmsg_jws jws = {0};
    struct dmsg_jwe jwe = {0};
    struct dmsg_jose_key *signer = key_for("P-256", DMSG_USE_SIGN);
    struct dmsg_jose_key *decrypter = key_for("P-256", DMSG_USE_DECRYPT);
    CHECK(dmsg_jws_sign(decrypter, text(""), text(""), DMSG_FORM_COMPACT, &out, &error) ==
          DMSG_E_USAGE);
    CHECK(dmsg_jws_verify(signer, &jws, &header, &error) == DMSG_E_USAGE);
    CHECK(dmsg_jwe_encrypt(decrypter, DMSG_ENC_A256GCM, text(""), text(""), DMSG_FORM_COMPACT, &out,
              &error) == DMSG_E_USAGE);
    CHECK(dmsg_jwe_decrypt(signer, &jwe, &header, &out, &error) == DMSG_E_USAGE);
    CHECK(out.size == 0 && out.data == NULL);
}

static void kid_is_the_hash_of_the_public_key(void)
{
    static const char *const kinds[] = {"RSA", "P-256", "P-384", "P-521", "ED25519", "X25519"};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        EVP_PKEY *pkey = pkey_of(kinds[i]);
        unsigned char *der = NULL, digest[32];
        char kid[DMSG_KID_SIZE], again[DMSG_KID_SIZE];
        int size = i2d_PUBKEY(pkey, &der);
        const unsigned char *next = der;
        EVP_PKEY *public_key = d2i_PUBKEY(NULL, &next, size);
        CHECK(EVP_Q_digest(NULL, "SHA256", NULL, der, (size_t)size, digest, NULL) == 1);
        CHECK(dmsg_jose_kid(kid, pkey, NULL) == 0);
        CHECK(dmsg_jose_kid(again, public_key, NULL) == 0);
        CHECK(strcmp(kid, again) == 0 && strlen(kid) == DMSG_KID_SIZE - 1);
        uint8_t decoded[32];
        CHECK(dmsg_base64url_decode(decoded, text(kid)) == 32);
        CHECK_ROW(memcmp(decoded, digest, 32) == 0, "%s", kinds[i]);
        EVP_PKEY_free(public_key);
        OPENSSL_free(der);
    }
}

/* ---------------------------------------------------------------------------------- round trip */

#define MEMBERS "\"typ\":\"test\",\"kid\":\"k\\u0069d\""

static const size_t sizes[] = {0, 1, 2, 3, 15, 16, 17, 31, 32, 33, 1000, 16384};

/* payload -> JWS -> payload. */
static void sign_and_verify(const char *kind, enum dmsg_jose_form form, struct dmsg_span payload)
{
    struct dmsg_jose_key *signer = key_for(kind, DMSG_USE_SIGN);
    struct dmsg_buffer out = {0}, back = {0};
    struct dmsg_jws jws;
    dmsg_buffer_put_text(&out, "before");
    dmsg_buffer_put_text(&back, "before");
    REQUIRE(dmsg_jws_sign(signer, text(MEMBERS), payload, form, &out, NULL) == 0);
    CHECK_ROW(out.size == 6 + dmsg_jws_size(signer, strlen(MEMBERS), payload.size, form), "%s %s",
        kind, forms[form]);
    CHECK(memcmp(out.data, "before", 6) == 0);
    REQUIRE(dmsg_jws_parse(&jws, (struct dmsg_span){out.data + 6, out.size - 6}, NULL) == 0);
    CHECK(jws.form == form);
    REQUIRE(dmsg_jws_header_parse(&header, &jws, NULL) == 0);
    CHECK(dmsg_span_equal_text(header.typ, "test") && dmsg_span_equal_text(header.kid, "kid"));
    CHECK_ROW(
        dmsg_jws_verify(key_for(kind, DMSG_USE_VERIFY), &jws, &header, NULL) == 0, "%s", kind);
    CHECK(dmsg_jws_payload(&jws, &back, NULL) == 0);
    CHECK(back.size == 6 + payload.size && memcmp(back.data, "before", 6) == 0);
    CHECK(payload.size == 0 || memcmp(back.data + 6, payload.data, payload.size) == 0);
    dmsg_buffer_done(&out);
    dmsg_buffer_done(&back);
}

static void encrypt_and_decrypt(
    const char *kind, enum dmsg_jose_enc enc, enum dmsg_jose_form form, struct dmsg_span plaintext)
{
    struct dmsg_jose_key *encrypter = key_for(kind, DMSG_USE_ENCRYPT);
    struct dmsg_buffer out = {0}, back = {0};
    struct dmsg_jwe jwe;
    dmsg_buffer_put_text(&out, "before");
    dmsg_buffer_put_text(&back, "before");
    REQUIRE(dmsg_jwe_encrypt(encrypter, enc, text(MEMBERS), plaintext, form, &out, NULL) == 0);
    CHECK_ROW(out.size == 6 + dmsg_jwe_size(encrypter, enc, strlen(MEMBERS), plaintext.size, form),
        "%s %s", kind, forms[form]);
    REQUIRE(dmsg_jwe_parse(&jwe, (struct dmsg_span){out.data + 6, out.size - 6}, NULL) == 0);
    CHECK(jwe.form == form);
    REQUIRE(dmsg_jwe_header_parse(&header, &jwe, NULL) == 0);
    CHECK(dmsg_span_equal_text(header.typ, "test") && dmsg_span_equal_text(header.kid, "kid"));
    CHECK_ROW(dmsg_jwe_decrypt(key_for(kind, DMSG_USE_DECRYPT), &jwe, &header, &back, NULL) == 0,
        "%s", kind);
    CHECK(back.size == 6 + plaintext.size && memcmp(back.data, "before", 6) == 0);
    CHECK(plaintext.size == 0 || memcmp(back.data + 6, plaintext.data, plaintext.size) == 0);
    dmsg_buffer_done(&out);
    dmsg_buffer_done(&back);
}

static void round_trips(void)
{
    static uint8_t payload[16384];
    for (size_t i = 0; i < sizeof payload; i++)
        payload[i] = (uint8_t)(i * 7);
    for (size_t s = 0; s < SUITES; s++) {
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
            struct dmsg_span span = {payload, sizes[i]};
            sign_and_verify(suites[s].signer, DMSG_FORM_COMPACT, span);
            sign_and_verify(suites[s].signer, DMSG_FORM_FLATTENED, span);
            for (int form = DMSG_FORM_COMPACT; form <= DMSG_FORM_FLATTENED; form++) {
                encrypt_and_decrypt(
                    suites[s].recipient, DMSG_ENC_A256GCM, (enum dmsg_jose_form)form, span);
                encrypt_and_decrypt(
                    suites[s].recipient, DMSG_ENC_A256CBC_HS512, (enum dmsg_jose_form)form, span);
            }
        }
    }
    CHECK(ERR_peek_error() == 0);
}

static void header_without_members(void)
{
    struct dmsg_jose_key *signer = key_for("P-256", DMSG_USE_SIGN);
    struct dmsg_jose_key *encrypter = key_for("X25519", DMSG_USE_ENCRYPT);
    struct dmsg_buffer out = {0};
    struct dmsg_jws jws;
    struct dmsg_jwe jwe;
    REQUIRE(dmsg_jws_sign(signer, text(""), text("x"), DMSG_FORM_COMPACT, &out, NULL) == 0);
    CHECK(out.size == dmsg_jws_size(signer, 0, 1, DMSG_FORM_COMPACT));
    CHECK(dmsg_jws_parse(&jws, dmsg_buffer_span(&out), NULL) == 0);
    CHECK(dmsg_span_equal_text(jws.protected_header, "eyJhbGciOiJFUzI1NiJ9"));
    dmsg_buffer_reset(&out);
    REQUIRE(dmsg_jwe_encrypt(encrypter, DMSG_ENC_A256GCM, text(""), text("x"), DMSG_FORM_FLATTENED,
                &out, NULL) == 0);
    CHECK(out.size == dmsg_jwe_size(encrypter, DMSG_ENC_A256GCM, 0, 1, DMSG_FORM_FLATTENED));
    CHECK(dmsg_jwe_parse(&jwe, dmsg_buffer_span(&out), NULL) == 0);
    CHECK(dmsg_jwe_header_parse(&header, &jwe, NULL) == 0);
    CHECK(header.present == (DMSG_HAS_ALG | DMSG_HAS_ENC | DMSG_HAS_EPK));
    CHECK(dmsg_span_equal_text(header.epk_kty, "OKP") && header.epk_y.data == NULL);
    dmsg_buffer_done(&out);
}

/* A private copy of everything OpenSSL has, as a provider of a hardware key would need. */
static void other_library_context(void)
{
    OSSL_LIB_CTX *library = OSSL_LIB_CTX_new();
    OSSL_PROVIDER *provider = OSSL_PROVIDER_load(library, "default");
    REQUIRE(library != NULL && provider != NULL);
    struct dmsg_context context = {.library = library, .properties = "provider=default"};
    struct dmsg_jose *jose = NULL;
    REQUIRE(dmsg_jose_new(&jose, &context, NULL) == 0);
    for (size_t s = 0; s < SUITES; s++) {
        struct dmsg_jose_key *keys[4] = {NULL};
        struct dmsg_buffer signed_text = {0}, sealed = {0}, opened = {0};
        struct dmsg_jws jws;
        struct dmsg_jwe jwe;
        for (int i = 0; i < 4; i++)
            CHECK(dmsg_jose_key_new(&keys[i], jose,
                      pkey_of(i < 2 ? suites[s].signer : suites[s].recipient),
                      (enum dmsg_jose_use)(1 << i), NULL) == 0);
        REQUIRE(keys[3] != NULL);
        CHECK(dmsg_jws_sign(keys[0], text(""), text("x"), DMSG_FORM_COMPACT, &signed_text, NULL) ==
              0);
        CHECK(dmsg_jwe_encrypt(keys[2], DMSG_ENC_A256GCM, text(""), dmsg_buffer_span(&signed_text),
                  DMSG_FORM_COMPACT, &sealed, NULL) == 0);
        CHECK(dmsg_jwe_parse(&jwe, dmsg_buffer_span(&sealed), NULL) == 0);
        CHECK(dmsg_jwe_header_parse(&header, &jwe, NULL) == 0);
        CHECK(dmsg_jwe_decrypt(keys[3], &jwe, &header, &opened, NULL) == 0);
        CHECK(dmsg_jws_parse(&jws, dmsg_buffer_span(&opened), NULL) == 0);
        CHECK(dmsg_jws_header_parse(&header, &jws, NULL) == 0);
        CHECK_ROW(dmsg_jws_verify(keys[1], &jws, &header, NULL) == 0, "suite %zu", s);
        for (int i = 0; i < 4; i++)
            dmsg_jose_key_free(&keys[i]);
        dmsg_buffer_done(&signed_text);
        dmsg_buffer_done(&sealed);
        dmsg_buffer_done(&opened);
    }
    dmsg_jose_free(&jose);
    OSSL_PROVIDER_unload(provider);
    OSSL_LIB_CTX_free(library);
    CHECK(ERR_peek_error() == 0);
}

/* The context's properties are for private keys: the rest does not depend on them. */
static void properties_that_nothing_has(void)
{
    struct dmsg_context context = {.properties = "provider=nothing"};
    struct dmsg_jose *jose = NULL;
    REQUIRE(dmsg_jose_new(&jose, &context, NULL) == 0);
    for (size_t s = 0; s < SUITES; s++) {
        for (int i = 0; i < 4; i++) {
            struct dmsg_jose_key *key = NULL;
            EVP_PKEY *pkey = pkey_of(i < 2 ? suites[s].signer : suites[s].recipient);
            int result = dmsg_jose_key_new(&key, jose, pkey, (enum dmsg_jose_use)(1 << i), NULL);
            bool public_key = 1 << i == DMSG_USE_VERIFY || 1 << i == DMSG_USE_ENCRYPT;
            CHECK_ROW(result == (public_key ? 0 : DMSG_E_INTERNAL), "suite %zu use %d: %s", s,
                1 << i, dmsg_error_word(result));
            dmsg_jose_key_free(&key);
            CHECK(ERR_peek_error() == 0);
        }
    }
    dmsg_jose_free(&jose);
}

/* ---------------------------------------------------------------------------------- signatures */

/* Half the numbers R and S of ECDSA begin with a bit set, one in 256 with a zero octet. */
static void numbers_of_every_length(void)
{
    struct dmsg_buffer out = {0};
    struct dmsg_jws jws;
    unsigned short_ones = 0;
    for (int i = 0; i < 1500; i++) {
        uint8_t signature[64];
        dmsg_buffer_reset(&out);
        REQUIRE(dmsg_jws_sign(key_for("P-256", DMSG_USE_SIGN), text(""), text("x"),
                    DMSG_FORM_COMPACT, &out, NULL) == 0);
        REQUIRE(dmsg_jws_parse(&jws, dmsg_buffer_span(&out), NULL) == 0);
        REQUIRE(dmsg_jws_header_parse(&header, &jws, NULL) == 0);
        CHECK(dmsg_jws_verify(key_for("P-256", DMSG_USE_VERIFY), &jws, &header, NULL) == 0);
        CHECK(dmsg_base64url_decode(signature, jws.signature) == 64);
        short_ones += signature[0] == 0 || signature[32] == 0;
    }
    CHECK(short_ones > 0);
    dmsg_buffer_done(&out);
}

/* The result of verifying a JWS put together from these. */
static int verify_parts(const char *kind, const char *json, struct dmsg_span payload,
    struct dmsg_span signature, enum dmsg_jose_form form)
{
    struct dmsg_buffer out = {0};
    const struct dmsg_span parts[] = {text(json), payload, signature};
    struct dmsg_jws jws = {0};
    struct dmsg_error error = {.code = 77};
    put_compact(&out, parts, 3);
    if (dmsg_jws_parse(&jws, dmsg_buffer_span(&out), NULL) < 0)
        return DMSG_E_INTERNAL;
    jws.form = form;
    if (form == DMSG_FORM_FLATTENED)
        jws.signing_input = (struct dmsg_span){0};
    int result = dmsg_jws_header_parse(&header, &jws, &error);
    if (result == 0)
        result = dmsg_jws_verify(key_for(kind, DMSG_USE_VERIFY), &jws, &header, &error);
    CHECK(error.code == (result < 0 ? result : 77));
    CHECK(ERR_peek_error() == 0);
    dmsg_buffer_done(&out);
    return result;
}

/* Signature octets over header and payload, made by the key. */
static struct dmsg_span sign_parts(
    uint8_t *out, const char *kind, const char *json, struct dmsg_span payload)
{
    struct dmsg_buffer input = {0};
    struct dmsg_jose_key *key = key_for(kind, DMSG_USE_SIGN);
    const struct dmsg_span parts[] = {text(json), payload};
    struct dmsg_span pieces[DMSG_SIGNING_PIECES] = {{NULL, 0}};
    put_compact(&input, parts, 2);
    pieces[0] = dmsg_buffer_span(&input);
    CHECK(key->algorithm->family->sign(key, pieces, out, NULL) == 0);
    dmsg_buffer_done(&input);
    return (struct dmsg_span){out, key->size};
}

static void algorithm_is_the_keys(void)
{
    static const char *const kinds[] = {"RSA", "P-256", "P-384", "P-521", "ED25519"};
    static const char *const algs[] = {"RS256", "ES256", "ES384", "ES512", "EdDSA"};
    for (size_t k = 0; k < 5; k++) {
        for (size_t a = 0; a < 5; a++) {
            uint8_t octets[DMSG_RSA_SIZE_MAX];
            char json[64];
            snprintf(json, sizeof json, "{\"alg\":\"%s\"}", algs[a]);
            struct dmsg_span signature = sign_parts(octets, kinds[k], json, text("x"));
            int result = verify_parts(kinds[k], json, text("x"), signature, DMSG_FORM_COMPACT);
            CHECK_ROW(result == (k == a ? 0 : DMSG_E_ALGORITHM), "%s %s", kinds[k], algs[a]);
        }
    }
    uint8_t octets[64];
    const char *alias = "{\"alg\":\"Ed25519\"}";
    struct dmsg_span signature = sign_parts(octets, "ED25519", alias, text("x"));
    CHECK(verify_parts("ED25519", alias, text("x"), signature, DMSG_FORM_COMPACT) == 0);
    CHECK(verify_parts("ED25519", alias, text("x"), signature, DMSG_FORM_FLATTENED) == 0);
    signature = sign_parts(octets, "P-256", alias, text("x"));
    CHECK(
        verify_parts("P-256", alias, text("x"), signature, DMSG_FORM_COMPACT) == DMSG_E_ALGORITHM);
}

static void signatures_of_another_size(void)
{
    static const char *const kinds[] = {"RSA", "P-256", "P-384", "P-521", "ED25519"};
    static const char *const algs[] = {"RS256", "ES256", "ES384", "ES512", "EdDSA"};
    for (size_t k = 0; k < 5; k++) {
        uint8_t octets[DMSG_RSA_SIZE_MAX + 8] = {0};
        char json[64];
        snprintf(json, sizeof json, "{\"alg\":\"%s\"}", algs[k]);
        struct dmsg_span good = sign_parts(octets, kinds[k], json, text("x")), other = good;
        CHECK(verify_parts(kinds[k], json, text("x"), good, DMSG_FORM_COMPACT) == 0);
        const size_t tried[] = {
            0, 1, good.size / 2, good.size - 1, good.size + 1, good.size + 2, good.size + 3};
        for (size_t i = 0; i < sizeof tried / sizeof tried[0]; i++) {
            other.size = tried[i];
            CHECK_ROW(
                verify_parts(kinds[k], json, text("x"), other, DMSG_FORM_COMPACT) == DMSG_E_FORMAT,
                "%s %zu", kinds[k], other.size);
        }
        static const uint8_t longer_than_any_buffer[20000];
        other = (struct dmsg_span){longer_than_any_buffer, sizeof longer_than_any_buffer};
        CHECK(verify_parts(kinds[k], json, text("x"), other, DMSG_FORM_COMPACT) == DMSG_E_FORMAT);
    }
}

static void signatures_of_others(void)
{
    static const char *const kinds[] = {"RSA", "P-256", "P-384", "P-521", "ED25519"};
    static const char *const algs[] = {"RS256", "ES256", "ES384", "ES512", "EdDSA"};
    for (size_t k = 0; k < 5; k++) {
        uint8_t octets[DMSG_RSA_SIZE_MAX];
        char json[64], other[64];
        snprintf(json, sizeof json, "{\"alg\":\"%s\"}", algs[k]);
        snprintf(other, sizeof other, "{\"alg\":\"%s\" }", algs[k]);
        struct dmsg_span signature = sign_parts(octets, kinds[k], json, text("x"));
        for (int form = DMSG_FORM_COMPACT; form <= DMSG_FORM_FLATTENED; form++) {
            enum dmsg_jose_form f = (enum dmsg_jose_form)form;
            CHECK(verify_parts(kinds[k], json, text("x"), signature, f) == 0);
            CHECK(verify_parts(kinds[k], json, text("y"), signature, f) == DMSG_E_SIGNATURE);
            CHECK(verify_parts(kinds[k], json, text(""), signature, f) == DMSG_E_SIGNATURE);
            CHECK(verify_parts(kinds[k], other, text("x"), signature, f) == DMSG_E_SIGNATURE);
        }
        memset(octets, 0, signature.size);
        CHECK_ROW(verify_parts(kinds[k], json, text("x"), signature, DMSG_FORM_COMPACT) ==
                      DMSG_E_SIGNATURE,
            "%s zeros", kinds[k]);
        memset(octets, 0xff, signature.size);
        CHECK_ROW(verify_parts(kinds[k], json, text("x"), signature, DMSG_FORM_COMPACT) ==
                      DMSG_E_SIGNATURE,
            "%s ones", kinds[k]);
    }
    /* another key of the same kind */
    struct dmsg_jose_key *stranger = NULL;
    EVP_PKEY *pkey = new_pkey("P-256");
    struct dmsg_buffer out = {0};
    struct dmsg_jws jws;
    REQUIRE(dmsg_jose_key_new(&stranger, test_jose(), pkey, DMSG_USE_VERIFY, NULL) == 0);
    CHECK(dmsg_jws_sign(key_for("P-256", DMSG_USE_SIGN), text(""), text("x"), DMSG_FORM_COMPACT,
              &out, NULL) == 0);
    CHECK(dmsg_jws_parse(&jws, dmsg_buffer_span(&out), NULL) == 0);
    CHECK(dmsg_jws_header_parse(&header, &jws, NULL) == 0);
    CHECK(dmsg_jws_verify(stranger, &jws, &header, NULL) == DMSG_E_SIGNATURE);
    dmsg_jose_key_free(&stranger);
    EVP_PKEY_free(pkey);
    dmsg_buffer_done(&out);
}

static void text_of_signature_is_canonical(void)
{
    static const char *const ends[] = {"", "=", "\n", " ", "A", "AA"};
    struct dmsg_buffer out = {0};
    struct dmsg_jws jws;
    REQUIRE(dmsg_jws_sign(key_for("P-256", DMSG_USE_SIGN), text(""), text("x"), DMSG_FORM_COMPACT,
                &out, NULL) == 0);
    size_t size = out.size;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        dmsg_buffer_put_text(&out, ends[i]);
        REQUIRE(dmsg_jws_parse(&jws, dmsg_buffer_span(&out), NULL) == 0);
        REQUIRE(dmsg_jws_header_parse(&header, &jws, NULL) == 0);
        CHECK_ROW(dmsg_jws_verify(key_for("P-256", DMSG_USE_VERIFY), &jws, &header, NULL) ==
                      (i == 0 ? 0 : DMSG_E_FORMAT),
            "row %zu", i);
        out.size = size;
    }
    /* 86 characters for 64 octets: the last has four unused bits */
    out.data[size - 1] = (uint8_t)(out.data[size - 1] == 'A' ? 'B' : out.data[size - 1] + 1);
    REQUIRE(dmsg_jws_parse(&jws, dmsg_buffer_span(&out), NULL) == 0);
    CHECK(dmsg_jws_verify(key_for("P-256", DMSG_USE_VERIFY), &jws, &header, NULL) == DMSG_E_FORMAT);
    dmsg_buffer_done(&out);
}

static void payloads(void)
{
    static const struct {
        const char *text;
        int code;
        const char *value;
    } rows[] = {{"", 0, ""}, {"QUJD", 0, "ABC"}, {"QUI", 0, "AB"}, {"QUJ", DMSG_E_FORMAT, NULL},
        {"QUI=", DMSG_E_FORMAT, NULL}, {"QUJDR", DMSG_E_FORMAT, NULL},
        {"QU JD", DMSG_E_FORMAT, NULL}, {"QU+D", DMSG_E_FORMAT, NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_jws jws = {.payload = text(rows[i].text)};
        struct dmsg_buffer out = {0};
        dmsg_buffer_put_text(&out, "before");
        CHECK_ROW(dmsg_jws_payload(&jws, &out, NULL) == rows[i].code, "%s", rows[i].text);
        CHECK(out.size == 6 + (rows[i].value != NULL ? strlen(rows[i].value) : 0) && !out.failed);
        CHECK(rows[i].value == NULL ||
              memcmp(out.data + 6, rows[i].value, strlen(rows[i].value)) == 0);
        dmsg_buffer_done(&out);
    }
}

/* --------------------------------------------------------------------------- limits and failure */

static int no_random(void *user, void *out, size_t size)
{
    (void)user, (void)out, (void)size;
    return -1;
}

static void limits_of_buffers(void)
{
    struct dmsg_jose_key *signer = key_for("ED25519", DMSG_USE_SIGN);
    struct dmsg_jose_key *encrypter = key_for("X25519", DMSG_USE_ENCRYPT);
    struct dmsg_jose_key *decrypter = key_for("X25519", DMSG_USE_DECRYPT);
    size_t size = dmsg_jws_size(signer, 0, 10, DMSG_FORM_FLATTENED);
    struct dmsg_buffer out = {.limit = size - 1}, sealed = {0}, opened = {.limit = 9};
    struct dmsg_error error;
    struct dmsg_jwe jwe;
    CHECK(dmsg_jws_sign(signer, text(""), text("0123456789"), DMSG_FORM_FLATTENED, &out, &error) ==
          DMSG_E_SIZE);
    CHECK(out.size == 0 && !out.failed && out.data == NULL);
    out.limit = size;
    CHECK(dmsg_jws_sign(signer, text(""), text("0123456789"), DMSG_FORM_FLATTENED, &out, &error) ==
          0);
    CHECK(dmsg_jws_sign(signer, text(""), text("0123456789"), DMSG_FORM_FLATTENED, &out, &error) ==
          DMSG_E_SIZE);
    CHECK(out.size == size && !out.failed);

    sealed.limit = dmsg_jwe_size(encrypter, DMSG_ENC_A256GCM, 0, 10, DMSG_FORM_COMPACT) - 1;
    CHECK(dmsg_jwe_encrypt(encrypter, DMSG_ENC_A256GCM, text(""), text("0123456789"),
              DMSG_FORM_COMPACT, &sealed, &error) == DMSG_E_SIZE);
    CHECK(sealed.size == 0 && !sealed.failed);
    sealed.limit++;
    CHECK(dmsg_jwe_encrypt(encrypter, DMSG_ENC_A256GCM, text(""), text("0123456789"),
              DMSG_FORM_COMPACT, &sealed, &error) == 0);
    CHECK(dmsg_jwe_parse(&jwe, dmsg_buffer_span(&sealed), &error) == 0);
    CHECK(dmsg_jwe_header_parse(&header, &jwe, &error) == 0);
    CHECK(dmsg_jwe_decrypt(decrypter, &jwe, &header, &opened, &error) == DMSG_E_SIZE);
    CHECK(opened.size == 0 && !opened.failed);
    opened.limit = 10;
    CHECK(dmsg_jwe_decrypt(decrypter, &jwe, &header, &opened, &error) == 0 && opened.size == 10);
    dmsg_buffer_done(&out);
    dmsg_buffer_done(&sealed);
    dmsg_buffer_done(&opened);
}

/* Refused by its size alone: nothing of it is there to be read. */
static void more_than_openssl_can_count(void)
{
    const struct dmsg_span huge = {(const uint8_t *)"", (size_t)DMSG_CONTENT_SIZE_MAX + 1};
    struct dmsg_buffer out = {0};
    for (size_t s = 0; s < SUITES; s++) {
        CHECK(dmsg_jws_sign(key_for(suites[s].signer, DMSG_USE_SIGN), text(""), huge,
                  DMSG_FORM_COMPACT, &out, NULL) == DMSG_E_SIZE);
        for (int e = 0; e < DMSG_ENC_COUNT; e++)
            CHECK(dmsg_jwe_encrypt(key_for(suites[s].recipient, DMSG_USE_ENCRYPT),
                      (enum dmsg_jose_enc)e, text(""), huge, DMSG_FORM_COMPACT, &out,
                      NULL) == DMSG_E_SIZE);
    }
    CHECK(out.data == NULL);
}

static void header_that_no_receiver_accepts(void)
{
    static char members[DMSG_JOSE_HEADER_X5C_MAX + 100];
    struct dmsg_buffer out = {0};
    int length = snprintf(members, sizeof members, "\"a\":\"");
    size_t around = strlen("{\"alg\":\"ES256\",}") + 1;
    memset(members + length, 'a', sizeof members - (size_t)length);
    size_t fits = DMSG_JOSE_HEADER_X5C_MAX - around;
    members[fits] = '"';
    CHECK(dmsg_jws_sign(key_for("P-256", DMSG_USE_SIGN),
              (struct dmsg_span){(uint8_t *)members, fits + 1}, text(""), DMSG_FORM_COMPACT, &out,
              NULL) == 0);
    size_t size = out.size;
    members[fits] = 'a';
    members[fits + 1] = '"';
    CHECK(dmsg_jws_sign(key_for("P-256", DMSG_USE_SIGN),
              (struct dmsg_span){(uint8_t *)members, fits + 2}, text(""), DMSG_FORM_COMPACT, &out,
              NULL) == DMSG_E_SIZE);
    CHECK(dmsg_jwe_encrypt(key_for("P-256", DMSG_USE_ENCRYPT), DMSG_ENC_A256GCM,
              (struct dmsg_span){(uint8_t *)members, fits + 2}, text(""), DMSG_FORM_COMPACT, &out,
              NULL) == DMSG_E_SIZE);
    CHECK(out.size == size && !out.failed);
    dmsg_buffer_done(&out);
}

static void no_randomness(void)
{
    struct dmsg_buffer out = {0}, opened = {0};
    struct dmsg_error error;
    struct dmsg_jose *jose = NULL;
    struct dmsg_jose_key *encrypter = NULL, *decrypter = NULL;
    struct dmsg_context context = {0};
    struct dmsg_jwe jwe;
    REQUIRE(dmsg_jose_new(&jose, &context, NULL) == 0);
    REQUIRE(dmsg_jose_key_new(&encrypter, jose, pkey_of("RSA"), DMSG_USE_ENCRYPT, NULL) == 0);
    REQUIRE(dmsg_jose_key_new(&decrypter, jose, pkey_of("RSA"), DMSG_USE_DECRYPT, NULL) == 0);
    REQUIRE(dmsg_jwe_encrypt(encrypter, DMSG_ENC_A256GCM, text(""), text("x"), DMSG_FORM_COMPACT,
                &out, NULL) == 0);
    size_t size = out.size;
    context.random = no_random;
    CHECK(dmsg_jwe_encrypt(encrypter, DMSG_ENC_A256GCM, text(""), text("x"), DMSG_FORM_COMPACT,
              &out, &error) == DMSG_E_INTERNAL);
    CHECK(out.size == size && !out.failed);
    CHECK(dmsg_jwe_parse(&jwe, dmsg_buffer_span(&out), NULL) == 0);
    CHECK(dmsg_jwe_header_parse(&header, &jwe, NULL) == 0);
    CHECK(dmsg_jwe_decrypt(decrypter, &jwe, &header, &opened, &error) == DMSG_E_INTERNAL);
    CHECK(opened.size == 0);
    context.random = NULL;
    CHECK(dmsg_jwe_decrypt(decrypter, &jwe, &header, &opened, &error) == 0 && opened.size == 1);
    dmsg_buffer_done(&out);
    dmsg_buffer_done(&opened);
    dmsg_jose_key_free(&encrypter);
    dmsg_jose_key_free(&decrypter);
    dmsg_jose_free(&jose);
}

TEST_MAIN(TEST(table_of_keys), TEST(keys_that_the_table_does_not_have),
    TEST(rsa_sizes_and_exponents), TEST(largest_rsa_key), TEST(recipient_at_infinity),
    TEST(one_use_for_each_key), TEST(kid_is_the_hash_of_the_public_key), TEST(round_trips),
    TEST(header_without_members), TEST(other_library_context), TEST(properties_that_nothing_has),
    TEST(numbers_of_every_length), TEST(algorithm_is_the_keys), TEST(signatures_of_another_size),
    TEST(signatures_of_others), TEST(text_of_signature_is_canonical), TEST(payloads),
    TEST(limits_of_buffers), TEST(more_than_openssl_can_count),
    TEST(header_that_no_receiver_accepts), TEST(no_randomness), TEST(frees_everything))
