"""The root's trust anchors through a rollover (RFC 5011), against a root of our own, and the names of
strangers beside those of the policy."""

import json
import re
import time
from pathlib import Path

import dns.message
import dns.query
import pytest
from servers import LOOPBACK, Knot, wait_for
from signed_zone import DAY, SignedZone, ZoneKey

NAME = "kept.roots"


class Root(Knot):
    """A root zone with one identity, signed anew by other keys from time to time."""

    def __init__(self, folder, record):
        super().__init__(folder, {})
        self.record = record

    def sign(self, *keys):
        self.stop()
        zone = SignedZone(".", [f"{NAME} TLSA {self.record}"], keys=list(keys))
        self.zones = {".": zone.text}
        for old in self.folder.glob("*.zone"):
            old.unlink()
        if self.port is None:
            self.__enter__()
        else:
            self.start()

    def answers(self):
        query = dns.message.make_query(".", "DNSKEY")
        try:
            return dns.query.udp(query, LOOPBACK, timeout=1, port=self.port).answer
        except Exception:
            return False


@pytest.fixture
def root(world, tmp_path):
    if not (world.crypto / f"{NAME}.key.pem").exists():
        world.identity(NAME, publish=False)
    root = Root(tmp_path / "root", world.tlsa(NAME)[0])
    yield root
    root.stop()


@pytest.fixture
def state(world):
    state = world.new_state()
    (state / "trust").mkdir(mode=0o700)
    return state


def environment(root, state):
    return {"DANEMSG_STATE": state, "DANEMSG_TRUST_ANCHOR": None,
            "DANEMSG_DNS_STUB": f".={LOOPBACK}@{root.port}"}


def receive(world, root, state, until="Reading "):
    """Runs a receiver until it has said this; what it said."""
    receiver = world.receiver(NAME, **environment(root, state))
    (state / "stderr").unlink(missing_ok=True)
    receiver.start(wait=False)
    try:
        wait_for(lambda: until in receiver.err and receiver.alive(), f"'{until}': {receiver.err}")
        return receiver.err
    finally:
        receiver.stop()


def states(kept):
    """Of the keys in the file: number -> how many are in that state."""
    found = re.findall(r";;state=(\d)", kept.read_text())
    return {number: found.count(number) for number in found}


def test_the_root_changes_its_key(world, root, state):
    old, new = ZoneKey(), ZoneKey(signs="nothing")
    kept = state / "trust" / "root.key"
    kept.write_text(old.anchor(""))

    root.sign(old)
    receive(world, root, state)
    assert states(kept) == {"2": 1}, kept.read_text()  # valid
    assert kept.stat().st_mode & 0o077 == 0

    root.sign(old, new)
    receive(world, root, state)
    assert states(kept) == {"2": 1, "1": 1}, kept.read_text()  # valid, and pending
    key = str(new.shown).split()[-1]
    assert key in kept.read_text().replace(" ", "")

    # Thirty days later it is valid, and not a day before.
    for days, expected in (29, {"2": 1, "1": 1}), (31, {"2": 2}):
        changed = int(time.time()) - days * DAY
        kept.write_text(re.sub(r"(;;state=1.*;;count=)\d+ ;;lastchange=\d+",
                               rf"\g<1>5 ;;lastchange={changed}", kept.read_text()))
        receive(world, root, state)
        assert states(kept) == expected, kept.read_text()

    # The old key goes. A receiver that has seen all of it goes on, and short commands read its file.
    new.signs = "all"
    root.sign(new)
    receive(world, root, state)
    assert states(kept) == {"2": 1, "3": 1}, kept.read_text()  # valid, and missing
    before = kept.read_bytes(), kept.stat().st_mtime_ns
    found = world.run("lookup", NAME, **environment(root, state))
    assert found.status == 0, found
    assert (kept.read_bytes(), kept.stat().st_mtime_ns) == before

    # One that has not seen it does not believe the new key.
    kept.write_text(old.anchor(""))
    found = world.run("lookup", NAME, **environment(root, state))
    assert found.status == 5, found


def test_a_broken_file_is_begun_anew(world, root, state):
    """With what the system knows, which is not our root: nothing is believed then."""
    key = ZoneKey()
    kept = state / "trust" / "root.key"
    kept.write_text("rubbish\n")
    root.sign(key)
    said = receive(world, root, state, until="dns-bogus")
    assert str(kept) in said and "begun anew" in said, said
    assert "rubbish" not in kept.read_text()


def test_a_folder_that_cannot_be_written(world, root, state):
    (state / "trust").rmdir()
    (state / "trust").write_text("not a folder")
    root.sign(ZoneKey())
    done = world.run("receive", "-W", "1", me=NAME, **environment(root, state))
    assert done.status == 2 and str(state / "trust") in done.err, done


# ----------------------------------------------------------------------------- apart from strangers


def children(process):
    """The resolver processes of a receiver, by process id."""
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


def seccomp(pid):
    return re.search(r"^Seccomp:\s+(\d)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)[1]


def test_strangers_have_a_resolver_of_their_own(world, bob, alice):
    with world.receiver(bob) as receiver:
        assert len(children(receiver.process)) == 2
        world.broker.publish(bob, world.message(alice, bob, b"A STRANGER").envelope())
        receiver.wait_out(f"{alice} says: A STRANGER\n")
        assert {seccomp(pid) for pid in children(receiver.process)} == {"2"}
    with world.receiver(bob, "--allow", "*.good.test") as receiver:
        assert len(children(receiver.process)) == 1
        world.broker.publish(bob, world.message(alice, bob, b"A PEER").envelope())
        receiver.wait_out(f"{alice} says: A PEER\n")


@pytest.mark.slow
def test_keys_are_used_while_dns_is_away(world, bob, tmp_path):
    """--serve-stale, for as long as it says, with a word."""
    name = "alice.fading.test"
    world.identity(name, publish=False)
    zone = SignedZone("fading.test", [f"alice TLSA {world.tlsa(name)[0]}"])
    anchors = tmp_path / "anchors"
    anchors.write_text(world.anchors.read_text() + zone.anchor)
    with Knot(tmp_path / "knot", {"fading.test": zone.text}) as knot:
        changes = {"DANEMSG_DNS_STUB": world.variables["DANEMSG_DNS_STUB"] + " "
                   + knot.stub("fading.test"), "DANEMSG_TRUST_ANCHOR": anchors}
        with world.receiver(bob, "--serve-stale", "1h", **changes) as receiver:
            world.broker.publish(bob, world.message(name, bob, b"FRESH").envelope())
            receiver.wait_out(f"{name} says: FRESH\n")
            knot.stop()
            until = time.monotonic() + 62  # the least time that a key is believed
            wait_for(lambda: time.monotonic() > until, "the TTL")
            for text in b"STALE", b"AGAIN":
                world.broker.publish(bob, world.message(name, bob, text).envelope())
                receiver.wait_out(f"{name} says: ".encode() + text + b"\n")
            assert receiver.err.count("stale keys") == 1, receiver.err
            exported = world.run("inbox", "export", me=bob,
                                 DANEMSG_STATE=receiver.changes["DANEMSG_STATE"])
            stale = {record["payload"]: record.get("stale") for record in
                     map(json.loads, exported.text.splitlines())}
            assert stale == {"FRESH": None, "STALE": True, "AGAIN": True}, exported
