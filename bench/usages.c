/*
 * What certificates in the message cost a receiver: CPU time of opening one message of 1 KiB
 * (P-256) from a sender whose key DNS holds in full, from one whose digest it holds (`3 1 1`), and
 * from one below an anchor (`2 0 1`, an intermediate and the root in the message); and of the first
 * message of each, whose certificates are judged. All in turns, so that whatever else the machine
 * does hits them alike; medians over the turns.
 *
 *     bench/usages
 */
#include "suites.h"

#include "dane/tlsa.h"
#include "tests/unit/chain_make.h"

#include <stdio.h>

#define TURNS 101
#define REPEATS 50
#define SENDERS 3

static int64_t now(void *user)
{
    (void)user;
    return MADE_NOW;
}

static const struct dmsg_context context = {.now = now};
static const struct dmsg_policy policy;
static struct dmsg_name alice, bob;

struct sender {
    const char *what;
    uint8_t usage, selector, matching;
    size_t certificates;
    struct dmsg_identity *identity;
    const struct dmsg_peer *peer;
    struct dmsg_buffer envelope;
    double usual[TURNS], first[TURNS];
};

static struct sender senders[SENDERS] = {
    {.what = "3 0 0, nothing in the message", .usage = 3},
    {.what = "3 1 1, the certificate", .usage = 3, .selector = 1, .matching = 1, .certificates = 1},
    {.what = "2 0 1, and two issuers", .usage = 2, .matching = 1, .certificates = 3},
};

static const struct dmsg_peer *peer_with(
    const struct dmsg_name *name, const struct sender *sender, const X509 *of)
{
    struct dmsg_answer answer = {.name = *name, .status = DMSG_DNS_SECURE, .ttl = 60, .count = 1};
    struct dmsg_buffer rdata = {0};
    struct dmsg_error error;
    const struct dmsg_peer *peer = NULL;
    bench_must_do(dmsg_tlsa_encode(
                      &rdata, sender->usage, sender->selector, sender->matching, of, NULL, &error),
        "a record", &error);
    answer.records[0] = dmsg_buffer_span(&rdata);
    bench_must_do(dmsg_peer_judge(&peer, &context, NULL, &answer, &error), "a peer", &error);
    dmsg_buffer_done(&rdata);
    return peer;
}

static struct dmsg_identity *identity_of(const struct dmsg_name *name, const struct made *leaf)
{
    struct dmsg_identity *identity = NULL;
    struct dmsg_error error;
    bench_must_do(dmsg_identity_new(&identity, &context, name, &error), "an identity", &error);
    bench_must_do(dmsg_identity_add(identity, DMSG_KEY_CURRENT, leaf->key, leaf->x509, &error),
        "an identity's key", &error);
    return identity;
}

static void seal(struct sender *sender, const struct dmsg_peer *to)
{
    static uint8_t payload[1024];
    struct dmsg_sealer *sealer = NULL;
    struct dmsg_error error;
    struct dmsg_seal_options options = {.recipient = &bob,
        .key = dmsg_peer_recipient_key(to, NULL),
        .certificates = sender->certificates};
    bench_must_do(dmsg_sealer_new(&sealer, &context, sender->identity, &error), "seal", &error);
    bench_must_do(dmsg_seal(sealer, &options, (struct dmsg_span){payload, sizeof payload},
                      &sender->envelope, &error),
        "sealing", &error);
    dmsg_sealer_free(&sealer);
}

static void open_one(
    struct dmsg_opener *opener, const struct sender *sender, struct dmsg_message *message)
{
    struct dmsg_error error;
    bench_must_do(dmsg_open_begin(opener, dmsg_buffer_span(&sender->envelope),
                      (struct dmsg_span){0}, message, &error),
        "opening", &error);
    bench_must_do(dmsg_open_finish(opener, message, sender->peer, &error), "verifying", &error);
}

static void measure(struct sender *sender, const struct dmsg_identity *me, size_t turn)
{
    struct dmsg_opener *opener = NULL;
    struct dmsg_message message = {0};
    struct dmsg_error error;
    bench_must_do(dmsg_opener_new(&opener, &context, me, &policy, &error), "open", &error);
    double begin = bench_thread_us();
    open_one(opener, sender, &message);
    sender->first[turn] = bench_thread_us() - begin;
    begin = bench_thread_us();
    for (int i = 0; i < REPEATS; i++)
        open_one(opener, sender, &message);
    sender->usual[turn] = (bench_thread_us() - begin) / REPEATS;
    dmsg_message_done(&message);
    dmsg_opener_free(&opener);
}

int main(void)
{
    static const struct certify ca = {.subject = "Root", .constraints = "critical,CA:TRUE"};
    static const struct certify mid_ca = {.subject = "Mid", .constraints = "critical,CA:TRUE"};
    static const struct certify client = {.names = "DNS:alice.device.example"};
    static const struct sender full = {.usage = 3};
    struct dmsg_error error;
    struct made root = certify(&ca, NULL), mid = certify(&mid_ca, &root);
    struct made leaf = certify(&client, &mid), other = certify(&client, NULL);
    bench_must_do(
        dmsg_name_parse(&alice, dmsg_span_text("alice.device.example"), &error), "a name", &error);
    bench_must_do(
        dmsg_name_parse(&bob, dmsg_span_text("bob.device.example"), &error), "a name", &error);
    struct dmsg_identity *me = identity_of(&bob, &other);
    const struct dmsg_peer *to = peer_with(&bob, &full, other.x509);
    for (size_t i = 0; i < SENDERS; i++) {
        senders[i].identity = identity_of(&alice, &leaf);
        bench_must_do(
            dmsg_identity_add_issuer(senders[i].identity, 0, mid.x509, &error), "issuer", &error);
        bench_must_do(
            dmsg_identity_add_issuer(senders[i].identity, 0, root.x509, &error), "issuer", &error);
        senders[i].peer =
            peer_with(&alice, &senders[i], senders[i].usage == 2 ? root.x509 : leaf.x509);
        seal(&senders[i], to);
    }
    for (size_t turn = 0; turn < TURNS; turn++) {
        for (size_t i = 0; i < SENDERS; i++)
            measure(&senders[i], me, turn);
    }
    double least = bench_median(senders[0].usual, TURNS);
    printf("%-32s %9s %14s %9s %14s\n", "open, 1 KiB, P-256", "octets", "CPU us each", "ratio",
        "CPU us first");
    for (size_t i = 0; i < SENDERS; i++) {
        double usual = bench_median(senders[i].usual, TURNS);
        printf("%-32s %9zu %14.1f %9.2f %14.1f\n", senders[i].what, senders[i].envelope.size, usual,
            usual / least, bench_median(senders[i].first, TURNS));
        dmsg_identity_free(&senders[i].identity);
        dmsg_peer_release(senders[i].peer);
        dmsg_buffer_done(&senders[i].envelope);
    }
    dmsg_identity_free(&me);
    dmsg_peer_release(to);
    made_done(&root);
    made_done(&mid);
    made_done(&leaf);
    made_done(&other);
    return 0;
}
