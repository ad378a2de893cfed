#include "common.h"

#include "base/cleanup.h"
#include "base/date.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "typed.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define READ_CHUNK 65536

static const struct option identity_options[] = {
    {.name = "identity",
        .argument = "NAME",
        .kind = OPTION_TEXT,
        .at = offsetof(struct identity_options, name),
        .variable = "IDENTITY_NAME",
        .help = "own DNS name"},
    {.name = "crypto-path",
        .argument = "FOLDER",
        .kind = OPTION_TEXT,
        .at = offsetof(struct identity_options, crypto_path),
        .variable = "CRYPTO_PATH",
        .help = "keys and certificates"},
};
const struct option_group identity_group = {"Identity", identity_options, COUNT(identity_options)};

static const struct option dns_options[] = {
    {.name = "dns-server",
        .argument = "ADDR[@PORT]",
        .kind = OPTION_LIST,
        .at = offsetof(struct dns_options, servers),
        .help = "ask here (repeatable)"},
    {.name = "dns-stub",
        .argument = "ZONE=ADDR[@PORT]",
        .kind = OPTION_LIST,
        .at = offsetof(struct dns_options, stubs),
        .help = "ask here for this zone (repeatable)"},
    {.name = "trust-anchor",
        .argument = "FILE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct dns_options, trust_anchor),
        .help = "DS or DNSKEY records in place of the root's"},
    {.name = "serve-stale",
        .argument = "TIME",
        .kind = OPTION_DURATION,
        .at = offsetof(struct dns_options, serve_stale),
        .least = 0,
        .help = "use keys so long past their TTL while DNS is away (0)"},
    {.name = "ca-file",
        .argument = "FILE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct dns_options, ca_file),
        .help = "intermediate certificates for usage 1"},
    {.name = "pkix-cd",
        .kind = OPTION_FLAG,
        .at = offsetof(struct dns_options, pkix_cd),
        .help = "believe usage 4, by CA certificates fetched over HTTPS"},
    {.name = "authority",
        .argument = "HOST=ADDR[@PORT]",
        .kind = OPTION_LIST,
        .at = offsetof(struct dns_options, authorities),
        .help = "fetch from this address for this host (repeatable)"},
    {.name = "resolver",
        .argument = "FILE",
        .kind = OPTION_TEXT,
        .at = offsetof(struct dns_options, resolver),
        .help = "program that resolves and fetches (this one, run again)"},
};
const struct option_group dns_group = {"DNS", dns_options, COUNT(dns_options)};

const char *dns_status_word(enum dmsg_dns_status status)
{
    static const char *const words[] = {[DMSG_DNS_SECURE] = "secure",
        [DMSG_DNS_INSECURE] = "insecure",
        [DMSG_DNS_BOGUS] = "bogus",
        [DMSG_DNS_NOT_NOW] = "not-now"};
    return words[status];
}

int name_from(struct dmsg_name *out, const char *text, const char *what, struct dmsg_error *error)
{
    struct dmsg_error why;
    if (dmsg_name_parse(out, dmsg_span_text(text), &why) < 0)
        return dmsg_fail(error, DMSG_E_USAGE, "the %s '%s' is %s", what, text, why.text);
    return 0;
}

int row_from(int64_t *out, const char *text, const char *list, struct dmsg_error *error)
{
    char *end = NULL;
    errno = 0;
    long long row = strtoll(text, &end, 10);
    if (errno != 0 || end == text || *end != '\0' || row < 1)
        return dmsg_fail(error, DMSG_E_USAGE, "ROW is a number, the first column of `%s`", list);
    *out = row;
    return 0;
}

int own_name(
    struct dmsg_name *out, const struct identity_options *options, struct dmsg_error *error)
{
    if (options->name == NULL)
        return dmsg_fail(
            error, DMSG_E_LOCAL, "no own name is given: set IDENTITY_NAME, or use --identity NAME");
    return name_from(out, options->name, "own name", error);
}

