/*
 * Published vectors: the cookbook (RFC 7520, RFC 8037, RFC 7797) and Wycheproof's JOSE cases, from
 * the folder DANEMSG_VECTORS, by default ../shared/vectors beside the source. What a case is, and
 * whether our table has its algorithms, is found out here with jansson and apart from the code
 * under test: a valid case that the table has must be accepted with the right content, every other
 * one refused, a valid one for the table's sake alone. tests/vectors/exceptions.txt lists the
 * cases whose verdict is wrong.
 */
#include "jwk.h"
#include "test_jose.h"

#include <dirent.h>

static struct dmsg_jose_header header;

/* How the cases ended, for the comments. */
static struct {
    size_t accepted, refused_by_table, refused, exceptions;
} counted;

/* -------------------------------------------------------------------------------------- files */

static const char *folder(void)
{
    static char path[3000];
    const char *vectors = getenv("DANEMSG_VECTORS"), *source = getenv("DANEMSG_SOURCE");
    if (vectors != NULL)
        snprintf(path, sizeof path, "%s", vectors);
    else
        snprintf(path, sizeof path, "%s/../shared/vectors", source != NULL ? source : ".");
    return path;
}

/* NULL when it is not there, or not JSON. */
static json_t *load(const char *name)
{
    char path[8192];
    snprintf(path, sizeof path, "%s/%s", folder(), name);
    return json_load_file(path, 0, NULL);
}

static bool has_vectors(void)
{
    DIR *directory = opendir(folder());
    if (directory != NULL)
        closedir(directory);
    return directory != NULL;
}

#define EXCEPTIONS_MAX 10

static struct exception {
    char file[64];
    long id;
    bool used;
} exceptions[EXCEPTIONS_MAX];
static size_t exception_count;

static void read_exceptions(void)
{
    char path[4096], line[512];
    const char *source = getenv("DANEMSG_SOURCE");
    snprintf(path, sizeof path, "%s/tests/vectors/exceptions.txt", source != NULL ? source : ".");
    FILE *file = fopen(path, "r");
    REQUIRE(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        struct exception read = {.used = false};
        char reason[16];
        if (line[0] == '#')
            continue;
        CHECK_ROW(sscanf(line, "%63s %ld %15s", read.file, &read.id, reason) == 3,
            "without a reason: %s", line);
        CHECK_ROW(exception_count < EXCEPTIONS_MAX, "more than %d exceptions", EXCEPTIONS_MAX);
        if (exception_count < EXCEPTIONS_MAX)
            exceptions[exception_count++] = read;
    }
    fclose(file);
}

static bool is_exception(const char *file, long id)
{
    for (size_t i = 0; i < exception_count; i++) {
        if (strcmp(exceptions[i].file, file) == 0 && exceptions[i].id == id) {
            exceptions[i].used = true;
            counted.exceptions++;
            return true;
        }
    }
    return false;
}

/* -------------------------------------------------------------------- what a case is, from afar */

static const char *member(const json_t *object, const char *name)
{
    return json_string_value(json_object_get(object, name));
}

