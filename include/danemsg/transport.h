/*
 * The MQTT broker: connect, publish, subscribe, with acknowledgements that wait until the caller
 * has stored what came. No thread of its own: a descriptor to poll, and calls.
 *
 * Receive, as doc/ARCHITECTURE.md has it:
 *
 *     dmsg_mqtt_new(&mqtt, &config, &error);
 *     dmsg_mqtt_subscribe(mqtt, "bob.example", &error);
 *     dmsg_mqtt_reconnect(mqtt, &error);
 *     for (;;) {
 *         poll(dmsg_mqtt_fd(mqtt), dmsg_mqtt_events(mqtt), dmsg_mqtt_timeout(mqtt));
 *         count = dmsg_mqtt_read(mqtt, revents, &error);   collects a batch, acknowledges nothing
 *         ... open and store the batch, commit ...
 *         dmsg_mqtt_acknowledge(mqtt, &error);             the PUBACKs leave now
 *     }                                                    or dmsg_mqtt_reconnect: never
 *                                                          acknowledged, and sent again
 */
#ifndef DANEMSG_TRANSPORT_H
#define DANEMSG_TRANSPORT_H

#include "danemsg/error.h"
#include "danemsg/span.h"

#include <openssl/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Packets of one batch at most. */
#define DMSG_BATCH_MAX 500
/* MQTT 5's receive maximum: the broker sends the next batch while one is stored. */
#define DMSG_RECEIVE_MAX (2 * DMSG_BATCH_MAX)
/* Octets of a topic or filter, and filters of one connection: far over what a receiver needs. */
#define DMSG_MQTT_TOPIC_MAX 1024
#define DMSG_MQTT_FILTERS_MAX 64
/* Publishes that may wait for the broker's acknowledgement. */
#define DMSG_PUBLISH_MAX 1000
/* An envelope of the default limit with its topic, twice over. */
#define DMSG_PACKET_LIMIT_DEFAULT (128 * 1024)
/* As long as a message lives at most: a session that is older has nothing to give. */
#define DMSG_SESSION_EXPIRY_DEFAULT (30 * 86400)

/* The broker's TLSA records (RFC 7671): rdata in wire form, out of an answer that DNSSEC proves. */
#define DMSG_MQTT_RECORDS_MAX 64
struct dmsg_mqtt_records {
    size_t count;
    struct dmsg_span rdata[DMSG_MQTT_RECORDS_MAX];
};

/*
 * How those records are found: anew before each connection, since they are rolled over. Nothing
 * here may block. The base domain is the host as configured.
 */
struct dmsg_mqtt_dane {
    /* Asks, in place of a question that is under way. */
    int (*ask)(void *user, struct dmsg_error *error);
    /* To be called when fd can be read, and after as many milliseconds as it returns. */
    int (*step)(void *user, struct dmsg_error *error);
    bool (*answered)(void *user);
    /* Once answered: the records, borrowed until the next ask, or the error that ends this try. */
    int (*take)(void *user, struct dmsg_mqtt_records *out, struct dmsg_error *error);
    int fd; /* stays the same */
    void *user;
};

struct dmsg_mqtt_config {
    const char *host;        /* NULL: localhost */
    int port;                /* 0: 1883, with TLS 8883 */
    int version;             /* 5 or 311; 0: 5 */
    int keepalive;           /* seconds, 0: 60 */
    bool clean;              /* a session that ends with the connection */
    bool expects_session;    /* an unclean one was there before: say so when the broker has none */
    uint32_t session_expiry; /* MQTT 5: seconds that an unclean session is kept; 0: default */
    /* MQTT 5, with clean: a session is asked for all the same, to learn for how long the broker
       would keep it, and given back with the goodbye. For connections that do not subscribe. */
    bool tries_session;
    const char *client_id; /* NULL: random */
    const char *username;
    const char *password;
    bool tls;
    const char *ca_file; /* neither file nor folder: the system's CAs */
    const char *ca_folder;
    const char *alpn;        /* protocol to ask for (RFC 7301); NULL: none */
    int tls_version;         /* the least: 12 or 13; 0: 12 */
    const char *certificate; /* client certificate and key, PEM files; or as objects, which take */
    const char *key;         /* their own references */
    X509 *client_certificate;
    EVP_PKEY *client_key;
    /* The broker's certificate must match its TLSA records (usage 0 and 1: and be valid by the CAs
       too). `dane` without `dane_source` is a DMSG_E_USAGE. The source is copied, its user kept. */
    bool dane;
    const struct dmsg_mqtt_dane *dane_source;
    size_t packet_limit;    /* octets of one packet that we are ready to receive, 0: default */
    const char *will_topic; /* NULL: no will */
    struct dmsg_span will_payload;
    int will_qos;
    bool will_retain;
    void (*debug)(void *user, const char *text); /* NULL: silence; libmosquitto's own lines */
    void *user;
};

/* A received packet, borrowed until dmsg_mqtt_acknowledge, reconnect or free. */
struct dmsg_packet {
    struct dmsg_span topic;
    struct dmsg_span payload;
    bool retained;
    bool cut; /* over the packet limit: the payload is not here */
};

struct dmsg_mqtt;

/*
 * Does not connect yet. Copies what it needs of config; `debug` and `user` are kept.
 * DMSG_E_LOCAL: a file for TLS cannot be used. DMSG_E_USAGE: a value that MQTT does not allow.
 * libmosquitto makes the process ignore SIGPIPE.
 */
