/* TLS to the broker: an SSL_CTX that libmosquitto takes as it is. TLS 1.2 or newer. The broker's
   certificate is judged by CAs, and must bear the host's name or address; or by the broker's TLSA
   records (RFC 7671), and then nothing else will do. */
#ifndef DANEMSG_MQTT_TLS_H
#define DANEMSG_MQTT_TLS_H

#include "danemsg/transport.h"

#include <openssl/types.h>

/* One TLSA record, checked to be usable. */
struct dmsg_tls_record {
    uint8_t usage, selector, matching_type;
    size_t at, size; /* the association data, in the octets that all share */
};

struct dmsg_mqtt_tls {
    SSL_CTX *context;
    char *host;    /* as configured: for SNI, since we connect to addresses */
    bool literal;  /* the host is an address, which has no place in SNI (RFC 6066 section 3) */
    char why[160]; /* why the broker's certificate was refused last; empty if it was not */
    X509 *shown;   /* that certificate, refused or not; NULL before the first */
    bool dane;
    struct dmsg_buffer octets;
    size_t record_count;
    struct dmsg_tls_record records[DMSG_MQTT_RECORDS_MAX];
};

/* DMSG_E_LOCAL: a file that cannot be read or does not fit; the text names it. */
int dmsg_mqtt_tls_new(struct dmsg_mqtt_tls **out, const struct dmsg_mqtt_config *config,
    const char *host, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_mqtt_tls_free(struct dmsg_mqtt_tls **tls);

/* dane.c: lets the context accept only what matches the records. Once, at the beginning. */
int dmsg_mqtt_tls_use_dane(struct dmsg_mqtt_tls *tls, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Copies the records for the handshakes to come. DMSG_E_CERTIFICATE: none of them is usable. */
int dmsg_mqtt_tls_set_records(struct dmsg_mqtt_tls *tls, const struct dmsg_mqtt_records *records,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* At the beginning of a handshake: gives it the records. Where that fails, nothing will match. */
void dmsg_mqtt_tls_begin_dane(const struct dmsg_mqtt_tls *tls, SSL *ssl);

#endif