/* base64url as other libraries may read it: whatever is not in the alphabet is passed over. */
static json_t *lenient_header(const char *encoded, size_t length)
{
    static const char alphabet[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    char *decoded = malloc(length + 1);
    size_t size = 0;
    unsigned value = 0, bits = 0;
    for (size_t i = 0; i < length && decoded != NULL; i++) {
        const char *found = encoded[i] != '\0' ? strchr(alphabet, encoded[i]) : NULL;
        if (found == NULL)
            continue;
        value = (value << 6 | (unsigned)(found - alphabet)) & 0xffff;
        bits += 6;
        if (bits >= 8)
            decoded[size++] = (char)(value >> (bits -= 8));
    }
    json_t *json = decoded != NULL ? json_loadb(decoded, size, 0, NULL) : NULL;
    free(decoded);
    return json;
}

/* The protected header of a compact or flattened text, NULL when there is none to be found. */
static json_t *header_of(const char *text)
{
    json_t *object = json_loads(text, 0, NULL);
    const char *encoded = object != NULL ? member(object, "protected") : text;
    size_t length = encoded == NULL ? 0 : object != NULL ? strlen(encoded) : strcspn(text, ".");
    json_t *json = lenient_header(encoded, length);
    json_decref(object);
    return json;
}

static bool is_one_of(const char *value, const char *const *list)
{
    for (; value != NULL && *list != NULL; list++) {
        if (strcmp(value, *list) == 0)
            return true;
    }
    return false;
}

static const char *const sign_algs[] = {
    "RS256", "ES256", "ES384", "ES512", "EdDSA", "Ed25519", NULL};
static const char *const encrypt_algs[] = {"RSA-OAEP-256", "ECDH-ES+A256KW", NULL};
static const char *const encs[] = {"A256GCM", "A256CBC-HS512", NULL};
static const char *const refused_members[] = {
    "crit", "zip", "b64", "jwk", "jku", "p2c", "p2s", "apu", "apv", NULL};
static const char *const jws_members[] = {"payload", "protected", "signature", NULL};
static const char *const jwe_members[] = {
    "protected", "encrypted_key", "iv", "ciphertext", "tag", NULL};

/* What our rules say: 0 when they have all of it, else the code of the refusal. */
static int judge(const char *text, bool encrypted)
{
    json_t *object = json_loads(text, 0, NULL), *json = header_of(text);
    const char *name;
    json_t *value;
    size_t members = 0;
    int code = json == NULL ? DMSG_E_FORMAT : 0;
    json_object_foreach(object, name, value)
    {
        members++;
        if (!is_one_of(name, encrypted ? jwe_members : jws_members))
            code = DMSG_E_FORMAT;
    }
    if (object != NULL && members != (encrypted ? 5u : 3u))
        code = DMSG_E_FORMAT;
    json_object_foreach(json, name, value)
    {
        if (is_one_of(name, refused_members))
            code = DMSG_E_FORMAT;
    }
    if (code == 0 && (!is_one_of(member(json, "alg"), encrypted ? encrypt_algs : sign_algs) ||
                         (encrypted && !is_one_of(member(json, "enc"), encs))))
        code = DMSG_E_ALGORITHM;
    json_decref(object);
    json_decref(json);
    return code;
}

/* The key of a JWK or, in a set, the only one with the header's kid. */
static const json_t *choose_key(const json_t *jwk, const json_t *json)
{
    const json_t *keys = json_object_get(jwk, "keys"), *found = NULL;
    size_t index;
    json_t *key;
    if (keys == NULL)
        return jwk;
    json_array_foreach(keys, index, key)
    {
        if (member(key, "kid") == NULL || member(json, "kid") == NULL ||
            strcmp(member(key, "kid"), member(json, "kid")) != 0)
            continue;
        if (found != NULL)
            return NULL;
        found = key;
    }
    return found;
}

/* ------------------------------------------------------------------------------ trying our code */

static const char *operation_of(bool encrypted, const char *alg)
{
    if (!encrypted)
        return "verify";
    return alg != NULL && strncmp(alg, "RSA", 3) == 0 ? "unwrapKey" : "deriveKey";
}

/* The key prepared, or the code with which it is refused. */
static int prepare(struct dmsg_jose_key **out, const json_t *jwk, const char *text, bool encrypted)
{
    json_t *json = header_of(text);
    const json_t *key = choose_key(jwk, json);
    const char *alg = member(json, "alg");
    int result = DMSG_E_CERTIFICATE;
    if (key != NULL &&
        jwk_refusal(key, operation_of(encrypted, alg), alg != NULL ? alg : "") == NULL) {
        EVP_PKEY *pkey = jwk_read(key, encrypted);
        if (pkey != NULL)
            result = dmsg_jose_key_new(
                out, test_jose(), pkey, encrypted ? DMSG_USE_DECRYPT : DMSG_USE_VERIFY, NULL);
        EVP_PKEY_free(pkey);
        ERR_clear_error();
    }
    json_decref(json);
    return result;
}

static int open_jws(const json_t *jwk, const char *jws_text, struct dmsg_buffer *out)
{
    struct dmsg_jose_key *key = NULL;
    struct dmsg_jws jws;
    int result = dmsg_jws_parse(&jws, text(jws_text), NULL);
    if (result == 0)
        result = dmsg_jws_header_parse(&header, &jws, NULL);
    int prepared = prepare(&key, jwk, jws_text, false);
    if (result == 0)
        result = prepared;
    if (result == 0)
        result = dmsg_jws_verify(key, &jws, &header, NULL);
    if (result == 0)
        result = dmsg_jws_payload(&jws, out, NULL);
    dmsg_jose_key_free(&key);
    return result;
}

static int open_jwe(const json_t *jwk, const char *jwe_text, struct dmsg_buffer *out)
{
    struct dmsg_jose_key *key = NULL;
    struct dmsg_jwe jwe;
    int result = dmsg_jwe_parse(&jwe, text(jwe_text), NULL);
    if (result == 0)
        result = dmsg_jwe_header_parse(&header, &jwe, NULL);
    int prepared = prepare(&key, jwk, jwe_text, true);
    if (result == 0)
        result = prepared;
    if (result == 0)
        result = dmsg_jwe_decrypt(key, &jwe, &header, out, NULL);
    dmsg_jose_key_free(&key);
    return result;
}

/* A valid case of which we only have the form: each part must decode. */
static bool is_well_formed(const char *object_text, bool encrypted)
{
    struct dmsg_jws jws = {0};
    struct dmsg_jwe jwe = {0};
    struct dmsg_buffer unused = {0};
    const struct dmsg_span *parts[] = {&jws.protected_header, &jws.payload, &jws.signature,
        &jwe.protected_header, &jwe.encrypted_key, &jwe.iv, &jwe.ciphertext, &jwe.tag};
    bool good = encrypted ? dmsg_jwe_parse(&jwe, text(object_text), NULL) == 0
                          : dmsg_jws_parse(&jws, text(object_text), NULL) == 0;
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        good = good && dmsg_base64url_take(&unused, *parts[i]) == 0;
    dmsg_buffer_done(&unused);
    return good;
}

/* One case. content: what it must open to, data NULL when the case does not say. */
static void check_case(const char *file, long id, const json_t *jwk, const char *object_text,
    bool encrypted, bool valid, struct dmsg_span content)
{
    struct dmsg_buffer out = {0};
    int judged = judge(object_text, encrypted);
    int result = encrypted ? open_jwe(jwk, object_text, &out) : open_jws(jwk, object_text, &out);
    const char *word = dmsg_error_word(result);
    CHECK_ROW(result == 0 || out.size == 0, "%s %ld: leaves something behind", file, id);
    if (!valid) {
        CHECK_ROW(result < 0, "%s %ld: invalid, and accepted", file, id);
        counted.refused++;
    } else if (judged == 0) {
        bool good = result == 0 &&
                    (content.data == NULL || dmsg_span_equal(dmsg_buffer_span(&out), content));
        CHECK_ROW(good || is_exception(file, id), "%s %ld: valid, and %s", file, id, word);
        counted.accepted += good;
    } else {
        bool good = result == judged &&
                    (judged != DMSG_E_ALGORITHM || is_well_formed(object_text, encrypted));
        CHECK_ROW(good || is_exception(file, id), "%s %ld: not in the table, and %s, not %s", file,
            id, word, dmsg_error_word(judged));
        CHECK_ROW(result < 0, "%s %ld: not in the table, and accepted", file, id);
        counted.refused_by_table += good;
    }
    CHECK_ROW(ERR_peek_error() == 0, "%s %ld: leaves an OpenSSL error", file, id);
    dmsg_buffer_done(&out);
}

static void report(const char *what)
{
    printf(
        "# %s: %zu accepted, %zu valid but not in the table, %zu invalid refused, %zu exceptions\n",
        what, counted.accepted, counted.refused_by_table, counted.refused, counted.exceptions);
    memset(&counted, 0, sizeof counted);
}

/* ---------------------------------------------------------------------------------- Wycheproof */

static size_t unhex(uint8_t *out, const char *hex)
{
    size_t size = 0;
    for (unsigned octet; hex[0] != '\0' && sscanf(hex, "%2x", &octet) == 1; hex += 2)
        out[size++] = (uint8_t)octet;
    return size;
}

static void check_wycheproof_case(const char *file, const json_t *group, const json_t *test)
{
    uint8_t plaintext[4096];
    struct dmsg_span content = {0};
    const char *hex = member(test, "pt"), *result = member(test, "result");
    bool encrypted = json_object_get(test, "jwe") != NULL;
    const json_t *object = json_object_get(test, encrypted ? "jwe" : "jws");
    const json_t *public_key = json_object_get(group, "public");
    const json_t *jwk =
        public_key != NULL && !encrypted ? public_key : json_object_get(group, "private");
    char *dumped = json_is_object(object) ? json_dumps(object, 0) : NULL;
    const char *object_text = dumped != NULL ? dumped : json_string_value(object);
    REQUIRE(object_text != NULL && result != NULL && jwk != NULL);
    if (hex != NULL && strlen(hex) < 2 * sizeof plaintext)
        content = (struct dmsg_span){plaintext, unhex(plaintext, hex)};
    check_case(file, (long)json_integer_value(json_object_get(test, "tcId")), jwk, object_text,
        encrypted, strcmp(result, "valid") == 0, content);
    free(dumped);
}

static size_t check_wycheproof(const char *file)
{
    char path[200];
    size_t count = 0, index, test_index;
    json_t *group, *test;
    snprintf(path, sizeof path, "wycheproof/%s.json", file);
    json_t *all = load(path);
    json_array_foreach(json_object_get(all, "testGroups"), index, group)
    {
        json_array_foreach(json_object_get(group, "tests"), test_index, test)
        {
            check_wycheproof_case(file, group, test);
            count++;
        }
    }
    CHECK_ROW(
        count > 0 && (json_int_t)count == json_integer_value(json_object_get(all, "numberOfTests")),
        "%s: %zu cases read", file, count);
    json_decref(all);
    return count;
}

static void wycheproof_signature(void)
{
    if (!has_vectors())
        SKIP("no vectors in %.150s", folder());
    check_wycheproof("json_web_signature_test");
    CHECK(counted.accepted >= 10 && counted.refused >= 350);
    report("json_web_signature");
}

static void wycheproof_encryption(void)
{
    if (!has_vectors())
        SKIP("no vectors in %.150s", folder());
    check_wycheproof("json_web_encryption_test");
    CHECK(counted.accepted >= 4 && counted.refused >= 70);
    report("json_web_encryption");
}

static void wycheproof_key(void)
{
    if (!has_vectors())
        SKIP("no vectors in %.150s", folder());
    check_wycheproof("json_web_key_test");
    CHECK(counted.accepted >= 1 && counted.refused >= 20);
    report("json_web_key");
}

static void wycheproof_crypto(void)
{
    if (!has_vectors())
        SKIP("no vectors in %.150s", folder());
    check_wycheproof("json_web_crypto_test");
    CHECK(counted.accepted >= 2 && counted.refused >= 70);
    report("json_web_crypto");
}

static void exceptions_are_needed(void)
{
    if (!has_vectors())
        SKIP("no vectors in %.150s", folder());
    for (size_t i = 0; i < exception_count; i++)
        CHECK_ROW(
            exceptions[i].used, "%s %ld is no exception", exceptions[i].file, exceptions[i].id);
}

/* ---------------------------------------------------------------------------------- the cookbook
 */

/* Signing the same again must give the same text, where the algorithm is deterministic. */
static void sign_again(
    const char *file, const json_t *jwk, const char *compact, const char *payload)
{
    json_t *json = header_of(compact);
    const char *alg = member(json, "alg"), *kid = member(json, "kid");
    char members[200] = "";
    struct dmsg_jose_key *key = NULL;
    struct dmsg_buffer out = {0};
    EVP_PKEY *pkey = jwk_read(jwk, true);
    if (kid != NULL)
        snprintf(members, sizeof members, "\"kid\":\"%s\"", kid);
    bool repeatable = alg != NULL && (strcmp(alg, "RS256") == 0 || strcmp(alg, "EdDSA") == 0);
    if (pkey != NULL && repeatable && judge(compact, false) == 0) {
        CHECK(dmsg_jose_key_new(&key, test_jose(), pkey, DMSG_USE_SIGN, NULL) == 0);
        CHECK(dmsg_jws_sign(key, text(members), text(payload), DMSG_FORM_COMPACT, &out, NULL) == 0);
        CHECK_ROW(dmsg_span_equal_text(dmsg_buffer_span(&out), compact), "%s", file);
        printf("# %s: %s signs to the same octets\n", file, alg);
    }
    dmsg_buffer_done(&out);
    dmsg_jose_key_free(&key);
    EVP_PKEY_free(pkey);
    json_decref(json);
}

/* The forms in which an example is written. */
static void check_outputs(const char *file, const json_t *example, bool encrypted)
{
    const json_t *input = json_object_get(example, "input");
    const json_t *jwk = json_object_get(input, "key");
    const char *payload = member(input, encrypted ? "plaintext" : "payload"), *form;
    json_t *output;
    REQUIRE(payload != NULL);
    json_object_foreach((json_t *)(uintptr_t)json_object_get(example, "output"), form, output)
    {
        char *dumped = json_is_object(output) ? json_dumps(output, 0) : NULL;
        const char *object_text = dumped != NULL ? dumped : json_string_value(output);
        check_case(file, 0, jwk, object_text, encrypted, true, text(payload));
        if (strcmp(form, "compact") == 0 && !encrypted)
            sign_again(file, jwk, object_text, payload);
        free(dumped);
    }
}

static void check_example(const char *file, const json_t *example)
{
    const json_t *nested_sign = json_object_get(example, "sign");
    if (nested_sign != NULL) {
        check_outputs(file, nested_sign, false);
        check_outputs(file, json_object_get(example, "encrypt"), true);
        return;
    }
    check_outputs(file, example, json_object_get(example, "signing") == NULL);
}

static size_t check_folder(const char *name)
{
    char path[4096];
    size_t count = 0;
    snprintf(path, sizeof path, "%s/rfc7520/%s", folder(), name);
    DIR *directory = opendir(path);
    for (struct dirent *entry = NULL; directory && (entry = readdir(directory)) != NULL;) {
        size_t length = strlen(entry->d_name);
        if (length < 5 || strcmp(entry->d_name + length - 5, ".json") != 0)
            continue;
        snprintf(path, sizeof path, "rfc7520/%s/%s", name, entry->d_name);
        json_t *example = load(path);
        CHECK_ROW(example != NULL, "%s: not readable", path);
        if (example != NULL && strcmp(name, "jwk") != 0)
            check_example(entry->d_name, example);
        json_decref(example);
        count++;
    }
    if (directory != NULL)
        closedir(directory);
    return count;
}

static void cookbook(void)
{
    if (!has_vectors())
        SKIP("no vectors in %.150s", folder());
    CHECK(check_folder("jws") == 8);
    CHECK(check_folder("jwe") == 13);
    CHECK(check_folder("curve25519") == 2);
    CHECK(check_folder("rfc7797") == 2);
    CHECK(check_folder(".") == 1);
    CHECK(counted.accepted == 6 && counted.refused_by_table > 30);
    report("cookbook");
}

static void cookbook_keys(void)
{
    static const struct {
        const char *file, *sign, *encrypt;
    } rows[] = {{"3_1.ec_public_key", "ES512", "ECDH-ES+A256KW"},
        {"3_2.ec_private_key", "ES512", "ECDH-ES+A256KW"},
        {"3_3.rsa_public_key", "RS256", "RSA-OAEP-256"},
        {"3_4.rsa_private_key", "RS256", "RSA-OAEP-256"},
        {"3_5.symmetric_key_mac_computation", NULL, NULL},
        {"3_6.symmetric_key_encryption", NULL, NULL}};
    if (!has_vectors())
        SKIP("no vectors in %.150s", folder());
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[200];
        snprintf(path, sizeof path, "rfc7520/jwk/%s.json", rows[i].file);
        json_t *jwk = load(path);
        REQUIRE(jwk != NULL);
        EVP_PKEY *key = jwk_read(jwk, true);
        CHECK_ROW((key != NULL) == (rows[i].sign != NULL), "%s", rows[i].file);
        if (key != NULL && rows[i].sign != NULL) {
            CHECK(strcmp(dmsg_jose_algorithm_of(key, DMSG_USE_VERIFY), rows[i].sign) == 0);
            CHECK(strcmp(dmsg_jose_algorithm_of(key, DMSG_USE_ENCRYPT), rows[i].encrypt) == 0);
        }
        EVP_PKEY_free(key);
        json_decref(jwk);
    }
}

TEST_MAIN(TEST(read_exceptions), TEST(wycheproof_signature), TEST(wycheproof_encryption),
    TEST(wycheproof_key), TEST(wycheproof_crypto), TEST(exceptions_are_needed), TEST(cookbook),
    TEST(cookbook_keys), TEST(frees_everything))
