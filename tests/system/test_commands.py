"""The commands between the large ones: what send takes, the steps by themselves, inspect, and the
names that the proof of concept's users know."""

import json
import subprocess
import time

import craft
import pytest
from servers import wait_for
from world import DANEMSG, Receiver


@pytest.fixture
def inbox(world, bob):
    """What bob gets, one JSON object a message."""
    with world.receiver(bob, "--json") as receiver:
        def wait(count):
            wait_for(lambda: receiver.out.count(b"\n") >= count, f"{count} messages")
            return [json.loads(line) for line in receiver.out.splitlines()]
        yield wait


SOURCES = {
    "two arguments": (["{bob}", "HELLO"], b"", ["HELLO"]),
    "-m": (["--to", "{bob}", "-m", "HELLO"], b"", ["HELLO"]),
    "-s": (["--to", "{bob}", "-s"], b"ONE\nTWO\n", ["ONE\nTWO\n"]),
    "-l": (["--to", "{bob}", "-l"], b"ONE\nTWO\n", ["ONE", "TWO"]),
    "-f": (["--to", "{bob}", "-f", "{file}"], b"", ["FROM A FILE"]),
    "-n": (["--to", "{bob}", "-n"], b"", [""]),
    "a dash": (["--to", "{bob}", "-m", "-x"], b"", ["-x"]),
    "in capitals": (["{BOB}.", "HELLO"], b"", ["HELLO"]),
    "QoS 0": (["-q", "0", "{bob}", "HELLO"], b"", ["HELLO"]),
    "MQTT 3.1.1": (["-V", "311", "{bob}", "HELLO"], b"", ["HELLO"]),
    "to himself twice": (["--to", "{bob}", "--to", "{bob}", "-m", "HELLO"], b"", ["HELLO"] * 2),
}


@pytest.mark.parametrize("what", SOURCES)
def test_what_send_takes(world, alice, bob, inbox, tmp_path, what):
    arguments, data, expected = SOURCES[what]
    file = tmp_path / "file"
    file.write_text("FROM A FILE")
    words = [word.format(bob=bob, BOB=bob.upper(), file=file) for word in arguments]
    sent = world.run("send", *words, input=data, me=alice)
    assert sent.status == 0, sent
    got = inbox(len(expected))
    assert [message["payload"] for message in got] == expected
    assert {message["sender"] for message in got} == {alice}
    assert len({message["id"] for message in got}) == len(expected)


def test_send_to_several_tries_all(world, alice, bob, inbox):
    sent = world.run("send", "--to", "nobody.good.test", "--to", bob, "-m", "HELLO", me=alice)
    assert sent.status == 3 and "nobody.good.test" in sent.err, sent
    assert inbox(1)[0]["payload"] == "HELLO"


def test_send_says_the_largest_that_fits(world, alice, bob, inbox):
    assert world.run("send", "--to", bob, "-s", input=b"x" * 66000, me=alice).status == 13
    large = world.run("send", "--to", bob, "-s", input=b"x" * 64000, me=alice)
    assert large.status == 13 and large.out == b"", large
    most = max(int(word) for word in "".join(
        c if c.isdigit() else " " for c in large.err).split() if int(word) < 64000)
    assert world.run("send", "--to", bob, "-s", input=b"x" * most, me=alice).status == 0
    assert world.run("send", "--to", bob, "-s", input=b"x" * (most + 1), me=alice).status == 13
    assert inbox(1)[0]["payload"] == "x" * most


@pytest.mark.parametrize("arguments", [
    [], ["send"], ["send", "bob.good.test"], ["nonsense"], ["send", "--nonsense", "x", "y"],
    ["identity"], ["identity", "nonsense"], ["receive", "--allow", "a*.good.test"],
    ["send", "--to", "*.good.test", "-m", "x"], ["send", "--expires", "31d", "bob.good.test", "x"],
    ["receive", "-C", "none"], ["identity", "tlsa", "x.good.test", "--usage", "9"],
    ["identity", "new", "x.good.test", "--key", "rsa1024"]], ids=" ".join)
def test_usage(world, alice, bob, arguments):
    wrong = world.run(*arguments, me=alice, timeout=10)
    assert wrong.status == 1 and wrong.out == b"" and wrong.err, wrong


