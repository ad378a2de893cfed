#include "base/fail.h"
#include "mqtt/internal.h"

#include <limits.h>
#include <openssl/rand.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Milliseconds for one address: TCP, TLS and CONNACK. Long enough for a lost SYN or two. */
#define CONNECT_TIME 15000
/* For the goodbye at the end. */
#define GOODBYE_TIME 1000
/* The keepalive time must be looked at some times within it, and not for nothing. */
#define KEEPALIVE_PARTS 4
#define TIMEOUT_MIN 1000
#define TIMEOUT_MAX 15000
/* Strings of MQTT have a length of 16 bits (MQTT 5 section 1.5.4); libmosquitto does not look. */
#define STRING_MAX 65535
#define KEEPALIVE_DEFAULT 60

static int64_t monotonic(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int dmsg_mqtt_lose(struct dmsg_mqtt *mqtt, const struct dmsg_error *why, struct dmsg_error *error)
{
    struct dmsg_error named;
    int code =
        dmsg_fail(&named, why->code, "broker %s port %d: %s", mqtt->host, mqtt->port, why->text);
    mqtt->state = MQTT_AWAY;
    mqtt->trouble = named;
    if (error != NULL)
        *error = named;
    return code;
}

/* --------------------------------------------------------------------------------- reports */

static void on_welcomed(void *user, const struct dmsg_link_welcome *welcome)
{
    struct dmsg_mqtt *mqtt = user;
    bool again = mqtt->had_session;
    mqtt->welcome = *welcome;
    mqtt->state = MQTT_CONNECTED;
    mqtt->had_session = true;
    dmsg_buffer_reset(&mqtt->grants);
    dmsg_mqtt_forget_subscriptions(mqtt);
    if (again && !mqtt->clean && !welcome->session_present)
        dmsg_mqtt_grant(mqtt, "the broker did not keep the session: messages may be lost");
    if (!mqtt->clean && welcome->has_session_expiry &&
        welcome->session_expiry < mqtt->session_expiry)
        dmsg_mqtt_grant(mqtt, "the session is kept for %u seconds, not %u",
            (unsigned)welcome->session_expiry, (unsigned)mqtt->session_expiry);
    if (welcome->qos_maximum < 1)
        dmsg_mqtt_grant(mqtt, "the broker has quality of service 0 only: messages may be lost");
    if (welcome->packet_maximum != 0 && welcome->packet_maximum < mqtt->packet_limit)
        dmsg_mqtt_grant(mqtt, "the broker takes packets of %u octets at most, not %zu",
            (unsigned)welcome->packet_maximum, mqtt->packet_limit);
}

static void on_dismissed(void *user, bool connected, bool taken_over, const char *why)
{
    struct dmsg_mqtt *mqtt = user;
    mqtt->dismissed = true;
    mqtt->taken_over |= taken_over;
    dmsg_fail(&mqtt->trouble, DMSG_E_BROKER, "%s: %s",
        connected ? "the broker ended the connection" : "the broker refused the connection", why);
}

static void on_subscribed(void *user, int id, int qos, const char *why)
{
    dmsg_mqtt_on_subscribed(user, id, qos, why);
}

static void on_published(void *user, int id, const char *why)
{
    dmsg_mqtt_on_published(user, id, why);
}

static void on_received(void *user, struct dmsg_span topic, struct dmsg_span payload, bool retained)
{
    struct dmsg_mqtt *mqtt = user;
    bool cut = topic.size + payload.size > mqtt->packet_limit;
    dmsg_batch_put(&mqtt->batch, topic, payload, retained, cut);
    if (mqtt->batch.failed)
        dmsg_link_abort(mqtt->link);
}

static const struct dmsg_link_events link_events = {
    .welcomed = on_welcomed,
    .dismissed = on_dismissed,
    .subscribed = on_subscribed,
    .published = on_published,
    .received = on_received,
};

/* ------------------------------------------------------------------------- making and ending */

/* 23 letters and digits are what every broker must take (MQTT 3.1.1 section 3.1.3.1). Nobody else
   shall guess it: who has it takes the session over. */
static int make_client_id(char out[static 24], struct dmsg_error *error)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint8_t random[23];
    if (RAND_bytes(random, sizeof random) != 1)
        return dmsg_fail_openssl(error, "making a client id");
    for (size_t i = 0; i < sizeof random; i++)
        out[i] = alphabet[random[i] % 32];
    out[23] = '\0';
    return 0;
}

