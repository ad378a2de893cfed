#include "x509/token.h"

#include "base/cleanup.h"
#include "base/fail.h"
#include "x509/certificate.h"
#include "x509/token_internal.h"

#include <openssl/err.h>
#include <openssl/provider.h>
#include <openssl/rsa.h>
#include <openssl/store.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* A kind of token that a provider speaks to. */
struct way {
    const char *provider;
    const char *properties;
    const char *advice; /* when it does not work */
};

static const struct way ways[] = {
    [DMSG_KEY_URI_HANDLE] = {"tpm2", "?provider=tpm2",
        "is there a TPM (/dev/tpmrm0, or what TPM2OPENSSL_TCTI says), may this user open it (group "
        "tss), and is the handle one of `tpm2_getcap handles-persistent`?"},
    [DMSG_KEY_URI_PKCS11] = {"pkcs11", "?provider=pkcs11",
        "is the token there, and the object in it? `pkcs11-tool --list-objects` shows them"},
};
#define WAYS (sizeof ways / sizeof ways[0])

/* Keys that are kept: those of an identity, and of some that came before it. */
#define KEPT_KEYS 16

/* tpm2-openssl has one object for a handle, which the first of two keys of it takes along when it
   is freed: so there is one key for each URI, and everybody has that. */
struct open_way {
    OSSL_LIB_CTX *library; /* NULL: not open */
    OSSL_PROVIDER *software, *own;
    size_t next; /* of those below, which is replaced next */
    struct {
        EVP_PKEY *key; /* NULL: none yet */
        char uri[DMSG_KEY_URI_SIZE];
    } kept[KEPT_KEYS];
};

struct dmsg_tokens {
    atomic_uint owners;
    UI_METHOD *nobody;
    struct open_way open[WAYS];
    struct dmsg_engine *engine; /* NULL: not open */
};

DMSG_DEFINE_CLEANUP(cleanup_store, OSSL_STORE_CTX *, (void)OSSL_STORE_close)
DMSG_DEFINE_CLEANUP(cleanup_info, OSSL_STORE_INFO *, OSSL_STORE_INFO_free)

/* In the place of whoever would be asked for a PIN. */
static int read_nothing(UI *ui, UI_STRING *string)
{
    (void)ui, (void)string;
    return 0;
}

int dmsg_tokens_new(struct dmsg_tokens **out, struct dmsg_error *error)
{
    struct dmsg_tokens *made = calloc(1, sizeof *made);
    if (made == NULL)
        return dmsg_fail_memory(error);
    atomic_init(&made->owners, 1);
    made->nobody = UI_create_method("nobody");
    if (made->nobody == NULL || UI_method_set_reader(made->nobody, read_nothing) != 0) {
        dmsg_tokens_free(&made);
        return dmsg_fail_openssl(error, "preparing for keys in hardware");
    }
    *out = made;
    return 0;
}

struct dmsg_tokens *dmsg_tokens_share(struct dmsg_tokens *tokens)
{
    atomic_fetch_add(&tokens->owners, 1);
    return tokens;
}

static void close_way(struct open_way *open)
{
    for (size_t i = 0; i < KEPT_KEYS; i++)
        EVP_PKEY_free(open->kept[i].key);
    if (open->own != NULL)
        (void)OSSL_PROVIDER_unload(open->own);
    if (open->software != NULL)
        (void)OSSL_PROVIDER_unload(open->software);
    OSSL_LIB_CTX_free(open->library);
    *open = (struct open_way){0};
}

void dmsg_tokens_free(struct dmsg_tokens **tokens)
{
    struct dmsg_tokens *old = tokens != NULL ? *tokens : NULL;
    if (old == NULL)
        return;
    *tokens = NULL;
    if (atomic_fetch_sub(&old->owners, 1) > 1)
        return;
    dmsg_engine_close(&old->engine);
    for (size_t i = 0; i < WAYS; i++)
        close_way(&old->open[i]);
    if (old->nobody != NULL)
        UI_destroy_method(old->nobody);
    free(old);
}

/* ------------------------------------------------------------------------------- what went wrong
 */

/* CKR_PIN_INCORRECT to CKR_PIN_LOCKED (PKCS #11 section 4.1), which are handed on as reasons. */
#define PIN_TROUBLE_FIRST 0xa0
#define PIN_TROUBLE_LAST 0xa4

