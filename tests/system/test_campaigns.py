"""Nothing lost, nothing twice, whatever happens around the receiver: a network that cuts, a broker that
is killed, DNS that is away, floods. What was delivered and what is kept is compared with what was sent,
message by message and in order.

Each campaign has a slice among the ordinary tests and a whole among the slow ones. All wholes, twice as
long as they usually are:

    DANEMSG_SIZE=2 /usr/bin/python3 -m pytest tests/system/test_campaigns.py -m slow -s

DANEMSG_SEED chooses other moments.
"""

import itertools
import json
import os
import random
import signal
import subprocess
import threading
import time

import hostile
import pytest
from proxy import Proxy
from servers import LOOPBACK, PATIENCE, Broker, Knot, free_port, wait_for
from test_durable import exported, forge
from test_exec import figures
from world import DANEMSG

SANITIZED = "ASAN_OPTIONS" in os.environ
SIZE = float(os.environ.get("DANEMSG_SIZE", 1))
SEED = int(os.environ.get("DANEMSG_SEED", 1))

# One line of the receiver's output is one message, its sender before it.
LINES = ("-N", "-F", "%{sender} %p\\n")
KEYS = ("p256", "ed25519", "rsa2048", "p384", "p521")

# kB of memory that a receiver may have used at any time, whatever came: libraries, buffers of a batch,
# the database's cache, and what is known of names.
MEMORY_MOST = 32 * 1024
# Lines of the log in a second about one word, and the one that says how many more there were.
LOG_RATE = 11


@pytest.fixture(scope="module")
def people(world):
    """Honest senders, one of each kind of key."""
    return [world.identity(f"campaign-{key}.good.test", key) for key in KEYS]


class Stream:
    """A running `danemsg send -l` that is given numbered lines in its own time."""

    def __init__(self, world, sender, recipient, count, *options, pace=0.0, text="%d", **changes):
        self.sender, self.texts = sender, [text % number for number in range(count)]
        self.process = subprocess.Popen(
            [DANEMSG, "send", "--to", recipient, "-l", *map(str, options)], stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env=world.environment(IDENTITY_NAME=sender, **changes))
        self.feeder = threading.Thread(target=self.feed, args=(pace,), daemon=True)
        self.feeder.start()

    def feed(self, pace):
        try:
            for text in self.texts:
                self.process.stdin.write(f"{text}\n".encode())
                if pace > 0:
                    self.process.stdin.flush()
                    time.sleep(pace)
            self.process.stdin.flush()
        except BrokenPipeError:
            pass

    def end(self, timeout=180):
        """Every line has its PUBACK."""
        self.feeder.join(timeout)
        assert not self.feeder.is_alive(), f"{self.sender} is stuck"
        _, said = self.process.communicate(timeout=timeout)
        assert self.process.returncode == 0, said.decode(errors="replace")
        return said.decode(errors="replace")

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def end_all(streams):
    for stream in streams:
        with stream:
            stream.end()
    return streams


def messages_of(pairs):
    """sender -> its texts, in order, of pairs of both."""
    found = {}
    for sender, text in pairs:
        found.setdefault(sender, []).append(text)
    return found


def printed(receiver):
    return messages_of(line.split(" ", 1) for line in receiver.out.decode().splitlines())


def compare(world, receiver, expected, timeout=PATIENCE):
    """What is printed, and what the inbox has, is what was sent, in order: no more, no less."""
    total = sum(map(len, expected.values()))
    wait_for(lambda: receiver.out.count(b"\n") >= total or not receiver.alive(),
             f"{total} messages in {receiver.out_file}", timeout)
    assert receiver.stop() == 0, receiver.err
    assert printed(receiver) == expected
    rows = exported(world, receiver)
    assert messages_of((row["sender"], row["payload"]) for row in rows) == expected
    assert {row["delivery"] for row in rows} == {"delivered"}


def sent_by(streams):
    return {stream.sender: stream.texts for stream in streams}


# ------------------------------------------------------------------------------- the network


