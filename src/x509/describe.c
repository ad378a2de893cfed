/* Certificates in words for people: one line of printable ASCII each, whatever is in them. */
#include "base/cleanup.h"
#include "x509/certificate.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>

/* Octets shown of a number or identifier: a serial number has 20 (RFC 5280 section 4.1.2.2), a key
   identifier 20 or 32. */
#define OCTETS_SHOWN 32

/* Longest name of an object: "1.2.3...", as many characters as are worth reading. */
#define OBJECT_NAME_MAX 80

/* Purposes named of an extendedKeyUsage. */
#define PURPOSES_SHOWN 16

DMSG_DEFINE_CLEANUP(cleanup_general_names, GENERAL_NAMES *, GENERAL_NAMES_free)
DMSG_DEFINE_CLEANUP(cleanup_bits, ASN1_BIT_STRING *, ASN1_BIT_STRING_free)
DMSG_DEFINE_CLEANUP(cleanup_octets, ASN1_OCTET_STRING *, ASN1_OCTET_STRING_free)
DMSG_DEFINE_CLEANUP(cleanup_authority, AUTHORITY_KEYID *, AUTHORITY_KEYID_free)
DMSG_DEFINE_CLEANUP(cleanup_constraints, BASIC_CONSTRAINTS *, BASIC_CONSTRAINTS_free)
DMSG_DEFINE_CLEANUP(cleanup_purposes, EXTENDED_KEY_USAGE *, EXTENDED_KEY_USAGE_free)

/* ---------------------------------------------------------------------------------------- names */

/* Commas and backslashes are escaped too, so that one name cannot look like two. */
static void put_escaped(struct dmsg_buffer *out, const ASN1_STRING *text)
{
    const unsigned char *data = ASN1_STRING_get0_data(text);
    for (int i = 0; i < ASN1_STRING_length(text); i++) {
        if (data[i] > 0x20 && data[i] < 0x7f && data[i] != ',' && data[i] != '\\')
            dmsg_buffer_put_byte(out, data[i]);
        else
            dmsg_buffer_format(out, "\\x%02X", data[i]);
    }
}

static void put_address(struct dmsg_buffer *out, const ASN1_OCTET_STRING *address)
{
    char text[INET6_ADDRSTRLEN];
    int size = ASN1_STRING_length(address);
    int family = size == 4 ? AF_INET : AF_INET6;
    if ((size == 4 || size == 16) &&
        inet_ntop(family, ASN1_STRING_get0_data(address), text, sizeof text) != NULL)
        dmsg_buffer_put_text(out, text);
    else
        dmsg_buffer_put_text(out, "?");
}

static void put_general_name(struct dmsg_buffer *out, const GENERAL_NAME *name)
{
    int type;
    void *value = GENERAL_NAME_get0_value(name, &type);
    switch (type) {
    case GEN_DNS:
    case GEN_URI:
    case GEN_EMAIL:
        dmsg_buffer_put_text(out, type == GEN_DNS ? "DNS:" : type == GEN_URI ? "URI:" : "email:");
        put_escaped(out, value);
        break;
    case GEN_IPADD:
        dmsg_buffer_put_text(out, "IP:");
        put_address(out, value);
        break;
    default:
        dmsg_buffer_put_text(out, "other");
    }
}

void dmsg_certificate_put_names(struct dmsg_buffer *out, const X509 *certificate)
{
    DMSG_CLEANUP(cleanup_general_names)
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    ERR_clear_error();
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++) {
        if (i > 0)
            dmsg_buffer_put_text(out, ", ");
        put_general_name(out, sk_GENERAL_NAME_value(names, i));
    }
}

/* RFC 4514 escapes, which leave printable ASCII only. */
static void put_distinguished_name(struct dmsg_buffer *out, const X509_NAME *name)
{
    const unsigned long flags = ASN1_STRFLGS_RFC2253 | XN_FLAG_SEP_CPLUS_SPC | XN_FLAG_FN_SN;
    DMSG_CLEANUP(dmsg_cleanup_bio) BIO *text = BIO_new(BIO_s_mem());
    char *data = NULL;
    if (text != NULL && X509_NAME_print_ex(text, name, 0, flags) >= 0) {
        long size = BIO_get_mem_data(text, &data);
        dmsg_buffer_put(out, data, size > 0 ? (size_t)size : 0);
    } else {
        out->failed = true;
    }
    ERR_clear_error();
}

void dmsg_certificate_put_subject(struct dmsg_buffer *out, const X509 *certificate)
{
    put_distinguished_name(out, X509_get_subject_name(certificate));
}

void dmsg_certificate_put_issuer(struct dmsg_buffer *out, const X509 *certificate)
{
    put_distinguished_name(out, X509_get_issuer_name(certificate));
}

/* ------------------------------------------------------------------------ numbers and algorithms
 */

static void put_octets(struct dmsg_buffer *out, const ASN1_STRING *octets)
{
    const unsigned char *data = ASN1_STRING_get0_data(octets);
    int size = ASN1_STRING_length(octets);
    for (int i = 0; i < size && i < OCTETS_SHOWN; i++)
        dmsg_buffer_format(out, "%02x", data[i]);
    if (size > OCTETS_SHOWN)
        dmsg_buffer_format(out, "... (%d octets)", size);
}

static void put_object(struct dmsg_buffer *out, const ASN1_OBJECT *object)
{
    char name[OBJECT_NAME_MAX] = "unknown";
    int nid = OBJ_obj2nid(object);
    if (nid != NID_undef)
        dmsg_buffer_put_text(out, OBJ_nid2sn(nid));
    else if (OBJ_obj2txt(name, sizeof name, object, 1) <= 0)
        dmsg_buffer_put_text(out, "unknown");
    else
        dmsg_buffer_put_text(out, name);
}

