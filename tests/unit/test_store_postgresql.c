/* store: what the PostgreSQL store has beyond every store: several receivers of one identity, a
   server that goes away, databases that are not ours, limits. */
#include "danemsg/store.h"
#include "postgres.h"
#include "store/postgresql.h"
#include "store_clock.h"
#include "test.h"

#include <sys/wait.h>
#include <unistd.h>

#define DAY 86400

static struct dmsg_store *open_member(const char *me, const char *member)
{
    const char *why;
    struct dmsg_store *store = NULL;
    struct dmsg_error error;
    struct dmsg_name name = name_of(me);
    if (dmsg_store_open_postgresql(&store, &context, postgres_url(&why), &name, member, &error) < 0)
        printf("# %s\n", error.text);
    return store;
}

#define NEED_SERVER()                                                                              \
    do {                                                                                           \
        const char *why;                                                                           \
        fake_now = START;                                                                          \
        if (postgres_url(&why) == NULL)                                                            \
            SKIP("%s", why);                                                                       \
    } while (0)

static struct dmsg_message message_of(const char *sender, const char *id)
{
    struct dmsg_message message = {.format = DMSG_FORMAT_V1,
        .sender = name_of(sender),
        .kid = "kid",
        .issued_at = fake_now,
        .expires_at = fake_now + 7 * DAY,
        .verified = true};
    snprintf(message.id, sizeof message.id, "%s", id);
    dmsg_buffer_put_text(&message.payload, id);
    dmsg_buffer_put_text(&message.jws, id);
    return message;
}

static void done(struct dmsg_message *message)
{
    dmsg_buffer_done(&message->payload);
    dmsg_buffer_done(&message->jws);
}

static int accept_one(struct dmsg_store *store, const char *sender, const char *id)
{
    struct dmsg_message message = message_of(sender, id);
    int code = dmsg_store_accept(store, &message, dmsg_span_text("topic"), NULL);
    done(&message);
    return code;
}

static int wait_one(struct dmsg_store *store, const char *sender, const char *id)
{
    struct dmsg_message message = message_of(sender, id);
    int code = dmsg_store_wait(store, &message, dmsg_span_text("topic"), false, NULL);
    done(&message);
    return code;
}

static size_t count_next(struct dmsg_store *store)
{
    struct dmsg_record record;
    size_t count = 0;
    for (int64_t row = 0; dmsg_store_next(store, row, &record, NULL) == 1; row = record.row)
        count++;
    return count;
}

static size_t count_waiting(struct dmsg_store *store)
{
    struct dmsg_record record;
    size_t count = 0;
    for (int64_t row = 0; dmsg_store_waiting(store, NULL, row, &record, NULL) == 1;
         row = record.row)
        count++;
    return count;
}

/* Texts as the administrator would send them; statements of this test alone. */
static void execute(struct dmsg_store *store, const char *text)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    struct dmsg_error error = {0};
    CHECK(dmsg_pq_queue_text(pg->pq, text, &error) == 0 && dmsg_pq_sync(pg->pq, &error) == 0);
    if (error.code != 0)
        printf("# %s\n", error.text);
}

/* ---------------------------------------------------------------------- several receivers */

static void what_one_has_seen_another_refuses(void)
{
    NEED_SERVER();
    struct dmsg_store *one = open_member("seen.example", "one");
    struct dmsg_store *other = open_member("seen.example", "other");
    struct dmsg_store *stranger = open_member("another.example", "one");
    REQUIRE(one != NULL && other != NULL && stranger != NULL);
    CHECK(accept_one(one, "alice.example", "1") == 0);
    CHECK(accept_one(other, "alice.example", "1") == DMSG_E_REPLAY);
    CHECK(accept_one(other, "alice.example", "2") == 0);
    /* another identity's messages in the same database have nothing to do with it */
    CHECK(accept_one(stranger, "alice.example", "1") == 0);
    CHECK(count_next(one) == 1 && count_next(other) == 1 && count_next(stranger) == 1);
    CHECK(wait_one(one, "carol.example", "3") == 0);
    CHECK(wait_one(other, "carol.example", "3") == 0); /* waits at the first */
    CHECK(count_waiting(one) == 1 && count_waiting(other) == 0);
    dmsg_store_close(&one);
    dmsg_store_close(&other);
    dmsg_store_close(&stranger);
}

