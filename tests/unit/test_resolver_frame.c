/* What the resolver process and its parent may say to each other, and what they may not. */
#include "dane/frame.h"
#include "test.h"

#include <stdlib.h>

#define EMPTY                                                                                      \
    (struct dmsg_span)                                                                             \
    {                                                                                              \
        NULL, 0                                                                                    \
    }

/* --------------------------------------------------------------------------------------- frames */

static void takes_what_was_put(void)
{
    struct dmsg_buffer out = {0};
    struct dmsg_frame frame;
    dmsg_frame_put(&out, DMSG_FRAME_ASK, 7, dmsg_span_text("a.example"));
    dmsg_frame_put(&out, DMSG_FRAME_PONG, 0xfedcba98, EMPTY);
    REQUIRE(!out.failed);
    struct dmsg_span stream = dmsg_buffer_span(&out);
    REQUIRE(dmsg_frame_take(&frame, &stream, NULL) == 1);
    CHECK(frame.type == DMSG_FRAME_ASK && frame.id == 7);
    CHECK(dmsg_span_equal_text(frame.body, "a.example"));
    REQUIRE(dmsg_frame_take(&frame, &stream, NULL) == 1);
    CHECK(frame.type == DMSG_FRAME_PONG && frame.id == 0xfedcba98 && frame.body.size == 0);
    CHECK(stream.size == 0 && dmsg_frame_take(&frame, &stream, NULL) == 0);
    dmsg_buffer_done(&out);
}

static void waits_for_every_octet(void)
{
    struct dmsg_buffer out = {0};
    struct dmsg_frame frame;
    dmsg_frame_put(&out, DMSG_FRAME_ASK, 7, dmsg_span_text("a.example"));
    for (size_t size = 0; size < out.size; size++) {
        struct dmsg_span stream = {out.data, size};
        CHECK_ROW(dmsg_frame_take(&frame, &stream, NULL) == 0, "%zu octets", size);
        CHECK_ROW(stream.size == size, "%zu octets: some were taken", size);
    }
    dmsg_buffer_done(&out);
}

static void refuses_what_is_no_frame(void)
{
    static const struct {
        const char *what;
        uint8_t octets[12];
        size_t size;
        int result;
    } rows[] = {
        {"ping", {0, 0, 0, 6, 3, 3, 0, 0, 0, 9}, 10, 1},
        {"size 0", {0, 0, 0, 0}, 4, DMSG_E_FORMAT},
        {"size 5", {0, 0, 0, 5, 3, 3, 0, 0, 0}, 9, DMSG_E_FORMAT},
        {"largest size, not there yet", {0, 1, 0x10, 5}, 4, 0},
        {"one more than the largest", {0, 1, 0x10, 6}, 4, DMSG_E_FORMAT},
        {"4 GiB", {0xff, 0xff, 0xff, 0xff}, 4, DMSG_E_FORMAT},
        {"version 0", {0, 0, 0, 6, 0, 3, 0, 0, 0, 9}, 10, DMSG_E_FORMAT},
        {"version 4", {0, 0, 0, 6, 4, 3, 0, 0, 0, 9}, 10, DMSG_E_FORMAT},
        {"version 2", {0, 0, 0, 6, 2, 3, 0, 0, 0, 9}, 10, DMSG_E_FORMAT},
        {"type 0", {0, 0, 0, 6, 3, 0, 0, 0, 0, 9}, 10, DMSG_E_FORMAT},
        {"type 4", {0, 0, 0, 6, 3, 4, 0, 0, 0, 9}, 10, DMSG_E_FORMAT},
        {"type 64", {0, 0, 0, 6, 3, 64, 0, 0, 0, 9}, 10, DMSG_E_FORMAT},
        {"type 65", {0, 0, 0, 6, 3, 65, 0, 0, 0, 9}, 10, 1},
        {"type 68", {0, 0, 0, 6, 3, 68, 0, 0, 0, 9}, 10, 1},
        {"type 69", {0, 0, 0, 6, 3, 69, 0, 0, 0, 9}, 10, DMSG_E_FORMAT},
        {"type 255", {0, 0, 0, 6, 3, 255, 0, 0, 0, 9}, 10, DMSG_E_FORMAT},
    };
    _Static_assert(DMSG_FRAME_BODY_MAX + 6 == 0x11005, "the row of the largest size");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_frame frame;
        struct dmsg_span stream = {rows[i].octets, rows[i].size};
        CHECK_ROW(dmsg_frame_take(&frame, &stream, NULL) == rows[i].result, "%s", rows[i].what);
    }
}

