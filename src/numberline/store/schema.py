"""The tables, for both engines; the comments say what each column promises.

Instants are whole microseconds since 1970 (UTC), days are ISO text, money is micros of the account's currency.
Constraint names are part of the contract: `store.errors` maps each to the refusal it stands for.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    text,
)

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "ix": "ix_%(table_name)s_%(column_0_name)s",
    }
)

# SQLite numbers rows by itself only in a column declared INTEGER, hence no BigInteger primary keys there.
Id = BigInteger().with_variant(Integer, "sqlite")

# --- the catalogue ---------------------------------------------------------------------------------------------

country = Table(
    "country",
    metadata,
    Column("code", Text, nullable=False),
    Column("calling_code", Text, nullable=False),
    Column("name_en", Text, nullable=False),
    Column("name_ru", Text, nullable=False),
    PrimaryKeyConstraint("code"),
)

state = Table(
    "state",
    metadata,
    Column("country_code", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("name_en", Text, nullable=False),
    PrimaryKeyConstraint("country_code", "code"),
)

region = Table(
    "region",
    metadata,
    Column("id", Id, nullable=False, autoincrement=False),
    Column("country_code", Text, nullable=False),
    Column("category", Text, nullable=False),
    Column("state_code", Text, nullable=False, comment="empty where the country is not sold by state"),
    Column("area_code", Text, nullable=False),
    Column("name_en", Text, nullable=False),
    Column("name_ru", Text, nullable=False),
    PrimaryKeyConstraint("id"),
)

price = Table(
    "price",
    metadata,
    Column("country_code", Text, nullable=False, comment="`*` is any"),
    Column("category", Text, nullable=False, comment="`*` is any"),
    Column("region_id", Id, nullable=False, comment="0 is any"),
    Column("tier", Text, nullable=False),
    Column("currency", Text, nullable=False),
    Column("monthly_micros", BigInteger, nullable=False),
    Column("setup_micros", BigInteger, nullable=False),
    PrimaryKeyConstraint("country_code", "category", "region_id", "tier"),
    CheckConstraint("monthly_micros >= 0 AND setup_micros >= 0", name="not_negative"),
)

rule = Table(
    "rule",
    metadata,
    Column("country_code", Text, nullable=False, comment="`*` is any"),
    Column("category", Text, nullable=False, comment="`*` is any"),
    Column("region_id", Id, nullable=False, comment="0 is any"),
    Column("can_list", Boolean, nullable=False),
    Column("can_buy_by_number", Boolean, nullable=False),
    Column("sms", Boolean, nullable=False),
    Column("regulation_address", Text, nullable=False, comment="empty, LOCAL, NATIONAL or WORLDWIDE"),
    Column("verification", Text, nullable=False, comment="empty or the name of a verification, such as RU"),
    Column("sandbox", Boolean, nullable=False),
    Column("emergency_calls", Boolean, nullable=False),
    PrimaryKeyConstraint("country_code", "category", "region_id"),
)

tax_rate = Table(
    "tax_rate",
    metadata,
    Column("billing_country", Text, nullable=False),
    Column("rate_ppm", Integer, nullable=False, comment="parts of a million: 20 % is 200000"),
    PrimaryKeyConstraint("billing_country"),
    CheckConstraint("rate_ppm >= 0 AND rate_ppm <= 1000000", name="rate"),
)

currency_rate = Table(
    "currency_rate",
    metadata,
    Column("currency", Text, nullable=False),
    Column("per_usd_micros", BigInteger, nullable=False, comment="what one US dollar costs in this currency"),
    PrimaryKeyConstraint("currency"),
    CheckConstraint("per_usd_micros > 0", name="positive"),
)

catalog_revision = Table(
    "catalog_revision",
    metadata,
    Column("id", Integer, nullable=False, autoincrement=False),
    Column(
        "revision",
        BigInteger,
        nullable=False,
        comment="rises with every change of the catalogue or the offers",
    ),
    PrimaryKeyConstraint("id"),
    CheckConstraint("id = 1", name="single_row"),
)

# --- the stock -------------------------------------------------------------------------------------------------

offer = Table(
    "offer",
    metadata,
    Column("id", Id, nullable=False, autoincrement=False),
    Column("region_id", Id, nullable=False),
    Column("tier", Text, nullable=False, comment="price tier within the region; empty is the ordinary one"),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("region_id", "tier", name="uq_offer_position"),
    ForeignKeyConstraint(["region_id"], ["region.id"]),
)

# Columns that change with each sale stand in no index and no index predicate, so that PostgreSQL updates the
# row in place (HOT); `is_open` flips only when a block runs empty or refills. SQLite keeps the rows in the order of
# their key, so that the blocks of an offer lie together.
block = Table(
    "block",
    metadata,
    Column("offer_id", Id, nullable=False),
    Column("prefix", BigInteger, nullable=False, comment="the number without its last three digits"),
    Column(
        "stocked_count",
        SmallInteger,
        nullable=False,
        comment="numbers of this block that belong to the offer",
    ),
    Column("free_count", SmallInteger, nullable=False, comment="set bits of free_map"),
    Column(
        "free_map",
        LargeBinary,
        nullable=True,
        comment="edges or 1000 bits, see domain.blocks.pack; absent: all thousand free",
    ),
    Column("is_open", Boolean, nullable=False, comment="free_count > 0"),
    PrimaryKeyConstraint("offer_id", "prefix"),
    ForeignKeyConstraint(["offer_id"], ["offer.id"]),
    CheckConstraint(
        "free_count >= 0 AND free_count <= stocked_count AND stocked_count <= 1000", name="counts"
    ),
    CheckConstraint("is_open = (free_count > 0)", name="open"),
    Index("ix_block_prefix", "prefix"),
    Index(
        "ix_block_open",
        "offer_id",
        "prefix",
        postgresql_where=text("is_open"),
        # SQLite uses a partial index only where a query repeats its predicate word for word.
        sqlite_where=text("is_open = 1"),
    ),
    postgresql_with={"fillfactor": "90"},
    sqlite_with_rowid=False,
)
OPEN_BLOCKS: Final = next(index for index in block.indexes if index.name == "ix_block_open")

# Ids are handed out in ranges, so that nobody waits for anybody else's transaction to learn the next one.
id_range = Table(
    "id_range",
    metadata,
    Column("name", Text, nullable=False, comment="account, address, movement, offer or rental"),
    Column("next_id", BigInteger, nullable=False),
    PrimaryKeyConstraint("name"),
)

# --- accounts and access ---------------------------------------------------------------------------------------

account = Table(
    "account",
    metadata,
    Column("id", Id, nullable=False, autoincrement=False),
    Column("parent_id", Id, nullable=True),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("currency", Text, nullable=False, comment="ISO 4217"),
    Column("billing_country", Text, nullable=False, comment="empty until the billing address is known"),
    Column("is_active", Boolean, nullable=False),
    Column("is_frozen", Boolean, nullable=False),
    Column("api_key_hash", LargeBinary, nullable=True, comment="SHA-256 of the API key"),
    Column("profile", LargeBinary, nullable=False, comment="JSON of domain.account.Profile"),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("id"),
    UniqueConstraint("name", name="uq_account_name"),
    UniqueConstraint("email", name="uq_account_email"),
    ForeignKeyConstraint(["parent_id"], ["account.id"], name="fk_account_parent"),
    Index("ix_account_parent_id", "parent_id"),
)

wallet = Table(
    "wallet",
    metadata,
    Column("account_id", Id, nullable=False),
    Column("funds_micros", BigInteger, nullable=False, comment="money that is neither spent nor held"),
    Column("held_micros", BigInteger, nullable=False, comment="sum of the account's held charges"),
    Column("credit_limit_micros", BigInteger, nullable=False),
    Column("rental_count", Integer, nullable=False, comment="live rentals"),
    Column("rental_limit", Integer, nullable=True, comment="absent: no limit"),
    PrimaryKeyConstraint("account_id"),
    ForeignKeyConstraint(["account_id"], ["account.id"]),
    CheckConstraint("funds_micros + credit_limit_micros >= 0", name="no_overdraft"),
    CheckConstraint("held_micros >= 0", name="held_not_negative"),
    CheckConstraint("credit_limit_micros >= 0", name="credit_not_negative"),
    CheckConstraint("rental_count >= 0", name="count_not_negative"),
    CheckConstraint("rental_limit IS NULL OR rental_count <= rental_limit", name="rental_limit"),
    postgresql_with={"fillfactor": "70"},
)

access_key = Table(
    "access_key",
    metadata,
    Column("id", Text, nullable=False, comment="the token's kid"),
    Column("account_id", Id, nullable=False),
    Column("public_key_pem", LargeBinary, nullable=False),
    Column("description", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("id"),
    ForeignKeyConstraint(["account_id"], ["account.id"]),
    Index("ix_access_key_account_id", "account_id"),
)

# Raised by triggers of the database (migration 0005), within the transaction that changes something. That of a sale
# compares it with the one its caller was remembered from.
access_revision = Table(
    "access_revision",
    metadata,
    Column("id", Integer, nullable=False, autoincrement=False),
    Column(
        "revision",
        BigInteger,
        nullable=False,
        comment="rises with every change of keys, roles and what admits an account",
    ),
    PrimaryKeyConstraint("id"),
    CheckConstraint("id = 1", name="single_row"),
)

# The triggers, by table and what happens to its rows.
ACCESS_TRIGGERS: Final = tuple(
    f"{table}_{what}_is_seen"
    for table, changes in (
        ("account", ("update", "delete")),
        ("access_key", ("insert", "update", "delete")),
        ("key_role", ("insert", "update", "delete")),
    )
    for what in changes
)

key_role = Table(
    "key_role",
    metadata,
    Column("key_id", Text, nullable=False),
    Column("role", Text, nullable=False),
    PrimaryKeyConstraint("key_id", "role"),
    ForeignKeyConstraint(["key_id"], ["access_key.id"], ondelete="CASCADE"),
)

verification = Table(
    "verification",
    metadata,
    Column("account_id", Id, nullable=False),
    Column("name", Text, nullable=False, comment="such as RU"),
    Column("status", Text, nullable=False, comment="REQUIRED, IN_PROGRESS or VERIFIED"),
    Column("lapsed_on", Text, nullable=True, comment="the day a hold ran out unverified, once it has"),
    PrimaryKeyConstraint("account_id", "name"),
    ForeignKeyConstraint(["account_id"], ["account.id"]),
    CheckConstraint("status IN ('REQUIRED', 'IN_PROGRESS', 'VERIFIED')", name="status"),
)

regulation_address = Table(
    "regulation_address",
    metadata,
    Column("id", Id, nullable=False, autoincrement=False),
    Column("account_id", Id, nullable=False),
    Column("country_code", Text, nullable=False, comment="country whose numbers it serves"),
    Column("category", Text, nullable=False),
    Column("area_code", Text, nullable=False, comment="empty unless the address serves one local region"),
    Column("status", Text, nullable=False, comment="IN_PROGRESS, PENDING, VERIFIED or DECLINED"),
    Column("details", LargeBinary, nullable=False, comment="JSON of domain.regulation.AddressDetails"),
    Column("created_at", BigInteger, nullable=False),
    PrimaryKeyConstraint("id"),
    ForeignKeyConstraint(["account_id"], ["account.id"]),
    CheckConstraint("status IN ('IN_PROGRESS', 'PENDING', 'VERIFIED', 'DECLINED')", name="status"),
    Index("ix_regulation_address_account_id", "account_id"),
)

# --- rentals and the books -------------------------------------------------------------------------------------

# Every purchase adds to these. Where the parent of a row is certain, because the transaction has locked it or adds it
# itself, no reference is declared, since checking them costs as much as writing the rows; the auditor checks them all.
rental = Table(
    "rental",
    metadata,
    Column("id", Id, nullable=False, autoincrement=False),
    Column("number", BigInteger, nullable=False),
    Column("account_id", Id, nullable=False),
    Column("offer_id", Id, nullable=False),
    Column("region_id", Id, nullable=False),
    Column("purchased_at", BigInteger, nullable=False),
    Column("renews_on", Text, nullable=False, comment="the day the next period begins"),
    Column("anchor_day", SmallInteger, nullable=False, comment="day of the month of the purchase, 1..31"),
    Column(
        "fee_micros", BigInteger, nullable=False, comment="monthly, in the account's currency, without tax"
    ),
    Column("tax_micros", BigInteger, nullable=False, comment="monthly tax reserve"),
    Column("is_frozen", Boolean, nullable=False),
    Column("is_canceled", Boolean, nullable=False),
    Column("auto_charge", Boolean, nullable=False),
    Column(
        "unverified_until",
        Text,
        nullable=True,
        comment="taken away on this day unless the account is verified",
    ),
    Column(
        "verification", Text, nullable=False, comment="empty, or the verification the number's region demands"
    ),
    Column("regulation_address_id", Id, nullable=True),
    Column("modified_at", BigInteger, nullable=False),
    Column(
        "detached_at", BigInteger, nullable=True, comment="absent while the number belongs to the account"
    ),
    PrimaryKeyConstraint("id"),
    ForeignKeyConstraint(["regulation_address_id"], ["regulation_address.id"], name="fk_rental_address"),
    CheckConstraint("anchor_day BETWEEN 1 AND 31", name="anchor_day"),
    # One owner per number.
    Index(
        "uq_rental_number",
        "number",
        unique=True,
        postgresql_where=text("detached_at IS NULL"),
        sqlite_where=text("detached_at IS NULL"),
    ),
    # What an account rents, in the order in which it is listed unless another one is asked for.
    Index(
        "ix_rental_account_purchased",
        "account_id",
        "purchased_at",
        "number",
        postgresql_where=text("detached_at IS NULL"),
        sqlite_where=text("detached_at IS NULL"),
    ),
)
RENTED_NUMBERS: Final = next(index for index in rental.indexes if index.name == "uq_rental_number")

movement = Table(
    "movement",
    metadata,
    Column("id", Id, nullable=False, autoincrement=False),
    Column("account_id", Id, nullable=False),
    Column("kind", Text, nullable=False, comment="purchase or credit"),
    Column("currency", Text, nullable=False),
    Column("moved_at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False, comment="the credential that did it"),
    Column("note", Text, nullable=False),
    PrimaryKeyConstraint("id"),
    Index("ix_movement_account_id", "account_id", "id"),
)

posting = Table(
    "posting",
    metadata,
    Column("movement_id", Id, nullable=False),
    Column("position", SmallInteger, nullable=False),
    Column("book", Text, nullable=False, comment="funds, held, sales, tax or cash"),
    Column("purpose", Text, nullable=False, comment="setup, setup_tax, month, month_tax or credit"),
    Column("rental_id", Id, nullable=True),
    Column("amount_micros", BigInteger, nullable=False, comment="a movement's postings sum to zero"),
    PrimaryKeyConstraint("movement_id", "position"),
    CheckConstraint("book IN ('funds', 'held', 'sales', 'tax', 'cash')", name="book"),
    CheckConstraint("amount_micros <> 0", name="not_zero"),
)

charge = Table(
    "charge",
    metadata,
    Column("rental_id", Id, nullable=False),
    Column("period_on", Text, nullable=False, comment="first day of the period paid for"),
    Column("account_id", Id, nullable=False),
    Column("fee_micros", BigInteger, nullable=False),
    Column("tax_micros", BigInteger, nullable=False),
    Column("status", Text, nullable=False, comment="held, posted or voided"),
    # One charge per rental and period.
    PrimaryKeyConstraint("rental_id", "period_on"),
    CheckConstraint("status IN ('held', 'posted', 'voided')", name="status"),
    CheckConstraint("fee_micros >= 0 AND tax_micros >= 0", name="not_negative"),
)

idempotency = Table(
    "idempotency",
    metadata,
    Column("account_id", Id, nullable=False),
    Column("method", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("fingerprint", LargeBinary, nullable=False, comment="SHA-256 of the request as it was understood"),
    Column("answer", LargeBinary, nullable=False, comment="the body that was sent"),
    Column("answered_at", BigInteger, nullable=False),
    Column("movement_id", Id, nullable=False, comment="the effect, written in the same transaction"),
    # One answer per key.
    PrimaryKeyConstraint("account_id", "method", "key"),
)
