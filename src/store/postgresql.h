/*
 * The PostgreSQL store's inside: its tables and statements (postgresql_sql.c), the connection
 * (postgresql_link.h), opening and who is alive (postgresql_open.c, postgresql_members.c), what an
 * open transaction knows and still has to write (postgresql_facts.c), and the operations
 * (postgresql.c, postgresql_waiting.c, postgresql_purge.c).
 *
 * Several receivers of one identity share it. What one of them has accepted or lets wait is its
 * own to deliver, until it is gone: then another takes that over.
 *
 * Two transactions meet on rows of three kinds. Ids: the later one waits for the earlier one, and
 * then it is a replay. Counts and facts: written at the end of a transaction, in the same order by
 * everybody. Forgetting of ids: under a lock that acceptance holds together and a purge alone, so
 * that no id is forgotten between the look at purged_until and the commit.
 */
#ifndef DANEMSG_STORE_POSTGRESQL_H
#define DANEMSG_STORE_POSTGRESQL_H

#include "store/backend.h"
#include "store/postgresql_link.h"

/* Seconds without a sign of life, and without its lock, after which a receiver is gone; and that
   every receiver has to come back after a start of the server, which takes all locks away. */
#define DMSG_PG_LEASE "15"
/* First keys of advisory locks: of living receivers, of a recipient's ids, and of who makes or
   changes the tables. */
#define DMSG_PG_OF_RECEIVERS "1684894567"
#define DMSG_PG_OF_IDS "1684894568"
#define DMSG_PG_OF_VERSIONS "1684894569"

#define DMSG_PG_STATEMENTS(X)                                                                      \
    X(JOIN)                                                                                        \
    X(HOLD)                                                                                        \
    X(BEAT)                                                                                        \
    X(LEAVE)                                                                                       \
    X(GONE)                                                                                        \
    X(TAKE_PENDING)                                                                                \
    X(TAKE_WAITING)                                                                                \
    X(STRIKE)                                                                                      \
    X(SHARE)                                                                                       \
    X(ALONE)                                                                                       \
    X(TIMES)                                                                                       \
    X(FACTS)                                                                                       \
    X(REMEMBER)                                                                                    \
    X(UNREMEMBER)                                                                                  \
    X(COUNT_IDS)                                                                                   \
    X(ADD_SENDER)                                                                                  \
    X(SENT_V1)                                                                                     \
    X(SAVE_TIMES)                                                                                  \
    X(KEEP)                                                                                        \
    X(NEXT)                                                                                        \
    X(KEPT)                                                                                        \
    X(DELIVERED)                                                                                   \
    X(FAILED)                                                                                      \
    X(DEPTHS)                                                                                      \
    X(PENDING)                                                                                     \
    X(TALLY)                                                                                       \
    X(COUNTS)                                                                                      \
    X(WAITS)                                                                                       \
    X(WAIT)                                                                                        \
    X(WAITING)                                                                                     \
    X(WAITING_OF)                                                                                  \
    X(WAITING_LAST)                                                                                \
    X(WAITING_FACTS)                                                                               \
    X(WAITED)                                                                                      \
    X(USAGE)                                                                                       \
    X(CHARGE)                                                                                      \
    X(SETTLE)                                                                                      \
    X(NOTE_ISSUED)                                                                                 \
    X(ISSUED_UNTIL)                                                                                \
    X(FORGET)                                                                                      \
    X(RAISE)                                                                                       \
    X(TOO_MANY_IDS)                                                                                \
    X(MIDDLE_ID)                                                                                   \
    X(RAISE_ZONE)                                                                                  \
    X(TOO_MANY_SENDERS)                                                                            \
    X(FORGET_SENDERS)                                                                              \
    X(OLDEST)                                                                                      \
    X(DISCARD)

enum dmsg_pg_statement {
#define DMSG_PG_INDEX(name) DMSG_PG_##name,
    DMSG_PG_STATEMENTS(DMSG_PG_INDEX)
#undef DMSG_PG_INDEX
        DMSG_PG_COUNT
};

/* Texts of the statements, and of the steps from nothing to this version's tables. */
extern const char *const dmsg_pg_texts[DMSG_PG_COUNT];
extern const char *const *const dmsg_pg_steps[]; /* each ends with NULL */
extern const size_t dmsg_pg_step_count;

/* Something that the open transaction has looked up, or has to write before its end. */
enum dmsg_pg_kind { DMSG_PG_ZONE, DMSG_PG_SENDER, DMSG_PG_BUDGET, DMSG_PG_EXPECTED };

struct dmsg_pg_fact {
    enum dmsg_pg_kind kind;
    char zone[DMSG_NAME_TEXT]; /* of a sender; else empty */
    char name[DMSG_NAME_TEXT + 1];
    char id[DMSG_MESSAGE_ID_SIZE]; /* expected */

    bool known;           /* what follows was read */
    bool verified, fresh; /* sender: there already; to be added */
    bool sent_v1, first_v1;
    int64_t purged_until;
    int64_t messages, octets; /* budget: of committed transactions */

