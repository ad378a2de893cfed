"""An internet of its own: one root server with a signed root zone, and a resolver of the system that
hands DNSSEC through or strips it. Run by test_recursion.py, in namespaces where this is all there is:

    unshare -n -m python3 recursion.py FOLDER honest|strips PROGRAM ARGUMENTS ...

The program runs with --trust-anchor for that root; its exit status and output are ours."""

import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import dns.flags
import dns.message
import dns.query
from servers import LOOPBACK, Nsd
from signed_zone import SignedZone
from world import RECORD

# Those that libunbound begins with: a to m.root-servers.net.
ROOT_SERVERS = ["198.41.0.4", "199.9.14.201", "192.33.4.12", "199.7.91.13", "192.203.230.10",
                "192.5.5.241", "192.112.36.4", "198.97.190.53", "192.36.148.17", "192.58.128.30",
                "193.0.14.129", "199.7.83.42", "202.12.27.33"]
RESOLVER = "127.0.0.2"


class Root(Nsd):
    def command(self):
        command = super().command()
        configuration = Path(command[-1])
        own = f"    ip-address: {LOOPBACK}@{self.port}\n"
        configuration.write_text(configuration.read_text().replace(
            own, own + "".join(f"    ip-address: {address}@53\n" for address in ROOT_SERVERS)))
        return command


def resolve(strips):
    """Forwards every question to the root server; what strips asks without DO, and answers so."""
    server = socket.socket(type=socket.SOCK_DGRAM)
    server.bind((RESOLVER, 53))
    while True:
        data, client = server.recvfrom(4096)
        query = dns.message.from_wire(data)
        asked = dns.message.make_query(query.question[0].name, query.question[0].rdtype,
                                       want_dnssec=not strips, payload=4096)
        answer = dns.query.udp(asked, LOOPBACK, 5, port=53)
        answer.id = query.id
        answer.flags |= dns.flags.RA
        server.sendto(answer.to_wire(), client)


def main():
    folder, how, command = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
    for line in ["link set lo up", *(f"addr add {one}/32 dev lo" for one in ROOT_SERVERS)]:
        subprocess.run(["ip", *line.split()], check=True)
    (folder / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
    subprocess.run(["mount", "--bind", folder / "resolv.conf", "/etc/resolv.conf"], check=True)
    zone = SignedZone("", [f"alice.test TLSA {RECORD}"])
    (folder / "anchor").write_text(zone.anchor)
    root = Root(folder / "root", {".": zone.text})
    root.port = 53
    root.start()
    threading.Thread(target=resolve, args=(how == "strips",), daemon=True).start()
    ran = subprocess.run([*command, "--trust-anchor", folder / "anchor"],
                         env={"PATH": os.environ["PATH"], "HOME": str(folder)})
    root.stop()
    sys.stdout.flush()
    os._exit(ran.returncode)


if __name__ == "__main__":
    main()
