#include "store/postgresql.h"

#define OVERHEAD DMSG_STORE_NUMBER(DMSG_RETAIN_OVERHEAD)

/*
 * Version 1: the tables of the SQLite store with a recipient in every key, in a schema of their
 * own, so that several identities and other programs can share a database. `receiver` has who
 * shares the work; `pending` and `waiting` say whose a message is. Names stand for themselves in
 * `seen`, so that accepting a message locks nothing that another transaction needs before its end.
 */
static const char *const version_1[] = {
    "CREATE TABLE danemsg.recipient (row int8 PRIMARY KEY GENERATED ALWAYS AS IDENTITY,"
    " name text NOT NULL UNIQUE, newest_issued int8 NOT NULL DEFAULT 0,"
    " purged_until int8 NOT NULL DEFAULT 0, octets int8 NOT NULL DEFAULT 0)",
    "CREATE TABLE danemsg.receiver (row int8 PRIMARY KEY GENERATED ALWAYS AS IDENTITY,"
    " recipient int8 NOT NULL REFERENCES danemsg.recipient, name text NOT NULL,"
    " beat timestamptz NOT NULL, UNIQUE (recipient, name))",
    "CREATE TABLE danemsg.zone (recipient int8 NOT NULL, name text NOT NULL,"
    " ids int8 NOT NULL DEFAULT 0, senders int8 NOT NULL DEFAULT 0,"
    " purged_until int8 NOT NULL DEFAULT 0, PRIMARY KEY (recipient, name))",
    "CREATE TABLE danemsg.sender (row int8 UNIQUE GENERATED ALWAYS AS IDENTITY,"
    " recipient int8 NOT NULL, name text NOT NULL, zone text NOT NULL,"
    " sent_v1 int8 NOT NULL, PRIMARY KEY (recipient, name))",
    "CREATE INDEX sender_zone ON danemsg.sender (recipient, zone, row)",
    "CREATE TABLE danemsg.seen (recipient int8 NOT NULL, sender text NOT NULL, id text NOT NULL,"
    " zone text NOT NULL, format int8 NOT NULL, until int8 NOT NULL,"
    " PRIMARY KEY (recipient, sender, id))",
    "CREATE INDEX seen_until ON danemsg.seen (recipient, zone, format, until)",
    /* Of kept and waiting messages alike. */
    "CREATE SEQUENCE danemsg.message_row",
    "CREATE TABLE danemsg.inbox (row int8 PRIMARY KEY, recipient int8 NOT NULL,"
    " format int8 NOT NULL, sender text NOT NULL, id text NOT NULL, kid text NOT NULL,"
    " issued int8 NOT NULL, expires int8 NOT NULL, received int8 NOT NULL,"
    " content_type text NOT NULL, topic bytea NOT NULL, content bytea NOT NULL)",
    "CREATE INDEX inbox_recipient ON danemsg.inbox (recipient, row)",
    "CREATE TABLE danemsg.pending (row int8 PRIMARY KEY, recipient int8 NOT NULL,"
    " owner int8 NOT NULL, failures int8 NOT NULL, aside int8 NOT NULL)",
    "CREATE INDEX pending_owner ON danemsg.pending (owner, row) WHERE aside = 0",
    "CREATE TABLE danemsg.waiting (row int8 PRIMARY KEY, recipient int8 NOT NULL,"
    " owner int8 NOT NULL, format int8 NOT NULL, sender text NOT NULL, id text NOT NULL,"
    " kid text NOT NULL, issued int8 NOT NULL, expires int8 NOT NULL, received int8 NOT NULL,"
    " content_type text NOT NULL, trusted int8 NOT NULL, digest bytea NOT NULL,"
    " topic bytea NOT NULL, content bytea NOT NULL, UNIQUE (recipient, sender, id, digest))",
    "CREATE INDEX waiting_owner ON danemsg.waiting (owner, row)",
    "CREATE INDEX waiting_sender ON danemsg.waiting (owner, sender, row)",
    "CREATE TABLE danemsg.budget (recipient int8 NOT NULL, whose text NOT NULL,"
    " messages int8 NOT NULL, octets int8 NOT NULL, PRIMARY KEY (recipient, whose))",
    "CREATE TABLE danemsg.issued (recipient int8 NOT NULL, kid text NOT NULL,"
    " until int8 NOT NULL, PRIMARY KEY (recipient, kid))",
    NULL};

