"""Stores to measure on: rich accounts, one region to sell from, and as much stock and as full books as asked for."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Final

from numberline.domain import ledger
from numberline.domain.access import OWNER, AccessKey, Account
from numberline.domain.account import Profile, Wallet
from numberline.domain.blocks import Block
from numberline.domain.catalog import CatalogRows, Country, Offer, Price, Region
from numberline.domain.ledger import Movement
from numberline.store.accounts import AccountRecord
from numberline.store.audit import audit
from numberline.store.contract import Work
from numberline.store.migrate import migrate
from numberline.store.opening import open_store
from numberline.store.transaction import Transaction
from tests.kit.tokens import public_pem

FIRST_ACCOUNT: Final = 1_000
ACCOUNTS: Final = 64
MONEY_MICROS: Final = 10**15
FEE_MICROS: Final = 1_000_000
# The region that is sold from, and another one whose stock is only there; an offer has its region's place.
REGION, OTHER_REGION = 101, 102
OFFER, OTHER_OFFER = 1, 2
FIRST_PREFIX: Final = 15_550_000
OTHER_PREFIX: Final = 20_000_000
_CHUNK_BLOCKS: Final = 50_000
_BLOCKS_SOLD_TOGETHER: Final = 20


async def prepare(url: str, *, blocks: int = 2_000, other_blocks: int = 0, accounts: int = ACCOUNTS) -> None:
    """A store with rich accounts, `blocks` thousands to sell, and `other_blocks` thousands in another region."""
    await migrate(url)
    store = open_store(url)
    await store.write(_filling(accounts))
    await add_blocks(url, OFFER, FIRST_PREFIX, blocks)
    await add_blocks(url, OTHER_OFFER, OTHER_PREFIX, other_blocks)
    await store.close()


async def add_worn_blocks(url: str, offer: int, first: int, count: int) -> None:
    """Thousands of which every tenth has sold half its numbers, here and there."""
    chance = random.Random(1)
    store = open_store(url)
    for start in range(first, first + count, 10):
        await store.write(_adding(offer, start, min(start + 8, first + count - 1)))
    worn = [
        Block(offer, prefix, 1_000, chance.getrandbits(1_000))
        for prefix in range(first + 9, first + count, 10)
    ]
    await store.write(lambda write: write.insert_blocks(worn))
    await store.close()


async def sell_blocks(url: str, offer: int, first: int, count: int, *, takes_each: int) -> None:
    """Empty whole blocks from the high end as sales do: `takes_each` numbers (a divisor of 1000) at a time."""
    rests = range(1_000 - takes_each, -1, -takes_each)
    store = open_store(url)
    for start in reversed(range(first, first + count, _BLOCKS_SOLD_TOGETHER)):
        prefixes = range(start, min(start + _BLOCKS_SOLD_TOGETHER, first + count))
        versions = [[Block(offer, prefix, 1_000, (1 << rest) - 1) for prefix in prefixes] for rest in rests]
        await store.write(_saving(versions))
    await store.close()


async def add_blocks(url: str, offer: int, first: int, count: int) -> None:
    """Whole thousands, all free."""
    store = open_store(url)
    end = first + count
    for start in range(first, end, _CHUNK_BLOCKS):
        last = min(start + _CHUNK_BLOCKS, end) - 1
        await store.write(_adding(offer, start, last))
    await store.close()


def _adding(offer: int, first: int, last: int) -> Work[None]:
    return lambda write: write.insert_whole_blocks(offer, first, last)


def _saving(versions: list[list[Block]]) -> Work[None]:
    async def save(write: Transaction) -> None:
        for version in versions:
            await write.save_blocks(version)

    return save


async def findings(url: str) -> int:
    """How many disagreements the auditor finds."""
    store = open_store(url)
    report = await audit(store)
    await store.close()
    return len(report.findings)


def _filling(accounts: int) -> Work[None]:
    return lambda write: _fill(write, accounts)


async def _fill(write: Transaction, accounts: int) -> None:
    now = datetime.now(UTC)
    await write.replace_catalog(
        CatalogRows(
            revision=0,
            countries=[Country("US", "1", "United States", "США")],
            states=[],
            regions=[
                Region(REGION, "US", "GEOGRAPHIC", "", "555", "Hollywood", "Голливуд"),
                Region(OTHER_REGION, "US", "GEOGRAPHIC", "", "556", "Springfield", "Спрингфилд"),
            ],
            prices=[Price("*", "*", 0, "", "USD", FEE_MICROS, FEE_MICROS)],
            rules=[],
            tax_ppm={},
            per_usd_micros={"USD": 1_000_000},
            offers=[],
        )
    )
    await write.insert_offers([Offer(OFFER, REGION, ""), Offer(OTHER_OFFER, OTHER_REGION, "")])
    ids = iter(await write.connection.reserve_ids("movement", accounts))
    for account_id in range(FIRST_ACCOUNT, FIRST_ACCOUNT + accounts):
        identity = Account(account_id, f"a{account_id}", None, True, False, "USD", "US")
        record = AccountRecord(identity, f"{account_id}@x.invalid", Profile(), Wallet(0, 0, 0, 0), now)
        await write.insert_account(record)
        await write.insert_key(AccessKey(f"k{account_id}", account_id, public_pem(), OWNER), "", now)
        buyer = (await write.lock_buyers([account_id]))[account_id]
        moved = Movement(
            id=next(ids),
            account_id=account_id,
            kind="credit",
            currency="USD",
            moved_at=now,
            actor="bench",
            postings=ledger.credit_postings(MONEY_MICROS),
        )
        ledger.apply(buyer.wallet, moved.postings)
        await write.save_wallets([buyer])
        await write.insert_movements([moved])
