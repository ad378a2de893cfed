/* Engines are deprecated; no PKCS #11 provider is packaged. */
#undef OPENSSL_NO_DEPRECATED
#undef OPENSSL_API_COMPAT
#define OPENSSL_SUPPRESS_DEPRECATED

#include "hardware.h"

#include <openssl/engine.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool configure(const struct pkcs11 *token)
{
    char path[100];
    snprintf(path, sizeof path, "%s/tokens", token->folder);
    if (mkdir(path, 0700) < 0)
        return false;
    snprintf(path, sizeof path, "%s/conf", token->folder);
    setenv("SOFTHSM2_CONF", path, 1);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return false;
    fprintf(file, "directories.tokendir = %s/tokens\nlog.level = ERROR\n", token->folder);
    return fclose(file) == 0;
}

static ENGINE *load_engine(void)
{
    ENGINE *engine = ENGINE_by_id("pkcs11");
    if (engine != NULL && ENGINE_ctrl_cmd_string(engine, "MODULE_PATH", PKCS11_MODULE, 0) == 1 &&
        ENGINE_ctrl_cmd_string(engine, "PIN", PKCS11_PIN, 0) == 1 && ENGINE_init(engine) == 1)
        return engine;
    ENGINE_free(engine);
    ERR_clear_error();
    return NULL;
}

/* Where it stays. */
static bool make_key(const char *kind, const char *id)
{
    const char *const type = strcmp(kind, "P-256") == 0   ? "EC:prime256v1"
                             : strcmp(kind, "P-384") == 0 ? "EC:secp384r1"
                             : strcmp(kind, "P-521") == 0 ? "EC:secp521r1"
                                                          : "rsa:2048";
    const char *const arguments[] = {"pkcs11-tool", "--module", PKCS11_MODULE, "--token-label",
        PKCS11_TOKEN, "--pin", PKCS11_PIN, "--keypairgen", "--key-type", type, "--label", kind,
        "--id", id, "--usage-sign", strcmp(kind, "RSA") == 0 ? "--usage-decrypt" : "--usage-derive",
        NULL};
    return run_program(arguments);
}

const char *pkcs11_make(struct pkcs11 *token, const char *const *kinds)
{
    static const char *const init[] = {"softhsm2-util", "--init-token", "--free", "--label",
        PKCS11_TOKEN, "--pin", PKCS11_PIN, "--so-pin", PKCS11_PIN, NULL};
    char id[] = "01";
    *token = (struct pkcs11){.folder = "/tmp/danemsg-pkcs11-XXXXXX"};
    if (mkdtemp(token->folder) == NULL || !configure(token))
        return "no folder for the token";
    if (access(PKCS11_MODULE, R_OK) != 0)
        return "softhsm2 is not installed";
    if (!run_program(init))
        return "softhsm2-util makes no token";
    for (size_t i = 0; kinds[i] != NULL; i++, id[1]++) {
        if (!make_key(kinds[i], id))
            return "pkcs11-tool (opensc) is not installed, or makes no key";
    }
    return NULL;
}

const char *pkcs11_start(struct pkcs11 *token, const char *const *kinds)
{
    const char *missing = pkcs11_make(token, kinds);
    if (missing != NULL)
        return missing;
    token->engine = load_engine();
    return token->engine != NULL ? NULL : "libengine-pkcs11-openssl is not installed";
}

EVP_PKEY *pkcs11_key(const struct pkcs11 *token, const char *kind)
{
    char uri[100];
    snprintf(uri, sizeof uri, "pkcs11:token=" PKCS11_TOKEN ";object=%s;type=private", kind);
    return ENGINE_load_private_key(token->engine, uri, NULL, NULL);
}

void pkcs11_stop(struct pkcs11 *token)
{
    if (token->engine != NULL) {
        ENGINE_finish(token->engine);
        ENGINE_free(token->engine);
    }
    remove_folder(token->folder);
    *token = (struct pkcs11){0};
}
