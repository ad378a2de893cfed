/* The addresses of a host: getaddrinfo(3), which blocks while it asks. */
#ifndef DANEMSG_MQTT_ADDRESS_H
#define DANEMSG_MQTT_ADDRESS_H

#include "danemsg/error.h"

/* Addresses tried of one host; an IPv6 address with its interface fits. */
#define DMSG_ADDRESSES_MAX 8
#define DMSG_ADDRESS_TEXT 80

struct dmsg_addresses {
    size_t count;
    char text[DMSG_ADDRESSES_MAX][DMSG_ADDRESS_TEXT];
};

/* In the order in which they should be tried (RFC 6724). DMSG_E_BROKER: there is none. */
int dmsg_addresses_find(
    struct dmsg_addresses *out, const char *host, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
