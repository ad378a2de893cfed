/* The broker options that send and receive share, with mosquitto's letters and meaning. */
#ifndef DANEMSG_CLI_BROKER_H
#define DANEMSG_CLI_BROKER_H

#include "broker_dane.h"
#include "common.h"
#include "danemsg/transport.h"

struct broker_options {
    const char *host, *url, *username, *password, *password_file;
    int64_t port, keepalive;
    const char *ca_file, *ca_folder, *certificate, *key, *id, *version;
    const char *tls_version, *alpn;
    bool tls, dane, identity_certificate, debug;
    const char *will_topic, *will_payload;
    int64_t will_qos;
    bool will_retain;
};
extern const struct option_group broker_group;

/* What the options come to. The texts that URL and password file are cut into live here, and what
   finds the broker's TLSA records: it must not move once it is open. */
struct broker {
    struct dmsg_mqtt_config config;
    bool identity_certificate; /* the identity's certificate is the client's */
    struct broker_dane dane;
    const char *topic; /* of the URL, NULL without one */
    struct dmsg_buffer url, password;
};

/* DMSG_E_USAGE: options that do not go together; DMSG_E_LOCAL: the password file. program is kept
   for debug lines and must outlive it. */
int broker_read(struct broker *out, const struct broker_options *given, const char *program,
    struct dmsg_error *error) DMSG_MUST_CHECK;

/* dmsg_mqtt_new with what is to come from DNS (--broker-dane) and from the identity
   (--identity-cert). Both are borrowed as long as the connection lives. DMSG_E_LOCAL: the identity
   has no certificate. */
int broker_open(struct dmsg_mqtt **out, struct broker *broker, struct dmsg_discovery *discovery,
    const struct dmsg_identity *identity, struct dmsg_error *error) DMSG_MUST_CHECK;

/* After the connection and the discovery. */
void broker_done(struct broker *broker);

/* Waits up to `most` milliseconds for something to happen and handles it; what was read is
   acknowledged (a sender gets no messages). DMSG_E_BROKER. */
int broker_step(struct dmsg_mqtt *mqtt, int most, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
