#include "base/fail.h"
#include "base/monotonic.h"
#include "mqtt/config.h"
#include "mqtt/internal.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* For the goodbye at the end. */
#define GOODBYE_TIME 1000
/* The keepalive time must be looked at some times within it, and not for nothing. */
#define KEEPALIVE_PARTS 4
#define TIMEOUT_MIN 1000
#define TIMEOUT_MAX 15000

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
    mqtt->welcome = *welcome;
    mqtt->state = MQTT_CONNECTED;
    dmsg_mqtt_forget_subscriptions(mqtt);
    if (!welcome->session_present)
        dmsg_mqtt_forget_publishes(mqtt);
    dmsg_mqtt_compare_grants(mqtt);
    mqtt->had_session = true;
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

static bool on_received(void *user, struct dmsg_span topic, struct dmsg_span payload, bool retained)
{
    struct dmsg_mqtt *mqtt = user;
    bool cut = topic.size + payload.size > mqtt->packet_limit;
    dmsg_batch_put(&mqtt->batch, topic, payload, retained, cut);
    if (mqtt->batch.failed)
        dmsg_link_abort(mqtt->link);
    return !dmsg_batch_full(&mqtt->batch, mqtt->batch_limit);
}

static const struct dmsg_link_events link_events = {
    .welcomed = on_welcomed,
    .dismissed = on_dismissed,
    .subscribed = on_subscribed,
    .published = on_published,
    .received = on_received,
};

/* ------------------------------------------------------------------------- making and ending */

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
    mqtt->had_session = config->expects_session;
    if (config->dane)
        mqtt->dane = *config->dane_source;
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
    char client_id[DMSG_CLIENT_ID_SIZE];
    int code = dmsg_mqtt_config_complete(&filled, client_id, error);
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
    int64_t until = dmsg_now_ms() + GOODBYE_TIME;
    dmsg_link_disconnect(mqtt->link);
    while (dmsg_link_write(mqtt->link, NULL) == 0 && dmsg_now_ms() < until) {
        struct pollfd wait = {.fd = dmsg_link_fd(mqtt->link), .events = POLLOUT};
        (void)poll(&wait, 1, (int)(until - dmsg_now_ms()));
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

bool dmsg_mqtt_connected(const struct dmsg_mqtt *mqtt)
{
    return mqtt->state == MQTT_CONNECTED;
}

bool dmsg_mqtt_taken_over(const struct dmsg_mqtt *mqtt)
{
    return mqtt->taken_over;
}

/* -------------------------------------------------------------------------------- the loop */

int dmsg_mqtt_fd(const struct dmsg_mqtt *mqtt)
{
    if (mqtt->state == MQTT_ASKING)
        return mqtt->dane.fd;
    return mqtt->state == MQTT_AWAY ? -1 : dmsg_link_fd(mqtt->link);
}

short dmsg_mqtt_events(const struct dmsg_mqtt *mqtt)
{
    if (mqtt->state == MQTT_AWAY)
        return 0;
    if (mqtt->state == MQTT_ASKING)
        return POLLIN;
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
    if (mqtt->state != MQTT_CONNECTED)
        return dmsg_mqtt_connect_timeout(mqtt);
    if (mqtt->batch.count > 0 || dmsg_link_has_pending(mqtt->link))
        return 0;
    int timeout = mqtt->welcome.keepalive * 1000 / KEEPALIVE_PARTS;
    if (timeout < TIMEOUT_MIN)
        return TIMEOUT_MIN;
    return timeout > TIMEOUT_MAX ? TIMEOUT_MAX : timeout;
}

/* Collects packets until none is left or the batch is full. Each call reads one packet, but over
   TLS all that was decrypted already, until on_received ends that. */
static int collect(struct dmsg_mqtt *mqtt, struct dmsg_error *error)
{
    const struct dmsg_batch *batch = &mqtt->batch;
    size_t before;
    do {
        before = batch->count;
        int code = dmsg_link_read(mqtt->link, error);
        if (code < 0)
            return code;
    } while (!mqtt->dismissed && !dmsg_batch_full(batch, mqtt->batch_limit) &&
             (batch->count > before || dmsg_link_has_pending(mqtt->link)));
    return 0;
}

/* What became of the connection while reading. */
static int judge(struct dmsg_mqtt *mqtt, int code, struct dmsg_error *why)
{
    if (mqtt->batch.failed)
        return dmsg_fail(why, DMSG_E_BROKER, "more came at once than there is room for");
    if (!mqtt->dismissed)
        return code;
    *why = mqtt->trouble;
    return why->code;
}

static int step(struct dmsg_mqtt *mqtt, short revents, struct dmsg_error *error)
{
    struct dmsg_error why;
    int code = 0;
    if (mqtt->state != MQTT_CONNECTED)
        code = dmsg_mqtt_advance(mqtt, revents, &why);
    else if ((revents & ~POLLOUT) != 0 || dmsg_link_has_pending(mqtt->link))
        code = collect(mqtt, &why);
    code = judge(mqtt, code, &why);
    if (code == 0 && mqtt->state == MQTT_CONNECTED)
        code = dmsg_mqtt_subscribe_all(mqtt, &why);
    if (code == 0)
        return 0;
    return mqtt->state == MQTT_CONNECTING ? dmsg_mqtt_try_next_address(mqtt, &why, error)
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
    return mqtt->batch.count > 0 ? (int)mqtt->batch.count : code;
}

size_t dmsg_mqtt_read_more(struct dmsg_mqtt *mqtt, size_t limit)
{
    struct dmsg_error why;
    dmsg_mqtt_limit_batch(mqtt, limit);
    if (mqtt->state != MQTT_CONNECTED || dmsg_batch_full(&mqtt->batch, mqtt->batch_limit))
        return mqtt->batch.count;
    int code = judge(mqtt, collect(mqtt, &why), &why);
    if (code < 0)
        dmsg_mqtt_lose(mqtt, &why, NULL);
    return mqtt->batch.count;
}

size_t dmsg_mqtt_batch_size(const struct dmsg_mqtt *mqtt)
{
    return mqtt->batch.count;
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
    if (mqtt->state != MQTT_CONNECTED)
        return 0;
    int code = dmsg_link_write(mqtt->link, &why);
    if (code == 0)
        code = dmsg_link_keep_alive(mqtt->link, &why);
    return code < 0 ? dmsg_mqtt_lose(mqtt, &why, error) : 0;
}

/* -------------------------------------------------------------------------------- blocking */

static int turn(struct dmsg_mqtt *mqtt, int64_t until, struct dmsg_error *error)
{
    int64_t left = until - dmsg_now_ms();
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
    int64_t until = dmsg_now_ms() + timeout;
    int code = mqtt->state == MQTT_AWAY ? dmsg_mqtt_reconnect(mqtt, error) : 0;
    while (code >= 0 && mqtt->state != MQTT_CONNECTED)
        code = turn(mqtt, until, error);
    return code < 0 ? code : 0;
}

int dmsg_mqtt_wait_flushed(struct dmsg_mqtt *mqtt, int timeout, struct dmsg_error *error)
{
    int64_t until = dmsg_now_ms() + timeout;
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
