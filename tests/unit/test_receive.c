/* service: the receiver with a real broker, real messages, and a resolver that is this program
   once more and reads its answers from files. */
#include "base/fail.h"
#include "broker.h"
#include "dane/process.h"
#include "dane/tlsa.h"
#include "people.h"
#include "service/internal.h"
#include "store/backend.h"
#include "store_scratch.h"
#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <openssl/rand.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#define NOW 1800000000
#define WAIT 120000 /* milliseconds that a scene may take on a machine under load */

static int64_t clock_now = NOW;
static bool clock_is_set = true;

static int64_t fake_now(void *user)
{
    (void)user;
    return clock_now;
}

static bool fake_synchronised(void *user)
{
    (void)user;
    return clock_is_set;
}

static bool random_fails;

static int fake_random(void *user, void *out, size_t size)
{
    (void)user;
    return !random_fails && RAND_bytes(out, (int)size) == 1 ? 0 : -1;
}

static const struct dmsg_context context = {
    .now = fake_now, .synchronised = fake_synchronised, .random = fake_random};
static char self_path[4096];

/* ============================================================================== the resolver */

/*
 * FOLDER/NAME: 's'ecure, 'i'nsecure, 'b'ogus, 'd'enied, 'l'ater, or '-' (no answer until the file
 * is another); then the TTL in text, a newline, and records as size (2 octets, host order) and
 * rdata. No file: later. FOLDER/.asked gets a line for every question.
 */
static struct dmsg_channel channel;
static struct {
    uint32_t id;
    char name[300];
} open_questions[100];
static size_t open_count;

static void note_question(const char *folder, const char *name)
{
    char path[500];
    snprintf(path, sizeof path, "%s/.asked", folder);
    FILE *file = fopen(path, "a");
    if (file == NULL)
        exit(3);
    fprintf(file, "%s\n", name);
    fclose(file);
}

static void fill_answer(struct dmsg_answer *answer, const uint8_t *text, size_t size)
{
    size_t at = 1;
    answer->status = text[0] == 'i'   ? DMSG_DNS_INSECURE
                     : text[0] == 'b' ? DMSG_DNS_BOGUS
                     : text[0] == 'l' ? DMSG_DNS_NOT_NOW
                                      : DMSG_DNS_SECURE;
    answer->nxdomain = text[0] == 'd';
    for (; at < size && text[at] != '\n'; at++)
        answer->ttl = answer->ttl * 10 + (uint32_t)(text[at] - '0');
    for (at++; at + 2 < size;) {
        uint16_t length;
        memcpy(&length, text + at, 2);
        answer->records[answer->count++] = (struct dmsg_span){text + at + 2, length};
        at += 2u + length;
    }
}

/* False when there is no answer yet. */
static bool answer_question(const char *folder, uint32_t id, const char *name)
{
    static uint8_t text[20000];
    struct dmsg_answer answer = {.status = DMSG_DNS_NOT_NOW};
    struct dmsg_buffer body = {0};
    char path[500];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "r");
    size_t size = file != NULL ? fread(text, 1, sizeof text, file) : 0;
    if (file != NULL)
        fclose(file);
    if (size > 0 && text[0] == '-')
        return false;
    if (size > 0)
        fill_answer(&answer, text, size);
    dmsg_answer_put(&body, &answer);
    dmsg_frame_put(&channel.out, DMSG_FRAME_ANSWER, id, dmsg_buffer_span(&body));
    dmsg_buffer_done(&body);
    return true;
}

static void take_question(const char *folder, const struct dmsg_frame *frame)
{
    if (open_count == 100 || frame->body.size >= sizeof open_questions[0].name)
        exit(4);
    open_questions[open_count].id = frame->id;
    memcpy(open_questions[open_count].name, frame->body.data, frame->body.size);
    open_questions[open_count].name[frame->body.size] = '\0';
    note_question(folder, open_questions[open_count].name);
    open_count++;
}

static int play(const char *folder)
{
    struct dmsg_frame frame;
    dmsg_channel_init(&channel, DMSG_PROCESS_FD, 0);
    for (;;) {
        struct pollfd fd = {
            .fd = channel.fd, .events = (short)(POLLIN | (channel.out.size > 0 ? POLLOUT : 0))};
        if (poll(&fd, 1, 10) > 0 && (fd.revents & ~POLLOUT) != 0 &&
            dmsg_channel_read(&channel, NULL) != 1)
            return 0;
        while (dmsg_channel_take(&channel, &frame, NULL) == 1) {
            if (frame.type == DMSG_FRAME_PING)
                dmsg_frame_put(
                    &channel.out, DMSG_FRAME_PONG, frame.id, (struct dmsg_span){NULL, 0});
            else if (frame.type == DMSG_FRAME_ASK)
                take_question(folder, &frame);
        }
        for (size_t i = 0; i < open_count;) {
            if (answer_question(folder, open_questions[i].id, open_questions[i].name))
                open_questions[i] = open_questions[--open_count];
            else
                i++;
        }
        (void)!dmsg_channel_flush(&channel, NULL);
    }
}

/* ================================================================================= a scene */

#define SEEN_MAX 700
#define DELIVERED_MAX 1500

struct seen {
    int code;
    enum dmsg_log_level level;
    char sender[DMSG_NAME_TEXT];
    char text[DMSG_ERROR_TEXT];
};

/* Everything around one receiver, and what it did. */
struct scene {
    struct broker broker;
    char folder[64]; /* of the resolver's answers */
    struct dmsg_discovery *discovery;
    struct dmsg_store *store;
    struct dmsg_mqtt *mqtt, *sender;
    struct dmsg_policy policy;
    const struct dmsg_identity *me;

    struct seen events[SEEN_MAX];
    size_t event_count;
    char delivered[DELIVERED_MAX][40];
    size_t delivered_count;
    int deliver_code;     /* what the delivery says */
    bool stalls;          /* it would have to wait */
    size_t asked_at_once; /* how often it was not to */

    bool (*script)(struct scene *scene); /* called in every turn; true ends the receiver */
    int step;
    int64_t started;
    bool overdue;
    int timer; /* wakes the receiver, so that the script goes on */
};

static struct person alice, carol, bob, new_alice, rsa_alice, rsa_old_alice, rsa_bob;

static int64_t milliseconds(void)
{
    return dmsg_now_ms();
}

static void write_answer(struct scene *scene, const char *name, const char *head,
    const struct person *const *people, size_t count)
{
    char path[200], temporary[200];
    snprintf(path, sizeof path, "%s/%s", scene->folder, name);
    snprintf(temporary, sizeof temporary, "%s/.new", scene->folder);
    FILE *file = fopen(temporary, "w");
    REQUIRE(file != NULL);
    fprintf(file, "%s\n", head);
    for (size_t i = 0; i < count; i++) {
        struct dmsg_span rdata = people[i]->peer->keys[0].rdata;
        uint16_t size = (uint16_t)rdata.size;
        fwrite(&size, 1, 2, file);
        fwrite(rdata.data, 1, rdata.size, file);
    }
    fclose(file);
    CHECK(rename(temporary, path) == 0);
}

static void publish_dns(struct scene *scene, const struct person *person, const char *head)
{
    write_answer(scene, person->name.text, head, &person, 1);
}

static void set_dns(struct scene *scene, const char *name, const char *head)
{
    write_answer(scene, name, head, NULL, 0);
}

static int count_questions(const struct scene *scene, const char *name)
{
    char path[200], line[300];
    int count = 0;
    snprintf(path, sizeof path, "%s/.asked", scene->folder);
    FILE *file = fopen(path, "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        count += strcmp(line, name) == 0;
    }
    if (file != NULL)
        fclose(file);
    return count;
}

static void start_discovery(struct scene *scene)
{
    static const char *const servers[] = {"127.0.0.1@1"};
    const char *arguments[] = {"play", scene->folder, NULL};
    struct dmsg_discovery_config config = {.resolver.servers = servers,
        .resolver.server_count = 1,
        .resolver.program = self_path,
        .resolver.program_arguments = arguments};
    struct dmsg_error error = {0};
    dmsg_discovery_free(&scene->discovery);
    if (dmsg_discovery_new(&scene->discovery, &context, &config, &error) < 0)
        CHECK_ROW(false, "%s", error.text);
}

static int mqtt_version = 5;

