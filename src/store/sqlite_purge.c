#include "base/fail.h"
#include "store/sqlite.h"

/* Of one slice, which holds the write lock and keeps the receiver's loop: rows that are deleted,
   and zones that are looked at. */
#define SLICE_ROWS 2000
#define SLICE_ZONES 500

/* ----------------------------------------------------------------------------------- ids */

struct zone {
    int64_t row, ids, senders, purged_until;
};

/* The first zone from where the walk stands on: 1, or 0 at its end. */
static int next_zone(struct dmsg_sqlite *sqlite, struct zone *out, struct dmsg_error *error)
{
    int code = dmsg_sqlite_run(sqlite, DMSG_SQL_NEXT_ZONE, error, "i", sqlite->purge_zone);
    if (code != 1)
        return code;
    *out = (struct zone){.row = dmsg_sqlite_number(sqlite, DMSG_SQL_NEXT_ZONE, 0),
        .ids = dmsg_sqlite_number(sqlite, DMSG_SQL_NEXT_ZONE, 1),
        .senders = dmsg_sqlite_number(sqlite, DMSG_SQL_NEXT_ZONE, 2),
        .purged_until = dmsg_sqlite_number(sqlite, DMSG_SQL_NEXT_ZONE, 3)};
    dmsg_sqlite_end(sqlite, DMSG_SQL_NEXT_ZONE);
    return 1;
}

/* When all zones together have too many ids, the one with most of them pays in this walk. */
static int find_largest(struct dmsg_sqlite *sqlite, struct dmsg_error *error)
{
    int64_t ids = 0;
    sqlite->largest_zone = 0;
    int code = dmsg_sqlite_get(sqlite, DMSG_SQL_SUM_IDS, &ids, error, "");
    if (code == 1 && ids > sqlite->ids_most)
        code = dmsg_sqlite_get(sqlite, DMSG_SQL_LARGEST_ZONE, &sqlite->largest_zone, error, "");
    return code < 0 ? code : 0;
}

/* Too many: the half that expires first is forgotten, and refused from now on. What is below
   purged_until is then forgotten slice by slice. */
static int shrink(struct dmsg_sqlite *sqlite, struct zone *zone, struct dmsg_error *error)
{
    int64_t middle = 0;
    bool too_many = zone->ids > sqlite->zone_ids_most || zone->row == sqlite->largest_zone;
    if (!too_many)
        return 0;
    int code =
        dmsg_sqlite_get(sqlite, DMSG_SQL_MIDDLE_ID, &middle, error, "ii", zone->row, zone->ids / 2);
    if (code != 1 || middle < zone->purged_until)
        return code < 0 ? code : 0;
    if (sqlite->largest_zone == zone->row)
        sqlite->largest_zone = 0;
    zone->purged_until = middle + 1;
    return dmsg_sqlite_do(sqlite, DMSG_SQL_RAISE_ZONE, error, "ii", zone->row, zone->purged_until);
}

/* Forgets at most *left ids of a format with until < limit. */
static int forget(struct dmsg_sqlite *sqlite, const struct zone *zone, enum dmsg_format format,
    int64_t limit, int64_t *left, struct dmsg_error *error)
{
    if (*left == 0)
        return 0;
    int code = dmsg_sqlite_do(
        sqlite, DMSG_SQL_FORGET, error, "iiii", zone->row, (int64_t)format, limit, *left);
    if (code < 0)
        return code;
    int64_t forgotten = sqlite3_changes64(sqlite->db);
    *left -= forgotten;
    return forgotten == 0
               ? 0
               : dmsg_sqlite_do(sqlite, DMSG_SQL_COUNT_IDS, error, "ii", zone->row, -forgotten);
}

/* Names of which nothing is remembered but that they were verified, oldest first. */
static int forget_senders(
    struct dmsg_sqlite *sqlite, const struct zone *zone, int64_t *left, struct dmsg_error *error)
{
    int64_t last = 0, over = zone->senders - sqlite->zone_senders_most;
    if (*left == 0 || over <= 0)
        return 0;
    int code = dmsg_sqlite_get(
        sqlite, DMSG_SQL_NEXT_SENDERS, &last, error, "iii", zone->row, sqlite->purge_sender, *left);
    if (code < 0 || last == 0)
        return code < 0 ? code : 0;
    code = dmsg_sqlite_do(sqlite, DMSG_SQL_FORGET_SENDERS, error, "iiii", zone->row,
        sqlite->purge_sender, last, over);
    if (code < 0)
        return code;
    *left = 0; /* the next window is the next slice's */
    sqlite->purge_sender = last;
    return dmsg_sqlite_do(sqlite, DMSG_SQL_COUNT_SENDER, error, "ii", zone->row,
        -(int64_t)sqlite3_changes64(sqlite->db));
}

