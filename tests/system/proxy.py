"""A TCP proxy before a broker that does what networks do, and what brokers may: it cuts connections in
the middle of a packet, delays, delivers a PUBLISH twice, and keeps acknowledgements to itself.

It never does what TCP excludes: packets of one direction stay in order, so what is withheld is
followed by nothing until the connection is cut.
"""

import random
import socket
import struct
import threading
import time

from servers import LOOPBACK, variable_length

PUBLISH, PUBACK = 3, 4
# Packet ids of the copies: clients and brokers count from 1 upwards, and get nowhere near.
FIRST_OWN_ID = 60000
# Packets before a cut from which on acknowledgements may get lost with it.
DOOMED = 40
# Seconds after a lost acknowledgement until the connection is cut at the latest.
DOOMED_TIME = 0.5


def split(data):
    """The first whole MQTT packet of data as (first octet, body), and what follows; None for none."""
    size = shift = 0
    for at in range(1, min(len(data), 5)):
        size |= (data[at] & 0x7F) << shift
        shift += 7
        if not data[at] & 0x80:
            end = at + 1 + size
            return ((data[0], data[at + 1:end]), data[end:]) if len(data) >= end else (None, data)
    return None, data


def join(first, body):
    return bytes([first]) + variable_length(len(body)) + body


def kind(packet):
    return packet[0] >> 4


def identifier(packet):
    """Of a PUBACK, or of a PUBLISH with quality of service 1: where it stands, and what it is."""
    first, body = packet
    at = 0 if first >> 4 == PUBACK else 2 + int.from_bytes(body[:2], "big")
    return at, int.from_bytes(body[at:at + 2], "big")


class Connection:
    """One client's. Direction "up" goes to the broker, "down" to the client."""

    def __init__(self, proxy, client):
        self.proxy, self.client = proxy, client
        self.server = socket.create_connection((LOOPBACK, proxy.target), 5)
        self.lock = threading.Lock()
        self.copies = {"up": set(), "down": set()}  # ids of copies that went that way
        self.next_id = FIRST_OWN_ID
        self.left = proxy.plan_cut()                # packets until the cut; None: never
        self.closed = False
        for connected in client, self.server:
            connected.settimeout(None)
            connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.threads = [threading.Thread(target=self.pump, args=way, daemon=True) for way in (
            ("up", client, self.server), ("down", self.server, client))]

    def start(self):
        for thread in self.threads:
            thread.start()

    def pump(self, way, source, target):
        data = b""
        try:
            while more := source.recv(65536):
                self.proxy.wait(way)
                if self.closed:
                    break
                data += more
                while (found := split(data))[0] is not None:
                    packet, data = found
                    self.forward(way, packet, target)
        except (OSError, BrokenPipeError):
            pass
        self.close()

    def forward(self, way, packet, target):
        proxy, out = self.proxy, join(*packet)
        with self.lock:
            if kind(packet) == PUBACK and self.swallows(way, packet):
                return
            if kind(packet) == PUBLISH and packet[0] & 6 and proxy.chance(proxy.duplicate):
                out += self.copy(way, packet)
            cut = kind(packet) in (PUBLISH, PUBACK) and self.count_down()
        target.sendall(out[:proxy.random.randrange(len(out))] if cut else out)
        if cut:
            proxy.cuts += 1
            self.close(hard=proxy.chance(0.5))

    def count_down(self):
        if self.left is not None:
            self.left -= 1
        return self.left is not None and self.left <= 0 and self.proxy.withheld > 0

    def swallows(self, way, packet):
        """What acknowledges a copy is no business of who sent the original; and of a connection that
        is about to be cut some acknowledgements are lost."""
        copies = self.copies["down" if way == "up" else "up"]
        _, number = identifier(packet)
        if number in copies:
            copies.discard(number)
            self.proxy.arrived += way == "down"
            return True
        if self.left is None or self.left > DOOMED:
            return False
        if self.proxy.withheld > 0 and not self.proxy.chance(self.proxy.withhold):
            return False
        self.proxy.withheld += 1
        threading.Timer(DOOMED_TIME, self.cut).start()
        return True

    def copy(self, way, packet):
        at, _ = identifier(packet)
        self.next_id = FIRST_OWN_ID if self.next_id == 0xFFFF else self.next_id + 1
        self.copies[way].add(self.next_id)
        self.proxy.duplicated += 1
        first, body = packet
        return join(first & ~8, body[:at] + struct.pack(">H", self.next_id) + body[at + 2:])

    def cut(self):
        if not self.closed:
            self.proxy.cuts += 1
            self.close(hard=True)

    def close(self, hard=False):
        """hard: by a reset, so that what is on its way may be lost too."""
        with self.lock:
            if self.closed:
                return
            self.closed = True
        for connected in self.client, self.server:
            if hard:
                connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            try:
                connected.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            connected.close()
        self.proxy.connections.discard(self)


class Proxy:
    """cuts: connections to cut at most, each after a number of packets in the range cut_after;
    duplicate, withhold: how often, 0 to 1; delay: seconds at most for what comes in one piece. Before
    the first cut at least one acknowledgement is withheld."""

    def __init__(self, target, seed=1, cuts=0, cut_after=(20, 200), duplicate=0.0, withhold=0.5,
                 delay=0.0):
        self.target, self.random = target, random.Random(seed)
        self.cuts_left, self.cut_after = cuts, cut_after
        self.duplicate, self.withhold, self.delay = duplicate, withhold, delay
        self.cuts = self.duplicated = self.withheld = 0
        self.arrived = 0  # copies that the broker has acknowledged
        self.connections = set()
        self.passes = threading.Event()
        self.passes.set()

    def __enter__(self):
        self.listener = socket.create_server((LOOPBACK, 0))
        self.port = self.listener.getsockname()[1]
        self.thread = threading.Thread(target=self.accept, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *exception):
        # A thread in accept() is only woken by this, not by close().
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join()
        self.disconnect()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            try:
                connection = Connection(self, client)
            except OSError:  # no broker there
                client.close()
                continue
            self.connections.add(connection)
            connection.start()

    def disconnect(self):
        """Ends all connections; what is held is lost."""
        for connection in list(self.connections):
            connection.close(hard=True)
        self.passes.set()

    def hold(self):
        """Nothing reaches the clients any more, until all is lost by disconnect()."""
        self.passes.clear()

    def plan_cut(self):
        if self.cuts_left == 0:
            return None
        self.cuts_left -= 1
        return self.random.randint(*self.cut_after)

    def chance(self, probability):
        return self.random.random() < probability

    def wait(self, way):
        pause = self.delay * self.random.random() ** 4
        if pause > 0:
            time.sleep(pause)
        if way == "down":
            self.passes.wait()
