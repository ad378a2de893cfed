"""Every suite with every other implementation at hand, in both directions and both forms: what one
side makes the other reads, and with one bit changed neither of them does. What a peer does not have,
and what our strictness refuses on purpose, is in the two lists below, and is asserted like the rest.
"""

import base64
import json

import pytest
from interop_peers import Key, Missing, Program, Refused, make_peer

PEERS = ["jwcrypto", "latchset", "rhonabwy", "cjose", "npm"]
KEYS = {"RSA": {"kty": "RSA", "size": 2048}, "P-256": {"kty": "EC", "crv": "P-256"},
        "P-384": {"kty": "EC", "crv": "P-384"}, "P-521": {"kty": "EC", "crv": "P-521"},
        "Ed25519": {"kty": "OKP", "crv": "Ed25519"}, "X25519": {"kty": "OKP", "crv": "X25519"}}
SIGNATURES = [("RS256", "RSA"), ("ES256", "P-256"), ("ES384", "P-384"), ("ES512", "P-521"),
              ("EdDSA", "Ed25519")]
ENCRYPTIONS = [("RSA-OAEP-256", "RSA"), ("ECDH-ES+A256KW", "P-256"), ("ECDH-ES+A256KW", "P-384"),
               ("ECDH-ES+A256KW", "P-521"), ("ECDH-ES+A256KW", "X25519")]
ENCS = ["A256GCM", "A256CBC-HS512"]
FORMS = ["compact", "flattened"]

# Octets, not text, and of a length that is no whole number of blocks or base64 groups.
PAYLOAD = "GRÜẞE ".encode() + bytes(range(256))

ANY = None
READS, MAKES = "the peer reads ours", "we read the peer's"

# peer, direction, JWS or JWE, alg, key, form: what it cannot do, and why.
LACKS = [
    ("latchset", ANY, ANY, ANY, "Ed25519", ANY, "has no OKP keys"),
    ("latchset", ANY, ANY, ANY, "X25519", ANY, "has no OKP keys"),
    ("latchset", ANY, "JWE", "RSA-OAEP-256", ANY, ANY, "has no RSA-OAEP when built with OpenSSL 3"),
    ("rhonabwy", ANY, "JWE", ANY, "P-521", ANY, "agrees on no key with P-521"),
    ("rhonabwy", READS, "JWS", ANY, ANY, "flattened",
     "reads no flattened JWS without an unprotected header, not even its own"),
    ("cjose", ANY, "JWS", "EdDSA", ANY, ANY, "has no OKP keys"),
    ("cjose", ANY, "JWS", ANY, ANY, "flattened", "has the compact form of a JWS only"),
    ("cjose", ANY, "JWE", ANY, ANY, ANY, "has neither RSA-OAEP-256 nor ECDH-ES+A256KW"),
]

# peer, alg, form: what we do not read, what stands there, and why.
REFUSED_BY_US = [
    ("jwcrypto", "ECDH-ES+A256KW", "flattened", {"epk"}, "epk is not protected"),
    ("latchset", "ECDH-ES+A256KW", "flattened", {"epk"}, "epk is not protected"),
    ("rhonabwy", "RSA-OAEP-256", "flattened", {"alg"}, "alg is not protected"),
    ("rhonabwy", "ECDH-ES+A256KW", "flattened", {"alg", "epk"}, "alg and epk are not protected"),
]

results = {}


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jwk")
    return {name: Key(folder, name, **parameters) for name, parameters in KEYS.items()}


@pytest.fixture(scope="session")
def ours():
    return Program("ours")


@pytest.fixture(scope="session")
def peers(tmp_path_factory):
    """Implementations by name, made when they are first asked for."""
    made, folder = {}, tmp_path_factory.mktemp("interop")

    def get(name):
        if name not in made:
            try:
                made[name] = make_peer(name, folder)
            except Missing as reason:
                made[name] = reason
        if isinstance(made[name], Missing):
            pytest.skip(f"{name}: {made[name]}")
        return made[name]

    yield get
    for peer in made.values():
        if hasattr(peer, "close"):
            peer.close()


