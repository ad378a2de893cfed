/* What the files about tokens share. */
#ifndef DANEMSG_X509_TOKEN_INTERNAL_H
#define DANEMSG_X509_TOKEN_INTERNAL_H

#include "x509/token.h"

#include <openssl/ui.h>

/*
 * Why a key could not be had, in words, from OpenSSL's error queue, which is emptied. about: what
 * was tried; advice: what to do about it, when the queue has no better.
 */
int dmsg_token_fail(struct dmsg_error *error, const struct dmsg_key_uri *uri, const char *about,
    const char *advice);

/* The engine of libp11. */
struct dmsg_engine;
int dmsg_engine_open(struct dmsg_engine **out, const struct dmsg_key_uri *uri, UI_METHOD *nobody,
    struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_engine_close(struct dmsg_engine **engine);
/* The key of uri, or why not. */
int dmsg_engine_load(EVP_PKEY **out, struct dmsg_engine *engine, const struct dmsg_key_uri *uri,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
