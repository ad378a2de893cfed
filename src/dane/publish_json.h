/*
 * What PowerDNS's API says about zones and records, in JSON: read strictly, and written. The text
 * of an answer is changed by reading it (base/json.h).
 */
#ifndef DANEMSG_DANE_PUBLISH_JSON_H
#define DANEMSG_DANE_PUBLISH_JSON_H

#include "dane/publish.h"

/* A zone's identifier in the API: its name, with "=2F" for odd characters. */
#define DMSG_API_ZONE_SIZE 512

struct dmsg_api_zone {
    char id[DMSG_API_ZONE_SIZE]; /* empty: there is no such zone; else it can stand in a path */
    bool secondary;
};

/* All names are given without a final dot. DMSG_E_DNS_TEMPORARY: not what the API answers. */

/* Of the list of zones: the one with this name. */
int dmsg_api_read_zone(struct dmsg_api_zone *out, struct dmsg_buffer *answer, const char *zone,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* Of a zone with its RRsets: the TLSA records at a name. DMSG_E_LOCAL: an alias is there, or
   a record that is disabled. */
int dmsg_api_read_records(struct dmsg_record_set *out, struct dmsg_buffer *answer,
    const struct dmsg_name *name, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Of a zone with its RRsets: its negative TTL, 0 if it has no SOA record. */
int dmsg_api_read_denial(uint32_t *out, struct dmsg_buffer *answer, const char *zone,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* {"error":"..."}: that text; empty when there is none. Inside the answer. */
struct dmsg_span dmsg_api_read_error(struct dmsg_buffer *answer);

/* Appends the change that makes these the TLSA records at the name. */
void dmsg_api_put_change(
    struct dmsg_buffer *out, const struct dmsg_name *name, const struct dmsg_record_set *wanted);

#endif
