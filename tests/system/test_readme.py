"""The README does what it says: its marked blocks run in one shell, one after the other, in the
environment that scripts/demo --keep leaves; and two machines follow the way of two Raspberry Pis."""

import contextlib
import os
import signal

from pis import Pi, PiBroker, PiKnot
from quickstart import README, blocks, configuration, fenced, finish_blocks, start_blocks
from servers import free_port, wait_for


def test_quick_start(world, alice, bob, tmp_path):
    """With one zone, as in the demo: doctor asks the server of each."""
    stub = world.knot.stub("good.test")
    assert "the report" in finish_blocks(start_blocks(world, README, tmp_path, DANEMSG_DNS_STUB=stub))


def test_blocks_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\nno\n```\n```sh test\nyes \\\n  more\n```\ntext\n"
                    "```console test\n$ echo a\na\n$ echo b\nb\n```\n"
                    "1. A list\n\n   ```sh other\n   word\n     more\n   ```\n"
                    "```\n# /etc/a.conf\na\n```\n```\n# /etc/a.conf.more\nb\n```\n")
    assert blocks(page) == ["yes \\\n  more\n", "echo a\necho b\n"]
    assert blocks(page, "other") == ["word\n  more\n"]
    assert configuration(page, "/etc/a.conf") == "# /etc/a.conf\na\n"


def test_two_raspberry_pis(tmp_path):
    """From nothing to the line that bob prints: every command of that section, in its order."""
    steps = [(info.split()[2:], text) for info, text in fenced(README) if info.startswith("sh pi ")]
    assert [who for who, _ in steps] == [["alice"], ["bob"], ["both"], ["alice"], ["bob"], ["bob"],
                                         ["alice"]]
    sanitizers = {name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS")}
    environment = {"HOME": str(tmp_path), "LC_ALL": "C.UTF-8", **sanitizers}
    alice = Pi(tmp_path, "alice", None, environment)
    bob = Pi(tmp_path, "bob", alice.root, environment)
    port = free_port()
    # The servers start where the README restarts them: between the files and the zone's key.
    before, restart, after = steps[0][1].partition("sudo systemctl restart knot mosquitto\n")
    assert restart
    alice.run(before, port)
    with contextlib.ExitStack() as stack:
        knot = PiKnot(alice, "pi.internal")
        knot.port = port
        stack.callback(knot.stop)
        knot.start()
        broker = stack.enter_context(PiBroker(alice))
        alice.variables["MQTT_PORT"] = bob.variables["MQTT_PORT"] = str(broker.port)
        stack.callback(lambda: (bob.root / "receiver.pid").exists() and os.kill(
            int((bob.root / "receiver.pid").read_text()), signal.SIGTERM))
        said = [alice.run(after, port)]
        for who, text in steps[1:]:
            if "sudo danemsg-service send" in text:  # a person has looked whether it runs
                wait_for(lambda: broker.subscriptions("bob.pi.internal"), f"bob: {bob.journal()}")
            said += [{"alice": alice, "bob": bob}[name].run(text, port)
                     for name in (("alice", "bob") if who == ["both"] else who)]
        assert "257 3 13" in said[0] and sum("in step with DNS" in text for text in said) == 2
        wait_for(lambda: "alice.pi.internal says: HELLO THERE\n" in bob.journal(),
                 f"the message; bob's journal: {bob.root / 'journal'}")
