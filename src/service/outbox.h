/*
 * Publishing what is in the outbox: seal what is open, publish what is sealed, and take out what
 * the broker has acknowledged (danemsg/outbox.h). It owns none of its parts; the caller makes them,
 * and sees to it that nobody else publishes from the same outbox.
 */
#ifndef DANEMSG_SERVICE_OUTBOX_H
#define DANEMSG_SERVICE_OUTBOX_H

#include "base/log.h"
#include "danemsg/outbox.h"
#include "danemsg/resolver.h"
#include "danemsg/transport.h"

/* What a publisher has seen since its start; others of its thread may read it at any time. */
struct dmsg_outbox_state {
    bool connected;
    int64_t broker_at;            /* when that became so, or ceased to be; 0: never */
    char broker[DMSG_ERROR_TEXT]; /* why not; empty while it is */
    int64_t dns_at;               /* the last answer about a recipient; 0: never */
    enum dmsg_dns_status dns;     /* and what it was */
    uint64_t published, sealed, refused, expired;
};

struct dmsg_outbox_config {
    const struct dmsg_context *context;
    struct dmsg_outbox *outbox;
    struct dmsg_mqtt *mqtt;
    struct dmsg_discovery *discovery;
    const struct dmsg_log *log;

    /* Another connection to the same broker, with nothing under way, in place of mqtt, which is
       freed: one that keeps what it has sent would send it again whenever it is made anew. */
    int (*mqtt_anew)(void *user, struct dmsg_mqtt **out, struct dmsg_error *error);
    /* Called before messages are sealed, outside of any transaction. */
    void (*will_seal)(void *user);
    /* Makes the envelope, within a transaction of the outbox. An error that is none of the local
       machine's (DMSG_E_LOCAL, DMSG_E_INTERNAL) is the message's own, for good. */
    int (*seal)(void *user, const struct dmsg_outgoing *message, const struct dmsg_peer_key *key,
        int64_t lifetime, struct dmsg_buffer *envelope, char id[static DMSG_MESSAGE_ID_SIZE],
        struct dmsg_error *error);
    /* Called in every turn of the loop: true ends it, when what is under way is acknowledged. */
    bool (*stop)(void *user);
    int wake_fd; /* readable: stop is asked again, and reads from it; -1 for none */
    void *user;

    bool once;        /* until all were tried, and not for ever */
    int64_t patience; /* once: milliseconds without any progress, then it is given up */

    struct dmsg_outbox_state *state;
};

/*
 * Not once: runs until stop; a broker, a resolver or a disk that is away is waited for. Once: 0
 * when the outbox is empty, else the code of the first failure, with what is left in the text.
 * DMSG_E_BROKER: the session was taken over.
 */
int dmsg_outbox_publish(
    const struct dmsg_outbox_config *config, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
