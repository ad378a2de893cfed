#include "base/fail.h"
#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * PATH-delivered: what was handed out since the last transaction, in a ring of entries. Written
 * without a sync: it is for a process that is killed, and a power cut may undo a relaxed commit
 * too. An entry is true for ever, so that stale ones do no harm, and names the message's id, so
 * that those of another database that was at this path do none either.
 */
struct entry {
    int64_t row; /* 0: none */
    char id[DMSG_MESSAGE_ID_SIZE + 12];
};
_Static_assert(sizeof(struct entry) == 64 && DMSG_MESSAGE_ID_SIZE == 44, "entries have no gaps");

#define FILE_SIZE (DMSG_SQLITE_MARKS * sizeof(struct entry))

static int open_file(const char *database)
{
    struct stat facts;
    char *path = NULL;
    if (asprintf(&path, "%s-delivered", database) < 0)
        return -1;
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    free(path);
    if (fd < 0)
        return -1;
    /* Of one name: whoever had it before may have taken it away since we opened it. */
    if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode) &&
        (facts.st_mode & 077) == 0 && facts.st_nlink == 1)
        return fd;
    close(fd);
    return -1;
}

/* What a process that was killed had handed out. */
static int apply_file(struct dmsg_sqlite *sqlite, int fd, struct dmsg_error *error)
{
    struct entry *entries = calloc(DMSG_SQLITE_MARKS, sizeof *entries);
    if (entries == NULL)
        return dmsg_fail_memory(error);
    ssize_t size = pread(fd, entries, FILE_SIZE, 0);
    size_t count = size > 0 ? (size_t)size / sizeof *entries : 0;
    int code = count > 0 ? dmsg_sqlite_begin(sqlite, false, error) : 0;
    for (size_t i = 0; code == 0 && i < count; i++) {
        entries[i].id[DMSG_MESSAGE_ID_SIZE - 1] = '\0';
        if (entries[i].row > 0)
            code = dmsg_sqlite_do(
                sqlite, DMSG_SQL_MARK_AGAIN, error, "it", entries[i].row, entries[i].id);
    }
    free(entries);
    if (count == 0)
        return code;
    if (code == 0)
        code = dmsg_sqlite_commit(sqlite, error);
    if (code < 0)
        dmsg_sqlite_rollback(sqlite);
    else
        (void)!ftruncate(fd, 0);
    return code;
}

int dmsg_sqlite_marks_open(struct dmsg_sqlite *sqlite, struct dmsg_error *error)
{
    struct dmsg_sqlite_marks *marks = &sqlite->marks;
    if (marks->opened || sqlite->store.in_transaction || sqlite3_db_readonly(sqlite->db, NULL) != 0)
        return 0;
    int fd = open_file(sqlite->path);
    int code = fd >= 0 ? apply_file(sqlite, fd, error) : 0;
    if (code < 0) {
        close(fd);
        return code;
    }
    /* On a disk that fills up later there is still room for marks. */
    if (fd >= 0 && posix_fallocate(fd, 0, FILE_SIZE) != 0) {
        close(fd);
        fd = -1;
    }
    marks->opened = true;
    marks->fd = fd;
    return 0;
}

bool dmsg_sqlite_marks_room(const struct dmsg_sqlite *sqlite)
{
    const struct dmsg_sqlite_marks *marks = &sqlite->marks;
    return marks->opened && marks->fd >= 0 && !marks->failed &&
           marks->next - marks->done < DMSG_SQLITE_MARKS;
}

bool dmsg_sqlite_mark(struct dmsg_sqlite *sqlite, int64_t row)
{
    struct dmsg_sqlite_marks *marks = &sqlite->marks;
    struct entry entry = {.row = row};
    if (row != marks->offered_row || !dmsg_sqlite_marks_room(sqlite))
        return false;
    memcpy(entry.id, marks->offered_id, sizeof marks->offered_id);
    size_t at = marks->next % DMSG_SQLITE_MARKS;
    marks->failed =
        pwrite(marks->fd, &entry, sizeof entry, (off_t)(at * sizeof entry)) != sizeof entry;
    if (marks->failed)
        return false;
    marks->rows[at] = row;
    marks->next++;
    marks->offered_row = 0;
    if (row > marks->highest)
        marks->highest = row;
    return true;
}

bool dmsg_sqlite_marked(const struct dmsg_sqlite *sqlite, int64_t row)
{
    const struct dmsg_sqlite_marks *marks = &sqlite->marks;
    if (row > marks->highest)
        return false;
    for (uint64_t i = marks->done; i < marks->next; i++) {
        if (marks->rows[i % DMSG_SQLITE_MARKS] == row)
            return true;
    }
    return false;
}

int dmsg_sqlite_marks_apply(struct dmsg_sqlite *sqlite, struct dmsg_error *error)
{
    struct dmsg_sqlite_marks *marks = &sqlite->marks;
    int code = 0;
    for (uint64_t i = marks->done; code == 0 && i < marks->next; i++)
        code = dmsg_sqlite_do(
            sqlite, DMSG_SQL_DELIVERED, error, "i", marks->rows[i % DMSG_SQLITE_MARKS]);
    marks->applied = marks->next;
    return code;
}

void dmsg_sqlite_marks_committed(struct dmsg_sqlite *sqlite)
{
    struct dmsg_sqlite_marks *marks = &sqlite->marks;
    marks->done = marks->applied;
    if (marks->done == marks->next)
        marks->highest = 0;
}

int dmsg_sqlite_marks_settle(struct dmsg_sqlite *sqlite, struct dmsg_error *error)
{
    if (sqlite->store.in_transaction || sqlite->marks.next == sqlite->marks.done)
        return 0;
    int code = dmsg_sqlite_begin(sqlite, false, error);
    if (code < 0)
        return code;
    code = dmsg_sqlite_commit(sqlite, error);
    if (code < 0)
        dmsg_sqlite_rollback(sqlite);
    return code;
}

void dmsg_sqlite_marks_close(struct dmsg_sqlite *sqlite)
{
    if (!sqlite->marks.opened || sqlite->marks.fd < 0)
        return;
    char *path = NULL;
    if (dmsg_sqlite_marks_settle(sqlite, NULL) == 0 &&
        asprintf(&path, "%s-delivered", sqlite->path) >= 0) {
        unlink(path); /* while it is locked: nobody else has begun to use it */
        free(path);
    }
    close(sqlite->marks.fd);
}
