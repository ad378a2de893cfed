/* The packets of one batch, and the blocks that they are copied into. */
#ifndef DANEMSG_MQTT_BATCH_H
#define DANEMSG_MQTT_BATCH_H

#include "danemsg/transport.h"

/* A batch is full at so many octets: what a busy receiver holds in memory beside what it makes of
   them. */
#define DMSG_BATCH_OCTETS (8 * 1024 * 1024)
/* The packet that makes a batch full may make it larger than that; more than this is too much. */
#define DMSG_BATCH_OCTETS_MAX (32 * 1024 * 1024)
/* Of one block; one is kept for the next batch. */
#define DMSG_BATCH_BLOCK (256 * 1024)

/* A block of octets, which stays where it is: packets are opened while more are read. */
struct dmsg_batch_block {
    struct dmsg_batch_block *next;
    size_t size, capacity;
    uint8_t octets[];
};

struct dmsg_batch {
    struct dmsg_packet *packets;
    size_t count, capacity;
    struct dmsg_batch_block *blocks; /* topics and payloads; the one that is filled first */
    size_t size;                     /* of all that is in them */
    bool failed;                     /* sticky until clear: no memory, or over the maximum */
};

/* Copies a packet; cut: its payload is left out. */
void dmsg_batch_put(struct dmsg_batch *batch, struct dmsg_span topic, struct dmsg_span payload,
    bool retained, bool cut);
bool dmsg_batch_full(const struct dmsg_batch *batch, size_t limit);
void dmsg_batch_clear(struct dmsg_batch *batch);
void dmsg_batch_done(struct dmsg_batch *batch);

#endif
