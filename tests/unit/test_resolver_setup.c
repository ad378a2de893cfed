/* Servers, stubs, trust anchors and resolv.conf: what the parent judges before any process runs. */
#include "dane/frame.h"
#include "dane/setup.h"
#include "test.h"

#include <stdlib.h>
#include <unistd.h>

#define DIGEST "E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D"
#define KEY                                                                                        \
    "oJMRESz5E4gYzS/q6XDrvU1qMPYIjCWzJaOau8XNEZeqCYKD5ar0IRd8KqXXFJkqmVfRvMGPmM1x8fGAa2XhSA=="

/* A file with this text; unlink and free its name. */
static char *file_with(const char *text, size_t size)
{
    char *path = strdup("/tmp/danemsg-test-XXXXXX");
    int fd = path != NULL ? mkstemp(path) : -1;
    if (fd < 0 || write(fd, text, size) != (ssize_t)size)
        abort();
    close(fd);
    return path;
}

/* The texts of all items, one a line. */
static void list(char *out, size_t size, const struct dmsg_buffer *body)
{
    struct dmsg_setup_item item;
    struct dmsg_span rest = dmsg_buffer_span(body);
    size_t used = 0;
    out[0] = '\0';
    while (dmsg_setup_take(&item, &rest, NULL) == 1)
        used += (size_t)snprintf(out + used, size - used, "%d %s\n", item.kind, item.text);
}

