/*
 * A strict JSON reader (RFC 8259): one pass over text that it may change, no tree, no allocation.
 *
 *     struct dmsg_json json;
 *     struct dmsg_span name, value;
 *     dmsg_json_init(&json, text, size);
 *     dmsg_json_enter_object(&json);
 *     while (dmsg_json_next_member(&json, &name)) {
 *         if (dmsg_span_equal_text(name, "alg"))
 *             dmsg_json_string(&json, &value);
 *         else
 *             dmsg_json_skip(&json);
 *     }
 *     if (!dmsg_json_finish(&json))
 *         ... json.fault says why ...
 *
 * The first fault is kept, and everything after it fails; so it is enough to look at the end.
 * Refused beyond RFC 8259: a member name twice in one object however it is spelt, invalid UTF-8,
 * unpaired surrogates, U+0000, a byte order mark, more depth or members than below.
 */
#ifndef DANEMSG_BASE_JSON_H
#define DANEMSG_BASE_JSON_H

#include "danemsg/span.h"

/* Objects and arrays inside each other. A header needs two; more only serves to exhaust. Who reads
   something else raises the reader's most_depth, up to DMSG_JSON_LEVELS. */
#define DMSG_JSON_DEPTH_MAX 4
#define DMSG_JSON_LEVELS 8

/* Members of all objects that are open at once: names are compared with one another. */
#define DMSG_JSON_MEMBERS_MAX 64

/* Integers are below this: what every JSON implementation represents exactly (RFC 8259
   section 6). */
#define DMSG_JSON_INTEGER_LIMIT (INT64_C(1) << 53)

struct dmsg_json_level {
    size_t first_name; /* of this object in names */
    bool begun;        /* an element was read: the next wants a comma */
};

struct dmsg_json {
    uint8_t *next, *end;
    const char *fault; /* static text, NULL while all is well */
    size_t depth, most_depth;
    size_t name_count;
    struct dmsg_json_level levels[DMSG_JSON_LEVELS];
    struct dmsg_span names[DMSG_JSON_MEMBERS_MAX];
};

/* Borrows text until the last span is no longer used: strings are unescaped in place. */
void dmsg_json_init(struct dmsg_json *json, uint8_t *text, size_t size);

void dmsg_json_enter_object(struct dmsg_json *json);
void dmsg_json_enter_array(struct dmsg_json *json);

/* True: a member's name was read, its value must be read next. False: the object was closed, or
   there is a fault. */
bool dmsg_json_next_member(struct dmsg_json *json, struct dmsg_span *name);
bool dmsg_json_next_element(struct dmsg_json *json);

/* One value of that kind; any other is a fault. An integer is 0 <= value < 2^53, written with
   digits only: no sign, fraction or exponent. *out is unchanged after a fault. */
bool dmsg_json_string(struct dmsg_json *json, struct dmsg_span *out);
bool dmsg_json_integer(struct dmsg_json *json, int64_t *out);

/* One value of any kind, checked as strictly. */
void dmsg_json_skip(struct dmsg_json *json);

/* True when all was well and only white space is left. */
bool dmsg_json_finish(struct dmsg_json *json);

#endif
