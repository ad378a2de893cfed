"""PKIX-CD (certificate usage 4): a CA certificate from the name's authority host, over HTTPS."""

import json
import ssl
import subprocess

import craft
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from https_server import DAY, Authority, HttpsServer, new_key, path_of, pem, server_context
from servers import NOBODY, PATIENCE, wait_for
from world import DANEMSG

HOSTS = ["cd.good.test", "cd.plain.test"]
KINDS = {"good.test": "secure", "plain.test": "insecure"}
DER = serialization.Encoding.DER


def said(result):
    """All that it said, whatever the width that it was wrapped to."""
    return " ".join((result.text + result.err).split())


class Place:
    """The authority host of both zones, a CA that the clients trust for HTTPS, and names."""

    def __init__(self, world, folder, web, server):
        self.world, self.folder, self.web, self.server = world, folder, web, server
        self.names = 0
        self.bundle = folder / "bundle.pem"
        self.bundle.write_bytes(web.pem())

    def variables(self, **changes):
        return {"DANEMSG_AUTHORITY": self.server.at(*HOSTS), "SSL_CERT_FILE": self.bundle,
                "DANEMSG_PKIX_CD": "1", **changes}

    def run(self, *arguments, **changes):
        return self.world.run(*arguments, **self.variables(**changes))

    def lookup(self, name, **changes):
        return self.run("lookup", name, **changes)

    def new_name(self, zone="good.test"):
        self.names += 1
        return f"device{self.names}._cd.{zone}"

    def publish(self, name, issuer, key=None, names=None, serve=True, **dates):
        """A certificate of usage 4 at the name; its issuers are served. The certificate."""
        key = key or new_key()
        certificate = issuer.issue(key.public_key(), names or [name], **dates)
        self.world.knot.publish(name, "4 0 0 " + certificate.public_bytes(DER).hex())
        if serve:
            self.serve(certificate, issuer)
        return certificate

    def serve(self, certificate, issuer):
        while True:
            self.server.serve(certificate, issuer)
            if issuer.issuer is None:
                break
            certificate, issuer = issuer.certificate, issuer.issuer

    def identity(self, name, issuer, key="p256"):
        """An identity of ours whose record is of usage 4."""
        self.world.identity(name, key, publish=False)
        private = self.world.key(name)
        certificate = issuer.issue(private.public_key(), [name])
        (self.world.crypto / f"{name}.crt.pem").write_bytes(pem(certificate))
        self.world.knot.publish(name, *self.world.tlsa(name, "--usage", "4"))
        self.serve(certificate, issuer)
        return name


