#include "base/fail.h"
#include "store/sqlite.h"

#include <string.h>

const char *dmsg_sqlite_text(
    const struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which, int column)
{
    const unsigned char *text = sqlite3_column_text(sqlite->statements[which], column);
    return text != NULL ? (const char *)text : "";
}

static struct dmsg_span blob_at(
    const struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which, int column)
{
    sqlite3_stmt *statement = sqlite->statements[which];
    const uint8_t *data = sqlite3_column_blob(statement, column);
    return (struct dmsg_span){data, (size_t)sqlite3_column_bytes(statement, column)};
}

void dmsg_sqlite_read_name(struct dmsg_name *out, const char *text)
{
    *out = (struct dmsg_name){0};
    strncpy(out->text, text, sizeof out->text - 1);
    out->size = (uint8_t)strlen(out->text);
}

int dmsg_sqlite_show(struct dmsg_sqlite *sqlite, enum dmsg_sqlite_statement which,
    struct dmsg_record *out, struct dmsg_error *error)
{
    struct dmsg_span topic = blob_at(sqlite, which, 9), content = blob_at(sqlite, which, 10);
    *out = (struct dmsg_record){.row = dmsg_sqlite_number(sqlite, which, 0),
        .format = dmsg_sqlite_number(sqlite, which, 1) == DMSG_FORMAT_POC ? DMSG_FORMAT_POC
                                                                          : DMSG_FORMAT_V1,
        .issued_at = dmsg_sqlite_number(sqlite, which, 5),
        .expires_at = dmsg_sqlite_number(sqlite, which, 6),
        .received_at = dmsg_sqlite_number(sqlite, which, 7),
        .delivery = (enum dmsg_delivery)dmsg_sqlite_number(sqlite, which, 11),
        .failures = dmsg_sqlite_number(sqlite, which, 12),
        .stale = dmsg_sqlite_number(sqlite, which, 13) != 0};
    dmsg_sqlite_read_name(&out->sender, dmsg_sqlite_text(sqlite, which, 2));
    strncpy(out->id, dmsg_sqlite_text(sqlite, which, 3), sizeof out->id - 1);
    strncpy(out->kid, dmsg_sqlite_text(sqlite, which, 4), sizeof out->kid - 1);
    strncpy(out->content_type, dmsg_sqlite_text(sqlite, which, 8), sizeof out->content_type - 1);
    dmsg_buffer_reset(&sqlite->shown);
    dmsg_buffer_put_span(&sqlite->shown, topic);
    dmsg_buffer_put_span(&sqlite->shown, content);
    /* A column that memory was too short for is NULL and empty. */
    bool short_of_memory = sqlite->shown.failed || sqlite3_errcode(sqlite->db) == SQLITE_NOMEM;
    dmsg_sqlite_end(sqlite, which);
    if (short_of_memory)
        return dmsg_fail_memory(error);
    out->topic = (struct dmsg_span){sqlite->shown.data, topic.size};
    out->content = (struct dmsg_span){
        topic.size > 0 || content.size > 0 ? sqlite->shown.data + topic.size : NULL, content.size};
    return 1;
}

int dmsg_sqlite_show_after(struct dmsg_store *store, enum dmsg_sqlite_statement which,
    int64_t after, struct dmsg_record *out, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    int code = dmsg_sqlite_run(sqlite, which, error, "i", after);
    return code == 1 ? dmsg_sqlite_show(sqlite, which, out, error) : code;
}

int dmsg_sqlite_know_meta(
    struct dmsg_sqlite *sqlite, struct dmsg_sqlite_meta *out, struct dmsg_error *error)
{
    if (!sqlite->store.in_transaction)
        return dmsg_sqlite_read_meta(sqlite, out, error);
    *out = sqlite->meta;
    return 0;
}
