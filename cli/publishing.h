/* What the commands share that change DNS: identity publish, retract, rollover. */
#ifndef DANEMSG_CLI_PUBLISHING_H
#define DANEMSG_CLI_PUBLISHING_H

#include "common.h"
#include "own_keys.h"

struct publish_options {
    const char *server, *tsig;      /* --rfc2136 ADDR[@PORT] --tsig FILE */
    const char *powerdns, *api_key; /* --powerdns URL --api-key FILE */
    int64_t ttl;                    /* --ttl, default 3600 */
    bool replace;                   /* --replace: records at the name that are not ours, too */
    int64_t wait;                   /* --wait: seconds until the change must be seen, 0: do not */
};
extern const struct option_group publish_group;
/* Seconds: secondaries that are told of a change have it by then. */
#define PUBLISH_WAIT 300
/* What a command's options hold before: its .defaults. */
#define PUBLISH_DEFAULTS                                                                           \
    {                                                                                              \
        .ttl = RECORD_TTL, .wait = PUBLISH_WAIT                                                    \
    }

/* Was a way to publish given? Without one the caller prints what is to be pasted. */
bool publishing_possible(const struct publish_options *options);

/* A change of the records at a name. */
struct publishing {
    const char *program; /* for notes and progress */
    const struct publish_options *options;
    const struct dns_options *dns; /* how the change is looked at from outside */
    const struct dmsg_name *name;
    struct dmsg_span wanted[DMSG_ANSWER_RECORDS_MAX]; /* rdata; none: take ours out */
    size_t wanted_count;
    /* Records of ours that may be there and go if they are not wanted (a key that is being rolled
       out). What is neither wanted nor ours is another's: refused without --replace. */
    struct dmsg_span ours[DMSG_ANSWER_RECORDS_MAX];
    size_t ours_count;
    const struct dmsg_identity *identity; /* records of its keys, in whatever form, are ours too;
                                             may be NULL. Those of its old keys stay until they
                                             are taken out as ours, or with the rest */
};

struct published {
    bool changed;    /* false: DNS was like that already */
    size_t foreign;  /* records there now that are not ours: another's, left alone */
    uint32_t ttl;    /* seconds: how long the answer of before may live in caches: the larger
                        of the old set's TTL and the zone's negative TTL */
    int64_t seen_at; /* seconds since 1970: when a fresh validated look-up showed it; 0: not
                        waited for */
    bool secure;     /* that look-up was validated; else all records are of usage 4 (PKIX-CD), which
                        need not be */
};

/*
 * Reads, changes, and waits until a fresh validated look-up shows exactly the wanted set (with
 * none wanted: what is left), with progress on a terminal. DMSG_E_USAGE, DMSG_E_LOCAL,
 * DMSG_E_DNS_TEMPORARY as dmsg_publisher_*; DMSG_E_LOCAL also: another's records are there. When
 * the waiting failed, *out is filled in all the same and tells what was done:
 * DMSG_E_DNS_TEMPORARY: not seen in time; DMSG_E_DNS_INSECURE: seen, but the zone is not signed.
 */
int publishing_apply(const struct publishing *publishing, struct published *out,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