static int purge_zone(struct dmsg_sqlite *sqlite, struct zone *zone, int64_t limit, int64_t now,
    int64_t *left, struct dmsg_error *error)
{
    int code = shrink(sqlite, zone, error);
    int64_t before = *left;
    int64_t until = zone->purged_until > limit ? zone->purged_until : limit;
    if (code == 0)
        code = forget(sqlite, zone, DMSG_FORMAT_V1, until, left, error);
    if (code == 0 && *left < before && limit > sqlite->meta.purged_until) {
        sqlite->meta.purged_until = limit;
        sqlite->meta_changed = true;
    }
    if (code == 0)
        code = forget(sqlite, zone, DMSG_FORMAT_POC, now + 1, left, error);
    if (code == 0)
        code = forget_senders(sqlite, zone, left, error);
    return code;
}

/* 1: the walk goes on in another slice, 0: it is over. */
static int purge_zones(
    struct dmsg_sqlite *sqlite, int64_t limit, int64_t now, struct dmsg_error *error)
{
    struct zone zone = {0};
    int64_t left = SLICE_ROWS;
    int code = sqlite->purge_zone == 0 ? find_largest(sqlite, error) : 0;
    for (int i = 0; code == 0 && i < SLICE_ZONES; i++) {
        int found = next_zone(sqlite, &zone, error);
        if (found <= 0) {
            sqlite->purge_zone = 0;
            return found;
        }
        sqlite->purge_zone = zone.row;
        code = purge_zone(sqlite, &zone, limit, now, &left, error);
        if (left == 0)
            break; /* there may be more in this zone */
        sqlite->purge_zone = zone.row + 1;
        sqlite->purge_sender = 0;
    }
    return code < 0 ? code : 1;
}

/* A transaction of its own around a slice; purge and retention never change what must survive a
   power cut. */
static int finish(struct dmsg_sqlite *sqlite, int code, struct dmsg_error *error)
{
    int committed = code < 0 ? code : dmsg_sqlite_commit(sqlite, error);
    if (committed < 0)
        dmsg_sqlite_rollback(sqlite);
    return committed < 0 ? committed : code;
}

int dmsg_sqlite_purge(
    struct dmsg_store *store, int64_t limit, int64_t now, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    int code = dmsg_sqlite_begin(sqlite, false, error);
    return code < 0 ? code : finish(sqlite, purge_zones(sqlite, limit, now, error), error);
}

/* ------------------------------------------------------------------------------- messages */

/* 1: looked at the oldest from where the walk stands on, 0: none has to go any more. */
static int retain_one(
    struct dmsg_sqlite *sqlite, int64_t before, int64_t octets, struct dmsg_error *error)
{
    int code = dmsg_sqlite_run(sqlite, DMSG_SQL_OLDEST, error, "i", sqlite->retain_row);
    if (code != 1)
        return code;
    int64_t row = dmsg_sqlite_number(sqlite, DMSG_SQL_OLDEST, 0);
    int64_t received_at = dmsg_sqlite_number(sqlite, DMSG_SQL_OLDEST, 1);
    int64_t size = dmsg_sqlite_number(sqlite, DMSG_SQL_OLDEST, 2) + DMSG_RETAIN_OVERHEAD;
    bool delivered = dmsg_sqlite_number(sqlite, DMSG_SQL_OLDEST, 3) != 0;
    dmsg_sqlite_end(sqlite, DMSG_SQL_OLDEST);
    if (delivered && received_at >= before && sqlite->meta.octets <= octets)
        return 0;
    sqlite->retain_row = row;
    if (!delivered)
        return 1;
    sqlite->meta.kept--;
    sqlite->meta.octets -= size;
    sqlite->meta_changed = true;
    code = dmsg_sqlite_do(sqlite, DMSG_SQL_DISCARD, error, "i", row);
    return code < 0 ? code : 1;
}

int dmsg_sqlite_retain(
    struct dmsg_store *store, int64_t before, int64_t octets, struct dmsg_error *error)
{
    struct dmsg_sqlite *sqlite = dmsg_sqlite_of(store);
    int code = dmsg_sqlite_begin(sqlite, false, error);
    if (code < 0)
        return code;
    int64_t start = sqlite->retain_row;
    code = 1;
    for (int i = 0; code == 1 && i < SLICE_ROWS; i++)
        code = retain_one(sqlite, before, octets, error);
    code = finish(sqlite, code, error);
    if (code <= 0)
        sqlite->retain_row = code < 0 ? start : 0;
    return code;
}
