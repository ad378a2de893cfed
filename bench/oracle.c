/*
 * Can a sender tell by the clock why its message was not decrypted?
 *
 *     bench/oracle [COUNT]        openings of each kind, 4000 unless told otherwise
 *
 * doc/PROTOCOL.md lets decryption fail in one way only. This measures how long dmsg_open_begin
 * takes to refuse envelopes that differ in what is wrong with them after the private key was used:
 *
 *     RSA-OAEP-256      the tag is wrong (a good key was found); what RSA decrypts does not begin
 *                       with a zero octet, or begins with one and is no OAEP all the same
 *                       (Manger's attack is to tell these two apart); the key that OAEP holds is
 *                       too short, or too long
 *     ECDH-ES+A256KW    the tag is wrong; the unwrapped key fails its integrity check
 *
 * The kinds take turns in random order, each with many envelopes. It is an observation and not a
 * test: what it says depends on the machine and on what else runs there.
 */
#include "suites.h"

#include "base/base64url.h"
#include "jose/jose.h"

#include <math.h>
#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/rsa.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KINDS_MAX 5
#define ENVELOPES 32 /* of each kind */
#define COUNT_DEFAULT 4000
#define COUNT_MAX 1000000
#define RSA_SIZE 256

/* Long, as a sender would choose it who hopes that decryption of the content is left out. */
#define PAYLOAD_SIZE 16384

/* Share of the slowest openings that is left out of the t statistic: they tell about interrupts. */
#define CROP 0.1

/* Changes the decoded parts of a good envelope. */
typedef void spoil(const struct bench_keys *keys, struct dmsg_buffer *encrypted_key, uint8_t *tag);

struct kind {
    const char *name;
    spoil *spoil;
};

struct series {
    const struct kind *kind;
    struct dmsg_buffer envelopes[ENVELOPES];
    double *us;
};

/* -------------------------------------------------------------------------------- spoiling them */

static void spoil_tag(
    const struct bench_keys *keys, struct dmsg_buffer *encrypted_key, uint8_t *tag)
{
    (void)keys;
    (void)encrypted_key;
    tag[0] ^= 1;
}

static void spoil_wrap(
    const struct bench_keys *keys, struct dmsg_buffer *encrypted_key, uint8_t *tag)
{
    (void)keys;
    (void)tag;
    bench_must(RAND_bytes(encrypted_key->data, (int)encrypted_key->size) == 1, "randomness");
}

static void encrypt_rsa(const struct bench_keys *keys, int padding, const uint8_t *in, size_t size,
    struct dmsg_buffer *encrypted_key)
{
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, keys->encryption, NULL);
    size_t written = RSA_SIZE;
    bench_must(
        encrypted_key->size == RSA_SIZE && ctx != NULL && EVP_PKEY_encrypt_init(ctx) == 1 &&
            EVP_PKEY_CTX_set_rsa_padding(ctx, padding) == 1 &&
            (padding == RSA_NO_PADDING || EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1) &&
            EVP_PKEY_encrypt(ctx, encrypted_key->data, &written, in, size) == 1,
        "encrypting with RSA");
    EVP_PKEY_CTX_free(ctx);
}

static void spoil_oaep(
    const struct bench_keys *keys, struct dmsg_buffer *encrypted_key, uint8_t first)
{
    uint8_t raw[RSA_SIZE];
    bench_must(RAND_bytes(raw, sizeof raw) == 1, "randomness");
    raw[0] = first; /* below 0x80, and so below every modulus of this size */
    encrypt_rsa(keys, RSA_NO_PADDING, raw, sizeof raw, encrypted_key);
}

static void spoil_first(
    const struct bench_keys *keys, struct dmsg_buffer *encrypted_key, uint8_t *tag)
{
    (void)tag;
    spoil_oaep(keys, encrypted_key, 0x5a);
}

static void spoil_rest(
    const struct bench_keys *keys, struct dmsg_buffer *encrypted_key, uint8_t *tag)
{
    (void)tag;
    spoil_oaep(keys, encrypted_key, 0);
}

static void spoil_size(
    const struct bench_keys *keys, struct dmsg_buffer *encrypted_key, size_t size)
{
    uint8_t key[64];
    bench_must(size <= sizeof key && RAND_bytes(key, (int)size) == 1, "randomness");
    encrypt_rsa(keys, RSA_PKCS1_OAEP_PADDING, key, size, encrypted_key);
}

static void spoil_short(
    const struct bench_keys *keys, struct dmsg_buffer *encrypted_key, uint8_t *tag)
{
    (void)tag;
    spoil_size(keys, encrypted_key, 16);
}

