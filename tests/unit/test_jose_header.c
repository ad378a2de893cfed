/* Protected headers and the two forms: what is accepted, and each thing that is not. */
#include "test_jose.h"

#define EC_EPK "\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}"
#define ECDH "\"alg\":\"ECDH-ES+A256KW\",\"enc\":\"A256GCM\""
#define OAEP "\"alg\":\"RSA-OAEP-256\",\"enc\":\"A256GCM\""

static struct dmsg_jose_header header;

/* The result for a header given as JSON. */
static int parse_jws(struct dmsg_span json, struct dmsg_error *error)
{
    struct dmsg_buffer encoded = {0};
    dmsg_base64url_put(&encoded, json);
    struct dmsg_jws jws = {.protected_header = dmsg_buffer_span(&encoded)};
    int result = dmsg_jws_header_parse(&header, &jws, error);
    dmsg_buffer_done(&encoded);
    return result;
}

static int parse_jwe(struct dmsg_span json, struct dmsg_error *error)
{
    struct dmsg_buffer encoded = {0};
    dmsg_base64url_put(&encoded, json);
    struct dmsg_jwe jwe = {.protected_header = dmsg_buffer_span(&encoded)};
    int result = dmsg_jwe_header_parse(&header, &jwe, error);
    dmsg_buffer_done(&encoded);
    return result;
}

struct row {
    const char *json;
    int code;
};

static void check_rows(
    const struct row *rows, size_t count, int (*parse)(struct dmsg_span, struct dmsg_error *))
{
    for (size_t i = 0; i < count; i++) {
        struct dmsg_error error = {.code = 77};
        int result = parse(text(rows[i].json), &error);
        CHECK_ROW(result == rows[i].code, "%s: %s, not %s", rows[i].json, dmsg_error_word(result),
            dmsg_error_word(rows[i].code));
        CHECK_ROW(error.code == (result < 0 ? result : 77), "%s", rows[i].json);
        CHECK_ROW(
            result == 0 || (header.present == 0 && header.alg.data == NULL), "%s", rows[i].json);
        CHECK(parse(text(rows[i].json), NULL) == result);
    }
}

#define CHECK_ROWS(rows, parse) check_rows(rows, sizeof rows / sizeof rows[0], parse)

static void algorithms_of_jws(void)
{
    static const struct row rows[] = {
        {"{\"alg\":\"RS256\"}", 0},
        {"{\"alg\":\"ES256\"}", 0},
        {"{\"alg\":\"ES384\"}", 0},
        {"{\"alg\":\"ES512\"}", 0},
        {"{\"alg\":\"EdDSA\"}", 0},
        {"{\"alg\":\"Ed25519\"}", 0},
        {"{\"alg\":\"\\u0045S256\"}", 0},
        {"{\"alg\":\"none\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"None\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"es256\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"ES256 \"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"ES256K\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"HS256\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"HS512\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"RS384\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"RS512\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"RS1\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"PS256\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"Ed448\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"RSA-OAEP-256\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"ECDH-ES+A256KW\"}", DMSG_E_ALGORITHM},
        {"{}", DMSG_E_FORMAT},
        {"{\"Alg\":\"ES256\"}", DMSG_E_FORMAT},
        {"{\"al\":\"ES256\"}", DMSG_E_FORMAT},
        {"{\"algo\":\"ES256\"}", DMSG_E_FORMAT},
        {"{\"\":\"ES256\"}", DMSG_E_FORMAT},
        {"{\"alg \":\"ES256\"}", DMSG_E_FORMAT},
        {"{\"alg\":[\"ES256\"]}", DMSG_E_FORMAT},
        {"{\"alg\":null}", DMSG_E_FORMAT},
        {"{\"alg\":256}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"alg\":\"ES256\"}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"al\\u0067\":\"none\"}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"enc\":\"A256GCM\"}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\"," EC_EPK "}", DMSG_E_FORMAT},
    };
    CHECK_ROWS(rows, parse_jws);
}

