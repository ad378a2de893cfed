/* Key derivation, key wrap and content encryption against the vectors of their RFCs. */
#include "test_jose.h"

#include <openssl/core_names.h>

static size_t unhex(uint8_t *out, const char *hex)
{
    size_t size = 0;
    for (unsigned octet; sscanf(hex, " %2x", &octet) == 1; hex += 2) {
        hex += strspn(hex, " ");
        out[size++] = (uint8_t)octet;
    }
    return size;
}

static bool is_hex(const uint8_t *data, size_t size, const char *hex)
{
    uint8_t expected[512];
    return unhex(expected, hex) == size && memcmp(data, expected, size) == 0;
}

/* RFC 7518 appendix C: the secret that Alice's ephemeral and Bob's static key share. */
static const uint8_t appendix_c_secret[32] = {158, 86, 217, 29, 129, 113, 53, 211, 114, 131, 66,
    131, 191, 132, 38, 156, 251, 49, 110, 163, 218, 128, 106, 72, 246, 218, 167, 121, 140, 254, 144,
    196};

static void concat_kdf(void)
{
    struct dmsg_error error;
    uint8_t key[16], expected[16];
    const struct dmsg_span secret = {appendix_c_secret, sizeof appendix_c_secret};
    REQUIRE(dmsg_base64url_decode(expected, text("VqqN6vgjbSBcIijNcacQGg")) == 16);
    CHECK(dmsg_concat_kdf(test_jose(), secret, "A128GCM", text("Alice"), text("Bob"), key,
              sizeof key, &error) == 0);
    CHECK(memcmp(key, expected, sizeof key) == 0);
    CHECK(dmsg_concat_kdf(test_jose(), secret, "A128GCM", text("Bob"), text("Alice"), key,
              sizeof key, &error) == 0);
    CHECK(memcmp(key, expected, sizeof key) != 0);
}

