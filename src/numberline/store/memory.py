"""What a desk remembers of the rows it locked and wrote last, so that the next batch need not ask for them.

A batch that finds all it needs here is decided from memory. One statement then locks the rows, compares their versions
with those that are remembered, and saves the batch only if all are the same: one exchange where locking, loading,
saving and committing are four. If anything has changed nothing is saved, and the batch begins again by asking.

Two desks may serve the same buyers. A wallet that another desk has changed will do as well, as long as what is in it now
pays for all that the batch buys; the answer tells what is in it.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
from sqlalchemy import ARRAY, BigInteger, Table, and_, bindparam, column, func, literal_column, or_, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.sql.selectable import FromClause
from sqlalchemy.types import TypeEngine, UserDefinedType

from numberline.domain.account import Wallet, WalletChange
from numberline.domain.blocks import Block
from numberline.domain.working_set import Buyer, Effects, Needs, WorkingSet
from numberline.store.contract import Question, Row
from numberline.store.questions import MONEY
from numberline.store.schema import access_revision, account, block, catalog_revision, wallet
from numberline.store.statements import Statement

LOOKS_PER_HEAD: Final = 256
TOP: Final = 2**63 - 1
_BUYERS_MAX: Final = 10_000
# A database that was put back to an earlier day counts the same versions anew; that takes longer than this.
_FRESH_SECONDS: Final = 10.0
_BLOCKS_MAX: Final = 8
# A batch with more is too long for one exchange.
_RENTALS_MAX: Final = 1_000
_DISTRUST_MAX: Final = 6
_UNCHANGED: Final = WalletChange()

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

    A wallet that has another version will do if it has `spent` and room for `rented` more; a `spent` of NULL asks for the
    remembered version. Nothing is waited for but wallets, in the one order of all. The row is that of a `Verdict`.
    """
    accounts = _asked(
        "asked_account",
        account_ids=BigInteger(),
        account_versions=_Xid(),
        wallet_versions=_Xid(),
        spent=BigInteger(),
        rented=BigInteger(),
    )
    blocks = _asked("asked_block", offer_ids=BigInteger(), prefixes=BigInteger(), block_versions=_Xid())
    wallets = (
        select(*accounts.c, wallet.c.account_id, *MONEY, version_of(wallet).label("version"))
        .select_from(accounts)
        .join(wallet, wallet.c.account_id == accounts.c.account_ids)
        .order_by(wallet.c.account_id)
        .with_for_update(of=wallet)
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
    is_wallet_same = wallets.c.version == wallets.c.wallet_versions
    will_do = and_(
        wallets.c.funds_micros + wallets.c.credit_limit_micros >= wallets.c.spent,
        or_(
            wallets.c.rental_limit.is_(None),
            wallets.c.rental_count + wallets.c.rented <= wallets.c.rental_limit,
        ),
    )
    good_accounts = (
        select(func.count())
        .select_from(wallets)
        .join(account, account.c.id == wallets.c.account_id)
        .where(or_(is_wallet_same, will_do), version_of(account) == wallets.c.account_versions)
        .scalar_subquery()
    )
    same_blocks = select(func.count()).select_from(picked).scalar_subquery()
    are_blocks_same = same_blocks == func.cardinality(bindparam("offer_ids", type_=ARRAY(BigInteger)))
    is_held = and_(
        good_accounts == func.cardinality(bindparam("account_ids", type_=ARRAY(BigInteger))),
        are_blocks_same,
        catalog_revision.c.revision == bindparam("catalog", type_=BigInteger),
        access_revision.c.revision == bindparam("access", type_=BigInteger),
    )
    others = (
        select(wallets.c.account_id, *(wallets.c[part.name] for part in MONEY), wallets.c.version)
        .where(~is_wallet_same)
        .subquery("other_wallet")
    )
    revisions = catalog_revision.join(access_revision, access_revision.c.id == catalog_revision.c.id)
    return Statement(
        select(
            is_held.label("is_held"),
            own_version(),
            are_blocks_same,
            select(func.array_agg(literal_column("other_wallet"))).select_from(others).scalar_subquery(),
        ).select_from(revisions)
    )


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

    def pass_over(self, offer_id: int, prefix: int) -> None:
        """Look below a prefix first."""
        self._heads[offer_id] = prefix - 1, self._heads.get(offer_id, (TOP, 0))[1]


class Seen(msgspec.Struct):
    """The versions of what a transaction has locked, and its own, which its changes get."""

    own: int = 0
    accounts: dict[int, tuple[int, int]] = msgspec.field(default_factory=dict)
    blocks: dict[BlockKey, int] = msgspec.field(default_factory=dict)


class Verdict(msgspec.Struct, frozen=True):
    """Whether what was remembered will do, so that the batch has been saved, and the version of what is saved by it.

    If not, `are_blocks_same` tells whether it failed for another reason than blocks. `other_wallets` have another version
    than was remembered: account id, `MONEY`, version.
    """

    is_held: bool
    version: int
    are_blocks_same: bool
    other_wallets: Sequence[Row] | None


class Recalled(msgspec.Struct, frozen=True):
    """What a batch needs, out of memory: buyers with the versions of account and wallet, blocks with theirs."""

    catalog_revision: int
    access_revision: int
    known: dict[int, tuple[Buyer, int, int]]
    picked: list[tuple[Block, int]]

    def is_held(self, wallets: Mapping[int, WalletChange], refused: Collection[int]) -> Question:
        """The question whether it will still do, for what a batch does to wallets, as a row of `Verdict`.

        Who is `refused` must have the very wallet that is remembered.
        """
        changes = [wallets.get(account_id, _UNCHANGED) for account_id in self.known]
        return IS_HELD, {
            "account_ids": list(self.known),
            "account_versions": [version for _, version, _ in self.known.values()],
            "wallet_versions": [version for _, _, version in self.known.values()],
            "spent": [
                None if account_id in refused else -change.funds_micros
                for account_id, change in zip(self.known, changes, strict=True)
            ],
            "rented": [change.rental_count for change in changes],
            "offer_ids": [found.offer_id for found, _ in self.picked],
            "prefixes": [found.prefix for found, _ in self.picked],
            "block_versions": [version for _, version in self.picked],
            "catalog": self.catalog_revision,
            "access": self.access_revision,
        }

    def world(self, rental_ids: Iterator[int], movement_ids: Iterator[int]) -> WorkingSet:
        """What the batch is decided on."""
        return WorkingSet(
            catalog_revision=self.catalog_revision,
            access_revision=self.access_revision,
            buyers={account_id: buyer for account_id, (buyer, _, _) in self.known.items()},
            blocks={(found.offer_id, found.prefix): found for found, _ in self.picked},
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
        return Recalled(revision, self._access_revision, known, blocks)

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
            if account_id in world.effects.wallets:
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

    def keep_recalled(self, effects: Effects, verdict: Verdict) -> None:
        """Remember what was saved by one statement."""
        self._used_at = time.monotonic()
        self._distrust = max(0, self._distrust - 1)
        for account_id, *money, version in verdict.other_wallets or ():
            buyer, account_version, _ = self._buyers[account_id]
            wallet = Wallet(*money)
            wallet.change(effects.wallets.get(account_id, _UNCHANGED))
            self._buyers[account_id] = Buyer(buyer.account, wallet, {}, {}), account_version, version
        for account_id in effects.wallets:
            buyer, account_version, _ = self._buyers[account_id]
            self._buyers[account_id] = buyer, account_version, verdict.version
        for (offer_id, prefix), found in effects.blocks.items():
            if found.free_map:
                self._blocks[offer_id][prefix] = found, verdict.version
            else:
                del self._blocks[offer_id][prefix]

    def forget(self) -> None:
        """Remember nothing: it may be otherwise."""
        self._buyers.clear()
        self._blocks.clear()

    def give_way(self, recalled: Recalled) -> None:
        """Others sell from the same blocks: leave them to it and sell from those below."""
        for account_id in recalled.known:
            del self._buyers[account_id]
        for found, _ in recalled.picked:
            self._blocks.pop(found.offer_id, None)
            self.heads.pass_over(found.offer_id, found.prefix)
        self._pause_for(self._distrust + 1)

    def distrust(self) -> None:
        """Others change what is remembered here: forget it, and the more often that happens, the longer ask instead."""
        self.forget()
        self._pause_for(self._distrust + 2)

    def _pause_for(self, distrust: int) -> None:
        self._distrust = min(_DISTRUST_MAX, distrust)
        self._pause = 2**self._distrust - 1
