"""What crosses between the doors and the desk arrives as what it was, however the stream is cut."""

from __future__ import annotations

import hashlib
import logging
import re
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numberline.domain import errors
from numberline.domain.attach import AttachOrder, Terms
from numberline.domain.errors import ErrorKind, Refusal
from numberline.doors.desk.messages import (
    Answers,
    DeskFailed,
    Failed,
    Frames,
    Refused,
    Ticket,
    put_together,
    read_answers,
    read_orders,
    take_apart,
    write_answers,
    write_orders,
)
from numberline.service.attach import AttachTicket
from numberline.service.context import IdempotencyKey
from numberline.service.desk import CallerOutdated, Served
from numberline.store.errors import (
    CommitUnknown,
    ConstraintViolated,
    LockNotFree,
    StoreBusy,
    StoreError,
    StoreUnavailable,
)

TERMS: Final = Terms(
    account_id=2**53 - 1,
    actor="key:Нора",
    now=datetime(2026, 3, 29, 1, 59, 59, 123_457, tzinfo=UTC),
    unverified_hold_days=14,
    attach_count_max=100,
)
FULL: Final = AttachTicket(
    order=AttachOrder(
        country="US",
        category="local",
        region_id=2**53 - 1,
        state="CA",
        count=7,
        numbers=[15552850126, 999_999_999_999_999],
        regulation_address_id=3,
        force_verification=False,
    ),
    terms=TERMS,
    promise=IdempotencyKey("AttachPhoneNumber", "key ~!", hashlib.sha256(b"").digest()),
    access_revision=2**53,
)
BARE: Final = AttachTicket(order=AttachOrder(), terms=TERMS, promise=None, access_revision=None)
KINDS: Final = {name: value for name, value in vars(errors).items() if isinstance(value, ErrorKind)}


def message_of(frame: bytes) -> bytes:
    [message] = Frames().take_in(frame)
    return message


def crossed(told: bytes | Refused | Failed) -> bytes | Refused | Failed:
    """What the other side is told."""
    frame = write_answers(Answers([(7, told)], []))
    [(number, arrived)] = read_answers(message_of(frame)).answers
    assert number == 7
    return arrived


def met_with(reason: BaseException) -> Exception:
    """The exception that the other side meets with."""
    arrived = crossed(take_apart(reason))
    assert not isinstance(arrived, bytes)
    return put_together(arrived)


# Orders.


def test_orders_arrive_whole_and_under_their_numbers() -> None:
    orders: list[tuple[int, msgspec.Struct]] = [(0, FULL), (2**40, BARE)]
    arrived: list[tuple[int, Ticket]] = read_orders(message_of(write_orders(orders)))
    assert arrived == orders
    assert arrived[0][1].terms.now.tzinfo is UTC
    assert arrived[0][1].order.force_verification is False


def test_the_full_order_leaves_no_field_out() -> None:
    given = msgspec.structs.asdict(FULL.order)
    assert all(given[name] is not None for name in AttachOrder.__struct_fields__)


moments = st.datetimes(datetime(2000, 1, 1), datetime(2200, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - they get their zone


@given(moments)
def test_a_moment_keeps_its_microseconds(now: datetime) -> None:
    ticket = msgspec.structs.replace(BARE, terms=msgspec.structs.replace(TERMS, now=now))
    [(_, arrived)] = read_orders(message_of(write_orders([(1, ticket)])))
    assert arrived.terms.now == now
    assert arrived.terms.now.utcoffset() == now.utcoffset()


# Answers.


@pytest.mark.parametrize("body", [b"", b'{"result":1}', bytes(range(256)) * 1_000])
def test_a_body_arrives_as_it_was(body: bytes) -> None:
    assert crossed(body) == body


def test_what_a_batch_was_like_arrives_beside_the_answers() -> None:
    served = [Served([0.25, 0.5], 3), Served([], 0)]
    assert read_answers(message_of(write_answers(Answers([], served)))) == Answers([], served)


REFUSALS: Final = [
    Refusal(errors.NO_STOCK),
    Refusal(errors.LESS_STOCK, left=3),
    Refusal(errors.INVALID_COUNT, limit=100),
    Refusal(errors.NUMBER_TAKEN, number=999_999_999_999_999),
    Refusal(errors.INSUFFICIENT_MONEY, needed="10.00", available="-0.01", currency="USD"),
    Refusal(errors.VERIFICATION_REQUIRED, verification="DE", details={"verification_name": "DE"}),
    Refusal(errors.VALUE_NOT_UNIQUE, parameter="Idempotency-Key"),
    Refusal(errors.INVALID, parameter="phone_id", details={}),
]


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda refusal: refusal.kind.name)
def test_a_refusal_arrives_with_all_that_is_told_of_it(refusal: Refusal) -> None:
    arrived = met_with(refusal)
    assert isinstance(arrived, Refusal)
    assert (arrived.kind, arrived.parameter, arrived.details, arrived.values, arrived.sentence) == (
        refusal.kind,
        refusal.parameter,
        refusal.details,
        refusal.values,
        refusal.sentence,
    )
    assert str(arrived) == str(refusal)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_refusal_is_found_in_a_declaration_after_its_way(name: str) -> None:
    kind = KINDS[name]
    values: dict[str, Any] = dict.fromkeys(re.findall(r"\{(\w+)\}", kind.sentence), "x")
    arrived = met_with(Refusal(kind, **values))
    assert isinstance(arrived, Refusal)
    assert {kind: "declared"}[arrived.kind] == "declared"
    assert arrived.sentence == Refusal(kind, **values).sentence


@pytest.mark.parametrize("kind", [StoreUnavailable, CommitUnknown, StoreBusy, LockNotFree, CallerOutdated])
def test_a_trouble_of_the_store_keeps_its_kind_and_is_no_defect(
    kind: type[StoreError], caplog: pytest.LogCaptureFixture
) -> None:
    arrived = met_with(kind("the disk is full"))
    assert (type(arrived), str(arrived)) == (kind, "the disk is full")
    assert caplog.records == []


@pytest.mark.parametrize("defect", [ZeroDivisionError("by nought"), ConstraintViolated("ck_block_counts")])
def test_a_defect_is_logged_where_it_is_and_told_by_name(
    defect: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, logger="numberline.doors.desk.messages"):
        told = take_apart(defect)
    [record] = caplog.records
    assert record.exc_info is not None
    assert record.exc_info[1] is defect
    caplog.clear()
    arrived = crossed(told)
    assert isinstance(arrived, Failed)
    failure = put_together(arrived)
    assert isinstance(failure, DeskFailed)
    assert str(failure) == f"{type(defect).__name__}: {defect}"
    assert caplog.records == [], "the other side has nothing to add"


# Frames.


@given(st.lists(st.binary(max_size=300), max_size=8), st.data())
def test_frames_come_together_again_wherever_the_stream_is_cut(
    bodies: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(write_answers(Answers([(place, body)], [])) for place, body in enumerate(bodies))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    frames = Frames()
    arrived = [
        read_answers(message)
        for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for message in frames.take_in(stream[begin:end])
    ]
    assert arrived == [Answers([(place, body)], []) for place, body in enumerate(bodies)]


def test_a_message_is_given_out_as_soon_as_it_is_whole() -> None:
    frame = write_orders([(1, BARE)])
    frames = Frames()
    assert [list(frames.take_in(frame[place : place + 1])) for place in range(len(frame) - 1)] == [[]] * (
        len(frame) - 1
    )
    [message] = frames.take_in(frame[-1:] + frame[:5])
    assert read_orders(message) == [(1, BARE)]
    [again] = frames.take_in(frame[5:])
    assert again == message