static void algorithms_of_jwe(void)
{
    static const struct row rows[] = {
        {"{" OAEP "}", 0},
        {"{\"alg\":\"RSA-OAEP-256\",\"enc\":\"A256CBC-HS512\"}", 0},
        {"{" ECDH "," EC_EPK "}", 0},
        {"{" ECDH ",\"epk\":{\"kty\":\"OKP\",\"crv\":\"X25519\",\"x\":\"AA\"}}", 0},
        {"{\"alg\":\"RSA1_5\",\"enc\":\"A256GCM\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"RSA-OAEP\",\"enc\":\"A256GCM\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"RSA-OAEP-512\",\"enc\":\"A256GCM\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"dir\",\"enc\":\"A256GCM\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"none\",\"enc\":\"A256GCM\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"A256KW\",\"enc\":\"A256GCM\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"A256GCMKW\",\"enc\":\"A256GCM\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"PBES2-HS512+A256KW\",\"enc\":\"A256GCM\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"ES256\",\"enc\":\"A256GCM\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"ECDH-ES\",\"enc\":\"A256GCM\"," EC_EPK "}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"ECDH-ES+A128KW\",\"enc\":\"A256GCM\"," EC_EPK "}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"RSA-OAEP-256\",\"enc\":\"A128GCM\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"RSA-OAEP-256\",\"enc\":\"A192GCM\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"RSA-OAEP-256\",\"enc\":\"A128CBC-HS256\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"RSA-OAEP-256\",\"enc\":\"\"}", DMSG_E_ALGORITHM},
        {"{\"alg\":\"RSA-OAEP-256\"}", DMSG_E_FORMAT},
        {"{\"enc\":\"A256GCM\"}", DMSG_E_FORMAT},
        {"{\"alg\":\"RSA-OAEP-256\",\"enc\":1}", DMSG_E_FORMAT},
        {"{" OAEP ",\"enc\":\"A256GCM\"}", DMSG_E_FORMAT},
    };
    CHECK_ROWS(rows, parse_jwe);
}

static void ephemeral_keys(void)
{
    static const struct row rows[] = {
        {"{" ECDH "," EC_EPK "}", 0},
        {"{" ECDH
         ",\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\",\"z\":[1]}}",
            0},
        {"{" ECDH "}", DMSG_E_FORMAT},
        {"{" OAEP "," EC_EPK "}", DMSG_E_FORMAT},
        {"{" ECDH ",\"epk\":\"AA\"}", DMSG_E_FORMAT},
        {"{" ECDH ",\"epk\":null}", DMSG_E_FORMAT},
        {"{" ECDH ",\"epk\":[]}", DMSG_E_FORMAT},
        {"{" ECDH ",\"epk\":{}}", DMSG_E_FORMAT},
        {"{" ECDH ",\"epk\":{\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}}", DMSG_E_FORMAT},
        {"{" ECDH ",\"epk\":{\"kty\":\"EC\",\"x\":\"AA\",\"y\":\"AA\"}}", DMSG_E_FORMAT},
        {"{" ECDH ",\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"y\":\"AA\"}}", DMSG_E_FORMAT},
        {"{" ECDH ",\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"\",\"y\":\"\"}}",
            DMSG_E_FORMAT},
        {"{" ECDH ",\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":1,\"y\":\"AA\"}}",
            DMSG_E_FORMAT},
        {"{" ECDH ",\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"x\":\"AA\"}}",
            DMSG_E_FORMAT},
        {"{" ECDH
         ",\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\",\"d\":\"AA\"}}",
            DMSG_E_FORMAT},
        {"{" ECDH "," EC_EPK "," EC_EPK "}", DMSG_E_FORMAT},
    };
    CHECK_ROWS(rows, parse_jwe);
}

