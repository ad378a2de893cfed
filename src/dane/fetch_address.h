/* Which addresses may be connected to, when a stranger chose the host. */
#ifndef DANEMSG_DANE_FETCH_ADDRESS_H
#define DANEMSG_DANE_FETCH_ADDRESS_H

#include <stdbool.h>
#include <sys/socket.h>

/*
 * True for a globally reachable unicast address (RFC 6890 and IANA's special-purpose registries):
 * no private, loopback, link-local, shared (CGNAT), mapped, unique local, multicast, documentation,
 * benchmarking or reserved one, and no 6to4 or NAT64 address (RFC 3056, RFC 6052) of such a one.
 */
bool dmsg_address_public(const struct sockaddr *address);

#endif
