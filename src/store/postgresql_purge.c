#include "base/fail.h"
#include "store/postgresql.h"

#include <string.h>

/* Rows of one slice, during which no receiver accepts anything. */
#define SLICE_ROWS 2000

/* ----------------------------------------------------------------------------------- ids */

/* Too many of a zone, or of all: the half that expires first is forgotten, and refused from now
   on. What is below purged_until goes in the next slices. 1: there was one. */
static int shrink(struct dmsg_postgresql *pg, struct dmsg_error *error)
{
    struct dmsg_pq_rows *rows = NULL;
    int64_t middle = 0;
    int changed = 0;
    int code = dmsg_pq_run(pg->pq, DMSG_PG_TOO_MANY_IDS, &rows, error, "iii", pg->recipient,
        pg->zone_ids_most, pg->ids_most);
    if (code > 0)
        code = dmsg_pq_number(pg->pq, DMSG_PG_MIDDLE_ID, &middle, error, "iti", pg->recipient,
            dmsg_pq_rows_text(rows, 0, 1), dmsg_pq_rows_number(rows, 0, 0) / 2);
    if (code > 0)
        changed = dmsg_pq_run(pg->pq, DMSG_PG_RAISE_ZONE, NULL, error, "iti", pg->recipient,
            dmsg_pq_rows_text(rows, 0, 1), middle + 1);
    if (rows != NULL)
        dmsg_pq_rows_free(&rows);
    return code < 0 ? code : changed;
}

/* Names of which nothing is remembered but that they were verified. 1: there are more. */
static int forget_senders(struct dmsg_postgresql *pg, struct dmsg_error *error)
{
    struct dmsg_pq_rows *rows = NULL;
    int64_t last = 0;
    int code = dmsg_pq_run(
        pg->pq, DMSG_PG_TOO_MANY_SENDERS, &rows, error, "ii", pg->recipient, pg->zone_senders_most);
    if (code > 0)
        code = dmsg_pq_number(pg->pq, DMSG_PG_FORGET_SENDERS, &last, error, "itiii", pg->recipient,
            dmsg_pq_rows_text(rows, 0, 1), pg->purge_sender, (int64_t)SLICE_ROWS,
            dmsg_pq_rows_number(rows, 0, 0) - pg->zone_senders_most);
    if (rows != NULL)
        dmsg_pq_rows_free(&rows);
    pg->purge_sender = last;
    return code;
}

static int forget_ids(
    struct dmsg_postgresql *pg, int64_t limit, int64_t now, struct dmsg_error *error)
{
    int64_t v1 = 0, poc = 0;
    int code = dmsg_pq_number(pg->pq, DMSG_PG_FORGET, &v1, error, "iiii", pg->recipient,
        (int64_t)DMSG_FORMAT_V1, limit, (int64_t)SLICE_ROWS);
    if (code > 0 && v1 > 0)
        code = dmsg_pq_run(pg->pq, DMSG_PG_RAISE, NULL, error, "ii", pg->recipient, limit);
    if (code > 0)
        code = dmsg_pq_number(pg->pq, DMSG_PG_FORGET, &poc, error, "iiii", pg->recipient,
            (int64_t)DMSG_FORMAT_POC, now + 1, (int64_t)SLICE_ROWS);
    return code < 0 ? code : v1 == SLICE_ROWS || poc == SLICE_ROWS;
}

int dmsg_pg_purge(struct dmsg_store *store, int64_t limit, int64_t now, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    int code = dmsg_pg_begin_alone(pg, error);
    if (code < 0)
        return code;
    code = forget_ids(pg, limit, now, error);
    if (code == 0)
        code = shrink(pg, error);
    if (code == 0)
        code = forget_senders(pg, error);
    return dmsg_pg_finish(pg, code, error);
}

/* ------------------------------------------------------------------------------- messages */

/* Of the oldest: 1 when all of them were looked at and there may be more, 0 when one was found that
   may stay. */
static int discard(struct dmsg_postgresql *pg, const struct dmsg_pq_rows *rows, int64_t total,
    int64_t before, int64_t octets, struct dmsg_error *error)
{
    int count = dmsg_pq_rows_count(rows);
    for (int i = 0; i < count; i++) {
        int64_t row = dmsg_pq_rows_number(rows, i, 0);
        int64_t size = dmsg_pq_rows_number(rows, i, 2) + DMSG_RETAIN_OVERHEAD;
        bool delivered = dmsg_pq_rows_number(rows, i, 3) != 0;
        if (delivered && dmsg_pq_rows_number(rows, i, 1) >= before && total + pg->octets <= octets)
            return 0;
        pg->retain_row = row;
        if (!delivered)
            continue;
        pg->octets -= size;
        int code =
            dmsg_pq_queue(pg->pq, DMSG_PG_DISCARD, NULL, NULL, error, "ii", pg->recipient, row);
        if (code < 0)
            return code;
    }
    return count == SLICE_ROWS;
}

int dmsg_pg_retain(
    struct dmsg_store *store, int64_t before, int64_t octets, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    struct dmsg_pq_rows *times = NULL, *rows = NULL;
    int64_t start = pg->retain_row;
    int code = dmsg_pg_begin_alone(pg, error);
    if (code < 0)
        return code;
    code = dmsg_pq_run(pg->pq, DMSG_PG_TIMES, &times, error, "i", pg->recipient);
    if (code > 0)
        code = dmsg_pq_run(pg->pq, DMSG_PG_OLDEST, &rows, error, "iii", pg->recipient,
            pg->retain_row, (int64_t)SLICE_ROWS);
    if (code > 0)
        code = discard(pg, rows, dmsg_pq_rows_number(times, 0, 2), before, octets, error);
    if (times != NULL)
        dmsg_pq_rows_free(&times);
    if (rows != NULL)
        dmsg_pq_rows_free(&rows);
    code = dmsg_pg_finish(pg, code, error);
    if (code <= 0)
        pg->retain_row = code < 0 ? start : 0;
    return code;
}