static void puts_no_oversized_frame(void)
{
    uint8_t *body = calloc(1, DMSG_FRAME_BODY_MAX + 1);
    struct dmsg_buffer out = {0};
    struct dmsg_frame frame;
    REQUIRE(body != NULL);
    dmsg_frame_put(&out, DMSG_FRAME_ANSWER, 1, (struct dmsg_span){body, DMSG_FRAME_BODY_MAX});
    struct dmsg_span stream = dmsg_buffer_span(&out);
    CHECK(!out.failed && dmsg_frame_take(&frame, &stream, NULL) == 1);
    dmsg_frame_put(&out, DMSG_FRAME_ANSWER, 1, (struct dmsg_span){body, DMSG_FRAME_BODY_MAX + 1});
    CHECK(out.failed);
    dmsg_buffer_done(&out);
    free(body);
}

/* ---------------------------------------------------------------------------------------- setup */

static void takes_setup_items(void)
{
    struct dmsg_buffer body = {0};
    struct dmsg_setup_item item;
    dmsg_setup_put(&body, DMSG_SETUP_SERVER, "127.0.0.1@53");
    dmsg_setup_put(&body, DMSG_SETUP_ANCHOR, ". IN DS");
    struct dmsg_span rest = dmsg_buffer_span(&body);
    REQUIRE(dmsg_setup_take(&item, &rest, NULL) == 1);
    CHECK(item.kind == DMSG_SETUP_SERVER && strcmp(item.text, "127.0.0.1@53") == 0);
    REQUIRE(dmsg_setup_take(&item, &rest, NULL) == 1);
    CHECK(item.kind == DMSG_SETUP_ANCHOR && strcmp(item.text, ". IN DS") == 0);
    CHECK(dmsg_setup_take(&item, &rest, NULL) == 0);
    for (size_t size = 1; size < body.size; size++) {
        rest = (struct dmsg_span){body.data, size};
        int result;
        while ((result = dmsg_setup_take(&item, &rest, NULL)) == 1)
            ;
        CHECK_ROW(result == (size == 15 ? 0 : DMSG_E_FORMAT), "%zu octets", size);
    }
    dmsg_buffer_done(&body);
}

