"""One run of the bench: its options, its temporary folder, and how rounds are taken."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from rich.console import Console

from benchmarks.messages import sign_tokens
from benchmarks.report import Figures, Step
from tests.kit.postgres import PostgresServer

T = TypeVar("T")

# Tokens are good for almost an hour; they are signed anew well before that.
_TOKENS_OLD_SECONDS: Final = 1_500
# A million attaches need some 1.5 GB of log: no checkpoint shall fall into a measurement of a few seconds.
_POSTGRES: Final = {
    "checkpoint_timeout": "30min",
    "max_wal_size": "16GB",
    "min_wal_size": "2GB",
    "shared_buffers": "512MB",
}
# A new cluster makes its log as it goes, 16 MB of zeros at a time, and whoever commits meanwhile waits; one that has been
# in use for a while has old pieces to write over. 64 are good for half a million attaches.
_USED_PIECES: Final = 64
_USE_A_PIECE: Final = "SELECT pg_logical_emit_message(false, '', ''); SELECT pg_switch_wal()"


@dataclass
class Bench:
    """What every section is given."""

    folder: Path
    console: Console
    rounds: int = 3
    seconds: float = 5
    quick: bool = False
    full: bool = False
    scale: float = 1.0
    _tokens: dict[int, tuple[float, list[str]]] = field(default_factory=dict)
    _folders: int = 0

    def size(self, full: int, quick: int) -> int:
        """A size of something, much smaller when only a smoke test is wanted."""
        return quick if self.quick else max(1, round(full * self.scale))

    def measure(self, steps: Mapping[str, Step], *, rounds: int | None = None) -> Figures:
        """Run all steps, round by round, so that what disturbs the machine disturbs them alike."""
        figures: Figures = {name: [] for name in steps}
        count = rounds or self.rounds
        for place in range(count):
            # Whoever comes first in one round comes last in the next.
            in_turn = list(steps.items())
            for name, step in in_turn[:: -1 if place % 2 else 1]:
                with self.console.status(f"round {place + 1} of {count}: {name}"):
                    figures[name].append(step())
        return figures

    @contextmanager
    def postgres(self, **settings: str) -> Iterator[PostgresServer]:
        """A PostgreSQL server of the section's own, durable and with a log that has been in use, as in production."""
        with PostgresServer(settings={**_POSTGRES, **settings}) as server:
            for _ in range(0 if self.quick else _USED_PIECES):
                server.execute(_USE_A_PIECE)
            server.execute("CHECKPOINT")
            yield server

    def tokens(self, accounts: int) -> list[str]:
        """Tokens of some accounts, far more than any cache of a server holds."""
        made_at, tokens = self._tokens.get(accounts, (0.0, []))
        if time.monotonic() - made_at > _TOKENS_OLD_SECONDS or not tokens:
            with self.console.status("signing tokens"):
                tokens = sign_tokens(2_500 if self.quick else 12_000, accounts)
            self._tokens[accounts] = time.monotonic(), tokens
        return tokens

    def new_folder(self) -> Path:
        """A folder that nobody uses yet."""
        self._folders += 1
        path = self.folder / f"{self._folders}"
        path.mkdir()
        return path

    def new_sqlite(self) -> str:
        """The URL of an SQLite store that does not exist yet."""
        return f"sqlite:///{self.new_folder() / 'numberline.db'}"


def wait_for(made: object) -> None:
    """Run a coroutine that prepares something."""
    assert asyncio.iscoroutine(made), "only coroutines are waited for"
    asyncio.run(made)
