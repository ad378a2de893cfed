#include "store/memory.h"
#include "base/fail.h"

#include <stdlib.h>
#include <string.h>

/* What was done in a transaction, so that it can be undone, last things first. */
struct dmsg_memory_undo {
    enum { UNDO_ID, UNDO_FACTS, UNDO_PUT, UNDO_TAKE, UNDO_FAILURE } kind;
    struct dmsg_memory_sender *sender;
    struct dmsg_memory_id *id;
    struct dmsg_memory_record *record;
    bool verified, sent_v1;
    int64_t newest_issued;
};

/* ---------------------------------------------------------------------------- transactions */

/* Makes room for the next journal entry before the change that it undoes. */
static bool journal_ready(struct dmsg_memory *memory)
{
    if (memory->journal_size < memory->journal_capacity)
        return true;
    size_t capacity = memory->journal_capacity * 2 + 64;
    struct dmsg_memory_undo *journal = reallocarray(memory->journal, capacity, sizeof *journal);
    if (journal == NULL)
        return false;
    memory->journal = journal;
    memory->journal_capacity = capacity;
    return true;
}

static void journal_put(struct dmsg_memory *memory, struct dmsg_memory_undo undo)
{
    memory->journal[memory->journal_size++] = undo;
}

static int memory_begin(struct dmsg_store *store, bool durable, struct dmsg_error *error)
{
    (void)durable;
    dmsg_memory_of(store)->committed_row = dmsg_memory_of(store)->records.last_row;
    dmsg_memory_of(store)->kept_changed = false;
    return dmsg_memory_ids_shrink(&dmsg_memory_of(store)->senders, error);
}

static int memory_commit(struct dmsg_store *store, struct dmsg_error *error)
{
    struct dmsg_memory *memory = dmsg_memory_of(store);
    (void)error;
    for (size_t i = 0; i < memory->journal_size; i++) {
        if (memory->journal[i].kind == UNDO_TAKE)
            dmsg_memory_record_free(memory->journal[i].record);
    }
    memory->journal_size = 0;
    dmsg_memory_senders_settle(&memory->senders);
    return 0;
}

static void undo_one(struct dmsg_memory *memory, const struct dmsg_memory_undo *undo)
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
        dmsg_memory_record_free(undo->record);
        break;
    case UNDO_TAKE:
        dmsg_memory_record_put(&memory->records, undo->record);
        break;
    case UNDO_FAILURE:
        undo->record->failures--;
        undo->record->aside = false;
        break;
    }
}

static void memory_rollback(struct dmsg_store *store)
{
    struct dmsg_memory *memory = dmsg_memory_of(store);
    while (memory->journal_size > 0)
        undo_one(memory, &memory->journal[--memory->journal_size]);
    dmsg_memory_senders_settle(&memory->senders);
}

/* ------------------------------------------------------------------------- senders and ids */

static int memory_sender(struct dmsg_store *store, const struct dmsg_name *name,
    struct dmsg_span text, struct dmsg_store_sender *out, struct dmsg_error *error)
{
    const struct dmsg_memory_senders *senders = &dmsg_memory_of(store)->senders;
    const struct dmsg_memory_sender *sender = dmsg_memory_sender_find(senders, name);
    const struct dmsg_memory_zone *zone = dmsg_memory_zone_find(senders, text);
    (void)error;
    *out = (struct dmsg_store_sender){.purged_until = senders->purged_until};
    if (zone != NULL && zone->purged_until > out->purged_until)
        out->purged_until = zone->purged_until;
    if (sender == NULL)
        return 0;
    out->verified = sender->verified;
    out->sent_v1 = sender->sent_v1;
    return 0;
}

