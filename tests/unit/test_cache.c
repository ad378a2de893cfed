/* The cache of judged keys at its bounds: a hundred thousand names, 128 MiB, names that are judged
   once more, and what the resolver process may still remember of those that were dropped. */
#include "chain_make.h"
#include "dane/cache.h"
#include "dane/peer_internal.h"
#include "dane/tlsa.h"
#include "test.h"

#include <inttypes.h>
#include <malloc.h>
#include <openssl/pem.h>
#include <stdlib.h>
#include <unistd.h>

#define NOW 1800000000

static int64_t clock_now = NOW;
static int judged; /* how often */

static int64_t fake_now(void *user)
{
    (void)user;
    return clock_now;
}

static const struct dmsg_context context = {.now = fake_now};

static int judge(void *user, const struct dmsg_peer **out, const struct dmsg_answer *answer)
{
    (void)user;
    judged++;
    return dmsg_peer_judge(out, &context, NULL, answer, NULL);
}

static struct dmsg_cache *start(int64_t serve_stale)
{
    const struct dmsg_cache_config config = {
        .context = &context, .judge = judge, .serve_stale = serve_stale};
    struct dmsg_cache *cache = NULL;
    clock_now = NOW;
    judged = 0;
    if (dmsg_cache_new(&cache, &config, NULL) < 0) {
        printf("Bail out! no cache\n");
        exit(1);
    }
    return cache;
}

static struct dmsg_name name_of(const char *text)
{
    struct dmsg_name name = {0};
    (void)!dmsg_name_parse(&name, dmsg_span_text(text), NULL);
    return name;
}

static struct dmsg_name numbered(size_t number)
{
    char text[40];
    snprintf(text, sizeof text, "n%zu.example", number);
    return name_of(text);
}

/* Judges an answer of `count` records with `size` octets each, and puts it; alone: without what it
   was judged from. */
static void put(
    struct dmsg_cache *cache, const struct dmsg_name *name, size_t count, size_t size, bool alone)
{
    static uint8_t rdata[DMSG_ANSWER_RECORDS_MAX][DMSG_TLSA_RDATA_MAX];
    const struct dmsg_peer *peer = NULL;
    struct dmsg_answer answer = {.name = *name,
        .canonical = *name,
        .status = DMSG_DNS_SECURE,
        .ttl = 300,
        .signed_until = NOW + 86400,
        .via = "192.0.2.1",
        .count = count};
    for (size_t i = 0; i < count; i++) {
        memcpy(rdata[i], "\3\1\1", 3);
        rdata[i][3] = (uint8_t)i;
        memcpy(rdata[i] + 4, name->text, 24);
        answer.records[i] = (struct dmsg_span){rdata[i], size};
    }
    if (dmsg_peer_judge(&peer, &context, NULL, &answer, NULL) < 0)
        return;
    dmsg_cache_put(cache, peer, alone ? NULL : &answer);
    dmsg_peer_release(peer);
}

/* There, from the cache, and with its own record and times. */
static bool is_there(struct dmsg_cache *cache, const struct dmsg_name *name)
{
    const struct dmsg_peer *peer = dmsg_cache_get(cache, name);
    bool there = peer != NULL;
    if (there) {
        CHECK(peer->from_cache && !peer->stale && dmsg_name_equal(&peer->name, name));
        CHECK(peer->fetched_at == NOW && peer->expires_at == NOW + 302 && peer->ttl == 300);
        CHECK(dmsg_name_equal(&peer->canonical, name) && strcmp(peer->via, "192.0.2.1") == 0);
        CHECK(peer->signed_until == NOW + 86400 && peer->count >= 1);
        CHECK(memcmp(peer->keys[0].rdata.data + 4, name->text, 24) == 0);
    }
    dmsg_peer_release(peer);
    return there;
}

static void judges_once_more(void)
{
    enum { MANY = 5000 };
    struct dmsg_cache *cache = start(0);
    for (size_t i = 0; i < MANY; i++) {
        struct dmsg_name name = numbered(i);
        put(cache, &name, 1, 35, false);
    }
    CHECK(judged == 0);
    struct dmsg_name first = numbered(0), last = numbered(MANY - 1);
    CHECK(is_there(cache, &last) && judged == 0);
    clock_now += 100; /* judged later, it keeps its times */
    CHECK(is_there(cache, &first) && judged == 1);
    CHECK(is_there(cache, &first) && judged == 1);
    CHECK(is_there(cache, &last) && judged == 1);
    dmsg_cache_free(&cache);
    CHECK(cache == NULL);
    dmsg_cache_free(&cache);
}

