"""The machine as a whole: from a raw request to a raw answer, with use cases that do nothing."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

import msgspec
import pytest

from numberline.api import dispatch
from numberline.api.codec import RawAnswer, RawRequest
from numberline.api.dispatch import Dispatcher
from numberline.api.methods import numbers
from numberline.api.methods.accounts import GET_ACCOUNT_INFO
from numberline.api.registry import Registry
from numberline.domain import errors
from numberline.domain.errors import Refusal
from numberline.domain.paging import Page
from numberline.service.attach import AttachedNumber, AttachOrder
from numberline.service.context import Call
from numberline.service.desk import CallerOutdated, Taker
from numberline.service.rentals import OwnershipOrder, RentalsOrder
from numberline.store.errors import CommitUnknown, StoreBusy, StoreUnavailable
from tests.unit.api.fakes import FakeOrder, FakeServices, make_token

QUERY = b"country_code=US&phone_category_name=local&phone_region_id=101"
EXACT = QUERY + b"&phone_number=%5B%22%2B15552850126%22%5D"


class Town:
    """A dispatcher over use cases that record what they are asked and answer what they are told to."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.orders: list[Any] = []
        self.raises: Exception | None = None
        self.services = FakeServices()
        registry = Registry(
            [
                msgspec.structs.replace(numbers.ATTACH_PHONE_NUMBER, run=self.attach),
                msgspec.structs.replace(numbers.GET_PHONE_NUMBERS, run=self.list),
                msgspec.structs.replace(numbers.IS_ACCOUNT_PHONE_NUMBER, run=self.owns, aliases=("Owns",)),
                GET_ACCOUNT_INFO,
            ]
        )
        self.dispatcher = Dispatcher(self.services, registry)  # type: ignore[arg-type]

    def note(self, call: Call, order: Any) -> None:
        self.calls.append(call)
        self.orders.append(order)
        if self.raises is not None:
            raise self.raises

    def attach(
        self, call: Call, order: AttachOrder, render: Callable[[Sequence[AttachedNumber]], bytes]
    ) -> FakeOrder:
        self.note(call, order)
        return FakeOrder(render([AttachedNumber(number) for number in order.numbers or (15552850126,)]))

    async def list(self, call: Call, order: RentalsOrder) -> Page[Any]:
        self.note(call, order)
        return Page([], 4)

    async def owns(self, call: Call, order: OwnershipOrder) -> bool:
        self.note(call, order)
        return True

    def answer(
        self, command: str | None = "AttachPhoneNumber", query: bytes = EXACT, **more: Any
    ) -> RawAnswer:
        request = {"authorization": ("Bearer " + make_token(),), **more}
        return asyncio.run(self.dispatcher.answer(RawRequest(command=command, query=query, **request)))

    def ask(self, command: str | None = "AttachPhoneNumber", query: bytes = EXACT, **more: Any) -> Any:
        answer = self.answer(command, query, **more)
        assert (answer.status, answer.content_type) == (200, "application/json")
        body = json.loads(answer.body)
        assert answer.code == body.get("error", {}).get("code")
        return body

    def error(self, command: str | None = "AttachPhoneNumber", query: bytes = EXACT, **more: Any) -> Any:
        return self.ask(command, query, **more)["error"]


@pytest.fixture
def town() -> Town:
    return Town()


def test_the_documented_request_is_answered(town: Town):
    answer = town.answer(body=b"{}", content_type="application/json")
    assert (
        answer.body == b'{"result":1,"phone_numbers":[{"phone_id":15552850126,"phone_number":"15552850126"}]}'
    )
    assert (answer.method, answer.code) == ("AttachPhoneNumber", None)
    assert town.orders == [AttachOrder(country="US", category="local", region_id=101, numbers=[15552850126])]
    assert town.calls[0].caller.account.id == 7


@pytest.mark.parametrize("command", ["attachphonenumber", "ATTACHPHONENUMBER"])
def test_commands_have_no_case(town: Town, command: str):
    assert town.ask(command)["result"] == 1
    assert town.ask(None, b"cmd=" + command.encode() + b"&" + EXACT)["result"] == 1


def test_the_path_wins_over_cmd(town: Town):
    assert town.ask("IsAccountPhoneNumber", b"cmd=AttachPhoneNumber&phone_number=15552850126") == {
        "result": True
    }
    assert town.answer("owns", b"phone_number=15552850126").method == "IsAccountPhoneNumber"


