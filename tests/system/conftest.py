"""Fixtures of the system tests: one world for all of them. Logs stay in pytest's temporary folder,
which a failing test names."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from world import make_world  # noqa: E402


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: minutes; run by scripts/test --all")


@pytest.fixture(scope="session")
def world(tmp_path_factory):
    with make_world(tmp_path_factory.mktemp("world")) as world:
        yield world


@pytest.fixture(scope="session")
def alice(world):
    return world.identity("alice.good.test")


@pytest.fixture(scope="session")
def bob(world):
    return world.identity("bob.good.test")


@pytest.fixture(scope="session")
def carol(world):
    return world.identity("carol.good.test")


@pytest.fixture(scope="session")
def mallory(world):
    return world.identity("mallory.good.test")


@pytest.fixture(scope="session")
def rsa_alice(world):
    return world.identity("alice.rsa.test", "rsa2048")


@pytest.fixture(scope="session")
def rsa_bob(world):
    return world.identity("bob.rsa.test", "rsa2048")