static void spoil_long(
    const struct bench_keys *keys, struct dmsg_buffer *encrypted_key, uint8_t *tag)
{
    (void)tag;
    spoil_size(keys, encrypted_key, 64);
}

static const struct kind rsa_kinds[] = {
    {"wrong tag, the key is good", spoil_tag},
    {"OAEP: first octet not zero", spoil_first},
    {"OAEP: first octet zero, rest wrong", spoil_rest},
    {"OAEP good, key of 16 octets", spoil_short},
    {"OAEP good, key of 64 octets", spoil_long},
};
static const struct kind ecdh_kinds[] = {
    {"wrong tag, the key is good", spoil_tag},
    {"key wrap: integrity check fails", spoil_wrap},
};

static void put_part(struct dmsg_buffer *out, const char *before, struct dmsg_span octets)
{
    dmsg_buffer_put_text(out, before);
    dmsg_base64url_put(out, octets);
}

/* A good envelope, taken apart, spoilt and put together again. */
static void make_envelope(struct dmsg_buffer *out, struct bench_pair *pair,
    const struct bench_keys *keys, const struct kind *kind)
{
    static const uint8_t payload[PAYLOAD_SIZE];
    struct dmsg_jwe jwe;
    struct dmsg_error error;
    struct dmsg_buffer encrypted_key = {0}, tag = {0};
    bench_seal(pair, (struct dmsg_span){payload, sizeof payload});
    bench_must_do(
        dmsg_jwe_parse(&jwe, dmsg_buffer_span(&pair->envelope), &error), "parsing", &error);
    bench_must(dmsg_base64url_take(&encrypted_key, jwe.encrypted_key) == 0 &&
                   dmsg_base64url_take(&tag, jwe.tag) == 0,
        "decoding an envelope");
    kind->spoil(keys, &encrypted_key, tag.data);
    dmsg_buffer_put_text(out, "{\"protected\":\"");
    dmsg_buffer_put_span(out, jwe.protected_header);
    put_part(out, "\",\"encrypted_key\":\"", dmsg_buffer_span(&encrypted_key));
    dmsg_buffer_put_text(out, "\",\"iv\":\"");
    dmsg_buffer_put_span(out, jwe.iv);
    dmsg_buffer_put_text(out, "\",\"ciphertext\":\"");
    dmsg_buffer_put_span(out, jwe.ciphertext);
    put_part(out, "\",\"tag\":\"", dmsg_buffer_span(&tag));
    dmsg_buffer_put_text(out, "\"}");
    dmsg_buffer_done(&encrypted_key);
    dmsg_buffer_done(&tag);
}

/* ------------------------------------------------------------------------------------ measuring */

static double time_refusal(struct bench_pair *pair, const struct dmsg_buffer *envelope)
{
    struct dmsg_error error;
    const struct dmsg_span no_topic = {0};
    double start = bench_wall_us();
    int result =
        dmsg_open_begin(pair->opener, dmsg_buffer_span(envelope), no_topic, &pair->message, &error);
    double us = bench_wall_us() - start;
    bench_must(result == DMSG_E_DECRYPT, "refusing with 'decrypt'");
    return us;
}

static unsigned random_below(unsigned limit)
{
    unsigned value;
    bench_must(RAND_bytes((unsigned char *)&value, sizeof value) == 1, "randomness");
    return value % limit;
}

static void shuffle(size_t *order, size_t count)
{
    for (size_t i = count; i > 1; i--) {
        size_t j = random_below((unsigned)i), kept = order[i - 1];
        order[i - 1] = order[j];
        order[j] = kept;
    }
}

static void measure(struct bench_pair *pair, struct series *series, size_t kinds, size_t count)
{
    size_t order[KINDS_MAX];
    for (size_t k = 0; k < kinds; k++)
        order[k] = k;
    for (size_t i = 0; i < count; i++) {
        shuffle(order, kinds);
        for (size_t k = 0; k < kinds; k++) {
            struct series *one = &series[order[k]];
            one->us[i] = time_refusal(pair, &one->envelopes[random_below(ENVELOPES)]);
        }
    }
}

/* ----------------------------------------------------------------------------------- statistics */

struct moments {
    double count, mean, variance;
};

/* Of the values up to a limit. */
static struct moments moments_of(const double *values, size_t count, double limit)
{
    struct moments m = {0};
    double squares = 0;
    for (size_t i = 0; i < count; i++) {
        if (values[i] > limit)
            continue;
        double delta = values[i] - m.mean;
        m.count++;
        m.mean += delta / m.count;
        squares += delta * (values[i] - m.mean);
    }
    m.variance = m.count > 1 ? squares / (m.count - 1) : 0;
    return m;
}