class Case:
    """One suite in one form."""

    def __init__(self, alg, key, form, enc=None):
        self.kind = "JWE" if enc else "JWS"
        self.alg, self.key, self.form, self.enc = alg, key, form, enc
        self.id = "-".join(filter(None, (alg, key, enc, form)))
        self.row = " ".join(filter(None, (alg, key, enc)))

    def make(self, who, keys):
        if self.enc:
            return who.encrypt(keys[self.key], self.alg, self.enc, self.form, PAYLOAD)
        return who.sign(keys[self.key], self.alg, self.form, PAYLOAD)

    def read(self, who, keys, text):
        if self.enc:
            return who.decrypt(keys[self.key], self.alg, self.enc, text)
        return who.verify(keys[self.key], self.alg, text)

    def lacking(self, peer, direction):
        mine = (peer, direction, self.kind, self.alg, self.key, self.form)
        return next((row[-1] for row in LACKS
                     if all(wanted in (ANY, is_so) for wanted, is_so in zip(row, mine))), None)

    def refused(self, peer):
        return next((row[3:] for row in REFUSED_BY_US if row[:3] == (peer, self.alg, self.form)),
                    None)

    def parts(self):
        return (["protected", "encrypted_key", "iv", "ciphertext", "tag"] if self.enc
                else ["protected", "payload", "signature"])

    def flipped(self, text, part):
        """One bit of a part's octets changed."""
        names = self.parts()
        compact = not text.startswith(b"{")
        parts = dict(zip(names, text.decode().split("."))) if compact else json.loads(text)
        octets = bytearray(base64.urlsafe_b64decode(parts[part] + "=="))
        octets[len(octets) // 2] ^= 1
        parts[part] = base64.urlsafe_b64encode(octets).decode().rstrip("=")
        return (".".join(parts[name] for name in names) if compact else json.dumps(parts)).encode()


CASES = [Case(alg, key, form) for alg, key in SIGNATURES for form in FORMS] + [
    Case(alg, key, form, enc) for alg, key in ENCRYPTIONS for enc in ENCS for form in FORMS]

matrix = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
every_peer = pytest.mark.parametrize("peer_name", PEERS)


def note(peer_name, case, direction, what):
    results[peer_name, case.row, direction, case.form] = what


def check_twins(case, keys, text, *readers):
    """Every part but the header, whose change no reader could miss."""
    for part in case.parts()[1:]:
        for reader in readers:
            with pytest.raises(Refused):
                case.read(reader, keys, case.flipped(text, part))


def check_lack(case, peer, keys, text):
    with pytest.raises(Refused):
        case.make(peer, keys) if text is None else case.read(peer, keys, text)


@matrix
@every_peer
def test_the_peer_reads_ours(peers, ours, keys, peer_name, case):
    peer = peers(peer_name)
    text = case.make(ours, keys)
    assert case.read(ours, keys, text) == PAYLOAD
    if case.lacking(peer_name, READS):
        check_lack(case, peer, keys, text)
        note(peer_name, case, READS, "lacks")
        return
    assert case.read(peer, keys, text) == PAYLOAD
    check_twins(case, keys, text, ours, peer)
    note(peer_name, case, READS, "yes")


@matrix
@every_peer
def test_we_read_the_peers(peers, ours, keys, peer_name, case):
    peer = peers(peer_name)
    if case.lacking(peer_name, MAKES):
        check_lack(case, peer, keys, None)
        note(peer_name, case, MAKES, "lacks")
        return
    text = case.make(peer, keys)
    assert text.startswith(b"{") == (case.form == "flattened")
    if case.refused(peer_name):
        check_refused(case, peer, ours, keys, text, case.refused(peer_name)[0])
        note(peer_name, case, MAKES, "refused")
        return
    assert case.read(ours, keys, text) == PAYLOAD
    check_twins(case, keys, text, ours, *[] if case.lacking(peer_name, READS) else [peer])
    note(peer_name, case, MAKES, "yes")


def check_refused(case, peer, ours, keys, text, unprotected):
    """It is a good one, but for where its header stands."""
    assert unprotected <= set(json.loads(text)["header"])
    assert case.read(peer, keys, text) == PAYLOAD
    with pytest.raises(Refused, match="unprotected headers"):
        case.read(ours, keys, text)
    check_twins(case, keys, text, peer)


def test_the_table(capsys):
    """Prints what was found, after the others."""
    if not results:
        pytest.skip("nothing of the matrix was run")
    peers = [name for name in PEERS if any(key[0] == name for key in results)]
    signs = {"yes": "+", "lacks": "-", "refused": "x", None: " "}

    def cell(name, row, direction):
        return "".join(signs[results.get((name, row, direction, form))] for form in FORMS)

    rows = list(dict.fromkeys(case.row for case in CASES))
    lines = ["", f"{'compact and flattened':<36}" + "".join(f"{name:>12}" for name in peers)]
    for row in rows:
        lines.append(f"{row:<36}" + "".join(
            f"{cell(name, row, READS) + ' ' + cell(name, row, MAKES):>12}" for name in peers))
    lines.append("the peer reads ours, we read the peer's: + yes, - the peer cannot, x refused here "
                 "on purpose")
    with capsys.disabled():
        print("\n".join(lines))
