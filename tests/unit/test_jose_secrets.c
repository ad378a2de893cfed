/* What is secret: drawn where it should be, used once, and gone from the stack afterwards. */
#include "test_jose.h"

#include <pthread.h>
#include <sys/mman.h>

static struct dmsg_jose_header header;

#define PLAINTEXT "a plaintext that is longer than a block of any cipher"

/* ------------------------------------------------------------------------- a known stream */

#define STREAM_MAX 256

static struct {
    uint8_t octets[STREAM_MAX];
    size_t drawn;
} stream;

/* No two of its octets are the same. */
static int from_stream(void *user, void *out, size_t size)
{
    (void)user;
    if (size > STREAM_MAX - stream.drawn)
        return -1;
    memcpy(out, stream.octets + stream.drawn, size);
    stream.drawn += size;
    return 0;
}

static struct dmsg_context stream_context = {.random = from_stream};

/* Keys of one suite whose randomness is the stream. */
struct parties {
    struct dmsg_jose *jose;
    struct dmsg_jose_key *encrypter, *decrypter;
};

static struct parties parties_of(const char *kind)
{
    struct parties made = {0};
    EVP_PKEY *pkey = pkey_of(kind);
    for (size_t i = 0; i < STREAM_MAX; i++)
        stream.octets[i] = (uint8_t)(i * 167 + 89);
    stream.drawn = 0;
    CHECK(dmsg_jose_new(&made.jose, &stream_context, NULL) == 0);
    CHECK(dmsg_jose_key_new(&made.encrypter, made.jose, pkey, DMSG_USE_ENCRYPT, NULL) == 0);
    CHECK(dmsg_jose_key_new(&made.decrypter, made.jose, pkey, DMSG_USE_DECRYPT, NULL) == 0);
    return made;
}

static void parties_done(struct parties *parties)
{
    dmsg_jose_key_free(&parties->encrypter);
    dmsg_jose_key_free(&parties->decrypter);
    dmsg_jose_free(&parties->jose);
}

/* The content encryption key is the stream's beginning, the IV what comes next, and no octet of
   either is drawn twice or shown as the other. */
static void random_octets_are_used_once(void)
{
    for (size_t s = 0; s < SUITES; s++) {
        for (int e = 0; e < DMSG_ENC_COUNT; e++) {
            const struct dmsg_enc *enc = dmsg_encs[e];
            struct parties parties = parties_of(suites[s].recipient);
            struct dmsg_buffer out = {0}, data = {0};
            struct dmsg_jwe jwe = {0};
            uint8_t iv[DMSG_IV_SIZE_MAX], tag[DMSG_TAG_SIZE_MAX];
            REQUIRE(dmsg_jwe_encrypt(parties.encrypter, (enum dmsg_jose_enc)e, text(""),
                        text(PLAINTEXT), DMSG_FORM_COMPACT, &out, NULL) == 0);
            CHECK(stream.drawn == enc->cek_size + enc->iv_size);
            REQUIRE(dmsg_jwe_parse(&jwe, dmsg_buffer_span(&out), NULL) == 0);
            CHECK(dmsg_base64url_decode(iv, jwe.iv) == (long)enc->iv_size);
            CHECK(dmsg_base64url_decode(tag, jwe.tag) == (long)enc->tag_size);
            CHECK(dmsg_base64url_take(&data, jwe.ciphertext) == 0);
            CHECK_ROW(memcmp(iv, stream.octets + enc->cek_size, enc->iv_size) == 0, "%s %s",
                suites[s].recipient, enc->name);
            size_t size = data.size;
            CHECK_ROW(enc->open(parties.jose, stream.octets, iv, jwe.protected_header, data.data,
                          &size, tag, NULL) == 0,
                "%s %s", suites[s].recipient, enc->name);
            CHECK(dmsg_span_equal_text((struct dmsg_span){data.data, size}, PLAINTEXT));
            dmsg_buffer_done(&out);
            dmsg_buffer_done(&data);
            parties_done(&parties);
        }
    }
}

/* ------------------------------------------------------------------------------- the stack */

#define STACK_SIZE (512 * 1024)

/* The whole, and by itself what the key's family does, over whose stack the rest would write. */
enum operation { ENCRYPT, DECRYPT, WRAP, UNWRAP, OPERATIONS };
static const char *const operation_names[] = {"encrypting", "decrypting", "wrapping", "unwrapping"};

struct work {
    struct parties parties;
    enum dmsg_jose_enc enc;
    enum operation operation;
    struct dmsg_buffer sealed, opened;
    struct dmsg_wrapped_key wrapped;
    uint8_t cek[DMSG_CEK_SIZE_MAX];
    int result;
};

static int decrypt(struct work *work)
{
    struct dmsg_jwe jwe;
    int result = dmsg_jwe_parse(&jwe, dmsg_buffer_span(&work->sealed), NULL);
    if (result == 0)
        result = dmsg_jwe_header_parse(&header, &jwe, NULL);
    return result < 0
               ? result
               : dmsg_jwe_decrypt(work->parties.decrypter, &jwe, &header, &work->opened, NULL);
}