def test_commands_are_judged_before_credentials(town: Town):
    assert town.error("Nope", authorization=()) == {"msg": "Unknown command.", "code": 103}
    assert town.error("BatchX", body=b"\xff{", content_type="application/json")["code"] == 103
    assert town.error(None, b"")["code"] == 102
    assert town.error(None, b"cmd=Nope")["code"] == 103


def test_credentials_are_judged_before_roles_and_parameters(town: Town):
    assert town.error(query=b"", authorization=())["code"] == 100
    town.services.store.roles = frozenset()
    assert town.error(query=b"")["code"] == 104
    assert town.calls == []


def test_a_key_without_roles_may_call_what_is_open_to_it(town: Town):
    town.services.store.roles = frozenset()
    town.raises = None
    assert town.error("GetAccountInfo", b"return_live_balance=x") == {
        "msg": "The 'return_live_balance' parameter is invalid.",
        "code": 496,
        "field_name": "return_live_balance",
    }


def test_an_unreadable_body_is_refused(town: Town):
    assert town.error(body=b"[]", content_type="application/json")["code"] == 101


@pytest.mark.parametrize(
    ("query", "code", "field"),
    [
        (b"", 134, "country_code"),
        (b"country_code=US&phone_region_id=1", 134, "phone_category_name"),
        (QUERY + b"&phone_count=2&phone_number=15552850126", 458, None),
        (QUERY.replace(b"101", b"x"), 241, "phone_region_id"),
        (QUERY + b"&phone_count=101", 243, "phone_count"),
        (QUERY + b"&phone_count=-1", 243, "phone_count"),
        (QUERY + b"&phone_number=12", 121, "phone_number"),
        (QUERY + b"&regulation_address_id=x", 496, "regulation_address_id"),
        (b"phone_number=15552850126&country_code=%00", 239, "country_code"),
    ],
)
def test_parameters_are_refused_by_their_own_codes(town: Town, query: bytes, code: int, field: str | None):
    error = town.error(query=query)
    assert (error["code"], error.get("field_name")) == (code, field)
    assert "{" not in error["msg"]
    assert "None" not in error["msg"]


def test_the_zeros_of_go_are_dropped(town: Town):
    town.ask(query=QUERY + b"&phone_count=0&phone_number=15552850126")
    town.ask(query=QUERY + b"&phone_count=2&phone_number=")
    assert [(order.count, order.numbers) for order in town.orders] == [(None, [15552850126]), (2, None)]


def test_exact_numbers_need_no_position(town: Town):
    assert town.ask(query=b"phone_number=15552850126")["result"] == 1


def test_a_refusal_takes_its_field_from_the_declaration(town: Town):
    town.raises = Refusal(errors.NUMBER_TAKEN, number=15552850126)
    assert town.error() == {
        "msg": "The phone number 15552850126 is already rented.",
        "code": 182,
        "field_name": "phone_number",
    }
    town.raises = Refusal(
        errors.VERIFICATION_REQUIRED, verification="RU", details={"verification_name": "RU"}
    )
    assert town.error()["details"] == {"verification_name": "RU"}
    assert not town.dispatcher.undeclared


def test_an_undeclared_refusal_is_answered_and_noted(town: Town):
    town.raises = Refusal(errors.INVALID_APPLICATION)
    assert town.error()["code"] == 116
    assert list(town.dispatcher.undeclared) == [("AttachPhoneNumber", errors.INVALID_APPLICATION)]


@pytest.mark.parametrize(
    ("trouble", "code", "words"),
    [
        (StoreUnavailable("gone"), 4, "nothing was changed"),
        (CommitUnknown("gone"), 4, "unknown"),
        (StoreBusy("gone"), 162, "busy"),
    ],
)
def test_troubles_of_the_store_are_told_by_kind(town: Town, trouble: Exception, code: int, words: str):
    town.raises = trouble
    error = town.error()
    assert error["code"] == code
    assert words in error["msg"]
    assert not town.dispatcher.undeclared


def test_a_defect_shows_a_reference_and_nothing_else(town: Town, caplog: pytest.LogCaptureFixture):
    town.raises = ValueError("the secret of the house")
    error = town.error()
    assert error["code"] == 2
    assert "secret" not in error["msg"]
    reference = error["msg"].split()[-1].rstrip(".")
    assert reference in caplog.text


