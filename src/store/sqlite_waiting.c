#include "base/fail.h"
#include "store/sqlite.h"
#include "store/waiting.h"

int dmsg_sqlite_waits(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct dmsg_waiting_digest digest;
    int64_t one = 0;
    int code = dmsg_waiting_digest(&digest, entry, error);
    if (code < 0)
        return code;
    return dmsg_sqlite_get(dmsg_sqlite_of(store), DMSG_SQL_WAITS, &one, error, "tts",
        entry->message->sender.text, entry->message->id, dmsg_waiting_digest_span(&digest));
}

/* Adds to, or with negative numbers takes from, the two budgets that a message is on. */
static int charge(struct dmsg_sqlite *sqlite, const struct dmsg_name *sender, bool trusted,
    int64_t messages, int64_t octets, struct dmsg_error *error)
{
    const enum dmsg_store_whose whose[] = {trusted ? DMSG_STORE_NAME : DMSG_STORE_ZONE,
        trusted ? DMSG_STORE_TRUSTED : DMSG_STORE_STRANGERS};
    int code = 0;
    for (int i = 0; code == 0 && i < 2; i++) {
        struct dmsg_budget_key key =
            dmsg_budget_key(whose[i], sender->text, dmsg_sqlite_zone_text(dmsg_name_zone(sender)));
        code = dmsg_sqlite_do(sqlite, DMSG_SQL_CHARGE, error, "tii", key.text, messages, octets);
        if (code == 0 && messages < 0)
            code = dmsg_sqlite_do(sqlite, DMSG_SQL_SETTLE, error, "t", key.text);
    }
    return code;
}

int dmsg_sqlite_wait(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    const struct dmsg_message *message = entry->message;
    struct dmsg_waiting_digest digest;
    int code = dmsg_waiting_digest(&digest, entry, error);
    if (code < 0)
        return code;
    code = dmsg_sqlite_do(sqlite, DMSG_SQL_WAIT, error, "iitttiiitisss", ++sqlite->meta.last_row,
        (int64_t)message->format, message->sender.text, message->id, message->kid,
        message->issued_at, message->expires_at, entry->received_at, message->content_type,
        (int64_t)entry->trusted, dmsg_waiting_digest_span(&digest), entry->topic,
        dmsg_buffer_span(&message->jws));
    sqlite->meta_changed = true;
    if (code < 0)
        return code;
    return charge(sqlite, &message->sender, entry->trusted, 1,
        (int64_t)(message->jws.size + entry->topic.size), error);
}

int dmsg_sqlite_usage(struct dmsg_store *store, enum dmsg_store_whose whose,
    const struct dmsg_store_entry *entry, struct dmsg_store_usage *out, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    struct dmsg_budget_key key =
        dmsg_budget_key(whose, entry->message->sender.text, dmsg_sqlite_zone_text(entry->zone));
    *out = (struct dmsg_store_usage){0};
    int code = dmsg_sqlite_run(sqlite, DMSG_SQL_USAGE, error, "t", key.text);
    if (code != 1)
        return code;
    out->messages = (size_t)dmsg_sqlite_number(sqlite, DMSG_SQL_USAGE, 0);
    out->octets = (size_t)dmsg_sqlite_number(sqlite, DMSG_SQL_USAGE, 1);
    dmsg_sqlite_end(sqlite, DMSG_SQL_USAGE);
    return 0;
}

int dmsg_sqlite_waiting(struct dmsg_store *store, const struct dmsg_name *sender, int64_t after,
    struct dmsg_record *out, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    if (sender == NULL)
        return dmsg_sqlite_show_after(store, DMSG_SQL_WAITING, after, out, error);
    int code = dmsg_sqlite_run(sqlite, DMSG_SQL_WAITING_OF, error, "ti", sender->text, after);
    return code == 1 ? dmsg_sqlite_show(sqlite, DMSG_SQL_WAITING_OF, out, error) : code;
}

int dmsg_sqlite_waiting_last(struct dmsg_store *store, int64_t *row, struct dmsg_error *error)
{
    struct dmsg_sqlite_meta meta;
    int code = dmsg_sqlite_know_meta(dmsg_sqlite_of(store), &meta, error);
    if (code == 0)
        *row = meta.last_row;
    return code;
}

int dmsg_sqlite_waited(struct dmsg_store *store, int64_t row, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    struct dmsg_name sender;
    int code = dmsg_sqlite_run(sqlite, DMSG_SQL_WAITING_FACTS, error, "i", row);
    if (code < 0)
        return code;
    if (code == 0)
        return dmsg_fail(error, DMSG_E_USAGE, "no message with this row is waiting");
    bool trusted = dmsg_sqlite_number(sqlite, DMSG_SQL_WAITING_FACTS, 1) != 0;
    dmsg_sqlite_read_name(&sender, dmsg_sqlite_text(sqlite, DMSG_SQL_WAITING_FACTS, 5));
    int64_t octets = dmsg_sqlite_number(sqlite, DMSG_SQL_WAITING_FACTS, 6);
    dmsg_sqlite_end(sqlite, DMSG_SQL_WAITING_FACTS);
    code = dmsg_sqlite_do(sqlite, DMSG_SQL_WAITED, error, "i", row);
    return code < 0 ? code : charge(sqlite, &sender, trusted, -1, -octets, error);
}

int dmsg_sqlite_deadline(struct dmsg_store *store, int64_t row, struct dmsg_store_deadline *out,
    struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    int code = dmsg_sqlite_run(sqlite, DMSG_SQL_WAITING_FACTS, error, "i", row);
    if (code != 1)
        return code;
    *out = (struct dmsg_store_deadline){
        .format = dmsg_sqlite_number(sqlite, DMSG_SQL_WAITING_FACTS, 0) == DMSG_FORMAT_POC
                      ? DMSG_FORMAT_POC
                      : DMSG_FORMAT_V1,
        .trusted = dmsg_sqlite_number(sqlite, DMSG_SQL_WAITING_FACTS, 1) != 0,
        .issued_at = dmsg_sqlite_number(sqlite, DMSG_SQL_WAITING_FACTS, 2),
        .expires_at = dmsg_sqlite_number(sqlite, DMSG_SQL_WAITING_FACTS, 3),
        .received_at = dmsg_sqlite_number(sqlite, DMSG_SQL_WAITING_FACTS, 4)};
    dmsg_sqlite_end(sqlite, DMSG_SQL_WAITING_FACTS);
    return 1;
}
