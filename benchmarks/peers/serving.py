"""Running the peers, each on its own port."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks import tools
from benchmarks.bench import Bench
from benchmarks.peers.team.filling import sqlalchemy_url
from benchmarks.product import Server, running
from tests.kit.leash import free_port

_CLUSTER: Final = Path(__file__).parent / "prism" / "cluster.cjs"


@contextmanager
def empty_endpoint(bench: Bench) -> Iterator[Server]:
    """FastAPI's empty endpoint."""
    with _uvicorn(bench, "benchmarks.peers.empty:app", {}) as server:
        yield server


@contextmanager
def team_stack(bench: Bench, url: str) -> Iterator[Server]:
    """The good team's stack on a database that `filling.fill` has made."""
    target = "benchmarks.peers.team.app:app"
    with _uvicorn(bench, target, {"DATABASE_URL": sqlalchemy_url(url)}) as server:
        yield server


@contextmanager
def prism(bench: Bench, openapi: Path, *, production: bool) -> Iterator[Server]:
    """Prism on an OpenAPI document, as it comes or as its manual says for production.

    It serves the document's paths from its root, wherever the document says that the API lives. In production it serves from a process of its own, so that its log, printed by the first, costs the server less.
    """
    port = free_port()
    command = [*tools.prism(), "mock", "--host", "127.0.0.1", "--port", str(port), str(openapi)]
    environment = {name: value for name, value in os.environ.items() if name != "NODE_ENV"}
    if production:
        environment |= {"NODE_ENV": "production", "NODE_OPTIONS": f"--require={_CLUSTER}"}
    with running(bench, command, port=port, ready="/GetAccountInfo", environment=environment) as server:
        yield server


@contextmanager
def _uvicorn(bench: Bench, target: str, environment: dict[str, str]) -> Iterator[Server]:
    """Uvicorn with its fast parts and without its access log, one process."""
    port = free_port()
    command = [sys.executable, "-m", "uvicorn", target, "--port", str(port), "--no-access-log"]
    command += ["--loop", "uvloop", "--http", "httptools", "--log-level", "warning"]
    with running(
        bench, command, port=port, ready="/healthz", environment={**os.environ, **environment}
    ) as server:
        yield server
