#include "mqtt/tls.h"

#include "base/fail.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CERTIFICATES_WANTED "certificates in PEM are wanted"

static int fail_reason(
    struct dmsg_error *error, const char *what, const char *file, const char *reason)
{
    return dmsg_fail(error, DMSG_E_LOCAL, "%s %s cannot be used: %s", what, file, reason);
}

/* The first error is nearest to the file; those above it say only through which library it came. */
static int fail_file(
    struct dmsg_error *error, const char *what, const char *file, const char *wanted)
{
    unsigned long first = ERR_peek_error();
    const char *reason = ERR_reason_error_string(first);
    char both[200];
    snprintf(both, sizeof both, "%s; %s", reason != NULL ? reason : "not readable", wanted);
    ERR_clear_error();
    return fail_reason(
        error, what, file, ERR_SYSTEM_ERROR(first) ? strerror(ERR_GET_REASON(first)) : both);
}

/* OpenSSL looks into it only when it has a certificate to judge. */
static int load_folder(SSL_CTX *context, const char *folder, struct dmsg_error *error)
{
    static const char what[] = "the certificate authorities' folder";
    DIR *opened = opendir(folder);
    if (opened == NULL)
        return fail_reason(error, what, folder, strerror(errno));
    closedir(opened);
    return SSL_CTX_load_verify_dir(context, folder) == 1
               ? 0
               : fail_file(error, what, folder, CERTIFICATES_WANTED);
}

static void remember(struct dmsg_mqtt_tls *tls, X509 *certificate)
{
    if (certificate == NULL || certificate == tls->shown || X509_up_ref(certificate) != 1)
        return;
    X509_free(tls->shown);
    tls->shown = certificate;
}

/* Remembers why, for the text of the error that libmosquitto's one word becomes. */
static int note_refusal(int verified, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct dmsg_mqtt_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    int reason = X509_STORE_CTX_get_error(store);
    remember(tls, X509_STORE_CTX_get0_cert(store));
    if (verified != 1)
        snprintf(tls->why, sizeof tls->why, "%s",
            reason == X509_V_ERR_DANE_NO_MATCH
                ? "the broker's certificate matches none of its TLSA records"
                : X509_verify_cert_error_string(reason));
    return verified;
}

/* libmosquitto would put the address that it connects to into SNI, and it makes the SSL that needs
   the records. */
static void begin_handshake(const SSL *ssl, int where, int value)
{
    const struct dmsg_mqtt_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    (void)value;
    if ((where & SSL_CB_HANDSHAKE_START) == 0 || SSL_is_init_finished(ssl))
        return;
    /* The callback's type has const, the setter has not; it is the same object. */
    union {
        const SSL *in;
        SSL *out;
    } same = {.in = ssl};
    SSL_set_tlsext_host_name(same.out, tls->literal ? NULL : tls->host);
    if (tls->dane)
        dmsg_mqtt_tls_begin_dane(tls, same.out);
}

/* An encrypted key must not make a service ask on a terminal. */
static int no_password(char *out, int size, int writing, void *user)
{
    (void)out, (void)size, (void)writing, (void)user;
    return -1;
}

