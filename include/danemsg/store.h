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
/* Seconds that a poc message waits for DNS and that its digest is remembered. */
#define DMSG_POC_WAIT (7 * 86400)
#define DMSG_POC_REMEMBER (30 * 86400)

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
    struct dmsg_span content; /* payload; for a waiting message the decrypted JWS */
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
/* Rolls an open transaction back, frees, and clears the pointer. */
void dmsg_store_close(struct dmsg_store **store);

/* Changes outside of begin and commit are transactions of their own. A commit that fails has been
   rolled back. */
int dmsg_store_begin(struct dmsg_store *store, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_store_commit(struct dmsg_store *store, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_store_rollback(struct dmsg_store *store);

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
/* When a waiting message stops waiting: its exp, poc 7 days, a stranger 1 hour after arrival. */
int dmsg_store_waiting_until(struct dmsg_store *store, int64_t row, int64_t *until,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Delivery: 1 and the first kept message with row > after that is not delivered, 0 for none. */
int dmsg_store_next(struct dmsg_store *store, int64_t after, struct dmsg_record *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_store_delivered(
    struct dmsg_store *store, int64_t row, struct dmsg_error *error) DMSG_MUST_CHECK;

/* What is known of a sender from messages that were accepted. */
bool dmsg_store_sent_v1(struct dmsg_store *store, const struct dmsg_name *sender);
bool dmsg_store_verified_before(struct dmsg_store *store, const struct dmsg_name *sender);

/* Drops ids that can no longer be replayed, and raises purged_until (doc/PROTOCOL.md). Outside of
   transactions: it makes its own. */
int dmsg_store_purge(struct dmsg_store *store, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
