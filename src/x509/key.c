/* Public keys: parsing, the table's judgement, the key id. */
#include "base/base64url.h"
#include "base/cleanup.h"
#include "base/fail.h"
#include "x509/certificate.h"
#include "x509/der.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/sha.h>

/* AlgorithmIdentifiers in the only encoding that RFC 3279 section 2.3.1 (NULL parameters), RFC
   5480 section 2.1.1 (a named curve) and RFC 8410 section 3 (no parameters) allow. Compared before
   OpenSSL sees the key, so that no explicit curve and no other key type is ever decoded. */
static const struct algorithm {
    bool point; /* the key is a point on a curve in SEC1 form */
    uint8_t size;
    uint8_t der[21];
} algorithms[] = {
    {false, 15, {0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1, 5, 0}},
    {true, 21,
        {0x30, 19, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 3,
            1, 7}},
    {true, 18, {0x30, 16, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x22}},
    {true, 18, {0x30, 16, 6, 7, 0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1, 6, 5, 0x2b, 0x81, 4, 0, 0x23}},
    {false, 7, {0x30, 5, 6, 3, 0x2b, 0x65, 0x70}},
    {false, 7, {0x30, 5, 6, 3, 0x2b, 0x65, 0x6e}},
};

/* What the table knows of EC curves: OpenSSL's name for it, and ours. */
static const struct {
    const char *group;
    const char *name;
} curves[] = {
    {"prime256v1", "P-256"},
    {"secp384r1", "P-384"},
    {"secp521r1", "P-521"},
};

DMSG_DEFINE_CLEANUP(cleanup_bn, BIGNUM *, BN_free)

static void cleanup_openssl(unsigned char **pointer)
{
    OPENSSL_free(*pointer);
}

static const struct algorithm *find_algorithm(struct dmsg_span identifier)
{
    for (size_t i = 0; i < sizeof algorithms / sizeof algorithms[0]; i++)
        if (dmsg_span_equal(identifier, (struct dmsg_span){algorithms[i].der, algorithms[i].size}))
            return &algorithms[i];
    return NULL;
}

/* Whole octets; a point in compressed or uncompressed form, for RFC 5480 section 2.2 forbids the
   hybrid one, which OpenSSL takes. */
static bool bits_fit(const struct algorithm *algorithm, struct dmsg_span bits)
{
    if (bits.size < 2 || bits.data[0] != 0)
        return false;
    return !algorithm->point || (bits.data[1] >= 2 && bits.data[1] <= 4);
}

/* 1, 0, or DMSG_E_INTERNAL. */
static int encodes_as(const EVP_PKEY *key, struct dmsg_span spki, struct dmsg_error *error)
{
    DMSG_CLEANUP(cleanup_openssl) unsigned char *again = NULL;
    int size = i2d_PUBKEY(key, &again);
    if (size <= 0)
        return dmsg_fail_openssl(error, "encoding a public key");
    return dmsg_span_equal(spki, (struct dmsg_span){again, (size_t)size});
}

int dmsg_public_key_parse(EVP_PKEY **out, struct dmsg_span spki, struct dmsg_error *error)
{
    if (spki.size == 0 || spki.size > DMSG_PUBLIC_KEY_MAX)
        return dmsg_fail(error, DMSG_E_SIZE,
            "public key of %zu octets, where 1 to %d are possible (RFC 5280 section 4.1.2.7)",
            spki.size, DMSG_PUBLIC_KEY_MAX);

    struct dmsg_der outer = {.rest = spki}, inner;
    struct dmsg_span identifier, bits;
    dmsg_der_enter(&outer, DMSG_DER_SEQUENCE, &inner);
    dmsg_der_take(&inner, DMSG_DER_SEQUENCE, &identifier, NULL);
    dmsg_der_take(&inner, DMSG_DER_BIT_STRING, NULL, &bits);
    if (outer.failed || inner.failed || outer.rest.size != 0 || inner.rest.size != 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "public key is not exactly one SubjectPublicKeyInfo in DER (RFC 5280 section 4.1)");
    const struct algorithm *algorithm = find_algorithm(identifier);
    if (algorithm == NULL)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "public key is not of a type in use here: RSA, P-256, P-384, P-521 (named curve), "
            "Ed25519 or X25519");

    const unsigned char *position = spki.data;
    DMSG_CLEANUP(dmsg_cleanup_pkey)
    EVP_PKEY *key = bits_fit(algorithm, bits) ? d2i_PUBKEY(NULL, &position, (long)spki.size) : NULL;
    bool memory = dmsg_openssl_lacked_memory();
    if (key == NULL && memory)
        return dmsg_fail_memory(error);
    int same = key != NULL ? encodes_as(key, spki, error) : 0;
    if (same < 0)
        return same;
    if (same == 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "public key does not decode to a valid key of its type, or not from its DER form");
    *out = key;
    key = NULL;
    return 0;
}

static const char *curve_of(const EVP_PKEY *key)
{
    char group[32];
    size_t length = 0;
    if (EVP_PKEY_get_utf8_string_param(
            key, OSSL_PKEY_PARAM_GROUP_NAME, group, sizeof group, &length) != 1)
        return NULL;
    for (size_t i = 0; i < sizeof curves / sizeof curves[0]; i++)
        if (strcmp(group, curves[i].group) == 0 || strcmp(group, curves[i].name) == 0)
            return curves[i].name;
    return NULL;
}

/* The exponent as others see it: a TPM's own word for 65537 is 0 (TPM 2.0 part 2, section
   12.2.3.5), which its provider passes on. */
