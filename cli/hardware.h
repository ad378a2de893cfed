/* Keys in hardware: one that the command line names, and what a key is seen to do. */
#ifndef DANEMSG_CLI_HARDWARE_H
#define DANEMSG_CLI_HARDWARE_H

#include "common.h"
#include "x509/create.h"
#include "x509/token.h"

/* A key that `--key URI` names. */
struct hardware {
    struct dmsg_key_uri uri;
    struct dmsg_tokens *tokens;
    struct dmsg_token_key found;
    struct dmsg_context context;      /* in which it is used */
    struct dmsg_hardware_key key;     /* for a new certificate; its key NULL: none was named */
    struct dmsg_error cannot_decrypt; /* why; code 0: it can */
};

/* Looks it up in its token, and tries it. me: an identity that is in use meanwhile, or NULL. Errors
   as dmsg_token_key_load; DMSG_E_CERTIFICATE: a key of no use here, or one that cannot sign. */
int hardware_find(struct hardware *out, const char *uri, const struct dmsg_context *context,
    const struct dmsg_identity *me, struct dmsg_error *error) DMSG_MUST_CHECK;
/* The new certificate is of this key; says so when it only signs. */
void hardware_use(
    const struct hardware *hardware, struct dmsg_creation *wanted, const char *program);
/* After all that was made with its key. */
void hardware_done(struct hardware *hardware);

/*
 * What a key really does: a signature that verifies, and a message to it that it decrypts, as peers
 * see them. 0 or the code and words of what it does not. context: in which its operations are done.
 */
int hardware_try_signing(
    EVP_PKEY *key, const struct dmsg_context *context, struct dmsg_error *error) DMSG_MUST_CHECK;
int hardware_try_decryption(
    EVP_PKEY *key, const struct dmsg_context *context, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