/* What was judged from more than an answer cannot be judged once more: it goes for good. */
static void forgets_what_it_cannot_judge(void)
{
    struct dmsg_cache *cache = start(0);
    struct dmsg_name alone = name_of("alone.example");
    put(cache, &alone, 1, 35, true);
    CHECK(is_there(cache, &alone));
    for (size_t i = 0; i < 4096; i++) {
        struct dmsg_name name = numbered(i);
        put(cache, &name, 1, 35, false);
    }
    CHECK(!is_there(cache, &alone));
    CHECK(dmsg_cache_lingers(cache, &alone));
    dmsg_cache_free(&cache);
}

static void bounds_the_names(void)
{
    enum { MOST = 100000, MORE = 1000 };
    struct dmsg_cache *cache = start(0);
    struct dmsg_name used = numbered(0);
    size_t there = 0;
    for (size_t i = 0; i < MOST + MORE; i++) {
        struct dmsg_name name = numbered(i);
        put(cache, &name, 1, 35, false);
        if (i % 1000 == 0)
            CHECK(is_there(cache, &used)); /* so that it is never the longest unused */
    }
    CHECK(is_there(cache, &used));
    for (size_t i = 0; i < MOST + MORE; i += 10) {
        struct dmsg_name name = numbered(i);
        there += is_there(cache, &name);
    }
    CHECK_ROW(there == MOST / 10, "%zu", there);
    dmsg_cache_free(&cache);
}

static void bounds_the_octets(void)
{
    enum { MANY = 2600 };
    struct dmsg_cache *cache = start(0);
    size_t there = 0;
    for (size_t i = 0; i < MANY; i++) {
        struct dmsg_name name = numbered(i);
        put(cache, &name, 64, 1000, false);
    }
    for (size_t i = 0; i < MANY; i++) {
        struct dmsg_name name = numbered(i);
        there += is_there(cache, &name);
    }
    CHECK_ROW(there > 2000 && there < 2150, "%zu", there); /* of 64 KiB, in 128 MiB */
    dmsg_cache_free(&cache);
}

/* The process keeps an answer for its TTL, whatever becomes of it here. */
static void knows_what_lingers(void)
{
    struct dmsg_cache *cache = start(0);
    struct dmsg_name name = name_of("a.example"), other = name_of("b.example");
    CHECK(!dmsg_cache_lingers(cache, &name));
    put(cache, &name, 1, 35, false);
    CHECK(dmsg_cache_lingers(cache, &name) && !dmsg_cache_lingers(cache, &other));
    clock_now = NOW + 301;
    CHECK(dmsg_cache_lingers(cache, &name));
    clock_now = NOW + 302;
    CHECK(!dmsg_cache_lingers(cache, &name));
    clock_now = NOW - 1; /* dropped, since nobody knows for how long it is good */
    CHECK(!is_there(cache, &name));
    clock_now = NOW + 301;
    CHECK(dmsg_cache_lingers(cache, &name) && !is_there(cache, &name));
    clock_now = NOW + 302;
    CHECK(!dmsg_cache_lingers(cache, &name));
    dmsg_cache_free(&cache);
}

static void gives_stale_when_asked(void)
{
    struct dmsg_cache *cache = start(1000);
    struct dmsg_name name = name_of("a.example"), other = name_of("b.example");
    put(cache, &name, 1, 35, false);
    CHECK(dmsg_cache_get_stale(cache, &name) == NULL); /* still fresh */
    clock_now = NOW + 302;
    CHECK(dmsg_cache_get(cache, &name) == NULL); /* DNS first */
    CHECK(dmsg_cache_get_stale(cache, &other) == NULL);
    const struct dmsg_peer *stale = dmsg_cache_get_stale(cache, &name);
    REQUIRE(stale != NULL);
    CHECK(stale->stale && stale->from_cache && stale->expires_at == NOW + 302);
    dmsg_peer_release(stale);
    stale = dmsg_cache_get(cache, &name);
    REQUIRE(stale != NULL);
    CHECK(stale->stale);
    dmsg_peer_release(stale);
    put(cache, &name, 1, 35, false); /* DNS is back */
    stale = dmsg_cache_get(cache, &name);
    REQUIRE(stale != NULL);
    CHECK(!stale->stale);
    dmsg_peer_release(stale);
    dmsg_cache_free(&cache);
}

