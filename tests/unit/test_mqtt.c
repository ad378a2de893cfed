/* mqtt: against a real mosquitto, and against a socket that says what no mosquitto says. */
#include "broker.h"
#include "danemsg/transport.h"
#include "mqtt/batch.h"
#include "test.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Milliseconds: longer than anything here takes, but on a machine under load; and for what should
   not come. */
#define WAIT 10000
#define QUIET 300

static const int versions[] = {5, 311};

static int64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static struct dmsg_mqtt_config config_of(const struct broker *broker, int version, const char *id)
{
    return (struct dmsg_mqtt_config){.host = "127.0.0.1",
        .port = broker->port,
        .version = version,
        .client_id = id,
        .clean = id == NULL};
}

/* Polls and reads once, for at most a while. */
static int turn(struct dmsg_mqtt *mqtt, int timeout, struct dmsg_error *error)
{
    struct pollfd wait = {.fd = dmsg_mqtt_fd(mqtt), .events = dmsg_mqtt_events(mqtt)};
    int limit = dmsg_mqtt_timeout(mqtt);
    if (poll(&wait, 1, timeout < limit ? timeout : limit) < 0)
        wait.revents = 0;
    return dmsg_mqtt_read(mqtt, wait.revents, error);
}

/* Reads, acknowledging nothing, until a batch comes or time is up: its size, or the error. */
static int next_batch(struct dmsg_mqtt *mqtt, int timeout)
{
    struct dmsg_error error = {0};
    for (int64_t until = milliseconds() + timeout; milliseconds() < until;) {
        int count = turn(mqtt, (int)(until - milliseconds()), &error);
        if (count != 0)
            return count;
        int code = dmsg_mqtt_acknowledge(mqtt, &error);
        if (code < 0)
            return code;
    }
    return 0;
}

/* Reads and acknowledges until `count` packets came; how many did. */
static int take_packets(struct dmsg_mqtt *mqtt, int count, int timeout)
{
    int taken = 0;
    for (int64_t until = milliseconds() + timeout; taken < count && milliseconds() < until;) {
        struct dmsg_error error = {0};
        int batch = next_batch(mqtt, (int)(until - milliseconds()));
        taken += batch > 0 ? batch : 0;
        if (dmsg_mqtt_acknowledge(mqtt, &error) < 0) {
            CHECK_ROW(false, "%s", error.text);
            break;
        }
    }
    return taken;
}

static struct dmsg_mqtt *connect_with(const struct dmsg_mqtt_config *config)
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

static struct dmsg_mqtt *subscriber(const struct dmsg_mqtt_config *config, const char *filter)
{
    struct dmsg_mqtt *mqtt = connect_with(config);
    if (mqtt == NULL)
        return NULL;
    CHECK(dmsg_mqtt_subscribe(mqtt, filter, NULL) == 0);
    for (int64_t until = milliseconds() + WAIT;
         !dmsg_mqtt_subscribed(mqtt) && milliseconds() < until;) {
        int count = turn(mqtt, 100, NULL);
        if (count != 0) /* a retained message, right behind the SUBACK */
            break;
        CHECK(dmsg_mqtt_acknowledge(mqtt, NULL) == 0);
    }
    CHECK(dmsg_mqtt_subscribed(mqtt));
    return mqtt;
}

