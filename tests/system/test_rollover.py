"""Rolling a key over: the steps and their times, from the command line.

The times are in NAME.rollover beside the keys. A test that would have to wait for one moves the
times there into the past; the slow test at the end waits.
"""

import json
import os
import re
import stat
import subprocess
import time

import craft
import pytest
from servers import PATIENCE, wait_for
from world import DANEMSG

TTL = "60"


class Rollover:
    """One name's rollover, published by hand."""

    def __init__(self, world, name, key="p256"):
        self.world, self.name = world, world.identity(name, key) if key else name
        self.state = world.new_state()
        self.file = world.crypto / f"{name}.rollover"

    def run(self, action, *options, **changes):
        changes.setdefault("DANEMSG_STATE", self.state)
        if action in ("start", "finish", "abort"):
            options = (*options, "--ttl", TTL)
        return self.world.run("identity", "rollover", action, self.name, *options, **changes)

    def status(self):
        shown = self.run("status", "--json")
        assert shown.status == 0, shown
        return json.loads(shown.text)

    def records(self, text):
        """What a command printed to be published or taken out."""
        found = re.findall(rf"^{re.escape(self.name)}\. {TTL} IN TLSA (.*)$", text, re.MULTILINE)
        assert len(found) == len(text.splitlines()), text
        return found

    def age(self, seconds):
        """As if everything had happened so long before."""
        text = re.sub(r"^(made|seen|switched|retracted) (\d{2,})$",
                      lambda found: f"{found[1]} {int(found[2]) - seconds}",
                      self.file.read_text(), flags=re.MULTILINE)
        self.file.write_text(text)

    def kid(self, role=""):
        return craft.kid(self.world.key(self.name, f"{role}key"))

    def sealed_by(self, sender, role=""):
        """An envelope to the key of a role: two made in one second are equally new to senders."""
        message = self.world.message(sender, self.name)
        message.encrypt_to = self.world.key(self.name, f"{role}key")
        message.jwe_header["kid"] = self.kid(role)
        return message.envelope()

    def signing_kid(self, to):
        """Of a message whose note goes elsewhere."""
        signed = self.world.run("sign", "--to", to, me=self.name, input=b"x",
                                DANEMSG_STATE=self.world.new_state())
        assert signed.status == 0, signed
        seen = self.world.run("inspect", "--json", input=signed.out)
        return re.search(r'"kid":"([\w-]{43})"', seen.text)[1]

    def files(self):
        return sorted(path.name[len(self.name) + 1:] for path in self.world.crypto.iterdir()
                      if path.name.startswith(self.name + "."))


