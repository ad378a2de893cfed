"""A name server that misbehaves as it is told: one signed zone, and for each name in it a way to
answer. What a way does to the honest answer is a function of a few lines in WAYS.
"""

import contextlib
import random
import socket
import socketserver
import threading
import time

import dns.dnssec
import dns.flags
import dns.message
import dns.name
import dns.opcode
import dns.rcode
import dns.rdatatype
import dns.rrset
from servers import LOOPBACK, PATIENCE, free_port, wait_for
from signed_zone import SignedZone, ZoneKey

TLSA = dns.rdatatype.TLSA
HEADER = 12  # octets (RFC 1035 section 4.1.1)


class Script:
    """A context manager. record: the TLSA record of every name below the zone. ways: label -> a
    function of a Question, which sends what it likes."""

    def __init__(self, zone, record, ways, fallback=None):
        self.zone = SignedZone(zone, [])
        self.record, self.ways = record, ways
        self.fallback = fallback or good
        self.stranger = ZoneKey()
        self.asked = []  # (label, "udp" or "tcp") of each question for TLSA records
        self.lock = threading.Lock()

    @property
    def anchor(self):
        return self.zone.anchor

    @property
    def server(self):
        return f"{LOOPBACK}@{self.port}"

    def stub(self):
        return f"{self.zone.name}={self.server}"

    def __enter__(self):
        script = self

        class Datagram(socketserver.BaseRequestHandler):
            def handle(self):
                data, sock = self.request
                with contextlib.suppress(OSError):  # an answer too late, or too large to send
                    script.handle(data, "udp", lambda wire: sock.sendto(wire, self.client_address))

        class Stream(socketserver.BaseRequestHandler):
            def handle(self):
                self.request.settimeout(PATIENCE)
                with contextlib.suppress(OSError, EOFError):
                    while True:
                        size = read(self.request, 2)
                        data = read(self.request, int.from_bytes(size, "big"))
                        script.handle(data, "tcp", self.request.sendall, self.request)

        class Datagrams(socketserver.ThreadingUDPServer):
            daemon_threads, max_packet_size = True, 65535

        class Streams(socketserver.ThreadingTCPServer):
            daemon_threads, allow_reuse_address, request_queue_size = True, True, 128

        def bind():
            """Both, or neither when somebody was faster."""
            self.port, self.servers = free_port(), []
            with contextlib.suppress(OSError):
                self.servers.append(Datagrams((LOOPBACK, self.port), Datagram))
                self.servers.append(Streams((LOOPBACK, self.port), Stream))
            if len(self.servers) == 1:
                self.servers[0].server_close()
            return len(self.servers) == 2
        wait_for(bind, "a port for both protocols")
        for server in self.servers:
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *exception):
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def handle(self, data, transport, send, connection=None):
        try:
            query = dns.message.from_wire(data)
        except dns.exception.DNSException:
            return
        question = Question(self, query, transport, send, connection)
        if query.question[0].rdtype != TLSA or question.label is None:
            question.reply(question.honest())
            return
        with self.lock:
            self.asked.append((question.label, transport))
        self.ways.get(question.label, self.fallback)(question)

    def transports(self, label):
        return [transport for asked, transport in self.asked if asked == label]


def read(connection, size):
    data = b""
    while len(data) < size:
        more = connection.recv(size - len(data))
        if not more:
            raise EOFError
        data += more
    return data