/* Publishes `count` texts "0", "1" ... from a client of its own, and sees them acknowledged. */
static void publish_numbers(
    const struct dmsg_mqtt_config *config, const char *topic, int count, int qos)
{
    struct dmsg_mqtt *mqtt = connect_with(config);
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

/* The broker without special configuration, shared by the tests that need no other. */
static struct broker common;

static bool common_broker(void)
{
    if (common.pid != 0)
        return true;
    return broker_missing() == NULL && broker_prepare(&common) && broker_run(&common, "");
}

#define NEED_BROKER()                                                                              \
    do {                                                                                           \
        if (broker_missing() != NULL)                                                              \
            SKIP("%s", broker_missing());                                                          \
        REQUIRE(common_broker());                                                                  \
    } while (0)

/* ------------------------------------------------------------------------------ the ordinary */

static void publishes_and_receives(void)
{
    NEED_BROKER();
    for (size_t v = 0; v < 2; v++) {
        for (int qos = 0; qos <= 1; qos++) {
            struct dmsg_mqtt_config config = config_of(&common, versions[v], NULL);
            struct dmsg_mqtt *mqtt = subscriber(&config, "to/+/here");
            REQUIRE(mqtt != NULL);
            CHECK(strcmp(dmsg_mqtt_grants(mqtt), "") == 0);
            CHECK(dmsg_mqtt_packet_maximum(mqtt) == 0);
            publish_numbers(&config, "to/bob/here", 1, qos);
            CHECK_ROW(next_batch(mqtt, WAIT) == 1, "version %d QoS %d", versions[v], qos);
            const struct dmsg_packet *packet = dmsg_mqtt_packet(mqtt, 0);
            REQUIRE(packet != NULL);
            CHECK(dmsg_span_equal_text(packet->topic, "to/bob/here"));
            CHECK(dmsg_span_equal_text(packet->payload, "0"));
            CHECK(!packet->retained && !packet->cut);
            CHECK(dmsg_mqtt_packet(mqtt, 1) == NULL);
            CHECK(dmsg_mqtt_acknowledge(mqtt, NULL) == 0);
            CHECK(dmsg_mqtt_packet(mqtt, 0) == NULL);
            publish_numbers(&config, "to/bob/there", 1, qos);
            CHECK(next_batch(mqtt, QUIET) == 0);
            dmsg_mqtt_free(&mqtt);
        }
    }
}

static void batches_are_bounded(void)
{
    NEED_BROKER();
    struct dmsg_mqtt_config config = config_of(&common, 5, NULL);
    struct dmsg_mqtt *mqtt = subscriber(&config, "many");
    REQUIRE(mqtt != NULL);
    publish_numbers(&config, "many", 2500, 1);
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    int total = 0, largest = 0;
    while (total < 2500) {
        int count = next_batch(mqtt, WAIT);
        if (count <= 0)
            break;
        for (int i = 0; i < count; i++) {
            char text[20];
            snprintf(text, sizeof text, "%d", total + i);
            if (!dmsg_span_equal_text(dmsg_mqtt_packet(mqtt, (size_t)i)->payload, text))
                CHECK_ROW(false, "packet %s", text);
        }
        /* a batch in hand is neither lost nor added to by reading again */
        CHECK(dmsg_mqtt_read(mqtt, POLLIN, NULL) == count);
        CHECK((dmsg_mqtt_events(mqtt) & POLLOUT) == 0 && dmsg_mqtt_timeout(mqtt) == 0);
        CHECK(dmsg_mqtt_acknowledge(mqtt, NULL) == 0);
        largest = count > largest ? count : largest;
        total += count;
    }
    CHECK(total == 2500);
    CHECK_ROW(largest > 100 && largest <= DMSG_BATCH_MAX, "largest %d", largest);
    dmsg_mqtt_limit_batch(mqtt, 7);
    publish_numbers(&config, "many", 20, 1);
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    CHECK(next_batch(mqtt, WAIT) == 7);
    CHECK(dmsg_mqtt_acknowledge(mqtt, NULL) == 0);
    CHECK(take_packets(mqtt, 13, WAIT) == 13);
    dmsg_mqtt_free(&mqtt);
}

/* What was read and not acknowledged comes again, what was acknowledged does not. */
static void acknowledgement_is_held_back(void)
{
    NEED_BROKER();
    for (size_t v = 0; v < 2; v++) {
        char id[] = "held-0";
        id[5] = (char)('0' + v);
        struct dmsg_mqtt_config config = config_of(&common, versions[v], id);
        struct dmsg_mqtt_config other = config_of(&common, versions[v], NULL);
        struct dmsg_mqtt *mqtt = subscriber(&config, "held");
        REQUIRE(mqtt != NULL);
        publish_numbers(&other, "held", 5, 1);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        CHECK(next_batch(mqtt, WAIT) == 5);
        CHECK(dmsg_mqtt_reconnect(mqtt, NULL) == 0); /* as after a commit that failed */
        CHECK(dmsg_mqtt_packet(mqtt, 0) == NULL);
        CHECK_ROW(take_packets(mqtt, 5, WAIT) == 5, "version %d, again", versions[v]);
        CHECK(next_batch(mqtt, QUIET) == 0); /* the broker reads the acknowledgements */
        CHECK(dmsg_mqtt_reconnect(mqtt, NULL) == 0);
        CHECK_ROW(next_batch(mqtt, QUIET) == 0, "version %d, not again", versions[v]);

        publish_numbers(&other, "held", 3, 1);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        CHECK(next_batch(mqtt, WAIT) == 3);
        dmsg_mqtt_free(&mqtt); /* as after a crash */
        mqtt = connect_with(&config);
        REQUIRE(mqtt != NULL);
        CHECK_ROW(take_packets(mqtt, 3, WAIT) == 3, "version %d, after free", versions[v]);
        CHECK(next_batch(mqtt, QUIET) == 0);
        dmsg_mqtt_free(&mqtt);
        mqtt = connect_with(&config);
        REQUIRE(mqtt != NULL);
        CHECK(next_batch(mqtt, QUIET) == 0);
        dmsg_mqtt_free(&mqtt);
    }
}

static int subscribe_lines;

static void count_subscribes(void *user, const char *line)
{
    (void)user;
    subscribe_lines += strstr(line, "sending SUBSCRIBE") != NULL;
}

static void sessions_persist(void)
{
    NEED_BROKER();
    for (size_t v = 0; v < 2; v++) {
        char id[] = "session-0";
        id[8] = (char)('0' + v);
        struct dmsg_mqtt_config config = config_of(&common, versions[v], id);
        struct dmsg_mqtt_config other = config_of(&common, versions[v], NULL);
        config.debug = count_subscribes;
        subscribe_lines = 0;
        struct dmsg_mqtt *mqtt = subscriber(&config, "session");
        REQUIRE(mqtt != NULL);
        CHECK(subscribe_lines == 1);
        CHECK(dmsg_mqtt_reconnect(mqtt, NULL) == 0);
        CHECK(!dmsg_mqtt_subscribed(mqtt));
        CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, NULL) == 0);
        CHECK(dmsg_mqtt_subscribed(mqtt)); /* the session has it */
        CHECK(dmsg_mqtt_acknowledge(mqtt, NULL) == 0 && subscribe_lines == 1);
        CHECK(strcmp(dmsg_mqtt_grants(mqtt), "") == 0);
        dmsg_mqtt_free(&mqtt);
        publish_numbers(&other, "session", 2, 1);
        mqtt = connect_with(&config);
        REQUIRE(mqtt != NULL);
        CHECK_ROW(take_packets(mqtt, 2, WAIT) == 2, "version %d", versions[v]);
        dmsg_mqtt_free(&mqtt);

        config.clean = true;
        mqtt = subscriber(&config, "session");
        dmsg_mqtt_free(&mqtt);
        publish_numbers(&other, "session", 2, 1);
        config.clean = false;
        mqtt = connect_with(&config);
        REQUIRE(mqtt != NULL);
        CHECK_ROW(next_batch(mqtt, QUIET) == 0, "clean, version %d", versions[v]);
        dmsg_mqtt_free(&mqtt);
    }
}

/* The broker forgot the session: subscribe again, and say that messages may be lost. */
static void a_lost_session_is_noticed(void)
{
    struct broker broker;
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    REQUIRE(broker_prepare(&broker) && broker_run(&broker, ""));
    struct dmsg_mqtt_config config = config_of(&broker, 5, "lost-session");
    struct dmsg_error error = {0};
    struct dmsg_mqtt *mqtt = subscriber(&config, "topic");
    REQUIRE(mqtt != NULL);
    broker_halt(&broker);
    CHECK(next_batch(mqtt, WAIT) == DMSG_E_BROKER);
    CHECK(!dmsg_mqtt_connected(mqtt) && !dmsg_mqtt_subscribed(mqtt) && dmsg_mqtt_fd(mqtt) == -1);
    CHECK(dmsg_mqtt_read(mqtt, 0, &error) == DMSG_E_BROKER && error.text[0] != '\0');
    CHECK(dmsg_mqtt_acknowledge(mqtt, NULL) == DMSG_E_BROKER);
    CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == DMSG_E_BROKER);
    CHECK_ROW(strstr(error.text, "Connection refused") != NULL, "%s", error.text);
    REQUIRE(broker_run(&broker, ""));
    CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, NULL) == 0);
    CHECK(strstr(dmsg_mqtt_grants(mqtt), "did not keep the session") != NULL);
    while (!dmsg_mqtt_subscribed(mqtt) && next_batch(mqtt, 100) == 0)
        ;
    CHECK(dmsg_mqtt_subscribed(mqtt));
    struct dmsg_mqtt_config other = config_of(&broker, 5, NULL);
    publish_numbers(&other, "topic", 1, 1);
    CHECK(take_packets(mqtt, 1, WAIT) == 1);
    dmsg_mqtt_free(&mqtt);
    broker_stop(&broker);
}

