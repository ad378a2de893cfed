/*
 * HTTPS as PKIX-CD needs it, and no more: a small file from https://HOST/.well-known/ca/AKI.pem.
 * Port 443, no redirects, no proxies, TLS 1.2 or later, the server's certificate verified for the
 * host against the system's CAs, and only addresses that a stranger may let us connect to. libcurl
 * is behind this.
 */
#ifndef DANEMSG_DANE_FETCH_CURL_H
#define DANEMSG_DANE_FETCH_CURL_H

#include "dane/fetch_frame.h"

/* Milliseconds that a fetch takes at most, finding the address included. */
#define DMSG_FETCH_MS 5000

struct dmsg_https;

/* Called by dmsg_https_turn, once per fetch. */
typedef void dmsg_https_done(void *user, uint32_t id, const struct dmsg_fetched *fetched);

/* trust: CA certificates in PEM, borrowed. DMSG_E_LOCAL as dmsg_curl_load. */
int dmsg_https_new(struct dmsg_https **out, struct dmsg_span trust, dmsg_https_done *done,
    void *user, struct dmsg_error *error) DMSG_MUST_CHECK;

/* pin: the host's, or NULL. DMSG_E_QUOTA: DMSG_FETCHES_MAX are under way. */
int dmsg_https_start(struct dmsg_https *https, uint32_t id, const struct dmsg_fetch *fetch,
    const struct dmsg_pin *pin, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Waits until something can be done, for a fetch or at fd, and does it for the fetches.
 *events: poll's, wanted at fd and then found. */
int dmsg_https_turn(
    struct dmsg_https *https, int fd, short *events, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
