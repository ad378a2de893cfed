#include "x509/mark.h"

#include "base/cleanup.h"
#include "base/fail.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

/* FNV-1a: who can choose the times and inodes of our key files needs no collision. */
static void mix(uint64_t *mark, uint64_t value)
{
    for (unsigned i = 0; i < sizeof value; i++)
        *mark = (*mark ^ (uint8_t)(value >> (8 * i))) * 1099511628211u;
}

static void mix_time(uint64_t *mark, struct timespec when)
{
    mix(mark, (uint64_t)when.tv_sec);
    mix(mark, (uint64_t)when.tv_nsec);
}

static int mix_file(uint64_t *mark, const struct dmsg_folder *folder, const char *file,
    unsigned index, struct dmsg_error *error)
{
    struct stat status;
    if (fstatat(folder->fd, file, &status, 0) < 0) {
        if (errno != ENOENT)
            return dmsg_fail_errno(error, DMSG_E_LOCAL, "looking for %s/%s", folder->path, file);
        return 0;
    }
    mix(mark, index);
    mix(mark, status.st_ino);
    mix(mark, (uint64_t)status.st_size);
    mix_time(mark, status.st_mtim);
    mix_time(mark, status.st_ctim);
    return 0;
}

int dmsg_files_mark(
    uint64_t *out, const char *path, const struct dmsg_name *name, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_folder_done) struct dmsg_folder folder = DMSG_FOLDER_NONE;
    uint64_t mark = 14695981039346656037u;
    char file[DMSG_FILE_NAME_SIZE];
    int status = dmsg_folder_open(&folder, path, error);
    for (unsigned i = 0; status == 0 && i < DMSG_FILES_MAX; i++) {
        struct dmsg_file which = {(enum dmsg_key_role)(i / (2 * DMSG_FILE_KINDS)),
            i / DMSG_FILE_KINDS % 2 == 1, (enum dmsg_file_kind)(i % DMSG_FILE_KINDS)};
        status = dmsg_file_name(file, name, which, error);
        if (status == 0)
            status = mix_file(&mark, &folder, file, i, error);
    }
    if (status == 0)
        *out = mark;
    return status;
}
