"""The way to the broker: TLS by CAs or by TLSA records, certificates of clients, lines at full speed,
brokers that vanish, and brokers that nobody should have."""

import datetime
import ipaddress
import os
import pty
import re
import socket
import ssl
import struct
import subprocess
import threading
import time

import craft
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from servers import (LOOPBACK, NOBODY, PATIENCE, Broker, Knot, free_port, program, receive,
                     variable_length, wait_for)
from signed_zone import SignedZone
from test_campaigns import LOG_RATE
from world import DANEMSG

# ---------------------------------------------------------------------------------- certificates


class Authority:
    """A CA, and what it issues, as files: NAME.crt (with the CA's behind it) and NAME.key."""

    def __init__(self, folder, name):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.certificate = self.make(self.key, self.name, 10, [
            (x509.BasicConstraints(True, None), True)])
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(self.certificate.public_bytes(serialization.Encoding.PEM))

    def make(self, key, subject, days, extensions):
        now = datetime.datetime.utcnow()
        builder = x509.CertificateBuilder(self.name, subject, key.public_key(),
                                          x509.random_serial_number(),
                                          now - datetime.timedelta(3), now + datetime.timedelta(days))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256())

    def hashed(self):
        """A folder as OpenSSL looks it through: the CA under the hash of its name."""
        name = subprocess.run(["openssl", "x509", "-noout", "-hash", "-in", self.file], check=True,
                              capture_output=True, text=True).stdout.strip()
        folder = self.folder / "hashed"
        folder.mkdir()
        (folder / f"{name}.0").write_bytes(self.file.read_bytes())
        return folder

    def issue(self, name, *alternatives, days=10):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        certificate = self.make(key, subject, days, [
            (x509.SubjectAlternativeName(alternatives), False)])
        (self.folder / f"{name}.crt").write_bytes(
            certificate.public_bytes(serialization.Encoding.PEM) + self.file.read_bytes())
        (self.folder / f"{name}.key").write_bytes(key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption()))
        return certificate


def record(certificate, usage, selector=1, matching_type=1):
    data = craft.spki(certificate) if selector else certificate.public_bytes(
        serialization.Encoding.DER)
    if matching_type:
        digest = hashes.Hash(hashes.SHA256())
        digest.update(data)
        data = digest.finalize()
    return f"{usage} {selector} {matching_type} {data.hex()}"


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("authority"), "ours")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("stranger"), "theirs")


def tls_lines(authority, name, more=""):
    return (f"cafile {authority.file}\ncertfile {authority.folder}/{name}.crt\n"
            f"keyfile {authority.folder}/{name}.key\n{more}")


@pytest.fixture(scope="module")
def tls_broker(authority, tmp_path_factory):
    authority.issue("server", x509.DNSName("localhost"))
    with Broker(tmp_path_factory.mktemp("tls"), tls_lines(authority, "server")) as broker:
        yield broker


def send(world, me, to, *options, **changes):
    return world.run("send", *options, "--to", to, "-m", "HELLO THERE", me=me, **changes)


# ------------------------------------------------------------------------------------------- TLS


