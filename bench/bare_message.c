#include "bare.h"

#include "base/base64url.h"
#include "jose/jose.h"

#include <openssl/ec.h>
#include <stdlib.h>

static void decode(struct dmsg_buffer *out, struct dmsg_span text)
{
    bench_must(dmsg_base64url_take(out, text) == 0, "decoding an envelope's part");
}

static void put_point(struct bare_message *message, const struct dmsg_jose_header *header)
{
    if (header->epk_y.size > 0)
        dmsg_buffer_put_byte(&message->point, POINT_CONVERSION_UNCOMPRESSED);
    decode(&message->point, header->epk_x);
    decode(&message->point, header->epk_y);
}

/* R and S side by side to DER. */
static void put_der(struct dmsg_buffer *out, struct dmsg_span signature)
{
    int half = (int)(signature.size / 2);
    unsigned char *der = NULL;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    bench_must(pair != NULL && ECDSA_SIG_set0(pair, BN_bin2bn(signature.data, half, NULL),
                                   BN_bin2bn(signature.data + half, half, NULL)) == 1,
        "reading an ECDSA signature");
    int size = i2d_ECDSA_SIG(pair, &der);
    bench_must(size > 0, "encoding an ECDSA signature");
    dmsg_buffer_put(out, der, (size_t)size);
    OPENSSL_free(der);
    ECDSA_SIG_free(pair);
}

static void keep_jwe(struct bare_message *message)
{
    struct dmsg_jwe jwe;
    struct dmsg_error error;
    struct dmsg_jose_header *header = malloc(sizeof *header);
    bench_must(header != NULL, "memory");
    bench_must_do(dmsg_jwe_parse(&jwe, dmsg_buffer_span(&message->text), &error), "JWE", &error);
    bench_must_do(dmsg_jwe_header_parse(header, &jwe, &error), "JWE header", &error);
    message->header = jwe.protected_header;
    decode(&message->encrypted_key, jwe.encrypted_key);
    decode(&message->iv, jwe.iv);
    decode(&message->ciphertext, jwe.ciphertext);
    decode(&message->tag, jwe.tag);
    put_point(message, header);
    free(header);
}

static void keep_jws(struct bare_message *message, const struct bench_suite *suite)
{
    struct dmsg_jws jws;
    struct dmsg_error error;
    struct dmsg_buffer raw = {0};
    bench_must_do(dmsg_jws_parse(&jws, dmsg_buffer_span(&message->jws), &error), "JWS", &error);
    message->signing_input = jws.signing_input;
    decode(&raw, jws.signature);
    if (suite->family == BENCH_EC)
        put_der(&message->signature, dmsg_buffer_span(&raw));
    else
        dmsg_buffer_put_span(&message->signature, dmsg_buffer_span(&raw));
    dmsg_buffer_done(&raw);
}

void bare_message_init(
    struct bare_message *message, struct bench_pair *pair, struct dmsg_span envelope)
{
    *message = (struct bare_message){0};
    dmsg_buffer_put_span(&message->text, envelope);
    bench_open(pair, envelope);
    dmsg_buffer_put_span(&message->jws, dmsg_buffer_span(&pair->message.jws));
    keep_jwe(message);
    keep_jws(message, pair->suite);
}

void bare_message_done(struct bare_message *message)
{
    struct dmsg_buffer *const buffers[] = {&message->text, &message->jws, &message->ciphertext,
        &message->encrypted_key, &message->iv, &message->tag, &message->point, &message->signature};
    for (size_t i = 0; i < sizeof buffers / sizeof buffers[0]; i++)
        dmsg_buffer_done(buffers[i]);
}