def test_help(world):
    everything = world.run("--help")
    assert everything.status == 0 and everything.err == ""
    table = [json.loads(line) for line in world.run("--help", "--json").text.splitlines()]
    for command in (line["command"].split() for line in table if line.get("link") is False):
        assert f"  {command[0]} " in everything.text
        helped = world.run(*command, "--help")
        assert helped.status == 0 and "example:" in helped.text, helped
    family = world.run("identity", "--help")
    assert family.status == 0 and "\n  rollover " in family.text, family


def test_the_steps_by_themselves(world, alice, bob, carol):
    signed = world.run("sign", "--to", bob, me=alice, input=b"STEP BY STEP")
    assert signed.status == 0 and signed.out.count(b".") == 2, signed
    verified = world.run("verify", me=bob, input=signed.out)
    assert verified.out == b"STEP BY STEP" and alice in verified.err, verified
    encrypted = world.run("encrypt", "--to", bob, input=signed.out)
    assert encrypted.status == 0, encrypted
    decrypted = world.run("decrypt", me=bob, input=encrypted.out)
    assert decrypted.out == signed.out and "not" in decrypted.err, decrypted
    assert world.run("open", me=bob, input=encrypted.out).out == b"STEP BY STEP"
    other = world.run("decrypt", me=carol, input=encrypted.out)
    assert (other.status, other.out) == (13, b""), other
    head, body, signature = signed.out.strip().decode().split(".")
    altered = world.run("verify", me=bob,
                        input=f"{head}.{craft.turn_bit(body)}.{signature}".encode())
    assert (altered.status, altered.out) == (8, b""), altered


def test_inspect_needs_no_key_and_shows_no_content(world, alice, bob):
    envelope = world.run("seal", "--to", bob, me=alice, input=b"HELLO THERE").out
    seen = world.run("inspect", input=envelope, CRYPTO_PATH=None, DANEMSG_TRUST_ANCHOR=None)
    assert seen.status == 0, seen
    for text in "ECDH-ES+A256KW", "A256GCM", bob:
        assert text in seen.text, seen
    assert "HELLO" not in seen.text and "alice" not in seen.text
    assert world.run("inspect", input=b"{}").status == 13
    bad = world.message(alice, bob)
    bad.jwe_header["x5u"] = "dns:\x1b[2J\u202e?type=TLSA"
    tame = world.run("inspect", input=bad.envelope())
    assert b"\x1b" not in tame.out and "\u202e" not in tame.text + tame.err, tame


def test_lookup_as_json(world, alice):
    found = world.run("lookup", "--json", alice)
    assert found.status == 0, found
    answer = json.loads(found.text)
    assert alice in found.text and "secure" in found.text and craft.kid(world.key(alice)) in found.text
    assert isinstance(answer, dict)


# ------------------------------------------------------------- names of the proof of concept


@pytest.fixture
def link(tmp_path):
    def make(name):
        path = tmp_path / name
        path.symlink_to(DANEMSG)
        return path
    return make


def run_link(world, path, *arguments, **variables):
    ran = subprocess.run([path, *arguments], capture_output=True, timeout=60, text=True,
                         env=world.environment(**variables))
    return ran.returncode, ran.stdout, ran.stderr


@pytest.mark.parametrize("suffix", ["", ".py"])
def test_the_proof_of_concepts_commands(world, link, rsa_bob, tmp_path, suffix):
    name = f"device{len(suffix)}.good.test"
    folder = tmp_path / "crypto"
    folder.mkdir()
    variables = {"IDENTITY_NAME": name, "CRYPTO_PATH": folder, "APP_UID": "0"}
    assert run_link(world, link("create_selfsigned_id" + suffix), **variables)[0] == 0
    key = craft.load_private(folder / f"{name}.key.pem")
    assert key.key_size == 2048
    status, out, _err = run_link(world, link("generate_tlsa" + suffix), **variables)
    certificate = craft.load_certificate(folder / f"{name}.crt.pem")
    der = certificate.public_bytes(craft.serialization.Encoding.DER).hex()
    assert (status, out.strip().lower()) == (0, f"tlsa record for {name}: 3 0 0 {der}")
    requests = tmp_path / "requests"
    requests.mkdir()
    status, _out, err = run_link(world, link("create_id_csr" + suffix),
                                 **{**variables, "CRYPTO_PATH": requests})
    assert status == 0, err
    assert "BEGIN CERTIFICATE REQUEST" in (requests / f"{name}.csr.pem").read_text()

    world.knot.publish(name, f"3 0 0 {der}")
    with world.receiver(rsa_bob) as receiver:
        send = link("send_message" + suffix)
        status, _out, err = run_link(world, send, rsa_bob, "HELLO THERE", **variables)
        assert status == 0, err
        receiver.wait_out(f"{name} says: HELLO THERE\n")
        assert run_link(world, send, "nobody.good.test", "X", **variables)[0] == 2
        assert run_link(world, send, rsa_bob, "X", **{**variables, "IDENTITY_NAME": None})[0] == 1


