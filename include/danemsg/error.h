/*
 * Errors: a code that says what the caller can do, and a text for a person.
 *
 *     struct dmsg_error error;
 *     if (dmsg_something(..., &error) < 0)
 *         fprintf(stderr, "%s: %s\n", dmsg_error_word(error.code), error.text);
 *
 * The caller owns the struct, on its stack for instance, and need not initialise it: a function
 * that fails fills it in, one that succeeds leaves it alone. Every function that takes one
 * accepts NULL. A text never holds a secret and never a raw byte of a peer.
 */
#ifndef DANEMSG_ERROR_H
#define DANEMSG_ERROR_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Longest text, with its NUL. Longer texts are cut. */
#define DMSG_ERROR_TEXT 480

/*
 * name, word (log, JSON), exit status (command line), meaning
 * The words are those of the acceptance rules in doc/PROTOCOL.md.
 */
#define DMSG_ERRORS(X)                                                                             \
    X(USAGE, "usage", 1, "the caller's arguments make no sense")                                   \
    X(LOCAL, "local", 2, "a local file or the configuration")                                      \
    X(NO_IDENTITY, "no-identity", 3, "DNS proves that the name has no usable identity")            \
    X(DNS_TEMPORARY, "dns-temporary", 4, "DNS has no answer now")                                  \
    X(DNS_BOGUS, "dns-bogus", 5, "the DNSSEC signatures do not validate")                          \
    X(DNS_INSECURE, "dns-insecure", 5, "the zone is not signed, or below no trust anchor")         \
    X(CERTIFICATE, "certificate", 6, "the certificate or key is not usable for this")              \
    X(DECRYPT, "decrypt", 7, "not decryptable with this key")                                      \
    X(SIGNATURE, "signature", 8, "the signature is not that of the key")                           \
    X(POLICY, "policy", 9, "the sender is not allowed here")                                       \
    X(AUDIENCE, "audience", 9, "signed for another recipient or topic")                            \
    X(TIME, "time", 9, "expired, from the future, or living too long")                             \
    X(REPLAY, "replay", 9, "seen before")                                                          \
    X(UNBOUND, "unbound", 9, "a proof of concept message, not accepted from this sender")          \
    X(QUOTA, "quota", 9, "the budget for unverified messages is used up")                          \
    X(BROKER, "broker", 10, "the MQTT broker or the way to it")                                    \
    X(INTERNAL, "internal", 11, "memory, the operating system, or a library failed")               \
    X(TIMEOUT, "timeout", 12, "the time that the caller gave has passed")                          \
    X(SIZE, "size", 13, "larger than the limit")                                                   \
    X(FORMAT, "format", 13, "not an envelope as doc/PROTOCOL.md has it")                           \
    X(ALGORITHM, "algorithm", 13, "an algorithm that the table or the key does not have")          \
    X(NOT_FOR_ME, "not-for-me", 13, "encrypted to another name or key")                            \
    X(NAME, "name", 13, "not a DNS name, or not a dns: URI, that can be an identity")

/* Codes are negative, so that 0 is success: DMSG_E_USAGE is -1 and so on. */
enum dmsg_error_index {
#define DMSG_ERROR_INDEX(name, word, status, meaning) DMSG_INDEX_##name,
    DMSG_ERRORS(DMSG_ERROR_INDEX)
#undef DMSG_ERROR_INDEX
        DMSG_ERROR_COUNT
};

enum dmsg_error_code {
    DMSG_OK = 0,
#define DMSG_ERROR_CODE(name, word, status, meaning) DMSG_E_##name = -1 - DMSG_INDEX_##name,
    DMSG_ERRORS(DMSG_ERROR_CODE)
#undef DMSG_ERROR_CODE
};

struct dmsg_error {
    int code; /* an enum dmsg_error_code */
    char text[DMSG_ERROR_TEXT];
};

#define DMSG_MUST_CHECK __attribute__((warn_unused_result))

/* The word of a code ("format", "decrypt", ...); "ok" for 0. Static storage. */
const char *dmsg_error_word(int code);

/* What the code means, one clause, for people. Static storage. */
const char *dmsg_error_meaning(int code);

/* The exit status of the command line for a code: 0 to 13. */
int dmsg_error_exit_status(int code);

/* The code for a word, or 0 when there is none. */
int dmsg_error_code_of(const char *word);

#ifdef __cplusplus
}
#endif

#endif
