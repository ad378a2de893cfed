"""The commands between the large ones: what send takes, the steps by themselves, inspect, and the
names that the proof of concept's users know."""

import functools
import json
import os
import stat
import subprocess
import time

import craft
import pytest
from servers import PATIENCE, wait_for
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


def test_send_says_the_largest_that_fits(world, bob, inbox):
    """Without a certificate, which may travel with a message (where DNS is slow to say that it need
    not) and takes room."""
    alice = world.identity("uncertified.good.test")
    (world.crypto / f"{alice}.crt.pem").unlink()
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
    wrong = world.run(*arguments, me=alice)
    assert wrong.status == 1 and wrong.out == b"" and wrong.err, wrong


def test_help(world):
    everything = world.run("--help")
    assert everything.status == 0 and everything.err == ""
    table = [json.loads(line) for line in world.run("--help", "--json").text.splitlines()]
    for command in (line["command"].split() for line in table if line.get("link") is False):
        assert f"  {command[0]} " in everything.text
        helped = world.run(*command, "--help")
        assert helped.status == 0 and "example:" in helped.text, helped
        assert world.run("help", *command, DANEMSG_QOS="9").text == helped.text
    family = world.run("identity", "--help")
    assert world.run("help", "identity").text == family.text
    wrong = world.run("send", "a.b", "x", DANEMSG_QOS="9")
    assert wrong.status == 1 and "DANEMSG_QOS" in wrong.err, wrong
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


def run_with(world, words, me, out=subprocess.PIPE, close=None, **changes):
    """The program with another stdout, or a descriptor closed before it starts."""
    prepare = functools.partial(os.close, close) if close is not None else None
    ran = subprocess.run([DANEMSG, *map(str, words)], stdout=out, stderr=subprocess.PIPE,
                         stdin=subprocess.DEVNULL if close != 0 else None, timeout=PATIENCE, text=True,
                         preexec_fn=prepare, env=world.environment(IDENTITY_NAME=me, **changes))
    return ran.returncode, ran.stderr


def test_what_cannot_be_written_is_an_error(world, alice, bob):
    certificate = world.crypto / f"{alice}.crt.pem"
    state = world.new_state()
    for queue in ["send", "--queue", bob, "x"], ["send", "--queue", bob, "x", "--json"]:
        assert world.run(*queue, me=alice, DANEMSG_STATE=state).status == 0
    for words in (["--help"], ["--version"], ["identity", "--help"], ["help", "--json"],
                  ["outbox", "purge", "--all"], ["inbox", "purge", "--all"], ["identity", "tlsa"],
                  ["verify-cert", certificate], ["certs", alice, "-o", "-"]):
        with open("/dev/full", "w") as full:
            status, text = run_with(world, words, alice, full, DANEMSG_STATE=state)
        assert status == 2 and "No space left" in text, (words, status, text)
        status, text = run_with(world, words, alice, None, close=1, DANEMSG_STATE=state)
        assert status == 2 and "writing the output: Bad file" in text, (words, status, text)
    assert run_with(world, ["send", bob, "x"], alice, None, close=1)[0] == 0  # it has nothing to say


def test_a_closed_stdin_is_no_empty_message(world, alice, bob):
    for words in ["seal", "--to", bob], ["send", "--to", bob, "-s"], ["inspect"]:
        status, text = run_with(world, words, alice, close=0)
        assert status == 2 and "reading standard input" in text, (words, status, text)


def test_nothing_is_delivered_to_a_closed_stdout(world, alice, bob):
    state = world.new_state()
    with world.receiver(bob, DANEMSG_STATE=state):
        pass  # so that there is a session
    assert world.run("send", bob, "NOT LOST", me=alice).status == 0
    words = ["receive", "-C", "1", "-W", str(PATIENCE)]
    status, text = run_with(world, words, bob, None, close=1, DANEMSG_STATE=state)
    assert status == 2 and "writing the output" in text, text
    listed = world.run("inbox", "list", "--undelivered", me=bob, DANEMSG_STATE=state)
    assert "NOT LOST" in listed.text, listed