@pytest.fixture(scope="module")
def place(world, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pkix-cd")
    web = Authority()
    with HttpsServer(server_context(folder, web, HOSTS)) as server:
        yield Place(world, folder, web, server)


@pytest.fixture(scope="module")
def two_levels():
    """kind -> the issuing CA, below a root."""
    return {kind: Authority(Authority(kind=kind), kind) for kind in ("ec", "rsa")}


# ------------------------------------------------------------------------------- what is believed


@pytest.mark.parametrize("zone", KINDS)
@pytest.mark.parametrize("kind", ["ec", "rsa"])
def test_a_two_level_ca(world, place, two_levels, zone, kind):
    name = place.new_name(zone)
    place.publish(name, two_levels[kind])
    found = place.lookup(name)
    assert found.status == 0, found
    assert [host for host, _path in place.server.asked][-2:] == [f"cd.{zone}"] * 2
    without = world.run("lookup", name, SSL_CERT_FILE=place.bundle)
    assert without.status == (6 if zone == "good.test" else 5), without
    record = json.loads(place.run("lookup", "--json", name).text)
    assert record["status"] == KINDS[zone]
    assert record["records"][0]["verifies"] and record["records"][0]["encrypts_to"]


def ladder(levels):
    authority = Authority()
    for _ in range(levels - 1):
        authority = Authority(authority)
    return authority


@pytest.mark.parametrize("levels, status", [(1, 0), (4, 0), (5, 6)])
def test_levels(place, levels, status):
    name = place.new_name()
    place.publish(name, ladder(levels))
    before = len(place.server.asked)
    found = place.lookup(name)
    assert found.status == status, found
    assert len(place.server.asked) - before == min(levels, 4)
    assert status == 0 or "4 levels" in said(found)


def test_any_of_the_names_of_a_certificate(place, two_levels):
    name = place.new_name()
    place.publish(name, two_levels["ec"], names=["other.example", name.upper()])
    assert place.lookup(name).status == 0


def test_a_secure_record_beside_it_needs_no_fetch(world, place, two_levels):
    """What can be had without an authority is had, whatever becomes of the authority."""
    name = place.new_name()
    certificate = place.publish(name, two_levels["ec"], serve=False)
    world.knot.publish(name, "3 0 0 " + certificate.public_bytes(DER).hex(),
                       "4 0 0 " + certificate.public_bytes(DER).hex())
    assert place.lookup(name, DANEMSG_AUTHORITY=f"{HOSTS[0]}=127.0.0.1@{NOBODY}").status == 0


# ---------------------------------------------------------------------------------------- attacks


def redirected(place, name, issuer):
    certificate = place.publish(name, issuer, serve=False)
    place.server.answers["/elsewhere"] = (200, issuer.pem())
    place.server.answers[path_of(certificate)] = lambda handler: handler.send(
        302, b"", Location=f"https://{HOSTS[0]}/elsewhere")


def oversized(place, name, issuer):
    certificate = place.publish(name, issuer)
    body = issuer.pem()
    place.server.answers[path_of(certificate)] = (200, body + b"\n" * (16385 - len(body)))


def endless(place, name, issuer):
    certificate = place.publish(name, issuer)
    place.server.answers[path_of(certificate)] = lambda handler: handler.send_without_end()


def empty(place, name, issuer):
    place.server.answers[path_of(place.publish(name, issuer))] = (200, b"")


def html(place, name, issuer):
    place.server.answers[path_of(place.publish(name, issuer))] = (200, b"<html></html>")


def two_certificates(place, name, issuer):
    place.server.answers[path_of(place.publish(name, issuer))] = (
        200, issuer.pem() + issuer.issuer.pem())


def not_found(place, name, issuer):
    del place.server.answers[path_of(place.publish(name, issuer))]


def large_not_found(place, name, issuer):
    place.server.answers[path_of(place.publish(name, issuer))] = (404, b"-" * 20000)


def broken_server(place, name, issuer):
    place.server.answers[path_of(place.publish(name, issuer))] = (500, b"")


def non_ca_issuer(place, name, issuer):
    place.publish(name, Authority(issuer.issuer, ca=False))


def loop(place, name, _issuer):
    one, two = Authority(), Authority()
    for each, other in ((one, two), (two, one)):  # issued by each other
        made = Authority(other)
        each.cross = x509.CertificateBuilder().subject_name(each.name).issuer_name(
            other.name).public_key(each.key.public_key()).serial_number(1).not_valid_before(
            made.certificate.not_valid_before).not_valid_after(made.certificate.not_valid_after)
        for extension in each.certificate.extensions:
            value = extension.value
            if isinstance(value, x509.AuthorityKeyIdentifier):
                value = x509.AuthorityKeyIdentifier.from_issuer_public_key(other.key.public_key())
            each.cross = each.cross.add_extension(value, extension.critical)
        each.certificate = each.cross.sign(other.key, craft.hashes.SHA256())
    certificate = place.publish(name, one, serve=False)
    for below, above in ((certificate, one), (one.certificate, two), (two.certificate, one)):
        place.server.serve(below, above)


def expired_issuer(place, name, _issuer):
    place.publish(name, Authority(Authority(), starts=-10 * DAY, ends=-DAY))


def expired_root(place, name, _issuer):
    place.publish(name, Authority(Authority(starts=-10 * DAY, ends=-DAY)))


def expired_leaf(place, name, issuer):
    place.publish(name, issuer, starts=-10 * DAY, ends=-DAY)


def path_length(place, name, _issuer):
    place.publish(name, Authority(Authority(path_length=0)))


def path_length_exceeded(place, name, _issuer):
    place.publish(name, Authority(Authority(Authority(path_length=0))))


def wrong_name(place, name, issuer):
    place.publish(name, issuer, names=[f"other.{name}"])


def wildcard_name(place, name, issuer):
    place.publish(name, issuer, names=["*." + name.split(".", 1)[1]])


def forged_by_another_key(place, name, issuer):
    """A root of the right name and key identifier, but it is not the one that signed."""
    impostor = Authority()
    impostor.name = issuer.issuer.name
    certificate = impostor.issue(new_key().public_key(), [name])
    place.world.knot.publish(name, "4 0 0 " + certificate.public_bytes(DER).hex())
    place.server.serve(certificate, issuer.issuer)


# what -> (secure zone: exit status and words), insecure: 5 unless it may be otherwise later (4)
ATTACKS = [
    (redirected, 6, "a redirect, which is not followed"),
    (oversized, 6, "larger than a CA's certificate"),
    (endless, 6, "larger than a CA's certificate"),
    (empty, 6, "is empty"),
    (html, 6, "is not PEM"),
    (two_certificates, 6, "more than one object"),
    (not_found, 6, "HTTP status 404"),
    (large_not_found, 6, "HTTP status 404"),
    (broken_server, 4, "HTTP status 500"),
    (non_ca_issuer, 6, "no CA certificate"),
    (loop, 6, "round in a circle"),
    (expired_issuer, 6, "expired"),
    (expired_root, 6, "expired"),
    (expired_leaf, 6, "expired"),
    (path_length_exceeded, 6, "path length"),
    (wrong_name, 6, "name"),
    (wildcard_name, 6, "name"),
    (forged_by_another_key, 6, "issuer"),
]


@pytest.mark.parametrize("zone", KINDS)
@pytest.mark.parametrize("attack, status, words", ATTACKS, ids=lambda value: getattr(
    value, "__name__", ""))
def test_attacks(place, two_levels, zone, attack, status, words):
    name = place.new_name(zone)
    attack(place, name, two_levels["ec"])
    found = place.lookup(name)
    expected = 5 if status == 6 and zone == "plain.test" else status
    assert found.status == expected and words in said(found), found
    assert "/elsewhere" not in [path for _host, path in place.server.asked]


def test_a_path_length_that_is_kept(place):
    name = place.new_name()
    path_length(place, name, None)
    found = place.lookup(name)
    assert found.status == 6 and "path length" in said(found), found
    name = place.new_name()
    place.publish(name, Authority(Authority(path_length=1)))
    assert place.lookup(name).status == 0


# ------------------------------------------------------------- whom the fetching process believes


def from_server(place, issuer, context, **changes):
    """The lookup of a new name whose authority host is another server; and that server."""
    name = place.new_name()
    certificate = place.publish(name, issuer)
    with HttpsServer(context) as server:
        place.serve(certificate, issuer)
        server.answers.update(place.server.answers)
        changes = {"DANEMSG_AUTHORITY": server.at(*HOSTS), **changes}
        return place.lookup(name, **changes), server.asked


def test_servers_that_are_not_the_host(place, two_levels):
    issuer, folder = two_levels["ec"], place.folder
    good, asked = from_server(place, issuer, server_context(folder, place.web, HOSTS))
    assert good.status == 0 and len(asked) == 2, good
    for what, context, words in [
            ("another name", server_context(folder, place.web, ["other.test"]),
             "does not match|no alternative certificate subject name"),
            ("self-signed", server_context(folder, None, HOSTS), "SSL certificate problem"),
            ("another CA", server_context(folder, Authority(), HOSTS), "SSL certificate problem"),
            ("TLS 1.1", server_context(folder, place.web, HOSTS, most=ssl.TLSVersion.TLSv1_1),
             "SSL connect error"),
            ("plain HTTP", None, "SSL connect error")]:
        bad, asked = from_server(place, issuer, context)
        assert bad.status == 4 and asked == [], (what, bad)
        assert any(word in said(bad) for word in words.split("|")), (what, bad)


def test_a_wildcard_certificate_of_the_host_is_a_certificate_of_the_host(place, two_levels):
    """RFC 6125 section 6.4.3: what names of TLS servers may be, unlike those of identities."""
    found, asked = from_server(place, two_levels["ec"],
                               server_context(place.folder, place.web, ["*.good.test"]))
    assert found.status == 0 and asked, found


def test_proxies_are_not_for_it(place, two_levels):
    name = place.new_name()
    place.publish(name, two_levels["ec"])
    dead = f"http://127.0.0.1:{NOBODY}"
    found = place.lookup(name, https_proxy=dead, HTTPS_PROXY=dead, ALL_PROXY=dead, all_proxy=dead)
    assert found.status == 0, found


def test_the_librarys_process_fetches_too(place, two_levels):
    """What users of the library run in place of the program itself."""
    name = place.new_name("plain.test")
    place.publish(name, two_levels["ec"])
    resolver = DANEMSG.parents[1] / "libexec" / "danemsg-resolver"
    if not resolver.exists():
        pytest.skip(f"no {resolver}")
    found = place.lookup(name, DANEMSG_RESOLVER=resolver)
    assert found.status == 0, found


def test_nobody_there_and_no_address(place, two_levels):
    name = place.new_name()
    place.publish(name, two_levels["ec"])
    dead = place.lookup(name, DANEMSG_AUTHORITY=f"{HOSTS[0]}=127.0.0.1@{NOBODY}")
    assert dead.status == 4 and "Couldn't connect" in said(dead), dead
    nowhere = place.lookup(name, DANEMSG_AUTHORITY=None)
    assert nowhere.status == 4 and HOSTS[0] in said(nowhere), nowhere


@pytest.mark.slow  # five seconds
def test_a_body_that_does_not_end_in_time(place, two_levels):
    name = place.new_name()
    certificate = place.publish(name, two_levels["ec"])
    place.server.answers[path_of(certificate)] = lambda handler: handler.send_slowly()
    slow = place.lookup(name)
    assert slow.status == 4 and "within 5 seconds" in said(slow), slow


def test_no_cas_at_all(place, two_levels):
    name = place.new_name()
    place.publish(name, two_levels["ec"])
    found = place.lookup(name, SSL_CERT_FILE=place.folder / "nothing")
    assert found.status == 4 and "CA certificates" in said(found), found


@pytest.mark.parametrize("words", [("--authority", "nonsense"), ("--authority", "cd.good.test=x"),
                                   ("--authority", "cd.good.test=127.0.0.1@0")], ids=" ".join)
def test_usage(world, words):
    wrong = world.run("lookup", "--pkix-cd", *words, "a._cd.good.test")
    assert wrong.status == 1 and "authority" in wrong.err, wrong


def test_authority_without_pkix_cd(world):
    wrong = world.run("lookup", "--authority", "cd.good.test=127.0.0.1", "a._cd.good.test")
    assert wrong.status == 1 and "--pkix-cd" in wrong.err, wrong


def test_names_without_an_authority_host(world, place, two_levels):
    name = "without.good.test"
    place.publish(name, two_levels["ec"])
    found = place.lookup(name)
    assert found.status == 6 and "no authority host" in said(found), found


# ----------------------------------------------------------------------------------------- mail


@pytest.mark.parametrize("zone", KINDS)
def test_messages(world, place, two_levels, bob, zone):
    """From a name that only PKIX-CD speaks for, and to it; and neither without being asked to."""
    name = place.identity(place.new_name(zone), two_levels["ec"])
    refused = "certificate" if zone == "good.test" else "dns-insecure"
    with world.receiver(bob, **place.variables()) as receiver:
        assert place.run("send", bob, "HELLO BOB", me=name).status == 0
        receiver.wait_out(f"{name} says: HELLO BOB\n")
    with world.receiver(bob) as receiver:
        world.broker.publish(bob, world.message(name, bob).envelope())
        receiver.wait_word(refused)
        assert receiver.out == b""
    sent = world.run("send", name, "HELLO", me=bob)
    assert sent.status == (6 if zone == "good.test" else 5), sent
    with world.receiver(name, **place.variables()) as receiver:
        assert place.run("send", name, "HELLO DEVICE", me=bob).status == 0
        receiver.wait_out(f"{bob} says: HELLO DEVICE\n")


def test_a_message_waits_for_the_authority(world, place, two_levels, bob):
    """An authority that is out of order refuses nobody's message."""
    name = place.identity(place.new_name("plain.test"), two_levels["ec"])
    path = path_of(craft.load_certificate(world.crypto / f"{name}.crt.pem"))
    good = place.server.answers[path]
    place.server.answers[path] = (503, b"")
    before = len(place.server.asked)
    receiver = world.receiver(bob, **place.variables())
    with receiver:
        world.broker.publish(bob, world.message(name, bob).envelope())
        wait_for(lambda: len(place.server.asked) > before, "the CA certificate to be asked for")
        world.broker.publish(bob, world.message(bob, bob, b"MEANWHILE").envelope())
        receiver.wait_out(f"{bob} says: MEANWHILE\n")
    assert receiver.count("dns-insecure") == receiver.count("certificate") == 0
    assert f"{name} says".encode() not in receiver.out
    place.server.answers[path] = good
    with receiver.start():
        receiver.wait_out(f"{name} says: HELLO THERE\n")


# ------------------------------------------------------------------- certs, ca-certs, verify-cert


@pytest.fixture(scope="module")
def mixed(world, place, two_levels):
    """A name with a certificate of usage 3, another of usage 4, and a bare key: name, and both."""
    name = place.new_name()
    by_dane = Authority().issue(new_key().public_key(), ["another.example"])
    by_cd = place.publish(name, two_levels["ec"])
    world.knot.publish(name, "3 0 0 " + by_dane.public_bytes(DER).hex(),
                       "4 0 0 " + by_cd.public_bytes(DER).hex(),
                       "3 1 0 " + craft.spki(new_key()).hex())
    return name, by_dane, by_cd


def certificates_in(text):
    end = b"-----END CERTIFICATE-----\n"
    return {x509.load_pem_x509_certificate(part + end) for part in text.split(end)[:-1]}


def read_bundle(path):
    return certificates_in(path.read_bytes())


def file_name(name, certificate):
    return f"{name}-{certificate.fingerprint(craft.hashes.SHA256()).hex()}.crt.pem"


@pytest.mark.parametrize("options, cd, expected", [
    ([], None, "dane"), ([], "1", "both"), (["--dane-ee"], None, "dane"), (["--pkix-ee"], "1", "cd"),
    (["--dane-ee"], "1", "both"), (["--pkix-cd"], None, "both"), (["--pkix-ee"], None, None)],
    ids=str)
def test_certs(place, mixed, tmp_path, options, cd, expected):
    name, by_dane, by_cd = mixed
    wanted = {"dane": {by_dane}, "cd": {by_cd}, "both": {by_dane, by_cd}, None: set()}[expected]
    changes = {"DANEMSG_PKIX_CD": cd}
    if cd is None and "--pkix-cd" not in options:
        changes["DANEMSG_AUTHORITY"] = None
    path, folder = tmp_path / "bundle", tmp_path / "folder"
    one = place.run("certs", name, "-o", path, *options, **changes)
    many = place.run("certs", name, "--output", folder, "--separate", *options, **changes)
    if not wanted:
        assert (one.status, many.status) == (6, 6) and "nothing was written" in one.err, one
        assert list(tmp_path.iterdir()) == []
        return
    assert (one.status, many.status) == (0, 0), (one, many)
    assert read_bundle(path) == wanted and path.stat().st_mode & 0o777 == 0o644
    assert {file.name: read_bundle(file) for file in folder.iterdir()} == {
        file_name(name, certificate): {certificate} for certificate in wanted}
    assert {file.name for file in tmp_path.iterdir()} == {"bundle", "folder"}


def test_certs_to_stdout_and_nowhere(place, mixed, tmp_path):
    name, by_dane, by_cd = mixed
    printed = place.run("certs", name, "-o", "-")
    assert printed.status == 0, printed
    assert certificates_in(printed.out) == {by_dane, by_cd}
    assert place.run("certs", name).status == 1
    assert place.run("certs", name, "-o", tmp_path / "no" / "folder").status == 2
    kept = tmp_path / "kept"
    kept.write_text("KEPT")
    for wrong, status in [("nobody.good.test", 3), ("alice.plain.test", 5)]:
        failed = place.run("certs", wrong, "-o", kept)
        assert failed.status == status and kept.read_text() == "KEPT", failed
    assert place.run("ca-certs", "nobody.good.test", "-o", kept).status == 3
    assert kept.read_text() == "KEPT" and list(tmp_path.iterdir()) == [kept]


def key_id(authority):
    return authority.certificate.extensions.get_extension_for_class(
        x509.SubjectKeyIdentifier).value.digest.hex()


@pytest.mark.parametrize("zone", KINDS)
def test_ca_certs(world, place, two_levels, tmp_path, zone):
    name = place.new_name(zone)
    issuer = two_levels["rsa"]
    place.publish(name, issuer)
    path, folder = tmp_path / "ca", tmp_path / "folder"
    assert place.run("ca-certs", name, "-o", path, DANEMSG_PKIX_CD=None).status == 0
    assert place.run("ca-certs", name, "-o", folder, "--separate").status == 0
    assert read_bundle(path) == {issuer.issuer.certificate}
    file, = folder.iterdir()
    assert file.name == f"cd.{zone}-CA-{key_id(issuer.issuer)}.crt.pem"
    assert read_bundle(file) == {issuer.issuer.certificate}
    other = place.new_name(zone)
    place.publish(other, Authority(Authority(), ca=False))
    failed = place.run("ca-certs", other, "-o", tmp_path / "none")
    assert failed.status == (6 if zone == "good.test" else 5), failed
    assert not (tmp_path / "none").exists()


def test_ca_certs_of_a_name_that_needs_none(place, bob, tmp_path):
    failed = place.run("ca-certs", bob, "-o", tmp_path / "none")
    assert failed.status == 6 and "no certificate of usage 4" in failed.err, failed
    assert not (tmp_path / "none").exists()


@pytest.fixture
def file_of(tmp_path):
    def write(*certificates, name="given.pem"):
        path = tmp_path / name
        path.write_bytes(pem(*certificates))
        return path
    return write


def test_verify_cert(world, place, mixed, bob, two_levels, file_of, tmp_path):
    name, by_dane, by_cd = mixed
    yes = place.run("verify-cert", file_of(by_cd))
    assert yes.status == 0 and yes.text == f"{name}: yes, by its record 4 0 0 (PKIX-CD), DNS secure\n"
    without = world.run("verify-cert", file_of(by_cd))
    assert without.status == 6 and "4 0 0" in without.err and without.out == b"", without
    named = place.run("verify-cert", file_of(by_dane), "--name", name)
    assert named.status == 0 and "3 0 0 (DANE-EE)" in named.text, named
    stranger = place.run("verify-cert", file_of(two_levels["ec"].issue(
        new_key().public_key(), [name])))
    assert stranger.status == 6 and "none of the 3 TLSA records" in stranger.err, stranger
    quiet = place.run("verify-cert", "--quiet", file_of(by_dane), "--name", bob)
    assert (quiet.status, quiet.out, quiet.err) == (6, b"", ""), quiet
    for wrong, status in [("nobody.good.test", 3), ("alice.plain.test", 5), ("alice.broken.test", 5)]:
        assert place.run("verify-cert", file_of(by_dane), "--name", wrong).status == status, wrong
    assert place.run("verify-cert", tmp_path / "nothing").status == 2
    (tmp_path / "text").write_text("no certificate")
    assert place.run("verify-cert", tmp_path / "text").status == 2
    nameless = file_of(two_levels["ec"].issue(new_key().public_key(), ["*.good.test"]))
    assert place.run("verify-cert", nameless).status == 6
    own = world.crypto / f"{bob}.crt.pem"
    assert "3 0 0" in world.run("verify-cert", "-", input=own.read_bytes()).text


def test_verify_cert_by_digests_and_chains(world, place, file_of, two_levels):
    """What a record only names, the file brings: the certificate, and its issuers."""
    name, issuer = place.new_name(), two_levels["ec"]
    leaf = issuer.issue(new_key().public_key(), [name])
    sha256 = craft.hashlib.sha256
    der, root = leaf.public_bytes(DER), issuer.issuer.certificate.public_bytes(DER)
    for record, files, status in [
            ("3 0 1 " + sha256(der).hexdigest(), [leaf], 0),
            ("3 1 1 " + sha256(craft.spki(leaf.public_key())).hexdigest(), [leaf], 0),
            ("3 0 1 " + sha256(root).hexdigest(), [leaf], 6),
            ("2 0 1 " + sha256(root).hexdigest(), [leaf], 6),
            ("2 0 1 " + sha256(root).hexdigest(),
             [leaf, issuer.certificate, issuer.issuer.certificate], 0),
            ("1 0 1 " + sha256(der).hexdigest(), [leaf, issuer.certificate], 6)]:
        world.knot.publish(name, record)
        found = world.run("verify-cert", file_of(*files))
        assert found.status == status, (record, found)
        assert status == 0 or "no: " in found.err, found
    trusted = file_of(issuer.issuer.certificate, name="ca.pem")
    found = world.run("verify-cert", file_of(leaf, issuer.certificate), SSL_CERT_FILE=trusted)
    assert found.status == 0 and "1 0 1 (PKIX-EE)" in found.text, found


# ------------------------------------------------------------- names of the proof of concept


def run_link(place, tmp_path, name, *arguments, **changes):
    link = tmp_path / name
    if not link.is_symlink():
        link.symlink_to(DANEMSG)
    changes = place.variables(DANEMSG_PKIX_CD=None, DANEMSG_AUTHORITY=None, **changes)
    ran = subprocess.run([link, *map(str, arguments)], capture_output=True, timeout=PATIENCE, text=True,
                         env=place.world.environment(**changes))
    return ran


@pytest.mark.parametrize("suffix", ["", ".py"])
def test_the_proof_of_concepts_commands(place, mixed, two_levels, tmp_path, file_of, suffix):
    name, by_dane, by_cd = mixed
    at = ["--authority", place.server.at(HOSTS[0])]
    get = f"dane_discovery_get_certificates{suffix}"
    for filters, wanted in [([], {by_dane, by_cd}), (["--dane_ee"], {by_dane}),
                            (["--pkix_cd"], {by_cd}), (["--dane_ee", "--pkix_cd"], {by_dane, by_cd})]:
        path = tmp_path / "bundle.pem"
        more = [] if filters == ["--dane_ee"] else at
        ran = run_link(place, tmp_path, get, "--output_path", path, "--identity_name", name,
                       *filters, *more)
        assert ran.returncode == 0 and read_bundle(path) == wanted, (filters, ran)
        assert ran.stderr == "", ran
        path.unlink()
    folder = tmp_path / "folder"
    ran = run_link(place, tmp_path, get, "--output_path", folder, "--identity_name", name,
                   "--separate_files", *at)
    assert ran.returncode == 0, ran
    assert {file.name for file in folder.iterdir()} == {file_name(name, by_dane),
                                                       file_name(name, by_cd)}
    none = run_link(place, tmp_path, get, "--output_path", tmp_path / "none", "--identity_name",
                    "nobody.good.test")
    assert none.returncode == 1 and none.stderr and not (tmp_path / "none").exists(), none

    get_ca = f"dane_discovery_get_ca_certificates{suffix}"
    ca = tmp_path / "ca.pem"
    ran = run_link(place, tmp_path, get_ca, "--output_path", ca, "--identity_name", name, *at)
    assert ran.returncode == 0 and read_bundle(ca) == {two_levels["ec"].issuer.certificate}, ran
    assert run_link(place, tmp_path, get_ca, "--identity_name", name).returncode == 1

    check = f"dane_discovery_authenticate_certificate{suffix}"
    ran = run_link(place, tmp_path, check, "--certificate_path", file_of(by_cd), *at)
    assert ran.returncode == 0 and ran.stdout.startswith(f"{name}: yes"), ran
    ran = run_link(place, tmp_path, check, "--certificate_path", file_of(by_dane),
                   "--identity_name", name, "--silent", *at)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", ""), ran
    ran = run_link(place, tmp_path, check, "--certificate_path", file_of(by_dane), "--silent")
    assert (ran.returncode, ran.stdout, ran.stderr) == (1, "", ""), ran
    ran = run_link(place, tmp_path, check, "--certificate_path", file_of(by_dane))
    assert ran.returncode == 1 and "another.example" in ran.stderr, ran
