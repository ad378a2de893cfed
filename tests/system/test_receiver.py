"""The running receiver: the program's promise to stay up, keep quiet and lose nothing."""

import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time
import unicodedata
from pathlib import Path

import craft
import hostile
import pytest
from servers import LOOPBACK, PATIENCE, Broker, wait_for
from world import DANEMSG, Receiver

SANITIZED = "ASAN_OPTIONS" in os.environ


def test_send_and_receive(world, alice, bob):
    with world.receiver(bob) as receiver:
        sent = world.run("send", bob, "HELLO THERE", me=alice)
        assert (sent.status, sent.out) == (0, b""), sent
        receiver.wait_out("alice.good.test says: HELLO THERE\n")
        assert receiver.stop() == 0, receiver.err


def test_receive_counts_and_stops(world, alice, bob):
    with world.receiver(bob, "-C", "2") as receiver:
        for text in "ONE", "TWO":
            assert world.run("send", bob, text, me=alice).status == 0
        assert receiver.process.wait(PATIENCE) == 0
        assert receiver.out == b"alice.good.test says: ONE\nalice.good.test says: TWO\n"
        receiver.process = None


def test_receive_gives_up_after_w_seconds(world, bob):
    def gives_up():
        ended = world.run("receive", "-W", "1", me=bob, DANEMSG_STATE=world.new_state())
        assert ended.status == 12 and "1 seconds are over" in ended.err, ended
        return ": subscribed\n" in ended.err
    wait_for(gives_up, "one that a second was long enough to subscribe")


def test_what_came_while_away_is_delivered(world, alice, bob):
    """The broker keeps the session, and the receiver finds it again."""
    with world.receiver(bob) as receiver:
        receiver.stop()
        assert world.run("send", bob, "WHILE AWAY", me=alice).status == 0
        receiver.start(wait=False)
        receiver.wait_out("alice.good.test says: WHILE AWAY\n")


def test_a_killed_receiver_loses_nothing(world, alice, bob):
    with world.receiver(bob) as receiver:
        receiver.stop(signal.SIGKILL)
        for number in range(20):
            world.broker.publish(bob, world.message(alice, bob, b"%d" % number).envelope())
        receiver.start(wait=False)
        for number in range(20):
            receiver.wait_out(f"alice.good.test says: {number}\n")


