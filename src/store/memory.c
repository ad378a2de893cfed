#include "store/memory.h"
#include "base/fail.h"

#include <stdlib.h>

/* What was done in a transaction, so that it can be undone, last things first. */
struct undo {
    enum { UNDO_ID, UNDO_FACTS, UNDO_PUT, UNDO_TAKE } kind;
    struct dmsg_memory_sender *sender;
    struct dmsg_memory_id *id;
    struct dmsg_memory_record *record;
    bool verified, sent_v1;
    int64_t newest_issued;
};

struct memory_store {
    struct dmsg_store store;
    struct dmsg_memory_senders senders;
    struct dmsg_memory_records records;
    struct undo *journal;
    size_t journal_size, journal_capacity;
};

static struct memory_store *memory_of(struct dmsg_store *store)
{
    return (struct memory_store *)store;
}

/* ---------------------------------------------------------------------------- transactions */

/* Makes room for the next journal entry before the change that it undoes. */
static bool journal_ready(struct memory_store *memory)
{
    if (memory->journal_size < memory->journal_capacity)
        return true;
    size_t capacity = memory->journal_capacity * 2 + 64;
    struct undo *journal = reallocarray(memory->journal, capacity, sizeof *journal);
    if (journal == NULL)
        return false;
    memory->journal = journal;
    memory->journal_capacity = capacity;
    return true;
}

static void journal_put(struct memory_store *memory, struct undo undo)
{
    memory->journal[memory->journal_size++] = undo;
}

static int memory_begin(struct dmsg_store *store, struct dmsg_error *error)
{
    return dmsg_memory_ids_shrink(&memory_of(store)->senders, error);
}

static int memory_commit(struct dmsg_store *store, struct dmsg_error *error)
{
    struct memory_store *memory = memory_of(store);
    (void)error;
    for (size_t i = 0; i < memory->journal_size; i++) {
        if (memory->journal[i].kind == UNDO_TAKE)
            dmsg_memory_record_free(&memory->records, memory->journal[i].record);
    }
    memory->journal_size = 0;
    dmsg_memory_senders_settle(&memory->senders);
    return 0;
}

static void undo_one(struct memory_store *memory, const struct undo *undo)
{
    switch (undo->kind) {
    case UNDO_ID:
        dmsg_memory_id_remove(&memory->senders, undo->sender, undo->id);
        break;
    case UNDO_FACTS:
        undo->sender->verified = undo->verified;
        undo->sender->sent_v1 = undo->sent_v1;
        memory->senders.newest_issued = undo->newest_issued;
        break;
    case UNDO_PUT:
        dmsg_memory_record_take(&memory->records, undo->record);
        dmsg_memory_record_free(&memory->records, undo->record);
        break;
    case UNDO_TAKE:
        dmsg_memory_record_put(&memory->records, undo->record);
        break;
    }
}

static void memory_rollback(struct dmsg_store *store)
{
    struct memory_store *memory = memory_of(store);
    while (memory->journal_size > 0)
        undo_one(memory, &memory->journal[--memory->journal_size]);
    dmsg_memory_senders_settle(&memory->senders);
}

/* ------------------------------------------------------------------------- senders and ids */

static int memory_sender(struct dmsg_store *store, const struct dmsg_name *name,
    struct dmsg_store_sender *out, struct dmsg_error *error)
{
    const struct dmsg_memory_senders *senders = &memory_of(store)->senders;
    const struct dmsg_memory_sender *sender = dmsg_memory_sender_find(senders, name);
    (void)error;
    *out = (struct dmsg_store_sender){.purged_until = senders->purged_until};
    if (sender == NULL)
        return 0;
    out->verified = sender->verified;
    out->sent_v1 = sender->sent_v1;
    if (sender->purged_until > out->purged_until)
        out->purged_until = sender->purged_until;
    return 0;
}

