#include "base/fail.h"
#include "store/outbox.h"

/* ------------------------------------------------------------------------------------ reading */

/* A column's octets, and a NUL behind them, at the end of what is shown: where they are. */
static size_t copy(struct dmsg_outbox *outbox, enum dmsg_sqlite_statement which, int column)
{
    sqlite3_stmt *statement = outbox->sqlite->statements[which];
    const void *data = sqlite3_column_blob(statement, column);
    size_t at = outbox->shown.size;
    dmsg_buffer_put(&outbox->shown, data, (size_t)sqlite3_column_bytes(statement, column));
    dmsg_buffer_put_byte(&outbox->shown, 0);
    return at;
}

/* The statement's row, in the order of OUTGOING (sqlite_sql.c), and the statement's end. */
static int show(struct dmsg_outbox *outbox, enum dmsg_sqlite_statement which,
    struct dmsg_outgoing *out, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = outbox->sqlite;
    struct dmsg_outgoing message = {.row = dmsg_sqlite_number(sqlite, which, 0),
        .state = (enum dmsg_outgoing_state)dmsg_sqlite_number(sqlite, which, 2),
        .queued_at = dmsg_sqlite_number(sqlite, which, 3),
        .expires_at = dmsg_sqlite_number(sqlite, which, 4),
        .due_at = dmsg_sqlite_number(sqlite, which, 5),
        .attempts = dmsg_sqlite_number(sqlite, which, 6),
        .format = (enum dmsg_format)dmsg_sqlite_number(sqlite, which, 7),
        .cbc = dmsg_sqlite_number(sqlite, which, 8) != 0,
        .qos = (int)dmsg_sqlite_number(sqlite, which, 9),
        .retain = dmsg_sqlite_number(sqlite, which, 10) != 0,
        .size_limit = (size_t)dmsg_sqlite_number(sqlite, which, 11)};
    size_t at[5];
    dmsg_sqlite_read_name(&message.recipient, dmsg_sqlite_text(sqlite, which, 1));
    dmsg_buffer_reset(&outbox->shown);
    for (int i = 0; i < 5; i++)
        at[i] = copy(outbox, which, 12 + i);
    bool short_of_memory = outbox->shown.failed || sqlite3_errcode(sqlite->db) == SQLITE_NOMEM;
    dmsg_sqlite_end(sqlite, which);
    if (short_of_memory)
        return dmsg_fail_memory(error);
    const uint8_t *shown = outbox->shown.data;
    message.reason = (const char *)shown + at[0];
    message.id = (const char *)shown + at[1];
    message.content_type = (const char *)shown + at[2];
    message.topic = (const char *)shown + at[3];
    message.content = (struct dmsg_span){shown + at[4], outbox->shown.size - at[4] - 1};
    *out = message;
    return 1;
}

int dmsg_outbox_next(
    struct dmsg_outbox *outbox, int64_t after, struct dmsg_outgoing *out, struct dmsg_error *error)
{
    int64_t now = dmsg_context_now(outbox->context);
    int code = dmsg_sqlite_run(outbox->sqlite, DMSG_SQL_OUTBOX_NEXT, error, "iii", after, now,
        (int64_t)DMSG_OUTBOX_PAUSE_MOST);
    return code == 1 ? show(outbox, DMSG_SQL_OUTBOX_NEXT, out, error)
                     : dmsg_outbox_local(outbox, code, error);
}

int dmsg_outbox_next_untried(
    struct dmsg_outbox *outbox, int64_t after, struct dmsg_outgoing *out, struct dmsg_error *error)
{
    int64_t now = dmsg_context_now(outbox->context);
    int code =
        dmsg_sqlite_run(outbox->sqlite, DMSG_SQL_OUTBOX_NEXT_UNTRIED, error, "ii", after, now);
    return code == 1 ? show(outbox, DMSG_SQL_OUTBOX_NEXT_UNTRIED, out, error)
                     : dmsg_outbox_local(outbox, code, error);
}

int dmsg_outbox_next_failed(
    struct dmsg_outbox *outbox, struct dmsg_outgoing *out, struct dmsg_error *error)
{
    int64_t now = dmsg_context_now(outbox->context);
    int code = dmsg_sqlite_run(outbox->sqlite, DMSG_SQL_OUTBOX_NEXT_FAILED, error, "ii", now,
        (int64_t)DMSG_OUTBOX_PAUSE_MOST);
    return code == 1 ? show(outbox, DMSG_SQL_OUTBOX_NEXT_FAILED, out, error)
                     : dmsg_outbox_local(outbox, code, error);
}

int dmsg_outbox_open_recipient(struct dmsg_outbox *outbox, const struct dmsg_name *after,
    struct dmsg_name *out, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = outbox->sqlite;
    int64_t now = dmsg_context_now(outbox->context);
    int code = dmsg_sqlite_run(sqlite, DMSG_SQL_OUTBOX_OPEN, error, "tii",
        after != NULL ? after->text : "", now, (int64_t)DMSG_OUTBOX_PAUSE_MOST);
    if (code != 1)
        return dmsg_outbox_local(outbox, code, error);
    dmsg_sqlite_read_name(out, dmsg_sqlite_text(sqlite, DMSG_SQL_OUTBOX_OPEN, 0));
    dmsg_sqlite_end(sqlite, DMSG_SQL_OUTBOX_OPEN);
    return 1;
}

