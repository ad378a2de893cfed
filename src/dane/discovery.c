/*
 * Resolvers, judgement and the cache of judged keys. Belongs to one thread at a time. What it asks
 * (its children: a resolver for listed names, one for strangers', and who fetches CA certificates)
 * each has a descriptor; they are in one epoll, which is the descriptor of the whole.
 */
#include "base/fail.h"
#include "base/monotonic.h"
#include "dane/discovery_internal.h"
#include "dane/peer_internal.h"

#include <limits.h>
#include <stdlib.h>

/* Callers that may wait for answers: several batches of messages from new senders. */
#define WAITERS_MAX 16384

/* Questions under way for the names of one zone: one that is slow shall not take the places of all
   others. A listed zone has an eighth of a resolver's places, a stranger's a thirty-second. */
#define LISTED_ZONE_MAX 32
#define STRANGERS_ZONE_MAX 8

/* Milliseconds after the question by which an answer of DNS has the CA certificates that it needs:
   less than callers wait, and at least a second for an answer that came late. */
#define SETTLED_MS 11000
#define SETTLED_LEAST_MS 1000

/* --------------------------------------------------------------------------------------- asking */

void dmsg_pending_free(struct dmsg_pending *pending)
{
    struct dmsg_asker *next;
    for (struct dmsg_asker *waiter = pending->waiters; waiter != NULL; waiter = next) {
        next = waiter->next;
        free(waiter);
    }
    dmsg_settling_free(&pending->settling);
    dmsg_peer_release(pending->fallback);
    free(pending);
}

static void unlink_pending(struct dmsg_discovery *discovery, struct dmsg_pending *pending)
{
    struct dmsg_pending **at = &discovery->pending;
    while (*at != pending)
        at = &(*at)->next;
    *at = pending->next;
}

/* Out of the list first: a callback may ask for the same name again. */
static void tell(struct dmsg_pending *pending, const struct dmsg_peer *peer)
{
    struct dmsg_discovery *discovery = pending->discovery;
    unlink_pending(discovery, pending);
    discovery->telling = pending;
    while (pending->waiters != NULL) {
        struct dmsg_asker *waiter = pending->waiters;
        pending->waiters = waiter->next;
        discovery->waiter_count--;
        if (waiter->done != NULL)
            waiter->done(waiter->user, peer);
        free(waiter);
    }
    discovery->telling = NULL;
    dmsg_pending_free(pending);
}

/* What those who asked get in place of a judged answer, NULL: the answer itself. */
static const struct dmsg_peer *replacement_of(
    const struct dmsg_pending *pending, const struct dmsg_peer *peer)
{
    if (peer->status == DMSG_DNS_NOT_NOW)
        return dmsg_cache_get_stale(pending->discovery->cache, &pending->name);
    if (!pending->lingers)
        return NULL;
    return dmsg_judged_copy(peer, peer->fetched_at, peer->expires_at, false);
}

static void finish(
    struct dmsg_pending *pending, const struct dmsg_peer *peer, const struct dmsg_answer *answer)
{
    dmsg_cache_put(pending->discovery->cache, peer, answer);
    const struct dmsg_peer *replacement = replacement_of(pending, peer);
    tell(pending, replacement != NULL ? replacement : peer);
    dmsg_peer_release(replacement);
    dmsg_peer_release(peer);
}

int dmsg_discovery_judge(void *user, const struct dmsg_peer **out, const struct dmsg_answer *answer)
{
    const struct dmsg_discovery *discovery = user;
    return dmsg_peer_judge(out, discovery->context, discovery->judge, answer, NULL);
}

/* The CA certificates are there, or will not come. */
static void on_settled(void *user, const struct dmsg_peer *settled, const char *later)
{
    struct dmsg_pending *pending = user;
    const struct dmsg_peer *peer = NULL;
    struct dmsg_answer none = {
        .name = settled->name, .canonical = settled->canonical, .status = DMSG_DNS_NOT_NOW};
    if (later == NULL) {
        finish(pending, dmsg_peer_retain(settled), NULL);
        return;
    }
    dmsg_printable(none.why, sizeof none.why, dmsg_span_text(later));
    if (dmsg_discovery_judge(pending->discovery, &peer, &none) < 0)
        peer = dmsg_peer_retain(pending->fallback);
    finish(pending, peer, NULL);
}

/* The answer is not complete without CA certificates. */
static void settle(struct dmsg_pending *pending, const struct dmsg_peer *peer)
{
    int64_t deadline = pending->asked_at + SETTLED_MS;
    int64_t soonest = dmsg_now_ms() + SETTLED_LEAST_MS;
    dmsg_settling_start(&pending->settling, pending->discovery->authority, peer,
        deadline > soonest ? deadline : soonest, on_settled, pending);
}

static void on_answer(void *user, const struct dmsg_answer *answer)
{
    struct dmsg_pending *pending = user;
    const struct dmsg_peer *peer = NULL;
    if (dmsg_discovery_judge(pending->discovery, &peer, answer) < 0)
        peer = dmsg_peer_retain(pending->fallback);
    if (dmsg_peer_open_key(peer, 0) == peer->count) {
        finish(pending, peer, answer);
    } else { /* only pkix_cd makes such, and then there is an authority */
        settle(pending, peer);
        dmsg_peer_release(peer);
    }
}

const struct dmsg_peer *dmsg_discovery_get(
    struct dmsg_discovery *discovery, const struct dmsg_name *name)
{
    return dmsg_cache_get(discovery->cache, name);
}

