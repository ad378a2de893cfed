/*
 * What discovery costs: keys out of the cache, the memory of a full one, and questions that must be
 * asked, beside libunbound alone with the same server in the same run.
 *
 *     discovery cache [NAMES]
 *     discovery lookups PROGRAM ANCHORS ZONE=ADDR@PORT COUNT    names n0.ZONE to n(COUNT-1).ZONE
 *
 * bench/discovery-run starts the server for the second.
 */
#include "base/monotonic.h"
#include "dane/cache.h"
#include "suites.h"
#include "x509/create.h"

#include <inttypes.h>
#include <malloc.h>
#include <openssl/x509.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unbound.h>
#include <unistd.h>

#define NAMES_DEFAULT 100000
#define TURNS 9
/* Questions under way at once, on both sides; a zone may have 32 of them in the library. */
#define WINDOW 30
#define TYPE_TLSA 52

static const struct dmsg_context context = {0};

static struct dmsg_name name_of(const char *label, size_t number, const char *zone)
{
    char text[DMSG_NAME_TEXT + 100];
    struct dmsg_name name;
    struct dmsg_error error;
    snprintf(text, sizeof text, "%s%zu.%.255s", label, number, zone);
    bench_must_do(dmsg_name_parse(&name, dmsg_span_text(text), &error), "a name", &error);
    return name;
}

/* ----------------------------------------------------------------------------------- the cache */

static int judge(void *user, const struct dmsg_peer **out, const struct dmsg_answer *answer)
{
    (void)user;
    return dmsg_peer_judge(out, &context, NULL, answer, NULL);
}

/* "3 0 0" or "3 1 0" of a new P-256 key. */
static void make_rdata(struct dmsg_buffer *rdata, bool bare)
{
    struct dmsg_name name = name_of("n", 0, "device.example.net");
    struct dmsg_creation wanted = {.name = &name, .type = DMSG_KEY_P256, .days = 3650};
    struct dmsg_material made;
    struct dmsg_error error;
    bench_must_do(dmsg_material_create(&made, &context, &wanted, &error), "a certificate", &error);
    unsigned char *der = NULL;
    EVP_PKEY *key = X509_get0_pubkey(made.certificate);
    int size = bare ? i2d_PUBKEY(key, &der) : i2d_X509(made.certificate, &der);
    bench_must(size > 0, "encoding a certificate");
    dmsg_buffer_put(rdata, bare ? "\3\1\0" : "\3\0\0", 3);
    dmsg_buffer_put(rdata, der, (size_t)size);
    OPENSSL_free(der);
    dmsg_material_done(&made);
}

static double resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    bench_must(file != NULL && fscanf(file, "%*d %ld", &pages) == 1, "reading the memory's size");
    fclose(file);
    return (double)pages * (double)sysconf(_SC_PAGESIZE) / 1024;
}

static void fill(struct dmsg_cache *cache, struct dmsg_span rdata, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct dmsg_peer *peer = NULL;
        struct dmsg_answer answer = {.status = DMSG_DNS_SECURE,
            .name = name_of("n", i, "device.example.net"),
            .ttl = 86400,
            .via = "127.0.0.1@53, over UDP or TCP",
            .count = 1,
            .records = {rdata}};
        answer.canonical = answer.name;
        bench_must(judge(NULL, &peer, &answer) == 0, "judging an answer");
        dmsg_cache_put(cache, peer, &answer);
        dmsg_peer_release(peer);
    }
}

/* Keys a second, of `names` that are asked for one after the other, `count` times in all. */
static double rate_of(struct dmsg_cache *cache, size_t first, size_t names, size_t count)
{
    struct dmsg_name *asked = malloc(names * sizeof *asked);
    bench_must(asked != NULL, "memory for names");
    for (size_t i = 0; i < names; i++)
        asked[i] = name_of("n", first + i, "device.example.net");
    double start = bench_thread_us();
    for (size_t i = 0; i < count; i++) {
        const struct dmsg_peer *peer = dmsg_cache_get(cache, &asked[i % names]);
        bench_must(peer != NULL && peer->keys[0].key != NULL, "finding a key");
        dmsg_peer_release(peer);
    }
    double us = bench_thread_us() - start;
    free(asked);
    return (double)count * 1e6 / us;
}