def test_what_is_no_file_is_written_to_and_stays(world, alice, tmp_path):
    fifo, target, link = tmp_path / "fifo", tmp_path / "target", tmp_path / "link"
    os.mkfifo(fifo)
    target.write_text("what was there before, and is longer than a certificate " * 20)
    link.symlink_to(target)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for path in fifo, link:
            written = world.run("certs", alice, "-o", path)
            assert written.status == 0, written
        pem = (world.crypto / f"{alice}.crt.pem").read_bytes()
        assert os.read(reader, 65536) == target.read_bytes() == pem
    finally:
        os.close(reader)
    assert stat.S_ISFIFO(os.lstat(fifo).st_mode) and link.is_symlink()
    target.unlink()  # a link to nothing gives way to the file
    assert world.run("certs", alice, "-o", link).status == 0
    assert link.read_bytes() == pem and not link.is_symlink()
    assert world.run("certs", alice, "-o", "/dev/full").status == 2


def test_looking_makes_no_folder(world, alice, tmp_path):
    state = tmp_path / "state"
    for words in (["inbox", "list"], ["inbox", "purge", "--all"], ["outbox", "list"], ["status"],
                  ["identity", "rollover", "status"]):
        world.run(*words, me=alice, DANEMSG_STATE=state)
        assert not state.exists(), words
    assert world.run("sign", "--to", alice, me=alice, DANEMSG_STATE=state).status == 0
    assert state.is_dir()


def test_open_remembers_where_it_is_told_to(world, alice, bob, rsa_alice, rsa_bob, tmp_path):
    sealed = world.run("seal", "--to", bob, me=alice, input=b"HELLO").out
    for _ in range(2):  # the variable alone is no wish
        seen = world.run("open", me=bob, input=sealed, DANEMSG_STATE=tmp_path / "state")
        assert seen.out == b"HELLO" and "replay not checked" in seen.err, seen
    assert not (tmp_path / "state").exists()
    first, second = (world.run("open", "--state", tmp_path, me=bob, input=sealed) for _ in "12")
    assert first.out == b"HELLO" and "replay not checked" not in first.err, first
    assert (second.status, second.out) == (9, b"") and "open: replay:" in second.err, second
    for poc, status in (["--poc"], 0), ([], 0), (["--poc"], 9):
        sealed = world.run("seal", "--to", rsa_bob, *poc, me=rsa_alice, input=b"HELLO").out
        opened = world.run("open", "--state", tmp_path, "--accept-poc", rsa_alice, me=rsa_bob,
                           input=sealed)
        assert opened.status == status and ("unbound" in opened.err) == (status == 9), opened


def test_a_terminal_gets_no_commands(world, alice, bob):
    """open, verify and decrypt: the octets to a pipe, a text without controls to a terminal."""
    payload = "é\n \033[2J\007\u009b\u202e".encode() + b"\xff"
    sealed = world.run("seal", "--to", bob, me=alice, input=payload).out
    signed = world.run("sign", "--to", bob, me=alice, input=payload).out
    bare = world.run("encrypt", "--to", bob, input=payload).out
    for command, data in ("open", sealed), ("verify", signed), ("decrypt", bare):
        assert world.run(command, me=bob, input=data).out == payload
        ours, its = os.openpty()
        try:
            ran = subprocess.run([DANEMSG, command], input=data, stdout=its, timeout=60,
                                 stderr=subprocess.PIPE, env=world.environment(IDENTITY_NAME=bob))
            shown = os.read(ours, 4096)
        finally:
            os.close(its)
            os.close(ours)
        assert ran.returncode == 0 and shown.startswith("é\r\n ".encode()), (command, shown)
        assert shown.endswith(b"\\xff") and "2J" in shown.decode(), (command, shown)
        assert not set("\033\007\u009b\u202e") & set(shown.decode()), (command, shown)


def test_open_from_another(world, alice, bob, carol):
    sealed = world.run("seal", "--to", bob, me=alice, input=b"HELLO").out
    refused = world.run("open", "--from", carol, me=bob, input=sealed)
    assert (refused.status, refused.out) == (9, b"") and "--from" in refused.err, refused


# ------------------------------------------------------------- names of the proof of concept


@pytest.fixture
def link(tmp_path):
    def make(name):
        path = tmp_path / name
        path.symlink_to(DANEMSG)
        return path
    return make


