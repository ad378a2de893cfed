"""Primary name servers whose zones danemsg changes: Knot, BIND and PowerDNS, with a TSIG key that
may change TLSA records (PowerDNS: anything) in the zones that are signed, and nothing in others."""

import base64
import os
import socket
import sqlite3
import subprocess
from pathlib import Path

from servers import LOOPBACK, PATIENCE, Knot, free_port, program

KEY_NAME = "danemsg.keys"
API_KEY = "s3cret-of-the-api"


def key_file(path, name=KEY_NAME, secret=None, algorithm="hmac-sha256", mode=0o600):
    """What tsig-keygen writes."""
    secret = base64.b64encode(secret or b"x" * 32).decode()
    path = Path(path)
    path.write_text(f'key "{name}" {{\n\talgorithm {algorithm};\n\tsecret "{secret}";\n}};\n')
    path.chmod(mode)
    return path


class Primary(Knot):
    """What they have in common. zones: as Knot's, "ecdsa" or the text of a zone file."""

    LIMITS = ""  # lines of the server's configuration that say what the key may do

    def __init__(self, folder, zones, key_name=KEY_NAME):
        super().__init__(folder, zones)
        self.key_name, self.limits = key_name, self.LIMITS.format(key_name)
        self.key = key_file(self.folder / "tsig.key", key_name)

    def options(self, key=None):
        return ["--rfc2136", f"{LOOPBACK}@{self.port}", "--tsig", str(key or self.key)]

    def empty_zone(self, zone):
        return super().empty_zone(zone) + "alias CNAME ns\n*.wild TLSA 3 1 1 " + "00" * 32 + "\n"

    def write_zones(self):
        for zone, kind in self.zones.items():
            file = self.folder / f"{zone}.zone"
            if not file.exists():
                file.write_text(self.empty_zone(zone) if kind == "ecdsa" else kind)
            yield zone, file, kind == "ecdsa"


class KeyedKnot(Primary):
    """Knot, with the key where Knot (servers.py) trusts everybody on loopback."""

    LIMITS = "  - id: alice\n    key: {}\n    action: update\n    update-type: TLSA\n"

    def command(self):
        command = super().command()
        configuration = self.folder / "knot.conf"
        text = configuration.read_text().replace(
            "acl:\n", f"key:\n  - id: {self.key_name}\n    algorithm: hmac-sha256\n    secret: "
            f"{base64.b64encode(b'x' * 32).decode()}\nacl:\n{self.limits}", 1)
        configuration.write_text(text.replace("acl: loopback\n    dnssec-signing",
                                              "acl: alice\n    dnssec-signing"))
        return command


class Bind(Primary):
    name = "named"
    LIMITS = "update-policy {{ grant {} zonesub TLSA; }};"

    def command(self):
        lines = [self.key.read_text(), f"""\
options {{
    directory "{self.folder}"; pid-file none; session-keyfile none; recursion no;
    listen-on port {self.port} {{ {LOOPBACK}; }}; listen-on-v6 {{ none; }};
    dnssec-validation no; key-directory "{self.folder}";
}};
controls {{ }};"""]
        for zone, file, signed in self.write_zones():
            lines.append(f'zone "{zone}" {{ type primary; file "{file}";'
                         + (f" dnssec-policy default; {self.limits}" if signed else "") + " };")
        (self.folder / "named.conf").write_text("\n".join(lines) + "\n")
        return [program("named"), "-g", "-n", "1", "-c", str(self.folder / "named.conf")]


class PowerDns(Primary):
    """With sqlite, dynamic updates, and its API on self.api_port."""

    name = "pdns_server"
    SCHEMAS = ["/usr/share/pdns-backend-sqlite3/schema/schema.sqlite3.sql",
               "/usr/share/doc/pdns-backend-sqlite3/schema.sqlite3.sql"]

    def command(self):
        self.api_port = free_port()
        self.api_key = self.folder / "api.key"
        self.api_key.write_text(API_KEY + "\n")
        self.api_key.chmod(0o600)
        database = self.folder / "pdns.sqlite"
        (self.folder / "pdns.conf").write_text(f"""\
launch=gsqlite3
gsqlite3-database={database}
gsqlite3-dnssec=yes
local-address={LOOPBACK}
local-port={self.port}
dnsupdate=yes
allow-dnsupdate-from={LOOPBACK}
webserver=yes
webserver-address={LOOPBACK}
webserver-port={self.api_port}
webserver-allow-from={LOOPBACK}
api=yes
api-key={API_KEY}
socket-dir={self.folder}
cache-ttl=0
query-cache-ttl=0
negquery-cache-ttl=0
zone-cache-refresh-interval=0
receiver-threads=1
distributor-threads=1
""")
        if not database.exists():
            self.fill(database)
        return [program("pdns_server"), f"--config-dir={self.folder}", "--daemon=no",
                "--guardian=no"]

    def answers(self):
        try:
            socket.create_connection((LOOPBACK, self.api_port), 1).close()
        except OSError:
            return False
        return super().answers()

    def make_tables(self, database):
        schema = next(path for path in self.SCHEMAS if os.path.exists(path))
        with sqlite3.connect(database) as connection:
            connection.executescript("PRAGMA synchronous=OFF;" + Path(schema).read_text())

    def fill(self, database):
        self.make_tables(database)
        self.tool("import-tsig-key", self.key_name, "hmac-sha256",
                  base64.b64encode(b"x" * 32).decode())
        for zone, file, signed in self.write_zones():
            self.tool("load-zone", zone, file)
            if signed:
                self.tool("secure-zone", zone)
            self.tool("set-meta", zone, "TSIG-ALLOW-DNSUPDATE",
                      self.key_name if signed else f"another.{self.key_name}")

    def tool(self, *arguments):
        subprocess.run([program("pdnsutil"), f"--config-dir={self.folder}", *map(str, arguments)],
                       check=True, capture_output=True, timeout=PATIENCE)

    def api(self, key=None):
        return ["--powerdns", f"http://{LOOPBACK}:{self.api_port}", "--api-key",
                str(key or self.api_key)]
