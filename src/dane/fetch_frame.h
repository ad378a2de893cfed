/*
 * What the fetching process is asked and answers, in the frames of dane/frame.h. Neither side
 * trusts the other.
 *
 *     SETUP   the pinned hosts, "HOST=ADDR@PORT HOST=ADDR@PORT", perhaps none; first, once
 *     ASK     "HOST AKI": https://HOST/.well-known/ca/AKI.pem
 *     ANSWER  one octet, an enum dmsg_fetch_status, and the content, or why there is none
 */
#ifndef DANEMSG_DANE_FETCH_FRAME_H
#define DANEMSG_DANE_FETCH_FRAME_H

#include "dane/authority.h"

/* The word behind the program's own arguments with which it fetches in place of resolving. */
#define DMSG_FETCH_ARGUMENT "--fetch"

/* Octets of an answer's body: the largest certificate in PEM has more, a CA's has a tenth. */
#define DMSG_FETCH_SIZE_MAX 16384

/* Fetches under way at once. */
#define DMSG_FETCHES_MAX 32

/* Hosts whose address is given: they are for trials, and for authorities in a private network. */
#define DMSG_PINS_MAX 32

/* An IPv6 address has 45 characters at most. */
#define DMSG_PIN_ADDRESS_TEXT 48

/* Where a host is reached, whatever kind of address that is. */
struct dmsg_pin {
    struct dmsg_name host;
    char address[DMSG_PIN_ADDRESS_TEXT]; /* numeric */
    uint16_t port;
};

struct dmsg_pins {
    size_t count;
    struct dmsg_pin pins[DMSG_PINS_MAX];
};

struct dmsg_fetch {
    struct dmsg_name host;
    char aki[DMSG_AKI_TEXT];
};

enum dmsg_fetch_status {
    DMSG_FETCH_CONTENT,
    DMSG_FETCH_NONE,    /* the host, proven to be itself, has said so */
    DMSG_FETCH_NOT_NOW, /* it could not be asked: anybody on the way can make that happen */
};

struct dmsg_fetched {
    enum dmsg_fetch_status status;
    struct dmsg_span content;
    char why[160]; /* printable; empty with content */
};

void dmsg_fetch_put(struct dmsg_buffer *body, const struct dmsg_fetch *fetch);
int dmsg_fetch_parse(
    struct dmsg_fetch *out, struct dmsg_span body, struct dmsg_error *error) DMSG_MUST_CHECK;

void dmsg_fetched_put(struct dmsg_buffer *body, const struct dmsg_fetched *fetched);
/* content points into body. */
int dmsg_fetched_parse(
    struct dmsg_fetched *out, struct dmsg_span body, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Adds "HOST=ADDR[@PORT]", numeric ADDR, 443 without PORT. DMSG_E_USAGE: it is none, or one too
   many. */
int dmsg_pins_add(
    struct dmsg_pins *pins, struct dmsg_span text, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_pins_put(struct dmsg_buffer *body, const struct dmsg_pins *pins);
int dmsg_pins_parse(
    struct dmsg_pins *out, struct dmsg_span body, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