/* Each of them, whatever it holds, in both kinds of object. */
static void refused_members(void)
{
    static const char *const names[] = {
        "crit", "zip", "b64", "jwk", "jku", "p2c", "p2s", "apu", "apv"};
    static const char *const values[] = {
        "null", "\"\"", "\"DEF\"", "true", "[]", "[\"exp\"]", "1", "{}", "{\"kty\":\"EC\"}"};
    for (size_t n = 0; n < sizeof names / sizeof names[0]; n++) {
        for (size_t v = 0; v < sizeof values / sizeof values[0]; v++) {
            char jws[200], jwe[200], harmless[200];
            snprintf(jws, sizeof jws, "{\"alg\":\"ES256\",\"%s\":%s}", names[n], values[v]);
            snprintf(jwe, sizeof jwe, "{\"%s\":%s," OAEP "}", names[n], values[v]);
            snprintf(harmless, sizeof harmless, "{\"%s2\":%s," OAEP "}", names[n], values[v]);
            CHECK_ROW(parse_jws(text(jws), NULL) == DMSG_E_FORMAT, "%s", jws);
            CHECK_ROW(parse_jwe(text(jwe), NULL) == DMSG_E_FORMAT, "%s", jwe);
            CHECK_ROW(parse_jwe(text(harmless), NULL) == 0, "%s", harmless);
        }
    }
    CHECK(parse_jws(text("{\"alg\":\"ES256\",\"cr\\u0069t\":[\"exp\"]}"), NULL) == DMSG_E_FORMAT);
}

static void types_of_members(void)
{
    static const struct row rows[] = {
        {"{\"alg\":\"ES256\",\"unknown\":[1.5,{\"a\":null}],\"typ\":\"x\"}", 0},
        {"{\"alg\":\"ES256\",\"iat\":0,\"exp\":9007199254740991}", 0},
        {"{\"alg\":\"ES256\",\"x5c\":[\"MA==\"]}", 0},
        {"{\"alg\":\"ES256\",\"x5c\":[\"MA==\",\"MA==\",\"MA==\",\"MA==\"]}", 0},
        {" {\"alg\":\"ES256\"} \n", 0},
        {"{\"alg\":\"ES256\",\"typ\":1}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"cty\":null}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"x5u\":[]}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"kid\":1}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"aud\":[\"a.example\"]}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"jti\":{}}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"topic\":true}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"iat\":\"1700000000\"}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"iat\":1700000000.0}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"iat\":1e3}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"iat\":-1}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"iat\":-0}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"iat\":01}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"iat\":1e999}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"iat\":18446744073709551617}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"exp\":true}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"exp\":9007199254740992}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"x5c\":\"MA==\"}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"x5c\":[]}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"x5c\":[\"\"]}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"x5c\":[1]}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"x5c\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"unknown\":1,\"unknown\":2}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"unknown\":{\"a\":1,\"\\u0061\":2}}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"unknown\":01}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"unknown\":\"\xff\"}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",\"unknown\":[[[[1]]]]}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\",}", DMSG_E_FORMAT},
        {"{\"alg\":\"ES256\"}x", DMSG_E_FORMAT},
        {"[\"alg\",\"ES256\"]", DMSG_E_FORMAT},
        {"\"ES256\"", DMSG_E_FORMAT},
        {"", DMSG_E_FORMAT},
        {"null", DMSG_E_FORMAT},
    };
    CHECK_ROWS(rows, parse_jws);
}

