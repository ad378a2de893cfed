"""identity publish and retract against real primary servers: what DNS says afterwards, validated by
danemsg itself, and for everything that is refused: the word, the exit status, and DNS as it was."""

import contextlib
import http.client
import http.server
import itertools
import os
import pty
import socket
import ssl
import subprocess
import threading
import time

import craft
import pytest
from cryptography.hazmat.primitives import serialization
from https_server import PEM, Authority, new_key, pem
from primaries import API_KEY, Bind, KeyedKnot, PowerDns, key_file
from servers import LOOPBACK, NOBODY, PATIENCE, receive
from world import DANEMSG

ZONE = "pub.test"
LOCKED = "locked.test"
LOCAL, TEMPORARY, INSECURE, USAGE = 2, 4, 5, 1
LOCKED_ZONE = "$TTL 60\n@ SOA ns hostmaster 1 3600 900 604800 60\n@ NS ns\nns A 127.0.0.1\n"
numbers = itertools.count()
PROBE = DANEMSG.parents[1] / "tests" / "unit" / "publish_probe"


class Place:
    """A server with a way to publish there, and danemsg looking at it from outside."""

    def __init__(self, world, server, way):
        self.world, self.server, self.way = world, server, way
        self.anchors = server.folder / "anchors"
        self.anchors.write_text(server.anchor(ZONE))
        self.variables = {"DANEMSG_DNS_STUB": server.stub(ZONE),
                          "DANEMSG_TRUST_ANCHOR": str(self.anchors)}

    def name(self, key="p256"):
        """A new identity, in no DNS yet."""
        return self.world.identity(f"n{next(numbers)}.{ZONE}", key, publish=False)

    def options(self, **other):
        return getattr(self.server, self.way)(**other)

    def run(self, verb, *words, **changes):
        return self.world.run(*verb.split(), *words, **{**self.variables, **changes})

    def publish(self, name, *words, **changes):
        return self.run("identity publish", name, *self.options(), *words, **changes)

    def retract(self, name, *words, **changes):
        return self.run("identity retract", name, *self.options(), *words, **changes)

    def dns(self, name):
        """The records, sorted, as "3 0 0 HEX"; and that danemsg sees the same, validated."""
        records = sorted(f"{usage} {selector} {kind} {data.hex()}"
                         for usage, selector, kind, data in self.server.records(name))
        seen = self.run("lookup", name)
        assert "secure" in seen.text + seen.err and (seen.status == 3) == (not records), seen
        return records

    def ttl(self, name):
        return {rrset.ttl for rrset in self.server.ask(name, "TLSA").answer}


WAYS = {"knot": (KeyedKnot, "options"), "bind": (Bind, "options"),
        "powerdns": (PowerDns, "options"), "powerdns-api": (PowerDns, "api")}


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    running = {}
    with contextlib.ExitStack() as stack:
        def get(kind):
            if kind not in running:
                folder = tmp_path_factory.mktemp(kind.__name__)
                running[kind] = stack.enter_context(kind(folder, {ZONE: "ecdsa",
                                                                  LOCKED: LOCKED_ZONE}))
            return running[kind]
        yield get


@pytest.fixture(scope="module")
def places(world, servers):
    made = {}

    def get(way):
        if way not in made:
            kind, method = WAYS[way]
            made[way] = Place(world, servers(kind), method)
        return made[way]
    return get


@pytest.fixture(params=WAYS)
def place(request, places):
    return places(request.param)


@pytest.fixture(params=["knot", "bind", "powerdns"])
def primary(request, places):
    """Those that take dynamic updates."""
    return places(request.param)


@pytest.fixture
def knot(places):
    return places("knot")


@pytest.fixture
def api(places):
    return places("powerdns-api")


# ------------------------------------------------------------------------------- what has to work