static bool is_stale(const struct dmsg_peer *peer)
{
    bool stale = peer != NULL && peer->stale;
    dmsg_peer_release(peer);
    return stale;
}

/* A clock that goes back makes nothing fresh again; and what did not validate ends what is stale,
   then too. */
static void is_not_fresh_twice(void)
{
    struct dmsg_cache *cache = start(1000);
    struct dmsg_name name = name_of("a.example");
    put(cache, &name, 1, 35, false);
    clock_now = NOW + 302;
    CHECK(dmsg_cache_get(cache, &name) == NULL);
    clock_now = NOW + 100;
    CHECK(dmsg_cache_get(cache, &name) == NULL);
    CHECK(is_stale(dmsg_cache_get_stale(cache, &name)));
    const struct dmsg_peer *bogus = NULL;
    struct dmsg_answer answer = {.name = name, .canonical = name, .status = DMSG_DNS_BOGUS};
    REQUIRE(dmsg_peer_judge(&bogus, &context, NULL, &answer, NULL) == 0);
    dmsg_cache_put(cache, bogus, &answer);
    dmsg_peer_release(bogus);
    CHECK(dmsg_cache_get_stale(cache, &name) == NULL && dmsg_cache_get(cache, &name) == NULL);
    dmsg_cache_free(&cache);
}

/* A `1 0 0` whose leaf or CA ends in 400 seconds, by a CA of the system. */
static const struct dmsg_peer *judge_certified(const struct dmsg_name *name)
{
    struct made root =
        certify(&(struct certify){.subject = "Root", .constraints = "CA:TRUE"}, NULL);
    struct made leaf =
        certify(&(struct certify){.names = "DNS:a.example", .not_after = NOW + 400}, &root);
    char path[] = "/tmp/danemsg-cache-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    struct dmsg_buffer rdata = {0};
    struct dmsg_judge *judge = NULL;
    const struct dmsg_peer *peer = NULL;
    if (file == NULL || PEM_write_X509(file, root.x509) != 1 || fclose(file) != 0)
        abort();
    setenv("SSL_CERT_FILE", path, 1);
    CHECK(dmsg_tlsa_encode(&rdata, 1, 0, 0, leaf.x509, NULL, NULL) == 0);
    CHECK(dmsg_judge_new(&judge, NULL, false, NULL) == 0);
    struct dmsg_answer answer = {.name = *name,
        .canonical = *name,
        .status = DMSG_DNS_SECURE,
        .ttl = 300,
        .signed_until = NOW + 86400,
        .count = 1,
        .records = {dmsg_buffer_span(&rdata)}};
    CHECK(dmsg_peer_judge(&peer, &context, judge, &answer, NULL) == 0);
    unlink(path);
    dmsg_judge_free(&judge);
    dmsg_buffer_done(&rdata);
    made_done(&root);
    made_done(&leaf);
    return peer;
}

static void is_stale_no_longer_than_certified(void)
{
    struct dmsg_cache *cache = start(1000);
    struct dmsg_name name = name_of("a.example");
    const struct dmsg_peer *peer = judge_certified(&name);
    CHECK(peer->keys[0].purposes != 0 && peer->expires_at == NOW + 302);
    dmsg_cache_put(cache, peer, NULL);
    dmsg_peer_release(peer);
    clock_now = NOW + 399;
    CHECK(is_stale(dmsg_cache_get_stale(cache, &name)));
    clock_now = NOW + 400;
    CHECK(dmsg_cache_get_stale(cache, &name) == NULL);
    dmsg_cache_free(&cache);
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
    const struct dmsg_cache_config config = {.context = &broken, .judge = judge};
    struct dmsg_cache *cache = NULL;
    CHECK(dmsg_cache_new(&cache, &config, NULL) == DMSG_E_INTERNAL && cache == NULL);
}

