#include "store/memory.h"

#include <openssl/crypto.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------------- budgets */

static size_t octets_of(const struct dmsg_memory_record *record)
{
    return record->topic_size + record->content_size;
}

static void charge_one(struct dmsg_store_usage *usage, const struct dmsg_memory_record *record)
{
    usage->messages++;
    usage->octets += octets_of(record);
}

static void discharge_one(struct dmsg_store_usage *usage, const struct dmsg_memory_record *record)
{
    usage->messages--;
    usage->octets -= octets_of(record);
}

static void for_each_budget(struct dmsg_memory_records *records,
    const struct dmsg_memory_record *record,
    void (*change)(struct dmsg_store_usage *usage, const struct dmsg_memory_record *record))
{
    change(record->stranger ? &records->strangers : &records->trusted, record);
    change(record->stranger ? &record->sender->zone->usage : &record->sender->usage, record);
}

/* ------------------------------------------------------------------------------ one record */

static void fill_record(struct dmsg_memory_record *record, const struct dmsg_store_entry *entry,
    struct dmsg_span content)
{
    const struct dmsg_message *message = entry->message;
    record->format = message->format;
    memcpy(record->id, message->id, sizeof record->id);
    memcpy(record->kid, message->kid, sizeof record->kid);
    record->issued_at = message->issued_at;
    record->expires_at = message->expires_at;
    record->received_at = entry->received_at;
    memcpy(record->content_type, message->content_type, sizeof record->content_type);
    record->stale = message->stale;
    record->topic_size = entry->topic.size;
    record->content_size = content.size;
    if (entry->topic.size > 0)
        memcpy(record->octets, entry->topic.data, entry->topic.size);
    if (content.size > 0)
        memcpy(record->octets + entry->topic.size, content.data, content.size);
}

struct dmsg_memory_record *dmsg_memory_record_new(struct dmsg_memory_records *records,
    struct dmsg_memory_sender *sender, const struct dmsg_store_entry *entry, bool waiting)
{
    struct dmsg_span content =
        dmsg_buffer_span(waiting ? &entry->message->jws : &entry->message->payload);
    struct dmsg_memory_record *record =
        calloc(1, sizeof *record + entry->topic.size + content.size);
    if (record == NULL)
        return NULL;
    fill_record(record, entry, content);
    record->sender = waiting ? sender : NULL;
    record->name = sender->name;
    record->waiting = waiting;
    record->stranger = waiting && !entry->trusted;
    record->row = ++records->last_row;
    struct dmsg_memory_list *list = waiting ? &records->waiting : &records->kept;
    record->previous = list->last;
    if (waiting)
        record->sender_previous = sender->waiting.last;
    return record;
}

/* Wiped: a message's content is its sender's and recipient's only. */
void dmsg_memory_record_free(struct dmsg_memory_record *record)
{
    OPENSSL_cleanse(record->octets, octets_of(record));
    free(record);
}

void dmsg_memory_record_show(const struct dmsg_memory_record *record, struct dmsg_record *out)
{
    *out = (struct dmsg_record){.row = record->row,
        .format = record->format,
        .sender = record->name,
        .issued_at = record->issued_at,
        .expires_at = record->expires_at,
        .received_at = record->received_at,
        .delivery = record->aside ? DMSG_FAILED : DMSG_UNDELIVERED,
        .failures = record->failures,
        .stale = record->stale,
        .topic = {record->octets, record->topic_size},
        .content = {record->octets + record->topic_size, record->content_size}};
    memcpy(out->id, record->id, sizeof out->id);
    memcpy(out->kid, record->kid, sizeof out->kid);
    memcpy(out->content_type, record->content_type, sizeof out->content_type);
}

/* ----------------------------------------------------------------------------------- lists */

static void link_in_list(struct dmsg_memory_list *list, struct dmsg_memory_record *record)
{
    *(record->previous != NULL ? &record->previous->next : &list->first) = record;
    *(record->next != NULL ? &record->next->previous : &list->last) = record;
}

static void unlink_from_list(struct dmsg_memory_list *list, struct dmsg_memory_record *record)
{
    *(record->previous != NULL ? &record->previous->next : &list->first) = record->next;
    *(record->next != NULL ? &record->next->previous : &list->last) = record->previous;
}

static void link_in_sender(struct dmsg_memory_record *record)
{
    struct dmsg_memory_list *list = &record->sender->waiting;
    struct dmsg_memory_record *previous = record->sender_previous, *next = record->sender_next;
    *(previous != NULL ? &previous->sender_next : &list->first) = record;
    *(next != NULL ? &next->sender_previous : &list->last) = record;
}

