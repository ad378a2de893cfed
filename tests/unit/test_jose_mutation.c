/*
 * Envelopes with something altered: none may be accepted, and each must be refused with a code
 * that the receiver expects at that layer. By default a slice of some seconds; an argument, or
 * DANEMSG_MUTATIONS, is the number of random alterations, 1000000 for the whole campaign.
 */
#include "test_jose.h"

#define RANDOM_DEFAULT 20000
#define TEXT_MAX 4096

/* One object to alter: the text, its layer, and whose key opens it. */
struct subject {
    const struct suite *suite;
    bool encrypted;
    enum dmsg_jose_form form;
    size_t size;
    char text[TEXT_MAX];
};

static struct dmsg_jose_header header;
static size_t random_count = RANDOM_DEFAULT;
static size_t tried, refused[DMSG_ERROR_COUNT + 1];

static int open_jwe(
    const struct subject *subject, struct dmsg_span altered, struct dmsg_buffer *out)
{
    struct dmsg_jwe jwe;
    int result = dmsg_jwe_parse(&jwe, altered, NULL);
    if (result == 0)
        result = dmsg_jwe_header_parse(&header, &jwe, NULL);
    if (result == 0)
        result = dmsg_jwe_decrypt(
            key_for(subject->suite->recipient, DMSG_USE_DECRYPT), &jwe, &header, out, NULL);
    return result;
}

static int open_jws(
    const struct subject *subject, struct dmsg_span altered, struct dmsg_buffer *out)
{
    struct dmsg_jws jws;
    int result = dmsg_jws_parse(&jws, altered, NULL);
    if (result == 0)
        result = dmsg_jws_header_parse(&header, &jws, NULL);
    if (result == 0)
        result =
            dmsg_jws_verify(key_for(subject->suite->signer, DMSG_USE_VERIFY), &jws, &header, NULL);
    return result == 0 ? dmsg_jws_payload(&jws, out, NULL) : result;
}

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

/* White space between JSON tokens is no alteration. */
static bool same_but_for_space(const char *a, size_t a_size, const char *b, size_t b_size)
{
    size_t i = 0, j = 0;
    for (;;) {
        while (i < a_size && is_space(a[i]))
            i++;
        while (j < b_size && is_space(b[j]))
            j++;
        if (i == a_size || j == b_size)
            return i == a_size && j == b_size;
        if (a[i++] != b[j++])
            return false;
    }
}

static void try(const struct subject *subject, const char *altered, size_t size, const char *how)
{
    struct dmsg_buffer out = {0};
    /* of exact size on the heap, so that a read past the end shows under ASan */
    uint8_t *copy = malloc(size + (size == 0));
    if (copy == NULL || (size == subject->size && memcmp(altered, subject->text, size) == 0)) {
        free(copy);
        return;
    }
    memcpy(copy, altered, size);
    struct dmsg_span span = {copy, size};
    int result = subject->encrypted ? open_jwe(subject, span, &out) : open_jws(subject, span, &out);
    int authentic = subject->encrypted ? DMSG_E_DECRYPT : DMSG_E_SIGNATURE;
    if (result == 0) {
        CHECK_ROW(subject->form == DMSG_FORM_FLATTENED &&
                      same_but_for_space(altered, size, subject->text, subject->size),
            "accepted after %s: %.*s", how, (int)size, altered);
    } else {
        CHECK_ROW(result == DMSG_E_FORMAT || result == DMSG_E_ALGORITHM || result == DMSG_E_SIZE ||
                      result == authentic,
            "%s after %s: %.*s", dmsg_error_word(result), how, (int)size, altered);
        CHECK(out.size == 0);
        refused[-result]++;
    }
    tried++;
    dmsg_buffer_done(&out);
    free(copy);
}

/* ------------------------------------------------------------------------------------ subjects */

