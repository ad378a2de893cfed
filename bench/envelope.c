/*
 * What an envelope costs beyond its cryptography.
 *
 *     bench/envelope              the three usual suites, under a minute
 *     bench/envelope --quick      the same in a few seconds, less exact
 *     bench/envelope --all        ES384, ES512 and A256CBC-HS512 too
 *     bench/envelope p256 ...     only these suites
 *     bench/envelope --profile SUITE SIZE seal|open COUNT     for perf or callgrind: no output
 *
 * First table: CPU time of one message, sealed or opened by the library's public calls with
 * everything prepared that a process prepares once (dmsg_seal; dmsg_open_begin and
 * dmsg_open_finish with a judged peer); the sum of the bare primitives (bare.h says what is in
 * it); and the ratio of the two. Both run in turns, a few milliseconds each, so that whatever else
 * the machine does hits both alike; each figure is the median over all turns, and the ratio is the
 * median of the turns' ratios.
 *
 * Second table: messages a second by the wall clock, on one thread and on two with contexts and
 * keys of their own, again in turns; how many of the turns counted, which are those in which
 * nothing else ran, or all when these are too few; how many processors the two threads had in them;
 * and the factor that the second thread brings. With "CPU" clearly below 2 the machine was busy,
 * and the factor says nothing about us.
 */
#include "bare.h"

#include <openssl/crypto.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Envelopes that are opened in turn, so that no branch predictor knows one by heart. */
#define MESSAGES 16
#define THREADS 2
#define TURNS_MAX 201

/* A turn of the second table is quiet when each thread had this much of a processor. */
#define QUIET 0.95
#define QUIET_TURNS_MIN 5

static const size_t sizes[] = {32, 1024, 16384};
#define SIZES (sizeof sizes / sizeof sizes[0])

enum direction { SEAL, OPEN };
static const char *const direction_words[] = {"seal", "open"};

struct effort {
    size_t turns;        /* pairs of the first table */
    double turn_us;      /* of each side */
    size_t thread_turns; /* pairs of the second */
    double thread_us;
};
static const struct effort thorough = {151, 3000, 41, 10000}, quick = {21, 1000, 5, 5000};

/* One thread's side of a measurement. */
struct bench {
    struct bench_pair pair;
    struct bare *bare;
    struct dmsg_span payload;
    struct bare_message messages[MESSAGES];
};

static void bench_init(struct bench *bench, const struct bench_suite *suite,
    const struct bench_keys *keys, struct dmsg_span payload)
{
    bench_pair_init(&bench->pair, suite, keys);
    bench->bare = bare_new(suite, keys);
    bench->payload = payload;
    for (size_t i = 0; i < MESSAGES; i++) {
        bench_seal(&bench->pair, payload);
        bare_message_init(
            &bench->messages[i], &bench->pair, dmsg_buffer_span(&bench->pair.envelope));
    }
}

static void bench_done(struct bench *bench)
{
    for (size_t i = 0; i < MESSAGES; i++)
        bare_message_done(&bench->messages[i]);
    bare_free(bench->bare);
    bench_pair_done(&bench->pair);
}

static void run_library(struct bench *bench, enum direction direction, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (direction == SEAL)
            bench_seal(&bench->pair, bench->payload);
        else
            bench_open(&bench->pair, dmsg_buffer_span(&bench->messages[i % MESSAGES].text));
    }
}

static void run_bare(struct bench *bench, enum direction direction, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (direction == SEAL)
            bare_seal(bench->bare, &bench->messages[i % MESSAGES]);
        else
            bare_open(bench->bare, &bench->messages[i % MESSAGES]);
    }
}

/* ------------------------------------------------------------------------------ the first table */

typedef void side(struct bench *bench, enum direction direction, size_t count);

/* CPU µs of one message. */
static double time_side(side *run, struct bench *bench, enum direction direction, size_t count)
{
    double start = bench_thread_us();
    run(bench, direction, count);
    return (bench_thread_us() - start) / (double)count;
}

static size_t count_for(struct bench *bench, enum direction direction, double us)
{
    run_library(bench, direction, MESSAGES); /* warm */
    double one = time_side(run_bare, bench, direction, MESSAGES);
    return (size_t)(us / one) + 1;
}

