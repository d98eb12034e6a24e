"""Run the bench.

    python -m benchmarks [SECTION ...] [--rounds 3] [--seconds 5] [--quick] [--full] [--scale 1.0] [--results FOLDER]

Without a section all of them run, in about half an hour. Each writes its raw figures and pictures to
`benchmarks/results`, whose README.md is then written anew; `--quick` shows in seconds that a section works, with figures
that mean nothing, and writes to `benchmarks/results/quick`. `--full` takes the lengths that a release wants.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
import traceback
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.bench import Bench
from benchmarks.report import RESULTS, Report, write_page

SECTIONS: Final = (
    "attach",
    "search",
    "stock",
    "books",
    "reads",
    "processes",
    "capacity",
    "memory",
    "start",
    "token",
    "curves",
)


def main() -> None:
    """Measure, print and keep."""
    options = _options()
    console = Console()
    results = options.results or (RESULTS / "quick" if options.quick else RESULTS)
    failed = []
    with tempfile.TemporaryDirectory(prefix="numberline-bench-") as folder:
        bench = Bench(Path(folder), console, options.rounds, options.seconds, options.quick, options.full)
        bench.scale = options.scale
        for name in options.sections or SECTIONS:
            began_at = time.monotonic()
            try:
                report: Report = import_module(f"benchmarks.sections.{name}").run(bench)
            except Exception:  # noqa: BLE001 - one section that cannot be measured says nothing about the others
                traceback.print_exc()
                failed.append(name)
                continue
            report.notes.append(f"Took {time.monotonic() - began_at:,.0f} s.")
            report.show(console)
            report.keep(results, _machine(), _kept(options))
            write_page(results, SECTIONS)
    if failed:
        sys.exit(f"not measured: {', '.join(failed)}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description="Measure, beside floors and peers."
    )
    parser.add_argument(
        "sections", nargs="*", metavar="SECTION", help=f"one or more of {', '.join(SECTIONS)}"
    )
    parser.add_argument("--rounds", type=int, default=0, help="3 unless told, 1 when quick")
    parser.add_argument("--seconds", type=float, default=0, help="of each step; 5 unless told, 1 when quick")
    parser.add_argument("--quick", action="store_true", help="only show that it works")
    parser.add_argument("--full", action="store_true", help="the lengths of a release")
    parser.add_argument("--scale", type=float, default=1.0, help="of stock and books")
    parser.add_argument("--results", type=Path, help="where to write, in place of benchmarks/results")
    options = parser.parse_args()
    if unknown := set(options.sections) - set(SECTIONS):
        parser.error(f"no section {', '.join(sorted(unknown))}")
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (1.0 if options.quick else 5.0)
    return options


def _kept(options: argparse.Namespace) -> dict[str, Any]:
    return {name: value for name, value in vars(options).items() if name not in {"sections", "results"}}


def _machine() -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "processor": _processor(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "measured_on": datetime.now(UTC).date().isoformat(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


if __name__ == "__main__":
    main()
