"""The receiver's clock is set back, or forward and back, or has not been set at all since boot (a
library that is preloaded, clock.c, decides what it sees). Nothing that was accepted is ever accepted
again, and nothing honest is lost to a clock that was not set yet."""

import os
import struct
import subprocess
import time
from pathlib import Path

import pytest
from servers import wait_for
from test_durable import exported

DAY = 86400
# Messages that are tried again: few enough that each of them has a line in the log.
OLD = 5


class Clock:
    """What a program sees as its clock. resolver: its process for DNS too."""

    def __init__(self, folder, library, resolver):
        self.path = folder / f"clock-{time.monotonic_ns()}"
        self.set(0)
        self.variables = {"LD_PRELOAD": library,
                          "FAKETIME_FILE" if resolver else "CLOCK_FILE": self.path}
        if "ASAN_OPTIONS" in os.environ:
            self.variables["ASAN_OPTIONS"] = os.environ["ASAN_OPTIONS"] + ":verify_asan_link_order=0"

    def set(self, offset, synchronised=True):
        """In place: it is mapped by who runs."""
        with open(self.path, "r+b" if self.path.exists() else "wb") as file:
            file.write(struct.pack("=qq", offset, not synchronised))


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    path = tmp_path_factory.mktemp("clock") / "clock.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-o", path, Path(__file__).with_name("clock.c")],
                   check=True)
    return path


@pytest.fixture(scope="module")
def sender(world):
    return world.identity("clock-alice.good.test")


def signed(world, sender, name, text, since=0, life=5 * DAY):
    """An envelope of a sender whose clock is right, or was so long ago."""
    message = world.message(sender, name, text.encode())
    message.claims["iat"] = int(time.time()) + since
    message.claims["exp"] = message.claims["iat"] + life
    return message.envelope()


def publish(world, name, envelopes):
    world.broker.publish_many(name, envelopes, qos=1)


def lines(receiver):
    return [line.split(" says: ")[1] for line in receiver.lines()]


def compare(world, receiver, texts):
    """Printed and kept once each, in this order."""
    assert lines(receiver) == texts
    assert receiver.stop() == 0, receiver.err
    assert [row["payload"] for row in exported(world, receiver)] == texts


@pytest.mark.parametrize("resolver", [False, pytest.param(True, marks=pytest.mark.slow)],
                         ids=["receiver", "with-its-resolver"])
def test_set_back_a_day(world, sender, library, resolver):
    """In the middle, and over a restart. What was signed since is from the future."""
    name = world.identity(f"clock-back-{int(resolver)}.good.test")
    clock = Clock(world.folder, library, resolver)
    old = [signed(world, sender, name, f"{n}", since=-2 * DAY) for n in range(OLD)]
    new = signed(world, sender, name, "new")
    with world.receiver(name, "--allow", sender, **clock.variables) as receiver:
        publish(world, name, old + [new])
        receiver.wait_out("says: new\n")
        clock.set(-DAY)
        publish(world, name, old + [new])
        receiver.wait_word("replay", OLD)
        receiver.wait_word("time")
        publish(world, name, [signed(world, sender, name, "honest", since=-2 * DAY)])
        receiver.wait_out("says: honest\n")
        if not resolver:  # else DNS is bogus by this clock, and its own record too
            receiver.stop()
            receiver.start()
            publish(world, name, old)
            receiver.wait_word("replay", 2 * OLD)
        clock.set(0)
        receiver.stop()
        receiver.start()
        publish(world, name, old + [new, signed(world, sender, name, "last")])
        receiver.wait_out("says: last\n")
        compare(world, receiver, [*map(str, range(OLD)), "new", "honest", "last"])


