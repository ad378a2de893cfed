/*
 * What a captured process of ours could still do shall be little. Such a process (the resolver, the
 * fetcher of PKIX-CD) gives up at its start what it never needs, and everything but its profile as
 * soon as it knows what that is, before it reads the first octet of a stranger:
 *
 *     dmsg_confine_start(&profile);            first thing in main()
 *     ...                                      load libraries, read anchors, learn the servers
 *     dmsg_confine_finish(&profile);           before the first thread and the first packet
 *
 * The start sets limits that every kernel has: memory, descriptors, files, core dumps, signals, no
 * new privileges. The finish adds Landlock (files, TCP ports, signals to others) and seccomp (an
 * allow-list of system calls). A kernel without one of them still does the rest; nothing is said,
 * and the result tells which of them hold.
 *
 * No namespaces: the network is needed, so that a network namespace is none; and making the others
 * without privileges needs a user namespace, which many systems refuse and which opens more of the
 * kernel than they would close. Landlock and seccomp take away what they would.
 */
#ifndef DANEMSG_DANE_CONFINE_H
#define DANEMSG_DANE_CONFINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DMSG_CONFINE_PORTS_MAX 96

struct dmsg_confinement {
    size_t memory;      /* octets of address space; not kept by a sanitized program */
    size_t descriptors; /* that may be open */
    size_t file_size;   /* octets of a file that it writes; 0 without a write_folder */

    const char *const *read;  /* files and folders (with all below) that may be read,
                                 NULL-terminated; NULL: none. What is not there is passed over. */
    const char *write_folder; /* in which files may be read, made, replaced and removed; or NULL */

    bool looks_up_names; /* calls getaddrinfo, which asks the kernel for the own addresses */
    /* To which TCP may connect. UDP may go anywhere: no kernel can be told otherwise so far. */
    uint16_t tcp_ports[DMSG_CONFINE_PORTS_MAX];
    size_t tcp_port_count;
};

enum dmsg_confined { DMSG_CONFINED_BY_SECCOMP = 1, DMSG_CONFINED_BY_LANDLOCK = 2 };

void dmsg_confine_start(const struct dmsg_confinement *profile);

/* Which of enum dmsg_confined hold from now on; for this thread and those it starts. */
unsigned dmsg_confine_finish(const struct dmsg_confinement *profile);

#endif
