/* Certificate chains: each that holds beside those that must not. */
#include "chain_make.h"
#include "test.h"
#include "x509/chain.h"

#include <openssl/pem.h>
#include <unistd.h>

#define CA "critical,CA:TRUE"
#define CA_USAGE "critical,keyCertSign,cRLSign"
#define CLIENT "DNS:a.example"
#define DAY MADE_DAY
#define NOW MADE_NOW

enum shape {
    WHOLE,        /* leaf, mid, root; root is the anchor */
    DIRECT,       /* leaf, root */
    NO_MID,       /* the intermediate is kept back */
    OTHER_ROOT,   /* another CA of the root's name is the anchor */
    MID_ANCHOR,   /* the intermediate is the anchor, the root is not there */
    ROOT_BROUGHT, /* the root is there, and no anchor */
};

#define GOOD_ROOT .root = {.constraints = CA, .key_usage = CA_USAGE}
#define GOOD_MID .mid = {.constraints = CA, .key_usage = CA_USAGE}
#define GOOD_LEAF .leaf = {.names = CLIENT}

static const struct {
    const char *what;
    struct certify root, mid, leaf;
    enum shape shape;
    const char *error; /* part of the text; NULL: it holds */
} rows[] = {
    {"a whole chain", GOOD_ROOT, GOOD_MID, GOOD_LEAF, WHOLE, NULL},
    {"without an intermediate", GOOD_ROOT, GOOD_MID, GOOD_LEAF, DIRECT, NULL},
    {"RSA above EC", .root = {.type = "RSA2048", .constraints = CA}, GOOD_MID, GOOD_LEAF, WHOLE,
        NULL},
    {"Ed25519 above P-384", .root = {.type = "Ed25519", .constraints = CA},
        .mid = {.type = "P-384", .constraints = CA}, GOOD_LEAF, WHOLE, NULL},
    {"an anchor that is not self-signed", GOOD_ROOT, GOOD_MID, GOOD_LEAF, MID_ANCHOR, NULL},
    {"no intermediate", GOOD_ROOT, GOOD_MID, GOOD_LEAF, NO_MID, "unable to get local issuer"},
    {"another root of the same name", GOOD_ROOT, GOOD_MID, GOOD_LEAF, OTHER_ROOT, "does not hold"},
    {"a root that is no anchor", GOOD_ROOT, GOOD_MID, GOOD_LEAF, ROOT_BROUGHT, "self-signed"},

    {"several names", GOOD_ROOT, GOOD_MID, .leaf = {.names = "DNS:b.example," CLIENT}, WHOLE, NULL},
    {"another name", GOOD_ROOT, GOOD_MID, .leaf = {.names = "DNS:b.example"}, WHOLE,
        "does not bear the name a.example"},
    {"a wildcard", GOOD_ROOT, GOOD_MID, .leaf = {.names = "DNS:*.example"}, WHOLE, "bear the name"},
    {"the name in CN", GOOD_ROOT, GOOD_MID, .leaf = {.subject = "a.example"}, WHOLE,
        "bear the name"},
    {"a name as address", GOOD_ROOT, GOOD_MID, .leaf = {.names = "email:x@a.example"}, WHOLE,
        "bear the name"},

    {"the last second", GOOD_ROOT, GOOD_MID, .leaf = {.names = CLIENT, .not_after = NOW + 1}, WHOLE,
        NULL},
    {"leaf expired", GOOD_ROOT, GOOD_MID, .leaf = {.names = CLIENT, .not_after = NOW}, WHOLE,
        "expired"},
    {"leaf of tomorrow", GOOD_ROOT, GOOD_MID, .leaf = {.names = CLIENT, .not_before = NOW + 1},
        WHOLE, "not yet valid"},
    {"issuer expired", GOOD_ROOT, .mid = {.constraints = CA, .not_after = NOW - 1}, GOOD_LEAF,
        WHOLE, "issuer 1 above it: certificate has expired"},
    {"root expired", .root = {.constraints = CA, .not_after = NOW - 1}, GOOD_MID, GOOD_LEAF, WHOLE,
        "issuer 2 above it: certificate has expired"},

    {"issuer says CA:FALSE", GOOD_ROOT, .mid = {.constraints = "CA:FALSE"}, GOOD_LEAF, WHOLE,
        "issuer 1 above it: invalid CA"},
    {"issuer says nothing", GOOD_ROOT, .mid = {.key_usage = "digitalSignature"}, GOOD_LEAF, WHOLE,
        "does not hold"},
    {"issuer may not sign", GOOD_ROOT, .mid = {.constraints = CA, .key_usage = "digitalSignature"},
        GOOD_LEAF, WHOLE, "does not hold"},
    {"issuer may sign certificates, and does not say that it is a CA", GOOD_ROOT,
        .mid = {.key_usage = "keyCertSign"}, GOOD_LEAF, WHOLE, "issuer 1 above it: invalid CA"},
    {"issuer is a CA in Netscape's words", GOOD_ROOT,
        .mid = {.other_nid = NID_netscape_cert_type, .other = "sslCA"}, GOOD_LEAF, WHOLE,
        "issuer 1 above it: invalid CA"},
    {"anchor says nothing", .root = {0}, GOOD_MID, GOOD_LEAF, WHOLE, "issuer 2 above it: invalid"},
    {"anchor may sign certificates, and does not say that it is a CA",
        .root = {.key_usage = "keyCertSign"}, GOOD_MID, GOOD_LEAF, WHOLE,
        "issuer 2 above it: invalid CA"},
    {"anchor is a CA in Netscape's words",
        .root = {.other_nid = NID_netscape_cert_type, .other = "sslCA"}, GOOD_MID, GOOD_LEAF, WHOLE,
        "issuer 2 above it: invalid CA"},
    {"anchor says CA:FALSE", .root = {.constraints = "CA:FALSE"}, GOOD_MID, GOOD_LEAF, DIRECT,
        "issuer 1 above it: invalid CA"},

    {"path length 1", .root = {.constraints = CA ",pathlen:1"}, GOOD_MID, GOOD_LEAF, WHOLE, NULL},
    {"path length 0", .root = {.constraints = CA ",pathlen:0"}, GOOD_MID, GOOD_LEAF, WHOLE,
        "path length"},
    {"path length 0, direct", .root = {.constraints = CA ",pathlen:0"}, GOOD_MID, GOOD_LEAF, DIRECT,
        NULL},
    {"names permitted",
        .root = {.constraints = CA,
            .other_nid = NID_name_constraints,
            .other = "critical,permitted;DNS:example"},
        GOOD_MID, GOOD_LEAF, WHOLE, NULL},
    {"names not permitted",
        .root = {.constraints = CA,
            .other_nid = NID_name_constraints,
            .other = "critical,permitted;DNS:example.org"},
        GOOD_MID, GOOD_LEAF, WHOLE, "permitted subtree violation"},
    {"a critical extension that nobody knows", GOOD_ROOT,
        .mid = {.constraints = CA, .other_nid = NID_ms_ext_req, .other = "critical,DER:0500"},
        GOOD_LEAF, WHOLE, "unhandled critical extension"},
    {"for code signing", GOOD_ROOT, GOOD_MID,
        .leaf = {.names = CLIENT, .other_nid = NID_ext_key_usage, .other = "codeSigning"}, WHOLE,
        NULL},

    {"RSA 1024 issuer", GOOD_ROOT, .mid = {.type = "RSA1024", .constraints = CA}, GOOD_LEAF, WHOLE,
        "issuer 1 above it: CA certificate key too weak"},
    {"secp256k1 issuer", GOOD_ROOT, .mid = {.type = "secp256k1", .constraints = CA}, GOOD_LEAF,
        WHOLE, "issuer 1 above it: CA certificate key too weak"},
    {"secp256k1 anchor", .root = {.type = "secp256k1", .constraints = CA}, GOOD_MID, GOOD_LEAF,
        WHOLE, "issuer 2 above it: CA certificate key too weak"},
    {"SHA-1 leaf", GOOD_ROOT, GOOD_MID, .leaf = {.names = CLIENT, .sha1 = true}, WHOLE,
        "CA signature digest algorithm too weak"},
    {"SHA-1 issuer", GOOD_ROOT, .mid = {.constraints = CA, .sha1 = true}, GOOD_LEAF, WHOLE,
        "issuer 1 above it: CA signature digest algorithm too weak"},
    {"SHA-1 anchor, which nobody looks at", .root = {.constraints = CA, .sha1 = true}, GOOD_MID,
        GOOD_LEAF, WHOLE, NULL},
};

