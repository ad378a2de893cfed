#include "service/clock.h"

#define JITTER_PART 4

int64_t dmsg_pause_take(struct dmsg_pause *pause, const struct dmsg_context *context)
{
    uint32_t random = 0;
    int64_t length = pause->next == 0 ? pause->first : pause->next;
    pause->next = length > pause->most / 2 ? pause->most : length * 2;
    /* Without randomness the pause is the whole one. */
    if (dmsg_context_random(context, &random, sizeof random) < 0)
        return length;
    return length - random % (length / JITTER_PART + 1);
}

void dmsg_pause_reset(struct dmsg_pause *pause)
{
    pause->next = 0;
}
