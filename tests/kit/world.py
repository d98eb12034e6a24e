"""A small town of accounts, regions, numbers and prices that every suite starts from.

Amounts are chosen so that a wrong sum shows: fees, taxes and rates differ everywhere, some with awkward fractions.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, Final
from urllib.parse import urlencode

import msgspec

from numberline.api.codec import RawRequest
from numberline.api.dispatch import Dispatcher
from numberline.api.methods import REGISTRY
from numberline.domain import ledger
from numberline.domain.access import AccessKey, Account, Role
from numberline.domain.account import Profile, Wallet
from numberline.domain.blocks import Block, range_bits
from numberline.domain.catalog import CatalogRows, Country, Offer, Price, Region, Rule, State
from numberline.domain.clock import ManualClock
from numberline.domain.ledger import Movement
from numberline.domain.regulation import AddressDetails, RegulationAddress
from numberline.domain.verification import Verification
from numberline.service.catalog import CatalogCache
from numberline.service.context import Policy, Services
from numberline.service.desk import Desk
from numberline.store.accounts import AccountRecord
from numberline.store.audit import AuditReport, audit
from numberline.store.contract import Store
from numberline.store.transaction import Transaction
from tests.kit.tokens import public_pem, token

# The last day of a month, so that renewals have to clamp.
START: Final = datetime(2026, 1, 31, 12, 30, 15, tzinfo=UTC)
UNIT: Final = 1_000_000

PARENT, CHILD, SIBLING, STRANGER, FROZEN, POOR = 1000, 1001, 1002, 1003, 1004, 1005
GERMAN, RUSSIAN, RUSSIAN_PROGRESS, RUSSIAN_VERIFIED, LAPSED, LAPSED_PROGRESS = (
    1006,
    1007,
    1008,
    1009,
    1010,
    1011,
)
HOMELESS, LIMITED, INACTIVE, POLE = 1012, 1013, 1014, 1015

HOLLYWOOD, NEW_YORK, EMPTY, TWO_TIER = 101, 201, 103, 104
TOLLFREE, MOSCOW, BERLIN, HAMBURG, TOKYO, SANDBOX, UNPRICED = 501, 301, 401, 402, 601, 102, 801

VERIFIED_BERLIN, PENDING_BERLIN, DECLINED_BERLIN, VERIFIED_HAMBURG, STRANGERS_BERLIN, DOCUMENTS_BERLIN = (
    range(1, 7)
)

API_KEY: Final = "town-api-key"

CATALOG: Final = CatalogRows(
    revision=0,
    countries=[
        Country("US", "1", "United States", "Соединённые Штаты"),
        Country("RU", "7", "Russia", "Россия"),
        Country("DE", "49", "Germany", "Германия"),
        Country("JP", "81", "Japan", "Япония"),
        Country("FR", "33", "France", "Франция"),
        Country("AQ", "672", "Antarctica", "Антарктида"),
    ],
    states=[State("US", "CA", "California"), State("US", "NY", "New York"), State("US", "TX", "Texas")],
    regions=[
        Region(HOLLYWOOD, "US", "GEOGRAPHIC", "CA", "555", "Hollywood", "Голливуд"),
        Region(SANDBOX, "US", "GEOGRAPHIC", "CA", "556", "Sandbox", "Песочница"),
        Region(EMPTY, "US", "GEOGRAPHIC", "CA", "557", "Ghost Town", "Город-призрак"),
        Region(TWO_TIER, "US", "GEOGRAPHIC", "CA", "558", "Two Tiers", "Два яруса"),
        Region(NEW_YORK, "US", "GEOGRAPHIC", "NY", "559", "New York", "Нью-Йорк"),
        Region(TOLLFREE, "US", "TOLLFREE", "", "800", "United States", "США"),
        Region(MOSCOW, "RU", "GEOGRAPHIC", "", "499", "Moscow", "Москва"),
        Region(BERLIN, "DE", "GEOGRAPHIC", "", "30", "Berlin", "Берлин"),
        Region(HAMBURG, "DE", "GEOGRAPHIC", "", "40", "Hamburg", "Гамбург"),
        Region(TOKYO, "JP", "GEOGRAPHIC", "", "3", "Tokyo", "Токио"),
        Region(UNPRICED, "FR", "GEOGRAPHIC", "", "1", "Paris", "Париж"),
    ],
    prices=[
        Price("US", "GEOGRAPHIC", 0, "", "USD", 1 * UNIT, 2 * UNIT),
        Price("US", "GEOGRAPHIC", 0, "gold", "USD", 9 * UNIT, 90 * UNIT),
        Price("US", "TOLLFREE", 0, "", "USD", 3 * UNIT, 0),
        Price("RU", "*", 0, "", "RUB", 120 * UNIT, 60 * UNIT),
        Price("DE", "*", 0, "", "EUR", 990_000, 10 * UNIT),
        Price("JP", "*", 0, "", "USD", 3_333_333, 0),
    ],
    rules=[
        Rule("US", "GEOGRAPHIC", sms=True),
        Rule("US", "GEOGRAPHIC", SANDBOX, sandbox=True),
        Rule("US", "TOLLFREE", can_list=False),
        Rule("RU", "*", verification="RU"),
        Rule("DE", "GEOGRAPHIC", regulation_address="LOCAL", emergency_calls=True),
        Rule("JP", "GEOGRAPHIC", can_buy_by_number=False),
    ],
    tax_ppm={"US": 82_500, "DE": 190_000, "RU": 220_000, "PL": 230_000},
    per_usd_micros={"USD": UNIT, "EUR": 920_000, "RUB": 90_500_000},
    offers=[],
)

_OFFERS: Final = [
    Offer(1, HOLLYWOOD, ""),
    Offer(2, SANDBOX, ""),
    Offer(3, TWO_TIER, "gold"),
    Offer(4, TWO_TIER, ""),
    Offer(5, NEW_YORK, ""),
    Offer(6, TOLLFREE, ""),
    Offer(7, MOSCOW, ""),
    Offer(8, BERLIN, ""),
    Offer(9, HAMBURG, ""),
    Offer(10, TOKYO, ""),
    Offer(11, UNPRICED, ""),
]
_RANGES: Final = [
    (1, 15552850000, 15552852999),
    (2, 15562850000, 15562850099),
    (3, 15582850000, 15582850009),
    (4, 15582850010, 15582850014),
    (5, 15592850000, 15592850002),
    (6, 18005550100, 18005550199),
    (7, 74990001000, 74990001999),
    (8, 493023125000, 493023125999),
    (9, 494066969000, 494066969099),
    (10, 81300001000, 81300001099),
    (11, 33199000000, 33199000099),
]


class Town:
    """A running town: its store, clock, dispatcher and the ways to call it."""

    def __init__(self, store: Store, *, policy: Policy | None = None) -> None:
        self.store = store
        self.clock = ManualClock(START)
        self.catalog = CatalogCache(store)
        self.desk = Desk(store, self.catalog)
        self.services = Services(store, self.catalog, self.desk, self.clock, policy or Policy())
        self.dispatcher = Dispatcher(self.services, REGISTRY)

    async def close(self) -> None:
        """Stop the desk and the store."""
        await self.desk.close()
        await self.store.close()

    async def call(
        self,
        method: str,
        params: Mapping[str, Any] | None = None,
        *,
        account: int = PARENT,
        key_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Call a method as an account's owner, or with another key, and return the decoded answer."""
        request = RawRequest(
            command=method,
            query=urlencode(params or {}).encode(),
            authorization=(self.bearer(account, key_id),),
            idempotency_key=(idempotency_key,) if idempotency_key else (),
        )
        answer = await self.dispatcher.answer(request)
        assert answer.status == 200
        decoded: dict[str, Any] = json.loads(answer.body)
        assert ("error" in decoded) != ("result" in decoded), decoded
        assert not self.dispatcher.undeclared, list(self.dispatcher.undeclared)
        return decoded

    def bearer(self, account: int, key_id: str | None = None) -> str:
        """The Authorization header of an account's owner, or of another key acting as the account."""
        key = key_id or f"owner-{account}"
        return "Bearer " + token(account, key, now=self.clock.now().timestamp())

    async def wallet(self, account: int = PARENT) -> Wallet:
        """The wallet of an account."""
        buyer = await self.store.read(lambda ask: ask.find_buyer(account))
        assert buyer is not None
        return buyer.wallet

    async def audit(self) -> AuditReport:
        """Audit the store."""
        return await audit(self.store)


