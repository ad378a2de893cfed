"""An internet of its own: one root server with a signed root zone, another for zones below it, and a
resolver of the system that hands DNSSEC through, strips it, refuses to be asked or is not there. Run
by test_recursion.py, in namespaces where this is all there is:

    unshare -n -m python3 recursion.py FOLDER honest|strips|refuses|away PROGRAM ARGUMENTS ...

ANCHOR among the arguments is a file with that root's trust anchor. The program's exit status and
output are ours."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
from servers import LOOPBACK, PATIENCE, Nsd
from signed_zone import SignedZone
from world import RECORD

# Those that libunbound begins with: a to m.root-servers.net.
ROOT_SERVERS = ["198.41.0.4", "199.9.14.201", "192.33.4.12", "199.7.91.13", "192.203.230.10",
                "192.5.5.241", "192.112.36.4", "198.97.190.53", "192.36.148.17", "192.58.128.30",
                "193.0.14.129", "199.7.83.42", "202.12.27.33"]
RESOLVER = "127.0.0.2"


# Name servers of zones below the root: one that everybody can reach, and some in networks that are
# somebody's own.
OUTER = {"outer.test": "203.0.113.7"}
INNER = {"a.test": "10.9.8.7", "b.test": "172.31.9.7", "c.test": "192.168.9.7", "d.test": "100.127.9.7",
         "e.test": "169.254.9.7", "f.test": "127.9.8.7"}


class Reachable(Nsd):
    """At port 53 of these addresses too."""

    def __init__(self, folder, zones, addresses, port):
        super().__init__(folder, zones)
        self.addresses, self.port = addresses, port

    def command(self):
        command = super().command()
        configuration = Path(command[-1])
        own = f"    ip-address: {LOOPBACK}@{self.port}\n"
        configuration.write_text(configuration.read_text().replace(
            own, own + "".join(f"    ip-address: {address}@53\n" for address in self.addresses)))
        return command


def resolve(server, how):
    """Forwards every question to the root server; what strips asks without DO, and answers so."""
    while True:
        data, client = server.recvfrom(4096)
        query = dns.message.from_wire(data)
        asked = dns.message.make_query(query.question[0].name, query.question[0].rdtype,
                                       want_dnssec=how != "strips", payload=4096)
        if how == "refuses":
            answer = dns.message.make_response(asked)
            answer.set_rcode(dns.rcode.REFUSED)
        else:
            answer = dns.query.udp(asked, LOOPBACK, PATIENCE, port=53)
        answer.id = query.id
        answer.flags |= dns.flags.RA
        server.sendto(answer.to_wire(), client)


def delegation(zone, address):
    name = zone.name
    return [f"{name} NS ns.{name}.", f"ns.{name} A {address}", f"{name} DS {zone.keys[0].ds(name)}"]


def main():
    folder, how, command = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    below = {**OUTER, **INNER}
    addresses = [*ROOT_SERVERS, *below.values()]
    for line in ["link set lo up", *(f"addr add {one}/32 dev lo" for one in addresses)]:
        subprocess.run(["ip", *line.split()], check=True)
    (folder / "resolv.conf").write_text("" if how == "away" else f"nameserver {RESOLVER}\n")
    subprocess.run(["mount", "--bind", folder / "resolv.conf", "/etc/resolv.conf"], check=True)
    zones = {name: SignedZone(name, [f"alice TLSA {RECORD}"], server=address)
             for name, address in below.items()}
    zone = SignedZone("", [f"alice.test TLSA {RECORD}",
                           *(line for name in below for line in delegation(zones[name], below[name]))],
                      server=ROOT_SERVERS[0])
    (folder / "anchor").write_text(zone.anchor)
    root = Reachable(folder / "root", {".": zone.text}, ROOT_SERVERS, 53).start()
    others = Reachable(folder / "others", {name: zone.text for name, zone in zones.items()},
                       below.values(), 5353).start()
    server = socket.socket(type=socket.SOCK_DGRAM)
    server.bind((RESOLVER, 53))
    threading.Thread(target=resolve, args=(server, how), daemon=True).start()
    ran = subprocess.run([folder / "anchor" if word == "ANCHOR" else word for word in command],
                         env={"PATH": os.environ["PATH"], "HOME": str(folder)})
    root.stop()
    others.stop()
    sys.stdout.flush()
    os._exit(ran.returncode)


if __name__ == "__main__":
    main()
