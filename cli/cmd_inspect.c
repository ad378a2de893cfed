/* danemsg inspect: what an envelope says without any key. Nothing of it is verified. */
#include "base/base64url.h"
#include "base/cleanup.h"
#include "base/fail.h"
#include "base/utf8.h"
#include "common.h"
#include "jose/jose.h"

#include <string.h>

struct inspect {
    bool json;
};

static const struct option options_table[] = {
    {.name = "json",
        .kind = OPTION_FLAG,
        .at = offsetof(struct inspect, json),
        .help = "one JSON object"},
};

/* One layer, JWE or JWS, as far as it can be read. */
struct layer {
    const char *kind;
    enum dmsg_jose_form form;
    size_t size;
    const struct dmsg_jose_header *header;
    struct {
        const char *name;
        struct dmsg_span encoded;
    } parts[5];
    size_t part_count;
    bool payload_readable;
    struct dmsg_span payload; /* encoded, of a JWS */
};

static struct layer jwe_layer(
    const struct dmsg_jwe *jwe, const struct dmsg_jose_header *header, size_t size)
{
    return (struct layer){.kind = "JWE",
        .form = jwe->form,
        .size = size,
        .header = header,
        .parts = {{"encrypted_key", jwe->encrypted_key}, {"iv", jwe->iv},
            {"ciphertext", jwe->ciphertext}, {"tag", jwe->tag}},
        .part_count = 4};
}

static struct layer jws_layer(
    const struct dmsg_jws *jws, const struct dmsg_jose_header *header, size_t size)
{
    return (struct layer){.kind = "JWS",
        .form = jws->form,
        .size = size,
        .header = header,
        .parts = {{"payload", jws->payload}, {"signature", jws->signature}},
        .part_count = 2,
        .payload_readable = true,
        .payload = jws->payload};
}

/* ------------------------------------------------------------------------------- the members */

/* Calls put for each member of the header that is there: texts, then numbers. */
static void each_member(const struct dmsg_jose_header *header,
    void (*text)(struct dmsg_buffer *, const char *, struct dmsg_span),
    void (*number)(struct dmsg_buffer *, const char *, int64_t), struct dmsg_buffer *out)
{
    const struct {
        const char *name;
        unsigned bit;
        struct dmsg_span value;
    } texts[] = {{"alg", DMSG_HAS_ALG, header->alg}, {"enc", DMSG_HAS_ENC, header->enc},
        {"typ", DMSG_HAS_TYP, header->typ}, {"cty", DMSG_HAS_CTY, header->cty},
        {"x5u", DMSG_HAS_X5U, header->x5u}, {"kid", DMSG_HAS_KID, header->kid},
        {"epk crv", DMSG_HAS_EPK, header->epk_crv}, {"aud", DMSG_HAS_AUD, header->aud},
        {"jti", DMSG_HAS_JTI, header->jti}, {"topic", DMSG_HAS_TOPIC, header->topic}};
    for (size_t i = 0; i < COUNT(texts); i++) {
        if ((header->present & texts[i].bit) != 0)
            text(out, texts[i].name, texts[i].value);
    }
    if ((header->present & DMSG_HAS_IAT) != 0)
        number(out, "iat", header->iat);
    if ((header->present & DMSG_HAS_EXP) != 0)
        number(out, "exp", header->exp);
    if ((header->present & DMSG_HAS_X5C) != 0)
        number(out, "x5c", (int64_t)header->x5c_count);
}

static void put_text_line(struct dmsg_buffer *out, const char *name, struct dmsg_span value)
{
    dmsg_buffer_format(out, "  %-14s ", name);
    dmsg_text_escape(out, value, true);
    dmsg_buffer_put_byte(out, '\n');
}

static void put_number_line(struct dmsg_buffer *out, const char *name, int64_t value)
{
    char when[32];
    dmsg_buffer_format(out, "  %-14s %lld", name, (long long)value);
    if (strcmp(name, "x5c") != 0) {
        time_text(when, value);
        dmsg_buffer_format(out, "  (%s)", when);
    } else {
        dmsg_buffer_put_text(out, " certificates");
    }
    dmsg_buffer_put_byte(out, '\n');
}

static const char *form_word(const struct layer *layer)
{
    return layer->form == DMSG_FORM_COMPACT ? "compact" : "flattened JSON";
}

