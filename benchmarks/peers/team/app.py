"""The application: one endpoint that sells numbers."""

from __future__ import annotations

import calendar
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import FastAPI, Query, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from sqlalchemy import func, select

from benchmarks.peers.team.auth import Key
from benchmarks.peers.team.database import Session
from benchmarks.peers.team.errors import Refused
from benchmarks.peers.team.models import Charge, Movement, Number, Posting, Price, Rental, TaxRate, Wallet

app = FastAPI()


class AttachOrder(BaseModel):
    """What the caller asks for."""

    country_code: str
    phone_category_name: str
    phone_region_id: int
    phone_count: int = Field(default=1, ge=1, le=100)


class AttachedNumber(BaseModel):
    """A number that was sold."""

    phone_id: int
    phone_number: str


class Attached(BaseModel):
    """The answer."""

    result: int = 1
    phone_numbers: list[AttachedNumber]


@app.exception_handler(Refused)
async def refuse(_request: Request, refused: Refused) -> JSONResponse:
    """Answer with the error envelope."""
    return JSONResponse({"error": {"code": refused.code, "msg": str(refused)}})


@app.get("/healthz")
async def healthz() -> dict[str, Any]:
    """Say that the server is up."""
    return {"result": 1}


@app.post("/platform_api/AttachPhoneNumber")
async def attach_phone_number(order: Annotated[AttachOrder, Query()], key: Key, session: Session) -> Attached:
    """Sell free numbers of a region: all that are asked for, or none."""
    account = key.account
    # One question for both: an account whose country has no rate pays no tax.
    priced = (
        select(Price, func.coalesce(TaxRate.rate_ppm, 0))
        .outerjoin(TaxRate, TaxRate.billing_country == account.billing_country)
        .where(
            Price.country_code == order.country_code,
            Price.category == order.phone_category_name,
            Price.region_id == order.phone_region_id,
        )
    )
    found = (await session.execute(priced)).one_or_none()
    if found is None:
        raise Refused(246, "The region is not sold.")
    price, rate_ppm = found
    setup_tax = price.setup_micros * rate_ppm // 1_000_000
    month_tax = price.monthly_micros * rate_ppm // 1_000_000
    charged = (price.setup_micros + setup_tax) * order.phone_count
    held = (price.monthly_micros + month_tax) * order.phone_count

    wallet = await session.get_one(Wallet, account.id, with_for_update=True)
    if wallet.funds_micros < charged + held:
        raise Refused(127, "Insufficient funds.")
    free = (
        select(Number)
        .where(Number.region_id == order.phone_region_id, Number.account_id.is_(None))
        .order_by(Number.number)
        .limit(order.phone_count)
        .with_for_update(skip_locked=True)
    )
    numbers = (await session.scalars(free)).all()
    if len(numbers) < order.phone_count:
        raise Refused(251, "Not enough numbers.")

    now = datetime.now(UTC)
    wallet.funds_micros -= charged + held
    wallet.held_micros += held
    rentals = [
        Rental(
            number=number.number,
            account_id=account.id,
            purchased_at=now,
            renews_on=_next_month(now.date()),
            fee_micros=price.monthly_micros,
            tax_micros=month_tax,
        )
        for number in numbers
    ]
    for number in numbers:
        number.account_id = account.id
    for rental in rentals:
        session.add(_movement(rental, price, setup_tax, account.currency, now, key.id))
        session.add(
            Charge(
                rental=rental,
                period_on=now.date(),
                account_id=account.id,
                fee_micros=price.monthly_micros,
                tax_micros=month_tax,
                status="held",
            )
        )
    await session.commit()
    return Attached(
        phone_numbers=[AttachedNumber(phone_id=one.number, phone_number=str(one.number)) for one in numbers]
    )


def _movement(
    rental: Rental, price: Price, setup_tax: int, currency: str, now: datetime, key_id: str
) -> Movement:
    legs = [
        ("funds", "setup", -price.setup_micros),
        ("sales", "setup", price.setup_micros),
        ("funds", "setup_tax", -setup_tax),
        ("tax", "setup_tax", setup_tax),
        ("funds", "month", -price.monthly_micros - rental.tax_micros),
        ("held", "month", price.monthly_micros + rental.tax_micros),
    ]
    postings = [
        Posting(position=position, book=book, purpose=purpose, rental=rental, amount_micros=amount)
        for position, (book, purpose, amount) in enumerate(legs)
        if amount
    ]
    return Movement(
        account_id=rental.account_id,
        kind="purchase",
        currency=currency,
        moved_at=now,
        actor=f"key:{key_id}",
        postings=postings,
    )


def _next_month(day: date) -> date:
    year, month = (day.year + 1, 1) if day.month == 12 else (day.year, day.month + 1)
    return date(year, month, min(day.day, calendar.monthrange(year, month)[1]))