def readable_octets(stream):
    return int.from_bytes(fcntl.ioctl(stream, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_it_ends_although_nobody_reads_its_output(world, alice):
    """A reader that stalls must not keep it from ending; what was not written comes again."""
    bob = world.identity("unread.good.test")
    state = world.new_state()
    with world.receiver(bob, DANEMSG_STATE=state):
        pass  # there is a session, which takes what comes
    for number in range(4):
        text = b"%d" % number + bytes(b"x" * 33000)
        assert world.run("send", "-s", "--to", bob, me=alice, input=text).status == 0
    with subprocess.Popen(
            [DANEMSG, "receive", "-N", "-F", "%p"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL,
            env=world.environment(IDENTITY_NAME=bob, DANEMSG_STATE=state)) as process:
        try:
            # A pipe holds 64 KiB, and less than two of them.
            wait_for(lambda: readable_octets(process.stdout) > 50000, "a full pipe")
            process.terminate()
            assert process.wait(PATIENCE) == 2
            assert b"nobody read its output" in process.stderr.read()
        finally:
            process.kill()
    with world.receiver(bob, "-N", "-F", "%p", DANEMSG_STATE=state) as receiver:
        wait_for(lambda: receiver.out[-33001:-33000] == b"3", "the last message")
        assert len(receiver.out) >= 3 * 33001


@pytest.mark.slow
def test_it_ends_although_nobody_reads_its_terminal(world, alice):
    """The same of a terminal, which says that it can be written to, and then need not take all."""
    bob = world.identity("stalled.good.test")
    state = world.new_state()
    with world.receiver(bob, DANEMSG_STATE=state):
        pass
    # More than the kernel keeps of a terminal (8 KiB, and 4 KiB of its line discipline).
    world.broker.publish(bob, world.message(alice, bob, bytes(b"x" * 33000)).envelope())
    ours, its = os.openpty()
    with subprocess.Popen([DANEMSG, "receive"], stdout=its, stderr=subprocess.DEVNULL,
                          stdin=subprocess.DEVNULL,
                          env=world.environment(IDENTITY_NAME=bob, DANEMSG_STATE=state)) as process:
        try:
            wait_for(lambda: readable_octets(ours) > 2000, "a full terminal")
            process.terminate()
            assert process.wait(PATIENCE) == 2
        finally:
            process.kill()
            os.close(ours)
            os.close(its)


def test_one_receiver_per_identity_and_state(world, bob):
    with world.receiver(bob) as receiver:
        second = world.run("receive", "-W", "5", me=bob, DANEMSG_STATE=receiver.changes[
            "DANEMSG_STATE"])
        assert second.status == 2, second
        receiver.alive()


def test_a_broker_that_restarts(world, alice, bob, tmp_path):
    with Broker(tmp_path / "broker") as broker:
        with world.receiver(bob, "-p", broker.port, wait_broker=broker) as receiver:
            assert world.run("send", "-p", broker.port, bob, "BEFORE", me=alice).status == 0
            receiver.wait_out("says: BEFORE\n")
            count = broker.subscriptions(bob)
            connections = broker.text().count("New client connected")
            broker.stop()
            time.sleep(0.5)
            broker.start()
            wait_for(lambda: broker.subscriptions(bob) > count or
                     broker.text().count("New client connected") > connections, "a reconnect")
            assert world.run("send", "-p", broker.port, bob, "AFTER", me=alice).status == 0
            receiver.wait_out("says: AFTER\n")


def test_send_without_a_broker(world, alice, bob):
    with socket.socket() as closed:
        closed.bind((LOOPBACK, 0))
        sent = world.run("send", "-p", closed.getsockname()[1], bob, "X", me=alice)
    assert sent.status == 10 and " broker:" in sent.err, sent


def test_a_retained_message_comes_once(world, alice, bob):
    name = world.identity("retained.good.test")
    world.broker.publish(name, world.message(alice, name, b"RETAINED").envelope(), retain=True)
    try:
        with world.receiver(name) as receiver:
            receiver.wait_out("says: RETAINED\n")
            world.broker.publish(name, world.message(alice, name, b"LATER").envelope())
            receiver.wait_out("says: LATER\n")
            assert receiver.out.count(b"RETAINED") == 1
    finally:
        world.broker.publish_many(name, [b""], retain=True)


@pytest.mark.parametrize("options", [("--allow", "*.good.test"), ()], ids=["listed", "known"])
def test_a_burst_arrives_whole(world, alice, bob, options):
    """Two thousand at once, as the proof of concept cannot: from a name that is listed, or that
    has written before."""
    count = 2000
    envelopes = [world.message(alice, bob, b"BURST %d" % n).envelope() for n in range(count)]
    with world.receiver(bob, *options) as receiver:
        if not options:
            world.broker.publish(bob, world.message(alice, bob, b"HELLO").envelope())
            receiver.wait_out("says: HELLO\n")
        world.broker.publish_many(bob, envelopes, qos=1)
        wait_for(lambda: receiver.out.count(b"says: BURST ") >= count or not receiver.alive(),
                 "the burst")
        lines = [line for line in receiver.out.splitlines() if b"BURST" in line]
        assert set(lines) == {b"alice.good.test says: BURST %d" % n for n in range(count)}
        assert len(lines) == count


def test_it_waits_for_an_identity_and_for_its_record(world, alice):
    """Started too early, it stays up, says what is missing, and goes on when it is there."""
    name = "early.good.test"
    with Receiver(world, name, (), {}).start(wait=False) as receiver:
        wait_for(lambda: "identity new" in receiver.err or not receiver.alive(), "its advice")
        world.identity(name, publish=False)
        record = world.tlsa(name)[0].upper()
        wait_for(lambda: record in receiver.err.upper() or not receiver.alive(), "its record")
        # Whoever sees the record first may write at once: the broker keeps it.
        wait_for(lambda: world.broker.subscriptions(name) or not receiver.alive(), "its session")
        world.broker.publish(name, world.message(alice, name, b"AT ONCE").envelope())
        assert "Reading " not in receiver.err and receiver.out == b""
        world.knot.publish(name, record)
        receiver.wait_out("alice.good.test says: AT ONCE\n")
        assert "Reading " in receiver.err
        world.broker.publish(name, world.message(alice, name, b"AT LAST").envelope())
        receiver.wait_out("alice.good.test says: AT LAST\n")


def test_clean_makes_no_session_before_it_begins(world):
    name = world.identity("cleanly.good.test", publish=False)
    receiver = Receiver(world, name, ("--clean",), {}, wrapper=("env", "-u", "DANEMSG_STATE"))
    with receiver.start(wait=False):
        wait_for(lambda: "no-identity: " in receiver.err or not receiver.alive(), receiver.err_file)
        assert world.broker.subscriptions(name) == 0


@pytest.mark.slow
def test_it_says_that_nothing_is_kept_while_the_broker_is_away(world, alice, tmp_path):
    """It has no record, the broker is away: the session is made as soon as there is a broker."""
    name = world.identity("nobroker.good.test", publish=False)
    with Broker(tmp_path / "broker") as broker:
        broker.stop()
        receiver = Receiver(world, name, (), {"MQTT_PORT": str(broker.port)})
        with receiver.start(wait=False):
            wait_for(lambda: "what is sent now is lost" in receiver.err, receiver.err)
            broker.start()
            wait_for(lambda: broker.subscriptions(name), "its session")
            broker.publish(name, world.message(alice, name, b"KEPT").envelope())
            world.knot.publish(name, *world.tlsa(name))
            receiver.wait_out("alice.good.test says: KEPT\n")


def test_a_session_that_cannot_be_ends_it_at_once(world, tmp_path):
    """What no waiting mends is said now, and not after the record is published."""
    name = world.identity("neverso.good.test", publish=False)
    certificate = tmp_path / "absent.pem"
    refused = world.run("receive", "-W", "60", "--cafile", certificate, "-p", "8883", me=name)
    assert refused.status == 2 and "absent.pem" in refused.err, refused


def test_keys_that_are_mended_before_it_begins_count(world, alice):
    """DNS has the record of a key that is put in place while the receiver waits."""
    name = world.identity("mended.good.test")
    good = {suffix: (world.crypto / f"{name}.{suffix}").read_bytes()
            for suffix in ("key.pem", "crt.pem")}
    assert world.run("identity", "new", name, "--force").status == 0
    with Receiver(world, name, (), {}).start(wait=False) as receiver:
        wait_for(lambda: "DNS needs this of you" in receiver.err, receiver.err_file)
        for suffix, data in good.items():
            (world.crypto / f"{name}.{suffix}").write_bytes(data)
        wait_for(lambda: "Reading " in receiver.err or not receiver.alive(), receiver.err_file)
        world.broker.publish(name, world.message(alice, name, b"IN STEP").envelope())
        receiver.wait_out("alice.good.test says: IN STEP\n")


def test_formats(world, alice, bob):
    raw = b"raw \x1b \xff \0 bytes"
    expected = {
        ("-N", "-F", "%p"): raw,
        ("-F", "%{sender}|%{format}|%{cty}|%t|%l"): b"alice.good.test|v1|"
            b"text/plain;charset=utf-8|bob.good.test|%d\n" % len(raw),
        ("-F", "%x"): raw.hex().encode() + b"\n",
    }
    for options, line in expected.items():
        with world.receiver(bob, "-C", "1", *options) as receiver:
            world.broker.publish(bob, world.message(alice, bob, raw).envelope())
            assert receiver.process.wait(PATIENCE) == 0
            receiver.process = None
            assert receiver.out == line


# ----------------------------------------------------------------------- the reader's terminal

MISCHIEF = [
    b"\x1b[2J\x1b[1;1Hgone", b"\x1b]0;title\x07", "C1 \u009b2J \u0090q\u009c".encode(),
    "bidi \u202egnp.exe\u202c \u2066x\u2069 \u200f".encode(), b"bell \x07 back\x08\x08 \x7f",
    b"return\rgone", b"bad \xff\xfe \xc3( \xed\xa0\x80 \xf4\x90\x80\x80 \xc0\xaf", b"nul \0 nul",
    b"vertical \x0b form \x0c tab \t", "line \u2028 paragraph \u2029".encode(),
    "umlaut ÄÖÜ and 漢字 stay".encode()]


def unsafe(data):
    """Characters that could move a cursor back or reorder a line; newline and tab may stand."""
    text = data.decode()  # must be valid UTF-8
    return [hex(ord(c)) for c in text if c not in "\n\t" and (
        unicodedata.category(c) in ("Cc", "Zl", "Zp", "Cs")
        or unicodedata.bidirectional(c) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI",
                                            "FSI", "PDI") or c in "\u200e\u200f\u061c")]


@pytest.mark.parametrize("options", [(), ("-v",), ("--json",)], ids=["plain", "verbose", "json"])
def test_text_from_a_peer_is_tame_in_a_pipe(world, alice, bob, options):
    with world.receiver(bob, *options) as receiver:
        for text in MISCHIEF:
            world.broker.publish(bob, world.message(alice, bob, text).envelope())
        world.broker.publish(bob, world.message(alice, bob, b"LAST").envelope())
        receiver.wait_out("LAST")
        wait_for(lambda: receiver.out.endswith(b"\n"), "the last line")
        assert unsafe(receiver.out) == [] and unsafe(receiver.err.encode()) == []
        if options == ("--json",):
            lines = [json.loads(line) for line in receiver.out.splitlines()]
            assert len(lines) == len(MISCHIEF) + 1
        else:
            assert "ÄÖÜ and 漢字 stay" in receiver.out.decode()


def test_text_from_a_peer_is_tame_on_a_terminal(world, alice, bob):
    try:
        parent, child = pty.openpty()
    except OSError as why:
        pytest.skip(f"no terminal to be had here: {why}")
    receiver = Receiver(world, bob, (), {})
    shown = b""
    try:
        settings = termios.tcgetattr(child)
        settings[1] &= ~termios.OPOST  # no carriage return of the terminal's own
        termios.tcsetattr(child, termios.TCSANOW, settings)
        before = world.broker.subscriptions(bob)
        receiver.process = subprocess.Popen([DANEMSG, "receive"], stdin=child, stdout=child,
                                            stderr=child,
                                            env=world.environment(**receiver.changes, TERM="xterm"))
        wait_for(lambda: world.broker.subscriptions(bob) > before, "the subscription")
        for text in [*MISCHIEF, b"LAST"]:
            world.broker.publish(bob, world.message(alice, bob, text).envelope())
        end = time.monotonic() + 20
        while b"LAST" not in shown and time.monotonic() < end:
            if select.select([parent], [], [], 0.2)[0]:
                shown += os.read(parent, 65536)
    finally:
        receiver.__exit__()
        os.close(child)
        os.close(parent)
    assert b"LAST" in shown and unsafe(shown) == [], shown


def test_a_message_cannot_pretend_to_be_another_line(world, alice, bob):
    """A newline in a text must not start a line that looks like another sender's."""
    text = b"hello\ncarol.good.test says: SEND MONEY"
    with world.receiver(bob) as receiver:
        world.broker.publish(bob, world.message(alice, bob, text).envelope())
        receiver.wait_out("SEND MONEY")
        assert not re.search(rb"^carol", receiver.out, re.MULTILINE), receiver.out


def test_headers_from_a_peer_are_tame_in_the_log(world, alice, bob):
    bad = "\x1b[2J\u202e\u009b"
    with world.receiver(bob, "-d") as receiver:
        for member in "x5u", "alg", "cty", "kid", "aud", "jti", "typ":
            message = world.message(alice, bob)
            message.claims[member] = bad
            message.sign = lambda key, algorithm, data: craft.sign(key, "ES256", data)
            world.broker.publish(bob, message.envelope())
        for member in "x5u", "alg", "enc", "kid", "cty", "typ":
            message = world.message(alice, bob)
            message.jwe_header_text = lambda header, member=member: craft.compact_json(
                {**header, member: bad})
            world.broker.publish(bob, message.envelope())
        world.broker.publish(bob, b"\x1b[2J" + bad.encode())
        world.broker.publish(bob, world.message(alice, bob, b"LAST").envelope())
        receiver.wait_out("says: LAST\n")
        assert unsafe(receiver.out) == [] and unsafe(receiver.err.encode()) == []


# --------------------------------------------------------------------------------- robustness


def campaign(world, receiver, sender, me, count, seed, patience=60):
    """count hostile packets, honest ones in between; all honest ones are answered, by the same
    process, whose memory stays where it was."""
    step = 1000
    made = hostile.packets(count, seed, lambda: world.message(sender, me))
    before = None
    for done in range(0, count, step):
        batch = [packet for packet, _ in zip(made, range(min(step, count - done)))]
        world.broker.publish_many(me, batch, qos=done // step % 2)
        text = f"STILL HERE {done} {seed}"
        world.broker.publish(me, world.message(sender, me, text.encode()).envelope())
        receiver.wait_out(f"{sender} says: {text}\n", timeout=patience)
        if before is None or done < count // 10:
            before = receiver.status_line("VmRSS")
    grown = receiver.status_line("VmRSS") - before
    bound = (64 if SANITIZED else 8) * 1024
    print(f"{count} hostile packets: RSS {before} kB, grown by {grown} kB (bound {bound} kB)")
    assert grown < bound, f"RSS grew by {grown} kB"
    assert unsafe(receiver.out) == [] and unsafe(receiver.err.encode()) == []


def test_hostile_packets(world, alice, bob):
    with world.receiver(bob) as receiver:
        campaign(world, receiver, alice, bob, 3000, seed=1)
        assert receiver.stop() == 0, receiver.err


@pytest.mark.slow
def test_a_hundred_thousand_hostile_packets(world, alice, bob, rsa_bob):
    seed = int(os.environ.get("DANEMSG_SEED", time.time()))
    print(f"DANEMSG_SEED={seed}")
    with world.receiver(bob) as receiver:
        campaign(world, receiver, alice, bob, 90000, seed)
        assert receiver.stop() == 0, receiver.err
    with world.receiver(rsa_bob) as receiver:
        campaign(world, receiver, alice, rsa_bob, 10000, seed)
        assert receiver.stop() == 0, receiver.err


@pytest.mark.slow
@pytest.mark.skipif(SANITIZED, reason="sanitizers and valgrind exclude each other")
def test_hostile_packets_under_valgrind(world, alice, bob):
    valgrind = ("valgrind", "-q", "--error-exitcode=99", "--leak-check=full",
                "--errors-for-leak-kinds=definite", "--trace-children=no")
    # Under valgrind /proc/self/exe is valgrind itself.
    resolver = {"DANEMSG_RESOLVER": DANEMSG.parent.parent / "libexec" / "danemsg-resolver"}
    receiver = Receiver(world, bob, (), resolver, wrapper=valgrind)
    receiver.start()
    try:
        assert "valgrind" in os.readlink(f"/proc/{receiver.process.pid}/exe")
        made = hostile.packets(1000, 2, lambda: world.message(alice, bob))
        world.broker.publish_many(bob, made, qos=1)
        world.broker.publish(bob, world.message(alice, bob, b"STILL HERE").envelope())
        receiver.wait_out("says: STILL HERE\n", timeout=600)
        assert receiver.stop() == 0, receiver.err
        assert "== " not in receiver.err, receiver.err
    finally:
        if receiver.process is not None:
            receiver.stop()


def test_no_core_and_no_tracer(world, bob):
    with world.receiver(bob) as receiver:
        limits = Path(f"/proc/{receiver.process.pid}/limits").read_text()
        core = re.search(r"^Max core file size\s+(\S+)\s+(\S+)", limits, re.MULTILINE)
        assert core.groups() == ("0", "0"), limits
        umask = re.search(r"^Umask:\s+(\d+)", Path(
            f"/proc/{receiver.process.pid}/status").read_text(), re.MULTILINE)
        assert umask[1] == "0077"


@pytest.mark.skipif(SANITIZED, reason="what sanitizers map has no bound")
def test_memory_has_room_for_what_is_kept_there(world, bob):
    def bound(*options):
        wrapper = ("env", "-u", "DANEMSG_STATE") if options else ()
        with Receiver(world, bob, options, {}, wrapper=wrapper) as receiver:
            limits = Path(f"/proc/{receiver.process.pid}/limits").read_text()
            return int(re.search(r"^Max data size\s+(\d+)\s", limits, re.MULTILINE)[1]) >> 20
    assert bound("--clean") - bound() >= 64 + 256 + 64


def test_the_resolver_ends_with_its_parent(world, alice, bob):
    """Killed without warning, the receiver leaves no process behind."""
    def children(pid):
        return [int(line) for task in Path(f"/proc/{pid}/task").iterdir()
                for line in (task / "children").read_text().split()]

    with world.receiver(bob) as receiver:
        world.broker.publish(bob, world.message(alice, bob, b"HELLO").envelope())
        receiver.wait_out("says: HELLO\n")
        found = children(receiver.process.pid)
        assert found, "the resolver is a process of its own"
        receiver.stop(signal.SIGKILL)

        def gone(pid):
            try:
                return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()
            except OSError:
                return True
        wait_for(lambda: all(map(gone, found)), "the resolver to end")
