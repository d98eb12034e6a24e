"""What a desk remembers of the rows it locked and wrote last, so that the next batch need not ask for them.

A batch that finds all it needs here is decided from memory. One statement then locks the rows, compares their versions
with those that are remembered, and saves the batch only if all are the same: one exchange where locking, loading,
saving and committing are four. If anything has changed nothing is saved, and the batch begins again by asking.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ARRAY, BigInteger, Table, and_, bindparam, column, func, literal_column, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause
from sqlalchemy.types import TypeEngine, UserDefinedType

from numberline.domain.blocks import Block
from numberline.domain.working_set import Buyer, Effects, Needs, WorkingSet
from numberline.store.contract import Question, Row
from numberline.store.schema import access_revision, account, block, catalog_revision, wallet
from numberline.store.statements import Statement, within

LOOKS_PER_HEAD: Final = 256
TOP: Final = 2**63 - 1
_BUYERS_MAX: Final = 10_000
# A database that was put back to an earlier day counts the same versions anew; that takes longer than this.
_FRESH_SECONDS: Final = 10.0
_BLOCKS_MAX: Final = 8
# A batch with more is too long for one exchange.
_RENTALS_MAX: Final = 1_000
_DISTRUST_MAX: Final = 6

# The offers that one region is sold from.
Offers = tuple[int, ...]
# Offer and prefix.
BlockKey = tuple[int, int]


class _Xid(UserDefinedType[int]):
    """PostgreSQL's type for the transaction that wrote a row."""

    cache_ok = True

    def get_col_spec(self, **_: object) -> str:
        return "xid"


class version_of(ColumnElement[int]):  # noqa: N801 - reads as an operator, like SQLAlchemy's own
    """What is another number after every change of a row. SQLite, which is asked for everything each time, has none."""

    inherit_cache = False
    type: TypeEngine[int] = _Xid()

    def __init__(self, table: Table) -> None:
        self.table = table


@compiles(version_of, "postgresql")
def _version_of_postgres(element: version_of, _compiler: Any, **_: Any) -> str:
    return f"{element.table.name}.xmin"


@compiles(version_of, "sqlite")
def _version_of_sqlite(_element: version_of, _compiler: Any, **_: Any) -> str:
    return "0"


class own_version(ColumnElement[int]):  # noqa: N801 - as above
    """The version of the rows that this transaction changes."""

    inherit_cache = False
    type: TypeEngine[int] = _Xid()


@compiles(own_version, "postgresql")
def _own_version_postgres(_element: own_version, _compiler: Any, **_: Any) -> str:
    return "CAST(pg_current_xact_id() AS xid)"


@compiles(own_version, "sqlite")
def _own_version_sqlite(_element: own_version, _compiler: Any, **_: Any) -> str:
    return "0"


def _asked(name: str, **columns: TypeEngine[Any]) -> FromClause:
    """Rows that come as an array for each column, the parameters having the columns' names."""
    arrays = [bindparam(column_name, type_=ARRAY(kind)) for column_name, kind in columns.items()]
    rows = func.unnest(*arrays).table_valued(*(column(*one) for one in columns.items()), name=name)
    return rows.render_derived()


def _is_held() -> Statement:
    """Lock wallets, then blocks, and tell whether they, the accounts, the catalogue and who may do what are as remembered.

    Nothing is waited for but wallets, in the one order of all. The first column tells, the second is the version of
    what is saved by it.
    """
    accounts = _asked(
        "asked_account", account_ids=BigInteger(), account_versions=_Xid(), wallet_versions=_Xid()
    )
    blocks = _asked("asked_block", offer_ids=BigInteger(), prefixes=BigInteger(), block_versions=_Xid())
    wallets = (
        select(wallet.c.account_id, version_of(wallet).label("version"))
        .where(within(wallet.c.account_id, "account_ids"))
        .order_by(wallet.c.account_id)
        .with_for_update()
        .cte("locked_wallet")
    )
    are_wallets_locked = select(func.count() >= literal_column("0")).select_from(wallets).scalar_subquery()
    picked = (
        select(block.c.prefix)
        .select_from(blocks)
        .join(block, and_(block.c.offer_id == blocks.c.offer_ids, block.c.prefix == blocks.c.prefixes))
        # PostgreSQL finds this out first, and thereby locks wallets before blocks.
        .where(are_wallets_locked, version_of(block) == blocks.c.block_versions)
        .order_by(block.c.offer_id, block.c.prefix.desc())
        .with_for_update(of=block, skip_locked=True)
        .cte("locked_block")
    )
    same_accounts = (
        select(func.count())
        .select_from(accounts)
        .join(wallets, wallets.c.account_id == accounts.c.account_ids)
        .join(account, account.c.id == accounts.c.account_ids)
        .where(wallets.c.version == accounts.c.wallet_versions)
        .where(version_of(account) == accounts.c.account_versions)
        .scalar_subquery()
    )
    same_blocks = select(func.count()).select_from(picked).scalar_subquery()
    is_same = and_(
        same_accounts == func.cardinality(bindparam("account_ids", type_=ARRAY(BigInteger))),
        same_blocks == func.cardinality(bindparam("offer_ids", type_=ARRAY(BigInteger))),
        catalog_revision.c.revision == bindparam("catalog", type_=BigInteger),
        access_revision.c.revision == bindparam("access", type_=BigInteger),
    )
    revisions = catalog_revision.join(access_revision, access_revision.c.id == catalog_revision.c.id)
    return Statement(select(is_same.label("is_held"), own_version()).select_from(revisions))