/* Two transactions at once, in two processes: the second waits for the first, and is told. */
static void at_the_same_moment_one_of_them_gets_it(void)
{
    NEED_SERVER();
    int status = -1;
    struct dmsg_store *store = open_member("race.example", "parent");
    REQUIRE(store != NULL);
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    CHECK(accept_one(store, "alice.example", "1") == 0);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        struct dmsg_store *own = open_member("race.example", "child");
        int code = own != NULL ? accept_one(own, "alice.example", "1") : 1;
        dmsg_store_close(&own);
        _exit(code == DMSG_E_REPLAY ? 0 : 1);
    }
    usleep(300000); /* it stands before the id; if it does not yet, it finds it afterwards */
    CHECK(waitpid(child, &status, WNOHANG) == 0);
    CHECK(dmsg_store_commit(store, NULL) == 0);
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    dmsg_store_close(&store);
}

static void expected_messages_that_are_not_accepted_leave_no_id(void)
{
    NEED_SERVER();
    struct dmsg_store *store = open_member("expect.example", "one");
    struct dmsg_message messages[] = {message_of("alice.example", "1"),
        message_of("alice.example", "2"), message_of("alice.example", "1"),
        message_of("alice.example", "old")};
    const struct dmsg_message *all[] = {&messages[0], &messages[1], &messages[2], &messages[3]};
    REQUIRE(store != NULL);
    CHECK(accept_one(store, "alice.example", "old") == 0);
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    CHECK(dmsg_store_expect(store, all, 4, NULL) == 0);
    CHECK(accept_one(store, "alice.example", "1") == 0);
    CHECK(accept_one(store, "alice.example", "1") == DMSG_E_REPLAY);
    CHECK(accept_one(store, "alice.example", "old") == DMSG_E_REPLAY);
    CHECK(dmsg_store_commit(store, NULL) == 0);
    CHECK(accept_one(store, "alice.example", "2") == 0);
    CHECK(accept_one(store, "alice.example", "2") == DMSG_E_REPLAY);
    CHECK(accept_one(store, "alice.example", "1") == DMSG_E_REPLAY);
    for (size_t i = 0; i < 4; i++)
        done(&messages[i]);
    dmsg_store_close(&store);
}

/* A process that is killed in the middle of things. */
static pid_t leave_behind(const char *me, const char *member)
{
    fflush(stdout);
    pid_t child = fork();
    if (child != 0) {
        int status;
        waitpid(child, &status, 0);
        return status == 0 ? child : -1;
    }
    struct dmsg_store *store = open_member(me, member);
    bool good = store != NULL && accept_one(store, "alice.example", "a") == 0 &&
                accept_one(store, "alice.example", "b") == 0 &&
                wait_one(store, "carol.example", "c") == 0 &&
                wait_one(store, "carol.example", "d") == 0;
    _exit(good ? 0 : 1); /* without a word to the server */
}

static void what_a_dead_one_has_left_is_taken_over(void)
{
    NEED_SERVER();
    struct dmsg_record record;
    struct dmsg_store *store = open_member("heir.example", "heir");
    REQUIRE(store != NULL && leave_behind("heir.example", "dead") > 0);
    CHECK(wait_one(store, "carol.example", "own") == 0);
    /* it may be cut off only, and has its time to come back */
    CHECK(dmsg_store_take_over(store, NULL) == 0);
    CHECK(count_next(store) == 0 && count_waiting(store) == 1);
    execute(store, "UPDATE danemsg.receiver SET beat = '-infinity' WHERE name = 'dead'");
    /* the server notices the end of a connection in its own time */
    int code = 0;
    for (int i = 0; i < 6000 && (code = dmsg_store_take_over(store, NULL)) == 0; i++)
        usleep(20000);
    CHECK(code == 1 && dmsg_store_take_over(store, NULL) == 0);
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(strcmp(record.id, "a") == 0);
    CHECK(count_next(store) == 2);
    const char *const ids[] = {"own", "c", "d"}; /* behind what was there, in their order */
    int64_t row = 0;
    for (int i = 0; i < 3; i++, row = record.row) {
        REQUIRE(dmsg_store_waiting(store, NULL, row, &record, NULL) == 1);
        CHECK(strcmp(record.id, ids[i]) == 0);
    }
    dmsg_store_close(&store);
}

