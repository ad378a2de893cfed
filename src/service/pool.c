#include "service/pool.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "service/internal.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>

/* Fewer items are done before another thread has woken up. */
#define SHARED_LEAST 3

struct worker {
    struct dmsg_pool *pool;
    struct dmsg_opener *opener;
    pthread_t thread;
};

struct dmsg_pool {
    int count; /* of workers; the first is the caller */
    struct worker workers[DMSG_POOL_THREADS_MAX];

    pthread_mutex_t lock; /* of what follows, up to next */
    pthread_cond_t begun, done;
    unsigned round; /* of work: a thread joins in each once */
    int busy;       /* threads that are not through with this round */
    bool ending;

    bool shared; /* with the other threads; of the caller alone */
    dmsg_pool_work *work;
    struct dmsg_item *items;
    size_t item_count;
    atomic_size_t next; /* the first item that nobody has taken */
};

static void take_items(struct dmsg_pool *pool, struct dmsg_opener *opener)
{
    for (;;) {
        size_t at = atomic_fetch_add_explicit(&pool->next, 1, memory_order_relaxed);
        if (at >= pool->item_count)
            return;
        pool->work(opener, &pool->items[at]);
    }
}

static void *serve(void *argument)
{
    struct worker *worker = argument;
    struct dmsg_pool *pool = worker->pool;
    unsigned round = 0;
    pthread_mutex_lock(&pool->lock);
    for (;;) {
        while (pool->round == round && !pool->ending)
            pthread_cond_wait(&pool->begun, &pool->lock);
        if (pool->ending)
            break;
        round = pool->round;
        pthread_mutex_unlock(&pool->lock);
        take_items(pool, worker->opener);
        pthread_mutex_lock(&pool->lock);
        if (--pool->busy == 0)
            pthread_cond_signal(&pool->done);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

void dmsg_pool_start(
    struct dmsg_pool *pool, dmsg_pool_work *work, struct dmsg_item *items, size_t count)
{
    pool->shared = count >= SHARED_LEAST && pool->count > 1;
    pthread_mutex_lock(&pool->lock);
    pool->work = work;
    pool->items = items;
    pool->item_count = count;
    atomic_store_explicit(&pool->next, 0, memory_order_relaxed);
    if (pool->shared) {
        pool->busy = pool->count - 1;
        pool->round++;
        pthread_cond_broadcast(&pool->begun);
    }
    pthread_mutex_unlock(&pool->lock);
}

void dmsg_pool_finish(struct dmsg_pool *pool)
{
    take_items(pool, pool->workers[0].opener);
    if (!pool->shared)
        return;
    pthread_mutex_lock(&pool->lock);
    while (pool->busy > 0)
        pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

/* ---------------------------------------------------------------------------- start and end */

/* A token does one thing at a time, and its library need not know of threads. */
static bool has_token(const struct dmsg_identity *identity)
{
    size_t count = identity != NULL ? dmsg_identity_key_count(identity) : 0;
    for (size_t i = 0; i < count; i++) {
        if (dmsg_identity_key_get(identity, i)->uri != NULL)
            return true;
    }
    return false;
}

static int wanted_threads(const struct dmsg_pool_config *config)
{
    cpu_set_t usable;
    int count = has_token(config->identity) ? 1 : config->threads;
    if (count <= 0)
        count = sched_getaffinity(0, sizeof usable, &usable) == 0 ? CPU_COUNT(&usable) : 1;
    return count < DMSG_POOL_THREADS_MAX ? count : DMSG_POOL_THREADS_MAX;
}

/* The program's signals are for the thread that runs the pool. */
static bool start_thread(struct worker *worker)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    bool started = pthread_create(&worker->thread, NULL, serve, worker) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return started;
}

static int add_worker(
    struct dmsg_pool *pool, const struct dmsg_pool_config *config, struct dmsg_error *error)
{
    struct worker *worker = &pool->workers[pool->count];
    worker->pool = pool;
    int result =
        dmsg_opener_new(&worker->opener, config->context, config->identity, config->policy, error);
    if (result < 0)
        return result;
    if (pool->count > 0 && !start_thread(worker)) {
        dmsg_opener_free(&worker->opener);
        return 0;
    }
    pool->count++;
    return 1;
}

int dmsg_pool_new(
    struct dmsg_pool **out, const struct dmsg_pool_config *config, struct dmsg_error *error)
{
    int result = 1;
    int wanted = wanted_threads(config);
    struct dmsg_pool *pool = calloc(1, sizeof *pool);
    if (pool == NULL)
        return dmsg_fail_memory(error);
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->begun, NULL);
    pthread_cond_init(&pool->done, NULL);
    while (result == 1 && pool->count < wanted)
        result = add_worker(pool, config, error);
    if (result < 0) {
        dmsg_pool_free(&pool);
        return result;
    }
    *out = pool;
    return 0;
}

void dmsg_pool_free(struct dmsg_pool **pool)
{
    struct dmsg_pool *self = pool != NULL ? *pool : NULL;
    if (self == NULL)
        return;
    pthread_mutex_lock(&self->lock);
    self->ending = true;
    pthread_cond_broadcast(&self->begun);
    pthread_mutex_unlock(&self->lock);
    for (int i = 0; i < self->count; i++) {
        if (i > 0)
            pthread_join(self->workers[i].thread, NULL);
        dmsg_opener_free(&self->workers[i].opener);
    }
    pthread_cond_destroy(&self->done);
    pthread_cond_destroy(&self->begun);
    pthread_mutex_destroy(&self->lock);
    free(self);
    *pool = NULL;
}

int dmsg_pool_threads(const struct dmsg_pool *pool)
{
    return pool->count;
}

struct dmsg_opener *dmsg_pool_opener(const struct dmsg_pool *pool)
{
    return pool->workers[0].opener;
}
