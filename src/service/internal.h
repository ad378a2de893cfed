/*
 * The receiver's inside. One thread runs it all; opening a message (intake.c, open_one and
 * verify_one) touches neither the store nor the network, so that several threads with an opener
 * each could do that part.
 */
#ifndef DANEMSG_SERVICE_INTERNAL_H
#define DANEMSG_SERVICE_INTERNAL_H

#include "service/receive.h"
#include "service/refusals.h"
#include "service/waiters.h"

/* Messages opened before they are stored: enough for several threads, few enough that their
   buffers stay small. */
#define DMSG_OPEN_CHUNK 64
/* The loop must come round: rows worked on, and milliseconds, before it looks at the rest. */
#define DMSG_SLICE_ROWS 100
#define DMSG_SLICE_TIME 200

enum dmsg_item_fate { DMSG_ITEM_REFUSED, DMSG_ITEM_WAITS, DMSG_ITEM_OPENED, DMSG_ITEM_VERIFIED };

struct dmsg_item {
    const struct dmsg_packet *packet;
    struct dmsg_message message; /* keeps its buffers */
    const struct dmsg_peer *peer;
    enum dmsg_item_fate fate;
    bool try_cache; /* it waits for the order only */
    struct dmsg_error error;
};

struct dmsg_receiver {
    const struct dmsg_receive_config *config;
    struct dmsg_policy policy; /* the caller's; without sent_v1, which is asked of the store */
    struct dmsg_opener *opener;
    struct dmsg_item items[DMSG_OPEN_CHUNK];
    struct dmsg_message woken; /* one that waited */
    struct dmsg_buffer topic;  /* of that */
    struct dmsg_waiters waiters;
    struct dmsg_refusals refusals, delays;
    int internal_failures; /* in a row, while opening */

    int64_t delivered_row;
    uint64_t delivered;
    bool backlog; /* more is to be delivered */

    struct dmsg_pause pause; /* before the next try to reach the broker */
    int64_t reconnect_at, connected_at, read_at, purge_at, stop_at;
    bool was_connected, was_subscribed;
    bool holding; /* a batch that could not be stored: only a new connection may follow */
    int short_connections;
    char away[DMSG_ERROR_TEXT]; /* what was said last of why the broker is away */
    int discovery_code;         /* what was said last of the resolver */
};

/* One refused message: sender and id as far as they are known. */
void dmsg_receiver_refuse(struct dmsg_receiver *receiver, const struct dmsg_name *sender,
    const char *id, const struct dmsg_error *why, enum dmsg_log_level level);
/* Messages of a sender that have to wait. */
void dmsg_receiver_delay(struct dmsg_receiver *receiver, const struct dmsg_name *sender,
    const struct dmsg_error *why, enum dmsg_log_level level);
void dmsg_receiver_note_poc(struct dmsg_receiver *receiver, const struct dmsg_message *message);
/* What becomes of a message that a peer's keys did not verify. decisive: the peer was asked for
   after the message came. */
enum dmsg_verdict { DMSG_FINAL, DMSG_WAIT_FOR_DNS, DMSG_WAIT_FOR_TTL, DMSG_FAILURE };
enum dmsg_verdict dmsg_receiver_judge(const struct dmsg_receiver *receiver,
    const struct dmsg_message *message, int code, bool decisive);

/* intake.c: opens and stores a batch in one transaction; negative: nothing of it was stored, and
   it must not be acknowledged. */
int dmsg_intake(
    struct dmsg_receiver *receiver, size_t count, struct dmsg_error *error) DMSG_MUST_CHECK;

/* wake.c */
int dmsg_wake_load(struct dmsg_receiver *receiver, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Works on waiting messages for one slice; true when there is more to do at once. */
bool dmsg_wake(struct dmsg_receiver *receiver);
/* Withdraws the questions under way: no answer shall find us gone. */
void dmsg_wake_end(struct dmsg_receiver *receiver);

/* deliver.c: hands out what is accepted, for one slice. */
int dmsg_deliver(struct dmsg_receiver *receiver, struct dmsg_error *error) DMSG_MUST_CHECK;

/* -C: the count is reached. */
bool dmsg_deliver_is_enough(const struct dmsg_receiver *receiver);

/* connection.c */
void dmsg_connection_keep(struct dmsg_receiver *receiver);
void dmsg_connection_lost(struct dmsg_receiver *receiver, const struct dmsg_error *why);

#endif
