/* Budgets of questions about strangers' names, by a clock that the test turns; and in which words
   an answer says who was asked. */
#include "dane/setup_read.h"
#include "dane/strangers.h"
#include "test.h"

static const struct dmsg_context context = {0};

static struct dmsg_name name_of(const char *text)
{
    struct dmsg_name name = {0};
    (void)!dmsg_name_parse(&name, dmsg_span_text(text), NULL);
    return name;
}

/* How many questions in a row, at most `most`, this zone gets at a time. */
static int take(struct dmsg_strangers *strangers, const char *zone, int most, int64_t now)
{
    struct dmsg_error error;
    char text[100];
    for (int taken = 0; taken < most; taken++) {
        snprintf(text, sizeof text, "n%d.%s", taken, zone);
        struct dmsg_name name = name_of(text);
        int result = dmsg_strangers_take(strangers, &name, now, &error);
        CHECK(result == 0 || result == DMSG_E_QUOTA);
        if (result < 0)
            return taken;
    }
    return most;
}

static void bounds_a_zone(void)
{
    struct dmsg_strangers *strangers = NULL;
    REQUIRE(dmsg_strangers_new(&strangers, &context, NULL) == 0);
    CHECK(take(strangers, "a.example", 50, 1000) == 10);
    CHECK(take(strangers, "a.example", 50, 1000) == 0);
    CHECK(take(strangers, "deeper.still.a.example", 50, 1000) == 0); /* the same two labels */
    CHECK(take(strangers, "a.example", 50, 1499) == 0);
    CHECK(take(strangers, "a.example", 50, 1500) == 1);
    CHECK(take(strangers, "a.example", 50, 3000) == 3);
    CHECK(take(strangers, "a.example", 50, 3000 + INT64_C(86400000)) == 10);
    CHECK(take(strangers, "a.example", 50, 5000) == 0); /* a clock that goes back gives nothing */
    dmsg_strangers_free(&strangers);
    CHECK(strangers == NULL);
}

static void bounds_all_zones(void)
{
    struct dmsg_strangers *strangers = NULL;
    char zone[32];
    int taken = 0, after = 0;
    REQUIRE(dmsg_strangers_new(&strangers, &context, NULL) == 0);
    for (int i = 0; i < 500; i++) {
        snprintf(zone, sizeof zone, "z%d.example", i);
        taken += take(strangers, zone, 1, 1000);
    }
    CHECK_ROW(taken == 100, "%d", taken);
    for (int i = 500; i < 1000; i++) {
        snprintf(zone, sizeof zone, "z%d.example", i);
        after += take(strangers, zone, 1, 1100);
    }
    CHECK_ROW(after == 10, "%d", after); /* 100 a second */
    /* Whom the others have left nothing, that one was not charged in his own zone. */
    CHECK(take(strangers, "late.example", 50, 1100) == 0);
    CHECK(take(strangers, "late.example", 50, 2100) == 10);
    dmsg_strangers_free(&strangers);
}

static int no_random(void *user, void *out, size_t size)
{
    (void)user;
    memset(out, 0, size);
    return -1;
}

static void needs_randomness(void)
{
    static const struct dmsg_context broken = {.random = no_random};
    struct dmsg_strangers *strangers = NULL;
    CHECK(dmsg_strangers_new(&strangers, &broken, NULL) == DMSG_E_INTERNAL && strangers == NULL);
}

/* ------------------------------------------------------------------------------ who was asked */

struct item {
    enum dmsg_setup_kind kind;
    const char *text;
};

