/* The memory store: messages that wait for DNS. */
#include "base/fail.h"
#include "store/memory.h"

int dmsg_memory_waits(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    const struct dmsg_message *message = entry->message;
    const struct dmsg_memory_sender *sender =
        dmsg_memory_sender_find(&dmsg_memory_of(store)->senders, &message->sender);
    (void)error;
    return sender != NULL &&
           dmsg_memory_waiting_same(sender, message->id, dmsg_buffer_span(&message->jws));
}

int dmsg_memory_wait(
    struct dmsg_store *store, const struct dmsg_store_entry *entry, struct dmsg_error *error)
{
    struct dmsg_memory_sender *sender = NULL;
    return dmsg_memory_put(dmsg_memory_of(store), entry, true, &sender, error);
}

int dmsg_memory_usage(struct dmsg_store *store, enum dmsg_store_whose whose,
    const struct dmsg_store_entry *entry, struct dmsg_store_usage *out, struct dmsg_error *error)
{
    const struct dmsg_memory *memory = dmsg_memory_of(store);
    const struct dmsg_memory_sender *sender =
        dmsg_memory_sender_find(&memory->senders, &entry->message->sender);
    const struct dmsg_memory_zone *zone = dmsg_memory_zone_find(&memory->senders, entry->zone);
    (void)error;
    *out = (struct dmsg_store_usage){0};
    if (whose == DMSG_STORE_TRUSTED)
        *out = memory->records.trusted;
    else if (whose == DMSG_STORE_STRANGERS)
        *out = memory->records.strangers;
    else if (whose == DMSG_STORE_NAME && sender != NULL)
        *out = sender->usage;
    else if (whose == DMSG_STORE_ZONE && zone != NULL)
        *out = zone->usage;
    return 0;
}

int dmsg_memory_waiting(struct dmsg_store *store, const struct dmsg_name *sender, int64_t after,
    struct dmsg_record *out, struct dmsg_error *error)
{
    struct dmsg_memory *memory = dmsg_memory_of(store);
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

int dmsg_memory_waiting_last(struct dmsg_store *store, int64_t *row, struct dmsg_error *error)
{
    (void)error;
    *row = dmsg_memory_of(store)->records.last_row;
    return 0;
}

int dmsg_memory_waited(struct dmsg_store *store, int64_t row, struct dmsg_error *error)
{
    struct dmsg_memory *memory = dmsg_memory_of(store);
    struct dmsg_memory_record *record = dmsg_memory_waiting_find(&memory->records, row);
    if (record == NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "no message with this row is waiting");
    return dmsg_memory_take(memory, record, error);
}

int dmsg_memory_deadline(struct dmsg_store *store, int64_t row, struct dmsg_store_deadline *out,
    struct dmsg_error *error)
{
    const struct dmsg_memory_record *record =
        dmsg_memory_waiting_find(&dmsg_memory_of(store)->records, row);
    (void)error;
    if (record == NULL)
        return 0;
    *out = (struct dmsg_store_deadline){.format = record->format,
        .trusted = !record->stranger,
        .issued_at = record->issued_at,
        .expires_at = record->expires_at,
        .received_at = record->received_at};
    return 1;
}