static int check_text(const char *text, const char *what, struct dmsg_error *error)
{
    if (text != NULL && strlen(text) > STRING_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "the %s is longer than MQTT allows", what);
    return 0;
}

static int check_config(const struct dmsg_mqtt_config *config, struct dmsg_error *error)
{
    if (config->port < 0 || config->port > 65535)
        return dmsg_fail(error, DMSG_E_USAGE, "a port is a number up to 65535");
    if (config->version != 5 && config->version != 311)
        return dmsg_fail(error, DMSG_E_USAGE, "the version of MQTT is 5 or 311");
    if (config->keepalive < 5 || config->keepalive > 65535)
        return dmsg_fail(error, DMSG_E_USAGE, "the keepalive time is 5 to 65535 seconds");
    if (config->packet_limit > UINT32_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "the packet limit is larger than MQTT allows");
    if (config->password != NULL && config->username == NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "a password for the broker needs a user name");
    if (config->will_qos < 0 || config->will_qos > 2 || config->will_payload.size > STRING_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "the will is out of MQTT's bounds");
    int code = check_text(config->client_id, "client id", error);
    if (code == 0)
        code = check_text(config->username, "user name", error);
    if (code == 0)
        code = check_text(config->password, "password", error);
    return code < 0 ? code : check_text(config->will_topic, "will's topic", error);
}

static void fill_in_defaults(struct dmsg_mqtt_config *config)
{
    if (config->host == NULL)
        config->host = "localhost";
    if (config->port == 0)
        config->port = config->tls ? 8883 : 1883;
    if (config->version == 0)
        config->version = 5;
    if (config->keepalive == 0)
        config->keepalive = KEEPALIVE_DEFAULT;
    if (config->session_expiry == 0)
        config->session_expiry = DMSG_SESSION_EXPIRY_DEFAULT;
    if (config->packet_limit == 0)
        config->packet_limit = DMSG_PACKET_LIMIT_DEFAULT;
}

static int prepare(
    struct dmsg_mqtt *mqtt, const struct dmsg_mqtt_config *config, struct dmsg_error *error)
{
    mqtt->host = strdup(config->host);
    if (mqtt->host == NULL)
        return dmsg_fail_memory(error);
    mqtt->port = config->port;
    mqtt->version = config->version;
    mqtt->clean = config->clean;
    mqtt->session_expiry = config->session_expiry;
    mqtt->packet_limit = config->packet_limit;
    mqtt->batch_limit = DMSG_BATCH_MAX;
    dmsg_fail(&mqtt->trouble, DMSG_E_BROKER, "not connected to the broker");
    int code = config->tls ? dmsg_mqtt_tls_new(&mqtt->tls, config, config->host, error) : 0;
    if (code < 0)
        return code;
    return dmsg_link_new(&mqtt->link, config, mqtt->tls, &link_events, mqtt, error);
}

int dmsg_mqtt_new(
    struct dmsg_mqtt **out, const struct dmsg_mqtt_config *config, struct dmsg_error *error)
{
    struct dmsg_mqtt_config filled = *config;
    char client_id[24];
    fill_in_defaults(&filled);
    int code = check_config(&filled, error);
    if (code == 0 && filled.client_id == NULL) {
        code = make_client_id(client_id, error);
        filled.client_id = client_id;
    }
    if (code < 0)
        return code;
    struct dmsg_mqtt *mqtt = calloc(1, sizeof *mqtt);
    if (mqtt == NULL)
        return dmsg_fail_memory(error);
    code = prepare(mqtt, &filled, error);
    if (code < 0) {
        dmsg_mqtt_free(&mqtt);
        return code;
    }
    *out = mqtt;
    return 0;
}

