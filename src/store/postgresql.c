#include "store/postgresql.h"
#include "base/fail.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------ transactions */

static int pg_begin(struct dmsg_store *store, bool durable, struct dmsg_error *error)
{
    return dmsg_pg_begin(dmsg_pg_of(store), durable, error);
}

static int pg_commit(struct dmsg_store *store, struct dmsg_error *error)
{
    return dmsg_pg_commit(dmsg_pg_of(store), error);
}

static void pg_rollback(struct dmsg_store *store)
{
    dmsg_pg_rollback(dmsg_pg_of(store));
}

static int pg_times(struct dmsg_store *store, int64_t *newest_issued, int64_t *purged_until,
    struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    struct dmsg_pq_rows *rows = NULL;
    int code = dmsg_pg_ready(pg, error);
    if (code == 0)
        code = dmsg_pq_run(pg->pq, DMSG_PG_TIMES, &rows, error, "i", pg->recipient);
    if (code > 0) {
        *newest_issued = dmsg_pq_rows_number(rows, 0, 0);
        *purged_until = dmsg_pq_rows_number(rows, 0, 1);
    }
    if (rows != NULL)
        dmsg_pq_rows_free(&rows);
    if (code == 0)
        return dmsg_fail(error, DMSG_E_INTERNAL, "PostgreSQL: the store has lost a row");
    return code < 0 ? code : 0;
}

/* --------------------------------------------------------------------------- kept messages */

static int pg_keep(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    const struct dmsg_message *message = entry->message;
    struct dmsg_pg_fact *sender = dmsg_pg_sender_fact(pg, &message->sender, entry->zone);
    if (sender == NULL)
        return dmsg_fail_memory(error);
    sender->fresh |= !sender->verified;
    sender->verified = true;
    if (message->format == DMSG_FORMAT_V1 && !sender->sent_v1)
        sender->sent_v1 = sender->first_v1 = true;
    int64_t octets = (int64_t)(message->payload.size + entry->topic.size) + DMSG_RETAIN_OVERHEAD;
    pg->octets += octets;
    if (message->issued_at > pg->newest_issued)
        pg->newest_issued = message->issued_at;
    return dmsg_pq_queue(pg->pq, DMSG_PG_KEEP, NULL, NULL, error, "iiitttiiitssii", pg->recipient,
        pg->me, (int64_t)message->format, message->sender.text, message->id, message->kid,
        message->issued_at, message->expires_at, entry->received_at, message->content_type,
        entry->topic, dmsg_buffer_span(&message->payload), (int64_t)message->stale, octets);
}

/* Of the rows that were read: text and numbers are copied, topic and content borrowed. */
static void show(const struct dmsg_pq_rows *rows, int at, struct dmsg_record *out)
{
    *out = (struct dmsg_record){.row = dmsg_pq_rows_number(rows, at, 0),
        .format =
            dmsg_pq_rows_number(rows, at, 1) == DMSG_FORMAT_POC ? DMSG_FORMAT_POC : DMSG_FORMAT_V1,
        .issued_at = dmsg_pq_rows_number(rows, at, 5),
        .expires_at = dmsg_pq_rows_number(rows, at, 6),
        .received_at = dmsg_pq_rows_number(rows, at, 7),
        .topic = dmsg_pq_rows_span(rows, at, 9),
        .content = dmsg_pq_rows_span(rows, at, 10),
        .delivery = (enum dmsg_delivery)dmsg_pq_rows_number(rows, at, 11),
        .failures = dmsg_pq_rows_number(rows, at, 12),
        .stale = dmsg_pq_rows_number(rows, at, 13) != 0};
    strncpy(out->sender.text, dmsg_pq_rows_text(rows, at, 2), sizeof out->sender.text - 1);
    out->sender.size = (uint8_t)strlen(out->sender.text);
    strncpy(out->id, dmsg_pq_rows_text(rows, at, 3), sizeof out->id - 1);
    strncpy(out->kid, dmsg_pq_rows_text(rows, at, 4), sizeof out->kid - 1);
    strncpy(out->content_type, dmsg_pq_rows_text(rows, at, 8), sizeof out->content_type - 1);
}

static bool is_ahead(const struct dmsg_postgresql *pg, enum dmsg_pg_statement which,
    const char *sender, int64_t after)
{
    return pg->ahead.rows != NULL && pg->ahead.which == which && pg->ahead.last == after &&
           strcmp(pg->ahead.sender, sender) == 0 &&
           pg->ahead.at < dmsg_pq_rows_count(pg->ahead.rows);
}

