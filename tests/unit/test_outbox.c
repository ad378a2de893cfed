/* outbox: order, pauses, expiry, sealing, budget, and a disk that fails. */
#include "store/outbox.h"

#include "danemsg/store.h"
#include "failing_vfs.h"
#include "store_clock.h"
#include "store_scratch.h"
#include "test.h"

#include <inttypes.h>
#include <poll.h>
#include <sys/stat.h>

static int open_as(struct dmsg_outbox **out, const struct scratch *scratch, const char *name,
    struct dmsg_error *error)
{
    struct dmsg_name me = name_of(name);
    return dmsg_outbox_open(out, &context, scratch->path, &me, error);
}

static struct dmsg_outbox *open_or_die(const struct scratch *scratch)
{
    struct dmsg_outbox *outbox = NULL;
    struct dmsg_error error;
    if (open_as(&outbox, scratch, "bob.example", &error) == 0)
        return outbox;
    printf("Bail out! %s\n", error.text);
    exit(1);
}

static struct dmsg_outbox *make(struct scratch *scratch)
{
    fake_now = START;
    clock_is_set = true;
    if (scratch_make(scratch) < 0)
        abort();
    return open_or_die(scratch);
}

static void finish(struct dmsg_outbox *outbox, const struct scratch *scratch)
{
    dmsg_outbox_close(&outbox);
    scratch_remove(scratch);
}

static struct dmsg_outgoing outgoing(const char *recipient, const char *text, bool sealed)
{
    return (struct dmsg_outgoing){.recipient = name_of(recipient),
        .state = sealed ? DMSG_OUTGOING_SEALED : DMSG_OUTGOING_OPEN,
        .queued_at = fake_now,
        .expires_at = fake_now + 1000,
        .qos = 1,
        .id = sealed ? text : "",
        .content_type = "",
        .topic = recipient,
        .content = dmsg_span_text(text)};
}

/* One message in a transaction of its own: its row, or a negative code. */
static int64_t put(struct dmsg_outbox *outbox, const char *recipient, const char *text, bool sealed,
    struct dmsg_error *error)
{
    struct dmsg_outgoing message = outgoing(recipient, text, sealed);
    int64_t row = 0;
    int code = dmsg_outbox_begin(outbox, true, error);
    if (code == 0)
        code = dmsg_outbox_put(outbox, &message, &row, error);
    if (code == 0)
        code = dmsg_outbox_commit(outbox, error);
    if (code < 0)
        dmsg_outbox_rollback(outbox);
    return code < 0 ? code : row;
}

#define CHANGE(outbox, call)                                                                       \
    do {                                                                                           \
        CHECK(dmsg_outbox_begin(outbox, false, NULL) == 0);                                        \
        CHECK((call) >= 0);                                                                        \
        CHECK(dmsg_outbox_commit(outbox, NULL) == 0);                                              \
    } while (0)

typedef int walk(
    struct dmsg_outbox *outbox, int64_t after, struct dmsg_outgoing *out, struct dmsg_error *error);

/* The contents of what a walk gives, one letter each. */
static const char *contents(struct dmsg_outbox *outbox, walk *next)
{
    static char text[64];
    struct dmsg_outgoing message = {0};
    size_t size = 0;
    while (next(outbox, message.row, &message, NULL) == 1 && size + 1 < sizeof text)
        text[size++] = (char)message.content.data[0];
    text[size] = '\0';
    return text;
}

static const struct dmsg_error trouble = {DMSG_E_BROKER, "not authorized"};

/* ------------------------------------------------------------------------------------- tests */

