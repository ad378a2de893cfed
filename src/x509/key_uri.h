/*
 * The URI of a key in hardware: `handle:0x81000001`, an object of a TPM, or
 * `pkcs11:token=…;object=…` (RFC 7512), which may carry a PIN.
 *
 *     DMSG_CLEANUP(dmsg_key_uri_done) struct dmsg_key_uri uri = {0};
 *     dmsg_key_uri_parse(&uri, dmsg_span_text("pkcs11:object=device"), &error);
 *     ... uri.shown, in every text that anybody reads ...
 */
#ifndef DANEMSG_X509_KEY_URI_H
#define DANEMSG_X509_KEY_URI_H

#include "danemsg/error.h"
#include "danemsg/span.h"

/* Octets of a URI: every attribute of RFC 7512 has at most some dozens, a path more. With a NUL. */
#define DMSG_KEY_URI_SIZE 1025

enum dmsg_key_uri_kind { DMSG_KEY_URI_HANDLE, DMSG_KEY_URI_PKCS11 };

struct dmsg_key_uri {
    enum dmsg_key_uri_kind kind;
    char text[DMSG_KEY_URI_SIZE];   /* as it was given: may hold a PIN */
    char shown[DMSG_KEY_URI_SIZE];  /* without pin-value */
    char object[DMSG_KEY_URI_SIZE]; /* without module-path and module-name: may hold a PIN */
    char module[DMSG_KEY_URI_SIZE]; /* module-path, decoded; empty without one */
};

/* Is it a URI and no key type? It has a scheme. */
bool dmsg_key_uri_is_one(const char *text);

/* DMSG_E_LOCAL: not printable ASCII without spaces, too long, of another scheme, a handle that is
   no number, or one whose password somebody would have to type, pkcs11: without object or id. The
   text never holds a PIN. */
int dmsg_key_uri_parse(
    struct dmsg_key_uri *out, struct dmsg_span text, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Wipes it. */
void dmsg_key_uri_done(struct dmsg_key_uri *uri);

#endif
