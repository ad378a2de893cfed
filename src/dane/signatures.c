#include "dane/signatures.h"

#include "dane/cursor.h"

enum { TYPE_SOA = 6, TYPE_RRSIG = 46, TYPE_NSEC = 47, TYPE_NSEC3 = 50 };
enum section { ANSWER, AUTHORITY };

/* libunbound keeps nothing for longer (cache-max-ttl). */
#define TTL_MAX 86400

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

/* An RRSIG that vouches. SOA records come with a shorter TTL than was signed in every denial (RFC
   2308 section 3), and tell nothing of an age. */
static void read_signature(struct dmsg_signatures *out, struct dmsg_span rdata, uint32_t ttl,
    enum section section, int64_t now)
{
    struct dmsg_cursor cursor = {.rest = rdata};
    uint64_t covered = dmsg_cursor_number(&cursor, 2);
    (void)dmsg_cursor_take(&cursor, 1 + 1); /* algorithm, labels */
    int64_t whole = (int64_t)dmsg_cursor_number(&cursor, 4);
    uint32_t expiration = (uint32_t)dmsg_cursor_number(&cursor, 4);
    if (cursor.failed || !vouches(section, covered))
        return;
    uint32_t ahead = expiration - (uint32_t)now;
    int64_t left = ahead <= INT32_MAX ? (int64_t)ahead : (int64_t)ahead - (INT64_C(1) << 32);
    if (now + left < out->until)
        out->until = now + left;
    if (covered == TYPE_SOA)
        return;
    /* A validator cuts TTLs at its own limit, and at the expiration (RFC 4035 section 5.3.3). */
    whole = whole < TTL_MAX ? whole : TTL_MAX;
    whole = whole < left ? whole : left;
    uint32_t *age = section == ANSWER ? &out->records_age : &out->proofs_age;
    if (whole - ttl > *age)
        *age = (uint32_t)(whole - ttl);
    if (ttl < out->left)
        out->left = ttl;
}

static void read_section(struct dmsg_signatures *out, struct dmsg_cursor *cursor, uint64_t count,
    enum section section, int64_t now)
{
    for (uint64_t i = 0; i < count && !cursor->failed; i++) {
        skip_name(cursor);
        uint64_t type = dmsg_cursor_number(cursor, 2);
        (void)dmsg_cursor_take(cursor, 2); /* class */
        uint32_t ttl = (uint32_t)dmsg_cursor_number(cursor, 4);
        struct dmsg_span rdata = dmsg_cursor_take_sized(cursor, 2);
        if (type == TYPE_RRSIG && !cursor->failed)
            read_signature(out, rdata, ttl, section, now);
    }
}

void dmsg_signatures_read(struct dmsg_signatures *out, struct dmsg_span message, int64_t now)
{
    struct dmsg_signatures read = {.until = INT64_MAX, .left = UINT32_MAX};
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
    read_section(&read, &cursor, answers, ANSWER, now);
    read_section(&read, &cursor, authorities, AUTHORITY, now);
    if (cursor.failed || read.until == INT64_MAX || read.until < 0)
        read = (struct dmsg_signatures){0};
    if (read.left == UINT32_MAX)
        read.left = 0;
    *out = read;
}
