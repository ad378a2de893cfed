#include "base/fail.h"
#include "store/postgresql.h"

#include <search.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* -------------------------------------------------------------------------------------- tree */

/* The order in which everybody writes them: zones before the senders in them. */
static int compare(const void *one, const void *other)
{
    const struct dmsg_pg_fact *a = one, *b = other;
    int order = (int)a->kind - (int)b->kind;
    if (order == 0)
        order = strcmp(a->zone, b->zone);
    if (order == 0)
        order = strcmp(a->name, b->name);
    return order != 0 ? order : strcmp(a->id, b->id);
}

struct dmsg_pg_fact *dmsg_pg_fact(struct dmsg_postgresql *pg, enum dmsg_pg_kind kind,
    const char *zone, const char *name, const char *id, bool *is_new)
{
    struct dmsg_pg_fact key = {.kind = kind};
    snprintf(key.zone, sizeof key.zone, "%s", zone);
    snprintf(key.name, sizeof key.name, "%s", name);
    snprintf(key.id, sizeof key.id, "%s", id);
    struct dmsg_pg_fact **found = tfind(&key, &pg->facts, compare);
    *is_new = found == NULL;
    if (found != NULL)
        return *found;
    struct dmsg_pg_fact *fact = malloc(sizeof *fact);
    if (fact == NULL)
        return NULL;
    *fact = key;
    if (tsearch(fact, &pg->facts, compare) == NULL) {
        free(fact);
        return NULL;
    }
    return fact;
}

static void forget_transaction(struct dmsg_postgresql *pg)
{
    tdestroy(pg->facts, free);
    pg->facts = NULL;
    pg->octets = pg->newest_issued = 0;
    pg->open = false;
}

/* ------------------------------------------------------------------------------- transactions */

/* Nothing waits for the server yet: the first statement that wants an answer takes this along. */
static int begin(
    struct dmsg_postgresql *pg, bool durable, enum dmsg_pg_statement lock, struct dmsg_error *error)
{
    int code = dmsg_pg_ready(pg, error);
    if (code == 0)
        code = dmsg_pq_queue_text(pg->pq, "BEGIN", error);
    if (code == 0 && !durable)
        code = dmsg_pq_queue_text(pg->pq, "SET LOCAL synchronous_commit = off", error);
    if (code == 0 && !pg->show)
        code = dmsg_pq_queue(pg->pq, lock, NULL, NULL, error, "i", pg->recipient);
    pg->open = code == 0;
    return code;
}

int dmsg_pg_begin(struct dmsg_postgresql *pg, bool durable, struct dmsg_error *error)
{
    return begin(pg, durable, DMSG_PG_SHARE, error);
}

int dmsg_pg_begin_alone(struct dmsg_postgresql *pg, struct dmsg_error *error)
{
    return begin(pg, false, DMSG_PG_ALONE, error);
}

static int write_sender(
    struct dmsg_postgresql *pg, const struct dmsg_pg_fact *fact, struct dmsg_error *error)
{
    int code = 0;
    if (fact->fresh)
        code = dmsg_pq_queue(pg->pq, DMSG_PG_ADD_SENDER, NULL, NULL, error, "itti", pg->recipient,
            fact->name, fact->zone, (int64_t)fact->first_v1);
    if (code == 0 && fact->first_v1)
        code = dmsg_pq_queue(
            pg->pq, DMSG_PG_SENT_V1, NULL, NULL, error, "it", pg->recipient, fact->name);
    return code;
}

static int write_budget(
    struct dmsg_postgresql *pg, const struct dmsg_pg_fact *fact, struct dmsg_error *error)
{
    if (fact->more_messages == 0 && fact->more_octets == 0)
        return 0;
    int code = dmsg_pq_queue(pg->pq, DMSG_PG_CHARGE, NULL, NULL, error, "itii", pg->recipient,
        fact->name, fact->more_messages, fact->more_octets);
    if (code == 0 && fact->more_messages < 0)
        code = dmsg_pq_queue(
            pg->pq, DMSG_PG_SETTLE, NULL, NULL, error, "it", pg->recipient, fact->name);
    return code;
}

static int write_fact(
    struct dmsg_postgresql *pg, const struct dmsg_pg_fact *fact, struct dmsg_error *error)
{
    switch (fact->kind) {
    case DMSG_PG_ZONE:
        return fact->more_messages == 0
                   ? 0
                   : dmsg_pq_queue(pg->pq, DMSG_PG_COUNT_IDS, NULL, NULL, error, "iti",
                         pg->recipient, fact->zone, fact->more_messages);
    case DMSG_PG_SENDER:
        return write_sender(pg, fact, error);
    case DMSG_PG_BUDGET:
        return write_budget(pg, fact, error);
    default: /* an id that was put down and whose message was not accepted after all */
        return !fact->is_new || fact->taken
                   ? 0
                   : dmsg_pq_queue(pg->pq, DMSG_PG_UNREMEMBER, NULL, NULL, error, "itt",
                         pg->recipient, fact->name, fact->id);
    }
}

struct writing {
    struct dmsg_postgresql *pg;
    int code;
    struct dmsg_error *error;
};

static void write_each(const void *node, VISIT visit, void *user)
{
    struct writing *writing = user;
    if (writing->code == 0 && (visit == postorder || visit == leaf))
        writing->code =
            write_fact(writing->pg, *(struct dmsg_pg_fact *const *)node, writing->error);
}

static void take_end(void *user, const struct dmsg_pq_rows *rows)
{
    struct dmsg_postgresql *pg = user;
    pg->committed = dmsg_pq_rows_are(rows, "COMMIT");
}

int dmsg_pg_commit(struct dmsg_postgresql *pg, struct dmsg_error *error)
{
    /* What was queued may still change what is to be counted. */
    int code = dmsg_pq_sync(pg->pq, error);
    struct writing writing = {pg, code, error};
    twalk_r(pg->facts, write_each, &writing);
    code = writing.code;
    if (code == 0 && (pg->octets != 0 || pg->newest_issued != 0))
        code = dmsg_pq_queue(pg->pq, DMSG_PG_SAVE_TIMES, NULL, NULL, error, "iii", pg->recipient,
            pg->newest_issued, pg->octets);
    pg->committed = false;
    if (code == 0)
        code = dmsg_pq_queue_asking(pg->pq, "COMMIT", take_end, pg, error);
    if (code == 0)
        code = dmsg_pq_sync(pg->pq, error);
    if (code == 0 && !pg->committed)
        code = dmsg_fail(error, DMSG_E_INTERNAL,
            "PostgreSQL: the transaction was rolled back, since a part of it failed");
    if (code == 0)
        forget_transaction(pg);
    return code;
}

void dmsg_pg_rollback(struct dmsg_postgresql *pg)
{
    /* What is queued may fail, and nothing behind it would be heard. */
    int code = dmsg_pq_sync(pg->pq, NULL);
    code = dmsg_pq_queue_text(pg->pq, "ROLLBACK", NULL);
    if (code == 0)
        code = dmsg_pq_sync(pg->pq, NULL);
    if (code < 0)
        dmsg_pq_drop(pg->pq);
    dmsg_pg_forget_ahead(pg);
    forget_transaction(pg);
}

int dmsg_pg_finish(struct dmsg_postgresql *pg, int code, struct dmsg_error *error)
{
    int committed = code < 0 ? code : dmsg_pg_commit(pg, error);
    if (committed < 0)
        dmsg_pg_rollback(pg);
    return committed < 0 ? committed : code;
}