/* Version 2, as that of the SQLite store. */
static const char *const version_2[] = {
    "CREATE TABLE danemsg.tally (recipient int8 NOT NULL, word text NOT NULL, count int8 NOT NULL,"
    " PRIMARY KEY (recipient, word))",
    "INSERT INTO danemsg.tally SELECT recipient, '" DMSG_STORE_ACCEPTED "', count(*)"
    " FROM danemsg.inbox GROUP BY recipient",
    "INSERT INTO danemsg.tally SELECT recipient, '" DMSG_STORE_PUT_ASIDE "', count(*)"
    " FROM danemsg.pending WHERE aside <> 0 GROUP BY recipient",
    "ALTER TABLE danemsg.inbox ADD COLUMN stale int8 NOT NULL DEFAULT 0",
    "ALTER TABLE danemsg.pending ADD COLUMN octets int8 NOT NULL DEFAULT 0",
    "UPDATE danemsg.pending p SET octets = octet_length(i.topic) + octet_length(i.content) +"
    " " OVERHEAD " FROM danemsg.inbox i WHERE i.row = p.row",
    NULL};

/* A new version appends the step that leads to it, and changes none that is there. */
const char *const *const dmsg_pg_steps[] = {version_1, version_2};
const size_t dmsg_pg_step_count = sizeof dmsg_pg_steps / sizeof dmsg_pg_steps[0];

/* What show() in postgresql.c reads, in its order. */
#define RECORD(table)                                                                              \
    table ".row, " table ".format, " table ".sender, " table ".id, " table ".kid, " table          \
          ".issued, " table ".expires, " table ".received, " table ".content_type, " table         \
          ".topic, " table ".content"

/* Rows that are read at once: few, and no more octets than this before the last of them. */
#define AHEAD_ROWS "64"
#define AHEAD_OCTETS "1048576"
#define AHEAD(columns, table, where)                                                               \
    "SELECT " columns " FROM (SELECT *, sum(octet_length(content)) OVER (ORDER BY row)"            \
    " - octet_length(content) AS before FROM (SELECT * FROM " table " WHERE " where                \
    " ORDER BY row LIMIT " AHEAD_ROWS ") m) i WHERE before < " AHEAD_OCTETS " ORDER BY row"

