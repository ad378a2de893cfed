/* A bound for the memory of a receiver, and of who looks for its faults. */
#ifndef DANEMSG_CLI_MEMORY_BOUND_H
#define DANEMSG_CLI_MEMORY_BOUND_H

#include <stddef.h>

/*
 * An MQTT packet claims its length before it comes, up to 256 MiB, and libmosquitto makes room for
 * all of it. A broker of MQTT 5 was told how much we take, so that only a hostile one claims more:
 * that then fails, and with it the connection, before the rest of the machine feels it.
 *
 * Not for MQTT 3.1.1, where an honest broker hands on what anybody published: a packet that always
 * fails would come again and again.
 *
 * kept: octets of messages that are kept in memory, beside those in work.
 *
 * Programs started later inherit the soft limit; the hard one stays, for them to go back to.
 */
void memory_bound(size_t message_limit, size_t kept);

#endif
