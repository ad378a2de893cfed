#include "base/fail.h"
#include "base/monotonic.h"
#include "store/postgresql_library.h"

#include <openssl/crypto.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Reads of what a server says unasked, before a connection counts as good. */
#define UNASKED_MAX 8
/* Milliseconds that a session may take to say which process serves it: the first of all as long as
   its connection may, later ones less, since the receiver stands still meanwhile. A pooler that has
   no other session free lets a second connection wait, and is none that lends them. */
#define FIRST_SESSION_TIME 5000
#define SECOND_SESSION_TIME 2000

/* ------------------------------------------------------------------------------------ errors */

/* Only the first line of what libpq says, which names the server and never the password. */
int dmsg_pq_fail(struct dmsg_pq *pq, const char *what, struct dmsg_error *error)
{
    char text[200];
    const char *said = pq->connection != NULL ? pq->call.PQerrorMessage(pq->connection) : "";
    snprintf(text, sizeof text, "%.*s", (int)strcspn(said, "\n"), said);
    dmsg_pq_drop(pq);
    return dmsg_fail(
        error, DMSG_E_INTERNAL, "PostgreSQL: %s%s%s", what, text[0] != '\0' ? ": " : "", text);
}

/* SQLSTATE (PostgreSQL, appendix A), for which there is something to do. */
static const struct {
    const char *state, *text;
} hints[] = {
    {"40P01", "two receivers waited for each other's transaction; it can be done again"},
    {"55P03", "another receiver's transaction has held what is needed for five seconds"},
    {"53100", "the server's disk is full: make room there"},
    {"42501", "the role may not do that: grant it what doc/SCALING.md says"},
    {"25006", "the server is read-only: a standby, or told so"},
    {"42P05", "the session is another's: a pooler in between must be in session mode"},
    {"26000", "the session is another's: a pooler in between must be in session mode"},
};

int dmsg_pq_fail_result(struct dmsg_pq *pq, const PGresult *result, struct dmsg_error *error)
{
    const char *state = pq->call.PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *text = pq->call.PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (state == NULL || pq->call.PQstatus(pq->connection) != CONNECTION_OK)
        return dmsg_pq_fail(pq, DMSG_PQ_LOST, error);
    for (size_t i = 0; i < sizeof hints / sizeof hints[0]; i++) {
        if (strcmp(state, hints[i].state) == 0)
            return dmsg_fail(error, DMSG_E_INTERNAL, "PostgreSQL: %s (%s)", hints[i].text, state);
    }
    return dmsg_fail(
        error, DMSG_E_INTERNAL, "PostgreSQL: %.200s (%s)", text != NULL ? text : "failed", state);
}

/* --------------------------------------------------------------------------------- the URL */

static const char *option_of(const struct dmsg_pq *pq, const char *keyword)
{
    for (const PQconninfoOption *option = pq->options; option->keyword != NULL; option++) {
        if (strcmp(option->keyword, keyword) == 0)
            return option->val;
    }
    return NULL;
}

/* A '/' or '@' in a password that is not written as %2F or %40 puts its rest into other parts. */
static bool is_torn(const struct dmsg_pq *pq)
{
    const char *host = option_of(pq, "host"), *port = option_of(pq, "port");
    const char *database = option_of(pq, "dbname");
    return (host != NULL && strchr(host, '@') != NULL) ||
           (port != NULL && port[strspn(port, "0123456789,")] != '\0') ||
           (database != NULL && strchr(database, '@') != NULL);
}

/* What libpq says of a URL that it cannot read may hold a part of it, and so of the password. */
static int read_url(struct dmsg_pq *pq, const char *url, struct dmsg_error *error)
{
    char *said = NULL;
    int code = dmsg_libpq_load(&pq->call, error);
    if (code < 0)
        return code;
    pq->options = pq->call.PQconninfoParse(url, &said);
    pq->call.PQfreemem(said);
    if (pq->options == NULL || is_torn(pq))
        return dmsg_fail(error, DMSG_E_USAGE,
            "--store: not a URL that PostgreSQL knows: postgresql://USER@HOST:PORT/DATABASE?sslmode"
            "=verify-full; in a password '@', ':', '/' and '%%' are written %%40, %%3A, %%2F, "
            "%%25");
    return 0;
}