static void a_session_that_is_taken_over_is_recognised(void)
{
    NEED_BROKER();
    for (size_t v = 0; v < 2; v++) {
        struct dmsg_mqtt_config config = config_of(&common, versions[v], "taken");
        struct dmsg_error error = {0};
        struct dmsg_mqtt *first = connect_with(&config), *second = connect_with(&config);
        REQUIRE(first != NULL && second != NULL);
        CHECK(next_batch(first, WAIT) == DMSG_E_BROKER);
        CHECK(dmsg_mqtt_read(first, 0, &error) == DMSG_E_BROKER);
        /* Not every broker gives the reason: mosquitto 2.0.11 just closes. */
        bool said = strstr(error.text, "Session taken over") != NULL;
        CHECK_ROW(said || strstr(error.text, "closed the connection") != NULL, "%s", error.text);
        CHECK(dmsg_mqtt_taken_over(first) == said);
        CHECK(dmsg_mqtt_connected(second) && !dmsg_mqtt_taken_over(second));
        dmsg_mqtt_free(&first);
        dmsg_mqtt_free(&second);
    }
}

static void the_will_is_for_those_who_do_not_say_goodbye(void)
{
    NEED_BROKER();
    for (size_t v = 0; v < 2; v++) {
        struct dmsg_mqtt_config config = config_of(&common, versions[v], NULL);
        struct dmsg_mqtt *heir = subscriber(&config, "will");
        config.will_topic = "will";
        config.will_payload = dmsg_span_text("gone");
        config.will_qos = 1;
        struct dmsg_mqtt *polite = connect_with(&config);
        struct dmsg_mqtt *killed = subscriber(&config, "bait");
        REQUIRE(heir != NULL && polite != NULL && killed != NULL);
        dmsg_mqtt_free(&polite);
        CHECK_ROW(next_batch(heir, QUIET) == 0, "version %d", versions[v]);
        config.will_topic = NULL;
        publish_numbers(&config, "bait", 1, 1);
        CHECK(next_batch(killed, WAIT) == 1);
        dmsg_mqtt_free(&killed); /* with a batch in hand: no goodbye */
        REQUIRE(next_batch(heir, WAIT) == 1);
        CHECK(dmsg_span_equal_text(dmsg_mqtt_packet(heir, 0)->payload, "gone"));
        dmsg_mqtt_free(&heir);
    }
}

static void retained_packets_say_so(void)
{
    NEED_BROKER();
    for (size_t v = 0; v < 2; v++) {
        struct dmsg_mqtt_config config = config_of(&common, versions[v], NULL);
        struct dmsg_mqtt *mqtt = connect_with(&config);
        REQUIRE(mqtt != NULL);
        CHECK(dmsg_mqtt_publish(mqtt, "kept", dmsg_span_text("old"), 1, true, NULL, NULL) == 0);
        CHECK(dmsg_mqtt_wait_flushed(mqtt, WAIT, NULL) == 0);
        struct dmsg_mqtt *late = subscriber(&config, "kept");
        REQUIRE(late != NULL);
        REQUIRE(next_batch(late, WAIT) == 1);
        CHECK(dmsg_mqtt_packet(late, 0)->retained);
        CHECK(dmsg_mqtt_publish(mqtt, "kept", (struct dmsg_span){0}, 1, true, NULL, NULL) == 0);
        CHECK(dmsg_mqtt_wait_flushed(mqtt, WAIT, NULL) == 0);
        dmsg_mqtt_free(&mqtt);
        dmsg_mqtt_free(&late);
    }
}

/* -------------------------------------------------------------------------- limits and rights */

static void our_packet_limit_holds(void)
{
    NEED_BROKER();
    for (size_t v = 0; v < 2; v++) {
        static const size_t sizes[] = {500, 5000, 600};
        struct dmsg_mqtt_config config = config_of(&common, versions[v], NULL);
        struct dmsg_mqtt *sender = connect_with(&config);
        config.packet_limit = 1000;
        struct dmsg_mqtt *mqtt = subscriber(&config, "sizes");
        REQUIRE(mqtt != NULL && sender != NULL);
        char text[5000];
        memset(text, 'x', sizeof text);
        for (size_t i = 0; i < 3; i++) {
            struct dmsg_span payload = {(const uint8_t *)text, sizes[i]};
            CHECK(dmsg_mqtt_publish(sender, "sizes", payload, 1, false, NULL, NULL) == 0);
        }
        CHECK(dmsg_mqtt_wait_flushed(sender, WAIT, NULL) == 0);
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
        /* MQTT 5: the broker knows the limit. 3.1.1: it comes, and is not kept. */
        int expected = versions[v] == 5 ? 2 : 3;
        REQUIRE(next_batch(mqtt, WAIT) == expected);
        for (int i = 0; i < expected; i++) {
            const struct dmsg_packet *packet = dmsg_mqtt_packet(mqtt, (size_t)i);
            size_t size = sizes[expected == 2 ? 2 * i : i];
            CHECK_ROW(packet->cut == (size > 1000), "packet %d", i);
            CHECK_ROW(packet->payload.size == (size > 1000 ? 0 : size), "packet %d", i);
        }
        dmsg_mqtt_free(&sender);
        dmsg_mqtt_free(&mqtt);
    }
}

static void the_brokers_packet_limit_holds(void)
{
    static const char *const topics[] = {"t", "a/longer/topic"};
    struct broker broker;
    struct dmsg_error error = {0};
    char text[3000];
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    REQUIRE(broker_prepare(&broker) && broker_run(&broker, "max_packet_size 2000"));
    memset(text, 'x', sizeof text);
    struct dmsg_mqtt_config config = config_of(&broker, 5, NULL);
    struct dmsg_mqtt *mqtt = connect_with(&config);
    REQUIRE(mqtt != NULL);
    CHECK(dmsg_mqtt_packet_maximum(mqtt) == 2000);
    CHECK(strstr(dmsg_mqtt_grants(mqtt), "packets of 2000 octets") != NULL);
    for (size_t i = 0; i < 2; i++) {
        for (int qos = 0; qos <= 1; qos++) {
            size_t around = 3 + 2 + strlen(topics[i]) + (qos > 0 ? 2 : 0) + 1;
            struct dmsg_span payload = {(const uint8_t *)text, 2000 - around + 1};
            char expected[40];
            snprintf(expected, sizeof expected, "at most %zu would fit", 2000 - around);
            CHECK(dmsg_mqtt_publish(mqtt, topics[i], payload, qos, false, NULL, &error) ==
                  DMSG_E_SIZE);
            CHECK_ROW(strstr(error.text, expected) != NULL, "%s", error.text);
            payload.size--;
            CHECK(dmsg_mqtt_publish(mqtt, topics[i], payload, qos, false, NULL, &error) == 0);
            CHECK_ROW(dmsg_mqtt_wait_flushed(mqtt, WAIT, &error) == 0, "%s", error.text);
        }
    }
    CHECK(dmsg_mqtt_connected(mqtt));
    dmsg_mqtt_free(&mqtt);
    broker_stop(&broker);
}

static void make_password_file(const struct broker *broker, char *path, size_t size)
{
    char command[300];
    broker_path(broker, "passwords", path, size);
    snprintf(command, sizeof command, "mosquitto_passwd -b -c %s alice secret", path);
    CHECK(system(command) == 0);
}

