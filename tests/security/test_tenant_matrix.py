"""Nobody learns of anybody else's things: every method, every parameter that names one, every kind of owner.

The cells come from the register: a new parameter fails here until it is said to name a thing of an account or
something that all share, and a new method with such a parameter fails until the table says whose things it shows.
A thing of a stranger must be answered, byte for byte, like one that does not exist.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

import msgspec
import pytest

from numberline.api.codec import RawRequest
from numberline.api.methods import REGISTRY
from numberline.domain.regulation import RegulationAddress
from numberline.service import rentals
from numberline.store.rentals import RentalQuestions
from numberline.store.transaction import Transaction
from tests.kit import world
from tests.kit.tokens import token
from tests.kit.world import START, Town

OWNERS: Final = (world.PARENT, world.CHILD, world.SIBLING, world.STRANGER)
NOBODY, NOBODY_ELSE = 9_001, 9_002
RENTED: Final = dict(zip(OWNERS, range(15552850100, 15552850104), strict=True)) | {
    NOBODY: 15552850200,  # in stock, so it might have been somebody's once
    NOBODY_ELSE: 19995550100,  # in nobody's stock
}
ADDRESSES: Final = {
    world.PARENT: world.VERIFIED_BERLIN,
    world.CHILD: 101,
    world.SIBLING: 102,
    world.STRANGER: world.STRANGERS_BERLIN,
    NOBODY: 103,
    NOBODY_ELSE: 2**53 - 1,
}

# Parameters that name a thing of an account, and which one an owner has.
THINGS: Final[dict[str, Callable[[int], object]]] = {
    "phone_id": RENTED.__getitem__,
    "phone_number": RENTED.__getitem__,
    "child_account_id": lambda owner: owner,
    "regulation_address_id": ADDRESSES.__getitem__,
    "application_id": lambda owner: owner,
    "application_name": lambda owner: f"application-{owner}",
    "rule_id": lambda owner: owner,
    "rule_name": lambda owner: f"rule-{owner}",
}
# Parameters that name something all accounts share, or nothing at all.
SHARED: Final = {
    "activation_status",
    "auto_charge",
    "can_be_used",
    "canceled",
    "children_phones_only",
    "count",
    "country_code",
    "country_state",
    "deactivated",
    "force_verification",
    "from_phone_next_renewal",
    "from_phone_purchase_date",
    "from_unverified_hold_until",
    "is_bound_to_application",
    "is_bound_to_rule",
    "locale",
    "offset",
    "omit_empty",
    "order_by",
    "phone_category_name",
    "phone_count",
    "phone_number_mask",
    "phone_region_code",
    "phone_region_id",
    "phone_region_name",
    "phone_template",
    "return_live_balance",
    "sandbox",
    "sms_supported",
    "to_phone_next_renewal",
    "to_phone_purchase_date",
    "to_unverified_hold_until",
    "verification_name",
    "verification_status",
}

OWN, THEIR_CHILD, THEIR_PARENT, A_SIBLING, A_STRANGER = (
    "own",
    "child's",
    "parent's",
    "sibling's",
    "stranger's",
)


def relation(caller: int, owner: int) -> str:
    """Whose a thing is, seen from the caller."""
    if caller == owner:
        return OWN
    children = (world.CHILD, world.SIBLING)
    if caller == world.PARENT and owner in children:
        return THEIR_CHILD
    if caller in children and owner == world.PARENT:
        return THEIR_PARENT
    return A_SIBLING if caller in children and owner in children else A_STRANGER


class Cell(NamedTuple):
    """One method and parameter: the rest of the request, and whose things it knows.

    A thing of anybody else is answered like one that does not exist; `unless` is the code of the one exception,
    an answer that says no more than that somebody has it.
    """

    method: str
    param: str
    known: frozenset[str]
    rest: Mapping[str, Any] = {}
    unless: int | None = None

    @property
    def label(self) -> str:
        """What reports show."""
        return f"{self.method}.{self.param}" + (f"&{urlencode(self.rest)}" if self.rest else "")


_BERLIN: Final = {
    "country_code": "DE",
    "phone_category_name": "GEOGRAPHIC",
    "phone_region_id": world.BERLIN,
}
_ALL: Final = {"child_account_id": "all"}
_MINE: Final = frozenset({OWN})
_FAMILY: Final = frozenset({OWN, THEIR_CHILD})
_NONE: Final = frozenset[str]()

CELLS: Final = (
    # 182: a number is taken, whoever has it.
    Cell("AttachPhoneNumber", "phone_number", _MINE, unless=182),
    Cell("AttachPhoneNumber", "regulation_address_id", _MINE, _BERLIN),
    Cell("GetPhoneNumbers", "phone_id", _MINE),
    Cell("GetPhoneNumbers", "phone_id", _FAMILY, _ALL),
    Cell("GetPhoneNumbers", "phone_number", _MINE),
    Cell("GetPhoneNumbers", "phone_number", _FAMILY, _ALL),
    Cell("GetPhoneNumbers", "child_account_id", frozenset({THEIR_CHILD})),
    Cell("GetPhoneNumbers", "child_account_id", frozenset({THEIR_CHILD}), {"children_phones_only": "true"}),
    Cell("GetPhoneNumbers", "application_id", _NONE),
    Cell("GetPhoneNumbers", "application_name", _NONE),
    Cell("GetPhoneNumbers", "rule_id", _NONE),
    Cell("GetPhoneNumbers", "rule_name", _NONE),
    Cell("IsAccountPhoneNumber", "phone_number", _MINE),
)


async def _settle(work: Transaction) -> None:
    """Give each child a verified address too."""
    parents = (await work.find_addresses([world.VERIFIED_BERLIN]))[world.VERIFIED_BERLIN]
    for owner in (world.CHILD, world.SIBLING):
        address: RegulationAddress = msgspec.structs.replace(parents, id=ADDRESSES[owner], account_id=owner)
        await work.insert_address(address, START)


@pytest.fixture
async def settled(town: Town) -> Town:
    """The town, where each of the family and the stranger rents a number and has an address."""
    await town.store.write(_settle)
    for owner in OWNERS:
        bought = await town.call("AttachPhoneNumber", {"phone_number": RENTED[owner]}, account=owner)
        assert bought["result"] == 1
    return town


async def ask(town: Town, method: str, params: Mapping[str, Any], caller: int) -> tuple[int | None, bytes]:
    """The code and the body of an answer."""
    request = RawRequest(
        command=method, query=urlencode(params).encode(), authorization=(town.bearer(caller),)
    )
    answer = await town.dispatcher.answer(request)
    assert answer.code not in (2, 4), answer.body
    assert not town.dispatcher.undeclared
    return answer.code, answer.body


async def ask_cell(town: Town, cell: Cell, caller: int, owner: int) -> tuple[int | None, bytes]:
    """An answer about the thing of an owner, with the name of the thing itself masked."""
    name = THINGS[cell.param](owner)
    code, body = await ask(town, cell.method, {**cell.rest, cell.param: name}, caller)
    return code, body.replace(str(name).encode(), b"#")


def test_every_parameter_is_classified() -> None:
    declared = {param.wire for method in REGISTRY for param in method.params}
    assert declared - SHARED - THINGS.keys() == set(), "say whether these name a thing of an account"
    assert (SHARED | THINGS.keys()) - declared == set()
    assert not SHARED & THINGS.keys()


def test_every_parameter_that_names_a_thing_has_its_cells() -> None:
    declared = {
        (method.wire, param.wire) for method in REGISTRY for param in method.params if param.wire in THINGS
    }
    assert declared == {(cell.method, cell.param) for cell in CELLS}


async def leaks(town: Town, cell: Cell) -> list[str]:
    """What a cell tells that it should not, or hides that it should show."""
    found = []
    for caller in OWNERS:
        nothing = await ask_cell(town, cell, caller, NOBODY_ELSE)
        if cell.unless is None and await ask_cell(town, cell, caller, NOBODY) != nothing:
            found.append(f"{caller}: two things that do not exist differ")
        others = set()
        for owner in OWNERS:
            answer = await ask_cell(town, cell, caller, owner)
            if relation(caller, owner) not in cell.known:
                others.add(answer)
            elif answer == nothing:
                found.append(f"{caller}: does not know {owner}'s")
        if cell.unless is None and not others <= {nothing}:
            found.append(f"{caller}: {others} differ from {nothing}")
        if cell.unless is not None and (len(others), next(iter(others))[0]) != (1, cell.unless):
            found.append(f"{caller}: {others} differ from one another")
    return found


async def test_a_strangers_thing_does_not_exist(settled: Town) -> None:
    before = await settled.audit()
    reading = {cell.label: await leaks(settled, cell) for cell in CELLS if cell.method != "AttachPhoneNumber"}
    assert {label: found for label, found in reading.items() if found} == {}
    assert (await settled.audit()).counts == before.counts
    buying = {cell.label: await leaks(settled, cell) for cell in CELLS if cell.label not in reading}
    assert {label: found for label, found in buying.items() if found} == {}
    assert (await settled.audit()).is_clean
    print(f"tenant matrix: {len(CELLS) * len(OWNERS) * (len(OWNERS) + 2)} cells")


async def test_the_matrix_sees_a_leak(settled: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the filters by account the cells must fail, or they prove nothing."""

    async def everybody(*_: object) -> list[int]:
        return list(OWNERS)

    async def anybody(*_: object) -> int:
        return world.STRANGER

    monkeypatch.setattr(rentals, "_account_ids", everybody)
    monkeypatch.setattr(RentalQuestions, "find_owner", anybody)
    leaky = {
        cell.label for cell in CELLS if cell.method != "AttachPhoneNumber" and await leaks(settled, cell)
    }
    assert leaky >= {
        "GetPhoneNumbers.phone_id",
        "GetPhoneNumbers.phone_number",
        "IsAccountPhoneNumber.phone_number",
    }


