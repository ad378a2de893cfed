#include "mqtt/batch.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_PACKETS 16

/* Ciphertext needs no wiping, so blocks are plain memory. */
static bool make_room(struct dmsg_batch *batch, size_t octets)
{
    struct dmsg_batch_block *block = batch->blocks;
    if (block == NULL || octets > block->capacity - block->size) {
        size_t capacity = octets > DMSG_BATCH_BLOCK ? octets : DMSG_BATCH_BLOCK;
        block = malloc(sizeof *block + capacity);
        if (block == NULL)
            return false;
        *block = (struct dmsg_batch_block){.next = batch->blocks, .capacity = capacity};
        batch->blocks = block;
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

static struct dmsg_span append(struct dmsg_batch *batch, struct dmsg_span span)
{
    struct dmsg_batch_block *block = batch->blocks;
    uint8_t *at = block->octets + block->size;
    if (span.size > 0)
        memcpy(at, span.data, span.size);
    block->size += span.size;
    batch->size += span.size;
    return (struct dmsg_span){at, span.size};
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
    struct dmsg_packet *packet = &batch->packets[batch->count++];
    *packet = (struct dmsg_packet){.retained = retained, .cut = cut};
    packet->topic = append(batch, topic);
    packet->payload = append(batch, payload);
}

bool dmsg_batch_full(const struct dmsg_batch *batch, size_t limit)
{
    return batch->failed || batch->count >= limit || batch->size >= DMSG_BATCH_OCTETS;
}

static void drop_block(struct dmsg_batch *batch)
{
    struct dmsg_batch_block *block = batch->blocks;
    batch->blocks = block->next;
    free(block);
}

void dmsg_batch_clear(struct dmsg_batch *batch)
{
    while (batch->blocks != NULL &&
           (batch->blocks->next != NULL || batch->blocks->capacity > DMSG_BATCH_BLOCK))
        drop_block(batch);
    if (batch->blocks != NULL)
        batch->blocks->size = 0;
    batch->size = batch->count = 0;
    batch->failed = false;
}

void dmsg_batch_done(struct dmsg_batch *batch)
{
    while (batch->blocks != NULL)
        drop_block(batch);
    free(batch->packets);
    *batch = (struct dmsg_batch){0};
}