static void passwords_and_access_rules(void)
{
    static const struct {
        const char *user, *password;
        int code;
    } rows[] = {{"alice", "secret", 0}, {"alice", "wrong", DMSG_E_BROKER},
        {"mallory", "secret", DMSG_E_BROKER}, {NULL, NULL, DMSG_E_BROKER}};
    struct broker broker;
    char passwords[128], rules[128], lines[400];
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    REQUIRE(broker_prepare(&broker));
    make_password_file(&broker, passwords, sizeof passwords);
    broker_path(&broker, "rules", rules, sizeof rules);
    FILE *file = fopen(rules, "w");
    REQUIRE(file != NULL);
    fprintf(file, "user alice\ntopic read #\ntopic write free\n");
    fclose(file);
    snprintf(lines, sizeof lines, "allow_anonymous false\npassword_file %s\nacl_file %s", passwords,
        rules);
    REQUIRE(broker_run(&broker, lines));
    for (size_t v = 0; v < 2; v++) {
        for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
            struct dmsg_mqtt_config config = config_of(&broker, versions[v], NULL);
            struct dmsg_mqtt *mqtt = NULL;
            struct dmsg_error error = {0};
            config.username = rows[i].user;
            config.password = rows[i].password;
            REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
            CHECK_ROW(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == rows[i].code, "row %zu: %s",
                i, error.text);
            if (rows[i].code != 0)
                CHECK_ROW(strstr(error.text, "check user name, password") != NULL &&
                              strstr(error.text, "secret") == NULL,
                    "%s", error.text);
            dmsg_mqtt_free(&mqtt);
        }
    }
    struct dmsg_mqtt_config config = config_of(&broker, 5, NULL);
    struct dmsg_error error = {0};
    config.username = "alice";
    config.password = "secret";
    struct dmsg_mqtt *mqtt = connect_with(&config);
    REQUIRE(mqtt != NULL);
    int allowed = 0, forbidden = 0, id = 0;
    CHECK(dmsg_mqtt_publish(mqtt, "free", dmsg_span_text("x"), 1, false, &allowed, NULL) == 0);
    CHECK(dmsg_mqtt_wait_flushed(mqtt, WAIT, NULL) == 0);
    CHECK(dmsg_mqtt_publish(mqtt, "other", dmsg_span_text("x"), 1, false, &forbidden, NULL) == 0);
    CHECK_ROW(dmsg_mqtt_wait_flushed(mqtt, WAIT, &error) == 0, "%s", error.text);
    CHECK(dmsg_mqtt_refused(mqtt, &id, &error) == DMSG_E_BROKER && id == forbidden);
    CHECK_ROW(strstr(error.text, "Not authorized") != NULL, "%s", error.text);
    CHECK(allowed != forbidden && dmsg_mqtt_refused(mqtt, &id, &error) == 0);
    dmsg_mqtt_free(&mqtt);
    broker_stop(&broker);
}

static void configurations_are_checked(void)
{
    static char too_long[65537];
    memset(too_long, 'x', sizeof too_long - 1);
    const struct {
        struct dmsg_mqtt_config config;
        int code;
    } rows[] = {
        {{.port = 1883}, 0},
        {{.port = 65536}, DMSG_E_USAGE},
        {{.port = -1}, DMSG_E_USAGE},
        {{.version = 4}, DMSG_E_USAGE},
        {{.keepalive = 4}, DMSG_E_USAGE},
        {{.keepalive = 5}, 0},
        {{.keepalive = 65536}, DMSG_E_USAGE},
        {{.client_id = too_long}, DMSG_E_USAGE},
        {{.client_id = "a\xff"}, DMSG_E_USAGE},
        {{.client_id = "a"}, 0},
        {{.username = too_long}, DMSG_E_USAGE},
        {{.username = "u", .password = too_long}, DMSG_E_USAGE},
        {{.password = "p"}, DMSG_E_USAGE},
        {{.username = "u", .password = "p"}, 0},
        {{.will_topic = "a/+"}, DMSG_E_USAGE},
        {{.will_topic = "a", .will_qos = 3}, DMSG_E_USAGE},
        {{.will_topic = "a", .will_qos = 2}, 0},
        {{.tls = true, .ca_file = "/nonexistent"}, DMSG_E_LOCAL},
        {{.tls = true, .certificate = "/nonexistent"}, DMSG_E_USAGE},
        {{.tls = true, .certificate = "/nonexistent", .key = "/nonexistent"}, DMSG_E_LOCAL},
        {{.tls = true}, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_mqtt *mqtt = NULL;
        struct dmsg_error error = {0};
        CHECK_ROW(dmsg_mqtt_new(&mqtt, &rows[i].config, &error) == rows[i].code, "row %zu: %s", i,
            error.text);
        CHECK((mqtt != NULL) == (rows[i].code == 0));
        CHECK(mqtt == NULL || dmsg_mqtt_fd(mqtt) == -1);
        dmsg_mqtt_free(&mqtt);
    }
}

static void filters_and_topics_are_checked(void)
{
    NEED_BROKER();
    static char too_long[DMSG_MQTT_TOPIC_MAX + 2];
    memset(too_long, 'x', sizeof too_long - 1);
    const struct {
        const char *text;
        bool filter, topic;
    } rows[] = {
        {"a", true, true},
        {"a.b/c d", true, true},
        {"/", true, true},
        {"#", true, false},
        {"+", true, false},
        {"a/#", true, false},
        {"a/+/b/+", true, false},
        {"+/+", true, false},
        {"", false, false},
        {"a#", false, false},
        {"#/a", false, false},
        {"a/#/b", false, false},
        {"a+", false, false},
        {"+a", false, false},
        {"a\xff", false, false},
        {too_long, false, false},
        {too_long + 1, true, true},
    };
    struct dmsg_mqtt_config config = config_of(&common, 5, NULL);
    struct dmsg_mqtt *mqtt = connect_with(&config);
    REQUIRE(mqtt != NULL);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_ROW(
            dmsg_mqtt_subscribe(mqtt, rows[i].text, NULL) == (rows[i].filter ? 0 : DMSG_E_USAGE),
            "row %zu", i);
        CHECK_ROW(dmsg_mqtt_publish(mqtt, rows[i].text, dmsg_span_text("x"), 0, false, NULL,
                      NULL) == (rows[i].topic ? 0 : DMSG_E_USAGE),
            "row %zu", i);
    }
    CHECK(dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("x"), 3, false, NULL, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_mqtt_subscribe_qos(mqtt, "q", 3, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_mqtt_subscribe_qos(mqtt, "q", -1, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_mqtt_subscribe_qos(mqtt, "q", 2, NULL) == 0);
    int added = 0;
    while (added <= DMSG_MQTT_FILTERS_MAX && dmsg_mqtt_subscribe(mqtt, "f", NULL) == 0)
        added++;
    CHECK(added < DMSG_MQTT_FILTERS_MAX);
    dmsg_mqtt_free(&mqtt);
}

static void a_batch_has_its_bounds(void)
{
    struct dmsg_batch batch = {0};
    size_t size = DMSG_BATCH_OCTETS / 2;
    uint8_t *large = calloc(1, size);
    struct dmsg_span topic = dmsg_span_text("t"), payload = {large, size};
    CHECK(!dmsg_batch_full(&batch, 1));
    dmsg_batch_put(&batch, topic, payload, false, false);
    CHECK(dmsg_batch_full(&batch, 1) && !dmsg_batch_full(&batch, 1000));
    dmsg_batch_put(&batch, topic, payload, true, false);
    CHECK(dmsg_batch_full(&batch, 1000) && !batch.failed);
    dmsg_batch_put(&batch, topic, payload, false, true);
    dmsg_batch_settle(&batch);
    CHECK(batch.count == 3 && batch.size == 2 * size + 3);
    CHECK(batch.packets[1].retained && batch.packets[1].payload.size == size);
    CHECK(batch.packets[2].cut && batch.packets[2].payload.size == 0);
    CHECK(dmsg_span_equal_text(batch.packets[2].topic, "t"));
    for (int i = 0; i < 6; i++)
        dmsg_batch_put(&batch, topic, payload, false, false);
    CHECK(batch.failed && batch.size <= DMSG_BATCH_OCTETS_MAX);
    dmsg_batch_clear(&batch);
    CHECK(batch.octets_capacity <= DMSG_BATCH_OCTETS_KEPT && batch.count == 0 && !batch.failed);
    dmsg_batch_put(&batch, topic, topic, false, false);
    CHECK(batch.count == 1);
    dmsg_batch_done(&batch);
    free(large);
}

/* ----------------------------------------------------------------------- unreachable brokers */

static void a_broker_that_is_away_is_named(void)
{
    int port = 0;
    close(listen_on_loopback(&port));
    static const char *const hosts[] = {"127.0.0.1", "localhost", "not a host"};
    for (size_t i = 0; i < 3; i++) {
        struct dmsg_mqtt_config config = {.host = hosts[i], .port = port};
        struct dmsg_mqtt *mqtt = NULL;
        struct dmsg_error error = {0};
        char expected[80];
        REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
        CHECK(dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("x"), 0, false, NULL, NULL) ==
              DMSG_E_BROKER);
        CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == DMSG_E_BROKER);
        snprintf(expected, sizeof expected, "broker %s port %d: ", hosts[i], port);
        CHECK_ROW(strstr(error.text, expected) != NULL, "%s", error.text);
        CHECK_ROW(strstr(error.text, i < 2 ? "Connection refused" : "no address") != NULL, "%s",
            error.text);
        dmsg_mqtt_free(&mqtt);
    }
}

