"""What DNS says about a name, and what becomes of it at the sender, at `lookup`, at
`identity check` and at the receiver: each outcome with its own word and exit status."""

import craft
import pytest
from cases import STATUS
from servers import LOOPBACK, NOBODY, Knot
from signed_zone import SignedZone

# zone of alice, what it is like, and the word for it.
OUTCOMES = [
    ("good.test", "signed, ECDSA and NSEC", None),
    ("rsa.test", "signed, RSA and NSEC3", None),
    ("plain.test", "below no trust anchor", "dns-insecure"),
    ("island.good.test", "unsigned below a signed zone", "dns-insecure"),
    ("wronganchor.test", "another trust anchor", "dns-bogus"),
    ("expired.test", "signatures that expired", "dns-bogus"),
    ("broken.test", "a signature with a bit turned over", "dns-bogus"),
    ("down.test", "no server", "dns-temporary"),
    ("silent.test", "a server that never answers", "dns-temporary"),
]
NAMES = [
    ("nobody.good.test", "no such name", "no-identity"),
    ("nobody.rsa.test", "no such name, NSEC3", "no-identity"),
    ("ns.good.test", "no TLSA record", "no-identity"),
    ("ns.rsa.test", "no TLSA record, NSEC3", "no-identity"),
]
ALL = [(f"zed.{zone}" if word is None else f"alice.{zone}", what, word)
       for zone, what, word in OUTCOMES] + NAMES

PARAMETERS = pytest.mark.parametrize("name, what, word", ALL, ids=[what for _, what, _ in ALL])
# Five seconds for each name that nobody answers for: all commands ask in the same way, so that two
# of them are enough for an ordinary run.
PATIENT = pytest.mark.parametrize(
    "name, what, word",
    [pytest.param(*row, marks=[pytest.mark.slow] if row[2] == "dns-temporary" else []) for row in ALL],
    ids=[what for _, what, _ in ALL])


@pytest.fixture(scope="module")
def everybody(world):
    """Keys for every name, in DNS wherever the zone can be changed."""
    for name, _what, word in ALL:
        changeable = name.split(".", 1)[1] in ("good.test", "rsa.test", "plain.test",
                                               "island.good.test", "wronganchor.test")
        world.identity(name, publish=changeable and word != "no-identity")


@PARAMETERS
def test_send(world, alice, everybody, name, what, word):
    sent = world.run("send", name, "HELLO", me=alice)
    assert sent.status == STATUS.get(word, 0), sent
    assert word is None or f" {word}:" in sent.err, sent


@PARAMETERS
def test_lookup(world, everybody, name, what, word):
    found = world.run("lookup", name)
    assert found.status == STATUS.get(word, 0), found
    assert word is None or word in found.text + found.err, found


@PATIENT
def test_identity_check(world, everybody, name, what, word):
    checked = world.run("identity", "check", name)
    assert checked.status == STATUS.get(word, 0), checked
    assert word is None or word in checked.text + checked.err, checked


@PATIENT
def test_open(world, bob, everybody, name, what, word):
    opened = world.run("open", me=bob, input=world.message(name, bob).envelope())
    assert opened.status == STATUS.get(word, 0), opened
    assert opened.out == (b"" if word else b"HELLO THERE"), opened
    assert word is None or f" {word}:" in opened.err, opened


def test_receive(world, bob, alice, everybody):
    """All of them write to one receiver, and none keeps the honest one waiting."""
    with world.receiver(bob) as receiver:
        for name, _what, word in ALL:
            world.broker.publish(bob, world.message(name, bob, f"I AM {name}".encode()).envelope())
        world.broker.publish(bob, world.message(alice, bob, b"LAST").envelope())
        receiver.wait_out("alice.good.test says: LAST\n")
        for name, _what, word in ALL:
            if word is None:
                receiver.wait_out(f"{name} says: I AM {name}\n")
            else:
                receiver.wait_word(word, sum(word == due for _, _, due in ALL))
        for name, _what, word in ALL:
            assert word is None or f"I AM {name}".encode() not in receiver.out, name
        receiver.alive()


def test_identity_check_of_another_key(world):
    """The name has a record, and it is not this key's."""
    name = world.identity("changed.good.test")
    assert world.run("identity", "check", name).status == 0
    world.knot.publish(name, "3 1 0 " + craft.spki(world.key("zed.good.test")).hex()
                       if (world.crypto / "zed.good.test.key.pem").exists()
                       else "3 1 1 " + "00" * 32)
    checked = world.run("identity", "check", name)
    assert checked.status == STATUS["certificate"], checked


def test_a_digest_alone_cannot_be_encrypted_to(world, alice):
    name = world.identity("digest.good.test", publish=False)
    world.knot.publish(name, *world.tlsa(name, "--selector", "1", "--matching-type", "1"))
    sent = world.run("send", name, "HELLO", me=alice)
    assert sent.status == STATUS["certificate"] and "certificate" in sent.err, sent
    world.knot.publish(name, *world.tlsa(name, "--selector", "1"))
    assert world.run("send", name, "HELLO", me=alice).status == 0


