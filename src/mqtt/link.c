#include "mqtt/link.h"

#include "base/fail.h"
#include "base/utf8.h"
#include "mqtt/reasons.h"

#include <errno.h>
#include <mosquitto.h>
#include <mqtt_protocol.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* QoS 1 and 2 publishes that may be under way; the broker may allow fewer (receive maximum). */
#define SEND_MAXIMUM 1000
/* Characters of a broker's own text in a line, and of a reason with two of them, escaped. */
#define PROPERTY_SHOWN 100
#define REASON_SIZE 240

struct dmsg_link {
    struct mosquitto *mosquitto;
    struct dmsg_mqtt_tls *tls;
    struct dmsg_link_events events;
    void *user;
    void (*debug)(void *user, const char *text);
    void *debug_user;
    int version;
    int keepalive;
    bool tries_session;
    bool welcomed; /* since it was opened last */
    bool told;     /* why the broker ended it: libmosquitto calls twice, with its text once */
    char why[320]; /* what is known of why the connection ended; empty if nothing */
};

static void note(struct dmsg_link *link, const char *why)
{
    if (link->why[0] == '\0')
        snprintf(link->why, sizeof link->why, "%s", why);
}

/* -------------------------------------------------------------------- reports of libmosquitto */

/* A text of the broker's own, cut and made harmless. */
static void put_property(
    struct dmsg_buffer *out, const mosquitto_property *says, int identifier, const char *before)
{
    char *text = NULL;
    if (mosquitto_property_read_string(says, identifier, &text, false) == NULL || text == NULL)
        return;
    size_t size = strnlen(text, PROPERTY_SHOWN);
    dmsg_buffer_put_text(out, before);
    dmsg_text_escape(out, (struct dmsg_span){(const uint8_t *)text, size}, true);
    free(text);
}

/* The code in words, what the broker says about it (MQTT 5 section 3.2.2.3.9), and which server it
   names in its place (section 4.13). */
static void reason_words(
    char *out, size_t size, const char *words, int code, const mosquitto_property *says)
{
    struct dmsg_buffer line = {0};
    dmsg_buffer_format(&line, "%s (code %d)", words, code);
    put_property(&line, says, MQTT_PROP_REASON_STRING, ", the broker says: ");
    put_property(&line, says, MQTT_PROP_SERVER_REFERENCE, ", another server: ");
    dmsg_buffer_put_byte(&line, 0);
    snprintf(out, size, "%s", line.failed ? words : (const char *)line.data);
    dmsg_buffer_done(&line);
}

static void on_connect(
    struct mosquitto *mosquitto, void *user, int code, int flags, const mosquitto_property *says)
{
    struct dmsg_link *link = user;
    (void)mosquitto;
    if (code != 0) {
        char words[REASON_SIZE], why[sizeof link->why];
        reason_words(words, sizeof words, dmsg_reason_connack(code), code, says);
        snprintf(why, sizeof why, "%s%s", words, dmsg_reason_advice(code));
        note(link, why);
        link->events.dismissed(link->user, false, false, why);
        return;
    }
    link->welcomed = true;
    uint8_t qos = 2, retains = 1, wildcards = 1, shared = 1;
    uint16_t keepalive = (uint16_t)link->keepalive;
    struct dmsg_link_welcome welcome = {.session_present = (flags & 1) != 0};
    welcome.has_session_expiry =
        mosquitto_property_read_int32(
            says, MQTT_PROP_SESSION_EXPIRY_INTERVAL, &welcome.session_expiry, false) != NULL;
    mosquitto_property_read_int32(
        says, MQTT_PROP_MAXIMUM_PACKET_SIZE, &welcome.packet_maximum, false);
    mosquitto_property_read_byte(says, MQTT_PROP_MAXIMUM_QOS, &qos, false);
    mosquitto_property_read_byte(says, MQTT_PROP_RETAIN_AVAILABLE, &retains, false);
    mosquitto_property_read_byte(says, MQTT_PROP_WILDCARD_SUB_AVAILABLE, &wildcards, false);
    mosquitto_property_read_byte(says, MQTT_PROP_SHARED_SUB_AVAILABLE, &shared, false);
    mosquitto_property_read_int16(says, MQTT_PROP_RECEIVE_MAXIMUM, &welcome.receive_maximum, false);
    mosquitto_property_read_int16(says, MQTT_PROP_SERVER_KEEP_ALIVE, &keepalive, false);
    welcome.qos_maximum = qos;
    welcome.retains = retains != 0;
    welcome.wildcards = wildcards != 0;
    welcome.shared = shared != 0;
    welcome.keepalive = keepalive;
    link->events.welcomed(link->user, &welcome);
}

