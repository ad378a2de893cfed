"""The guides in doc/ do what they say: their blocks run, their configurations are those of servers
here, their figures are measured, and their words, options, checks and links exist."""

import json
import re
import subprocess

import pytest
from primaries import PowerDns
from quickstart import GUIDES, README, blocks, configuration, fenced, finish_blocks, start_blocks
from servers import LOOPBACK, PATIENCE, program
from world import DANEMSG, ROOT
from written import (ALICE, PAGE as OPERATING, ZONE, WrittenBind, WrittenBroker, WrittenKnot,
                     WrittenPowerDns, replaced)

PAGES = sorted(GUIDES.glob("*.md"))
TROUBLES = GUIDES / "TROUBLESHOOTING.md"
LOCAL = 2


def test_blocks(world, alice, bob, tmp_path):
    """Each page in a shell and a folder of its own, all at the same time."""
    started = []
    for page in PAGES:
        if blocks(page):
            (tmp_path / page.stem).mkdir()
            started.append(start_blocks(world, page, tmp_path / page.stem,
                                        DANEMSG_DNS_STUB=world.knot.stub("good.test")))
    assert {page.stem for page, _script, _process in started} >= {
        "OPERATING", "MIGRATING", "PUBLIC-BROKER", "TROUBLESHOOTING"}
    said = {started_one[0].stem: finish_blocks(started_one) for started_one in started}
    assert "alice.good.test says: Not on the usual topic" in said["PUBLIC-BROKER"]
    assert re.search(r"^TLSA record for carol\.good\.test: 3 0 0 [0-9a-f]{1000}", said["MIGRATING"],
                     re.MULTILINE)
    assert re.search(r"^3 1 1 [0-9a-f]{64}$", said["OPERATING"], re.MULTILINE)


# ------------------------------------------------------------------- name servers, as written there


def run_published(world, server, folder, commands, status=0, name=ALICE):
    """The page's commands as they stand there, but for the servers' addresses and the key's place."""
    (folder / "anchors").write_text(server.anchor(ZONE))
    script = "set -eu\ntsig-keygen() { cat " + str(server.key) + "; }\n" + "".join(commands)
    for old, new in (("192.0.2.53", f"{LOOPBACK}@{server.port}"),
                     ("/etc/danemsg/tsig.key", str(server.key)),
                     ("https://dns.example.net", f"http://{LOOPBACK}:{getattr(server, 'api_port', 0)}")):
        script = script.replace(old, new)
    variables = world.environment(
        PATH=f"{DANEMSG.parent}:{world.variables['PATH']}", IDENTITY_NAME=name,
        DANEMSG_DNS_STUB=server.stub(ZONE), DANEMSG_TRUST_ANCHOR=folder / "anchors")
    ran = subprocess.run(["bash", "-c", script], cwd=folder, env=variables, capture_output=True,
                         timeout=PATIENCE, text=True)
    assert ran.returncode == status, f"{script}\n{ran.stdout}\n{ran.stderr}"
    return ran


@pytest.mark.parametrize("kind", [WrittenKnot, WrittenBind, WrittenPowerDns])
def test_name_servers(world, tmp_path, kind):
    """The whole configurations: publishing with the key in them, and what its limits refuse."""
    world.run("identity", "new", ALICE, "--force")
    update, api, retract = blocks(OPERATING, "publish")
    [lost] = blocks(OPERATING, "lost")
    with kind(tmp_path / "server") as server:
        run = lambda commands, **other: run_published(world, server, tmp_path, commands, **other)
        assert "published 1 record" in run([update]).stdout
        if isinstance(server, PowerDns):
            (tmp_path / "api.key").write_bytes(server.api_key.read_bytes())
            (tmp_path / "api.key").chmod(0o600)
            assert "nothing to change" in run([api]).stdout
        assert server.records(ALICE)
        assert "retracted" in run([retract]).stdout
        assert not server.records(ALICE)
        run([update])
        assert "retracted" in run([f"rm $CRYPTO_PATH/{ALICE}.*\n" + lost]).stdout
        assert not server.records(ALICE)
        if not isinstance(server, PowerDns):
            other = world.identity(f"docs.{ZONE}", publish=False)
            refused = run([update], status=LOCAL, name=other)
            word = "BADKEY" if isinstance(server, WrittenKnot) else "REFUSED"
            assert word in refused.stderr and not server.records(other), refused.stderr
    for file in world.crypto.glob(f"docs.{ZONE}.*"):
        file.unlink()


