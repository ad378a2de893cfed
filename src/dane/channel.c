#include "dane/channel.h"

#include "base/fail.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define IN_MAX (DMSG_FRAME_HEADER + DMSG_FRAME_BODY_MAX)

void dmsg_channel_init(struct dmsg_channel *channel, int fd, size_t out_limit)
{
    *channel = (struct dmsg_channel){.fd = fd, .in.limit = IN_MAX, .out.limit = out_limit};
}

void dmsg_channel_done(struct dmsg_channel *channel)
{
    if (channel->fd >= 0)
        close(channel->fd);
    channel->fd = -1;
    channel->taken = 0;
    dmsg_buffer_done(&channel->in);
    dmsg_buffer_done(&channel->out);
}

static void drop_front(struct dmsg_buffer *buffer, size_t size)
{
    if (size == 0)
        return;
    memmove(buffer->data, buffer->data + size, buffer->size - size);
    buffer->size -= size;
}

int dmsg_channel_read(struct dmsg_channel *channel, struct dmsg_error *error)
{
    drop_front(&channel->in, channel->taken);
    channel->taken = 0;
    size_t room = IN_MAX - channel->in.size;
    if (room == 0) /* only while the caller has not taken the whole frame that is there */
        return 1;
    uint8_t *to = dmsg_buffer_reserve(&channel->in, room);
    if (to == NULL)
        return dmsg_fail_memory(error);
    ssize_t size;
    do
        size = recv(channel->fd, to, room, MSG_DONTWAIT);
    while (size < 0 && errno == EINTR);
    if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
        return 1;
    if (size == 0 || (size < 0 && errno == ECONNRESET))
        return 0;
    if (size < 0)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "reading from the socket");
    channel->in.size += (size_t)size;
    return 1;
}

int dmsg_channel_take(
    struct dmsg_channel *channel, struct dmsg_frame *out, struct dmsg_error *error)
{
    if (channel->in.size == channel->taken)
        return 0;
    struct dmsg_span stream = {
        channel->in.data + channel->taken, channel->in.size - channel->taken};
    int result = dmsg_frame_take(out, &stream, error);
    channel->taken = channel->in.size - stream.size;
    return result;
}

int dmsg_channel_flush(struct dmsg_channel *channel, struct dmsg_error *error)
{
    size_t sent = 0;
    if (channel->out.failed)
        return dmsg_fail(error, DMSG_E_INTERNAL, "too much waits to be sent");
    while (sent < channel->out.size) {
        ssize_t size = send(channel->fd, channel->out.data + sent, channel->out.size - sent,
            MSG_DONTWAIT | MSG_NOSIGNAL);
        if (size < 0 && errno == EINTR)
            continue;
        if (size < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
            break;
        if (size < 0)
            return dmsg_fail_errno(error, DMSG_E_INTERNAL, "writing to the socket");
        sent += (size_t)size;
    }
    drop_front(&channel->out, sent);
    return 0;
}