static void refuses_setup_items(void)
{
    static const struct {
        const char *what;
        uint8_t octets[8];
        size_t size;
        int result;
    } rows[] = {
        {"stub", {3, 0, 2, 'a', 'b'}, 5, 1},
        {"kind 0", {0, 0, 2, 'a', 'b'}, 5, DMSG_E_FORMAT},
        {"for strangers", {6, 0, 2, 'a', 'b'}, 5, 1},
        {"kind 7", {7, 0, 2, 'a', 'b'}, 5, DMSG_E_FORMAT},
        {"no text", {3, 0, 0}, 3, DMSG_E_FORMAT},
        {"newline", {3, 0, 2, 'a', '\n'}, 5, DMSG_E_FORMAT},
        {"NUL", {3, 0, 2, 'a', 0}, 5, DMSG_E_FORMAT},
        {"DEL", {3, 0, 2, 'a', 127}, 5, DMSG_E_FORMAT},
        {"not ASCII", {3, 0, 2, 'a', 0xe4}, 5, DMSG_E_FORMAT},
        {"longer than the body", {3, 0, 3, 'a', 'b'}, 5, DMSG_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_setup_item item;
        struct dmsg_span rest = {rows[i].octets, rows[i].size};
        CHECK_ROW(dmsg_setup_take(&item, &rest, NULL) == rows[i].result, "%s", rows[i].what);
    }
    static char text[DMSG_SETUP_TEXT_MAX + 2];
    struct dmsg_buffer body = {0};
    struct dmsg_setup_item item;
    memset(text, 'x', DMSG_SETUP_TEXT_MAX);
    dmsg_setup_put(&body, DMSG_SETUP_ANCHOR, text);
    struct dmsg_span rest = dmsg_buffer_span(&body);
    CHECK(dmsg_setup_take(&item, &rest, NULL) == 1 && strcmp(item.text, text) == 0);
    body.data[1] = (DMSG_SETUP_TEXT_MAX + 1) >> 8; /* one more, which is there too */
    body.data[2] = (DMSG_SETUP_TEXT_MAX + 1) & 0xff;
    dmsg_buffer_put_byte(&body, 'x');
    rest = dmsg_buffer_span(&body);
    CHECK(dmsg_setup_take(&item, &rest, NULL) == DMSG_E_FORMAT);
    text[DMSG_SETUP_TEXT_MAX] = 'x';
    dmsg_setup_put(&body, DMSG_SETUP_ANCHOR, text);
    CHECK(body.failed);
    dmsg_buffer_done(&body);
}

static void asks_only_for_names(void)
{
    static const struct {
        const char *text;
        int result;
    } rows[] = {
        {"a.example", 0},
        {"A.example", DMSG_E_FORMAT},
        {"a.example.", DMSG_E_FORMAT},
        {"example", DMSG_E_FORMAT},
        {"", DMSG_E_FORMAT},
        {"a b.example", DMSG_E_FORMAT},
        {"a\\046b.example", DMSG_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_name name;
        CHECK_ROW(
            dmsg_ask_parse(&name, dmsg_span_text(rows[i].text), NULL) == rows[i].result, "%zu", i);
    }
}

/* -------------------------------------------------------------------------------------- answers */

static struct dmsg_name name_of(const char *text)
{
    struct dmsg_name name = {0};
    (void)!dmsg_name_parse(&name, dmsg_span_text(text), NULL);
    return name;
}

static struct dmsg_answer sample(void)
{
    struct dmsg_answer answer = {.name = name_of("a.example"),
        .canonical = name_of("b.example"),
        .status = DMSG_DNS_SECURE,
        .ttl = 0x01020304,
        .why = "why not",
        .via = "192.0.2.1",
        .signed_until = 0x0102030405,
        .cached_for = 0x06070809,
        .oversized = 2,
        .count = 3,
        .records = {dmsg_span_text("aaaa"), dmsg_span_text("aaaab"), dmsg_span_text("b")}};
    return answer;
}

static bool same(const struct dmsg_answer *a, const struct dmsg_answer *b)
{
    bool equal = dmsg_name_equal(&a->name, &b->name) &&
                 dmsg_name_equal(&a->canonical, &b->canonical) && a->status == b->status &&
                 a->nxdomain == b->nxdomain && a->ttl == b->ttl && strcmp(a->why, b->why) == 0 &&
                 strcmp(a->via, b->via) == 0 && a->signed_until == b->signed_until &&
                 a->cached_for == b->cached_for && a->oversized == b->oversized &&
                 a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++)
        equal = dmsg_span_equal(a->records[i], b->records[i]);
    return equal;
}

static void carries_answers(void)
{
    struct dmsg_answer answer = sample(), again;
    struct dmsg_buffer body = {0};
    dmsg_answer_put(&body, &answer);
    REQUIRE(dmsg_answer_parse(&again, &answer.name, dmsg_buffer_span(&body), NULL) == 0);
    CHECK(same(&answer, &again));

    dmsg_buffer_reset(&body);
    struct dmsg_answer none = {
        .name = answer.name, .canonical = answer.name, .status = DMSG_DNS_NOT_NOW};
    dmsg_answer_put(&body, &none);
    REQUIRE(dmsg_answer_parse(&again, &none.name, dmsg_buffer_span(&body), NULL) == 0);
    CHECK(same(&none, &again));

    none.canonical = (struct dmsg_name){0}; /* not a name as ours: the name itself stands in */
    dmsg_buffer_reset(&body);
    dmsg_answer_put(&body, &none);
    REQUIRE(dmsg_answer_parse(&again, &none.name, dmsg_buffer_span(&body), NULL) == 0);
    CHECK(dmsg_name_equal(&again.canonical, &none.name));
    dmsg_buffer_done(&body);
}

/* One fault each in an answer that is otherwise good. */
static void refuses_answers(void)
{
    static uint8_t large[DMSG_TLSA_RDATA_MAX + 1];
    enum { COUNT = 16 };
    for (int fault = 0; fault < COUNT; fault++) {
        struct dmsg_answer answer = sample(), again;
        struct dmsg_buffer body = {0};
        memset(large, 'z', sizeof large);
        if (fault == 1)
            answer.records[1] = answer.records[0]; /* twice the same */
        else if (fault == 2)
            answer.records[2] = dmsg_span_text("a"); /* not sorted */
        else if (fault == 3)
            answer.records[0].size = 0;
        else if (fault == 4)
            answer.records[2] = (struct dmsg_span){large, sizeof large};
        else if (fault == 5)
            answer.nxdomain = true; /* and yet records */
        else if (fault == 6)
            answer.status = DMSG_DNS_NOT_NOW;
        else if (fault == 7)
            answer.why[3] = '\x1b';
        else if (fault == 8)
            answer.canonical.text[0] = 'B';
        else if (fault == 9)
            answer.canonical.text[1] = '*';
        else if (fault == 10)
            answer.via[0] = '\n';
        else if (fault == 11)
            answer.signed_until = -1;
        else if (fault == 12)
            answer.signed_until = INT64_C(1) << 53;
        else if (fault == 13)
            answer.status = DMSG_DNS_INSECURE, answer.cached_for = 0; /* and yet signatures */
        else if (fault == 14)
            answer.count = 0, answer.nxdomain = true; /* and yet records that were too large */
        else if (fault == 15)
            answer.status = DMSG_DNS_INSECURE, answer.signed_until = 0; /* and yet an age */
        dmsg_answer_put(&body, &answer);
        int result = dmsg_answer_parse(&again, &answer.name, dmsg_buffer_span(&body), NULL);
        CHECK_ROW(result == (fault == 0 ? 0 : DMSG_E_FORMAT), "fault %d", fault);
        dmsg_buffer_done(&body);
    }
    struct dmsg_answer largest = sample(), again;
    struct dmsg_buffer body = {0};
    largest.records[2] = (struct dmsg_span){large, DMSG_TLSA_RDATA_MAX};
    dmsg_answer_put(&body, &largest);
    CHECK(dmsg_answer_parse(&again, &largest.name, dmsg_buffer_span(&body), NULL) == 0);
    dmsg_buffer_done(&body);
}

static void refuses_answers_by_octet(void)
{
    static const struct {
        const char *what;
        size_t at;
        uint8_t value;
        int result;
    } rows[] = {
        {"status secure", 0, 0, 0},
        {"status bogus", 0, 2, DMSG_E_FORMAT}, /* has no signatures that count */
        {"status 4", 0, 4, DMSG_E_FORMAT},
        {"nxdomain 2", 1, 2, DMSG_E_FORMAT},
        {"signed another time", 13, 6, 0},
        {"signed beyond all times", 6, 1, DMSG_E_FORMAT},
        {"canonical too long", 18, 200, DMSG_E_FORMAT},
        {"canonical one shorter", 18, 8, DMSG_E_FORMAT},
        {"why too long", 28, 255, DMSG_E_FORMAT},
        {"via too long", 36, 96, DMSG_E_FORMAT},
        {"via one longer", 36, 10, DMSG_E_FORMAT},
        {"oversized 255", 46, 255, 0},
        {"fewer records", 47, 2, DMSG_E_FORMAT},
        {"more records", 47, 4, DMSG_E_FORMAT},
        {"65 records", 47, 65, DMSG_E_FORMAT},
        {"255 records", 47, 255, DMSG_E_FORMAT},
    };
    struct dmsg_answer answer = sample();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_answer again;
        struct dmsg_buffer body = {0};
        dmsg_answer_put(&body, &answer);
        body.data[rows[i].at] = rows[i].value;
        int result = dmsg_answer_parse(&again, &answer.name, dmsg_buffer_span(&body), NULL);
        CHECK_ROW(result == rows[i].result, "%s", rows[i].what);
        dmsg_buffer_done(&body);
    }
}

