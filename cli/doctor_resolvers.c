/* danemsg doctor: trust anchors, resolvers one by one, and the process that asks them. */
#include "base/cleanup.h"
#include "base/monotonic.h"
#include "dane/frame.h"
#include "dane/setup.h"
#include "dane/trust.h"
#include "doctor.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>

/* Signed by the root and IANA, at nobody's private zone. */
#define ROOTS_OWN "in-addr.arpa"

/* ----------------------------------------------------------------------------------- starting */

static void on_answer(void *user, const struct dmsg_answer *answer)
{
    struct doctor_probe *probe = user;
    probe->answered = true;
    probe->status = answer->status;
    snprintf(probe->why, sizeof probe->why, "%s", answer->why);
}

/* Is the name in the zone of this stub, "example.net=192.0.2.53"? */
static bool in_zone(const struct dmsg_name *name, const char *stub)
{
    char zone[DMSG_ZONE_TEXT];
    struct dmsg_span text = {(const uint8_t *)stub, strcspn(stub, "=")};
    if (dmsg_zone_parse(zone, text, NULL) < 0)
        return false;
    size_t size = strlen(zone) - 1; /* without the final dot */
    return size == 0 ||
           (name->size >= size && memcmp(name->text + name->size - size, zone, size) == 0 &&
               (name->size == size || name->text[name->size - size - 1] == '.'));
}

static bool any_stub_has(const struct dns_options *dns, const struct dmsg_name *name)
{
    for (size_t i = 0; i < dns->stubs.count; i++) {
        if (in_zone(name, dns->stubs.items[i]))
            return true;
    }
    return false;
}

/* What to ask of a server that is asked for everything: with the root's anchors a name that is no
   zone's of ours, so that a stripped answer is the server's doing. */
static void choose_question(struct doctor_probe *probe, const struct doctor *doctor)
{
    const struct dns_options *dns = &doctor->options->dns;
    probe->root = dns->trust_anchor == NULL;
    if (!probe->root && !any_stub_has(dns, &doctor->name))
        probe->question = doctor->name;
    else
        (void)!dmsg_name_parse(&probe->question, dmsg_span_text(ROOTS_OWN), NULL);
}

static struct doctor_probe *new_probe(struct doctor *doctor, const char *server)
{
    if (doctor->probe_count == DOCTOR_PROBES_MAX) {
        doctor->probes_left_out++;
        return NULL;
    }
    struct doctor_probe *probe = &doctor->probes[doctor->probe_count++];
    snprintf(probe->server, sizeof probe->server, "%.*s", (int)sizeof probe->server - 1, server);
    return probe;
}

/* A process that knows one server, of the same trust anchors. */
static void start_probe(struct doctor_probe *probe, const struct dmsg_resolver_config *config)
{
    struct dmsg_error why;
    int result = dmsg_resolver_new(&probe->resolver, config, &why);
    if (result == 0)
        result = dmsg_resolver_ask(probe->resolver, &probe->question, on_answer, probe, &why);
    if (result == 0)
        return;
    probe->answered = true;
    probe->status = DMSG_DNS_NOT_NOW;
    snprintf(probe->why, sizeof probe->why, "%.255s", why.text);
}

static void probe_server(
    struct doctor *doctor, const struct dmsg_resolver_config *base, const char *server, bool system)
{
    struct dmsg_resolver_config config = *base;
    struct doctor_probe *probe = new_probe(doctor, server);
    if (probe == NULL)
        return;
    config.servers = &server;
    config.server_count = 1;
    probe->system = system;
    choose_question(probe, doctor);
    start_probe(probe, &config);
}

/* Beside the stubs of other zones, which may be this one's parents. */
static void probe_stub(
    struct doctor *doctor, const struct dmsg_resolver_config *base, const char *stub)
{
    struct dmsg_resolver_config config = *base;
    size_t zone_size = strcspn(stub, "=") + 1;
    const char **stubs = calloc(base->stub_count, sizeof *stubs);
    struct doctor_probe *probe = stubs != NULL ? new_probe(doctor, stub) : NULL;
    if (probe != NULL) {
        char zone[DMSG_NAME_TEXT + 8];
        config.stub_count = 0;
        for (size_t i = 0; i < base->stub_count; i++) {
            if (base->stubs[i] == stub || strncmp(base->stubs[i], stub, zone_size) != 0)
                stubs[config.stub_count++] = base->stubs[i];
        }
        config.stubs = stubs;
        snprintf(zone, sizeof zone, "doctor.%.*s", (int)(zone_size - 1), stub);
        if (in_zone(&doctor->name, stub) ||
            dmsg_name_parse(&probe->question, dmsg_span_text(zone), NULL) < 0)
            probe->question = doctor->name;
        start_probe(probe, &config);
    }
    free(stubs);
}

