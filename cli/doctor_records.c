/* danemsg doctor: what DNS says of the own name, and the clock that it is judged by. */
#include "base/cleanup.h"
#include "base/monotonic.h"
#include "cmd_identity_common.h"
#include "dane/peer_internal.h"
#include "doctor.h"
#include "mqtt/facts.h"
#include "own_keys.h"
#include "own_records.h"
#include "x509/certificate.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* Seconds. A shorter one makes peers ask for nearly every message; with a longer one a rollover
   waits for days. Of what is longer than a day libunbound tells a day. */
#define TTL_SHORT 30
#define TTL_LONG DMSG_PEER_LIFE_MAX

/* Milliseconds for an answer that has come meanwhile, when the time is over. */
#define LEFT_LEAST 500

/* Seconds that a file may be ahead of the clock: of a file server that is not quite in step. */
#define FUTURE_GRACE 300

/* -------------------------------------------------------------------------------------- answer */

static const char *advice_for(int code, const char *why)
{
    switch (code) {
    case DMSG_E_DNS_TEMPORARY:
        return "see 'resolver'; messages wait until DNS is back";
    case DMSG_E_DNS_BOGUS:
        return doctor_time_is_wrong(why) ? "see 'clock', else have the zone signed again"
                                         : "see 'resolver', else mend the zone's signatures, its "
                                           "DS record or the trust anchor";
    case DMSG_E_DNS_INSECURE:
        return "have the zone signed, and its DS record put into the parent, or name its key with "
               "--trust-anchor";
    default:
        return "`danemsg identity publish`; `danemsg identity tlsa` prints the record";
    }
}

void doctor_answer(struct doctor *doctor)
{
    const struct dmsg_peer_key *any[DMSG_PEER_KEYS_MAX];
    struct dmsg_error why = {0};
    int64_t left = doctor->until - dmsg_now_ms();
    int result = dmsg_discovery_find_fresh(doctor->discovery, &doctor->name,
        left > LEFT_LEAST ? (int)left : LEFT_LEAST, &doctor->peer, &why);
    if (result == 0)
        result = dmsg_peer_sender_keys(doctor->peer, (struct dmsg_span){0}, any, &why);
    /* Records of which none is usable are judged by 'record'. */
    if (result < 0 && result != DMSG_E_CERTIFICATE)
        doctor_fail(doctor, result, advice_for(result, why.text), "%s", why.text);
    else
        doctor_ok(doctor, "DNS is secure, with %zu record%s, asked of %s", doctor->peer->count,
            doctor->peer->count == 1 ? "" : "s", doctor->peer->via);
}

/* ------------------------------------------------------------------------------------- records */

static bool is_own(const struct doctor *doctor, const struct dmsg_peer_key *record)
{
    return own_records_match(doctor->me, record->rdata) != NULL;
}

/* Records of CAs are nobody's key. */
static bool is_a_key(const struct dmsg_peer_key *record)
{
    return record->usage != DMSG_DANE_TA && record->usage != DMSG_PKIX_TA;
}

static void check_others(struct doctor *doctor)
{
    const struct dmsg_peer *peer = doctor->peer;
    const struct dmsg_peer_key *chosen = dmsg_peer_recipient_key(peer, NULL);
    for (size_t i = 0; i < peer->count; i++) {
        const struct dmsg_peer_key *record = &peer->keys[i];
        const char *remove =
            "`danemsg identity publish --replace`, which takes others' records out";
        if (!is_a_key(record) || is_own(doctor, record))
            continue;
        if (record == chosen)
            doctor_fail(doctor, DMSG_E_CERTIFICATE, remove,
                "others encrypt to record %zu (%u %u %u, kid %s), whose key is not here", i + 1,
                record->usage, record->selector, record->matching_type, record->kid);
        else
            doctor_warn(doctor, DMSG_E_CERTIFICATE, remove,
                "record %zu (%u %u %u) is of a key that is not here", i + 1, record->usage,
                record->selector, record->matching_type);
    }
}

static void check_usable(struct doctor *doctor)
{
    const struct dmsg_peer *peer = doctor->peer;
    for (size_t i = 0; i < peer->count; i++) {
        const struct dmsg_peer_key *record = &peer->keys[i];
        if (record->purposes == 0 && !record->by_x5c)
            doctor_warn(doctor, DMSG_E_CERTIFICATE, "`danemsg lookup` explains it",
                "record %zu (%u %u %u) is of no use: %s", i + 1, record->usage, record->selector,
                record->matching_type, record->why);
    }
    if (peer->oversized > 0)
        doctor_warn(doctor, DMSG_E_CERTIFICATE, "take them out",
            "%zu record%s too large to be looked at", peer->oversized,
            peer->oversized == 1 ? " is" : "s are");
}

void doctor_record(struct doctor *doctor)
{
    int64_t now = dmsg_context_now(&doctor->context);
    struct dmsg_error why;
    int receiver = own_keys_check(doctor->me, doctor->peer, &why);
    int sender = receiver == 0 ? 0 : own_keys_check_sender(doctor->me, doctor->peer, now, &why);
    if (receiver == 0)
        doctor_ok(doctor, "DNS speaks for every current key");
    else if (sender == 0)
        doctor_ok(doctor, "DNS speaks for messages that carry their certificate; nobody can "
                          "encrypt to this name");
    else
        doctor_fail(doctor, sender,
            "`danemsg identity publish`; `danemsg identity check` prints the record", "%s",
            why.text);
    check_others(doctor);
    check_usable(doctor);
}

