/* mqtt: against a real mosquitto, and against a socket that says what no mosquitto says. */
#include "client.h"
#include "mqtt/batch.h"
#include "mqtt/reasons.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

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
            struct dmsg_mqtt_config config = client_config(&common, versions[v], NULL);
            struct dmsg_mqtt *mqtt = client_subscribe(&config, "to/+/here");
            REQUIRE(mqtt != NULL);
            CHECK(strcmp(dmsg_mqtt_grants(mqtt), "") == 0);
            CHECK(dmsg_mqtt_packet_maximum(mqtt) == 0);
            client_publish(&config, "to/bob/here", 1, qos);
            CHECK_ROW(client_next_batch(mqtt, WAIT) == 1, "version %d QoS %d", versions[v], qos);
            const struct dmsg_packet *packet = dmsg_mqtt_packet(mqtt, 0);
            REQUIRE(packet != NULL);
            CHECK(dmsg_span_equal_text(packet->topic, "to/bob/here"));
            CHECK(dmsg_span_equal_text(packet->payload, "0"));
            CHECK(!packet->retained && !packet->cut);
            CHECK(dmsg_mqtt_packet(mqtt, 1) == NULL);
            CHECK(dmsg_mqtt_acknowledge(mqtt, NULL) == 0);
            CHECK(dmsg_mqtt_packet(mqtt, 0) == NULL);
            client_publish(&config, "to/bob/there", 1, qos);
            CHECK(client_next_batch(mqtt, QUIET) == 0);
            dmsg_mqtt_free(&mqtt);
        }
    }
}

