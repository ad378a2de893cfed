/*
 * Spans and buffers: bytes that come in, bytes that go out.
 *
 * A span borrows: pointer and length, passed by value, valid as long as what it points into.
 * A buffer owns: it grows up to its limit and wipes every byte that it leaves behind.
 *
 *     struct dmsg_buffer out = {.limit = 65536};
 *     dmsg_buffer_put(&out, "abc", 3);
 *     if (out.failed)                     // checked once, at the end: limit or memory
 *         ...
 *     dmsg_buffer_done(&out);
 */
#ifndef DANEMSG_SPAN_H
#define DANEMSG_SPAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct dmsg_span {
    const uint8_t *data;
    size_t size;
};

/* A zeroed buffer is empty and has no limit. */
struct dmsg_buffer {
    uint8_t *data;   /* owned; NULL while empty */
    size_t size;     /* bytes in use */
    size_t capacity; /* bytes allocated */
    size_t limit;    /* most bytes that size may reach, 0 for none */
    bool failed;     /* sticky: an append did not fit or memory ran out */
};

/* Makes room for `more` bytes after size and returns where they go, NULL (and failed) if none. */
uint8_t *dmsg_buffer_reserve(struct dmsg_buffer *buffer, size_t more);

/* Appends; does nothing once failed. */
void dmsg_buffer_put(struct dmsg_buffer *buffer, const void *data, size_t size);
void dmsg_buffer_put_span(struct dmsg_buffer *buffer, struct dmsg_span span);
void dmsg_buffer_put_text(struct dmsg_buffer *buffer, const char *text);
void dmsg_buffer_put_byte(struct dmsg_buffer *buffer, uint8_t byte);
void dmsg_buffer_format(struct dmsg_buffer *buffer, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Empties and clears failed; keeps and wipes the memory. */
void dmsg_buffer_reset(struct dmsg_buffer *buffer);

/* Wipes and frees; the struct is then empty, its limit kept. NULL is allowed. */
void dmsg_buffer_done(struct dmsg_buffer *buffer);

/* The content, valid until the next change. */
struct dmsg_span dmsg_buffer_span(const struct dmsg_buffer *buffer);

/* A span of a NUL-terminated text, without the NUL. */
struct dmsg_span dmsg_span_text(const char *text);

/* True when both hold the same bytes. Not constant in time: never for secrets. */
bool dmsg_span_equal(struct dmsg_span a, struct dmsg_span b);
bool dmsg_span_equal_text(struct dmsg_span span, const char *text);

#ifdef __cplusplus
}
#endif

#endif