int dmsg_pq_new(struct dmsg_pq **out, const struct dmsg_pq_config *config, struct dmsg_error *error)
{
    struct dmsg_pq *pq = calloc(1, sizeof *pq);
    if (pq == NULL)
        return dmsg_fail_memory(error);
    pq->config = *config;
    pq->config.url = NULL;
    int code = read_url(pq, config->url, error);
    if (code < 0)
        dmsg_pq_free(&pq);
    else
        *out = pq;
    return code;
}

void dmsg_pq_drop(struct dmsg_pq *pq)
{
    if (pq->connection != NULL)
        pq->call.PQfinish(pq->connection);
    pq->connection = NULL;
    pq->queued = pq->octets = 0;
}

/* libpq wipes its own copies of a password, and not this one. */
static void free_options(struct dmsg_pq *pq)
{
    for (PQconninfoOption *option = pq->options; option->keyword != NULL; option++) {
        if (option->val != NULL && strstr(option->keyword, "password") != NULL)
            OPENSSL_cleanse(option->val, strlen(option->val));
    }
    pq->call.PQconninfoFree(pq->options);
}

void dmsg_pq_free(struct dmsg_pq **pq)
{
    if (*pq == NULL)
        return;
    dmsg_pq_drop(*pq);
    if ((*pq)->options != NULL)
        free_options(*pq);
    free(*pq);
    *pq = NULL;
}

/* It would write what a server remarks to standard error. */
static void ignore_notice(void *user, const PGresult *result)
{
    (void)user;
    (void)result;
}

/* --------------------------------------------------------------------------------- a pooler */

/* The process that serves the session, by its own word; 0: none answered in time. */
static int server_process(const struct dmsg_pq *pq, PGconn *connection, int most)
{
    struct pollfd fd = {.fd = pq->call.PQsocket(connection), .events = POLLIN};
    int64_t until = dmsg_now_ms() + most, left = most;
    int process = 0;
    if (pq->call.PQsendQueryParams(
            connection, "SELECT pg_backend_pid()", 0, NULL, NULL, NULL, NULL, 0) != 1)
        return 0;
    while (left > 0 && pq->call.PQisBusy(connection) != 0) {
        (void)poll(&fd, 1, (int)left);
        if (pq->call.PQconsumeInput(connection) != 1)
            return 0;
        left = until - dmsg_now_ms();
    }
    if (pq->call.PQisBusy(connection) != 0)
        return 0;
    for (PGresult *result; (result = pq->call.PQgetResult(connection)) != NULL;
         pq->call.PQclear(result)) {
        if (pq->call.PQntuples(result) == 1)
            process = (int)strtol(pq->call.PQgetvalue(result, 0, 0), NULL, 10);
    }
    return process;
}

/* A pooler has numbers of its own for processes. One that lends the server's sessions for a
   transaction each gives a second connection the process of the first, which is idle: then locks,
   settings and prepared statements would be anybody's. Before anything is set in that session. */
static int refuse_lent_session(struct dmsg_pq *pq, const char *const *keywords,
    const char *const *values, struct dmsg_error *error)
{
    int process = server_process(
        pq, pq->connection, pq->connected ? SECOND_SESSION_TIME : FIRST_SESSION_TIME);
    if (process == 0)
        return dmsg_pq_fail(
            pq, "connected, but nothing answers in time; has a pooler no session free?", error);
    if (process == pq->call.PQbackendPID(pq->connection))
        return 0;
    PGconn *second = pq->call.PQconnectdbParams(keywords, values, 0);
    bool lent = pq->call.PQstatus(second) == CONNECTION_OK &&
                server_process(pq, second, SECOND_SESSION_TIME) == process;
    pq->call.PQfinish(second);
    if (!lent)
        return 0;
    return dmsg_fail(error, DMSG_E_INTERNAL,
        "PostgreSQL: a pooler in between must be in session mode, and this one gives two "
        "connections the same session");
}

/* -------------------------------------------------------------------------------- connecting */

/* Of the session. A server or role that was told to commit without the disk is overruled: what a
   broker is told that we have must be there after a power cut. */
