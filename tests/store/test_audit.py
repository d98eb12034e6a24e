"""The auditor finds each kind of damage, on both engines, and nothing where there is none.

How: one town with purchases per engine. Each damage is done and audited inside one transaction that is rolled back.
"""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Final

import msgspec
import pytest
from sqlalchemy import text

from numberline.store import audit as auditor
from numberline.store.audit import AuditReport, audit
from numberline.store.opening import open_store
from numberline.store.statements import Engine, Statement
from numberline.store.transaction import Transaction
from tests.kit import world
from tests.kit.world import Town

LOCAL: Final = {"country_code": "US", "phone_category_name": "local", "phone_region_id": world.HOLLYWOOD}
MOSCOW: Final = {"country_code": "RU", "phone_category_name": "GEOGRAPHIC", "phone_region_id": world.MOSCOW}
# Thousands of Hollywood: the first is untouched, of the last the highest numbers are sold.
WHOLE, SOLD = "prefix = 15552850", "prefix = 15552852"
REFUSAL: Final = b'{"error":{"code":331,"msg":"No."}}'
RENTAL_COLUMNS: Final = (
    "account_id, offer_id, region_id, purchased_at, renews_on, anchor_day, fee_micros, tax_micros, is_frozen,"
    " is_canceled, auto_charge, unverified_until, verification, regulation_address_id, modified_at, detached_at"
)


class Damage(msgspec.Struct, frozen=True):
    """What is done to a store, and exactly which checks must find it.

    `lifted` are constraints that would forbid it: dropped on PostgreSQL, ignored for the moment on SQLite.
    """

    sql: str
    found: frozenset[str]
    lifted: tuple[tuple[str, str], ...] = ()
    only: Engine | None = None


def _damage(
    sql: str, *found: str, lifted: tuple[tuple[str, str], ...] = (), only: Engine | None = None
) -> Damage:
    return Damage(sql, frozenset(found), lifted, only)


