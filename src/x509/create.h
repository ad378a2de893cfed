/*
 * New keys, self-signed certificates and certificate signing requests for a name of one's own.
 *
 *     struct dmsg_material made;
 *     struct dmsg_creation wanted = {.name = &name, .type = DMSG_KEY_P256, .days = 3650};
 *     dmsg_material_create(&made, &context, &wanted, &error);
 *     ... dmsg_files_save(...) ...
 *     dmsg_material_done(&made);
 */
#ifndef DANEMSG_X509_CREATE_H
#define DANEMSG_X509_CREATE_H

#include "danemsg/context.h"
#include "danemsg/error.h"
#include "danemsg/name.h"

#include <openssl/evp.h>
#include <openssl/x509.h>

/* Days that a self-signed certificate is valid: ten years unless told otherwise, since DNS says
   when a key ends; a hundred at most, which GeneralizedTime and every peer can still read. */
#define DMSG_DAYS_DEFAULT 3650
#define DMSG_DAYS_MAX 36500

enum dmsg_key_type {
    DMSG_KEY_P256,
    DMSG_KEY_P384,
    DMSG_KEY_P521,
    DMSG_KEY_ED25519, /* and an X25519 key for encryption beside it */
    DMSG_KEY_RSA2048,
    DMSG_KEY_RSA3072,
    DMSG_KEY_RSA4096,
};

/* The words of the command line, "p256, p384, ...", for help texts. Static storage. */
#define DMSG_KEY_TYPE_WORDS "p256, p384, p521, ed25519, rsa2048, rsa3072, rsa4096"

/* DMSG_E_USAGE: not one of DMSG_KEY_TYPE_WORDS. */
int dmsg_key_type_parse(
    enum dmsg_key_type *out, const char *word, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Parts of a distinguished name, NULL or empty for none. Without any the subject is empty, and
   the name stands in the SAN alone (RFC 5280 section 4.1.2.6). */
struct dmsg_subject {
    const char *country; /* two letters */
    const char *state;
    const char *locality;
    const char *organization;
};

/* A key that is in a token already. */
struct dmsg_hardware_key {
    EVP_PKEY *key;
    const struct dmsg_context *context; /* in which it signs */
    const char *uri;                    /* what its file will hold, with a PIN in it perhaps */
    unsigned purposes;                  /* what it was seen to do; signing at least */
};

struct dmsg_creation {
    const struct dmsg_name *name;
    enum dmsg_key_type type;                  /* of a new key */
    const struct dmsg_hardware_key *hardware; /* in its place; NULL: a new key is made */
    int days;                                 /* 1 to DMSG_DAYS_MAX */
    bool request;                             /* a CSR in place of the self-signed certificate */
    struct dmsg_subject subject;
};

/* What a creation makes. Members that are not wanted are NULL. */
struct dmsg_material {
    EVP_PKEY *key;
    char *uri; /* where it is, when it is in hardware: for NAME.key.uri */
    X509 *certificate;
    X509_REQ *request;
    EVP_PKEY *encryption_key;     /* X25519, where the key cannot decrypt */
    X509 *encryption_certificate; /* signed by key, since X25519 cannot sign */
};

/*
 * Makes keys, and certificates v3: SAN dNSName with the name (critical when the subject is empty,
 * RFC 5280 section 4.2.1.6), subject and authority key identifier, critical KeyUsage by the key's
 * type, CA:FALSE, a random serial of 127 bits. The subject gets a CN only where the name fits
 * into its 64 characters. A key in hardware that only signs gets an X25519 key beside it, as
 * Ed25519 does. DMSG_E_USAGE: days or a part of the subject out of bounds; DMSG_E_NAME: the name is
 * too long for an own one. out is set on success only.
 */
int dmsg_material_create(struct dmsg_material *out, const struct dmsg_context *context,
    const struct dmsg_creation *wanted, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Frees what it holds; the struct is then zeroed. A zeroed one and NULL are allowed. */
void dmsg_material_done(struct dmsg_material *material);

#endif
