/* Resolver, judgement and a bounded cache of judged keys. Belongs to one thread at a time. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/monotonic.h"
#include "dane/peer_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* Names remembered, and octets that they may take: a name can carry 64 KiB of records. */
#define ENTRIES_MAX 4096
#define WEIGHT_MAX (32u * 1024 * 1024)
#define BUCKETS 1024

/* Callers that may wait for answers: several batches of messages from new senders. */
#define WAITERS_MAX 16384

/* 2^61 - 1, a prime: see hash_of. */
#define HASH_MODULUS ((UINT64_C(1) << 61) - 1)

__extension__ typedef unsigned __int128 wide;

struct entry {
    const struct dmsg_peer *peer; /* holds a reference; from_cache is set */
    size_t weight;
    struct entry *next; /* in its bucket */
    struct entry *newer, *older;
};

struct waiter {
    dmsg_discovery_done *done;
    void *user;
    struct waiter *next;
};

/* One name that is being asked for. */
struct pending {
    struct dmsg_discovery *discovery;
    struct dmsg_name name;
    const struct dmsg_peer
        *fallback; /* made before, so that want of memory cannot lose an answer */
    struct waiter *waiters, **last;
    struct pending *next;
};

struct dmsg_discovery {
    const struct dmsg_context *context;
    struct dmsg_resolver *resolver;
    struct pending *pending;
    struct pending *telling; /* whose waiters are being called */
    size_t waiter_count;

    uint64_t hash_key;
    struct entry *buckets[BUCKETS];
    struct entry *newest, *oldest; /* by last use */
    size_t count, weight;
};

/* ------------------------------------------------------------------------------------ the cache */

/* A polynomial in a secret point over a prime field: strangers choose the names, and cannot choose
   ones that collide. */
static struct entry **bucket_of(struct dmsg_discovery *discovery, const struct dmsg_name *name)
{
    uint64_t hash = name->size;
    for (size_t i = 0; i < name->size; i++)
        hash =
            (uint64_t)(((wide)hash * discovery->hash_key + (uint8_t)name->text[i]) % HASH_MODULUS);
    return &discovery->buckets[hash % BUCKETS];
}

static void unlink_use(struct dmsg_discovery *discovery, struct entry *entry)
{
    *(entry->newer != NULL ? &entry->newer->older : &discovery->newest) = entry->older;
    *(entry->older != NULL ? &entry->older->newer : &discovery->oldest) = entry->newer;
}

static void link_newest(struct dmsg_discovery *discovery, struct entry *entry)
{
    entry->newer = NULL;
    entry->older = discovery->newest;
    *(entry->older != NULL ? &entry->older->newer : &discovery->oldest) = entry;
    discovery->newest = entry;
}

static void drop(struct dmsg_discovery *discovery, struct entry *entry)
{
    struct entry **at = bucket_of(discovery, &entry->peer->name);
    while (*at != entry)
        at = &(*at)->next;
    *at = entry->next;
    unlink_use(discovery, entry);
    discovery->count--;
    discovery->weight -= entry->weight;
    dmsg_peer_release(entry->peer);
    free(entry);
}

static struct entry *find_entry(struct dmsg_discovery *discovery, const struct dmsg_name *name)
{
    struct entry *entry = *bucket_of(discovery, name);
    while (entry != NULL && !dmsg_name_equal(&entry->peer->name, name))
        entry = entry->next;
    return entry;
}

/* A cache that cannot keep an answer is still right, only slower: want of memory is no error. */
static void insert(struct dmsg_discovery *discovery, const struct dmsg_peer *peer)
{
    struct entry *old = find_entry(discovery, &peer->name);
    if (old != NULL && peer->expires_at > peer->fetched_at)
        drop(discovery, old);
    struct entry *entry = peer->expires_at > peer->fetched_at ? calloc(1, sizeof *entry) : NULL;
    if (entry == NULL)
        return;
    entry->peer = dmsg_judged_cached(peer);
    if (entry->peer == NULL) {
        free(entry);
        return;
    }
    entry->weight = dmsg_judged_weight(peer);
    struct entry **bucket = bucket_of(discovery, &peer->name);
    entry->next = *bucket;
    *bucket = entry;
    link_newest(discovery, entry);
    discovery->count++;
    discovery->weight += entry->weight;
    while (discovery->count > ENTRIES_MAX || discovery->weight > WEIGHT_MAX)
        drop(discovery, discovery->oldest);
}

