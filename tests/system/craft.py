"""Envelopes made by hand: JWS and JWE (RFC 7515, 7516) on bare primitives, with every byte in the
caller's hands, so that one thing at a time can be wrong.

    message = Message(alice, "alice.example.test", bob, "bob.example.test")
    message.claims["exp"] = 0                      a member of the signed header
    message.jwe_header["zip"] = "DEF"
    message.envelope()                             bytes as they travel

Changes to finished parts go through hooks: jws_text, jwe_parts, jwe_text.
"""

import base64
import hashlib
import hmac
import json
import os
import struct
import time

from cryptography import x509
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.concatkdf import ConcatKDFHash

CURVES = {"secp256r1": ("P-256", "ES256", hashes.SHA256()),
          "secp384r1": ("P-384", "ES384", hashes.SHA384()),
          "secp521r1": ("P-521", "ES512", hashes.SHA512())}


def b64(data):
    if isinstance(data, str):
        data = data.encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def compact_json(value):
    return json.dumps(value, separators=(",", ":"))


def load_private(path):
    with open(path, "rb") as file:
        return serialization.load_pem_private_key(file.read(), None)


def load_certificate(path):
    with open(path, "rb") as file:
        return x509.load_pem_x509_certificate(file.read())


def public(key):
    return key.public_key() if hasattr(key, "public_key") else key


def spki(key):
    return public(key).public_bytes(serialization.Encoding.DER,
                                    serialization.PublicFormat.SubjectPublicKeyInfo)


def kid(key):
    return b64(hashlib.sha256(spki(key)).digest())


def dns_uri(name):
    return f"dns:{name}?type=TLSA"


# ---------------------------------------------------------------------------------------- JWS


def signing_algorithm(key):
    key = public(key)
    if isinstance(key, rsa.RSAPublicKey):
        return "RS256"
    if isinstance(key, ec.EllipticCurvePublicKey):
        return CURVES[key.curve.name][1]
    return "EdDSA"


def sign(key, algorithm, data):
    if algorithm == "none":
        return b""
    if algorithm.startswith("HS"):
        return hmac.digest(key, data, "sha" + algorithm[2:])
    if algorithm == "EdDSA" or algorithm == "Ed25519":
        return key.sign(data)
    digest = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}[algorithm[2:]]
    if algorithm.startswith("RS"):
        return key.sign(data, padding.PKCS1v15(), digest)
    if algorithm.startswith("PS"):
        return key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
    size = (key.curve.key_size + 7) // 8
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


def verify(key, algorithm, data, signature):
    """Raises InvalidSignature."""
    if algorithm == "RS256":
        key.verify(signature, data, padding.PKCS1v15(), hashes.SHA256())
    elif algorithm == "EdDSA":
        key.verify(signature, data)
    else:
        size = (key.curve.key_size + 7) // 8
        assert len(signature) == 2 * size
        pair = utils.encode_dss_signature(int.from_bytes(signature[:size], "big"),
                                          int.from_bytes(signature[size:], "big"))
        key.verify(pair, data, ec.ECDSA(CURVES[key.curve.name][2]))


# ---------------------------------------------------------------------------------------- JWE


def wrapping_algorithm(key):
    return "RSA-OAEP-256" if isinstance(public(key), rsa.RSAPublicKey) else "ECDH-ES+A256KW"


def jwk(key):
    """A public key as the member `epk` has it."""
    key = public(key)
    if isinstance(key, x25519.X25519PublicKey):
        raw = key.public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)
        return {"kty": "OKP", "crv": "X25519", "x": b64(raw)}
    numbers, size = key.public_numbers(), (key.curve.key_size + 7) // 8
    return {"kty": "EC", "crv": CURVES[key.curve.name][0],
            "x": b64(numbers.x.to_bytes(size, "big")), "y": b64(numbers.y.to_bytes(size, "big"))}


