"""The outbox: queued on disk, published when the broker is there, once for who reads it.

The whole of the campaign, as the promise has it (eight minutes):

    DANEMSG_KILLS=1000 DANEMSG_MESSAGES=20000 pytest tests/system/test_outbox.py \\
        -k killed_very_often -s
"""

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import threading
import time
import urllib.request

import pytest
from servers import LOOPBACK, NOBODY, PATIENCE, Broker, free_port, wait_for
from signed_zone import SignedZone
from world import DANEMSG


@pytest.fixture(scope="module")
def sender(world):
    return world.identity("outbox-alice.good.test")


class Outbox:
    """A sender's state folder, and the commands on it."""

    def __init__(self, world, sender, broker=None, **changes):
        self.world, self.sender, self.daemon = world, sender, None
        self.state = world.new_state()
        self.broker = broker or world.broker
        self.changes = {"DANEMSG_STATE": self.state, "MQTT_PORT": self.broker.port, **changes}
        self.database = self.state / f"{sender}.db"
        self.err_file = self.state / "daemon.err"

    def run(self, *arguments, **changes):
        return self.world.run(*arguments, me=self.sender, **{**self.changes, **changes})

    def queue(self, *arguments, **changes):
        queued = self.run("send", "--queue", *arguments, **changes)
        assert queued.status == 0, queued
        return queued

    def rows(self):
        listed = self.run("outbox", "list", "--json")
        assert listed.status == 0, listed
        return [json.loads(line) for line in listed.text.splitlines()]

    def start(self, *options, wait=True):
        with open(self.err_file, "ab") as err:
            self.daemon = subprocess.Popen(
                [DANEMSG, "send", "--daemon", *options], stderr=err, stdin=subprocess.DEVNULL,
                env=self.world.environment(IDENTITY_NAME=self.sender, **self.changes))
        if wait:
            wait_for(lambda: "connected to the broker" in self.err, "the daemon to connect")

    @property
    def err(self):
        return self.err_file.read_text(errors="replace")

    def stop(self, with_signal=signal.SIGTERM):
        process, self.daemon = self.daemon, None
        process.send_signal(with_signal)
        return process.wait(PATIENCE)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.daemon is not None:
            self.daemon.kill()
            self.daemon.wait()


@pytest.fixture
def box(world, sender):
    with Outbox(world, sender) as outbox:
        yield outbox


@pytest.fixture
def own_broker(world, tmp_path):
    with Broker(tmp_path / "broker") as broker:
        yield broker


def says(sender, texts):
    return "".join(f"{sender} says: {text}\n" for text in texts)


@pytest.fixture
def bogus(world, tmp_path):
    """Variables with which DNS gives no answer that can be believed."""
    anchors = tmp_path / "anchors"
    anchors.write_text(SignedZone("good.test", []).anchor)
    return {"DANEMSG_TRUST_ANCHOR": anchors}


def dns_away(world):
    return " ".join(f"good.test={LOOPBACK}@{NOBODY}" if stub.startswith("good.test=") else stub
                    for stub in world.variables["DANEMSG_DNS_STUB"].split())


def test_queued_while_the_broker_is_down(world, sender, own_broker):
    name = world.identity("outbox-bob.good.test")
    with Outbox(world, sender, own_broker) as box, \
            world.receiver(name, MQTT_PORT=own_broker.port, wait_broker=own_broker) as receiver:
        receiver.stop()
        own_broker.stop()
        box.queue(name, "ONE")
        line = json.loads(box.queue("--json", "--to", name, "-l", input=b"TWO\nTHREE\n").text
                          .splitlines()[1])
        assert line["recipient"] == name and line["sealed"] and len(line["id"]) == 22, line
        rows = box.rows()
        assert [row["state"] for row in rows] == ["sealed"] * 3 and rows[2]["id"] == line["id"]
        assert rows[2]["row"] == line["row"] and rows[0]["attempts"] == 0
        away = box.run("outbox", "flush", "-W", "1")
        assert away.status == 10 and "3 message(s) are left in the outbox; " in away.err, away
        own_broker.start()
        done = box.run("outbox", "flush")
        assert (done.status, box.rows()) == (0, []), done
        assert box.run("outbox", "flush").status == 0
        receiver.start()
        receiver.wait_out("THREE\n")
        assert receiver.out.decode() == says(sender, ["ONE", "TWO", "THREE"])


