#include "forms.h"

#include "base/base64url.h"
#include "target.h"

static const char *const jws_names[] = {"protected", "payload", "signature"};
static const char *const jwe_names[] = {"protected", "encrypted_key", "iv", "ciphertext", "tag"};

bool fuzz_object_parse(struct fuzz_object *out, struct dmsg_span text, bool encrypted)
{
    struct dmsg_jws jws;
    struct dmsg_jwe jwe;
    struct dmsg_error error;
    int result =
        encrypted ? dmsg_jwe_parse(&jwe, text, &error) : dmsg_jws_parse(&jws, text, &error);
    if (result < 0) {
        FUZZ_ASSERT(result == DMSG_E_FORMAT && fuzz_is_printable(error.text));
        return false;
    }
    if (encrypted)
        *out = (struct fuzz_object){jwe_names,
            {jwe.protected_header, jwe.encrypted_key, jwe.iv, jwe.ciphertext, jwe.tag}, 5,
            jwe.form};
    else
        *out = (struct fuzz_object){
            jws_names, {jws.protected_header, jws.payload, jws.signature}, 3, jws.form};
    for (size_t i = 0; i < out->count; i++) {
        struct dmsg_span part = out->parts[i];
        FUZZ_ASSERT(part.data >= text.data && part.data + part.size <= text.data + text.size);
    }
    if (!encrypted && jws.form == DMSG_FORM_COMPACT)
        FUZZ_ASSERT(jws.signing_input.data == text.data &&
                    jws.signing_input.size == jws.protected_header.size + 1 + jws.payload.size);
    return true;
}

bool fuzz_object_equal(const struct fuzz_object *a, const struct fuzz_object *b)
{
    bool equal = a->count == b->count;
    for (size_t i = 0; equal && i < a->count; i++)
        equal = dmsg_span_equal(a->parts[i], b->parts[i]);
    return equal;
}

bool fuzz_object_is_decodable(const struct fuzz_object *object)
{
    struct dmsg_buffer decoded = {0};
    bool good = true;
    for (size_t i = 0; good && i < object->count; i++)
        good = dmsg_base64url_take(&decoded, object->parts[i]) == 0;
    dmsg_buffer_done(&decoded);
    return good;
}

static void put_compact(struct dmsg_buffer *out, const struct fuzz_object *object)
{
    for (size_t i = 0; i < object->count; i++) {
        if (i > 0)
            dmsg_buffer_put_byte(out, '.');
        dmsg_buffer_put_span(out, object->parts[i]);
    }
}

/* In reverse order and with white space, which must not matter. */
static void put_flattened(struct dmsg_buffer *out, const struct fuzz_object *object)
{
    for (size_t i = object->count; i-- > 0;) {
        dmsg_buffer_put_text(out, i + 1 == object->count ? "\n{ \"" : " ,\t\"");
        dmsg_buffer_put_text(out, object->names[i]);
        dmsg_buffer_put_text(out, "\" : \"");
        dmsg_buffer_put_span(out, object->parts[i]);
        dmsg_buffer_put_text(out, "\"");
    }
    dmsg_buffer_put_text(out, "\r}\n");
}

void fuzz_object_put(
    struct dmsg_buffer *out, const struct fuzz_object *object, enum dmsg_jose_form form)
{
    if (form == DMSG_FORM_COMPACT)
        put_compact(out, object);
    else
        put_flattened(out, object);
    FUZZ_ASSERT(!out->failed);
}

int fuzz_first_character(struct dmsg_span text)
{
    for (size_t i = 0; i < text.size; i++) {
        uint8_t c = text.data[i];
        if (c != ' ' && c != '\t' && c != '\n' && c != '\r')
            return c;
    }
    return -1;
}

static void check_payload(struct dmsg_span text, const struct fuzz_object *object)
{
    struct dmsg_jws jws;
    struct dmsg_error error;
    struct dmsg_buffer payload = {0}, expected = {0};
    FUZZ_ASSERT(dmsg_jws_parse(&jws, text, &error) == 0);
    FUZZ_ASSERT(dmsg_jws_payload(&jws, &payload, &error) == 0);
    FUZZ_ASSERT(dmsg_base64url_take(&expected, object->parts[1]) == 0);
    FUZZ_ASSERT(dmsg_span_equal(dmsg_buffer_span(&payload), dmsg_buffer_span(&expected)));
    dmsg_buffer_done(&payload);
    dmsg_buffer_done(&expected);
}

void fuzz_object_check_again(const struct fuzz_object *object, bool encrypted)
{
    static const enum dmsg_jose_form forms[] = {DMSG_FORM_COMPACT, DMSG_FORM_FLATTENED};
    if (!fuzz_object_is_decodable(object))
        return;
    for (size_t i = 0; i < 2; i++) {
        struct dmsg_buffer text = {0};
        struct fuzz_object again;
        fuzz_object_put(&text, object, forms[i]);
        FUZZ_ASSERT(fuzz_object_parse(&again, dmsg_buffer_span(&text), encrypted));
        FUZZ_ASSERT(again.form == forms[i] && fuzz_object_equal(&again, object));
        if (!encrypted)
            check_payload(dmsg_buffer_span(&text), object);
        dmsg_buffer_done(&text);
    }
}