static void one_that_lives_keeps_its_own(void)
{
    NEED_SERVER();
    struct dmsg_store *one = open_member("alive.example", "one");
    struct dmsg_store *other = open_member("alive.example", "other");
    REQUIRE(one != NULL && other != NULL);
    CHECK(accept_one(one, "alice.example", "1") == 0);
    execute(other, "UPDATE danemsg.receiver SET beat = '-infinity' WHERE name = 'one'");
    CHECK(dmsg_store_take_over(other, NULL) == 0);
    CHECK(count_next(one) == 1 && count_next(other) == 0);
    /* one that says goodbye need not be missed first */
    dmsg_store_close(&one);
    int code = 0;
    for (int i = 0; i < 6000 && (code = dmsg_store_take_over(other, NULL)) == 0; i++)
        usleep(20000);
    CHECK(code == 1 && count_next(other) == 1);
    dmsg_store_close(&other);
}

static void a_start_finds_its_own_again(void)
{
    NEED_SERVER();
    REQUIRE(leave_behind("again.example", "same") > 0);
    struct dmsg_store *store = open_member("again.example", "same");
    REQUIRE(store != NULL);
    CHECK(count_next(store) == 2 && count_waiting(store) == 2);
    CHECK(accept_one(store, "alice.example", "a") == DMSG_E_REPLAY);
    dmsg_store_close(&store);
}

/* ------------------------------------------------------------------------- a server that goes */

static void a_restart_of_the_server_loses_nothing(void)
{
    NEED_SERVER();
    struct dmsg_error error = {0};
    struct dmsg_store *store = open_member("restart.example", "one");
    struct dmsg_store *other = open_member("restart.example", "other");
    REQUIRE(store != NULL && other != NULL);
    CHECK(accept_one(store, "alice.example", "1") == 0);
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    CHECK(accept_one(store, "alice.example", "2") == 0);
    REQUIRE(postgres_restart() == 0);
    CHECK(accept_one(store, "alice.example", "3") == DMSG_E_INTERNAL);
    CHECK(dmsg_store_commit(store, &error) == DMSG_E_INTERNAL && error.text[0] != '\0');
    /* connected again for what comes next */
    CHECK(dmsg_store_begin(store, &error) == 0);
    CHECK(accept_one(store, "alice.example", "1") == DMSG_E_REPLAY);
    CHECK(accept_one(store, "alice.example", "2") == 0);
    CHECK(dmsg_store_commit(store, NULL) == 0);
    CHECK(count_next(store) == 2);
    /* all locks were gone, and still nobody takes anything from one that comes back */
    CHECK(dmsg_store_take_over(other, NULL) == 0);
    CHECK(count_next(other) == 0);
    dmsg_store_close(&store);
    dmsg_store_close(&other);
}

/* ------------------------------------------------------------------------------- opening */

static void what_is_no_store_of_ours_is_refused(void)
{
    NEED_SERVER();
    const char *why;
    static const struct {
        const char *url, *text;
        int code;
    } rows[] = {
        {"postgresql://u:se%zzcret@h/d", "not a URL", DMSG_E_USAGE},
        {"postgresql://u:secret@h@h/d", "not a URL", DMSG_E_USAGE},
        {"postgresql://u:secret@h/d?nonsense=1", "not a URL", DMSG_E_USAGE},
        {"postgresql://u:secret@[::1/d", "not a URL", DMSG_E_USAGE},
        {"postgresql://u:secret@127.0.0.1:1/d", "opening the shared store", DMSG_E_LOCAL},
        {"postgresql://u:secret@nobody.invalid/d", "opening the shared store", DMSG_E_LOCAL},
    };
    struct dmsg_name me = name_of("opening.example");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_store *store = NULL;
        struct dmsg_error error = {0};
        int code = dmsg_store_open_postgresql(&store, &context, rows[i].url, &me, NULL, &error);
        CHECK_ROW(code == rows[i].code && error.code == code && store == NULL, "row %zu", i);
        CHECK_ROW(strstr(error.text, rows[i].text) != NULL, "row %zu: %s", i, error.text);
        CHECK_ROW(strstr(error.text, "cret") == NULL, "row %zu: %s", i, error.text);
    }
    struct dmsg_store *show = NULL, *store = open_member("opening.example", "one");
    struct dmsg_error error = {0};
    struct dmsg_name nobody = name_of("nobody.example");
    REQUIRE(store != NULL);
    const char *url = postgres_url(&why);
    CHECK(dmsg_store_show_postgresql(&show, &context, url, &nobody, &error) == DMSG_E_LOCAL);
    CHECK(strstr(error.text, "nothing of nobody.example") != NULL);
    execute(store, "UPDATE danemsg.version SET number = 99");
    CHECK(dmsg_store_show_postgresql(&show, &context, url, &me, &error) == DMSG_E_LOCAL);
    CHECK(strstr(error.text, "newer danemsg") != NULL);
    execute(store, "UPDATE danemsg.version SET number = 2");
    dmsg_store_close(&store);
}