def from_jwk(value):
    if value["kty"] == "OKP":
        return x25519.X25519PublicKey.from_public_bytes(unb64(value["x"]))
    curve = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}[value["crv"]]
    return ec.EllipticCurvePublicNumbers(int.from_bytes(unb64(value["x"]), "big"),
                                         int.from_bytes(unb64(value["y"]), "big"),
                                         curve).public_key()


def ephemeral_for(key):
    key = public(key)
    return (x25519.X25519PrivateKey.generate() if isinstance(key, x25519.X25519PublicKey)
            else ec.generate_private_key(key.curve))


def agree(private, peer, algorithm="ECDH-ES+A256KW"):
    """RFC 7518 section 4.6.2, without apu and apv."""
    secret = (private.exchange(peer) if isinstance(private, x25519.X25519PrivateKey)
              else private.exchange(ec.ECDH(), peer))
    info = (struct.pack(">I", len(algorithm)) + algorithm.encode() + struct.pack(">II", 0, 0)
            + struct.pack(">I", 256))
    return ConcatKDFHash(hashes.SHA256(), 32, info).derive(secret)


RSA_PADDING = {
    "RSA-OAEP-256": lambda: padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None),
    "RSA-OAEP": lambda: padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None),
    "RSA1_5": padding.PKCS1v15,
}


def content_key_size(enc):
    return {"A256GCM": 32, "A192GCM": 24, "A128GCM": 16, "A256CBC-HS512": 64,
            "A128CBC-HS256": 32}[enc]


def encrypt_content(enc, key, iv, aad, plaintext):
    """RFC 7518 section 5: ciphertext and tag."""
    if enc.endswith("GCM"):
        sealed = AESGCM(key).encrypt(iv, plaintext, aad)
        return sealed[:-16], sealed[-16:]
    half, digest = len(key) // 2, "sha512" if enc.endswith("512") else "sha256"
    fill = 16 - len(plaintext) % 16
    cipher = Cipher(algorithms.AES(key[half:]), modes.CBC(iv)).encryptor()
    ciphertext = cipher.update(plaintext + bytes([fill]) * fill) + cipher.finalize()
    signed = aad + iv + ciphertext + struct.pack(">Q", 8 * len(aad))
    return ciphertext, hmac.digest(key[:half], signed, digest)[:half]


def decrypt_content(enc, key, iv, aad, ciphertext, tag):
    if enc.endswith("GCM"):
        return AESGCM(key).decrypt(iv, ciphertext + tag, aad)
    half, digest = len(key) // 2, "sha512" if enc.endswith("512") else "sha256"
    signed = aad + iv + ciphertext + struct.pack(">Q", 8 * len(aad))
    assert hmac.compare_digest(tag, hmac.digest(key[:half], signed, digest)[:half]), "tag"
    cipher = Cipher(algorithms.AES(key[half:]), modes.CBC(iv)).decryptor()
    padded = cipher.update(ciphertext) + cipher.finalize()
    return padded[:-padded[-1]]


def encrypt(key, header, plaintext, header_text=None):
    """The five parts of a JWE, as base64url texts. header gets its `epk` here. header_text: the
    exact JSON to protect instead, whatever header says about the algorithms to use."""
    key, header = public(key), dict(header)
    algorithm, enc = header["alg"], header["enc"]
    cek = os.urandom(content_key_size(enc))
    if algorithm in RSA_PADDING:
        wrapped = key.encrypt(cek, RSA_PADDING[algorithm]())
    else:
        ephemeral = ephemeral_for(key)
        header.setdefault("epk", jwk(ephemeral))
        wrapped = keywrap.aes_key_wrap(agree(ephemeral, key, algorithm), cek)
    text = compact_json(header) if header_text is None else header_text(header)
    protected = b64(text)
    iv = os.urandom(12 if enc.endswith("GCM") else 16)
    ciphertext, tag = encrypt_content(enc, cek, iv, protected.encode(), plaintext)
    return {"protected": protected, "encrypted_key": b64(wrapped), "iv": b64(iv),
            "ciphertext": b64(ciphertext), "tag": b64(tag)}


