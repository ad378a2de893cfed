/* The broker's TLSA records (RFC 7671, RFC 7673), found by our own validating resolver. */
#ifndef DANEMSG_CLI_BROKER_DANE_H
#define DANEMSG_CLI_BROKER_DANE_H

#include "common.h"
#include "danemsg/transport.h"

struct broker_dane {
    struct dmsg_discovery *discovery;
    struct dmsg_name name; /* _PORT._tcp.HOST: the host as given is the base domain */
    const struct dmsg_peer *peer;
    bool asked;
    struct dmsg_mqtt_dane source; /* for dmsg_mqtt_config; points here, so that this must stay */
};

/* DMSG_E_USAGE: the host is no name that records could be at. Borrows the discovery. */
int broker_dane_init(struct broker_dane *out, struct dmsg_discovery *discovery, const char *host,
    int port, struct dmsg_error *error) DMSG_MUST_CHECK;
/* When the connection and the discovery that used it are gone. */
void broker_dane_done(struct broker_dane *dane);

#endif
