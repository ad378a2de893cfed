/*
 * A rollover of an identity's keys as its files have it: NAME.next.*, NAME.*, NAME.old.*, and
 * NAME.rollover, which says how far it has come.
 *
 *     dmsg_rollover_lock(&folder, path, &error);
 *     if (dmsg_rollover_read(&rollover, &folder, &name, &error) == 1)
 *         dmsg_rollover_switch(&folder, &name, &rollover, now, &error);
 *
 * Every file operation is on disk before the next begins, and after each of them the identity can
 * be loaded with every key in some role and its certificate. What was interrupted is completed by
 * calling the same function again. When a step may be taken is the caller's to decide (RFC 7671
 * section 8.1).
 */
#ifndef DANEMSG_X509_ROLLOVER_H
#define DANEMSG_X509_ROLLOVER_H

#include "x509/files.h"

/* Phases, in their order, and their words in the file. */
#define DMSG_ROLLOVER_PHASES(X)                                                                    \
    X(NONE, "none")                                                                                \
    X(MADE, "made")           /* the next key is there; its record is not seen in DNS */           \
    X(STARTED, "started")     /* both are seen in DNS */                                           \
    X(ABORTING, "aborting")   /* next is becoming old: to be completed */                          \
    X(SWITCHING, "switching") /* next is becoming current, current old: to be completed */         \
    X(SWITCHED, "switched")   /* the new key signs; the old record is in DNS */                    \
    X(RETRACTED, "retracted") /* the old record is gone, its private key is kept for a time */

enum dmsg_rollover_phase {
#define DMSG_ROLLOVER_PHASE(name, word) DMSG_ROLLOVER_##name,
    DMSG_ROLLOVER_PHASES(DMSG_ROLLOVER_PHASE)
#undef DMSG_ROLLOVER_PHASE
        DMSG_ROLLOVER_PHASE_COUNT
};

const char *dmsg_rollover_word(enum dmsg_rollover_phase phase);

struct dmsg_rollover {
    enum dmsg_rollover_phase phase;
    bool single_record;             /* never two records in DNS */
    bool encryption;                /* the new set has a NAME.enc.* */
    bool offered;                   /* the next key's record may have been in DNS */
    char old_kid[DMSG_KEY_ID_SIZE]; /* of NAME.key.pem before the switch */
    char new_kid[DMSG_KEY_ID_SIZE]; /* and of NAME.next.key.pem */
    /* Seconds since 1970; 0: not yet. */
    int64_t made_at, seen_at, switched_at, retracted_at;
    int64_t ttl; /* seconds that an answer of before the latest change may live in caches */
};

/* Opens the folder for one command that changes keys at a time. DMSG_E_LOCAL: another is at work.
   Released by dmsg_folder_done. */
int dmsg_rollover_lock(
    struct dmsg_folder *out, const char *path, struct dmsg_error *error) DMSG_MUST_CHECK;

/* 1 and how far it has come, 0 when there is no rollover. DMSG_E_LOCAL: NAME.rollover is not as
   this version writes it. */
int dmsg_rollover_read(struct dmsg_rollover *out, const struct dmsg_folder *folder,
    const struct dmsg_name *name, struct dmsg_error *error) DMSG_MUST_CHECK;
int dmsg_rollover_write(const struct dmsg_folder *folder, const struct dmsg_name *name,
    const struct dmsg_rollover *rollover, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Removes NAME.rollover. */
int dmsg_rollover_forget(const struct dmsg_folder *folder, const struct dmsg_name *name,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Next becomes current and current old; rollover is SWITCHED at `now` then, on disk too. There must
   be no old files when it begins. Completes an interrupted one. */
int dmsg_rollover_switch(const struct dmsg_folder *folder, const struct dmsg_name *name,
    struct dmsg_rollover *rollover, int64_t now, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Next becomes old without having been current: RETRACTED at `now`. Completes an interrupted one.
 */
int dmsg_rollover_abort(const struct dmsg_folder *folder, const struct dmsg_name *name,
    struct dmsg_rollover *rollover, int64_t now, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Deletes the files of a role (next or old), the keys last, and NAME.rollover. A key in hardware
   stays there. */
int dmsg_rollover_end(const struct dmsg_folder *folder, const struct dmsg_name *name,
    enum dmsg_key_role role, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
