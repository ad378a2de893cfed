"""`receive --exec`: a command for each message; and what a service says beside it: `status`,
--metrics, --log-json, systemd."""

import json
import os
import re
import socket
import urllib.error
import urllib.request

import pytest
from servers import LOOPBACK, PATIENCE, free_port, wait_for
from world import DANEMSG, Receiver

# Notes what it was given, in the folder $1; a message "FAIL" fails until there is a file `open`.
SCRIPT = r"""
text=$(cat)
printf '%s|%s|%s|%s|%s\n' "$DANEMSG_SENDER" "$DANEMSG_TOPIC" "$DANEMSG_CONTENT_TYPE" \
    "$DANEMSG_ID" "$text" >> "$1/given"
case $text in
FAIL) test -e "$1/open" ;;
esac
"""


class Commands:
    """The folder in which the script notes what it was given."""

    def __init__(self, folder):
        self.folder = folder
        (folder / "script").write_text(SCRIPT)
        self.command = f"sh {folder}/script {folder}"

    @property
    def given(self):
        file = self.folder / "given"
        return [line.split("|") for line in file.read_text().splitlines()] if file.exists() else []

    @property
    def texts(self):
        return [line[4] for line in self.given]

    def wait(self, count):
        wait_for(lambda: len(self.given) >= count, f"{count} commands, not {self.texts}")


@pytest.fixture
def commands(tmp_path):
    return Commands(tmp_path)


def status_of(world, receiver, *options):
    return world.run("status", *options, me=receiver.name,
                     DANEMSG_STATE=receiver.changes["DANEMSG_STATE"])


def test_a_command_gets_each_message(world, alice, commands):
    bob = world.identity("exec-bob.good.test")
    with world.receiver(bob, "--exec", commands.command) as receiver:
        for text in "ONE", "TWO":
            assert world.run("send", bob, text, me=alice).status == 0
        commands.wait(2)
        assert receiver.out == b""
    assert commands.texts == ["ONE", "TWO"]
    for sender, topic, kind, identifier, _text in commands.given:
        assert (sender, topic, kind) == (alice, bob, "text/plain;charset=utf-8")
        assert re.fullmatch(r"[A-Za-z0-9_-]{22}", identifier)


def test_a_failure_is_tried_again_and_holds_back_its_sender_alone(world, alice, commands):
    bob, carol = world.identity("exec-fail.good.test"), world.identity("exec-carol.good.test")
    with world.receiver(bob, "--exec", commands.command) as receiver:
        for sender, text in (alice, "FAIL"), (alice, "BEHIND"), (carol, "BESIDE"):
            assert world.run("send", bob, text, me=sender).status == 0
        wait_for(lambda: commands.texts.count("FAIL") > 1 and "BESIDE" in commands.texts,
                 "another try, and the other sender")
        assert "BEHIND" not in commands.texts
        (commands.folder / "open").touch()
        wait_for(lambda: "0 to deliver, 0 failed, 3 delivered" in status_of(world, receiver).text,
                 "three delivered messages")
    texts = commands.texts
    assert texts.count("BESIDE") == texts.count("BEHIND") == 1 and texts[-2:] == ["FAIL", "BEHIND"]
    assert receiver.err.count("not delivered, tried again") == texts.count("FAIL") - 1 > 0


def test_what_was_not_taken_comes_again_after_a_restart(world, alice, commands):
    bob = world.identity("exec-again.good.test")
    with world.receiver(bob, "--exec", "cat > /dev/null; exit 7") as receiver:
        assert world.run("send", bob, "TAKE ME", me=alice).status == 0
        wait_for(lambda: "ended with status 7" in receiver.err, "a failure")
        assert "1 to deliver" in status_of(world, receiver).text
        receiver.stop()
        receiver.options = ("--exec", commands.command)
        receiver.start()
        commands.wait(1)
    assert commands.texts == ["TAKE ME"]


def test_a_command_may_reply(world, alice, commands):
    """What tells it about its message is not taken for options of `send`."""
    bob = world.identity("exec-reply.good.test")
    carol = world.identity("exec-replied.good.test")
    reply = f"cat > /dev/null; {DANEMSG} send {carol} \"GOT $DANEMSG_ID\""
    with world.receiver(carol) as answers, world.receiver(bob, "--exec", reply):
        sent = world.run("send", "--json", "--to", bob, "-m", "PING", me=alice)
        identifier = json.loads(sent.text)["id"]
        answers.wait_out(f"{bob} says: GOT {identifier}\n")


def test_a_killed_command_is_told(world, alice):
    bob = world.identity("exec-killed.good.test")
    with world.receiver(bob, "--exec", "kill -9 $$") as receiver:
        assert world.run("send", bob, "HELLO", me=alice).status == 0
        wait_for(lambda: "ended by signal 9 (KILL)" in receiver.err, "what became of the command")


