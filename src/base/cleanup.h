/* Cleanup attributes: every resource frees itself where its scope ends. */
#ifndef DANEMSG_BASE_CLEANUP_H
#define DANEMSG_BASE_CLEANUP_H

#include <openssl/bio.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define DMSG_CLEANUP(function) __attribute__((cleanup(function)))

#define DMSG_DEFINE_CLEANUP(name, type, call)                                                      \
    static inline void name(type *pointer)                                                         \
    {                                                                                              \
        if (*pointer != NULL)                                                                      \
            call(*pointer);                                                                        \
    }

DMSG_DEFINE_CLEANUP(dmsg_cleanup_free, char *, free)
DMSG_DEFINE_CLEANUP(dmsg_cleanup_file, FILE *, (void)fclose)
DMSG_DEFINE_CLEANUP(dmsg_cleanup_bio, BIO *, (void)BIO_free)
DMSG_DEFINE_CLEANUP(dmsg_cleanup_x509, X509 *, X509_free)
DMSG_DEFINE_CLEANUP(dmsg_cleanup_pkey, EVP_PKEY *, EVP_PKEY_free)
DMSG_DEFINE_CLEANUP(dmsg_cleanup_pkey_ctx, EVP_PKEY_CTX *, EVP_PKEY_CTX_free)

static inline void dmsg_cleanup_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

#endif
