/* Discovery: the cache of judged keys, its lifetimes and bounds, and questions shared by callers.
   The resolver process is this program once more, with a script. */
#include "dane/process.h"
#include "danemsg/resolver.h"
#include "test.h"

#include <inttypes.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#define NOW 1800000000
#define WAIT 60000 /* milliseconds that an answer may take on a machine under load */

static char self_path[4096];
static char anchor_path[] = "/tmp/danemsg-anchor-XXXXXX";
static int64_t clock_now = NOW;

static int64_t fake_now(void *user)
{
    (void)user;
    return clock_now;
}

static const struct dmsg_context context = {.now = fake_now};

/* ========================================================================== playing the process */

static struct dmsg_channel channel;
static uint32_t questions; /* how many were asked: the last octets of every record */

static void put_answer(uint32_t id, const struct dmsg_answer *answer)
{
    struct dmsg_buffer body = {0};
    dmsg_answer_put(&body, answer);
    dmsg_frame_put(&channel.out, DMSG_FRAME_ANSWER, id, dmsg_buffer_span(&body));
    dmsg_buffer_done(&body);
}

static bool is(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* The answer about a "slow" name stays here until something else is asked. */
static bool holds;

/* What a name answers is in the name. */
static void answer_name(const struct dmsg_frame *frame)
{
    static uint8_t rdata[DMSG_ANSWER_RECORDS_MAX][1000];
    struct dmsg_answer answer = {
        .status = DMSG_DNS_SECURE, .ttl = 300, .signed_until = NOW + 86400, .count = 1};
    char name[300] = "";
    memcpy(name, frame->body.data, frame->body.size < 299 ? frame->body.size : 299);
    questions++;
    for (size_t i = 0; i < DMSG_ANSWER_RECORDS_MAX; i++) {
        memset(rdata[i], 0, sizeof rdata[i]);
        rdata[i][0] = 3;
        rdata[i][3] = (uint8_t)i;
        memcpy(rdata[i] + 4, &questions, 4);
        answer.records[i] = (struct dmsg_span){rdata[i], is(name, "big") ? 1000 : 8};
    }
    if (is(name, "ttl"))
        answer.ttl = (uint32_t)strtoul(name + 3, NULL, 10);
    if (is(name, "none"))
        answer =
            (struct dmsg_answer){.nxdomain = true, .ttl = (uint32_t)strtoul(name + 4, NULL, 10)};
    if (is(name, "insecure"))
        answer.status = DMSG_DNS_INSECURE, answer.signed_until = 0;
    if (is(name, "bogus") || (is(name, "turns") && questions > 2) ||
        (is(name, "turns-at-once") && questions > 1))
        answer.status = DMSG_DNS_BOGUS, answer.signed_until = 0;
    if (is(name, "fades-signed"))
        answer.signed_until = NOW + 400;
    if (is(name, "fades-unsigned"))
        answer.signed_until = 0;
    if (is(name, "goes") && questions > 3)
        answer = (struct dmsg_answer){.nxdomain = true, .ttl = 60};
    if (is(name, "wavers")) {
        static int asked[2];
        int turn = asked[is(name, "wavers-none")]++;
        if (turn == 1 && is(name, "wavers-none"))
            answer = (struct dmsg_answer){.nxdomain = true};
        else if (turn == 1)
            answer = (struct dmsg_answer){.status = DMSG_DNS_BOGUS};
        else if (turn > 1)
            answer = (struct dmsg_answer){.status = DMSG_DNS_NOT_NOW};
    }
    if (is(name, "fades-none"))
        answer = (struct dmsg_answer){.nxdomain = true, .ttl = 60, .signed_until = NOW + 86400};
    if (is(name, "aged"))
        answer.cached_for = 200;
    if (is(name, "aged-none"))
        answer = (struct dmsg_answer){
            .nxdomain = true, .ttl = 5, .cached_for = (uint32_t)strtoul(name + 9, NULL, 10)};
    if (is(name, "later") || (is(name, "fades") && questions > 2))
        answer = (struct dmsg_answer){.status = DMSG_DNS_NOT_NOW};
    if (is(name, "big"))
        answer.count = DMSG_ANSWER_RECORDS_MAX;
    holds = is(name, "slow");
    if (is(name, "silent"))
        return;
    put_answer(frame->id, &answer);
}

/* Says that it is confined as tests want to tell the processes apart: strangers' has less. */
static void hear_setup(struct dmsg_span setup)
{
    static struct dmsg_setup_item item;
    uint8_t held = DMSG_SANDBOX_SECCOMP | DMSG_SANDBOX_LANDLOCK;
    while (dmsg_setup_take(&item, &setup, NULL) == 1) {
        if (item.kind == DMSG_SETUP_FOR_STRANGERS)
            held = DMSG_SANDBOX_SECCOMP;
    }
    dmsg_frame_put(&channel.out, DMSG_FRAME_CONFINED, 0, (struct dmsg_span){&held, 1});
}

static int play(void)
{
    struct dmsg_frame frame;
    dmsg_channel_init(&channel, DMSG_PROCESS_FD, 0);
    for (;;) {
        struct pollfd fd = {.fd = channel.fd,
            .events = (short)(POLLIN | (channel.out.size > 0 && !holds ? POLLOUT : 0))};
        (void)poll(&fd, 1, -1);
        if (dmsg_channel_read(&channel, NULL) != 1)
            return 0;
        while (dmsg_channel_take(&channel, &frame, NULL) == 1) {
            if (frame.type == DMSG_FRAME_PING) {
                holds = false;
                dmsg_frame_put(
                    &channel.out, DMSG_FRAME_PONG, frame.id, (struct dmsg_span){NULL, 0});
            } else if (frame.type == DMSG_FRAME_SETUP)
                hear_setup(frame.body);
            else if (frame.type == DMSG_FRAME_ASK)
                answer_name(&frame);
        }
        if (!holds)
            (void)!dmsg_channel_flush(&channel, NULL);
    }
}

/* ======================================================================================== tests */

static struct dmsg_discovery *start_with(
    bool (*is_listed)(void *user, const struct dmsg_name *name), int64_t serve_stale)
{
    static const char *const arguments[] = {"play", NULL};
    static const char *const servers[] = {"127.0.0.1@1"};
    struct dmsg_discovery_config config = {.resolver.servers = servers,
        .resolver.server_count = 1,
        .resolver.trust_anchor = anchor_path,
        .resolver.program = self_path,
        .resolver.program_arguments = arguments,
        .is_listed = is_listed,
        .serve_stale = serve_stale};
    struct dmsg_discovery *discovery = NULL;
    struct dmsg_error error;
    clock_now = NOW;
    if (dmsg_discovery_new(&discovery, &context, &config, &error) < 0) {
        printf("Bail out! %s\n", error.text);
        exit(1);
    }
    return discovery;
}

static struct dmsg_discovery *start(void)
{
    return start_with(NULL, 0);
}

static struct dmsg_name name_of(const char *text)
{
    struct dmsg_name name = {0};
    (void)!dmsg_name_parse(&name, dmsg_span_text(text), NULL);
    return name;
}

/* Which question of the process brought this peer. */
static uint32_t number_of(const struct dmsg_peer *peer)
{
    uint32_t number = 0;
    if (peer != NULL && peer->count > 0 && peer->keys[0].rdata.size >= 8)
        memcpy(&number, peer->keys[0].rdata.data + 4, 4);
    return number;
}

/* Finds and releases: the number, negated when it came from the cache; 0 when there is none. */
static int64_t find(struct dmsg_discovery *discovery, const char *text)
{
    const struct dmsg_peer *peer = NULL;
    struct dmsg_name name = name_of(text);
    if (dmsg_discovery_find(discovery, &name, WAIT, &peer, NULL) < 0)
        return 0;
    int64_t number = number_of(peer);
    if (peer->from_cache)
        number = -number;
    dmsg_peer_release(peer);
    return number;
}

static bool cached(struct dmsg_discovery *discovery, const char *text)
{
    struct dmsg_name name = name_of(text);
    const struct dmsg_peer *peer = dmsg_discovery_get(discovery, &name);
    bool found = peer != NULL && peer->from_cache && dmsg_name_equal(&peer->name, &name);
    dmsg_peer_release(peer);
    return found;
}

/* Asks anew: does it count as cached all the same? */
static bool fresh_is_cached(struct dmsg_discovery *discovery, const char *text, int64_t *expires_at)
{
    struct dmsg_name name = name_of(text);
    const struct dmsg_peer *peer = NULL;
    if (dmsg_discovery_find_fresh(discovery, &name, WAIT, &peer, NULL) < 0)
        return false;
    bool from_cache = peer->from_cache;
    *expires_at = peer->expires_at;
    dmsg_peer_release(peer);
    return from_cache;
}

static void lives_as_long_as_its_ttl(void)
{
    static const struct {
        const char *name;
        int64_t life; /* 0: not cached */
    } rows[] = {
        {"ttl300.example", 302},
        {"ttl5.example", 62},
        {"ttl0.example", 62},
        {"ttl4294967295.example", 86402},
        {"none10.example", 12},
        {"none300.example", 60},
        {"none0.example", 0},
        {"insecure.example", 60},
        {"bogus.example", 0},
        {"later.example", 0},
    };
    struct dmsg_discovery *discovery = start();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        clock_now = NOW;
        CHECK_ROW(!cached(discovery, rows[i].name), "%s", rows[i].name);
        (void)find(discovery, rows[i].name);
        CHECK_ROW(cached(discovery, rows[i].name) == (rows[i].life > 0), "%s", rows[i].name);
        clock_now = NOW + rows[i].life - 1;
        CHECK_ROW(cached(discovery, rows[i].name) == (rows[i].life > 0), "%s", rows[i].name);
        clock_now = NOW + rows[i].life;
        CHECK_ROW(!cached(discovery, rows[i].name), "%s", rows[i].name);
        clock_now = NOW; /* expired is gone, also when the clock is set back */
        CHECK_ROW(!cached(discovery, rows[i].name), "%s", rows[i].name);
    }
    dmsg_discovery_free(&discovery);
    CHECK(discovery == NULL);
    dmsg_discovery_free(&discovery);
}

