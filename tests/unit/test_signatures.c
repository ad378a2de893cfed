/* Until when an answer's signatures are valid: good messages, and what a hostile zone may send. */
#include "dane/signatures.h"
#include "test.h"

#include <inttypes.h>
#include <stdlib.h>

#define NOW INT64_C(1800000000)

enum { A = 1, NS = 2, CNAME = 5, SOA = 6, RRSIG = 46, NSEC = 47, NSEC3 = 50, TLSA = 52 };

/* One record of a message; a signature covers `covered` until `expiration`. */
struct record {
    unsigned type, covered;
    uint32_t expiration;
};

/* The TTLs of the next records: as they are, and as they were signed. */
struct ttls {
    uint32_t left, whole;
};
static struct ttls ttls = {300, 300};

static void put_number(struct dmsg_buffer *out, uint64_t value, unsigned octets)
{
    while (octets-- > 0)
        dmsg_buffer_put_byte(out, (uint8_t)(value >> (8 * octets)));
}

static void put_record(struct dmsg_buffer *out, const struct record *record)
{
    static const uint8_t signature[9 + 64] = "\7example";
    put_number(out, 0xc00c, 2); /* the name of the question */
    put_number(out, record->type, 2);
    put_number(out, 1, 2);
    put_number(out, ttls.left, 4);
    if (record->type != RRSIG) {
        put_number(out, 4, 2);
        put_number(out, 0x01020304, 4);
        return;
    }
    put_number(out, 18 + sizeof signature, 2);
    put_number(out, record->covered, 2);
    put_number(out, 13, 1);
    put_number(out, 2, 1);
    put_number(out, ttls.whole, 4);
    put_number(out, record->expiration, 4);
    put_number(out, record->expiration - 1000, 4);
    put_number(out, 4711, 2);
    dmsg_buffer_put(out, signature, sizeof signature);
}

static void make(struct dmsg_buffer *out, const struct record *records, size_t answers, size_t all)
{
    static const char question[] = "\1a\7example\0\0\64\0\1";
    put_number(out, 0x123481a0, 4);
    put_number(out, 1, 2);
    put_number(out, answers, 2);
    put_number(out, all - answers, 2);
    put_number(out, 0, 2);
    dmsg_buffer_put(out, question, sizeof question - 1);
    for (size_t i = 0; i < all; i++)
        put_record(out, &records[i]);
}

#define LATER ((uint32_t)(NOW + 5000))

static struct dmsg_signatures read_of(struct dmsg_span message, int64_t now)
{
    struct dmsg_signatures read;
    dmsg_signatures_read(&read, message, now);
    return read;
}

static int64_t until_at(const struct dmsg_buffer *message, int64_t now)
{
    return read_of(dmsg_buffer_span(message), now).until;
}