def test_tls_by_authorities(world, alice, bob, authority, stranger, tls_broker):
    """Each row beside the ones that must fail."""
    to = {"MQTT_HOST": "localhost", "MQTT_PORT": tls_broker.port}
    ours = ["--cafile", authority.file]
    url = f"//localhost:{tls_broker.port}"
    rows = [(ours, to, 0, ""),
            ([*ours, "--tls-version", "tlsv1.3"], to, 0, ""),
            ([*ours, "-L", "mqtts:" + url], {}, 0, ""),
            (["--capath", authority.hashed()], to, 0, ""),
            (["--capath", stranger.hashed()], to, 10, "broker: .*TLS: .*certificate"),
            (["--cafile", stranger.file], to, 10, "broker: .*TLS: .*certificate"),
            (["--tls"], to, 10, "broker: .*TLS: .*certificate"),
            (["--tls-use-os-certs"], to, 10, "broker: .*TLS: .*certificate"),
            (ours, {**to, "MQTT_HOST": LOOPBACK}, 10, "broker: .*IP address mismatch"),
            ([], to, 10, "broker: "),  # not TLS at all
            (ours, {"MQTT_HOST": "localhost"}, 10, "broker: .*TLS"),  # to a broker without
            ([*ours, "-L", "mqtt:" + url], {}, 1, "use mqtts://"),
            (["--tls-version", "tlsv1.1"], to, 1, "--tls-version wants"),
            (["--cafile", "/nonexistent"], to, 2, "local: .*nonexistent.*No such file"),
            (["--cafile", "/dev/null"], to, 2, "local: .*certificates in PEM are wanted"),
            (["--capath", "/nonexistent"], to, 2, "local: .*nonexistent.*No such file"),
            (["--cert", authority.file, "--key", world.crypto / f"{alice}.key.pem"], to, 2,
             "local: .*not that of the client certificate|key values mismatch"),
            (["--cert", authority.file, "--key", authority.file], to, 2, "without a passphrase"),
            # refused at once, which the TLS library gets to know before us
            (["--tls"], {**to, "MQTT_PORT": free_port()}, 10, "broker: .*Connection refused")]
    for options, changes, status, text in rows:
        sent = send(world, alice, bob, *options, **changes)
        assert sent.status == status and re.search(text, sent.err), (options, sent)


def test_certificates_of_clients(world, alice, bob, carol, authority, stranger, tmp_path):
    """The broker knows alice's own certificate, and what our CA issued."""
    authority.issue("strict", x509.DNSName("localhost"))
    authority.issue("client", x509.DNSName("client.test"))
    stranger.issue("client", x509.DNSName("client.test"))
    known = tmp_path / "known.pem"
    known.write_bytes(authority.file.read_bytes() + (world.crypto / f"{alice}.crt.pem").read_bytes())
    nobody = world.identity("nocert.good.test", publish=False)
    (world.crypto / f"{nobody}.crt.pem").unlink()
    lines = tls_lines(authority, "strict", "require_certificate true").replace(
        f"cafile {authority.file}", f"cafile {known}")
    with Broker(tmp_path / "broker", lines) as broker:
        to = {"MQTT_HOST": "localhost", "MQTT_PORT": broker.port,
              "DANEMSG_CAFILE": authority.file}
        ours, theirs = authority.folder / "client", stranger.folder / "client"
        rows = [(alice, [], 10), (alice, ["--identity-cert"], 0), (carol, ["--identity-cert"], 10),
                (carol, ["--cert", f"{ours}.crt", "--key", f"{ours}.key"], 0),
                (carol, ["--cert", f"{theirs}.crt", "--key", f"{theirs}.key"], 10),
                (carol, ["--cert", f"{ours}.crt", "--key", f"{theirs}.key"], 2),
                (carol, ["--cert", f"{ours}.crt"], 1),
                (alice, ["--cert", f"{ours}.crt", "--key", f"{ours}.key", "--identity-cert"], 1),
                (nobody, ["--identity-cert"], 2)]
        for me, options, status in rows:
            sent = send(world, me, bob, *options, **to)
            assert sent.status == status, (me, options, sent)


def test_user_and_password(world, alice, bob, tmp_path):
    known, right, wrong = tmp_path / "known", tmp_path / "right", tmp_path / "wrong"
    subprocess.run([program("mosquitto_passwd"), "-b", "-c", known, "alice", "s3:cret"], check=True)
    right.write_text("s3:cret\n")
    wrong.write_text("s3:cre\n")
    lines = f"allow_anonymous false\npassword_file {known}"
    with Broker(tmp_path / "broker", lines) as broker:
        url = f"{LOOPBACK}:{broker.port}"
        rows = [(["-u", "alice", "--password-file", right], 0),
                (["-u", "alice", "--password-file", wrong], 10),
                (["-u", "alice", "-P", "s3:cret"], 0), (["-u", "bob", "-P", "s3:cret"], 10),
                ([], 10), (["-u", "alice"], 10), (["-P", "s3:cret"], 1),
                (["-u", "alice", "--password-file", tmp_path / "none"], 2),
                (["-L", f"mqtt://alice:s3%3acret@{url}"], 0),
                (["-L", f"mqtt://alice:s3@{url}"], 10)]
        for options, status in rows:
            where = {} if "-L" in options else {"MQTT_PORT": broker.port}
            sent = send(world, alice, bob, *options, **where)
            assert sent.status == status and "s3" not in sent.err, (options, sent)
            assert status != 10 or "check user name, password" in sent.err, sent


