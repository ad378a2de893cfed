#include "store/sqlite.h"

#define OVERHEAD DMSG_STORE_NUMBER(DMSG_RETAIN_OVERHEAD)

/*
 * Version 1. A row number is given once, to kept and waiting messages alike (meta.last_row): a
 * receiver remembers how far it is. `pending` has the kept messages that are not delivered, so that
 * marking one rewrites no message. `sender` has whom at least one message was accepted from.
 * `budget` has what waits at whose expense, which cannot be counted anew for each message.
 */
#define VERSION_1                                                                                  \
    "CREATE TABLE meta (one INTEGER PRIMARY KEY CHECK (one = 1), recipient TEXT NOT NULL,"         \
    " last_row INTEGER NOT NULL, newest_issued INTEGER NOT NULL, purged_until INTEGER NOT NULL,"   \
    " kept INTEGER NOT NULL, octets INTEGER NOT NULL) STRICT;"                                     \
    "CREATE TABLE zone (row INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, ids INTEGER NOT NULL," \
    " senders INTEGER NOT NULL, purged_until INTEGER NOT NULL) STRICT;"                            \
    "CREATE TABLE sender (row INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE,"                     \
    " zone INTEGER NOT NULL REFERENCES zone, sent_v1 INTEGER NOT NULL) STRICT;"                    \
    "CREATE INDEX sender_zone ON sender (zone);"                                                   \
    "CREATE TABLE seen (sender INTEGER NOT NULL REFERENCES sender, id TEXT NOT NULL,"              \
    " zone INTEGER NOT NULL, format INTEGER NOT NULL, until INTEGER NOT NULL,"                     \
    " PRIMARY KEY (sender, id)) STRICT, WITHOUT ROWID;"                                            \
    "CREATE INDEX seen_until ON seen (zone, format, until);"                                       \
    "CREATE TABLE inbox (row INTEGER PRIMARY KEY, format INTEGER NOT NULL, sender TEXT NOT NULL,"  \
    " id TEXT NOT NULL, kid TEXT NOT NULL, issued INTEGER NOT NULL, expires INTEGER NOT NULL,"     \
    " received INTEGER NOT NULL, content_type TEXT NOT NULL, topic BLOB NOT NULL,"                 \
    " content BLOB NOT NULL) STRICT;"                                                              \
    "CREATE TABLE pending (row INTEGER PRIMARY KEY REFERENCES inbox, failures INTEGER NOT NULL,"   \
    " aside INTEGER NOT NULL) STRICT;"                                                             \
    "CREATE TABLE waiting (row INTEGER PRIMARY KEY, format INTEGER NOT NULL, sender TEXT NOT "     \
    "NULL,"                                                                                        \
    " id TEXT NOT NULL, kid TEXT NOT NULL, issued INTEGER NOT NULL, expires INTEGER NOT NULL,"     \
    " received INTEGER NOT NULL, content_type TEXT NOT NULL, trusted INTEGER NOT NULL,"            \
    " digest BLOB NOT NULL, topic BLOB NOT NULL, content BLOB NOT NULL) STRICT;"                   \
    "CREATE INDEX waiting_sender ON waiting (sender, row);"                                        \
    "CREATE UNIQUE INDEX waiting_same ON waiting (sender, id, digest);"                            \
    "CREATE TABLE budget (whose TEXT PRIMARY KEY, messages INTEGER NOT NULL,"                      \
    " octets INTEGER NOT NULL) STRICT, WITHOUT ROWID;"                                             \
    "CREATE TABLE outbox (row INTEGER PRIMARY KEY, recipient TEXT NOT NULL,"                       \
    " state INTEGER NOT NULL, queued INTEGER NOT NULL, expires INTEGER NOT NULL,"                  \
    " due INTEGER NOT NULL, attempts INTEGER NOT NULL, format INTEGER NOT NULL,"                   \
    " cbc INTEGER NOT NULL, qos INTEGER NOT NULL, retain INTEGER NOT NULL,"                        \
    " size_limit INTEGER NOT NULL, reason TEXT NOT NULL, id TEXT NOT NULL,"                        \
    " content_type TEXT NOT NULL, topic TEXT NOT NULL, content BLOB NOT NULL) STRICT;"             \
    "CREATE INDEX outbox_open ON outbox (recipient, row) WHERE state = 0;"                         \
    "CREATE INDEX outbox_paused ON outbox (due) WHERE due > 0;"                                    \
    "CREATE INDEX outbox_expires ON outbox (expires);"                                             \
    "CREATE TABLE issued (kid TEXT PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;"

/*
 * Version 2. `tally` counts what became of messages, from what is known of those that came before.
 * A pending message has its size, so that what is not delivered can be summed without reading it.
 */