static void asks_when_it_must(void)
{
    struct dmsg_discovery *discovery = start();
    CHECK(find(discovery, "a.example") == 1);
    CHECK(find(discovery, "a.example") == -1);
    CHECK(find(discovery, "b.example") == 2);
    CHECK(find(discovery, "a.example") == -1);
    clock_now += 302;
    CHECK(find(discovery, "a.example") == 3);
    CHECK(find(discovery, "a.example") == -3);
    clock_now -= 1; /* fetched in the future: asked anew, though perhaps not past the process */
    CHECK(find(discovery, "a.example") == -4);
    dmsg_discovery_free(&discovery);
}

static void asks_afresh(void)
{
    struct dmsg_discovery *discovery = start();
    struct dmsg_name name = name_of("a.example");
    const struct dmsg_peer *peer = NULL;
    CHECK(find(discovery, "a.example") == 1);
    REQUIRE(dmsg_discovery_find_fresh(discovery, &name, WAIT, &peer, NULL) == 0);
    CHECK(number_of(peer) == 2);
    CHECK(peer->from_cache); /* within the TTL the process may have it from its own cache */
    CHECK(find(discovery, "a.example") == -2); /* it took the old one's place */
    dmsg_peer_release(peer);
    clock_now += 302;
    REQUIRE(dmsg_discovery_find_fresh(discovery, &name, WAIT, &peer, NULL) == 0);
    CHECK(number_of(peer) == 3 && !peer->from_cache);
    dmsg_discovery_free(&discovery);
    CHECK(number_of(peer) == 3); /* ours outlives the discovery */
    dmsg_peer_release(peer);
}

