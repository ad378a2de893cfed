/*
 * The people of the envelope's corpus, with keys that never change (keys.c) and a clock that stands
 * still: alice writes to bob. Made by the target, and by the program that made the corpus.
 */
#ifndef DANEMSG_FUZZ_PARTIES_H
#define DANEMSG_FUZZ_PARTIES_H

#include "danemsg/message.h"

/* 2023-11-14T22:13:20Z. */
#define FUZZ_NOW 1700000000

#define FUZZ_ALICE "alice.device.example"
#define FUZZ_BOB "bob.device.example"

/* The payload of every message that is to be accepted, and of every one that must not be. alice
   signs nothing else, so that no input can show another. */
#define FUZZ_GOOD "accept this"
#define FUZZ_BAD "never show this"

/* Keys of one party, by the index in its arrays. */
enum fuzz_alice_key { FUZZ_ALICE_P256, FUZZ_ALICE_ED25519, FUZZ_ALICE_RSA, FUZZ_ALICE_KEYS };
enum fuzz_bob_key { FUZZ_BOB_P256, FUZZ_BOB_X25519, FUZZ_BOB_RSA, FUZZ_BOB_KEYS };

extern const char fuzz_key_alice_p256[], fuzz_key_alice_ed25519[], fuzz_key_alice_rsa[];
extern const char fuzz_key_bob_p256[], fuzz_key_bob_x25519[], fuzz_key_bob_rsa[];

struct fuzz_parties {
    int64_t now; /* what the context's clock shows */
    uint64_t random_state;
    struct dmsg_context context;
    struct dmsg_name alice_name, bob_name;
    EVP_PKEY *alice_keys[FUZZ_ALICE_KEYS], *bob_keys[FUZZ_BOB_KEYS];
    struct dmsg_identity *alices[FUZZ_ALICE_KEYS]; /* the same name, one key each */
    struct dmsg_identity *bob;                     /* one identity with all of them */
    const struct dmsg_peer *alice, *bobs[FUZZ_BOB_KEYS];
};

/* Ends the program when something fails. Never moved: the context points into it. */
void fuzz_parties_init(struct fuzz_parties *parties);
void fuzz_parties_done(struct fuzz_parties *parties);

#endif