static struct subject make(
    const struct suite *suite, bool encrypted, enum dmsg_jose_form form, enum dmsg_jose_enc enc)
{
    struct subject made = {.suite = suite, .encrypted = encrypted, .form = form};
    struct dmsg_buffer out = {0}, opened = {0};
    int result = encrypted ? dmsg_jwe_encrypt(key_for(suite->recipient, DMSG_USE_ENCRYPT), enc,
                                 text("\"typ\":\"JWE\""), text("a payload"), form, &out, NULL)
                           : dmsg_jws_sign(key_for(suite->signer, DMSG_USE_SIGN),
                                 text("\"iat\":1700000000"), text("a payload"), form, &out, NULL);
    if (result < 0 || out.size > sizeof made.text)
        return made;
    memcpy(made.text, out.data, out.size);
    made.size = out.size;
    /* as it stands it must open */
    result = encrypted ? open_jwe(&made, dmsg_buffer_span(&out), &opened)
                       : open_jws(&made, dmsg_buffer_span(&out), &opened);
    CHECK(result == 0 && dmsg_span_equal_text(dmsg_buffer_span(&opened), "a payload"));
    dmsg_buffer_done(&out);
    dmsg_buffer_done(&opened);
    return made;
}

/* Every suite, layer, form and content encryption by a number. */
#define SUBJECTS (SUITES * 6)

static struct subject subject_of(size_t number)
{
    const struct suite *suite = &suites[number / 6 % SUITES];
    size_t kind = number % 6;
    enum dmsg_jose_form form = kind % 2 == 0 ? DMSG_FORM_COMPACT : DMSG_FORM_FLATTENED;
    return make(suite, kind < 4, form, kind < 2 ? DMSG_ENC_A256GCM : DMSG_ENC_A256CBC_HS512);
}

/* --------------------------------------------------------------------------------- alterations */

static void every_bit(void)
{
    for (size_t number = 0; number < SUBJECTS; number++) {
        struct subject subject = subject_of(number), altered = subject;
        /* the slow curves in the form that is sent, with the enc that is sent */
        bool slow = strcmp(subject.suite->recipient, "P-384") == 0 ||
                    strcmp(subject.suite->recipient, "RSA") == 0;
        size_t step = slow && number % 6 != 1 ? 7 : 1;
        for (size_t bit = 0; bit < 8 * subject.size; bit += step) {
            altered.text[bit / 8] = (char)(altered.text[bit / 8] ^ 1 << bit % 8);
            try(&subject, altered.text, subject.size, "one bit");
            altered.text[bit / 8] = subject.text[bit / 8];
        }
    }
}

static void every_truncation(void)
{
    for (size_t number = 0; number < SUBJECTS; number++) {
        struct subject subject = subject_of(number);
        for (size_t size = 0; size < subject.size; size++) {
            try(&subject, subject.text, size, "its end cut off");
            try(&subject, subject.text + size + 1, subject.size - size - 1, "its start cut off");
        }
    }
}

/* The members or parts of a text, and what stands around them. */
struct split {
    size_t count;
    struct dmsg_span names[5], values[5];
};

static struct split split(const struct subject *subject)
{
    struct split out = {.count = subject->encrypted ? 5 : 3};
    const uint8_t *p = (const uint8_t *)subject->text, *end = p + subject->size;
    for (size_t i = 0; i < out.count; i++) {
        if (subject->form == DMSG_FORM_FLATTENED) {
            const uint8_t *name = (const uint8_t *)memchr(p, '"', (size_t)(end - p)) + 1;
            const uint8_t *after = memchr(name, '"', (size_t)(end - name));
            out.names[i] = (struct dmsg_span){name, (size_t)(after - name)};
            p = after + 3;
            after = memchr(p, '"', (size_t)(end - p));
            out.values[i] = (struct dmsg_span){p, (size_t)(after - p)};
            p = after + 1;
        } else {
            const uint8_t *dot = memchr(p, '.', (size_t)(end - p));
            out.values[i] = (struct dmsg_span){p, (size_t)((dot != NULL ? dot : end) - p)};
            p = dot + (dot != NULL);
        }
    }
    return out;
}

/* The text again, with one member's name or value replaced as a whole. */
struct replacement {
    size_t which;
    const char *name, *before, *after; /* NULL: as it was */
    struct dmsg_span value;            /* NULL data: as it was */
    unsigned times;                    /* 0: left out, 2: twice */
};

