#include "base/fail.h"
#include "store/sqlite.h"

#include <stdarg.h>
#include <string.h>

/* ------------------------------------------------------------------------------------ errors */

int dmsg_sqlite_fail(const struct dmsg_sqlite *sqlite, int code, struct dmsg_error *error)
{
    int failed = sqlite3_extended_errcode(sqlite->db);
    int system = sqlite3_system_errno(sqlite->db);
    const char *path = sqlite->path;
    switch (failed & 0xff) {
    case SQLITE_NOMEM:
        return dmsg_fail_memory(error);
    case SQLITE_FULL:
        return dmsg_fail(error, code, "the disk is full: make room in the folder of %s", path);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return dmsg_fail(error, code, "another program has locked %s for %d seconds", path,
            DMSG_SQLITE_BUSY / 1000);
    case SQLITE_READONLY:
        return dmsg_fail(error, code,
            "%s cannot be written: it, its folder, or the file system is read-only", path);
    case SQLITE_CANTOPEN:
        return dmsg_fail(error, code,
            "%s, or its -wal and -shm beside it, cannot be opened: its folder may be gone, without "
            "permission, or on a read-only file system%s%s",
            path, system != 0 ? "; " : "", system != 0 ? strerrordesc_np(system) : "");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return dmsg_fail(error, code,
            "%s is damaged or no database: restore it, or move it and its -wal and -shm away, with "
            "what they hold (%s)",
            path, sqlite3_errmsg(sqlite->db));
    default:
        return dmsg_fail(error, code, "%s: %s (%d)%s%s", path, sqlite3_errmsg(sqlite->db), failed,
            system != 0 ? ", " : "", system != 0 ? strerrordesc_np(system) : "");
    }
}

/* -------------------------------------------------------------------------------- statements */

/* Prepared when it is needed first: a command that only notes a key needs three of them. */
static int prepare(
    struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which, struct dmsg_error *error)
{
    if (sqlite->statements[which] != NULL)
        return 0;
    if (sqlite3_prepare_v3(sqlite->db, dmsg_sqlite_texts[which], -1, SQLITE_PREPARE_PERSISTENT,
            &sqlite->statements[which], NULL) != SQLITE_OK)
        return dmsg_sqlite_fail(sqlite, DMSG_E_INTERNAL, error);
    return 0;
}

/* Without copies: what is bound outlives the statement's run. An empty blob is not NULL. */
static int bind(sqlite3_stmt *statement, int at, char type, va_list *arguments)
{
    if (type == 'i')
        return sqlite3_bind_int64(statement, at, va_arg(*arguments, int64_t));
    if (type == 't')
        return sqlite3_bind_text(
            statement, at, va_arg(*arguments, const char *), -1, SQLITE_STATIC);
    struct dmsg_span span = va_arg(*arguments, struct dmsg_span);
    return sqlite3_bind_blob64(
        statement, at, span.size > 0 ? (const void *)span.data : "", span.size, SQLITE_STATIC);
}

static int after_step(struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which, int result,
    struct dmsg_error *error)
{
    if (result == SQLITE_ROW)
        return 1;
    int code = result == SQLITE_DONE ? 0 : dmsg_sqlite_fail(sqlite, DMSG_E_INTERNAL, error);
    sqlite3_reset(sqlite->statements[which]);
    return code;
}

static int run(struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which,
    struct dmsg_error *error, const char *types, va_list *arguments)
{
    int code = prepare(sqlite, which, error);
    if (code < 0)
        return code;
    sqlite3_stmt *statement = sqlite->statements[which];
    int result = SQLITE_OK;
    for (int i = 0; result == SQLITE_OK && types[i] != '\0'; i++)
        result = bind(statement, i + 1, types[i], arguments);
    if (result == SQLITE_OK)
        result = sqlite3_step(statement);
    return after_step(sqlite, which, result, error);
}

int dmsg_sqlite_step(
    struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which, struct dmsg_error *error)
{
    return after_step(sqlite, which, sqlite3_step(sqlite->statements[which]), error);
}

int dmsg_sqlite_run(struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which,
    struct dmsg_error *error, const char *types, ...)
{
    va_list arguments;
    va_start(arguments, types);
    int code = run(sqlite, which, error, types, &arguments);
    va_end(arguments);
    return code;
}

void dmsg_sqlite_end(struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which)
{
    sqlite3_reset(sqlite->statements[which]);
}

int dmsg_sqlite_do(struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which,
    struct dmsg_error *error, const char *types, ...)
{
    va_list arguments;
    va_start(arguments, types);
    int code = run(sqlite, which, error, types, &arguments);
    va_end(arguments);
    if (code == 1)
        dmsg_sqlite_end(sqlite, which);
    return code < 0 ? code : 0;
}

int dmsg_sqlite_get(struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which, int64_t *out,
    struct dmsg_error *error, const char *types, ...)
{
    va_list arguments;
    va_start(arguments, types);
    int code = run(sqlite, which, error, types, &arguments);
    va_end(arguments);
    if (code != 1)
        return code;
    *out = dmsg_sqlite_number(sqlite, which, 0);
    dmsg_sqlite_end(sqlite, which);
    return 1;
}
