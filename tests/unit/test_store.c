/* store: transactions, replay, forgetting of ids, budgets, waiting and delivery, through the
   interface that every store has and for every store; at the end what only the memory store does.
 */
#include "danemsg/store.h"
#include "postgres.h"
#include "store/memory.h"
#include "store_scratch.h"
#include "test.h"

#include <stdlib.h>

#define DAY 86400
#define START 1700000000

static int64_t fake_now;

static int64_t read_clock(void *user)
{
    (void)user;
    return fake_now;
}

static const struct dmsg_context context = {.now = read_clock};

static struct dmsg_name name_of(const char *text)
{
    struct dmsg_name name = {0};
    if (dmsg_name_parse(&name, dmsg_span_text(text), NULL) < 0)
        abort();
    return name;
}

/* Opens an empty store of the kind that is under test. */
static int (*open_backend)(struct dmsg_store **out, const struct dmsg_name *me);

static struct dmsg_store *open_store(void)
{
    struct dmsg_store *store = NULL;
    struct dmsg_name me = name_of("bob.example");
    fake_now = START;
    if (open_backend(&store, &me) < 0)
        abort();
    return store;
}

static int open_memory(struct dmsg_store **out, const struct dmsg_name *me)
{
    return dmsg_store_open_memory(out, &context, me, NULL);
}

/* In a file that has no name any more once it is open. */
static int open_sqlite(struct dmsg_store **out, const struct dmsg_name *me)
{
    struct scratch scratch;
    struct dmsg_error error;
    if (scratch_make(&scratch) < 0)
        return -1;
    struct dmsg_record record;
    int code = dmsg_store_open_sqlite(out, &context, scratch.path, me, &error);
    if (code == 0) /* the first look makes the file of deliveries */
        code = dmsg_store_next(*out, 0, &record, &error);
    if (code < 0)
        printf("# %s\n", error.text);
    scratch_remove(&scratch);
    return code;
}

static const char *postgresql;

/* NULL, or why there is none here. */
static const char *find_postgresql(void)
{
    const char *why = NULL;
    struct dmsg_store *store = NULL;
    struct dmsg_error error;
    struct dmsg_name me = name_of("bob.example");
    if (dmsg_store_open_postgresql(&store, &context, "no URL", &me, NULL, &error) < 0 &&
        strstr(error.text, "built without") != NULL)
        return "built without libpq";
    postgresql = postgres_url(&why);
    return why;
}

/* Of another recipient each time, so that it is empty. */
static int open_postgresql(struct dmsg_store **out, const struct dmsg_name *me)
{
    static int count;
    char text[DMSG_NAME_TEXT + 20];
    struct dmsg_error error;
    snprintf(text, sizeof text, "b%d.%s", ++count, me->text);
    struct dmsg_name name = name_of(text);
    int code = dmsg_store_open_postgresql(out, &context, postgresql, &name, "one", &error);
    if (code < 0)
        printf("# %s\n", error.text);
    return code;
}

/* A verified v1 message: iat now, exp in a week. */
static struct dmsg_message message_of(const char *sender, const char *id, const char *content)
{
    struct dmsg_message message = {.format = DMSG_FORMAT_V1,
        .sender = name_of(sender),
        .kid = "kid",
        .issued_at = fake_now,
        .expires_at = fake_now + 7 * DAY,
        .content_type = "text/plain",
        .verified = true};
    snprintf(message.id, sizeof message.id, "%s", id);
    dmsg_buffer_put_text(&message.payload, content);
    dmsg_buffer_put_text(&message.jws, content);
    return message;
}

static struct dmsg_message poc_message_of(const char *sender, const char *id, const char *content)
{
    struct dmsg_message message = message_of(sender, id, content);
    message.format = DMSG_FORMAT_POC;
    message.issued_at = message.expires_at = 0;
    message.kid[0] = message.content_type[0] = '\0';
    return message;
}

static void done(struct dmsg_message *message)
{
    dmsg_buffer_done(&message->payload);
    dmsg_buffer_done(&message->jws);
}

static int accept_one(struct dmsg_store *store, struct dmsg_message message)
{
    struct dmsg_error error = {0};
    int code = dmsg_store_accept(store, &message, dmsg_span_text("topic"), &error);
    CHECK(code >= 0 || (error.code == code && error.text[0] != '\0'));
    done(&message);
    return code;
}

static int wait_one(struct dmsg_store *store, struct dmsg_message message, bool trusted)
{
    int code = dmsg_store_wait(store, &message, dmsg_span_text("topic"), trusted, NULL);
    done(&message);
    return code;
}

static size_t count_kept(struct dmsg_store *store)
{
    struct dmsg_record record;
    size_t count = 0;
    for (int64_t row = 0; dmsg_store_next(store, row, &record, NULL) == 1; row = record.row)
        count++;
    return count;
}

static size_t count_waiting(struct dmsg_store *store, const char *sender)
{
    struct dmsg_name name = sender != NULL ? name_of(sender) : (struct dmsg_name){0};
    struct dmsg_record record;
    size_t count = 0;
    for (int64_t row = 0;
         dmsg_store_waiting(store, sender != NULL ? &name : NULL, row, &record, NULL) == 1;
         row = record.row)
        count++;
    return count;
}

/* ---------------------------------------------------------------------------- transactions */

static void commit_keeps_and_rollback_forgets(void)
{
    struct dmsg_store *store = open_store();
    struct dmsg_name alice = name_of("alice.example");
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    CHECK(accept_one(store, message_of("alice.example", "one", "1")) == 0);
    CHECK(wait_one(store, message_of("carol.example", "two", "2"), false) == 0);
    CHECK(count_waiting(store, NULL) == 1);
    CHECK(dmsg_store_verified_before(store, &alice));
    dmsg_store_rollback(store);
    CHECK(count_kept(store) == 0 && count_waiting(store, NULL) == 0);
    CHECK(!dmsg_store_verified_before(store, &alice) && !dmsg_store_sent_v1(store, &alice));

    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    CHECK(accept_one(store, message_of("alice.example", "one", "1")) == 0);
    CHECK(wait_one(store, message_of("carol.example", "two", "2"), false) == 0);
    CHECK(dmsg_store_commit(store, NULL) == 0);
    CHECK(count_kept(store) == 1 && count_waiting(store, NULL) == 1);
    CHECK(dmsg_store_verified_before(store, &alice) && dmsg_store_sent_v1(store, &alice));
    dmsg_store_rollback(store);
    CHECK(count_kept(store) == 1);
    dmsg_store_close(&store);
    CHECK(store == NULL);
}

