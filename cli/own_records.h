/* The TLSA records of an own identity: made in the form that is asked for, printed, recognised. */
#ifndef DANEMSG_CLI_OWN_RECORDS_H
#define DANEMSG_CLI_OWN_RECORDS_H

#include "common.h"
#include "dane/tlsa.h"

/* --usage, --selector, --matching-type. */
struct record_form {
    int64_t usage;    /* DMSG_DANE_EE unless given */
    int64_t selector; /* or RECORD_SELECTOR_BEST */
    int64_t matching_type;
};
extern const struct option_group record_form_group;

/* The certificate where a key has one, else the bare key. */
#define RECORD_SELECTOR_BEST (-1)

/* DMSG_E_USAGE: a form that no identity publishes. */
int record_form_check(const struct record_form *form, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Bits of the keys' roles. */
#define RECORDS_CURRENT (1u << DMSG_KEY_CURRENT)
#define RECORDS_NEXT (1u << DMSG_KEY_NEXT)

struct own_records {
    size_t count;
    struct dmsg_span rdata[DMSG_PEER_KEYS_MAX]; /* an identity has no more keys */
    struct dmsg_buffer octets;                  /* what they point into */
};

/* A record for each key of these roles: that of the current signing key first, then the other
   current ones, then the rest. DMSG_E_LOCAL: the form wants a certificate that is not there. */
int own_records_make(struct own_records *out, const struct dmsg_identity *identity,
    const struct record_form *form, unsigned roles, struct dmsg_error *error) DMSG_MUST_CHECK;
void own_records_done(struct own_records *records);

/* Appends a line for each: before, then "3 0 0 3082...". */
void own_records_put(
    struct dmsg_buffer *out, const char *before, const struct own_records *records);

/* The identity's key that a record is of, whatever its form, NULL for another's. Of a certificate
   that was renewed meanwhile too, unless only its digest is there. */
const struct dmsg_identity_key *own_records_match(
    const struct dmsg_identity *identity, struct dmsg_span rdata);
/* The same for one key. */
bool own_records_match_key(const struct dmsg_identity_key *key, struct dmsg_span rdata);

#endif