def run_link(world, path, *arguments, **variables):
    ran = subprocess.run([path, *arguments], capture_output=True, timeout=PATIENCE, text=True,
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
            assert sender.wait(PATIENCE) == 0
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


URLS = {"mqtt://[::1]x:1883": 1, "mqtt://[::1": 1, "mqtt://127.0.0.1:+{port}": 1,
        "mqtt://127.0.0.1: {port}": 1, "mqtt://127.0.0.1:0{port}": 0, "mqtt://u:p@127.0.0.1:{port}": 0}


@pytest.mark.parametrize("url", URLS)
def test_urls(world, alice, bob, url):
    sent = world.run("send", "-L", url.format(port=world.broker.port), bob, "x", me=alice)
    assert sent.status == URLS[url], sent


def test_flags_go_over_the_environment(world, alice, bob, tmp_path):
    url = f"mqtt://127.0.0.1:{world.broker.port}"
    assert world.run("send", "-L", url, bob, "x", me=alice, MQTT_PORT=1).status == 0
    away = {"MQTT_PORT": 1, "DANEMSG_URL": "mqtt://127.0.0.1:1"}
    assert world.run("send", "-p", world.broker.port, bob, "x", me=alice, **away).status == 0
    assert world.run("send", bob, "x", me=alice, MQTT_PORT=1, DANEMSG_URL=url).status == 0
    both = world.run("send", "-L", url, "-p", "1", bob, "x", me=alice)
    assert both.status == 1 and "-p" in both.err, both
    clean = world.run("receive", "--clean", "--allow", "*", me=bob, DANEMSG_STATE=tmp_path)
    assert clean.status == 1 and "--clean" not in clean.err and "--allow" in clean.err, clean
    empty = world.run("send", bob, "x", me=alice, DANEMSG_HOST="", DANEMSG_PORT="", DANEMSG_RETAIN="")
    assert empty.status == 0, empty
    # of a file that serves receive and publish too, which have a --retain and --wait of their own
    for name, value, status in (("RETAIN", "90d", 0), ("RETAIN", "ninety", 1), ("WAIT", "5m", 0),
                                ("WAIT", "5x", 1), ("QOS", "90d", 1)):
        sent = world.run("send", bob, "x", me=alice, **{f"DANEMSG_{name}": value})
        assert sent.status == status, (name, value, sent)


def test_a_variable_of_two_options(world, alice, bob, tmp_path):
    """DANEMSG_KEY: the broker's client key is no business of `identity`'s, nor a type the broker's."""
    ours = {"DANEMSG_CERT": "/etc/client.crt", "DANEMSG_KEY": "/etc/client.key"}
    made = world.run("identity", "new", "twokeys.good.test", "--crypto-path", tmp_path, **ours)
    assert made.status == 0 and "EC P-256" in made.text, made
    rollover = world.run("identity", "rollover", "status", alice, **ours)
    assert rollover.status == 0, rollover
    typed = world.run("identity", "new", "typed.good.test", "--crypto-path", tmp_path,
                      DANEMSG_KEY="p384")
    assert typed.status == 0 and "EC P-384" in typed.text, typed
    assert world.run("send", bob, "x", me=alice, DANEMSG_KEY="p384").status == 0
    for status, words, variables in (
            (1, ["identity", "new", "flag.good.test", "--key", "/etc/client.key"], {}),
            (1, ["identity", "new", "typo.good.test"], {"DANEMSG_KEY": "p385"}),
            (1, ["send", bob, "x"], {"DANEMSG_KEY": "/etc/client.key"}),
            (1, ["send", bob, "x", "--key", "p384"], {}), (2, ["send", bob, "x"], ours)):
        refused = world.run(*words, me=alice, **variables)
        assert refused.status == status, (words, variables, refused)


def test_a_file_of_patterns(world, bob, tmp_path):
    file = tmp_path / "patterns"
    for text, status, told in ((b"a.test.x b.test.x\n", 1, "'a.test.x b.test.x'"),
                               (b"a.test.x\n\0b.test.x\n", 2, "NUL"), (b"# none\n\n", 2, "nobody")):
        file.write_bytes(text)
        refused = world.run("receive", "--allow-file", file, me=bob)
        assert refused.status == status and told in refused.err, refused


def test_half_a_command(world):
    assert "`danemsg identity --help`" in world.run("identity").err
    assert "`danemsg inbox --help`" in world.run("inbox", "nonsense").err


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


def test_what_still_waits_is_said_at_the_end(world, alice, bob):
    name = "waits.silent.test"
    world.identity(name, publish=False)
    receiver = Receiver(world, bob, ("--clean",), {}, wrapper=("env", "-u", "DANEMSG_STATE"))
    receiver.start()
    world.broker.publish(bob, world.message(name, bob).envelope())
    world.broker.publish(bob, world.message(alice, bob, b"BEHIND IT").envelope())
    receiver.wait_out("says: BEHIND IT\n")
    assert receiver.stop() == 0
    assert "1 message(s) still waited for DNS and are lost" in receiver.err
