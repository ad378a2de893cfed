"""scripts/demo as a person runs it: to its end, interrupted at any moment, and kept to play on."""

import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from quickstart import blocks
from servers import PATIENCE, wait_for
from world import DANEMSG, ROOT

BUILD = DANEMSG.parent.parent

pytestmark = pytest.mark.skipif(not (BUILD / "build.ninja").exists(),
                                reason="the program under test has no build folder")


@pytest.fixture
def demo():
    """Starts it with a temporary folder of its own; what it leaves there is found afterwards."""
    with tempfile.TemporaryDirectory(prefix="demo-") as folder:
        def start(*options):
            return subprocess.Popen(
                [ROOT / "scripts" / "demo", *options], stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                env={**os.environ, "TMPDIR": folder, "DANEMSG_BUILD": str(BUILD)},
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL), text=True)
        start.folder = Path(folder)
        yield start
        # Programs of the build, which nobody waits for after an interruption, end by themselves.
        wait_for(lambda: not processes(folder), f"all to end that work in {folder}")
        assert list(Path(folder).iterdir()) == []


def processes(folder):
    """Those that work in the folder, by their environment."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"TMPDIR={folder}".encode() in entry.read_bytes():
                found.append((entry.parent / "cmdline").read_bytes().replace(b"\0", b" "))
        except OSError:
            continue
    return found


def test_to_its_end(demo):
    said, _ = demo().communicate(timeout=300)
    assert "\n  alice.example.test says: HELLO THERE\n" in said, said
    assert re.search(r"danemsg receive: (certificate|signature|no-identity): ", said), said
    assert re.search(r"danemsg open: (certificate|signature|no-identity): ", said), said
    assert "SEND MONEY" not in said.replace("'SEND MONEY'", "") and "\x1b" not in said
    assert said.endswith("nothing is left but the build.\n")
    assert processes(demo.folder) == []


@pytest.mark.parametrize("hundredths", [0, 5, 20, 30, 40, 50, 60, 70, 90])
def test_interrupted(demo, hundredths):
    """As Ctrl-C does it, which every process of the terminal's foreground gets at once."""
    process = demo()
    time.sleep(hundredths / 100)
    try:
        os.killpg(process.pid, signal.SIGINT)
    except ProcessLookupError:
        pass
    process.communicate(timeout=PATIENCE)
    assert process.returncode in (0, 130, -signal.SIGINT)


@pytest.mark.parametrize("hundredths", [0, 10, 30])
def test_terminated(demo, hundredths):
    """Alone: what it has started is its own to end."""
    process = demo()
    while process.stdout.readline() != "2. A name server, a broker, and two identities\n":
        assert process.poll() is None
    time.sleep(hundredths / 100)
    process.terminate()
    process.communicate(timeout=PATIENCE)
    assert process.returncode in (0, 143)
    assert processes(demo.folder) == []


def test_kept_to_play_on(demo):
    kept = demo("--keep")
    try:
        said, _ = kept.communicate(timeout=300)
        [variables] = re.findall(r"source (\S+)", said)
        script = f"set -eu\nsource {variables}\ncd {Path(variables).parent}\n"
        script += "danemsg send --identity alice.example.test bob.example.test 'Hello again'\n"
        script += "danemsg lookup bob.example.test\n" + "\n".join(blocks(ROOT / "README.md"))
        played = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=PATIENCE)
        assert played.returncode == 0, f"{said}\n{played.stdout}\n{played.stderr}"
        assert "the report" in played.stdout and "While you were away" in played.stdout
        assert "says: Hello again" in (Path(variables).parent / "bob.log").read_text()
    finally:
        stopped, _ = demo("--stop").communicate(timeout=PATIENCE)
    for name in "knotd", "mosquitto", "danemsg":
        assert f"stopped {name} " in stopped, stopped
