"""Identities whose keys are in hardware, with the real program. The tokens are programs: swtpm for a
TPM, SoftHSM for PKCS #11."""

import contextlib
import json
import os
import re
import shutil
import stat
import subprocess

import craft
import pytest
from cryptography import x509
from quickstart import blocks
from servers import Broker, wait_for
from test_broker import Authority, tls_lines
from test_rollover import Rollover
from tokens import SoftHsm, Tpm
from world import DANEMSG
from written import PAGE as OPERATING

BAD_PIN = "pin-value=081508150815"


@pytest.fixture(scope="module")
def tpm(tmp_path_factory):
    if Tpm.missing:
        pytest.skip(Tpm.missing)
    with Tpm(tmp_path_factory.mktemp("tpm")) as tpm:
        yield tpm


@pytest.fixture(scope="module")
def hsm(tmp_path_factory):
    if SoftHsm.missing:
        pytest.skip(SoftHsm.missing)
    return SoftHsm(tmp_path_factory.mktemp("hsm"))


@pytest.fixture(scope="module")
def elliptic(hsm):
    return hsm.make("elliptic", "EC:prime256v1", ["derive"])


def new(world, name, uri, *options, **changes):
    return world.run("identity", "new", name, "--key", uri, *options, **changes)


def new_identity(world, name, uri, **changes):
    """Made and published; the name again."""
    made = new(world, name, uri, **changes)
    assert made.status == 0, made
    published = world.run("identity", "tlsa", name, **changes)
    assert published.status == 0, published
    world.knot.publish(name, *re.findall(r"\b3 0 0 [0-9a-f]+$", published.text, re.MULTILINE))
    return name


def files(world, name):
    return sorted(path.name[len(name) + 1:] for path in world.crypto.iterdir()
                  if path.name.startswith(name + "."))


@pytest.fixture(scope="module")
def friend(world):
    """Another name, which receives."""
    with world.receiver(world.identity("friend.hardware.good.test")) as receiver:
        yield receiver


def send_and_receive(world, device, bob, friend, changes):
    """From the device, and to it: its token has one user at a time."""
    sent = world.run("send", friend.name, "FROM THE DEVICE", me=device, **changes)
    assert sent.status == 0, sent
    friend.wait_out(f"{device} says: FROM THE DEVICE")
    with world.receiver(device, **changes) as receiver:
        for number in range(3):
            sent = world.run("send", device, f"TO THE DEVICE {number}", me=bob)
            assert sent.status == 0, sent
        receiver.wait_out(f"{bob} says: TO THE DEVICE 2")
        assert f"Reading {world.crypto}/{device}.key.uri" in receiver.err


def test_a_tpm(world, bob, friend, tpm):
    name = "tpm.good.test"
    uri = tpm.make("0x81000001", "ecc256", Tpm.SIGNS + "|decrypt")
    new_identity(world, name, uri, **tpm.variables)
    assert files(world, name) == ["crt.pem", "key.uri"]
    key_file = world.crypto / f"{name}.key.uri"
    assert key_file.read_text() == uri + "\n" and stat.S_IMODE(key_file.stat().st_mode) == 0o600
    send_and_receive(world, name, bob, friend, tpm.variables)
    checked = world.run("identity", "check", name, **tpm.variables)
    assert checked.status == 0 and f"in hardware: {uri}\n" in checked.text, checked
    away = world.run("identity", "show", name, TPM2OPENSSL_TCTI="swtpm:host=127.0.0.1,port=1")
    assert away.status == 2 and f"{uri}: opening the token" in away.err, away
    assert "/dev/tpmrm0" in away.err and len(away.err.splitlines()) == 2, away
    nothing = new(world, "nothing.good.test", "handle:0x8100000f", **tpm.variables)
    assert nothing.status == 2 and "handle:0x8100000f: loading the key" in nothing.err, nothing
    assert not files(world, "nothing.good.test")