int dmsg_mqtt_new(struct dmsg_mqtt **out, const struct dmsg_mqtt_config *config,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* Disconnects politely if connected, in a second at most; but with packets that were read and not
   acknowledged it just closes, since a polite goodbye would acknowledge them. */
void dmsg_mqtt_free(struct dmsg_mqtt **mqtt);

/* Starts to connect, or to connect again: what was read and not acknowledged is dropped, and the
   broker sends it again. Done when dmsg_mqtt_connected says so. DMSG_E_BROKER with the reason in
   words, here or from dmsg_mqtt_read; with DANE also the code with which looking up the records
   ended, and DMSG_E_CERTIFICATE when none is usable. Finding the host's address may block.
   Publishes of QoS 1 that the broker has not acknowledged are sent again, those of QoS 0 that were
   not written are forgotten. */
int dmsg_mqtt_reconnect(struct dmsg_mqtt *mqtt, struct dmsg_error *error) DMSG_MUST_CHECK;
/* CONNACK came with success. */
bool dmsg_mqtt_connected(const struct dmsg_mqtt *mqtt);
/* What the broker granted that is less than what was asked (session, QoS, packet size), one line
   each; empty when nothing. NUL-terminated, borrowed. */
const char *dmsg_mqtt_grants(const struct dmsg_mqtt *mqtt);
/* The largest packet that the broker takes, 0 when it does not say (MQTT 3.1.1). */
size_t dmsg_mqtt_packet_maximum(const struct dmsg_mqtt *mqtt);
/* How many publishes of QoS 1 the broker takes before it acknowledges one (MQTT 5 receive maximum),
   at most DMSG_PUBLISH_MAX. More may be queued; they wait here. */
size_t dmsg_mqtt_receive_maximum(const struct dmsg_mqtt *mqtt);

/* Subscribes now or as soon as connected, and on every connect that finds no session. QoS 1, or
   the one given; 2 is asked for as 1, since its packets could not wait for the disk. A filter
   "$share/GROUP/FILTER" is shared: each packet goes to one of the group's subscribers, and comes
   with its own topic (MQTT 5 section 4.8.2). */
int dmsg_mqtt_subscribe(
    struct dmsg_mqtt *mqtt, const char *filter, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_mqtt_subscribe_qos(
    struct dmsg_mqtt *mqtt, const char *filter, int qos, struct dmsg_error *error) DMSG_MUST_CHECK;
/* True once the broker acknowledged the subscription of this connection. */
bool dmsg_mqtt_subscribed(const struct dmsg_mqtt *mqtt);

/* Queues one message; *id (if not NULL) names it. Not before connected. DMSG_E_SIZE: larger than
   the broker takes, and the text says what would fit. DMSG_E_BROKER: not connected, the broker
   takes no such message, or DMSG_PUBLISH_MAX are not acknowledged yet. */
int dmsg_mqtt_publish(struct dmsg_mqtt *mqtt, const char *topic, struct dmsg_span payload, int qos,
    bool retain, int *id, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Messages published and not yet acknowledged by the broker (QoS 0: not yet written). */
size_t dmsg_mqtt_in_flight(const struct dmsg_mqtt *mqtt);
/* Does this publish (QoS 1 or 2) still wait for its acknowledgement? */
bool dmsg_mqtt_is_in_flight(const struct dmsg_mqtt *mqtt, int id);
/* A publish that the broker refused (MQTT 5 reason), reported once: DMSG_E_BROKER, its id and
   words, else 0. */
int dmsg_mqtt_refused(struct dmsg_mqtt *mqtt, int *id, struct dmsg_error *error);

int dmsg_mqtt_fd(const struct dmsg_mqtt *mqtt);       /* -1 while not connected or connecting */
short dmsg_mqtt_events(const struct dmsg_mqtt *mqtt); /* POLLIN, perhaps POLLOUT */
int dmsg_mqtt_timeout(const struct dmsg_mqtt *mqtt);  /* milliseconds */

/* Reads what is there, up to DMSG_BATCH_MAX packets: how many the batch holds, or DMSG_E_BROKER
   (connection lost, refused, taken over; the text says which). revents: what poll reported. While
   a batch waits to be acknowledged nothing is added to it. After an error the descriptor is -1
   until dmsg_mqtt_reconnect. */
int dmsg_mqtt_read(struct dmsg_mqtt *mqtt, short revents, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Limits the batch anew and adds what has come meanwhile: how many packets it has now. Packets
   that it had already, and their spans, stay what they were; the structs may move. That the
   connection was lost is told by dmsg_mqtt_acknowledge. */
size_t dmsg_mqtt_read_more(struct dmsg_mqtt *mqtt, size_t limit);
size_t dmsg_mqtt_batch_size(const struct dmsg_mqtt *mqtt);
const struct dmsg_packet *dmsg_mqtt_packet(const struct dmsg_mqtt *mqtt, size_t index);
/* Batches of at most count packets from now on; the rest stays with the broker. */
void dmsg_mqtt_limit_batch(struct dmsg_mqtt *mqtt, size_t count);
/* Lets acknowledgements and publishes leave, keeps the connection alive, empties the batch. To be
   called after every read. */
int dmsg_mqtt_acknowledge(struct dmsg_mqtt *mqtt, struct dmsg_error *error) DMSG_MUST_CHECK;
/* The broker said that another client took our session (client id) over. MQTT 3.1.1 has no such
   message. */
bool dmsg_mqtt_taken_over(const struct dmsg_mqtt *mqtt);

/* Blocking, in milliseconds; DMSG_E_TIMEOUT, DMSG_E_BROKER. The first connects, if need be, and
   waits for that. The second waits until all that was published is acknowledged (QoS 0: written);
   it is for clients that do not subscribe (DMSG_E_USAGE when packets come). */
int dmsg_mqtt_wait_connected(
    struct dmsg_mqtt *mqtt, int timeout, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_mqtt_wait_flushed(
    struct dmsg_mqtt *mqtt, int timeout, struct dmsg_error *error) DMSG_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
