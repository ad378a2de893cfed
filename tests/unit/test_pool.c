/* The pool of threads: everything is done once, by openers that are each one thread's own. */
#include "people.h"
#include "service/internal.h"
#include "test.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define ITEMS 64
#define ROUNDS 400

static const struct dmsg_context context = {0};
static const struct dmsg_policy policy = {0};
static struct person alice, bob;
static struct dmsg_item items[ITEMS];

static struct dmsg_pool *new_pool(int threads)
{
    struct dmsg_pool_config config = {
        .context = &context, .identity = bob.identity, .policy = &policy, .threads = threads};
    struct dmsg_pool *pool = NULL;
    CHECK(dmsg_pool_new(&pool, &config, NULL) == 0);
    return pool;
}

/* ------------------------------------------------------------------------------- who did what */

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct {
    struct dmsg_opener *opener;
    pthread_t thread;
} owners[DMSG_POOL_THREADS_MAX];
static int owner_count;
static atomic_int faults;

/* Notes the thread of an opener when it is seen first. */
static void note_owner(struct dmsg_opener *opener)
{
    pthread_mutex_lock(&lock);
    int at = 0;
    while (at < owner_count && owners[at].opener != opener)
        at++;
    if (at < owner_count) {
        atomic_fetch_add(&faults, !pthread_equal(owners[at].thread, pthread_self()));
    } else if (at < DMSG_POOL_THREADS_MAX) {
        owners[owner_count].opener = opener;
        owners[owner_count++].thread = pthread_self();
    }
    pthread_mutex_unlock(&lock);
}

static void count_one(struct dmsg_opener *opener, struct dmsg_item *item)
{
    note_owner(opener);
    item->error.code++; /* not atomic: an item is in one thread at a time */
}

static void does_everything_once(void)
{
    static const size_t counts[] = {0, 1, 2, 3, 4, 5, 17, ITEMS};
    for (int threads = 1; threads <= 5; threads++) {
        int expected[ITEMS] = {0}, wrong = 0;
        struct dmsg_pool *pool = new_pool(threads);
        REQUIRE(pool != NULL);
        CHECK_ROW(dmsg_pool_threads(pool) == threads, "%d threads", threads);
        memset(items, 0, sizeof items);
        owner_count = 0;
        for (size_t round = 0; round < ROUNDS; round++) {
            size_t count = counts[round % (sizeof counts / sizeof counts[0])];
            dmsg_pool_start(pool, count_one, items, count);
            dmsg_pool_finish(pool);
            for (size_t i = 0; i < ITEMS; i++) {
                expected[i] += i < count;
                wrong += items[i].error.code != expected[i];
            }
        }
        CHECK_ROW(wrong == 0, "%d threads", threads);
        CHECK_ROW(atomic_load(&faults) == 0, "an opener in two of %d threads", threads);
        CHECK(owner_count >= 1 && owner_count <= threads);
        dmsg_pool_free(&pool);
        CHECK(pool == NULL);
    }
}

/* Rows of work that end only when every thread has come. */
static pthread_barrier_t barrier;

static void meet(struct dmsg_opener *opener, struct dmsg_item *item)
{
    (void)item;
    note_owner(opener);
    pthread_barrier_wait(&barrier);
}

static void works_at_the_same_time(void)
{
    struct dmsg_pool *pool = new_pool(4);
    REQUIRE(pool != NULL && dmsg_pool_threads(pool) == 4);
    pthread_barrier_init(&barrier, NULL, 4);
    owner_count = 0;
    for (int round = 0; round < 50; round++) {
        dmsg_pool_start(pool, meet, items, 4);
        dmsg_pool_finish(pool);
    }
    CHECK(owner_count == 4 && atomic_load(&faults) == 0);
    pthread_barrier_destroy(&barrier);
    dmsg_pool_free(&pool);
}

/* ------------------------------------------------------------------------------- opening it all */