#define VERSION_2                                                                                  \
    "CREATE TABLE tally (word TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT, WITHOUT ROWID;"    \
    "INSERT INTO tally SELECT '" DMSG_STORE_ACCEPTED "', kept FROM meta;"                          \
    "INSERT INTO tally SELECT '" DMSG_STORE_PUT_ASIDE "', count(*) FROM pending WHERE aside;"      \
    "ALTER TABLE inbox ADD COLUMN stale INTEGER NOT NULL DEFAULT 0;"                               \
    "ALTER TABLE pending ADD COLUMN octets INTEGER NOT NULL DEFAULT 0;"                            \
    "UPDATE pending SET octets = (SELECT length(topic) + length(content) + " OVERHEAD              \
    " FROM inbox WHERE inbox.row = pending.row);"

/* A new version appends the step that leads to it, and changes none that is there. */
const char *const dmsg_sqlite_steps[] = {VERSION_1, VERSION_2};
const size_t dmsg_sqlite_step_count = sizeof dmsg_sqlite_steps / sizeof dmsg_sqlite_steps[0];

/* What show() in sqlite.c reads, in its order. */
#define RECORD(table)                                                                              \
    table ".row, " table ".format, " table ".sender, " table ".id, " table ".kid, " table          \
          ".issued, " table ".expires, " table ".received, " table ".content_type, " table         \
          ".topic, " table ".content"

/* What show() in outbox.c reads, in its order; and how long a try that failed is from the next. */
#define OUTGOING                                                                                   \
    "SELECT o.row, o.recipient, o.state, o.queued, o.expires, o.due, o.attempts, o.format, o.cbc," \
    " o.qos, o.retain, o.size_limit, o.reason, o.id, o.content_type, o.topic, o.content"           \
    " FROM outbox o "
/* No message to the same recipient that came before it is still to be sealed. */
#define BEHIND_NONE                                                                                \
    " AND NOT EXISTS (SELECT 1 FROM outbox e INDEXED BY outbox_open WHERE e.state = 0"             \
    " AND e.recipient = o.recipient AND e.row < o.row)"
#define OUTBOX_PAUSE "?3 + min(?5, ?4 << min(attempts, 16)), attempts = attempts + 1, reason = ?2"

