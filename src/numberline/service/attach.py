"""Attach phone numbers to the calling account."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date

import msgspec

from numberline.domain import attach, errors
from numberline.domain.attach import Attached, AttachOrder, Plan, Terms
from numberline.domain.catalog import Catalog
from numberline.domain.errors import Refusal
from numberline.domain.working_set import AnswerKey, Needs, StoredAnswer, WorkingSet
from numberline.service.context import Call, IdempotencyKey

__all__ = ["AttachAtDesk", "AttachOrder", "AttachTicket", "AttachedNumber", "Render", "attach_numbers"]


class AttachedNumber(msgspec.Struct, frozen=True):
    """A number just bought, with the verification it still waits for, if any."""

    number: int
    required_verification: str | None = None
    verification_status: str | None = None
    unverified_until: date | None = None


Render = Callable[[Sequence[AttachedNumber]], bytes]


def attach_numbers(call: Call, order: AttachOrder, render: Render) -> AttachAtDesk:
    """What buys numbers for the calling account at the desk, all or none; see `domain.attach` for the rules and refusals.

    `render` writes the answer's body, which is stored beside its effect when the caller gave an idempotency key.
    """
    services, policy = call.services, call.services.policy
    terms = Terms(
        account_id=call.caller.account.id,
        actor=call.caller.actor,
        now=services.clock.now(),
        unverified_hold_days=policy.unverified_hold_days,
        attach_count_max=policy.attach_count_max,
    )
    ticket = AttachTicket(
        order=order,
        terms=terms,
        promise=call.idempotency,
        access_revision=call.caller.remembered_at,
    )
    return AttachAtDesk(ticket, render)


class AttachTicket(msgspec.Struct, frozen=True, kw_only=True, tag="attach", array_like=True):
    """An order to attach as it was given, by whom and under which promise; see `Order.access_revision`."""

    order: AttachOrder
    terms: Terms
    promise: IdempotencyKey | None
    access_revision: int | None


class AttachAtDesk:
    """An order on its way over the desk."""

    def __init__(self, ticket: AttachTicket, render: Render) -> None:
        self.ticket = ticket
        self.access_revision = ticket.access_revision
        self._order = ticket.order
        self._terms = ticket.terms
        self._promise = ticket.promise
        self._render = render
        self._plan: Plan | Refusal | None = None

    def needs(self, catalog: Catalog) -> Needs:
        """What must be locked and loaded."""
        key = self._answer_key()
        try:
            self._plan = attach.plan(self._order, catalog, self._terms)
        except Refusal as refusal:
            if key is None:
                raise
            # The same promise may have been answered while the catalogue was another one.
            self._plan = refusal
            return Needs(account_ids={self._terms.account_id}, answer_keys={key})
        needed = attach.needs(self._plan, catalog, self._terms)
        if key is not None:
            needed.answer_keys.add(key)
        return needed

    def decide(self, world: WorkingSet, catalog: Catalog) -> bytes:
        """Buy, or repeat the answer that the same promise got before."""
        assert self._plan is not None, "needs come before decisions"
        key = self._answer_key()
        if key is not None and (earlier := world.answers.get(key)) is not None:
            return self._repeat(earlier)
        if isinstance(self._plan, Refusal):
            raise self._plan
        body = self._render([_view(sold) for sold in attach.decide(self._plan, world, catalog, self._terms)])
        if key is not None and self._promise is not None:
            movement_id = world.effects.movements[-1].id
            world.keep(key, StoredAnswer(self._promise.fingerprint, body, self._terms.now, movement_id))
        return body

    def _repeat(self, earlier: StoredAnswer) -> bytes:
        assert self._promise is not None, "only a promise has an earlier answer"
        if earlier.fingerprint != self._promise.fingerprint:
            raise Refusal(errors.VALUE_NOT_UNIQUE, parameter="Idempotency-Key")
        return earlier.body

    def _answer_key(self) -> AnswerKey | None:
        if self._promise is None:
            return None
        return AnswerKey(self._terms.account_id, self._promise.method, self._promise.key)


def _view(sold: Attached) -> AttachedNumber:
    if sold.pending is None:
        return AttachedNumber(sold.number)
    return AttachedNumber(sold.number, sold.pending.name, sold.pending.status, sold.pending.until)
