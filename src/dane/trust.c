#include "dane/trust.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/frame.h"
#include "dane/setup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>

#define FILE_NAME "root.key"
#define FILE_MAX (64 * 1024)

/* A new key of the root is announced for 30 days at least (RFC 5011 section 2.4.1), so far for
   months; who has not looked for longer than this may have missed all of it. */
#define STALE_AFTER (90 * 86400)

/* After a process that could not keep the file; and between two looks at what another wrote. */
#define PAUSE_MS (3600 * 1000)

static int path_of(char **out, const char *folder)
{
    return asprintf(out, "%s/" FILE_NAME, folder) < 0 ? -1 : 0;
}

/* ------------------------------------------------------------------------------ open and close */

static int make_folder(const char *folder, struct dmsg_error *error)
{
    if (mkdir(folder, 0700) == 0 || errno == EEXIST)
        return 0;
    return dmsg_fail_errno(error, DMSG_E_LOCAL,
        "making the folder %s, in which the root's trust anchors are kept up to date", folder);
}

/* Takes the lock, or leaves it to whoever has it. */
static int take_lock(struct dmsg_trust *trust, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_free) char *path = NULL;
    if (asprintf(&path, "%s/lock", trust->folder) < 0)
        return dmsg_fail_memory(error);
    DMSG_CLEANUP(dmsg_cleanup_fd) int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0 || access(trust->folder, W_OK | X_OK) < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL,
            "writing to %s, in which the root's trust anchors are kept up to date (make it "
            "writable, or remove it)",
            trust->folder);
    if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
        trust->lock = fd;
        fd = -1;
    }
    return 0;
}

int dmsg_trust_open(
    struct dmsg_trust *trust, const char *folder, bool read_only, struct dmsg_error *error)
{
    *trust = (struct dmsg_trust){.lock = -1};
    if (folder == NULL)
        return 0;
    trust->folder = strdup(folder);
    if (trust->folder == NULL)
        return dmsg_fail_memory(error);
    if (read_only)
        return 0;
    int result = make_folder(folder, error);
    return result < 0 ? result : take_lock(trust, error);
}

void dmsg_trust_close(struct dmsg_trust *trust)
{
    if (trust->folder != NULL && trust->lock >= 0)
        close(trust->lock);
    dmsg_buffer_done(&trust->given);
    free(trust->folder);
    *trust = (struct dmsg_trust){.lock = -1};
}

/* ------------------------------------------------------------------------------------ the file */

/* Seconds since 1970, of the line that libunbound writes; 0: there is none. */
static int64_t last_success(struct dmsg_span text)
{
    static const char mark[] = ";;last_success: ";
    const uint8_t *found = memmem(text.data, text.size, mark, sizeof mark - 1);
    int64_t value = 0;
    if (found == NULL)
        return 0;
    const uint8_t *end = text.data + text.size;
    found += sizeof mark - 1;
    for (int digits = 0; digits < 15 && found < end && *found >= '0' && *found <= '9'; digits++)
        value = value * 10 + (*found++ - '0');
    return value;
}

/* Why the file is of no use, or NULL. *confirmed_at: when the root's keys were last seen to be
   those of the file. */
static const char *judge_file(const char *path, int64_t *confirmed_at)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer anchors = {0}, text = {.limit = FILE_MAX};
    struct dmsg_error why;
    if (dmsg_setup_put_anchors(&anchors, path, &why) < 0)
        return "cannot be understood";
    DMSG_CLEANUP(dmsg_cleanup_file) FILE *file = fopen(path, "re");
    uint8_t *to = dmsg_buffer_reserve(&text, FILE_MAX);
    if (file == NULL || to == NULL)
        return "cannot be read";
    text.size = fread(to, 1, FILE_MAX, file);
    int64_t seen = last_success(dmsg_buffer_span(&text));
    if (seen == 0) { /* not looked at by libunbound yet: as old as it is */
        struct stat status;
        seen = fstat(fileno(file), &status) == 0 ? status.st_mtime : 0;
    }
    *confirmed_at = seen;
    return time(NULL) - seen > STALE_AFTER ? "has not been confirmed for 90 days" : NULL;
}