struct trouble {
    bool pin_asked, pin_refused;
    bool no_module;     /* to be loaded; one that is there may still find no token */
    const char *reason; /* the first that has words: what follows from it comes later */
};

/* Empties OpenSSL's queue. */
static struct trouble read_queue(void)
{
    struct trouble found = {0};
    for (unsigned long code = ERR_get_error(); code != 0; code = ERR_get_error()) {
        int library = ERR_GET_LIB(code), reason = ERR_GET_REASON(code);
        found.pin_asked |= library == ERR_LIB_UI;
        found.no_module |= library == ERR_LIB_DSO;
        found.pin_refused |=
            library >= ERR_LIB_USER && reason >= PIN_TROUBLE_FIRST && reason <= PIN_TROUBLE_LAST;
        if (found.reason == NULL)
            found.reason = ERR_reason_error_string(code);
    }
    return found;
}

static int explain(struct dmsg_error *error, const struct dmsg_key_uri *uri,
    const struct trouble *found, const char *about, const char *advice)
{
    const char *reason = found->reason != NULL ? found->reason : "nothing";
    if (found->pin_refused)
        return dmsg_fail(error, DMSG_E_CERTIFICATE,
            "%s: the token does not take the PIN (%s): put the right one there "
            "(pin-source=file:..., the PIN and no line end, or pin-value=...); tokens lock "
            "themselves after a few wrong ones",
            uri->shown, reason);
    if (found->pin_asked)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s: the token wants a PIN, and nobody is there to type it: add "
            "?pin-source=file:/path/of/the/pin to the URI",
            uri->shown);
    return dmsg_fail(
        error, DMSG_E_LOCAL, "%s: %s: OpenSSL says %s; %s", uri->shown, about, reason, advice);
}

int dmsg_token_fail(
    struct dmsg_error *error, const struct dmsg_key_uri *uri, const char *about, const char *advice)
{
    struct trouble found = read_queue();
    return explain(error, uri, &found, about, advice);
}

/* ----------------------------------------------------------------------------------- providers */

/* 1, 0 when there is no such provider here, or an error. The default provider first: the first one
   also gives the library context its random octets. */
static int open_way(struct open_way *out, const struct way *way, const struct dmsg_key_uri *uri,
    struct dmsg_error *error)
{
    if (out->library != NULL)
        return 1;
    ERR_clear_error();
    struct open_way made = {.library = OSSL_LIB_CTX_new()};
    if (made.library != NULL)
        made.software = OSSL_PROVIDER_load(made.library, "default");
    if (made.software == NULL) {
        close_way(&made);
        return dmsg_fail_openssl(error, "preparing a library context for a key in hardware");
    }
    made.own = OSSL_PROVIDER_load(made.library, way->provider);
    if (made.own == NULL) {
        struct trouble found = read_queue();
        close_way(&made);
        return found.no_module ? 0 : explain(error, uri, &found, "opening the token", way->advice);
    }
    *out = made;
    return 1;
}

static int load_from_store(EVP_PKEY **out, const struct dmsg_tokens *tokens,
    const struct dmsg_key_uri *uri, struct dmsg_error *error)
{
    const struct way *way = &ways[uri->kind];
    DMSG_CLEANUP(dmsg_cleanup_pkey) EVP_PKEY *found = NULL;
    DMSG_CLEANUP(cleanup_store)
    OSSL_STORE_CTX *store = OSSL_STORE_open_ex(uri->text, tokens->open[uri->kind].library,
        way->properties, tokens->nobody, NULL, NULL, NULL, NULL);
    if (store != NULL && OSSL_STORE_expect(store, OSSL_STORE_INFO_PKEY) != 1)
        return dmsg_fail_openssl(error, "asking for a private key");
    while (store != NULL && found == NULL && !OSSL_STORE_eof(store)) {
        DMSG_CLEANUP(cleanup_info) OSSL_STORE_INFO *info = OSSL_STORE_load(store);
        if (info != NULL && OSSL_STORE_INFO_get_type(info) == OSSL_STORE_INFO_PKEY)
            found = OSSL_STORE_INFO_get1_PKEY(info);
        else if (info == NULL && OSSL_STORE_error(store))
            break;
    }
    if (found == NULL)
        return dmsg_token_fail(error, uri, "loading the key", way->advice);
    *out = found;
    found = NULL;
    return 0;
}

