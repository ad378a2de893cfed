/* Certificates of names, written to files: what certs and ca-certs have in common. */
#ifndef DANEMSG_CLI_CERTIFICATES_H
#define DANEMSG_CLI_CERTIFICATES_H

#include "common.h"

/* What both say about their files, in the words of the commands and of the links. */
struct certificates_output {
    const char *name; /* of the links; of the commands it is an argument */
    const char *path;
    bool separate;
};
extern const struct option_group certificates_group;
extern const struct option_group certificates_link_group;

struct certificates_options {
    struct dns_options dns;
    struct certificates_output output;
    bool dane_ee, pkix_ee, only_pkix_cd; /* of certs */
};

/* One certificate to be written, and what its file is called where each has its own. */
struct certificate_file {
    X509 *certificate; /* owned */
    char name[2 * DMSG_NAME_TEXT];
};

#define CERTIFICATE_FILES_MAX DMSG_ANSWER_RECORDS_MAX

struct certificate_files {
    size_t count;
    struct certificate_file files[CERTIFICATE_FILES_MAX];
};

/* Adds a reference, once for each certificate; NULL when there is no room or it is there already,
   else where its name goes. */
struct certificate_file *certificate_files_add(struct certificate_files *files, X509 *certificate);
void certificate_files_done(struct certificate_files *files);

/* All of them into one file, or each into its own in a folder, which is made. Nothing is written
   of none. */
int certificate_files_write(const struct certificate_files *files,
    const struct certificates_options *options, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Looks the name up and lets `write` choose: a command's run, whose options are
   struct certificates_options. */
typedef int certificates_write(
    const struct invocation *self, const struct dmsg_peer *peer, struct dmsg_error *error);
int certificates_run(
    struct invocation *self, certificates_write *write, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
