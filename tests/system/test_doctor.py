"""`danemsg doctor`: everything in order, and for each check what must fail it, with the word, the exit
status and what to do; and the errors of other commands that name it."""

import json
import os
import shutil
import signal
import socketserver
import subprocess
import sys
import threading
import time
from pathlib import Path

import craft
import dns.message
import dns.query
import dns.rdatatype
import pytest
from cases import STATUS as WORDS
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from servers import LOOPBACK, NOBODY, PATIENCE, Broker, Knot, program, receive, wait_for
from signed_zone import DAY, SignedZone
from test_broker import Authority, tls_lines
from test_clock import Clock, library  # noqa: F401
from test_durable import SmallDisk
from test_recursion import HERE, can_isolate
from world import DANEMSG, RECORD

CHECKS = ["identity", "certificate", "rollover", "trust-anchor", "resolver", "answer", "sandbox",
          "record", "ttl", "signatures", "broker", "limits", "subscription", "clock", "state", "disk",
          "store", "integrity", "outbox", "receiver"]
STATUS = {**WORDS, "local": 2, "broker": 10}
RESULTS = {"ok", "warning", "failed", "not-checked"}


@pytest.fixture(scope="module")
def good(world):
    return world.identity("doctor.good.test")


def server(world, port=None):
    """The variables that have everything asked of one server."""
    return {"DANEMSG_DNS_STUB": None, "DANEMSG_DNS_SERVER": f"{LOOPBACK}@{port or world.knot.port}"}


class Report:
    def __init__(self, ran):
        self.status, self.err, self.text = ran.status, ran.err, ran.text
        self.lines = [json.loads(line) for line in ran.text.splitlines()]

    def all(self, check):
        return [line for line in self.lines if line["check"] == check]

    def bad(self):
        """(check, result) of what is not in order."""
        return [(line["check"], line["result"]) for line in self.lines
                if line["result"] in ("warning", "failed")]

    def says(self, check, result, text, outcome=None):
        found = [line for line in self.all(check) if line["result"] == result
                 and text in line["text"] + " DO " + line.get("advice", "")
                 and line.get("outcome") == outcome]
        assert found, (check, result, text, outcome, self.text, self.err)


def doctor(world, name, *options, **changes):
    """By default one server for everything, that of the good zones."""
    ran = world.run("doctor", "--json", name, *options, **{**server(world), **changes})
    return Report(ran)


# ------------------------------------------------------------------------------ all in order


def test_all_is_well(world, good):
    report = doctor(world, good)
    assert report.status == 0 and report.bad() == [] and report.err == "", report.text
    assert list(dict.fromkeys(line["check"] for line in report.lines)) == CHECKS
    for line in report.lines:
        assert line["result"] in RESULTS and line["text"], line
        assert set(line) <= {"check", "result", "outcome", "text", "advice"}, line
        assert ("outcome" in line) == (line["result"] in ("warning", "failed")), line
    report.says("resolver", "ok", "answers and passes DNSSEC")
    report.says("clock", "not-checked", "no evidence from the broker: the connection is without TLS")
    assert not (world.folder / "state").exists() or good not in os.listdir(world.folder / "state")


def test_text_and_quiet(world, good):
    """One line each, the word first; -q leaves what is in order out."""
    shown = world.run("doctor", good, **server(world))
    assert shown.status == 0 and shown.err == "", shown
    for line in shown.text.splitlines():
        assert line.split()[0] in RESULTS and line.split()[1] in CHECKS, line
    assert world.run("doctor", "-q", good, **server(world)).out == b""
    quiet = world.run("doctor", "-q", good, "-p", "1", **server(world))
    assert quiet.status == 10 and len(quiet.text.splitlines()) == 1, quiet
    assert quiet.text.startswith("failed       broker ") and "; do: " in quiet.text


def test_no_name(world):
    ran = world.run("doctor")
    assert ran.status == 2 and "IDENTITY_NAME" in ran.err and ran.out == b"", ran


# ----------------------------------------------------------------------------------- identity