@pytest.mark.slow
def test_the_rollover_script(world, tmp_path):
    """Every step in its turn; before its time none, and the script is content."""
    name = f"alice.{ZONE}"
    world.run("identity", "new", name, "--force")
    [script] = blocks(OPERATING, "rollover")
    with WrittenKnot(tmp_path / "server") as server:
        run = lambda *commands: run_published(world, server, tmp_path, commands)
        phase = lambda: json.loads(run("danemsg identity rollover status --json\n").stdout)["phase"]
        run(*blocks(OPERATING, "publish")[:1])
        (tmp_path / "step").write_text(replaced(
            script, who=("'danemsg-service'", "danemsg"), key=("/etc/danemsg/tsig.key", str(server.key)),
            where=("192.0.2.53", f"{LOOPBACK}@{server.port}")))
        run("sh ./step\n")
        assert phase() == "none"
        run("sh ./step start\n")
        assert phase() == "started" and len(server.records(name)) == 2
        run("sh ./step\n")
        assert phase() == "started"
        state = world.crypto / f"{name}.rollover"
        state.write_text(re.sub(r"(?m)^((?:made|seen)\W+)\d+", lambda found: found[1] + "1700000000",
                                state.read_text()))
        run("sh ./step\n")
        assert phase() == "switched"
        run("sh ./step\n")
        assert phase() == "switched" and len(server.records(name)) == 2
    for file in world.crypto.glob(f"{name}.*"):
        file.unlink()


# -------------------------------------------------------------------------- the broker, as written


def test_broker(world, alice, bob, tmp_path):
    """TLS and a password to get in; and who may write is not who may read."""
    with WrittenBroker(tmp_path / "broker", "good.test", "alice", "bob") as broker:
        def user(name):
            file = tmp_path / name
            file.write_text(name + "\n")
            return {"MQTT_HOST": "localhost", "MQTT_PORT": broker.port, "DANEMSG_USERNAME": name,
                    "DANEMSG_PASSWORD_FILE": file, "DANEMSG_CAFILE": broker.authority}
        nobody = world.run("send", bob, "NO", me=alice, **{**user("alice"), "DANEMSG_USERNAME": "eve"})
        assert nobody.status == 10, nobody
        with world.receiver(bob, wait_broker=broker, **user("bob")) as receiver, \
                world.receiver(alice, "-t", bob, "-t", alice, wait_broker=broker,
                               **user("alice")) as spy:
            for who, to, other in ((alice, bob, receiver), (bob, alice, spy)):
                sent = world.run("send", to, "BY TLS", me=who, **user(who.partition(".")[0]))
                assert sent.status == 0, sent
                other.wait_out(f"{who} says: BY TLS\n")
            assert spy.count("not-for-me") == 0, spy.err


# ------------------------------------------------------------------ other files that are shown there


UNITS = {"OPERATING": ["danemsg-rollover.service", "danemsg-rollover.timer"],
         "SCALING": ["danemsg-worker@.service"]}


@pytest.mark.parametrize("page", UNITS)
def test_units(tmp_path, page):
    for unit in UNITS[page]:
        text = configuration(GUIDES / f"{page}.md", f"/etc/systemd/system/{unit}")
        text = text.replace("/usr/bin/danemsg", str(DANEMSG)).replace(
            "/usr/local/sbin/danemsg-rollover", "/bin/true").replace("User=danemsg", "User=root")
        (tmp_path / unit.replace("@.", "@1.")).write_text(text)
    units = [tmp_path / unit.replace("@.", "@1.") for unit in UNITS[page]]
    if page == "OPERATING":  # what is added to a unit, as a whole one
        path = "# /etc/systemd/system/danemsg-receive.service.d/override.conf\n"
        added = [body for _info, body in fenced(OPERATING) if body.startswith(path)]
        assert added
        for number, more in enumerate(added):
            units.append(tmp_path / f"more{number}.service")
            units[-1].write_text("[Service]\nExecStart=/bin/true\n" + more)
    ran = subprocess.run([program("systemd-analyze"), "verify", "--man=no", *units],
                         capture_output=True, text=True, timeout=PATIENCE)
    faults = [line for line in ran.stderr.splitlines() if str(tmp_path) in line or "danemsg" in line]
    assert ran.returncode == 0 and not faults, ran.stderr


def test_unbound(tmp_path):
    file = tmp_path / "unbound.conf"
    file.write_text(configuration(OPERATING, "/etc/unbound/unbound.conf.d/tls.conf"))
    checked = subprocess.run([program("unbound-checkconf"), file], capture_output=True, text=True)
    assert checked.returncode == 0, checked


def test_prometheus_rules():
    """Each figure is one of ours, and each outcome a word."""
    text = configuration(OPERATING, "/etc/prometheus/rules.d/danemsg.yml")
    outcomes = re.findall(r'outcome=~"([^"]*)"', text)
    assert {word for found in outcomes for word in found.split("|")} <= set(errors())
    code = "".join(path.read_text() for path in (ROOT / "cli").glob("*.c"))
    for page in [README, *PAGES]:
        for figure in re.findall(r"\bdanemsg_[a-z_]+\b(?!\.)", page.read_text()):
            assert f'"{figure}"' in code, f"{page}: {figure}"


# ----------------------------------------------------------------------------------- words, checks


def errors():
    """word -> exit status, of danemsg/error.h in its order."""
    text = (ROOT / "include" / "danemsg" / "error.h").read_text()
    found = {word: int(status) for word, status in re.findall(r'X\(\w+, "([a-z-]+)", (\d+),', text)}
    assert len(found) > 20
    return found


def sections():
    text = TROUBLES.read_text()
    return re.findall(r"^### `([^`]+)`\n\n(.*?)(?=^###? |\Z)", text, re.MULTILINE | re.DOTALL)


