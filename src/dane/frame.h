/*
 * What the resolver process and its parent say to each other: frames of
 *
 *     octets  4     1        1     4   ...
 *             size  version  type  id  body
 *
 * size counts what follows it, in network order. Neither side trusts the other: a frame that is
 * not exactly as written here ends the conversation.
 *
 *     to the process   SETUP (first, once), ASK (body: the name), PING
 *     to the parent    CONFINED (once, after SETUP; body: an octet of enum dmsg_sandbox), ANSWER,
 *                      PONG, TROUBLE (body: why it cannot work; it ends then)
 */
#ifndef DANEMSG_DANE_FRAME_H
#define DANEMSG_DANE_FRAME_H

#include "danemsg/resolver.h"

#define DMSG_FRAME_VERSION 3

/* A DNS message has 65535 octets at most (RFC 1035 section 4.2.2), and so has what we take out of
   it; the rest is for names, lengths and reasons. */
#define DMSG_FRAME_BODY_MAX (65535 + 4096)
#define DMSG_FRAME_HEADER 10

enum dmsg_frame_type {
    DMSG_FRAME_SETUP = 1,
    DMSG_FRAME_ASK = 2,
    DMSG_FRAME_PING = 3,
    DMSG_FRAME_ANSWER = 65,
    DMSG_FRAME_PONG = 66,
    DMSG_FRAME_TROUBLE = 67,
    DMSG_FRAME_CONFINED = 68,
};

struct dmsg_frame {
    enum dmsg_frame_type type;
    uint32_t id;
    struct dmsg_span body;
};

/* Takes one frame off the front of stream: 1 and *out pointing into it, 0 when it is not whole
   yet, DMSG_E_FORMAT when it never will be one. The size is judged before the rest is there. */
int dmsg_frame_take(
    struct dmsg_frame *out, struct dmsg_span *stream, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Appends one frame. A body over DMSG_FRAME_BODY_MAX makes the buffer fail. */
void dmsg_frame_put(
    struct dmsg_buffer *out, enum dmsg_frame_type type, uint32_t id, struct dmsg_span body);

/* --------------------------------------------------------------------------------------- bodies */

/* How the process is to resolve: printable texts of a kind. */
enum dmsg_setup_kind {
    DMSG_SETUP_SERVER = 1, /* "ADDR[@PORT]": forward everything there */
    DMSG_SETUP_SYSTEM = 2, /* the same, but from the system: leave it if it strips DNSSEC */
    DMSG_SETUP_STUB = 3,   /* "ZONE=ADDR[@PORT]" */
    DMSG_SETUP_ANCHOR = 4, /* a DS or DNSKEY record in presentation form, on one line */
    DMSG_SETUP_KEEP = 5, /* file in the working directory: the root's anchors, to be kept current */
    DMSG_SETUP_FOR_STRANGERS = 6, /* any text: not one name that will be asked was chosen by us */
};

/* A DNSKEY of RSA-4096 takes 700 characters, a zone 254. The parent allows 32 servers and stubs,
   8 servers of the system, 32 anchors and two
   more items. */
#define DMSG_SETUP_TEXT_MAX 4000
#define DMSG_SETUP_ITEMS_MAX 74

struct dmsg_setup_item {
    enum dmsg_setup_kind kind;
    char text[DMSG_SETUP_TEXT_MAX + 1]; /* NUL-terminated */
};

void dmsg_setup_put(struct dmsg_buffer *body, enum dmsg_setup_kind kind, const char *text);

/* Takes the next item off the front: 1, 0 at the end, DMSG_E_FORMAT. */
int dmsg_setup_take(
    struct dmsg_setup_item *out, struct dmsg_span *body, struct dmsg_error *error) DMSG_MUST_CHECK;

/* ASK's body is the name in its canonical form. */
int dmsg_ask_parse(
    struct dmsg_name *out, struct dmsg_span body, struct dmsg_error *error) DMSG_MUST_CHECK;

/* ANSWER's body is all of the answer but the name, which the parent knows. */
void dmsg_answer_put(struct dmsg_buffer *body, const struct dmsg_answer *answer);

/* Fills everything but out->name; records point into body, and are sorted, different from each
   other, and of 1 to DMSG_TLSA_RDATA_MAX octets. */
int dmsg_answer_parse(struct dmsg_answer *out, const struct dmsg_name *name, struct dmsg_span body,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Copies text into out as printable ASCII, cut to size - 1 characters. */
void dmsg_printable(char *out, size_t size, struct dmsg_span text);

#endif
