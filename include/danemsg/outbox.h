/*
 * The outbox: messages that are to be published, kept in the sender's SQLite database until the
 * broker has acknowledged them. Several processes may have it open; one of them publishes.
 *
 *     dmsg_outbox_open(&outbox, &context, "alice.example.db", &alice, &error);
 *     dmsg_outbox_begin(outbox, true, &error);
 *     dmsg_outbox_put(outbox, &message, &row, &error);
 *     dmsg_outbox_commit(outbox, &error);                    on disk from here on
 *
 * Publishing, by one process at a time:
 *
 *     while (dmsg_outbox_open_recipient(outbox, recipient, &recipient, &error) == 1)
 *         ... dmsg_outbox_open_next, seal, dmsg_outbox_seal in a durable transaction ...
 *     while (dmsg_outbox_next(outbox, message.row, &message, &error) == 1)
 *         ... publish; when it is acknowledged dmsg_outbox_remove(outbox, message.row, ..) ...
 *
 * The sealed envelope takes the plaintext's place before it is published, so that a message which
 * is published again after a crash has the same id and is a duplicate that receivers remove.
 *
 * A disk that is full or fails, a database that another process has locked: DMSG_E_LOCAL, and
 * nothing of the transaction is kept.
 */
#ifndef DANEMSG_OUTBOX_H
#define DANEMSG_OUTBOX_H

#include "danemsg/message.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What an outbox holds at most: a day of a message a second, in a bounded file. */
#define DMSG_OUTBOX_MESSAGES 100000
#define DMSG_OUTBOX_OCTETS (1024 * 1024 * 1024)
/* Seconds before a message that was refused, or has no key yet, is tried again; doubled each time
   up to the second. */
#define DMSG_OUTBOX_PAUSE_FIRST 5
#define DMSG_OUTBOX_PAUSE_MOST 300

/* A message in the outbox. Texts and content that the outbox gives out are borrowed until it gives
   out the next; in a message that is put no text is NULL. */
struct dmsg_outgoing {
    int64_t row; /* ascending in the order of queueing, never given twice */
    struct dmsg_name recipient;
    enum dmsg_outgoing_state {
        DMSG_OUTGOING_OPEN,   /* content is the payload, to be sealed */
        DMSG_OUTGOING_SEALED, /* content is the envelope, to be published */
        DMSG_OUTGOING_STUCK   /* content is a payload that cannot be sealed; reason says why */
    } state;
    int64_t queued_at, expires_at; /* seconds since 1970 */
    int64_t due_at;                /* not tried before; 0: at once */
    int64_t attempts;              /* that failed */
    const char *reason;            /* of the last of them, "word: text", or "" */
    enum dmsg_format format;
    bool cbc, retain;
    int qos;                  /* 1 or 2 */
    size_t size_limit;        /* as in dmsg_seal_options */
    const char *id;           /* "" until sealed */
    const char *content_type; /* "" for none */
    const char *topic;
    struct dmsg_span content;
};

struct dmsg_outbox_depths {
    int64_t messages, octets;         /* all that is in it */
    int64_t open, stuck, failed_once; /* of those: not sealed; cannot be; tried in vain before */
    int64_t expired;                  /* ever dropped since it was not sent in time */
};

/* What became of messages, ever: counted in the transaction that it happens in. */
struct dmsg_outbox_counts {
    int64_t published; /* the broker has acknowledged them */
    int64_t sealed;    /* of those that were queued open */
    int64_t expired;   /* dropped since they were not sent in time */
    int64_t refused;   /* tries that failed (dmsg_outbox_fail): what the broker did not take */
};

struct dmsg_outbox;

/* Opens the database, or makes it (dmsg_store_open_sqlite). */
int dmsg_outbox_open(struct dmsg_outbox **out, const struct dmsg_context *context, const char *path,
    const struct dmsg_name *sender, struct dmsg_error *error) DMSG_MUST_CHECK;