def test_a_broker_that_forgot_the_session(world, bob, tmp_path):
    """Said by the next receiver, which knows that one has run before; not by the first."""
    said = "broker: it did not keep the session: what was sent while we were away is lost"
    variables = {"DANEMSG_STATE": world.new_state()}
    for number, forgets in enumerate([False, False, True]):
        folder = tmp_path / ("another" if forgets else "broker")
        with Broker(folder) as broker:
            with world.receiver(bob, wait_broker=broker, MQTT_PORT=broker.port,
                                **variables).start(wait=False) as receiver:
                wait_for(lambda: receiver.err.count("subscribed\n") > number or not receiver.alive(),
                         "the subscription")
                assert receiver.stop() == 0
            assert (said in receiver.err) == forgets, receiver.err


# ------------------------------------------------------------------------------------------ DANE


@pytest.fixture(scope="module")
def zone(world, tmp_path_factory):
    """The signed zone "localhost", whose name this machine finds an address for; and the
    environment that believes it."""
    folder = tmp_path_factory.mktemp("localhost")
    with Knot(folder / "knot", {"localhost": "ecdsa"}) as knot:
        yield knot, believing(world, folder / "anchors", knot, knot.anchor("localhost"))


def believing(world, file, knot, anchor):
    file.write_text(world.anchors.read_text() + anchor)
    stubs = world.variables["DANEMSG_DNS_STUB"] + " " + knot.stub("localhost")
    return {"MQTT_HOST": "localhost", "DANEMSG_TRUST_ANCHOR": file, "DANEMSG_DNS_STUB": stubs}


def test_the_brokers_record_decides(world, alice, bob, authority, stranger, tls_broker, zone):
    knot, changes = zone
    changes = {**changes, "MQTT_PORT": tls_broker.port}
    server = x509.load_pem_x509_certificate((authority.folder / "server.crt").read_bytes())
    name = f"_{tls_broker.port}._tcp.localhost"
    mismatch = "broker: .*none of its TLSA records"
    rows = [([record(server, 3)], [], 0, ""),
            ([record(server, 3, 0)], [], 0, ""),
            ([record(authority.certificate, 2, 0)], [], 0, ""),
            ([record(stranger.certificate, 3), record(server, 3)], [], 0, ""),
            ([record(server, 1)], ["--cafile", authority.file], 0, ""),
            ([record(server, 1)], ["--cafile", stranger.file], 10, "broker: .*TLS: "),
            ([record(stranger.certificate, 3)], [], 10, mismatch),
            ([record(stranger.certificate, 3)], ["--cafile", authority.file], 10, mismatch),
            ([record(stranger.certificate, 2, 0)], [], 10, "broker: .*TLS: "),
            ([record(server, 4)], [], 6, "certificate: .*none of its 1 TLSA record"),
            ([], ["--cafile", authority.file], 3, f"no-identity: .*{re.escape(name)}: DNS proves")]
    for records, options, status, text in rows:
        knot.publish(name, *records)
        sent = send(world, alice, bob, "--broker-dane", *options, **changes)
        assert sent.status == status and re.search(text, sent.err), (records, options, sent)
    sent = send(world, alice, bob, "--broker-dane", **{**changes, "MQTT_HOST": LOOPBACK})
    assert sent.status == 1 and "is an address" in sent.err, sent


def test_what_dns_does_not_prove_is_no_record(world, alice, bob, authority, tls_broker, tmp_path):
    """Bogus and insecure answers hold the right record, and do not help."""
    server = x509.load_pem_x509_certificate((authority.folder / "server.crt").read_bytes())
    line = f"_{tls_broker.port}._tcp TLSA {record(server, 3)}"
    owner = f"_{tls_broker.port}._tcp.localhost"
    broken = SignedZone("localhost", [line], broken=[(owner, "TLSA")])
    good = SignedZone("localhost", [line])
    rows = [(good.text, good.anchor, 0, ""), (broken.text, broken.anchor, 5, "dns-bogus: "),
            (good.text, "", 5, "dns-insecure: .*needs a signed zone")]
    for number, (text, anchor, status, words) in enumerate(rows):
        with Knot(tmp_path / f"knot-{number}", {"localhost": text}) as knot:
            changes = believing(world, tmp_path / f"anchors-{number}", knot, anchor)
            sent = send(world, alice, bob, "--broker-dane", "--cafile", authority.file,
                        MQTT_PORT=tls_broker.port, **changes)
            assert sent.status == status and re.search(words, sent.err), sent


