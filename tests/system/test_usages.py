"""Certificate usages 0 to 3 with keys that DNS does not hold in full: certificates that travel in the
message (x5c), chains to anchors in DNS and to the system's CAs, in real signed zones."""

import base64
import datetime
import json

import craft
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from servers import wait_for

CERTIFICATE = 6
DAY = datetime.timedelta(days=1)


class Authority:
    """A CA with a certificate of its own, or by another one."""

    def __init__(self, name, issuer=None, ca=True, days=100, path_length=None):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.issuer = issuer or self
        self.certificate = self.issuer.certify(self.key.public_key(), self.name, days,
                                               x509.BasicConstraints(ca, path_length if ca else None))

    def certify(self, key, subject, days, *extensions):
        now = datetime.datetime.utcnow()
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
                   .public_key(key).serial_number(x509.random_serial_number())
                   .not_valid_before(now - 200 * DAY).not_valid_after(now + days * DAY))
        for extension in extensions:
            builder = builder.add_extension(extension, critical=isinstance(
                extension, x509.BasicConstraints))
        return builder.sign(self.key, hashes.SHA256())

    def leaf(self, key, name, days=100):
        return self.certify(key.public_key(), x509.Name([]), days,
                            x509.SubjectAlternativeName([x509.DNSName(name)]))


def pem(*certificates):
    return b"".join(one.public_bytes(serialization.Encoding.PEM) for one in certificates)


def x5c(*certificates):
    return [base64.b64encode(one.public_bytes(serialization.Encoding.DER)).decode()
            for one in certificates]


@pytest.fixture(scope="module")
def root():
    return Authority("Root")


@pytest.fixture(scope="module")
def middle(root):
    return Authority("Middle", root)


@pytest.fixture(scope="module")
def system(root, tmp_path_factory):
    """The system's CAs, as the program's environment names them."""
    file = tmp_path_factory.mktemp("system") / "cas.pem"
    file.write_bytes(pem(root.certificate))
    return {"SSL_CERT_FILE": file, "SSL_CERT_DIR": "/nonexistent"}


def certified(world, name, authority, *issuers, days=100, bears=None):
    """An identity with a certificate by an authority, and its issuers behind it."""
    world.identity(name, publish=False)
    leaf = authority.leaf(world.key(name), bears or name, days)
    file = world.crypto / f"{name}.crt.pem"
    file.write_bytes(pem(leaf, *(one.certificate for one in issuers)))
    return leaf


def ca_record(world, folder, authority, *options):
    file = folder / "ca.pem"
    file.write_bytes(pem(authority.certificate))
    printed = world.run("identity", "tlsa", "--ca", file, *options)
    assert printed.status == 0 and "nobody can encrypt to a CA" in printed.err, printed
    return printed.text.strip()


def header_of(jws):
    return json.loads(craft.unb64(jws.decode().split(".")[0]))


def signed(world, sender, recipient, **changes):
    made = world.run("sign", "--to", recipient, me=sender, input=b"SIGNED", **changes)
    assert made.status == 0, made
    return made.out.strip()


def carries_none(world, sender, recipient):
    """Not for sure in the first message: who does not hear from DNS in time that it need not carries
    its certificate."""
    wait_for(lambda: "x5c" not in header_of(signed(world, sender, recipient)),
             f"{sender} to carry no certificate")


def verdict(world, jws, *options, **changes):
    """0, or the exit status that `verify` ends with; and the result."""
    result = world.run("verify", *options, input=jws, **changes)
    assert result.out == (b"SIGNED" if result.status == 0 else b""), result
    return result


# --------------------------------------------------------------------------- sending-only devices


