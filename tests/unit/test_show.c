/* cli: how an accepted message is shown. */
#include "base/fail.h"
#include "cli/show.h"
#include "test.h"

#include <jansson.h>
#include <stdlib.h>

static struct dmsg_record record_of(const char *content, size_t size)
{
    struct dmsg_record record = {.row = 1,
        .issued_at = 1700000000,
        .expires_at = 1700000100,
        .received_at = 1700000050,
        .topic = dmsg_span_text("bob.example"),
        .content = {(const uint8_t *)content, size},
        .id = "AAAAAAAAAAAAAAAAAAAAAA",
        .content_type = "text/plain"};
    CHECK(dmsg_name_parse(&record.sender, dmsg_span_text("alice.example"), NULL) == 0);
    return record;
}

static void lines(void)
{
    static const struct {
        const char *content, *line;
    } rows[] = {{"HELLO THERE", "alice.example says: HELLO THERE"}, {"", "alice.example says: "},
        {"end\n", "alice.example says: end"}, {"a\nb", "alice.example says: a\n    b"},
        {"x\nmallory.example says: y", "alice.example says: x\n    mallory.example says: y"},
        {"\n\n", "alice.example says: \n    "},
        {"\r\x1b[1A", "alice.example says: \\u{000d}\\u{001b}[1A"},
        {"\xff", "alice.example says: \\xff"}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct dmsg_record record = record_of(rows[i].content, strlen(rows[i].content));
        struct dmsg_buffer out = {0};
        show_line(&out, &record);
        CHECK_ROW(dmsg_span_equal_text(dmsg_buffer_span(&out), rows[i].line), "row %zu: %.*s", i,
            (int)out.size, (const char *)out.data);
        dmsg_buffer_done(&out);
    }
}

/* Every payload comes back whole from the JSON, pretty or not. */
static void json(void)
{
    static const struct {
        const char *content;
        size_t size;
        const char *member, *value;
    } rows[] = {{"HELLO", 5, "payload", "HELLO"}, {"", 0, "payload", ""},
        {"\"quotes\" {braces}, commas: \\", 28, "payload", "\"quotes\" {braces}, commas: \\"},
        {"\\\"", 2, "payload", "\\\""}, {"a\\", 2, "payload", "a\\"},
        {"\xff\x00", 2, "payload_base64", "/wA="}};
    for (size_t i = 0; i < COUNT(rows) * 2; i++) {
        struct dmsg_record record = record_of(rows[i / 2].content, rows[i / 2].size);
        struct dmsg_buffer out = {0};
        show_json(&out, &record, i % 2 == 1);
        json_t *object = json_loadb((char *)out.data, out.size, JSON_REJECT_DUPLICATES, NULL);
        const char *value = json_string_value(json_object_get(object, rows[i / 2].member));
        CHECK_ROW(value != NULL && strcmp(value, rows[i / 2].value) == 0, "row %zu: %.*s", i,
            (int)out.size, (const char *)out.data);
        CHECK((memchr(out.data, '\n', out.size) != NULL) == (i % 2 == 1));
        CHECK(strcmp(json_string_value(json_object_get(object, "sender")), "alice.example") == 0);
        CHECK(strcmp(json_string_value(json_object_get(object, "format")), "v1") == 0);
        json_decref(object);
        dmsg_buffer_done(&out);
    }
}

static void formats(void)
{
    static const struct {
        const char *format, *text; /* NULL: refused */
    } rows[] = {{"%p", "hi"}, {"%t %l %x %X", "bob.example 2 6869 6869"}, {"%%\\n\\\\", "%\n\\"},
        {"%{sender} %{id} %{cty} %{format}", "alice.example AAAAAAAAAAAAAAAAAAAAAA text/plain v1"},
        {"%U %I", "1700000050 2023-11-14T22:14:10Z"}, {"", ""}, {"%", NULL}, {"%z", NULL},
        {"%{who}", NULL}, {"%{sender", NULL}, {"\\q", NULL}, {"\\", NULL}};
    struct dmsg_record record = record_of("hi", 2);
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct dmsg_buffer out = {0};
        int result = show_format(&out, &record, rows[i].format, NULL);
        CHECK_ROW(result == (rows[i].text != NULL ? 0 : DMSG_E_USAGE), "row %zu", i);
        if (rows[i].text != NULL)
            CHECK_ROW(dmsg_span_equal_text(dmsg_buffer_span(&out), rows[i].text), "row %zu: %.*s",
                i, (int)out.size, (const char *)out.data);
        dmsg_buffer_done(&out);
    }
}

TEST_MAIN(TEST(lines), TEST(json), TEST(formats))
