"""Packets without end that nobody honest would send, from one seed: noise, mutated envelopes, and
well encrypted envelopes around mutated signatures, which reach deeper."""

import random

import craft

# Pieces that parsers stumble over.
PIECES = [b"", b"\0", b"\xff\xfe", b'"', b"{", b"}" * 9, b"[" * 2000, b"\\u0000", b"\\ud800", b"=",
          b"==", b".", b"....", b"null", b"-1", b"1e999", b"9" * 400, b"\x1b[2J", b"A" * 3000,
          b'"alg":"none"', b'"crit":["x"]', b'"enc":"A256GCM",', b"dns:", b"%00", b"\xe2\x80\xae"]


def mutate(generator, data):
    data = bytearray(data)
    for _ in range(generator.choice([1, 1, 1, 2, 3, 8])):
        at = generator.randrange(len(data) + 1)
        length = min(generator.choice([1, 1, 2, 4, 16, 200]), len(data) - at)
        kind = generator.randrange(6)
        if kind == 0 and at < len(data):
            data[at] ^= 1 << generator.randrange(8)
        elif kind == 1 and at < len(data):
            data[at] = generator.randrange(256)
        elif kind == 2:
            del data[at:at + length]
        elif kind == 3:
            data[at:at] = generator.choice(PIECES)
        elif kind == 4:
            data[at:at] = data[at:at + length] * generator.choice([1, 2, 50])
        else:
            del data[at:]
    return bytes(data)


def signed_then_mutated(generator, message):
    """What is inside is wrong, what is outside is right."""
    kind = generator.randrange(3)
    if kind == 0:
        jws = mutate(generator, message.jws())
        message.jws = lambda: jws
    elif kind == 1:
        message.claims_text = lambda header: mutate(generator,
                                                    craft.compact_json(header).encode())
    else:
        message.jwe_header_text = lambda header: mutate(generator,
                                                        craft.compact_json(header).encode())
    return message.envelope()


def packets(count, seed, make_message):
    """count packets. make_message: an honest craft.Message to start from."""
    generator = random.Random(seed)
    honest = [make_message().envelope() for _ in range(8)]
    deep = []
    for number in range(count):
        kind = generator.randrange(8)
        if kind == 0:
            yield generator.randbytes(generator.choice([0, 1, 2, 7, 100, 1500, 20000]))
        elif kind < 6:
            yield mutate(generator, generator.choice(honest))
        else:
            # Public-key work for each would make the generator the slow part.
            if len(deep) < 400 or number % 50 == 0:
                deep.append(signed_then_mutated(generator, make_message()))
            yield generator.choice(deep)