static void unlink_from_sender(struct dmsg_memory_record *record)
{
    struct dmsg_memory_list *list = &record->sender->waiting;
    struct dmsg_memory_record *previous = record->sender_previous, *next = record->sender_next;
    *(previous != NULL ? &previous->sender_next : &list->first) = next;
    *(next != NULL ? &next->sender_previous : &list->last) = previous;
}

/* What tells the waiting messages of one sender apart: the id and the JWS. */
struct waiting_key {
    const char *id;
    struct dmsg_span content;
};

static struct waiting_key key_of(const struct dmsg_memory_record *record)
{
    return (struct waiting_key){
        record->id, {record->octets + record->topic_size, record->content_size}};
}

static int compare_keys(const struct waiting_key *a, const struct waiting_key *b)
{
    int order = strcmp(a->id, b->id);
    if (order == 0)
        order = (a->content.size > b->content.size) - (a->content.size < b->content.size);
    if (order != 0 || a->content.size == 0)
        return order;
    return memcmp(a->content.data, b->content.data, a->content.size);
}

static int compare_waiting(const void *a, const void *b)
{
    struct waiting_key left = key_of(a), right = key_of(b);
    return compare_keys(&left, &right);
}

static int compare_with_waiting(const void *key, const void *b)
{
    struct waiting_key right = key_of(b);
    return compare_keys(key, &right);
}

bool dmsg_memory_waiting_same(
    const struct dmsg_memory_sender *sender, const char *id, struct dmsg_span content)
{
    struct waiting_key key = {id, content};
    return tfind(&key, &sender->waiting_tree, compare_with_waiting) != NULL;
}

/* ------------------------------------------------------------------------ putting and taking */

/* Without memory for the tree, a message that comes a second time is kept a second time, and is
   a replay when it is verified. */
void dmsg_memory_record_put(struct dmsg_memory_records *records, struct dmsg_memory_record *record)
{
    if (!record->waiting) {
        link_in_list(&records->kept, record);
        records->kept_octets += octets_of(record);
        return;
    }
    (void)tsearch(record, &record->sender->waiting_tree, compare_waiting);
    link_in_list(&records->waiting, record);
    link_in_sender(record);
    for_each_budget(records, record, charge_one);
}

void dmsg_memory_record_take(struct dmsg_memory_records *records, struct dmsg_memory_record *record)
{
    if (!record->waiting) {
        unlink_from_list(&records->kept, record);
        records->kept_octets -= octets_of(record);
        return;
    }
    if (records->shown == record)
        records->shown = NULL;
    if (records->cursor == record)
        records->cursor = record->previous;
    if (record->sender->cursor == record)
        record->sender->cursor = record->sender_previous;
    tdelete(record, &record->sender->waiting_tree, compare_waiting);
    unlink_from_list(&records->waiting, record);
    unlink_from_sender(record);
    for_each_budget(records, record, discharge_one);
}

struct dmsg_memory_record *dmsg_memory_kept_after(
    const struct dmsg_memory_records *records, int64_t after)
{
    struct dmsg_memory_record *record = records->kept.first;
    while (record != NULL && record->row <= after)
        record = record->next;
    return record;
}

struct dmsg_memory_record *dmsg_memory_kept_find(
    const struct dmsg_memory_records *records, int64_t row)
{
    struct dmsg_memory_record *record = dmsg_memory_kept_after(records, row - 1);
    return record != NULL && record->row == row ? record : NULL;
}

/* Walks go on where they stopped: the whole of a long list is gone through once, not once for
   each of its messages. */
struct dmsg_memory_record *dmsg_memory_waiting_after(
    struct dmsg_memory_records *records, struct dmsg_memory_sender *only, int64_t after)
{
    struct dmsg_memory_record **cursor = only != NULL ? &only->cursor : &records->cursor;
    struct dmsg_memory_record *record = *cursor;
    if (record == NULL || record->row > after)
        record = only != NULL ? only->waiting.first : records->waiting.first;
    while (record != NULL && record->row <= after)
        record = only != NULL ? record->sender_next : record->next;
    if (record != NULL)
        *cursor = records->shown = record;
    return record;
}

struct dmsg_memory_record *dmsg_memory_waiting_find(
    const struct dmsg_memory_records *records, int64_t row)
{
    if (records->shown != NULL && records->shown->row == row)
        return records->shown;
    struct dmsg_memory_record *record = records->waiting.first;
    while (record != NULL && record->row < row)
        record = record->next;
    return record != NULL && record->row == row ? record : NULL;
}

void dmsg_memory_records_free(struct dmsg_memory_records *records)
{
    struct dmsg_memory_list *const lists[] = {&records->kept, &records->waiting};
    for (size_t i = 0; i < 2; i++) {
        while (lists[i]->first != NULL) {
            struct dmsg_memory_record *record = lists[i]->first;
            dmsg_memory_record_take(records, record);
            dmsg_memory_record_free(record);
        }
    }
}
