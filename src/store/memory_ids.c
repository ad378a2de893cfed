#include "base/fail.h"
#include "store/memory.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------------- senders */

static int compare_senders(const void *a, const void *b)
{
    const struct dmsg_memory_sender *left = a, *right = b;
    return strcmp(left->name.text, right->name.text);
}

struct dmsg_memory_sender *dmsg_memory_sender_find(
    const struct dmsg_memory_senders *senders, const struct dmsg_name *name)
{
    struct dmsg_memory_sender key = {.name = *name};
    struct dmsg_memory_sender *const *found = tfind(&key, &senders->tree, compare_senders);
    return found != NULL ? *found : NULL;
}

static struct dmsg_memory_sender *add_sender(
    struct dmsg_memory_senders *senders, const struct dmsg_name *name)
{
    struct dmsg_memory_sender *sender = calloc(1, sizeof *sender);
    if (sender == NULL)
        return NULL;
    sender->name = *name;
    if (tsearch(sender, &senders->tree, compare_senders) == NULL) {
        free(sender);
        return NULL;
    }
    sender->previous = senders->last;
    *(senders->last != NULL ? &senders->last->next : &senders->first) = sender;
    senders->last = sender;
    senders->count++;
    return sender;
}

static void drop_sender(struct dmsg_memory_senders *senders, struct dmsg_memory_sender *sender)
{
    tdelete(sender, &senders->tree, compare_senders);
    *(sender->previous != NULL ? &sender->previous->next : &senders->first) = sender->next;
    *(sender->next != NULL ? &sender->next->previous : &senders->last) = sender->previous;
    senders->count--;
    free(sender);
}

struct dmsg_memory_sender *dmsg_memory_sender_touch(
    struct dmsg_memory_senders *senders, const struct dmsg_name *name)
{
    struct dmsg_memory_sender *sender = dmsg_memory_sender_find(senders, name);
    if (sender == NULL)
        sender = add_sender(senders, name);
    if (sender == NULL || sender->touched)
        return sender;
    sender->touched = true;
    sender->next_touched = senders->touched;
    senders->touched = sender;
    return sender;
}

/* Nothing of the sender's is here, and no id of its that was forgotten could come again. */
static bool is_idle(
    const struct dmsg_memory_senders *senders, const struct dmsg_memory_sender *sender)
{
    return sender->id_count == 0 && sender->waiting.first == NULL &&
           sender->purged_until <= senders->purged_until;
}

void dmsg_memory_senders_settle(struct dmsg_memory_senders *senders)
{
    while (senders->touched != NULL) {
        struct dmsg_memory_sender *sender = senders->touched;
        senders->touched = sender->next_touched;
        sender->touched = false;
        if (!sender->verified && is_idle(senders, sender))
            drop_sender(senders, sender);
    }
}

void dmsg_memory_senders_free(struct dmsg_memory_senders *senders)
{
    while (senders->first != NULL) {
        struct dmsg_memory_sender *sender = senders->first;
        tdestroy(sender->id_tree, free);
        drop_sender(senders, sender);
    }
}

/* ------------------------------------------------------------------------------------- ids */

static int compare_ids(const void *a, const void *b)
{
    const struct dmsg_memory_id *left = a, *right = b;
    return strcmp(left->id, right->id);
}

static void set_id(struct dmsg_memory_id *out, const char *id)
{
    strncpy(out->id, id, sizeof out->id - 1);
}

bool dmsg_memory_id_known(const struct dmsg_memory_sender *sender, const char *id)
{
    struct dmsg_memory_id key = {0};
    set_id(&key, id);
    return tfind(&key, &sender->id_tree, compare_ids) != NULL;
}

struct dmsg_memory_id *dmsg_memory_id_add(struct dmsg_memory_senders *senders,
    struct dmsg_memory_sender *sender, const char *id, int64_t until, enum dmsg_format format)
{
    struct dmsg_memory_id *new = calloc(1, sizeof *new);
    if (new == NULL)
        return NULL;
    set_id(new, id);
    new->until = until;
    new->format = format;
    if (tsearch(new, &sender->id_tree, compare_ids) == NULL) {
        free(new);
        return NULL;
    }
    new->next = sender->first_id;
    if (new->next != NULL)
        new->next->previous = new;
    sender->first_id = new;
    sender->id_count++;
    senders->id_count++;
    return new;
}

