/* Hashes of texts that strangers choose, so that they cannot choose ones that collide. */
#ifndef DANEMSG_BASE_HASH_H
#define DANEMSG_BASE_HASH_H

#include "danemsg/span.h"

/* 2^61 - 1, a prime. */
#define DMSG_HASH_MODULUS ((UINT64_C(1) << 61) - 1)

/* A polynomial in a secret point over a prime field; the key is random, and the result below the
   modulus. Two texts of 254 octets collide with a chance of 2^-53. */
static inline uint64_t dmsg_hash(uint64_t key, struct dmsg_span text)
{
    __extension__ typedef unsigned __int128 wide;
    uint64_t hash = text.size;
    key %= DMSG_HASH_MODULUS;
    for (size_t i = 0; i < text.size; i++)
        hash = (uint64_t)(((wide)hash * key + text.data[i]) % DMSG_HASH_MODULUS);
    return hash;
}

#endif
