/* The certificates that a message carries, judged by the records of a name: each row of
   doc/PROTOCOL.md's table of usages beside what must not pass. */
#include "chain_make.h"
#include "dane/peer_internal.h"
#include "dane/presented.h"
#include "test.h"
#include "x509/certificate.h"

#include <openssl/pem.h>
#include <unistd.h>

#define CA "critical,CA:TRUE"
#define CLIENT "DNS:a.example"
#define DAY MADE_DAY
#define NOW MADE_NOW

static int64_t fixed_now(void *user)
{
    (void)user;
    return NOW;
}

static const struct dmsg_context context = {.now = fixed_now};

/* Whose certificate or key a record is of. */
enum of { LEAF, MID, ROOT, STRANGER };

#define GOOD .root = {.constraints = CA}, .mid = {.constraints = CA}, .leaf = {.names = CLIENT}
#define BARE 9 /* no judge at all */

static const struct row {
    const char *what;
    uint8_t usage, selector, matching;
    enum of of;
    size_t presented;  /* leaf, intermediate, root: so many of them */
    int system;        /* is the root one of this system's CAs? */
    const char *error; /* part of it; NULL: the key counts */
    struct certify root, mid, leaf;
    bool self_signed; /* the leaf */
    bool other_kid;   /* the message names another key */
    bool swapped;     /* root and intermediate in the wrong order */
    enum dmsg_dns_status status;
} rows[] = {
    {"3 0 1", 3, 0, 1, LEAF, 1, 0, NULL, GOOD},
    {"3 0 2", 3, 0, 2, LEAF, 1, 0, NULL, GOOD},
    {"3 1 1", 3, 1, 1, LEAF, 1, 0, NULL, GOOD},
    {"3 1 2", 3, 1, 2, LEAF, 1, 0, NULL, GOOD},
    {"3 1 1 without a judge", 3, 1, 1, LEAF, 1, BARE, NULL, GOOD},
    {"3 1 1 and issuers, which nobody needs", 3, 1, 1, LEAF, 3, 0, NULL, GOOD},
    {"3 1 1 self-signed", 3, 1, 1, LEAF, 1, 0, NULL, GOOD, .self_signed = true},
    {"3 1 1 expired, of another name", 3, 1, 1, LEAF, 1, 0, NULL, .root = {.constraints = CA},
        .mid = {.constraints = CA}, .leaf = {.names = "DNS:b.example", .not_after = NOW - DAY}},
    {"3 1 1 of another key", 3, 1, 1, STRANGER, 1, 0, "none of the 1 TLSA record of a.example fits",
        GOOD},
    {"3 0 1 of another certificate", 3, 0, 1, MID, 1, 0, "fits", GOOD},
    {"3 0 1 of the issuer that is there", 3, 0, 1, MID, 3, 0, "fits", GOOD},
    {"3 1 1, another kid", 3, 1, 1, LEAF, 1, 0, "another key than its kid names", GOOD,
        .other_kid = true},
    {"3 1 1, not to sign", 3, 1, 1, LEAF, 1, 0, "does not allow its key to sign",
        .root = {.constraints = CA}, .mid = {.constraints = CA},
        .leaf = {.names = CLIENT, .key_usage = "keyAgreement"}},
    {"3 1 1 insecure", 3, 1, 1, LEAF, 1, 0, "only beside a secure answer", GOOD,
        .status = DMSG_DNS_INSECURE},
    {"3 1 1 bogus", 3, 1, 1, LEAF, 1, 0, "only beside a secure answer", GOOD,
        .status = DMSG_DNS_BOGUS},

    {"1 0 1", 1, 0, 1, LEAF, 2, 1, NULL, GOOD},
    {"1 1 0", 1, 1, 0, LEAF, 2, 1, NULL, GOOD},
    {"1 1 1", 1, 1, 1, LEAF, 3, 1, NULL, GOOD},
    {"1 0 0, which waited for its intermediate", 1, 0, 0, LEAF, 2, 1, NULL, GOOD},
    {"1 1 1, no intermediate", 1, 1, 1, LEAF, 1, 1, "unable to get local issuer", GOOD},
    {"1 1 1, not by the system's CAs", 1, 1, 1, LEAF, 3, 0, "self-signed", GOOD},
    {"1 1 1 without a judge", 1, 1, 1, LEAF, 3, BARE, "CAs are not at hand", GOOD},
    {"1 1 1 self-signed", 1, 1, 1, LEAF, 1, 1, "does not hold", GOOD, .self_signed = true},
    {"1 1 1 of another key", 1, 1, 1, STRANGER, 2, 1, "fits", GOOD},
    {"1 0 1 of an issuer", 1, 0, 1, MID, 2, 1, "fits", GOOD},
    {"1 1 1 of another name", 1, 1, 1, LEAF, 2, 1, "does not bear the name",
        .root = {.constraints = CA}, .mid = {.constraints = CA},
        .leaf = {.names = "DNS:b.example"}},
    {"1 1 1 expired", 1, 1, 1, LEAF, 2, 1, "expired", .root = {.constraints = CA},
        .mid = {.constraints = CA}, .leaf = {.names = CLIENT, .not_after = NOW}},
    {"1 1 1, not a CA", 1, 1, 1, LEAF, 2, 1, "does not hold", .root = {.constraints = CA},
        .mid = {.constraints = "CA:FALSE"}, .leaf = {.names = CLIENT}},
    {"1 1 1, path length", 1, 1, 1, LEAF, 2, 1, "path length",
        .root = {.constraints = CA ",pathlen:0"}, .mid = {.constraints = CA},
        .leaf = {.names = CLIENT}},
    {"1 1 1, unsorted", 1, 1, 1, LEAF, 3, 1, "issuer 1 that the message carries", GOOD,
        .swapped = true},

    {"0 0 1 the intermediate", 0, 0, 1, MID, 2, 1, NULL, GOOD},
    {"0 1 1 the root, which is here", 0, 1, 1, ROOT, 2, 1, NULL, GOOD},
    {"0 0 0 the root", 0, 0, 0, ROOT, 2, 1, NULL, GOOD},
    {"0 1 0 the intermediate", 0, 1, 0, MID, 2, 1, NULL, GOOD},
    {"0 0 1 the leaf", 0, 0, 1, LEAF, 2, 1, "fits", GOOD},
    {"0 0 1 another CA", 0, 0, 1, STRANGER, 2, 1, "fits", GOOD},
    {"0 0 1 not by the system's CAs", 0, 0, 1, MID, 3, 0, "self-signed", GOOD},
    {"0 0 1 no intermediate", 0, 0, 1, ROOT, 1, 1, "unable to get local issuer", GOOD},
    {"0 0 1 of another name", 0, 0, 1, MID, 2, 1, "does not bear the name",
        .root = {.constraints = CA}, .mid = {.constraints = CA},
        .leaf = {.names = "DNS:*.example"}},
    {"0 0 1 without a judge", 0, 0, 1, MID, 3, BARE, "CAs are not at hand", GOOD},

    {"2 0 1 the root", 2, 0, 1, ROOT, 3, 0, NULL, GOOD},
    {"2 0 1 the intermediate", 2, 0, 1, MID, 2, 0, NULL, GOOD},
    {"2 0 1 the intermediate, and its root", 2, 0, 1, MID, 3, 0, NULL, GOOD},
    {"2 0 1 without a judge", 2, 0, 1, ROOT, 3, BARE, NULL, GOOD},
    {"2 1 1 the root", 2, 1, 1, ROOT, 3, 0, NULL, GOOD},
    {"2 0 2 the root", 2, 0, 2, ROOT, 3, 0, NULL, GOOD},
    {"2 0 0 the root, in the record", 2, 0, 0, ROOT, 2, 0, NULL, GOOD},
    {"2 0 0 the intermediate, in the record", 2, 0, 0, MID, 1, 0, NULL, GOOD},
    {"2 1 0 a key that is there", 2, 1, 0, ROOT, 3, 0, NULL, GOOD},
    {"2 1 0 a key that signed the last", 2, 1, 0, ROOT, 2, 0, NULL, GOOD},
    {"2 1 0 a key that signed the leaf", 2, 1, 0, MID, 1, 0, NULL, GOOD},
    {"2 1 0 another key", 2, 1, 0, STRANGER, 3, 0, "fits", GOOD},
    {"2 1 0 the key of what is not there", 2, 1, 0, ROOT, 1, 0, "fits", GOOD},
    {"2 0 1 the root that is not there", 2, 0, 1, ROOT, 2, 0, "fits", GOOD},
    {"2 0 1 the system's, and not the record's", 2, 0, 1, STRANGER, 3, 1, "fits", GOOD},
    {"2 0 0 no intermediate", 2, 0, 0, ROOT, 1, 0, "unable to get", GOOD},
    {"2 0 1 the leaf", 2, 0, 1, LEAF, 3, 0, "fits", GOOD},
    {"2 1 0 the leaf's own", 2, 1, 0, LEAF, 1, 0, "fits", GOOD, .self_signed = true},
    {"2 0 0 the leaf's own", 2, 0, 0, LEAF, 1, 0, "its own anchor", GOOD, .self_signed = true},
    {"2 0 1 of another name", 2, 0, 1, ROOT, 3, 0, "does not bear the name",
        .root = {.constraints = CA}, .mid = {.constraints = CA}, .leaf = {.subject = "a.example"}},
    {"2 1 0 signed, of another name", 2, 1, 0, MID, 1, 0, "does not bear the name",
        .root = {.constraints = CA}, .mid = {.constraints = CA},
        .leaf = {.names = "DNS:b.example"}},
    {"2 1 0 signed, expired", 2, 1, 0, MID, 1, 0, "expired", .root = {.constraints = CA},
        .mid = {.constraints = CA}, .leaf = {.names = CLIENT, .not_after = NOW}},
    {"2 1 0 signed, of tomorrow", 2, 1, 0, MID, 1, 0, "not yet valid", .root = {.constraints = CA},
        .mid = {.constraints = CA}, .leaf = {.names = CLIENT, .not_before = NOW + 1}},
    {"2 1 0 signed with SHA-1", 2, 1, 0, MID, 1, 0, "fits", .root = {.constraints = CA},
        .mid = {.constraints = CA}, .leaf = {.names = CLIENT, .sha1 = true}},
    {"2 1 0 signed by a weak key", 2, 1, 0, MID, 1, 0, "fits", .root = {.constraints = CA},
        .mid = {.type = "RSA1024", .constraints = CA}, .leaf = {.names = CLIENT}},
    {"2 1 0 signed the last, no CA", 2, 1, 0, ROOT, 2, 0, "does not hold",
        .root = {.constraints = CA}, .mid = {.constraints = "CA:FALSE"}, .leaf = {.names = CLIENT}},
    {"2 0 0 in the record, expired", 2, 0, 0, MID, 1, 0, "expired", .root = {.constraints = CA},
        .mid = {.constraints = CA, .not_after = NOW}, .leaf = {.names = CLIENT}},
    {"2 0 0 in the record, no CA", 2, 0, 0, MID, 1, 0, "does not hold", .root = {.constraints = CA},
        .mid = {.constraints = "CA:FALSE"}, .leaf = {.names = CLIENT}},
    {"2 0 1 secp256k1 anchor", 2, 0, 1, ROOT, 3, 0, "issuer 2 that the message carries",
        .root = {.type = "secp256k1", .constraints = CA}, .mid = {.constraints = CA},
        .leaf = {.names = CLIENT}},
    {"3 1 1 beside issuers of unknown keys", 3, 1, 1, LEAF, 3, 0, NULL,
        .root = {.type = "secp256k1", .constraints = CA}, .mid = {.constraints = CA},
        .leaf = {.names = CLIENT}},
    {"1 1 1, SHA-1", 1, 1, 1, LEAF, 2, 1, "too weak", .root = {.constraints = CA},
        .mid = {.constraints = CA}, .leaf = {.names = CLIENT, .sha1 = true}},
    {"2 0 1 expired", 2, 0, 1, ROOT, 3, 0, "expired", .root = {.constraints = CA},
        .mid = {.constraints = CA, .not_after = NOW}, .leaf = {.names = CLIENT}},
    {"2 0 1 not a CA", 2, 0, 1, ROOT, 3, 0, "invalid CA", .root = {0}, .mid = {.constraints = CA},
        .leaf = {.names = CLIENT}},
    {"2 0 1 path length", 2, 0, 1, ROOT, 3, 0, "path length",
        .root = {.constraints = CA ",pathlen:0"}, .mid = {.constraints = CA},
        .leaf = {.names = CLIENT}},
    {"2 0 1 unsorted", 2, 0, 1, ROOT, 3, 0, "did not issue the certificate before it", GOOD,
        .swapped = true},

    {"4 0 0 has nothing to say of it", 4, 0, 0, LEAF, 3, 1, "fits", GOOD},
    {"3 2 0", 3, 2, 0, LEAF, 1, 0, "fits", GOOD},
    {"3 0 3", 3, 0, 3, LEAF, 1, 0, "fits", GOOD},
};