static void batches_are_bounded(void)
{
    NEED_BROKER();
    struct dmsg_mqtt_config config = client_config(&common, 5, NULL);
    struct dmsg_mqtt *mqtt = client_subscribe(&config, "many");
    REQUIRE(mqtt != NULL);
    client_publish(&config, "many", 2500, 1);
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    int total = 0, largest = 0;
    while (total < 2500) {
        int count = client_next_batch(mqtt, WAIT);
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
    client_publish(&config, "many", 20, 1);
    nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
    CHECK(client_next_batch(mqtt, WAIT) == 7);
    CHECK(dmsg_mqtt_acknowledge(mqtt, NULL) == 0);
    CHECK(client_take(mqtt, 13, WAIT) == 13);
    dmsg_mqtt_free(&mqtt);
}

/* What was read and not acknowledged comes again, what was acknowledged does not. */
static void acknowledgement_is_held_back(void)
{
    NEED_BROKER();
    for (size_t v = 0; v < 2; v++) {
        char id[] = "held-0";
        id[5] = (char)('0' + v);
        struct dmsg_mqtt_config config = client_config(&common, versions[v], id);
        struct dmsg_mqtt_config other = client_config(&common, versions[v], NULL);
        struct dmsg_mqtt *mqtt = client_subscribe(&config, "held");
        REQUIRE(mqtt != NULL);
        client_publish(&other, "held", 5, 1);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        CHECK(client_next_batch(mqtt, WAIT) == 5);
        CHECK(dmsg_mqtt_reconnect(mqtt, NULL) == 0); /* as after a commit that failed */
        CHECK(dmsg_mqtt_packet(mqtt, 0) == NULL);
        CHECK_ROW(client_take(mqtt, 5, WAIT) == 5, "version %d, again", versions[v]);
        CHECK(client_next_batch(mqtt, QUIET) == 0);
        client_settle(mqtt);
        CHECK(dmsg_mqtt_reconnect(mqtt, NULL) == 0);
        CHECK_ROW(client_next_batch(mqtt, QUIET) == 0, "version %d, not again", versions[v]);

        client_publish(&other, "held", 3, 1);
        nanosleep(&(struct timespec){.tv_nsec = 100000000}, NULL);
        CHECK(client_next_batch(mqtt, WAIT) == 3);
        dmsg_mqtt_free(&mqtt); /* as after a crash */
        mqtt = client_connect(&config);
        REQUIRE(mqtt != NULL);
        CHECK_ROW(client_take(mqtt, 3, WAIT) == 3, "version %d, after free", versions[v]);
        CHECK(client_next_batch(mqtt, QUIET) == 0);
        client_settle(mqtt);
        dmsg_mqtt_free(&mqtt);
        mqtt = client_connect(&config);
        REQUIRE(mqtt != NULL);
        CHECK(client_next_batch(mqtt, QUIET) == 0);
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
        struct dmsg_mqtt_config config = client_config(&common, versions[v], id);
        struct dmsg_mqtt_config other = client_config(&common, versions[v], NULL);
        config.debug = count_subscribes;
        subscribe_lines = 0;
        struct dmsg_mqtt *mqtt = client_subscribe(&config, "session");
        REQUIRE(mqtt != NULL);
        CHECK(subscribe_lines == 1);
        CHECK(dmsg_mqtt_reconnect(mqtt, NULL) == 0);
        CHECK(!dmsg_mqtt_subscribed(mqtt));
        CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, NULL) == 0);
        CHECK(dmsg_mqtt_subscribed(mqtt)); /* the session has it */
        CHECK(dmsg_mqtt_acknowledge(mqtt, NULL) == 0 && subscribe_lines == 1);
        CHECK(strcmp(dmsg_mqtt_grants(mqtt), "") == 0);
        dmsg_mqtt_free(&mqtt);
        client_publish(&other, "session", 2, 1);
        mqtt = client_connect(&config);
        REQUIRE(mqtt != NULL);
        CHECK_ROW(client_take(mqtt, 2, WAIT) == 2, "version %d", versions[v]);
        dmsg_mqtt_free(&mqtt);

        config.clean = true;
        mqtt = client_subscribe(&config, "session");
        dmsg_mqtt_free(&mqtt);
        client_publish(&other, "session", 2, 1);
        config.clean = false;
        mqtt = client_connect(&config);
        REQUIRE(mqtt != NULL);
        CHECK_ROW(client_next_batch(mqtt, QUIET) == 0, "clean, version %d", versions[v]);
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
    struct dmsg_mqtt_config config = client_config(&broker, 5, "lost-session");
    struct dmsg_error error = {0};
    struct dmsg_mqtt *mqtt = client_subscribe(&config, "topic");
    REQUIRE(mqtt != NULL);
    broker_halt(&broker);
    CHECK(client_next_batch(mqtt, WAIT) == DMSG_E_BROKER);
    CHECK(!dmsg_mqtt_connected(mqtt) && !dmsg_mqtt_subscribed(mqtt) && dmsg_mqtt_fd(mqtt) == -1);
    CHECK(dmsg_mqtt_read(mqtt, 0, &error) == DMSG_E_BROKER && error.text[0] != '\0');
    CHECK(dmsg_mqtt_acknowledge(mqtt, NULL) == DMSG_E_BROKER);
    CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == DMSG_E_BROKER);
    CHECK_ROW(strstr(error.text, "Connection refused") != NULL, "%s", error.text);
    REQUIRE(broker_run(&broker, ""));
    CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, NULL) == 0);
    CHECK(strstr(dmsg_mqtt_grants(mqtt), "did not keep the session") != NULL);
    while (!dmsg_mqtt_subscribed(mqtt) && client_next_batch(mqtt, 100) == 0)
        ;
    CHECK(dmsg_mqtt_subscribed(mqtt));
    struct dmsg_mqtt_config other = client_config(&broker, 5, NULL);
    client_publish(&other, "topic", 1, 1);
    CHECK(client_take(mqtt, 1, WAIT) == 1);
    dmsg_mqtt_free(&mqtt);
    broker_stop(&broker);
}

static void a_session_that_is_taken_over_is_recognised(void)
{
    NEED_BROKER();
    for (size_t v = 0; v < 2; v++) {
        struct dmsg_mqtt_config config = client_config(&common, versions[v], "taken");
        struct dmsg_error error = {0};
        struct dmsg_mqtt *first = client_connect(&config), *second = client_connect(&config);
        REQUIRE(first != NULL && second != NULL);
        CHECK(client_next_batch(first, WAIT) == DMSG_E_BROKER);
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
        struct dmsg_mqtt_config config = client_config(&common, versions[v], NULL);
        struct dmsg_mqtt *heir = client_subscribe(&config, "will");
        config.will_topic = "will";
        config.will_payload = dmsg_span_text("gone");
        config.will_qos = 1;
        struct dmsg_mqtt *polite = client_connect(&config);
        struct dmsg_mqtt *killed = client_subscribe(&config, "bait");
        REQUIRE(heir != NULL && polite != NULL && killed != NULL);
        dmsg_mqtt_free(&polite);
        CHECK_ROW(client_next_batch(heir, QUIET) == 0, "version %d", versions[v]);
        config.will_topic = NULL;
        client_publish(&config, "bait", 1, 1);
        CHECK(client_next_batch(killed, WAIT) == 1);
        dmsg_mqtt_free(&killed); /* with a batch in hand: no goodbye */
        REQUIRE(client_next_batch(heir, WAIT) == 1);
        CHECK(dmsg_span_equal_text(dmsg_mqtt_packet(heir, 0)->payload, "gone"));
        dmsg_mqtt_free(&heir);
    }
}