/* code is the broker's (0x80 and above) or one of libmosquitto's, which the caller of read or
   write learns as well. */
static void on_disconnect(
    struct mosquitto *mosquitto, void *user, int code, const mosquitto_property *says)
{
    struct dmsg_link *link = user;
    char words[REASON_SIZE];
    (void)mosquitto;
    if (code < 0x80 || link->told)
        return;
    link->told = true;
    reason_words(words, sizeof words, dmsg_reason_words(code), code, says);
    note(link, words);
    link->events.dismissed(link->user, true, code == MQTT_RC_SESSION_TAKEN_OVER, words);
}

static void on_subscribe(struct mosquitto *mosquitto, void *user, int id, int count,
    const int *granted, const mosquitto_property *says)
{
    struct dmsg_link *link = user;
    char words[REASON_SIZE];
    (void)mosquitto;
    if (count < 1)
        return;
    if (granted[0] < 0x80) {
        link->events.subscribed(link->user, id, granted[0], NULL);
        return;
    }
    reason_words(words, sizeof words, dmsg_reason_words(granted[0]), granted[0], says);
    link->events.subscribed(link->user, id, 0, words);
}

static void on_publish(
    struct mosquitto *mosquitto, void *user, int id, int code, const mosquitto_property *says)
{
    struct dmsg_link *link = user;
    char words[REASON_SIZE];
    (void)mosquitto;
    if (code >= 0x80)
        reason_words(words, sizeof words, dmsg_reason_words(code), code, says);
    link->events.published(link->user, id, code >= 0x80 ? words : NULL);
}

static void on_message(struct mosquitto *mosquitto, void *user,
    const struct mosquitto_message *message, const mosquitto_property *says)
{
    struct dmsg_link *link = user;
    (void)mosquitto, (void)says;
    struct dmsg_span payload = {message->payload, (size_t)message->payloadlen};
    /* Over TLS mosquitto_loop_read goes on for as long as packets end within records, however many
       there are; a socket that had nothing left, by errno, ends that. */
    if (!link->events.received(
            link->user, dmsg_span_text(message->topic), payload, message->retain))
        errno = EAGAIN;
}

/* A line may hold a topic, which is a stranger's text. */
static void show_line(const struct dmsg_link *link, const char *text)
{
    struct dmsg_buffer line = {0};
    dmsg_text_escape(&line, dmsg_span_text(text), true);
    dmsg_buffer_put_byte(&line, 0);
    if (!line.failed)
        link->debug(link->debug_user, (const char *)line.data);
    dmsg_buffer_done(&line);
}

/* libmosquitto logs OpenSSL's reasons ("OpenSSL Error[0]: error:CODE:library:function:reason") and
   returns nothing of them. */
static void on_log(struct mosquitto *mosquitto, void *user, int level, const char *text)
{
    struct dmsg_link *link = user;
    (void)mosquitto;
    if (level == MOSQ_LOG_ERR && strncmp(text, "OpenSSL Error[", 14) == 0) {
        char why[sizeof link->why];
        const char *reason = strrchr(text, ':') + 1;
        snprintf(why, sizeof why, "TLS: %s",
            link->tls != NULL && link->tls->why[0] != '\0' ? link->tls->why : reason);
        note(link, why);
    }
    if (link->debug != NULL)
        show_line(link, text);
}

/* ----------------------------------------------------------------------------------- making */

/* libmosquitto counts its users without a lock and its cleanup unloads OpenSSL's configuration of
   the whole process: it is initialised once and never cleaned up. */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void init_library(void)
{
    (void)mosquitto_lib_init();
}

static int fail_setting(struct dmsg_error *error, const char *what, int code)
{
    if (code == MOSQ_ERR_NOMEM)
        return dmsg_fail_memory(error);
    return dmsg_fail(error, DMSG_E_USAGE, "%s: %s", what, mosquitto_strerror(code));
}

/*
 * connect_async takes no properties (MQTT 5 section 3.1.2.11), but keeps those of an earlier
 * connect_bind_v5. One to a socket file without a name stores them and fails before it does
 * anything else.
 */
