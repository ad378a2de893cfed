/* base: errors, buffers, base64url, names and patterns, UTF-8 and escaping. */
#include "base/base64url.h"
#include "base/fail.h"
#include "base/log.h"
#include "base/utf8.h"
#include "danemsg/context.h"
#include "test.h"

#include <jansson.h>
#include <stdlib.h>

static struct dmsg_span text(const char *s)
{
    return dmsg_span_text(s);
}

/* ---------------------------------------------------------------------------------- errors */

static void error_words_are_unique(void)
{
    for (int code = -1; code >= -DMSG_ERROR_COUNT; code--) {
        CHECK_ROW(dmsg_error_code_of(dmsg_error_word(code)) == code, "code %d", code);
        CHECK(dmsg_error_exit_status(code) >= 1 && dmsg_error_exit_status(code) <= 13);
    }
    CHECK(strcmp(dmsg_error_word(0), "ok") == 0);
    CHECK(strcmp(dmsg_error_word(-1000), "ok") == 0);
    CHECK(dmsg_error_exit_status(DMSG_E_SIGNATURE) == 8);
    CHECK(dmsg_error_exit_status(DMSG_E_NAME) == 13);
    CHECK(dmsg_error_code_of("nothing") == 0);
}

static void error_texts_are_printable(void)
{
    struct dmsg_error error;
    CHECK(dmsg_fail(&error, DMSG_E_NAME, "a%cb%cc", 0x1b, 0x80) == DMSG_E_NAME);
    CHECK(strcmp(error.text, "a?b?c") == 0);
    CHECK(dmsg_fail_in(&error, DMSG_E_LOCAL, "file %s", "x") == DMSG_E_LOCAL);
    CHECK(strcmp(error.text, "file x: a?b?c") == 0);
    CHECK(error.code == DMSG_E_LOCAL);
    CHECK(dmsg_fail(NULL, DMSG_E_NAME, "x") == DMSG_E_NAME);
}

/* --------------------------------------------------------------------------------- buffers */

static void buffer_grows_to_its_limit(void)
{
    struct dmsg_buffer buffer = {.limit = 1000};
    for (int i = 0; i < 100; i++)
        dmsg_buffer_put(&buffer, "0123456789", 10);
    CHECK(!buffer.failed && buffer.size == 1000);
    dmsg_buffer_put_byte(&buffer, 'x');
    CHECK(buffer.failed && buffer.size == 1000);
    dmsg_buffer_put(&buffer, "", 0);
    CHECK(buffer.size == 1000);
    dmsg_buffer_reset(&buffer);
    CHECK(!buffer.failed && buffer.size == 0);
    dmsg_buffer_format(&buffer, "%0999d", 7);
    CHECK(!buffer.failed && buffer.size == 999);
    dmsg_buffer_format(&buffer, "%d", 42);
    CHECK(buffer.failed && buffer.size == 999);
    dmsg_buffer_done(&buffer);
    CHECK(buffer.data == NULL && buffer.limit == 1000);
    dmsg_buffer_done(NULL);
}

static void buffer_formats_to_the_last_octet(void)
{
    struct dmsg_buffer buffer = {.limit = 3};
    dmsg_buffer_format(&buffer, "%s", "abc");
    CHECK(!buffer.failed && dmsg_span_equal_text(dmsg_buffer_span(&buffer), "abc"));
    CHECK(buffer.limit == 3);
    CHECK(dmsg_buffer_reserve(&buffer, 0) != NULL);
    CHECK(dmsg_buffer_reserve(&buffer, SIZE_MAX) == NULL && buffer.failed);
    dmsg_buffer_done(&buffer);
}

/* ------------------------------------------------------------------------------- base64url */

static void base64url_round_trip(void)
{
    uint8_t in[200], out[200];
    char encoded[300];
    for (size_t size = 0; size <= sizeof in; size++) {
        for (size_t i = 0; i < size; i++)
            in[i] = (uint8_t)(i * 37 + size);
        size_t length = dmsg_base64url_encoded_size(size);
        dmsg_base64url_encode(encoded, (struct dmsg_span){in, size});
        struct dmsg_span span = {(uint8_t *)encoded, length};
        CHECK_ROW(dmsg_base64url_decoded_size(length) == size, "size %zu", size);
        CHECK_ROW(dmsg_base64url_decode(out, span) == (long)size, "size %zu", size);
        CHECK(memcmp(in, out, size) == 0);
        CHECK(dmsg_base64url_decode((uint8_t *)encoded, span) == (long)size); /* in place */
        CHECK(memcmp(in, encoded, size) == 0);
    }
}