const struct dmsg_peer *dmsg_discovery_get(
    struct dmsg_discovery *discovery, const struct dmsg_name *name)
{
    struct entry *entry = find_entry(discovery, name);
    if (entry == NULL)
        return NULL;
    int64_t now = dmsg_context_now(discovery->context);
    /* Fetched in the future: the clock was set back, and the rest of the life is unknown. */
    if (now >= entry->peer->expires_at || now < entry->peer->fetched_at) {
        drop(discovery, entry);
        return NULL;
    }
    unlink_use(discovery, entry);
    link_newest(discovery, entry);
    return dmsg_peer_retain(entry->peer);
}

/* --------------------------------------------------------------------------------------- asking */

static void free_pending(struct pending *pending)
{
    struct waiter *next;
    for (struct waiter *waiter = pending->waiters; waiter != NULL; waiter = next) {
        next = waiter->next;
        free(waiter);
    }
    dmsg_peer_release(pending->fallback);
    free(pending);
}

static void unlink_pending(struct dmsg_discovery *discovery, struct pending *pending)
{
    struct pending **at = &discovery->pending;
    while (*at != pending)
        at = &(*at)->next;
    *at = pending->next;
}

static void on_answer(void *user, const struct dmsg_answer *answer)
{
    struct pending *pending = user;
    struct dmsg_discovery *discovery = pending->discovery;
    const struct dmsg_peer *peer = NULL;
    if (dmsg_peer_judge(&peer, discovery->context, answer, NULL) < 0)
        peer = dmsg_peer_retain(pending->fallback);
    insert(discovery, peer);
    /* Out of the list first: a callback may ask for the same name again. */
    unlink_pending(discovery, pending);
    discovery->telling = pending;
    while (pending->waiters != NULL) {
        struct waiter *waiter = pending->waiters;
        pending->waiters = waiter->next;
        discovery->waiter_count--;
        if (waiter->done != NULL)
            waiter->done(waiter->user, peer);
        free(waiter);
    }
    discovery->telling = NULL;
    free_pending(pending);
    dmsg_peer_release(peer);
}

static struct pending *find_pending(
    const struct dmsg_discovery *discovery, const struct dmsg_name *name)
{
    struct pending *pending = discovery->pending;
    while (pending != NULL && !dmsg_name_equal(&pending->name, name))
        pending = pending->next;
    return pending;
}

