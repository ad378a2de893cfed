/* store: what of a SQLite store's deliveries a process that is killed leaves behind. */
#include "store/sqlite.h"
#include "store_clock.h"
#include "store_scratch.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define DAY 86400
#define MANY (DMSG_SQLITE_MARKS + 500)

static struct dmsg_store *open_or_die(const struct scratch *scratch)
{
    struct dmsg_name me = name_of("bob.example");
    struct dmsg_store *store = NULL;
    struct dmsg_error error;
    if (dmsg_store_open_sqlite(&store, &context, scratch->path, &me, &error) == 0)
        return store;
    printf("Bail out! %s\n", error.text);
    exit(1);
}

/* Ids begin with the letter. */
static void accept_some(struct dmsg_store *store, char letter, int count)
{
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    for (int i = 1; i <= count; i++) {
        struct dmsg_message message = {.format = DMSG_FORMAT_V1,
            .sender = name_of("alice.example"),
            .kid = "kid",
            .issued_at = fake_now,
            .expires_at = fake_now + 7 * DAY,
            .verified = true};
        snprintf(message.id, sizeof message.id, "%c%d", letter, i);
        CHECK(dmsg_store_accept(store, &message, dmsg_span_text("topic"), NULL) == 0);
    }
    REQUIRE(dmsg_store_commit(store, NULL) == 0);
}

static void deliver(struct dmsg_store *store, int count)
{
    struct dmsg_record record;
    for (int i = 0; i < count; i++) {
        REQUIRE(dmsg_store_next(store, 0, &record, NULL) == 1);
        CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
    }
}

/* A process that delivers so many and is killed. */
static void deliver_and_die(const struct scratch *scratch, int count)
{
    int status = 0;
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        struct dmsg_store *store = open_or_die(scratch);
        deliver(store, count);
        kill(getpid(), SIGKILL);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFSIGNALED(status));
}

static const char *next_id(struct dmsg_store *store)
{
    static struct dmsg_record record;
    int found = dmsg_store_next(store, 0, &record, NULL);
    return found == 1 ? record.id : found == 0 ? "" : "failed";
}

static int64_t undelivered(struct dmsg_store *store)
{
    struct dmsg_store_depths depths = {.undelivered = -1};
    CHECK(dmsg_store_depths(store, &depths, NULL) == 0);
    return depths.undelivered;
}

static void marks_path(const struct scratch *scratch, char *out, size_t size)
{
    snprintf(out, size, "%s-delivered", scratch->path);
}

/* ------------------------------------------------------------------------------ the tests */

static void what_a_killed_process_delivered_does_not_come_again(void)
{
    struct scratch scratch;
    char path[400];
    struct stat facts;
    REQUIRE(scratch_make(&scratch) == 0);
    marks_path(&scratch, path, sizeof path);
    struct dmsg_store *store = open_or_die(&scratch);
    accept_some(store, 'a', 5);
    dmsg_store_close(&store);
    deliver_and_die(&scratch, 2);
    CHECK(stat(path, &facts) == 0 && (facts.st_mode & 0777) == 0600 && facts.st_size > 0);
    deliver_and_die(&scratch, 1); /* and again, over what was left */
    store = open_or_die(&scratch);
    CHECK(undelivered(store) == 3); /* nobody has looked yet: what the first has left is marked */
    CHECK(strcmp(next_id(store), "a4") == 0);
    CHECK(undelivered(store) == 2);
    deliver(store, 2);
    CHECK(strcmp(next_id(store), "") == 0 && undelivered(store) == 0);
    dmsg_store_close(&store);
    CHECK(stat(path, &facts) < 0); /* a clean end leaves no such file */
    scratch_remove(&scratch);
}