static void probe_system(struct doctor *doctor, const struct dmsg_resolver_config *base)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer body = {0};
    struct dmsg_setup_item *item = malloc(sizeof *item);
    dmsg_setup_put_system(&body, DMSG_RESOLV_CONF);
    struct dmsg_span rest = dmsg_buffer_span(&body);
    while (item != NULL && dmsg_setup_take(item, &rest, NULL) == 1)
        probe_server(doctor, base, item->text, true);
    free(item);
}

static void start_probes(struct doctor *doctor, const struct dmsg_resolver_config *config)
{
    bool everything = false;
    for (size_t i = 0; i < config->stub_count; i++) {
        everything |= strncmp(config->stubs[i], ".=", 2) == 0;
        probe_stub(doctor, config, config->stubs[i]);
    }
    for (size_t i = 0; i < config->server_count; i++)
        probe_server(doctor, config, config->servers[i], false);
    if (config->server_count == 0 && !everything)
        probe_system(doctor, config);
}

int doctor_start_dns(struct doctor *doctor, struct dmsg_error *error)
{
    char *trust DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    struct dmsg_discovery_config config;
    doctor->until = dmsg_now_ms() + doctor->options->wait * 1000;
    discovery_config(&config, &doctor->options->dns);
    if (asprintf(&trust, "%s/" TRUST_FOLDER, doctor->state) < 0)
        trust = NULL;
    config.resolver.trust_folder = trust;
    config.resolver.trust_read_only = true;
    int result =
        start_discovery(&doctor->discovery, &doctor->context, &config, &doctor->no_discovery);
    if (result == DMSG_E_USAGE) {
        *error = doctor->no_discovery;
        return result;
    }
    if (result == 0) {
        doctor->no_discovery.code = 0;
        /* Under way while others are waited for; asked again, and refused, when it is needed. */
        (void)!dmsg_discovery_ask(doctor->discovery, &doctor->name, NULL, NULL, NULL);
        start_probes(doctor, &config.resolver);
    }
    return 0;
}

void doctor_end_dns(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->probe_count; i++)
        dmsg_resolver_free(&doctor->probes[i].resolver);
    dmsg_discovery_free(&doctor->discovery);
}

/* ------------------------------------------------------------------------------- trust anchors */

/* How many anchors a file has, and of which zones, as far as they fit. */
static size_t list_zones(char *out, size_t size, struct dmsg_span anchors)
{
    struct dmsg_setup_item *item = malloc(sizeof *item);
    size_t count = 0, used = 0;
    char last[DMSG_ZONE_TEXT] = "";
    out[0] = '\0';
    while (item != NULL && dmsg_setup_take(item, &anchors, NULL) == 1) {
        item->text[strcspn(item->text, " ")] = '\0';
        count++;
        if (strcmp(item->text, last) == 0 || used + strlen(item->text) + 3 > size)
            continue;
        snprintf(last, sizeof last, "%.*s", DMSG_ZONE_TEXT - 1, item->text);
        used += (size_t)snprintf(out + used, size - used, "%s%s", used > 0 ? " " : "", last);
    }
    free(item);
    return count;
}

static void check_given(struct doctor *doctor, const char *path)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer anchors = {0};
    struct dmsg_error why;
    char zones[200];
    int result = dmsg_setup_put_anchors(&anchors, path, &why);
    if (result < 0) {
        doctor_fail(doctor, result, NULL, "%s", why.text);
        return;
    }
    size_t count = list_zones(zones, sizeof zones, dmsg_buffer_span(&anchors));
    doctor_ok(doctor, "%s has %zu record%s, of %s; zones outside of these are not believed", path,
        count, count == 1 ? "" : "s", zones);
}

static void check_kept(struct doctor *doctor)
{
    struct dmsg_trust_facts facts;
    struct dmsg_error why;
    char *folder DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    char date[32];
    if (asprintf(&folder, "%s/" TRUST_FOLDER, doctor->state) < 0) {
        folder = NULL;
        return;
    }
    int result = dmsg_trust_look(&facts, folder, &why);
    if (result < 0)
        doctor_fail(doctor, result, NULL, "%s", why.text);
    else if (!facts.there)
        doctor_ok(doctor,
            "the root's, as this system has them; a receiver would keep them up to date in %s",
            folder);
    else if (facts.useless != NULL)
        doctor_warn(doctor, DMSG_E_LOCAL, "start `danemsg receive`, which begins it anew",
            "the root's, as this system has them, since %s/root.key %s", folder, facts.useless);
    else {
        time_text(date, facts.confirmed_at);
        doctor_ok(doctor, "the root's, kept up to date in %s, last confirmed %s", folder, date);
    }
}

void doctor_trust_anchor(struct doctor *doctor)
{
    const char *given = doctor->options->dns.trust_anchor;
    if (given != NULL)
        check_given(doctor, given);
    else
        check_kept(doctor);
    if (doctor->no_discovery.code != 0 && doctor->worst[DOCTOR_trust_anchor] != DOCTOR_FAILED)
        doctor_fail(doctor, doctor->no_discovery.code, NULL, "%s", doctor->no_discovery.text);
}

