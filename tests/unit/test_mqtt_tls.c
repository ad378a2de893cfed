/* mqtt over TLS: the broker judged by CAs, or by its TLSA records. */
#include "base/fail.h"
#include "client.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct authority {
    EVP_PKEY *key;
    X509 *certificate;
};

static X509 *make_certificate(
    EVP_PKEY *key, const struct authority *issuer, const char *name, const char *san, long days)
{
    X509 *certificate = X509_new();
    X509_NAME *subject = X509_NAME_new();
    static long serial = 1;
    X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0);
    X509_set_version(certificate, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++);
    X509_gmtime_adj(X509_getm_notBefore(certificate), -3 * 86400);
    X509_gmtime_adj(X509_getm_notAfter(certificate), days * 86400);
    X509_set_subject_name(certificate, subject);
    X509_set_issuer_name(
        certificate, issuer != NULL ? X509_get_subject_name(issuer->certificate) : subject);
    X509_set_pubkey(certificate, key);
    X509V3_CTX context;
    X509V3_set_ctx_nodb(&context);
    X509V3_set_ctx(&context, certificate, certificate, NULL, NULL, 0);
    X509_EXTENSION *extension =
        san != NULL
            ? X509V3_EXT_conf_nid(NULL, &context, NID_subject_alt_name, san)
            : X509V3_EXT_conf_nid(NULL, &context, NID_basic_constraints, "critical,CA:TRUE");
    X509_add_ext(certificate, extension, -1);
    X509_EXTENSION_free(extension);
    X509_sign(certificate, issuer != NULL ? issuer->key : key, EVP_sha256());
    X509_NAME_free(subject);
    return certificate;
}

static void write_pem(const char *path, X509 *certificate, EVP_PKEY *key)
{
    FILE *file = fopen(path, "w");
    REQUIRE(file != NULL);
    if (certificate != NULL)
        CHECK(PEM_write_X509(file, certificate) == 1);
    if (key != NULL)
        CHECK(PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL) == 1);
    fclose(file);
}

static void append_pem(const char *path, X509 *certificate)
{
    FILE *file = fopen(path, "a");
    REQUIRE(file != NULL);
    CHECK(PEM_write_X509(file, certificate) == 1);
    fclose(file);
}

static struct authority make_authority(const char *path)
{
    struct authority authority = {.key = EVP_EC_gen("P-256")};
    authority.certificate = make_certificate(authority.key, NULL, "authority", NULL, 10);
    write_pem(path, authority.certificate, NULL);
    return authority;
}

static void issue(const struct authority *authority, const char *name, const char *san, long days,
    const char *certificate_path, const char *key_path)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *certificate = make_certificate(key, authority, name, san, days);
    write_pem(certificate_path, certificate, NULL);
    append_pem(certificate_path, authority->certificate);
    write_pem(key_path, NULL, key);
    X509_free(certificate);
    EVP_PKEY_free(key);
}

static void free_authority(struct authority *authority)
{
    EVP_PKEY_free(authority->key);
    X509_free(authority->certificate);
}

/* Files of a broker with TLS: the authority's, another's, the server's, a client's. */
struct tls_files {
    char authority[128], other[128], certificate[128], key[128], client[128], client_key[128];
};

static void make_tls_files(
    const struct broker *broker, struct tls_files *files, const char *san, long days)
{
    broker_path(broker, "ca.pem", files->authority, sizeof files->authority);
    broker_path(broker, "other.pem", files->other, sizeof files->other);
    broker_path(broker, "server.pem", files->certificate, sizeof files->certificate);
    broker_path(broker, "server.key", files->key, sizeof files->key);
    broker_path(broker, "client.pem", files->client, sizeof files->client);
    broker_path(broker, "client.key", files->client_key, sizeof files->client_key);
    struct authority ours = make_authority(files->authority), other = make_authority(files->other);
    issue(&ours, "server", san, days, files->certificate, files->key);
    issue(&ours, "client", "DNS:client.example", 10, files->client, files->client_key);
    free_authority(&ours);
    free_authority(&other);
}

static bool run_tls_broker(
    struct broker *broker, struct tls_files *files, const char *san, long days, const char *more)
{
    char lines[600];
    if (!broker_prepare(broker))
        return false;
    make_tls_files(broker, files, san, days);
    snprintf(lines, sizeof lines, "cafile %s\ncertfile %s\nkeyfile %s\n%s", files->authority,
        files->certificate, files->key, more);
    return broker_run(broker, lines);
}

