"""64 clients, two server processes, 500 numbers, 5,000 attempts: exactly 500 sold, and nobody misled."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.kit.server import ServerProcess
from tests.race.storm import Storm, aftermath, prepare, rage

ROOT = Path(__file__).parents[2]


@pytest.fixture
def two_servers(
    start_server: Callable[..., ServerProcess], tmp_path: Path
) -> Callable[..., list[ServerProcess]]:
    """Start two servers on one store."""

    def start(url: str, module: str = "numberline") -> list[ServerProcess]:
        environment = {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])}
        options = {"command": "serve", "database": url, "module": module, "environment": environment}
        return [start_server(tmp_path / f"server{place}", **options) for place in (1, 2)]

    return start


def _fight(url: str, servers: list[ServerProcess], rng: random.Random) -> tuple[Storm, list[str]]:
    async def fight() -> tuple[Storm, list[str]]:
        # Each server has an authority of its own; a storm over both trusts both.
        trust = servers[0].trust()
        trust.load_verify_locations(cafile=servers[1].ca)
        storm = await rage([server.port for server in servers], trust, rng)
        return storm, storm.complaints() + await aftermath(url, storm)

    storm, complaints = asyncio.run(fight())
    print(f"sold {len(storm.sold)}, refused {dict(storm.codes)}, HTTP {dict(storm.statuses)}")
    return storm, complaints


def test_every_number_is_sold_once(
    store_url: str, two_servers: Callable[..., list[ServerProcess]], rng: random.Random
) -> None:
    asyncio.run(prepare(store_url))
    storm, complaints = _fight(store_url, two_servers(store_url), rng)
    assert not complaints, complaints[:10]
    assert sum(storm.codes.values()) > 1_000, "most attempts must have been fought over"


def test_the_storm_notices_missing_locks(
    store_url: str, two_servers: Callable[..., list[ServerProcess]], rng: random.Random
) -> None:
    """The canary: with the locks left out the same storm must complain."""
    asyncio.run(prepare(store_url))
    _, complaints = _fight(store_url, two_servers(store_url, "tests.race.careless_server"), rng)
    print("\n".join(complaints[:5]))
    assert complaints
