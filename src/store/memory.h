/*
 * The memory store's inside: senders with the ids that they used (memory_ids.c), messages that are
 * kept or wait (memory_records.c), and the operations (memory_waiting.c, memory_facts.c, and with
 * their undoing memory.c).
 */
#ifndef DANEMSG_STORE_MEMORY_H
#define DANEMSG_STORE_MEMORY_H

#include "store/backend.h"

/* Ids remembered at all, about 40 MiB with what keeps them in order; checked between
   transactions, so that one batch may be over it. */
#define DMSG_MEMORY_IDS_MAX 262144
/* Senders remembered although nothing of theirs is here: that they were verified, sent v1. */
#define DMSG_MEMORY_SENDERS_MAX 65536
/* Payloads that are not delivered yet: some batches' worth. */
#define DMSG_MEMORY_KEPT_OCTETS (64 * 1024 * 1024)

struct dmsg_memory_id {
    struct dmsg_memory_id *previous, *next; /* of the same sender */
    int64_t until;
    enum dmsg_format format;
    char id[DMSG_MESSAGE_ID_SIZE];
};

/* What is counted together: names below the same two labels. */
struct dmsg_memory_zone {
    struct dmsg_memory_zone *previous, *next;
    struct dmsg_store_usage usage; /* what strangers of it wait */
    size_t senders, id_count;
    int64_t purged_until; /* besides the store's own */
    int64_t median;       /* while half of the ids are forgotten */
    char text[DMSG_NAME_TEXT];
};

/* A message that is kept or waits. */
struct dmsg_memory_record {
    struct dmsg_memory_record *previous, *next;               /* in its list, by row */
    struct dmsg_memory_record *sender_previous, *sender_next; /* waiting: of its sender, by row */
    struct dmsg_memory_sender *sender; /* of a waiting message; a kept one may outlive it */
    struct dmsg_name name;             /* the sender's */
    bool waiting, stranger;
    bool aside; /* not to be delivered any more */
    int64_t row;
    int64_t failures;
    enum dmsg_format format;
    char id[DMSG_MESSAGE_ID_SIZE];
    char kid[DMSG_KEY_ID_SIZE];
    int64_t issued_at, expires_at, received_at;
    char content_type[DMSG_CONTENT_TYPE_MAX + 1];
    bool stale;
    size_t topic_size, content_size;
    uint8_t octets[]; /* topic, then content */
};

struct dmsg_memory_list {
    struct dmsg_memory_record *first, *last;
};

struct dmsg_memory_sender {
    struct dmsg_name name;
    struct dmsg_memory_zone *zone;
    struct dmsg_memory_sender *previous, *next;
    struct dmsg_memory_sender *next_touched; /* in this transaction; only while touched */
    bool touched;
    bool verified, sent_v1;
    struct dmsg_store_usage usage; /* what waits of it while trusted */
    struct dmsg_memory_id *first_id;
    size_t id_count;
    void *id_tree;      /* tsearch(3) by id */
    void *waiting_tree; /* tsearch(3) by id and content */
    struct dmsg_memory_list waiting;
    struct dmsg_memory_record *cursor; /* where the last walk over these stopped */
};

struct dmsg_memory_senders {
    void *tree; /* tsearch(3) by name */
    struct dmsg_memory_sender *first, *last, *touched;
    void *zone_tree; /* tsearch(3) by text */
    struct dmsg_memory_zone *first_zone;
    size_t count;
    size_t id_count;
    int64_t purged_until;
    int64_t newest_issued;
};

/* The sender of that name, or NULL. */
struct dmsg_memory_sender *dmsg_memory_sender_find(
    const struct dmsg_memory_senders *senders, const struct dmsg_name *name);
/* The same, made if there is none; NULL only without memory. Marks it as touched. */
struct dmsg_memory_sender *dmsg_memory_sender_touch(
    struct dmsg_memory_senders *senders, const struct dmsg_name *name, struct dmsg_span zone);
/* The zone of that text, or NULL. */
struct dmsg_memory_zone *dmsg_memory_zone_find(
    const struct dmsg_memory_senders *senders, struct dmsg_span text);
/* At a transaction's end: drops touched senders that nothing is known of. */
void dmsg_memory_senders_settle(struct dmsg_memory_senders *senders);
void dmsg_memory_senders_free(struct dmsg_memory_senders *senders);

bool dmsg_memory_id_known(const struct dmsg_memory_sender *sender, const char *id);
/* The new id, NULL without memory. */
struct dmsg_memory_id *dmsg_memory_id_add(struct dmsg_memory_senders *senders,
    struct dmsg_memory_sender *sender, const char *id, int64_t until, enum dmsg_format format);
void dmsg_memory_id_remove(struct dmsg_memory_senders *senders, struct dmsg_memory_sender *sender,
    struct dmsg_memory_id *id);

