/* Hashes of texts that strangers choose, so that they cannot choose ones that collide. */
#ifndef DANEMSG_BASE_HASH_H
#define DANEMSG_BASE_HASH_H

#include "danemsg/span.h"

/* 2^61 - 1, a prime. */
#define DMSG_HASH_MODULUS ((UINT64_C(1) << 61) - 1)

/* hash * key + octet, all below the modulus, by halves of 32 bits: not every machine has 128. A bit
   at place 61 or above counts as one 61 places below. */
static inline uint64_t dmsg_hash_step(uint64_t hash, uint64_t key, uint8_t octet)
{
    uint64_t hash_low = hash & UINT32_MAX, hash_high = hash >> 32;
    uint64_t key_low = key & UINT32_MAX, key_high = key >> 32;
    uint64_t low = hash_low * key_low, high = hash_high * key_high; /* at 0 and 64 */
    uint64_t middle = hash_low * key_high + hash_high * key_low;    /* at 32 */
    uint64_t sum = octet + (low & DMSG_HASH_MODULUS) + (low >> 61) + (high << 3) + (middle >> 29) +
                   ((middle & ((1U << 29) - 1)) << 32);
    sum = (sum & DMSG_HASH_MODULUS) + (sum >> 61);
    return sum >= DMSG_HASH_MODULUS ? sum - DMSG_HASH_MODULUS : sum;
}

/* A polynomial in a secret point over a prime field; the key is random, and the result below the
   modulus. Two texts of 254 octets collide with a chance of 2^-53. */
static inline uint64_t dmsg_hash(uint64_t key, struct dmsg_span text)
{
    uint64_t hash = text.size;
    key %= DMSG_HASH_MODULUS;
    for (size_t i = 0; i < text.size; i++)
        hash = dmsg_hash_step(hash, key, text.data[i]);
    return hash;
}

#endif
