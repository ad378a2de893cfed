/* danemsg doctor: the state folder, its disk, the database, and the receiver that uses them. */
#include "base/cleanup.h"
#include "base/json.h"
#include "doctor.h"
#include "figures.h"
#include "housekeeping.h"
#include "queueing.h"
#include "store/check.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define MIB (INT64_C(1024) * 1024)

/* Octets under which SQLite soon says that the disk is full: its log takes that before it is
   emptied. */
#define FREE_LEAST (16 * MIB)

/* Seconds: a receiver writes its status every ten. */
#define STATUS_OLD 60

/* Octets of a status file that are read. */
#define STATUS_MAX 16384

/* A file of the identity in the state folder, which is not made; NULL without memory. */
static char *path_of(const struct doctor *doctor, const char *suffix)
{
    char *path = NULL;
    return asprintf(&path, "%s/%s.%s", doctor->state, doctor->name.text, suffix) < 0 ? NULL : path;
}

/* The database's file: STATE/NAME.db or --store sqlite:PATH; NULL: it is no file. */
static char *database_path(const struct doctor *doctor)
{
    char *path = NULL;
    if (doctor->options->store.store == NULL)
        return path_of(doctor, "db");
    if (is_shared_store(&doctor->options->store) ||
        store_path(&path, &doctor->options->store, &doctor->name, NULL) < 0)
        return NULL;
    return path;
}

static bool is_missing(const char *path)
{
    return access(path, F_OK) < 0 && errno == ENOENT;
}

/* The folder, or the first above it that is there; NULL without memory. */
static char *existing_above(const char *folder)
{
    char *path = strdup(folder);
    while (path != NULL && is_missing(path)) {
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            memcpy(path, ".", 2); /* "" is missing too, and has no room: state_path refuses it */
        else
            slash[slash == path] = '\0';
    }
    return path;
}

/* --------------------------------------------------------------------------------------- state */

static void say_not_there(struct doctor *doctor)
{
    char *above DMSG_CLEANUP(dmsg_cleanup_free) = existing_above(doctor->state);
    if (above != NULL && access(above, W_OK | X_OK) < 0)
        doctor_fail(doctor, DMSG_E_LOCAL,
            "run as the receiver's user, or name another with --state",
            "%s is not there, and cannot be made in %s: %s", doctor->state, above, strerror(errno));
    else
        doctor_ok(
            doctor, "%s is not there yet: the first receiver or outbox makes it", doctor->state);
}

void doctor_state(struct doctor *doctor)
{
    struct stat facts;
    if (stat(doctor->state, &facts) < 0 && errno == ENOENT)
        say_not_there(doctor);
    else if (access(doctor->state, R_OK | X_OK) < 0)
        doctor_fail(doctor, DMSG_E_LOCAL, "run as the receiver's user, or chown it",
            "%s cannot be read: %s", doctor->state, strerror(errno));
    else if (!S_ISDIR(facts.st_mode))
        doctor_fail(
            doctor, DMSG_E_LOCAL, "name another with --state", "%s is no folder", doctor->state);
    else if (access(doctor->state, W_OK) < 0)
        doctor_fail(doctor, DMSG_E_LOCAL,
            errno == EROFS ? "mount its file system for writing, or name another with --state"
                           : "run as the receiver's user, or chown it",
            "%s cannot be written: %s", doctor->state, strerror(errno));
    else if ((facts.st_mode & (S_IWGRP | S_IWOTH)) != 0)
        doctor_warn(doctor, DMSG_E_LOCAL, "chmod 700 that folder",
            "others may write to %s (mode %04o)", doctor->state, (unsigned)facts.st_mode & 07777);
    else
        doctor_ok(doctor, "%s can be read and written", doctor->state);
}

/* ---------------------------------------------------------------------------------------- disk */

static int64_t size_of(const char *path)
{
    struct stat facts;
    return path != NULL && stat(path, &facts) == 0 ? (int64_t)facts.st_size : 0;
}

/* What the messages that are kept may still grow to. */
static int64_t still_wanted(const struct doctor *doctor)
{
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = database_path(doctor);
    int64_t wanted = doctor->options->retain_size * MIB - size_of(path);
    return wanted > 0 ? wanted : 0;
}