@pytest.mark.slow
def test_without_dns_no_broker(world, alice, bob, authority, tls_broker, tmp_path):
    stubs = world.variables["DANEMSG_DNS_STUB"] + f" localhost={LOOPBACK}@{NOBODY}"
    sent = send(world, alice, bob, "--broker-dane", "--cafile", authority.file,
                MQTT_HOST="localhost", MQTT_PORT=tls_broker.port, DANEMSG_DNS_STUB=stubs)
    assert sent.status == 4 and "dns-temporary: " in sent.err, sent


def test_lines_follow_a_rolled_record(world, alice, bob, authority, zone, tmp_path):
    """The broker comes back with another key and another record: what waits goes there."""
    knot, changes = zone
    first = authority.issue("turning", x509.DNSName("localhost"))
    with Broker(tmp_path, tls_lines(authority, "turning")) as broker:
        changes = {**changes, "MQTT_PORT": broker.port}
        name = f"_{broker.port}._tcp.localhost"
        knot.publish(name, record(first, 3), ttl=1)
        with Sender(world, alice, bob, "--broker-dane", **changes) as sender:
            wait_for(lambda: "New client connected" in broker.text(), "the sender")
            broker.stop()
            knot.publish(name, record(authority.issue("turning", x509.DNSName("localhost")), 3))
            broker.start()
            sender.write("HELLO THERE\n")
            status, err = sender.end()
            assert status == 0 and "connecting again" in err, err


@pytest.mark.slow
def test_a_rolled_record_is_looked_up_anew(world, alice, bob, authority, zone, tmp_path):
    """The broker gets another key: refused while its record is the old one, then it is found."""
    knot, changes = zone
    first = authority.issue("rolling", x509.DNSName("localhost"))
    with Broker(tmp_path, tls_lines(authority, "rolling")) as broker:
        name = f"_{broker.port}._tcp.localhost"
        changes = {**changes, "MQTT_PORT": broker.port}
        knot.publish(name, record(first, 3), ttl=1)
        with world.receiver(bob, "--broker-dane", wait_broker=broker, **changes) as receiver:
            sent = send(world, alice, bob, "--broker-dane", **changes)
            assert sent.status == 0, sent
            receiver.wait_out("says: HELLO THERE\n")
            broker.stop()
            second = authority.issue("rolling", x509.DNSName("localhost"))
            broker.start()
            receiver.wait_word("broker")
            wait_for(lambda: "matches none of its TLSA records" in receiver.err, "the refusal")
            knot.publish(name, record(second, 3), ttl=1)
            wait_for(lambda: receiver.err.count("subscribed") > 1 or
                     broker.subscriptions(bob) > 1 or receiver.err.count("connected to") > 1,
                     "the new connection")
            sent = world.run("send", "--broker-dane", bob, "AGAIN", me=alice, **changes)
            assert sent.status == 0, sent
            receiver.wait_out("says: AGAIN\n")


# ----------------------------------------------------------------------------------------- lines


def test_lines_at_full_speed(world, alice, bob, tmp_path):
    """More lines than the window holds, to a broker that takes few at a time; one does not fit."""
    lines = [f"line {number}" for number in range(1, 1201)]
    lines[699] = "x" * 70000
    with Broker(tmp_path, "max_inflight_messages 20") as broker:
        with world.receiver(bob, wait_broker=broker, MQTT_PORT=broker.port) as receiver:
            sent = world.run("send", "--to", bob, "-l", me=alice, MQTT_PORT=broker.port,
                             input="\n".join(lines).encode() + b"\n")
            assert sent.status == 13 and sent.err.count("\n") == 1, sent
            assert re.search(rf"size: line 700 to {re.escape(bob)}: ", sent.err), sent
            receiver.wait_out(f"says: {lines[-1]}\n")
            printed = receiver.out.decode().splitlines()
    del lines[699]
    assert printed == [f"{alice} says: {line}" for line in lines]


