/*
 * The SQLite store's inside: its tables and statements (sqlite_sql.c), how a statement runs
 * (sqlite_statement.c), the database file and transactions (sqlite_database.c), records out of rows
 * (sqlite_record.c), and the operations (sqlite.c, sqlite_waiting.c, sqlite_purge.c).
 *
 * Nothing of SQLite stays open between two operations but the caller's transaction: what a record
 * shows is copied, so that a message which is being delivered for minutes holds no lock and lets
 * the write-ahead log be emptied.
 */
#ifndef DANEMSG_STORE_SQLITE_H
#define DANEMSG_STORE_SQLITE_H

#include "store/backend.h"

#include <sqlite3.h>

/* Milliseconds that a statement waits for another process's transaction: longer than a batch takes,
   and well within a broker's patience. */
#define DMSG_SQLITE_BUSY 5000

/* "dmsg", so that file(1) and we know a database of ours. */
#define DMSG_SQLITE_APPLICATION 0x646d7367

#define DMSG_SQLITE_STATEMENTS(X)                                                                  \
    X(BEGIN)                                                                                       \
    X(COMMIT)                                                                                      \
    X(ROLLBACK)                                                                                    \
    X(META)                                                                                        \
    X(SAVE_META)                                                                                   \
    X(FIND_SENDER)                                                                                 \
    X(ADD_SENDER)                                                                                  \
    X(SENT_V1)                                                                                     \
    X(FIND_ZONE)                                                                                   \
    X(ADD_ZONE)                                                                                    \
    X(COUNT_SENDER)                                                                                \
    X(COUNT_IDS)                                                                                   \
    X(REMEMBER)                                                                                    \
    X(KEEP)                                                                                        \
    X(PEND)                                                                                        \
    X(NEXT)                                                                                        \
    X(KEPT)                                                                                        \
    X(DELIVERED)                                                                                   \
    X(MARK_AGAIN)                                                                                  \
    X(FAILED)                                                                                      \
    X(WAITS)                                                                                       \
    X(WAIT)                                                                                        \
    X(WAITING)                                                                                     \
    X(WAITING_OF)                                                                                  \
    X(WAITING_FACTS)                                                                               \
    X(WAITED)                                                                                      \
    X(USAGE)                                                                                       \
    X(CHARGE)                                                                                      \
    X(SETTLE)                                                                                      \
    X(DEPTHS)                                                                                      \
    X(PENDING)                                                                                     \
    X(TALLY)                                                                                       \
    X(COUNTS)                                                                                      \
    X(NOTE_ISSUED)                                                                                 \
    X(ISSUED_UNTIL)                                                                                \
    X(SUM_IDS)                                                                                     \
    X(LARGEST_ZONE)                                                                                \
    X(NEXT_ZONE)                                                                                   \
    X(MIDDLE_ID)                                                                                   \
    X(RAISE_ZONE)                                                                                  \
    X(FORGET)                                                                                      \
    X(NEXT_SENDERS)                                                                                \
    X(FORGET_SENDERS)                                                                              \
    X(OUTBOX_PUT)                                                                                  \
    X(OUTBOX_NEXT)                                                                                 \
    X(OUTBOX_NEXT_UNTRIED)                                                                         \
    X(OUTBOX_NEXT_FAILED)                                                                          \
    X(OUTBOX_OPEN)                                                                                 \
    X(OUTBOX_OPEN_NEXT)                                                                            \
    X(OUTBOX_EXPIRED)                                                                              \
    X(OUTBOX_LIST)                                                                                 \
    X(OUTBOX_SIZE)                                                                                 \
    X(OUTBOX_SEAL)                                                                                 \
    X(OUTBOX_GIVE_UP)                                                                              \
    X(OUTBOX_FAIL)                                                                                 \
    X(OUTBOX_FAIL_OPEN)                                                                            \
    X(OUTBOX_HURRY)                                                                                \
    X(OUTBOX_REMOVE)                                                                               \
    X(OUTBOX_DEPTHS)                                                                               \
    X(OUTBOX_TALLY)                                                                                \
    X(OUTBOX_DUE)                                                                                  \
    X(OUTBOX_EXPIRES)                                                                              \
    X(DATA_VERSION)                                                                                \
    X(OLDEST)                                                                                      \
    X(DISCARD)

