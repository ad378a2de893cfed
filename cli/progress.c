#include "progress.h"

#include "base/monotonic.h"

#include <stdio.h>
#include <unistd.h>

/* Milliseconds: work that is over by then needs no line; and between two lines. */
#define PATIENCE 1000
#define PAUSE 200

void progress_init(struct progress *progress, const char *program)
{
    *progress = (struct progress){.program = program,
        .terminal = isatty(STDERR_FILENO) == 1,
        .due_at = dmsg_now_ms() + PATIENCE};
}

static void begin_line(struct progress *progress)
{
    fprintf(stderr, "\r\033[K%s: ", progress->program);
    progress->shown = true;
    progress->due_at = dmsg_now_ms() + PAUSE;
}

void progress_show(struct progress *progress, const char *what, uint64_t done, uint64_t total)
{
    static const char *const units[] = {"octets", "KiB", "MiB", "GiB"};
    double size = (double)total;
    size_t unit = 0;
    if (!progress->terminal || total == 0 || dmsg_now_ms() < progress->due_at)
        return;
    for (; size >= 1024 && unit < 3; unit++)
        size /= 1024;
    begin_line(progress);
    fprintf(stderr, "%s: %d %% of %.*f %s", what,
        (int)(100 * (done < total ? done : total) / total), unit > 0, size, units[unit]);
    fflush(stderr);
}

void progress_say(struct progress *progress, const char *what)
{
    if (!progress->terminal)
        return;
    begin_line(progress);
    fprintf(stderr, "%s", what);
    fflush(stderr);
}

void progress_end(struct progress *progress)
{
    if (!progress->shown)
        return;
    fprintf(stderr, "\r\033[K");
    fflush(stderr);
    progress->shown = false;
}
