#include "parties.h"

#include "dane/tlsa.h"
#include "target.h"

#include <openssl/pem.h>
#include <string.h>

static int64_t now(void *user)
{
    const struct fuzz_parties *parties = user;
    return parties->now;
}

static bool synchronised(void *user)
{
    (void)user;
    return true;
}

/* The same octets in every run (xorshift64). */
static int random_octets(void *user, void *out, size_t size)
{
    struct fuzz_parties *parties = user;
    uint8_t *octets = out;
    for (size_t i = 0; i < size; i++) {
        parties->random_state ^= parties->random_state << 13;
        parties->random_state ^= parties->random_state >> 7;
        parties->random_state ^= parties->random_state << 17;
        octets[i] = (uint8_t)(parties->random_state >> 32);
    }
    return 0;
}

static EVP_PKEY *read_key(const char *pem)
{
    BIO *text = BIO_new_mem_buf(pem, -1);
    EVP_PKEY *key = PEM_read_bio_PrivateKey(text, NULL, NULL, NULL);
    FUZZ_ASSERT(key != NULL);
    BIO_free(text);
    return key;
}

static void read_keys(struct fuzz_parties *parties)
{
    parties->alice_keys[FUZZ_ALICE_P256] = read_key(fuzz_key_alice_p256);
    parties->alice_keys[FUZZ_ALICE_ED25519] = read_key(fuzz_key_alice_ed25519);
    parties->alice_keys[FUZZ_ALICE_RSA] = read_key(fuzz_key_alice_rsa);
    parties->bob_keys[FUZZ_BOB_P256] = read_key(fuzz_key_bob_p256);
    parties->bob_keys[FUZZ_BOB_X25519] = read_key(fuzz_key_bob_x25519);
    parties->bob_keys[FUZZ_BOB_RSA] = read_key(fuzz_key_bob_rsa);
}

static struct dmsg_identity *make_identity(
    const struct dmsg_context *context, const struct dmsg_name *name)
{
    struct dmsg_identity *identity;
    struct dmsg_error error;
    FUZZ_ASSERT(dmsg_identity_new(&identity, context, name, &error) == 0);
    return identity;
}

static void add_key(struct dmsg_identity *identity, enum dmsg_key_role role, EVP_PKEY *key)
{
    struct dmsg_error error;
    FUZZ_ASSERT(dmsg_identity_add(identity, role, key, NULL, &error) == 0);
}

/* A validated answer with a 3 1 0 record for each key. */
static const struct dmsg_peer *make_peer(const struct dmsg_context *context,
    const struct dmsg_name *name, EVP_PKEY *const *keys, size_t count)
{
    struct dmsg_answer answer = {
        .name = *name, .canonical = *name, .status = DMSG_DNS_SECURE, .ttl = 3600, .count = count};
    struct dmsg_buffer records[DMSG_PEER_KEYS_MAX] = {0};
    const struct dmsg_peer *peer;
    struct dmsg_error error;
    for (size_t i = 0; i < count; i++) {
        FUZZ_ASSERT(dmsg_tlsa_encode(&records[i], DMSG_DANE_EE, DMSG_TLSA_SPKI, DMSG_TLSA_FULL,
                        NULL, keys[i], &error) == 0);
        answer.records[i] = dmsg_buffer_span(&records[i]);
    }
    FUZZ_ASSERT(dmsg_peer_judge(&peer, context, NULL, &answer, &error) == 0);
    for (size_t i = 0; i < count; i++)
        dmsg_buffer_done(&records[i]);
    return peer;
}

void fuzz_parties_init(struct fuzz_parties *parties)
{
    static const enum dmsg_key_role roles[] = {DMSG_KEY_CURRENT, DMSG_KEY_NEXT, DMSG_KEY_OLD};
    struct dmsg_error error;
    *parties = (struct fuzz_parties){.now = FUZZ_NOW, .random_state = 0x9e3779b97f4a7c15};
    parties->context = (struct dmsg_context){
        .user = parties, .now = now, .synchronised = synchronised, .random = random_octets};
    FUZZ_ASSERT(dmsg_name_parse(&parties->alice_name, dmsg_span_text(FUZZ_ALICE), &error) == 0);
    FUZZ_ASSERT(dmsg_name_parse(&parties->bob_name, dmsg_span_text(FUZZ_BOB), &error) == 0);
    read_keys(parties);
    for (size_t i = 0; i < FUZZ_ALICE_KEYS; i++) {
        parties->alices[i] = make_identity(&parties->context, &parties->alice_name);
        add_key(parties->alices[i], DMSG_KEY_CURRENT, parties->alice_keys[i]);
    }
    parties->alice =
        make_peer(&parties->context, &parties->alice_name, parties->alice_keys, FUZZ_ALICE_KEYS);
    parties->bob = make_identity(&parties->context, &parties->bob_name);
    for (size_t i = 0; i < FUZZ_BOB_KEYS; i++) {
        add_key(parties->bob, roles[i], parties->bob_keys[i]);
        parties->bobs[i] =
            make_peer(&parties->context, &parties->bob_name, &parties->bob_keys[i], 1);
    }
}

void fuzz_parties_done(struct fuzz_parties *parties)
{
    for (size_t i = 0; i < FUZZ_ALICE_KEYS; i++) {
        dmsg_identity_free(&parties->alices[i]);
        EVP_PKEY_free(parties->alice_keys[i]);
    }
    for (size_t i = 0; i < FUZZ_BOB_KEYS; i++) {
        dmsg_peer_release(parties->bobs[i]);
        EVP_PKEY_free(parties->bob_keys[i]);
    }
    dmsg_identity_free(&parties->bob);
    dmsg_peer_release(parties->alice);
    memset(parties, 0, sizeof *parties);
}