def test_publish_again_and_retract(place):
    name = place.name()
    published = place.publish(name)
    assert published.status == 0 and published.err == "", published
    assert f"{name}: published 1 record, seen and validated at 20" in published.text, published
    assert "old answer for 60 s more" in published.text, published
    assert place.dns(name) == place.world.tlsa(name) and place.ttl(name) == {3600}
    assert place.run("identity check", name).status == 0

    again = place.publish(name)
    assert again.status == 0 and "nothing to change, 1 record, seen" in again.text, again
    shorter = place.publish(name, "--ttl", "2m")
    assert shorter.status == 0 and "old answer for 3600 s more" in shorter.text, shorter
    assert place.dns(name) == place.world.tlsa(name) and place.ttl(name) == {120}

    retracted = place.retract(name)
    assert retracted.status == 0 and f"{name}: retracted, and DNS proves it" in retracted.text
    assert retracted.err == "" and place.dns(name) == []
    nothing = place.retract(name)
    assert nothing.status == 0 and "none of its records were there" in nothing.text, nothing


def test_another_form_of_the_same_key(place):
    """One's own record goes without --replace when another form of it comes."""
    name = place.name("ed25519")
    assert place.publish(name).status == 0
    assert place.dns(name) == sorted(place.world.tlsa(name)) and len(place.dns(name)) == 2
    bare = place.publish(name, "--selector", "1")
    assert bare.status == 0 and "published 2 records" in bare.text, bare
    assert place.dns(name) == sorted(place.world.tlsa(name, "--selector", "1"))
    digest = place.publish(name, "--selector", "1", "--matching-type", "1")
    assert digest.status == 0, digest
    assert place.publish(name).status == 0
    assert place.dns(name) == sorted(place.world.tlsa(name))


def test_records_of_another_key(place):
    """They stop a publication, --replace takes them out, and a retraction leaves them."""
    name = place.name()
    assert place.publish(name).status == 0
    old = place.dns(name)
    assert place.world.run("identity", "new", name, "--force").status == 0
    refused = place.publish(name)
    assert refused.status == LOCAL and refused.out == b"", refused
    assert "--replace" in refused.err and "nothing was changed" in refused.err, refused
    assert place.dns(name) == old
    kept = place.retract(name)
    assert kept.status == 0 and "none of its records" in kept.text, kept
    assert "1 record of other keys is left there" in kept.err, kept
    assert place.dns(name) == old
    replaced = place.publish(name, "--replace")
    assert replaced.status == 0 and place.dns(name) == place.world.tlsa(name), replaced


def test_below_a_wildcard(place):
    """What the wildcard says of the name is not at the name, and not in the way."""
    name = place.world.identity(f"n{next(numbers)}.wild.{ZONE}", publish=False)
    wildcard = place.dns(name)
    assert wildcard == ["3 1 1 " + "00" * 32]
    published = place.publish(name)
    assert published.status == 0 and "published 1 record" in published.text, published
    assert place.dns(name) == place.world.tlsa(name)
    late = place.retract(name, "--wait", "2")
    assert late.status == TEMPORARY and "1 other" in late.err, late
    assert place.dns(name) == wildcard


def test_an_old_keys_record_stays(knot):
    """What it signed is still to be verified; retract takes it out."""
    name = knot.name()
    assert knot.publish(name).status == 0
    old = knot.dns(name)
    for file in list(knot.world.crypto.glob(f"{name}.*")):
        file.rename(knot.world.crypto / file.name.replace(".test.", ".test.old."))
    assert knot.world.run("identity", "new", name, "--force").status == 0
    both = knot.publish(name)
    assert both.status == 0 and knot.dns(name) == sorted(old + knot.world.tlsa(name)), both
    assert "nothing to change" in knot.publish(name).text
    assert knot.retract(name).status == 0 and knot.dns(name) == []


def test_retract_without_the_keys(knot):
    """Of a device that was lost."""
    name = knot.name()
    assert knot.publish(name).status == 0
    for file in knot.world.crypto.glob(f"{name}.*"):
        file.unlink()
    assert knot.retract(name).status == LOCAL and knot.dns(name)
    assert knot.retract(name, "--replace").status == 0 and knot.dns(name) == []


def test_zone_line(knot):
    name = knot.name()
    line = knot.world.run("identity", "tlsa", name, "--zone-line", "--ttl", "5m")
    assert line.text.startswith(f"{name}. 300 IN TLSA 3 0 0 30"), line
    assert knot.world.run("identity", "tlsa", name, "--ttl", "5m").status == USAGE


# ------------------------------------------------------------------------------ what is refused