static int memory_remember(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct dmsg_memory *memory = dmsg_memory_of(store);
    const struct dmsg_message *message = entry->message;
    struct dmsg_memory_sender *sender =
        dmsg_memory_sender_touch(&memory->senders, &message->sender, entry->zone);
    if (sender == NULL || !journal_ready(memory))
        return dmsg_fail_memory(error);
    if (dmsg_memory_id_known(sender, message->id))
        return 0;
    struct dmsg_memory_id *id =
        dmsg_memory_id_add(&memory->senders, sender, message->id, entry->until, message->format);
    if (id == NULL)
        return dmsg_fail_memory(error);
    journal_put(memory, (struct dmsg_memory_undo){.kind = UNDO_ID, .sender = sender, .id = id});
    return 1;
}

static int memory_times(struct dmsg_store *store, int64_t *newest_issued, int64_t *purged_until,
    struct dmsg_error *error)
{
    const struct dmsg_memory_senders *senders = &dmsg_memory_of(store)->senders;
    (void)error;
    *newest_issued = senders->newest_issued;
    *purged_until = senders->purged_until;
    return 0;
}

static int memory_purge(
    struct dmsg_store *store, int64_t limit, int64_t now, struct dmsg_error *error)
{
    (void)error;
    dmsg_memory_ids_purge(&dmsg_memory_of(store)->senders, limit, now);
    return 0;
}

/* -------------------------------------------------------------------------- putting, taking */

int dmsg_memory_put(struct dmsg_memory *memory, const struct dmsg_store_entry *entry, bool waiting,
    struct dmsg_memory_sender **out, struct dmsg_error *error)
{
    struct dmsg_memory_sender *sender =
        dmsg_memory_sender_touch(&memory->senders, &entry->message->sender, entry->zone);
    if (sender == NULL || !journal_ready(memory))
        return dmsg_fail_memory(error);
    struct dmsg_memory_record *record =
        dmsg_memory_record_new(&memory->records, sender, entry, waiting);
    if (record == NULL)
        return dmsg_fail_memory(error);
    dmsg_memory_record_put(&memory->records, record);
    journal_put(memory, (struct dmsg_memory_undo){.kind = UNDO_PUT, .record = record});
    *out = sender;
    return 0;
}

int dmsg_memory_take(
    struct dmsg_memory *memory, struct dmsg_memory_record *record, struct dmsg_error *error)
{
    if (!journal_ready(memory))
        return dmsg_fail_memory(error);
    if (record->sender != NULL) /* is there, so that this finds it */
        (void)dmsg_memory_sender_touch(&memory->senders, &record->name, (struct dmsg_span){0});
    dmsg_memory_record_take(&memory->records, record);
    journal_put(memory, (struct dmsg_memory_undo){.kind = UNDO_TAKE, .record = record});
    return 0;
}

