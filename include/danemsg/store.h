/*
 * What must survive: accepted messages until delivered, ids that were seen, messages that wait
 * for DNS. One interface, several stores behind it; a store belongs to one thread.
 *
 * A batch is one transaction:
 *
 *     dmsg_store_begin(store, &error);
 *     for each opened message    dmsg_store_accept(...) or dmsg_store_wait(...)
 *     dmsg_store_commit(store, &error);                  only then acknowledge to the broker
 *
 * Delivery, later, outside of that transaction:
 *
 *     while (dmsg_store_next(store, cursor, &record, &error) == 1)
 *         deliver; dmsg_store_delivered(store, record.row, &error);
 */
#ifndef DANEMSG_STORE_H
#define DANEMSG_STORE_H

#include "danemsg/message.h"

#ifdef __cplusplus
extern "C" {
#endif

/* A stranger's budget while unverified (doc/PROTOCOL.md step 7): messages, octets and seconds.
   Counted by zone, the last two labels of the name, since a wildcard makes any name below it. */
#define DMSG_STRANGER_MESSAGES 1000
#define DMSG_STRANGER_OCTETS (16 * 1024 * 1024)
#define DMSG_STRANGER_WAIT 3600
/* All strangers together: ten zones can be bought, disks are finite. */
#define DMSG_STRANGERS_MESSAGES 10000
#define DMSG_STRANGERS_OCTETS (64 * 1024 * 1024)
/* Names that are allow-listed or were verified before, together: an hour of 25 messages a second
   while DNS is away. */
#define DMSG_TRUSTED_MESSAGES 100000
#define DMSG_TRUSTED_OCTETS (256 * 1024 * 1024)
/* Of that, what claims to be of one name: a forger who knows one name leaves room for the others.
 */
#define DMSG_NAME_MESSAGES 10000
#define DMSG_NAME_OCTETS (32 * 1024 * 1024)
/* Ids that are remembered of one zone, about 200 MiB on disk, and of all. A zone that has more
   forgets those that expire first, and is refused (DMSG_E_TIME) what expires before them; when
   all have too many, the zone with most of them does. Nobody else pays. */
#define DMSG_ZONE_IDS 2097152
#define DMSG_IDS 16777216
/* Names remembered of one zone although none of their ids is: that they were verified. */
#define DMSG_ZONE_SENDERS 65536
/* Seconds that a waiting message gets beyond the time at which DNS is asked about it. */
#define DMSG_ASK_MARGIN 60
/* Delivered messages stay this long, or while all kept ones have no more octets than this; each
   counts with what it needs beside content and topic. */
#define DMSG_RETAIN_TIME (30 * 86400)
#define DMSG_RETAIN_OCTETS (1024 * 1024 * 1024)
#define DMSG_RETAIN_OVERHEAD 256
/* Seconds that a poc message waits for DNS and that its digest is remembered. */
#define DMSG_POC_WAIT (7 * 86400)
#define DMSG_POC_REMEMBER (30 * 86400)

enum dmsg_delivery { DMSG_UNDELIVERED, DMSG_DELIVERED, DMSG_FAILED };

/* A kept message as the store gives it back; borrowed until the next call on the store. */
struct dmsg_record {
    int64_t row; /* ascending in the order of acceptance */
    enum dmsg_format format;
    struct dmsg_name sender;
    char id[DMSG_MESSAGE_ID_SIZE];
    char kid[DMSG_KEY_ID_SIZE];
    int64_t issued_at, expires_at;
    int64_t received_at;
    char content_type[DMSG_CONTENT_TYPE_MAX + 1];
    struct dmsg_span topic;
    struct dmsg_span content;    /* payload; for a waiting message the decrypted JWS */
    enum dmsg_delivery delivery; /* of a kept message */
    int64_t failures;            /* deliveries that failed */
    bool stale;                  /* verified with keys past their TTL */
};

struct dmsg_store;

/*
 * Forgets everything when closed, and a payload as soon as it is delivered: for tests and for a
 * receiver that keeps no state. Its memory is bounded: of a sender with very many ids it forgets
 * the older ones and refuses (DMSG_E_TIME) what expires before them; payloads that nobody takes
 * are refused with DMSG_E_INTERNAL, which a receiver does not acknowledge.
 */
int dmsg_store_open_memory(struct dmsg_store **out, const struct dmsg_context *context,
    const struct dmsg_name *recipient, struct dmsg_error *error) DMSG_MUST_CHECK;
/*
 * A SQLite database at this path, made if it is not there, 0600. Several processes may have it
 * open; a receiver is alone, which its lock sees to. DMSG_E_LOCAL: it cannot be opened, is no
 * database of ours, is another identity's, or a newer version's; the text says what to do.
 *
 * What is committed is on disk. A disk that is full or fails, a database that another process has
 * locked: DMSG_E_INTERNAL, nothing of the transaction is kept, and a later one may succeed.
 */
int dmsg_store_open_sqlite(struct dmsg_store **out, const struct dmsg_context *context,
    const char *path, const struct dmsg_name *recipient, struct dmsg_error *error) DMSG_MUST_CHECK;
/* The same to look at while a receiver runs: it must be there, and whatever would change it fails.
   recipient NULL: anybody's. */
int dmsg_store_show_sqlite(struct dmsg_store **out, const struct dmsg_context *context,
    const char *path, const struct dmsg_name *recipient, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Do several receivers share it? Then one takes over what another that is gone has left. */
bool dmsg_store_is_shared(const struct dmsg_store *store);
/*
 * A PostgreSQL database, by libpq's URL (postgresql://USER@HOST/DATABASE?sslmode=verify-full),
 * which several receivers of one identity, and several identities, share: tables in a schema
 * "danemsg", made if they are not there. member: what this receiver is called among those of the
 * identity, the same after every start; NULL: it receives nothing. What it has accepted or lets
 * wait is its own; when it is gone, another takes that over (dmsg_store_take_over). Errors as of
 * SQLite, and DMSG_E_USAGE for what is no such URL or where this library was built without libpq. A
 * connection that is lost fails what is under way (DMSG_E_INTERNAL) and is made anew for what comes
 * next.
 */
int dmsg_store_open_postgresql(struct dmsg_store **out, const struct dmsg_context *context,
    const char *url, const struct dmsg_name *recipient, const char *member,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* The same to look at: everybody's messages, and whatever would change them fails. */
int dmsg_store_show_postgresql(struct dmsg_store **out, const struct dmsg_context *context,
    const char *url, const struct dmsg_name *recipient, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Rolls an open transaction back, frees, and clears the pointer. */
void dmsg_store_close(struct dmsg_store **store);

/* Changes outside of begin and commit are transactions of their own. A commit that fails has been
   rolled back. */
int dmsg_store_begin(struct dmsg_store *store, struct dmsg_error *error) DMSG_MUST_CHECK;
/* For what would be done again: its commit waits for no disk, survives the end of this process, and
   may be undone by a power cut, as a whole. */
int dmsg_store_begin_relaxed(struct dmsg_store *store, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_store_commit(struct dmsg_store *store, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_store_rollback(struct dmsg_store *store);

/* Within a transaction, before some of these verified messages are accepted: a store that is far
   away asks about all of them at once. More than DMSG_EXPECT_MAX are not looked at. */
#define DMSG_EXPECT_MAX 64
int dmsg_store_expect(struct dmsg_store *store, const struct dmsg_message *const *messages,
    size_t count, struct dmsg_error *error) DMSG_MUST_CHECK;
/*
 * Step 10, for a verified message: remembers (recipient, sender, id) and keeps the payload.
 * DMSG_E_REPLAY: seen before. DMSG_E_TIME: its exp is before what the store has purged, so that
 * it can no longer know. Both leave the transaction usable.
 */
int dmsg_store_accept(struct dmsg_store *store, const struct dmsg_message *message,
    struct dmsg_span topic, struct dmsg_error *error) DMSG_MUST_CHECK;

/*
 * Step 7 and 8, for one whose sender's key is not known yet: keeps its JWS until DNS answers.
 * trusted: the sender is on the allow-list or was verified before. DMSG_E_QUOTA: the budget is
 * used up; a stranger's is counted by zone. That leaves the transaction usable. A message that
 * already waits (same sender, id and content) is not kept twice and is no error.
 */
int dmsg_store_wait(struct dmsg_store *store, const struct dmsg_message *message,
    struct dmsg_span topic, bool trusted, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Waiting messages of a sender in the order of arrival: 1 and the first with row > after, 0 for
   none. With sender NULL: of any sender. */
int dmsg_store_waiting(struct dmsg_store *store, const struct dmsg_name *sender, int64_t after,
    struct dmsg_record *out, struct dmsg_error *error) DMSG_MUST_CHECK;
/* A row that every message which waits now is not above, and every later one is. */
int dmsg_store_waiting_last(
    struct dmsg_store *store, int64_t *row, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Takes it out, whatever became of it. */
int dmsg_store_waited(
    struct dmsg_store *store, int64_t row, struct dmsg_error *error) DMSG_MUST_CHECK;
/* When a waiting message stops waiting: its exp, poc 7 days, a stranger 1 hour after arrival; but a
   stranger that waits for an answer which is planned (asked_at, 0: none) is there to get it. */
int dmsg_store_waiting_until(struct dmsg_store *store, int64_t row, int64_t asked_at,
    int64_t *until, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Where several receivers share the store, every few seconds: says that this one lives, and takes
   what others that are gone have left undelivered or waiting. 1: there was something, and what is
   to be delivered or waits has to be looked for from the beginning. Outside of transactions. */
int dmsg_store_take_over(struct dmsg_store *store, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Delivery: 1 and the first kept message with row > after that is not delivered, 0 for none. Within
   a transaction, of those that were kept before. */
int dmsg_store_next(struct dmsg_store *store, int64_t after, struct dmsg_record *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* Can messages that were kept before be delivered and marked within a transaction, while it is
   filled? What is marked stays so if the transaction is rolled back. */
bool dmsg_store_delivers_within(const struct dmsg_store *store);
/* By itself, outside of a transaction, it survives the end of this process and may be undone by a
   power cut: the message is then delivered again, and marking it costs no wait for the disk. */
int dmsg_store_delivered(
    struct dmsg_store *store, int64_t row, struct dmsg_error *error) DMSG_MUST_CHECK;
/* A delivery that failed is counted; 1 when it was the last of `most`, and the message is put aside
   as DMSG_FAILED, not to be given by dmsg_store_next any more. */
int dmsg_store_failed(
    struct dmsg_store *store, int64_t row, int64_t most, struct dmsg_error *error) DMSG_MUST_CHECK;
/* For looking: 1 and the first kept message with row > after, delivered or not, 0 for none. */
int dmsg_store_kept(struct dmsg_store *store, int64_t after, struct dmsg_record *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* Takes away delivered messages that came before a time, a slice of them: 1 when there may be more,
   0 when that was all. Outside of transactions. */
int dmsg_store_discard(
    struct dmsg_store *store, int64_t before, struct dmsg_error *error) DMSG_MUST_CHECK;
/* What dmsg_store_purge leaves of delivered messages in place of DMSG_RETAIN_*; 0: nothing. */
void dmsg_store_retain(struct dmsg_store *store, int64_t seconds, int64_t octets);

/* What is known of a sender from messages that were accepted. */
bool dmsg_store_sent_v1(struct dmsg_store *store, const struct dmsg_name *sender);
bool dmsg_store_verified_before(struct dmsg_store *store, const struct dmsg_name *sender);

/* How many messages the store holds: waiting for DNS; kept and not delivered yet, put aside as
   failed, delivered. */
struct dmsg_store_depths {
    int64_t waiting, undelivered, failed, delivered;
};
int dmsg_store_depths(struct dmsg_store *store, struct dmsg_store_depths *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Octets of what is kept and not delivered, failed ones among them; where several receivers share
   the store, of this one's. Each message counts with DMSG_RETAIN_OVERHEAD. */
int dmsg_store_pending(
    struct dmsg_store *store, int64_t *octets, struct dmsg_error *error) DMSG_MUST_CHECK;

/* What became of messages, ever: counted in the transaction that they are stored in, so that what
   is rolled back and comes again counts once. */
struct dmsg_store_counts {
    int64_t accepted;                  /* verified and kept */
    int64_t put_aside;                 /* of those: as failed */
    int64_t delivered;                 /* of those */
    int64_t refused[DMSG_ERROR_COUNT]; /* by -1 - code */
};
/* Within a transaction: one more was refused, with this code. Accepted and failed ones count
   themselves. */
void dmsg_store_count_refused(struct dmsg_store *store, int code);
/* Of all who share the store, and all that was counted before. */
int dmsg_store_counts(struct dmsg_store *store, struct dmsg_store_counts *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* What was committed since this store was opened, by it alone; without `delivered`. Borrowed. */
const struct dmsg_store_counts *dmsg_store_counted(const struct dmsg_store *store);

/* For a rollover: notes that a message which expires at this time was signed with the key; and the
   latest such time, 1 when it is known, 0 when no message was noted. */
int dmsg_store_note_issued(struct dmsg_store *store, const char *kid, int64_t expires_at,
    struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_store_issued_until(struct dmsg_store *store, const char *kid, int64_t *until,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Drops ids that can no longer be replayed, raises purged_until (doc/PROTOCOL.md), and takes away
   delivered messages that are old or too many: a slice of the work, 1 when there is more, else 0.
   Outside of transactions: it makes its own. */
int dmsg_store_purge(struct dmsg_store *store, struct dmsg_error *error) DMSG_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
