"""Pages, completions and --help stay together with the table of commands: the check itself, and
that it notices each kind of fault. The completions are asked as a shell would."""

import importlib.machinery
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers import PATIENCE
from world import DANEMSG, ROOT

PARTS = ("man", "completions", "include", "README.md", "doc/PROTOCOL.md", "src/libdanemsg.map")


@pytest.fixture(scope="module")
def checks():
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    loader = importlib.machinery.SourceFileLoader("check_manuals",
                                                  str(ROOT / "scripts" / "check-manuals"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("check_manuals", loader))
    loader.exec_module(module)
    sys.dont_write_bytecode = before
    return module


@pytest.fixture(scope="module")
def said(checks):
    table = checks.manuals.Table(DANEMSG)
    return table, checks.ask_help(str(DANEMSG), table)


@pytest.fixture
def copy(tmp_path):
    for part in PARTS:
        target = tmp_path / part
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copytree if (ROOT / part).is_dir() else shutil.copy)(ROOT / part, target)
    return tmp_path


def test_all_of_it_is_in_step(checks, said):
    assert checks.faults(ROOT, *said) == []


SEND, RECEIVE = "man/danemsg-send.1", "man/danemsg-receive.1"
# check, file, what is replaced (all of it when None), by what, what must be said
TWINS = {
    "an option that a page lacks": ("options", SEND, ".It Fl -queue\n", ".It Fl -daemon\n",
                                    "man/danemsg-send.1: --queue is missing"),
    "an option that is not there": ("options", SEND, ".It Fl -queue\n",
                                    ".It Fl -queue\n.It Fl -cue\n",
                                    "man/danemsg-send.1: there is no --cue"),
    "a letter": ("options", SEND, ".It Fl q , Fl -qos", ".It Fl -qos",
                 "man/danemsg-send.1: -q is missing"),
    "an option in a text": ("options", RECEIVE, ".Sh OPTIONS", ".Fl -nonsense\n.Sh OPTIONS",
                            "man/danemsg-receive.1: no command has --nonsense"),
    "a page": ("pages", SEND, None, None, "man/: danemsg-send.1 is missing"),
    "a page that is not installed": ("pages", "man/meson.build", "'danemsg-seal.1',", "",
                                     "man/meson.build: danemsg-seal.1 is missing"),
    "a page of no command": ("pages", "man/danemsg-nothing.1", None, ".Dd x\n",
                             "man/: there is no danemsg-nothing.1"),
    "a reference": ("pages", SEND, ".Xr danemsg-seal 1", ".Xr danemsg-steal 1",
                    "man/danemsg-send.1: there is no page danemsg-steal.1"),
    "mdoc": ("lint", SEND, ".Sh DESCRIPTION", ".Sh DESCRIPTION\n.Nonsense", "Nonsense"),
    "a text for no option": ("extra", "man/options", "= --host", "= --guest",
                             "man/options: there is no --guest"),
    "a variable": ("variables", "man/danemsg.1", ".It Ev APP_UID", ".It Ev APP_GID",
                   "man/danemsg.1: APP_UID is missing"),
    "a variable of the README": ("variables", "README.md", "| `APP_UID` |", "| `APP_GID` |",
                                 "README.md, Variables: there is no APP_GID"),
    "a word": ("outcomes", "man/danemsg.7", ".It Sy replay Ta 9", ".It Sy repeat Ta 9",
               "man/danemsg.7: replay (9) is missing"),
    "a status": ("outcomes", "doc/PROTOCOL.md", "| 7 | `decrypt`", "| 8 | `decrypt`",
                 "doc/PROTOCOL.md: decrypt (7) is missing"),
    "a word of the README": ("outcomes", "README.md", "`unbound` `quota` |", "`unbound` |",
                             "README.md: quota (9) is missing"),
    "a symbol": ("symbols", "src/libdanemsg.map", "    dmsg_seal;", "    dmsg_steal;",
                 "man/libdanemsg.3: dmsg_steal is missing"),
    "bash": ("completions", "completions/danemsg.bash", "--queue --daemon", "--daemon",
             "danemsg.bash, send: --queue is missing"),
    "zsh": ("completions", "completions/_danemsg", "'--queue[", "'--cue[",
            "_danemsg, send: there is no --cue"),
    "an altered page": ("stale", SEND, "This text.", "That text.",
                        "man/danemsg-send.1 is stale"),
    "a stale completion": ("stale", "completions/_danemsg", "this text", "that text",
                           "completions/_danemsg is stale"),
}


@pytest.mark.parametrize("what", TWINS)
def test_a_fault_is_noticed(checks, said, copy, what):
    check, name, old, new, expected = TWINS[what]
    file = copy / name
    if new is None:
        file.unlink()
    elif old is None:
        file.write_text(new)
    else:
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))
    found = checks.faults(copy, *said, [getattr(checks, f"check_{check}")])
    assert any(expected in line for line in found), found


@pytest.mark.parametrize("change, expected", [
    (lambda shown: shown + "x\n" * 20, "lines, and"),
    (lambda shown: shown.replace("usage: ", "usage: " + "x" * 60, 1), "too wide"),
    (lambda shown: shown.replace("example: ", "for instance: "), "no example"),
    (lambda shown: shown.replace("net 'HELLO", "net   'HELLO"), "cannot be typed")])