static void values_of_members(void)
{
    CHECK(parse_jws(
              text("{\"alg\":\"ES256\",\"typ\":\"danemsg+jws\",\"cty\":\"text\\/plain\","
                   "\"x5u\":\"dns:a.example?type=TLSA\",\"kid\":\"K\",\"aud\":\"b.example\","
                   "\"iat\":1700000000,\"exp\":1700000001,\"jti\":\"J\",\"topic\":\"t\\u002fu\","
                   "\"x5c\":[\"A\\/==\",\"BB==\"],\"more\":1}"),
              NULL) == 0);
    CHECK(header.present ==
          (DMSG_HAS_ALG | DMSG_HAS_TYP | DMSG_HAS_CTY | DMSG_HAS_X5U | DMSG_HAS_KID | DMSG_HAS_AUD |
              DMSG_HAS_IAT | DMSG_HAS_EXP | DMSG_HAS_JTI | DMSG_HAS_TOPIC | DMSG_HAS_X5C));
    CHECK(dmsg_span_equal_text(header.alg, "ES256"));
    CHECK(dmsg_span_equal_text(header.typ, "danemsg+jws"));
    CHECK(dmsg_span_equal_text(header.cty, "text/plain"));
    CHECK(dmsg_span_equal_text(header.x5u, "dns:a.example?type=TLSA"));
    CHECK(dmsg_span_equal_text(header.kid, "K"));
    CHECK(dmsg_span_equal_text(header.aud, "b.example"));
    CHECK(header.iat == 1700000000 && header.exp == 1700000001);
    CHECK(dmsg_span_equal_text(header.jti, "J"));
    CHECK(dmsg_span_equal_text(header.topic, "t/u"));
    CHECK(header.x5c_count == 2 && dmsg_span_equal_text(header.x5c[0], "A/==") &&
          dmsg_span_equal_text(header.x5c[1], "BB=="));
    CHECK(parse_jwe(text("{" ECDH
                         ",\"epk\":{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"XX\",\"y\":\"YY\"}}"),
              NULL) == 0);
    CHECK(header.present == (DMSG_HAS_ALG | DMSG_HAS_ENC | DMSG_HAS_EPK) && header.x5c_count == 0);
    CHECK(dmsg_span_equal_text(header.epk_kty, "EC") &&
          dmsg_span_equal_text(header.epk_crv, "P-256") &&
          dmsg_span_equal_text(header.epk_x, "XX") && dmsg_span_equal_text(header.epk_y, "YY"));
    CHECK(header.typ.data == NULL && header.iat == 0);
}

/* A header of exactly this many octets, with or without x5c. */
static int parse_size(size_t size, bool x5c)
{
    const char *head =
        x5c ? "{\"alg\":\"ES256\",\"x5c\":[\"MA==\"],\"a\":\"" : "{\"alg\":\"ES256\",\"a\":\"";
    char *json = malloc(size + 1);
    if (json == NULL)
        return DMSG_E_INTERNAL;
    memset(json, 'a', size);
    memcpy(json, head, strlen(head));
    memcpy(json + size - 2, "\"}", 3);
    int result = parse_jws(text(json), NULL);
    free(json);
    return result;
}

static void size_limits(void)
{
    CHECK(parse_size(DMSG_JOSE_HEADER_MAX, false) == 0);
    CHECK(header.json.size == DMSG_JOSE_HEADER_MAX);
    CHECK(parse_size(DMSG_JOSE_HEADER_MAX + 1, false) == DMSG_E_SIZE);
    CHECK(parse_size(DMSG_JOSE_HEADER_MAX + 1, true) == 0);
    CHECK(parse_size(DMSG_JOSE_HEADER_X5C_MAX, true) == 0);
    CHECK(parse_size(DMSG_JOSE_HEADER_X5C_MAX + 1, true) == DMSG_E_SIZE);
    CHECK(parse_size(DMSG_JOSE_HEADER_X5C_MAX + 1, false) == DMSG_E_SIZE);
    CHECK(parse_size(100000, true) == DMSG_E_SIZE);
}

static void encoding_is_canonical(void)
{
    static const struct {
        const char *text;
        int code;
    } rows[] = {{"eyJhbGciOiJFUzI1NiJ9", 0}, /* {"alg":"ES256"} */
        {"eyJhbGciOiJFUzI1NiJ9ICA", 0}, {"eyJhbGciOiJFUzI1NiJ9ICB", DMSG_E_FORMAT},
        {"eyJhbGciOiJFUzI1NiJ9ICA=", DMSG_E_FORMAT}, {"eyJhbGciOiJFUzI1NiJ9I", DMSG_E_FORMAT},
        {" eyJhbGciOiJFUzI1NiJ9", DMSG_E_FORMAT}, {"eyJhbGciOiJFUzI1NiJ9\n", DMSG_E_FORMAT},
        {"eyJhbGciOiJFUzI1Ni+9", DMSG_E_FORMAT}, {"", DMSG_E_FORMAT}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_jws jws = {.protected_header = text(rows[i].text)};
        CHECK_ROW(dmsg_jws_header_parse(&header, &jws, NULL) == rows[i].code, "%s", rows[i].text);
    }
}

