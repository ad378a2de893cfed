/*
 * PKIX-CD's issuers: where they are found, what may be connected to, what the fetching process may
 * say (this program once more, playing it from a folder of files), and the real one where it must
 * refuse.
 */
#include "base/monotonic.h"
#include "dane/authority.h"
#include "dane/authority_cache.h"
#include "dane/fetch.h"
#include "dane/fetch_address.h"
#include "dane/fetch_curl.h"
#include "dane/fetch_trust.h"
#include "dane/process.h"
#include "dane_make.h"
#include "danemsg/resolver.h"
#include "test.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <openssl/pem.h>
#include <poll.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#define NOW 1800000000
#define HOST "device.example.net"
#define NAME "a.b._" HOST

static char self_path[4096];
static char folder[] = "/tmp/danemsg-authority-XXXXXX";
static int64_t clock_now = NOW;

static int64_t fake_now(void *user)
{
    (void)user;
    return clock_now;
}

static const struct dmsg_context context = {.now = fake_now};

static struct dmsg_name name_of(const char *text)
{
    struct dmsg_name name = {0};
    if (dmsg_name_parse(&name, dmsg_span_text(text), NULL) < 0)
        printf("Bail out! %s is no name\n", text);
    return name;
}

/* ====================================================================== hosts, keys, addresses */

static void finds_the_host(void)
{
    static const struct {
        const char *name, *host; /* NULL: none */
    } rows[] = {
        {"a.b._device.example.net", "device.example.net"},
        {"_device.example.net", "device.example.net"},
        {"x._y._device.example.net", "device.example.net"},
        {"_x.a_b._device.example.net", "device.example.net"},
        {"a.__device.example.net", "_device.example.net"},
        {"a.b.device.example.net", NULL},
        {"a_b.device.example.net", NULL},
        {"a._net", NULL},
        {"a._.example.net", NULL},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_name name = name_of(rows[i].name), host = {0};
        struct dmsg_error error = {0};
        int result = dmsg_authority_host(&host, &name, &error);
        if (rows[i].host == NULL)
            CHECK_ROW(result == DMSG_E_NAME && error.code == DMSG_E_NAME && host.size == 0, "%s",
                rows[i].name);
        else
            CHECK_ROW(result == 0 && strcmp(host.text, rows[i].host) == 0, "%s", rows[i].name);
    }
}

static void judges_addresses(void)
{
    static const struct {
        const char *address;
        bool good;
    } rows[] = {
        {"1.1.1.1", true},
        {"93.184.216.34", true},
        {"223.255.255.255", true},
        {"0.0.0.0", false},
        {"0.1.2.3", false},
        {"9.255.255.255", true},
        {"10.0.0.0", false},
        {"10.255.255.255", false},
        {"11.0.0.0", true},
        {"100.63.255.255", true},
        {"100.64.0.0", false},
        {"100.127.255.255", false},
        {"100.128.0.0", true},
        {"127.0.0.1", false},
        {"127.255.255.254", false},
        {"128.0.0.1", true},
        {"169.253.255.255", true},
        {"169.254.169.254", false},
        {"169.255.0.0", true},
        {"172.15.255.255", true},
        {"172.16.0.0", false},
        {"172.31.255.255", false},
        {"172.32.0.0", true},
        {"192.0.0.8", false},
        {"192.0.1.1", true},
        {"192.0.2.1", false},
        {"192.88.99.1", false},
        {"192.167.255.255", true},
        {"192.168.0.0", false},
        {"192.168.255.255", false},
        {"192.169.0.0", true},
        {"198.17.255.255", true},
        {"198.18.0.0", false},
        {"198.19.255.255", false},
        {"198.20.0.0", true},
        {"198.51.100.7", false},
        {"203.0.113.7", false},
        {"224.0.0.1", false},
        {"239.255.255.255", false},
        {"240.0.0.1", false},
        {"255.255.255.255", false},
        {"2606:4700:4700::1111", true},
        {"2a00:1450::1", true},
        {"3ffe::1", true},
        {"::", false},
        {"::1", false},
        {"::2", false},
        {"::ffff:1.1.1.1", false},
        {"::ffff:127.0.0.1", false},
        {"::1.1.1.1", false},
        {"64:ff9b::1.1.1.1", true},
        {"64:ff9b::10.0.0.1", false},
        {"64:ff9b::127.0.0.1", false},
        {"64:ff9b:1::1.1.1.1", false},
        {"100::1", false},
        {"2001::1", false},
        {"2001:1ff:ffff::1", false},
        {"2001:200::1", true},
        {"2001:db8::1", false},
        {"2001:db9::1", true},
        {"2002:0101:0101::1", true},
        {"2002:0a00:0001::1", false},
        {"2002:7f00:0001::1", false},
        {"3fff::1", false},
        {"3fff:1000::1", true},
        {"4000::1", false},
        {"5f00::1", false},
        {"fc00::1", false},
        {"fdff::1", false},
        {"fe80::1", false},
        {"fec0::1", false},
        {"ff02::1", false},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct sockaddr_in v4 = {.sin_family = AF_INET};
        struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
        bool is_v4 = inet_pton(AF_INET, rows[i].address, &v4.sin_addr) == 1;
        CHECK_ROW(is_v4 || inet_pton(AF_INET6, rows[i].address, &v6.sin6_addr) == 1, "%s",
            rows[i].address);
        const void *address = is_v4 ? (const void *)&v4 : (const void *)&v6;
        CHECK_ROW(dmsg_address_public(address) == rows[i].good, "%s", rows[i].address);
    }
    struct sockaddr local = {.sa_family = AF_UNIX};
    CHECK(!dmsg_address_public(&local));
}

/* ============================================================================ what travels between
 */

static void reads_fetches(void)
{
    char longest[3 * 64 + 1] = "", longer[3 * 65 + 1] = "", row[600];
    for (int i = 0; i < 64; i++)
        strcat(longest, i > 0 ? "-ab" : "ab");
    snprintf(longer, sizeof longer, "%s-ab", longest);
    const struct {
        const char *aki;
        bool good;
    } rows[] = {{"d4-e5-0f", true}, {"00", true}, {longest, true}, {longer, false}, {"", false},
        {"D4-e5", false}, {"d4-e", false}, {"d4-", false}, {"d4e5", false}, {"d4-e5 ", false},
        {" d4-e5", false}, {"d4-e5/", false}, {"../..", false}, {"d4-e5 x", false}, {"..", false},
        {"d4%e5", false}, {"d4-g5", false}};
    struct dmsg_fetch fetch;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        snprintf(row, sizeof row, HOST " %s", rows[i].aki);
        int result = dmsg_fetch_parse(&fetch, dmsg_span_text(row), NULL);
        CHECK_ROW(result == (rows[i].good ? 0 : DMSG_E_FORMAT), "%s", row);
        if (result < 0)
            continue;
        struct dmsg_buffer body = {0};
        dmsg_fetch_put(&body, &fetch);
        CHECK_ROW(dmsg_span_equal_text(dmsg_buffer_span(&body), row), "%s", row);
        dmsg_buffer_done(&body);
    }
    static const char *const bad[] = {"", " ", "host 00", "Device.example.net 00",
        "device.example.net. 00", "device.example.net", "device.example.net  00",
        "user@example.net 00", "example.net:80 00", "example.net/x 00", "[::1] 00"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        CHECK_ROW(
            dmsg_fetch_parse(&fetch, dmsg_span_text(bad[i]), NULL) == DMSG_E_FORMAT, "%s", bad[i]);
}

