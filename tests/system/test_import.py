"""A CA's certificate for a key of one's own: request, import, and what is refused."""

import datetime
import stat

import craft
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

DAY = datetime.timedelta(days=1)
NOW = datetime.datetime.utcnow()


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


class Authority:
    """A CA, perhaps below another."""

    def __init__(self, name, above=None):
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        signer = above or self
        self.certificate = signer.sign(self.name, self.key.public_key(), ca=True)

    def sign(self, subject, key, *extensions, ca=False, begin=-DAY, end=90 * DAY):
        builder = (x509.CertificateBuilder().subject_name(subject).issuer_name(self.name)
                   .public_key(key).serial_number(x509.random_serial_number())
                   .not_valid_before(NOW + begin).not_valid_after(NOW + end)
                   .add_extension(x509.BasicConstraints(ca=ca, path_length=None), True))
        for extension in extensions:
            builder = builder.add_extension(extension, False)
        return builder.sign(self.key, hashes.SHA256())

    def answer(self, request, name, *extensions, **dates):
        san = x509.SubjectAlternativeName([x509.DNSName(name)])
        return self.sign(request.subject, request.public_key(), san, *extensions, **dates)


@pytest.fixture(scope="module")
def authorities():
    root = Authority("root")
    middle = Authority("middle", root)
    return root, middle, Authority("lower", middle)


@pytest.fixture
def requested(world, tmp_path):
    def make(name):
        made = world.run("identity", "new", name, "--csr")
        assert made.status == 0 and "identity import" in made.text, made
        return x509.load_pem_x509_csr((world.crypto / f"{name}.csr.pem").read_bytes())
    return make


def usage(*on):
    names = ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
             "key_agreement", "key_cert_sign", "crl_sign", "encipher_only", "decipher_only")
    return x509.KeyUsage(*(name in on for name in names))


def test_a_certificate_comes_back(world, requested, authorities, bob, tmp_path):
    name, (root, middle, lower) = "csr.good.test", authorities
    request = requested(name)
    chain = [lower.answer(request, name), lower.certificate, middle.certificate, root.certificate]
    file = tmp_path / "chain.pem"
    file.write_bytes(b"".join(map(pem, chain)))
    imported = world.run("identity", "import", file, name)
    assert imported.status == 0 and "3 issuers" in imported.text and not imported.err, imported
    written = world.crypto / f"{name}.crt.pem"
    assert written.read_bytes() == file.read_bytes()
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    der = chain[0].public_bytes(serialization.Encoding.DER).hex()
    assert world.tlsa(name) == [f"3 0 0 {der}"]
    world.knot.publish(name, f"3 0 0 {der}")
    assert world.run("identity", "check", name).status == 0
    sealed = world.run("seal", "--to", bob, me=name, input=b"by a CA")
    assert world.run("open", "--from", name, me=bob, input=sealed.out).out == b"by a CA"
    renewed = world.run("identity", "import", "-", name, input=pem(middle.answer(request, name)))
    assert renewed.status == 0 and "0 issuers" in renewed.text, renewed


def test_what_is_refused(world, requested, authorities, alice):
    name, (root, middle, lower) = "refused.good.test", authorities
    request = requested(name)
    good = lower.answer(request, name)
    other = x509.load_pem_x509_certificate((world.crypto / f"{alice}.crt.pem").read_bytes())
    bare = Authority("bare")
    forged = Authority("forged")
    forged.name = lower.name                 # the issuer's name, another key
    rows = {
        "no PEM": (2, b"rubbish"), "nothing": (2, b""),
        "of another key": (6, pem(other)), "issuers first": (6, pem(lower.certificate) + pem(good)),
        "a stranger behind it": (6, pem(good) + pem(bare.certificate)),
        "signed by another key": (6, pem(forged.answer(request, name)) + pem(lower.certificate)),
        "five": (6, b"".join(map(pem, [good, lower.certificate, middle.certificate,
                                       root.certificate, root.certificate]))),
        "no use for the key": (6, pem(lower.answer(request, name, usage("crl_sign")))),
        "too long": (13, b"#" * 70000),
    }
    for what, (status, text) in rows.items():
        refused = world.run("identity", "import", "-", name, input=text)
        assert refused.status == status and refused.out == b"" and refused.err, (what, refused)
        assert not (world.crypto / f"{name}.crt.pem").exists(), what
    missing = world.run("identity", "import", "/nonexistent", name)
    assert missing.status == 2, missing
    assert world.run("identity", "import", "-", "nokey.good.test", input=pem(good)).status == 2