def test_devices_that_publish_35_octets(world, alice, bob, root, middle, tmp_path):
    """A digest of the own key, or of a CA's certificate: `send` carries what readers need."""
    by_key, by_ca = "by-digest.good.test", "anchored.good.test"
    world.identity(by_key, publish=False)
    records = world.tlsa(by_key, "--selector", "1", "--matching-type", "1")
    assert [len(bytes.fromhex(one.split()[3])) + 3 for one in records] == [35]
    world.knot.publish(by_key, *records)
    certified(world, by_ca, middle, middle, root)
    world.knot.publish(by_ca, ca_record(world, tmp_path, root, "--matching-type", "1"))
    with world.receiver(bob) as receiver:
        for name in by_key, by_ca, alice:
            sent = world.run("send", bob, "FROM " + name, me=name)
            assert sent.status == 0, sent
            receiver.wait_out(f"{name} says: FROM {name}\n")
        # What a cached answer does not accept waits until DNS may be asked again.
        world.broker.publish(bob, world.message(by_key, bob, b"WITHOUT").envelope())
        receiver.wait_word("certificate")
        assert receiver.out.count(b"\n") == 3, receiver.out
    own = craft.load_certificate(world.crypto / f"{by_key}.crt.pem")
    others = craft.load_certificate(world.crypto / f"{alice}.crt.pem")
    for certificates, key, kid, status, word in (
            (x5c(own), by_key, by_key, 0, ""),
            (None, by_key, by_key, CERTIFICATE, "carry the certificate (x5c)"),
            (x5c(others), by_key, by_key, CERTIFICATE, "another key than its kid"),
            (x5c(others), alice, alice, CERTIFICATE, "fits the certificate"),
            (x5c(own), alice, alice, CERTIFICATE, "another key than its kid"),
            (x5c(own), alice, by_key, 8, "signature"),
            (["no base64"], by_key, by_key, 13, "padded base64"),
            (x5c(own) * 5, by_key, by_key, 13, "format")):
        message = craft.Message(world.key(key), by_key, world.key(bob), bob, b"CRAFTED")
        message.claims["kid"] = craft.kid(world.key(kid))
        if certificates is not None:
            message.claims["x5c"] = certificates
        opened = world.run("open", me=bob, input=message.envelope())
        assert opened.status == status and word in opened.err, opened
        assert opened.out == (b"CRAFTED" if status == 0 else b""), opened
    refused = world.run("send", by_key, "TO A DIGEST", me=alice)
    assert refused.status == CERTIFICATE and "nobody can encrypt to it" in refused.err, refused


def test_only_who_needs_it_carries_it(world, alice, bob, root, middle, rsa_alice, rsa_bob):
    leaf_only, chain = "leafonly.good.test", "wholechain.good.test"
    world.identity(leaf_only, publish=False)
    world.knot.publish(leaf_only, *world.tlsa(leaf_only, "--matching-type", "2"))
    certified(world, chain, middle, middle, root)
    world.knot.publish(chain, *world.tlsa(chain))
    bare = world.identity("bare.good.test", publish=False)
    world.knot.publish(bare, *world.tlsa(bare, "--selector", "1"))
    carries_none(world, alice, bob)
    carries_none(world, bare, bob)
    carries_none(world, chain, bob)                  # whole, whoever issued it
    assert len(header_of(signed(world, leaf_only, bob))["x5c"]) == 1
    world.knot.publish(chain, *world.tlsa(chain, "--usage", "1", "--matching-type", "1"))
    assert len(header_of(signed(world, chain, bob))["x5c"]) == 3
    # DNS has no answer for the own name now: the certificate costs octets only.
    away = world.identity("away.down.test", publish=False)
    sealed = world.run("seal", "--to", bob, me=away, input=b"SEALED")
    assert len(header_of(world.run("decrypt", me=bob, input=sealed.out).out)["x5c"]) == 1
    sealed = world.run("seal", "--to", bob, me=leaf_only, input=b"SEALED")
    opened = world.run("open", me=bob, input=sealed.out)
    assert opened.out == b"SEALED", opened
    poc = world.run("seal", "--poc", "--to", rsa_bob, me=rsa_alice, input=b"POC")
    inner = json.loads(world.run("decrypt", me=rsa_bob, input=poc.out).out)
    assert "x5c" not in json.loads(craft.unb64(inner["protected"]))


