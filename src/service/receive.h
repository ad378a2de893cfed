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

/* What a receiver has seen since its start. It writes, and others of its thread may read at any
   time. Times are seconds since 1970, 0: never. */
struct dmsg_receive_state {
    bool subscribed;              /* connected to the broker, and it sends us messages */
    bool held_back;               /* nothing is read, since too much is not delivered */
    int64_t broker_at;            /* when that became so, or ceased to be */
    char broker[DMSG_ERROR_TEXT]; /* why not; empty while it is */
    int64_t dns_at;               /* the last answer about a sender */
    enum dmsg_dns_status dns;     /* and what it was */
    uint64_t accepted, delivered, put_aside;
    uint64_t refused[DMSG_ERROR_COUNT]; /* by -1 - code */
};

#define DMSG_DELIVERY_RUNS 1
#define DMSG_DELIVERY_WAITS 2

struct dmsg_receive_config {
    const struct dmsg_context *context;
    const struct dmsg_identity *identity;
    const struct dmsg_policy *policy; /* its sent_v1 is not used: the store is asked */
    struct dmsg_store *store;
    struct dmsg_mqtt *mqtt; /* subscribed by the caller, connected or not */
    struct dmsg_discovery *discovery;
    const struct dmsg_log *log;

    /*
     * Called before each batch, and at once when an envelope is encrypted to no key that is known
     * here: another identity of the same name, with which the receiver is to go on, or NULL; may be
     * NULL itself. Then identity_used is called: with 0, and what was used before may be freed; or
     * with why it cannot be used, and what was used before still is.
     */
    const struct dmsg_identity *(*identity_look)(void *user, bool at_once);
    void (*identity_used)(void *user, const struct dmsg_error *why);

    /* Hands one verified message out. 0: delivered; DMSG_DELIVERY_RUNS: it is under way, and no
       other is handed out until delivery_end has told its end; DMSG_DELIVERY_WAITS: with at_once,
       where whoever reads must not be waited for: nothing of it was handed out; negative: stop with
       this error. */
    int (*deliver)(
        void *user, const struct dmsg_record *record, bool at_once, struct dmsg_error *error);
    /* Of the one under way. 1: delivered; 0: not yet; negative: it failed, and is tried again after
       a pause, before later ones of its sender, at most ten times; then it is put aside. Both NULL
       when nothing is ever under way. */
    int (*delivery_end)(void *user, struct dmsg_error *why);
    int (*delivery_fd)(void *user); /* readable when it has ended */
    int64_t retry_pause; /* milliseconds before the second try, doubled each time; 0: a second */
    void *user;

    /* Called in every turn of the loop, NULL if not wanted: true ends the loop with 0. */
    bool (*stop)(void *user);
    int wake_fd; /* readable: stop is asked again, and reads from it; -1 for none */

    struct dmsg_receive_state *state; /* kept up to date; NULL if not wanted */

    /* Octets of messages that are accepted and not delivered: over it nothing is taken from the
       broker until a quarter less are left. A batch may be above it, and what waited for DNS. 0:
       no limit. */
    int64_t pending_limit;

    int threads; /* that open messages; 0: as many as this process may use at once */

    uint64_t count_limit; /* -C: ends after this many delivered; 0 for none */
    int timeout;          /* -W: seconds, ends with DMSG_E_TIMEOUT; 0 for none */
};

/* Runs until stop, count_limit, timeout, or an error that no retry mends (DMSG_E_BROKER when the
   session was taken over, DMSG_E_INTERNAL, what deliver returned). A broker that is away is
   waited for with growing pauses. */
int dmsg_receive(
    const struct dmsg_receive_config *config, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