/* A record with as many names of two octets as it is asked for. */
static void put_certificate_of_names(struct dmsg_buffer *rdata, int names)
{
    struct made made = certify(&(struct certify){0}, NULL);
    GENERAL_NAMES *list = GENERAL_NAMES_new();
    for (int i = 0; i < names; i++) {
        GENERAL_NAME *name = GENERAL_NAME_new();
        ASN1_IA5STRING *text = ASN1_IA5STRING_new();
        REQUIRE(name != NULL && text != NULL && ASN1_STRING_set(text, "", 0) == 1);
        GENERAL_NAME_set0_value(name, GEN_DNS, text);
        sk_GENERAL_NAME_push(list, name);
    }
    X509_add1_ext_i2d(made.x509, NID_subject_alt_name, list, 0, 0);
    X509_sign(made.x509, made.key, EVP_sha256());
    GENERAL_NAMES_free(list);
    CHECK(dmsg_tlsa_encode(rdata, 3, 0, 0, made.x509, NULL, NULL) == 0);
    made_done(&made);
}

/* Parsed, each of these takes as much as hundreds of others: few of them stay so. */
static void bounds_what_is_parsed(void)
{
    enum { MANY = 200, NAMES = 3900 };
    struct dmsg_cache *cache = start(0);
    struct dmsg_buffer rdata = {0};
    put_certificate_of_names(&rdata, NAMES);
    for (size_t i = 0; i < MANY; i++) {
        const struct dmsg_peer *peer = NULL;
        struct dmsg_name name = numbered(i);
        struct dmsg_answer answer = {.name = name,
            .canonical = name,
            .status = DMSG_DNS_SECURE,
            .ttl = 300,
            .count = 1,
            .records = {dmsg_buffer_span(&rdata)}};
        CHECK(dmsg_peer_judge(&peer, &context, NULL, &answer, NULL) == 0);
        CHECK(dmsg_judged_weight(peer) * MANY > 32u * 1024 * 1024);
        dmsg_cache_put(cache, peer, &answer);
        dmsg_peer_release(peer);
    }
    struct dmsg_name first = numbered(0), last = numbered(MANY - 1);
    dmsg_peer_release(dmsg_cache_get(cache, &last));
    CHECK(judged == 0);
    dmsg_peer_release(dmsg_cache_get(cache, &first));
    CHECK(judged == 1);
    dmsg_cache_free(&cache);
    dmsg_buffer_done(&rdata);
}

/* A certificate of many short names takes fifty times its octets: whose weight is too low gets past
   the bound. (A sanitizer's malloc does not tell what it has given.) */
static void weighs_certificates(void)
{
    enum { PEERS = 10 };
    static const int names[] = {1, 30, 300, 3900};
    for (size_t row = 0; row < sizeof names / sizeof names[0]; row++) {
        struct dmsg_buffer rdata = {0};
        const struct dmsg_peer *peers[PEERS] = {0};
        put_certificate_of_names(&rdata, names[row]);
        struct dmsg_answer answer = {.name = name_of("a.example"),
            .canonical = name_of("a.example"),
            .status = DMSG_DNS_SECURE,
            .ttl = 300,
            .count = 1,
            .records = {dmsg_buffer_span(&rdata)}};
        size_t before = mallinfo2().uordblks;
        for (int i = 0; i < PEERS; i++)
            CHECK(dmsg_peer_judge(&peers[i], &context, NULL, &answer, NULL) == 0);
        size_t taken = (mallinfo2().uordblks - before) / PEERS;
        size_t weight = dmsg_judged_weight(peers[0]);
        CHECK_ROW(weight >= taken && weight >= (size_t)names[row] * 100, "%d names: %zu, %zu taken",
            names[row], weight, taken);
        CHECK_ROW(names[row] > 1 || weight < 16384, "%zu", weight);
        for (int i = 0; i < PEERS; i++)
            dmsg_peer_release(peers[i]);
        dmsg_buffer_done(&rdata);
    }
}

TEST_MAIN(TEST(weighs_certificates), TEST(judges_once_more), TEST(forgets_what_it_cannot_judge),
    TEST(bounds_the_names), TEST(bounds_the_octets), TEST(bounds_what_is_parsed),
    TEST(knows_what_lingers), TEST(gives_stale_when_asked), TEST(is_not_fresh_twice),
    TEST(is_stale_no_longer_than_certified), TEST(needs_randomness))