const char *const dmsg_pg_texts[DMSG_PG_COUNT] = {
    [DMSG_PG_JOIN] = "INSERT INTO danemsg.receiver (recipient, name, beat) VALUES ($1, $2, now())"
                     " ON CONFLICT (recipient, name) DO UPDATE SET beat = now() RETURNING row",
    [DMSG_PG_HOLD] =
        "SELECT 1::int8 FROM pg_advisory_lock(" DMSG_PG_OF_RECEIVERS ", $1::int8::int4)",
    [DMSG_PG_BEAT] = "UPDATE danemsg.receiver SET beat = now() WHERE row = $1",
    [DMSG_PG_LEAVE] = "UPDATE danemsg.receiver SET beat = '-infinity' WHERE row = $1",
    [DMSG_PG_GONE] =
        "WITH silent AS MATERIALIZED (SELECT row FROM danemsg.receiver WHERE recipient = $1"
        " AND row <> $2 AND beat < now() - interval '" DMSG_PG_LEASE " s' AND (beat = '-infinity'"
        " OR pg_postmaster_start_time() < now() - interval '" DMSG_PG_LEASE " s')"
        " ORDER BY row LIMIT 16 FOR UPDATE SKIP LOCKED) SELECT row FROM silent"
        " WHERE pg_try_advisory_xact_lock(" DMSG_PG_OF_RECEIVERS ", row::int4)",
    [DMSG_PG_TAKE_PENDING] = "UPDATE danemsg.pending SET owner = $1 WHERE owner = $2",
    /* Behind what waits already, so that whoever is walking finds it. */
    [DMSG_PG_TAKE_WAITING] =
        "UPDATE danemsg.waiting w SET owner = $1, row = n.fresh"
        " FROM (SELECT row, nextval('danemsg.message_row') AS fresh FROM (SELECT row"
        " FROM danemsg.waiting WHERE owner = $2 ORDER BY row) o) n WHERE w.row = n.row",
    [DMSG_PG_STRIKE] = "DELETE FROM danemsg.receiver WHERE row = $1",

    [DMSG_PG_SHARE] = "SELECT pg_advisory_xact_lock_shared(" DMSG_PG_OF_IDS ", $1::int8::int4)",
    [DMSG_PG_ALONE] = "SELECT pg_advisory_xact_lock(" DMSG_PG_OF_IDS ", $1::int8::int4)",
    [DMSG_PG_TIMES] =
        "SELECT newest_issued, purged_until, octets FROM danemsg.recipient WHERE row = $1",
    [DMSG_PG_FACTS] =
        "SELECT (s.name IS NOT NULL)::int4::int8, coalesce(s.sent_v1, 0),"
        " greatest(r.purged_until, coalesce(z.purged_until, 0)) FROM danemsg.recipient r"
        " LEFT JOIN danemsg.sender s ON s.recipient = r.row AND s.name = $2"
        " LEFT JOIN danemsg.zone z ON z.recipient = r.row AND z.name = $3 WHERE r.row = $1",
    [DMSG_PG_REMEMBER] =
        "INSERT INTO danemsg.seen VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING",
    [DMSG_PG_UNREMEMBER] =
        "DELETE FROM danemsg.seen WHERE recipient = $1 AND sender = $2 AND id = $3",
    [DMSG_PG_COUNT_IDS] = "INSERT INTO danemsg.zone AS z (recipient, name, ids) VALUES ($1, $2, $3)"
                          " ON CONFLICT (recipient, name) DO UPDATE SET ids = z.ids + excluded.ids",
    [DMSG_PG_ADD_SENDER] =
        "WITH fresh AS (INSERT INTO danemsg.sender (recipient, name, zone, sent_v1)"
        " VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING RETURNING 1) UPDATE danemsg.zone"
        " SET senders = senders + 1 WHERE recipient = $1 AND name = $3"
        " AND EXISTS (SELECT FROM fresh)",
    [DMSG_PG_SENT_V1] = "UPDATE danemsg.sender SET sent_v1 = 1 WHERE recipient = $1 AND name = $2"
                        " AND sent_v1 = 0",
    [DMSG_PG_SAVE_TIMES] = "UPDATE danemsg.recipient SET newest_issued ="
                           " greatest(newest_issued, $2), octets = octets + $3 WHERE row = $1",

    [DMSG_PG_KEEP] =
        "WITH kept AS (INSERT INTO danemsg.inbox VALUES"
        " (nextval('danemsg.message_row'), $1, $3, $4, $5, $6, $7, $8, $9, $10, $11,"
        " $12, $13) RETURNING row) INSERT INTO danemsg.pending SELECT row, $1, $2::int8, 0, 0,"
        " $14::int8 FROM kept",
    [DMSG_PG_NEXT] = AHEAD(RECORD("i") ", 0::int8, i.failures, i.stale",
        "danemsg.pending p JOIN danemsg.inbox USING (row)",
        "p.owner = $1 AND p.aside = 0 AND p.row > $2"),
    [DMSG_PG_KEPT] = AHEAD(
        RECORD("i") ", CASE WHEN i.aside IS NULL THEN 1 WHEN i.aside <> 0 THEN 2 ELSE 0 END::int8,"
                    " coalesce(i.failures, 0), i.stale",
        "danemsg.inbox n LEFT JOIN danemsg.pending p USING (row)", "n.recipient = $1 AND row > $2"),
    [DMSG_PG_DELIVERED] = "DELETE FROM danemsg.pending WHERE recipient = $1 AND row = $2",
    [DMSG_PG_FAILED] = "UPDATE danemsg.pending SET failures = failures + 1,"
                       " aside = (failures + 1 >= $3)::int4 WHERE recipient = $1 AND row = $2"
                       " AND aside = 0 RETURNING aside",
    [DMSG_PG_DEPTHS] = "SELECT (SELECT count(*) FROM danemsg.waiting WHERE recipient = $1),"
                       " count(*) FILTER (WHERE p.aside = 0), count(*) FILTER (WHERE p.aside <> 0),"
                       " (SELECT count(*) FROM danemsg.inbox WHERE recipient = $1) - count(*)"
                       " FROM danemsg.pending p WHERE p.recipient = $1",

    [DMSG_PG_PENDING] =
        "SELECT coalesce(sum(octets), 0)::int8 FROM danemsg.pending WHERE owner = $1",
    [DMSG_PG_TALLY] = "INSERT INTO danemsg.tally AS t VALUES ($1, $2, $3) ON CONFLICT"
                      " (recipient, word) DO UPDATE SET count = t.count + excluded.count",
    [DMSG_PG_COUNTS] =
        "SELECT word, count FROM danemsg.tally WHERE recipient = $1 UNION ALL"
        " SELECT '" DMSG_STORE_UNDELIVERED "', count(*) FROM danemsg.pending WHERE recipient = $1"
        " AND aside = 0",

    [DMSG_PG_WAITS] = "SELECT 1::int8 FROM danemsg.waiting WHERE recipient = $1 AND sender = $2"
                      " AND id = $3 AND digest = $4",
    [DMSG_PG_WAIT] = "INSERT INTO danemsg.waiting VALUES (nextval('danemsg.message_row'), $1, $2,"
                     " $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14) ON CONFLICT DO NOTHING",
    [DMSG_PG_WAITING] = AHEAD(
        RECORD("i") ", 0::int8, 0::int8, 0::int8", "danemsg.waiting", "owner = $1 AND row > $2"),
    [DMSG_PG_WAITING_OF] = AHEAD(RECORD("i") ", 0::int8, 0::int8, 0::int8", "danemsg.waiting",
        "owner = $1 AND row > $2 AND sender = $3"),
    [DMSG_PG_WAITING_LAST] = "SELECT coalesce(max(row), 0) FROM danemsg.waiting WHERE owner = $1",
    [DMSG_PG_WAITING_FACTS] = "SELECT format, trusted, issued, expires, received"
                              " FROM danemsg.waiting WHERE recipient = $1 AND row = $2",
    [DMSG_PG_WAITED] =
        "DELETE FROM danemsg.waiting WHERE recipient = $1 AND row = $2"
        " RETURNING trusted, sender, (octet_length(topic) + octet_length(content))::int8",
    [DMSG_PG_USAGE] =
        "SELECT messages, octets FROM danemsg.budget WHERE recipient = $1 AND whose = $2",
    [DMSG_PG_CHARGE] =
        "INSERT INTO danemsg.budget AS b VALUES ($1, $2, $3, $4) ON CONFLICT (recipient, whose)"
        " DO UPDATE SET messages = b.messages + excluded.messages,"
        " octets = b.octets + excluded.octets",
    [DMSG_PG_SETTLE] =
        "DELETE FROM danemsg.budget WHERE recipient = $1 AND whose = $2 AND messages <= 0",

    [DMSG_PG_NOTE_ISSUED] =
        "INSERT INTO danemsg.issued AS i VALUES ($1, $2, $3) ON CONFLICT (recipient, kid)"
        " DO UPDATE SET until = greatest(i.until, excluded.until)",
    [DMSG_PG_ISSUED_UNTIL] = "SELECT until FROM danemsg.issued WHERE recipient = $1 AND kid = $2",

    /* $3: ids that are older than this, and of v1 (0) those that their zone gave up. */
    [DMSG_PG_FORGET] =
        "WITH old AS MATERIALIZED (SELECT x.sender, x.id FROM danemsg.zone z CROSS JOIN LATERAL"
        " (SELECT s.sender, s.id FROM danemsg.seen s WHERE s.recipient = $1 AND s.zone = z.name"
        " AND s.format = $2 AND s.until < CASE $2 WHEN 0 THEN greatest($3::int8, z.purged_until)"
        " ELSE $3::int8 END LIMIT $4) x WHERE z.recipient = $1 AND z.ids > 0 LIMIT $4),"
        " gone AS (DELETE FROM danemsg.seen s USING old WHERE s.recipient = $1"
        " AND s.sender = old.sender AND s.id = old.id RETURNING s.zone),"
        " counted AS (SELECT zone, count(*) AS ids FROM gone GROUP BY zone),"
        " less AS (UPDATE danemsg.zone z SET ids = z.ids - c.ids FROM counted c"
        " WHERE z.recipient = $1 AND z.name = c.zone)"
        " SELECT coalesce(sum(ids), 0)::int8 FROM counted",
    [DMSG_PG_RAISE] = "UPDATE danemsg.recipient SET purged_until = greatest(purged_until, $2)"
                      " WHERE row = $1",
    [DMSG_PG_TOO_MANY_IDS] =
        "SELECT ids, name FROM danemsg.zone WHERE recipient = $1 AND (ids > $2"
        " OR (SELECT sum(ids) FROM danemsg.zone WHERE recipient = $1) > $3::int8)"
        " ORDER BY ids DESC LIMIT 1",
    [DMSG_PG_MIDDLE_ID] = "SELECT until FROM danemsg.seen WHERE recipient = $1 AND zone = $2"
                          " AND format = 0 ORDER BY until LIMIT 1 OFFSET $3",
    [DMSG_PG_RAISE_ZONE] =
        "UPDATE danemsg.zone SET purged_until = $3 WHERE recipient = $1 AND name = $2"
        " AND purged_until < $3",
    [DMSG_PG_TOO_MANY_SENDERS] =
        "SELECT senders, name FROM danemsg.zone WHERE recipient = $1 AND senders > $2"
        " ORDER BY senders DESC LIMIT 1",
    /* Of the next $4 names after $3, at most $5 of which nothing else is remembered. */
    [DMSG_PG_FORGET_SENDERS] =
        "WITH part AS MATERIALIZED (SELECT row, name FROM danemsg.sender WHERE recipient = $1"
        " AND zone = $2 AND row > $3 ORDER BY row LIMIT $4),"
        " idle AS MATERIALIZED (SELECT row FROM part WHERE NOT EXISTS (SELECT FROM danemsg.seen s"
        " WHERE s.recipient = $1 AND s.sender = part.name) ORDER BY row LIMIT $5),"
        " gone AS (DELETE FROM danemsg.sender d USING idle WHERE d.row = idle.row RETURNING 1),"
        " less AS (UPDATE danemsg.zone SET senders = senders - (SELECT count(*) FROM gone)"
        " WHERE recipient = $1 AND name = $2)"
        " SELECT max(row) FROM part HAVING count(*) = $4::int8",
    [DMSG_PG_OLDEST] =
        "SELECT i.row, greatest(i.received, i.issued),"
        " (octet_length(i.topic) + octet_length(i.content))::int8, (p.row IS NULL)::int4::int8"
        " FROM danemsg.inbox i LEFT JOIN danemsg.pending p USING (row) WHERE i.recipient = $1"
        " AND i.row > $2 ORDER BY i.row LIMIT $3",
    [DMSG_PG_DISCARD] = "DELETE FROM danemsg.inbox WHERE recipient = $1 AND row = $2",
};
