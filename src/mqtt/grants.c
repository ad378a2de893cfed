/* What the broker granted, compared with what was asked. */
#include "base/utf8.h"
#include "mqtt/facts.h"
#include "mqtt/internal.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void dmsg_mqtt_grant(struct dmsg_mqtt *mqtt, const char *format, ...)
{
    char line[DMSG_ERROR_TEXT];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    if (mqtt->grants.size > 0)
        mqtt->grants.data[mqtt->grants.size - 1] = '\n'; /* in place of the NUL */
    dmsg_text_escape(&mqtt->grants, dmsg_span_text(line), true);
    dmsg_buffer_put_byte(&mqtt->grants, 0);
}

const char *dmsg_mqtt_grants(const struct dmsg_mqtt *mqtt)
{
    bool any = mqtt->grants.size > 0 && !mqtt->grants.failed;
    return any ? (const char *)mqtt->grants.data : "";
}

static void compare_session(struct dmsg_mqtt *mqtt)
{
    const struct dmsg_link_welcome *welcome = &mqtt->welcome;
    if (mqtt->clean)
        return;
    if (mqtt->had_session && !welcome->session_present)
        dmsg_mqtt_grant(
            mqtt, "it did not keep the session: what was sent while we were away is lost");
    if (welcome->has_session_expiry && welcome->session_expiry == 0)
        dmsg_mqtt_grant(
            mqtt, "it keeps no session at all: what is sent while we are away will be lost");
    else if (welcome->has_session_expiry && welcome->session_expiry < mqtt->session_expiry)
        dmsg_mqtt_grant(mqtt,
            "the session is kept for %u seconds, not %u: what is sent while we are away for longer "
            "will be lost",
            (unsigned)welcome->session_expiry, (unsigned)mqtt->session_expiry);
}

static bool any_filter(const struct dmsg_mqtt *mqtt, bool (*is)(const char *text))
{
    for (size_t i = 0; i < mqtt->filter_count; i++) {
        if (is(mqtt->filters[i].text))
            return true;
    }
    return false;
}

static bool has_wildcard(const char *text)
{
    return strpbrk(text, "+#") != NULL;
}

/* Only what somebody needs who is there: a receiver subscribes, a sender does not. */
void dmsg_mqtt_compare_grants(struct dmsg_mqtt *mqtt)
{
    const struct dmsg_link_welcome *welcome = &mqtt->welcome;
    dmsg_buffer_reset(&mqtt->grants);
    compare_session(mqtt);
    if (welcome->qos_maximum < 1)
        dmsg_mqtt_grant(mqtt, "it has quality of service 0 only: messages may be lost");
    if (welcome->packet_maximum != 0 && welcome->packet_maximum < mqtt->packet_limit)
        dmsg_mqtt_grant(mqtt, "it takes packets of %u octets at most, not %zu",
            (unsigned)welcome->packet_maximum, mqtt->packet_limit);
    if (!welcome->wildcards && any_filter(mqtt, has_wildcard))
        dmsg_mqtt_grant(mqtt, "it has no subscriptions with '+' or '#'");
    if (!welcome->shared && any_filter(mqtt, dmsg_mqtt_is_shared))
        dmsg_mqtt_grant(mqtt, "it has no shared subscriptions");
}

const struct dmsg_link_welcome *dmsg_mqtt_welcome(const struct dmsg_mqtt *mqtt)
{
    return &mqtt->welcome;
}

X509 *dmsg_mqtt_certificate(const struct dmsg_mqtt *mqtt)
{
    return mqtt->tls != NULL ? mqtt->tls->shown : NULL;
}

size_t dmsg_mqtt_packet_maximum(const struct dmsg_mqtt *mqtt)
{
    return mqtt->welcome.packet_maximum;
}

size_t dmsg_mqtt_receive_maximum(const struct dmsg_mqtt *mqtt)
{
    size_t granted = mqtt->welcome.receive_maximum;
    return granted == 0 || granted > DMSG_PUBLISH_MAX ? DMSG_PUBLISH_MAX : granted;
}
