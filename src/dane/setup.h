/* How the resolver process is to resolve: what the caller configured, judged here in the parent,
   so that the process needs no file and a mistake is known at once. */
#ifndef DANEMSG_DANE_SETUP_H
#define DANEMSG_DANE_SETUP_H

#include "danemsg/resolver.h"

/* Where the system's resolvers are written down (resolv.conf(5)). */
#define DMSG_RESOLV_CONF "/etc/resolv.conf"

/* Appends the configured servers, stubs and trust anchors, but not the root's. DMSG_E_USAGE: an
   address, port or zone that is none. DMSG_E_LOCAL: the trust anchor file cannot be read or is
   malformed. */
int dmsg_setup_make(struct dmsg_buffer *body, const struct dmsg_resolver_config *config,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Appends the nameserver lines of a resolv.conf; none when it cannot be read: then the process
   asks the authoritative servers itself. */
void dmsg_setup_put_system(struct dmsg_buffer *body, const char *path);

/* Appends the anchors of a file of DS and DNSKEY records; path NULL: the root's. */
int dmsg_setup_put_anchors(
    struct dmsg_buffer *body, const char *path, struct dmsg_error *error) DMSG_MUST_CHECK;

/* "ADDR" or "ADDR@PORT", a numeric IPv4 or IPv6 address (with a scope, if need be). */
bool dmsg_address_valid(struct dmsg_span text);

/* A zone: ".", or a name of one label or more; out is canonical, with its final dot. */
#define DMSG_ZONE_TEXT (DMSG_NAME_TEXT + 1)
int dmsg_zone_parse(char out[static DMSG_ZONE_TEXT], struct dmsg_span text,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