/* A broker of the test's own: the socket of a client that connected. */
static int accept_client(int listener, struct dmsg_mqtt *mqtt)
{
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    char packet[512];
    if (dmsg_mqtt_reconnect(mqtt, NULL) < 0 || poll(&wait, 1, WAIT) != 1)
        return -1;
    int fd = accept(listener, NULL, NULL);
    struct timeval patience = {.tv_sec = WAIT / 1000};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    struct pollfd client = {.fd = fd, .events = POLLIN};
    for (int i = 0; i < 50 && poll(&client, 1, 0) == 0; i++) /* until CONNECT comes */
        (void)turn(mqtt, 20, NULL);
    return read(fd, packet, sizeof packet) > 0 ? fd : -1;
}

static void odd_brokers(void)
{
    static const struct {
        int version;
        const char *octets;
        size_t size;
        const char *expected; /* part of the text; NULL: connects */
    } rows[] = {
        {5, "\x20\x03\x00\x00\x00", 5, NULL},
        {311, "\x20\x02\x00\x00", 4, NULL},
        {5, "\x20\x03\x00\x87\x00", 5, "refused the connection: Not authorized"},
        {5, "\x20\x03\x00\x88\x00", 5, "refused the connection: Server unavailable"},
        {5, "\x20\x03\x00\x85\x00", 5, "choose another client id"},
        {5, "\x20\x02\x00\x01", 4, "try the other version"}, /* a broker of 3.1.1 */
        {311, "\x20\x02\x00\x01", 4, "try the other version"},
        {311, "\x20\x02\x00\x03", 4, "broker unavailable"},
        {311, "\x20\x02\x00\x05", 4, "check user name"},
        {5, "HTTP/1.1 400 Bad Request\r\n\r\n", 28, "broker 127.0.0.1"},
        {5, "\x20\xff\xff\xff\xff\xff", 6, "protocol error"},
        {5, "", 0, "closed the connection"},
        /* CONNACK, then DISCONNECT: server shutting down */
        {5, "\x20\x03\x00\x00\x00\xe0\x02\x8b\x00", 9, "ended the connection: Server shutting"},
        {5, "\x20\x03\x00\x00\x00\xe0\x01\x8e", 8, "ended the connection: Session taken over"},
        {5, "\x20\x03\x00\x00\x00\xf0\x00", 7, "broker 127.0.0.1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct broker fake = {0};
        int listener = listen_on_loopback(&fake.port);
        struct dmsg_mqtt_config config = config_of(&fake, rows[i].version, NULL);
        struct dmsg_mqtt *mqtt = NULL;
        struct dmsg_error error = {0};
        REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
        int fd = accept_client(listener, mqtt);
        REQUIRE(fd >= 0);
        CHECK(rows[i].size == 0 || write(fd, rows[i].octets, rows[i].size) > 0);
        if (rows[i].expected != NULL)
            shutdown(fd, SHUT_WR);
        int code = 0;
        for (int j = 0; j < 200 && code == 0; j++) {
            code = turn(mqtt, 10, &error);
            if (rows[i].expected == NULL && dmsg_mqtt_connected(mqtt))
                break;
        }
        CHECK_ROW(
            dmsg_mqtt_taken_over(mqtt) == (strstr(error.text, "taken over") != NULL), "row %zu", i);
        if (rows[i].expected == NULL)
            CHECK_ROW(dmsg_mqtt_connected(mqtt) && code == 0, "row %zu", i);
        else
            CHECK_ROW(code == DMSG_E_BROKER && strstr(error.text, rows[i].expected) != NULL,
                "row %zu: %d %s", i, code, error.text);
        close(fd);
        close(listener);
        dmsg_mqtt_free(&mqtt);
    }
}

/* Answers of a broker to what a connected client asks of it. */
static void subscriptions_and_publishes_may_be_refused(void)
{
    struct broker fake = {0};
    int listener = listen_on_loopback(&fake.port), id = 0;
    struct dmsg_mqtt_config config = config_of(&fake, 5, "refused");
    struct dmsg_mqtt *mqtt = NULL;
    struct dmsg_error error = {0};
    uint8_t packet[256];
    REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
    CHECK(dmsg_mqtt_subscribe(mqtt, "topic", NULL) == 0);
    int fd = accept_client(listener, mqtt);
    REQUIRE(fd >= 0);
    /* session expiry 60, maximum QoS 0, no retain */
    static const uint8_t welcome[] = {0x20, 12, 0, 0, 9, 17, 0, 0, 0, 60, 36, 0, 37, 0};
    CHECK(write(fd, welcome, sizeof welcome) == sizeof welcome);
    CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == 0);
    CHECK(strstr(dmsg_mqtt_grants(mqtt), "kept for 60 seconds, not 2592000\n") != NULL);
    CHECK(strstr(dmsg_mqtt_grants(mqtt), "quality of service 0 only") != NULL);
    CHECK(
        dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("x"), 1, false, NULL, &error) == DMSG_E_BROKER);
    CHECK(
        dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("x"), 0, true, NULL, &error) == DMSG_E_BROKER);
    /* acknowledges what was never published */
    static const uint8_t stray[] = {0x40, 2, 0, 9, 0x40, 4, 0, 10, 0x87, 0};
    CHECK(write(fd, stray, sizeof stray) == sizeof stray);
    CHECK(next_batch(mqtt, 100) == 0);
    CHECK(dmsg_mqtt_in_flight(mqtt) == 0 && dmsg_mqtt_refused(mqtt, &id, NULL) == 0);
    CHECK(read(fd, packet, sizeof packet) > 4 && packet[0] == 0x82); /* SUBSCRIBE */
    CHECK(!dmsg_mqtt_subscribed(mqtt));
    const uint8_t weak[] = {0x90, 4, packet[2], packet[3], 0, 0}; /* SUBACK, QoS 0 */
    CHECK(write(fd, weak, sizeof weak) == sizeof weak);
    CHECK(next_batch(mqtt, 100) == 0);
    CHECK(dmsg_mqtt_subscribed(mqtt));
    CHECK(strstr(dmsg_mqtt_grants(mqtt), "quality of service 0 for topic, not 1") != NULL);
    close(fd);
    fd = accept_client(listener, mqtt); /* a session without the subscription */
    CHECK(write(fd, "\x20\x03\x00\x00\x00", 5) == 5);
    CHECK(next_batch(mqtt, 100) == 0);
    CHECK(read(fd, packet, sizeof packet) > 4 && packet[0] == 0x82);
    const uint8_t refusal[] = {0x90, 4, packet[2], packet[3], 0, 0x87};
    CHECK(write(fd, refusal, sizeof refusal) == sizeof refusal);
    CHECK(next_batch(mqtt, WAIT) == DMSG_E_BROKER);
    CHECK(dmsg_mqtt_read(mqtt, 0, &error) == DMSG_E_BROKER);
    CHECK_ROW(strstr(error.text, "subscription to topic was refused: Not authorized") != NULL, "%s",
        error.text);
    close(fd);
    close(listener);
    dmsg_mqtt_free(&mqtt);
}