static void finds_the_first_to_expire(void)
{
    static const struct {
        const char *what;
        struct record records[5];
        size_t answers, all;
        int64_t until;
    } rows[] = {
        {"records", {{TLSA, 0, 0}, {RRSIG, TLSA, LATER}}, 2, 2, NOW + 5000},
        {"two signatures", {{TLSA, 0, 0}, {RRSIG, TLSA, LATER}, {RRSIG, TLSA, LATER - 1}}, 3, 3,
            NOW + 4999},
        {"an alias", {{CNAME, 0, 0}, {RRSIG, CNAME, LATER - 9}, {TLSA, 0, 0}, {RRSIG, TLSA, LATER}},
            4, 4, NOW + 4991},
        {"name servers, which prove nothing",
            {{TLSA, 0, 0}, {RRSIG, TLSA, LATER}, {NS, 0, 0}, {RRSIG, NS, LATER - 9}}, 2, 4,
            NOW + 5000},
        {"a wildcard", {{TLSA, 0, 0}, {RRSIG, TLSA, LATER}, {NSEC, 0, 0}, {RRSIG, NSEC, LATER - 7}},
            2, 4, NOW + 4993},
        {"a denial", {{SOA, 0, 0}, {RRSIG, SOA, LATER}, {NSEC3, 0, 0}, {RRSIG, NSEC3, LATER - 3}},
            0, 4, NOW + 4997},
        {"a denial by its SOA",
            {{SOA, 0, 0}, {RRSIG, SOA, LATER - 5}, {NSEC, 0, 0}, {RRSIG, NSEC, LATER}}, 0, 4,
            NOW + 4995},
        {"no signature", {{TLSA, 0, 0}}, 1, 1, 0},
        {"nothing", {{0, 0, 0}}, 0, 0, 0},
        {"expired", {{TLSA, 0, 0}, {RRSIG, TLSA, (uint32_t)(NOW - 60)}}, 2, 2, NOW - 60},
        /* RFC 4034 section 3.1.5: 32 bits that go round. */
        {"68 years ahead", {{RRSIG, TLSA, (uint32_t)(NOW + INT32_MAX)}}, 1, 1, NOW + INT32_MAX},
        {"68 years ago", {{RRSIG, TLSA, (uint32_t)(NOW + INT64_C(0x80000000))}}, 1, 1,
            NOW - INT64_C(0x80000000) < 0 ? 0 : NOW - INT64_C(0x80000000)},
        {"beyond 2106", {{RRSIG, TLSA, (uint32_t)(NOW + 2000000000)}}, 1, 1, NOW + 2000000000},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_buffer message = {0};
        make(&message, rows[i].records, rows[i].answers, rows[i].all);
        int64_t until = until_at(&message, NOW);
        CHECK_ROW(until == rows[i].until, "%s: %" PRId64, rows[i].what, until - NOW);
        dmsg_buffer_done(&message);
    }
}

