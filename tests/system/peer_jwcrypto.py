"""A peer of another make: the JOSE library jwcrypto, and keys read out of TLSA records.

keys: name -> list of records (usage, selector, matching type, data), as Knot.records gives them.
"""

import json

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import x25519
from cryptography.hazmat.primitives.serialization import (Encoding, NoEncryption, PrivateFormat,
                                                          PublicFormat)
from jwcrypto import jwe, jwk, jws
from jwcrypto.common import base64url_decode, base64url_encode

JWE_ALGORITHMS = ["RSA-OAEP-256", "ECDH-ES+A256KW", "A256GCM", "A256CBC-HS512"]
JWS_ALGORITHMS = ["RS256", "ES256", "ES384", "ES512", "EdDSA"]


def name_of(uri):
    """dns:NAME?type=TLSA and the proof of concept's dns://NAME?type=TLSA."""
    assert uri.startswith("dns:") and uri.endswith("?type=TLSA"), uri
    return uri[4:-len("?type=TLSA")].lstrip("/")


def to_jwk(key):
    """A key of `cryptography`; jwcrypto's own conversion does not know X25519."""
    if not isinstance(key, (x25519.X25519PrivateKey, x25519.X25519PublicKey)):
        return jwk.JWK.from_pyca(key)
    secret = isinstance(key, x25519.X25519PrivateKey)
    point = (key.public_key() if secret else key).public_bytes(Encoding.Raw, PublicFormat.Raw)
    members = {"kty": "OKP", "crv": "X25519", "x": base64url_encode(point)}
    if secret:
        members["d"] = base64url_encode(
            key.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption()))
    return jwk.JWK(**members)


def record_keys(records):
    """The public keys that full records carry."""
    for _usage, selector, matching, data in records:
        if matching == 0:
            key = (x509.load_der_x509_certificate(data).public_key() if selector == 0
                   else serialization.load_der_public_key(data))
            yield to_jwk(key)


def private_key(path):
    with open(path, "rb") as file:
        return to_jwk(serialization.load_pem_private_key(file.read(), None))


def open_envelope(envelope, key, lookup):
    """Decrypts, then verifies with the sender's keys: (payload, sender, claims, JWE header)."""
    outer = jwe.JWE(algs=JWE_ALGORITHMS)
    outer.deserialize(envelope.decode() if isinstance(envelope, bytes) else envelope)
    outer.decrypt(key)
    return (*verify(outer.payload.decode(), lookup), json.loads(outer.objects["protected"]))


def verify(text, lookup):
    inner = jws.JWS()
    inner.allowed_algs = JWS_ALGORITHMS
    inner.deserialize(text)
    claims = inner.jose_header
    sender = name_of(claims["x5u"])
    failure = None
    for key in record_keys(lookup(sender)):
        try:
            inner.verify(key)
            return inner.payload, sender, claims
        except jws.InvalidJWSSignature as error:
            failure = error
    raise failure or AssertionError(f"{sender} has no key")


def seal(key, claims, encrypt_to, jwe_header, payload, compact=False, compact_jws=True):
    """With compact, or where jwcrypto keeps it protected, `epk` is in the protected header."""
    inner = jws.JWS(payload)
    inner.allowed_algs = JWS_ALGORITHMS
    inner.add_signature(key, None, json.dumps(claims), None)
    outer = jwe.JWE(inner.serialize(compact=compact_jws).encode(), json.dumps(jwe_header),
                    algs=JWE_ALGORITHMS)
    outer.add_recipient(encrypt_to)
    return outer.serialize(compact=compact).encode()


def proof_of_concept_open(envelope, key, lookup):
    """The steps of the proof of concept's receiver, one after the other: flattened JSON, decrypt
    with the RSA key, verify with the one certificate that DNS has for the name in x5u."""
    assert len(envelope) <= 4096
    parts = json.loads(envelope.decode())
    assert {"protected", "encrypted_key", "iv", "ciphertext", "tag"} == set(parts)
    header = json.loads(base64url_decode(parts["protected"]))
    assert header["alg"] == "RSA-OAEP-256"
    outer = jwe.JWE()
    outer.deserialize(envelope.decode(), key)
    inner = jws.JWS()
    inner.deserialize(outer.payload.decode())
    sender = name_of(inner.jose_header["x5u"])
    records = lookup(sender)
    assert len(records) == 1 and records[0][:3] == (3, 0, 0), "a peer reads exactly one 3 0 0"
    inner.verify(next(record_keys(records)))
    return inner.payload.decode(), sender
