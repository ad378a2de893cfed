/* message: seal and open, the claims, the policy, the proof of concept's format. */
#include "base/base64url.h"
#include "base/fail.h"
#include "dane/tlsa.h"
#include "danemsg/message.h"
#include "jose/jose.h"
#include "message/keyring.h"
#include "people.h"
#include "test.h"

#include <stdlib.h>

#define NOW 1700000000

static int64_t clock_now = NOW;

static int64_t now(void *user)
{
    (void)user;
    return clock_now;
}

static bool clock_is_set = true;

static bool synchronised(void *user)
{
    (void)user;
    return clock_is_set;
}

static struct dmsg_context context = {.now = now, .synchronised = synchronised};
static struct person alice, bob, carol, mallory, rsa_alice, rsa_bob, ed_alice, ed_bob;

static void make_people(void)
{
    alice = person_new(&context, "alice.example", DMSG_KEY_P256);
    bob = person_new(&context, "bob.example", DMSG_KEY_P256);
    carol = person_new(&context, "carol.example", DMSG_KEY_P384);
    mallory = person_new(&context, "alice.example", DMSG_KEY_P256); /* says that she is alice */
    rsa_alice = person_new(&context, "alice.example", DMSG_KEY_RSA2048);
    rsa_bob = person_new(&context, "bob.example", DMSG_KEY_RSA2048);
    ed_alice = person_new(&context, "alice.example", DMSG_KEY_ED25519);
    ed_bob = person_new(&context, "bob.example", DMSG_KEY_ED25519);
    CHECK(alice.peer != NULL && ed_bob.peer->count == 2);
}

static void lose_people(void)
{
    struct person *all[] = {
        &alice, &bob, &carol, &mallory, &rsa_alice, &rsa_bob, &ed_alice, &ed_bob};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        person_done(all[i]);
    CHECK(alice.identity == NULL);
}

/* ------------------------------------------------------------------------------ round trips */

/* Everything that one message goes through; the first error, or 0. */
struct journey {
    const struct person *from, *to;
    struct dmsg_seal_options options;
    struct dmsg_policy policy;
    const char *topic;            /* published on; NULL: not compared */
    const struct dmsg_peer *peer; /* the sender's, NULL: from's own */
    const char *payload;
    struct dmsg_message message;
    struct dmsg_buffer envelope;
    struct dmsg_error error;
};

static int seal(struct journey *journey)
{
    struct dmsg_sealer *sealer = NULL;
    int result = dmsg_sealer_new(&sealer, &context, journey->from->identity, &journey->error);
    journey->options.recipient = &journey->to->name;
    journey->options.key = dmsg_peer_recipient_key(journey->to->peer, &journey->error);
    if (result == 0 && journey->options.key == NULL)
        result = journey->error.code;
    if (result == 0)
        result = dmsg_seal(sealer, &journey->options, dmsg_span_text(journey->payload),
            &journey->envelope, &journey->error);
    dmsg_sealer_free(&sealer);
    return result;
}

static int open_it(struct journey *journey)
{
    struct dmsg_opener *opener = NULL;
    struct dmsg_span topic = {0};
    if (journey->topic != NULL)
        topic = dmsg_span_text(journey->topic);
    int result = dmsg_opener_new(
        &opener, &context, journey->to->identity, &journey->policy, &journey->error);
    if (result == 0)
        result = dmsg_open_begin(opener, dmsg_buffer_span(&journey->envelope), topic,
            &journey->message, &journey->error);
    if (result == 0) {
        CHECK(journey->message.payload.size == 0 && !journey->message.verified);
        result = dmsg_open_finish(opener, &journey->message,
            journey->peer != NULL ? journey->peer : journey->from->peer, &journey->error);
    }
    CHECK(journey->message.verified == (result == 0));
    if (result < 0)
        CHECK(journey->message.payload.size == 0);
    dmsg_opener_free(&opener);
    return result;
}

static int travel(struct journey *journey)
{
    int result = seal(journey);
    return result == 0 ? open_it(journey) : result;
}

static void arrive(struct journey *journey)
{
    dmsg_message_done(&journey->message);
    dmsg_buffer_done(&journey->envelope);
}

static void every_suite(void)
{
    const struct person *senders[] = {&alice, &carol, &rsa_alice, &ed_alice};
    const struct person *recipients[] = {&bob, &carol, &rsa_bob, &ed_bob};
    for (size_t s = 0; s < 4; s++) {
        for (size_t r = 0; r < 8; r++) {
            char id[DMSG_MESSAGE_ID_SIZE];
            struct journey journey = {.from = senders[s],
                .to = recipients[r % 4],
                .payload = r == 0 ? "" : "HELLO THERE",
                .options = {.cbc = r >= 4, .content_type = "text/plain", .id = id}};
            int result = travel(&journey);
            CHECK_ROW(result == 0, "%zu to %zu: %s", s, r, journey.error.text);
            CHECK(
                dmsg_span_equal_text(dmsg_buffer_span(&journey.message.payload), journey.payload));
            CHECK(dmsg_name_equal(&journey.message.sender, &senders[s]->name));
            CHECK(dmsg_name_equal(&journey.message.recipient, &recipients[r % 4]->name));
            CHECK(strcmp(journey.message.id, id) == 0 && strlen(id) == DMSG_JTI_SIZE);
            CHECK(strcmp(journey.message.content_type, "text/plain") == 0);
            CHECK(journey.message.format == DMSG_FORMAT_V1);
            CHECK(journey.message.issued_at == NOW);
            CHECK(journey.message.expires_at == NOW + DMSG_LIFE_DEFAULT);
            arrive(&journey);
        }
    }
}

/* doc/PROTOCOL.md, "poc": each part with its length in 64 bits before it. */
static void make_poc_id(char id[static DMSG_MESSAGE_ID_SIZE], const struct dmsg_buffer *envelope)
{
    struct dmsg_jwe jwe = {0};
    struct dmsg_buffer all = {0}, part = {0};
    uint8_t digest[32];
    CHECK(dmsg_jwe_parse(&jwe, dmsg_buffer_span(envelope), NULL) == 0);
    const struct dmsg_span parts[] = {
        jwe.protected_header, jwe.encrypted_key, jwe.iv, jwe.ciphertext, jwe.tag};
    for (size_t i = 0; i < 5; i++) {
        dmsg_buffer_reset(&part);
        CHECK(dmsg_base64url_take(&part, parts[i]) == 0);
        for (int shift = 56; shift >= 0; shift -= 8)
            dmsg_buffer_put_byte(&all, (uint8_t)((uint64_t)part.size >> shift));
        dmsg_buffer_put_span(&all, dmsg_buffer_span(&part));
    }
    CHECK(EVP_Digest(all.data, all.size, digest, NULL, EVP_sha256(), NULL) == 1);
    dmsg_base64url_encode(id, (struct dmsg_span){digest, sizeof digest});
    id[DMSG_MESSAGE_ID_SIZE - 1] = '\0';
    dmsg_buffer_done(&all);
    dmsg_buffer_done(&part);
}