@pytest.mark.parametrize("param", ["phone_id", "phone_number"])
async def test_a_list_of_ones_own_and_anothers_shows_ones_own(settled: Town, param: str) -> None:
    for caller in OWNERS:
        mine = RENTED[caller]
        _, alone = await ask(settled, "GetPhoneNumbers", {param: mine}, caller)
        assert json.loads(alone)["total_count"] == 1
        for owner in (*OWNERS, NOBODY, NOBODY_ELSE):
            _, mixed = await ask(settled, "GetPhoneNumbers", {param: f"{mine};{RENTED[owner]}"}, caller)
            assert mixed == alone


async def test_what_a_stranger_does_changes_no_list_count_or_balance(settled: Town) -> None:
    def questions() -> Iterator[tuple[int, str, dict[str, Any]]]:
        for caller in (world.PARENT, world.CHILD, world.SIBLING):
            yield caller, "GetAccountInfo", {}
            for page in ({}, {"count": 1}, {"offset": 1}, _ALL, _ALL | {"children_phones_only": 1}):
                yield caller, "GetPhoneNumbers", page
            yield caller, "IsAccountPhoneNumber", {"phone_number": 15552852999}

    before = [await ask(settled, method, page, caller) for caller, method, page in questions()]
    for account in (world.STRANGER, world.GERMAN):
        await settled.call(
            "AttachPhoneNumber",
            {
                "country_code": "US",
                "phone_category_name": "local",
                "phone_region_id": world.HOLLYWOOD,
                "phone_count": 50,
            },
            account=account,
        )
    assert [await ask(settled, method, page, caller) for caller, method, page in questions()] == before