static int set_properties(
    struct dmsg_link *link, const struct dmsg_mqtt_config *config, struct dmsg_error *error)
{
    mosquitto_property *properties = NULL;
    int code = mosquitto_property_add_int32(
        &properties, MQTT_PROP_MAXIMUM_PACKET_SIZE, (uint32_t)config->packet_limit);
    if (code == MOSQ_ERR_SUCCESS && (!config->clean || config->tries_session))
        code = mosquitto_property_add_int32(
            &properties, MQTT_PROP_SESSION_EXPIRY_INTERVAL, config->session_expiry);
    if (code == MOSQ_ERR_SUCCESS) {
        code =
            mosquitto_connect_bind_v5(link->mosquitto, "", 0, config->keepalive, NULL, properties);
        if (code == MOSQ_ERR_INVAL || code == MOSQ_ERR_NOT_SUPPORTED)
            code = MOSQ_ERR_SUCCESS;
    }
    mosquitto_property_free_all(&properties);
    return code == MOSQ_ERR_SUCCESS ? 0 : fail_setting(error, "the connection's properties", code);
}

static int set_options(
    struct dmsg_link *link, const struct dmsg_mqtt_config *config, struct dmsg_error *error)
{
    struct mosquitto *m = link->mosquitto;
    int code = mosquitto_int_option(
        m, MOSQ_OPT_PROTOCOL_VERSION, config->version == 5 ? MQTT_PROTOCOL_V5 : MQTT_PROTOCOL_V311);
    if (code == MOSQ_ERR_SUCCESS)
        code = mosquitto_int_option(m, MOSQ_OPT_RECEIVE_MAXIMUM, DMSG_RECEIVE_MAX);
    if (code == MOSQ_ERR_SUCCESS)
        code = mosquitto_int_option(m, MOSQ_OPT_SEND_MAXIMUM, SEND_MAXIMUM);
    if (code == MOSQ_ERR_SUCCESS)
        code = mosquitto_int_option(m, MOSQ_OPT_TCP_NODELAY, 1);
    /* With this, what it has to send is queued until we write. */
    if (code == MOSQ_ERR_SUCCESS)
        code = mosquitto_threaded_set(m, true);
    if (code == MOSQ_ERR_SUCCESS && link->tls != NULL)
        code = mosquitto_int_option(m, MOSQ_OPT_SSL_CTX_WITH_DEFAULTS, 0);
    if (code == MOSQ_ERR_SUCCESS && link->tls != NULL)
        code = mosquitto_void_option(m, MOSQ_OPT_SSL_CTX, link->tls->context);
    if (code != MOSQ_ERR_SUCCESS)
        return fail_setting(error, "setting up MQTT", code);
    code = mosquitto_username_pw_set(m, config->username, config->password);
    if (code != MOSQ_ERR_SUCCESS)
        return fail_setting(error, "the broker's user name and password", code);
    if (config->will_topic == NULL)
        return 0;
    code = mosquitto_will_set(m, config->will_topic, (int)config->will_payload.size,
        config->will_payload.data, config->will_qos, config->will_retain);
    return code == MOSQ_ERR_SUCCESS ? 0 : fail_setting(error, "the will", code);
}

static void set_callbacks(struct mosquitto *m)
{
    mosquitto_connect_v5_callback_set(m, on_connect);
    mosquitto_disconnect_v5_callback_set(m, on_disconnect);
    mosquitto_subscribe_v5_callback_set(m, on_subscribe);
    mosquitto_publish_v5_callback_set(m, on_publish);
    mosquitto_message_v5_callback_set(m, on_message);
    mosquitto_log_callback_set(m, on_log);
}

int dmsg_link_new(struct dmsg_link **out, const struct dmsg_mqtt_config *config,
    struct dmsg_mqtt_tls *tls, const struct dmsg_link_events *events, void *user,
    struct dmsg_error *error)
{
    struct dmsg_link *link = calloc(1, sizeof *link);
    if (link == NULL)
        return dmsg_fail_memory(error);
    pthread_once(&once, init_library);
    *link = (struct dmsg_link){.tls = tls,
        .events = *events,
        .user = user,
        .debug = config->debug,
        .debug_user = config->user,
        .version = config->version,
        .keepalive = config->keepalive,
        .tries_session = config->tries_session && config->version == 5};
    link->mosquitto = mosquitto_new(config->client_id, config->clean, link);
    if (link->mosquitto == NULL) {
        free(link);
        return errno == ENOMEM ? dmsg_fail_memory(error)
                               : dmsg_fail(error, DMSG_E_USAGE, "the client id is not usable");
    }
    set_callbacks(link->mosquitto);
    int code = set_options(link, config, error);
    if (code == 0 && config->version == 5)
        code = set_properties(link, config, error);
    if (code < 0) {
        dmsg_link_free(&link);
        return code;
    }
    *out = link;
    return 0;
}

