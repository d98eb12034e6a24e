"""Metrics with closed label sets, and logs that never print a secret or let a caller write a line."""

import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from numberline.doors.http import telemetry

JWT = "eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOjEsImlhdCI6MX0.c2lnbmF0dXJl_-"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAsecretsecret\n-----END RSA PRIVATE KEY-----"


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    telemetry.know_methods(())


# Metrics.


def page() -> str:
    return telemetry.render_metrics()[0].decode()


def value_of(line_start: str) -> float:
    return next(
        (float(line.rsplit(" ", 1)[1]) for line in page().splitlines() if line.startswith(line_start)), 0.0
    )


def test_requests_are_counted_by_method_and_outcome() -> None:
    telemetry.know_methods(["AttachPhoneNumber"])
    served = 'numberline_requests_total{method="AttachPhoneNumber",outcome="ok"}'
    refused = 'numberline_requests_total{method="AttachPhoneNumber",outcome="127"}'
    seconds = 'numberline_request_seconds_count{method="AttachPhoneNumber"}'
    before = value_of(served), value_of(refused), value_of(seconds)
    telemetry.count_request("AttachPhoneNumber", None, 0.002)
    telemetry.count_request("AttachPhoneNumber", None, 0.003)
    telemetry.count_request("AttachPhoneNumber", 127, 0.001)
    assert (value_of(served), value_of(refused), value_of(seconds)) == (
        before[0] + 2,
        before[1] + 1,
        before[2] + 3,
    )


def test_callers_cannot_make_labels() -> None:
    telemetry.know_methods(["GetRegions"])
    unknown = 'numberline_requests_total{method="unknown",outcome="103"}'
    before = value_of(unknown)
    for number in range(500):
        telemetry.count_request(f"Made{number}Up", 103, 0.001)
    assert value_of(unknown) == before + 500
    assert "Made" not in page()


def test_seconds_fall_into_the_buckets_of_the_library() -> None:
    telemetry.know_methods(["Timed"])
    alone = Histogram("alone", "As the library counts.", buckets=telemetry._SECONDS, registry=None)
    for seconds in (0.0, 0.0009, 0.001, 0.0010001, 0.07, 1, 10, 10.5, 1e9):
        telemetry.count_request("Timed", None, seconds)
        alone.observe(seconds)
        page()
    telemetry.know_methods(["Timed", "Other"])
    telemetry.count_request("Timed", 127, 0.003)
    alone.observe(0.003)
    for sample in next(iter(alone.collect())).samples:
        if sample.name.endswith("_created"):
            continue
        bucket = f'le="{sample.labels["le"]}",' if "le" in sample.labels else ""
        series = f'numberline_request_seconds{sample.name.removeprefix("alone")}{{{bucket}method="Timed"}}'
        assert value_of(series) == sample.value, series


def test_counts_reach_other_processes_without_being_asked(tmp_path: Path) -> None:
    count = (
        "import asyncio, os; from numberline.doors.http import telemetry as t; t.know_methods(['A'])\n"
        "async def work():\n"
        "    for _ in range(3): t.count_request('A', None, 0.1); t.count_request('B', 103, 0.1)\n"
        "    await asyncio.sleep(0.2)\n"
        "asyncio.run(work()); asyncio.run(work()); os._exit(0)"
    )
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    subprocess.run([sys.executable, "-c", count], env=environment, check=True)
    registry = CollectorRegistry()
    MultiProcessCollector(registry, str(tmp_path))  # type: ignore[no-untyped-call]
    shown = generate_latest(registry).decode()
    assert 'numberline_requests_total{method="A",outcome="ok"} 6.0' in shown
    assert 'numberline_requests_total{method="unknown",outcome="103"} 6.0' in shown
    assert 'numberline_request_seconds_count{method="A"} 6.0' in shown


def test_the_desk_and_the_guard_are_counted() -> None:
    starts = (
        "numberline_desk_batch_size_sum",
        "numberline_desk_wait_seconds_count",
        "numberline_attached_numbers_total",
        'numberline_refused_requests_total{status="431"}',
    )
    before = [value_of(start) for start in starts]
    telemetry.count_batch([0.001] * 16)
    telemetry.count_attached(20)
    telemetry.count_refusal(431)
    assert [value_of(start) - was for start, was in zip(starts, before, strict=True)] == [16, 16, 20, 1]
    assert telemetry.render_metrics()[1].startswith("text/plain")