def decrypt(key, parts):
    """The plaintext of a flattened JWE with a private key: an opener of a second make."""
    header = json.loads(unb64(parts["protected"]))
    wrapped = unb64(parts["encrypted_key"])
    if isinstance(key, rsa.RSAPrivateKey):
        cek = key.decrypt(wrapped, RSA_PADDING[header["alg"]]())
    else:
        cek = keywrap.aes_key_unwrap(agree(key, from_jwk(header["epk"]), header["alg"]), wrapped)
    return decrypt_content(header["enc"], cek, unb64(parts["iv"]), parts["protected"].encode(),
                           unb64(parts["ciphertext"]), unb64(parts["tag"]))


# ------------------------------------------------------------------------------------ messages


class Message:
    """A message that its recipient accepts, until something is changed."""

    def __init__(self, signer, sender, encrypt_to, recipient, text=b"HELLO THERE"):
        now = int(time.time())
        self.signer, self.encrypt_to, self.payload = signer, encrypt_to, text
        self.claims = {"alg": signing_algorithm(signer), "typ": "danemsg+jws",
                       "cty": "text/plain;charset=utf-8", "x5u": dns_uri(sender),
                       "kid": kid(signer), "aud": recipient, "iat": now, "exp": now + 600,
                       "jti": b64(os.urandom(16))}
        self.jwe_header = {"alg": wrapping_algorithm(encrypt_to), "enc": "A256GCM", "typ": "JWE",
                           "cty": "danemsg+jws", "x5u": dns_uri(recipient),
                           "kid": kid(encrypt_to)}
        self.claims_text = compact_json        # header dict -> exact JSON
        self.jwe_header_text = compact_json
        self.sign = sign
        self.jws_parts = lambda parts: parts   # protected, payload, signature -> the same
        self.jws_text = ".".join               # -> the JWS as it is encrypted
        self.jwe_parts = lambda parts: parts
        self.jwe_text = compact_json           # parts dict -> the envelope

    def jws(self):
        protected, payload = b64(self.claims_text(self.claims)), b64(self.payload)
        data = f"{protected}.{payload}".encode()
        signature = b64(self.sign(self.signer, self.claims["alg"], data))
        text = self.jws_text(self.jws_parts([protected, payload, signature]))
        return text if isinstance(text, bytes) else text.encode()

    def envelope(self):
        parts = encrypt(self.encrypt_to, self.jwe_header, self.jws(), self.jwe_header_text)
        text = self.jwe_text(self.jwe_parts(parts))
        return text if isinstance(text, bytes) else text.encode()


def poc(signer, sender, encrypt_to, recipient, text=b"HELLO THERE"):
    """The proof of concept's own format (doc/PROTOCOL.md), members sorted."""
    message = Message(signer, sender, encrypt_to, recipient, text)
    message.claims = {"alg": "RS256", "x5u": f"dns://{sender}?type=TLSA"}
    message.jwe_header = {"alg": "RSA-OAEP-256", "enc": "A256CBC-HS512", "typ": "JWE",
                          "x5u": f"dns://{recipient}?type=TLSA"}
    message.jws_text = flattened_jws
    message.jwe_text = lambda parts: compact_json(dict(sorted(parts.items())))
    return message


def flattened_jws(parts):
    return compact_json({"payload": parts[1], "protected": parts[0], "signature": parts[2]})


def compact_jwe(parts):
    return ".".join(parts[k] for k in ("protected", "encrypted_key", "iv", "ciphertext", "tag"))


def turn_bit(text, at=0):
    """base64url text whose decoded bytes differ in one bit."""
    data = bytearray(unb64(text))
    data[at] ^= 1
    return b64(bytes(data))
