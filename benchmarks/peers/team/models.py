"""The tables."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import BigInteger, CheckConstraint, DateTime, ForeignKey, Identity, Index, text
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship


class Base(DeclarativeBase):
    """All tables."""

    type_annotation_map = {int: BigInteger, datetime: DateTime(timezone=True)}  # noqa: RUF012 - SQLAlchemy reads it


class Account(Base):
    __tablename__ = "account"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    is_active: Mapped[bool]
    currency: Mapped[str]
    billing_country: Mapped[str]


class AccessKey(Base):
    __tablename__ = "access_key"

    id: Mapped[str] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey(Account.id))
    public_key_pem: Mapped[str]
    account: Mapped[Account] = relationship(lazy="joined", innerjoin=True)


class Wallet(Base):
    __tablename__ = "wallet"
    __table_args__ = (CheckConstraint("funds_micros >= 0"),)

    account_id: Mapped[int] = mapped_column(ForeignKey(Account.id), primary_key=True)
    funds_micros: Mapped[int]
    held_micros: Mapped[int]


class Price(Base):
    __tablename__ = "price"

    country_code: Mapped[str] = mapped_column(primary_key=True)
    category: Mapped[str] = mapped_column(primary_key=True)
    region_id: Mapped[int] = mapped_column(primary_key=True)
    monthly_micros: Mapped[int]
    setup_micros: Mapped[int]


class TaxRate(Base):
    __tablename__ = "tax_rate"

    billing_country: Mapped[str] = mapped_column(primary_key=True)
    rate_ppm: Mapped[int]


class Number(Base):
    __tablename__ = "number"

    number: Mapped[int] = mapped_column(primary_key=True)
    region_id: Mapped[int]
    account_id: Mapped[int | None] = mapped_column(ForeignKey(Account.id))

    __table_args__ = (
        Index("ix_number_free", "region_id", "number", postgresql_where=text("account_id IS NULL")),
    )


class Rental(Base):
    __tablename__ = "rental"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    number: Mapped[int] = mapped_column(ForeignKey(Number.number), unique=True)
    account_id: Mapped[int] = mapped_column(ForeignKey(Account.id), index=True)
    purchased_at: Mapped[datetime]
    renews_on: Mapped[date]
    fee_micros: Mapped[int]
    tax_micros: Mapped[int]


class Movement(Base):
    __tablename__ = "movement"

    id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey(Account.id), index=True)
    kind: Mapped[str]
    currency: Mapped[str]
    moved_at: Mapped[datetime]
    actor: Mapped[str]
    postings: Mapped[list[Posting]] = relationship()


class Posting(Base):
    __tablename__ = "posting"

    movement_id: Mapped[int] = mapped_column(ForeignKey(Movement.id), primary_key=True)
    position: Mapped[int] = mapped_column(primary_key=True)
    book: Mapped[str]
    purpose: Mapped[str]
    rental_id: Mapped[int] = mapped_column(ForeignKey(Rental.id))
    amount_micros: Mapped[int]
    rental: Mapped[Rental] = relationship()


class Charge(Base):
    __tablename__ = "charge"

    rental_id: Mapped[int] = mapped_column(ForeignKey(Rental.id), primary_key=True)
    period_on: Mapped[date] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey(Account.id))
    fee_micros: Mapped[int]
    tax_micros: Mapped[int]
    status: Mapped[str]
    rental: Mapped[Rental] = relationship()
