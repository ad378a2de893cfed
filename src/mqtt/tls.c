#include "mqtt/tls.h"

#include "base/fail.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int fail_file(struct dmsg_error *error, const char *what, const char *file)
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    int code = dmsg_fail(error, DMSG_E_LOCAL, "%s %s cannot be used: %s", what, file,
        reason != NULL ? reason : "not readable");
    ERR_clear_error();
    return code;
}

/* Remembers why, for the text of the error that libmosquitto's one word becomes. */
static int note_refusal(int verified, X509_STORE_CTX *store)
{
    SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    struct dmsg_mqtt_tls *tls = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
    if (verified != 1)
        snprintf(tls->why, sizeof tls->why, "%s",
            X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
    return verified;
}

/* libmosquitto would put the address that it connects to into SNI. */
static void set_server_name(const SSL *ssl, int where, int value)
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
        return fail_file(error, "the certificate authorities' file", config->ca_file);
    if (config->ca_folder != NULL && SSL_CTX_load_verify_dir(context, config->ca_folder) != 1)
        return fail_file(error, "the certificate authorities' folder", config->ca_folder);
    return 0;
}

static int load_client(
    SSL_CTX *context, const struct dmsg_mqtt_config *config, struct dmsg_error *error)
{
    if (config->certificate == NULL && config->key == NULL)
        return 0;
    if (config->certificate == NULL || config->key == NULL)
        return dmsg_fail(error, DMSG_E_USAGE,
            "a client certificate for the broker needs its key and vice versa");
    SSL_CTX_set_default_passwd_cb(context, no_password);
    if (SSL_CTX_use_certificate_chain_file(context, config->certificate) != 1)
        return fail_file(error, "the client certificate", config->certificate);
    if (SSL_CTX_use_PrivateKey_file(context, config->key, SSL_FILETYPE_PEM) != 1)
        return fail_file(error, "the client certificate's key", config->key);
    return 0;
}

static int prepare(
    struct dmsg_mqtt_tls *tls, const struct dmsg_mqtt_config *config, struct dmsg_error *error)
{
    tls->context = SSL_CTX_new(TLS_client_method());
    if (tls->context == NULL || SSL_CTX_set_min_proto_version(tls->context, TLS1_2_VERSION) != 1)
        return dmsg_fail_openssl(error, "preparing TLS to the broker");
    SSL_CTX_set_app_data(tls->context, tls);
    SSL_CTX_set_verify(tls->context, SSL_VERIFY_PEER, note_refusal);
    SSL_CTX_set_info_callback(tls->context, set_server_name);
    SSL_CTX_set_mode(tls->context, SSL_MODE_RELEASE_BUFFERS);
    int code = expect_host(tls, error);
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
    free((*tls)->host);
    free(*tls);
    *tls = NULL;
}
