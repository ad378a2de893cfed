/* The JSON reader: its rules one by one, and against jansson on many inputs. */
#include "base/json.h"
#include "test.h"

#include <jansson.h>
#include <stdlib.h>

/* Copies text to the heap at its exact size, so that a read past its end shows under ASan. */
static uint8_t *copy_of(const char *text, size_t size)
{
    uint8_t *copy = malloc(size + (size == 0));
    if (copy != NULL && size > 0)
        memcpy(copy, text, size);
    return copy;
}

/* Why a whole text is refused, NULL when it is accepted. */
static const char *refusal(const char *text, size_t size)
{
    struct dmsg_json json;
    uint8_t *copy = copy_of(text, size);
    dmsg_json_init(&json, copy, size);
    dmsg_json_skip(&json);
    bool good = dmsg_json_finish(&json);
    free(copy);
    return good ? NULL : json.fault != NULL ? json.fault : "unfinished";
}

struct row {
    const char *text;
    const char *fault; /* a part of it, NULL: accepted */
};

static void check_rows(const struct row *rows, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const char *fault = refusal(rows[i].text, strlen(rows[i].text));
        if (rows[i].fault == NULL)
            CHECK_ROW(fault == NULL, "%s: %s", rows[i].text, fault);
        else
            CHECK_ROW(fault != NULL && strstr(fault, rows[i].fault) != NULL, "%s: %s", rows[i].text,
                fault != NULL ? fault : "accepted");
    }
}

#define CHECK_ROWS(rows) check_rows(rows, sizeof rows / sizeof rows[0])

static void syntax(void)
{
    static const struct row rows[] = {
        {"{}", NULL},
        {" \t\r\n{ } \n", NULL},
        {"[]", NULL},
        {"[1,2]", NULL},
        {"{\"a\":true,\"b\":false,\"c\":null}", NULL},
        {"", "that JSON does not have"},
        {" ", "that JSON does not have"},
        {"{", "where a string belongs"},
        {"{\"a\"", "where a colon belongs"},
        {"{\"a\":", "that JSON does not have"},
        {"{\"a\":1", "where a comma belongs"},
        {"{\"a\":1,", "where a string belongs"},
        {"{\"a\":1,}", "where a string belongs"},
        {"{,\"a\":1}", "where a string belongs"},
        {"{\"a\":1 \"b\":2}", "where a comma belongs"},
        {"{\"a\" 1}", "where a colon belongs"},
        {"{\"a\":1}}", "after the end"},
        {"{\"a\":1}{}", "after the end"},
        {"{} x", "after the end"},
        {"{a:1}", "where a string belongs"},
        {"{'a':1}", "where a string belongs"},
        {"{1:1}", "where a string belongs"},
        {"[1,]", "that JSON does not have"},
        {"[,1]", "that JSON does not have"},
        {"[1 2]", "where a comma belongs"},
        {"[1}", "where a comma belongs"},
        {"[1", "where a comma belongs"},
        {"{\"a\":1]", "where a comma belongs"},
        {"tru", "that JSON does not have"},
        {"True", "that JSON does not have"},
        {"nul", "that JSON does not have"},
        {"truex", "after the end"},
        {"/**/{}", "that JSON does not have"},
        {"\xef\xbb\xbf{}", "that JSON does not have"},
        {"\f{}", "that JSON does not have"},
    };
    CHECK_ROWS(rows);
}

static void depth_and_count(void)
{
    static const struct row rows[] = {
        {"[[[[]]]]", NULL},
        {"[[[[[]]]]]", "depth"},
        {"{\"a\":{\"a\":{\"a\":{\"a\":1}}}}", NULL},
        {"{\"a\":{\"a\":{\"a\":{\"a\":{}}}}}", "depth"},
        {"{\"a\":[{\"a\":[1]}]}", NULL},
        {"{\"a\":[{\"a\":[[]]}]}", "depth"},
        {"[[[[1],[2]],[[3]]],[[[4]]]]", NULL},
    };
    char text[2000] = "{";
    CHECK_ROWS(rows);
    for (int i = 0; i < DMSG_JSON_MEMBERS_MAX; i++)
        sprintf(text + strlen(text), "%s\"n%d\":[]", i > 0 ? "," : "", i);
    strcat(text, "}");
    CHECK(refusal(text, strlen(text)) == NULL);
    text[strlen(text) - 1] = '\0';
    strcat(text, ",\"one more\":0}");
    CHECK(refusal(text, strlen(text)) != NULL);
}