static int memory_remember(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct memory_store *memory = memory_of(store);
    const struct dmsg_message *message = entry->message;
    struct dmsg_memory_sender *sender =
        dmsg_memory_sender_touch(&memory->senders, &message->sender);
    if (sender == NULL || !journal_ready(memory))
        return dmsg_fail_memory(error);
    if (dmsg_memory_id_known(sender, message->id))
        return 0;
    struct dmsg_memory_id *id =
        dmsg_memory_id_add(&memory->senders, sender, message->id, entry->until, message->format);
    if (id == NULL)
        return dmsg_fail_memory(error);
    journal_put(memory, (struct undo){.kind = UNDO_ID, .sender = sender, .id = id});
    return 1;
}

static int memory_times(struct dmsg_store *store, int64_t *newest_issued, int64_t *purged_until,
    struct dmsg_error *error)
{
    const struct dmsg_memory_senders *senders = &memory_of(store)->senders;
    (void)error;
    *newest_issued = senders->newest_issued;
    *purged_until = senders->purged_until;
    return 0;
}

static int memory_purge(
    struct dmsg_store *store, int64_t limit, int64_t now, struct dmsg_error *error)
{
    (void)error;
    dmsg_memory_ids_purge(&memory_of(store)->senders, limit, now);
    return 0;
}

/* -------------------------------------------------------------------------- putting, taking */

static int put_new(struct memory_store *memory, const struct dmsg_store_entry *entry, bool waiting,
    struct dmsg_memory_sender **out, struct dmsg_error *error)
{
    struct dmsg_memory_sender *sender =
        dmsg_memory_sender_touch(&memory->senders, &entry->message->sender);
    if (sender == NULL || !journal_ready(memory))
        return dmsg_fail_memory(error);
    struct dmsg_memory_record *record =
        dmsg_memory_record_new(&memory->records, sender, entry, waiting);
    if (record == NULL)
        return dmsg_fail_memory(error);
    dmsg_memory_record_put(&memory->records, record);
    journal_put(memory, (struct undo){.kind = UNDO_PUT, .record = record});
    *out = sender;
    return 0;
}

static int take(
    struct memory_store *memory, struct dmsg_memory_record *record, struct dmsg_error *error)
{
    struct dmsg_memory_sender *sender = dmsg_memory_sender_touch(&memory->senders, &record->name);
    if (sender == NULL || !journal_ready(memory))
        return dmsg_fail_memory(error);
    dmsg_memory_record_take(&memory->records, record);
    journal_put(memory, (struct undo){.kind = UNDO_TAKE, .record = record});
    return 0;
}

static int memory_keep(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct memory_store *memory = memory_of(store);
    struct dmsg_memory_senders *senders = &memory->senders;
    const struct dmsg_message *message = entry->message;
    struct dmsg_memory_sender *sender = NULL;
    size_t room = DMSG_MEMORY_KEPT_OCTETS - memory->records.kept_octets;
    if (message->payload.size + entry->topic.size > room)
        return dmsg_fail(error, DMSG_E_INTERNAL,
            "the memory store is full of messages that are not delivered yet");
    int code = put_new(memory, entry, false, &sender, error);
    if (code < 0)
        return code;
    if (!journal_ready(memory))
        return dmsg_fail_memory(error);
    journal_put(memory, (struct undo){.kind = UNDO_FACTS,
                            .sender = sender,
                            .verified = sender->verified,
                            .sent_v1 = sender->sent_v1,
                            .newest_issued = senders->newest_issued});
    sender->verified = true;
    sender->sent_v1 |= message->format == DMSG_FORMAT_V1;
    if (message->issued_at > senders->newest_issued)
        senders->newest_issued = message->issued_at;
    return 0;
}

static int memory_next(
    struct dmsg_store *store, int64_t after, struct dmsg_record *out, struct dmsg_error *error)
{
    const struct dmsg_memory_record *record =
        dmsg_memory_kept_after(&memory_of(store)->records, after);
    (void)error;
    if (record == NULL)
        return 0;
    dmsg_memory_record_show(record, out);
    return 1;
}

static int memory_delivered(struct dmsg_store *store, int64_t row, struct dmsg_error *error)
{
    struct memory_store *memory = memory_of(store);
    struct dmsg_memory_record *record = dmsg_memory_kept_find(&memory->records, row);
    if (record == NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "no message with this row waits for delivery");
    return take(memory, record, error);
}