def test_steps_wait_for_their_time(world, bob):
    rollover = Rollover(world, "steps.good.test")
    name, first = rollover.name, world.tlsa("steps.good.test")
    assert rollover.status()["phase"] == "none"
    assert rollover.run("switch").status == rollover.run("finish").status == 2
    old = rollover.kid()

    started = rollover.run("start")
    assert started.status == 0, started
    both = first + rollover.records(started.text)
    assert len(both) == 2 and rollover.status()["phase"] == "made"
    new = rollover.kid("next.")
    assert stat.S_IMODE(os.stat(world.crypto / f"{name}.next.key.pem").st_mode) == 0o600

    unseen = rollover.run("switch")
    assert unseen.status == 4 and "does not show" in unseen.err, unseen
    world.knot.publish(name, *both)
    early = rollover.run("switch")
    assert early.status == 4 and "not yet, but from 20" in early.err, early
    assert rollover.status()["phase"] == "started" and rollover.signing_kid(bob) == old
    rollover.age(61)
    assert rollover.run("switch").status == 4     # the TTL, and a minute that peers keep an answer
    world.knot.publish(name, *first)
    rollover.age(1000)
    gone = rollover.run("switch")
    assert gone.status == 4 and rollover.status()["phase"] == "made", gone
    world.knot.publish(name, *both)
    assert rollover.run("switch").status == 4     # it counts from when it was seen again
    rollover.age(130)
    switched = rollover.run("switch")
    assert switched.status == 0, switched
    assert rollover.signing_kid(bob) == rollover.kid() == new and rollover.kid("old.") == old
    assert rollover.files() == ["crt.pem", "key.pem", "old.crt.pem", "old.key.pem", "rollover"]

    assert rollover.run("switch").status == rollover.run("abort").status == 2
    assert rollover.run("start").status == 2
    assert rollover.run("finish").status == 4
    rollover.age(100)
    assert rollover.run("finish").status == 4
    hand = rollover.run("finish", "--lifetime", "1m")
    assert hand.status == 4 and rollover.records(hand.text) == first, hand
    world.knot.publish(name, *both[1:])
    finished = rollover.run("finish", "--lifetime", "1m")
    assert finished.status == 0 and rollover.status()["phase"] == "retracted", finished
    assert rollover.run("finish").status == 4 and "old.key.pem" in rollover.files()
    rollover.age(30 * 86400 + 60)
    assert rollover.run("finish").status == 4
    rollover.age(100)
    assert rollover.run("finish").status == 0
    assert rollover.files() == ["crt.pem", "key.pem"] and rollover.status()["phase"] == "none"
    assert world.run("identity", "check", name).status == 0


def test_what_is_noted_holds_the_old_record(world, bob):
    """The longest exp that the old key signed, and without any note the longest there may be."""
    for name, options, days in (("noted.good.test", ("--expires", "20d"), 20),
                                ("unnoted.good.test", None, 30)):
        rollover = Rollover(world, name)
        if options is not None:
            assert world.run("sign", "--to", bob, *options, me=name, input=b"x",
                             DANEMSG_STATE=rollover.state).status == 0
        before = time.time()
        records = rollover.records(rollover.run("start").text)
        world.knot.publish(name, *world.tlsa(name), *records)
        assert rollover.run("switch", "--now").status == 0
        left = rollover.status()["from"] - before - days * 86400
        assert -60 < left < 2 * 3600, (name, left)