/* -------------------------------------------------------------------------------------- the world
 */

struct scene {
    struct made made[4]; /* by enum of */
    struct dmsg_buffer der[4];
    const struct dmsg_peer *peer;
    struct dmsg_judge *judge;
};

static void put_data(struct dmsg_buffer *out, const struct row *row, const struct made *of)
{
    struct dmsg_buffer data = {0};
    uint8_t digest[64];
    unsigned size = 0;
    if (row->selector == 1)
        put_public_key(&data, of->key);
    else
        put_certificate(&data, of->x509);
    struct dmsg_span octets = dmsg_buffer_span(&data);
    if (row->matching != 0) {
        CHECK(EVP_Digest(data.data, data.size, digest, &size,
                  row->matching == 1 ? EVP_sha256() : EVP_sha512(), NULL) == 1);
        octets = (struct dmsg_span){digest, size};
    }
    make_rdata(out, row->usage, row->selector, row->matching, octets);
    dmsg_buffer_done(&data);
}

static void trust(const X509 *root, struct dmsg_judge **judge)
{
    char path[] = "/tmp/danemsg-presented-XXXXXX";
    FILE *file = fdopen(mkstemp(path), "w");
    if (file == NULL || (root != NULL && PEM_write_X509(file, root) != 1) || fclose(file) != 0)
        abort();
    setenv("SSL_CERT_FILE", path, 1);
    setenv("SSL_CERT_DIR", "/nonexistent", 1);
    CHECK(dmsg_judge_new(judge, NULL, false, NULL) == 0);
    /* The judge reads it when it needs it: now. */
    struct dmsg_answer answer = {.status = DMSG_DNS_SECURE, .ttl = 60};
    struct dmsg_buffer rdata = {0};
    struct certify wanted = {.names = CLIENT};
    struct made leaf = certify(&wanted, NULL);
    static const struct row by_ca = {.usage = 1};
    const struct dmsg_peer *peer = NULL;
    CHECK(dmsg_name_parse(&answer.name, dmsg_span_text("a.example"), NULL) == 0);
    put_data(&rdata, &by_ca, &leaf);
    answer.records[answer.count++] = dmsg_buffer_span(&rdata);
    CHECK(dmsg_peer_judge(&peer, &context, *judge, &answer, NULL) == 0);
    dmsg_peer_release(peer);
    made_done(&leaf);
    dmsg_buffer_done(&rdata);
    unlink(path);
}

