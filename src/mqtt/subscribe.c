#include "base/fail.h"
#include "base/utf8.h"
#include "mqtt/internal.h"

#include <stdlib.h>
#include <string.h>

#define SHARE "$share/"

bool dmsg_mqtt_is_shared(const char *filter)
{
    return strncmp(filter, SHARE, strlen(SHARE)) == 0;
}

/* The filter behind "$share/GROUP/" (MQTT 5 section 4.8.2); NULL: no group that may be one. */
static const char *without_group(const char *text)
{
    if (!dmsg_mqtt_is_shared(text))
        return text;
    const char *group = text + strlen(SHARE);
    size_t size = strcspn(group, "/+#");
    return size > 0 && group[size] == '/' ? group + size + 1 : NULL;
}

/* MQTT 5 section 4.7.1: '#' alone on the last level, '+' alone on its level. */
static bool is_filter(const char *whole)
{
    const char *text = without_group(whole);
    size_t size = text != NULL ? strlen(text) : 0;
    if (size == 0 || strlen(whole) > DMSG_MQTT_TOPIC_MAX || !dmsg_utf8_valid(dmsg_span_text(whole)))
        return false;
    for (size_t i = 0; i < size; i++) {
        if (text[i] != '#' && text[i] != '+')
            continue;
        bool begins = i == 0 || text[i - 1] == '/';
        bool ends = text[i + 1] == '\0' || (text[i] == '+' && text[i + 1] == '/');
        if (!begins || !ends)
            return false;
    }
    return true;
}

int dmsg_mqtt_subscribe_qos(
    struct dmsg_mqtt *mqtt, const char *filter, int qos, struct dmsg_error *error)
{
    if (!is_filter(filter))
        return dmsg_fail(error, DMSG_E_USAGE,
            "not a topic filter: up to %d octets of UTF-8, with '+' and '#' alone on their levels",
            DMSG_MQTT_TOPIC_MAX);
    if (qos < 0 || qos > 2)
        return dmsg_fail(error, DMSG_E_USAGE, "a quality of service is 0, 1 or 2");
    if (mqtt->filter_count == DMSG_MQTT_FILTERS_MAX)
        return dmsg_fail(error, DMSG_E_USAGE, "more than %d subscriptions", DMSG_MQTT_FILTERS_MAX);
    char *text = strdup(filter);
    if (text == NULL)
        return dmsg_fail_memory(error);
    mqtt->filters[mqtt->filter_count++] =
        (struct mqtt_filter){.text = text, .qos = qos > 1 ? 1 : qos};
    return mqtt->state == MQTT_CONNECTED ? dmsg_mqtt_subscribe_all(mqtt, error) : 0;
}

int dmsg_mqtt_subscribe(struct dmsg_mqtt *mqtt, const char *filter, struct dmsg_error *error)
{
    return dmsg_mqtt_subscribe_qos(mqtt, filter, 1, error);
}

bool dmsg_mqtt_subscribed(const struct dmsg_mqtt *mqtt)
{
    bool all = mqtt->state == MQTT_CONNECTED && mqtt->filter_count > 0;
    for (size_t i = 0; i < mqtt->filter_count; i++)
        all = all && mqtt->filters[i].recorded;
    return all;
}

int dmsg_mqtt_subscribe_all(struct dmsg_mqtt *mqtt, struct dmsg_error *error)
{
    for (size_t i = 0; i < mqtt->filter_count; i++) {
        struct mqtt_filter *filter = &mqtt->filters[i];
        if (filter->recorded || filter->id != 0)
            continue;
        int code = dmsg_link_subscribe(mqtt->link, filter->text, filter->qos, &filter->id, error);
        if (code < 0)
            return code;
    }
    return 0;
}

/* What is under way never came through; what the session had is gone with the session. */
void dmsg_mqtt_forget_subscriptions(struct dmsg_mqtt *mqtt)
{
    for (size_t i = 0; i < mqtt->filter_count; i++) {
        mqtt->filters[i].id = 0;
        if (!mqtt->welcome.session_present)
            mqtt->filters[i].recorded = false;
    }
}

void dmsg_mqtt_on_subscribed(struct dmsg_mqtt *mqtt, int id, int qos, const char *why)
{
    for (size_t i = 0; i < mqtt->filter_count; i++) {
        struct mqtt_filter *filter = &mqtt->filters[i];
        if (filter->id == 0 || filter->id != id)
            continue;
        filter->id = 0;
        if (why != NULL) {
            mqtt->dismissed = true;
            dmsg_fail(&mqtt->trouble, DMSG_E_BROKER, "the subscription to %s was refused: %s",
                filter->text, why);
            return;
        }
        filter->recorded = true;
        if (qos < filter->qos)
            dmsg_mqtt_grant(mqtt,
                "quality of service %d for %s, not %d: what comes while we are away is lost", qos,
                filter->text, filter->qos);
    }
}
