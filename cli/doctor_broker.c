/*
 * danemsg doctor: the broker. Two connections, both with random client ids and no session that
 * outlives them: one learns what the broker grants, the other whether it lets us subscribe to our
 * own name, by ourselves, so that a group's receivers lose nothing to it. Nothing is published.
 */
#include "base/fail.h"
#include "base/monotonic.h"
#include "danemsg/message.h"
#include "doctor.h"
#include "memory_bound.h"
#include "mqtt/facts.h"

#include <poll.h>

/* What a packet has beside the envelope: headers, topic and properties. */
#define PACKET_OVERHEAD 512

static int wait_ms(const struct doctor *doctor)
{
    return (int)doctor->options->wait * 1000;
}

/* -------------------------------------------------------------------------------- reaching it */

/* As receive does, but for the session. */
static void prepare(struct dmsg_mqtt_config *config)
{
    config->client_id = NULL;
    config->clean = true;
    config->tries_session = true;
    config->session_expiry = DMSG_LIFE_MAX;
    config->will_topic = NULL;
    config->will_payload = (struct dmsg_span){0};
    config->will_qos = 0;
    config->will_retain = false;
}

static void say_reached(struct doctor *doctor)
{
    const struct dmsg_mqtt_config *config = &doctor->broker.config;
    doctor_ok(doctor, "%.200s lets us in: MQTT %s, %s, %s",
        config->host != NULL ? config->host : "localhost", config->version == 311 ? "3.1.1" : "5",
        !config->tls   ? "without TLS"
        : config->dane ? "TLS by its TLSA record"
                       : "TLS by CAs",
        config->username != NULL ? "with a user name" : "without a user name");
}

static const char *advice_for(int code)
{
    switch (code) {
    case DMSG_E_LOCAL:
    case DMSG_E_CERTIFICATE:
    case DMSG_E_USAGE:
        return NULL;
    case DMSG_E_DNS_TEMPORARY:
    case DMSG_E_DNS_BOGUS:
    case DMSG_E_DNS_INSECURE:
    case DMSG_E_NO_IDENTITY:
        return "see 'resolver', and the TLSA record of the broker";
    default:
        return "see that it runs, that host, port and TLS are the right ones (-h, -p, --cafile), "
               "and "
               "that it knows this user (-u, --password-file)";
    }
}

void doctor_broker(struct doctor *doctor)
{
    struct dmsg_error why;
    prepare(&doctor->broker.config);
    if (doctor->broker.config.dane && doctor->discovery == NULL) {
        doctor_pass(
            doctor, "not checked, since '%s' failed and --broker-dane needs it", "trust-anchor");
        return;
    }
    if (doctor->broker.identity_certificate && doctor->me == NULL) {
        doctor_pass(doctor, "not checked, since 'identity' failed and --identity-cert needs it");
        return;
    }
    if (doctor->broker.config.version != 311)
        memory_bound((size_t)doctor->options->size_limit, 0);
    int result = broker_open(&doctor->mqtt, &doctor->broker, doctor->discovery, doctor->me, &why);
    if (result == 0)
        result = dmsg_mqtt_wait_connected(doctor->mqtt, wait_ms(doctor), &why);
    if (result < 0)
        doctor_fail(doctor, result == DMSG_E_TIMEOUT ? DMSG_E_BROKER : result, advice_for(result),
            "%s", why.text);
    else
        say_reached(doctor);
}

/* ------------------------------------------------------------------------------------- limits */

static void check_packets(struct doctor *doctor, const struct dmsg_link_welcome *welcome)
{
    size_t wanted = (size_t)doctor->options->size_limit + PACKET_OVERHEAD;
    if (welcome->packet_maximum == 0)
        doctor_ok(doctor, "it says of no largest packet");
    else if (welcome->packet_maximum < wanted)
        doctor_warn(doctor, DMSG_E_SIZE,
            "raise the broker's limit (mosquitto: max_packet_size), or lower MAX_MESSAGE_SIZE",
            "it takes packets of %u octets at most, and a message may need %zu",
            (unsigned)welcome->packet_maximum, wanted);
    else
        doctor_ok(doctor, "it takes packets of %u octets", (unsigned)welcome->packet_maximum);
}

