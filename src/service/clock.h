/* Pauses, in milliseconds of the monotonic clock. */
#ifndef DANEMSG_SERVICE_CLOCK_H
#define DANEMSG_SERVICE_CLOCK_H

#include "base/monotonic.h"
#include "danemsg/context.h"

/* Pauses that double from first to most, each up to a quarter shorter by chance, so that many
   clients of one server that was away do not come back in step. */
struct dmsg_pause {
    int64_t first, most;
    int64_t next; /* 0: first */
};

int64_t dmsg_pause_take(struct dmsg_pause *pause, const struct dmsg_context *context);
void dmsg_pause_reset(struct dmsg_pause *pause);

#endif
