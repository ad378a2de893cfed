/* The table of commands, in the order of help: name of the struct, in cmd_*.c. */
#ifndef DANEMSG_CLI_COMMANDS_H
#define DANEMSG_CLI_COMMANDS_H

#include "command.h"

#define COMMANDS(X)                                                                                \
    X(send)                                                                                        \
    X(receive)                                                                                     \
    X(inbox_list)                                                                                  \
    X(inbox_show)                                                                                  \
    X(inbox_export)                                                                                \
    X(inbox_purge)                                                                                 \
    X(outbox_list)                                                                                 \
    X(outbox_flush)                                                                                \
    X(outbox_purge)                                                                                \
    X(seal)                                                                                        \
    X(open)                                                                                        \
    X(sign)                                                                                        \
    X(verify)                                                                                      \
    X(encrypt)                                                                                     \
    X(decrypt)                                                                                     \
    X(status)                                                                                      \
    X(doctor)                                                                                      \
    X(inspect)                                                                                     \
    X(lookup)                                                                                      \
    X(certs)                                                                                       \
    X(ca_certs)                                                                                    \
    X(verify_cert)                                                                                 \
    X(identity_new)                                                                                \
    X(identity_import)                                                                             \
    X(identity_tlsa)                                                                               \
    X(identity_publish)                                                                            \
    X(identity_retract)                                                                            \
    X(identity_rollover)                                                                           \
    X(identity_show)                                                                               \
    X(identity_check)                                                                              \
    X(create_selfsigned_id)                                                                        \
    X(create_id_csr)                                                                               \
    X(generate_tlsa)                                                                               \
    X(send_message)                                                                                \
    X(dane_discovery_get_certificates)                                                             \
    X(dane_discovery_get_ca_certificates)                                                          \
    X(dane_discovery_authenticate_certificate)

#define DECLARE(name) extern const struct command cmd_##name;
COMMANDS(DECLARE)
#undef DECLARE

#endif