def check_refused(place, name, result, status, *words):
    """The words, no secret, and DNS without the name."""
    assert result.status == status and result.out == b"", result
    for word in words:
        assert word in result.err, (word, result)
    assert "eHh4eHh4" not in result.err and API_KEY not in result.err, result
    if name.endswith(f".{ZONE}"):
        assert place.dns(name) == []


@pytest.mark.parametrize("file, words", [
    ({"secret": b"y" * 32}, ["BADSIG", "secret"]),
    ({"name": "other.keys"}, ["other.keys", "BADKEY"]),
], ids=["secret", "name"])
def test_wrong_key(primary, tmp_path, file, words):
    name = primary.name()
    key = key_file(tmp_path / "key", **file)
    refused = primary.run("identity publish", name, *primary.options(key=key))
    if primary.server.name == "pdns_server":
        words = [file.get("name", "danemsg.keys")]  # it does not say what was wrong
    check_refused(primary, name, refused, LOCAL, "TSIG key", *words)


@pytest.mark.parametrize("content, words", [
    (None, ["No such file"]),
    ("", ["not of the form"]),
    ('key "k" { algorithm hmac-md5; secret "eHh4eHh4eHh4eHh4eHh4eA=="; };', ["hmac-sha256"]),
    ('key "k" { algorithm hmac-sha256; secret "eHh4eHh4"; };', ["6 octets"]),
    ("mode", ["chmod 600"]),
], ids=["absent", "empty", "md5", "short", "mode"])
def test_bad_key_file(knot, tmp_path, content, words):
    name = knot.name()
    key = tmp_path / "key"
    if content is not None:
        key_file(key, mode=0o640 if content == "mode" else 0o600)
        if content != "mode":
            key.write_text(content)
    refused = knot.run("identity publish", name, *knot.options(key=key))
    check_refused(knot, name, refused, LOCAL, str(tmp_path), *words)


def test_no_such_zone(place):
    name = place.world.identity(f"n{next(numbers)}.nozone.test", publish=False)
    refused = place.publish(name)
    check_refused(place, name, refused, LOCAL, "primary", name)


def test_a_zone_that_the_key_may_not_change(primary):
    name = primary.world.identity(f"n{next(numbers)}.{LOCKED}", publish=False)
    refused = primary.publish(name)
    check_refused(primary, name, refused, LOCAL, "TSIG key")
    assert not primary.server.records(name)


def test_an_alias(place):
    """A server would take the update, and drop it without a word (RFC 2136 section 3.4.2.2)."""
    name = f"alias.{ZONE}"
    place.world.run("identity", "new", name, "--force")
    refused = place.publish(name)
    assert refused.status == LOCAL and "CNAME" in refused.err, refused


@pytest.mark.parametrize("way", ["options", "api"])
def test_server_away(world, servers, way):
    """Nobody listens; somebody hangs up."""
    place = Place(world, servers(PowerDns), way)
    name = place.name()
    with socket.socket() as listener:
        listener.bind((LOOPBACK, 0))
        port = listener.getsockname()[1]
        words = [word.replace(f"{LOOPBACK}@{place.server.port}", f"{LOOPBACK}@{port}").replace(
            f"{LOOPBACK}:{place.server.port if way == 'options' else place.server.api_port}",
            f"{LOOPBACK}:{port}") for word in place.options()]
        check_refused(place, name, place.run("identity publish", name, *words), TEMPORARY)
        listener.listen()
        threading.Thread(target=lambda: listener.accept()[0].close(), daemon=True).start()
        check_refused(place, name, place.run("identity publish", name, *words), TEMPORARY)


def test_usage(knot, tmp_path):
    name = knot.name()
    key = str(knot.server.key)
    for words in ([], ["--rfc2136", LOOPBACK], ["--tsig", key], ["--powerdns", "http://127.0.0.1"],
                  ["--rfc2136", "localhost", "--tsig", key],
                  ["--rfc2136", LOOPBACK, "--tsig", key, "--api-key", key],
                  ["--powerdns", "http://192.0.2.1:8081", "--api-key", key],
                  ["--powerdns", "ftp://127.0.0.1", "--api-key", key],
                  ["--powerdns", "http://u:p@127.0.0.1", "--api-key", key],
                  ["--rfc2136", LOOPBACK, "--tsig", key, "--usage", "2"],
                  ["--rfc2136", LOOPBACK, "--tsig", key, "--ttl", "0"]):
        refused = knot.run("identity publish", name, *words)
        assert refused.status == USAGE and refused.err and refused.out == b"", (words, refused)
    assert knot.retract(name, "--ttl", "60").status == USAGE


