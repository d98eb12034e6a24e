"""Thousands of calls made from our own declarations, good values and bad, against every method on both engines.

Values come from the town's vocabulary often enough that calls succeed and meet each other's effects; the counts are
printed, since a run in which nothing succeeds proves nothing. Every answer must fit the published schema without a
member that is not in it, every refusal must be declared, and the auditor has the last word.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from typing import Any, Final
from urllib.parse import urlencode

import jsonschema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from numberline.api.codec import RawRequest
from numberline.api.method import Effect, Kind, Method
from numberline.api.methods import REGISTRY
from numberline.api.openapi import build_openapi
from numberline.api.registry import Bound, bind, refusals_of
from numberline.store.opening import open_store
from tests.kit import world
from tests.kit.world import Town

CALLS: Final = 1_500  # on each engine
CALLERS: Final = (
    world.PARENT,
    world.CHILD,
    world.STRANGER,
    world.GERMAN,
    world.RUSSIAN,
    world.LIMITED,
    world.POOR,
)
FAILURES: Final = (1, 2, 4, 5)

_NUMBERS: Final = st.one_of(
    st.integers(15552850000, 15552850060),
    st.sampled_from([15592850001, 18005550100, 74990001000, 493023125001, 81300001001, 33199000001]),
    st.integers(1000, 10**15 - 1),
)
# What values the town knows, by parameter: without them nearly every call would stop at the first check.
VOCABULARY: Final[dict[str, st.SearchStrategy[Any]]] = {
    "country_code": st.sampled_from(["US", "US", "US", "us", "DE", "RU", "JP", "FR", "AQ"]),
    "phone_category_name": st.sampled_from(["GEOGRAPHIC", "GEOGRAPHIC", "local", "TOLLFREE", "MOBILE"]),
    "phone_region_id": st.sampled_from(
        [world.HOLLYWOOD] * 4
        + [
            world.SANDBOX,
            world.TWO_TIER,
            world.EMPTY,
            world.NEW_YORK,
            world.MOSCOW,
            world.BERLIN,
            world.TOKYO,
        ]
    ),
    "country_state": st.sampled_from(["CA", "CA", "NY", "TX", "ca"]),
    "phone_region_name": st.sampled_from(["Hollywood", "Берлин", "berlin", "Moscow"]),
    "phone_region_code": st.sampled_from(["555", "499", "30"]),
    "phone_count": st.integers(0, 4),
    "count": st.integers(1, 30),
    "offset": st.sampled_from([0, 0, 1, 5, 999, 3_000]),
    "child_account_id": st.sampled_from([world.CHILD, world.SIBLING, world.STRANGER]),
    "regulation_address_id": st.integers(0, 7),
    "phone_number_mask": st.sampled_from(["1555*26", "*", "*5*5*", "15552850???", "1", "49*"]),
    "phone_template": st.sampled_from(["1555", "7", "49302", "15552850001"]),
    "verification_name": st.sampled_from(["RU", "ru"]),
}
_OF_KIND: Final[dict[Kind, st.SearchStrategy[Any]]] = {
    Kind.TEXT: st.text(max_size=12),
    Kind.INTEGER: st.integers(0, 2**53 - 1),
    Kind.BOOLEAN: st.sampled_from(["true", "False", "1", "0", "TRUE"]),
    Kind.DATE: st.dates().map(str),
    Kind.TIMESTAMP: st.datetimes().map(lambda instant: instant.isoformat(" ", "seconds")[:19]),
    Kind.NUMBER: _NUMBERS.flatmap(
        lambda n: st.sampled_from([str(n), f"+{n}", f"+{str(n)[:1]} {str(n)[1:]}"])
    ),
}
_RUBBISH: Final = st.one_of(
    st.text(max_size=20),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(
        ["", " ", "0", "-1", "1e3", "NaN", "null", "all", "[]", '["1"]', "{}", ";", "a;b", "2026-02-30"]
    ),
    st.sampled_from(["9999-12-31", "0001-01-01", "١٢", "\0", "'--", "<b>", "true", "1" * 400]),
)


LOCATORS: Final = ("country_code", "phone_category_name", "phone_region_id")
# Positions of the catalogue that exist: locators drawn one by one seldom fit together.
PLACES: Final = st.sampled_from(
    [("US", "GEOGRAPHIC", world.HOLLYWOOD)] * 4
    + [
        ("US", "geographic", world.TWO_TIER),
        ("US", "local", world.SANDBOX),
        ("US", "TOLLFREE", world.TOLLFREE),
        ("RU", "GEOGRAPHIC", world.MOSCOW),
        ("DE", "GEOGRAPHIC", world.BERLIN),
        ("JP", "GEOGRAPHIC", world.TOKYO),
    ]
).map(lambda place: dict(zip(LOCATORS, map(str, place), strict=True)))


def values_of(bound: Bound) -> st.SearchStrategy[str]:
    """Values of a parameter: mostly ones it accepts, some that it must refuse."""
    param = bound.param
    if param.choices:
        good: st.SearchStrategy[Any] = st.sampled_from(param.choices)
    else:
        good = VOCABULARY.get(param.wire, _OF_KIND[bound.kind])
        if param.wire in VOCABULARY:
            good = st.one_of(good, good, good, _OF_KIND[bound.kind])
    good = good.map(str)
    if bound.many:
        good = st.one_of(
            good, st.lists(good, max_size=4).map(";".join), st.lists(good, max_size=3).map(json.dumps)
        )
    if param.accepts_all:
        good = st.one_of(good, st.just("all"))
    return st.one_of(*[good] * 12, _RUBBISH)


def queries_of(method: Method) -> st.SearchStrategy[dict[str, str]]:
    """Parameters of a request: those needed nearly always, of the others a few, never mind what excludes what."""
    bounds = bind(method)
    needed = {b.param.wire: values_of(b) for b in bounds if b.param.required or b.param.documented_required}
    free = {b.param.wire: values_of(b) for b in bounds if b.param.wire not in needed}
    names = st.lists(st.sampled_from(sorted(free)), max_size=3, unique=True) if free else st.just([])
    chosen = names.flatmap(lambda names: st.fixed_dictionaries({name: free[name] for name in names}))
    whole = st.fixed_dictionaries(needed)
    some = st.fixed_dictionaries({}, optional=needed)
    placed = st.builds(
        lambda given, place: given | {name: place[name] for name in LOCATORS if name in needed}, whole, PLACES
    )
    first = (
        st.one_of(placed, placed, placed, whole, some) if LOCATORS[0] in needed else st.one_of(whole, some)
    )
    return st.builds(lambda one, two: one | two, first, chosen)


def _closed(schema: Any) -> Any:
    """A schema whose objects admit no member that it does not name."""
    if isinstance(schema, dict):
        closed = {name: _closed(value) for name, value in schema.items()}
        return closed | {"additionalProperties": False} if "properties" in schema else closed
    return [_closed(each) for each in schema] if isinstance(schema, list) else schema


def validators() -> dict[str, Any]:
    """For each method the compiled schema of its answers."""
    document = _closed(build_openapi(REGISTRY))
    found = {}
    for method in REGISTRY:
        media = document["paths"][f"/{method.wire}"]["post"]["responses"]["200"]["content"][
            "application/json"
        ]
        schema = media["schema"] | {"components": document["components"]}
        jsonschema.Draft202012Validator.check_schema(schema)
        found[method.wire] = jsonschema.Draft202012Validator(schema)
    return found


VALIDATORS: Final = validators()
REQUESTS: Final = st.one_of(
    *(st.tuples(st.just(method), queries_of(method)) for method in REGISTRY),
    # The one that changes the store gets more than its share.
    *(
        st.tuples(st.just(m), queries_of(m))
        for m in REGISTRY
        for _ in range(4)
        if m.effect is not Effect.READS
    ),
)


class Run:
    """A town under fire, in a loop of its own, and what it answered."""

    def __init__(self, url: str) -> None:
        self.codes: Counter[tuple[str, int | None]] = Counter()
        self.loop = asyncio.Runner()
        self.town: Town = self.loop.run(self._open(url))
        self._bearers = {caller: self.town.bearer(caller) for caller in CALLERS}
        self._seen: set[tuple[str, bytes]] = set()

    @staticmethod
    async def _open(url: str) -> Town:
        return Town(open_store(url))

    def call(self, method: Method, params: dict[str, str], caller: int, key: str | None) -> None:
        """Make one call and judge its answer."""
        request = RawRequest(
            command=method.wire,
            query=urlencode(params, errors="surrogatepass").encode(),
            authorization=(self._bearers[caller],),
            idempotency_key=(key,) if key else (),
        )
        answer = self.loop.run(self.town.dispatcher.answer(request))
        self.codes[method.wire, answer.code] += 1
        assert answer.status == 200
        assert answer.code not in FAILURES, answer.body
        assert not self.town.dispatcher.undeclared
        if (method.wire, answer.body) in self._seen:
            return
        self._seen.add((method.wire, answer.body))
        decoded = json.loads(answer.body)
        VALIDATORS[method.wire].validate(decoded)
        assert ("error" in decoded) == (answer.code is not None)
        if answer.code is not None:
            names = {param.wire for param in method.params} | {None, "Idempotency-Key"}
            assert answer.code in {kind.code for kind in refusals_of(method)}
            assert decoded["error"].get("field_name") in names
        elif "total_count" in decoded:
            assert decoded["count"] == len(decoded["result"]) <= decoded["total_count"]

    def close(self) -> None:
        """Let go of the town."""
        self.loop.run(self.town.close())
        self.loop.close()

    def finish(self) -> None:
        """Audit what is left, and see that the run was worth it."""
        report = self.loop.run(self.town.audit())
        assert report.is_clean, report.findings
        succeeded = Counter({name: n for (name, code), n in self.codes.items() if code is None})
        print(
            f"declared strategies: {self.codes.total()} calls, {succeeded.total()} succeeded:"
            f" {dict(succeeded)}; {len({code for _, code in self.codes})} different codes"
        )
        assert self.codes.total() >= CALLS
        assert set(succeeded) == {method.wire for method in REGISTRY}, "a method never succeeded"
        assert succeeded.total() > CALLS / 5
        assert succeeded["AttachPhoneNumber"] > CALLS / 50
        assert len({code for _, code in self.codes}) > 15


def test_calls_made_from_the_declarations(town_url: str) -> None:
    run = Run(town_url)

    @settings(max_examples=CALLS, database=None, suppress_health_check=list(HealthCheck))
    @given(
        request=REQUESTS,
        caller=st.sampled_from(CALLERS),
        key=st.one_of(st.none(), st.none(), st.sampled_from(["a", "b", "é", "x" * 256])),
    )
    def fire(request: tuple[Method, dict[str, str]], caller: int, key: str | None) -> None:
        run.call(*request, caller, key)

    try:
        fire()
        run.finish()
    finally:
        run.close()


@pytest.mark.parametrize("nothing", ["", ";", " ; ;", "[]", '["", " "]', "0"])
async def test_a_list_that_holds_nothing_was_not_given(town: Town, nothing: str) -> None:
    """Found by the calls above: such a list once excused the locators and then failed the service."""
    answer = await town.call("AttachPhoneNumber", {"phone_number": nothing})
    assert (answer["error"]["code"], answer["error"]["field_name"]) == (134, "country_code")
    beside_a_count = {
        "country_code": "US",
        "phone_category_name": "local",
        "phone_region_id": world.HOLLYWOOD,
        "phone_count": 1,
        "phone_number": nothing,
    }
    assert (await town.call("AttachPhoneNumber", beside_a_count))["result"] == 1


def test_every_parameter_has_good_and_bad_values() -> None:
    for method in REGISTRY:
        for bound in bind(method):
            assert bound.param.choices or bound.kind in _OF_KIND, bound.param.wire
    declared = {param.wire for method in REGISTRY for param in method.params}
    assert VOCABULARY.keys() <= declared


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("IsAccountPhoneNumber", {"result": 1}),
        ("IsAccountPhoneNumber", {"result": True, "count": 1}),
        ("AttachPhoneNumber", {"result": 1}),
        ("AttachPhoneNumber", {"result": 1, "phone_numbers": [{"phone_id": 1}]}),
        ("AttachPhoneNumber", {"error": {"code": 100}}),
        ("AttachPhoneNumber", {"error": {"code": 100, "msg": "x", "trace": "y"}}),
        ("GetPhoneNumbers", {"result": [], "count": 0}),
    ],
)
def test_the_schemas_bite(method: str, answer: dict[str, Any]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        VALIDATORS[method].validate(answer)
