"""Reading parameters: strict scalars, every spelling of a list, and the order of the checks."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Literal

import msgspec
import pytest

from numberline.api.method import Answer, Effect, Example, Form, Kind, Method, Param, Range
from numberline.api.params import (
    OrderParser,
    read_boolean,
    read_date,
    read_integer,
    read_timestamp,
    split_list,
)
from numberline.domain import errors, limits
from numberline.domain.access import ANYONE
from numberline.domain.errors import Refusal


class Order(msgspec.Struct, frozen=True, kw_only=True):
    place: str
    region_id: int | None = None
    count: int = 20
    numbers: list[int] | None = None
    ids: list[int] | Literal["all"] | None = None
    names: list[str] | None = None
    status: str | None = None
    is_bound: bool | None = None
    since: date | None = None
    until: date | None = None
    at: datetime | None = None


async def _run(_call: object, _order: Order) -> bool:
    return True


METHOD = Method(
    wire="Try",
    summary="Try.",
    group="Tests",
    roles=ANYONE,
    effect=Effect.READS,
    order=Order,
    run=_run,
    params=(
        Param(wire="place", into="place", doc="", required=True),
        Param(wire="region", into="region_id", doc="", refused_as=errors.INVALID_REGION),
        Param(wire="count", into="count", doc="", zero_is_absent=True, at_least=1, capped_at=1_000),
        Param(wire="number", into="numbers", doc="", kind=Kind.NUMBER, zero_is_absent=True),
        Param(wire="id", into="ids", doc="", accepts_all=True),
        Param(wire="name", into="names", doc="", items_max=3),
        Param(wire="status", into="status", doc="", choices=("REQUIRED", "true")),
        Param(wire="is_bound", into="is_bound", doc=""),
        Param(wire="since", into="since", doc=""),
        Param(wire="until", into="until", doc=""),
        Param(wire="at", into="at", doc=""),
    ),
    exclusive=(("count", "number"),),
    together=(("since", "at"),),
    ranges=(Range("since", "until", errors.INVALID_RENEWAL_RANGE),),
    answer=Answer(form=Form.FLAG),
    example=Example({}, {"result": True}),
)
PARSER = OrderParser(METHOD)


def parse(**values: str | list[str]) -> Order:
    raw = {
        name: value if isinstance(value, list) else [value]
        for name, value in {"place": "x", **values}.items()
    }
    order: Order = PARSER.parse(raw)
    return order


def refused(**values: str | list[str]) -> Refusal:
    with pytest.raises(Refusal) as caught:
        parse(**values)
    return caught.value


@pytest.mark.parametrize(
    "text", ["", "١٢", "1_000", "+7", "-1", "1.0", "1e3", "0x1", " 1", "9007199254740992", "9" * 5000]
)
def test_integers_are_ascii_digits_up_to_53_bits(text: str):
    with pytest.raises(ValueError):
        read_integer(text)


def test_the_largest_integer_is_read():
    assert read_integer("9007199254740991") == 2**53 - 1
    assert read_integer("007") == 7


@pytest.mark.parametrize(
    ("text", "value"), [("True", True), ("true", True), ("1", True), ("FALSE", False), ("0", False)]
)
def test_booleans_have_six_spellings(text: str, value: bool):
    assert read_boolean(text) is value


@pytest.mark.parametrize("text", ["", "yes", "2", "t", "truе"])
def test_other_booleans_are_refused(text: str):
    with pytest.raises(ValueError):
        read_boolean(text)


def test_dates_drop_a_time_and_instants_gain_midnight():
    assert read_date("2026-01-31 23:59:59") == date(2026, 1, 31)
    assert read_timestamp("2026-01-31") == datetime(2026, 1, 31, tzinfo=UTC)
    assert read_timestamp("2026-01-31 04:02:47") == datetime(2026, 1, 31, 4, 2, 47, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "2026-02-30",
        "2026-1-3",
        "31.01.2026",
        "20260131",
        "2026-01-31T00:00:00",
        "2026-01-31 24:00:00",
        "0000-01-01",
        "２026-01-01",
    ],
)
def test_other_dates_are_refused_with_111(text: str):
    refusal = refused(at="2026-01-01", since=text)
    assert (refusal.kind, refusal.parameter) == (errors.INVALID_DATE_FORMAT, "since")


@pytest.mark.parametrize(
    ("values", "items"),
    [
        (["a;b;c"], ["a", "b", "c"]),
        (["a", "b"], ["a", "b"]),
        (['["a", "b;c"]'], ["a", "b;c"]),
        (["[1,2]"], ["1", "2"]),
        (["[true]"], ["true"]),
        ([" a ; ;b; "], ["a", "b"]),
        (["Moscow, Russia"], ["Moscow, Russia"]),
        (["[oops"], ["[oops"]),
        (["[[1]]"], ["[[1]]"]),
        (["a;b", '["c"]'], ["a", "b", "c"]),
    ],
)
def test_lists_have_many_spellings(values: list[str], items: list[str]):
    assert split_list(values) == items


def test_lists_keep_their_order_and_drop_repetitions():
    assert parse(number="+1 555-285-0126;15552850125;15552850126").numbers == [15552850126, 15552850125]


def test_all_stands_for_a_list_only_where_it_may():
    assert parse(id="ALL").ids == "all"
    assert refused(id="1;all").parameter == "id"
    assert parse(name="all").names == ["all"]


def test_an_empty_value_is_no_value():
    assert refused(place=" ").kind is errors.REQUIRED_IS_EMPTY
    assert parse(region="", number=";", is_bound=" ") == Order(place="x")


def test_zero_is_no_value_where_it_says_so():
    assert parse(count="0", number="15552850126").numbers == [15552850126]
    assert parse(number="0").numbers is None
    assert parse(region="0").region_id == 0


def test_the_last_of_repeated_scalars_counts():
    assert parse(region=["1", "2"]).region_id == 2


def test_a_page_is_lowered_to_its_cap_and_refused_below_one():
    assert parse(count="5000").count == 1_000
    assert refused(count="00").kind is errors.INVALID


def test_choices_are_compared_without_case():
    assert parse(status="required").status == "REQUIRED"
    assert parse(status="True").status == "true"
    assert refused(status="other").kind is errors.INVALID


def test_presence_comes_before_exclusivity_and_types():
    assert refused(place="", count="1", number="x").kind is errors.REQUIRED_IS_EMPTY
    assert refused(at="2026-01-01", count="1", number="x").parameter == "since"
    assert refused(count="1", number="x").kind is errors.ONLY_ONE_OF


def test_the_refusal_names_the_parameter_and_its_own_code():
    refusal = refused(region="x")
    assert (refusal.kind, refusal.parameter) == (errors.INVALID_REGION, "region")
    refusal = refused(number="hello<script>")
    assert (refusal.kind, refusal.parameter, refusal.values["number"]) == (
        errors.INVALID_NUMBER,
        "number",
        "?",
    )
    assert refused(number="15551110000,15551110001").values["number"] == "15551110000,15551110001"


def test_a_reversed_interval_is_refused_on_its_upper_end():
    refusal = refused(since="2026-02-01", at="2026-02-01", until="2026-01-01")
    assert (refusal.kind, refusal.parameter) == (errors.INVALID_RENEWAL_RANGE, "until")


@pytest.mark.parametrize("text", ["a\0b", "a\nb", "\x7f", "a\udc80b"])
def test_text_has_no_control_characters(text: str):
    refusal = refused(place=text)
    assert (refusal.kind, refusal.parameter) == (errors.INVALID, "place")


def test_long_values_and_long_lists_are_refused():
    refusal = refused(place="x" * (limits.PARAMETER_BYTES + 1))
    assert (refusal.kind, refusal.parameter) == (errors.LENGTH_EXCEEDED, "place")
    assert refused(name="a;b;c;d").kind is errors.LENGTH_EXCEEDED