static void proof_of_concept(void)
{
    struct dmsg_pattern from = {.name = rsa_alice.name};
    struct journey accepted = {.from = &rsa_alice,
        .to = &rsa_bob,
        .payload = "HELLO THERE",
        .options = {.format = DMSG_FORMAT_POC},
        .policy = {.accept_poc = &from, .accept_poc_count = 1}};
    CHECK_ROW(travel(&accepted) == 0, "%s", accepted.error.text);
    CHECK(accepted.message.format == DMSG_FORMAT_POC);
    CHECK(strlen(accepted.message.id) == 43 && accepted.message.kid[0] == '\0');
    CHECK(accepted.envelope.data[0] == '{');
    char first[DMSG_MESSAGE_ID_SIZE], expected[DMSG_MESSAGE_ID_SIZE];
    memcpy(first, accepted.message.id, sizeof first);
    make_poc_id(expected, &accepted.envelope);
    CHECK(strcmp(first, expected) == 0);

    /* The same message in other JSON has the same id; another one with the same text has not. */
    struct journey again = accepted;
    again.message = (struct dmsg_message){0};
    again.envelope = (struct dmsg_buffer){0};
    dmsg_buffer_put_text(&again.envelope, "{ ");
    dmsg_buffer_put(&again.envelope, accepted.envelope.data + 1, accepted.envelope.size - 1);
    dmsg_buffer_put_text(&again.envelope, "\n");
    CHECK(open_it(&again) == 0 && strcmp(again.message.id, first) == 0);
    arrive(&again);
    again.message = (struct dmsg_message){0};
    again.envelope = (struct dmsg_buffer){0};
    CHECK(travel(&again) == 0 && strcmp(again.message.id, first) != 0);
    arrive(&again);
    arrive(&accepted);
}

static bool has_sent_v1(void *user, const struct dmsg_name *sender)
{
    return dmsg_name_equal(sender, user);
}

static void proof_of_concept_is_asked_for(void)
{
    struct dmsg_pattern from = {.name = rsa_alice.name}, other = {.name = carol.name};
    const struct {
        struct dmsg_policy policy;
        int result;
    } rows[] = {{{.accept_poc = &from, .accept_poc_count = 1}, 0}, {{.accept_any_poc = true}, 0},
        {{0}, DMSG_E_UNBOUND}, {{.accept_poc = &other, .accept_poc_count = 1}, DMSG_E_UNBOUND},
        {{.accept_poc = &from, .accept_poc_count = 1, .sent_v1 = has_sent_v1, .user = &alice.name},
            DMSG_E_UNBOUND},
        {{.accept_poc = &from, .accept_poc_count = 1, .sent_v1 = has_sent_v1, .user = &carol.name},
            0},
        {{.accept_poc = &from, .accept_poc_count = 1, .allow = &other, .allow_count = 1},
            DMSG_E_POLICY}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct journey journey = {.from = &rsa_alice,
            .to = &rsa_bob,
            .payload = "x",
            .options = {.format = DMSG_FORMAT_POC},
            .policy = rows[i].policy};
        CHECK_ROW(travel(&journey) == rows[i].result, "row %zu: %s", i, journey.error.text);
        arrive(&journey);
    }
}

