/* Tokens in software that behave as those in hardware: a TPM (swtpm with tpm2-openssl), and a PKCS
   #11 token (SoftHSM with the engine of libp11). Each makes keys that never leave it. */
#ifndef DANEMSG_TEST_HARDWARE_H
#define DANEMSG_TEST_HARDWARE_H

#include "danemsg/context.h"

#include <openssl/evp.h>

/* What the program of a token needs, NULL-terminated; waits for its end: true for status 0. */
bool run_program(const char *const *arguments);

struct tpm {
    char folder[64];
    int pid;
    OSSL_LIB_CTX *library; /* with the providers tpm2 and default */
    OSSL_PROVIDER *tpm2, *software;
};

/* NULL, or why there is none here. */
const char *tpm_start(struct tpm *tpm);
/* A new key in the TPM: "P-256", "P-384" or "RSA". It has room for two at a time. */
EVP_PKEY *tpm_new_key(const struct tpm *tpm, const char *kind);
/* Ends the program alone, as a TPM fails. */
void tpm_halt(struct tpm *tpm);
void tpm_stop(struct tpm *tpm);

#define PKCS11_MODULE "/usr/lib/softhsm/libsofthsm2.so"
#define PKCS11_TOKEN "danemsg"
#define PKCS11_PIN "1234"

struct pkcs11 {
    char folder[64];
    void *engine;
};

/* With a key of each kind, up to NULL, and nothing opened. NULL, or why there is none here. */
const char *pkcs11_make(struct pkcs11 *token, const char *const *kinds);
/* The same, and the engine. */
const char *pkcs11_start(struct pkcs11 *token, const char *const *kinds);
EVP_PKEY *pkcs11_key(const struct pkcs11 *token, const char *kind);
void pkcs11_stop(struct pkcs11 *token);

/* An ordinary key, in this process's memory. */
EVP_PKEY *software_key(const char *kind);

/* Removes a folder and the files and folders in it. */
void remove_folder(const char *path);

#endif
