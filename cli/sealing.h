/* What the commands share that make a message: send, seal, sign, encrypt. */
#ifndef DANEMSG_CLI_SEALING_H
#define DANEMSG_CLI_SEALING_H

#include "common.h"
#include "danemsg/message.h"

struct sealing_options {
    struct text_list to;
    bool poc, cbc;
    const char *content_type, *topic;
    int64_t expires; /* seconds; 0: not given */
    int64_t size_limit;
};
extern const struct option_group sealing_group;
/* What only those have that encrypt; in the same struct. */
extern const struct option_group encryption_group;

/* A recipient that was found in DNS. */
struct recipient {
    struct dmsg_name name;
    const struct dmsg_peer *peer;
    const struct dmsg_peer_key *key; /* inside peer; NULL: none to encrypt to */
    bool asked;                      /* the answer is not here yet */
    bool waits;                      /* DNS has no answer, and the outbox keeps what is for it */
    int64_t ask_at;                  /* dmsg_now_ms(): not again before */
};

/* Finds the name's key to encrypt to. The error's text names the recipient. */
int recipient_find(struct recipient *out, struct dmsg_discovery *discovery, const char *text,
    struct dmsg_error *error) DMSG_MUST_CHECK;
void recipient_done(struct recipient *recipient);

/*
 * How many of the own certificates go along with a message (x5c), by what DNS says of the own name.
 * begin asks, and returns at once; end waits for the answer, up to `patience` milliseconds, and
 * does not insist: without an answer the certificates go along, which costs octets only. Nothing is
 * asked when none could go along: with --poc, or for a key without a certificate.
 */
void own_certificates_begin(struct dmsg_discovery *discovery, const struct dmsg_identity *me,
    const struct sealing_options *options);
int own_certificates_end(size_t *out, struct dmsg_discovery *discovery,
    const struct dmsg_identity *me, const struct dmsg_sealer *sealer,
    const struct sealing_options *options, int patience, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Milliseconds of patience: beside a recipient's answer that is there already, and alone. */
#define OWN_PATIENCE_BESIDE 250
#define OWN_PATIENCE_ALONE 1500

/* The library's options for one recipient, from those of the command. */
struct dmsg_seal_options seal_options(
    const struct sealing_options *options, const struct recipient *recipient);

#endif
