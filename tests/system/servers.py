"""Real servers for the tests: mosquitto, Knot DNS and NSD on free loopback ports.

Each is a context manager that keeps its files in a folder of its own, starts one process, waits
until it answers, and stops that process by its id.
"""

import os
import random
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import dns.message
import dns.query
import dns.rcode
import dns.update

LOOPBACK = "127.0.0.1"
# A port at which nobody listens: tests get none that only root may have (tcpmux, RFC 1078).
NOBODY = 1

# Seconds for what happens at once on an idle machine: only what never happens lasts so long.
PATIENCE = 180

# Ports that no connection gets by chance (ip(7), ip_local_port_range: from 32768 on), so that they
# stay free while a server is restarted.
PORTS = range(12000, 32000)


def free_port():
    """A port that is free for TCP and UDP now. Callers try again when somebody was faster."""
    while True:
        port = random.SystemRandom().choice(PORTS)
        with socket.socket() as tcp, socket.socket(type=socket.SOCK_DGRAM) as udp:
            try:
                tcp.bind((LOOPBACK, port))
                udp.bind((LOOPBACK, port))
            except OSError:
                continue
            return port


def wait_for(condition, what, timeout=PATIENCE):
    """The first true value of condition(), or AssertionError after timeout seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        assert time.monotonic() < end, f"waited {timeout:g} s for {what}"
        time.sleep(0.02)


def program(name):
    """Daemons live in /usr/sbin, which an ordinary user's PATH may lack."""
    found = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")
    assert found, f"{name} is not installed: scripts/deps build demo test"
    return found


class Server:
    """One process. Subclasses say how to start it (command) and when it is up (answers)."""

    name = "server"

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.log = self.folder / f"{self.name}.log"
        self.port = None
        self.process = None

    def __enter__(self):
        for attempt in range(5):
            self.port = free_port()
            try:
                return self.start_once()
            except AssertionError:
                if attempt == 4:
                    raise
        return self

    def __exit__(self, *exception):
        self.stop()

    def start(self):
        """Starts it on self.port, again after stop() with what it kept on disk. The port is tried
        again when somebody has it for a moment: a resolver asks from any."""
        for _ in range(10):
            try:
                return self.start_once()
            except AssertionError:
                time.sleep(0.2)
        return self.start_once()

    def start_once(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log,
                                            stdin=subprocess.DEVNULL, cwd=self.folder)
        try:
            wait_for(self.up, f"{self.name} on port {self.port} (see {self.log})")
        except BaseException:
            self.stop()
            raise
        return self

    def up(self):
        """The process itself answers: another one at that port would have ended it."""
        answers = self.answers()
        status = self.process.poll()
        assert status is None, f"{self.name} ended with {status} (see {self.log})"
        return answers

    def stop(self, with_signal=signal.SIGTERM):
        if self.process is None:
            return
        self.process.send_signal(with_signal)
        try:
            self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def text(self):
        return self.log.read_text(errors="replace")