/* Bogus is no reason to forget what was proven and has not expired. */
static void keeps_what_is_proven(void)
{
    struct dmsg_discovery *discovery = start();
    struct dmsg_name name = name_of("turns-at-once.example");
    const struct dmsg_peer *peer = NULL;
    CHECK(find(discovery, "turns-at-once.example") == 1);
    REQUIRE(dmsg_discovery_find_fresh(discovery, &name, WAIT, &peer, NULL) == 0);
    CHECK(peer->status == DMSG_DNS_BOGUS && !peer->exists);
    dmsg_peer_release(peer);
    CHECK(find(discovery, "turns-at-once.example") == -1);
    clock_now += 302;
    CHECK(find(discovery, "turns-at-once.example") > 0); /* bogus, and asked every time */
    CHECK(find(discovery, "turns-at-once.example") > 0);
    dmsg_discovery_free(&discovery);
}

struct told {
    int count;
    uint32_t number;
    struct dmsg_discovery *discovery; /* asks and finds from within the callback, if set */
    struct told *again;
    int found;
    struct dmsg_discovery *forgets; /* from within the callback, another caller of the same name */
    struct told *forgotten;
};

static void on_done(void *user, const struct dmsg_peer *peer)
{
    struct told *told = user;
    told->count++;
    told->number = number_of(peer);
    if (told->forgets != NULL)
        dmsg_discovery_forget(told->forgets, &peer->name, told->forgotten);
    if (told->discovery != NULL) {
        const struct dmsg_peer *other = NULL;
        struct dmsg_name other_name = name_of("other.example");
        told->found = dmsg_discovery_find(told->discovery, &other_name, 1000, &other, NULL);
        CHECK(dmsg_discovery_ask(told->discovery, &peer->name, on_done, told->again, NULL) == 0);
    }
}

