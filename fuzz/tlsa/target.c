/* TLSA rdata: parsed and put together again, and judged as the only record of a validated answer.
   A key that is found usable is the one that the record holds, octet by octet, and src/jose has
   an algorithm for it. */
#include "target.h"

#include "dane/tlsa.h"
#include "danemsg/resolver.h"
#include "jose/jose.h"

#include <openssl/evp.h>
#include <string.h>

unsigned long fuzz_accepted;

/* 2023-11-14, so that the corpus's certificates stay valid. */
static int64_t fixed_now(void *user)
{
    (void)user;
    return 1700000000;
}

static const struct dmsg_context context = {.now = fixed_now};

static bool is_record(struct dmsg_span rdata)
{
    if (rdata.size < 4 || rdata.size > DMSG_TLSA_RDATA_MAX)
        return false;
    return rdata.data[2] == 1 ? rdata.size == 35 : rdata.data[2] == 2 ? rdata.size == 67 : true;
}

/* A record names what it holds, and what it holds the digest of, where its selector looks. */
static void check_matching(const struct dmsg_tlsa *tlsa)
{
    const struct dmsg_span octets = tlsa->data, none = {0};
    uint8_t digest[64];
    size_t size = 0;
    struct dmsg_error error;
    bool full = tlsa->matching_type == DMSG_TLSA_FULL && tlsa->selector <= DMSG_TLSA_SPKI;
    FUZZ_ASSERT(dmsg_tlsa_match(tlsa, octets, octets, &error) == (full ? 1 : 0));
    FUZZ_ASSERT(dmsg_tlsa_match(tlsa, none, none, &error) == 0);
    FUZZ_ASSERT(EVP_Q_digest(NULL, "SHA512", NULL, octets.data, octets.size, digest, &size) == 1);
    for (uint8_t selector = DMSG_TLSA_CERT; selector <= DMSG_TLSA_SPKI; selector++) {
        const struct dmsg_tlsa hashed = {DMSG_DANE_EE, selector, DMSG_TLSA_SHA512, {digest, size}};
        bool certificate = selector == DMSG_TLSA_CERT;
        FUZZ_ASSERT(dmsg_tlsa_match(&hashed, octets, none, &error) == certificate);
        FUZZ_ASSERT(dmsg_tlsa_match(&hashed, none, octets, &error) == !certificate);
    }
}

static bool check_parsing(struct dmsg_span rdata)
{
    struct dmsg_tlsa tlsa;
    struct dmsg_error error;
    int result = dmsg_tlsa_parse(&tlsa, rdata, &error);
    FUZZ_ASSERT((result == 0) == is_record(rdata));
    if (result < 0) {
        FUZZ_ASSERT(result == DMSG_E_FORMAT && fuzz_is_printable(error.text));
        return false;
    }
    FUZZ_ASSERT(tlsa.usage == rdata.data[0] && tlsa.selector == rdata.data[1] &&
                tlsa.matching_type == rdata.data[2]);
    FUZZ_ASSERT(tlsa.data.data == rdata.data + 3 && tlsa.data.size == rdata.size - 3);
    FUZZ_ASSERT(dmsg_tlsa_usage_word(tlsa.usage) != NULL &&
                dmsg_tlsa_selector_word(tlsa.selector) != NULL &&
                dmsg_tlsa_matching_word(tlsa.matching_type) != NULL);
    check_matching(&tlsa);
    return true;
}

static const struct dmsg_peer *judge(struct dmsg_span rdata, enum dmsg_dns_status status)
{
    const struct dmsg_peer *peer = NULL;
    struct dmsg_error error;
    struct dmsg_answer answer = {.status = status, .ttl = 300, .count = 1};
    FUZZ_ASSERT(dmsg_name_parse(&answer.name, dmsg_span_text("alice.example"), &error) == 0);
    answer.canonical = answer.name;
    answer.records[0] = rdata;
    FUZZ_ASSERT(dmsg_peer_judge(&peer, &context, NULL, &answer, &error) == 0);
    FUZZ_ASSERT(peer->count == 1 && fuzz_is_printable(peer->keys[0].why));
    FUZZ_ASSERT(dmsg_span_equal(peer->keys[0].rdata, rdata));
    return peer;
}

