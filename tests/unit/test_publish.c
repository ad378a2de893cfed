/* Publishing without a server: key files, transaction signatures, PowerDNS's JSON, URLs, sets. */
#include "base/cleanup.h"
#include "dane/publish_internal.h"
#include "dane/publish_json.h"
#include "test.h"

#include <ctype.h>
#include <stdlib.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

#define NOW 1800000000
#define SECRET "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE="
#define KEY "key \"k.example\" { algorithm hmac-sha256; secret \"" SECRET "\"; };"

/* ------------------------------------------------------------------------------------ key files */

static void key_files(void)
{
    static const struct {
        const char *text;
        const char *name; /* NULL: refused */
        const char *algorithm;
    } rows[] = {
        {KEY, "k.example.", "hmac-sha256"},
        {"# by hand\n// twice\n/* and\nagain */" KEY "\n# end", "k.example.", "hmac-sha256"},
        {"key K.Example. {\n\tsecret \"" SECRET "\";\n\talgorithm HMAC-SHA512.;\n};\n",
            "k.example.", "hmac-sha512"},
        {"key\"one\"{algorithm\"hmac-sha384\";secret\"" SECRET "\";};", "one.", "hmac-sha384"},
        {"", NULL, NULL},
        {"key", NULL, NULL},
        {"key \"k\" {", NULL, NULL},
        {"key \"k\" { };", NULL, NULL},
        {"key \"k\" { algorithm hmac-sha256; };", NULL, NULL},
        {"key \"k\" { secret \"" SECRET "\"; };", NULL, NULL},
        {"key \"k\" { algorithm hmac-sha256; secret \"" SECRET "\"; }", NULL, NULL},
        {"key \"k\" { algorithm hmac-sha256 secret \"" SECRET "\"; };", NULL, NULL},
        {"key \"k\" { algorithm hmac-md5; secret \"" SECRET "\"; };", NULL, NULL},
        {"key \"k\" { algorithm hmac-sha1; secret \"" SECRET "\"; };", NULL, NULL},
        {"key \"k\" { algorithm hmac-sha256-128; secret \"" SECRET "\"; };", NULL, NULL},
        {"key \"k\" { algorithm hmac-sha25; secret \"" SECRET "\"; };", NULL, NULL},
        {"key \"k\" { algorithm hmac-sha256; algorithm hmac-sha256; };", NULL, NULL},
        {"key \"k\" { algorithm hmac-sha256; secret \"\"; };", NULL, NULL},
        {"key \"k\" { algorithm hmac-sha256; secret \"eHh4\"; };", NULL, NULL},
        {"key \"k\" { algorithm hmac-sha256; secret \"" SECRET "=\"; };", NULL, NULL},
        {"key \"k\" { algorithm hmac-sha256; secret \"" SECRET "; };", NULL, NULL},
        {"key \"k\" { algorithm hmac-sha256; secret \"" SECRET "\"; color red; };", NULL, NULL},
        {"key \"\" { algorithm hmac-sha256; secret \"" SECRET "\"; };", NULL, NULL},
        {"key \".\" { algorithm hmac-sha256; secret \"" SECRET "\"; };", NULL, NULL},
        {"key \"a b\" { algorithm hmac-sha256; secret \"" SECRET "\"; };", NULL, NULL},
        {KEY KEY, NULL, NULL},
        {KEY "/* no end", NULL, NULL},
        {KEY "x", NULL, NULL},
        {"zone " KEY, NULL, NULL},
        {"hmac-sha256:k:" SECRET, NULL, NULL},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct dmsg_tsig_key key = {0};
        struct dmsg_error error = {0};
        int result = dmsg_tsig_key_parse(&key, dmsg_span_text(rows[i].text), &error);
        CHECK_ROW(result == (rows[i].name != NULL ? 0 : DMSG_E_LOCAL), "%s: %s", rows[i].text,
            error.text);
        CHECK_ROW(strstr(error.text, "MDEyMzQ1") == NULL, "%s: %s", rows[i].text, error.text);
        if (result < 0 || rows[i].name == NULL)
            continue;
        CHECK_ROW(strcmp(key.name, rows[i].name) == 0, "%s", key.name);
        CHECK(strcmp(dmsg_tsig_algorithm_name(key.algorithm), rows[i].algorithm) == 0);
        CHECK(key.secret_size == 32 && memcmp(key.secret, "0123456789", 10) == 0);
    }
}