static void measure(struct bench *bench, enum direction direction, const struct effort *effort)
{
    double library[TURNS_MAX], bare[TURNS_MAX], ratio[TURNS_MAX];
    size_t count = count_for(bench, direction, effort->turn_us);
    for (size_t i = 0; i < effort->turns; i++) {
        bool first = i % 2 == 0;
        if (first)
            library[i] = time_side(run_library, bench, direction, count);
        bare[i] = time_side(run_bare, bench, direction, count);
        if (!first)
            library[i] = time_side(run_library, bench, direction, count);
        ratio[i] = library[i] / bare[i];
    }
    printf("%-32s %6zu  %s  %10.2f  %10.2f  %7.3f\n", bench->pair.suite->name, bench->payload.size,
        direction_words[direction], bench_median(library, effort->turns),
        bench_median(bare, effort->turns), bench_median(ratio, effort->turns));
    fflush(stdout);
}

/* ----------------------------------------------------------------------------- the second table */

struct worker {
    pthread_t thread;
    struct bench *bench;
    enum direction direction;
    pthread_barrier_t *start;
    double us;        /* how long to work, by the wall clock */
    double rate, cpu; /* messages a second; share of a processor */
};

#define STRIDE 8 /* messages between two looks at the clock */

static void *work(void *argument)
{
    struct worker *worker = argument;
    size_t count = 0;
    (void)pthread_barrier_wait(worker->start);
    double start = bench_wall_us(), used = bench_thread_us(), now;
    do {
        run_library(worker->bench, worker->direction, STRIDE);
        count += STRIDE;
        now = bench_wall_us();
    } while (now - start < worker->us);
    worker->rate = (double)count * 1e6 / (now - start);
    worker->cpu = (bench_thread_us() - used) / (now - start);
    return NULL;
}

/* Messages a second; *cpu gets how many processors they had. */
static double rate(
    struct bench *benches, size_t threads, enum direction direction, double us, double *cpu)
{
    struct worker workers[THREADS];
    pthread_barrier_t start;
    double total = 0;
    bench_must(pthread_barrier_init(&start, NULL, (unsigned)threads) == 0, "a barrier");
    for (size_t i = 0; i < threads; i++) {
        workers[i] = (struct worker){
            .bench = &benches[i], .direction = direction, .start = &start, .us = us};
        bench_must(
            pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "making a thread");
    }
    *cpu = 0;
    for (size_t i = 0; i < threads; i++) {
        (void)pthread_join(workers[i].thread, NULL);
        total += workers[i].rate;
        *cpu += workers[i].cpu;
    }
    (void)pthread_barrier_destroy(&start);
    return total;
}

/* Moves the turns in which the threads had the processors to themselves to the front, and returns
   how many there are; all of them when they are too few to tell. */
static size_t quiet_turns(double *const columns[], size_t count, const double *one_cpu,
    const double *two_cpu, size_t turns)
{
    size_t quiet = 0;
    for (size_t i = 0; i < turns; i++)
        quiet += one_cpu[i] >= QUIET && two_cpu[i] >= QUIET * THREADS;
    if (quiet < QUIET_TURNS_MIN)
        return turns;
    quiet = 0;
    for (size_t i = 0; i < turns; i++) {
        if (one_cpu[i] < QUIET || two_cpu[i] < QUIET * THREADS)
            continue;
        for (size_t c = 0; c < count; c++)
            columns[c][quiet] = columns[c][i];
        quiet++;
    }
    return quiet;
}

static void measure_threads(
    struct bench benches[THREADS], enum direction direction, const struct effort *effort)
{
    double one[TURNS_MAX], two[TURNS_MAX], factor[TURNS_MAX], cpu[TURNS_MAX];
    double one_cpu[TURNS_MAX], two_cpu[TURNS_MAX], *const columns[] = {one, two, factor, cpu};
    for (size_t i = 0; i < effort->thread_turns; i++) {
        one[i] = rate(benches, 1, direction, effort->thread_us, &one_cpu[i]);
        two[i] = rate(benches, THREADS, direction, effort->thread_us, &two_cpu[i]);
        factor[i] = two[i] / one[i];
        cpu[i] = two_cpu[i];
    }
    size_t turns = quiet_turns(
        columns, sizeof columns / sizeof columns[0], one_cpu, two_cpu, effort->thread_turns);
    printf("%-32s %6zu  %s  %10.0f  %11.0f  %5zu  %5.2f  %6.2f\n", benches[0].pair.suite->name,
        benches[0].payload.size, direction_words[direction], bench_median(one, turns),
        bench_median(two, turns), turns, bench_median(cpu, turns), bench_median(factor, turns));
    fflush(stdout);
}

