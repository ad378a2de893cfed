#include "x509/create.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "x509/certificate.h"
#include "x509/extensions.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/err.h>
#include <openssl/rsa.h>
#include <stdlib.h>
#include <string.h>

/* Octets of a serial number: positive, unique without a register (RFC 5280 section 4.1.2.2 allows
   20). */
#define SERIAL_SIZE 16

/* Upper bounds of attributes, in characters (RFC 5280 appendix A.1). */
#define COMMON_NAME_MAX 64
#define ORGANIZATION_MAX 64
#define PLACE_MAX 128

struct key_type {
    const char *word;
    const char *algorithm; /* as OpenSSL's key managers are called */
    const char *group;
    unsigned bits;
    const char *digest; /* NULL: the algorithm has its own */
};

static const struct key_type key_types[] = {
    [DMSG_KEY_P256] = {"p256", "EC", "P-256", 0, "SHA256"},
    [DMSG_KEY_P384] = {"p384", "EC", "P-384", 0, "SHA384"},
    [DMSG_KEY_P521] = {"p521", "EC", "P-521", 0, "SHA512"},
    [DMSG_KEY_ED25519] = {"ed25519", "ED25519", NULL, 0, NULL},
    [DMSG_KEY_RSA2048] = {"rsa2048", "RSA", NULL, 2048, "SHA256"},
    [DMSG_KEY_RSA3072] = {"rsa3072", "RSA", NULL, 3072, "SHA256"},
    [DMSG_KEY_RSA4096] = {"rsa4096", "RSA", NULL, 4096, "SHA256"},
};

static const struct key_type x25519 = {"x25519", "X25519", NULL, 0, NULL};

DMSG_DEFINE_CLEANUP(cleanup_x509_name, X509_NAME *, X509_NAME_free)
DMSG_DEFINE_CLEANUP(cleanup_request, X509_REQ *, X509_REQ_free)
DMSG_DEFINE_CLEANUP(cleanup_bn, BIGNUM *, BN_free)
DMSG_DEFINE_CLEANUP(cleanup_md, EVP_MD *, EVP_MD_free)

int dmsg_key_type_parse(enum dmsg_key_type *out, const char *word, struct dmsg_error *error)
{
    for (size_t i = 0; i < sizeof key_types / sizeof key_types[0]; i++) {
        if (strcmp(key_types[i].word, word) == 0) {
            *out = (enum dmsg_key_type)i;
            return 0;
        }
    }
    return dmsg_fail(
        error, DMSG_E_USAGE, "key type %s is not one of %s", word, DMSG_KEY_TYPE_WORDS);
}

static int generate(EVP_PKEY **out, const struct dmsg_context *context, const struct key_type *type,
    struct dmsg_error *error)
{
    char group[16];
    size_t bits = type->bits;
    OSSL_PARAM parameters[] = {OSSL_PARAM_END, OSSL_PARAM_END};
    if (type->group != NULL) {
        snprintf(group, sizeof group, "%s", type->group);
        parameters[0] = OSSL_PARAM_construct_utf8_string(OSSL_PKEY_PARAM_GROUP_NAME, group, 0);
    } else if (bits != 0) {
        parameters[0] = OSSL_PARAM_construct_size_t(OSSL_PKEY_PARAM_RSA_BITS, &bits);
    }
    DMSG_CLEANUP(dmsg_cleanup_pkey_ctx)
    EVP_PKEY_CTX *maker =
        EVP_PKEY_CTX_new_from_name(context->library, type->algorithm, context->properties);
    EVP_PKEY *made = NULL;
    if (maker == NULL || EVP_PKEY_keygen_init(maker) != 1 ||
        EVP_PKEY_CTX_set_params(maker, parameters) != 1 || EVP_PKEY_generate(maker, &made) != 1)
        return dmsg_fail_openssl(error, "making a key");
    *out = made;
    return 0;
}

/* ------------------------------------------------------------------------------- the subject */

struct attribute {
    int nid;
    const char *value; /* NULL or empty: left out */
    size_t least, most;
    const char *variable; /* what the user set it with */
};