static void retained_packets_say_so(void)
{
    NEED_BROKER();
    for (size_t v = 0; v < 2; v++) {
        struct dmsg_mqtt_config config = client_config(&common, versions[v], NULL);
        struct dmsg_mqtt *mqtt = client_connect(&config);
        REQUIRE(mqtt != NULL);
        CHECK(dmsg_mqtt_publish(mqtt, "kept", dmsg_span_text("old"), 1, true, NULL, NULL) == 0);
        CHECK(dmsg_mqtt_wait_flushed(mqtt, WAIT, NULL) == 0);
        struct dmsg_mqtt *late = client_subscribe(&config, "kept");
        REQUIRE(late != NULL);
        REQUIRE(client_next_batch(late, WAIT) == 1);
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
        struct dmsg_mqtt_config config = client_config(&common, versions[v], NULL);
        struct dmsg_mqtt *sender = client_connect(&config);
        config.packet_limit = 1000;
        struct dmsg_mqtt *mqtt = client_subscribe(&config, "sizes");
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
        REQUIRE(client_next_batch(mqtt, WAIT) == expected);
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
    struct dmsg_mqtt_config config = client_config(&broker, 5, NULL);
    struct dmsg_mqtt *mqtt = client_connect(&config);
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
            struct dmsg_mqtt_config config = client_config(&broker, versions[v], NULL);
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
    struct dmsg_mqtt_config config = client_config(&broker, 5, NULL);
    struct dmsg_error error = {0};
    config.username = "alice";
    config.password = "secret";
    struct dmsg_mqtt *mqtt = client_connect(&config);
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
        {"$share/group/a/+", true, false},
        {"$share/group/#", true, false},
        {"$share/group/", false, true},
        {"$share/group", false, true},
        {"$share//a", false, true},
        {"$share/gr+up/a", false, false},
        {"$share/gr#up/a", false, false},
        {"$share/group/a#", false, false},
        {"$shared", true, true},
        {too_long, false, false},
        {too_long + 1, true, true},
    };
    struct dmsg_mqtt_config config = client_config(&common, 5, NULL);
    struct dmsg_mqtt *mqtt = client_connect(&config);
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
    CHECK(batch.count == 3 && batch.size == 2 * size + 3);
    CHECK(batch.packets[1].retained && batch.packets[1].payload.size == size);
    CHECK(batch.packets[2].cut && batch.packets[2].payload.size == 0);
    CHECK(dmsg_span_equal_text(batch.packets[2].topic, "t"));
    for (int i = 0; i < 6; i++)
        dmsg_batch_put(&batch, topic, payload, false, false);
    CHECK(batch.failed && batch.size <= DMSG_BATCH_OCTETS_MAX);
    dmsg_batch_clear(&batch);
    CHECK(batch.blocks == NULL && batch.count == 0 && batch.size == 0 && !batch.failed);
    for (size_t round = 0; round < 2; round++) {
        dmsg_batch_put(&batch, topic, topic, false, false);
        CHECK(batch.count == 1 && batch.blocks->capacity == DMSG_BATCH_BLOCK);
        dmsg_batch_clear(&batch);
        CHECK(batch.blocks != NULL && batch.blocks->size == 0); /* kept for the next */
    }
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
    for (int i = 0; i < WAIT / 20 && poll(&client, 1, 0) == 0; i++) /* until CONNECT comes */
        (void)client_turn(mqtt, 20, NULL);
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
        {311, "\x20\x02\x00\x07", 4, "a reason that MQTT does not have (code 7)"},
        /* use another server: its name, the broker's own words made harmless */
        {5,
            "\x20\x14\x00\x9c\x11\x1c\x00\x05"
            "b.net"
            "\x1f\x00\x06"
            "go \xe2\x80\xae",
            22,
            "Use another server (code 156), the broker says: go \\u{202e}, another server: b.net"},
        {5, "\x20\x03\x00\x9d\x00", 5, "refused the connection: Server moved (code 157)"},
        {5, "\x20\x03\x00\x8a\x00", 5, "refused the connection: Banned (code 138)"},
        {5, "\x20\x03\x00\x00", 4, "closed the connection"}, /* in the middle of it */
        {5, "\x20\x03\x00\x00\x00\x32\x7f\x00\x01t\x00\x01\x00half", 16, "closed the connection"},
        {5, "\x20\x03\x00\x00\x00\x00\x00", 7, "broker 127.0.0.1"},         /* a packet of type 0 */
        {5, "\x16\x03\x03\x00\x40\x02\x00\x00\x3c", 9, "broker 127.0.0.1"}, /* TLS */
        {5, "\x20\x03\x00\x00\x00\x20\x03\x00\x00\x00", 10, "broker 127.0.0.1"},
        {5,
            "\x20\x03\x00\x00\x00\xe0\x0e\x9d\x0c\x1c\x00\x09"
            "other.net",
            21, "ended the connection: Server moved (code 157)"},
        /* CONNACK, then DISCONNECT: server shutting down */
        {5, "\x20\x03\x00\x00\x00\xe0\x02\x8b\x00", 9, "ended the connection: Server shutting"},
        {5, "\x20\x03\x00\x00\x00\xe0\x01\x8e", 8, "ended the connection: Session taken over"},
        {5, "\x20\x03\x00\x00\x00\xf0\x00", 7, "broker 127.0.0.1"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct broker fake = {0};
        int listener = listen_on_loopback(&fake.port);
        struct dmsg_mqtt_config config = client_config(&fake, rows[i].version, NULL);
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
            code = client_turn(mqtt, 10, &error);
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
    struct dmsg_mqtt_config config = client_config(&fake, 5, "refused");
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
    CHECK(strstr(dmsg_mqtt_grants(mqtt), "kept for 60 seconds, not 2592000: ") != NULL);
    CHECK(strstr(dmsg_mqtt_grants(mqtt), "quality of service 0 only") != NULL);
    CHECK(
        dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("x"), 1, false, NULL, &error) == DMSG_E_BROKER);
    CHECK(
        dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("x"), 0, true, NULL, &error) == DMSG_E_BROKER);
    /* acknowledges what was never published */
    static const uint8_t stray[] = {0x40, 2, 0, 9, 0x40, 4, 0, 10, 0x87, 0};
    CHECK(write(fd, stray, sizeof stray) == sizeof stray);
    CHECK(client_next_batch(mqtt, 100) == 0);
    CHECK(dmsg_mqtt_in_flight(mqtt) == 0 && dmsg_mqtt_refused(mqtt, &id, NULL) == 0);
    CHECK(read(fd, packet, sizeof packet) > 4 && packet[0] == 0x82); /* SUBSCRIBE */
    CHECK(!dmsg_mqtt_subscribed(mqtt));
    const uint8_t weak[] = {0x90, 4, packet[2], packet[3], 0, 0}; /* SUBACK, QoS 0 */
    CHECK(write(fd, weak, sizeof weak) == sizeof weak);
    CHECK(client_next_batch(mqtt, 100) == 0);
    CHECK(dmsg_mqtt_subscribed(mqtt));
    CHECK(strstr(dmsg_mqtt_grants(mqtt), "quality of service 0 for topic, not 1") != NULL);
    close(fd);
    fd = accept_client(listener, mqtt); /* a session without the subscription */
    CHECK(write(fd, "\x20\x03\x00\x00\x00", 5) == 5);
    CHECK(client_next_batch(mqtt, 100) == 0);
    CHECK(read(fd, packet, sizeof packet) > 4 && packet[0] == 0x82);
    const uint8_t refusal[] = {0x90, 4, packet[2], packet[3], 0, 0x87};
    CHECK(write(fd, refusal, sizeof refusal) == sizeof refusal);
    CHECK(client_next_batch(mqtt, WAIT) == DMSG_E_BROKER);
    CHECK(dmsg_mqtt_read(mqtt, 0, &error) == DMSG_E_BROKER);
    CHECK_ROW(strstr(error.text, "subscription to topic was refused: Not authorized") != NULL, "%s",
        error.text);
    close(fd);
    close(listener);
    dmsg_mqtt_free(&mqtt);
}

