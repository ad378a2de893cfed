/* src/x509 and src/jose do not know each other, and must say the same of every key. */
#include "test_x509_support.h"

#include "jose/jose.h"

static bool known(const EVP_PKEY *key, enum dmsg_jose_use use)
{
    return dmsg_jose_algorithm_of(key, use) != NULL;
}

static void check_agreement(const EVP_PKEY *key, const char *row)
{
    char ours[DMSG_KEY_ID_SIZE], theirs[DMSG_KID_SIZE];
    unsigned purposes = dmsg_key_purposes(key, NULL);
    bool signs = (purposes & DMSG_FOR_SIGNATURES) != 0;
    bool decrypts = (purposes & DMSG_FOR_ENCRYPTION) != 0;
    CHECK_ROW(signs == known(key, DMSG_USE_SIGN), "%s", row);
    CHECK_ROW(signs == known(key, DMSG_USE_VERIFY), "%s", row);
    CHECK_ROW(decrypts == known(key, DMSG_USE_ENCRYPT), "%s", row);
    CHECK_ROW(decrypts == known(key, DMSG_USE_DECRYPT), "%s", row);
    CHECK_ROW(dmsg_key_id(ours, key, NULL) == 0 && dmsg_jose_kid(theirs, key, NULL) == 0 &&
                  strcmp(ours, theirs) == 0,
        "%s", row);
}

static void rooms_agree_on_types(void)
{
    static const char *const kinds[] = {"EC:prime256v1", "EC:secp384r1", "EC:secp521r1",
        "EC:secp224r1", "EC:secp256k1", "EC:brainpoolP256r1", "ED25519", "X25519", "ED448", "X448",
        "RSA:2048", "RSA:1024", "RSA-PSS:2048"};
    for (size_t i = 0; i < ROWS(kinds); i++) {
        EVP_PKEY *key = key_of(kinds[i]);
        check_agreement(key, kinds[i]);
        EVP_PKEY_free(key);
    }
}

static void rooms_agree_on_rsa(void)
{
    static const int bits[] = {1024, 2040, 2047, 2048, 2049, 3072, 4096, 8192, 8193, 8200};
    static const char *const exponents[] = {"03", "11", "FFFF", "010000", "010001", "010002",
        "010003", "FFFFFFFE", "FFFFFFFF", "0100000000", "0100000001", "01000000000000000000000001"};
    for (size_t i = 0; i < ROWS(bits) * ROWS(exponents); i++) {
        char row[64];
        int size = bits[i / ROWS(exponents)];
        const char *exponent = exponents[i % ROWS(exponents)];
        EVP_PKEY *key = rsa_of(size, exponent);
        snprintf(row, sizeof row, "RSA %d, %s", size, exponent);
        check_agreement(key, row);
        EVP_PKEY_free(key);
    }
    EVP_PKEY *even = even_rsa();
    CHECK(dmsg_key_purposes(even, NULL) == 0);
    check_agreement(even, "RSA with an even modulus");
    EVP_PKEY_free(even);
}

TEST_MAIN(TEST(rooms_agree_on_types), TEST(rooms_agree_on_rsa))