def test_idempotency_keys_go_with_what_was_understood(town: Town):
    for query in (EXACT, b"phone_number=1%20555%20285-0126&" + QUERY, QUERY + b"&phone_number=15552850127"):
        town.ask(query=query, idempotency_key=("k 1",))
    first, same, other = (call.idempotency for call in town.calls)
    assert first is not None
    assert (first.method, first.key, len(first.fingerprint)) == ("AttachPhoneNumber", "k 1", 32)
    assert first == same != other


def test_reading_takes_no_idempotency_key(town: Town):
    town.ask("GetPhoneNumbers", b"", idempotency_key=("",))
    assert town.calls[0].idempotency is None


@pytest.mark.parametrize("keys", [("",), ("x" * 256,), ("ключ",), ("a\tb",), ("a", "a")])
def test_unfit_idempotency_keys_are_refused(town: Town, keys: tuple[str, ...]):
    error = town.error(idempotency_key=keys)
    assert (error["code"], error["field_name"]) == (496, "Idempotency-Key")
    assert town.calls == []


def test_pages_say_how_many_there_are(town: Town):
    assert town.ask("GetPhoneNumbers", b"count=2000&child_account_id=all") == {
        "result": [],
        "total_count": 4,
        "count": 0,
    }
    assert (town.orders[0].count, town.orders[0].child_ids) == (1000, "all")


def test_optional_members_are_written_only_when_there(town: Town):
    method = numbers.ATTACH_PHONE_NUMBER
    from numberline.api.render import build_render

    body = build_render(method.answer)([AttachedNumber(79991234567, "RU", "REQUIRED", date(2026, 2, 14))])
    assert json.loads(body)["phone_numbers"] == [
        {
            "phone_id": 79991234567,
            "phone_number": "79991234567",
            "required_verification": "RU",
            "verification_status": "REQUIRED",
            "unverified_hold_until": "2026-02-14",
        }
    ]


# What is handed in at once.


class Reply:
    """Notes what it is told."""

    def __init__(self) -> None:
        self.told: list[RawAnswer | None] = []
        self.has_left = False

    def is_gone(self) -> bool:
        return self.has_left

    def take(self, answer: RawAnswer) -> None:
        self.told.append(answer)

    def start_over(self) -> None:
        self.told.append(None)


class Street:
    """A town that has served one request, so that the next one like it can be handed in at once."""

    def __init__(self, town: Town, query: bytes = EXACT, **more: Any) -> None:
        self.town = town
        self.request = RawRequest(
            command="AttachPhoneNumber", query=query, authorization=("Bearer " + make_token(),), **more
        )
        self.answer = asyncio.run(town.dispatcher.answer(self.request))
        self.reply = Reply()

    def begin(self, **changed: Any) -> bool:
        return self.town.dispatcher.begin(msgspec.structs.replace(self.request, **changed), self.reply)

    @property
    def taker(self) -> Taker:
        [(_, taker)] = self.town.services.desk.takers
        return taker


def test_what_was_asked_before_by_one_who_is_remembered_is_handed_in_at_once(town: Town):
    street = Street(town)
    assert street.begin()
    [(order, taker)] = town.services.desk.takers
    assert (street.reply.told, taker.is_gone()) == ([], False)
    taker.accept(order.body)
    assert street.reply.told == [street.answer]
    assert taker.is_gone()
    assert [call.caller.remembered_at for call in town.calls] == [None, 0], "it rests on a revision"


@pytest.mark.parametrize(
    "changed",
    [
        {"query": EXACT + b"&x=1"},
        {"command": "attachphonenumber"},
        {"body": b"{}"},
        {"content_type": "text/plain"},
        {"authorization": ()},
        {"authorization": ("Bearer x",)},
        {"authorization": ("Bearer " + make_token(iss=8),)},
        {"authorization": ("Bearer " + make_token(exp=1, iat=0),)},
        {"authorization": ("Bearer " + make_token()[:-4] + "AAAA",)},
        {"authorization": ("Bearer " + make_token(), "Bearer " + make_token())},
        {"idempotency_key": ("a", "b")},
    ],
)
def test_whatever_else_wants_to_be_answered(town: Town, changed: dict[str, Any]):
    street = Street(town)
    calls = len(town.calls)
    assert not street.begin(**changed)
    assert (street.reply.told, town.services.desk.takers, len(town.calls)) == ([], [], calls)


