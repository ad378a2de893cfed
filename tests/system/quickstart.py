"""What of the README and the guides is meant to run. Fences say how: ```sh test blocks run as they
stand (as do ```console test, whose lines that begin with `$ ` are the commands), ```sh and another
word in the test that knows the word. A configuration begins with a comment that is its file's path."""

import re
import subprocess
from pathlib import Path

from servers import PATIENCE
from world import DANEMSG, ROOT

README = ROOT / "README.md"
GUIDES = ROOT / "doc"
FENCE = re.compile(r"^( *)```([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


def fenced(path):
    """(info string, text) of each fenced block of a Markdown file, in order, without indentation."""
    return [(info.strip(), re.sub(rf"^{indent}", "", body, flags=re.MULTILINE))
            for indent, info, body in FENCE.findall(Path(path).read_text())]


def blocks(path, word="test"):
    """The shell text of each block with this word, in order."""
    found = []
    for info, body in fenced(path):
        if info == f"console {word}":
            body = "".join(line[2:] + "\n" for line in body.splitlines() if line.startswith("$ "))
        if info in (f"sh {word}", f"console {word}"):
            found.append(body)
    return found


def configuration(path, file):
    """The text of the block that is this file."""
    found = [body for info, body in fenced(path)
             if re.match(rf"(#|//|;) {re.escape(file)}$", body.partition("\n")[0])]
    assert len(found) == 1, f"{path} has {len(found)} blocks for {file}"
    return found[0]


def start_blocks(world, path, folder, **changes):
    """Begins to run a page's blocks in one shell; finish_blocks ends it."""
    script = "set -eu\n" + "\n".join(blocks(path))
    variables = world.environment(PATH=f"{DANEMSG.parent}:{world.variables['PATH']}:/usr/sbin",
                                  HOME=folder, IDENTITY_NAME=None, **changes)
    return path, script, subprocess.Popen(["bash", "-c", script], cwd=folder, env=variables, text=True,
                                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                          stderr=subprocess.PIPE)


def finish_blocks(started):
    path, script, process = started
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, f"{path}:\n{script}\n{out}\n{err}"
    return out
