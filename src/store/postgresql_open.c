#include "base/fail.h"
#include "store/postgresql.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------- statements of opening */

/* Before there are tables nothing that names them can be prepared: these are sent as they are. */
static void take_number(void *user, const struct dmsg_pq_rows *rows)
{
    int64_t *number = user;
    if (dmsg_pq_rows_count(rows) > 0)
        *number = dmsg_pq_rows_number(rows, 0, 0);
}

static int ask(struct dmsg_postgresql *pg, const char *text, int64_t *out, struct dmsg_error *error)
{
    int code = dmsg_pq_queue_asking(pg->pq, text, take_number, out, error);
    return code < 0 ? code : dmsg_pq_sync(pg->pq, error);
}

/* 0: nothing there yet. */
static int read_version(struct dmsg_postgresql *pg, int64_t *version, struct dmsg_error *error)
{
    int64_t there = 0;
    *version = 0;
    int code =
        ask(pg, "SELECT 1::int8 WHERE to_regclass('danemsg.version') IS NOT NULL", &there, error);
    if (code == 0 && there != 0)
        code = ask(pg, "SELECT number FROM danemsg.version", version, error);
    if (code == 0 && *version > (int64_t)dmsg_pg_step_count)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the database was written by a newer danemsg (its version is %lld, this one knows "
            "%zu): use that one, or name another database",
            (long long)*version, dmsg_pg_step_count);
    return code;
}

/* -------------------------------------------------------------------------------- versions */

static int queue_steps(struct dmsg_postgresql *pg, int64_t version, struct dmsg_error *error)
{
    char text[160];
    int code = 0;
    if (version == 0)
        code = dmsg_pq_queue_text(pg->pq,
            "CREATE TABLE danemsg.version (one int8 PRIMARY KEY CHECK (one = 1), number int8 NOT"
            " NULL)",
            error);
    for (size_t i = (size_t)version; i < dmsg_pg_step_count; i++) {
        for (const char *const *step = dmsg_pg_steps[i]; code == 0 && *step != NULL; step++)
            code = dmsg_pq_queue_text(pg->pq, *step, error);
    }
    snprintf(text, sizeof text,
        "INSERT INTO danemsg.version VALUES (1, %zu) ON CONFLICT (one) DO UPDATE SET number = %zu",
        dmsg_pg_step_count, dmsg_pg_step_count);
    return code < 0 ? code : dmsg_pq_queue_text(pg->pq, text, error);
}

/* One of an older version goes on writing what the newer tables take, and counts wrongly. */
static int refuse_beside_others(
    struct dmsg_postgresql *pg, int64_t version, struct dmsg_error *error)
{
    int64_t receivers = 0;
    int code = version == 0 ? 0
                            : ask(pg,
                                  "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
                                  " AND classid = " DMSG_PG_OF_RECEIVERS " AND database = (SELECT"
                                  " oid FROM pg_database WHERE datname = current_database())",
                                  &receivers, error);
    if (code < 0 || receivers == 0)
        return code;
    return dmsg_fail(error, DMSG_E_LOCAL,
        "the database is of an older version (%lld, this danemsg's is %zu), and %lld receiver(s) "
        "of that version run with it: stop them all, then start this one",
        (long long)version, dmsg_pg_step_count, (long long)receivers);
}

/* In one transaction, which one receiver at a time can be in: another that starts at the same
   moment finds all of it. */
static int migrate(struct dmsg_postgresql *pg, struct dmsg_error *error)
{
    int64_t version = 0, has_schema = 0;
    int code = dmsg_pq_queue_text(
        pg->pq, "SELECT pg_advisory_xact_lock(" DMSG_PG_OF_VERSIONS ", 0)", error);
    if (code == 0)
        code = read_version(pg, &version, error);
    if (code == 0 && version < (int64_t)dmsg_pg_step_count)
        code = refuse_beside_others(pg, version, error);
    if (code < 0 || version == (int64_t)dmsg_pg_step_count)
        return code;
    /* A role that may make no schema can be given one. */
    code =
        ask(pg, "SELECT 1::int8 WHERE to_regnamespace('danemsg') IS NOT NULL", &has_schema, error);
    if (code == 0 && has_schema == 0)
        code = dmsg_pq_queue_text(pg->pq, "CREATE SCHEMA danemsg", error);
    return code < 0 ? code : queue_steps(pg, version, error);
}

static int update(struct dmsg_postgresql *pg, struct dmsg_error *error)
{
    int64_t version = 0;
    int code = read_version(pg, &version, error);
    if (code < 0 || version == (int64_t)dmsg_pg_step_count)
        return code;
    if (pg->show)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "the database holds nothing of danemsg, or of an older version: start a receiver once");
    code = dmsg_pq_queue_text(pg->pq, "BEGIN", error);
    if (code == 0)
        code = migrate(pg, error);
    return dmsg_pg_finish(pg, code, error);
}

/* ------------------------------------------------------------------------------- recipients */

/* A name is made of letters, digits, '-', '_' and '.', and can stand in a text. */
static int find_recipient(struct dmsg_postgresql *pg, struct dmsg_error *error)
{
    char text[DMSG_NAME_TEXT + 120];
    const char *name = pg->store.recipient.text;
    int code = 0;
    pg->recipient = 0;
    if (!pg->show) {
        snprintf(text, sizeof text,
            "INSERT INTO danemsg.recipient (name) VALUES ('%s') ON CONFLICT DO NOTHING", name);
        code = dmsg_pq_queue_text(pg->pq, text, error);
    }
    snprintf(text, sizeof text, "SELECT row FROM danemsg.recipient WHERE name = '%s'", name);
    if (code == 0)
        code = ask(pg, text, &pg->recipient, error);
    if (code == 0 && pg->recipient == 0)
        return dmsg_fail(error, DMSG_E_LOCAL, "the database holds nothing of %s", name);
    return code;
}

/* Once it has joined nobody changes the tables any more. Somebody may have begun to before that,
   and not have seen it. */
static int confirm_version(struct dmsg_postgresql *pg, struct dmsg_error *error)
{
    int64_t version = 0;
    int code = dmsg_pq_queue_text(pg->pq, "BEGIN", error);
    if (code == 0)
        code = dmsg_pq_queue_text(
            pg->pq, "SELECT pg_advisory_xact_lock_shared(" DMSG_PG_OF_VERSIONS ", 0)", error);
    if (code == 0)
        code = read_version(pg, &version, error);
    return dmsg_pg_finish(pg, code, error);
}

static int settle(struct dmsg_postgresql *pg, struct dmsg_error *error)
{
    int code = update(pg, error);
    if (code == 0)
        code = find_recipient(pg, error);
    if (code == 0)
        code = dmsg_pq_prepare(pg->pq, error);
    if (code == 0 && pg->member != NULL && !pg->show)
        code = dmsg_pg_join(pg, error);
    if (code == 0 && pg->me != 0)
        code = confirm_version(pg, error);
    if (code < 0)
        dmsg_pq_drop(pg->pq);
    return code;
}

int dmsg_pg_ready(struct dmsg_postgresql *pg, struct dmsg_error *error)
{
    if (pg->open)
        return 0;
    int code = dmsg_pq_ready(pg->pq, error);
    if (code != 1)
        return code;
    dmsg_pg_forget_ahead(pg);
    return settle(pg, error);
}

void dmsg_pg_forget_ahead(struct dmsg_postgresql *pg)
{
    if (pg->ahead.rows != NULL)
        dmsg_pq_rows_free(&pg->ahead.rows);
}
