/*
 * An identity: a DNS name of one's own, with its private keys and certificates.
 *
 *     struct dmsg_identity *me;
 *     dmsg_identity_load(&me, &context, "/var/lib/danemsg/identity", &name, &error);
 *     ...
 *     dmsg_identity_free(&me);
 *
 * Files, as the proof of concept has them, in one folder: NAME.key.pem (0600), NAME.crt.pem,
 * NAME.csr.pem; NAME.enc.key.pem, NAME.enc.crt.pem where decryption has a key of its own (an
 * Ed25519 identity: X25519); NAME.next.* and NAME.old.* during a rollover. In the place of
 * a key file NAME.key.uri (0600) says in one line where a key in hardware is: `handle:0x81000001`
 * in a TPM, `pkcs11:token=...;object=...` (RFC 7512). Its operations are done in a library context
 * of its own.
 */
#ifndef DANEMSG_IDENTITY_H
#define DANEMSG_IDENTITY_H

#include "danemsg/context.h"
#include "danemsg/name.h"

#ifdef __cplusplus
extern "C" {
#endif

/* base64url(SHA-256(SubjectPublicKeyInfo)) and a NUL. */
#define DMSG_KEY_ID_SIZE 44

/* Issuers that a message may carry beside the own certificate (x5c). */
#define DMSG_ISSUERS_MAX 3

enum dmsg_key_purpose {
    DMSG_FOR_SIGNATURES = 1, /* to sign (own), to verify (another's) */
    DMSG_FOR_ENCRYPTION = 2, /* to decrypt (own), to be encrypted to (another's) */
};

enum dmsg_key_role { DMSG_KEY_CURRENT, DMSG_KEY_NEXT, DMSG_KEY_OLD };

struct dmsg_identity_key {
    enum dmsg_key_role role;
    unsigned purposes;                  /* enum dmsg_key_purpose, at least one */
    EVP_PKEY *key;                      /* private */
    const struct dmsg_context *context; /* in which its operations are done: the identity's, or of
                                           its own for a key in hardware */
    char *uri; /* of a key in hardware, for people: without its PIN; NULL: it was in a file */
    X509 *certificate; /* NULL when there is none yet */
    /* Who issued the certificate, who issued that, and so on; none for a self-signed one, and when
       the file holds no more than the certificate. */
    X509 *issuers[DMSG_ISSUERS_MAX];
    size_t issuer_count;
    char kid[DMSG_KEY_ID_SIZE];
};

struct dmsg_identity;

/*
 * Reads the files of a name. DMSG_E_LOCAL: no such file, or not readable as PEM, or the key file's
 * mode lets others read it, or certificate and key do not belong together, or what follows the
 * certificate in its file is not its issuers, in order, three at most; DMSG_E_CERTIFICATE: a
 * key that the table has no use for, a certificate that is not one; the text names the file and
 * what to do. DMSG_E_NAME: no name for a file. A missing certificate is no error (usage 3, selector
 * 1 needs none). A NAME.enc.* key is for encryption only, whatever its type. Not judged: dates, and
 * whether the certificate bears the name. context must outlive the identity.
 *
 * A key in hardware: DMSG_E_LOCAL also when its token, the key in it or the Debian package for it
 * is missing, or a key file is there too; DMSG_E_CERTIFICATE when the token does not take the PIN,
 * which must not be tried again unchanged. The identity and all that is made with it is then for
 * one thread at a time, and must be freed before the identity.
 */
int dmsg_identity_load(struct dmsg_identity **out, const struct dmsg_context *context,
    const char *folder, const struct dmsg_name *name, struct dmsg_error *error) DMSG_MUST_CHECK;

/* As dmsg_identity_load, of the same name, while the one before is in use: both share
   what keys in hardware need, since a token may have one user at a time. Either may be freed first.
 */
int dmsg_identity_load_again(struct dmsg_identity **out, const struct dmsg_context *context,
    const char *folder, const struct dmsg_identity *before,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* An identity without files, for tests and for keys that live elsewhere. */
int dmsg_identity_new(struct dmsg_identity **out, const struct dmsg_context *context,
    const struct dmsg_name *name, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Adds a key; takes references of its own. Purposes follow from the key's type and, when there is
   a certificate with KeyUsage, from that. DMSG_E_CERTIFICATE when the table has no use for it, or
   the certificate is another key's; DMSG_E_USAGE for a ninth key. */
int dmsg_identity_add(struct dmsg_identity *identity, enum dmsg_key_role role, EVP_PKEY *key,
    X509 *certificate, struct dmsg_error *error) DMSG_MUST_CHECK;

/* The next issuer of a key's certificate; takes a reference of its own. DMSG_E_USAGE: no such key,
   it has no certificate or as many issuers as a message can carry; DMSG_E_CERTIFICATE: it did not
   issue the one before. */
int dmsg_identity_add_issuer(struct dmsg_identity *identity, size_t index, X509 *issuer,
    struct dmsg_error *error) DMSG_MUST_CHECK;

void dmsg_identity_free(struct dmsg_identity **identity);

/* Borrowed, valid as long as the identity. */
const struct dmsg_name *dmsg_identity_name(const struct dmsg_identity *identity);
size_t dmsg_identity_key_count(const struct dmsg_identity *identity);
const struct dmsg_identity_key *dmsg_identity_key_get(
    const struct dmsg_identity *identity, size_t index);

/* The current key for a purpose, one made for nothing else before one that also does; NULL when
   there is none. */
const struct dmsg_identity_key *dmsg_identity_current(
    const struct dmsg_identity *identity, enum dmsg_key_purpose purpose);

#ifdef __cplusplus
}
#endif

#endif