IS_HELD: Final = _is_held()


class Heads:
    """Where the stock of each offer began when it was last looked at: the highest prefix with something to sell.

    Sold thousands stay in PostgreSQL's index until nobody can see them any more; under an old snapshot every pick would
    step over all of them. A head only says where to look first: nothing is sold out before a look from the top. Now and
    then one begins there anyway, for what was added or locked when it was passed.
    """

    def __init__(self) -> None:
        self._heads: dict[int, tuple[int, int]] = {}

    def of(self, offer_id: int) -> int:
        """The highest prefix to look at first."""
        return self._heads.get(offer_id, (TOP, 0))[0]

    def note(self, offer_id: int, found: Sequence[Block]) -> None:
        """Remember where something was found, or that nothing was."""
        looks = self._heads.get(offer_id, (TOP, 0))[1]
        if found and looks < LOOKS_PER_HEAD:
            self._heads[offer_id] = found[0].prefix, looks + 1
        else:
            self._heads.pop(offer_id, None)


class Seen(msgspec.Struct):
    """The versions of what a transaction has locked, and its own, which its changes get."""

    own: int = 0
    accounts: dict[int, tuple[int, int]] = msgspec.field(default_factory=dict)
    blocks: dict[BlockKey, int] = msgspec.field(default_factory=dict)


class Recalled(msgspec.Struct, frozen=True):
    """What a batch needs, out of memory, and the question whether it is still so."""

    catalog_revision: int
    access_revision: int
    buyers: dict[int, Buyer]
    blocks: dict[BlockKey, Block]
    is_held: Question

    def world(self, rental_ids: Iterator[int], movement_ids: Iterator[int]) -> WorkingSet:
        """What the batch is decided on."""
        return WorkingSet(
            catalog_revision=self.catalog_revision,
            access_revision=self.access_revision,
            buyers=self.buyers,
            blocks=self.blocks,
            owners={},
            addresses={},
            answers={},
            rental_ids=rental_ids,
            movement_ids=movement_ids,
        )