static bool attribute_fits(const struct attribute *attribute)
{
    struct dmsg_span rest = dmsg_span_text(attribute->value);
    size_t characters = 0;
    while (rest.size > 0) {
        uint32_t point;
        size_t length = dmsg_utf8_next(rest, &point);
        if (length == 0 || point < 0x20 || (point >= 0x7f && point < 0xa0))
            return false;
        if (attribute->nid == NID_countryName && ((point | 0x20) < 'a' || (point | 0x20) > 'z'))
            return false;
        rest = (struct dmsg_span){rest.data + length, rest.size - length};
        characters++;
    }
    return characters >= attribute->least && characters <= attribute->most;
}

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static int make_subject(
    X509_NAME *out, const struct dmsg_creation *wanted, struct dmsg_error *error)
{
    const struct dmsg_subject *subject = &wanted->subject;
    bool any = given(subject->country) || given(subject->state) || given(subject->locality) ||
               given(subject->organization);
    bool common_name = any && wanted->name->size <= COMMON_NAME_MAX;
    const struct attribute attributes[] = {
        {NID_countryName, subject->country, 2, 2, "COUNTRY"},
        {NID_stateOrProvinceName, subject->state, 1, PLACE_MAX, "STATE"},
        {NID_localityName, subject->locality, 1, PLACE_MAX, "LOCALITY"},
        {NID_organizationName, subject->organization, 1, ORGANIZATION_MAX, "ORGANIZATION"},
        {NID_commonName, common_name ? wanted->name->text : NULL, 1, COMMON_NAME_MAX, "name"},
    };
    for (size_t i = 0; i < sizeof attributes / sizeof attributes[0]; i++) {
        const struct attribute *attribute = &attributes[i];
        if (!given(attribute->value))
            continue;
        if (!attribute_fits(attribute))
            return dmsg_fail(error, DMSG_E_USAGE,
                "%s of the subject must be %zu to %zu printable characters%s (RFC 5280 appendix "
                "A.1)",
                attribute->variable, attribute->least, attribute->most,
                attribute->nid == NID_countryName ? ", the country's two-letter code" : "");
        if (X509_NAME_add_entry_by_NID(out, attribute->nid, MBSTRING_UTF8,
                (const unsigned char *)attribute->value, -1, -1, 0) != 1)
            return dmsg_fail_openssl(error, "making the subject");
    }
    return 0;
}

/* --------------------------------------------------------------------- certificate and CSR */

struct signer {
    EVP_PKEY *key;
    const char *digest; /* NULL: the key's own */
    const struct dmsg_context *context;
    unsigned purposes;
};

/* Everything that is the same for each certificate of one creation. */
struct issue {
    const struct dmsg_context *context;
    const struct dmsg_creation *wanted;
    X509_NAME *subject; /* of issuer and subject alike */
    struct signer signer;
};

static int fetch_digest(EVP_MD **out, const struct issue *issue, struct dmsg_error *error)
{
    *out = NULL;
    if (issue->signer.digest == NULL)
        return 0;
    const struct dmsg_context *context = issue->signer.context;
    *out = EVP_MD_fetch(context->library, issue->signer.digest, context->properties);
    return *out == NULL ? dmsg_fail_openssl(error, "fetching a digest") : 0;
}

static int set_serial(X509 *certificate, const struct issue *issue, struct dmsg_error *error)
{
    uint8_t random[SERIAL_SIZE];
    if (dmsg_context_random(issue->context, random, sizeof random) < 0)
        return dmsg_fail(error, DMSG_E_INTERNAL, "making a serial number: no randomness");
    random[0] = (uint8_t)((random[0] & 0x7f) | 0x40); /* positive, and always of one length */
    DMSG_CLEANUP(cleanup_bn) BIGNUM *number = BN_bin2bn(random, sizeof random, NULL);
    if (number == NULL || BN_to_ASN1_INTEGER(number, X509_get_serialNumber(certificate)) == NULL)
        return dmsg_fail_openssl(error, "making a serial number");
    return 0;
}

static bool set_dates(X509 *certificate, const struct issue *issue)
{
    time_t now = (time_t)dmsg_context_now(issue->context);
    return ASN1_TIME_adj(X509_getm_notBefore(certificate), now, 0, 0) != NULL &&
           ASN1_TIME_adj(X509_getm_notAfter(certificate), now, issue->wanted->days, 0) != NULL;
}

static int certify(X509 **out, const struct issue *issue, EVP_PKEY *key, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_x509)
    X509 *made = X509_new_ex(issue->signer.context->library, issue->signer.context->properties);
    DMSG_CLEANUP(cleanup_md) EVP_MD *digest = NULL;
    DMSG_CLEANUP(dmsg_cleanup_extensions) STACK_OF(X509_EXTENSION) *extensions = NULL;
    int status = fetch_digest(&digest, issue, error);
    if (status == 0)
        status = dmsg_extensions_for_certificate(&extensions, issue->wanted->name,
            X509_NAME_entry_count(issue->subject) == 0, key,
            key == issue->signer.key ? issue->signer.purposes : DMSG_FOR_ENCRYPTION,
            issue->signer.key, error);
    if (status < 0)
        return status;
    if (made == NULL || X509_set_version(made, X509_VERSION_3) != 1 || !set_dates(made, issue) ||
        X509_set_issuer_name(made, issue->subject) != 1 ||
        X509_set_subject_name(made, issue->subject) != 1 || X509_set_pubkey(made, key) != 1)
        return dmsg_fail_openssl(error, "making a certificate");
    status = set_serial(made, issue, error);
    if (status < 0)
        return status;
    for (int i = 0; i < sk_X509_EXTENSION_num(extensions); i++)
        if (X509_add_ext(made, sk_X509_EXTENSION_value(extensions, i), -1) != 1)
            return dmsg_fail_openssl(error, "making a certificate's extensions");
    if (X509_sign(made, issue->signer.key, digest) <= 0)
        return dmsg_fail_openssl(error, "signing a certificate");
    *out = made;
    made = NULL;
    return 0;
}