static void base64url_is_strict(void)
{
    static const struct {
        const char *text;
        long size;
    } rows[] = {{"", 0}, {"QQ", 1}, {"QUI", 2}, {"QUJD", 3}, {"-_-_", 3}, {"Q", -1}, {"QUJDR", -1},
        {"QQ==", -1}, {"QUI=", -1}, {"QR", -1}, {"QUJ", -1}, {"QUJDQR", -1}, {"QU JD", -1},
        {"QUJD\n", -1}, {"+/+/", -1}, {"QU\tD", -1}, {"QUJ.", -1}, {"\xc3\xa9\xc3\xa9", -1},
        {"=QUJ", -1}, {"QUJDQ?", -1}, {"?UJD", -1}};
    uint8_t out[16];
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_ROW(dmsg_base64url_decode(out, text(rows[i].text)) == rows[i].size, "row %zu", i);
}

static void base64url_refuses_every_other_character(void)
{
    uint8_t out[8];
    for (unsigned c = 0; c < 256; c++) {
        bool good = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_';
        for (size_t at = 0; at < 4; at++) {
            uint8_t in[4] = {'A', 'A', 'A', 'A'};
            in[at] = (uint8_t)c;
            CHECK_ROW(
                (dmsg_base64url_decode(out, (struct dmsg_span){in, 4}) == 3) == good, "%02x", c);
        }
    }
}

