"""CAs and certificates made here, and an HTTPS server on loopback that serves them, or misbehaves
as a test wants it to."""

import contextlib
import datetime
import http.server
import ssl
import threading
import warnings

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID
from servers import LOOPBACK

DAY = datetime.timedelta(days=1)
PEM = serialization.Encoding.PEM


def new_key(kind="ec"):
    return rsa.generate_private_key(65537, 2048) if kind == "rsa" else ec.generate_private_key(
        ec.SECP256R1())


def named(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


class Authority:
    """A CA: self-signed, or issued by another. ca, starts and ends: what its certificate says."""

    count = 0

    def __init__(self, issuer=None, kind="ec", ca=True, starts=-DAY, ends=DAY, path_length=None):
        Authority.count += 1
        self.key, self.name = new_key(kind), named(f"CA {Authority.count}")
        self.issuer = issuer
        signer = issuer or self
        builder = start(signer, self.name, self.key.public_key(), starts, ends)
        builder = builder.add_extension(
            x509.BasicConstraints(ca, path_length if ca else None), critical=True)
        self.certificate = builder.sign(signer.key, hashes.SHA256())

    def issue(self, public_key, names, starts=-DAY, ends=DAY):
        """A certificate for DNS names; the subject is not looked at by anybody."""
        builder = start(self, named("leaf"), public_key, starts, ends)
        builder = builder.add_extension(
            x509.SubjectAlternativeName([x509.DNSName(name) for name in names]), critical=False)
        return builder.sign(self.key, hashes.SHA256())

    def pem(self):
        return pem(self.certificate)


def start(signer, subject, public_key, starts, ends):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (x509.CertificateBuilder().subject_name(subject).issuer_name(signer.name)
            .public_key(public_key).serial_number(x509.random_serial_number())
            .not_valid_before(now + starts).not_valid_after(now + ends)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(
                signer.key.public_key()), critical=False))


def pem(*certificates):
    return b"".join(certificate.public_bytes(PEM) for certificate in certificates)


def path_of(certificate):
    """Where the issuer of a certificate is looked for."""
    aki = certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value
    return f"/.well-known/ca/{aki.key_identifier.hex('-')}.pem"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        with self.server.lock:
            self.server.asked.append((self.headers["Host"], self.path))
        answer = self.server.answers.get(self.path, (404, b"nothing here"))
        if callable(answer):
            answer(self)
        else:
            self.send(*answer)

    def send(self, status, body, **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), "Connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(body)

    def send_slowly(self):
        """A header, and then an octet now and then, until the client has enough of it."""
        self.send_response(200)
        self.send_header("Content-Length", "1000")
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.server.stopping.wait(0.2):
                self.wfile.write(b"-")
                self.wfile.flush()
        self.close_connection = True

    def send_without_end(self):
        """More than anybody wants, without saying so before."""
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        with contextlib.suppress(OSError):
            while not self.server.stopping.is_set():
                self.wfile.write(b"-" * 4096)
        self.close_connection = True

    def log_message(self, *arguments):
        pass


class QuietServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        pass  # clients that refuse us close the connection


class HttpsServer:
    """answers: path -> (status, body), or a function of the handler. asked: what came, in order.
    context: an ssl.SSLContext; None: plain HTTP."""

    def __init__(self, context):
        self.context = context

    def __enter__(self):
        self.server = QuietServer((LOOPBACK, 0), Handler)
        self.server.answers, self.server.asked = {}, []
        self.server.lock, self.server.stopping = threading.Lock(), threading.Event()
        if self.context is not None:
            self.server.socket = self.context.wrap_socket(
                self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.server.stopping.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    @property
    def answers(self):
        return self.server.answers

    @property
    def asked(self):
        return self.server.asked

    @property
    def port(self):
        return self.server.server_address[1]

    def at(self, *hosts):
        """What --authority says of hosts that are here."""
        return " ".join(f"{host}={LOOPBACK}@{self.port}" for host in hosts)

    def serve(self, below, issuer):
        """Puts a CA's certificate where the issuer of `below` is looked for."""
        self.answers[path_of(below)] = (200, issuer.pem())


def server_context(folder, authority, names, kind="ec", most=None):
    """TLS for a server: its certificate for these names, by a CA or, without one, by itself."""
    key = new_key(kind)
    if authority is None:
        authority = Authority()
        authority.key = key
    certificate = authority.issue(key.public_key(), names)
    file = folder / f"{names[0]}-{certificate.serial_number}.pem"
    file.write_bytes(pem(certificate) + key.private_bytes(
        PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if most is not None:
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # an old version is the point
            context.maximum_version = most
        context.set_ciphers("ALL:@SECLEVEL=0")
    context.load_cert_chain(file)
    return context
