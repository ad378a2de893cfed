/* Have the files of an identity changed? For who runs long and holds what it read of them. */
#ifndef DANEMSG_X509_MARK_H
#define DANEMSG_X509_MARK_H

#include "x509/files.h"

/* A number that is another one, by all likelihood, when any of the name's key or certificate files
   was written, made, renamed or removed. Taken before loading, so that a change meanwhile shows.
   DMSG_E_LOCAL: the folder cannot be read. */
int dmsg_files_mark(uint64_t *out, const char *folder, const struct dmsg_name *name,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