@pytest.fixture
def files(world, good, tmp_path):
    """Copies of the good identity's files, to be spoilt."""
    folder = tmp_path / "identity"
    folder.mkdir(mode=0o700)
    for kind in "key", "crt":
        shutil.copy(world.crypto / f"{good}.{kind}.pem", folder)
    return folder


def replace_key(folder, name):
    key = craft.ec.generate_private_key(craft.ec.SECP256R1())
    (folder / f"{name}.key.pem").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption()))


SPOILT = [
    (lambda folder, name: (folder / f"{name}.key.pem").chmod(0o644),
     "failed", "local", "the key file is open to others (mode 0644): run chmod 600"),
    (lambda folder, name: (folder / f"{name}.key.pem").unlink(),
     "failed", "local", "DO `danemsg identity new`"),
    (lambda folder, name: (folder / f"{name}.key.pem").write_text("nothing"),
     "failed", "local", "key.pem"),
    (lambda folder, name: replace_key(folder, name), "failed", "local", "crt.pem"),
    (lambda folder, name: (folder / f"{name}.crt.pem").chmod(0o666),
     "warning", "local", "others may change"),
    (lambda folder, name: folder.chmod(0o777), "warning", "local", "others may replace the files in"),
]


@pytest.mark.parametrize("spoil, result, word, text", SPOILT,
                         ids=["mode", "none", "no-key", "another-key", "certificate-mode", "folder"])
def test_identity(world, good, files, spoil, result, word, text):
    spoil(files, good)
    report = doctor(world, good, CRYPTO_PATH=files)
    report.says("identity", result, text, word)
    assert report.status == (STATUS[word] if result == "failed" else 0)
    if result == "failed":
        for check in "certificate", "rollover", "record":
            report.says(check, "not-checked", "not checked, since 'identity' failed")
        report.says("answer", "ok", "DNS is secure")


def test_no_folder(world, good, tmp_path):
    report = doctor(world, good, CRYPTO_PATH=tmp_path / "none")
    report.says("identity", "failed", "none", "local")
    assert report.status == 2


def test_rollover(world, good, files):
    assert doctor(world, good, CRYPTO_PATH=files).bad() == []
    shutil.copy(files / f"{good}.key.pem", files / f"{good}.old.key.pem")
    report = doctor(world, good, CRYPTO_PATH=files)
    report.says("rollover", "warning", "old.* files and no rollover", "local")
    assert report.status == 0
    (files / f"{good}.old.key.pem").unlink()
    started = world.run("identity", "rollover", "start", good, CRYPTO_PATH=files, **server(world))
    assert started.status == 0, started
    report = doctor(world, good, CRYPTO_PATH=files)
    report.says("rollover", "ok", "one is under way")
    (files / f"{good}.rollover").write_text("nonsense\n")
    report = doctor(world, good, CRYPTO_PATH=files)
    report.says("rollover", "failed", "rollover", "local")
    assert report.status == 2


# --------------------------------------------------------------------------------------- clock


@pytest.fixture(scope="module")
def tls(world, tmp_path_factory):
    """A broker with TLS, and the variables to reach it."""
    folder = tmp_path_factory.mktemp("doctor-tls")
    authority = Authority(folder, "doctor")
    authority.issue("server", x509.DNSName("localhost"))
    with Broker(folder / "broker", tls_lines(authority, "server")) as broker:
        yield {"MQTT_HOST": "localhost", "MQTT_PORT": broker.port, "DANEMSG_CAFILE": authority.file}


@pytest.mark.parametrize("offset, dns_says", [
    (730 * DAY, "signature expired"), (-730 * DAY, "signature before inception date")],
    ids=["ahead", "behind"])
def test_clock(world, good, library, tls, offset, dns_says):  # noqa: F811
    clock = Clock(world.folder, library, True)
    report = doctor(world, good, **tls, **clock.variables)
    assert report.status == 0 and report.bad() == [], report.text
    report.says("clock", "ok", "the broker's certificate is valid")
    clock.set(offset)
    report = doctor(world, good, **tls, **clock.variables)
    assert report.status == 5
    report.says("resolver", "warning", "signatures of another time", "dns-bogus")
    report.says("answer", "failed", dns_says, "dns-bogus")
    report.says("ttl", "not-checked", "since 'answer' failed")
    report.says("clock", "failed", "the signatures of DNS do not hold at 20", "dns-bogus")
    report.says("broker", "failed", "TLS: certificate", "broker")
    report.says("clock", "failed", "the broker's certificate is valid from", "broker")


