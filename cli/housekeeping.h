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

/* Of the state_file() that `danemsg status` reads: a receiver's, and one that publishes from an
   outbox. No name ends like the second one with a suffix of ours. */
#define STATUS_SUFFIX "status"
#define PUBLISHER_STATUS_SUFFIX "outbox-status"

/* Whose figures they are (figures.h). */
struct housekeeping_source {
    bool (*is_up)(const void *user);                                /* with its broker */
    const char *(*in_words)(const void *user);                      /* how it is with its broker */
    void (*put_members)(struct dmsg_buffer *out, const void *user); /* of the status file's JSON */
    metrics_write *write_metrics;
    void *user;
};

struct housekeeping_config {
    const char *metrics;     /* ADDR:PORT; NULL: none */
    const char *status_path; /* STATE/NAME.status, for `danemsg status`; NULL: none */
    const struct dmsg_name *name;
    struct housekeeping_source source;
};

struct housekeeping {
    struct housekeeping_config config;
    int fd; /* -1: closed */
    int signal_fd, timer_fd;
    struct metrics metrics;
    bool stopped, was_up, is_ready;
    char words[DMSG_ERROR_TEXT];              /* that systemd has of us */
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
