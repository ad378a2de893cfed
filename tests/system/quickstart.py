"""The README's code blocks that are meant to run: fenced as ```sh test (or ```console test, whose
lines that begin with `$ ` are the commands)."""

import re
from pathlib import Path

FENCE = re.compile(r"^```(sh|console) test[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(path):
    """The shell text of each marked block of a Markdown file, in order."""
    found = []
    for kind, body in FENCE.findall(Path(path).read_text()):
        if kind == "console":
            body = "".join(line[2:] + "\n" for line in body.splitlines() if line.startswith("$ "))
        found.append(body)
    return found