static struct certify with_subject(struct certify wanted, const char *subject)
{
    wanted.subject = subject;
    return wanted;
}

static struct dmsg_name the_name(void)
{
    struct dmsg_name name;
    CHECK(dmsg_name_parse(&name, dmsg_span_text("a.example"), NULL) == 0);
    return name;
}

static void judges_each(void)
{
    struct dmsg_name name = the_name();
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct certify root_wanted = with_subject(rows[i].root, "Root");
        struct certify mid_wanted = with_subject(rows[i].mid, "Mid");
        struct made root = certify(&root_wanted, NULL);
        struct made other = certify(&root_wanted, NULL);
        struct made mid = certify(&mid_wanted, &root);
        struct made leaf = certify(&rows[i].leaf, rows[i].shape == DIRECT ? &root : &mid);
        STACK_OF(X509) *untrusted = NULL, *anchors = NULL, *found = NULL;
        enum shape shape = rows[i].shape;
        X509 *anchor = shape == MID_ANCHOR   ? mid.x509
                       : shape == OTHER_ROOT ? other.x509
                                             : root.x509;
        if (shape != NO_MID && shape != MID_ANCHOR)
            CHECK(dmsg_chain_add(&untrusted, mid.x509, NULL) == 0);
        if (shape == ROOT_BROUGHT)
            CHECK(dmsg_chain_add(&untrusted, root.x509, NULL) == 0);
        else
            CHECK(dmsg_chain_add(&anchors, anchor, NULL) == 0);
        struct dmsg_chain chain = {.leaf = leaf.x509,
            .untrusted = untrusted,
            .anchors = anchors,
            .name = &name,
            .now = NOW};
        struct dmsg_error error = {0};
        int result = dmsg_chain_judge(&chain, &found, &error);
        CHECK_ROW(result == (rows[i].error != NULL ? DMSG_E_CERTIFICATE : 0), "%s: %s",
            rows[i].what, error.text);
        CHECK_ROW(error.code == result, "%s", rows[i].what);
        if (rows[i].error != NULL)
            CHECK_ROW(strstr(error.text, rows[i].error) != NULL && found == NULL, "%s: %s",
                rows[i].what, error.text);
        else
            CHECK_ROW(sk_X509_num(found) == (shape == WHOLE ? 3 : 2) &&
                          sk_X509_value(found, 0) == leaf.x509 &&
                          X509_cmp(sk_X509_value(found, sk_X509_num(found) - 1), anchor) == 0,
                "%s: %d", rows[i].what, sk_X509_num(found));
        dmsg_chain_free(&found);
        dmsg_chain_free(&untrusted);
        dmsg_chain_free(&anchors);
        made_done(&root);
        made_done(&other);
        made_done(&mid);
        made_done(&leaf);
    }
}