static struct certify with_subject(struct certify wanted, const char *subject)
{
    wanted.subject = wanted.subject != NULL ? wanted.subject : subject;
    return wanted;
}

static struct scene scene_of(const struct row *row)
{
    struct certify root = with_subject(row->root, "Root"), mid = with_subject(row->mid, "Mid");
    struct certify stranger = {.subject = "Root", .constraints = CA};
    struct scene scene = {0};
    scene.made[ROOT] = certify(&root, NULL);
    scene.made[MID] = certify(&mid, &scene.made[ROOT]);
    struct certify leaf = row->leaf;
    if (row->self_signed)
        leaf.subject = "Self";
    scene.made[LEAF] = certify(&leaf, row->self_signed ? NULL : &scene.made[MID]);
    scene.made[STRANGER] = certify(&stranger, NULL);
    for (int i = 0; i < 4; i++)
        put_certificate(&scene.der[i], scene.made[i].x509);
    if (row->system != BARE)
        trust(row->system == 1 ? scene.made[ROOT].x509 : NULL, &scene.judge);
    struct dmsg_answer answer = {.status = row->status, .ttl = 3600};
    struct dmsg_buffer rdata = {0};
    CHECK(dmsg_name_parse(&answer.name, dmsg_span_text("a.example"), NULL) == 0);
    answer.canonical = answer.name;
    put_data(&rdata, row, &scene.made[row->of]);
    answer.records[answer.count++] = dmsg_buffer_span(&rdata);
    CHECK(dmsg_peer_judge(&scene.peer, &context, scene.judge, &answer, NULL) == 0);
    dmsg_buffer_done(&rdata);
    return scene;
}