static int operate(struct work *work)
{
    struct dmsg_jose_key *encrypter = work->parties.encrypter, *decrypter = work->parties.decrypter;
    size_t cek_size = dmsg_encs[work->enc]->cek_size;
    switch (work->operation) {
    case ENCRYPT:
        return dmsg_jwe_encrypt(encrypter, work->enc, text(""), text(PLAINTEXT), DMSG_FORM_COMPACT,
            &work->sealed, NULL);
    case DECRYPT:
        return decrypt(work);
    case WRAP:
        work->wrapped.encrypted_key_size =
            encrypter->size > 0 ? encrypter->size : cek_size + DMSG_WRAP_OVERHEAD;
        return encrypter->algorithm->family->wrap(
            encrypter, (struct dmsg_span){stream.octets, cek_size}, &work->wrapped, NULL);
    default:
        return decrypter->algorithm->family->unwrap(
                   decrypter, &work->wrapped, work->cek, cek_size, NULL) == 1
                   ? 0
                   : DMSG_E_DECRYPT;
    }
}

/* So deep that the thread's end does not write over what is left. */
__attribute__((noinline)) static void *operate_deeply(void *user)
{
    struct work *work = user;
    volatile uint8_t room[STACK_SIZE / 4];
    room[0] = 0;
    work->result = operate(work);
    room[sizeof room - 1] = room[0];
    return NULL;
}

/* An operation on a stack of its own, and what is left of that; to be unmapped. */
static uint8_t *stack_after(struct work *work, enum operation operation)
{
    pthread_attr_t attributes;
    pthread_t thread;
    uint8_t *stack =
        mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    work->operation = operation;
    work->result = 1;
    if (stack == MAP_FAILED)
        return NULL;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setstack(&attributes, stack, STACK_SIZE) == 0);
    if (pthread_create(&thread, &attributes, operate_deeply, work) == 0)
        CHECK(pthread_join(thread, NULL) == 0);
    CHECK(pthread_attr_destroy(&attributes) == 0);
    CHECK(work->result == 0);
    return stack;
}

/* The shared secret of ECDH and the key that is derived from it, as the recipient finds them. */
static void find_agreed(struct work *work, uint8_t *secret, uint8_t kek[static DMSG_KEK_SIZE])
{
    const struct dmsg_algorithm *algorithm = work->parties.decrypter->algorithm;
    const struct dmsg_span none = {0};
    size_t field = algorithm->field_size, size = field;
    EVP_PKEY *own = pkey_of(algorithm->crv), *peer = EVP_PKEY_new();
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(NULL, own, NULL);
    CHECK(EVP_PKEY_copy_parameters(peer, own) == 1);
    CHECK(EVP_PKEY_set1_encoded_public_key(
              peer, work->wrapped.point, algorithm->has_y ? 1 + 2 * field : field) == 1);
    CHECK(EVP_PKEY_derive_init(ctx) == 1 && EVP_PKEY_derive_set_peer(ctx, peer) == 1 &&
          EVP_PKEY_derive(ctx, secret, &size) == 1 && size == field);
    CHECK(dmsg_concat_kdf(work->parties.jose, (struct dmsg_span){secret, field}, algorithm->name,
              none, none, kek, DMSG_KEK_SIZE, NULL) == 0);
    EVP_PKEY_CTX_free(ctx);
    EVP_PKEY_free(peer);
}

static void check_stack(
    const uint8_t *stack, struct dmsg_span secret, const char *what, const struct work *work)
{
    for (size_t at = 0; at + 16 <= secret.size; at += 8)
        CHECK_ROW(memmem(stack, STACK_SIZE, secret.data + at, 16) == NULL, "%s, %s, %s: %s",
            dmsg_jose_key_algorithm(work->parties.decrypter), dmsg_encs[work->enc]->name,
            operation_names[work->operation], what);
}

static void check_agreed(const uint8_t *stack, struct work *work)
{
    const struct dmsg_algorithm *algorithm = work->parties.decrypter->algorithm;
    uint8_t secret[DMSG_FIELD_SIZE_MAX] = {0}, kek[DMSG_KEK_SIZE] = {0};
    find_agreed(work, secret, kek);
    check_stack(stack, (struct dmsg_span){kek, sizeof kek}, "the key encryption key", work);
    /* OpenSSL's arithmetic of X25519 leaves its last product, which is the secret. */
    if (algorithm->has_y)
        check_stack(
            stack, (struct dmsg_span){secret, algorithm->field_size}, "the shared secret", work);
}

static void check_stacks(const char *kind, enum dmsg_jose_enc enc)
{
    struct work work = {.parties = parties_of(kind), .enc = enc};
    const struct dmsg_span cek = {stream.octets, dmsg_encs[enc]->cek_size};
    for (int operation = 0; operation < OPERATIONS; operation++) {
        uint8_t *stack = stack_after(&work, (enum operation)operation);
        REQUIRE(stack != NULL);
        check_stack(stack, cek, "the content encryption key", &work);
        if (operation >= WRAP && work.parties.decrypter->algorithm->crv != NULL)
            check_agreed(stack, &work);
        CHECK(munmap(stack, STACK_SIZE) == 0);
    }
    CHECK(dmsg_span_equal_text(dmsg_buffer_span(&work.opened), PLAINTEXT));
    CHECK(memcmp(work.cek, stream.octets, cek.size) == 0);
    dmsg_buffer_done(&work.sealed);
    dmsg_buffer_done(&work.opened);
    parties_done(&work.parties);
}

static void nothing_stays_on_the_stack(void)
{
    if (test_in_valgrind())
        SKIP("valgrind watches stacks itself");
    for (size_t s = 0; s < SUITES; s++) {
        for (int e = 0; e < DMSG_ENC_COUNT; e++)
            check_stacks(suites[s].recipient, (enum dmsg_jose_enc)e);
    }
}

TEST_MAIN(
    TEST(random_octets_are_used_once), TEST(nothing_stays_on_the_stack), TEST(frees_everything))