/* Waits for a packet of this type from the client: its packet identifier, -1 for none. */
static int hear(int fd, struct dmsg_mqtt *mqtt, uint8_t type)
{
    uint8_t packet[256];
    struct pollfd heard = {.fd = fd, .events = POLLIN};
    for (int64_t until = dmsg_now_ms() + WAIT; dmsg_now_ms() < until;) {
        (void)client_next_batch(mqtt, 20);
        if (poll(&heard, 1, 0) != 1)
            continue;
        ssize_t size = read(fd, packet, sizeof packet);
        if (size < 4 || (packet[0] & 0xf0) != type)
            return -1;
        size_t at = type == 0x30 ? 2 + 2 + (size_t)packet[3] : 2; /* behind a short topic */
        return packet[at] << 8 | packet[at + 1];
    }
    return -1;
}

/* A broker that has forgotten the session has no body any more for what was at PUBREC (MQTT 5
   section 4.3.3), and completes it all the same. */
static void what_a_forgotten_session_completes_has_not_arrived(void)
{
    for (size_t v = 0; v < 2; v++) {
        for (int kept = 0; kept < 2; kept++) {
            struct broker fake = {0};
            int listener = listen_on_loopback(&fake.port), id = 0, refused = 0;
            struct dmsg_mqtt_config config = client_config(&fake, versions[v], "exactly");
            struct dmsg_mqtt *mqtt = NULL;
            struct dmsg_error error = {0};
            uint8_t welcome[] = {0x20, versions[v] == 5 ? 3 : 2, (uint8_t)kept, 0, 0};
            size_t size = versions[v] == 5 ? 5 : 4;
            REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
            int fd = accept_client(listener, mqtt);
            REQUIRE(fd >= 0 && write(fd, welcome, size) > 0);
            CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == 0);
            CHECK(dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("x"), 2, false, &id, NULL) == 0);
            CHECK(hear(fd, mqtt, 0x30) == id);
            const uint8_t received[] = {0x50, 2, (uint8_t)(id >> 8), (uint8_t)id};
            CHECK(write(fd, received, sizeof received) == sizeof received);
            CHECK(hear(fd, mqtt, 0x60) == id);
            close(fd);
            fd = accept_client(listener, mqtt);
            REQUIRE(fd >= 0 && write(fd, welcome, size) > 0);
            CHECK(hear(fd, mqtt, 0x60) == id);
            CHECK(dmsg_mqtt_is_in_flight(mqtt, id));
            const uint8_t complete[] = {0x70, 2, (uint8_t)(id >> 8), (uint8_t)id};
            CHECK(write(fd, complete, sizeof complete) == sizeof complete);
            for (int i = 0; i < 500 && dmsg_mqtt_is_in_flight(mqtt, id); i++)
                (void)client_next_batch(mqtt, 20);
            int code = dmsg_mqtt_refused(mqtt, &refused, &error);
            CHECK_ROW(code == (kept ? 0 : DMSG_E_BROKER) && (kept || refused == id),
                "version %d, session %s: %d", versions[v], kept ? "kept" : "forgotten", code);
            CHECK(kept || strstr(error.text, "forgot the session") != NULL);
            close(fd);
            close(listener);
            dmsg_mqtt_free(&mqtt);
        }
    }
}