static void reads_what_was_fetched(void)
{
    static uint8_t large[DMSG_FETCH_SIZE_MAX + 2] = {DMSG_FETCH_CONTENT, 'x'};
    static const struct {
        const char *body;
        size_t size;
        bool good;
    } rows[] = {{"\0x", 2, true}, {"\0\xff\0", 3, true}, {"\1no", 3, true}, {"\2not now", 8, true},
        {"", 0, false}, {"\0", 1, false}, {"\1", 1, false}, {"\3no", 3, false},
        {"\1n\no", 4, false}, {"\1n\xe9", 3, false}, {"\2n\0o", 4, false}};
    struct dmsg_fetched fetched;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_span body = {(const uint8_t *)rows[i].body, rows[i].size};
        CHECK_ROW(dmsg_fetched_parse(&fetched, body, NULL) == (rows[i].good ? 0 : DMSG_E_FORMAT),
            "%zu", i);
    }
    CHECK(dmsg_fetched_parse(&fetched, (struct dmsg_span){large, sizeof large - 1}, NULL) == 0);
    CHECK(fetched.content.size == DMSG_FETCH_SIZE_MAX);
    CHECK(dmsg_fetched_parse(&fetched, (struct dmsg_span){large, sizeof large}, NULL) ==
          DMSG_E_FORMAT);
    memset(large, 'y', sizeof large);
    large[0] = DMSG_FETCH_NONE;
    CHECK(dmsg_fetched_parse(&fetched, (struct dmsg_span){large, 160}, NULL) == 0);
    CHECK(dmsg_fetched_parse(&fetched, (struct dmsg_span){large, 161}, NULL) == DMSG_E_FORMAT);
}

static void reads_pins(void)
{
    static const struct {
        const char *text, *address; /* NULL: refused */
        uint16_t port;
    } rows[] = {
        {"h.example=127.0.0.1", "127.0.0.1", 443},
        {"H.example.=127.0.0.1@8443", "127.0.0.1", 8443},
        {"h.example=::1@65535", "::1", 65535},
        {"h.example=fd00:1:2:3:4:5:6:7", "fd00:1:2:3:4:5:6:7", 443},
        {"h.example", NULL, 0},
        {"=127.0.0.1", NULL, 0},
        {"h=127.0.0.1", NULL, 0},
        {"h.example=", NULL, 0},
        {"h.example=other.example", NULL, 0},
        {"h.example=127.0.0.1@0", NULL, 0},
        {"h.example=127.0.0.1@65536", NULL, 0},
        {"h.example=127.0.0.1:443", NULL, 0},
        {"h.example=fe80::1%eth0", NULL, 0},
        {"h.example=[::1]", NULL, 0},
        {"", NULL, 0},
    };
    struct dmsg_pins pins = {0}, again;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        size_t before = pins.count;
        int result = dmsg_pins_add(&pins, dmsg_span_text(rows[i].text), NULL);
        CHECK_ROW(result == (rows[i].address != NULL ? 0 : DMSG_E_USAGE), "%s", rows[i].text);
        CHECK_ROW(pins.count == before + (result == 0), "%s", rows[i].text);
        if (result == 0)
            CHECK_ROW(strcmp(pins.pins[before].address, rows[i].address) == 0 &&
                          pins.pins[before].port == rows[i].port,
                "%s", rows[i].text);
    }
    struct dmsg_buffer body = {0};
    dmsg_pins_put(&body, &pins);
    REQUIRE(dmsg_pins_parse(&again, dmsg_buffer_span(&body), NULL) == 0);
    CHECK(again.count == pins.count);
    for (size_t i = 0; i < again.count; i++)
        CHECK(dmsg_name_equal(&again.pins[i].host, &pins.pins[i].host) &&
              strcmp(again.pins[i].address, pins.pins[i].address) == 0 &&
              again.pins[i].port == pins.pins[i].port);
    dmsg_buffer_done(&body);
    CHECK(dmsg_pins_parse(&again, (struct dmsg_span){NULL, 0}, NULL) == 0 && again.count == 0);
    CHECK(dmsg_pins_parse(&again, dmsg_span_text("x"), NULL) == DMSG_E_FORMAT);
    while (pins.count < DMSG_PINS_MAX)
        CHECK(dmsg_pins_add(&pins, dmsg_span_text(rows[0].text), NULL) == 0);
    CHECK(dmsg_pins_add(&pins, dmsg_span_text(rows[0].text), NULL) == DMSG_E_USAGE);
}

/* ================================================================================= certificates */

struct wanted {
    const char *subject, *issuer;
    EVP_PKEY *key, *signer;
    const char *basic; /* basicConstraints; NULL: no extension */
    bool no_aki;
};

static void add_extension(X509 *x509, X509 *issuer, int nid, const char *value)
{
    X509V3_CTX ctx;
    X509V3_set_ctx(&ctx, issuer, x509, NULL, NULL, 0);
    X509_EXTENSION *extension = X509V3_EXT_conf_nid(NULL, &ctx, nid, value);
    X509_add_ext(x509, extension, -1);
    X509_EXTENSION_free(extension);
}

static void add_aki(X509 *x509, EVP_PKEY *signer)
{
    /* RFC 7093 section 2 would have other octets: ours are any hash of the key. */
    unsigned char *der = NULL, digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    int length = i2d_PUBKEY(signer, &der);
    AUTHORITY_KEYID *aki = AUTHORITY_KEYID_new();
    EVP_Digest(der, (size_t)length, digest, &size, EVP_sha1(), NULL);
    aki->keyid = ASN1_OCTET_STRING_new();
    ASN1_OCTET_STRING_set(aki->keyid, digest, (int)size);
    X509_add1_ext_i2d(x509, NID_authority_key_identifier, aki, 0, X509V3_ADD_DEFAULT);
    AUTHORITY_KEYID_free(aki);
    OPENSSL_free(der);
}

