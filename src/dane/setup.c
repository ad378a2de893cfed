#include "dane/setup.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/frame.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* "ADDR%SCOPE@PORT": an IPv6 address has 45 characters at most, an interface's name 15. */
#define ADDRESS_TEXT 80

/* Servers and stubs that a caller may name: more would only be asked one after the other. */
#define SERVERS_MAX 32

/* glibc reads the first three nameserver lines (resolv.conf(5)); some systems write more. */
#define SYSTEM_SERVERS_MAX 8

int dmsg_zone_parse(
    char out[static DMSG_ZONE_TEXT], struct dmsg_span text, struct dmsg_error *error)
{
    char longer[DMSG_NAME_TEXT + 2];
    struct dmsg_name name;
    if (dmsg_span_equal_text(text, ".")) {
        memcpy(out, ".", 2);
        return 0;
    }
    if (text.size >= DMSG_NAME_TEXT)
        return dmsg_fail(error, DMSG_E_NAME, "a zone of %zu characters", text.size);
    /* A zone may have one label, an identity not: give it a second one for the same grammar. */
    int size = snprintf(longer, sizeof longer, "z.%.*s", (int)text.size, (const char *)text.data);
    struct dmsg_span padded = {(const uint8_t *)longer, (size_t)size};
    int result = dmsg_name_parse(&name, padded, error);
    if (result < 0)
        return result;
    snprintf(out, DMSG_ZONE_TEXT, "%s.", name.text + 2);
    return 0;
}

static bool scope_valid(const char *scope)
{
    size_t size = strlen(scope);
    if (size == 0 || size > 15)
        return false;
    for (size_t i = 0; i < size; i++) {
        if (!isalnum((unsigned char)scope[i]) && strchr("_.-", scope[i]) == NULL)
            return false;
    }
    return true;
}

static bool port_valid(const char *port)
{
    size_t size = strlen(port);
    if (size == 0 || size > 5 || strspn(port, "0123456789") != size)
        return false;
    unsigned value = 0;
    for (size_t i = 0; i < size; i++)
        value = value * 10 + (unsigned)(port[i] - '0');
    return value > 0 && value <= UINT16_MAX;
}

bool dmsg_address_valid(struct dmsg_span text)
{
    char address[ADDRESS_TEXT];
    unsigned char octets[sizeof(struct in6_addr)];
    if (text.size == 0 || text.size >= sizeof address || memchr(text.data, '\0', text.size))
        return false;
    memcpy(address, text.data, text.size);
    address[text.size] = '\0';

    char *port = strchr(address, '@');
    if (port != NULL) {
        *port++ = '\0';
        if (!port_valid(port))
            return false;
    }
    if (inet_pton(AF_INET, address, octets) == 1)
        return true;
    char *scope = strchr(address, '%');
    if (scope != NULL) {
        *scope++ = '\0';
        if (!scope_valid(scope))
            return false;
    }
    return inet_pton(AF_INET6, address, octets) == 1;
}

static int put_servers(
    struct dmsg_buffer *body, const struct dmsg_resolver_config *config, struct dmsg_error *error)
{
    for (size_t i = 0; i < config->server_count; i++) {
        const char *server = config->servers[i];
        if (!dmsg_address_valid(dmsg_span_text(server)))
            return dmsg_fail(error, DMSG_E_USAGE,
                "'%s' is no DNS server: write a numeric address, ADDR or ADDR@PORT", server);
        dmsg_setup_put(body, DMSG_SETUP_SERVER, server);
    }
    return 0;
}

static int put_stub(struct dmsg_buffer *body, const char *stub, struct dmsg_error *error)
{
    char zone[DMSG_ZONE_TEXT];
    char text[DMSG_ZONE_TEXT + ADDRESS_TEXT + 1];
    const char *equals = strchr(stub, '=');
    if (equals == NULL || !dmsg_address_valid(dmsg_span_text(equals + 1)))
        return dmsg_fail(error, DMSG_E_USAGE,
            "'%s' is no DNS stub: write ZONE=ADDR or ZONE=ADDR@PORT, with a numeric address", stub);
    struct dmsg_span left = {(const uint8_t *)stub, (size_t)(equals - stub)};
    struct dmsg_error why;
    if (dmsg_zone_parse(zone, left, &why) < 0)
        return dmsg_fail(
            error, DMSG_E_USAGE, "'%s' is no DNS stub: its zone is %s", stub, why.text);
    snprintf(text, sizeof text, "%s=%s", zone, equals + 1);
    dmsg_setup_put(body, DMSG_SETUP_STUB, text);
    return 0;
}

int dmsg_setup_make(
    struct dmsg_buffer *body, const struct dmsg_resolver_config *config, struct dmsg_error *error)
{
    size_t before = body->size;
    int result = put_servers(body, config, error);
    for (size_t i = 0; i < config->stub_count && result == 0; i++)
        result = put_stub(body, config->stubs[i], error);
    if (result == 0)
        result = config->trust_anchor != NULL
                     ? dmsg_setup_put_anchors(body, config->trust_anchor, error)
                     : 0;
    size_t items = config->server_count + config->stub_count;
    if (result == 0 && (body->failed || items > SERVERS_MAX))
        result = dmsg_fail(error, DMSG_E_USAGE,
            "the DNS configuration is too large: at most %d servers and stubs", SERVERS_MAX);
    if (result < 0)
        body->size = before;
    return result;
}

/* The second word of a "nameserver ADDR" line, cut off with a NUL; NULL for other lines. */
static char *nameserver_of(char *line)
{
    static const char blank[] = " \t\r\n";
    char *rest;
    char *word = strtok_r(line, blank, &rest);
    if (word == NULL || strcmp(word, "nameserver") != 0)
        return NULL;
    return strtok_r(NULL, blank, &rest);
}

void dmsg_setup_put_system(struct dmsg_buffer *body, const char *path)
{
    char line[256];
    int count = 0;
    DMSG_CLEANUP(dmsg_cleanup_file) FILE *file = fopen(path, "re");
    if (file == NULL)
        return;
    while (count < SYSTEM_SERVERS_MAX && fgets(line, sizeof line, file) != NULL) {
        const char *address = nameserver_of(line);
        if (address == NULL || !dmsg_address_valid(dmsg_span_text(address)))
            continue;
        dmsg_setup_put(body, DMSG_SETUP_SYSTEM, address);
        count++;
    }
}
