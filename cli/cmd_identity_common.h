/* What the `danemsg identity` commands share. */
#ifndef DANEMSG_CLI_CMD_IDENTITY_COMMON_H
#define DANEMSG_CLI_CMD_IDENTITY_COMMON_H

#include "common.h"
#include "x509/create.h"

/* A struct dmsg_subject: what a new certificate or CSR says of its owner besides the name. */
extern const struct option_group subject_group;

/* An identity, whose it is and where its files are. */
struct own_files {
    struct dmsg_name name;
    char *folder; /* freed by own_files_done */
    struct dmsg_identity *identity;
};
void own_files_done(struct own_files *own);

/* The name: the argument if there is one, else --identity; and the folder. Reads no file. */
int own_files_find(struct own_files *own, const struct invocation *self,
    const struct identity_options *options, struct dmsg_error *error) DMSG_MUST_CHECK;

/* The same with the name as the argument of that index. */
int own_files_find_at(struct own_files *own, const struct invocation *self, int index,
    const struct identity_options *options, struct dmsg_error *error) DMSG_MUST_CHECK;

/* As find, then reads the files. */
int own_files_load(struct own_files *own, const struct invocation *self,
    const struct identity_options *options, const struct dmsg_context *context,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* "current", "next", "old". */
const char *role_word(enum dmsg_key_role role);

/* "signs and decrypts" and so on. */
const char *purpose_words(unsigned purposes);

/* Appends what the owner should know about a key's certificate: expired, within 30 days of it or
   the last tenth of its life, whichever is shorter, not yet valid, not of this name. Clauses
   separated by "; "; nothing when all is well. */
void put_warnings(struct dmsg_buffer *out, const struct dmsg_identity_key *key,
    const struct dmsg_name *name, int64_t now);

/* `,"warning":"..."` if there is one. */
void json_warnings(struct dmsg_buffer *out, const struct dmsg_identity_key *key,
    const struct dmsg_name *name, int64_t now);

/* The same of every current key, as notes on stderr. */
void print_warnings(const char *program, const struct dmsg_identity *identity, int64_t now);

/* The key that --key means for an identity, or NULL: the variable DANEMSG_KEY serves the broker's
   --key too, and is that when it is a path from the root. */
const char *own_key_wanted(const char *key);

/* Exit status of the proof of concept's programs: 1 for every failure. */
int status_of_poc(int code);

#endif