/* Welch's t of b against a; both are cropped at the same limit, that of the two together. Both are
   sorted. */
static double welch(const double *a, const double *b, size_t count)
{
    size_t last = (size_t)((double)count * (1 - CROP));
    double limit = a[last] > b[last] ? a[last] : b[last];
    struct moments x = moments_of(a, count, limit), y = moments_of(b, count, limit);
    double error = sqrt(x.variance / x.count + y.variance / y.count);
    return error > 0 ? (y.mean - x.mean) / error : 0;
}

/* Mann and Whitney's U of b against a as a normal deviate; ties count half. Both are sorted. */
static double mann_whitney(const double *a, const double *b, size_t count)
{
    double n = (double)count, u = 0;
    size_t below = 0, not_above = 0;
    for (size_t i = 0; i < count; i++) {
        while (below < count && a[below] < b[i])
            below++;
        while (not_above < count && a[not_above] <= b[i])
            not_above++;
        u += (double)(below + not_above) / 2;
    }
    return (u - n * n / 2) / sqrt(n * n * (2 * n + 1) / 12);
}

static void report(const char *title, struct series *series, size_t kinds, size_t count)
{
    double reference = 0;
    printf("\n%-40s %10s  %13s  %7s  %7s\n", title, "median µs", "difference ns", "t", "z");
    for (size_t k = 0; k < kinds; k++) {
        double median = bench_median(series[k].us, count); /* sorts */
        if (k == 0) {
            reference = median;
            printf("  %-38s %9.2f\n", series[k].kind->name, median);
        } else {
            printf("  %-38s %9.2f  %13.0f  %7.2f  %7.2f\n", series[k].kind->name, median,
                (median - reference) * 1000, welch(series[0].us, series[k].us, count),
                mann_whitney(series[0].us, series[k].us, count));
        }
    }
}

/* -------------------------------------------------------------------------------------- the run */

static void run(const char *word, const struct kind *kinds, size_t kind_count, size_t count)
{
    const struct bench_suite *suite = bench_suite_of(word);
    struct bench_keys keys;
    struct bench_pair pair;
    struct series series[KINDS_MAX] = {0};
    bench_keys_make(&keys, suite);
    bench_pair_init(&pair, suite, &keys);
    for (size_t k = 0; k < kind_count; k++) {
        series[k].kind = &kinds[k];
        series[k].us = calloc(count, sizeof *series[k].us);
        bench_must(series[k].us != NULL, "memory");
        for (size_t i = 0; i < ENVELOPES; i++)
            make_envelope(&series[k].envelopes[i], &pair, &keys, &kinds[k]);
    }
    measure(&pair, series, kind_count, count / 10 + 1); /* warm */
    measure(&pair, series, kind_count, count);
    report(suite->name, series, kind_count, count);
    for (size_t k = 0; k < kind_count; k++) {
        for (size_t i = 0; i < ENVELOPES; i++)
            dmsg_buffer_done(&series[k].envelopes[i]);
        free(series[k].us);
    }
    bench_pair_done(&pair);
    bench_keys_free(&keys);
}

#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

int main(int argc, char **argv)
{
    size_t count = argc > 1 ? strtoul(argv[1], NULL, 10) : COUNT_DEFAULT;
    if (argc > 2 || count < 10 || count > COUNT_MAX) {
        fprintf(stderr, "usage: oracle [COUNT]     10 to %d openings of each kind\n", COUNT_MAX);
        return 1;
    }
    printf("danemsg %s, OpenSSL %s; %zu openings of each kind, in random order\n", DMSG_VERSION,
        OpenSSL_version(OPENSSL_FULL_VERSION_STRING), count);
    run("rsa", rsa_kinds, COUNT_OF(rsa_kinds), count);
    run("p256", ecdh_kinds, COUNT_OF(ecdh_kinds), count);
    run("25519", ecdh_kinds, COUNT_OF(ecdh_kinds), count);
    printf(
        "\nEach kind against the first of its table: t is Welch's, without the slowest %.0f %%; z "
        "is Mann and\nWhitney's. Within -4.5 and 4.5 this many openings show no difference. "
        "Beyond, in both and again in\na second run, there is one: its size is in nanoseconds, "
        "and a network blurs what is below some\nthousands of them; a sender on the same machine "
        "sees less.\n",
        CROP * 100);
    return 0;
}