static void says_who_was_asked(void)
{
    static const struct {
        struct item items[4];
        bool use_system;
        const char *name, *via;
        bool forwards; /* to a resolver, which may have a cache */
    } rows[] = {
        {{{0}}, true, "a.example", "the authoritative servers", false},
        {{{DMSG_SETUP_SERVER, "127.0.0.1@53"}}, true, "a.example", "127.0.0.1@53, over UDP or TCP",
            true},
        {{{DMSG_SETUP_SERVER, "192.0.2.1"}, {DMSG_SETUP_SERVER, "2001:db8::1"}}, true, "a.example",
            "192.0.2.1, 2001:db8::1, over UDP or TCP", true},
        {{{DMSG_SETUP_SYSTEM, "192.0.2.1"}, {DMSG_SETUP_SYSTEM, "192.0.2.2"}}, true, "a.example",
            "the system's resolvers 192.0.2.1, 192.0.2.2", true},
        {{{DMSG_SETUP_SYSTEM, "192.0.2.1"}}, false, "a.example",
            "the authoritative servers, since the system's resolvers strip DNSSEC", false},
        {{{DMSG_SETUP_STUB, "example.=192.0.2.9@5300"}, {DMSG_SETUP_SERVER, "192.0.2.1"}}, true,
            "a.example", "192.0.2.9@5300, over UDP or TCP", false},
        {{{DMSG_SETUP_STUB, "example.=192.0.2.9@5300"}, {DMSG_SETUP_SERVER, "192.0.2.1"}}, true,
            "a.notexample", "192.0.2.1, over UDP or TCP", true},
        {{{DMSG_SETUP_STUB, "example.=192.0.2.9"}, {DMSG_SETUP_STUB, "b.example.=192.0.2.8"}}, true,
            "a.b.example", "192.0.2.8, over UDP or TCP", false},
        {{{DMSG_SETUP_STUB, "b.example.=192.0.2.8"}}, true, "b.example",
            "192.0.2.8, over UDP or TCP", false},
        {{{DMSG_SETUP_STUB, ".=192.0.2.7@53"}, {DMSG_SETUP_SYSTEM, "192.0.2.1"}}, true, "a.example",
            "192.0.2.7@53, over UDP or TCP", false},
        {{{DMSG_SETUP_SERVER, "2001:db8:1111:2222:3333:4444:5555:6666@53"},
             {DMSG_SETUP_SERVER, "2001:db8:1111:2222:3333:4444:5555:7777@53"},
             {DMSG_SETUP_SERVER, "192.0.2.1"}},
            true, "a.example",
            "2001:db8:1111:2222:3333:4444:5555:6666@53 and 2 more, over UDP or TCP", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_buffer setup = {0};
        struct dmsg_answer answer;
        struct dmsg_name name = name_of(rows[i].name);
        for (size_t j = 0; j < 4 && rows[i].items[j].text != NULL; j++)
            dmsg_setup_put(&setup, rows[i].items[j].kind, rows[i].items[j].text);
        dmsg_setup_via(answer.via, dmsg_buffer_span(&setup), rows[i].use_system, &name);
        CHECK_ROW(strcmp(answer.via, rows[i].via) == 0, "row %zu: %s", i, answer.via);
        CHECK_ROW(dmsg_setup_forwards(dmsg_buffer_span(&setup), rows[i].use_system, &name) ==
                      rows[i].forwards,
            "row %zu", i);
        dmsg_buffer_done(&setup);
    }
}

static void knows_its_ports(void)
{
    struct dmsg_buffer setup = {0};
    struct dmsg_confinement profile = {0};
    dmsg_setup_put(&setup, DMSG_SETUP_SERVER, "192.0.2.1@5353");
    dmsg_setup_put(&setup, DMSG_SETUP_SERVER, "192.0.2.2");
    dmsg_setup_put(&setup, DMSG_SETUP_STUB, "example.=fe80::1%eth0@65535");
    dmsg_setup_put(&setup, DMSG_SETUP_ANCHOR, ". IN DS 1 2 3 x@4");
    dmsg_setup_ports(&profile, dmsg_buffer_span(&setup));
    CHECK(profile.tcp_port_count == 3);
    CHECK(profile.tcp_ports[0] == 53 && profile.tcp_ports[1] == 5353);
    CHECK(profile.tcp_ports[2] == 65535);
    CHECK(!dmsg_setup_keeps(dmsg_buffer_span(&setup)));
    dmsg_setup_put(&setup, DMSG_SETUP_KEEP, "root.key");
    CHECK(dmsg_setup_keeps(dmsg_buffer_span(&setup)));
    dmsg_buffer_done(&setup);
}

TEST_MAIN(TEST(bounds_a_zone), TEST(bounds_all_zones), TEST(needs_randomness),
    TEST(says_who_was_asked), TEST(knows_its_ports))
