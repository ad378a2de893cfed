"""Key files on disk, and the commands that write and read them."""

import os
import stat
import subprocess

import craft
import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "identity"
    made.mkdir(mode=0o700)
    return made


def mode(path):
    return stat.S_IMODE(os.stat(path).st_mode)


@pytest.mark.parametrize("mask", [0o000, 0o022, 0o077])
def test_keys_are_for_their_owner_alone(world, folder, mask):
    before = os.umask(mask)
    try:
        made = world.run("identity", "new", "new.good.test", CRYPTO_PATH=folder)
    finally:
        os.umask(before)
    assert made.status == 0, made
    assert mode(folder / "new.good.test.key.pem") == 0o600
    assert sorted(path.name for path in folder.iterdir()) == ["new.good.test.crt.pem",
                                                              "new.good.test.key.pem"]


def test_an_ed25519_identity_has_a_second_key(world, folder):
    made = world.run("identity", "new", "ed.good.test", "--key", "ed25519", CRYPTO_PATH=folder)
    assert made.status == 0, made
    assert mode(folder / "ed.good.test.key.pem") == mode(folder / "ed.good.test.enc.key.pem") == 0o600


def test_keys_appear_whole(world, folder):
    """Written beside and renamed: who has the old file open, or linked, keeps the old file."""
    key = folder / "new.good.test.key.pem"
    assert world.run("identity", "new", "new.good.test", CRYPTO_PATH=folder).status == 0
    old = key.read_bytes()
    os.link(key, folder / "link")
    again = world.run("identity", "new", "new.good.test", CRYPTO_PATH=folder)
    assert again.status == 2 and key.read_bytes() == old, again
    assert "--force" in again.err
    forced = world.run("identity", "new", "new.good.test", "--force", CRYPTO_PATH=folder)
    assert forced.status == 0 and key.read_bytes() != old, forced
    assert (folder / "link").read_bytes() == old
    assert mode(key) == 0o600


def test_a_link_is_not_written_through(world, folder):
    """Somebody's symbolic link in the way is replaced or refused, never followed."""
    target = folder / "target"
    target.write_text("not mine")
    (folder / "new.good.test.key.pem").symlink_to(target)
    world.run("identity", "new", "new.good.test", "--force", CRYPTO_PATH=folder)
    assert target.read_text() == "not mine"


@pytest.mark.parametrize("bits, status", [(0o600, 0), (0o400, 0), (0o640, 2), (0o604, 2),
                                          (0o660, 2), (0o644, 2)], ids=oct)
def test_a_key_that_others_can_read_is_refused(world, folder, bob, bits, status):
    name = "new.good.test"
    assert world.run("identity", "new", name, CRYPTO_PATH=folder).status == 0
    (folder / f"{name}.key.pem").chmod(bits)
    signed = world.run("sign", "--to", bob, input=b"x", me=name, CRYPTO_PATH=folder)
    assert signed.status == status, signed
    if status:
        assert f"{name}.key.pem" in signed.err and "chmod" in signed.err and signed.out == b""


def test_a_key_that_is_not_the_certificates(world, folder, bob):
    for name in "one.good.test", "two.good.test":
        assert world.run("identity", "new", name, CRYPTO_PATH=folder).status == 0
    (folder / "two.good.test.key.pem").rename(folder / "one.good.test.key.pem")
    signed = world.run("sign", "--to", bob, input=b"x", me="one.good.test", CRYPTO_PATH=folder)
    assert signed.status == 2 and "one.good.test" in signed.err, signed


def test_no_identity(world, folder, bob):
    assert world.run("send", bob, "x").status == 2
    missing = world.run("send", bob, "x", me="nobody.good.test", CRYPTO_PATH=folder)
    assert missing.status == 2 and "nobody.good.test" in missing.err, missing


KEYS = ["p256", "p384", "p521", "ed25519", "rsa2048", "rsa3072"]


@pytest.mark.parametrize("key", KEYS)
def test_certificates_are_as_others_read_them(world, folder, key):
    name = "device_1._device.good.test"
    made = world.run("identity", "new", name, "--key", key, "--days", "30", CRYPTO_PATH=folder)
    assert made.status == 0, made
    certificate = craft.load_certificate(folder / f"{name}.crt.pem")
    names = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
    assert names.value.get_values_for_type(x509.DNSName) == [name]
    assert certificate.version == x509.Version.v3
    assert (certificate.not_valid_after - certificate.not_valid_before).days in (30, 31)
    checked = subprocess.run(["openssl", "verify", "-x509_strict", "-CAfile",
                              folder / f"{name}.crt.pem", folder / f"{name}.crt.pem"],
                             capture_output=True, text=True)
    assert checked.returncode == 0, checked


def test_an_overlong_or_odd_name_makes_no_file(world, folder):
    for name in ("../up.good.test", "a/b.good.test", "*.good.test", "one", "ä.good.test",
                 ".".join(["a" * 60] * 4) + ".test", "-o", ""):
        made = world.run("identity", "new", "--", name, CRYPTO_PATH=folder)
        assert made.status in (1, 2, 13), (name, made)
    assert list(folder.iterdir()) == [] and not (folder.parent / "up.good.test.key.pem").exists()


def test_secrets_stay_out_of_every_output(world, folder, bob):
    name = "quiet.good.test"
    assert world.run("identity", "new", name, CRYPTO_PATH=folder).status == 0
    body = "".join((folder / f"{name}.key.pem").read_text().splitlines()[1:-1])
    pieces = [body[at:at + 20] for at in range(30, len(body) - 20, 20)]
    for command in (["identity", "show", name], ["identity", "tlsa", name],
                    ["identity", "check", name], ["sign", "--to", bob]):
        result = world.run(*command, me=name, input=b"x", CRYPTO_PATH=folder)
        for piece in pieces:
            assert piece not in result.text + result.err, command