static void judges_addresses(void)
{
    static const struct {
        const char *text;
        bool good;
    } rows[] = {
        {"127.0.0.1", true},
        {"127.0.0.1@5353", true},
        {"::1", true},
        {"2001:db8::1@53", true},
        {"fe80::1%eth0", true},
        {"fe80::1%eth0@53", true},
        {"255.255.255.255@65535", true},
        {"", false},
        {"@53", false},
        {"127.0.0.1@", false},
        {"127.0.0.1@0", false},
        {"127.0.0.1@65536", false},
        {"127.0.0.1@053000", false},
        {"127.0.0.1@-1", false},
        {"127.0.0.1@53@53", false},
        {"127.0.0.1:53", false},
        {"127.0.0.1%eth0", false},
        {"127.1", false},
        {"256.0.0.1", false},
        {"localhost", false},
        {"fe80::1%", false},
        {"fe80::1%a/b", false},
        {"fe80::1%0123456789abcdef", false},
        {"127.0.0.1 ", false},
        {"[::1]", false},
        {"127.0.0.1#example.net", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        CHECK_ROW(
            dmsg_address_valid(dmsg_span_text(rows[i].text)) == rows[i].good, "%s", rows[i].text);
    CHECK(!dmsg_address_valid((struct dmsg_span){(const uint8_t *)"127.0.0.1\0", 10}));
}

static void judges_zones(void)
{
    static const struct {
        const char *text;
        const char *zone; /* NULL: refused */
    } rows[] = {
        {".", "."},
        {"test", "test."},
        {"TEST.", "test."},
        {"device.example.net", "device.example.net."},
        {"_tcp.example", "_tcp.example."},
        {"", NULL},
        {"..", NULL},
        {"a..b", NULL},
        {"*.test", NULL},
        {"te st", NULL},
        {"te\\st", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char zone[DMSG_ZONE_TEXT] = "?";
        int result = dmsg_zone_parse(zone, dmsg_span_text(rows[i].text), NULL);
        if (rows[i].zone != NULL)
            CHECK_ROW(result == 0 && strcmp(zone, rows[i].zone) == 0, "%s", rows[i].text);
        else
            CHECK_ROW(result == DMSG_E_NAME && strcmp(zone, "?") == 0, "%s", rows[i].text);
    }
    char longest[300];
    char zone[DMSG_ZONE_TEXT];
    for (size_t i = 0; i < sizeof longest; i++)
        longest[i] = i % 50 == 49 ? '.' : 'a';
    CHECK(dmsg_zone_parse(zone, (struct dmsg_span){(uint8_t *)longest, 248}, NULL) == 0);
    CHECK(strlen(zone) == 249);
    CHECK(dmsg_zone_parse(zone, (struct dmsg_span){(uint8_t *)longest, 298}, NULL) == DMSG_E_NAME);
}

static void judges_the_configuration(void)
{
    static const struct {
        const char *server, *stub;
        int result;
    } rows[] = {
        {"192.0.2.1", "test=127.0.0.1@5353", 0},
        {"dns.example", "test=127.0.0.1@5353", DMSG_E_USAGE},
        {"192.0.2.1", "test", DMSG_E_USAGE},
        {"192.0.2.1", "=127.0.0.1", DMSG_E_USAGE},
        {"192.0.2.1", "test=", DMSG_E_USAGE},
        {"192.0.2.1", "te st=127.0.0.1", DMSG_E_USAGE},
        {"192.0.2.1", "test=127.0.0.1=127.0.0.2", DMSG_E_USAGE},
    };
    char *anchors = file_with(". IN DS 20326 8 2 " DIGEST "\n", strlen(DIGEST) + 19);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_resolver_config config = {.servers = &rows[i].server,
            .server_count = 1,
            .stubs = &rows[i].stub,
            .stub_count = 1,
            .trust_anchor = anchors};
        struct dmsg_buffer body = {.limit = 60000};
        struct dmsg_error error = {0};
        char text[500];
        CHECK_ROW(dmsg_setup_make(&body, &config, &error) == rows[i].result, "row %zu", i);
        CHECK_ROW(error.code == rows[i].result, "row %zu", i);
        list(text, sizeof text, &body);
        const char *expected = rows[i].result == 0 ? "1 192.0.2.1\n3 test.=127.0.0.1@5353\n"
                                                     "4 . IN DS 20326 8 2 " DIGEST "\n"
                                                   : "";
        CHECK_ROW(strcmp(text, expected) == 0, "row %zu: %s", i, text);
        dmsg_buffer_done(&body);
    }
    unlink(anchors);
    free(anchors);
}

static void bounds_the_configuration(void)
{
    const char *servers[33];
    for (size_t i = 0; i < 33; i++)
        servers[i] = "192.0.2.1";
    struct dmsg_resolver_config config = {.servers = servers, .server_count = 32};
    struct dmsg_buffer body = {.limit = 60000};
    CHECK(dmsg_setup_make(&body, &config, NULL) == 0);
    dmsg_buffer_reset(&body);
    config.server_count = 33;
    CHECK(dmsg_setup_make(&body, &config, NULL) == DMSG_E_USAGE && body.size == 0);
    dmsg_buffer_done(&body);
}

static const struct {
    const char *what, *text;
    const char *items; /* NULL: refused */
} anchor_files[] = {
    {"DS", ". IN DS 20326 8 2 " DIGEST "\n", "4 . IN DS 20326 8 2 " DIGEST "\n"},
    {"no newline at the end", ". IN DS 20326 8 2 " DIGEST, "4 . IN DS 20326 8 2 " DIGEST "\n"},
    {"TTL and class", "Test. 3600 IN DS 1 13 2 " DIGEST "\n", "4 test. IN DS 1 13 2 " DIGEST "\n"},
    {"class and TTL", "test. IN 3600 DS 1 13 2 " DIGEST "\n", "4 test. IN DS 1 13 2 " DIGEST "\n"},
    {"neither (keymgr)", "test. DS 1 13 2 " DIGEST "\r\n", "4 test. IN DS 1 13 2 " DIGEST "\n"},
    {"small letters", "test in ds 1 13 2 " DIGEST "\n", "4 test. IN DS 1 13 2 " DIGEST "\n"},
    {"digest cut in two (dig)",
        "test. DS 1 13 2 E06D44B80B8F1D39A95C0B0D7C65D08458E88040 9BBC683457104237C7F8EC8D\n",
        "4 test. IN DS 1 13 2 " DIGEST "\n"},
    {"DNSKEY", "a.test. IN DNSKEY 257 3 13 " KEY " ; keytag 1\n",
        "4 a.test. IN DNSKEY 257 3 13 " KEY "\n"},
    {"parentheses, comments, directive",
        "; anchors\n\n$TTL 60\n  \t\na.test. IN DS ( 1 13 2 ; here\n  " DIGEST " )\n",
        "4 a.test. IN DS 1 13 2 " DIGEST "\n"},
    {"two, and a key that is revoked",
        "test. DS 1 13 2 " DIGEST "\na.test. DNSKEY 385 3 13 " KEY "\n"
        "b.test. DS 2 13 2 " DIGEST "\n",
        "4 test. IN DS 1 13 2 " DIGEST "\n4 b.test. IN DS 2 13 2 " DIGEST "\n"},
    {"unbound's own file",
        "; autotrust trust anchor file\n;;id: . 1\n"
        ". 86400 IN DNSKEY 257 3 13 " KEY " ;{id = 1 (ksk)} ;;state=2 [  VALID  ] ;;count=0\n"
        "b. 86400 IN DNSKEY 257 3 13 " KEY " ;;state=1 [ ADDPEND ] ;;count=0\n"
        "c. 86400 IN DNSKEY 257 3 13 " KEY " ;;state=3 [ MISSING ] ;;count=0\n"
        "d. 86400 IN DNSKEY 257 3 13 " KEY " ;;state=4 [ REVOKED ] ;;count=0\n"
        "e. 86400 IN DNSKEY 257 3 13 " KEY " ;;state=",
        "4 . IN DNSKEY 257 3 13 " KEY "\n4 c. IN DNSKEY 257 3 13 " KEY
        "\n4 e. IN DNSKEY 257 3 13 " KEY "\n"},

    {"empty", "", NULL},
    {"only comments", "; nothing\n", NULL},
    {"only a directive", "$TTL 5\n", NULL},
    {"only a pending key", ". IN DNSKEY 257 3 13 " KEY " ;;state=1 [ ADDPEND ]\n", NULL},
    {"only a revoked key", ". IN DNSKEY 385 3 13 " KEY "\n", NULL},
    {"prose", "this is no anchor\n", NULL},
    {"another type", ". IN A 192.0.2.1\n", NULL},
    {"$INCLUDE", "$INCLUDE /etc/passwd\ntest. DS 1 13 2 " DIGEST "\n", NULL},
    {"$ORIGIN", "$ORIGIN test.\na DS 1 13 2 " DIGEST "\n", NULL},
    {"no owner", " IN DS 1 13 2 " DIGEST "\n", NULL},
    {"digest too short", ". IN DS 1 13 2 E06D\n", NULL},
    {"digest too long", ". IN DS 1 13 2 " DIGEST "00\n", NULL},
    {"digest of another type's length", ". IN DS 1 13 4 " DIGEST "\n", NULL},
    {"digest type 3", ". IN DS 1 13 3 " DIGEST "\n", NULL},
    {"digest not hexadecimal",
        ". IN DS 1 13 2 X06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n", NULL},
    {"key tag too large", ". IN DS 65536 13 2 " DIGEST "\n", NULL},
    {"algorithm too large", ". IN DS 1 256 2 " DIGEST "\n", NULL},
    {"negative", ". IN DS -1 13 2 " DIGEST "\n", NULL},
    {"fields missing", ". IN DS 1 13\n", NULL},
    {"only the type", ". IN DS\n", NULL},
    {"only the owner", ".\n", NULL},
    {"not a zone key", ". IN DNSKEY 1 3 13 " KEY "\n", NULL},
    {"protocol 2", ". IN DNSKEY 257 2 13 " KEY "\n", NULL},
    {"key not base64", ". IN DNSKEY 257 3 13 !!!!\n", NULL},
    {"key unpadded", ". IN DNSKEY 257 3 13 oJMRESz5E4gYzS/q6XDrvU1qMPYIjCWzJaOau8XNEZeqCYK\n",
        NULL},
    {"key too short", ". IN DNSKEY 257 3 13 AAAA\n", NULL},
    {"open parenthesis", ". IN DS ( 1 13 2 " DIGEST "\n", NULL},
    {"closing parenthesis", ". IN DS ) 1 13 2 " DIGEST "\n", NULL},
    {"closing parenthesis alone", ")\n. IN DS 1 13 2 " DIGEST "\n", NULL},
    {"nested parentheses", ". IN DS ( ( 1 13 2 " DIGEST " ) )\n", NULL},
    {"good, then bad", "test. DS 1 13 2 " DIGEST "\ntest. DS 1 13 2 00\n", NULL},
};

static void reads_anchor_files(void)
{
    for (size_t i = 0; i < sizeof anchor_files / sizeof anchor_files[0]; i++) {
        char *path = file_with(anchor_files[i].text, strlen(anchor_files[i].text));
        struct dmsg_buffer body = {.limit = 60000};
        struct dmsg_error error = {0};
        char text[2000];
        int result = dmsg_setup_put_anchors(&body, path, &error);
        list(text, sizeof text, &body);
        if (anchor_files[i].items != NULL) {
            CHECK_ROW(result == 0, "%s: %s", anchor_files[i].what, error.text);
            CHECK_ROW(
                strcmp(text, anchor_files[i].items) == 0, "%s: %s", anchor_files[i].what, text);
        } else {
            CHECK_ROW(
                result == DMSG_E_LOCAL && error.code == DMSG_E_LOCAL, "%s", anchor_files[i].what);
            CHECK_ROW(strstr(error.text, path) != NULL, "%s: %s", anchor_files[i].what, error.text);
            CHECK_ROW(text[0] == '\0', "%s: %s", anchor_files[i].what, text);
        }
        dmsg_buffer_done(&body);
        unlink(path);
        free(path);
    }
}

static void names_the_line(void)
{
    static const char text[] = "; one\ntest. IN DS (\n 1 13 2\n " DIGEST " )\n\nbad line\n";
    char *path = file_with(text, sizeof text - 1);
    struct dmsg_buffer body = {0};
    struct dmsg_error error = {0};
    CHECK(dmsg_setup_put_anchors(&body, path, &error) == DMSG_E_LOCAL);
    CHECK(strstr(error.text, "line 6:") != NULL);
    dmsg_buffer_done(&body);
    unlink(path);
    free(path);
}

static void bounds_anchor_files(void)
{
    struct dmsg_buffer text = {0}, body = {.limit = 60000};
    for (int i = 0; i < 32; i++)
        dmsg_buffer_put_text(&text, "test. DS 1 13 2 " DIGEST "\n");
    char *path = file_with((char *)text.data, text.size);
    CHECK(dmsg_setup_put_anchors(&body, path, NULL) == 0);
    unlink(path);
    free(path);
    dmsg_buffer_put_text(&text, "test. DS 1 13 2 " DIGEST "\n");
    path = file_with((char *)text.data, text.size);
    dmsg_buffer_reset(&body);
    CHECK(dmsg_setup_put_anchors(&body, path, NULL) == DMSG_E_LOCAL && body.size == 0);
    unlink(path);
    free(path);

    dmsg_buffer_reset(&text);
    dmsg_buffer_put_text(&text, "test. DS 1 13 2 " DIGEST "\n");
    while (text.size < 64 * 1024)
        dmsg_buffer_put_text(&text, "\n");
    path = file_with((char *)text.data, text.size);
    CHECK(dmsg_setup_put_anchors(&body, path, NULL) == 0);
    unlink(path);
    free(path);
    dmsg_buffer_put_text(&text, "\n");
    path = file_with((char *)text.data, text.size);
    CHECK(dmsg_setup_put_anchors(&body, path, NULL) == DMSG_E_LOCAL);
    unlink(path);
    free(path);
    dmsg_buffer_done(&text);
    dmsg_buffer_done(&body);
    CHECK(dmsg_setup_put_anchors(&body, "/nonexistent/anchor", NULL) == DMSG_E_LOCAL);
    CHECK(dmsg_setup_put_anchors(&body, "/tmp", NULL) == DMSG_E_LOCAL);
    dmsg_buffer_done(&body);
}

/* Every prefix of a good file, and single octets changed: no step outside, no anchor made up. */
static void survives_anything(void)
{
    static const char good[] =
        "; x\n. 5 IN DNSKEY ( 257 3 13 " KEY " ) ;;state=2\ntest. DS 1 13 2 " DIGEST "\n";
    for (size_t i = 0; i < 3 * (sizeof good - 1); i++) {
        char text[sizeof good];
        size_t at = i % (sizeof good - 1), size = sizeof good - 1;
        memcpy(text, good, sizeof good);
        if (i < sizeof good - 1)
            size = at;
        else
            text[at] = i < 2 * (sizeof good - 1) ? '\0' : '(';
        char *path = file_with(text, size);
        struct dmsg_buffer body = {.limit = 60000};
        if (dmsg_setup_put_anchors(&body, path, NULL) < 0)
            CHECK_ROW(body.size == 0, "case %zu", i);
        dmsg_buffer_done(&body);
        unlink(path);
        free(path);
    }
}

static void has_the_root(void)
{
    struct dmsg_buffer body = {.limit = 60000};
    char text[4000];
    CHECK(dmsg_setup_put_anchors(&body, NULL, NULL) == 0);
    list(text, sizeof text, &body);
    CHECK(strncmp(text, "4 . IN D", 8) == 0);
    dmsg_buffer_done(&body);
}

static void reads_resolv_conf(void)
{
    static const char text[] = "# comment\n"
                               "domain example.net\n"
                               "nameserver 192.0.2.53\n"
                               "  nameserver\t2001:db8::53   \n"
                               "nameserver\n"
                               "nameserver not-an-address\n"
                               "nameservers 192.0.2.54\n"
                               ";nameserver 192.0.2.55\n"
                               "nameserver fe80::1%eth0\n"
                               "options edns0\n";
    char *path = file_with(text, sizeof text - 1);
    struct dmsg_buffer body = {0};
    char items[500];
    dmsg_setup_put_system(&body, path);
    list(items, sizeof items, &body);
    CHECK(strcmp(items, "2 192.0.2.53\n2 2001:db8::53\n2 fe80::1%eth0\n") == 0);
    unlink(path);
    dmsg_buffer_reset(&body);
    dmsg_setup_put_system(&body, path);
    CHECK(body.size == 0);
    free(path);

    struct dmsg_buffer many = {0};
    for (int i = 0; i < 20; i++)
        dmsg_buffer_put_text(&many, "nameserver 192.0.2.53\n");
    path = file_with((char *)many.data, many.size);
    dmsg_setup_put_system(&body, path);
    CHECK(body.size == 8 * (3 + strlen("192.0.2.53")));
    unlink(path);
    free(path);
    dmsg_buffer_done(&many);
    dmsg_buffer_done(&body);
}

TEST_MAIN(TEST(judges_addresses), TEST(judges_zones), TEST(judges_the_configuration),
    TEST(bounds_the_configuration), TEST(reads_anchor_files), TEST(names_the_line),
    TEST(bounds_anchor_files), TEST(survives_anything), TEST(has_the_root), TEST(reads_resolv_conf))