DAMAGES: Final = {
    "a posting is another one": _damage(
        "UPDATE posting SET amount_micros = amount_micros + 1 WHERE book = 'cash' AND movement_id = 1",
        "movement balances",
    ),
    "a movement changes its currency": _damage(
        "UPDATE movement SET currency = 'XXX' WHERE id = 1", "movement currency"
    ),
    "a wallet is gone": _damage("DELETE FROM wallet WHERE account_id = 1005", "account has a wallet"),
    "a wallet gains a micro": _damage(
        "UPDATE wallet SET funds_micros = funds_micros + 1 WHERE account_id = 1003", "wallet equals postings"
    ),
    "a wallet holds a micro more": _damage(
        "UPDATE wallet SET held_micros = held_micros + 1 WHERE account_id = 1000",
        "wallet equals postings",
        "wallet equals held charges",
    ),
    "a hold is forgotten": _damage(
        "UPDATE charge SET status = 'voided' WHERE status = 'held' AND account_id = 1001",
        "wallet equals held charges",
        "charges equal postings",
    ),
    "a wallet is overdrawn": _damage(
        "UPDATE wallet SET funds_micros = -1 WHERE account_id = 1003",
        "wallet within its limit",
        "wallet equals postings",
        lifted=(("wallet", "ck_wallet_no_overdraft"),),
    ),
    "a rental is not counted": _damage(
        "UPDATE wallet SET rental_count = rental_count - 1 WHERE account_id = 1000", "wallet counts rentals"
    ),
    "a number has two owners": _damage(
        f"DROP INDEX uq_rental_number; INSERT INTO rental SELECT 99999, number, {RENTAL_COLUMNS} FROM rental"
        " WHERE account_id = 1001",
        "one owner",
        "rental was charged",
        "wallet counts rentals",
        "stock adds up",
        "constraint is in force",
    ),
    "a charge is gone": _damage("DELETE FROM charge WHERE status = 'posted'", "rental was charged"),
    "somebody else is charged": _damage(
        "UPDATE charge SET account_id = 1003 WHERE status = 'posted'", "charge belongs to the renter"
    ),
    "a charge is higher than what was paid": _damage(
        "UPDATE charge SET fee_micros = fee_micros + 1 WHERE status = 'posted'",
        "charges equal postings",
        "rental costs what it was charged",
    ),
    "a posting is for a rental nobody has": _damage(
        "UPDATE posting SET rental_id = 99999 WHERE book = 'sales' AND purpose = 'setup'",
        "posting names a rental",
    ),
    "a rental belongs to nobody": _damage(
        "UPDATE rental SET account_id = 99999 WHERE account_id = 1001",
        "rental has its account",
        "wallet counts rentals",
        "charge belongs to the renter",
        "the renter pays",
    ),
    "a rental is of no offer": _damage(
        "UPDATE rental SET offer_id = 99999, detached_at = 1 WHERE account_id = 1001",
        "rental has its offer",
        "wallet counts rentals",
        "stock adds up",
    ),
    "a movement is nobody's": _damage(
        "UPDATE movement SET account_id = 99999 WHERE id = 1",
        "movement has its account",
        "wallet equals postings",
    ),
    "postings are of no movement": _damage(
        "UPDATE posting SET movement_id = 99999 WHERE movement_id = 1",
        "posting has its movement",
        "wallet equals postings",
    ),
    "a charge is for a rental nobody has": _damage(
        "INSERT INTO charge VALUES (99999, '2026-02-01', 1000, 0, 0, 'posted')",
        "charge has its rental",
    ),
    "a charge is nobody's": _damage(
        "UPDATE charge SET account_id = 99999 WHERE status = 'posted'", "charge belongs to the renter"
    ),
    "an answer was given to nobody": _damage(
        "UPDATE idempotency SET account_id = 99999", "answer has its effect"
    ),
    "an answer was given without an effect": _damage(
        "UPDATE idempotency SET movement_id = movement_id + 100000", "answer has its effect"
    ),
    "one account pays for another": _damage(
        "UPDATE movement SET account_id = 1008 WHERE kind = 'purchase' AND account_id = 1009",
        "the renter pays",
        "wallet equals postings",
    ),
    "a rental is said to lie elsewhere": _damage(
        "UPDATE rental SET region_id = 201 WHERE account_id = 1001", "rental lies in its offer's region"
    ),
    "a rental is said to cost less": _damage(
        "UPDATE rental SET fee_micros = 1 WHERE account_id = 1001", "rental costs what it was charged"
    ),
    "an index forbids no doubles any more": _damage(
        "DROP INDEX uq_rental_number; CREATE INDEX uq_rental_number ON rental (number)",
        "constraint is in force",
    ),
    "an answer is no answer": _damage("UPDATE idempotency SET answer = blob(7b)", "answer can be repeated"),
    "a refusal was kept as an answer": _damage(
        f"UPDATE idempotency SET answer = blob({REFUSAL.hex()})", "answer can be repeated"
    ),
    "a fingerprint is cut short": _damage(
        "UPDATE idempotency SET fingerprint = blob(00)", "answer can be repeated"
    ),
    "a block is gone": _damage(f"DELETE FROM block WHERE {SOLD}", "rental lies in a block"),
    "what is sold is for sale again": _damage(
        f"UPDATE block SET free_map = NULL, free_count = 1000 WHERE {SOLD}",
        "sold is not free",
        "stock adds up",
    ),
    "two offers sell one thousand": _damage(
        "INSERT INTO block SELECT 5, prefix, stocked_count, free_count, free_map, is_open FROM block"
        f" WHERE {WHOLE}",
        "blocks are disjoint",
    ),
    "a map is short": _damage(
        f"UPDATE block SET free_map = blob(00), free_count = 0, stocked_count = 0, is_open = false WHERE {WHOLE}",
        "map can be read",
    ),
    "a map is long": _damage(
        f"UPDATE block SET free_map = blob({'00' * 126}), free_count = 0, stocked_count = 0, is_open = false"
        f" WHERE {WHOLE}",
        "map can be read",
    ),
    "a map's edges fall": _damage(
        f"UPDATE block SET free_map = blob(07000500), free_count = 2, stocked_count = 2 WHERE {WHOLE}",
        "map can be read",
    ),
    "a map lacks a number": _damage(
        f"UPDATE block SET free_map = blob(e703) WHERE {WHOLE}", "count equals map"
    ),
    "a count is wrong": _damage(
        f"UPDATE block SET free_count = 999, stocked_count = 999 WHERE {WHOLE}", "count equals map"
    ),
    "a block with stock is closed": _damage(
        f"UPDATE block SET is_open = false WHERE {WHOLE}",
        "open while stocked",
        lifted=(("block", "ck_block_open"),),
    ),
    "a number is nowhere": _damage(
        f"UPDATE block SET stocked_count = stocked_count - 1 WHERE {SOLD}", "stock adds up"
    ),
    "an index is gone": _damage("DROP INDEX ix_rental_account_purchased", "constraint is in force"),
    "a change of roles is no longer seen": _damage(
        "DROP TRIGGER key_role_delete_is_seen", "constraint is in force", only="sqlite"
    ),
    "a change of keys is no longer seen": _damage(
        "ALTER TABLE access_key DISABLE TRIGGER access_key_delete_is_seen",
        "constraint is in force",
        only="postgres",
    ),
    "a constraint is gone": _damage(
        "ALTER TABLE posting DROP CONSTRAINT ck_posting_not_zero", "constraint is in force", only="postgres"
    ),
    "a reference leads nowhere": _damage(
        "INSERT INTO key_role VALUES ('nobody', 'Owner')",
        "references hold",
        lifted=(("key_role", "fk_key_role_access_key"),),
        only="sqlite",
    ),
}


class RolledBack(Exception):
    """Takes the damage back, and the report out of the transaction."""

    def __init__(self, report: AuditReport) -> None:
        super().__init__()
        self.report = report


