"""Without --dns-server the system's resolvers are asked; where they strip DNSSEC, the authoritative
servers from the root on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import recursion
from servers import PATIENCE
from world import DANEMSG

HERE = Path(__file__).parent


def can_isolate():
    """A network and a file system of one's own are root's."""
    return os.geteuid() == 0 and shutil.which("unshare") and shutil.which("ip") and \
        subprocess.run(["unshare", "-n", "-m", "ip", "link", "set", "lo", "up"],
                       capture_output=True).returncode == 0


pytestmark = pytest.mark.skipif(not can_isolate(),
                                reason="namespaces of one's own need root and iproute2")


BUILD = DANEMSG.parents[1]


def run(folder, how, *command):
    return subprocess.run(
        ["unshare", "-n", "-m", sys.executable, "-B", HERE / "recursion.py", folder, how, *command],
        capture_output=True, timeout=PATIENCE, cwd=HERE, text=True)


def look_up(folder, how):
    return run(folder, how, DANEMSG, "lookup", "--json", "--trust-anchor", "ANCHOR", "alice.test")


@pytest.mark.parametrize("how, via", [
    ("honest", "the system's resolvers 127.0.0.2"),
    ("strips", "the authoritative servers, since the system's resolvers strip DNSSEC")])
def test_whom_it_asks(tmp_path, how, via):
    looked_up = look_up(tmp_path, how)
    assert looked_up.returncode == 0, looked_up
    answer = json.loads(looked_up.stdout)
    assert answer["status"] == "secure" and via in answer["via"], answer


def test_a_resolver_that_refuses(tmp_path):
    """It refuses the root's keys too, at once: they are asked for once for a question, and not again
    and again until its time is over."""
    looked_up = look_up(tmp_path, "refuses")
    assert looked_up.returncode == 4, looked_up
    answer = json.loads(looked_up.stdout)
    assert answer["status"] == "not-now" and "SERVFAIL" in answer["why"], answer


def test_strangers_do_not_reach_networks_of_our_own(tmp_path):
    """A stranger's zone names a server in a private network as its own: it is not asked for him, and
    it is for names that somebody here chose."""
    names = [*recursion.OUTER, *recursion.INNER]
    statuses = {}
    for strangers in (), ("-x",):
        folder = tmp_path / f"strangers-{len(strangers)}"
        folder.mkdir()
        found = run(folder, "away", BUILD / "tests" / "unit" / "resolver_probe", *strangers, "-p",
                    BUILD / "libexec" / "danemsg-resolver", "-a", "ANCHOR",
                    *(f"alice.{name}" for name in names))
        statuses[strangers] = [json.loads(line)["status"] for line in found.stdout.splitlines()]
    assert statuses == {(): ["secure"] * len(names),
                        ("-x",): ["secure"] + ["not-now"] * len(recursion.INNER)}
