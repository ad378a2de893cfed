/*
 * DNS names as identities. There is one canonical form: lower-case ASCII, at least two labels,
 * no trailing dot. It is made here and nowhere else, so that a name in this struct can be
 * compared byte by byte, and holds no MQTT wildcard, path separator, space or escape.
 *
 *     struct dmsg_name name;
 *     dmsg_name_parse(&name, dmsg_span_text("Bob.example.net."), &error);      bob.example.net
 */
#ifndef DANEMSG_NAME_H
#define DANEMSG_NAME_H

#include "danemsg/error.h"
#include "danemsg/span.h"

#ifdef __cplusplus
extern "C" {
#endif

/* 255 octets in wire form are at most 253 characters of text (RFC 1035 section 3.1). */
#define DMSG_NAME_TEXT 254

/* Own names also become file names with a suffix; file systems stop at 255. */
#define DMSG_OWN_NAME_MAX 230

struct dmsg_name {
    uint8_t size;              /* characters, without the NUL */
    char text[DMSG_NAME_TEXT]; /* NUL-terminated */
};

/*
 * Reads a name: letters (lower-cased), digits, '-' and '_'; labels of 1 to 63; two labels or
 * more; one trailing dot is removed; IDNs only as A-labels. DMSG_E_NAME otherwise.
 */
int dmsg_name_parse(
    struct dmsg_name *out, struct dmsg_span text, struct dmsg_error *error) DMSG_MUST_CHECK;

bool dmsg_name_equal(const struct dmsg_name *a, const struct dmsg_name *b);

/* Its last two labels, inside the name: what budgets are counted by. A wildcard of DNS covers any
   number of labels below its zone, so that a parent of one label less would not hold it. */
struct dmsg_span dmsg_name_zone(const struct dmsg_name *name);

/*
 * A pattern is a name or `*.` and a name; the star stands for one or more whole labels.
 * DMSG_E_USAGE when it is neither.
 */
struct dmsg_pattern {
    bool wildcard;
    struct dmsg_name name; /* the zone, for a wildcard */
};

int dmsg_pattern_parse(
    struct dmsg_pattern *out, struct dmsg_span text, struct dmsg_error *error) DMSG_MUST_CHECK;
bool dmsg_pattern_match(const struct dmsg_pattern *pattern, const struct dmsg_name *name);

#ifdef __cplusplus
}
#endif

#endif