/* Every beginning of a good file but itself, and every octet of it altered, ends. */
static void key_files_cut_and_altered(void)
{
    struct dmsg_tsig_key key;
    char text[] = KEY;
    for (size_t size = 0; size < sizeof text - 1; size++)
        CHECK_ROW(dmsg_tsig_key_parse(&key, (struct dmsg_span){(uint8_t *)text, size}, NULL) < 0,
            "%zu octets", size);
    for (size_t i = 0; i < sizeof text - 1; i++) {
        for (int c = 0; c < 256; c++) {
            char kept = text[i];
            text[i] = (char)c;
            int result = dmsg_tsig_key_parse(
                &key, (struct dmsg_span){(uint8_t *)text, sizeof text - 1}, NULL);
            CHECK(result == 0 || result == DMSG_E_LOCAL);
            text[i] = kept;
        }
    }
}

/* ------------------------------------------------------------------------------------------ TSIG
 */

/* A question for k.example/A with the ID 0x1234; an answer has the QR bit. */
static void put_message(struct dmsg_buffer *out, bool answer)
{
    const uint8_t head[] = {0x12, 0x34, answer ? 0x80 : 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 'k', 7,
        'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 1, 0, 1};
    dmsg_buffer_put(out, head, sizeof head);
}

static void parse_key(struct dmsg_tsig_key *key, const char *text)
{
    CHECK(dmsg_tsig_key_parse(key, dmsg_span_text(text), NULL) == 0);
}

/* Over the wire format of RFC 8945 section 4.2, computed with another implementation (Python's
   hmac over the same octets). */
static void a_known_signature(void)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer message = {0};
    struct dmsg_tsig_key key;
    struct dmsg_tsig_mac mac;
    static const uint8_t expected[] = {0x77, 0x97, 0x90, 0x57, 0x6e, 0x39, 0x95, 0xbd, 0x21, 0x5a,
        0x90, 0x4a, 0xa7, 0xc0, 0x0b, 0xae, 0xba, 0xa6, 0x8c, 0x0d, 0x2b, 0x7b, 0x78, 0x97, 0xc5,
        0x34, 0x4d, 0xf1, 0x92, 0x4b, 0xd9, 0x29};
    parse_key(&key, KEY);
    put_message(&message, false);
    REQUIRE(dmsg_tsig_sign(&message, &key, NOW, &mac, NULL) == 0);
    CHECK(mac.size == sizeof expected && memcmp(mac.octets, expected, sizeof expected) == 0);
    CHECK(message.size == 27 + 11 + 10 + 13 + 16 + 32);
    CHECK(message.data[11] == 1 && message.data[27] == 1 && message.data[28] == 'k');
}

static struct dmsg_tsig_answer verify(struct dmsg_span message, const char *key_text, int64_t now)
{
    struct dmsg_tsig_answer answer = {0};
    struct dmsg_tsig_key key;
    parse_key(&key, key_text);
    /* An answer to nothing is signed as a question is: there is no MAC before it. */
    CHECK(dmsg_tsig_verify(&answer, message, &key, now, NULL, NULL) == 0);
    return answer;
}

static void put_signed(struct dmsg_buffer *out, const char *key_text)
{
    struct dmsg_tsig_key key;
    struct dmsg_tsig_mac mac;
    parse_key(&key, key_text);
    put_message(out, true);
    CHECK(dmsg_tsig_sign(out, &key, NOW, &mac, NULL) == 0);
}

