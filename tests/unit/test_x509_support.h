/* Keys and certificates of every good and bad kind, for the tests of src/x509. */
#ifndef DANEMSG_TEST_X509_SUPPORT_H
#define DANEMSG_TEST_X509_SUPPORT_H

#include "base/cleanup.h"
#include "danemsg/identity.h"
#include "set_date.h"
#include "test.h"
#include "x509/certificate.h"
#include "x509/create.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509v3.h>

#define ROWS(table) (sizeof(table) / sizeof((table)[0]))

/* 2026-01-01T00:00:00Z */
#define TEST_NOW 1767225600

static const struct dmsg_context plain_context;

static inline int64_t test_now(void *user)
{
    (void)user;
    return TEST_NOW;
}

static inline struct dmsg_name name_of(const char *text)
{
    struct dmsg_name name = {0};
    CHECK(dmsg_name_parse(&name, dmsg_span_text(text), NULL) == 0);
    return name;
}

static inline struct dmsg_buffer buffer_of(unsigned char *der, int size)
{
    struct dmsg_buffer out = {0};
    CHECK(size > 0);
    dmsg_buffer_put(&out, der, size > 0 ? (size_t)size : 0);
    OPENSSL_free(der);
    return out;
}

static inline struct dmsg_buffer spki_of(const EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int size = i2d_PUBKEY(key, &der);
    return buffer_of(der, size);
}

static inline struct dmsg_buffer der_of(const X509 *certificate)
{
    unsigned char *der = NULL;
    int size = i2d_X509(certificate, &der);
    return buffer_of(der, size);
}

/* "EC:prime256v1", "RSA:1024", "RSA-PSS:2048", "ED25519", ... */
static inline EVP_PKEY *key_of(const char *kind)
{
    char type[16];
    EVP_PKEY *key = NULL;
    const char *colon = strchr(kind, ':');
    snprintf(
        type, sizeof type, "%.*s", colon != NULL ? (int)(colon - kind) : (int)strlen(kind), kind);
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    CHECK(maker != NULL && EVP_PKEY_keygen_init(maker) == 1);
    if (strcmp(type, "EC") == 0)
        CHECK(EVP_PKEY_CTX_set_group_name(maker, colon + 1) == 1);
    else if (colon != NULL)
        CHECK(EVP_PKEY_CTX_set_rsa_keygen_bits(maker, atoi(colon + 1)) == 1);
    CHECK(EVP_PKEY_generate(maker, &key) == 1);
    EVP_PKEY_CTX_free(maker);
    return key;
}

/* A public RSA key of this size: nobody has the private half, nobody needs it here. */
static inline EVP_PKEY *rsa_with(int bits, const char *exponent_hex, int bottom)
{
    EVP_PKEY *key = NULL;
    BIGNUM *modulus = BN_new(), *exponent = NULL;
    CHECK(BN_rand(modulus, bits, BN_RAND_TOP_ONE, bottom) == 1);
    CHECK(BN_hex2bn(&exponent, exponent_hex) > 0);
    OSSL_PARAM_BLD *builder = OSSL_PARAM_BLD_new();
    CHECK(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_N, modulus) == 1);
    CHECK(OSSL_PARAM_BLD_push_BN(builder, OSSL_PKEY_PARAM_RSA_E, exponent) == 1);
    OSSL_PARAM *parameters = OSSL_PARAM_BLD_to_param(builder);
    EVP_PKEY_CTX *maker = EVP_PKEY_CTX_new_from_name(NULL, "RSA", NULL);
    CHECK(EVP_PKEY_fromdata_init(maker) == 1);
    CHECK(EVP_PKEY_fromdata(maker, &key, EVP_PKEY_PUBLIC_KEY, parameters) == 1);
    EVP_PKEY_CTX_free(maker);
    OSSL_PARAM_free(parameters);
    OSSL_PARAM_BLD_free(builder);
    BN_free(exponent);
    BN_free(modulus);
    return key;
}