static void add_ski(X509 *x509, EVP_PKEY *key)
{
    unsigned char *der = NULL, digest[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    int length = i2d_PUBKEY(key, &der);
    ASN1_OCTET_STRING *ski = ASN1_OCTET_STRING_new();
    EVP_Digest(der, (size_t)length, digest, &size, EVP_sha1(), NULL);
    ASN1_OCTET_STRING_set(ski, digest, (int)size);
    X509_add1_ext_i2d(x509, NID_subject_key_identifier, ski, 0, X509V3_ADD_DEFAULT);
    ASN1_OCTET_STRING_free(ski);
    OPENSSL_free(der);
}

static X509 *issue(const struct wanted *wanted)
{
    X509 *x509 = X509_new();
    X509_set_version(x509, X509_VERSION_3);
    ASN1_INTEGER_set(X509_get_serialNumber(x509), 1);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x509), "CN", MBSTRING_ASC,
        (const unsigned char *)wanted->subject, -1, -1, 0);
    X509_NAME *issuer = X509_NAME_new();
    X509_NAME_add_entry_by_txt(
        issuer, "CN", MBSTRING_ASC, (const unsigned char *)wanted->issuer, -1, -1, 0);
    X509_set_issuer_name(x509, issuer);
    X509_NAME_free(issuer);
    X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
    X509_gmtime_adj(X509_getm_notAfter(x509), 86400);
    X509_set_pubkey(x509, wanted->key);
    if (wanted->basic != NULL)
        add_extension(x509, x509, NID_basic_constraints, wanted->basic);
    add_ski(x509, wanted->key);
    if (!wanted->no_aki)
        add_aki(x509, wanted->signer);
    X509_sign(x509, wanted->signer, EVP_sha256());
    return x509;
}

static void path_of(char out[static 512], const char *aki)
{
    snprintf(out, 512, "%s/%s.pem", folder, aki);
}

static void write_text(const char *path, const void *text, size_t size)
{
    FILE *file = fopen(path, "wb");
    if (file != NULL) {
        fwrite(text, 1, size, file);
        fclose(file);
    }
}

/* Puts what is served in the place where the issuer of `below` is looked for. */
static void serve(X509 *below, X509 *issuer)
{
    char aki[DMSG_AKI_TEXT], path[512];
    if (dmsg_authority_key_id(aki, below, NULL) < 0)
        return;
    path_of(path, aki);
    FILE *file = fopen(path, "wb");
    if (file != NULL) {
        PEM_write_X509(file, issuer);
        fclose(file);
    }
}

static void serve_text(X509 *below, const char *text, size_t size)
{
    char aki[DMSG_AKI_TEXT], path[512];
    if (dmsg_authority_key_id(aki, below, NULL) == 0) {
        path_of(path, aki);
        write_text(path, text, size);
    }
}

static void clear_folder(void)
{
    char command[600];
    snprintf(command, sizeof command, "rm -f %s/*", folder);
    if (system(command) != 0)
        printf("# cannot clear %s\n", folder);
}

/* A ladder of `count` CAs, the last one self-signed, and a leaf below the first. */
#define RUNGS 6
struct ladder {
    EVP_PKEY *leaf_key, *keys[RUNGS];
    X509 *leaf, *rungs[RUNGS];
    int count;
};

static void make_ladder(struct ladder *ladder, int count, const char *type, bool root_without_aki)
{
    static const char *const names[] = {"one", "two", "three", "four", "five", "six"};
    *ladder = (struct ladder){.count = count, .leaf_key = make_key("P-256")};
    for (int i = 0; i < count; i++)
        ladder->keys[i] = make_key(type);
    for (int i = 0; i < count; i++) {
        int above = i < count - 1 ? i + 1 : i;
        struct wanted wanted = {.subject = names[i],
            .issuer = names[above],
            .key = ladder->keys[i],
            .signer = ladder->keys[above],
            .basic = "critical,CA:TRUE",
            .no_aki = i == count - 1 && root_without_aki};
        ladder->rungs[i] = issue(&wanted);
    }
    struct wanted leaf = {
        .subject = "leaf", .issuer = names[0], .key = ladder->leaf_key, .signer = ladder->keys[0]};
    ladder->leaf = issue(&leaf);
    clear_folder();
    serve(ladder->leaf, ladder->rungs[0]);
    for (int i = 0; i < count - 1; i++)
        serve(ladder->rungs[i], ladder->rungs[i + 1]);
}

static void free_ladder(struct ladder *ladder)
{
    X509_free(ladder->leaf);
    EVP_PKEY_free(ladder->leaf_key);
    for (int i = 0; i < ladder->count; i++) {
        X509_free(ladder->rungs[i]);
        EVP_PKEY_free(ladder->keys[i]);
    }
}

static void writes_key_identifiers(void)
{
    struct ladder ladder;
    char text[DMSG_AKI_TEXT] = "";
    struct dmsg_error error = {0};
    make_ladder(&ladder, 1, "P-256", true);
    REQUIRE(dmsg_authority_key_id(text, ladder.leaf, NULL) == 0);
    const ASN1_OCTET_STRING *key_id = X509_get0_authority_key_id(ladder.leaf);
    CHECK(strlen(text) == 20 * 3 - 1 && text[2] == '-');
    for (int i = 0; i < 20; i++)
        CHECK((unsigned char)strtoul(text + 3 * i, NULL, 16) == ASN1_STRING_get0_data(key_id)[i]);
    CHECK(dmsg_authority_key_id(text, ladder.rungs[0], &error) == DMSG_E_CERTIFICATE);
    CHECK(strstr(error.text, "authority key identifier") != NULL);
    free_ladder(&ladder);
}

/* ========================================================================== playing the process */

static struct dmsg_channel channel;

static void note_fetch(const char *mode, const struct dmsg_fetch *fetch)
{
    char path[512];
    snprintf(path, sizeof path, "%s/log", folder);
    FILE *file = fopen(path, "a");
    if (file != NULL) {
        fprintf(file, "%s %s %s\n", mode, fetch->host.text, fetch->aki);
        fclose(file);
    }
}

static int fetches(void)
{
    char path[512];
    int count = 0;
    snprintf(path, sizeof path, "%s/log", folder);
    FILE *file = fopen(path, "r");
    for (int c; file != NULL && (c = fgetc(file)) != EOF;)
        count += c == '\n';
    if (file != NULL)
        fclose(file);
    return count;
}

static void answer_from_folder(uint32_t id, const struct dmsg_fetch *fetch)
{
    static uint8_t content[DMSG_FETCH_SIZE_MAX];
    struct dmsg_buffer body = {0};
    struct dmsg_fetched fetched = {.status = DMSG_FETCH_NONE, .why = "HTTP status 404"};
    char path[512];
    path_of(path, fetch->aki);
    FILE *file = fopen(path, "rb");
    if (file != NULL) {
        fetched.status = DMSG_FETCH_CONTENT;
        fetched.content = (struct dmsg_span){content, fread(content, 1, sizeof content, file)};
        fclose(file);
    }
    dmsg_fetched_put(&body, &fetched);
    dmsg_frame_put(&channel.out, DMSG_FRAME_ANSWER, id, dmsg_buffer_span(&body));
    dmsg_buffer_done(&body);
}

static void put_body(uint32_t id, const char *body, size_t size)
{
    dmsg_frame_put(
        &channel.out, DMSG_FRAME_ANSWER, id, (struct dmsg_span){(const uint8_t *)body, size});
}

