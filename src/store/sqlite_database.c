#include "base/cleanup.h"
#include "base/fail.h"
#include "store/sqlite.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* --------------------------------------------------------------------------------- the file */

/* Made before SQLite sees it, so that at no time anybody else can read it; SQLite gives its -wal
   and -shm the same mode. Never opened and closed here when it is there: that would end the locks
   that this process holds on it (fcntl(2)). */
static int make_file(const char *path, bool show, struct dmsg_error *error)
{
    struct stat facts;
    if (lstat(path, &facts) < 0) {
        int fd DMSG_CLEANUP(dmsg_cleanup_fd) = -1;
        if (errno == ENOENT && show)
            return dmsg_fail(error, DMSG_E_LOCAL,
                "opening the database %s: No such file; the first receiver, or the first message "
                "that is queued, makes it",
                path);
        if (errno == ENOENT)
            fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        /* Another process may just have made it. */
        return fd >= 0 || (errno == EEXIST && !show)
                   ? 0
                   : dmsg_fail_errno(error, DMSG_E_LOCAL, "opening the database %s", path);
    }
    if (!S_ISREG(facts.st_mode))
        return dmsg_fail(error, DMSG_E_LOCAL, "%s is no file that can be a database", path);
    if ((facts.st_mode & 077) != 0 && !show && chmod(path, 0600) < 0)
        return dmsg_fail_errno(
            error, DMSG_E_LOCAL, "%s can be read by others, and changing that failed", path);
    return 0;
}

static int set(struct dmsg_sqlite *sqlite, const char *text, struct dmsg_error *error)
{
    if (sqlite3_exec(sqlite->db, text, NULL, NULL, NULL) != SQLITE_OK)
        return dmsg_sqlite_fail(sqlite, DMSG_E_LOCAL, error);
    return 0;
}

/* One value, before there are tables: as text, "" for none. */
static int ask(
    struct dmsg_sqlite *sqlite, const char *text, char *out, size_t size, struct dmsg_error *error)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(sqlite->db, text, -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    const unsigned char *value = result == SQLITE_ROW ? sqlite3_column_text(statement, 0) : NULL;
    int code = 0;
    if (result != SQLITE_ROW && result != SQLITE_DONE)
        code = dmsg_sqlite_fail(sqlite, DMSG_E_LOCAL, error);
    else
        snprintf(out, size, "%s", value != NULL ? (const char *)value : "");
    sqlite3_finalize(statement);
    return code;
}

static int ask_number(
    struct dmsg_sqlite *sqlite, const char *text, long *out, struct dmsg_error *error)
{
    char value[32];
    int code = ask(sqlite, text, value, sizeof value, error);
    if (code == 0)
        *out = strtol(value, NULL, 10);
    return code;
}

/* ---------------------------------------------------------------------------------- versions */

/* Nobody's yet, or ours and of which version: within one transaction. */
static int judge_version(struct dmsg_sqlite *sqlite, long *version, struct dmsg_error *error)
{
    long application = 0, tables = 0;
    int code = ask_number(sqlite, "PRAGMA application_id", &application, error);
    if (code == 0)
        code = ask_number(sqlite, "PRAGMA user_version", version, error);
    if (code == 0)
        code = ask_number(sqlite, "SELECT count(*) FROM sqlite_schema", &tables, error);
    if (code < 0)
        return code;
    bool is_new = application == 0 && *version == 0 && tables == 0;
    if (!is_new && application != DMSG_SQLITE_APPLICATION)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s is a database of another program: name another file", sqlite->path);
    if (*version > (long)dmsg_sqlite_step_count)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s was written by a newer danemsg (its version is %ld, this one knows %zu): use that "
            "one, or name another file",
            sqlite->path, *version, dmsg_sqlite_step_count);
    return 0;
}

