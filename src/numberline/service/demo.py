"""The demo world: the packaged catalogue with demo prices and stock, and an account for every situation.

| account          | currency | country | what it is for                                                          |
|------------------|----------|---------|-------------------------------------------------------------------------|
| demo             | USD      | US      | a parent with money for the whole of region 101, and keys of many roles |
| demo-child       | USD      | US      | its child                                                               |
| demo-de          | EUR      | DE      | prices with VAT; addresses as `demo` has them                           |
| demo-gb          | USD      | GB      | VAT on a foreign currency                                               |
| demo-kz          | KZT      | KZ      | prices converted to tenge                                               |
| demo-ru          | RUB      | RU      | VAT inside the price; not verified                                      |
| demo-ru-progress | RUB      | RU      | its verification is in progress                                         |
| demo-ru-verified | RUB      | RU      | verified                                                                |
| demo-poor        | USD      | US      | one cent                                                                |
| demo-frozen      | USD      | US      | frozen, with money                                                      |
"""

from __future__ import annotations

import asyncio
import secrets
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Final

import msgspec

from numberline.domain.access import OWNER, AccessKey, Role
from numberline.domain.catalog import CatalogRows
from numberline.domain.clock import Clock
from numberline.domain.money import MICROS_PER_UNIT
from numberline.domain.regulation import AddressDetails, RegulationAddress
from numberline.domain.stock_import import without_overlaps
from numberline.domain.verification import IN_PROGRESS, VERIFIED, Verification
from numberline.service.accounts import NewAccount, open_account, pay_in
from numberline.service.catalog_files import DATA_FOLDER, merge_files, packaged_catalog, read_catalog
from numberline.service.keys import KeyPair, ServiceAccountFile, generate_pair, service_account_file
from numberline.service.stock import ImportRefused, StockLine, read_stock_csv
from numberline.service.stock_adding import add_stock
from numberline.store.contract import Store
from numberline.store.transaction import Transaction

DEMO_FOLDER: Final = DATA_FOLDER / "demo"
PARENT: Final = "demo"
RUSSIAN_VERIFICATION: Final = "RU"
# Region 4778, Berlin.
ADDRESS_POSITION: Final = ("DE", "GEOGRAPHIC", "30")
_ACTOR: Final = "demo"
_NOTE: Final = "Play money"


class _Person(msgspec.Struct, frozen=True):
    """One account of the demo world; `funds_micros` in its currency."""

    name: str
    currency: str
    country: str
    funds_micros: int
    has_parent: bool = False
    is_frozen: bool = False
    has_addresses: bool = False
    verification: str | None = None


_PLENTY: Final = 1_000_000 * MICROS_PER_UNIT
_ENOUGH: Final = 10_000 * MICROS_PER_UNIT
_CENT: Final = MICROS_PER_UNIT // 100

_PEOPLE: Final = (
    _Person(PARENT, "USD", "US", _PLENTY, has_addresses=True),
    _Person("demo-child", "USD", "US", _ENOUGH, has_parent=True),
    _Person("demo-de", "EUR", "DE", _ENOUGH, has_addresses=True),
    _Person("demo-gb", "USD", "GB", _ENOUGH),
    _Person("demo-kz", "KZT", "KZ", _PLENTY),
    _Person("demo-ru", "RUB", "RU", _PLENTY),
    _Person("demo-ru-progress", "RUB", "RU", _PLENTY, verification=IN_PROGRESS),
    _Person("demo-ru-verified", "RUB", "RU", _PLENTY, verification=VERIFIED),
    _Person("demo-poor", "USD", "US", _CENT),
    _Person("demo-frozen", "USD", "US", _ENOUGH, is_frozen=True),
)

# Further keys of the parent, by the name of their file.
_ROLE_KEYS: Final[dict[str, frozenset[Role]]] = {
    "demo-admin": frozenset({Role.ADMIN}),
    "demo-accountant": frozenset({Role.ACCOUNTANT}),
    "demo-developer": frozenset({Role.DEVELOPER}),
    "demo-payer": frozenset({Role.PAYER}),
    "demo-no-role": frozenset(),
}


class DemoAddress(msgspec.Struct, frozen=True):
    """A regulation address for numbers of Berlin."""

    account: str
    address_id: int
    status: str


