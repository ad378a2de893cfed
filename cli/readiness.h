/* A receiver that is started too early: waits until there is an identity and DNS speaks for it,
   and says meanwhile what is missing. */
#ifndef DANEMSG_CLI_READINESS_H
#define DANEMSG_CLI_READINESS_H

#include "common.h"

struct readiness {
    const char *program;
    const struct dmsg_context *context;
    const struct identity_options *identity;
    struct dmsg_discovery *discovery;
    int64_t deadline; /* dmsg_now_ms() at the end of -W, 0 for none */
    int wake_fd;      /* readable: look at stop */
    bool (*stop)(void *user);
    /* DNS does not speak for the identity yet: lets the broker keep what is sent from now on. 1
       when that is so; 0: stopped before; negative: asked for again later, but for what no waiting
       mends (DMSG_E_USAGE, DMSG_E_LOCAL, DMSG_E_INTERNAL). */
    int (*begin_session)(
        void *user, const struct dmsg_identity *identity, struct dmsg_error *error);
    /* It has to wait, and why. */
    void (*waits)(void *user, const struct dmsg_error *why);
    void *user;
};

/*
 * Reads the identity, again and again with growing pauses until it can be read (DMSG_E_LOCAL is
 * waited for), then compares its keys with DNS in the same way, with the record to publish on
 * stderr; keys that change on disk meanwhile count. DNS that is away is not waited for: messages
 * then wait for it, and none is lost. Returns 0 with *out NULL when it was stopped. DMSG_E_TIMEOUT:
 * the deadline is over.
 */
int readiness_wait(const struct readiness *readiness, struct dmsg_identity **out,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
