#include "base/fail.h"
#include "store/postgresql.h"

#include <stdio.h>

int dmsg_pg_join(struct dmsg_postgresql *pg, struct dmsg_error *error)
{
    char text[60];
    int64_t held = 0;
    int code =
        dmsg_pq_number(pg->pq, DMSG_PG_JOIN, &pg->me, error, "it", pg->recipient, pg->member);
    if (code >= 0)
        code = dmsg_pq_queue_text(pg->pq, "SET lock_timeout = 1000", error);
    if (code >= 0 && (code = dmsg_pq_number(pg->pq, DMSG_PG_HOLD, &held, error, "i", pg->me)) < 0)
        return dmsg_fail_in(
            error, code, "another receiver runs under the same name, or has ended just now");
    snprintf(text, sizeof text, "SET lock_timeout = %d", DMSG_PQ_LOCK_TIMEOUT);
    if (code >= 0)
        code = dmsg_pq_queue_text(pg->pq, text, error);
    if (code >= 0)
        code = dmsg_pq_sync(pg->pq, error);
    return code < 0 ? code : 0;
}

void dmsg_pg_leave(struct dmsg_postgresql *pg)
{
    if (pg->me != 0 && dmsg_pq_run(pg->pq, DMSG_PG_LEAVE, NULL, NULL, "i", pg->me) >= 0)
        pg->me = 0;
}

/* How many messages it had. */
static int take_from(struct dmsg_postgresql *pg, int64_t gone, struct dmsg_error *error)
{
    int pending = dmsg_pq_run(pg->pq, DMSG_PG_TAKE_PENDING, NULL, error, "ii", pg->me, gone);
    int waiting = pending < 0
                      ? pending
                      : dmsg_pq_run(pg->pq, DMSG_PG_TAKE_WAITING, NULL, error, "ii", pg->me, gone);
    if (waiting < 0)
        return waiting;
    int code = dmsg_pq_queue(pg->pq, DMSG_PG_STRIKE, NULL, NULL, error, "i", gone);
    return code < 0 ? code : pending + waiting > 0;
}

/* Whose lock we get is not alive, and stays so until our transaction ends. */
static int take_from_all(struct dmsg_postgresql *pg, struct dmsg_error *error)
{
    struct dmsg_pq_rows *gone = NULL;
    int count = dmsg_pq_run(pg->pq, DMSG_PG_GONE, &gone, error, "ii", pg->recipient, pg->me);
    int found = count < 0 ? count : 0;
    for (int i = 0; found >= 0 && i < count; i++) {
        int code = take_from(pg, dmsg_pq_rows_number(gone, i, 0), error);
        found = code < 0 ? code : found | code;
    }
    if (gone != NULL)
        dmsg_pq_rows_free(&gone);
    return found;
}

int dmsg_pg_take_over(struct dmsg_store *store, struct dmsg_error *error)
{
    struct dmsg_postgresql *pg = dmsg_pg_of(store);
    if (pg->member == NULL || pg->show)
        return 0;
    /* Undone by a power cut of the server, it is done again. */
    int code = dmsg_pg_begin(pg, false, error);
    if (code < 0)
        return code;
    code = dmsg_pq_queue(pg->pq, DMSG_PG_BEAT, NULL, NULL, error, "i", pg->me);
    code = dmsg_pg_finish(pg, code < 0 ? code : take_from_all(pg, error), error);
    dmsg_pg_forget_ahead(pg);
    return code;
}
