#include "dane/curl_library.h"

#include "base/fail.h"

#include <dlfcn.h>
#include <string.h>
#include <strings.h>

/* CURLOPT_PROTOCOLS_STR came with 7.85, CURLOPT_QUICK_EXIT with 7.87. */
#define VERSION_LEAST 0x075700

static int find_calls(struct dmsg_curl *out, void *library, struct dmsg_error *error)
{
#define FIND(name)                                                                                 \
    do {                                                                                           \
        void *at = dlsym(library, #name);                                                          \
        if (at == NULL)                                                                            \
            return dmsg_fail(error, DMSG_E_LOCAL, "libcurl.so.4 has no " #name);                   \
        memcpy(&out->name, &at, sizeof at);                                                        \
    } while (0);
    DMSG_CURL_CALLS(FIND)
#undef FIND
    return 0;
}

int dmsg_curl_load(struct dmsg_curl *out, struct dmsg_error *error)
{
    struct dmsg_curl found;
    void *library = dlopen("libcurl.so.4", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (library == NULL)
        return dmsg_fail(error, DMSG_E_LOCAL, "libcurl.so.4 is not there: install libcurl4");
    int result = find_calls(&found, library, error);
    if (result == 0 && found.curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        result = dmsg_fail(error, DMSG_E_INTERNAL, "libcurl does not start");
    if (result < 0)
        return result;
    const curl_version_info_data *version = found.curl_version_info(CURLVERSION_NOW);
    /* The way to hand CA certificates over, and what is asked of TLS, are that backend's. */
    if (version->version_num < VERSION_LEAST || version->ssl_version == NULL ||
        strncasecmp(version->ssl_version, "OpenSSL/", 8) != 0)
        return dmsg_fail(
            error, DMSG_E_LOCAL, "libcurl is older than 7.87, or not made with OpenSSL");
    *out = found;
    return 0;
}