static void put_lines(struct dmsg_buffer *out, const struct layer *layer)
{
    dmsg_buffer_format(out, "%s, %s, %zu octets\n", layer->kind, form_word(layer), layer->size);
    dmsg_buffer_put_text(out, " protected header\n");
    each_member(layer->header, put_text_line, put_number_line, out);
    for (size_t i = 0; i < layer->part_count; i++)
        dmsg_buffer_format(out, " %-15s %zu octets%s\n", layer->parts[i].name,
            dmsg_base64url_decoded_size(layer->parts[i].encoded.size),
            strcmp(layer->parts[i].name, "ciphertext") == 0
                ? ", readable with the recipient's key only"
                : "");
}

static void put_json(struct dmsg_buffer *out, const struct layer *layer)
{
    dmsg_buffer_put_byte(out, '{');
    json_member_text(out, "kind", layer->kind);
    json_member_text(out, "form", layer->form == DMSG_FORM_COMPACT ? "compact" : "flattened");
    json_member_number(out, "size", (int64_t)layer->size);
    json_key(out, "protected");
    dmsg_buffer_put_byte(out, '{');
    each_member(layer->header, json_member, json_member_number, out);
    dmsg_buffer_put_byte(out, '}');
    for (size_t i = 0; i < layer->part_count; i++) {
        char name[40];
        snprintf(name, sizeof name, "%s_size", layer->parts[i].name);
        json_member_number(
            out, name, (int64_t)dmsg_base64url_decoded_size(layer->parts[i].encoded.size));
    }
    json_member_bool(out, "verified", false);
    dmsg_buffer_put_text(out, "}\n");
}

static int put_payload(struct dmsg_buffer *out, const struct layer *layer, struct dmsg_error *error)
{
    struct dmsg_buffer payload = {0};
    if (dmsg_base64url_take(&payload, layer->payload) < 0) {
        dmsg_buffer_done(&payload);
        return dmsg_fail(error, DMSG_E_FORMAT, "the payload is not base64url");
    }
    dmsg_buffer_put_text(out, " says, and nobody has verified it:\n  ");
    dmsg_text_escape(out, dmsg_buffer_span(&payload), true);
    dmsg_buffer_put_byte(out, '\n');
    dmsg_buffer_done(&payload);
    return 0;
}

/* -------------------------------------------------------------------------------- the command */

static int read_layer(struct layer *out, struct dmsg_jose_header *header, struct dmsg_span text,
    struct dmsg_error *error)
{
    struct dmsg_jwe jwe;
    struct dmsg_jws jws;
    struct dmsg_error not_jws;
    if (dmsg_jws_parse(&jws, text, &not_jws) == 0) {
        int result = dmsg_jws_header_parse(header, &jws, error);
        if (result == 0)
            *out = jws_layer(&jws, header, text.size);
        return result;
    }
    int result = dmsg_jwe_parse(&jwe, text, error);
    if (result == 0)
        result = dmsg_jwe_header_parse(header, &jwe, error);
    if (result == 0)
        *out = jwe_layer(&jwe, header, text.size);
    return result;
}

static int run(struct invocation *self, struct dmsg_error *error)
{
    const struct inspect *options = self->options;
    struct dmsg_buffer text = {.limit = INPUT_MAX}, out = {0};
    struct dmsg_jose_header header;
    struct layer layer;
    int result = read_input(&text, self->argument_count > 0 ? self->arguments[0] : "-", error);
    if (result == 0)
        result = read_layer(&layer, &header, without_line_end(dmsg_buffer_span(&text)), error);
    if (result == 0 && options->json) {
        put_json(&out, &layer);
    } else if (result == 0) {
        put_lines(&out, &layer);
        if (layer.payload_readable)
            result = put_payload(&out, &layer, error);
    }
    if (result == 0 && out.failed)
        result = dmsg_fail_memory(error);
    if (result == 0)
        result = write_output(stdout, dmsg_buffer_span(&out), error);
    dmsg_buffer_done(&out);
    dmsg_buffer_done(&text);
    return result;
}

const struct command cmd_inspect = {
    .name = "inspect",
    .arguments = "[FILE]",
    .summary = "Show what an envelope or signed message says, without any key.",
    .notes = "Nothing that is shown is verified.",
    .example = "mosquitto_sub -t bob.example.net -C 1 | danemsg inspect",
    .options = options_table,
    .option_count = COUNT(options_table),
    .size = sizeof(struct inspect),
    .most = 1,
    .run = run,
};