class Question:
    """One question that came in, and the means to answer it."""

    def __init__(self, script, query, transport, send, connection):
        self.script, self.query, self.transport = script, query, transport
        self.send, self.connection = send, connection
        self.name = query.question[0].name
        depth = len(script.zone.origin)
        inside = self.name.is_subdomain(script.zone.origin) and len(self.name) > depth
        self.label = self.name.labels[-depth - 1].decode().lower() if inside else None

    def reply(self, answer):
        """A message or octets, with a length before it over TCP."""
        wire = answer if isinstance(answer, bytes) else answer.to_wire(max_size=65535)
        self.send(wire if self.transport == "udp" else len(wire).to_bytes(2, "big") + wire)

    def honest(self):
        """The true answer: signed, at the apex as the zone has it, below it the one record."""
        answer = dns.message.make_response(self.query)
        answer.flags |= dns.flags.AA
        answer.use_edns(0, dns.flags.DO, 1232)
        kind = self.query.question[0].rdtype
        if self.label is None:
            found = [sets for sets in self.script.zone.rrsets
                     if sets[0].name == self.name and sets[0].rdtype == kind]
        else:
            found = [self.signed(self.rrset())] if kind == TLSA else []
        for rrset, signatures in found:
            answer.answer += [rrset, signature_set(rrset, signatures)]
        if not found:
            self.deny(answer)
        return answer

    def rrset(self, name=None, record=None):
        return dns.rrset.from_text(name or self.name, 60, "IN", "TLSA", record or self.script.record)

    def signed(self, rrset, key=None):
        zone = self.script.zone
        key = key or zone.keys[0]
        return rrset, [key.sign(rrset.name, rrset, zone.origin, zone.times)]

    def deny(self, answer, kinds="TLSA"):
        """No such type: the name's own NSEC (RFC 4035 section 3.1.3.1)."""
        zone = self.script.zone
        nsec = dns.rrset.from_text(self.name, 60, "IN", "NSEC", f"\\000.{self.name} {kinds} RRSIG NSEC")
        soa = next(sets for sets in zone.rrsets if sets[0].rdtype == dns.rdatatype.SOA)
        for rrset, signatures in soa, self.signed(nsec):
            answer.authority += [rrset, signature_set(rrset, signatures)]


def signature_set(rrset, signatures):
    return dns.rrset.from_rdata_list(rrset.name, 60, signatures)


# ------------------------------------------------------------------------------ ways to answer


def good(question):
    question.reply(question.honest())


def silent(question):
    pass


def octets(change):
    """The honest answer in wire form, changed."""
    return lambda question: question.reply(bytes(change(bytearray(question.honest().to_wire()))))


def message(change):
    """The honest answer, changed in place."""
    def way(question):
        answer = question.honest()
        change(question, answer)
        question.reply(answer)
    return way


def replaced(*changes):
    """Octets of the answer: (position, value) pairs."""
    def change(wire):
        for position, value in changes:
            wire[position] = value
        return wire
    return octets(change)


def unsigned(question, answer):
    answer.answer = [rrset for rrset in answer.answer if rrset.rdtype == TLSA]


def authentic(question, answer):
    unsigned(question, answer)
    answer.flags |= dns.flags.AD


def by_a_stranger(question, answer):
    """Signed with a key that is not the zone's, under the zone's key's tag."""
    zone = question.script.zone
    rrset, (signature,) = question.signed(question.rrset(), question.script.stranger)
    signature = signature.replace(key_tag=dns.dnssec.key_id(zone.keys[0].shown))
    answer.answer = [rrset, signature_set(rrset, [signature])]
    answer.flags |= dns.flags.AD


def for_another(question, answer):
    other = dns.name.from_text("other", question.script.zone.origin)
    rrset, signatures = question.signed(question.rrset(other))
    answer.answer = [rrset, signature_set(rrset, signatures)]


def renamed(question, answer):
    """Another name's record and true signature under this name."""
    for_another(question, answer)
    answer.answer = [dns.rrset.from_rdata_list(question.name, 60, list(rrset))
                     for rrset in answer.answer]


def by_an_alias(question, answer):
    """An unsigned CNAME to a good name."""
    target = dns.name.from_text("good", question.script.zone.origin)
    answer.answer = [dns.rrset.from_text(question.name, 60, "IN", "CNAME", str(target))]
    rrset, signatures = question.signed(question.rrset(target))
    answer.answer += [rrset, signature_set(rrset, signatures)]


