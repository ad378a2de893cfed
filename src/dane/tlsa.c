#include "dane/tlsa.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "danemsg/resolver.h"

#include <openssl/crypto.h>
#include <openssl/err.h>
#include <string.h>

/* usage, selector, matching type (RFC 6698 section 2.1). */
#define FIELDS_SIZE 3

/* By matching type; RFC 6698 section 2.1.3. Full has no digest. */
static const struct {
    const char *name;
    size_t size;
} digests[] = {
    [DMSG_TLSA_FULL] = {NULL, 0},
    [DMSG_TLSA_SHA256] = {"SHA256", 32},
    [DMSG_TLSA_SHA512] = {"SHA512", 64},
};

static void cleanup_openssl(unsigned char **pointer)
{
    OPENSSL_free(*pointer);
}

int dmsg_tlsa_parse(struct dmsg_tlsa *out, struct dmsg_span rdata, struct dmsg_error *error)
{
    if (rdata.size <= FIELDS_SIZE)
        return dmsg_fail(error, DMSG_E_FORMAT,
            "a TLSA record of %zu octets; RFC 6698 section 2.1 needs 4 or more", rdata.size);
    if (rdata.size > DMSG_TLSA_RDATA_MAX)
        return dmsg_fail(error, DMSG_E_FORMAT, "a TLSA record of %zu octets; the limit is %d",
            rdata.size, DMSG_TLSA_RDATA_MAX);
    struct dmsg_tlsa tlsa = {.usage = rdata.data[0],
        .selector = rdata.data[1],
        .matching_type = rdata.data[2],
        .data = {rdata.data + FIELDS_SIZE, rdata.size - FIELDS_SIZE}};
    bool digest = tlsa.matching_type == DMSG_TLSA_SHA256 || tlsa.matching_type == DMSG_TLSA_SHA512;
    if (digest && tlsa.data.size != digests[tlsa.matching_type].size)
        return dmsg_fail(error, DMSG_E_FORMAT,
            "a TLSA record whose %s digest has %zu octets (RFC 6698 section 2.1.3)",
            dmsg_tlsa_matching_word(tlsa.matching_type), tlsa.data.size);
    *out = tlsa;
    return 0;
}

/* The octets that the selector selects (RFC 6698 section 2.1.2), in DER. */
static int select_octets(unsigned char **der, uint8_t selector, const X509 *certificate,
    const EVP_PKEY *key, struct dmsg_error *error)
{
    if (certificate == NULL && (selector == DMSG_TLSA_CERT || key == NULL))
        return dmsg_fail(error, DMSG_E_USAGE, "a TLSA record with selector %u needs a %s", selector,
            selector == DMSG_TLSA_CERT ? "certificate" : "public key or a certificate");
    int size;
    if (selector == DMSG_TLSA_CERT)
        size = i2d_X509(certificate, der);
    else if (key != NULL)
        size = i2d_PUBKEY(key, der);
    else
        size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), der);
    if (size <= 0)
        return dmsg_fail_openssl(error, "encoding for a TLSA record");
    return size;
}

static bool fields_in_range(uint8_t usage, uint8_t selector, uint8_t matching_type)
{
    if (usage == DMSG_PKIX_CD)
        return selector == DMSG_TLSA_CERT && matching_type == DMSG_TLSA_FULL;
    return usage <= DMSG_DANE_EE && selector <= DMSG_TLSA_SPKI && matching_type <= DMSG_TLSA_SHA512;
}

