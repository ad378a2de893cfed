/* Reads numbers in network order and runs of octets from the front of a span. Once something was
   not there it stays failed and gives zeros: looked at once, at the end. */
#ifndef DANEMSG_DANE_CURSOR_H
#define DANEMSG_DANE_CURSOR_H

#include "danemsg/span.h"

struct dmsg_cursor {
    struct dmsg_span rest;
    bool failed;
};

static inline struct dmsg_span dmsg_cursor_take(struct dmsg_cursor *cursor, size_t size)
{
    struct dmsg_span taken = {cursor->rest.data, size};
    if (cursor->failed || size > cursor->rest.size) {
        cursor->failed = true;
        return (struct dmsg_span){NULL, 0};
    }
    cursor->rest.data += size;
    cursor->rest.size -= size;
    return taken;
}

/* At most 8 octets. */
static inline uint64_t dmsg_cursor_number(struct dmsg_cursor *cursor, size_t octets)
{
    struct dmsg_span taken = dmsg_cursor_take(cursor, octets);
    uint64_t value = 0;
    for (size_t i = 0; i < taken.size; i++)
        value = value << 8 | taken.data[i];
    return value;
}

/* At most 4 octets: a size also where those have no more. */
static inline size_t dmsg_cursor_size(struct dmsg_cursor *cursor, size_t octets)
{
    return (size_t)(uint32_t)dmsg_cursor_number(cursor, octets);
}

/* Octets behind the size that says how many they are. */
static inline struct dmsg_span dmsg_cursor_take_sized(struct dmsg_cursor *cursor, size_t octets)
{
    return dmsg_cursor_take(cursor, dmsg_cursor_size(cursor, octets));
}

#endif
