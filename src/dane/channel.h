/* Frames over a socket that does not block; the same code at both ends. */
#ifndef DANEMSG_DANE_CHANNEL_H
#define DANEMSG_DANE_CHANNEL_H

#include "dane/frame.h"

struct dmsg_channel {
    int fd;                 /* owned; -1: closed */
    struct dmsg_buffer in;  /* received */
    size_t taken;           /* of in, given out as frames */
    struct dmsg_buffer out; /* not sent yet */
};

/* Takes over a descriptor that is O_NONBLOCK. out_limit: octets that may wait to be sent. */
void dmsg_channel_init(struct dmsg_channel *channel, int fd, size_t out_limit);
void dmsg_channel_done(struct dmsg_channel *channel);

/* Reads what is there, one frame's worth at most: 1, 0 when the other end has closed, or
   DMSG_E_INTERNAL. Frames taken before are then no longer valid. */
int dmsg_channel_read(struct dmsg_channel *channel, struct dmsg_error *error) DMSG_MUST_CHECK;

/* The next whole frame: 1, 0 when there is none yet, DMSG_E_FORMAT. */
int dmsg_channel_take(
    struct dmsg_channel *channel, struct dmsg_frame *out, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Sends what can be sent now: 0, also when something is left, or DMSG_E_INTERNAL. */
int dmsg_channel_flush(struct dmsg_channel *channel, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