static int read_ahead(struct dmsg_postgresql *pg, enum dmsg_pg_statement which, const char *sender,
    int64_t after, struct dmsg_error *error)
{
    dmsg_pg_forget_ahead(pg);
    int64_t whose = which == DMSG_PG_KEPT ? pg->recipient : pg->me;
    int code = sender[0] != '\0'
                   ? dmsg_pq_run(pg->pq, which, &pg->ahead.rows, error, "iit", whose, after, sender)
                   : dmsg_pq_run(pg->pq, which, &pg->ahead.rows, error, "ii", whose, after);
    pg->ahead.which = which;
    pg->ahead.at = 0;
    snprintf(pg->ahead.sender, sizeof pg->ahead.sender, "%s", sender);
    return code;
}

int dmsg_pg_show(struct dmsg_postgresql *pg, enum dmsg_pg_statement which,
    const struct dmsg_name *sender, int64_t after, struct dmsg_record *out,
    struct dmsg_error *error)
{
    const char *whose = sender != NULL ? sender->text : "";
    int code = dmsg_pg_ready(pg, error);
    if (code == 0 && !is_ahead(pg, which, whose, after))
        code = read_ahead(pg, which, whose, after, error);
    if (code < 0 || pg->ahead.at == dmsg_pq_rows_count(pg->ahead.rows))
        return code < 0 ? code : 0;
    show(pg->ahead.rows, pg->ahead.at++, out);
    pg->ahead.last = out->row;
    return 1;
}

static int pg_next(
    struct dmsg_store *store, int64_t after, struct dmsg_record *out, struct dmsg_error *error)
{
    return dmsg_pg_show(dmsg_pg_of(store), DMSG_PG_NEXT, NULL, after, out, error);
}

static int pg_kept(
    struct dmsg_store *store, int64_t after, struct dmsg_record *out, struct dmsg_error *error)
{
    return dmsg_pg_show(dmsg_pg_of(store), DMSG_PG_KEPT, NULL, after, out, error);
}

static int no_such_delivery(struct dmsg_error *error)
{
    return dmsg_fail(error, DMSG_E_USAGE, "no message with this row waits for delivery");
}

static int pg_delivered(struct dmsg_store *store, int64_t row, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    int code = dmsg_pq_run(pg->pq, DMSG_PG_DELIVERED, NULL, error, "ii", pg->recipient, row);
    return code < 0 ? code : code == 0 ? no_such_delivery(error) : 0;
}

static int pg_failed(struct dmsg_store *store, int64_t row, int64_t most, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    int64_t aside = 0;
    dmsg_pg_forget_ahead(pg);
    int code =
        dmsg_pq_number(pg->pq, DMSG_PG_FAILED, &aside, error, "iii", pg->recipient, row, most);
    return code < 0 ? code : code == 0 ? no_such_delivery(error) : aside != 0;
}

static int pg_depths(
    struct dmsg_store *store, struct dmsg_store_depths *out, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    struct dmsg_pq_rows *rows = NULL;
    int code = dmsg_pg_ready(pg, error);
    if (code == 0)
        code = dmsg_pq_run(pg->pq, DMSG_PG_DEPTHS, &rows, error, "i", pg->recipient);
    if (code < 0)
        return code;
    *out = (struct dmsg_store_depths){.waiting = dmsg_pq_rows_number(rows, 0, 0),
        .undelivered = dmsg_pq_rows_number(rows, 0, 1),
        .failed = dmsg_pq_rows_number(rows, 0, 2),
        .delivered = dmsg_pq_rows_number(rows, 0, 3)};
    dmsg_pq_rows_free(&rows);
    return 0;
}

static int pg_pending(struct dmsg_store *store, int64_t *octets, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    int code = dmsg_pg_ready(pg, error);
    if (code == 0)
        code = dmsg_pq_number(pg->pq, DMSG_PG_PENDING, octets, error, "i", pg->me);
    return code < 0 ? code : 0;
}

/* ------------------------------------------------------------------------------------ counts */

static int pg_tally(
    struct dmsg_store *store, const char *word, int64_t more, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    return dmsg_pq_queue(
        pg->pq, DMSG_PG_TALLY, NULL, NULL, error, "iti", pg->recipient, word, more);
}