/* QoS 1 is sent again after a reconnect, marked as a duplicate; nothing before CONNACK. */
static void publishes_survive_a_reconnect(void)
{
    struct broker fake = {0};
    int listener = listen_on_loopback(&fake.port);
    struct dmsg_mqtt_config config = config_of(&fake, 5, "again");
    struct dmsg_mqtt *mqtt = NULL;
    uint8_t packet[256];
    REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
    int fd = accept_client(listener, mqtt);
    REQUIRE(fd >= 0);
    CHECK(dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("x"), 1, false, NULL, NULL) == DMSG_E_BROKER);
    CHECK(write(fd, "\x20\x03\x00\x00\x00", 5) == 5);
    CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, NULL) == 0);
    CHECK(dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("x"), 1, false, NULL, NULL) == 0);
    CHECK(dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("y"), 0, false, NULL, NULL) == 0);
    CHECK(dmsg_mqtt_in_flight(mqtt) == 2);
    CHECK(dmsg_mqtt_wait_flushed(mqtt, 50, NULL) == DMSG_E_TIMEOUT);
    CHECK(dmsg_mqtt_in_flight(mqtt) == 1); /* QoS 0 was written */
    CHECK(read(fd, packet, sizeof packet) > 0 && packet[0] == 0x32);
    uint8_t id[2] = {packet[5], packet[6]};
    close(fd);
    fd = accept_client(listener, mqtt);
    struct pollfd quiet = {.fd = fd, .events = POLLIN};
    CHECK(poll(&quiet, 1, 50) == 0);
    CHECK(write(fd, "\x20\x03\x01\x00\x00", 5) == 5);
    CHECK(dmsg_mqtt_wait_flushed(mqtt, 100, NULL) == DMSG_E_TIMEOUT);
    CHECK(read(fd, packet, sizeof packet) > 0 && packet[0] == 0x3a); /* DUP */
    CHECK(packet[5] == id[0] && packet[6] == id[1]);
    const uint8_t acknowledgement[] = {0x40, 2, id[0], id[1]};
    CHECK(write(fd, acknowledgement, 4) == 4);
    CHECK(dmsg_mqtt_wait_flushed(mqtt, WAIT, NULL) == 0);
    close(fd);
    close(listener);
    dmsg_mqtt_free(&mqtt);
}

static void publishes_are_bounded(void)
{
    struct broker fake = {0};
    int listener = listen_on_loopback(&fake.port), count = 0;
    struct dmsg_mqtt_config config = config_of(&fake, 5, "bounded");
    struct dmsg_mqtt *mqtt = NULL;
    REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
    int fd = accept_client(listener, mqtt);
    CHECK(write(fd, "\x20\x03\x00\x00\x00", 5) == 5);
    CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, NULL) == 0);
    while (count <= DMSG_PUBLISH_MAX &&
           dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("x"), count % 2, false, NULL, NULL) == 0)
        count++;
    CHECK(count == DMSG_PUBLISH_MAX);
    close(fd);
    close(listener);
    dmsg_mqtt_free(&mqtt);
}

static void silence_ends_in_time(void)
{
    struct broker fake = {0};
    int listener = listen_on_loopback(&fake.port);
    struct dmsg_mqtt_config config = config_of(&fake, 5, NULL);
    struct dmsg_mqtt *mqtt = NULL;
    struct dmsg_error error = {0};
    REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
    int64_t start = milliseconds();
    CHECK(dmsg_mqtt_wait_connected(mqtt, 200, &error) == DMSG_E_TIMEOUT);
    CHECK(milliseconds() - start >= 200 && milliseconds() - start < 2000);
    close(listener);
    dmsg_mqtt_free(&mqtt);
}

