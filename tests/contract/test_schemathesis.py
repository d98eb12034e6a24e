"""A second opinion on the wire: Schemathesis reads /openapi.json from a running server and tries what it says.

Its stock checks for accepted and refused requests do not fit an API that answers HTTP 200 to everything, so the
judgement is ours: exactly one of answer and error, the documented schema, and an error with code and sentence for
every request that the document forbids. Parameters that nobody declared are not forbidden, they are ignored.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
import schemathesis
import uvicorn
from schemathesis.checks import CHECKS
from schemathesis.engine import events, from_schema

from numberline.api.methods import REGISTRY
from numberline.api.openapi import build_openapi
from numberline.doors.http.app import create_app
from numberline.store.opening import open_store
from tests.kit import world
from tests.kit.leash import free_port
from tests.kit.tokens import token
from tests.kit.world import Town

SECONDS: Final = 10.0
DOCUMENT: Final = build_openapi(REGISTRY)
_SEPARATORS: Final = re.compile(r"[ ()\-.]")
_TEXTS_OF: Final = {
    "integer": re.compile(r"[0-9]{1,16}", re.ASCII),
    "boolean": re.compile(r"true|false|0|1", re.IGNORECASE),
    "date": re.compile(r"\d{4}-\d{2}-\d{2}( \d{2}:\d{2}:\d{2})?", re.ASCII),
}


# --- The check -------------------------------------------------------------------------------------------------------


def forbidden(path: str, query: str) -> list[str]:
    """The parameters of a query whose values the document forbids, by the schemas it gives.

    What the document calls lenient spellings (blanks around a value, separators in a number, `0` for "not given",
    any case of a word) is given the benefit of the doubt; this judge must never cry wolf.
    """
    given = parse_qs(query, keep_blank_values=False, errors="surrogateescape")
    parameters = DOCUMENT["paths"][path]["post"]["parameters"]
    return [
        each["name"]
        for each in parameters
        if each["in"] == "query" and not _all_fit(each["schema"], given.get(each["name"], []))
    ]


def _all_fit(schema: dict[str, Any], values: list[str]) -> bool:
    schema = schema.get("anyOf", [schema])[0]
    if schema["type"] == "array":
        if any(value.strip().startswith("[") or value.strip().lower() == "all" for value in values):
            return True
        items = [item.strip() for value in values for item in value.split(";")]
        return all(_fits(schema["items"], item) for item in items if item)
    # Of a repeated scalar the last one counts.
    last = [value.strip() for value in values if value.strip()][-1:]
    return all(_fits(schema, value) for value in last)


def _fits(schema: dict[str, Any], text: str) -> bool:
    if "enum" in schema:
        return text.lower() in {str(choice).lower() for choice in schema["enum"]}
    if pattern := schema.get("pattern"):
        return bool(re.fullmatch(pattern, _SEPARATORS.sub("", text), re.ASCII)) or text == "0" or " " in text
    kind = schema.get("format", schema["type"])
    if kind in _TEXTS_OF and not _TEXTS_OF[kind].fullmatch(text):
        return False
    return kind != "integer" or int(text) == 0 or schema["minimum"] <= int(text) or "maximum" not in schema


class Tally:
    """What was answered, by method and code; None stands for success."""

    def __init__(self) -> None:
        self.codes: Counter[tuple[str, int | None]] = Counter()
        self.forbidden = 0

    def of(self, method: str | None = None) -> tuple[int, int]:
        """How many calls succeeded and how many were refused."""
        chosen = {key: count for key, count in self.codes.items() if method in (None, key[0])}
        succeeded = sum(count for (_, code), count in chosen.items() if code is None)
        return succeeded, sum(chosen.values()) - succeeded


_tally = Tally()


def answers_in_its_envelope(_context: Any, response: Any, case: Any) -> None:
    """Our check: see the module's docstring."""
    sent = urlsplit(response.request.url)
    method = response.request.method
    if method not in ("GET", "POST"):
        assert response.status_code == 405, f"HTTP {response.status_code} for {method}"
    elif response.status_code in (400, 413, 414, 431):
        return  # a request that HTTP itself does not allow never reaches the API
    else:
        assert response.status_code == 200, f"HTTP {response.status_code}"
    assert response.headers["content-type"][0].startswith("application/json")
    body = json.loads(response.content)
    assert ("error" in body) != ("result" in body), "an answer has a result or an error, never both"
    error = body.get("error")
    assert error is None or (error["code"] > 0 and error["msg"]), "an error has a code and a sentence"
    assert error is None or error["code"] not in (1, 2, 4, 5), f"the service failed: {error}"
    name = case.operation.path.removeprefix("/")
    _tally.codes[name, error and error["code"]] += 1
    if method in ("GET", "POST") and (wrong := forbidden(case.operation.path, sent.query)):
        _tally.forbidden += 1
        assert error is not None, f"the document forbids these values of {wrong}, the server took them"


# --- The server ------------------------------------------------------------------------------------------------------


class _Server(uvicorn.Server):
    """A server in a thread, which has no signals to handle."""

    def install_signal_handlers(self) -> None:
        """Leave the signals to the test run."""


