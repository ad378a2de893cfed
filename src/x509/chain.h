/*
 * Certificate chains: from a leaf to an anchor (RFC 5280 section 6).
 *
 *     struct dmsg_chain chain = {.leaf = leaf, .untrusted = issuers, .anchors = anchors,
 *         .name = &name, .now = now};
 *     if (dmsg_chain_judge(&chain, NULL, &error) < 0)
 *         ...
 *
 * Judged: signatures, dates of every certificate, CA flag, path length, keyCertSign, name
 * constraints, critical extensions that nobody knows; the name that the leaf must bear; keys of CAs
 * are of the table's types and sizes, and no signature is made with SHA-1 or weaker. Not judged:
 * extended key usage (the leaf is no TLS server), revocation, policies, and what may be done with
 * the leaf's own key (dmsg_key_purposes).
 */
#ifndef DANEMSG_X509_CHAIN_H
#define DANEMSG_X509_CHAIN_H

#include "danemsg/error.h"
#include "danemsg/name.h"
#include "danemsg/span.h"

#include <openssl/x509.h>

/* Certificates between the leaf and the anchor: three of a message and one of --ca-file. More only
   costs time. */
#define DMSG_CHAIN_BETWEEN_MAX 4

struct dmsg_chain {
    X509 *leaf;
    STACK_OF(X509) * untrusted; /* intermediates in any order; may be NULL */
    /* Where it may end: the system's CAs, or, with NULL there, one of these. They need not be
       self-signed, and the leaf itself may be among them: who does not want that looks. */
    X509_STORE *system;
    STACK_OF(X509) * anchors;
    const struct dmsg_name *name; /* that the leaf must bear; NULL: any */
    int64_t now;                  /* seconds since 1970 */
};

/*
 * 0; DMSG_E_CERTIFICATE: the text says what is wrong with which certificate; DMSG_E_INTERNAL.
 * *verified (when not NULL) gets the chain that was found, leaf first and anchor last, with
 * references that the caller frees (dmsg_chain_free).
 */
int dmsg_chain_judge(const struct dmsg_chain *chain, STACK_OF(X509) * *verified,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* The leaf's name alone: what dmsg_chain_judge does with chain->name. */
int dmsg_chain_judge_name(
    X509 *leaf, const struct dmsg_name *name, struct dmsg_error *error) DMSG_MUST_CHECK;

/* The dates between which all certificates of a chain are valid; narrows *from and *to. */
int dmsg_chain_dates(int64_t *from, int64_t *to, const STACK_OF(X509) * chain,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* A certificate that is signed by a key and by nothing weaker than dmsg_chain_judge takes: for an
   anchor that is a bare public key. 1, 0, or DMSG_E_INTERNAL. */
int dmsg_chain_signed_by(
    X509 *certificate, EVP_PKEY *key, struct dmsg_error *error) DMSG_MUST_CHECK;

/* The CAs of this system, as OpenSSL finds them (SSL_CERT_FILE, SSL_CERT_DIR). Reading them takes
   some milliseconds; the store may be shared by threads. X509_STORE_free. */
int dmsg_chain_system(X509_STORE **out, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Frees the stack and its references. NULL is allowed; *chain is NULL afterwards. */
void dmsg_chain_free(STACK_OF(X509) * *chain);

/* Appends a reference of its own. DMSG_E_INTERNAL: no memory. *chain NULL: makes a stack. */
int dmsg_chain_add(
    STACK_OF(X509) * *chain, X509 *certificate, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