/* FOLDER/sub, or the XDG folder, or below HOME; root's is fixed. */
static int default_folder(char **out, const char *root, const char *variable,
    const char *below_home, const char *sub, const char *option, struct dmsg_error *error)
{
    const char *xdg = getenv(variable), *home = getenv("HOME");
    int size;
    if (geteuid() == 0)
        size = asprintf(out, "%s", root);
    else if (xdg != NULL && xdg[0] == '/')
        size = asprintf(out, "%s/%s", xdg, sub);
    else if (home != NULL && home[0] == '/')
        size = asprintf(out, "%s/%s/%s", home, below_home, sub);
    else
        return dmsg_fail(error, DMSG_E_LOCAL,
            "neither HOME nor %s names a folder: set one of them, or %s", variable, option);
    return size < 0 ? dmsg_fail_memory(error) : 0;
}

int crypto_folder(char **out, const struct identity_options *options, struct dmsg_error *error)
{
    if (options->crypto_path == NULL)
        return default_folder(out, "/var/lib/danemsg/identity", "XDG_DATA_HOME", ".local/share",
            "danemsg/identity", "CRYPTO_PATH (--crypto-path)", error);
    *out = strdup(options->crypto_path);
    return *out == NULL ? dmsg_fail_memory(error) : 0;
}

static int make_folders(char *path, struct dmsg_error *error)
{
    for (char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
        if (slash != NULL)
            *slash = '\0';
        int made = mkdir(path, 0700);
        if (made < 0 && errno != EEXIST)
            return dmsg_fail_errno(error, DMSG_E_LOCAL, "making the folder %s", path);
        if (slash == NULL)
            return 0;
        *slash = '/';
    }
}

int state_path(char **out, const char *option, struct dmsg_error *error)
{
    if (option == NULL)
        return default_folder(out, "/var/lib/danemsg", "XDG_STATE_HOME", ".local/state", "danemsg",
            "DANEMSG_STATE (--state)", error);
    if (option[0] == '\0')
        return dmsg_fail(error, DMSG_E_USAGE, "--state wants a folder, not an empty text");
    *out = strdup(option);
    return *out == NULL ? dmsg_fail_memory(error) : 0;
}

int state_folder(char **out, const char *option, struct dmsg_error *error)
{
    char *path DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    int result = state_path(&path, option, error);
    if (result == 0)
        result = make_folders(path, error);
    if (result < 0)
        return result;
    *out = path;
    path = NULL;
    return 0;
}

int state_file_path(char **out, const char *option, const struct dmsg_name *name,
    const char *suffix, struct dmsg_error *error)
{
    char *folder DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    char *path = NULL;
    int result = state_path(&folder, option, error);
    if (result < 0)
        return result;
    if (asprintf(&path, "%s/%s.%s", folder, name->text, suffix) < 0)
        return dmsg_fail_memory(error);
    *out = path;
    return 0;
}

int state_file(char **out, const char *option, const struct dmsg_name *name, const char *suffix,
    struct dmsg_error *error)
{
    char *folder DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    int result = state_folder(&folder, option, error);
    return result < 0 ? result : state_file_path(out, option, name, suffix, error);
}

int own_identity(struct dmsg_identity **out, const struct dmsg_context *context,
    const struct identity_options *options, struct dmsg_error *error)
{
    char *folder DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    struct dmsg_name name;
    int result = own_name(&name, options, error);
    if (result == 0)
        result = crypto_folder(&folder, options, error);
    if (result == 0)
        result = dmsg_identity_load(out, context, folder, &name, error);
    return result;
}

void discovery_config(struct dmsg_discovery_config *out, const struct dns_options *options)
{
    static const char *const arguments[] = {RESOLVER_ARGUMENT, NULL};
    *out = (struct dmsg_discovery_config){
        .resolver.servers = options->servers.items,
        .resolver.server_count = options->servers.count,
        .resolver.stubs = options->stubs.items,
        .resolver.stub_count = options->stubs.count,
        .resolver.trust_anchor = options->trust_anchor,
        .resolver.program = options->resolver,
        .serve_stale = options->serve_stale,
        .ca_file = options->ca_file,
        .pkix_cd = options->pkix_cd,
        .authorities = options->authorities.items,
        .authority_count = options->authorities.count,
    };
    if (options->resolver == NULL) {
        out->resolver.program =
            "/proc/self/exe"; /* the same even when the file was replaced meanwhile */
        out->resolver.program_arguments = arguments;
    }
}