static void tls_verifies_the_broker(void)
{
    static const struct {
        const char *what, *san, *host;
        long days;
        bool own_authority, no_authority;
        const char *expected; /* NULL: connects */
    } rows[] = {
        {"name", "DNS:localhost", "localhost", 10, true, false, NULL},
        {"address", "IP:127.0.0.1", "127.0.0.1", 10, true, false, NULL},
        {"wildcard is not partial", "DNS:local*", "localhost", 10, true, false, "mismatch"},
        {"other name", "DNS:broker.example", "localhost", 10, true, false, "hostname mismatch"},
        {"other address", "IP:127.0.0.2", "127.0.0.1", 10, true, false, "IP address mismatch"},
        {"a name is no address", "DNS:127.0.0.1", "127.0.0.1", 10, true, false, "mismatch"},
        {"expired", "DNS:localhost", "localhost", -1, true, false, "certificate has expired"},
        {"another authority", "DNS:localhost", "localhost", 10, false, false, "TLS: "},
        {"the system's authorities", "DNS:localhost", "localhost", 10, false, true, "TLS: "},
    };
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct broker broker;
        struct tls_files files;
        struct dmsg_mqtt *mqtt = NULL;
        struct dmsg_error error = {0};
        REQUIRE(run_tls_broker(&broker, &files, rows[i].san, rows[i].days, ""));
        struct dmsg_mqtt_config config = client_config(&broker, 5, NULL);
        config.host = rows[i].host;
        config.tls = true;
        if (!rows[i].no_authority)
            config.ca_file = rows[i].own_authority ? files.authority : files.other;
        REQUIRE(dmsg_mqtt_new(&mqtt, &config, &error) == 0);
        int code = dmsg_mqtt_wait_connected(mqtt, WAIT, &error);
        if (rows[i].expected == NULL)
            CHECK_ROW(code == 0, "%s: %s", rows[i].what, error.text);
        else
            CHECK_ROW(code == DMSG_E_BROKER && strstr(error.text, rows[i].expected) != NULL,
                "%s: %s", rows[i].what, error.text);
        dmsg_mqtt_free(&mqtt);
        broker_stop(&broker);
    }
}

static void tls_with_a_client_certificate(void)
{
    struct broker broker;
    struct tls_files files;
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    REQUIRE(run_tls_broker(&broker, &files, "DNS:localhost", 10, "require_certificate true"));
    for (size_t v = 0; v < 2; v++) {
        struct dmsg_mqtt_config config = client_config(&broker, versions[v], NULL);
        struct dmsg_mqtt *mqtt = NULL;
        struct dmsg_error error = {0};
        config.host = "localhost";
        config.tls = true;
        config.ca_file = files.authority;
        REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
        CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == DMSG_E_BROKER);
        /* the broker's alert, unless the connection was reset before it was read */
        CHECK_ROW(strstr(error.text, "certificate required") != NULL ||
                      strstr(error.text, "may want a client certificate") != NULL,
            "%s", error.text);
        dmsg_mqtt_free(&mqtt);
        config.certificate = files.client;
        config.key = files.client_key;
        mqtt = client_connect(&config);
        CHECK(mqtt != NULL);
        dmsg_mqtt_free(&mqtt);
        config.key = files.key; /* of another certificate */
        CHECK(dmsg_mqtt_new(&mqtt, &config, &error) == DMSG_E_LOCAL);
    }
    broker_stop(&broker);
}

/* A key and a certificate as objects: those of an identity, for instance. */
static void tls_with_a_client_certificate_in_memory(void)
{
    struct broker broker;
    struct tls_files files;
    char path[128], lines[600];
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    REQUIRE(broker_prepare(&broker));
    make_tls_files(&broker, &files, "DNS:localhost", 10);
    EVP_PKEY *key = EVP_EC_gen("P-256"), *other = EVP_EC_gen("P-256");
    X509 *certificate = make_certificate(key, NULL, "alice", "DNS:alice.example", 10);
    broker_path(&broker, "alice.pem", path, sizeof path);
    write_pem(path, certificate, NULL); /* self-signed: the broker trusts it by itself */
    snprintf(lines, sizeof lines, "cafile %s\ncertfile %s\nkeyfile %s\nrequire_certificate true",
        path, files.certificate, files.key);
    REQUIRE(broker_run(&broker, lines));
    struct dmsg_mqtt_config config = client_config(&broker, 5, NULL);
    struct dmsg_mqtt *mqtt = NULL;
    struct dmsg_error error = {0};
    config.host = "localhost";
    config.tls = true;
    config.ca_file = files.authority;
    config.client_certificate = certificate;
    CHECK(dmsg_mqtt_new(&mqtt, &config, &error) == DMSG_E_USAGE);
    config.client_key = other;
    CHECK(dmsg_mqtt_new(&mqtt, &config, &error) == DMSG_E_CERTIFICATE);
    config.client_key = key;
    mqtt = client_connect(&config);
    CHECK(mqtt != NULL);
    dmsg_mqtt_free(&mqtt);
    X509_free(certificate);
    certificate = make_certificate(other, NULL, "mallory", "DNS:alice.example", 10);
    config.client_certificate = certificate;
    config.client_key = other;
    REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
    CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == DMSG_E_BROKER);
    dmsg_mqtt_free(&mqtt);
    X509_free(certificate);
    EVP_PKEY_free(key);
    EVP_PKEY_free(other);
    broker_stop(&broker);
}