static int memory_keep(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct dmsg_memory *memory = dmsg_memory_of(store);
    struct dmsg_memory_senders *senders = &memory->senders;
    const struct dmsg_message *message = entry->message;
    struct dmsg_memory_sender *sender = NULL;
    size_t room = DMSG_MEMORY_KEPT_OCTETS - memory->records.kept_octets;
    if (message->payload.size + entry->topic.size > room)
        return dmsg_fail(error, DMSG_E_INTERNAL,
            "the memory store is full of messages that are not delivered yet");
    int code = dmsg_memory_put(memory, entry, false, &sender, error);
    if (code < 0)
        return code;
    if (!journal_ready(memory))
        return dmsg_fail_memory(error);
    journal_put(memory, (struct dmsg_memory_undo){.kind = UNDO_FACTS,
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
        dmsg_memory_kept_after(&dmsg_memory_of(store)->records, after);
    (void)error;
    while (record != NULL && record->aside)
        record = record->next;
    if (record == NULL ||
        (store->in_transaction && record->row > dmsg_memory_of(store)->committed_row))
        return 0;
    dmsg_memory_record_show(record, out);
    return 1;
}

static int memory_kept(
    struct dmsg_store *store, int64_t after, struct dmsg_record *out, struct dmsg_error *error)
{
    const struct dmsg_memory_record *record =
        dmsg_memory_kept_after(&dmsg_memory_of(store)->records, after);
    (void)error;
    if (record == NULL)
        return 0;
    dmsg_memory_record_show(record, out);
    return 1;
}

static bool memory_can_note(const struct dmsg_store *store)
{
    (void)store;
    return true;
}

/* No rollback brings back what was kept before the transaction. */
static bool memory_note(struct dmsg_store *store, int64_t row)
{
    struct dmsg_memory *memory = dmsg_memory_of(store);
    struct dmsg_memory_record *record = dmsg_memory_kept_find(&memory->records, row);
    if (record == NULL ||
        (store->in_transaction && (memory->kept_changed || row > memory->committed_row)))
        return false;
    dmsg_memory_record_take(&memory->records, record);
    dmsg_memory_record_free(record);
    return true;
}

static int memory_delivered(struct dmsg_store *store, int64_t row, struct dmsg_error *error)
{
    struct dmsg_memory *memory = dmsg_memory_of(store);
    struct dmsg_memory_record *record = dmsg_memory_kept_find(&memory->records, row);
    if (record == NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "no message with this row waits for delivery");
    memory->kept_changed = true;
    return dmsg_memory_take(memory, record, error);
}

static int memory_failed(
    struct dmsg_store *store, int64_t row, int64_t most, struct dmsg_error *error)
{
    struct dmsg_memory *memory = dmsg_memory_of(store);
    struct dmsg_memory_record *record = dmsg_memory_kept_find(&memory->records, row);
    if (record == NULL || record->aside)
        return dmsg_fail(error, DMSG_E_USAGE, "no message with this row waits for delivery");
    if (!journal_ready(memory))
        return dmsg_fail_memory(error);
    journal_put(memory, (struct dmsg_memory_undo){.kind = UNDO_FAILURE, .record = record});
    memory->kept_changed = true;
    record->aside = ++record->failures >= most;
    return record->aside;
}

/* What is delivered is gone already. */
static int memory_retain(
    struct dmsg_store *store, int64_t before, int64_t octets, struct dmsg_error *error)
{
    (void)store;
    (void)before;
    (void)octets;
    (void)error;
    return 0;
}

/* ------------------------------------------------------------------------ opening, closing */

static void memory_close(struct dmsg_store *store)
{
    struct dmsg_memory *memory = dmsg_memory_of(store);
    while (memory->issued != NULL) {
        struct dmsg_memory_issued *next = memory->issued->next;
        free(memory->issued);
        memory->issued = next;
    }
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
    .can_note = memory_can_note,
    .note = memory_note,
    .delivered = memory_delivered,
    .failed = memory_failed,
    .kept = memory_kept,
    .retain = memory_retain,
    .waits = dmsg_memory_waits,
    .wait = dmsg_memory_wait,
    .usage = dmsg_memory_usage,
    .waiting = dmsg_memory_waiting,
    .waiting_last = dmsg_memory_waiting_last,
    .waited = dmsg_memory_waited,
    .deadline = dmsg_memory_deadline,
    .note_issued = dmsg_memory_note_issued,
    .depths = dmsg_memory_depths,
    .pending = dmsg_memory_pending,
    .tally = dmsg_memory_tally,
    .counts = dmsg_memory_counts,
    .issued_until = dmsg_memory_issued_until,
    .times = memory_times,
    .purge = memory_purge,
};

int dmsg_store_open_memory(struct dmsg_store **out, const struct dmsg_context *context,
    const struct dmsg_name *recipient, struct dmsg_error *error)
{
    struct dmsg_memory *memory = calloc(1, sizeof *memory);
    if (memory == NULL)
        return dmsg_fail_memory(error);
    memory->store = (struct dmsg_store){.operations = &memory_operations,
        .context = context,
        .recipient = *recipient,
        .retain_time = DMSG_RETAIN_TIME,
        .retain_octets = DMSG_RETAIN_OCTETS};
    *out = &memory->store;
    return 0;
}
