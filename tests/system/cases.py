"""What must be refused, each case beside a twin that differs in nothing else and must pass.

A case changes a message that alice made for bob (craft.Message) before it is sealed.
"""

import time
import zlib

import craft
from craft import b64, compact_json, unb64
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

# Exit statuses of the words (doc: README, "Exit status").
STATUS = {"no-identity": 3, "dns-temporary": 4, "dns-bogus": 5, "dns-insecure": 5,
          "certificate": 6, "decrypt": 7, "signature": 8, "policy": 9, "audience": 9, "time": 9,
          "replay": 9, "unbound": 9, "size": 13, "format": 13, "algorithm": 13, "not-for-me": 13,
          "name": 13}


class Case:
    def __init__(self, name, word, bad, good=lambda message: None, sender="alice", recipient="bob"):
        self.name, self.word, self.bad, self.good = name, word, bad, good
        self.sender, self.recipient = sender, recipient


CASES = []


def case(name, word, bad, good=lambda message: None, **people):
    CASES.append(Case(name, word, bad, good, **people))


# ------------------------------------------------------------------ small changes, by name


def claim(**members):
    """Sets members of the signed header; None takes one out."""
    return lambda message: change(message.claims, members)


def outer(**members):
    return lambda message: change(message.jwe_header, members)


def change(header, members):
    for name, value in members.items():
        if value is None:
            header.pop(name, None)
        else:
            header[name] = value


def attribute(**values):
    return lambda message: [setattr(message, name, value) for name, value in values.items()]


def part(name, function):
    """Changes one finished member of the JWE."""
    return attribute(jwe_parts=lambda parts: {**parts, name: function(parts[name])})


def signed_part(index, function):
    """Changes one finished part of the JWS: 0 protected, 1 payload, 2 signature."""
    return attribute(jws_parts=lambda parts: [function(text) if i == index else text
                                              for i, text in enumerate(parts)])


def both(*changes):
    return lambda message: [apply(message) for apply in changes]


def now():
    return int(time.time())


# ---------------------------------------------------------------------------------- for whom

case("re-encrypted to another recipient", "audience", claim(aud="carol.good.test"))
case("says it is for another name", "not-for-me", outer(x5u=craft.dns_uri("carol.good.test")))
case("names another key", "not-for-me", outer(kid=b64(bytes(32))))
case("is encrypted to another key", "decrypt",
     lambda m: setattr(m, "encrypt_to", ec.generate_private_key(ec.SECP256R1())))
case("audience is a list", "format", claim(aud=["bob.good.test"]))
case("audience is missing", "format", claim(aud=None))

# ------------------------------------------------------------------------- whose signature

OTHER = ec.generate_private_key(ec.SECP256R1())
case("forged with the name's key id", "signature", attribute(signer=OTHER))
case("forged with a key of its own", "certificate",
     both(attribute(signer=OTHER), claim(kid=craft.kid(OTHER))))
case("key id is missing", "format", claim(kid=None))

case("altered bit in the signed header's text", "format", signed_part(0, craft.turn_bit))
case("altered bit inside the signed header", "signature", signed_part(
    0, lambda text: b64(unb64(text).replace(b"charset=utf-8", b"charset=utf-9"))))
case("altered bit in the payload", "signature", signed_part(1, craft.turn_bit))
case("altered bit in the signature", "signature", signed_part(2, craft.turn_bit))
for name in "encrypted_key", "iv", "ciphertext", "tag":
    case(f"altered bit in {name}", "decrypt", part(name, craft.turn_bit))
case("altered bit in the protected header", "format", part("protected", craft.turn_bit))
case("a member more in the protected header", "decrypt", part(
    "protected", lambda text: b64(unb64(text)[:-1] + b',"x":1}')), outer(x=1))
case("signature as DER", "format", attribute(sign=lambda key, algorithm, data: key.sign(
    data, ec.ECDSA(craft.hashes.SHA256()))))