static void check_session(struct doctor *doctor, const struct dmsg_link_welcome *welcome)
{
    const char *advice = "let the broker keep sessions for as long as a receiver may be away";
    if (!welcome->has_session_expiry || welcome->session_expiry >= DMSG_LIFE_MAX)
        doctor_ok(doctor, "it keeps a session for the %d days that a message lives at most",
            DMSG_LIFE_MAX / 86400);
    else if (welcome->session_expiry == 0)
        doctor_warn(doctor, DMSG_E_BROKER, advice,
            "it keeps no session: what is sent while a receiver is away is lost");
    else
        doctor_warn(doctor, DMSG_E_BROKER, advice,
            "it keeps a session for %u seconds: what is sent while a receiver is away for longer "
            "is "
            "lost",
            (unsigned)welcome->session_expiry);
}

static void check_features(struct doctor *doctor, const struct dmsg_link_welcome *welcome)
{
    if (welcome->qos_maximum < 1)
        doctor_warn(doctor, DMSG_E_BROKER, "let it have QoS 1 (mosquitto: max_qos)",
            "it has quality of service 0 only: messages may be lost");
    else
        doctor_ok(doctor, "it has quality of service %d", welcome->qos_maximum);
    if (!welcome->retains)
        doctor_warn(doctor, DMSG_E_BROKER, "let it retain (mosquitto: retain_available)",
            "it retains no messages: `danemsg send --retain` is refused");
    if (!welcome->shared && doctor->options->group != NULL)
        doctor_fail(doctor, DMSG_E_BROKER, "another broker, or a receiver without --group",
            "it has no shared subscriptions, which --group needs");
}

void doctor_limits(struct doctor *doctor)
{
    const struct dmsg_link_welcome *welcome = dmsg_mqtt_welcome(doctor->mqtt);
    if (doctor->broker.config.version == 311) {
        doctor_pass(doctor, "MQTT 3.1.1 has no words for them");
        return;
    }
    check_packets(doctor, welcome);
    check_session(doctor, welcome);
    check_features(doctor, welcome);
}

/* -------------------------------------------------------------------------------- subscription */

/* What comes is the receiver's copy as well; this one is thrown away. */
static int wait_subscribed(struct dmsg_mqtt *mqtt, int most, struct dmsg_error *error)
{
    int64_t until = dmsg_now_ms() + most;
    while (!dmsg_mqtt_subscribed(mqtt)) {
        int64_t left = until - dmsg_now_ms();
        if (left <= 0)
            return dmsg_fail(error, DMSG_E_BROKER, "it does not answer in time");
        int result = broker_step(mqtt, (int)left, error);
        if (result < 0)
            return result;
    }
    return 0;
}

void doctor_subscription(struct doctor *doctor)
{
    struct dmsg_error why;
    struct dmsg_mqtt *mqtt = NULL;
    const char *topic = doctor->broker.topic != NULL ? doctor->broker.topic : doctor->name.text;
    doctor->broker.config.tries_session = false;
    int result = dmsg_mqtt_new(&mqtt, &doctor->broker.config, &why);
    if (result == 0)
        result = dmsg_mqtt_subscribe(mqtt, topic, &why);
    if (result == 0)
        result = dmsg_mqtt_wait_connected(mqtt, wait_ms(doctor), &why);
    if (result == 0)
        result = wait_subscribed(mqtt, wait_ms(doctor), &why);
    if (result < 0)
        doctor_fail(doctor, result == DMSG_E_TIMEOUT ? DMSG_E_BROKER : result,
            "let the broker's rules (ACL) allow this user to read that topic", "%s", why.text);
    else
        doctor_ok(doctor, "it lets us subscribe to %s", topic);
    dmsg_mqtt_free(&mqtt);
}