static void scene_done(struct scene *scene)
{
    for (int i = 0; i < 4; i++) {
        made_done(&scene->made[i]);
        dmsg_buffer_done(&scene->der[i]);
    }
    dmsg_peer_release(scene->peer);
    dmsg_judge_free(&scene->judge);
}

/* ------------------------------------------------------------------------------------ the table */

/* The same certificates outside of any message: there is no kid to be wrong. */
static void check_testimony(
    const struct row *row, const struct scene *scene, const struct dmsg_presented *presented)
{
    struct dmsg_testimony by = {.usage = 99};
    struct dmsg_error error = {0};
    int result = dmsg_peer_verify_certificate(
        &by, scene->peer, presented->certificates, presented->count, NOW, &error);
    if (row->error == NULL || row->other_kid) {
        CHECK_ROW(result == 0 && by.usage == row->usage && by.selector == row->selector &&
                      by.matching_type == row->matching && by.why[0] == '\0',
            "%s: %d %s", row->what, result, error.text);
        return;
    }
    int wanted = row->status == DMSG_DNS_INSECURE ? DMSG_E_DNS_INSECURE
                 : row->status == DMSG_DNS_BOGUS  ? DMSG_E_DNS_BOGUS
                                                  : DMSG_E_CERTIFICATE;
    CHECK_ROW(result == wanted && error.code == wanted && error.text[0] != '\0' && by.usage == 99,
        "%s: %d %s", row->what, result, error.text);
    CHECK(dmsg_peer_verify_certificate(&by, scene->peer, presented->certificates, 0, NOW, NULL) ==
          DMSG_E_USAGE);
    CHECK(dmsg_peer_verify_certificate(&by, scene->peer, presented->certificates,
              DMSG_PRESENTED_MAX + 1, NOW, NULL) == DMSG_E_USAGE);
}

