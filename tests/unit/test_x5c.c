/* message: certificates that go along (x5c), on both sides; and what is remembered of them. */
#include "base/base64url.h"
#include "chain_make.h"
#include "dane/tlsa.h"
#include "message/opener.h"
#include "people.h"
#include "test.h"
#include "x509/certificate.h"

#define CA "critical,CA:TRUE"
#define NOW MADE_NOW
#define DAY MADE_DAY

static int64_t clock_now = NOW;

static int64_t now(void *user)
{
    (void)user;
    return clock_now;
}

static const struct dmsg_context context = {.now = now};
static const struct dmsg_span no_topic;
static struct person bob;
static struct made root, mid, leaf, self;              /* alice's, of a CA and self-signed */
static struct dmsg_identity *with_chain, *with_self;   /* alice */
static const struct dmsg_peer *digest, *anchor, *full; /* alice's records */
static struct dmsg_policy policy;

static struct dmsg_name alice_name(void)
{
    struct dmsg_name name;
    CHECK(dmsg_name_parse(&name, dmsg_span_text("alice.example"), NULL) == 0);
    return name;
}

static const struct dmsg_peer *peer_with(
    uint8_t usage, uint8_t selector, uint8_t matching, const struct made *of)
{
    struct dmsg_buffer rdata = {0};
    CHECK(dmsg_tlsa_encode(&rdata, usage, selector, matching, of->x509, NULL, NULL) == 0);
    struct dmsg_span record = dmsg_buffer_span(&rdata);
    const struct dmsg_peer *peer = peer_of(&context, "alice.example", &record, 1);
    dmsg_buffer_done(&rdata);
    return peer;
}

static void make_people(void)
{
    struct dmsg_name name = alice_name();
    bob = person_new(&context, "bob.example", DMSG_KEY_P256);
    root = certify(&(struct certify){.subject = "Root", .constraints = CA}, NULL);
    mid = certify(&(struct certify){.subject = "Mid", .constraints = CA}, &root);
    leaf = certify(&(struct certify){.names = "DNS:alice.example"}, &mid);
    self = certify(&(struct certify){.subject = "Self", .names = "DNS:alice.example"}, NULL);
    CHECK(dmsg_identity_new(&with_chain, &context, &name, NULL) == 0);
    CHECK(dmsg_identity_add(with_chain, DMSG_KEY_CURRENT, leaf.key, leaf.x509, NULL) == 0);
    CHECK(dmsg_identity_add_issuer(with_chain, 0, root.x509, NULL) == DMSG_E_CERTIFICATE);
    CHECK(dmsg_identity_add_issuer(with_chain, 1, mid.x509, NULL) == DMSG_E_USAGE);
    CHECK(dmsg_identity_add_issuer(with_chain, 0, mid.x509, NULL) == 0);
    CHECK(dmsg_identity_add_issuer(with_chain, 0, root.x509, NULL) == 0);
    CHECK(dmsg_identity_key_get(with_chain, 0)->issuer_count == 2);
    CHECK(dmsg_identity_new(&with_self, &context, &name, NULL) == 0);
    CHECK(dmsg_identity_add(with_self, DMSG_KEY_CURRENT, self.key, self.x509, NULL) == 0);
    digest = peer_with(3, 1, 1, &self);
    anchor = peer_with(2, 0, 1, &root);
    full = peer_with(3, 0, 0, &self);
}

static void lose_people(void)
{
    struct made *all[] = {&root, &mid, &leaf, &self};
    for (size_t i = 0; i < 4; i++)
        made_done(all[i]);
    dmsg_peer_release(digest);
    dmsg_peer_release(anchor);
    dmsg_peer_release(full);
    dmsg_identity_free(&with_chain);
    dmsg_identity_free(&with_self);
    person_done(&bob);
    CHECK(with_self == NULL);
}

static int seal(struct dmsg_buffer *envelope, const struct dmsg_identity *from, size_t certificates,
    const char *text, struct dmsg_error *error)
{
    struct dmsg_sealer *sealer = NULL;
    struct dmsg_seal_options options = {.recipient = &bob.name,
        .key = dmsg_peer_recipient_key(bob.peer, NULL),
        .certificates = certificates};
    CHECK(dmsg_sealer_new(&sealer, &context, from, NULL) == 0);
    int result = dmsg_seal(sealer, &options, dmsg_span_text(text), envelope, error);
    dmsg_sealer_free(&sealer);
    return result;
}

