/* What the ways to publish share: the publisher behind dane/publish.h, and making record sets. */
#ifndef DANEMSG_DANE_PUBLISH_INTERNAL_H
#define DANEMSG_DANE_PUBLISH_INTERNAL_H

#include "dane/publish.h"
#include "dane/publish_tsig.h"

/* An API's key: PowerDNS takes any text; theirs have some dozen characters. */
#define DMSG_API_KEY_MAX 1024

struct dmsg_publisher {
    char *server; /* "ADDR[@PORT]", or NULL: the API */
    struct dmsg_tsig_key tsig;
    char *powerdns;            /* URL without a slash at its end */
    struct dmsg_buffer secret; /* the API's key, NUL-terminated */
};

/* Empties the set, with room for so many octets of rdata: then records point into what stays. */
int dmsg_record_set_begin(
    struct dmsg_record_set *set, size_t octets, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Copies one record. DMSG_E_LOCAL for the 65th. */
int dmsg_record_set_add(
    struct dmsg_record_set *set, struct dmsg_span record, struct dmsg_error *error) DMSG_MUST_CHECK;

/* There is a CNAME at the name; returns DMSG_E_LOCAL. */
int dmsg_fail_alias(const struct dmsg_name *name, struct dmsg_error *error);

/* A change was sent, and this went wrong with its answer; returns why's code. */
int dmsg_fail_unsure(struct dmsg_error *error, const struct dmsg_error *why);

/* Sends a DNS message over TCP and reads the one answer, whole, within so many milliseconds.
   DMSG_E_DNS_TEMPORARY; *sent: whether the server may have got the question. */
int dmsg_tcp_exchange(struct dmsg_buffer *answer, const char *server, struct dmsg_span question,
    int timeout, bool *sent, struct dmsg_error *error) DMSG_MUST_CHECK;

int dmsg_update_read(struct dmsg_publisher *publisher, const struct dmsg_name *name,
    struct dmsg_record_set *out, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_update_change(struct dmsg_publisher *publisher, const struct dmsg_name *name,
    const struct dmsg_record_set *before, const struct dmsg_record_set *wanted,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* DMSG_E_USAGE: no URL of an API, or one that would carry the key over a network in the clear. */
int dmsg_powerdns_check(const char *url, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_powerdns_read(struct dmsg_publisher *publisher, const struct dmsg_name *name,
    struct dmsg_record_set *out, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_powerdns_change(struct dmsg_publisher *publisher, const struct dmsg_name *name,
    const struct dmsg_record_set *before, const struct dmsg_record_set *wanted,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