/* One that is there, only to look at it. */
int dmsg_outbox_show(struct dmsg_outbox **out, const struct dmsg_context *context, const char *path,
    const struct dmsg_name *sender, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Rolls an open transaction back, frees, and clears the pointer. */
void dmsg_outbox_close(struct dmsg_outbox **outbox);

/* Changes are made between begin and commit only (DMSG_E_USAGE). durable: it survives a power cut,
   and not only the end of this process. A commit that fails has been rolled back; after any other
   error but DMSG_E_QUOTA the caller rolls back. */
int dmsg_outbox_begin(
    struct dmsg_outbox *outbox, bool durable, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_outbox_commit(struct dmsg_outbox *outbox, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_outbox_rollback(struct dmsg_outbox *outbox);

/* Adds a message, all of it but row, due_at, attempts and reason. DMSG_E_QUOTA: the outbox is full,
   and the transaction stays usable. DMSG_E_USAGE: it has expired, or its qos is none of 1 and 2. */
int dmsg_outbox_put(struct dmsg_outbox *outbox, const struct dmsg_outgoing *message, int64_t *row,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* 1 and the first sealed message with row > after that is due, has not expired, and has no open one
   of the same recipient before it; 0 for none. */
int dmsg_outbox_next(struct dmsg_outbox *outbox, int64_t after, struct dmsg_outgoing *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* 1 and the recipient, in the order of the alphabet after the given one (NULL: the first), that
   open messages are due for; 0 for none. */
int dmsg_outbox_open_recipient(struct dmsg_outbox *outbox, const struct dmsg_name *after,
    struct dmsg_name *out, struct dmsg_error *error) DMSG_MUST_CHECK;
/* 1 and the first open message to the recipient with row > after; 0 for none. */
int dmsg_outbox_open_next(struct dmsg_outbox *outbox, const struct dmsg_name *recipient,
    int64_t after, struct dmsg_outgoing *out, struct dmsg_error *error) DMSG_MUST_CHECK;
/* 1 and an expired message, the first of all but `skip` of them; 0 for none. By a clock that is not
   set nothing has expired. */
int dmsg_outbox_expired(struct dmsg_outbox *outbox, int64_t skip, struct dmsg_outgoing *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* For looking: 1 and the first message with row > after, 0 for none. */
int dmsg_outbox_list(struct dmsg_outbox *outbox, int64_t after, struct dmsg_outgoing *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* The envelope in place of an open message's payload. What is no longer there is no error. */
int dmsg_outbox_seal(struct dmsg_outbox *outbox, int64_t row, const char *id,
    struct dmsg_span envelope, struct dmsg_error *error) DMSG_MUST_CHECK;
/* An open message that no waiting mends: kept until it expires, and tried no more. */
int dmsg_outbox_give_up(struct dmsg_outbox *outbox, int64_t row, const struct dmsg_error *why,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* A try that failed: counted, and the next comes after a pause. For one message, or for all open
   ones of a recipient. */
int dmsg_outbox_fail(struct dmsg_outbox *outbox, int64_t row, const struct dmsg_error *why,
    struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_outbox_fail_open(struct dmsg_outbox *outbox, const struct dmsg_name *recipient,
    const struct dmsg_error *why, struct dmsg_error *error) DMSG_MUST_CHECK;
/* All pauses are over. */
int dmsg_outbox_hurry(struct dmsg_outbox *outbox, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Takes it out, and counts what became of it: 1, or 0 when it was not there. */
enum dmsg_outgoing_end { DMSG_OUTGOING_DROPPED, DMSG_OUTGOING_PUBLISHED, DMSG_OUTGOING_EXPIRED };
int dmsg_outbox_remove(struct dmsg_outbox *outbox, int64_t row, enum dmsg_outgoing_end end,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* dmsg_store_note_issued, in the same transaction as what was sealed. */
int dmsg_outbox_note_issued(struct dmsg_outbox *outbox, const char *kid, int64_t expires_at,
    struct dmsg_error *error) DMSG_MUST_CHECK;

int dmsg_outbox_depths(struct dmsg_outbox *outbox, struct dmsg_outbox_depths *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* How many messages are in it; what a program that publishes asks often. */
int dmsg_outbox_count(
    struct dmsg_outbox *outbox, int64_t *out, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Of all that ever published from it. A power cut may take back the last seconds. */
int dmsg_outbox_counts(struct dmsg_outbox *outbox, struct dmsg_outbox_counts *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* When the next pause ends and when the next message expires, seconds since 1970; INT64_MAX: none
   does. */
int dmsg_outbox_times(struct dmsg_outbox *outbox, int64_t *due, int64_t *expires,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Becomes readable when somebody may have changed the database; -1 when this system cannot tell.
   changed reads it, and says whether another connection did. */
int dmsg_outbox_fd(struct dmsg_outbox *outbox);
int dmsg_outbox_changed(
    struct dmsg_outbox *outbox, bool *changed, struct dmsg_error *error) DMSG_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