static inline EVP_PKEY *rsa_of(int bits, const char *exponent_hex)
{
    return rsa_with(bits, exponent_hex, BN_RAND_BOTTOM_ODD);
}

/* No product of two primes. */
static inline EVP_PKEY *even_rsa(void)
{
    EVP_PKEY *key;
    BIGNUM *modulus = NULL;
    do {
        key = rsa_with(2048, "010001", BN_RAND_BOTTOM_ANY);
        BN_free(modulus);
        modulus = NULL;
        CHECK(EVP_PKEY_get_bn_param(key, OSSL_PKEY_PARAM_RSA_N, &modulus) == 1);
        if (BN_is_odd(modulus)) {
            EVP_PKEY_free(key);
            key = NULL;
        }
    } while (key == NULL);
    BN_free(modulus);
    return key;
}

struct wanted_extension {
    int nid;
    const char *value; /* as openssl.cnf has it, "DER:..." included */
};

struct wanted_certificate {
    EVP_PKEY *key;    /* NULL: a P-256 key of its own */
    EVP_PKEY *signer; /* NULL: key */
    struct wanted_extension extensions[4];
    const char *common_name;
    int64_t not_before, not_after; /* 0 and 0: around now */
};

static inline void add_wanted_extension(X509 *to, const struct wanted_extension *wanted)
{
    X509_EXTENSION *made = NULL;
    if (strncmp(wanted->value, "DER:", 4) == 0) {
        long size = 0;
        unsigned char *raw = OPENSSL_hexstr2buf(wanted->value + 4, &size);
        ASN1_OCTET_STRING *octets = ASN1_OCTET_STRING_new();
        ASN1_OCTET_STRING_set(octets, raw, (int)size);
        made = X509_EXTENSION_create_by_NID(NULL, wanted->nid, 1, octets);
        ASN1_OCTET_STRING_free(octets);
        OPENSSL_free(raw);
    } else {
        made = X509V3_EXT_conf_nid(NULL, NULL, wanted->nid, wanted->value);
    }
    CHECK(made != NULL && X509_add_ext(to, made, -1) == 1);
    X509_EXTENSION_free(made);
}

static inline X509 *certificate_of(const struct wanted_certificate *wanted)
{
    EVP_PKEY *key = wanted->key;
    if (key != NULL)
        EVP_PKEY_up_ref(key);
    else
        key = key_of("EC:prime256v1");
    EVP_PKEY *signer = wanted->signer != NULL ? wanted->signer : key;
    X509 *made = X509_new();
    CHECK(X509_set_version(made, X509_VERSION_3) == 1);
    ASN1_INTEGER_set(X509_get_serialNumber(made), 77);
    if (wanted->not_after != 0) {
        set_date(X509_getm_notBefore(made), wanted->not_before);
        set_date(X509_getm_notAfter(made), wanted->not_after);
    } else {
        X509_gmtime_adj(X509_getm_notBefore(made), -60);
        X509_gmtime_adj(X509_getm_notAfter(made), 3600);
    }
    if (wanted->common_name != NULL)
        X509_NAME_add_entry_by_txt(X509_get_subject_name(made), "CN", MBSTRING_UTF8,
            (const unsigned char *)wanted->common_name, -1, -1, 0);
    CHECK(X509_set_pubkey(made, key) == 1);
    for (size_t i = 0; i < ROWS(wanted->extensions); i++)
        if (wanted->extensions[i].nid != 0)
            add_wanted_extension(made, &wanted->extensions[i]);
    bool own_digest = EVP_PKEY_is_a(signer, "ED25519");
    CHECK(X509_sign(made, signer, own_digest ? NULL : EVP_sha256()) > 0);
    EVP_PKEY_free(key);
    return made;
}

static inline struct dmsg_buffer der_of_wanted(const struct wanted_certificate *wanted)
{
    X509 *certificate = certificate_of(wanted);
    struct dmsg_buffer der = der_of(certificate);
    X509_free(certificate);
    return der;
}

#endif
