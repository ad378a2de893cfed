/* SQLite's files with faults: the Nth operation of a kind fails, or the power goes. */
#ifndef DANEMSG_TESTS_FAILING_VFS_H
#define DANEMSG_TESTS_FAILING_VFS_H

#include <sqlite3.h>
#include <stdbool.h>

enum fault {
    FAULT_NONE,
    FAULT_WRITE,
    FAULT_FULL,      /* that write and every later one: SQLITE_FULL */
    FAULT_READ_ONLY, /* the same: SQLITE_READONLY */
    FAULT_SYNC,
    FAULT_READ,
    FAULT_TRUNCATE,
    FAULT_LOCK,
    FAULT_SHARED_LOCK, /* the write-ahead log's locks */
    FAULT_SHARED_MAP,
    FAULT_OPEN,
    FAULT_DELETE,
    FAULT_POWER, /* everything from that write or sync on; see vfs_power_cut */
    FAULT_COUNT
};

/* Makes it the default VFS; once. Memory that SQLite asks for can fail from then on, too. */
void vfs_register(void);

/* From now on: the Nth operation of that kind, counted from 1. */
void vfs_fail(enum fault fault, unsigned n);
/* The Nth allocation; 0: none. */
void vfs_fail_memory(unsigned n);
/* Did it happen? */
bool vfs_failed(void);

/* What of writes that no sync has confirmed is on disk after a power cut. */
enum vfs_survivor { VFS_NOTHING, VFS_LOG, VFS_DATABASE, VFS_SURVIVOR_COUNT };
/* Makes the files of a database, which nobody has open, what they are then. 0 or -1. */
int vfs_power_cut(const char *path, enum vfs_survivor survivor);

#endif
