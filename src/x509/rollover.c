#include "x509/rollover.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "x509/save.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>

int dmsg_rollover_lock(struct dmsg_folder *out, const char *path, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_folder_done) struct dmsg_folder folder = DMSG_FOLDER_NONE;
    int status = dmsg_folder_open(&folder, path, error);
    if (status < 0)
        return status;
    if (flock(folder.fd, LOCK_EX | LOCK_NB) < 0)
        return errno == EWOULDBLOCK
                   ? dmsg_fail(error, DMSG_E_LOCAL,
                         "another command is changing keys in %s: wait for it", path)
                   : dmsg_fail_errno(error, DMSG_E_LOCAL, "locking %s", path);
    *out = folder;
    folder.fd = -1;
    return 0;
}

/* ------------------------------------------------------------------------------- file by file */

struct mover {
    const struct dmsg_folder *folder;
    const struct dmsg_name *name;
    struct dmsg_error *error;
};

/* 1, 0, or an error; the file's name too. */
static int find(const struct mover *mover, struct dmsg_file which, char file[DMSG_FILE_NAME_SIZE])
{
    int status = dmsg_file_name(file, mover->name, which, mover->error);
    return status < 0 ? status : dmsg_file_present(mover->folder, file, mover->error);
}

/* What was done is on disk before anything else is: at no moment may two changes be on their way
   there, since they could arrive in either order. */
static int settle(const struct mover *mover, int done, const char *what, const char *file)
{
    if (done == 0 && fsync(mover->folder->fd) == 0)
        return 0;
    return dmsg_fail_errno(mover->error, DMSG_E_LOCAL, "%s %s/%s", what, mover->folder->path, file);
}

enum move { MOVE_RENAME, MOVE_LINK };

/* Gives a file to another role if it is there; by link it stays in its own too. A link is not made
   where there is a file: then it was made before an interruption. */
static int move(
    const struct mover *mover, struct dmsg_file from, enum dmsg_key_role role, enum move how)
{
    char source[DMSG_FILE_NAME_SIZE], target[DMSG_FILE_NAME_SIZE];
    struct dmsg_file to = {role, from.encryption, from.kind};
    int fd = mover->folder->fd;
    int there = find(mover, from, source);
    if (there <= 0)
        return there;
    int taken = find(mover, to, target);
    if (taken < 0 || (taken == 1 && how == MOVE_LINK))
        return taken < 0 ? taken : 0;
    int done =
        how == MOVE_LINK ? linkat(fd, source, fd, target, 0) : renameat(fd, source, fd, target);
    return settle(mover, done, "making", target);
}

static int delete_file(const struct mover *mover, struct dmsg_file which)
{
    char file[DMSG_FILE_NAME_SIZE];
    int there = find(mover, which, file);
    if (there <= 0)
        return there;
    return settle(mover, unlinkat(mover->folder->fd, file, 0), "removing", file);
}

/* Certificates and requests, and the key last: no certificate is left without its key. One in
   hardware stays there. */
static int delete_pair(const struct mover *mover, enum dmsg_key_role role, bool encryption)
{
    int status = delete_file(mover, (struct dmsg_file){role, encryption, DMSG_FILE_CERTIFICATE});
    if (status == 0)
        status = delete_file(mover, (struct dmsg_file){role, encryption, DMSG_FILE_REQUEST});
    if (status == 0)
        status = delete_file(mover, (struct dmsg_file){role, encryption, DMSG_FILE_KEY_URI});
    return status == 0 ? delete_file(mover, (struct dmsg_file){role, encryption, DMSG_FILE_KEY})
                       : status;
}

static const enum dmsg_file_kind moved_kinds[] = {
    DMSG_FILE_KEY, DMSG_FILE_KEY_URI, DMSG_FILE_CERTIFICATE, DMSG_FILE_REQUEST};
#define MOVED_COUNT (sizeof moved_kinds / sizeof moved_kinds[0])
#define MOVED_KEYS 2 /* of them */

static int move_pair(const struct mover *mover, bool encryption, enum dmsg_key_role from,
    enum dmsg_key_role to, enum move how)
{
    int status = 0;
    for (size_t i = 0; status == 0 && i < MOVED_COUNT; i++)
        status = move(mover, (struct dmsg_file){from, encryption, moved_kinds[i]}, to, how);
    return status;
}

/* What of the current files gets no successor goes before the new key comes; a copy is old. */
static int clear_unreplaced(const struct mover *mover, bool encryption)
{
    char file[DMSG_FILE_NAME_SIZE];
    int status = 0;
    for (size_t i = MOVED_KEYS; status == 0 && i < MOVED_COUNT; i++) {
        int next = find(mover, (struct dmsg_file){DMSG_KEY_NEXT, encryption, moved_kinds[i]}, file);
        if (next < 0)
            return next;
        if (next == 0)
            status = delete_file(
                mover, (struct dmsg_file){DMSG_KEY_CURRENT, encryption, moved_kinds[i]});
    }
    return status;
}

/* 1, 0, or an error: is there a key file of either kind? */
static int find_key(const struct mover *mover, enum dmsg_key_role role, bool encryption)
{
    char file[DMSG_FILE_NAME_SIZE];
    int found = 0;
    for (size_t i = 0; found == 0 && i < MOVED_KEYS; i++)
        found = find(mover, (struct dmsg_file){role, encryption, moved_kinds[i]}, file);
    return found;
}

/* From a key in a file to one in hardware, or back: the new file did not take the old one's name,
   which is in the old role already. */
