#include "broker.h"

#include "base/fail.h"

#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define PORT_TLS 8883
#define URL_MAX 2048
#define PASSWORD_FILE_MAX 65536

#define TEXT(letter_, name_, argument_, member, help_)                                             \
    {                                                                                              \
        .letter = letter_, .name = name_, .argument = argument_, .kind = OPTION_TEXT,              \
        .at = offsetof(struct broker_options, member), .help = help_                               \
    }
#define FLAG(letter_, name_, member, help_)                                                        \
    {                                                                                              \
        .letter = letter_, .name = name_, .kind = OPTION_FLAG,                                     \
        .at = offsetof(struct broker_options, member), .help = help_                               \
    }

static const struct option options_table[] = {
    {.letter = 'h',
        .name = "host",
        .argument = "HOST",
        .kind = OPTION_TEXT,
        .at = offsetof(struct broker_options, host),
        .variable = "MQTT_HOST",
        .help = "broker (localhost)"},
    {.letter = 'p',
        .name = "port",
        .argument = "PORT",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct broker_options, port),
        .least = 1,
        .most = 65535,
        .variable = "MQTT_PORT",
        .help = "its port (1883, with TLS 8883)"},
    TEXT('L', "url", "URL", url, "mqtt(s)://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC]"),
    TEXT('u', "username", "NAME", username, "user name at the broker"),
    TEXT('P', "pw", "TEXT", password, "password (others see it: use the file)"),
    TEXT(0, "password-file", "FILE", password_file, "its first line is the password"),
    TEXT('i', "id", "ID", id, "client id (random)"),
    {.letter = 'k',
        .name = "keepalive",
        .argument = "SECONDS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct broker_options, keepalive),
        .least = 5,
        .most = 65535,
        .help = "sign of life (60)"},
    TEXT('V', "protocol-version", "VERSION", version, "5 (default) or 311"),
    FLAG(0, "tls", tls, "TLS with the system's CAs"),
    FLAG(0, "tls-use-os-certs", tls, "the same"),
    TEXT(0, "cafile", "FILE", ca_file, "TLS with these CAs"),
    TEXT(0, "capath", "FOLDER", ca_folder, "TLS with these CAs"),
    FLAG(0, "broker-dane", dane, "TLS, judged by the TLSA record _PORT._tcp.HOST"),
    TEXT(0, "cert", "FILE", certificate, "client certificate"),
    TEXT(0, "key", "FILE", key, "its key"),
    FLAG(0, "identity-cert", identity_certificate, "the identity's is the client certificate"),
    TEXT(0, "tls-version", "VERSION", tls_version, "the least: tlsv1.2 (default) or tlsv1.3"),
    TEXT(0, "tls-alpn", "PROTOCOL", alpn, "ask for this protocol"),
    TEXT(0, "will-topic", "TOPIC", will_topic, "the broker's word if we vanish"),
    TEXT(0, "will-payload", "TEXT", will_payload, "what it says; not encrypted"),
    {.name = "will-qos",
        .argument = "QOS",
        .kind = OPTION_NUMBER,
        .at = offsetof(struct broker_options, will_qos),
        .least = 0,
        .most = 2,
        .help = "its quality of service (0)"},
    FLAG(0, "will-retain", will_retain, "the broker keeps it"),
    FLAG('d', "debug", debug, "show what goes on with the broker"),
};
const struct option_group broker_group = {"Broker", options_table, COUNT(options_table)};

/* ------------------------------------------------------------------------------------- URL */

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* %XX in place (RFC 3986 section 2.1). */
static int unescape(char *text)
{
    char *to = text;
    for (; *text != '\0'; text++) {
        if (*text != '%') {
            *to++ = *text;
            continue;
        }
        int high = hex_value(text[1]);
        int low = high < 0 ? -1 : hex_value(text[2]);
        if (low < 0 || (high == 0 && low == 0))
            return -1;
        *to++ = (char)(high << 4 | low);
        text += 2;
    }
    *to = '\0';
    return 0;
}

static int fail_url(struct dmsg_error *error)
{
    return dmsg_fail(error, DMSG_E_USAGE,
        "-L wants mqtt://[USER[:PASSWORD]@]HOST[:PORT][/TOPIC], or mqtts:// for TLS");
}

static int read_authority(struct broker *out, char *authority, struct dmsg_error *error)
{
    char *at = strrchr(authority, '@');
    char *host = at != NULL ? at + 1 : authority;
    char *end = host[0] == '[' ? strchr(host, ']') : host; /* an IPv6 address has brackets */
    if (at != NULL) {
        *at = '\0';
        char *colon = strchr(authority, ':');
        if (colon != NULL) {
            *colon = '\0';
            out->config.password = colon + 1;
            if (unescape(colon + 1) < 0)
                return fail_url(error);
        }
        out->config.username = authority;
        if (unescape(authority) < 0)
            return fail_url(error);
    }
    char *colon = end != NULL ? strchr(end, ':') : NULL;
    if (colon != NULL) {
        char *rest;
        long port = strtol(colon + 1, &rest, 10);
        if (!isdigit((unsigned char)colon[1]) || *rest != '\0' || port < 1 || port > 65535)
            return fail_url(error);
        out->config.port = (int)port;
        *colon = '\0';
    }
    if (end != NULL && host[0] == '[') {
        if (end[1] != '\0')
            return fail_url(error);
        *end = '\0';
        host++;
    }
    if (end == NULL || *host == '\0')
        return fail_url(error);
    out->config.host = host;
    return 0;
}

