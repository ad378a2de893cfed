"""Zones that are signed here and not by the server, so that they can be signed wrongly: long ago,
or with a bit turned over afterwards. ECDSA P-256, one key, an NSEC chain (RFC 4034)."""

import time

import dns.dnssec
import dns.name
import dns.node
import dns.rdata
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.NSEC
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives.asymmetric import ec

DAY = 86400


class SignedZone:
    """text: the master file; anchor: the DNSKEY record to trust."""

    def __init__(self, name, records, inception=-DAY, expiration=7 * DAY, broken=()):
        """records: lines of the zone beside SOA and NS. inception, expiration: seconds from now.
        broken: (owner, type) whose signature gets a bit turned over."""
        self.origin = dns.name.from_text(name)
        self.times = int(time.time()) + inception, int(time.time()) + expiration
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.key = dns.dnssec.make_dnskey(self.private.public_key(),
                                          dns.dnssec.Algorithm.ECDSAP256SHA256, flags=257)
        self.anchor = f"{name}. IN DNSKEY {self.key}\n"
        self.broken = {(dns.name.from_text(owner), dns.rdatatype.from_text(kind))
                       for owner, kind in broken}
        zone = dns.zone.from_text("\n".join([
            "$TTL 60", "@ SOA ns hostmaster 1 3600 900 604800 60", "@ NS ns", "ns A 127.0.0.1",
            f"@ DNSKEY {self.key}", *records]), self.origin, relativize=False)
        lines = []
        self.add_chain(zone)
        for owner, node in sorted(zone.items()):
            for rdataset in node:
                rrset = dns.rrset.from_rdata_list(owner, 60, list(rdataset))
                lines.append(rrset.to_text())
                lines.append(f"{owner} 60 IN RRSIG {self.signature(rrset)}")
        self.text = "\n".join(lines) + "\n"

    def signature(self, rrset):
        signature = dns.dnssec.sign(rrset, self.private, self.origin, self.key,
                                    inception=self.times[0], expiration=self.times[1])
        if (rrset.name, rrset.rdtype) in self.broken:
            turned = bytes([signature.signature[0] ^ 1]) + signature.signature[1:]
            signature = signature.replace(signature=turned)
        return signature

    def add_chain(self, zone):
        owners = sorted(zone.nodes)
        for owner, following in zip(owners, owners[1:] + owners[:1]):
            kinds = [dns.rdatatype.to_text(rdataset.rdtype) for rdataset in zone[owner]]
            text = f"{following} {' '.join(kinds)} RRSIG NSEC"
            zone[owner].replace_rdataset(dns.rdataset.from_text("IN", "NSEC", 60, text))
