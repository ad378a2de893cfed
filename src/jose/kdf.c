/* Deriving and wrapping keys: the Concat KDF (RFC 7518 section 4.6.2) and AES key wrap
   (RFC 3394). */
#include "jose/internal.h"

#include "base/fail.h"

#include <string.h>

static void put_u32(uint8_t out[static 4], size_t value)
{
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

int dmsg_concat_kdf(struct dmsg_jose *jose, struct dmsg_span secret, const char *algorithm,
    struct dmsg_span party_u, struct dmsg_span party_v, uint8_t *key, size_t key_size,
    struct dmsg_error *error)
{
    static const uint8_t round[4] = {0, 0, 0, 1};
    uint8_t sizes[4][4], digest[EVP_MAX_MD_SIZE];
    struct dmsg_span id = dmsg_span_text(algorithm);

    put_u32(sizes[0], id.size);
    put_u32(sizes[1], party_u.size);
    put_u32(sizes[2], party_v.size);
    put_u32(sizes[3], key_size * 8); /* SuppPubInfo */
    const struct dmsg_span pieces[] = {{round, 4}, secret, {sizes[0], 4}, id, {sizes[1], 4},
        party_u, {sizes[2], 4}, party_v, {sizes[3], 4}};
    int result = dmsg_jose_hash(
        jose, DMSG_HASH_SHA256, pieces, sizeof pieces / sizeof pieces[0], digest, error);
    if (result < 0)
        return result;
    memcpy(key, digest, key_size);
    OPENSSL_cleanse(digest, sizeof digest);
    return 0;
}

#define SEMIBLOCK 8
#define ROUNDS 6

/* RFC 3394 section 2.2.3.1. */
static const uint8_t initial_value[SEMIBLOCK] = {0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6, 0xa6};

/* One AES block in place. */
static bool block(EVP_CIPHER_CTX *ctx, uint8_t data[static 2 * SEMIBLOCK])
{
    int size = 0;
    return EVP_CipherUpdate(ctx, data, &size, data, 2 * SEMIBLOCK) == 1 && size == 2 * SEMIBLOCK;
}

/* RFC 3394 section 2.2.1, as indices. The counter stays below 256: 6 rounds of at most 8. */
int dmsg_key_wrap(struct dmsg_jose *jose, const uint8_t kek[static DMSG_KEK_SIZE],
    struct dmsg_span key, uint8_t *wrapped, struct dmsg_error *error)
{
    uint8_t data[2 * SEMIBLOCK], *blocks = wrapped + SEMIBLOCK;
    size_t count = key.size / SEMIBLOCK;
    bool done = EVP_CipherInit_ex2(jose->wrap, NULL, kek, NULL, 1, NULL) == 1;

    memcpy(data, initial_value, SEMIBLOCK);
    memcpy(blocks, key.data, key.size);
    for (size_t t = 1; t <= ROUNDS * count && done; t++) {
        uint8_t *r = blocks + (t - 1) % count * SEMIBLOCK;
        memcpy(data + SEMIBLOCK, r, SEMIBLOCK);
        done = block(jose->wrap, data);
        data[SEMIBLOCK - 1] ^= (uint8_t)t;
        memcpy(r, data + SEMIBLOCK, SEMIBLOCK);
    }
    memcpy(wrapped, data, SEMIBLOCK);
    if (!done)
        OPENSSL_cleanse(wrapped, SEMIBLOCK + key.size);
    return done ? 0 : dmsg_fail_openssl(error, "cannot wrap a key");
}

/* RFC 3394 section 2.2.2. */
int dmsg_key_unwrap(struct dmsg_jose *jose, const uint8_t kek[static DMSG_KEK_SIZE],
    const uint8_t *wrapped, uint8_t *key, size_t key_size, struct dmsg_error *error)
{
    uint8_t data[2 * SEMIBLOCK];
    size_t count = key_size / SEMIBLOCK;
    bool done = EVP_CipherInit_ex2(jose->unwrap, NULL, kek, NULL, 0, NULL) == 1;

    memcpy(data, wrapped, SEMIBLOCK);
    memcpy(key, wrapped + SEMIBLOCK, key_size);
    for (size_t t = ROUNDS * count; t >= 1 && done; t--) {
        uint8_t *r = key + (t - 1) % count * SEMIBLOCK;
        memcpy(data + SEMIBLOCK, r, SEMIBLOCK);
        data[SEMIBLOCK - 1] ^= (uint8_t)t;
        done = block(jose->unwrap, data);
        memcpy(r, data + SEMIBLOCK, SEMIBLOCK);
    }
    int good = CRYPTO_memcmp(data, initial_value, SEMIBLOCK) == 0;
    OPENSSL_cleanse(data, sizeof data);
    return done ? good : dmsg_fail_openssl(error, "cannot unwrap a key");
}
