#include "store/check.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"
#include "store/sqlite.h"

#include <string.h>

/* Steps of SQLite's machine between two looks at the clock: some microseconds. */
#define STEPS 1000

/* Text of a finding that is shown. */
#define FINDING_SHOWN 200

static int is_over(void *user)
{
    const int64_t *until = user;
    return dmsg_now_ms() >= *until;
}

static int judge(
    sqlite3 *db, int result, sqlite3_stmt *statement, const char *path, struct dmsg_error *error)
{
    if (result == SQLITE_INTERRUPT)
        return 0;
    if (result == SQLITE_NOMEM)
        return dmsg_fail_memory(error);
    if (result != SQLITE_ROW)
        return dmsg_fail(error, DMSG_E_LOCAL, "%s: %s", path, sqlite3_errmsg(db));
    const char *found = (const char *)sqlite3_column_text(statement, 0);
    if (found != NULL && strcmp(found, "ok") == 0)
        return 1;
    return dmsg_fail(error, DMSG_E_LOCAL, "%s is damaged: %.*s", path, FINDING_SHOWN,
        found != NULL ? found : "it cannot be read");
}

int dmsg_sqlite_check(const char *path, int timeout, struct dmsg_error *error)
{
    int64_t until = dmsg_now_ms() + timeout;
    sqlite3 *db = NULL;
    sqlite3_stmt *statement = NULL;
    DMSG_CLEANUP(dmsg_cleanup_free) char *file = NULL;
    /* As dmsg_sqlite_open: ":memory:" is a file's name. */
    if (asprintf(&file, "%s%s", path[0] == '/' ? "" : "./", path) < 0) {
        file = NULL;
        return dmsg_fail_memory(error);
    }
    int result = sqlite3_open_v2(file, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL);
    if (db == NULL)
        return dmsg_fail_memory(error);
    sqlite3_busy_timeout(db, timeout < DMSG_SQLITE_BUSY ? timeout : DMSG_SQLITE_BUSY);
    sqlite3_progress_handler(db, STEPS, is_over, &until);
    if (result == SQLITE_OK)
        result = sqlite3_prepare_v2(db, "PRAGMA quick_check(1)", -1, &statement, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    int code = judge(db, result, statement, path, error);
    sqlite3_finalize(statement);
    sqlite3_close(db);
    return code;
}