def test_many_processes_are_summed(tmp_path: Path) -> None:
    count = (
        "from numberline.doors.http import telemetry as t; t.know_methods(['A']); t.count_request('A', None, 0.1);"
        "t.count_attached(3)"
    )
    environment = {
        **os.environ,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    for _ in range(2):
        subprocess.run([sys.executable, "-c", count], env=environment, check=True)
    show = count + "; print(t.render_metrics()[0].decode())"
    shown = subprocess.run(
        [sys.executable, "-c", show], env=environment, check=True, capture_output=True, text=True
    ).stdout
    assert 'numberline_requests_total{method="A",outcome="ok"} 3.0' in shown
    assert "numberline_attached_numbers_total 9.0" in shown
    assert 'numberline_request_seconds_count{method="A"} 3.0' in shown


# Logs.


def masked(**event: Any) -> dict[str, Any]:
    return dict(telemetry.mask_secrets(None, "info", event))


@pytest.mark.parametrize(
    "key",
    [
        "token",
        "access_token",
        "secret",
        "clientSecret",
        "api_key",
        "apikey",
        "password",
        "Authorization",
        "private_key",
    ],
)
def test_telling_keys_are_masked_at_any_depth(key: str) -> None:
    assert masked(**{key: "hush"}) == {key: "***"}
    assert masked(headers={key: "hush", "host": "a"}) == {"headers": {key: "***", "host": "a"}}
    assert masked(list=[{key: 5}]) == {"list": [{key: "***"}]}


@pytest.mark.parametrize(
    "text",
    [
        JWT,
        f"refused {JWT} of caller",
        f"Authorization: Bearer {JWT}",
        "Authorization: Bearer hush-hush",
        PEM,
        f"key is {PEM} indeed",
        PEM[:50],
        "/platform_api/GetRegions?account_id=1&api_key=hush&a=b",
        "session_id=1; token=hush",
        '{"api_key": "hush \\" hush", "a": 1}',
        "Settings(password='hush hush', port=1)",
        "private_key = hush",
        "authorization: Basic hush",
        "token='hush",
    ],
)
def test_secrets_inside_text_are_masked(text: str) -> None:
    for value in (text, text.encode(), [text], {"a": text}, ValueError(text)):
        shown = str(masked(event="e", value=value))
        assert "hush" not in shown
        assert "MIIE" not in shown
        assert JWT[10:30] not in shown
        assert "***" in shown


@pytest.mark.parametrize(
    "piece",
    [
        *("token", "token=", "token='", 'token="', "token\\", "token   ", "authorization: Basic ", "Bearer "),
        *("eyJ", "eyJ-", "eyJaaaa.", "-----BEGIN PRIVATE KEY-----", "-----BEGIN "),
        *("x", "-", " ", "\\", "'", "a-"),
    ],
)
def test_hostile_text_cannot_make_the_mask_slow(piece: str) -> None:
    began = time.perf_counter()
    for text in (piece * (100_000 // len(piece)), "token='" + piece * (100_000 // len(piece))):
        masked(event=text)
    assert time.perf_counter() - began < 1


def test_ordinary_text_stays_as_it_is() -> None:
    event = {
        "event": "attached 3 numbers for account 5",
        "path": "/platform_api/AttachPhoneNumber?country_code=US",
        "seconds": 0.25,
        "is_first": True,
        "nothing": None,
        "numbers": [15552850126],
        "name": "Müller – Söhne",
    }
    assert masked(**event) == event


def test_one_event_is_one_line() -> None:
    assert masked(event="a\nlevel=error b\r\x1b[31m\x9b")["event"] == "a\\nlevel=error b\\r\\x1b[31m\\x9b"
    assert masked(exception="Traceback\n  line")["exception"] == "Traceback\n  line"


def test_json_lines_of_ours_and_of_libraries(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("info", as_json=True)
    structlog.get_logger("numberline.x").info("served", api_key="hush", method="GetRegions")
    structlog.get_logger("numberline.x").debug("not shown")
    logging.getLogger("library").warning("got %s", JWT)
    try:
        raise ValueError(f"bad {JWT}")
    except ValueError:
        logging.getLogger("library").exception("failed")
    out, err = capsys.readouterr()
    assert out == ""
    ours, theirs, failed = [json.loads(line) for line in err.splitlines()]
    assert ours.pop("timestamp").endswith("Z")
    assert ours == {
        "event": "served",
        "api_key": "***",
        "method": "GetRegions",
        "level": "info",
        "logger": "numberline.x",
    }
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("got ***", "warning", "library")
    assert failed["exception"].startswith("Traceback")
    assert failed["exception"].endswith("ValueError: bad ***")


def test_lines_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    telemetry.configure_logging("INFO", as_json=False)
    telemetry.configure_logging("info", as_json=False)
    structlog.get_logger("numberline.x").warning("mind\nthis", token="hush")
    try:
        raise ValueError(f"bad {JWT}")
    except ValueError:
        structlog.get_logger("numberline.x").exception("failed")
    err = capsys.readouterr().err
    assert "mind\\nthis" in err
    assert err.count("mind") == 1
    assert "hush" not in err
    assert JWT not in err
    assert "Traceback" in err


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="no log level 'loud'"):
        telemetry.configure_logging("loud", as_json=True)