@pytest.mark.slow
def test_a_key_that_is_loaded_again(world, bob, tpm):
    """The same key of a TPM once more while it is in use, and then one of the two is freed."""
    name = "againtpm.good.test"
    new_identity(world, name, tpm.make("0x81000004", "ecc256", Tpm.SIGNS + "|decrypt"),
                 **tpm.variables)
    certificate, away = (world.crypto / f"{name}.crt.{end}" for end in ("pem", "away"))
    with world.receiver(name, **tpm.variables) as receiver:
        for count, (old, fresh) in enumerate([(certificate, away), (away, certificate)], 1):
            old.rename(fresh)

            def taken_up(count=count):
                """It looks when something comes."""
                assert world.run("send", name, "AGAIN", me=bob).status == 0
                return receiver.err.count("keys changed on disk, and are in use") == count
            wait_for(taken_up, "the keys to be taken up")
            assert world.run("send", name, f"AFTER {count}", me=bob).status == 0
            receiver.wait_out(f"says: AFTER {count}")


@pytest.mark.slow
def test_a_tpm_that_only_signs(world, bob, tpm):
    """tpm2-openssl has no RSA-OAEP: said when the identity is made, and no peer encrypts to it."""
    name = "rsatpm.good.test"
    uri = tpm.make("0x81000002", "rsa2048", Tpm.SIGNS + "|decrypt")
    made = new(world, name, uri, **tpm.variables)
    assert made.status == 0 and f"{uri} only signs (" in made.err and "X25519" in made.err, made
    assert files(world, name) == ["crt.pem", "enc.crt.pem", "enc.key.pem", "key.uri"]
    certificate = x509.load_pem_x509_certificate((world.crypto / f"{name}.crt.pem").read_bytes())
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    assert usage.digital_signature and not usage.key_encipherment
    published = world.run("identity", "tlsa", name, **tpm.variables)
    world.knot.publish(name, *re.findall(r"3 0 0 [0-9a-f]+$", published.text, re.MULTILINE))
    sealed = world.run("seal", "--to", name, me=bob, input=b"SEALED")
    opened = world.run("open", me=name, input=sealed.out, **tpm.variables)
    assert opened.status == 0 and opened.out == b"SEALED", (sealed, opened)
    signed = world.run("sign", "--to", bob, me=name, input=b"SIGNED", **tpm.variables)
    verified = world.run("verify", me=bob, input=signed.out)
    assert verified.status == 0 and verified.out == b"SIGNED", (signed, verified)
    checked = world.run("identity", "check", name, **tpm.variables)
    assert "only signs: another key decrypts" in checked.text, checked
    for part in "key", "crt":
        (world.crypto / f"{name}.enc.{part}.pem").unlink()
    checked = world.run("identity", "check", name, **tpm.variables)
    assert "only signs: what comes cannot be decrypted" in checked.text, checked
    opened = world.run("open", me=name, input=b"x", **tpm.variables)
    assert opened.status == 6 and "has no key that may decrypt" in opened.err, opened


def test_a_pkcs11_token(world, bob, friend, hsm, elliptic):
    name = "hsm.good.test"
    new_identity(world, name, elliptic, **hsm.variables)
    send_and_receive(world, name, bob, friend, hsm.variables)
    shown = json.loads(world.run("identity", "show", "--json", name, **hsm.variables).text)
    assert shown["keys"][0]["uri"] == elliptic and shown["keys"][0]["decrypts"], shown


@pytest.mark.slow
def test_the_doctor(world, hsm, elliptic):
    name = "doctorhsm.good.test"
    new_identity(world, name, elliptic, **hsm.variables)
    doctored = world.run("doctor", "-W", "1", me=name, **hsm.variables)
    assert f"is in hardware ({elliptic}), where it signs and decrypts" in doctored.text, doctored
    away = world.run("doctor", "-W", "1", me=name, SOFTHSM2_CONF="/dev/null")
    assert away.status != 0 and "loading the key" in away.text, away