static void step_until(struct dmsg_discovery *discovery, const struct told *told)
{
    for (int i = 0; i < 100 && told->count == 0; i++) {
        struct pollfd fd = {.fd = dmsg_discovery_fd(discovery), .events = POLLIN};
        (void)poll(&fd, 1, 1000);
        CHECK(dmsg_discovery_step(discovery, NULL) >= 0);
    }
}

static void shares_questions(void)
{
    struct dmsg_discovery *discovery = start();
    struct dmsg_name a = name_of("a.example"), b = name_of("b.example");
    struct told told[4] = {{0}};
    for (int i = 0; i < 3; i++)
        CHECK(dmsg_discovery_ask(discovery, &a, on_done, &told[i], NULL) == 0);
    CHECK(dmsg_discovery_ask(discovery, &b, on_done, &told[3], NULL) == 0);
    step_until(discovery, &told[3]);
    for (int i = 0; i < 3; i++)
        CHECK(told[i].count == 1 && told[i].number == 1);
    CHECK(told[3].count == 1 && told[3].number == 2);
    CHECK(dmsg_discovery_ask(discovery, &a, on_done, &told[0], NULL) == 0); /* afresh */
    told[0].count = 0;
    step_until(discovery, &told[0]);
    CHECK(told[0].count == 1 && told[0].number == 3);
    dmsg_discovery_free(&discovery);
}

static void forgets_who_left(void)
{
    struct dmsg_discovery *discovery = start();
    struct dmsg_name a = name_of("a.example"), b = name_of("b.example");
    struct told told[5] = {{0}};
    for (int i = 0; i < 4; i++)
        CHECK(dmsg_discovery_ask(discovery, &a, on_done, &told[i], NULL) == 0);
    told[0].forgets = discovery;
    told[0].forgotten = &told[3];
    dmsg_discovery_forget(discovery, &a, &told[1]);
    dmsg_discovery_forget(discovery, &b, &told[2]); /* not that name's */
    CHECK(dmsg_discovery_ask(discovery, &b, on_done, &told[4], NULL) == 0);
    step_until(discovery, &told[4]);
    CHECK(told[0].count == 1 && told[1].count == 0 && told[2].count == 1 && told[3].count == 0);
    CHECK(cached(discovery, "a.example"));
    dmsg_discovery_free(&discovery);
}

static void may_ask_from_a_callback(void)
{
    struct dmsg_discovery *discovery = start();
    struct dmsg_name name = name_of("a.example");
    struct told second = {0}, first = {.discovery = discovery, .again = &second};
    CHECK(dmsg_discovery_ask(discovery, &name, on_done, &first, NULL) == 0);
    step_until(discovery, &second);
    CHECK(first.count == 1 && second.count == 1 && second.number > first.number);
    CHECK(first.found == DMSG_E_USAGE); /* to wait there is refused, not a deadlock */
    CHECK(find(discovery, "a.example") < 0);
    dmsg_discovery_free(&discovery);
}

static void waits_no_longer_than_told(void)
{
    struct dmsg_discovery *discovery = start();
    struct dmsg_name name = name_of("slow.example");
    const struct dmsg_peer *peer = NULL;
    struct dmsg_error error = {0};
    CHECK(dmsg_discovery_find(discovery, &name, 100, &peer, &error) == DMSG_E_DNS_TEMPORARY);
    CHECK(error.code == DMSG_E_DNS_TEMPORARY && strstr(error.text, "slow.example") != NULL);
    CHECK(peer == NULL);
    /* The question goes on; its answer fills the cache and calls nobody. */
    CHECK(find(discovery, "b.example") == 2);
    CHECK(cached(discovery, "slow.example"));
    dmsg_discovery_free(&discovery);
}

