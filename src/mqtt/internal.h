/* The MQTT client's inside, shared by mqtt.c, connect.c, subscribe.c, publish.c and grants.c. */
#ifndef DANEMSG_MQTT_INTERNAL_H
#define DANEMSG_MQTT_INTERNAL_H

#include "mqtt/address.h"
#include "mqtt/batch.h"
#include "mqtt/link.h"

enum mqtt_state { MQTT_AWAY, MQTT_ASKING, MQTT_CONNECTING, MQTT_CONNECTED };

struct mqtt_filter {
    char *text;
    int qos;
    int id;        /* of the SUBSCRIBE that is under way; 0 for none */
    bool recorded; /* the session has it: a SUBACK came since the session began */
};

/* A packet identifier has 16 bits (MQTT 5 section 2.2.1). */
#define MQTT_IDS 65536

struct mqtt_publishes {
    uint8_t under_way[MQTT_IDS / 8];    /* QoS 1 and 2 by id, one bit each */
    uint8_t exactly_once[MQTT_IDS / 8]; /* QoS 2 of them */
    uint8_t doubtful[MQTT_IDS / 8];     /* of those, begun in a session that the broker forgot */
    size_t unacknowledged;
    size_t unwritten; /* QoS 0 */
    struct {
        int id;
        char why[160];
    } refused[DMSG_PUBLISH_MAX];
    size_t refused_count;
};

struct dmsg_mqtt {
    struct dmsg_link *link;
    struct dmsg_mqtt_tls *tls;
    char *host;
    int port;
    int version;
    bool clean;
    uint32_t session_expiry;
    size_t packet_limit;
    struct dmsg_mqtt_dane dane; /* without ask: the certificate is judged by CAs */

    enum mqtt_state state;
    struct dmsg_addresses addresses;
    size_t address;   /* the one that is tried or used */
    int64_t deadline; /* monotonic milliseconds: connecting has failed then */
    int64_t step_at;  /* while asking: when the source wants its next step */
    bool established; /* the TCP connection is there */
    bool dismissed;   /* the broker itself ended it */
    bool taken_over;
    struct dmsg_error trouble; /* why it is away */

    bool had_session; /* there was one: of this client, or of this id before */
    struct dmsg_link_welcome welcome;
    struct dmsg_buffer grants;

    struct mqtt_filter filters[DMSG_MQTT_FILTERS_MAX];
    size_t filter_count;
    struct mqtt_publishes publishes;
    struct dmsg_batch batch;
    size_t batch_limit;
};

/* Remembers why the connection is no more; the same error for the caller, with the broker named. */
int dmsg_mqtt_lose(struct dmsg_mqtt *mqtt, const struct dmsg_error *why, struct dmsg_error *error);

/* connect.c: one step of asking or connecting; another address after a failure; and when the next
   step is due. */
int dmsg_mqtt_advance(
    struct dmsg_mqtt *mqtt, short revents, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_mqtt_try_next_address(
    struct dmsg_mqtt *mqtt, const struct dmsg_error *why, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_mqtt_connect_timeout(const struct dmsg_mqtt *mqtt);

/* subscribe.c: after CONNACK, and SUBACK. */
int dmsg_mqtt_subscribe_all(struct dmsg_mqtt *mqtt, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_mqtt_forget_subscriptions(struct dmsg_mqtt *mqtt);
void dmsg_mqtt_on_subscribed(struct dmsg_mqtt *mqtt, int id, int qos, const char *why);
bool dmsg_mqtt_is_shared(const char *filter);

/* grants.c: compares after CONNACK; adds a line to what was granted less than asked for. */
void dmsg_mqtt_compare_grants(struct dmsg_mqtt *mqtt);
void dmsg_mqtt_grant(struct dmsg_mqtt *mqtt, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* publish.c: after CONNACK of a session that the broker has not kept; and an acknowledgement. */
void dmsg_mqtt_forget_publishes(struct dmsg_mqtt *mqtt);
void dmsg_mqtt_on_published(struct dmsg_mqtt *mqtt, int id, const char *why);

#endif
