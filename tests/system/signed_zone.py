"""Zones that are signed here and not by the server, so that they can be signed wrongly: long ago,
with a bit turned over afterwards, by keys that come and go. ECDSA P-256 or RSA, one key or several,
an NSEC or NSEC3 chain (RFC 4034, RFC 5155)."""

import copy
import time

import dns.dnssec
import dns.name
import dns.rdata
import dns.rdataset
import dns.rdatatype
import dns.rdtypes.ANY.NSEC
import dns.rdtypes.ANY.NSEC3
import dns.rrset
import dns.zone
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils

DAY = 86400


class ZoneKey:
    """One key of a zone. signs: "all" sets, the "keys" alone (a KSK), the "zone" but them (a ZSK),
    or "nothing". listed: in the DNSKEY set. number: what stands for the algorithm, if it is a lie."""

    def __init__(self, kind="ecdsa", signs="all", listed=True, number=None, flags=None):
        self.signs, self.listed = signs, listed
        if kind == "rsa":
            self.private = rsa.generate_private_key(65537, 2048)
            algorithm = dns.dnssec.Algorithm.RSASHA256
        else:
            self.private = ec.generate_private_key(ec.SECP256R1())
            algorithm = dns.dnssec.Algorithm.ECDSAP256SHA256
        self.honest = dns.dnssec.make_dnskey(self.private.public_key(), algorithm,
                                             flags=flags or (256 if signs == "zone" else 257))
        self.shown = self.honest.replace(algorithm=number) if number else self.honest

    def but(self, signs):
        """The same key in another state."""
        changed = copy.copy(self)
        changed.signs = signs
        return changed

    def sign(self, owner, rrset, origin, times):
        """owner may be a wildcard, whose star counts for no label (RFC 4034 section 3.1.3)."""
        honest = dns.dnssec.sign(rrset, self.private, origin, self.honest, inception=times[0],
                                 expiration=times[1])
        if not owner.is_wild() and self.shown is self.honest:
            return honest
        template = honest.replace(labels=honest.labels - owner.is_wild(),
                                  algorithm=self.shown.algorithm, signature=b"",
                                  key_tag=dns.dnssec.key_id(self.shown))
        data = dns.dnssec._make_rrsig_signature_data(rrset, template)
        return template.replace(signature=self.raw_signature(data))

    def raw_signature(self, data):
        """As the honest algorithm has it, over what dnspython would not sign."""
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(data, padding.PKCS1v15(), hashes.SHA256())
        pair = utils.decode_dss_signature(self.private.sign(data, ec.ECDSA(hashes.SHA256())))
        return b"".join(number.to_bytes(32, "big") for number in pair)

    def anchor(self, name, form="DNSKEY"):
        record = self.shown if form == "DNSKEY" else self.ds(name)
        return f"{name}. IN {form} {record}\n"

    def ds(self, name):
        """The record that a parent zone has of it."""
        return dns.dnssec.make_ds(dns.name.from_text(name), self.shown, "SHA256")