def test_the_limit_counts_the_certificates(world, bob):
    name = world.identity("limited.good.test", publish=False)
    world.knot.publish(name, *world.tlsa(name, "--matching-type", "1"))
    bare = world.identity("unlimited.good.test")
    (world.crypto / f"{bare}.crt.pem").unlink()
    fits = {}
    for sender in name, bare:
        refused = world.run("seal", "--to", bob, me=sender, input=b"x" * 4000,
                            MAX_MESSAGE_SIZE=4096)
        assert refused.status == 13, refused
        fits[sender] = int(refused.err.split("the largest that would is ")[1].split()[0])
        for more in 0, 1:
            sealed = world.run("seal", "--to", bob, me=sender, input=b"x" * (fits[sender] + more),
                               MAX_MESSAGE_SIZE=4096)
            assert sealed.status == (13 if more else 0), sealed
    assert 0 < fits[name] < fits[bare] - 400, fits


# ---------------------------------------------------------------------------- chains and anchors


def test_anchors_in_dns(world, bob, root, middle, tmp_path):
    """Usage 2: the row of the table beside what must not pass, each under a name of its own."""
    other, expired = Authority("Root"), Authority("Middle", root, days=-1)
    no_ca, short = Authority("Middle", root, ca=False), Authority("Root", path_length=0)
    below = Authority("Middle", short)
    cases = [  # name, leaf by, issuers in the file, anchor, options of the record, status
        ("a20", middle, (middle, root), root, ["--matching-type", "1"], 0),
        ("a21", middle, (middle, root), root, ["--selector", "1", "--matching-type", "2"], 0),
        ("a22", middle, (middle,), root, [], 0),
        ("a23", middle, (middle,), root, ["--selector", "1"], 0),
        ("a24", middle, (middle,), root, ["--matching-type", "1"], CERTIFICATE),
        ("a25", middle, (middle, root), other, ["--matching-type", "1"], CERTIFICATE),
        ("a26", expired, (expired, root), root, ["--matching-type", "1"], CERTIFICATE),
        ("a27", no_ca, (no_ca, root), root, ["--matching-type", "1"], CERTIFICATE),
        ("a28", below, (below, short), short, ["--matching-type", "1"], CERTIFICATE)]
    for label, by, issuers, anchor, options, status in cases:
        name = f"{label}.good.test"
        certified(world, name, by, *issuers)
        world.knot.publish(name, ca_record(world, tmp_path, anchor, *options))
        jws = signed(world, name, bob)
        result = verdict(world, jws)
        assert result.status == status, (label, result)
        if label in ("a20", "a24"):
            checked = world.run("identity", "check", name)
            assert checked.status == status, (label, checked)
            assert ("messages carry its certificate (x5c)" in checked.text) == (status == 0)
    for label, bears, days, word in (("a30", "a31.good.test", 100, "does not bear the name"),
                                     ("a32", None, -1, "expired")):
        name = f"{label}.good.test"
        certified(world, name, middle, middle, root, bears=bears, days=days)
        world.knot.publish(name, ca_record(world, tmp_path, root, "--matching-type", "1"))
        result = verdict(world, signed(world, name, bob))
        assert result.status == CERTIFICATE and word in result.err, (label, result)