static void play_ask(const char *mode, const struct dmsg_frame *frame)
{
    struct dmsg_fetch fetch;
    if (dmsg_fetch_parse(&fetch, frame->body, NULL) < 0)
        _exit(9);
    bool first = fetches() == 0;
    note_fetch(mode, &fetch);
    if (strcmp(mode, "dies") == 0 || (strcmp(mode, "dies-once") == 0 && first))
        _exit(7);
    else if (strcmp(mode, "hangs") == 0 || (strcmp(mode, "hangs-once") == 0 && first))
        for (;;)
            pause();
    else if (strcmp(mode, "silent") == 0)
        return;
    else if (strcmp(mode, "unasked") == 0)
        put_body(frame->id + 1, "\0x", 2);
    else if (strcmp(mode, "malformed") == 0)
        put_body(frame->id, "\7x", 2);
    else if (strcmp(mode, "noise") == 0)
        dmsg_buffer_put_text(&channel.out, "this is no frame at all");
    else if (strcmp(mode, "asks") == 0)
        dmsg_frame_put(&channel.out, DMSG_FRAME_ASK, frame->id, frame->body);
    else if (strcmp(mode, "trouble") == 0)
        dmsg_frame_put(&channel.out, DMSG_FRAME_TROUBLE, 0, dmsg_span_text("has no \x1b CAs"));
    else if (strcmp(mode, "not-now") == 0)
        put_body(frame->id, "\2no route", 9);
    else
        answer_from_folder(frame->id, &fetch);
}

static int play(const char *mode)
{
    struct dmsg_frame frame;
    bool ready = false;
    dmsg_channel_init(&channel, DMSG_PROCESS_FD, 0);
    for (;;) {
        struct pollfd fd = {
            .fd = channel.fd, .events = (short)(POLLIN | (channel.out.size > 0 ? POLLOUT : 0))};
        (void)poll(&fd, 1, -1);
        if (dmsg_channel_read(&channel, NULL) != 1)
            return 0;
        while (dmsg_channel_take(&channel, &frame, NULL) == 1) {
            if (!ready && frame.type != DMSG_FRAME_SETUP)
                return 8;
            ready = true;
            if (frame.type == DMSG_FRAME_ASK)
                play_ask(mode, &frame);
        }
        (void)!dmsg_channel_flush(&channel, NULL);
    }
}

/* ===================================================================================== climbing */

static struct dmsg_authority *start(const char *mode)
{
    const char *arguments[] = {mode, folder, NULL};
    struct dmsg_authority_config config = {.program = self_path, .program_arguments = arguments};
    struct dmsg_authority *authority = NULL;
    struct dmsg_error error;
    clock_now = NOW;
    if (dmsg_authority_new(&authority, &context, &config, &error) < 0) {
        printf("Bail out! %s\n", error.text);
        exit(1);
    }
    return authority;
}

struct told {
    int count, levels;
    size_t index;
    bool not_now;
    char why[500];
    X509 *last;
    struct dmsg_authority *again; /* asks once more from within the callback */
    X509 *certificate;
    struct told *other;
    int stepped;
};

static void on_done(void *user, const struct dmsg_authority_answer *answer)
{
    struct told *told = user;
    told->count++;
    told->index = answer->index;
    told->levels = answer->issuers != NULL ? sk_X509_num(answer->issuers) : 0;
    told->not_now = answer->not_now;
    snprintf(told->why, sizeof told->why, "%s", answer->why);
    X509_free(told->last);
    told->last = NULL;
    if (told->levels > 0) {
        told->last = sk_X509_value(answer->issuers, told->levels - 1);
        X509_up_ref(told->last);
    }
    if (told->again != NULL) {
        struct dmsg_name name = name_of(NAME);
        told->stepped = dmsg_authority_step(told->again, NULL);
        CHECK(dmsg_authority_ask(told->again, &name, &told->certificate, 1, dmsg_now_ms() + 5000,
                  on_done, told->other, NULL) == 0);
    }
}

static void step_until(struct dmsg_authority *authority, const struct told *told, int count)
{
    int64_t end = dmsg_now_ms() + 20000;
    while (told->count < count && dmsg_now_ms() < end) {
        int wait = dmsg_authority_step(authority, NULL);
        CHECK(wait >= 0);
        struct pollfd fd = {.fd = dmsg_authority_fd(authority), .events = POLLIN};
        if (told->count < count)
            (void)poll(&fd, 1, wait + 50);
    }
    CHECK_ROW(told->count == count, "%d of %d", told->count, count);
}

/* Asks and waits: the levels, and told for the rest. */
static int climb_from(struct dmsg_authority *authority, const char *text, X509 *certificate,
    int patience, struct told *told)
{
    struct dmsg_name name = name_of(text);
    *told = (struct told){0};
    int result = dmsg_authority_ask(
        authority, &name, &certificate, 1, dmsg_now_ms() + patience, on_done, told, NULL);
    if (result < 0)
        return result;
    step_until(authority, told, 1);
    return told->levels;
}

static void climbs(void)
{
    static const struct {
        int levels;
        const char *type;
        bool root_without_aki;
    } rows[] = {{1, "P-256", true}, {1, "RSA2048", false}, {2, "P-384", true}, {2, "RSA2048", true},
        {2, "P-256", false}, {4, "P-256", true}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ladder ladder;
        struct told told;
        make_ladder(&ladder, rows[i].levels, rows[i].type, rows[i].root_without_aki);
        struct dmsg_authority *authority = start("serves");
        CHECK_ROW(climb_from(authority, NAME, ladder.leaf, 10000, &told) == rows[i].levels,
            "%zu: %s", i, told.why);
        CHECK_ROW(told.last != NULL && X509_cmp(told.last, ladder.rungs[ladder.count - 1]) == 0,
            "%zu", i);
        CHECK_ROW(told.why[0] == '\0' && !told.not_now, "%zu", i);
        CHECK_ROW(fetches() == rows[i].levels, "%zu: %d", i, fetches());
        X509_free(told.last);
        dmsg_authority_free(&authority);
        CHECK(authority == NULL);
        free_ladder(&ladder);
    }
}

static void serves_loop(struct ladder *ladder)
{
    /* Two CAs that have issued each other. */
    for (int i = 0; i < 2; i++) {
        struct wanted wanted = {.subject = i == 0 ? "one" : "two",
            .issuer = i == 0 ? "two" : "one",
            .key = ladder->keys[i],
            .signer = ladder->keys[1 - i],
            .basic = "critical,CA:TRUE"};
        X509_free(ladder->rungs[i]);
        ladder->rungs[i] = issue(&wanted);
    }
    serve(ladder->leaf, ladder->rungs[0]);
    serve(ladder->rungs[0], ladder->rungs[1]);
    serve(ladder->rungs[1], ladder->rungs[0]);
}

static void serves_no_ca(struct ladder *ladder)
{
    struct wanted wanted = {.subject = "one",
        .issuer = "two",
        .key = ladder->keys[0],
        .signer = ladder->keys[1],
        .basic = "CA:FALSE"};
    X509 *no_ca = issue(&wanted);
    serve(ladder->leaf, no_ca);
    X509_free(no_ca);
}

