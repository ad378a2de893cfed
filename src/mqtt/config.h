/* What the caller asks of a connection, checked and complete. */
#ifndef DANEMSG_MQTT_CONFIG_H
#define DANEMSG_MQTT_CONFIG_H

#include "danemsg/transport.h"

/* A random client id: 23 characters and a NUL. */
#define DMSG_CLIENT_ID_SIZE 24

/* Fills in the defaults; a client id, where none is given, is made in client_id and borrowed from
   there. DMSG_E_USAGE: a value that MQTT does not allow. */
int dmsg_mqtt_config_complete(struct dmsg_mqtt_config *config,
    char client_id[static DMSG_CLIENT_ID_SIZE], struct dmsg_error *error) DMSG_MUST_CHECK;

#endif
