#include "failing_vfs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct failing_file {
    sqlite3_file base;
    char *name; /* NULL: a file without one */
    sqlite3_file *real;
};

static sqlite3_vfs *real_vfs;
static enum fault wanted;
static unsigned countdown;
static bool failed;

static sqlite3_file *real_of(sqlite3_file *file)
{
    return ((struct failing_file *)file)->real;
}

static bool is_lasting(enum fault fault)
{
    return fault == FAULT_FULL || fault == FAULT_READ_ONLY || fault == FAULT_POWER;
}

/* Has the time of this operation come? */
static bool strikes(enum fault fault)
{
    if (fault != wanted || (failed && !is_lasting(fault)))
        return false;
    if (!failed && --countdown > 0)
        return false;
    failed = true;
    return true;
}

void vfs_fail(enum fault fault, unsigned n)
{
    wanted = fault;
    countdown = n;
    failed = false;
}

bool vfs_failed(void)
{
    return failed;
}

/* ----------------------------------------------------------------------- what a sync confirmed */

static void confirmed_name(char *out, size_t size, const char *name)
{
    snprintf(out, size, "%s.confirmed", name);
}

static int copy(const char *from, const char *to)
{
    char octets[65536];
    size_t size;
    FILE *in = fopen(from, "rb");
    FILE *out = fopen(to, "wb");
    int result = out != NULL ? 0 : -1;
    while (in != NULL && out != NULL && (size = fread(octets, 1, sizeof octets, in)) > 0)
        result |= fwrite(octets, 1, size, out) == size ? 0 : -1;
    if (in != NULL)
        fclose(in);
    if (out != NULL && fclose(out) != 0)
        result = -1;
    return result;
}

static int confirm(const struct failing_file *file)
{
    char confirmed[200];
    if (wanted != FAULT_POWER || file->name == NULL)
        return 0;
    confirmed_name(confirmed, sizeof confirmed, file->name);
    return copy(file->name, confirmed);
}

int vfs_power_cut(const char *path, enum vfs_survivor survivor)
{
    static const char *const suffixes[] = {"", "-wal"};
    char name[200], confirmed[220];
    int result = 0;
    for (int i = 0; i < 2; i++) {
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        confirmed_name(confirmed, sizeof confirmed, name);
        bool survives = survivor == (i == 0 ? VFS_DATABASE : VFS_LOG);
        if (!survives)
            result |= copy(confirmed, name); /* nothing confirmed: empty */
        unlink(confirmed);
    }
    snprintf(name, sizeof name, "%s-shm", path);
    unlink(name);
    return result;
}

/* ----------------------------------------------------------------------------------- files */

static int failing_close(sqlite3_file *file)
{
    struct failing_file *own = (struct failing_file *)file;
    int result = own->real->pMethods->xClose(own->real);
    free(own->real);
    free(own->name);
    return result;
}

static int failing_read(sqlite3_file *file, void *out, int size, sqlite3_int64 at)
{
    if (strikes(FAULT_READ))
        return SQLITE_IOERR_READ;
    return real_of(file)->pMethods->xRead(real_of(file), out, size, at);
}

static int failing_write(sqlite3_file *file, const void *data, int size, sqlite3_int64 at)
{
    if (strikes(FAULT_WRITE) || strikes(FAULT_POWER))
        return SQLITE_IOERR_WRITE;
    if (strikes(FAULT_FULL))
        return SQLITE_FULL;
    if (strikes(FAULT_READ_ONLY))
        return SQLITE_READONLY;
    return real_of(file)->pMethods->xWrite(real_of(file), data, size, at);
}

static int failing_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    if (strikes(FAULT_TRUNCATE) || strikes(FAULT_POWER))
        return SQLITE_IOERR_TRUNCATE;
    return real_of(file)->pMethods->xTruncate(real_of(file), size);
}

/* No real one: what would be lost without it is what `confirm` has not seen. */
static int failing_sync(sqlite3_file *file, int flags)
{
    (void)flags;
    if (strikes(FAULT_SYNC) || strikes(FAULT_POWER))
        return SQLITE_IOERR_FSYNC;
    return confirm((struct failing_file *)file) < 0 ? SQLITE_IOERR_FSYNC : SQLITE_OK;
}

static int failing_size(sqlite3_file *file, sqlite3_int64 *out)
{
    return real_of(file)->pMethods->xFileSize(real_of(file), out);
}

static int failing_lock(sqlite3_file *file, int level)
{
    if (strikes(FAULT_LOCK))
        return SQLITE_IOERR_LOCK;
    return real_of(file)->pMethods->xLock(real_of(file), level);
}

static int failing_unlock(sqlite3_file *file, int level)
{
    return real_of(file)->pMethods->xUnlock(real_of(file), level);
}

