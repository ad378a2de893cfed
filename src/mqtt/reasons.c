#include "mqtt/reasons.h"

#include <stddef.h>

struct reason {
    int code;
    const char *words;
};

static const struct reason reasons[] = {
    {0x00, "Success"},
    {0x01, "Granted QoS 1"},
    {0x02, "Granted QoS 2"},
    {0x04, "Disconnect with Will Message"},
    {0x10, "No matching subscribers"},
    {0x11, "No subscription existed"},
    {0x18, "Continue authentication"},
    {0x19, "Re-authenticate"},
    {0x80, "Unspecified error"},
    {0x81, "Malformed Packet"},
    {0x82, "Protocol Error"},
    {0x83, "Implementation specific error"},
    {0x84, "Unsupported Protocol Version"},
    {0x85, "Client Identifier not valid"},
    {0x86, "Bad User Name or Password"},
    {0x87, "Not authorized"},
    {0x88, "Server unavailable"},
    {0x89, "Server busy"},
    {0x8A, "Banned"},
    {0x8B, "Server shutting down"},
    {0x8C, "Bad authentication method"},
    {0x8D, "Keep Alive timeout"},
    {0x8E, "Session taken over"},
    {0x8F, "Topic Filter invalid"},
    {0x90, "Topic Name invalid"},
    {0x91, "Packet Identifier in use"},
    {0x92, "Packet Identifier not found"},
    {0x93, "Receive Maximum exceeded"},
    {0x94, "Topic Alias invalid"},
    {0x95, "Packet too large"},
    {0x96, "Message rate too high"},
    {0x97, "Quota exceeded"},
    {0x98, "Administrative action"},
    {0x99, "Payload format invalid"},
    {0x9A, "Retain not supported"},
    {0x9B, "QoS not supported"},
    {0x9C, "Use another server"},
    {0x9D, "Server moved"},
    {0x9E, "Shared Subscriptions not supported"},
    {0x9F, "Connection rate exceeded"},
    {0xA0, "Maximum connect time"},
    {0xA1, "Subscription Identifiers not supported"},
    {0xA2, "Wildcard Subscriptions not supported"},
};

static const struct reason old_reasons[] = {
    {1, "unacceptable protocol version"},
    {2, "client id rejected"},
    {3, "broker unavailable"},
    {4, "bad user name or password"},
    {5, "Not authorized"},
};

#define ENTRIES(table) (sizeof(table) / sizeof((table)[0]))

static const char *find(const struct reason *table, size_t count, int code)
{
    for (size_t i = 0; i < count; i++) {
        if (table[i].code == code)
            return table[i].words;
    }
    return "a reason that MQTT does not have";
}

const char *dmsg_reason_words(int code)
{
    return find(reasons, ENTRIES(reasons), code);
}

const char *dmsg_reason_connack(int code)
{
    return code < 0x80 ? find(old_reasons, ENTRIES(old_reasons), code) : dmsg_reason_words(code);
}

const char *dmsg_reason_advice(int code)
{
    switch (code) {
    case 1:
    case 0x84:
        return "; try the other version of MQTT";
    case 4:
    case 5:
    case 0x86:
    case 0x87:
        return "; check user name, password and the broker's access rules";
    case 2:
    case 0x85:
        return "; choose another client id";
    default:
        return "";
    }
}
