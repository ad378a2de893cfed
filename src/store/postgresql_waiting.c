#include "base/fail.h"
#include "store/postgresql.h"
#include "store/waiting.h"

int dmsg_pg_waits(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    struct dmsg_waiting_digest digest;
    int64_t one = 0;
    int code = dmsg_waiting_digest(&digest, entry, error);
    return code < 0 ? code
                    : dmsg_pq_number(pg->pq, DMSG_PG_WAITS, &one, error, "itts", pg->recipient,
                          entry->message->sender.text, entry->message->id,
                          dmsg_waiting_digest_span(&digest));
}

/* ---------------------------------------------------------------------------------- budgets */

static void take_usage(void *user, const struct dmsg_pq_rows *rows)
{
    struct dmsg_pg_fact *fact = user;
    fact->known = true;
    if (dmsg_pq_rows_count(rows) == 0)
        return;
    fact->messages = dmsg_pq_rows_number(rows, 0, 0);
    fact->octets = dmsg_pq_rows_number(rows, 0, 1);
}

static struct dmsg_pg_fact *budget_fact(
    struct dmsg_postgresql *pg, enum dmsg_store_whose whose, const char *sender, const char *zone)
{
    bool is_new = false;
    struct dmsg_budget_key key = dmsg_budget_key(whose, sender, zone);
    return dmsg_pg_fact(pg, DMSG_PG_BUDGET, "", key.text, "", &is_new);
}

/* Read once in a transaction: what others take meanwhile is not seen, so that receivers which fill
   a budget at the same moment may overdraw it, each by what it has in a batch. */
int dmsg_pg_usage(struct dmsg_store *store, enum dmsg_store_whose whose,
    const struct dmsg_store_entry *entry, struct dmsg_store_usage *out, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    struct dmsg_pg_fact *fact =
        budget_fact(pg, whose, entry->message->sender.text, dmsg_pg_zone_text(entry->zone));
    if (fact == NULL)
        return dmsg_fail_memory(error);
    int code = 0;
    if (!fact->known) {
        code = dmsg_pq_queue(
            pg->pq, DMSG_PG_USAGE, take_usage, fact, error, "it", pg->recipient, fact->name);
        if (code == 0)
            code = dmsg_pq_sync(pg->pq, error);
    }
    int64_t messages = fact->messages + fact->more_messages;
    int64_t octets = fact->octets + fact->more_octets;
    *out = (struct dmsg_store_usage){
        messages > 0 ? (size_t)messages : 0, octets > 0 ? (size_t)octets : 0};
    return code;
}

/* Adds to, or with negative numbers takes from, the two budgets that a message is on. */
static int charge(struct dmsg_postgresql *pg, const struct dmsg_name *sender, bool trusted,
    int64_t messages, int64_t octets, struct dmsg_error *error)
{
    const enum dmsg_store_whose whose[] = {trusted ? DMSG_STORE_NAME : DMSG_STORE_ZONE,
        trusted ? DMSG_STORE_TRUSTED : DMSG_STORE_STRANGERS};
    for (int i = 0; i < 2; i++) {
        struct dmsg_pg_fact *fact =
            budget_fact(pg, whose[i], sender->text, dmsg_pg_zone_text(dmsg_name_zone(sender)));
        if (fact == NULL)
            return dmsg_fail_memory(error);
        fact->more_messages += messages;
        fact->more_octets += octets;
    }
    return 0;
}

/* --------------------------------------------------------------------------------- messages */

static void take_written(void *user, const struct dmsg_pq_rows *rows)
{
    *(int64_t *)user = dmsg_pq_rows_changed(rows);
}

/* Another receiver may have it waiting since a moment ago: then it waits there. */
int dmsg_pg_wait(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    const struct dmsg_message *message = entry->message;
    struct dmsg_waiting_digest digest;
    int64_t written = 0;
    int code = dmsg_waiting_digest(&digest, entry, error);
    if (code == 0)
        code = dmsg_pq_queue(pg->pq, DMSG_PG_WAIT, take_written, &written, error, "iiitttiiitisss",
            pg->recipient, pg->me, (int64_t)message->format, message->sender.text, message->id,
            message->kid, message->issued_at, message->expires_at, entry->received_at,
            message->content_type, (int64_t)entry->trusted, dmsg_waiting_digest_span(&digest),
            entry->topic, dmsg_buffer_span(&message->jws));
    if (code == 0)
        code = dmsg_pq_sync(pg->pq, error);
    if (code < 0 || written == 0)
        return code;
    return charge(pg, &message->sender, entry->trusted, 1,
        (int64_t)(message->jws.size + entry->topic.size), error);
}

int dmsg_pg_waiting(struct dmsg_store *store, const struct dmsg_name *sender, int64_t after,
    struct dmsg_record *out, struct dmsg_error *error)
{
    return dmsg_pg_show(dmsg_pg_of(store), sender != NULL ? DMSG_PG_WAITING_OF : DMSG_PG_WAITING,
        sender, after, out, error);
}

int dmsg_pg_waiting_last(struct dmsg_store *store, int64_t *row, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    int code = dmsg_pg_ready(pg, error);
    if (code == 0)
        code = dmsg_pq_number(pg->pq, DMSG_PG_WAITING_LAST, row, error, "i", pg->me);
    return code < 0 ? code : 0;
}

int dmsg_pg_waited(struct dmsg_store *store, int64_t row, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    struct dmsg_pq_rows *rows = NULL;
    struct dmsg_name sender = {0};
    int code = dmsg_pq_run(pg->pq, DMSG_PG_WAITED, &rows, error, "ii", pg->recipient, row);
    if (code == 0)
        code = dmsg_fail(error, DMSG_E_USAGE, "no message with this row is waiting");
    if (code > 0) {
        snprintf(sender.text, sizeof sender.text, "%s", dmsg_pq_rows_text(rows, 0, 1));
        sender.size = (uint8_t)strlen(sender.text);
        code = charge(pg, &sender, dmsg_pq_rows_number(rows, 0, 0) != 0, -1,
            -dmsg_pq_rows_number(rows, 0, 2), error);
    }
    if (rows != NULL)
        dmsg_pq_rows_free(&rows);
    return code;
}

int dmsg_pg_deadline(struct dmsg_store *store, int64_t row, struct dmsg_store_deadline *out,
    struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    struct dmsg_pq_rows *rows = NULL;
    int code = dmsg_pg_ready(pg, error);
    if (code == 0)
        code = dmsg_pq_run(pg->pq, DMSG_PG_WAITING_FACTS, &rows, error, "ii", pg->recipient, row);
    if (code > 0)
        *out = (struct dmsg_store_deadline){
            .format = dmsg_pq_rows_number(rows, 0, 0) == DMSG_FORMAT_POC ? DMSG_FORMAT_POC
                                                                         : DMSG_FORMAT_V1,
            .trusted = dmsg_pq_rows_number(rows, 0, 1) != 0,
            .issued_at = dmsg_pq_rows_number(rows, 0, 2),
            .expires_at = dmsg_pq_rows_number(rows, 0, 3),
            .received_at = dmsg_pq_rows_number(rows, 0, 4)};
    if (rows != NULL)
        dmsg_pq_rows_free(&rows);
    return code;
}