/* DISCONNECT, so that the broker does not publish the will. */
static void say_goodbye(struct dmsg_mqtt *mqtt)
{
    int64_t until = monotonic() + GOODBYE_TIME;
    dmsg_link_disconnect(mqtt->link);
    while (dmsg_link_write(mqtt->link, NULL) == 0 && monotonic() < until) {
        struct pollfd wait = {.fd = dmsg_link_fd(mqtt->link), .events = POLLOUT};
        (void)poll(&wait, 1, (int)(until - monotonic()));
    }
}

void dmsg_mqtt_free(struct dmsg_mqtt **mqtt)
{
    if (mqtt == NULL || *mqtt == NULL)
        return;
    if ((*mqtt)->state == MQTT_CONNECTED && (*mqtt)->batch.count == 0)
        say_goodbye(*mqtt);
    dmsg_link_free(&(*mqtt)->link);
    dmsg_mqtt_tls_free(&(*mqtt)->tls);
    for (size_t i = 0; i < (*mqtt)->filter_count; i++)
        free((*mqtt)->filters[i].text);
    dmsg_batch_done(&(*mqtt)->batch);
    dmsg_buffer_done(&(*mqtt)->grants);
    free((*mqtt)->host);
    free(*mqtt);
    *mqtt = NULL;
}

/* ------------------------------------------------------------------------------- connecting */

/* Tries this address and those after it, until one does not fail at once. */
static int open_address(struct dmsg_mqtt *mqtt, size_t first, struct dmsg_error *error)
{
    struct dmsg_error why = mqtt->trouble;
    for (mqtt->address = first; mqtt->address < mqtt->addresses.count; mqtt->address++) {
        mqtt->established = mqtt->dismissed = false;
        const char *address = mqtt->addresses.text[mqtt->address];
        if (dmsg_link_open(mqtt->link, address, mqtt->port, &why) == 0) {
            mqtt->state = MQTT_CONNECTING;
            mqtt->deadline = monotonic() + CONNECT_TIME;
            return 0;
        }
    }
    return dmsg_mqtt_lose(mqtt, &why, error);
}

int dmsg_mqtt_reconnect(struct dmsg_mqtt *mqtt, struct dmsg_error *error)
{
    struct dmsg_error why;
    mqtt->state = MQTT_AWAY;
    mqtt->taken_over = false;
    mqtt->publishes.unwritten = 0;
    dmsg_batch_clear(&mqtt->batch);
    if (dmsg_addresses_find(&mqtt->addresses, mqtt->host, &why) < 0)
        return dmsg_mqtt_lose(mqtt, &why, error);
    return open_address(mqtt, 0, error);
}

/* This address does not do; perhaps the next one does, unless the broker itself said no. */
static int try_next_address(
    struct dmsg_mqtt *mqtt, const struct dmsg_error *why, struct dmsg_error *error)
{
    if (!mqtt->dismissed && why->code == DMSG_E_BROKER && mqtt->address + 1 < mqtt->addresses.count)
        return open_address(mqtt, mqtt->address + 1, error);
    return dmsg_mqtt_lose(mqtt, why, error);
}

/* One step towards CONNACK: the TCP connection, the TLS handshake, the CONNECT packet. */
static int advance(struct dmsg_mqtt *mqtt, short revents, struct dmsg_error *error)
{
    const short broken = POLLERR | POLLHUP | POLLNVAL;
    if (monotonic() >= mqtt->deadline)
        return dmsg_fail(error, DMSG_E_BROKER, "no answer within %d seconds", CONNECT_TIME / 1000);
    if (!mqtt->established) {
        if ((revents & (POLLOUT | broken)) == 0)
            return 0;
        int code = dmsg_link_established(mqtt->link, error);
        if (code < 0)
            return code;
        mqtt->established = true;
    }
    if (dmsg_link_handshaking(mqtt->link) || (revents & (POLLIN | broken)) != 0) {
        int code = dmsg_link_read(mqtt->link, error);
        if (code < 0)
            return code;
    }
    /* Not after CONNACK: what came with it must not be acknowledged yet. */
    if (mqtt->state == MQTT_CONNECTING && !dmsg_link_handshaking(mqtt->link))
        return dmsg_link_write(mqtt->link, error);
    return 0;
}

