/*
 * receive --metrics ADDR:PORT: answers `GET /metrics` with text for Prometheus (text format 0.0.4),
 * one request a connection. It is served from the caller's loop, never blocks, and what a client
 * may cost is bounded. There is no access control: who may reach the address may read it.
 *
 *     metrics_open(&metrics, "127.0.0.1:9400", &error);
 *     ... poll metrics.epoll_fd; when it is readable:
 *     metrics_serve(&metrics, write_figures, user);
 *     metrics_close(&metrics);
 */
#ifndef DANEMSG_CLI_METRICS_H
#define DANEMSG_CLI_METRICS_H

#include "danemsg/error.h"
#include "danemsg/span.h"

/* A collector has one connection or two; more are not accepted until one has ended. */
#define METRICS_CLIENTS 8
/* Octets of a request: a collector's headers have some hundreds. */
#define METRICS_REQUEST_MAX 4096

struct metrics_client {
    int fd; /* -1: free */
    int64_t deadline;
    size_t got;
    char request[METRICS_REQUEST_MAX];
    struct dmsg_buffer answer;
    size_t sent;
};

struct metrics {
    int epoll_fd; /* -1: closed */
    int listener, timer;
    struct metrics_client clients[METRICS_CLIENTS];
};
#define METRICS_NONE                                                                               \
    {                                                                                              \
        .epoll_fd = -1                                                                             \
    }

/* Appends the figures, lines of the text format. */
typedef void metrics_write(void *user, struct dmsg_buffer *out);

/* DMSG_E_USAGE: not a numeric ADDR:PORT or [ADDR]:PORT. DMSG_E_LOCAL: it cannot be listened to. */
int metrics_open(
    struct metrics *metrics, const char *address, struct dmsg_error *error) DMSG_MUST_CHECK;
void metrics_serve(struct metrics *metrics, metrics_write *write, void *user);
void metrics_close(struct metrics *metrics);

/* Appends "# HELP", "# TYPE" and, with metrics_value, `name{label="value"} number`. */
void metrics_head(struct dmsg_buffer *out, const char *name, const char *type, const char *help);
void metrics_value(struct dmsg_buffer *out, const char *name, const char *label,
    const char *label_value, int64_t value);

#endif