def test_a_state_that_cannot_be_written_or_read(world, bob, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("no folder")
    rollover = Rollover(world, "blocked.good.test")
    assert rollover.run("start").status == rollover.run("switch", "--now").status == 0
    rollover.age(29 * 86400)
    refused = rollover.run("finish", "--lifetime", "1m", DANEMSG_STATE=blocked)
    assert refused.status == 4 and "local: " in refused.err, refused
    assert "to be taken out" not in refused.err
    signed = world.run("sign", "--to", bob, me=bob, input=b"x", DANEMSG_STATE=blocked)
    assert signed.status == 0 and signed.out and signed.err.count("warning") == 1, signed


def test_two_key_files_roll_together(world):
    rollover = Rollover(world, "pair.good.test", "ed25519")
    first = world.tlsa(rollover.name)
    next_records = rollover.records(rollover.run("start").text)
    assert len(first) == len(next_records) == 2
    world.knot.publish(rollover.name, *first, next_records[0])
    assert rollover.run("switch").status == 4 and rollover.status()["phase"] == "made"
    world.knot.publish(rollover.name, *first, *next_records)
    assert rollover.status()["phase"] == "started"
    rollover.age(130)
    keys = {kind: (world.crypto / f"{rollover.name}.next.{kind}").read_bytes()
            for kind in ("key.pem", "crt.pem", "enc.key.pem", "enc.crt.pem")}
    assert rollover.run("switch").status == 0
    for kind, content in keys.items():
        assert (world.crypto / f"{rollover.name}.{kind}").read_bytes() == content
    assert not any(file.startswith("next.") for file in rollover.files())
    assert sum(file.startswith("old.") for file in rollover.files()) == 4


def test_now_says_what_is_lost(world):
    rollover = Rollover(world, "now.good.test")
    records = rollover.records(rollover.run("start").text)
    switched = rollover.run("switch", "--now")
    assert switched.status == 0 and "cannot verify" in switched.err, switched
    refused = rollover.run("finish", "--now")
    assert refused.status == 6, refused              # the new record was never published
    world.knot.publish(rollover.name, *records)
    retracted = rollover.run("finish", "--now")
    assert retracted.status == 0 and "will be refused" in retracted.err, retracted
    assert "old.key.pem" in rollover.files()
    deleted = rollover.run("finish", "--now")
    assert deleted.status == 0 and "cannot be read" in deleted.err, deleted
    assert rollover.files() == ["crt.pem", "key.pem"]


def test_abort_keeps_what_others_may_have_sealed_to(world, bob):
    rollover = Rollover(world, "abort.good.test")
    name, first = rollover.name, world.tlsa("abort.good.test")
    assert rollover.run("start", "--csr").status == 0
    assert "next.csr.pem" in rollover.files()
    assert rollover.run("abort").status == 0         # nobody saw it
    assert rollover.files() == ["crt.pem", "key.pem"]

    records = rollover.records(rollover.run("start").text)
    world.knot.publish(name, *first, *records)
    new = rollover.kid("next.")
    sealed = rollover.sealed_by(bob, "next.")
    hand = rollover.run("abort")
    assert hand.status == 4 and rollover.records(hand.text) == records, hand
    world.knot.publish(name, *first)
    assert rollover.run("abort").status == 0
    assert rollover.kid("old.") == new and rollover.status()["phase"] == "retracted"
    opened = world.run("open", me=name, input=sealed)
    assert opened.status == 0 and opened.out == b"HELLO THERE", opened
    assert rollover.run("finish", "--now").status == 0
    assert world.run("open", me=name, input=sealed).status == 13


def test_a_single_record_is_swapped(world, rsa_bob):
    rollover = Rollover(world, "single.rsa.test", "rsa2048")
    name = rollover.name
    assert rollover.run("start", "--single-record").status == 0
    assert rollover.run("start").status == 2         # it was begun otherwise
    sealed = world.run("seal", "--poc", "--to", name, me=rsa_bob, input=b"before")
    hand = rollover.run("switch", "--ttl", TTL)
    records = rollover.records(hand.text)
    assert hand.status == 4 and len(records) == 1, hand
    world.knot.publish(name, *records)
    assert rollover.run("switch").status == 0
    assert rollover.status()["phase"] == "retracted"
    assert world.run("identity", "check", name).status == 0
    opened = world.run("open", "--accept-poc", rsa_bob, me=name, input=sealed.out)
    assert opened.out == b"before", opened


def test_what_was_interrupted_is_completed(world):
    """By whichever command comes next."""
    for phase, becomes in ("switching", "switched"), ("aborting", "retracted"):
        rollover = Rollover(world, f"{phase}.good.test")
        assert rollover.run("start").status == 0
        new = rollover.kid("next.")
        rollover.file.write_text(rollover.file.read_text().replace("phase made", f"phase {phase}"))
        forced = world.run("identity", "new", "--force", rollover.name)
        assert forced.status == 2 and "was interrupted" in forced.err, forced
        assert rollover.kid("next.") == new
        completed = rollover.run("status", "--json")
        assert completed.status == 0 and "completing" in completed.err, completed
        assert json.loads(completed.text)["phase"] == becomes
        assert rollover.kid("" if becomes == "switched" else "old.") == new
        assert "completing" not in rollover.run("status").err
    rollover.file.write_text("rubbish")
    broken = rollover.run("status")
    assert broken.status == 2 and "rollover" in broken.err, broken


@pytest.mark.parametrize("key, lost", [
    ("p256", ("crt.pem",)), ("ed25519", ("enc.key.pem", "enc.crt.pem")), ("ed25519", ("enc.crt.pem",)),
])
def test_a_start_that_was_interrupted_makes_its_key_again(world, key, lost):
    """The next key's files come one by one; what nobody was shown is no loss."""
    rollover = Rollover(world, f"lost{len(lost)}{key}.good.test", key)
    assert rollover.run("start").status == 0
    first = rollover.kid("next.")
    for file in lost:
        (world.crypto / f"{rollover.name}.next.{file}").unlink()
    if key == "p256":                                # shown already: it stays, and is said
        assert rollover.run("start").status == 0 and rollover.kid("next.") == first
    rollover.file.write_text(rollover.file.read_text().replace("offered yes", "offered no"))
    again = rollover.run("start")
    assert again.status == 0 and "not written whole" in again.err, again
    assert rollover.kid("next.") != first
    assert all(f"next.{file}" in rollover.files() for file in lost)
    assert len(rollover.records(again.text)) == (2 if key == "ed25519" else 1)
    assert "not written whole" not in rollover.run("start").err


def test_dns_is_changed_where_there_is_a_way(world, tmp_path):
    from primaries import KeyedKnot
    with KeyedKnot(tmp_path / "knot", {"way.test": "ecdsa"}) as knot:
        anchors = tmp_path / "anchors"
        anchors.write_text(knot.anchor("way.test"))
        dns = {"DANEMSG_DNS_STUB": knot.stub("way.test"), "DANEMSG_TRUST_ANCHOR": anchors}
        way = knot.options()

        def begin(name, *options):
            world.identity(name, publish=False)
            assert world.run("identity", "publish", name, *way, "--ttl", TTL, **dns).status == 0
            rollover = Rollover(world, name, key=None)
            run = rollover.run
            rollover.run = lambda action, *more: run(action, *more, **dns)
            started = rollover.run("start", *way, *options)
            assert started.status == 0 and started.out == b"", started
            return rollover

        def published(rollover):
            return {craft.kid(craft.x509.load_der_x509_certificate(data).public_key())
                    for _usage, _selector, _type, data in knot.records(rollover.name)}

        rollover = begin("two.way.test")
        old, new = rollover.kid(), rollover.kid("next.")
        assert published(rollover) == {old, new} and rollover.status()["phase"] == "started"
        assert rollover.run("start", *way).status == 0           # goes on where it was
        assert rollover.run("switch").status == 4
        rollover.age(130)
        assert rollover.run("switch").status == 0
        assert rollover.run("finish", *way).status == 4 and published(rollover) == {old, new}
        finished = rollover.run("finish", "--now", *way)
        assert finished.status == 0 and published(rollover) == {new}, finished

        rollover = begin("back.way.test")
        assert len(published(rollover)) == 2
        assert rollover.run("abort", *way).status == 0 and published(rollover) == {rollover.kid()}

        rollover = begin("one.way.test", "--single-record")
        old, new = rollover.kid(), rollover.kid("next.")
        assert published(rollover) == {old}
        assert rollover.run("switch", *way).status == 0
        assert published(rollover) == {new} == {rollover.kid()}


@pytest.mark.parametrize("words", [
    ("start", "--now"), ("start", "--json"), ("switch", "--key", "p256"), ("switch", "--csr"),
    ("finish", "--single-record"), ("status", "--now"), ("status", "--rfc2136", "127.0.0.1"),
    ("start", "--csr", "--days", "3"), ("start", "--key", "dsa"), ("begin",), (),
    ("start", "a.b", "c.d"), ("switch", "--lifetime", "1m")], ids=" ".join)
def test_rollover_usage(world, alice, words):
    wrong = world.run("identity", "rollover", *words, me=alice)
    assert wrong.status == 1 and wrong.out == b"" and wrong.err, wrong


def test_start_needs_something_to_roll_over_from(world, tmp_path):
    name = world.identity("unpublished.good.test", publish=False)
    assert world.run("identity", "rollover", "start", name).status == 3
    world.knot.publish(name, world.tlsa(world.identity("otherkey.good.test"))[0])
    assert world.run("identity", "rollover", "start", name).status == 6
    assert world.run("identity", "rollover", "start", "x.plain.test").status == 2
    stray = Rollover(world, "stray.good.test")
    (world.crypto / f"{stray.name}.old.key.pem").write_bytes(
        (world.crypto / f"{stray.name}.key.pem").read_bytes())
    (world.crypto / f"{stray.name}.old.key.pem").chmod(0o600)
    refused = stray.run("start")
    assert refused.status == 2 and "old.key.pem" in refused.err, refused


# ----------------------------------------------------------------- programs that run meanwhile


class Stream:
    """`danemsg send -l`, a line now and then."""

    def __init__(self, world, sender, to, *options, **changes):
        self.sent, self.log = [], world.new_state() / "stream"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                [DANEMSG, "send", "--to", to, "-l", *options], stdin=subprocess.PIPE, stderr=log,
                env=world.environment(IDENTITY_NAME=sender, **changes))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.process.kill()
        self.process.wait()

    def send(self):
        self.sent.append(f"line {len(self.sent)}")
        self.process.stdin.write(f"{self.sent[-1]}\n".encode())
        self.process.stdin.flush()

    def end(self):
        self.process.stdin.close()
        assert self.process.wait(PATIENCE) == 0, self.log.read_text()