/* Six issuers above the leaf: four may stand between it and the anchor, not five. */
static void bounds_the_depth(void)
{
    struct certify ca = {.subject = "0", .constraints = CA};
    struct made made[7] = {certify(&ca, NULL)};
    STACK_OF(X509) *untrusted = NULL;
    char subject[2] = "0";
    ca.subject = subject;
    for (int i = 1; i < 7; i++) {
        subject[0]++;
        made[i] = certify(&ca, &made[i - 1]);
        CHECK(dmsg_chain_add(&untrusted, made[i].x509, NULL) == 0);
    }
    for (int top = 0; top < 6; top++) {
        STACK_OF(X509) *anchors = NULL;
        CHECK(dmsg_chain_add(&anchors, made[top].x509, NULL) == 0);
        struct dmsg_chain chain = {
            .leaf = made[6].x509, .untrusted = untrusted, .anchors = anchors, .now = NOW};
        int result = dmsg_chain_judge(&chain, NULL, NULL);
        CHECK_ROW(result == (top == 0 ? DMSG_E_CERTIFICATE : 0), "%d", top);
        dmsg_chain_free(&anchors);
    }
    dmsg_chain_free(&untrusted);
    for (int i = 0; i < 7; i++)
        made_done(&made[i]);
}

/* As many names, each of so many octets with what stands before it: "DNS:a.example,DNS:x,DNS:x". */
static char *repeat(const char *first, const char *each, size_t count)
{
    size_t size = strlen(first) + count * strlen(each) + 1;
    char *text = malloc(size);
    if (text == NULL)
        abort();
    snprintf(text, size, "%s", first);
    for (size_t i = 0; i < count; i++)
        memcpy(text + strlen(first) + i * strlen(each), each, strlen(each) + 1);
    return text;
}

/* More comparisons of names than OpenSSL makes fit into a message: that is the fault of who made
   them, not of ours, which would be tried again. */