/* The twin: it is that file which tells. */
static void without_the_file_it_comes_again(void)
{
    struct scratch scratch;
    char path[400];
    REQUIRE(scratch_make(&scratch) == 0);
    marks_path(&scratch, path, sizeof path);
    struct dmsg_store *store = open_or_die(&scratch);
    accept_some(store, 'a', 3);
    dmsg_store_close(&store);
    deliver_and_die(&scratch, 2);
    CHECK(unlink(path) == 0);
    store = open_or_die(&scratch);
    CHECK(strcmp(next_id(store), "a1") == 0);
    dmsg_store_close(&store);
    scratch_remove(&scratch);
}

/* The same rows of another database: their messages have other ids. */
static void another_database_loses_nothing(void)
{
    struct scratch scratch;
    char log[400];
    REQUIRE(scratch_make(&scratch) == 0);
    struct dmsg_store *store = open_or_die(&scratch);
    accept_some(store, 'a', 3);
    dmsg_store_close(&store);
    deliver_and_die(&scratch, 3);
    CHECK(unlink(scratch.path) == 0);
    for (int i = 0; i < 2; i++) {
        snprintf(log, sizeof log, "%s-%s", scratch.path, i == 0 ? "wal" : "shm");
        (void)unlink(log);
    }
    store = open_or_die(&scratch);
    accept_some(store, 'b', 3);
    CHECK(strcmp(next_id(store), "b1") == 0);
    deliver(store, 3);
    dmsg_store_close(&store);
    scratch_remove(&scratch);
}

/* Rubbish in it, of any size, marks nothing. */
static void a_damaged_file_marks_nothing(void)
{
    static const size_t sizes[] = {1, 63, 64, 1000, DMSG_SQLITE_MARKS * 64, 200000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct scratch scratch;
        char path[400];
        REQUIRE(scratch_make(&scratch) == 0);
        marks_path(&scratch, path, sizeof path);
        struct dmsg_store *store = open_or_die(&scratch);
        accept_some(store, 'a', 3);
        dmsg_store_close(&store);
        uint8_t *rubbish = malloc(sizes[i]);
        REQUIRE(rubbish != NULL);
        for (size_t k = 0; k < sizes[i]; k++)
            rubbish[k] = k % 64 == 0 ? 1 : k % 64 < 8 ? 0 : 'a'; /* row 1, and no id of ours */
        int fd = open(path, O_WRONLY | O_CREAT, 0600);
        CHECK(fd >= 0 && write(fd, rubbish, sizes[i]) == (ssize_t)sizes[i]);
        close(fd);
        free(rubbish);
        store = open_or_die(&scratch);
        CHECK_ROW(strcmp(next_id(store), "a1") == 0, "%zu octets", sizes[i]);
        dmsg_store_close(&store);
        scratch_remove(&scratch);
    }
}

/* Then each is marked in the database at once. */
static void without_a_file_of_its_own_it_marks_at_once(void)
{
    static const char *const cases[] = {
        "locked", "a link", "a folder", "readable by others", "of two names"};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct scratch scratch;
        char path[400], other[410];
        int fd = -1;
        REQUIRE(scratch_make(&scratch) == 0);
        marks_path(&scratch, path, sizeof path);
        snprintf(other, sizeof other, "%s-2", path);
        struct dmsg_store *store = open_or_die(&scratch);
        accept_some(store, 'a', 3);
        dmsg_store_close(&store);
        if (i == 1)
            CHECK(symlink("/dev/null", path) == 0);
        else if (i == 2)
            CHECK(mkdir(path, 0700) == 0);
        else
            fd = open(path, O_RDWR | O_CREAT, i == 3 ? 0644 : 0600);
        if (i == 3)
            CHECK(fchmod(fd, 0644) == 0);
        if (i == 4)
            CHECK(link(path, other) == 0);
        if (i == 0)
            CHECK(flock(fd, LOCK_EX) == 0);
        deliver_and_die(&scratch, 2);
        store = open_or_die(&scratch);
        CHECK_ROW(undelivered(store) == 1, "%s", cases[i]); /* before anybody looks for more */
        CHECK_ROW(!dmsg_store_delivers_within(store), "%s", cases[i]);
        CHECK_ROW(strcmp(next_id(store), "a3") == 0, "%s", cases[i]);
        CHECK_ROW(!dmsg_store_delivers_within(store), "%s", cases[i]);
        dmsg_store_close(&store);
        if (fd >= 0)
            close(fd);
        (void)(i == 2 ? rmdir(path) : unlink(path));
        (void)unlink(other);
        scratch_remove(&scratch);
    }
}