def through_a_bad_network(world, people, name, count, pace, cuts, seed):
    """Sender and receiver each through a proxy of their own. Each lost acknowledgement makes a copy that
    must not be delivered, each cut a message that must not be lost."""
    habits = {"duplicate": 0.1, "delay": 0.03}
    often = {"cut_after": (30, max(60, count // (cuts + 1))), **habits}
    # The receiver acknowledges a batch at once, and there are many packets in one.
    seldom = {"cut_after": (60, 2 * count * len(people) // (cuts + 1)), **habits}
    with Broker(world.folder / name) as broker, \
            Proxy(broker.port, seed, cuts, **seldom) as before_receiver, \
            Proxy(broker.port, seed + 1, 2 * cuts * len(people), **often) as before_senders, \
            world.receiver(name, *LINES, "-p", before_receiver.port, wait_broker=broker) as receiver:
        streams = [Stream(world, sender, name, count, "-p", before_senders.port, pace=pace)
                   for sender in people]
        end_all(streams)
        wait_for(lambda: receiver.count("replay") >= before_senders.arrived or not receiver.alive(),
                 f"{before_senders.arrived} replays in {receiver.err_file}")
        compare(world, receiver, sent_by(streams))
        replays = receiver.count("replay")
    for proxy in before_receiver, before_senders:
        assert proxy.cuts > 0 and proxy.duplicated > 0, vars(proxy)
    assert before_receiver.withheld > 0 and before_senders.withheld > 0
    assert replays >= before_senders.arrived > 0, receiver.err
    print(f"\n{count * len(people)} messages, DANEMSG_SEED={seed}: "
          f"{before_senders.cuts} and {before_receiver.cuts} connections cut, "
          f"{before_senders.duplicated} and {before_receiver.duplicated} packets twice, "
          f"{before_senders.withheld} and {before_receiver.withheld} acknowledgements lost, "
          f"{replays} replays refused; 0 lost, 0 twice, in order")


def test_a_bad_network(world, people):
    name = world.identity("campaign-net.good.test")
    through_a_bad_network(world, people[:1], name, 300, 0.0, 1, SEED)


@pytest.mark.slow
def test_a_bad_network_for_long(world, people):
    """The receiver's pauses before a new connection double, up to a minute: more cuts take longer."""
    for round in range(max(1, int(3 * SIZE))):
        name = world.identity(f"campaign-net-{round}.good.test")
        through_a_bad_network(world, people[:4], name, 2000, 0.002, 4, SEED + 10 * round)


@pytest.mark.slow
def test_single_messages_through_a_bad_network(world, people):
    """`danemsg send` again and again, cut before, in or after its PUBLISH, or without its PUBACK."""
    name, sender = world.identity("campaign-single.good.test"), people[0]
    count = int(60 * SIZE)
    with Proxy(world.broker.port, SEED, count // 2, (1, 2), duplicate=0.2, delay=0.02) as proxy, \
            world.receiver(name, *LINES) as receiver:
        for number in range(count):
            sent = world.run("send", "-p", proxy.port, name, str(number), me=sender)
            assert sent.status == 0, sent
        compare(world, receiver, {sender: [str(number) for number in range(count)]})
    assert proxy.cuts > 0 and proxy.withheld > 0 and receiver.count("replay") > 0, vars(proxy)
    print(f"\n{count} messages, {proxy.cuts} connections cut, {proxy.withheld} acknowledgements lost, "
          f"{receiver.count('replay')} replays refused; 0 lost, 0 twice, in order")


# -------------------------------------------------------------------------------- the broker

# mosquitto writes what it has after each turn of its loop, and acknowledges a little before.
# It takes many messages before it has acknowledged the first.
SAVES = "autosave_on_changes true\nautosave_interval 1\nmax_inflight_messages 1000\n"


def save(broker):
    """All that it has acknowledged so far is on disk."""
    file = broker.folder / "mosquitto.db"

    def version():
        return file.exists() and (file.stat().st_ino, file.stat().st_mtime_ns)
    before = version()
    broker.process.send_signal(signal.SIGUSR1)
    wait_for(lambda: version() not in (False, before), f"another {file}")


def with_a_broker_killed(world, people, name, count, pace, kills, seed):
    """By SIGKILL, in mid-stream; it starts again from what it has saved. What it acknowledges after
    the last time that is certain to be saved is lost with it."""
    generator = random.Random(seed)
    with Broker(world.folder / name, SAVES) as broker, \
            Proxy(broker.port, seed) as proxy, \
            world.receiver(name, *LINES, "-p", broker.port, wait_broker=broker) as receiver:
        streams = [Stream(world, sender, name, count, "-p", proxy.port, pace=pace)
                   for sender in people]
        total = count * len(people)
        for kill in range(kills):
            # Alternately soon after new messages are delivered, and at any time.
            done = receiver.out.count(b"\n")
            wait_for(lambda: receiver.out.count(b"\n") > min(done, total - 1) or
                     not receiver.alive(), f"messages after {kill} kills")
            time.sleep(generator.random() * pace * count / (kills + 1))
            proxy.hold()
            save(broker)
            time.sleep(0.3 * generator.random())
            broker.stop(signal.SIGKILL)
            proxy.disconnect()
            time.sleep(0.3 * generator.random())
            broker.start()
        end_all(streams)
        compare(world, receiver, sent_by(streams))
    print(f"\n{total} messages, DANEMSG_SEED={seed}: the broker killed {kills} times; 0 lost, "
          f"0 twice, in order; {receiver.count('replay')} replays refused")


def test_a_broker_killed(world, people):
    name = world.identity("campaign-broker.good.test")
    with_a_broker_killed(world, people[1:2], name, 100, 0.01, 1, SEED)


@pytest.mark.slow
def test_a_broker_killed_often(world, people):
    for round in range(max(1, int(2 * SIZE))):
        name = world.identity(f"campaign-broker-{round}.good.test")
        with_a_broker_killed(world, people[:3], name, 1000, 0.03, 5, SEED + round)


# ----------------------------------------------------------------------------------------- DNS


def own_zones(world, knot, zones, keys):
    """Senders of every kind of key below zones of their own, and what it takes to ask for them."""
    anchors = knot.folder / "anchors"
    anchors.write_text(world.anchors.read_text() + "".join(map(knot.anchor, zones)))
    stubs = " ".join([world.variables["DANEMSG_DNS_STUB"], *map(knot.stub, zones)])
    senders = []
    for number, key in enumerate(keys):
        senders.append(world.identity(f"{key}.{zones[number % len(zones)]}", key, publish=False))
        knot.publish(senders[-1], *world.tlsa(senders[-1]))
    return senders, {"DANEMSG_TRUST_ANCHOR": anchors, "DANEMSG_DNS_STUB": stubs}


def with_dns_away(world, name, keys, count, restarts, pace, come_by_itself):
    """The senders' name servers are gone from before the first message until all are there, and come
    back while more are sent, which must not overtake those that wait."""
    zones = [f"{name.split('.')[0]}-{number}.test" for number in range(2)]
    with Knot(world.folder / f"{name}-knot", dict(zip(zones, ("ecdsa", "rsa")))) as knot:
        senders, dns = own_zones(world, knot, zones, keys)
        knot.stop()
        allow = itertools.chain.from_iterable(("--allow", f"*.{zone}") for zone in zones)
        with world.receiver(name, *LINES, *allow, **dns) as receiver:
            def send(part, pace=0.0):
                return [Stream(world, sender, name, count, text=f"{part}.%d", pace=pace, **dns)
                        for sender in senders]

            streams = []
            for part in range(restarts + 1):
                streams += end_all(send(part))
                total = len(streams) * count
                wait_for(lambda: waiting(world, receiver) == total or not receiver.alive(),
                         f"{total} messages waiting")
                if part < restarts:
                    receiver.stop(signal.SIGKILL if part % 2 == 0 else signal.SIGTERM)
                    assert waiting(world, receiver) == total
                    receiver.start()
            assert receiver.out == b"" and receiver.count("quota") == 0, receiver.err
            knot.start()
            last = send("last", pace)
            if not come_by_itself:
                receiver.stop(signal.SIGKILL)
                receiver.start(wait=False)
            streams += end_all(last)
            expected = messages_of(
                (stream.sender, text) for stream in streams for text in stream.texts)
            compare(world, receiver, expected)
            assert waiting(world, receiver) == 0
    print(f"\n{total} messages of {len(senders)} senders waited for DNS, over {restarts} restarts; "
          f"{len(senders) * count} came meanwhile: 0 lost, 0 twice, in order")


def waiting(world, receiver):
    told = world.run("status", "--json", me=receiver.name,
                     DANEMSG_STATE=receiver.changes["DANEMSG_STATE"])
    return json.loads(told.text)["messages"]["waiting"]


def test_dns_away(world):
    with_dns_away(world, world.identity("campaign-dns.good.test"), KEYS[:2], 120, 1, 0.003, False)


@pytest.mark.slow
def test_dns_away_for_long(world):
    count = int(500 * SIZE)
    with_dns_away(world, world.identity("campaign-dns-1.good.test"), KEYS, count, 3, 30 / count, True)


# ------------------------------------------------------------------------------------- floods


class Watch:
    """What a flood may cost at most: memory and log."""

    def __init__(self, receiver):
        self.receiver, self.began = receiver, time.monotonic()
        self.lines = len(receiver.err.splitlines())

    def end(self, what, words):
        lines = len(self.receiver.err.splitlines()) - self.lines
        took = time.monotonic() - self.began
        peak = self.receiver.status_line("VmHWM")
        bound = int((took + 2) * LOG_RATE * words) + 20
        print(f"\n{what} in {took:.1f} s: peak memory {peak} kB (bound {MEMORY_MOST} kB), "
              f"{lines} lines of log (bound {bound})")
        assert SANITIZED or peak < MEMORY_MOST, f"{peak} kB"
        assert lines <= bound, self.receiver.err_file


def refusals(port):
    """Messages refused so far, by outcome, without those that are 0."""
    found = {name.split('"')[1]: int(float(value)) for name, value in figures(port).items()
             if name.startswith("danemsg_refused_total{")}
    return {word: count for word, count in found.items() if count > 0}


# So often a packet of junk is a forgery under the honest sender's name.
FORGED_EVERY = 10


def junk(world, sender, name, count, seed):
    """Hostile packets of somebody who is not listed, and forgeries."""
    stranger = world.identity(f"junk-{name}", publish=False)
    packets = itertools.cycle(list(hostile.packets(
        min(count, 5000), seed, lambda: world.message(stranger, name))))
    forgeries = itertools.cycle([forge(world, sender, name, b"forged") for _ in range(20)])
    for number in range(count):
        yield next(packets if number % FORGED_EVERY else forgeries)


def beside_junk(world, sender, name, count, honest, seed):
    port = free_port()
    with world.receiver(name, *LINES, "--allow", sender, "--metrics", f"{LOOPBACK}:{port}") as receiver:
        watch = Watch(receiver)
        flood = threading.Thread(target=world.broker.publish_many, daemon=True,
                                 args=(name, junk(world, sender, name, count, seed), 1))
        flood.start()
        with Stream(world, sender, name, honest, pace=0.001) as stream:
            stream.end()
        flood.join(PATIENCE)
        assert not flood.is_alive()
        wait_for(lambda: sum(refusals(port).values()) >= count or not receiver.alive(),
                 f"{count} refusals")
        refused = refusals(port)
        watch.end(f"{count} packets of junk, DANEMSG_SEED={seed}", len(refused))
        assert sum(refused.values()) == count, refused
        assert refused["signature"] == count // FORGED_EVERY and refused["policy"] > 0, refused
        compare(world, receiver, {sender: stream.texts})
        assert {word: receiver.count(word) for word in refused} == refused


def test_junk(world, people):
    beside_junk(world, people[0], world.identity("campaign-junk.good.test"), 2000, 100, SEED)


@pytest.mark.slow
def test_junk_without_end(world, people):
    beside_junk(world, people[0], world.identity("campaign-junk-1.good.test"), int(100000 * SIZE),
                5000, SEED)


# A stranger's budget of messages that wait for DNS (doc/PROTOCOL.md, step 7).
STRANGERS_BUDGET = 1000


def beside_a_stranger(world, sender, name, stranger, options, count, honest):
    """A stranger's own, valid messages, as fast as they can be sealed. What was refused."""
    port = free_port()
    with world.receiver(name, *LINES, *options, "--metrics", f"{LOOPBACK}:{port}") as receiver:
        assert world.run("send", name, "first", me=sender).status == 0
        receiver.wait_out(f"{sender} first\n")
        watch = Watch(receiver)
        with Stream(world, stranger, name, count) as flood, \
                Stream(world, sender, name, honest, pace=0.001) as stream:
            stream.end()
            flood.end()
        wait_for(lambda: sum(refusals(port).values()) + waiting(world, receiver) >= count
                 or not receiver.alive(), f"{count} refusals")
        refused = refusals(port)
        watch.end(f"{count} sealed messages of a stranger: {refused}", 3)
        assert sum(refused.values()) + waiting(world, receiver) == count, refused
        compare(world, receiver, {sender: ["first", *stream.texts]})
        return refused


def test_a_stranger(world, people):
    """Not on the list: refused before anything is asked of DNS. Without a list, and without an
    answer of DNS: the stranger's budget waits."""
    stranger = world.identity("campaign-flood.down.test", publish=False)
    listed = world.identity("campaign-list.good.test")
    open_to_all = world.identity("campaign-open.good.test")
    assert beside_a_stranger(world, people[0], listed, stranger, ("--allow", people[0]), 1500,
                             100) == {"policy": 1500}
    assert beside_a_stranger(world, people[0], open_to_all, stranger, (), 1500,
                             100) == {"quota": 1500 - STRANGERS_BUDGET}


@pytest.mark.slow
def test_a_stranger_without_end(world, people):
    count = int(100000 * SIZE)
    stranger = world.identity("campaign-flood-1.down.test", publish=False)
    listed = world.identity("campaign-list-1.good.test")
    open_to_all = world.identity("campaign-open-1.good.test")
    assert beside_a_stranger(world, people[0], listed, stranger, ("--allow", people[0]), count,
                             5000) == {"policy": count}
    assert beside_a_stranger(world, people[0], open_to_all, stranger, (), count,
                             5000) == {"quota": count - STRANGERS_BUDGET}


# -------------------------------------------------------------------------------------- bursts


@pytest.mark.parametrize("while_away", [False, True], ids=["live", "backlog"])
def test_a_burst_of_a_stranger(world, while_away):
    """Of a name that this receiver has never heard of, more than a stranger's budget: it reads on when
    DNS has answered. Live, and from what the broker kept."""
    sender = world.identity(f"campaign-new-{int(while_away)}.good.test")
    name = world.identity(f"campaign-burst-{int(while_away)}.rsa.test")
    with world.receiver(name, *LINES) as receiver:
        if while_away:
            receiver.stop()
        with Stream(world, sender, name, 2000) as stream:
            stream.end()
        if while_away:
            receiver.start(wait=False)
        compare(world, receiver, {sender: stream.texts})
        assert receiver.count("quota") == 0


@pytest.mark.slow
def test_all_kinds_of_keys_at_once(world, people):
    """Five senders at full speed to one receiver that knows none of them."""
    name = world.identity("campaign-all.good.test")
    count = int(5000 * SIZE)
    with world.receiver(name, *LINES, "--allow", "*.good.test") as receiver:
        began = time.monotonic()
        streams = [Stream(world, sender, name, count) for sender in people]
        end_all(streams)
        compare(world, receiver, sent_by(streams))
        print(f"\n{count * len(people)} messages of {len(people)} kinds of keys in "
              f"{time.monotonic() - began:.1f} s: 0 lost, 0 twice, in order")