/* PKCS #10 (RFC 2986) with the extensions asked for (RFC 2985 section 5.4.2). */
static int request(X509_REQ **out, const struct issue *issue, struct dmsg_error *error)
{
    DMSG_CLEANUP(cleanup_request)
    X509_REQ *made =
        X509_REQ_new_ex(issue->signer.context->library, issue->signer.context->properties);
    DMSG_CLEANUP(cleanup_md) EVP_MD *digest = NULL;
    DMSG_CLEANUP(dmsg_cleanup_extensions) STACK_OF(X509_EXTENSION) *extensions = NULL;
    int status = fetch_digest(&digest, issue, error);
    if (status == 0)
        status = dmsg_extensions_for_request(&extensions, issue->wanted->name,
            X509_NAME_entry_count(issue->subject) == 0, issue->signer.key, issue->signer.purposes,
            error);
    if (status < 0)
        return status;
    if (made == NULL || X509_REQ_set_version(made, X509_REQ_VERSION_1) != 1 ||
        X509_REQ_set_subject_name(made, issue->subject) != 1 ||
        X509_REQ_set_pubkey(made, issue->signer.key) != 1 ||
        X509_REQ_add_extensions(made, extensions) != 1 ||
        X509_REQ_sign(made, issue->signer.key, digest) <= 0)
        return dmsg_fail_openssl(error, "making a certificate signing request");
    *out = made;
    made = NULL;
    return 0;
}

static int check_wanted(const struct dmsg_creation *wanted, struct dmsg_error *error)
{
    if (wanted->name->size > DMSG_OWN_NAME_MAX)
        return dmsg_fail(error, DMSG_E_NAME,
            "the name has %d characters; an own name, which becomes a file name, at most %d",
            wanted->name->size, DMSG_OWN_NAME_MAX);
    if (wanted->days < 1 || wanted->days > DMSG_DAYS_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "a certificate is valid for 1 to %d days, not %d",
            DMSG_DAYS_MAX, wanted->days);
    return 0;
}

static const char *digest_for(const EVP_PKEY *key)
{
    char description[DMSG_KEY_DESCRIPTION_SIZE];
    dmsg_key_describe(description, key);
    for (size_t i = 0; i < sizeof key_types / sizeof key_types[0]; i++) {
        const struct key_type *type = &key_types[i];
        if (EVP_PKEY_is_a(key, type->algorithm) &&
            (type->group == NULL || strstr(description, type->group) != NULL))
            return type->digest;
    }
    return NULL;
}

/* The key of the certificate, made or taken, and what signs with it. */
static int find_signer(struct signer *out, struct dmsg_material *made,
    const struct dmsg_context *context, const struct dmsg_creation *wanted,
    struct dmsg_error *error)
{
    const struct dmsg_hardware_key *hardware = wanted->hardware;
    int status = 0;
    if (hardware == NULL) {
        status = generate(&made->key, context, &key_types[wanted->type], error);
    } else {
        made->uri = strdup(hardware->uri);
        if (made->uri == NULL)
            return dmsg_fail_memory(error);
        if (EVP_PKEY_up_ref(hardware->key) != 1)
            return dmsg_fail_openssl(error, "keeping a key");
        made->key = hardware->key;
    }
    if (status == 0)
        *out = (struct signer){made->key, digest_for(made->key),
            hardware != NULL ? hardware->context : context,
            hardware != NULL ? hardware->purposes : dmsg_key_purposes(made->key, NULL)};
    return status;
}

int dmsg_material_create(struct dmsg_material *out, const struct dmsg_context *context,
    const struct dmsg_creation *wanted, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_material_done) struct dmsg_material made = {0};
    DMSG_CLEANUP(cleanup_x509_name) X509_NAME *subject = X509_NAME_new();
    int status = check_wanted(wanted, error);
    if (status == 0)
        status = subject == NULL ? dmsg_fail_memory(error) : make_subject(subject, wanted, error);

    struct issue issue = {context, wanted, subject, {0}};
    if (status == 0)
        status = find_signer(&issue.signer, &made, context, wanted, error);
    if (status == 0)
        status = wanted->request ? request(&made.request, &issue, error)
                                 : certify(&made.certificate, &issue, made.key, error);
    if (status == 0 && (issue.signer.purposes & DMSG_FOR_ENCRYPTION) == 0) {
        status = generate(&made.encryption_key, context, &x25519, error);
        if (status == 0)
            status = certify(&made.encryption_certificate, &issue, made.encryption_key, error);
    }
    ERR_clear_error();
    if (status < 0)
        return status;
    *out = made;
    made = (struct dmsg_material){0};
    return 0;
}

void dmsg_material_done(struct dmsg_material *material)
{
    if (material == NULL)
        return;
    EVP_PKEY_free(material->key);
    if (material->uri != NULL)
        OPENSSL_cleanse(material->uri, strlen(material->uri));
    free(material->uri);
    X509_free(material->certificate);
    X509_REQ_free(material->request);
    EVP_PKEY_free(material->encryption_key);
    X509_free(material->encryption_certificate);
    *material = (struct dmsg_material){0};
}
