/* dns: URIs: one spelling for each of two forms, and no way to choose our resolver. */
#include "dane/uri.h"
#include "test.h"

struct row {
    const char *uri;
    const char *name; /* NULL: refused */
};

static const struct row rows[] = {
    {"dns:alice.example?type=TLSA", "alice.example"},
    {"dns://alice.example?type=TLSA", "alice.example"},
    {"dns:Alice.EXAMPLE.?type=TLSA", "alice.example"},
    {"dns:s-1._device.example.net?type=TLSA", "s-1._device.example.net"},
    {"dns:xn--bcher-kva.example?type=TLSA", "xn--bcher-kva.example"},

    {"", NULL},
    {"dns:", NULL},
    {"dns:?type=TLSA", NULL},
    {"dns://?type=TLSA", NULL},
    {"alice.example", NULL},
    {"alice.example?type=TLSA", NULL},
    {"DNS:alice.example?type=TLSA", NULL},
    {"https://alice.example?type=TLSA", NULL},
    {" dns:alice.example?type=TLSA", NULL},
    {"dns:alice.example?type=TLSA ", NULL},
    {"dns:alice.example", NULL},
    {"dns:alice.example?type=tlsa", NULL},
    {"dns:alice.example?TYPE=TLSA", NULL},
    {"dns:alice.example?type=52", NULL},
    {"dns:alice.example?type=TXT", NULL},
    {"dns:alice.example?type=TLSA;class=IN", NULL},
    {"dns:alice.example?class=IN;type=TLSA", NULL},
    {"dns:alice.example?class=CH?type=TLSA", NULL},
    {"dns:alice.example?type=TLSA?type=TLSA", NULL},
    {"dns:alice.example?type=TLSA#frag", NULL},
    {"dns:alice.example#?type=TLSA", NULL},
    {"dns:/alice.example?type=TLSA", NULL},
    {"dns:///alice.example?type=TLSA", NULL},
    {"dns:////alice.example?type=TLSA", NULL},
    {"dns://ns.evil.example/alice.example?type=TLSA", NULL},
    {"dns://192.0.2.1/alice.example?type=TLSA", NULL},
    {"dns://ns.evil.example:53/alice.example?type=TLSA", NULL},
    {"dns://alice.example:53?type=TLSA", NULL},
    {"dns://user@alice.example?type=TLSA", NULL},
    {"dns://[::1]/alice.example?type=TLSA", NULL},
    {"dns:alice%2eexample?type=TLSA", NULL},
    {"dns:alice%00.example?type=TLSA", NULL},
    {"dns:alice\\.example.net?type=TLSA", NULL},
    {"dns:*.example?type=TLSA", NULL},
    {"dns:+.example?type=TLSA", NULL},
    {"dns:#?type=TLSA", NULL},
    {"dns:example?type=TLSA", NULL},
    {"dns:alice..example?type=TLSA", NULL},
    {"dns:.alice.example?type=TLSA", NULL},
    {"dns:al ice.example?type=TLSA", NULL},
    {"dns:b\xc3\xbc.example?type=TLSA", NULL},
};

static void reads_what_it_should(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_name name = {.size = 1, .text = "?"};
        struct dmsg_error error = {0};
        int result = dmsg_uri_parse(&name, dmsg_span_text(rows[i].uri), &error);
        if (rows[i].name != NULL) {
            CHECK_ROW(result == 0 && strcmp(name.text, rows[i].name) == 0, "%s", rows[i].uri);
        } else {
            CHECK_ROW(result == DMSG_E_NAME && error.code == DMSG_E_NAME, "%s", rows[i].uri);
            CHECK_ROW(error.text[0] != '\0', "%s", rows[i].uri);
            CHECK_ROW(strcmp(name.text, "?") == 0, "%s: out was written", rows[i].uri);
        }
    }
}

/* The most dangerous of them says what it is. */
static void names_the_authority(void)
{
    struct dmsg_error error = {0};
    struct dmsg_name name;
    CHECK(dmsg_uri_parse(&name, dmsg_span_text("dns://ns.evil.example/alice.example?type=TLSA"),
              &error) == DMSG_E_NAME);
    CHECK(strstr(error.text, "authority") != NULL && strstr(error.text, "evil") == NULL);
}

/* A NUL inside is not where the text ends. */
static void refuses_nul(void)
{
    static const char uri[] = "dns:alice.example\0?type=TLSA";
    struct dmsg_name name;
    CHECK(dmsg_uri_parse(&name, (struct dmsg_span){(const uint8_t *)uri, sizeof uri - 1}, NULL) ==
          DMSG_E_NAME);
}

static void writes_what_it_reads(void)
{
    static const struct {
        enum dmsg_uri_form form;
        const char *text;
    } forms[] = {
        {DMSG_URI_V1, "dns:bob.example?type=TLSA"},
        {DMSG_URI_POC, "dns://bob.example?type=TLSA"},
    };
    struct dmsg_name name, again;
    REQUIRE(dmsg_name_parse(&name, dmsg_span_text("bob.example"), NULL) == 0);
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct dmsg_buffer out = {0};
        dmsg_uri_put(&out, &name, forms[i].form);
        CHECK(dmsg_span_equal_text(dmsg_buffer_span(&out), forms[i].text));
        CHECK(dmsg_uri_parse(&again, dmsg_buffer_span(&out), NULL) == 0);
        CHECK(dmsg_name_equal(&again, &name));
        dmsg_buffer_done(&out);
    }
}

/* Every prefix of a good URI is refused, and read no further than it is long. */
static void refuses_every_prefix(void)
{
    static const char *const uris[] = {
        "dns:alice.example?type=TLSA", "dns://alice.example?type=TLSA"};
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        for (size_t size = 0; size < strlen(uris[i]); size++) {
            struct dmsg_name name;
            struct dmsg_span span = {(const uint8_t *)uris[i], size};
            CHECK_ROW(dmsg_uri_parse(&name, span, NULL) == DMSG_E_NAME, "%.*s", (int)size, uris[i]);
        }
    }
}

TEST_MAIN(TEST(reads_what_it_should), TEST(names_the_authority), TEST(refuses_nul),
    TEST(writes_what_it_reads), TEST(refuses_every_prefix))