/* What was delivered is put back only where marks are a part of the transaction. */
static void rollback_puts_back_what_was_taken(void)
{
    struct dmsg_store *store = open_store();
    const char *const ids[] = {"a", "b", "c", "d"};
    struct dmsg_record record;
    CHECK(dmsg_store_next(store, 0, &record, NULL) == 0);
    bool stays = dmsg_store_delivers_within(store);
    CHECK(stays == !dmsg_store_is_shared(store));
    for (size_t i = 0; i < 4; i++) {
        CHECK(wait_one(store, message_of("x.carol.example", ids[i], ids[i]), false) == 0);
        CHECK(accept_one(store, message_of("alice.example", ids[i], ids[i])) == 0);
    }
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    for (int i = 0; i < 4; i++) { /* all of them, the neighbours too */
        REQUIRE(dmsg_store_waiting(store, NULL, 0, &record, NULL) == 1);
        CHECK(dmsg_store_waited(store, record.row, NULL) == 0);
        CHECK(dmsg_store_waited(store, record.row, NULL) == DMSG_E_USAGE);
        REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
        CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
    }
    CHECK(wait_one(store, message_of("y.carol.example", "e", "e"), false) == 0);
    CHECK(count_waiting(store, NULL) == 1 && count_kept(store) == 0);
    dmsg_store_rollback(store);
    CHECK(count_waiting(store, "x.carol.example") == 4);
    CHECK(count_waiting(store, "y.carol.example") == 0);
    int64_t row = 0;
    for (size_t i = 0; i < 4; i++, row = record.row) {
        REQUIRE(dmsg_store_waiting(store, NULL, row, &record, NULL) == 1);
        CHECK_ROW(strcmp(record.id, ids[i]) == 0, "waiting %zu", i);
    }
    row = 0;
    CHECK(!stays || dmsg_store_next(store, 0, &record, NULL) == 0);
    for (size_t i = 0; !stays && i < 4; i++, row = record.row) {
        REQUIRE(dmsg_store_next(store, row, &record, NULL) == 1);
        CHECK_ROW(strcmp(record.id, ids[i]) == 0, "kept %zu", i);
    }
    CHECK(wait_one(store, message_of("x.carol.example", "b", "b"), false) == 0);
    CHECK(count_waiting(store, NULL) == 4);
    dmsg_store_close(&store);
}

