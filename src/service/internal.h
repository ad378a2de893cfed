/*
 * The receiver's inside. One thread runs it all, but for opening messages (intake.c, open_one and
 * verify_one), which touches neither the store nor the network: that part a pool of threads does.
 */
#ifndef DANEMSG_SERVICE_INTERNAL_H
#define DANEMSG_SERVICE_INTERNAL_H

#include "service/pool.h"
#include "service/receive.h"
#include "service/refusals.h"
#include "service/waiters.h"

/* Messages opened before they are stored: enough for the threads of the pool, few enough that their
   buffers stay small. */
#define DMSG_OPEN_CHUNK 64
/* The loop must come round: rows worked on, and milliseconds, before it looks at the rest. */
#define DMSG_SLICE_ROWS 100
#define DMSG_SLICE_TIME 200

/* Senders of whom it is remembered that their keys were said to be stale. */
#define DMSG_STALE_NOTED 64

enum dmsg_item_fate { DMSG_ITEM_REFUSED, DMSG_ITEM_WAITS, DMSG_ITEM_OPENED, DMSG_ITEM_VERIFIED };

struct dmsg_item {
    struct dmsg_packet packet;
    struct dmsg_message message; /* keeps its buffers */
    const struct dmsg_peer *peer;
    enum dmsg_item_fate fate;
    bool try_cache; /* it waits for the order only */
    struct dmsg_error error;
};

struct dmsg_receiver {
    const struct dmsg_receive_config *config;
    struct dmsg_policy policy; /* the caller's; without sent_v1, which is asked of the store */
    struct dmsg_receive_state *state, own_state; /* the caller's, or our own */
    struct dmsg_pool *pool;
    struct dmsg_item items[2][DMSG_OPEN_CHUNK]; /* a chunk being stored, and one being opened */
    struct dmsg_message woken;                  /* one that waited */
    struct dmsg_buffer topic;                   /* of that */
    struct dmsg_waiters waiters;
    struct dmsg_refusals refusals, delays;
    int internal_failures;                    /* in a row, while opening */
    int one_by_one;                           /* messages that are still taken alone after those */
    bool gave_up;                             /* one of this batch */
    struct dmsg_name stale[DMSG_STALE_NOTED]; /* senders of whom it was said, in turn */
    size_t stale_count;

    int64_t delivered_row; /* up to here delivered, or passed over since the sender is paused */
    uint64_t delivered;
    bool backlog;         /* more is to be delivered */
    bool flooded;         /* the last batch was full, and delivery keeps up: reading goes first */
    int64_t running_row;  /* under way, 0: none */
    int64_t unmarked_row; /* delivered, and the store could not be told yet; 0: none */
    int64_t store_at;     /* the store was in trouble: not tried before; 0: it was not */
    struct dmsg_name running_sender;
    char running_id[DMSG_MESSAGE_ID_SIZE];
    struct dmsg_paused *paused; /* senders */
    size_t paused_count;

    struct dmsg_pause pause; /* before the next try to reach the broker */
    int64_t reconnect_at, connected_at, read_at, purge_at, stop_at;
    bool was_connected, was_subscribed;
    int64_t pending_octets;                  /* not delivered: at most so many */
    int64_t pending_at;                      /* not looked at before */
    int64_t full_since;                      /* nothing is read since then; 0: it is */
    struct dmsg_store_counts counted_before; /* by this store, before this receiver */
    bool holding; /* a batch that could not be stored: only a new connection may follow */
    /* Reading pauses while DNS is asked about the sender of a burst. */
    struct dmsg_name burst;
    int64_t burst_until, burst_again_at; /* monotonic */
    int64_t stranger_at;                 /* when one came last whom DNS had not answered about */
    int short_connections;
    char away[DMSG_ERROR_TEXT]; /* what was said last of why the broker is away */
    int discovery_code;         /* what was said last of the resolver */
    int64_t take_over_at;
    int take_over_code;                   /* what was said last of the shared store */
    char discovery_note[DMSG_ERROR_TEXT]; /* the same, of its trust anchors */
};

/* One refused message: sender and id as far as they are known. */
void dmsg_receiver_refuse(struct dmsg_receiver *receiver, const struct dmsg_name *sender,
    const char *id, const struct dmsg_error *why, enum dmsg_log_level level);