/* What the first version held is counted by the next. */
static void an_older_version_is_brought_up_to_date(void)
{
    NEED_SERVER();
    struct dmsg_store *store = open_member("older.example", "one");
    struct dmsg_record record;
    struct dmsg_store_counts counts;
    int64_t octets = 0, before = 0;
    REQUIRE(store != NULL);
    for (int i = 0; i < 3; i++)
        CHECK(accept_one(store, "alice.example", (char[2]){(char)('1' + i)}) == 0);
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
    REQUIRE(dmsg_store_next(store, record.row, &record, NULL) == 1);
    CHECK(dmsg_store_failed(store, record.row, 1, NULL) == 1);
    CHECK(dmsg_store_pending(store, &before, NULL) == 0 && before > 2 * DMSG_RETAIN_OVERHEAD);
    execute(store, "DROP TABLE danemsg.tally");
    execute(store, "ALTER TABLE danemsg.inbox DROP COLUMN stale");
    execute(store, "ALTER TABLE danemsg.pending DROP COLUMN octets");
    execute(store, "UPDATE danemsg.version SET number = 1");
    /* while one of the older version runs, the tables stay what they are */
    const char *why;
    struct dmsg_store *newer = NULL;
    struct dmsg_error error = {0};
    struct dmsg_name me = name_of("older.example");
    CHECK(dmsg_store_open_postgresql(&newer, &context, postgres_url(&why), &me, "two", &error) ==
              DMSG_E_LOCAL &&
          newer == NULL);
    CHECK(strstr(error.text, "1 receiver(s) of that version run with it") != NULL);
    dmsg_store_close(&store);
    store = open_member("older.example", "one");
    REQUIRE(store != NULL);
    CHECK(dmsg_store_counts(store, &counts, NULL) == 0);
    CHECK(counts.accepted == 3 && counts.put_aside == 1 && counts.delivered == 1);
    CHECK(dmsg_store_pending(store, &octets, NULL) == 0 && octets == before);
    CHECK(accept_one(store, "alice.example", "4") == 0);
    dmsg_store_close(&store);
}

static void take_number(void *user, const struct dmsg_pq_rows *rows)
{
    if (dmsg_pq_rows_count(rows) == 1)
        *(int64_t *)user = dmsg_pq_rows_number(rows, 0, 0);
}

/* Does a commit of the session wait for the disk? */
static bool is_durable(struct dmsg_store *store)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    int64_t durable = 0;
    CHECK(dmsg_pq_queue_asking(pg->pq,
              "SELECT 1::int8 WHERE current_setting('synchronous_commit') = 'on'", take_number,
              &durable, NULL) == 0);
    CHECK(dmsg_pq_sync(pg->pq, NULL) == 0);
    return durable == 1;
}

/* Whatever the server was told: what a broker is told that we have must be there. */
static void a_commit_waits_for_the_disk(void)
{
    static const char set[] = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET"
                              " synchronous_commit = off', current_database()); END $$";
    static const char reset[] = "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I RESET"
                                " synchronous_commit', current_database()); END $$";
    NEED_SERVER();
    struct dmsg_store *store = open_member("durable.example", "one");
    REQUIRE(store != NULL);
    execute(store, set);
    dmsg_store_close(&store);
    store = open_member("durable.example", "one");
    REQUIRE(store != NULL);
    execute(store, reset);
    CHECK(is_durable(store));
    CHECK(dmsg_store_begin(store, NULL) == 0 && is_durable(store));
    CHECK(dmsg_store_commit(store, NULL) == 0);
    CHECK(dmsg_store_begin_relaxed(store, NULL) == 0 && !is_durable(store));
    CHECK(dmsg_store_commit(store, NULL) == 0 && is_durable(store));
    dmsg_store_close(&store);
}