static void names_are_unique(void)
{
    static const struct row rows[] = {
        {"{\"a\":1,\"b\":2}", NULL},
        {"{\"a\":1,\"a\":1}", "twice"},
        {"{\"a\":1,\"A\":1}", NULL},
        {"{\"a\":1,\"\\u0061\":1}", "twice"},
        {"{\"\\u0061\":1,\"a\":1}", "twice"},
        {"{\"\\u00e9\":1,\"\xc3\xa9\":1}", "twice"},
        {"{\"\\ud83d\\ude00\":1,\"\xf0\x9f\x98\x80\":1}", "twice"},
        {"{\"/\":1,\"\\/\":1}", "twice"},
        {"{\"\":1,\"\":1}", "twice"},
        {"{\"\":1,\"a\":1}", NULL},
        {"{\"a\":{\"a\":{\"a\":1}}}", NULL},
        {"{\"a\":{\"b\":1,\"b\":1}}", "twice"},
        {"{\"a\":[{\"b\":1,\"b\":1}]}", "twice"},
        {"{\"a\":{\"b\":1},\"b\":1}", NULL},
        {"{\"a\":{\"b\":1},\"c\":{\"b\":1}}", NULL},
        {"{\"a\":{\"b\":1},\"a\":1}", "twice"},
        {"[{\"a\":1},{\"a\":1}]", NULL},
    };
    CHECK_ROWS(rows);
}

static void strings(void)
{
    static const struct row rows[] = {
        {"\"\"", NULL},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0041\"", NULL},
        {"\"\x7f\"", NULL},
        {"\"\\ud83d\\ude00\"", NULL},
        {"\"\xf0\x9f\x98\x80\"", NULL},
        {"\"\xed\x9f\xbf\xee\x80\x80\"", NULL},
        {"\"", "without end"},
        {"\"a", "without end"},
        {"\"a\\", "without end"},
        {"\"a\\\"", "without end"},
        {"\"\\x41\"", "escape"},
        {"\"\\'\"", "escape"},
        {"\"\\U0041\"", "escape"},
        {"\"\\u004\"", "hex digits"},
        {"\"\\u00g1\"", "hex digits"},
        {"\"\\u004", "hex digits"},
        {"\"\\ud83d\\ude0", "surrogate"},
        {"\"\\u+041\"", "hex digits"},
        {"\"\\u", "hex digits"},
        {"\"\\u0000\"", "U+0000"},
        {"\"\\ud83d\"", "surrogate"},
        {"\"\\ud83d\\n\"", "surrogate"},
        {"\"\\ud83d\\u0041\"", "surrogate"},
        {"\"\\ud83d\\ud83d\"", "surrogate"},
        {"\"\\ude00\"", "surrogate"},
        {"\"\\ude00\\ud83d\"", "surrogate"},
        {"\"\\ude00\\ude00\"", "surrogate"},
        {"\"\\ud83d\\ude0\"", "surrogate"},
        {"\"\n\"", "control"},
        {"\"\t\"", "control"},
        {"\"\x1f\"", "control"},
        {"\"\xff\"", "UTF-8"},
        {"\"\x80\"", "UTF-8"},
        {"\"\xc3\"", "UTF-8"},
        {"\"\xc0\x80\"", "UTF-8"},
        {"\"\xc1\xbf\"", "UTF-8"},
        {"\"\xe0\x80\xaf\"", "UTF-8"},
        {"\"\xed\xa0\x80\"", "UTF-8"},
        {"\"\xf4\x90\x80\x80\"", "UTF-8"},
        {"\"\xf8\x88\x80\x80\x80\"", "UTF-8"},
        {"{\"\xc3\":1}", "UTF-8"},
    };
    CHECK_ROWS(rows);
    CHECK(refusal("\"a\0b\"", 5) != NULL);
    CHECK(refusal("{}\0", 3) != NULL);
}

static void string_values(void)
{
    static const struct {
        const char *text, *value;
    } rows[] = {{"\"abc\"", "abc"}, {" \"a\\/b\"", "a/b"}, {"\"\\u0041\\u00e9x\"", "A\xc3\xa9x"},
        {"\"\\\"\\\\\\b\\f\\n\\r\\t\"", "\"\\\b\f\n\r\t"},
        {"\"\\u20ac!\\uD83D\\uDE00\xc3\xa9\"", "\xe2\x82\xac!\xf0\x9f\x98\x80\xc3\xa9"}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_json json;
        struct dmsg_span value = {0};
        size_t size = strlen(rows[i].text);
        uint8_t *copy = copy_of(rows[i].text, size);
        dmsg_json_init(&json, copy, size);
        CHECK(dmsg_json_string(&json, &value) && dmsg_json_finish(&json));
        CHECK_ROW(dmsg_span_equal_text(value, rows[i].value), "row %zu", i);
        free(copy);
    }
}

