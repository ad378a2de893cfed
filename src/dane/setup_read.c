#include "dane/setup_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define DNS_PORT 53

/* The next item; a malformed one is the end, for libunbound's part has refused it by then. */
static bool next(struct dmsg_setup_item *item, struct dmsg_span *setup)
{
    return dmsg_setup_take(item, setup, NULL) == 1;
}

/* --------------------------------------------------------------------------------------- ports */

static void add_port(struct dmsg_confinement *profile, unsigned long port)
{
    if (profile->tcp_port_count < DMSG_CONFINE_PORTS_MAX)
        profile->tcp_ports[profile->tcp_port_count++] = (uint16_t)port;
}

void dmsg_setup_ports(struct dmsg_confinement *profile, struct dmsg_span setup)
{
    struct dmsg_setup_item item;
    add_port(profile, DNS_PORT);
    while (next(&item, &setup)) {
        const char *port = strrchr(item.text, '@');
        if (item.kind <= DMSG_SETUP_STUB && port != NULL)
            add_port(profile, strtoul(port + 1, NULL, 10));
    }
}

bool dmsg_setup_keeps(struct dmsg_span setup)
{
    struct dmsg_setup_item item;
    bool keeps = false;
    while (next(&item, &setup))
        keeps |= item.kind == DMSG_SETUP_KEEP;
    return keeps;
}

/* ----------------------------------------------------------------------------------------- via */

/* Characters of a list of addresses; the words around it need the rest. */
#define LIST_TEXT 66

struct list {
    char text[LIST_TEXT];
    size_t used;
    unsigned more; /* that had no room */
};

static void add_address(struct list *list, const char *address)
{
    /* Room stays for " and 99 more". */
    size_t room = sizeof list->text - sizeof " and 99 more";
    size_t size = strlen(address);
    if (list->more > 0 || list->used + size + 2 > room) {
        list->more++;
        return;
    }
    list->used += (size_t)snprintf(list->text + list->used, sizeof list->text - list->used, "%s%s",
        list->used > 0 ? ", " : "", address);
}

static const char *list_text(struct list *list)
{
    if (list->more > 0)
        snprintf(list->text + list->used, sizeof list->text - list->used, " and %u more",
            list->more < 99 ? list->more : 99);
    return list->text;
}

/* Characters of the zone of a stub that the name is in, 0: it is not. The root's has one. */
static size_t zone_matches(const char *stub, const struct dmsg_name *name)
{
    size_t size = strcspn(stub, "=");
    if (size <= 1)
        return size;
    size_t bare = size - 1; /* without the final dot */
    if (bare > name->size || memcmp(name->text + name->size - bare, stub, bare) != 0)
        return 0;
    return bare == name->size || name->text[name->size - bare - 1] == '.' ? size : 0;
}

/* The servers of the longest zone that has the name. */
static bool list_stubs(struct list *list, struct dmsg_span setup, const struct dmsg_name *name)
{
    struct dmsg_setup_item item;
    size_t longest = 0;
    for (struct dmsg_span rest = setup; next(&item, &rest);) {
        size_t size = item.kind == DMSG_SETUP_STUB ? zone_matches(item.text, name) : 0;
        if (size > longest)
            longest = size;
    }
    while (longest > 0 && next(&item, &setup)) {
        if (item.kind == DMSG_SETUP_STUB && zone_matches(item.text, name) == longest)
            add_address(list, item.text + longest + 1);
    }
    return longest > 0;
}

static bool list_kind(struct list *list, struct dmsg_span setup, enum dmsg_setup_kind kind)
{
    struct dmsg_setup_item item;
    bool any = false;
    while (next(&item, &setup)) {
        if (item.kind != kind)
            continue;
        add_address(list, item.text);
        any = true;
    }
    return any;
}

bool dmsg_setup_forwards(struct dmsg_span setup, bool use_system, const struct dmsg_name *name)
{
    struct list list = {.used = 0};
    return !list_stubs(&list, setup, name) &&
           (list_kind(&list, setup, DMSG_SETUP_SERVER) ||
               (use_system && list_kind(&list, setup, DMSG_SETUP_SYSTEM)));
}

void dmsg_setup_via(char out[static sizeof(((struct dmsg_answer *)0)->via)], struct dmsg_span setup,
    bool use_system, const struct dmsg_name *name)
{
    const size_t size = sizeof(((struct dmsg_answer *)0)->via);
    struct list list = {.used = 0};
    if (list_stubs(&list, setup, name) || list_kind(&list, setup, DMSG_SETUP_SERVER))
        snprintf(out, size, "%s, over UDP or TCP", list_text(&list));
    else if (!list_kind(&list, setup, DMSG_SETUP_SYSTEM))
        snprintf(out, size, "the authoritative servers");
    else if (use_system)
        snprintf(out, size, "the system's resolvers %s", list_text(&list));
    else
        snprintf(out, size, "the authoritative servers, since the system's resolvers strip DNSSEC");
}
