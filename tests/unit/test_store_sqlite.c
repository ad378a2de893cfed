/* store: what only the SQLite store has: a file that others may touch, retention, forgetting in
   slices, and a disk that fails. */
#include "failing_vfs.h"
#include "store/sqlite.h"
#include "store_clock.h"
#include "store_scratch.h"
#include "test.h"

#include <errno.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DAY 86400

static int open_as(struct dmsg_store **out, const struct scratch *scratch, const char *name,
    struct dmsg_error *error)
{
    struct dmsg_name me = name_of(name);
    return dmsg_store_open_sqlite(out, &context, scratch->path, &me, error);
}

static struct dmsg_store *open_or_die(const struct scratch *scratch)
{
    struct dmsg_store *store = NULL;
    struct dmsg_error error;
    if (open_as(&store, scratch, "bob.example", &error) == 0)
        return store;
    printf("Bail out! %s\n", error.text);
    exit(1);
}

/* A message of alice.example, or of the name, with as many octets. */
static int put(struct dmsg_store *store, const char *sender, const char *id, size_t size,
    bool waits, struct dmsg_error *error)
{
    struct dmsg_message message = {.format = DMSG_FORMAT_V1,
        .sender = name_of(sender),
        .kid = "kid",
        .issued_at = fake_now,
        .expires_at = fake_now + 7 * DAY,
        .verified = !waits};
    snprintf(message.id, sizeof message.id, "%s", id);
    struct dmsg_buffer *content = waits ? &message.jws : &message.payload;
    if (size > 0 && dmsg_buffer_reserve(content, size) == NULL)
        abort();
    if (size > 0)
        memset(content->data, 'x', size);
    content->size = size;
    struct dmsg_span topic = dmsg_span_text("topic");
    int code = waits ? dmsg_store_wait(store, &message, topic, false, error)
                     : dmsg_store_accept(store, &message, topic, error);
    dmsg_buffer_done(content);
    return code;
}

static int accept_one(struct dmsg_store *store, const char *sender, const char *id)
{
    return put(store, sender, id, 10, false, NULL);
}