static void all_of_a_message_is_kept(void)
{
    struct scratch scratch;
    struct dmsg_outbox *outbox = make(&scratch);
    struct dmsg_outgoing kept, message = outgoing("carol.example", "payload", false);
    struct stat facts;
    int64_t row = 0;
    message.format = DMSG_FORMAT_POC;
    message.cbc = message.retain = true;
    message.qos = 2;
    message.size_limit = 4096;
    message.content_type = "text/plain";
    message.topic = "a/topic";
    CHANGE(outbox, dmsg_outbox_put(outbox, &message, &row, NULL));
    dmsg_outbox_close(&outbox);
    CHECK(stat(scratch.path, &facts) == 0 && (facts.st_mode & 0777) == 0600);
    outbox = open_or_die(&scratch);
    REQUIRE(dmsg_outbox_list(outbox, 0, &kept, NULL) == 1);
    CHECK(kept.row == row && row > 0 && kept.state == DMSG_OUTGOING_OPEN);
    CHECK(dmsg_name_equal(&kept.recipient, &message.recipient));
    CHECK(kept.queued_at == START && kept.expires_at == START + 1000);
    CHECK(kept.due_at == 0 && kept.attempts == 0 && kept.reason[0] == '\0' && kept.id[0] == '\0');
    CHECK(kept.format == DMSG_FORMAT_POC && kept.cbc && kept.retain && kept.qos == 2);
    CHECK(kept.size_limit == 4096 && strcmp(kept.content_type, "text/plain") == 0);
    CHECK(strcmp(kept.topic, "a/topic") == 0 && dmsg_span_equal_text(kept.content, "payload"));
    CHECK(dmsg_outbox_list(outbox, row, &kept, NULL) == 0);
    finish(outbox, &scratch);
}

static void rows_are_never_given_twice(void)
{
    struct scratch scratch;
    struct dmsg_outbox *outbox = make(&scratch);
    int64_t first = put(outbox, "a.example", "1", true, NULL);
    CHANGE(outbox, dmsg_outbox_remove(outbox, first, DMSG_OUTGOING_DROPPED, NULL));
    CHECK(put(outbox, "a.example", "2", true, NULL) > first);
    CHECK(dmsg_outbox_begin(outbox, false, NULL) == 0);
    CHECK(dmsg_outbox_remove(outbox, first, DMSG_OUTGOING_DROPPED, NULL) == 0);
    CHECK(dmsg_outbox_commit(outbox, NULL) == 0);
    finish(outbox, &scratch);
}