def test_refused_lines_have_their_numbers(world, alice, bob, carol, tmp_path):
    rules = tmp_path / "rules"
    rules.write_text(f"topic readwrite {carol}\n")
    with Broker(tmp_path, f"acl_file {rules}") as broker:
        sent = world.run("send", "--to", bob, "--to", carol, "-l", me=alice,
                         MQTT_PORT=broker.port, input=b"one\ntwo\n")
        assert sent.status == 10, sent
        refused = re.findall(r"broker: line (\d) to (\S+): .*Not authorized", sent.err)
        assert refused == [("1", bob), ("2", bob)], sent


class Sender:
    """`danemsg send -l`, fed by hand."""

    def __init__(self, world, me, to, *options, **changes):
        self.process = subprocess.Popen(
            [DANEMSG, "send", "--to", to, "-l", *map(str, options)], stdin=subprocess.PIPE,
            stderr=subprocess.PIPE, env=world.environment(IDENTITY_NAME=me, **changes))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()

    def write(self, text):
        self.process.stdin.write(text.encode())
        self.process.stdin.flush()

    def end(self):
        _, err = self.process.communicate(timeout=PATIENCE)
        return self.process.returncode, err.decode()


def test_lines_outlive_a_broker(world, alice, bob, tmp_path):
    """It goes and comes back: what had no acknowledgement is sent again, and accepted once."""
    with Broker(tmp_path) as broker, \
            world.receiver(bob, wait_broker=broker, MQTT_PORT=broker.port) as receiver, \
            Sender(world, alice, bob, MQTT_PORT=broker.port) as sender:
        sender.write("first\n")
        receiver.wait_out("says: first\n")
        broker.stop()
        sender.write("second\nthird\n")
        broker.start()
        sender.write("fourth\n")
        status, err = sender.end()
        assert status == 0 and "connecting again" in err, err
        receiver.wait_out("says: fourth\n")
        printed = receiver.out.decode().splitlines()
    assert printed == [f"{alice} says: {word}" for word in ("first", "second", "third", "fourth")]


def test_lines_end_with_a_broker_that_stays_away(world, alice, bob):
    """It takes two lines, says nothing, and is gone."""
    taken = []

    def take(connection):
        while len(taken) < 2:
            taken.append(packet(connection))
        broker.leave()

    with FakeBroker(take) as broker:
        while not broker.ended:  # a second may be too short for a connection
            with Sender(world, alice, bob, "-W", 1, MQTT_PORT=broker.port) as sender:
                sender.write("one\ntwo\n")
                wait_for(lambda: broker.ended or sender.process.poll() is not None, "the lines")
                status, err = sender.end()
    assert status == 10, err
    assert "2 message(s) of lines 1 to 2 are without the broker's acknowledgement" in err, err


def test_a_will_is_the_brokers_to_publish(world, alice, bob, tmp_path):
    """In clear, when the sender vanishes; not when it says goodbye."""
    with Broker(tmp_path) as broker:
        heir = subprocess.Popen([program("mosquitto_sub"), "-h", LOOPBACK, "-p", str(broker.port),
                                 "-t", "wills", "-C", "1"], stdout=subprocess.PIPE)
        try:
            wait_for(lambda: broker.subscriptions("wills"), "the heir")
            will = ["--will-topic", "wills", "--will-payload"]
            assert send(world, alice, bob, *will, "polite", MQTT_PORT=broker.port).status == 0
            with Sender(world, alice, bob, *will, "killed", MQTT_PORT=broker.port) as sender:
                wait_for(lambda: broker.text().count("New client connected") > 2, "the sender")
                sender.process.kill()
                assert heir.communicate(timeout=PATIENCE)[0] == b"killed\n"
        finally:
            heir.kill()
            heir.wait()


# ------------------------------------------------------------------------- brokers of the test's own


