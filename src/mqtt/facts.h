/* What a broker showed of itself, for whoever looks for the cause of a fault. */
#ifndef DANEMSG_MQTT_FACTS_H
#define DANEMSG_MQTT_FACTS_H

#include "mqtt/link.h"

/* Of the latest CONNACK; zeros before the first. */
const struct dmsg_link_welcome *dmsg_mqtt_welcome(const struct dmsg_mqtt *mqtt);

/* The certificate that the broker showed last, believed or not; NULL without one. Borrowed until
   the next connection. */
X509 *dmsg_mqtt_certificate(const struct dmsg_mqtt *mqtt);

#endif