def test_the_daemon_publishes_at_once_and_over_restarts(world, sender, own_broker):
    name = world.identity("outbox-carol.good.test")
    texts = [str(number) for number in range(30)]
    with Outbox(world, sender, own_broker) as box, \
            world.receiver(name, MQTT_PORT=own_broker.port, wait_broker=own_broker) as receiver:
        box.start("--log-json")
        box.queue(name, texts[0])
        receiver.wait_out(f"says: {texts[0]}\n")
        own_broker.stop(signal.SIGTERM)
        box.queue("--to", name, "-l", input="".join(f"{text}\n" for text in texts[1:20]).encode())
        own_broker.start()
        box.queue("--to", name, "-l", input="".join(f"{text}\n" for text in texts[20:]).encode())
        receiver.wait_out(f"says: {texts[-1]}\n")
        wait_for(lambda: box.rows() == [], "an empty outbox")
        assert receiver.out.decode() == says(sender, texts)
        assert box.stop() == 0
        events = [json.loads(line) for line in box.err.splitlines()]
        assert any(event.get("outcome") == "broker" for event in events), events


def test_systemd_hears_of_the_daemon(world, sender, tmp_path):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE)
        with Outbox(world, sender, NOTIFY_SOCKET=tmp_path / "notify", WATCHDOG_USEC=200000) as box:
            box.start(wait=False)
            heard = b""
            for word in b"READY=1", b"STATUS=connected to the broker", b"WATCHDOG=1":
                while word not in heard:
                    heard += manager.recv(4096) + b"\n"
            assert box.stop() == 0
            while b"STOPPING=1" not in heard:
                heard += manager.recv(4096) + b"\n"


def test_the_daemon_tells_of_itself(world, sender):
    """`danemsg status` and --metrics: what it does, and what waits for it when it does not run."""
    bob = world.identity("outbox-told.good.test")
    port = free_port()

    def figures():
        text = urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=PATIENCE).read().decode()
        return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))

    with Outbox(world, sender) as box:
        box.queue(bob, "ONE")
        text = box.run("status").text
        assert "publisher  not running" in text and "outbox     1 to send" in text, text
        assert json.loads(box.run("status", "--json").text)["publisher"] is None
        box.start("--metrics", f"{LOOPBACK}:{port}")
        wait_for(lambda: figures()["danemsg_published_total"] == "1", "the message to leave")
        seen = figures()
        assert seen["danemsg_connected"] == "1" and seen["danemsg_outbox_messages"] == "0"
        assert seen["danemsg_expired_total"] == seen["danemsg_broker_refused_total"] == "0"
        told = json.loads(box.run("status", "--json").text)
        assert told["publisher"]["connected"] is True and told["receiver"] is None
        assert told["publisher"]["pid"] == box.daemon.pid
        assert told["publisher"]["broker"] == "connected to the broker"
        assert told["publisher"].keys() >= {"published", "expired", "refused_by_broker", "dns",
                                            "written_at"}
        text = box.run("status").text
        assert f"publisher  running, process {box.daemon.pid}, since 20" in text, text
        assert "refused by the broker\n" in text and "outbox     0 to send" in text, text
        assert box.stop() == 0
        text = box.run("status").text
        assert "publisher" not in text and not list(box.state.glob("*outbox-status*")), text
        # a killed one leaves its file behind, which counts for nothing
        box.start("--metrics", f"{LOOPBACK}:{port}")
        wait_for(lambda: "publisher  running" in box.run("status").text, "its status")
        # and goes on counting where it was
        assert figures()["danemsg_published_total"] == "1"
        box.stop(signal.SIGKILL)
        text = box.run("status").text
        assert "publisher" not in text and "1 published altogether" in text, text
        assert json.loads(box.run("status", "--json").text)["outbox"]["published"] == 1


