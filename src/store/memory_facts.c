/* The memory store: what is counted, and what is noted of keys. */
#include "base/fail.h"
#include "store/memory.h"

#include <stdlib.h>
#include <string.h>

/* Not undone by a rollback: a key is then believed to be in use for longer than it is. */
int dmsg_memory_note_issued(
    struct dmsg_store *store, const char *kid, int64_t expires_at, struct dmsg_error *error)
{
    struct dmsg_memory *memory = dmsg_memory_of(store);
    struct dmsg_memory_issued *issued = memory->issued;
    while (issued != NULL && strcmp(issued->kid, kid) != 0)
        issued = issued->next;
    if (issued == NULL) {
        issued = calloc(1, sizeof *issued);
        if (issued == NULL)
            return dmsg_fail_memory(error);
        strncpy(issued->kid, kid, sizeof issued->kid - 1);
        issued->next = memory->issued;
        memory->issued = issued;
    }
    if (expires_at > issued->until)
        issued->until = expires_at;
    return 0;
}

/* What is delivered is forgotten. */
int dmsg_memory_depths(
    struct dmsg_store *store, struct dmsg_store_depths *out, struct dmsg_error *error)
{
    const struct dmsg_memory_records *records = &dmsg_memory_of(store)->records;
    struct dmsg_store_depths depths = {0};
    (void)error;
    for (const struct dmsg_memory_record *record = records->kept.first; record != NULL;
         record = record->next)
        *(record->aside ? &depths.failed : &depths.undelivered) += 1;
    for (const struct dmsg_memory_record *record = records->waiting.first; record != NULL;
         record = record->next)
        depths.waiting++;
    *out = depths;
    return 0;
}

int dmsg_memory_pending(struct dmsg_store *store, int64_t *octets, struct dmsg_error *error)
{
    int64_t sum = 0;
    (void)error;
    for (const struct dmsg_memory_record *record = dmsg_memory_of(store)->records.kept.first;
         record != NULL; record = record->next)
        sum += (int64_t)(record->topic_size + record->content_size) + DMSG_RETAIN_OVERHEAD;
    *octets = sum;
    return 0;
}

/* Of a transaction that nothing can fail any more. */
int dmsg_memory_tally(
    struct dmsg_store *store, const char *word, int64_t more, struct dmsg_error *error)
{
    (void)error;
    dmsg_store_take_count(&dmsg_memory_of(store)->counts, word, more);
    return 0;
}

int dmsg_memory_counts(
    struct dmsg_store *store, struct dmsg_store_counts *out, struct dmsg_error *error)
{
    struct dmsg_store_depths depths;
    int code = dmsg_memory_depths(store, &depths, error);
    *out = dmsg_memory_of(store)->counts;
    out->delivered -= depths.undelivered;
    return code;
}

int dmsg_memory_issued_until(
    struct dmsg_store *store, const char *kid, int64_t *until, struct dmsg_error *error)
{
    (void)error;
    for (const struct dmsg_memory_issued *issued = dmsg_memory_of(store)->issued; issued != NULL;
         issued = issued->next) {
        if (strcmp(issued->kid, kid) != 0)
            continue;
        *until = issued->until;
        return 1;
    }
    return 0;
}
