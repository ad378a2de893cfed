#include "broker_dane.h"

#include "base/fail.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static void take_answer(void *user, const struct dmsg_peer *peer)
{
    struct broker_dane *dane = user;
    if (dane->peer == NULL) /* another connection may have asked before the first was answered */
        dane->peer = dmsg_peer_retain(peer);
    dane->asked = false;
}

static void forget(struct broker_dane *dane)
{
    dmsg_peer_release(dane->peer);
    dane->peer = NULL;
}

/* Afresh for each connection; what DNS said is kept for its TTL by the resolver's process. */
static int ask(void *user, struct dmsg_error *error)
{
    struct broker_dane *dane = user;
    forget(dane);
    if (dane->asked)
        return 0;
    int result = dmsg_discovery_ask(dane->discovery, &dane->name, take_answer, dane, error);
    dane->asked = result == 0;
    return result;
}

static int step(void *user, struct dmsg_error *error)
{
    const struct broker_dane *dane = user;
    return dmsg_discovery_step(dane->discovery, error);
}

static bool answered(void *user)
{
    const struct broker_dane *dane = user;
    return dane->peer != NULL;
}

static int fail_records(const struct broker_dane *dane, struct dmsg_error *error)
{
    const struct dmsg_peer *peer = dane->peer;
    const char *name = dane->name.text;
    switch (peer->status) {
    case DMSG_DNS_NOT_NOW:
        return dmsg_fail(error, DMSG_E_DNS_TEMPORARY,
            "looking up its TLSA records at %s: DNS has no answer now (%.200s); try again later",
            name, peer->why);
    case DMSG_DNS_BOGUS:
        return dmsg_fail(error, DMSG_E_DNS_BOGUS,
            "looking up its TLSA records at %s: the answer does not validate (%.200s); the zone is "
            "broken or somebody forges it",
            name, peer->why);
    case DMSG_DNS_INSECURE:
        return dmsg_fail(error, DMSG_E_DNS_INSECURE,
            "looking up its TLSA records at %s: %.200s; --broker-dane needs a signed zone", name,
            peer->why);
    case DMSG_DNS_SECURE:
        break;
    }
    return dmsg_fail(error, DMSG_E_NO_IDENTITY,
        "looking up its TLSA records at %s: DNS proves that %.200s; publish one, or leave "
        "--broker-dane away and have the broker judged by CAs",
        name, peer->why);
}

/* What was heard before and is still valid will do while DNS gives no answer. */
static void fall_back(struct broker_dane *dane)
{
    if (dane->peer->status != DMSG_DNS_NOT_NOW)
        return;
    const struct dmsg_peer *cached = dmsg_discovery_get(dane->discovery, &dane->name);
    if (cached == NULL)
        return;
    forget(dane);
    dane->peer = cached;
}

static int take(void *user, struct dmsg_mqtt_records *out, struct dmsg_error *error)
{
    struct broker_dane *dane = user;
    fall_back(dane);
    if (dane->peer->status != DMSG_DNS_SECURE || dane->peer->count == 0)
        return fail_records(dane, error);
    out->count = 0;
    for (size_t i = 0; i < dane->peer->count && out->count < DMSG_MQTT_RECORDS_MAX; i++)
        out->rdata[out->count++] = dane->peer->keys[i].rdata;
    return 0;
}

int broker_dane_init(struct broker_dane *out, struct dmsg_discovery *discovery, const char *host,
    int port, struct dmsg_error *error)
{
    char text[2 * DMSG_NAME_TEXT];
    uint8_t address[sizeof(struct in6_addr)];
    if (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1)
        return dmsg_fail(error, DMSG_E_USAGE,
            "--broker-dane needs the broker's name, and %s is an address: TLSA records are at "
            "names",
            host);
    snprintf(text, sizeof text, "_%d._tcp.%.*s", port, DMSG_NAME_TEXT, host);
    *out = (struct broker_dane){.discovery = discovery};
    int result = name_from(&out->name, text, "name of the broker's TLSA records", error);
    out->source = (struct dmsg_mqtt_dane){.ask = ask,
        .step = step,
        .answered = answered,
        .take = take,
        .fd = dmsg_discovery_fd(discovery),
        .user = out};
    return result;
}

void broker_dane_done(struct broker_dane *dane)
{
    forget(dane);
}