static void numbers(void)
{
    static const struct row rows[] = {
        {"0", NULL},
        {"-0", NULL},
        {"10", NULL},
        {"-1.5e+10", NULL},
        {"1E-2", NULL},
        {"0.0", NULL},
        {"01", "leading zero"},
        {"00", "leading zero"},
        {"-01", "leading zero"},
        {"-", "that JSON does not have"},
        {"+1", "that JSON does not have"},
        {".5", "that JSON does not have"},
        {"1.", "that JSON does not have"},
        {"1e", "that JSON does not have"},
        {"1e+", "that JSON does not have"},
        {"0x10", "after the end"},
        {"1_000", "after the end"},
        {"NaN", "that JSON does not have"},
        {"Infinity", "that JSON does not have"},
        {"-Infinity", "that JSON does not have"},
    };
    CHECK_ROWS(rows);
}

static void integers(void)
{
    static const struct {
        const char *text;
        int64_t value; /* -1: refused */
    } rows[] = {{"0", 0}, {" 7 ", 7}, {"1700000000", 1700000000},
        {"9007199254740991", 9007199254740991}, {"9007199254740992", -1},
        {"99999999999999999999999999", -1}, {"-1", -1}, {"-0", -1}, {"+1", -1}, {"01", -1},
        {"1700000000.0", -1}, {"1.5", -1}, {"1e3", -1}, {"1E0", -1}, {"\"1\"", -1}, {"true", -1},
        {"null", -1}, {"[1]", -1}, {"{}", -1}, {"", -1}, {"1 1", -1}, {"0x1", -1}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_json json;
        int64_t value = -7;
        size_t size = strlen(rows[i].text);
        uint8_t *copy = copy_of(rows[i].text, size);
        dmsg_json_init(&json, copy, size);
        bool read = dmsg_json_integer(&json, &value);
        CHECK_ROW(read || value == -7, "row %zu", i);
        CHECK_ROW((read && dmsg_json_finish(&json) ? value : -1) == rows[i].value, "row %zu", i);
        free(copy);
    }
}

static void first_fault_is_kept(void)
{
    uint8_t bad[] = "{\"a\":1,\"a\":2}";
    struct dmsg_json json;
    struct dmsg_span span = {0};
    int64_t value = 5;
    dmsg_json_init(&json, bad, sizeof bad - 1);
    dmsg_json_enter_object(&json);
    CHECK(dmsg_json_next_member(&json, &span) && dmsg_json_integer(&json, &value) && value == 1);
    CHECK(!dmsg_json_next_member(&json, &span));
    const char *fault = json.fault;
    CHECK(fault != NULL);
    CHECK(!dmsg_json_integer(&json, &value) && !dmsg_json_string(&json, &span));
    CHECK(!dmsg_json_next_element(&json) && !dmsg_json_next_member(&json, &span));
    dmsg_json_enter_object(&json);
    dmsg_json_enter_array(&json);
    dmsg_json_skip(&json);
    CHECK(!dmsg_json_finish(&json) && json.fault == fault && value == 1);
}

/* --------------------------------------------------------------------------- against jansson */

/* xorshift64: the same inputs every time. */
static uint64_t random_state = 0x9e3779b97f4a7c15u;

static size_t below(size_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return (size_t)(random_state >> 11) % limit;
}

static const char *const seeds[] = {
    "{\"alg\":\"ES256\",\"typ\":\"danemsg+jws\",\"iat\":1700000000,\"exp\":1700604800}",
    "{\"alg\":\"ECDH-ES+A256KW\",\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"A\"}}",
    "{\"x5c\":[\"MIIB\\/w==\",\"MA==\"],\"a\":[1,-2.5e10,true,false,null,{},[]]}",
    " { \"\\u0061\\n\" : \"\xc3\xa9\\ud83d\\ude00\" , \"b\" : [ [ [ 0 ] ] ] } ",
    "{\"a\":{\"b\":{\"c\":[1,2]}},\"d\":\"\\\"\\\\\",\"\":\"\"}",
};

static const char *const tokens[] = {"{", "}", "[", "]", ",", ":", "\"", "\\", "\\u", "\\u0061",
    "\\ud83d", "\\ude00", "\\u0000", "\"a\":", "\"b\"", "0", "1", "-", ".", "e", "1e5", "true",
    "null", " ", "\n", "\t", "\x01", "\x7f", "\xc3", "\xa9", "\xe2\x82\xac", "\xed\xa0\x80", "\xff",
    "{\"a\":1}", "[[[[", "]]]]", "\"a\":1,", "00", "-0", "\xef\xbb\xbf"};

#define INPUT_MAX 400