class Between:
    """Somebody between danemsg and a DNS server. answer(question, ask) makes what danemsg gets:
    bytes, or None for nothing at all; ask() is the true answer."""

    def __init__(self, server, answer):
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port = self.listener.getsockname()[1]
        self.server, self.answer = server, answer
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        with contextlib.suppress(OSError):
            while True:
                with self.listener.accept()[0] as connection:
                    question = self.message(connection)
                    made = self.answer(question, lambda: self.ask(question))
                    if made is not None:
                        connection.sendall(len(made).to_bytes(2, "big") + made)

    @staticmethod
    def message(connection):
        return receive(connection, int.from_bytes(receive(connection, 2), "big"))

    def ask(self, question):
        with socket.create_connection((LOOPBACK, self.server.port)) as connection:
            connection.sendall(len(question).to_bytes(2, "big") + question)
            return self.message(connection)

    def __enter__(self):
        return ["--rfc2136", f"{LOOPBACK}@{self.port}", "--tsig", str(self.server.key)]

    def __exit__(self, *exception):
        self.listener.close()


def is_update(question):
    return question[2] >> 3 & 15 == 5


def test_an_update_whose_answer_is_lost(primary):
    """It may have been done: the text says so, and repeating it is harmless."""
    name = primary.name()

    def swallow(question, ask):
        answer = ask()
        return None if is_update(question) else answer
    with Between(primary.server, swallow) as options:
        unknown = primary.run("identity publish", name, *options)
    assert unknown.status == TEMPORARY and "is not known: run it again" in unknown.err, unknown
    assert primary.dns(name) == primary.world.tlsa(name)
    assert "nothing to change" in primary.publish(name).text


FORGED = {
    "a bit turned over": lambda question, answer: answer[:30] + bytes([answer[30] ^ 1]) + answer[31:],
    "unsigned": lambda question, answer: question[:2] + b"\x85\0\0\0\0\0\0\0\0\0",
    "of another question": lambda question, answer: bytes([answer[0] ^ 1]) + answer[1:],
    "the question itself": lambda question, answer: question,
    "cut": lambda question, answer: answer[:-1],
    "three octets": lambda question, answer: b"abc",
}


@pytest.mark.parametrize("what", FORGED)
def test_answers_that_the_key_does_not_vouch_for(knot, what):
    name = knot.name()
    with Between(knot.server, lambda question, ask: FORGED[what](question, ask())) as options:
        refused = knot.run("identity publish", name, *options)
    check_refused(knot, name, refused, TEMPORARY, "answer")


@pytest.mark.slow
@pytest.mark.parametrize("trickles", [False, True])
def test_a_server_that_never_finishes(knot, trickles):
    name = knot.name()
    with socket.create_server((LOOPBACK, 0)) as listener:
        def serve():
            with contextlib.suppress(OSError), listener.accept()[0] as connection:
                connection.sendall(b"\xff\xff" if trickles else b"")
                while True:
                    time.sleep(0.5)
                    connection.sendall(b"x" if trickles else b"")
        threading.Thread(target=serve, daemon=True).start()
        options = ["--rfc2136", f"{LOOPBACK}@{listener.getsockname()[1]}", "--tsig",
                   str(knot.server.key)]
        # It ends by itself: the whole answer would take hours.
        refused = knot.run("identity publish", name, *options)
        check_refused(knot, name, refused, TEMPORARY, "does not answer")


# ------------------------------------------------------------------------------------ the API


def test_wrong_api_key(api, tmp_path):
    name = api.name()
    for content, status, word in ("wrong\n", LOCAL, "HTTP 401"), ("a b\n", LOCAL, "one line"), (
            "a\r\nX: y\n", LOCAL, "one line"), ("", LOCAL, "one line"):
        key = tmp_path / "key"
        key.write_text(content)
        key.chmod(0o600)
        check_refused(api, name, api.run("identity publish", name, *api.options(key=key)), status,
                      word)
    missing = api.run("identity publish", name, *api.options(key="the-secret-itself"))
    check_refused(api, name, missing, LOCAL, "cannot be found")
    assert "the-secret-itself" not in missing.err


