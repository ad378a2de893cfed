/*
 * Finding the keys of a name in DNS, validated with DNSSEC on this host.
 *
 * Resolution runs in a process of its own: what a stranger's zone can reach holds no key. The
 * interface is asynchronous, with a descriptor to poll and a step function; the blocking calls
 * are made of the same parts.
 *
 *     struct dmsg_discovery *discovery;
 *     dmsg_discovery_new(&discovery, &context, &config, &error);
 *     const struct dmsg_peer *peer;
 *     dmsg_discovery_find(discovery, &name, 5000, &peer, &error);     blocking, cached
 *     ... dmsg_peer_recipient_key(peer, &error), dmsg_open_finish(.., peer, ..), or
 *         dmsg_peer_verify_certificate(&by, peer, &der, 1, dmsg_context_now(&context), &error) ...
 *     dmsg_peer_release(peer);
 *
 * A resolver or discovery belongs to one thread at a time. Its process is a child of the program:
 * do not reap children that are not yours (wait, waitpid(-1)). It ends with the thread that started
 * it, and the next step starts another.
 *
 * Not checked here: whether the name may be asked for at all; that is the caller's policy.
 */
#ifndef DANEMSG_RESOLVER_H
#define DANEMSG_RESOLVER_H

#include "danemsg/context.h"
#include "danemsg/identity.h"
#include "danemsg/name.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Records looked at for one name after filtering by kid, and octets of one record. */
#define DMSG_PEER_KEYS_MAX 8
#define DMSG_TLSA_RDATA_MAX 8192
/* Records that an answer may hold at all; more are not read. */
#define DMSG_ANSWER_RECORDS_MAX 64

/* Needed only during dmsg_resolver_new or dmsg_discovery_new. */
struct dmsg_resolver_config {
    const char *const *servers; /* "ADDR[@PORT]"; none: the system's resolvers */
    size_t server_count;
    const char *const *stubs; /* "ZONE=ADDR[@PORT]" */
    size_t stub_count;
    const char *trust_anchor; /* file of DS or DNSKEY records; NULL: the root's */
    /* Folder in which the root's anchor is kept up to date (RFC 5011), written by the process
       alone; NULL, or with a trust_anchor: nothing is kept, an up-to-date file is only read. */
    const char *trust_folder;
    bool trust_read_only; /* another process keeps that folder: its file is only read */
    bool for_strangers;   /* strangers choose the names: name servers of theirs in private networks
                             are not asked, but for those of a stub */
    const char *program;  /* what to execute as the resolver; NULL: libexec/danemsg-resolver */
    /* From argv[1] on, NULL-terminated, at most 8; may be NULL. argv[0] is "danemsg-resolver". */
    const char *const *program_arguments;
};

/* RFC 4033 section 5, and "not now": four things, never one flag. */
enum dmsg_dns_status { DMSG_DNS_SECURE, DMSG_DNS_INSECURE, DMSG_DNS_BOGUS, DMSG_DNS_NOT_NOW };

/* ---------------------------------------------------------------------- the resolver's answer */

struct dmsg_answer {
    struct dmsg_name name;      /* as asked */
    struct dmsg_name canonical; /* end of the CNAME chain; the name itself without one, or when it
                                   is no name as ours */
    enum dmsg_dns_status status;
    bool nxdomain; /* no such name; with no records and not nxdomain: no such type */
    uint32_t ttl;  /* seconds, as received */
    char why[256]; /* why it is bogus or not now, printable; else empty */
    char via[96];  /* for people: who was asked and how, "127.0.0.1@53, over UDP or TCP" */
    /* Seconds since 1970: when the first of the signatures over the chain of CNAMEs and the records
       (or the denial) expires; 0 unless secure. */
    int64_t signed_until;
    uint32_t cached_for; /* seconds that a cache on its way to us goes on having it; 0: none had it,
                            as far as the signatures tell */
    size_t oversized;    /* records left out, since they have over DMSG_TLSA_RDATA_MAX octets; 255:
                            more than that */
    size_t count;        /* TLSA records, whatever the status */
    struct dmsg_span records[DMSG_ANSWER_RECORDS_MAX]; /* rdata, sorted, inside the answer */
};

