"""JOSE implementations behind one interface, for test_interop_matrix.py.

Each has sign(key, alg, form, payload), verify(key, alg, text), encrypt(key, alg, enc, form,
plaintext) and decrypt(key, alg, enc, text). They return bytes, or raise Refused with the reason.
"""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

from jwcrypto import jwe, jwk, jws
from jwcrypto.common import JWException
from servers import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("DANEMSG", ROOT / "build" / "cli" / "danemsg")).resolve().parents[1]


class Refused(Exception):
    """The implementation does not take it, or cannot make it."""


class Missing(Exception):
    """The implementation is not installed."""


class Key:
    """A key pair, as JWK files and as text."""

    def __init__(self, folder, name, **parameters):
        made = jwk.JWK.generate(**parameters)
        self.name = name
        self.private, self.public = made.export_private(), made.export_public()
        self.private_file, self.public_file = folder / f"{name}.jwk", folder / f"{name}.pub.jwk"
        self.private_file.write_text(self.private)
        self.public_file.write_text(self.public)


def run(*words, input):
    done = subprocess.run([str(word) for word in words], input=input, capture_output=True,
                          timeout=PATIENCE)
    said = done.stderr.decode(errors="replace").strip()
    assert done.returncode >= 0, f"{words[0]} was killed by signal {-done.returncode}: {said}"
    if done.returncode != 0:
        raise Refused(f"{done.returncode}: {said}")
    return done.stdout


class Program:
    """tests/interop: one C program per library, status 1 for a refusal and nothing else."""

    def __init__(self, name):
        self.program = BUILD / "tests" / "unit" / f"interop_{name}"
        if not self.program.exists():
            raise Missing(f"{self.program.name} is not built: its library is not installed")

    def _run(self, *words, input):
        done = subprocess.run([self.program, *map(str, words)], input=input, capture_output=True,
                              timeout=PATIENCE)
        said = done.stderr.decode(errors="replace").strip()
        if done.returncode == 1:
            assert done.stdout == b"", "nothing may come out of a refusal"
            raise Refused(said)
        assert done.returncode == 0, f"{self.program.name} ended with {done.returncode}: {said}"
        return done.stdout

    def sign(self, key, alg, form, payload):
        return self._run("sign", key.private_file, alg, form, input=payload)

    def verify(self, key, alg, text):
        return self._run("verify", key.public_file, alg, input=text)

    def encrypt(self, key, alg, enc, form, plaintext):
        return self._run("encrypt", key.public_file, alg, form, enc, input=plaintext)

    def decrypt(self, key, alg, enc, text):
        return self._run("decrypt", key.private_file, alg, enc, input=text)


class Jwcrypto:
    """python3-jwcrypto, in this process."""

    @staticmethod
    def _refusing(step):
        try:
            return step()
        except (JWException, ValueError, NotImplementedError) as error:
            raise Refused(f"{type(error).__name__}: {error}") from error

    def sign(self, key, alg, form, payload):
        def step():
            made = jws.JWS(payload)
            made.allowed_algs = [alg]
            made.add_signature(jwk.JWK.from_json(key.private), None, json.dumps({"alg": alg}), None)
            return made.serialize(compact=form == "compact").encode()
        return self._refusing(step)

    def verify(self, key, alg, text):
        def step():
            read = jws.JWS()
            read.allowed_algs = [alg]
            read.deserialize(text.decode(), jwk.JWK.from_json(key.public))
            return read.payload
        return self._refusing(step)

    def encrypt(self, key, alg, enc, form, plaintext):
        def step():
            made = jwe.JWE(plaintext, json.dumps({"alg": alg, "enc": enc}), algs=[alg, enc])
            made.add_recipient(jwk.JWK.from_json(key.public))
            return made.serialize(compact=form == "compact").encode()
        return self._refusing(step)

    def decrypt(self, key, alg, enc, text):
        def step():
            read = jwe.JWE(algs=[alg, enc])
            read.deserialize(text.decode(), jwk.JWK.from_json(key.private))
            return read.payload
        return self._refusing(step)