def test_the_systems_cas(world, alice, bob, root, middle, system, tmp_path):
    """Usages 1 and 0: with the root among the system's CAs, and without it."""
    cases = [("p10", (middle,), ["--usage", "1"]),
             ("p11", (middle,), ["--usage", "1", "--selector", "1"]),
             ("p12", (middle, root), ["--usage", "1", "--selector", "1", "--matching-type", "1"]),
             ("p00", (middle,), None)]
    for label, issuers, options in cases:
        name = f"{label}.good.test"
        certified(world, name, middle, *issuers)
        world.knot.publish(name, *(world.tlsa(name, *options) if options else
                                   [ca_record(world, tmp_path, middle, "--usage", "0",
                                              "--matching-type", "1")]))
        jws = signed(world, name, bob)
        assert verdict(world, jws, **system).status == 0, label
        refused = verdict(world, jws, SSL_CERT_FILE="/nonexistent", SSL_CERT_DIR="/nonexistent")
        assert refused.status == CERTIFICATE, refused
        assert world.run("identity", "check", name, **system).status == 0
    # Whole, with its intermediate at hand, it can be encrypted to.
    file = tmp_path / "middle.pem"
    file.write_bytes(pem(middle.certificate))
    lookup = ["lookup", "p10.good.test"]
    sealed = world.run("seal", "--to", "p10.good.test", me=alice, input=b"x", **system)
    assert sealed.status == CERTIFICATE and "usage 1" in sealed.err, sealed
    sealed = world.run("seal", "--to", "p10.good.test", "--ca-file", file, me=alice,
                       input=b"TO USAGE 1", **system)
    assert sealed.status == 0, sealed
    assert world.run("open", me="p10.good.test", input=sealed.out).out == b"TO USAGE 1"
    assert "not by usage 1" in world.run(*lookup, **system).text
    assert "not by usage 1" not in world.run(*lookup, "--ca-file", file, **system).text
    missing = world.run(*lookup, "--ca-file", tmp_path / "nothing.pem")
    assert missing.status == 2 and "nothing.pem" in missing.err, missing
    # A self-signed certificate is nobody's word under usage 1.
    alone = world.identity("p19.good.test", publish=False)
    world.knot.publish(alone, *world.tlsa(alone, "--usage", "1"))
    assert verdict(world, signed(world, alone, bob), **system).status == CERTIFICATE


def test_an_insecure_answer_gives_no_key(world, bob):
    """The same record and message in a zone without signatures."""
    statuses = {}
    for zone in "good.test", "plain.test":
        name = world.identity(f"unsigned.{zone}", publish=False)
        world.knot.publish(name, *world.tlsa(name, "--selector", "1", "--matching-type", "1"))
        jws = signed(world, name, bob)
        assert "x5c" in header_of(jws)
        statuses[zone] = verdict(world, jws).status
    assert statuses == {"good.test": 0, "plain.test": 5}


# ------------------------------------------------------------------------------------ local files


def test_certificate_files(world, bob, root, middle):
    """The own certificate, then whoever issued it, in order: anything else is said plainly."""
    name = "chainfile.good.test"
    leaf = certified(world, name, middle, middle, root)
    file = world.crypto / f"{name}.crt.pem"
    world.knot.publish(name, *world.tlsa(name))
    for content, status, word in (
            (pem(leaf), 0, ""), (pem(leaf, middle.certificate), 0, ""),
            (pem(leaf, middle.certificate, root.certificate), 0, ""),
            (pem(leaf, root.certificate), 2, "number 2 is not the issuer of the one before"),
            (pem(middle.certificate, leaf), 2, "number 2 is not the issuer"),
            (pem(leaf, middle.certificate, root.certificate, root.certificate), 0, ""),
            (pem(leaf, middle.certificate, *[root.certificate] * 3), 2, "at most 3 issuers")):
        file.write_bytes(content)
        shown = world.run("identity", "show", name)
        assert shown.status == status and word in shown.err, shown
    file.write_bytes(pem(leaf))


def test_records_of_a_ca(world, root, tmp_path):
    record = ca_record(world, tmp_path, root)
    assert record.startswith("2 0 0 30"), record
    assert ca_record(world, tmp_path, root, "--usage", "0", "--selector", "1").startswith("0 1 0 30")
    short = ca_record(world, tmp_path, root, "--matching-type", "1").split()
    assert short[:3] == ["2", "0", "1"] and len(short[3]) == 64
    line = world.run("identity", "tlsa", "x.good.test", "--ca", tmp_path / "ca.pem", "--zone-line")
    assert line.text.startswith("x.good.test. 3600 IN TLSA 2 0 0 30"), line
    leaf = tmp_path / "leaf.pem"
    leaf.write_bytes(pem(root.leaf(root.key, "x.good.test")))
    for arguments, status in ((["--ca", leaf], CERTIFICATE), (["--ca", tmp_path / "none.pem"], 2),
                              (["--ca", tmp_path / "ca.pem", "--usage", "3"], 1),
                              (["x.good.test", "--usage", "2"], 1),
                              (["x.good.test", "--usage", "0"], 1)):
        refused = world.run("identity", "tlsa", *arguments)
        assert (refused.status, refused.out) == (status, b""), (arguments, refused)
