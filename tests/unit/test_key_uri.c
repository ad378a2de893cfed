/* key_uri: where a key in hardware is, and what of it may be shown. */
#include "test_identity_support.h"

#include "x509/key_uri.h"
#include "x509/token.h"

#define LONG_64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const struct row {
    const char *text, *shown, *object, *module; /* shown NULL: refused; object NULL: as shown */
} rows[] = {
    {"handle:0x81000001", "handle:0x81000001", NULL, ""},
    {"handle:0x8100000F", "handle:0x8100000F", NULL, ""},
    {"HANDLE:0X1", "HANDLE:0X1", NULL, ""},
    {"handle:0x", NULL, NULL, NULL},
    {"handle:81000001", NULL, NULL, NULL},
    {"handle:0x810000011", NULL, NULL, NULL},
    {"handle:0x8100000g", NULL, NULL, NULL},
    {"handle:0x81000001?pass", NULL, NULL, NULL},
    {"handle:0x81000001 ", NULL, NULL, NULL},
    {"handle:0x81000001\nhandle:0x81000002", NULL, NULL, NULL},
    {"pkcs11:object=a", "pkcs11:object=a", NULL, ""},
    {"pkcs11:id=%01;token=b", "pkcs11:id=%01;token=b", NULL, ""},
    {"pkcs11:object=a?pin-value=1", "pkcs11:object=a", "pkcs11:object=a?pin-value=1", ""},
    {"pkcs11:object=a?pin-value=1&pin-source=file:/p", "pkcs11:object=a?pin-source=file:/p",
        "pkcs11:object=a?pin-value=1&pin-source=file:/p", ""},
    {"pkcs11:object=a?pin-source=file:/p&pin-value=1", "pkcs11:object=a?pin-source=file:/p",
        "pkcs11:object=a?pin-source=file:/p&pin-value=1", ""},
    {"pkcs11:pin-value=1;object=a", "pkcs11:object=a", "pkcs11:pin-value=1;object=a", ""},
    {"pkcs11:object=a;PIN-Value=1", "pkcs11:object=a", "pkcs11:object=a;PIN-Value=1", ""},
    {"pkcs11:object=a;pin-value=1?pin-value=2&pin-value=3", "pkcs11:object=a",
        "pkcs11:object=a;pin-value=1?pin-value=2&pin-value=3", ""},
    {"pkcs11:object=a;pin-value=1;token=b?pin-value=2&x=3", "pkcs11:object=a;token=b?x=3",
        "pkcs11:object=a;pin-value=1;token=b?pin-value=2&x=3", ""},
    {"pkcs11:object=a;?pin-value=1%3B2&x-y_1=3", "pkcs11:object=a;?x-y_1=3",
        "pkcs11:object=a;?pin-value=1%3B2&x-y_1=3", ""},
    {"pkcs11:object=a?module-path=/lib/a%20b.so&pin-value=1",
        "pkcs11:object=a?module-path=/lib/a%20b.so", "pkcs11:object=a?pin-value=1", "/lib/a b.so"},
    {"pkcs11:object=a?module-name=b&module-path=/c", "pkcs11:object=a?module-name=b&module-path=/c",
        "pkcs11:object=a", "/c"},
    {"pkcs11:object=a?module-path=c.so", NULL, NULL, NULL},
    {"pkcs11:object=a?module-path=/c%0", NULL, NULL, NULL},
    {"pkcs11:object=a?module-path=/c%00d", NULL, NULL, NULL},
    {"pkcs11:object=a?module-path=/c%zz", NULL, NULL, NULL},
    {"pkcs11:token=a", NULL, NULL, NULL},
    {"pkcs11:", NULL, NULL, NULL},
    {"pkcs11:object", NULL, NULL, NULL},
    {"pkcs11:myobject=a", NULL, NULL, NULL},
    {"pkcs11:object=\xc3\xa4", NULL, NULL, NULL},
    {"file:/etc/key.pem", NULL, NULL, NULL},
    {"/etc/key.pem", NULL, NULL, NULL},
    {"", NULL, NULL, NULL},
};

static void parses(void)
{
    for (size_t i = 0; i < ROWS(rows); i++) {
        const struct row *row = &rows[i];
        struct dmsg_key_uri uri;
        struct dmsg_error error = {0};
        int result = dmsg_key_uri_parse(&uri, dmsg_span_text(row->text), &error);
        if (row->shown == NULL) {
            CHECK_ROW(result == DMSG_E_LOCAL && error.text[0] != '\0', "%s", row->text);
            continue;
        }
        CHECK_ROW(result == 0, "%s: %s", row->text, error.text);
        CHECK_ROW(strcmp(uri.text, row->text) == 0, "%s", row->text);
        CHECK_ROW(strcmp(uri.shown, row->shown) == 0, "%s: %s", row->text, uri.shown);
        CHECK_ROW(strcmp(uri.object, row->object != NULL ? row->object : row->shown) == 0, "%s: %s",
            row->text, uri.object);
        CHECK_ROW(strcmp(uri.module, row->module) == 0, "%s: %s", row->text, uri.module);
        CHECK((uri.kind == DMSG_KEY_URI_PKCS11) == (strncmp(row->text, "pkcs11", 6) == 0));
        dmsg_key_uri_done(&uri);
        CHECK(uri.text[0] == '\0' && uri.object[0] == '\0');
    }
}