def test_forward_and_back(world, sender, library):
    """Two days ahead the ids of what has expired are forgotten; with the clock right again it has not
    expired, and is refused by what is remembered instead."""
    name = world.identity("clock-forward.good.test")
    clock = Clock(world.folder, library, True)
    short = [signed(world, sender, name, f"{n}", life=3600) for n in range(OLD)]
    with world.receiver(name, "--allow", sender, **clock.variables) as receiver:
        publish(world, name, short)
        receiver.wait_out(f"says: {OLD - 1}\n")
        clock.set(2 * DAY)
        publish(world, name, [signed(world, sender, name, "ahead", since=2 * DAY)])
        receiver.wait_out("says: ahead\n")
        for _ in range(2):  # old ids are looked for at every start
            receiver.stop()
            receiver.start()
        publish(world, name, short)
        receiver.wait_word("time", OLD)
        clock.set(0)
        receiver.stop()
        receiver.start()
        publish(world, name, [*short, signed(world, sender, name, "last")])
        receiver.wait_out("says: last\n")
        compare(world, receiver, [*map(str, range(OLD)), "ahead", "last"])
    assert receiver.count("time") == 2 * OLD and receiver.count("replay") == 0, receiver.err


def wait_said(receiver, text):
    wait_for(lambda: text in receiver.err or not receiver.alive(), f"'{text}' in {receiver.err_file}")


UNSET = "the clock of this machine is not set yet"


def not_set(world, sender, library, number, restart):
    name = world.identity(f"clock-unset-{number}.good.test")
    unknown = world.identity(f"clock-unknown-{number}.rsa.test")
    clock = Clock(world.folder, library, True)
    with world.receiver(name, "--allow", sender, "--allow", unknown, **clock.variables) as receiver:
        publish(world, name, [signed(world, sender, name, "before")])
        receiver.wait_out("says: before\n")
        assert UNSET not in receiver.err
        clock.set(-3 * DAY, synchronised=False)
        publish(world, name, [signed(world, sender, name, f"known {n}") for n in range(10)])
        publish(world, name, [signed(world, unknown, name, f"unknown {n}", since=-3 * DAY)
                              for n in range(10)])
        for word in "time", "dns-bogus":
            wait_said(receiver, f"receive: {word}: 10 messages of this sender wait: {UNSET}")
        assert lines(receiver) == ["before"]
        if restart:
            receiver.stop()
        clock.set(0)
        if restart:
            receiver.start()
        receiver.wait_out("says: known 9\n")
        receiver.wait_out("says: unknown 9\n")
        found = lines(receiver)
        for kind in "known", "unknown":
            assert [text for text in found if text.startswith(kind)] == \
                [f"{kind} {n}" for n in range(10)]
        compare(world, receiver, found)
        assert len(found) == 21 and " refused" not in receiver.err


def test_not_set_since_boot(world, sender, library):
    """Three days slow and known to be unsynchronised: what is "from the future", and what DNS has not
    signed "yet", waits, and it is said why."""
    not_set(world, sender, library, 1, True)


@pytest.mark.slow
def test_set_at_last(world, sender, library):
    """The same without a new start: DNS is asked again after a pause."""
    not_set(world, sender, library, 2, False)


def test_believed_and_wrong(world, sender, library):
    """The twin: the kernel calls the clock synchronised, and what is from the future is refused."""
    name = world.identity("clock-wrong.good.test")
    clock = Clock(world.folder, library, True)
    with world.receiver(name, "--allow", sender, **clock.variables) as receiver:
        publish(world, name, [signed(world, sender, name, "before")])
        receiver.wait_out("says: before\n")
        clock.set(-3 * DAY)
        publish(world, name, [signed(world, sender, name, "refused")])
        wait_said(receiver, "receive: time: signed")
        compare(world, receiver, ["before"])
        assert UNSET not in receiver.err


def test_started_before_the_clock_is_set(world, sender, library):
    """DNS is bogus then, one's own name too. It says so, stays up, and loses nothing."""
    name = world.identity("clock-boot.good.test")
    clock = Clock(world.folder, library, True)
    with world.receiver(name, "--allow", sender, **clock.variables) as receiver:
        receiver.stop()  # its session is at the broker
        clock.set(-30 * DAY, synchronised=False)
        publish(world, name, [signed(world, sender, name, f"{n}") for n in range(10)])
        receiver.start(wait=False)
        wait_said(receiver, f"receive: dns-bogus: {UNSET}")
        assert receiver.out == b"" and "DNS needs this of you" not in receiver.err
        clock.set(0)
        receiver.wait_out("says: 9\n")
        compare(world, receiver, [str(n) for n in range(10)])