def test_one_publisher_at_a_time(box):
    box.queue(box.sender, "TO MYSELF")
    box.start()
    second = box.run("outbox", "flush")
    assert second.status == 2 and "another publisher of the outbox" in second.err, second
    assert box.stop() == 0
    assert box.run("outbox", "flush").status == 0


def campaign(world, sender, name, kills, count, pace, changes, seed=2):
    """0 lost, and 0 twice for who reads: what was published twice bears the same id. changes: of
    the variables of who queues; with no DNS for it the publisher does the sealing."""
    generator = random.Random(seed)
    with Outbox(world, sender) as box, world.receiver(name, "-F", "%{id} %p\\n", "-N") as receiver:
        feed = subprocess.Popen(
            [DANEMSG, "send", "--queue", "--to", name, "-l"], stdin=subprocess.PIPE,
            env=world.environment(IDENTITY_NAME=sender, **{**box.changes, **changes}))

        def flow():
            """The last of it not before half of the kills, however slow these are."""
            for number in range(count):
                while killed < (number + 1) * kills // (2 * count):
                    time.sleep(0.01)
                feed.stdin.write(b"%d\n" % number)
                feed.stdin.flush()
                time.sleep(pace)
            feed.stdin.close()
        killed = 0
        flowing = threading.Thread(target=flow)
        flowing.start()
        while killed < kills and (flowing.is_alive() or receiver.out.count(b"\n") < count):
            box.start(wait=False)
            time.sleep(generator.choice([0.05, 0.1, 0.3]) * generator.random() + 0.03)
            box.stop(signal.SIGKILL)
            killed += 1
        flowing.join()
        assert feed.wait(PATIENCE) == 0
        box.start(wait=False)
        wait_for(lambda: box.rows() == [], "an empty outbox")
        wait_for(lambda: receiver.out.count(b"\n") >= count or not receiver.alive(),
                 f"{count} messages in {receiver.out_file}")
        box.stop()
        repeated = receiver.count("replay")
        receiver.stop()
        lines = [line.split() for line in receiver.out.decode().splitlines()]
    assert [int(text) for _, text in lines] == list(range(count))
    assert len({identifier for identifier, _ in lines}) == count
    print(f"\n{killed} kills, {count} messages: 0 lost, 0 twice for the receiver, "
          f"{repeated} published twice")
    return killed


@pytest.mark.parametrize("sealed", ["sealed", "unsealed"])
def test_killed_at_any_moment(world, sender, bogus, sealed):
    name = world.identity(f"outbox-erin-{sealed}.good.test")
    changes = {} if sealed == "sealed" else bogus
    assert campaign(world, sender, name, 12, 300, 0.005, changes) >= 6


def test_several_make_the_database_at_the_same_moment(world, sender):
    name = world.identity("outbox-first.good.test")
    for _ in range(15):
        state = world.new_state()
        first = [subprocess.Popen([DANEMSG, "send", "--queue", name, "HELLO"],
                                  env=world.environment(IDENTITY_NAME=sender, DANEMSG_STATE=state),
                                  stderr=subprocess.PIPE) for _ in range(4)]
        said = [process.communicate(timeout=PATIENCE)[1] for process in first]
        assert [process.returncode for process in first] == [0] * 4, said


@pytest.mark.slow
@pytest.mark.parametrize("sealed", ["sealed", "unsealed"])
def test_killed_very_often(world, sender, bogus, sealed):
    kills = int(os.environ.get("DANEMSG_KILLS", 200))
    count = int(os.environ.get("DANEMSG_MESSAGES", 4000))
    name = world.identity(f"outbox-frank-{sealed}.good.test")
    changes = {} if sealed == "sealed" else bogus
    assert campaign(world, sender, name, kills, count, 0.15 * kills / count, changes) >= kills // 2