def test_a_command_is_told_no_secret(world, alice, tmp_path):
    """What the receiver gets by its environment, and a command for strangers' messages need not."""
    bob = world.identity("exec-secret.good.test")
    secrets = {"DANEMSG_PW": "broker-secret", "DANEMSG_USERNAME": "someone",
               "PGPASSWORD": "store-secret",
               "DANEMSG_STORE": f"sqlite:{tmp_path}/secret-path.db"}
    with world.receiver(bob, "--exec", f"env > {tmp_path}/new && mv {tmp_path}/new {tmp_path}/env",
                        **secrets):
        assert world.run("send", bob, "HELLO", me=alice).status == 0
        wait_for((tmp_path / "env").exists, "the command's environment")
    given = (tmp_path / "env").read_text()
    assert "DANEMSG_SENDER=" + alice in given and "DANEMSG_USERNAME=someone" in given
    assert "secret" not in given.replace(bob, "").replace(str(tmp_path), ""), given


@pytest.mark.parametrize("options", [("--exec", ""), ("--exec", "cat", "--json"),
                                     ("--exec", "cat", "-v"), ("--exec", "cat", "-F", "%p"),
                                     ("--metrics", "localhost:80"), ("--metrics", "x")])
def test_refused(world, bob, options):
    refused = world.run("receive", *options, me=bob)
    assert refused.status == 1, refused


# ------------------------------------------------------------------------- beside the messages

def figures(port):
    text = urllib.request.urlopen(f"http://{LOOPBACK}:{port}/metrics", timeout=PATIENCE).read().decode()
    return dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))


def test_figures(world, alice):
    bob = world.identity("figures.good.test")
    port = free_port()
    with world.receiver(bob, "--metrics", f"{LOOPBACK}:{port}") as receiver:
        assert figures(port)["danemsg_accepted_total"] == "0"
        assert world.run("send", bob, "HELLO", me=alice).status == 0
        world.broker.publish(bob, b"junk")
        receiver.wait_word("format")
        receiver.wait_out("HELLO\n")
        seen = figures(port)
        assert seen["danemsg_subscribed"] == seen["danemsg_accepted_total"] == "1"
        assert seen["danemsg_delivered_total"] == "1"
        assert seen['danemsg_refused_total{outcome="format"}'] == "1"
        assert seen['danemsg_refused_total{outcome="replay"}'] == "0"
        assert seen['danemsg_messages{state="delivered"}'] == "1"
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"http://{LOOPBACK}:{port}/", timeout=PATIENCE)
        assert refused.value.code == 404
        # They go on after a restart; what `status` tells of since then begins anew.
        assert receiver.stop() == 0
        receiver.start()
        seen = figures(port)
        assert seen["danemsg_accepted_total"] == seen["danemsg_delivered_total"] == "1"
        assert seen['danemsg_refused_total{outcome="format"}'] == "1"
        world.broker.publish(bob, b"junk")
        wait_for(lambda: figures(port)['danemsg_refused_total{outcome="format"}'] == "2", "a count")
        told = json.loads(status_of(world, receiver, "--json").text)
        assert told["messages"]["altogether"] == {
            "accepted": 1, "delivered": 1, "failed": 0, "refused": {"format": 2}}
        assert told["receiver"]["accepted"] == 0
        text = status_of(world, receiver).text
        assert "altogether 1 accepted, 1 delivered, 0 failed\n" in text
        assert "refused    altogether: format 2\n" in text


def test_what_is_not_delivered_is_bounded(world, alice, tmp_path):
    """Over --pending-size nothing more is taken from the broker, which is said once, until delivery
    has caught up; then all of it comes, once."""
    bob = world.identity("bounded.good.test")
    gate, got, port = tmp_path / "gate", tmp_path / "got", free_port()
    command = f"while ! test -e {gate}; do sleep 0.05; done; wc -c >> {got}"
    messages = [world.message(alice, bob, b"%02d" % number + bytes(30000)).envelope()
                for number in range(45)]
    with world.receiver(bob, "--pending-size", "1", "--metrics", f"{LOOPBACK}:{port}", "--exec",
                        command) as receiver:
        world.broker.publish_many(bob, messages[:40], 1)
        wait_for(lambda: "no more are taken" in receiver.err, "the bound")
        taken = figures(port)["danemsg_accepted_total"]
        assert 34 <= int(taken) <= 40 and figures(port)["danemsg_held_back"] == "1"
        world.broker.publish_many(bob, messages[40:], 1)
        wait_for(lambda: "takes no more messages" in status_of(world, receiver).text, "the status")
        assert figures(port)["danemsg_accepted_total"] == taken
        gate.touch()
        wait_for(lambda: got.exists() and len(got.read_text().split()) == 45, "all of them")
        assert got.read_text().split() == ["30002"] * 45
        assert receiver.err.count("no more are taken") == 1 and receiver.count("replay") == 0
        assert "messages are taken again" in receiver.err
        assert figures(port)["danemsg_held_back"] == "0"