static void calls_nobody_when_freed(void)
{
    struct dmsg_discovery *discovery = start();
    struct dmsg_name silent = name_of("silent.example"), a = name_of("a.example");
    struct told told[2] = {{0}};
    CHECK(dmsg_discovery_ask(discovery, &silent, on_done, &told[0], NULL) == 0);
    CHECK(dmsg_discovery_ask(discovery, &a, on_done, &told[1], NULL) == 0);
    dmsg_discovery_free(&discovery);
    CHECK(told[0].count == 0 && told[1].count == 0);
}

static void bounds_the_questions(void)
{
    struct dmsg_discovery *discovery = start();
    struct told told = {0};
    struct dmsg_error error = {0};
    struct dmsg_name name;
    int asked = 0;
    for (; asked < 1000; asked++) {
        char text[40];
        snprintf(text, sizeof text, "silent%d.zone%d.example", asked, asked / 32);
        name = name_of(text);
        if (dmsg_discovery_ask(discovery, &name, on_done, &told, &error) < 0)
            break;
    }
    CHECK(asked == 256 && error.code == DMSG_E_QUOTA);
    name = name_of("silent0.zone0.example"); /* one that is under way already can still be shared */
    CHECK(dmsg_discovery_ask(discovery, &name, on_done, &told, NULL) == 0);
    dmsg_discovery_free(&discovery);
}

/* One slow zone does not take the places of the others; its names are refused, theirs are not. */
static void bounds_a_zone(void)
{
    struct dmsg_discovery *discovery = start();
    struct told told = {0};
    struct dmsg_error error = {0};
    struct dmsg_name name;
    int asked = 0;
    for (; asked < 100; asked++) {
        char text[40];
        snprintf(text, sizeof text, "silent%d.slow.example", asked);
        name = name_of(text);
        if (dmsg_discovery_ask(discovery, &name, on_done, &told, &error) < 0)
            break;
    }
    CHECK_ROW(asked == 32 && error.code == DMSG_E_QUOTA, "%d", asked);
    CHECK(strstr(error.text, "silent32.slow.example") != NULL);
    CHECK(find(discovery, "quick.other.example") > 0); /* "other.example" is another zone */
    CHECK(find(discovery, "quick.other.test") > 0);
    dmsg_discovery_free(&discovery);
}

/* Of one name too, and all of them are told. */
static void bounds_the_waiters(void)
{
    struct dmsg_discovery *discovery = start();
    struct dmsg_name name = name_of("silent.example");
    struct dmsg_error error = {0};
    int asked = 0;
    while (asked < 20000 && dmsg_discovery_ask(discovery, &name, NULL, NULL, &error) == 0)
        asked++;
    CHECK_ROW(asked == 16384 && error.code == DMSG_E_QUOTA, "%d: %s", asked, error.text);
    dmsg_discovery_free(&discovery);
}

static bool is_listed(void *user, const struct dmsg_name *name)
{
    (void)user;
    return strstr(name->text, "listed") != NULL;
}

/* Two processes, each with a count of its own; who is asked follows the name alone. */
static void keeps_strangers_apart(void)
{
    struct dmsg_discovery *discovery = start_with(is_listed, 0);
    CHECK(find(discovery, "a.listed.example") == 1);
    CHECK(find(discovery, "b.listed.example") == 2);
    CHECK(find(discovery, "a.stranger.example") == 1);
    CHECK(find(discovery, "c.listed.example") == 3);
    CHECK(find(discovery, "b.stranger.example") == 2);
    CHECK(find(discovery, "a.listed.example") == -1);                 /* one cache, by name */
    CHECK(dmsg_discovery_sandbox(discovery) == DMSG_SANDBOX_SECCOMP); /* what holds both of them */
    dmsg_discovery_free(&discovery);
    discovery = start();
    CHECK(find(discovery, "a.stranger.example") == 1);
    CHECK(dmsg_discovery_sandbox(discovery) == (DMSG_SANDBOX_SECCOMP | DMSG_SANDBOX_LANDLOCK));
    dmsg_discovery_free(&discovery);
}