def test_clock_never_set(world, good, library, files, tmp_path):  # noqa: F811
    clock = Clock(world.folder, library, True)
    clock.set(0, synchronised=False)
    path = tmp_path / f"{good}.client-id"
    path.write_text("x")
    report = doctor(world, good, **clock.variables)
    report.says("clock", "warning", "nobody has set the clock", "time")
    assert report.status == 0
    clock.set(0)
    os.utime(path, (time.time() + DAY, time.time() + DAY))
    report = doctor(world, good, "--state", tmp_path, **clock.variables)
    report.says("clock", "warning", f"{path} was written at", "time")


# ----------------------------------------------------------------------------------------- DNS


class Stripping:
    """A resolver that hands everything on but what DNSSEC needs."""

    def __init__(self, port):
        stripping = {dns.rdatatype.RRSIG, dns.rdatatype.NSEC, dns.rdatatype.NSEC3}

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                data, sock = self.request
                answer = dns.query.tcp(dns.message.from_wire(data), LOOPBACK, 5, port=port)
                for section in answer.answer, answer.authority:
                    section[:] = [rrset for rrset in section if rrset.rdtype not in stripping]
                sock.sendto(answer.to_wire(), self.client_address)

        self.server = socketserver.ThreadingUDPServer((LOOPBACK, 0), Handler)
        self.port = self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        self.server.shutdown()
        self.server.server_close()


def test_a_resolver_that_strips(world, good):
    with Stripping(world.knot.port) as stripping:
        report = doctor(world, good, **server(world, stripping.port))
        assert report.status == 5
        report.says("resolver", "failed", "strips DNSSEC: ", "dns-bogus")
        report.says("answer", "failed", "does not validate", "dns-bogus")
        report = doctor(world, good, DANEMSG_DNS_STUB=f"good.test={LOOPBACK}@{stripping.port}")
        report.says("resolver", "failed", f"good.test={LOOPBACK}@{stripping.port} answers without",
                    "dns-bogus")


@pytest.mark.skipif(not can_isolate(), reason="namespaces of one's own need root and iproute2")
def test_a_system_that_strips(tmp_path):
    """It is left, so that this is no failure."""
    ran = subprocess.run(
        ["unshare", "-n", "-m", sys.executable, "-B", HERE / "recursion.py", tmp_path, "strips",
         DANEMSG, "doctor", "--json", "--trust-anchor", "ANCHOR", "alice.test"],
        capture_output=True, timeout=PATIENCE, cwd=HERE)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    found = {line["check"]: line for line in lines if line["check"] in ("resolver", "answer")}
    assert found["resolver"]["result"] == "warning" and "127.0.0.2, of this system, strips" in \
        found["resolver"]["text"], lines
    assert found["answer"]["result"] == "ok" and "strip DNSSEC" in found["answer"]["text"], lines
    assert ran.returncode == 2  # there is no identity


def test_a_resolver_that_is_away(world, good):
    """A failure when there is no other."""
    away = f"{LOOPBACK}@{NOBODY}"
    report = doctor(world, good, "-W", "1", DANEMSG_DNS_SERVER=away)
    assert report.status == 4
    report.says("resolver", "failed", f"{away} does not answer", "dns-temporary")
    report.says("answer", "failed", "", "dns-temporary")
    report.says("clock", "not-checked", "no evidence from DNS")


@pytest.mark.slow  # five seconds
def test_one_of_two_resolvers_is_away(world, good):
    """A warning: all else has the time that it needs."""
    away = f"{LOOPBACK}@{NOBODY}"
    report = doctor(world, good, DANEMSG_DNS_SERVER=away,
                    DANEMSG_DNS_STUB=world.knot.stub("good.test"))
    assert report.status == 0 and report.bad() == [("resolver", "warning")], report.text
    report.says("resolver", "warning", f"{away} does not answer, and others do", "dns-temporary")


