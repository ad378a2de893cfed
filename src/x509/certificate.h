/*
 * Certificates and public keys of others, read strictly: one DER encoding, bounded, nothing after
 * it, and only key types that the table of doc/PROTOCOL.md has.
 *
 *     struct dmsg_certificate certificate;
 *     if (dmsg_certificate_parse(&certificate, der, &error) < 0)
 *         ...
 *     ... certificate.kid, certificate.purposes, certificate.not_after ...
 *     dmsg_certificate_done(&certificate);
 *
 * Not checked here: the signature on the certificate, its issuer, its dates. Who relies on those
 * judges them (doc/PROTOCOL.md, "Which key speaks for a name").
 */
#ifndef DANEMSG_X509_CERTIFICATE_H
#define DANEMSG_X509_CERTIFICATE_H

#include "danemsg/error.h"
#include "danemsg/identity.h"
#include "danemsg/name.h"
#include "danemsg/span.h"

#include <openssl/x509.h>

/* Octets of one certificate, and of one SubjectPublicKeyInfo. RSA-8192 needs 2.5 KiB and 1.1 KiB;
   above, only padding and the time to parse it would come. */
#define DMSG_CERTIFICATE_MAX 16384
#define DMSG_PUBLIC_KEY_MAX 2048

/* RSA modulus in bits and the public exponent, which must be odd too. Below is weak; above only
   costs time. As in the table of src/jose. */
#define DMSG_RSA_BITS_MIN 2048
#define DMSG_RSA_BITS_MAX 8192
#define DMSG_RSA_EXPONENT_MIN 65537UL
#define DMSG_RSA_EXPONENT_MAX 4294967295UL

/* Longest key description with its NUL. */
#define DMSG_KEY_DESCRIPTION_SIZE 24

/* RFC 5280 section 4.2.1.3. Without the extension every use is allowed. */
struct dmsg_key_usage {
    bool present;
    bool digital_signature;
    bool key_encipherment;
    bool key_agreement;
};

struct dmsg_certificate {
    X509 *x509;             /* owned */
    EVP_PKEY *key;          /* owned, public */
    struct dmsg_buffer der; /* the octets that were parsed */
    struct dmsg_span spki;  /* SubjectPublicKeyInfo as it stands inside der */
    struct dmsg_key_usage usage;
    unsigned purposes;  /* dmsg_key_purposes(key, x509); 0: no use for it */
    int64_t not_before; /* seconds since 1970 */
    int64_t not_after;
    char kid[DMSG_KEY_ID_SIZE];
};

/*
 * Parses exactly one certificate (RFC 5280 section 4.1, v1 to v3). DMSG_E_SIZE: empty or over
 * DMSG_CERTIFICATE_MAX. DMSG_E_CERTIFICATE: not DER, octets after it, a key of a type outside the
 * table, an extension that cannot be read or comes twice. A key of a right type and wrong size
 * parses, with purposes 0. out is set on success only, and then the caller's to empty.
 */
