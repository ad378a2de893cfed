#include "x509/certificate.h"

#include "base/cleanup.h"
#include "base/date.h"
#include "base/fail.h"
#include "x509/der.h"

#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <time.h>

DMSG_DEFINE_CLEANUP(cleanup_bit_string, ASN1_BIT_STRING *, ASN1_BIT_STRING_free)

/* KeyUsage's bits as named in RFC 5280 section 4.2.1.3. */
enum { BIT_DIGITAL_SIGNATURE = 0, BIT_KEY_ENCIPHERMENT = 2, BIT_KEY_AGREEMENT = 4 };

int dmsg_certificate_key_usage(
    struct dmsg_key_usage *out, const X509 *certificate, struct dmsg_error *error)
{
    int critical = 0;
    DMSG_CLEANUP(cleanup_bit_string)
    ASN1_BIT_STRING *bits = X509_get_ext_d2i(certificate, NID_key_usage, &critical, NULL);
    bool memory = dmsg_openssl_lacked_memory();
    if (bits == NULL && memory)
        return dmsg_fail_memory(error);
    if (bits == NULL && critical != -1)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "the certificate's KeyUsage cannot be read or comes twice (RFC 5280 section 4.2)");
    *out = (struct dmsg_key_usage){.present = bits != NULL};
    if (bits != NULL) {
        out->digital_signature = ASN1_BIT_STRING_get_bit(bits, BIT_DIGITAL_SIGNATURE);
        out->key_encipherment = ASN1_BIT_STRING_get_bit(bits, BIT_KEY_ENCIPHERMENT);
        out->key_agreement = ASN1_BIT_STRING_get_bit(bits, BIT_KEY_AGREEMENT);
    }
    return 0;
}

static bool read_time(int64_t *out, const ASN1_TIME *from)
{
    struct tm broken_down = {0};
    if (from == NULL || ASN1_TIME_to_tm(from, &broken_down) != 1)
        return false;
    *out = dmsg_date_seconds(&broken_down);
    return true;
}

int dmsg_certificate_dates(
    int64_t *not_before, int64_t *not_after, const X509 *certificate, struct dmsg_error *error)
{
    int64_t from = 0, to = 0;
    bool good = read_time(&from, X509_get0_notBefore(certificate)) &&
                read_time(&to, X509_get0_notAfter(certificate));
    ERR_clear_error();
    if (!good)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "the certificate's dates cannot be read (RFC 5280 section 4.1.2.5)");
    *not_before = from;
    *not_after = to;
    return 0;
}

/* Where SubjectPublicKeyInfo stands in a Certificate (RFC 5280 section 4.1). */
static bool find_spki(struct dmsg_span *spki, struct dmsg_span der)
{
    struct dmsg_der outer = {.rest = der}, certificate, tbs;
    dmsg_der_enter(&outer, DMSG_DER_SEQUENCE, &certificate);
    dmsg_der_enter(&certificate, DMSG_DER_SEQUENCE, &tbs);
    dmsg_der_skip_optional(&tbs, DMSG_DER_CONTEXT_0);   /* version */
    dmsg_der_take(&tbs, DMSG_DER_INTEGER, NULL, NULL);  /* serialNumber */
    dmsg_der_take(&tbs, DMSG_DER_SEQUENCE, NULL, NULL); /* signature */
    dmsg_der_take(&tbs, DMSG_DER_SEQUENCE, NULL, NULL); /* issuer */
    dmsg_der_take(&tbs, DMSG_DER_SEQUENCE, NULL, NULL); /* validity */
    dmsg_der_take(&tbs, DMSG_DER_SEQUENCE, NULL, NULL); /* subject */
    dmsg_der_take(&tbs, DMSG_DER_SEQUENCE, spki, NULL);
    return !tbs.failed;
}

/* DER has one encoding of everything (X.690 section 10). Cheap: the signed part is not encoded
 * anew. */
