/* Deliveries that take time and fail: order, pauses, giving up. Without broker and DNS. */
#include "service/internal.h"
#include "test.h"

#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define NOW 1800000000
#define TRIED_MAX 200

static int64_t fake_now(void *user)
{
    (void)user;
    return NOW;
}

static const struct dmsg_context context = {.now = fake_now};

/* What became of it, by what the message says: a digit is how often it fails first. */
static struct {
    struct dmsg_store *store;
    struct dmsg_receiver receiver;
    struct dmsg_receive_config config;
    struct dmsg_log log;
    char running[16];
    bool slow; /* the end is told only when asked a second time */
    bool asked;
    char tried[TRIED_MAX][16], done[TRIED_MAX][16];
    size_t tried_count, done_count;
    int aside, warnings;
    int pipe[2];
} scene;

static int deliver(
    void *user, const struct dmsg_record *record, bool at_once, struct dmsg_error *error)
{
    (void)at_once;
    (void)user;
    (void)error;
    if (scene.running[0] != '\0' || scene.tried_count == TRIED_MAX) {
        test_fail(__FILE__, __LINE__, "two at a time, or too many");
        return 0;
    }
    snprintf(scene.running, sizeof scene.running, "%.*s", (int)record->content.size,
        (const char *)record->content.data);
    strcpy(scene.tried[scene.tried_count++], scene.running);
    scene.asked = false;
    return 1;
}

static int count_tries(const char *text)
{
    int count = 0;
    for (size_t i = 0; i < scene.tried_count; i++)
        count += strcmp(scene.tried[i], text) == 0;
    return count;
}

static int delivery_end(void *user, struct dmsg_error *why)
{
    (void)user;
    if (scene.slow && !scene.asked) {
        scene.asked = true;
        return 0;
    }
    int failures = scene.running[1] == '*' ? 1000 : scene.running[1] - '0';
    bool fails = count_tries(scene.running) <= failures;
    if (!fails)
        strcpy(scene.done[scene.done_count++], scene.running);
    scene.running[0] = '\0';
    if (!fails)
        return 1;
    *why = (struct dmsg_error){.code = DMSG_E_LOCAL, .text = "as told"};
    return DMSG_E_LOCAL;
}

static int delivery_fd(void *user)
{
    (void)user;
    return scene.pipe[0];
}

static void see(void *user, const struct dmsg_event *event)
{
    (void)user;
    scene.aside += event->level == DMSG_LOG_ERROR && strstr(event->text, "put aside") != NULL;
    scene.warnings += event->level == DMSG_LOG_WARNING;
}

static void accept(const char *sender, const char *text)
{
    static int ids;
    struct dmsg_message message = {
        .verified = true, .issued_at = NOW, .expires_at = NOW + 1000, .format = DMSG_FORMAT_V1};
    CHECK(dmsg_name_parse(&message.sender, dmsg_span_text(sender), NULL) == 0);
    message.recipient = scene.receiver.running_sender;
    snprintf(message.id, sizeof message.id, "id-%019d", ids++);
    dmsg_buffer_put_text(&message.payload, text);
    CHECK(dmsg_store_accept(scene.store, &message, dmsg_span_text("t"), NULL) == 0);
    dmsg_message_done(&message);
}

static bool begin(void)
{
    static const struct dmsg_name me = {.text = "me.example", .size = 10};
    memset(&scene, 0, sizeof scene);
    if (dmsg_store_open_memory(&scene.store, &context, &me, NULL) < 0 || pipe(scene.pipe) < 0)
        return false;
    scene.log.write = see;
    scene.config = (struct dmsg_receive_config){.context = &context,
        .store = scene.store,
        .log = &scene.log,
        .deliver = deliver,
        .delivery_end = delivery_end,
        .delivery_fd = delivery_fd,
        .retry_pause = 1};
    scene.receiver.config = &scene.config;
    scene.receiver.state = &scene.receiver.own_state;
    return true;
}