/* Seals, opens, waits and resumes, by one opener; the first error, the same both times. */
static int travel(struct dmsg_opener *opener, const struct dmsg_identity *from, size_t certificates,
    const struct dmsg_peer *peer, struct dmsg_error *error)
{
    struct dmsg_buffer envelope = {0};
    struct dmsg_message first = {0}, second = {0};
    int result = seal(&envelope, from, certificates, "HELLO", error);
    if (result == 0)
        result = dmsg_open_begin(opener, dmsg_buffer_span(&envelope), no_topic, &first, error);
    if (result == 0) {
        CHECK(dmsg_open_resume(opener, dmsg_buffer_span(&first.jws), "", no_topic, &second, NULL) ==
              0);
        CHECK(first.parts.x5c_count == second.parts.x5c_count);
        result = dmsg_open_finish(opener, &first, peer, error);
        CHECK(dmsg_open_finish(opener, &second, peer, NULL) == result);
        CHECK(first.verified == (result == 0) && second.verified == first.verified);
        if (result == 0)
            CHECK(dmsg_span_equal_text(dmsg_buffer_span(&second.payload), "HELLO"));
    }
    dmsg_message_done(&first);
    dmsg_message_done(&second);
    dmsg_buffer_done(&envelope);
    return result;
}

static struct dmsg_opener *opener_of_bob(void)
{
    struct dmsg_opener *opener = NULL;
    CHECK(dmsg_opener_new(&opener, &context, bob.identity, &policy, NULL) == 0);
    return opener;
}

/* --------------------------------------------------------------------------------- both sides */