static void tls_and_plain_do_not_mix(void)
{
    struct broker with, without;
    struct tls_files files;
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    REQUIRE(run_tls_broker(&with, &files, "IP:127.0.0.1", 10, ""));
    REQUIRE(broker_prepare(&without) && broker_run(&without, ""));
    for (int tls = 0; tls <= 1; tls++) {
        struct dmsg_mqtt_config config = client_config(tls ? &without : &with, 5, NULL);
        struct dmsg_mqtt *mqtt = NULL;
        struct dmsg_error error = {0};
        config.tls = tls;
        config.ca_file = files.authority;
        REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
        CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == DMSG_E_BROKER);
        CHECK_ROW(error.text[0] != '\0', "%s", error.text);
        dmsg_mqtt_free(&mqtt);
    }
    broker_stop(&with);
    broker_stop(&without);
}

/* Over TLS data waits inside of the library, where poll does not see it. */
static void tls_batches_do_not_stall(void)
{
    struct broker broker;
    struct tls_files files;
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    REQUIRE(run_tls_broker(&broker, &files, "IP:127.0.0.1", 10, ""));
    for (size_t v = 0; v < 2; v++) {
        char id[] = "tls-0";
        id[4] = (char)('0' + v);
        struct dmsg_mqtt_config config = client_config(&broker, versions[v], id);
        config.tls = true;
        config.ca_file = files.authority;
        struct dmsg_mqtt_config other = config;
        other.client_id = NULL;
        other.clean = true;
        struct dmsg_mqtt *mqtt = client_subscribe(&config, "many");
        REQUIRE(mqtt != NULL);
        client_publish(&other, "many", 3000, 1);
        nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
        int held = client_next_batch(mqtt, WAIT);
        CHECK_ROW(held > 0, "version %d", versions[v]);
        CHECK(dmsg_mqtt_reconnect(mqtt, NULL) == 0);
        int taken = client_take(mqtt, 3000, WAIT);
        CHECK_ROW(taken == 3000, "version %d: %d", versions[v], taken);
        CHECK(client_next_batch(mqtt, QUIET) == 0);
        dmsg_mqtt_free(&mqtt);
    }
    broker_stop(&broker);
}

/* What a server of the test's own has of TLS. */
struct server {
    int listener;
    const struct tls_files *files;
    int most;         /* version; 0: any */
    const char *alpn; /* the one protocol that it speaks; NULL: it does not ask */
};

static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *size,
    const unsigned char *offered, unsigned offered_size, void *user)
{
    const struct server *server = user;
    (void)ssl;
    if (offered[0] != strlen(server->alpn) || offered_size != 1u + offered[0] ||
        memcmp(offered + 1, server->alpn, offered[0]) != 0)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = offered + 1;
    *size = offered[0];
    return SSL_TLSEXT_ERR_OK;
}

/* Puts everything it has to say into as few TLS records as it can, and is silent then. */
static void serve(const struct server *server, const uint8_t *out, size_t size)
{
    uint8_t in[512];
    const unsigned char *chosen = NULL;
    unsigned chosen_size = 0;
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());
    SSL_CTX_use_certificate_file(context, server->files->certificate, SSL_FILETYPE_PEM);
    SSL_CTX_use_PrivateKey_file(context, server->files->key, SSL_FILETYPE_PEM);
    SSL_CTX_set_max_proto_version(context, server->most);
    if (server->alpn != NULL)
        SSL_CTX_set_alpn_select_cb(context, choose_protocol, (void *)(uintptr_t)server);
    SSL *ssl = SSL_new(context);
    SSL_set_fd(ssl, accept(server->listener, NULL, NULL));
    if (SSL_accept(ssl) == 1 && SSL_read(ssl, in, sizeof in) > 0) {
        SSL_get0_alpn_selected(ssl, &chosen, &chosen_size);
        if (server->alpn == NULL || chosen_size > 0)
            (void)SSL_write(ssl, out, (int)size);
    }
    while (SSL_read(ssl, in, sizeof in) > 0)
        ;
    _exit(0);
}

