/*
 * The root's trust anchors, kept up to date (RFC 5011): a folder with one file, which libunbound
 * writes in the resolver process. What that file needs of its surroundings is seen to here, in the
 * parent: that one process alone keeps it, that it is good before libunbound reads it (which would
 * give up otherwise), and that it is begun anew when it is broken or has been left alone for so
 * long that the root may have changed its keys meanwhile.
 */
#ifndef DANEMSG_DANE_TRUST_H
#define DANEMSG_DANE_TRUST_H

#include "danemsg/error.h"
#include "danemsg/span.h"

#include <stdint.h>

struct dmsg_trust {
    char *folder;               /* NULL: nothing is kept, and nothing read */
    int lock;                   /* of whoever keeps it; -1: it is only read */
    bool keeps;                 /* in the present process */
    int64_t again_at;           /* dmsg_now_ms(): it could not be kept, and is not tried before */
    char note[DMSG_ERROR_TEXT]; /* what a person should know of it; else empty */
    struct dmsg_buffer given;   /* the anchors that the present process got, when it only reads */
    int64_t look_at;            /* dmsg_now_ms(): are they other ones by now? */
};

/* Makes the folder, 0700, and takes its lock; when another process has that, or with read_only, the
   file is only read. DMSG_E_LOCAL: the folder cannot be made or written, and the text says so. */
int dmsg_trust_open(struct dmsg_trust *trust, const char *folder, bool read_only,
    struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_trust_close(struct dmsg_trust *trust);

/* Appends the setup items of the root's anchors for a new process: the file to keep, or what it
   says. failed: the process before this one kept it and ended without an answer; libunbound ends
   when it cannot write, so the file is only read for an hour. */
void dmsg_trust_put(
    struct dmsg_trust *trust, struct dmsg_buffer *body, bool failed, int64_t now_ms);

/* It is time for a new process: one that keeps the file again, or one with other anchors, since
   another process wrote them there. Looks once an hour. */
bool dmsg_trust_wants_process(struct dmsg_trust *trust, int64_t now_ms);

/* Where the process starts, since the file's name is all that it is told; NULL: anywhere. */
const char *dmsg_trust_folder(const struct dmsg_trust *trust);

/* What the file is, for whoever only looks at it. */
struct dmsg_trust_facts {
    bool there;
    const char *useless;  /* why it is not used, "cannot be understood"; NULL: it is */
    int64_t confirmed_at; /* seconds since 1970: when the root's keys were last seen to be those of
                             the file; 0: not known */
};
int dmsg_trust_look(
    struct dmsg_trust_facts *out, const char *folder, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
