/*
 * Resolvers, judgement and the cache of judged keys. Belongs to one thread at a time. What it asks
 * (its children: a resolver for listed names, one for strangers', and who fetches CA certificates)
 * each has a descriptor; they are in one epoll, which is the descriptor of the whole.
 */
#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"
#include "dane/cache.h"
#include "dane/peer_internal.h"
#include "dane/resolver_internal.h"
#include "dane/settling.h"
#include "dane/strangers.h"
#include "danemsg/resolver.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

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

struct waiter {
    dmsg_discovery_done *done;
    void *user;
    struct waiter *next;
};

/* One name that is being asked for. */
struct pending {
    struct dmsg_discovery *discovery;
    struct dmsg_name name;
    bool lingers; /* the answer may come out of the resolver process's own cache */
    const struct dmsg_peer
        *fallback;                  /* made before, so that want of memory cannot lose an answer */
    int64_t asked_at;               /* dmsg_now_ms */
    struct dmsg_settling *settling; /* the answer waits for CA certificates; else NULL */
    struct waiter *waiters, **last;
    struct pending *next;
};

struct dmsg_discovery {
    const struct dmsg_context *context;
    struct dmsg_judge *judge;
    int epoll;
    struct dmsg_resolver *resolver;  /* of every name, or of those that are listed */
    struct dmsg_resolver *strangers; /* of the others; NULL without is_listed */
    struct dmsg_strangers *budget;
    struct dmsg_authority *authority; /* NULL without pkix_cd */
    bool (*is_listed)(void *user, const struct dmsg_name *name);
    void *user;
    bool stepping;
    struct pending *pending;
    struct pending *telling; /* whose waiters are being called */
    size_t waiter_count;
    struct dmsg_cache *cache;
};

/* --------------------------------------------------------------------------------------- asking */