static void holds_the_most_records(void)
{
    static uint8_t rdata[DMSG_ANSWER_RECORDS_MAX + 1][4];
    struct dmsg_answer answer = {.name = name_of("a.example"),
        .canonical = name_of("a.example"),
        .count = DMSG_ANSWER_RECORDS_MAX};
    struct dmsg_answer again;
    struct dmsg_buffer body = {0};
    for (size_t i = 0; i < DMSG_ANSWER_RECORDS_MAX; i++) {
        rdata[i][0] = (uint8_t)i;
        answer.records[i] = (struct dmsg_span){rdata[i], 4};
    }
    dmsg_answer_put(&body, &answer);
    REQUIRE(dmsg_answer_parse(&again, &answer.name, dmsg_buffer_span(&body), NULL) == 0);
    CHECK(same(&answer, &again));
    static const uint8_t one_more[] = {0, 4, 255, 0, 0, 0};
    dmsg_buffer_put(&body, one_more, sizeof one_more);
    CHECK(dmsg_answer_parse(&again, &answer.name, dmsg_buffer_span(&body), NULL) == DMSG_E_FORMAT);
    body.data[2 + 4 + 8 + 1 + 9 + 1 + 1 + 1] = DMSG_ANSWER_RECORDS_MAX + 1;
    CHECK(dmsg_answer_parse(&again, &answer.name, dmsg_buffer_span(&body), NULL) == DMSG_E_FORMAT);
    dmsg_buffer_done(&body);
}