static void knows_how_old_it_is(void)
{
    static const struct {
        const char *what;
        struct record record;
        struct ttls ttls;
        bool denies;
        uint32_t records_age, proofs_age, left;
    } rows[] = {
        {"new", {RRSIG, TLSA, LATER}, {300, 300}, false, 0, 0, 300},
        {"old", {RRSIG, TLSA, LATER}, {200, 300}, false, 100, 0, 200},
        {"an old alias", {RRSIG, CNAME, LATER}, {1, 300}, false, 299, 0, 1},
        {"newer than it was signed", {RRSIG, TLSA, LATER}, {400, 300}, false, 0, 0, 400},
        {"a denial", {RRSIG, NSEC, LATER}, {250, 300}, true, 0, 50, 250},
        {"a hashed denial", {RRSIG, NSEC3, LATER}, {250, 300}, true, 0, 50, 250},
        {"a denial's SOA, whose TTL is always short", {RRSIG, SOA, LATER}, {60, 3600}, true, 0, 0,
            0},
        {"name servers", {RRSIG, NS, LATER}, {60, 3600}, true, 0, 0, 0},
        {"cut to a day", {RRSIG, TLSA, LATER + 200000}, {86400, 172800}, false, 0, 0, 86400},
        {"the same, older", {RRSIG, TLSA, LATER + 200000}, {86300, 172800}, false, 100, 0, 86300},
        {"cut to what the signature has left", {RRSIG, TLSA, LATER}, {5000, 6000}, false, 0, 0,
            5000},
        {"expired, by the tolerance for clocks", {RRSIG, TLSA, (uint32_t)(NOW - 9)}, {60, 300},
            false, 0, 0, 60},
        {"no signature", {TLSA, 0, 0}, {10, 300}, false, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_buffer message = {0};
        ttls = rows[i].ttls;
        make(&message, &rows[i].record, rows[i].denies ? 0 : 1, 1);
        struct dmsg_signatures read = read_of(dmsg_buffer_span(&message), NOW);
        CHECK_ROW(read.records_age == rows[i].records_age &&
                      read.proofs_age == rows[i].proofs_age && read.left == rows[i].left,
            "%s: %u, %u, %u", rows[i].what, read.records_age, read.proofs_age, read.left);
        dmsg_buffer_done(&message);
    }
    ttls = (struct ttls){300, 300};
}

/* The oldest record tells, and the shortest TTL. */
static void knows_the_oldest_of_several(void)
{
    static const struct record records[] = {{RRSIG, CNAME, LATER}, {RRSIG, TLSA, LATER}};
    struct dmsg_buffer message = {0};
    ttls = (struct ttls){100, 300};
    make(&message, records, 1, 1);
    message.data[7] = 2; /* answers */
    ttls = (struct ttls){50, 60};
    put_record(&message, &records[1]);
    struct dmsg_signatures read = read_of(dmsg_buffer_span(&message), NOW);
    CHECK(read.records_age == 200 && read.left == 50);
    dmsg_buffer_done(&message);
    ttls = (struct ttls){300, 300};
}

/* After 2106 the clock's lower half has gone round once. */
static void knows_the_era(void)
{
    const int64_t now = INT64_C(0x100000000) + 1000;
    const struct record record = {RRSIG, TLSA, 2000}, before = {RRSIG, TLSA, UINT32_MAX};
    struct dmsg_buffer message = {0};
    make(&message, &record, 1, 1);
    CHECK(until_at(&message, now) == now + 1000);
    dmsg_buffer_reset(&message);
    make(&message, &before, 1, 1);
    CHECK(until_at(&message, now) == now - 1001);
    dmsg_buffer_done(&message);
}

/* In a copy of exactly its size, so that a checker of memory sees a step beyond it. */
static int64_t until_of(const uint8_t *octets, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    if (copy == NULL)
        return -1;
    memcpy(copy, octets, size);
    int64_t until = read_of((struct dmsg_span){copy, size}, NOW).until;
    free(copy);
    return until;
}

static void survives_anything(void)
{
    static const struct record records[] = {{CNAME, 0, 0}, {RRSIG, CNAME, LATER}, {TLSA, 0, 0},
        {RRSIG, TLSA, LATER}, {NSEC, 0, 0}, {RRSIG, NSEC, LATER}};
    struct dmsg_buffer message = {0};
    uint32_t seed = 3;
    make(&message, records, 4, 6);
    for (size_t size = 0; size < message.size; size++)
        CHECK_ROW(until_of(message.data, size) == 0, "%zu octets", size);
    CHECK(until_of(message.data, message.size) == LATER);
    for (int round = 0; round < 20000; round++) {
        uint8_t octets[1024];
        memcpy(octets, message.data, message.size);
        for (int change = 0; change < 1 + round % 4; change++) {
            seed = seed * 1664525 + 1013904223;
            octets[(seed >> 8) % message.size] = (uint8_t)(seed >> 24);
        }
        int64_t until = until_of(octets, message.size);
        CHECK(until >= 0 && until <= NOW + INT32_MAX);
    }
    CHECK(message.size <= 1024);
    dmsg_buffer_done(&message);
}

/* Names that point at themselves, labels of no kind, counts that promise more than is there. */
static void refuses_what_is_no_message(void)
{
    static const struct {
        const char *what, *octets;
        size_t size;
    } rows[] = {
        {"65535 records", "\0\0\0\0\0\0\377\377\377\377\0\0", 12},
        {"65535 questions", "\0\0\0\0\377\377\0\0\0\0\0\0", 12},
        {"a label of 64", "\0\0\0\0\0\1\0\0\0\0\0\0\100", 13},
        {"a pointer at itself", "\0\0\0\0\0\1\0\0\0\0\0\0\300\14", 14},
        {"half a pointer", "\0\0\0\0\0\1\0\0\0\0\0\0\300", 13},
        {"rdata that is not there", "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\56\0\1\0\0\0\0\377\377", 23},
        {"a signature of one octet", "\0\0\0\0\0\0\0\1\0\0\0\0\0\0\56\0\1\0\0\0\0\0\1\0", 24},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_ROW(until_of((const uint8_t *)rows[i].octets, rows[i].size) == 0, "%s", rows[i].what);
}

TEST_MAIN(TEST(finds_the_first_to_expire), TEST(knows_how_old_it_is),
    TEST(knows_the_oldest_of_several), TEST(knows_the_era), TEST(survives_anything),
    TEST(refuses_what_is_no_message))
