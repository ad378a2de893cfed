#include "delivering.h"

#include "base/fail.h"
#include "base/utf8.h"
#include "show.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

/* Milliseconds until a terminal that is stopped is tried again. */
#define STOPPED_PAUSE 50

int delivering_check(const struct delivering_options *options, struct dmsg_error *error)
{
    struct dmsg_record nothing = {0};
    struct dmsg_buffer out = {0};
    int result = 0;
    bool shows =
        options->format != NULL || options->no_newline || options->verbose || options->json;
    if (options->pretty && !options->json)
        return dmsg_fail(error, DMSG_E_USAGE, "--pretty goes with --json");
    if (options->command != NULL && (options->command[0] == '\0' || shows))
        return dmsg_fail(error, DMSG_E_USAGE,
            "--exec wants a command, which gets the message alone: -F, -N, -v and --json do not go "
            "with it");
    if (options->verbose && (options->json || options->format != NULL))
        return dmsg_fail(
            error, DMSG_E_USAGE, "-v does not go with --json or -F, which have the topic");
    if (options->json && options->format != NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "--json or -F, not both (%%j is JSON in -F)");
    if (options->format != NULL)
        result = show_format(&out, &nothing, options->format, error);
    dmsg_buffer_done(&out);
    return result;
}

void delivering_init(struct delivering *delivering, const struct delivering_options *options)
{
    *delivering =
        (struct delivering){.options = options, .exec = EXEC_NONE, .wake_fd = -1, .terminal = -1};
    delivering->exec.command = options->command;
    struct stat facts;
    delivering->to_file = fstat(STDOUT_FILENO, &facts) == 0 && S_ISREG(facts.st_mode);
    /* The open description is shared with whoever started us: it must not become non-blocking. */
    if (isatty(STDOUT_FILENO))
        delivering->terminal =
            open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
}

static int make_line(
    struct delivering *delivering, const struct dmsg_record *record, struct dmsg_error *error)
{
    const struct delivering_options *options = delivering->options;
    struct dmsg_buffer *line = &delivering->line;
    int result = 0;
    dmsg_buffer_reset(line);
    if (options->verbose && options->format == NULL && !options->json) {
        dmsg_text_escape(line, record->topic, true);
        dmsg_buffer_put_byte(line, ' ');
    }
    if (options->format != NULL)
        result = show_format(line, record, options->format, error);
    else if (options->json)
        show_json(line, record, options->pretty);
    else
        show_line(line, record);
    if (!options->no_newline)
        dmsg_buffer_put_byte(line, '\n');
    return result == 0 && line->failed ? dmsg_fail_memory(error) : result;
}

static int output_fd(const struct delivering *delivering)
{
    return delivering->terminal >= 0 ? delivering->terminal : STDOUT_FILENO;
}

/* A pipe that can be written to takes so many octets at once (pipe(7)); a terminal need not. */
static bool takes_at_once(const struct delivering *delivering, size_t size)
{
    struct pollfd now = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return delivering->to_file ||
           (size <= PIPE_BUF && poll(&now, 1, 0) > 0 && !isatty(STDOUT_FILENO));
}

/* No more at a time than a pipe takes at once: whoever reads it may stop reading, and that must not
   keep us from ending. */
static int write_out(
    const struct delivering *delivering, struct dmsg_span data, struct dmsg_error *error)
{
    while (data.size > 0) {
        struct pollfd wait[] = {{.fd = output_fd(delivering), .events = POLLOUT},
            {.fd = delivering->wake_fd, .events = POLLIN}};
        if (!delivering->to_file && poll(wait, 2, -1) < 0)
            wait[0].revents = wait[1].revents = 0; /* interrupted by a signal */
        ssize_t written = 0;
        if (delivering->to_file || wait[0].revents != 0) {
            size_t most = delivering->to_file || data.size < PIPE_BUF ? data.size : PIPE_BUF;
            written = write(output_fd(delivering), data.data, most);
            if (written < 0 && errno != EINTR && errno != EAGAIN)
                return dmsg_fail_errno(error, DMSG_E_LOCAL, "writing the output");
            data.data += written > 0 ? written : 0;
            data.size -= written > 0 ? (size_t)written : 0;
        }
        /* A terminal that is stopped can be written to, and takes nothing. */
        if (written < 0)
            (void)poll(&wait[1], 1, STOPPED_PAUSE);
        if (written <= 0 && wait[1].revents != 0 && delivering->stop(delivering->user)) {
            return dmsg_fail(error, DMSG_E_LOCAL,
                "ended while nobody read its output: what was not written comes again after the "
                "next start");
        }
    }
    return 0;
}

int delivering_deliver(
    void *user, const struct dmsg_record *record, bool at_once, struct dmsg_error *error)
{
    struct delivering *delivering = user;
    int result;
    if (delivering->options->command != NULL) {
        result = exec_start(&delivering->exec, record, error);
        return result < 0 ? result : DMSG_DELIVERY_RUNS;
    }
    result = make_line(delivering, record, error);
    if (result == 0 && at_once && !takes_at_once(delivering, delivering->line.size))
        result = DMSG_DELIVERY_WAITS;
    if (result == 0)
        result = write_out(delivering, dmsg_buffer_span(&delivering->line), error);
    dmsg_buffer_reset(&delivering->line);
    return result;
}

int delivering_end(void *user, struct dmsg_error *why)
{
    struct delivering *delivering = user;
    return exec_end(&delivering->exec, why);
}

int delivering_fd(void *user)
{
    const struct delivering *delivering = user;
    return delivering->exec.fd;
}

void delivering_done(struct delivering *delivering)
{
    exec_done(&delivering->exec);
    dmsg_buffer_done(&delivering->line);
    if (delivering->terminal >= 0)
        close(delivering->terminal);
}