void dmsg_link_free(struct dmsg_link **link)
{
    if (link == NULL || *link == NULL)
        return;
    mosquitto_destroy((*link)->mosquitto);
    free(*link);
    *link = NULL;
}

/* ------------------------------------------------------------------------------- connecting */

static int fail_ended(const struct dmsg_link *link, struct dmsg_error *error)
{
    if (link->tls != NULL && !link->welcomed)
        return dmsg_fail(error, DMSG_E_BROKER,
            "the broker closed the connection during or right after the TLS handshake; it may want "
            "a client certificate, or not speak TLS on this port");
    return dmsg_fail(error, DMSG_E_BROKER, "the broker closed the connection");
}

/* Why a call of libmosquitto failed: what the broker or TLS said, else what the system says. */
static int fail_call(struct dmsg_link *link, int code, struct dmsg_error *error)
{
    int number = code == MOSQ_ERR_ERRNO ? errno : 0;
    if (link->why[0] != '\0')
        return dmsg_fail(error, DMSG_E_BROKER, "%s", link->why);
    switch (code) {
    case MOSQ_ERR_ERRNO:
        /* No number: the end came within a packet. EPROTO: libmosquitto's for TLS, which had no
           reason of its own. */
        if (number == 0 || number == EPROTO || number == ECONNRESET)
            return fail_ended(link, error);
        return dmsg_fail(error, DMSG_E_BROKER, "%s", strerror(number));
    case MOSQ_ERR_SUCCESS:
    case MOSQ_ERR_CONN_LOST:
    case MOSQ_ERR_NO_CONN:
        return fail_ended(link, error);
    case MOSQ_ERR_KEEPALIVE:
        return dmsg_fail(error, DMSG_E_BROKER, "no answer to a ping within the keepalive time");
    case MOSQ_ERR_NOMEM: /* the broker decides how large the packets are that it claims to send */
        return dmsg_fail(error, DMSG_E_BROKER, "no memory for what the broker sends");
    default: {
        size_t length = strcspn(mosquitto_strerror(code), ".");
        return dmsg_fail(error, DMSG_E_BROKER, "%.*s", (int)length, mosquitto_strerror(code));
    }
    }
}

/* With TLS it writes at once, and where a port refuses as fast (on the own machine) that takes the
   socket's error, which nobody would see again: only errno has it still. */
static int early_failure(const struct dmsg_link *link)
{
    int number = errno, pending = 0;
    socklen_t size = sizeof pending;
    struct pollfd wait = {.fd = dmsg_link_fd(link)};
    if (link->tls == NULL || poll(&wait, 1, 0) != 1 || (wait.revents & POLLHUP) == 0)
        return 0;
    (void)getsockopt(wait.fd, SOL_SOCKET, SO_ERROR, &pending, &size);
    return pending != 0 ? pending : number;
}

int dmsg_link_open(struct dmsg_link *link, const char *address, int port, struct dmsg_error *error)
{
    link->why[0] = '\0';
    link->welcomed = link->told = false;
    if (link->tls != NULL)
        link->tls->why[0] = '\0';
    errno = 0;
    int code = mosquitto_connect_async(link->mosquitto, address, port, link->keepalive);
    int failure = code == MOSQ_ERR_SUCCESS ? early_failure(link) : 0;
    if (failure != 0) {
        errno = failure;
        code = MOSQ_ERR_ERRNO;
    }
    return code == MOSQ_ERR_SUCCESS ? 0 : fail_call(link, code, error);
}

int dmsg_link_fd(const struct dmsg_link *link)
{
    return mosquitto_socket(link->mosquitto);
}

int dmsg_link_established(const struct dmsg_link *link, struct dmsg_error *error)
{
    int result = 0;
    socklen_t size = sizeof result;
    if (getsockopt(dmsg_link_fd(link), SOL_SOCKET, SO_ERROR, &result, &size) < 0)
        result = errno;
    if (result == ECONNRESET) /* it was established, and is gone again */
        return fail_ended(link, error);
    return result == 0 ? 0 : dmsg_fail(error, DMSG_E_BROKER, "%s", strerror(result));
}

