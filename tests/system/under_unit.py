#!/usr/bin/python3
"""under_unit.py UNIT PROGRAM ...: the program with the system calls that a systemd unit leaves it.

Of systemd.exec(5) this follows SystemCallFilter=, SystemCallErrorNumber=, MemoryDenyWriteExecute=
and RestrictAddressFamilies=; tests/package/services has all of it, by systemd itself.
"""

import errno
import os
import socket
import subprocess
import sys
from pathlib import Path

import seccomp

PROT_WRITE, PROT_EXEC = 2, 4


def settings(unit, name):
    """Its values, one a line of the unit."""
    lines = Path(unit).read_text().splitlines()
    return [line.partition("=")[2].strip() for line in lines if line.startswith(name + "=")]


def members(name):
    """A call, or those of a @group and of the groups in it."""
    if not name.startswith("@"):
        return {name}
    listed = subprocess.run(["systemd-analyze", "syscall-filter", name], check=True,
                            capture_output=True, text=True).stdout.splitlines()[1:]
    words = [line.strip() for line in listed if line.strip() and "#" not in line]
    return set().union(*map(members, words))


def allowed_calls(unit):
    allowed = members("@default")
    for value in settings(unit, "SystemCallFilter"):
        calls = set().union(*map(members, value.lstrip("~").split()))
        allowed = allowed - calls if value.startswith("~") else allowed | calls
    return allowed


def load(default, action, rules):
    held = seccomp.SyscallFilter(default)
    for name, *arguments in rules:
        try:
            held.add_rule_exactly(action, name, *arguments)
        except (RuntimeError, ValueError):  # a call that this architecture has not
            pass
    held.load()


def confine(unit):
    word = settings(unit, "SystemCallErrorNumber")[-1]
    refuse = seccomp.ERRNO(getattr(errno, word))
    calls = allowed_calls(unit)
    families = [getattr(socket, name)
                for name in settings(unit, "RestrictAddressFamilies")[-1].split()]
    assert settings(unit, "MemoryDenyWriteExecute") == ["yes"]
    forbidden = [("mmap", seccomp.Arg(2, seccomp.MASKED_EQ, PROT_WRITE | PROT_EXEC,
                                      PROT_WRITE | PROT_EXEC)),
                 ("mprotect", seccomp.Arg(2, seccomp.MASKED_EQ, PROT_EXEC, PROT_EXEC))]
    forbidden += [("socket", seccomp.Arg(0, seccomp.EQ, family)) for family in range(64)
                  if family not in families]
    load(seccomp.ALLOW, refuse, forbidden)
    load(refuse, seccomp.ALLOW, [(name,) for name in calls])


if __name__ == "__main__":
    confine(sys.argv[1])
    os.execv(sys.argv[2], sys.argv[2:])
