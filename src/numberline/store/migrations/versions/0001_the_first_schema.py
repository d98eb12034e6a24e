"""The first schema."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "account",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("parent_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False, comment="ISO 4217"),
        sa.Column(
            "billing_country", sa.Text(), nullable=False, comment="empty until the billing address is known"
        ),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("is_frozen", sa.Boolean(), nullable=False),
        sa.Column("api_key_hash", sa.LargeBinary(), nullable=True, comment="SHA-256 of the API key"),
        sa.Column("profile", sa.LargeBinary(), nullable=False, comment="JSON of domain.account.Profile"),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["parent_id"], ["account.id"], name="fk_account_parent"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("email", name="uq_account_email"),
        sa.UniqueConstraint("name", name="uq_account_name"),
    )
    op.create_index("ix_account_parent_id", "account", ["parent_id"], unique=False)
    op.create_table(
        "catalog_revision",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column(
            "revision",
            sa.BigInteger(),
            nullable=False,
            comment="rises with every change of the catalogue or the offers",
        ),
        sa.CheckConstraint("id = 1", name=op.f("ck_catalog_revision_single_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_catalog_revision")),
    )
    op.create_table(
        "country",
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("calling_code", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("name_ru", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("code", name=op.f("pk_country")),
    )
    op.create_table(
        "currency_rate",
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column(
            "per_usd_micros",
            sa.BigInteger(),
            nullable=False,
            comment="what one US dollar costs in this currency",
        ),
        sa.CheckConstraint("per_usd_micros > 0", name=op.f("ck_currency_rate_positive")),
        sa.PrimaryKeyConstraint("currency", name=op.f("pk_currency_rate")),
    )
    op.create_table(
        "id_range",
        sa.Column("name", sa.Text(), nullable=False, comment="account, address, movement, offer or rental"),
        sa.Column("next_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_id_range")),
    )
    op.create_table(
        "price",
        sa.Column("country_code", sa.Text(), nullable=False, comment="`*` is any"),
        sa.Column("category", sa.Text(), nullable=False, comment="`*` is any"),
        sa.Column(
            "region_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="0 is any",
        ),
        sa.Column("tier", sa.Text(), nullable=False),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("monthly_micros", sa.BigInteger(), nullable=False),
        sa.Column("setup_micros", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("monthly_micros >= 0 AND setup_micros >= 0", name=op.f("ck_price_not_negative")),
        sa.PrimaryKeyConstraint("country_code", "category", "region_id", "tier", name=op.f("pk_price")),
    )
    op.create_table(
        "region",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("country_code", sa.Text(), nullable=False),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column(
            "state_code", sa.Text(), nullable=False, comment="empty where the country is not sold by state"
        ),
        sa.Column("area_code", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.Column("name_ru", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_region")),
    )
    op.create_table(
        "rule",
        sa.Column("country_code", sa.Text(), nullable=False, comment="`*` is any"),
        sa.Column("category", sa.Text(), nullable=False, comment="`*` is any"),
        sa.Column(
            "region_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="0 is any",
        ),
        sa.Column("can_list", sa.Boolean(), nullable=False),
        sa.Column("can_buy_by_number", sa.Boolean(), nullable=False),
        sa.Column("sms", sa.Boolean(), nullable=False),
        sa.Column(
            "regulation_address", sa.Text(), nullable=False, comment="empty, LOCAL, NATIONAL or WORLDWIDE"
        ),
        sa.Column(
            "verification",
            sa.Text(),
            nullable=False,
            comment="empty or the name of a verification, such as RU",
        ),
        sa.Column("sandbox", sa.Boolean(), nullable=False),
        sa.Column("emergency_calls", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("country_code", "category", "region_id", name=op.f("pk_rule")),
    )
    op.create_table(
        "state",
        sa.Column("country_code", sa.Text(), nullable=False),
        sa.Column("code", sa.Text(), nullable=False),
        sa.Column("name_en", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("country_code", "code", name=op.f("pk_state")),
    )
    op.create_table(
        "tax_rate",
        sa.Column("billing_country", sa.Text(), nullable=False),
        sa.Column("rate_ppm", sa.Integer(), nullable=False, comment="parts of a million: 20 % is 200000"),
        sa.CheckConstraint("rate_ppm >= 0 AND rate_ppm <= 1000000", name=op.f("ck_tax_rate_rate")),
        sa.PrimaryKeyConstraint("billing_country", name=op.f("pk_tax_rate")),
    )
    op.create_table(
        "access_key",
        sa.Column("id", sa.Text(), nullable=False, comment="the token's kid"),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("public_key_pem", sa.LargeBinary(), nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_access_key_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_access_key")),
    )
    op.create_index("ix_access_key_account_id", "access_key", ["account_id"], unique=False)
    op.create_table(
        "idempotency",
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("method", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column(
            "fingerprint",
            sa.LargeBinary(),
            nullable=False,
            comment="SHA-256 of the request as it was understood",
        ),
        sa.Column("answer", sa.LargeBinary(), nullable=False, comment="the body that was sent"),
        sa.Column("answered_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "movement_id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            nullable=False,
            comment="the effect, written in the same transaction",
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_idempotency_account")),
        sa.PrimaryKeyConstraint("account_id", "method", "key", name=op.f("pk_idempotency")),
    )
    op.create_table(
        "movement",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="purchase or credit"),
        sa.Column("currency", sa.Text(), nullable=False),
        sa.Column("moved_at", sa.BigInteger(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False, comment="the credential that did it"),
        sa.Column("note", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_movement_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_movement")),
    )
    op.create_index("ix_movement_account_id", "movement", ["account_id", "id"], unique=False)
    op.create_table(
        "offer",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("region_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "tier",
            sa.Text(),
            nullable=False,
            comment="price tier within the region; empty is the ordinary one",
        ),
        sa.ForeignKeyConstraint(["region_id"], ["region.id"], name=op.f("fk_offer_region")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_offer")),
        sa.UniqueConstraint("region_id", "tier", name="uq_offer_position"),
    )
    op.create_table(
        "regulation_address",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("country_code", sa.Text(), nullable=False, comment="country whose numbers it serves"),
        sa.Column("category", sa.Text(), nullable=False),
        sa.Column(
            "area_code", sa.Text(), nullable=False, comment="empty unless the address serves one local region"
        ),
        sa.Column("status", sa.Text(), nullable=False, comment="IN_PROGRESS, PENDING, VERIFIED or DECLINED"),
        sa.Column(
            "details", sa.LargeBinary(), nullable=False, comment="JSON of domain.regulation.AddressDetails"
        ),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "status IN ('IN_PROGRESS', 'PENDING', 'VERIFIED', 'DECLINED')",
            name=op.f("ck_regulation_address_status"),
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_regulation_address_account")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_regulation_address")),
    )
    op.create_index("ix_regulation_address_account_id", "regulation_address", ["account_id"], unique=False)
    op.create_table(
        "verification",
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="such as RU"),
        sa.Column("status", sa.Text(), nullable=False, comment="REQUIRED, IN_PROGRESS or VERIFIED"),
        sa.Column(
            "lapsed_on", sa.Text(), nullable=True, comment="the day a hold ran out unverified, once it has"
        ),
        sa.CheckConstraint(
            "status IN ('REQUIRED', 'IN_PROGRESS', 'VERIFIED')", name=op.f("ck_verification_status")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_verification_account")),
        sa.PrimaryKeyConstraint("account_id", "name", name=op.f("pk_verification")),
    )
    op.create_table(
        "wallet",
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "funds_micros", sa.BigInteger(), nullable=False, comment="money that is neither spent nor held"
        ),
        sa.Column(
            "held_micros", sa.BigInteger(), nullable=False, comment="sum of the account's held charges"
        ),
        sa.Column("credit_limit_micros", sa.BigInteger(), nullable=False),
        sa.Column("rental_count", sa.Integer(), nullable=False, comment="live rentals"),
        sa.Column("rental_limit", sa.Integer(), nullable=True, comment="absent: no limit"),
        sa.CheckConstraint("credit_limit_micros >= 0", name=op.f("ck_wallet_credit_not_negative")),
        sa.CheckConstraint("funds_micros + credit_limit_micros >= 0", name=op.f("ck_wallet_no_overdraft")),
        sa.CheckConstraint("held_micros >= 0", name=op.f("ck_wallet_held_not_negative")),
        sa.CheckConstraint("rental_count >= 0", name=op.f("ck_wallet_count_not_negative")),
        sa.CheckConstraint(
            "rental_limit IS NULL OR rental_count <= rental_limit", name=op.f("ck_wallet_rental_limit")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_wallet_account")),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_wallet")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_table(
        "block",
        sa.Column("offer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column(
            "prefix", sa.BigInteger(), nullable=False, comment="the number without its last three digits"
        ),
        sa.Column(
            "stocked_count",
            sa.SmallInteger(),
            nullable=False,
            comment="numbers of this block that belong to the offer",
        ),
        sa.Column("free_count", sa.SmallInteger(), nullable=False, comment="set bits of free_map"),
        sa.Column(
            "free_map",
            sa.LargeBinary(),
            nullable=True,
            comment="1000 bits, ending 0 lowest; absent: all thousand free",
        ),
        sa.Column("is_open", sa.Boolean(), nullable=False, comment="free_count > 0"),
        sa.CheckConstraint(
            "free_count >= 0 AND free_count <= stocked_count AND stocked_count <= 1000",
            name=op.f("ck_block_counts"),
        ),
        sa.CheckConstraint("is_open = (free_count > 0)", name=op.f("ck_block_open")),
        sa.ForeignKeyConstraint(["offer_id"], ["offer.id"], name=op.f("fk_block_offer")),
        sa.PrimaryKeyConstraint("offer_id", "prefix", name=op.f("pk_block")),
        postgresql_with={"fillfactor": "70"},
    )
    op.create_index(
        "ix_block_open",
        "block",
        ["offer_id", "prefix"],
        unique=False,
        postgresql_where=sa.text("is_open"),
        sqlite_where=sa.text("is_open = 1"),
    )
    op.create_index("ix_block_prefix", "block", ["prefix"], unique=False)
    op.create_table(
        "key_role",
        sa.Column("key_id", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["key_id"], ["access_key.id"], name=op.f("fk_key_role_access_key"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("key_id", "role", name=op.f("pk_key_role")),
    )
    op.create_table(
        "posting",
        sa.Column("movement_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("book", sa.Text(), nullable=False, comment="funds, held, sales, tax or cash"),
        sa.Column(
            "purpose", sa.Text(), nullable=False, comment="setup, setup_tax, month, month_tax or credit"
        ),
        sa.Column("rental_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True),
        sa.Column(
            "amount_micros", sa.BigInteger(), nullable=False, comment="a movement's postings sum to zero"
        ),
        sa.CheckConstraint("book IN ('funds', 'held', 'sales', 'tax', 'cash')", name=op.f("ck_posting_book")),
        sa.CheckConstraint("amount_micros <> 0", name=op.f("ck_posting_not_zero")),
        sa.ForeignKeyConstraint(["movement_id"], ["movement.id"], name=op.f("fk_posting_movement")),
        sa.PrimaryKeyConstraint("movement_id", "position", name=op.f("pk_posting")),
    )
    op.create_table(
        "rental",
        sa.Column(
            "id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False
        ),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("offer_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("region_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("purchased_at", sa.BigInteger(), nullable=False),
        sa.Column("renews_on", sa.Text(), nullable=False, comment="the day the next period begins"),
        sa.Column(
            "anchor_day", sa.SmallInteger(), nullable=False, comment="day of the month of the purchase, 1..31"
        ),
        sa.Column(
            "fee_micros",
            sa.BigInteger(),
            nullable=False,
            comment="monthly, in the account's currency, without tax",
        ),
        sa.Column("tax_micros", sa.BigInteger(), nullable=False, comment="monthly tax reserve"),
        sa.Column("is_frozen", sa.Boolean(), nullable=False),
        sa.Column("is_canceled", sa.Boolean(), nullable=False),
        sa.Column("auto_charge", sa.Boolean(), nullable=False),
        sa.Column(
            "unverified_until",
            sa.Text(),
            nullable=True,
            comment="taken away on this day unless the account is verified",
        ),
        sa.Column(
            "verification",
            sa.Text(),
            nullable=False,
            comment="empty, or the verification the number's region demands",
        ),
        sa.Column(
            "regulation_address_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("modified_at", sa.BigInteger(), nullable=False),
        sa.Column(
            "detached_at",
            sa.BigInteger(),
            nullable=True,
            comment="absent while the number belongs to the account",
        ),
        sa.CheckConstraint("anchor_day BETWEEN 1 AND 31", name=op.f("ck_rental_anchor_day")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_rental_account")),
        sa.ForeignKeyConstraint(["offer_id"], ["offer.id"], name=op.f("fk_rental_offer")),
        sa.ForeignKeyConstraint(
            ["regulation_address_id"], ["regulation_address.id"], name="fk_rental_address"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rental")),
    )
    op.create_index(
        "ix_rental_account_id",
        "rental",
        ["account_id", "number"],
        unique=False,
        postgresql_where=sa.text("detached_at IS NULL"),
        sqlite_where=sa.text("detached_at IS NULL"),
    )
    op.create_index(
        "uq_rental_number",
        "rental",
        ["number"],
        unique=True,
        postgresql_where=sa.text("detached_at IS NULL"),
        sqlite_where=sa.text("detached_at IS NULL"),
    )
    op.create_table(
        "charge",
        sa.Column("rental_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("period_on", sa.Text(), nullable=False, comment="first day of the period paid for"),
        sa.Column("account_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("fee_micros", sa.BigInteger(), nullable=False),
        sa.Column("tax_micros", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False, comment="held, posted or voided"),
        sa.CheckConstraint("status IN ('held', 'posted', 'voided')", name=op.f("ck_charge_status")),
        sa.CheckConstraint("fee_micros >= 0 AND tax_micros >= 0", name=op.f("ck_charge_not_negative")),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_charge_account")),
        sa.ForeignKeyConstraint(["rental_id"], ["rental.id"], name=op.f("fk_charge_rental")),
        sa.PrimaryKeyConstraint("rental_id", "period_on", name=op.f("pk_charge")),
    )
    op.bulk_insert(
        sa.table("id_range", sa.column("name", sa.Text), sa.column("next_id", sa.BigInteger)),
        [
            {"name": "account", "next_id": 1_000},
            {"name": "address", "next_id": 1},
            {"name": "movement", "next_id": 1},
            {"name": "offer", "next_id": 1},
            {"name": "rental", "next_id": 1},
        ],
    )
    op.bulk_insert(
        sa.table("catalog_revision", sa.column("id", sa.Integer), sa.column("revision", sa.BigInteger)),
        [{"id": 1, "revision": 0}],
    )


def downgrade() -> None:
    """Take back."""
    op.drop_table("charge")
    op.drop_index(
        "uq_rental_number",
        table_name="rental",
        postgresql_where=sa.text("detached_at IS NULL"),
        sqlite_where=sa.text("detached_at IS NULL"),
    )
    op.drop_index(
        "ix_rental_account_id",
        table_name="rental",
        postgresql_where=sa.text("detached_at IS NULL"),
        sqlite_where=sa.text("detached_at IS NULL"),
    )
    op.drop_table("rental")
    op.drop_table("posting")
    op.drop_table("key_role")
    op.drop_index("ix_block_prefix", table_name="block")
    op.drop_index(
        "ix_block_open",
        table_name="block",
        postgresql_where=sa.text("is_open"),
        sqlite_where=sa.text("is_open = 1"),
    )
    op.drop_table("block")
    op.drop_table("wallet")
    op.drop_table("verification")
    op.drop_index("ix_regulation_address_account_id", table_name="regulation_address")
    op.drop_table("regulation_address")
    op.drop_table("offer")
    op.drop_index("ix_movement_account_id", table_name="movement")
    op.drop_table("movement")
    op.drop_table("idempotency")
    op.drop_index("ix_access_key_account_id", table_name="access_key")
    op.drop_table("access_key")
    op.drop_table("tax_rate")
    op.drop_table("state")
    op.drop_table("rule")
    op.drop_table("region")
    op.drop_table("price")
    op.drop_table("id_range")
    op.drop_table("currency_rate")
    op.drop_table("country")
    op.drop_table("catalog_revision")
    op.drop_index("ix_account_parent_id", table_name="account")
    op.drop_table("account")