/* More than there is room for between two transactions; within one, no more than that. */
static void a_full_ring_is_written_down(void)
{
    struct scratch scratch;
    struct dmsg_record record;
    REQUIRE(scratch_make(&scratch) == 0);
    struct dmsg_store *store = open_or_die(&scratch);
    for (int i = 0; i < 2; i++)
        accept_some(store, i == 0 ? 'a' : 'b', MANY);
    deliver(store, MANY);
    CHECK(undelivered(store) == MANY);
    CHECK(strcmp(next_id(store), "b1") == 0);
    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    int count = 0;
    while (dmsg_store_delivers_within(store) && dmsg_store_next(store, 0, &record, NULL) == 1) {
        CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
        count++;
    }
    CHECK_ROW(count == DMSG_SQLITE_MARKS, "%d", count);
    dmsg_store_rollback(store);
    CHECK(undelivered(store) == MANY - DMSG_SQLITE_MARKS);
    dmsg_store_close(&store);
    deliver_and_die(&scratch, 100);
    store = open_or_die(&scratch);
    CHECK(next_id(store)[0] == 'b');
    CHECK(undelivered(store) == MANY - DMSG_SQLITE_MARKS - 100);
    dmsg_store_close(&store);
    scratch_remove(&scratch);
}

/* A disk that is full takes away neither marks nor, within a transaction that it undoes, more than
   the one that could not be written. */
static void a_full_disk_takes_no_marks_away(void)
{
    struct scratch scratch;
    struct dmsg_record record;
    struct stat facts;
    struct rlimit before, none;
    char path[400];
    REQUIRE(scratch_make(&scratch) == 0);
    marks_path(&scratch, path, sizeof path);
    struct dmsg_store *store = open_or_die(&scratch);
    accept_some(store, 'a', 3);
    CHECK(strcmp(next_id(store), "a1") == 0);
    CHECK(stat(path, &facts) == 0 && facts.st_size == DMSG_SQLITE_MARKS * 64);

    REQUIRE(dmsg_store_begin(store, NULL) == 0);
    CHECK(dmsg_store_next(store, 0, &record, NULL) == 1 && dmsg_store_delivers_within(store));
    (void)signal(SIGXFSZ, SIG_IGN);
    REQUIRE(getrlimit(RLIMIT_FSIZE, &before) == 0);
    none = (struct rlimit){0, before.rlim_max};
    CHECK(setrlimit(RLIMIT_FSIZE, &none) == 0);
    CHECK(dmsg_store_delivered(store, record.row, NULL) == 0);
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    CHECK(!dmsg_store_delivers_within(store));
    dmsg_store_rollback(store);
    CHECK(strcmp(next_id(store), "a1") == 0);
    deliver(store, 3);
    CHECK(undelivered(store) == 0);
    dmsg_store_close(&store);
    scratch_remove(&scratch);
}

static const struct test tests[] = {TEST(what_a_killed_process_delivered_does_not_come_again),
    TEST(without_the_file_it_comes_again), TEST(another_database_loses_nothing),
    TEST(a_damaged_file_marks_nothing), TEST(without_a_file_of_its_own_it_marks_at_once),
    TEST(a_full_ring_is_written_down), TEST(a_full_disk_takes_no_marks_away)};

int main(void)
{
    return test_run(tests, sizeof tests / sizeof tests[0]);
}
