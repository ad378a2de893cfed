/*
 * libcurl, loaded when it is needed and not linked: with its 25 libraries it costs more time at the
 * start of a program than all the rest, and they have no business in a process that holds keys and
 * fetches nothing. Its functions are called by their names through this table.
 */
#ifndef DANEMSG_DANE_CURL_LIBRARY_H
#define DANEMSG_DANE_CURL_LIBRARY_H

#include "danemsg/error.h"

#include <curl/curl.h>

/* The header has macros of these names, which check types and call the function. */
#undef curl_easy_setopt
#undef curl_easy_getinfo

#define DMSG_CURL_CALLS(X)                                                                         \
    X(curl_global_init)                                                                            \
    X(curl_version_info)                                                                           \
    X(curl_easy_init)                                                                              \
    X(curl_easy_setopt)                                                                            \
    X(curl_easy_perform)                                                                           \
    X(curl_easy_getinfo)                                                                           \
    X(curl_easy_strerror)                                                                          \
    X(curl_easy_cleanup)                                                                           \
    X(curl_multi_init)                                                                             \
    X(curl_multi_add_handle)                                                                       \
    X(curl_multi_remove_handle)                                                                    \
    X(curl_multi_poll)                                                                             \
    X(curl_multi_perform)                                                                          \
    X(curl_multi_info_read)                                                                        \
    X(curl_slist_append)                                                                           \
    X(curl_slist_free_all)                                                                         \
    X(curl_url)                                                                                    \
    X(curl_url_set)                                                                                \
    X(curl_url_get)                                                                                \
    X(curl_url_cleanup)                                                                            \
    X(curl_free)

struct dmsg_curl {
#define DMSG_CURL_MEMBER(name) __typeof__(name) *name;
    DMSG_CURL_CALLS(DMSG_CURL_MEMBER)
#undef DMSG_CURL_MEMBER
};

/* The first call loads it, for as long as the process lives; later ones only look the names up.
   DMSG_E_LOCAL: it is not installed, or too old, or not made with OpenSSL. */
int dmsg_curl_load(struct dmsg_curl *out, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