/* Turns the loop until nothing is left to do. */
static void run(void)
{
    struct dmsg_error error;
    for (int turn = 0; turn < 100000; turn++) {
        CHECK(dmsg_deliver(&scene.receiver, &error) == 0);
        if (scene.receiver.running_row != 0 || scene.receiver.backlog)
            continue;
        int64_t due = dmsg_deliver_due(&scene.receiver, dmsg_now_ms(), 1000000);
        if (due == 1000000)
            return;
        poll(NULL, 0, (int)due);
    }
    test_fail(__FILE__, __LINE__, "it never ends");
}

static void end(void)
{
    dmsg_deliver_done(&scene.receiver);
    dmsg_store_close(&scene.store);
    close(scene.pipe[0]);
    close(scene.pipe[1]);
}

static bool done_is(const char *const *texts)
{
    size_t i = 0;
    while (texts[i] != NULL && i < scene.done_count && strcmp(scene.done[i], texts[i]) == 0)
        i++;
    if (texts[i] == NULL && i == scene.done_count)
        return true;
    for (i = 0; i < scene.done_count; i++)
        printf("# done: %s\n", scene.done[i]);
    return false;
}

#define DONE_IS(...) done_is((const char *const[]){__VA_ARGS__, NULL})

static void delivers_one_after_the_other(void)
{
    REQUIRE(begin());
    scene.slow = true;
    accept("a.example", "a0");
    accept("b.example", "b0");
    accept("a.example", "A0");
    run();
    CHECK(DONE_IS("a0", "b0", "A0"));
    CHECK(scene.receiver.delivered == 3 && scene.tried_count == 3);
    CHECK(scene.receiver.state->delivered == 3);
    end();
}

static void a_failure_holds_its_sender_alone(void)
{
    REQUIRE(begin());
    accept("a.example", "a2");
    accept("b.example", "b0");
    accept("a.example", "A0");
    accept("b.example", "B0");
    run();
    CHECK(DONE_IS("b0", "B0", "a2", "A0"));
    CHECK(count_tries("a2") == 3 && scene.warnings == 2 && scene.aside == 0);
    end();
}

static void gives_up_after_ten(void)
{
    REQUIRE(begin());
    accept("a.example", "a*");
    accept("a.example", "A9");
    accept("b.example", "b0");
    run();
    CHECK(DONE_IS("b0", "A9"));
    CHECK(count_tries("a*") == 10 && count_tries("A9") == 10 && scene.aside == 1);
    struct dmsg_record record;
    CHECK(dmsg_store_next(scene.store, 0, &record, NULL) == 0); /* not found any more */
    CHECK(scene.receiver.paused == NULL);
    CHECK(scene.receiver.state->put_aside == 1 && scene.receiver.state->delivered == 2);
    end();
}

static void counts_what_is_delivered(void)
{
    REQUIRE(begin());
    scene.config.count_limit = 2;
    accept("a.example", "a1");
    accept("b.example", "b0");
    accept("c.example", "c0");
    struct dmsg_error error;
    while (!dmsg_deliver_is_enough(&scene.receiver))
        CHECK(dmsg_deliver(&scene.receiver, &error) == 0);
    CHECK(scene.receiver.delivered == 2 && scene.done_count == 2);
    CHECK(!scene.receiver.backlog && scene.receiver.running_row == 0);
    end();
}

static void the_end_waits_for_what_is_under_way(void)
{
    struct dmsg_error error;
    REQUIRE(begin());
    scene.slow = true;
    accept("a.example", "a0");
    accept("a.example", "A0");
    CHECK(dmsg_deliver_fd(&scene.receiver) == -1);
    CHECK(dmsg_deliver(&scene.receiver, &error) == 0);
    CHECK(dmsg_deliver_fd(&scene.receiver) == scene.pipe[0]);
    CHECK(write(scene.pipe[1], "x", 1) == 1); /* readable: it has ended */
    dmsg_deliver_end(&scene.receiver);
    CHECK(DONE_IS("a0") && scene.tried_count == 1);
    end();
}

TEST_MAIN(TEST(delivers_one_after_the_other), TEST(a_failure_holds_its_sender_alone),
    TEST(gives_up_after_ten), TEST(counts_what_is_delivered),
    TEST(the_end_waits_for_what_is_under_way))
