"""The world that the tests and benches live in: servers, identities, and ways to run the program.

The program is build/cli/danemsg, or what DANEMSG in the environment says.
"""

import contextlib
import json
import os
import re
import signal
import subprocess
from pathlib import Path

import craft
from servers import LOOPBACK, NOBODY, PATIENCE, Broker, Knot, Silence, wait_for
from signed_zone import DAY, SignedZone

ROOT = Path(__file__).resolve().parents[2]
DANEMSG = Path(os.environ.get("DANEMSG", ROOT / "build" / "cli" / "danemsg"))

# What the records of names in zones that are signed here hold; nobody has the key.
RECORD = "3 1 0 " + craft.spki(craft.ec.generate_private_key(craft.ec.SECP256R1())).hex()


class Result:
    def __init__(self, process):
        self.status = process.returncode
        self.out = process.stdout
        self.err = process.stderr.decode(errors="replace")

    @property
    def text(self):
        return self.out.decode()

    def __repr__(self):
        return f"exit status {self.status}\nstdout: {self.out!r}\nstderr: {self.err}"


class World:
    """Servers, identities and the program's environment."""

    def __init__(self, folder, knot, broker, silence):
        self.folder, self.knot, self.broker, self.silence = folder, knot, broker, silence
        self.crypto = folder / "identity"
        self.crypto.mkdir(mode=0o700)
        self.anchors = folder / "anchors"
        self.states = 0
        self.variables = {
            "PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8",
            "CRYPTO_PATH": str(self.crypto), "MQTT_HOST": LOOPBACK, "MQTT_PORT": str(broker.port),
            "DANEMSG_STATE": str(folder / "state"), "DANEMSG_TRUST_ANCHOR": str(self.anchors)}
        for name in "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS":
            if name in os.environ:
                self.variables[name] = os.environ[name]

    def environment(self, **changes):
        """The variables, with changes; None takes one out."""
        variables = {**self.variables, **changes}
        return {name: str(value) for name, value in variables.items() if value is not None}

    def run(self, *arguments, input=b"", timeout=PATIENCE, me=None, **changes):
        """Runs the program to its end. me: the name whose identity it uses."""
        if me is not None:
            changes["IDENTITY_NAME"] = me
        process = subprocess.run([DANEMSG, *map(str, arguments)], input=input, capture_output=True,
                                 timeout=timeout, env=self.environment(**changes))
        return Result(process)

    def identity(self, name, key="p256", publish=True):
        """Makes an identity and publishes its records; the name again."""
        made = self.run("identity", "new", name, "--key", key)
        assert made.status == 0, made
        if publish:
            self.knot.publish(name, *self.tlsa(name))
        return name

    def tlsa(self, name, *options):
        """The records to publish, as "3 0 0 HEX"."""
        printed = self.run("identity", "tlsa", name, *options)
        assert printed.status == 0, printed
        records = re.findall(r"\b[0-4] [01] [0-2] [0-9a-fA-F]+$", printed.text, re.MULTILINE)
        assert len(records) == len(printed.text.splitlines()) > 0, printed
        return records

    def key(self, name, kind="key"):
        return craft.load_private(self.crypto / f"{name}.{kind}.pem")

    def encryption_key(self, name):
        """The private key that opens what is sent to a name."""
        own = self.crypto / f"{name}.enc.key.pem"
        return craft.load_private(own) if own.exists() else self.key(name)

    def message(self, sender, recipient, text=b"HELLO THERE", make=craft.Message):
        return make(self.key(sender), sender, self.encryption_key(recipient), recipient, text)

    def new_state(self):
        self.states += 1
        folder = self.folder / f"state-{self.states}"
        folder.mkdir(mode=0o700)
        return folder

    def receiver(self, name, *options, **changes):
        return Receiver(self, name, options, changes)


