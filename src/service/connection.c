#include "base/fail.h"
#include "service/internal.h"

#include <stdio.h>
#include <string.h>

/* A connection that held this long was a good one: the next pause is the first again. */
#define GOOD_TIME 60000
/* So many short ones in a row have a reason that waiting does not mend. */
#define SHORT_CONNECTIONS 5

static void log_connection(
    const struct dmsg_receiver *receiver, enum dmsg_log_level level, int code, const char *text)
{
    struct dmsg_event event = {.level = level, .code = code, .text = text};
    dmsg_log_event(receiver->config->log, &event);
}

/* Once per reason, not once per try. */
static void say_away(struct dmsg_receiver *receiver, const struct dmsg_error *why)
{
    char text[DMSG_ERROR_TEXT + 100];
    if (strcmp(receiver->away, why->text) == 0)
        return;
    memcpy(receiver->away, why->text, sizeof receiver->away);
    snprintf(text, sizeof text, "%s; trying again until it works", why->text);
    log_connection(receiver, DMSG_LOG_WARNING, why->code, text);
}

static void count_short_connections(struct dmsg_receiver *receiver)
{
    if (dmsg_now_ms() - receiver->connected_at >= GOOD_TIME) {
        dmsg_pause_reset(&receiver->pause);
        receiver->short_connections = 0;
    } else if (++receiver->short_connections == SHORT_CONNECTIONS) {
        log_connection(receiver, DMSG_LOG_WARNING, DMSG_E_BROKER,
            "the broker keeps ending the connection soon after it is made: perhaps another client "
            "uses the same client id");
    }
}

void dmsg_connection_lost(struct dmsg_receiver *receiver, const struct dmsg_error *why)
{
    if (receiver->was_connected)
        count_short_connections(receiver);
    say_away(receiver, why);
    if (receiver->was_subscribed || receiver->state->broker[0] == '\0')
        receiver->state->broker_at = dmsg_context_now(receiver->config->context);
    receiver->state->subscribed = false;
    memcpy(receiver->state->broker, why->text, sizeof receiver->state->broker);
    receiver->was_connected = receiver->was_subscribed = false;
    receiver->reconnect_at =
        dmsg_now_ms() + dmsg_pause_take(&receiver->pause, receiver->config->context);
}

void dmsg_connection_renew(struct dmsg_receiver *receiver)
{
    receiver->holding = true;
    receiver->was_connected = receiver->was_subscribed = receiver->state->subscribed = false;
    receiver->reconnect_at = 0;
}

static void log_grants(const struct dmsg_receiver *receiver)
{
    char line[DMSG_ERROR_TEXT];
    const char *grants = dmsg_mqtt_grants(receiver->config->mqtt);
    while (*grants != '\0') {
        size_t length = strcspn(grants, "\n");
        snprintf(line, sizeof line, "broker: %.*s", (int)length, grants);
        log_connection(receiver, DMSG_LOG_WARNING, 0, line);
        grants += length + (grants[length] == '\n');
    }
}

/* Notices what changed since the last turn, and connects when it is time to. */
void dmsg_connection_keep(struct dmsg_receiver *receiver)
{
    struct dmsg_mqtt *mqtt = receiver->config->mqtt;
    struct dmsg_error why;
    bool away = receiver->holding || dmsg_mqtt_fd(mqtt) < 0;
    if (!away && dmsg_mqtt_connected(mqtt) && !receiver->was_connected) {
        receiver->was_connected = true;
        receiver->connected_at = dmsg_now_ms();
        receiver->away[0] = '\0';
        log_connection(receiver, DMSG_LOG_INFO, 0, "connected to the broker");
    }
    if (!away && dmsg_mqtt_subscribed(mqtt) && !receiver->was_subscribed) {
        receiver->was_subscribed = receiver->state->subscribed = true;
        receiver->state->broker_at = dmsg_context_now(receiver->config->context);
        receiver->state->broker[0] = '\0';
        log_connection(receiver, DMSG_LOG_INFO, 0, "subscribed");
        log_grants(receiver);
    }
    if (!away || dmsg_now_ms() < receiver->reconnect_at)
        return;
    receiver->holding = false;
    if (dmsg_mqtt_reconnect(mqtt, &why) < 0)
        dmsg_connection_lost(receiver, &why);
}
