#include "store/outbox.h"

#include "base/fail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

int dmsg_outbox_local(const struct dmsg_outbox *outbox, int code, struct dmsg_error *error)
{
    if (code != DMSG_E_INTERNAL || (sqlite3_errcode(outbox->sqlite->db) & 0xff) == SQLITE_NOMEM)
        return code;
    if (error != NULL)
        error->code = DMSG_E_LOCAL;
    return DMSG_E_LOCAL;
}

/* ------------------------------------------------------------------------- opening, closing */

typedef int open_store(struct dmsg_store **out, const struct dmsg_context *context,
    const char *path, const struct dmsg_name *recipient, struct dmsg_error *error);

static int open_outbox(struct dmsg_outbox **out, open_store *open,
    const struct dmsg_context *context, const char *path, const struct dmsg_name *sender,
    struct dmsg_error *error)
{
    struct dmsg_outbox *outbox = calloc(1, sizeof *outbox);
    if (outbox == NULL)
        return dmsg_fail_memory(error);
    outbox->context = context;
    outbox->watch_fd = -1;
    int code = open(&outbox->store, context, path, sender, error);
    if (code < 0) {
        free(outbox);
        return code;
    }
    outbox->sqlite = dmsg_sqlite_of(outbox->store);
    *out = outbox;
    return 0;
}

int dmsg_outbox_open(struct dmsg_outbox **out, const struct dmsg_context *context, const char *path,
    const struct dmsg_name *sender, struct dmsg_error *error)
{
    return open_outbox(out, dmsg_store_open_sqlite, context, path, sender, error);
}

int dmsg_outbox_show(struct dmsg_outbox **out, const struct dmsg_context *context, const char *path,
    const struct dmsg_name *sender, struct dmsg_error *error)
{
    return open_outbox(out, dmsg_store_show_sqlite, context, path, sender, error);
}

void dmsg_outbox_close(struct dmsg_outbox **outbox)
{
    if (outbox == NULL || *outbox == NULL)
        return;
    dmsg_outbox_rollback(*outbox);
    if ((*outbox)->watch_fd >= 0)
        close((*outbox)->watch_fd);
    dmsg_buffer_done(&(*outbox)->shown);
    dmsg_store_close(&(*outbox)->store);
    free(*outbox);
    *outbox = NULL;
}

/* ------------------------------------------------------------------------------ transactions */

int dmsg_outbox_begin(struct dmsg_outbox *outbox, bool durable, struct dmsg_error *error)
{
    if (outbox->in_transaction)
        return dmsg_fail(error, DMSG_E_USAGE, "a transaction of the outbox is open already");
    int code = dmsg_outbox_local(outbox, dmsg_sqlite_begin(outbox->sqlite, durable, error), error);
    outbox->in_transaction = code == 0;
    outbox->counting = (struct dmsg_outbox_counts){0};
    return code;
}

static int tally(
    struct dmsg_outbox *outbox, const char *word, int64_t more, struct dmsg_error *error)
{
    return more == 0 ? 0 : dmsg_sqlite_do(outbox->sqlite, DMSG_SQL_TALLY, error, "ti", word, more);
}

static int commit(struct dmsg_outbox *outbox, struct dmsg_error *error)
{
    int code = tally(outbox, DMSG_OUTBOX_PUBLISHED, outbox->counting.published, error);
    if (code == 0)
        code = tally(outbox, DMSG_OUTBOX_SEALED, outbox->counting.sealed, error);
    if (code == 0)
        code = tally(outbox, DMSG_OUTBOX_REFUSED, outbox->counting.refused, error);
    return code < 0 ? code : dmsg_sqlite_commit(outbox->sqlite, error);
}

int dmsg_outbox_commit(struct dmsg_outbox *outbox, struct dmsg_error *error)
{
    if (!outbox->in_transaction)
        return dmsg_fail(error, DMSG_E_USAGE, "no transaction of the outbox is open");
    int code = dmsg_outbox_local(outbox, commit(outbox, error), error);
    if (code < 0)
        dmsg_outbox_rollback(outbox);
    outbox->in_transaction = false;
    return code;
}

void dmsg_outbox_rollback(struct dmsg_outbox *outbox)
{
    if (outbox->in_transaction)
        dmsg_sqlite_rollback(outbox->sqlite);
    outbox->in_transaction = false;
}

static int check_transaction(const struct dmsg_outbox *outbox, struct dmsg_error *error)
{
    if (outbox->in_transaction)
        return 0;
    return dmsg_fail(error, DMSG_E_USAGE, "the outbox is changed within a transaction");
}

/* ------------------------------------------------------------------------------------- adding */