def test_reads_and_what_was_refused_are_not_handed_in(town: Town):
    street = Street(town, b"phone_count=x")
    assert street.answer.code is not None
    assert not street.begin()
    looking = RawRequest(command="GetPhoneNumbers", authorization=street.request.authorization)
    asyncio.run(town.dispatcher.answer(looking))
    assert not town.dispatcher.begin(looking, street.reply)


def test_a_role_that_was_taken_away_is_not_handed_in(town: Town):
    street = Street(town)
    town.services.store.roles = frozenset()
    town.services.store.revision += 1
    assert street.begin(), "the desk will say that the revision is another one"
    asyncio.run(town.dispatcher.answer(street.request, may_recall=False))
    assert not street.begin(), "the caller is known better now"


def test_parameters_that_may_hold_an_api_key_are_not_kept(town: Town):
    street = Street(town)
    asyncio.run(
        town.dispatcher.answer(msgspec.structs.replace(street.request, query=b"account_id=7&api_key=k"))
    )
    asyncio.run(
        town.dispatcher.answer(RawRequest(command="GetPhoneNumbers", query=b"account_id=7&api_key=k"))
    )
    with_both = msgspec.structs.replace(street.request, query=EXACT + b"&api_key=k")
    assert asyncio.run(town.dispatcher.answer(with_both)).code is None
    assert not any(b"api_key" in query for _, query, _, _ in town.dispatcher._asked)
    assert [asked.raw for asked in town.dispatcher._asked.values()] == [{}]


def test_a_taker_is_gone_with_whoever_waits(town: Town):
    street = Street(town)
    street.begin()
    assert not street.taker.is_gone()
    street.reply.has_left = True
    assert street.taker.is_gone()


def test_what_goes_wrong_before_anything_is_handed_in_is_left_to_the_long_way(town: Town):
    street = Street(town)
    town.raises = RuntimeError("a defect")
    assert not street.begin()
    assert town.error(query=EXACT)["code"] == errors.INTERNAL_ERROR.code


def test_as_many_questions_are_kept_as_there_is_room_for(town: Town, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(dispatch, "_ASKED_MAX", 2)
    street = Street(town)
    for place in range(3):
        asyncio.run(
            town.dispatcher.answer(msgspec.structs.replace(street.request, query=EXACT + b"&x=%d" % place))
        )
    assert len(town.dispatcher._asked) == 2
    assert not street.begin()
    long = EXACT + b"&x=" + b"y" * dispatch._ASKED_BYTES_MAX
    asyncio.run(town.dispatcher.answer(msgspec.structs.replace(street.request, query=long)))
    assert len(town.dispatcher._asked) == 2


def test_without_a_way_to_the_desk_nothing_is_handed_in(town: Town):
    street = Street(town)
    town.services.desk.trouble = StoreUnavailable("away")
    assert not street.begin()


@pytest.mark.parametrize(
    ("reason", "code"),
    [
        (Refusal(errors.NO_STOCK), errors.NO_STOCK.code),
        (StoreBusy("busy"), errors.TRY_LATER.code),
        (CommitUnknown("cut"), errors.COMMIT_UNKNOWN.code),
        (StoreUnavailable("away"), errors.STORE_UNAVAILABLE.code),
        (RuntimeError("a defect"), errors.INTERNAL_ERROR.code),
        (asyncio.CancelledError(), errors.STORE_UNAVAILABLE.code),
    ],
)
def test_what_the_desk_refuses_is_told_in_the_envelope(town: Town, reason: BaseException, code: int):
    street = Street(town)
    street.begin()
    street.taker.refuse(reason)
    street.taker.accept(b"too late")
    street.taker.refuse(Refusal(errors.NO_STOCK))
    [told] = street.reply.told
    assert told is not None
    assert (told.status, told.method, told.code) == (200, "AttachPhoneNumber", code)
    assert json.loads(told.body)["error"]["code"] == code


def test_whoever_may_be_somebody_else_by_now_starts_over(town: Town):
    street = Street(town)
    street.begin()
    street.taker.refuse(CallerOutdated())
    assert street.reply.told == [None]
    town.calls.clear()
    again = asyncio.run(town.dispatcher.answer(street.request, may_recall=False))
    assert again == street.answer
    assert [call.caller.remembered_at for call in town.calls] == [None]