def test_a_help_that_does_not_fit(checks, said, change, expected):
    table, helps = said
    found = checks.faults(ROOT, table, {**helps, "send --help": change(helps["send --help"])},
                          [checks.check_help])
    assert len(found) == 1 and expected in found[0], found


def test_all_options_are_told(checks, said):
    table, helps = said
    lacking = {**helps, "send --help-all": helps["send --help-all"].replace("--will-qos", "")}
    assert checks.faults(ROOT, table, lacking, [checks.check_help]) == [
        "send --help-all: --will-qos is missing"]


def test_the_table_is_json():
    shown = subprocess.run([DANEMSG, "--help", "--json"], capture_output=True, text=True,
                           check=True, timeout=PATIENCE).stdout
    lines = [json.loads(line) for line in shown.splitlines()]
    [send] = [line for line in lines if line.get("command") == "send"]
    options = {option.get("name"): option for option in send["options"]}
    assert options["queue"]["kind"] == "flag" and options["wait"]["default"] == 30
    assert options["host"]["variable"] == "MQTT_HOST" and options["host"]["group"] == "Broker"
    assert {"outcome": "replay", "status": 9, "meaning": "seen before"} in lines


# --------------------------------------------------------------------------------- completions

COMPLETED = [
    (["danemsg", "o"], {"outbox", "open"}),
    (["danemsg", "inbox", ""], {"list", "show", "export", "purge", "--help"}),
    (["danemsg", "send", "--qu"], {"--queue"}),
    (["danemsg", "identity", "rollover", "s"], {"start", "switch", "status"}),
    (["danemsg", "identity", "new", "--key", "ed"], {"ed25519"}),
    (["danemsg", "identity", "new", "--key", "=", "ed"], {"ed25519"}),
    (["danemsg", "send", "-q", "="], {"0", "1", "2"}),
    (["danemsg", "send", "--to", ""], {"alice.example.net", "bob.example.net", "carol._device.example.net"}),
    (["danemsg", "lookup", "b"], {"bob.example.net"}),
    (["danemsg", "send", "--nonsense"], set()),
    (["send_message.py", "--stdin-f"], {"--stdin-file"}),
    (["danemsg", "receive", "--allow-file", "pat"], {"patterns"}),
    (["danemsg", "send", "-f", "my"], {"my report"}),
]


@pytest.fixture
def crypto(tmp_path):
    for name in ("alice.example.net", "bob.example.net", "bob.example.net.next",
                 "bob.example.net.old", "bob.example.net.enc", "$(touch made).example.net"):
        (tmp_path / f"{name}.key.pem").touch()
    for name in "patterns", "my report", "carol._device.example.net.key.uri":
        (tmp_path / name).touch()
    return tmp_path


def shell(*command, folder):
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, cwd=folder,
                          env={"CRYPTO_PATH": str(folder), "PATH": "/usr/bin:/bin", "HOME": "/"},
                          check=False)
    assert done.returncode == 0, done.stderr
    return done


BASH = """source "$0"; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); "$(complete -p "$1" |
sed 's/.*-F \\([a-z_]*\\) .*/\\1/')" "$1"; printf '%s\\n' "${COMPREPLY[@]}" """


@pytest.mark.parametrize("words, expected", COMPLETED, ids=lambda value: " ".join(value))
def test_bash_completes(crypto, words, expected):
    done = shell("bash", "-c", BASH, ROOT / "completions" / "danemsg.bash", *words, folder=crypto)
    assert set(filter(None, done.stdout.splitlines())) == expected
    assert not (crypto / "made").exists()


def zsh_or_skip():
    if not Path("/usr/bin/zsh").exists() and not Path("/bin/zsh").exists():
        pytest.skip("zsh is not installed")


def test_zsh_reads_it(crypto):
    zsh_or_skip()
    shell("zsh", "-n", ROOT / "completions" / "_danemsg", folder=crypto)


# The functions of zsh's completion system, as far as they are called, say what they are asked.
ZSH_ASK = """
_arguments() { print -rl -- "$@" }
_describe() { print -rl -- ${(P)2} }
compadd() { print -rl -- ${(P)2} }
words=("${@[2,-1]}"); CURRENT=$#words; service=${words[1]}
source $1
"""


@pytest.mark.parametrize("words, expected", [
    (["danemsg", ""], {"send:", "inbox:"}),
    (["danemsg", "inbox", ""], {"list:", "purge:"}),
    (["danemsg", "send", ""], {"--queue[", "(-m --message)-m[", "*:argument:_danemsg_known"}),
    (["danemsg", "identity", "new", ""], {"--key[", "*:argument:_danemsg_known"}),
    (["send_message.py", ""], {"--queue["})], ids=lambda value: " ".join(value))
def test_zsh_completes(crypto, words, expected):
    zsh_or_skip()
    done = shell("zsh", "-f", "-c", ZSH_ASK, "zsh", ROOT / "completions" / "_danemsg", *words,
                 folder=crypto)
    lines = done.stdout.splitlines()
    for start in expected:
        assert any(line.startswith(start) for line in lines), (start, lines)
    assert not done.stderr
