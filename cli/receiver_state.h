/* What a receiver keeps beside its database: a lock, so that there is one receiver per identity
   and state folder, and the client id of its session at the broker. */
#ifndef DANEMSG_CLI_RECEIVER_STATE_H
#define DANEMSG_CLI_RECEIVER_STATE_H

#include "common.h"

/* base64url of 96 random bits: who can guess a client id can take its session over. "dm" before
   it makes 18 characters; MQTT 3.1.1 section 3.1.3.1 promises 23. */
#define CLIENT_ID_OCTETS 12
#define CLIENT_ID_SIZE 24

struct receiver_state {
    int lock_fd; /* 0 until opened; held until done */
    char client_id[CLIENT_ID_SIZE];
    bool known; /* the client id was there: a receiver has run before */
};

/* Makes the folder, takes STATE/NAME.lock, reads or makes STATE/NAME.client-id. DMSG_E_LOCAL. */
int receiver_state_open(struct receiver_state *out, const char *folder,
    const struct dmsg_name *name, struct dmsg_error *error) DMSG_MUST_CHECK;
void receiver_state_done(struct receiver_state *state);

/* Takes a lock file, made if it is not there, for as long as the descriptor is open. DMSG_E_LOCAL:
   another holds it, `who` in the words: "receiver". */
int state_lock(
    int *out, const char *path, const char *who, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