int dmsg_outbox_open_next(struct dmsg_outbox *outbox, const struct dmsg_name *recipient,
    int64_t after, struct dmsg_outgoing *out, struct dmsg_error *error)
{
    int code = dmsg_sqlite_run(
        outbox->sqlite, DMSG_SQL_OUTBOX_OPEN_NEXT, error, "ti", recipient->text, after);
    return code == 1 ? show(outbox, DMSG_SQL_OUTBOX_OPEN_NEXT, out, error)
                     : dmsg_outbox_local(outbox, code, error);
}

int dmsg_outbox_expired(
    struct dmsg_outbox *outbox, int64_t skip, struct dmsg_outgoing *out, struct dmsg_error *error)
{
    int64_t now = dmsg_context_now(outbox->context);
    if (!dmsg_context_synchronised(outbox->context))
        return 0;
    int code = dmsg_sqlite_run(outbox->sqlite, DMSG_SQL_OUTBOX_EXPIRED, error, "ii", now, skip);
    return code == 1 ? show(outbox, DMSG_SQL_OUTBOX_EXPIRED, out, error)
                     : dmsg_outbox_local(outbox, code, error);
}

int dmsg_outbox_list(
    struct dmsg_outbox *outbox, int64_t after, struct dmsg_outgoing *out, struct dmsg_error *error)
{
    int code = dmsg_sqlite_run(outbox->sqlite, DMSG_SQL_OUTBOX_LIST, error, "i", after);
    return code == 1 ? show(outbox, DMSG_SQL_OUTBOX_LIST, out, error)
                     : dmsg_outbox_local(outbox, code, error);
}

/* ------------------------------------------------------------------------------- counts, times */

int dmsg_outbox_depths(
    struct dmsg_outbox *outbox, struct dmsg_outbox_depths *out, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = outbox->sqlite;
    struct dmsg_outbox_depths depths;
    int64_t octets;
    int code =
        dmsg_outbox_usage(outbox, DMSG_OUTBOX_BUDGET_EXPIRED, &depths.expired, &octets, error);
    if (code == 0)
        code = dmsg_outbox_local(
            outbox, dmsg_sqlite_run(sqlite, DMSG_SQL_OUTBOX_DEPTHS, error, ""), error);
    if (code != 1)
        return code;
    depths.messages = dmsg_sqlite_number(sqlite, DMSG_SQL_OUTBOX_DEPTHS, 0);
    depths.octets = dmsg_sqlite_number(sqlite, DMSG_SQL_OUTBOX_DEPTHS, 1);
    depths.open = dmsg_sqlite_number(sqlite, DMSG_SQL_OUTBOX_DEPTHS, 2);
    depths.stuck = dmsg_sqlite_number(sqlite, DMSG_SQL_OUTBOX_DEPTHS, 3);
    depths.failed_once = dmsg_sqlite_number(sqlite, DMSG_SQL_OUTBOX_DEPTHS, 4);
    dmsg_sqlite_end(sqlite, DMSG_SQL_OUTBOX_DEPTHS);
    *out = depths;
    return 0;
}

int dmsg_outbox_count(struct dmsg_outbox *outbox, int64_t *out, struct dmsg_error *error)
{
    int64_t octets;
    return dmsg_outbox_usage(outbox, DMSG_OUTBOX_BUDGET, out, &octets, error);
}

int dmsg_outbox_counts(
    struct dmsg_outbox *outbox, struct dmsg_outbox_counts *out, struct dmsg_error *error)
{
    struct dmsg_outbox_counts counts = {0};
    int64_t octets;
    const struct {
        const char *word;
        int64_t *count;
    } words[] = {{DMSG_OUTBOX_PUBLISHED, &counts.published}, {DMSG_OUTBOX_SEALED, &counts.sealed},
        {DMSG_OUTBOX_REFUSED, &counts.refused}};
    int code =
        dmsg_outbox_usage(outbox, DMSG_OUTBOX_BUDGET_EXPIRED, &counts.expired, &octets, error);
    for (size_t i = 0; code >= 0 && i < sizeof words / sizeof words[0]; i++)
        code = dmsg_sqlite_get(
            outbox->sqlite, DMSG_SQL_OUTBOX_TALLY, words[i].count, error, "t", words[i].word);
    if (code < 0)
        return dmsg_outbox_local(outbox, code, error);
    *out = counts;
    return 0;
}

int dmsg_outbox_times(
    struct dmsg_outbox *outbox, int64_t *due, int64_t *expires, struct dmsg_error *error)
{
    int64_t first_due = INT64_MAX, first_expires = INT64_MAX;
    int code = dmsg_sqlite_get(outbox->sqlite, DMSG_SQL_OUTBOX_DUE, &first_due, error, "i",
        dmsg_context_now(outbox->context));
    if (code >= 0)
        code = dmsg_sqlite_get(outbox->sqlite, DMSG_SQL_OUTBOX_EXPIRES, &first_expires, error, "");
    if (code < 0)
        return dmsg_outbox_local(outbox, code, error);
    *due = first_due;
    *expires = first_expires;
    return 0;
}
