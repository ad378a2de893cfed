/* What is known of senders, and the ids that were seen. */
#include "base/fail.h"
#include "store/postgresql.h"

#include <stdio.h>

static void take_facts(void *user, const struct dmsg_pq_rows *rows)
{
    struct dmsg_pg_fact *fact = user;
    if (dmsg_pq_rows_count(rows) == 0)
        return;
    fact->known = true;
    fact->verified = dmsg_pq_rows_number(rows, 0, 0) != 0;
    fact->sent_v1 = dmsg_pq_rows_number(rows, 0, 1) != 0;
    fact->purged_until = dmsg_pq_rows_number(rows, 0, 2);
}

static int queue_facts(
    struct dmsg_postgresql *pg, struct dmsg_pg_fact *fact, struct dmsg_error *error)
{
    return dmsg_pq_queue(pg->pq, DMSG_PG_FACTS, take_facts, fact, error, "itt", pg->recipient,
        fact->name, fact->zone);
}

struct dmsg_pg_fact *dmsg_pg_sender_fact(
    struct dmsg_postgresql *pg, const struct dmsg_name *name, struct dmsg_span zone)
{
    bool is_new = false;
    return dmsg_pg_fact(pg, DMSG_PG_SENDER, dmsg_pg_zone_text(zone), name->text, "", &is_new);
}

int dmsg_pg_sender(struct dmsg_store *store, const struct dmsg_name *name, struct dmsg_span zone,
    struct dmsg_store_sender *out, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    struct dmsg_pg_fact own = {.kind = DMSG_PG_SENDER}, *fact = &own;
    int code = dmsg_pg_ready(pg, error);
    if (code < 0)
        return code;
    if (pg->open) {
        fact = dmsg_pg_sender_fact(pg, name, zone);
        if (fact == NULL)
            return dmsg_fail_memory(error);
    } else {
        snprintf(own.name, sizeof own.name, "%s", name->text);
        snprintf(own.zone, sizeof own.zone, "%s", dmsg_pg_zone_text(zone));
    }
    if (!fact->known) {
        code = queue_facts(pg, fact, error);
        if (code == 0)
            code = dmsg_pq_sync(pg->pq, error);
    }
    if (code < 0)
        return code;
    if (!fact->known)
        return dmsg_fail(error, DMSG_E_INTERNAL, "PostgreSQL: the store has lost a row");
    *out = (struct dmsg_store_sender){
        .verified = fact->verified, .sent_v1 = fact->sent_v1, .purged_until = fact->purged_until};
    return 0;
}

static void take_new(void *user, const struct dmsg_pq_rows *rows)
{
    struct dmsg_pg_fact *fact = user;
    fact->is_new = dmsg_pq_rows_changed(rows) == 1;
}

static int queue_remember(struct dmsg_postgresql *pg, const struct dmsg_store_entry *entry,
    dmsg_pq_take *take, void *user, struct dmsg_error *error)
{
    const struct dmsg_message *message = entry->message;
    return dmsg_pq_queue(pg->pq, DMSG_PG_REMEMBER, take, user, error, "itttii", pg->recipient,
        message->sender.text, message->id, dmsg_pg_zone_text(entry->zone), (int64_t)message->format,
        entry->until);
}

/* Puts the id down before it is known whether the message will be accepted; taken away again at the
   end of the transaction if it was not. */
static int expect_one(
    struct dmsg_postgresql *pg, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    bool is_new = false;
    const struct dmsg_message *message = entry->message;
    struct dmsg_pg_fact *id =
        dmsg_pg_fact(pg, DMSG_PG_EXPECTED, "", message->sender.text, message->id, &is_new);
    struct dmsg_pg_fact *sender = dmsg_pg_sender_fact(pg, &message->sender, entry->zone);
    if (id == NULL || sender == NULL)
        return dmsg_fail_memory(error);
    int code = is_new ? queue_remember(pg, entry, take_new, id, error) : 0;
    return code < 0 || sender->known ? code : queue_facts(pg, sender, error);
}

int dmsg_pg_expect(struct dmsg_store *store, const struct dmsg_store_entry *entries, size_t count,
    struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    int code = 0;
    for (size_t i = 0; code == 0 && i < count; i++)
        code = expect_one(pg, &entries[i], error);
    return code < 0 ? code : dmsg_pq_sync(pg->pq, error);
}

int dmsg_pg_remember(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    bool is_new = false;
    struct dmsg_pg_fact *id = dmsg_pg_fact(
        pg, DMSG_PG_EXPECTED, "", entry->message->sender.text, entry->message->id, &is_new);
    struct dmsg_pg_fact *zone =
        dmsg_pg_fact(pg, DMSG_PG_ZONE, dmsg_pg_zone_text(entry->zone), "", "", &(bool){false});
    if (id == NULL || zone == NULL)
        return dmsg_fail_memory(error);
    int code = is_new ? queue_remember(pg, entry, take_new, id, error) : 0;
    if (code == 0 && is_new)
        code = dmsg_pq_sync(pg->pq, error);
    if (code < 0 || !id->is_new || id->taken)
        return code;
    id->taken = true;
    zone->more_messages++;
    return 1;
}
