/*
 * What a long-running service does beside its work, in its own loop: signals, the file for `danemsg
 * status`, the figures of --metrics, and word to systemd (sd_notify(3)).
 *
 *     housekeeping_open(&housekeeping, &config, &error);
 *     ... poll housekeeping.fd for reading; in every turn:
 *     if (housekeeping_turn(&housekeeping))      a signal asks to end
 *     housekeeping_close(&housekeeping);
 */
#ifndef DANEMSG_CLI_HOUSEKEEPING_H
#define DANEMSG_CLI_HOUSEKEEPING_H

#include "common.h"
#include "metrics.h"
#include "service/receive.h"

/* Of the state_file() that `danemsg status` reads. */
#define STATUS_SUFFIX "status"

struct housekeeping_config {
    const char *metrics;     /* ADDR:PORT; NULL: none */
    const char *status_path; /* STATE/NAME.status, for `danemsg status`; NULL: none */
    const struct dmsg_name *name;
    const struct dmsg_receive_state *state;
    const char *connected; /* what state->subscribed is called; NULL: "subscribed" */
};

struct housekeeping {
    struct housekeeping_config config;
    int fd; /* -1: closed */
    int signal_fd, timer_fd;
    struct metrics metrics;
    struct dmsg_store *store; /* set when it is open: for its depths; may be NULL */
    bool stopped, was_subscribed, is_ready;
    int64_t started_at, written_at, watchdog; /* written_at: dmsg_now_ms(); watchdog: ms, 0: none */
};
#define HOUSEKEEPING_NONE                                                                          \
    {                                                                                              \
        .fd = -1, .signal_fd = -1, .timer_fd = -1, .metrics = METRICS_NONE                         \
    }

int housekeeping_open(struct housekeeping *housekeeping, const struct housekeeping_config *config,
    struct dmsg_error *error) DMSG_MUST_CHECK;
bool housekeeping_turn(struct housekeeping *housekeeping);
void housekeeping_close(struct housekeeping *housekeeping);

/* Appends the status as one JSON object; what is in the file. */
void housekeeping_put_status(struct dmsg_buffer *out, const struct housekeeping *housekeeping);

#endif