/* A packet that a client waits for must not be acknowledged by waiting for publishes. */
static void flushing_is_not_for_subscribers(void)
{
    NEED_BROKER();
    struct dmsg_mqtt_config config = config_of(&common, 5, "flusher");
    struct dmsg_mqtt *mqtt = subscriber(&config, "self");
    REQUIRE(mqtt != NULL);
    CHECK(dmsg_mqtt_publish(mqtt, "self", dmsg_span_text("x"), 1, false, NULL, NULL) == 0);
    int code = dmsg_mqtt_wait_flushed(mqtt, WAIT, NULL);
    if (code == 0)
        code = next_batch(mqtt, WAIT) == 1 ? DMSG_E_USAGE : 0;
    CHECK(code == DMSG_E_USAGE);
    CHECK(dmsg_mqtt_packet(mqtt, 0) != NULL);
    CHECK(dmsg_mqtt_reconnect(mqtt, NULL) == 0);
    CHECK(take_packets(mqtt, 1, WAIT) >= 1); /* it was not; twice when our own is sent again */
    dmsg_mqtt_free(&mqtt);
}

/* ------------------------------------------------------------------------------------- TLS */

struct authority {
    EVP_PKEY *key;
    X509 *certificate;
};

static X509 *make_certificate(
    EVP_PKEY *key, const struct authority *issuer, const char *name, const char *san, long days)
{
    X509 *certificate = X509_new();
    X509_NAME *subject = X509_NAME_new();
    static long serial = 1;
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3 * 86400);
    X509_gmtime_adj(X509_getm_notAfter(certificate), days * 86400);
    X509_set_subject_name(certificate, subject);
    X509_set_issuer_name(
        certificate, issuer != NULL ? X509_get_subject_name(issuer->certificate) : subject);
    X509_set_pubkey(certificate, key);
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension =
        san != NULL
            ? X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, san)
            : X509V3_EXT_conf_nid(NULL, &context, NID_basic_constraints, "critical,CA:TRUE");
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    X509_sign(certificate, issuer != NULL ? issuer->key : key, EVP_sha256());
    X509_NAME_free(subject);
    return certificate;
}

static void write_pem(const char *path, X509 *certificate, EVP_PKEY *key)
{
    FILE *file = fopen(path, "w");
    REQUIRE(file != NULL);
    if (certificate != NULL)
        CHECK(PEM_write_X509(file, certificate) == 1);
    if (key != NULL)
        CHECK(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(file);
}

static struct authority make_authority(const char *path)
{
    struct authority authority = {.key = EVP_EC_gen("P-256")};
    authority.certificate = make_certificate(authority.key, NULL, "authority", NULL, 10);
    write_pem(path, authority.certificate, NULL);
    return authority;
}

static void issue(const struct authority *authority, const char *name, const char *san, long days,
    const char *certificate_path, const char *key_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = make_certificate(key, authority, name, san, days);
    write_pem(certificate_path, certificate, NULL);
    write_pem(key_path, NULL, key);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void free_authority(struct authority *authority)
{
    EVP_PKEY_free(authority->key);
    X509_free(authority->certificate);
}

/* Files of a broker with TLS: the authority's, another's, the server's, a client's. */
struct tls_files {
    char authority[128], other[128], certificate[128], key[128], client[128], client_key[128];
};

static void make_tls_files(
    const struct broker *broker, struct tls_files *files, const char *san, long days)
{
    broker_path(broker, "ca.pem", files->authority, sizeof files->authority);
    broker_path(broker, "other.pem", files->other, sizeof files->other);
    broker_path(broker, "server.pem", files->certificate, sizeof files->certificate);
    broker_path(broker, "server.key", files->key, sizeof files->key);
    broker_path(broker, "client.pem", files->client, sizeof files->client);
    broker_path(broker, "client.key", files->client_key, sizeof files->client_key);
    struct authority ours = make_authority(files->authority), other = make_authority(files->other);
    issue(&ours, "server", san, days, files->certificate, files->key);
    issue(&ours, "client", "DNS:client.example", 10, files->client, files->client_key);
    free_authority(&ours);
    free_authority(&other);
}

static bool run_tls_broker(
    struct broker *broker, struct tls_files *files, const char *san, long days, bool clients)
{
    char lines[600];
    if (!broker_prepare(broker))
        return false;
    make_tls_files(broker, files, san, days);
    snprintf(lines, sizeof lines, "cafile %s\ncertfile %s\nkeyfile %s\n%s", files->authority,
        files->certificate, files->key, clients ? "require_certificate true" : "");
    return broker_run(broker, lines);
}

static void tls_verifies_the_broker(void)
{
    static const struct {
        const char *what, *san, *host;
        long days;
        bool own_authority, no_authority;
        const char *expected; /* NULL: connects */
    } rows[] = {
        {"name", "DNS:localhost", "localhost", 10, true, false, NULL},
        {"address", "IP:127.0.0.1", "127.0.0.1", 10, true, false, NULL},
        {"wildcard is not partial", "DNS:local*", "localhost", 10, true, false, "mismatch"},
        {"other name", "DNS:broker.example", "localhost", 10, true, false, "hostname mismatch"},
        {"other address", "IP:127.0.0.2", "127.0.0.1", 10, true, false, "IP address mismatch"},
        {"a name is no address", "DNS:127.0.0.1", "127.0.0.1", 10, true, false, "mismatch"},
        {"expired", "DNS:localhost", "localhost", -1, true, false, "certificate has expired"},
        {"another authority", "DNS:localhost", "localhost", 10, false, false, "TLS: "},
        {"the system's authorities", "DNS:localhost", "localhost", 10, false, true, "TLS: "},
    };
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct broker broker;
        struct tls_files files;
        struct dmsg_mqtt *mqtt = NULL;
        struct dmsg_error error = {0};
        REQUIRE(run_tls_broker(&broker, &files, rows[i].san, rows[i].days, false));
        struct dmsg_mqtt_config config = config_of(&broker, 5, NULL);
        config.host = rows[i].host;
        config.tls = true;
        if (!rows[i].no_authority)
            config.ca_file = rows[i].own_authority ? files.authority : files.other;
        REQUIRE(dmsg_mqtt_new(&mqtt, &config, &error) == 0);
        int code = dmsg_mqtt_wait_connected(mqtt, WAIT, &error);
        if (rows[i].expected == NULL)
            CHECK_ROW(code == 0, "%s: %s", rows[i].what, error.text);
        else
            CHECK_ROW(code == DMSG_E_BROKER && strstr(error.text, rows[i].expected) != NULL,
                "%s: %s", rows[i].what, error.text);
        dmsg_mqtt_free(&mqtt);
        broker_stop(&broker);
    }
}

static void tls_with_a_client_certificate(void)
{
    struct broker broker;
    struct tls_files files;
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    REQUIRE(run_tls_broker(&broker, &files, "DNS:localhost", 10, true));
    for (size_t v = 0; v < 2; v++) {
        struct dmsg_mqtt_config config = config_of(&broker, versions[v], NULL);
        struct dmsg_mqtt *mqtt = NULL;
        struct dmsg_error error = {0};
        config.host = "localhost";
        config.tls = true;
        config.ca_file = files.authority;
        REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
        CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == DMSG_E_BROKER);
        /* the broker's alert, unless the connection was reset before it was read */
        CHECK_ROW(strstr(error.text, "certificate required") != NULL ||
                      strstr(error.text, "may want a client certificate") != NULL,
            "%s", error.text);
        dmsg_mqtt_free(&mqtt);
        config.certificate = files.client;
        config.key = files.client_key;
        mqtt = connect_with(&config);
        CHECK(mqtt != NULL);
        dmsg_mqtt_free(&mqtt);
        config.key = files.key; /* of another certificate */
        CHECK(dmsg_mqtt_new(&mqtt, &config, &error) == DMSG_E_LOCAL);
    }
    broker_stop(&broker);
}