static pid_t start_server(struct server *server, int *port, const uint8_t *out, size_t size)
{
    server->listener = listen_on_loopback(port);
    pid_t child = fork();
    if (child == 0)
        serve(server, out, size);
    close(server->listener);
    return child;
}

static void stop_server(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static void packets_of_one_tls_record_are_all_found(void)
{
    static uint8_t out[5 + 400 * 40];
    struct broker fake;
    struct tls_files files;
    size_t size = 5;
    memcpy(out, "\x20\x03\x00\x00\x00", 5);
    for (int i = 1; i <= 400; i++) { /* PUBLISH, QoS 1, topic "t", no properties, 29 octets */
        const uint8_t header[] = {0x32, 35, 0, 1, 't', (uint8_t)(i >> 8), (uint8_t)i, 0};
        memcpy(out + size, header, sizeof header);
        memset(out + size + sizeof header, 'x', 29);
        size += sizeof header + 29;
    }
    REQUIRE(broker_prepare(&fake));
    make_tls_files(&fake, &files, "IP:127.0.0.1", 10);
    struct server server = {.files = &files};
    pid_t child = start_server(&server, &fake.port, out, size);
    struct dmsg_mqtt_config config = client_config(&fake, 5, NULL);
    config.tls = true;
    config.ca_file = files.authority;
    struct dmsg_mqtt *mqtt = client_connect(&config);
    REQUIRE(mqtt != NULL);
    int64_t before = dmsg_now_ms();
    dmsg_mqtt_limit_batch(mqtt, 7);
    int taken = client_take(mqtt, 400, WAIT);
    CHECK_ROW(taken == 400, "%d", taken);
    CHECK(dmsg_now_ms() - before < 1000); /* no waiting for a keepalive to come by */
    dmsg_mqtt_free(&mqtt);
    stop_server(child);
    broker_stop(&fake);
}

/* A broker that is faster than we are, with packets that end within records: libmosquitto would go
   on reading them until more had come than there is room for, and again after each reconnect. */
static void a_flood_over_tls_is_taken_in_batches(void)
{
    enum { COUNT = 40, PAYLOAD = 1 << 20, LENGTH = 1 + 3 + 6 + PAYLOAD };
    uint8_t *out = calloc(1, 5 + (size_t)COUNT * LENGTH);
    struct broker fake;
    struct tls_files files;
    size_t size = 5;
    REQUIRE(out != NULL && broker_prepare(&fake));
    memcpy(out, "\x20\x03\x00\x00\x00", 5);
    for (int i = 1; i <= COUNT; i++) { /* PUBLISH, QoS 1, topic "t", no properties */
        const uint8_t header[] = {0x32, ((6 + PAYLOAD) & 127) | 128,
            ((6 + PAYLOAD) >> 7 & 127) | 128, (6 + PAYLOAD) >> 14, 0, 1, 't', 0, (uint8_t)i, 0};
        memcpy(out + size, header, sizeof header);
        size += sizeof header + PAYLOAD;
    }
    make_tls_files(&fake, &files, "IP:127.0.0.1", 10);
    struct server server = {.files = &files};
    pid_t child = start_server(&server, &fake.port, out, size);
    struct dmsg_mqtt_config config = client_config(&fake, 5, NULL);
    config.tls = true;
    config.ca_file = files.authority;
    config.packet_limit = 2 << 20;
    struct dmsg_mqtt *mqtt = client_connect(&config);
    REQUIRE(mqtt != NULL);
    nanosleep(&(struct timespec){.tv_nsec = 300000000}, NULL); /* the socket fills up */
    int taken = client_take(mqtt, COUNT, WAIT);
    CHECK_ROW(taken == COUNT, "%d", taken);
    dmsg_mqtt_free(&mqtt);
    stop_server(child);
    broker_stop(&fake);
    free(out);
}

static void versions_and_protocols_are_agreed_on(void)
{
    static const struct {
        int most;
        const char *alpn;
        int least;
        const char *ask_for;
        int code;
    } rows[] = {
        {TLS1_2_VERSION, NULL, 0, NULL, 0},
        {TLS1_2_VERSION, NULL, 12, NULL, 0},
        {TLS1_2_VERSION, NULL, 13, NULL, DMSG_E_BROKER},
        {TLS1_3_VERSION, NULL, 13, NULL, 0},
        {TLS1_1_VERSION, NULL, 0, NULL, DMSG_E_BROKER},
        {0, "mqtt", 0, "mqtt", 0},
        {0, "mqtt", 0, "http/1.1", DMSG_E_BROKER},
        {0, NULL, 0, "mqtt", 0},
    };
    struct broker fake;
    struct tls_files files;
    REQUIRE(broker_prepare(&fake));
    make_tls_files(&fake, &files, "IP:127.0.0.1", 10);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct server server = {.files = &files, .most = rows[i].most, .alpn = rows[i].alpn};
        struct dmsg_mqtt *mqtt = NULL;
        struct dmsg_error error = {0};
        pid_t child = start_server(&server, &fake.port, (const uint8_t *)"\x20\x03\x00\x00\x00", 5);
        struct dmsg_mqtt_config config = client_config(&fake, 5, NULL);
        config.tls = true;
        config.ca_file = files.authority;
        config.tls_version = rows[i].least;
        config.alpn = rows[i].ask_for;
        REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
        CHECK_ROW(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == rows[i].code, "row %zu: %s", i,
            error.text);
        dmsg_mqtt_free(&mqtt);
        stop_server(child);
    }
    broker_stop(&fake);
}

