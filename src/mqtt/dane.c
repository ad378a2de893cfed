/* The broker's certificate and its TLSA records (RFC 7671): OpenSSL matches them. */
#include "base/fail.h"
#include "mqtt/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <string.h>

/* Usage, selector and matching type, before the association data (RFC 6698 section 2.1). */
#define FIELDS 3
/* Octets of all records: as many as an answer may hold, of ordinary size. */
#define OCTETS_MAX (256 * 1024)

/* Verified, and by a record: OpenSSL judges by CAs alone when it was given no record. */
static int verify(X509_STORE_CTX *store, void *user)
{
    struct dmsg_mqtt_tls *tls = user;
    const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
    union {
        const SSL *in;
        SSL *out;
    } same = {.in = ssl}; /* the question has no const, though it changes nothing */
    int verified = X509_verify_cert(store);
    if (verified != 1 || SSL_get0_dane_authority(same.out, NULL, NULL) >= 0)
        return verified;
    X509_STORE_CTX_set_error(store, X509_V_ERR_DANE_NO_MATCH);
    snprintf(tls->why, sizeof tls->why,
        "the broker's certificate was not matched with its TLSA "
        "records");
    return 0;
}

int dmsg_mqtt_tls_use_dane(struct dmsg_mqtt_tls *tls, struct dmsg_error *error)
{
    if (tls->literal)
        return dmsg_fail(error, DMSG_E_USAGE,
            "TLSA records are at a name: the broker %s is an address", tls->host);
    if (SSL_CTX_dane_enable(tls->context) != 1)
        return dmsg_fail_openssl(error, "preparing DANE for the broker");
    /* The record names the key; what its certificate says beyond that does not count (RFC 7671
       section 5.1). */
    (void)SSL_CTX_dane_set_flags(tls->context, DANE_FLAG_NO_DANE_EE_NAMECHECKS);
    SSL_CTX_set_cert_verify_callback(tls->context, verify, tls);
    tls->octets.limit = OCTETS_MAX;
    tls->dane = true;
    return 0;
}

/* 1 when OpenSSL can use it, 0 when not (RFC 7671 section 4), negative when it is no record. */
static int add(SSL *ssl, const struct dmsg_mqtt_tls *tls, const struct dmsg_tls_record *record)
{
    return SSL_dane_tlsa_add(ssl, record->usage, record->selector, record->matching_type,
        tls->octets.data + record->at, record->size);
}

static void keep_if_usable(struct dmsg_mqtt_tls *tls, SSL *ssl, struct dmsg_span rdata)
{
    if (rdata.size <= FIELDS || tls->record_count == DMSG_MQTT_RECORDS_MAX)
        return;
    struct dmsg_tls_record *record = &tls->records[tls->record_count];
    *record = (struct dmsg_tls_record){.usage = rdata.data[0],
        .selector = rdata.data[1],
        .matching_type = rdata.data[2],
        .at = tls->octets.size,
        .size = rdata.size - FIELDS};
    dmsg_buffer_put(&tls->octets, rdata.data + FIELDS, rdata.size - FIELDS);
    if (!tls->octets.failed && add(ssl, tls, record) == 1)
        tls->record_count++;
    else if (!tls->octets.failed)
        tls->octets.size = record->at;
}

int dmsg_mqtt_tls_set_records(
    struct dmsg_mqtt_tls *tls, const struct dmsg_mqtt_records *records, struct dmsg_error *error)
{
    tls->record_count = 0;
    dmsg_buffer_reset(&tls->octets);
    SSL *trial = SSL_new(tls->context);
    if (trial == NULL || SSL_dane_enable(trial, tls->host) != 1) {
        SSL_free(trial);
        return dmsg_fail_openssl(error, "preparing DANE for the broker");
    }
    for (size_t i = 0; i < records->count; i++)
        keep_if_usable(tls, trial, records->rdata[i]);
    SSL_free(trial);
    ERR_clear_error();
    if (tls->record_count > 0)
        return 0;
    return dmsg_fail(error, DMSG_E_CERTIFICATE,
        "none of its %zu TLSA records can be used to judge a server's certificate (usage 0 to 3, "
        "RFC 7671 section 4)",
        records->count);
}

void dmsg_mqtt_tls_begin_dane(const struct dmsg_mqtt_tls *tls, SSL *ssl)
{
    if (SSL_get_app_data(ssl) != NULL) /* a later message of the same connection */
        return;
    SSL_set_app_data(ssl, tls->context);
    if (SSL_dane_enable(ssl, tls->host) != 1)
        return;
    for (size_t i = 0; i < tls->record_count; i++)
        (void)add(ssl, tls, &tls->records[i]);
}
