#include "store/sqlite.h"
#include "base/fail.h"

#include <stdlib.h>
#include <string.h>

/* ------------------------------------------------------------------------------ transactions */

static int sqlite_begin(struct dmsg_store *store, bool durable, struct dmsg_error *error)
{
    return dmsg_sqlite_begin(dmsg_sqlite_of(store), durable, error);
}

static int sqlite_commit(struct dmsg_store *store, struct dmsg_error *error)
{
    return dmsg_sqlite_commit(dmsg_sqlite_of(store), error);
}

static void sqlite_rollback(struct dmsg_store *store)
{
    dmsg_sqlite_rollback(dmsg_sqlite_of(store));
}

static int sqlite_times(struct dmsg_store *store, int64_t *newest_issued, int64_t *purged_until,
    struct dmsg_error *error)
{
    struct dmsg_sqlite_meta meta;
    int code = dmsg_sqlite_know_meta(dmsg_sqlite_of(store), &meta, error);
    if (code < 0)
        return code;
    *newest_issued = meta.newest_issued;
    *purged_until = meta.purged_until;
    return 0;
}

/* --------------------------------------------------------------------------- senders and ids */

/* Reads a sender into sqlite->sender: 1, or 0 when it is not known. In a transaction nobody else
   can change it, so that a batch of one sender's messages looks for it once. */
static int find_sender(
    struct dmsg_sqlite *sqlite, const struct dmsg_name *name, struct dmsg_error *error)
{
    if (sqlite->store.in_transaction && dmsg_name_equal(&sqlite->sender.name, name))
        return 1;
    sqlite->sender.name.size = 0;
    int code = dmsg_sqlite_run(sqlite, DMSG_SQL_FIND_SENDER, error, "t", name->text);
    if (code != 1)
        return code;
    sqlite->sender.name = *name;
    sqlite->sender.row = dmsg_sqlite_number(sqlite, DMSG_SQL_FIND_SENDER, 0);
    sqlite->sender.zone = dmsg_sqlite_number(sqlite, DMSG_SQL_FIND_SENDER, 1);
    sqlite->sender.sent_v1 = dmsg_sqlite_number(sqlite, DMSG_SQL_FIND_SENDER, 2) != 0;
    sqlite->sender.purged_until = dmsg_sqlite_number(sqlite, DMSG_SQL_FIND_SENDER, 3);
    dmsg_sqlite_end(sqlite, DMSG_SQL_FIND_SENDER);
    return 1;
}

/* 1, or 0 when there is none. */
static int find_zone(struct dmsg_sqlite *sqlite, struct dmsg_span zone, int64_t *row,
    int64_t *purged_until, struct dmsg_error *error)
{
    int code = dmsg_sqlite_run(sqlite, DMSG_SQL_FIND_ZONE, error, "t", dmsg_sqlite_zone_text(zone));
    if (code != 1)
        return code;
    *row = dmsg_sqlite_number(sqlite, DMSG_SQL_FIND_ZONE, 0);
    *purged_until = dmsg_sqlite_number(sqlite, DMSG_SQL_FIND_ZONE, 1);
    dmsg_sqlite_end(sqlite, DMSG_SQL_FIND_ZONE);
    return 1;
}

static int add_sender(
    struct dmsg_sqlite *sqlite, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    const struct dmsg_name *name = &entry->message->sender;
    int64_t zone = 0, purged_until = 0;
    int code = find_zone(sqlite, entry->zone, &zone, &purged_until, error);
    if (code == 0) {
        code = dmsg_sqlite_do(
            sqlite, DMSG_SQL_ADD_ZONE, error, "t", dmsg_sqlite_zone_text(entry->zone));
        zone = sqlite3_last_insert_rowid(sqlite->db);
    }
    if (code >= 0)
        code = dmsg_sqlite_do(sqlite, DMSG_SQL_ADD_SENDER, error, "ti", name->text, zone);
    if (code < 0)
        return code;
    sqlite->sender.name = *name;
    sqlite->sender.row = sqlite3_last_insert_rowid(sqlite->db);
    sqlite->sender.zone = zone;
    sqlite->sender.sent_v1 = false;
    sqlite->sender.purged_until = purged_until;
    return dmsg_sqlite_do(sqlite, DMSG_SQL_COUNT_SENDER, error, "ii", zone, (int64_t)1);
}

