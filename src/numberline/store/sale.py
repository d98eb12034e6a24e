"""The desk's questions: lock and load what a batch of purchases needs, and save what it decided.

Locks are taken in one order everywhere: wallets by account id, then blocks by offer and falling prefix. Where that
order cannot be kept, nothing waits: blocks for buyers by count are taken with SKIP LOCKED, and where that finds too
little the batch starts again, patient with those offers, before anybody is told that nothing is left.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec
from sqlalchemy import BigInteger, bindparam, or_, select

from numberline.domain.blocks import Block
from numberline.domain.clock import from_micros, to_micros
from numberline.domain.ledger import Charge
from numberline.domain.phone import BLOCK_SIZE, block_of
from numberline.domain.rental import Rental
from numberline.domain.working_set import AnswerKey, Effects, Needs, StoredAnswer, WorkingSet
from numberline.store.accounts import (
    CHANGE_WALLETS,
    INSERT_MOVEMENTS,
    INSERT_POSTINGS,
    READ_BUYERS,
    AccountQuestions,
    movement_rows,
    posting_rows,
    wallet_rows,
)
from numberline.store.catalog import CatalogQuestions
from numberline.store.contract import NOTHING, Changes, Question, Row
from numberline.store.memory import TOP, BlockKey, Heads, Memory, Offers, own_version, version_of
from numberline.store.schema import (
    OPEN_BLOCKS,
    access_revision,
    block,
    catalog_revision,
    charge,
    idempotency,
    rental,
)
from numberline.store.statements import Statement, insert_into, select_all, within
from numberline.store.stock import BLOCK_COLUMNS, SAVE_BLOCKS, StockQuestions, block_rows, to_block

_FIRST_PICK = 2
_PICKS_PER_LOOK = 4

Blocks = dict[BlockKey, Block]


class Shortage(msgspec.Struct, frozen=True):
    """The offers of which too little was found without waiting for others."""

    offers: frozenset[Offers]


_READ_REVISIONS = Statement(
    select(catalog_revision.c.revision, access_revision.c.revision, own_version()).join(
        access_revision, access_revision.c.id == catalog_revision.c.id
    )
)
_LOCKED_COLUMNS = (*BLOCK_COLUMNS, version_of(block))
_VERSION_AT: Final = len(BLOCK_COLUMNS)
_PICKED_BLOCKS = Statement(
    select(*_LOCKED_COLUMNS)
    .where(block.c.offer_id == bindparam("offer"), block.c.is_open, block.c.prefix <= bindparam("head"))
    .order_by(block.c.prefix.desc())
    .limit(bindparam("at_most", type_=BigInteger))
    .with_for_update(skip_locked=True),
    # By the table itself SQLite would go through all thousands that are sold out.
    sqlite_index=OPEN_BLOCKS,
)
_PATIENT_BLOCKS = Statement(
    select(*_LOCKED_COLUMNS)
    .where(or_(within(block.c.offer_id, "offer_ids") & block.c.is_open, within(block.c.prefix, "prefixes")))
    .order_by(block.c.offer_id, block.c.prefix.desc())
    .with_for_update()
)
_OWNERS = Statement(
    select(rental.c.number, rental.c.account_id).where(
        within(rental.c.number, "numbers"), rental.c.detached_at.is_(None)
    )
)
_ANSWERS = Statement(
    select_all(idempotency).where(
        within(idempotency.c.account_id, "account_ids"), within(idempotency.c.key, "keys", of_text=True)
    )
)
_INSERT_RENTAL = insert_into(rental)
_INSERT_CHARGE = insert_into(charge)
_INSERT_ANSWER = insert_into(idempotency)


class SaleQuestions(AccountQuestions, CatalogQuestions, StockQuestions):
    """Selling."""

    async def lock_for_sale(
        self, needs: Needs, patient: frozenset[Offers], memory: Memory
    ) -> WorkingSet | Shortage:
        """Lock and load what a batch needs, waiting for all that is left of the `patient` offers.

        The `memory` knows where to look first, and is told what was seen. A Shortage: too little of some other offers
        was found without waiting; roll back and be patient with them too.
        """
        memory.see_anew()
        account_ids = await self.lock_wallets(needs.account_ids)
        blocks = await self._lock_all_of(patient, needs.numbers, memory)
        wanted = {offers: count for offers, count in needs.wanted.items() if offers not in patient}
        buyers, [(catalog, access, version)], *looks = await self.connection.fetch_each(
            (READ_BUYERS, account_ids),
            (_READ_REVISIONS, NOTHING),
            *(_first_look(offers, count, needs, memory.heads) for offers, count in wanted.items() if offers),
        )
        memory.see_buyers(buyers, version)
        short = await self._pick_all(wanted, needs, looks, blocks, memory)
        # Each look is patient with more offers than the last, so there is a last one.
        assert not short & patient, "a patient look has found all there is"
        if short:
            return Shortage(patient | short)
        return WorkingSet(
            catalog_revision=catalog,
            access_revision=access,
            buyers=await self.to_buyers(buyers, needs.verifications),
            blocks=blocks,
            owners=await self._find_owners(needs.numbers),
            addresses=await self.find_addresses(needs.address_ids),
            answers=await self._find_answers(needs.answer_keys),
            rental_ids=iter(await self.connection.reserve_ids("rental", needs.rentals)),
            movement_ids=iter(await self.connection.reserve_ids("movement", needs.movements)),
        )

    async def save(self, effects: Effects) -> None:
        """Write what a batch decided."""
        await self.connection.write_rows(*changes_of(effects))

    async def _lock_all_of(
        self, offers: frozenset[Offers], numbers: Collection[int], memory: Memory
    ) -> Blocks:
        """The locks that may have to be waited for, all in one order: before those that nobody waits for."""
        offer_ids = sorted({offer_id for some in offers for offer_id in some})
        prefixes = sorted({block_of(number) for number in numbers})
        if not offer_ids and not prefixes:
            return {}
        values = {"offer_ids": offer_ids, "prefixes": prefixes}
        return _by_key(_locked(await self.connection.fetch(_PATIENT_BLOCKS, values), memory))

    async def _pick_all(
        self,
        wanted: Mapping[Offers, int],
        needs: Needs,
        looks: Sequence[Sequence[Row]],
        blocks: Blocks,
        memory: Memory,
    ) -> set[Offers]:
        """Add enough blocks for all that is wanted, the first looks having been taken; returns what too few are of."""
        short, taken = set(), iter(looks)
        for offers, count in wanted.items():
            first = next(taken) if offers else ()
            picked = await self._pick(offers, count + len(needs.numbers), first, memory)
            blocks |= _by_key(picked or ())
            short |= set() if picked else {offers}
        return short

    async def _pick(
        self, offer_ids: Offers, count: int, first: Sequence[Row], memory: Memory
    ) -> list[Block] | None:
        """Lock enough blocks of some offers for `count` numbers, cheapest offer first; None when there seem too few."""
        picked: list[Block] = []
        look: Sequence[Row] | None = first
        for offer_id in offer_ids:
            found = await self._pick_from(offer_id, count, look, memory)
            memory.heads.note(offer_id, found)
            look = None
            picked += found
            count -= sum(one.free_count for one in found)
            if count <= 0:
                return picked
        return None

    async def _pick_from(
        self, offer_id: int, count: int, look: Sequence[Row] | None, memory: Memory
    ) -> list[Block]:
        head, at_most = memory.heads.of(offer_id), _blocks_for(count)
        while True:
            if look is None:
                values = {"offer": offer_id, "head": head, "at_most": at_most}
                look = await self.connection.fetch(_PICKED_BLOCKS, values)
            found = _locked(look, memory)
            is_all = len(found) < at_most and head == TOP
            if is_all or sum(one.free_count for one in found) >= count:
                return found
            if len(found) == at_most:
                at_most *= _PICKS_PER_LOOK
            else:
                head = TOP
            look = None

    async def _find_owners(self, numbers: Collection[int]) -> dict[int, int]:
        if not numbers:
            return {}
        rows = await self.connection.fetch(_OWNERS, {"numbers": sorted(numbers)})
        return {row[0]: row[1] for row in rows}

    async def _find_answers(self, keys: Collection[AnswerKey]) -> dict[AnswerKey, StoredAnswer]:
        if not keys:
            return {}
        values = {
            "account_ids": sorted({key.account_id for key in keys}),
            "keys": sorted({key.key for key in keys}),
        }
        rows = await self.connection.fetch(_ANSWERS, values)
        return {AnswerKey(row[0], row[1], row[2]): _to_answer(row) for row in rows}


def _to_answer(row: Row) -> StoredAnswer:
    return StoredAnswer(bytes(row[3]), bytes(row[4]), from_micros(row[5]), row[6])


def changes_of(effects: Effects) -> list[Changes]:
    """What a batch decided, as changes of rows."""
    return [
        (SAVE_BLOCKS, block_rows(effects.blocks.values())),
        (CHANGE_WALLETS, wallet_rows(effects.wallets)),
        (_INSERT_RENTAL, [_rental_row(found) for found in effects.rentals]),
        (INSERT_MOVEMENTS, movement_rows(effects.movements)),
        (INSERT_POSTINGS, posting_rows(effects.movements)),
        (_INSERT_CHARGE, [_charge_row(found) for found in effects.charges]),
        (_INSERT_ANSWER, [_answer_row(key, answer) for key, answer in effects.answers.items()]),
    ]


def _locked(rows: Sequence[Row], memory: Memory) -> list[Block]:
    """The blocks of rows with `_LOCKED_COLUMNS`."""
    found = [to_block(row) for row in rows]
    memory.see_blocks(found, [row[_VERSION_AT] for row in rows])
    return found


def _first_look(offers: Offers, count: int, needs: Needs, heads: Heads) -> Question:
    # Numbers that others of the batch buy exactly may be the ones that are found here.
    at_most = _blocks_for(count + len(needs.numbers))
    return _PICKED_BLOCKS, {"offer": offers[0], "head": heads.of(offers[0]), "at_most": at_most}


def _blocks_for(count: int) -> int:
    return _FIRST_PICK + count // BLOCK_SIZE


def _by_key(blocks: Iterable[Block]) -> Blocks:
    return {(one.offer_id, one.prefix): one for one in blocks}


# Rows are in the order of their table's columns.


def _rental_row(found: Rental) -> tuple[object, ...]:
    return (
        found.id,
        found.number,
        found.account_id,
        found.offer_id,
        found.region_id,
        to_micros(found.purchased_at),
        found.renews_on.isoformat(),
        found.anchor_day,
        found.fee_micros,
        found.tax_micros,
        found.is_frozen,
        found.is_canceled,
        found.auto_charge,
        found.unverified_until.isoformat() if found.unverified_until else None,
        found.verification,
        found.regulation_address_id,
        to_micros(found.modified_at),
        None,
    )


def _charge_row(found: Charge) -> tuple[object, ...]:
    period_on = found.period_on.isoformat()
    return found.rental_id, period_on, found.account_id, found.fee_micros, found.tax_micros, found.status


def _answer_row(key: AnswerKey, answer: StoredAnswer) -> tuple[object, ...]:
    answered_at = to_micros(answer.answered_at)
    return (
        key.account_id,
        key.method,
        key.key,
        answer.fingerprint,
        answer.body,
        answered_at,
        answer.movement_id,
    )
