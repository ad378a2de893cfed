"""scripts/check-arrows sees what it is there to see."""

import shutil
import subprocess

import pytest
from world import ROOT

FAULTS = {
    "a sibling": ("src/jose/x.c", '#include "x509/certificate.h"', "jose may not include"),
    "a room above": ("src/base/x.c", '#include "message/claims.h"', "base may not include"),
    "a public header of a room above": ("src/x509/x.c", '#include "danemsg/resolver.h"',
                                        "x509 may not include"),
    "the program": ("src/service/x.c", '#include "cli/common.h"', "service may not include"),
    "a library of another room": ("src/message/x.c", "#include <unbound.h>", "belongs into dane"),
    "a library in the program": ("cli/x.c", "#include <mosquitto.h>", "belongs into mqtt"),
    "a library in a public header": ("include/danemsg/x.h", "#include <jansson.h>",
                                     "may not include"),
    "a library's type in a public header": ("include/danemsg/x.h",
                                            "struct mosquitto *x(void); /* json_t */",
                                            "shows struct mosquitto"),
    "a room that is in no plan": ("src/attic/x.c", "int x;", "there is no room"),
}


def check(folder):
    done = subprocess.run(["/usr/bin/python3", ROOT / "scripts" / "check-arrows", folder],
                          capture_output=True, text=True)
    return done.returncode, done.stdout


@pytest.mark.parametrize("what", FAULTS)
def test_a_wrong_arrow_is_seen(tmp_path, what):
    file, line, text = FAULTS[what]
    for part in "include", "src", "cli":
        shutil.copytree(ROOT / part, tmp_path / part)
    status, said = check(tmp_path)
    assert status == 0, said
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(f"/* one fault */\n{line}\n")
    status, said = check(tmp_path)
    assert status == 1 and text in said and said.startswith(file), said


def test_ssl_and_types_of_openssl_are_welcome(tmp_path):
    for part in "include", "src", "cli":
        shutil.copytree(ROOT / part, tmp_path / part)
    (tmp_path / "include/danemsg/x.h").write_text(
        "#include <openssl/types.h>\nint x(EVP_PKEY *key); /* unlike ub_ctx or json_t */\n")
    assert check(tmp_path)[0] == 0
