#include "mqtt/address.h"

#include "base/fail.h"

#include <errno.h>
#include <netdb.h>
#include <string.h>
#include <sys/socket.h>

int dmsg_addresses_find(struct dmsg_addresses *out, const char *host, struct dmsg_error *error)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM};
    struct addrinfo *found = NULL;
    int result = getaddrinfo(host, NULL, &hints, &found);
    if (result != 0)
        return dmsg_fail(error, DMSG_E_BROKER, "no address for the host: %s",
            result == EAI_SYSTEM ? strerror(errno) : gai_strerror(result));
    out->count = 0;
    for (const struct addrinfo *at = found; at != NULL; at = at->ai_next) {
        char *text = out->text[out->count];
        if (out->count < DMSG_ADDRESSES_MAX && getnameinfo(at->ai_addr, at->ai_addrlen, text,
                                                   DMSG_ADDRESS_TEXT, NULL, 0, NI_NUMERICHOST) == 0)
            out->count++;
    }
    freeaddrinfo(found);
    if (out->count == 0)
        return dmsg_fail(error, DMSG_E_BROKER, "no address for the host");
    return 0;
}