static void signatures(void)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer message = {0};
    static const char other_secret[] = "key \"k.example\" { algorithm hmac-sha256; secret "
                                       "\"ADEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=\"; };";
    static const char other_name[] =
        "key \"l.example\" { algorithm hmac-sha256; secret \"" SECRET "\"; };";
    static const char other_algorithm[] =
        "key \"k.example\" { algorithm hmac-sha384; secret \"" SECRET "\"; };";
    put_signed(&message, KEY);
    struct dmsg_span span = dmsg_buffer_span(&message);
    CHECK(verify(span, KEY, NOW).verdict == DMSG_TSIG_GOOD);
    CHECK(verify(span, KEY, NOW + 300).verdict == DMSG_TSIG_GOOD);
    CHECK(verify(span, KEY, NOW - 300).verdict == DMSG_TSIG_GOOD);
    CHECK(verify(span, KEY, NOW + 301).verdict == DMSG_TSIG_UNTIMELY);
    CHECK(verify(span, KEY, NOW - 301).verdict == DMSG_TSIG_UNTIMELY);
    CHECK(verify(span, other_secret, NOW).verdict == DMSG_TSIG_WRONG);
    CHECK(verify(span, other_name, NOW).verdict == DMSG_TSIG_WRONG);
    CHECK(verify(span, other_algorithm, NOW).verdict == DMSG_TSIG_WRONG);
}

/* Bound to the request: its MAC goes in before the answer. */
static void an_answer_to_another_request(void)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer message = {0};
    const struct dmsg_tsig_mac other = {.size = 32};
    struct dmsg_tsig_answer answer;
    struct dmsg_tsig_key key;
    parse_key(&key, KEY);
    put_signed(&message, KEY);
    CHECK(dmsg_tsig_verify(&answer, dmsg_buffer_span(&message), &key, NOW, &other, NULL) == 0);
    CHECK(answer.verdict == DMSG_TSIG_WRONG);
}

static void unsigned_answers(void)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer message = {0};
    static const uint8_t empty_mac[] = {1, 'k', 7, 'e', 'x', 'a', 'm', 'p', 'l', 'e', 0, 0, 250, 0,
        255, 0, 0, 0, 0, 0, 29, 11, 'h', 'm', 'a', 'c', '-', 's', 'h', 'a', '2', '5', '6', 0, 0, 0,
        0, 0, 0, 0, 1, 44, 0, 0, 0x12, 0x34, 0, DMSG_TSIG_BADKEY, 0, 0};
    struct dmsg_tsig_answer answer;
    struct dmsg_tsig_key key;
    parse_key(&key, KEY);
    put_message(&message, true);
    CHECK(verify(dmsg_buffer_span(&message), KEY, NOW).verdict == DMSG_TSIG_MISSING);
    dmsg_buffer_put(&message, empty_mac, sizeof empty_mac);
    message.data[11] = 1;
    answer = verify(dmsg_buffer_span(&message), KEY, NOW);
    CHECK(answer.verdict == DMSG_TSIG_MISSING && answer.error == DMSG_TSIG_BADKEY);
    CHECK(dmsg_tsig_verify(&answer, (struct dmsg_span){message.data, 11}, &key, NOW, NULL, NULL) ==
          DMSG_E_DNS_TEMPORARY);
}

/* The record's TTL; and a letter in another case makes the same name. */
static bool is_unsigned(struct dmsg_span message, size_t bit)
{
    enum { OWNER = 27, TYPE = OWNER + 11, TTL = TYPE + 4, LENGTH = TTL + 4 };
    enum { ALGORITHM = LENGTH + 2, TIME = ALGORITHM + 13 };
    size_t at = bit / 8;
    bool is_name = (at >= OWNER && at < TYPE) || (at >= ALGORITHM && at < TIME);
    return (at >= TTL && at < LENGTH) ||
           (is_name && bit % 8 == 5 && isalpha(message.data[at]) != 0);
}