def test_every_word_has_its_section():
    assert [word for word, _text in sections()] == list(errors())
    for word, text in sections():
        status = re.match(r"Exit status (\d+)\. Who: ", text)
        assert status and int(status[1]) == errors()[word], f"{word}: {text[:60]}"
    assert not re.search(r"^###? .*`", re.sub(r"^### `[^`]+`\n", "", TROUBLES.read_text(),
                                              flags=re.MULTILINE), re.MULTILINE)


def test_what_is_quoted_is_said():
    """The texts of start-up problems, by which a reader finds the paragraph."""
    quoted = re.findall(r'^\*\*"([^"]+)"', TROUBLES.read_text(), re.MULTILINE)
    code = "".join(path.read_text() for room in ("cli", "src")
                   for path in sorted((ROOT / room).rglob("*.c")))
    code = re.sub(r'"\s*"', "", code).replace("%s", "receiver")
    assert len(quoted) > 3
    for text in quoted:
        assert text in code, text


def test_every_doctor_check_is_named(world, bob):
    """By its name in the program's table; and none that is not there."""
    asked = world.run("doctor", "--json", me=bob, DANEMSG_STATE=world.new_state(),
                      DANEMSG_DNS_STUB=world.knot.stub("good.test"))
    checks = {json.loads(line)["check"] for line in asked.text.splitlines()}
    named = set()
    for found in re.findall(r"\*doctor\*:\s+((?:`[a-z-]+`(?:,\s+)?)+)", TROUBLES.read_text()):
        named.update(re.findall(r"`([a-z-]+)`", found))
    assert len(checks) > 10 and named == checks, named ^ checks


# ------------------------------------------------------------------------------- figures and links


KEYS = ["p256", "p384", "p521", "ed25519", "rsa2048", "rsa3072"]


@pytest.mark.parametrize("key", [pytest.param(key, marks=[pytest.mark.slow] if i % 3 else [])
                                 for i, key in enumerate(KEYS)])
def test_sizes_of_records(world, key):
    """A name as long as alice.example.net, in a zone that is two octets shorter than example.net; a
    certificate's own signature and number vary by some octets."""
    rows = dict(re.findall(r"^\| `(\w+)`[^|]* \| ([\d |]+) \|$", OPERATING.read_text(), re.MULTILINE))
    assert sorted(rows) == sorted(KEYS)
    expected = [int(figure) for figure in rows[key].split(" | ")]
    name = f"abcd{KEYS.index(key)}ef.good.test"
    assert len(name) == len(ALICE)

    def answer(records):
        world.knot.publish(name, *records)
        return len(world.knot.ask(name, "TLSA").to_wire(max_size=65535)) + 2
    measured = []
    for options in ([], ["--selector", "1"], ["--selector", "1", "--matching-type", "1"]):
        if not options:
            world.identity(name, key, publish=False)
        records = world.tlsa(name, *options)
        measured += [sum(3 + len(record.split()[3]) // 2 for record in records), answer(records)]
        if not options:  # as long as the next key's
            other = [record[:-8] + f"{number:08x}" for number, record in enumerate(records)]
            measured.append(answer(records + other))
    world.knot.publish(name)
    assert len(expected) == len(measured)
    for said, is_so in zip(expected, measured):
        assert abs(said - is_so) <= 12, (key, expected, measured)


def slug(heading):
    """As GitHub makes it of a heading's text."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_links(page):
    """Files and headings that are linked to are there."""
    prose = re.sub(r"^( *)```.*?^\1```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", re.sub(r"\s*\n\s*", " ", prose)):
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        assert there.exists(), f"{page}: {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", there.read_text(), re.MULTILINE)
            assert anchor in map(slug, headings), f"{page}: {target}"


def command_lines():
    """(page, words) of each danemsg command in the shell blocks of README and guides."""
    for page in [README, *PAGES]:
        for info, body in fenced(page):
            if not info.startswith("sh"):
                continue
            for line in body.replace("\\\n", " ").splitlines():
                for found in re.findall(r"(?:^|[|;(]\s*|sudo )danemsg(?:-service)? ([^|;)#<>]+)", line):
                    yield page, re.sub(r"'[^']*'|\"[^\"]*\"", "X", found).split()


def test_options_exist(world):
    """Every command that is shown is one, and every option of it is in its help."""
    helps, count = {}, 0
    for page, words in command_lines():
        command = words[:2] if words[0] in ("identity", "inbox", "outbox") else words[:1]
        if command[0].startswith(("-", "$", "COMMAND")):
            continue
        if tuple(command) not in helps:
            helps[tuple(command)] = world.run(*command, "--help-all")
        shown = helps[tuple(command)]
        assert shown.status == 0, f"{page}: danemsg {' '.join(words)}"
        for word in words[len(command):]:
            option = re.match(r"--[a-z][a-z0-9-]*|-[A-Za-z]$", word)
            if option:
                count += 1
                assert re.search(rf"(^|[\s,]){re.escape(option[0])}[\s,]", shown.text), \
                    f"{page}: danemsg {' '.join(words)}: {option[0]}"
    assert count > 60
