/* What the tests of the broker connection do all the time. They check as they go. */
#ifndef DANEMSG_TEST_CLIENT_H
#define DANEMSG_TEST_CLIENT_H

#include "base/monotonic.h"
#include "broker.h"
#include "danemsg/transport.h"
#include "test.h"

#include <poll.h>

/* Milliseconds: longer than anything here takes, but on a machine under load; and for what should
   not come. */
#define WAIT 120000
#define QUIET 300

static const int versions[] = {5, 311};

static inline struct dmsg_mqtt_config client_config(
    const struct broker *broker, int version, const char *id)
{
    return (struct dmsg_mqtt_config){.host = "127.0.0.1",
        .port = broker->port,
        .version = version,
        .client_id = id,
        .clean = id == NULL};
}

/* Polls and reads once, for at most a while. */
static inline int client_turn(struct dmsg_mqtt *mqtt, int timeout, struct dmsg_error *error)
{
    struct pollfd wait = {.fd = dmsg_mqtt_fd(mqtt), .events = dmsg_mqtt_events(mqtt)};
    int limit = dmsg_mqtt_timeout(mqtt);
    if (poll(&wait, 1, timeout < limit ? timeout : limit) < 0)
        wait.revents = 0;
    return dmsg_mqtt_read(mqtt, wait.revents, error);
}

/* Reads, acknowledging nothing, until a batch comes or time is up: its size, or the error. */
static inline int client_next_batch(struct dmsg_mqtt *mqtt, int timeout)
{
    struct dmsg_error error = {0};
    for (int64_t until = dmsg_now_ms() + timeout; dmsg_now_ms() < until;) {
        int count = client_turn(mqtt, (int)(until - dmsg_now_ms()), &error);
        if (count != 0)
            return count;
        int code = dmsg_mqtt_acknowledge(mqtt, &error);
        if (code < 0)
            return code;
    }
    return 0;
}

/* Reads and acknowledges until `count` packets came; how many did. */
static inline int client_take(struct dmsg_mqtt *mqtt, int count, int timeout)
{
    int taken = 0;
    for (int64_t until = dmsg_now_ms() + timeout; taken < count && dmsg_now_ms() < until;) {
        struct dmsg_error error = {0};
        int batch = client_next_batch(mqtt, (int)(until - dmsg_now_ms()));
        taken += batch > 0 ? batch : 0;
        if (dmsg_mqtt_acknowledge(mqtt, &error) < 0) {
            CHECK_ROW(false, "%s", error.text);
            break;
        }
    }
    return taken;
}

/* What this connection has acknowledged the broker has read: it answers in order. */
static inline void client_settle(struct dmsg_mqtt *mqtt)
{
    CHECK(dmsg_mqtt_publish(mqtt, "nobody", dmsg_span_text("x"), 1, false, NULL, NULL) == 0);
    CHECK(dmsg_mqtt_wait_flushed(mqtt, WAIT, NULL) == 0);
}

static inline struct dmsg_mqtt *client_connect(const struct dmsg_mqtt_config *config)
{
    struct dmsg_mqtt *mqtt = NULL;
    struct dmsg_error error = {0};
    if (dmsg_mqtt_new(&mqtt, config, &error) < 0 ||
        dmsg_mqtt_wait_connected(mqtt, WAIT, &error) < 0) {
        CHECK_ROW(false, "%s", error.text);
        dmsg_mqtt_free(&mqtt);
    }
    return mqtt;
}

static inline struct dmsg_mqtt *client_subscribe(
    const struct dmsg_mqtt_config *config, const char *filter)
{
    struct dmsg_mqtt *mqtt = client_connect(config);
    if (mqtt == NULL)
        return NULL;
    CHECK(dmsg_mqtt_subscribe(mqtt, filter, NULL) == 0);
    for (int64_t until = dmsg_now_ms() + WAIT;
         !dmsg_mqtt_subscribed(mqtt) && dmsg_now_ms() < until;) {
        int count = client_turn(mqtt, 100, NULL);
        if (count != 0) /* a retained message, right behind the SUBACK */
            break;
        CHECK(dmsg_mqtt_acknowledge(mqtt, NULL) == 0);
    }
    CHECK(dmsg_mqtt_subscribed(mqtt));
    return mqtt;
}

/* Publishes `count` texts "0", "1" ... from a client of its own, and sees them acknowledged. */
static inline void client_publish(
    const struct dmsg_mqtt_config *config, const char *topic, int count, int qos)
{
    struct dmsg_mqtt *mqtt = client_connect(config);
    REQUIRE(mqtt != NULL);
    for (int i = 0; i < count; i++) {
        char text[20];
        snprintf(text, sizeof text, "%d", i);
        if (dmsg_mqtt_publish(mqtt, topic, dmsg_span_text(text), qos, false, NULL, NULL) < 0)
            CHECK_ROW(false, "publish %d", i);
        if (dmsg_mqtt_in_flight(mqtt) >= DMSG_PUBLISH_MAX / 2)
            CHECK(dmsg_mqtt_wait_flushed(mqtt, WAIT, NULL) == 0);
    }
    CHECK(dmsg_mqtt_wait_flushed(mqtt, WAIT, NULL) == 0);
    CHECK(dmsg_mqtt_in_flight(mqtt) == 0);
    dmsg_mqtt_free(&mqtt);
}

#endif