static void check_row(const struct row *row)
{
    struct scene scene = scene_of(row);
    struct dmsg_presented presented = {.count = row->presented};
    struct dmsg_peer_key key = {0};
    struct dmsg_error error = {0};
    char kid[DMSG_KEY_ID_SIZE];
    for (size_t i = 0; i < row->presented; i++)
        presented.certificates[i] = dmsg_buffer_span(&scene.der[i]);
    if (row->swapped) {
        presented.certificates[1] = dmsg_buffer_span(&scene.der[ROOT]);
        presented.certificates[2] = dmsg_buffer_span(&scene.der[MID]);
    }
    CHECK(dmsg_key_id(kid, scene.made[row->other_kid ? STRANGER : LEAF].key, NULL) == 0);
    const struct dmsg_peer_key *by_dns[DMSG_PEER_KEYS_MAX];
    CHECK_ROW(dmsg_peer_sender_keys(scene.peer, dmsg_span_text(kid), by_dns, NULL) < 0,
        "%s: DNS alone gives the key", row->what);
    int result = dmsg_presented_judge(&key, scene.peer, &presented, kid, NOW, &error);
    CHECK_ROW(result == (row->error != NULL ? DMSG_E_CERTIFICATE : 0), "%s: %d %s", row->what,
        result, error.text);
    if (row->error != NULL) {
        CHECK_ROW(strstr(error.text, row->error) != NULL && key.key == NULL, "%s: %s", row->what,
            error.text);
    } else {
        CHECK_ROW(key.purposes == DMSG_FOR_SIGNATURES && strcmp(key.kid, kid) == 0 &&
                      key.usage == row->usage && key.key != NULL && key.certificate == NULL &&
                      EVP_PKEY_eq(key.key, scene.made[LEAF].key) == 1,
            "%s", row->what);
        CHECK_ROW(
            key.not_after == (row->usage == 3 ? INT64_MAX : NOW + 1000 * DAY), "%s", row->what);
    }
    dmsg_presented_done(&key);
    check_testimony(row, &scene, &presented);
    scene_done(&scene);
}

static void judges_each(void)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        check_row(&rows[i]);
}

/* What is no certificate, or not only one. */
static void refuses_rubbish(void)
{
    static const struct row row = {"2 0 1", 2, 0, 1, ROOT, 3, 0, NULL, GOOD};
    static const uint8_t rubbish[] = {0x30, 0x03, 0x02, 0x01, 0x01};
    struct scene scene = scene_of(&row);
    char kid[DMSG_KEY_ID_SIZE];
    CHECK(dmsg_key_id(kid, scene.made[LEAF].key, NULL) == 0);
    dmsg_buffer_put_byte(&scene.der[STRANGER], 0); /* octets behind it */
    for (size_t at = 0; at < 3; at++) {
        for (int kind = 0; kind < 3; kind++) {
            struct dmsg_presented presented = {.count = 3};
            struct dmsg_peer_key key = {0};
            for (size_t i = 0; i < 3; i++)
                presented.certificates[i] = dmsg_buffer_span(&scene.der[i]);
            presented.certificates[at] = kind == 0   ? (struct dmsg_span){rubbish, sizeof rubbish}
                                         : kind == 1 ? (struct dmsg_span){rubbish, 0}
                                                     : dmsg_buffer_span(&scene.der[STRANGER]);
            CHECK_ROW(dmsg_presented_judge(&key, scene.peer, &presented, kid, NOW, NULL) ==
                          DMSG_E_CERTIFICATE,
                "%zu %d", at, kind);
            CHECK(key.key == NULL);
        }
    }
    scene_done(&scene);
}

