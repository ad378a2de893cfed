#include "housekeeping.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <systemd/sd-daemon.h>
#include <time.h>
#include <unistd.h>

/* Milliseconds between two writings of the status file, when nothing changes that is worth more. An
   idle device sleeps meanwhile. */
#define STATUS_PAUSE 10000

/* ------------------------------------------------------------------------------------- opening */

static bool watch(const struct housekeeping *housekeeping, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    return fd >= 0 && epoll_ctl(housekeeping->fd, EPOLL_CTL_ADD, fd, &event) == 0;
}

static int open_signals(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    if (sigprocmask(SIG_BLOCK, &signals, NULL) < 0)
        return -1;
    return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

/* Ticks for the status file, or twice as often as systemd's watchdog wants to hear of us. */
static int open_timer(int64_t watchdog)
{
    int64_t pause = watchdog > 0 && watchdog / 2 < STATUS_PAUSE ? watchdog / 2 + 1 : STATUS_PAUSE;
    struct itimerspec tick = {.it_value = {pause / 1000, pause % 1000 * 1000000}};
    tick.it_interval = tick.it_value;
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    if (fd >= 0)
        (void)timerfd_settime(fd, 0, &tick, NULL);
    return fd;
}

int housekeeping_open(struct housekeeping *housekeeping, const struct housekeeping_config *config,
    struct dmsg_error *error)
{
    struct housekeeping made = HOUSEKEEPING_NONE;
    uint64_t watchdog = 0;
    made.config = *config;
    made.started_at = time(NULL);
    if (sd_watchdog_enabled(0, &watchdog) > 0) /* systemd.service(5), WatchdogSec= */
        made.watchdog = (int64_t)(watchdog / 1000);
    made.fd = epoll_create1(EPOLL_CLOEXEC);
    made.signal_fd = open_signals();
    made.timer_fd = open_timer(made.watchdog);
    int result = 0;
    if (made.fd < 0 || !watch(&made, made.signal_fd) || !watch(&made, made.timer_fd))
        result = dmsg_fail_errno(error, DMSG_E_INTERNAL, "descriptors for signals and time");
    if (result == 0 && config->metrics != NULL)
        result = metrics_open(&made.metrics, config->metrics, error);
    if (result == 0 && config->metrics != NULL && !watch(&made, made.metrics.epoll_fd))
        result = dmsg_fail_errno(error, DMSG_E_INTERNAL, "descriptors for --metrics");
    if (result < 0) {
        housekeeping_close(&made);
        return result;
    }
    *housekeeping = made;
    return 0;
}

void housekeeping_close(struct housekeeping *housekeeping)
{
    if (housekeeping->is_ready)
        (void)sd_notify(0, "STOPPING=1");
    if (housekeeping->config.status_path != NULL && housekeeping->written_at != 0)
        (void)unlink(housekeeping->config.status_path); /* nobody runs: there is no status */
    metrics_close(&housekeeping->metrics);
    dmsg_cleanup_fd(&housekeeping->timer_fd);
    dmsg_cleanup_fd(&housekeeping->signal_fd);
    dmsg_cleanup_fd(&housekeeping->fd);
    *housekeeping = (struct housekeeping)HOUSEKEEPING_NONE;
}

/* ------------------------------------------------------------------------------- the figures */

static const char *broker_text(const struct housekeeping_config *config)
{
    const struct dmsg_receive_state *state = config->state;
    return state->subscribed          ? config->connected != NULL ? config->connected : "subscribed"
           : state->broker[0] != '\0' ? state->broker
                                      : "not connected yet";
}

void housekeeping_put_status(struct dmsg_buffer *out, const struct housekeeping *housekeeping)
{
    const struct dmsg_receive_state *state = housekeeping->config.state;
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "identity", housekeeping->config.name->text);
    json_member_number(out, "pid", getpid());
    json_member_number(out, "started_at", housekeeping->started_at);
    json_member_number(out, "written_at", time(NULL));
    json_member_bool(out, "subscribed", state->subscribed);
    json_member_text(out, "broker", broker_text(&housekeeping->config));
    json_member_number(out, "broker_at", state->broker_at);
    json_member_text(out, "dns", state->dns_at != 0 ? dns_status_word(state->dns) : "not asked");
    json_member_number(out, "dns_at", state->dns_at);
    json_member_number(out, "accepted", (int64_t)state->accepted);
    json_member_number(out, "delivered", (int64_t)state->delivered);
    json_member_number(out, "failed", (int64_t)state->put_aside);
    json_key(out, "refused");
    dmsg_buffer_put_byte(out, '{');
    for (int i = 0; i < DMSG_ERROR_COUNT; i++) {
        if (state->refused[i] > 0)
            json_member_number(out, dmsg_error_word(-1 - i), (int64_t)state->refused[i]);
    }
    dmsg_buffer_put_text(out, "}}\n");
}