/* --------------------------------------------------------------------------------- waiting */

static int memory_waits(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    const struct dmsg_message *message = entry->message;
    const struct dmsg_memory_sender *sender =
        dmsg_memory_sender_find(&memory_of(store)->senders, &message->sender);
    (void)error;
    return sender != NULL &&
           dmsg_memory_waiting_same(sender, message->id, dmsg_buffer_span(&message->jws));
}

static int memory_wait(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct dmsg_memory_sender *sender = NULL;
    return put_new(memory_of(store), entry, true, &sender, error);
}

static int memory_usage(struct dmsg_store *store, bool trusted, const struct dmsg_span *zone,
    struct dmsg_store_usage *out, struct dmsg_error *error)
{
    const struct dmsg_memory_records *records = &memory_of(store)->records;
    (void)error;
    if (zone != NULL)
        *out = dmsg_memory_zone_usage(records, *zone);
    else
        *out = trusted ? records->trusted : records->strangers;
    return 0;
}

static int memory_waiting(struct dmsg_store *store, const struct dmsg_name *sender, int64_t after,
    struct dmsg_record *out, struct dmsg_error *error)
{
    struct memory_store *memory = memory_of(store);
    struct dmsg_memory_sender *only = NULL;
    (void)error;
    if (sender != NULL) {
        only = dmsg_memory_sender_find(&memory->senders, sender);
        if (only == NULL)
            return 0;
    }
    const struct dmsg_memory_record *record =
        dmsg_memory_waiting_after(&memory->records, only, after);
    if (record == NULL)
        return 0;
    dmsg_memory_record_show(record, out);
    return 1;
}

static int memory_waiting_last(struct dmsg_store *store, int64_t *row, struct dmsg_error *error)
{
    (void)error;
    *row = memory_of(store)->records.last_row;
    return 0;
}

static int memory_waited(struct dmsg_store *store, int64_t row, struct dmsg_error *error)
{
    struct memory_store *memory = memory_of(store);
    struct dmsg_memory_record *record = dmsg_memory_waiting_find(&memory->records, row);
    if (record == NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "no message with this row is waiting");
    return take(memory, record, error);
}

static int memory_deadline(struct dmsg_store *store, int64_t row, struct dmsg_store_deadline *out,
    struct dmsg_error *error)
{
    const struct dmsg_memory_record *record =
        dmsg_memory_waiting_find(&memory_of(store)->records, row);
    (void)error;
    if (record == NULL)
        return 0;
    *out = (struct dmsg_store_deadline){.format = record->format,
        .trusted = record->zone == NULL,
        .issued_at = record->issued_at,
        .expires_at = record->expires_at,
        .received_at = record->received_at};
    return 1;
}

/* ------------------------------------------------------------------------ opening, closing */

static void memory_close(struct dmsg_store *store)
{
    struct memory_store *memory = memory_of(store);
    dmsg_memory_records_free(&memory->records);
    dmsg_memory_senders_free(&memory->senders);
    free(memory->journal);
    free(memory);
}

static const struct dmsg_store_operations memory_operations = {
    .close = memory_close,
    .begin = memory_begin,
    .commit = memory_commit,
    .rollback = memory_rollback,
    .sender = memory_sender,
    .remember = memory_remember,
    .keep = memory_keep,
    .next = memory_next,
    .delivered = memory_delivered,
    .waits = memory_waits,
    .wait = memory_wait,
    .usage = memory_usage,
    .waiting = memory_waiting,
    .waiting_last = memory_waiting_last,
    .waited = memory_waited,
    .deadline = memory_deadline,
    .times = memory_times,
    .purge = memory_purge,
};

int dmsg_store_open_memory(struct dmsg_store **out, const struct dmsg_context *context,
    const struct dmsg_name *recipient, struct dmsg_error *error)
{
    struct memory_store *memory = calloc(1, sizeof *memory);
    if (memory == NULL)
        return dmsg_fail_memory(error);
    memory->store = (struct dmsg_store){
        .operations = &memory_operations, .context = context, .recipient = *recipient};
    *out = &memory->store;
    return 0;
}