case("signature is empty", "format", signed_part(2, lambda text: ""))

# --------------------------------------------------------------------------------- algorithms

case("alg none", "algorithm", both(claim(alg="none"), signed_part(2, lambda text: "")))
case("alg None, oddly spelt", "algorithm", both(claim(alg="nOnE"), attribute(
    sign=lambda key, algorithm, data: b"")))
case("HS256 with the public key", "algorithm", both(claim(alg="HS256"), attribute(
    sign=lambda key, algorithm, data: craft.sign(craft.public(key).public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo),
        algorithm, data))))
case("ES384 with a P-256 key", "algorithm", both(claim(alg="ES384"), attribute(
    sign=lambda key, algorithm, data: craft.sign(key, "ES256", data))))
case("alg is a number", "format", both(claim(alg=256), attribute(
    sign=lambda key, algorithm, data: craft.sign(key, "ES256", data))))
for algorithm in "PS256", "RS384", "RS512":
    case(f"{algorithm} with an RSA key", "algorithm", claim(alg=algorithm), sender="rsa_alice")
for algorithm in "RSA1_5", "RSA-OAEP":
    case(algorithm, "algorithm", outer(alg=algorithm), recipient="rsa_bob")
case("RSA-OAEP-256 to an EC key", "algorithm", attribute(
    jwe_header_text=lambda header: compact_json(
        {k: v for k, v in header.items() if k != "epk"} | {"alg": "RSA-OAEP-256"})))
for enc in "A128GCM", "A192GCM", "A128CBC-HS256":
    case(enc, "algorithm", outer(enc=enc), outer(enc="A256CBC-HS512"))
for algorithm in "dir", "A256KW", "PBES2-HS256+A128KW", "ECDH-ES":
    case(f"alg {algorithm}", "algorithm", attribute(
        jwe_header_text=lambda header, algorithm=algorithm: compact_json(
            {**header, "alg": algorithm})))

# ------------------------------------------------------------------- members that are refused

case("critical extension in the signed header", "format", claim(crit=["danger"], danger=1),
     claim(danger=1))
case("critical extension in the encrypted header", "format", outer(crit=["danger"], danger=1),
     outer(danger=1))
case("critical with known members", "format", claim(crit=["exp"]))
case("unencoded payload", "format", claim(b64=False))
case("compressed", "format", both(outer(zip="DEF"), lambda m: compress(m)))
for name, value in {"jwk": {"kty": "oct", "k": "AA"}, "jku": "https://example.net/k",
                    "apu": "AA", "apv": "AA", "p2c": 1000, "p2s": "AAAA"}.items():
    case(f"{name} in the encrypted header", "format", outer(**{name: value}))
for name, value in {"jwk": {"kty": "oct", "k": "AA"}, "jku": "https://example.net/k"}.items():
    case(f"{name} in the signed header", "format", claim(**{name: value}))


def compress(message):
    plain = message.jws
    deflate = zlib.compressobj(wbits=-15)
    message.jws = lambda: deflate.compress(plain()) + deflate.flush()


def with_member(name, value):
    return attribute(jwe_text=lambda parts: compact_json({**parts, name: value}))


def flattened(**members):
    """The signature in flattened JSON, with members more."""
    return attribute(jws_text=lambda parts: compact_json(
        {"payload": parts[1], "protected": parts[0], "signature": parts[2], **members}))


case("unprotected header, shared", "format", with_member("unprotected", {"x": 1}))
case("unprotected header, the recipient's", "format", with_member("header", {"x": 1}))
case("unprotected header, empty", "format", with_member("unprotected", {}))
case("unprotected header of the signature", "format", flattened(header={"x": 1}), flattened())
case("additional authenticated data", "format", with_member("aad", "AAAA"))
case("several recipients", "format", attribute(jwe_text=lambda parts: compact_json(
    {**{k: v for k, v in parts.items() if k != "encrypted_key"},
     "recipients": [{"encrypted_key": parts["encrypted_key"]}]})),
     attribute(jwe_text=craft.compact_jwe))