class FakeBroker:
    """One client after the other is greeted, and handed to a function with its connection."""

    def __init__(self, serve, welcome=b"\x20\x03\x00\x00\x00", context=None):
        self.serve, self.welcome, self.context = serve, welcome, context
        self.faults, self.ended = [], False

    def __enter__(self):
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def leave(self):
        """There is nobody any more."""
        if not self.ended:
            self.ended = True
            self.listener.shutdown(socket.SHUT_RDWR)
            self.listener.close()

    def __exit__(self, *exception):
        self.leave()
        self.thread.join(PATIENCE)
        assert not self.thread.is_alive()

    def run(self):
        while not self.ended:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            with connection:
                connection.settimeout(PATIENCE)
                try:
                    packet(connection)
                    connection.sendall(self.welcome)
                    self.serve(connection)
                except (OSError, AssertionError) as fault:
                    self.faults.append(fault)


def packet(connection):
    """One MQTT packet: its first octet and its body."""
    kind, size, shift = receive(connection, 1)[0], 0, 0
    while True:
        digit = receive(connection, 1)[0]
        size |= (digit & 0x7F) << shift
        shift += 7
        if digit < 0x80:
            return kind, receive(connection, size)


def acknowledge_subscription(connection):
    kind, body = packet(connection)
    assert kind == 0x82
    connection.sendall(b"\x90\x04" + body[:2] + b"\x00\x01")


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="a sanitizer is not bounded")
def test_a_claimed_length_is_not_believed(world, bob):
    """A packet of 256 MiB is begun: no room for it here, and the receiver goes on."""
    def claim(connection):
        acknowledge_subscription(connection)
        connection.sendall(b"\x30\xff\xff\xff\x7f\x00\x01t\x00")
        for _ in range(268):
            connection.sendall(bytes(1000000))

    with FakeBroker(claim) as broker, \
            world.receiver(bob, MQTT_PORT=broker.port).start(wait=False) as receiver:
        receiver.wait_word("broker")
        wait_for(lambda: "no memory for what the broker sends" in receiver.err, "the refusal")
        wait_for(lambda: len(broker.faults) > 1, "the next connection")
        assert receiver.status_line("VmHWM") < 100000
        assert receiver.stop() == 0


@pytest.mark.skipif("ASAN_OPTIONS" in os.environ, reason="a sanitizer is not bounded")
def test_doctor_does_not_believe_it_either(world, bob):
    """The first connection learns what the broker grants, the second subscribes."""
    connections = []

    def claim(connection):
        connections.append(connection)
        if len(connections) == 2:
            assert packet(connection)[0] == 0x82
            connection.sendall(b"\x30\xff\xff\xff\x7f\x00\x01t\x00")
            connection.recv(1)

    with FakeBroker(claim) as broker:
        told = world.run("doctor", bob, MQTT_PORT=broker.port, DANEMSG_DNS_STUB=None,
                         DANEMSG_DNS_SERVER=f"{LOOPBACK}@{world.knot.port}")
    assert "no memory for what the broker sends" in told.text, told


@pytest.mark.slow
def test_a_broker_that_ends_each_connection_is_given_up(world, alice, bob):
    """Octets that are sent anew on every connection are no progress."""
    with FakeBroker(packet) as broker:
        sent = send(world, alice, bob, "-W", "5", MQTT_PORT=broker.port)
    assert sent.status == 10 and "each time before it has acknowledged" in sent.err, sent


def test_what_a_sender_never_asked_for(world, alice, bob):
    def push(connection):
        packet(connection)
        connection.sendall(b"\x30\x05\x00\x01t\x00x")
        connection.recv(1)

    with FakeBroker(push) as broker:
        sent = send(world, alice, bob, MQTT_PORT=broker.port)
    assert sent.status == 10 and "that nobody subscribed to" in sent.err, sent


@pytest.mark.parametrize("answer", [
    b"HTTP/1.1 400 Bad Request\r\n\r\n", b"\x20\xff\xff\xff\xff\xff", b"\x20\x03\x00",
    b"\x20\x03\x00\x88\x00", os.urandom(64)], ids=["http", "length", "half", "unavailable", "noise"])
def test_junk_in_place_of_a_welcome(world, alice, bob, answer):
    with FakeBroker(lambda connection: None, answer) as broker:
        sent = send(world, alice, bob, MQTT_PORT=broker.port)
        assert sent.status == 10 and "broker: " in sent.err, sent


