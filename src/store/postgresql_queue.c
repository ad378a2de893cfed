#include "base/fail.h"
#include "store/postgresql_library.h"

#include <endian.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Parameters of a statement at most. */
#define PARAMETERS_MAX 16

#define NAME_SIZE 32

/* ---------------------------------------------------------------------------------- queueing */

struct parameters {
    const char *values[PARAMETERS_MAX];
    int sizes[PARAMETERS_MAX], formats[PARAMETERS_MAX];
    uint64_t numbers[PARAMETERS_MAX]; /* int8 in network order */
    int count;
    size_t octets;
};

static void set_parameter(struct parameters *all, int at, char type, va_list *arguments)
{
    struct dmsg_span span;
    all->formats[at] = type != 't';
    if (type == 'i') {
        all->numbers[at] = htobe64((uint64_t)va_arg(*arguments, int64_t));
        all->values[at] = (const char *)&all->numbers[at];
        all->sizes[at] = sizeof all->numbers[at];
    } else if (type == 't') {
        all->values[at] = va_arg(*arguments, const char *);
        all->sizes[at] = (int)strlen(all->values[at]);
    } else {
        span = va_arg(*arguments, struct dmsg_span);
        all->values[at] = span.size > 0 ? (const char *)span.data : ""; /* NULL is SQL's NULL */
        all->sizes[at] = (int)span.size;
    }
    all->octets += (size_t)all->sizes[at];
}

static int note_queued(struct dmsg_pq *pq, struct dmsg_pq_taker taker, size_t octets)
{
    pq->takers[pq->queued++] = taker;
    pq->octets += octets;
    return 0;
}

static int make_room(struct dmsg_pq *pq, struct dmsg_error *error)
{
    if (pq->connection == NULL)
        return dmsg_fail(error, DMSG_E_INTERNAL, "PostgreSQL: %s", DMSG_PQ_LOST);
    return pq->queued == DMSG_PQ_QUEUE || pq->octets > DMSG_PQ_QUEUE_OCTETS
               ? dmsg_pq_sync(pq, error)
               : 0;
}

static void statement_name(char name[static NAME_SIZE], size_t which)
{
    snprintf(name, NAME_SIZE, "dmsg%zu", which);
}

static int queue(struct dmsg_pq *pq, size_t which, struct dmsg_pq_taker taker,
    struct dmsg_error *error, const char *types, va_list *arguments)
{
    char name[NAME_SIZE];
    struct parameters all = {0};
    int code = make_room(pq, error);
    if (code < 0)
        return code;
    statement_name(name, which);
    for (; all.count < PARAMETERS_MAX && types[all.count] != '\0'; all.count++)
        set_parameter(&all, all.count, types[all.count], arguments);
    if (pq->call.PQsendQueryPrepared(
            pq->connection, name, all.count, all.values, all.sizes, all.formats, 1) != 1)
        return dmsg_pq_fail(pq, DMSG_PQ_LOST, error);
    return note_queued(pq, taker, all.octets);
}

int dmsg_pq_queue(struct dmsg_pq *pq, size_t which, dmsg_pq_take *take, void *user,
    struct dmsg_error *error, const char *types, ...)
{
    va_list arguments;
    va_start(arguments, types);
    int code = queue(pq, which, (struct dmsg_pq_taker){take, user}, error, types, &arguments);
    va_end(arguments);
    return code;
}

int dmsg_pq_queue_asking(
    struct dmsg_pq *pq, const char *text, dmsg_pq_take *take, void *user, struct dmsg_error *error)
{
    int code = make_room(pq, error);
    if (code < 0)
        return code;
    if (pq->call.PQsendQueryParams(pq->connection, text, 0, NULL, NULL, NULL, NULL, 1) != 1)
        return dmsg_pq_fail(pq, DMSG_PQ_LOST, error);
    return note_queued(pq, (struct dmsg_pq_taker){take, user}, 0);
}

int dmsg_pq_queue_text(struct dmsg_pq *pq, const char *text, struct dmsg_error *error)
{
    return dmsg_pq_queue_asking(pq, text, NULL, NULL, error);
}

int dmsg_pq_prepare(struct dmsg_pq *pq, struct dmsg_error *error)
{
    for (size_t i = 0; i < pq->config.count; i++) {
        char name[NAME_SIZE];
        int code = make_room(pq, error);
        if (code < 0)
            return code;
        statement_name(name, i);
        if (pq->call.PQsendPrepare(pq->connection, name, pq->config.texts[i], 0, NULL) != 1)
            return dmsg_pq_fail(pq, DMSG_PQ_LOST, error);
        note_queued(pq, (struct dmsg_pq_taker){0}, 0);
    }
    return dmsg_pq_sync(pq, error);
}

/* ------------------------------------------------------------------------------------ answers */

/* The answer to one statement, and the NULL that ends it. False: it failed; the first failure is
   told. */
static bool take_result(
    struct dmsg_pq *pq, struct dmsg_pq_taker taker, bool failed, struct dmsg_error *error)
{
    PGresult *result = pq->call.PQgetResult(pq->connection);
    ExecStatusType status = pq->call.PQresultStatus(result); /* of NULL: PGRES_FATAL_ERROR */
    bool good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    if (good && !failed && taker.take != NULL)
        taker.take(taker.user, &(struct dmsg_pq_rows){&pq->call, result});
    if (!good && !failed)
        dmsg_pq_fail_result(pq, result, error);
    pq->call.PQclear(result);
    if (pq->connection == NULL)
        return false;
    while ((result = pq->call.PQgetResult(pq->connection)) != NULL) {
        pq->call.PQclear(result);
        if (pq->call.PQstatus(pq->connection) != CONNECTION_OK)
            return false;
    }
    return good;
}