/* ------------------------------------------------------------------------------------ DANE */

/* A source of records that answers when it is told to. */
struct source {
    struct dmsg_buffer octets;
    struct dmsg_mqtt_records records;
    int ask_code, take_code; /* what the calls end with */
    int steps_until_answer;
    int asked, stepped;
};

static int source_ask(void *user, struct dmsg_error *error)
{
    struct source *source = user;
    source->asked++;
    source->stepped = 0;
    return source->ask_code < 0 ? dmsg_fail(error, source->ask_code, "cannot ask") : 0;
}

static int source_step(void *user, struct dmsg_error *error)
{
    struct source *source = user;
    (void)error;
    source->stepped++;
    return 10;
}

static bool source_answered(void *user)
{
    const struct source *source = user;
    return source->stepped >= source->steps_until_answer;
}

static int source_take(void *user, struct dmsg_mqtt_records *out, struct dmsg_error *error)
{
    struct source *source = user;
    *out = source->records;
    return source->take_code < 0 ? dmsg_fail(error, source->take_code, "no records") : 0;
}

static void add_record(
    struct source *source, int usage, int selector, int matching_type, const char *path)
{
    struct dmsg_span *rdata = &source->records.rdata[source->records.count++];
    uint8_t *der = NULL, digest[EVP_MAX_MD_SIZE];
    FILE *file = fopen(path, "r");
    REQUIRE(file != NULL);
    X509 *certificate = PEM_read_X509(file, NULL, NULL, NULL);
    fclose(file);
    int size = selector == 0 ? i2d_X509(certificate, &der)
                             : i2d_PUBKEY(X509_get0_pubkey(certificate), &der);
    unsigned used = (unsigned)size;
    const EVP_MD *hash = matching_type == 1 ? EVP_sha256() : EVP_sha512();
    if (matching_type > 0)
        CHECK(EVP_Digest(der, (size_t)size, digest, &used, hash, NULL) == 1);
    uint8_t *to = malloc(3 + used);
    REQUIRE(to != NULL);
    to[0] = (uint8_t)usage;
    to[1] = (uint8_t)selector;
    to[2] = (uint8_t)matching_type;
    memcpy(to + 3, matching_type > 0 ? digest : der, used);
    *rdata = (struct dmsg_span){to, 3 + used};
    OPENSSL_free(der);
    X509_free(certificate);
}

static void drop_records(struct source *source)
{
    while (source->records.count > 0)
        free((void *)(uintptr_t)source->records.rdata[--source->records.count].data);
}

/* Nothing ever comes there. */
static int quiet_fd(void)
{
    static int fd = -1;
    if (fd < 0)
        fd = eventfd(0, EFD_CLOEXEC);
    return fd;
}

static struct dmsg_mqtt_dane dane_of(struct source *source)
{
    return (struct dmsg_mqtt_dane){.ask = source_ask,
        .step = source_step,
        .answered = source_answered,
        .take = source_take,
        .fd = quiet_fd(),
        .user = source};
}