def test_what_is_warned_about(world, requested, authorities):
    name, lower = "warned.good.test", authorities[2]
    request = requested(name)
    rows = {
        "does not bear the name": lower.answer(request, "other.good.test"),
        "expired on": lower.answer(request, name, begin=-9 * DAY, end=-DAY),
        "expires on": lower.answer(request, name, begin=-89 * DAY, end=DAY),
        "only signs": lower.answer(request, name, usage("digital_signature")),
    }
    for words, certificate in rows.items():
        imported = world.run("identity", "import", "-", name, input=pem(certificate))
        assert imported.status == 0 and words in imported.err, (words, imported)
    for end in (DAY, 20 * DAY):              # of 90 days: the last tenth, but not the last 30 days
        certificate = lower.answer(request, name, begin=end - 90 * DAY, end=end)
        imported = world.run("identity", "import", "-", name, input=pem(certificate))
        assert ("expires on" in imported.err) == (end == DAY), imported


def test_a_receiver_and_check_warn_of_it(world, requested, authorities):
    name, lower = "ending.good.test", authorities[2]
    certificate = lower.answer(requested(name), name, begin=-89 * DAY, end=DAY)
    assert world.run("identity", "import", "-", name, input=pem(certificate)).status == 0
    world.knot.publish(name, *world.tlsa(name))
    with world.receiver(name) as receiver:
        assert "warning: own key" in receiver.err and "expires on" in receiver.err
    checked = world.run("identity", "check", name)
    assert checked.status == 0 and "expires on" in checked.text and "signatures" not in checked.text


def test_check_warns_of_signatures_that_end(world, tmp_path):
    from servers import Knot
    from signed_zone import DAY as SECONDS, SignedZone
    name = world.identity("short.ending.test", publish=False)
    record = world.tlsa(name)[0]
    for end, warned in ((1.5, True), (3, False)):
        zone = SignedZone("ending.test", [f"short TLSA {record}"], expiration=int(end * SECONDS))
        anchors = tmp_path / "anchors"
        anchors.write_text(zone.anchor)
        with Knot(tmp_path / f"knot-{end}", {"ending.test": zone.text}) as knot:
            checked = world.run("identity", "check", name, DANEMSG_TRUST_ANCHOR=anchors,
                                DANEMSG_DNS_STUB=knot.stub("ending.test"))
        assert checked.status == 0, checked
        assert ("signatures over this answer end" in checked.text) == warned, checked


def test_the_next_keys_certificate(world, authorities):
    """A request within a rollover: nothing is published before the CA has answered."""
    name, lower = world.identity("next.good.test"), authorities[2]
    started = world.run("identity", "rollover", "start", name, "--csr")
    assert started.status == 0 and started.out == b"" and "identity import" in started.err, started
    request = x509.load_pem_x509_csr((world.crypto / f"{name}.next.csr.pem").read_bytes())
    current = (world.crypto / f"{name}.crt.pem").read_bytes()
    imported = world.run("identity", "import", "-", name, input=pem(lower.answer(request, name)))
    assert imported.status == 0 and f"{name}.next.crt.pem" in imported.text, imported
    assert (world.crypto / f"{name}.crt.pem").read_bytes() == current
    goes_on = world.run("identity", "rollover", "start", name, "--ttl", "60")
    der = lower.answer(request, name)
    assert goes_on.status == 0 and goes_on.text.startswith(f"{name}. 60 IN TLSA 3 0 0 "), goes_on
    assert der.public_key() is not None and craft.spki(der.public_key()).hex() in goes_on.text
