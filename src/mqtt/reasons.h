/* What a broker means, in words: MQTT 5 section 2.4, MQTT 3.1.1 section 3.2.2.3. */
#ifndef DANEMSG_MQTT_REASONS_H
#define DANEMSG_MQTT_REASONS_H

/* Reason code of any packet of MQTT 5 but CONNACK; 0x80 of SUBACK in 3.1.1 has the same meaning. */
const char *dmsg_reason_words(int code);
/* Of CONNACK: a broker of 3.1.1 answers with numbers of its own, to a client of MQTT 5 too. */
const char *dmsg_reason_connack(int code);
/* "; what to do about it" for CONNACK, or empty. */
const char *dmsg_reason_advice(int code);

#endif
