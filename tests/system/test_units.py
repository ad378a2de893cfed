"""The systemd units: well formed, and strict, but not so strict that the program cannot work."""

import re
import shutil
import subprocess
import sys

import pytest
from servers import PATIENCE, wait_for
from under_unit import allowed_calls
from world import DANEMSG, ROOT, Receiver

UNITS = DANEMSG.parent.parent / "systemd"
NAMES = ["danemsg-receive.service", "danemsg-receive@.service", "danemsg-outbox.service",
         "danemsg-outbox@.service"]
# doc/HACKING.md says it too.
EXPOSURE = 1.5

pytestmark = pytest.mark.skipif(
    not UNITS.exists() or shutil.which("systemd-analyze") is None,
    reason="the program under test has no build folder, or systemd-analyze is missing")


def unit_file(folder, name, change=None):
    """The unit with the program under test in it, and a change."""
    text = (UNITS / name).read_text()
    text = re.sub(r"^ExecStart=\S+", f"ExecStart={DANEMSG}", text, flags=re.MULTILINE)
    assert change is None or change[0] in text
    file = folder / name
    file.write_text(text.replace(*change) if change else text)
    return file


def analyze(*arguments):
    done = subprocess.run(["systemd-analyze", *map(str, arguments)], capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_a_unit_is_well_formed(tmp_path, name):
    assert analyze("verify", "--man=no", unit_file(tmp_path, name)) == (0, "")


@pytest.mark.parametrize("change, word", [
    (("UMask=", "UMaks="), "UMaks"),
    (("@system-service", "@system-servise"), "@system-servise"),
    (("Type=notify", "Type=notifi"), "notifi"),
    ((str(DANEMSG), "/usr/bin/no-danemsg"), "no-danemsg")])
def test_a_unit_with_a_fault_is_not(tmp_path, change, word):
    _, said = analyze("verify", "--man=no", unit_file(tmp_path, NAMES[0], change))
    assert word in said


@pytest.mark.parametrize("name", NAMES)
def test_exposure(tmp_path, name):
    file = unit_file(tmp_path, name)
    status, said = analyze("security", "--offline=yes", f"--threshold={EXPOSURE * 10:g}", file)
    assert status == 0, said[-200:]
    looser = unit_file(tmp_path, name, ("\nCapabilityBoundingSet=\n", "\n"))
    status, said = analyze("security", "--offline=yes", f"--threshold={EXPOSURE * 10:g}", looser)
    assert status == 1, said[-200:]


@pytest.fixture(scope="module")
def confined():
    pytest.importorskip("seccomp", reason="python3-seccomp is not installed")
    return lambda unit: (sys.executable, ROOT / "tests" / "system" / "under_unit.py", unit)


@pytest.mark.skipif("asan" in str(DANEMSG), reason="a sanitizer needs other system calls")
@pytest.mark.parametrize("name", [NAMES[0], NAMES[2]])
def test_with_the_system_calls_of_the_unit(world, alice, bob, confined, tmp_path, name):
    """A message comes in, a command gets it; one goes out of the outbox."""
    wrapper = confined(unit_file(tmp_path, name))
    if name == NAMES[0]:
        changes = {"DANEMSG_EXEC": f"cat > {tmp_path}/seen"}
        receiver = Receiver(world, bob, (), changes, wrapper)
        with receiver:
            sent = world.run("send", bob, "CONFINED", me=alice)
            assert sent.status == 0, sent
            wait_for(lambda: (tmp_path / "seen").exists()
                     and (tmp_path / "seen").read_text() == "CONFINED", "the command of --exec")
        return
    with world.receiver(bob) as receiver:
        state = world.new_state()
        queued = world.run("send", "--queue", bob, "CONFINED", me=alice, DANEMSG_STATE=state)
        assert queued.status == 0, queued
        daemon = subprocess.Popen([*wrapper, DANEMSG, "send", "--daemon"],
                                  env=world.environment(IDENTITY_NAME=alice, DANEMSG_STATE=state))
        try:
            receiver.wait_out("says: CONFINED\n")
        finally:
            daemon.terminate()
            assert daemon.wait(PATIENCE) == 0


@pytest.mark.skipif("asan" in str(DANEMSG), reason="a sanitizer needs other system calls")
def test_with_fewer_it_does_not_work(world, bob, confined, tmp_path):
    """What the test above sets is a filter."""
    unit = unit_file(tmp_path, NAMES[0], ("@system-service", "@basic-io @file-system @process"))
    assert "socket" not in allowed_calls(unit) and "socket" in allowed_calls(UNITS / NAMES[0])
    receiver = Receiver(world, bob, (), {}, confined(unit)).start(wait=False)
    assert receiver.process.wait(PATIENCE) not in (0, None), receiver.err