static void put_member(struct dmsg_buffer *out, const struct subject *subject,
    const struct split *parts, size_t i, const struct replacement *with)
{
    bool flat = subject->form == DMSG_FORM_FLATTENED, here = with->which == i;
    if (flat) {
        dmsg_buffer_put_byte(out, '"');
        if (here && with->name != NULL)
            dmsg_buffer_put_text(out, with->name);
        else
            dmsg_buffer_put_span(out, parts->names[i]);
        dmsg_buffer_put_text(out, "\":");
    }
    dmsg_buffer_put_text(out, here && with->before != NULL ? with->before : flat ? "\"" : "");
    dmsg_buffer_put_span(out, here && with->value.data != NULL ? with->value : parts->values[i]);
    dmsg_buffer_put_text(out, here && with->after != NULL ? with->after : flat ? "\"" : "");
}

static void try_replaced(const struct subject *subject, const struct split *parts,
    const struct replacement *with, const char *how)
{
    struct dmsg_buffer out = {0};
    bool flat = subject->form == DMSG_FORM_FLATTENED, first = true;
    dmsg_buffer_put_text(&out, flat ? "{" : "");
    for (size_t i = 0; i < parts->count; i++) {
        for (unsigned t = i == with->which ? with->times : 1; t > 0; t--) {
            dmsg_buffer_put_text(&out, first ? "" : flat ? "," : ".");
            put_member(&out, subject, parts, i, with);
            first = false;
        }
    }
    dmsg_buffer_put_text(&out, flat ? "}" : "");
    try(subject, (char *)out.data, out.size, how);
    dmsg_buffer_done(&out);
}

static void alter_member(const struct subject *subject, const struct split *parts, size_t which)
{
    static const char *const ends[] = {"", "=", "==", "A", "AA", "AAA", "AAAA", " ", "\n", "%3D",
        "\\u0041", "\\/", "\"", "\\", "\xc3\xa9", "\x7f", ".", "-", "+"};
    static const char *const types[] = {"null", "true", "1", "1.5", "[]", "{}", "\"\"", ""};
    static const char *const names[] = {"header", "unprotected", "aad", "recipients", "signatures",
        "protected", "payload", "signature", "tag", "iv", "", "Protected", "protecte\\u0064"};
    struct replacement with = {.which = which};
    try_replaced(subject, parts, &with, "a member left out");
    with.times = 2;
    try_replaced(subject, parts, &with, "a member twice");
    with.times = 1;
    for (size_t i = 0; i < parts->count; i++) {
        with.value = parts->values[i];
        try_replaced(subject, parts, &with, "another member's value");
    }
    with.value.data = NULL;
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        with.name = names[i];
        if (!dmsg_span_equal_text(parts->names[which], names[i]))
            try_replaced(subject, parts, &with, "another name");
    }
    with.name = NULL;
    for (size_t i = 0; i < sizeof ends / sizeof ends[0]; i++) {
        char end[16];
        bool flat = subject->form == DMSG_FORM_FLATTENED;
        snprintf(end, sizeof end, "%s%s", ends[i], flat ? "\"" : "");
        with.after = end;
        try_replaced(subject, parts, &with, "something after the value");
        snprintf(end, sizeof end, "%s%s", flat ? "\"" : "", ends[i]);
        with.after = NULL;
        with.before = end;
        try_replaced(subject, parts, &with, "something before the value");
        with.before = NULL;
    }
    with.value = (struct dmsg_span){(const uint8_t *)"", 0};
    with.before = with.after = "";
    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        with.before = types[i];
        try_replaced(subject, parts, &with, "a value of another type");
    }
}

/* base64 in place of base64url says the same bytes: refused, so that each has one text. */
static void alter_alphabet(const struct subject *subject, const struct split *parts, size_t which)
{
    struct dmsg_buffer value = {0};
    struct replacement with = {.which = which, .times = 1};
    dmsg_buffer_put_span(&value, parts->values[which]);
    for (size_t i = 0; i < value.size; i++)
        value.data[i] = (uint8_t)(value.data[i] == '-'   ? '+'
                                  : value.data[i] == '_' ? '/'
                                                         : value.data[i]);
    with.value = dmsg_buffer_span(&value);
    if (value.size > 0)
        try_replaced(subject, parts, &with, "the other alphabet");
    dmsg_buffer_done(&value);
}

