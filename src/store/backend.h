/*
 * What a store has to bring along: one table of operations, one file. The rules that every store
 * obeys (transactions that failed, what may be purged, budgets) are in store.c and store_waiting.c,
 * so that a backend only keeps and counts.
 *
 * A backend's struct begins with a struct dmsg_store. Every operation may be called within a
 * transaction and, apart from `purge`, is called only there when it changes something; store.c
 * opens one where the caller has not. An operation that returns a negative code may have changed
 * half of what it was to change: the transaction is then rolled back.
 */
#ifndef DANEMSG_STORE_BACKEND_H
#define DANEMSG_STORE_BACKEND_H

#include "danemsg/store.h"

/* What waits at the same expense: messages and their octets (content and topic). */
struct dmsg_store_usage {
    size_t messages;
    size_t octets;
};

/* Whose waiting messages: of all trusted senders, of the entry's (trusted) sender, of all
   strangers, of strangers in the entry's zone. */
enum dmsg_store_whose {
    DMSG_STORE_TRUSTED,
    DMSG_STORE_NAME,
    DMSG_STORE_STRANGERS,
    DMSG_STORE_ZONE
};

/* What is known of a sender from accepted messages. */
struct dmsg_store_sender {
    bool verified; /* at least one message was accepted */
    bool sent_v1;
    int64_t purged_until; /* ids with an exp before this may be forgotten; at least the store's
                             and its zone's */
};

/* What decides how long a message waits. */
struct dmsg_store_deadline {
    enum dmsg_format format;
    bool trusted;
    int64_t issued_at, expires_at, received_at;
};

/* A message on its way into the store. */
struct dmsg_store_entry {
    const struct dmsg_message *message;
    struct dmsg_span topic;
    int64_t received_at;
    int64_t until;         /* accepted: when its id stops being of use (exp; poc: after 30 days) */
    bool trusted;          /* waiting: whose budget it is on */
    struct dmsg_span zone; /* what strangers and ids are counted by; the end of the sender's name */
};

struct dmsg_store_operations {
    void (*close)(struct dmsg_store *store);

    /* durable: what is committed must survive a power cut. */
    int (*begin)(struct dmsg_store *store, bool durable, struct dmsg_error *error);
    int (*commit)(struct dmsg_store *store, struct dmsg_error *error);
    void (*rollback)(struct dmsg_store *store);

    /* Facts of a sender in a zone; not verified for one that is not known. */
    int (*sender)(struct dmsg_store *store, const struct dmsg_name *name, struct dmsg_span zone,
        struct dmsg_store_sender *out, struct dmsg_error *error);
    /* May be NULL: these are likely to be accepted next, in a transaction; a store that is far away
       asks about all of them at once. */
    int (*expect)(struct dmsg_store *store, const struct dmsg_store_entry *entries, size_t count,
        struct dmsg_error *error);
    /* Remembers (recipient, sender, id) until entry->until: 1 when it is new, 0 when it is there.
     */
    int (*remember)(
        struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error);
    /* Keeps the payload for delivery, and the facts of the sender. */
    int (*keep)(
        struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error);
    /* Within a transaction: what was kept before it. */
    int (*next)(
        struct dmsg_store *store, int64_t after, struct dmsg_record *out, struct dmsg_error *error);
    /* May be NULL, both: the message that `next` gave last was delivered. Noted in a way that
       survives this process and is no part of a transaction, so that it may be done within one,
       which may be rolled back. False: not possible. */
    bool (*can_note)(const struct dmsg_store *store);
    bool (*note)(struct dmsg_store *store, int64_t row);
    int (*delivered)(struct dmsg_store *store, int64_t row, struct dmsg_error *error);
    int (*failed)(struct dmsg_store *store, int64_t row, int64_t most, struct dmsg_error *error);
    int (*kept)(
        struct dmsg_store *store, int64_t after, struct dmsg_record *out, struct dmsg_error *error);
    /* In a transaction of its own, a slice: takes away delivered messages, oldest first, that came
       before the time, or while more octets are kept. 1: there may be more. */
    int (*retain)(
        struct dmsg_store *store, int64_t before, int64_t octets, struct dmsg_error *error);

