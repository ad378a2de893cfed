#include "suites.h"

#include "dane/tlsa.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EC(text, bits, size)                                                                       \
    .family = BENCH_EC, .curve = text, .hash = "SHA2-" #bits, .field_size = size

const struct bench_suite bench_suites[BENCH_SUITES] = {
    {"rsa", "RS256 + RSA-OAEP-256, RSA-2048", BENCH_RSA, .rsa_bits = 2048, .hash = "SHA2-256"},
    {"p256", "ES256 + ECDH-ES+A256KW, P-256", EC("P-256", 256, 32)},
    {"25519", "EdDSA + ECDH-ES+A256KW, X25519", BENCH_25519, .field_size = 32},
    {"rsa-cbc", "RS256 + RSA-OAEP-256, CBC-HS512", BENCH_RSA, .rsa_bits = 2048, .hash = "SHA2-256",
        .cbc = true, .extra = true},
    {"p256-cbc", "ES256 + ECDH P-256, CBC-HS512", EC("P-256", 256, 32), .cbc = true, .extra = true},
    {"p384", "ES384 + ECDH-ES+A256KW, P-384", EC("P-384", 384, 48), .extra = true},
    {"p521", "ES512 + ECDH-ES+A256KW, P-521", EC("P-521", 512, 66), .extra = true},
};

const struct bench_suite *bench_suite_of(const char *word)
{
    for (size_t i = 0; i < BENCH_SUITES; i++) {
        if (strcmp(bench_suites[i].word, word) == 0)
            return &bench_suites[i];
    }
    return NULL;
}

void bench_must(bool succeeded, const char *what)
{
    if (succeeded)
        return;
    fprintf(stderr, "%s failed\n", what);
    exit(1);
}

void bench_must_do(int result, const char *what, const struct dmsg_error *error)
{
    if (result >= 0)
        return;
    fprintf(stderr, "%s: %s\n", what, error->text);
    exit(1);
}

/* --------------------------------------------------------------------------------------- keys */

void bench_keys_make(struct bench_keys *keys, const struct bench_suite *suite)
{
    switch (suite->family) {
    case BENCH_RSA:
        keys->signing = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)suite->rsa_bits);
        keys->encryption = EVP_PKEY_Q_keygen(NULL, NULL, "RSA", (size_t)suite->rsa_bits);
        break;
    case BENCH_EC:
        keys->signing = EVP_PKEY_Q_keygen(NULL, NULL, "EC", suite->curve);
        keys->encryption = EVP_PKEY_Q_keygen(NULL, NULL, "EC", suite->curve);
        break;
    case BENCH_25519:
        keys->signing = EVP_PKEY_Q_keygen(NULL, NULL, "ED25519");
        keys->encryption = EVP_PKEY_Q_keygen(NULL, NULL, "X25519");
        break;
    }
    bench_must(keys->signing != NULL && keys->encryption != NULL, "making keys");
}

void bench_keys_dup(struct bench_keys *copy, const struct bench_keys *keys)
{
    copy->signing = EVP_PKEY_dup(keys->signing);
    copy->encryption = EVP_PKEY_dup(keys->encryption);
    bench_must(copy->signing != NULL && copy->encryption != NULL, "copying keys");
}

void bench_keys_free(struct bench_keys *keys)
{
    EVP_PKEY_free(keys->signing);
    EVP_PKEY_free(keys->encryption);
}

/* ------------------------------------------------------------------------------------ parties */

static struct dmsg_identity *make_identity(
    const struct dmsg_context *context, const struct dmsg_name *name, EVP_PKEY *key)
{
    struct dmsg_identity *identity;
    struct dmsg_error error;
    bench_must_do(
        dmsg_identity_new(&identity, context, name, &error), "making an identity", &error);
    bench_must_do(dmsg_identity_add(identity, DMSG_KEY_CURRENT, key, NULL, &error),
        "adding a key to an identity", &error);
    return identity;
}