/* No altered bit and no cut leaves a signature good; but the ID in the header is not signed. */
static void answers_altered(void)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer message = {0};
    struct dmsg_tsig_key key;
    struct dmsg_tsig_answer answer;
    parse_key(&key, KEY);
    put_signed(&message, KEY);
    struct dmsg_span span = dmsg_buffer_span(&message);
    for (size_t bit = 16; bit < message.size * 8; bit++) {
        message.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        int result = dmsg_tsig_verify(&answer, span, &key, NOW, NULL, NULL);
        CHECK_ROW(result == 0 && (answer.verdict != DMSG_TSIG_GOOD || is_unsigned(span, bit)),
            "bit %zu", bit);
        message.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t size = 0; size < message.size; size++) {
        /* A copy of that size, so that a reader behind its end is seen. */
        uint8_t *copy = malloc(size > 0 ? size : 1);
        REQUIRE(copy != NULL);
        memcpy(copy, message.data, size);
        int result =
            dmsg_tsig_verify(&answer, (struct dmsg_span){copy, size}, &key, NOW, NULL, NULL);
        CHECK_ROW(result < 0 || answer.verdict != DMSG_TSIG_GOOD, "%zu octets", size);
        free(copy);
    }
}

/* Names made of pointers that lead forward, to themselves, round and round. */
static void hostile_names(void)
{
    static const struct {
        uint8_t octets[24];
        size_t size;
    } rows[] = {
        {{0x12, 0x34, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0xc0, 12, 0, 1, 0, 1}, 18},
        {{0x12, 0x34, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0xc0, 14, 0xc0, 12, 0, 1}, 18},
        {{0x12, 0x34, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0xff, 0xff, 0, 1, 0, 1}, 18},
        {{0x12, 0x34, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 1, 1, 'a', 0xc0, 12, 0, 1, 0, 1}, 20},
        {{0x12, 0x34, 0x80, 0, 0, 1, 0, 0, 0, 0, 0, 1, 0x80, 0, 0, 1, 0, 1}, 18},
        {{0x12, 0x34, 0x80, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 1, 0, 1}, 17},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK_ROW(verify((struct dmsg_span){rows[i].octets, rows[i].size}, KEY, NOW).verdict ==
                      DMSG_TSIG_MISSING,
            "row %zu", i);
}

/* ---------------------------------------------------------------------------------- PowerDNS JSON
 */

static void put_text(struct dmsg_buffer *out, const char *text)
{
    dmsg_buffer_reset(out);
    dmsg_buffer_put_text(out, text);
}

static void zones(void)
{
    static const struct {
        const char *text;
        int result;
        const char *id;
        bool secondary;
    } rows[] = {
        {"[]", 0, "", false},
        {"[{\"id\":\"a.example.\",\"name\":\"a.example.\",\"kind\":\"Native\",\"masters\":[],"
         "\"serial\":3,\"dnssec\":true}]",
            0, "a.example.", false},
        {"[{\"name\":\"A.Example.\",\"id\":\"a=2Fb.\",\"kind\":\"Slave\"}]", 0, "a=2Fb.", true},
        {"[{\"id\":\"x.\",\"name\":\"b.example.\"}]", 0, "", false},
        {"[{\"id\":\"x.\",\"name\":\"a.example\"}]", 0, "", false},
        {"[{\"id\":\"../zones\",\"name\":\"a.example.\"}]", 0, "", false},
        {"[{\"id\":\"a?b\",\"name\":\"a.example.\"}]", 0, "", false},
        {"[{\"id\":\"\",\"name\":\"a.example.\"}]", 0, "", false},
        {"{}", DMSG_E_DNS_TEMPORARY, NULL, false},
        {"", DMSG_E_DNS_TEMPORARY, NULL, false},
        {"[", DMSG_E_DNS_TEMPORARY, NULL, false},
        {"[] []", DMSG_E_DNS_TEMPORARY, NULL, false},
        {"[{\"id\":1}]", DMSG_E_DNS_TEMPORARY, NULL, false},
        {"[{\"id\":\"a\",\"id\":\"b\"}]", DMSG_E_DNS_TEMPORARY, NULL, false},
        {"[[[[[[[]]]]]]]", DMSG_E_DNS_TEMPORARY, NULL, false},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer answer = {0};
        struct dmsg_api_zone zone = {0};
        struct dmsg_error error = {0};
        put_text(&answer, rows[i].text);
        int result = dmsg_api_read_zone(&zone, &answer, "a.example", &error);
        CHECK_ROW(result == rows[i].result, "%s: %s", rows[i].text, error.text);
        if (result == 0 && rows[i].id != NULL)
            CHECK_ROW(strcmp(zone.id, rows[i].id) == 0 && zone.secondary == rows[i].secondary,
                "%s: %s", rows[i].text, zone.id);
    }
}

#define SET(type, records)                                                                         \
    "{\"rrsets\":[{\"name\":\"n.example.\",\"type\":\"" type                                       \
    "\",\"ttl\":300,\"records\":[" records "]}]}"

static void records(void)
{
    static const struct {
        const char *text;
        int result;
        size_t count;
    } rows[] = {
        {"{\"rrsets\":[]}", 0, 0},
        {SET("TLSA", "{\"content\":\"3 0 0 3082aBcD\",\"disabled\":false}"), 0, 1},
        {SET("TLSA", "{\"content\":\"3 1 1 30 82 aB cD\"},{\"content\":\"255 0 0 00\"}"), 0, 2},
        {SET("TLSA", "{\"content\":\"3 0 0 00\",\"disabled\": true}"), DMSG_E_LOCAL, 0},
        {SET("A", "{\"content\":\"192.0.2.1\"}"), 0, 0},
        {"{\"rrsets\":[{\"name\":\"o.example.\",\"type\":\"TLSA\",\"records\":[{\"content\":\"x\"}"
         "]}]}",
            0, 0},
        {SET("CNAME", "{\"content\":\"o.example.\"}"), DMSG_E_LOCAL, 0},
        {SET("TLSA", "{\"content\":\"3 0 0 3\"}"), DMSG_E_DNS_TEMPORARY, 0},
        {SET("TLSA", "{\"content\":\"3 0 0 xx\"}"), DMSG_E_DNS_TEMPORARY, 0},
        {SET("TLSA", "{\"content\":\"256 0 0 00\"}"), DMSG_E_DNS_TEMPORARY, 0},
        {SET("TLSA", "{\"content\":\"3 0 00\"}"), DMSG_E_DNS_TEMPORARY, 0},
        {SET("TLSA", "{\"content\":\"\\u0033 0 0 0\\u0000\"}"), DMSG_E_DNS_TEMPORARY, 0},
        {SET("TLSA", "{}"), DMSG_E_DNS_TEMPORARY, 0},
        {SET("TLSA", "{\"content\":7}"), DMSG_E_DNS_TEMPORARY, 0},
        {"{}", DMSG_E_DNS_TEMPORARY, 0},
        {"[]", DMSG_E_DNS_TEMPORARY, 0},
        {"{\"rrsets\":{}}", DMSG_E_DNS_TEMPORARY, 0},
        {"{\"rrsets\":[{\"ttl\":-1}]}", DMSG_E_DNS_TEMPORARY, 0},
    };
    struct dmsg_name name;
    REQUIRE(dmsg_name_parse(&name, dmsg_span_text("n.example"), NULL) == 0);
    for (size_t i = 0; i < COUNT(rows); i++) {
        DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer answer = {0};
        DMSG_CLEANUP(dmsg_record_set_done) struct dmsg_record_set set = {0};
        struct dmsg_error error = {0};
        put_text(&answer, rows[i].text);
        int result = dmsg_api_read_records(&set, &answer, &name, &error);
        CHECK_ROW(result == rows[i].result, "%s: %d %s", rows[i].text, result, error.text);
        if (result == 0)
            CHECK_ROW(set.count == rows[i].count, "%s: %zu", rows[i].text, set.count);
        if (result == 0 && set.count == 1)
            CHECK(set.ttl == 300 && set.records[0].size == 7 &&
                  memcmp(set.records[0].data, "\3\0\0\x30\x82\xab\xcd", 7) == 0);
    }
}

static void too_many_records(void)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer answer = {0};
    DMSG_CLEANUP(dmsg_record_set_done) struct dmsg_record_set set = {0};
    struct dmsg_name name;
    REQUIRE(dmsg_name_parse(&name, dmsg_span_text("n.example"), NULL) == 0);
    dmsg_buffer_put_text(
        &answer, "{\"rrsets\":[{\"name\":\"n.example.\",\"type\":\"TLSA\",\"records\":[");
    for (int i = 0; i < 1000; i++)
        dmsg_buffer_format(&answer, "%s{\"content\":\"3 1 1 %04x\"}", i > 0 ? "," : "", i);
    dmsg_buffer_put_text(&answer, "]}]}");
    CHECK(dmsg_api_read_records(&set, &answer, &name, NULL) == DMSG_E_LOCAL);
}