class SignedZone:
    """text: the master file; anchor: the DNSKEY records to trust."""

    def __init__(self, name, records, inception=-DAY, expiration=7 * DAY, broken=(), keys=None,
                 nsec3=None, opt_out=False, ttl=60, serial=1, server="127.0.0.1"):
        """records: lines of the zone beside SOA and NS. inception, expiration: seconds from now.
        broken: (owner, type) whose signature gets a bit turned over. nsec3: its iterations."""
        self.name, self.origin = name, dns.name.from_text(name)
        self.times = int(time.time()) + inception, int(time.time()) + expiration
        self.keys = keys or [ZoneKey()]
        self.anchor = "".join(key.anchor(name) for key in self.keys if key.honest.flags == 257)
        self.broken = {(dns.name.from_text(owner), dns.rdatatype.from_text(kind))
                       for owner, kind in broken}
        self.nsec3, self.opt_out, self.ttl = nsec3, opt_out, ttl
        lines = [f"@ DNSKEY {key.shown}" for key in self.keys if key.listed]
        if nsec3 is not None:
            lines.append(f"@ NSEC3PARAM 1 0 {nsec3} -")
        zone = dns.zone.from_text("\n".join([
            f"$TTL {ttl}", f"@ SOA ns hostmaster {serial} 3600 900 604800 {ttl}", "@ NS ns",
            f"ns A {server}",
            *lines, *records]), self.origin, relativize=False)
        self.cuts = [owner for owner, node in zone.items()
                     if owner != self.origin and node.get_rdataset(dns.rdataclass.IN, dns.rdatatype.NS)]
        self.add_chain(zone)
        self.rrsets = [(dns.rrset.from_rdata_list(owner, ttl, list(rdataset)),
                        self.signatures(owner, rdataset))
                       for owner, node in sorted(zone.items()) for rdataset in node]
        self.text = "".join(
            "\n".join([rrset.to_text(), *(f"{rrset.name} {ttl} IN RRSIG {one}" for one in signatures)])
            + "\n" for rrset, signatures in self.rrsets)

    def below_cut(self, owner):
        return any(owner != cut and owner.is_subdomain(cut) for cut in self.cuts)

    def signatures(self, owner, rdataset):
        """None over a delegation's NS and what is below it (RFC 4035 section 2.2)."""
        if self.below_cut(owner) or (owner in self.cuts and rdataset.rdtype == dns.rdatatype.NS):
            return []
        rrset = dns.rrset.from_rdata_list(owner, self.ttl, list(rdataset))
        part = "keys" if rdataset.rdtype == dns.rdatatype.DNSKEY else "zone"
        return [self.damage(rrset, key.sign(owner, rrset, self.origin, self.times))
                for key in self.keys if key.signs in ("all", part)]

    def damage(self, rrset, signature):
        if (rrset.name, rrset.rdtype) not in self.broken:
            return signature
        turned = bytes([signature.signature[0] ^ 1]) + signature.signature[1:]
        return signature.replace(signature=turned)

    # ------------------------------------------------------------------------- proofs of absence

    def add_chain(self, zone):
        owners = sorted(owner for owner in zone.nodes if not self.below_cut(owner))
        if self.nsec3 is not None:
            self.add_hashed_chain(zone, owners)
            return
        for owner, following in zip(owners, owners[1:] + owners[:1]):
            kinds = " ".join(self.kinds(zone, owner)) + " RRSIG NSEC"
            text = f"{following} {kinds}"
            zone[owner].replace_rdataset(dns.rdataset.from_text("IN", "NSEC", self.ttl, text))

    def kinds(self, zone, owner):
        return [dns.rdatatype.to_text(rdataset.rdtype) for rdataset in zone[owner]]

    def add_hashed_chain(self, zone, owners):
        kinds = {}
        for owner in owners:
            here = self.kinds(zone, owner)
            if self.opt_out and owner in self.cuts and "DS" not in here:
                continue
            signed = owner not in self.cuts or "DS" in here
            kinds[owner] = here + ["RRSIG"] * signed
            parent = owner
            while parent != self.origin:  # empty non-terminals have a hash of their own
                parent = parent.parent()
                kinds.setdefault(parent, [])
        kinds[self.origin] = self.kinds(zone, self.origin) + ["RRSIG"]
        hashed = sorted((dns.dnssec.nsec3_hash(owner, b"", self.nsec3, "SHA1"), owner)
                        for owner in kinds)
        for (here, owner), (following, _) in zip(hashed, hashed[1:] + hashed[:1]):
            text = f"1 {int(self.opt_out)} {self.nsec3} - {following} {' '.join(kinds[owner])}"
            zone.find_node(dns.name.from_text(here, self.origin), create=True).replace_rdataset(
                dns.rdataset.from_text("IN", "NSEC3", self.ttl, text))