/* A broker and the configuration to reach it by its records. */
struct dane_scene {
    struct broker broker;
    struct tls_files files;
    struct source source;
    struct dmsg_mqtt_dane dane;
    struct dmsg_mqtt_config config;
};

static bool set_dane_scene(struct dane_scene *scene, const char *san, long days)
{
    *scene = (struct dane_scene){0};
    if (!run_tls_broker(&scene->broker, &scene->files, san, days, ""))
        return false;
    scene->dane = dane_of(&scene->source);
    scene->config = client_config(&scene->broker, 5, NULL);
    scene->config.host = "localhost";
    scene->config.tls = scene->config.dane = true;
    scene->config.dane_source = &scene->dane;
    return true;
}

static int try_dane(struct dane_scene *scene, struct dmsg_error *error)
{
    struct dmsg_mqtt *mqtt = NULL;
    int code = dmsg_mqtt_new(&mqtt, &scene->config, error);
    if (code == 0)
        code = dmsg_mqtt_wait_connected(mqtt, WAIT, error);
    dmsg_mqtt_free(&mqtt);
    return code;
}

enum whose { BROKERS, AUTHORITYS, OTHERS };

static const char *path_of(const struct dane_scene *scene, enum whose whose)
{
    const struct tls_files *files = &scene->files;
    return whose == BROKERS      ? files->certificate
           : whose == AUTHORITYS ? files->authority
                                 : files->other;
}

static void tlsa_records_decide(void)
{
    static const struct {
        const char *what;
        int usage, selector, matching_type;
        enum whose whose;
        enum whose authorities; /* BROKERS: the system's, which do not have ours */
        int code;
        const char *expected;
    } rows[] = {
        {"3 0 0", 3, 0, 0, BROKERS, BROKERS, 0, NULL},
        {"3 0 1", 3, 0, 1, BROKERS, BROKERS, 0, NULL},
        {"3 0 2", 3, 0, 2, BROKERS, BROKERS, 0, NULL},
        {"3 1 0", 3, 1, 0, BROKERS, BROKERS, 0, NULL},
        {"3 1 1", 3, 1, 1, BROKERS, BROKERS, 0, NULL},
        {"3 1 1, other CAs", 3, 1, 1, BROKERS, OTHERS, 0, NULL},
        {"3 1 1 of another", 3, 1, 1, OTHERS, BROKERS, DMSG_E_BROKER, "none of its TLSA records"},
        {"3 1 1 of another, but CAs", 3, 1, 1, OTHERS, AUTHORITYS, DMSG_E_BROKER,
            "none of its TLSA records"},
        {"3 0 1 of the authority", 3, 0, 1, AUTHORITYS, BROKERS, DMSG_E_BROKER,
            "none of its TLSA records"},
        {"2 0 1", 2, 0, 1, AUTHORITYS, BROKERS, 0, NULL},
        {"2 1 1", 2, 1, 1, AUTHORITYS, BROKERS, 0, NULL},
        {"2 0 0", 2, 0, 0, AUTHORITYS, BROKERS, 0, NULL},
        {"2 0 1 of another", 2, 0, 1, OTHERS, BROKERS, DMSG_E_BROKER, "TLS: "},
        {"2 0 1 of another, but CAs", 2, 0, 1, OTHERS, AUTHORITYS, DMSG_E_BROKER, "TLS: "},
        {"1 1 1 and CAs", 1, 1, 1, BROKERS, AUTHORITYS, 0, NULL},
        {"1 1 1, other CAs", 1, 1, 1, BROKERS, OTHERS, DMSG_E_BROKER, "TLS: "},
        {"1 1 1, the system's", 1, 1, 1, BROKERS, BROKERS, DMSG_E_BROKER, "TLS: "},
        {"1 1 1 of another", 1, 1, 1, OTHERS, AUTHORITYS, DMSG_E_BROKER, "TLS: "},
        {"0 0 1 and CAs", 0, 0, 1, AUTHORITYS, AUTHORITYS, 0, NULL},
        {"0 0 1 of another", 0, 0, 1, OTHERS, AUTHORITYS, DMSG_E_BROKER, "TLS: "},
        {"0 0 1, other CAs", 0, 0, 1, AUTHORITYS, OTHERS, DMSG_E_BROKER, "TLS: "},
        {"usage 4", 4, 0, 0, BROKERS, AUTHORITYS, DMSG_E_CERTIFICATE, "none of its 1 TLSA"},
        {"selector 2", 3, 2, 1, BROKERS, AUTHORITYS, DMSG_E_CERTIFICATE, "can be used"},
        {"matching type 9", 3, 1, 9, BROKERS, AUTHORITYS, DMSG_E_CERTIFICATE, "can be used"},
    };
    struct dane_scene scene;
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    REQUIRE(set_dane_scene(&scene, "DNS:localhost", 10));
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_error error = {0};
        add_record(&scene.source, rows[i].usage, rows[i].selector, rows[i].matching_type,
            path_of(&scene, rows[i].whose));
        scene.config.ca_file =
            rows[i].authorities == BROKERS ? NULL : path_of(&scene, rows[i].authorities);
        CHECK_ROW(try_dane(&scene, &error) == rows[i].code, "%s: %s", rows[i].what, error.text);
        if (rows[i].expected != NULL)
            CHECK_ROW(
                strstr(error.text, rows[i].expected) != NULL, "%s: %s", rows[i].what, error.text);
        drop_records(&scene.source);
    }
    broker_stop(&scene.broker);
}