static int sqlite_sender(struct dmsg_store *store, const struct dmsg_name *name,
    struct dmsg_span zone, struct dmsg_store_sender *out, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    struct dmsg_sqlite_meta meta;
    int64_t row = 0, purged_until = 0;
    int code = dmsg_sqlite_know_meta(sqlite, &meta, error);
    int found = code < 0 ? code : find_sender(sqlite, name, error);
    if (found == 1)
        purged_until = sqlite->sender.purged_until;
    else if (found == 0)
        code = find_zone(sqlite, zone, &row, &purged_until, error);
    if (found < 0 || code < 0)
        return found < 0 ? found : code;
    *out = (struct dmsg_store_sender){.verified = found == 1,
        .sent_v1 = found == 1 && sqlite->sender.sent_v1,
        .purged_until = purged_until > meta.purged_until ? purged_until : meta.purged_until};
    return 0;
}

/* Ids are counted when the zone changes, or at the end of the transaction. */
static int count_id(struct dmsg_sqlite *sqlite, int64_t zone, struct dmsg_error *error)
{
    if (sqlite->ids != 0 && sqlite->counted_zone != zone) {
        int code = dmsg_sqlite_do(
            sqlite, DMSG_SQL_COUNT_IDS, error, "ii", sqlite->counted_zone, sqlite->ids);
        if (code < 0)
            return code;
        sqlite->ids = 0;
    }
    sqlite->counted_zone = zone;
    sqlite->ids++;
    return 1;
}

static int sqlite_remember(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    const struct dmsg_message *message = entry->message;
    int code = find_sender(sqlite, &message->sender, error);
    if (code == 0)
        code = add_sender(sqlite, entry, error);
    if (code < 0)
        return code;
    code = dmsg_sqlite_do(sqlite, DMSG_SQL_REMEMBER, error, "itiii", sqlite->sender.row,
        message->id, sqlite->sender.zone, (int64_t)message->format, entry->until);
    if (code < 0)
        return code;
    return sqlite3_changes(sqlite->db) == 0 ? 0 : count_id(sqlite, sqlite->sender.zone, error);
}

/* --------------------------------------------------------------------------- kept messages */

static int sqlite_keep(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    struct dmsg_sqlite_meta *meta = &sqlite->meta;
    const struct dmsg_message *message = entry->message;
    int64_t octets = (int64_t)(message->payload.size + entry->topic.size) + DMSG_RETAIN_OVERHEAD;
    int code = dmsg_sqlite_do(sqlite, DMSG_SQL_KEEP, error, "iitttiiitssi", ++meta->last_row,
        (int64_t)message->format, message->sender.text, message->id, message->kid,
        message->issued_at, message->expires_at, entry->received_at, message->content_type,
        entry->topic, dmsg_buffer_span(&message->payload), (int64_t)message->stale);
    if (code == 0)
        code = dmsg_sqlite_do(sqlite, DMSG_SQL_PEND, error, "ii", meta->last_row, octets);
    if (code == 0 && message->format == DMSG_FORMAT_V1 && !sqlite->sender.sent_v1) {
        code = dmsg_sqlite_do(sqlite, DMSG_SQL_SENT_V1, error, "i", sqlite->sender.row);
        sqlite->sender.sent_v1 = true;
    }
    meta->kept++;
    meta->octets += octets;
    if (message->issued_at > meta->newest_issued)
        meta->newest_issued = message->issued_at;
    sqlite->meta_changed = true;
    return code;
}

