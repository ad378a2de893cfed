/* Is a database sound? Looks only, beside a receiver that runs. */
#ifndef DANEMSG_STORE_CHECK_H
#define DANEMSG_STORE_CHECK_H

#include "danemsg/error.h"

/*
 * SQLite's quick_check: every page and every row, but not whether the indexes agree. 1: all of it
 * was looked at; 0: the time, in milliseconds, was over before that. DMSG_E_LOCAL: it is damaged,
 * or cannot be read, and the text says how.
 */
int dmsg_sqlite_check(const char *path, int timeout, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