static int charge(struct dmsg_outbox *outbox, const char *whose, int64_t messages, int64_t octets,
    struct dmsg_error *error)
{
    int code =
        dmsg_sqlite_do(outbox->sqlite, DMSG_SQL_CHARGE, error, "tii", whose, messages, octets);
    return dmsg_outbox_local(outbox, code, error);
}

int dmsg_outbox_usage(struct dmsg_outbox *outbox, const char *whose, int64_t *messages,
    int64_t *octets, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = outbox->sqlite;
    *messages = *octets = 0;
    int code = dmsg_sqlite_run(sqlite, DMSG_SQL_USAGE, error, "t", whose);
    if (code != 1)
        return dmsg_outbox_local(outbox, code, error);
    *messages = dmsg_sqlite_number(sqlite, DMSG_SQL_USAGE, 0);
    *octets = dmsg_sqlite_number(sqlite, DMSG_SQL_USAGE, 1);
    dmsg_sqlite_end(sqlite, DMSG_SQL_USAGE);
    return 0;
}

static int check_put(
    struct dmsg_outbox *outbox, const struct dmsg_outgoing *message, struct dmsg_error *error)
{
    int64_t messages, octets, size = (int64_t)message->content.size;
    int code = check_transaction(outbox, error);
    if (code == 0 && message->expires_at <= dmsg_context_now(outbox->context))
        code = dmsg_fail(error, DMSG_E_USAGE, "a message that has expired is not queued");
    if (code == 0 && message->qos != 1 && message->qos != 2)
        code = dmsg_fail(error, DMSG_E_USAGE,
            "the outbox waits for the broker's acknowledgement: quality of service 1 or 2");
    if (code == 0)
        code = dmsg_outbox_usage(outbox, DMSG_OUTBOX_BUDGET, &messages, &octets, error);
    if (code < 0)
        return code;
    if (messages >= DMSG_OUTBOX_MESSAGES)
        return dmsg_fail(error, DMSG_E_QUOTA,
            "the outbox is full: %lld messages are in it; `danemsg outbox flush` publishes them, "
            "`danemsg outbox list` shows them",
            (long long)messages);
    if (octets + size > DMSG_OUTBOX_OCTETS)
        return dmsg_fail(error, DMSG_E_QUOTA,
            "the outbox is full: the %lld octets in it leave no room for %lld more; `danemsg "
            "outbox flush` publishes them",
            (long long)octets, (long long)size);
    return 0;
}

int dmsg_outbox_put(struct dmsg_outbox *outbox, const struct dmsg_outgoing *message, int64_t *row,
    struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = outbox->sqlite;
    int code = check_put(outbox, message, error);
    if (code < 0)
        return code;
    int64_t next = ++sqlite->meta.last_row;
    sqlite->meta_changed = true;
    code = dmsg_sqlite_do(sqlite, DMSG_SQL_OUTBOX_PUT, error, "itiiiiiiiittts", next,
        message->recipient.text, (int64_t)message->state, message->queued_at, message->expires_at,
        (int64_t)message->format, (int64_t)message->cbc, (int64_t)message->qos,
        (int64_t)message->retain, (int64_t)message->size_limit, message->id, message->content_type,
        message->topic, message->content);
    if (code < 0)
        return dmsg_outbox_local(outbox, code, error);
    code = charge(outbox, DMSG_OUTBOX_BUDGET, 1, (int64_t)message->content.size, error);
    if (code == 0)
        *row = next;
    return code;
}

/* ----------------------------------------------------------------------------------- changing */

int dmsg_outbox_seal(struct dmsg_outbox *outbox, int64_t row, const char *id,
    struct dmsg_span envelope, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = outbox->sqlite;
    int64_t size = 0;
    int code = check_transaction(outbox, error);
    if (code == 0)
        code = dmsg_sqlite_get(sqlite, DMSG_SQL_OUTBOX_SIZE, &size, error, "i", row);
    if (code != 1)
        return dmsg_outbox_local(outbox, code, error);
    code = dmsg_sqlite_do(sqlite, DMSG_SQL_OUTBOX_SEAL, error, "its", row, id, envelope);
    if (code < 0)
        return dmsg_outbox_local(outbox, code, error);
    outbox->counting.sealed++;
    return charge(outbox, DMSG_OUTBOX_BUDGET, 0, (int64_t)envelope.size - size, error);
}

struct reason {
    char text[DMSG_ERROR_TEXT + 32];
};

static struct reason reason_of(const struct dmsg_error *why)
{
    struct reason reason;
    snprintf(reason.text, sizeof reason.text, "%s: %s", dmsg_error_word(why->code), why->text);
    return reason;
}