static struct dmsg_buffer envelopes[ITEMS];

static void open_one(struct dmsg_opener *opener, struct dmsg_item *item)
{
    struct dmsg_span envelope = dmsg_buffer_span(&envelopes[item - items]);
    int code = dmsg_open_begin(
        opener, envelope, dmsg_span_text("bob.example"), &item->message, &item->error);
    if (code == 0)
        code = dmsg_open_finish(opener, &item->message, alice.peer, &item->error);
    item->fate = code < 0 ? DMSG_ITEM_REFUSED : DMSG_ITEM_VERIFIED;
}

/* Every fourth is cut by an octet. */
static void seal_all(void)
{
    struct dmsg_sealer *sealer = NULL;
    CHECK(dmsg_sealer_new(&sealer, &context, alice.identity, NULL) == 0);
    for (size_t i = 0; sealer != NULL && i < ITEMS; i++) {
        char text[32];
        struct dmsg_seal_options options = {
            .recipient = &bob.name, .key = dmsg_peer_recipient_key(bob.peer, NULL)};
        snprintf(text, sizeof text, "message %zu", i);
        CHECK(dmsg_seal(sealer, &options, dmsg_span_text(text), &envelopes[i], NULL) == 0);
        envelopes[i].size -= i % 4 == 3;
    }
    dmsg_sealer_free(&sealer);
}

static void opens_messages(void)
{
    struct dmsg_pool *pool = new_pool(4);
    REQUIRE(pool != NULL);
    memset(items, 0, sizeof items);
    seal_all();
    for (int round = 0; round < 3; round++) {
        dmsg_pool_start(pool, open_one, items, ITEMS);
        dmsg_pool_finish(pool);
        for (size_t i = 0; i < ITEMS; i++) {
            char text[32];
            snprintf(text, sizeof text, "message %zu", i);
            struct dmsg_span payload = dmsg_buffer_span(&items[i].message.payload);
            if (i % 4 == 3)
                CHECK_ROW(items[i].fate == DMSG_ITEM_REFUSED &&
                              items[i].error.code == DMSG_E_FORMAT && payload.size == 0,
                    "message %zu", i);
            else
                CHECK_ROW(
                    items[i].fate == DMSG_ITEM_VERIFIED && dmsg_span_equal_text(payload, text),
                    "message %zu", i);
        }
    }
    for (size_t i = 0; i < ITEMS; i++) {
        dmsg_message_done(&items[i].message);
        dmsg_buffer_done(&envelopes[i]);
    }
    dmsg_pool_free(&pool);
}

static void needs_a_key_to_decrypt_with(void)
{
    static const struct dmsg_name name = {.text = "carol.example", .size = 13};
    struct dmsg_identity *empty = NULL;
    struct dmsg_pool *pool = NULL;
    REQUIRE(dmsg_identity_new(&empty, &context, &name, NULL) == 0);
    struct dmsg_pool_config config = {.context = &context, .identity = empty, .policy = &policy};
    CHECK(dmsg_pool_new(&pool, &config, NULL) == DMSG_E_CERTIFICATE && pool == NULL);
    config.identity = bob.identity;
    REQUIRE(dmsg_pool_new(&pool, &config, NULL) == 0); /* as many as there are */
    CHECK(dmsg_pool_threads(pool) >= 1);
    dmsg_pool_free(&pool);
    dmsg_identity_free(&empty);
}

int main(void)
{
    static const struct test tests[] = {TEST(does_everything_once), TEST(works_at_the_same_time),
        TEST(opens_messages), TEST(needs_a_key_to_decrypt_with)};
    alice = person_new(&context, "alice.example", DMSG_KEY_P256);
    bob = person_new(&context, "bob.example", DMSG_KEY_P256);
    int result = test_run(tests, sizeof tests / sizeof tests[0]);
    person_done(&alice);
    person_done(&bob);
    return result;
}