/* With usage 3 the record says all; with the others name and dates count (RFC 7671 section 5). */
static void names_and_dates_count_for_anchors_alone(void)
{
    static const struct {
        const char *san;
        long days;
    } brokers[] = {{"DNS:broker.example", 10}, {"DNS:localhost", -1}};
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    for (size_t i = 0; i < 2; i++) {
        struct dane_scene scene;
        struct dmsg_error error = {0};
        REQUIRE(set_dane_scene(&scene, brokers[i].san, brokers[i].days));
        add_record(&scene.source, 3, 1, 1, scene.files.certificate);
        CHECK_ROW(try_dane(&scene, &error) == 0, "%s: %s", brokers[i].san, error.text);
        drop_records(&scene.source);
        add_record(&scene.source, 2, 0, 1, scene.files.authority);
        CHECK(try_dane(&scene, &error) == DMSG_E_BROKER);
        CHECK_ROW(strstr(error.text, i == 0 ? "mismatch" : "expired") != NULL, "%s", error.text);
        drop_records(&scene.source);
        broker_stop(&scene.broker);
    }
}

static void records_of_several_kinds(void)
{
    static const uint8_t junk[] = {3, 1, 1};
    struct dane_scene scene;
    struct dmsg_error error = {0};
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    REQUIRE(set_dane_scene(&scene, "DNS:localhost", 10));
    struct source *source = &scene.source;
    CHECK(try_dane(&scene, &error) == DMSG_E_CERTIFICATE); /* none at all */
    CHECK_ROW(strstr(error.text, "broker localhost port") != NULL, "%s", error.text);
    /* one that is too short, one that OpenSSL does not know, another's, and the right one */
    source->records.rdata[source->records.count++] = (struct dmsg_span){junk, sizeof junk};
    add_record(source, 4, 0, 0, scene.files.certificate);
    add_record(source, 3, 1, 1, scene.files.other);
    CHECK(try_dane(&scene, &error) == DMSG_E_BROKER);
    add_record(source, 3, 0, 1, scene.files.certificate);
    CHECK_ROW(try_dane(&scene, &error) == 0, "%s", error.text);
    source->records.rdata[0] = source->records.rdata[--source->records.count];
    drop_records(source);
    broker_stop(&scene.broker);
}

/* The question is asked anew for each connection, and may take its time. */
static void records_are_asked_for_each_time(void)
{
    struct dane_scene scene;
    struct dmsg_mqtt *mqtt = NULL;
    struct dmsg_error error = {0};
    if (broker_missing() != NULL)
        SKIP("%s", broker_missing());
    REQUIRE(set_dane_scene(&scene, "DNS:localhost", 10));
    struct source *source = &scene.source;
    add_record(source, 3, 1, 1, scene.files.certificate);
    source->steps_until_answer = 3;
    REQUIRE(dmsg_mqtt_new(&mqtt, &scene.config, NULL) == 0);
    CHECK(dmsg_mqtt_reconnect(mqtt, NULL) == 0 && source->asked == 1);
    CHECK(!dmsg_mqtt_connected(mqtt) && dmsg_mqtt_acknowledge(mqtt, NULL) == 0);
    CHECK(dmsg_mqtt_timeout(mqtt) == 0);
    CHECK_ROW(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == 0, "%s", error.text);
    CHECK(source->stepped >= 3 && source->asked == 1);
    drop_records(source);
    add_record(source, 3, 1, 1, scene.files.other); /* rolled, and the broker has not */
    CHECK(dmsg_mqtt_reconnect(mqtt, NULL) == 0 && source->asked == 2);
    CHECK(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == DMSG_E_BROKER);
    add_record(source, 3, 1, 1, scene.files.certificate);
    CHECK_ROW(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == 0, "%s", error.text);
    CHECK(source->asked == 3);
    dmsg_mqtt_free(&mqtt);
    drop_records(source);
    broker_stop(&scene.broker);
}

