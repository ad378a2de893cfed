"""Zones of every kind at a real NSD and a real Knot, and what `lookup` makes of each name in them: its
word, its exit status, its records; and what becomes of a message to it and from it."""

import concurrent.futures
import datetime
import json
import re
import time

import craft
import pytest
from cases import STATUS
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from servers import Knot, Nsd
from signed_zone import DAY, SignedZone, ZoneKey

MINUTE = 60

# The key of every name here.
KEY = ec.generate_private_key(ec.SECP256R1())
RECORD = "3 1 0 " + craft.spki(KEY).hex()
ALICE = f"alice TLSA {RECORD}"


class Row:
    """One name: what it is like, the word of it (None: a key is found), how many records."""

    def __init__(self, what, name, word=None, status=None, records=None, anchors=None):
        self.what, self.name, self.word, self.records = what, name, word, records
        self.status = status or {None: "secure", "no-identity": "secure", "certificate": "secure",
                                 "dns-insecure": "insecure", "dns-bogus": "bogus",
                                 "dns-temporary": "not-now"}[word]
        self.anchors = anchors


ZONES, ROWS, PLAIN = [], [], {}


class Recipe:
    """A zone, signed when the tests begin: the dates of some leave no time to lose."""

    def __init__(self, name, records, trusted=True, keys=None, **options):
        self.name, self.records, self.trusted, self.options = name, records, trusted, options
        self.keys = keys or [ZoneKey()]

    def ds_line(self, owner):
        """For the parent zone, in which this one's apex is called so."""
        return f"{owner} DS {self.keys[0].ds(self.name)}"

    def make(self):
        return SignedZone(self.name, self.records, keys=self.keys, **self.options)


def zone(*arguments, **options):
    ZONES.append(Recipe(*arguments, **options))
    return ZONES[-1]


def plain(name, records):
    PLAIN[name] = "\n".join([f"$ORIGIN {name}.", "$TTL 60", "@ SOA ns hostmaster 1 3600 900 604800 60",
                             "@ NS ns", "ns A 127.0.0.1", *records]) + "\n"


def row(*arguments, **options):
    ROWS.append(Row(*arguments, **options))


# ---------------------------------------------------------------------- algorithms, proofs, times

PAIRS = {kind: [ZoneKey(kind, "keys"), ZoneKey(kind, "zone")] for kind in ("ecdsa", "rsa")}
for kind, pair in PAIRS.items():
    for proof, nsec3 in ("nsec", None), ("nsec3", 0):
        name = f"{kind}-{proof}.test"
        zone(name, [ALICE, f"x.deep TLSA {RECORD}"], nsec3=nsec3, keys=pair)
        row(f"{name}: a record", f"alice.{name}")
        row(f"{name}: no such name", f"nobody.{name}", "no-identity")
        row(f"{name}: no such name, deep", f"not.there.either.{name}", "no-identity")
        row(f"{name}: no such type", f"ns.{name}", "no-identity")
        row(f"{name}: an empty non-terminal", f"deep.{name}", "no-identity")

