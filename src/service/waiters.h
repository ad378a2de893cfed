/*
 * The senders that messages wait for in the store: which of their keys, whether a question is under
 * way, and when to ask again. Only an index: what waits, and in which order, is the store's.
 */
#ifndef DANEMSG_SERVICE_WAITERS_H
#define DANEMSG_SERVICE_WAITERS_H

#include "danemsg/resolver.h"
#include "service/clock.h"

/* Milliseconds. A failed question is repeated after 5 seconds, then ever later. */
#define DMSG_ASK_FIRST 5000
#define DMSG_ASK_MOST 600000
/* The resolver takes no more questions just now, or none about this sender's zone: asked again
   after this, then ever later; the others are not kept waiting by it. */
#define DMSG_ASK_BUSY 200
#define DMSG_ASK_BUSY_MOST 5000
/* Waiting messages are looked at this often for their deadline. */
#define DMSG_LOOK_MOST 600000

struct dmsg_waiter {
    struct dmsg_name name;
    struct dmsg_waiters *waiters; /* that it is in */
    struct dmsg_waiter *previous, *next;
    struct dmsg_waiter *next_ready;
    bool ready;                   /* is in the list of those to be worked on */
    bool asked;                   /* a question is under way; on_answer gets this waiter */
    bool try_cache;               /* a message that the cache may verify was put behind others */
    size_t unanswered;            /* messages of a stranger before the first answer */
    int64_t asked_row;            /* rows up to this were there when the question was asked */
    const struct dmsg_peer *peer; /* what is being worked on; owned */
    int64_t cursor;               /* rows up to this are done with the peer */
    size_t kept;                  /* of them still waiting */
    bool kept_for_ttl;            /* some of those until the cache has forgotten */
    int64_t ask_at;               /* monotonic: not before */
    int64_t ask_after;            /* the context's clock: or when this has passed, 0 for none */
    int64_t look_at;              /* monotonic: the next time for anything at all */
    struct dmsg_pause pause;
    struct dmsg_pause busy; /* after questions that were not taken */
    int code;               /* why they wait, for when their time is up */
    void *kids;             /* tsearch(3): keys that messages wait for */
    void *kept_kids;        /* the same, of those that this pass left waiting */
};

struct dmsg_waiters {
    void *tree; /* tsearch(3) by name */
    struct dmsg_waiter *first;
    struct dmsg_waiter *ready, **ready_end;
    int64_t scan_at;
};

void dmsg_waiters_init(struct dmsg_waiters *waiters);
/* Of waiters without questions under way. */
void dmsg_waiters_done(struct dmsg_waiters *waiters);

/* The waiter of a sender, made and ready to ask if there is none; NULL without memory. Notes the
   key (empty for poc, which keeps no order). */
struct dmsg_waiter *dmsg_waiters_add(
    struct dmsg_waiters *waiters, const struct dmsg_name *name, const char *kid);
struct dmsg_waiter *dmsg_waiters_find(
    const struct dmsg_waiters *waiters, const struct dmsg_name *name);
void dmsg_waiters_remove(struct dmsg_waiters *waiters, struct dmsg_waiter *waiter);

/* Does a message of this key wait? Then a later one must not overtake it. */
bool dmsg_waiter_holds(const struct dmsg_waiter *waiter, const char *kid);
/* The keys of the messages that a pass leaves waiting; at its end, when every message has been
   looked at, they are all. */
int dmsg_waiter_keep(struct dmsg_waiter *waiter, const char *kid) DMSG_MUST_CHECK;
bool dmsg_waiter_kept(const struct dmsg_waiter *waiter, const char *kid);
/* A pass begins, whatever came of one that was not finished. */
void dmsg_waiter_restart(struct dmsg_waiter *waiter);
void dmsg_waiter_settle(struct dmsg_waiter *waiter);

void dmsg_waiters_make_ready(struct dmsg_waiters *waiters, struct dmsg_waiter *waiter);
struct dmsg_waiter *dmsg_waiters_take_ready(struct dmsg_waiters *waiters);
/* Makes those ready whose time has come; looks at most ten times a second. */
void dmsg_waiters_scan(struct dmsg_waiters *waiters, int64_t now_ms, int64_t now);
/* Plans the next question: when what the cache says has expired, a second from now at least, by
   whichever clock comes there first; or after a pause. */
void dmsg_waiter_ask_after(
    struct dmsg_waiter *waiter, int64_t expires_at, int64_t now_ms, int64_t now);
void dmsg_waiter_ask_in(struct dmsg_waiter *waiter, int64_t pause, int64_t now_ms);
bool dmsg_waiter_may_ask(const struct dmsg_waiter *waiter, int64_t now_ms, int64_t now);
/* Milliseconds until the next scan makes sense, or most. */
int64_t dmsg_waiters_due(const struct dmsg_waiters *waiters, int64_t now_ms, int64_t most);

#endif