@pytest.mark.slow
def test_the_steps_with_rsa(world, bob, rsa_bob, hsm):
    """Signed, sealed and opened by hand, in the proof of concept's format too."""
    name = "rsahsm.good.test"
    new_identity(world, name, hsm.make("rsa", "rsa:2048", ["decrypt"]), **hsm.variables)
    signed = world.run("sign", "--to", bob, me=name, input=b"SIGNED", **hsm.variables)
    verified = world.run("verify", me=bob, input=signed.out)
    assert verified.status == 0 and verified.out == b"SIGNED", (signed, verified)
    sealed = world.run("seal", "--to", name, me=bob, input=b"SEALED")
    opened = world.run("open", "--from", bob, me=name, input=sealed.out, **hsm.variables)
    assert opened.status == 0 and opened.out == b"SEALED", (sealed, opened)
    altered = world.run("open", me=name, input=sealed.out.replace(b'"tag":"', b'"tag":"A')[:-3] + b'"}',
                        **hsm.variables)
    assert altered.status in (7, 13) and altered.out == b"", altered
    with world.receiver(rsa_bob, "--accept-poc", name) as receiver:
        sent = world.run("send", "--poc", rsa_bob, "AS BEFORE", me=name, **hsm.variables)
        assert sent.status == 0, sent
        receiver.wait_out(f"{name} says: AS BEFORE")


def test_a_request_and_its_certificate(world, hsm, elliptic, tmp_path):
    name = "csrhsm.good.test"
    made = new(world, name, elliptic, "--csr", **hsm.variables)
    assert made.status == 0 and files(world, name) == ["csr.pem", "key.uri"], made
    request = x509.load_pem_x509_csr((world.crypto / f"{name}.csr.pem").read_bytes())
    assert request.is_signature_valid
    authority = Authority(tmp_path, "hsm")
    certificate = authority.make(request, authority.name, 10, [
        (x509.SubjectAlternativeName([x509.DNSName(name)]), False)])
    (tmp_path / "crt.pem").write_bytes(
        certificate.public_bytes(craft.serialization.Encoding.PEM))
    imported = world.run("identity", "import", tmp_path / "crt.pem", name, **hsm.variables)
    assert imported.status == 0 and "crt.pem" in files(world, name), imported
    again = new(world, name, elliptic, **hsm.variables)
    assert again.status == 2 and "already (key.uri, crt.pem, csr.pem)" in again.err, again


def test_what_is_refused(world, hsm, elliptic):
    """Each with what to do, none with the PIN; nothing is written."""
    name = "badhsm.good.test"
    ended = hsm.pin_file.with_name("ended")
    ended.write_text(hsm.PIN + "\n")
    rows = [(elliptic.replace("object=elliptic", "object=nothing"), 2, "object not found"),
            (hsm.uri("elliptic", token="away"), 2, "object not found"),
            (hsm.uri("elliptic", pin=BAD_PIN), 6, "does not take the PIN"),
            (hsm.uri("elliptic", pin=f"pin-source=file:{ended}"), 6, "the PIN and no line end"),
            (hsm.uri("elliptic", pin="pin-source=file:/nonexistent"), 2, "no such file"),
            (elliptic.partition("&pin")[0], 2, "wants a PIN"),
            (elliptic.replace("libsofthsm2", "nonexistent"), 2, "nonexistent.so: No such file"),
            ("pkcs11:token=device", 1, "which key of the token"),
            ("file:/etc/passwd", 1, "begins with handle:"),
            ("handle:0x81000001?pass", 1, "to type the password")]
    for uri, status, text in rows:
        refused = new(world, name, uri, **hsm.variables)
        assert refused.status == status and text in refused.err, (uri, refused)
        assert BAD_PIN not in refused.err and hsm.PIN not in refused.err, refused
        assert all(line.startswith("danemsg ") for line in refused.err.splitlines()), refused
        assert not files(world, name)
    packages = new(world, name, elliptic, OPENSSL_ENGINES="/nonexistent", **hsm.variables)
    assert packages.status == 2 and "libengine-pkcs11-openssl" in packages.err, packages
    packages = new(world, name, "handle:0x81000001", OPENSSL_MODULES="/nonexistent")
    assert packages.status == 2 and "package tpm2-openssl" in packages.err, packages