def test_status(world, alice):
    bob = world.identity("status.good.test")
    receiver = world.receiver(bob)
    before = status_of(world, receiver)
    assert before.status == 0 and "not running" in before.text and "no database" in before.text
    with receiver:
        assert world.run("send", bob, "HELLO", me=alice).status == 0
        receiver.wait_out("HELLO\n")
        receiver.wait_delivered(1)
        text = status_of(world, receiver).text
        assert f"process {receiver.process.pid}" in text and "subscribed" in text
        assert "0 to deliver, 0 failed, 1 delivered" in text
        report = json.loads(status_of(world, receiver, "--json").text)
        assert report["identity"] == bob and report["receiver"]["subscribed"] is True
        assert report["receiver"]["pid"] == receiver.process.pid
        assert report["messages"] == {
            "undelivered": 0, "failed": 0, "delivered": 1, "waiting": 0,
            "altogether": {"accepted": 1, "delivered": 1, "failed": 0, "refused": {}}}
        assert report["publisher"] is None
    after = json.loads(status_of(world, receiver, "--json").text)
    assert after["receiver"] is None and after["messages"]["delivered"] == 1


def test_status_in_a_file_of_its_own(world, alice, tmp_path):
    """Also without a state folder of the receiver; nobody else looks there."""
    bob, file = world.identity("status-file.good.test"), tmp_path / "status"
    with Receiver(world, bob, ("--clean", "--status", file), {},
                  wrapper=("env", "-u", "DANEMSG_STATE")) as receiver:
        def told(*options):
            return world.run("status", *options, me=bob, DANEMSG_STATE=tmp_path).text

        wait_for(lambda: "subscribed" in told("--status", file), "the status")
        assert f"process {receiver.process.pid}" in told("--status", file)
        assert "not running" in told()
        assert world.run("doctor", "--status", file, "--json", me=bob, DANEMSG_STATE=tmp_path).out
    assert not file.exists()
    refused = world.run("receive", "--status", tmp_path / "no" / "folder", "-W", "3", me=bob,
                        DANEMSG_STATE=tmp_path)
    assert refused.status == 2 and "writing the status file" in refused.err, refused
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    refused = world.run("receive", "--clean", "--status", pipe, "-W", "1", me=bob)
    os.close(reader)
    assert refused.status == 2 and "is no regular file" in refused.err, refused
    assert pipe.is_fifo()  # and not a file in its place, which /dev/null would be for everybody


def test_log_json(world, bob):
    with world.receiver(bob, "--log-json") as receiver:
        world.broker.publish(bob, b"junk")
        wait_for(lambda: '"outcome":"format"' in receiver.err, "a refusal")
    events = [json.loads(line) for line in receiver.err.splitlines()]
    assert all({"time", "program", "level", "text"} <= set(event) for event in events)
    refused = [event for event in events if event.get("outcome") == "format"]
    assert len(refused) == 1 and refused[0]["level"] == "warning"


def test_systemd_is_told(world, bob, tmp_path):
    """sd_notify(3): ready, alive, stopping."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(PATIENCE)
        with world.receiver(bob, NOTIFY_SOCKET=tmp_path / "notify", WATCHDOG_USEC=200000):
            heard = b""
            while b"STATUS=subscribed" not in heard or heard.count(b"WATCHDOG=1") < 2:
                heard += listener.recv(4096) + b"\n"
            assert b"READY=1" in heard
        while b"STOPPING=1" not in heard:
            heard += listener.recv(4096) + b"\n"


def test_it_is_told_for_what_a_receiver_waits(world, tmp_path):
    """First for an identity, then for its record: systemd, `danemsg status` and the doctor."""
    name = "waiting.good.test"
    receiver = Receiver(world, name, (), {"NOTIFY_SOCKET": tmp_path / "notify",
                                          "WATCHDOG_USEC": 200000})
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.settimeout(PATIENCE)
        with receiver.start(wait=False):
            heard = b""
            while b"STATUS=waits: local: there is no key" not in heard:
                heard += listener.recv(4096)
            world.identity(name, publish=False)
            while b"STATUS=waits: no-identity: " not in heard:
                heard += listener.recv(4096)
            state = receiver.changes["DANEMSG_STATE"]
            shown = world.run("status", me=name, DANEMSG_STATE=state)
            assert shown.status == 0 and "waits: no-identity: " in shown.text, shown
            report = world.run("doctor", "-W", "2", me=name, DANEMSG_STATE=state)
            assert re.search(r"(?m)^warning +receiver .*waits: no-identity: ", report.text), report