/* What would be published for this key is what was read; of a certificate its key, for OpenSSL
   writes the signature, which nobody looks at here, in one form whatever it was read from. */
static void check_again(const struct dmsg_peer_key *key, struct dmsg_span rdata)
{
    struct dmsg_buffer again = {0};
    struct dmsg_error error;
    FUZZ_ASSERT(dmsg_tlsa_encode(&again, key->usage, key->selector, key->matching_type,
                    key->certificate, key->key, &error) == 0);
    if (key->selector == DMSG_TLSA_SPKI) {
        FUZZ_ASSERT(dmsg_span_equal(dmsg_buffer_span(&again), rdata));
    } else {
        const struct dmsg_peer *peer = judge(dmsg_buffer_span(&again), DMSG_DNS_SECURE);
        FUZZ_ASSERT(strcmp(peer->keys[0].kid, key->kid) == 0);
        FUZZ_ASSERT(peer->keys[0].purposes == key->purposes);
        dmsg_peer_release(peer);
    }
    dmsg_buffer_done(&again);
}

static void check_usable(const struct dmsg_peer_key *key, struct dmsg_span rdata)
{
    fuzz_accepted++;
    FUZZ_ASSERT(key->key != NULL && strlen(key->kid) == DMSG_KEY_ID_SIZE - 1);
    FUZZ_ASSERT((key->certificate != NULL) == (key->selector == DMSG_TLSA_CERT));
    FUZZ_ASSERT(key->usage == DMSG_DANE_EE && key->matching_type == DMSG_TLSA_FULL);
    check_again(key, rdata);
    FUZZ_ASSERT((key->purposes & DMSG_FOR_SIGNATURES) == 0 ||
                dmsg_jose_algorithm_of(key->key, DMSG_USE_VERIFY) != NULL);
    FUZZ_ASSERT((key->purposes & DMSG_FOR_ENCRYPTION) == 0 ||
                dmsg_jose_algorithm_of(key->key, DMSG_USE_ENCRYPT) != NULL);
}

static void check_choice(const struct dmsg_peer *peer)
{
    const struct dmsg_peer_key *key = &peer->keys[0], *found[DMSG_PEER_KEYS_MAX];
    struct dmsg_error error;
    int count = dmsg_peer_sender_keys(peer, (struct dmsg_span){0}, found, &error);
    FUZZ_ASSERT((count == 1) == ((key->purposes & DMSG_FOR_SIGNATURES) != 0));
    FUZZ_ASSERT(count == 1 ? found[0] == key : count < 0 && fuzz_is_printable(error.text));
    const struct dmsg_peer_key *recipient = dmsg_peer_recipient_key(peer, &error);
    FUZZ_ASSERT((recipient == key) == ((key->purposes & DMSG_FOR_ENCRYPTION) != 0));
    FUZZ_ASSERT(recipient == key || (recipient == NULL && fuzz_is_printable(error.text)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct dmsg_span rdata = {data, size};
    bool parses = check_parsing(rdata);
    if (size == 0 || size > DMSG_TLSA_RDATA_MAX)
        return 0; /* a resolver hands over none of these */
    const struct dmsg_peer *peer = judge(rdata, DMSG_DNS_SECURE);
    const struct dmsg_peer_key *key = &peer->keys[0];
    FUZZ_ASSERT(parses || key->purposes == 0);
    if (key->purposes != 0)
        check_usable(key, rdata);
    else
        FUZZ_ASSERT(key->key == NULL && key->kid[0] == '\0' && key->why[0] != '\0');
    check_choice(peer);
    dmsg_peer_release(peer);
    peer = judge(rdata, DMSG_DNS_INSECURE);
    FUZZ_ASSERT(peer->keys[0].purposes == 0 && peer->keys[0].key == NULL);
    dmsg_peer_release(peer);
    return 0;
}