def test_a_name_that_is_an_alias(world, alice, bob):
    """A CNAME leads to the records; the identity stays the name that was asked for."""
    name = world.identity("alias.good.test", publish=False)
    world.knot.publish("target.good.test", *world.tlsa(name))
    world.knot.add(name, "CNAME", "target.good.test.")
    sent = world.run("seal", "--to", name, me=alice, input=b"TO AN ALIAS")
    assert sent.status == 0, sent
    assert world.run("open", me=name, input=sent.out).out == b"TO AN ALIAS"
    back = world.run("open", me=bob, input=world.message(name, bob).envelope())
    assert back.out == b"HELLO THERE" and name in back.err, back


@pytest.mark.slow
def test_a_server_that_comes_back(world, bob, tmp_path):
    """A message whose sender cannot be looked up now waits, and is delivered when he can."""
    late = SignedZone("late.test", [])
    name = "alice.late.test"
    world.identity(name, publish=False)
    late = SignedZone("late.test", [f"alice TLSA {world.tlsa(name)[0]}"])
    anchors = tmp_path / "anchors"
    anchors.write_text(world.anchors.read_text() + late.anchor)
    with Knot(tmp_path / "knot", {"late.test": late.text}) as knot:
        knot.stop()
        stubs = world.variables["DANEMSG_DNS_STUB"] + " " + knot.stub("late.test")
        with world.receiver(bob, DANEMSG_DNS_STUB=stubs, DANEMSG_TRUST_ANCHOR=anchors) as receiver:
            world.broker.publish(bob, world.message(name, bob, b"BE PATIENT").envelope())
            receiver.wait_word("dns-temporary")
            knot.start()
            receiver.wait_out(f"{name} says: BE PATIENT\n")


# -------------------------------------------------------------------------- two records at a name


@pytest.fixture(scope="module")
def rolling(world):
    """A name with two records, whose key of today is the second or the first of them."""
    def make(name, key, own_first):
        world.identity(name, key, publish=False)
        stranger = world.identity(f"other-{name}", key, publish=False)
        records = world.tlsa(name) + world.tlsa(stranger)
        world.knot.publish(name, *(records if own_first else records[::-1]))
        return name
    return make


@pytest.mark.parametrize("turn", range(3))
@pytest.mark.parametrize("key", ["p256", "rsa2048"])
def test_the_right_one_of_two_records_is_found_by_kid(world, rolling, bob, key, turn):
    name = rolling(f"two-{key}-{turn}.good.test", key, turn % 2 == 0)
    opened = world.run("open", me=bob, input=world.message(name, bob).envelope())
    assert opened.out == b"HELLO THERE", opened
    other = craft.Message(world.key(f"other-{name}"), name, world.key(bob), bob)
    assert world.run("open", me=bob, input=other.envelope()).out == b"HELLO THERE"
    stranger = craft.Message(world.key(bob), name, world.key(bob), bob)
    assert world.run("open", me=bob, input=stranger.envelope()).out == b""


@pytest.mark.parametrize("turn", range(3))
def test_without_kid_each_of_two_records_is_tried(world, rolling, rsa_bob, turn):
    name = rolling(f"poc-{turn}.good.test", "rsa2048", turn % 2 == 0)
    for signer in name, f"other-{name}":
        message = craft.poc(world.key(signer), name, world.key(rsa_bob), rsa_bob)
        opened = world.run("open", "--accept-poc", name, me=rsa_bob, input=message.envelope())
        assert opened.out == b"HELLO THERE", opened
    stranger = craft.poc(world.key(rsa_bob), name, world.key(rsa_bob), rsa_bob)
    refused = world.run("open", "--accept-poc", name, me=rsa_bob, input=stranger.envelope())
    assert refused.out == b"" and refused.status == STATUS["signature"], refused


def test_a_record_that_cannot_be_parsed_is_skipped(world, alice):
    name = world.identity("odd.good.test", publish=False)
    world.knot.publish(name, "3 0 0 3003020101", "3 9 9 00", "200 1 1 aa", *world.tlsa(name))
    sealed = world.run("seal", "--to", name, me=alice, input=b"STILL READABLE")
    assert sealed.status == 0, sealed
    assert world.run("open", me=name, input=sealed.out).out == b"STILL READABLE"


def test_servers_to_ask(world, alice):
    """--dns-server: everything is asked there, validated here, and one that is silent is passed by."""
    server = f"{LOOPBACK}@{world.knot.port}"
    silent = f"{LOOPBACK}@{NOBODY}"
    for servers in [server], [silent, server]:
        options = [word for server in servers for word in ("--dns-server", server)]
        found = world.run("lookup", alice, *options, DANEMSG_DNS_STUB=None)
        assert found.status == 0 and "secure" in found.text, found
    found = world.run("lookup", alice, "--dns-server", silent, DANEMSG_DNS_STUB=None)
    assert found.status == 4, found
    found = world.run("lookup", alice, DANEMSG_DNS_STUB=None, DANEMSG_DNS_SERVER=server)
    assert found.status == 0, found
    found = world.run("lookup", alice, "--dns-server", "nonsense")
    assert found.status in (1, 2) and "nonsense" in found.err, found