static int read_url(struct broker *out, const char *url, struct dmsg_error *error)
{
    if (strncmp(url, "mqtts://", 8) == 0)
        out->config.tls = true;
    else if (strncmp(url, "mqtt://", 7) != 0)
        return fail_url(error);
    if (strlen(url) > URL_MAX)
        return fail_url(error);
    dmsg_buffer_put(&out->url, url, strlen(url) + 1);
    if (out->url.failed)
        return dmsg_fail_memory(error);
    char *authority = strstr((char *)out->url.data, "://") + 3;
    out->config.port = 0;
    char *slash = strchr(authority, '/');
    if (slash != NULL) {
        *slash = '\0';
        if (slash[1] != '\0')
            out->topic = slash + 1;
        if (unescape(slash + 1) < 0)
            return fail_url(error);
    }
    return read_authority(out, authority, error);
}

/* --------------------------------------------------------------------------------- the rest */

static int read_password(struct broker *out, const char *path, struct dmsg_error *error)
{
    struct dmsg_buffer text = {.limit = PASSWORD_FILE_MAX};
    int result = read_input(&text, path, error);
    dmsg_buffer_put_span(&out->password, dmsg_buffer_span(&text));
    dmsg_buffer_put_byte(&out->password, '\0');
    dmsg_buffer_done(&text);
    if (result < 0)
        return result;
    if (out->password.failed)
        return dmsg_fail_memory(error);
    char *password = (char *)out->password.data;
    password[strcspn(password, "\r\n")] = '\0';
    out->config.password = password;
    return 0;
}

/* The environment's host and port may stand beside -L, which goes over them; -h and -p may not. */
static bool given_by_flag(const struct broker_options *options)
{
    const char *host = options->host, *ours = getenv("DANEMSG_PORT"), *port = getenv("MQTT_PORT");
    if (ours != NULL && *ours != '\0')
        port = ours;
    return (host != NULL && host != getenv("MQTT_HOST") && host != getenv("DANEMSG_HOST")) ||
           (options->port != 0 && (port == NULL || strtoll(port, NULL, 10) != options->port));
}

/* Each of them says that TLS is meant; a weaker connection must not come of it. */
static bool wants_tls(const struct broker_options *options)
{
    return options->tls || options->dane || options->ca_file != NULL ||
           options->ca_folder != NULL || options->certificate != NULL ||
           options->identity_certificate || options->tls_version != NULL || options->alpn != NULL;
}

/* What says where a key in hardware is, given as the file of one. */
static bool is_uri_file(const char *path)
{
    static const char end[] = ".key.uri";
    size_t size = strlen(path), length = sizeof end - 1;
    return size >= length && strcmp(path + size - length, end) == 0;
}

static int check(const struct broker_options *options, struct dmsg_error *error)
{
    if (options->url != NULL && given_by_flag(options))
        return dmsg_fail(
            error, DMSG_E_USAGE, "-L says which host and port: -h and -p do not go with it");
    if ((options->certificate != NULL) != (options->key != NULL))
        return dmsg_fail(error, DMSG_E_USAGE, "--cert and --key go together");
    if (options->key != NULL && is_uri_file(options->key))
        return dmsg_fail(error, DMSG_E_USAGE,
            "--key %s: a file with a key for the broker is wanted; with --identity-cert the "
            "identity's own serves, and may be in a PKCS #11 token",
            options->key);
    if (options->certificate != NULL && options->identity_certificate)
        return dmsg_fail(error, DMSG_E_USAGE, "--cert or --identity-cert, not both");
    if (options->url != NULL && strncmp(options->url, "mqtt://", 7) == 0 && wants_tls(options))
        return dmsg_fail(error, DMSG_E_USAGE,
            "-L mqtt:// is without TLS, which another option asks for: use mqtts://");
    if (options->password != NULL && options->password_file != NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "-P or --password-file, not both");
    if (options->will_topic == NULL &&
        (options->will_payload != NULL || options->will_qos != 0 || options->will_retain))
        return dmsg_fail(
            error, DMSG_E_USAGE, "--will-payload, --will-qos and --will-retain need --will-topic");
    return 0;
}

struct version {
    const char *text;
    int version;
};
static const struct version protocol_versions[] = {
    {"5", 5}, {"mqttv5", 5}, {"311", 311}, {"mqttv311", 311}, {0}};
