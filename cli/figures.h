/* What the two long-running services tell of themselves, in their status file (`danemsg status`),
   at --metrics, and to systemd: sources for housekeeping.h. */
#ifndef DANEMSG_CLI_FIGURES_H
#define DANEMSG_CLI_FIGURES_H

#include "housekeeping.h"
#include "service/outbox.h"
#include "service/receive.h"

/* Words of the status file that others look for (danemsg doctor). */
#define FIGURES_SUBSCRIBED "subscribed"
#define FIGURES_HELD_BACK "takes no more messages, since too many are not delivered"
#define FIGURES_NOT_YET "not connected yet"
#define FIGURES_WAITS "waits: " /* and for what: nothing is read from the broker yet */

struct receiver_figures {
    const struct dmsg_receive_state *state;
    struct dmsg_store *store; /* NULL: not open yet */
};
/* Borrows the figures. */
struct housekeeping_source receiver_figures_source(struct receiver_figures *figures);

struct publisher_figures {
    const struct dmsg_outbox_state *state;
    struct dmsg_outbox *outbox;
};
struct housekeeping_source publisher_figures_source(struct publisher_figures *figures);

/* Appends `,"refused":{...}` with the words of what is not 0. */
void put_refused(struct dmsg_buffer *out, const int64_t refused[static DMSG_ERROR_COUNT]);

#endif