/* Whatever goes wrong with the records: nothing is said to the broker. */
static void without_records_no_connection(void)
{
    struct broker fake = {0};
    int listener = listen_on_loopback(&fake.port);
    static const struct {
        int ask, take, code;
    } rows[] = {{DMSG_E_QUOTA, 0, DMSG_E_QUOTA}, {0, DMSG_E_DNS_BOGUS, DMSG_E_DNS_BOGUS},
        {0, DMSG_E_DNS_INSECURE, DMSG_E_DNS_INSECURE}, {0, DMSG_E_NO_IDENTITY, DMSG_E_NO_IDENTITY},
        {0, DMSG_E_DNS_TEMPORARY, DMSG_E_DNS_TEMPORARY}, {0, 0, DMSG_E_CERTIFICATE}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct source source = {.ask_code = rows[i].ask, .take_code = rows[i].take};
        struct dmsg_mqtt_dane dane = dane_of(&source);
        struct dmsg_mqtt_config config = client_config(&fake, 5, NULL);
        struct dmsg_mqtt *mqtt = NULL;
        struct dmsg_error error = {0};
        config.host = "localhost";
        config.tls = config.dane = true;
        config.dane_source = &dane;
        REQUIRE(dmsg_mqtt_new(&mqtt, &config, NULL) == 0);
        CHECK_ROW(dmsg_mqtt_wait_connected(mqtt, WAIT, &error) == rows[i].code, "row %zu: %s", i,
            error.text);
        CHECK_ROW(strstr(error.text, "broker localhost port") != NULL, "%s", error.text);
        CHECK(dmsg_mqtt_fd(mqtt) == -1 && dmsg_mqtt_read(mqtt, 0, NULL) == rows[i].code);
        dmsg_mqtt_free(&mqtt);
    }
    struct pollfd wait = {.fd = listener, .events = POLLIN};
    CHECK(poll(&wait, 1, 0) == 0);
    close(listener);
}

static void dane_is_configured_whole_or_not(void)
{
    struct source source = {0};
    struct dmsg_mqtt_dane dane = dane_of(&source), without_fd = dane;
    without_fd.fd = -1;
    const struct {
        struct dmsg_mqtt_config config;
        int code;
    } rows[] = {
        {{.tls = true, .dane = true, .dane_source = &dane}, 0},
        {{.tls = true, .dane = true}, DMSG_E_USAGE},
        {{.tls = true, .dane = true, .dane_source = &without_fd}, DMSG_E_USAGE},
        {{.dane = true, .dane_source = &dane}, DMSG_E_USAGE},
        {{.tls = true, .dane = true, .dane_source = &dane, .host = "127.0.0.1"}, DMSG_E_USAGE},
        {{.tls = true, .dane = true, .dane_source = &dane, .host = "::1"}, DMSG_E_USAGE},
        {{.tls = true, .tls_version = 11}, DMSG_E_USAGE},
        {{.tls = true, .tls_version = 13}, 0},
        {{.tls = true, .alpn = ""}, DMSG_E_USAGE},
        {{.tls = true, .alpn = "mqtt"}, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_mqtt *mqtt = NULL;
        CHECK_ROW(dmsg_mqtt_new(&mqtt, &rows[i].config, NULL) == rows[i].code, "row %zu", i);
        dmsg_mqtt_free(&mqtt);
    }
}

TEST_MAIN(TEST(tls_verifies_the_broker), TEST(tls_with_a_client_certificate),
    TEST(tls_with_a_client_certificate_in_memory), TEST(versions_and_protocols_are_agreed_on),
    TEST(tls_and_plain_do_not_mix), TEST(tls_batches_do_not_stall),
    TEST(packets_of_one_tls_record_are_all_found), TEST(a_flood_over_tls_is_taken_in_batches),
    TEST(tlsa_records_decide), TEST(names_and_dates_count_for_anchors_alone),
    TEST(records_of_several_kinds), TEST(records_are_asked_for_each_time),
    TEST(without_records_no_connection), TEST(dane_is_configured_whole_or_not))