static const struct version tls_versions[] = {{"tlsv1.2", 12}, {"tlsv1.3", 13}, {0}};

static int read_version(int *out, const char *given, const struct version *versions,
    const char *wanted, struct dmsg_error *error)
{
    if (given == NULL)
        return 0;
    for (const struct version *version = versions; version->text != NULL; version++) {
        if (strcmp(given, version->text) == 0) {
            *out = version->version;
            return 0;
        }
    }
    return dmsg_fail(error, DMSG_E_USAGE, "%s", wanted);
}

static void print_debug(void *user, const char *text)
{
    print_note(user, "%s", text);
}

int broker_read(struct broker *out, const struct broker_options *given, const char *program,
    struct dmsg_error *error)
{
    struct broker_options copy = *given;
    const struct broker_options *options = &copy;
    if (given->url == getenv("DANEMSG_URL") && given_by_flag(given))
        copy.url = NULL; /* -h and -p go over the environment */
    if (copy.certificate == NULL && copy.key == getenv("DANEMSG_KEY") && copy.key != NULL &&
        copy.key[0] != '/')
        copy.key = NULL; /* an identity's --key, for which this variable is too */
    *out = (struct broker){
        .config =
            {
                .host = options->host,
                .port = (int)options->port,
                .keepalive = (int)options->keepalive,
                .client_id = options->id,
                .username = options->username,
                .password = options->password,
                .tls = wants_tls(options) || (options->url == NULL && options->port == PORT_TLS),
                .dane = options->dane,
                .alpn = options->alpn,
                .ca_file = options->ca_file,
                .ca_folder = options->ca_folder,
                .certificate = options->certificate,
                .key = options->key,
                .will_topic = options->will_topic,
                .will_qos = (int)options->will_qos,
                .will_retain = options->will_retain,
            },
        .identity_certificate = options->identity_certificate};
    if (options->will_payload != NULL)
        out->config.will_payload = dmsg_span_text(options->will_payload);
    if (options->debug) {
        out->config.debug = print_debug;
        out->config.user = (void *)(uintptr_t)program;
    }
    int result = check(options, error);
    if (result == 0)
        result = read_version(
            &out->config.version, options->version, protocol_versions, "-V wants 5 or 311", error);
    if (result == 0)
        result = read_version(&out->config.tls_version, options->tls_version, tls_versions,
            "--tls-version wants tlsv1.2 or tlsv1.3", error);
    if (result == 0 && options->url != NULL)
        result = read_url(out, options->url, error);
    if (result == 0 && options->password_file != NULL)
        result = read_password(out, options->password_file, error);
    if (result < 0)
        broker_done(out);
    return result;
}

int broker_open(struct dmsg_mqtt **out, struct broker *broker, struct dmsg_discovery *discovery,
    const struct dmsg_identity *identity, struct dmsg_error *error)
{
    struct dmsg_mqtt_config *config = &broker->config;
    int result = 0;
    if (broker->identity_certificate) {
        const struct dmsg_identity_key *own = dmsg_identity_current(identity, DMSG_FOR_SIGNATURES);
        if (own == NULL || own->certificate == NULL)
            return dmsg_fail(error, DMSG_E_LOCAL,
                "--identity-cert: %s has no certificate beside its key; `danemsg identity new` "
                "makes both",
                dmsg_identity_name(identity)->text);
        /* TLS would take its public half into the software's provider, and sign with that. */
        if (own->context->library != NULL)
            return dmsg_fail(error, DMSG_E_LOCAL,
                "--identity-cert: TLS cannot sign with %s, a key that OpenSSL has from a provider "
                "of its own: --cert and --key name a certificate for the broker and its key file",
                own->uri != NULL ? own->uri : "this key");
        config->client_key = own->key;
        config->client_certificate = own->certificate;
    }
    if (config->dane) {
        result = broker_dane_init(&broker->dane, discovery,
            config->host != NULL ? config->host : "localhost",
            config->port != 0 ? config->port : PORT_TLS, error);
        config->dane_source = &broker->dane.source;
    }
    return result < 0 ? result : dmsg_mqtt_new(out, config, error);
}

void broker_done(struct broker *broker)
{
    broker_dane_done(&broker->dane);
    dmsg_buffer_done(&broker->url);
    dmsg_buffer_done(&broker->password);
}

int broker_step(struct dmsg_mqtt *mqtt, int most, struct dmsg_error *error)
{
    int timeout = dmsg_mqtt_timeout(mqtt);
    struct pollfd wait = {.fd = dmsg_mqtt_fd(mqtt), .events = dmsg_mqtt_events(mqtt)};
    if (poll(&wait, 1, timeout < most ? timeout : most) < 0 && errno != EINTR)
        return dmsg_fail_errno(error, DMSG_E_INTERNAL, "waiting for the broker");
    int result = dmsg_mqtt_read(mqtt, wait.revents, error);
    return result < 0 ? result : dmsg_mqtt_acknowledge(mqtt, error);
}
