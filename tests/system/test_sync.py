"""A disk that does not confirm what is written (a library that is preloaded, sync.c, lets each sync
fail): nothing is said to be queued, published or acknowledged that a power cut could undo."""

import contextlib
import os
import sqlite3
import subprocess
from pathlib import Path

import pytest
from servers import wait_for
from test_outbox import Outbox, bogus  # noqa: F401 (a fixture)


class Disk:
    """Fails within `failing`."""

    def __init__(self, folder):
        library, self.file = folder / "sync.so", folder / "fails"
        subprocess.run(["cc", "-shared", "-fPIC", "-o", library, Path(__file__).with_name("sync.c")],
                       check=True)
        self.variables = {"LD_PRELOAD": library, "SYNC_FAILS": self.file}
        if "ASAN_OPTIONS" in os.environ:
            self.variables["ASAN_OPTIONS"] = os.environ["ASAN_OPTIONS"] + ":verify_asan_link_order=0"

    @contextlib.contextmanager
    def failing(self, *databases):
        """Of a database that nobody reads the log is begun anew, which wants a sync by itself."""
        with contextlib.ExitStack() as stack:
            for path in databases:
                database = stack.enter_context(contextlib.closing(sqlite3.connect(path)))
                database.execute("UPDATE meta SET octets = octets + 1").connection.commit()
                database.execute("BEGIN")
                database.execute("SELECT * FROM meta").fetchall()
                assert Path(f"{path}-wal").stat().st_size > 4096
            self.file.touch()
            yield
            self.file.unlink()


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    return Disk(tmp_path_factory.mktemp("sync"))


@pytest.fixture(scope="module")
def sender(world):
    return world.identity("sync-alice.good.test")


def test_what_is_queued_is_on_disk(world, sender, disk):
    bob = world.identity("sync-queue.good.test")
    with Outbox(world, sender, **disk.variables) as box:
        box.queue(bob, "ONE")
        with disk.failing(box.database):
            queued = box.run("send", "--queue", bob, "TWO")
            assert queued.status == 2 and "local: " in queued.err, queued
        assert len(box.rows()) == 1
        box.queue(bob, "THREE")
        assert len(box.rows()) == 2


def test_what_is_published_is_on_disk(world, sender, disk, bogus):  # noqa: F811
    """Once sealed, with its id: published before that it could be sealed again, under another."""
    bob = world.identity("sync-seal.good.test")
    with Outbox(world, sender, **disk.variables) as box:
        box.queue(bob, "ONE", **bogus)
        with disk.failing(box.database):
            flushed = box.run("outbox", "flush")
            assert flushed.status == 2, flushed
            assert [row["state"] for row in box.rows()] == ["unsealed"]
        assert box.run("outbox", "flush").status == 0
        assert box.rows() == []


def test_what_is_acknowledged_is_on_disk(world, sender, disk):
    bob = world.identity("sync-bob.good.test")
    with world.receiver(bob, **disk.variables) as receiver:
        assert world.run("send", bob, "ONE", me=sender).status == 0
        receiver.wait_out("ONE\n")
        with disk.failing():
            assert world.run("send", bob, "TWO", me=sender).status == 0
            wait_for(lambda: "are not acknowledged" in receiver.err and receiver.alive(),
                     "the failure to be told")
            assert b"TWO" not in receiver.out
        receiver.wait_out("TWO\n")
        assert receiver.stop() == 0
        assert receiver.out.count(b"says: TWO") == 1