int dmsg_tlsa_encode(struct dmsg_buffer *out, uint8_t usage, uint8_t selector,
    uint8_t matching_type, const X509 *certificate, const EVP_PKEY *key, struct dmsg_error *error)
{
    if (!fields_in_range(usage, selector, matching_type))
        return dmsg_fail(error, DMSG_E_USAGE,
            "no such TLSA record: %u %u %u. Usage is 0 to 3, selector 0 or 1, matching type 0 to 2 "
            "(RFC 6698 section 2.1); usage 4 has only 4 0 0",
            usage, selector, matching_type);
    DMSG_CLEANUP(cleanup_openssl) unsigned char *der = NULL;
    int size = select_octets(&der, selector, certificate, key, error);
    if (size < 0)
        return size;

    unsigned char digest[EVP_MAX_MD_SIZE];
    struct dmsg_span data = {der, (size_t)size};
    if (matching_type != DMSG_TLSA_FULL) {
        size_t length = 0;
        if (EVP_Q_digest(
                NULL, digests[matching_type].name, NULL, der, (size_t)size, digest, &length) != 1)
            return dmsg_fail_openssl(error, "digest for a TLSA record");
        data = (struct dmsg_span){digest, length};
    }
    if (FIELDS_SIZE + data.size > DMSG_TLSA_RDATA_MAX)
        return dmsg_fail(error, DMSG_E_SIZE, "a TLSA record of %zu octets; readers stop at %d",
            FIELDS_SIZE + data.size, DMSG_TLSA_RDATA_MAX);
    uint8_t fields[FIELDS_SIZE] = {usage, selector, matching_type};
    size_t before = out->size;
    dmsg_buffer_put(out, fields, sizeof fields);
    dmsg_buffer_put_span(out, data);
    if (out->failed) {
        out->size = before;
        return dmsg_fail(
            error, DMSG_E_SIZE, "no room for a TLSA record of %zu octets", FIELDS_SIZE + data.size);
    }
    return 0;
}

int dmsg_tlsa_match(const struct dmsg_tlsa *tlsa, struct dmsg_span certificate,
    struct dmsg_span public_key, struct dmsg_error *error)
{
    if (tlsa->selector > DMSG_TLSA_SPKI || tlsa->matching_type > DMSG_TLSA_SHA512)
        return 0;
    struct dmsg_span selected = tlsa->selector == DMSG_TLSA_CERT ? certificate : public_key;
    if (selected.size == 0)
        return 0;
    if (tlsa->matching_type == DMSG_TLSA_FULL)
        return dmsg_span_equal(tlsa->data, selected);

    unsigned char digest[EVP_MAX_MD_SIZE];
    size_t length = 0;
    if (EVP_Q_digest(NULL, digests[tlsa->matching_type].name, NULL, selected.data, selected.size,
            digest, &length) != 1)
        return dmsg_fail_openssl(error, "digest of a certificate");
    return dmsg_span_equal(tlsa->data, (struct dmsg_span){digest, length});
}

int dmsg_tlsa_match_x509(const struct dmsg_tlsa *tlsa, const X509 *certificate, const EVP_PKEY *key,
    struct dmsg_error *error)
{
    DMSG_CLEANUP(cleanup_openssl) unsigned char *der = NULL;
    if (tlsa->selector > DMSG_TLSA_SPKI ||
        (certificate == NULL && tlsa->selector == DMSG_TLSA_CERT))
        return 0;
    int size = select_octets(&der, tlsa->selector, certificate, key, error);
    struct dmsg_span octets = {der, size > 0 ? (size_t)size : 0};
    return size < 0 ? size : dmsg_tlsa_match(tlsa, octets, octets, error);
}

static const char *word(const char *const *words, size_t count, uint8_t value, const char *private)
{
    if (value < count)
        return words[value];
    return value == UINT8_MAX ? private : "unassigned";
}

const char *dmsg_tlsa_usage_word(uint8_t usage)
{
    static const char *const words[] = {"PKIX-TA", "PKIX-EE", "DANE-TA", "DANE-EE", "PKIX-CD"};
    return word(words, sizeof words / sizeof words[0], usage, "PrivCert");
}

const char *dmsg_tlsa_selector_word(uint8_t selector)
{
    static const char *const words[] = {"Cert", "SPKI"};
    return word(words, sizeof words / sizeof words[0], selector, "PrivSel");
}

const char *dmsg_tlsa_matching_word(uint8_t matching_type)
{
    static const char *const words[] = {"Full", "SHA2-256", "SHA2-512"};
    return word(words, sizeof words / sizeof words[0], matching_type, "PrivMatch");
}
