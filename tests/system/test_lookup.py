"""What `danemsg lookup` tells of a name, to people and to scripts: doc/LOOKUP.md, and certificates
that were made to deceive who reads them."""

import ctypes
import datetime
import json
import re

import craft
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from world import ROOT

KEY = ec.generate_private_key(ec.SECP256R1())
# landlock_create_ruleset(NULL, 0, LANDLOCK_CREATE_RULESET_VERSION): which version the kernel has
LANDLOCK = ctypes.CDLL(None).syscall(444, None, 0, 1) >= 1
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


def fields(text):
    """The fields of the text, by record (0: before the first): label -> lines."""
    records = [{}]
    for line in text.splitlines():
        if line.startswith("record "):
            records.append({"record": [line]})
        elif line.startswith("  "):
            label = line[2:15].strip() or label
            records[-1].setdefault(label, []).append(line[15:])
    return records


def look(world, name, *options, status=0, **changes):
    found = world.run("lookup", *options, name, **changes)
    assert found.status == status, found
    return found.text


def test_a_name_with_two_keys(world):
    """Ed25519 signs and X25519 is encrypted to: each record says which, and why not the other."""
    name = world.identity("two-keys.good.test", "ed25519")
    context, *records = fields(look(world, name))
    assert context["DNS"][0].startswith("secure: ")
    assert context["asked"][0].startswith(f"127.0.0.1@{world.knot.port}, over UDP or TCP, at 20")
    assert context["TTL"] == ["60 s"]
    both = "seccomp and Landlock hold the process that asked"
    alone = "seccomp holds the process that asked; there is no Landlock"
    assert context["sandbox"] == [both if LANDLOCK else alone]
    assert TIME.match(context["signed until"][0]) and " days" in context["signed until"][0]
    assert context["TLSA records"] == ["2: 1 can verify, 1 can be encrypted to"]
    by_key = {record["key"][0]: record for record in records}
    signing, encryption = by_key["Ed25519"], by_key["X25519"]
    assert signing["verifies"] == ["yes: its KeyUsage allows it"]
    assert signing["encrypts to"] == ["no: an Ed25519 key cannot be encrypted to"]
    assert encryption["verifies"] == ["no: an X25519 key cannot sign"]
    assert encryption["encrypts to"] == ["yes, and a sender takes this one: its KeyUsage allows it"]
    assert signing["extensions"][-1] == "subjectAltName (critical): the names above"
    assert "keyUsage (critical): digital signature" in signing["extensions"]
    assert "basicConstraints: not a CA" in signing["extensions"]
    assert signing["valid"][0].endswith(" years left")


@pytest.fixture(scope="module")
def mixed(world):
    """Records of many kinds at one name, one of which can be encrypted to."""
    name = world.identity("mixed.good.test", publish=False)
    ca = certificate(extensions=[(x509.BasicConstraints(True, 1), True)])
    world.knot.publish(name, *world.tlsa(name), *world.tlsa(name, "--selector", "1"),
                       *world.tlsa(name, "--selector", "1", "--matching-type", "2"),
                       f"2 0 0 {ca.hex()}", "0 1 1 " + "00" * 32, "3 0 0 3003020101", "9 9 9 aa")
    return name


def test_a_name_with_records_of_many_kinds(world, mixed):
    context, *records = fields(look(world, mixed))
    assert context["TLSA records"] == ["7: 5 can verify, 2 can be encrypted to"]
    kinds = {" ".join(record["record"][0].split()[4:7]): record for record in records}
    digest, issuer = kinds["3 1 2"], kinds["2 0 0"]
    assert digest["record"][0] == "record 6 of 7: 3 1 2 (DANE-EE, SPKI, SHA2-512), 67 octets"
    assert digest["meaning"] == ["the SHA-512 of this name's own public key; DNS alone vouches for it"]
    assert digest["verifies"] == ["yes: messages that bring the certificate (x5c)"]
    assert digest["encrypts to"] == ["no: a digest is no key"]
    assert len(digest["digest"][0]) == 128
    assert issuer["meaning"] == ["an issuer's certificate; messages bring a chain that ends at it"]
    assert issuer["verifies"] == ["yes: messages that bring the certificate and its chain (x5c)"]
    assert issuer["encrypts to"] == ["no: it names an issuer, not a key of this name"]
    assert "basicConstraints (critical): a CA, with at most 1 CAs below it" in issuer["extensions"]
    assert kinds["3 1 0"]["verifies"] == ["yes: an EC P-256 key"]
    assert kinds["9 9 9"]["not usable"] == ["usage 9 is unassigned"]
    assert sum("a sender takes this one" in record.get("encrypts to", [""])[0]
               for record in records) == 1


def documented(heading):
    """The members in the table of doc/LOOKUP.md that follows these words."""
    text = (ROOT / "doc" / "LOOKUP.md").read_text().split(heading)[1]
    rows = re.findall(r"^\| (`[^|]*?) (\*?) ?\|", text.split("\n\n")[1], re.MULTILINE)
    return {name: bool(star) for names, star in rows for name in re.findall(r"`(\w+)`", names)}


def same_members(found, heading, absent=()):
    wanted = documented(heading)
    assert wanted, heading
    assert found.keys() - wanted.keys() == set()
    assert {name for name in wanted if name not in found} <= {
        name for name, may_be_absent in wanted.items() if may_be_absent} | set(absent)


