/* The table of commands, in the order of help: name of the struct, in cmd_*.c. */
#ifndef DANEMSG_CLI_COMMANDS_H
#define DANEMSG_CLI_COMMANDS_H

#include "command.h"

#define COMMANDS(X)                                                                                \
    X(send)                                                                                        \
    X(receive)                                                                                     \
    X(seal)                                                                                        \
    X(open)                                                                                        \
    X(sign)                                                                                        \
    X(verify)                                                                                      \
    X(encrypt)                                                                                     \
    X(decrypt)                                                                                     \
    X(inspect)                                                                                     \
    X(lookup)                                                                                      \
    X(identity_new)                                                                                \
    X(identity_tlsa)                                                                               \
    X(identity_show)                                                                               \
    X(identity_check)                                                                              \
    X(create_selfsigned_id)                                                                        \
    X(create_id_csr)                                                                               \
    X(generate_tlsa)                                                                               \
    X(send_message)

#define DECLARE(name) extern const struct command cmd_##name;
COMMANDS(DECLARE)
#undef DECLARE

#endif
