/*
 * The CA certificates of PKIX-CD (usage 4): fetched over HTTPS from the authority host of a name
 * (doc/PROTOCOL.md, "Which key speaks for a name") by a process of its own, which holds no key and
 * reaches nothing else, and cached here.
 */
#ifndef DANEMSG_DANE_AUTHORITY_H
#define DANEMSG_DANE_AUTHORITY_H

#include "danemsg/context.h"
#include "danemsg/name.h"

#include <openssl/x509.h>

/* Certificates of one name that are climbed from, and fetches that this may cost: whoever chooses
   the name chooses what is fetched, and from where. */
#define DMSG_AUTHORITY_CERTIFICATES_MAX 8
#define DMSG_AUTHORITY_FETCHES_MAX 4
/* Issuers of one certificate, the self-signed one among them. */
#define DMSG_AUTHORITY_LEVELS_MAX 4

/* An authority key identifier of 64 octets, as hexadecimal pairs joined by dashes, and a NUL. */
#define DMSG_AKI_TEXT (64 * 3)

struct dmsg_authority;

struct dmsg_authority_config {
    const char *const *servers; /* "HOST=ADDR[@PORT]", see dmsg_discovery_config */
    size_t server_count;
    /* As in dmsg_resolver_config: the same program, with one argument more. */
    const char *program;
    const char *const *program_arguments;
};

/* Starts no process yet: most names have no such record. Errors as dmsg_discovery_new. */
int dmsg_authority_new(struct dmsg_authority **out, const struct dmsg_context *context,
    const struct dmsg_authority_config *config, struct dmsg_error *error) DMSG_MUST_CHECK;
/* Ends the process. Nobody is called back. */
void dmsg_authority_free(struct dmsg_authority **authority);

/* As dmsg_resolver_fd and dmsg_resolver_step. */
int dmsg_authority_fd(const struct dmsg_authority *authority);
int dmsg_authority_step(struct dmsg_authority *authority, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Borrowed for the call. */
struct dmsg_authority_answer {
    size_t index;             /* of the certificate among those asked for */
    STACK_OF(X509) * issuers; /* from the one that issued it to the self-signed one; NULL: none */
    bool not_now;             /* without issuers: it may be otherwise later */
    const char *why;          /* why there are none; else "" */
};
typedef void dmsg_authority_done(void *user, const struct dmsg_authority_answer *answer);

/*
 * Climbs from each of a name's certificates, in their order, by authority key identifier. Called
 * back exactly once for each of them, from within step, all of them before `deadline`
 * (dmsg_now_ms) or soon after. Each issuer is a CA certificate that may have issued the one before
 * (RFC 5280 section 4.2.1.1: names and key identifiers); signatures, dates, names and path lengths
 * are judged by the caller. DMSG_E_QUOTA: too many names under way. DMSG_E_NAME: the name has no
 * authority host. DMSG_E_USAGE: more than DMSG_AUTHORITY_CERTIFICATES_MAX certificates, or none.
 */
int dmsg_authority_ask(struct dmsg_authority *authority, const struct dmsg_name *name,
    X509 *const *certificates, size_t count, int64_t deadline, dmsg_authority_done *done,
    void *user, struct dmsg_error *error) DMSG_MUST_CHECK;

/* "device.example.net" for "a.b._device.example.net": from the first label from the right that
   begins with an underscore, without that. DMSG_E_NAME: there is none, or what is left is no name.
 */
int dmsg_authority_host(
    struct dmsg_name *out, const struct dmsg_name *name, struct dmsg_error *error) DMSG_MUST_CHECK;

/* "d4-e5-0f": the authority key identifier of a certificate, as it stands in the URL of its issuer.
   DMSG_E_CERTIFICATE: it has none, or one that is longer than any hash. */
int dmsg_authority_key_id(char out[static DMSG_AKI_TEXT], const X509 *certificate,
    struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