class DemoWorld(msgspec.Struct, frozen=True):
    """What was built: accounts by name, key files by name, addresses.

    An account's Owner key bears the account's name; the parent has `demo-admin`, `demo-accountant`,
    `demo-developer`, `demo-payer` and `demo-no-role` besides. `api_key` belongs to the parent.
    """

    accounts: dict[str, int]
    keys: dict[str, ServiceAccountFile]
    addresses: list[DemoAddress]
    api_key: str
    numbers: int

    @property
    def credentials(self) -> ServiceAccountFile:
        """The Owner key of the parent."""
        return self.keys[PARENT]


async def build_demo_world(store: Store, clock: Clock) -> DemoWorld:
    """Fill an empty store, in one transaction."""
    count = len(_PEOPLE) + len(_ROLE_KEYS)
    pairs, (rows, lines) = await asyncio.gather(
        asyncio.to_thread(_generate_pairs, count), asyncio.to_thread(_read_files)
    )
    now = clock.now()
    return await store.write(lambda work: _build(work, now, rows, lines, pairs))


def _generate_pairs(count: int) -> list[KeyPair]:
    with ThreadPoolExecutor() as pool:
        return list(pool.map(lambda _: generate_pair(), range(count)))


def _read_files() -> tuple[CatalogRows, list[StockLine]]:
    rows = merge_files(read_catalog(DEMO_FOLDER), packaged_catalog())
    with (DEMO_FOLDER / "stock.csv").open("rb") as stream:
        file = read_stock_csv(stream)
    lines, overlaps = without_overlaps(file.lines)
    if problems := file.problems + overlaps:
        raise ImportRefused(problems)
    return rows, lines


async def _build(
    work: Transaction, now: datetime, rows: CatalogRows, lines: list[StockLine], pairs: list[KeyPair]
) -> DemoWorld:
    await work.replace_catalog(rows)
    stocked = await add_stock(work, lines)
    api_key = secrets.token_urlsafe(32)
    accounts: dict[str, int] = {}
    addresses: list[DemoAddress] = []
    for person in _PEOPLE:
        accounts[person.name] = await _settle(work, now, person, accounts, api_key)
        if person.has_addresses:
            addresses += await _add_addresses(work, now, person.name, accounts[person.name])
    keys = await _add_keys(work, now, accounts, pairs)
    return DemoWorld(accounts, keys, addresses, api_key, stocked.numbers)


def _email(account: str) -> str:
    return f"{account}@numberline.invalid"


async def _settle(
    work: Transaction, now: datetime, person: _Person, accounts: dict[str, int], api_key: str
) -> int:
    """Open an account, pay its money in and record how far it is verified."""
    wanted = NewAccount(
        name=person.name,
        email=_email(person.name),
        currency=person.currency,
        billing_country=person.country,
        parent_id=accounts[PARENT] if person.has_parent else None,
        is_frozen=person.is_frozen,
    )
    account_id = await open_account(work, now, wanted, api_key if person.name == PARENT else None)
    await pay_in(work, now, account_id, person.funds_micros, _ACTOR, _NOTE)
    if person.verification is not None:
        await work.insert_verification(account_id, Verification(RUSSIAN_VERIFICATION, person.verification))
    return account_id


async def _add_addresses(work: Transaction, now: datetime, name: str, account_id: int) -> list[DemoAddress]:
    """Two addresses for numbers of Berlin: one to buy with, one that is still being examined."""
    statuses = (VERIFIED, IN_PROGRESS)
    ids = await work.connection.reserve_ids("address", len(statuses))
    details = AddressDetails(
        salutation="COMPANY",
        company=name,
        city="Berlin",
        zip_code="10115",
        street="Musterstraße",
        house_number="1",
    )
    for address_id, status in zip(ids, statuses, strict=True):
        address = RegulationAddress(address_id, account_id, *ADDRESS_POSITION, status, details)
        await work.insert_address(address, now)
    return [DemoAddress(name, address_id, status) for address_id, status in zip(ids, statuses, strict=True)]


async def _add_keys(
    work: Transaction, now: datetime, accounts: dict[str, int], pairs: list[KeyPair]
) -> dict[str, ServiceAccountFile]:
    wanted = [(name, name, OWNER) for name in accounts]
    wanted += [(name, PARENT, roles) for name, roles in _ROLE_KEYS.items()]
    files: dict[str, ServiceAccountFile] = {}
    for (name, account, roles), pair in zip(wanted, pairs, strict=True):
        await work.insert_key(AccessKey(pair.key_id, accounts[account], pair.public_pem, roles), name, now)
        files[name] = service_account_file(_email(account), accounts[account], pair)
    return files