def test_packets_without_end(world, bob):
    """Junk as fast as it goes, unasked: refused with few words, in little memory, and stopped in
    the middle of it."""
    body = struct.pack(">H", len(bob)) + bob.encode() + b"\x00" + b"{junk" * 2000
    junk = b"\x30" + variable_length(len(body)) + body

    def flood(connection):
        acknowledge_subscription(connection)
        while True:
            connection.sendall(junk)

    began = time.monotonic()
    with FakeBroker(flood) as broker, \
            world.receiver(bob, MQTT_PORT=broker.port).start(wait=False) as receiver:
        receiver.wait_word("format", 2000)
        if "ASAN_OPTIONS" not in os.environ:
            assert receiver.status_line("VmHWM") < 100000
        assert receiver.stop() == 0
        assert len(receiver.err.splitlines()) < 20 + LOG_RATE * (2 + time.monotonic() - began)


def test_the_protocol_that_was_asked_for(world, alice, bob, authority):
    """--tls-alpn, to a server that knows one protocol only."""
    authority.issue("alpn", x509.IPAddress(ipaddress.ip_address(LOOPBACK)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.folder / "alpn.crt", authority.folder / "alpn.key")
    context.set_alpn_protocols(["mqtt"])
    chosen = []
    with socket.create_server((LOOPBACK, 0)) as listener:
        def accept():
            with context.wrap_socket(listener.accept()[0], server_side=True) as connection:
                chosen.append(connection.selected_alpn_protocol())

        thread = threading.Thread(target=accept)
        thread.start()
        sent = send(world, alice, bob, "--cafile", authority.file, "--tls-alpn", "mqtt",
                    MQTT_PORT=listener.getsockname()[1])
        thread.join(PATIENCE)
    assert chosen == ["mqtt"] and sent.status == 10


def test_a_shared_subscription_needs_a_shared_memory(world, bob):
    for options in ["-t", f"$share/group/{bob}"], ["-L", f"mqtt://{LOOPBACK}/$share/group/{bob}"]:
        refused = world.run("receive", *options, me=bob, MQTT_HOST=None, MQTT_PORT=None,
                            DANEMSG_STATE=world.new_state())
        assert refused.status == 1 and "--group" in refused.err, refused


# -------------------------------------------------------------------------------------- progress


def run_on_a_terminal(world, me, *arguments, **changes):
    """Runs the program with a terminal as its stderr; what is on that, and the exit status."""
    master, slave = pty.openpty()
    process = subprocess.Popen([DANEMSG, *map(str, arguments)], stderr=slave,
                               stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
                               env=world.environment(IDENTITY_NAME=me, **changes))
    os.close(slave)
    text = b""
    try:
        while True:
            text += os.read(master, 4096)
    except OSError:
        pass
    os.close(master)
    return process.wait(PATIENCE), text.decode()


def test_progress_on_a_terminal(world, alice, bob, tmp_path):
    """A broker that reads slowly; the same in a pipe is silent."""
    file = tmp_path / "file"
    file.write_bytes(os.urandom(3000000))

    def read_slowly(connection):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        kind = receive(connection, 1)[0]
        size, shift = 0, 0
        while True:
            digit = receive(connection, 1)[0]
            size |= (digit & 0x7F) << shift
            shift += 7
            if digit < 0x80:
                break
        body, read = b"", 0
        while read < size:
            part = connection.recv(min(100000, size - read))
            assert part
            body, read = (body + part)[:1000], read + len(part)
            time.sleep(pauses[0])
        at = 2 + struct.unpack(">H", body[:2])[0]
        assert kind == 0x32
        connection.sendall(b"\x40\x02" + body[at:at + 2])

    arguments = ["send", "--to", bob, "-f", file]
    pauses = [0.03]
    with FakeBroker(read_slowly) as broker:
        variables = {"MQTT_PORT": broker.port, "MAX_MESSAGE_SIZE": 10000000}
        status, text = run_on_a_terminal(world, alice, *arguments, **variables)
        assert status == 0 and re.search(r"sending: \d+ % of [345]\.\d MiB", text), text
        assert text.endswith("\r\x1b[K")
        pauses[0] = 0
        sent = world.run(*arguments, me=alice, **variables)
        assert sent.status == 0 and sent.err == "", sent