static int sqlite_next(
    struct dmsg_store *store, int64_t after, struct dmsg_record *out, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    struct dmsg_sqlite_marks *marks = &sqlite->marks;
    int64_t last = store->in_transaction ? sqlite->committed_row : INT64_MAX;
    int code = dmsg_sqlite_marks_open(sqlite, error);
    if (code < 0)
        return code;
    marks->offered_row = 0;
    while ((code = dmsg_sqlite_run(sqlite, DMSG_SQL_NEXT, error, "ii", after, last)) == 1) {
        after = dmsg_sqlite_number(sqlite, DMSG_SQL_NEXT, 0);
        if (!dmsg_sqlite_marked(sqlite, after))
            break;
        dmsg_sqlite_end(sqlite, DMSG_SQL_NEXT);
    }
    if (code == 0)
        return dmsg_sqlite_marks_settle(sqlite, error);
    if (code == 1)
        code = dmsg_sqlite_show(sqlite, DMSG_SQL_NEXT, out, error);
    if (code == 1) {
        marks->offered_row = out->row;
        memcpy(marks->offered_id, out->id, sizeof marks->offered_id);
    }
    return code;
}

static int sqlite_kept(
    struct dmsg_store *store, int64_t after, struct dmsg_record *out, struct dmsg_error *error)
{
    int code = dmsg_sqlite_marks_settle(dmsg_sqlite_of(store), error);
    return code < 0 ? code : dmsg_sqlite_show_after(store, DMSG_SQL_KEPT, after, out, error);
}

static bool sqlite_can_note(const struct dmsg_store *store)
{
    return dmsg_sqlite_marks_room((const struct dmsg_sqlite *)store);
}

static bool sqlite_note(struct dmsg_store *store, int64_t row)
{
    return dmsg_sqlite_mark(dmsg_sqlite_of(store), row);
}

static int no_such_delivery(struct dmsg_error *error)
{
    return dmsg_fail(error, DMSG_E_USAGE, "no message with this row waits for delivery");
}

static int sqlite_delivered(struct dmsg_store *store, int64_t row, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    int code = dmsg_sqlite_do(sqlite, DMSG_SQL_DELIVERED, error, "i", row);
    return code == 0 && sqlite3_changes(sqlite->db) == 0 ? no_such_delivery(error) : code;
}

static int sqlite_failed(
    struct dmsg_store *store, int64_t row, int64_t most, struct dmsg_error *error)
{
    int64_t aside = 0;
    int code =
        dmsg_sqlite_get(dmsg_sqlite_of(store), DMSG_SQL_FAILED, &aside, error, "ii", row, most);
    if (code < 0)
        return code;
    return code == 0 ? no_such_delivery(error) : aside != 0;
}

/* ----------------------------------------------------------------------------- notes */

static int sqlite_note_issued(
    struct dmsg_store *store, const char *kid, int64_t expires_at, struct dmsg_error *error)
{
    return dmsg_sqlite_do(
        dmsg_sqlite_of(store), DMSG_SQL_NOTE_ISSUED, error, "ti", kid, expires_at);
}

static int sqlite_depths(
    struct dmsg_store *store, struct dmsg_store_depths *out, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    int code = dmsg_sqlite_marks_settle(sqlite, error);
    if (code == 0)
        code = dmsg_sqlite_run(sqlite, DMSG_SQL_DEPTHS, error, "");
    if (code != 1)
        return code < 0 ? code : dmsg_fail(error, DMSG_E_INTERNAL, "counting messages");
    out->waiting = dmsg_sqlite_number(sqlite, DMSG_SQL_DEPTHS, 0);
    out->undelivered = dmsg_sqlite_number(sqlite, DMSG_SQL_DEPTHS, 1);
    out->failed = dmsg_sqlite_number(sqlite, DMSG_SQL_DEPTHS, 2);
    out->delivered = dmsg_sqlite_number(sqlite, DMSG_SQL_DEPTHS, 3);
    dmsg_sqlite_end(sqlite, DMSG_SQL_DEPTHS);
    return 0;
}

static int sqlite_pending(struct dmsg_store *store, int64_t *octets, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    int code = dmsg_sqlite_marks_settle(sqlite, error);
    if (code == 0)
        code = dmsg_sqlite_get(sqlite, DMSG_SQL_PENDING, octets, error, "");
    return code < 0 ? code : 0;
}

