/* The broker options that send and receive share, with mosquitto's letters and meaning. */
#ifndef DANEMSG_CLI_BROKER_H
#define DANEMSG_CLI_BROKER_H

#include "common.h"
#include "danemsg/transport.h"

struct broker_options {
    const char *host, *url, *username, *password, *password_file;
    int64_t port, keepalive;
    const char *ca_file, *ca_folder, *certificate, *key, *id, *version;
    bool tls, debug;
    const char *will_topic, *will_payload;
    int64_t will_qos;
    bool will_retain;
};
extern const struct option_group broker_group;

/* What the options come to. The texts that URL and password file are cut into live here. */
struct broker {
    struct dmsg_mqtt_config config;
    const char *topic; /* of the URL, NULL without one */
    struct dmsg_buffer url, password;
};

/* DMSG_E_USAGE: options that do not go together; DMSG_E_LOCAL: the password file. program is kept
   for debug lines and must outlive it. */
int broker_read(struct broker *out, const struct broker_options *options, const char *program,
    struct dmsg_error *error) DMSG_MUST_CHECK;
void broker_done(struct broker *broker);

/* Waits for something to happen and handles it; what was read is acknowledged (a sender gets no
   messages). DMSG_E_BROKER. */
int broker_step(struct dmsg_mqtt *mqtt, struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