async def build_town(store: Store, *, policy: Policy | None = None) -> Town:
    """Fill an empty, migrated store with the town and open it."""
    await store.write(_fill)
    return Town(store, policy=policy)


async def _fill(write: Transaction) -> None:
    await write.replace_catalog(CATALOG)
    await write.insert_offers(_OFFERS)
    await write.insert_blocks(
        [block for offer, first, last in _RANGES for block in blocks(offer, first, last)]
    )
    for identity, email, rental_limit in _accounts():
        record = AccountRecord(
            identity, email, Profile(first_name="Test"), Wallet(0, 0, 0, 0, rental_limit), START
        )
        await write.insert_account(record)
        for key_id, roles in _keys(identity.id).items():
            await write.insert_key(AccessKey(key_id, identity.id, public_pem(), roles), "", START)
    for account_id, held in _VERIFICATIONS:
        await write.insert_verification(account_id, held)
    for address in _ADDRESSES:
        await write.insert_address(address, START)
    for account_id, amount in _MONEY.items():
        await credit(write, account_id, amount)


def blocks(offer: int, first: int, last: int) -> list[Block]:
    """The blocks of a range of numbers, both ends included."""
    found = []
    for prefix in range(first // 1000, last // 1000 + 1):
        low, high = max(first - prefix * 1000, 0), min(last - prefix * 1000, 999)
        found.append(Block(offer, prefix, high - low + 1, range_bits(low, high)))
    return found


async def credit(write: Transaction, account_id: int, amount: int) -> None:
    """Pay money in."""
    buyer = (await write.lock_buyers([account_id]))[account_id]
    postings = ledger.credit_postings(amount)
    ledger.apply(buyer.wallet, postings)
    [movement_id] = await write.connection.reserve_ids("movement", 1)
    movement = Movement(
        id=movement_id,
        account_id=account_id,
        kind="credit",
        currency=buyer.account.currency,
        moved_at=START,
        actor="town",
        postings=postings,
    )
    await write.save_wallets([buyer])
    await write.insert_movements([movement])


_CURRENCIES: Final = {GERMAN: "EUR", RUSSIAN: "RUB", RUSSIAN_PROGRESS: "RUB", RUSSIAN_VERIFIED: "RUB"}
_COUNTRIES: Final = {
    GERMAN: "DE",
    RUSSIAN: "RU",
    RUSSIAN_PROGRESS: "RU",
    RUSSIAN_VERIFIED: "RU",
    HOMELESS: "",
    POLE: "PL",
}
_MONEY: Final = {
    account: 100_000 * UNIT for account in range(PARENT, POLE + 1) if account not in (POOR, INACTIVE)
} | {POOR: 10_000}
_VERIFICATIONS: Final = [
    (RUSSIAN_PROGRESS, Verification("RU", "IN_PROGRESS")),
    (RUSSIAN_VERIFIED, Verification("RU", "VERIFIED")),
    (LAPSED, Verification("RU", "REQUIRED", date(2026, 1, 1))),
    (LAPSED_PROGRESS, Verification("RU", "IN_PROGRESS", date(2026, 1, 1))),
]
_HOUSE: Final = AddressDetails(
    salutation="COMPANY", company="ACME", city="Berlin", zip_code="10115", street="Weg", house_number="1"
)
_ADDRESSES: Final = [
    RegulationAddress(VERIFIED_BERLIN, PARENT, "DE", "GEOGRAPHIC", "30", "VERIFIED", _HOUSE),
    RegulationAddress(PENDING_BERLIN, PARENT, "DE", "GEOGRAPHIC", "30", "IN_PROGRESS", _HOUSE),
    RegulationAddress(DECLINED_BERLIN, PARENT, "DE", "GEOGRAPHIC", "30", "DECLINED", _HOUSE),
    RegulationAddress(VERIFIED_HAMBURG, PARENT, "DE", "GEOGRAPHIC", "40", "VERIFIED", _HOUSE),
    RegulationAddress(STRANGERS_BERLIN, STRANGER, "DE", "GEOGRAPHIC", "30", "VERIFIED", _HOUSE),
    RegulationAddress(DOCUMENTS_BERLIN, PARENT, "DE", "GEOGRAPHIC", "30", "PENDING", _HOUSE),
]


def _accounts() -> list[tuple[Account, str, int | None]]:
    """Identity, e-mail and rental limit of everybody."""
    found = []
    for account_id in range(PARENT, POLE + 1):
        identity = Account(
            id=account_id,
            name=f"account-{account_id}",
            parent_id=PARENT if account_id in (CHILD, SIBLING) else None,
            is_active=account_id != INACTIVE,
            is_frozen=account_id == FROZEN,
            currency="PLN" if account_id == POLE else _CURRENCIES.get(account_id, "USD"),
            billing_country=_COUNTRIES.get(account_id, "US"),
            api_key_hash=hashlib.sha256(API_KEY.encode()).digest() if account_id == PARENT else None,
        )
        found.append((identity, f"{account_id}@example.test", 2 if account_id == LIMITED else None))
    return found


def _keys(account_id: int) -> dict[str, frozenset[Role]]:
    """An owner's key for everybody; for the parent one of each role besides, and one without any."""
    keys = {f"owner-{account_id}": frozenset({Role.OWNER})}
    if account_id == PARENT:
        keys |= {role_key(role): frozenset({role}) for role in Role}
        keys[role_key(None)] = frozenset()
    return keys


def role_key(role: Role | None) -> str:
    """The id of the parent's key that holds one role, or none."""
    return f"role-{role.name if role else 'none'}"


def snapshot(report: AuditReport) -> bytes:
    """What an audit counted, to compare before and after."""
    return msgspec.json.encode(report.counts)