/* RFC 3394 section 4.6. */
static void key_wrap(void)
{
    static const char wrapped_hex[] = "28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A"
                                      "99F43BFB988B9B7A02DD21";
    struct dmsg_error error;
    uint8_t kek[32], key[32], wrapped[40], back[32];
    unhex(kek, "000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F");
    unhex(key, "00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F");
    CHECK(dmsg_key_wrap(test_jose(), kek, (struct dmsg_span){key, 32}, wrapped, &error) == 0);
    CHECK(is_hex(wrapped, sizeof wrapped, wrapped_hex));
    CHECK(dmsg_key_unwrap(test_jose(), kek, wrapped, back, sizeof back, &error) == 1);
    CHECK(memcmp(back, key, sizeof key) == 0);
    for (size_t bit = 0; bit < 8 * sizeof wrapped; bit++) {
        wrapped[bit / 8] ^= (uint8_t)(1 << bit % 8);
        CHECK_ROW(dmsg_key_unwrap(test_jose(), kek, wrapped, back, sizeof back, &error) == 0,
            "bit %zu", bit);
        wrapped[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    kek[31] ^= 1;
    CHECK(dmsg_key_unwrap(test_jose(), kek, wrapped, back, sizeof back, &error) == 0);
}

/* Both sizes that we use, against OpenSSL's own. */
static void key_wrap_as_openssl(void)
{
    EVP_CIPHER *type = EVP_CIPHER_fetch(NULL, "AES-256-WRAP", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t kek[32], key[64], ours[72], theirs[72 + 16], back[64];
    struct dmsg_error error;
    int size = 0;
    for (size_t i = 0; i < 200; i++) {
        size_t key_size = i % 2 == 0 ? 32 : 64;
        REQUIRE(dmsg_context_random(&test_context, kek, sizeof kek) == 0);
        REQUIRE(dmsg_context_random(&test_context, key, sizeof key) == 0);
        EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
        REQUIRE(EVP_EncryptInit_ex2(ctx, type, kek, NULL, NULL) == 1);
        REQUIRE(EVP_EncryptUpdate(ctx, theirs, &size, key, (int)key_size) == 1);
        CHECK(size == (int)key_size + 8);
        CHECK(
            dmsg_key_wrap(test_jose(), kek, (struct dmsg_span){key, key_size}, ours, &error) == 0);
        CHECK(memcmp(ours, theirs, key_size + 8) == 0);
        CHECK(dmsg_key_unwrap(test_jose(), kek, ours, back, key_size, &error) == 1);
        CHECK(memcmp(back, key, key_size) == 0);
    }
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(type);
}

/* A wrapping that is right but for one octet of the initial value, which is the integrity check. */
static void every_octet_of_the_initial_value(void)
{
    EVP_CIPHER *type = EVP_CIPHER_fetch(NULL, "AES-256-WRAP", NULL);
    EVP_CIPHER_CTX *ctx = EVP_CIPHER_CTX_new();
    uint8_t kek[32] = {1}, key[32] = {2}, wrapped[48], back[32], value[8];
    int size = 0;
    EVP_CIPHER_CTX_set_flags(ctx, EVP_CIPHER_CTX_FLAG_WRAP_ALLOW);
    for (size_t i = 0; i <= sizeof value; i++) {
        memset(value, 0xa6, sizeof value);
        if (i < sizeof value)
            value[i] ^= 1;
        REQUIRE(EVP_EncryptInit_ex2(ctx, type, kek, value, NULL) == 1);
        REQUIRE(EVP_EncryptUpdate(ctx, wrapped, &size, key, sizeof key) == 1 && size == 40);
        CHECK_ROW(dmsg_key_unwrap(test_jose(), kek, wrapped, back, sizeof back, NULL) ==
                      (i == sizeof value),
            "octet %zu", i);
    }
    EVP_CIPHER_CTX_free(ctx);
    EVP_CIPHER_free(type);
}

/* RFC 7518 appendix B.3. */
static const char b3_iv[] = "1af38c2dc2b96ffdd86694092341bc04";
static const char b3_ciphertext[] =
    "4affaaadb78c31c5da4b1b590d10ffbd3dd8d5d302423526912da037ecbcc7bd822c301dd67c373bccb584ad3e9279"
    "c2e6d12a1374b77f077553df829410446b36ebd97066296ae6427ea75c2e0846a11a09ccf5370dc80bfecbad28c73f"
    "09b3a3b75e662a2594410ae496b2e2e6609e31e6e02cc837f053d21f37ff4f51950bbe2638d09dd7a4930930806d07"
    "03b1f6";
static const char b3_tag[] = "4dd3b4c088a7f45c216839645b2012bf2e6269a8c56a816dbc1b267761955bc5";
static const char b3_plaintext[] =
    "A cipher system must not be required to be secret, and it must be able to fall into the hands "
    "of the enemy without inconvenience";
static const char b3_header[] = "The second principle of Auguste Kerckhoffs";

static void a256cbc_hs512(void)
{
    struct dmsg_error error;
    uint8_t cek[64], iv[16], data[160], tag[32];
    const struct dmsg_enc *enc = dmsg_encs[DMSG_ENC_A256CBC_HS512];
    size_t size = enc->ciphertext_size(strlen(b3_plaintext));
    for (size_t i = 0; i < sizeof cek; i++)
        cek[i] = (uint8_t)i;
    unhex(iv, b3_iv);
    REQUIRE(enc->seal(
                test_jose(), cek, iv, text(b3_header), text(b3_plaintext), data, tag, &error) == 0);
    CHECK(is_hex(data, size, b3_ciphertext));
    CHECK(is_hex(tag, sizeof tag, b3_tag));
    tag[31] ^= 1;
    CHECK(enc->open(test_jose(), cek, iv, text(b3_header), data, &size, tag, &error) ==
          DMSG_E_DECRYPT);
    CHECK(is_hex(data, size, b3_ciphertext)); /* nothing is decrypted before the tag was checked */
    tag[31] ^= 1;
    CHECK(enc->open(test_jose(), cek, iv, text(b3_header), data, &size, tag, &error) == 0);
    CHECK(dmsg_span_equal_text((struct dmsg_span){data, size}, b3_plaintext));
}

/* All sizes around the blocks, both ways, and each input altered. */
static void content_encryption(void)
{
    uint8_t cek[64], iv[16], plaintext[70], data[90], tag[32];
    struct dmsg_error error;
    memset(cek, 'k', sizeof cek);
    memset(iv, 'i', sizeof iv);
    memset(plaintext, 'p', sizeof plaintext);
    for (size_t e = 0; e < DMSG_ENC_COUNT; e++) {
        const struct dmsg_enc *enc = dmsg_encs[e];
        for (size_t size = 0; size <= sizeof plaintext; size++) {
            size_t opened = enc->ciphertext_size(size);
            CHECK(enc->is_ciphertext_size(opened));
            REQUIRE(enc->seal(test_jose(), cek, iv, text("header"),
                        (struct dmsg_span){plaintext, size}, data, tag, &error) == 0);
            CHECK(enc->open(test_jose(), cek, iv, text("header"), data, &opened, tag, &error) == 0);
            CHECK_ROW(
                opened == size && memcmp(data, plaintext, size) == 0, "%s %zu", enc->name, size);
        }
        uint8_t *inputs[] = {cek, cek + enc->cek_size - 1, iv, iv + enc->iv_size - 1, data, tag,
            tag + enc->tag_size - 1};
        for (size_t i = 0; i < sizeof inputs / sizeof inputs[0]; i++) {
            size_t opened = enc->ciphertext_size(20);
            REQUIRE(enc->seal(test_jose(), cek, iv, text("header"),
                        (struct dmsg_span){plaintext, 20}, data, tag, &error) == 0);
            *inputs[i] ^= 0x10;
            int result =
                enc->open(test_jose(), cek, iv, text("header"), data, &opened, tag, &error);
            /* the last octet of a CBC key only encrypts: its padding fails instead */
            CHECK_ROW(result == DMSG_E_DECRYPT, "%s input %zu", enc->name, i);
            *inputs[i] ^= 0x10;
        }
    }
    CHECK(!dmsg_encs[DMSG_ENC_A256CBC_HS512]->is_ciphertext_size(0));
    CHECK(!dmsg_encs[DMSG_ENC_A256CBC_HS512]->is_ciphertext_size(15));
    CHECK(!dmsg_encs[DMSG_ENC_A256CBC_HS512]->is_ciphertext_size(17));
    CHECK(!dmsg_encs[DMSG_ENC_A256CBC_HS512]->is_ciphertext_size(
        ((size_t)DMSG_CONTENT_SIZE_MAX / 16 + 1) * 16));
    CHECK(dmsg_encs[DMSG_ENC_A256GCM]->is_ciphertext_size(0));
    CHECK(!dmsg_encs[DMSG_ENC_A256GCM]->is_ciphertext_size((size_t)DMSG_CONTENT_SIZE_MAX + 1));
}

/* NIST's GCM test case 16 (the GCM specification, appendix B), AES-256 with a 96-bit IV. */
static void a256gcm(void)
{
    static const char plaintext_hex[] = "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a"
                                        "318a721c3c0c95956809532fcf0e2449a6"
                                        "b525b16aedf5aa0de657ba637b39";
    struct dmsg_error error;
    uint8_t cek[32], iv[12], header[20], plaintext[64], data[64], tag[16];
    unhex(cek, "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
    unhex(iv, "cafebabefacedbaddecaf888");
    unhex(header, "feedfacedeadbeeffeedfacedeadbeefabaddad2");
    size_t size = unhex(plaintext, plaintext_hex);
    REQUIRE(dmsg_encs[DMSG_ENC_A256GCM]->seal(test_jose(), cek, iv,
                (struct dmsg_span){header, sizeof header}, (struct dmsg_span){plaintext, size},
                data, tag, &error) == 0);
    CHECK(is_hex(data, size,
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056"
        "828838"
        "c5f61e6393ba7a0abcc9f662"));
    CHECK(is_hex(tag, sizeof tag, "76fc6ece0f4e1768cddf8853bb2d551b"));
}

TEST_MAIN(TEST(concat_kdf), TEST(key_wrap), TEST(key_wrap_as_openssl),
    TEST(every_octet_of_the_initial_value), TEST(a256cbc_hs512), TEST(a256gcm),
    TEST(content_encryption), TEST(frees_everything))