static void every_reason_has_words(void)
{
    static const int known[] = {0x00, 0x01, 0x02, 0x04, 0x10, 0x11, 0x18, 0x19};
    for (int code = 0; code < 256; code++) {
        bool is_known = code >= 0x80 && code <= 0xa2; /* no gap among them */
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            is_known |= code == known[i];
        bool has_words = strcmp(dmsg_reason_words(code), dmsg_reason_words(0xff)) != 0;
        CHECK_ROW(has_words == is_known, "code %d: %s", code, dmsg_reason_words(code));
        for (int other = 0; has_words && other < code; other++)
            CHECK_ROW(strcmp(dmsg_reason_words(code), dmsg_reason_words(other)) != 0,
                "codes %d and %d", code, other);
    }
    CHECK(strcmp(dmsg_reason_connack(0x87), dmsg_reason_words(0x87)) == 0);
    CHECK(strcmp(dmsg_reason_connack(1), dmsg_reason_words(1)) != 0);
}

/* What a broker grants less than was asked is said; what nobody needs is not. */
static void grants_are_compared(void)
{
    static const struct {
        const char *octets;
        size_t size;
        const char *expected[3]; /* none: silence */
        size_t receive_maximum;
        const char *filter;
        bool clean, expects_session;
    } rows[] = {
        {"\x20\x03\x00\x00\x00", 5, {NULL}, DMSG_PUBLISH_MAX, "a/b", false, false},
        {"\x20\x03\x00\x00\x00", 5, {"did not keep the session"}, DMSG_PUBLISH_MAX, "a", false,
            true},
        {"\x20\x03\x01\x00\x00", 5, {NULL}, DMSG_PUBLISH_MAX, "a", false, true},
        {"\x20\x03\x00\x00\x00", 5, {NULL}, DMSG_PUBLISH_MAX, "a", true, true},
        /* session expiry 0; for a clean session that is what was asked */
        {"\x20\x08\x00\x00\x05\x11\x00\x00\x00\x00", 10, {"keeps no session at all"},
            DMSG_PUBLISH_MAX, "a", false, false},
        {"\x20\x08\x00\x00\x05\x11\x00\x00\x00\x00", 10, {NULL}, DMSG_PUBLISH_MAX, "a", true,
            false},
        /* receive maximum 7 and 65535 */
        {"\x20\x06\x00\x00\x03\x21\x00\x07", 8, {NULL}, 7, "a", false, false},
        {"\x20\x06\x00\x00\x03\x21\xff\xff", 8, {NULL}, DMSG_PUBLISH_MAX, "a", false, false},
        /* packets of 1000 octets */
        {"\x20\x08\x00\x00\x05\x27\x00\x00\x03\xe8", 10, {"packets of 1000 octets at most"},
            DMSG_PUBLISH_MAX, "a", false, false},
        /* no QoS 1, no wildcard and no shared subscriptions */
        {"\x20\x09\x00\x00\x06\x24\x00\x28\x00\x2a\x00", 11,
            {"quality of service 0 only", "'+' or '#'", "no shared"}, DMSG_PUBLISH_MAX,
            "$share/g/+", false, false},
        {"\x20\x07\x00\x00\x04\x28\x00\x2a\x00", 9, {NULL}, DMSG_PUBLISH_MAX, "a", false, false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct broker fake = {0};
        int listener = listen_on_loopback(&fake.port);
        struct dmsg_mqtt_config config = client_config(&fake, 5, "grants");
        struct dmsg_mqtt *mqtt = NULL;
        config.clean = rows[i].clean;
        config.expects_session = rows[i].expects_session;
        REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
        CHECK(dmsg_mqtt_subscribe(mqtt, rows[i].filter, NULL) == 0);
        int fd = accept_client(listener, mqtt);
        CHECK(write(fd, rows[i].octets, rows[i].size) == (ssize_t)rows[i].size);
        CHECK_ROW(dmsg_mqtt_wait_connected(mqtt, WAIT, NULL) == 0, "row %zu", i);
        const char *grants = dmsg_mqtt_grants(mqtt);
        CHECK_ROW((grants[0] == '\0') == (rows[i].expected[0] == NULL), "row %zu: %s", i, grants);
        for (size_t j = 0; j < 3 && rows[i].expected[j] != NULL; j++)
            CHECK_ROW(strstr(grants, rows[i].expected[j]) != NULL, "row %zu: %s", i, grants);
        CHECK_ROW(dmsg_mqtt_receive_maximum(mqtt) == rows[i].receive_maximum, "row %zu", i);
        close(fd);
        close(listener);
        dmsg_mqtt_free(&mqtt);
    }
}

/* Each packet to one of the group, with its own topic. */
static void shared_subscriptions_share(void)
{
    NEED_BROKER();
    struct dmsg_mqtt_config config = client_config(&common, 5, NULL);
    struct dmsg_mqtt *one = client_subscribe(&config, "$share/group/shared/+");
    struct dmsg_mqtt *two = client_subscribe(&config, "$share/group/shared/+");
    struct dmsg_mqtt *all = client_subscribe(&config, "shared/+");
    REQUIRE(one != NULL && two != NULL && all != NULL);
    client_publish(&config, "shared/topic", 20, 1);
    CHECK(client_take(all, 20, WAIT) == 20);
    int first = client_next_batch(one, WAIT), rest = 0;
    REQUIRE(first > 0);
    CHECK(dmsg_span_equal_text(dmsg_mqtt_packet(one, 0)->topic, "shared/topic"));
    CHECK(dmsg_mqtt_acknowledge(one, NULL) == 0);
    first += client_take(one, 20 - first, QUIET);
    rest = client_take(two, 20 - first, WAIT);
    CHECK_ROW(first < 20 && first + rest == 20, "%d and %d", first, rest);
    dmsg_mqtt_free(&one);
    dmsg_mqtt_free(&two);
    dmsg_mqtt_free(&all);
}

/* QoS 1 is sent again after a reconnect, marked as a duplicate; nothing before CONNACK. */
static void publishes_survive_a_reconnect(void)
{
    struct broker fake = {0};
    int listener = listen_on_loopback(&fake.port);
    struct dmsg_mqtt_config config = client_config(&fake, 5, "again");
    struct dmsg_mqtt *mqtt = NULL;
    uint8_t packet[256];
    REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
    int fd = accept_client(listener, mqtt);
    REQUIRE(fd >= 0);
    CHECK(dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("x"), 1, false, NULL, NULL) == DMSG_E_BROKER);
    CHECK(write(fd, "\x20\x03\x00\x00\x00", 5) == 5);
    CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, NULL) == 0);
    int published = 0;
    CHECK(dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("x"), 1, false, &published, NULL) == 0);
    CHECK(dmsg_mqtt_publish(mqtt, "t", dmsg_span_text("y"), 0, false, NULL, NULL) == 0);
    CHECK(dmsg_mqtt_in_flight(mqtt) == 2);
    CHECK(dmsg_mqtt_is_in_flight(mqtt, published) && !dmsg_mqtt_is_in_flight(mqtt, published + 1));
    CHECK(!dmsg_mqtt_is_in_flight(mqtt, -1) && !dmsg_mqtt_is_in_flight(mqtt, 65536));
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
    CHECK(!dmsg_mqtt_is_in_flight(mqtt, published));
    close(fd);
    close(listener);
    dmsg_mqtt_free(&mqtt);
}

