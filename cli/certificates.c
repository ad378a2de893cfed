#include "certificates.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "x509/pem.h"

#include <errno.h>
#include <sys/stat.h>

#define OUTPUT(member) offsetof(struct certificates_output, member)

static const struct option output_options[] = {
    {.letter = 'o',
        .name = "output",
        .argument = "PATH",
        .kind = OPTION_TEXT,
        .at = OUTPUT(path),
        .help = "file to write to (- is stdout), or folder with --separate"},
    {.name = "separate",
        .kind = OPTION_FLAG,
        .at = OUTPUT(separate),
        .help = "each certificate into a file of its own"},
};
const struct option_group certificates_group = {"Files", output_options, COUNT(output_options)};

static const struct option link_options[] = {
    {.name = "identity_name",
        .argument = "NAME",
        .kind = OPTION_TEXT,
        .at = OUTPUT(name),
        .help = "DNS name"},
    {.name = "output_path",
        .argument = "PATH",
        .kind = OPTION_TEXT,
        .at = OUTPUT(path),
        .help = "file to write to, or folder with --separate_files"},
    {.name = "separate_files",
        .kind = OPTION_FLAG,
        .at = OUTPUT(separate),
        .help = "each certificate into a file of its own"},
};
const struct option_group certificates_link_group = {"Files", link_options, COUNT(link_options)};

struct certificate_file *certificate_files_add(struct certificate_files *files, X509 *certificate)
{
    for (size_t i = 0; i < files->count; i++) {
        if (X509_cmp(files->files[i].certificate, certificate) == 0)
            return NULL;
    }
    if (files->count == CERTIFICATE_FILES_MAX)
        return NULL;
    X509_up_ref(certificate);
    struct certificate_file *file = &files->files[files->count++];
    file->certificate = certificate;
    return file;
}

void certificate_files_done(struct certificate_files *files)
{
    for (size_t i = 0; i < files->count; i++)
        X509_free(files->files[i].certificate);
    files->count = 0;
}

static int write_bundle(
    const struct certificate_files *files, const char *path, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    int result = 0;
    for (size_t i = 0; i < files->count && result == 0; i++)
        result = dmsg_pem_put_certificate(&out, files->files[i].certificate, error);
    if (result < 0)
        return result;
    return out.failed ? dmsg_fail_memory(error) : replace_file(path, dmsg_buffer_span(&out), error);
}

static int write_one(
    const struct certificate_file *file, const char *folder, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer out = {0};
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    int result = dmsg_pem_put_certificate(&out, file->certificate, error);
    if (result < 0)
        return result;
    if (asprintf(&path, "%s/%s", folder, file->name) < 0) {
        path = NULL;
        return dmsg_fail_memory(error);
    }
    return replace_file(path, dmsg_buffer_span(&out), error);
}

static int write_folder(
    const struct certificate_files *files, const char *folder, struct dmsg_error *error)
{
    int result = 0;
    if (mkdir(folder, 0755) == 0)
        (void)chmod(folder, 0755); /* whatever the umask */
    else if (errno != EEXIST)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "making the folder %s", folder);
    for (size_t i = 0; i < files->count && result == 0; i++)
        result = write_one(&files->files[i], folder, error);
    return result;
}

int certificate_files_write(const struct certificate_files *files,
    const struct certificates_options *options, struct dmsg_error *error)
{
    const struct certificates_output *output = &options->output;
    return output->separate ? write_folder(files, output->path, error)
                            : write_bundle(files, output->path, error);
}

static int read_name(struct dmsg_name *out, const struct invocation *self, struct dmsg_error *error)
{
    const struct certificates_options *options = self->options;
    const char *name = self->command->link ? options->output.name : self->arguments[0];
    if (name == NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "--identity_name is missing");
    if (options->output.path == NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "%s is missing: where to write to",
            self->command->link ? "--output_path" : "--output");
    return name_from(out, name, "name", error);
}

int certificates_run(struct invocation *self, certificates_write *write, struct dmsg_error *error)
{
    const struct certificates_options *options = self->options;
    const struct dmsg_context context = {0};
    struct dmsg_discovery *discovery = NULL;
    const struct dmsg_peer *peer = NULL;
    struct dmsg_name name;
    int result = read_name(&name, self, error);
    if (result == 0)
        result = open_discovery(&discovery, &context, &options->dns, error);
    if (result == 0)
        result = dmsg_discovery_find(discovery, &name, LOOKUP_TIMEOUT, &peer, error);
    if (result == 0)
        result = write(self, peer, error);
    dmsg_peer_release(peer);
    dmsg_discovery_free(&discovery);
    return result;
}