static void free_pending(struct pending *pending)
{
    struct waiter *next;
    for (struct waiter *waiter = pending->waiters; waiter != NULL; waiter = next) {
        next = waiter->next;
        free(waiter);
    }
    dmsg_settling_free(&pending->settling);
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

/* Out of the list first: a callback may ask for the same name again. */
static void tell(struct pending *pending, const struct dmsg_peer *peer)
{
    struct dmsg_discovery *discovery = pending->discovery;
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
}

/* What those who asked get in place of a judged answer, NULL: the answer itself. */
static const struct dmsg_peer *replacement_of(
    const struct pending *pending, const struct dmsg_peer *peer)
{
    if (peer->status == DMSG_DNS_NOT_NOW)
        return dmsg_cache_get_stale(pending->discovery->cache, &pending->name);
    if (!pending->lingers)
        return NULL;
    return dmsg_judged_copy(peer, peer->fetched_at, peer->expires_at, false);
}

static void finish(
    struct pending *pending, const struct dmsg_peer *peer, const struct dmsg_answer *answer)
{
    dmsg_cache_put(pending->discovery->cache, peer, answer);
    const struct dmsg_peer *replacement = replacement_of(pending, peer);
    tell(pending, replacement != NULL ? replacement : peer);
    dmsg_peer_release(replacement);
    dmsg_peer_release(peer);
}

static int judge(void *user, const struct dmsg_peer **out, const struct dmsg_answer *answer)
{
    const struct dmsg_discovery *discovery = user;
    return dmsg_peer_judge(out, discovery->context, discovery->judge, answer, NULL);
}

/* The CA certificates are there, or will not come. */
static void on_settled(void *user, const struct dmsg_peer *settled, const char *later)
{
    struct pending *pending = user;
    const struct dmsg_peer *peer = NULL;
    struct dmsg_answer none = {
        .name = settled->name, .canonical = settled->canonical, .status = DMSG_DNS_NOT_NOW};
    if (later == NULL) {
        finish(pending, dmsg_peer_retain(settled), NULL);
        return;
    }
    dmsg_printable(none.why, sizeof none.why, dmsg_span_text(later));
    if (judge(pending->discovery, &peer, &none) < 0)
        peer = dmsg_peer_retain(pending->fallback);
    finish(pending, peer, NULL);
}

/* The answer is not complete without CA certificates. */
static void settle(struct pending *pending, const struct dmsg_peer *peer)
{
    int64_t deadline = pending->asked_at + SETTLED_MS;
    int64_t soonest = dmsg_now_ms() + SETTLED_LEAST_MS;
    dmsg_settling_start(&pending->settling, pending->discovery->authority, peer,
        deadline > soonest ? deadline : soonest, on_settled, pending);
}

static void on_answer(void *user, const struct dmsg_answer *answer)
{
    struct pending *pending = user;
    const struct dmsg_peer *peer = NULL;
    if (judge(pending->discovery, &peer, answer) < 0)
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

static struct pending *find_pending(
    const struct dmsg_discovery *discovery, const struct dmsg_name *name)
{
    struct pending *pending = discovery->pending;
    while (pending != NULL && !dmsg_name_equal(&pending->name, name))
        pending = pending->next;
    return pending;
}

static size_t count_of_zone(const struct dmsg_discovery *discovery, const struct dmsg_name *name)
{
    struct dmsg_span zone = dmsg_name_zone(name);
    size_t count = 0;
    for (const struct pending *at = discovery->pending; at != NULL; at = at->next)
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

static int new_pending(struct pending **out, struct dmsg_discovery *discovery,
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
    struct pending *pending = calloc(1, sizeof *pending);
    if (pending == NULL)
        return dmsg_fail_memory(error);
    *pending = (struct pending){.discovery = discovery,
        .name = *name,
        .lingers = dmsg_cache_lingers(discovery->cache, name),
        .asked_at = dmsg_now_ms(),
        .last = &pending->waiters};
    result =
        dmsg_peer_judge(&pending->fallback, discovery->context, discovery->judge, &none, error);
    if (result == 0)
        result = dmsg_resolver_ask(resolver, name, on_answer, pending, error);
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

/* Lets the whole's descriptor become readable with this one. */
static int watch(struct dmsg_discovery *discovery, int fd, struct dmsg_error *error)
{
    struct epoll_event event = {.events = EPOLLIN};
    if (epoll_ctl(discovery->epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "a descriptor for discovery");
    return 0;
}

static int start_resolver(struct dmsg_resolver **out, struct dmsg_discovery *discovery,
    const struct dmsg_resolver_config *config, struct dmsg_error *error)
{
    int result = dmsg_resolver_new(out, config, error);
    return result < 0 ? result : watch(discovery, dmsg_resolver_fd(*out), error);
}

/* A process of its own, which only reads what the other one keeps up to date. */
static int start_strangers(struct dmsg_discovery *discovery,
    const struct dmsg_discovery_config *config, struct dmsg_error *error)
{
    struct dmsg_resolver_config resolver = config->resolver;
    resolver.trust_read_only = true;
    resolver.for_strangers = true;
    discovery->is_listed = config->is_listed;
    discovery->user = config->user;
    int result = dmsg_strangers_new(&discovery->budget, discovery->context, error);
    return result < 0 ? result : start_resolver(&discovery->strangers, discovery, &resolver, error);
}

static int start_authority(struct dmsg_discovery *discovery,
    const struct dmsg_discovery_config *config, struct dmsg_error *error)
{
    struct dmsg_authority_config authority = {.servers = config->authorities,
        .server_count = config->authority_count,
        .program = config->resolver.program,
        .program_arguments = config->resolver.program_arguments};
    int result = dmsg_authority_new(&discovery->authority, discovery->context, &authority, error);
    return result < 0 ? result : watch(discovery, dmsg_authority_fd(discovery->authority), error);
}

int dmsg_discovery_new(struct dmsg_discovery **out, const struct dmsg_context *context,
    const struct dmsg_discovery_config *config, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_discovery_free)
    struct dmsg_discovery *discovery = calloc(1, sizeof *discovery);
    if (discovery == NULL)
        return dmsg_fail_memory(error);
    discovery->context = context;
    discovery->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (discovery->epoll < 0)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "a descriptor for discovery");
    const struct dmsg_cache_config cache = {
        .context = context, .serve_stale = config->serve_stale, .judge = judge, .user = discovery};
    int result = dmsg_judge_new(&discovery->judge, config->ca_file, config->pkix_cd, error);
    if (result == 0)
        result = dmsg_cache_new(&discovery->cache, &cache, error);
    if (result == 0)
        result = start_resolver(&discovery->resolver, discovery, &config->resolver, error);
    if (result == 0 && config->is_listed != NULL)
        result = start_strangers(discovery, config, error);
    if (result == 0 && config->pkix_cd)
        result = start_authority(discovery, config, error);
    if (result < 0)
        return result;
    *out = discovery;
    discovery = NULL;
    return 0;
}

const char *dmsg_discovery_note(const struct dmsg_discovery *discovery)
{
    return dmsg_resolver_note(discovery->resolver);
}

int dmsg_discovery_sandbox(const struct dmsg_discovery *discovery)
{
    int held = dmsg_resolver_sandbox(discovery->resolver);
    int strangers = discovery->strangers != NULL ? dmsg_resolver_sandbox(discovery->strangers) : -1;
    return held < 0 ? strangers : strangers < 0 ? held : held & strangers;
}

void dmsg_discovery_free(struct dmsg_discovery **discovery)
{
    struct dmsg_discovery *self = *discovery;
    if (self == NULL)
        return;
    dmsg_resolver_free(&self->resolver); /* from here on nobody is called back */
    dmsg_resolver_free(&self->strangers);
    dmsg_authority_free(&self->authority);
    while (self->pending != NULL) {
        struct pending *pending = self->pending;
        self->pending = pending->next;
        free_pending(pending);
    }
    dmsg_strangers_free(&self->budget);
    dmsg_cache_free(&self->cache);
    dmsg_judge_free(&self->judge);
    if (self->epoll >= 0)
        close(self->epoll);
    free(self);
    *discovery = NULL;
}
