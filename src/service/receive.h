/*
 * The receiver: batch, open, store, commit, acknowledge, deliver (doc/ARCHITECTURE.md). It owns
 * none of its parts; the caller makes them and hands them in.
 */
#ifndef DANEMSG_SERVICE_RECEIVE_H
#define DANEMSG_SERVICE_RECEIVE_H

#include "base/log.h"
#include "danemsg/message.h"
#include "danemsg/store.h"
#include "danemsg/transport.h"

struct dmsg_receive_config {
    const struct dmsg_context *context;
    const struct dmsg_identity *identity;
    const struct dmsg_policy *policy; /* its sent_v1 is not used: the store is asked */
    struct dmsg_store *store;
    struct dmsg_mqtt *mqtt; /* subscribed by the caller, connected or not */
    struct dmsg_discovery *discovery;
    const struct dmsg_log *log;

    /* Hands one verified message out. 0: delivered; negative: stop with this error. */
    int (*deliver)(void *user, const struct dmsg_record *record, struct dmsg_error *error);
    void *user;

    /* Called in every turn of the loop, NULL if not wanted: true ends the loop with 0. */
    bool (*stop)(void *user);
    int wake_fd; /* readable: stop is asked again, and reads from it; -1 for none */

    uint64_t count_limit; /* -C: ends after this many delivered; 0 for none */
    int timeout;          /* -W: seconds, ends with DMSG_E_TIMEOUT; 0 for none */
};

/* Runs until stop, count_limit, timeout, or an error that no retry mends (DMSG_E_BROKER when the
   session was taken over, DMSG_E_INTERNAL, what deliver returned). A broker that is away is
   waited for with growing pauses. */
int dmsg_receive(
    const struct dmsg_receive_config *config, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