static void base64_with_padding(void)
{
    static const struct {
        const char *text;
        const char *value;
    } rows[] = {{"", ""}, {"QQ==", "A"}, {"QUI=", "AB"}, {"QUJD", "ABC"}, {"QQ", NULL},
        {"QQ=", NULL}, {"QQ===", NULL}, {"====", NULL}, {"QR==", NULL}, {"QUJ=", NULL},
        {"Q===", NULL}, {"QQ==QQ==", NULL}, {"QU\nI=", NULL}, {"-_==", NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_buffer out = {0}, again = {0};
        int result = dmsg_base64_take(&out, text(rows[i].text));
        CHECK_ROW((result == 0) == (rows[i].value != NULL), "row %zu", i);
        if (result == 0 && rows[i].value != NULL) {
            CHECK(dmsg_span_equal_text(dmsg_buffer_span(&out), rows[i].value));
            dmsg_base64_put(&again, dmsg_buffer_span(&out));
            CHECK(dmsg_span_equal_text(dmsg_buffer_span(&again), rows[i].text));
        }
        dmsg_buffer_done(&out);
        dmsg_buffer_done(&again);
    }
}

static void base64url_into_buffers(void)
{
    struct dmsg_buffer out = {.limit = 5};
    CHECK(dmsg_base64url_take(&out, text("QUJD")) == 0);
    CHECK(dmsg_base64url_take(&out, text("QUJD")) == -1 && out.failed);
    dmsg_buffer_reset(&out);
    CHECK(dmsg_base64url_take(&out, text("QUJ!")) == -1 && !out.failed && out.size == 0);
    dmsg_base64url_put(&out, text("ABC"));
    CHECK(dmsg_span_equal_text(dmsg_buffer_span(&out), "QUJD"));
    dmsg_base64url_put(&out, text("ABC"));
    CHECK(out.failed);
    dmsg_buffer_done(&out);
}

/* ----------------------------------------------------------------------------------- names */

#define LABEL63 "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffggg"

static void names(void)
{
    static const struct {
        const char *text;
        const char *canonical;
    } rows[] = {{"alice.example", "alice.example"}, {"Alice.EXAMPLE.", "alice.example"},
        {"a.b._device.example.net", "a.b._device.example.net"},
        {"xn--bcher-kva.ch", "xn--bcher-kva.ch"}, {"1-2.3_4", "1-2.3_4"},
        {LABEL63 ".example", LABEL63 ".example"}, {"", NULL}, {".", NULL}, {"example", NULL},
        {"example.", NULL}, {"a..b", NULL}, {".a.b", NULL}, {"a.b..", NULL},
        {LABEL63 "a.example", NULL}, {"*.example", NULL}, {"a/b.example", NULL},
        {"a+.example", NULL}, {"#.example", NULL}, {"a b.example", NULL}, {"a\\.b.example", NULL},
        {"a\\065.example", NULL}, {"b\xc3\xbc.example", NULL}, {"a.example\n", NULL},
        {"a%2e.example", NULL}, {"a.example?", NULL}, {"../a.example", NULL},
        {"a:b.example", NULL}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_name name = {.text = "unchanged"};
        struct dmsg_error error = {0};
        int result = dmsg_name_parse(&name, text(rows[i].text), &error);
        if (rows[i].canonical != NULL) {
            CHECK_ROW(result == 0 && strcmp(name.text, rows[i].canonical) == 0, "row %zu", i);
            CHECK(name.size == strlen(name.text));
        } else {
            CHECK_ROW(result == DMSG_E_NAME && error.code == DMSG_E_NAME, "row %zu", i);
            CHECK(strcmp(name.text, "unchanged") == 0);
        }
    }
}

static void names_of_the_longest_size(void)
{
    char longest[256] = "";
    struct dmsg_name name;
    for (int i = 0; i < 3; i++)
        strcat(longest, LABEL63 ".");
    strcat(longest, "aaaaaaaaaabbbbbbbbbbccccccccccddddddddddeeeeeeeeeeffffffffffg"); /* 253 */
    CHECK(strlen(longest) == 253);
    CHECK(dmsg_name_parse(&name, text(longest), NULL) == 0 && name.size == 253);
    strcat(longest, "a");
    CHECK(dmsg_name_parse(&name, text(longest), NULL) == DMSG_E_NAME);
    CHECK(dmsg_name_parse(&name, (struct dmsg_span){(const uint8_t *)"a\0.b", 4}, NULL) ==
          DMSG_E_NAME);
}

static void patterns(void)
{
    static const struct {
        const char *pattern, *name;
        int match; /* 1, 0, or -1: not a pattern */
    } rows[] = {{"a.example", "a.example", 1}, {"A.example.", "a.example", 1},
        {"a.example", "b.a.example", 0}, {"*.example.net", "a.example.net", 1},
        {"*.example.net", "a.b.example.net", 1}, {"*.example.net", "example.net", 0},
        {"*.example.net", "aexample.net", 0}, {"*.example.net", "a.example.org", 0},
        {"*", "a.example", -1}, {"*.example", "a.example", -1}, {"a*.example.net", "a.example", -1},
        {"*.*.example.net", "a.example", -1}, {"", "a.example", -1}, {"*.", "a.example", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_pattern pattern;
        struct dmsg_name name;
        REQUIRE(dmsg_name_parse(&name, text(rows[i].name), NULL) == 0);
        int result = dmsg_pattern_parse(&pattern, text(rows[i].pattern), NULL);
        CHECK_ROW(result == (rows[i].match < 0 ? DMSG_E_USAGE : 0), "row %zu", i);
        if (result == 0)
            CHECK_ROW(dmsg_pattern_match(&pattern, &name) == (rows[i].match == 1), "row %zu", i);
    }
}

/* ------------------------------------------------------------------------------------ text */

static void utf8(void)
{
    static const struct {
        const char *text;
        bool valid;
    } rows[] = {{"", true}, {"abc", true}, {"\xc3\xa9", true}, {"\xe2\x82\xac", true},
        {"\xf0\x9f\x98\x80", true}, {"\xf4\x8f\xbf\xbf", true}, {"\xc0\x80", false},
        {"\xc1\xbf", false}, {"\xe0\x80\xaf", false}, {"\xed\xa0\x80", false},
        {"\xf4\x90\x80\x80", false}, {"\xf8\x88\x80\x80\x80", false}, {"\x80", false},
        {"\xc3", false}, {"\xe2\x82", false}, {"\xff", false}, {"a\xc3(", false},
        {"\xf0\x80\x80\x80", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_ROW(dmsg_utf8_valid(text(rows[i].text)) == rows[i].valid, "row %zu", i);
}

static void escaping(void)
{
    static const struct {
        const char *in, *lines, *one_line;
    } rows[] = {{"hello", "hello", "hello"}, {"a\nb\tc", "a\nb\\u{0009}c", "a\\nb\\tc"},
        {"\x1b[2J", "\\u{001b}[2J", "\\u{001b}[2J"}, {"\xc2\x9b", "\\u{009b}", "\\u{009b}"},
        {"a\rb", "a\\u{000d}b", "a\\u{000d}b"}, {"\xe2\x80\xae", "\\u{202e}", "\\u{202e}"},
        {"\xe2\x81\xa6x", "\\u{2066}x", "\\u{2066}x"}, {"\xe2\x80\x8b", "\\u{200b}", "\\u{200b}"},
        {"\xff\xfe", "\\xff\\xfe", "\\xff\\xfe"},
        {"gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f", "gr\xc3\xbc\xc3\x9f"},
        {"\xf3\xa0\x81\x81", "\\u{e0041}", "\\u{e0041}"}, {"\x7f", "\\u{007f}", "\\u{007f}"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_buffer out = {0};
        dmsg_text_escape(&out, text(rows[i].in), false);
        CHECK_ROW(dmsg_span_equal_text(dmsg_buffer_span(&out), rows[i].lines), "row %zu", i);
        dmsg_buffer_reset(&out);
        dmsg_text_escape(&out, text(rows[i].in), true);
        CHECK_ROW(dmsg_span_equal_text(dmsg_buffer_span(&out), rows[i].one_line), "row %zu", i);
        dmsg_buffer_done(&out);
    }
}

static void json_strings_read_back(void)
{
    static const char *const rows[] = {"", "plain", "quote\" back\\slash", "\n\t\x01\x1f\x7f",
        "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80", "</script>"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_buffer out = {0};
        dmsg_json_put_string(&out, text(rows[i]));
        for (size_t k = 0; k < out.size; k++)
            CHECK(out.data[k] >= 0x20 && out.data[k] < 0x7f);
        json_t *value = json_loadb((char *)out.data, out.size, JSON_DECODE_ANY, NULL);
        CHECK_ROW(value != NULL && strcmp(json_string_value(value), rows[i]) == 0, "row %zu", i);
        json_decref(value);
        dmsg_buffer_done(&out);
    }
    struct dmsg_buffer out = {0};
    dmsg_json_put_string(&out, text("a\xff"));
    CHECK(dmsg_span_equal_text(dmsg_buffer_span(&out), "\"a\\ufffd\""));
    dmsg_buffer_done(&out);
}

/* --------------------------------------------------------------------------------- context */

static int64_t fixed_now(void *user)
{
    return *(int64_t *)user;
}

static void context_is_replaceable(void)
{
    int64_t now = 1700000000;
    struct dmsg_context fixed = {.user = &now, .now = fixed_now};
    struct dmsg_context real = {0};
    uint8_t a[16] = {0}, b[16] = {0};
    CHECK(dmsg_context_now(&fixed) == 1700000000);
    CHECK(dmsg_context_now(&real) > 1700000000);
    CHECK(dmsg_context_random(&real, a, sizeof a) == 0 && dmsg_context_random(&real, b, 16) == 0);
    CHECK(memcmp(a, b, sizeof a) != 0);
}

static void count_event(void *user, const struct dmsg_event *event)
{
    *(int *)user += strcmp(event->text, "7 things") == 0;
}

static void log_goes_to_the_caller(void)
{
    int count = 0;
    struct dmsg_log log = {.write = count_event, .user = &count}, silent = {0};
    dmsg_log_text(&log, DMSG_LOG_INFO, "%d things", 7);
    dmsg_log_text(&silent, DMSG_LOG_INFO, "%d things", 7);
    dmsg_log_text(NULL, DMSG_LOG_INFO, "%d things", 7);
    CHECK(count == 1);
}

TEST_MAIN(TEST(error_words_are_unique), TEST(error_texts_are_printable),
    TEST(buffer_grows_to_its_limit), TEST(buffer_formats_to_the_last_octet),
    TEST(base64url_round_trip), TEST(base64url_is_strict),
    TEST(base64url_refuses_every_other_character), TEST(base64_with_padding),
    TEST(base64url_into_buffers), TEST(names), TEST(names_of_the_longest_size), TEST(patterns),
    TEST(utf8), TEST(escaping), TEST(json_strings_read_back), TEST(context_is_replaceable),
    TEST(log_goes_to_the_caller))