case("several signatures", "format", attribute(jws_text=lambda parts: compact_json(
    {"payload": parts[1], "signatures": [{"protected": parts[0], "signature": parts[2]}]})),
     flattened())

# ------------------------------------------------------------------------------------ encoding


def raw_text(function):
    """Changes the finished envelope's text."""
    return attribute(jwe_text=lambda parts: function(compact_json(parts)))


def unclean(text):
    """Another spelling of the same bytes: unused trailing bits set, or None if there are none."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    assert len(text) % 4 in (2, 3), len(text)
    return text[:-1] + alphabet[alphabet.index(text[-1]) ^ 1]


case("padded base64url outside", "format", part("tag", lambda text: text + "=="))
case("padded base64url inside", "format", signed_part(2, lambda text: text + "=="))
case("unused bits set in the tag", "format", part("tag", unclean))
case("unused bits set in the signature", "format", signed_part(2, unclean))
case("white space in base64url", "format", part("ciphertext", lambda text: text[:8] + " " + text[8:]))
case("base64url of an impossible length", "format", part("iv", lambda text: text + "A"))
case("wrong alphabet", "format", part("ciphertext", lambda text: "+/" + text[2:]))
case("initialisation vector too long", "format", part("iv", lambda text: b64(bytes(16))))
case("tag cut short", "format", part("tag", lambda text: b64(unb64(text)[:12])))
case("encrypted key too long", "format", part("encrypted_key", lambda text: b64(bytes(41))))
case("duplicate member outside", "format", raw_text(
    lambda text: text[:-1] + ',"tag":"AAAAAAAAAAAAAAAAAAAAAA"}'))
case("duplicate member in the encrypted header", "format", attribute(
    jwe_header_text=lambda header: compact_json(header)[:-1] + ',"enc":"A256GCM"}'))
case("duplicate member in the signed header", "format", attribute(
    claims_text=lambda header: compact_json(header)[:-1] + f',"aud":"{header["aud"]}"}}'))
case("duplicate member by an escape", "format", attribute(
    claims_text=lambda header: compact_json(header)[:-1] + f',"\\u0061ud":"{header["aud"]}"}}'))


def nested(depth):
    return lambda header: (compact_json(header)[:-1] + ',"x":' + "[" * (depth - 1)
                           + "]" * (depth - 1) + "}")


case("deep JSON", "format", attribute(claims_text=nested(1000)), attribute(claims_text=nested(4)))
case("one level too deep", "format", attribute(claims_text=nested(5)),
     attribute(claims_text=nested(4)))
case("deep JSON in the encrypted header", "format", attribute(jwe_header_text=nested(1000)),
     attribute(jwe_header_text=nested(4)))
case("header over 4 KiB", "size", claim(x="x" * 4096), claim(x="x" * 2000))
case("invalid UTF-8 in the signed header", "format", attribute(
    claims_text=lambda header: compact_json(header).encode()[:-1] + b',"x":"\xff"}'))
case("a number that is not an integer", "format", attribute(
    claims_text=lambda header: compact_json(header).replace(str(header["iat"]),
                                                            str(header["iat"]) + ".0")))
case("text after the envelope", "format", raw_text(lambda text: text + "x"),
     raw_text(lambda text: text + "\n"))
case("byte order mark", "format", raw_text(lambda text: b"\xef\xbb\xbf" + text.encode()))
case("not JSON", "format", raw_text(lambda text: "HELLO THERE"))
case("empty", "format", raw_text(lambda text: ""))
case("empty object", "format", raw_text(lambda text: "{}"))
case("JSON of another kind", "format", raw_text(lambda text: "[" + text + "]"))
case("NUL bytes", "format", raw_text(lambda text: text + "\0"))
case("oversize", "size", raw_text(lambda text: text + " " * (65537 - len(text))),
     raw_text(lambda text: text + " " * (65536 - len(text))))

# ---------------------------------------------------------------------------------------- epk

P384 = ec.generate_private_key(ec.SECP384R1())
case("ephemeral key on another curve", "algorithm", outer(epk=craft.jwk(P384)))
case("ephemeral key off the curve", "decrypt", attribute(
    jwe_header_text=lambda header: compact_json(
        {**header, "epk": {**header["epk"], "y": b64(bytes(31) + b"\x01")}})))
case("ephemeral key is missing", "format", attribute(
    jwe_header_text=lambda header: compact_json(
        {k: v for k, v in header.items() if k != "epk"})))

# --------------------------------------------------------------------------------------- time

case("expired", "time", lambda m: m.claims.update(iat=now() - 100, exp=now() - 1),
     lambda m: m.claims.update(iat=now() - 100, exp=now() + 900))
case("from the future", "time", lambda m: m.claims.update(iat=now() + 1200, exp=now() + 1800),
     lambda m: m.claims.update(iat=now() + 200, exp=now() + 1800))
case("living too long", "time", lambda m: m.claims.update(exp=m.claims["iat"] + 30 * 86400 + 1),
     lambda m: m.claims.update(exp=m.claims["iat"] + 30 * 86400))
case("expires before it was made", "format", lambda m: m.claims.update(exp=m.claims["iat"]))
for name in "iat", "exp", "jti":
    case(f"{name} is missing", "format", claim(**{name: None}))
case("exp is a text", "format", claim(exp="4000000000"))
case("exp beyond 2^53", "format", claim(exp=2 ** 53))
case("iat is negative", "format", claim(iat=-1))
case("jti too short", "format", lambda m: m.claims.update(jti=m.claims["jti"][:21]))
case("typ of something else", "format", claim(typ="JWT"))
case("typ is missing", "format", claim(typ=None))
case("content type with a line break", "format", claim(cty="text/plain\r\n"))

# -------------------------------------------------------------------------------------- names


def sender_uri(uri):
    return claim(x5u=uri)


for what, uri in {
        "wildcard": "dns:*.good.test?type=TLSA",
        "MQTT wildcard": "dns:+.good.test?type=TLSA",
        "MQTT hash": "dns:alice.good.test%23?type=TLSA",
        "slash": "dns:../alice.good.test?type=TLSA",
        "escape": "dns:alice%2Egood.test?type=TLSA",
        "backslash": "dns:alice\\.good.test?type=TLSA",
        "space": "dns:alice good.test?type=TLSA",
        "one label": "dns:test?type=TLSA",
        "root": "dns:.?type=TLSA",
        "empty label": "dns:alice..good.test?type=TLSA",
        "long label": f"dns:{'a' * 64}.good.test?type=TLSA",
        "long name": f"dns:{'a.' * 127}test?type=TLSA",
        "U-label": "dns:älice.good.test?type=TLSA",
        "real authority": "dns://192.0.2.1/alice.good.test?type=TLSA",
        "authority and port": "dns://ns.good.test:53/alice.good.test?type=TLSA",
        "port": "dns://alice.good.test:53?type=TLSA",
        "class": "dns:alice.good.test?type=TLSA;class=CH",
        "another type": "dns:alice.good.test?type=A",
        "no type": "dns:alice.good.test",
        "fragment": "dns:alice.good.test?type=TLSA#x",
        "another scheme": "https://alice.good.test/"}.items():
    case(f"sender's name with: {what}", "name", sender_uri(uri),
         sender_uri("dns:ALICE.good.test.?type=TLSA"))
case("sender's name is no text", "format", claim(x5u=["dns:alice.good.test?type=TLSA"]))
case("sender's name is missing", "format", claim(x5u=None),
     sender_uri("dns://alice.good.test?type=TLSA"))