void doctor_disk(struct doctor *doctor)
{
    char *folder DMSG_CLEANUP(dmsg_cleanup_free) = existing_above(doctor->state);
    struct statvfs facts;
    if (folder == NULL || statvfs(folder, &facts) < 0) {
        doctor_fail(doctor, DMSG_E_LOCAL, NULL, "the disk of %s cannot be asked: %s", doctor->state,
            strerror(errno));
        return;
    }
    int64_t left = (int64_t)facts.f_bavail * (int64_t)facts.f_frsize;
    int64_t wanted = is_shared_store(&doctor->options->store) ? 0 : still_wanted(doctor);
    if (left < FREE_LEAST || (facts.f_files > 0 && facts.f_favail == 0))
        doctor_fail(doctor, DMSG_E_LOCAL, "make room",
            "%" PRId64 " KiB and %" PRIu64 " files are left beside %s: what comes is not accepted "
            "when it is full",
            left / 1024, (uint64_t)facts.f_favail, doctor->state);
    else if (left < wanted)
        doctor_warn(doctor, DMSG_E_LOCAL, "make room, or keep less with --retain-size",
            "%" PRId64 " MiB are left beside %s, and messages that are kept may take %" PRId64
            " more",
            left / MIB, doctor->state, wanted / MIB);
    else
        doctor_ok(doctor, "%" PRId64 " MiB are left beside %s", left / MIB, doctor->state);
}

/* --------------------------------------------------------------------------------------- store */

static void say_depths(struct doctor *doctor, const struct dmsg_store_depths *depths)
{
    if (depths->failed > 0)
        doctor_warn(doctor, DMSG_E_LOCAL,
            "`danemsg inbox list` shows them; mend what --exec runs, and take them with `danemsg "
            "inbox export`",
            "%" PRId64 " messages are put aside, since their delivery failed", depths->failed);
    doctor_ok(doctor,
        "%" PRId64 " to deliver, %" PRId64 " waiting for DNS, %" PRId64 " delivered and kept",
        depths->undelivered, depths->waiting, depths->delivered);
}

static int open_to_look(
    struct doctor *doctor, struct dmsg_store **store, const char *path, struct dmsg_error *error)
{
    if (path == NULL)
        return open_existing_store(
            store, &doctor->context, &doctor->options->store, &doctor->name, false, error);
    return dmsg_store_show_sqlite(store, &doctor->context, path, &doctor->name, error);
}

void doctor_store(struct doctor *doctor)
{
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = database_path(doctor);
    struct dmsg_store_depths depths;
    struct dmsg_store *store = NULL;
    struct dmsg_error why;
    struct stat facts;
    if (path != NULL && is_missing(path)) {
        doctor_ok(doctor, "%s is not there yet: the first receiver or outbox makes it", path);
        return;
    }
    int result = open_to_look(doctor, &store, path, &why);
    if (result == 0)
        result = dmsg_store_depths(store, &depths, &why);
    if (result < 0)
        doctor_fail(doctor, result, NULL, "%s", why.text);
    else if (path != NULL && access(path, W_OK) < 0)
        doctor_fail(doctor, DMSG_E_LOCAL, "run as the receiver's user, or chown it",
            "%s cannot be written: %s", path, strerror(errno));
    else
        say_depths(doctor, &depths);
    if (result == 0 && path != NULL && stat(path, &facts) == 0 && (facts.st_mode & 077) != 0)
        doctor_warn(doctor, DMSG_E_LOCAL, "chmod 600 that file",
            "others may open %s, which has messages in clear (mode %04o)", path,
            (unsigned)facts.st_mode & 07777);
    dmsg_store_close(&store);
}

void doctor_integrity(struct doctor *doctor)
{
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = database_path(doctor);
    struct dmsg_error why;
    if (path == NULL || is_missing(path)) {
        doctor_pass(doctor, "there is no database file");
        return;
    }
    int result = dmsg_sqlite_check(path, (int)doctor->options->wait * 1000, &why);
    if (result < 0)
        doctor_fail(doctor, result,
            "restore it from a backup, or export what can be read (`danemsg inbox export`) and "
            "move "
            "it "
            "away",
            "%s", why.text);
    else if (result == 0)
        doctor_pass(doctor, "%s is too large to be read in %" PRId64 " seconds: give --wait more",
            path, doctor->options->wait);
    else
        doctor_ok(doctor, "every page of %s is sound", path);
}

void doctor_outbox(struct doctor *doctor)
{
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = path_of(doctor, "db");
    struct dmsg_outbox_depths depths;
    struct dmsg_outbox *outbox = NULL;
    struct dmsg_error why;
    if (path == NULL || is_missing(path)) {
        doctor_ok(doctor, "there is none yet");
        return;
    }
    int result = dmsg_outbox_show(&outbox, &doctor->context, path, &doctor->name, &why);
    if (result == 0)
        result = dmsg_outbox_depths(outbox, &depths, &why);
    if (result < 0)
        doctor_fail(doctor, result, NULL, "%s", why.text);
    else if (depths.stuck > 0)
        doctor_warn(doctor, DMSG_E_NO_IDENTITY, "`danemsg outbox list` says why",
            "%" PRId64 " messages cannot be sealed, of %" PRId64, depths.stuck, depths.messages);
    else
        doctor_ok(doctor, "%" PRId64 " messages to send, %" PRId64 " of them not sealed yet",
            depths.messages, depths.open);
    dmsg_outbox_close(&outbox);
}

