/*
 * What the benchmarks run on: a sender and a recipient with keys of one suite, the recipient's and
 * the sender's keys judged once from TLSA records as discovery would hand them over, a sealer and
 * an opener. No network, no files.
 */
#ifndef DANEMSG_BENCH_SUITES_H
#define DANEMSG_BENCH_SUITES_H

#include "danemsg/message.h"

#include <openssl/evp.h>

enum bench_family { BENCH_RSA, BENCH_EC, BENCH_25519 };

struct bench_suite {
    const char *word; /* on the command line */
    const char *name;
    enum bench_family family;
    unsigned rsa_bits;
    const char *curve, *hash; /* OpenSSL's names; of the curve with BENCH_EC only */
    size_t field_size;        /* octets of a shared secret, of half an ECDSA signature */
    bool cbc;                 /* A256CBC-HS512 in place of A256GCM */
    bool extra;               /* only with --all */
};

#define BENCH_SUITES 7
extern const struct bench_suite bench_suites[BENCH_SUITES];

/* The suite of that word, NULL when there is none. */
const struct bench_suite *bench_suite_of(const char *word);

/* The sender signs with one key, the recipient decrypts with the other. */
struct bench_keys {
    EVP_PKEY *signing, *encryption;
};

void bench_keys_make(struct bench_keys *keys, const struct bench_suite *suite);
/* Copies that share nothing: threads that use one RSA key would wait for each other. */
void bench_keys_dup(struct bench_keys *copy, const struct bench_keys *keys);
void bench_keys_free(struct bench_keys *keys);

/* One thread's. Everything in it belongs to it. */
struct bench_pair {
    const struct bench_suite *suite;
    struct dmsg_context context;
    struct dmsg_policy policy;
    struct dmsg_name alice_name, bob_name;
    struct dmsg_identity *alice, *bob;
    const struct dmsg_peer *alice_peer, *bob_peer;
    struct dmsg_seal_options options;
    struct dmsg_sealer *sealer;
    struct dmsg_opener *opener;
    struct dmsg_buffer envelope;
    struct dmsg_message message;
};

/* keys are borrowed for the call. */
void bench_pair_init(
    struct bench_pair *pair, const struct bench_suite *suite, const struct bench_keys *keys);
void bench_pair_done(struct bench_pair *pair);

/* Through the library's public calls, into pair->envelope and pair->message; anything but success
   ends the program. */
void bench_seal(struct bench_pair *pair, struct dmsg_span payload);
void bench_open(struct bench_pair *pair, struct dmsg_span envelope);

/* Ends the program when what must succeed did not. */
void bench_must(bool succeeded, const char *what);
void bench_must_do(int result, const char *what, const struct dmsg_error *error);

/* Time in µs: of the calling thread's CPU, and of the wall clock. */
double bench_thread_us(void);
double bench_wall_us(void);

/* Sorts values and returns the one in the middle. */
double bench_median(double *values, size_t count);

#endif
