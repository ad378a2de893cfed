/* danemsg verify-cert: does DNS speak for a certificate? And
   dane_discovery_authenticate_certificate, the proof of concept's. */
#include "base/cleanup.h"
#include "base/fail.h"
#include "cmd_identity_common.h"
#include "dane/presented.h"
#include "dane/tlsa.h"
#include "x509/certificate.h"
#include "x509/files.h"
#include "x509/pem.h"

#include <openssl/x509v3.h>

struct verify_cert {
    struct dns_options dns;
    const char *file; /* of the link; of the command it is an argument */
    const char *name;
    bool quiet;
};

static const struct option own_options[] = {
    {.name = "name",
        .argument = "NAME",
        .kind = OPTION_TEXT,
        .at = offsetof(struct verify_cert, name),
        .help = "whose certificate it should be (its first SAN dNSName)"},
    {.name = "quiet",
        .kind = OPTION_FLAG,
        .at = offsetof(struct verify_cert, quiet),
        .help = "only the exit status"},
};

static const struct option link_options[] = {
    {.name = "certificate_path",
        .argument = "FILE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct verify_cert, file),
        .help = "the certificate, in PEM"},
    {.name = "identity_name",
        .argument = "NAME",
        .kind = OPTION_TEXT,
        .at = offsetof(struct verify_cert, name),
        .help = "whose certificate it should be (its first SAN dNSName)"},
    {.name = "silent",
        .kind = OPTION_FLAG,
        .at = offsetof(struct verify_cert, quiet),
        .help = "only the exit status"},
};

/* The certificate, and its issuers if they are in the file. */
struct given {
    struct dmsg_certificate leaf;
    struct dmsg_presented presented;
    struct dmsg_buffer octets[DMSG_PRESENTED_MAX];
};

static void given_done(struct given *given)
{
    dmsg_certificate_done(&given->leaf);
    for (size_t i = 0; i < DMSG_PRESENTED_MAX; i++)
        dmsg_buffer_done(&given->octets[i]);
}

static int on_certificate(void *user, struct dmsg_span der, struct dmsg_error *error)
{
    struct given *given = user;
    size_t index = given->presented.count;
    if (index == DMSG_PRESENTED_MAX)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "the file has more than a certificate and %d issuers", DMSG_PRESENTED_MAX - 1);
    dmsg_buffer_put_span(&given->octets[index], der);
    if (given->octets[index].failed)
        return dmsg_fail_memory(error);
    given->presented.certificates[given->presented.count++] =
        dmsg_buffer_span(&given->octets[index]);
    return 0;
}

static int read_given(struct given *given, const char *path, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {.limit = DMSG_CERTIFICATE_FILE_MAX};
    int result = read_input(&text, path, error);
    if (result < 0) /* which names the file */
        return result;
    result = dmsg_pem_read_certificates(dmsg_buffer_span(&text), on_certificate, given, error);
    if (result == 0)
        result = dmsg_certificate_parse(&given->leaf, given->presented.certificates[0], error);
    return result < 0 ? dmsg_fail_in(error, result, "%s", path) : 0;
}

static int first_name(struct dmsg_name *out, const X509 *certificate, struct dmsg_error *error)
{
    GENERAL_NAMES *names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    int result = -1;
    for (int i = 0; i < sk_GENERAL_NAME_num(names) && result < 0; i++) {
        int type;
        const ASN1_STRING *text = GENERAL_NAME_get0_value(sk_GENERAL_NAME_value(names, i), &type);
        if (type != GEN_DNS)
            continue;
        struct dmsg_span span = {ASN1_STRING_get0_data(text), (size_t)ASN1_STRING_length(text)};
        result = dmsg_name_parse(out, span, NULL);
        break;
    }
    GENERAL_NAMES_free(names);
    if (result < 0)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "the certificate's first SAN dNSName is none that can be looked up; say whose it "
            "should be");
    return 0;
}

static int judge(const struct verify_cert *options, const struct dmsg_context *context,
    const struct dmsg_peer *peer, const struct given *given, struct dmsg_error *error)
{
    struct dmsg_testimony by;
    int result = dmsg_peer_verify_certificate(&by, peer, given->presented.certificates,
        given->presented.count, dmsg_context_now(context), error);
    if (result < 0 || options->quiet)
        return result;
    printf("%s: yes, by its record %u %u %u (%s), DNS %s\n", peer->name.text, by.usage, by.selector,
        by.matching_type, dmsg_tlsa_usage_word(by.usage), dns_status_word(peer->status));
    if (by.why[0] != '\0')
        printf("%s\n", by.why);
    return 0;
}

static int verify(const struct verify_cert *options, const char *path, struct dmsg_error *error)
{
    const struct dmsg_context context = {0};
    DMSG_CLEANUP(given_done) struct given given = {0};
    struct dmsg_discovery *discovery = NULL;
    const struct dmsg_peer *peer = NULL;
    struct dmsg_name name;
    int result = read_given(&given, path, error);
    if (result == 0)
        result = options->name != NULL ? name_from(&name, options->name, "name", error)
                                       : first_name(&name, given.leaf.x509, error);
    if (result == 0)
        result = open_discovery(&discovery, &context, &options->dns, error);
    if (result == 0)
        result = dmsg_discovery_find(discovery, &name, LOOKUP_TIMEOUT, &peer, error);
    if (result == 0)
        result = judge(options, &context, peer, &given, error);
    dmsg_peer_release(peer);
    dmsg_discovery_free(&discovery);
    if (result < 0 && result != DMSG_E_USAGE && options->quiet)
        error->text[0] = '\0';
    return result;
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    return verify(self->options, self->arguments[0], error);
}

/* The proof of concept does PKIX-CD unasked. */
static int run_link(struct invocation *self, struct dmsg_error *error)
{
    struct verify_cert *options = self->options;
    options->dns.pkix_cd = true;
    if (options->file == NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "--certificate_path is missing");
    return verify(options, options->file, error);
}

const struct command cmd_verify_cert = {
    .name = "verify-cert",
    .arguments = "FILE",
    .summary = "Say whether DNS speaks for a certificate, and by which record.",
    .example = "danemsg verify-cert device.pem --name device.example.net",
    .notes = "FILE is PEM (- is stdin): the certificate, and its issuers if the record is about "
             "one. Status 0: yes. 3 to 6: as `danemsg lookup`.",
    .options = own_options,
    .option_count = COUNT(own_options),
    .groups = (const struct group_use[]){{&dns_group, offsetof(struct verify_cert, dns)}, {0}},
    .size = sizeof(struct verify_cert),
    .least = 1,
    .most = 1,
    .run = run,
};

const struct command cmd_dane_discovery_authenticate_certificate = {
    .name = "dane_discovery_authenticate_certificate",
    .arguments = "",
    .summary = "Say whether DNS speaks for a certificate (danemsg verify-cert).",
    .example = "dane_discovery_authenticate_certificate --certificate_path device.pem",
    .options = link_options,
    .option_count = COUNT(link_options),
    .groups = (const struct group_use[]){{&dns_group, offsetof(struct verify_cert, dns)}, {0}},
    .size = sizeof(struct verify_cert),
    .link = true,
    .run = run_link,
    .exit_status = status_of_poc,
};
