/* TLS to the broker: an SSL_CTX that libmosquitto takes as it is. TLS 1.2 or newer, the chain is
   verified, and the certificate must bear the host's name or address. */
#ifndef DANEMSG_MQTT_TLS_H
#define DANEMSG_MQTT_TLS_H

#include "danemsg/transport.h"

#include <openssl/types.h>

struct dmsg_mqtt_tls {
    SSL_CTX *context;
    char *host;    /* as configured: for SNI, since we connect to addresses */
    bool literal;  /* the host is an address, which has no place in SNI (RFC 6066 section 3) */
    char why[160]; /* why the broker's certificate was refused last; empty if it was not */
};

/* DMSG_E_LOCAL: a file that cannot be read or does not fit; the text names it. */
int dmsg_mqtt_tls_new(struct dmsg_mqtt_tls **out, const struct dmsg_mqtt_config *config,
    const char *host, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_mqtt_tls_free(struct dmsg_mqtt_tls **tls);

#endif