/* After a commit: brings the state's counts up to date. */
void dmsg_receiver_count(struct dmsg_receiver *receiver);
/* Messages of a sender that have to wait. */
void dmsg_receiver_delay(struct dmsg_receiver *receiver, const struct dmsg_name *sender,
    const struct dmsg_error *why, enum dmsg_log_level level);
void dmsg_receiver_note_poc(struct dmsg_receiver *receiver, const struct dmsg_message *message);
/* One verified with keys that are past their TTL, while DNS gives no answer: once for each sender,
   as long as there are few of them. */
void dmsg_receiver_note_stale(struct dmsg_receiver *receiver, const struct dmsg_peer *peer);
/* What becomes of a message that a peer's keys did not verify. decisive: the peer was asked for
   after the message came. */
enum dmsg_verdict { DMSG_FINAL, DMSG_WAIT_FOR_DNS, DMSG_WAIT_FOR_TTL, DMSG_FAILURE };
enum dmsg_verdict dmsg_receiver_judge(const struct dmsg_receiver *receiver,
    const struct dmsg_message *message, int code, bool decisive);

/* Takes another identity's keys into use if there is one; true when it did. */
bool dmsg_receiver_renew(struct dmsg_receiver *receiver, bool at_once);

/* intake.c: opens and stores a batch in one transaction; negative: nothing of it was stored, and
   it must not be acknowledged. Begins with the packets that were read, and reads more, up to limit,
   as long as there are many. */
int dmsg_intake(
    struct dmsg_receiver *receiver, size_t limit, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Packets of a batch, for now. */
size_t dmsg_intake_limit(const struct dmsg_receiver *receiver);
/* Reading is to pause until then (dmsg_now_ms()), or 0: a stranger's burst waits for its first
   answer of DNS, which makes it a known sender whose messages need no budget. */
int64_t dmsg_intake_pauses(const struct dmsg_receiver *receiver, int64_t now);

/* wake.c */
int dmsg_wake_load(struct dmsg_receiver *receiver, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Works on waiting messages for one slice; true when there is more to do at once. */
bool dmsg_wake(struct dmsg_receiver *receiver);
/* Withdraws the questions under way: no answer shall find us gone. */
void dmsg_wake_end(struct dmsg_receiver *receiver);

/* deliver.c: hands out what is accepted, for one slice. */
int dmsg_deliver(struct dmsg_receiver *receiver, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Can that be done while a batch is opened? Not where deliveries may fail (--exec). */
bool dmsg_deliver_overlaps(const struct dmsg_receiver *receiver);
/* Within a batch's transaction: some of what was stored before it. False: it would have to wait. */
bool dmsg_deliver_meanwhile(struct dmsg_receiver *receiver);

/* -C: the count is reached. */
bool dmsg_deliver_is_enough(const struct dmsg_receiver *receiver);
/* Becomes readable when what is under way has ended; -1 when nothing is. */
int dmsg_deliver_fd(const struct dmsg_receiver *receiver);
/* Milliseconds until a paused sender's turn comes again, or most. */
int64_t dmsg_deliver_due(const struct dmsg_receiver *receiver, int64_t now, int64_t most);
/* Waits for what is under way, for a bounded time; then frees what delivering has kept. */
void dmsg_deliver_end(struct dmsg_receiver *receiver);
void dmsg_deliver_done(struct dmsg_receiver *receiver);

/* pending.c: how much is accepted and not delivered. note: a batch was stored; add: a message that
   waited was accepted. */
void dmsg_pending_begin(struct dmsg_receiver *receiver);
void dmsg_pending_add(struct dmsg_receiver *receiver, size_t octets);
void dmsg_pending_note(struct dmsg_receiver *receiver, size_t count);
void dmsg_pending_look(struct dmsg_receiver *receiver, int64_t now);
/* Nothing is to be read. */
bool dmsg_pending_is_full(const struct dmsg_receiver *receiver);

/* connection.c */
void dmsg_connection_keep(struct dmsg_receiver *receiver);
/* It is made anew, at once and without a word. */
void dmsg_connection_renew(struct dmsg_receiver *receiver);
void dmsg_connection_lost(struct dmsg_receiver *receiver, const struct dmsg_error *why);

#endif
