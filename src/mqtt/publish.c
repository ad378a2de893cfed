#include "base/fail.h"
#include "base/utf8.h"
#include "mqtt/internal.h"

#include <stdio.h>
#include <string.h>

/* Remaining length is at most four octets of seven bits (MQTT 5 section 1.5.5). */
#define REMAINING_MAX 268435455

static size_t variable_size(size_t value)
{
    return value < 128 ? 1 : value < 16384 ? 2 : value < 2097152 ? 3 : 4;
}

/* Octets of a PUBLISH (MQTT 5 section 3.3) beside the payload and the two lengths in front. */
static size_t header_size(const struct dmsg_mqtt *mqtt, size_t topic, int qos)
{
    return 2 + topic + (qos > 0 ? 2 : 0) + (mqtt->version == 5 ? 1 : 0);
}

static int check_size(
    const struct dmsg_mqtt *mqtt, size_t topic, size_t payload, int qos, struct dmsg_error *error)
{
    size_t header = header_size(mqtt, topic, qos);
    size_t limit = dmsg_mqtt_packet_maximum(mqtt);
    if (limit == 0 || limit > REMAINING_MAX)
        limit = REMAINING_MAX;
    if (payload <= limit && 1 + variable_size(header + payload) + header + payload <= limit)
        return 0;
    size_t around = 1 + variable_size(limit) + header;
    return dmsg_fail(error, DMSG_E_SIZE,
        "%zu octets are too large for the broker, which takes packets of %zu: at most %zu would "
        "fit",
        payload, limit, limit > around ? limit - around : 0);
}

static bool is_topic(const char *text)
{
    size_t size = strlen(text);
    return size > 0 && size <= DMSG_MQTT_TOPIC_MAX && strpbrk(text, "+#") == NULL &&
           dmsg_utf8_valid(dmsg_span_text(text));
}

static int check_publish(
    const struct dmsg_mqtt *mqtt, const char *topic, int qos, bool retain, struct dmsg_error *error)
{
    if (!is_topic(topic))
        return dmsg_fail(error, DMSG_E_USAGE,
            "not a topic to publish on: up to %d octets of UTF-8 without '+' and '#'",
            DMSG_MQTT_TOPIC_MAX);
    if (qos < 0 || qos > 2)
        return dmsg_fail(error, DMSG_E_USAGE, "a quality of service is 0, 1 or 2");
    if (mqtt->state != MQTT_CONNECTED)
        return dmsg_fail(error, DMSG_E_BROKER, "not connected to the broker");
    if (qos > mqtt->welcome.qos_maximum)
        return dmsg_fail(error, DMSG_E_BROKER, "the broker takes quality of service %d at most",
            mqtt->welcome.qos_maximum);
    if (retain && !mqtt->welcome.retains)
        return dmsg_fail(error, DMSG_E_BROKER, "the broker does not retain messages");
    if (dmsg_mqtt_in_flight(mqtt) + mqtt->publishes.refused_count >= DMSG_PUBLISH_MAX)
        return dmsg_fail(error, DMSG_E_BROKER,
            "%d messages wait for the broker's acknowledgement already", DMSG_PUBLISH_MAX);
    return 0;
}

static bool has(const uint8_t *bits, int id)
{
    return (bits[id / 8] & 1 << id % 8) != 0;
}

static void put(uint8_t *bits, int id, bool value)
{
    int bit = 1 << id % 8;
    bits[id / 8] = (uint8_t)(value ? bits[id / 8] | bit : bits[id / 8] & ~bit);
}

int dmsg_mqtt_publish(struct dmsg_mqtt *mqtt, const char *topic, struct dmsg_span payload, int qos,
    bool retain, int *id, struct dmsg_error *error)
{
    struct mqtt_publishes *publishes = &mqtt->publishes;
    int new_id = 0;
    int code = check_publish(mqtt, topic, qos, retain, error);
    if (code == 0)
        code = check_size(mqtt, strlen(topic), payload.size, qos, error);
    if (code == 0)
        code = dmsg_link_publish(mqtt->link, topic, payload, qos, retain, &new_id, error);
    if (code < 0)
        return code;
    if (qos == 0) {
        publishes->unwritten++;
    } else {
        put(publishes->under_way, new_id, true);
        put(publishes->exactly_once, new_id, qos == 2);
        put(publishes->doubtful, new_id, false);
        publishes->unacknowledged++;
    }
    if (id != NULL)
        *id = new_id;
    return 0;
}

/* What was at PUBREC is PUBREL only from now on, for a body that went with the session; a broker
   completes what it does not know (MQTT 5 section 4.3.3, and 3.1.1 has no code to say so). */
void dmsg_mqtt_forget_publishes(struct dmsg_mqtt *mqtt)
{
    memcpy(mqtt->publishes.doubtful, mqtt->publishes.exactly_once, sizeof mqtt->publishes.doubtful);
}

/* Only what is under way counts: a broker may acknowledge what it likes. */
void dmsg_mqtt_on_published(struct dmsg_mqtt *mqtt, int id, const char *why)
{
    struct mqtt_publishes *publishes = &mqtt->publishes;
    if (id < 0 || id >= MQTT_IDS)
        return;
    if (!has(publishes->under_way, id)) {
        if (publishes->unwritten > 0)
            publishes->unwritten--;
        return;
    }
    put(publishes->under_way, id, false);
    publishes->unacknowledged--;
    if (why == NULL && has(publishes->doubtful, id))
        why = "it forgot the session in which it came, and perhaps the message";
    if (why == NULL || publishes->refused_count == DMSG_PUBLISH_MAX)
        return;
    publishes->refused[publishes->refused_count].id = id;
    snprintf(publishes->refused[publishes->refused_count].why, sizeof publishes->refused[0].why,
        "%s", why);
    publishes->refused_count++;
}

bool dmsg_mqtt_is_in_flight(const struct dmsg_mqtt *mqtt, int id)
{
    return id >= 0 && id < MQTT_IDS && has(mqtt->publishes.under_way, id);
}

size_t dmsg_mqtt_in_flight(const struct dmsg_mqtt *mqtt)
{
    return mqtt->publishes.unacknowledged + mqtt->publishes.unwritten;
}

int dmsg_mqtt_refused(struct dmsg_mqtt *mqtt, int *id, struct dmsg_error *error)
{
    struct mqtt_publishes *publishes = &mqtt->publishes;
    if (publishes->refused_count == 0)
        return 0;
    publishes->refused_count--;
    *id = publishes->refused[publishes->refused_count].id;
    return dmsg_fail(error, DMSG_E_BROKER, "the broker refused a message: %s",
        publishes->refused[publishes->refused_count].why);
}