def payloads(receiver, sender):
    messages = [json.loads(line) for line in receiver.lines()]
    return [message["payload"] for message in messages if message["sender"] == sender]


def test_running_programs_take_up_new_keys(world, bob):
    """A receiver opens what is sealed to the next key as soon as somebody can know it; both ends
    change keys in their stride."""
    rollover = Rollover(world, "running.good.test")
    name, first, old = rollover.name, world.tlsa("running.good.test"), rollover.kid()

    def to_me(count, role=""):
        world.broker.publish(name, rollover.sealed_by(bob, role))
        wait_for(lambda: len(payloads(mine, bob)) == count, f"{count} messages: {mine.err}")

    with world.receiver(name, "--json") as mine, \
            Stream(world, name, bob, DANEMSG_STATE=rollover.state) as stream:
        to_me(1)
        records = rollover.records(rollover.run("start").text)
        world.knot.publish(name, *first, *records)
        new = rollover.kid("next.")
        to_me(2, "next.")
        assert "keys changed on disk" in mine.err
        with world.receiver(bob, "--json") as theirs:    # it has not asked for the keys before
            def from_me():
                stream.send()
                wait_for(lambda: payloads(theirs, name) == stream.sent, theirs.err_file)
                return f"signed with {new}" in stream.log.read_text()

            assert not from_me()
            assert rollover.run("switch", "--now").status == 0
            wait_for(from_me, "the stream to sign with the new key")
            assert (rollover.kid("old."), rollover.kid()) == (old, new)
            to_me(3, "old.")
            key = world.crypto / f"{name}.key.pem"
            key.chmod(0o644)                             # it cannot be loaded just now
            time.sleep(1.1)
            from_me()
            to_me(4)
            assert "stay in use" in mine.err and "stay in use" in stream.log.read_text()
            key.chmod(0o600)
            from_me()
            to_me(5)
            stream.end()
            for log in mine.err, theirs.err:
                assert not re.search(r"(not-for-me|signature|decrypt|certificate): ", log), log


