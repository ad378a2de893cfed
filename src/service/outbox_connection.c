/* The publisher's connection to the broker: kept, and what follows when it is lost. */
#include "base/fail.h"
#include "service/outbox_internal.h"

#include <stdio.h>
#include <string.h>

/* So many connections in a row that end before anything is acknowledged have a message as their
   cause: a broker that is restarted, or a bad network, is known by then. */
#define FUTILE_CONNECTIONS 4

void dmsg_publisher_say_once(struct dmsg_publisher *publisher, char said[static DMSG_ERROR_TEXT],
    const struct dmsg_error *why)
{
    char text[DMSG_ERROR_TEXT + 40];
    if (strcmp(said, why->text) == 0)
        return;
    memcpy(said, why->text, DMSG_ERROR_TEXT);
    snprintf(text, sizeof text, "%s; trying again until it works", why->text);
    const struct dmsg_event event = {.level = DMSG_LOG_WARNING, .code = why->code, .text = text};
    dmsg_log_event(publisher->config->log, &event);
}

void dmsg_publisher_lost(struct dmsg_publisher *publisher, const struct dmsg_error *why)
{
    struct dmsg_outbox_state *state = publisher->state;
    if (state->connected || state->broker_at == 0)
        state->broker_at = dmsg_context_now(publisher->config->context);
    publisher->futile += state->connected && publisher->count > 0;
    state->connected = false;
    dmsg_publisher_say_once(publisher, state->broker, why);
    publisher->reconnect_at =
        dmsg_now_ms() + dmsg_pause_take(&publisher->pause, publisher->config->context);
}

/* A broker that ends the connection whenever one message comes (too large, or on a topic that is
   not ours, where MQTT has no word for that or the broker does not say it) would get no other: so
   they are published alone, and the one that is under way then is put off as if it were refused. */
static int isolate(struct dmsg_publisher *publisher, struct dmsg_error *error)
{
    struct dmsg_error why;
    const struct dmsg_under_way *sent = &publisher->ring[publisher->first];
    const struct dmsg_name recipient = sent->recipient;
    int64_t row = sent->row;
    bool alone = publisher->one_by_one > 0 && publisher->count == 1;
    (void)dmsg_fail(&why, DMSG_E_BROKER, "the connection ends each time it is published: %s",
        publisher->state->broker);
    int code = alone ? dmsg_publisher_put_off(publisher, &recipient, row, &why, error) : 0;
    if (code == 0)
        code = publisher->config->mqtt_anew(publisher->config->user, &publisher->mqtt, error);
    if (code < 0)
        return code;
    publisher->futile = 0;
    publisher->one_by_one = DMSG_OUTBOX_WINDOW;
    publisher->progress_at = dmsg_now_ms();
    dmsg_publisher_forget_all(publisher);
    dmsg_publisher_restart(publisher);
    return 0;
}

/* What the broker has acknowledged is settled by now. */
static int connect_again(struct dmsg_publisher *publisher, struct dmsg_error *error)
{
    struct dmsg_error why;
    int64_t now = dmsg_now_ms();
    if (now < publisher->reconnect_at)
        return 0;
    if (publisher->futile >= FUTILE_CONNECTIONS && isolate(publisher, error) < 0) {
        publisher->reconnect_at = now + DMSG_OUTBOX_TROUBLE_PAUSE;
        return error->code;
    }
    if (dmsg_mqtt_reconnect(publisher->mqtt, &why) < 0)
        dmsg_publisher_lost(publisher, &why);
    return 0;
}

int dmsg_publisher_connect(struct dmsg_publisher *publisher, struct dmsg_error *error)
{
    struct dmsg_mqtt *mqtt = publisher->mqtt;
    struct dmsg_outbox_state *state = publisher->state;
    if (dmsg_mqtt_fd(mqtt) < 0)
        return connect_again(publisher, error);
    if (!dmsg_mqtt_connected(mqtt) || state->connected)
        return 0;
    state->connected = true;
    state->broker_at = dmsg_context_now(publisher->config->context);
    state->broker[0] = '\0';
    if (publisher->futile == 0) {
        dmsg_pause_reset(&publisher->pause);
        publisher->progress_at = dmsg_now_ms();
    }
    dmsg_log_text(publisher->config->log, publisher->config->once ? DMSG_LOG_DEBUG : DMSG_LOG_INFO,
        "connected to the broker");
    return 0;
}
