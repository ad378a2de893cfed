/*
 * The connection to PostgreSQL: what is behind it, libpq, is in postgresql_library.h.
 *
 * Statements are queued and travel together; dmsg_pq_sync waits for all of them, so that a batch
 * costs a few round trips and not one for each message. What a queued statement gives goes to its
 * `take`, in the order of queueing. After a failure everything up to the next sync has failed.
 *
 * A connection that was lost fails whatever is under way. dmsg_pq_ready makes a new one, with
 * pauses between its tries (DMSG_PQ_PAUSE).
 */
#ifndef DANEMSG_STORE_POSTGRESQL_LINK_H
#define DANEMSG_STORE_POSTGRESQL_LINK_H

#include "danemsg/error.h"
#include "danemsg/span.h"

/* Milliseconds between two tries to connect, and how many times as long as the last try: where
   nothing answers, a receiver spends less than a tenth of its time on that. */
#define DMSG_PQ_PAUSE 1000
#define DMSG_PQ_PAUSE_FACTOR 10
/* Seconds that the first try may take, and a later one: libpq's least; and milliseconds without an
   answer of the other machine's kernel after which a connection is lost: a receiver's loop waits
   for them, and its broker must not give it up meanwhile. The URL may say otherwise. */
#define DMSG_PQ_CONNECT_TIMEOUT "5"
#define DMSG_PQ_AGAIN_TIMEOUT "2"
#define DMSG_PQ_USER_TIMEOUT "15000"
/* Milliseconds that a statement waits for another session's transaction, as with SQLite. */
#define DMSG_PQ_LOCK_TIMEOUT 5000
/* Seconds after which the server ends a session that holds a transaction and says nothing. */
#define DMSG_PQ_IDLE_TIMEOUT 60
/* Statements and octets that are queued before their answers are read. */
#define DMSG_PQ_QUEUE 512
#define DMSG_PQ_QUEUE_OCTETS (4 * 1024 * 1024)

struct dmsg_pq;
struct dmsg_pq_rows; /* what a statement gave */

typedef void dmsg_pq_take(void *user, const struct dmsg_pq_rows *rows);

struct dmsg_pq_config {
    const char *url;          /* its text appears in no error */
    bool read_only;           /* every transaction */
    const char *const *texts; /* statements, prepared on every connection; not before the first */
    size_t count;             /* dmsg_pq_prepare */
};

/* Reads the URL and does not connect yet. DMSG_E_USAGE: it is none of PostgreSQL's. */
int dmsg_pq_new(struct dmsg_pq **out, const struct dmsg_pq_config *config,
    struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_pq_free(struct dmsg_pq **pq);

/* 0: the connection is as it was; 1: it is new, and what a session holds (locks, prepared
   statements) is gone; DMSG_E_INTERNAL: there is none. Not within a transaction. */
int dmsg_pq_ready(struct dmsg_pq *pq, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_pq_prepare(struct dmsg_pq *pq, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Drops the connection, so that dmsg_pq_ready makes a new one. */
void dmsg_pq_drop(struct dmsg_pq *pq);

/*
 * Queues a statement. types has a letter for each parameter: i int64_t, t const char *, s struct
 * dmsg_span (bytea). They are copied. take NULL: only whether it failed is of interest.
 */
int dmsg_pq_queue(struct dmsg_pq *pq, size_t which, dmsg_pq_take *take, void *user,
    struct dmsg_error *error, const char *types, ...) DMSG_MUST_CHECK;
/* As dmsg_pq_queue, of statements without parameters that were not prepared. */
int dmsg_pq_queue_text(
    struct dmsg_pq *pq, const char *text, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_pq_queue_asking(struct dmsg_pq *pq, const char *text, dmsg_pq_take *take, void *user,
    struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_pq_sync(struct dmsg_pq *pq, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Queues one and waits: how many rows it gave, or changed if it gives none. out (NULL: not wanted)
   is the caller's, and not set on failure. */
int dmsg_pq_run(struct dmsg_pq *pq, size_t which, struct dmsg_pq_rows **out,
    struct dmsg_error *error, const char *types, ...) DMSG_MUST_CHECK;
/* One number out of the first row: 1, or 0 for no row. */
int dmsg_pq_number(struct dmsg_pq *pq, size_t which, int64_t *out, struct dmsg_error *error,
    const char *types, ...) DMSG_MUST_CHECK;

/* Columns are int8, text or bytea; they are borrowed from the rows. Text ends with a NUL. */
int dmsg_pq_rows_count(const struct dmsg_pq_rows *rows);
bool dmsg_pq_rows_are(const struct dmsg_pq_rows *rows, const char *tag);
int64_t dmsg_pq_rows_changed(const struct dmsg_pq_rows *rows);
int64_t dmsg_pq_rows_number(const struct dmsg_pq_rows *rows, int row, int column);
const char *dmsg_pq_rows_text(const struct dmsg_pq_rows *rows, int row, int column);
struct dmsg_span dmsg_pq_rows_span(const struct dmsg_pq_rows *rows, int row, int column);
void dmsg_pq_rows_free(struct dmsg_pq_rows **rows);

#endif
