"""What a start must not load. Time is not measured here: a library that is not loaded costs none on any machine."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tests.e2e.talking_server import SIGN
from tests.kit.server import ServerProcess

ROOT: Final = Path(__file__).parents[2]
ATTACH: Final = (
    "--country-code=US",
    "--phone-category-name=local",
    "--phone-region-id=101",
    "--phone-count=1",
)

# What no command needs in order to be found and to print its help.
HEAVY: Final = {
    *(
        "alembic",
        "asyncio",
        "asyncpg",
        "babel",
        "cryptography",
        "httpx",
        "jwt",
        "phonenumbers",
        "prometheus_client",
    ),
    *("pycountry", "pydantic", "rich", "sqlalchemy", "sqlite3", "ssl", "starlette", "structlog", "trustme"),
    *("uvicorn", "uvloop"),
}
# What a server goes without that finds its home, its certificate and its store in order.
IDLE: Final = {
    *("alembic", "babel", "httpx", "phonenumbers", "pycountry", "pydantic"),
    *("numberline.service.build_catalog", "numberline.service.catalog_files", "numberline.service.demo"),
    *("numberline.service.stock_csv", "numberline.store.audit"),
}
OTHER_ENGINE: Final = {
    "sqlite": {"asyncpg", "numberline.store.postgres"},
    "postgres": {"numberline.store.sqlite"},
}


def loaded_by(text: str) -> set[str]:
    """Every name of the last line that tells what was loaded."""
    return set(text.rpartition(SIGN)[2].split())


@pytest.mark.parametrize("module", ["numberline.doors.cli.main", "numberline.settings"])
def test_the_command_line_is_light(module: str, tmp_path: Path):
    probe = f"import sys, {module}; print({SIGN!r}, *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert module in loaded_by(done.stdout)
    assert sorted(HEAVY & loaded_by(done.stdout)) == []


def test_a_later_start_loads_only_what_sells_numbers(
    store_url: str, tmp_path: Path, start_server: Callable[..., ServerProcess]
):
    home, engine = tmp_path / "home", "sqlite" if store_url.startswith("sqlite") else "postgres"
    start_server(home, database=store_url).stop()
    server = start_server(
        home,
        database=store_url,
        module="tests.e2e.talking_server",
        environment={"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)])},
    )
    sold = subprocess.run(
        [sys.executable, "-m", "numberline", "call", "AttachPhoneNumber", *ATTACH, "--json", "--home", home],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(sold.stdout)["result"] == 1
    assert server.stop() == 0
    loaded = loaded_by(server.log())
    assert {"numberline.service.attach", "numberline.doors.http.guard"} <= loaded
    assert sorted((IDLE | OTHER_ENGINE[engine]) & loaded) == []
