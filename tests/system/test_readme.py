"""The README's quick start does what it says: its marked blocks run in one shell, one after the
other, in the environment that scripts/demo --keep leaves."""

import subprocess

import pytest
from world import DANEMSG, ROOT
from quickstart import blocks

README = ROOT / "README.md"


@pytest.mark.skipif(not README.exists() or not blocks(README), reason="no block is marked")
def test_quick_start(world, alice, bob, tmp_path):
    script = "set -eu\n" + "\n".join(blocks(README))
    variables = world.environment(PATH=f"{DANEMSG.parent}:{world.variables['PATH']}",
                                  HOME=tmp_path, IDENTITY_NAME=None)
    ran = subprocess.run(["bash", "-c", script], cwd=tmp_path, env=variables, capture_output=True,
                         timeout=120, text=True)
    assert ran.returncode == 0, f"{script}\n{ran.stdout}\n{ran.stderr}"


def test_blocks_are_found(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\nno\n```\n```sh test\nyes \\\n  more\n```\ntext\n"
                    "```console test\n$ echo a\na\n$ echo b\nb\n```\n")
    assert blocks(page) == ["yes \\\n  more\n", "echo a\necho b\n"]
