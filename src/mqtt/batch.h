/* The packets of one batch, in two growing blocks that are kept from batch to batch. */
#ifndef DANEMSG_MQTT_BATCH_H
#define DANEMSG_MQTT_BATCH_H

#include "danemsg/transport.h"

/* A batch is full at so many octets: what a busy receiver holds in memory beside what it makes of
   them. */
#define DMSG_BATCH_OCTETS (8 * 1024 * 1024)
/* Over TLS libmosquitto goes on reading while a record is not used up, so that a batch can become
   larger; more than this is a broker that floods us. */
#define DMSG_BATCH_OCTETS_MAX (32 * 1024 * 1024)
/* Memory kept for the next batch. */
#define DMSG_BATCH_OCTETS_KEPT (256 * 1024)

struct dmsg_batch {
    struct dmsg_packet *packets; /* their spans are set by settle */
    size_t count, capacity;
    uint8_t *octets; /* topic and payload of one packet after the other */
    size_t size, octets_capacity;
    bool failed; /* sticky until clear: no memory, or over the maximum */
};

/* Copies a packet; cut: its payload is left out. */
void dmsg_batch_put(struct dmsg_batch *batch, struct dmsg_span topic, struct dmsg_span payload,
    bool retained, bool cut);
bool dmsg_batch_full(const struct dmsg_batch *batch, size_t limit);
/* Points the spans to where the octets are now, after the last put. */
void dmsg_batch_settle(struct dmsg_batch *batch);
void dmsg_batch_clear(struct dmsg_batch *batch);
void dmsg_batch_done(struct dmsg_batch *batch);

#endif