/* Eight at once, ten in a burst, of a zone; the listed ones and other zones do not feel it. */
static void bounds_strangers(void)
{
    struct dmsg_discovery *discovery = start_with(is_listed, 0);
    struct told told = {0};
    struct dmsg_error error = {0};
    char text[40];
    int asked = 0;
    for (; asked < 100; asked++) {
        snprintf(text, sizeof text, "silent%d.slow.example", asked);
        struct dmsg_name name = name_of(text);
        if (dmsg_discovery_ask(discovery, &name, on_done, &told, &error) < 0)
            break;
    }
    CHECK_ROW(asked == 8 && error.code == DMSG_E_QUOTA, "%d", asked);
    int found = 0;
    for (int i = 0; i < 30; i++) {
        snprintf(text, sizeof text, "n%d.quick.example", i);
        found += find(discovery, text) != 0;
    }
    CHECK_ROW(found >= 10 && found < 20, "%d", found); /* two more for each second that passed */
    for (int i = 0; i < 30; i++) {
        snprintf(text, sizeof text, "n%d.listed.example", i);
        CHECK_ROW(find(discovery, text) != 0, "%s", text);
    }
    CHECK(find(discovery, "n0.another.example") != 0);
    dmsg_discovery_free(&discovery);
}

/* Finds, and says how: the number of the question, and whether it is stale. */
static uint32_t find_stale(struct dmsg_discovery *discovery, const char *text, bool *stale)
{
    const struct dmsg_peer *peer = NULL;
    struct dmsg_name name = name_of(text);
    *stale = false;
    if (dmsg_discovery_find(discovery, &name, WAIT, &peer, NULL) < 0)
        return 0;
    uint32_t number = number_of(peer);
    *stale = peer->stale;
    CHECK(!peer->stale || (peer->from_cache && peer->exists));
    dmsg_peer_release(peer);
    return number;
}

/* "fades" answers once and then not now; "turns" once and then bogus, "goes" once and then no. */
static void serves_stale(void)
{
    bool stale;
    struct dmsg_discovery *discovery = start_with(NULL, 1000);
    CHECK(find_stale(discovery, "fades.example", &stale) == 1 && !stale);
    CHECK(find_stale(discovery, "turns.example", &stale) == 2 && !stale);
    CHECK(find_stale(discovery, "goes.example", &stale) == 3 && !stale);
    clock_now += 302;
    CHECK(find_stale(discovery, "fades.example", &stale) == 1 && stale);
    CHECK(cached(discovery, "fades.example")); /* for half a minute nobody is asked */
    CHECK(find_stale(discovery, "turns.example", &stale) == 5 && !stale);
    CHECK(find_stale(discovery, "goes.example", &stale) == 0 && !stale);
    clock_now = NOW + 302 + 999;
    CHECK(find_stale(discovery, "fades.example", &stale) == 1 && stale);
    clock_now = NOW + 302 + 1000;
    CHECK(find_stale(discovery, "fades.example", &stale) == 0 && !stale);
    dmsg_discovery_free(&discovery);

    discovery = start(); /* off by default */
    CHECK(find_stale(discovery, "fades.example", &stale) == 1 && !stale);
    CHECK(find_stale(discovery, "a.example", &stale) == 2 && !stale);
    clock_now += 302;
    CHECK(find_stale(discovery, "fades.example", &stale) == 0 && !stale);
    dmsg_discovery_free(&discovery);
}

/* Once DNS has said no, or what does not validate, its silence brings nothing back: not the key
   that was taken out, for one. */
static void serves_nothing_stale_after_a_no(void)
{
    static const char *const names[] = {"wavers-none.example", "wavers-bogus.example"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        bool stale;
        struct dmsg_discovery *discovery = start_with(NULL, 1000);
        CHECK_ROW(find_stale(discovery, names[i], &stale) == 1 && !stale, "%s", names[i]);
        clock_now += 302;
        (void)find_stale(discovery, names[i], &stale);
        CHECK_ROW(!stale, "%s", names[i]);
        CHECK_ROW(find_stale(discovery, names[i], &stale) == 0 && !stale, "%s", names[i]);
        dmsg_discovery_free(&discovery);
    }
}

/* A denial without a TTL takes the place of a key that is cached still; what does not validate,
   which anybody can make, does not. */
static void overtakes_what_lives(void)
{
    struct dmsg_discovery *discovery = start();
    CHECK(find(discovery, "wavers-none.example") != 0 && cached(discovery, "wavers-none.example"));
    CHECK(
        find(discovery, "wavers-bogus.example") != 0 && cached(discovery, "wavers-bogus.example"));
    int64_t expires_at;
    (void)fresh_is_cached(discovery, "wavers-none.example", &expires_at);
    (void)fresh_is_cached(discovery, "wavers-bogus.example", &expires_at);
    CHECK(!cached(discovery, "wavers-none.example"));
    CHECK(cached(discovery, "wavers-bogus.example"));
    dmsg_discovery_free(&discovery);
}