static size_t mutate(char *text, size_t size)
{
    for (size_t edits = 1 + below(3); edits > 0; edits--) {
        const char *token = tokens[below(sizeof tokens / sizeof tokens[0])];
        size_t length = strlen(token), at = below(size + 1), cut = below(4) == 0 ? below(6) : 0;
        cut = cut > size - at ? size - at : cut;
        if (below(3) == 0 && at < size) {
            text[at] = (char)(text[at] ^ (1 << below(8)));
            continue;
        }
        if (size + length - cut > INPUT_MAX)
            continue;
        memmove(text + at + length, text + at + cut, size - at - cut);
        memcpy(text + at, token, length);
        size += length - cut;
    }
    return size;
}

static size_t depth_of(const json_t *value)
{
    size_t deepest = 0, index;
    const char *key;
    json_t *inside;
    if (!json_is_object(value) && !json_is_array(value))
        return 0;
    json_object_foreach((json_t *)(uintptr_t)value, key, inside) deepest =
        depth_of(inside) > deepest ? depth_of(inside) : deepest;
    json_array_foreach(value, index, inside) deepest =
        depth_of(inside) > deepest ? depth_of(inside) : deepest;
    return deepest + 1;
}

/* Reads a value with ours and compares it with jansson's. */
static bool same(struct dmsg_json *json, const json_t *expected)
{
    struct dmsg_span span = {0};
    int64_t integer = -1;
    if (json_is_object(expected)) {
        size_t members = 0;
        dmsg_json_enter_object(json);
        while (dmsg_json_next_member(json, &span)) {
            json_t *value = json_object_getn(expected, (const char *)span.data, span.size);
            if (value == NULL || !same(json, value))
                return false;
            members++;
        }
        return members == json_object_size(expected);
    }
    if (json_is_array(expected)) {
        size_t index = 0;
        dmsg_json_enter_array(json);
        while (dmsg_json_next_element(json)) {
            if (!same(json, json_array_get(expected, index++)))
                return false;
        }
        return index == json_array_size(expected);
    }
    if (json_is_string(expected))
        return dmsg_json_string(json, &span) && span.size == json_string_length(expected) &&
               memcmp(span.data, json_string_value(expected), span.size) == 0;
    if (json_is_integer(expected) && json_integer_value(expected) > 0 &&
        json_integer_value(expected) < DMSG_JSON_INTEGER_LIMIT)
        return dmsg_json_integer(json, &integer) && integer == json_integer_value(expected);
    dmsg_json_skip(json);
    return json->fault == NULL;
}

/* What jansson refuses because its own numbers are too small. */
static bool is_number_out_of_range(const json_error_t *error)
{
    return json_error_code(error) == json_error_numeric_overflow;
}

static void compare(const char *text, size_t size, size_t *accepted, size_t *refused)
{
    json_error_t error;
    json_t *theirs = json_loadb(text, size, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    const char *ours = refusal(text, size);
    if (memchr(text, 0, size) != NULL) { /* jansson overlooks a NUL after a number */
        CHECK_ROW(ours != NULL, "NUL accepted: %.*s", (int)size, text);
        json_decref(theirs);
        return;
    }
    if (theirs == NULL) {
        CHECK_ROW(ours != NULL || is_number_out_of_range(&error), "accepted alone: %.*s: %s",
            (int)size, text, error.text);
        *refused += 1;
        return;
    }
    if (depth_of(theirs) > DMSG_JSON_DEPTH_MAX) {
        CHECK_ROW(ours != NULL, "too deep: %.*s", (int)size, text);
    } else {
        CHECK_ROW(ours == NULL, "refused alone: %.*s: %s", (int)size, text, ours);
        uint8_t *copy = copy_of(text, size);
        struct dmsg_json json;
        dmsg_json_init(&json, copy, size);
        CHECK_ROW(same(&json, theirs) && dmsg_json_finish(&json), "read otherwise: %.*s", (int)size,
            text);
        free(copy);
        *accepted += 1;
    }
    json_decref(theirs);
}

static void as_jansson(void)
{
    char text[INPUT_MAX + 1];
    size_t accepted = 0, refused = 0;
    for (int i = 0; i < 100000 && !test_failed; i++) {
        const char *seed = seeds[(size_t)i % (sizeof seeds / sizeof seeds[0])];
        size_t size = strlen(seed);
        memcpy(text, seed, size);
        compare(text, size, &accepted, &refused);
        compare(text, mutate(text, size), &accepted, &refused);
        /* every beginning of the text */
        if (i < 1000)
            compare(seed, (size_t)i % size, &accepted, &refused);
    }
    printf("# %zu accepted by both, %zu refused\n", accepted, refused);
    CHECK(accepted > 100000 && refused > 30000);
}

TEST_MAIN(TEST(syntax), TEST(depth_and_count), TEST(names_are_unique), TEST(strings),
    TEST(string_values), TEST(numbers), TEST(integers), TEST(first_fault_is_kept), TEST(as_jansson))
