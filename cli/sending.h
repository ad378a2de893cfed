/* Publishing for `danemsg send`: one message or many lines, to one recipient or several, with a
   window of messages on their way and a broker that may vanish and come back. */
#ifndef DANEMSG_CLI_SENDING_H
#define DANEMSG_CLI_SENDING_H

#include "broker.h"
#include "issued.h"
#include "progress.h"
#include "queueing.h"
#include "reload.h"
#include "sealing.h"
#include "service/clock.h"

/* Messages on their way to the broker at a time, and their octets: libmosquitto keeps a copy of
   each. One message may be larger. */
#define SENDING_WINDOW 500
#define SENDING_OCTETS ((size_t)8 * 1024 * 1024)

/* Milliseconds between two looks at how far a message has come. */
#define SENDING_LOOK_PAUSE 200

/* A message that the broker has not acknowledged. */
struct sent {
    int id;        /* of the publish */
    uint64_t line; /* of the input, 0: not from lines */
    size_t recipient, size;
};

/* Everything that is made once and used for each message. */
struct sending {
    const char *program;
    const struct sealing_options *how;
    int qos, wait; /* wait: milliseconds without progress until it is given up */
    bool retain, json, text;
    struct dmsg_context context;
    struct dmsg_sealer *sealer; /* of the identity in reload */
    struct reload reload;
    struct issued issued;
    struct broker broker;
    struct dmsg_mqtt *mqtt;           /* NULL with --queue */
    struct queueing *queueing;        /* --queue; else NULL */
    struct dmsg_discovery *discovery; /* borrowed: who sends for long asks for keys again */
    struct recipient *recipients;     /* with a key those that were found */
    size_t recipient_count;
    size_t certificates; /* of our own that go along */

    struct dmsg_buffer envelope;
    struct sent sent[SENDING_WINDOW]; /* a ring, oldest at first */
    size_t first, sent_count, octets;
    uint64_t line;
    unsigned unheard; /* publishes since the broker was listened to */
    struct dmsg_pause pause;
    struct progress progress;
    int first_failure;
};

/* Quality of service 0, nothing but program and how set. */
void sending_init(struct sending *sending, const char *program, const struct sealing_options *how);

/* Prints the error; the first one's code is the command's. */
void sending_fail(struct sending *sending, const struct dmsg_error *error);

/* To every recipient that has a key. A message that cannot be sealed fails alone; a broker that is
   gone, and does not come back in time, ends the run. */
int sending_publish(
    struct sending *sending, struct dmsg_span payload, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Hears what the broker says and lets leave what is queued, waiting for it up to `most`
   milliseconds; with a new connection if the old one is lost. */
int sending_listen(struct sending *sending, int most, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Forgets the oldest as far as the broker has them. */
void sending_reap(struct sending *sending);
/* After DMSG_E_BROKER: 0 when there is a new connection, on which what is not acknowledged is sent
   again; else the error as it is. Not when the broker is there and just said no. */
int sending_recover(struct sending *sending, struct dmsg_error *error) DMSG_MUST_CHECK;
/* sending_lines.c: standard input, a message a line, each when it comes. */
int sending_lines(struct sending *sending, struct dmsg_error *error) DMSG_MUST_CHECK;
/* sending_flush.c: until the broker has acknowledged all. */
int sending_flush(struct sending *sending, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Takes up keys that were rolled over meanwhile. */
void sending_renew_sealer(struct sending *sending);
/* After a failure: says which messages are without an acknowledgement. */
void sending_say_what_is_open(struct sending *sending);
void sending_done(struct sending *sending);

#endif
