"""danemsg inbox: what the receiver keeps, looked at and taken away while it runs."""

import base64
import json
import pty
import os
import sqlite3
import subprocess

import pytest
from servers import PATIENCE, wait_for
from world import DANEMSG

NASTY = "first \x1b[2J\u202eline\nsecond"


@pytest.fixture(scope="module")
def sender(world):
    return world.identity("inbox-alice.good.test")


@pytest.fixture(scope="module")
def name(world):
    return world.identity("inbox-bob.good.test")


@pytest.fixture(scope="module")
def filled(world, sender, name):
    """A running receiver that has delivered three messages."""
    with world.receiver(name) as receiver:
        assert world.run("send", name, "HELLO THERE", me=sender).status == 0
        assert world.run("send", name, NASTY, me=sender).status == 0
        assert world.run("send", "--to", name, "-s", input=bytes(range(256)), me=sender).status == 0
        receiver.wait_delivered(3)
        listed = inbox(world, receiver, "list", "--json")
        receiver.rows = [json.loads(line)["row"] for line in listed.text.splitlines()]
        yield receiver


def inbox(world, receiver, *arguments, **changes):
    state = receiver.changes["DANEMSG_STATE"]
    return world.run("inbox", *arguments, me=receiver.name, **{"DANEMSG_STATE": state, **changes})


def test_list(world, filled, sender):
    listed = inbox(world, filled, "list")
    assert listed.status == 0, listed
    lines = listed.text.splitlines()
    assert len(lines) == 3
    row, _, delivery, who, identifier, kind, size, *text = lines[0].split()
    assert int(row) == filled.rows[0]
    assert (delivery, who, size) == ("delivered", sender, "11"), lines[0]
    assert len(identifier) == 22 and kind.startswith("text/plain") and text == ["HELLO", "THERE"]
    assert "\\u{1b}" in lines[1].lower() or "\\u{001b}" in lines[1].lower(), lines[1]
    assert lines[1].endswith(" ...") and "second" not in lines[1]
    assert not any(ord(letter) < 32 or ord(letter) > 126 for letter in "".join(lines))
    nothing = inbox(world, filled, "list", "--undelivered")
    assert (nothing.status, nothing.out) == (0, b""), nothing


def test_list_json(world, filled, sender):
    rows = [json.loads(line) for line in inbox(world, filled, "list", "--json").text.splitlines()]
    assert len(rows) == 3 and filled.rows == sorted(set(filled.rows))
    assert {row["delivery"] for row in rows} == {"delivered"}
    assert {row["sender"] for row in rows} == {sender}
    assert [row["size"] for row in rows] == [11, len(NASTY.encode()), 256]
    assert not any("payload" in row or "payload_base64" in row for row in rows)


def test_show(world, filled, sender):
    shown = inbox(world, filled, "show", filled.rows[1])
    assert shown.status == 0, shown
    headers, text = shown.text.split("\n\n", 1)
    assert f"From:      {sender}\n" in headers and "Delivery:  delivered\n" in headers
    assert "\x1b" not in shown.text and "\u202e" not in shown.text and text.endswith("\nsecond\n")
    raw = inbox(world, filled, "show", "-N", filled.rows[2])
    assert (raw.status, raw.out) == (0, bytes(range(256))), raw
    assert json.loads(inbox(world, filled, "show", "--json", filled.rows[0]).text)["payload"] == "HELLO THERE"


@pytest.mark.parametrize("row, status, says", [
    ("1000", 2, "no message 1000"), ("0", 1, "ROW is a number"), ("1x", 1, "ROW is a number"),
    ("-1", 1, ""), ("99999999999999999999", 1, "ROW is a number")])
def test_show_what_is_not_there(world, filled, row, status, says):
    shown = inbox(world, filled, "show", row)
    assert (shown.status, shown.out) == (status, b"") and says in shown.err, shown


def test_raw_is_not_for_a_terminal(world, filled):
    ours, theirs = pty.openpty()
    process = subprocess.run(
        [DANEMSG, "inbox", "show", "--raw", str(filled.rows[2])], stdout=theirs, stderr=subprocess.PIPE,
        timeout=PATIENCE, env=world.environment(
            IDENTITY_NAME=filled.name, DANEMSG_STATE=filled.changes["DANEMSG_STATE"]))
    os.close(theirs)
    os.close(ours)
    assert process.returncode == 1 and b"file or a pipe" in process.stderr


def test_export(world, filled, sender):
    exported = inbox(world, filled, "export")
    rows = [json.loads(line) for line in exported.text.splitlines()]
    assert [row.get("payload") for row in rows] == ["HELLO THERE", NASTY, None]
    assert base64.b64decode(rows[2]["payload_base64"]) == bytes(range(256))
    assert all(row["sender"] == sender and row["topic"] == filled.name for row in rows)