/* --------------------------------------------------------------------------------- the forms */

static void forms_of_jws(void)
{
    static const struct {
        const char *text;
        int form; /* -1: DMSG_E_FORMAT */
    } rows[] = {
        {"P.Y.S", DMSG_FORM_COMPACT},
        {"..", DMSG_FORM_COMPACT},
        {"{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"}", DMSG_FORM_FLATTENED},
        {" {\"signature\":\"S\",\n\"protected\" : \"P\" ,\t\"payload\":\"Y\" }\r\n",
            DMSG_FORM_FLATTENED},
        {"", -1},
        {"P", -1},
        {"P.Y", -1},
        {"P.Y.S.", -1},
        {"P.Y.S.X", -1},
        {"P.Y.S.X.Z", -1},
        {"{", -1},
        {"{}", -1},
        {"[]", -1},
        {"{\"payload\":\"Y\",\"protected\":\"P\"}", -1},
        {"{\"payload\":\"Y\",\"signature\":\"S\"}", -1},
        {"{\"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\",}", -1},
        {"{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"", -1},
        {"{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S}", -1},
        {"{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"}}", -1},
        {"{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"} x", -1},
        {"{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"}.Y.S", -1},
        {"{\"payload\":\"Y\" \"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"{\"payload\"\"Y\",\"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"{\"payload\":Y,\"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"{\"payload\":null,\"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"{\"payload\":{\"a\":1},\"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"{\"payload\":\"\\u0059\",\"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"{\"payloa\\u0064\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"{\"payload\":\"Y\\\"\",\"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"{\"payload\":\"Y\",\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\",\"signature\":\"S\"}", -1},
        {"{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\",\"header\":{}}", -1},
        {"{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\",\"header\":{\"kid\":\"1\"}}",
            -1},
        {"{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\",\"unknown\":\"U\"}", -1},
        {"{\"payload\":\"Y\",\"signatures\":[{\"protected\":\"P\",\"signature\":\"S\"}]}", -1},
        {"{\"Payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"\xef\xbb\xbf{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"\f{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"{\v\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"}", -1},
        {"{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"}\f", -1},
        {"{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\",\"signatures\":[]}", -1},
        {"[{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"}]", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_jws jws = {.signing_input = text("unchanged")};
        int result = dmsg_jws_parse(&jws, text(rows[i].text), NULL);
        CHECK_ROW(result == (rows[i].form < 0 ? DMSG_E_FORMAT : 0), "%s", rows[i].text);
        if (result < 0)
            CHECK_ROW(dmsg_span_equal_text(jws.signing_input, "unchanged"), "%s", rows[i].text);
        else
            CHECK_ROW((int)jws.form == rows[i].form, "%s", rows[i].text);
    }
}

/* What C would take for the end of the text. */
static void octets_of_zero(void)
{
    static const char flattened[] = "{\"payload\":\"Y\",\"protected\":\"P\",\"signature\":\"S\"}";
    static const char json[] = "{\"alg\":\"ES256\"}", compact[] = "eyJhbGciOiJFUzI1NiJ9";
    struct dmsg_jws jws;
    CHECK(dmsg_jws_parse(&jws, text(flattened), NULL) == 0);
    CHECK(dmsg_jws_parse(&jws, (struct dmsg_span){(const uint8_t *)flattened, sizeof flattened},
              NULL) == DMSG_E_FORMAT);
    CHECK(parse_jws(text(json), NULL) == 0);
    CHECK(parse_jws((struct dmsg_span){(const uint8_t *)json, sizeof json}, NULL) == DMSG_E_FORMAT);
    jws.protected_header = (struct dmsg_span){(const uint8_t *)compact, sizeof compact};
    CHECK(dmsg_jws_header_parse(&header, &jws, NULL) == DMSG_E_FORMAT);
}

static void parts_of_jws(void)
{
    struct dmsg_jws jws;
    CHECK(dmsg_jws_parse(&jws, text("PP.YYY.S"), NULL) == 0);
    CHECK(dmsg_span_equal_text(jws.protected_header, "PP"));
    CHECK(dmsg_span_equal_text(jws.payload, "YYY"));
    CHECK(dmsg_span_equal_text(jws.signature, "S"));
    CHECK(dmsg_span_equal_text(jws.signing_input, "PP.YYY"));
    CHECK(dmsg_jws_parse(&jws, text("{\"signature\":\"S\",\"payload\":\"\",\"protected\":\"PP\"}"),
              NULL) == 0);
    CHECK(dmsg_span_equal_text(jws.protected_header, "PP"));
    CHECK(dmsg_span_equal_text(jws.payload, ""));
    CHECK(dmsg_span_equal_text(jws.signature, "S"));
    CHECK(jws.signing_input.size == 0);
}

#define JWE_PARTS "\"protected\":\"P\",\"iv\":\"I\",\"ciphertext\":\"C\",\"tag\":\"T\""

static void forms_of_jwe(void)
{
    static const struct {
        const char *text;
        int form;
    } rows[] = {
        {"P.K.I.C.T", DMSG_FORM_COMPACT},
        {"{" JWE_PARTS ",\"encrypted_key\":\"K\"}", DMSG_FORM_FLATTENED},
        {"P.K.I.C", -1},
        {"P.K.I", -1},
        {"P.K.I.C.T.", -1},
        {"P.K.I.C.T.X", -1},
        {"{" JWE_PARTS "}", -1},
        {"{" JWE_PARTS ",\"encrypted_key\":\"K\",\"header\":{\"kid\":\"1\"}}", -1},
        {"{" JWE_PARTS ",\"encrypted_key\":\"K\",\"unprotected\":{\"kid\":\"1\"}}", -1},
        {"{" JWE_PARTS ",\"encrypted_key\":\"K\",\"unprotected\":{}}", -1},
        {"{" JWE_PARTS ",\"encrypted_key\":\"K\",\"aad\":\"A\"}", -1},
        {"{" JWE_PARTS ",\"encrypted_key\":\"K\",\"aad\":\"\"}", -1},
        {"{" JWE_PARTS ",\"encrypted_key\":\"K\",\"recipients\":[]}", -1},
        {"{" JWE_PARTS ",\"recipients\":[{\"encrypted_key\":\"K\"}]}", -1},
        {"{" JWE_PARTS ",\"recipients\":[{\"encrypted_key\":\"K\"},{\"encrypted_key\":\"L\"}]}",
            -1},
        {"{" JWE_PARTS ",\"encrypted_key\":\"K\",\"tag\":\"T\"}", -1},
        {"{" JWE_PARTS ",\"encrypted_key\":\"K\",\"unknown\":\"U\"}", -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct dmsg_jwe jwe = {.tag = text("unchanged")};
        int result = dmsg_jwe_parse(&jwe, text(rows[i].text), NULL);
        CHECK_ROW(result == (rows[i].form < 0 ? DMSG_E_FORMAT : 0), "%s", rows[i].text);
        if (result < 0)
            CHECK_ROW(dmsg_span_equal_text(jwe.tag, "unchanged"), "%s", rows[i].text);
        else
            CHECK_ROW((int)jwe.form == rows[i].form && dmsg_span_equal_text(jwe.iv, "I") &&
                          dmsg_span_equal_text(jwe.encrypted_key, "K") &&
                          dmsg_span_equal_text(jwe.ciphertext, "C") &&
                          dmsg_span_equal_text(jwe.tag, "T"),
                "%s", rows[i].text);
    }
}

TEST_MAIN(TEST(algorithms_of_jws), TEST(algorithms_of_jwe), TEST(ephemeral_keys),
    TEST(refused_members), TEST(types_of_members), TEST(values_of_members), TEST(size_limits),
    TEST(encoding_is_canonical), TEST(forms_of_jws), TEST(octets_of_zero), TEST(parts_of_jws),
    TEST(forms_of_jwe))