class Receiver:
    """A running `danemsg receive`. Its state folder is its own, and kept over stop and start."""

    def __init__(self, world, name, options, changes, wrapper=()):
        self.broker = changes.pop("wait_broker", world.broker)
        self.world, self.name, self.options, self.wrapper = world, name, options, wrapper
        changes.setdefault("DANEMSG_STATE", world.new_state())
        self.changes = {"IDENTITY_NAME": name, **changes}
        folder = Path(self.changes["DANEMSG_STATE"])
        self.out_file, self.err_file = folder / "stdout", folder / "stderr"
        self.process = None

    def __enter__(self):
        return self.start() if self.process is None else self

    def __exit__(self, *exception):
        if self.process is not None:
            self.stop()

    def start(self, wait=True, timeout=PATIENCE):
        before = self.broker.subscriptions(self.name)
        with open(self.out_file, "ab") as out, open(self.err_file, "ab") as err:
            self.process = subprocess.Popen(
                [*self.wrapper, DANEMSG, "receive", *map(str, self.options)], stdout=out,
                stderr=err, stdin=subprocess.DEVNULL,
                env=self.world.environment(**self.changes))
        if wait:
            wait_for(lambda: self.alive() and self.broker.subscriptions(self.name) > before,
                     f"{self.name} to subscribe; it said: {self.err}", timeout)
        return self

    def alive(self):
        status = self.process.poll()
        assert status is None, f"the receiver ended with {status}: {self.err}"
        return True

    @property
    def out(self):
        return self.out_file.read_bytes()

    @property
    def err(self):
        return self.err_file.read_text(errors="replace")

    def wait_out(self, text, timeout=PATIENCE):
        data = text.encode() if isinstance(text, str) else text
        wait_for(lambda: data in self.out or not self.alive(), f"{data!r} in {self.out_file}; "
                 f"stderr: {self.err_file}", timeout)

    def wait_word(self, word, count=1, timeout=PATIENCE):
        """Waits until the log has named an outcome so many times."""
        wait_for(lambda: self.count(word) >= count or not self.alive(),
                 f"{count} times '{word}' in {self.err_file}", timeout)

    def count(self, word):
        """How many messages the log gives this word: a line each, or "N more"."""
        lines = re.findall(rf"^danemsg receive: {re.escape(word)}: (?:(\d+) more )?", self.err,
                           re.MULTILINE)
        return sum(int(more or 1) for more in lines)

    def lines(self):
        """What it has printed so far, in whole lines."""
        return self.out.rpartition(b"\n")[0].decode().splitlines()

    def wait_delivered(self, count):
        """Waits until the store says it too: a message is marked as delivered after it is printed."""
        def delivered():
            told = self.world.run("status", "--json", me=self.name, **self.place())
            messages = json.loads(told.text)["messages"]
            return messages["delivered"] >= count and messages["undelivered"] == 0
        wait_for(delivered, f"{count} messages to be marked as delivered")

    def place(self):
        """The variables that say where its state and its messages are."""
        return {name: value for name, value in self.changes.items()
                if name in ("DANEMSG_STATE", "DANEMSG_STORE")}

    def status_line(self, member):
        """A figure out of /proc/PID/status, in kB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(rf"^{member}:\s+(\d+)", text, re.MULTILINE)[1])

    def stop(self, with_signal=signal.SIGTERM, timeout=PATIENCE):
        process, self.process = self.process, None
        process.send_signal(with_signal)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise AssertionError(f"the receiver did not stop: {self.err}") from None


@contextlib.contextmanager
def make_world(folder):
    """One broker, one name server with good and bad zones, and the trust anchors for them."""
    assert DANEMSG.exists(), f"{DANEMSG} is not built: meson setup build && ninja -C build"
    expired = SignedZone("expired.test", [f"alice TLSA {RECORD}", f"bob TLSA {RECORD}"],
                         inception=-30 * DAY, expiration=-DAY // 8)
    broken = SignedZone("broken.test", [f"alice TLSA {RECORD}", f"bob TLSA {RECORD}"],
                        broken=[("alice.broken.test", "TLSA"), ("bob.broken.test", "TLSA")])
    stranger = SignedZone("wronganchor.test", [])
    zones = {"good.test": "ecdsa", "rsa.test": "rsa", "plain.test": "plain",
             "island.good.test": "plain", "wronganchor.test": "ecdsa",
             "expired.test": expired.text, "broken.test": broken.text}
    with Knot(folder / "knot", zones) as knot, Broker(folder / "broker") as broker, \
            Silence() as silence:
        knot.add("island.good.test", "NS", "ns.island.good.test.", zone="good.test")
        world = World(folder, knot, broker, silence)
        stubs = [knot.stub(zone) for zone in zones]
        stubs += [f"down.test={LOOPBACK}@{NOBODY}", silence.stub("silent.test")]
        world.variables["DANEMSG_DNS_STUB"] = " ".join(stubs)
        down = SignedZone("down.test", []).anchor + SignedZone("silent.test", []).anchor
        world.anchors.write_text(knot.anchor("good.test") + knot.anchor("rsa.test", "DS")
                                 + expired.anchor + broken.anchor + stranger.anchor + down)
        yield world
