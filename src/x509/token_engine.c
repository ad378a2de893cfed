/* PKCS #11 through the engine of libp11: Debian 12 packages no provider for it. Engines are
   deprecated in OpenSSL 3.0, and in this file alone they are used. */
#undef OPENSSL_NO_DEPRECATED
#undef OPENSSL_API_COMPAT
#define OPENSSL_SUPPRESS_DEPRECATED

#include "base/fail.h"
#include "x509/token_internal.h"

#include <openssl/engine.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* OpenSSL keeps one engine of a name for the process, and it has one module. */
struct dmsg_engine {
    ENGINE *engine;
    UI_METHOD *nobody; /* borrowed */
    char module[DMSG_KEY_URI_SIZE];
};

/* It prints what goes wrong, URIs with their PINs too, and asks on the terminal, unless told not
   to. */
static bool configure(ENGINE *engine, const struct dmsg_key_uri *uri, UI_METHOD *nobody)
{
    return ENGINE_ctrl_cmd_string(engine, "QUIET", NULL, 0) == 1 &&
           ENGINE_ctrl_cmd(engine, "SET_USER_INTERFACE", 0, nobody, NULL, 0) == 1 &&
           (uri->module[0] == '\0' ||
               ENGINE_ctrl_cmd_string(engine, "MODULE_PATH", uri->module, 0) == 1);
}

/* It would print why it cannot be loaded. */
static int check_module(const struct dmsg_key_uri *uri, struct dmsg_error *error)
{
    const char *fallback = secure_getenv("PKCS11_MODULE_PATH");
    const char *module = uri->module[0] != '\0' ? uri->module : fallback;
    if (module == NULL || access(module, R_OK) == 0)
        return 0;
    return dmsg_fail_errno(error, DMSG_E_LOCAL, "%s: the PKCS #11 module %s", uri->shown, module);
}

int dmsg_engine_open(struct dmsg_engine **out, const struct dmsg_key_uri *uri, UI_METHOD *nobody,
    struct dmsg_error *error)
{
    int status = check_module(uri, error);
    if (status < 0)
        return status;
    struct dmsg_engine *made = calloc(1, sizeof *made);
    if (made == NULL)
        return dmsg_fail_memory(error);
    made->nobody = nobody;
    memcpy(made->module, uri->module, sizeof made->module);
    made->engine = ENGINE_by_id("pkcs11");
    if (made->engine == NULL) {
        free(made);
        ERR_clear_error();
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s is a key in a PKCS #11 token, and OpenSSL has neither provider nor engine for it "
            "here: install the package libengine-pkcs11-openssl",
            uri->shown);
    }
    if (!configure(made->engine, uri, nobody) || ENGINE_init(made->engine) != 1) {
        ENGINE_free(made->engine);
        free(made);
        return dmsg_token_fail(error, uri, "preparing OpenSSL's engine pkcs11",
            "is it that of libengine-pkcs11-openssl?");
    }
    *out = made;
    return 0;
}

void dmsg_engine_close(struct dmsg_engine **engine)
{
    struct dmsg_engine *old = *engine;
    if (old == NULL)
        return;
    (void)ENGINE_ctrl_cmd(old->engine, "SET_USER_INTERFACE", 0, NULL, NULL, 0);
    ENGINE_finish(old->engine);
    ENGINE_free(old->engine);
    ERR_clear_error();
    free(old);
    *engine = NULL;
}

int dmsg_engine_load(EVP_PKEY **out, struct dmsg_engine *engine, const struct dmsg_key_uri *uri,
    struct dmsg_error *error)
{
    if (strcmp(engine->module, uri->module) != 0)
        return dmsg_fail(error, DMSG_E_LOCAL,
            "%s: another key here has another module-path, and one process has one PKCS #11 "
            "module: p11-kit's (p11-kit-proxy.so) speaks to several",
            uri->shown);
    ERR_clear_error();
    EVP_PKEY *found = ENGINE_load_private_key(engine->engine, uri->object, engine->nobody, NULL);
    if (found == NULL)
        return dmsg_token_fail(error, uri, "loading the key",
            "are the module (module-path=... in the URI, or PKCS11_MODULE_PATH), the token and the "
            "object there? `pkcs11-tool --module ... --list-objects` shows them");
    ERR_clear_error();
    *out = found;
    return 0;
}