bool dmsg_mqtt_connected(const struct dmsg_mqtt *mqtt)
{
    return mqtt->state == MQTT_CONNECTED;
}

bool dmsg_mqtt_taken_over(const struct dmsg_mqtt *mqtt)
{
    return mqtt->taken_over;
}

size_t dmsg_mqtt_packet_maximum(const struct dmsg_mqtt *mqtt)
{
    return mqtt->welcome.packet_maximum;
}

/* -------------------------------------------------------------------------------- the loop */

int dmsg_mqtt_fd(const struct dmsg_mqtt *mqtt)
{
    return mqtt->state == MQTT_AWAY ? -1 : dmsg_link_fd(mqtt->link);
}

short dmsg_mqtt_events(const struct dmsg_mqtt *mqtt)
{
    if (mqtt->state == MQTT_AWAY)
        return 0;
    if (mqtt->state == MQTT_CONNECTING && !mqtt->established)
        return POLLOUT;
    /* With a batch in hand writing would acknowledge it. */
    bool writes = mqtt->batch.count == 0 && dmsg_link_wants_write(mqtt->link);
    return (short)(POLLIN | (writes ? POLLOUT : 0));
}

int dmsg_mqtt_timeout(const struct dmsg_mqtt *mqtt)
{
    if (mqtt->state == MQTT_AWAY)
        return TIMEOUT_MAX;
    if (mqtt->state == MQTT_CONNECTING) {
        int64_t left = mqtt->deadline - monotonic();
        return left < 0 ? 0 : (int)left;
    }
    if (mqtt->batch.count > 0 || dmsg_link_has_pending(mqtt->link))
        return 0;
    int timeout = mqtt->welcome.keepalive * 1000 / KEEPALIVE_PARTS;
    if (timeout < TIMEOUT_MIN)
        return TIMEOUT_MIN;
    return timeout > TIMEOUT_MAX ? TIMEOUT_MAX : timeout;
}

static bool is_readable(const struct dmsg_mqtt *mqtt)
{
    struct pollfd now = {.fd = dmsg_link_fd(mqtt->link), .events = POLLIN};
    return dmsg_link_has_pending(mqtt->link) || poll(&now, 1, 0) > 0;
}

/* Collects packets; with a first read if something is to be read at all. */
static int collect(struct dmsg_mqtt *mqtt, short revents, struct dmsg_error *error)
{
    if ((revents & ~POLLOUT) == 0 && !dmsg_link_has_pending(mqtt->link))
        return 0;
    do {
        int code = dmsg_link_read(mqtt->link, error);
        if (code < 0)
            return code;
    } while (
        !mqtt->dismissed && !dmsg_batch_full(&mqtt->batch, mqtt->batch_limit) && is_readable(mqtt));
    return 0;
}

static int step(struct dmsg_mqtt *mqtt, short revents, struct dmsg_error *error)
{
    bool connecting = mqtt->state == MQTT_CONNECTING;
    struct dmsg_error why;
    int code = connecting ? advance(mqtt, revents, &why) : collect(mqtt, revents, &why);
    if (mqtt->batch.failed) {
        code = dmsg_fail(&why, DMSG_E_BROKER, "more came at once than there is room for");
    } else if (mqtt->dismissed) {
        why = mqtt->trouble;
        code = why.code;
    }
    if (code == 0 && mqtt->state == MQTT_CONNECTED)
        code = dmsg_mqtt_subscribe_all(mqtt, &why);
    if (code == 0)
        return 0;
    return mqtt->state == MQTT_CONNECTING ? try_next_address(mqtt, &why, error)
                                          : dmsg_mqtt_lose(mqtt, &why, error);
}