static void serves_v1_like(struct ladder *ladder)
{
    struct wanted wanted = {
        .subject = "one", .issuer = "one", .key = ladder->keys[0], .signer = ladder->keys[0]};
    X509 *without = issue(&wanted);
    serve(ladder->leaf, without);
    X509_free(without);
}

static void serves_another_name(struct ladder *ladder)
{
    struct wanted wanted = {.subject = "other",
        .issuer = "other",
        .key = ladder->keys[0],
        .signer = ladder->keys[0],
        .basic = "critical,CA:TRUE"};
    X509 *other = issue(&wanted);
    serve(ladder->leaf, other);
    X509_free(other);
}

static void serves_another_key(struct ladder *ladder)
{
    struct wanted wanted = {.subject = "one",
        .issuer = "one",
        .key = ladder->keys[1],
        .signer = ladder->keys[1],
        .basic = "critical,CA:TRUE"};
    X509 *other = issue(&wanted);
    serve(ladder->leaf, other);
    X509_free(other);
}

static void serves_no_top(struct ladder *ladder)
{
    struct wanted wanted = {.subject = "one",
        .issuer = "two",
        .key = ladder->keys[0],
        .signer = ladder->keys[1],
        .basic = "critical,CA:TRUE",
        .no_aki = true};
    X509 *dangling = issue(&wanted);
    serve(ladder->leaf, dangling);
    X509_free(dangling);
}

static void serves_nothing(struct ladder *ladder)
{
    (void)ladder;
    clear_folder();
}

static void serves_text(struct ladder *ladder)
{
    serve_text(ladder->leaf, "<html>", 6);
}

static void serves_broken_pem(struct ladder *ladder)
{
    static const char text[] = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    serve_text(ladder->leaf, text, sizeof text - 1);
}

static void serves_a_key(struct ladder *ladder)
{
    char aki[DMSG_AKI_TEXT], path[512];
    if (dmsg_authority_key_id(aki, ladder->leaf, NULL) < 0)
        return;
    path_of(path, aki);
    FILE *file = fopen(path, "wb");
    PEM_write_PUBKEY(file, ladder->keys[0]);
    fclose(file);
}

static void serves_two(struct ladder *ladder)
{
    char aki[DMSG_AKI_TEXT], path[512];
    if (dmsg_authority_key_id(aki, ladder->leaf, NULL) < 0)
        return;
    path_of(path, aki);
    FILE *file = fopen(path, "wb");
    PEM_write_X509(file, ladder->rungs[0]);
    PEM_write_X509(file, ladder->rungs[1]);
    fclose(file);
}

