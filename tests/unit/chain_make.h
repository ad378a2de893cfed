/* Certificates of CAs and of those whom they certify, for tests that judge chains. */
#ifndef DANEMSG_CHAIN_MAKE_H
#define DANEMSG_CHAIN_MAKE_H

#include "dane_make.h"

#define MADE_NOW 1800000000 /* 2027-01-15T08:00:00Z */
#define MADE_DAY 86400

struct made {
    EVP_PKEY *key;
    X509 *x509;
};

/* What is left out is what a good certificate has. */
struct certify {
    const char *type;        /* of the key: "P-256" */
    const char *subject;     /* CN */
    const char *names;       /* SAN: "DNS:a.example"; NULL: none */
    const char *constraints; /* basicConstraints: "critical,CA:TRUE"; NULL: none */
    const char *key_usage;   /* "keyCertSign"; NULL: none */
    int other_nid;           /* one more extension, for instance NID_ext_key_usage */
    const char *other;
    int64_t not_before, not_after; /* 0: a day before and a thousand days after MADE_NOW */
    bool sha1;
};

__attribute__((unused)) static void certify_extend(
    X509 *x509, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX context;
    if (value == NULL)
        return;
    X509V3_set_ctx(&context, issuer, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &context, nid, value);
    if (extension == NULL || X509_add_ext(x509, extension, -1) != 1)
        abort();
    X509_EXTENSION_free(extension);
}

/* issuer NULL: self-signed. */
__attribute__((unused)) static struct made certify(
    const struct certify *wanted, const struct made *issuer)
{
    static long serial;
    struct made made = {
        .key = make_key(wanted->type != NULL ? wanted->type : "P-256"), .x509 = X509_new()};
    const struct made *by = issuer != NULL ? issuer : &made;
    X509_set_version(made.x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(made.x509), ++serial);
    if (wanted->subject != NULL)
        X509_NAME_add_entry_by_txt(X509_get_subject_name(made.x509), "CN", MBSTRING_ASC,
            (const unsigned char *)wanted->subject, -1, -1, 0);
    X509_set_issuer_name(made.x509, X509_get_subject_name(by->x509));
    set_date(X509_getm_notBefore(made.x509),
        wanted->not_before != 0 ? wanted->not_before : MADE_NOW - MADE_DAY);
    set_date(X509_getm_notAfter(made.x509),
        wanted->not_after != 0 ? wanted->not_after : MADE_NOW + 1000 * MADE_DAY);
    X509_set_pubkey(made.x509, made.key);
    certify_extend(made.x509, by->x509, NID_subject_key_identifier, "hash");
    certify_extend(made.x509, by->x509, NID_authority_key_identifier, "keyid");
    certify_extend(made.x509, by->x509, NID_subject_alt_name, wanted->names);
    certify_extend(made.x509, by->x509, NID_basic_constraints, wanted->constraints);
    certify_extend(made.x509, by->x509, NID_key_usage, wanted->key_usage);
    certify_extend(made.x509, by->x509, wanted->other_nid, wanted->other);
    const EVP_MD *digest = wanted->sha1 ? EVP_sha1() : EVP_sha256();
    if (X509_sign(made.x509, by->key, EVP_PKEY_is_a(by->key, "ED25519") ? NULL : digest) <= 0)
        abort();
    return made;
}

__attribute__((unused)) static void made_done(struct made *made)
{
    EVP_PKEY_free(made->key);
    X509_free(made->x509);
    *made = (struct made){0};
}

#endif