int dmsg_pq_sync(struct dmsg_pq *pq, struct dmsg_error *error)
{
    bool failed = false;
    if (pq->connection == NULL)
        return dmsg_fail(error, DMSG_E_INTERNAL, "PostgreSQL: %s", DMSG_PQ_LOST);
    if (pq->queued == 0)
        return 0;
    if (pq->call.PQpipelineSync(pq->connection) != 1)
        return dmsg_pq_fail(pq, DMSG_PQ_LOST, error);
    for (size_t i = 0; pq->connection != NULL && i < pq->queued; i++)
        failed |= !take_result(pq, pq->takers[i], failed, error);
    pq->queued = pq->octets = 0;
    if (pq->connection == NULL)
        return DMSG_E_INTERNAL;
    PGresult *end = pq->call.PQgetResult(pq->connection);
    bool synchronised = pq->call.PQresultStatus(end) == PGRES_PIPELINE_SYNC;
    pq->call.PQclear(end);
    if (!synchronised)
        return dmsg_pq_fail(pq, DMSG_PQ_LOST, failed ? NULL : error);
    return failed ? DMSG_E_INTERNAL : 0;
}

/* ------------------------------------------------------------------------- one at a time */

struct wanted {
    struct dmsg_pq_rows *copy;
    bool wants_rows, lacks_memory;
    int64_t number;
    int count;
};

static int64_t count_of(const struct dmsg_pq_rows *rows)
{
    return rows->call->PQresultStatus(rows->result) == PGRES_TUPLES_OK ? dmsg_pq_rows_count(rows)
                                                                       : dmsg_pq_rows_changed(rows);
}

static struct dmsg_pq_rows *copy_of(const struct dmsg_pq_rows *rows)
{
    struct dmsg_pq_rows *copy = malloc(sizeof *copy);
    if (copy == NULL)
        return NULL;
    copy->call = rows->call;
    copy->result = rows->call->PQcopyResult(rows->result, PG_COPYRES_ATTRS | PG_COPYRES_TUPLES);
    if (copy->result == NULL)
        dmsg_pq_rows_free(&copy);
    return copy;
}

static void take_wanted(void *user, const struct dmsg_pq_rows *rows)
{
    struct wanted *wanted = user;
    wanted->count = (int)count_of(rows);
    if (dmsg_pq_rows_count(rows) > 0)
        wanted->number = dmsg_pq_rows_number(rows, 0, 0);
    if (wanted->wants_rows)
        wanted->copy = copy_of(rows);
    wanted->lacks_memory = wanted->wants_rows && wanted->copy == NULL;
}

static int run(struct dmsg_pq *pq, size_t which, struct wanted *wanted, struct dmsg_error *error,
    const char *types, va_list *arguments)
{
    int code =
        queue(pq, which, (struct dmsg_pq_taker){take_wanted, wanted}, error, types, arguments);
    if (code == 0)
        code = dmsg_pq_sync(pq, error);
    if (code == 0 && wanted->lacks_memory)
        return dmsg_fail_memory(error);
    if (code < 0)
        dmsg_pq_rows_free(&wanted->copy);
    return code < 0 ? code : wanted->count;
}

int dmsg_pq_run(struct dmsg_pq *pq, size_t which, struct dmsg_pq_rows **out,
    struct dmsg_error *error, const char *types, ...)
{
    struct wanted wanted = {.wants_rows = out != NULL};
    va_list arguments;
    va_start(arguments, types);
    int code = run(pq, which, &wanted, error, types, &arguments);
    va_end(arguments);
    if (code >= 0 && out != NULL)
        *out = wanted.copy;
    return code;
}

int dmsg_pq_number(struct dmsg_pq *pq, size_t which, int64_t *out, struct dmsg_error *error,
    const char *types, ...)
{
    struct wanted wanted = {0};
    va_list arguments;
    va_start(arguments, types);
    int code = run(pq, which, &wanted, error, types, &arguments);
    va_end(arguments);
    if (code <= 0)
        return code;
    *out = wanted.number;
    return 1;
}

/* -------------------------------------------------------------------------------------- rows */

int dmsg_pq_rows_count(const struct dmsg_pq_rows *rows)
{
    return rows->call->PQntuples(rows->result);
}

bool dmsg_pq_rows_are(const struct dmsg_pq_rows *rows, const char *tag)
{
    return strcmp(rows->call->PQcmdStatus(rows->result), tag) == 0;
}

int64_t dmsg_pq_rows_changed(const struct dmsg_pq_rows *rows)
{
    return strtoll(rows->call->PQcmdTuples(rows->result), NULL, 10);
}

int64_t dmsg_pq_rows_number(const struct dmsg_pq_rows *rows, int row, int column)
{
    uint64_t number = 0;
    struct dmsg_span span = dmsg_pq_rows_span(rows, row, column);
    if (span.size == sizeof number)
        memcpy(&number, span.data, sizeof number);
    return (int64_t)be64toh(number);
}

const char *dmsg_pq_rows_text(const struct dmsg_pq_rows *rows, int row, int column)
{
    return rows->call->PQgetvalue(rows->result, row, column);
}

struct dmsg_span dmsg_pq_rows_span(const struct dmsg_pq_rows *rows, int row, int column)
{
    int size = rows->call->PQgetlength(rows->result, row, column);
    const uint8_t *data = (const uint8_t *)rows->call->PQgetvalue(rows->result, row, column);
    return (struct dmsg_span){size > 0 ? data : NULL, size > 0 ? (size_t)size : 0};
}

void dmsg_pq_rows_free(struct dmsg_pq_rows **rows)
{
    if (*rows == NULL)
        return;
    (*rows)->call->PQclear((*rows)->result);
    free(*rows);
    *rows = NULL;
}