static void denials(void)
{
    static const struct {
        const char *content;
        uint32_t ttl;
    } rows[] = {
        {"ns. h. 1 3600 900 604800 60", 60},
        {"ns. h. 1 3600 900 604800 600", 300},
        {"ns. h. 1 3600 900 604800 99999999999999999999", 300},
        {"", 0},
        {"x", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer answer = {0};
        uint32_t ttl = 7;
        dmsg_buffer_format(&answer,
            "{\"rrsets\":[{\"name\":\"n.example.\",\"type\":\"SOA\",\"ttl\":300,"
            "\"records\":[{\"content\":\"%s\"}]}]}",
            rows[i].content);
        CHECK(dmsg_api_read_denial(&ttl, &answer, "n.example", NULL) == 0);
        CHECK_ROW(ttl == rows[i].ttl, "%s: %u", rows[i].content, ttl);
    }
}

/* What is written is read again as the same. */
static void changes(void)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    DMSG_CLEANUP(dmsg_record_set_done) struct dmsg_record_set again = {0};
    const struct dmsg_record_set wanted = {.ttl = 5,
        .count = 2,
        .records = {{(const uint8_t *)"\3\0\0\xff", 4}, {(const uint8_t *)"\3\1\1\0\1", 5}}};
    const struct dmsg_record_set none = {0};
    struct dmsg_name name;
    REQUIRE(dmsg_name_parse(&name, dmsg_span_text("n.example"), NULL) == 0);
    dmsg_api_put_change(&out, &name, &none);
    CHECK(dmsg_span_equal_text(dmsg_buffer_span(&out),
        "{\"rrsets\":[{\"name\":\"n.example.\",\"type\":\"TLSA\",\"changetype\":\"DELETE\"}]}"));
    dmsg_buffer_reset(&out);
    dmsg_api_put_change(&out, &name, &wanted);
    CHECK(dmsg_api_read_records(&again, &out, &name, NULL) == 0);
    dmsg_record_set_sort(&again);
    CHECK(again.ttl == 5 && dmsg_record_set_equal(&again, &wanted));
}

