/* failures: every allocation, and every call into OpenSSL, on the way from payload to envelope and
   back fails in turn. Nothing may crash, leak, spill or be believed, and what survives works on. */
#include "base/fail.h"
#include "chain_make.h"
#include "dane/tlsa.h"
#include "failures_rsa.h"
#include "failures_run.h"
#include "test.h"

#include <dlfcn.h>
#include <stdlib.h>
#if __has_include(<valgrind/valgrind.h>)
#include <valgrind/valgrind.h>
#else
#define RUNNING_ON_VALGRIND 0
#endif

/* Faults of one campaign that are shown; it ends there. */
#define FAULTS_SHOWN 10

/* What OpenSSL's error queue keeps for its next errors: 16 of them, each with its texts. */
#define ERROR_QUEUE_BLOCKS (16 * 3)

/* A run that has no end would be a fault of the frame. */
#define POINTS_MAX 100000

static struct person rsa_alice, rsa_bob, ec_alice, ec_bob, ed_alice, ed_bob, other;
static struct dmsg_identity *bob_with_keys;
static const struct dmsg_peer *alice_with_keys;
static struct person alice_of_ca;
static const struct dmsg_peer *alice_by_digest, *alice_by_ca;

static const struct scenario scenarios[] = {
    {.name = "RSA", .from = &rsa_alice, .to = &rsa_bob, .fresh = true},
    {.name = "RSA, proof of concept",
        .from = &rsa_alice,
        .to = &rsa_bob,
        .format = DMSG_FORMAT_POC},
    {.name = "RSA, proof of concept, several keys",
        .from = &rsa_alice,
        .to = &rsa_bob,
        .identity = &bob_with_keys,
        .peer = &alice_with_keys,
        .format = DMSG_FORMAT_POC,
        .several = true,
        .fresh = true,
        .from_step = STEP_FINISH},
    {.name = "P-256", .from = &ec_alice, .to = &ec_bob, .fresh = true},
    {.name = "P-256, CBC", .from = &ec_alice, .to = &ec_bob, .cbc = true},
    {.name = "Ed25519 and X25519", .from = &ed_alice, .to = &ed_bob, .fresh = true, .halves = true},
    {.name = "Ed25519 and X25519, CBC", .from = &ed_alice, .to = &ed_bob, .cbc = true},
    {.name = "P-256, a digest and its certificate",
        .from = &ec_alice,
        .to = &ec_bob,
        .peer = &alice_by_digest,
        .certificates = 1,
        .every = 6,
        .fresh = true,
        .from_step = STEP_SEAL},
    {.name = "P-256, an anchor and a chain",
        .from = &alice_of_ca,
        .to = &ec_bob,
        .peer = &alice_by_ca,
        .certificates = 3,
        .every = 22,
        .fresh = true,
        .from_step = STEP_SEAL},
};
#define SCENARIOS (sizeof scenarios / sizeof scenarios[0])

/* ------------------------------------------------------------------------------- the campaign */

static long silent; /* failures of OpenSSL's memory that it did not tell of */

struct campaign {
    const struct scenario *scenario;
    enum failures_kind kind;
    long n, points;
    int faults;
};

/* Every how many points one fails: under valgrind a whole campaign takes many minutes. */
static long stride(const struct campaign *campaign)
{
    long every = campaign->kind == FAIL_MEMORY ? 1 + campaign->scenario->every : 1;
    return RUNNING_ON_VALGRIND ? 23 * every : every;
}

static void complain(struct campaign *campaign, const struct run *run, const char *fault)
{
    if (fault == NULL)
        return;
    test_fail(__FILE__, __LINE__, "%s, %s, %s: %s (%s)", campaign->scenario->name, run_step(run),
        failures_hit()->what, fault, run->error.text);
    campaign->faults++;
}

/* One failure from a step on; false when no point was left. */
static bool fail_one(struct campaign *campaign, struct run *run, size_t from)
{
    failures_arm(campaign->kind, campaign->n);
    int result = run_go(run, from);
    failures_disarm();
    complain(campaign, run, run_fault(run, result));
    silent += run_is_silent(run, result);
    if (result < 0)
        complain(campaign, run, run_again(run));
    campaign->points += failures_hit()->reached;
    campaign->n += stride(campaign);
    return failures_hit()->reached && campaign->n < POINTS_MAX && campaign->faults < FAULTS_SHOWN;
}