static void has_a_longest(void)
{
    char text[DMSG_KEY_URI_SIZE + 1];
    struct dmsg_key_uri uri;
    memset(text, 'a', sizeof text);
    memcpy(text, "pkcs11:object=", strlen("pkcs11:object="));
    struct dmsg_span span = {(const uint8_t *)text, DMSG_KEY_URI_SIZE - 1};
    CHECK(dmsg_key_uri_parse(&uri, span, NULL) == 0 && strlen(uri.shown) == span.size);
    span.size++;
    CHECK(dmsg_key_uri_parse(&uri, span, NULL) == DMSG_E_LOCAL);
}

static void shows_no_pin_in_errors(void)
{
    static const char *const bad[] = {"pkcs11:token=a?pin-value=4711",
        "pkcs11:object=a?pin-value=4711&module-path=b", "pkcs11x:object=a?pin-value=4711",
        "pkcs11:object=a?pin-value=4711 ", "pkcs11:object=a?pin-value=0?4711",
        "pkcs11:object=a?pin-value=0;4711", "pkcs11:object=a;pin-value=0&4711=1;token=b",
        "pkcs11:object=a?pin%2dvalue=4711", "pkcs11:object=a?pin-value=0&4711&module-path=b"};
    for (size_t i = 0; i < ROWS(bad); i++) {
        struct dmsg_key_uri uri;
        struct dmsg_error error = {0};
        CHECK(dmsg_key_uri_parse(&uri, dmsg_span_text(bad[i]), &error) == DMSG_E_LOCAL);
        CHECK_ROW(strstr(error.text, "4711") == NULL, "%s", error.text);
    }
}

/* As a key file: it may hold a PIN. */
static void is_read_as_strictly_as_a_key(void)
{
    static const char uri_file[] = NAME ".key.uri", good[] = "pkcs11:object=a?pin-value=1\n";
    static const struct {
        const char *content;
        mode_t mode;
        const char *error; /* NULL: it is read */
    } files[] = {
        {good, 0600, NULL},
        {"handle:0x81000001", 0400, NULL},
        {good, 0640, "chmod 600"},
        {good, 0604, "chmod 600"},
        {"", 0600, "1 to 1024"},
        {"\n", 0600, "1 to 1024"},
        {"handle:0x1\n\n", 0600, "one line"},
        {"handle:0x1\nhandle:0x2\n", 0600, "one line"},
        {"# handle:0x1\n", 0600, "one line"},
        {"handle:0x1\r\n", 0600, "one line"},
    };
    struct dmsg_folder open = DMSG_FOLDER_NONE;
    struct dmsg_key_uri uri;
    folder_begin();
    CHECK(dmsg_folder_open(&open, folder, &last) == 0);
    for (size_t i = 0; i < ROWS(files); i++) {
        put_file(uri_file, dmsg_span_text(files[i].content), files[i].mode);
        int result = dmsg_file_read_key_uri(&uri, &open, uri_file, &last);
        CHECK_ROW(result == (files[i].error == NULL ? 0 : DMSG_E_LOCAL), "%zu: %s", i, last.text);
        CHECK_ROW(files[i].error == NULL || strstr(last.text, files[i].error) != NULL, "%zu: %s", i,
            last.text);
        dmsg_key_uri_done(&uri);
    }
    CHECK(unlink(path_of(uri_file)) == 0 && symlink("elsewhere", path_of(uri_file)) == 0);
    CHECK(dmsg_file_read_key_uri(&uri, &open, uri_file, &last) == DMSG_E_LOCAL);
    CHECK(strstr(last.text, "symbolic link") != NULL);
    CHECK(unlink(path_of(uri_file)) == 0);
    struct dmsg_buffer large = {0};
    dmsg_buffer_put_text(&large, "pkcs11:object=");
    for (int i = 0; i < 32; i++)
        dmsg_buffer_put_text(&large, LONG_64);
    put_file(uri_file, dmsg_buffer_span(&large), 0600);
    CHECK(dmsg_file_read_key_uri(&uri, &open, uri_file, &last) == DMSG_E_LOCAL);
    CHECK(strstr(last.text, "too long") != NULL);
    dmsg_buffer_done(&large);
    dmsg_folder_done(&open);
    folder_end();
}

static void is_no_key_type(void)
{
    CHECK(dmsg_key_uri_is_one("handle:0x1") && dmsg_key_uri_is_one("pkcs11:object=a"));
    CHECK(dmsg_key_uri_is_one("file:x") && !dmsg_key_uri_is_one("p256"));
}

TEST_MAIN(TEST(parses), TEST(has_a_longest), TEST(shows_no_pin_in_errors),
    TEST(is_read_as_strictly_as_a_key), TEST(is_no_key_type))