def test_files_that_are_refused(world, alice, hsm, elliptic):
    name = "fileshsm.good.test"
    assert new(world, name, elliptic, **hsm.variables).status == 0
    uri_file, certificate = (world.crypto / f"{name}.{part}" for part in ("key.uri", "crt.pem"))

    def refused(status, text):
        shown = world.run("identity", "show", name, **hsm.variables)
        assert shown.status == status and text in shown.err, shown
        assert BAD_PIN not in shown.err, shown

    uri_file.chmod(0o644)
    refused(2, "run chmod 600")
    uri_file.chmod(0o600)
    key_file = world.crypto / f"{name}.key.pem"
    shutil.copy(world.crypto / f"{alice}.key.pem", key_file)
    refused(2, f"{name}.key.pem and {name}.key.uri are both in")
    key_file.unlink()
    own = certificate.read_bytes()
    shutil.copy(world.crypto / f"{alice}.crt.pem", certificate)
    refused(2, "do not belong together")
    certificate.write_bytes(own)
    uri_file.write_text(hsm.uri("elliptic", pin=BAD_PIN) + "\n")
    refused(6, "does not take the PIN")
    uri_file.write_text(elliptic + "\n" + elliptic + "\n")
    refused(2, "one line")
    uri_file.write_text(elliptic + "\n")
    shown = world.run("identity", "show", name, **hsm.variables)
    assert shown.status == 0, shown
    replaced = new(world, name, "p256", "--force")
    assert replaced.status == 0 and files(world, name) == ["crt.pem", "key.pem"], replaced
    replaced = new(world, name, elliptic, "--force", **hsm.variables)
    assert replaced.status == 0 and files(world, name) == ["crt.pem", "key.uri"], replaced


@pytest.mark.slow
def test_a_receiver_waits_for_the_right_pin(world, bob, hsm, elliptic):
    """A token locks itself after a few wrong ones: the next try is with other files."""
    name = "pinhsm.good.test"
    new_identity(world, name, elliptic, **hsm.variables)
    uri_file = world.crypto / f"{name}.key.uri"
    uri_file.write_text(hsm.uri("elliptic", pin=BAD_PIN) + "\n")
    with world.receiver(name, **hsm.variables).start(wait=False) as receiver:
        receiver.wait_word("certificate")
        uri_file.write_text(elliptic + "\n")
        wait_for(lambda: "subscribed\n" in receiver.err or not receiver.alive(), "to subscribe")
        assert f"Reading {world.crypto}/{name}.key.uri" in receiver.err
        assert receiver.count("certificate") == 1 and BAD_PIN not in receiver.err
        assert world.run("send", name, "AT LAST", me=bob).status == 0
        receiver.wait_out("says: AT LAST")


@pytest.mark.slow
def test_the_brokers_client_certificate(world, bob, hsm, elliptic, tpm, tmp_path):
    """TLS signs with a key in a PKCS #11 token, and cannot with one in a TPM."""
    authority = Authority(tmp_path, "brokers")
    authority.issue("strict", x509.DNSName("localhost"))
    devices = [("tlshsm.good.test", elliptic, hsm.variables),
               ("tlstpm.good.test", tpm.make("0x81000003", "ecc256", Tpm.SIGNS), tpm.variables)]
    known = tmp_path / "known.pem"
    with open(known, "ab") as out:
        out.write(authority.file.read_bytes())
        for name, uri, variables in devices:
            new_identity(world, name, uri, **variables)
            out.write((world.crypto / f"{name}.crt.pem").read_bytes())
    lines = tls_lines(authority, "strict", "require_certificate true").replace(
        f"cafile {authority.file}", f"cafile {known}")
    with Broker(tmp_path / "broker", lines) as broker:
        to = {"MQTT_HOST": "localhost", "MQTT_PORT": broker.port, "DANEMSG_CAFILE": authority.file}
        for name, _, variables in devices:
            sent = world.run("send", bob, "x", "--identity-cert", me=name, **to, **variables)
            assert sent.status == (0 if variables is hsm.variables else 2), sent
            assert sent.status == 0 or "TLS cannot sign with handle:" in sent.err, sent
            assert world.run("send", bob, "x", me=name, **to, **variables).status == 10
    uri_file = world.crypto / f"{devices[0][0]}.key.uri"
    sent = world.run("send", bob, "x", "--cert", authority.folder / "strict.crt", "--key", uri_file,
                     me=bob, **to)
    assert sent.status == 1 and "with --identity-cert the" in sent.err, sent