class Memory:
    """What one desk remembers: where stock begins, and buyers and started blocks as it saved them."""

    def __init__(self) -> None:
        self.heads: Final = Heads()
        self._buyers: dict[int, tuple[Buyer, int, int]] = {}
        self._blocks: dict[int, dict[int, tuple[Block, int]]] = {}
        self._access_revision = 0
        self._seen = Seen()
        self._distrust = 0
        self._pause = 0
        self._used_at = 0.0

    def serves(self, needs: Needs) -> bool:
        """Whether a batch may be decided from memory at all: one that buys by count, without what is asked anew each time."""
        special = needs.numbers or needs.verifications or needs.address_ids or needs.answer_keys
        return not special and needs.rentals <= _RENTALS_MAX

    def recall(self, needs: Needs, revision: int) -> Recalled | None:
        """What a batch needs by a revision of the catalogue, if all of it is remembered.

        What is decided on it must be kept or forgotten.
        """
        if self._pause:
            self._pause -= 1
            return None
        if time.monotonic() - self._used_at > _FRESH_SECONDS:
            self.forget()
            return None
        buyers = {account_id: self._buyers.get(account_id) for account_id in sorted(needs.account_ids)}
        picks = [self._pick(offers, count) for offers, count in needs.wanted.items()]
        known = {account_id: found for account_id, found in buyers.items() if found is not None}
        blocks = [found for pick in picks if pick is not None for found in pick]
        if len(known) < len(buyers) or None in picks:
            return None
        return Recalled(
            revision,
            self._access_revision,
            {account_id: found[0] for account_id, found in known.items()},
            {(found.offer_id, found.prefix): found for found, _ in blocks},
            (
                IS_HELD,
                {
                    "account_ids": list(known),
                    "account_versions": [found[1] for found in known.values()],
                    "wallet_versions": [found[2] for found in known.values()],
                    "offer_ids": [found.offer_id for found, _ in blocks],
                    "prefixes": [found.prefix for found, _ in blocks],
                    "block_versions": [version for _, version in blocks],
                    "catalog": revision,
                    "access": self._access_revision,
                },
            ),
        )

    def _pick(self, offers: Offers, count: int) -> list[tuple[Block, int]] | None:
        """Enough blocks of the cheapest offer. Of the others none is sold before it is known to be sold out."""
        # Now and then a look from the top is due.
        if not offers or self.heads.of(offers[0]) == TOP:
            return None
        picked: list[tuple[Block, int]] = []
        for found in self._blocks.get(offers[0], {}).values():
            picked.append(found)
            count -= found[0].free_count
            if count <= 0:
                self.heads.note(offers[0], [block for block, _ in picked])
                return picked
        return None

    def see_anew(self) -> None:
        """A transaction begins to lock. What it sees counts once `keep_seen` tells that it has been saved."""
        self._seen = Seen()

    def see_buyers(self, rows: Sequence[Row], own_version: int) -> None:
        """A transaction, whose changes get `own_version`, has locked buyers; rows begin with the account and end with versions."""
        self._seen.own = own_version
        self._seen.accounts.update((row[0], (row[-2], row[-1])) for row in rows)

    def see_blocks(self, found: Sequence[Block], versions: Sequence[int]) -> None:
        """A transaction has locked blocks."""
        self._seen.blocks.update(
            ((one.offer_id, one.prefix), version) for one, version in zip(found, versions, strict=True)
        )

    def keep_seen(self, world: WorkingSet, *, are_picked: bool) -> None:
        """Remember what a transaction has locked and saved.

        Unless its blocks `are_picked`, the first ones that there were, they only replace what is remembered of them.
        """
        self._used_at = time.monotonic()
        self._access_revision = world.access_revision
        if len(self._buyers) > _BUYERS_MAX:
            self._buyers.clear()
        for account_id, buyer in world.buyers.items():
            account_version, wallet_version = self._seen.accounts[account_id]
            if account_id in world.effects.buyers:
                wallet_version = self._seen.own
            self._buyers[account_id] = (
                Buyer(buyer.account, buyer.wallet, {}, {}),
                account_version,
                wallet_version,
            )
        if are_picked:
            self._keep_picked(world)
        else:
            self._replace_blocks(world.blocks.values(), world.effects)

    def _keep_picked(self, world: WorkingSet) -> None:
        for offer_id in {offer_id for offer_id, _ in world.blocks}:
            started = [found for found in world.blocks_of((offer_id,)) if found.free_map][:_BLOCKS_MAX]
            self._blocks[offer_id] = {
                found.prefix: (found, self._version(found, world.effects)) for found in started
            }

    def _replace_blocks(self, blocks: Iterable[Block], effects: Effects) -> None:
        for found in blocks:
            known = self._blocks.get(found.offer_id, {})
            if found.prefix in known and found.free_map:
                known[found.prefix] = found, self._version(found, effects)
            else:
                known.pop(found.prefix, None)

    def _version(self, found: Block, effects: Effects) -> int:
        key = found.offer_id, found.prefix
        return self._seen.own if key in effects.blocks else self._seen.blocks[key]

    def keep_recalled(self, effects: Effects, version: int) -> None:
        """Remember what was saved by one statement, which has given it a version."""
        self._used_at = time.monotonic()
        self._distrust = max(0, self._distrust - 1)
        for account_id in effects.buyers:
            buyer, account_version, _ = self._buyers[account_id]
            self._buyers[account_id] = buyer, account_version, version
        for (offer_id, prefix), found in effects.blocks.items():
            if found.free_map:
                self._blocks[offer_id][prefix] = found, version
            else:
                del self._blocks[offer_id][prefix]

    def forget(self) -> None:
        """Remember nothing: it may be otherwise."""
        self._buyers.clear()
        self._blocks.clear()

    def distrust(self) -> None:
        """Others change what is remembered here: forget it, and the more often that happens, the longer ask instead."""
        self.forget()
        self._distrust = min(_DISTRUST_MAX, self._distrust + 2)
        self._pause = 2**self._distrust - 1
