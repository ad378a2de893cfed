#include "dane/signatures.h"

#include "dane/cursor.h"

enum { TYPE_SOA = 6, TYPE_RRSIG = 46, TYPE_NSEC = 47, TYPE_NSEC3 = 50 };
enum section { ANSWER, AUTHORITY };

/* A name of RFC 1035 section 4.1.4. Its pointer, if it has one, is its end: where that points to
   does not matter here, so that nothing is followed. */
static void skip_name(struct dmsg_cursor *cursor)
{
    while (!cursor->failed) {
        size_t size = dmsg_cursor_size(cursor, 1);
        if (size == 0)
            return;
        if (size >= 0xc0) {
            (void)dmsg_cursor_take(cursor, 1);
            return;
        }
        if (size > 63)
            cursor->failed = true;
        (void)dmsg_cursor_take(cursor, size);
    }
}

static bool vouches(enum section section, uint64_t covered)
{
    return section == ANSWER || covered == TYPE_NSEC || covered == TYPE_NSEC3 ||
           covered == TYPE_SOA;
}

/* The expiration of an RRSIG that vouches, else INT64_MAX. */
static int64_t expiration_of(struct dmsg_span rdata, enum section section, int64_t now)
{
    struct dmsg_cursor cursor = {.rest = rdata};
    uint64_t covered = dmsg_cursor_number(&cursor, 2);
    (void)dmsg_cursor_take(&cursor, 1 + 1 + 4); /* algorithm, labels, original TTL */
    uint32_t expiration = (uint32_t)dmsg_cursor_number(&cursor, 4);
    if (cursor.failed || !vouches(section, covered))
        return INT64_MAX;
    uint32_t ahead = expiration - (uint32_t)now;
    return now + (ahead <= INT32_MAX ? (int64_t)ahead : (int64_t)ahead - (INT64_C(1) << 32));
}

static int64_t until_of_section(
    struct dmsg_cursor *cursor, uint64_t count, enum section section, int64_t now)
{
    int64_t until = INT64_MAX;
    for (uint64_t i = 0; i < count && !cursor->failed; i++) {
        skip_name(cursor);
        uint64_t type = dmsg_cursor_number(cursor, 2);
        (void)dmsg_cursor_take(cursor, 2 + 4); /* class, TTL */
        struct dmsg_span rdata = dmsg_cursor_take_sized(cursor, 2);
        int64_t at = type == TYPE_RRSIG ? expiration_of(rdata, section, now) : INT64_MAX;
        if (at < until)
            until = at;
    }
    return until;
}

int64_t dmsg_signatures_until(struct dmsg_span message, int64_t now)
{
    struct dmsg_cursor cursor = {.rest = message};
    (void)dmsg_cursor_take(&cursor, 2 + 2); /* id, flags */
    uint64_t questions = dmsg_cursor_number(&cursor, 2);
    uint64_t answers = dmsg_cursor_number(&cursor, 2);
    uint64_t authorities = dmsg_cursor_number(&cursor, 2);
    (void)dmsg_cursor_take(&cursor, 2); /* additional records, of no interest */
    for (uint64_t i = 0; i < questions && !cursor.failed; i++) {
        skip_name(&cursor);
        (void)dmsg_cursor_take(&cursor, 2 + 2); /* type, class */
    }
    int64_t answer = until_of_section(&cursor, answers, ANSWER, now);
    int64_t authority = until_of_section(&cursor, authorities, AUTHORITY, now);
    int64_t until = answer < authority ? answer : authority;
    return cursor.failed || until == INT64_MAX || until < 0 ? 0 : until;
}