/* The anchors that are known without the file, one a line. */
static int write_start(const char *path, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer setup = {0};
    DMSG_CLEANUP(dmsg_cleanup_free) char *fresh = NULL;
    struct dmsg_setup_item item;
    int result = dmsg_setup_put_anchors(&setup, NULL, error);
    if (result < 0 || setup.failed || asprintf(&fresh, "%s.new", path) < 0)
        return result < 0 ? result : dmsg_fail_memory(error);
    int fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    FILE *file = fd >= 0 ? fdopen(fd, "w") : NULL;
    if (file == NULL)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "writing %s", fresh);
    struct dmsg_span rest = dmsg_buffer_span(&setup);
    while (dmsg_setup_take(&item, &rest, NULL) == 1)
        fprintf(file, "%s\n", item.text);
    bool written = fflush(file) == 0 && fsync(fd) == 0;
    written = fclose(file) == 0 && written;
    if (!written || rename(fresh, path) < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "writing %s", path);
    return 0;
}

/* The file as libunbound may have it: good, or begun anew. False: it cannot be kept. */
static bool make_good(struct dmsg_trust *trust, const char *path)
{
    struct dmsg_error error;
    int64_t confirmed_at;
    bool there = access(path, F_OK) == 0;
    const char *why = there ? judge_file(path, &confirmed_at) : "is not there yet";
    if (why == NULL)
        return true;
    if (write_start(path, &error) < 0) {
        snprintf(trust->note, sizeof trust->note,
            "the root's trust anchors are not kept up to date: %.300s", error.text);
        return false;
    }
    if (there)
        snprintf(trust->note, sizeof trust->note,
            "the root's trust anchors in %.200s, a file that %s, were begun anew with those that "
            "this system knows",
            path, why);
    return true;
}

/* ----------------------------------------------------------------------------------- the setup */

/* The file is read, if it is good; else the anchors are those that are known without it. */
static void put_read(const struct dmsg_trust *trust, struct dmsg_buffer *anchors)
{
    DMSG_CLEANUP(dmsg_cleanup_free) char *path = NULL;
    int64_t confirmed_at;
    bool named = trust->folder != NULL && path_of(&path, trust->folder) == 0;
    if (!named || judge_file(path, &confirmed_at) != NULL ||
        dmsg_setup_put_anchors(anchors, path, NULL) < 0)
        (void)!dmsg_setup_put_anchors(anchors, NULL, NULL);
}

static bool may_keep(struct dmsg_trust *trust, int64_t now_ms)
{
    DMSG_CLEANUP(dmsg_cleanup_free) char *path = NULL;
    if (trust->lock < 0 || now_ms < trust->again_at)
        return false;
    if (path_of(&path, trust->folder) == 0 && make_good(trust, path))
        return true;
    trust->again_at = now_ms + PAUSE_MS;
    return false;
}

void dmsg_trust_put(struct dmsg_trust *trust, struct dmsg_buffer *body, bool failed, int64_t now_ms)
{
    if (failed && trust->keeps) {
        trust->again_at = now_ms + PAUSE_MS;
        snprintf(trust->note, sizeof trust->note,
            "the root's trust anchors in %.200s are not kept up to date for an hour: the process "
            "that did it ended; can the file be written, and is there room on the disk?",
            trust->folder);
    }
    trust->keeps = may_keep(trust, now_ms);
    trust->look_at = now_ms + PAUSE_MS;
    dmsg_buffer_reset(&trust->given);
    if (!trust->keeps)
        put_read(trust, &trust->given);
    if (trust->keeps)
        dmsg_setup_put(body, DMSG_SETUP_KEEP, FILE_NAME);
    else
        dmsg_buffer_put_span(body, dmsg_buffer_span(&trust->given));
}

bool dmsg_trust_wants_process(struct dmsg_trust *trust, int64_t now_ms)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer anchors = {0};
    if (trust->folder == NULL || trust->keeps || now_ms < trust->look_at)
        return false;
    trust->look_at = now_ms + PAUSE_MS;
    if (trust->lock >= 0)
        return now_ms >= trust->again_at;
    put_read(trust, &anchors);
    return !dmsg_span_equal(dmsg_buffer_span(&anchors), dmsg_buffer_span(&trust->given));
}

int dmsg_trust_look(struct dmsg_trust_facts *out, const char *folder, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_cleanup_free) char *path = NULL;
    struct dmsg_trust_facts facts = {0};
    if (path_of(&path, folder) < 0)
        return dmsg_fail_memory(error);
    facts.there = access(path, F_OK) == 0;
    facts.useless = facts.there ? judge_file(path, &facts.confirmed_at) : NULL;
    *out = facts;
    return 0;
}

const char *dmsg_trust_folder(const struct dmsg_trust *trust)
{
    bool there = trust->lock >= 0 && access(trust->folder, X_OK) == 0;
    return there ? trust->folder : NULL;
}