struct dmsg_resolver;

/* Called by dmsg_resolver_step, once per question. The answer is borrowed for the call. */
typedef void dmsg_resolver_done(void *user, const struct dmsg_answer *answer);

/*
 * Starts the process, with the system's resolvers, the configured servers, or none (then it asks
 * the authoritative servers itself, as it does when the system's strip DNSSEC). DMSG_E_USAGE: an
 * address or zone that is none. DMSG_E_LOCAL: the program cannot be executed, or the trust anchor
 * file cannot be read or is malformed; the text names the file. DMSG_E_INTERNAL: nothing left of
 * memory, descriptors or processes.
 */
int dmsg_resolver_new(struct dmsg_resolver **out, const struct dmsg_resolver_config *config,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* Ends the process. Open questions are dropped: nobody is called back. */
void dmsg_resolver_free(struct dmsg_resolver **resolver);

/* Poll this for reading, then call step. It stays the same, and also becomes readable when it is
   time for a step. */
int dmsg_resolver_fd(const struct dmsg_resolver *resolver);

/* Asks for the TLSA records at exactly this name. DMSG_E_QUOTA: too many questions under way.
   Every accepted question is answered, if need be with DMSG_DNS_NOT_NOW after 10 seconds. */
int dmsg_resolver_ask(struct dmsg_resolver *resolver, const struct dmsg_name *name,
    dmsg_resolver_done *done, void *user, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Reads what is there without blocking, answers, kills and restarts a process that hangs or died.
   Milliseconds until it wants to be called again at the latest. DMSG_E_USAGE: called from within
   one of its own callbacks. */
int dmsg_resolver_step(struct dmsg_resolver *resolver, struct dmsg_error *error) DMSG_MUST_CHECK;

/* The resolver process itself: main() of libexec/danemsg-resolver. Talks on descriptor 3. */
int dmsg_resolver_main(int argc, char **argv);

/* -------------------------------------------------------------------------- the keys of a name */

struct dmsg_peer_key {
    uint8_t usage, selector, matching_type; /* RFC 6698 section 2.1 */
    unsigned purposes;                      /* enum dmsg_key_purpose; 0: not usable, see why */
    bool by_x5c;                            /* no key, but it verifies messages that bring their
                                               certificates (RFC 7515 section 4.1.6) */
    EVP_PKEY *key;                          /* public; NULL for a digest or an unusable record */
    X509 *certificate;          /* NULL without one; in an unusable record only to be shown */
    char kid[DMSG_KEY_ID_SIZE]; /* empty without a key */
    /* Seconds since 1970; INT64_MIN and INT64_MAX for a bare key or digest. Of the certificate, and
       in a key that counts by a chain of all certificates in it. */
    int64_t not_before, not_after;
    struct dmsg_span rdata;
    char why[200]; /* why it is not usable, or a warning (expired, usage 3); else empty */
};

/* The set of judged keys of a name. Immutable; counted references, safe between threads. */
struct dmsg_peer {
    struct dmsg_name name; /* the identity: the name asked for, whatever a CNAME says */
    struct dmsg_name canonical;
    enum dmsg_dns_status status;
    bool exists; /* a secure answer with at least one TLSA record, oversized ones included */
    bool nxdomain;
    bool from_cache;    /* not asked of DNS just now, or perhaps answered by a cache on the way, of
                           the resolver process or before it: may accept, but not finally refuse */
    bool stale;         /* past its TTL, since DNS gives no answer (serve_stale) */
    int64_t fetched_at; /* seconds since 1970, the context's clock */
    int64_t expires_at; /* fetched_at + TTL, between 60 s and 24 h; denials and insecure answers
                           60 s at most; bogus and not now: fetched_at, they are never cached */
    uint32_t ttl;       /* as received */
    char why[256];
    char via[96];         /* as in the answer */
    int64_t signed_until; /* as in the answer */
    size_t oversized;     /* as in the answer */
    size_t count;         /* in the order of their rdata */
    struct dmsg_peer_key *keys;
};

/*
 * What some usages need beside DNS: the CAs of this system, as OpenSSL finds them (SSL_CERT_FILE,
 * SSL_CERT_DIR), read when the first name needs them; intermediates out of a PEM file (NULL: none);
 * whether usage 4 counts. May be shared by threads. DMSG_E_LOCAL: the ca_file cannot be read.
 */
struct dmsg_judge;
int dmsg_judge_new(struct dmsg_judge **out, const char *ca_file, bool pkix_cd,
    struct dmsg_error *error) DMSG_MUST_CHECK;
/* Peers that it judged stay valid, and keep what they need of it. */
void dmsg_judge_free(struct dmsg_judge **judge);

/*
 * Judges an answer (doc/PROTOCOL.md, "Which key speaks for a name"), and keeps a copy of all that
 * it needs. judge NULL: usages that need CAs, and usage 4, give no key. Only DMSG_E_INTERNAL, no
 * memory: whatever is in the answer becomes a peer.
 */
int dmsg_peer_judge(const struct dmsg_peer **out, const struct dmsg_context *context,
    struct dmsg_judge *judge, const struct dmsg_answer *answer,
    struct dmsg_error *error) DMSG_MUST_CHECK;
const struct dmsg_peer *dmsg_peer_retain(const struct dmsg_peer *peer);
void dmsg_peer_release(const struct dmsg_peer *peer);

/*
 * The key to encrypt to: usable, newest notBefore, a bare key counting as oldest, ties by the
 * lowest kid. NULL and the error that says why not: DMSG_E_DNS_TEMPORARY, DMSG_E_DNS_BOGUS,
 * DMSG_E_DNS_INSECURE, DMSG_E_NO_IDENTITY (no record), DMSG_E_CERTIFICATE (no usable one).
 */
const struct dmsg_peer_key *dmsg_peer_recipient_key(
    const struct dmsg_peer *peer, struct dmsg_error *error);

/*
 * The keys that may verify: with kid those that have it, without (poc) every usable one; at most
 * DMSG_PEER_KEYS_MAX. Returns how many (pointers into the peer), or the negative code of the
 * reason why there is none, as above.
 */
int dmsg_peer_sender_keys(const struct dmsg_peer *peer, struct dmsg_span kid,
    const struct dmsg_peer_key *out[DMSG_PEER_KEYS_MAX], struct dmsg_error *error) DMSG_MUST_CHECK;

/* By which record a name speaks for a certificate. */
struct dmsg_testimony {
    uint8_t usage, selector, matching_type; /* RFC 6698 section 2.1 */
    char why[200];                          /* a warning (expired, usage 3); else empty */
};

/*
 * Does the name speak for this certificate, wherever it was shown? In DER, the leaf first, then at
 * most DMSG_ISSUERS_MAX issuers, each of the one before: usages 0 and 2 need them, 1 may. The name
 * is the peer's: who shows the certificate must still prove that the key is theirs. now: seconds
 * since 1970 (dmsg_context_now). DMSG_E_USAGE: no certificate, or too many. DMSG_E_CERTIFICATE: it
 * is none, or no record speaks for it. DMSG_E_NO_IDENTITY, DMSG_E_DNS_TEMPORARY, DMSG_E_DNS_BOGUS,
 * DMSG_E_DNS_INSECURE: what is wrong with the answer.
 */
int dmsg_peer_verify_certificate(struct dmsg_testimony *out, const struct dmsg_peer *peer,
    const struct dmsg_span *certificates, size_t count, int64_t now,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* ------------------------------------------------------------- discovery: resolver and cache */

/* Needed only during dmsg_discovery_new, apart from is_listed and its user. */
struct dmsg_discovery_config {
    struct dmsg_resolver_config resolver;

    /* Names of strangers are resolved by a process of their own, with a cache of its own, and
       their questions are bounded by zone, by second and in total. NULL: every name was chosen by
       the caller, and there is one process. */
    bool (*is_listed)(void *user, const struct dmsg_name *name);
    void *user;

    /* Seconds that a secure answer with records may be used beyond its TTL while DNS gives none,
       never beyond the validity of its signatures; 0: not at all. */
    int64_t serve_stale;

    const char *ca_file; /* PEM file of intermediate certificates for usage 1; may be NULL */

    bool pkix_cd; /* usage 4, with CA certificates fetched over HTTPS by a third process */
    /* "HOST=ADDR[@PORT]": where an authority host is reached, whatever its address (a private one
       too); else its addresses are looked up, public ones only, port 443. */
    const char *const *authorities;
    size_t authority_count;
};

struct dmsg_discovery;
/* As dmsg_resolver_new. Borrows the context. DMSG_E_LOCAL also: the ca_file cannot be read.
   DMSG_E_USAGE also: an authority that is none. */
int dmsg_discovery_new(struct dmsg_discovery **out, const struct dmsg_context *context,
    const struct dmsg_discovery_config *config, struct dmsg_error *error) DMSG_MUST_CHECK;
/* What a person should know of it, for instance that the root's trust anchors cannot be kept up to
   date; mostly "". May change with a step. */
const char *dmsg_discovery_note(const struct dmsg_discovery *discovery);
/* What keeps a captured resolver process from doing more than resolve. Both depend on the kernel;
   limits, and no new privileges, hold with every one. */
enum dmsg_sandbox {
    DMSG_SANDBOX_SECCOMP = 1,  /* system calls by an allow-list */
    DMSG_SANDBOX_LANDLOCK = 2, /* no files, TCP to the ports of name servers only */
};
/* Which of them hold for all resolver processes, by their own word; negative: none has told yet,
   which it does before its first answer. */
int dmsg_discovery_sandbox(const struct dmsg_discovery *discovery);
/* Whoever waits is not called back. Peers that were given out stay valid. */
void dmsg_discovery_free(struct dmsg_discovery **discovery);

/* From the cache: a reference for the caller to release, or NULL. Never asks. */
const struct dmsg_peer *dmsg_discovery_get(
    struct dmsg_discovery *discovery, const struct dmsg_name *name);

/* Called by dmsg_discovery_step; the peer is borrowed for the call. NULL: nobody is called, the
   answer is wanted in the cache only. */
typedef void dmsg_discovery_done(void *user, const struct dmsg_peer *peer);

/*
 * Asks afresh; one question per name is under way at a time, later callers share it. DMSG_E_QUOTA:
 * too many under way, 32 of one zone (the last two labels) or 256 in all; of strangers 8 and 256,
 * and more than their budgets by time allow: ten at once and two a second of a zone, 100 a second
 * of all. Another name may be asked for all the same. May be called from within a callback. Afresh
 * means past this cache; the process's own keeps records for their TTL, denials and failures 5 s,
 * bogus answers 10 s. Who must see past that too makes a new discovery.
 */
int dmsg_discovery_ask(struct dmsg_discovery *discovery, const struct dmsg_name *name,
    dmsg_discovery_done *done, void *user, struct dmsg_error *error) DMSG_MUST_CHECK;
/* The question goes on, for the cache, but those who asked it with this user are not told. */
void dmsg_discovery_forget(
    struct dmsg_discovery *discovery, const struct dmsg_name *name, void *user);
/* As dmsg_resolver_fd and dmsg_resolver_step. */
int dmsg_discovery_fd(const struct dmsg_discovery *discovery);
int dmsg_discovery_step(struct dmsg_discovery *discovery, struct dmsg_error *error) DMSG_MUST_CHECK;

/* Blocking: from the cache, else asks and waits. The reference is the caller's to release.
   DMSG_E_DNS_TEMPORARY after timeout milliseconds. A peer of any status is a success. Meanwhile
   others' callbacks are called; not to be called from within one (DMSG_E_USAGE). */
int dmsg_discovery_find(struct dmsg_discovery *discovery, const struct dmsg_name *name, int timeout,
    const struct dmsg_peer **out, struct dmsg_error *error) DMSG_MUST_CHECK;
/* As find, but never from the cache. */
int dmsg_discovery_find_fresh(struct dmsg_discovery *discovery, const struct dmsg_name *name,
    int timeout, const struct dmsg_peer **out, struct dmsg_error *error) DMSG_MUST_CHECK;

#ifdef __cplusplus
}
#endif

#endif