static void refuses_what_is_no_chain(void)
{
    static const struct {
        const char *what;
        void (*serve)(struct ladder *ladder);
        const char *word; /* in why */
    } rows[] = {
        {"loop", serves_loop, "circle"},
        {"CA:FALSE", serves_no_ca, "no CA certificate"},
        {"no basicConstraints", serves_v1_like, "no CA certificate"},
        {"another name", serves_another_name, "not the issuer's"},
        {"another key", serves_another_key, "not the issuer's"},
        {"no way on", serves_no_top, "no authority key identifier"},
        {"nothing", serves_nothing, "404"},
        {"HTML", serves_text, "not PEM"},
        {"broken PEM", serves_broken_pem, "DER"},
        {"a key", serves_a_key, "no certificate in PEM"},
        {"two certificates", serves_two, "more than one"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ladder ladder;
        struct told told;
        make_ladder(&ladder, 2, "P-256", true);
        rows[i].serve(&ladder);
        struct dmsg_authority *authority = start("serves");
        CHECK_ROW(climb_from(authority, NAME, ladder.leaf, 10000, &told) == 0, "%s", rows[i].what);
        CHECK_ROW(strstr(told.why, rows[i].word) != NULL && !told.not_now, "%s: %s", rows[i].what,
            told.why);
        dmsg_authority_free(&authority);
        free_ladder(&ladder);
    }
}

static void climbs_no_higher_than_four(void)
{
    struct ladder ladder;
    struct told told;
    make_ladder(&ladder, 5, "P-256", true);
    struct dmsg_authority *authority = start("serves");
    CHECK(climb_from(authority, NAME, ladder.leaf, 10000, &told) == 0);
    CHECK(strstr(told.why, "4 levels") != NULL && !told.not_now);
    CHECK(fetches() == 4);
    dmsg_authority_free(&authority);
    free_ladder(&ladder);
}

static void refuses_questions_that_are_none(void)
{
    struct ladder ladder;
    struct told told = {0};
    struct dmsg_name name = name_of(NAME), plain = name_of("device.example.net");
    X509 *many[DMSG_AUTHORITY_CERTIFICATES_MAX + 1];
    make_ladder(&ladder, 1, "P-256", true);
    for (size_t i = 0; i < sizeof many / sizeof many[0]; i++)
        many[i] = ladder.leaf;
    struct dmsg_authority *authority = start("serves");
    CHECK(dmsg_authority_ask(authority, &plain, many, 1, dmsg_now_ms(), on_done, &told, NULL) ==
          DMSG_E_NAME);
    CHECK(dmsg_authority_ask(authority, &name, many, 0, dmsg_now_ms(), on_done, &told, NULL) ==
          DMSG_E_USAGE);
    CHECK(dmsg_authority_ask(authority, &name, many, sizeof many / sizeof many[0], dmsg_now_ms(),
              on_done, &told, NULL) == DMSG_E_USAGE);
    int asked = 0;
    struct dmsg_error error = {0};
    while (asked < 1000 && dmsg_authority_ask(authority, &name, many, 1, dmsg_now_ms() + 9000,
                               on_done, &told, &error) == 0)
        asked++;
    CHECK(asked == 256 && error.code == DMSG_E_QUOTA);
    CHECK(told.count == 0);
    dmsg_authority_free(&authority); /* with jobs open: nobody is called */
    CHECK(told.count == 0);
    free_ladder(&ladder);
}

/* Several certificates of a name: answered in their order, sharing issuers and the budget. */
static void climbs_from_several(void)
{
    struct ladder ladder;
    struct told told = {0};
    struct dmsg_name name = name_of(NAME);
    make_ladder(&ladder, 2, "P-256", true);
    X509 *many[] = {ladder.leaf, ladder.leaf, ladder.leaf};
    struct dmsg_authority *authority = start("serves");
    REQUIRE(dmsg_authority_ask(
                authority, &name, many, 3, dmsg_now_ms() + 9000, on_done, &told, NULL) == 0);
    step_until(authority, &told, 3);
    CHECK(told.levels == 2 && told.index == 2 && fetches() == 2);
    X509_free(told.last);
    dmsg_authority_free(&authority);
    free_ladder(&ladder);
}

static void fetches_four_for_a_name(void)
{
    struct ladder ladders[3];
    struct told told = {0};
    struct dmsg_name name = name_of(NAME);
    X509 *many[3];
    for (int i = 0; i < 3; i++)
        make_ladder(&ladders[i], 2, "P-256", true);
    clear_folder();
    for (int i = 0; i < 3; i++) {
        many[i] = ladders[i].leaf;
        serve(ladders[i].leaf, ladders[i].rungs[0]);
        serve(ladders[i].rungs[0], ladders[i].rungs[1]);
    }
    struct dmsg_authority *authority = start("serves");
    REQUIRE(dmsg_authority_ask(
                authority, &name, many, 3, dmsg_now_ms() + 9000, on_done, &told, NULL) == 0);
    step_until(authority, &told, 3);
    CHECK(told.index == 2 && told.levels == 0 && strstr(told.why, "more than 4") != NULL &&
          fetches() == 4);
    /* What is known by now costs nothing, and another question has its own four. */
    CHECK(climb_from(authority, NAME, ladders[2].leaf, 9000, &told) == 2);
    CHECK(fetches() == 6);
    X509_free(told.last);
    dmsg_authority_free(&authority);
    for (int i = 0; i < 3; i++)
        free_ladder(&ladders[i]);
}

static void remembers(void)
{
    struct ladder ladder;
    struct told told;
    make_ladder(&ladder, 2, "P-256", true);
    struct dmsg_authority *authority = start("serves");
    static const struct {
        int64_t after;
        int fetches; /* all that were made by then */
    } rows[] = {{0, 2}, {0, 2}, {DMSG_ISSUER_LIFE - 1, 2}, {1, 4}, {-1, 6}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        clock_now += rows[i].after;
        CHECK_ROW(climb_from(authority, NAME, ladder.leaf, 9000, &told) == 2, "%zu", i);
        CHECK_ROW(fetches() == rows[i].fetches, "%zu: %d", i, fetches());
        X509_free(told.last);
    }
    /* Another host has issuers of its own, whatever their identifiers. */
    CHECK(climb_from(authority, "a._other.example", ladder.leaf, 9000, &told) == 2);
    CHECK(fetches() == 8);
    X509_free(told.last);
    dmsg_authority_free(&authority);
    free_ladder(&ladder);
}

static void remembers_failures(void)
{
    struct ladder ladder;
    struct told told;
    make_ladder(&ladder, 1, "P-256", true);
    clear_folder();
    struct dmsg_authority *authority = start("serves");
    CHECK(climb_from(authority, NAME, ladder.leaf, 9000, &told) == 0 && fetches() == 1);
    serve(ladder.leaf, ladder.rungs[0]);
    clock_now += DMSG_ISSUER_FAILURE_LIFE - 1;
    CHECK(climb_from(authority, NAME, ladder.leaf, 9000, &told) == 0 && fetches() == 1);
    clock_now += 1;
    CHECK(climb_from(authority, NAME, ladder.leaf, 9000, &told) == 1 && fetches() == 2);
    X509_free(told.last);
    dmsg_authority_free(&authority);
    free_ladder(&ladder);
}

static void bounds_the_cache(void)
{
    struct ladder ladder;
    struct told told;
    make_ladder(&ladder, 1, "P-256", true);
    struct dmsg_authority *authority = start("serves");
    for (int i = 0; i < DMSG_ISSUERS_CACHED_MAX + 1; i++) {
        char text[60];
        snprintf(text, sizeof text, "a._host%d.example", i);
        CHECK_ROW(climb_from(authority, text, ladder.leaf, 9000, &told) == 1, "%d", i);
        X509_free(told.last);
    }
    int before = fetches();
    CHECK(before == DMSG_ISSUERS_CACHED_MAX + 1);
    CHECK(climb_from(authority, "a._host256.example", ladder.leaf, 9000, &told) == 1);
    X509_free(told.last);
    CHECK(fetches() == before);
    CHECK(climb_from(authority, "a._host0.example", ladder.leaf, 9000, &told) == 1);
    X509_free(told.last);
    CHECK(fetches() == before + 1); /* it was the longest unused */
    dmsg_authority_free(&authority);
    free_ladder(&ladder);
}

static void may_ask_from_a_callback(void)
{
    struct ladder ladder;
    struct told second = {0};
    make_ladder(&ladder, 2, "P-256", true);
    struct dmsg_authority *authority = start("serves");
    struct told first = {.again = authority, .certificate = ladder.leaf, .other = &second};
    struct dmsg_name name = name_of(NAME);
    CHECK(dmsg_authority_ask(
              authority, &name, &ladder.leaf, 1, dmsg_now_ms() + 9000, on_done, &first, NULL) == 0);
    step_until(authority, &second, 1);
    CHECK(first.count == 1 && second.count == 1 && second.levels == 2 && fetches() == 2);
    CHECK(first.stepped == DMSG_E_USAGE);
    X509_free(first.last);
    X509_free(second.last);
    dmsg_authority_free(&authority);
    free_ladder(&ladder);
}

/* ============================================================================ a process that fails
 */

static void survives_a_bad_process(void)
{
    static const struct {
        const char *mode;
        int levels, fetches;
        const char *word;
    } rows[] = {
        {"dies", 0, 2, "ended with status 7"},
        {"unasked", 0, 2, "not asked"},
        {"malformed", 0, 2, "malformed"},
        {"noise", 0, 2, "a frame that says it has"},
        {"asks", 0, 2, "only it may get"},
        {"trouble", 0, 2, "has no ? CAs"},
        {"not-now", 0, 1, "no route"},
        {"dies-once", 1, 2, ""},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct ladder ladder;
        struct told told;
        make_ladder(&ladder, 1, "P-256", true);
        struct dmsg_authority *authority = start(rows[i].mode);
        CHECK_ROW(climb_from(authority, NAME, ladder.leaf, 15000, &told) == rows[i].levels,
            "%s: %s", rows[i].mode, told.why);
        CHECK_ROW(strstr(told.why, rows[i].word) != NULL, "%s: %s", rows[i].mode, told.why);
        CHECK_ROW(told.not_now == (rows[i].levels == 0), "%s", rows[i].mode);
        CHECK_ROW(fetches() == rows[i].fetches, "%s: %d", rows[i].mode, fetches());
        X509_free(told.last);
        dmsg_authority_free(&authority);
        free_ladder(&ladder);
    }
}

struct brought {
    int count;
    enum dmsg_fetch_status status;
    char why[160];
};

static void on_brought(void *user, const struct dmsg_fetched *fetched)
{
    struct brought *brought = user;
    brought->count++;
    brought->status = fetched->status;
    memcpy(brought->why, fetched->why, sizeof brought->why);
}

static struct dmsg_fetcher *start_fetcher(const char *mode, const struct dmsg_pins *pins)
{
    const char *arguments[] = {mode, folder, NULL};
    struct dmsg_authority_config config = {.program = self_path, .program_arguments = arguments};
    struct dmsg_fetcher *fetcher = NULL;
    if (dmsg_fetcher_new(&fetcher, &config, pins, NULL) < 0)
        exit(1);
    return fetcher;
}

static void bring(struct dmsg_fetcher *fetcher, const struct brought *brought, int count)
{
    int64_t end = dmsg_now_ms() + 20000;
    while (brought->count < count && dmsg_now_ms() < end) {
        int wait = dmsg_fetcher_step(fetcher, NULL);
        struct pollfd fd = {.fd = dmsg_fetcher_fd(fetcher), .events = POLLIN};
        if (brought->count < count)
            (void)poll(&fd, 1, wait + 50);
    }
    CHECK_ROW(brought->count == count, "%d of %d", brought->count, count);
}

/* It is killed, and what is asked later gets another process. */
static void ends_a_process_that_hangs(void)
{
    static const struct dmsg_pins none = {0};
    struct dmsg_fetch fetch = {.host = name_of(HOST), .aki = "ab"};
    struct brought brought = {0};
    clear_folder();
    struct dmsg_fetcher *fetcher = start_fetcher("hangs-once", &none);
    CHECK(dmsg_fetcher_process(fetcher) == 0); /* none before the first question */
    dmsg_fetcher_set_patience(fetcher, 300);
    REQUIRE(dmsg_fetcher_ask(fetcher, &fetch, on_brought, &brought, NULL) == 0);
    CHECK(dmsg_fetcher_step(fetcher, NULL) >= 0);
    pid_t first = dmsg_fetcher_process(fetcher);
    CHECK(first > 0);
    bring(fetcher, &brought, 1);
    CHECK(brought.status == DMSG_FETCH_NOT_NOW && strstr(brought.why, "hangs") != NULL);
    CHECK(kill(first, 0) < 0); /* reaped */
    dmsg_fetcher_set_patience(fetcher, 10000);
    REQUIRE(dmsg_fetcher_ask(fetcher, &fetch, on_brought, &brought, NULL) == 0);
    bring(fetcher, &brought, 2);
    CHECK_ROW(brought.status == DMSG_FETCH_NONE, "%s", brought.why);
    CHECK(dmsg_fetcher_process(fetcher) > 0 && dmsg_fetcher_process(fetcher) != first);
    dmsg_fetcher_free(&fetcher);
}

static void bounds_the_fetches(void)
{
    static const struct dmsg_pins none = {0};
    struct dmsg_fetch fetch = {.host = name_of(HOST), .aki = "ab"};
    struct brought brought = {0};
    struct dmsg_error error = {0};
    int asked = 0;
    struct dmsg_fetcher *fetcher = start_fetcher("silent", &none);
    while (asked < 1000 && dmsg_fetcher_ask(fetcher, &fetch, on_brought, &brought, &error) == 0)
        asked++;
    CHECK(asked == DMSG_FETCHES_MAX && error.code == DMSG_E_QUOTA);
    CHECK(dmsg_fetcher_step(fetcher, NULL) >= 0);
    dmsg_fetcher_free(&fetcher);
    CHECK(brought.count == 0);
}

/* The deadline of the caller is kept, whatever the process does. */
static void keeps_the_deadline(void)
{
    struct ladder ladder;
    struct told told;
    make_ladder(&ladder, 1, "P-256", true);
    struct dmsg_authority *authority = start("silent");
    int64_t begin = dmsg_now_ms();
    CHECK(climb_from(authority, NAME, ladder.leaf, 300, &told) == 0);
    CHECK(told.not_now && strstr(told.why, "too long") != NULL);
    CHECK(dmsg_now_ms() - begin >= 300 && dmsg_now_ms() - begin < DMSG_FETCH_MS);
    dmsg_authority_free(&authority);
    free_ladder(&ladder);
}

static void reports_what_cannot_start(void)
{
    static const char *const servers[] = {"nonsense"};
    struct dmsg_authority *authority = NULL;
    struct dmsg_authority_config config = {.servers = servers, .server_count = 1};
    struct dmsg_error error = {0};
    struct ladder ladder;
    struct told told;
    CHECK(dmsg_authority_new(&authority, &context, &config, &error) == DMSG_E_USAGE);
    CHECK(strstr(error.text, "nonsense") != NULL && authority == NULL);
    make_ladder(&ladder, 1, "P-256", true);
    config = (struct dmsg_authority_config){.program = "/nonexistent/fetcher"};
    REQUIRE(dmsg_authority_new(&authority, &context, &config, NULL) == 0);
    CHECK(climb_from(authority, NAME, ladder.leaf, 300, &told) == 0 && told.not_now);
    dmsg_authority_free(&authority);
    free_ladder(&ladder);
}

/* ============================================================================= the real process */

static void real_refuses_private_addresses(void)
{
    /* Numbers are names to getaddrinfo, so that the very address is known here. */
    static const struct {
        const char *host, *word;
    } rows[] = {
        {"127.0.0.1", "127.0.0.1 is none of the public"},
        {"0x7f.1", "127.0.0.1 is none of the public"},
        {"10.0.0.1", "10.0.0.1 is none of the public"},
        {"169.254.169.254", "169.254.169.254 is none of the public"},
        {"100.64.0.1", "100.64.0.1 is none of the public"},
        {"0.0", "0.0.0.0 is none of the public"},
    };
    static const struct dmsg_pins none = {0};
    struct dmsg_fetcher *fetcher = start_fetcher("real", &none);
    struct brought brought = {0};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_fetch fetch = {.host = name_of(rows[i].host), .aki = "ab"};
        REQUIRE(dmsg_fetcher_ask(fetcher, &fetch, on_brought, &brought, NULL) == 0);
        bring(fetcher, &brought, (int)i + 1);
        CHECK_ROW(brought.status == DMSG_FETCH_NOT_NOW && strstr(brought.why, rows[i].word) != NULL,
            "%s: %s", rows[i].host, brought.why);
    }
    dmsg_fetcher_free(&fetcher);
}