int start_discovery(struct dmsg_discovery **out, const struct dmsg_context *context,
    const struct dmsg_discovery_config *config, struct dmsg_error *error)
{
    if (config->authority_count > 0 && !config->pkix_cd)
        return dmsg_fail(error, DMSG_E_USAGE, "--authority does nothing without --pkix-cd");
    return dmsg_discovery_new(out, context, config, error);
}

int open_discovery(struct dmsg_discovery **out, const struct dmsg_context *context,
    const struct dns_options *options, struct dmsg_error *error)
{
    char *folder DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    char *trust DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    const char *state = getenv("DANEMSG_STATE");
    struct dmsg_discovery_config config;
    discovery_config(&config, options);
    /* Whoever has no such folder has no receiver that keeps the anchors there. */
    if (state_path(&folder, state != NULL && *state != '\0' ? state : NULL, NULL) == 0 &&
        asprintf(&trust, "%s/" TRUST_FOLDER, folder) < 0)
        trust = NULL;
    config.resolver.trust_folder = trust;
    config.resolver.trust_read_only = true;
    return start_discovery(out, context, &config, error);
}

/* ------------------------------------------------------------------------- input and output */

static int read_descriptor(
    struct dmsg_buffer *out, int fd, const char *called, struct dmsg_error *error)
{
    for (;;) {
        /* One octet over the limit shows that there is more. */
        size_t room = out->limit == 0 ? READ_CHUNK : out->limit - out->size + 1;
        uint8_t chunk[READ_CHUNK];
        ssize_t got = read(fd, chunk, room < sizeof chunk ? room : sizeof chunk);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return dmsg_fail_errno(error, DMSG_E_LOCAL, "reading %s", called);
        if (got == 0)
            return 0;
        dmsg_buffer_put(out, chunk, (size_t)got);
        explicit_bzero(chunk, (size_t)got); /* a message or a password */
        if (out->failed)
            return dmsg_fail(
                error, DMSG_E_SIZE, "%s is over the limit of %zu octets", called, out->limit);
    }
}

int read_input(struct dmsg_buffer *out, const char *path, struct dmsg_error *error)
{
    int fd DMSG_CLEANUP(dmsg_cleanup_fd) = -1;
    if (strcmp(path, "-") == 0)
        return read_descriptor(out, STDIN_FILENO, "standard input", error);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "opening %s", path);
    return read_descriptor(out, fd, path, error);
}

struct dmsg_span without_line_end(struct dmsg_span text)
{
    while (text.size > 0 && (text.data[text.size - 1] == '\n' || text.data[text.size - 1] == '\r'))
        text.size--;
    return text;
}

int write_output(FILE *stream, struct dmsg_span data, struct dmsg_error *error)
{
    if ((data.size > 0 && fwrite(data.data, 1, data.size, stream) != data.size) ||
        fflush(stream) != 0 || ferror(stream) != 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "writing the output");
    return 0;
}

int write_payload(struct dmsg_span payload, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {0};
    if (!isatty(STDOUT_FILENO))
        return write_output(stdout, payload, error);
    dmsg_text_escape(&text, payload, false);
    return text.failed ? dmsg_fail_memory(error)
                       : write_output(stdout, dmsg_buffer_span(&text), error);
}

static int write_all(int fd, struct dmsg_span data)
{
    while (data.size > 0) {
        ssize_t written = write(fd, data.data, data.size);
        if (written < 0 && errno != EINTR)
            return -1;
        data.data += written > 0 ? written : 0;
        data.size -= written > 0 ? (size_t)written : 0;
    }
    return 0;
}

/* /dev/stdout, a FIFO, a link to elsewhere: what stands there is not taken away for a file. A link
   to nothing is. */
static bool is_written_through(const char *path)
{
    struct stat facts;
    return lstat(path, &facts) == 0 && !S_ISREG(facts.st_mode) && access(path, F_OK) == 0;
}