enum dmsg_sqlite_statement {
#define DMSG_SQLITE_INDEX(name) DMSG_SQL_##name,
    DMSG_SQLITE_STATEMENTS(DMSG_SQLITE_INDEX)
#undef DMSG_SQLITE_INDEX
        DMSG_SQL_COUNT
};

/* Texts of the statements, and of the steps from an empty database to this version's. */
extern const char *const dmsg_sqlite_texts[DMSG_SQL_COUNT];
extern const char *const dmsg_sqlite_steps[];
extern const size_t dmsg_sqlite_step_count;

/* The row of the table meta. */
struct dmsg_sqlite_meta {
    int64_t last_row, newest_issued, purged_until;
    int64_t kept, octets; /* of the inbox, which is too large to be counted each time */
};

/* Messages that were handed out and are not marked in the database yet. */
#define DMSG_SQLITE_MARKS 1024
struct dmsg_sqlite_marks {
    bool opened;
    bool failed;                  /* to be written: each is marked at once from then on */
    int fd;                       /* of PATH-delivered; -1: there is none, each is marked at once */
    uint64_t next, applied, done; /* numbers of marks: the next one's; below it, in the open
                                     transaction; below it, committed */
    int64_t rows[DMSG_SQLITE_MARKS]; /* by number, in a ring */
    int64_t highest;                 /* at least the largest row of those not committed */
    int64_t offered_row;             /* given out last, 0: none */
    char offered_id[DMSG_MESSAGE_ID_SIZE];
};

struct dmsg_sqlite {
    struct dmsg_store store;
    sqlite3 *db;
    char *path;
    bool relaxed; /* synchronous=NORMAL is set */
    sqlite3_stmt *statements[DMSG_SQL_COUNT];
    struct dmsg_buffer shown; /* topic and content of the record that was given out last */

    /* Of the open transaction. */
    struct dmsg_sqlite_meta meta;
    bool meta_changed;
    int64_t committed_row; /* later ones are this transaction's */
    struct {
        struct dmsg_name name; /* size 0: none */
        int64_t row, zone;
        bool sent_v1;
        int64_t purged_until;
    } sender;                  /* the one that was looked up last */
    int64_t counted_zone, ids; /* ids that are still to be added to a zone's count */

    struct dmsg_sqlite_marks marks;

    /* Where purge and retention go on. */
    int64_t purge_zone, purge_sender, retain_row, largest_zone;
    int64_t zone_ids_most, ids_most, zone_senders_most; /* DMSG_ZONE_IDS and so on */
};

static inline struct dmsg_sqlite *dmsg_sqlite_of(struct dmsg_store *store)
{
    return (struct dmsg_sqlite *)store;
}

/* ----------------------------------------------------------------------- sqlite_statement.c */

/* What SQLite said last, in words that say what to do; returns code. */
int dmsg_sqlite_fail(const struct dmsg_sqlite *sqlite, int code, struct dmsg_error *error);

/*
 * Runs a statement with its parameters: `types` has a letter for each, i int64_t, t const char *,
 * s struct dmsg_span (a blob). They are borrowed until the statement ends. 1: a row is there, to be
 * read and ended; 0: no row, and it is ended; negative: failed and ended.
 */
int dmsg_sqlite_run(struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which,
    struct dmsg_error *error, const char *types, ...) DMSG_MUST_CHECK;
