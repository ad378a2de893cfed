"""Tokens in software that behave as those in hardware, for the real program: a TPM (swtpm), and a
PKCS #11 token (SoftHSM)."""

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

from servers import LOOPBACK, Server, free_port, program

MODULE = Path("/usr/lib/softhsm/libsofthsm2.so")
ENGINES = "/usr/lib/*-linux-gnu*/engines-3/pkcs11.so"
PROVIDERS = "/usr/lib/*-linux-gnu*/ossl-modules/tpm2.so"


def run(*command, **variables):
    done = subprocess.run([*map(str, command)], capture_output=True,
                          env={**os.environ, **variables}, check=False)
    assert done.returncode == 0, (command, done)


def missing(programs, library):
    """What of it is not installed, or None."""
    lacking = [name for name in programs if shutil.which(name) is None]
    if not list(Path("/").glob(library.lstrip("/"))):
        lacking.append(library)
    return f"not installed: {', '.join(lacking)}" if lacking else None


class Tpm(Server):
    """A TPM that serves one connection at a time, as one without a resource manager does."""

    name = "swtpm"
    missing = missing(["swtpm", "tpm2_create"], PROVIDERS)
    SIGNS = "fixedtpm|fixedparent|sensitivedataorigin|userwithauth|sign"

    def __enter__(self):
        # The control port is the one after the other: that is how the library finds it.
        while True:
            self.port = free_port()
            with contextlib.suppress(OSError), socket.socket() as following:
                following.bind((LOOPBACK, self.port + 1))
                break
        self.start()
        self.tool("tpm2_createprimary", "-C", "o", "-G", "ecc", "-c", self.folder / "primary")
        self.tool("tpm2_flushcontext", "-t")
        return self

    def command(self):
        return [program("swtpm"), "socket", "--tpm2", "--tpmstate", f"dir={self.folder}",
                "--server", f"type=tcp,port={self.port},bindaddr={LOOPBACK}",
                "--ctrl", f"type=tcp,port={self.port + 1},bindaddr={LOOPBACK}",
                "--flags", "not-need-init,startup-clear"]

    def answers(self):
        with contextlib.suppress(OSError), socket.create_connection((LOOPBACK, self.port + 1)):
            return True
        return False

    @property
    def variables(self):
        return {"TPM2OPENSSL_TCTI": f"swtpm:host={LOOPBACK},port={self.port}"}

    def tool(self, *command):
        run(*command, TPM2TOOLS_TCTI=self.variables["TPM2OPENSSL_TCTI"])

    def make(self, handle, kind, attributes):
        """A persistent key; its URI."""
        made = [self.folder / f"{handle}.{part}" for part in ("pub", "priv", "ctx")]
        self.tool("tpm2_create", "-C", self.folder / "primary", "-G", kind, "-a", attributes,
                  "-u", made[0], "-r", made[1])
        self.tool("tpm2_flushcontext", "-t")
        self.tool("tpm2_load", "-C", self.folder / "primary", "-u", made[0], "-r", made[1],
                  "-c", made[2])
        self.tool("tpm2_evictcontrol", "-C", "o", "-c", made[2], handle)
        self.tool("tpm2_flushcontext", "-t")
        return f"handle:{handle}"


class SoftHsm:
    missing = missing(["softhsm2-util", "pkcs11-tool"], ENGINES) or (
        None if MODULE.exists() else "not installed: softhsm2")
    PIN = "471147114711"

    def __init__(self, folder, label="device"):
        self.folder = Path(folder)
        self.tokens = self.folder / "tokens"
        self.tokens.mkdir(parents=True)
        configuration = self.folder / "softhsm2.conf"
        configuration.write_text(f"directories.tokendir = {self.tokens}\nlog.level = ERROR\n")
        self.variables = {"SOFTHSM2_CONF": str(configuration)}
        self.count = 0
        self.pin_file = self.folder / "pin"
        self.pin_file.write_text(self.PIN)
        self.pin_file.chmod(0o600)
        run("softhsm2-util", "--init-token", "--free", "--label", label, "--pin", self.PIN,
            "--so-pin", self.PIN, **self.variables)

    def make(self, label, kind, usage):
        """A key; its URI, with the PIN in a file."""
        self.count += 1
        run("pkcs11-tool", "--module", MODULE, "--token-label", "device", "--pin", self.PIN,
            "--keypairgen", "--key-type", kind, "--label", label, "--id", f"{self.count:02}",
            *(f"--usage-{use}" for use in ["sign", *usage]), **self.variables)
        return self.uri(label)

    def uri(self, label, pin=None, token="device"):
        pin = pin or f"pin-source=file:{self.pin_file}"
        return f"pkcs11:token={token};object={label}?module-path={MODULE}&{pin}"
