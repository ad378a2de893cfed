#include "mqtt/batch.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_OCTETS 4096
#define FIRST_PACKETS 16

/* Ciphertext needs no wiping, so these blocks are plain memory. */
static bool make_room(struct dmsg_batch *batch, size_t octets)
{
    if (batch->size + octets > batch->octets_capacity) {
        size_t capacity = batch->octets_capacity == 0 ? FIRST_OCTETS : batch->octets_capacity;
        while (capacity < batch->size + octets)
            capacity *= 2;
        uint8_t *grown = realloc(batch->octets, capacity);
        if (grown == NULL)
            return false;
        batch->octets = grown;
        batch->octets_capacity = capacity;
    }
    if (batch->count == batch->capacity) {
        size_t capacity = batch->capacity == 0 ? FIRST_PACKETS : batch->capacity * 2;
        struct dmsg_packet *grown = reallocarray(batch->packets, capacity, sizeof *grown);
        if (grown == NULL)
            return false;
        batch->packets = grown;
        batch->capacity = capacity;
    }
    return true;
}

static void append(struct dmsg_batch *batch, struct dmsg_span span)
{
    if (span.size > 0)
        memcpy(batch->octets + batch->size, span.data, span.size);
    batch->size += span.size;
}

void dmsg_batch_put(struct dmsg_batch *batch, struct dmsg_span topic, struct dmsg_span payload,
    bool retained, bool cut)
{
    if (cut)
        payload.size = 0;
    size_t octets = topic.size + payload.size;
    if (batch->failed || octets > DMSG_BATCH_OCTETS_MAX - batch->size ||
        !make_room(batch, octets)) {
        batch->failed = true;
        return;
    }
    batch->packets[batch->count++] = (struct dmsg_packet){.topic = {NULL, topic.size},
        .payload = {NULL, payload.size},
        .retained = retained,
        .cut = cut};
    append(batch, topic);
    append(batch, payload);
}

bool dmsg_batch_full(const struct dmsg_batch *batch, size_t limit)
{
    return batch->failed || batch->count >= limit || batch->size >= DMSG_BATCH_OCTETS;
}

void dmsg_batch_settle(struct dmsg_batch *batch)
{
    const uint8_t *at = batch->octets;
    for (size_t i = 0; i < batch->count; i++) {
        struct dmsg_packet *packet = &batch->packets[i];
        packet->topic.data = at;
        packet->payload.data = at + packet->topic.size;
        at += packet->topic.size + packet->payload.size;
    }
}

void dmsg_batch_clear(struct dmsg_batch *batch)
{
    if (batch->octets_capacity > DMSG_BATCH_OCTETS_KEPT) {
        free(batch->octets);
        batch->octets = NULL;
        batch->octets_capacity = 0;
    }
    batch->size = batch->count = 0;
    batch->failed = false;
}

void dmsg_batch_done(struct dmsg_batch *batch)
{
    free(batch->packets);
    free(batch->octets);
    *batch = (struct dmsg_batch){0};
}