def far_alias(question):
    """farN is an alias of far(N+1), one to an answer, and so on without end."""
    zone = question.script.zone
    number = int(question.label.removeprefix("far"))
    answer = question.honest()
    rrset = dns.rrset.from_text(question.name, 60, "IN", "CNAME", f"far{number + 1}.{zone.name}.")
    rrset, signatures = question.signed(rrset)
    answer.answer = [rrset, signature_set(rrset, signatures)]
    question.reply(answer)


def extra_record(question, answer):
    """A second record, and the signature of the first alone."""
    answer.answer[0].add(dns.rdata.from_text("IN", "TLSA", "3 1 1 " + "00" * 32))


def no_such_name(question, answer):
    answer.answer = []
    answer.set_rcode(dns.rcode.NXDOMAIN)


def rcode(value):
    def change(question, answer):
        answer.answer = []
        answer.set_rcode(value)
    return message(change)


def point_to_itself(wire):
    """The owner of the first answer becomes a compression pointer to where it stands."""
    start = wire.index(b"\0", HEADER) + 5
    return wire[:start] + bytes([0xC0 | start >> 8, start & 0xFF]) + wire[start + 2:]


def point_ahead(wire):
    start = wire.index(b"\0", HEADER) + 5
    return wire[:start] + b"\xff\xff" + wire[start + 2:]


def truncated(over_tcp):
    """TC over UDP; over TCP what the function does."""
    def way(question):
        if question.transport == "tcp":
            over_tcp(question)
            return
        message(truncate)(question)
    return way


def truncate(question, answer):
    answer.answer = []
    answer.flags |= dns.flags.TC


def hang_up(question):
    question.connection.shutdown(socket.SHUT_RDWR)