/* Another process may be making it just now: then all of it is seen or nothing. */
static int read_version(struct dmsg_sqlite *sqlite, long *version, struct dmsg_error *error)
{
    if (sqlite3_get_autocommit(sqlite->db) == 0)
        return judge_version(sqlite, version, error);
    int code = set(sqlite, "BEGIN", error);
    if (code < 0)
        return code;
    code = judge_version(sqlite, version, error);
    sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL); /* it has only read */
    return code;
}

static int add_owner(
    struct dmsg_sqlite *sqlite, const struct dmsg_name *recipient, struct dmsg_error *error)
{
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(
        sqlite->db, "INSERT INTO meta VALUES (1, ?1, 0, 0, 0, 0, 0)", -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_bind_text(statement, 1, recipient->text, -1, SQLITE_STATIC);
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    int code = result == SQLITE_DONE ? 0 : dmsg_sqlite_fail(sqlite, DMSG_E_LOCAL, error);
    sqlite3_finalize(statement);
    return code;
}

/* In one transaction, so that a process which starts at the same moment finds all of it or nothing.
 */
static int migrate(
    struct dmsg_sqlite *sqlite, const struct dmsg_name *recipient, struct dmsg_error *error)
{
    char text[80];
    long version = 0;
    int code = read_version(sqlite, &version, error);
    bool is_new = version == 0;
    for (; code == 0 && version < (long)dmsg_sqlite_step_count; version++)
        code = set(sqlite, dmsg_sqlite_steps[version], error);
    if (code == 0 && is_new)
        code = add_owner(sqlite, recipient, error);
    snprintf(text, sizeof text, "PRAGMA application_id = %d; PRAGMA user_version = %ld",
        DMSG_SQLITE_APPLICATION, version);
    if (code == 0)
        code = set(sqlite, text, error);
    return code;
}

static int update(
    struct dmsg_sqlite *sqlite, const struct dmsg_name *recipient, struct dmsg_error *error)
{
    long version = 0;
    int code = read_version(sqlite, &version, error);
    if (code < 0 || version == (long)dmsg_sqlite_step_count)
        return code;
    code = set(sqlite, "BEGIN IMMEDIATE", error);
    if (code < 0)
        return code;
    code = migrate(sqlite, recipient, error);
    if (code == 0)
        code = set(sqlite, "COMMIT", error);
    if (code < 0)
        sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
    return code;
}

/* ----------------------------------------------------------------------------------- opening */

/* Milliseconds. */
#define WAL_PAUSE 20

/* Of the connection: deleted plaintext is overwritten, nothing is put into files elsewhere, and the
   schema cannot call functions. The log is cut to this size when it was emptied. */
#define SETTINGS                                                                                   \
    "PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON; PRAGMA temp_store = MEMORY;"             \
    " PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA synchronous = FULL;"        \
    " PRAGMA journal_size_limit = 16777216"

/* Two processes that do this to a new database at the same moment: SQLite lets neither wait for the
   other (SQLITE_BUSY at once), so that it is tried again for as long as it would have waited. */
static int enter_wal(struct dmsg_sqlite *sqlite, char *mode, size_t size, struct dmsg_error *error)
{
    for (int waited = 0;; waited += WAL_PAUSE) {
        int code = ask(sqlite, "PRAGMA journal_mode = WAL", mode, size, error);
        bool busy = code < 0 && (sqlite3_errcode(sqlite->db) & 0xff) == SQLITE_BUSY;
        if (!busy || waited >= DMSG_SQLITE_BUSY)
            return code;
        sqlite3_sleep(WAL_PAUSE);
    }
}

static int settle(
    struct dmsg_sqlite *sqlite, const struct dmsg_name *recipient, struct dmsg_error *error)
{
    char mode[16];
    long version = 0;
    /* Before anything is changed: it may be another program's. */
    int code = read_version(sqlite, &version, error);
    if (code == 0)
        code = set(sqlite, SETTINGS, error);
    if (code == 0)
        code = enter_wal(sqlite, mode, sizeof mode, error);
    if (code == 0 && strcmp(mode, "wal") != 0)
        code = dmsg_fail(error, DMSG_E_LOCAL,
            "%s: its file system lets SQLite have no write-ahead log (mode %s): name a file on "
            "another one",
            sqlite->path, mode);
    if (code == 0)
        code = update(sqlite, recipient, error);
    return code;
}

static int settle_for_reading(struct dmsg_sqlite *sqlite, struct dmsg_error *error)
{
    long version = 0;
    int code = read_version(sqlite, &version, error);
    if (code == 0 && version < (long)dmsg_sqlite_step_count)
        code = dmsg_fail(error, DMSG_E_LOCAL,
            "%s is of an older version of danemsg: start a receiver once, which brings it up to "
            "date",
            sqlite->path);
    return code;
}

static int check_owner(
    struct dmsg_sqlite *sqlite, const struct dmsg_name *recipient, struct dmsg_error *error)
{
    char owner[DMSG_NAME_TEXT];
    int code = ask(sqlite, "SELECT recipient FROM meta", owner, sizeof owner, error);
    if (code < 0 || recipient == NULL || strcmp(owner, recipient->text) == 0)
        return code;
    return dmsg_fail(error, DMSG_E_LOCAL,
        "%s holds the messages of %s, not of %s: name another file", sqlite->path,
        owner[0] != '\0' ? owner : "nobody", recipient->text);
}

/* What is wrong with a damaged file, for whoever has to mend it. */
static void add_findings(struct dmsg_sqlite *sqlite, struct dmsg_error *error)
{
    char findings[160];
    int failed = sqlite3_errcode(sqlite->db) & 0xff;
    if (error == NULL || (failed != SQLITE_CORRUPT && failed != SQLITE_NOTADB) ||
        ask(sqlite, "PRAGMA quick_check(1)", findings, sizeof findings, NULL) < 0)
        return;
    struct dmsg_error first = *error;
    dmsg_fail(error, first.code, "%s; %s", first.text, findings);
}

int dmsg_sqlite_open(struct dmsg_sqlite *sqlite, const char *path,
    const struct dmsg_name *recipient, bool show, struct dmsg_error *error)
{
    /* A name that SQLite would take for something else, such as ":memory:", is a file's here. */
    if (asprintf(&sqlite->path, "%s%s", path[0] == '/' ? "" : "./", path) < 0) {
        sqlite->path = NULL;
        return dmsg_fail_memory(error);
    }
    int code = make_file(sqlite->path, show, error);
    if (code < 0)
        return code;
    int flags = (show ? SQLITE_OPEN_READONLY : SQLITE_OPEN_READWRITE) | SQLITE_OPEN_NOMUTEX;
    int result = sqlite3_open_v2(sqlite->path, &sqlite->db, flags, NULL);
    if (sqlite->db == NULL)
        return dmsg_fail_memory(error);
    if (result != SQLITE_OK)
        return dmsg_sqlite_fail(sqlite, DMSG_E_LOCAL, error);
    sqlite3_busy_timeout(sqlite->db, DMSG_SQLITE_BUSY);
    code = show ? settle_for_reading(sqlite, error) : settle(sqlite, recipient, error);
    if (code == 0)
        code = check_owner(sqlite, recipient, error);
    if (code < 0)
        add_findings(sqlite, error);
    return code;
}

void dmsg_sqlite_close(struct dmsg_sqlite *sqlite)
{
    dmsg_sqlite_marks_close(sqlite);
    for (size_t i = 0; i < DMSG_SQL_COUNT; i++)
        sqlite3_finalize(sqlite->statements[i]);
    sqlite3_close(sqlite->db);
    dmsg_buffer_done(&sqlite->shown);
    free(sqlite->path);
    free(sqlite);
}

/* ------------------------------------------------------------------------------ transactions */

static void forget_transaction(struct dmsg_sqlite *sqlite)
{
    sqlite->sender.name.size = 0;
    sqlite->meta_changed = false;
    sqlite->ids = 0;
}

/* Without the wait for the disk where a power cut may undo what is committed; a killed process
   loses nothing either way. */
static int set_durable(struct dmsg_sqlite *sqlite, bool durable, struct dmsg_error *error)
{
    if (sqlite->relaxed != durable)
        return 0;
    const char *text = durable ? "PRAGMA synchronous = FULL" : "PRAGMA synchronous = NORMAL";
    if (sqlite3_exec(sqlite->db, text, NULL, NULL, NULL) != SQLITE_OK)
        return dmsg_sqlite_fail(sqlite, DMSG_E_INTERNAL, error);
    sqlite->relaxed = !durable;
    return 0;
}

int dmsg_sqlite_read_meta(
    struct dmsg_sqlite *sqlite, struct dmsg_sqlite_meta *out, struct dmsg_error *error)
{
    int code = dmsg_sqlite_run(sqlite, DMSG_SQL_META, error, "");
    if (code != 1)
        return code < 0 ? code
                        : dmsg_fail(error, DMSG_E_INTERNAL, "%s has lost a row", sqlite->path);
    *out = (struct dmsg_sqlite_meta){.last_row = dmsg_sqlite_number(sqlite, DMSG_SQL_META, 0),
        .newest_issued = dmsg_sqlite_number(sqlite, DMSG_SQL_META, 1),
        .purged_until = dmsg_sqlite_number(sqlite, DMSG_SQL_META, 2),
        .kept = dmsg_sqlite_number(sqlite, DMSG_SQL_META, 3),
        .octets = dmsg_sqlite_number(sqlite, DMSG_SQL_META, 4)};
    dmsg_sqlite_end(sqlite, DMSG_SQL_META);
    return 0;
}

int dmsg_sqlite_begin(struct dmsg_sqlite *sqlite, bool durable, struct dmsg_error *error)
{
    int code = set_durable(sqlite, durable, error);
    if (code == 0)
        code = dmsg_sqlite_do(sqlite, DMSG_SQL_BEGIN, error, "");
    if (code < 0)
        return code;
    forget_transaction(sqlite);
    code = dmsg_sqlite_read_meta(sqlite, &sqlite->meta, error);
    sqlite->committed_row = sqlite->meta.last_row;
    if (code == 0)
        code = dmsg_sqlite_marks_apply(sqlite, error);
    if (code < 0)
        dmsg_sqlite_rollback(sqlite);
    return code;
}

int dmsg_sqlite_commit(struct dmsg_sqlite *sqlite, struct dmsg_error *error)
{
    const struct dmsg_sqlite_meta *meta = &sqlite->meta;
    int code = 0;
    if (sqlite->ids != 0)
        code = dmsg_sqlite_do(
            sqlite, DMSG_SQL_COUNT_IDS, error, "ii", sqlite->counted_zone, sqlite->ids);
    if (code == 0 && sqlite->meta_changed)
        code = dmsg_sqlite_do(sqlite, DMSG_SQL_SAVE_META, error, "iiiii", meta->last_row,
            meta->newest_issued, meta->purged_until, meta->kept, meta->octets);
    if (code == 0)
        code = dmsg_sqlite_do(sqlite, DMSG_SQL_COMMIT, error, "");
    if (code < 0)
        return code;
    forget_transaction(sqlite);
    dmsg_sqlite_marks_committed(sqlite);
    return 0;
}

/* SQLite may have rolled back by itself: when the disk is full, for instance. */
void dmsg_sqlite_rollback(struct dmsg_sqlite *sqlite)
{
    forget_transaction(sqlite);
    if (!sqlite3_get_autocommit(sqlite->db) &&
        dmsg_sqlite_do(sqlite, DMSG_SQL_ROLLBACK, NULL, "") < 0)
        sqlite3_exec(sqlite->db, "ROLLBACK", NULL, NULL, NULL);
}