for what, name, times, word in [
        ("expired 3 hours ago", "past", (-30 * DAY, -DAY // 8), "dns-bogus"),
        ("expired half an hour ago", "lately", (-30 * DAY, -30 * MINUTE), None),
        ("valid from tomorrow on", "future", (DAY, 7 * DAY), "dns-bogus"),
        ("valid in half an hour", "soon", (30 * MINUTE, 30 * DAY), None)]:
    zone(f"{name}.test", [ALICE], inception=times[0], expiration=times[1])
    row(f"signatures {what}", f"alice.{name}.test", word)
    row(f"denial with signatures {what}", f"nobody.{name}.test", word or "no-identity")

zone("turned.test", [ALICE, f"bob TLSA {RECORD}"],
     broken=[("alice.turned.test", "TLSA"), ("turned.test", "SOA"), ("ns.turned.test", "NSEC")])
row("a signature with a bit turned over", "alice.turned.test", "dns-bogus")
row("its neighbour", "bob.turned.test")
row("a denial with a bit turned over", "ns.turned.test", "dns-bogus")

# ------------------------------------------------------------------------------ rolling zone keys

OLD, NEW = ZoneKey(signs="keys"), ZoneKey(signs="keys")


def rolled(name, word_old, word_new, *keys):
    """The zone, looked up by those who trust the old key signing key, the new one, and both."""
    zone(name, [ALICE], trusted=False, keys=keys)
    old, new = OLD.anchor(name), NEW.anchor(name)
    for what, anchors, word in [("the old key", old, word_old), ("the new key", new, word_new),
                                ("the DS of both", OLD.anchor(name, "DS") + NEW.anchor(name, "DS"),
                                 word_old and word_new)]:
        row(f"{name}, trusting {what}", f"alice.{name}", word, anchors=anchors)


SIGNING = ZoneKey(signs="zone")
LISTED = ZoneKey(signs="nothing", flags=256)
GONE = ZoneKey(signs="zone", listed=False)
rolled("ksk-before.test", None, "dns-bogus", OLD, SIGNING)
rolled("ksk-both.test", None, None, OLD, NEW, SIGNING)
rolled("ksk-after.test", "dns-bogus", None, NEW, SIGNING)
rolled("zsk-listed.test", None, "dns-bogus", OLD, SIGNING, LISTED)
rolled("zsk-both.test", None, "dns-bogus", OLD, SIGNING, ZoneKey(signs="zone"))
rolled("zsk-too-early.test", "dns-bogus", "dns-bogus", OLD, LISTED, GONE)

# -------------------------------------------------------------------------------- many and large


def certificate(size):
    """A certificate of KEY of so many octets: a CA's signature is of one length."""
    ca = ed25519.Ed25519PrivateKey.generate()
    padding = 0
    while True:
        builder = (x509.CertificateBuilder().subject_name(x509.Name([])).issuer_name(x509.Name([]))
                   .public_key(KEY.public_key()).serial_number(1)
                   .not_valid_before(datetime.datetime(2026, 1, 1))
                   .not_valid_after(datetime.datetime(2126, 1, 1))
                   .add_extension(x509.UnrecognizedExtension(
                       x509.ObjectIdentifier("1.3.6.1.4.1.99999.1"), bytes(padding)), False))
        der = builder.sign(ca, None).public_bytes(serialization.Encoding.DER)
        if len(der) == size:
            return der
        padding += size - len(der)


DIGESTS = sorted(f"3 1 1 {number:064x}" for number in range(64))
zone("many.test", [f"most TLSA {record}" for record in [RECORD, *DIGESTS[:63]]]
     + [f"over TLSA {record}" for record in [RECORD, *DIGESTS]]
     + [f"hidden TLSA {record.replace('3 1 1', '3 0 9')}" for record in DIGESTS]
     + [f"hidden TLSA {RECORD}"])
row("64 records", "most.many.test", records=64)
row("65 records, the key among the first", "over.many.test", records=64)
row("65 records, the key the last", "hidden.many.test", "certificate", records=64)
zone("large.test", [f"{name} TLSA 3 0 0 {certificate(size - 3).hex()}" for name, size in
                    [("most", 8192), ("over", 8193)]])
row("a record of 8 KiB", "most.large.test", records=1)
row("a record of 8 KiB and an octet", "over.large.test", "certificate", records=0)

# ----------------------------------------------------------------------------- aliases, wildcards

zone("one.test", ["alice CNAME alice.two.test.", "self CNAME self", "loop CNAME loop.two.test.",
                  "plain CNAME alice.plainly.test.", "bogus CNAME alice.turned.test.",
                  "nowhere CNAME nobody.three.test.", "none CNAME ns.three.test.",
                  "tree DNAME tree.three.test.",
                  *(f"near{n} CNAME near{n + 1}" for n in range(40)), f"near40 TLSA {RECORD}",
                  *(f"far{n} CNAME far{n}.two.test." for n in range(20)), f"far20 TLSA {RECORD}"])
zone("two.test", ["alice CNAME alice.three.test.", "loop CNAME loop.one.test.",
                  *(f"far{n} CNAME far{n + 1}.one.test." for n in range(20))])
zone("three.test", [ALICE, f"*.wild TLSA {RECORD}", f"real.wild TLSA {RECORD}", "other.wild A 127.0.0.1",
                    f"*.forged TLSA {RECORD}", f"x.tree TLSA {RECORD}"],
     broken=[("*.forged.three.test", "TLSA")], nsec3=0)
zone("four.test", [f"*.wild TLSA {RECORD}", f"real.wild TLSA {RECORD}", "other.wild A 127.0.0.1"])
plain("plainly.test", [ALICE, "alias CNAME alice.three.test."])
row("an alias of an alias, three zones", "alice.one.test")
row("an alias that goes into an unsigned zone", "plain.one.test", "dns-insecure")
row("an alias that comes out of an unsigned zone", "alias.plainly.test", "dns-insecure")
row("an alias of a bogus name", "bogus.one.test", "dns-bogus")
row("an alias of itself", "self.one.test", "dns-temporary")
row("two aliases of each other", "loop.one.test", "dns-temporary")
row("an alias of no name", "nowhere.one.test", "no-identity")
row("an alias of a name without a record", "none.one.test", "no-identity")
row("40 aliases in one zone", "near0.one.test")
row("4 aliases from zone to zone", "far18.one.test")
row("40 aliases from zone to zone, in one answer", "far0.one.test")
row("below a DNAME", "x.tree.one.test")
for name in "three.test", "four.test":
    row(f"out of a wildcard, {name}", f"any.wild.{name}")
    row(f"deep out of a wildcard, {name}", f"a.b.c.wild.{name}")
    row(f"beside a wildcard, {name}", f"real.wild.{name}")
    row(f"a name that hides the wildcard, {name}", f"other.wild.{name}", "no-identity")
row("out of a wildcard that is forged", "any.forged.three.test", "dns-bogus")

# ------------------------------------------------------------------------------------ delegations


def delegated(name, parent_lines, **options):
    """A zone that is trusted by way of its parent, which gets these lines."""
    made = zone(name, [ALICE, *options.pop("records", [])], trusted=False, **options)
    label = name.split(".")[0]
    parent_lines += [f"{label} NS ns.{label}", f"ns.{label} A 127.0.0.1"]
    return made


PARENT, CHILD, SPARSE = [ALICE], [], [ALICE]
GRAND = delegated("grand.child.parent.test", CHILD)
CHILD.append(GRAND.ds_line("grand"))
PARENT.append(delegated("child.parent.test", PARENT, records=CHILD, nsec3=0).ds_line("child"))
delegated("wrong.parent.test", PARENT)
PARENT.append("wrong DS " + str(OLD.ds("wrong.parent.test")))
ODD = delegated("odd.parent.test", PARENT, keys=[ZoneKey(number=200)])
PARENT.append(ODD.ds_line("odd"))
DIGEST = delegated("digest.parent.test", PARENT)
PARENT.append(f"digest DS {DIGEST.keys[0].ds('digest.parent.test').key_tag} 13 200 {'00' * 32}")
EXPIRED = delegated("expired.parent.test", PARENT, inception=-30 * DAY, expiration=-DAY)
PARENT.append(EXPIRED.ds_line("expired"))
delegated("noted.parent.test", PARENT)  # signed, and its parent does not say so
for lines in PARENT, SPARSE:
    lines += ["bare NS ns.bare", "ns.bare A 127.0.0.1"]
for name in "bare.parent.test", "bare.sparse.test":
    plain(name, [ALICE])
SPARSE.append(delegated("child.sparse.test", SPARSE).ds_line("child"))
zone("parent.test", PARENT)
zone("sparse.test", SPARSE, nsec3=0, opt_out=True)
zone("worked.test", [ALICE], nsec3=50)
zone("overworked.test", [ALICE], nsec3=51)
zone("odd.test", [ALICE], keys=[ZoneKey(number=200)])
row("below a signed delegation", "alice.child.parent.test")
row("no name below a signed delegation", "nobody.child.parent.test", "no-identity")
row("below two signed delegations", "alice.grand.child.parent.test")
row("below an unsigned delegation", "alice.bare.parent.test", "dns-insecure")
row("signed, and the parent does not say so", "alice.noted.parent.test", "dns-insecure")
row("a DS that matches no key", "alice.wrong.parent.test", "dns-bogus")
row("expired below a signed delegation", "alice.expired.parent.test", "dns-bogus")
row("a DS with an unknown algorithm", "alice.odd.parent.test", "dns-insecure")
row("a DS with an unknown digest", "alice.digest.parent.test", "dns-insecure")
row("a trust anchor with an unknown algorithm", "alice.odd.test", "dns-insecure")
row("opt-out: a record", "alice.sparse.test")
row("opt-out: below a signed delegation", "alice.child.sparse.test")
row("opt-out: below an unsigned delegation", "alice.bare.sparse.test", "dns-insecure")
row("opt-out: no such name", "nobody.sparse.test", "dns-insecure")
row("NSEC3 with 50 iterations: a record", "alice.worked.test")
row("NSEC3 with 50 iterations: no such name", "nobody.worked.test", "no-identity")
row("NSEC3 with 51 iterations: a record", "alice.overworked.test")
row("NSEC3 with 51 iterations: no such name", "nobody.overworked.test", "dns-insecure")

# -------------------------------------------------------------------------------------- the tests


class Zones:
    """The name server and the variables of one who asks it, for each choice of trust anchors."""

    def __init__(self, server, trusted, folder):
        self.folder, self.anchors = folder, {}
        # Delegations say port 53, where nobody is.
        below = [name for name in [made.name for made in ZONES] + list(PLAIN)
                 if name.count(".") > 1 or name in ("parent.test", "sparse.test")]
        self.stubs = " ".join(map(server.stub, ["test", *below]))
        self.trusted = trusted

    def variables(self, anchors=None):
        if anchors not in self.anchors:
            self.anchors[anchors] = self.folder / f"anchors-{len(self.anchors)}"
            self.anchors[anchors].write_text(anchors or self.trusted)
        return {"DANEMSG_DNS_STUB": self.stubs, "DANEMSG_TRUST_ANCHOR": self.anchors[anchors]}


@pytest.fixture(scope="module", params=[Nsd, pytest.param(Knot, marks=pytest.mark.slow)],
                ids=["nsd", "knot"])
def zones(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("zones")
    made = {recipe: recipe.make() for recipe in ZONES}
    texts = {recipe.name: zone.text for recipe, zone in made.items()}
    trusted = "".join(zone.anchor for recipe, zone in made.items() if recipe.trusted)
    with request.param(folder / "server", {**texts, **PLAIN}) as server:
        yield Zones(server, trusted, folder)


@pytest.fixture(scope="module")
def found(world, zones):
    """What lookup says of every row, many at a time since some wait."""
    variables = [zones.variables(row.anchors) for row in ROWS]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = pool.map(lambda pair: world.run("lookup", "--json", pair[0].name, **pair[1]),
                           zip(ROWS, variables))
        return dict(zip(ROWS, results))


@pytest.mark.parametrize("row", ROWS, ids=[row.what for row in ROWS])
def test_lookup(found, row):
    result = found[row]
    answer = json.loads(result.text)
    assert (answer["status"], result.status) == (row.status, STATUS.get(row.word, 0)), result
    assert row.word is None or f": {row.word}: " in result.err, result
    usable = [record for record in answer["records"] if record["encrypts_to"]]
    assert len(usable) == (row.word is None), result
    assert row.records is None or len(answer["records"]) == row.records, result
    if row.status == "secure":
        assert answer["exists"] == (row.word != "no-identity"), result
    if row.word == "no-identity":
        assert answer["ttl"] <= 5, "a denial is kept no longer, whatever the zone says"


def test_lookup_says_that_signatures_have_expired(world, zones):
    shown = {name: world.run("lookup", f"alice.{name}.test", **zones.variables()).text
             for name in ("lately", "soon")}
    assert re.search(r"signed until .*Z, which has passed;", shown["lately"]), shown
    assert re.search(r"signed until .*Z, another 29 days", shown["soon"]), shown


# ------------------------------------------------------------------- what becomes of a message

# Rows whose senders write to a receiver, and to whom somebody writes.
LIVELY = ["an alias of an alias, three zones", "below a DNAME", "out of a wildcard, three.test",
          "below two signed delegations", "64 records", "a record of 8 KiB",
          "65 records, the key the last", "an alias that goes into an unsigned zone",
          "an alias of a bogus name", "two aliases of each other", "a DS that matches no key",
          "a DS with an unknown algorithm", "opt-out: no such name",
          "out of a wildcard that is forged", "signatures valid from tomorrow on",
          "a record of 8 KiB and an octet"]
LIVELY = [row for row in ROWS if row.what in LIVELY]
WAITS = "dns-temporary", "dns-bogus"


def test_the_rows_are_there():
    assert len(LIVELY) == 16 and all(row.anchors is None for row in LIVELY)


@pytest.mark.parametrize("row", LIVELY, ids=[row.what for row in LIVELY])
def test_seal(world, zones, alice, row):
    sealed = world.run("seal", "--to", row.name, me=alice, input=b"HELLO", **with_world(world, zones))
    assert sealed.status == STATUS.get(row.word, 0), sealed
    assert (sealed.out == b"") == (row.word is not None), sealed


def with_world(world, zones):
    """The variables under which both the zones here and the world's can be looked up."""
    anchors = world.anchors.read_text() + zones.trusted
    return {**zones.variables(anchors), "DANEMSG_DNS_STUB": " ".join(
        [zones.stubs, world.knot.stub("good.test")])}


def test_receive(world, zones, bob):
    """A good sender's message is delivered; a bogus or absent answer keeps it waiting; all else
    refuses it. And none of them keeps a good one waiting."""
    with world.receiver(bob, **with_world(world, zones)) as receiver:
        for row in LIVELY:
            message = craft.Message(KEY, row.name, world.key(bob), bob, f"I AM {row.name}".encode())
            world.broker.publish(bob, message.envelope())
        for row in LIVELY:
            if row.word is None:
                receiver.wait_out(f"{row.name} says: I AM {row.name}\n")
            else:
                receiver.wait_word(row.word, sum(row.word == other.word for other in LIVELY))
        for row in LIVELY:
            assert row.word is None or f"I AM {row.name}".encode() not in receiver.out, row.name
        waiting = {row.name for row in LIVELY if row.word in WAITS}
        told = re.findall(r"1 message of this sender waits: .*\(says it is from ([^)]*)\)",
                          receiver.err)
        assert set(told) == waiting, receiver.err


@pytest.mark.slow
def test_a_zone_rolls_its_keys_while_a_receiver_runs(world, bob, tmp_path):
    """Both keys of a zone are replaced in the proper order (RFC 6781 section 4.1) under a receiver
    that keeps what it has validated: new senders are heard at every step."""
    ttl, name = 2, "live.test"
    old, new = ZoneKey(signs="keys"), ZoneKey(signs="keys")
    signing, next_signing = ZoneKey(signs="zone"), ZoneKey(signs="zone")
    steps = [[old, signing], [old, new, signing, next_signing.but("nothing")],
             [old, new, signing.but("nothing"), next_signing], [new, next_signing]]
    senders = [f"sender{number} TLSA {RECORD}" for number in range(len(steps))]

    def text(number):
        return SignedZone(name, senders, keys=steps[number], ttl=ttl, serial=number + 1).text

    anchors = tmp_path / "anchors"
    anchors.write_text(world.anchors.read_text() + old.anchor(name, "DS") + new.anchor(name, "DS"))
    with Nsd(tmp_path / "nsd", {name: text(0)}) as server:
        stubs = world.variables["DANEMSG_DNS_STUB"] + " " + server.stub(name)
        with world.receiver(bob, DANEMSG_DNS_STUB=stubs, DANEMSG_TRUST_ANCHOR=anchors) as receiver:
            for number in range(len(steps)):
                if number > 0:
                    server.reload(name, text(number))
                    time.sleep(ttl + 1)  # what is cached must be gone before the next step
                sender = f"sender{number}.{name}"
                message = craft.Message(KEY, sender, world.key(bob), bob, b"AT EVERY STEP")
                world.broker.publish(bob, message.envelope())
                receiver.wait_out(f"{sender} says: AT EVERY STEP\n")
            assert not re.search(r"dns-(bogus|temporary)", receiver.err), receiver.err
