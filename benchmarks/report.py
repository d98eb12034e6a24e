"""What a section found: raw figures per round, tables, targets; kept as JSON and shown as tables."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from rich.console import Console
from rich.table import Table

Measured = dict[str, float]
# Under the name of each step what every round of it measured.
Figures = dict[str, list[Measured]]
Step = Callable[[], Measured]

RESULTS: Final = Path(__file__).parent / "results"


def median(figures: Figures, step: str, key: str = "per_second") -> float:
    """The median of a step's rounds."""
    return statistics.median(one[key] for one in figures[step])


def ratio(figures: Figures, over: str, under: str, key: str = "per_second") -> float:
    """The median of the rounds' ratios: both sides of each were measured one after the other."""
    pairs = zip(figures[over], figures[under], strict=True)
    return statistics.median(one[key] / other[key] for one, other in pairs)


@dataclass(frozen=True)
class Target:
    """A figure and what it ought to be."""

    what: str
    value: float
    relation: Literal[">=", "<="]
    wanted: float
    unit: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the figure is as good as it ought to be."""
        return self.value >= self.wanted if self.relation == ">=" else self.value <= self.wanted


@dataclass
class Grid:
    """A table of texts."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass
class Report:
    """Everything one section has to tell."""

    name: str
    title: str
    figures: Figures = field(default_factory=dict)
    tables: list[Grid] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    pictures: dict[str, str] = field(default_factory=dict)

    def rates(self, title: str, steps: Sequence[str]) -> None:
        """A table of rates with their spread and latencies."""
        rows = []
        for step in steps:
            rates = [one["per_second"] for one in self.figures[step]]
            late = [
                f"{median(self.figures, step, key):,.1f}" if key in self.figures[step][0] else ""
                for key in ("p50_ms", "p99_ms")
            ]
            spread = f"{min(rates):,.0f}-{max(rates):,.0f}"
            rows.append([step, f"{statistics.median(rates):,.0f}", spread, *late])
        self.tables.append(Grid(title, ("what", "a second", "spread", "p50 ms", "p99 ms"), rows))

    def at_least(self, what: str, value: float, wanted: float, unit: str = "") -> None:
        """Compare with a lower bound."""
        self.targets.append(Target(what, value, ">=", wanted, unit))

    def at_most(self, what: str, value: float, wanted: float, unit: str = "") -> None:
        """Compare with an upper bound."""
        self.targets.append(Target(what, value, "<=", wanted, unit))

    def show(self, console: Console) -> None:
        """Print it."""
        console.rule(self.title)
        for grid in [*self.tables, *self._target_grid()]:
            table = Table(*grid.columns, title=grid.title or None, title_justify="left")
            for row in grid.rows:
                table.add_row(*row)
            console.print(table)
        for note in self.notes:
            console.print(f"- {note}")

    def keep(self, folder: Path, machine: dict[str, Any], options: dict[str, Any]) -> None:
        """Write the raw figures and the pictures."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, picture in self.pictures.items():
            (folder / f"{name}.svg").write_text(picture)
        kept = {"machine": machine, "options": options, **asdict(self), "pictures": sorted(self.pictures)}
        (folder / f"{self.name}.json").write_text(json.dumps(kept, indent=1, ensure_ascii=False) + "\n")

    def markdown(self) -> str:
        """The same as a chapter of a page."""
        lines = [f"## {self.title}", ""]
        for grid in [*self._target_grid(), *self.tables]:
            if grid.title:
                lines += [f"**{grid.title}**", ""]
            lines += _markdown_rows(grid)
        lines += [f"* {note}" for note in self.notes]
        lines += ["", *(f"![{name}]({name}.svg)" for name in sorted(self.pictures)), ""]
        return "\n".join(lines)

    def _target_grid(self) -> list[Grid]:
        if not self.targets:
            return []
        rows = [
            [
                one.what,
                f"{one.value:,.4g}{one.unit}" if one.value < 1_000 else f"{one.value:,.0f}{one.unit}",
                f"{one.relation.replace('>=', '≥').replace('<=', '≤')} {one.wanted:,g}{one.unit}",
                "met" if one.is_met else "missed",
            ]
            for one in self.targets
        ]
        return [Grid("", ("target", "measured", "wanted", ""), rows)]


def write_page(folder: Path, order: Sequence[str]) -> None:
    """Gather the kept reports of a folder into one page."""
    lines = [
        "# What was measured",
        "",
        "Written by `make bench` from the raw figures beside it. Load generator, server and database share one machine;",
        "rounds are interleaved and medians shown, so a ratio says more than any rate.",
        "",
    ]
    for name in order:
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        kept = json.loads(path.read_text())
        machine, options = kept.pop("machine"), kept.pop("options")
        kept["tables"] = [Grid(**one) for one in kept["tables"]]
        kept["targets"] = [Target(**one) for one in kept["targets"]]
        kept["pictures"] = dict.fromkeys(kept["pictures"], "")
        told = (
            f"{options['rounds']} rounds of {options['seconds']:g} s{', quick' if options['quick'] else ''}"
        )
        lines += [Report(**kept).markdown(), f"_{machine['cores']} cores, {machine['processor']}, "]
        lines[-1] += f"Python {machine['python']}, {machine['measured_on']}; {told}._\n"
    (folder / "README.md").write_text("\n".join(lines).rstrip() + "\n")


def _markdown_rows(grid: Grid) -> list[str]:
    head = ["| " + " | ".join(grid.columns) + " |", "|" + "---|" * len(grid.columns)]
    return [*head, *("| " + " | ".join(row) + " |" for row in grid.rows), ""]