static int new_pending(struct pending **out, struct dmsg_discovery *discovery,
    const struct dmsg_name *name, struct dmsg_error *error)
{
    struct dmsg_answer none = {.name = *name,
        .canonical = *name,
        .status = DMSG_DNS_NOT_NOW,
        .why = "there was no memory for the answer"};
    struct pending *pending = calloc(1, sizeof *pending);
    if (pending == NULL)
        return dmsg_fail_memory(error);
    *pending = (struct pending){.discovery = discovery, .name = *name, .last = &pending->waiters};
    int result = dmsg_peer_judge(&pending->fallback, discovery->context, &none, error);
    if (result == 0)
        result = dmsg_resolver_ask(discovery->resolver, name, on_answer, pending, error);
    if (result < 0) {
        free_pending(pending);
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
    struct pending *pending = find_pending(discovery, name);
    if (discovery->waiter_count >= WAITERS_MAX)
        return dmsg_fail(error, DMSG_E_QUOTA, "%d callers wait for DNS already", WAITERS_MAX);
    struct waiter *waiter = calloc(1, sizeof *waiter);
    if (waiter == NULL)
        return dmsg_fail_memory(error);
    if (pending == NULL) {
        int result = new_pending(&pending, discovery, name, error);
        if (result < 0) {
            free(waiter);
            return result;
        }
    }
    *waiter = (struct waiter){.done = done, .user = user};
    *pending->last = waiter;
    pending->last = &waiter->next;
    discovery->waiter_count++;
    return 0;
}

static void forget(struct pending *pending, const struct dmsg_name *name, const void *user)
{
    if (pending == NULL || !dmsg_name_equal(&pending->name, name))
        return;
    for (struct waiter *waiter = pending->waiters; waiter != NULL; waiter = waiter->next) {
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
    return dmsg_resolver_fd(discovery->resolver);
}

int dmsg_discovery_step(struct dmsg_discovery *discovery, struct dmsg_error *error)
{
    return dmsg_resolver_step(discovery->resolver, error);
}

/* ------------------------------------------------------------------------------------- blocking */

struct found {
    const struct dmsg_peer *peer;
};

static void on_found(void *user, const struct dmsg_peer *peer)
{
    struct found *found = user;
    found->peer = dmsg_peer_retain(peer);
}

static int wait_for(struct dmsg_discovery *discovery, const struct dmsg_name *name,
    const struct found *found, int timeout, struct dmsg_error *error)
{
    int64_t deadline = dmsg_now_ms() + (timeout > 0 ? timeout : 0);
    for (;;) {
        int wait = dmsg_discovery_step(discovery, error);
        if (wait < 0 || found->peer != NULL)
            return wait < 0 ? wait : 0;
        int64_t left = deadline - dmsg_now_ms();
        if (left <= 0)
            return dmsg_fail(error, DMSG_E_DNS_TEMPORARY,
                "looking up the keys of %s: no answer within %d ms; try again later", name->text,
                timeout);
        struct pollfd fd = {.fd = dmsg_discovery_fd(discovery), .events = POLLIN};
        if (poll(&fd, 1, left < wait ? (int)left : wait) < 0 && errno != EINTR)
            return dmsg_fail_errno(error, DMSG_E_INTERNAL, "waiting for the resolver");
    }
}

int dmsg_discovery_find_fresh(struct dmsg_discovery *discovery, const struct dmsg_name *name,
    int timeout, const struct dmsg_peer **out, struct dmsg_error *error)
{
    struct found found = {0};
    int result = dmsg_discovery_ask(discovery, name, on_found, &found, error);
    if (result < 0)
        return result;
    result = wait_for(discovery, name, &found, timeout, error);
    if (result < 0) {
        dmsg_discovery_forget(discovery, name, &found);
        return result;
    }
    *out = found.peer;
    return 0;
}

int dmsg_discovery_find(struct dmsg_discovery *discovery, const struct dmsg_name *name, int timeout,
    const struct dmsg_peer **out, struct dmsg_error *error)
{
    const struct dmsg_peer *cached = dmsg_discovery_get(discovery, name);
    if (cached == NULL)
        return dmsg_discovery_find_fresh(discovery, name, timeout, out, error);
    *out = cached;
    return 0;
}

/* --------------------------------------------------------------------------------- new and free */

int dmsg_discovery_new(struct dmsg_discovery **out, const struct dmsg_context *context,
    const struct dmsg_resolver_config *config, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_discovery_free)
    struct dmsg_discovery *discovery = calloc(1, sizeof *discovery);
    if (discovery == NULL)
        return dmsg_fail_memory(error);
    discovery->context = context;
    if (dmsg_context_random(context, &discovery->hash_key, sizeof discovery->hash_key) < 0)
        return dmsg_fail(error, DMSG_E_INTERNAL, "no randomness for the cache of keys");
    discovery->hash_key %= HASH_MODULUS;
    int result = dmsg_resolver_new(&discovery->resolver, config, error);
    if (result < 0)
        return result;
    *out = discovery;
    discovery = NULL;
    return 0;
}

void dmsg_discovery_free(struct dmsg_discovery **discovery)
{
    struct dmsg_discovery *self = *discovery;
    if (self == NULL)
        return;
    dmsg_resolver_free(&self->resolver); /* from here on nobody is called back */
    while (self->pending != NULL) {
        struct pending *pending = self->pending;
        self->pending = pending->next;
        free_pending(pending);
    }
    while (self->newest != NULL)
        drop(self, self->newest);
    free(self);
    *discovery = NULL;
}