static void publishes_are_bounded(void)
{
    struct broker fake = {0};
    int listener = listen_on_loopback(&fake.port), count = 0;
    struct dmsg_mqtt_config config = client_config(&fake, 5, "bounded");
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
    struct dmsg_mqtt_config config = client_config(&fake, 5, NULL);
    struct dmsg_mqtt *mqtt = NULL;
    struct dmsg_error error = {0};
    REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
    int64_t start = dmsg_now_ms();
    CHECK(dmsg_mqtt_wait_connected(mqtt, 200, &error) == DMSG_E_TIMEOUT);
    CHECK(dmsg_now_ms() - start >= 200 && dmsg_now_ms() - start < 2000);
    close(listener);
    dmsg_mqtt_free(&mqtt);
}

/* A packet that a client waits for must not be acknowledged by waiting for publishes. */
static void flushing_is_not_for_subscribers(void)
{
    NEED_BROKER();
    struct dmsg_mqtt_config config = client_config(&common, 5, "flusher");
    struct dmsg_mqtt *mqtt = client_subscribe(&config, "self");
    REQUIRE(mqtt != NULL);
    CHECK(dmsg_mqtt_publish(mqtt, "self", dmsg_span_text("x"), 1, false, NULL, NULL) == 0);
    int code = dmsg_mqtt_wait_flushed(mqtt, WAIT, NULL);
    if (code == 0)
        code = client_next_batch(mqtt, WAIT) == 1 ? DMSG_E_USAGE : 0;
    CHECK(code == DMSG_E_USAGE);
    CHECK(dmsg_mqtt_packet(mqtt, 0) != NULL);
    CHECK(dmsg_mqtt_reconnect(mqtt, NULL) == 0);
    CHECK(client_take(mqtt, 1, WAIT) >= 1); /* it was not; twice when our own is sent again */
    dmsg_mqtt_free(&mqtt);
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
    TEST(a_broker_that_is_away_is_named), TEST(odd_brokers), TEST(every_reason_has_words),
    TEST(grants_are_compared), TEST(shared_subscriptions_share),
    TEST(subscriptions_and_publishes_may_be_refused),
    TEST(what_a_forgotten_session_completes_has_not_arrived), TEST(publishes_survive_a_reconnect),
    TEST(publishes_are_bounded), TEST(silence_ends_in_time), TEST(flushing_is_not_for_subscribers),
    TEST(stop_the_common_broker))
