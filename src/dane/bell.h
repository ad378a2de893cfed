/* One descriptor to poll for whoever has a process: readable when the process has said something,
   or takes what waits to be sent, or when it is time for a step. */
#ifndef DANEMSG_DANE_BELL_H
#define DANEMSG_DANE_BELL_H

#include "dane/channel.h"

struct dmsg_bell {
    int fd; /* the one to poll */
    int timer;
};
#define DMSG_BELL_NONE                                                                             \
    (struct dmsg_bell)                                                                             \
    {                                                                                              \
        .fd = -1, .timer = -1                                                                      \
    }

int dmsg_bell_open(struct dmsg_bell *bell, struct dmsg_error *error) DMSG_MUST_CHECK;
/* DMSG_BELL_NONE is allowed, and what is left. */
void dmsg_bell_done(struct dmsg_bell *bell);

/* Rings after so many milliseconds from now, and not for what was set before. */
void dmsg_bell_set(struct dmsg_bell *bell, int64_t wait);

/* Rings for this channel, whose descriptor is new to it; and once more, whenever what waits to be
   sent has come to be or has ended. It is forgotten when the channel is closed. */
void dmsg_bell_add(struct dmsg_bell *bell, const struct dmsg_channel *channel);
void dmsg_bell_change(struct dmsg_bell *bell, const struct dmsg_channel *channel);

#endif