# ------------------------------------------------------------------- what was found to go wrong


def test_a_line_is_sent_when_it_comes(world, alice, bob):
    """And the connection lives while none comes."""
    with world.receiver(bob) as receiver:
        sender = subprocess.Popen([DANEMSG, "send", "--to", bob, "-l", "-k", "5"],
                                  stdin=subprocess.PIPE, env=world.environment(IDENTITY_NAME=alice))
        try:
            sender.stdin.write(b"first\nhalf")
            sender.stdin.flush()
            receiver.wait_out("says: first\n")
            time.sleep(9)
            sender.stdin.write(b" a line\nthe last has no end")
            sender.stdin.close()
            receiver.wait_out("says: half a line\n")
            receiver.wait_out("says: the last has no end\n")
            assert sender.wait(20) == 0
        finally:
            sender.kill()
            sender.wait()


def test_one_bad_recipient_costs_the_others_nothing(world, alice, bob):
    evil, slow = "evil.good.test", "slow.silent.test"
    world.knot.publish(evil, "3 1 0 302a300506032b656e032100" + 32 * "00")
    with world.receiver(bob) as receiver:
        words = [word for name in (evil, slow, f"b.{slow}", bob) for word in ("--to", name)]
        sent = world.run("send", *words, "-m", "HELLO", me=alice)
        receiver.wait_out("says: HELLO\n")
    assert sent.status == 4 and "certificate" in sent.err, sent


@pytest.mark.parametrize("words", [
    ("sign", "--to", "a.test.x", "--cbc"), ("send", "-L", "mqtt://h", "-p", "1883", "a.b", "x"),
    ("send", "--will-qos", "1", "a.b", "x"), ("send", "--expires", "0", "a.b", "x"),
    ("identity", "new", "a.b", "--csr", "--days", "3"), ("receive", "--clean", "--state", "x"),
    ("receive", "-v", "--json"), ("receive", "--state="), ("receive", "--pretty")],
    ids=lambda words: " ".join(words))
def test_no_option_is_accepted_and_ignored(world, alice, words):
    refused = world.run(*words, me=alice, MQTT_PORT=None, MQTT_HOST=None)
    assert refused.status == 1 and refused.err, refused


def test_help_is_an_option_and_not_a_text(world, alice, bob):
    with world.receiver(bob) as receiver:
        assert world.run("send", "--to", bob, "-m", "--help", me=alice).status == 0
        receiver.wait_out("says: --help\n")
    assert "usage:" in world.run("send", "--to", bob, "--help").text


def test_the_urls_topic(world, alice, bob):
    url = f"mqtt://127.0.0.1:{world.broker.port}/fleet/one"
    receiver = world.receiver(bob, "-t", "fleet/one").start(wait=False)
    try:
        wait_for(lambda: world.broker.subscriptions("fleet/one"), "the subscription")
        sent = world.run("send", "-L", url, bob, "HELLO", me=alice)
        assert sent.status == 0, sent
        receiver.wait_out("says: HELLO\n")
    finally:
        receiver.stop()


def test_a_line_end_behind_an_envelope(world, alice, bob):
    sealed = world.run("seal", "--to", bob, me=alice, input=b"HELLO").out
    assert world.run("open", me=bob, input=sealed + b"\n").out == b"HELLO"
    signed = world.run("sign", "--to", bob, me=alice, input=b"HELLO").out
    assert world.run("verify", input=signed + b"\n").out == b"HELLO"


def test_what_still_waits_is_said_at_the_end(world, bob):
    name = "waits.silent.test"
    world.identity(name, publish=False)
    receiver = Receiver(world, bob, ("--clean",), {}, wrapper=("env", "-u", "DANEMSG_STATE"))
    receiver.start()
    world.broker.publish(bob, world.message(name, bob).envelope())
    time.sleep(1)
    assert receiver.stop() == 0
    assert "1 message(s) still waited for DNS and are lost" in receiver.err