/* Objects of its own for each run, which are all freed again. */
static bool fail_fresh(struct campaign *campaign)
{
    struct run run;
    long live = failures_live();
    run_start(&run, campaign->scenario);
    CHECK(run_go_until(&run, STEP_NEW_SEALER, campaign->scenario->from_step) == 0);
    bool more = fail_one(campaign, &run, campaign->scenario->from_step);
    run_end(&run);
    if (failures_live() != live)
        complain(campaign, &run, "not everything was freed");
    if (failures_spilled())
        complain(campaign, &run, "a secret was freed unwiped in the end");
    return more;
}

/* One sealer and one opener live through all failures. */
static void fail_prepared(struct campaign *campaign)
{
    struct run run;
    bool more = true;
    run_start(&run, campaign->scenario);
    CHECK(run_go(&run, STEP_NEW_SEALER) == 0);
    while (more) {
        run_clear(&run);
        more = fail_one(campaign, &run, STEP_SEAL);
    }
    run_end(&run);
}

static long fail_each(const struct scenario *scenario, enum failures_kind kind, bool fresh)
{
    struct campaign campaign = {.scenario = scenario, .kind = kind, .n = 1};
    long live = failures_live_in_openssl();
    if (fresh && !scenario->fresh)
        return 0;
    if (!fresh)
        fail_prepared(&campaign);
    while (fresh && fail_fresh(&campaign))
        continue;
    CHECK(campaign.points > 0 && campaign.n < POINTS_MAX);
    CHECK_ROW(failures_live_in_openssl() - live <= ERROR_QUEUE_BLOCKS,
        "%s: %ld allocations of OpenSSL's are left", scenario->name,
        failures_live_in_openssl() - live);
    return campaign.points;
}

/* --------------------------------------------------------------------------------- the people */

static void installs(void)
{
    REQUIRE(failures_install());
}

static struct person person(const char *name, enum dmsg_key_type type)
{
    return person_new(&run_context, name, type);
}

/* Others' keys stand before and after the one that fits, bob's own and in alice's name. */
static void makes_rollovers(void)
{
    struct dmsg_error error;
    struct dmsg_span records[3];
    other = person("other.example", DMSG_KEY_RSA2048);
    REQUIRE(dmsg_identity_new(&bob_with_keys, &run_context, &rsa_bob.name, &error) == 0);
    EVP_PKEY *keys[] = {other.material.key, rsa_bob.material.key, rsa_alice.material.key};
    for (size_t i = 0; i < 3; i++)
        REQUIRE(dmsg_identity_add(bob_with_keys, DMSG_KEY_CURRENT, keys[i], NULL, &error) == 0);
    records[0] = other.peer->keys[0].rdata;
    records[1] = rsa_alice.peer->keys[0].rdata;
    records[2] = rsa_bob.peer->keys[0].rdata;
    alice_with_keys = peer_of(&run_context, "alice.example", records, 3);
}

static const struct dmsg_peer *peer_by(
    uint8_t usage, uint8_t selector, uint8_t matching, const X509 *certificate)
{
    struct dmsg_buffer rdata = {0};
    CHECK(dmsg_tlsa_encode(&rdata, usage, selector, matching, certificate, NULL, NULL) == 0);
    struct dmsg_span record = dmsg_buffer_span(&rdata);
    const struct dmsg_peer *peer = peer_of(&run_context, "alice.example", &record, 1);
    dmsg_buffer_done(&rdata);
    return peer;
}

/* Her key is in no record, and what vouches for it comes with the message. */
static void makes_certified(void)
{
    const struct certify ca = {.subject = "CA", .constraints = "critical,CA:TRUE", .not_before = 1};
    const struct certify client = {.names = "DNS:alice.example", .not_before = 1};
    struct made root = certify(&ca, NULL), mid = certify(&ca, &root), leaf = certify(&client, &mid);
    struct dmsg_error error;
    struct person *alice = &alice_of_ca;
    alice->name = ec_alice.name;
    REQUIRE(dmsg_identity_new(&alice->identity, &run_context, &alice->name, &error) == 0);
    REQUIRE(dmsg_identity_add(alice->identity, DMSG_KEY_CURRENT, leaf.key, leaf.x509, &error) == 0);
    REQUIRE(dmsg_identity_add_issuer(alice->identity, 0, mid.x509, &error) == 0);
    REQUIRE(dmsg_identity_add_issuer(alice->identity, 0, root.x509, &error) == 0);
    alice_by_digest = peer_by(DMSG_DANE_EE, 1, 1, ec_alice.material.certificate);
    alice_by_ca = peer_by(DMSG_DANE_TA, 0, 1, root.x509);
    made_done(&root);
    made_done(&mid);
    made_done(&leaf);
}