class Broker(Server):
    """mosquitto. Its log shows who subscribed to what."""

    name = "mosquitto"

    def __init__(self, folder, extra=""):
        super().__init__(folder)
        self.extra = extra

    def command(self):
        configuration = self.folder / "mosquitto.conf"
        configuration.write_text(f"""\
listener {self.port} {LOOPBACK}
allow_anonymous true
user {'root' if os.getuid() == 0 else 'nobody'}
persistence true
persistence_location {self.folder}/
max_queued_messages 0
log_dest stderr
log_type error
log_type warning
log_type notice
log_type information
log_type subscribe
log_type unsubscribe
connection_messages true
{self.extra}
""")
        return [program("mosquitto"), "-c", str(configuration)]

    def answers(self):
        try:
            socket.create_connection((LOOPBACK, self.port), 1).close()
            return True
        except OSError:
            return False

    def subscriptions(self, topic):
        """How often somebody subscribed to the topic since the broker was made."""
        subscribed = re.compile(rf"^\d+: \S+ [012] {re.escape(topic)}$", re.MULTILINE)
        return len(subscribed.findall(self.text()))

    def publish(self, topic, payload, qos=1, retain=False):
        """Publishes bytes as they are, by mosquitto_pub."""
        subprocess.run([program("mosquitto_pub"), "-h", LOOPBACK, "-p", str(self.port), "-t", topic,
                        "-q", str(qos), "-s"] + ["-r"] * retain,
                       input=payload, check=True, timeout=PATIENCE)

    def publish_many(self, topic, payloads, qos=0, retain=False):
        """Publishes many payloads over one connection, and returns when the broker has them all:
        a client of twenty lines, since mosquitto_pub's -l knows only lines."""
        name = topic.encode()
        with socket.create_connection((LOOPBACK, self.port)) as connection:
            connection.settimeout(PATIENCE)
            connection.sendall(b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x00\x00\x00")
            assert connection.recv(4) == b"\x20\x02\x00\x00", "no CONNACK"
            for number, payload in enumerate(payloads):
                identifier = (number % 0xFFFF + 1).to_bytes(2, "big") if qos else b""
                body = len(name).to_bytes(2, "big") + name + identifier + payload
                connection.sendall(bytes([0x30 | qos << 1 | retain]) + variable_length(len(body)) + body)
                if qos:
                    assert receive(connection, 4) == b"\x40\x02" + identifier, "no PUBACK"
            connection.sendall(b"\xc0\x00")
            assert receive(connection, 2) == b"\xd0\x00", "no PINGRESP"
            connection.sendall(b"\xe0\x00")


def receive(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        assert more, "the broker closed the connection"
        data += more
    return data


def variable_length(number):
    """MQTT 3.1.1 section 2.2.3."""
    out = bytearray()
    while True:
        number, digit = number >> 7, number & 0x7F
        out.append(digit | (0x80 if number else 0))
        if not number:
            return bytes(out)


POLICIES = {
    "ecdsa": {"policy": "ecdsa", "lines": "algorithm: ecdsap256sha256\n    nsec3: off"},
    "rsa": {"policy": "rsa", "lines": "algorithm: rsasha256\n    ksk-size: 2048\n    zsk-size: 2048\n"
                                      "    nsec3: on\n    nsec3-iterations: 0"},
}


class NameServer(Server):
    """Anything that answers for zones."""

    def stub(self, zone):
        return f"{zone}={LOOPBACK}@{self.port}"


class Knot(NameServer):
    """Knot DNS. zones: name -> "ecdsa" (NSEC) or "rsa" (NSEC3), signed by Knot itself; "plain",
    without signatures; or the text of a zone file that is served as it is."""

    name = "knotd"

    def __init__(self, folder, zones):
        super().__init__(folder)
        self.zones = dict(zones)

    def command(self):
        lines = [f"""\
server:
    rundir: run
    listen: {LOOPBACK}@{self.port}
log:
  - target: stderr
    any: info
database:
    storage: {self.folder}/db
    journal-db-max-size: 64M
    kasp-db-max-size: 64M
    timer-db-max-size: 4M
acl:
  - id: loopback
    address: {LOOPBACK}
    action: [update, transfer]
policy:"""]
        for policy in POLICIES.values():
            lines.append(f"  - id: {policy['policy']}\n    {policy['lines']}")
        lines.append("zone:")
        for zone, kind in self.zones.items():
            file = self.folder / f"{zone}.zone"
            if not file.exists():
                file.write_text(self.empty_zone(zone) if kind in ("ecdsa", "rsa", "plain") else kind)
            lines.append(f"  - domain: {zone}\n    file: {file}\n    zonefile-sync: -1\n"
                         "    journal-content: all\n    acl: loopback")
            if kind in POLICIES:
                lines.append(f"    dnssec-signing: on\n    dnssec-policy: {kind}")
        configuration = self.folder / "knot.conf"
        configuration.write_text("\n".join(lines) + "\n")
        for folder in "run", "db":
            (self.folder / folder).mkdir(exist_ok=True)
        return [program("knotd"), "-c", str(configuration)]

    def empty_zone(self, zone):
        return (f"$ORIGIN {zone}.\n$TTL 60\n"
                "@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 127.0.0.1\n")

    def answers(self):
        try:
            return all(self.ask(zone, "SOA").answer for zone in self.zones) and all(
                self.is_signed(zone) for zone, kind in self.zones.items() if kind in POLICIES)
        except (OSError, EOFError, dns.exception.DNSException):
            return False

    def is_signed(self, zone):
        """With its keys, and with a proof of what is not there."""
        absent = {rrset.rdtype for rrset in self.ask(f"nobody.{zone}", "TLSA").authority}
        return self.ask(zone, "DNSKEY").answer and dns.rdatatype.RRSIG in absent and (
            absent & {dns.rdatatype.NSEC, dns.rdatatype.NSEC3})

    def ask(self, name, kind):
        query = dns.message.make_query(name, kind, want_dnssec=True)
        return dns.query.tcp(query, LOOPBACK, PATIENCE, port=self.port)

    def zone_of(self, name):
        return max((zone for zone in self.zones if f".{name}".endswith(f".{zone}")), key=len)

    def publish(self, name, *records, ttl=60):
        """Makes these the TLSA records of a name ("3 0 0 HEX"), and no others."""
        update = dns.update.UpdateMessage(self.zone_of(name))
        update.delete(f"{name}.", "TLSA")
        for record in records:
            update.add(f"{name}.", ttl, "TLSA", record)
        self.send(update)

    def add(self, name, kind, data, zone=None, ttl=60):
        update = dns.update.UpdateMessage(zone or self.zone_of(name))
        update.replace(f"{name}.", ttl, kind, data)
        self.send(update)

    def send(self, update):
        answer = dns.query.tcp(update, LOOPBACK, PATIENCE, port=self.port)
        assert answer.rcode() == dns.rcode.NOERROR, dns.rcode.to_text(answer.rcode())

    def records(self, name):
        """The TLSA records of a name, as a peer reads them: (usage, selector, type, data)."""
        return [(r.usage, r.selector, r.mtype, r.cert)
                for rrset in self.ask(name, "TLSA").answer if rrset.rdtype == dns.rdatatype.TLSA
                for r in rrset]

    def anchor(self, zone, form="DNSKEY"):
        """The trust anchor of a zone, one record a line: its key signing keys, or their DS."""
        lines = []
        for rrset in self.ask(zone, "DNSKEY").answer:
            for key in rrset if rrset.rdtype == dns.rdatatype.DNSKEY else ():
                if key.flags != 257:
                    continue
                if form == "DS":
                    lines.append(f"{zone}. IN DS {dns.dnssec.make_ds(rrset.name, key, 'SHA256')}")
                else:
                    lines.append(f"{zone}. IN DNSKEY {key}")
        assert lines, f"{zone} has no key"
        return "\n".join(lines) + "\n"


class Nsd(NameServer):
    """NSD. zones: name -> the text of a zone file, which is served as it is."""

    name = "nsd"

    def __init__(self, folder, zones):
        super().__init__(folder)
        self.zones = dict(zones)

    def command(self):
        lines = [f"""\
server:
    ip-address: {LOOPBACK}@{self.port}
    server-count: 1
    tcp-count: 200
    username: ""
    database: ""
    zonesdir: "{self.folder}"
    pidfile: "{self.folder}/nsd.pid"
    zonelistfile: "{self.folder}/zone.list"
    xfrdfile: "{self.folder}/xfrd.state"
    xfrdir: "{self.folder}"
    rrl-ratelimit: 0
remote-control:
    control-enable: no"""]
        for zone, text in self.zones.items():
            (self.folder / f"{zone}.zone").write_text(text)
            lines.append(f"zone:\n    name: {zone}\n    zonefile: {zone}.zone")
        configuration = self.folder / "nsd.conf"
        configuration.write_text("\n".join(lines) + "\n")
        return [program("nsd"), "-d", "-c", str(configuration)]

    def answers(self):
        return self.soa(next(iter(self.zones)))

    def soa(self, zone):
        """None while there is no answer."""
        try:
            query = dns.message.make_query(zone, "SOA")
            return dns.query.tcp(query, LOOPBACK, PATIENCE, port=self.port).answer
        except (OSError, EOFError, dns.exception.DNSException):
            return None

    def reload(self, zone, text):
        """Serves another text from now on, which must have another serial number."""
        before = self.soa(zone)
        (self.folder / f"{zone}.zone").write_text(text)
        self.process.send_signal(signal.SIGHUP)
        wait_for(lambda: self.soa(zone) not in (None, before), f"nsd to reload {zone}")


class PostgreSQL(Server):
    """PostgreSQL with one role and a password, as an unprivileged user, in a folder of its own that
    this user may enter (pytest's it may not)."""

    name = "postgres"
    password = "se/cr@et"

    def __init__(self):
        super().__init__(tempfile.mkdtemp(prefix="danemsg-postgres-"))
        self.data = self.folder / "data"

    @staticmethod
    def missing():
        """Why there is none here, or None."""
        if not PostgreSQL.programs():
            return "PostgreSQL is not installed (scripts/deps test)"
        if os.getuid() == 0 and shutil.which("setpriv") is None:
            return "root may not run PostgreSQL, and there is no setpriv"
        return None

    @staticmethod
    def programs():
        return max(Path("/usr/lib/postgresql").glob("*/bin"), default=None)

    def as_user(self, *command):
        """setpriv becomes the program: the process is the server's."""
        drop = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        return [*(drop if os.getuid() == 0 else []), str(self.programs() / command[0]), *command[1:]]

    def __enter__(self):
        password = self.folder / "password"
        password.write_text(self.password)
        if os.getuid() == 0:
            shutil.chown(self.folder, "postgres", "postgres")
            shutil.chown(password, "postgres", "postgres")
        subprocess.run(self.as_user("initdb", "-D", str(self.data), "-A", "scram-sha-256", "-U",
                                    "danemsg", f"--pwfile={password}", "-E", "UTF8", "--locale=C",
                                    "--no-sync"),
                       check=True, capture_output=True, cwd=self.folder)
        return super().__enter__()

    def __exit__(self, *exception):
        super().__exit__(*exception)
        shutil.rmtree(self.folder)

    def command(self):
        return self.as_user("postgres", "-D", str(self.data), "-p", str(self.port), "-k",
                            str(self.folder), "-c", f"listen_addresses={LOOPBACK}",
                            "-c", "shared_buffers=16MB")

    def answers(self):
        return subprocess.run([self.programs() / "pg_isready", "-q", "-h", LOOPBACK, "-p",
                               str(self.port)]).returncode == 0

    def stop(self, with_signal=signal.SIGINT):
        """SIGINT is its fast shutdown: connections are ended. SIGQUIT stands for a power cut."""
        super().stop(with_signal)

    @property
    def url(self):
        password = self.password.replace("/", "%2F").replace("@", "%40")
        return f"postgresql://danemsg:{password}@{LOOPBACK}:{self.port}/postgres"

    def ask(self, statement):
        """The rows of a query, by psql."""
        done = subprocess.run([self.programs() / "psql", self.url, "-XAtc", statement], check=True,
                              capture_output=True, text=True)
        return done.stdout.splitlines()


class Silence:
    """A port that takes every question and answers none."""

    def __enter__(self):
        self.socket = socket.socket(type=socket.SOCK_DGRAM)
        self.socket.bind((LOOPBACK, 0))
        self.port = self.socket.getsockname()[1]
        return self

    def __exit__(self, *exception):
        self.socket.close()

    def stub(self, zone):
        return f"{zone}={LOOPBACK}@{self.port}"
