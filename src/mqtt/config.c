#include "mqtt/config.h"

#include "base/fail.h"

#include <openssl/rand.h>
#include <string.h>

/* Strings of MQTT have a length of 16 bits (MQTT 5 section 1.5.4); libmosquitto does not look. */
#define STRING_MAX 65535
#define KEEPALIVE_DEFAULT 60

/* 23 letters and digits are what every broker must take (MQTT 3.1.1 section 3.1.3.1). Nobody else
   shall guess it: who has it takes the session over. */
static int make_client_id(char out[static DMSG_CLIENT_ID_SIZE], struct dmsg_error *error)
{
    static const char alphabet[] = "abcdefghijklmnopqrstuvwxyz234567";
    uint8_t random[DMSG_CLIENT_ID_SIZE - 1];
    if (RAND_bytes(random, sizeof random) != 1)
        return dmsg_fail_openssl(error, "making a client id");
    for (size_t i = 0; i < sizeof random; i++)
        out[i] = alphabet[random[i] % 32];
    out[sizeof random] = '\0';
    return 0;
}

static int check_text(const char *text, const char *what, struct dmsg_error *error)
{
    if (text != NULL && strlen(text) > STRING_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "the %s is longer than MQTT allows", what);
    return 0;
}

static int check_config(const struct dmsg_mqtt_config *config, struct dmsg_error *error)
{
    if (config->port < 0 || config->port > 65535)
        return dmsg_fail(error, DMSG_E_USAGE, "a port is a number up to 65535");
    if (config->version != 5 && config->version != 311)
        return dmsg_fail(error, DMSG_E_USAGE, "the version of MQTT is 5 or 311");
    if (config->keepalive < 5 || config->keepalive > 65535)
        return dmsg_fail(error, DMSG_E_USAGE, "the keepalive time is 5 to 65535 seconds");
    if (config->packet_limit > UINT32_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "the packet limit is larger than MQTT allows");
    if (config->password != NULL && config->username == NULL)
        return dmsg_fail(error, DMSG_E_USAGE, "a password for the broker needs a user name");
    if (config->tls_version != 0 && config->tls_version != 12 && config->tls_version != 13)
        return dmsg_fail(error, DMSG_E_USAGE, "the least version of TLS is 12 or 13");
    if (config->dane &&
        (!config->tls || config->dane_source == NULL || config->dane_source->fd < 0))
        return dmsg_fail(error, DMSG_E_USAGE, "DANE needs TLS, and a source of TLSA records");
    if (config->will_qos < 0 || config->will_qos > 2 || config->will_payload.size > STRING_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "the will is out of MQTT's bounds");
    int code = check_text(config->client_id, "client id", error);
    if (code == 0)
        code = check_text(config->username, "user name", error);
    if (code == 0)
        code = check_text(config->password, "password", error);
    return code < 0 ? code : check_text(config->will_topic, "will's topic", error);
}

static void fill_in_defaults(struct dmsg_mqtt_config *config)
{
    if (config->host == NULL)
        config->host = "localhost";
    if (config->port == 0)
        config->port = config->tls ? 8883 : 1883;
    if (config->version == 0)
        config->version = 5;
    if (config->keepalive == 0)
        config->keepalive = KEEPALIVE_DEFAULT;
    if (config->session_expiry == 0)
        config->session_expiry = DMSG_SESSION_EXPIRY_DEFAULT;
    if (config->packet_limit == 0)
        config->packet_limit = DMSG_PACKET_LIMIT_DEFAULT;
}

int dmsg_mqtt_config_complete(struct dmsg_mqtt_config *config,
    char client_id[static DMSG_CLIENT_ID_SIZE], struct dmsg_error *error)
{
    fill_in_defaults(config);
    int code = check_config(config, error);
    if (code < 0 || config->client_id != NULL)
        return code;
    config->client_id = client_id;
    return make_client_id(client_id, error);
}
