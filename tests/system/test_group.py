"""Several receivers of one identity that share a PostgreSQL store and a subscription."""

import json
import signal
import subprocess
import threading
import time
from collections import Counter

import pytest
from quickstart import GUIDES, fenced
from servers import LOOPBACK, PATIENCE, PostgreSQL, wait_for
from world import Receiver

GROUP = "workers"


@pytest.fixture(scope="module")
def postgres():
    why = PostgreSQL.missing()
    if why:
        pytest.skip(why)
    with PostgreSQL() as server:
        yield server


@pytest.fixture(scope="module")
def sender(world):
    return world.identity("group-alice.good.test")


class Member(Receiver):
    """A receiver of the group, with a state folder of its own."""

    def __init__(self, world, postgres, name, *options, **changes):
        super().__init__(world, name, ["--group", GROUP, *options],
                         {"DANEMSG_STORE": postgres.url, **changes})

    def start(self, wait=True, timeout=PATIENCE):
        topic = f"$share/{GROUP}/{self.name}"
        before = self.broker.subscriptions(topic)
        super().start(wait=False)
        if wait:
            wait_for(lambda: self.alive() and self.broker.subscriptions(topic) > before,
                     f"{self.name} to subscribe; it said: {self.err}", timeout)
        return self


class Group:
    """Members that print `ID TEXT`, a line each."""

    def __init__(self, world, postgres, name, count, *options):
        self.members = [Member(world, postgres, name, "-F", "%{id} %p\\n", "-N", *options)
                        for _ in range(count)]

    def __enter__(self):
        for member in self.members:
            member.start()
        return self.members

    def __exit__(self, *exception):
        for member in self.members:
            if member.process is not None:
                member.stop()


def exported(world, postgres, name):
    got = world.run("inbox", "export", me=name, DANEMSG_STORE=postgres.url, timeout=300)
    assert got.status == 0, got
    return [json.loads(line) for line in got.text.splitlines()]


def silent(postgres, *texts):
    """Nobody tells the password."""
    for text in texts:
        assert postgres.password not in text and "se%2Fcr" not in text, text


@pytest.mark.parametrize("arguments, word", [
    (["--group", "g"], "--group wants --store postgresql://"),
    (["--group", "g", "--store", "sqlite:/tmp/x.db"], "--group wants --store postgresql://"),
    (["--group", "a/b", "--store", "postgresql://h/d"], "without '/', '+' and '#'"),
    (["--group", "", "--store", "postgresql://h/d"], "without '/', '+' and '#'"),
    (["--clean", "--store", "postgresql://h/d"], "--clean keeps nothing"),
    (["--store", "mysql://h/d"], "sqlite:PATH or postgresql://"),
    (["--store", "postgresql://u:se/cr@et@h/d"], "not a URL that PostgreSQL knows"),
    (["--store", "postgresql://u:1/se/cr@et@h/d"], "not a URL that PostgreSQL knows"),
])
def test_usage(world, sender, arguments, word):
    refused = world.run("receive", "-W", "5", *arguments, me=sender,
                        DANEMSG_STATE=world.new_state())
    assert refused.status == 1 and word in refused.err, refused
    assert "cr@et" not in refused.err and "\"se\"" not in refused.err, refused


def test_no_server(world, sender, postgres):
    url = postgres.url.replace(f":{postgres.port}/", ":1/")
    refused = world.run("receive", "-W", "5", "--store", url, me=sender,
                        DANEMSG_STATE=world.new_state())
    assert refused.status == 2 and "opening the shared store" in refused.err, refused
    wrong = world.run("receive", "-W", "5", "--store", postgres.url.replace("et@", "oops@"),
                      me=sender, DANEMSG_STATE=world.new_state())
    assert wrong.status == 2 and "authentication failed" in wrong.err, wrong
    nothing = world.run("inbox", "list", me=sender, DANEMSG_STORE=postgres.url)
    assert nothing.status == 2 and "the database holds nothing" in nothing.err, nothing
    silent(postgres, refused.err, wrong.err, nothing.err)
    assert "cr@oops" not in wrong.err, wrong


def test_three_share_the_work(world, sender, postgres):
    """Each message is printed once in all; a copy that goes to another member is a replay."""
    name = world.identity("group-bob.good.test")
    count = 90
    envelopes = [world.message(sender, name, b"%d" % number).envelope() for number in range(count)]
    with Group(world, postgres, name, 3) as members:
        lines = lambda: [line for member in members for line in member.lines()]
        world.broker.publish_many(name, envelopes, qos=1)
        wait_for(lambda: len(lines()) >= count and all(m.alive() for m in members), "all messages")
        shares = [len(member.lines()) for member in members]
        assert min(shares) >= count // 6, shares
        # The first again and again: the broker takes the members in turn.
        world.broker.publish_many(name, [envelopes[0]] * 6, qos=1)
        wait_for(lambda: sum(member.count("replay") for member in members) == 6, "six replays")
        assert min(member.count("replay") for member in members) >= 1
        assert sorted(int(line.split()[1]) for line in lines()) == list(range(count))
        members[0].wait_delivered(count)
        for member in members:  # what a member got, it delivers in the order of the sender
            texts = [int(line.split()[1]) for line in member.lines()]
            assert texts == sorted(texts)
        listed = world.run("inbox", "list", "--json", me=name, DANEMSG_STORE=postgres.url)
        assert len(listed.text.splitlines()) == count, listed
        first = json.loads(listed.text.splitlines()[0])
        shown = world.run("inbox", "show", "--json", first["row"], me=name,
                          DANEMSG_STORE=postgres.url)
        shown = json.loads(shown.text)
        assert shown["id"] == first["id"] and f"{shown['id']} {shown['payload']}" in lines()
        status = world.run("status", me=name, DANEMSG_STORE=postgres.url,
                           DANEMSG_STATE=members[0].changes["DANEMSG_STATE"])
        assert status.status == 0 and str(count) in status.text, status
        assert {row["delivery"] for row in exported(world, postgres, name)} == {"delivered"}
        purged = world.run("inbox", "purge", "--all", "--force", me=name, DANEMSG_STORE=postgres.url)
        assert purged.status == 0, purged
        assert exported(world, postgres, name) == []
        silent(postgres, *[member.err for member in members], listed.err, status.err)


