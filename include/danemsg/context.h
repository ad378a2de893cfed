/*
 * What the library needs from its surroundings. It has no global state: clock, randomness and
 * OpenSSL library context are given to it, so that tests can replace them and so that a hardware
 * key's provider can live in a library context of its own.
 *
 * A zeroed context means: system clock, OpenSSL's generator, the default library context.
 *
 *     const struct dmsg_context context = {0};
 *
 * The context is borrowed by everything made with it and must outlive it.
 */
#ifndef DANEMSG_CONTEXT_H
#define DANEMSG_CONTEXT_H

#include <openssl/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dmsg_context {
    OSSL_LIB_CTX *library;  /* NULL: the default one */
    const char *properties; /* property query for private keys (a TPM's provider), NULL for none;
                               all else is fetched from the default provider */

    void *user; /* handed to the functions below */

    /* Seconds since 1970, UTC. NULL: time(2). */
    int64_t (*now)(void *user);

    /* False while the clock is known not to be set (no RTC, NTP not there yet). NULL: false while
       the kernel says that it is not synchronised, in the first hour after boot; a machine
       without NTP is believed after that. */
    bool (*synchronised)(void *user);

    /* Fills size bytes with cryptographic randomness: 0, or -1. NULL: RAND_bytes_ex. */
    int (*random)(void *user, void *out, size_t size);
};

int64_t dmsg_context_now(const struct dmsg_context *context);
bool dmsg_context_synchronised(const struct dmsg_context *context);
int dmsg_context_random(const struct dmsg_context *context, void *out, size_t size)
    __attribute__((warn_unused_result));

#ifdef __cplusplus
}
#endif

#endif
