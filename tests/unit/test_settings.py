"""The settings: where they come from, what is refused, and what is never shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from numberline.settings import BadSettings, Settings, load_settings, mask_url

SECRET = "hunter2-hunter2"


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("NUMBERLINE_"):
            monkeypatch.delenv(name)


def write(home: Path, text: str) -> None:
    (home / "numberline.toml").write_text(text)


def problems_of(home: Path, **options: object) -> list[str]:
    with pytest.raises(BadSettings) as caught:
        load_settings(home, **options)
    return caught.value.problems


def test_an_empty_home_has_a_database_of_its_own_and_listens_on_localhost_alone(tmp_path: Path):
    found = load_settings(tmp_path)
    assert found.database == f"sqlite:///{tmp_path / 'numberline.db'}"
    assert found.base_url == "https://localhost:8443"
    assert found.api_address == "localhost:8443"
    assert (found.unverified_hold_days, found.attach_count_max, found.processes) == (14, 100, 1)


def test_the_command_line_wins_over_the_environment_and_the_environment_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    write(
        tmp_path, 'port = 1001\nprocesses = 2\nhost_names = ["a.example", "b.example"]\nlog_level = "debug"'
    )
    monkeypatch.setenv("NUMBERLINE_PORT", "1002")
    monkeypatch.setenv("NUMBERLINE_PROCESSES", "3")
    monkeypatch.setenv("NUMBERLINE_LOG_LEVEL", "")
    found = load_settings(tmp_path, port=1003, host=None)
    assert (found.port, found.processes, found.log_level) == (1003, 3, "debug")
    assert found.host_names == ("a.example", "b.example")


def test_every_problem_is_told_at_once_with_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, 'attach_count_max = 101\nplian_http = true\nhost_names = 7\nlog_format = "xml"')
    monkeypatch.setenv("NUMBERLINE_UNVERIFIED_HOLD_DAYS", "soon")
    monkeypatch.setenv("NUMBERLINE_DATABASE", f"mysql://app:{SECRET}@db/numbers")
    monkeypatch.setenv("NUMBERLINE_PRIVATE_KEY", "/nowhere/key.pem")
    file = tmp_path / "numberline.toml"
    told = problems_of(tmp_path, processes=0)
    assert told == [
        f"`plian_http` in {file} is no setting; perhaps `plain_http` is meant.",
        "NUMBERLINE_DATABASE must be sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME.",
        "NUMBERLINE_PRIVATE_KEY names a file that cannot be read.",
        f"`host_names` in {file} must be a list of texts.",
        "--processes must be 1 or more.",
        f"`log_format` in {file} must be one of 'text' or 'json'.",
        "NUMBERLINE_UNVERIFIED_HOLD_DAYS must be a whole number.",
        f"`attach_count_max` in {file} must be 100 or less.",
    ]
    assert SECRET not in str(told)


def test_a_certificate_comes_with_its_key_and_not_with_plain_http(tmp_path: Path):
    pem = tmp_path / "some.pem"
    pem.touch()
    assert problems_of(tmp_path, certificate=pem) != []
    assert problems_of(tmp_path, private_key=pem) != []
    assert problems_of(tmp_path, certificate=pem, private_key=pem, plain_http=True) != []
    assert load_settings(tmp_path, certificate=pem, private_key=pem).certificate == pem


def test_what_kubernetes_sets_for_a_service_of_our_name_is_explained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("NUMBERLINE_PORT", "tcp://10.0.0.1:8443")
    assert "enableServiceLinks" in problems_of(tmp_path)[0]


@pytest.mark.parametrize("content", [b"port = ", b"[[", b"\xff\xfe", b"port = 1\nport = 2"])
def test_a_file_that_is_not_toml_is_one_sentence(tmp_path: Path, content: bytes):
    (tmp_path / "numberline.toml").write_bytes(content)
    assert len(problems_of(tmp_path)) == 1


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    port=st.integers(1, 65_535),
    processes=st.integers(1, 256),
    plain_http=st.booleans(),
    host_names=st.lists(st.from_regex(r"[a-z0-9.*-]{1,20}", fullmatch=True)),
    host=st.sampled_from(["localhost", "*", "::1", "numbers.example.com"]),
    password=st.from_regex(r"[!-~]{1,20}", fullmatch=True),
)
def test_another_process_reads_the_same_settings_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, password: str, **chosen: object
):
    first = load_settings(tmp_path, database=f"postgresql://app:{password}@db:5432/numbers", **chosen)
    with monkeypatch.context() as patch:
        for name, value in first.to_environment().items():
            patch.setenv(name, value)
        assert load_settings(Path(os.environ["NUMBERLINE_HOME"])) == first


@given(password=st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8))
def test_a_password_is_never_shown(password: str):
    url = f"postgresql://app:{password}@db.example:5432/numbers"
    shown = mask_url(url)
    assert shown == "postgresql://app:***@db.example:5432/numbers"
    found = Settings(home=Path("/nowhere"), database=url)
    assert found.masked()["database"] == shown
    assert "database" not in repr(found)


def test_a_password_among_the_parameters_is_masked_too():
    masked = mask_url(
        f"postgresql://db/numbers?user=app&password={SECRET}&sslpassword={SECRET}&sslmode=require"
    )
    assert masked == "postgresql://db/numbers?user=app&password=***&sslpassword=***&sslmode=require"
    assert mask_url("postgresql://app@db:5432/numbers") == "postgresql://app@db:5432/numbers"
    assert mask_url("sqlite:////srv/numberline.db") == "sqlite:////srv/numberline.db"