static void options_are_judged(void)
{
    static char long_type[200], longest_type[DMSG_CONTENT_TYPE_MAX + 1];
    memset(long_type, 'a', 128);
    memset(longest_type, 'a', DMSG_CONTENT_TYPE_MAX);
    const struct {
        struct person *from, *to;
        struct dmsg_seal_options options;
        const char *payload;
        int result;
    } rows[] = {
        {&alice, &bob, {.content_type = "a/b"}, "x", 0},
        {&alice, &bob, {.content_type = "a\"\\b"}, "x", 0},
        {&alice, &bob, {.content_type = ""}, "x", DMSG_E_USAGE},
        {&alice, &bob, {.content_type = "a\nb"}, "x", DMSG_E_USAGE},
        {&alice, &bob, {.content_type = "\xc3\xa4"}, "x", DMSG_E_USAGE},
        {&alice, &bob, {.content_type = long_type}, "x", DMSG_E_USAGE},
        {&alice, &bob, {.content_type = longest_type}, "x", 0},
        {&alice, &bob, {.lifetime = DMSG_LIFE_MAX}, "x", 0},
        {&alice, &bob, {.lifetime = DMSG_LIFE_MAX + 1}, "x", DMSG_E_USAGE},
        {&alice, &bob, {.lifetime = -1}, "x", DMSG_E_USAGE},
        {&alice, &bob, {.topic = "a/+/b"}, "x", DMSG_E_USAGE},
        {&alice, &bob, {.topic = "#"}, "x", DMSG_E_USAGE},
        {&alice, &bob, {.topic = ""}, "x", DMSG_E_USAGE},
        {&alice, &bob, {.topic = "\xff"}, "x", DMSG_E_USAGE},
        {&alice, &bob, {.topic = "fleet/caf\xc3\xa9"}, "x", 0},
        {&alice, &rsa_bob, {.format = DMSG_FORMAT_POC}, "x", DMSG_E_CERTIFICATE},
        {&rsa_alice, &bob, {.format = DMSG_FORMAT_POC}, "x", DMSG_E_CERTIFICATE},
        {&rsa_alice, &rsa_bob, {.format = DMSG_FORMAT_POC}, "", DMSG_E_USAGE},
        {&rsa_alice, &rsa_bob, {.format = DMSG_FORMAT_POC}, "\xff", DMSG_E_USAGE},
        {&rsa_alice, &rsa_bob, {.format = DMSG_FORMAT_POC, .topic = "x"}, "x", DMSG_E_USAGE},
        {&rsa_alice, &rsa_bob, {.format = DMSG_FORMAT_POC, .lifetime = 60}, "x", DMSG_E_USAGE},
        {&rsa_alice, &rsa_bob, {.format = DMSG_FORMAT_POC, .content_type = "a/b"}, "x",
            DMSG_E_USAGE},
        {&rsa_alice, &rsa_bob, {.format = DMSG_FORMAT_POC}, "x", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct journey journey = {.from = rows[i].from,
            .to = rows[i].to,
            .options = rows[i].options,
            .payload = rows[i].payload,
            .topic = NULL,
            .policy = {.accept_any_poc = true}};
        int result = travel(&journey);
        CHECK_ROW(result == rows[i].result, "row %zu: %d %s", i, result, journey.error.text);
        if (result == 0 && rows[i].options.content_type != NULL)
            CHECK(strcmp(journey.message.content_type, rows[i].options.content_type) == 0);
        arrive(&journey);
    }
}

/* A topic that is the recipient's name is not said twice; enc is as asked for, and poc's its own.
 */
static void headers_say_no_more(void)
{
    static struct dmsg_jose_header header;
    static const struct {
        struct dmsg_seal_options options;
        const char *enc;
        bool topic;
    } rows[] = {{{.topic = NULL}, "A256GCM", false}, {{.topic = "bob.example"}, "A256GCM", false},
        {{.topic = "other"}, "A256GCM", true}, {{.cbc = true}, "A256CBC-HS512", false},
        {{.format = DMSG_FORMAT_POC}, "A256CBC-HS512", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct journey journey = {.from = &rsa_alice,
            .to = &rsa_bob,
            .options = rows[i].options,
            .payload = "x",
            .topic = rows[i].topic ? rows[i].options.topic : "bob.example",
            .policy = {.accept_any_poc = true}};
        struct dmsg_jwe jwe;
        struct dmsg_jws jws;
        CHECK_ROW(travel(&journey) == 0, "row %zu: %s", i, journey.error.text);
        REQUIRE(dmsg_jwe_parse(&jwe, dmsg_buffer_span(&journey.envelope), NULL) == 0);
        REQUIRE(dmsg_jwe_header_parse(&header, &jwe, NULL) == 0);
        CHECK_ROW(dmsg_span_equal_text(header.enc, rows[i].enc), "row %zu", i);
        REQUIRE(dmsg_jws_parse(&jws, dmsg_buffer_span(&journey.message.jws), NULL) == 0);
        REQUIRE(dmsg_jws_header_parse(&header, &jws, NULL) == 0);
        CHECK_ROW(((header.present & DMSG_HAS_TOPIC) != 0) == rows[i].topic, "row %zu", i);
        arrive(&journey);
    }
}

/* Sizes whose sum would go round, and the halves of sealing by themselves. */
static void limits_of_the_halves(void)
{
    const struct dmsg_span endless = {(const uint8_t *)"", SIZE_MAX / 4 * 3 + 3}; /* 0 in base64 */
    struct dmsg_sealer *sealer = NULL;
    struct dmsg_buffer out = {0};
    struct dmsg_seal_options options = {
        .recipient = &bob.name, .key = dmsg_peer_recipient_key(bob.peer, NULL)};
    REQUIRE(dmsg_sealer_new(&sealer, &context, alice.identity, NULL) == 0);
    CHECK(dmsg_seal(sealer, &options, endless, &out, NULL) == DMSG_E_SIZE);
    CHECK(dmsg_encrypt(&context, &options, endless, &out, NULL) == DMSG_E_SIZE);
    CHECK(dmsg_encrypt(&context, &options, dmsg_span_text("x"), &out, NULL) == 0);
    options.size_limit = out.size;
    dmsg_buffer_reset(&out);
    CHECK(dmsg_encrypt(&context, &options, dmsg_span_text("x"), &out, NULL) == 0);
    options.size_limit = out.size - 1;
    dmsg_buffer_reset(&out);
    CHECK(dmsg_encrypt(&context, &options, dmsg_span_text("x"), &out, NULL) == DMSG_E_SIZE);
    struct dmsg_seal_options nobody = {0};
    CHECK(dmsg_sign(sealer, &nobody, dmsg_span_text("x"), &out, NULL) == DMSG_E_USAGE);
    CHECK(out.size == 0);
    dmsg_sealer_free(&sealer);
    dmsg_buffer_done(&out);
}

/* The largest payload that the error names fits, one octet more does not. */
static void the_limit_is_exact(void)
{
    static char payload[70000];
    const struct {
        struct person *from, *to;
        enum dmsg_format format;
        size_t limit;
    } rows[] = {{&alice, &bob, DMSG_FORMAT_V1, 0}, {&rsa_alice, &rsa_bob, DMSG_FORMAT_V1, 4096},
        {&rsa_alice, &rsa_bob, DMSG_FORMAT_POC, 0}, {&ed_alice, &ed_bob, DMSG_FORMAT_V1, 1500},
        {&alice, &bob, DMSG_FORMAT_V1, 100}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct journey journey = {.from = rows[i].from,
            .to = rows[i].to,
            .payload = payload,
            .options = {.format = rows[i].format, .size_limit = rows[i].limit}};
        memset(payload, 'x', sizeof payload - 1);
        CHECK(seal(&journey) == DMSG_E_SIZE && journey.envelope.size == 0);
        const char *said = strstr(journey.error.text, "largest that would is ");
        if (rows[i].limit == 100) {
            CHECK(said == NULL);
            continue;
        }
        REQUIRE(said != NULL);
        size_t largest = strtoul(said + strlen("largest that would is "), NULL, 10);
        payload[largest + 1] = '\0';
        CHECK_ROW(seal(&journey) == DMSG_E_SIZE, "row %zu", i);
        payload[largest] = '\0';
        CHECK_ROW(seal(&journey) == 0, "row %zu: %s", i, journey.error.text);
        size_t limit = rows[i].limit != 0                  ? rows[i].limit
                       : rows[i].format == DMSG_FORMAT_POC ? DMSG_MESSAGE_SIZE_POC
                                                           : DMSG_MESSAGE_SIZE_MAX;
        /* A CBC block is 16 octets of ciphertext, 22 characters. */
        size_t step = rows[i].format == DMSG_FORMAT_POC ? 24 : 8;
        CHECK_ROW(journey.envelope.size <= limit && journey.envelope.size + step > limit,
            "row %zu: %zu octets", i, journey.envelope.size);
        arrive(&journey);
    }
}

static void a_larger_packet_is_refused_unread(void)
{
    struct journey journey = {
        .from = &alice, .to = &bob, .payload = "x", .policy = {.size_limit = 500}};
    REQUIRE(seal(&journey) == 0);
    CHECK(open_it(&journey) == DMSG_E_SIZE);
    journey.policy.size_limit = journey.envelope.size;
    CHECK(open_it(&journey) == 0);
    char topic[DMSG_TOPIC_MAX + 2];
    memset(topic, 'a', sizeof topic);
    topic[sizeof topic - 1] = '\0';
    journey.topic = topic;
    CHECK(open_it(&journey) == DMSG_E_SIZE);
    arrive(&journey);
}

/* To the octet, with and without a limit of one's own: white space is part of a message. */
static void the_receivers_limit_is_exact(void)
{
    static const size_t limits[] = {0, 4096};
    for (size_t i = 0; i < 2; i++) {
        struct journey journey = {
            .from = &alice, .to = &bob, .payload = "x", .policy = {.size_limit = limits[i]}};
        size_t limit = limits[i] != 0 ? limits[i] : DMSG_MESSAGE_SIZE_MAX;
        REQUIRE(seal(&journey) == 0);
        while (journey.envelope.size < limit)
            dmsg_buffer_put_byte(&journey.envelope, ' ');
        CHECK(open_it(&journey) == 0);
        dmsg_buffer_put_byte(&journey.envelope, ' ');
        CHECK(open_it(&journey) == DMSG_E_SIZE);
        arrive(&journey);
    }
}

static void topics_of_every_length(void)
{
    static char topic[DMSG_TOPIC_MAX + 2];
    struct journey journey = {
        .from = &alice, .to = &bob, .payload = "x", .topic = topic, .options = {.topic = topic}};
    memset(topic, 't', DMSG_TOPIC_MAX);
    CHECK(travel(&journey) == 0);
    topic[DMSG_TOPIC_MAX] = 't';
    CHECK(open_it(&journey) == DMSG_E_SIZE);
    CHECK(seal(&journey) == DMSG_E_USAGE);
    arrive(&journey);
}

/* ------------------------------------------------------------------------- whose key speaks */

static void the_sender_is_who_dns_says(void)
{
    struct journey journey = {.from = &mallory, .to = &bob, .payload = "I am alice"};
    REQUIRE(seal(&journey) == 0);
    const struct dmsg_peer *nobody = peer_without(&context, "alice.example", DMSG_DNS_SECURE);
    const struct dmsg_peer *bogus = peer_without(&context, "alice.example", DMSG_DNS_BOGUS);
    const struct dmsg_peer *insecure = peer_without(&context, "alice.example", DMSG_DNS_INSECURE);
    const struct dmsg_peer *away = peer_without(&context, "alice.example", DMSG_DNS_NOT_NOW);
    const struct {
        const struct dmsg_peer *peer;
        int result;
    } rows[] = {{mallory.peer, 0}, {alice.peer, DMSG_E_CERTIFICATE}, {carol.peer, DMSG_E_INTERNAL},
        {nobody, DMSG_E_NO_IDENTITY}, {bogus, DMSG_E_DNS_BOGUS}, {insecure, DMSG_E_DNS_INSECURE},
        {away, DMSG_E_DNS_TEMPORARY}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        journey.peer = rows[i].peer;
        int result = open_it(&journey);
        CHECK_ROW(result == rows[i].result, "row %zu: %d %s", i, result, journey.error.text);
    }
    dmsg_peer_release(nobody);
    dmsg_peer_release(bogus);
    dmsg_peer_release(insecure);
    dmsg_peer_release(away);
    arrive(&journey);
}

/* A name with two records: both its keys may sign, kid says which. */
static void two_records_at_one_name(void)
{
    struct dmsg_buffer a = {0}, b = {0};
    struct dmsg_error error;
    REQUIRE(dmsg_tlsa_encode(&a, 3, 0, 0, alice.material.certificate, NULL, &error) == 0);
    REQUIRE(dmsg_tlsa_encode(&b, 3, 1, 0, NULL, mallory.material.key, &error) == 0);
    struct dmsg_span records[] = {dmsg_buffer_span(&a), dmsg_buffer_span(&b)};
    const struct dmsg_peer *both = peer_of(&context, "alice.example", records, 2);
    const struct person *senders[] = {&alice, &mallory};
    for (size_t i = 0; i < 2; i++) {
        struct journey journey = {.from = senders[i], .to = &bob, .payload = "x", .peer = both};
        CHECK_ROW(travel(&journey) == 0, "%zu: %s", i, journey.error.text);
        arrive(&journey);
    }
    dmsg_peer_release(both);
    dmsg_buffer_done(&a);
    dmsg_buffer_done(&b);
}

/* Without kid each key is tried; that one made another signature says more than that one is of
   another kind, whatever the order of the records. */
static void the_word_does_not_hang_on_the_order(void)
{
    const struct person *wrong[] = {&rsa_bob, &alice, &carol};
    struct dmsg_buffer rdata[3] = {0};
    struct dmsg_span records[3];
    for (size_t i = 0; i < 3; i++) {
        REQUIRE(
            dmsg_tlsa_encode(&rdata[i], 3, 0, 0, wrong[i]->material.certificate, NULL, NULL) == 0);
        records[i] = dmsg_buffer_span(&rdata[i]);
    }
    for (size_t i = 0; i < 3; i++) {
        struct dmsg_span turned[] = {records[i], records[(i + 1) % 3], records[(i + 2) % 3]};
        struct journey journey = {.from = &rsa_alice,
            .to = &rsa_bob,
            .payload = "x",
            .options = {.format = DMSG_FORMAT_POC},
            .policy = {.accept_any_poc = true},
            .peer = peer_of(&context, "alice.example", turned, 3)};
        CHECK_ROW(travel(&journey) == DMSG_E_SIGNATURE, "%zu: %s", i, journey.error.text);
        arrive(&journey);
        dmsg_peer_release(journey.peer);
    }
    for (size_t i = 0; i < 3; i++)
        dmsg_buffer_done(&rdata[i]);
}

/* The same of the recipient's keys: that one fits and does not open it says more than that others
   do not fit. */
static void nor_on_the_order_of_own_keys(void)
{
    const struct person *others[] = {&alice, &rsa_alice, &carol};
    for (size_t i = 0; i < 3; i++) {
        struct dmsg_identity *several = NULL;
        struct person reader = rsa_bob;
        struct journey journey = {.from = &rsa_alice,
            .to = &rsa_bob,
            .payload = "x",
            .options = {.format = DMSG_FORMAT_POC},
            .policy = {.accept_any_poc = true}};
        REQUIRE(seal(&journey) == 0);
        REQUIRE(dmsg_identity_new(&several, &context, &rsa_bob.name, NULL) == 0);
        for (size_t k = 0; k < 3; k++)
            CHECK(dmsg_identity_add(several, DMSG_KEY_CURRENT, others[(i + k) % 3]->material.key,
                      NULL, NULL) == 0);
        reader.identity = several;
        journey.to = &reader;
        CHECK_ROW(open_it(&journey) == DMSG_E_DECRYPT, "%zu: %s", i, journey.error.text);
        CHECK(dmsg_identity_add(several, DMSG_KEY_OLD, rsa_bob.material.key, NULL, NULL) == 0);
        CHECK_ROW(open_it(&journey) == 0, "%zu: %s", i, journey.error.text);
        arrive(&journey);
        dmsg_identity_free(&several);
    }
}

#define MORE_SENDERS (DMSG_KEYRING_SLOTS + 40)

/* More senders than there are places for prepared keys: what stands in a place may be another's. */
static void a_kept_key_is_its_senders(void)
{
    static struct dmsg_keyring ring;
    struct dmsg_peer_key peers[2] = {alice.peer->keys[0], carol.peer->keys[0]};
    const char *const algorithms[] = {"ES256", "ES384"};
    struct dmsg_jose *jose = NULL;
    REQUIRE(dmsg_jose_new(&jose, &context, NULL) == 0);
    for (size_t i = 0; i < 2 * MORE_SENDERS; i++) {
        size_t number = i % MORE_SENDERS, who = number / 3 % 2;
        struct dmsg_peer_key *peer = &peers[who];
        struct dmsg_jose_key *key = NULL, *again = NULL;
        snprintf(peer->kid, sizeof peer->kid, "%043zx", number);
        REQUIRE(dmsg_keyring_get(&ring, jose, peer, DMSG_USE_VERIFY, &key, NULL) == 0);
        CHECK_ROW(strcmp(dmsg_jose_key_algorithm(key), algorithms[who]) == 0, "%zu", i);
        CHECK(dmsg_keyring_get(&ring, jose, peer, DMSG_USE_VERIFY, &again, NULL) == 0);
        CHECK(again == key);
    }
    dmsg_keyring_done(&ring);
    dmsg_jose_free(&jose);
}

static void a_key_that_cannot_decrypt(void)
{
    struct dmsg_identity *signs = NULL;
    struct dmsg_opener *opener = NULL;
    struct dmsg_policy policy = {0};
    REQUIRE(dmsg_identity_new(&signs, &context, &bob.name, NULL) == 0);
    REQUIRE(dmsg_identity_add(signs, DMSG_KEY_CURRENT, ed_bob.material.key,
                ed_bob.material.certificate, NULL) == 0);
    CHECK(dmsg_opener_new(&opener, &context, signs, &policy, NULL) == DMSG_E_CERTIFICATE);
    CHECK(opener == NULL);
    CHECK(dmsg_opener_new(&opener, &context, ed_bob.identity, &policy, NULL) == 0);
    dmsg_opener_free(&opener);
    dmsg_identity_free(&signs);
}

/* An X25519 key of low order is no key: nobody's message for others hangs on it. */
static void no_key_of_low_order(void)
{
    static const uint8_t zero[32];
    struct dmsg_jose *jose = NULL;
    struct dmsg_jose_key *key = NULL;
    EVP_PKEY *pkey = EVP_PKEY_new_raw_public_key(EVP_PKEY_X25519, NULL, zero, sizeof zero);
    REQUIRE(dmsg_jose_new(&jose, &context, NULL) == 0);
    CHECK(dmsg_jose_key_new(&key, jose, pkey, DMSG_USE_ENCRYPT, NULL) == DMSG_E_CERTIFICATE);
    CHECK(key == NULL);
    CHECK(
        dmsg_jose_key_new(&key, jose, ed_bob.material.encryption_key, DMSG_USE_ENCRYPT, NULL) == 0);
    dmsg_jose_key_free(&key);
    dmsg_jose_free(&jose);
    EVP_PKEY_free(pkey);
}

/* During a rollover a recipient has several keys; kid finds the one. */
static void several_own_keys(void)
{
    struct dmsg_identity *both = NULL;
    struct person reader = bob;
    REQUIRE(dmsg_identity_new(&both, &context, &bob.name, NULL) == 0);
    REQUIRE(dmsg_identity_add(both, DMSG_KEY_CURRENT, rsa_bob.material.key,
                rsa_bob.material.certificate, NULL) == 0);
    REQUIRE(dmsg_identity_add(
                both, DMSG_KEY_OLD, bob.material.key, bob.material.certificate, NULL) == 0);
    reader.identity = both;
    const struct person *addressed[] = {&bob, &rsa_bob};
    for (size_t i = 0; i < 2; i++) {
        struct journey journey = {.from = &alice, .to = addressed[i], .payload = "x"};
        REQUIRE(seal(&journey) == 0);
        journey.to = &reader;
        CHECK_ROW(open_it(&journey) == 0, "%zu: %s", i, journey.error.text);
        arrive(&journey);
    }
    struct journey unknown = {.from = &alice, .to = &ed_bob, .payload = "x"};
    REQUIRE(seal(&unknown) == 0);
    unknown.to = &reader;
    CHECK(open_it(&unknown) == DMSG_E_NOT_FOR_ME);
    arrive(&unknown);
    dmsg_identity_free(&both);
}

static void waiting_and_resuming(void)
{
    struct journey journey = {.from = &alice, .to = &bob, .payload = "later"};
    struct dmsg_opener *opener = NULL;
    struct dmsg_message first = {0}, second = {0};
    struct dmsg_span topic = dmsg_span_text("bob.example");
    REQUIRE(seal(&journey) == 0);
    REQUIRE(dmsg_opener_new(&opener, &context, bob.identity, &journey.policy, NULL) == 0);
    REQUIRE(dmsg_open_begin(opener, dmsg_buffer_span(&journey.envelope), topic, &first, NULL) == 0);
    CHECK(dmsg_open_resume(opener, dmsg_buffer_span(&first.jws), "", topic, &second, NULL) == 0);
    CHECK(strcmp(first.id, second.id) == 0 && dmsg_name_equal(&first.sender, &second.sender));
    /* Between the two, other messages go through the same opener. */
    CHECK(dmsg_open_finish(opener, &first, alice.peer, NULL) == 0);
    CHECK(dmsg_open_finish(opener, &second, alice.peer, NULL) == 0);
    CHECK(dmsg_span_equal_text(dmsg_buffer_span(&second.payload), "later"));
    clock_now = NOW + DMSG_LIFE_DEFAULT;
    CHECK(dmsg_open_resume(opener, dmsg_buffer_span(&first.jws), "", topic, &second, NULL) ==
          DMSG_E_TIME);
    CHECK(second.jws.size == 0 && second.payload.size == 0 && !second.verified);
    clock_now = NOW;
    /* what was refused is not to be had from its sender's keys */
    CHECK(dmsg_name_equal(&second.sender, &alice.name));
    CHECK(dmsg_open_finish(opener, &second, alice.peer, NULL) == DMSG_E_INTERNAL);
    dmsg_message_done(&first);
    dmsg_message_done(&second);
    dmsg_opener_free(&opener);
    arrive(&journey);
}

/* Each judgement is a new one, whatever the last one was. */
static void finishing_again(void)
{
    struct journey journey = {.from = &alice, .to = &bob, .payload = "x"};
    struct journey between = {.from = &ed_alice, .to = &bob, .payload = "y"};
    struct dmsg_opener *opener = NULL;
    struct dmsg_message first = {0}, second = {0};
    struct dmsg_span topic = dmsg_span_text("bob.example");
    struct dmsg_peer stale = *alice.peer;
    stale.stale = true;
    REQUIRE(seal(&journey) == 0 && seal(&between) == 0);
    REQUIRE(dmsg_opener_new(&opener, &context, bob.identity, &journey.policy, NULL) == 0);
    CHECK(dmsg_open_begin(opener, dmsg_buffer_span(&journey.envelope), topic, &first, NULL) == 0);
    CHECK(dmsg_open_begin(opener, dmsg_buffer_span(&between.envelope), topic, &second, NULL) == 0);
    const struct {
        const struct dmsg_peer *peer;
        int result;
    } rows[] = {{alice.peer, 0}, {carol.peer, DMSG_E_INTERNAL}, {&stale, 0},
        {mallory.peer, DMSG_E_CERTIFICATE}, {alice.peer, 0}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        CHECK_ROW(
            dmsg_open_finish(opener, &first, rows[i].peer, NULL) == rows[i].result, "row %zu", i);
        CHECK(first.verified == (rows[i].result == 0));
        CHECK(first.payload.size == (rows[i].result == 0 ? 1 : 0));
        CHECK(first.stale == (rows[i].peer == &stale));
    }
    CHECK(dmsg_open_finish(opener, &second, ed_alice.peer, NULL) == 0);
    CHECK(dmsg_span_equal_text(dmsg_buffer_span(&second.payload), "y"));
    dmsg_message_done(&first);
    dmsg_message_done(&second);
    dmsg_opener_free(&opener);
    arrive(&journey);
    arrive(&between);
}

/* A device without a battery for its clock: what seems to come from the future waits. */
static void a_clock_that_is_not_set(void)
{
    struct journey journey = {.from = &alice, .to = &bob, .payload = "x"};
    REQUIRE(seal(&journey) == 0);
    clock_now = NOW - 86400;
    CHECK(open_it(&journey) == DMSG_E_TIME && !journey.message.early);
    clock_is_set = false;
    CHECK(open_it(&journey) == DMSG_E_TIME && journey.message.early);
    CHECK(journey.message.jws.size > 0 && journey.message.payload.size == 0);
    clock_now = NOW;
    CHECK(open_it(&journey) == 0 && !journey.message.early);
    clock_now = NOW + DMSG_LIFE_DEFAULT; /* too late is too late by any clock */
    CHECK(open_it(&journey) == DMSG_E_TIME && !journey.message.early);
    clock_now = NOW;
    clock_is_set = true;
    arrive(&journey);
}

static void verifying_without_an_identity(void)
{
    struct dmsg_policy policy = {.accept_any_poc = true};
    struct dmsg_sealer *sealer = NULL;
    struct dmsg_opener *opener = NULL;
    struct dmsg_buffer jws = {0};
    struct dmsg_message message = {0};
    struct dmsg_seal_options options = {.recipient = &carol.name};
    REQUIRE(dmsg_sealer_new(&sealer, &context, alice.identity, NULL) == 0);
    REQUIRE(dmsg_sign(sealer, &options, dmsg_span_text("x"), &jws, NULL) == 0);
    REQUIRE(dmsg_opener_new(&opener, &context, NULL, &policy, NULL) == 0);
    CHECK(dmsg_open_resume(
              opener, dmsg_buffer_span(&jws), "", (struct dmsg_span){0}, &message, NULL) == 0);
    CHECK(strcmp(message.recipient.text, "carol.example") == 0);
    CHECK(dmsg_open_finish(opener, &message, mallory.peer, NULL) == DMSG_E_CERTIFICATE);
    CHECK(dmsg_open_finish(opener, &message, alice.peer, NULL) == 0);
    CHECK(dmsg_decrypt(opener, dmsg_buffer_span(&jws), &message.payload, NULL) < 0);
    struct journey sealed = {.from = &alice, .to = &bob, .payload = "x"};
    CHECK(seal(&sealed) == 0);
    CHECK(dmsg_decrypt(opener, dmsg_buffer_span(&sealed.envelope), &message.payload, NULL) ==
          DMSG_E_NOT_FOR_ME);
    arrive(&sealed);
    dmsg_message_done(&message);
    dmsg_buffer_done(&jws);
    dmsg_opener_free(&opener);
    dmsg_sealer_free(&sealer);
}

/* --------------------------------------------------------------- headers that somebody crafted */

#define KID "%KID"
#define GOOD_JTI "\"jti\":\"AAAAAAAAAAAAAAAAAAAAAA\""
#define GOOD_X5U "\"x5u\":\"dns:alice.example?type=TLSA\""
#define GOOD_TYP "\"typ\":\"danemsg+jws\""
#define GOOD_AUD "\"aud\":\"bob.example\""
#define GOOD_KID "\"kid\":\"" KID "\""
#define GOOD_IAT "\"iat\":1700000000"
#define GOOD_EXP "\"exp\":1700000100"
#define OUTER_TYP "\"typ\":\"JWE\""
#define OUTER_CTY "\"cty\":\"danemsg+jws\""
#define OUTER_X5U "\"x5u\":\"dns:bob.example?type=TLSA\""

/* Replaces %KID by a key's. */
static void put_members(struct dmsg_buffer *out, const char *members, const EVP_PKEY *key)
{
    char kid[DMSG_KID_SIZE] = "";
    const char *at = strstr(members, KID);
    CHECK(dmsg_jose_kid(kid, key, NULL) == 0);
    dmsg_buffer_reset(out);
    if (at == NULL) {
        dmsg_buffer_put_text(out, members);
        return;
    }
    dmsg_buffer_put(out, members, (size_t)(at - members));
    dmsg_buffer_put_text(out, kid);
    dmsg_buffer_put_text(out, at + strlen(KID));
}

struct crafted {
    const char *inner, *outer;
    enum dmsg_jose_form inner_form, outer_form;
    const char *topic;
    bool rsa; /* her RSA key and his; poc is accepted */
    int result;
};

/* A message of alice to bob with any header members, in honest signature and encryption. */
static int open_crafted(const struct crafted *row, struct dmsg_error *error)
{
    struct dmsg_jose *jose = NULL;
    struct dmsg_jose_key *signing = NULL, *encrypting = NULL;
    struct dmsg_buffer members = {0}, jws = {0};
    struct journey journey = {.from = row->rsa ? &rsa_alice : &alice,
        .to = row->rsa ? &rsa_bob : &bob,
        .topic = row->topic,
        .policy = {.accept_any_poc = row->rsa}};
    EVP_PKEY *alices = journey.from->material.key, *bobs = journey.to->material.key;
    int result = dmsg_jose_new(&jose, &context, error);
    if (result == 0)
        result = dmsg_jose_key_new(&signing, jose, alices, DMSG_USE_SIGN, error);
    if (result == 0)
        result = dmsg_jose_key_new(&encrypting, jose, bobs, DMSG_USE_ENCRYPT, error);
    put_members(&members, row->inner, alices);
    if (result == 0)
        result = dmsg_jws_sign(signing, dmsg_buffer_span(&members), dmsg_span_text("hello"),
            row->inner_form, &jws, error);
    put_members(&members, row->outer, bobs);
    if (result == 0)
        result = dmsg_jwe_encrypt(encrypting, DMSG_ENC_A256GCM, dmsg_buffer_span(&members),
            dmsg_buffer_span(&jws), row->outer_form, &journey.envelope, error);
    CHECK(result == 0);
    result = open_it(&journey);
    *error = journey.error;
    arrive(&journey);
    dmsg_buffer_done(&members);
    dmsg_buffer_done(&jws);
    dmsg_jose_key_free(&signing);
    dmsg_jose_key_free(&encrypting);
    dmsg_jose_free(&jose);
    return result;
}

#define A42 "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" /* a kid but for its last character */
#define CTY_127 "\"cty\":\"" A42 A42 A42 "A"
#define OUTER OUTER_TYP "," OUTER_CTY "," OUTER_X5U ",\"kid\":\"" KID "\""
#define INNER GOOD_TYP "," GOOD_X5U "," GOOD_KID "," GOOD_AUD "," GOOD_IAT "," GOOD_EXP "," GOOD_JTI
#define WITH_TIMES(iat, exp)                                                                       \
    GOOD_TYP "," GOOD_X5U "," GOOD_KID "," GOOD_AUD ",\"iat\":" iat ",\"exp\":" exp "," GOOD_JTI
#define WITH_AUD(aud)                                                                              \
    GOOD_TYP "," GOOD_X5U "," GOOD_KID ",\"aud\":" aud "," GOOD_IAT "," GOOD_EXP "," GOOD_JTI
#define WITH_X5U(x5u)                                                                              \
    GOOD_TYP ",\"x5u\":\"" x5u "\"," GOOD_KID "," GOOD_AUD "," GOOD_IAT "," GOOD_EXP "," GOOD_JTI
#define WITH_KID(kid)                                                                              \
    GOOD_TYP "," GOOD_X5U ",\"kid\":\"" kid "\"," GOOD_AUD "," GOOD_IAT "," GOOD_EXP "," GOOD_JTI
/* In all of them the key is nobody's. */
#define SEVERAL(last_of_jti, sender, aud, iat, exp)                                                \
    GOOD_TYP ",\"x5u\":\"dns:" sender "?type=TLSA\",\"kid\":\"" A42 "A\",\"aud\":\"" aud           \
             "\",\"iat\":" iat ",\"exp\":" exp ",\"jti\":\"AAAAAAAAAAAAAAAAAAAAA" last_of_jti "\""
#define WITH_JTI(jti)                                                                              \
    GOOD_TYP "," GOOD_X5U "," GOOD_KID "," GOOD_AUD "," GOOD_IAT "," GOOD_EXP ",\"jti\":" jti

static void crafted_inner_headers(void)
{
    static const struct crafted rows[] = {
        {.inner = INNER},
        {.inner = INNER ",\"unknown\":[1,{\"a\":true}]"},
        {.inner = INNER, .inner_form = DMSG_FORM_FLATTENED},
        {.inner = INNER ",\"cty\":\"a/b\""},
        /* format: members that v1 requires, and how they look */
        {.inner = GOOD_TYP "," GOOD_X5U "," GOOD_KID "," GOOD_AUD "," GOOD_IAT "," GOOD_EXP,
            .result = DMSG_E_FORMAT},
        {.inner = GOOD_TYP "," GOOD_X5U "," GOOD_KID "," GOOD_AUD "," GOOD_IAT "," GOOD_JTI,
            .result = DMSG_E_FORMAT},
        {.inner = GOOD_TYP "," GOOD_X5U "," GOOD_KID "," GOOD_AUD "," GOOD_EXP "," GOOD_JTI,
            .result = DMSG_E_FORMAT},
        {.inner = GOOD_TYP "," GOOD_X5U "," GOOD_KID "," GOOD_IAT "," GOOD_EXP "," GOOD_JTI,
            .result = DMSG_E_FORMAT},
        {.inner = GOOD_TYP "," GOOD_X5U "," GOOD_AUD "," GOOD_IAT "," GOOD_EXP "," GOOD_JTI,
            .result = DMSG_E_FORMAT},
        {.inner = GOOD_TYP "," GOOD_KID "," GOOD_AUD "," GOOD_IAT "," GOOD_EXP "," GOOD_JTI,
            .result = DMSG_E_FORMAT},
        {.inner = GOOD_X5U "," GOOD_KID "," GOOD_AUD "," GOOD_IAT "," GOOD_EXP "," GOOD_JTI,
            .result = DMSG_E_FORMAT},
        {.inner = GOOD_X5U, .result = DMSG_E_FORMAT}, /* poc is RS256 */
        {.inner = "\"typ\":\"JWT\"," GOOD_X5U, .result = DMSG_E_FORMAT},
        {.inner = WITH_JTI("\"AAAAAAAAAAAAAAAAAAAAA\""), .result = DMSG_E_FORMAT},
        {.inner = WITH_JTI("\"AAAAAAAAAAAAAAAAAAAAAAA\""), .result = DMSG_E_FORMAT},
        {.inner = WITH_JTI("\"AAAAAAAAAAAAAAAAAAAAAB\""), .result = DMSG_E_FORMAT},
        {.inner = WITH_JTI("\"AAAAAAAAAAAAAAAAAAAA==\""), .result = DMSG_E_FORMAT},
        {.inner = WITH_JTI("17"), .result = DMSG_E_FORMAT},
        {.inner = INNER ",\"cty\":\"a\\nb\"", .result = DMSG_E_FORMAT},
        {.inner = INNER ",\"cty\":\"\\u007f\"", .result = DMSG_E_FORMAT},
        {.inner = INNER ",\"cty\":\"\\u00e9\"", .result = DMSG_E_FORMAT},
        {.inner = INNER ",\"cty\":\" ~\""},
        {.inner = INNER "," CTY_127 "\""},
        {.inner = INNER "," CTY_127 "A\"", .result = DMSG_E_FORMAT},
        {.inner = WITH_KID(""), .result = DMSG_E_FORMAT},
        {.inner = WITH_KID(A42), .result = DMSG_E_FORMAT},
        {.inner = WITH_KID(A42 "AA"), .result = DMSG_E_FORMAT},
        {.inner = WITH_KID(A42 "B"), .result = DMSG_E_FORMAT},
        {.inner = WITH_KID(A42 "="), .result = DMSG_E_FORMAT},
        {.inner = WITH_KID("+" A42), .result = DMSG_E_FORMAT},
        {.inner = WITH_KID(A42 "A"), .result = DMSG_E_CERTIFICATE}, /* of no record */
        {.inner = WITH_AUD("[\"bob.example\"]"), .result = DMSG_E_FORMAT},
        {.inner = WITH_TIMES("1700000000.0", "1700000100"), .result = DMSG_E_FORMAT},
        {.inner = WITH_TIMES("\"1700000000\"", "1700000100"), .result = DMSG_E_FORMAT},
        {.inner = WITH_TIMES("-1", "1700000100"), .result = DMSG_E_FORMAT},
        {.inner = WITH_TIMES("1700000000", "9007199254740992"), .result = DMSG_E_FORMAT},
        {.inner = WITH_TIMES("1700000000", "1700000000"), .result = DMSG_E_FORMAT},
        {.inner = WITH_TIMES("1700000100", "1700000000"), .result = DMSG_E_FORMAT},
        {.inner = WITH_TIMES("0", "9007199254740991"), .result = DMSG_E_TIME},
        {.inner = INNER ",\"crit\":[\"exp\"]", .result = DMSG_E_FORMAT},
        {.inner = INNER ",\"b64\":false", .result = DMSG_E_FORMAT},
        {.inner = INNER ",\"jwk\":{}", .result = DMSG_E_FORMAT},
        /* time */
        {.inner = WITH_TIMES("1700000300", "1700000400")},
        {.inner = WITH_TIMES("1700000301", "1700000400"), .result = DMSG_E_TIME},
        {.inner = WITH_TIMES("1699999000", "1700000001")},
        {.inner = WITH_TIMES("1699999000", "1700000000"), .result = DMSG_E_TIME},
        {.inner = WITH_TIMES("1700000000", "1702592000")},
        {.inner = WITH_TIMES("1700000000", "1702592001"), .result = DMSG_E_TIME},
        {.inner = WITH_TIMES("0", "1700000100"), .result = DMSG_E_TIME},
        /* audience */
        {.inner = WITH_AUD("\"BOB.example.\"")},
        {.inner = WITH_AUD("\"carol.example\""), .result = DMSG_E_AUDIENCE},
        {.inner = WITH_AUD("\"bob.example.org\""), .result = DMSG_E_AUDIENCE},
        {.inner = WITH_AUD("\"*.example\""), .result = DMSG_E_AUDIENCE},
        {.inner = WITH_AUD("\"\""), .result = DMSG_E_AUDIENCE},
        /* topic */
        {.inner = INNER, .topic = "bob.example"},
        {.inner = INNER, .topic = "carol.example", .result = DMSG_E_AUDIENCE},
        {.inner = INNER ",\"topic\":\"fleet/1\"", .topic = "fleet/1"},
        {.inner = INNER ",\"topic\":\"fleet/1\"", .topic = "fleet/2", .result = DMSG_E_AUDIENCE},
        {.inner = INNER ",\"topic\":\"fleet/1\"",
            .topic = "bob.example",
            .result = DMSG_E_AUDIENCE},
        /* name */
        {.inner = WITH_X5U("dns://alice.example?type=TLSA")},
        {.inner = WITH_X5U("dns:ALICE.example.?type=TLSA")},
        {.inner = WITH_X5U("dns:*.example.net?type=TLSA"), .result = DMSG_E_NAME},
        {.inner = WITH_X5U("dns:a/b.example?type=TLSA"), .result = DMSG_E_NAME},
        {.inner = WITH_X5U("dns:a%2eb.example?type=TLSA"), .result = DMSG_E_NAME},
        {.inner = WITH_X5U("dns:alice?type=TLSA"), .result = DMSG_E_NAME},
        {.inner = WITH_X5U("dns://192.0.2.1/alice.example?type=TLSA"), .result = DMSG_E_NAME},
        {.inner = WITH_X5U("dns://ns.example/alice.example?type=TLSA"), .result = DMSG_E_NAME},
        {.inner = WITH_X5U("https://alice.example/"), .result = DMSG_E_NAME},
        {.inner = WITH_X5U("dns:alice.example?type=A"), .result = DMSG_E_NAME},
        /* several of them: the first of the decision's order */
        {.inner = SEVERAL("1", "a*b.example", "carol.example", "1", "2"), .result = DMSG_E_FORMAT},
        {.inner = SEVERAL("A", "a*b.example", "carol.example", "1", "2"), .result = DMSG_E_NAME},
        {.inner = SEVERAL("A", "alice.example", "carol.example", "1", "2"),
            .result = DMSG_E_AUDIENCE},
        {.inner = SEVERAL("A", "alice.example", "bob.example", "1", "2") ",\"topic\":\"t\"",
            .topic = "bob.example",
            .result = DMSG_E_AUDIENCE},
        {.inner = SEVERAL("A", "alice.example", "bob.example", "1", "2"), .result = DMSG_E_TIME},
        {.inner = SEVERAL("A", "alice.example", "bob.example", "1700000000", "1700000100"),
            .result = DMSG_E_CERTIFICATE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct crafted row = rows[i];
        struct dmsg_error error = {0};
        row.outer = OUTER;
        int result = open_crafted(&row, &error);
        CHECK_ROW(result == row.result, "row %zu %s: %s: %s", i, row.inner, dmsg_error_word(result),
            error.text);
    }
}

/* Whoever only verifies compares no audience, and wants a name there all the same. */
static void audiences_that_are_no_names(void)
{
    static const struct {
        const char *inner;
        int result;
    } rows[] = {{WITH_AUD("\"carol.example\""), 0}, {WITH_AUD("\"*.example\""), DMSG_E_AUDIENCE},
        {WITH_AUD("\"\""), DMSG_E_AUDIENCE}};
    struct dmsg_policy policy = {0};
    struct dmsg_jose *jose = NULL;
    struct dmsg_jose_key *signing = NULL;
    struct dmsg_opener *opener = NULL;
    REQUIRE(dmsg_jose_new(&jose, &context, NULL) == 0);
    REQUIRE(dmsg_jose_key_new(&signing, jose, alice.material.key, DMSG_USE_SIGN, NULL) == 0);
    REQUIRE(dmsg_opener_new(&opener, &context, NULL, &policy, NULL) == 0);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_buffer members = {0}, jws = {0};
        struct dmsg_message message = {0};
        put_members(&members, rows[i].inner, alice.material.key);
        CHECK(dmsg_jws_sign(signing, dmsg_buffer_span(&members), dmsg_span_text("x"),
                  DMSG_FORM_COMPACT, &jws, NULL) == 0);
        CHECK_ROW(dmsg_open_resume(opener, dmsg_buffer_span(&jws), "", (struct dmsg_span){0},
                      &message, NULL) == rows[i].result,
            "row %zu", i);
        dmsg_message_done(&message);
        dmsg_buffer_done(&members);
        dmsg_buffer_done(&jws);
    }
    dmsg_opener_free(&opener);
    dmsg_jose_key_free(&signing);
    dmsg_jose_free(&jose);
}

#define POC_X5U "\"x5u\":\"dns://alice.example?type=TLSA\""

/* Without danemsg's typ a message is the proof of concept's, or nothing. */
static void crafted_poc_headers(void)
{
    static const struct crafted rows[] = {
        {.inner = INNER}, /* v1 between RSA keys */
        {.inner = POC_X5U},
        {.inner = GOOD_X5U},
        {.inner = POC_X5U ",\"typ\":\"JWS\",\"cty\":\"a/b\"," GOOD_KID ",\"unknown\":1"},
        {.inner = POC_X5U ",\"x5c\":[\"*\"]"}, /* which nobody looks at there */
        {.inner = POC_X5U "," GOOD_AUD, .result = DMSG_E_FORMAT},
        {.inner = POC_X5U "," GOOD_IAT, .result = DMSG_E_FORMAT},
        {.inner = POC_X5U "," GOOD_EXP, .result = DMSG_E_FORMAT},
        {.inner = POC_X5U "," GOOD_JTI, .result = DMSG_E_FORMAT},
        {.inner = POC_X5U "," GOOD_TYP, .result = DMSG_E_FORMAT},
        {.inner = POC_X5U ",\"typ\":\"Danemsg+jws\"," GOOD_AUD, .result = DMSG_E_FORMAT},
        {.inner = "\"typ\":\"JWS\"", .result = DMSG_E_FORMAT},
        {.inner = POC_X5U ",\"crit\":[\"x5u\"]", .result = DMSG_E_FORMAT},
        {.inner = "\"x5u\":\"dns://192.0.2.1/alice.example?type=TLSA\"", .result = DMSG_E_NAME},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct crafted row = rows[i];
        struct dmsg_error error = {0};
        row.outer = OUTER;
        row.rsa = true;
        int result = open_crafted(&row, &error);
        CHECK_ROW(result == row.result, "row %zu %s: %s: %s", i, row.inner, dmsg_error_word(result),
            error.text);
    }
}

static void crafted_outer_headers(void)
{
    static const struct crafted rows[] = {
        {.outer = OUTER, .outer_form = DMSG_FORM_COMPACT},
        {.outer = OUTER, .outer_form = DMSG_FORM_FLATTENED},
        {.outer = OUTER_X5U},
        {.outer = OUTER ",\"unknown\":1"},
        {.outer = OUTER_TYP "," OUTER_CTY, .result = DMSG_E_FORMAT},
        {.outer = OUTER_X5U ",\"typ\":\"JOSE\"", .result = DMSG_E_FORMAT},
        {.outer = OUTER_X5U ",\"cty\":\"JWT\"", .result = DMSG_E_FORMAT},
        {.outer = "\"x5u\":\"dns:*.example.net?type=TLSA\"", .result = DMSG_E_FORMAT},
        {.outer = "\"x5u\":\"dns:carol.example?type=TLSA\"", .result = DMSG_E_NOT_FOR_ME},
        {.outer = OUTER_X5U ",\"kid\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
            .result = DMSG_E_NOT_FOR_ME},
        {.outer = OUTER_X5U ",\"zip\":\"DEF\"", .result = DMSG_E_FORMAT},
        {.outer = OUTER_X5U ",\"crit\":[]", .result = DMSG_E_FORMAT},
        {.outer = OUTER_X5U ",\"apu\":\"AA\"", .result = DMSG_E_FORMAT},
        {.outer = OUTER_X5U ",\"p2c\":1000", .result = DMSG_E_FORMAT},
        {.outer = OUTER_X5U "," OUTER_X5U, .result = DMSG_E_FORMAT},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct crafted row = rows[i];
        struct dmsg_error error = {0};
        row.inner = INNER;
        int result = open_crafted(&row, &error);
        CHECK_ROW(result == row.result, "row %zu %s: %s: %s", i, row.outer, dmsg_error_word(result),
            error.text);
    }
}

/* What the recipient of a message can do with it: encrypt its JWS to somebody else. */
static void re_encrypted_to_another(void)
{
    struct dmsg_sealer *sealer = NULL;
    struct dmsg_buffer jws = {0};
    struct dmsg_error error;
    struct dmsg_seal_options for_carol = {.recipient = &carol.name};
    struct journey journey = {.from = &alice, .to = &bob};
    REQUIRE(dmsg_sealer_new(&sealer, &context, alice.identity, &error) == 0);
    REQUIRE(dmsg_sign(sealer, &for_carol, dmsg_span_text("for carol"), &jws, &error) == 0);
    struct dmsg_seal_options to_bob = {
        .recipient = &bob.name, .key = dmsg_peer_recipient_key(bob.peer, &error)};
    REQUIRE(
        dmsg_encrypt(&context, &to_bob, dmsg_buffer_span(&jws), &journey.envelope, &error) == 0);
    CHECK(open_it(&journey) == DMSG_E_AUDIENCE);
    dmsg_buffer_reset(&jws);
    dmsg_buffer_reset(&journey.envelope);
    struct dmsg_seal_options for_bob = {.recipient = &bob.name};
    REQUIRE(dmsg_sign(sealer, &for_bob, dmsg_span_text("for bob"), &jws, &error) == 0);
    REQUIRE(
        dmsg_encrypt(&context, &to_bob, dmsg_buffer_span(&jws), &journey.envelope, &error) == 0);
    CHECK(open_it(&journey) == 0);
    arrive(&journey);
    dmsg_buffer_done(&jws);
    dmsg_sealer_free(&sealer);
}

#define GENERAL_JWS "{\"payload\":\"YQ\",\"signatures\":[]}"
#define EMPTY_JWE                                                                                  \
    "{\"protected\":\"e30\",\"encrypted_key\":\"\",\"iv\":\"\",\"ciphertext\":\"\",\"tag\":\"\"}"

/* What is inside must be a JWS. */
static void nothing_signed_inside(void)
{
    static const char *const rows[] = {
        "", "hello", "{}", "a.b", "a.b.c", "e30.e30.AA", "[]", "a.b.c.d.e", GENERAL_JWS, EMPTY_JWE};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_error error;
        struct journey journey = {.from = &alice, .to = &bob};
        struct dmsg_seal_options to_bob = {
            .recipient = &bob.name, .key = dmsg_peer_recipient_key(bob.peer, &error)};
        REQUIRE(dmsg_encrypt(
                    &context, &to_bob, dmsg_span_text(rows[i]), &journey.envelope, &error) == 0);
        CHECK_ROW(open_it(&journey) == DMSG_E_FORMAT, "row %zu: %s", i, journey.error.text);
        CHECK(journey.message.jws.size == 0);
        arrive(&journey);
    }
}

static void policy_comes_before_dns(void)
{
    struct dmsg_pattern others[2];
    REQUIRE(dmsg_pattern_parse(&others[0], dmsg_span_text("carol.example"), NULL) == 0);
    REQUIRE(dmsg_pattern_parse(&others[1], dmsg_span_text("*.alice.example"), NULL) == 0);
    struct journey journey = {
        .from = &alice, .to = &bob, .payload = "x", .policy = {.allow = others, .allow_count = 2}};
    CHECK(travel(&journey) == DMSG_E_POLICY);
    CHECK(strcmp(journey.message.sender.text, "alice.example") == 0);
    CHECK(journey.message.jws.size == 0);
    others[1].wildcard = false;
    CHECK(open_it(&journey) == 0);
    arrive(&journey);
}

TEST_MAIN(TEST(make_people), TEST(every_suite), TEST(proof_of_concept),
    TEST(proof_of_concept_is_asked_for), TEST(options_are_judged), TEST(headers_say_no_more),
    TEST(limits_of_the_halves), TEST(the_limit_is_exact), TEST(a_larger_packet_is_refused_unread),
    TEST(the_receivers_limit_is_exact), TEST(topics_of_every_length),
    TEST(the_sender_is_who_dns_says), TEST(two_records_at_one_name),
    TEST(the_word_does_not_hang_on_the_order), TEST(nor_on_the_order_of_own_keys),
    TEST(a_kept_key_is_its_senders), TEST(a_key_that_cannot_decrypt), TEST(no_key_of_low_order),
    TEST(several_own_keys), TEST(waiting_and_resuming), TEST(finishing_again),
    TEST(a_clock_that_is_not_set), TEST(verifying_without_an_identity), TEST(crafted_inner_headers),
    TEST(audiences_that_are_no_names), TEST(crafted_poc_headers), TEST(crafted_outer_headers),
    TEST(re_encrypted_to_another), TEST(nothing_signed_inside), TEST(policy_comes_before_dns),
    TEST(lose_people))