def test_the_role_of_the_guide(world, sender, postgres, tmp_path):
    """What doc/SCALING.md lets the superuser do is enough; and a URL may name several hosts."""
    [made] = [body for info, body in fenced(GUIDES / "SCALING.md") if info == "sql"]
    for word in "ROLE", "DATABASE", "connect", "AUTHORIZATION":
        assert made.count(f"{word} danemsg") == 1
        made = made.replace(f"{word} danemsg", f"{word} danemsg_guide")
    (tmp_path / "made.sql").write_text(made)
    subprocess.run([PostgreSQL.programs() / "psql", postgres.url, "-Xqv", "ON_ERROR_STOP=1", "-f",
                    tmp_path / "made.sql"], check=True, capture_output=True, timeout=PATIENCE)
    name = world.identity("group-erin.good.test")
    store = (f"postgresql://danemsg_guide:a%20long%20one@{LOOPBACK}:1,{LOOPBACK}:{postgres.port}"
             "/danemsg_guide?target_session_attrs=read-write")
    with Member(world, postgres, name, DANEMSG_STORE=store) as member:
        assert world.run("send", name, "SHARED", me=sender).status == 0
        member.wait_out("SHARED")


def test_one_member_is_there_once(world, sender, postgres):
    """Two receivers under one name would each take the other's messages for their own."""
    name = world.identity("group-carol.good.test")
    with Member(world, postgres, name, "-i", "dm-fixed-name"):
        clash = world.run("receive", "-W", "9", "--group", GROUP, "-i", "dm-fixed-name", me=name,
                          DANEMSG_STORE=postgres.url, DANEMSG_STATE=world.new_state())
        assert clash.status == 2 and "another receiver" in clash.err, clash


def publish_slowly(world, sender, name, count, pace):
    def payloads():
        for number in range(count):
            envelope = world.message(sender, name, b"%d" % number).envelope()
            yield envelope
            if number % 10 == 0:
                yield envelope
            time.sleep(pace)
    world.broker.publish_many(name, payloads(), qos=1)


@pytest.mark.slow
def test_a_member_is_killed_and_the_server_restarts(world, sender, postgres):
    """What the dead one had accepted is delivered by the others; what the broker keeps for its
    session, when it is back. Nothing is lost, and twice comes at most what was on its way."""
    name = world.identity("group-dave.good.test")
    count, slow, gate = 2000, world.folder / "group-slow", world.folder / "group-gate"
    with Group(world, postgres, name, 2) as members, \
            Member(world, postgres, name, "--exec",
                   f"sleep 0.1; echo $DANEMSG_ID $(cat) >> {slow}; "
                   f"while [ $(wc -l < {slow}) -ge 50 ] && ! test -e {gate}; do sleep 0.1; done"
                   ) as victim:
        flow = threading.Thread(target=publish_slowly, args=(world, sender, name, count, 0.004))
        flow.start()
        lines = lambda: [line for member in members for line in member.lines()] + (
            slow.read_text().splitlines() if slow.exists() else [])
        wait_for(lambda: len(lines()) > count // 5, "the first fifth")
        postgres.stop()
        time.sleep(1)
        postgres.start()
        wait_for(lambda: len(lines()) > count // 2, "the first half")
        undelivered = ("SELECT count(*) FROM danemsg.pending p JOIN danemsg.recipient r"
                       f" ON r.row = p.recipient WHERE r.name = '{name}'")
        wait_for(lambda: int(postgres.ask(undelivered)[0]) > 20, "something to take over")
        victim.stop(signal.SIGKILL)
        gate.touch()
        flow.join()
        wait_for(lambda: any("took over" in member.err for member in members), "an heir")
        wait_for(lambda: postgres.ask(undelivered) == ["0"], "the dead one's messages")
        victim.options[2:] = []  # at full speed, to its standard output
        victim.options += ["-F", "%{id} %p\\n", "-N"]
        victim.start(wait=False)
        everything = lambda: lines() + victim.lines()
        wait_for(lambda: len({line.split()[0] for line in everything()}) >= count
                 and victim.alive(), f"{count} messages")
        rows = exported(world, postgres, name)
    printed = Counter(line.split()[1] for line in everything())
    assert set(printed) == {str(number) for number in range(count)}
    assert sorted(int(row["payload"]) for row in rows) == list(range(count))
    assert {row["delivery"] for row in rows} == {"delivered"}
    repeated = sum(printed.values()) - count
    assert repeated <= 4, f"{repeated} delivered twice"  # on their way at the restart and the kill
    print(f"\n{count} messages: 0 lost, 0 stored twice, {repeated} delivered twice")