void dmsg_certificate_put_serial(struct dmsg_buffer *out, const X509 *certificate)
{
    const ASN1_INTEGER *serial = X509_get0_serialNumber(certificate);
    if (ASN1_STRING_type(serial) == V_ASN1_NEG_INTEGER)
        dmsg_buffer_put_byte(out, '-');
    put_octets(out, serial);
}

void dmsg_certificate_put_signature_algorithm(struct dmsg_buffer *out, const X509 *certificate)
{
    const ASN1_OBJECT *object = NULL;
    X509_ALGOR_get0(&object, NULL, NULL, X509_get0_tbs_sigalg(certificate));
    put_object(out, object);
}

/* ----------------------------------------------------------------------------------- extensions */

static void put_key_usage(struct dmsg_buffer *out, X509_EXTENSION *extension)
{
    /* In the order of their bits (RFC 5280 section 4.2.1.3). */
    static const char *const words[] = {"digital signature", "content commitment",
        "key encipherment", "data encipherment", "key agreement", "certificate signing",
        "CRL signing", "encipher only", "decipher only"};
    DMSG_CLEANUP(cleanup_bits) ASN1_BIT_STRING *bits = X509V3_EXT_d2i(extension);
    const char *comma = "";
    for (int i = 0; bits != NULL && i < (int)(sizeof words / sizeof words[0]); i++) {
        if (!ASN1_BIT_STRING_get_bit(bits, i))
            continue;
        dmsg_buffer_format(out, "%s%s", comma, words[i]);
        comma = ", ";
    }
    if (comma[0] == '\0')
        dmsg_buffer_put_text(out, bits != NULL ? "nothing" : "cannot be read");
}

static void put_constraints(struct dmsg_buffer *out, X509_EXTENSION *extension)
{
    DMSG_CLEANUP(cleanup_constraints) BASIC_CONSTRAINTS *read = X509V3_EXT_d2i(extension);
    if (read == NULL)
        dmsg_buffer_put_text(out, "cannot be read");
    else if (!read->ca)
        dmsg_buffer_put_text(out, "not a CA");
    else if (read->pathlen == NULL)
        dmsg_buffer_put_text(out, "a CA");
    else
        dmsg_buffer_format(
            out, "a CA, with at most %ld CAs below it", ASN1_INTEGER_get(read->pathlen));
}

static void put_purposes(struct dmsg_buffer *out, X509_EXTENSION *extension)
{
    DMSG_CLEANUP(cleanup_purposes) EXTENDED_KEY_USAGE *read = X509V3_EXT_d2i(extension);
    int count = read != NULL ? sk_ASN1_OBJECT_num(read) : 0;
    for (int i = 0; i < count && i < PURPOSES_SHOWN; i++) {
        dmsg_buffer_put_text(out, i > 0 ? ", " : "");
        put_object(out, sk_ASN1_OBJECT_value(read, i));
    }
    if (count > PURPOSES_SHOWN)
        dmsg_buffer_format(out, " and %d more", count - PURPOSES_SHOWN);
    if (count == 0)
        dmsg_buffer_put_text(out, read != NULL ? "nothing" : "cannot be read");
}

static void put_subject_key(struct dmsg_buffer *out, X509_EXTENSION *extension)
{
    DMSG_CLEANUP(cleanup_octets) ASN1_OCTET_STRING *read = X509V3_EXT_d2i(extension);
    if (read != NULL)
        put_octets(out, read);
    else
        dmsg_buffer_put_text(out, "cannot be read");
}

static void put_authority_key(struct dmsg_buffer *out, X509_EXTENSION *extension)
{
    DMSG_CLEANUP(cleanup_authority) AUTHORITY_KEYID *read = X509V3_EXT_d2i(extension);
    if (read != NULL && read->keyid != NULL)
        put_octets(out, read->keyid);
    else
        dmsg_buffer_put_text(out, read != NULL ? "no key identifier" : "cannot be read");
}

int dmsg_certificate_extension_count(const X509 *certificate)
{
    int count = X509_get_ext_count(certificate);
    return count > 0 ? count : 0;
}

bool dmsg_certificate_extension_critical(const X509 *certificate, int index)
{
    return X509_EXTENSION_get_critical(X509_get_ext(certificate, index)) != 0;
}

void dmsg_certificate_put_extension_name(
    struct dmsg_buffer *out, const X509 *certificate, int index)
{
    put_object(out, X509_EXTENSION_get_object(X509_get_ext(certificate, index)));
}

void dmsg_certificate_put_extension_value(
    struct dmsg_buffer *out, const X509 *certificate, int index)
{
    static const struct {
        int nid;
        void (*put)(struct dmsg_buffer *out, X509_EXTENSION *extension);
    } known[] = {{NID_key_usage, put_key_usage}, {NID_basic_constraints, put_constraints},
        {NID_ext_key_usage, put_purposes}, {NID_subject_key_identifier, put_subject_key},
        {NID_authority_key_identifier, put_authority_key}};
    X509_EXTENSION *extension = X509_get_ext(certificate, index);
    int nid = OBJ_obj2nid(X509_EXTENSION_get_object(extension));
    if (nid == NID_subject_alt_name) {
        dmsg_certificate_put_names(out, certificate);
        return;
    }
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        if (known[i].nid != nid)
            continue;
        known[i].put(out, extension);
        ERR_clear_error();
        return;
    }
    dmsg_buffer_format(out, "%d octets", ASN1_STRING_length(X509_EXTENSION_get_data(extension)));
}
