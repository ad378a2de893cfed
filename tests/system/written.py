"""Servers that run with the configurations of doc/OPERATING.md, word for word but for addresses, ports
and folders."""

import base64
import os
import subprocess

from cryptography.hazmat.primitives import serialization
from https_server import PEM, Authority, new_key, pem
from primaries import Bind, KeyedKnot, PowerDns, Primary
from quickstart import GUIDES, blocks, configuration, fenced
from servers import LOOPBACK, PATIENCE, Broker, program

PAGE = GUIDES / "OPERATING.md"
ZONE = "example.net"
ALICE = f"alice.{ZONE}"


def replaced(text, **changes):
    """Each of the changes is made exactly once: what is replaced has to be there."""
    for old, new in changes.values():
        assert text.count(old) == 1, f"{old!r} in {text}"
        text = text.replace(old, new)
    return text


def with_secret(text):
    assert "SECRET" in text
    return text.replace("SECRET", base64.b64encode(b"x" * 32).decode())


class WrittenPrimary(Primary):
    """Serves example.net with the zone file that stands there, and alice's key, whose file does too."""

    def __init__(self, folder):
        super().__init__(folder, {ZONE: "ecdsa"}, ALICE)
        self.zone_file = self.folder / f"{ZONE}.zone"
        self.zone_file.write_text(configuration(PAGE, f"/var/lib/knot/{ZONE}.zone"))
        [key] = [body for _info, body in fenced(PAGE) if body.startswith(f'key "{ALICE}" {{')]
        self.key.write_text(with_secret(key))


class WrittenKnot(WrittenPrimary, KeyedKnot):
    def command(self):
        (self.folder / "run").mkdir(exist_ok=True)
        file = self.folder / "knot.conf"
        file.write_text(replaced(
            with_secret(configuration(PAGE, "/etc/knot/knot.conf")),
            run=("rundir: /run/knot\n    user: knot:knot", f"rundir: {self.folder}/run"),
            listen=("listen: [ 0.0.0.0@53, ::@53 ]", f"listen: {LOOPBACK}@{self.port}"),
            log=("target: syslog", "target: stderr"),
            # The default sizes are for servers with the room for them.
            storage=("storage: /var/lib/knot\n", f"storage: {self.folder}\n    kasp-db-max-size: 64M\n"
                     "    journal-db-max-size: 64M\n"),
            zone=(f"/var/lib/knot/{ZONE}.zone", str(self.zone_file))))
        return [program("knotd"), "-c", str(file)]


class WrittenBind(WrittenPrimary, Bind):
    def command(self):
        zones = replaced(configuration(PAGE, "/etc/bind/named.conf.local"),
                         key=("/etc/bind/alice.tsig", str(self.key)),
                         zone=("/var/lib/bind", str(self.folder)))
        file = self.folder / "named.conf"
        file.write_text(f"""\
options {{
    directory "{self.folder}"; pid-file none; session-keyfile none; recursion no;
    listen-on port {self.port} {{ {LOOPBACK}; }}; listen-on-v6 {{ none; }};
    dnssec-validation no;
}};
controls {{ }};
{zones}""")
        return [program("named"), "-g", "-n", "1", "-c", str(file)]


class WrittenPowerDns(WrittenPrimary, PowerDns):
    """PowerDns's lines for a test come first, and those of the page go over them."""

    def command(self):
        command = super().command()
        file = self.folder / "pdns.conf"
        text = configuration(PAGE, "/etc/powerdns/pdns.d/danemsg.conf")
        file.write_text(file.read_text() + replaced(
            text, database=("/var/lib/powerdns/pdns.sqlite3", str(self.folder / "pdns.sqlite"))))
        return command

    def fill(self, database):
        self.make_tables(database)
        tool = self.folder / "pdnsutil"
        tool.write_text(f'#!/bin/sh\nexec {program("pdnsutil")} --config-dir={self.folder} "$@"\n')
        tool.chmod(0o755)
        [commands] = blocks(PAGE, "powerdns")
        subprocess.run(["bash", "-ec", with_secret(commands)], check=True, capture_output=True,
                       timeout=PATIENCE, env={"PATH": f"{self.folder}:{os.environ['PATH']}"})


class WrittenBroker(Broker):
    """With TLS, passwords and the access list, for the names of a zone; users have their names as
    passwords. authority: a file with the CA of its certificate."""

    def __init__(self, folder, zone, *users):
        super().__init__(folder)
        self.zone = zone
        self.authority = self.folder / "ca.pem"
        ca, key = Authority(), new_key()
        self.authority.write_bytes(ca.pem())
        (self.folder / "fullchain.pem").write_bytes(pem(ca.issue(key.public_key(), ["localhost"])))
        (self.folder / "privkey.pem").write_bytes(key.private_bytes(
            PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        for number, user in enumerate(users):
            subprocess.run([program("mosquitto_passwd"), *["-c"] * (number == 0), "-b",
                            self.folder / "passwd", user, user], check=True, capture_output=True)

    def command(self):
        text = configuration(PAGE, "/etc/mosquitto/conf.d/danemsg.conf")
        text = text.replace("/etc/mosquitto/certs", str(self.folder))
        text = replaced(text, listener=("listener 8883", f"listener {self.port}"),
                        passwords=("/etc/mosquitto/passwd", f"{self.folder}/passwd"),
                        access=("/etc/mosquitto/acl", f"{self.folder}/acl"))
        (self.folder / "acl").write_text(
            configuration(PAGE, "/etc/mosquitto/acl").replace("example.net", self.zone))
        file = self.folder / "mosquitto.conf"
        file.write_text(f"user {'root' if os.getuid() == 0 else 'nobody'}\nlog_dest stderr\n"
                        f"log_type all\n{text}")
        return [program("mosquitto"), "-c", str(file)]
