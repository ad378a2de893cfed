"""The shared store over TLS, behind a pooler, and on a server that dies."""

import os
import shutil
import socket
import tempfile
import threading
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from https_server import Authority, new_key, pem
from servers import LOOPBACK, PostgreSQL, Server, wait_for
from test_group import Member, exported, publish_slowly, silent
from world import Receiver

HOST = "db.good.test"  # in the certificate; its address is told apart (hostaddr)


class Secured(PostgreSQL):
    """With a certificate, and no way in without TLS."""

    authority = Authority()

    def command(self):
        key = new_key()
        files = {"server.key": key.private_bytes(serialization.Encoding.PEM,
                                                 serialization.PrivateFormat.PKCS8,
                                                 serialization.NoEncryption()),
                 "server.pem": pem(self.authority.issue(key.public_key(), [HOST]))}
        for name, content in files.items():
            path = self.folder / name
            path.write_bytes(content)
            path.chmod(0o600)
            if os.getuid() == 0:
                shutil.chown(path, "postgres", "postgres")
        (self.data / "pg_hba.conf").write_text(f"hostssl all all {LOOPBACK}/32 scram-sha-256\n")
        self.root = self.folder / "ca.pem"
        self.root.write_bytes(self.authority.pem())
        return [*super().command(), "-c", "ssl=on",
                *(f"-cssl_{kind}_file={self.folder}/server.{suffix}"
                  for kind, suffix in [("cert", "pem"), ("key", "key")])]

    def url_of(self, mode, authority=None, host=HOST):
        root = f"&sslrootcert={authority}" if authority else ""
        return (super().url.replace(LOOPBACK, host) +
                f"?hostaddr={LOOPBACK}&sslmode={mode}{root}")

    @property
    def url(self):
        return self.url_of("verify-full", self.root)


class Pooler(Server):
    """PgBouncer before a server."""

    name = "pgbouncer"

    @staticmethod
    def program():
        return shutil.which("pgbouncer", path="/usr/sbin:/usr/bin")

    def __init__(self, folder, postgres, mode):
        super().__init__(folder)
        self.postgres, self.mode = postgres, mode

    @property
    def url(self):
        return super(Secured, self.postgres).url.replace(f":{self.postgres.port}/",
                                                         f":{self.port}/")

    def command(self):
        users, configuration = self.folder / "users", self.folder / "pgbouncer.ini"
        users.write_text(f'"danemsg" "{self.postgres.password}"\n')
        configuration.write_text(f"""\
[databases]
* = host={LOOPBACK} port={self.postgres.port}
[pgbouncer]
server_tls_sslmode = require
listen_addr = {LOOPBACK}
listen_port = {self.port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = {self.mode}
default_pool_size = 10
""")
        command = [self.program(), str(configuration)]
        if os.getuid() != 0:
            return command
        for path in [self.folder, users, configuration]:
            shutil.chown(path, "postgres", "postgres")
        return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *command]

    def answers(self):
        try:
            socket.create_connection((LOOPBACK, self.port), 1).close()
        except OSError:
            return False
        return True


@pytest.fixture(scope="module")
def server():
    why = PostgreSQL.missing()
    if why:
        pytest.skip(why)
    with Secured() as secured:
        yield secured


@pytest.fixture(scope="module")
def sender(world):
    return world.identity("pg-alice.good.test")


def receive_one(world, sender, name, url):
    """A receiver with that store gets and keeps a message."""
    with Receiver(world, name, [], {"DANEMSG_STORE": url}) as receiver:
        assert world.run("send", name, "BY THE STORE", me=sender).status == 0
        receiver.wait_out("BY THE STORE")
        assert receiver.alive(), receiver.err


def test_tls_is_judged(world, sender, server):
    name = world.identity("pg-tls.good.test")
    wrong = world.folder / "pg-wrong.pem"
    wrong.write_bytes(Authority().pem())
    refused = {
        ("verify-full", wrong, HOST): "certificate verify failed",
        ("verify-full", server.root, "other.good.test"): 'not match host name "other.good.test"',
        ("verify-full", world.folder / "none.pem", HOST): "does not exist",
        ("disable", None, HOST): "no encryption",
    }
    for (mode, authority, host), words in refused.items():
        said = world.run("receive", "-W", "5", "--store", server.url_of(mode, authority, host),
                         me=name, DANEMSG_STATE=world.new_state())
        assert said.status == 2 and words in said.err, (mode, host, said)
        assert "opening the shared store" in said.err, said
        silent(server, said.err)
    receive_one(world, sender, name, server.url)
    listed = world.run("inbox", "list", me=name, DANEMSG_STORE=server.url)
    assert listed.status == 0 and listed.text, listed


@pytest.fixture(params=["session", "transaction"])
def pooler(request, server):
    if Pooler.program() is None:
        pytest.skip("PgBouncer is not installed (scripts/deps test)")
    folder = Path(tempfile.mkdtemp(prefix="danemsg-pgbouncer-"))
    try:
        with Pooler(folder, server, request.param) as started:
            yield started
    finally:
        shutil.rmtree(folder)


def test_behind_a_pooler(world, sender, pooler):
    """What a session holds (statements, locks) must be the receiver's own: another mode is refused
    at the first connection, to look at the store too."""
    name = world.identity(f"pg-{pooler.mode}.good.test")
    if pooler.mode == "transaction":
        for command in ("receive", "-W", "9"), ("inbox", "list"):
            refused = world.run(*command, me=name, DANEMSG_STORE=pooler.url,
                                DANEMSG_STATE=world.new_state())
            assert refused.status == 2 and "must be in session mode" in refused.err, refused
        return
    receive_one(world, sender, name, pooler.url)
    second = Member(world, pooler, name, "-i", "dm-pooled")
    with second:
        clash = world.run("receive", "-W", "9", "--group", "workers", "-i", "dm-pooled", me=name,
                          DANEMSG_STORE=pooler.url, DANEMSG_STATE=world.new_state())
        assert clash.status == 2 and "another receiver" in clash.err, clash


def kill(server):
    """The postmaster alone; its processes see that, and end by themselves."""
    server.process.kill()
    server.process.wait()
    server.process = None


def start_again(server):
    """Not before the last process of the old one is gone."""
    def started():
        try:
            return server.start()
        except AssertionError:
            return False
    wait_for(started, "the server to start again")


def survive(world, sender, server, name, count, pace, kills):
    with Member(world, server, name, "-F", "%{id} %p\\n", "-N") as member:
        flow = threading.Thread(target=publish_slowly, args=(world, sender, name, count, pace))
        flow.start()
        lines = lambda: [line.split()[1] for line in member.lines()]
        for number in range(1, kills + 1):
            wait_for(lambda: len(set(lines())) >= count * number // (kills + 1), "a part")
            kill(server)
            start_again(server)
        flow.join()
        wait_for(lambda: len(set(lines())) >= count and member.alive(), "all messages")
        rows = exported(world, server, name)
        assert set(lines()) == {str(number) for number in range(count)}
        assert sorted(int(row["payload"]) for row in rows) == list(range(count))
        twice = len(lines()) - count
        assert twice <= kills, f"{twice} delivered twice"  # what was on its way at each
        silent(server, member.err)
    print(f"\n{count} messages, {kills} kills: 0 lost, 0 stored twice, {twice} delivered twice")


def test_the_server_is_killed(world, sender, server):
    survive(world, sender, server, world.identity("pg-killed.good.test"), 60, 0.005, 1)


@pytest.mark.slow
def test_the_server_is_killed_often(world, sender, server):
    survive(world, sender, server, world.identity("pg-killed-often.good.test"), 1500, 0.005, 4)
