"""What a batch of decisions works on: the accounts, blocks and answers it locked, and the effects it will write.

The store fills a `WorkingSet` from a `Needs` and saves the `Effects`; in between, decisions change it in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

import msgspec

from numberline.domain.access import Account
from numberline.domain.account import Wallet, WalletChange
from numberline.domain.blocks import Block
from numberline.domain.ledger import Charge, Movement
from numberline.domain.phone import block_of
from numberline.domain.regulation import RegulationAddress
from numberline.domain.rental import Rental
from numberline.domain.verification import Verification


class AnswerKey(msgspec.Struct, frozen=True):
    """Where an answer given under an idempotency key is kept."""

    account_id: int
    method: str
    key: str


class StoredAnswer(msgspec.Struct, frozen=True):
    """The one answer of an idempotency key: the request's fingerprint, the body sent, when, and its movement."""

    fingerprint: bytes
    body: bytes
    answered_at: datetime
    movement_id: int


class Needs(msgspec.Struct):
    """What a batch wants locked and loaded.

    `wanted`: how many numbers are to be picked from which offers together; `verifications`: whether how far the
    accounts are verified may matter; `rentals` and `movements`: how many ids to have ready at most.
    """

    account_ids: set[int] = msgspec.field(default_factory=set)
    numbers: set[int] = msgspec.field(default_factory=set)
    wanted: dict[tuple[int, ...], int] = msgspec.field(default_factory=dict)
    address_ids: set[int] = msgspec.field(default_factory=set)
    answer_keys: set[AnswerKey] = msgspec.field(default_factory=set)
    verifications: bool = False
    rentals: int = 0
    movements: int = 0

    def add(self, other: Needs) -> None:
        """Join the needs of one more request."""
        self.account_ids |= other.account_ids
        self.numbers |= other.numbers
        self.address_ids |= other.address_ids
        self.answer_keys |= other.answer_keys
        for offers, count in other.wanted.items():
            self.wanted[offers] = self.wanted.get(offers, 0) + count
        self.verifications |= other.verifications
        self.rentals += other.rentals
        self.movements += other.movements


class Buyer(msgspec.Struct):
    """An account that spends: identity, money, verifications, and its earliest open hold date by verification."""

    account: Account
    wallet: Wallet
    verifications: dict[str, Verification]
    open_holds: dict[str, date]

    def verification(self, name: str) -> Verification:
        """How far the account has come with a verification."""
        return self.verifications.get(name) or Verification(name)


class Effects(msgspec.Struct):
    """What a batch of decisions changes; wallets by account id."""

    blocks: dict[tuple[int, int], Block] = msgspec.field(default_factory=dict)
    wallets: dict[int, WalletChange] = msgspec.field(default_factory=dict)
    rentals: list[Rental] = msgspec.field(default_factory=list)
    movements: list[Movement] = msgspec.field(default_factory=list)
    charges: list[Charge] = msgspec.field(default_factory=list)
    answers: dict[AnswerKey, StoredAnswer] = msgspec.field(default_factory=dict)


class WorkingSet(msgspec.Struct, kw_only=True):
    """The locked part of the world, as the decisions of a batch find and leave it.

    `owners` tells who rents which of the numbers asked for. The revisions are those of the catalogue and of who may do
    what, by which the decisions hold.
    """

    catalog_revision: int
    access_revision: int
    buyers: dict[int, Buyer]
    blocks: dict[tuple[int, int], Block]
    owners: dict[int, int]
    addresses: dict[int, RegulationAddress]
    answers: dict[AnswerKey, StoredAnswer]
    rental_ids: Iterator[int]
    movement_ids: Iterator[int]
    effects: Effects = msgspec.field(default_factory=Effects)
    _by_offer: dict[int, list[Block]] = msgspec.field(default_factory=dict)
    _by_prefix: dict[int, list[Block]] = msgspec.field(default_factory=dict)

    def __post_init__(self) -> None:
        """Sort the blocks once for all the orders that look for some."""
        for block in sorted(self.blocks.values(), key=lambda one: -one.prefix):
            self._by_offer.setdefault(block.offer_id, []).append(block)
            self._by_prefix.setdefault(block.prefix, []).append(block)

    def blocks_of(self, offer_ids: tuple[int, ...]) -> list[Block]:
        """The loaded blocks of some offers: offers in the order given, each from its high end."""
        return [block for offer_id in offer_ids for block in self._by_offer.get(offer_id, ())]

    def block_with(self, number: int) -> Block | None:
        """The block in which a number is free, or None."""
        return next((block for block in self._by_prefix.get(block_of(number), ()) if block.has(number)), None)

    def attach(self, block: Block, rental: Rental, charge: Charge) -> None:
        """Record that a number was taken from its block for a new rental and its first charge."""
        block.take(rental.number)
        self.owners[rental.number] = rental.account_id
        self.effects.blocks[block.offer_id, block.prefix] = block
        self.effects.rentals.append(rental)
        self.effects.charges.append(charge)

    def record(self, movement: Movement, change: WalletChange) -> None:
        """Record a movement of a buyer's money, and what it has added to the wallet."""
        known = self.effects.wallets.get(movement.account_id)
        if known is None:
            self.effects.wallets[movement.account_id] = change
        else:
            known.add(change)
        self.effects.movements.append(movement)

    def keep(self, key: AnswerKey, answer: StoredAnswer) -> None:
        """Record the answer of an idempotency key."""
        self.answers[key] = answer
        self.effects.answers[key] = answer
