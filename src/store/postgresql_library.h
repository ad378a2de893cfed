/*
 * libpq, loaded when a store of PostgreSQL's is opened and not linked: with the 20 libraries that
 * it brings (Kerberos, LDAP) it would cost every start of the program more than all the rest. Its
 * functions are called by their names through this table.
 *
 * And the inside of a connection, for the two files that use it: postgresql_link.c, which makes
 * connections, and postgresql_queue.c, which sends statements.
 */
#ifndef DANEMSG_STORE_POSTGRESQL_LIBRARY_H
#define DANEMSG_STORE_POSTGRESQL_LIBRARY_H

#include "store/postgresql_link.h"

#include <libpq-fe.h>

#define DMSG_LIBPQ_CALLS(X)                                                                        \
    X(PQbackendPID)                                                                                \
    X(PQclear)                                                                                     \
    X(PQcmdStatus)                                                                                 \
    X(PQcmdTuples)                                                                                 \
    X(PQconnectdbParams)                                                                           \
    X(PQconninfoFree)                                                                              \
    X(PQconninfoParse)                                                                             \
    X(PQconsumeInput)                                                                              \
    X(PQcopyResult)                                                                                \
    X(PQenterPipelineMode)                                                                         \
    X(PQerrorMessage)                                                                              \
    X(PQexec)                                                                                      \
    X(PQfinish)                                                                                    \
    X(PQfreemem)                                                                                   \
    X(PQgetlength)                                                                                 \
    X(PQgetResult)                                                                                 \
    X(PQgetvalue)                                                                                  \
    X(PQisBusy)                                                                                    \
    X(PQntuples)                                                                                   \
    X(PQpipelineSync)                                                                              \
    X(PQresultErrorField)                                                                          \
    X(PQresultStatus)                                                                              \
    X(PQsendPrepare)                                                                               \
    X(PQsendQueryParams)                                                                           \
    X(PQsendQueryPrepared)                                                                         \
    X(PQsetNoticeReceiver)                                                                         \
    X(PQsocket)                                                                                    \
    X(PQstatus)

struct dmsg_libpq {
#define DMSG_LIBPQ_MEMBER(name) __typeof__(name) *name;
    DMSG_LIBPQ_CALLS(DMSG_LIBPQ_MEMBER)
#undef DMSG_LIBPQ_MEMBER
};

/* The first call loads it, for as long as the process lives; later ones only look the names up.
   DMSG_E_LOCAL: it is not installed, or too old. */
int dmsg_libpq_load(struct dmsg_libpq *out, struct dmsg_error *error) DMSG_MUST_CHECK;

struct dmsg_pq_taker {
    dmsg_pq_take *take;
    void *user;
};

struct dmsg_pq {
    struct dmsg_libpq call;
    PQconninfoOption *options;
    struct dmsg_pq_config config;
    PGconn *connection; /* NULL: none */
    int64_t connect_at; /* dmsg_now_ms(): no try before */
    bool connected;     /* once, ever */
    struct dmsg_pq_taker takers[DMSG_PQ_QUEUE];
    size_t queued;
    size_t octets;
};

struct dmsg_pq_rows {
    const struct dmsg_libpq *call;
    PGresult *result;
};

#define DMSG_PQ_LOST "the connection was lost"

/* Drops the connection, with what libpq says of it; returns DMSG_E_INTERNAL. */
int dmsg_pq_fail(struct dmsg_pq *pq, const char *what, struct dmsg_error *error);
/* With what the server says. */
int dmsg_pq_fail_result(struct dmsg_pq *pq, const PGresult *result, struct dmsg_error *error);

#endif