static void makes_people(void)
{
    rsa_alice = person("alice.example", DMSG_KEY_RSA2048);
    rsa_bob = person("bob.example", DMSG_KEY_RSA2048);
    ec_alice = person("alice.example", DMSG_KEY_P256);
    ec_bob = person("bob.example", DMSG_KEY_P256);
    ed_alice = person("alice.example", DMSG_KEY_ED25519);
    ed_bob = person("bob.example", DMSG_KEY_ED25519);
    makes_rollovers();
    makes_certified();
}

static void loses_people(void)
{
    struct person *all[] = {&rsa_alice, &rsa_bob, &ec_alice, &ec_bob, &ed_alice, &ed_bob, &other};
    dmsg_identity_free(&bob_with_keys);
    dmsg_peer_release(alice_with_keys);
    dmsg_peer_release(alice_by_digest);
    dmsg_peer_release(alice_by_ca);
    person_done(&alice_of_ca);
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        person_done(all[i]);
    CHECK(failures_live() == 0);
}

/* ---------------------------------------------------------------------------------- the tests */

static void without_failures(void)
{
    for (size_t i = 0; i < SCENARIOS; i++) {
        struct run run;
        failures_arm(FAIL_NOTHING, 1);
        run_start(&run, &scenarios[i]);
        int result = run_go(&run, STEP_NEW_SEALER);
        const char *fault = run_fault(&run, result);
        CHECK_ROW(fault == NULL, "%s: %s", scenarios[i].name, fault);
        run_end(&run);
        CHECK(!failures_spilled());
    }
}

static void each_allocation(void)
{
    for (size_t i = 0; i < SCENARIOS; i++) {
        long fresh = fail_each(&scenarios[i], FAIL_MEMORY, true);
        long prepared = fail_each(&scenarios[i], FAIL_MEMORY, false);
        printf("# %s: %ld allocations failed, and %ld once all was prepared\n", scenarios[i].name,
            fresh, prepared);
    }
    printf("# %ld of them OpenSSL did not tell of: they look like a refusal\n", silent);
}

static void each_call(void)
{
    for (size_t i = 0; i < SCENARIOS; i++) {
        long zero = fail_each(&scenarios[i], FAIL_ZERO, true);
        long minus_one = fail_each(&scenarios[i], FAIL_MINUS_ONE, true);
        long prepared = fail_each(&scenarios[i], FAIL_ZERO, false) +
                        fail_each(&scenarios[i], FAIL_MINUS_ONE, false);
        printf("# %s: %ld calls failed with 0 or NULL, %ld with -1, and %ld once all was "
               "prepared\n",
            scenarios[i].name, zero, minus_one, prepared);
    }
}

/* --------------------------------------------------------------------------------- single cases */

static int no_random(void *user, void *out, size_t size)
{
    int *left = user;
    memset(out, 7, size);
    return (*left)-- > 0 ? 0 : -1;
}

/* jti; content encryption key and IV. */
static void the_callers_randomness(void)
{
    struct dmsg_seal_options options = {
        .recipient = &ec_bob.name, .key = dmsg_peer_recipient_key(ec_bob.peer, NULL)};
    for (int left = 0; left < 3; left++) {
        int remaining = left;
        struct dmsg_context context = run_context;
        struct dmsg_sealer *sealer = NULL;
        struct dmsg_buffer envelope = {0};
        struct dmsg_error error;
        context.random = no_random;
        context.user = &remaining;
        REQUIRE(dmsg_sealer_new(&sealer, &context, ec_alice.identity, &error) == 0);
        int result = dmsg_seal(sealer, &options, dmsg_span_text("x"), &envelope, &error);
        CHECK_ROW(result == (left < 2 ? DMSG_E_INTERNAL : 0), "%d calls succeed", left);
        CHECK((envelope.size > 0) == (result == 0));
        dmsg_buffer_done(&envelope);
        dmsg_sealer_free(&sealer);
    }
}

