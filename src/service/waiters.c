#include "service/waiters.h"

#include "base/fail.h"

#include <search.h>
#include <stdlib.h>
#include <string.h>

/* Time between two looks at all waiters, in milliseconds. */
#define SCAN_LEAST 100
#define SCAN_MOST 1000

/* ---------------------------------------------------------------------------------- key ids */

static int compare_kids(const void *a, const void *b)
{
    return strcmp(a, b);
}

static int add_kid(void **tree, const char *kid)
{
    if (kid[0] == '\0' || tfind(kid, tree, compare_kids) != NULL)
        return 0;
    char *copy = strdup(kid);
    if (copy != NULL && tsearch(copy, tree, compare_kids) != NULL)
        return 0;
    free(copy);
    return DMSG_E_INTERNAL;
}

static void free_kids(void **tree)
{
    tdestroy(*tree, free);
    *tree = NULL;
}

bool dmsg_waiter_holds(const struct dmsg_waiter *waiter, const char *kid)
{
    return kid[0] != '\0' && tfind(kid, &waiter->kids, compare_kids) != NULL;
}

int dmsg_waiter_keep(struct dmsg_waiter *waiter, const char *kid)
{
    return add_kid(&waiter->kept_kids, kid);
}

bool dmsg_waiter_kept(const struct dmsg_waiter *waiter, const char *kid)
{
    return kid[0] != '\0' && tfind(kid, &waiter->kept_kids, compare_kids) != NULL;
}

void dmsg_waiter_restart(struct dmsg_waiter *waiter)
{
    waiter->cursor = 0;
    waiter->kept = 0;
    waiter->kept_for_ttl = false;
    free_kids(&waiter->kept_kids);
}

void dmsg_waiter_settle(struct dmsg_waiter *waiter)
{
    free_kids(&waiter->kids);
    waiter->kids = waiter->kept_kids;
    waiter->kept_kids = NULL;
}

/* --------------------------------------------------------------------------------- waiters */

static int compare_waiters(const void *a, const void *b)
{
    const struct dmsg_waiter *left = a, *right = b;
    return strcmp(left->name.text, right->name.text);
}

void dmsg_waiters_init(struct dmsg_waiters *waiters)
{
    *waiters = (struct dmsg_waiters){0};
    waiters->ready_end = &waiters->ready;
}

void dmsg_waiters_done(struct dmsg_waiters *waiters)
{
    while (waiters->first != NULL)
        dmsg_waiters_remove(waiters, waiters->first);
}

struct dmsg_waiter *dmsg_waiters_find(
    const struct dmsg_waiters *waiters, const struct dmsg_name *name)
{
    struct dmsg_waiter key = {.name = *name};
    struct dmsg_waiter *const *found = tfind(&key, &waiters->tree, compare_waiters);
    return found != NULL ? *found : NULL;
}

static struct dmsg_waiter *make(struct dmsg_waiters *waiters, const struct dmsg_name *name)
{
    struct dmsg_waiter *waiter = calloc(1, sizeof *waiter);
    if (waiter == NULL)
        return NULL;
    waiter->name = *name;
    waiter->waiters = waiters;
    waiter->code = DMSG_E_DNS_TEMPORARY;
    waiter->pause = (struct dmsg_pause){.first = DMSG_ASK_FIRST, .most = DMSG_ASK_MOST};
    waiter->busy = (struct dmsg_pause){.first = DMSG_ASK_BUSY, .most = DMSG_ASK_BUSY_MOST};
    if (tsearch(waiter, &waiters->tree, compare_waiters) == NULL) {
        free(waiter);
        return NULL;
    }
    waiter->next = waiters->first;
    if (waiter->next != NULL)
        waiter->next->previous = waiter;
    waiters->first = waiter;
    dmsg_waiters_make_ready(waiters, waiter);
    return waiter;
}

struct dmsg_waiter *dmsg_waiters_add(
    struct dmsg_waiters *waiters, const struct dmsg_name *name, const char *kid)
{
    struct dmsg_waiter *waiter = dmsg_waiters_find(waiters, name);
    if (waiter == NULL)
        waiter = make(waiters, name);
    if (waiter == NULL || add_kid(&waiter->kids, kid) < 0)
        return NULL;
    return waiter;
}

