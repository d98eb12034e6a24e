"""The command line as its users meet it: processes, exit codes, and what is written where."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import sqlite3
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.server import ServerProcess

DEMO_DATA = Path(__file__).parents[2] / "src" / "numberline" / "data" / "demo"
ATTACH = ("--country-code", "US", "--phone_category_name", "local", "--phone-region-id", "101")
WRONG = ("--country-code", "XX", "--phone-category-name", "local")

Done = subprocess.CompletedProcess[str]


def numberline(*arguments: str | Path, cwd: Path, **environment: str) -> Done:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBERLINE_")}
    return subprocess.run(
        [sys.executable, "-m", "numberline", *map(str, arguments)],
        cwd=cwd,
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        stdin=subprocess.DEVNULL,
    )


def succeed(*arguments: str | Path, cwd: Path) -> str:
    done = numberline(*arguments, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "\x1b" not in done.stdout, "colours where there is no terminal"
    return done.stdout


def fail(*arguments: str | Path, cwd: Path, code: int, **environment: str) -> str:
    """What a failing command says: on standard error, without a traceback."""
    done = numberline(*arguments, cwd=cwd, **environment)
    assert done.returncode == code, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr.strip()


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def call(home: Path, *arguments: str) -> dict[str, Any]:
    answer: dict[str, Any] = json.loads(
        succeed("call", *arguments, "--json", "--home", home, cwd=home.parent)
    )
    return answer


# --- `up` ----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("up") / "home") as server:
        yield server


def test_a_first_start_leaves_keys_that_only_their_owner_reads(demo: ServerProcess):
    credentials = json.loads(demo.credentials.read_text())
    assert credentials.keys() == {"account_email", "account_id", "key_id", "private_key"}
    keys = sorted((demo.home / "keys").iterdir())
    assert "demo.json" in {key.name for key in keys}
    assert "demo-no-role.json" in {key.name for key in keys}
    assert {mode_of(file) for file in (demo.credentials, demo.home / "demo.json", *keys)} == {0o600}
    assert mode_of(demo.home) == 0o700
    assert not (demo.home / "demo.started").exists()


def test_the_lines_that_are_printed_work_as_they_are(demo: ServerProcess):
    printed = demo.log()
    snippets = re.findall(r"^REQUESTS_CA_BUNDLE=.*?^END$", printed, re.MULTILINE | re.DOTALL)
    if shutil.which("curl"):
        snippets += re.findall(r"^curl .*?'$", printed, re.MULTILINE | re.DOTALL)
    snippets += re.findall(r"^.* call GetPhoneNumbers .*$", printed, re.MULTILINE)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for snippet in snippets:
        done = subprocess.run(
            ["bash", "-c", snippet],
            cwd=demo.home.parent,
            env={**os.environ, "PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{snippet}\n{done.stderr}"
        assert "error" not in done.stdout, f"{snippet}\n{done.stdout}"
        assert "result" in done.stdout, f"{snippet}\n{done.stdout}"


def test_a_second_start_is_quick_and_keeps_what_was_done(demo: ServerProcess):
    bought = call(demo.home, "AttachPhoneNumber", *ATTACH, "--phone-count", "2")
    numbers = {item["phone_number"] for item in bought["phone_numbers"]}
    key = demo.credentials.read_bytes()
    assert demo.stop() == 0
    assert not (demo.home / "running.json").exists()
    started_at = time.monotonic()
    demo.start()
    assert time.monotonic() - started_at < 10
    assert demo.credentials.read_bytes() == key
    assert numbers <= {item["phone_number"] for item in call(demo.home, "GetPhoneNumbers")["result"]}


def test_the_auditor_finds_nothing_while_the_server_runs(demo: ServerProcess):
    assert "Everything agrees" in succeed("doctor", "--home", demo.home, cwd=demo.home.parent)
    report = json.loads(succeed("doctor", "--json", "--home", demo.home, cwd=demo.home.parent))
    assert report["clean"] is True


def test_a_refused_call_ends_with_1_and_a_mistyped_one_with_2(demo: ServerProcess):
    here = demo.home.parent
    said = fail("call", "GetPhoneNumberRegions", *WRONG, "--home", demo.home, cwd=here, code=1)
    assert said.startswith("Error 239: ")
    raw = numberline("call", "GetPhoneNumbers", "--account", "77", "--json", "--home", demo.home, cwd=here)
    assert raw.returncode == 1
    assert json.loads(raw.stdout)["error"]["code"] == 100
    assert "--country-code" in fail("call", "AttachPhoneNumber", "--contry_code", "US", cwd=here, code=2)
    assert "GetPhoneNumbers" in fail("call", "GetPhonNumbers", cwd=here, code=2)
    assert "alone" in fail("call", "GetPhoneNumbers", "US", cwd=here, code=2)
    assert "needs a value" in fail("call", "GetPhoneNumbers", "--count", cwd=here, code=2)


def test_the_help_of_a_method_comes_from_its_declaration(tmp_path: Path):
    said = succeed("call", "AttachPhoneNumber", "--help", cwd=tmp_path)
    assert re.search(r"^--phone-region-id +integer +unless --phone-number", said, re.MULTILINE)
    assert "AttachPhoneNumber" in succeed("call", cwd=tmp_path)


def test_a_port_in_use_is_one_sentence(demo: ServerProcess):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        said = fail("up", "--home", demo.home, "--port", port, cwd=demo.home.parent, code=1)
    assert (
        said
        == f"Cannot listen on port {port}: another program already listens there. Choose another with --port."
    )


def test_a_first_start_that_was_cut_short_begins_anew(
    tmp_path: Path, start_server: Callable[..., ServerProcess]
):
    home = tmp_path / "home"
    home.mkdir()
    (home / "demo.started").touch()
    (home / "numberline.db").write_bytes(b"half a database")
    (home / "credentials.json").write_text("{")
    start_server(home)
    assert call(home, "GetAccountInfo")["result"]["account_name"] == "demo"


# --- What can be wrong -----------------------------------------------------------------------------------------------


def test_the_home_comes_from_the_environment_unless_told(tmp_path: Path):
    said = fail("token", cwd=tmp_path, code=1, NUMBERLINE_HOME=str(tmp_path / "other"))
    assert str(tmp_path / "other" / "credentials.json") in said
    assert ".numberline/credentials.json" in fail("token", cwd=tmp_path, code=1)


def test_wrong_settings_are_told_together_and_end_with_2(tmp_path: Path):
    said = fail("up", "--port", "0", cwd=tmp_path, code=2, NUMBERLINE_PROCESSES="many")
    assert said.splitlines() == ["--port must be 1 or more.", "NUMBERLINE_PROCESSES must be a whole number."]
    assert not (tmp_path / ".numberline").exists()


def test_a_home_that_cannot_be_one_is_told(tmp_path: Path):
    (tmp_path / "file").touch()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "numberline.db").write_bytes(b"no database at all, by any reading of it")
    assert len(fail("up", "--home", "file/home", cwd=tmp_path, code=2).splitlines()) == 1
    assert "not a database" in fail("up", "--home", "bad", cwd=tmp_path, code=1)
    assert "numberline init" in fail("serve", "--home", "new", cwd=tmp_path, code=1)
    assert not (tmp_path / "new").exists()


def test_a_database_that_does_not_answer_is_told_without_its_password(tmp_path: Path):
    said = fail("up", "--database", "postgresql://app:hunter2@127.0.0.1:1/numbers", cwd=tmp_path, code=1)
    assert "database" in said
    assert "hunter2" not in said


def test_a_store_of_a_newer_program_is_left_alone(tmp_path: Path):
    home = tmp_path / "home"
    home.mkdir()
    with sqlite3.connect(home / "numberline.db") as database:
        database.execute("CREATE TABLE alembic_version (version_num TEXT)")
        database.execute("INSERT INTO alembic_version VALUES ('9999')")
    database.close()
    for command in ("up", "init", "serve"):
        assert "newer Numberline" in fail(command, "--home", home, cwd=tmp_path, code=1)


def test_a_traceback_comes_only_when_asked_for(tmp_path: Path):
    done = numberline("--debug", "doctor", "--home", "nowhere", cwd=tmp_path)
    assert done.returncode == 1
    assert "Traceback" in done.stderr


def test_a_reader_that_leaves_is_no_error(tmp_path: Path):
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "numberline", "call"],
        cwd=tmp_path,
        stdout=writing,
        stderr=subprocess.PIPE,
        check=False,
    )
    os.close(writing)
    assert done.stderr == b""


# --- The operator's path ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_an_operator_sets_a_server_up_and_sells_a_number(tmp_path: Path):
    home = tmp_path / "operator"
    at_home = ("--home", home)
    succeed("init", *at_home, cwd=tmp_path)
    assert "# port = 8443" in (home / "numberline.toml").read_text()
    assert mode_of(home / "numberline.toml") == 0o600
    assert "no demo world" in fail("up", *at_home, cwd=tmp_path, code=1)

    diff = json.loads(succeed("catalog", "import", DEMO_DATA, "--dry-run", "--json", *at_home, cwd=tmp_path))
    assert diff["prices.csv"]["added"] > 0
    succeed("catalog", "import", DEMO_DATA, *at_home, cwd=tmp_path)
    assert "Dublin" in succeed("catalog", "show", "IE", *at_home, cwd=tmp_path)

    made = succeed(
        *("account", "create", "--name", "acme", "--email", "buyer@acme.example", "--currency", "USD"),
        *("--billing-country", "US", "--api-key", "--json", *at_home),
        cwd=tmp_path,
    )
    account = str(json.loads(made)["account_id"])
    assert "taken" in fail(
        *("account", "create", "--name", "acme", "--email", "other@acme.example", *at_home),
        cwd=tmp_path,
        code=1,
    ).replace("belongs to another", "taken")
    credit = ("account", "credit", account, "12.50", "--note", "first payment", "--json")
    assert json.loads(succeed(*credit, *at_home, cwd=tmp_path))["balance"] == "12.5"
    succeed(
        "key",
        "create",
        account,
        "--role",
        "owner",
        "--output",
        home / "credentials.json",
        *at_home,
        cwd=tmp_path,
    )
    assert mode_of(home / "credentials.json") == 0o600
    assert "Owner" in succeed("key", "list", account, *at_home, cwd=tmp_path)

    bad = tmp_path / "bad.csv"
    head = (DEMO_DATA / "stock.csv").read_text().splitlines()[0]
    bad.write_text(f"{head}\nUS,GEOGRAPHIC,101,,15552850000,15552850999\nUS,GEOGRAPHIC,101,,1.5E+10,\n")
    refused = numberline("stock", "import", bad, *at_home, cwd=tmp_path)
    assert refused.returncode == 1
    assert re.search(r"^ +3 .*lost digits", refused.stdout, re.MULTILINE)
    succeed("stock", "import", DEMO_DATA / "stock.csv", *at_home, cwd=tmp_path)
    succeed("stock", "add", "+1 555 777 0000", "15557770009", "--region", "101", *at_home, cwd=tmp_path)

    with ServerProcess(home, command="serve", options=("--processes", "2")) as server:
        bought = call(home, "AttachPhoneNumber", *ATTACH, "--phone-number", "+15557770003")
        assert bought["phone_numbers"][0]["phone_number"] == "15557770003"
        assert server.stop() == 0
    assert "Everything agrees" in succeed("doctor", *at_home, cwd=tmp_path)
    assert json.loads(succeed("account", "show", account, "--json", *at_home, cwd=tmp_path))["numbers"] == 1
