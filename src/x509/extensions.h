/* The extensions of our certificates and signing requests (RFC 5280 section 4.2.1). */
#ifndef DANEMSG_X509_EXTENSIONS_H
#define DANEMSG_X509_EXTENSIONS_H

#include "danemsg/error.h"
#include "danemsg/identity.h"
#include "danemsg/name.h"

#include <openssl/evp.h>
#include <openssl/x509.h>
#include <openssl/x509v3.h>

/* subjectKeyIdentifier, authorityKeyIdentifier, KeyUsage, CA:FALSE, subjectAltName. key: the
   subject's, with what it can be used for (enum dmsg_key_purpose); issuer: the one that signs. *out
   is the caller's to free. */
int dmsg_extensions_for_certificate(STACK_OF(X509_EXTENSION) * *out, const struct dmsg_name *name,
    bool empty_subject, EVP_PKEY *key, unsigned purposes, EVP_PKEY *issuer,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* KeyUsage and subjectAltName; the rest is the CA's to say. */
int dmsg_extensions_for_request(STACK_OF(X509_EXTENSION) * *out, const struct dmsg_name *name,
    bool empty_subject, EVP_PKEY *key, unsigned purposes, struct dmsg_error *error) DMSG_MUST_CHECK;

/* For DMSG_CLEANUP. */
void dmsg_cleanup_extensions(STACK_OF(X509_EXTENSION) * *extensions);

#endif