static struct dmsg_pending *find_pending(
    const struct dmsg_discovery *discovery, const struct dmsg_name *name)
{
    struct dmsg_pending *pending = discovery->pending;
    while (pending != NULL && !dmsg_name_equal(&pending->name, name))
        pending = pending->next;
    return pending;
}

static size_t count_of_zone(const struct dmsg_discovery *discovery, const struct dmsg_name *name)
{
    struct dmsg_span zone = dmsg_name_zone(name);
    size_t count = 0;
    for (const struct dmsg_pending *at = discovery->pending; at != NULL; at = at->next)
        count += dmsg_span_equal(dmsg_name_zone(&at->name), zone);
    return count;
}

/* May this name be asked for now, and of which resolver? */
static int choose_resolver(struct dmsg_resolver **out, struct dmsg_discovery *discovery,
    const struct dmsg_name *name, struct dmsg_error *error)
{
    bool listed = discovery->strangers == NULL || discovery->is_listed(discovery->user, name);
    size_t most = listed ? LISTED_ZONE_MAX : STRANGERS_ZONE_MAX;
    if (count_of_zone(discovery, name) >= most)
        return dmsg_fail(error, DMSG_E_QUOTA,
            "%zu DNS questions about the zone of %s are under way already", most, name->text);
    *out = listed ? discovery->resolver : discovery->strangers;
    return listed ? 0 : dmsg_strangers_take(discovery->budget, name, dmsg_now_ms(), error);
}

static int new_pending(struct dmsg_pending **out, struct dmsg_discovery *discovery,
    const struct dmsg_name *name, struct dmsg_error *error)
{
    struct dmsg_answer none = {.name = *name,
        .canonical = *name,
        .status = DMSG_DNS_NOT_NOW,
        .why = "there was no memory for the answer"};
    struct dmsg_resolver *resolver = NULL;
    int result = choose_resolver(&resolver, discovery, name, error);
    if (result < 0)
        return result;
    struct dmsg_pending *pending = calloc(1, sizeof *pending);
    if (pending == NULL)
        return dmsg_fail_memory(error);
    *pending = (struct dmsg_pending){.discovery = discovery,
        .name = *name,
        .lingers = dmsg_cache_lingers(discovery->cache, name),
        .asked_at = dmsg_now_ms(),
        .last = &pending->waiters};
    result =
        dmsg_peer_judge(&pending->fallback, discovery->context, discovery->judge, &none, error);
    if (result == 0)
        result = dmsg_resolver_ask(resolver, name, on_answer, pending, error);
    if (result < 0) {
        dmsg_pending_free(pending);
        return result;
    }
    pending->next = discovery->pending;
    discovery->pending = pending;
    *out = pending;
    return 0;
}

int dmsg_discovery_ask(struct dmsg_discovery *discovery, const struct dmsg_name *name,
    dmsg_discovery_done *done, void *user, struct dmsg_error *error)
{
    struct dmsg_pending *pending = find_pending(discovery, name);
    if (discovery->waiter_count >= WAITERS_MAX)
        return dmsg_fail(error, DMSG_E_QUOTA, "%d callers wait for DNS already", WAITERS_MAX);
    struct dmsg_asker *waiter = calloc(1, sizeof *waiter);
    if (waiter == NULL)
        return dmsg_fail_memory(error);
    if (pending == NULL) {
        int result = new_pending(&pending, discovery, name, error);
        if (result < 0) {
            free(waiter);
            return result;
        }
    }
    *waiter = (struct dmsg_asker){.done = done, .user = user};
    *pending->last = waiter;
    pending->last = &waiter->next;
    discovery->waiter_count++;
    return 0;
}

static void forget(struct dmsg_pending *pending, const struct dmsg_name *name, const void *user)
{
    if (pending == NULL || !dmsg_name_equal(&pending->name, name))
        return;
    for (struct dmsg_asker *waiter = pending->waiters; waiter != NULL; waiter = waiter->next) {
        if (waiter->user == user)
            waiter->done = NULL;
    }
}

void dmsg_discovery_forget(
    struct dmsg_discovery *discovery, const struct dmsg_name *name, void *user)
{
    forget(find_pending(discovery, name), name, user);
    forget(discovery->telling, name, user); /* when called from within a callback */
}

int dmsg_discovery_fd(const struct dmsg_discovery *discovery)
{
    return discovery->epoll;
}

/* Brings *wait down to when a child wants the next step; 0, or its error. */
static int note_next(int next, int *wait)
{
    if (next >= 0 && next < *wait)
        *wait = next;
    return next < 0 ? next : 0;
}

static int step_resolver(struct dmsg_resolver *resolver, int *wait, struct dmsg_error *error)
{
    return resolver != NULL ? note_next(dmsg_resolver_step(resolver, error), wait) : 0;
}

int dmsg_discovery_step(struct dmsg_discovery *discovery, struct dmsg_error *error)
{
    int wait = INT_MAX;
    if (discovery->stepping)
        return dmsg_fail(error, DMSG_E_USAGE, "discovery was stepped from within a callback");
    discovery->stepping = true;
    int result = step_resolver(discovery->resolver, &wait, error);
    if (result == 0)
        result = step_resolver(discovery->strangers, &wait, error);
    if (result == 0 && discovery->authority != NULL) /* last: an answer may need it at once */
        result = note_next(dmsg_authority_step(discovery->authority, error), &wait);
    discovery->stepping = false;
    return result < 0 ? result : wait;
}