/* ------------------------------------------------------------------------------------ the run */

struct choice {
    const struct effort *effort;
    bool all;
    const struct bench_suite *only[BENCH_SUITES]; /* none: by extra */
    size_t only_count;
};

static bool is_chosen(const struct choice *choice, const struct bench_suite *suite)
{
    for (size_t i = 0; i < choice->only_count; i++) {
        if (choice->only[i] == suite)
            return true;
    }
    return choice->only_count == 0 && (choice->all || !suite->extra);
}

typedef void row(struct bench benches[THREADS], enum direction, const struct effort *);

static void row_of_first(
    struct bench benches[THREADS], enum direction direction, const struct effort *effort)
{
    measure(&benches[0], direction, effort);
}

static void run_suite(
    const struct bench_suite *suite, size_t threads, row *print, const struct effort *effort)
{
    static uint8_t payload[16384];
    struct bench benches[THREADS];
    struct bench_keys keys, copy;
    bench_keys_make(&keys, suite);
    for (size_t s = 0; s < SIZES; s++) {
        for (size_t i = 0; i < threads; i++) {
            bench_keys_dup(&copy, &keys);
            bench_init(&benches[i], suite, &copy, (struct dmsg_span){payload, sizes[s]});
            bench_keys_free(&copy);
        }
        print(benches, SEAL, effort);
        print(benches, OPEN, effort);
        for (size_t i = 0; i < threads; i++)
            bench_done(&benches[i]);
    }
    bench_keys_free(&keys);
}

static void run_table(const struct choice *choice, const char *header, size_t threads, row *print)
{
    puts(header);
    for (size_t i = 0; i < BENCH_SUITES; i++) {
        if (is_chosen(choice, &bench_suites[i]))
            run_suite(&bench_suites[i], threads, print, choice->effort);
    }
}

static int run(const struct choice *choice)
{
    const struct effort *effort = choice->effort;
    printf(
        "danemsg %s, OpenSSL %s; %zu turns of %.0f ms a side, then %zu of %.0f ms; %d envelopes in "
        "turn\n\n",
        DMSG_VERSION, OpenSSL_version(OPENSSL_FULL_VERSION_STRING), effort->turns,
        effort->turn_us / 1000, effort->thread_turns, effort->thread_us / 1000, MESSAGES);
    run_table(choice,
        "suite                            octets        library µs     bare µs    ratio", 1,
        row_of_first);
    run_table(choice,
        "\nsuite                            octets        1 thread/s  2 threads/s  turns    CPU  "
        "factor",
        THREADS, measure_threads);
    return 0;
}

static int profile(char **arguments)
{
    static uint8_t payload[DMSG_MESSAGE_SIZE_MAX];
    static struct bench bench;
    struct bench_keys keys;
    const struct bench_suite *suite = bench_suite_of(arguments[0]);
    size_t size = strtoul(arguments[1], NULL, 10), count = strtoul(arguments[3], NULL, 10);
    bench_must(suite != NULL && size <= sizeof payload, "choosing a suite and a size");
    enum direction direction = strcmp(arguments[2], "seal") == 0 ? SEAL : OPEN;
    bench_keys_make(&keys, suite);
    bench_init(&bench, suite, &keys, (struct dmsg_span){payload, size});
    run_library(&bench, direction, count);
    bench_done(&bench);
    bench_keys_free(&keys);
    return 0;
}

static int usage(void)
{
    fprintf(stderr, "usage: envelope [--quick] [--all] [SUITE ...]\n"
                    "       envelope --profile SUITE SIZE seal|open COUNT\n"
                    "suites:");
    for (size_t i = 0; i < BENCH_SUITES; i++)
        fprintf(stderr, " %s", bench_suites[i].word);
    fprintf(stderr, "\n");
    return 1;
}

int main(int argc, char **argv)
{
    struct choice choice = {.effort = &thorough};
    if (argc == 6 && strcmp(argv[1], "--profile") == 0)
        return profile(argv + 2);
    for (int i = 1; i < argc; i++) {
        const struct bench_suite *suite = bench_suite_of(argv[i]);
        if (strcmp(argv[i], "--quick") == 0)
            choice.effort = &quick;
        else if (strcmp(argv[i], "--all") == 0)
            choice.all = true;
        else if (suite != NULL && choice.only_count < BENCH_SUITES)
            choice.only[choice.only_count++] = suite;
        else
            return usage();
    }
    return run(&choice);
}
