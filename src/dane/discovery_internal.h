/* Discovery's parts in two files: what it is made of, and how it asks. */
#ifndef DANEMSG_DANE_DISCOVERY_INTERNAL_H
#define DANEMSG_DANE_DISCOVERY_INTERNAL_H

#include "dane/cache.h"
#include "dane/resolver_internal.h"
#include "dane/settling.h"
#include "dane/strangers.h"
#include "danemsg/resolver.h"

struct dmsg_asker {
    dmsg_discovery_done *done;
    void *user;
    struct dmsg_asker *next;
};

/* One name that is being asked for. */
struct dmsg_pending {
    struct dmsg_discovery *discovery;
    struct dmsg_name name;
    bool lingers; /* the answer may come out of the resolver process's own cache */
    const struct dmsg_peer
        *fallback;                  /* made before, so that want of memory cannot lose an answer */
    int64_t asked_at;               /* dmsg_now_ms */
    struct dmsg_settling *settling; /* the answer waits for CA certificates; else NULL */
    struct dmsg_asker *waiters, **last;
    struct dmsg_pending *next;
};

struct dmsg_discovery {
    const struct dmsg_context *context;
    struct dmsg_judge *judge;
    int epoll;
    struct dmsg_resolver *resolver;  /* of every name, or of those that are listed */
    struct dmsg_resolver *strangers; /* of the others; NULL without is_listed */
    struct dmsg_strangers *budget;
    struct dmsg_authority *authority; /* NULL without pkix_cd */
    bool (*is_listed)(void *user, const struct dmsg_name *name);
    void *user;
    bool stepping;
    struct dmsg_pending *pending;
    struct dmsg_pending *telling; /* whose waiters are being called */
    size_t waiter_count;
    struct dmsg_cache *cache;
};

/* With its waiters, who are not called back. */
void dmsg_pending_free(struct dmsg_pending *pending);

/* As dmsg_peer_judge, with the discovery's judge; user: the discovery. */
int dmsg_discovery_judge(
    void *user, const struct dmsg_peer **out, const struct dmsg_answer *answer);

#endif
