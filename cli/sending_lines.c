/* danemsg send -l: a message a line. */
#include "base/fail.h"
#include "sending.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

#define LINES_CHUNK 65536

static int publish_line(struct sending *sending, struct dmsg_span line, struct dmsg_error *error)
{
    sending->line++;
    return sending_publish(sending, line, error);
}

/* Publishes each whole line of what was read, and keeps the rest. */
static int publish_whole_lines(
    struct sending *sending, struct dmsg_buffer *read, struct dmsg_error *error)
{
    size_t done = 0;
    int result = 0;
    while (result == 0) {
        const uint8_t *line = read->data + done;
        const uint8_t *end = read->size > done ? memchr(line, '\n', read->size - done) : NULL;
        if (end == NULL)
            break;
        result = publish_line(sending, (struct dmsg_span){line, (size_t)(end - line)}, error);
        done += (size_t)(end - line) + 1;
    }
    if (done > 0)
        memmove(read->data, read->data + done, read->size - done);
    read->size -= done;
    return result;
}

/* A chunk of standard input: 1, 0 at its end, or an error. */
static int read_chunk(struct dmsg_buffer *out, struct dmsg_error *error)
{
    uint8_t *to = dmsg_buffer_reserve(out, LINES_CHUNK);
    if (to == NULL)
        return dmsg_fail(error, DMSG_E_SIZE, "a line of more than %d octets", INPUT_MAX);
    ssize_t size = read(STDIN_FILENO, to, LINES_CHUNK);
    if (size < 0 && errno != EINTR)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "reading standard input");
    out->size += size > 0 ? (size_t)size : 0;
    return size != 0;
}

/* Until there is something to read, or the broker wants attention. */
static int wait_for_input(struct sending *sending, bool *readable, struct dmsg_error *error)
{
    struct pollfd wait[] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.fd = -1}};
    int most = -1;
    if (sending->mqtt != NULL) {
        wait[1].fd = dmsg_mqtt_fd(sending->mqtt);
        wait[1].events = dmsg_mqtt_events(sending->mqtt);
        most = dmsg_mqtt_timeout(sending->mqtt);
    }
    if (poll(wait, 2, most) < 0 && errno != EINTR)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "waiting for a line");
    *readable = wait[0].revents != 0;
    return 0;
}

int sending_lines(struct sending *sending, struct dmsg_error *error)
{
    struct dmsg_buffer lines = {.limit = INPUT_MAX};
    int more = 1;
    int result = 0;
    while (result == 0 && more == 1) {
        bool readable = false;
        result = wait_for_input(sending, &readable, error);
        if (result == 0 && readable)
            more = read_chunk(&lines, error);
        if (result == 0 && more >= 0)
            result = publish_whole_lines(sending, &lines, error);
        if (result == 0 && more == 0 && lines.size > 0) /* the last, without a line end */
            result = publish_line(sending, dmsg_buffer_span(&lines), error);
        if (result == 0 && more >= 0)
            result = sending_listen(sending, 0, error);
    }
    dmsg_buffer_done(&lines);
    return result < 0 ? result : more < 0 ? more : 0;
}