int dmsg_outbox_give_up(
    struct dmsg_outbox *outbox, int64_t row, const struct dmsg_error *why, struct dmsg_error *error)
{
    struct reason reason = reason_of(why);
    int code = check_transaction(outbox, error);
    if (code == 0)
        code =
            dmsg_sqlite_do(outbox->sqlite, DMSG_SQL_OUTBOX_GIVE_UP, error, "it", row, reason.text);
    return dmsg_outbox_local(outbox, code, error);
}

int dmsg_outbox_fail(
    struct dmsg_outbox *outbox, int64_t row, const struct dmsg_error *why, struct dmsg_error *error)
{
    struct reason reason = reason_of(why);
    int code = check_transaction(outbox, error);
    if (code == 0)
        code = dmsg_sqlite_do(outbox->sqlite, DMSG_SQL_OUTBOX_FAIL, error, "itiii", row,
            reason.text, dmsg_context_now(outbox->context), (int64_t)DMSG_OUTBOX_PAUSE_FIRST,
            (int64_t)DMSG_OUTBOX_PAUSE_MOST);
    if (code == 0)
        outbox->counting.refused += sqlite3_changes(outbox->sqlite->db);
    return dmsg_outbox_local(outbox, code, error);
}

int dmsg_outbox_fail_open(struct dmsg_outbox *outbox, const struct dmsg_name *recipient,
    const struct dmsg_error *why, struct dmsg_error *error)
{
    struct reason reason = reason_of(why);
    int code = check_transaction(outbox, error);
    if (code == 0)
        code = dmsg_sqlite_do(outbox->sqlite, DMSG_SQL_OUTBOX_FAIL_OPEN, error, "ttiii",
            recipient->text, reason.text, dmsg_context_now(outbox->context),
            (int64_t)DMSG_OUTBOX_PAUSE_FIRST, (int64_t)DMSG_OUTBOX_PAUSE_MOST);
    return dmsg_outbox_local(outbox, code, error);
}

int dmsg_outbox_hurry(struct dmsg_outbox *outbox, struct dmsg_error *error)
{
    int code = check_transaction(outbox, error);
    if (code == 0)
        code = dmsg_sqlite_do(outbox->sqlite, DMSG_SQL_OUTBOX_HURRY, error, "");
    return dmsg_outbox_local(outbox, code, error);
}

int dmsg_outbox_remove(
    struct dmsg_outbox *outbox, int64_t row, enum dmsg_outgoing_end end, struct dmsg_error *error)
{
    int64_t size = 0;
    int code = check_transaction(outbox, error);
    if (code == 0)
        code = dmsg_sqlite_get(outbox->sqlite, DMSG_SQL_OUTBOX_REMOVE, &size, error, "i", row);
    if (code != 1)
        return dmsg_outbox_local(outbox, code, error);
    code = charge(outbox, DMSG_OUTBOX_BUDGET, -1, -size, error);
    outbox->counting.published += end == DMSG_OUTGOING_PUBLISHED;
    if (code == 0 && end == DMSG_OUTGOING_EXPIRED)
        code = charge(outbox, DMSG_OUTBOX_BUDGET_EXPIRED, 1, size, error);
    return code < 0 ? code : 1;
}

int dmsg_outbox_note_issued(
    struct dmsg_outbox *outbox, const char *kid, int64_t expires_at, struct dmsg_error *error)
{
    int code = check_transaction(outbox, error);
    if (code == 0)
        code = dmsg_sqlite_do(outbox->sqlite, DMSG_SQL_NOTE_ISSUED, error, "ti", kid, expires_at);
    return dmsg_outbox_local(outbox, code, error);
}

/* ----------------------------------------------------------------------------- others' changes */

/* What others commit is appended to the write-ahead log; ours stays open, and there, as long as
   this connection is. */
int dmsg_outbox_fd(struct dmsg_outbox *outbox)
{
    char *log = NULL;
    if (outbox->watch_fd >= 0 || asprintf(&log, "%s-wal", outbox->sqlite->path) < 0)
        return outbox->watch_fd;
    outbox->watch_fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (outbox->watch_fd >= 0 && inotify_add_watch(outbox->watch_fd, log, IN_MODIFY) < 0) {
        close(outbox->watch_fd);
        outbox->watch_fd = -1;
    }
    free(log);
    return outbox->watch_fd;
}

/* PRAGMA data_version changes with commits of other connections only. */
int dmsg_outbox_changed(struct dmsg_outbox *outbox, bool *changed, struct dmsg_error *error)
{
    char events[4096];
    int64_t version = 0;
    while (outbox->watch_fd >= 0 && read(outbox->watch_fd, events, sizeof events) > 0)
        ;
    int code = dmsg_sqlite_get(outbox->sqlite, DMSG_SQL_DATA_VERSION, &version, error, "");
    if (code < 0)
        return dmsg_outbox_local(outbox, code, error);
    *changed = version != outbox->version;
    outbox->version = version;
    return 0;
}