def test_trust_anchors(world, good, tmp_path):
    report = doctor(world, good, "--trust-anchor", tmp_path / "none")
    assert report.status == 2
    report.says("trust-anchor", "failed", "none: No such file", "local")
    for check in "resolver", "answer", "sandbox":
        report.says(check, "not-checked", "since 'trust-anchor' failed")
    report.says("broker", "ok", "lets us in")
    anchor = tmp_path / "anchor"
    anchor.write_text("no record\n")
    report = doctor(world, good, "--trust-anchor", anchor)
    report.says("trust-anchor", "failed", str(anchor), "local")
    anchor.write_text(SignedZone("good.test", []).anchor)
    report = doctor(world, good, "--trust-anchor", anchor)
    assert report.status == 5
    report.says("trust-anchor", "ok", "has 1 record, of good.test.")
    report.says("answer", "failed", "does not validate", "dns-bogus")
    anchor.write_text(world.knot.anchor("rsa.test"))
    report = doctor(world, good, "--trust-anchor", anchor)
    report.says("answer", "failed", "below no trust anchor", "dns-insecure")
    report.says("resolver", "not-checked", "tells nothing of DNSSEC")


def test_kept_trust_anchors(world, good, tmp_path):
    """The root's, in the state folder, of which nothing here is below."""
    kept = tmp_path / "trust" / "root.key"
    kept.parent.mkdir()
    for text, result, outcome, says in [
            (". 86400 IN DS 20326 8 2 E06D44B80B8F1D39A95C0B0D7C65D08458E880409BBC683457104237C7F8EC8D\n"
             f";;last_success: {int(time.time())} ;;\n", "ok", None, "kept up to date"),
            ("nonsense\n", "warning", "local", "cannot be understood")]:
        kept.write_text(text)
        report = doctor(world, good, "-W", "1", "--state", tmp_path, DANEMSG_TRUST_ANCHOR=None)
        report.says("trust-anchor", result, says, outcome)


# ------------------------------------------------------------------------------------- records


def test_records(world):
    name = world.identity("doctor-records.good.test")
    other = world.identity("doctor-other.good.test")
    own = world.tlsa(name)
    rows = [(own, 60, 0, []),
            (world.tlsa(other), 60, 6, [("record", "failed", "for the key here", "certificate"),
                                        ("record", "failed", "others encrypt to record 1",
                                         "certificate")]),
            (world.tlsa(name, "--selector", "1") + world.tlsa(other), 60, 6, [("record", "failed", "others encrypt to record",
                                               "certificate")]),
            (own + [RECORD], 60, 0, [("record", "warning", "is of a key that is not here",
                                      "certificate")]),
            (own + ["3 0 0 00"], 60, 0, [("record", "warning", "of no use", "certificate")]),
            (own, 0, 0, [("ttl", "warning", "0 s, or what is left", "dns-temporary")]),
            (own, 200000, 0, [("ttl", "warning", "a day or more", "dns-temporary")]),
            ([], 60, 3, [("answer", "failed", "DO `danemsg identity publish`", "no-identity"),
                         ("record", "not-checked", "since 'answer' failed", None)])]
    for records, ttl, status, findings in rows:
        world.knot.publish(name, *records, ttl=ttl)
        report = doctor(world, name)
        assert report.status == status, (records, ttl, report.text)
        for finding in findings:
            report.says(*finding)
        assert findings or report.bad() == [], report.text


def test_a_digest_only(world):
    """Who only sends is well with it."""
    name = world.identity("doctor-digest.good.test", publish=False)
    world.knot.publish(name, *world.tlsa(name, "--selector", "1", "--matching-type", "1"))
    report = doctor(world, name)
    assert report.status == 0 and report.bad() == [], report.text
    report.says("record", "ok", "nobody can encrypt to this name")