static void write_depths(struct dmsg_buffer *out, struct dmsg_store *store)
{
    static const char name[] = "danemsg_messages";
    struct dmsg_store_depths depths;
    if (store == NULL || dmsg_store_depths(store, &depths, NULL) < 0)
        return;
    metrics_head(out, name, "gauge", "Messages in the store, by what they wait for.");
    metrics_value(out, name, "state", "waiting", depths.waiting);
    metrics_value(out, name, "state", "undelivered", depths.undelivered);
    metrics_value(out, name, "state", "failed", depths.failed);
    metrics_value(out, name, "state", "delivered", depths.delivered);
}

static void write_metrics(void *user, struct dmsg_buffer *out)
{
    const struct housekeeping *housekeeping = user;
    const struct dmsg_receive_state *state = housekeeping->config.state;
    metrics_head(out, "danemsg_subscribed", "gauge", "1 while the broker sends us messages.");
    metrics_value(out, "danemsg_subscribed", NULL, NULL, state->subscribed);
    metrics_head(out, "danemsg_accepted_total", "counter", "Messages verified and stored.");
    metrics_value(out, "danemsg_accepted_total", NULL, NULL, (int64_t)state->accepted);
    metrics_head(out, "danemsg_delivered_total", "counter", "Messages handed out.");
    metrics_value(out, "danemsg_delivered_total", NULL, NULL, (int64_t)state->delivered);
    metrics_head(out, "danemsg_failed_total", "counter", "Messages put aside after ten tries.");
    metrics_value(out, "danemsg_failed_total", NULL, NULL, (int64_t)state->put_aside);
    metrics_head(out, "danemsg_refused_total", "counter", "Messages refused, by outcome.");
    for (int i = 0; i < DMSG_ERROR_COUNT; i++)
        metrics_value(out, "danemsg_refused_total", "outcome", dmsg_error_word(-1 - i),
            (int64_t)state->refused[i]);
    metrics_head(out, "danemsg_dns_answer_timestamp_seconds", "gauge",
        "When DNS last answered about a sender; 0: never.");
    metrics_value(out, "danemsg_dns_answer_timestamp_seconds", NULL, NULL, state->dns_at);
    write_depths(out, housekeeping->store);
}

/* ------------------------------------------------------------------------------------ every turn
 */

/* Written beside and renamed, so that a reader never sees half of it. Without a disk that takes it
   the service goes on. */
static void write_status(struct housekeeping *housekeeping)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    char *beside DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    int fd DMSG_CLEANUP(dmsg_cleanup_fd) = -1;
    housekeeping->written_at = dmsg_now_ms();
    if (asprintf(&beside, "%s.new", housekeeping->config.status_path) < 0) {
        beside = NULL;
        return;
    }
    housekeeping_put_status(&text, housekeeping);
    fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || text.failed || write(fd, text.data, text.size) != (ssize_t)text.size ||
        rename(beside, housekeeping->config.status_path) < 0)
        (void)unlink(beside);
}

/* systemd.service(5), Type=notify: ready as soon as the receiver waits for messages, or for its
   broker; sd_notify does nothing where nobody listens. */
static void tell_systemd(struct housekeeping *housekeeping, bool changed)
{
    if (housekeeping->watchdog > 0)
        (void)sd_notify(0, "WATCHDOG=1");
    if (changed || !housekeeping->is_ready)
        (void)sd_notifyf(0, "READY=1\nSTATUS=%s", broker_text(&housekeeping->config));
    housekeeping->is_ready = true;
}

static void report(struct housekeeping *housekeeping, bool ticked)
{
    const struct dmsg_receive_state *state = housekeeping->config.state;
    bool changed = state->subscribed != housekeeping->was_subscribed || !housekeeping->is_ready;
    if (!changed && !ticked)
        return;
    housekeeping->was_subscribed = state->subscribed;
    bool due = dmsg_now_ms() - housekeeping->written_at >= STATUS_PAUSE;
    if (housekeeping->config.status_path != NULL && (changed || due))
        write_status(housekeeping);
    tell_systemd(housekeeping, changed);
}

bool housekeeping_turn(struct housekeeping *housekeeping)
{
    struct signalfd_siginfo signal;
    uint64_t ticks;
    if (read(housekeeping->signal_fd, &signal, sizeof signal) == (ssize_t)sizeof signal)
        housekeeping->stopped = true;
    if (housekeeping->metrics.epoll_fd >= 0)
        metrics_serve(&housekeeping->metrics, write_metrics, housekeeping);
    bool ticked = read(housekeeping->timer_fd, &ticks, sizeof ticks) == (ssize_t)sizeof ticks;
    report(housekeeping, ticked);
    return housekeeping->stopped;
}
