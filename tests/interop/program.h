/*
 * Programs that make and read JOSE objects, one per library, all driven alike:
 *
 *     PROGRAM sign    JWK ALG FORM        payload in, JWS out
 *     PROGRAM verify  JWK ALG             JWS in, payload out
 *     PROGRAM encrypt JWK ALG FORM ENC    plaintext in, JWE out
 *     PROGRAM decrypt JWK ALG ENC         JWE in, plaintext out
 *
 * JWK is a file, FORM compact or flattened. Input is stdin, the result stdout. Exit status: 0;
 * 1 when the library refuses, with its reason on stderr; 2 for another fault.
 */
#ifndef DANEMSG_INTEROP_PROGRAM_H
#define DANEMSG_INTEROP_PROGRAM_H

#include <stdbool.h>
#include <stddef.h>

enum { DONE, REFUSED, BROKEN };

enum command { SIGN, VERIFY, ENCRYPT, DECRYPT, COMMANDS };

struct request {
    enum command command;
    const char *alg, *enc;
    bool compact;
    char *jwk, *input; /* with a NUL after them */
    size_t jwk_size, input_size;
};

/* What the library says goes to stdout with write_out; what it does not like to stderr. One of the
   three above. */
int answer(const struct request *request);

void write_out(const void *data, size_t size);
int refuse(const char *reason);

#endif
