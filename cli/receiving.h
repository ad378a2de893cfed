/* A run of `danemsg receive`: its options, and what is made for it, in the order in which it is
   needed. */
#ifndef DANEMSG_CLI_RECEIVING_H
#define DANEMSG_CLI_RECEIVING_H

#include "broker.h"
#include "delivering.h"
#include "events.h"
#include "figures.h"
#include "open_store.h"
#include "patterns.h"
#include "receiver_state.h"
#include "reload.h"

/* A mebibyte is the unit of --retain-size. */
#define RETAIN_UNIT (1024 * 1024)

struct receive {
    int64_t count, wait, qos, size_limit, retain, retain_size, pending_size;
    const char *allow_file, *metrics, *status, *group;
    bool clean, log_json;
    struct text_list topics, allow, accept_poc;
    struct store_choice store;
    struct delivering_options delivering;
    struct broker_options broker;
    struct identity_options identity;
    struct dns_options dns;
};

struct receiving {
    const struct invocation *self;
    const struct receive *options;
    struct dmsg_context context;
    struct dmsg_name name; /* one's own */
    struct events events;
    struct dmsg_log log;
    struct housekeeping housekeeping;
    struct dmsg_receive_state seen;
    struct receiver_figures figures;
    char *status_path;
    struct dmsg_discovery *discovery;
    struct dmsg_identity *me;
    struct reload reload; /* keys that come after those of me */
    int64_t warned_at;    /* of certificates that end, dmsg_now_ms() */
    struct dmsg_store *store;
    struct broker broker;
    struct dmsg_mqtt *mqtt;
    struct receiver_state state;
    struct dmsg_policy policy;
    struct pattern_list allow, accept_poc;
    struct delivering delivering;
    int64_t deadline; /* dmsg_now_ms() at the end of -W; 0 for none */
};

/* Everything up to the loop. receiving->me stays NULL when it was stopped before there was an
   identity. */
int receiving_prepare(struct receiving *receiving, struct dmsg_error *error) DMSG_MUST_CHECK;
int receiving_run(struct receiving *receiving, struct dmsg_error *error) DMSG_MUST_CHECK;
void receiving_done(struct receiving *receiving);

#endif