def half(question):
    wire = question.honest().to_wire()
    question.send(len(wire).to_bytes(2, "big") + wire[:len(wire) // 2])
    hang_up(question)


def in_drops(question):
    wire = question.honest().to_wire()
    for octet in len(wire).to_bytes(2, "big") + wire:
        question.send(bytes([octet]))


def second_try(question):
    if question.script.transports(question.label).count("udp") > 1:
        good(question)


def after_a_forgery(question):
    """A forged answer with another id comes first, the true one after it."""
    wire = bytearray(question.honest().to_wire())
    question.reply(bytes([wire[0] ^ 0xFF]) + bytes(wire[1:]))
    question.reply(bytes(wire))


def late(question):
    time.sleep(0.2)
    good(question)


def noise(size):
    return lambda question: question.reply(random.randbytes(size))


def denied(question, answer):
    """The name is there, and has no such record."""
    answer.answer = []
    question.deny(answer, "A")


def denied_with_all(question, answer):
    """No such name, and none other up to "zzz", by the NSEC record of the zone's apex."""
    zone = question.script.zone
    denied(question, answer)
    nsec = dns.rrset.from_text(zone.origin, 60, "IN", "NSEC",
                               f"zzz.{zone.name}. NS SOA RRSIG NSEC DNSKEY")
    rrset, signatures = question.signed(nsec)
    answer.authority[-2:] = [rrset, signature_set(rrset, signatures)]
    answer.set_rcode(dns.rcode.NXDOMAIN)


def aged(question, answer):
    """Its TTLs are not those that were signed any more: it comes out of somebody's cache."""
    for rrset in answer.answer + answer.authority:
        rrset.ttl = 10


def denied_and_aged(question, answer):
    denied(question, answer)
    aged(question, answer)


def altered_record(question, answer):
    """The true signature over a record in which a bit was turned."""
    rrset = answer.answer[0]
    text = question.script.record
    turned = f"{text[:-2]}{int(text[-2:], 16) ^ 1:02x}"
    answer.answer[0] = question.rrset(rrset.name, turned)


# In none of them is there a signature over the name and the record, in whatever pieces.
LIES = unsigned, authentic, by_a_stranger, renamed, by_an_alias


def mutated(seed):
    """A lie, and then its octets altered at random, the same for each seed, name and transport. No
    alteration can make it true: whoever finds a key in it is wrong."""
    def way(question):
        chance = random.Random(f"{seed} {question.label} {question.transport}")
        answer = question.honest()
        chance.choice(LIES)(question, answer)
        wire = bytearray(answer.to_wire(max_size=65535))
        # What has another id or question is dropped unread: mostly what comes after is altered.
        start = 2 if chance.random() < 0.1 else wire.index(b"\0", HEADER) + 5
        for _ in range(chance.choice((0, 1, 1, 2, 4, 16))):
            wire = alter(chance, wire, start)
        if chance.random() < 0.1 and question.transport == "udp":
            wire[2] |= 0x02  # TC
        question.reply(bytes(wire))
    return way


def alter(chance, wire, start):
    if len(wire) <= start:
        return wire
    at = chance.randrange(start, len(wire))
    kind = chance.randrange(6)
    if kind == 0:
        wire[at] ^= 1 << chance.randrange(8)
    elif kind == 1:
        wire[at] = chance.choice((0, 0xFF, 0xC0, 0x3F, 0x40, 0x80))
    elif kind == 2:
        del wire[at:at + chance.randrange(1, 20)]
    elif kind == 3:
        wire[at:at] = chance.randbytes(chance.randrange(1, 20))
    elif kind == 4:
        wire[at:at] = wire[start:at]
    else:
        wire[chance.randrange(4, HEADER)] = chance.randrange(256)
    return wire


# Label -> the way, and the word that comes of it (None: the key is found).
SECURE = {
    "good": good,
    "second-try": second_try,
    "after-a-forgery": after_a_forgery,
    "late": late,
    "truncated": truncated(good),
    "in-drops": truncated(in_drops),
    "aged": message(aged),
}
DENIED = {
    "denied": message(denied),
    "denied-and-aged": message(denied_and_aged),
    "denied-with-all": message(denied_with_all),
}
BOGUS = {
    "unsigned": message(unsigned),
    "authentic": message(authentic),
    "by-a-stranger": message(by_a_stranger),
    "renamed": message(renamed),
    "by-an-alias": message(by_an_alias),
    "extra-record": message(extra_record),
    "altered-record": message(altered_record),
    "no-such-name": message(no_such_name),
    "for-another": message(for_another),
}
NOT_NOW = {
    "silent": silent,
    "noise": noise(200),
    "a-few-octets": noise(5),
    "empty": octets(lambda wire: b""),
    "header-alone": octets(lambda wire: wire[:HEADER]),
    "wrong-id": octets(lambda wire: bytes([wire[0] ^ 1]) + wire[1:]),
    "wrong-question": octets(lambda wire: wire[:HEADER + 1] + bytes([wire[HEADER + 1] ^ 1])
                             + wire[HEADER + 2:]),
    "no-question": replaced((5, 0)),
    "a-question-back": octets(lambda wire: wire[:2] + bytes([wire[2] & 0x7F]) + wire[3:]),
    "huge-counts": replaced((6, 0xFF), (7, 0xFF), (8, 0xFF), (10, 0xFF)),
    "loop-of-pointers": octets(point_to_itself),
    "pointer-ahead": octets(point_ahead),
    "cut": octets(lambda wire: wire[:len(wire) // 2]),
    "servfail": rcode(dns.rcode.SERVFAIL),
    "refused": rcode(dns.rcode.REFUSED),
    "notimp": rcode(dns.rcode.NOTIMP),
    "formerr": rcode(dns.rcode.FORMERR),
    "hang-up": truncated(hang_up),
    "half": truncated(half),
    "length-alone": truncated(lambda question: question.send(b"\x02\x00")),
    "length-of-nothing": truncated(lambda question: question.send(b"\0\0")),
    "silent-tcp": truncated(silent),
    "truncated-for-ever": message(truncate),
    "far0": far_alias,
}
WAYS = {**SECURE, **DENIED, **BOGUS, **NOT_NOW, **{f"far{n}": far_alias for n in range(200)}}
