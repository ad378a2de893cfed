"""Everything that is not exactly right is refused with its word, and nothing of it is shown."""

import craft
import pytest
from cases import CASES, STATUS
from servers import wait_for


@pytest.fixture(scope="module")
def people(alice, bob, carol, mallory, rsa_alice, rsa_bob):
    return {"alice": alice, "bob": bob, "carol": carol, "mallory": mallory,
            "rsa_alice": rsa_alice, "rsa_bob": rsa_bob}


def sealed(world, people, case, change):
    message = world.message(people[case.sender], people[case.recipient])
    change(message)
    return message.envelope()


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_is_refused_beside_its_twin(world, people, case):
    me = people[case.recipient]
    good = world.run("open", me=me, input=sealed(world, people, case, case.good))
    assert (good.status, good.out) == (0, b"HELLO THERE"), good
    bad = world.run("open", me=me, input=sealed(world, people, case, case.bad))
    assert bad.out == b"", bad
    assert f" {case.word}:" in bad.err, bad
    assert bad.status == STATUS[case.word], bad


def test_for_someone_else(world, alice, bob, carol):
    envelope = world.message(alice, carol).envelope()
    assert world.run("open", me=carol, input=envelope).out == b"HELLO THERE"
    refused = world.run("open", me=bob, input=envelope)
    assert (refused.status, refused.out) == (13, b"") and "not-for-me" in refused.err, refused


def test_mallory_is_only_mallory(world, alice, bob, mallory):
    own = world.run("open", me=bob, input=world.message(mallory, bob).envelope())
    assert own.out == b"HELLO THERE" and mallory in own.err, own
    as_alice = craft.Message(world.key(mallory), alice, world.key(bob), bob)
    refused = world.run("open", me=bob, input=as_alice.envelope())
    assert refused.out == b"" and refused.status == STATUS["certificate"], refused


def test_from_insists_on_a_sender(world, alice, bob, mallory):
    envelope = world.message(mallory, bob).envelope()
    assert world.run("open", "--from", mallory, me=bob, input=envelope).out == b"HELLO THERE"
    refused = world.run("open", "--from", alice, me=bob, input=envelope)
    assert (refused.status, refused.out) == (STATUS["policy"], b""), refused


def test_proof_of_concept_messages_need_leave(world, rsa_alice, rsa_bob):
    envelope = world.message(rsa_alice, rsa_bob, make=craft.poc).envelope()
    refused = world.run("open", me=rsa_bob, input=envelope)
    assert (refused.status, refused.out) == (STATUS["unbound"], b""), refused
    allowed = world.run("open", "--accept-poc", rsa_alice, me=rsa_bob, input=envelope)
    assert allowed.out == b"HELLO THERE" and "not addressed" in allowed.err, allowed


def test_open_says_that_replays_are_not_its_business(world, alice, bob):
    envelope = world.message(alice, bob).envelope()
    for _ in range(2):
        opened = world.run("open", me=bob, input=envelope)
        assert opened.out == b"HELLO THERE" and "replay not checked" in opened.err, opened


def test_a_running_receiver_refuses_them_all_and_goes_on(world, people, alice, bob):
    """Every case for bob, an honest message in between; each word as often as it is due."""
    cases = [case for case in CASES if case.recipient == "bob"]
    due = {}
    with world.receiver(bob) as receiver:
        for number, case in enumerate(cases):
            world.broker.publish_many(bob, [sealed(world, people, case, case.bad)])
            due[case.word] = due.get(case.word, 0) + 1
            if number % 20 == 0:
                text = f"honest {number}".encode()
                world.broker.publish(bob, world.message(alice, bob, text).envelope())
                receiver.wait_out(b"alice.good.test says: " + text + b"\n")
        for word, count in due.items():
            receiver.wait_word(word, count)
        world.broker.publish(bob, world.message(alice, bob, b"LAST").envelope())
        receiver.wait_out("alice.good.test says: LAST\n")
        lines = receiver.out.splitlines()
        honest = len(range(0, len(cases), 20)) + 1
        assert len(lines) == honest and b"HELLO THERE" not in receiver.out
        assert receiver.stop() == 0, receiver.err


def test_a_replay_is_delivered_once(world, alice, bob):
    envelope = world.message(alice, bob, b"ONCE").envelope()
    with world.receiver(bob) as receiver:
        world.broker.publish(bob, envelope)
        receiver.wait_out("alice.good.test says: ONCE\n")
        for _ in range(2):
            world.broker.publish(bob, envelope)
        receiver.wait_word("replay", 2)
        assert receiver.out.count(b"ONCE") == 1


def test_published_on_another_topic(world, alice, bob):
    """The topic is signed: what was made for one topic is refused on another."""
    elsewhere = world.message(alice, bob, b"ELSEWHERE")
    elsewhere.claims["topic"] = "another/topic"
    with world.receiver(bob) as receiver:
        world.broker.publish(bob, elsewhere.envelope())
        receiver.wait_word("audience")
        world.broker.publish(bob, world.message(alice, bob, b"HERE").envelope())
        receiver.wait_out("alice.good.test says: HERE\n")
        assert b"ELSEWHERE" not in receiver.out


def test_a_policy_names_who_may_write(world, alice, bob, rsa_alice):
    with world.receiver(bob, "--allow", "*.rsa.test") as receiver:
        world.broker.publish(bob, world.message(alice, bob, b"NOT ALLOWED").envelope())
        receiver.wait_word("policy")
        world.broker.publish(bob, world.message(rsa_alice, bob, b"ALLOWED").envelope())
        receiver.wait_out("alice.rsa.test says: ALLOWED\n")
        assert b"NOT ALLOWED" not in receiver.out


def test_poc_is_refused_after_v1(world, rsa_alice, rsa_bob):
    def poc(text):
        return world.message(rsa_alice, rsa_bob, text, make=craft.poc).envelope()

    with world.receiver(rsa_bob, "--accept-poc", "*.rsa.test") as receiver:
        envelope = poc(b"OLD ONE")
        world.broker.publish(rsa_bob, envelope)
        receiver.wait_out("alice.rsa.test says: OLD ONE\n")
        world.broker.publish(rsa_bob, envelope)
        receiver.wait_word("replay")
        world.broker.publish(rsa_bob, world.message(rsa_alice, rsa_bob, b"NEW").envelope())
        receiver.wait_out("alice.rsa.test says: NEW\n")
        world.broker.publish(rsa_bob, poc(b"OLD TWO"))
        receiver.wait_word("unbound")
        assert receiver.out.count(b"OLD") == 1 and b"OLD TWO" not in receiver.out
        wait_for(lambda: "not addressed, not replay-protected" in receiver.err, "the warning")