    /* Does a message of this sender with this id and JWS wait already? 1 or 0. */
    int (*waits)(
        struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error);
    /* Keeps the JWS of one that does not wait yet. */
    int (*wait)(
        struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error);
    int (*usage)(struct dmsg_store *store, enum dmsg_store_whose whose,
        const struct dmsg_store_entry *entry, struct dmsg_store_usage *out,
        struct dmsg_error *error);
    int (*waiting)(struct dmsg_store *store, const struct dmsg_name *sender, int64_t after,
        struct dmsg_record *out, struct dmsg_error *error);
    int (*waiting_last)(struct dmsg_store *store, int64_t *row, struct dmsg_error *error);
    int (*waited)(struct dmsg_store *store, int64_t row, struct dmsg_error *error);
    /* 1, or 0 when no such row waits. */
    int (*deadline)(struct dmsg_store *store, int64_t row, struct dmsg_store_deadline *out,
        struct dmsg_error *error);

    int (*depths)(
        struct dmsg_store *store, struct dmsg_store_depths *out, struct dmsg_error *error);
    /* May be NULL, where nobody shares the store: 1 when messages of a receiver that is gone are
       ours from now on. */
    int (*take_over)(struct dmsg_store *store, struct dmsg_error *error);
    int (*pending)(struct dmsg_store *store, int64_t *octets, struct dmsg_error *error);
    /* Adds to the count of that word. */
    int (*tally)(
        struct dmsg_store *store, const char *word, int64_t more, struct dmsg_error *error);
    /* All counts as of one moment: dmsg_store_take_count for each. */
    int (*counts)(
        struct dmsg_store *store, struct dmsg_store_counts *out, struct dmsg_error *error);
    int (*note_issued)(
        struct dmsg_store *store, const char *kid, int64_t expires_at, struct dmsg_error *error);
    int (*issued_until)(
        struct dmsg_store *store, const char *kid, int64_t *until, struct dmsg_error *error);

    /* The newest iat of an accepted v1 message (0: none), and the store's purged_until. */
    int (*times)(struct dmsg_store *store, int64_t *newest_issued, int64_t *purged_until,
        struct dmsg_error *error);
    /* In a transaction of its own, a slice: forgets v1 ids with until < limit and poc ids with
       until <= now, and has limit as purged_until at the latest when the first is forgotten; makes
       room where there are too many of a zone, or of all. 1: there is more. */
    int (*purge)(struct dmsg_store *store, int64_t limit, int64_t now, struct dmsg_error *error);
};

/* A constant's number in a statement's text. */
#define DMSG_STORE_TEXT_OF(number) #number
#define DMSG_STORE_NUMBER(number) DMSG_STORE_TEXT_OF(number)

/* Words of counts beside those of errors. Delivered is what was accepted, and is neither put aside
   nor still to be delivered, so that marking a delivery counts nothing. */
#define DMSG_STORE_ACCEPTED "accepted"
#define DMSG_STORE_PUT_ASIDE "put-aside"
#define DMSG_STORE_UNDELIVERED "undelivered"

/* Adds a count that a backend has read, under its word, to a struct that began as zeros. */
void dmsg_store_take_count(struct dmsg_store_counts *out, const char *word, int64_t count);

struct dmsg_store {
    const struct dmsg_store_operations *operations;
    const struct dmsg_context *context;
    struct dmsg_name recipient;
    bool in_transaction;
    bool broken; /* an operation failed half way: this transaction can only be rolled back */
    int64_t retain_time, retain_octets;
    struct dmsg_store_counts counting; /* of the open transaction */
    struct dmsg_store_counts counted;  /* of those that were committed */
    bool has_counted;                  /* in the open transaction */
};

#endif