static int failing_reserved(sqlite3_file *file, int *out)
{
    return real_of(file)->pMethods->xCheckReservedLock(real_of(file), out);
}

static int failing_control(sqlite3_file *file, int operation, void *argument)
{
    return real_of(file)->pMethods->xFileControl(real_of(file), operation, argument);
}

static int failing_sector(sqlite3_file *file)
{
    return real_of(file)->pMethods->xSectorSize(real_of(file));
}

static int failing_device(sqlite3_file *file)
{
    return real_of(file)->pMethods->xDeviceCharacteristics(real_of(file));
}

static int failing_map(sqlite3_file *file, int page, int size, int extend, void volatile **out)
{
    if (strikes(FAULT_SHARED_MAP))
        return SQLITE_IOERR_SHMMAP;
    return real_of(file)->pMethods->xShmMap(real_of(file), page, size, extend, out);
}

static int failing_shared_lock(sqlite3_file *file, int at, int count, int flags)
{
    if ((flags & SQLITE_SHM_LOCK) != 0 && strikes(FAULT_SHARED_LOCK))
        return SQLITE_IOERR_SHMLOCK;
    return real_of(file)->pMethods->xShmLock(real_of(file), at, count, flags);
}

static void failing_barrier(sqlite3_file *file)
{
    real_of(file)->pMethods->xShmBarrier(real_of(file));
}

static int failing_unmap(sqlite3_file *file, int remove_it)
{
    return real_of(file)->pMethods->xShmUnmap(real_of(file), remove_it);
}

static const sqlite3_io_methods failing_methods = {.iVersion = 2,
    .xClose = failing_close,
    .xRead = failing_read,
    .xWrite = failing_write,
    .xTruncate = failing_truncate,
    .xSync = failing_sync,
    .xFileSize = failing_size,
    .xLock = failing_lock,
    .xUnlock = failing_unlock,
    .xCheckReservedLock = failing_reserved,
    .xFileControl = failing_control,
    .xSectorSize = failing_sector,
    .xDeviceCharacteristics = failing_device,
    .xShmMap = failing_map,
    .xShmLock = failing_shared_lock,
    .xShmBarrier = failing_barrier,
    .xShmUnmap = failing_unmap};

/* --------------------------------------------------------------------------------- the VFS */

static int failing_open(
    sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *file, int flags, int *out_flags)
{
    struct failing_file *own = (struct failing_file *)file;
    (void)vfs;
    *own = (struct failing_file){0};
    if (strikes(FAULT_OPEN))
        return SQLITE_CANTOPEN;
    own->real = calloc(1, (size_t)real_vfs->szOsFile);
    own->name = name != NULL ? strdup(name) : NULL;
    if (own->real == NULL)
        abort();
    int result = real_vfs->xOpen(real_vfs, name, own->real, flags, out_flags);
    if (result == SQLITE_OK) {
        own->base.pMethods = &failing_methods;
        return SQLITE_OK;
    }
    free(own->real);
    free(own->name);
    return result;
}

static int failing_delete(sqlite3_vfs *vfs, const char *name, int sync_folder)
{
    (void)vfs;
    (void)sync_folder;
    if (strikes(FAULT_DELETE) || strikes(FAULT_POWER))
        return SQLITE_IOERR_DELETE;
    char confirmed[200];
    confirmed_name(confirmed, sizeof confirmed, name);
    unlink(confirmed);
    return real_vfs->xDelete(real_vfs, name, 0);
}

/* ---------------------------------------------------------------------------------- memory */

static sqlite3_mem_methods real_memory;
static unsigned memory_countdown;

void vfs_fail_memory(unsigned n)
{
    memory_countdown = n;
    failed = false;
}

static bool memory_strikes(void)
{
    if (memory_countdown == 0 || --memory_countdown > 0)
        return false;
    failed = true;
    return true;
}

static void *failing_malloc(int size)
{
    return memory_strikes() ? NULL : real_memory.xMalloc(size);
}

static void *failing_realloc(void *old, int size)
{
    return memory_strikes() ? NULL : real_memory.xRealloc(old, size);
}

void vfs_register(void)
{
    static sqlite3_vfs failing;
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &real_memory);
    sqlite3_mem_methods memory = real_memory;
    memory.xMalloc = failing_malloc;
    memory.xRealloc = failing_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &memory);
    sqlite3_initialize();
    real_vfs = sqlite3_vfs_find(NULL);
    failing = *real_vfs;
    failing.zName = "failing";
    failing.szOsFile = sizeof(struct failing_file);
    failing.pNext = NULL;
    failing.xOpen = failing_open;
    failing.xDelete = failing_delete;
    sqlite3_vfs_register(&failing, 1);
}