static void changes_want_a_transaction(void)
{
    struct scratch scratch;
    struct dmsg_outbox *outbox = make(&scratch);
    struct dmsg_outgoing message = outgoing("a.example", "1", true);
    struct dmsg_name name = name_of("a.example");
    int64_t row = 0;
    CHECK(dmsg_outbox_put(outbox, &message, &row, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_outbox_remove(outbox, 1, DMSG_OUTGOING_DROPPED, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_outbox_seal(outbox, 1, "id", message.content, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_outbox_fail(outbox, 1, &trouble, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_outbox_fail_open(outbox, &name, &trouble, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_outbox_give_up(outbox, 1, &trouble, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_outbox_hurry(outbox, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_outbox_note_issued(outbox, "kid", 1, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_outbox_commit(outbox, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_outbox_begin(outbox, true, NULL) == 0);
    CHECK(dmsg_outbox_begin(outbox, true, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_outbox_put(outbox, &message, &row, NULL) == 0);
    dmsg_outbox_rollback(outbox);
    CHECK(strcmp(contents(outbox, dmsg_outbox_list), "") == 0);
    finish(outbox, &scratch);
}

/* What is open holds up what is sealed for the same name, and for no other. */
static void order_is_kept_for_each_recipient(void)
{
    static const struct {
        const char *recipient, *text;
        bool sealed;
    } rows[] = {{"a.example", "1", true}, {"b.example", "2", false}, {"b.example", "3", true},
        {"a.example", "4", true}, {"c.example", "5", false}, {"b.example", "6", false},
        {"a.example", "7", true}};
    struct scratch scratch;
    struct dmsg_outbox *outbox = make(&scratch);
    struct dmsg_outgoing message;
    struct dmsg_name name, b = name_of("b.example");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK(put(outbox, rows[i].recipient, rows[i].text, rows[i].sealed, NULL) > 0);
    CHECK(strcmp(contents(outbox, dmsg_outbox_list), "1234567") == 0);
    CHECK(strcmp(contents(outbox, dmsg_outbox_next), "147") == 0);
    CHECK(dmsg_outbox_open_recipient(outbox, NULL, &name, NULL) == 1);
    CHECK(dmsg_name_equal(&name, &b));
    CHECK(dmsg_outbox_open_recipient(outbox, &name, &name, NULL) == 1);
    CHECK(strcmp(name.text, "c.example") == 0);
    CHECK(dmsg_outbox_open_recipient(outbox, &name, &name, NULL) == 0);
    REQUIRE(dmsg_outbox_open_next(outbox, &b, 0, &message, NULL) == 1);
    CHECK(message.content.data[0] == '2');
    CHANGE(outbox, dmsg_outbox_seal(outbox, message.row, "id-2", dmsg_span_text("zz"), NULL));
    CHECK(strcmp(contents(outbox, dmsg_outbox_next), "1z347") == 0);
    REQUIRE(dmsg_outbox_open_next(outbox, &b, 0, &message, NULL) == 1);
    CHECK(message.content.data[0] == '6');
    CHANGE(outbox, dmsg_outbox_give_up(outbox, message.row, &trouble, NULL));
    CHECK(dmsg_outbox_open_next(outbox, &b, 0, &message, NULL) == 0);
    CHECK(strcmp(contents(outbox, dmsg_outbox_next), "1z347") == 0);
    finish(outbox, &scratch);
}

static void sealing_takes_the_payloads_place(void)
{
    struct scratch scratch;
    struct dmsg_outbox *outbox = make(&scratch);
    struct dmsg_outbox_depths depths;
    struct dmsg_outgoing kept;
    int64_t row = put(outbox, "a.example", "payload", false, NULL);
    CHANGE(outbox, dmsg_outbox_fail(outbox, row, &trouble, NULL));
    CHANGE(outbox, dmsg_outbox_seal(outbox, row, "jti", dmsg_span_text("envelope"), NULL));
    REQUIRE(dmsg_outbox_list(outbox, 0, &kept, NULL) == 1);
    CHECK(kept.state == DMSG_OUTGOING_SEALED && strcmp(kept.id, "jti") == 0 && kept.due_at == 0);
    CHECK(dmsg_span_equal_text(kept.content, "envelope"));
    CHECK(dmsg_outbox_depths(outbox, &depths, NULL) == 0);
    CHECK(depths.messages == 1 && depths.octets == 8 && depths.open == 0);
    /* No second id, and nothing of one that is gone. */
    CHANGE(outbox, dmsg_outbox_seal(outbox, row, "other", dmsg_span_text("other"), NULL));
    CHANGE(outbox, dmsg_outbox_seal(outbox, row + 1, "other", dmsg_span_text("other"), NULL));
    CHANGE(outbox, dmsg_outbox_give_up(outbox, row, &trouble, NULL));
    REQUIRE(dmsg_outbox_list(outbox, 0, &kept, NULL) == 1);
    CHECK(strcmp(kept.id, "jti") == 0 && kept.state == DMSG_OUTGOING_SEALED);
    CHANGE(outbox, dmsg_outbox_remove(outbox, row, DMSG_OUTGOING_PUBLISHED, NULL));
    CHECK(dmsg_outbox_depths(outbox, &depths, NULL) == 0);
    CHECK(depths.messages == 0 && depths.octets == 0);
    finish(outbox, &scratch);
}

static void pauses_grow(void)
{
    static const int64_t pauses[] = {5, 10, 20, 40, 80, 160, 300, 300};
    struct scratch scratch;
    struct dmsg_outbox *outbox = make(&scratch);
    struct dmsg_outgoing kept;
    int64_t due, expires;
    int64_t row = put(outbox, "a.example", "1", true, NULL);
    CHECK(put(outbox, "a.example", "2", true, NULL) > row);
    for (size_t i = 0; i < sizeof pauses / sizeof pauses[0]; i++) {
        fake_now = START + (int64_t)i;
        CHANGE(outbox, dmsg_outbox_fail(outbox, row, &trouble, NULL));
        REQUIRE(dmsg_outbox_list(outbox, 0, &kept, NULL) == 1);
        CHECK_ROW(kept.due_at == fake_now + pauses[i], "%zu: %" PRId64, i, kept.due_at - fake_now);
        CHECK_ROW(kept.attempts == (int64_t)i + 1, "%zu", i);
        CHECK(strcmp(kept.reason, "broker: not authorized") == 0);
        CHECK(strcmp(contents(outbox, dmsg_outbox_next), "2") == 0);
        CHECK(dmsg_outbox_times(outbox, &due, &expires, NULL) == 0);
        CHECK(due == kept.due_at && expires == START + 1000);
    }
    fake_now = kept.due_at;
    CHECK(strcmp(contents(outbox, dmsg_outbox_next), "12") == 0);
    CHECK(dmsg_outbox_times(outbox, &due, &expires, NULL) == 0 && due == INT64_MAX);
    fake_now = START; /* a clock that was ahead: no pause is longer than the longest */
    CHECK(strcmp(contents(outbox, dmsg_outbox_next), "12") == 0);
    fake_now = kept.due_at - 1;
    CHECK(strcmp(contents(outbox, dmsg_outbox_next), "2") == 0);
    CHANGE(outbox, dmsg_outbox_hurry(outbox, NULL));
    CHECK(strcmp(contents(outbox, dmsg_outbox_next), "12") == 0);
    finish(outbox, &scratch);
}

/* Those that fail take their turns, and keep nobody waiting who was not tried yet. */
static void who_failed_comes_last(void)
{
    struct scratch scratch;
    struct dmsg_outbox *outbox = make(&scratch);
    struct dmsg_outgoing message;
    int64_t rows[4];
    for (size_t i = 0; i < 4; i++)
        rows[i] = put(outbox, "bob.example", "TEXT", true, NULL);
    CHANGE(outbox, dmsg_outbox_fail(outbox, rows[1], &trouble, NULL));
    fake_now++;
    CHANGE(outbox, dmsg_outbox_fail(outbox, rows[0], &trouble, NULL));
    CHECK(dmsg_outbox_next_failed(outbox, &message, NULL) == 0); /* both pause */
    fake_now += DMSG_OUTBOX_PAUSE_FIRST;
    CHECK(dmsg_outbox_next(outbox, 0, &message, NULL) == 1 && message.row == rows[0]);
    CHECK(dmsg_outbox_next_untried(outbox, 0, &message, NULL) == 1 && message.row == rows[2]);
    CHECK(dmsg_outbox_next_untried(outbox, rows[2], &message, NULL) == 1);
    CHECK(message.row == rows[3]);
    CHECK(dmsg_outbox_next_untried(outbox, rows[3], &message, NULL) == 0);
    CHECK(dmsg_outbox_next_failed(outbox, &message, NULL) == 1 && message.row == rows[1]);
    CHANGE(outbox, dmsg_outbox_fail(outbox, rows[1], &trouble, NULL));
    CHECK(dmsg_outbox_next_failed(outbox, &message, NULL) == 1 && message.row == rows[0]);
    fake_now = START - DMSG_OUTBOX_PAUSE_MOST; /* the clock was ahead when they failed */
    CHECK(dmsg_outbox_next_failed(outbox, &message, NULL) == 1);
    fake_now = START + 1000;
    CHECK(dmsg_outbox_next_untried(outbox, 0, &message, NULL) == 0); /* expired */
    CHECK(dmsg_outbox_next_failed(outbox, &message, NULL) == 0);
    finish(outbox, &scratch);
}

static void a_name_without_a_key_is_left_for_a_while(void)
{
    struct scratch scratch;
    struct dmsg_outbox *outbox = make(&scratch);
    struct dmsg_name name = name_of("a.example"), found;
    CHECK(put(outbox, "a.example", "1", false, NULL) > 0);
    CHECK(put(outbox, "a.example", "2", false, NULL) > 0);
    CHECK(put(outbox, "b.example", "3", false, NULL) > 0);
    CHANGE(outbox, dmsg_outbox_fail_open(outbox, &name, &trouble, NULL));
    CHECK(dmsg_outbox_open_recipient(outbox, NULL, &found, NULL) == 1);
    CHECK(strcmp(found.text, "b.example") == 0);
    fake_now += DMSG_OUTBOX_PAUSE_FIRST;
    CHECK(dmsg_outbox_open_recipient(outbox, NULL, &found, NULL) == 1);
    CHECK(dmsg_name_equal(&found, &name));
    struct dmsg_outbox_depths depths;
    CHECK(dmsg_outbox_depths(outbox, &depths, NULL) == 0);
    CHECK(depths.messages == 3 && depths.open == 3 && depths.failed_once == 2);
    finish(outbox, &scratch);
}

static void what_has_expired_is_not_sent(void)
{
    struct scratch scratch;
    struct dmsg_outbox *outbox = make(&scratch);
    struct dmsg_outbox_depths depths;
    struct dmsg_outgoing message;
    int64_t row = put(outbox, "a.example", "1", true, NULL);
    fake_now = START + 500;
    CHECK(put(outbox, "a.example", "2", true, NULL) > row);
    fake_now = START + 999;
    CHECK(dmsg_outbox_expired(outbox, 0, &message, NULL) == 0);
    CHECK(strcmp(contents(outbox, dmsg_outbox_next), "12") == 0);
    fake_now = START + 1000;
    CHECK(strcmp(contents(outbox, dmsg_outbox_next), "2") == 0);
    CHECK(dmsg_outbox_expired(outbox, 0, &message, NULL) == 1 && message.row == row);
    CHECK(dmsg_outbox_expired(outbox, 1, &message, NULL) == 0);
    clock_is_set = false;
    CHECK(dmsg_outbox_expired(outbox, 0, &message, NULL) == 0);
    clock_is_set = true;
    CHANGE(outbox, dmsg_outbox_remove(outbox, row, DMSG_OUTGOING_EXPIRED, NULL));
    CHECK(dmsg_outbox_depths(outbox, &depths, NULL) == 0);
    CHECK(depths.messages == 1 && depths.expired == 1);
    struct dmsg_outgoing late = outgoing("a.example", "3", true);
    late.expires_at = fake_now;
    CHECK(dmsg_outbox_begin(outbox, true, NULL) == 0);
    CHECK(dmsg_outbox_put(outbox, &late, &row, NULL) == DMSG_E_USAGE);
    finish(outbox, &scratch);
}

/* Ever, over openings; of a transaction that is rolled back nothing is counted. */
static void what_became_of_messages_is_counted(void)
{
    struct scratch scratch;
    struct dmsg_outbox *outbox = make(&scratch);
    struct dmsg_outbox_counts counts;
    int64_t row, messages = 0, gone, octets = 0;
    row = put(outbox, "bob.example", "ONE", false, NULL);
    CHANGE(outbox, dmsg_outbox_seal(outbox, row, "id", dmsg_span_text("ENVELOPE"), NULL));
    CHANGE(outbox, dmsg_outbox_fail(outbox, row, &trouble, NULL));
    CHECK(dmsg_outbox_begin(outbox, true, NULL) == 0);
    CHECK(dmsg_outbox_remove(outbox, row, DMSG_OUTGOING_PUBLISHED, NULL) == 1);
    dmsg_outbox_rollback(outbox);
    CHECK(dmsg_outbox_counts(outbox, &counts, NULL) == 0);
    CHECK(counts.published == 0 && counts.sealed == 1 && counts.refused == 1);
    CHANGE(outbox, dmsg_outbox_remove(outbox, row, DMSG_OUTGOING_PUBLISHED, NULL));
    gone = row;
    row = put(outbox, "bob.example", "TWO", true, NULL);
    CHANGE(outbox, dmsg_outbox_remove(outbox, row, DMSG_OUTGOING_EXPIRED, NULL));
    row = put(outbox, "bob.example", "THREE", true, NULL);
    CHANGE(outbox, dmsg_outbox_remove(outbox, row, DMSG_OUTGOING_DROPPED, NULL));
    /* nor what is no longer there, which changes nothing */
    CHECK(put(outbox, "bob.example", "FOUR", true, NULL) > 0);
    CHECK(dmsg_outbox_begin(outbox, true, NULL) == 0);
    CHECK(dmsg_outbox_note_issued(outbox, "kid", fake_now, NULL) == 0);
    CHECK(dmsg_outbox_seal(outbox, gone, "id", dmsg_span_text("ENVELOPE"), NULL) == 0);
    CHECK(dmsg_outbox_fail(outbox, gone, &trouble, NULL) == 0);
    CHECK(dmsg_outbox_remove(outbox, gone, DMSG_OUTGOING_PUBLISHED, NULL) == 0);
    CHECK(dmsg_outbox_commit(outbox, NULL) == 0);
    CHECK(dmsg_outbox_usage(outbox, DMSG_OUTBOX_BUDGET, &messages, &octets, NULL) == 0);
    CHECK(messages == 1 && octets == 4);
    dmsg_outbox_close(&outbox);
    outbox = open_or_die(&scratch);
    CHECK(dmsg_outbox_counts(outbox, &counts, NULL) == 0);
    CHECK(counts.published == 1 && counts.sealed == 1 && counts.refused == 1);
    CHECK(counts.expired == 1);
    finish(outbox, &scratch);
}

static void execute(const struct scratch *scratch, const char *text)
{
    sqlite3 *db = NULL;
    CHECK(sqlite3_open(scratch->path, &db) == SQLITE_OK);
    CHECK(sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK);
    sqlite3_close(db);
}

static void it_is_bounded(void)
{
    struct scratch scratch;
    struct dmsg_outbox *outbox = make(&scratch);
    struct dmsg_error error;
    int64_t first = put(outbox, "a.example", "1", true, NULL);
    execute(&scratch, "UPDATE budget SET messages = 99999 WHERE whose = 'O'");
    CHECK(put(outbox, "a.example", "2", true, &error) > first);
    CHECK(put(outbox, "a.example", "3", true, &error) == DMSG_E_QUOTA);
    CHECK(strstr(error.text, "the outbox is full: 100000 messages") != NULL);
    CHANGE(outbox, dmsg_outbox_remove(outbox, first, DMSG_OUTGOING_DROPPED, NULL));
    CHECK(put(outbox, "a.example", "4", true, &error) > first);
    execute(&scratch, "UPDATE budget SET messages = 3, octets = 1073741823 WHERE whose = 'O'");
    CHECK(put(outbox, "a.example", "5", true, &error) > first);
    CHECK(put(outbox, "a.example", "6", true, &error) == DMSG_E_QUOTA);
    CHECK(strstr(error.text, "leave no room") != NULL);
    for (int qos = 0; qos < 4; qos += 3) {
        struct dmsg_outgoing message = outgoing("a.example", "7", true);
        message.qos = qos;
        CHECK(dmsg_outbox_begin(outbox, true, NULL) == 0);
        CHECK(dmsg_outbox_put(outbox, &message, &first, NULL) == DMSG_E_USAGE);
        dmsg_outbox_rollback(outbox);
    }
    finish(outbox, &scratch);
}

static void others_changes_are_noticed(void)
{
    struct scratch scratch;
    struct dmsg_outbox *outbox = make(&scratch), *other = open_or_die(&scratch), *looking = NULL;
    struct dmsg_name me = name_of("bob.example"), carol = name_of("carol.example");
    bool changed = false;
    struct pollfd wait = {.fd = dmsg_outbox_fd(outbox), .events = POLLIN};
    CHECK(dmsg_outbox_changed(outbox, &changed, NULL) == 0);
    CHECK(put(outbox, "a.example", "1", true, NULL) > 0);
    CHECK(dmsg_outbox_changed(outbox, &changed, NULL) == 0 && !changed);
    CHECK(poll(&wait, 1, 0) == 0);
    CHECK(put(other, "a.example", "2", true, NULL) > 0);
    CHECK(wait.fd < 0 || poll(&wait, 1, 0) == 1);
    CHECK(dmsg_outbox_changed(outbox, &changed, NULL) == 0 && changed);
    CHECK(dmsg_outbox_changed(outbox, &changed, NULL) == 0 && !changed);
    CHECK(strcmp(contents(outbox, dmsg_outbox_next), "12") == 0);
    CHECK(dmsg_outbox_show(&looking, &context, scratch.path, &carol, NULL) == DMSG_E_LOCAL);
    REQUIRE(dmsg_outbox_show(&looking, &context, scratch.path, &me, NULL) == 0);
    CHECK(strcmp(contents(looking, dmsg_outbox_list), "12") == 0);
    CHECK(put(looking, "a.example", "3", true, NULL) == DMSG_E_LOCAL);
    dmsg_outbox_close(&looking);
    dmsg_outbox_close(&other);
    finish(outbox, &scratch);
}

static void keys_are_noted_with_what_they_sealed(void)
{
    struct scratch scratch;
    struct dmsg_outbox *outbox = make(&scratch);
    struct dmsg_store *store = NULL;
    struct dmsg_name me = name_of("bob.example");
    int64_t until = 0;
    CHANGE(outbox, dmsg_outbox_note_issued(outbox, "kid", 20, NULL));
    CHANGE(outbox, dmsg_outbox_note_issued(outbox, "kid", 10, NULL));
    REQUIRE(dmsg_store_open_sqlite(&store, &context, scratch.path, &me, NULL) == 0);
    CHECK(dmsg_store_issued_until(store, "kid", &until, NULL) == 1 && until == 20);
    dmsg_store_close(&store);
    finish(outbox, &scratch);
}

/* ------------------------------------------------------------------------------ failing disks */

/* Two messages are queued together, one sealed, one published; true when the fault came. All that
   was said to be done is there afterwards, and nothing by halves. */
static bool survive(enum fault fault, const char *name, unsigned n)
{
    struct scratch scratch;
    struct dmsg_error error = {0};
    struct dmsg_outbox *outbox = make(&scratch);
    struct dmsg_outgoing one = outgoing("a.example", "1", false);
    struct dmsg_outgoing two = outgoing("b.example", "2", true);
    int64_t row = 0, second = 0;
    vfs_fail(fault, n);
    int code = dmsg_outbox_begin(outbox, true, &error);
    if (code == 0)
        code = dmsg_outbox_put(outbox, &one, &row, &error);
    if (code == 0)
        code = dmsg_outbox_put(outbox, &two, &second, &error);
    code = code == 0 ? dmsg_outbox_commit(outbox, &error) : code;
    bool queued = code == 0, sealed = false;
    dmsg_outbox_rollback(outbox);
    CHECK_ROW(
        queued || error.code == DMSG_E_LOCAL, "%s %u: %d %s", name, n, error.code, error.text);
    if (queued && dmsg_outbox_begin(outbox, true, &error) == 0) {
        sealed = dmsg_outbox_seal(outbox, row, "jti", dmsg_span_text("s"), &error) == 0 &&
                 dmsg_outbox_commit(outbox, &error) == 0;
        dmsg_outbox_rollback(outbox);
        CHECK_ROW(sealed || error.code == DMSG_E_LOCAL, "%s %u: %s", name, n, error.text);
    }
    bool came = vfs_failed();
    vfs_fail(FAULT_NONE, 0);
    dmsg_outbox_close(&outbox);
    outbox = open_or_die(&scratch);
    const char *there = contents(outbox, dmsg_outbox_list);
    CHECK_ROW(strcmp(there, "") == 0 || strcmp(there, "12") == 0 || strcmp(there, "s2") == 0,
        "%s %u: %s", name, n, there);
    CHECK_ROW(!queued || strlen(there) == 2, "%s %u: lost", name, n);
    CHECK_ROW(!sealed || there[0] == 's', "%s %u: a second id could be made", name, n);
    CHECK_ROW(put(outbox, "a.example", "3", true, NULL) > 0, "%s %u: not mended", name, n);
    finish(outbox, &scratch);
    return came;
}

static void a_disk_that_fails_loses_nothing(void)
{
    static const struct {
        enum fault fault;
        const char *name;
    } faults[] = {{FAULT_WRITE, "write"}, {FAULT_FULL, "full"}, {FAULT_READ_ONLY, "read-only"},
        {FAULT_SYNC, "sync"}, {FAULT_SHARED_LOCK, "lock"}};
    for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
        unsigned n = 1;
        while (survive(faults[i].fault, faults[i].name, n))
            n++;
        CHECK_ROW(n > 1, "%s: no such operation", faults[i].name);
    }
}

static const struct test tests[] = {TEST(all_of_a_message_is_kept),
    TEST(rows_are_never_given_twice), TEST(changes_want_a_transaction),
    TEST(order_is_kept_for_each_recipient), TEST(sealing_takes_the_payloads_place),
    TEST(pauses_grow), TEST(who_failed_comes_last), TEST(a_name_without_a_key_is_left_for_a_while),
    TEST(what_has_expired_is_not_sent), TEST(what_became_of_messages_is_counted),
    TEST(it_is_bounded), TEST(others_changes_are_noticed),
    TEST(keys_are_noted_with_what_they_sealed), TEST(a_disk_that_fails_loses_nothing)};

int main(void)
{
    vfs_register();
    return test_run(tests, sizeof tests / sizeof tests[0]);
}