/* While a batch is stored, those before it are delivered, and none of its own. */
static void a_batch_is_not_delivered_before_it_is_committed(void)
{
    struct dmsg_store *store = open_store();
    struct dmsg_record record;
    struct dmsg_store_depths depths = {0};
    CHECK(dmsg_store_next(store, 0, &record, NULL) == 0);
    if (!dmsg_store_delivers_within(store)) {
        dmsg_store_close(&store);
        return;
    }
    CHECK(accept_one(store, message_of("alice.example", "one", "1")) == 0);
    CHECK(accept_one(store, message_of("alice.example", "two", "2")) == 0);
    for (int commits = 0; commits < 2; commits++) {
        REQUIRE(dmsg_store_begin(store, NULL) == 0);
        CHECK(accept_one(store, message_of("alice.example", "three", "3")) == 0);
        REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
        CHECK(strcmp(record.id, commits ? "two" : "one") == 0);
        CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
        CHECK(dmsg_store_next(store, 0, &record, NULL) == !commits);
        CHECK(dmsg_store_next(store, record.row, &record, NULL) == 0);
        if (commits)
            CHECK(dmsg_store_commit(store, NULL) == 0);
        else
            dmsg_store_rollback(store);
    }
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(strcmp(record.id, "three") == 0);
    CHECK(dmsg_store_depths(store, &depths, NULL) == 0 && depths.undelivered == 1);
    CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
    CHECK(dmsg_store_delivered(store, record.row, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_store_next(store, 0, &record, NULL) == 0);
    CHECK(dmsg_store_depths(store, &depths, NULL) == 0 && depths.undelivered == 0);
    dmsg_store_close(&store);
}

static void transactions_do_not_nest(void)
{
    struct dmsg_store *store = open_store();
    CHECK(dmsg_store_commit(store, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_store_begin(store, NULL) == 0);
    CHECK(dmsg_store_begin(store, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_store_begin_relaxed(store, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_store_purge(store, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_store_commit(store, NULL) == 0);
    CHECK(dmsg_store_begin_relaxed(store, NULL) == 0);
    CHECK(accept_one(store, message_of("alice.example", "one", "1")) == 0);
    CHECK(dmsg_store_commit(store, NULL) == 0 && count_kept(store) == 1);
    CHECK(dmsg_store_begin(store, NULL) == 0);
    CHECK(accept_one(store, message_of("alice.example", "two", "2")) == 0);
    dmsg_store_close(&store); /* rolls back */
    CHECK(store == NULL);
    dmsg_store_close(&store);
}

/* A judgement leaves the transaction usable, trouble of the store does not. */
static void judgements_leave_the_transaction_usable(void)
{
    struct dmsg_store *store = open_store();
    struct dmsg_message unverified = message_of("alice.example", "two", "2");
    unverified.verified = false;
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    CHECK(accept_one(store, message_of("alice.example", "one", "1")) == 0);
    CHECK(accept_one(store, message_of("alice.example", "one", "1")) == DMSG_E_REPLAY);
    CHECK(accept_one(store, unverified) == DMSG_E_USAGE);
    CHECK(dmsg_store_commit(store, NULL) == 0);
    CHECK(count_kept(store) == 1);
    dmsg_store_close(&store);
}

static void trouble_breaks_the_transaction(void)
{
    struct dmsg_store *store = open_store();
    struct dmsg_message large = message_of("alice.example", "large", "");
    REQUIRE(dmsg_buffer_reserve(&large.payload, DMSG_MEMORY_KEPT_OCTETS / 2) != NULL);
    memset(large.payload.data, 'x', DMSG_MEMORY_KEPT_OCTETS / 2);
    large.payload.size = DMSG_MEMORY_KEPT_OCTETS / 2;
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    CHECK(dmsg_store_accept(store, &large, dmsg_span_text(""), NULL) == 0);
    large.id[0] = 'L';
    CHECK(dmsg_store_accept(store, &large, dmsg_span_text("t"), NULL) == DMSG_E_INTERNAL);
    CHECK(dmsg_store_commit(store, NULL) == DMSG_E_INTERNAL);
    CHECK(count_kept(store) == 0);
    CHECK(dmsg_store_accept(store, &large, dmsg_span_text("t"), NULL) == 0);
    CHECK(count_kept(store) == 1);
    done(&large);
    dmsg_store_close(&store);
}

/* ------------------------------------------------------------------------ replay, forgetting */

static void replay_is_by_sender_and_id(void)
{
    static const struct {
        const char *sender, *id;
        int code;
    } rows[] = {
        {"alice.example", "one", 0},
        {"alice.example", "one", DMSG_E_REPLAY},
        {"alice.example", "onE", 0},
        {"carol.example", "one", 0},
        {"carol.example", "one", DMSG_E_REPLAY},
        {"alice.example", "one", DMSG_E_REPLAY},
    };
    struct dmsg_store *store = open_store();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_ROW(accept_one(store, message_of(rows[i].sender, rows[i].id, "text")) == rows[i].code,
            "row %zu", i);
    CHECK(count_kept(store) == 3);
    dmsg_store_close(&store);
}

/* The clock is set back and forth; nothing that was accepted is accepted again. */
static void ids_are_forgotten_only_when_their_exp_has_passed(void)
{
    static const struct {
        int64_t now;    /* set the clock, then purge */
        const char *id; /* then this one comes */
        int64_t issued, expires;
        int code;
    } rows[] = {
        {START, "week", START, START + 7 * DAY, 0},
        {START, "short", START, START + 3600, 0},
        {START + 3599, "short", START, START + 3600, DMSG_E_REPLAY},
        /* forgotten, and refused because it would have been */
        {START + 3601, "short", START, START + 3600, DMSG_E_TIME},
        {START + 3601, "edge", START, START + 3601, 0},
        {START + 3601, "edge", START, START + 3601, DMSG_E_REPLAY},
        /* far forward, as a wrong clock is: only a day over the newest iat is believed */
        {START + 4000 * DAY, "week", START, START + 7 * DAY, DMSG_E_REPLAY},
        {START + 4000 * DAY, "late", START, START + DAY - 1, DMSG_E_TIME},
        {START + 4000 * DAY, "fits", START, START + DAY, 0},
        /* and back: what was forgotten stays forgotten, what is known stays known */
        {START, "short", START, START + 3600, DMSG_E_TIME},
        {START, "week", START, START + 7 * DAY, DMSG_E_REPLAY},
        {START - 4000 * DAY, "fits", START, START + DAY, DMSG_E_REPLAY},
        {START - 4000 * DAY, "early", START - 4000 * DAY, START - 3999 * DAY, DMSG_E_TIME},
        /* a newer message moves it on */
        {START + 6 * DAY, "new", START + 6 * DAY, START + 9 * DAY, 0},
        {START + 7 * DAY + 1, "week", START, START + 7 * DAY, DMSG_E_REPLAY},
        {START + 7 * DAY + 1, "newer", START + 7 * DAY + 1, START + 9 * DAY, 0},
        {START + 7 * DAY + 1, "week", START, START + 7 * DAY, DMSG_E_TIME},
        {START + 7 * DAY + 1, "new", START + 6 * DAY, START + 9 * DAY, DMSG_E_REPLAY},
    };
    struct dmsg_store *store = open_store();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fake_now = rows[i].now;
        CHECK(dmsg_store_purge(store, NULL) == 0);
        struct dmsg_message message = message_of("alice.example", rows[i].id, "text");
        message.issued_at = rows[i].issued;
        message.expires_at = rows[i].expires;
        int code = accept_one(store, message);
        CHECK_ROW(code == rows[i].code, "row %zu: %s", i, dmsg_error_word(code));
    }
    dmsg_store_close(&store);
}

/* Nothing accepted yet: a clock that is wrong must not make the store refuse anything. */
static void an_empty_store_purges_nothing(void)
{
    struct dmsg_store *store = open_store();
    fake_now = START + 4000 * DAY;
    CHECK(dmsg_store_purge(store, NULL) == 0);
    fake_now = START;
    CHECK(accept_one(store, message_of("alice.example", "one", "1")) == 0);
    dmsg_store_close(&store);
}

static void poc_digests_are_kept_thirty_days(void)
{
    struct dmsg_store *store = open_store();
    CHECK(accept_one(store, poc_message_of("old.example", "digest", "1")) == 0);
    CHECK(accept_one(store, poc_message_of("old.example", "digest", "1")) == DMSG_E_REPLAY);
    fake_now += DMSG_POC_REMEMBER - 1;
    CHECK(dmsg_store_purge(store, NULL) == 0);
    CHECK(accept_one(store, poc_message_of("old.example", "digest", "1")) == DMSG_E_REPLAY);
    fake_now += 1;
    CHECK(dmsg_store_purge(store, NULL) == 0);
    CHECK(accept_one(store, poc_message_of("old.example", "digest", "1")) == 0);
    dmsg_store_close(&store);
}

static void senders_are_known_by_what_they_sent(void)
{
    struct dmsg_store *store = open_store();
    struct dmsg_name old = name_of("old.example"), alice = name_of("alice.example"),
                     nobody = name_of("nobody.example");
    CHECK(accept_one(store, poc_message_of("old.example", "digest", "1")) == 0);
    CHECK(accept_one(store, message_of("alice.example", "one", "1")) == 0);
    CHECK(wait_one(store, message_of("nobody.example", "one", "1"), false) == 0);
    CHECK(dmsg_store_verified_before(store, &old) && !dmsg_store_sent_v1(store, &old));
    CHECK(dmsg_store_verified_before(store, &alice) && dmsg_store_sent_v1(store, &alice));
    CHECK(!dmsg_store_verified_before(store, &nobody) && !dmsg_store_sent_v1(store, &nobody));
    /* once v1, always v1 */
    CHECK(accept_one(store, message_of("old.example", "two", "2")) == 0);
    CHECK(accept_one(store, poc_message_of("old.example", "digest2", "3")) == 0);
    CHECK(dmsg_store_sent_v1(store, &old));
    fake_now += 100 * DAY;
    CHECK(dmsg_store_purge(store, NULL) == 0);
    CHECK(dmsg_store_sent_v1(store, &old) && dmsg_store_verified_before(store, &alice));
    dmsg_store_close(&store);
}

/* The memory store's bound: a sender of very many messages loses its own old ids, and what it
   could replay with them; nobody else does. */
static void a_busy_sender_forgets_at_its_own_expense(void)
{
    struct dmsg_store *store = open_store();
    struct dmsg_record record;
    char id[DMSG_MESSAGE_ID_SIZE];
    CHECK(accept_one(store, message_of("alice.example", "first", "")) == 0);
    for (int batch = 0; batch * 1024 <= DMSG_MEMORY_IDS_MAX; batch++) {
        fake_now++;
        REQUIRE(dmsg_store_begin(store, NULL) == 0);
        for (int i = 0; i < 1024; i++) {
            snprintf(id, sizeof id, "%d", batch * 1024 + i);
            if (accept_one(store, message_of("busy.example", id, "")) != 0)
                CHECK_ROW(false, "message %s", id);
        }
        REQUIRE(dmsg_store_commit(store, NULL) == 0);
        while (dmsg_store_next(store, 0, &record, NULL) == 1)
            REQUIRE(dmsg_store_delivered(store, record.row, NULL) == 0);
    }
    struct dmsg_message old = message_of("busy.example", "0", "");
    old.issued_at = START + 1;
    old.expires_at = START + 1 + 7 * DAY;
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    CHECK(accept_one(store, old) == DMSG_E_TIME);
    CHECK(accept_one(store, message_of("busy.example", id, "")) == DMSG_E_REPLAY);
    CHECK(accept_one(store, message_of("busy.example", "new", "")) == 0);
    CHECK(accept_one(store, message_of("alice.example", "first", "")) == DMSG_E_REPLAY);
    old = message_of("alice.example", "short", "");
    old.expires_at = fake_now + 60;
    CHECK(accept_one(store, old) == 0);
    CHECK(dmsg_store_commit(store, NULL) == 0);
    dmsg_store_close(&store);
}

/* Many names of few messages: all of them pay, and still nothing is accepted twice. */
static void many_senders_forget_together(void)
{
    struct dmsg_store *store = open_store();
    char id[DMSG_MESSAGE_ID_SIZE], sender[40];
    for (int batch = 0; batch * 8192 <= DMSG_MEMORY_IDS_MAX; batch++) {
        fake_now++;
        REQUIRE(dmsg_store_begin(store, NULL) == 0);
        for (int i = 0; i < 8192; i++) {
            snprintf(id, sizeof id, "%d", batch);
            snprintf(sender, sizeof sender, "s%d.example", i);
            if (accept_one(store, message_of(sender, id, "")) != 0)
                CHECK_ROW(false, "message %s of %s", id, sender);
        }
        REQUIRE(dmsg_store_commit(store, NULL) == 0);
    }
    struct dmsg_message old = message_of("s7.example", "0", "");
    old.issued_at = START + 1;
    old.expires_at = START + 1 + 7 * DAY;
    CHECK(accept_one(store, old) == DMSG_E_TIME);
    CHECK(accept_one(store, message_of("s7.example", id, "")) == DMSG_E_REPLAY);
    CHECK(accept_one(store, message_of("s7.example", "new", "")) == 0);
    dmsg_store_close(&store);
}

/* --------------------------------------------------------------------------------- waiting */

static void waiting_keeps_the_order_of_arrival(void)
{
    static const struct {
        const char *sender, *id;
    } rows[] = {{"a.example", "1"}, {"b.example", "2"}, {"a.example", "3"}, {"c.example", "4"},
        {"a.example", "5"}, {"b.example", "6"}};
    struct dmsg_store *store = open_store();
    struct dmsg_name a = name_of("a.example"), nobody = name_of("nobody.example");
    struct dmsg_record record = {0};
    for (size_t i = 0; i < 6; i++)
        CHECK(wait_one(store, message_of(rows[i].sender, rows[i].id, rows[i].id), i % 2) == 0);
    for (size_t i = 0; i < 6; i++) {
        REQUIRE(dmsg_store_waiting(store, NULL, record.row, &record, NULL) == 1);
        CHECK(strcmp(record.sender.text, rows[i].sender) == 0);
        CHECK(strcmp(record.id, rows[i].id) == 0 && strcmp(record.kid, "kid") == 0);
        CHECK(dmsg_span_equal_text(record.content, rows[i].id));
        CHECK(dmsg_span_equal_text(record.topic, "topic"));
        CHECK(record.received_at == START && record.expires_at == START + 7 * DAY);
    }
    CHECK(dmsg_store_waiting(store, NULL, record.row, &record, NULL) == 0);
    int64_t last = 0;
    CHECK(dmsg_store_waiting_last(store, &last, NULL) == 0 && last >= record.row);
    CHECK(wait_one(store, message_of("late.example", "7", "7"), false) == 0);
    CHECK(dmsg_store_waiting(store, NULL, last, &record, NULL) == 1);
    CHECK(strcmp(record.id, "7") == 0);
    CHECK(dmsg_store_waited(store, record.row, NULL) == 0);
    const char *const expected[] = {"1", "3", "5"};
    int64_t rows_of_a[3] = {0};
    int64_t after = 0;
    for (size_t i = 0; i < 3; i++, after = record.row) {
        REQUIRE(dmsg_store_waiting(store, &a, after, &record, NULL) == 1);
        CHECK(strcmp(record.id, expected[i]) == 0);
        rows_of_a[i] = record.row;
    }
    CHECK(dmsg_store_waiting(store, &a, after, &record, NULL) == 0);
    CHECK(dmsg_store_waiting(store, &nobody, 0, &record, NULL) == 0);
    /* the middle one goes; a walk that stood there goes on */
    CHECK(dmsg_store_waiting(store, &a, rows_of_a[0], &record, NULL) == 1);
    CHECK(dmsg_store_waited(store, rows_of_a[1], NULL) == 0);
    REQUIRE(dmsg_store_waiting(store, &a, rows_of_a[1], &record, NULL) == 1);
    CHECK(strcmp(record.id, "5") == 0);
    REQUIRE(dmsg_store_waiting(store, &a, 0, &record, NULL) == 1);
    CHECK(strcmp(record.id, "1") == 0);
    CHECK(dmsg_store_waited(store, record.row, NULL) == 0);
    CHECK(count_waiting(store, "a.example") == 1 && count_waiting(store, NULL) == 4);
    dmsg_store_close(&store);
}

static void the_same_message_waits_once(void)
{
    struct dmsg_store *store = open_store();
    CHECK(wait_one(store, message_of("a.example", "1", "text"), false) == 0);
    CHECK(wait_one(store, message_of("a.example", "1", "text"), false) == 0);
    CHECK(count_waiting(store, NULL) == 1);
    /* the same id with another content is a forgery of one of them: both are heard */
    CHECK(wait_one(store, message_of("a.example", "1", "tex"), false) == 0);
    CHECK(wait_one(store, message_of("a.example", "1", "test"), false) == 0);
    CHECK(wait_one(store, message_of("b.example", "1", "text"), false) == 0);
    CHECK(count_waiting(store, NULL) == 4);
    dmsg_store_close(&store);
}

static void waiting_ends(void)
{
    static const struct {
        const char *what;
        enum dmsg_format format;
        bool trusted;
        int64_t issued, expires, asked; /* from START on; asked 0: not planned */
        int64_t until;
    } rows[] = {
        {"known sender, exp", DMSG_FORMAT_V1, true, 0, 7 * DAY, 0, 7 * DAY},
        {"stranger, an hour", DMSG_FORMAT_V1, false, 0, 7 * DAY, 0, DMSG_STRANGER_WAIT},
        {"stranger, exp is sooner", DMSG_FORMAT_V1, false, -50, 600, 0, 600},
        {"stranger, our clock was behind", DMSG_FORMAT_V1, false, DAY, 7 * DAY, 0,
            DAY + DMSG_STRANGER_WAIT},
        {"known poc sender", DMSG_FORMAT_POC, true, 0, 0, 0, DMSG_POC_WAIT},
        {"poc stranger", DMSG_FORMAT_POC, false, 0, 0, 0, DMSG_STRANGER_WAIT},
        {"stranger, DNS is asked later", DMSG_FORMAT_V1, false, 0, 7 * DAY, DMSG_STRANGER_WAIT + 5,
            DMSG_STRANGER_WAIT + 5 + DMSG_ASK_MARGIN},
        {"stranger, DNS is asked in time", DMSG_FORMAT_V1, false, 0, 7 * DAY, 60,
            DMSG_STRANGER_WAIT},
        {"stranger, exp is sooner than DNS", DMSG_FORMAT_V1, false, 0, 3700, 3650, 3700},
        {"known sender, DNS after its exp", DMSG_FORMAT_V1, true, 0, 3700, 5000, 3700},
        {"poc stranger, DNS is asked later", DMSG_FORMAT_POC, false, 0, 0, DAY,
            DAY + DMSG_ASK_MARGIN},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_store *store = open_store();
        struct dmsg_record record = {0};
        int64_t until = 0;
        bool v1 = rows[i].format == DMSG_FORMAT_V1;
        struct dmsg_message message = (v1 ? message_of : poc_message_of)("a.example", "1", "text");
        if (v1) {
            message.issued_at = START + rows[i].issued;
            message.expires_at = START + rows[i].expires;
        }
        CHECK(wait_one(store, message, rows[i].trusted) == 0);
        REQUIRE(dmsg_store_waiting(store, NULL, 0, &record, NULL) == 1);
        int64_t asked_at = rows[i].asked != 0 ? START + rows[i].asked : 0;
        CHECK(dmsg_store_waiting_until(store, record.row, asked_at, &until, NULL) == 0);
        CHECK_ROW(
            until == START + rows[i].until, "%s: %lld", rows[i].what, (long long)(until - START));
        CHECK(dmsg_store_waiting_until(store, record.row + 1, 0, &until, NULL) == DMSG_E_USAGE);
        dmsg_store_close(&store);
    }
}

/* --------------------------------------------------------------------------------- budgets */

/* Fills a budget with messages of names made by the format, until one is refused. */
static size_t fill(struct dmsg_store *store, const char *format, bool trusted, size_t size)
{
    size_t count = 0;
    char *content = calloc(1, size + 1);
    bool own = dmsg_store_begin(store, NULL) == 0;
    memset(content, 'x', size);
    for (;; count++) {
        char sender[60], id[DMSG_MESSAGE_ID_SIZE];
        snprintf(id, sizeof id, "%zu", count);
        snprintf(sender, sizeof sender, "%s%s", "x", format);
        if (strchr(format, '*') != NULL)
            snprintf(sender, sizeof sender, "s%zu.t%zu%s", count % 7, count, format + 1);
        int code = wait_one(store, message_of(sender, id, content), trusted);
        if (code == DMSG_E_QUOTA)
            break;
        CHECK(code == 0);
    }
    free(content);
    CHECK(!own || dmsg_store_commit(store, NULL) == 0);
    return count;
}

static void a_stranger_has_a_small_budget_by_zone(void)
{
    struct dmsg_store *store = open_store();
    struct dmsg_record record;
    /* a wildcard of DNS gives any number of labels below the zone */
    CHECK(fill(store, "*.evil.example", false, 100) == DMSG_STRANGER_MESSAGES);
    CHECK(wait_one(store, message_of("evil.example", "z", "text"), false) == DMSG_E_QUOTA);
    CHECK(wait_one(store, message_of("a.b.c.evil.example", "z", "text"), false) == DMSG_E_QUOTA);
    CHECK(wait_one(store, message_of("good.example", "z", "text"), false) == 0);
    CHECK(wait_one(store, message_of("devil.example", "z", "text"), false) == 0);
    /* a known sender of that zone has the other budget */
    CHECK(wait_one(store, message_of("known.evil.example", "z", "text"), true) == 0);
    /* what already waits is no error, even now */
    REQUIRE(dmsg_store_waiting(store, NULL, 0, &record, NULL) == 1);
    CHECK(dmsg_store_waited(store, record.row, NULL) == 0);
    CHECK(wait_one(store, message_of("evil.example", "z", "text"), false) == 0);
    CHECK(wait_one(store, message_of("evil.example", "z", "text"), false) == 0);
    CHECK(wait_one(store, message_of("evil.example", "y", "text"), false) == DMSG_E_QUOTA);
    dmsg_store_close(&store);
}

static void a_stranger_has_few_octets(void)
{
    struct dmsg_store *store = open_store();
    size_t size = 65536;
    size_t fits = DMSG_STRANGER_OCTETS / (size + 5); /* 5 for the topic */
    CHECK(fill(store, "*.evil.example", false, size) == fits);
    CHECK(wait_one(store, message_of("good.example", "z", "text"), false) == 0);
    dmsg_store_close(&store);
}

static void strangers_together_are_bounded(void)
{
    struct dmsg_store *store = open_store();
    size_t count = 0;
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    for (int zone = 0; zone < 20; zone++) {
        for (int i = 0; i < DMSG_STRANGER_MESSAGES; i++) {
            char id[DMSG_MESSAGE_ID_SIZE], name[80];
            snprintf(id, sizeof id, "%d", i);
            snprintf(name, sizeof name, "x%d.zone%d.test", i, zone);
            count += wait_one(store, message_of(name, id, ""), false) == 0;
        }
    }
    CHECK(dmsg_store_commit(store, NULL) == 0);
    CHECK(count == DMSG_STRANGERS_MESSAGES);
    CHECK(wait_one(store, message_of("good.example", "z", "text"), false) == DMSG_E_QUOTA);
    CHECK(wait_one(store, message_of("good.example", "z", "text"), true) == 0);
    dmsg_store_close(&store);
}

static void known_senders_are_bounded(void)
{
    struct dmsg_store *store = open_store();
    CHECK(fill(store, "*.example", true, 1) == DMSG_TRUSTED_MESSAGES);
    CHECK(wait_one(store, message_of("good.example", "z", "text"), true) == DMSG_E_QUOTA);
    CHECK(wait_one(store, message_of("good.example", "z", "text"), false) == 0);
    dmsg_store_close(&store);
}

/* A forger who knows one name of a known sender takes nothing from the others. */
static void a_known_name_is_bounded(void)
{
    struct dmsg_store *store = open_store();
    size_t size = 65536, fits = DMSG_NAME_OCTETS / (size + 5);
    CHECK(fill(store, ".example", true, 1) == DMSG_NAME_MESSAGES);
    CHECK(wait_one(store, message_of("y.example", "z", "text"), true) == 0);
    CHECK(fill(store, "y.example", true, size) == fits);
    CHECK(wait_one(store, message_of("y.example", "z2", "text"), true) == 0);
    CHECK(wait_one(store, message_of("xy.example", "z2", "text"), false) == 0);
    dmsg_store_close(&store);
}

/* A rollback gives the budget back. */
static void rollback_gives_the_budget_back(void)
{
    struct dmsg_store *store = open_store();
    for (int round = 0; round < 3; round++) {
        REQUIRE(dmsg_store_begin(store, NULL) == 0);
        CHECK(fill(store, "*.evil.example", false, 1) == DMSG_STRANGER_MESSAGES);
        dmsg_store_rollback(store);
        CHECK(count_waiting(store, NULL) == 0);
    }
    dmsg_store_close(&store);
}

/* -------------------------------------------------------------------------------- delivery */

static void delivery_is_in_the_order_of_acceptance(void)
{
    const char *const ids[] = {"1", "2", "3"};
    struct dmsg_store *store = open_store();
    struct dmsg_record record = {0};
    for (size_t i = 0; i < 3; i++)
        CHECK(accept_one(store, message_of("alice.example", ids[i], ids[i])) == 0);
    for (size_t i = 0; i < 3; i++) {
        REQUIRE(dmsg_store_next(store, record.row, &record, NULL) == 1);
        CHECK(strcmp(record.id, ids[i]) == 0 && dmsg_span_equal_text(record.content, ids[i]));
        CHECK(strcmp(record.sender.text, "alice.example") == 0);
        CHECK(strcmp(record.content_type, "text/plain") == 0);
        CHECK(record.format == DMSG_FORMAT_V1 && record.issued_at == START);
        CHECK(record.row > 0);
    }
    int64_t last = record.row;
    CHECK(dmsg_store_next(store, last, &record, NULL) == 0);
    CHECK(dmsg_store_delivered(store, last, NULL) == 0);
    CHECK(dmsg_store_delivered(store, last, NULL) == DMSG_E_USAGE);
    CHECK(count_kept(store) == 2);
    /* delivered, and still no replay */
    CHECK(accept_one(store, message_of("alice.example", "3", "3")) == DMSG_E_REPLAY);
    dmsg_store_close(&store);
}

static void failed_deliveries_are_counted_and_put_aside(void)
{
    struct dmsg_store *store = open_store();
    struct dmsg_record record;
    CHECK(accept_one(store, message_of("alice.example", "1", "1")) == 0);
    CHECK(accept_one(store, message_of("alice.example", "2", "2")) == 0);
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    int64_t row = record.row;
    CHECK(dmsg_store_failed(store, row, 3, NULL) == 0);
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    CHECK(dmsg_store_failed(store, row, 3, NULL) == 0);
    CHECK(dmsg_store_failed(store, row, 3, NULL) == 1);
    dmsg_store_rollback(store);
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(record.row == row && record.failures == 1 && record.delivery == DMSG_UNDELIVERED);
    CHECK(dmsg_store_failed(store, row, 3, NULL) == 0);
    CHECK(dmsg_store_failed(store, row, 3, NULL) == 1);
    CHECK(dmsg_store_failed(store, row, 3, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_store_failed(store, row + 10, 3, NULL) == DMSG_E_USAGE);
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(strcmp(record.id, "2") == 0 && count_kept(store) == 1);
    /* it is shown, and never taken away by time */
    CHECK(dmsg_store_discard(store, INT64_MAX, NULL) == 0);
    REQUIRE(dmsg_store_kept(store, 0, &record, NULL) == 1);
    CHECK(record.row == row && record.failures == 3 && record.delivery == DMSG_FAILED);
    REQUIRE(dmsg_store_kept(store, row, &record, NULL) == 1);
    CHECK(strcmp(record.id, "2") == 0 && record.delivery == DMSG_UNDELIVERED);
    CHECK(dmsg_store_kept(store, record.row, &record, NULL) == 0);
    /* what is taken away is no longer counted */
    struct dmsg_store_depths depths;
    CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
    CHECK(dmsg_store_discard(store, INT64_MAX, NULL) == 0);
    CHECK(dmsg_store_depths(store, &depths, NULL) == 0 && depths.failed == 1);
    CHECK(depths.delivered == 0 && depths.undelivered == 0);
    dmsg_store_close(&store);
}

/* ---------------------------------------------------------------------------------- counts */

static bool counts_are(struct dmsg_store *store, int64_t accepted, int64_t put_aside,
    int64_t delivered, int64_t replay)
{
    struct dmsg_store_counts counts = {0};
    CHECK(dmsg_store_counts(store, &counts, NULL) == 0);
    bool same = counts.accepted == accepted && counts.put_aside == put_aside &&
                counts.delivered == delivered && counts.refused[-1 - DMSG_E_REPLAY] == replay;
    if (!same)
        printf("# %d %d %d %d\n", (int)counts.accepted, (int)counts.put_aside,
            (int)counts.delivered, (int)counts.refused[-1 - DMSG_E_REPLAY]);
    return same;
}

/* A batch: one new message, one refused as a replay, two as malformed. */
static void count_batch(struct dmsg_store *store, const char *id)
{
    CHECK(accept_one(store, message_of("alice.example", id, "x")) == 0);
    CHECK(accept_one(store, message_of("alice.example", id, "x")) == DMSG_E_REPLAY);
    dmsg_store_count_refused(store, DMSG_E_REPLAY);
    dmsg_store_count_refused(store, DMSG_E_FORMAT);
    dmsg_store_count_refused(store, DMSG_E_FORMAT);
}

static void what_is_committed_is_counted_once(void)
{
    struct dmsg_store *store = open_store();
    struct dmsg_store_counts counts;
    CHECK(counts_are(store, 0, 0, 0, 0));
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    count_batch(store, "1");
    dmsg_store_rollback(store);
    CHECK(counts_are(store, 0, 0, 0, 0) && dmsg_store_counted(store)->accepted == 0);
    for (int i = 0; i < 2; i++) {
        REQUIRE((i == 0 ? dmsg_store_begin : dmsg_store_begin_relaxed)(store, NULL) == 0);
        count_batch(store, i == 0 ? "1" : "2");
        CHECK(dmsg_store_commit(store, NULL) == 0);
    }
    CHECK(accept_one(store, message_of("alice.example", "3", "x")) == 0);
    CHECK(counts_are(store, 3, 0, 0, 2));
    /* what is no transaction's, and what is no refusal, counts for nothing */
    dmsg_store_count_refused(store, DMSG_E_REPLAY);
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    dmsg_store_count_refused(store, 0);
    dmsg_store_count_refused(store, -DMSG_ERROR_COUNT - 1);
    CHECK(dmsg_store_commit(store, NULL) == 0);
    CHECK(counts_are(store, 3, 0, 0, 2));
    CHECK(dmsg_store_counts(store, &counts, NULL) == 0);
    CHECK(counts.refused[-1 - DMSG_E_FORMAT] == 4 && counts.refused[-1 - DMSG_E_TIME] == 0);
    const struct dmsg_store_counts *own = dmsg_store_counted(store);
    CHECK(own->accepted == 3 && own->refused[-1 - DMSG_E_FORMAT] == 4 && own->put_aside == 0);
    dmsg_store_close(&store);
}

static void deliveries_count_themselves(void)
{
    struct dmsg_store *store = open_store();
    struct dmsg_record record;
    int64_t octets = -1;
    CHECK(dmsg_store_pending(store, &octets, NULL) == 0 && octets == 0);
    for (int i = 0; i < 3; i++)
        CHECK(
            accept_one(store, message_of("alice.example", (char[2]){(char)('1' + i)}, "abc")) == 0);
    CHECK(counts_are(store, 3, 0, 0, 0));
    CHECK(dmsg_store_pending(store, &octets, NULL) == 0);
    int64_t each = octets / 3;
    CHECK_ROW(each > DMSG_RETAIN_OVERHEAD && octets == 3 * each, "%d octets", (int)octets);
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(each == DMSG_RETAIN_OVERHEAD + (int64_t)(record.topic.size + record.content.size));
    CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
    CHECK(counts_are(store, 3, 0, 1, 0));
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(dmsg_store_failed(store, record.row, 2, NULL) == 0 && counts_are(store, 3, 0, 1, 0));
    CHECK(dmsg_store_failed(store, record.row, 2, NULL) == 1 && counts_are(store, 3, 1, 1, 0));
    /* what is put aside is still here, and no delivery when it is taken away */
    CHECK(dmsg_store_pending(store, &octets, NULL) == 0 && octets == 2 * each);
    CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
    CHECK(dmsg_store_discard(store, INT64_MAX, NULL) == 0);
    CHECK(counts_are(store, 3, 1, 1, 0));
    CHECK(dmsg_store_pending(store, &octets, NULL) == 0 && octets == each);
    dmsg_store_close(&store);
}

static void stale_keys_are_remembered(void)
{
    struct dmsg_store *store = open_store();
    struct dmsg_record record;
    struct dmsg_message message = message_of("alice.example", "2", "x");
    message.stale = true;
    CHECK(accept_one(store, message_of("alice.example", "1", "x")) == 0);
    CHECK(accept_one(store, message) == 0);
    CHECK(wait_one(store, message_of("alice.example", "3", "x"), true) == 0);
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(!record.stale);
    REQUIRE(dmsg_store_next(store, record.row, &record, NULL) == 1);
    CHECK(record.stale);
    REQUIRE(dmsg_store_kept(store, record.row - 1, &record, NULL) == 1);
    CHECK(record.stale && strcmp(record.id, "2") == 0);
    REQUIRE(dmsg_store_waiting(store, NULL, 0, &record, NULL) == 1);
    CHECK(!record.stale);
    dmsg_store_close(&store);
}

static void issued_keys_are_noted(void)
{
    struct dmsg_store *store = open_store();
    int64_t until = 0;
    CHECK(dmsg_store_issued_until(store, "a", &until, NULL) == 0 && until == 0);
    CHECK(dmsg_store_note_issued(store, "a", START + 5, NULL) == 0);
    CHECK(dmsg_store_note_issued(store, "a", START + 3, NULL) == 0);
    CHECK(dmsg_store_note_issued(store, "b", START + 9, NULL) == 0);
    CHECK(dmsg_store_issued_until(store, "a", &until, NULL) == 1 && until == START + 5);
    CHECK(dmsg_store_issued_until(store, "b", &until, NULL) == 1 && until == START + 9);
    CHECK(dmsg_store_issued_until(store, "c", &until, NULL) == 0);
    dmsg_store_close(&store);
}

/* More senders than are remembered, none of whose ids must be kept: what they sent is still here.
 */
static void a_kept_message_outlives_its_sender(void)
{
    struct dmsg_store *store = open_store();
    struct dmsg_record record;
    char name[40];
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    for (int i = 0; i <= DMSG_MEMORY_SENDERS_MAX; i++) {
        snprintf(name, sizeof name, "n%d.example", i);
        struct dmsg_message message = message_of(name, "1", "x");
        message.expires_at = fake_now + 2;
        REQUIRE(accept_one(store, message) == 0);
    }
    REQUIRE(dmsg_store_commit(store, NULL) == 0);
    fake_now += 2 * DAY;
    CHECK(accept_one(store, message_of("later.example", "1", "x")) == 0);
    CHECK(dmsg_store_purge(store, NULL) == 0);
    CHECK(accept_one(store, message_of("again.example", "1", "x")) == 0);
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(strcmp(record.sender.text, "n0.example") == 0);
    CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(strcmp(record.sender.text, "n1.example") == 0);
    dmsg_store_close(&store);
}

/* ------------------------------------------------------------------------------------- tests */

#define SHARED(X)                                                                                  \
    X(commit_keeps_and_rollback_forgets)                                                           \
    X(rollback_puts_back_what_was_taken)                                                           \
    X(a_batch_is_not_delivered_before_it_is_committed)                                             \
    X(transactions_do_not_nest)                                                                    \
    X(judgements_leave_the_transaction_usable)                                                     \
    X(replay_is_by_sender_and_id)                                                                  \
    X(ids_are_forgotten_only_when_their_exp_has_passed)                                            \
    X(an_empty_store_purges_nothing)                                                               \
    X(poc_digests_are_kept_thirty_days)                                                            \
    X(senders_are_known_by_what_they_sent)                                                         \
    X(waiting_keeps_the_order_of_arrival)                                                          \
    X(the_same_message_waits_once)                                                                 \
    X(waiting_ends)                                                                                \
    X(a_stranger_has_a_small_budget_by_zone)                                                       \
    X(a_stranger_has_few_octets)                                                                   \
    X(strangers_together_are_bounded)                                                              \
    X(a_known_name_is_bounded)                                                                     \
    X(rollback_gives_the_budget_back)                                                              \
    X(delivery_is_in_the_order_of_acceptance)                                                      \
    X(failed_deliveries_are_counted_and_put_aside)                                                 \
    X(what_is_committed_is_counted_once)                                                           \
    X(deliveries_count_themselves)                                                                 \
    X(stale_keys_are_remembered)                                                                   \
    X(issued_keys_are_noted)

/* A hundred thousand messages, which a server is asked about one by one. */
#define EMBEDDED(X) X(known_senders_are_bounded)

#define WITH(backend, test)                                                                        \
    static void backend##_##test(void)                                                             \
    {                                                                                              \
        open_backend = open_##backend;                                                             \
        test();                                                                                    \
    }
#define WITH_MEMORY(test) WITH(memory, test)
#define WITH_SQLITE(test) WITH(sqlite, test)
#define WITH_POSTGRESQL(test)                                                                      \
    static void postgresql_##test(void)                                                            \
    {                                                                                              \
        const char *why = find_postgresql();                                                       \
        if (why != NULL)                                                                           \
            SKIP("%s", why);                                                                       \
        open_backend = open_postgresql;                                                            \
        test();                                                                                    \
    }
#define MEMORY(test) TEST(memory_##test),
#define SQLITE(test) TEST(sqlite_##test),
#define POSTGRESQL(test) TEST(postgresql_##test),

#define MEMORY_ALONE(X)                                                                            \
    X(trouble_breaks_the_transaction)                                                              \
    X(a_busy_sender_forgets_at_its_own_expense)                                                    \
    X(many_senders_forget_together)                                                                \
    X(a_kept_message_outlives_its_sender)

SHARED(WITH_MEMORY)
SHARED(WITH_SQLITE)
SHARED(WITH_POSTGRESQL)
EMBEDDED(WITH_MEMORY)
EMBEDDED(WITH_SQLITE)
MEMORY_ALONE(WITH_MEMORY)

TEST_MAIN(SHARED(MEMORY) SHARED(SQLITE) SHARED(POSTGRESQL) EMBEDDED(MEMORY) EMBEDDED(SQLITE)
        MEMORY_ALONE(MEMORY))