def test_zones(world, tmp_path):
    """Not signed; signed long ago; signed not for long."""
    plain = world.identity("doctor.plain.test")
    report = doctor(world, plain)
    assert report.status == 5
    report.says("answer", "failed", "DO have the zone signed", "dns-insecure")
    report.says("clock", "not-checked", "no evidence from DNS: the answer is not signed")
    expired = world.run("doctor", "--json", "alice.expired.test", **server(world))
    Report(expired).says("clock", "failed", "signature expired", "dns-bogus")
    name = world.identity("doctor.soon.test", publish=False)
    zone = SignedZone("soon.test", [f"doctor TLSA {world.tlsa(name)[0]}"], expiration=DAY)
    (tmp_path / "anchor").write_text(zone.anchor)
    with Knot(tmp_path / "knot", {"soon.test": zone.text}) as knot:
        report = doctor(world, name, "--trust-anchor", tmp_path / "anchor",
                        **server(world, knot.port))
    report.says("signatures", "warning", "those over the answer end on", "dns-bogus")
    assert report.status == 0 and report.bad() == [("signatures", "warning")], report.text


# -------------------------------------------------------------------------------------- broker


def test_broker_away(world, good):
    report = doctor(world, good, "-p", NOBODY)
    assert report.status == 10 and report.bad() == [("broker", "failed")]
    report.says("broker", "failed", "Connection refused", "broker")
    for check in "limits", "subscription":
        report.says(check, "not-checked", "since 'broker' failed")


def test_broker_without_tls(world, good, tls):
    report = doctor(world, good, **{**tls, "MQTT_PORT": world.broker.port})
    report.says("broker", "failed", "TLS", "broker")
    report.says("clock", "not-checked", "it has shown no certificate")
    report = doctor(world, good, **{**tls, "DANEMSG_CAFILE": "/nonexistent"})
    report.says("broker", "failed", "/nonexistent", "local")
    assert report.status == 2


def test_credentials_and_rules(world, good, tmp_path):
    """A user that may connect and may not subscribe, and one that may not connect."""
    passwords, rules = tmp_path / "passwords", tmp_path / "rules"
    subprocess.run([program("mosquitto_passwd"), "-b", "-c", passwords, "doctor", "SECRETWORD"],
                   check=True)
    rules.write_text("user doctor\ntopic read elsewhere\n")
    for path in passwords, rules:
        path.chmod(0o644)
    with Broker(tmp_path / "broker", f"password_file {passwords}\nacl_file {rules}") as broker:
        broker_at = {"MQTT_PORT": broker.port, "DANEMSG_USERNAME": "doctor"}
        wrong = doctor(world, good, "-P", "WRONGWORD", **broker_at)
        assert wrong.status == 10
        wrong.says("broker", "failed", "refused the connection", "broker")
        right = doctor(world, good, "-P", "SECRETWORD", **broker_at)
        right.says("broker", "ok", "with a user name")
        assert "WORD" not in right.text + right.err + wrong.text + wrong.err


def test_limits(world, good, tmp_path):
    """Of a real broker."""
    with Broker(tmp_path / "broker",
                "max_packet_size 20000\nretain_available false\nmax_qos 0") as broker:
        report = doctor(world, good, MQTT_PORT=broker.port)
        report.says("limits", "warning", "packets of 20000 octets at most", "size")
        report.says("limits", "warning", "it retains no messages", "broker")
        report.says("limits", "warning", "quality of service 0 only", "broker")
        assert report.status == 0
        report = doctor(world, good, "--max-message-size", "10000", MQTT_PORT=broker.port)
        report.says("limits", "ok", "packets of 20000 octets")
        report = doctor(world, good, "-V", "311", MQTT_PORT=broker.port)
        report.says("limits", "not-checked", "MQTT 3.1.1 has no words")


class Scripted:
    """A broker that answers every CONNECT with the same properties, and refuses subscriptions."""

    def __init__(self, properties):
        said = self.said = []

        class Handler(socketserver.BaseRequestHandler):
            def packet(self):
                kind, size = receive(self.request, 2)
                if size & 0x80:
                    size = size & 0x7F | receive(self.request, 1)[0] << 7
                body = receive(self.request, size)
                said.append((kind, body))
                return kind, body

            def handle(self):
                self.request.settimeout(PATIENCE)
                self.packet()
                self.request.sendall(bytes([0x20, 3 + len(properties), 0, 0, len(properties)])
                                     + properties)
                while True:
                    kind, body = self.packet()
                    if kind == 0x82:
                        self.request.sendall(b"\x90\x04" + body[:2] + b"\x00\x87")
                    if kind == 0xE0:
                        return

            def finish(self):
                self.request.close()

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True

            def handle_error(self, request, address):
                pass  # the other end is gone

        self.server = Server((LOOPBACK, 0), Handler)
        self.port = self.server.server_address[1]

    __enter__, __exit__ = Stripping.__enter__, Stripping.__exit__