async def test_a_parent_sees_its_children_and_nobody_sees_a_parent(settled: Town) -> None:
    async def numbers(caller: int, **params: Any) -> set[int]:
        answer = await settled.call("GetPhoneNumbers", params, account=caller)
        assert answer["total_count"] == answer["count"] == len(answer["result"])
        return {each["phone_id"] for each in answer["result"]}

    family = {RENTED[owner] for owner in (world.PARENT, world.CHILD, world.SIBLING)}
    assert await numbers(world.PARENT) == {RENTED[world.PARENT]}
    assert await numbers(world.PARENT, child_account_id="all") == family
    assert await numbers(world.PARENT, children_phones_only=1) == family - {RENTED[world.PARENT]}
    for caller in (world.CHILD, world.SIBLING, world.STRANGER):
        assert await numbers(caller, child_account_id="all") == {RENTED[caller]}
        assert await numbers(caller, children_phones_only=1) == set()


# --- Acting as another account ---------------------------------------------------------------------------------------


def _bearer(town: Town, owner: int, acting: object) -> str:
    return "Bearer " + token(acting, f"owner-{owner}", now=town.clock.now().timestamp())


async def test_only_a_parent_acts_for_another_and_only_for_its_child(settled: Town) -> None:
    async def act(method: str, owner: int, acting: object) -> tuple[int | None, bytes]:
        request = RawRequest(command=method, authorization=(_bearer(settled, owner, acting),))
        answer = await settled.dispatcher.answer(request)
        return answer.code, answer.body

    for owner, method in itertools.product(OWNERS, [method.wire for method in REGISTRY]):
        unknown = await act(method, owner, 999_999)
        assert unknown[0] == 100
        for acting in OWNERS:
            for spelling in (acting, str(acting)):
                found = await act(method, owner, spelling)
                if relation(owner, acting) in (OWN, THEIR_CHILD):
                    assert found[0] != 100, (owner, acting)
                else:
                    assert found == unknown, (owner, acting)
        assert await act(method, owner, world.INACTIVE) == unknown
        assert await act(method, owner, world.FROZEN) == unknown


async def test_the_account_acted_as_is_the_one_that_is_shown_and_pays(settled: Town) -> None:
    for owner in OWNERS:
        for acting in OWNERS:
            if relation(owner, acting) not in (OWN, THEIR_CHILD):
                continue
            request = RawRequest(command="GetAccountInfo", authorization=(_bearer(settled, owner, acting),))
            answer = await settled.dispatcher.answer(request)
            assert json.loads(answer.body)["result"]["account_id"] == acting
    before = {owner: await settled.wallet(owner) for owner in OWNERS}
    request = RawRequest(
        command="AttachPhoneNumber",
        query=b"phone_number=15552850300",
        authorization=(_bearer(settled, world.PARENT, world.CHILD),),
    )
    assert (await settled.dispatcher.answer(request)).code is None
    changed = {owner for owner in OWNERS if await settled.wallet(owner) != before[owner]}
    assert changed == {world.CHILD}


async def test_credentials_in_parameters_do_not_move_a_token(settled: Town) -> None:
    """Some clients add `account_id` to every call: the token alone says who calls."""
    for extra in (
        {"account_id": world.PARENT},
        {"account_id": world.PARENT, "api_key": world.API_KEY},
        {"account_name": f"account-{world.PARENT}"},
        {"account_email": f"{world.PARENT}@example.test", "api_key": world.API_KEY},
    ):
        shown = await settled.call("GetAccountInfo", extra, account=world.STRANGER)
        assert shown["result"]["account_id"] == world.STRANGER
        assert "api_key" not in shown["result"]
