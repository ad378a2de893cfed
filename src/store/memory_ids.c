#include "base/fail.h"
#include "store/memory.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

/* ----------------------------------------------------------------------------------- zones */

static int compare_zones(const void *a, const void *b)
{
    const struct dmsg_memory_zone *left = a, *right = b;
    return strcmp(left->text, right->text);
}

struct dmsg_memory_zone *dmsg_memory_zone_find(
    const struct dmsg_memory_senders *senders, struct dmsg_span text)
{
    struct dmsg_memory_zone key = {0};
    memcpy(key.text, text.data, text.size);
    struct dmsg_memory_zone *const *found = tfind(&key, &senders->zone_tree, compare_zones);
    return found != NULL ? *found : NULL;
}

static struct dmsg_memory_zone *make_zone(
    struct dmsg_memory_senders *senders, struct dmsg_span text)
{
    struct dmsg_memory_zone *zone = dmsg_memory_zone_find(senders, text);
    if (zone != NULL)
        return zone;
    zone = calloc(1, sizeof *zone);
    if (zone == NULL)
        return NULL;
    memcpy(zone->text, text.data, text.size);
    if (tsearch(zone, &senders->zone_tree, compare_zones) == NULL) {
        free(zone);
        return NULL;
    }
    zone->next = senders->first_zone;
    if (zone->next != NULL)
        zone->next->previous = zone;
    senders->first_zone = zone;
    return zone;
}

static void drop_zone(struct dmsg_memory_senders *senders, struct dmsg_memory_zone *zone)
{
    tdelete(zone, &senders->zone_tree, compare_zones);
    *(zone->previous != NULL ? &zone->previous->next : &senders->first_zone) = zone->next;
    if (zone->next != NULL)
        zone->next->previous = zone->previous;
    free(zone);
}

/* Of nobody, and no id that was forgotten here could come again. */
static void settle_zone(struct dmsg_memory_senders *senders, struct dmsg_memory_zone *zone)
{
    if (zone->senders == 0 && zone->purged_until <= senders->purged_until)
        drop_zone(senders, zone);
}

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

static struct dmsg_memory_sender *add_sender(struct dmsg_memory_senders *senders,
    const struct dmsg_name *name, struct dmsg_memory_zone *zone)
{
    struct dmsg_memory_sender *sender = calloc(1, sizeof *sender);
    if (sender == NULL)
        return NULL;
    sender->name = *name;
    if (tsearch(sender, &senders->tree, compare_senders) == NULL) {
        free(sender);
        return NULL;
    }
    sender->zone = zone;
    zone->senders++;
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
    sender->zone->senders--;
    settle_zone(senders, sender->zone);
    free(sender);
}

static struct dmsg_memory_sender *make_sender(
    struct dmsg_memory_senders *senders, const struct dmsg_name *name, struct dmsg_span text)
{
    struct dmsg_memory_zone *zone = make_zone(senders, text);
    struct dmsg_memory_sender *sender = zone != NULL ? add_sender(senders, name, zone) : NULL;
    if (zone != NULL)
        settle_zone(senders, zone);
    return sender;
}

struct dmsg_memory_sender *dmsg_memory_sender_touch(
    struct dmsg_memory_senders *senders, const struct dmsg_name *name, struct dmsg_span zone)
{
    struct dmsg_memory_sender *sender = dmsg_memory_sender_find(senders, name);
    if (sender == NULL)
        sender = make_sender(senders, name, zone);
    if (sender == NULL || sender->touched)
        return sender;
    sender->touched = true;
    sender->next_touched = senders->touched;
    senders->touched = sender;
    return sender;
}

/* Nothing of the sender's is here. */
static bool is_idle(const struct dmsg_memory_sender *sender)
{
    return sender->id_count == 0 && sender->waiting.first == NULL;
}

void dmsg_memory_senders_settle(struct dmsg_memory_senders *senders)
{
    while (senders->touched != NULL) {
        struct dmsg_memory_sender *sender = senders->touched;
        senders->touched = sender->next_touched;
        sender->touched = false;
        if (!sender->verified && is_idle(sender))
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
    while (senders->first_zone != NULL)
        drop_zone(senders, senders->first_zone);
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
    sender->zone->id_count++;
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
    sender->zone->id_count--;
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
    for (struct dmsg_memory_zone *zone = senders->first_zone, *next; zone != NULL; zone = next) {
        next = zone->next;
        settle_zone(senders, zone);
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

/* An id as far as forgetting goes: whose, and until when. */
struct age {
    struct dmsg_memory_zone *zone;
    int64_t until;
};

static int compare_ages(const void *a, const void *b)
{
    const struct age *left = a, *right = b;
    if (left->zone != right->zone)
        return (left->zone > right->zone) - (left->zone < right->zone);
    return (left->until > right->until) - (left->until < right->until);
}

/* Of each zone with at least so many ids, the time up to which half of them are. */
static int find_medians(struct dmsg_memory_senders *senders, size_t least, struct dmsg_error *error)
{
    size_t count = 0;
    struct age *ages = calloc(senders->id_count, sizeof *ages);
    if (ages == NULL)
        return dmsg_fail_memory(error);
    for (const struct dmsg_memory_sender *sender = senders->first; sender != NULL;
         sender = sender->next) {
        sender->zone->median = INT64_MIN;
        if (sender->zone->id_count < least)
            continue;
        for (const struct dmsg_memory_id *id = sender->first_id; id != NULL; id = id->next)
            ages[count++] = (struct age){sender->zone, id->until};
    }
    qsort(ages, count, sizeof *ages, compare_ages);
    for (size_t first = 0; first < count; first += ages[first].zone->id_count)
        ages[first].zone->median = ages[first + (ages[first].zone->id_count - 1) / 2].until;
    free(ages);
    return 0;
}

/* The zones with most ids, and those with at least half as many, forget half of theirs. */
static int forget_older_half(struct dmsg_memory_senders *senders, struct dmsg_error *error)
{
    size_t most = 0;
    for (const struct dmsg_memory_zone *zone = senders->first_zone; zone != NULL; zone = zone->next)
        most = zone->id_count > most ? zone->id_count : most;
    if (find_medians(senders, (most + 1) / 2, error) < 0)
        return DMSG_E_INTERNAL;
    for (struct dmsg_memory_sender *sender = senders->first; sender != NULL;
         sender = sender->next) {
        if (sender->zone->median == INT64_MIN)
            continue;
        int64_t refused = forget(senders, sender, sender->zone->median);
        if (refused > sender->zone->purged_until)
            sender->zone->purged_until = refused;
    }
    return 0;
}

int dmsg_memory_ids_shrink(struct dmsg_memory_senders *senders, struct dmsg_error *error)
{
    while (senders->id_count > DMSG_MEMORY_IDS_MAX) {
        if (forget_older_half(senders, error) < 0)
            return DMSG_E_INTERNAL;
    }
    if (senders->count <= DMSG_MEMORY_SENDERS_MAX)
        return 0;
    for (struct dmsg_memory_sender *sender = senders->first, *next; sender != NULL; sender = next) {
        next = sender->next;
        if (is_idle(sender))
            drop_sender(senders, sender);
    }
    return 0;
}