/* The decoded header altered in each bit, and encoded again. */
static void alter_header(const struct subject *subject, const struct split *parts)
{
    struct dmsg_buffer json = {0}, encoded = {0};
    struct replacement with = {.times = 1};
    CHECK(dmsg_base64url_take(&json, parts->values[0]) == 0);
    for (size_t bit = 0; bit < 8 * json.size; bit++) {
        json.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        dmsg_buffer_reset(&encoded);
        dmsg_base64url_put(&encoded, dmsg_buffer_span(&json));
        with.value = dmsg_buffer_span(&encoded);
        try_replaced(subject, parts, &with, "one bit of the header");
        json.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    dmsg_buffer_done(&json);
    dmsg_buffer_done(&encoded);
}

static void every_member(void)
{
    for (size_t number = 0; number < SUBJECTS; number++) {
        struct subject subject = subject_of(number);
        struct split parts = split(&subject);
        for (size_t which = 0; which < parts.count; which++) {
            alter_member(&subject, &parts, which);
            alter_alphabet(&subject, &parts, which);
        }
        if (number % 6 != 2 && number % 6 != 3)
            alter_header(&subject, &parts);
    }
}

/* xorshift64: the same alterations every time. */
static uint64_t random_state = 0x2545f4914f6cdd1du;

static size_t below(size_t limit)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return limit == 0 ? 0 : (size_t)(random_state >> 11) % limit;
}

/* One to three random edits. */
static size_t edit(char *out, size_t size)
{
    for (size_t edits = 1 + below(3); edits > 0 && size > 0; edits--) {
        size_t at = below(size), length = 1 + below(8), from = below(size);
        length = length > size - at ? size - at : length;
        length = length > size - from ? size - from : length;
        switch (below(6)) {
        case 0: /* a bit */
            out[at] = (char)(out[at] ^ 1 << below(8));
            break;
        case 1: /* an octet */
            out[at] = (char)below(256);
            break;
        case 2: /* cut out */
            memmove(out + at, out + at + length, size - at - length);
            size -= length;
            break;
        case 3: /* repeat */
            if (size + length > TEXT_MAX)
                break;
            memmove(out + at + length, out + at, size - at);
            size += length;
            break;
        case 4: /* copy from elsewhere in it */
            memmove(out + at, out + from, length);
            break;
        default: /* the end */
            size = size - below(length);
        }
    }
    return size;
}

static void at_random(void)
{
    static struct subject pool[SUBJECTS];
    static char altered[TEXT_MAX];
    for (size_t i = 0; i < SUBJECTS; i++)
        pool[i] = subject_of(i);
    for (size_t i = 0; i < random_count && !test_failed; i++) {
        const struct subject *subject = &pool[below(SUBJECTS)];
        memcpy(altered, subject->text, subject->size);
        try(subject, altered, edit(altered, subject->size), "random edits");
    }
}

static void counts(void)
{
    for (size_t i = 0; i <= DMSG_ERROR_COUNT; i++) {
        if (refused[i] > 0)
            printf("# %zu refused as %s\n", refused[i], dmsg_error_word(-(int)i));
    }
    printf("# %zu alterations tried\n", tried);
    CHECK(refused[-DMSG_E_FORMAT] > 0 && refused[-DMSG_E_DECRYPT] > 0 &&
          refused[-DMSG_E_SIGNATURE] > 0 && refused[-DMSG_E_ALGORITHM] > 0);
    CHECK(ERR_peek_error() == 0);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {TEST(every_bit), TEST(every_truncation), TEST(every_member),
        TEST(at_random), TEST(counts), TEST(frees_everything)};
    const char *wanted = argc > 1 ? argv[1] : getenv("DANEMSG_MUTATIONS");
    if (wanted != NULL)
        random_count = strtoul(wanted, NULL, 10);
    return test_run(tests, sizeof tests / sizeof tests[0]);
}