static int drop_replaced_key(const struct mover *mover, bool encryption)
{
    char file[DMSG_FILE_NAME_SIZE];
    int status = 0, both = 1;
    for (size_t i = 0; both == 1 && i < MOVED_KEYS; i++)
        both = find(mover, (struct dmsg_file){DMSG_KEY_CURRENT, encryption, moved_kinds[i]}, file);
    if (both <= 0)
        return both;
    for (size_t i = 0; status == 0 && i < MOVED_KEYS; i++) {
        int old = find(mover, (struct dmsg_file){DMSG_KEY_OLD, encryption, moved_kinds[i]}, file);
        if (old == 1)
            status = delete_file(
                mover, (struct dmsg_file){DMSG_KEY_CURRENT, encryption, moved_kinds[i]});
        else if (old < 0)
            status = old;
    }
    return status;
}

/*
 * Current is linked as old, then next is renamed to current, key first: between the two renames the
 * new key stands beside the old certificate, and who loads takes each key's certificate from
 * whatever role it is in. Once the next key has its new place, only the rest is to be renamed.
 * Where one of the two is in hardware, their files have different names and are both there for a
 * moment: the one that is a link of the old role's counts no more.
 */
static int advance_pair(const struct mover *mover, bool encryption)
{
    int next = find_key(mover, DMSG_KEY_NEXT, encryption);
    int status = next < 0 ? next : 0;
    if (next == 1)
        status = move_pair(mover, encryption, DMSG_KEY_CURRENT, DMSG_KEY_OLD, MOVE_LINK);
    if (status == 0 && next == 1)
        status = clear_unreplaced(mover, encryption);
    if (status == 0)
        status = move_pair(mover, encryption, DMSG_KEY_NEXT, DMSG_KEY_CURRENT, MOVE_RENAME);
    return status == 0 ? drop_replaced_key(mover, encryption) : status;
}

/* The new set has no key for encryption alone; the one that there is becomes old. */
static int retire_encryption(const struct mover *mover)
{
    int status = move_pair(mover, true, DMSG_KEY_CURRENT, DMSG_KEY_OLD, MOVE_LINK);
    return status == 0 ? delete_pair(mover, DMSG_KEY_CURRENT, true) : status;
}

/* ------------------------------------------------------------------------------------- steps */

static int refuse_old_files(const struct mover *mover)
{
    struct dmsg_file_list list;
    int status = dmsg_file_list_read(&list, mover->folder->path, mover->name, mover->error);
    if (status < 0)
        return status;
    for (size_t i = 0; i < list.count; i++) {
        if (list.files[i].role == DMSG_KEY_OLD)
            return dmsg_fail(mover->error, DMSG_E_LOCAL,
                "there is an old key of %s in %s already, from a rollover that is not finished",
                mover->name->text, mover->folder->path);
    }
    return 0;
}

static int begin_moving(
    const struct mover *mover, struct dmsg_rollover *rollover, enum dmsg_rollover_phase phase)
{
    if (rollover->phase == phase)
        return 0;
    struct dmsg_rollover begun = *rollover;
    begun.phase = phase;
    int status = refuse_old_files(mover);
    if (status == 0)
        status = dmsg_rollover_write(mover->folder, mover->name, &begun, mover->error);
    if (status == 0)
        *rollover = begun;
    return status;
}

static int note_done(
    const struct mover *mover, struct dmsg_rollover *rollover, const struct dmsg_rollover *done)
{
    int status = dmsg_rollover_write(mover->folder, mover->name, done, mover->error);
    if (status == 0)
        *rollover = *done;
    return status;
}

int dmsg_rollover_switch(const struct dmsg_folder *folder, const struct dmsg_name *name,
    struct dmsg_rollover *rollover, int64_t now, struct dmsg_error *error)
{
    const struct mover mover = {folder, name, error};
    if (rollover->phase == DMSG_ROLLOVER_SWITCHED)
        return 0;
    int status = begin_moving(&mover, rollover, DMSG_ROLLOVER_SWITCHING);
    if (status == 0)
        status = rollover->encryption ? advance_pair(&mover, true) : retire_encryption(&mover);
    if (status == 0)
        status = advance_pair(&mover, false);
    if (status < 0)
        return status;
    struct dmsg_rollover done = *rollover;
    done.phase = DMSG_ROLLOVER_SWITCHED;
    done.switched_at = now;
    return note_done(&mover, rollover, &done);
}

int dmsg_rollover_abort(const struct dmsg_folder *folder, const struct dmsg_name *name,
    struct dmsg_rollover *rollover, int64_t now, struct dmsg_error *error)
{
    const struct mover mover = {folder, name, error};
    if (rollover->phase == DMSG_ROLLOVER_RETRACTED)
        return 0;
    int status = begin_moving(&mover, rollover, DMSG_ROLLOVER_ABORTING);
    if (status == 0)
        status = move_pair(&mover, true, DMSG_KEY_NEXT, DMSG_KEY_OLD, MOVE_RENAME);
    if (status == 0)
        status = move_pair(&mover, false, DMSG_KEY_NEXT, DMSG_KEY_OLD, MOVE_RENAME);
    if (status < 0)
        return status;
    struct dmsg_rollover done = *rollover;
    done.phase = DMSG_ROLLOVER_RETRACTED;
    done.retracted_at = now;
    return note_done(&mover, rollover, &done);
}

int dmsg_rollover_end(const struct dmsg_folder *folder, const struct dmsg_name *name,
    enum dmsg_key_role role, struct dmsg_error *error)
{
    const struct mover mover = {folder, name, error};
    int status = delete_pair(&mover, role, true);
    if (status == 0)
        status = delete_pair(&mover, role, false);
    return status == 0 ? dmsg_rollover_forget(folder, name, error) : status;
}