const char *const dmsg_sqlite_texts[DMSG_SQL_COUNT] = {
    [DMSG_SQL_BEGIN] = "BEGIN IMMEDIATE",
    [DMSG_SQL_COMMIT] = "COMMIT",
    [DMSG_SQL_ROLLBACK] = "ROLLBACK",
    [DMSG_SQL_META] = "SELECT last_row, newest_issued, purged_until, kept, octets FROM meta",
    [DMSG_SQL_SAVE_META] = "UPDATE meta SET last_row = ?1, newest_issued = ?2, purged_until = ?3,"
                           " kept = ?4, octets = ?5",

    [DMSG_SQL_FIND_SENDER] = "SELECT s.row, s.zone, s.sent_v1, z.purged_until FROM sender s"
                             " JOIN zone z ON z.row = s.zone WHERE s.name = ?1",
    [DMSG_SQL_ADD_SENDER] = "INSERT INTO sender (name, zone, sent_v1) VALUES (?1, ?2, 0)",
    [DMSG_SQL_SENT_V1] = "UPDATE sender SET sent_v1 = 1 WHERE row = ?1",
    [DMSG_SQL_FIND_ZONE] = "SELECT row, purged_until FROM zone WHERE name = ?1",
    [DMSG_SQL_ADD_ZONE] =
        "INSERT INTO zone (name, ids, senders, purged_until) VALUES (?1, 0, 0, 0)",
    [DMSG_SQL_COUNT_SENDER] = "UPDATE zone SET senders = senders + ?2 WHERE row = ?1",
    [DMSG_SQL_COUNT_IDS] = "UPDATE zone SET ids = ids + ?2 WHERE row = ?1",
    [DMSG_SQL_REMEMBER] = "INSERT INTO seen (sender, id, zone, format, until)"
                          " VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT DO NOTHING",

    [DMSG_SQL_KEEP] =
        "INSERT INTO inbox VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    [DMSG_SQL_PEND] = "INSERT INTO pending VALUES (?1, 0, 0, ?2)",
    [DMSG_SQL_NEXT] =
        "SELECT " RECORD("i") ", 0, p.failures, i.stale FROM pending p CROSS JOIN inbox i"
                              " ON i.row = p.row WHERE p.row > ?1 AND p.row <= ?2 AND NOT p.aside "
                              "ORDER BY p.row LIMIT 1",
    [DMSG_SQL_KEPT] = "SELECT " RECORD(
        "i") ", CASE WHEN p.row IS NULL THEN 1 WHEN p.aside THEN 2 ELSE 0 END,"
             " coalesce(p.failures, 0), i.stale FROM inbox i LEFT JOIN pending p ON p.row = i.row"
             " WHERE i.row > ?1 ORDER BY i.row LIMIT 1",
    [DMSG_SQL_DELIVERED] = "DELETE FROM pending WHERE row = ?1",
    [DMSG_SQL_MARK_AGAIN] = "DELETE FROM pending WHERE row = ?1 AND EXISTS"
                            " (SELECT 1 FROM inbox WHERE inbox.row = ?1 AND id = ?2)",
    [DMSG_SQL_FAILED] = "UPDATE pending SET failures = failures + 1, aside = failures + 1 >= ?2"
                        " WHERE row = ?1 AND NOT aside RETURNING aside",

    [DMSG_SQL_WAITS] = "SELECT 1 FROM waiting WHERE sender = ?1 AND id = ?2 AND digest = ?3",
    [DMSG_SQL_WAIT] = "INSERT INTO waiting"
                      " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
    [DMSG_SQL_WAITING] =
        "SELECT " RECORD("w") ", 0, 0, 0 FROM waiting w WHERE w.row > ?1 ORDER BY w.row LIMIT 1",
    [DMSG_SQL_WAITING_OF] =
        "SELECT " RECORD("w") ", 0, 0, 0 FROM waiting w INDEXED BY waiting_sender"
                              " WHERE w.sender = ?1 AND w.row > ?2 ORDER BY w.row LIMIT 1",
    [DMSG_SQL_WAITING_FACTS] = "SELECT format, trusted, issued, expires, received, sender,"
                               " length(topic) + length(content) FROM waiting WHERE row = ?1",
    [DMSG_SQL_WAITED] = "DELETE FROM waiting WHERE row = ?1",
    [DMSG_SQL_USAGE] = "SELECT messages, octets FROM budget WHERE whose = ?1",
    [DMSG_SQL_CHARGE] = "INSERT INTO budget VALUES (?1, ?2, ?3) ON CONFLICT (whose) DO UPDATE"
                        " SET messages = messages + ?2, octets = octets + ?3",
    [DMSG_SQL_SETTLE] = "DELETE FROM budget WHERE whose = ?1 AND messages = 0",

    [DMSG_SQL_DEPTHS] = "SELECT (SELECT count(*) FROM waiting), count(*) FILTER (WHERE NOT aside),"
                        " count(*) FILTER (WHERE aside),"
                        " (SELECT kept FROM meta) - count(*) FROM pending",
    [DMSG_SQL_PENDING] = "SELECT coalesce(sum(octets), 0) FROM pending",
    [DMSG_SQL_TALLY] = "INSERT INTO tally VALUES (?1, ?2) ON CONFLICT (word) DO UPDATE"
                       " SET count = count + ?2",
    [DMSG_SQL_COUNTS] = "SELECT word, count FROM tally UNION ALL SELECT '" DMSG_STORE_UNDELIVERED
                        "', count(*) FROM pending WHERE NOT aside",
    [DMSG_SQL_NOTE_ISSUED] = "INSERT INTO issued VALUES (?1, ?2) ON CONFLICT (kid) DO UPDATE"
                             " SET until = max(until, ?2)",
    [DMSG_SQL_ISSUED_UNTIL] = "SELECT until FROM issued WHERE kid = ?1",

    [DMSG_SQL_OUTBOX_PUT] = "INSERT INTO outbox VALUES (?1, ?2, ?3, ?4, ?5, 0, 0, ?6, ?7, ?8, ?9,"
                            " ?10, '', ?11, ?12, ?13, ?14)",
    /* A pause that is longer than any was begun by a clock that was ahead. */
    [DMSG_SQL_OUTBOX_NEXT] =
        OUTGOING "WHERE o.row > ?1 AND o.state = 1 AND o.expires > ?2"
                 " AND (o.due <= ?2 OR o.due > ?2 + ?3)" BEHIND_NONE " ORDER BY o.row LIMIT 1",
    [DMSG_SQL_OUTBOX_NEXT_UNTRIED] =
        OUTGOING "WHERE o.row > ?1 AND o.state = 1 AND o.expires > ?2 AND o.due = 0" BEHIND_NONE
                 " ORDER BY o.row LIMIT 1",
    [DMSG_SQL_OUTBOX_NEXT_FAILED] =
        OUTGOING "INDEXED BY outbox_paused WHERE o.state = 1 AND o.expires > ?1 AND o.due > 0"
                 " AND (o.due <= ?1 OR o.due > ?1 + ?2)" BEHIND_NONE " ORDER BY o.due LIMIT 1",
    [DMSG_SQL_OUTBOX_OPEN] = "SELECT recipient FROM outbox INDEXED BY outbox_open WHERE state = 0"
                             " AND recipient > ?1 AND (due <= ?2 OR due > ?2 + ?3)"
                             " ORDER BY recipient LIMIT 1",
    [DMSG_SQL_OUTBOX_OPEN_NEXT] = OUTGOING "INDEXED BY outbox_open WHERE o.state = 0"
                                           " AND o.recipient = ?1 AND o.row > ?2"
                                           " ORDER BY o.row LIMIT 1",
    [DMSG_SQL_OUTBOX_EXPIRED] =
        OUTGOING "WHERE o.expires <= ?1 ORDER BY o.expires, o.row LIMIT 1 OFFSET ?2",
    [DMSG_SQL_OUTBOX_LIST] = OUTGOING "WHERE o.row > ?1 ORDER BY o.row LIMIT 1",
    [DMSG_SQL_OUTBOX_SIZE] = "SELECT length(content) FROM outbox WHERE row = ?1 AND state = 0",
    [DMSG_SQL_OUTBOX_SEAL] = "UPDATE outbox SET state = 1, due = 0, id = ?2, content = ?3"
                             " WHERE row = ?1 AND state = 0",
    [DMSG_SQL_OUTBOX_GIVE_UP] = "UPDATE outbox SET state = 2, due = 0, attempts = attempts + 1,"
                                " reason = ?2 WHERE row = ?1 AND state = 0",
    [DMSG_SQL_OUTBOX_FAIL] = "UPDATE outbox SET due = " OUTBOX_PAUSE " WHERE row = ?1",
    [DMSG_SQL_OUTBOX_FAIL_OPEN] =
        "UPDATE outbox SET due = " OUTBOX_PAUSE " WHERE recipient = ?1 AND state = 0",
    [DMSG_SQL_OUTBOX_HURRY] = "UPDATE outbox SET due = 0 WHERE due > 0",
    [DMSG_SQL_OUTBOX_REMOVE] = "DELETE FROM outbox WHERE row = ?1 RETURNING length(content)",
    [DMSG_SQL_OUTBOX_DEPTHS] = "SELECT count(*), coalesce(sum(length(content)), 0),"
                               " count(*) FILTER (WHERE state = 0),"
                               " count(*) FILTER (WHERE state = 2),"
                               " count(*) FILTER (WHERE attempts > 0) FROM outbox",
    [DMSG_SQL_OUTBOX_TALLY] = "SELECT count FROM tally WHERE word = ?1",
    [DMSG_SQL_OUTBOX_DUE] = "SELECT due FROM outbox WHERE due > max(?1, 0) AND due > 0"
                            " ORDER BY due LIMIT 1",
    [DMSG_SQL_OUTBOX_EXPIRES] = "SELECT expires FROM outbox ORDER BY expires LIMIT 1",
    [DMSG_SQL_DATA_VERSION] = "PRAGMA data_version",

    [DMSG_SQL_SUM_IDS] = "SELECT coalesce(sum(ids), 0) FROM zone",
    [DMSG_SQL_LARGEST_ZONE] = "SELECT row FROM zone ORDER BY ids DESC LIMIT 1",
    [DMSG_SQL_NEXT_ZONE] = "SELECT row, ids, senders, purged_until FROM zone WHERE row >= ?1"
                           " ORDER BY row LIMIT 1",
    [DMSG_SQL_MIDDLE_ID] = "SELECT until FROM seen WHERE zone = ?1 AND format = 0"
                           " ORDER BY until LIMIT 1 OFFSET ?2",
    [DMSG_SQL_RAISE_ZONE] = "UPDATE zone SET purged_until = max(purged_until, ?2) WHERE row = ?1",
    [DMSG_SQL_FORGET] = "DELETE FROM seen WHERE (sender, id) IN (SELECT sender, id FROM seen"
                        " INDEXED BY seen_until WHERE zone = ?1 AND format = ?2 AND until < ?3"
                        " LIMIT ?4)",
    [DMSG_SQL_NEXT_SENDERS] = "SELECT max(row) FROM (SELECT row FROM sender WHERE zone = ?1"
                              " AND row > ?2 ORDER BY row LIMIT ?3)",
    [DMSG_SQL_FORGET_SENDERS] = "DELETE FROM sender WHERE row IN (SELECT s.row FROM sender s"
                                " WHERE s.zone = ?1 AND s.row > ?2 AND s.row <= ?3 AND NOT EXISTS"
                                " (SELECT 1 FROM seen WHERE seen.sender = s.row) LIMIT ?4)",
    [DMSG_SQL_OLDEST] = "SELECT i.row, max(i.received, i.issued),"
                        " length(i.topic) + length(i.content), p.row IS NULL FROM inbox i"
                        " LEFT JOIN pending p ON p.row = i.row WHERE i.row > ?1"
                        " ORDER BY i.row LIMIT 1",
    [DMSG_SQL_DISCARD] = "DELETE FROM inbox WHERE row = ?1",
};