def test_where_there_is_none(world, filled, sender, tmp_path):
    """A mistyped name makes no database, and another identity's is not shown."""
    none = inbox(world, filled, "list", DANEMSG_STATE=tmp_path)
    assert none.status == 2 and "No such file" in none.err, none
    for command in ["list"], ["purge", "--all", "--force"]:
        none = inbox(world, filled, *command, "--store", f"sqlite:{tmp_path}/typo.db")
        assert none.status == 2 and "No such file" in none.err, none
    assert list(tmp_path.iterdir()) == []
    path = f"{filled.changes['DANEMSG_STATE']}/{filled.name}.db"
    other = world.run("inbox", "list", "--store", f"sqlite:{path}", me=sender)
    assert other.status == 2 and f"of {filled.name}, not of {sender}" in other.err, other
    other = world.run("inbox", "list", "--store", path, me=filled.name)
    assert other.status == 1 and "sqlite:PATH" in other.err, other


def test_purge(world, sender):
    name = world.identity("inbox-carol.good.test")
    with world.receiver(name) as receiver:
        for text in "ONE", "TWO":
            assert world.run("send", name, text, me=sender).status == 0
            receiver.wait_out(f"says: {text}\n")
        receiver.wait_delivered(2)
        for arguments in [], ["--force"], ["--all", "--older", "1d"]:
            wrong = inbox(world, receiver, "purge", *arguments)
            assert wrong.status == 1 and "--all or --older" in wrong.err, wrong
        young = inbox(world, receiver, "purge", "--older", "1d", "--force")
        assert (young.status, young.text) == (0, "0 message(s) taken away\n"), young
        asked = inbox(world, receiver, "purge", "--all")
        assert asked.text == "2 message(s) would be taken away; --force does it\n", asked
        assert len(inbox(world, receiver, "list").text.splitlines()) == 2
        done = inbox(world, receiver, "purge", "--all", "--force")
        assert (done.status, done.text) == (0, "2 message(s) taken away\n"), done
        assert inbox(world, receiver, "list").out == b""
        # the receiver goes on
        assert world.run("send", name, "THREE", me=sender).status == 0
        receiver.wait_out("says: THREE\n")
        assert len(inbox(world, receiver, "list").text.splitlines()) == 1


def test_purge_never_takes_what_is_not_delivered(world, sender):
    """By hand as a crash leaves it; and what was put aside goes only when it is asked for."""
    name = world.identity("inbox-dave.good.test")
    with world.receiver(name) as receiver:
        assert world.run("send", name, "ONE", me=sender).status == 0
        receiver.wait_out("says: ONE\n")
        receiver.stop()
        path = f"{receiver.changes['DANEMSG_STATE']}/{name}.db"
        with sqlite3.connect(path) as database:
            (row,) = database.execute("SELECT row FROM inbox").fetchone()
            database.execute("INSERT INTO pending (row, failures, aside) VALUES (?, 10, 1)", [row])
        database.close()
        assert inbox(world, receiver, "purge", "--all", "--force").text.startswith("0 ")
        shown = inbox(world, receiver, "show", row)
        assert "Delivery:  failed, failed 10 times\n" in shown.text, shown
        assert json.loads(inbox(world, receiver, "list", "--undelivered", "--json").text)[
            "delivery"] == "failed"
        done = inbox(world, receiver, "purge", "--all", "--failed", "--force")
        assert (done.status, done.text) == (0, "1 message(s) taken away\n"), done
        assert inbox(world, receiver, "list").out == b""


def test_where_the_receiver_keeps_it(world, sender, name, tmp_path):
    for wrong in ["--clean", "--store", "sqlite:x"], ["--store", "x.db"], ["--store", "sqlite:"]:
        refused = world.run("receive", *wrong, "-W", "1", me=name,
                            DANEMSG_STATE=world.new_state() if "--clean" not in wrong else None)
        assert refused.status == 1, refused
    own = tmp_path / "own.db"
    with world.receiver(name, "--store", f"sqlite:{own}", "-C", "1") as receiver:
        assert world.run("send", name, "ELSEWHERE", me=sender).status == 0
        assert receiver.process.wait(PATIENCE) == 0
        receiver.process = None
        assert own.stat().st_mode & 0o777 == 0o600
        assert not (tmp_path / f"{name}.db").exists()
        listed = inbox(world, receiver, "list", "--store", f"sqlite:{own}")
        assert listed.text.endswith("  ELSEWHERE\n") and len(listed.text.splitlines()) == 1, listed


def test_retention(world, sender):
    """With --retain 0s nothing that is delivered outlives the next turn."""
    name = world.identity("inbox-erin.good.test")
    with world.receiver(name) as receiver:
        assert world.run("send", name, "ONE", me=sender).status == 0
        receiver.wait_out("says: ONE\n")
        receiver.stop()
        assert len(inbox(world, receiver, "list").text.splitlines()) == 1
        receiver.options = ("--retain-size", "0")
        receiver.start()
        wait_for(lambda: inbox(world, receiver, "list").out == b"", "an empty inbox")