@pytest.mark.slow
def test_rolling_over_into_a_token_and_back(world, bob, hsm, elliptic):
    rollover = Rollover(world, "rollhsm.good.test")
    name, first = rollover.name, world.tlsa("rollhsm.good.test")
    with world.receiver(name, **hsm.variables) as receiver:
        started = rollover.run("start", "--key", elliptic, **hsm.variables)
        assert started.status == 0, started
        assert "next.key.uri" in rollover.files() and "next.key.pem" not in rollover.files()
        both = first + rollover.records(started.text)
        world.knot.publish(name, *both)
        switched = rollover.run("switch", "--now", **hsm.variables)
        assert switched.status == 0, switched
        assert rollover.files() == ["crt.pem", "key.uri", "old.crt.pem", "old.key.pem", "rollover"]
        assert world.run("send", name, "INTO THE TOKEN", me=bob).status == 0
        receiver.wait_out("says: INTO THE TOKEN")
        world.knot.publish(name, *both[1:])
        for _ in range(2):
            finished = rollover.run("finish", "--now", **hsm.variables)
            assert finished.status == 0, finished
        assert rollover.files() == ["crt.pem", "key.uri"]

        unsaid = rollover.run("start", **hsm.variables)
        assert unsaid.status == 1 and "say with --key" in unsaid.err, unsaid
        same = rollover.run("start", "--key", elliptic, **hsm.variables)
        assert same.status == 1 and "has already" in same.err, same
        assert rollover.files() == ["crt.pem", "key.uri"]
        started = rollover.run("start", "--key", "p256", **hsm.variables)
        assert started.status == 0, started
        world.knot.publish(name, *both[1:], *rollover.records(started.text))
        assert rollover.run("switch", "--now", **hsm.variables).status == 0
        assert rollover.files() == ["crt.pem", "key.pem", "old.crt.pem", "old.key.uri", "rollover"]
        assert world.run("send", name, "AND BACK", me=bob).status == 0
        receiver.wait_out("says: AND BACK")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tpm", "pkcs11"])
def test_the_guide(world, bob, kind, tmp_path):
    """What doc/OPERATING.md says, typed as it stands there."""
    name = f"guide.{kind}.good.test"
    [script] = blocks(OPERATING, kind)
    missing = (Tpm if kind == "tpm" else SoftHsm).missing
    if missing:
        pytest.skip(missing)
    with contextlib.ExitStack() as stack:
        token = (stack.enter_context(Tpm(tmp_path / kind)) if kind == "tpm" else
                 SoftHsm(tmp_path / kind, "another"))
        variables = {**token.variables, "IDENTITY_NAME": name}
        tools = {"PATH": f"{DANEMSG.parent}:{os.environ['PATH']}",
                 "TPM2TOOLS_TCTI": token.variables.get("TPM2OPENSSL_TCTI")}
        (tmp_path / "pin").write_text("1234")
        typed = subprocess.run(["bash", "-euc", script], cwd=tmp_path, capture_output=True, text=True,
                               env=world.environment(**variables, **tools))
        assert typed.returncode == 0 and f"wrote {world.crypto}/{name}.key.uri" in typed.stdout, (
            typed.stdout, typed.stderr)
        signed = world.run("sign", "--to", bob, input=b"x", **variables)
        assert signed.status == 0 and not signed.err, signed