static void tls_and_plain_do_not_mix(void)
{
    struct broker broker;
    struct tls_files files;
    NEED_BROKER();
    REQUIRE(run_tls_broker(&broker, &files, "IP:127.0.0.1", 10, false));
    for (int tls = 0; tls <= 1; tls++) {
        struct dmsg_mqtt_config config = config_of(tls ? &common : &broker, 5, NULL);
        struct dmsg_mqtt *mqtt = NULL;
        struct dmsg_error error = {0};
        config.tls = tls;
        config.ca_file = files.authority;
        REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
        CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == DMSG_E_BROKER);
        CHECK_ROW(error.text[0] != '\0', "%s", error.text);
        dmsg_mqtt_free(&mqtt);
    }
    broker_stop(&broker);
}

/* Over TLS data waits inside of the library, where poll does not see it. */
static void tls_batches_do_not_stall(void)
{
    struct broker broker;
    struct tls_files files;
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    REQUIRE(run_tls_broker(&broker, &files, "IP:127.0.0.1", 10, false));
    for (size_t v = 0; v < 2; v++) {
        char id[] = "tls-0";
        id[4] = (char)('0' + v);
        struct dmsg_mqtt_config config = config_of(&broker, versions[v], id);
        config.tls = true;
        config.ca_file = files.authority;
        struct dmsg_mqtt_config other = config;
        other.client_id = NULL;
        other.clean = true;
        struct dmsg_mqtt *mqtt = subscriber(&config, "many");
        REQUIRE(mqtt != NULL);
        publish_numbers(&other, "many", 3000, 1);
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
        int held = next_batch(mqtt, WAIT);
        CHECK_ROW(held > 0, "version %d", versions[v]);
        CHECK(dmsg_mqtt_reconnect(mqtt, NULL) == 0);
        int taken = take_packets(mqtt, 3000, WAIT);
        CHECK_ROW(taken == 3000, "version %d: %d", versions[v], taken);
        CHECK(next_batch(mqtt, QUIET) == 0);
        dmsg_mqtt_free(&mqtt);
    }
    broker_stop(&broker);
}

/* A server that puts everything it has to say into as few TLS records as it can, and is silent
   then. */
static void play_tls_server(int listener, const struct tls_files *files)
{
    static uint8_t out[5 + 400 * 40];
    uint8_t in[512];
    size_t size = 5;
    memcpy(out, "\x20\x03\x00\x00\x00", 5);
    for (int i = 1; i <= 400; i++) { /* PUBLISH, QoS 1, topic "t", no properties, 29 octets */
        const uint8_t header[] = {0x32, 35, 0, 1, 't', (uint8_t)(i >> 8), (uint8_t)i, 0};
        memcpy(out + size, header, sizeof header);
        memset(out + size + sizeof header, 'x', 29);
        size += sizeof header + 29;
    }
    SSL_CTX *server = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate_file(server, files->certificate, SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(server, files->key, SSL_FILETYPE_PEM);
    SSL *ssl = SSL_new(server);
    SSL_set_fd(ssl, accept(listener, NULL, NULL));
    if (SSL_accept(ssl) == 1 && SSL_read(ssl, in, sizeof in) > 0)
        (void)SSL_write(ssl, out, (int)size);
    while (SSL_read(ssl, in, sizeof in) > 0)
        ;
    _exit(0);
}

static void packets_of_one_tls_record_are_all_found(void)
{
    struct broker fake;
    struct tls_files files;
    REQUIRE(broker_prepare(&fake));
    int listener = listen_on_loopback(&fake.port);
    make_tls_files(&fake, &files, "IP:127.0.0.1", 10);
    pid_t child = fork();
    if (child == 0)
        play_tls_server(listener, &files);
    close(listener);
    struct dmsg_mqtt_config config = config_of(&fake, 5, NULL);
    config.tls = true;
    config.ca_file = files.authority;
    struct dmsg_mqtt *mqtt = connect_with(&config);
    REQUIRE(mqtt != NULL);
    int64_t before = milliseconds();
    dmsg_mqtt_limit_batch(mqtt, 7);
    int taken = take_packets(mqtt, 400, WAIT);
    CHECK_ROW(taken == 400, "%d", taken);
    CHECK(milliseconds() - before < 1000); /* no waiting for a keepalive to come by */
    dmsg_mqtt_free(&mqtt);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    broker_stop(&fake);
}

static void stop_the_common_broker(void)
{
    if (common.pid == 0)
        SKIP("it did not run");
    broker_stop(&common);
    CHECK(common.pid == 0);
}

TEST_MAIN(TEST(publishes_and_receives), TEST(batches_are_bounded),
    TEST(acknowledgement_is_held_back), TEST(sessions_persist), TEST(a_lost_session_is_noticed),
    TEST(a_session_that_is_taken_over_is_recognised),
    TEST(the_will_is_for_those_who_do_not_say_goodbye), TEST(retained_packets_say_so),
    TEST(our_packet_limit_holds), TEST(the_brokers_packet_limit_holds),
    TEST(passwords_and_access_rules), TEST(configurations_are_checked),
    TEST(filters_and_topics_are_checked), TEST(a_batch_has_its_bounds),
    TEST(a_broker_that_is_away_is_named), TEST(odd_brokers),
    TEST(subscriptions_and_publishes_may_be_refused), TEST(publishes_survive_a_reconnect),
    TEST(publishes_are_bounded), TEST(silence_ends_in_time), TEST(flushing_is_not_for_subscribers),
    TEST(tls_verifies_the_broker), TEST(tls_with_a_client_certificate),
    TEST(tls_and_plain_do_not_mix), TEST(tls_batches_do_not_stall),
    TEST(packets_of_one_tls_record_are_all_found), TEST(stop_the_common_broker))