@pytest.mark.slow
def test_a_stream_across_a_whole_rollover(world, tmp_path):
    """In real time, with short times to live: nothing is lost, nothing refused, whoever reads late
    reads all."""
    from primaries import KeyedKnot

    class ShortLived(KeyedKnot):
        def empty_zone(self, zone):
            return (f"$ORIGIN {zone}.\n$TTL 5\n"
                    "@ SOA ns hostmaster 1 3600 900 604800 5\n@ NS ns\nns A 127.0.0.1\n")

    life = ("--expires", "60s")
    with ShortLived(tmp_path / "knot", {"roll.test": "ecdsa"}) as knot:
        anchors = tmp_path / "anchors"
        anchors.write_text(knot.anchor("roll.test"))
        dns = {"DANEMSG_DNS_STUB": knot.stub("roll.test"), "DANEMSG_TRUST_ANCHOR": anchors}
        way = (*knot.options(), "--ttl", "5")
        for name in "alice.roll.test", "bob.roll.test", "late.roll.test":
            world.identity(name, "ed25519" if "alice" in name else "p256", publish=False)
            assert world.run("identity", "publish", name, *way, **dns).status == 0
        alice, bob, late = "alice.roll.test", "bob.roll.test", "late.roll.test"
        state = world.new_state()

        def roll(action, *options):
            return world.run("identity", "rollover", action, alice, *options, timeout=330,
                             DANEMSG_STATE=state, **dns)

        early = world.run("seal", "--to", alice, "--expires", "1h", me=bob, input=b"read very late",
                          **dns)
        absent = world.receiver(late, "--json", **dns)
        absent.start()
        absent.stop()
        for_late, counts = [], {"to": 0}     # when, and what
        with world.receiver(alice, "--json", **dns) as mine, \
                world.receiver(bob, "--json", **dns) as theirs, \
                Stream(world, alice, bob, *life, DANEMSG_STATE=state, **dns) as out, \
                Stream(world, bob, alice, *life, **dns) as back:
            def send_late():
                for_late.append((time.monotonic(), f"late {len(for_late)}"))
                sent = world.run("send", "--to", late, *life, "-m", for_late[-1][1], me=alice,
                                 DANEMSG_STATE=state, **dns)
                assert sent.status == 0, sent

            def talk():
                send_late()
                out.send()
                back.send()
                counts["to"] += 1
                for sender, to in (alice, bob), (bob, alice):
                    sent = world.run("send", "--to", to, *life, "-m", f"single {counts['to']}",
                                     me=sender, DANEMSG_STATE=state, **dns)
                    assert sent.status == 0, sent
                time.sleep(1)

            def talk_until(action, *options):
                """Again and again, until it is time."""
                end = time.monotonic() + 300
                while True:
                    talk()
                    done = roll(action, *options)
                    if done.status == 0:
                        return
                    assert done.status == 4 and time.monotonic() < end, done

            talk()
            assert roll("start", *way).status == 0
            talk_until("switch")
            switched = time.monotonic()
            while time.monotonic() < switched + 10:
                talk()
            with absent:                     # what the old key signed before is read with it
                due = {text for when, text in for_late if time.monotonic() - when < 30}
                wait_for(lambda: due <= set(payloads(absent, alice)), f"{due}: {absent.err}")
                assert any(when < switched for when, text in for_late if text in due)
            talk_until("finish", "--lifetime", "60s", *way)
            assert len(knot.records(alice)) == 2     # of two key files, the new ones
            end = time.monotonic() + 70              # until no cache holds the old answer
            while time.monotonic() < end:
                talk()
            opened = world.run("open", "--from", bob, me=alice, input=early.out, **dns)
            assert opened.out == b"read very late", opened
            assert roll("finish", "--now").status == 0   # from here on only the new key opens
            talk()
            out.end()
            back.end()
            expected = counts["to"] + len(out.sent)
            for receiver, sender in (theirs, alice), (mine, bob):
                wait_for(lambda: len(payloads(receiver, sender)) >= expected,
                         f"{expected} messages from {sender}: {receiver.err}")
                got = payloads(receiver, sender)
                assert sorted(got) == sorted(out.sent + [f"single {i + 1}"
                                                         for i in range(counts["to"])])
                refused = re.findall(r"^danemsg receive: [a-z-]+: .*$", receiver.err, re.MULTILINE)
                assert not [line for line in refused if "wait" not in line], refused