static int expect_host(struct dmsg_mqtt_tls *tls, struct dmsg_error *error)
{
    uint8_t address[sizeof(struct in6_addr)];
    X509_VERIFY_PARAM *expected = SSL_CTX_get0_param(tls->context);
    tls->literal =
        inet_pton(AF_INET, tls->host, address) == 1 || inet_pton(AF_INET6, tls->host, address) == 1;
    X509_VERIFY_PARAM_set_hostflags(expected, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    int done = tls->literal ? X509_VERIFY_PARAM_set1_ip_asc(expected, tls->host)
                            : X509_VERIFY_PARAM_set1_host(expected, tls->host, 0);
    return done == 1 ? 0 : dmsg_fail_openssl(error, "setting the broker's name for TLS");
}

static int load_authorities(
    SSL_CTX *context, const struct dmsg_mqtt_config *config, struct dmsg_error *error)
{
    if (config->ca_file == NULL && config->ca_folder == NULL) {
        if (SSL_CTX_set_default_verify_paths(context) != 1)
            return dmsg_fail_openssl(error, "loading the system's certificate authorities");
        return 0;
    }
    if (config->ca_file != NULL && SSL_CTX_load_verify_file(context, config->ca_file) != 1)
        return fail_file(
            error, "the certificate authorities' file", config->ca_file, CERTIFICATES_WANTED);
    return config->ca_folder != NULL ? load_folder(context, config->ca_folder, error) : 0;
}

/* Objects, of which a key in hardware can be one. */
static int use_client(
    SSL_CTX *context, const struct dmsg_mqtt_config *config, struct dmsg_error *error)
{
    if (config->client_certificate == NULL || config->client_key == NULL)
        return dmsg_fail(error, DMSG_E_USAGE,
            "a client certificate for the broker needs its key and vice versa");
    if (SSL_CTX_use_certificate(context, config->client_certificate) == 1 &&
        SSL_CTX_use_PrivateKey(context, config->client_key) == 1)
        return 0;
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    int code = dmsg_fail(error, DMSG_E_CERTIFICATE,
        "the client certificate for the broker cannot be used: %s",
        reason != NULL ? reason : "TLS has no use for its key");
    ERR_clear_error();
    return code;
}

static int load_client(
    SSL_CTX *context, const struct dmsg_mqtt_config *config, struct dmsg_error *error)
{
    if (config->client_certificate != NULL || config->client_key != NULL)
        return use_client(context, config, error);
    if (config->certificate == NULL && config->key == NULL)
        return 0;
    if (config->certificate == NULL || config->key == NULL)
        return dmsg_fail(error, DMSG_E_USAGE,
            "a client certificate for the broker needs its key and vice versa");
    SSL_CTX_set_default_passwd_cb(context, no_password);
    if (SSL_CTX_use_certificate_chain_file(context, config->certificate) != 1)
        return fail_file(error, "the client certificate", config->certificate, CERTIFICATES_WANTED);
    if (SSL_CTX_use_PrivateKey_file(context, config->key, SSL_FILETYPE_PEM) != 1)
        return fail_file(error, "the client certificate's key", config->key,
            "its private key in PEM, without a passphrase, is wanted");
    /* A key of another kind than the certificate's is put beside it without a word. */
    if (SSL_CTX_check_private_key(context) != 1)
        return fail_reason(error, "the client certificate's key", config->key,
            "it is not that of the client certificate");
    return 0;
}

/* The list of protocols as it goes over the wire: one, with its length before it. */
static int ask_for_protocol(SSL_CTX *context, const char *protocol, struct dmsg_error *error)
{
    uint8_t wire[1 + UINT8_MAX];
    size_t size = strlen(protocol);
    if (size == 0 || size > UINT8_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "a protocol's name has 1 to 255 octets (RFC 7301)");
    wire[0] = (uint8_t)size;
    memcpy(wire + 1, protocol, size);
    if (SSL_CTX_set_alpn_protos(context, wire, (unsigned)size + 1) != 0)
        return dmsg_fail_openssl(error, "setting the protocol for TLS");
    return 0;
}

static int prepare(
    struct dmsg_mqtt_tls *tls, const struct dmsg_mqtt_config *config, struct dmsg_error *error)
{
    ERR_clear_error();
    tls->context = SSL_CTX_new(TLS_client_method());
    int least = config->tls_version == 13 ? TLS1_3_VERSION : TLS1_2_VERSION;
    if (tls->context == NULL || SSL_CTX_set_min_proto_version(tls->context, least) != 1)
        return dmsg_fail_openssl(error, "preparing TLS to the broker");
    SSL_CTX_set_app_data(tls->context, tls);
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, note_refusal);
    SSL_CTX_set_info_callback(tls->context, begin_handshake);
    SSL_CTX_set_mode(tls->context, SSL_MODE_RELEASE_BUFFERS);
    int code = expect_host(tls, error);
    if (code == 0 && config->alpn != NULL)
        code = ask_for_protocol(tls->context, config->alpn, error);
    if (code == 0 && config->dane)
        code = dmsg_mqtt_tls_use_dane(tls, error);
    if (code == 0)
        code = load_authorities(tls->context, config, error);
    return code < 0 ? code : load_client(tls->context, config, error);
}

int dmsg_mqtt_tls_new(struct dmsg_mqtt_tls **out, const struct dmsg_mqtt_config *config,
    const char *host, struct dmsg_error *error)
{
    struct dmsg_mqtt_tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL)
        return dmsg_fail_memory(error);
    tls->host = strdup(host);
    int code = tls->host == NULL ? dmsg_fail_memory(error) : prepare(tls, config, error);
    if (code < 0) {
        dmsg_mqtt_tls_free(&tls);
        return code;
    }
    *out = tls;
    return 0;
}

void dmsg_mqtt_tls_free(struct dmsg_mqtt_tls **tls)
{
    if (tls == NULL || *tls == NULL)
        return;
    SSL_CTX_free((*tls)->context);
    X509_free((*tls)->shown);
    dmsg_buffer_done(&(*tls)->octets);
    free((*tls)->host);
    free(*tls);
    *tls = NULL;
}
