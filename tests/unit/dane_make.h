/* Keys, certificates and records for the tests of dane, made with OpenSSL. */
#ifndef DANEMSG_DANE_MAKE_H
#define DANEMSG_DANE_MAKE_H

#include "danemsg/span.h"
#include "set_date.h"

#include <openssl/evp.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

/* "P-256", "P-384", "P-521", "secp256k1", "Ed25519", "X25519", "RSA2048", "RSA1024". */
__attribute__((unused)) static EVP_PKEY *make_key(const char *type)
{
    if (strncmp(type, "RSA", 3) == 0)
        return EVP_RSA_gen((unsigned)atoi(type + 3));
    if (strcmp(type, "Ed25519") == 0 || strcmp(type, "X25519") == 0)
        return EVP_PKEY_Q_keygen(NULL, NULL, type);
    return EVP_EC_gen(type);
}

struct make {
    EVP_PKEY *key;
    const char *key_usage; /* "digitalSignature,keyAgreement"; NULL: no extension */
    int64_t not_before, not_after;
    EVP_PKEY *signer; /* NULL: key itself */
};

__attribute__((unused)) static X509 *make_certificate(const struct make *make)
{
    X509 *x509 = X509_new();
    EVP_PKEY *signer = make->signer != NULL ? make->signer : make->key;
    X509_NAME *subject = X509_get_subject_name(x509);
    X509_set_version(x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_NAME_add_entry_by_txt(
        subject, "CN", MBSTRING_ASC, (const unsigned char *)"a.example", -1, -1, 0);
    X509_set_issuer_name(x509, subject);
    set_date(X509_getm_notBefore(x509), make->not_before);
    set_date(X509_getm_notAfter(x509), make->not_after);
    X509_set_pubkey(x509, make->key);
    if (make->key_usage != NULL) {
        X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, NULL, NID_key_usage, make->key_usage);
        X509_add_ext(x509, extension, -1);
        X509_EXTENSION_free(extension);
    }
    X509_sign(x509, signer, EVP_PKEY_is_a(signer, "ED25519") ? NULL : EVP_sha256());
    return x509;
}

/* rdata: the three fields and data. */
__attribute__((unused)) static struct dmsg_span make_rdata(struct dmsg_buffer *out, uint8_t usage,
    uint8_t selector, uint8_t matching, struct dmsg_span data)
{
    dmsg_buffer_put_byte(out, usage);
    dmsg_buffer_put_byte(out, selector);
    dmsg_buffer_put_byte(out, matching);
    dmsg_buffer_put_span(out, data);
    return dmsg_buffer_span(out);
}

__attribute__((unused)) static void put_certificate(struct dmsg_buffer *out, X509 *x509)
{
    unsigned char *der = NULL;
    int size = i2d_X509(x509, &der);
    if (size > 0)
        dmsg_buffer_put(out, der, (size_t)size);
    OPENSSL_free(der);
}

__attribute__((unused)) static void put_public_key(struct dmsg_buffer *out, EVP_PKEY *key)
{
    unsigned char *der = NULL;
    int size = i2d_PUBKEY(key, &der);
    if (size > 0)
        dmsg_buffer_put(out, der, (size_t)size);
    OPENSSL_free(der);
}

#endif