static struct dmsg_mqtt *new_client(const struct scene *scene, const char *id)
{
    struct dmsg_mqtt_config config = {.host = "127.0.0.1",
        .port = scene->broker.port,
        .version = mqtt_version,
        .client_id = id,
        .clean = id == NULL};
    struct dmsg_mqtt *mqtt = NULL;
    CHECK(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
    return mqtt;
}

/* One broker for all scenes that do not stop it; sessions are told apart by their client ids. */
static struct broker common;
static int scene_number;

/* In a file without a name, or with DANEMSG_TEST_STORE=memory in memory. */
static int open_scene_store(struct scene *scene, const struct dmsg_name *name)
{
    const char *kind = getenv("DANEMSG_TEST_STORE");
    struct scratch scratch;
    if (kind != NULL && strcmp(kind, "memory") == 0)
        return dmsg_store_open_memory(&scene->store, &context, name, NULL);
    if (scratch_make(&scratch) < 0)
        return -1;
    struct dmsg_record record;
    int code = dmsg_store_open_sqlite(&scene->store, &context, scratch.path, name, NULL);
    if (code == 0) /* the first look makes the file of deliveries */
        code = dmsg_store_next(scene->store, 0, &record, NULL);
    scratch_remove(&scratch);
    return code;
}

static bool scene_begin(struct scene *scene, const struct person *me)
{
    char id[40];
    *scene = (struct scene){.me = me->identity};
    clock_now = NOW;
    clock_is_set = true;
    if (common.pid == 0 && !(broker_prepare(&common) && broker_run(&common, "")))
        return false;
    scene->broker = common;
    snprintf(scene->folder, sizeof scene->folder, "/tmp/danemsg-answers-XXXXXX");
    if (mkdtemp(scene->folder) == NULL)
        return false;
    start_discovery(scene);
    if (open_scene_store(scene, &me->name) < 0)
        return false;
    snprintf(id, sizeof id, "receiver-%d", ++scene_number);
    scene->mqtt = new_client(scene, id);
    scene->sender = new_client(scene, NULL);
    if (dmsg_mqtt_subscribe(scene->mqtt, me->name.text, NULL) < 0 ||
        dmsg_mqtt_wait_connected(scene->mqtt, WAIT, NULL) < 0)
        return false;
    while (!dmsg_mqtt_subscribed(scene->mqtt)) {
        struct pollfd fd = {
            .fd = dmsg_mqtt_fd(scene->mqtt), .events = dmsg_mqtt_events(scene->mqtt)};
        (void)poll(&fd, 1, 100);
        if (dmsg_mqtt_read(scene->mqtt, fd.revents, NULL) < 0 ||
            dmsg_mqtt_acknowledge(scene->mqtt, NULL) < 0)
            return false;
    }
    return dmsg_mqtt_wait_connected(scene->sender, WAIT, NULL) == 0;
}

static void scene_end(struct scene *scene)
{
    char command[100];
    dmsg_mqtt_free(&scene->mqtt);
    dmsg_mqtt_free(&scene->sender);
    dmsg_discovery_free(&scene->discovery);
    dmsg_store_close(&scene->store);
    snprintf(command, sizeof command, "rm -rf %s", scene->folder);
    CHECK(system(command) == 0);
}

#define BEGIN(scene, me)                                                                           \
    if (broker_missing() != NULL)                                                                  \
        SKIP("%s", broker_missing());                                                              \
    REQUIRE(scene_begin(scene, me))

/* --------------------------------------------------------------------------------- sending */

static void publish_raw(struct scene *scene, const char *topic, struct dmsg_span envelope)
{
    struct dmsg_error error = {0};
    if (dmsg_mqtt_publish(scene->sender, topic, envelope, 1, false, NULL, &error) < 0 ||
        dmsg_mqtt_wait_flushed(scene->sender, WAIT, &error) < 0)
        CHECK_ROW(false, "%s", error.text);
}

static void seal_to(const struct person *from, const struct person *to, enum dmsg_format format,
    int64_t lifetime, const char *text, struct dmsg_buffer *envelope)
{
    struct dmsg_sealer *sealer = NULL;
    struct dmsg_error error = {0};
    struct dmsg_seal_options options = {.recipient = &to->name,
        .key = dmsg_peer_recipient_key(to->peer, NULL),
        .format = format,
        .lifetime = lifetime};
    CHECK(dmsg_sealer_new(&sealer, &context, from->identity, &error) == 0);
    if (dmsg_seal(sealer, &options, dmsg_span_text(text), envelope, &error) < 0)
        CHECK_ROW(false, "%s", error.text);
    dmsg_sealer_free(&sealer);
}

static void send_to(struct scene *scene, const struct person *from, const struct person *to,
    enum dmsg_format format, const char *text)
{
    struct dmsg_buffer envelope = {0};
    seal_to(from, to, format, 0, text, &envelope);
    publish_raw(scene, to->name.text, dmsg_buffer_span(&envelope));
    dmsg_buffer_done(&envelope);
}

static void send_text(struct scene *scene, const struct person *from, const char *text)
{
    send_to(scene, from, &bob, DMSG_FORMAT_V1, text);
}

/* ------------------------------------------------------------------------------- receiving */

static void see(void *user, const struct dmsg_event *event)
{
    struct scene *scene = user;
    if (scene->event_count == SEEN_MAX)
        return;
    struct seen *seen = &scene->events[scene->event_count++];
    seen->code = event->code;
    seen->level = event->level;
    snprintf(
        seen->sender, sizeof seen->sender, "%s", event->sender != NULL ? event->sender->text : "");
    snprintf(seen->text, sizeof seen->text, "%s", event->text);
    if (getenv("SHOW_EVENTS") != NULL)
        printf("# %s %s: %s\n", dmsg_error_word(seen->code), seen->sender, seen->text);
}

static int count_events(const struct scene *scene, int code)
{
    int count = 0;
    for (size_t i = 0; i < scene->event_count; i++)
        count += scene->events[i].code == code;
    return count;
}

static int count_texts(const struct scene *scene, const char *part)
{
    int count = 0;
    for (size_t i = 0; i < scene->event_count; i++)
        count += strstr(scene->events[i].text, part) != NULL;
    return count;
}

static int deliver(
    void *user, const struct dmsg_record *record, bool at_once, struct dmsg_error *error)
{
    struct scene *scene = user;
    scene->asked_at_once += at_once;
    if (at_once && scene->stalls)
        return DMSG_DELIVERY_WAITS;
    if (scene->deliver_code < 0) {
        *error = (struct dmsg_error){.code = scene->deliver_code, .text = "as told"};
        return scene->deliver_code;
    }
    if (scene->delivered_count == DELIVERED_MAX)
        return 0;
    snprintf(scene->delivered[scene->delivered_count++], sizeof scene->delivered[0], "%.*s",
        (int)record->content.size, (const char *)record->content.data);
    return 0;
}

static bool stop(void *user)
{
    struct scene *scene = user;
    uint64_t ignored;
    (void)!read(scene->timer, &ignored, sizeof ignored);
    scene->overdue = milliseconds() - scene->started > WAIT;
    return scene->overdue || (scene->script != NULL && scene->script(scene));
}

static int receive(struct scene *scene, uint64_t count, int timeout, struct dmsg_error *error)
{
    struct dmsg_log log = {.write = see, .user = scene};
    struct itimerspec often = {{.tv_nsec = 10000000}, {.tv_nsec = 10000000}};
    scene->timer = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    timerfd_settime(scene->timer, 0, &often, NULL);
    struct dmsg_receive_config config = {.context = &context,
        .identity = scene->me,
        .policy = &scene->policy,
        .store = scene->store,
        .mqtt = scene->mqtt,
        .discovery = scene->discovery,
        .log = &log,
        .deliver = deliver,
        .user = scene,
        .stop = stop,
        .wake_fd = scene->timer,
        .count_limit = count,
        .timeout = timeout};
    scene->started = milliseconds();
    int code = dmsg_receive(&config, error);
    close(scene->timer);
    return code;
}

/* Runs the receiver with a script; how many messages it delivered. */
static size_t run_script(struct scene *scene, bool (*script)(struct scene *))
{
    struct dmsg_error error = {0};
    scene->script = script;
    scene->step = 0;
    CHECK_ROW(receive(scene, 0, 0, &error) == 0, "%s", error.text);
    CHECK_ROW(!scene->overdue, "still at step %d", scene->step);
    return scene->delivered_count;
}

static bool delivered_is(const struct scene *scene, const char *const *texts, size_t count)
{
    bool same = scene->delivered_count == count;
    for (size_t i = 0; same && i < count; i++)
        same = strcmp(scene->delivered[i], texts[i]) == 0;
    for (size_t i = 0; !same && i < scene->delivered_count; i++)
        printf("# delivered: %s\n", scene->delivered[i]);
    return same;
}

#define DELIVERED_IS(scene, ...)                                                                   \
    delivered_is(scene, (const char *const[]){__VA_ARGS__},                                        \
        sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

/* ============================================================================ the ordinary */

static bool until_300(struct scene *scene)
{
    return scene->delivered_count == 300;
}

static void batches_arrive_in_order(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    publish_dns(&scene, &alice, "s300");
    for (int i = 0; i < 300; i++) {
        char text[20];
        snprintf(text, sizeof text, "%d", i);
        send_text(&scene, &alice, text);
    }
    CHECK(run_script(&scene, until_300) == 300);
    for (int i = 0; i < 300; i++) {
        char text[20];
        snprintf(text, sizeof text, "%d", i);
        CHECK_ROW(strcmp(scene.delivered[i], text) == 0, "%d: %s", i, scene.delivered[i]);
    }
    CHECK(count_questions(&scene, "alice.example") == 1);
    CHECK(count_texts(&scene, "refused") == 0 && count_events(&scene, 0) == 2);
    scene_end(&scene);
}

#define BACKLOG 1300

static bool until_backlog(struct scene *scene)
{
    return scene->delivered_count == BACKLOG;
}

/* More than two batches wait at the broker: earlier ones are delivered while later ones are opened,
   but not where that would have to wait. */
static void a_backlog_arrives_in_order(void)
{
    for (int stalls = 0; stalls < 2; stalls++) {
        struct scene scene;
        char text[20];
        BEGIN(&scene, &bob);
        publish_dns(&scene, &alice, "s300");
        send_text(&scene, &alice, "0");
        CHECK(receive(&scene, 1, 0, NULL) == 0); /* her key is known then */
        for (int i = 1; i < BACKLOG; i++) {
            snprintf(text, sizeof text, "%d", i);
            send_text(&scene, &alice, text);
        }
        scene.stalls = stalls != 0;
        CHECK(run_script(&scene, until_backlog) == BACKLOG);
        for (int i = 0; i < BACKLOG; i++) {
            snprintf(text, sizeof text, "%d", i);
            CHECK_ROW(strcmp(scene.delivered[i], text) == 0, "%d: %s", i, scene.delivered[i]);
        }
        CHECK_ROW(stalls ? scene.asked_at_once > 0 : scene.asked_at_once > BACKLOG / 4,
            "%zu handed out meanwhile", scene.asked_at_once);
        CHECK(count_texts(&scene, "refused") == 0);
        scene_end(&scene);
    }
}

static struct dmsg_buffer replayed;

static bool until_replay(struct scene *scene)
{
    if (scene->step == 0 && scene->delivered_count == 1) {
        for (int i = 0; i < 2; i++)
            publish_raw(scene, "bob.example", dmsg_buffer_span(&replayed));
        scene->step = 1;
    }
    return count_events(scene, DMSG_E_REPLAY) == 2;
}

static void replays_are_refused(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    publish_dns(&scene, &alice, "s300");
    seal_to(&alice, &bob, DMSG_FORMAT_V1, 0, "once", &replayed);
    for (int i = 0; i < 3; i++) /* all wait for DNS together, once */
        publish_raw(&scene, "bob.example", dmsg_buffer_span(&replayed));
    CHECK(run_script(&scene, until_replay) == 1);
    CHECK(DELIVERED_IS(&scene, "once"));
    dmsg_buffer_done(&replayed);
    scene_end(&scene);
}

static bool until_last(struct scene *scene)
{
    return scene->delivered_count > 0 &&
           strcmp(scene->delivered[scene->delivered_count - 1], "last") == 0;
}

/* Bad packets are refused with their words and are acknowledged: they do not come again. */
static void bad_packets_do_not_stop_the_good(void)
{
    struct scene scene;
    struct dmsg_buffer envelope = {0};
    struct dmsg_error error = {0};
    BEGIN(&scene, &bob);
    publish_dns(&scene, &alice, "s300");
    publish_dns(&scene, &carol, "s300");
    publish_raw(&scene, "bob.example", dmsg_span_text(""));
    publish_raw(&scene, "bob.example", dmsg_span_text("{}"));
    send_to(&scene, &alice, &carol, DMSG_FORMAT_V1, "for carol");
    seal_to(&alice, &carol, DMSG_FORMAT_V1, 0, "for carol", &envelope);
    publish_raw(&scene, "bob.example", dmsg_buffer_span(&envelope));
    clock_now = NOW - 8 * 86400;
    dmsg_buffer_reset(&envelope);
    seal_to(&alice, &bob, DMSG_FORMAT_V1, 0, "old", &envelope);
    clock_now = NOW;
    publish_raw(&scene, "bob.example", dmsg_buffer_span(&envelope));
    char large[70000];
    memset(large, 'x', sizeof large);
    publish_raw(&scene, "bob.example", (struct dmsg_span){(uint8_t *)large, sizeof large});
    send_to(&scene, &rsa_alice, &bob, DMSG_FORMAT_V1, "other key");
    send_text(&scene, &alice, "last");
    CHECK(run_script(&scene, until_last) == 1);
    CHECK(count_events(&scene, DMSG_E_FORMAT) == 2);
    CHECK(count_events(&scene, DMSG_E_NOT_FOR_ME) == 1);
    CHECK(count_events(&scene, DMSG_E_TIME) == 1);
    CHECK(count_events(&scene, DMSG_E_SIZE) == 1);
    size_t events = scene.event_count;
    /* The broker answers in order: then it has read what was acknowledged. */
    CHECK(dmsg_mqtt_publish(scene.mqtt, "nobody", dmsg_span_text("x"), 1, false, NULL, NULL) == 0);
    CHECK(dmsg_mqtt_wait_flushed(scene.mqtt, WAIT, NULL) == 0);
    CHECK(dmsg_mqtt_reconnect(scene.mqtt, NULL) == 0);
    scene.script = NULL;
    CHECK(receive(&scene, 0, 1, &error) == DMSG_E_TIMEOUT);
    CHECK_ROW(count_events(&scene, DMSG_E_FORMAT) == 2 && count_events(&scene, DMSG_E_SIZE) == 1,
        "%zu new events", scene.event_count - events);
    dmsg_buffer_done(&envelope);
    scene_end(&scene);
}

/* ================================================================================== waiting */

static bool answer_later(struct scene *scene)
{
    if (scene->step == 0 && count_questions(scene, "alice.example") == 1 &&
        scene->delivered_count == 1) { /* carol's was not held up */
        send_text(scene, &alice, "fourth");
        send_text(scene, &carol, "carol again");
        scene->step = 1;
    } else if (scene->step == 1 && scene->delivered_count == 2) {
        publish_dns(scene, &alice, "s300");
        scene->step = 2;
    } else if (scene->step == 2 && scene->delivered_count == 6) {
        send_text(scene, &alice, "last");
        scene->step = 3;
    }
    return scene->step == 3 && until_last(scene);
}

static bool until_one(struct scene *scene)
{
    return scene->delivered_count == 1;
}

static bool until_policy(struct scene *scene)
{
    return count_events(scene, DMSG_E_POLICY) == 1;
}

static void a_slow_zone_holds_up_only_its_own(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    set_dns(&scene, "alice.example", "-");
    publish_dns(&scene, &carol, "s300");
    send_text(&scene, &alice, "first");
    send_text(&scene, &alice, "second");
    send_text(&scene, &carol, "carol");
    send_text(&scene, &alice, "third");
    run_script(&scene, answer_later);
    CHECK(
        DELIVERED_IS(&scene, "carol", "carol again", "first", "second", "third", "fourth", "last"));
    CHECK(count_questions(&scene, "alice.example") == 1);
    scene_end(&scene);
}

static bool fail_then_answer(struct scene *scene)
{
    if (scene->step == 0 && count_events(scene, DMSG_E_DNS_TEMPORARY) == 1) {
        publish_dns(scene, &alice, "s300");
        scene->step = 1;
    }
    return scene->delivered_count == 1;
}

static void no_answer_is_asked_for_again(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    set_dns(&scene, "alice.example", "l");
    send_text(&scene, &alice, "patient");
    int64_t before = milliseconds();
    CHECK(run_script(&scene, fail_then_answer) == 1);
    int64_t took = milliseconds() - before;
    CHECK_ROW(took >= DMSG_ASK_FIRST * 3 / 4 && took < WAIT, "%" PRId64, took);
    CHECK(count_questions(&scene, "alice.example") == 2);
    CHECK(count_texts(&scene, "1 message of this sender waits") == 1);
    scene_end(&scene);
}

static bool bogus_until_the_end(struct scene *scene)
{
    if (scene->step == 0 && count_events(scene, DMSG_E_DNS_BOGUS) == 1) {
        clock_now += DMSG_STRANGER_WAIT; /* its hour is over */
        scene->step = 1;
    }
    return count_texts(scene, "no keys of the sender") == 1;
}

static void bogus_waits_and_is_dropped_with_its_word(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    publish_dns(&scene, &alice, "b300"); /* bogus, with the data present */
    send_text(&scene, &alice, "never");
    CHECK(run_script(&scene, bogus_until_the_end) == 0);
    CHECK(count_events(&scene, DMSG_E_DNS_BOGUS) >= 2);
    struct dmsg_record record;
    CHECK(dmsg_store_waiting(scene.store, NULL, 0, &record, NULL) == 0);
    scene_end(&scene);
}

static bool until_insecure(struct scene *scene)
{
    return count_events(scene, DMSG_E_DNS_INSECURE) == 1;
}

static void insecure_is_refused(void)
{
    struct scene scene;
    struct dmsg_record record;
    BEGIN(&scene, &bob);
    publish_dns(&scene, &alice, "i300");
    send_text(&scene, &alice, "never");
    CHECK(run_script(&scene, until_insecure) == 0);
    CHECK(dmsg_store_waiting(scene.store, NULL, 0, &record, NULL) == 0);
    scene_end(&scene);
}

/* "No such name", from the cache, just before a new device's first message. */
static bool denied_then_there(struct scene *scene)
{
    struct dmsg_record record;
    bool waits = dmsg_store_waiting(scene->store, NULL, 0, &record, NULL) == 1;
    if (scene->step == 0 && count_events(scene, DMSG_E_NO_IDENTITY) == 1) {
        publish_dns(scene, &alice, "s300");
        send_text(scene, &alice, "device");
        scene->step = 1;
    } else if (scene->step == 1 && waits) {
        CHECK(count_questions(scene, "alice.example") == 1);
        clock_now += 60;
        scene->step = 2;
    }
    return scene->delivered_count == 1;
}

static void a_cached_denial_does_not_refuse(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    set_dns(&scene, "alice.example", "d3600");
    send_text(&scene, &alice, "too early");
    CHECK(run_script(&scene, denied_then_there) == 1);
    CHECK(DELIVERED_IS(&scene, "device"));
    CHECK(count_events(&scene, DMSG_E_NO_IDENTITY) == 2); /* asked for one: final; the other */
    CHECK(count_texts(&scene, "waits until DNS may be asked again") == 1);
    CHECK(count_questions(&scene, "alice.example") == 2);
    scene_end(&scene);
}

/* A message that came while the question was under way is not refused by its answer. */
static bool denied_while_asking(struct scene *scene)
{
    struct dmsg_record record = {0};
    size_t waiting = 0;
    while (dmsg_store_waiting(scene->store, NULL, record.row, &record, NULL) == 1)
        waiting++;
    if (scene->step == 0 && count_questions(scene, "alice.example") == 1) {
        send_text(scene, &alice, "later");
        scene->step = 1;
    } else if (scene->step == 1 && waiting == 2) {
        set_dns(scene, "alice.example", "d3600");
        scene->step = 2;
    } else if (scene->step == 2 && count_texts(scene, "waits") == 1) {
        CHECK(count_events(scene, DMSG_E_NO_IDENTITY) == 2); /* one refused, one waits */
        publish_dns(scene, &alice, "s300");
        clock_now += 60;
        scene->step = 3;
    }
    return scene->delivered_count == 1;
}

static void an_answer_decides_only_what_it_was_asked_for(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    set_dns(&scene, "alice.example", "-");
    send_text(&scene, &alice, "earlier");
    CHECK(run_script(&scene, denied_while_asking) == 1);
    CHECK(DELIVERED_IS(&scene, "later"));
    scene_end(&scene);
}

/* A rollover: the cached records lack the key. */
static bool rolled_over(struct scene *scene)
{
    const struct person *const both[] = {&alice, &new_alice};
    if (scene->step == 0 && scene->delivered_count == 1) {
        write_answer(scene, "alice.example", "s300", both, 2);
        send_text(scene, &new_alice, "new key");
        send_text(scene, &alice, "old key");
        scene->step = 1;
    } else if (scene->step == 1 && scene->delivered_count == 2) { /* not held up */
        CHECK(count_questions(scene, "alice.example") == 1);
        clock_now += 302;
        scene->step = 2;
    } else if (scene->step == 2 && scene->delivered_count == 3) {
        publish_dns(scene, &new_alice, "s300"); /* the old one is gone */
        send_text(scene, &rsa_alice, "unknown key");
        send_text(scene, &alice, "still cached");
        scene->step = 3;
    } else if (scene->step == 3 && scene->delivered_count == 4) {
        CHECK(count_events(scene, DMSG_E_CERTIFICATE) == 2); /* that they wait */
        clock_now += 302;
        scene->step = 4;
    }
    return scene->step == 4 && count_events(scene, DMSG_E_CERTIFICATE) == 3;
}

static void a_key_that_the_cache_lacks_is_asked_for(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    publish_dns(&scene, &alice, "s300");
    send_text(&scene, &alice, "before");
    run_script(&scene, rolled_over);
    CHECK(DELIVERED_IS(&scene, "before", "old key", "new key", "still cached"));
    CHECK(count_questions(&scene, "alice.example") == 3);
    scene_end(&scene);
}

/* The signature is not the named key's: no question, no waiting, at nobody's expense. */
static bool until_signature(struct scene *scene)
{
    return count_events(scene, DMSG_E_SIGNATURE) == 1;
}

static void a_forged_signature_is_refused_at_once(void)
{
    struct scene scene;
    struct dmsg_sealer *sealer = NULL;
    struct dmsg_buffer jws = {0}, envelope = {0};
    struct dmsg_seal_options options = {
        .recipient = &bob.name, .key = dmsg_peer_recipient_key(bob.peer, NULL)};
    BEGIN(&scene, &bob);
    publish_dns(&scene, &alice, "s300");
    REQUIRE(dmsg_sealer_new(&sealer, &context, alice.identity, NULL) == 0);
    CHECK(dmsg_sign(sealer, &options, dmsg_span_text("forged"), &jws, NULL) == 0);
    uint8_t *last_but = &jws.data[jws.size - 10];
    *last_but = *last_but == 'A' ? 'B' : 'A';
    CHECK(dmsg_encrypt(&context, &options, dmsg_buffer_span(&jws), &envelope, NULL) == 0);
    send_text(&scene, &alice, "good");
    publish_raw(&scene, "bob.example", dmsg_buffer_span(&envelope));
    CHECK(run_script(&scene, until_signature) == 1);
    CHECK(count_questions(&scene, "alice.example") == 1);
    dmsg_sealer_free(&sealer);
    dmsg_buffer_done(&jws);
    dmsg_buffer_done(&envelope);
    scene_end(&scene);
}

static bool until_asked(struct scene *scene)
{
    return count_questions(scene, "alice.example") == 1;
}

/* A receiver that ends, and is started again with what its store kept. */
static void waiting_survives_a_restart(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    set_dns(&scene, "alice.example", "-");
    send_text(&scene, &alice, "first");
    send_text(&scene, &alice, "last");
    CHECK(run_script(&scene, until_asked) == 0); /* with the question under way */
    publish_dns(&scene, &alice, "s300");
    struct dmsg_error error;
    for (int64_t until = milliseconds() + 200; milliseconds() < until;)
        CHECK(dmsg_discovery_step(scene.discovery, &error) >= 0); /* the answer finds nobody */
    start_discovery(&scene);
    CHECK(run_script(&scene, until_last) == 2);
    CHECK(DELIVERED_IS(&scene, "first", "last"));
    scene_end(&scene);
}

/* Soon after boot: the clock stands in the past. What seems to come from the future waits, and
   holds nothing back, for it could be anybody's. */
static bool set_the_clock(struct scene *scene)
{
    if (scene->step == 0 && count_events(scene, DMSG_E_TIME) == 1) {
        clock_now = NOW;
        clock_is_set = true;
        send_text(scene, &alice, "later");
        scene->step = 1;
    }
    return scene->delivered_count == 4;
}

static void a_clock_that_is_not_set_refuses_nothing(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    publish_dns(&scene, &alice, "s3600");
    clock_now = NOW - 1000;
    send_text(&scene, &alice, "known");
    struct dmsg_error error = {0};
    CHECK(receive(&scene, 1, 0, &error) == 0);
    clock_now = NOW;
    send_text(&scene, &alice, "from the future");
    clock_now = NOW - 1000;
    send_text(&scene, &alice, "behind it");
    clock_is_set = false;
    CHECK(run_script(&scene, set_the_clock) == 4);
    CHECK(DELIVERED_IS(&scene, "known", "behind it", "later", "from the future"));
    scene_end(&scene);
}

/* ------------------------------------------------------------------------------- budgets */

static int (*real_usage)(struct dmsg_store *store, enum dmsg_store_whose whose,
    const struct dmsg_store_entry *entry, struct dmsg_store_usage *out, struct dmsg_error *error);
static bool no_room;

static int full_usage(struct dmsg_store *store, enum dmsg_store_whose whose,
    const struct dmsg_store_entry *entry, struct dmsg_store_usage *out, struct dmsg_error *error)
{
    int code = real_usage(store, whose, entry, out, error);
    if (no_room)
        out->messages = SIZE_MAX;
    return code;
}

static bool fill_the_budget(struct scene *scene)
{
    if (scene->step == 0 && count_events(scene, DMSG_E_TIME) == 1) {
        no_room = true;
        clock_now = NOW;
        clock_is_set = true;
        send_text(scene, &carol, "of one whose key is not known yet");
        send_text(scene, &alice, "later");
        scene->step = 1;
    }
    return scene->delivered_count == 2 && count_events(scene, DMSG_E_QUOTA) == 1;
}

/* What waits has no room; what is verified is not refused for it, and loses its place only. */
static void a_full_budget_refuses_only_the_unverified(void)
{
    struct scene scene;
    struct dmsg_error error = {0};
    BEGIN(&scene, &bob);
    struct dmsg_store_operations full = *scene.store->operations;
    const struct dmsg_store_operations *const real = scene.store->operations;
    real_usage = real->usage;
    full.usage = full_usage;
    no_room = false;
    scene.store->operations = &full;
    publish_dns(&scene, &alice, "s3600");
    clock_now = NOW - 1000;
    send_text(&scene, &alice, "known");
    CHECK(receive(&scene, 1, 0, &error) == 0);
    clock_now = NOW;
    send_text(&scene, &alice, "from the future");
    clock_now = NOW - 1000;
    clock_is_set = false;
    run_script(&scene, fill_the_budget);
    CHECK(DELIVERED_IS(&scene, "known", "later"));
    scene.store->operations = real;
    scene_end(&scene);
}

static bool until_waiting(struct scene *scene)
{
    struct dmsg_record record;
    return dmsg_store_waiting(scene->store, NULL, 0, &record, NULL) == 1;
}

static void known_senders_wait_longer(void)
{
    static const struct {
        const char *allow, *accept_poc;
        bool verified_before;
        int64_t until;
    } rows[] = {{NULL, NULL, false, DMSG_STRANGER_WAIT},
        {"*.alice.example", NULL, false, -1}, /* not on the list: refused */
        {"alice.example", NULL, false, DMSG_LIFE_DEFAULT},
        {NULL, "alice.example", false, DMSG_LIFE_DEFAULT}, {NULL, NULL, true, DMSG_LIFE_DEFAULT}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scene scene;
        struct dmsg_pattern allow, accept_poc;
        struct dmsg_record record;
        int64_t until = 0;
        BEGIN(&scene, &bob);
        scene.policy = (struct dmsg_policy){.allow = &allow,
            .allow_count = rows[i].allow != NULL,
            .accept_poc = &accept_poc,
            .accept_poc_count = rows[i].accept_poc != NULL};
        if (rows[i].allow != NULL)
            CHECK(dmsg_pattern_parse(&allow, dmsg_span_text(rows[i].allow), NULL) == 0);
        if (rows[i].accept_poc != NULL)
            CHECK(dmsg_pattern_parse(&accept_poc, dmsg_span_text(rows[i].accept_poc), NULL) == 0);
        if (rows[i].verified_before) {
            publish_dns(&scene, &alice, "s300");
            send_text(&scene, &alice, "known");
            CHECK(run_script(&scene, until_one) == 1);
            clock_now += 302; /* the cache forgets */
        }
        set_dns(&scene, "alice.example", "-");
        send_text(&scene, &alice, "waits");
        if (rows[i].until < 0) {
            CHECK(run_script(&scene, until_policy) == 0 && !until_waiting(&scene));
        } else {
            run_script(&scene, until_waiting);
            REQUIRE(dmsg_store_waiting(scene.store, NULL, 0, &record, NULL) == 1);
            CHECK(dmsg_store_waiting_until(scene.store, record.row, 0, &until, NULL) == 0);
            CHECK_ROW(
                until == clock_now + rows[i].until, "row %zu: %" PRId64, i, until - clock_now);
        }
        scene_end(&scene);
    }
}

/* =========================================================================== the poc format */

static bool until_unbound(struct scene *scene)
{
    return count_events(scene, DMSG_E_UNBOUND) == 2;
}

static void poc_messages_end_with_the_first_v1(void)
{
    struct scene scene;
    struct dmsg_pattern pattern;
    BEGIN(&scene, &rsa_bob);
    REQUIRE(dmsg_pattern_parse(&pattern, dmsg_span_text("alice.example"), NULL) == 0);
    scene.policy = (struct dmsg_policy){.accept_poc = &pattern, .accept_poc_count = 1};
    publish_dns(&scene, &rsa_alice, "s300");
    struct dmsg_error error = {0};
    send_to(&scene, &rsa_alice, &rsa_bob, DMSG_FORMAT_POC, "poc");
    CHECK(receive(&scene, 1, 0, &error) == 0);
    /* all of these in one batch, with the keys from the cache */
    send_to(&scene, &rsa_alice, &rsa_bob, DMSG_FORMAT_POC, "poc");
    send_to(&scene, &rsa_alice, &rsa_bob, DMSG_FORMAT_V1, "v1");
    send_to(&scene, &rsa_alice, &rsa_bob, DMSG_FORMAT_POC, "late poc");
    send_to(&scene, &rsa_alice, &rsa_bob, DMSG_FORMAT_POC, "later poc");
    run_script(&scene, until_unbound);
    CHECK(DELIVERED_IS(&scene, "poc", "poc", "v1"));
    CHECK(count_texts(&scene, "not addressed, not replay-protected") == 2);
    scene_end(&scene);
}

/* A poc message names no key: another set of keys may verify it. */
static bool poc_rolled_over(struct scene *scene)
{
    struct dmsg_record record;
    if (scene->step == 0 && scene->delivered_count == 1) {
        publish_dns(scene, &rsa_alice, "s300");
        send_to(scene, &rsa_alice, &rsa_bob, DMSG_FORMAT_POC, "new key");
        scene->step = 1;
    } else if (scene->step == 1 && dmsg_store_waiting(scene->store, NULL, 0, &record, NULL) == 1) {
        clock_now += 302;
        scene->step = 2;
    } else if (scene->step == 2 && scene->delivered_count == 2) {
        send_to(scene, &rsa_old_alice, &rsa_bob, DMSG_FORMAT_POC, "old key");
        scene->step = 3;
    } else if (scene->step == 3 && dmsg_store_waiting(scene->store, NULL, 0, &record, NULL) == 1) {
        CHECK(count_events(scene, DMSG_E_SIGNATURE) == 2); /* that both waited */
        clock_now += 302;
        scene->step = 4;
    }
    return scene->step == 4 && count_events(scene, DMSG_E_SIGNATURE) == 3;
}

static void poc_waits_for_a_new_key(void)
{
    struct scene scene;
    struct dmsg_pattern pattern;
    BEGIN(&scene, &rsa_bob);
    REQUIRE(dmsg_pattern_parse(&pattern, dmsg_span_text("alice.example"), NULL) == 0);
    scene.policy = (struct dmsg_policy){.accept_poc = &pattern, .accept_poc_count = 1};
    publish_dns(&scene, &rsa_old_alice, "s300");
    send_to(&scene, &rsa_old_alice, &rsa_bob, DMSG_FORMAT_POC, "old key");
    run_script(&scene, poc_rolled_over);
    CHECK(DELIVERED_IS(&scene, "old key", "new key"));
    scene_end(&scene);
}

/* ======================================================================= failures and bounds */

static int commit_failures;
static int (*real_commit)(struct dmsg_store *store, struct dmsg_error *error);

static int failing_commit(struct dmsg_store *store, struct dmsg_error *error)
{
    if (commit_failures-- > 0) {
        *error = (struct dmsg_error){.code = DMSG_E_INTERNAL, .text = "the disk is full"};
        return DMSG_E_INTERNAL;
    }
    return real_commit(store, error);
}

static void a_failed_commit_acknowledges_nothing(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    struct dmsg_store_operations failing = *scene.store->operations;
    const struct dmsg_store_operations *const real = scene.store->operations;
    real_commit = real->commit;
    failing.commit = failing_commit;
    commit_failures = 1;
    scene.store->operations = &failing;
    publish_dns(&scene, &alice, "s300");
    send_text(&scene, &alice, "first");
    send_text(&scene, &alice, "second");
    send_text(&scene, &alice, "last");
    int64_t begun = dmsg_now_ms();
    CHECK(run_script(&scene, until_last) == 3);
    CHECK(DELIVERED_IS(&scene, "first", "second", "last"));
    CHECK(count_texts(&scene, "not acknowledged: the disk is full") == 1);
    /* not gone on with: a second less a quarter, and a new connection */
    CHECK(dmsg_now_ms() - begun >= 750 && count_texts(&scene, "connected to the broker") == 2);
    CHECK(count_events(&scene, DMSG_E_REPLAY) == 0);
    scene.store->operations = real;
    struct dmsg_store_counts counts = {0};
    CHECK(dmsg_store_counts(scene.store, &counts, NULL) == 0);
    CHECK_ROW(counts.accepted == 3, "%d counted", (int)counts.accepted);
    scene_end(&scene);
}

/* Whether the pause before the broker is tried again may be one of least to most milliseconds, as
   far as can be seen from outside, after a connection of so many; -1: after a try that made none.
 */
static bool pauses_after(
    struct dmsg_receiver *receiver, int64_t lasted, int64_t least, int64_t most)
{
    const struct dmsg_error why = {DMSG_E_BROKER, "cut"};
    int64_t before = dmsg_now_ms();
    receiver->was_connected = lasted >= 0;
    receiver->connected_at = before - lasted;
    dmsg_connection_lost(receiver, &why);
    int64_t after = dmsg_now_ms();
    return receiver->reconnect_at - before >= least && receiver->reconnect_at - after <= most;
}

/* Pauses grow while connections end soon, and begin again after one that lasted a minute. */
static void a_good_connection_begins_with_the_first_pause(void)
{
    static const struct dmsg_log log = {0};
    const struct dmsg_receive_config config = {.context = &context, .log = &log};
    struct dmsg_receiver *receiver = calloc(1, sizeof *receiver);
    REQUIRE(receiver != NULL);
    receiver->config = &config;
    receiver->state = &receiver->own_state;
    receiver->pause = (struct dmsg_pause){.first = 1000, .most = 60000};
    for (int round = 0; round < 2; round++) {
        CHECK_ROW(pauses_after(receiver, 60000, 750, 1000), "first pause");
        for (int i = 0; i < 7; i++)
            CHECK(pauses_after(receiver, i % 2 == 0 ? 50000 : -1, 750, 60000));
        CHECK_ROW(pauses_after(receiver, -1, 45000, 60000), "longest pause");
    }
    free(receiver);
}

/* What failed for a reason of ours is lost alone, after many tries: the others come later. */
static void a_failure_of_ours_costs_one_message_at_most(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    struct dmsg_log log = {.write = see, .user = &scene};
    struct dmsg_receive_config config = {.context = &context,
        .identity = scene.me,
        .policy = &scene.policy,
        .store = scene.store,
        .mqtt = scene.mqtt,
        .discovery = scene.discovery,
        .log = &log};
    struct dmsg_pool_config pool = {
        .context = &context, .identity = scene.me, .policy = &scene.policy, .threads = 1};
    struct dmsg_receiver *receiver = calloc(1, sizeof *receiver);
    struct dmsg_store_depths depths = {0};
    struct dmsg_error error;
    REQUIRE(receiver != NULL);
    receiver->config = &config;
    receiver->state = &receiver->own_state;
    receiver->refusals = (struct dmsg_refusals){.log = &log, .what = "refused"};
    dmsg_waiters_init(&receiver->waiters);
    for (int i = 0; i < 3; i++)
        send_text(&scene, &alice, "while memory is short");
    random_fails = true;
    CHECK(dmsg_pool_new(&receiver->pool, &pool, NULL) == 0);
    const uint64_t *lost = &receiver->own_state.refused[-1 - DMSG_E_INTERNAL];
    for (int64_t until = dmsg_now_ms() + WAIT;
         depths.waiting + (int64_t)*lost < 3 && dmsg_now_ms() < until; random_fails = *lost == 0) {
        struct pollfd fd = {.fd = dmsg_mqtt_fd(scene.mqtt), .events = dmsg_mqtt_events(scene.mqtt)};
        dmsg_mqtt_limit_batch(scene.mqtt, dmsg_intake_limit(receiver));
        (void)poll(&fd, 1, 20);
        int count = dmsg_mqtt_read(scene.mqtt, fd.revents, NULL);
        if (count < 0 ||
            (count > 0 && dmsg_intake(receiver, dmsg_intake_limit(receiver), &error) < 0))
            CHECK(dmsg_mqtt_reconnect(scene.mqtt, NULL) == 0);
        else
            CHECK(dmsg_mqtt_acknowledge(scene.mqtt, NULL) == 0);
        CHECK(dmsg_store_depths(scene.store, &depths, NULL) == 0);
    }
    random_fails = false;
    CHECK_ROW(*lost == 1 && depths.waiting == 2, "%d are lost", (int)*lost);
    dmsg_waiters_done(&receiver->waiters);
    for (size_t i = 0; i < 2 * DMSG_OPEN_CHUNK; i++)
        dmsg_message_done(&receiver->items[i % 2][i / 2].message);
    dmsg_pool_free(&receiver->pool);
    free(receiver);
    scene_end(&scene);
}

static bool until_300_refused(struct scene *scene)
{
    int hidden = 0, shown = 0;
    for (size_t i = 0; i < scene->event_count; i++) {
        int number = 0;
        bool summary = sscanf(scene->events[i].text, "%d more refused: format", &number) == 1;
        hidden += number;
        shown += !summary && scene->events[i].code == DMSG_E_FORMAT;
    }
    return shown + hidden == 300;
}

static void a_flood_is_counted_not_shown(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    publish_dns(&scene, &alice, "s300");
    for (int i = 0; i < 300; i++)
        CHECK(dmsg_mqtt_publish(
                  scene.sender, "bob.example", dmsg_span_text("junk"), 1, false, NULL, NULL) == 0);
    CHECK(dmsg_mqtt_wait_flushed(scene.sender, WAIT, NULL) == 0);
    int64_t before = milliseconds();
    CHECK(run_script(&scene, until_300_refused) == 0);
    int64_t seconds = (milliseconds() - before) / 1000 + 2;
    CHECK_ROW(count_events(&scene, DMSG_E_FORMAT) <= (DMSG_REFUSALS_SHOWN + 1) * seconds,
        "%d events", count_events(&scene, DMSG_E_FORMAT));
    scene_end(&scene);
}

static void a_count_ends_the_receiver(void)
{
    struct scene scene;
    struct dmsg_error error = {0};
    BEGIN(&scene, &bob);
    publish_dns(&scene, &alice, "s300");
    const char *const texts[] = {"two", "three", "four", "five"};
    send_text(&scene, &alice, "one");
    CHECK(receive(&scene, 1, 0, &error) == 0);
    for (size_t i = 0; i < 4; i++)
        send_text(&scene, &alice, texts[i]);
    CHECK(receive(&scene, 1, 0, &error) == 0); /* it counts anew */
    CHECK(DELIVERED_IS(&scene, "one", "two"));
    /* what was not taken stays with the broker, also for a receiver without a store */
    struct dmsg_record record;
    CHECK(dmsg_store_next(scene.store, 0, &record, NULL) == 0);
    CHECK(receive(&scene, 3, 0, &error) == 0);
    CHECK(DELIVERED_IS(&scene, "one", "two", "three", "four", "five"));
    scene_end(&scene);
}

static void a_timeout_ends_the_receiver(void)
{
    struct scene scene;
    struct dmsg_error error = {0};
    BEGIN(&scene, &bob);
    int64_t before = milliseconds();
    CHECK(receive(&scene, 1, 1, &error) == DMSG_E_TIMEOUT);
    CHECK(milliseconds() - before >= 1000 && milliseconds() - before < WAIT);
    scene_end(&scene);
}

static void a_failed_delivery_ends_the_receiver_and_is_repeated(void)
{
    struct scene scene;
    struct dmsg_error error = {0};
    BEGIN(&scene, &bob);
    publish_dns(&scene, &alice, "s300");
    send_text(&scene, &alice, "first");
    send_text(&scene, &alice, "last");
    scene.deliver_code = DMSG_E_LOCAL;
    CHECK(receive(&scene, 0, 0, &error) == DMSG_E_LOCAL && strcmp(error.text, "as told") == 0);
    CHECK(scene.delivered_count == 0);
    scene.deliver_code = 0;
    CHECK(run_script(&scene, until_last) == 2);
    CHECK(DELIVERED_IS(&scene, "first", "last"));
    scene_end(&scene);
}

static int (*real_delivered)(struct dmsg_store *store, int64_t row, struct dmsg_error *error);
static bool marks_fail;

static int failing_delivered(struct dmsg_store *store, int64_t row, struct dmsg_error *error)
{
    return marks_fail ? dmsg_fail(error, DMSG_E_INTERNAL, "full")
                      : real_delivered(store, row, error);
}

static bool mend_the_store(struct scene *scene)
{
    if (marks_fail && count_texts(scene, "delivery waits until it works again: full") == 1) {
        CHECK(scene->delivered_count == 1); /* nothing more while it could not be marked */
        marks_fail = false;
    }
    return until_last(scene);
}

/* A store that cannot mark a message as delivered just now: nothing is lost, nothing comes twice.
 */
static void delivery_waits_for_the_store(void)
{
    struct scene scene;
    struct dmsg_record record;
    BEGIN(&scene, &bob);
    const struct dmsg_store_operations *const real = scene.store->operations;
    struct dmsg_store_operations failing = *real;
    real_delivered = real->delivered;
    failing.delivered = failing_delivered;
    failing.can_note = NULL;
    failing.note = NULL;
    scene.store->operations = &failing;
    marks_fail = true;
    publish_dns(&scene, &alice, "s300");
    send_text(&scene, &alice, "first");
    send_text(&scene, &alice, "last");
    run_script(&scene, mend_the_store);
    CHECK(DELIVERED_IS(&scene, "first", "last"));
    CHECK(count_texts(&scene, "the store works again") == 1);
    CHECK(dmsg_store_next(scene.store, 0, &record, NULL) == 0);
    scene.store->operations = real;
    scene_end(&scene);
}

static bool until_size(struct scene *scene)
{
    return count_events(scene, DMSG_E_SIZE) == 1;
}

/* MQTT 3.1.1 cannot tell the broker our limit. What is not read says nothing of its sender. */
static void a_packet_over_the_limit_is_nobodys(void)
{
    struct scene scene;
    struct dmsg_error error = {0};
    char *large = calloc(1, DMSG_PACKET_LIMIT_DEFAULT);
    mqtt_version = 311;
    BEGIN(&scene, &bob);
    publish_dns(&scene, &alice, "s3600");
    send_text(&scene, &alice, "good");
    CHECK(receive(&scene, 1, 0, &error) == 0);
    publish_raw(
        &scene, "bob.example", (struct dmsg_span){(uint8_t *)large, DMSG_PACKET_LIMIT_DEFAULT});
    CHECK(run_script(&scene, until_size) == 1);
    for (size_t i = 0; i < scene.event_count; i++)
        CHECK(scene.events[i].code != DMSG_E_SIZE || scene.events[i].sender[0] == '\0');
    mqtt_version = 5;
    free(large);
    scene_end(&scene);
}

/* ------------------------------------------------------------------------------ the broker */

static struct broker coming;

static bool start_the_broker(struct scene *scene)
{
    if (scene->step == 0 && milliseconds() - scene->started > 300) {
        CHECK(broker_run(&coming, ""));
        scene->step = 1;
    } else if (scene->step == 1 && count_texts(scene, "subscribed") == 1) {
        CHECK(dmsg_mqtt_wait_connected(scene->sender, WAIT, NULL) == 0);
        send_text(scene, &alice, "first");
        scene->step = 2;
    } else if (scene->step == 2 && scene->delivered_count == 1) {
        broker_halt(&coming);
        CHECK(broker_run(&coming, ""));
        scene->step = 3;
    } else if (scene->step == 3 && count_texts(scene, "subscribed") == 2) {
        CHECK(dmsg_mqtt_wait_connected(scene->sender, WAIT, NULL) == 0);
        send_text(scene, &alice, "last");
        scene->step = 4;
    }
    /* the sender's connection is serviced here */
    if (scene->step == 3 && dmsg_mqtt_connected(scene->sender))
        (void)!dmsg_mqtt_read(scene->sender, POLLIN, NULL);
    return until_last(scene);
}

static void a_broker_that_is_away_is_waited_for(void)
{
    struct scene scene;
    BEGIN(&scene, &bob);
    REQUIRE(broker_prepare(&coming));
    dmsg_mqtt_free(&scene.mqtt);
    dmsg_mqtt_free(&scene.sender);
    scene.broker = coming;
    scene.mqtt = new_client(&scene, "waits");
    scene.sender = new_client(&scene, NULL);
    CHECK(dmsg_mqtt_subscribe(scene.mqtt, "bob.example", NULL) == 0);
    publish_dns(&scene, &alice, "s300");
    CHECK(run_script(&scene, start_the_broker) == 2);
    CHECK(count_texts(&scene, "Connection refused; trying again") == 1);
    CHECK(count_texts(&scene, "closed the connection; trying again") == 1);
    CHECK(count_texts(&scene, "did not keep the session") == 1);
    broker_stop(&coming);
    scene_end(&scene);
}

static int false_listener, false_broker = -1;

static bool take_over(struct scene *scene)
{
    uint8_t packet[512];
    if (scene->step == 0) {
        false_broker = accept(false_listener, NULL, NULL);
        scene->step = false_broker >= 0;
    } else if (scene->step == 1 && recv(false_broker, packet, sizeof packet, MSG_DONTWAIT) > 0) {
        CHECK(write(false_broker, "\x20\x03\x00\x00\x00\xe0\x01\x8e", 8) == 8);
        scene->step = 2;
    }
    return false;
}

static void a_session_taken_over_ends_the_receiver(void)
{
    struct scene scene;
    struct dmsg_error error = {0};
    BEGIN(&scene, &bob);
    dmsg_mqtt_free(&scene.mqtt);
    false_listener = listen_on_loopback(&scene.broker.port);
    fcntl(false_listener, F_SETFL, O_NONBLOCK);
    scene.mqtt = new_client(&scene, "taken");
    scene.script = take_over;
    CHECK(receive(&scene, 0, 0, &error) == DMSG_E_BROKER);
    CHECK_ROW(strstr(error.text, "Session taken over") != NULL, "%s", error.text);
    close(false_broker);
    close(false_listener);
    scene_end(&scene);
}

/* ================================================================================= the parts */

static void pauses_double_and_vary(void)
{
    struct dmsg_pause pause = {.first = 1000, .most = 60000};
    int64_t expected = 1000;
    bool varied = false;
    for (int i = 0; i < 20; i++) {
        int64_t length = dmsg_pause_take(&pause, &context);
        CHECK_ROW(length <= expected && length >= expected * 3 / 4, "%d: %" PRId64, i, length);
        varied |= length != expected;
        expected = expected * 2 > 60000 ? 60000 : expected * 2;
    }
    CHECK(varied);
    dmsg_pause_reset(&pause);
    CHECK(dmsg_pause_take(&pause, &context) <= 1000);
}

static void refusals_are_bounded_by_word(void)
{
    static struct scene scene;
    struct dmsg_log log = {.write = see, .user = &scene};
    struct dmsg_refusals refusals = {.log = &log, .what = "refused"};
    struct dmsg_event format = {.code = DMSG_E_FORMAT, .text = "junk"};
    struct dmsg_event replay = {.code = DMSG_E_REPLAY, .text = "again"};
    for (int i = 0; i < 25; i++)
        dmsg_refusals_put(&refusals, 5000 + i, &format);
    dmsg_refusals_put(&refusals, 5100, &replay);
    CHECK(scene.event_count == 11 && scene.events[10].code == DMSG_E_REPLAY);
    CHECK(dmsg_refusals_due(&refusals, 5100, 10000) == 900);
    dmsg_refusals_flush(&refusals, 5999, false);
    CHECK(scene.event_count == 11);
    dmsg_refusals_flush(&refusals, 6000, false);
    REQUIRE(scene.event_count == 12);
    CHECK(strcmp(scene.events[11].text, "15 more refused: format") == 0);
    CHECK(scene.events[11].code == DMSG_E_FORMAT);
    CHECK(dmsg_refusals_due(&refusals, 6000, 10000) == 10000);
    for (int i = 0; i < 11; i++)
        dmsg_refusals_put(&refusals, 7000, &format);
    CHECK(scene.event_count == 22);
    dmsg_refusals_put(&refusals, 8000, &format); /* the next second: summary, then itself */
    REQUIRE(scene.event_count == 24);
    CHECK(strcmp(scene.events[22].text, "1 more refused: format") == 0);
    for (int i = 0; i < 11; i++)
        dmsg_refusals_put(&refusals, 8001, &format);
    dmsg_refusals_flush(&refusals, 8002, true);
    CHECK(count_texts(&scene, "2 more refused: format") == 1);
    format.code = 0;
    dmsg_refusals_put(&refusals, 9000, &format);
    CHECK(count_events(&scene, 0) == 0);
}

static void waiters_keep_order_and_time(void)
{
    struct dmsg_waiters waiters;
    dmsg_waiters_init(&waiters);
    struct dmsg_waiter *first = dmsg_waiters_add(&waiters, &alice.name, "key");
    struct dmsg_waiter *second = dmsg_waiters_add(&waiters, &carol.name, "");
    REQUIRE(first != NULL && second != NULL);
    CHECK(dmsg_waiters_add(&waiters, &alice.name, "other") == first);
    CHECK(dmsg_waiters_find(&waiters, &alice.name) == first);
    CHECK(dmsg_waiters_find(&waiters, &bob.name) == NULL);
    CHECK(dmsg_waiter_holds(first, "key") && dmsg_waiter_holds(first, "other"));
    CHECK(!dmsg_waiter_holds(first, "") && !dmsg_waiter_holds(second, "key"));
    CHECK(dmsg_waiters_due(&waiters, 0, 1000) == 0);
    CHECK(dmsg_waiters_take_ready(&waiters) == first);
    CHECK(dmsg_waiters_take_ready(&waiters) == second);
    CHECK(dmsg_waiters_take_ready(&waiters) == NULL);
    /* a pass that keeps one key forgets the other */
    CHECK(dmsg_waiter_keep(first, "other") == 0 && dmsg_waiter_kept(first, "other"));
    dmsg_waiter_settle(first);
    CHECK(!dmsg_waiter_holds(first, "key") && dmsg_waiter_holds(first, "other"));
    CHECK(!dmsg_waiter_kept(first, "other"));
    /* of a pass that was not finished nothing stays: its keys would hold up the next one's */
    CHECK(dmsg_waiter_keep(first, "key") == 0);
    dmsg_waiter_restart(first);
    CHECK(!dmsg_waiter_kept(first, "key") && dmsg_waiter_holds(first, "other"));
    /* by the monotonic clock, or by the other one */
    first->ask_at = first->look_at = 10000;
    second->ask_at = INT64_MAX;
    second->look_at = 20000;
    second->ask_after = NOW + 60;
    CHECK(!dmsg_waiter_may_ask(first, 9999, NOW) && dmsg_waiter_may_ask(first, 10000, NOW));
    CHECK(!dmsg_waiter_may_ask(second, 15000, NOW + 59));
    CHECK(dmsg_waiter_may_ask(second, 15000, NOW + 60));
    dmsg_waiter_ask_after(second, NOW + 60, 9000, NOW);
    CHECK(second->ask_after == NOW + 60 && second->ask_at == 69000 && second->look_at == 69000);
    dmsg_waiter_ask_after(second, NOW - 5, 9000, NOW);
    CHECK(second->ask_after == NOW + 1 && second->ask_at == 10000);
    dmsg_waiter_ask_in(second, 3600000, 9000);
    CHECK(second->ask_after == 0 && second->look_at == 9000 + DMSG_LOOK_MOST);
    second->ask_after = NOW + 60;
    dmsg_waiters_scan(&waiters, 9000, NOW);
    CHECK(waiters.ready == NULL && dmsg_waiters_due(&waiters, 9000, 60000) == 1000);
    dmsg_waiters_scan(&waiters, 10000, NOW);
    CHECK(dmsg_waiters_take_ready(&waiters) == first);
    first->asked = true;
    dmsg_waiters_scan(&waiters, 11000, NOW + 60);
    dmsg_waiters_make_ready(&waiters, first);
    CHECK(waiters.ready == second && second->next_ready == first);
    dmsg_waiters_remove(&waiters, first);
    CHECK(dmsg_waiters_take_ready(&waiters) == second && waiters.ready == NULL);
    dmsg_waiters_make_ready(&waiters, second);
    CHECK(waiters.ready == second);
    dmsg_waiters_done(&waiters);
    CHECK(waiters.first == NULL && waiters.tree == NULL);
}

static void stop_the_common_broker(void)
{
    if (common.pid == 0)
        SKIP("it did not run");
    broker_stop(&common);
    CHECK(common.pid == 0);
}

static void make_people(void)
{
    alice = person_new(&context, "alice.example", DMSG_KEY_P256);
    new_alice = person_new(&context, "alice.example", DMSG_KEY_P384);
    rsa_alice = person_new(&context, "alice.example", DMSG_KEY_RSA2048);
    rsa_old_alice = person_new(&context, "alice.example", DMSG_KEY_RSA2048);
    carol = person_new(&context, "carol.example", DMSG_KEY_P256);
    bob = person_new(&context, "bob.example", DMSG_KEY_P256);
    rsa_bob = person_new(&context, "bob.example", DMSG_KEY_RSA2048);
}

static void forget_people(void)
{
    struct person *const people[] = {
        &alice, &new_alice, &rsa_alice, &rsa_old_alice, &carol, &bob, &rsa_bob};
    for (size_t i = 0; i < sizeof people / sizeof people[0]; i++)
        person_done(people[i]);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {TEST(pauses_double_and_vary),
        TEST(refusals_are_bounded_by_word), TEST(waiters_keep_order_and_time),
        TEST(batches_arrive_in_order), TEST(a_backlog_arrives_in_order), TEST(replays_are_refused),
        TEST(bad_packets_do_not_stop_the_good), TEST(a_slow_zone_holds_up_only_its_own),
        TEST(no_answer_is_asked_for_again), TEST(bogus_waits_and_is_dropped_with_its_word),
        TEST(insecure_is_refused), TEST(a_cached_denial_does_not_refuse),
        TEST(an_answer_decides_only_what_it_was_asked_for),
        TEST(a_key_that_the_cache_lacks_is_asked_for), TEST(a_forged_signature_is_refused_at_once),
        TEST(waiting_survives_a_restart), TEST(a_clock_that_is_not_set_refuses_nothing),
        TEST(known_senders_wait_longer), TEST(a_full_budget_refuses_only_the_unverified),
        TEST(delivery_waits_for_the_store), TEST(a_packet_over_the_limit_is_nobodys),
        TEST(poc_messages_end_with_the_first_v1), TEST(poc_waits_for_a_new_key),
        TEST(a_failed_commit_acknowledges_nothing),
        TEST(a_good_connection_begins_with_the_first_pause),
        TEST(a_failure_of_ours_costs_one_message_at_most), TEST(a_flood_is_counted_not_shown),
        TEST(a_count_ends_the_receiver), TEST(a_timeout_ends_the_receiver),
        TEST(a_failed_delivery_ends_the_receiver_and_is_repeated),
        TEST(a_broker_that_is_away_is_waited_for), TEST(a_session_taken_over_ends_the_receiver),
        TEST(stop_the_common_broker)};
    if (argc == 3 && strcmp(argv[1], "play") == 0)
        return play(argv[2]);
    ssize_t size = readlink("/proc/self/exe", self_path, sizeof self_path - 1);
    if (size < 0)
        return 1;
    make_people();
    int result = test_run(tests, sizeof tests / sizeof tests[0]);
    forget_people();
    return result;
}
