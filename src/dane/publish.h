/*
 * Putting TLSA records into DNS and taking them out: by dynamic update (RFC 2136) with TSIG
 * (RFC 8945), or by the API of a PowerDNS server. Blocking, with time limits.
 *
 *     dmsg_publisher_new(&publisher, &config, &error);
 *     dmsg_publisher_read(publisher, &name, &before, &error);
 *     ... decide ...
 *     dmsg_publisher_change(publisher, &name, &before, &wanted, &error);
 */
#ifndef DANEMSG_DANE_PUBLISH_H
#define DANEMSG_DANE_PUBLISH_H

#include "danemsg/resolver.h"

struct dmsg_publisher_config {
    const char *server;    /* "ADDR[@PORT]" of the primary; NULL: PowerDNS */
    const char *tsig_file; /* BIND's key file, as `nsupdate -k` reads it */
    const char *powerdns;  /* "http://127.0.0.1:8081" (https too) */
    const char *key_file;  /* of the API's key, one line */
};

/* The TLSA records at a name, as its primary server has them. */
struct dmsg_record_set {
    uint32_t ttl;          /* seconds; 0 without records */
    uint32_t negative_ttl; /* seconds that a denial lives in caches (RFC 2308 section 5) */
    size_t count;
    struct dmsg_span
        records[DMSG_ANSWER_RECORDS_MAX]; /* rdata, sorted, different from each other */
    struct dmsg_buffer octets;            /* what the records point into, if owned */
};

struct dmsg_publisher;
/* DMSG_E_USAGE: an address or URL that is none. DMSG_E_LOCAL: a file that cannot be read, is no
   key, or lets others read it. */
int dmsg_publisher_new(struct dmsg_publisher **out, const struct dmsg_publisher_config *config,
    struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_publisher_free(struct dmsg_publisher **publisher);

/* DMSG_E_DNS_TEMPORARY: no answer. DMSG_E_LOCAL: refused; the text says what the server wants. */
int dmsg_publisher_read(struct dmsg_publisher *publisher, const struct dmsg_name *name,
    struct dmsg_record_set *out, struct dmsg_error *error) DMSG_MUST_CHECK;

/*
 * Makes wanted (no records: takes them out) the whole set at the name, if it is still what before
 * says (RFC 2136 section 2.4); else DMSG_E_DNS_TEMPORARY and nothing has changed. PowerDNS's API
 * has no such guard: there the set is read again right before. Other errors as read.
 */
int dmsg_publisher_change(struct dmsg_publisher *publisher, const struct dmsg_name *name,
    const struct dmsg_record_set *before, const struct dmsg_record_set *wanted,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Do both hold the same records? Whatever their TTLs. */
bool dmsg_record_set_equal(const struct dmsg_record_set *a, const struct dmsg_record_set *b);
bool dmsg_record_set_holds(const struct dmsg_record_set *set, struct dmsg_span record);
/* Sorts records that a caller filled in, and drops those that are there twice. */
void dmsg_record_set_sort(struct dmsg_record_set *set);
void dmsg_record_set_done(struct dmsg_record_set *set);

#endif