int dmsg_certificate_parse(
    struct dmsg_certificate *out, struct dmsg_span der, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Appends a certificate's DER. DMSG_E_INTERNAL. */
int dmsg_certificate_put_der(
    struct dmsg_buffer *out, const X509 *certificate, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Frees what it holds; the struct is then zeroed. A zeroed one and NULL are allowed. */
void dmsg_certificate_done(struct dmsg_certificate *certificate);

/*
 * Parses exactly one SubjectPublicKeyInfo (RFC 5280 section 4.1.2.7) whose algorithm identifier
 * is that of RSA, P-256, P-384, P-521 (named curve), Ed25519 or X25519, in the one encoding that
 * gives back the same octets. DMSG_E_SIZE, DMSG_E_CERTIFICATE as above. The caller frees *out
 * (EVP_PKEY_free). Size and exponent are judged by dmsg_key_purposes.
 */
int dmsg_public_key_parse(
    EVP_PKEY **out, struct dmsg_span spki, struct dmsg_error *error) DMSG_MUST_CHECK;

/*
 * What the table lets a key do, as enum dmsg_key_purpose flags: RSA 2048 to 8192 and P-256, P-384,
 * P-521 both; Ed25519 signatures; X25519 encryption; all else 0. Narrowed by the certificate's
 * KeyUsage: digitalSignature to sign; keyEncipherment (RSA) or keyAgreement (EC, X25519) to be
 * encrypted to; a KeyUsage that cannot be read allows nothing. certificate may be NULL. Private
 * or public key alike.
 */
unsigned dmsg_key_purposes(const EVP_PKEY *key, const X509 *certificate);
/* The same, of a peer's, whom want of memory must not make look useless: 0 or DMSG_E_INTERNAL. */
int dmsg_key_find_purposes(unsigned *out, const EVP_PKEY *key, const X509 *certificate,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* base64url(SHA-256(SubjectPublicKeyInfo)), NUL-terminated: of a private or public key, and of
   the octets of a SubjectPublicKeyInfo. */
int dmsg_key_id(char kid[static DMSG_KEY_ID_SIZE], const EVP_PKEY *key,
    struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_key_id_of_spki(char kid[static DMSG_KEY_ID_SIZE], struct dmsg_span spki,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* "EC P-256", "RSA 2048", "Ed25519", "X25519"; "unknown" for other types. */
void dmsg_key_describe(char out[static DMSG_KEY_DESCRIPTION_SIZE], const EVP_PKEY *key);

/* KeyUsage of a certificate. 0, or DMSG_E_CERTIFICATE when it cannot be read or comes twice. */
int dmsg_certificate_key_usage(
    struct dmsg_key_usage *out, const X509 *certificate, struct dmsg_error *error) DMSG_MUST_CHECK;

/* notBefore and notAfter in seconds since 1970. DMSG_E_CERTIFICATE when they are no times. */
int dmsg_certificate_dates(int64_t *not_before, int64_t *not_after, const X509 *certificate,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* As dmsg_certificate_bears_name: 1, 0, or DMSG_E_INTERNAL without memory. */
int dmsg_certificate_find_name(
    X509 *certificate, const struct dmsg_name *name, struct dmsg_error *error) DMSG_MUST_CHECK;
/* A SAN dNSName equal to the name, ASCII case aside; no wildcard is expanded, the subject is never
   looked at (RFC 6125 section 6.4). */
bool dmsg_certificate_bears_name(X509 *certificate, const struct dmsg_name *name);

/* Append the subject, the issuer ("CN=a, O=b"), and the SAN ("DNS:a.example, DNS:b.example"), one
   line of printable ASCII each; nothing when empty. For people: not to be compared. */
void dmsg_certificate_put_subject(struct dmsg_buffer *out, const X509 *certificate);
void dmsg_certificate_put_issuer(struct dmsg_buffer *out, const X509 *certificate);
void dmsg_certificate_put_names(struct dmsg_buffer *out, const X509 *certificate);
/* "4a0f...", and "ecdsa-with-SHA256": what it says it is signed with, which nobody checked. */
void dmsg_certificate_put_serial(struct dmsg_buffer *out, const X509 *certificate);
void dmsg_certificate_put_signature_algorithm(struct dmsg_buffer *out, const X509 *certificate);

/* The extensions, index from 0: the name ("keyUsage", or an OID), and what it says, in words where
   they are known ("digital signature, key agreement"), else its size. For people, as above. */
int dmsg_certificate_extension_count(const X509 *certificate);
bool dmsg_certificate_extension_critical(const X509 *certificate, int index);
void dmsg_certificate_put_extension_name(
    struct dmsg_buffer *out, const X509 *certificate, int index);
void dmsg_certificate_put_extension_value(
    struct dmsg_buffer *out, const X509 *certificate, int index);

#endif