def test_json_has_the_members_that_are_documented(world, mixed):
    answer = json.loads(look(world, mixed, "--json"))
    same_members(answer, "Members are\nnever renamed")
    assert answer["sandbox"] == {"seccomp": True, "landlock": LANDLOCK}
    for record in answer["records"]:
        same_members(record, "Of a record:")
        if "certificate" in record:
            same_members(record["certificate"], "Of a certificate, here", absent=["file"])
    full = [record for record in answer["records"] if record["chosen"]]
    assert len(full) == 1 and full[0]["verifies"] and full[0]["encrypts_to"]
    certificate = full[0]["certificate"]
    assert certificate["names"] == [f"DNS:{mixed}"] and certificate["bears_name"]
    assert TIME.fullmatch(certificate["not_after"]) and TIME.fullmatch(answer["signed_until"])
    assert full[0]["octets"] * 2 == len(full[0]["rdata"])
    own = json.loads(world.run("identity", "show", "--json", mixed).text)
    assert own["keys"][0]["certificate"].keys() == certificate.keys() | {"file"}


def test_an_expired_certificate_counts_with_a_warning(world):
    name = "late.good.test"
    world.knot.publish(name, f"3 0 0 {certificate(start=-40, end=-10.5).hex()}")
    record = fields(look(world, name))[1]
    assert record["valid"][0].endswith(", expired 10 days ago"), record
    assert record["verifies"][0].startswith("yes") and "expired" in " ".join(record["note"])
    world.knot.publish(name, f"3 0 0 {certificate(start=10.5, end=40).hex()}")
    record = fields(look(world, name))[1]
    assert ", not before another 10 days" in record["valid"][0], record


def test_a_key_usage_that_allows_one_thing(world):
    allowed = dict.fromkeys(["digital_signature", "content_commitment", "key_encipherment",
                             "data_encipherment", "key_agreement", "key_cert_sign", "crl_sign",
                             "encipher_only", "decipher_only"], False)
    name = "one-use.good.test"
    for bit, verifies, encrypts, status in [("digital_signature", "yes", "no", 0),
                                            ("key_agreement", "no", "yes", 0),
                                            ("crl_sign", None, None, 6)]:
        usage = x509.KeyUsage(**{**allowed, bit: True})
        world.knot.publish(name, f"3 0 0 {certificate(extensions=[(usage, True)]).hex()}")
        record = fields(look(world, name, status=status))[1]
        if status:
            assert "KeyUsage" in record["not usable"][0]
            continue
        assert re.match(r"\w+", record["verifies"][0])[0] == verifies
        assert re.match(r"\w+", record["encrypts to"][0])[0] == encrypts
        assert "no: its KeyUsage does not allow it" in record["verifies"] + record["encrypts to"]


# --------------------------------------------------------------------------- hostile certificates


def certificate(subject=(), names=(), extensions=(), start=-1, end=100):
    """A self-signed certificate of KEY; start, end: days from now."""
    name = x509.Name([x509.NameAttribute(kind, value) for kind, value in subject])
    now = datetime.datetime.utcnow()
    builder = (x509.CertificateBuilder().subject_name(name).issuer_name(name)
               .public_key(KEY.public_key()).serial_number(0x1234)
               .not_valid_before(now + datetime.timedelta(start))
               .not_valid_after(now + datetime.timedelta(end)))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


EVIL = "\x1b[2J\x07\r\n  verifies     yes\u202e\u200b\x00\x7f\x9b"
UNKNOWN = x509.ObjectIdentifier("1.3.6.1.4.1.99999." + ".".join(["268435455"] * 8))
HOSTILE = {
    "a subject that acts": {"subject": [(NameOID.COMMON_NAME, EVIL), (NameOID.ORGANIZATION_NAME, "a, CN=b")]},
    "names that act": {"names": [x509.DNSName("a\x1b[31m, DNS:b.example"), x509.RFC822Name("x\n@y"),
                                 x509.UniformResourceIdentifier("http://x/\r\n\x1b"),
                                 x509.RegisteredID(UNKNOWN)]},
    "a long subject": {"subject": [(NameOID.ORGANIZATION_NAME, "x" * 3000)]},
    "many names": {"names": [x509.DNSName(f"n{number}.example") for number in range(300)]},
    "many extensions": {"extensions": [(x509.UnrecognizedExtension(
        x509.ObjectIdentifier(f"1.3.6.1.4.1.99999.{number}"), b"\x1b[2J"), False)
        for number in range(200)]},
    "an extension with a long name": {"extensions": [(x509.UnrecognizedExtension(UNKNOWN, b""), False)]},
    "many purposes": {"extensions": [(x509.ExtendedKeyUsage(
        [ExtendedKeyUsageOID.SERVER_AUTH] + [UNKNOWN] * 60), False)]},
    "an authority without an identifier": {"extensions": [(x509.AuthorityKeyIdentifier(
        None, [x509.DirectoryName(x509.Name([]))], 1), False)]},
    "a long subject key identifier": {"extensions": [(x509.SubjectKeyIdentifier(b"\x1b" * 2000), False)]},
}


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_certificate_is_only_text(world, what):
    name = f"hostile-{list(HOSTILE).index(what)}.good.test"
    world.knot.publish(name, f"3 0 0 {certificate(**HOSTILE[what]).hex()}")
    text = look(world, name)
    assert re.fullmatch(r"[\n\x20-\x7e]*", text), repr(text)
    assert text.count("\n  verifies     ") == 1 and text.count("\nrecord ") == 1
    lines = text.splitlines()
    assert len(lines) < 80 and max(map(len, lines)) < 560, text
    answer = json.loads(look(world, name, "--json"))
    assert len(answer["records"]) == 1 and answer["records"][0]["verifies"]
    names = answer["records"][0]["certificate"]["names"]
    assert len(names) == len(HOSTILE[what].get("names", ())), names
