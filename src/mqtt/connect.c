/* The way to CONNACK: the broker's TLSA records, its addresses, TCP, TLS, CONNECT. */
#include "base/fail.h"
#include "base/monotonic.h"
#include "mqtt/internal.h"

#include <poll.h>

/* Milliseconds for one address: TCP, TLS and CONNACK. Long enough for a lost SYN or two, and for
   the resolver to give up on a question. */
#define CONNECT_TIME 15000

/* Tries this address and those after it, until one does not fail at once. */
static int open_address(struct dmsg_mqtt *mqtt, size_t first, struct dmsg_error *why)
{
    for (mqtt->address = first; mqtt->address < mqtt->addresses.count; mqtt->address++) {
        mqtt->established = mqtt->dismissed = false;
        const char *address = mqtt->addresses.text[mqtt->address];
        if (dmsg_link_open(mqtt->link, address, mqtt->port, why) == 0) {
            mqtt->state = MQTT_CONNECTING;
            mqtt->deadline = dmsg_now_ms() + CONNECT_TIME;
            return 0;
        }
    }
    return why->code;
}

static int open_host(struct dmsg_mqtt *mqtt, struct dmsg_error *why)
{
    int code = dmsg_addresses_find(&mqtt->addresses, mqtt->host, why);
    return code < 0 ? code : open_address(mqtt, 0, why);
}

static int ask_for_records(struct dmsg_mqtt *mqtt, struct dmsg_error *why)
{
    dmsg_link_abort(mqtt->link); /* the old connection need not wait for the answer to end */
    int code = mqtt->dane.ask(mqtt->dane.user, why);
    if (code < 0)
        return code;
    mqtt->state = MQTT_ASKING;
    mqtt->step_at = dmsg_now_ms();
    mqtt->deadline = mqtt->step_at + CONNECT_TIME;
    return 0;
}

int dmsg_mqtt_reconnect(struct dmsg_mqtt *mqtt, struct dmsg_error *error)
{
    struct dmsg_error why = mqtt->trouble;
    mqtt->state = MQTT_AWAY;
    mqtt->taken_over = mqtt->dismissed = false;
    mqtt->publishes.unwritten = 0;
    dmsg_batch_clear(&mqtt->batch);
    int code = mqtt->dane.ask != NULL ? ask_for_records(mqtt, &why) : open_host(mqtt, &why);
    return code < 0 ? dmsg_mqtt_lose(mqtt, &why, error) : 0;
}

/* The broker's TLSA records, before anything is said to it. */
static int advance_question(struct dmsg_mqtt *mqtt, short revents, struct dmsg_error *error)
{
    struct dmsg_mqtt_records records = {0};
    const struct dmsg_mqtt_dane *dane = &mqtt->dane;
    int64_t now = dmsg_now_ms();
    if (revents != 0 || now >= mqtt->step_at) {
        int pause = dane->step(dane->user, error);
        if (pause < 0)
            return pause;
        mqtt->step_at = now + pause;
    }
    if (!dane->answered(dane->user))
        return now < mqtt->deadline ? 0
                                    : dmsg_fail(error, DMSG_E_DNS_TEMPORARY,
                                          "no answer about its TLSA records; try again later");
    int code = dane->take(dane->user, &records, error);
    if (code == 0)
        code = dmsg_mqtt_tls_set_records(mqtt->tls, &records, error);
    return code < 0 ? code : open_host(mqtt, error);
}

/* This address does not do; perhaps the next one does, unless the broker itself said no. */
int dmsg_mqtt_try_next_address(
    struct dmsg_mqtt *mqtt, const struct dmsg_error *why, struct dmsg_error *error)
{
    struct dmsg_error last = *why;
    bool more = mqtt->address + 1 < mqtt->addresses.count;
    if (!mqtt->dismissed && why->code == DMSG_E_BROKER && more &&
        open_address(mqtt, mqtt->address + 1, &last) == 0)
        return 0;
    return dmsg_mqtt_lose(mqtt, &last, error);
}

/* One step towards CONNACK: the TCP connection, the TLS handshake, the CONNECT packet. */
static int advance_connection(struct dmsg_mqtt *mqtt, short revents, struct dmsg_error *error)
{
    const short broken = POLLERR | POLLHUP | POLLNVAL;
    if (dmsg_now_ms() >= mqtt->deadline)
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

int dmsg_mqtt_advance(struct dmsg_mqtt *mqtt, short revents, struct dmsg_error *error)
{
    return mqtt->state == MQTT_ASKING ? advance_question(mqtt, revents, error)
                                      : advance_connection(mqtt, revents, error);
}

int dmsg_mqtt_connect_timeout(const struct dmsg_mqtt *mqtt)
{
    int64_t until = mqtt->deadline;
    if (mqtt->state == MQTT_ASKING && mqtt->dane.answered(mqtt->dane.user))
        return 0;
    if (mqtt->state == MQTT_ASKING && mqtt->step_at < until)
        until = mqtt->step_at;
    int64_t left = until - dmsg_now_ms();
    return left < 0 ? 0 : (int)left;
}