static void a_message_brings_them(void)
{
    const struct dmsg_peer *not_now = peer_without(&context, "alice.example", DMSG_DNS_NOT_NOW);
    const struct dmsg_peer *insecure = peer_without(&context, "alice.example", DMSG_DNS_INSECURE);
    const struct dmsg_peer *denied = peer_without(&context, "alice.example", DMSG_DNS_SECURE);
    const struct dmsg_peer *other = peer_with(3, 1, 1, &leaf);
    const struct {
        const char *what;
        const struct dmsg_identity *from;
        size_t certificates;
        const struct dmsg_peer *peer;
        int code;
        const char *text;
    } rows[] = {
        {"3 1 1 without", with_self, 0, digest, DMSG_E_CERTIFICATE, "carry the certificate (x5c)"},
        {"3 1 1 with", with_self, 1, digest, 0, NULL},
        {"3 1 1 with more than there are", with_self, 4, digest, 0, NULL},
        {"3 1 1 of another", with_self, 1, other, DMSG_E_CERTIFICATE, "fits"},
        {"3 0 0 without", with_self, 0, full, 0, NULL},
        {"3 0 0 with", with_self, 1, full, 0, NULL},
        {"3 0 0 of another, with", with_chain, 3, full, DMSG_E_CERTIFICATE, "fits"},
        {"2 0 1 without", with_chain, 0, anchor, DMSG_E_CERTIFICATE, "an anchor"},
        {"2 0 1 with the leaf", with_chain, 1, anchor, DMSG_E_CERTIFICATE, "fits"},
        {"2 0 1 with the root not there", with_chain, 2, anchor, DMSG_E_CERTIFICATE, "fits"},
        {"2 0 1 with all", with_chain, 4, anchor, 0, NULL},
        {"2 0 1, self-signed", with_self, 4, anchor, DMSG_E_CERTIFICATE, "fits"},
        {"no answer now", with_self, 1, not_now, DMSG_E_DNS_TEMPORARY, "no answer now"},
        {"insecure", with_self, 1, insecure, DMSG_E_DNS_INSECURE, "DNSSEC"},
        {"denied", with_self, 1, denied, DMSG_E_NO_IDENTITY, "proves"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_opener *opener = opener_of_bob();
        struct dmsg_error error = {0};
        int result = travel(opener, rows[i].from, rows[i].certificates, rows[i].peer, &error);
        CHECK_ROW(result == rows[i].code, "%s: %s", rows[i].what, error.text);
        CHECK_ROW(rows[i].text == NULL || strstr(error.text, rows[i].text) != NULL, "%s: %s",
            rows[i].what, error.text);
        dmsg_opener_free(&opener);
    }
    dmsg_peer_release(not_now);
    dmsg_peer_release(insecure);
    dmsg_peer_release(denied);
    dmsg_peer_release(other);
}

/* How many readers need, by what DNS says of the sender. */
static void knows_how_many_are_needed(void)
{
    struct made bare = {.key = make_key("P-256")};
    struct dmsg_identity *without = NULL;
    struct dmsg_name name = alice_name();
    CHECK(dmsg_identity_new(&without, &context, &name, NULL) == 0);
    CHECK(dmsg_identity_add(without, DMSG_KEY_CURRENT, bare.key, NULL, NULL) == 0);
    const struct {
        const struct dmsg_identity *me;
        uint8_t usage, selector, matching;
        const struct made *of; /* NULL: DNS gives no answer now */
        size_t needed;
    } rows[] = {
        {with_self, 3, 0, 0, &self, 0},
        {with_self, 3, 1, 0, &self, 0},
        {with_self, 3, 0, 1, &self, 1},
        {with_self, 3, 1, 2, &self, 1},
        {with_self, 3, 1, 1, &leaf, 0}, /* not ours: nothing that we send helps */
        {with_self, 1, 0, 0, &self, 0},
        {with_self, 1, 1, 0, &self, 1},
        {with_self, 4, 0, 0, &self, 0},
        {with_self, 0, 0, 0, NULL, 1},
        {with_chain, 3, 0, 0, &leaf, 0},
        {with_chain, 3, 1, 1, &leaf, 1},
        {with_chain, 1, 0, 0, &leaf, 3},
        {with_chain, 1, 1, 1, &leaf, 3},
        {with_chain, 0, 0, 1, &mid, 3},
        {with_chain, 2, 0, 1, &root, 3},
        {with_chain, 2, 1, 0, &root, 3},
        {with_chain, 0, 0, 0, NULL, 3},
        {without, 2, 0, 1, &root, 0},
        {without, 0, 0, 0, NULL, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_sealer *sealer = NULL;
        size_t needed = 99;
        const struct dmsg_peer *peer =
            rows[i].of != NULL
                ? peer_with(rows[i].usage, rows[i].selector, rows[i].matching, rows[i].of)
                : NULL;
        CHECK(dmsg_sealer_new(&sealer, &context, rows[i].me, NULL) == 0);
        CHECK(dmsg_sealer_certificates(&needed, sealer, peer, NULL) == 0);
        CHECK_ROW(needed == rows[i].needed, "row %zu: %zu", i, needed);
        dmsg_peer_release(peer);
        dmsg_sealer_free(&sealer);
    }
    dmsg_identity_free(&without);
    made_done(&bare);
}

/* One sealer, whose own name's records change while it lives. */
static void as_many_as_each_message_needs(void)
{
    static const size_t wanted[] = {1, 3, 0, 2, 9, 1};
    static struct dmsg_jose_header header;
    struct dmsg_sealer *sealer = NULL;
    CHECK(dmsg_sealer_new(&sealer, &context, with_chain, NULL) == 0);
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        struct dmsg_seal_options options = {.recipient = &bob.name, .certificates = wanted[i]};
        struct dmsg_buffer jws = {0};
        struct dmsg_jws parts;
        CHECK(dmsg_sign(sealer, &options, dmsg_span_text("x"), &jws, NULL) == 0);
        CHECK(dmsg_jws_parse(&parts, dmsg_buffer_span(&jws), NULL) == 0);
        CHECK(dmsg_jws_header_parse(&header, &parts, NULL) == 0);
        CHECK_ROW(header.x5c_count == (wanted[i] < 3 ? wanted[i] : 3), "%zu", wanted[i]);
        dmsg_buffer_done(&jws);
    }
    dmsg_sealer_free(&sealer);
}

/* A whole record of ours beside a digest: nobody needs more. */
static void a_full_record_is_enough(void)
{
    struct dmsg_buffer rdata[2] = {{0}};
    struct dmsg_span records[2];
    struct dmsg_sealer *sealer = NULL;
    size_t needed = 99;
    CHECK(dmsg_sealer_new(&sealer, &context, with_self, NULL) == 0);
    for (uint8_t usage = 3; usage <= 4; usage++) { /* readers may not want usage 4 */
        for (int i = 0; i < 2; i++) {
            dmsg_buffer_reset(&rdata[i]);
            CHECK(dmsg_tlsa_encode(&rdata[i], i == 0 ? usage : 3, 0, i == 0 ? 0 : 1, self.x509,
                      NULL, NULL) == 0);
            records[i] = dmsg_buffer_span(&rdata[i]);
        }
        const struct dmsg_peer *peer = peer_of(&context, "alice.example", records, 2);
        CHECK(dmsg_sealer_certificates(&needed, sealer, peer, NULL) == 0);
        CHECK_ROW(needed == (usage == 3 ? 0 : 1), "%u: %zu", usage, needed);
        dmsg_peer_release(peer);
    }
    dmsg_buffer_done(&rdata[0]);
    dmsg_buffer_done(&rdata[1]);
    dmsg_sealer_free(&sealer);
}

/* The limit counts them, to the octet. */
static void the_limit_counts_them(void)
{
    static char text[9000];
    struct dmsg_sealer *sealer = NULL;
    struct dmsg_error error = {0};
    struct dmsg_buffer envelope = {0};
    size_t fits[2] = {0};
    memset(text, 'x', sizeof text);
    CHECK(dmsg_sealer_new(&sealer, &context, with_chain, NULL) == 0);
    for (int with = 0; with < 2; with++) {
        struct dmsg_seal_options options = {.recipient = &bob.name,
            .key = dmsg_peer_recipient_key(bob.peer, NULL),
            .certificates = with ? 3 : 0,
            .size_limit = 8192};
        CHECK(dmsg_seal(sealer, &options, (struct dmsg_span){(uint8_t *)text, sizeof text},
                  &envelope, &error) == DMSG_E_SIZE);
        const char *said = strstr(error.text, "the largest that would is ");
        REQUIRE(said != NULL && sscanf(said, "the largest that would is %zu", &fits[with]) == 1);
        for (size_t more = 0; more < 2; more++) {
            struct dmsg_span payload = {(uint8_t *)text, fits[with] + more};
            dmsg_buffer_reset(&envelope);
            CHECK(dmsg_seal(sealer, &options, payload, &envelope, NULL) ==
                  (more == 0 ? 0 : DMSG_E_SIZE));
        }
    }
    CHECK_ROW(fits[0] > fits[1] + 1000 && fits[1] > 0, "%zu %zu", fits[0], fits[1]);
    dmsg_buffer_done(&envelope);
    dmsg_sealer_free(&sealer);
}

static void a_header_that_is_too_large(void)
{
    static char comment[9000];
    struct dmsg_identity *me = NULL;
    struct dmsg_name name = alice_name();
    struct dmsg_buffer envelope = {0};
    struct dmsg_error error = {0};
    memset(comment, 'x', sizeof comment - 1);
    struct made large = certify(
        &(struct certify){
            .names = "DNS:alice.example", .other_nid = NID_netscape_comment, .other = comment},
        &mid);
    CHECK(dmsg_identity_new(&me, &context, &name, NULL) == 0);
    CHECK(dmsg_identity_add(me, DMSG_KEY_CURRENT, large.key, large.x509, NULL) == 0);
    CHECK(seal(&envelope, me, 1, "x", &error) == 0);
    dmsg_identity_free(&me);
    made_done(&large);
    memset(comment, 'x', sizeof comment - 1);
    struct made issuer = certify(&(struct certify){.subject = "Mid",
                                     .constraints = CA,
                                     .other_nid = NID_netscape_comment,
                                     .other = comment},
        NULL);
    large = certify(
        &(struct certify){
            .names = "DNS:alice.example", .other_nid = NID_netscape_comment, .other = comment},
        &issuer);
    CHECK(dmsg_identity_new(&me, &context, &name, NULL) == 0);
    CHECK(dmsg_identity_add(me, DMSG_KEY_CURRENT, large.key, large.x509, NULL) == 0);
    CHECK(dmsg_identity_add_issuer(me, 0, issuer.x509, NULL) == 0);
    CHECK(seal(&envelope, me, 2, "x", &error) == DMSG_E_SIZE);
    CHECK_ROW(strstr(error.text, "fewer issuers") != NULL, "%s", error.text);
    dmsg_identity_free(&me);
    made_done(&large);
    made_done(&issuer);
    dmsg_buffer_done(&envelope);
}

static void poc_carries_none(void)
{
    struct person rsa = person_new(&context, "alice.example", DMSG_KEY_RSA2048);
    struct dmsg_sealer *sealer = NULL;
    struct dmsg_buffer envelope = {0};
    struct dmsg_seal_options options = {.recipient = &rsa.name,
        .key = dmsg_peer_recipient_key(rsa.peer, NULL),
        .format = DMSG_FORMAT_POC};
    CHECK(dmsg_sealer_new(&sealer, &context, rsa.identity, NULL) == 0);
    CHECK(dmsg_seal(sealer, &options, dmsg_span_text("x"), &envelope, NULL) == 0);
    options.certificates = 1;
    CHECK(dmsg_seal(sealer, &options, dmsg_span_text("x"), &envelope, NULL) == DMSG_E_USAGE);
    dmsg_buffer_done(&envelope);
    dmsg_sealer_free(&sealer);
    person_done(&rsa);
}

/* ---------------------------------------------------------------------------- crafted by others */

struct crafted {
    const char *what;
    const char *x5c; /* JSON; %S for self's certificate in base64, %T for its first half */
    int code;
};

static const struct crafted crafted[] = {
    {"the right one", "[\"%S\"]", 0},
    {"escaped", "[\"\\u004d%s\"]", 0},
    {"no list", "\"%S\"", DMSG_E_FORMAT},
    {"an empty list", "[]", DMSG_E_FORMAT},
    {"an empty text", "[\"\"]", DMSG_E_FORMAT},
    {"a second that is empty", "[\"%S\",\"\"]", DMSG_E_FORMAT},
    {"four more", "[\"%S\",\"AAAA\",\"AAAA\",\"AAAA\",\"AAAA\"]", DMSG_E_FORMAT},
    {"three more, of rubbish", "[\"%S\",\"AAAA\",\"AAAA\",\"AAAA\"]", 0},
    {"a number", "[7]", DMSG_E_FORMAT},
    {"no base64", "[\"%S\",\"A*AA\"]", DMSG_E_FORMAT},
    {"base64url", "[\"%S\",\"__-_\"]", DMSG_E_FORMAT},
    {"without padding", "[\"%S\",\"AAAAAA\"]", DMSG_E_FORMAT},
    {"with padding in between", "[\"%S\",\"AA==AAAA\"]", DMSG_E_FORMAT},
    {"bits that are left over", "[\"%S\",\"AB==\"]", DMSG_E_FORMAT},
    {"white space", "[\"%S\",\"AA AA\"]", DMSG_E_FORMAT},
    {"no certificate", "[\"AAAA\"]", DMSG_E_CERTIFICATE},
    {"half of it", "[\"%T\"]", DMSG_E_CERTIFICATE},
    {"itself twice", "[\"%S\",\"%S\"]", 0},
    {"octets behind it", "[\"%T%T\"]", DMSG_E_CERTIFICATE},
};

static void put_crafted(struct dmsg_buffer *out, const char *x5c)
{
    struct dmsg_buffer der = {0}, text = {0};
    put_certificate(&der, self.x509);
    dmsg_base64_put(&text, dmsg_buffer_span(&der));
    for (; *x5c != '\0'; x5c++) {
        if (*x5c != '%')
            dmsg_buffer_put_byte(out, (uint8_t)*x5c);
        else if (*++x5c == 'S')
            dmsg_buffer_put_span(out, dmsg_buffer_span(&text));
        else if (*x5c == 's') /* without its first letter, which DER makes an M */
            dmsg_buffer_put(out, text.data + 1, text.size - 1);
        else
            dmsg_buffer_put(out, text.data, text.size / 8 * 4);
    }
    dmsg_buffer_done(&der);
    dmsg_buffer_done(&text);
}

/* A JWS of alice's own making. */
static void sign_crafted(struct dmsg_buffer *jws, const char *x5c)
{
    struct dmsg_jose *jose = NULL;
    struct dmsg_jose_key *key = NULL;
    struct dmsg_buffer members = {0};
    dmsg_buffer_format(&members,
        "\"typ\":\"danemsg+jws\",\"kid\":\"%s\",\"aud\":\"bob.example\",\"iat\":%d,\"exp\":%d,"
        "\"jti\":\"AAAAAAAAAAAAAAAAAAAAAA\",\"x5u\":\"dns:alice.example?type=TLSA\",\"x5c\":",
        dmsg_identity_key_get(with_self, 0)->kid, NOW, NOW + DAY);
    put_crafted(&members, x5c);
    CHECK(dmsg_jose_new(&jose, &context, NULL) == 0);
    CHECK(dmsg_jose_key_new(&key, jose, self.key, DMSG_USE_SIGN, NULL) == 0);
    CHECK(dmsg_jws_sign(key, dmsg_buffer_span(&members), dmsg_span_text("x"), DMSG_FORM_COMPACT,
              jws, NULL) == 0);
    dmsg_jose_key_free(&key);
    dmsg_jose_free(&jose);
    dmsg_buffer_done(&members);
}

static void judges_what_is_crafted(void)
{
    struct dmsg_opener *opener = opener_of_bob();
    for (size_t i = 0; i < sizeof crafted / sizeof crafted[0]; i++) {
        struct dmsg_buffer jws = {0};
        struct dmsg_message message = {0};
        struct dmsg_error error = {0};
        sign_crafted(&jws, crafted[i].x5c);
        int result =
            dmsg_open_resume(opener, dmsg_buffer_span(&jws), "", no_topic, &message, &error);
        CHECK_ROW(result == (crafted[i].code == DMSG_E_FORMAT ? DMSG_E_FORMAT : 0), "%s: %s",
            crafted[i].what, error.text);
        if (result == 0)
            result = dmsg_open_finish(opener, &message, digest, &error);
        CHECK_ROW(result == crafted[i].code, "%s: %s", crafted[i].what, error.text);
        dmsg_message_done(&message);
        dmsg_buffer_done(&jws);
    }
    dmsg_opener_free(&opener);
}

/* --------------------------------------------------------------------------- what is remembered */

static bool is_remembered(
    struct dmsg_opener *opener, const struct dmsg_identity *from, const struct dmsg_peer *peer)
{
    struct dmsg_buffer envelope = {0};
    struct dmsg_message message = {0};
    CHECK(seal(&envelope, from, 4, "x", NULL) == 0);
    CHECK(dmsg_open_begin(opener, dmsg_buffer_span(&envelope), no_topic, &message, NULL) == 0);
    bool found = dmsg_x5c_find(&opener->x5c, &message, peer, clock_now) != NULL;
    dmsg_message_done(&message);
    dmsg_buffer_done(&envelope);
    return found;
}

static void remembers_what_counts(void)
{
    struct dmsg_opener *opener = opener_of_bob();
    const struct dmsg_peer *again = peer_with(2, 0, 1, &root); /* asked anew, the same records */
    const struct dmsg_peer *other = peer_with(2, 1, 1, &root);
    CHECK(!is_remembered(opener, with_chain, anchor));
    CHECK(travel(opener, with_chain, 4, anchor, NULL) == 0);
    CHECK(is_remembered(opener, with_chain, anchor) && is_remembered(opener, with_chain, again));
    CHECK(!is_remembered(opener, with_chain, other) && !is_remembered(opener, with_self, anchor));
    CHECK(travel(opener, with_chain, 4, other, NULL) == 0);
    clock_now = NOW + 1000 * DAY; /* past its certificates */
    CHECK(!is_remembered(opener, with_chain, other));
    CHECK(travel(opener, with_chain, 4, anchor, NULL) == DMSG_E_CERTIFICATE);
    clock_now = NOW - DAY - 1; /* before them */
    CHECK(travel(opener, with_chain, 4, anchor, NULL) == DMSG_E_CERTIFICATE);
    clock_now = NOW;
    CHECK(travel(opener, with_chain, 4, anchor, NULL) == 0);
    dmsg_peer_release(again);
    dmsg_peer_release(other);
    dmsg_opener_free(&opener);
}

/* Not by its place alone: a stranger can make certificates whose digests begin alike. */
static void remembers_by_all_of_it(void)
{
    struct dmsg_opener *opener = opener_of_bob();
    struct dmsg_buffer envelope = {0};
    struct dmsg_message message = {0};
    CHECK(seal(&envelope, with_self, 1, "x", NULL) == 0);
    CHECK(dmsg_open_begin(opener, dmsg_buffer_span(&envelope), no_topic, &message, NULL) == 0);
    CHECK(dmsg_open_finish(opener, &message, digest, NULL) == 0);
    CHECK(dmsg_x5c_find(&opener->x5c, &message, digest, NOW) != NULL);
    message.parts.x5c[DMSG_X5C_DIGEST_SIZE - 1] ^= 1;
    CHECK(dmsg_x5c_find(&opener->x5c, &message, digest, NOW) == NULL);
    message.parts.x5c[DMSG_X5C_DIGEST_SIZE - 1] ^= 1;
    message.kid[0] = message.kid[0] == 'A' ? 'B' : 'A';
    CHECK(dmsg_x5c_find(&opener->x5c, &message, digest, NOW) == NULL);
    dmsg_message_done(&message);
    dmsg_buffer_done(&envelope);
    dmsg_opener_free(&opener);
}

/* A refusal is remembered for this set of records and for a minute, and stands in nobody's way. */
static void remembers_refusals_for_a_minute(void)
{
    struct dmsg_opener *opener = opener_of_bob();
    const struct dmsg_peer *wrong = peer_with(3, 1, 1, &leaf);
    CHECK(travel(opener, with_self, 1, wrong, NULL) == DMSG_E_CERTIFICATE);
    CHECK(is_remembered(opener, with_self, wrong) && !is_remembered(opener, with_self, digest));
    CHECK(travel(opener, with_self, 1, digest, NULL) == 0);
    CHECK(travel(opener, with_self, 1, wrong, NULL) == DMSG_E_CERTIFICATE);
    clock_now = NOW + DMSG_X5C_REFUSAL_LIFE;
    CHECK(!is_remembered(opener, with_self, wrong));
    clock_now = NOW;
    dmsg_peer_release(wrong);
    dmsg_opener_free(&opener);
}

/* The same octets, cut into other certificates, are another list. */
static void is_not_poisoned(void)
{
    struct dmsg_opener *opener = opener_of_bob();
    static const char *const lists[] = {"[\"%S\",\"%S\"]", "[\"%T\"]", "[\"%S\"]"};
    uint8_t seen[3][DMSG_X5C_DIGEST_SIZE];
    for (size_t i = 0; i < 3; i++) {
        struct dmsg_buffer jws = {0};
        struct dmsg_message message = {0};
        sign_crafted(&jws, lists[i]);
        CHECK(dmsg_open_resume(opener, dmsg_buffer_span(&jws), "", no_topic, &message, NULL) == 0);
        memcpy(seen[i], message.parts.x5c, sizeof seen[i]);
        dmsg_message_done(&message);
        dmsg_buffer_done(&jws);
    }
    CHECK(memcmp(seen[0], seen[1], sizeof seen[0]) && memcmp(seen[1], seen[2], sizeof seen[0]) &&
          memcmp(seen[0], seen[2], sizeof seen[0]));
    struct dmsg_jose_header header = {.x5c_count = 1, .x5c = {dmsg_span_text("AAAAAAAA")}};
    struct dmsg_message_parts one = {0}, two = {0};
    struct dmsg_buffer scratch = {0};
    CHECK(dmsg_x5c_note(&one, &header, &scratch, NULL) == 0);
    header.x5c_count = 2;
    header.x5c[0] = header.x5c[1] = dmsg_span_text("AAAA");
    CHECK(dmsg_x5c_note(&two, &header, &scratch, NULL) == 0);
    CHECK(memcmp(one.x5c, two.x5c, sizeof one.x5c) != 0);
    dmsg_buffer_done(&scratch);
    dmsg_opener_free(&opener);
}

TEST_MAIN(TEST(make_people), TEST(a_message_brings_them), TEST(knows_how_many_are_needed),
    TEST(as_many_as_each_message_needs), TEST(a_full_record_is_enough), TEST(the_limit_counts_them),
    TEST(a_header_that_is_too_large), TEST(poc_carries_none), TEST(judges_what_is_crafted),
    TEST(remembers_what_counts), TEST(remembers_by_all_of_it),
    TEST(remembers_refusals_for_a_minute), TEST(is_not_poisoned), TEST(lose_people))