static void refuses_too_many_names(void)
{
    struct dmsg_name name = the_name();
    for (size_t count = 0; count <= 1100; count += 1100) {
        char *names = repeat(CLIENT, ",DNS:x", count);
        char *subtrees = repeat("permitted;DNS:example", ",excluded;DNS:y", count);
        struct certify ca = {.subject = "Root",
            .constraints = CA,
            .other_nid = NID_name_constraints,
            .other = subtrees};
        struct certify client = {.names = count > 0 ? names : CLIENT};
        struct made root = certify(&ca, NULL), leaf = certify(&client, &root);
        STACK_OF(X509) *anchors = NULL;
        CHECK(dmsg_chain_add(&anchors, root.x509, NULL) == 0);
        struct dmsg_chain chain = {
            .leaf = leaf.x509, .anchors = anchors, .name = &name, .now = NOW};
        struct dmsg_error error = {0};
        int result = dmsg_chain_judge(&chain, NULL, &error);
        CHECK_ROW(result == (count > 0 ? DMSG_E_CERTIFICATE : 0), "%zu: %s", count, error.text);
        dmsg_chain_free(&anchors);
        made_done(&root);
        made_done(&leaf);
        free(names);
        free(subtrees);
    }
}

/* OpenSSL finds the system's CAs; in a test they are those of a file. */
static void asks_the_system(void)
{
    struct certify ca = {.subject = "Root", .constraints = CA}, client = {.names = CLIENT};
    struct made root = certify(&ca, NULL), leaf = certify(&client, &root);
    struct made alone = certify(&client, NULL);
    char path[] = "/tmp/danemsg-chain-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    REQUIRE(file != NULL && PEM_write_X509(file, root.x509) == 1 && fclose(file) == 0);
    for (int known = 0; known < 2; known++) {
        X509_STORE *store = NULL;
        setenv("SSL_CERT_FILE", known ? path : "/nonexistent", 1);
        setenv("SSL_CERT_DIR", "/nonexistent", 1);
        CHECK(dmsg_chain_system(&store, NULL) == 0);
        struct dmsg_chain chain = {.leaf = leaf.x509, .system = store, .now = NOW};
        CHECK(dmsg_chain_judge(&chain, NULL, NULL) == (known ? 0 : DMSG_E_CERTIFICATE));
        chain.leaf = alone.x509;
        CHECK(dmsg_chain_judge(&chain, NULL, NULL) == DMSG_E_CERTIFICATE);
        X509_STORE_free(store);
    }
    unlink(path);
    made_done(&root);
    made_done(&leaf);
    made_done(&alone);
}

static void knows_who_signed(void)
{
    static const struct {
        const char *type;
        bool sha1;
        int expected;
    } keys[] = {{"P-256", false, 1}, {"RSA2048", false, 1}, {"Ed25519", false, 1},
        {"P-256", true, 0}, {"RSA1024", false, 0}, {"secp256k1", false, 0}};
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        struct certify ca = {.type = keys[i].type, .subject = "Root", .constraints = CA};
        struct certify client = {.names = CLIENT, .sha1 = keys[i].sha1};
        struct made root = certify(&ca, NULL), other = certify(&ca, NULL);
        struct made leaf = certify(&client, &root);
        CHECK_ROW(dmsg_chain_signed_by(leaf.x509, root.key, NULL) == keys[i].expected, "%zu", i);
        CHECK_ROW(dmsg_chain_signed_by(leaf.x509, other.key, NULL) == 0, "%zu", i);
        CHECK_ROW(dmsg_chain_signed_by(leaf.x509, leaf.key, NULL) == 0, "%zu", i);
        made_done(&root);
        made_done(&other);
        made_done(&leaf);
    }
}

static void narrows_the_dates(void)
{
    struct certify ca = {.subject = "Root", .constraints = CA, .not_after = NOW + 5};
    struct certify client = {.names = CLIENT, .not_before = NOW - 7};
    struct made root = certify(&ca, NULL), leaf = certify(&client, &root);
    STACK_OF(X509) *both = NULL;
    int64_t from = INT64_MIN, to = INT64_MAX;
    CHECK(
        dmsg_chain_add(&both, leaf.x509, NULL) == 0 && dmsg_chain_add(&both, root.x509, NULL) == 0);
    CHECK(dmsg_chain_dates(&from, &to, both, NULL) == 0 && from == NOW - 7 && to == NOW + 5);
    dmsg_chain_free(&both);
    made_done(&root);
    made_done(&leaf);
}

TEST_MAIN(TEST(judges_each), TEST(bounds_the_depth), TEST(refuses_too_many_names),
    TEST(asks_the_system), TEST(knows_who_signed), TEST(narrows_the_dates))
