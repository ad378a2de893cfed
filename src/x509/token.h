/*
 * Keys that live in a token: a TPM, through OpenSSL's provider tpm2 (tpm2-openssl), or a PKCS #11
 * token, through a provider pkcs11 where there is one, else through the engine of libp11
 * (libengine-pkcs11-openssl). Providers are loaded into a library context of their own, since one
 * in the default context would be asked for everything else too (doc/ARCHITECTURE.md).
 *
 *     struct dmsg_tokens *tokens;
 *     dmsg_tokens_new(&tokens, &error);
 *     struct dmsg_token_key key = {0};
 *     dmsg_token_key_load(&key, tokens, &uri, &error);
 *     ... key.key, in the library context key.library with the query key.properties ...
 *     dmsg_token_key_done(&key);
 *     dmsg_tokens_free(&tokens);
 *
 * Nothing here and nothing made with it is for two threads at once: tokens do one thing at a time,
 * and not all of their libraries know of threads. Nobody is ever asked for a PIN on a terminal.
 */
#ifndef DANEMSG_X509_TOKEN_H
#define DANEMSG_X509_TOKEN_H

#include "danemsg/identity.h"
#include "x509/files.h"
#include "x509/key_uri.h"

/* The tokens in use. Each is opened with the first key of its kind. */
struct dmsg_tokens;
int dmsg_tokens_new(struct dmsg_tokens **out, struct dmsg_error *error) DMSG_MUST_CHECK;
/* One more owner of the same: a TPM without a resource manager has one user at a time. */
struct dmsg_tokens *dmsg_tokens_share(struct dmsg_tokens *tokens);
/* The last owner closes them, after everything that was made with their keys is freed. */
void dmsg_tokens_free(struct dmsg_tokens **tokens);

/* Those of an identity's keys, borrowed; NULL when none is in one. */
struct dmsg_tokens *dmsg_identity_tokens(const struct dmsg_identity *identity);

struct dmsg_token_key {
    EVP_PKEY *key;          /* owned */
    OSSL_LIB_CTX *library;  /* in which it is used; borrowed from the tokens; NULL: the default */
    const char *properties; /* and the query; NULL for none */
    unsigned purposes;      /* what the way to the token has; the token itself was not tried */
};

/*
 * Looks a key up in its token. DMSG_E_LOCAL: the token is not there, has no such key, or a Debian
 * package is missing, which the text names. DMSG_E_CERTIFICATE: the token does not take the PIN,
 * which must not be tried again unchanged: tokens lock themselves after a few.
 */
int dmsg_token_key_load(struct dmsg_token_key *out, struct dmsg_tokens *tokens,
    const struct dmsg_key_uri *uri, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_token_key_done(struct dmsg_token_key *key);

/* Reads NAME.key.uri, as strictly as a key file, since it may hold a PIN. DMSG_E_LOCAL also: more
   than one line, or as dmsg_key_uri_parse. */
int dmsg_file_read_key_uri(struct dmsg_key_uri *out, const struct dmsg_folder *folder,
    const char *file, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