/* Whatever octets come: it is refused, or what was read can be written and read again. The copy
   has exactly its size, so that a checker of memory sees a step beyond it. */
static void survives_octets(const uint8_t *octets, size_t size)
{
    uint8_t *copy = malloc(size > 0 ? size : 1);
    struct dmsg_name name = name_of("a.example");
    struct dmsg_answer answer, again;
    struct dmsg_setup_item item;
    if (copy == NULL)
        return;
    memcpy(copy, octets, size);
    struct dmsg_span body = {copy, size};
    if (dmsg_answer_parse(&answer, &name, body, NULL) == 0) {
        struct dmsg_buffer out = {0};
        dmsg_answer_put(&out, &answer);
        CHECK(dmsg_answer_parse(&again, &name, dmsg_buffer_span(&out), NULL) == 0);
        CHECK(same(&answer, &again));
        dmsg_buffer_done(&out);
    }
    while (dmsg_setup_take(&item, &body, NULL) == 1)
        CHECK(strlen(item.text) <= DMSG_SETUP_TEXT_MAX);
    struct dmsg_frame frame;
    struct dmsg_span stream = {copy, size};
    while (dmsg_frame_take(&frame, &stream, NULL) == 1)
        CHECK(frame.body.size <= size && stream.size < size);
    free(copy);
}

static void survives_anything(void)
{
    struct dmsg_answer answer = sample();
    struct dmsg_buffer body = {0};
    uint32_t seed = 1;
    dmsg_answer_put(&body, &answer);
    dmsg_setup_put(&body, DMSG_SETUP_STUB, "test.=127.0.0.1");
    dmsg_frame_put(&body, DMSG_FRAME_ASK, 1, dmsg_span_text("a.example"));
    for (size_t size = 0; size <= body.size; size++)
        survives_octets(body.data, size);
    for (int round = 0; round < 20000; round++) {
        uint8_t octets[128];
        memcpy(octets, body.data, body.size);
        for (int change = 0; change < 1 + round % 4; change++) {
            seed = seed * 1664525 + 1013904223;
            octets[(seed >> 8) % body.size] = (uint8_t)(seed >> 24);
        }
        survives_octets(octets, body.size);
    }
    CHECK(body.size <= 128);
    dmsg_buffer_done(&body);
}

static void makes_printable(void)
{
    char out[6];
    dmsg_printable(out, sizeof out, dmsg_span_text("a\n\x7f\xe4z and more"));
    CHECK(strcmp(out, "a???z") == 0);
    dmsg_printable(out, sizeof out, dmsg_span_text("ab"));
    CHECK(strcmp(out, "ab") == 0);
    dmsg_printable(out, sizeof out, dmsg_span_text("abcde"));
    CHECK(strcmp(out, "abcde") == 0);
}

TEST_MAIN(TEST(takes_what_was_put), TEST(waits_for_every_octet), TEST(refuses_what_is_no_frame),
    TEST(puts_no_oversized_frame), TEST(takes_setup_items), TEST(refuses_setup_items),
    TEST(asks_only_for_names), TEST(carries_answers), TEST(refuses_answers),
    TEST(refuses_answers_by_octet), TEST(holds_the_most_records), TEST(survives_anything),
    TEST(makes_printable))