def test_limits_of_another(world, good):
    """What mosquitto always grants: a session for a month, shared subscriptions. The session that is
    asked for is given back, and the receiver's is not touched."""
    with Scripted(b"\x11\x00\x00\x00\x3c\x2a\x00") as broker:
        report = doctor(world, good, MQTT_PORT=broker.port)
        assert report.status == 10
        report.says("limits", "warning", "it keeps a session for 60 seconds", "broker")
        report.says("subscription", "failed", "refused: Not authorized", "broker")
        assert not [line for line in report.all("limits") if line["result"] == "failed"]
        report = doctor(world, good, "--group", "workers", MQTT_PORT=broker.port)
        report.says("limits", "failed", "no shared subscriptions", "broker")
    connects = [body for kind, body in broker.said if kind == 0x10]
    assert len(connects) == 4 and all(body[7] & 0x02 for body in connects)  # clean start
    identifiers = {body[-23:] for body in connects}
    assert len(identifiers) == 4
    assert (0xE0, b"\x00\x05\x11\x00\x00\x00\x00") in broker.said  # session expiry 0
    filters = [body for kind, body in broker.said if kind == 0x82]
    assert len(filters) == 2 and not [body for body in filters if b"$share" in body]
    assert not [kind for kind, _ in broker.said if kind & 0xF0 == 0x30]  # nothing is published
    with Scripted(b"\x11\x00\x00\x00\x00") as broker:
        doctor(world, good, MQTT_PORT=broker.port).says(
            "limits", "warning", "it keeps no session", "broker")


# ------------------------------------------------------------------------- store, disk, receiver


def test_a_running_receiver(world, good, alice):
    """It is seen, and is not disturbed."""
    with world.receiver(good, **server(world)) as receiver:
        state = receiver.changes["DANEMSG_STATE"]
        world.broker.publish(good, b"no envelope")  # its status is written when something happens
        status = state / f"{good}.status"
        wait_for(lambda: '"subscribed":true' in status.read_text(), "its status")
        report = doctor(world, good, DANEMSG_STATE=state)
        assert report.status == 0 and report.bad() == [], report.text
        report.says("receiver", "ok", f"process {receiver.process.pid}, and is subscribed")
        report.says("integrity", "ok", "is sound")
        receiver.process.send_signal(signal.SIGSTOP)  # or it may write its status now
        os.utime(status, (time.time() - 120, time.time() - 120))
        report = doctor(world, good, DANEMSG_STATE=state)
        report.says("receiver", "warning", "it hangs", "local")
        status.unlink()
        report = doctor(world, good, DANEMSG_STATE=state)
        report.says("receiver", "warning", "has written no status", "local")
        receiver.process.send_signal(signal.SIGCONT)
        assert world.run("send", good, "STILL THERE", me=alice).status == 0
        receiver.wait_out("STILL THERE\n")
        assert receiver.stop() == 0 and receiver.out.count(b"says") == 1
    report = doctor(world, good, DANEMSG_STATE=state)
    report.says("receiver", "ok", "none runs")
    report.says("store", "ok", "1 delivered and kept")


@pytest.fixture
def state(world, good, alice):
    """A state folder with a database that has a message to send."""
    folder = world.new_state()
    queued = world.run("send", "--queue", "--to", alice, "-m", "x" * 20000, me=good,
                       DANEMSG_STATE=folder)
    assert queued.status == 0, queued
    return folder


