"""Two machines on this one, for the README's walk through two Raspberry Pis: each has a folder in the
place of /, and what would change the machine (sudo, ssh, systemctl, apt-get, and the tools of the name
server) is a script that does it there."""

import os
import re
import subprocess
from pathlib import Path

from servers import LOOPBACK, PATIENCE, Broker, Knot, program
from world import DANEMSG

ADDRESS = "192.0.2.10"

SCRIPTS = {
    "sudo": '[ "$1" != -u ] || shift 2\nexec "$@"',
    "apt-get": "",
    "ssh": """shift
case $* in *$ROOT*) set -- "${*//$ROOT/$ALICE}";; esac
exec bash -c "$*" """,
    "knotc": 'exec {knotc} -b -c $ALICE/etc/knot/knot.conf "$@"',
    "keymgr": 'exec {keymgr} -c $ALICE/etc/knot/knot.conf "$@"',
    "danemsg-service": """set -a
. $ROOT/etc/default/danemsg
export CRYPTO_PATH=$ROOT/var/lib/danemsg/identity DANEMSG_STATE=$ROOT/var/lib/danemsg
exec {danemsg} "$@" """,
    "systemctl": """[ "$*" = 'enable --now danemsg-receive' ] || exit 0
danemsg-service receive >$ROOT/journal 2>&1 </dev/null &
echo $! >$ROOT/receiver.pid""",
}


class Pi:
    """A machine: its root, and how commands of the README run there."""

    def __init__(self, folder, name, alice, environment):
        self.root, self.alice, self.name = folder / name, alice or folder / name, name
        for path in ("bin", "etc/knot", "etc/default", "etc/danemsg", "etc/mosquitto/conf.d",
                     "var/lib/danemsg", "var/lib/knot", "run/knot"):
            (self.root / path).mkdir(parents=True)
        self.variables = {**environment, "ROOT": str(self.root), "ALICE": str(self.alice),
                          "PATH": f"{self.root}/bin:{os.environ['PATH']}", "MQTT_PORT": "0"}
        for script, text in SCRIPTS.items():
            file = self.root / "bin" / script
            file.write_text("#!/bin/bash\nset -eu\n" + text.replace("{knotc}", program("knotc")).replace(
                "{keymgr}", program("keymgr")).replace("{danemsg}", str(DANEMSG)) + "\n")
            file.chmod(0o755)

    def here(self, text, port):
        """The README's text with this machine's paths, and the server's address as it is here."""
        text = re.sub(r"(?<![\w.])/(etc|var|run)/", rf"{self.root}/\1/", text)
        text = text.replace("user: knot:knot", "").replace("target: syslog", "target: stderr")
        text = text.replace(f"127.0.0.1@53, {ADDRESS}@53", f"{LOOPBACK}@{port}")
        text = text.replace(f"={ADDRESS}\nDANEMSG_TRUST", f"={LOOPBACK}@{port}\nDANEMSG_TRUST")
        text = text.replace("storage: ", "kasp-db-max-size: 64M\n    journal-db-max-size: 64M\n    storage: ")
        return text.replace(ADDRESS, LOOPBACK).replace("me=alice", f"me={self.name}")

    def run(self, text, port):
        ran = subprocess.run(["bash", "-c", "set -eu -o pipefail\n" + self.here(text, port)],
                             cwd=self.root, env=self.variables, capture_output=True, text=True,
                             stdin=subprocess.DEVNULL, timeout=PATIENCE)
        assert ran.returncode == 0, f"{self.name}: {text}\n{ran.stdout}\n{ran.stderr}"
        return ran.stdout

    def journal(self):
        file = self.root / "journal"
        return file.read_text() if file.exists() else ""


class PiKnot(Knot):
    """With the configuration that alice has written."""

    def __init__(self, pi, zone):
        super().__init__(pi.root / "knot", {zone: "ecdsa"})
        self.pi = pi

    def command(self):
        return [program("knotd"), "-c", str(self.pi.root / "etc/knot/knot.conf")]


class PiBroker(Broker):
    """The same; its log and its user are the test's."""

    def __init__(self, pi):
        super().__init__(pi.root / "mosquitto")
        self.pi = pi

    def command(self):
        written = (self.pi.root / "etc/mosquitto/conf.d/danemsg.conf").read_text()
        assert "listener 1883\n" in written
        file = self.folder / "mosquitto.conf"
        file.write_text(written.replace("listener 1883", f"listener {self.port} {LOOPBACK}")
                        + f"user {'root' if os.getuid() == 0 else 'nobody'}\nlog_dest stderr\n"
                        "log_type error\nlog_type subscribe\n")
        return [program("mosquitto"), "-c", str(file)]