bool dmsg_link_handshaking(const struct dmsg_link *link)
{
    const SSL *ssl = mosquitto_ssl_get(link->mosquitto);
    return ssl != NULL && !SSL_is_init_finished(ssl);
}

bool dmsg_link_wants_write(const struct dmsg_link *link)
{
    const SSL *ssl = mosquitto_ssl_get(link->mosquitto);
    /* libmosquitto goes on wanting to write while the handshake waits for an answer. */
    if (ssl != NULL && !SSL_is_init_finished(ssl))
        return SSL_want_write(ssl);
    return mosquitto_want_write(link->mosquitto);
}

bool dmsg_link_has_pending(const struct dmsg_link *link)
{
    const SSL *ssl = mosquitto_ssl_get(link->mosquitto);
    return ssl != NULL && dmsg_link_fd(link) >= 0 && SSL_pending(ssl) > 0;
}

/* -------------------------------------------------------------------------- reading, writing */

/* A connection that was closed cleanly is lost as well, though the call succeeded. */
static int judge_call(struct dmsg_link *link, int code, struct dmsg_error *error)
{
    if (code == MOSQ_ERR_SUCCESS && dmsg_link_fd(link) >= 0)
        return 0;
    return fail_call(link, code, error);
}

int dmsg_link_read(struct dmsg_link *link, struct dmsg_error *error)
{
    errno = 0;
    return judge_call(link, mosquitto_loop_read(link->mosquitto, 1), error);
}

/* libmosquitto writes each packet by itself; the kernel is to send them together. */
static void cork(const struct dmsg_link *link, int on)
{
    if (dmsg_link_fd(link) >= 0)
        (void)setsockopt(dmsg_link_fd(link), IPPROTO_TCP, TCP_CORK, &on, sizeof on);
}

int dmsg_link_write(struct dmsg_link *link, struct dmsg_error *error)
{
    bool any = dmsg_link_wants_write(link);
    if (any)
        cork(link, 1);
    errno = 0;
    int code = judge_call(link, mosquitto_loop_write(link->mosquitto, 1), error);
    if (any)
        cork(link, 0);
    return code;
}

int dmsg_link_keep_alive(struct dmsg_link *link, struct dmsg_error *error)
{
    errno = 0;
    return judge_call(link, mosquitto_loop_misc(link->mosquitto), error);
}

void dmsg_link_abort(struct dmsg_link *link)
{
    if (dmsg_link_fd(link) >= 0)
        shutdown(dmsg_link_fd(link), SHUT_RDWR);
}

int dmsg_link_subscribe(
    struct dmsg_link *link, const char *filter, int qos, int *id, struct dmsg_error *error)
{
    /* Retained messages come with a new subscription, not with each start of ours. */
    int code = mosquitto_subscribe_v5(link->mosquitto, id, filter, qos,
        link->version == 5 ? MQTT_SUB_OPT_SEND_RETAIN_NEW : 0, NULL);
    return code == MOSQ_ERR_SUCCESS ? 0 : fail_call(link, code, error);
}

int dmsg_link_publish(struct dmsg_link *link, const char *topic, struct dmsg_span payload, int qos,
    bool retain, int *id, struct dmsg_error *error)
{
    int code =
        mosquitto_publish(link->mosquitto, id, topic, (int)payload.size, payload.data, qos, retain);
    if (code == MOSQ_ERR_INVAL || code == MOSQ_ERR_MALFORMED_UTF8)
        return dmsg_fail(error, DMSG_E_USAGE, "not a topic that can be published on");
    return code == MOSQ_ERR_SUCCESS ? 0 : fail_call(link, code, error);
}

void dmsg_link_disconnect(struct dmsg_link *link)
{
    mosquitto_property *properties = NULL;
    if (!link->tries_session || mosquitto_property_add_int32(&properties,
                                    MQTT_PROP_SESSION_EXPIRY_INTERVAL, 0) != MOSQ_ERR_SUCCESS)
        (void)mosquitto_disconnect(link->mosquitto);
    else
        (void)mosquitto_disconnect_v5(link->mosquitto, 0, properties);
    mosquitto_property_free_all(&properties);
}
