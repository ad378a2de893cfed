/*
 * danemsg doctor: checks that say what is wrong on this machine, in DNS and at the broker, and what
 * to do about it. A check looks and changes nothing: no lock is taken, no session of the receiver,
 * nothing is published.
 *
 * The table of checks is DOCTOR_CHECKS. Each is a function in doctor_*.c that adds one line or more
 * (doctor_ok, doctor_warn, doctor_fail, doctor_pass); one of which a check that it needs has failed
 * is not run, and a line says so.
 */
#ifndef DANEMSG_CLI_DOCTOR_H
#define DANEMSG_CLI_DOCTOR_H

#include "broker.h"
#include "open_store.h"

/* name, what it is called, the checks that it needs as a mask of DOCTOR_BIT. In the order in which
   they run, causes before what follows from them: the first failure makes the exit status. */
#define DOCTOR_CHECKS(X)                                                                           \
    X(identity, "identity", 0)                                                                     \
    X(certificate, "certificate", DOCTOR_BIT(identity))                                            \
    X(rollover, "rollover", DOCTOR_BIT(identity))                                                  \
    X(trust_anchor, "trust-anchor", 0)                                                             \
    X(resolver, "resolver", DOCTOR_BIT(trust_anchor))                                              \
    X(answer, "answer", DOCTOR_BIT(trust_anchor))                                                  \
    X(sandbox, "sandbox", DOCTOR_BIT(trust_anchor))                                                \
    X(record, "record", DOCTOR_BIT(identity) | DOCTOR_BIT(answer))                                 \
    X(ttl, "ttl", DOCTOR_BIT(answer))                                                              \
    X(signatures, "signatures", DOCTOR_BIT(answer))                                                \
    X(broker, "broker", 0)                                                                         \
    X(limits, "limits", DOCTOR_BIT(broker))                                                        \
    X(subscription, "subscription", DOCTOR_BIT(broker))                                            \
    X(clock, "clock", 0)                                                                           \
    X(state, "state", 0)                                                                           \
    X(disk, "disk", DOCTOR_BIT(state))                                                             \
    X(store, "store", DOCTOR_BIT(state))                                                           \
    X(integrity, "integrity", DOCTOR_BIT(store))                                                   \
    X(outbox, "outbox", DOCTOR_BIT(store))                                                         \
    X(receiver, "receiver", DOCTOR_BIT(state))

enum doctor_check {
#define DOCTOR_CHECK(name, word, needs) DOCTOR_##name,
    DOCTOR_CHECKS(DOCTOR_CHECK)
#undef DOCTOR_CHECK
        DOCTOR_CHECK_COUNT
};
#define DOCTOR_BIT(name) (1u << DOCTOR_##name)

/* Of two results of a check the later one here counts. */
enum doctor_result { DOCTOR_NOT_CHECKED, DOCTOR_OK, DOCTOR_WARNING, DOCTOR_FAILED };

struct doctor_options {
    struct identity_options identity;
    struct dns_options dns;
    struct broker_options broker;
    struct store_choice store;
    const char *group, *status;
    int64_t wait, size_limit, retain_size;
    bool json, quiet;
};

/* Servers that are asked by themselves; more are few people's, and each is a process. */
#define DOCTOR_PROBES_MAX 8

/* One server, and what it says to one question. */
struct doctor_probe {
    char server[DMSG_NAME_TEXT + 96]; /* "192.0.2.53", "example.net=192.0.2.53" */
    bool system;               /* of the system: danemsg does without, where it strips DNSSEC */
    struct dmsg_name question; /* whose TLSA records were asked for */
    bool root;                 /* a name that the root proves to be there or not */
    struct dmsg_resolver *resolver;
    bool answered;
    enum dmsg_dns_status status;
    char why[256];
};

struct doctor {
    const char *program;
    const struct doctor_options *options;
    struct dmsg_context context;
    struct dmsg_name name; /* the identity's */
    char *folder;          /* of its files */
    char *state;           /* the state folder, there or not */

    struct dmsg_discovery *discovery;
    struct dmsg_error no_discovery; /* why there is none; code 0: there is */
    struct doctor_probe probes[DOCTOR_PROBES_MAX];
    size_t probe_count, probes_left_out;
    int64_t until;            /* dmsg_now_ms(): what DNS has not answered then is not waited for */
    struct dmsg_identity *me; /* NULL: cannot be read */
    const struct dmsg_peer *peer; /* what DNS says of the name; NULL: not asked */
    struct broker broker;
    struct dmsg_mqtt *mqtt; /* connected, or not */

    enum doctor_check check; /* the one that runs */
    enum doctor_result worst[DOCTOR_CHECK_COUNT];
    int first;                /* code of the first failure, 0: none */
    struct dmsg_error output; /* why a line could not be written; code 0: all were */
};

/* ------------------------------------------------------------------------ lines of the report */

void doctor_ok(struct doctor *doctor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* advice: what to do, one clause; NULL when the text says it. */
void doctor_warn(struct doctor *doctor, int code, const char *advice, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
void doctor_fail(struct doctor *doctor, int code, const char *advice, const char *format, ...)
    __attribute__((format(printf, 4, 5)));
/* There is nothing to be judged by. */
void doctor_pass(struct doctor *doctor, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* -------------------------------------------------------------------------------- the checks */

#define DOCTOR_CHECK(name, word, needs) void doctor_##name(struct doctor *doctor);
DOCTOR_CHECKS(DOCTOR_CHECK)
#undef DOCTOR_CHECK

/* doctor_resolvers.c: starts the processes, before a key is read, and asks; ends them. What cannot
   be started is told by the checks. DMSG_E_USAGE: options that make no sense. */
int doctor_start_dns(struct doctor *doctor, struct dmsg_error *error) DMSG_MUST_CHECK;
void doctor_end_dns(struct doctor *doctor);

/* doctor_records.c: does DNS say that the signatures do not hold at this time? */
bool doctor_time_is_wrong(const char *why);

#endif
