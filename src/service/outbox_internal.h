/* The publisher's inside: the loop in outbox.c, the broker in outbox_connection.c, what is under
   way in outbox_ring.c, sealing in outbox_seal.c. */
#ifndef DANEMSG_SERVICE_OUTBOX_INTERNAL_H
#define DANEMSG_SERVICE_OUTBOX_INTERNAL_H

#include "service/clock.h"
#include "service/outbox.h"
#include "service/refusals.h"

/* Messages on their way to the broker at a time, and their octets: the connection keeps a copy of
   each. One may be larger. */
#define DMSG_OUTBOX_WINDOW 500
#define DMSG_OUTBOX_WINDOW_OCTETS ((size_t)8 * 1024 * 1024)
/* Recipients that are asked about at a time. */
#define DMSG_OUTBOX_ASKED 32
/* Milliseconds before the outbox is tried again, when its disk was in trouble. */
#define DMSG_OUTBOX_TROUBLE_PAUSE 1000
/* Of one transaction, which keeps the broker waiting: messages, and octets of payload. */
#define DMSG_OUTBOX_SLICE 64
#define DMSG_OUTBOX_SLICE_OCTETS ((size_t)4 * 1024 * 1024)

/* Published, and not acknowledged. */
struct dmsg_under_way {
    int id;
    int64_t row;
    size_t size;
    struct dmsg_name recipient;
    bool is_refused;
    struct dmsg_error *refused; /* why; NULL also when memory was short */
};

struct dmsg_asked {
    struct dmsg_name name;        /* size 0: free */
    const struct dmsg_peer *peer; /* the answer */
};

struct dmsg_publisher {
    const struct dmsg_outbox_config *config;
    struct dmsg_mqtt *mqtt; /* the config's, or one that took its place */
    struct dmsg_outbox_state *state, own_state;
    struct dmsg_refusals refusals;
    struct dmsg_error first_failure; /* code 0: none */

    struct dmsg_under_way ring[DMSG_OUTBOX_WINDOW]; /* oldest at first */
    size_t first, count, octets;
    int64_t after; /* up to here published, or passed over */
    bool drained;  /* nothing is due behind it */

    struct dmsg_asked asked[DMSG_OUTBOX_ASKED];
    struct dmsg_name ask_after;
    bool ask_ended;
    int discovery_left; /* milliseconds */
    struct dmsg_buffer envelope;

    bool times_known;
    int64_t due_at, expires_at; /* seconds since 1970 */
    int64_t look_at, look_pause,
        trouble_at; /* milliseconds; trouble_at: the outbox is not touched before */

    struct dmsg_pause pause;
    int64_t reconnect_at, progress_at, stop_at;
    int futile;     /* connections in a row that were lost before anything was settled on them */
    int one_by_one; /* messages that are still published alone after those */
    char said[DMSG_ERROR_TEXT]; /* the last trouble with the disk */
};

/* Begins to walk again: something may be due before where the walks are. */
void dmsg_publisher_restart(struct dmsg_publisher *publisher);
/* A message's trouble, said at a bounded rate. */
void dmsg_publisher_refuse(struct dmsg_publisher *publisher, const struct dmsg_name *recipient,
    int64_t row, const struct dmsg_error *why);

/* Once, not at each try. */
void dmsg_publisher_say_once(struct dmsg_publisher *publisher, char said[static DMSG_ERROR_TEXT],
    const struct dmsg_error *why);

/* outbox_connection.c: makes it when it is time to, and notes what became of it. */
int dmsg_publisher_connect(
    struct dmsg_publisher *publisher, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_publisher_lost(struct dmsg_publisher *publisher, const struct dmsg_error *why);

/* outbox_ring.c: what is under way. */
bool dmsg_publisher_is_under_way(const struct dmsg_publisher *publisher, int64_t row);
void dmsg_publisher_remember(
    struct dmsg_publisher *publisher, int id, const struct dmsg_outgoing *message);
void dmsg_publisher_forget_oldest(struct dmsg_publisher *publisher);
/* The broker, as it is, never takes this one; another may, and so may it when it is set up anew. */
int dmsg_publisher_put_off(struct dmsg_publisher *publisher, const struct dmsg_name *recipient,
    int64_t row, const struct dmsg_error *why, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Of a connection that is no more: the next sends it again. */
void dmsg_publisher_forget_all(struct dmsg_publisher *publisher);
/* Takes out what the broker has, oldest first, in one transaction. A power cut may undo that: then
   it is published again, and receivers know it by its id. */
int dmsg_publisher_settle(
    struct dmsg_publisher *publisher, struct dmsg_error *error) DMSG_MUST_CHECK;

/* outbox_seal.c: asks about recipients, and seals what can be: a slice, in every turn. */
int dmsg_publisher_seal(struct dmsg_publisher *publisher, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Does it wait for an answer? And has it something to do at once? */
bool dmsg_publisher_asks(const struct dmsg_publisher *publisher);
bool dmsg_publisher_can_seal(const struct dmsg_publisher *publisher);
void dmsg_publisher_seal_done(struct dmsg_publisher *publisher);
/* Drops one that has expired, within a transaction. */
int dmsg_publisher_drop(struct dmsg_publisher *publisher, const struct dmsg_outgoing *message,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