/* What was collected before the connection was lost is given out first: it may have come at
   QoS 0, and it does no harm to hear the rest twice. */
int dmsg_mqtt_read(struct dmsg_mqtt *mqtt, short revents, struct dmsg_error *error)
{
    if (mqtt->state == MQTT_AWAY) {
        if (error != NULL)
            *error = mqtt->trouble;
        return mqtt->trouble.code;
    }
    if (mqtt->batch.count > 0)
        return (int)mqtt->batch.count;
    int code = step(mqtt, revents, error);
    if (mqtt->batch.failed)
        dmsg_batch_clear(&mqtt->batch);
    dmsg_batch_settle(&mqtt->batch);
    if (mqtt->batch.count > 0)
        return (int)mqtt->batch.count;
    return code;
}

const struct dmsg_packet *dmsg_mqtt_packet(const struct dmsg_mqtt *mqtt, size_t index)
{
    return index < mqtt->batch.count ? &mqtt->batch.packets[index] : NULL;
}

void dmsg_mqtt_limit_batch(struct dmsg_mqtt *mqtt, size_t count)
{
    mqtt->batch_limit = count < 1 ? 1 : count > DMSG_BATCH_MAX ? DMSG_BATCH_MAX : count;
}

int dmsg_mqtt_acknowledge(struct dmsg_mqtt *mqtt, struct dmsg_error *error)
{
    struct dmsg_error why;
    dmsg_batch_clear(&mqtt->batch);
    if (mqtt->state == MQTT_AWAY) {
        if (error != NULL)
            *error = mqtt->trouble;
        return mqtt->trouble.code;
    }
    if (mqtt->state == MQTT_CONNECTING)
        return 0;
    int code = dmsg_link_write(mqtt->link, &why);
    if (code == 0)
        code = dmsg_link_keep_alive(mqtt->link, &why);
    return code < 0 ? dmsg_mqtt_lose(mqtt, &why, error) : 0;
}

/* -------------------------------------------------------------------------------- blocking */

static int turn(struct dmsg_mqtt *mqtt, int64_t until, struct dmsg_error *error)
{
    int64_t left = until - monotonic();
    int timeout = dmsg_mqtt_timeout(mqtt);
    if (left <= 0)
        return dmsg_fail(
            error, DMSG_E_TIMEOUT, "broker %s port %d: no answer in time", mqtt->host, mqtt->port);
    struct pollfd wait = {.fd = dmsg_mqtt_fd(mqtt), .events = dmsg_mqtt_events(mqtt)};
    if (poll(&wait, 1, timeout < left ? timeout : (int)left) < 0)
        wait.revents = 0; /* interrupted by a signal */
    return dmsg_mqtt_read(mqtt, wait.revents, error);
}

int dmsg_mqtt_wait_connected(struct dmsg_mqtt *mqtt, int timeout, struct dmsg_error *error)
{
    int64_t until = monotonic() + timeout;
    int code = mqtt->state == MQTT_AWAY ? dmsg_mqtt_reconnect(mqtt, error) : 0;
    while (code >= 0 && mqtt->state != MQTT_CONNECTED)
        code = turn(mqtt, until, error);
    return code < 0 ? code : 0;
}

int dmsg_mqtt_wait_flushed(struct dmsg_mqtt *mqtt, int timeout, struct dmsg_error *error)
{
    int64_t until = monotonic() + timeout;
    int code = 0;
    while (code == 0 && dmsg_mqtt_in_flight(mqtt) > 0) {
        code = mqtt->batch.count == 0 ? dmsg_mqtt_acknowledge(mqtt, error) : 0;
        if (code == 0 && dmsg_mqtt_in_flight(mqtt) > 0)
            code = turn(mqtt, until, error);
    }
    if (dmsg_mqtt_in_flight(mqtt) == 0 && code < 0)
        return 0; /* the connection ended behind the last acknowledgement */
    if (code > 0)
        return dmsg_fail(error, DMSG_E_USAGE, "packets came while only publishing was expected");
    return code;
}
