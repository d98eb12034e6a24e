"""Create the tables, with the accounts, keys and numbers that the product is measured with."""

from __future__ import annotations

from sqlalchemy import func, insert, literal, select
from sqlalchemy.ext.asyncio import create_async_engine

from benchmarks.peers.team.models import AccessKey, Account, Base, Number, Price, Wallet
from benchmarks.world import ACCOUNTS, FEE_MICROS, FIRST_ACCOUNT, MONEY_MICROS, REGION
from tests.kit.tokens import public_pem

_NUMBERS = 1_000_000


def sqlalchemy_url(url: str) -> str:
    """The URL as SQLAlchemy wants it, with the driver's name."""
    return url.replace("postgresql://", "postgresql+asyncpg://")


async def fill(url: str, numbers: int = _NUMBERS) -> None:
    """Make everything in an empty database."""
    engine = create_async_engine(sqlalchemy_url(url))
    ids = range(FIRST_ACCOUNT, FIRST_ACCOUNT + ACCOUNTS)
    account = {"is_active": True, "currency": "USD", "billing_country": "US"}
    key = {"public_key_pem": public_pem().decode()}
    price = {"country_code": "US", "category": "GEOGRAPHIC", "region_id": REGION}
    counted = func.generate_series(15_550_000_000, 15_550_000_000 + numbers - 1).column_valued()
    async with engine.begin() as connection:
        await connection.run_sync(Base.metadata.create_all)
        await connection.execute(insert(Account), [{"id": one, "name": f"a{one}", **account} for one in ids])
        await connection.execute(
            insert(AccessKey), [{"id": f"k{one}", "account_id": one, **key} for one in ids]
        )
        wallets = [{"account_id": one, "funds_micros": MONEY_MICROS, "held_micros": 0} for one in ids]
        await connection.execute(insert(Wallet), wallets)
        await connection.execute(
            insert(Price), [{**price, "monthly_micros": FEE_MICROS, "setup_micros": FEE_MICROS}]
        )
        rows = select(counted, literal(REGION))
        await connection.execute(insert(Number).from_select(["number", "region_id"], rows))
    async with engine.connect() as connection:
        alone = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await alone.exec_driver_sql("VACUUM ANALYZE")
    await engine.dispose()


async def count_rentals(url: str) -> int:
    """How many numbers were sold."""
    engine = create_async_engine(sqlalchemy_url(url))
    async with engine.connect() as connection:
        found = await connection.scalar(select(func.count()).select_from(Base.metadata.tables["rental"]))
    await engine.dispose()
    return int(found or 0)