def test_without_dns_it_is_kept_as_it_is(world, sender, box, bogus):
    name = world.identity("outbox-gina.good.test")
    with world.receiver(name) as receiver:
        queued = box.queue(name, "PLAIN AND SIMPLE", DANEMSG_DNS_STUB=dns_away(world))
        assert f"is kept unencrypted in {box.database} until DNS answers" in queued.err, queued
        box.queue(name, "SECOND")
        files = [path for path in box.state.iterdir() if path.name.startswith(f"{sender}.db")]
        assert {path.stat().st_mode & 0o777 for path in files} == {0o600}
        assert any(b"PLAIN AND SIMPLE" in path.read_bytes() for path in files)
        first, second = box.rows()
        assert (first["state"], second["state"]) == ("unsealed", "sealed") and "id" not in first
        still = box.run("outbox", "flush", **bogus)
        assert still.status == 5 and "2 message(s) are left" in still.err, still
        (first, second) = box.rows()
        assert first["attempts"] == 1 and first["reason"].startswith("dns-bogus: "), first
        assert box.run("outbox", "flush").status == 0
        receiver.wait_out("SECOND\n")
        assert receiver.out.decode() == says(sender, ["PLAIN AND SIMPLE", "SECOND"])
        with sqlite3.connect(box.database) as database:
            assert database.execute("SELECT count(*) FROM issued").fetchone() == (1,)
        database.close()


def test_what_cannot_be_sealed_is_put_aside(world, sender, box, bogus):
    name = world.identity("outbox-hanna.good.test")
    with world.receiver(name) as receiver:
        box.queue("--max-message-size", "300", name, "TOO LONG", **bogus)
        box.queue(name, "GOES ON")
        stuck = box.run("outbox", "flush")
        assert stuck.status == 13 and "1 message(s) are left" in stuck.err, stuck
        (row,) = box.rows()
        assert row["state"] == "unsealable" and row["reason"].startswith("size: "), row
        receiver.wait_out("GOES ON\n")
        status = json.loads(box.run("status", "--json").text)
        assert status["outbox"] == {"messages": 1, "unsealed": 0, "unsealable": 1, "failed": 1,
                                    "octets": 8, "expired": 0, "published": 1,
                                    "sealed": 0, "refused_by_broker": 0}, status
        for arguments in [], ["--all", "--expired"], ["--all", str(row["row"])]:
            wrong = box.run("outbox", "purge", *arguments)
            assert wrong.status == 1 and "one of them" in wrong.err, wrong
        assert box.run("outbox", "purge", "1x").status == 1
        assert box.run("outbox", "purge", "--expired").text.startswith("0 message(s) would be")
        assert box.run("outbox", "purge", row["row"]).text.startswith("1 message(s) would be")
        assert len(box.rows()) == 1
        assert box.run("outbox", "purge", row["row"], "--force").text.startswith("1 message(s) taken")
        assert box.rows() == []


def test_expired_ones_are_dropped_with_a_line(world, sender, box, bogus):
    name = world.identity("outbox-ivan.good.test")
    box.queue("--expires", "1s", name, "SHORT")
    box.queue("--expires", "1s", name, "SHORT", **bogus)
    wait_for(lambda: all(row["expires_at"] <= time.time() for row in box.rows()), "a second")
    flushed = box.run("outbox", "flush")
    assert flushed.status == 9 and flushed.err.count("has expired before it could be sent") == 3, flushed
    assert box.rows() == []
    status = box.run("status")
    assert "2 expired unsent" in status.text, status


@pytest.mark.parametrize("recipient, status", [
    ("outbox-nobody.good.test", 3), ("bob.plain.test", 5), ("not a name", 1)])
def test_a_wrong_recipient_is_refused_at_once(box, recipient, status):
    refused = box.run("send", "--queue", recipient, "HELLO")
    assert refused.status == status, refused
    assert box.rows() == []


@pytest.mark.parametrize("arguments, word", [
    (["--queue", "-q", "0", "bob.good.test", "X"], "-q 0"),
    (["--daemon", "bob.good.test", "X"], "no recipient"),
    (["--daemon", "--queue"], "no recipient"), (["--queue", "bob.good.test"], "RECIPIENT"),
    (["--metrics", f"{LOOPBACK}:1", "bob.good.test", "X"], "goes with --daemon")])