class Serving:
    """A town that is served by a thread of this process; `finding` holds what its audit said at the end."""

    def __init__(self, url: str) -> None:
        self.port = free_port()
        self.findings: list[Any] | None = None
        self.undeclared: list[Any] = []
        self._url = url
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    @property
    def base_url(self) -> str:
        """Where the API is."""
        return f"http://127.0.0.1:{self.port}/platform_api"

    async def _serve(self) -> None:
        town = Town(open_store(self._url))
        app = create_app(town.services, town.dispatcher, REGISTRY)
        config = uvicorn.Config(app, port=self.port, log_level="critical", ws="none", lifespan="off")
        self._server = _Server(config)
        self._ready.set()
        await self._server.serve()
        report = await town.audit()
        self.findings = list(report.findings)
        self.undeclared = list(town.dispatcher.undeclared)
        await town.close()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Serve for the length of a block."""
        self._thread.start()
        self._ready.wait(10)
        try:
            yield
        finally:
            self._server.should_exit = True
            self._thread.join(30)


def _settings(serving: Serving, seed: int) -> schemathesis.Config:
    bearer = "Bearer " + token(world.PARENT, f"owner-{world.PARENT}", now=world.START.timestamp(), life=3_600)
    return schemathesis.Config.from_dict(
        {
            "seed": seed,
            "max-time": SECONDS,
            "base-url": serving.base_url,
            "headers": {"Authorization": bearer},
            "workers": 1,
            "generation": {"max-examples": 60, "with-security-parameters": False, "no-shrink": True},
            "checks": {
                "enabled": False,
                "not_a_server_error": {"enabled": True},
                "content_type_conformance": {"enabled": True},
                "response_schema_conformance": {"enabled": True},
                "answers_in_its_envelope": {"enabled": True},
            },
            "phases": {"stateful": {"enabled": False}, "examples": {"fill-missing": True}},
        }
    )


@pytest.fixture
def own_check() -> Iterator[None]:
    """Our check, known to Schemathesis for the length of a test."""
    schemathesis.check(answers_in_its_envelope)
    yield
    CHECKS.unregister(answers_in_its_envelope.__name__)


def test_what_schemathesis_makes_of_our_document(town_url: str, seed: int, own_check: None) -> None:
    global _tally
    _tally = Tally()
    serving, failures = Serving(town_url), []
    bought_in_examples = 0
    with serving.running():
        schema = schemathesis.openapi.from_url(
            f"http://127.0.0.1:{serving.port}/openapi.json",
            config=_settings(serving, seed),
            wait_for_schema=10,
        )
        for event in from_schema(schema).execute():
            if isinstance(event, events.ScenarioFinished):
                failures += [
                    f"{event.phase.value}: {event.label}: {node.name}: {node.failure_info.failure}"
                    for nodes in event.recorder.checks.values()
                    for node in nodes
                    if node.failure_info is not None
                ]
            elif isinstance(event, events.NonFatalError | events.FatalError):
                failures.append(f"{event}: {getattr(event, 'info', '')}")
            elif isinstance(event, events.PhaseFinished) and event.phase.name.value == "examples":
                bought_in_examples = _tally.of("AttachPhoneNumber")[0]
    succeeded, refused = _tally.of()
    print(
        f"schemathesis: seed {seed}, {succeeded} calls succeeded, {refused} refused, {_tally.forbidden} forbidden,"
        f" {_tally.of('AttachPhoneNumber')[0]} purchases"
    )
    assert failures == []
    assert serving.undeclared == []
    assert serving.findings == []
    assert bought_in_examples > 0
    assert {name for name, _ in _tally.codes} == {method.wire for method in REGISTRY}
    assert succeeded > 10
    assert _tally.forbidden > 20


@pytest.mark.parametrize(
    ("query", "wrong"),
    [
        ("", []),
        ("phone_count=x", ["phone_count"]),
        ("phone_count=-1&country_code=US", ["phone_count"]),
        ("phone_count=0", []),
        ("phone_number=%2B15552850126;+1-555-285-0127", []),
        ("phone_number=15552850126&phone_number=abc", ["phone_number"]),
        ("force_verification=TRUE", []),
        ("force_verification=2", ["force_verification"]),
        ("unknown=%00", []),
    ],
)
def test_the_judge_of_forbidden_values(query: str, wrong: list[str]) -> None:
    assert forbidden("/AttachPhoneNumber", query) == wrong


class _Answer:
    """A response as the check sees it."""

    def __init__(self, body: object, query: str = "", status: int = 200) -> None:
        self.status_code = status
        self.headers = {"content-type": ["application/json"]}
        self.content = json.dumps(body).encode()
        self.request = type("Request", (), {"url": f"http://x/y?{query}", "method": "POST"})


@pytest.mark.parametrize(
    "answer",
    [
        _Answer({"result": 1}, "phone_count=x"),
        _Answer({"result": 1, "error": {"code": 100, "msg": "x"}}),
        _Answer({}),
        _Answer({"error": {"code": 2, "msg": "x"}}),
        _Answer({"error": {"code": 100, "msg": ""}}),
        _Answer({"result": 1}, status=500),
    ],
)
def test_the_check_bites(answer: _Answer) -> None:
    case = type("Case", (), {"operation": type("Operation", (), {"path": "/AttachPhoneNumber"})})
    with pytest.raises((AssertionError, KeyError)):
        answers_in_its_envelope(None, answer, case)