void dmsg_memory_id_remove(struct dmsg_memory_senders *senders, struct dmsg_memory_sender *sender,
    struct dmsg_memory_id *id)
{
    tdelete(id, &sender->id_tree, compare_ids);
    *(id->previous != NULL ? &id->previous->next : &sender->first_id) = id->next;
    if (id->next != NULL)
        id->next->previous = id->previous;
    sender->id_count--;
    senders->id_count--;
    free(id);
}

/* ----------------------------------------------------------------------- forgetting of them */

void dmsg_memory_ids_purge(struct dmsg_memory_senders *senders, int64_t limit, int64_t now)
{
    senders->purged_until = limit;
    for (struct dmsg_memory_sender *sender = senders->first; sender != NULL;
         sender = sender->next) {
        for (struct dmsg_memory_id *id = sender->first_id, *next; id != NULL; id = next) {
            next = id->next;
            if (id->format == DMSG_FORMAT_V1 ? id->until < limit : id->until <= now)
                dmsg_memory_id_remove(senders, sender, id);
        }
    }
}

/* Forgets a sender's ids up to a time; the time before which it must be refused from now on. */
static int64_t forget(
    struct dmsg_memory_senders *senders, struct dmsg_memory_sender *sender, int64_t last)
{
    int64_t refused = 0;
    for (struct dmsg_memory_id *id = sender->first_id, *next; id != NULL; id = next) {
        next = id->next;
        if (id->until > last)
            continue;
        if (id->format == DMSG_FORMAT_V1 && id->until >= refused)
            refused = id->until + 1;
        dmsg_memory_id_remove(senders, sender, id);
    }
    return refused;
}

static int compare_times(const void *a, const void *b)
{
    const int64_t *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

/* The middle one of the times of a sender's ids, or of everybody's. */
static int find_median(int64_t *out, const struct dmsg_memory_senders *senders,
    const struct dmsg_memory_sender *only, struct dmsg_error *error)
{
    size_t count = 0;
    int64_t *times = calloc(senders->id_count, sizeof *times);
    if (times == NULL)
        return dmsg_fail_memory(error);
    const struct dmsg_memory_sender *sender = only != NULL ? only : senders->first;
    for (; sender != NULL; sender = only != NULL ? NULL : sender->next) {
        for (const struct dmsg_memory_id *id = sender->first_id; id != NULL; id = id->next)
            times[count++] = id->until;
    }
    qsort(times, count, sizeof *times, compare_times);
    *out = times[count / 2];
    free(times);
    return 0;
}

static int forget_older_half(
    struct dmsg_memory_senders *senders, struct dmsg_memory_sender *only, struct dmsg_error *error)
{
    int64_t median = 0;
    if (find_median(&median, senders, only, error) < 0)
        return DMSG_E_INTERNAL;
    struct dmsg_memory_sender *sender = only != NULL ? only : senders->first;
    int64_t *threshold = only != NULL ? &only->purged_until : &senders->purged_until;
    for (; sender != NULL; sender = only != NULL ? NULL : sender->next) {
        int64_t refused = forget(senders, sender, median);
        if (refused > *threshold)
            *threshold = refused;
    }
    return 0;
}

static struct dmsg_memory_sender *find_largest(const struct dmsg_memory_senders *senders)
{
    struct dmsg_memory_sender *largest = senders->first;
    for (struct dmsg_memory_sender *sender = senders->first; sender != NULL;
         sender = sender->next) {
        if (sender->id_count > largest->id_count)
            largest = sender;
    }
    return largest;
}

int dmsg_memory_ids_shrink(struct dmsg_memory_senders *senders, struct dmsg_error *error)
{
    while (senders->id_count > DMSG_MEMORY_IDS_MAX) {
        struct dmsg_memory_sender *largest = find_largest(senders);
        bool alone = largest->id_count > DMSG_MEMORY_IDS_MAX / DMSG_MEMORY_IDS_SHARE;
        if (forget_older_half(senders, alone ? largest : NULL, error) < 0)
            return DMSG_E_INTERNAL;
    }
    if (senders->count <= DMSG_MEMORY_SENDERS_MAX)
        return 0;
    for (struct dmsg_memory_sender *sender = senders->first, *next; sender != NULL; sender = next) {
        next = sender->next;
        if (is_idle(senders, sender))
            drop_sender(senders, sender);
    }
    return 0;
}