static void measure_cache(bool bare, size_t names)
{
    const struct dmsg_cache_config config = {.context = &context, .judge = judge};
    struct dmsg_buffer rdata = {0};
    struct dmsg_cache *cache = NULL;
    struct dmsg_error error;
    make_rdata(&rdata, bare);
    (void)malloc_trim(0);
    double before = resident_kib();
    bench_must_do(dmsg_cache_new(&cache, &config, &error), "a cache", &error);
    fill(cache, dmsg_buffer_span(&rdata), names);
    double kib = resident_kib() - before;
    size_t warm = names < 1000 ? names : 1000;
    double cold = rate_of(cache, 0, names, names); /* each was pushed out by the ones after it */
    double hot = rate_of(cache, names - warm, warm, 1000000);
    printf("%-10s %6zu  %8.1f MiB  %8.0f  %12.0f  %12.0f\n", bare ? "3 1 0" : "3 0 0", names,
        kib / 1024, kib * 1024 / (double)names, hot, cold);
    fflush(stdout);
    dmsg_cache_free(&cache);
    dmsg_buffer_done(&rdata);
}

static int run_cache(size_t names)
{
    puts("record      names         memory  octets a name  warm keys/s  judged anew/s");
    measure_cache(true, names);
    measure_cache(false, names);
    return 0;
}

/* ------------------------------------------------------------------------------------- lookups */

struct lookups {
    const char *program, *anchors, *stub;
    char zone[300];
    size_t count, asked, answered;
    struct dmsg_discovery *discovery;
    struct ub_ctx *unbound;
};

static void ask_library(struct lookups *lookups);

static void on_peer(void *user, const struct dmsg_peer *peer)
{
    struct lookups *lookups = user;
    bench_must(peer->status == DMSG_DNS_SECURE && peer->count == 1, "looking up a name");
    lookups->answered++;
    ask_library(lookups);
}

static void ask_library(struct lookups *lookups)
{
    struct dmsg_error error;
    if (lookups->asked == lookups->count)
        return;
    struct dmsg_name name = name_of("n", lookups->asked++, lookups->zone);
    bench_must_do(
        dmsg_discovery_ask(lookups->discovery, &name, on_peer, lookups, &error), "asking", &error);
}

static double run_library(struct lookups *lookups)
{
    struct dmsg_discovery_config config = {.resolver.stubs = &lookups->stub,
        .resolver.stub_count = 1,
        .resolver.trust_anchor = lookups->anchors,
        .resolver.program = lookups->program};
    const struct dmsg_peer *peer = NULL;
    struct dmsg_error error;
    bench_must_do(
        dmsg_discovery_new(&lookups->discovery, &context, &config, &error), "discovery", &error);
    struct dmsg_name first = name_of("warm", 0, lookups->zone);
    bench_must_do(dmsg_discovery_find(lookups->discovery, &first, 10000, &peer, &error),
        "the first name", &error); /* the zone's keys, which both sides then have */
    dmsg_peer_release(peer);
    double start = bench_wall_us();
    lookups->asked = lookups->answered = 0;
    for (size_t i = 0; i < WINDOW; i++)
        ask_library(lookups);
    while (lookups->answered < lookups->count) {
        struct pollfd fd = {.fd = dmsg_discovery_fd(lookups->discovery), .events = POLLIN};
        (void)poll(&fd, 1, 1000);
        bench_must(dmsg_discovery_step(lookups->discovery, &error) >= 0, "a step");
    }
    double us = bench_wall_us() - start;
    dmsg_discovery_free(&lookups->discovery);
    return (double)lookups->count * 1e6 / us;
}

static void ask_bare(struct lookups *lookups);