/* As discovery hands it over: judged from a validated answer with one 3 1 0 record. */
static const struct dmsg_peer *make_peer(
    const struct dmsg_context *context, const struct dmsg_name *name, EVP_PKEY *key)
{
    struct dmsg_buffer rdata = {0};
    struct dmsg_error error;
    const struct dmsg_peer *peer;
    bench_must_do(
        dmsg_tlsa_encode(&rdata, DMSG_DANE_EE, DMSG_TLSA_SPKI, DMSG_TLSA_FULL, NULL, key, &error),
        "encoding a TLSA record", &error);
    struct dmsg_answer answer = {
        .name = *name, .canonical = *name, .status = DMSG_DNS_SECURE, .ttl = 3600, .count = 1};
    answer.records[0] = dmsg_buffer_span(&rdata);
    bench_must_do(dmsg_peer_judge(&peer, context, NULL, &answer, &error), "judging a peer", &error);
    dmsg_buffer_done(&rdata);
    return peer;
}

static void parse_name(struct dmsg_name *name, const char *text)
{
    struct dmsg_error error;
    bench_must_do(dmsg_name_parse(name, dmsg_span_text(text), &error), text, &error);
}

void bench_pair_init(
    struct bench_pair *pair, const struct bench_suite *suite, const struct bench_keys *keys)
{
    struct dmsg_error error;
    *pair = (struct bench_pair){.suite = suite};
    parse_name(&pair->alice_name, "alice.device.example");
    parse_name(&pair->bob_name, "bob.device.example");
    pair->alice = make_identity(&pair->context, &pair->alice_name, keys->signing);
    pair->bob = make_identity(&pair->context, &pair->bob_name, keys->encryption);
    pair->alice_peer = make_peer(&pair->context, &pair->alice_name, keys->signing);
    pair->bob_peer = make_peer(&pair->context, &pair->bob_name, keys->encryption);
    pair->options = (struct dmsg_seal_options){.recipient = &pair->bob_name,
        .key = dmsg_peer_recipient_key(pair->bob_peer, &error),
        .format = DMSG_FORMAT_V1,
        .cbc = suite->cbc};
    bench_must(pair->options.key != NULL, "finding the recipient's key");
    bench_must_do(dmsg_sealer_new(&pair->sealer, &pair->context, pair->alice, &error),
        "preparing to seal", &error);
    bench_must_do(dmsg_opener_new(&pair->opener, &pair->context, pair->bob, &pair->policy, &error),
        "preparing to open", &error);
}

void bench_pair_done(struct bench_pair *pair)
{
    dmsg_sealer_free(&pair->sealer);
    dmsg_opener_free(&pair->opener);
    dmsg_peer_release(pair->alice_peer);
    dmsg_peer_release(pair->bob_peer);
    dmsg_identity_free(&pair->alice);
    dmsg_identity_free(&pair->bob);
    dmsg_buffer_done(&pair->envelope);
    dmsg_message_done(&pair->message);
}

void bench_seal(struct bench_pair *pair, struct dmsg_span payload)
{
    struct dmsg_error error;
    dmsg_buffer_reset(&pair->envelope);
    bench_must_do(dmsg_seal(pair->sealer, &pair->options, payload, &pair->envelope, &error),
        "sealing", &error);
}

void bench_open(struct bench_pair *pair, struct dmsg_span envelope)
{
    const struct dmsg_span topic = {(const uint8_t *)pair->bob_name.text, pair->bob_name.size};
    struct dmsg_error error;
    bench_must_do(
        dmsg_open_begin(pair->opener, envelope, topic, &pair->message, &error), "opening", &error);
    bench_must_do(dmsg_open_finish(pair->opener, &pair->message, pair->alice_peer, &error),
        "verifying", &error);
}

/* --------------------------------------------------------------------------------------- time */

static double read_clock(clockid_t clock)
{
    struct timespec now;
    bench_must(clock_gettime(clock, &now) == 0, "reading a clock");
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

double bench_thread_us(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

double bench_wall_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

static int compare(const void *a, const void *b)
{
    const double *left = a, *right = b;
    return (*left > *right) - (*left < *right);
}

double bench_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return count % 2 == 1 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}