static int listen_on_loopback(uint16_t *port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(fd, (struct sockaddr *)&address, size) < 0 || listen(fd, 8) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &size) < 0)
        return -1;
    *port = ntohs(address.sin_port);
    return fd;
}

/* What comes of a name that nobody has (RFC 6761 section 6.4) is the network's to say; but it is
   looked up, which takes a thread and all that a thread is allowed. */
static void real_looks_names_up(void)
{
    static const struct dmsg_pins none = {0};
    struct dmsg_fetcher *fetcher = start_fetcher("real", &none);
    struct dmsg_fetch fetch = {.host = name_of("nobody.invalid"), .aki = "ab"};
    struct brought brought = {0};
    REQUIRE(dmsg_fetcher_ask(fetcher, &fetch, on_brought, &brought, NULL) == 0);
    bring(fetcher, &brought, 1);
    CHECK(brought.status == DMSG_FETCH_NOT_NOW);
    CHECK_ROW(strstr(brought.why, "Could not resolve host") != NULL ||
                  strstr(brought.why, "no answer within") != NULL,
        "%s", brought.why);
    dmsg_fetcher_free(&fetcher);
}

/* A host that is pinned is connected to, and only there; one that says nothing costs its time, not
   that of others. */
static void real_connects_where_it_may(void)
{
    uint16_t port = 0;
    int server = listen_on_loopback(&port);
    char text[80];
    struct dmsg_pins pins = {0};
    struct brought slow = {0}, refused = {0};
    struct dmsg_fetch pinned = {.host = name_of("pinned.example"), .aki = "ab"};
    struct dmsg_fetch other = {.host = name_of("127.0.0.1"), .aki = "ab"};
    REQUIRE(server >= 0);
    snprintf(text, sizeof text, "pinned.example=127.0.0.1@%u", port);
    REQUIRE(dmsg_pins_add(&pins, dmsg_span_text(text), NULL) == 0);
    struct dmsg_fetcher *fetcher = start_fetcher("real", &pins);
    REQUIRE(dmsg_fetcher_ask(fetcher, &pinned, on_brought, &slow, NULL) == 0);
    REQUIRE(dmsg_fetcher_ask(fetcher, &other, on_brought, &refused, NULL) == 0);
    bring(fetcher, &refused, 1);
    CHECK(slow.count == 0);
    struct pollfd fd = {.fd = server, .events = POLLIN};
    CHECK(poll(&fd, 1, 10000) == 1);
    int connection = accept(server, NULL, NULL);
    uint8_t hello[3] = {0};
    CHECK(recv(connection, hello, 3, MSG_WAITALL) == 3);
    CHECK(hello[0] == 0x16 && hello[1] == 3); /* a TLS handshake record, RFC 8446 section 5.1 */
    close(connection);                        /* now the fetch is over, and not by its time */
    bring(fetcher, &slow, 1);
    CHECK_ROW(slow.status == DMSG_FETCH_NOT_NOW, "%s", slow.why);
    close(server);
    dmsg_fetcher_free(&fetcher);
}

