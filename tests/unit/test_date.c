/* base: what is computed by hand, so that it is the same on 32-bit systems: dates, hashes. */
#include "base/date.h"
#include "base/hash.h"
#include "base/monotonic.h"
#include "test.h"

static void dates_have_their_text(void)
{
    static const struct {
        int64_t seconds;
        const char *text; /* NULL: none */
    } rows[] = {
        {0, "1970-01-01T00:00:00Z"},
        {-1, "1969-12-31T23:59:59Z"},
        {951782399, "2000-02-28T23:59:59Z"}, /* a leap year although a century */
        {951782400, "2000-02-29T00:00:00Z"},
        {951868800, "2000-03-01T00:00:00Z"},
        {2147483647, "2038-01-19T03:14:07Z"}, /* where 32 bits end */
        {2147483648, "2038-01-19T03:14:08Z"},
        {4107542399, "2100-02-28T23:59:59Z"}, /* a century that is none */
        {4107542400, "2100-03-01T00:00:00Z"},
        {4294967296, "2106-02-07T06:28:16Z"},
        {253402300799, "9999-12-31T23:59:59Z"},
        {253402300800, NULL},
        {-62167219200, "0000-01-01T00:00:00Z"},
        {-62167219201, NULL},
        {INT64_MAX, NULL},
        {INT64_MIN, NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char text[DMSG_DATE_TEXT_SIZE] = "untouched";
        bool has = dmsg_date_text(text, rows[i].seconds);
        CHECK_ROW(has == (rows[i].text != NULL), "row %zu", i);
        CHECK_ROW(strcmp(text, has ? rows[i].text : "untouched") == 0, "row %zu: %s", i, text);
    }
}

/* Through the text and back, and beside the C library where its time_t is wide enough. */
static void every_month_of_ten_thousand_years(void)
{
    int64_t month = 29 * 86400, wrong = 0;
    for (int64_t at = -62167219200 + 12345; at <= 253402300799; at += month) {
        char text[DMSG_DATE_TEXT_SIZE];
        struct tm date = {0};
        time_t narrow = (time_t)at;
        bool read = dmsg_date_text(text, at) &&
                    sscanf(text, "%4d-%2d-%2dT%2d:%2d:%2dZ", &date.tm_year, &date.tm_mon,
                        &date.tm_mday, &date.tm_hour, &date.tm_min, &date.tm_sec) == 6;
        date.tm_year -= 1900;
        date.tm_mon--;
        wrong += !read || dmsg_date_seconds(&date) != at;
        wrong += narrow == at && timegm(&date) != narrow;
    }
    CHECK(wrong == 0);
}

/* Against Python's integers. */
static void hashes_are_polynomials(void)
{
    static const struct {
        uint64_t key;
        const char *text; /* NULL: as many octets 0xff */
        size_t size;
        uint64_t hash;
    } rows[] = {
        {0, "", 0, UINT64_C(0)},
        {1, "abc", 3, UINT64_C(297)},
        {DMSG_HASH_MODULUS - 1, "alice.example", 13, UINT64_C(111)},
        {DMSG_HASH_MODULUS, "a", 1, UINT64_C(97)},
        {UINT64_MAX, NULL, 254, UINT64_C(1351544732681644786)},
        {UINT64_C(0x123456789abcdef1), "alice.example", 13, UINT64_C(436466721178671896)},
        {UINT64_C(1) << 60, NULL, 254, UINT64_C(1729382256910270973)},
        {DMSG_HASH_MODULUS - 1, NULL, 253, UINT64_C(2)},
        {UINT32_MAX, NULL, 254, UINT64_C(263028050209258536)},
        {UINT64_C(1) << 32, NULL, 254, UINT64_C(5126709197223607)},
    };
    uint8_t ones[254];
    memset(ones, 0xff, sizeof ones);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_span text = {ones, rows[i].size};
        if (rows[i].text != NULL)
            text = dmsg_span_text(rows[i].text);
        uint64_t hash = dmsg_hash(rows[i].key, text);
        CHECK_ROW(hash == rows[i].hash, "row %zu: %llu", i, (unsigned long long)hash);
    }
}

static void milliseconds_for_the_kernel(void)
{
    struct timespec time = dmsg_timespec(86400999);
    CHECK(time.tv_sec == 86400 && time.tv_nsec == 999000000);
    time = dmsg_timespec(0);
    CHECK(time.tv_sec == 0 && time.tv_nsec == 0);
}

TEST_MAIN(TEST(dates_have_their_text), TEST(every_month_of_ten_thousand_years),
    TEST(hashes_are_polynomials), TEST(milliseconds_for_the_kernel))