static void api_errors(void)
{
    static const char *const rows[][2] = {{"{\"error\":\"no\\u001b\",\"errors\":[]}", "no\x1b"},
        {"{\"error\":7}", ""}, {"", ""}, {"[]", ""}, {"{\"error\":\"x\"", ""}};
    for (size_t i = 0; i < COUNT(rows); i++) {
        DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer answer = {0};
        put_text(&answer, rows[i][0]);
        CHECK_ROW(dmsg_span_equal_text(dmsg_api_read_error(&answer), rows[i][1]), "%s", rows[i][0]);
    }
}

/* ------------------------------------------------------------------------------ URLs and sets */

static void urls(void)
{
    static const struct {
        const char *url;
        int result;
    } rows[] = {
        {"http://127.0.0.1:8081", 0},
        {"http://127.0.0.1:8081/", 0},
        {"http://localhost:8081", 0},
        {"http://[::1]:8081", 0},
        {"https://dns.example.net", 0},
        {"https://192.0.2.1:8443/pdns", 0},
        {"http://192.0.2.1", DMSG_E_USAGE},
        {"http://dns.example.net", DMSG_E_USAGE},
        {"http://127.0.0.1.example.net", DMSG_E_USAGE},
        {"http://localhost.example.net", DMSG_E_USAGE},
        {"http://127.0.0.1@example.net", DMSG_E_USAGE},
        {"https://user:password@dns.example.net", DMSG_E_USAGE},
        {"https://dns.example.net/?x=1", DMSG_E_USAGE},
        {"https://dns.example.net/#x", DMSG_E_USAGE},
        {"file:///etc/passwd", DMSG_E_USAGE},
        {"ftp://127.0.0.1", DMSG_E_USAGE},
        {"127.0.0.1:8081", DMSG_E_USAGE},
        {"", DMSG_E_USAGE},
    };
    for (size_t i = 0; i < COUNT(rows); i++)
        CHECK_ROW(dmsg_powerdns_check(rows[i].url, NULL) == rows[i].result, "%s", rows[i].url);
}