static size_t count_kept(struct dmsg_store *store, enum dmsg_delivery delivery)
{
    struct dmsg_record record;
    size_t count = 0;
    for (int64_t row = 0; dmsg_store_kept(store, row, &record, NULL) == 1; row = record.row)
        count += record.delivery == delivery;
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

static void deliver(struct dmsg_store *store, size_t count)
{
    struct dmsg_record record;
    while (count-- > 0) {
        REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
        CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
    }
}

static void execute(const struct scratch *scratch, const char *text)
{
    sqlite3 *db = NULL;
    CHECK(sqlite3_open(scratch->path, &db) == SQLITE_OK);
    CHECK(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(db);
}

/* ---------------------------------------------------------------------------------- the file */

static void everything_is_there_after_reopening(void)
{
    struct scratch scratch;
    struct dmsg_record record;
    struct dmsg_name alice = name_of("alice.example");
    int64_t until = 0;
    REQUIRE(scratch_make(&scratch) == 0);
    struct dmsg_store *store = open_or_die(&scratch);
    CHECK(accept_one(store, "alice.example", "1") == 0);
    CHECK(accept_one(store, "alice.example", "2") == 0);
    CHECK(put(store, "carol.example", "3", 20, true, NULL) == 0);
    CHECK(dmsg_store_note_issued(store, "kid", START + 5, NULL) == 0);
    deliver(store, 1);
    dmsg_store_close(&store);

    store = open_or_die(&scratch);
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(strcmp(record.id, "2") == 0 && record.content.size == 10);
    CHECK(dmsg_span_equal_text(record.topic, "topic"));
    CHECK(count_kept(store, DMSG_DELIVERED) == 1 && count_kept(store, DMSG_UNDELIVERED) == 1);
    CHECK(count_waiting(store) == 1);
    CHECK(dmsg_store_verified_before(store, &alice));
    CHECK(dmsg_store_issued_until(store, "kid", &until, NULL) == 1 && until == START + 5);
    CHECK(accept_one(store, "alice.example", "1") == DMSG_E_REPLAY);
    /* rows are given once, also when all of them are gone */
    int64_t last = record.row;
    deliver(store, 1);
    CHECK(dmsg_store_discard(store, INT64_MAX, NULL) == 0);
    dmsg_store_close(&store);
    store = open_or_die(&scratch);
    CHECK(accept_one(store, "alice.example", "4") == 0);
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(record.row > last);
    dmsg_store_close(&store);
    scratch_remove(&scratch);
}

/* A database of the first version, with what it may hold, is brought up to date. */
static void an_older_version_is_brought_up_to_date(void)
{
    struct scratch scratch;
    struct dmsg_error error;
    struct dmsg_store *store = NULL;
    struct dmsg_store_counts counts;
    struct dmsg_record record;
    struct dmsg_name bob = name_of("bob.example");
    int64_t octets = 0;
    REQUIRE(scratch_make(&scratch) == 0);
    execute(&scratch, dmsg_sqlite_steps[0]);
    execute(&scratch, "PRAGMA application_id = 0x646d7367; PRAGMA user_version = 1;"
                      "INSERT INTO meta VALUES (1, 'bob.example', 4, 9, 0, 4, 1064);"
                      "INSERT INTO inbox SELECT value, 0, 'alice.example', 'i' || value, 'kid', 9,"
                      " 1900000000, 9, '', CAST('topic' AS BLOB), CAST('hello' AS BLOB)"
                      " FROM json_each('[1,2,3,4]');"
                      "INSERT INTO pending VALUES (2, 10, 1), (3, 1, 0), (4, 0, 0)");
    CHECK(dmsg_store_show_sqlite(&store, &context, scratch.path, &bob, &error) == DMSG_E_LOCAL);
    CHECK_ROW(strstr(error.text, "older version") != NULL, "%s", error.text);
    store = open_or_die(&scratch);
    CHECK(dmsg_store_counts(store, &counts, NULL) == 0);
    CHECK(counts.accepted == 4 && counts.put_aside == 1 && counts.delivered == 1);
    CHECK(dmsg_store_pending(store, &octets, NULL) == 0);
    CHECK(octets == 3 * (10 + DMSG_RETAIN_OVERHEAD));
    REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
    CHECK(record.row == 3 && record.failures == 1 && !record.stale);
    CHECK(dmsg_span_equal_text(record.content, "hello"));
    CHECK(accept_one(store, "alice.example", "new") == 0);
    CHECK(dmsg_store_counts(store, &counts, NULL) == 0 && counts.accepted == 5);
    dmsg_store_close(&store);
    REQUIRE(dmsg_store_show_sqlite(&store, &context, scratch.path, &bob, NULL) == 0);
    CHECK(dmsg_store_counts(store, &counts, NULL) == 0 && counts.accepted == 5);
    dmsg_store_close(&store);
    scratch_remove(&scratch);
}

static void nobody_else_can_read_it(void)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    struct scratch scratch;
    struct stat facts;
    char path[80];
    REQUIRE(scratch_make(&scratch) == 0);
    mode_t mask = umask(0);
    for (int round = 0; round < 2; round++) {
        struct dmsg_store *store = open_or_die(&scratch);
        CHECK(accept_one(store, "alice.example", round == 0 ? "1" : "2") == 0);
        for (size_t i = 0; i < sizeof suffixes / sizeof suffixes[0]; i++) {
            snprintf(path, sizeof path, "%s%s", scratch.path, suffixes[i]);
            REQUIRE(stat(path, &facts) == 0);
            CHECK_ROW((facts.st_mode & 0777) == 0600, "%s is %o", path, facts.st_mode & 0777);
        }
        dmsg_store_close(&store);
        CHECK(chmod(scratch.path, 0644) == 0); /* and it is mended */
    }
    umask(mask);
    scratch_remove(&scratch);
}

static void make_link(const struct scratch *scratch)
{
    CHECK(symlink("/dev/null", scratch->path) == 0);
}

static void make_junk(const struct scratch *scratch)
{
    FILE *file = fopen(scratch->path, "w");
    REQUIRE(file != NULL);
    for (int i = 0; i < 1000; i++)
        fprintf(file, "no database %d\n", i);
    fclose(file);
}

static void make_foreign(const struct scratch *scratch)
{
    execute(scratch, "CREATE TABLE t (x)");
}

static void make_newer(const struct scratch *scratch)
{
    struct dmsg_store *store = open_or_die(scratch);
    dmsg_store_close(&store);
    execute(scratch, "PRAGMA user_version = 99");
}

static void make_others(const struct scratch *scratch)
{
    struct dmsg_store *store = NULL;
    CHECK(open_as(&store, scratch, "carol.example", NULL) == 0);
    dmsg_store_close(&store);
}

static void make_damaged(const struct scratch *scratch)
{
    struct dmsg_store *store = open_or_die(scratch);
    dmsg_store_close(&store);
    FILE *file = fopen(scratch->path, "r+");
    REQUIRE(file != NULL);
    fseek(file, 105, SEEK_SET); /* in the first page's tree */
    fprintf(file, "%0400d", 0);
    fclose(file);
}

static void make_folder(const struct scratch *scratch)
{
    CHECK(mkdir(scratch->path, 0700) == 0);
}

static void what_is_no_database_of_ours_is_refused(void)
{
    static const struct {
        const char *name;
        void (*make)(const struct scratch *scratch);
        const char *says;
    } rows[] = {
        {"a link", make_link, "no file that can be a database"},
        {"a folder", make_folder, "no file that can be a database"},
        {"a text", make_junk, "damaged or no database"},
        {"another program's", make_foreign, "of another program"},
        {"a newer version's", make_newer, "newer danemsg"},
        {"another identity's", make_others, "carol.example, not of bob.example"},
        {"damaged", make_damaged, "damaged or no database"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct scratch scratch;
        struct dmsg_store *store = NULL;
        struct dmsg_error error = {0};
        struct dmsg_name bob = name_of("bob.example");
        REQUIRE(scratch_make(&scratch) == 0);
        rows[i].make(&scratch);
        CHECK_ROW(open_as(&store, &scratch, "bob.example", &error) == DMSG_E_LOCAL && store == NULL,
            "%s", rows[i].name);
        CHECK_ROW(strstr(error.text, rows[i].says) != NULL, "%s: %s", rows[i].name, error.text);
        CHECK_ROW(
            dmsg_store_show_sqlite(&store, &context, scratch.path, &bob, &error) == DMSG_E_LOCAL,
            "%s, shown", rows[i].name);
        rmdir(scratch.path);
        scratch_remove(&scratch);
    }
}

static void it_can_be_looked_at_meanwhile(void)
{
    struct scratch scratch;
    struct dmsg_store *show = NULL;
    struct dmsg_record record;
    struct dmsg_error error = {0};
    REQUIRE(scratch_make(&scratch) == 0);
    CHECK(dmsg_store_show_sqlite(&show, &context, scratch.path, NULL, &error) == DMSG_E_LOCAL);
    struct dmsg_store *store = open_or_die(&scratch);
    CHECK(accept_one(store, "alice.example", "1") == 0);
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    CHECK(accept_one(store, "alice.example", "2") == 0);
    REQUIRE(dmsg_store_show_sqlite(&show, &context, scratch.path, NULL, NULL) == 0);
    CHECK(count_kept(show, DMSG_UNDELIVERED) == 1);
    CHECK(dmsg_store_commit(store, NULL) == 0);
    REQUIRE(dmsg_store_kept(show, 1, &record, NULL) == 1); /* a row of it is out meanwhile */
    deliver(store, 2);
    CHECK(dmsg_store_next(store, 0, &record, NULL) == 0);
    CHECK(count_kept(show, DMSG_DELIVERED) == 2);
    CHECK(put(show, "alice.example", "3", 1, false, &error) == DMSG_E_INTERNAL);
    CHECK_ROW(strstr(error.text, "read-only") != NULL, "%s", error.text);
    CHECK(accept_one(store, "alice.example", "3") == 0);
    dmsg_store_close(&store);
    CHECK(count_kept(show, DMSG_UNDELIVERED) == 1);
    dmsg_store_close(&show);
    scratch_remove(&scratch);
}

/* Another process holds the lock for longer than we wait: "not now", and then it works. */
static void a_locked_database_is_not_now(void)
{
    struct scratch scratch;
    struct dmsg_error error = {0};
    sqlite3 *other = NULL;
    REQUIRE(scratch_make(&scratch) == 0);
    struct dmsg_store *store = open_or_die(&scratch);
    sqlite3_busy_timeout(dmsg_sqlite_of(store)->db, 10);
    REQUIRE(sqlite3_open(scratch.path, &other) == SQLITE_OK);
    REQUIRE(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK);
    CHECK(dmsg_store_begin(store, &error) == DMSG_E_INTERNAL);
    CHECK_ROW(strstr(error.text, "locked") != NULL, "%s", error.text);
    CHECK(put(store, "alice.example", "1", 5, false, &error) == DMSG_E_INTERNAL);
    CHECK(count_kept(store, DMSG_UNDELIVERED) == 0);
    sqlite3_close(other);
    CHECK(accept_one(store, "alice.example", "1") == 0);
    dmsg_store_close(&store);
    scratch_remove(&scratch);
}

/* --------------------------------------------------------------------------------- retention */

static void purge_all(struct dmsg_store *store)
{
    int code = 1;
    for (int i = 0; code == 1 && i < 1000; i++)
        code = dmsg_store_purge(store, NULL);
    CHECK(code == 0);
}

static void old_delivered_messages_go(void)
{
    struct scratch scratch;
    REQUIRE(scratch_make(&scratch) == 0);
    struct dmsg_store *store = open_or_die(&scratch);
    fake_now = START;
    for (int i = 0; i < 4; i++) {
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        CHECK(accept_one(store, "alice.example", id) == 0);
        fake_now += DAY;
    }
    deliver(store, 3);
    fake_now = START + DMSG_RETAIN_TIME + DAY;
    purge_all(store);
    CHECK(count_kept(store, DMSG_DELIVERED) == 2); /* one of exactly that age stays */
    /* a clock that is not set takes nothing away */
    clock_is_set = false;
    fake_now = START + 1000 * DAY;
    purge_all(store);
    CHECK(count_kept(store, DMSG_DELIVERED) == 2);
    clock_is_set = true;
    purge_all(store);
    CHECK(count_kept(store, DMSG_DELIVERED) == 0);
    CHECK(count_kept(store, DMSG_UNDELIVERED) == 1);
    fake_now = START;
    dmsg_store_close(&store);
    scratch_remove(&scratch);
}

static void too_many_delivered_messages_go(void)
{
    struct scratch scratch;
    struct dmsg_record record;
    REQUIRE(scratch_make(&scratch) == 0);
    struct dmsg_store *store = open_or_die(&scratch);
    const size_t size = 1000, each = size + 5 + DMSG_RETAIN_OVERHEAD;
    for (int i = 0; i < 10; i++) {
        char id[8];
        snprintf(id, sizeof id, "%d", i);
        CHECK(put(store, "alice.example", id, size, false, NULL) == 0);
    }
    dmsg_store_retain(store, DMSG_RETAIN_TIME, (int64_t)(4 * each));
    purge_all(store);
    CHECK(count_kept(store, DMSG_UNDELIVERED) == 10);       /* never */
    REQUIRE(dmsg_store_next(store, 1, &record, NULL) == 1); /* the second stays undelivered */
    for (int i = 2; i < 10; i++) {
        REQUIRE(dmsg_store_next(store, 2, &record, NULL) == 1);
        CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
    }
    purge_all(store);
    /* the oldest delivered ones made room */
    CHECK(count_kept(store, DMSG_UNDELIVERED) == 2 && count_kept(store, DMSG_DELIVERED) == 2);
    REQUIRE(dmsg_store_kept(store, 2, &record, NULL) == 1 && record.row == 9);
    dmsg_store_retain(store, 0, 0);
    fake_now++;
    purge_all(store);
    CHECK(count_kept(store, DMSG_DELIVERED) == 0 && count_kept(store, DMSG_UNDELIVERED) == 2);
    CHECK(accept_one(store, "alice.example", "5") == DMSG_E_REPLAY);
    fake_now--;
    dmsg_store_close(&store);
    scratch_remove(&scratch);
}

static void discarding_goes_in_slices(void)
{
    struct scratch scratch;
    char id[16];
    REQUIRE(scratch_make(&scratch) == 0);
    struct dmsg_store *store = open_or_die(&scratch);
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    for (int i = 0; i < 5000; i++) {
        snprintf(id, sizeof id, "%d", i);
        CHECK(put(store, "alice.example", id, 1, false, NULL) == 0);
        CHECK(dmsg_store_delivered(store, i + 1, NULL) == 0);
    }
    CHECK(dmsg_store_discard(store, INT64_MAX, NULL) == DMSG_E_USAGE);
    REQUIRE(dmsg_store_commit(store, NULL) == 0);
    CHECK(dmsg_store_discard(store, INT64_MAX, NULL) == 1);
    size_t left = count_kept(store, DMSG_DELIVERED);
    CHECK_ROW(left > 0 && left < 5000, "%zu", left);
    CHECK(accept_one(store, "alice.example", "between") == 0);
    for (int i = 0, code = 1; i < 10 && code == 1; i++)
        code = dmsg_store_discard(store, INT64_MAX, NULL);
    CHECK(count_kept(store, DMSG_DELIVERED) == 0 && count_kept(store, DMSG_UNDELIVERED) == 1);
    dmsg_store_close(&store);
    scratch_remove(&scratch);
}

/* ---------------------------------------------------------------------- forgetting by zone */

/* Accepts `count` messages of a sender, a second apart. */
static void flood(struct dmsg_store *store, const char *sender, int count)
{
    char id[16];
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    for (int i = 0; i < count; i++) {
        snprintf(id, sizeof id, "%d", i);
        CHECK(accept_one(store, sender, id) == 0);
        fake_now++;
    }
    REQUIRE(dmsg_store_commit(store, NULL) == 0);
}

/* As the first of the flood would come again. */
static int replay(struct dmsg_store *store, const char *sender, int number)
{
    int64_t now = fake_now;
    char id[16];
    snprintf(id, sizeof id, "%d", number);
    fake_now = START + number;
    int code = accept_one(store, sender, id);
    fake_now = now;
    return code;
}

static int64_t count_rows(struct dmsg_store *store, const char *table)
{
    char text[60];
    sqlite3_stmt *statement = NULL;
    snprintf(text, sizeof text, "SELECT count(*) FROM %s", table);
    if (sqlite3_prepare_v2(dmsg_sqlite_of(store)->db, text, -1, &statement, NULL) != SQLITE_OK ||
        sqlite3_step(statement) != SQLITE_ROW)
        return -1;
    int64_t count = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return count;
}

static void a_zone_forgets_at_its_own_expense(void)
{
    struct scratch scratch;
    REQUIRE(scratch_make(&scratch) == 0);
    struct dmsg_store *store = open_or_die(&scratch);
    fake_now = START;
    flood(store, "alice.example", 10);
    fake_now = START;
    flood(store, "a.evil.test", 60);
    fake_now = START;
    flood(store, "b.evil.test", 60);
    dmsg_sqlite_of(store)->zone_ids_most = 100;
    purge_all(store);
    CHECK(count_rows(store, "seen") <= 10 + 100);
    CHECK(replay(store, "a.evil.test", 0) == DMSG_E_TIME);
    CHECK(replay(store, "b.evil.test", 0) == DMSG_E_TIME);
    CHECK(replay(store, "c.evil.test", 0) == DMSG_E_TIME); /* a new name of it is no way round */
    CHECK(replay(store, "a.evil.test", 59) == DMSG_E_REPLAY);
    CHECK(accept_one(store, "a.evil.test", "new") == 0);
    CHECK(replay(store, "alice.example", 0) == DMSG_E_REPLAY);
    CHECK(replay(store, "alice.example", 1000) == 0); /* an exp of any time is still taken */
    fake_now = START;
    dmsg_store_close(&store);
    scratch_remove(&scratch);
}

static void the_largest_zone_makes_room_for_all(void)
{
    struct scratch scratch;
    REQUIRE(scratch_make(&scratch) == 0);
    struct dmsg_store *store = open_or_die(&scratch);
    static const struct {
        const char *sender;
        int count;
    } rows[] = {{"alice.example", 40}, {"a.evil.test", 90}, {"carol.example2", 41}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        fake_now = START;
        flood(store, rows[i].sender, rows[i].count);
    }
    dmsg_sqlite_of(store)->ids_most = 150;
    purge_all(store);
    CHECK(count_rows(store, "seen") <= 150);
    CHECK(replay(store, "a.evil.test", 0) == DMSG_E_TIME);
    CHECK(replay(store, "alice.example", 0) == DMSG_E_REPLAY);
    CHECK(replay(store, "carol.example2", 0) == DMSG_E_REPLAY);
    fake_now = START;
    dmsg_store_close(&store);
    scratch_remove(&scratch);
}

static void idle_names_of_a_zone_are_forgotten(void)
{
    struct scratch scratch;
    char name[40];
    REQUIRE(scratch_make(&scratch) == 0);
    struct dmsg_store *store = open_or_die(&scratch);
    struct dmsg_name first = name_of("n0.evil.test"), alice = name_of("alice.example");
    fake_now = START;
    CHECK(accept_one(store, "alice.example", "1") == 0);
    for (int i = 0; i < 30; i++) {
        snprintf(name, sizeof name, "n%d.evil.test", i);
        CHECK(accept_one(store, name, "1") == 0);
    }
    dmsg_sqlite_of(store)->zone_senders_most = 10;
    purge_all(store); /* their ids are still remembered */
    CHECK(count_rows(store, "sender") == 31);
    fake_now = START + 20 * DAY;
    CHECK(accept_one(store, "n29.evil.test", "2") == 0);
    purge_all(store);
    purge_all(store);
    CHECK(count_rows(store, "sender") == 11);
    CHECK(!dmsg_store_verified_before(store, &first));
    CHECK(dmsg_store_verified_before(store, &alice));
    fake_now = START;
    dmsg_store_close(&store);
    scratch_remove(&scratch);
}

/* ------------------------------------------------------------------------- disks that fail */

/* What the store said was done. */
struct said {
    bool first, second, issued;
    size_t delivered;
};

static bool text_is_there;

static int note(int code, const struct dmsg_error *error)
{
    if (code < 0) {
        CHECK_ROW(code == DMSG_E_INTERNAL || code == DMSG_E_LOCAL, "%s", dmsg_error_word(code));
        CHECK(error->code == code && error->text[0] != '\0');
        text_is_there = true;
    }
    return code;
}

/* Judged as replays, they are there already: a commit that failed may be on disk all the same. */
static int accept_again(struct dmsg_store *store, const char *id, size_t size)
{
    struct dmsg_error error = {0};
    int code = put(store, "alice.example", id, size, false, &error);
    return code == DMSG_E_REPLAY ? 0 : note(code, &error);
}

static bool first_batch(struct dmsg_store *store)
{
    struct dmsg_error error = {0};
    if (note(dmsg_store_begin(store, &error), &error) < 0)
        return false;
    int code = 0;
    for (int i = 0; code == 0 && i < 3; i++)
        code = accept_again(store, (const char *const[]){"1", "2", "3"}[i], 2000);
    if (code == 0)
        code = note(put(store, "carol.example", "w", 500, true, &error), &error);
    if (code == 0 && store->counting.accepted > 0) /* not when it is there already */
        dmsg_store_count_refused(store, DMSG_E_FORMAT);
    if (code == 0)
        return note(dmsg_store_commit(store, &error), &error) == 0;
    dmsg_store_rollback(store);
    return false;
}

static bool second_batch(struct dmsg_store *store)
{
    struct dmsg_error error = {0};
    struct dmsg_record record;
    if (note(dmsg_store_begin(store, &error), &error) < 0)
        return false;
    int code = accept_again(store, "4", 20000);
    if (code == 0)
        code = accept_again(store, "5", 0);
    int found = code < 0 ? code : dmsg_store_waiting(store, NULL, 0, &record, &error);
    if (found == 1)
        code = note(dmsg_store_waited(store, record.row, &error), &error);
    if (code == 0 && found >= 0)
        return note(dmsg_store_commit(store, &error), &error) == 0;
    dmsg_store_rollback(store);
    return false;
}

static void run_script(struct dmsg_store *store, struct said *said)
{
    struct dmsg_error error = {0};
    struct dmsg_record record;
    said->first |= first_batch(store);
    if (said->first)
        said->second |= second_batch(store);
    while (said->delivered < 2 && dmsg_store_next(store, 0, &record, &error) == 1 &&
           note(dmsg_store_delivered(store, record.row, &error), &error) == 0)
        said->delivered++;
    note(dmsg_store_purge(store, &error), &error);
    said->issued |= note(dmsg_store_note_issued(store, "kid", START, &error), &error) == 0;
}

/* Whole batches only, and all that was said to be done. relaxed: marks may be undone. */
static void check_content(
    struct dmsg_store *store, const struct said *said, bool relaxed, const char *fault, unsigned n)
{
    struct dmsg_record record;
    int64_t until = 0;
    unsigned found = 0;
    size_t marked = 0;
    CHECK_ROW(dmsg_store_next(store, 0, &record, NULL) >= 0, "%s %u", fault, n); /* begins */
    for (int64_t row = 0; dmsg_store_kept(store, row, &record, NULL) == 1; row = record.row) {
        unsigned bit = 1u << (record.id[0] - '1');
        CHECK_ROW((found & bit) == 0, "%s %u: %s twice", fault, n, record.id);
        found |= bit;
        marked += record.delivery == DMSG_DELIVERED;
        size_t size = record.id[0] < '4' ? 2000 : record.id[0] == '4' ? 20000 : 0;
        CHECK_ROW(record.content.size == size, "%s %u: size of %s", fault, n, record.id);
    }
    CHECK_ROW((found & 7) == 7 || (found & 7) == 0, "%s %u: %x", fault, n, found);
    CHECK_ROW((found & 24) == 24 || (found & 24) == 0, "%s %u: %x", fault, n, found);
    CHECK_ROW(!said->first || (found & 7) == 7, "%s %u: lost %x", fault, n, found);
    CHECK_ROW(!said->second || found == 31, "%s %u: lost %x", fault, n, found);
    CHECK_ROW(relaxed || marked >= said->delivered, "%s %u: %zu marks", fault, n, marked);
    struct dmsg_store_counts counts = {0};
    CHECK_ROW(dmsg_store_counts(store, &counts, NULL) == 0, "%s %u", fault, n);
    CHECK_ROW(counts.accepted == __builtin_popcount(found), "%s %u: %d counted for %x", fault, n,
        (int)counts.accepted, found);
    CHECK_ROW(counts.refused[-1 - DMSG_E_FORMAT] == ((found & 7) == 7),
        "%s %u: %d counted as refused", fault, n, (int)counts.refused[-1 - DMSG_E_FORMAT]);
    size_t waiting = count_waiting(store);
    CHECK_ROW(
        waiting == ((found & 7) == 7 && (found & 24) == 0), "%s %u: %zu wait", fault, n, waiting);
    CHECK_ROW(!said->issued || dmsg_store_issued_until(store, "kid", &until, NULL) == 1, "%s %u",
        fault, n);
}

static struct dmsg_store *open_failing(const struct scratch *scratch)
{
    struct dmsg_store *store = NULL;
    struct dmsg_error error = {0};
    note(open_as(&store, scratch, "bob.example", &error), &error);
    if (store == NULL)
        return NULL;
    sqlite3 *db = dmsg_sqlite_of(store)->db;
    sqlite3_busy_timeout(db, 1);
    /* The log is written back and cut all the time, as after much longer runs. */
    sqlite3_exec(db, "PRAGMA wal_autocheckpoint = 4", NULL, NULL, NULL);
    sqlite3_exec(db, "PRAGMA journal_size_limit = 4096", NULL, NULL, NULL);
    return store;
}

static bool integrity_is_good(struct dmsg_store *store)
{
    sqlite3_stmt *statement = NULL;
    bool good = sqlite3_prepare_v2(dmsg_sqlite_of(store)->db, "PRAGMA integrity_check", -1,
                    &statement, NULL) == SQLITE_OK &&
                sqlite3_step(statement) == SQLITE_ROW &&
                strcmp((const char *)sqlite3_column_text(statement, 0), "ok") == 0;
    sqlite3_finalize(statement);
    return good;
}

/* Runs the script with a fault, then, when that is over, with the same store again, and once more
   after reopening. True when the fault came. */
static bool survive(const char *fault, unsigned n)
{
    struct scratch scratch;
    struct said said = {0};
    text_is_there = false;
    if (scratch_make(&scratch) < 0)
        abort();
    struct dmsg_store *store = open_failing(&scratch);
    if (store != NULL)
        run_script(store, &said);
    bool came = vfs_failed();
    vfs_fail(FAULT_NONE, 0);
    vfs_fail_memory(0);
    if (store != NULL) {
        check_content(store, &said, false, fault, n);
        run_script(store, &said);
        CHECK_ROW(said.first && said.second && said.issued, "%s %u: not mended", fault, n);
    }
    dmsg_store_close(&store);
    store = open_or_die(&scratch);
    CHECK_ROW(integrity_is_good(store), "%s %u", fault, n);
    check_content(store, &said, false, fault, n);
    run_script(store, &said);
    CHECK_ROW(said.first && said.second, "%s %u: not mended by reopening", fault, n);
    check_content(store, &said, false, fault, n);
    dmsg_store_close(&store);
    scratch_remove(&scratch);
    return came;
}

static void every_operation_fails_in_turn(void)
{
    static const char *const names[FAULT_COUNT] = {[FAULT_WRITE] = "write",
        [FAULT_FULL] = "full",
        [FAULT_READ_ONLY] = "read-only",
        [FAULT_SYNC] = "sync",
        [FAULT_READ] = "read",
        [FAULT_TRUNCATE] = "truncate",
        [FAULT_LOCK] = "lock",
        [FAULT_SHARED_LOCK] = "shared lock",
        [FAULT_SHARED_MAP] = "shared map",
        [FAULT_OPEN] = "open",
        [FAULT_DELETE] = "delete"};
    for (int fault = FAULT_WRITE; fault < FAULT_POWER; fault++) {
        bool came = true, told = false;
        unsigned n = 0;
        while (came) {
            vfs_fail((enum fault)fault, ++n);
            came = survive(names[fault], n);
            told |= text_is_there;
        }
        CHECK_ROW(n > 1, "%s: no such operation", names[fault]);
        printf("# %s: %u operations, %s\n", names[fault], n - 1, told ? "told" : "never told");
    }
}

static void memory_fails_in_turn(void)
{
    bool came = true;
    unsigned runs = 0;
    /* Each of the first hundred, then ever fewer: openings are most of it. */
    for (unsigned n = 1; came; n += 1 + n / 40, runs++) {
        vfs_fail_memory(n);
        came = survive("memory", n);
    }
    printf("# memory: %u runs\n", runs);
}

/* What is committed is there after a power cut, with or without the writes that no sync confirmed.
 */
static void power_fails_in_turn(void)
{
    unsigned n = 0;
    bool came = true;
    while (came) {
        n++;
        for (int turn = 0; turn < 2; turn++) {
            int survivor = turn == 0 ? VFS_NOTHING : n % 2 == 0 ? VFS_LOG : VFS_DATABASE;
            struct scratch scratch;
            struct said said = {0};
            if (scratch_make(&scratch) < 0)
                abort();
            vfs_fail(FAULT_POWER, n);
            struct dmsg_store *store = open_failing(&scratch);
            if (store != NULL)
                run_script(store, &said);
            came = vfs_failed();
            dmsg_store_close(&store);
            vfs_fail(FAULT_NONE, 0);
            CHECK(vfs_power_cut(scratch.path, (enum vfs_survivor)survivor) == 0);
            store = open_or_die(&scratch);
            CHECK_ROW(integrity_is_good(store), "power %u, %d", n, survivor);
            check_content(store, &said, true, "power", n);
            dmsg_store_close(&store);
            scratch_remove(&scratch);
        }
    }
    printf("# power: %u writes and syncs\n", n - 1);
}

static const struct test tests[] = {TEST(everything_is_there_after_reopening),
    TEST(an_older_version_is_brought_up_to_date), TEST(nobody_else_can_read_it),
    TEST(what_is_no_database_of_ours_is_refused), TEST(it_can_be_looked_at_meanwhile),
    TEST(a_locked_database_is_not_now), TEST(old_delivered_messages_go),
    TEST(too_many_delivered_messages_go), TEST(discarding_goes_in_slices),
    TEST(a_zone_forgets_at_its_own_expense), TEST(the_largest_zone_makes_room_for_all),
    TEST(idle_names_of_a_zone_are_forgotten), TEST(every_operation_fails_in_turn),
    TEST(memory_fails_in_turn), TEST(power_fails_in_turn)};

int main(void)
{
    vfs_register();
    return test_run(tests, sizeof tests / sizeof tests[0]);
}