static int load_once(EVP_PKEY **out, struct dmsg_tokens *tokens, const struct dmsg_key_uri *uri,
    struct dmsg_error *error)
{
    struct open_way *open = &tokens->open[uri->kind];
    size_t at = 0;
    while (at < KEPT_KEYS && (open->kept[at].key == NULL || strcmp(open->kept[at].uri, uri->shown)))
        at++;
    if (at == KEPT_KEYS) {
        DMSG_CLEANUP(dmsg_cleanup_pkey) EVP_PKEY *key = NULL;
        int status = load_from_store(&key, tokens, uri, error);
        if (status < 0)
            return status;
        at = open->next;
        open->next = (at + 1) % KEPT_KEYS;
        EVP_PKEY_free(open->kept[at].key);
        open->kept[at].key = key;
        memcpy(open->kept[at].uri, uri->shown, sizeof uri->shown);
        key = NULL;
    }
    if (EVP_PKEY_up_ref(open->kept[at].key) != 1)
        return dmsg_fail_openssl(error, "sharing a key");
    *out = open->kept[at].key;
    return 0;
}

/* ---------------------------------------------------------------------------------------- keys */

/* tpm2-openssl has no RSA-OAEP with SHA-256: better known before the first message. Asks the
   provider, not the token. */
static bool has_oaep(const struct dmsg_token_key *key)
{
    DMSG_CLEANUP(dmsg_cleanup_pkey_ctx)
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_pkey(key->library, key->key, key->properties);
    bool has = ctx != NULL && EVP_PKEY_decrypt_init(ctx) == 1 &&
               EVP_PKEY_CTX_set_rsa_padding(ctx, RSA_PKCS1_OAEP_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_oaep_md(ctx, EVP_sha256()) == 1;
    ERR_clear_error();
    return has;
}

static int find_key(struct dmsg_token_key *out, struct dmsg_tokens *tokens,
    const struct dmsg_key_uri *uri, struct dmsg_error *error)
{
    int status = open_way(&tokens->open[uri->kind], &ways[uri->kind], uri, error);
    if (status == 1) {
        out->library = tokens->open[uri->kind].library;
        out->properties = ways[uri->kind].properties;
        return load_once(&out->key, tokens, uri, error);
    }
    if (status < 0)
        return status;
    if (uri->kind == DMSG_KEY_URI_HANDLE)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s is a key in a TPM, and OpenSSL has no provider for it here: install the package "
            "tpm2-openssl",
            uri->shown);
    status =
        tokens->engine == NULL ? dmsg_engine_open(&tokens->engine, uri, tokens->nobody, error) : 0;
    return status == 0 ? dmsg_engine_load(&out->key, tokens->engine, uri, error) : status;
}

int dmsg_token_key_load(struct dmsg_token_key *out, struct dmsg_tokens *tokens,
    const struct dmsg_key_uri *uri, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_token_key_done) struct dmsg_token_key found = {0};
    int status = find_key(&found, tokens, uri, error);
    if (status < 0)
        return status;
    found.purposes = dmsg_key_purposes(found.key, NULL);
    if (EVP_PKEY_is_a(found.key, "RSA") && !has_oaep(&found))
        found.purposes &= ~(unsigned)DMSG_FOR_ENCRYPTION;
    ERR_clear_error();
    *out = found;
    found = (struct dmsg_token_key){0};
    return 0;
}

void dmsg_token_key_done(struct dmsg_token_key *key)
{
    EVP_PKEY_free(key->key);
    *key = (struct dmsg_token_key){0};
}

/* ---------------------------------------------------------------------------------------- file */

int dmsg_file_read_key_uri(struct dmsg_key_uri *out, const struct dmsg_folder *folder,
    const char *file, struct dmsg_error *error)
{
    DMSG_CLEANUP(dmsg_buffer_done) struct dmsg_buffer text = {.limit = DMSG_KEY_URI_SIZE + 1};
    int status = dmsg_file_read_secret_in(&text, folder, file, error);
    if (status < 0)
        return status;
    struct dmsg_span line = dmsg_buffer_span(&text);
    if (line.size > 0 && line.data[line.size - 1] == '\n')
        line.size--;
    status = dmsg_key_uri_parse(out, line, error);
    return status < 0 ? dmsg_fail_in(error, status, "%s/%s", folder->path, file) : 0;
}
