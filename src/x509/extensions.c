#include "x509/extensions.h"

#include "base/cleanup.h"
#include "base/fail.h"

#include <openssl/sha.h>

/* KeyUsage's bits (RFC 5280 section 4.2.1.3). */
enum { DIGITAL_SIGNATURE = 0, KEY_ENCIPHERMENT = 2, KEY_AGREEMENT = 4 };

#define ADD_CRITICAL 1
#define ADD_PLAIN 0

DMSG_DEFINE_CLEANUP(cleanup_general_names, GENERAL_NAMES *, GENERAL_NAMES_free)
DMSG_DEFINE_CLEANUP(cleanup_general_name, GENERAL_NAME *, GENERAL_NAME_free)
DMSG_DEFINE_CLEANUP(cleanup_authority, AUTHORITY_KEYID *, AUTHORITY_KEYID_free)
DMSG_DEFINE_CLEANUP(cleanup_constraints, BASIC_CONSTRAINTS *, BASIC_CONSTRAINTS_free)
DMSG_DEFINE_CLEANUP(cleanup_octets, ASN1_OCTET_STRING *, ASN1_OCTET_STRING_free)
DMSG_DEFINE_CLEANUP(cleanup_bits, ASN1_BIT_STRING *, ASN1_BIT_STRING_free)
DMSG_DEFINE_CLEANUP(cleanup_public, X509_PUBKEY *, X509_PUBKEY_free)

void dmsg_cleanup_extensions(STACK_OF(X509_EXTENSION) * *extensions)
{
    sk_X509_EXTENSION_pop_free(*extensions, X509_EXTENSION_free);
}

static bool add(STACK_OF(X509_EXTENSION) * *to, int nid, void *value, int critical)
{
    return value != NULL && X509V3_add1_i2d(to, nid, value, critical, X509V3_ADD_DEFAULT) == 1;
}

static bool add_names(
    STACK_OF(X509_EXTENSION) * *to, const struct dmsg_name *name, bool empty_subject)
{
    DMSG_CLEANUP(cleanup_general_names) GENERAL_NAMES *names = GENERAL_NAMES_new();
    DMSG_CLEANUP(cleanup_general_name) GENERAL_NAME *entry = GENERAL_NAME_new();
    ASN1_IA5STRING *text = ASN1_IA5STRING_new();
    if (text == NULL || ASN1_STRING_set(text, name->text, name->size) != 1 || entry == NULL) {
        ASN1_IA5STRING_free(text);
        return false;
    }
    GENERAL_NAME_set0_value(entry, GEN_DNS, text);
    if (names == NULL || sk_GENERAL_NAME_push(names, entry) <= 0)
        return false;
    entry = NULL;
    return add(to, NID_subject_alt_name, names, empty_subject ? ADD_CRITICAL : ADD_PLAIN);
}

static bool add_key_usage(STACK_OF(X509_EXTENSION) * *to, const EVP_PKEY *key, unsigned purposes)
{
    DMSG_CLEANUP(cleanup_bits) ASN1_BIT_STRING *bits = ASN1_BIT_STRING_new();
    bool sign = (purposes & DMSG_FOR_SIGNATURES) != 0;
    bool decrypt = (purposes & DMSG_FOR_ENCRYPTION) != 0;
    bool encipher = decrypt && EVP_PKEY_is_a(key, "RSA");
    bool agree = decrypt && !encipher;
    return bits != NULL && ASN1_BIT_STRING_set_bit(bits, DIGITAL_SIGNATURE, sign) == 1 &&
           ASN1_BIT_STRING_set_bit(bits, KEY_ENCIPHERMENT, encipher) == 1 &&
           ASN1_BIT_STRING_set_bit(bits, KEY_AGREEMENT, agree) == 1 &&
           add(to, NID_key_usage, bits, ADD_CRITICAL);
}

/* RFC 5280 section 4.2.1.2, method 1: SHA-1 of the key's BIT STRING. An identifier, no security. */
static ASN1_OCTET_STRING *key_identifier(EVP_PKEY *key)
{
    uint8_t digest[SHA_DIGEST_LENGTH];
    const unsigned char *bits = NULL;
    int size = 0;
    size_t digest_size = 0;
    DMSG_CLEANUP(cleanup_public) X509_PUBKEY *holder = NULL;
    DMSG_CLEANUP(cleanup_octets) ASN1_OCTET_STRING *made = ASN1_OCTET_STRING_new();
    if (made == NULL || X509_PUBKEY_set(&holder, key) != 1 ||
        X509_PUBKEY_get0_param(NULL, &bits, &size, NULL, holder) != 1 ||
        EVP_Q_digest(NULL, "SHA1", NULL, bits, (size_t)size, digest, &digest_size) != 1 ||
        ASN1_OCTET_STRING_set(made, digest, sizeof digest) != 1)
        return NULL;
    ASN1_OCTET_STRING *out = made;
    made = NULL;
    return out;
}

static bool add_identifiers(STACK_OF(X509_EXTENSION) * *to, EVP_PKEY *key, EVP_PKEY *issuer)
{
    DMSG_CLEANUP(cleanup_octets) ASN1_OCTET_STRING *own = key_identifier(key);
    DMSG_CLEANUP(cleanup_authority) AUTHORITY_KEYID *authority = AUTHORITY_KEYID_new();
    if (own == NULL || authority == NULL)
        return false;
    authority->keyid = key_identifier(issuer);
    return authority->keyid != NULL && add(to, NID_subject_key_identifier, own, ADD_PLAIN) &&
           add(to, NID_authority_key_identifier, authority, ADD_PLAIN);
}

static bool add_end_entity(STACK_OF(X509_EXTENSION) * *to)
{
    DMSG_CLEANUP(cleanup_constraints) BASIC_CONSTRAINTS *none = BASIC_CONSTRAINTS_new();
    return add(to, NID_basic_constraints, none, ADD_PLAIN);
}

int dmsg_extensions_for_certificate(STACK_OF(X509_EXTENSION) * *out, const struct dmsg_name *name,
    bool empty_subject, EVP_PKEY *key, unsigned purposes, EVP_PKEY *issuer,
    struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_extensions) STACK_OF(X509_EXTENSION) *made = NULL;
    if (!add_identifiers(&made, key, issuer) || !add_key_usage(&made, key, purposes) ||
        !add_end_entity(&made) || !add_names(&made, name, empty_subject))
        return dmsg_fail_openssl(error, "making a certificate's extensions");
    *out = made;
    made = NULL;
    return 0;
}

int dmsg_extensions_for_request(STACK_OF(X509_EXTENSION) * *out, const struct dmsg_name *name,
    bool empty_subject, EVP_PKEY *key, unsigned purposes, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_extensions) STACK_OF(X509_EXTENSION) *made = NULL;
    if (!add_key_usage(&made, key, purposes) || !add_names(&made, name, empty_subject))
        return dmsg_fail_openssl(error, "making a request's extensions");
    *out = made;
    made = NULL;
    return 0;
}