static int settle(struct dmsg_pq *pq, struct dmsg_error *error)
{
    char text[512];
    snprintf(text, sizeof text,
        "SET client_min_messages = warning; SET lock_timeout = %d;"
        " SET idle_in_transaction_session_timeout = '%ds'; SET tcp_keepalives_idle = 30;"
        " SET tcp_keepalives_interval = 10; SET tcp_keepalives_count = 3;"
        " SET default_transaction_isolation = 'read committed';"
        " SET default_transaction_read_only = %s;"
        " SELECT set_config('synchronous_commit', 'on', false)"
        " WHERE current_setting('synchronous_commit') IN ('off', 'local')",
        DMSG_PQ_LOCK_TIMEOUT, DMSG_PQ_IDLE_TIMEOUT, pq->config.read_only ? "on" : "off");
    PGresult *result = pq->call.PQexec(pq->connection, text);
    ExecStatusType status = pq->call.PQresultStatus(result);
    int code = 0;
    if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK)
        code = dmsg_pq_fail_result(pq, result, error);
    pq->call.PQclear(result);
    if (code == 0 && pq->call.PQenterPipelineMode(pq->connection) != 1)
        code = dmsg_pq_fail(pq, "no pipeline", error);
    return code;
}

/* A try that took long is followed by a pause that takes longer. */
static int64_t next_try(int64_t began)
{
    int64_t now = dmsg_now_ms(), pause = (now - began) * DMSG_PQ_PAUSE_FACTOR;
    return now + (pause > DMSG_PQ_PAUSE ? pause : DMSG_PQ_PAUSE);
}

static int connect_now(struct dmsg_pq *pq, struct dmsg_error *error)
{
    const char *keywords[64], *values[64];
    size_t count = 0;
    int64_t began = dmsg_now_ms();
    const char *const defaults[][2] = {
        {"connect_timeout", pq->connected ? DMSG_PQ_AGAIN_TIMEOUT : DMSG_PQ_CONNECT_TIMEOUT},
        {"tcp_user_timeout", DMSG_PQ_USER_TIMEOUT}, {"application_name", "danemsg"}};
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        if (option_of(pq, defaults[i][0]) != NULL)
            continue;
        keywords[count] = defaults[i][0];
        values[count++] = defaults[i][1];
    }
    for (const PQconninfoOption *option = pq->options; option->keyword != NULL && count < 62;
         option++) {
        if (option->val == NULL)
            continue;
        keywords[count] = option->keyword;
        values[count++] = option->val;
    }
    keywords[count] = "client_encoding";
    values[count++] = "UTF8";
    keywords[count] = values[count] = NULL;
    pq->connection = pq->call.PQconnectdbParams(keywords, values, 0);
    pq->connect_at = next_try(began);
    if (pq->connection == NULL)
        return dmsg_fail_memory(error);
    if (pq->call.PQstatus(pq->connection) != CONNECTION_OK)
        return dmsg_pq_fail(pq, "not there", error);
    pq->call.PQsetNoticeReceiver(pq->connection, ignore_notice, NULL);
    int code = refuse_lent_session(pq, keywords, values, error);
    if (code == 0)
        code = settle(pq, error);
    if (code == 0) {
        pq->connect_at = 0;
        pq->connected = true;
    } else { /* else it would count as good, with settings that are not ours */
        dmsg_pq_drop(pq);
        pq->connect_at = next_try(began);
    }
    return code;
}

/* A server that went away while nothing was asked of it has said so by now: first why, then the end
   of the connection. */
static bool is_alive(const struct dmsg_pq *pq)
{
    if (pq->connection == NULL || pq->call.PQstatus(pq->connection) != CONNECTION_OK)
        return false;
    struct pollfd fd = {.fd = pq->call.PQsocket(pq->connection), .events = POLLIN};
    for (int i = 0; i < UNASKED_MAX && poll(&fd, 1, 0) == 1; i++) {
        if (pq->call.PQconsumeInput(pq->connection) != 1 ||
            pq->call.PQstatus(pq->connection) != CONNECTION_OK)
            return false;
    }
    return true;
}

int dmsg_pq_ready(struct dmsg_pq *pq, struct dmsg_error *error)
{
    if (is_alive(pq))
        return 0;
    dmsg_pq_drop(pq);
    if (dmsg_now_ms() < pq->connect_at)
        return dmsg_fail(
            error, DMSG_E_INTERNAL, "PostgreSQL: not there, and tried again after a pause");
    int code = connect_now(pq, error);
    return code < 0 ? code : 1;
}