def serve_once(answer, wrap=None):
    """An HTTP server of one answer; its URL, and what it was asked."""
    listener = socket.create_server((LOOPBACK, 0))
    asked = []

    def serve():
        with listener, listener.accept()[0] as connection:
            try:
                if wrap is not None:
                    connection = wrap(connection)
                asked.append(connection.recv(65536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + answer)
            except OSError:
                pass
    threading.Thread(target=serve, daemon=True).start()
    return listener.getsockname()[1], asked


@pytest.mark.parametrize("answer", [
    b"", b"nonsense", b"{", b"{}", b"[{}", b'[{"id":"x","name":7}]', b"[[[[[[[[[[[[[[]]]]]]]]]]]]]]",
    b'[{"id":"../../x","name":"' + b"x" * 100 + b'"}]x', b"[" + b"1," * 3_000_000 + b"1]"],
    ids=lambda answer: repr(answer[:20]))
def test_rubbish_from_the_api(api, answer):
    name = api.name()
    port, _asked = serve_once(answer)
    words = ["--powerdns", f"http://{LOOPBACK}:{port}", "--api-key", str(api.server.api_key)]
    refused = api.run("identity publish", name, *words)
    status = LOCAL if len(answer) > 1_000_000 else TEMPORARY
    check_refused(api, name, refused, status, "API")


def test_https_is_verified(api, tmp_path):
    """A certificate that no CA of the system signed: the key is not sent."""
    name = api.name()
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
                    "-nodes", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1",
                    "-keyout", tmp_path / "key.pem", "-out", tmp_path / "crt.pem"], check=True,
                   capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "crt.pem", tmp_path / "key.pem")
    port, asked = serve_once(b"[]", lambda raw: context.wrap_socket(raw, server_side=True))
    words = ["--powerdns", f"https://{LOOPBACK}:{port}", "--api-key", str(api.server.api_key)]
    check_refused(api, name, api.run("identity publish", name, *words), TEMPORARY, "certificate")
    assert not asked


class Gateway(http.server.BaseHTTPRequestHandler):
    """Before a server's API: what it answers goes back, but for changes when there is a status."""

    protocol_version = "HTTP/1.1"

    def forward(self):
        size = int(self.headers.get("Content-Length", 0))
        inner = http.client.HTTPConnection(LOOPBACK, self.server.inner, timeout=PATIENCE)
        inner.request(self.command, self.path, self.rfile.read(size),
                      {"X-API-Key": self.headers["X-API-Key"], "Content-Type": "application/json"})
        answer = inner.getresponse()
        body, status = answer.read(), answer.status
        inner.close()
        if self.command == "PATCH" and self.server.status:
            body, status = b"a gateway's page", self.server.status
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_PATCH = forward

    def log_message(self, *arguments):
        pass


@contextlib.contextmanager
def gateway(inner, folder):
    """Over TLS, its certificate by a CA of its own; the server, and how danemsg gets to it."""
    authority, key = Authority(), new_key()
    pair = folder / "pair.pem"
    pair.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8,
                                       serialization.NoEncryption())
                     + pem(authority.issue(key.public_key(), ["localhost"])))
    (folder / "ca.pem").write_bytes(authority.pem())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair)
    server = http.server.ThreadingHTTPServer((LOOPBACK, 0), Gateway)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.inner, server.status = inner, 0
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server, f"https://localhost:{server.server_address[1]}/", folder / "ca.pem"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_over_https(api, tmp_path):
    """By the system's CAs, as OpenSSL finds them; and a gateway that loses patience."""
    name = api.name()
    with gateway(api.server.api_port, tmp_path) as (server, url, authority):
        words = ["--powerdns", url, "--api-key", str(api.server.api_key)]
        strange = api.run("identity publish", name, *words)
        check_refused(api, name, strange, TEMPORARY, "certificate must be right")
        server.status = 504
        lost = api.run("identity publish", name, *words, SSL_CERT_FILE=authority)
        assert lost.status == TEMPORARY and "is not known: run it again" in lost.err, lost
        server.status = 0
        assert api.dns(name) == api.world.tlsa(name)
        again = api.run("identity publish", name, *words, SSL_CERT_FILE=authority)
        assert again.status == 0 and "nothing to change" in again.text, again
        gone = api.run("identity retract", name, *words, SSL_CERT_FILE=authority)
        assert gone.status == 0 and api.dns(name) == [], gone


