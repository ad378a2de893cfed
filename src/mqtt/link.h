/*
 * One MQTT connection: the only file behind this header knows libmosquitto. A link reads, writes
 * and reports; what follows from the reports is decided in mqtt.c.
 *
 * Acknowledgements of received packets are queued by reading and leave in dmsg_link_write: nothing
 * else writes, so that whoever calls it decides when a packet is acknowledged.
 */
#ifndef DANEMSG_MQTT_LINK_H
#define DANEMSG_MQTT_LINK_H

#include "mqtt/tls.h"

/* What CONNACK says (MQTT 5 section 3.2; 3.1.1 has only the first two). */
struct dmsg_link_welcome {
    bool session_present;
    bool has_session_expiry;
    uint32_t session_expiry;
    uint32_t packet_maximum;  /* 0: not said */
    uint16_t receive_maximum; /* 0: not said */
    int qos_maximum;
    bool retains;
    bool wildcards, shared; /* subscriptions of these kinds */
    int keepalive;          /* seconds; the broker may say another than we asked for */
};

/* Called from dmsg_link_read and dmsg_link_write. Texts are borrowed and printable. */
struct dmsg_link_events {
    void (*welcomed)(void *user, const struct dmsg_link_welcome *welcome);
    /* The broker said no, or ended it (MQTT 5): taken_over when another client has our id. */
    void (*dismissed)(void *user, bool connected, bool taken_over, const char *why);
    /* why: NULL when qos was granted. */
    void (*subscribed)(void *user, int id, int qos, const char *why);
    /* why: NULL when the broker has it (QoS 0: when it was written). */
    void (*published)(void *user, int id, const char *why);
    /* False: no more in this call of dmsg_link_read, though there may be more at hand. */
    bool (*received)(void *user, struct dmsg_span topic, struct dmsg_span payload, bool retained);
};

struct dmsg_link;

/* config as given to dmsg_mqtt_new, with its defaults filled in; copied. tls: NULL for none, else
   borrowed. DMSG_E_USAGE: something is out of the protocol's bounds. */
int dmsg_link_new(struct dmsg_link **out, const struct dmsg_mqtt_config *config,
    struct dmsg_mqtt_tls *tls, const struct dmsg_link_events *events, void *user,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* Closes without a word to the broker. */
void dmsg_link_free(struct dmsg_link **link);

/* Starts to connect to an address, without blocking; what was queued before is dropped, but for
   publishes of QoS 1 and 2, which are sent again. DMSG_E_BROKER: failed at once, and why. */
int dmsg_link_open(struct dmsg_link *link, const char *address, int port,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* For an open link: -1 when it was lost. */
int dmsg_link_fd(const struct dmsg_link *link);
/* The TCP connection's outcome once the descriptor is writable: 0, or DMSG_E_BROKER. */
int dmsg_link_established(const struct dmsg_link *link, struct dmsg_error *error) DMSG_MUST_CHECK;
bool dmsg_link_handshaking(const struct dmsg_link *link); /* TLS */
bool dmsg_link_wants_write(const struct dmsg_link *link);
/* Something was read from the socket and not from TLS: poll would not tell. */
bool dmsg_link_has_pending(const struct dmsg_link *link);

/* All three: DMSG_E_BROKER, and why, when the connection is lost by it. */
int dmsg_link_read(struct dmsg_link *link, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_link_write(struct dmsg_link *link, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_link_keep_alive(struct dmsg_link *link, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Makes reading end: nothing more comes or leaves. For use inside of `received`. */
void dmsg_link_abort(struct dmsg_link *link);

/* Queue; they leave with the next write. */
int dmsg_link_subscribe(struct dmsg_link *link, const char *filter, int qos, int *id,
    struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_link_publish(struct dmsg_link *link, const char *topic, struct dmsg_span payload, int qos,
    bool retain, int *id, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_link_disconnect(struct dmsg_link *link);

#endif
