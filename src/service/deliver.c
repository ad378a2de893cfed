#include "service/internal.h"

/* Marks are a transaction of their own after the slice: while a program runs that takes its time,
   the store must not be locked. What is delivered twice after a crash has the same id. */
static int mark(
    struct dmsg_receiver *receiver, const int64_t *rows, size_t count, struct dmsg_error *error)
{
    struct dmsg_store *store = receiver->config->store;
    int code = count > 0 ? dmsg_store_begin(store, error) : 0;
    if (code < 0 || count == 0)
        return code;
    for (size_t i = 0; code == 0 && i < count; i++)
        code = dmsg_store_delivered(store, rows[i], error);
    if (code == 0)
        return dmsg_store_commit(store, error);
    dmsg_store_rollback(store);
    return code;
}

bool dmsg_deliver_is_enough(const struct dmsg_receiver *receiver)
{
    uint64_t limit = receiver->config->count_limit;
    return limit != 0 && receiver->delivered >= limit;
}

int dmsg_deliver(struct dmsg_receiver *receiver, struct dmsg_error *error)
{
    const struct dmsg_receive_config *config = receiver->config;
    int64_t rows[DMSG_SLICE_ROWS];
    size_t count = 0;
    int64_t until = dmsg_clock_ms() + DMSG_SLICE_TIME;
    struct dmsg_record record;
    int code = 0, found = 1;
    while (code == 0 && count < DMSG_SLICE_ROWS && dmsg_clock_ms() < until &&
           !dmsg_deliver_is_enough(receiver)) {
        found = dmsg_store_next(config->store, receiver->delivered_row, &record, error);
        if (found != 1)
            break;
        int64_t row = record.row;
        code = config->deliver(config->user, &record, error);
        if (code == 0) {
            rows[count++] = receiver->delivered_row = row;
            receiver->delivered++;
        }
    }
    receiver->backlog = found == 1 && !dmsg_deliver_is_enough(receiver);
    struct dmsg_error why;
    if (mark(receiver, rows, count, &why) < 0)
        dmsg_log_text(config->log, DMSG_LOG_ERROR,
            "%zu delivered messages are delivered again after the next start: %s", count, why.text);
    return code < 0 ? code : found < 0 ? found : 0;
}