static void real_refuses(void)
{
    static const struct {
        const char *what;
        enum dmsg_frame_type type;
        const char *body;
        bool after_setup;
    } rows[] = {
        {"a fetch before the setup", DMSG_FRAME_ASK, HOST " ab", false},
        {"a setup that is none", DMSG_FRAME_SETUP, "x", false},
        {"a second setup", DMSG_FRAME_SETUP, "", true},
        {"what is no fetch", DMSG_FRAME_ASK, "file:///etc/passwd ab", true},
        {"a frame that it may send", DMSG_FRAME_ANSWER, "x", true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        static const char *const arguments[] = {"real", DMSG_FETCH_ARGUMENT, NULL};
        struct dmsg_process process = {0};
        struct dmsg_frame frame;
        int found = 0;
        REQUIRE(dmsg_process_start(&process, self_path, arguments, NULL) == 0);
        if (rows[i].after_setup)
            dmsg_frame_put(&process.channel.out, DMSG_FRAME_SETUP, 0, (struct dmsg_span){NULL, 0});
        dmsg_frame_put(&process.channel.out, rows[i].type, rows[i].type == DMSG_FRAME_SETUP ? 0 : 1,
            dmsg_span_text(rows[i].body));
        CHECK(dmsg_channel_flush(&process.channel, NULL) == 0);
        while (found == 0) {
            struct pollfd fd = {.fd = process.channel.fd, .events = POLLIN};
            if (poll(&fd, 1, 20000) != 1 || dmsg_channel_read(&process.channel, NULL) != 1)
                break;
            found = dmsg_channel_take(&process.channel, &frame, NULL);
        }
        CHECK_ROW(found == 1 && frame.type == DMSG_FRAME_TROUBLE, "%s", rows[i].what);
        dmsg_process_stop(&process, NULL, 0);
    }
}

static void reads_the_systems_trust(void)
{
    struct dmsg_buffer out = {.limit = DMSG_TRUST_MAX};
    struct dmsg_error error;
    char path[512];
    clear_folder();
    snprintf(path, sizeof path, "%s/bundle", folder);
    write_text(path, "BUNDLE", 6);
    unsetenv("SSL_CERT_DIR");
    setenv("SSL_CERT_FILE", path, 1);
    CHECK(dmsg_trust_read(&out, NULL) == 0);
    CHECK(dmsg_span_equal_text(dmsg_buffer_span(&out), "BUNDLE\n"));
    dmsg_buffer_reset(&out);
    snprintf(path, sizeof path, "%s/5ed36f99.0", folder);
    write_text(path, "HASHED\n", 7);
    snprintf(path, sizeof path, "%s/5ed36f99.r0", folder);
    write_text(path, "REVOKED\n", 8);
    setenv("SSL_CERT_DIR", folder, 1);
    CHECK(dmsg_trust_read(&out, NULL) == 0);
    CHECK(dmsg_span_equal_text(dmsg_buffer_span(&out), "BUNDLE\nHASHED\n\n"));
    out.limit = 10;
    CHECK(dmsg_trust_read(&out, &error) == DMSG_E_SIZE);
    dmsg_buffer_done(&out);
    out.limit = DMSG_TRUST_MAX;
    setenv("SSL_CERT_FILE", "/nonexistent", 1);
    setenv("SSL_CERT_DIR", "/nonexistent:/also", 1);
    CHECK(dmsg_trust_read(&out, &error) == DMSG_E_LOCAL);
    dmsg_buffer_done(&out);
    unsetenv("SSL_CERT_FILE");
    unsetenv("SSL_CERT_DIR");
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {TEST(finds_the_host), TEST(judges_addresses),
        TEST(reads_fetches), TEST(reads_what_was_fetched), TEST(reads_pins),
        TEST(writes_key_identifiers), TEST(climbs), TEST(refuses_what_is_no_chain),
        TEST(climbs_no_higher_than_four), TEST(refuses_questions_that_are_none),
        TEST(climbs_from_several), TEST(fetches_four_for_a_name), TEST(remembers),
        TEST(remembers_failures), TEST(bounds_the_cache), TEST(may_ask_from_a_callback),
        TEST(survives_a_bad_process), TEST(ends_a_process_that_hangs), TEST(bounds_the_fetches),
        TEST(keeps_the_deadline), TEST(reports_what_cannot_start),
        TEST(real_refuses_private_addresses), TEST(real_looks_names_up),
        TEST(real_connects_where_it_may), TEST(real_refuses), TEST(reads_the_systems_trust)};
    if (argc >= 3 && strcmp(argv[1], "real") == 0)
        return dmsg_resolver_main(argc, argv);
    if (argc == 4 && strcmp(argv[3], DMSG_FETCH_ARGUMENT) == 0) {
        memcpy(folder, argv[2], sizeof folder);
        return play(argv[1]);
    }
    ssize_t size = readlink("/proc/self/exe", self_path, sizeof self_path - 1);
    if (size < 0 || mkdtemp(folder) == NULL)
        return 1;
    int result = test_run(tests, sizeof tests / sizeof tests[0]);
    clear_folder();
    rmdir(folder);
    return result;
}