/* ----------------------------------------------------------------------------------- resolvers */

static bool all_answered(const struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->probe_count; i++) {
        if (!doctor->probes[i].answered)
            return false;
    }
    return true;
}

static void wait_for_answers(struct doctor *doctor)
{
    while (!all_answered(doctor) && dmsg_now_ms() < doctor->until) {
        struct pollfd fds[DOCTOR_PROBES_MAX];
        nfds_t count = 0;
        for (size_t i = 0; i < doctor->probe_count; i++) {
            if (!doctor->probes[i].answered)
                fds[count++] = (struct pollfd){
                    .fd = dmsg_resolver_fd(doctor->probes[i].resolver), .events = POLLIN};
        }
        (void)poll(fds, count, (int)(doctor->until - dmsg_now_ms()));
        for (size_t i = 0; i < doctor->probe_count; i++) {
            if (!doctor->probes[i].answered)
                (void)!dmsg_resolver_step(doctor->probes[i].resolver, NULL);
        }
    }
}

static bool any_believed(const struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->probe_count; i++) {
        if (doctor->probes[i].answered && doctor->probes[i].status == DMSG_DNS_SECURE)
            return true;
    }
    return false;
}

/* Of a name of the root a bogus answer is the server's own doing; else libunbound's words tell of
   signatures that are not there at all. */
static void say_bogus(struct doctor *doctor, const struct doctor_probe *probe)
{
    bool strips = probe->root || strstr(probe->why, "no signatures") != NULL;
    if (doctor_time_is_wrong(probe->why))
        doctor_warn(doctor, DMSG_E_DNS_BOGUS, "see 'clock'",
            "%s answers, with signatures of another time: %s", probe->server, probe->why);
    else if (probe->system && strips)
        doctor_warn(doctor, DMSG_E_DNS_BOGUS,
            "name another with --dns-server, or leave it: the authoritative servers are asked",
            "%s, of this system, strips DNSSEC: %s", probe->server, probe->why);
    else
        doctor_fail(doctor, DMSG_E_DNS_BOGUS,
            "name a server that passes DNSSEC; where it does, mend the zone's signatures, or the "
            "trust anchor",
            "%s answers %s: %s", probe->server,
            strips ? "without signatures, and strips DNSSEC" : "what does not validate",
            probe->why);
}

static void say_silent(struct doctor *doctor, const struct doctor_probe *probe)
{
    const char *why = probe->answered ? probe->why : "no answer in time";
    const char *advice = "check the address, and that UDP and TCP reach it";
    if (probe->system)
        doctor_warn(doctor, DMSG_E_DNS_TEMPORARY, advice, "%s, of this system, does not answer: %s",
            probe->server, why);
    else if (any_believed(doctor))
        doctor_warn(doctor, DMSG_E_DNS_TEMPORARY, advice, "%s does not answer, and others do: %s",
            probe->server, why);
    else
        doctor_fail(
            doctor, DMSG_E_DNS_TEMPORARY, advice, "%s does not answer: %s", probe->server, why);
}

static void say(struct doctor *doctor, const struct doctor_probe *probe)
{
    if (!probe->answered || probe->status == DMSG_DNS_NOT_NOW)
        say_silent(doctor, probe);
    else if (probe->status == DMSG_DNS_BOGUS)
        say_bogus(doctor, probe);
    else if (probe->status == DMSG_DNS_SECURE)
        doctor_ok(doctor, "%s answers and passes DNSSEC", probe->server);
    else
        doctor_pass(doctor, "%s answers; %s is below no trust anchor, and tells nothing of DNSSEC",
            probe->server, probe->question.text);
}

void doctor_resolver(struct doctor *doctor)
{
    wait_for_answers(doctor);
    if (doctor->probe_count == 0)
        doctor_ok(doctor, "none is configured: the authoritative servers are asked");
    for (size_t i = 0; i < doctor->probe_count; i++)
        say(doctor, &doctor->probes[i]);
    if (doctor->probes_left_out > 0)
        doctor_pass(doctor, "%zu more were not asked by themselves", doctor->probes_left_out);
}

/* ------------------------------------------------------------------------------------- sandbox */

void doctor_sandbox(struct doctor *doctor)
{
    int held = dmsg_discovery_sandbox(doctor->discovery);
    const int both = DMSG_SANDBOX_SECCOMP | DMSG_SANDBOX_LANDLOCK;
    if (held < 0)
        doctor_pass(doctor, "the resolver's process has not told");
    else if (held == both)
        doctor_ok(doctor, "seccomp and Landlock hold the resolver's process");
    else
        doctor_warn(doctor, DMSG_E_INTERNAL,
            "use a kernel that has both, or let the service's "
            "manager confine it",
            "the resolver's process is held by %s",
            held == DMSG_SANDBOX_SECCOMP    ? "seccomp, and not by Landlock"
            : held == DMSG_SANDBOX_LANDLOCK ? "Landlock, and not by seccomp"
                                            : "neither seccomp nor Landlock");
}