/* The next row of a statement that has one: 1, or 0 or negative as from run. */
int dmsg_sqlite_step(struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which,
    struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_sqlite_end(struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which);
/* As run, for a statement whose rows, if any, are of no interest: 0 or negative. */
int dmsg_sqlite_do(struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which,
    struct dmsg_error *error, const char *types, ...) DMSG_MUST_CHECK;
/* As run, for one number: 1, 0 for no row, negative. */
int dmsg_sqlite_get(struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which, int64_t *out,
    struct dmsg_error *error, const char *types, ...) DMSG_MUST_CHECK;

/* Column of the statement's row. */
static inline int64_t dmsg_sqlite_number(
    const struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which, int column)
{
    return sqlite3_column_int64(sqlite->statements[which], column);
}

/* ------------------------------------------------------------------------ sqlite_database.c */

/* Opens or makes the database, or with `show` one that is there, for reading. */
int dmsg_sqlite_open(struct dmsg_sqlite *sqlite, const char *path,
    const struct dmsg_name *recipient, bool show, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_sqlite_close(struct dmsg_sqlite *sqlite);

int dmsg_sqlite_read_meta(struct dmsg_sqlite *sqlite, struct dmsg_sqlite_meta *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_sqlite_begin(
    struct dmsg_sqlite *sqlite, bool durable, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_sqlite_commit(struct dmsg_sqlite *sqlite, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_sqlite_rollback(struct dmsg_sqlite *sqlite);

/* -------------------------------------------------------------------------- sqlite_marks.c */

/* Marking a delivery in the database costs a transaction. So marks go into a file first, with one
   write, and into the database with the next transaction, or when nothing is left to deliver. */

/* Before the first message is given out: marks what a killed process had handed out. */
int dmsg_sqlite_marks_open(struct dmsg_sqlite *sqlite, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Is there room for one more? Not in a file that is another process's, or cannot be written. */
bool dmsg_sqlite_marks_room(const struct dmsg_sqlite *sqlite);
/* The message that was given out last was delivered: true when that survives this process. */
bool dmsg_sqlite_mark(struct dmsg_sqlite *sqlite, int64_t row);
/* Delivered, though the database does not say so yet. */
bool dmsg_sqlite_marked(const struct dmsg_sqlite *sqlite, int64_t row);
/* At the beginning of a transaction, after its end; and outside of one, before it is told what is
   delivered, in one of their own, if there are any. */
int dmsg_sqlite_marks_apply(struct dmsg_sqlite *sqlite, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_sqlite_marks_committed(struct dmsg_sqlite *sqlite);
int dmsg_sqlite_marks_settle(struct dmsg_sqlite *sqlite, struct dmsg_error *error) DMSG_MUST_CHECK;
/* The last of them, and the file's end. */
void dmsg_sqlite_marks_close(struct dmsg_sqlite *sqlite);

/* ------------------------------------------------------------------------- sqlite_record.c */

/* A column as text, "" for none. */
const char *dmsg_sqlite_text(
    const struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which, int column);
/* A name that this store wrote. */
void dmsg_sqlite_read_name(struct dmsg_name *out, const char *text);
/* The statement's row as a record, and the statement's end: 1, or negative. */
int dmsg_sqlite_show(struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which,
    struct dmsg_record *out, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Of a statement whose one parameter is the row before. */
int dmsg_sqlite_show_after(struct dmsg_store *store, enum dmsg_sqlite_statement which,
    int64_t after, struct dmsg_record *out, struct dmsg_error *error) DMSG_MUST_CHECK;
/* What the open transaction knows already, or what is on disk. */
int dmsg_sqlite_know_meta(struct dmsg_sqlite *sqlite, struct dmsg_sqlite_meta *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* A zone is the end of a name, which ends with a NUL. */
static inline const char *dmsg_sqlite_zone_text(struct dmsg_span zone)
{
    return (const char *)zone.data;
}

/* --------------------------------------------- operations: sqlite_waiting.c, sqlite_purge.c */

int dmsg_sqlite_waits(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error);
int dmsg_sqlite_wait(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error);
int dmsg_sqlite_usage(struct dmsg_store *store, enum dmsg_store_whose whose,
    const struct dmsg_store_entry *entry, struct dmsg_store_usage *out, struct dmsg_error *error);
int dmsg_sqlite_waiting(struct dmsg_store *store, const struct dmsg_name *sender, int64_t after,
    struct dmsg_record *out, struct dmsg_error *error);
int dmsg_sqlite_waiting_last(struct dmsg_store *store, int64_t *row, struct dmsg_error *error);
int dmsg_sqlite_waited(struct dmsg_store *store, int64_t row, struct dmsg_error *error);
int dmsg_sqlite_deadline(struct dmsg_store *store, int64_t row, struct dmsg_store_deadline *out,
    struct dmsg_error *error);
int dmsg_sqlite_purge(
    struct dmsg_store *store, int64_t limit, int64_t now, struct dmsg_error *error);
int dmsg_sqlite_retain(
    struct dmsg_store *store, int64_t before, int64_t octets, struct dmsg_error *error);

#endif
