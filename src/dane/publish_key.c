/* The file of a TSIG key, in the syntax of BIND's configuration. */
#include "base/base64url.h"
#include "base/cleanup.h"
#include "base/fail.h"
#include "dane/publish_tsig.h"
#include "x509/files.h"

#include <openssl/crypto.h>
#include <string.h>

#define FORM "key \"NAME\" { algorithm hmac-sha256; secret \"BASE64\"; };"

struct lexer {
    struct dmsg_span rest;
    bool broken; /* a comment or a quoted text without end */
};

static void advance(struct lexer *lexer, size_t count)
{
    lexer->rest.data += count;
    lexer->rest.size -= count;
}

static bool starts_with(const struct lexer *lexer, const char *text)
{
    size_t size = strlen(text);
    return lexer->rest.size >= size && memcmp(lexer->rest.data, text, size) == 0;
}

/* Skips to behind the end of a comment; a line comment may end with the file. */
static void skip_comment(struct lexer *lexer, const char *end, bool needed)
{
    while (lexer->rest.size > 0 && !starts_with(lexer, end))
        advance(lexer, 1);
    if (lexer->rest.size > 0)
        advance(lexer, strlen(end));
    else
        lexer->broken |= needed;
}

static void skip_blank(struct lexer *lexer)
{
    while (lexer->rest.size > 0) {
        if (memchr(" \t\r\n", lexer->rest.data[0], 4) != NULL) {
            advance(lexer, 1);
        } else if (starts_with(lexer, "/*")) {
            advance(lexer, 2);
            skip_comment(lexer, "*/", true);
        } else if (starts_with(lexer, "//") || starts_with(lexer, "#")) {
            skip_comment(lexer, "\n", false);
        } else {
            return;
        }
    }
}

/* One of { } ; or a word, which may be quoted. Empty at the end or when broken. */
static struct dmsg_span next_token(struct lexer *lexer)
{
    skip_blank(lexer);
    struct dmsg_span token = {lexer->rest.data, 0};
    bool quoted = starts_with(lexer, "\"");
    if (quoted) {
        advance(lexer, 1);
        token.data = lexer->rest.data;
    } else if (lexer->rest.size > 0 && memchr("{};", lexer->rest.data[0], 3) != NULL) {
        advance(lexer, 1);
        token.size = 1;
        return token;
    }
    const char *stops = quoted ? "\"\n" : " \t\r\n{};\"#/";
    /* Base64 has slashes, so that only a quoted word can hold one. */
    while (lexer->rest.size > 0 && lexer->rest.data[0] != '\0' &&
           strchr(stops, lexer->rest.data[0]) == NULL) {
        advance(lexer, 1);
        token.size++;
    }
    if (quoted && starts_with(lexer, "\""))
        advance(lexer, 1);
    else if (quoted)
        lexer->broken = true;
    return token;
}

static bool take(struct lexer *lexer, const char *word)
{
    return dmsg_span_equal_text(next_token(lexer), word);
}

static int set_algorithm(
    struct dmsg_tsig_key *key, struct dmsg_span value, struct dmsg_error *error)
{
    key->algorithm = dmsg_tsig_algorithm_find(value);
    if (key->algorithm == NULL)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "its algorithm is none of hmac-sha256, hmac-sha384 and hmac-sha512: make a new key "
            "(tsig-keygen -a hmac-sha256 NAME)");
    return 0;
}

static int set_secret(struct dmsg_tsig_key *key, struct dmsg_span value, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done)
    struct dmsg_buffer secret = {.limit = DMSG_TSIG_SECRET_MAX};
    if (dmsg_base64_take(&secret, value) < 0)
        return dmsg_fail(error, DMSG_E_LOCAL, "its secret is not base64 of at most %d octets",
            DMSG_TSIG_SECRET_MAX);
    if (secret.size < DMSG_TSIG_SECRET_MIN)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "its secret has %zu octets, too few (32 are usual: tsig-keygen NAME makes such a key)",
            secret.size);
    memcpy(key->secret, secret.data, secret.size);
    key->secret_size = secret.size;
    return 0;
}

/* One statement inside the braces, up to its semicolon. */
static int read_statement(
    struct lexer *lexer, struct dmsg_tsig_key *key, struct dmsg_span word, struct dmsg_error *error)
{
    bool algorithm = dmsg_span_equal_text(word, "algorithm");
    bool twice = algorithm ? key->algorithm != NULL : key->secret_size > 0;
    if ((!algorithm && !dmsg_span_equal_text(word, "secret")) || twice)
        return dmsg_fail(error, DMSG_E_LOCAL, "not of the form %s", FORM);
    struct dmsg_span value = next_token(lexer);
    int result = algorithm ? set_algorithm(key, value, error) : set_secret(key, value, error);
    if (result == 0 && !take(lexer, ";"))
        return dmsg_fail(error, DMSG_E_LOCAL, "a ';' is missing (%s)", FORM);
    return result;
}

static int read_key(struct lexer *lexer, struct dmsg_tsig_key *key, struct dmsg_error *error)
{
    if (!take(lexer, "key"))
        return dmsg_fail(error, DMSG_E_LOCAL, "not of the form %s", FORM);
    struct dmsg_span name = next_token(lexer);
    if (dmsg_zone_parse(key->name, name, NULL) < 0 || key->name[0] == '.')
        return dmsg_fail(error, DMSG_E_LOCAL, "the key's name is not a DNS name");
    if (!take(lexer, "{"))
        return dmsg_fail(error, DMSG_E_LOCAL, "a '{' is missing (%s)", FORM);
    for (;;) {
        struct dmsg_span word = next_token(lexer);
        if (dmsg_span_equal_text(word, "}"))
            break;
        int result = read_statement(lexer, key, word, error);
        if (result < 0)
            return result;
    }
    if (!take(lexer, ";") || key->algorithm == NULL || key->secret_size == 0)
        return dmsg_fail(error, DMSG_E_LOCAL, "something is missing of %s", FORM);
    if (next_token(lexer).size > 0 || lexer->rest.size > 0 || lexer->broken)
        return dmsg_fail(error, DMSG_E_LOCAL, "there is more than one key in it");
    return 0;
}

int dmsg_tsig_key_parse(struct dmsg_tsig_key *out, struct dmsg_span text, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_tsig_key_done) struct dmsg_tsig_key key = {0};
    struct lexer lexer = {.rest = text};
    int result = read_key(&lexer, &key, error);
    if (result == 0)
        *out = key;
    return result;
}

int dmsg_tsig_key_read(struct dmsg_tsig_key *out, const char *path, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {.limit = DMSG_TSIG_FILE_MAX + 1};
    int result = dmsg_file_read_secret(&text, path, error);
    if (result < 0)
        return result;
    result = dmsg_tsig_key_parse(out, dmsg_buffer_span(&text), error);
    return result < 0 ? dmsg_fail_in(error, result, "the TSIG key file %s", path) : 0;
}

void dmsg_tsig_key_done(struct dmsg_tsig_key *key)
{
    OPENSSL_cleanse(key, sizeof *key);
}