/* A server answers COMMIT of a transaction that has failed with ROLLBACK, and no error. */
static void what_the_server_rolled_back_is_not_committed(void)
{
    NEED_SERVER();
    struct dmsg_store *store = open_member("rolled.example", "one");
    struct dmsg_error error = {0};
    REQUIRE(store != NULL);
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    CHECK(dmsg_store_begin(store, NULL) == 0);
    CHECK(dmsg_pq_queue_text(pg->pq, "SELECT 1/0", NULL) == 0 && dmsg_pq_sync(pg->pq, NULL) < 0);
    CHECK(dmsg_store_commit(store, &error) == DMSG_E_INTERNAL);
    CHECK(strstr(error.text, "was rolled back") != NULL);
    CHECK(accept_one(store, "alice.example", "1") == 0);
    dmsg_store_close(&store);
}

static void receivers_count_together(void)
{
    NEED_SERVER();
    struct dmsg_store *one = open_member("sum.example", "one");
    struct dmsg_store *two = open_member("sum.example", "two");
    struct dmsg_store *other = open_member("summer.example", "one");
    struct dmsg_store_counts counts;
    int64_t octets = -1;
    REQUIRE(one != NULL && two != NULL && other != NULL);
    for (int i = 0; i < 3; i++) {
        struct dmsg_store *store = i == 2 ? two : one;
        REQUIRE(dmsg_store_begin(store, NULL) == 0);
        CHECK(accept_one(store, "alice.example", (char[2]){(char)('1' + i)}) == 0);
        dmsg_store_count_refused(store, DMSG_E_SIZE);
        CHECK(dmsg_store_commit(store, NULL) == 0);
    }
    CHECK(dmsg_store_counts(two, &counts, NULL) == 0);
    CHECK(counts.accepted == 3 && counts.refused[-1 - DMSG_E_SIZE] == 3);
    CHECK(dmsg_store_counted(two)->accepted == 1);
    CHECK(dmsg_store_counts(other, &counts, NULL) == 0 && counts.accepted == 0);
    /* what another has to deliver does not fill this one */
    CHECK(dmsg_store_pending(two, &octets, NULL) == 0 && octets < 2 * DMSG_RETAIN_OVERHEAD);
    dmsg_store_close(&one);
    dmsg_store_close(&two);
    dmsg_store_close(&other);
}

static void it_can_be_looked_at_meanwhile(void)
{
    NEED_SERVER();
    const char *why;
    struct dmsg_store *show = NULL, *store = open_member("look.example", "one");
    struct dmsg_name me = name_of("look.example");
    struct dmsg_record record = {0};
    struct dmsg_store_depths depths = {0};
    REQUIRE(store != NULL);
    for (int i = 0; i < 200; i++) { /* more than is read at once */
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        CHECK(accept_one(store, "alice.example", id) == 0);
    }
    CHECK(wait_one(store, "carol.example", "w") == 0);
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
    REQUIRE(dmsg_store_show_postgresql(&show, &context, postgres_url(&why), &me, NULL) == 0);
    int count = 0;
    for (int64_t row = 0; dmsg_store_kept(show, row, &record, NULL) == 1; row = record.row)
        CHECK(record.delivery == (count++ == 0 ? DMSG_DELIVERED : DMSG_UNDELIVERED));
    CHECK(count == 200);
    CHECK(dmsg_store_depths(show, &depths, NULL) == 0);
    CHECK(depths.waiting == 1 && depths.undelivered == 199 && depths.delivered == 1);
    CHECK(depths.failed == 0);
    CHECK(accept_one(show, "alice.example", "new") < 0);
    CHECK(dmsg_store_delivered(show, record.row, NULL) < 0);
    CHECK(dmsg_store_purge(show, NULL) < 0);
    dmsg_store_close(&show);
    dmsg_store_close(&store);
}

