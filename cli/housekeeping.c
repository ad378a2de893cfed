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
    struct itimerspec tick = {.it_value = dmsg_timespec(pause)};
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

void housekeeping_put_status(struct dmsg_buffer *out, const struct housekeeping *housekeeping)
{
    const struct housekeeping_source *source = &housekeeping->config.source;
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "identity", housekeeping->config.name->text);
    json_member_number(out, "pid", getpid());
    json_member_number(out, "started_at", housekeeping->started_at);
    json_member_number(out, "written_at", time(NULL));
    source->put_members(out, source->user);
    dmsg_buffer_put_text(out, "}\n");
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
    const struct housekeeping_source *source = &housekeeping->config.source;
    if (housekeeping->watchdog > 0)
        (void)sd_notify(0, "WATCHDOG=1");
    if (changed) {
        snprintf(
            housekeeping->words, sizeof housekeeping->words, "%s", source->in_words(source->user));
        (void)sd_notifyf(0, "READY=1\nSTATUS=%s", housekeeping->words);
    }
    housekeeping->is_ready = true;
}

static void report(struct housekeeping *housekeeping, bool ticked)
{
    const struct housekeeping_source *source = &housekeeping->config.source;
    bool is_up = source->is_up(source->user);
    bool changed = is_up != housekeeping->was_up || !housekeeping->is_ready;
    if (!changed && !ticked)
        return;
    housekeeping->was_up = is_up;
    changed = changed || strcmp(housekeeping->words, source->in_words(source->user)) != 0;
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
        metrics_serve(&housekeeping->metrics, housekeeping->config.source.write_metrics,
            housekeeping->config.source.user);
    bool ticked = read(housekeeping->timer_fd, &ticks, sizeof ticks) == (ssize_t)sizeof ticks;
    report(housekeeping, ticked);
    return housekeeping->stopped;
}