static void sets(void)
{
    const uint8_t *octets = (const uint8_t *)"\3\1\1abcd";
    struct dmsg_record_set set = {
        .count = 4, .records = {{octets, 6}, {octets, 4}, {octets, 6}, {octets, 5}}};
    const struct dmsg_record_set sorted = {
        .count = 3, .records = {{octets, 4}, {octets, 5}, {octets, 6}}};
    CHECK(!dmsg_record_set_equal(&set, &sorted));
    dmsg_record_set_sort(&set);
    CHECK(dmsg_record_set_equal(&set, &sorted));
    CHECK(dmsg_record_set_holds(&set, (struct dmsg_span){octets, 5}));
    CHECK(!dmsg_record_set_holds(&set, (struct dmsg_span){octets, 7}));
    set.count--;
    CHECK(!dmsg_record_set_equal(&set, &sorted));
}

static void one_way_only(void)
{
    static const struct {
        struct dmsg_publisher_config config;
        int result;
    } rows[] = {
        {{.server = NULL}, DMSG_E_USAGE},
        {{.server = "127.0.0.1", .powerdns = "http://127.0.0.1"}, DMSG_E_USAGE},
        {{.server = "127.0.0.1"}, DMSG_E_USAGE},
        {{.server = "ns.example", .tsig_file = "/nowhere"}, DMSG_E_USAGE},
        {{.server = "127.0.0.1", .tsig_file = "/nowhere/at/all"}, DMSG_E_LOCAL},
        {{.powerdns = "http://127.0.0.1"}, DMSG_E_USAGE},
        {{.powerdns = "http://127.0.0.1", .key_file = "/nowhere/at/all"}, DMSG_E_LOCAL},
        {{.powerdns = "http://192.0.2.1", .key_file = "/nowhere/at/all"}, DMSG_E_USAGE},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct dmsg_publisher *publisher = NULL;
        CHECK_ROW(
            dmsg_publisher_new(&publisher, &rows[i].config, NULL) == rows[i].result, "row %zu", i);
        CHECK(publisher == NULL);
    }
}

TEST_MAIN(TEST(key_files), TEST(key_files_cut_and_altered), TEST(a_known_signature),
    TEST(signatures), TEST(an_answer_to_another_request), TEST(unsigned_answers),
    TEST(answers_altered), TEST(hostile_names), TEST(zones), TEST(records), TEST(too_many_records),
    TEST(denials), TEST(changes), TEST(api_errors), TEST(urls), TEST(sets), TEST(one_way_only))
