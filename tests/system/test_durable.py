"""What is stored stays stored: the receiver killed at any moment, a full disk, a locked database.

The whole of the first one, as the promise has it (seven minutes and more):

    DANEMSG_KILLS=1000 DANEMSG_MESSAGES=20000 pytest tests/system/test_durable.py \\
        -k killed_very_often -s
"""

import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter

import craft
import pytest
from servers import LOOPBACK, NOBODY, PATIENCE, Broker, wait_for
from world import DANEMSG


@pytest.fixture(scope="module")
def sender(world):
    return world.identity("durable-alice.good.test")


def forge(world, sender, name, text):
    """Encrypted as it should be, signed by somebody else's key under the sender's name."""
    message = world.message(sender, name, text)
    message.signer = craft.ec.generate_private_key(craft.ec.SECP256R1())
    return message.envelope()


def stream(world, sender, name, count, pace, may_go_on):
    """Publishes numbered messages, every tenth after a forgery and before a copy of itself."""
    def payloads():
        for number in range(count):
            while not may_go_on(number):
                time.sleep(0.01)
            envelope = world.message(sender, name, b"%d" % number).envelope()
            if number % 10 == 0:
                yield forge(world, sender, name, b"forged %d" % number)
                yield envelope
            yield envelope
            time.sleep(pace)
    world.broker.publish_many(name, payloads(), qos=1)


def kill_often(receiver, kills, generator, busy):
    """Kills the receiver after times that reach from its first steps to well into its work; while
    nothing flows any more that has no point. Yields after each; it does not run in the end."""
    for _ in range(kills):
        receiver.stop(signal.SIGKILL)
        yield
        if not busy():
            return
        receiver.start(wait=False)
        time.sleep(generator.choice([0.02, 0.1, 0.3]) * generator.random() + 0.03)
    receiver.stop(signal.SIGKILL)
    yield


def exported(world, receiver):
    got = world.run("inbox", "export", me=receiver.name,
                    DANEMSG_STATE=receiver.changes["DANEMSG_STATE"], timeout=300)
    assert got.status == 0, got
    return [json.loads(line) for line in got.text.splitlines()]