/* --------------------------------------------------------------------------------- forgetting */

static void purge_all(struct dmsg_store *store)
{
    int code = 1;
    for (int i = 0; i < 1000 && code == 1; i++)
        code = dmsg_store_purge(store, NULL);
    CHECK(code == 0);
}

static void a_zone_forgets_at_its_own_expense(void)
{
    NEED_SERVER();
    struct dmsg_store *store = open_member("limits.example", "one");
    char id[12], sender[40];
    REQUIRE(store != NULL);
    dmsg_pg_of(store)->zone_ids_most = 100;
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    CHECK(accept_one(store, "alice.example", "mine") == 0);
    for (int i = 0; i < 200; i++, fake_now++) {
        snprintf(id, sizeof id, "%d", i);
        snprintf(sender, sizeof sender, "s%d.busy.test", i % 20);
        CHECK(accept_one(store, sender, id) == 0);
    }
    CHECK(dmsg_store_commit(store, NULL) == 0);
    purge_all(store);
    struct dmsg_message old = message_of("s0.busy.test", "0");
    old.issued_at = START;
    old.expires_at = START + 7 * DAY;
    CHECK(dmsg_store_accept(store, &old, dmsg_span_text(""), NULL) == DMSG_E_TIME);
    done(&old);
    CHECK(accept_one(store, "s19.busy.test", "199") == DMSG_E_REPLAY);
    CHECK(accept_one(store, "alice.example", "mine") == DMSG_E_REPLAY);
    /* names of which nothing is remembered any more */
    dmsg_pg_of(store)->zone_senders_most = 5;
    fake_now += 100 * DAY;
    CHECK(accept_one(store, "s3.busy.test", "late") == 0);
    fake_now += DAY + 1;
    purge_all(store);
    struct dmsg_name gone = name_of("s0.busy.test"), here = name_of("s3.busy.test");
    CHECK(!dmsg_store_verified_before(store, &gone) && dmsg_store_verified_before(store, &here));
    dmsg_store_close(&store);
}

static void delivered_messages_go_by_time_and_size(void)
{
    NEED_SERVER();
    struct dmsg_store *store = open_member("retain.example", "one");
    struct dmsg_record record;
    struct dmsg_store_depths depths;
    REQUIRE(store != NULL);
    for (int i = 0; i < 10; i++, fake_now += DAY) {
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        CHECK(accept_one(store, "alice.example", id) == 0);
        if (i == 2)
            continue; /* not delivered */
        REQUIRE(dmsg_store_next(store, i > 2 ? record.row : 0, &record, NULL) == 1);
        if (i > 2 && strcmp(record.id, "2") == 0)
            REQUIRE(dmsg_store_next(store, record.row, &record, NULL) == 1);
        CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
    }
    CHECK(dmsg_store_discard(store, START + 4 * DAY, NULL) == 0);
    CHECK(dmsg_store_depths(store, &depths, NULL) == 0);
    CHECK(depths.delivered == 6 && depths.undelivered == 1);
    dmsg_store_retain(store, 1000 * DAY, 4 * (DMSG_RETAIN_OVERHEAD + 6));
    CHECK(dmsg_store_purge(store, NULL) == 0);
    CHECK(dmsg_store_depths(store, &depths, NULL) == 0);
    CHECK(depths.delivered == 3 && depths.undelivered == 1);
    dmsg_store_close(&store);
}

TEST_MAIN(TEST(what_one_has_seen_another_refuses), TEST(at_the_same_moment_one_of_them_gets_it),
    TEST(expected_messages_that_are_not_accepted_leave_no_id),
    TEST(what_a_dead_one_has_left_is_taken_over), TEST(one_that_lives_keeps_its_own),
    TEST(a_start_finds_its_own_again), TEST(a_restart_of_the_server_loses_nothing),
    TEST(what_is_no_store_of_ours_is_refused), TEST(an_older_version_is_brought_up_to_date),
    TEST(a_commit_waits_for_the_disk), TEST(what_the_server_rolled_back_is_not_committed),
    TEST(receivers_count_together), TEST(it_can_be_looked_at_meanwhile),
    TEST(a_zone_forgets_at_its_own_expense), TEST(delivered_messages_go_by_time_and_size))
