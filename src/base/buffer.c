#include "danemsg/span.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* First allocation: most headers and short messages fit. */
#define FIRST_CAPACITY 256

/* Memory is moved by hand, never by realloc, which would leave a copy behind unwiped. */
static bool grow(struct dmsg_buffer *buffer, size_t needed)
{
    size_t capacity = buffer->capacity < FIRST_CAPACITY ? FIRST_CAPACITY : buffer->capacity;
    while (capacity < needed) {
        if (capacity > SIZE_MAX / 2)
            return false;
        capacity *= 2;
    }
    uint8_t *data = malloc(capacity);
    if (data == NULL)
        return false;
    if (buffer->data != NULL) {
        memcpy(data, buffer->data, buffer->size);
        explicit_bzero(buffer->data, buffer->capacity);
        free(buffer->data);
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

uint8_t *dmsg_buffer_reserve(struct dmsg_buffer *buffer, size_t more)
{
    bool fits = !buffer->failed && more <= SIZE_MAX - buffer->size &&
                (buffer->limit == 0 || buffer->size + more <= buffer->limit);
    size_t needed = buffer->size + (more > 0 ? more : 1); /* never a NULL for an empty rest */
    if (!fits || (needed > buffer->capacity && !grow(buffer, needed))) {
        buffer->failed = true;
        return NULL;
    }
    return buffer->data + buffer->size;
}

void dmsg_buffer_put(struct dmsg_buffer *buffer, const void *data, size_t size)
{
    uint8_t *to = dmsg_buffer_reserve(buffer, size);
    if (to == NULL || size == 0)
        return;
    memcpy(to, data, size);
    buffer->size += size;
}

void dmsg_buffer_put_span(struct dmsg_buffer *buffer, struct dmsg_span span)
{
    dmsg_buffer_put(buffer, span.data, span.size);
}

void dmsg_buffer_put_text(struct dmsg_buffer *buffer, const char *text)
{
    dmsg_buffer_put(buffer, text, strlen(text));
}

void dmsg_buffer_put_byte(struct dmsg_buffer *buffer, uint8_t byte)
{
    dmsg_buffer_put(buffer, &byte, 1);
}

void dmsg_buffer_format(struct dmsg_buffer *buffer, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int size = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (size < 0) {
        buffer->failed = true;
        return;
    }
    /* vsnprintf wants room for its NUL, which the limit need not hold. */
    size_t limit = buffer->limit;
    if (limit != 0 && buffer->size + (size_t)size > limit) {
        buffer->failed = true;
        return;
    }
    buffer->limit = 0;
    char *to = (char *)dmsg_buffer_reserve(buffer, (size_t)size + 1);
    buffer->limit = limit;
    if (to == NULL)
        return;
    va_start(arguments, format);
    vsnprintf(to, (size_t)size + 1, format, arguments);
    va_end(arguments);
    buffer->size += (size_t)size;
}

void dmsg_buffer_reset(struct dmsg_buffer *buffer)
{
    if (buffer->data != NULL)
        explicit_bzero(buffer->data, buffer->size);
    buffer->size = 0;
    buffer->failed = false;
}

void dmsg_buffer_done(struct dmsg_buffer *buffer)
{
    if (buffer == NULL)
        return;
    if (buffer->data != NULL)
        explicit_bzero(buffer->data, buffer->capacity);
    free(buffer->data);
    buffer->data = NULL;
    buffer->size = buffer->capacity = 0;
    buffer->failed = false;
}

struct dmsg_span dmsg_buffer_span(const struct dmsg_buffer *buffer)
{
    return (struct dmsg_span){buffer->data, buffer->size};
}

struct dmsg_span dmsg_span_text(const char *text)
{
    return (struct dmsg_span){(const uint8_t *)text, strlen(text)};
}

bool dmsg_span_equal(struct dmsg_span a, struct dmsg_span b)
{
    return a.size == b.size && (a.size == 0 || memcmp(a.data, b.data, a.size) == 0);
}

bool dmsg_span_equal_text(struct dmsg_span span, const char *text)
{
    return dmsg_span_equal(span, dmsg_span_text(text));
}
