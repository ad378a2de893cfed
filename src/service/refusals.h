/*
 * Every refused message is one event with its word, at a bounded rate: what a flood has more than
 * that is counted and said once a second. Nothing is silent. So is every message that has to wait.
 */
#ifndef DANEMSG_SERVICE_REFUSALS_H
#define DANEMSG_SERVICE_REFUSALS_H

#include "base/log.h"

/* Events of one word in one second. */
#define DMSG_REFUSALS_SHOWN 10
#define DMSG_REFUSALS_SECOND 1000

struct dmsg_refusals {
    const struct dmsg_log *log;
    const char *what; /* "refused", for instance: what the messages are */
    struct {
        int64_t began; /* monotonic milliseconds; the second that is counted */
        unsigned shown;
        uint64_t hidden;
    } words[DMSG_ERROR_COUNT];
};

/* event->code says why, and is what the rate is bounded by. */
void dmsg_refusals_put(struct dmsg_refusals *refusals, int64_t now, const struct dmsg_event *event);
/* Says what was counted in seconds that have passed, or with `all` what there is. */
void dmsg_refusals_flush(struct dmsg_refusals *refusals, int64_t now, bool all);
/* Milliseconds until there is something to flush, or most. */
int64_t dmsg_refusals_due(const struct dmsg_refusals *refusals, int64_t now, int64_t most);

#endif