def campaign(world, sender, name, kills, count, pace, seed=1):
    """0 lost, 0 stored twice, 0 unverified; a line is printed twice only where a kill hit it."""
    generator = random.Random(seed)
    with world.receiver(name, "-F", "%{id} %p\\n", "-N") as receiver:
        killed = 0
        # The last of it not before half of the kills, however slow these are.
        flow = threading.Thread(target=stream, args=(
            world, sender, name, count, pace,
            lambda number: killed >= (number + 1) * kills // (2 * count)))
        flow.start()
        lines = lambda: [line.split() for line in receiver.lines()]
        for _ in kill_often(receiver, kills, generator,
                            lambda: flow.is_alive() or len(lines()) < count):
            killed += 1
        flow.join()
        receiver.start(wait=False)
        wait_for(lambda: {line[-1] for line in lines()} >= {str(n) for n in range(count)}
                 or not receiver.alive(), f"{count} messages in {receiver.out_file}")
        receiver.stop()
        printed = Counter(tuple(line) for line in lines())
        rows = exported(world, receiver)
    assert {text for _, text in printed} == {str(number) for number in range(count)}
    assert len(printed) == count, "the same text under two ids"
    repeated = sum(printed.values()) - count
    assert repeated <= killed, f"{repeated} lines too many after {killed} kills"
    assert sorted(int(row["payload"]) for row in rows) == list(range(count))
    assert {(row["id"], row["payload"]) for row in rows} == set(printed)
    assert {row["delivery"] for row in rows} == {"delivered"}
    assert {row["sender"] for row in rows} == {sender}
    print(f"\n{killed} kills, {count} messages: 0 lost, 0 stored twice, 0 unverified, "
          f"{repeated} lines printed twice")
    return killed


def test_killed_at_any_moment(world, sender):
    name = world.identity("durable-bob.good.test")
    assert campaign(world, sender, name, 12, 300, 0.003) >= 6


@pytest.mark.slow
def test_killed_very_often(world, sender):
    kills = int(os.environ.get("DANEMSG_KILLS", 200))
    count = int(os.environ.get("DANEMSG_MESSAGES", 4000))
    name = world.identity("durable-carol.good.test")
    # So slow that the messages last as long as the kills, which take a quarter of a second each.
    pace = 0.2 * kills / count
    assert campaign(world, sender, name, kills, count, pace) >= kills // 2


def test_what_waits_for_dns_survives(world, sender):
    name = world.identity("durable-dave.rsa.test")
    late = world.identity("durable-late.good.test")
    stubs = world.variables["DANEMSG_DNS_STUB"]
    away = " ".join(f"good.test={LOOPBACK}@{NOBODY}" if stub.startswith("good.test=") else stub
                    for stub in stubs.split())
    with world.receiver(name, "--allow", late, DANEMSG_DNS_STUB=away) as receiver:
        for number in range(3):
            world.broker.publish(name, world.message(late, name, b"%d" % number).envelope())
        path = f"{receiver.changes['DANEMSG_STATE']}/{name}.db"

        def waiting():
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
                return database.execute("SELECT count(*) FROM waiting").fetchone()[0]
        wait_for(lambda: waiting() == 3, "three waiting messages")
        receiver.stop(signal.SIGKILL)
        receiver.changes["DANEMSG_DNS_STUB"] = stubs
        assert receiver.out == b"" and waiting() == 3
        receiver.start(wait=False)
        receiver.wait_out(f"{late} says: 2\n")
        assert receiver.out.decode() == "".join(f"{late} says: {n}\n" for n in range(3))
        wait_for(lambda: waiting() == 0, "nobody waiting")


class SmallDisk:
    """A tmpfs of a megabyte or so, as root."""

    def __init__(self, folder):
        self.folder = folder
        if os.geteuid() != 0:
            pytest.skip("only root can mount a small file system")
        self.mount("-t", "tmpfs", "-o", "size=1m,mode=0700", "danemsg-test", folder)

    def mount(self, *arguments):
        done = subprocess.run(["mount", *map(str, arguments)], capture_output=True)
        if done.returncode != 0:
            pytest.skip(f"cannot mount a small file system: {done.stderr.decode().strip()}")

    def remount(self, options):
        subprocess.run(["mount", "-o", f"remount,{options}", self.folder], check=True)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        subprocess.run(["umount", "-l", self.folder], check=True)


def test_a_full_disk(world, sender, tmp_path):
    """Nothing is acknowledged that has no room; with room everything is there, once."""
    name = world.identity("durable-erin.good.test")
    texts = [b"%d %s" % (number, b"x" * 20000) for number in range(60)]
    folder = tmp_path / "small"
    folder.mkdir()
    with SmallDisk(folder) as disk, \
            world.receiver(name, "-F", "%p\\n", "-N", "--store", f"sqlite:{folder}/bob.db") as receiver:
        began = time.monotonic()
        world.broker.publish_many(
            name, [world.message(sender, name, text).envelope() for text in texts], qos=1)
        wait_for(lambda: "the disk is full" in receiver.err or not receiver.alive(),
                 f"a full disk in {receiver.err_file}")
        time.sleep(1)  # it tries again, and must not fill the log meanwhile
        assert len(receiver.err.splitlines()) < 18 + time.monotonic() - began, receiver.err
        assert len(receiver.out.splitlines()) < len(texts)
        disk.remount("size=64m")
        wait_for(lambda: len(receiver.out.splitlines()) >= len(texts) or not receiver.alive(),
                 f"all messages in {receiver.out_file}")
        assert receiver.out.splitlines() == texts
        assert receiver.stop() == 0, receiver.err
        disk.remount("ro")
        refused = world.run("receive", "-W", "9", "--store", f"sqlite:{folder}/bob.db", me=name,
                            DANEMSG_STATE=receiver.changes["DANEMSG_STATE"])
        assert refused.status == 2 and "read-only" in refused.err, refused
        listed = world.run("inbox", "list", "--store", f"sqlite:{folder}/bob.db", me=name)
        assert listed.status in (0, 2), listed
        disk.remount("rw")


@pytest.mark.slow
def test_a_broker_that_restarts_often(world, sender, tmp_path):
    """By SIGTERM, at which mosquitto saves what it has taken. Sender and receiver come back to it."""
    name = world.identity("durable-hank.good.test")
    count = 1000
    with Broker(tmp_path / "broker") as broker, \
            world.receiver(name, "-p", broker.port, "-F", "%p\\n", "-N", wait_broker=broker) as receiver:
        sending = subprocess.Popen(
            [DANEMSG, "send", "-p", str(broker.port), "--to", name, "-l"], stdin=subprocess.PIPE,
            stderr=subprocess.PIPE, env=world.environment(IDENTITY_NAME=sender))
        for number in range(count):
            sending.stdin.write(b"%d\n" % number)
            sending.stdin.flush()
            time.sleep(0.005)
            if number % 200 == 100:
                broker.stop()
                broker.start()
        _, said = sending.communicate(timeout=PATIENCE)
        assert sending.returncode == 0, said
        wait_for(lambda: len(set(receiver.out.split())) == count or not receiver.alive(),
                 f"{count} messages in {receiver.out_file}")
        receiver.stop()
        rows = exported(world, receiver)
    assert sorted(int(row["payload"]) for row in rows) == list(range(count))
    assert sorted(map(int, receiver.out.split())) == list(range(count))


@pytest.mark.slow
def test_a_locked_database(world, sender):
    """Held by somebody for longer than we wait: the batch is held too, and comes again."""
    name = world.identity("durable-frank.good.test")
    with world.receiver(name) as receiver:
        database = sqlite3.connect(f"{receiver.changes['DANEMSG_STATE']}/{name}.db")
        database.isolation_level = None
        database.execute("BEGIN IMMEDIATE")
        for number in range(5):
            assert world.run("send", name, str(number), me=sender).status == 0
        wait_for(lambda: "has locked" in receiver.err or not receiver.alive(),
                 f"a word about the lock in {receiver.err_file}")
        assert receiver.out == b""
        database.execute("ROLLBACK")
        database.close()
        receiver.wait_out("says: 4\n")
        assert receiver.out.decode() == "".join(f"{sender} says: {n}\n" for n in range(5))


def test_a_database_of_somebody_else(world, sender):
    """Refused at the start, with words and the status of local files."""
    name = world.identity("durable-gina.good.test")
    with world.receiver(name) as receiver:
        receiver.stop()
        state = receiver.changes["DANEMSG_STATE"]
        os.rename(state / f"{name}.db", state / f"{sender}.db")
        refused = world.run("receive", "-W", "9", me=sender, DANEMSG_STATE=state)
        assert refused.status == 2 and f"of {name}, not of {sender}" in refused.err, refused
        (state / f"{sender}.db").write_bytes(b"no database" * 1000)
        refused = world.run("receive", "-W", "9", me=sender, DANEMSG_STATE=state)
        assert refused.status == 2 and "damaged or no database" in refused.err, refused
