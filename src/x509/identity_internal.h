/* What an identity is, for who makes it and who loads it. */
#ifndef DANEMSG_X509_IDENTITY_INTERNAL_H
#define DANEMSG_X509_IDENTITY_INTERNAL_H

#include "danemsg/identity.h"
#include "x509/token.h"

/* Three roles, each with a key for encryption beside it, and two to spare for keys that live
   elsewhere. */
#define DMSG_IDENTITY_KEYS_MAX 8

#define DMSG_ANY_PURPOSE (DMSG_FOR_SIGNATURES | DMSG_FOR_ENCRYPTION)

struct dmsg_identity {
    const struct dmsg_context *context;
    struct dmsg_name name;
    size_t count;
    struct dmsg_identity_key keys[DMSG_IDENTITY_KEYS_MAX];
    /* A key's context, where it is not the identity's. */
    struct dmsg_context elsewhere[DMSG_IDENTITY_KEYS_MAX];
    struct dmsg_tokens *tokens; /* NULL: no key was in one */
};

/* As dmsg_identity_add. purposes: those that the place of the key leaves to it. */
int dmsg_identity_add_for(struct dmsg_identity *identity, enum dmsg_key_role role, EVP_PKEY *key,
    X509 *certificate, unsigned purposes, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Do they belong together? By their octets too: a key in a token does not always let itself be
   compared. */
bool dmsg_identity_pair(const EVP_PKEY *key, const EVP_PKEY *public_key);

#endif