    int64_t more_messages, more_octets; /* to be added; zone: ids */
    bool is_new, taken;                 /* expected: was not there; was accepted */
};

struct dmsg_postgresql {
    struct dmsg_store store;
    struct dmsg_pq *pq;
    char *member; /* its name among the receivers; NULL: it is none */
    bool show;
    int64_t recipient, me; /* rows; me 0: none */
    bool open;             /* a transaction */

    /* Of the open transaction. */
    void *facts; /* tsearch(3) of struct dmsg_pg_fact */
    int64_t octets, newest_issued;
    bool committed;

    /* Records that were read with the one that was given out last. */
    struct {
        struct dmsg_pq_rows *rows;
        enum dmsg_pg_statement which;
        int at;
        int64_t last; /* the row that was given out last */
        char sender[DMSG_NAME_TEXT];
    } ahead;

    /* Where purge and retention go on. */
    int64_t purge_sender, retain_row;
    int64_t zone_ids_most, ids_most, zone_senders_most; /* DMSG_ZONE_IDS and so on */
};

static inline struct dmsg_postgresql *dmsg_pg_of(struct dmsg_store *store)
{
    return (struct dmsg_postgresql *)store;
}

/* A zone is the end of a name, which ends with a NUL. */
static inline const char *dmsg_pg_zone_text(struct dmsg_span zone)
{
    return (const char *)zone.data;
}

/* ------------------------------------------------------------------------- postgresql_open.c */

/* A connection that can be used, with all that a session needs; nothing within a transaction. */
int dmsg_pg_ready(struct dmsg_postgresql *pg, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_pg_forget_ahead(struct dmsg_postgresql *pg);

/* ---------------------------------------------------------------------- postgresql_members.c */

/* Puts this receiver down and takes its lock. */
int dmsg_pg_join(struct dmsg_postgresql *pg, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Others need not wait for it to be missed. */
void dmsg_pg_leave(struct dmsg_postgresql *pg);
int dmsg_pg_take_over(struct dmsg_store *store, struct dmsg_error *error);

/* ------------------------------------------------------------------------ postgresql_facts.c */

int dmsg_pg_begin(
    struct dmsg_postgresql *pg, bool durable, struct dmsg_error *error) DMSG_MUST_CHECK;
/* While no other accepts anything or forgets; what it changes must not survive a power cut. */
int dmsg_pg_begin_alone(struct dmsg_postgresql *pg, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_pg_commit(struct dmsg_postgresql *pg, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_pg_rollback(struct dmsg_postgresql *pg);
/* Ends a transaction that this room has begun: commits, or rolls back when code is negative. */
int dmsg_pg_finish(struct dmsg_postgresql *pg, int code, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Finds it, or makes it: *is_new. NULL: no memory. */
struct dmsg_pg_fact *dmsg_pg_fact(struct dmsg_postgresql *pg, enum dmsg_pg_kind kind,
    const char *zone, const char *name, const char *id, bool *is_new);

/* --------------------------------------------------------------------------- postgresql.c */

/* The first record of a statement whose rows are records, with row > after; reads some ahead.
   sender: of a statement that wants one, else NULL. */
int dmsg_pg_show(struct dmsg_postgresql *pg, enum dmsg_pg_statement which,
    const struct dmsg_name *sender, int64_t after, struct dmsg_record *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* ------------------------------------------------------------------------ postgresql_ids.c */

/* What the open transaction knows of a sender, asked for once. NULL: no memory. */
struct dmsg_pg_fact *dmsg_pg_sender_fact(
    struct dmsg_postgresql *pg, const struct dmsg_name *name, struct dmsg_span zone);
int dmsg_pg_sender(struct dmsg_store *store, const struct dmsg_name *name, struct dmsg_span zone,
    struct dmsg_store_sender *out, struct dmsg_error *error);
int dmsg_pg_expect(struct dmsg_store *store, const struct dmsg_store_entry *entries, size_t count,
    struct dmsg_error *error);
int dmsg_pg_remember(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error);

/* ------------------------------------- operations: postgresql_waiting.c, postgresql_purge.c */

int dmsg_pg_waits(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error);
int dmsg_pg_wait(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error);
int dmsg_pg_usage(struct dmsg_store *store, enum dmsg_store_whose whose,
    const struct dmsg_store_entry *entry, struct dmsg_store_usage *out, struct dmsg_error *error);
int dmsg_pg_waiting(struct dmsg_store *store, const struct dmsg_name *sender, int64_t after,
    struct dmsg_record *out, struct dmsg_error *error);
int dmsg_pg_waiting_last(struct dmsg_store *store, int64_t *row, struct dmsg_error *error);
int dmsg_pg_waited(struct dmsg_store *store, int64_t row, struct dmsg_error *error);
int dmsg_pg_deadline(struct dmsg_store *store, int64_t row, struct dmsg_store_deadline *out,
    struct dmsg_error *error);
int dmsg_pg_purge(struct dmsg_store *store, int64_t limit, int64_t now, struct dmsg_error *error);
int dmsg_pg_retain(
    struct dmsg_store *store, int64_t before, int64_t octets, struct dmsg_error *error);

#endif