/* What a buffer holds is wiped where it stood, when it moves and when it goes. */
static void a_buffer_that_grows(void)
{
    static const char *const secrets[] = {"a secret in a buffer", NULL};
    struct dmsg_buffer buffer = {0};
    failures_watch(secrets);
    for (size_t i = 0; i < 100; i++)
        dmsg_buffer_put_text(&buffer, secrets[0]);
    CHECK(buffer.size == 100 * strlen(secrets[0]) && !failures_spilled());
    dmsg_buffer_done(&buffer);
    CHECK(!failures_spilled());
    failures_watch(NULL);
}

static void an_exponent_of_zero(void)
{
    char fault[300];
    long points = rsa_fail_exponent(&run_context, rsa_bob.material.key, fault, sizeof fault);
    CHECK_ROW(points > 0, "%s", fault);
    printf("# %ld points\n", points);
}

static void blinding_made_anew(void)
{
    char fault[300];
    long signature =
        rsa_fail_blinding(&run_context, rsa_bob.material.key, DMSG_USE_SIGN, fault, sizeof fault);
    CHECK_ROW(signature > 0, "signing, %s", fault);
    long decryption = rsa_fail_blinding(
        &run_context, rsa_bob.material.key, DMSG_USE_DECRYPT, fault, sizeof fault);
    CHECK_ROW(decryption > 0, "decrypting, %s", fault);
    printf("# about %ld and %ld allocations\n", signature, decryption);
}

/* ------------------------------------------------------------------------------------- the list */

static struct failures_call *find_call(const char *name)
{
    struct failures_call *call = failures_calls;
    while (call->name != NULL && strcmp(call->name, name) != 0)
        call++;
    return call->name != NULL ? call : NULL;
}

static bool is_of_openssl(const char *name)
{
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, name);
    return address != NULL && dladdr(address, &info) != 0 && strstr(info.dli_fname, "libcrypto");
}

/* Functions of libc that allocate and are not in tests/unit/meson.build's list. */
static bool allocates(const char *name)
{
    static const char *const names[] = {"reallocarray", "posix_memalign", "aligned_alloc",
        "memalign", "valloc", "asprintf", "vasprintf", "__asprintf_chk", "__vasprintf_chk",
        "getline", "getdelim", "open_memstream", "fmemopen", "realpath", "wcsdup"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (strcmp(names[i], name) == 0)
            return true;
    }
    return false;
}

static void nothing_is_forgotten(void)
{
    bool seen[FAILURES_CALLS] = {false};
    char word[200];
    const char *path = getenv("DANEMSG_IMPORTS");
    FILE *imports = path != NULL ? fopen(path, "r") : NULL;
    if (imports == NULL)
        SKIP("DANEMSG_IMPORTS names no output of nm");
    while (fscanf(imports, "%199s", word) == 1) {
        const struct failures_call *call = find_call(word);
        CHECK_ROW(call != NULL || !is_of_openssl(word), "failures_calls.def lacks %s", word);
        CHECK_ROW(!allocates(word), "%s allocates, and cannot be made to fail here", word);
        if (call != NULL)
            seen[call - failures_calls] = true;
    }
    fclose(imports);
    for (size_t i = 0; failures_calls[i].name != NULL; i++)
        CHECK_ROW(seen[i] || failures_calls[i].beyond,
            "failures_calls.def has %s, which nobody calls", failures_calls[i].name);
}

/* After the campaigns. */
static void every_call_has_failed(void)
{
    size_t count = 0;
    for (const struct failures_call *call = failures_calls; call->name != NULL; call++) {
        CHECK_ROW(!call->can_fail || call->fallback || call->failed > 0 || RUNNING_ON_VALGRIND,
            "%s was never reached", call->name);
        count += call->can_fail;
    }
    printf("# %zu functions of OpenSSL\n", count);
}

TEST_MAIN(TEST(installs), TEST(nothing_is_forgotten), TEST(makes_people), TEST(without_failures),
    TEST(each_allocation), TEST(each_call), TEST(the_callers_randomness), TEST(a_buffer_that_grows),
    TEST(an_exponent_of_zero), TEST(blinding_made_anew), TEST(every_call_has_failed),
    TEST(loses_people))