static int write_through(const char *path, struct dmsg_span data, struct dmsg_error *error)
{
    int fd DMSG_CLEANUP(dmsg_cleanup_fd) = open(path, O_WRONLY | O_TRUNC | O_NOCTTY | O_CLOEXEC);
    if (fd < 0 || write_all(fd, data) < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "writing %s", path);
    return 0;
}

int replace_file(const char *path, struct dmsg_span data, struct dmsg_error *error)
{
    char *beside DMSG_CLEANUP(dmsg_cleanup_free) = NULL;
    int fd DMSG_CLEANUP(dmsg_cleanup_fd) = -1;
    if (strcmp(path, "-") == 0)
        return write_output(stdout, data, error);
    if (is_written_through(path))
        return write_through(path, data, error);
    if (asprintf(&beside, "%s.XXXXXX", path) < 0) {
        beside = NULL;
        return dmsg_fail_memory(error);
    }
    fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0)
        return dmsg_fail_errno(error, DMSG_E_LOCAL, "writing %s", path);
    if (write_all(fd, data) < 0 || fchmod(fd, 0644) < 0 || fsync(fd) < 0 ||
        rename(beside, path) < 0) {
        int result = dmsg_fail_errno(error, DMSG_E_LOCAL, "writing %s", path);
        (void)unlink(beside);
        return result;
    }
    return 0;
}

/* Of the whole program: set once, at its start. */
static bool notes_are_json;
static print_more *after_errors;

void print_after_errors(print_more *more)
{
    after_errors = more;
}

void print_json_notes(void)
{
    notes_are_json = true;
}

void json_event_begin(
    struct dmsg_buffer *out, const char *program, const char *level, const char *word)
{
    char now[32];
    time_text(now, time(NULL));
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "time", now);
    json_member_text(out, "program", program);
    if (*word != '\0')
        json_member_text(out, "outcome", word);
    json_member_text(out, "level", level);
}

static void print_line(const char *program, const char *level, const char *word, const char *text)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer typed = {0};
    struct dmsg_buffer line = {0};
    put_typed(&typed, dmsg_span_text(text));
    if (notes_are_json) {
        json_event_begin(&line, program, level, word);
        json_member(&line, "text", dmsg_buffer_span(&typed));
        dmsg_buffer_put_text(&line, "}\n");
    } else {
        dmsg_buffer_format(&line, "%s: %s%s", program, word, *word != '\0' ? ": " : "");
        dmsg_text_escape(&line, dmsg_buffer_span(&typed), true);
        dmsg_buffer_put_byte(&line, '\n');
    }
    if (!line.failed && !typed.failed)
        fwrite(line.data, 1, line.size, stderr);
    dmsg_buffer_done(&line);
}

void print_error(const char *program, const struct dmsg_error *error)
{
    print_line(program, "error", error->code == DMSG_E_USAGE ? "" : dmsg_error_word(error->code),
        error->text);
    if (after_errors != NULL)
        after_errors(program, error);
}

void print_note(const char *program, const char *format, ...)
{
    char text[2 * DMSG_ERROR_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    print_line(program, "info", "", text);
}

void json_key(struct dmsg_buffer *out, const char *name)
{
    bool first = out->size > 0 && (out->data[out->size - 1] == '{');
    dmsg_buffer_format(out, "%s\"%s\":", first ? "" : ",", name);
}

void json_member(struct dmsg_buffer *out, const char *name, struct dmsg_span value)
{
    json_key(out, name);
    dmsg_json_put_string(out, value);
}

void json_member_text(struct dmsg_buffer *out, const char *name, const char *value)
{
    json_member(out, name, dmsg_span_text(value));
}

void json_member_number(struct dmsg_buffer *out, const char *name, int64_t value)
{
    json_key(out, name);
    dmsg_buffer_format(out, "%lld", (long long)value);
}

void json_member_bool(struct dmsg_buffer *out, const char *name, bool value)
{
    json_key(out, name);
    dmsg_buffer_put_text(out, value ? "true" : "false");
}

void time_text(char out[static 32], int64_t seconds)
{
    if (!dmsg_date_text(out, seconds))
        snprintf(out, 32, "%lld", (long long)seconds);
}