def test_store(world, good, state):
    database = state / f"{good}.db"
    report = doctor(world, good, DANEMSG_STATE=state)
    assert report.status == 0 and report.bad() == [], report.text
    report.says("outbox", "ok", "1 messages to send")
    database.chmod(0o644)
    report = doctor(world, good, DANEMSG_STATE=state)
    report.says("store", "warning", "others may open", "local")
    database.chmod(0o600)
    report = doctor(world, world.identity("doctor-thief.good.test"), "--store", f"sqlite:{database}",
                    DANEMSG_STATE=state)
    report.says("store", "failed", f"holds the messages of {good}", "local")
    report.says("integrity", "not-checked", "since 'store' failed")
    assert report.status == 2


def test_damaged_databases(world, good, state):
    database = state / f"{good}.db"
    octets = bytearray(database.read_bytes())
    page = int.from_bytes(octets[16:18], "big")
    for at in range(len(octets) // page - 6, len(octets) // page):
        octets[at * page:at * page + 100] = b"\xff" * 100
    database.write_bytes(octets)
    report = doctor(world, good, DANEMSG_STATE=state)
    assert report.status == 2, report.text
    assert ("integrity", "failed") in report.bad() or ("store", "failed") in report.bad()
    assert "damaged" in report.text
    database.write_bytes(b"no database" * 1000)
    report = doctor(world, good, DANEMSG_STATE=state)
    report.says("store", "failed", "is damaged or no database", "local")


def test_state_and_disk(world, good, tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    with SmallDisk(folder) as disk:
        report = doctor(world, good, "--state", folder)
        assert report.status == 2
        report.says("disk", "failed", "DO make room", "local")
        disk.remount("size=64m")
        report = doctor(world, good, "--state", folder)
        report.says("disk", "warning", "messages that are kept may take 1024 more", "local")
        report = doctor(world, good, "--state", folder, "--retain-size", "10")
        report.says("disk", "ok", "MiB are left")
        folder.chmod(0o777)
        doctor(world, good, "--state", folder).says("state", "warning", "others may write", "local")
        disk.remount("ro")
        report = doctor(world, good, "--state", folder)
        assert report.status == 2
        report.says("state", "failed", "DO mount its file system for writing", "local")
        report.says("store", "not-checked", "since 'state' failed")
        report = doctor(world, good, "--state", folder / "sub" / "state")
        assert report.status == 2
        report.says("state", "failed", f"cannot be made in {folder}: Read-only", "local")
        disk.remount("rw")
        report = doctor(world, good, "--state", folder / "sub" / "state")
        report.says("state", "ok", "is not there yet")
        assert os.listdir(folder) == []
    file = tmp_path / "file"
    file.write_text("")
    file.chmod(0o700)
    report = doctor(world, good, "--state", file)
    report.says("state", "failed", "is no folder", "local")


# ------------------------------------------------------------------ errors that name the doctor

HINT = "`danemsg doctor` looks for the cause"


def test_who_names_it(world, good, files, state, tmp_path):
    """What a check explains names it, once, in the last line; what none explains does not."""
    away, key = NOBODY, files / f"{good}.key.pem"
    key.chmod(0o644)
    (state / f"{good}.db").write_bytes(b"no database" * 1000)
    envelope = world.message(world.identity("doctor-peer.good.test"), good)
    envelope.claims["exp"] = envelope.claims["iat"] + 1
    envelope.claims["iat"] -= 100
    envelope.claims["exp"] -= 50
    rows = [
        ("broker", True, ["send", "-p", away, good, "x"], {}),
        ("dns-bogus", True, ["send", "alice.expired.test", "x"], {}),
        ("dns-bogus", True, ["identity", "check", "doctor.expired.test"], {}),
        ("dns-insecure", True, ["lookup", "alice.plain.test"], {}),
        ("local", True, ["send", good, "x"], {"CRYPTO_PATH": files}),
        ("local", True, ["identity", "show"], {"CRYPTO_PATH": files}),
        ("local", True, ["seal", "--to", good], {"DANEMSG_TRUST_ANCHOR": "/nonexistent"}),
        ("local", True, ["inbox", "list"], {"DANEMSG_STATE": state}),
        ("local", True, ["status"], {"DANEMSG_STATE": state}),
        ("time", True, ["open"], {"input": envelope.envelope()}),
        ("no-identity", True, ["identity", "check", "doctor-unpublished.good.test"], {}),
        ("certificate", True, ["identity", "check", "doctor-wrong.good.test"], {}),
        ("certificate", False, ["seal", "--to", "digest.good.test"], {}),
        ("no-identity", False, ["lookup", "nobody.good.test"], {}),
        ("no-identity", False, ["send", "nobody.good.test", "x"], {}),
        ("local", False, ["send", "--to", good, "-f", tmp_path / "none"], {}),
        ("format", False, ["open"], {"input": b"nothing"}),
        (None, False, ["send", "--no-such-option"], {})]
    world.identity("doctor.expired.test", publish=False)
    unpublished = world.identity("doctor-unpublished.good.test", publish=False)
    world.knot.publish(world.identity("doctor-wrong.good.test", publish=False), RECORD)
    world.knot.publish("digest.good.test", "3 1 1 " + 64 * "0")
    for word, named, arguments, changes in rows:
        ran = world.run(*arguments, me=good, **changes)
        row = (arguments, ran)
        assert ran.status == (STATUS[word] if word else 1), row
        assert word is None or f" {word}: " in ran.err, row
        assert ran.err.count(HINT) == named, row
        assert not named or ran.err.splitlines()[-1].endswith(HINT), row
        assert HINT.encode() not in ran.out, row
    waits = world.run("receive", "-W", "1", me=unpublished, DANEMSG_STATE=world.new_state())
    assert waits.status == 12 and waits.err.count(HINT) == 1, waits


def test_several_recipients_name_it_once(world, good):
    ran = world.run("send", "--to", "alice.expired.test", "--to", "bob.expired.test", "-m", "x", me=good)
    assert ran.status == 5 and ran.err.count("dns-bogus") == 2 and ran.err.count(HINT) == 1, ran


def test_links_keep_their_output(world, good, tmp_path):
    link = tmp_path / "send_message"
    link.symlink_to(DANEMSG)
    ran = subprocess.run([link, good, "x"], capture_output=True, text=True, timeout=PATIENCE,
                         env=world.environment(IDENTITY_NAME=good, MQTT_PORT=NOBODY))
    assert ran.returncode == 1 and "broker" in ran.stderr and HINT not in ran.stderr, ran


def test_what_is_typed(world, good, tmp_path):
    """Who runs it by danemsg-service is told to type that, on stderr, in a result and in JSON."""
    typed = "`sudo danemsg-service @x identity new`"
    for wanted, changes in (typed, {"DANEMSG_TYPED_AS": "sudo danemsg-service @x"}), \
            ("`danemsg identity new`", {}):
        changes = {"CRYPTO_PATH": tmp_path / "none", "IDENTITY_NAME": good, **changes}
        shown = world.run("identity", "show", **{**changes, "CRYPTO_PATH": tmp_path})
        assert shown.status == 2 and wanted in shown.err, shown
        assert wanted[:-len("identity new`")] + "doctor` looks" in shown.err, shown
        report = doctor(world, good, "-W", "1", **changes)
        report.says("identity", "failed", f"DO {wanted}", "local")
        made = world.run("identity", "new", **{**changes, "CRYPTO_PATH": tmp_path / wanted[:8]})
        assert made.status == 0 and wanted.replace("new`", f"tlsa {good}`") in made.text, made


def test_a_receiver_names_it_once(world, good):
    """At its first connection that fails, and not with messages that are refused."""
    with world.receiver(good, "--log-json", **server(world)) as receiver:
        for number in range(3):
            world.broker.publish(good, b"no envelope %d" % number)
        wait_for(lambda: receiver.err.count('"outcome":"format"') >= 3, "three refusals")
        receiver.stop()
        assert HINT not in receiver.err
        receiver.changes["MQTT_PORT"] = NOBODY
        receiver.start(wait=False)
        wait_for(lambda: HINT in receiver.err, "the doctor's name")
        assert receiver.stop() == 0
        assert receiver.err.count(HINT) == 1
        events = [json.loads(line) for line in receiver.err.splitlines()]
        [hint] = [number for number, event in enumerate(events) if HINT in event["text"]]
        assert events[hint - 1]["outcome"] == "broker", events
