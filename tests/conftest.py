"""What every test may ask for: databases on both engines, a seed that can be repeated, and a closed network."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import random
import secrets
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import hypothesis
import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from numberline.store.migrate import migrate
from numberline.store.opening import open_store
from tests.kit.postgres import PostgresServer, folder_in_memory, name_of
from tests.kit.server import ServerProcess
from tests.kit.world import Town, build_town

# --- Seeds -----------------------------------------------------------------------------------------------------------

# The machine decides how long an example takes, not the code: no deadline. A failure prints how to replay it.
hypothesis.settings.register_profile("default", deadline=None, print_blob=True)
hypothesis.settings.register_profile("ci", hypothesis.settings.get_profile("default"), database=None)
hypothesis.settings.register_profile(
    "soak", hypothesis.settings.get_profile("default"), max_examples=5_000, stateful_step_count=200
)
hypothesis.settings.load_profile("ci" if os.environ.get("CI") else "default")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("numberline")
    group.addoption("--seed", type=int, help="repeat a run: the seed that its first lines printed")
    group.addoption("--soak", action="store_true", help="run the tests marked `soak` as well")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.seed is None:
        config.option.seed = secrets.randbelow(2**32)
    if config.option.hypothesis_seed is None:
        config.option.hypothesis_seed = str(config.option.seed)


def pytest_report_header(config: pytest.Config) -> str:
    return f"seed: {config.option.seed} (repeat with --seed={config.option.seed})"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the long tests out by deselecting them, which the summary counts, not by skipping."""
    if config.option.soak:
        return
    left_out = [item for item in items if item.get_closest_marker("soak")]
    if left_out:
        items[:] = [item for item in items if item not in left_out]
        config.hook.pytest_deselected(items=left_out)


class _ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist comes without types
    """With several workers (`-n 2`) a file stays with one of them, as its fixtures do.

    Files that measure deadlines or load a server share a worker, so that no two of them ever run at once.
    """

    def _split_scope(self, nodeid: str) -> str:
        file = nodeid.partition("::")[0]
        return "demanding" if file in _DEMANDING else file


_DEMANDING: Final = {
    "tests/crash/test_kill.py",
    "tests/race/test_storm.py",
    "tests/unit/doors/http/test_guard.py",
    "tests/unit/doors/http/test_server.py",
}


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> _ByFile:
    return _ByFile(config, log)


@pytest.fixture(scope="session")
def seed(pytestconfig: pytest.Config) -> int:
    """The seed of this run."""
    chosen: int = pytestconfig.option.seed
    return chosen


@pytest.fixture
def rng(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """Chance that depends on the run's seed and the test's name alone."""
    return random.Random(f"{seed}:{request.node.nodeid}")


# --- Network ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session", autouse=True)
def closed_network() -> Iterator[None]:
    """Refuse every address that is not this machine's loopback, and every name but localhost."""

    def guarded(function: Callable[..., Any], place: int) -> Callable[..., Any]:
        def guard(*arguments: Any, **options: Any) -> Any:
            # getaddrinfo(host, ...); socket.connect(socket, address); socket.sendto(socket, data, [flags,] address)
            address = arguments[place] if arguments else options.get("host")
            host = address[0] if isinstance(address, tuple) else address if place == 0 else None
            if not _is_loopback(host):
                raise OSError(f"tests may not reach {host!r}: only loopback is open")
            return function(*arguments, **options)

        return guard

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", guarded(socket.getaddrinfo, 0))
        patch.setattr(socket.socket, "connect", guarded(socket.socket.connect, 1))
        patch.setattr(socket.socket, "connect_ex", guarded(socket.socket.connect_ex, 1))
        patch.setattr(socket.socket, "sendto", guarded(socket.socket.sendto, -1))
        yield


def _is_loopback(host: str | bytes | None) -> bool:
    # None: a Unix socket, or an address to listen on.
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        address = ipaddress.ip_address(name or "")
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


# --- Engines ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, the loop the product runs on."""
    return "asyncio"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """One PostgreSQL for the whole run, as durable as in production. It fails where it cannot start; it never skips."""
    with PostgresServer() as server:
        yield server


@pytest.fixture(scope="session")
def hasty_postgres_server() -> Iterator[PostgresServer]:
    """Another PostgreSQL, which does not wait for the disk: for the many tests that never kill anything."""
    with PostgresServer(fsync=False) as server:
        yield server


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A SQLite file that does not exist yet."""
    return f"sqlite:///{tmp_path / 'numberline.db'}"


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """A new, empty PostgreSQL database."""
    url = postgres_server.create_database()
    yield url
    postgres_server.drop(url)


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest) -> str:
    """An empty database on each engine in turn; `-k sqlite` or `-k postgres` keeps to one."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


# --- The product -----------------------------------------------------------------------------------------------------


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[Callable[..., ServerProcess]]:
    """A function that starts servers, with ServerProcess's options; all end with the test."""
    servers: list[ServerProcess] = []

    def start(home: Path | None = None, **options: Any) -> ServerProcess:
        server = ServerProcess(home or tmp_path / f"home{len(servers) + 1}", **options)
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()


@pytest.fixture(scope="session")
def town_template(
    tmp_path_factory: pytest.TempPathFactory, hasty_postgres_server: PostgresServer
) -> dict[str, str]:
    """The town, built once on each engine, to be copied: the URL of each."""
    urls = {
        "sqlite": f"sqlite:///{tmp_path_factory.mktemp('town') / 'numberline.db'}",
        "postgres": hasty_postgres_server.create_database(),
    }
    for url in urls.values():
        asyncio.run(_build_template(url))
    return urls


async def _build_template(url: str) -> None:
    await migrate(url)
    await (await build_town(open_store(url))).close()


@pytest.fixture(params=["sqlite", "postgres"])
def town_url(
    request: pytest.FixtureRequest, town_template: dict[str, str], hasty_postgres_server: PostgresServer
) -> Iterator[str]:
    """A copy of the town's database on each engine in turn, in memory where there is room."""
    template = town_template[request.param]
    if request.param == "sqlite":
        with tempfile.TemporaryDirectory(prefix="numberline-town-", dir=folder_in_memory()) as folder:
            yield f"sqlite:///{shutil.copy(template.removeprefix('sqlite:///'), folder)}"
        return
    url = hasty_postgres_server.create_database(template=name_of(template))
    yield url
    hasty_postgres_server.drop(url)


@pytest.fixture
async def town(town_url: str) -> AsyncIterator[Town]:
    """The town, running, on each engine in turn."""
    found = Town(open_store(town_url))
    yield found
    await found.close()
