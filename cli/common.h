/* What several commands need: shared options, own identity, discovery, files, output. */
#ifndef DANEMSG_CLI_COMMON_H
#define DANEMSG_CLI_COMMON_H

#include "base/log.h"
#include "command.h"
#include "danemsg/context.h"
#include "danemsg/identity.h"
#include "danemsg/resolver.h"
#include "danemsg/span.h"

#include <stdio.h>

/* The argument, hidden from help, with which the program is its own resolver process. */
#define RESOLVER_ARGUMENT "--be-the-resolver"

/* Milliseconds that a command waits for one name's answer: longer than the resolver's own ten
   seconds, so that it is the one to say what was wrong. */
#define LOOKUP_TIMEOUT 12000

/* MQTT's largest packet (MQTT 5 section 2.1.4): what a user may raise a limit to, and the most that
   is read of an input. A payload that is too large for its message is refused with the size that
   would fit. */
#define INPUT_MAX 268435455

struct identity_options {
    const char *name;        /* --identity, IDENTITY_NAME */
    const char *crypto_path; /* --crypto-path, CRYPTO_PATH */
};
extern const struct option_group identity_group;

struct dns_options {
    struct text_list servers;
    struct text_list stubs;
    const char *trust_anchor;
    int64_t serve_stale;
    const char *ca_file;
    bool pkix_cd;
    struct text_list authorities;
    const char *resolver;
};
extern const struct option_group dns_group;

/* "secure", "insecure", "bogus", "not-now". */
const char *dns_status_word(enum dmsg_dns_status status);

/* A name from the command line or a variable; a bad one is DMSG_E_USAGE. what: "recipient". */
int name_from(struct dmsg_name *out, const char *text, const char *what,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* A row of the inbox or the outbox from the command line. list: "inbox list", which shows it. */
int row_from(
    int64_t *out, const char *text, const char *list, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Own name; DMSG_E_LOCAL when none is given. */
int own_name(struct dmsg_name *out, const struct identity_options *options,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* Folder of keys: the option, or the default of the README. The caller frees it. */
int crypto_folder(
    char **out, const struct identity_options *options, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Folder of state (databases, client ids), made if it is not there; state_path: not made. The
   caller frees it. */
int state_path(char **out, const char *option, struct dmsg_error *error) DMSG_MUST_CHECK;
int state_folder(char **out, const char *option, struct dmsg_error *error) DMSG_MUST_CHECK;
/* A file of a name in it, "STATE/NAME.db" with the suffix "db"; state_file_path: the folder is not
   made. The caller frees the path. */
int state_file_path(char **out, const char *option, const struct dmsg_name *name,
    const char *suffix, struct dmsg_error *error) DMSG_MUST_CHECK;
int state_file(char **out, const char *option, const struct dmsg_name *name, const char *suffix,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* own_name and crypto_folder, then reads the files. */
int own_identity(struct dmsg_identity **out, const struct dmsg_context *context,
    const struct identity_options *options, struct dmsg_error *error) DMSG_MUST_CHECK;

/* What the options say; borrows them. */
void discovery_config(struct dmsg_discovery_config *out, const struct dns_options *options);

/* Of the state folder: where the root's trust anchors are kept up to date. */
#define TRUST_FOLDER "trust"

/* dmsg_discovery_new, of options that go together. */
int start_discovery(struct dmsg_discovery **out, const struct dmsg_context *context,
    const struct dmsg_discovery_config *config, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Starts the resolver process, which only reads the trust anchors that a receiver keeps up to date.
   Before any key is read. */
int open_discovery(struct dmsg_discovery **out, const struct dmsg_context *context,
    const struct dns_options *options, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Appends a file's content ("-": standard input), at most out->limit: DMSG_E_SIZE over it. */
int read_input(struct dmsg_buffer *out, const char *path, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Without the line ends that an editor or echo puts after a compact envelope. */
struct dmsg_span without_line_end(struct dmsg_span text);

/* Writes all of it and flushes: a full disk or a closed pipe is an error. */
int write_output(FILE *stream, struct dmsg_span data, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Somebody's octets on stdout as they are; on a terminal, which would obey them, control characters
   and what is not UTF-8 are escaped. */
int write_payload(struct dmsg_span payload, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Puts a file that everybody may read in the place of the file that is there: written beside and
   renamed, so that nobody sees half of it. A device, a FIFO or a link is written to. "-": standard
   output. */
int replace_file(const char *path, struct dmsg_span data, struct dmsg_error *error) DMSG_MUST_CHECK;

/* "danemsg send: broker: text" on stderr, escaped; the word is left out for a usage error. */
void print_error(const char *program, const struct dmsg_error *error);
/* What has more to say is called after each, from now on; NULL: nobody. */
typedef void print_more(const char *program, const struct dmsg_error *error);
void print_after_errors(print_more *more);

/* From now on both of these are JSON objects, one a line (--log-json). */
void print_json_notes(void);
/* Begins such an object: time, program, outcome unless the word is empty, and level. */
void json_event_begin(
    struct dmsg_buffer *out, const char *program, const char *level, const char *word);

/* "danemsg receive: text" on stderr. */
void print_note(const char *program, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* Appends `,"name":"value"` (or without the comma after '{'), for objects made by hand. */
void json_member(struct dmsg_buffer *out, const char *name, struct dmsg_span value);
void json_member_text(struct dmsg_buffer *out, const char *name, const char *value);
void json_member_number(struct dmsg_buffer *out, const char *name, int64_t value);
void json_member_bool(struct dmsg_buffer *out, const char *name, bool value);
/* Appends `,"name":` (or without the comma after '{'), for a value to follow. */
void json_key(struct dmsg_buffer *out, const char *name);

/* "2026-11-23T06:00:00Z" of seconds since 1970, NUL-terminated. */
void time_text(char out[static 32], int64_t seconds);

#endif