static bool encodes_back(const X509 *x509, struct dmsg_span der)
{
    unsigned char *octets = NULL;
    int size = i2d_X509(x509, &octets);
    bool same = size > 0 && dmsg_span_equal(der, (struct dmsg_span){octets, (size_t)size});
    OPENSSL_free(octets);
    return same;
}

static int fill_in(struct dmsg_certificate *made, struct dmsg_error *error)
{
    if (!dmsg_der_well_formed(dmsg_buffer_span(&made->der)) ||
        !find_spki(&made->spki, dmsg_buffer_span(&made->der)))
        return dmsg_fail(
            error, DMSG_E_CERTIFICATE, "not exactly one certificate in DER (RFC 5280 section 4.1)");
    int status = dmsg_public_key_parse(&made->key, made->spki, error);
    if (status < 0)
        return status;

    const unsigned char *position = made->der.data;
    made->x509 = d2i_X509(NULL, &position, (long)made->der.size);
    /* Reads the extensions once, now, so that later looks at them only read; -1: no purpose. */
    bool readable = made->x509 != NULL && position == made->der.data + made->der.size &&
                    X509_check_purpose(made->x509, -1, 0) == 1 &&
                    encodes_back(made->x509, dmsg_buffer_span(&made->der));
    bool memory = dmsg_openssl_lacked_memory();
    if (!readable && memory)
        return dmsg_fail_memory(error);
    if (!readable)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "the certificate does not parse, or an extension in it is invalid or comes twice "
            "(RFC 5280 section 4.2)");

    status = dmsg_certificate_key_usage(&made->usage, made->x509, error);
    if (status == 0)
        status = dmsg_certificate_dates(&made->not_before, &made->not_after, made->x509, error);
    if (status == 0)
        status = dmsg_key_id_of_spki(made->kid, made->spki, error);
    if (status == 0)
        status = dmsg_key_find_purposes(&made->purposes, made->key, made->x509, error);
    return status;
}

int dmsg_certificate_parse(
    struct dmsg_certificate *out, struct dmsg_span der, struct dmsg_error *error)
{
    if (der.size == 0 || der.size > DMSG_CERTIFICATE_MAX)
        return dmsg_fail(error, DMSG_E_SIZE,
            "certificate of %zu octets, where 1 to %d are possible", der.size,
            DMSG_CERTIFICATE_MAX);
    DMSG_CLEANUP(dmsg_certificate_done) struct dmsg_certificate made = {0};
    dmsg_buffer_put_span(&made.der, der);
    if (made.der.failed)
        return dmsg_fail_memory(error);
    int status = fill_in(&made, error);
    if (status < 0)
        return status;
    *out = made;
    made = (struct dmsg_certificate){0};
    return 0;
}

int dmsg_certificate_put_der(
    struct dmsg_buffer *out, const X509 *certificate, struct dmsg_error *error)
{
    unsigned char *der = NULL;
    int size = i2d_X509(certificate, &der);
    if (size <= 0)
        return dmsg_fail_openssl(error, "encoding a certificate");
    dmsg_buffer_put(out, der, (size_t)size);
    OPENSSL_free(der);
    return out->failed ? dmsg_fail_memory(error) : 0;
}

void dmsg_certificate_done(struct dmsg_certificate *certificate)
{
    if (certificate == NULL)
        return;
    X509_free(certificate->x509);
    EVP_PKEY_free(certificate->key);
    dmsg_buffer_done(&certificate->der);
    *certificate = (struct dmsg_certificate){0};
}

int dmsg_certificate_find_name(
    X509 *certificate, const struct dmsg_name *name, struct dmsg_error *error)
{
    const unsigned flags = X509_CHECK_FLAG_NO_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT;
    int found = X509_check_host(certificate, name->text, name->size, flags, NULL);
    bool memory = dmsg_openssl_lacked_memory();
    return found != 1 && memory ? dmsg_fail_memory(error) : found == 1;
}

bool dmsg_certificate_bears_name(X509 *certificate, const struct dmsg_name *name)
{
    return dmsg_certificate_find_name(certificate, name, NULL) == 1;
}
