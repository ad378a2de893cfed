"""Other implementations as peers: jwcrypto with keys out of the TLSA records, in both directions,
and the proof of concept's own steps."""

import json

import craft
import peer_jwcrypto as peer
import pytest
from cases import STATUS

KEYS = ["p256", "p384", "p521", "ed25519", "rsa2048"]


@pytest.fixture(scope="module")
def people(world):
    return {key: world.identity(f"{key}.good.test", key) for key in KEYS}


def decryption_key(world, name):
    return peer.to_jwk(world.encryption_key(name))


def encryption_record_key(world, name):
    """What a peer encrypts to: the key in DNS that is not for signatures only."""
    keys = [key for key in peer.record_keys(world.knot.records(name))
            if key.get("crv") != "Ed25519"]
    assert len(keys) == 1
    return keys[0]


@pytest.mark.parametrize("recipient", KEYS)
@pytest.mark.parametrize("sender", KEYS)
def test_a_peer_opens_what_we_write(world, people, sender, recipient):
    sender, recipient = people[sender], people[recipient]
    sealed = world.run("seal", "--to", recipient, me=sender, input="GRÜẞE".encode())
    assert sealed.status == 0, sealed
    payload, who, claims, header = peer.open_envelope(
        sealed.out, decryption_key(world, recipient), world.knot.records)
    assert (payload.decode(), who) == ("GRÜẞE", sender)
    assert claims["aud"] == recipient and claims["typ"] == "danemsg+jws"
    assert claims["kid"] == craft.kid(world.key(sender))
    assert 0 < claims["exp"] - claims["iat"] == 7 * 86400 and len(claims["jti"]) == 22
    assert header["kid"] == craft.kid(world.encryption_key(recipient))
    assert header["enc"] == "A256GCM" and header["cty"] == "danemsg+jws"


@pytest.mark.parametrize("enc", ["A256GCM", "A256CBC-HS512"])
@pytest.mark.parametrize("recipient", KEYS)
@pytest.mark.parametrize("sender", KEYS)
def test_we_open_what_a_second_make_writes(world, people, sender, recipient, enc):
    message = world.message(people[sender], people[recipient])
    message.jwe_header["enc"] = enc
    opened = world.run("open", me=people[recipient], input=message.envelope())
    assert opened.out == b"HELLO THERE", opened


def peers_message(world, sender, recipient, **form):
    model = world.message(sender, recipient)
    return peer.seal(peer.to_jwk(world.key(sender)), model.claims,
                     encryption_record_key(world, recipient), model.jwe_header, b"FROM A PEER",
                     **form)


@pytest.mark.parametrize("compact_jws", [True, False], ids=["compact-jws", "flattened-jws"])
@pytest.mark.parametrize("compact", [True, False], ids=["compact-jwe", "flattened-jwe"])
@pytest.mark.parametrize("recipient", ["p256", "ed25519", "rsa2048"])
@pytest.mark.parametrize("sender", ["p256", "ed25519", "rsa2048"])
def test_we_open_what_a_peer_writes(world, people, sender, recipient, compact, compact_jws):
    envelope = peers_message(world, people[sender], people[recipient], compact=compact,
                             compact_jws=compact_jws)
    opened = world.run("open", me=people[recipient], input=envelope)
    if recipient != "rsa2048" and not compact:
        # jwcrypto's flattened form has the ephemeral key in the unprotected header.
        assert "epk" in json.loads(envelope)["header"]
        assert (opened.status, opened.out) == (STATUS["format"], b""), opened
        assert " format:" in opened.err
    else:
        assert opened.out == b"FROM A PEER", opened


def test_the_proof_of_concept_reads_v1_between_rsa_names(world, rsa_alice, rsa_bob):
    sealed = world.run("seal", "--to", rsa_bob, me=rsa_alice, input=b"HELLO THERE")
    opened = peer.proof_of_concept_open(sealed.out, decryption_key(world, rsa_bob),
                                        world.knot.records)
    assert opened == ("HELLO THERE", rsa_alice)


def test_the_proof_of_concept_reads_poc(world, rsa_alice, rsa_bob):
    sealed = world.run("seal", "--poc", "--to", rsa_bob, me=rsa_alice, input=b"HELLO THERE")
    assert sealed.status == 0, sealed
    opened = peer.proof_of_concept_open(sealed.out, decryption_key(world, rsa_bob),
                                        world.knot.records)
    assert opened == ("HELLO THERE", rsa_alice)
    parts = json.loads(sealed.out)
    assert set(parts) == {"ciphertext", "encrypted_key", "iv", "protected", "tag"}
    assert json.loads(craft.unb64(parts["protected"])) == {
        "alg": "RSA-OAEP-256", "enc": "A256CBC-HS512", "typ": "JWE",
        "x5u": f"dns://{rsa_bob}?type=TLSA"}
    inner = json.loads(craft.decrypt(world.key(rsa_bob), parts))
    assert set(inner) == {"payload", "protected", "signature"}
    assert json.loads(craft.unb64(inner["protected"])) == {
        "alg": "RS256", "x5u": f"dns://{rsa_alice}?type=TLSA"}


def test_we_read_poc_from_a_peer(world, rsa_alice, rsa_bob):
    model = world.message(rsa_alice, rsa_bob, make=craft.poc)
    envelope = peer.seal(peer.to_jwk(world.key(rsa_alice)), model.claims,
                         encryption_record_key(world, rsa_bob), model.jwe_header, b"OLD FRIEND",
                         compact_jws=False)
    opened = world.run("open", "--accept-poc", rsa_alice, me=rsa_bob, input=envelope)
    assert opened.out == b"OLD FRIEND", opened


@pytest.mark.parametrize("options", [(), ("--selector", "1")], ids=["3 0 0", "3 1 0"])
@pytest.mark.parametrize("key", KEYS)
def test_records_carry_the_key(world, people, key, options):
    """What is published is what the key files hold, as another make reads it."""
    records = [tuple(record.split(" ", 3)) for record in world.tlsa(people[key], *options)]
    keys = [json.loads(found.export_public()) for found in peer.record_keys(
        [(int(u), int(s), int(m), bytes.fromhex(data)) for u, s, m, data in records])]
    expected = [craft.public(world.key(people[key]))]
    if key == "ed25519":
        expected.append(craft.public(world.encryption_key(people[key])))
    assert keys == [json.loads(peer.to_jwk(one).export_public()) for one in expected]
