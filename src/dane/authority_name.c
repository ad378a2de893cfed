/* Where the issuer of a certificate is found: names and identifiers, no network. */
#include "base/fail.h"
#include "dane/authority.h"

#include <openssl/x509v3.h>
#include <string.h>

/* Two hexadecimal digits and a dash, or the NUL, for each. */
#define KEY_ID_MAX (DMSG_AKI_TEXT / 3)

int dmsg_authority_host(
    struct dmsg_name *out, const struct dmsg_name *name, struct dmsg_error *error)
{
    const char *from = NULL;
    for (const char *label = name->text; label != NULL;) {
        if (label[0] == '_')
            from = label + 1;
        label = strchr(label, '.');
        if (label != NULL)
            label++;
    }
    if (from == NULL)
        return dmsg_fail(error, DMSG_E_NAME,
            "%s has no authority host: no label of it begins with an underscore", name->text);
    if (dmsg_name_parse(out, dmsg_span_text(from), NULL) < 0)
        return dmsg_fail(error, DMSG_E_NAME,
            "%s has no authority host: '%s' is none that could be asked", name->text, from);
    return 0;
}

int dmsg_authority_key_id(
    char out[static DMSG_AKI_TEXT], const X509 *certificate, struct dmsg_error *error)
{
    /* It fills in what the extensions say, once, and takes no const for that. */
    union {
        const X509 *in;
        X509 *out;
    } pointer = {.in = certificate};
    const ASN1_OCTET_STRING *key_id = X509_get0_authority_key_id(pointer.out);
    int size = key_id != NULL ? ASN1_STRING_length(key_id) : 0;
    if (size == 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "it has no authority key identifier (RFC 5280 section 4.2.1.1) to find its issuer by");
    if (size > KEY_ID_MAX)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "its authority key identifier has %d octets, where %d are possible", size, KEY_ID_MAX);
    const unsigned char *octets = ASN1_STRING_get0_data(key_id);
    for (int i = 0; i < size; i++)
        snprintf(out + 3 * i, 4, "%02x%s", octets[i], i < size - 1 ? "-" : "");
    return 0;
}
