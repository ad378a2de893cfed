/* Time that only goes forward, for deadlines and pauses. What messages, answers and certificates
   say of time is judged by the context's clock. */
#ifndef DANEMSG_BASE_MONOTONIC_H
#define DANEMSG_BASE_MONOTONIC_H

#include <stdint.h>
#include <time.h>

/* Milliseconds. */
static inline int64_t dmsg_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* What timers and sleeps take. */
static inline struct timespec dmsg_timespec(int64_t milliseconds)
{
    return (struct timespec){
        .tv_sec = (time_t)(milliseconds / 1000), .tv_nsec = (long)(milliseconds % 1000) * 1000000};
}

#endif