/* Several records: whichever speaks for the leaf counts, and a hostile number of anchors ends. */
static void tries_several(void)
{
    static const struct row row = {"2 1 0", 2, 1, 0, ROOT, 2, 0, NULL, GOOD};
    struct scene scene = scene_of(&row);
    struct dmsg_answer answer = {.name = scene.peer->name, .status = DMSG_DNS_SECURE, .ttl = 60};
    struct dmsg_buffer rdata[12] = {{0}};
    char kid[DMSG_KEY_ID_SIZE];
    CHECK(dmsg_key_id(kid, scene.made[LEAF].key, NULL) == 0);
    struct dmsg_presented presented = {.count = 2,
        .certificates = {dmsg_buffer_span(&scene.der[LEAF]), dmsg_buffer_span(&scene.der[MID])}};
    for (int before = 0; before < 12; before++) { /* strangers' keys, then the right one */
        struct made stranger = {.key = make_key("P-256")};
        struct dmsg_peer_key key = {0};
        const struct dmsg_peer *peer = NULL;
        dmsg_buffer_reset(&rdata[before]);
        put_data(&rdata[before], &row, &scene.made[ROOT]);
        answer.count = (size_t)before + 1;
        for (int i = 0; i <= before; i++)
            answer.records[i] = dmsg_buffer_span(&rdata[i]);
        CHECK(dmsg_peer_judge(&peer, &context, NULL, &answer, NULL) == 0);
        int result = dmsg_presented_judge(&key, peer, &presented, kid, NOW, NULL);
        /* Each stranger's key costs one try, the right one two. */
        CHECK_ROW(result == (before + 2 <= 8 ? 0 : DMSG_E_CERTIFICATE), "%d: %d", before, result);
        dmsg_presented_done(&key);
        dmsg_peer_release(peer);
        dmsg_buffer_reset(&rdata[before]);
        put_data(&rdata[before], &row, &stranger);
        EVP_PKEY_free(stranger.key);
    }
    for (int i = 0; i < 12; i++)
        dmsg_buffer_done(&rdata[i]);
    scene_done(&scene);
}

/* Of two peers the digest is the same when the name and its records are. */
static void knows_a_record_set(void)
{
    static const struct row a = {"3 1 1", 3, 1, 1, LEAF, 1, BARE, NULL, GOOD};
    struct scene scenes[2] = {scene_of(&a), scene_of(&a)};
    const struct dmsg_peer *copy = dmsg_judged_copy(scenes[0].peer, NOW + 1, NOW + 2, false);
    CHECK(memcmp(dmsg_peer_id(scenes[0].peer), dmsg_peer_id(scenes[1].peer), DMSG_PEER_ID_SIZE));
    CHECK(!memcmp(dmsg_peer_id(scenes[0].peer), dmsg_peer_id(copy), DMSG_PEER_ID_SIZE));
    struct dmsg_answer answer = {.name = copy->name, .status = DMSG_DNS_SECURE, .count = 1};
    const struct dmsg_peer *again = NULL;
    answer.records[0] = copy->keys[0].rdata;
    for (int same = 1; same >= 0; same--) {
        if (!same)
            CHECK(dmsg_name_parse(&answer.name, dmsg_span_text("b.example"), NULL) == 0);
        CHECK(dmsg_peer_judge(&again, &context, NULL, &answer, NULL) == 0);
        CHECK((memcmp(dmsg_peer_id(copy), dmsg_peer_id(again), DMSG_PEER_ID_SIZE) == 0) == same);
        dmsg_peer_release(again);
    }
    dmsg_peer_release(copy);
    scene_done(&scenes[0]);
    scene_done(&scenes[1]);
}

TEST_MAIN(TEST(judges_each), TEST(refuses_rubbish), TEST(tries_several), TEST(knows_a_record_set))
