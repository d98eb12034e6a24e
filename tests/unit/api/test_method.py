"""The register refuses declarations that contradict themselves, and finds methods by any spelling."""

from __future__ import annotations

from datetime import date
from typing import Any

import msgspec
import pytest

from numberline.api.method import Answer, Effect, Example, Field, Form, Kind, Method, Param, Range, Shape
from numberline.api.methods import REGISTRY
from numberline.api.params import OrderParser
from numberline.api.registry import BadDeclaration, Registry, bind, refusals_of
from numberline.domain import errors
from numberline.domain.access import ANYONE, ANYONE_EVEN_WITHOUT_ROLES, Role


class Order(msgspec.Struct, frozen=True, kw_only=True):
    number: int
    name: str | None = None
    odd: bytes | None = None


class Inner(msgspec.Struct):
    text: str | None = None


class View(msgspec.Struct):
    number: int
    day: date | None
    inner: Inner
    items: list[Inner]


async def read(_call: object, _order: Order) -> bool:
    return True


async def spend(_call: object, _order: Order, _render: object) -> bytes:
    return b""


NUMBER = Param(wire="number", into="number", doc="", required=True)


def declare(**changed: Any) -> Method:
    base: dict[str, Any] = {
        "wire": "Try",
        "summary": "",
        "group": "",
        "roles": ANYONE,
        "effect": Effect.READS,
        "order": Order,
        "params": (NUMBER,),
        "answer": Answer(form=Form.FLAG),
        "run": read,
        "example": Example({}, {}),
    }
    return Method(**{**base, **changed})


def answering(*fields: Field, form: Form = Form.OBJECT, **more: Any) -> dict[str, Any]:
    return {"answer": Answer(form=form, shape=Shape("S", View, fields), **more)}


def test_a_sound_declaration_is_accepted():
    Registry([declare()])


def test_a_method_must_say_whom_it_admits():
    with pytest.raises(TypeError):
        Method(wire="Try")  # type: ignore[call-arg]


@pytest.mark.parametrize(
    "changed",
    [
        {"roles": None},
        {"params": ()},
        {"params": (msgspec.structs.replace(NUMBER, required=False),)},
        {"params": (NUMBER, Param(wire="x", into="nowhere", doc=""))},
        {"params": (NUMBER, Param(wire="number", into="name", doc=""))},
        {"params": (NUMBER, Param(wire="n2", into="number", doc=""))},
        {"params": (NUMBER, Param(wire="x", into="name", doc="", kind=Kind.NUMBER))},
        {"params": (NUMBER, Param(wire="x", into="name", doc="", kind=Kind.CHOICE))},
        {"params": (NUMBER, Param(wire="x", into="name", doc="", kind=Kind.TEXT, choices=("a",)))},
        {"params": (NUMBER, Param(wire="x", into="name", doc="", kind="colour"))},  # type: ignore[arg-type]
        {"params": (NUMBER, Param(wire="x", into="name", doc="", accepts_all=True))},
        {"params": (NUMBER, Param(wire="x", into="odd", doc=""))},
        {"params": (msgspec.structs.replace(NUMBER, kind=Kind.MONEY),)},
        {"params": (NUMBER, Param(wire="x", into="name", doc="", required_unless="y"))},
        {"exclusive": (("number", "y"),)},
        {"together": (("number", "y"),)},
        {"ranges": (Range("number", "y", errors.INVALID),)},
        {"refusals": ((errors.NO_STOCK, "y"),)},
        {"effect": Effect.SPENDS},
        {"run": spend},
        {"order": int},
        {"answer": Answer(form=Form.OBJECT)},
        answering(form=Form.FLAG),
        answering(form=Form.DONE),
        answering(form=Form.LIST, list_name="x"),
        answering(Field("x", "nowhere", Kind.TEXT, "")),
        answering(Field("x", "number.text", Kind.TEXT, "")),
        answering(Field("x", "number", Kind.TEXT, "")),
        answering(Field("x", "day", Kind.DATE, "")),
        answering(Field("x", "inner.text", Kind.TEXT, "")),
        answering(Field("x", None, Kind.TEXT, "")),
        answering(Field("x", "inner", Kind.OBJECT, "")),
        answering(Field("x", "items", Kind.OBJECT, "", shape=Shape("I", Inner, ()))),
        answering(
            Field("x", "inner", Kind.OBJECT, "", shape=Shape("I", Inner, (Field("y", "z", Kind.TEXT, ""),)))
        ),
        answering(beside=(Field("x", "nowhere", Kind.TEXT, ""),)),
    ],
)
def test_a_bad_declaration_is_refused(changed: dict[str, Any]):
    with pytest.raises(BadDeclaration):
        Registry([declare(**changed)])


def test_two_methods_cannot_share_a_name():
    for other in (declare(wire="try"), declare(wire="Other", aliases=("TRY",))):
        with pytest.raises(BadDeclaration):
            Registry([declare(), other])


def test_names_and_aliases_have_no_case():
    method = declare(aliases=("LinkRegulationAddress", "linkregulationaddress"))
    registry = Registry([method])
    assert registry.find("TRY") is registry.find("LINKREGULATIONADDRESS") is method
    assert registry.find("other") is None


def test_kinds_and_defaults_follow_from_the_order():
    bound = {each.param.wire: each for each in bind(REGISTRY.find("GetPhoneNumbers"))}  # type: ignore[arg-type]
    assert (bound["phone_number"].kind, bound["phone_number"].many) == (Kind.NUMBER, True)
    assert (bound["from_phone_purchase_date"].kind, bound["count"].default) == (Kind.TIMESTAMP, 100)


def test_refusals_gather_what_the_declaration_implies():
    method = REGISTRY.find("attachphonenumber")
    assert method is not None
    refusals = refusals_of(method)
    assert refusals[errors.INVALID_COUNT] == "phone_count"
    assert {
        errors.ONLY_ONE_OF,
        errors.REQUIRED_IS_EMPTY,
        errors.VALUE_NOT_UNIQUE,
        errors.COMMIT_UNKNOWN,
    } <= refusals.keys()


def test_the_first_methods_are_registered_with_their_roles():
    roles = {method.wire: method.roles for method in REGISTRY}
    assert len(roles) >= 9
    assert roles["AttachPhoneNumber"].roles == {Role.OWNER, Role.ADMIN, Role.ACCOUNTANT}
    assert roles["GetAccountInfo"] == roles["GetActualPhoneNumberRegion"] == ANYONE_EVEN_WITHOUT_ROLES


@pytest.mark.parametrize("method", list(REGISTRY), ids=lambda method: method.wire)
def test_every_example_can_be_read_and_every_member_is_explained(method: Method):
    OrderParser(method).parse({name: [value] for name, value in method.example.request.items()})
    assert method.example.answer
    assert all(param.doc.endswith(".") for param in method.params)


@pytest.mark.parametrize("method", list(REGISTRY), ids=lambda method: method.wire)
def test_no_parameter_may_name_its_credentials(method: Method):
    assert not {"api_key", "account_password", "session_id", "cmd"} & {param.wire for param in method.params}
