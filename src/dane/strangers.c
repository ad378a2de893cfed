#include "dane/strangers.h"

#include "base/fail.h"
#include "base/hash.h"

#include <stdlib.h>

/* Of one zone: a family of devices that all write for the first time gets through in seconds, and
   ten thousand invented names of one zone are spread over an hour and a half. */
#define ZONE_BURST 10
#define ZONE_PER_SECOND 2
/* Of all: what a resolver answers from afar without falling behind, and a receiver's link bears. */
#define TOTAL_BURST 100
#define TOTAL_PER_SECOND 100

/* More zones at once than all of them together may ask about in ten seconds. */
#define PLACES 1024

/* Questions are counted in thousandths: a rate by the second is as many of them by the
   millisecond. */
#define QUESTION 1000

struct budget {
    int64_t left;    /* thousandths of questions */
    int64_t seen_at; /* dmsg_now_ms() when that was so */
};

struct dmsg_strangers {
    uint64_t hash_key;
    struct budget total;
    struct budget zones[PLACES];
};

int dmsg_strangers_new(
    struct dmsg_strangers **out, const struct dmsg_context *context, struct dmsg_error *error)
{
    struct dmsg_strangers *strangers = calloc(1, sizeof *strangers);
    if (strangers == NULL)
        return dmsg_fail_memory(error);
    if (dmsg_context_random(context, &strangers->hash_key, sizeof strangers->hash_key) < 0) {
        free(strangers);
        return dmsg_fail(error, DMSG_E_INTERNAL, "no randomness for the budget of strangers");
    }
    /* Nothing was taken yet; that is so from the first look on. */
    strangers->total.left = TOTAL_BURST * QUESTION;
    for (size_t i = 0; i < PLACES; i++)
        strangers->zones[i].left = ZONE_BURST * QUESTION;
    *out = strangers;
    return 0;
}

void dmsg_strangers_free(struct dmsg_strangers **strangers)
{
    free(*strangers);
    *strangers = NULL;
}

static void refill(struct budget *budget, int64_t rate, int64_t burst, int64_t now_ms)
{
    int64_t most = burst * QUESTION;
    int64_t passed = now_ms - budget->seen_at;
    budget->seen_at = now_ms;
    if (passed < 0)
        passed = 0;
    budget->left = passed >= (most - budget->left) / rate + 1 ? most : budget->left + passed * rate;
    if (budget->left > most)
        budget->left = most;
}

int dmsg_strangers_take(struct dmsg_strangers *strangers, const struct dmsg_name *name,
    int64_t now_ms, struct dmsg_error *error)
{
    uint64_t hash = dmsg_hash(strangers->hash_key, dmsg_name_zone(name));
    struct budget *zone = &strangers->zones[hash % PLACES];
    refill(zone, ZONE_PER_SECOND, ZONE_BURST, now_ms);
    refill(&strangers->total, TOTAL_PER_SECOND, TOTAL_BURST, now_ms);
    if (zone->left < QUESTION)
        return dmsg_fail(error, DMSG_E_QUOTA,
            "more than %d DNS questions a second about names in the zone of %s, which is not "
            "listed; ask again later",
            ZONE_PER_SECOND, name->text);
    if (strangers->total.left < QUESTION)
        return dmsg_fail(error, DMSG_E_QUOTA,
            "more than %d DNS questions a second about names that are not listed; ask again later",
            TOTAL_PER_SECOND);
    zone->left -= QUESTION;
    strangers->total.left -= QUESTION;
    return 0;
}
