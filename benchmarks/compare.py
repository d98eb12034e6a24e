"""Two builds in turn: what a change is worth on a machine whose speed changes by half within minutes.

    python -m benchmarks.compare [REVISION] [--engine postgresql] [--connections 32] [--turns 10] [--seconds 2] [--hot]

Both builds serve a store of their own all the time, and one after the other is loaded for a short turn. What counts is the
median of the ratios within each pair of turns; medians of either alone would say more about the machine.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks import wrk
from benchmarks.bench import Bench, wait_for
from benchmarks.messages import MessageFile, attach_messages
from benchmarks.product import Server, drive, serving
from benchmarks.report import Measured
from benchmarks.world import ACCOUNTS, prepare

_ROOT: Final = Path(__file__).parents[1]


def main() -> None:
    """Measure and print."""
    options = _options()
    console = Console()
    with tempfile.TemporaryDirectory(prefix="numberline-compare-") as folder, ExitStack() as stack:
        bench = Bench(Path(folder), console)
        sources = {options.revision: stack.enter_context(_checked_out(options.revision, Path(folder)))}
        sources["here"] = _ROOT / "src"
        postgres = stack.enter_context(bench.postgres())
        accounts = 1 if options.hot else ACCOUNTS
        messages = MessageFile(bench.new_folder() / "attach", attach_messages(bench.tokens(accounts)))
        servers = {}
        for name, source in sources.items():
            url = postgres.create_database() if options.engine == "postgresql" else bench.new_sqlite()
            wait_for(prepare(url, accounts=accounts))
            servers[name] = stack.enter_context(serving(bench, url, source=source))
            wrk.warm_up(servers[name].port, messages)
        _tell(console, _turns(console, servers, messages, options))


@contextmanager
def _checked_out(revision: str, folder: Path) -> Iterator[Path]:
    """The source of another revision."""
    place = folder / "other"
    git = ("git", "-C", str(_ROOT), "worktree")
    subprocess.run([*git, "add", "--quiet", "--detach", str(place), revision], check=True)
    try:
        yield place / "src"
    finally:
        subprocess.run([*git, "remove", "--force", str(place)], check=True)


def _turns(
    console: Console, servers: dict[str, Server], messages: MessageFile, options: argparse.Namespace
) -> dict[str, list[Measured]]:
    found: dict[str, list[Measured]] = {name: [] for name in servers}
    for turn in range(options.turns):
        # Whoever comes second finds the caches as the first has left them.
        for name in sorted(servers, reverse=bool(turn % 2)):
            with console.status(f"turn {turn + 1} of {options.turns}: {name}"):
                found[name].append(
                    drive(servers[name], messages, connections=options.connections, seconds=options.seconds)
                )
    return found


def _tell(console: Console, found: dict[str, list[Measured]]) -> None:
    for name, turns in found.items():
        rate, p99, cpu = (
            statistics.median(turn[key] for turn in turns) for key in ("per_second", "p99_ms", "cpu_us")
        )
        console.print(
            f"{name}: {rate:,.0f} attaches a second, p99 {p99:.1f} ms, {cpu:.0f} µs of processor each"
        )
    before, after = found.values()
    ratios = sorted(new["per_second"] / old["per_second"] for old, new in zip(before, after, strict=True))
    quarter = len(ratios) // 4
    console.print(
        f"here / {next(iter(found))}: {statistics.median(ratios):.3f}"
        f" (half of the turns between {ratios[quarter]:.2f} and {ratios[-1 - quarter]:.2f})"
    )


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.compare", description="Two builds in turn.")
    parser.add_argument("revision", nargs="?", default="HEAD", help="what to compare with; HEAD unless told")
    parser.add_argument("--engine", choices=("postgresql", "sqlite"), default="postgresql")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--turns", type=int, default=10)
    parser.add_argument("--seconds", type=int, default=2)
    parser.add_argument("--hot", action="store_true", help="one account buys everything")
    return parser.parse_args()


if __name__ == "__main__":
    main()
