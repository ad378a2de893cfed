/*
 * Threads that open messages, each with an opener of its own: pure work, without the store and
 * without the network. The thread that runs the pool works too.
 */
#ifndef DANEMSG_SERVICE_POOL_H
#define DANEMSG_SERVICE_POOL_H

#include "danemsg/message.h"

/* More would wait for the one thread that stores. */
#define DMSG_POOL_THREADS_MAX 16

struct dmsg_pool;
struct dmsg_item;

typedef void dmsg_pool_work(struct dmsg_opener *opener, struct dmsg_item *item);

struct dmsg_pool_config {
    const struct dmsg_context *context;   /* its clock and randomness are called from all threads */
    const struct dmsg_identity *identity; /* borrowed */
    const struct dmsg_policy *policy;     /* borrowed; its sent_v1 is called from all threads */
    int threads;                          /* in all; 0: as many as this process may use at once */
};

/* Errors as dmsg_opener_new. Threads that the system does not give are done without. */
int dmsg_pool_new(struct dmsg_pool **out, const struct dmsg_pool_config *config,
    struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_pool_free(struct dmsg_pool **pool);

/* How many threads work, and the opener of the one that runs the pool. */
int dmsg_pool_threads(const struct dmsg_pool *pool);
struct dmsg_opener *dmsg_pool_opener(const struct dmsg_pool *pool);

/* Has the work done on every item, in no order: the other threads begin with it, and the caller
   goes on with something else, without the pool and its opener, until it helps to finish. */
void dmsg_pool_start(
    struct dmsg_pool *pool, dmsg_pool_work *work, struct dmsg_item *items, size_t count);
void dmsg_pool_finish(struct dmsg_pool *pool);

#endif