def test_what_makes_no_sense(box, arguments, word):
    wrong = box.run("send", *arguments)
    assert wrong.status == 1 and word in wrong.err, wrong
    assert not box.database.exists()


def test_without_an_outbox(box):
    for command in ["list"], ["flush"], ["purge", "--all", "--force"]:
        none = box.run("outbox", *command)
        assert none.status == 2 and "No such file" in none.err, none
    assert not box.database.exists()


def test_what_the_broker_refuses_stays(world, sender, tmp_path):
    """And holds up nothing else."""
    name = world.identity("outbox-judy.good.test")
    acl = tmp_path / "acl"
    acl.write_text(f"topic readwrite {name}\n")
    os.chmod(acl, 0o600)
    with Broker(tmp_path / "broker", f"acl_file {acl}") as broker, \
            Outbox(world, sender, broker) as box, \
            world.receiver(name, MQTT_PORT=broker.port, wait_broker=broker) as receiver:
        box.queue("-t", "forbidden", name, "NO")
        box.queue(name, "YES")
        refused = box.run("outbox", "flush")
        assert refused.status == 10 and "1 message(s) are left" in refused.err, refused
        receiver.wait_out("YES\n")
        (row,) = box.rows()
        assert row["attempts"] == 1 and row["reason"].startswith("broker: "), row
        assert row["due_at"] > row["queued_at"], row
        assert row["topic"] == "forbidden"
        assert box.run("outbox", "flush").status == 10
        assert box.rows()[0]["attempts"] == 2


@pytest.mark.slow
def test_one_that_ends_the_connection_holds_nobody_up(world, sender, tmp_path):
    """MQTT 3.1.1 has no word for a packet that is too large: the broker ends the connection, each
    time. What is behind leaves all the same, and it stays; several such have one try each."""
    bob = world.identity("outbox-behind.good.test")
    with Broker(tmp_path, "max_packet_size 4000\n") as broker, \
            Outbox(world, sender, MQTT_PORT=broker.port) as box:
        for text in "BEFORE", *["X" * 6000] * 3, "BEHIND":
            box.queue(bob, text)
        flushed = box.run("outbox", "flush", "-V", "311")
        assert flushed.status == 10, flushed
        assert "3 message(s) are left" in flushed.err, flushed
        assert "the connection ends each time it is published" in flushed.err, flushed
        left = [json.loads(line) for line in box.run("outbox", "list", "--json").text.splitlines()]
        assert [one["attempts"] for one in left] == [1, 1, 1], left
        assert all(one["size"] > 6000 for one in left), left
        assert json.loads(box.run("status", "--json").text)["outbox"]["published"] == 2


def test_a_full_outbox(world, sender, box):
    name = world.identity("outbox-karl.good.test")
    box.queue(name, "ONE")
    with sqlite3.connect(box.database) as database:
        database.execute("UPDATE budget SET messages = 99999 WHERE whose = 'O'")
    database.close()
    full = box.run("send", "--queue", "--to", name, "-l", input=b"TWO\nTHREE\nFOUR\n")
    assert full.status == 9 and "line 2 and those after it are not queued: the outbox is full" \
        in full.err, full
    assert len(box.rows()) == 2


@pytest.mark.slow
def test_a_locked_database(world, sender, box):
    name = world.identity("outbox-lisa.good.test")
    box.queue(name, "ONE")
    database = sqlite3.connect(box.database)
    database.isolation_level = None
    database.execute("BEGIN IMMEDIATE")
    locked = box.run("send", "--queue", name, "TWO")
    assert locked.status == 2 and "has locked" in locked.err, locked
    box.start()
    wait_for(lambda: "has locked" in box.err, "the daemon to say it")
    database.execute("ROLLBACK")
    database.close()
    wait_for(lambda: box.rows() == [], "an empty outbox")
    assert box.stop() == 0