static BIGNUM *encoded_exponent(const EVP_PKEY *key)
{
    DMSG_CLEANUP(cleanup_openssl) unsigned char *der = NULL;
    BIGNUM *exponent = NULL;
    int size = i2d_PUBKEY(key, &der);
    const unsigned char *position = der;
    DMSG_CLEANUP(dmsg_cleanup_pkey)
    EVP_PKEY *read = size > 0 ? d2i_PUBKEY(NULL, &position, size) : NULL;
    return read != NULL && EVP_PKEY_get_bn_param(read, OSSL_PKEY_PARAM_RSA_E, &exponent) == 1
               ? exponent
               : NULL;
}

static bool rsa_in_table(const EVP_PKEY *key)
{
    int bits = EVP_PKEY_get_bits(key);
    DMSG_CLEANUP(cleanup_bn) BIGNUM *modulus = NULL;
    DMSG_CLEANUP(cleanup_bn) BIGNUM *exponent = NULL;
    if (bits < DMSG_RSA_BITS_MIN || bits > DMSG_RSA_BITS_MAX ||
        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &modulus) != 1 || !BN_is_odd(modulus) ||
        EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_E, &exponent) != 1)
        return false;
    if (BN_is_zero(exponent)) {
        BN_free(exponent);
        exponent = encoded_exponent(key);
    }
    if (exponent == NULL || BN_num_bits(exponent) > 32)
        return false;
    BN_ULONG value = BN_get_word(exponent);
    return value >= DMSG_RSA_EXPONENT_MIN && value <= DMSG_RSA_EXPONENT_MAX && value % 2 == 1;
}

static unsigned purposes_of_key(const EVP_PKEY *key)
{
    const unsigned both = DMSG_FOR_SIGNATURES | DMSG_FOR_ENCRYPTION;
    if (EVP_PKEY_is_a(key, "RSA"))
        return rsa_in_table(key) ? both : 0;
    if (EVP_PKEY_is_a(key, "EC"))
        return curve_of(key) != NULL ? both : 0;
    if (EVP_PKEY_is_a(key, "ED25519"))
        return DMSG_FOR_SIGNATURES;
    if (EVP_PKEY_is_a(key, "X25519"))
        return DMSG_FOR_ENCRYPTION;
    return 0;
}

int dmsg_key_find_purposes(
    unsigned *out, const EVP_PKEY *key, const X509 *certificate, struct dmsg_error *error)
{
    unsigned purposes = purposes_of_key(key);
    bool memory = dmsg_openssl_lacked_memory();
    struct dmsg_key_usage usage = {0};
    if (purposes == 0 && memory)
        return dmsg_fail_memory(error);
    int read = certificate != NULL ? dmsg_certificate_key_usage(&usage, certificate, error) : 0;
    if (read == DMSG_E_INTERNAL)
        return read;
    if (read < 0)
        purposes = 0;
    if (usage.present && !usage.digital_signature)
        purposes &= ~(unsigned)DMSG_FOR_SIGNATURES;
    bool to_us = EVP_PKEY_is_a(key, "RSA") ? usage.key_encipherment : usage.key_agreement;
    if (usage.present && !to_us)
        purposes &= ~(unsigned)DMSG_FOR_ENCRYPTION;
    *out = purposes;
    return 0;
}

unsigned dmsg_key_purposes(const EVP_PKEY *key, const X509 *certificate)
{
    unsigned purposes = 0;
    return dmsg_key_find_purposes(&purposes, key, certificate, NULL) < 0 ? 0 : purposes;
}

int dmsg_key_id_of_spki(
    char kid[static DMSG_KEY_ID_SIZE], struct dmsg_span spki, struct dmsg_error *error)
{
    uint8_t digest[SHA256_DIGEST_LENGTH];
    size_t size = 0;
    if (EVP_Q_digest(NULL, "SHA256", NULL, spki.data, spki.size, digest, &size) != 1)
        return dmsg_fail_openssl(error, "SHA-256 of a public key");
    dmsg_base64url_encode(kid, (struct dmsg_span){digest, sizeof digest});
    kid[DMSG_KEY_ID_SIZE - 1] = '\0';
    return 0;
}

int dmsg_key_id(char kid[static DMSG_KEY_ID_SIZE], const EVP_PKEY *key, struct dmsg_error *error)
{
    DMSG_CLEANUP(cleanup_openssl) unsigned char *spki = NULL;
    int size = i2d_PUBKEY(key, &spki);
    if (size <= 0)
        return dmsg_fail_openssl(error, "encoding a public key");
    return dmsg_key_id_of_spki(kid, (struct dmsg_span){spki, (size_t)size}, error);
}

void dmsg_key_describe(char out[static DMSG_KEY_DESCRIPTION_SIZE], const EVP_PKEY *key)
{
    const char *curve = EVP_PKEY_is_a(key, "EC") ? curve_of(key) : NULL;
    if (curve != NULL)
        snprintf(out, DMSG_KEY_DESCRIPTION_SIZE, "EC %s", curve);
    else if (EVP_PKEY_is_a(key, "RSA"))
        snprintf(out, DMSG_KEY_DESCRIPTION_SIZE, "RSA %d", EVP_PKEY_get_bits(key));
    else if (EVP_PKEY_is_a(key, "ED25519"))
        snprintf(out, DMSG_KEY_DESCRIPTION_SIZE, "Ed25519");
    else if (EVP_PKEY_is_a(key, "X25519"))
        snprintf(out, DMSG_KEY_DESCRIPTION_SIZE, "X25519");
    else
        snprintf(out, DMSG_KEY_DESCRIPTION_SIZE, "unknown");
    ERR_clear_error();
}
