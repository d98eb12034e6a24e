"""How commands speak: results on standard output, everything else on standard error, one sentence for what went wrong.

Rich is loaded by those who draw something; it leaves out colours where there is no terminal or `NO_COLOR` is set.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Coroutine, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

if TYPE_CHECKING:
    from rich.progress import Progress

T = TypeVar("T")


class Trouble(Exception):
    """Ends a command with a sentence for the person at the terminal, and an exit code."""

    def __init__(self, sentence: str, exit_code: int = 1) -> None:
        super().__init__(sentence)
        self.exit_code = exit_code


def misused(sentence: str) -> NoReturn:
    """Refuse what was typed, with the exit code for it."""
    raise Trouble(sentence, exit_code=2)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a command's asynchronous part to its end."""
    import asyncio  # noqa: PLC0415 - a fifth of the time that a light command takes

    return asyncio.run(work)


def say(text: str) -> None:
    """Print a line that is part of the result."""
    typer.echo(text)


def counted(count: int, noun: str) -> str:
    """A count with its noun: `1 problem`, `2,000 problems`."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def note(text: str) -> None:
    """Print a line beside the result."""
    typer.echo(text, err=True)


def print_json(value: Any) -> None:
    """Print a value for a script."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2, default=str))


def print_table(heads: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Print rows under heads, if there are any; columns of figures are set to the right."""
    found = [list(row) for row in rows]
    figures = [
        bool(found) and all(isinstance(row[place], int | float) for row in found)
        for place in range(len(heads))
    ]
    cells = [["" if cell is None else str(cell) for cell in row] for row in found]
    if sys.stdout.isatty():
        _draw_table(heads, cells, figures, title)
    else:
        _write_table(heads, cells, figures, title)


def _draw_table(heads: Sequence[str], cells: list[list[str]], figures: list[bool], title: str | None) -> None:
    """A table as wide as the terminal."""
    from rich import box  # noqa: PLC0415 - light commands go without Rich
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(
        box=box.SIMPLE_HEAD,
        title=title,
        title_justify="left",
        show_edge=False,
        pad_edge=False,
        padding=(0, 1, 0, 0),
        show_header=any(heads),
    )
    for head, is_figure in zip(heads, figures, strict=True):
        table.add_column(head, justify="right" if is_figure else "left", overflow="fold")
    for row in cells:
        table.add_row(*map(Text, row))
    Console().print(table)


def _write_table(
    heads: Sequence[str], cells: list[list[str]], figures: list[bool], title: str | None
) -> None:
    """Whole lines, however long: a pipe has no width."""
    table = [list(heads), *cells] if any(heads) else cells
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [title] if title else []
    for row in table:
        columns = zip(row, widths, figures, strict=True)
        line = "  ".join(
            cell.rjust(width) if is_figure else cell.ljust(width) for cell, width, is_figure in columns
        )
        lines.append(line.rstrip())
    say("\n".join(lines))


@contextmanager
def spinner(text: str) -> Iterator[None]:
    """Show that something is under way, on a terminal only."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # noqa: PLC0415

    with Console(stderr=True).status(text):
        yield


@contextmanager
def progress_bar() -> Iterator[Progress]:
    """A progress bar on standard error, drawn on a terminal only."""
    from rich.console import Console  # noqa: PLC0415
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn  # noqa: PLC0415

    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        yield progress