static int pg_counts(
    struct dmsg_store *store, struct dmsg_store_counts *out, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    struct dmsg_pq_rows *rows = NULL;
    int code = dmsg_pg_ready(pg, error);
    if (code == 0)
        code = dmsg_pq_run(pg->pq, DMSG_PG_COUNTS, &rows, error, "i", pg->recipient);
    if (code < 0)
        return code;
    for (int i = 0; i < dmsg_pq_rows_count(rows); i++)
        dmsg_store_take_count(out, dmsg_pq_rows_text(rows, i, 0), dmsg_pq_rows_number(rows, i, 1));
    dmsg_pq_rows_free(&rows);
    return 0;
}

/* ------------------------------------------------------------------------------------- notes */

static int pg_note_issued(
    struct dmsg_store *store, const char *kid, int64_t expires_at, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    return dmsg_pq_queue(
        pg->pq, DMSG_PG_NOTE_ISSUED, NULL, NULL, error, "iti", pg->recipient, kid, expires_at);
}

static int pg_issued_until(
    struct dmsg_store *store, const char *kid, int64_t *until, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    int code = dmsg_pg_ready(pg, error);
    return code < 0 ? code
                    : dmsg_pq_number(
                          pg->pq, DMSG_PG_ISSUED_UNTIL, until, error, "it", pg->recipient, kid);
}

/* -------------------------------------------------------------------------- opening, closing */

static void pg_close(struct dmsg_store *store)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    dmsg_pg_leave(pg);
    dmsg_pg_forget_ahead(pg);
    dmsg_pq_free(&pg->pq);
    free(pg->member);
    free(pg);
}

static const struct dmsg_store_operations pg_operations = {
    .close = pg_close,
    .begin = pg_begin,
    .commit = pg_commit,
    .rollback = pg_rollback,
    .sender = dmsg_pg_sender,
    .expect = dmsg_pg_expect,
    .remember = dmsg_pg_remember,
    .keep = pg_keep,
    .next = pg_next,
    .delivered = pg_delivered,
    .failed = pg_failed,
    .kept = pg_kept,
    .retain = dmsg_pg_retain,
    .waits = dmsg_pg_waits,
    .wait = dmsg_pg_wait,
    .usage = dmsg_pg_usage,
    .waiting = dmsg_pg_waiting,
    .waiting_last = dmsg_pg_waiting_last,
    .waited = dmsg_pg_waited,
    .deadline = dmsg_pg_deadline,
    .depths = pg_depths,
    .pending = pg_pending,
    .tally = pg_tally,
    .counts = pg_counts,
    .take_over = dmsg_pg_take_over,
    .note_issued = pg_note_issued,
    .issued_until = pg_issued_until,
    .times = pg_times,
    .purge = dmsg_pg_purge,
};

static int prepare(
    struct dmsg_postgresql *pg, const char *url, const char *member, struct dmsg_error *error)
{
    const struct dmsg_pq_config config = {
        .url = url, .read_only = pg->show, .texts = dmsg_pg_texts, .count = DMSG_PG_COUNT};
    if (member != NULL && (pg->member = strdup(member)) == NULL)
        return dmsg_fail_memory(error);
    return dmsg_pq_new(&pg->pq, &config, error);
}

static int open_database(struct dmsg_store **out, const struct dmsg_context *context,
    const char *url, const struct dmsg_name *recipient, const char *member, bool show_only,
    struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = calloc(1, sizeof *pg);
    if (pg == NULL)
        return dmsg_fail_memory(error);
    pg->store = (struct dmsg_store){.operations = &pg_operations,
        .context = context,
        .recipient = *recipient,
        .retain_time = DMSG_RETAIN_TIME,
        .retain_octets = DMSG_RETAIN_OCTETS};
    pg->show = show_only;
    pg->zone_ids_most = DMSG_ZONE_IDS;
    pg->ids_most = DMSG_IDS;
    pg->zone_senders_most = DMSG_ZONE_SENDERS;
    int code = prepare(pg, url, member, error);
    if (code == 0 && (code = dmsg_pg_ready(pg, error)) < 0)
        code = dmsg_fail_in(error, DMSG_E_LOCAL, "opening the shared store");
    struct dmsg_store *store = &pg->store;
    if (code < 0)
        pg_close(store);
    else
        *out = store;
    return code;
}

int dmsg_store_open_postgresql(struct dmsg_store **out, const struct dmsg_context *context,
    const char *url, const struct dmsg_name *recipient, const char *member,
    struct dmsg_error *error)
{
    return open_database(out, context, url, recipient, member, false, error);
}

int dmsg_store_show_postgresql(struct dmsg_store **out, const struct dmsg_context *context,
    const char *url, const struct dmsg_name *recipient, struct dmsg_error *error)
{
    return open_database(out, context, url, recipient, NULL, true, error);
}
