"""Name servers that answer with rubbish, with lies, in pieces or never: each way has its word, and
none gives a key that is not signed for."""

import concurrent.futures
import json
import os
import random
import re
import subprocess
from pathlib import Path

import craft
import dns_script
import pytest
from cases import STATUS
from cryptography.hazmat.primitives.asymmetric import ec
from servers import PATIENCE, wait_for
from world import DANEMSG

BUILD = DANEMSG.parents[1]
ZONE = "script.test"
KEY = ec.generate_private_key(ec.SECP256R1())
RECORD = "3 1 0 " + craft.spki(KEY).hex()
WAITS = "dns-bogus", "dns-temporary"
WAVE = 100  # names looked up at once
WORDS = {**{label: None for label in dns_script.SECURE},
         **{label: "no-identity" for label in dns_script.DENIED},
         **{label: "dns-bogus" for label in dns_script.BOGUS},
         **{label: "dns-temporary" for label in dns_script.NOT_NOW}}


@pytest.fixture(scope="module")
def script(world, tmp_path_factory):
    with dns_script.Script(ZONE, RECORD, dns_script.WAYS) as script:
        anchors = tmp_path_factory.mktemp("script") / "anchors"
        anchors.write_text(world.anchors.read_text() + script.anchor)
        script.variables = {
            "DANEMSG_DNS_STUB": world.variables["DANEMSG_DNS_STUB"] + " " + script.stub(),
            "DANEMSG_TRUST_ANCHOR": anchors}
        yield script


@pytest.fixture(scope="module")
def found(world, script):
    """A few at a time; those that mostly wait, all at once."""
    quick = [label for label in WORDS if label not in dns_script.NOT_NOW]
    results = {}
    for labels, workers in (quick, 4), (list(dns_script.NOT_NOW), len(dns_script.NOT_NOW)):
        with concurrent.futures.ThreadPoolExecutor(workers) as pool:
            results.update(zip(labels, pool.map(
                lambda label: world.run("lookup", "--json", f"{label}.{ZONE}", **script.variables),
                labels)))
    return results


@pytest.mark.parametrize("label", WORDS)
def test_lookup(found, script, label):
    result, word = found[label], WORDS[label]
    answer = json.loads(result.text)
    status = {None: "secure", "no-identity": "secure", "dns-bogus": "bogus",
              "dns-temporary": "not-now"}[word]
    assert (answer["status"], result.status) == (status, STATUS.get(word, 0)), result
    assert word is None or f": {word}: " in result.err, result
    assert any(record["verifies"] for record in answer["records"]) == (word is None), result
    assert script.transports(label), "it was never asked"


@pytest.mark.parametrize("label, at_a_resolver, cached", [
    ("good", False, False), ("aged", False, True), ("good", True, False), ("aged", True, True),
    ("denied", True, False), ("denied-and-aged", True, True),
    ("denied-and-aged", False, False)])  # the zone's own server: libunbound mixes such proofs
def test_what_a_cache_on_the_way_had(world, script, label, at_a_resolver, cached):
    """Its TTLs tell, of an answer that came this moment: so it does not refuse for good."""
    variables = dict(script.variables)
    if at_a_resolver:
        variables |= {"DANEMSG_DNS_STUB": None, "DANEMSG_DNS_SERVER": script.server}
    answer = json.loads(world.run("lookup", "--json", f"{label}.{ZONE}", **variables).text)
    assert (answer["status"], answer["from_cache"]) == ("secure", cached), answer


def test_a_denial_speaks_of_one_name(script):
    """In one process: what is denied beside it is asked for all the same (not RFC 8198), or a new
    device would not be found as long as its neighbour's denial lives."""
    found = subprocess.run(
        [BUILD / "tests" / "unit" / "resolver_probe", "-p", BUILD / "libexec" / "danemsg-resolver", "-z",
         script.stub(), "-a", script.variables["DANEMSG_TRUST_ANCHOR"], f"denied-with-all.{ZONE}",
         f"good.{ZONE}"], capture_output=True, text=True, timeout=PATIENCE)
    answers = [json.loads(line) for line in found.stdout.splitlines()]
    assert [len(answer["records"]) for answer in answers] == [0, 1], found
    assert {answer["status"] for answer in answers} == {"secure"}, found


def test_a_chain_of_aliases_has_an_end(found, script):
    """One to an answer: eight are followed."""
    assert {label for label, _ in script.asked if re.fullmatch(r"far\d+", label)} == {
        f"far{number}" for number in range(9)}


def test_truncation_goes_on_over_tcp(found, script):
    assert set(script.transports("truncated")) == {"udp", "tcp"}
    assert set(script.transports("good")) == {"udp"}


def children(process):
    return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()


@pytest.mark.slow
def test_thousands_of_mutated_answers(world, bob, tmp_path):
    """Each of 3,000 senders is looked up by a receiver and answered with a lie that was altered at
    random. None is believed, each has one of the two words that let it wait, the receiver lives, and
    at the end it still hears a good sender."""
    seed = int(os.environ.get("DANEMSG_SEED", random.randrange(2 ** 32)))
    print(f"DANEMSG_SEED={seed}")
    count = int(os.environ.get("DANEMSG_ANSWERS", 3000))
    good = f"good.{ZONE}"
    with dns_script.Script(ZONE, RECORD, {"good": dns_script.good},
                           dns_script.mutated(seed)) as script:
        anchors = tmp_path / "anchors"
        anchors.write_text(world.anchors.read_text() + script.anchor)
        stubs = world.variables["DANEMSG_DNS_STUB"] + " " + script.stub()
        with world.receiver(bob, "--allow", f"*.{ZONE}", DANEMSG_DNS_STUB=stubs,
                            DANEMSG_TRUST_ANCHOR=anchors) as receiver:
            seen = set(children(receiver.process))
            # In waves, for a server that is too often wrong is left alone for a while.
            for start in range(0, count, WAVE):
                world.broker.publish_many(bob, [
                    craft.Message(KEY, f"m{number}.{ZONE}", world.key(bob), bob, b"A LIE").envelope()
                    for number in range(start, start + WAVE)], qos=1)
                wait_for(lambda: receiver.alive() and seen.update(children(receiver.process)) is None
                         and sum(map(receiver.count, WAITS)) >= start + WAVE,
                         f"{start + WAVE} words")
            world.broker.publish(bob, craft.Message(KEY, good, world.key(bob), bob,
                                                    b"THE TRUTH").envelope())
            receiver.wait_out(f"{good} says: THE TRUTH\n")
            assert receiver.out == f"{good} says: THE TRUTH\n".encode()
            words = set(re.findall(r"^danemsg receive: ([a-z-]+): ", receiver.err, re.MULTILINE))
            assert words == set(WAITS), words
            asked = {label for label, _ in script.asked}
            print(f"{count} names, {len(asked)} of them asked for in {len(script.asked)} questions; "
                  + ", ".join(f"{receiver.count(word)} {word}" for word in WAITS)
                  + f"; {len(seen)} resolver processes")
            assert len(asked) > count / 2