/* ------------------------------------------------------------------------------------ receiver */

/* Who holds a flock on the file, by /proc/locks, since trying it would take it: 0 nobody, -1 not
   known, else a process (another namespace's has a number that is none: 1 then). */
static long holder_of(const char *path)
{
    DMSG_CLEANUP(dmsg_cleanup_file) FILE *locks = NULL;
    struct stat facts;
    char line[256];
    if (stat(path, &facts) < 0)
        return 0;
    locks = fopen("/proc/locks", "re");
    if (locks == NULL)
        return -1;
    while (fgets(line, sizeof line, locks) != NULL) {
        long pid;
        unsigned major_number, minor_number;
        unsigned long inode;
        if (sscanf(line, "%*u: FLOCK %*s %*s %ld %x:%x:%lu", &pid, &major_number, &minor_number,
                &inode) == 4 &&
            inode == facts.st_ino)
            return pid > 0 ? pid : 1;
    }
    return 0;
}

/* What the receiver says of the broker, and whether it is subscribed there. */
static bool read_status(const char *path, char *broker, size_t size, bool *subscribed)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {.limit = STATUS_MAX};
    struct dmsg_json json;
    struct dmsg_span name, value = {0};
    if (read_input(&text, path, NULL) < 0 || text.size == 0)
        return false;
    dmsg_json_init(&json, text.data, text.size);
    dmsg_json_enter_object(&json);
    while (dmsg_json_next_member(&json, &name)) {
        if (dmsg_span_equal_text(name, "broker"))
            (void)dmsg_json_string(&json, &value);
        else
            dmsg_json_skip(&json);
    }
    bool good = dmsg_json_finish(&json);
    *subscribed = dmsg_span_equal_text(value, FIGURES_SUBSCRIBED);
    snprintf(broker, size, "%.*s", (int)value.size, (const char *)value.data);
    return good;
}

static void say_running(struct doctor *doctor, long pid, const char *status)
{
    char broker[DMSG_ERROR_TEXT] = "";
    struct stat facts;
    bool subscribed = false;
    if (stat(status, &facts) < 0 || !read_status(status, broker, sizeof broker, &subscribed))
        doctor_warn(doctor, DMSG_E_LOCAL, "wait ten seconds; else look at its log",
            "process %ld holds the lock, and has written no status", pid);
    else if (dmsg_context_now(&doctor->context) - facts.st_mtime > STATUS_OLD)
        doctor_warn(doctor, DMSG_E_LOCAL, "look at its log, and start it again",
            "process %ld holds the lock, and has written no status for %lld seconds: it hangs", pid,
            (long long)(dmsg_context_now(&doctor->context) - facts.st_mtime));
    else if (strcmp(broker, FIGURES_NOT_YET) == 0)
        doctor_ok(doctor, "one runs, process %ld, and has not told of its broker yet", pid);
    else if (strcmp(broker, FIGURES_HELD_BACK) == 0)
        doctor_warn(doctor, DMSG_E_LOCAL,
            "look at what it delivers to, and see `danemsg inbox list`",
            "one runs, process %ld, and %s", pid, broker);
    else if (strncmp(broker, FIGURES_WAITS, strlen(FIGURES_WAITS)) == 0)
        doctor_warn(doctor, DMSG_E_LOCAL, "mend that, and it goes on by itself",
            "one runs, process %ld, and %s", pid, broker);
    else if (!subscribed)
        doctor_warn(doctor, DMSG_E_BROKER, "see 'broker'",
            "one runs, process %ld, and is not subscribed: %s", pid, broker);
    else
        doctor_ok(doctor, "one runs, process %ld, and is subscribed", pid);
}

void doctor_receiver(struct doctor *doctor)
{
    char *lock DMSG_CLEANUP(dmsg_cleanup_free) = path_of(doctor, "lock");
    const char *given = doctor->options->status;
    char *status DMSG_CLEANUP(dmsg_cleanup_free) =
        given != NULL ? strdup(given) : path_of(doctor, STATUS_SUFFIX);
    long pid = lock != NULL && status != NULL ? holder_of(lock) : -1;
    if (pid < 0)
        doctor_pass(doctor, "whether one runs cannot be seen here");
    else if (pid == 0)
        doctor_ok(doctor, "none runs with this state folder");
    else
        say_running(doctor, pid, status);
}