/* What a cache on the way had counts as cached at once, and a denial as long as that one keeps it.
 */
static void knows_what_others_had(void)
{
    static const struct {
        const char *name;
        int64_t life;
    } rows[] = {{"aged.example", 302}, {"aged-none9.example", 11}, {"aged-none900.example", 60}};
    struct dmsg_discovery *discovery = start();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int64_t expires_at = 0;
        CHECK_ROW(fresh_is_cached(discovery, rows[i].name, &expires_at), "%s", rows[i].name);
        CHECK_ROW(expires_at == NOW + rows[i].life, "%s", rows[i].name);
    }
    int64_t expires_at;
    CHECK(!fresh_is_cached(discovery, "a.example", &expires_at));
    dmsg_discovery_free(&discovery);
}

/* Not beyond the first signature, and not without one that is known. */
static void serves_stale_while_signed(void)
{
    bool stale;
    struct dmsg_discovery *discovery = start_with(NULL, 1000);
    CHECK(find_stale(discovery, "fades-signed.example", &stale) == 1 && !stale);
    CHECK(find_stale(discovery, "fades-unsigned.example", &stale) == 2 && !stale);
    clock_now = NOW + 399;
    CHECK(find_stale(discovery, "fades-signed.example", &stale) == 1 && stale);
    CHECK(find_stale(discovery, "fades-unsigned.example", &stale) == 0 && !stale);
    clock_now = NOW + 400;
    CHECK(find_stale(discovery, "fades-signed.example", &stale) == 0 && !stale);
    dmsg_discovery_free(&discovery);

    discovery = start_with(NULL, 1000); /* a denial never */
    CHECK(find_stale(discovery, "fades-none.example", &stale) == 0 && !stale);
    CHECK(find_stale(discovery, "a.example", &stale) == 2);
    clock_now += 62;
    CHECK(find_stale(discovery, "fades-none.example", &stale) == 0 && !stale);
    dmsg_discovery_free(&discovery);
}

static int no_random(void *user, void *out, size_t size)
{
    (void)user;
    memset(out, 0, size);
    return -1;
}

static void reports_what_cannot_start(void)
{
    static const struct dmsg_context broken = {.now = fake_now, .random = no_random};
    struct dmsg_discovery *discovery = NULL;
    struct dmsg_discovery_config config = {
        .resolver.program = "/nonexistent/resolver", .resolver.trust_anchor = anchor_path};
    CHECK(dmsg_discovery_new(&discovery, &context, &config, NULL) == DMSG_E_LOCAL);
    config.resolver.program = self_path;
    config.resolver.trust_anchor = "/nonexistent/anchor";
    CHECK(dmsg_discovery_new(&discovery, &context, &config, NULL) == DMSG_E_LOCAL);
    config.resolver.trust_anchor = anchor_path;
    CHECK(dmsg_discovery_new(&discovery, &broken, &config, NULL) == DMSG_E_INTERNAL);
    CHECK(discovery == NULL);
}

int main(int argc, char **argv)
{
    static const char anchor[] =
        "test. DS 1 13 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n";
    static const struct test tests[] = {TEST(lives_as_long_as_its_ttl), TEST(asks_when_it_must),
        TEST(asks_afresh), TEST(keeps_what_is_proven), TEST(shares_questions),
        TEST(forgets_who_left), TEST(may_ask_from_a_callback), TEST(waits_no_longer_than_told),
        TEST(calls_nobody_when_freed), TEST(bounds_the_questions), TEST(bounds_a_zone),
        TEST(bounds_the_waiters), TEST(keeps_strangers_apart), TEST(bounds_strangers),
        TEST(serves_stale), TEST(serves_nothing_stale_after_a_no), TEST(overtakes_what_lives),
        TEST(knows_what_others_had), TEST(serves_stale_while_signed),
        TEST(reports_what_cannot_start)};
    if (argc == 2 && strcmp(argv[1], "play") == 0)
        return play();
    ssize_t size = readlink("/proc/self/exe", self_path, sizeof self_path - 1);
    int fd = mkstemp(anchor_path);
    if (size < 0 || fd < 0 || write(fd, anchor, sizeof anchor - 1) != (ssize_t)sizeof anchor - 1)
        return 1;
    close(fd);
    int result = test_run(tests, sizeof tests / sizeof tests[0]);
    unlink(anchor_path);
    return result;
}