static int sqlite_tally(
    struct dmsg_store *store, const char *word, int64_t more, struct dmsg_error *error)
{
    return dmsg_sqlite_do(dmsg_sqlite_of(store), DMSG_SQL_TALLY, error, "ti", word, more);
}

static int sqlite_counts(
    struct dmsg_store *store, struct dmsg_store_counts *out, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    int code = dmsg_sqlite_marks_settle(sqlite, error);
    if (code == 0)
        code = dmsg_sqlite_run(sqlite, DMSG_SQL_COUNTS, error, "");
    while (code == 1) {
        dmsg_store_take_count(out, dmsg_sqlite_text(sqlite, DMSG_SQL_COUNTS, 0),
            dmsg_sqlite_number(sqlite, DMSG_SQL_COUNTS, 1));
        code = dmsg_sqlite_step(sqlite, DMSG_SQL_COUNTS, error);
    }
    return code;
}

static int sqlite_issued_until(
    struct dmsg_store *store, const char *kid, int64_t *until, struct dmsg_error *error)
{
    return dmsg_sqlite_get(dmsg_sqlite_of(store), DMSG_SQL_ISSUED_UNTIL, until, error, "t", kid);
}

/* -------------------------------------------------------------------------- opening, closing */

static void sqlite_close(struct dmsg_store *store)
{
    dmsg_sqlite_close(dmsg_sqlite_of(store));
}

static const struct dmsg_store_operations sqlite_operations = {
    .close = sqlite_close,
    .begin = sqlite_begin,
    .commit = sqlite_commit,
    .rollback = sqlite_rollback,
    .sender = sqlite_sender,
    .remember = sqlite_remember,
    .keep = sqlite_keep,
    .next = sqlite_next,
    .can_note = sqlite_can_note,
    .note = sqlite_note,
    .delivered = sqlite_delivered,
    .failed = sqlite_failed,
    .kept = sqlite_kept,
    .retain = dmsg_sqlite_retain,
    .waits = dmsg_sqlite_waits,
    .wait = dmsg_sqlite_wait,
    .usage = dmsg_sqlite_usage,
    .waiting = dmsg_sqlite_waiting,
    .waiting_last = dmsg_sqlite_waiting_last,
    .waited = dmsg_sqlite_waited,
    .deadline = dmsg_sqlite_deadline,
    .note_issued = sqlite_note_issued,
    .depths = sqlite_depths,
    .pending = sqlite_pending,
    .tally = sqlite_tally,
    .counts = sqlite_counts,
    .issued_until = sqlite_issued_until,
    .times = sqlite_times,
    .purge = dmsg_sqlite_purge,
};

static int open_database(struct dmsg_store **out, const struct dmsg_context *context,
    const char *path, const struct dmsg_name *recipient, bool read_only, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = calloc(1, sizeof *sqlite);
    if (sqlite == NULL)
        return dmsg_fail_memory(error);
    sqlite->store = (struct dmsg_store){.operations = &sqlite_operations,
        .context = context,
        .retain_time = DMSG_RETAIN_TIME,
        .retain_octets = DMSG_RETAIN_OCTETS};
    sqlite->zone_ids_most = DMSG_ZONE_IDS;
    sqlite->ids_most = DMSG_IDS;
    sqlite->zone_senders_most = DMSG_ZONE_SENDERS;
    if (recipient != NULL)
        sqlite->store.recipient = *recipient;
    int code = dmsg_sqlite_open(sqlite, path, recipient, read_only, error);
    if (code < 0) {
        dmsg_sqlite_close(sqlite);
        return code;
    }
    *out = &sqlite->store;
    return 0;
}

int dmsg_store_open_sqlite(struct dmsg_store **out, const struct dmsg_context *context,
    const char *path, const struct dmsg_name *recipient, struct dmsg_error *error)
{
    return open_database(out, context, path, recipient, false, error);
}

int dmsg_store_show_sqlite(struct dmsg_store **out, const struct dmsg_context *context,
    const char *path, const struct dmsg_name *recipient, struct dmsg_error *error)
{
    return open_database(out, context, path, recipient, true, error);
}
