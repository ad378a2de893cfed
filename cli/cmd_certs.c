/* danemsg certs: the certificates that DNS vouches for, as files. And
   dane_discovery_get_certificates, the proof of concept's. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "certificates.h"
#include "cmd_identity_common.h"
#include "dane/tlsa.h"

#include <openssl/evp.h>

#define OPTION(member) offsetof(struct certificates_options, member)

static const struct option own_options[] = {
    {.name = "dane-ee",
        .kind = OPTION_FLAG,
        .at = OPTION(dane_ee),
        .help = "of usage 3, and of what else is named here"},
    {.name = "pkix-ee",
        .kind = OPTION_FLAG,
        .at = OPTION(pkix_ee),
        .help = "of usage 1, and of what else is named here"},
};

static const struct option link_options[] = {
    {.name = "dane_ee",
        .kind = OPTION_FLAG,
        .at = OPTION(dane_ee),
        .help = "of usage 3, and of what else is named here"},
    {.name = "pkix_ee",
        .kind = OPTION_FLAG,
        .at = OPTION(pkix_ee),
        .help = "of usage 1, and of what else is named here"},
    {.name = "pkix_cd",
        .kind = OPTION_FLAG,
        .at = OPTION(dns.pkix_cd),
        .help = "of usage 4, and of what else is named here"},
};

/* Without any of the options: all that count. */
static bool wanted(const struct certificates_options *options, uint8_t usage)
{
    bool all = !options->dane_ee && !options->pkix_ee && !options->only_pkix_cd;
    return (usage == DMSG_DANE_EE && (all || options->dane_ee)) ||
           (usage == DMSG_PKIX_EE && (all || options->pkix_ee)) ||
           (usage == DMSG_PKIX_CD && options->dns.pkix_cd);
}

static void name_file(struct certificate_file *file, const struct dmsg_name *name)
{
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    int used = snprintf(file->name, sizeof file->name, "%s-", name->text);
    if (X509_digest(file->certificate, EVP_sha256(), digest, &size) != 1)
        size = 0;
    for (unsigned i = 0; i < size; i++)
        used += snprintf(file->name + used, sizeof file->name - (size_t)used, "%02x", digest[i]);
    snprintf(file->name + used, sizeof file->name - (size_t)used, ".crt.pem");
}

/* What is not written is said, so that nobody takes a part for the whole. */
static void choose(struct certificate_files *files, const struct invocation *self,
    const struct dmsg_peer *peer, const struct dmsg_peer_key *key)
{
    if (key->certificate == NULL || !wanted(self->options, key->usage))
        return;
    if (key->purposes == 0) {
        print_note(self->program, "left out a certificate of usage %u: %s", key->usage, key->why);
        return;
    }
    struct certificate_file *file = certificate_files_add(files, key->certificate);
    if (file != NULL)
        name_file(file, &peer->name);
}

static int write_found(
    const struct invocation *self, const struct dmsg_peer *peer, struct dmsg_error *error)
{
    DMSG_CLEANUP(certificate_files_done) struct certificate_files files = {0};
    bool any = false;
    for (size_t i = 0; i < peer->count; i++) {
        any |= peer->keys[i].purposes != 0;
        choose(&files, self, peer, &peer->keys[i]);
    }
    if (files.count > 0)
        return certificate_files_write(&files, self->options, error);
    if (!any && dmsg_peer_recipient_key(peer, error) == NULL) /* says why there is none */
        return error->code;
    return dmsg_fail(error, DMSG_E_CERTIFICATE,
        "%s has keys, but no certificate of a usage that was asked for; nothing was written. "
        "`danemsg lookup %s` shows what there is",
        peer->name.text, peer->name.text);
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    return certificates_run(self, write_found, error);
}

/* With none of the three, the proof of concept takes all of them. */
static int run_link(struct invocation *self, struct dmsg_error *error)
{
    struct certificates_options *options = self->options;
    bool others = options->dane_ee || options->pkix_ee;
    options->only_pkix_cd = options->dns.pkix_cd && !others;
    options->dns.pkix_cd |= !others;
    return run(self, error);
}

const struct command cmd_certs = {
    .name = "certs",
    .arguments = "NAME",
    .summary = "Write the certificates that DNS vouches for at a name, as PEM.",
    .example = "danemsg certs device.example.net -o device.pem",
    .notes = "With --separate the files are called NAME-<SHA-256>.crt.pem. Writes nothing when "
             "there is none, and ends as `danemsg lookup` does.",
    .options = own_options,
    .option_count = COUNT(own_options),
    .groups = (const struct group_use[]){{&certificates_group,
                                             offsetof(struct certificates_options, output)},
        {&dns_group, offsetof(struct certificates_options, dns)}, {0}},
    .size = sizeof(struct certificates_options),
    .least = 1,
    .most = 1,
    .run = run,
};

const struct command cmd_dane_discovery_get_certificates = {
    .name = "dane_discovery_get_certificates",
    .arguments = "",
    .summary = "Write the certificates of a name (danemsg certs).",
    .example = "dane_discovery_get_certificates --identity_name device.example.net \\\n"
               "    --output_path device.pem",
    .options = link_options,
    .option_count = COUNT(link_options),
    .groups = (const struct group_use[]){{&certificates_link_group,
                                             offsetof(struct certificates_options, output)},
        {&dns_group, offsetof(struct certificates_options, dns)}, {0}},
    .size = sizeof(struct certificates_options),
    .link = true,
    .run = run_link,
    .exit_status = status_of_poc,
};