void doctor_ttl(struct doctor *doctor)
{
    uint32_t ttl = doctor->peer->ttl;
    if (ttl < TTL_SHORT)
        doctor_warn(doctor, DMSG_E_DNS_TEMPORARY, "give the record a TTL of an hour or so",
            "%u s, or what is left of it in a resolver's cache: peers ask again and again", ttl);
    else if (ttl >= TTL_LONG)
        doctor_warn(doctor, DMSG_E_DNS_TEMPORARY, "give the record a TTL of an hour or so",
            "a day or more: a rollover waits as long, and a stolen key is believed as long");
    else
        doctor_ok(doctor, "%u s", ttl);
}

void doctor_signatures(struct doctor *doctor)
{
    char until[32];
    time_text(until, doctor->peer->signed_until);
    if (doctor->peer->signed_until == 0)
        doctor_pass(doctor, "DNS does not tell until when they are valid");
    else if (own_keys_signatures_end_soon(doctor->peer, dmsg_context_now(&doctor->context)))
        doctor_warn(doctor, DMSG_E_DNS_BOGUS,
            "see that the zone is signed again before, unless its server signs as it answers",
            "those over the answer end on %s", until);
    else
        doctor_ok(doctor, "those over the answer are valid until %s", until);
}

/* --------------------------------------------------------------------------------------- clock */

/* libunbound's words (val_sigcrypt.c of its source) of an RRSIG out of its time, RFC 4035 section
   5.3.1. */
bool doctor_time_is_wrong(const char *why)
{
    return strstr(why, "signature expired") != NULL || strstr(why, "before inception") != NULL;
}

static void by_dns(struct doctor *doctor, const char *now)
{
    const struct dmsg_peer *peer = doctor->peer;
    char until[32];
    if (peer == NULL || peer->status == DMSG_DNS_NOT_NOW)
        doctor_pass(doctor, "no evidence from DNS: there is no answer");
    else if (peer->status == DMSG_DNS_INSECURE)
        doctor_pass(doctor, "no evidence from DNS: the answer is not signed");
    else if (peer->status == DMSG_DNS_SECURE) {
        time_text(until, peer->signed_until);
        doctor_ok(doctor, "the signatures of DNS hold at %s, until %s", now, until);
    } else if (doctor_time_is_wrong(peer->why))
        doctor_fail(doctor, DMSG_E_DNS_BOGUS,
            "compare with a clock that is right, and set this one; else have the zone signed again",
            "the signatures of DNS do not hold at %s, which this machine has for now: %s", now,
            peer->why);
    else
        doctor_pass(doctor, "no evidence from DNS: the answer is bogus for another reason");
}

static void by_broker(struct doctor *doctor, const char *now)
{
    X509 *certificate = doctor->mqtt != NULL ? dmsg_mqtt_certificate(doctor->mqtt) : NULL;
    int64_t at = dmsg_context_now(&doctor->context), from, to;
    char begin[32], end[32];
    if (!doctor->broker.config.tls)
        doctor_pass(doctor, "no evidence from the broker: the connection is without TLS");
    else if (certificate == NULL || dmsg_certificate_dates(&from, &to, certificate, NULL) < 0)
        doctor_pass(doctor, "no evidence from the broker: it has shown no certificate");
    else {
        time_text(begin, from);
        time_text(end, to);
        if (at < from || at > to)
            doctor_fail(doctor, DMSG_E_BROKER,
                "compare with a clock that is right, and set this one; else the broker needs a new "
                "certificate",
                "the broker's certificate is valid from %s until %s, and this machine has %s for "
                "now",
                begin, end, now);
        else
            doctor_ok(doctor, "the broker's certificate is valid at %s, from %s until %s", now,
                begin, end);
    }
}

/* What was written in the future was written by a clock that was ahead, or this one is behind. */
static void by_files(struct doctor *doctor, const char *now)
{
    static const char *const suffixes[] = {"db", "status", "client-id"};
    for (size_t i = 0; i < COUNT(suffixes); i++) {
        char *path DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
        char then[32];
        struct stat facts;
        if (asprintf(&path, "%s/%s.%s", doctor->state, doctor->name.text, suffixes[i]) < 0) {
            path = NULL;
            continue;
        }
        if (stat(path, &facts) < 0 ||
            facts.st_mtime <= dmsg_context_now(&doctor->context) + FUTURE_GRACE)
            continue;
        time_text(then, facts.st_mtime);
        doctor_warn(doctor, DMSG_E_TIME, "compare with a clock that is right, and set this one",
            "%s was written at %s, and this machine has %s for now", path, then, now);
        return;
    }
}

void doctor_clock(struct doctor *doctor)
{
    char now[32];
    time_text(now, dmsg_context_now(&doctor->context));
    if (!dmsg_context_synchronised(&doctor->context))
        doctor_warn(doctor, DMSG_E_TIME,
            "start a time service (systemd-timesyncd, chrony), and see that it reaches its servers",
            "the kernel says that nobody has set the clock since the machine started; it has %s",
            now);
    by_dns(doctor, now);
    by_broker(doctor, now);
    by_files(doctor, now);
}
