"""Parameter abuse: every parameter of every method with values and shapes that broke servers before.

Whatever comes in, the answer is a valid envelope: never a failure of the service, never a refusal that the method
does not declare, never the hostile text itself, and never late. And secrets stay out of answers and logs.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote_from_bytes

import jsonschema
import pytest

from numberline.api.codec import RawAnswer, RawRequest
from numberline.api.dispatch import Dispatcher
from numberline.api.method import Method
from numberline.api.methods import REGISTRY
from numberline.api.openapi import build_openapi
from numberline.domain import limits
from numberline.store.errors import StoreUnavailable
from numberline.store.opening import open_store
from tests.kit import world
from tests.kit.server import ServerProcess
from tests.kit.tokens import private_pem, token
from tests.kit.world import API_KEY, Town

# One answer may take this long on a busy machine; the longest honest one takes a few hundredths.
SECONDS_MAX: Final = 2.0
FORM: Final = "application/x-www-form-urlencoded"
FAILURES: Final = (1, 2, 4, 5)
CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\ud800-\udfff\ufeff]")

# --- Values ----------------------------------------------------------------------------------------------------------

VALUES: Final[dict[str, bytes]] = {
    "nul": b"\0",
    "nul within": b"U\0S",
    "crlf": b"US\r\nSet-Cookie: a=b",
    "newline and a log line": b"US\n2026-01-01 ERROR all money is gone",
    "escape sequence": b"\x1b[2J\x1b]0;owned\x07",
    "delete": b"\x7f",
    "C1 control": "\x85".encode(),
    "byte order mark": "\ufeffUS".encode(),
    "right to left": "\u202eSU".encode(),
    "zero width": "U\u200bS".encode(),
    "line separator": "\u2028".encode(),
    "non-character": "\uffff".encode(),
    "combining flood": ("a" + "\u0301" * 2_000).encode(),
    "emoji": "😀".encode(),
    "lone surrogate": b"\xed\xa0\x80",
    "reversed surrogates": b"\xed\xb0\x80\xed\xa0\x80",
    "overlong slash": b"\xc0\xaf",
    "overlong nul": b"\xe0\x80\x80",
    "overlong in four": b"\xf0\x80\x80\xaf",
    "no utf-8": b"\xff\xfe",
    "cut utf-8": b"\xe2\x82",
    "arabic digits": "١٠١".encode(),
    "fullwidth digits": "１０１".encode(),
    "superscript digit": "²".encode(),
    "dotless i": "ı".encode(),
    "underscored": b"1_000",
    "plus sign": b"+7",
    "negative": b"-1",
    "negative zero": b"-0",
    "leading zeros": b"0000000000000101",
    "exponent": b"1e3",
    "huge exponent": b"1e999999999",
    "fraction": b"1.0",
    "hexadecimal": b"0x65",
    "not a number": b"NaN",
    "infinite": b"-Infinity",
    "beyond 53 bits": b"9007199254740993",
    "largest of 53 bits": b"9007199254740991",
    "beyond 63 bits": b"9223372036854775808",
    "beyond 64 bits": b"18446744073709551616",
    "ten thousand digits": b"9" * 10_000,
    "as long as allowed": b"x" * limits.PARAMETER_BYTES,
    "one too long": b"x" * (limits.PARAMETER_BYTES + 1),
    "half a megabyte": b"1" * 500_000,
    "sql or": b"' OR 1=1--",
    "sql drop": b"1'; DROP TABLE account;--",
    "sql union": b"1 UNION SELECT public_key_pem FROM access_key",
    "sql sleep": b"1); SELECT pg_sleep(10);--",
    "sql like": b"%_%",
    "sql backslash": b"\\",
    "sql placeholder": b":account_id $1 ? %(x)s",
    "ldap": b"*)(uid=*))(|(uid=*",
    "template": b"{{7*7}}${7*7}<%= 7*7 %>",
    "format fields": b"{0.__class__.__mro__}{parameter}{number!r}",
    "format codes": b"%s%s%n%x",
    "jndi": b"${jndi:ldap://127.0.0.1/a}",
    "script": b"<script>alert(1)</script>",
    "image": b'"><img src=x onerror=alert(1)>',
    "entity": b"&lt;b&gt;&#60;",
    "path upwards": b"../../../../etc/passwd",
    "path to secrets": b"/proc/self/environ",
    "file address": b"file:///etc/passwd",
    "shell": b"$(id)`id`|id;id",
    "python": b"__import__('os').system('id')",
    "null word": b"null",
    "true word": b"true",
    "all": b"all",
    "all and more": b"all;1",
    "only separators": b";" * 5_000,
    "more items than allowed": b";".join(b"%d" % (15552850000 + i) for i in range(1_001)),
    "empty list": b"[]",
    "list of everything": b'["a", 1, true, 1.5]',
    "list in a list": b"[[1],[2]]",
    "list of nulls": b"[null, null]",
    "list of surrogates": b'["\\ud800", "\\udc00\\ud800"]',
    "open lists": b"[" * 60_000,
    "object": b'{"$ne": null}',
    "no such day": b"2026-02-30",
    "no such year": b"0000-01-01",
    "first day": b"0001-01-01",
    "last day": b"9999-12-31",
    "last instant": b"9999-12-31 23:59:59",
    "year 10000": b"10000-01-01",
    "with a zone": b"2026-01-31T12:00:00+14:00",
    "no such hour": b"2026-01-31 24:00:60",
    "stars": b"*" * 400,
    "stars and digits": b"*1" * 200,
}

Send = Callable[[str, bytes, Mapping[str, str]], dict[str, Any]]


def _urlencoded(params: Mapping[str, bytes]) -> bytes:
    return b"&".join(
        quote_from_bytes(name.encode()).encode() + b"=" + quote_from_bytes(value).encode()
        for name, value in params.items()
    )


def _texts(base: Mapping[str, str]) -> dict[str, bytes]:
    return {name: value.encode() for name, value in base.items()}


def _by_query(param: str, value: bytes, base: Mapping[str, str]) -> dict[str, Any]:
    return {"query": _urlencoded(_texts(base) | {param: value})}


def _by_form(param: str, value: bytes, base: Mapping[str, str]) -> dict[str, Any]:
    return {"body": _urlencoded(_texts(base) | {param: value}), "content_type": FORM}


def _by_multipart(param: str, value: bytes, base: Mapping[str, str]) -> dict[str, Any]:
    parts = [
        b'--xYz\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % (name.encode(), content)
        for name, content in (_texts(base) | {param: value}).items()
    ]
    return {"body": b"".join(parts) + b"--xYz--\r\n", "content_type": 'multipart/form-data; boundary="xYz"'}


def _by_json(param: str, value: bytes, base: Mapping[str, str]) -> dict[str, Any]:
    text = value.decode("utf-8", "surrogateescape")
    body = json.dumps(dict(base) | {param: text}).encode()
    return {"body": body, "content_type": "application/json"}


def _by_raw_json(param: str, value: bytes, base: Mapping[str, str]) -> dict[str, Any]:
    """The bytes themselves as a JSON text, escapes or not."""
    members = json.dumps(dict(base)).encode()[1:-1]
    body = b"{" + members + (b", " if members else b"") + json.dumps(param).encode() + b': "' + value + b'"}'
    return {"body": body, "content_type": "application/json"}


WAYS: Final[tuple[Send, ...]] = (_by_query, _by_form, _by_multipart, _by_json, _by_raw_json)

# --- Shapes ----------------------------------------------------------------------------------------------------------

Shape = Callable[[str, str, bytes], dict[str, Any]]


def _query(pattern: str) -> Shape:
    """A query, `%P` the parameter, `%V` an honest value of it, `%B` the rest of an honest request."""

    def build(param: str, value: str, base: bytes) -> dict[str, Any]:
        text = pattern.replace("%P", param).replace("%V", quote_from_bytes(value.encode()))
        return {"query": text.encode().replace(b"%B", base)}

    return build


def _body(pattern: bytes, content_type: str) -> Shape:
    def build(param: str, value: str, base: bytes) -> dict[str, Any]:
        body = pattern.replace(b"%P", param.encode()).replace(b"%V", value.encode())
        return {"query": base, "body": body, "content_type": content_type}

    return build


_JSON: Final = "application/json"
SHAPES: Final[dict[str, Shape]] = {
    "twice": _query("%B&%P=%V&%P=%V"),
    "twice, then nothing": _query("%B&%P=%V&%P="),
    "twice, then rubbish": _query("%B&%P=%V&%P=%%"),
    "a hundred times": _query("%B&" + "&".join(["%P=%V"] * 100)),
    "brackets": _query("%B&%P[]=%V"),
    "index": _query("%B&%P[0]=%V&%P[1]=%V"),
    "member": _query("%B&%P.x=%V&%P[x]=%V"),
    "upper case": _query("%B&" + "%P".upper() + "=%V"),
    "no value": _query("%B&%P"),
    "no name": _query("%B&=%V&=&==&&&"),
    "nul in the name": _query("%B&%P%00=%V"),
    "no utf-8 in the name": _query("%B&%FF%P=%V"),
    "percent at the end": _query("%B&%P=%V%"),
    "percent and no digits": _query("%B&%P=%zz%u0041"),
    "five thousand names": _query("%B&%P=%V&" + "&".join(f"x{i}=1" for i in range(5_000))),
    "two hundred names": _query("%B&%P=%V&" + "&".join(f"x{i}=1" for i in range(190))),
    "five thousand in a form": _body(b"&".join(b"x%d=1" % i for i in range(5_000)), FORM),
    "query and form": _body(b"%P=%V", FORM),
    "semicolons between": _body(b"%P=%V;%P=%V", FORM),
    "form said to be another charset": _body(b"%P=%V", f"{FORM}; charset=utf-7"),
    "json null": _body(b'{"%P": null}', _JSON),
    "json number": _body(b'{"%P": 101}', _JSON),
    "json float": _body(b'{"%P": 1e400}', _JSON),
    "json small float": _body(b'{"%P": 101.0}', _JSON),
    "json huge integer": _body(b'{"%P": ' + b"9" * 5_000 + b"}", _JSON),
    "json boolean": _body(b'{"%P": true}', _JSON),
    "json list": _body(b'{"%P": ["%V", "%V"]}', _JSON),
    "json empty list": _body(b'{"%P": []}', _JSON),
    "json list of kinds": _body(b'{"%P": [1, "%V", true, null, 1.5]}', _JSON),
    "json list of lists": _body(b'{"%P": [["%V"]]}', _JSON),
    "json object": _body(b'{"%P": {"$gt": ""}}', _JSON),
    "json surrogate": _body(b'{"%P": "\\ud800"}', _JSON),
    "json surrogate in a list": _body(b'{"%P": ["\\ud800", "\\udfff"]}', _JSON),
    "json surrogate as name": _body(b'{"\\ud800": 1, "%P": "%V"}', _JSON),
    "json nul": _body(b'{"%P": "\\u0000"}', _JSON),
    "json name twice": _body(b'{"%P": "%V", "%P": "x"}', _JSON),
    "json not a number": _body(b'{"%P": NaN}', _JSON),
    "json cut": _body(b'{"%P": "%V"', _JSON),
    "json deep": _body(b'{"%P": ' + b"[" * 200_000 + b"]" * 200_000 + b"}", _JSON),
    "json array": _body(b'["%P", "%V"]', _JSON),
    "json utf-16": _body('{"%P": "%V"}'.encode("utf-16"), _JSON),
    "json prototype": _body(b'{"__proto__": 1, "constructor": 2, "%P": "%V"}', _JSON),
    "multipart without a boundary": _body(b"--x\r\n\r\n--x--", "multipart/form-data"),
    "multipart cut": _body(
        b'--x\r\nContent-Disposition: form-data; name="%P"\r\n\r\n%V', "multipart/form-data; boundary=x"
    ),
    "multipart without a name": _body(
        b"--x\r\nContent-Disposition: form-data\r\n\r\n%V\r\n--x--", "multipart/form-data; boundary=x"
    ),
    "multipart file": _body(
        b'--x\r\nContent-Disposition: form-data; name="%P"; filename="../../x"\r\n\r\n%V\r\n--x--',
        "multipart/form-data; boundary=x",
    ),
    "multipart of a thousand": _body(
        b'--x\r\nContent-Disposition: form-data; name="%P"\r\n\r\n%V\r\n' * 1_000 + b"--x--",
        "multipart/form-data; boundary=x",
    ),
    "multipart bare newlines": _body(
        b'--x\nContent-Disposition: form-data; name="%P"\n\n%V\n--x--', "multipart/form-data; boundary=x"
    ),
    "unknown media type": _body(b"\x1f\x8b\x08%P=%V", "application/x-gzip"),
    "no media type": _body(b"\0\1\2%P", ""),
    "media type of rubbish": _body(b"%P=%V", "\x01;;=,multipart/form-data; boundary="),
}

# --- Honest requests to put them into --------------------------------------------------------------------------------

BASES: Final[dict[str, dict[str, str]]] = {
    method.wire: dict(method.example.request) for method in REGISTRY
} | {
    "AttachPhoneNumber": {
        "country_code": "US",
        "phone_category_name": "local",
        "phone_region_id": str(world.HOLLYWOOD),
    },
    "GetPhoneNumberCountryStates": {"country_code": "US", "phone_category_name": "GEOGRAPHIC"},
}
HONEST: Final = {"phone_number": "15552850126", "child_account_id": str(world.CHILD)}


def honest_value(param: str, base: Mapping[str, str]) -> str:
    """A value that the parameter might well have."""
    return base.get(param) or HONEST.get(param, "1")


class Judge:
    """Looks at answers; `worst` is the slowest one."""

    def __init__(self, town: Town, method: Method) -> None:
        self.codes: Counter[int | None] = Counter()
        self.worst = (0.0, "")
        self._town = town
        self._method = method
        self._names = {None, "Idempotency-Key", *(param.wire for param in method.params)}
        self._validator = _validator(method)
        self._seen: set[bytes] = set()

    async def ask(self, what: str, **request: Any) -> RawAnswer:
        """Send a request to the method and judge its answer."""
        request.setdefault("authorization", (self._town.bearer(world.PARENT),))
        raw = RawRequest(command=self._method.wire, **request)
        started = time.perf_counter()
        answer = await self._town.dispatcher.answer(raw)
        self.worst = max(self.worst, (time.perf_counter() - started, what))
        self._look_at(answer, what)
        self.codes[answer.code] += 1
        return answer

    def _look_at(self, answer: RawAnswer, what: str) -> None:
        assert answer.status == 200, what
        assert answer.code not in FAILURES, (what, answer.body)
        assert not self._town.dispatcher.undeclared, (what, answer.body)
        if answer.body in self._seen:
            return
        self._seen.add(answer.body)
        decoded = json.loads(answer.body.decode("utf-8"))
        self._validator.validate(decoded)
        assert set(decoded) == {"error"} if answer.code else "error" not in decoded, what
        if answer.code:
            error = decoded["error"]
            assert error["code"] == answer.code
            assert error.get("field_name") in self._names, what
            assert not CONTROL.search(error["msg"]), (what, error)
            assert not {"<", ">", "`", "{", "$", "\\"} & set(error["msg"]), (what, error)
            assert len(error["msg"]) < 300, what

    def finish(self) -> None:
        """Judge the lot."""
        assert self.worst[0] < SECONDS_MAX, self.worst


def _validator(method: Method) -> Any:
    document = build_openapi(REGISTRY)
    media = document["paths"][f"/{method.wire}"]["post"]["responses"]["200"]["content"]["application/json"]
    return jsonschema.Draft202012Validator(media["schema"] | {"components": document["components"]})


@pytest.mark.parametrize("method", REGISTRY.methods, ids=lambda method: method.wire)
async def test_hostile_parameters_are_answered_calmly(
    town: Town, method: Method, caplog: pytest.LogCaptureFixture
) -> None:
    judge, base = Judge(town, method), BASES[method.wire]
    with caplog.at_level(logging.INFO):
        assert (await judge.ask("honest", query=_urlencoded(_texts(base)))).code is None, judge.codes
        for place, param in enumerate(param.wire for param in method.params):
            rest = {name: value for name, value in base.items() if name != param}
            rest_query = _urlencoded(_texts(rest))
            for turn, (name, value) in enumerate(VALUES.items(), place):
                send = WAYS[turn % len(WAYS)]
                await judge.ask(f"{param}: {name}, {send.__name__}", **send(param, value, rest))
            # How a body is read depends little on the parameter: a method with many takes the shapes in turns.
            for name, shape in list(SHAPES.items())[place % 3 :: 3 if len(method.params) > 3 else 1]:
                built = shape(param, honest_value(param, base), rest_query)
                await judge.ask(f"{param}: {name}", **built)
    judge.finish()
    assert caplog.records == []
    report = await town.audit()
    assert report.is_clean, report.findings
    print(f"abuse: {method.wire}: {judge.codes.total()} calls, slowest {judge.worst}, {dict(judge.codes)}")


async def test_every_value_every_way_at_the_purchase(town: Town, caplog: pytest.LogCaptureFixture) -> None:
    """The one method that spends gets every value in every spelling of a request."""
    method = next(method for method in REGISTRY if method.wire == "AttachPhoneNumber")
    judge, base = Judge(town, method), BASES[method.wire]
    for param in ("phone_number", "phone_count", "country_code", "phone_region_id"):
        rest = {name: value for name, value in base.items() if name != param}
        for name, value in VALUES.items():
            codes = {
                send.__name__: (await judge.ask(f"{param}: {name}", **send(param, value, rest))).code
                for send in WAYS[:3]
            }
            assert len(set(codes.values())) == 1, (
                f"{param}: {name} means one thing by query and another by form"
            )
    judge.finish()
    assert caplog.records == []


async def test_hostile_idempotency_keys(town: Town) -> None:
    method = next(method for method in REGISTRY if method.wire == "AttachPhoneNumber")
    judge = Judge(town, method)
    before = await town.wallet()
    query = _urlencoded(_texts(BASES[method.wire]))
    unfit = [
        value.decode("latin-1")
        for value in VALUES.values()
        if len(value) > limits.IDEMPOTENCY_KEY_CHARACTERS or re.search(rb"[^ -~]", value)
    ]
    for key in ("", "x" * 256, "é", "\u2028", *unfit):
        assert (await judge.ask("key", query=query, idempotency_key=(key,))).code == 496
    assert (await judge.ask("two keys", query=query, idempotency_key=("a", "b"))).code == 496
    assert await town.wallet() == before
    fit = [value.decode() for value in VALUES.values() if re.fullmatch(rb"[ -~]{1,255}", value)]
    assert len(fit) > 20
    answers = {(await judge.ask("key", query=query, idempotency_key=(key,))).body for key in fit}
    assert len(answers) == len(fit)
    again = {(await judge.ask("key", query=query, idempotency_key=(key,))).body for key in fit}
    assert again == answers


def _hostile_credentials() -> Iterator[dict[str, bytes]]:
    for value in VALUES.values():
        yield {"account_id": str(world.PARENT).encode(), "api_key": value}
        for name in ("account_id", "account_name", "account_email"):
            yield {name: value, "api_key": API_KEY.encode()}
        yield {"account_id": value, "account_password": value, "session_id": value}


async def test_hostile_credentials_fail_authorization(town: Town) -> None:
    judge = Judge(town, next(method for method in REGISTRY if method.wire == "GetAccountInfo"))
    bodies = set()
    for credentials in _hostile_credentials():
        answer = await judge.ask(str(credentials)[:80], query=_urlencoded(credentials), authorization=())
        assert answer.code == 100, credentials
        bodies.add(answer.body)
    assert len(bodies) == 1


async def test_hostile_commands_are_unknown(town: Town) -> None:
    for value in VALUES.values():
        name = value.decode("utf-8", "surrogateescape")
        answer = await town.dispatcher.answer(RawRequest(command=name))
        assert (answer.status, answer.code) == (200, 103)
        assert len(answer.body) < 200
        answer = await town.dispatcher.answer(RawRequest(command=None, query=_urlencoded({"cmd": value})))
        assert answer.code in (102, 103)


# --- Secrets ---------------------------------------------------------------------------------------------------------


async def test_secrets_are_in_no_answer_and_no_log(
    town: Town, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    secrets = [API_KEY, hashlib.sha256(API_KEY.encode()).hexdigest(), "planted-secret", "PRIVATE KEY"]
    answers = []

    async def ask(method: str, params: Mapping[str, str], *headers: str) -> None:
        secrets.extend(part for header in headers for part in header.split(".")[2:])
        query = _urlencoded(_texts(params))
        request = RawRequest(
            command=method, query=query, authorization=headers, idempotency_key=("planted-secret",)
        )
        answers.append((await town.dispatcher.answer(request)).body.decode())

    async def ask_everything() -> None:
        good = town.bearer(world.PARENT)
        for method in REGISTRY:
            for params in ({}, BASES[method.wire]):
                await ask(method.wire, params, good)
                await ask(method.wire, params, good[:-8] + "AAAAAAAA")
                await ask(method.wire, params | {"account_id": "1000", "api_key": "planted-secret"})
                if method.wire != "GetAccountInfo":
                    await ask(method.wire, params | {"account_id": "1000", "api_key": API_KEY})
        await ask("GetAccountInfo", {"account_id": "1000", "api_key": API_KEY}, good)

    def fail(trouble: type[Exception]) -> Callable[..., Any]:
        async def failing(*_: Any, **__: Any) -> Any:
            raise trouble("no such luck")

        return failing

    with caplog.at_level(logging.DEBUG):
        await ask_everything()
        for trouble in (StoreUnavailable, RuntimeError):
            with monkeypatch.context() as patch:
                patch.setattr(town.store, "read", fail(trouble))
                await ask_everything()
    assert "no such luck" in caplog.text
    assert not any("no such luck" in answer for answer in answers)
    logged, answered = caplog.text, "\n".join(answers)
    for secret in set(secrets):
        assert secret not in logged, secret
        assert secret not in answered, secret
    assert len(answers) > 100


async def test_the_stores_password_is_in_no_answer_and_no_log(caplog: pytest.LogCaptureFixture) -> None:
    store = open_store("postgresql://numberline:planted-secret@127.0.0.1:1/numberline")
    nowhere = Town(store)
    with caplog.at_level(logging.DEBUG):
        request = RawRequest(command="GetAccountInfo", authorization=(nowhere.bearer(world.PARENT),))
        answer = await Dispatcher(nowhere.services, REGISTRY).answer(request)
    await nowhere.close()
    assert answer.code == 4
    assert "planted-secret" not in caplog.text + answer.body.decode()
    assert "planted-secret" not in repr(store)


def test_a_servers_log_and_metrics_hold_no_secret(start_server: Callable[..., ServerProcess]) -> None:
    import http.client

    server = start_server()
    tokens = [token(1, key, life=60) for key in ("nobody", "' OR 1=1--\r\nplanted")]
    connection = http.client.HTTPSConnection("localhost", server.port, timeout=10, context=server.trust())
    pages = []
    for path in (
        "/platform_api/GetAccountInfo",
        "/platform_api/GetAccountInfo?account_id=1&api_key=planted-secret",
        "/platform_api/GetAccountInfo%0d%0aplanted-line",
        "/planted-path?api_key=planted-secret",
        "/metrics",
    ):
        for text in tokens:
            connection.request("GET", path, headers={"Authorization": f"Bearer {text}"})
            pages.append(connection.getresponse().read().decode())
    connection.close()
    log = server.log()
    kept = [each.read_text(errors="replace") for each in server.home.glob("*.json")]
    private = [json.loads(text)["private_key"] for text in kept if "private_key" in text]
    for secret in ("planted", *(text.split(".")[2] for text in tokens), private_pem().decode()[60:120]):
        assert secret not in log
        assert not any(secret in page for page in pages)
    assert all(key[60:120] not in log for key in private)