# ------------------------------------------------------------------------------ changed meanwhile


def test_what_changed_meanwhile_is_not_overwritten(place):
    """The library's compare-and-replace with a `before` that is out of date."""
    name, other = place.name(), place.name()
    mine, theirs = place.world.tlsa(name)[0], place.world.tlsa(other)[0]

    def change(*between):
        """Reads, lets the others act, then makes it mine."""
        probe = subprocess.Popen([PROBE, *place.options(), name, mine.split()[3]], text=True,
                                 stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        with probe:
            assert probe.stdout.readline() == "read\n"
            for act in between:
                act()
            return probe.communicate("\n", timeout=PATIENCE)[0].strip()

    def publish_other():
        for kind in "key", "crt":
            (place.world.crypto / f"{name}.{kind}.pem").write_bytes(
                (place.world.crypto / f"{other}.{kind}.pem").read_bytes())
        assert place.publish(name, "--replace").status == 0

    assert "dns-temporary" in change(publish_other) and place.dns(name) == [theirs]
    assert change() == "changed" and place.dns(name) == [mine]
    gone = change(lambda: place.retract(name, "--replace"))
    assert "dns-temporary" in gone and "meanwhile" in gone and place.dns(name) == []
    assert change() == "changed" and place.dns(name) == [mine]


# ---------------------------------------------------------------------------------------- waiting


def test_not_waiting(knot):
    name = knot.name()
    published = knot.publish(name, "--wait", "0", DANEMSG_DNS_STUB=f"{ZONE}={LOOPBACK}@{NOBODY}")
    assert published.status == 0 and "not looked at from outside" in published.text, published
    assert knot.dns(name) == knot.world.tlsa(name)


def test_the_wait_runs_out(knot):
    name = knot.name()
    blind = {"DANEMSG_DNS_STUB": f"{ZONE}={LOOPBACK}@{NOBODY}"}
    late = knot.publish(name, "--wait", "1", **blind)
    assert late.status == TEMPORARY and "the change was made" in late.err, late
    assert "caches for 60 s" in late.err and "not-now" in late.err, late
    assert knot.dns(name) == knot.world.tlsa(name)
    again = knot.publish(name, "--wait", "1", **blind)
    assert again.status == TEMPORARY and "nothing to change" in again.err, again


def test_a_zone_that_nobody_can_validate(knot, tmp_path):
    """Below no trust anchor: it will never be believed, and waiting does not help."""
    name = knot.name()
    anchors = tmp_path / "anchors"
    anchors.write_text(knot.world.anchors.read_text())
    unsigned = knot.publish(name, DANEMSG_TRUST_ANCHOR=anchors)
    assert unsigned.status == INSECURE and "not signed" in unsigned.err, unsigned
    vouched = knot.publish(name, "--usage", "4", DANEMSG_TRUST_ANCHOR=anchors)
    assert vouched.status == 0 and "seen, unsigned, at 20" in vouched.text, vouched


def test_progress_is_for_a_terminal(knot):
    name = knot.name()
    terminal, end = pty.openpty()
    variables = knot.world.environment(**{**knot.variables,
                                          "DANEMSG_DNS_STUB": f"{ZONE}={LOOPBACK}@{NOBODY}"})
    process = subprocess.Popen([DANEMSG, "identity", "publish", name, *knot.options(), "--wait", "1"],
                               stdout=subprocess.PIPE, stderr=end, env=variables)
    os.close(end)
    shown = b""
    while True:
        try:
            more = os.read(terminal, 4096)
        except OSError:
            break
        if not more:
            break
        shown += more
    os.close(terminal)
    assert process.wait(PATIENCE) == TEMPORARY
    process.stdout.close()
    assert b"waiting for DNS to show it" in shown and shown.count(b"\n") == 2, shown
    assert shown.endswith(b"`danemsg doctor` looks for the cause\r\n"), shown
