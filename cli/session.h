/* The session at the broker of a receiver that cannot begin yet. */
#ifndef DANEMSG_CLI_SESSION_H
#define DANEMSG_CLI_SESSION_H

#include "danemsg/transport.h"

/* Who waits looks after its other work meanwhile. */
struct session_wait {
    int wake_fd; /* readable: look at stop */
    bool (*stop)(void *user);
    void *user;
};

/*
 * Connects and subscribes, so that from now on the broker keeps what is sent, and takes nothing:
 * packets that come are not acknowledged. The caller's dmsg_mqtt_free ends the connection, and
 * leaves the session. Takes some seconds at most. 1: the session stands; 0: stopped before;
 * DMSG_E_BROKER, DMSG_E_TIMEOUT and whatever else dmsg_mqtt_reconnect ends with.
 */
int session_begin(struct dmsg_mqtt *mqtt, const struct session_wait *wait,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
