/* What is known of the CA certificates of authority hosts: fetched, being fetched, or why not.
   Bounded in number and in time; the longest unused goes first. */
#ifndef DANEMSG_DANE_AUTHORITY_CACHE_H
#define DANEMSG_DANE_AUTHORITY_CACHE_H

#include "dane/fetch.h"

/* Seconds. A CA is replaced once in years, and its file is then under another name; a failure is
   mended by somebody who wants to see it mended. */
#define DMSG_ISSUER_LIFE 3600
#define DMSG_ISSUER_FAILURE_LIFE 300
/* 16 KiB each at most, 1 KiB ordinarily. */
#define DMSG_ISSUERS_CACHED_MAX 256

struct dmsg_issuers;

struct dmsg_issuer {
    struct dmsg_issuers *among;
    bool used;
    bool asked; /* for the present; certificate and why are to come */
    struct dmsg_fetch fetch;
    X509 *certificate; /* NULL: why says it */
    bool not_now;
    char why[200];
    int64_t fetched_at, expires_at; /* the context's clock */
    uint64_t last_use;
    unsigned waiting; /* jobs that point here: it stays */
};

struct dmsg_issuers {
    const struct dmsg_context *context;
    uint64_t uses;
    struct dmsg_issuer issuers[DMSG_ISSUERS_CACHED_MAX];
};

/* Known, or being fetched; NULL: neither. */
struct dmsg_issuer *dmsg_issuer_find(struct dmsg_issuers *issuers, const struct dmsg_fetch *fetch);

/* Room for one that is to be fetched; NULL: all of it waits for fetches. */
struct dmsg_issuer *dmsg_issuer_add(struct dmsg_issuers *issuers, const struct dmsg_fetch *fetch);

/* What came of the fetch. One certificate in PEM, and nothing but text around it. */
void dmsg_issuer_fill(struct dmsg_issuer *issuer, const struct dmsg_fetched *fetched);

void dmsg_issuers_done(struct dmsg_issuers *issuers);

#endif