/* As the operation `purge`. */
void dmsg_memory_ids_purge(struct dmsg_memory_senders *senders, int64_t limit, int64_t now);
/* Makes room for ids and senders when there are too many. Between transactions only. */
int dmsg_memory_ids_shrink(
    struct dmsg_memory_senders *senders, struct dmsg_error *error) DMSG_MUST_CHECK;

struct dmsg_memory_records {
    struct dmsg_memory_list kept, waiting;
    struct dmsg_memory_record *cursor; /* where the last walk over all that waits stopped */
    struct dmsg_memory_record *shown;  /* the waiting one that was given out last */
    size_t kept_octets;
    struct dmsg_store_usage trusted, strangers;
    int64_t last_row;
};

/* A record in no list yet; NULL without memory. Waiting: with the JWS; else with the payload. */
struct dmsg_memory_record *dmsg_memory_record_new(struct dmsg_memory_records *records,
    struct dmsg_memory_sender *sender, const struct dmsg_store_entry *entry, bool waiting);
/* Of one that is in no list any more. */
void dmsg_memory_record_free(struct dmsg_memory_record *record);
void dmsg_memory_record_show(const struct dmsg_memory_record *record, struct dmsg_record *out);

/* Puts it at its list's end; put again after a take, undone in the reverse order, where it was. */
void dmsg_memory_record_put(struct dmsg_memory_records *records, struct dmsg_memory_record *record);
void dmsg_memory_record_take(
    struct dmsg_memory_records *records, struct dmsg_memory_record *record);

struct dmsg_memory_record *dmsg_memory_kept_after(
    const struct dmsg_memory_records *records, int64_t after);
struct dmsg_memory_record *dmsg_memory_kept_find(
    const struct dmsg_memory_records *records, int64_t row);
struct dmsg_memory_record *dmsg_memory_waiting_after(
    struct dmsg_memory_records *records, struct dmsg_memory_sender *only, int64_t after);
struct dmsg_memory_record *dmsg_memory_waiting_find(
    const struct dmsg_memory_records *records, int64_t row);
bool dmsg_memory_waiting_same(
    const struct dmsg_memory_sender *sender, const char *id, struct dmsg_span content);
void dmsg_memory_records_free(struct dmsg_memory_records *records);

/* ---------------------------------------------------------------------------- the whole store */

/* A key, and when the last message that it signed expires. */
struct dmsg_memory_issued {
    struct dmsg_memory_issued *next;
    char kid[DMSG_KEY_ID_SIZE];
    int64_t until;
};

struct dmsg_memory_undo; /* memory.c */

struct dmsg_memory {
    struct dmsg_store store;
    struct dmsg_memory_senders senders;
    struct dmsg_memory_records records;
    struct dmsg_memory_undo *journal;
    size_t journal_size, journal_capacity;
    int64_t committed_row; /* later ones are the open transaction's */
    bool kept_changed;     /* which also changed earlier ones, and may undo that */
    struct dmsg_memory_issued *issued;
    struct dmsg_store_counts counts; /* but for what is delivered */
};

static inline struct dmsg_memory *dmsg_memory_of(struct dmsg_store *store)
{
    return (struct dmsg_memory *)store;
}

/* A new record of the entry, and a record's end, that a rollback undoes. */
int dmsg_memory_put(struct dmsg_memory *memory, const struct dmsg_store_entry *entry, bool waiting,
    struct dmsg_memory_sender **out, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_memory_take(struct dmsg_memory *memory, struct dmsg_memory_record *record,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* ------------------------------------------- operations: memory_waiting.c, memory_facts.c */

int dmsg_memory_waits(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error);
int dmsg_memory_wait(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error);
int dmsg_memory_usage(struct dmsg_store *store, enum dmsg_store_whose whose,
    const struct dmsg_store_entry *entry, struct dmsg_store_usage *out, struct dmsg_error *error);
int dmsg_memory_waiting(struct dmsg_store *store, const struct dmsg_name *sender, int64_t after,
    struct dmsg_record *out, struct dmsg_error *error);
int dmsg_memory_waiting_last(struct dmsg_store *store, int64_t *row, struct dmsg_error *error);
int dmsg_memory_waited(struct dmsg_store *store, int64_t row, struct dmsg_error *error);
int dmsg_memory_deadline(struct dmsg_store *store, int64_t row, struct dmsg_store_deadline *out,
    struct dmsg_error *error);
int dmsg_memory_note_issued(
    struct dmsg_store *store, const char *kid, int64_t expires_at, struct dmsg_error *error);
int dmsg_memory_depths(
    struct dmsg_store *store, struct dmsg_store_depths *out, struct dmsg_error *error);
int dmsg_memory_pending(struct dmsg_store *store, int64_t *octets, struct dmsg_error *error);
int dmsg_memory_tally(
    struct dmsg_store *store, const char *word, int64_t more, struct dmsg_error *error);
int dmsg_memory_counts(
    struct dmsg_store *store, struct dmsg_store_counts *out, struct dmsg_error *error);
int dmsg_memory_issued_until(
    struct dmsg_store *store, const char *kid, int64_t *until, struct dmsg_error *error);

#endif
