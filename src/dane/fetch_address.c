#include "dane/fetch_address.h"

#include <netinet/in.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct prefix {
    uint8_t octets[16];
    unsigned bits;
};

static bool below(const uint8_t *address, const struct prefix *prefix)
{
    unsigned whole = prefix->bits / 8, rest = prefix->bits % 8;
    if (memcmp(address, prefix->octets, whole) != 0)
        return false;
    return rest == 0 || ((address[whole] ^ prefix->octets[whole]) >> (8 - rest)) == 0;
}

static bool below_any(const uint8_t *address, const struct prefix *prefixes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (below(address, &prefixes[i]))
            return true;
    }
    return false;
}

static bool public_v4(const uint8_t *address)
{
    static const struct prefix special[] = {
        {{0}, 8},             /* this network, RFC 791 */
        {{10}, 8},            /* private, RFC 1918 */
        {{100, 64}, 10},      /* shared, RFC 6598 */
        {{127}, 8},           /* loopback, RFC 1122 */
        {{169, 254}, 16},     /* link-local, RFC 3927 */
        {{172, 16}, 12},      /* private */
        {{192, 0, 0}, 24},    /* protocol assignments, RFC 6890 */
        {{192, 0, 2}, 24},    /* documentation, RFC 5737 */
        {{192, 88, 99}, 24},  /* 6to4 relays, RFC 7526 */
        {{192, 168}, 16},     /* private */
        {{198, 18}, 15},      /* benchmarking, RFC 2544 */
        {{198, 51, 100}, 24}, /* documentation */
        {{203, 0, 113}, 24},  /* documentation */
        {{224}, 4},           /* multicast, RFC 5771 */
        {{240}, 4},           /* reserved, and broadcast, RFC 1112 */
    };
    return !below_any(address, special, COUNT(special));
}

static bool public_v6(const uint8_t *address)
{
    static const struct prefix global = {{0x20}, 3}; /* RFC 4291 section 2.4, as assigned */
    static const struct prefix nat64 = {{0x00, 0x64, 0xff, 0x9b}, 96};
    static const struct prefix six_to_four = {{0x20, 0x02}, 16};
    static const struct prefix special[] = {
        {{0x20, 0x01}, 23},             /* protocol assignments, Teredo too, RFC 2928 */
        {{0x20, 0x01, 0x0d, 0xb8}, 32}, /* documentation, RFC 3849 */
        {{0x3f, 0xff}, 20},             /* documentation, RFC 9637 */
    };
    if (below(address, &nat64))
        return public_v4(address + 12);
    if (below(address, &six_to_four))
        return public_v4(address + 2);
    return below(address, &global) && !below_any(address, special, COUNT(special));
}

bool dmsg_address_public(const struct sockaddr *address)
{
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    if (address->sa_family == AF_INET) {
        memcpy(&v4, address, sizeof v4);
        return public_v4((const uint8_t *)&v4.sin_addr);
    }
    if (address->sa_family == AF_INET6) {
        memcpy(&v6, address, sizeof v6);
        return public_v6(v6.sin6_addr.s6_addr);
    }
    return false;
}
