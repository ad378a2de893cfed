#include "message/keyring.h"

#include <string.h>

/* FNV-1a; whoever makes keys whose kids collide costs us the preparation and nothing else. */
static size_t slot_of(const char *kid)
{
    uint32_t hash = 2166136261u;
    for (; *kid != '\0'; kid++)
        hash = (hash ^ (uint8_t)*kid) * 16777619u;
    return hash % DMSG_KEYRING_SLOTS;
}

int dmsg_keyring_get(struct dmsg_keyring *ring, struct dmsg_jose *jose,
    const struct dmsg_peer_key *peer, enum dmsg_jose_use use, struct dmsg_jose_key **out,
    struct dmsg_error *error)
{
    size_t slot = slot_of(peer->kid);
    struct dmsg_jose_key *key = ring->slots[slot].key;
    if (key == NULL || strcmp(ring->slots[slot].kid, peer->kid) != 0) {
        int result = dmsg_jose_key_new(&key, jose, peer->key, use, error);
        if (result < 0)
            return result;
        dmsg_jose_key_free(&ring->slots[slot].key);
        ring->slots[slot].key = key;
        memcpy(ring->slots[slot].kid, peer->kid, sizeof peer->kid);
    }
    *out = key;
    return 0;
}

void dmsg_keyring_done(struct dmsg_keyring *ring)
{
    for (size_t i = 0; i < DMSG_KEYRING_SLOTS; i++)
        dmsg_jose_key_free(&ring->slots[i].key);
}
