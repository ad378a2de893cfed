"""Without --dns-server the system's resolvers are asked; where they strip DNSSEC, the authoritative
servers from the root on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from world import DANEMSG

HERE = Path(__file__).parent


def can_isolate():
    """A network and a file system of one's own are root's."""
    return os.geteuid() == 0 and shutil.which("unshare") and shutil.which("ip") and \
        subprocess.run(["unshare", "-n", "-m", "ip", "link", "set", "lo", "up"],
                       capture_output=True).returncode == 0


@pytest.mark.skipif(not can_isolate(), reason="namespaces of one's own need root and iproute2")
@pytest.mark.parametrize("how, via", [
    ("honest", "the system's resolvers 127.0.0.2"),
    ("strips", "the authoritative servers, since the system's resolvers strip DNSSEC")])
def test_whom_it_asks(tmp_path, how, via):
    looked_up = subprocess.run(
        ["unshare", "-n", "-m", sys.executable, "-B", HERE / "recursion.py", tmp_path, how, DANEMSG,
         "lookup", "--json", "alice.test"], capture_output=True, timeout=120, cwd=HERE, text=True)
    assert looked_up.returncode == 0, looked_up
    answer = json.loads(looked_up.stdout)
    assert answer["status"] == "secure" and via in answer["via"], answer