@pytest.fixture
async def shopped(town: Town) -> Town:
    """A town after purchases: charges held and posted, an answer kept under its key, a free number, a credit."""
    await town.call("AttachPhoneNumber", LOCAL | {"phone_count": 2}, idempotency_key="key")
    await town.call("AttachPhoneNumber", LOCAL, account=world.CHILD)
    await town.call("AttachPhoneNumber", MOSCOW, account=world.RUSSIAN_VERIFIED)
    await town.call("AttachPhoneNumber", LOCAL | {"phone_region_id": world.SANDBOX}, account=world.POOR)
    return town


async def _report_of(town: Town, damage: Damage) -> AuditReport:
    engine = town.store.engine
    literal = r"x'\1'" if engine == "sqlite" else r"decode('\1', 'hex')"
    sql = re.sub(r"blob\(([0-9a-f]*)\)", literal, damage.sql)

    async def work(transaction: Transaction) -> None:
        async def run(one: str) -> None:
            # A colon begins a parameter in SQLAlchemy's language.
            await transaction.connection.execute(Statement(text(one.replace(":", r"\:"))))

        for table, constraint in damage.lifted:
            if engine == "postgres":
                await run(f"ALTER TABLE {table} DROP CONSTRAINT {constraint}")
        if engine == "sqlite":
            await run("PRAGMA defer_foreign_keys = ON")
            await run(f"PRAGMA ignore_check_constraints = {'ON' if damage.lifted else 'OFF'}")
        for one in sql.split("; "):
            await run(one)
        report = await auditor._audit(transaction)
        if engine == "sqlite":
            await run("PRAGMA ignore_check_constraints = OFF")
        raise RolledBack(report)

    with pytest.raises(RolledBack) as caught:
        await town.store.write(work)
    return caught.value.report


async def test_every_damage_is_found_by_exactly_its_checks(shopped: Town) -> None:
    for name, damage in DAMAGES.items():
        if damage.only not in (None, shopped.store.engine):
            continue
        report = await _report_of(shopped, damage)
        found = {finding.check for finding in report.findings}
        dropped = (
            {"constraint is in force"} if damage.lifted and shopped.store.engine == "postgres" else set()
        )
        assert found == damage.found | dropped, (name, report.findings)
        assert all(finding.subject and finding.message for finding in report.findings)
    report = await audit(shopped.store)
    assert report.is_clean, report.findings


def test_the_table_leaves_no_check_out() -> None:
    source = Path(auditor.__file__).read_text(encoding="utf-8")
    checks = {check.name for check in auditor._CHECKS} | set(re.findall(r'Finding\(\s*"([^"]+)"', source))
    planted = {name for damage in DAMAGES.values() for name in damage.found}
    assert planted | {"file is sound"} == checks


async def test_what_an_audit_counts(shopped: Town) -> None:
    report = await audit(shopped.store)
    assert report.is_clean, report.findings
    assert report.counts["rental"] == report.counts["charge"] == 5
    assert report.counts["idempotency"] == 1
    assert report.counts["account"] == 16
    assert report.counts["movement"] == len(world._MONEY) + 4
    assert report.counts["numbers stocked"] - report.counts["numbers free"] == 5


async def test_findings_name_what_is_damaged(shopped: Town) -> None:
    report = await _report_of(shopped, DAMAGES["a wallet gains a micro"])
    [finding] = report.findings
    assert finding.subject == "account 1003"
    assert "funds 100000000001" in finding.message
    assert "funds 100000000000" in finding.message


async def test_the_list_of_findings_ends(shopped: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(auditor, "FINDINGS_MAX", 3)
    everybody = _damage("UPDATE wallet SET rental_count = rental_count + 1 WHERE rental_limit IS NULL")
    assert len((await _report_of(shopped, everybody)).findings) == 3


async def test_small_pages_find_the_same(shopped: Town, monkeypatch: pytest.MonkeyPatch) -> None:
    """The town's blocks fit one page of the real size; thousands that offers share must not be torn apart."""
    expected = await audit(shopped.store)
    names = ("what is sold is for sale again", "two offers sell one thousand", "a block is gone")
    for page in (1, 2, 3):
        monkeypatch.setattr(auditor, "PAGE", page)
        assert await audit(shopped.store) == expected
        for name in names:
            found = {finding.check for finding in (await _report_of(shopped, DAMAGES[name])).findings}
            assert found == DAMAGES[name].found, (page, name)


@pytest.fixture
def torn(town_template: dict[str, str], tmp_path: Path) -> str:
    """A copy of the town's SQLite file in which one page of an index is blank."""
    path = tmp_path / "torn.db"
    path.write_bytes(Path(town_template["sqlite"].removeprefix("sqlite:///")).read_bytes())
    with sqlite3.connect(path) as connection:
        [page_bytes] = connection.execute("PRAGMA page_size").fetchone()
        query = "SELECT rootpage FROM sqlite_master WHERE name = 'ix_regulation_address_account_id'"
        [page] = connection.execute(query).fetchone()
    connection.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * page_bytes)
        file.write(bytes(page_bytes))
    return f"sqlite:///{path}"


async def test_a_torn_file_is_found(torn: str) -> None:
    store = open_store(torn)
    report = await audit(store)
    assert "file is sound" in {finding.check for finding in report.findings}
    await store.close()