static void unlink_ready(struct dmsg_waiters *waiters, struct dmsg_waiter *waiter)
{
    struct dmsg_waiter **at = &waiters->ready;
    if (!waiter->ready)
        return;
    while (*at != waiter)
        at = &(*at)->next_ready;
    *at = waiter->next_ready;
    if (*at == NULL)
        waiters->ready_end = at;
    waiter->ready = false;
}

void dmsg_waiters_remove(struct dmsg_waiters *waiters, struct dmsg_waiter *waiter)
{
    unlink_ready(waiters, waiter);
    tdelete(waiter, &waiters->tree, compare_waiters);
    *(waiter->previous != NULL ? &waiter->previous->next : &waiters->first) = waiter->next;
    if (waiter->next != NULL)
        waiter->next->previous = waiter->previous;
    dmsg_peer_release(waiter->peer);
    free_kids(&waiter->kids);
    free_kids(&waiter->kept_kids);
    free(waiter);
}

/* ------------------------------------------------------------------------------------ time */

void dmsg_waiters_make_ready(struct dmsg_waiters *waiters, struct dmsg_waiter *waiter)
{
    if (waiter->ready)
        return;
    waiter->ready = true;
    waiter->next_ready = NULL;
    *waiters->ready_end = waiter;
    waiters->ready_end = &waiter->next_ready;
}

struct dmsg_waiter *dmsg_waiters_take_ready(struct dmsg_waiters *waiters)
{
    struct dmsg_waiter *waiter = waiters->ready;
    if (waiter != NULL)
        unlink_ready(waiters, waiter);
    return waiter;
}

static void plan_look(struct dmsg_waiter *waiter, int64_t now_ms)
{
    int64_t most = now_ms + DMSG_LOOK_MOST;
    waiter->look_at = waiter->ask_at < most ? waiter->ask_at : most;
}

void dmsg_waiter_ask_after(
    struct dmsg_waiter *waiter, int64_t expires_at, int64_t now_ms, int64_t now)
{
    int64_t seconds = expires_at > now ? expires_at - now : 1;
    waiter->ask_after = now + seconds;
    waiter->ask_at = now_ms + seconds * 1000;
    plan_look(waiter, now_ms);
}

void dmsg_waiter_ask_in(struct dmsg_waiter *waiter, int64_t pause, int64_t now_ms)
{
    waiter->ask_after = 0;
    waiter->ask_at = now_ms + pause;
    plan_look(waiter, now_ms);
}

bool dmsg_waiter_may_ask(const struct dmsg_waiter *waiter, int64_t now_ms, int64_t now)
{
    return now_ms >= waiter->ask_at || (waiter->ask_after != 0 && now >= waiter->ask_after);
}

void dmsg_waiters_scan(struct dmsg_waiters *waiters, int64_t now_ms, int64_t now)
{
    int64_t next = now_ms + SCAN_MOST;
    if (now_ms < waiters->scan_at)
        return;
    for (struct dmsg_waiter *waiter = waiters->first; waiter != NULL; waiter = waiter->next) {
        if (waiter->asked || waiter->ready)
            continue;
        bool may_ask = waiter->peer == NULL && dmsg_waiter_may_ask(waiter, now_ms, now);
        if (may_ask || now_ms >= waiter->look_at)
            dmsg_waiters_make_ready(waiters, waiter);
        else if (waiter->look_at < next)
            next = waiter->look_at;
    }
    waiters->scan_at = next < now_ms + SCAN_LEAST ? now_ms + SCAN_LEAST : next;
}

int64_t dmsg_waiters_due(const struct dmsg_waiters *waiters, int64_t now_ms, int64_t most)
{
    if (waiters->ready != NULL)
        return 0;
    if (waiters->first == NULL)
        return most;
    int64_t left = waiters->scan_at - now_ms;
    return left < 0 ? 0 : left < most ? left : most;
}
