/* PEM (RFC 7468) to objects and back. Text of private keys exists only in wiped memory. */
#ifndef DANEMSG_X509_PEM_H
#define DANEMSG_X509_PEM_H

#include "danemsg/context.h"
#include "danemsg/error.h"
#include "danemsg/span.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

/*
 * Reads the one private key in a PEM text: PKCS #8, PKCS #1 or SEC1, not encrypted, and consistent
 * in itself. Certificates and EC parameters beside it are passed over. DMSG_E_LOCAL: there is
 * none, more than one, it is encrypted, cut off, or its halves do not belong together.
 */
int dmsg_pem_read_private_key(EVP_PKEY **out, const struct dmsg_context *context,
    struct dmsg_span text, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Appends the DER of the first certificate in a PEM text. DMSG_E_LOCAL: there is none. */
int dmsg_pem_read_certificate(
    struct dmsg_buffer *der, struct dmsg_span text, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Calls `each` with the DER of every certificate in a PEM text, in their order; what it returns
   ends the reading unless it is 0. DMSG_E_LOCAL: there is none. */
typedef int dmsg_pem_each(void *user, struct dmsg_span der, struct dmsg_error *error);
int dmsg_pem_read_certificates(struct dmsg_span text, dmsg_pem_each *each, void *user,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Append PEM: PKCS #8 without encryption, a certificate, a certificate signing request. */
int dmsg_pem_put_private_key(
    struct dmsg_buffer *out, const EVP_PKEY *key, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_pem_put_certificate(
    struct dmsg_buffer *out, X509 *certificate, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_pem_put_request(
    struct dmsg_buffer *out, X509_REQ *request, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
