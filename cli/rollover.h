/*
 * danemsg identity rollover: the steps (rollover_*.c) and what they have in common.
 *
 * Times of a step: both records must have been seen for as long as an answer without the new one
 * may live in caches before the new key may sign (RFC 7671 section 8.1); the old record must stay
 * until the last message that the old key signed has expired; the old private key until the last
 * message that was sealed to it has.
 */
#ifndef DANEMSG_CLI_ROLLOVER_H
#define DANEMSG_CLI_ROLLOVER_H

#include "cmd_identity_common.h"
#include "own_records.h"
#include "publishing.h"
#include "x509/create.h"
#include "x509/rollover.h"

struct rollover_options {
    const char *key; /* of the new key; NULL: as the current one */
    int64_t days;
    bool request, single_record;
    bool now;
    bool json;
    int64_t lifetime; /* 0: not given */
    const char *state;
    struct dmsg_subject subject;
    struct identity_options identity;
    struct dns_options dns;
    struct publish_options publish;
};

struct rollover_run {
    const char *program;
    const struct rollover_options *options;
    struct dmsg_context context;
    struct dmsg_discovery *discovery;
    struct own_files own;      /* loaded; again after files were moved */
    struct dmsg_folder folder; /* locked */
    struct dmsg_rollover state;
    const struct dmsg_peer *peer; /* what DNS says; NULL before rollover_look */
};

/* ------------------------------------------------------------------------------ rollover_dns.c */

/* Records of keys, in wire form. */
struct record_list {
    struct dmsg_buffer octets[DMSG_PEER_KEYS_MAX];
    size_t count;
};
void record_list_done(struct record_list *list);

/* A fresh validated answer for the own name. DMSG_E_DNS_* when it is none to be believed. */
int rollover_look(struct rollover_run *run, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Does the answer hold every key of a role, and any of them? False without such keys. */
bool rollover_shows_all(const struct rollover_run *run, enum dmsg_key_role role);
bool rollover_shows_any(const struct rollover_run *run, enum dmsg_key_role role);

/* Is the new key's certificate still with the CA, and would its record hold it? */
bool rollover_needs_certificate(const struct rollover_run *run);

/* Appends the records of a role's keys, in the form that the current key's record has in DNS (3 0 0
   without one), the signing key's first. */
int rollover_add_records(struct rollover_run *run, enum dmsg_key_role role,
    struct record_list *list, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Makes the first `wanted` of the list the whole set at the name; the others are ours too. */
int rollover_publish(struct rollover_run *run, const struct record_list *list, size_t wanted,
    struct published *out, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Prints zone lines of records from first on, on stdout. */
int rollover_print_records(const struct rollover_run *run, const struct record_list *list,
    size_t first, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Notes whether DNS shows the next key, and since when it does. */
int rollover_observe(struct rollover_run *run, struct dmsg_error *error) DMSG_MUST_CHECK;

/* ------------------------------------------------------------------------- rollover_times.c */

/* Seconds since 1970. */
int64_t rollover_switch_at(const struct rollover_run *run);
int64_t rollover_delete_at(const struct rollover_run *run);
/* *noted: the store knows of a message that the old key signed. */
int64_t rollover_finish_at(const struct rollover_run *run, bool *noted);

/* "2026-11-23T06:00:00Z (in 3 days)". */
#define WHEN_SIZE 64
void rollover_when(char out[static WHEN_SIZE], const struct rollover_run *run, int64_t at);

/* Says why not yet, and until when: DMSG_E_DNS_TEMPORARY, "not now, try again". */
int rollover_not_yet(
    const struct rollover_run *run, int64_t until, const char *why, struct dmsg_error *error);

/* A clock that is not set says nothing of whether a time has passed. */
bool rollover_is_time(const struct rollover_run *run, int64_t at);

/* -------------------------------------------------------------------------------- the steps */

int rollover_start(struct rollover_run *run, struct dmsg_error *error) DMSG_MUST_CHECK;
int rollover_switch(struct rollover_run *run, struct dmsg_error *error) DMSG_MUST_CHECK;
int rollover_finish(struct rollover_run *run, struct dmsg_error *error) DMSG_MUST_CHECK;
int rollover_abort(struct rollover_run *run, struct dmsg_error *error) DMSG_MUST_CHECK;
int rollover_status(struct rollover_run *run, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Is the next key there that the state speaks of? */
bool rollover_has_next(const struct rollover_run *run);

/* Prints what the next step is, and when. */
int rollover_say_next(const struct rollover_run *run, struct dmsg_error *error) DMSG_MUST_CHECK;

int rollover_save(struct rollover_run *run, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Reads the identity's files (again). */
int rollover_load(struct rollover_run *run, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