static void on_result(void *user, int failed, struct ub_result *result)
{
    struct lookups *lookups = user;
    bench_must(failed == 0 && result->secure && result->havedata, "looking up a name");
    ub_resolve_free(result);
    lookups->answered++;
    ask_bare(lookups);
}

static void ask_bare(struct lookups *lookups)
{
    char name[320];
    if (lookups->asked == lookups->count)
        return;
    snprintf(name, sizeof name, "n%zu.%s", lookups->asked++, lookups->zone);
    bench_must(
        ub_resolve_async(lookups->unbound, name, TYPE_TLSA, 1, lookups, on_result, NULL) == 0,
        "asking libunbound");
}

static double run_bare(struct lookups *lookups)
{
    struct ub_result *result = NULL;
    char name[320], local[320];
    const char *address = strchr(lookups->stub, '=') + 1;
    lookups->unbound = ub_ctx_create();
    snprintf(local, sizeof local, "%s transparent", lookups->zone);
    bench_must(lookups->unbound != NULL &&
                   ub_ctx_set_option(lookups->unbound, "do-not-query-localhost:", "no") == 0 &&
                   ub_ctx_set_option(lookups->unbound, "local-zone:", local) == 0 &&
                   ub_ctx_set_option(lookups->unbound, "local-zone:", "test. transparent") == 0 &&
                   ub_ctx_set_stub(lookups->unbound, lookups->zone, address, 0) == 0 &&
                   ub_ctx_add_ta_file(lookups->unbound, lookups->anchors) == 0 &&
                   ub_ctx_async(lookups->unbound, 1) == 0,
        "libunbound");
    snprintf(name, sizeof name, "warm0.%s", lookups->zone);
    bench_must(ub_resolve(lookups->unbound, name, TYPE_TLSA, 1, &result) == 0 && result->secure,
        "the first name");
    ub_resolve_free(result);
    double start = bench_wall_us();
    lookups->asked = lookups->answered = 0;
    for (size_t i = 0; i < WINDOW; i++)
        ask_bare(lookups);
    while (lookups->answered < lookups->count) {
        struct pollfd fd = {.fd = ub_fd(lookups->unbound), .events = POLLIN};
        (void)poll(&fd, 1, 1000);
        bench_must(ub_process(lookups->unbound) == 0, "libunbound's answers");
    }
    double us = bench_wall_us() - start;
    ub_ctx_delete(lookups->unbound);
    return (double)lookups->count * 1e6 / us;
}

static int run_lookups(char **arguments)
{
    struct lookups lookups = {.program = arguments[0],
        .anchors = arguments[1],
        .stub = arguments[2],
        .count = strtoul(arguments[3], NULL, 10)};
    double library[TURNS], bare[TURNS], ratio[TURNS];
    bench_must(strchr(lookups.stub, '=') != NULL && lookups.count >= WINDOW, "the arguments");
    snprintf(
        lookups.zone, sizeof lookups.zone, "%.*s", (int)strcspn(lookups.stub, "="), lookups.stub);
    for (size_t i = 0; i < TURNS; i++) {
        if (i % 2 == 0)
            library[i] = run_library(&lookups);
        bare[i] = run_bare(&lookups);
        if (i % 2 != 0)
            library[i] = run_library(&lookups);
        ratio[i] = library[i] / bare[i];
    }
    puts("uncached lookups   names  library/s     bare/s   ratio");
    printf("%-17s %6zu  %9.0f  %9.0f  %6.2f\n", "medians of 9", lookups.count,
        bench_median(library, TURNS), bench_median(bare, TURNS), bench_median(ratio, TURNS));
    return 0;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && argc <= 3 && strcmp(argv[1], "cache") == 0)
        return run_cache(argc == 3 ? strtoul(argv[2], NULL, 10) : NAMES_DEFAULT);
    if (argc == 6 && strcmp(argv[1], "lookups") == 0)
        return run_lookups(argv + 2);
    fprintf(stderr, "usage: discovery cache [NAMES]\n"
                    "       discovery lookups PROGRAM ANCHORS ZONE=ADDR@PORT COUNT\n");
    return 1;
}
