"""The words in which an API method is declared; everything else about a method is derived from its declaration.

Parsing, validation, role check, answer, OpenAPI, reference page: each walks these values. They hold no logic;
`registry.py` checks them when they are registered. Names of the wire occur in declarations and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum, StrEnum, auto
from types import MappingProxyType
from typing import Any

import msgspec

from numberline.domain.access import RoleRule
from numberline.domain.errors import ErrorKind

Run = Callable[..., Any]


class Kind(StrEnum):
    """What a value is on the wire.

    NUMBER is a phone number: an integer inside, digits in a text outside. MONEY is micros inside, a decimal
    number outside. CURRENCY is an ISO code inside and the vendor's spelling outside. OBJECT holds a shape.
    """

    TEXT = "text"
    INTEGER = "integer"
    BOOLEAN = "boolean"
    DATE = "date"
    TIMESTAMP = "timestamp"
    CHOICE = "choice"
    NUMBER = "phone number"
    MONEY = "money"
    CURRENCY = "currency"
    OBJECT = "object"


class Effect(Enum):
    """What a method does to the store; decides its transaction and whether it takes an idempotency key."""

    READS = auto()
    CHANGES = auto()
    SPENDS = auto()


class Param(msgspec.Struct, frozen=True, kw_only=True):
    """One parameter: its name on the wire, the field of the order it fills, and what is accepted.

    `kind` follows from the order's field unless it says more than that (`NUMBER`). `required` is what the server
    demands, `required_unless` demands it only where that other parameter is not given, `documented_required` is what
    the vendor's document says where it is stricter. `default` is shown to
    readers where the order's own default does not tell. `choices` are compared without regard to case;
    `meanings` tells what a choice is called inside where that is another word. `accepts_all`
    lets `all` stand for a list. `zero_is_absent`: `0` means that the parameter was not given. `refused_as` is the
    refusal of an ill-formed value; it defaults by kind. Integers lie within `at_least..at_most`; above `capped_at`
    they are lowered without a word. A list has `items_max` items at most, `None` standing for the general limit.
    """

    wire: str
    into: str
    doc: str
    kind: Kind | None = None
    required: bool = False
    required_unless: str | None = None
    documented_required: bool = False
    default: str | int | bool | None = None
    example: str | int | bool | None = None
    choices: tuple[str, ...] = ()
    meanings: Mapping[str, str] = MappingProxyType({})
    accepts_all: bool = False
    zero_is_absent: bool = False
    refused_as: ErrorKind | None = None
    at_least: int = 0
    at_most: int | None = None
    capped_at: int | None = None
    items_max: int | None = None


class Range(msgspec.Struct, frozen=True):
    """Two parameters that bound an interval, by wire name, and the refusal of a reversed one."""

    lower: str
    upper: str
    refused_as: ErrorKind


class Field(msgspec.Struct, frozen=True):
    """One member of an answer: its wire name and where its value is found in the view (a dotted path).

    `source` None marks a member of the vendor's structure for which this server has no value; it is documented
    and never sent. `always_empty` marks a list that is sent and holds nothing. `optional` members are left out
    when their value is None; nothing is ever sent as null.
    """

    wire: str
    source: str | None
    kind: Kind
    doc: str
    optional: bool = False
    shape: Shape | None = None
    many: bool = False
    always_empty: bool = False
    choices: tuple[str, ...] = ()


class Shape(msgspec.Struct, frozen=True):
    """An object of the wire: the name it has in documents, the view it is written from, and its members."""

    name: str
    view: type[msgspec.Struct]
    fields: tuple[Field, ...]


class Form(Enum):
    """How an answer is laid out.

    OBJECT `{"result": {...}}`, LIST `{"result": [...]}`, PAGE a list with `total_count` and `count`,
    DONE `{"result": 1}` with a list beside it, FLAG `{"result": true}`.
    """

    OBJECT = auto()
    LIST = auto()
    PAGE = auto()
    DONE = auto()
    FLAG = auto()


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a method answers.

    `shape` is the object, or the item of the list. `list_name` names the list beside a DONE result. `beside` are
    further top-level members taken from the view of an OBJECT answer. `counted` adds `count` to a LIST.
    """

    form: Form
    shape: Shape | None = None
    list_name: str | None = None
    beside: tuple[Field, ...] = ()
    counted: bool = False


class Example(msgspec.Struct, frozen=True):
    """A request, as parameters, and the answer to it."""

    request: Mapping[str, str]
    answer: Mapping[str, Any]


class Method(msgspec.Struct, frozen=True, kw_only=True):
    """One method of the API.

    `await run(call, order)` answers the view of a method that READS, `await run(call, order, render)` of one that CHANGES
    the body that `render(view)` wrote, so that it can be kept beside the effect. `run(call, order, render)` of one that
    SPENDS returns at once what is to be handed in at the desk, whose answer is such a body. `exclusive` lists
    groups of wire names of which one at most may be given, `together` groups given whole or not at all. `refusals` pairs each refusal of the use case with
    the parameter it speaks about, or None.
    """

    wire: str
    summary: str
    group: str
    roles: RoleRule
    effect: Effect
    order: type[msgspec.Struct]
    answer: Answer
    run: Run
    example: Example
    params: tuple[Param, ...] = ()
    exclusive: tuple[tuple[str, ...], ...] = ()
    together: tuple[tuple[str, ...], ...] = ()
    ranges: tuple[Range, ...] = ()
    refusals: tuple[tuple[ErrorKind, str | None], ...] = ()
    aliases: tuple[str, ...] = ()
    notes: str = ""
