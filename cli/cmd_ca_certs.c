/* danemsg ca-certs: the CA certificates that a name's certificates of usage 4 end at, as files. And
   dane_discovery_get_ca_certificates, the proof of concept's. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "base/monotonic.h"
#include "certificates.h"
#include "cmd_identity_common.h"
#include "dane/authority.h"
#include "dane/tlsa.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

struct climb {
    const struct dmsg_name *host;
    X509 *certificates[DMSG_AUTHORITY_CERTIFICATES_MAX];
    size_t count, answered;
    struct certificate_files roots;
    char why[200];
};

/* "HOST-CA-d4e50f.crt.pem": the identifier under which the root is served. */
static void name_file(struct certificate_file *file, const struct dmsg_name *host, X509 *below)
{
    char aki[DMSG_AKI_TEXT] = "";
    int used = snprintf(file->name, sizeof file->name, "%s-CA-", host->text);
    (void)!dmsg_authority_key_id(aki, below, NULL); /* it was climbed from by its identifier */
    for (const char *octet = aki; *octet != '\0'; octet += octet[2] == '-' ? 3 : 2)
        used += snprintf(file->name + used, sizeof file->name - (size_t)used, "%.2s", octet);
    snprintf(file->name + used, sizeof file->name - (size_t)used, ".crt.pem");
}

static void on_issuers(void *user, const struct dmsg_authority_answer *answer)
{
    struct climb *climb = user;
    climb->answered++;
    if (answer->issuers == NULL) {
        snprintf(climb->why, sizeof climb->why, "%.190s", answer->why);
        return;
    }
    int top = sk_X509_num(answer->issuers) - 1;
    X509 *root = sk_X509_value(answer->issuers, top);
    struct certificate_file *file = certificate_files_add(&climb->roots, root);
    if (file != NULL)
        name_file(file, climb->host,
            top > 0 ? sk_X509_value(answer->issuers, top - 1) : climb->certificates[answer->index]);
}

static int wait_for(
    struct dmsg_authority *authority, const struct climb *climb, struct dmsg_error *error)
{
    for (;;) {
        int wait = dmsg_authority_step(authority, error);
        if (wait < 0 || climb->answered == climb->count)
            return wait < 0 ? wait : 0;
        struct pollfd fd = {.fd = dmsg_authority_fd(authority), .events = POLLIN};
        if (poll(&fd, 1, wait) < 0 && errno != EINTR)
            return dmsg_fail_errno(error, DMSG_E_INTERNAL, "waiting for CA certificates");
    }
}

/* What discovery judged is fetched once more: it keeps the verdict, not the CA. */
static int find_roots(struct climb *climb, const struct dmsg_context *context,
    const struct dns_options *options, const struct dmsg_name *name, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_authority_free) struct dmsg_authority *authority = NULL;
    struct dmsg_discovery_config from;
    discovery_config(&from, options);
    struct dmsg_authority_config config = {.servers = from.authorities,
        .server_count = from.authority_count,
        .program = from.resolver.program,
        .program_arguments = from.resolver.program_arguments};
    int result = dmsg_authority_new(&authority, context, &config, error);
    if (result == 0)
        result = dmsg_authority_ask(authority, name, climb->certificates, climb->count,
            dmsg_now_ms() + LOOKUP_TIMEOUT, on_issuers, climb, error);
    if (result == 0)
        result = wait_for(authority, climb, error);
    if (result == 0 && climb->roots.count == 0)
        return dmsg_fail(
            error, DMSG_E_DNS_TEMPORARY, "fetching what was there just now: %s", climb->why);
    return result;
}

static int write_roots(
    const struct invocation *self, const struct dmsg_peer *peer, struct dmsg_error *error)
{
    const struct certificates_options *options = self->options;
    const struct dmsg_context context = {0};
    struct dmsg_name host;
    struct climb climb = {.host = &host};
    for (size_t i = 0; i < peer->count && climb.count < DMSG_AUTHORITY_CERTIFICATES_MAX; i++) {
        const struct dmsg_peer_key *key = &peer->keys[i];
        if (key->usage == DMSG_PKIX_CD && key->purposes != 0 && key->certificate != NULL)
            climb.certificates[climb.count++] = key->certificate;
    }
    if (climb.count == 0) {
        const struct dmsg_peer_key *any = dmsg_peer_recipient_key(peer, error);
        return any == NULL ? error->code
                           : dmsg_fail(error, DMSG_E_CERTIFICATE,
                                 "%s has no certificate of usage 4 that counts, and so no CA of "
                                 "its own; nothing was written",
                                 peer->name.text);
    }
    int result = dmsg_authority_host(&host, &peer->name, error);
    if (result == 0)
        result = find_roots(&climb, &context, &options->dns, &peer->name, error);
    if (result == 0)
        result = certificate_files_write(&climb.roots, options, error);
    certificate_files_done(&climb.roots);
    return result;
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    struct certificates_options *options = self->options;
    options->dns.pkix_cd = true; /* it is what the command is about */
    return certificates_run(self, write_roots, error);
}

const struct command cmd_ca_certs = {
    .name = "ca-certs",
    .arguments = "NAME",
    .summary = "Write the CA certificates of a name (usage 4, PKIX-CD), as PEM.",
    .example = "danemsg ca-certs a1._device.example.net -o ca.pem",
    .notes =
        "With --separate the files are called HOST-CA-<key identifier>.crt.pem. Only of chains "
        "that hold. Writes nothing when there is none, and ends as `danemsg lookup --pkix-cd` "
        "does.",
    .groups = (const struct group_use[]){{&certificates_group,
                                             offsetof(struct certificates_options, output)},
        {&dns_group, offsetof(struct certificates_options, dns)}, {0}},
    .size = sizeof(struct certificates_options),
    .least = 1,
    .most = 1,
    .run = run,
};

const struct command cmd_dane_discovery_get_ca_certificates = {
    .name = "dane_discovery_get_ca_certificates",
    .arguments = "",
    .summary = "Write the CA certificates of a name (danemsg ca-certs).",
    .example = "dane_discovery_get_ca_certificates \\\n"
               "    --identity_name a1._device.example.net --output_path ca.pem",
    .groups = (const struct group_use[]){{&certificates_link_group,
                                             offsetof(struct certificates_options, output)},
        {&dns_group, offsetof(struct certificates_options, dns)}, {0}},
    .size = sizeof(struct certificates_options),
    .link = true,
    .run = run,
    .exit_status = status_of_poc,
};
