"""An installed copy: the example compiles against it with pkg-config alone, and its messages pass
between names; the headers stand by themselves; only the documented symbols are exported."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from quickstart import README, fenced
from servers import PATIENCE
from world import DANEMSG, ROOT

HEADERS = sorted(path.name for path in (ROOT / "include" / "danemsg").glob("*.h"))


def run(*command, **options):
    done = subprocess.run([str(part) for part in command], capture_output=True, timeout=PATIENCE,
                          **options)
    assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
    return done.stdout


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The root below which `meson install` put everything."""
    build = DANEMSG.parent.parent
    if not (build / "build.ninja").exists():
        pytest.skip("the program under test has no build folder to install from")
    root = tmp_path_factory.mktemp("installed")
    run("meson", "install", "-C", build, "--no-rebuild", "--destdir", root)
    return root


@pytest.fixture(scope="module")
def compile_flags(installed):
    [description] = installed.rglob("danemsg.pc")
    environment = {**os.environ, "PKG_CONFIG_PATH": str(description.parent),
                   "PKG_CONFIG_SYSROOT_DIR": str(installed)}
    flags = run("pkg-config", "--cflags", "--libs", "danemsg", env=environment).decode().split()
    [library] = installed.rglob("libdanemsg.so")
    return flags, library.parent


@pytest.fixture(scope="module")
def courier(installed, compile_flags, tmp_path_factory):
    flags, library = compile_flags
    program = tmp_path_factory.mktemp("example") / "courier"
    run("cc", "-std=c17", "-Wall", "-Wextra", "-Werror", ROOT / "examples" / "courier.c",
        *flags, "-o", program)
    [resolver] = installed.rglob("danemsg-resolver")
    assert os.access(resolver, os.X_OK)
    return program, library, resolver


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_stands_by_itself(compile_flags, tmp_path, header):
    source = tmp_path / "one.c"
    source.write_text(f"#include <danemsg/{header}>\n#include <danemsg/{header}>\nint x;\n")
    includes = [flag for flag in compile_flags[0] if flag.startswith("-I")]
    for language in ("cc", "-std=c99"), ("cc", "-std=c17"), ("clang++", "-xc++", "-std=c++11"):
        run(*language, "-Wall", "-Wextra", "-Wpedantic", "-Werror", *includes,
            "-c", source, "-o", tmp_path / "one.o")


def test_manuals_and_completions_are_installed(installed):
    pages = {path.name for path in (ROOT / "man").glob("*.[0-9]")}
    assert pages <= {path.name for path in installed.rglob("share/man/man?/*")}
    [bash] = installed.rglob("bash-completion/completions/danemsg")
    assert bash.read_bytes() == (ROOT / "completions" / "danemsg.bash").read_bytes()
    assert (bash.parent / "send_message.py").resolve() == bash.resolve()
    [zsh] = installed.rglob("site-functions/_danemsg")
    assert zsh.read_bytes() == (ROOT / "completions" / "_danemsg").read_bytes()


def test_only_declared_symbols_are_exported(compile_flags):
    declared = set()
    for header in (ROOT / "include" / "danemsg").glob("*.h"):
        text = re.sub(r"/\*.*?\*/|\btypedef [^;]*;", "", header.read_text(), flags=re.DOTALL)
        declared |= set(re.findall(r"\b(dmsg_[a-z0-9_]+)\(", text))
    symbols = run("nm", "-D", "--defined-only", compile_flags[1] / "libdanemsg.so").decode()
    exported = set(re.findall(r" T (\w+)", symbols))
    assert exported and exported == declared


def test_the_example(world, alice, bob, courier):
    program, library, resolver = courier
    environment = {**world.environment(), "LD_LIBRARY_PATH": str(library),
                   "DNS_STUB": world.environment()["DANEMSG_DNS_STUB"].split()[0],
                   "TRUST_ANCHOR": world.environment()["DANEMSG_TRUST_ANCHOR"],
                   "RESOLVER": str(resolver)}
    sealed = run(program, "seal", world.crypto, alice, bob, input=b"A LETTER", env=environment)
    assert run(program, "open", world.crypto, bob, input=sealed, env=environment) == b"A LETTER"
    assert world.run("open", me=bob, input=sealed).out == b"A LETTER"
    other = b"A" if sealed[-10:-9] != b"A" else b"B"
    altered = sealed[:-10] + other + sealed[-9:]
    refused = subprocess.run([program, "open", world.crypto, bob], input=altered,
                             capture_output=True, env=environment, timeout=PATIENCE)
    assert (refused.returncode, refused.stdout) == (7, b""), refused.stderr


def test_the_example_of_the_readme(world, alice, bob, courier, compile_flags, tmp_path):
    """As it stands there, but that it asks this world's name server."""
    [text] = [body for info, body in fenced(README) if info == "c"]
    everywhere = "struct dmsg_discovery_config dns = {0};"
    assert text.count(everywhere) == 1
    stub, anchor = world.knot.stub("good.test"), world.variables["DANEMSG_TRUST_ANCHOR"]
    (tmp_path / "hello.c").write_text(text.replace(
        everywhere, f'const char *stub = "{stub}"; struct dmsg_discovery_config dns = {{.resolver = {{'
        f'.stubs = &stub, .stub_count = 1, .trust_anchor = "{anchor}", .program = "{courier[2]}"}}}};'))
    run("cc", "-std=c17", "-Wall", "-Wextra", "-Werror", tmp_path / "hello.c", *compile_flags[0],
        "-o", tmp_path / "hello")
    environment = {**world.environment(), "LD_LIBRARY_PATH": str(courier[1])}
    sealed = run(tmp_path / "hello", world.crypto, alice, bob, env=environment)
    assert world.run("open", me=bob, input=sealed).out == b"HELLO"
    nobody = subprocess.run([tmp_path / "hello", world.crypto, alice, "nobody.good.test"],
                            capture_output=True, env=environment, timeout=PATIENCE)
    assert nobody.returncode == 1 and nobody.stderr.startswith(b"no-identity: "), nobody
