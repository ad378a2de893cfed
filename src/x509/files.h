/*
 * The files of an identity: what they are called, and reading them.
 *
 *     struct dmsg_folder folder DMSG_CLEANUP(dmsg_folder_done) = DMSG_FOLDER_NONE;
 *     dmsg_folder_open(&folder, "/var/lib/danemsg/identity", &error);
 *     dmsg_file_name(file, &name, (struct dmsg_file){.kind = DMSG_FILE_KEY}, &error);
 *     dmsg_file_read_key(&key, &context, &folder, file, &error);
 *
 * Files are opened below the open folder, so that a folder that is renamed meanwhile does not mix
 * two identities.
 */
#ifndef DANEMSG_X509_FILES_H
#define DANEMSG_X509_FILES_H

#include "danemsg/identity.h"
#include "x509/certificate.h"
#include "x509/chain.h"

#include <limits.h>

/* Octets of a key file: RSA-8192 needs 6.4 KiB; of a certificate file: a leaf of our largest size
   and a chain of ordinary ones. */
#define DMSG_KEY_FILE_MAX 16384
#define DMSG_CERTIFICATE_FILE_MAX 65536
/* Octets of a file of intermediate certificates: some hundreds of them. */
#define DMSG_ISSUERS_FILE_MAX 1048576

/* What a file system takes as one name, and a NUL. */
#define DMSG_FILE_NAME_SIZE 256

enum dmsg_file_kind {
    DMSG_FILE_KEY,         /* NAME.key.pem */
    DMSG_FILE_KEY_URI,     /* NAME.key.uri */
    DMSG_FILE_CERTIFICATE, /* NAME.crt.pem */
    DMSG_FILE_REQUEST,     /* NAME.csr.pem */
    DMSG_FILE_KINDS,
};

/* One file of a name. encryption: NAME.enc.*, where decryption has a key of its own. */
struct dmsg_file {
    enum dmsg_key_role role;
    bool encryption;
    enum dmsg_file_kind kind;
};

/* Either kind of file that a private key is loaded by; a role has one of them. */
static inline bool dmsg_file_is_key(enum dmsg_file_kind kind)
{
    return kind == DMSG_FILE_KEY || kind == DMSG_FILE_KEY_URI;
}

/* All of a name's files, in the order of roles. */
#define DMSG_FILES_MAX (3 * 2 * DMSG_FILE_KINDS)

struct dmsg_file_list {
    size_t count;
    struct dmsg_file files[DMSG_FILES_MAX];
};

/* "alice.example.next.enc.key.pem". DMSG_E_NAME: the struct holds no name that can be a file's. */
int dmsg_file_name(char out[static DMSG_FILE_NAME_SIZE], const struct dmsg_name *name,
    struct dmsg_file file, struct dmsg_error *error) DMSG_MUST_CHECK;

struct dmsg_folder {
    int fd;
    const char *path; /* borrowed, for error texts */
};
#define DMSG_FOLDER_NONE                                                                           \
    {                                                                                              \
        .fd = -1                                                                                   \
    }

/* DMSG_E_LOCAL when it is not there or no folder. */
int dmsg_folder_open(
    struct dmsg_folder *out, const char *path, struct dmsg_error *error) DMSG_MUST_CHECK;
void dmsg_folder_done(struct dmsg_folder *folder);

/* 1 when something of that name is there, 0 when not, or DMSG_E_LOCAL. */
int dmsg_file_present(
    const struct dmsg_folder *folder, const char *file, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Which files of a name are in a folder. A folder that is not there has none. */
int dmsg_file_list_read(struct dmsg_file_list *out, const char *folder,
    const struct dmsg_name *name, struct dmsg_error *error) DMSG_MUST_CHECK;

/*
 * Reads a private key. DMSG_E_LOCAL, with a text that says what to do: no regular file (a symbolic
 * link neither), group or others may do anything with it, it belongs to someone who is neither us
 * nor root (root takes everyone's: it gave them away itself), too long, or not a key in PEM.
 */
int dmsg_file_read_key(EVP_PKEY **out, const struct dmsg_context *context,
    const struct dmsg_folder *folder, const char *file, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Appends a secret that is no private key (of a DNS server's), at most out->limit - 1 octets.
   Refused as above. */
int dmsg_file_read_secret(
    struct dmsg_buffer *out, const char *path, struct dmsg_error *error) DMSG_MUST_CHECK;

/* The same of a file of an identity's. */
int dmsg_file_read_secret_in(struct dmsg_buffer *out, const struct dmsg_folder *folder,
    const char *file, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Appends a file that holds no secret, at most out->limit - 1 octets. DMSG_E_LOCAL. */
int dmsg_file_read_text(struct dmsg_buffer *out, const struct dmsg_folder *folder, const char *file,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Reads the first certificate of a file, which may be a link. DMSG_E_LOCAL: not readable or not
   PEM; DMSG_E_CERTIFICATE: as dmsg_certificate_parse. */
int dmsg_file_read_certificate(struct dmsg_certificate *out, const struct dmsg_folder *folder,
    const char *file, struct dmsg_error *error) DMSG_MUST_CHECK;

/*
 * As dmsg_file_read_certificate, and the issuers that follow in the file: at most
 * DMSG_ISSUERS_MAX, each of which issued the one before. *issuers is NULL when none follow, else
 * the caller's (dmsg_chain_free). DMSG_E_LOCAL also: more, or in another order.
 */
int dmsg_file_read_chain(struct dmsg_certificate *leaf, STACK_OF(X509) * *issuers,
    const struct dmsg_folder *folder, const char *file, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Reads all certificates of a PEM file, in any order; dmsg_chain_free. DMSG_E_LOCAL: not readable,
   none in it, or one that does not parse. */
int dmsg_file_read_issuers(
    STACK_OF(X509) * *out, const char *path, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