class Latchset:
    """The command `jose`, of latchset (Fedora's Tang and Clevis)."""

    def __init__(self, folder):
        if shutil.which("jose") is None:
            raise Missing("the command jose is not installed")
        self.file = folder / "latchset.in"

    def _run(self, *words, input):
        self.file.write_bytes(input)
        return run("jose", *words, "-O" if words[1] in ("ver", "dec") else "-o", "-", input=b"")

    def sign(self, key, alg, form, payload):
        return self._run("jws", "sig", "-I", self.file, "-k", key.private_file, "-s",
                         json.dumps({"protected": {"alg": alg}}),
                         *["-c"] * (form == "compact"), input=payload)

    def verify(self, key, alg, text):
        return self._run("jws", "ver", "-i", self.file, "-k", key.public_file, input=text)

    def encrypt(self, key, alg, enc, form, plaintext):
        return self._run("jwe", "enc", "-I", self.file, "-k", key.public_file, "-i",
                         json.dumps({"protected": {"alg": alg, "enc": enc}}),
                         *["-c"] * (form == "compact"), input=plaintext)

    def decrypt(self, key, alg, enc, text):
        return self._run("jwe", "dec", "-i", self.file, "-k", key.private_file, input=text)


class Npm:
    """The package jose of npm, in one node that answers line by line."""

    # Runs with the node of Debian 12, as newer ones do not.
    PACKAGE = "jose@5"
    PACKAGED = Path("/usr/share/nodejs/jose")  # Debian's node-jose

    def __init__(self):
        if shutil.which("node") is None:
            raise Missing("node is not installed")
        self.node = subprocess.Popen(
            ["node", ROOT / "tests" / "interop" / "peer_npm.mjs", self._package()],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _package(self):
        folder = BUILD / "interop-npm"
        installed = folder / "node_modules" / "jose"
        if installed.exists():
            return installed
        if self.PACKAGED.exists():
            return self.PACKAGED
        if shutil.which("npm") is None:
            raise Missing("neither Debian's node-jose nor npm is installed")
        folder.mkdir(exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        try:
            run("npm", "install", "--prefix", folder, "--no-audit", "--no-fund", "--ignore-scripts",
                "--fetch-retries=1", "--fetch-timeout=10000",
                self.PACKAGE, input=b"")
        except (Refused, subprocess.TimeoutExpired) as error:
            raise Missing(f"npm install {self.PACKAGE} failed: {error}") from error
        return installed

    def _ask(self, command, jwk_text, input, **more):
        request = {"command": command, "jwk": json.loads(jwk_text),
                   "input": base64.b64encode(input).decode(), **more}
        self.node.stdin.write(json.dumps(request).encode() + b"\n")
        self.node.stdin.flush()
        answer = json.loads(self.node.stdout.readline())
        if "refused" in answer:
            raise Refused(answer["refused"])
        return base64.b64decode(answer["result"])

    def sign(self, key, alg, form, payload):
        return self._ask("sign", key.private, payload, alg=alg, form=form)

    def verify(self, key, alg, text):
        return self._ask("verify", key.public, text, alg=alg)

    def encrypt(self, key, alg, enc, form, plaintext):
        return self._ask("encrypt", key.public, plaintext, alg=alg, enc=enc, form=form)

    def decrypt(self, key, alg, enc, text):
        return self._ask("decrypt", key.private, text, alg=alg, enc=enc)

    def close(self):
        self.node.stdin.close()
        self.node.wait(PATIENCE)


def make_peer(name, folder):
    return {"jwcrypto": Jwcrypto, "latchset": lambda: Latchset(folder),
            "rhonabwy": lambda: Program("rhonabwy"), "cjose": lambda: Program("cjose"),
            "npm": Npm}[name]()
