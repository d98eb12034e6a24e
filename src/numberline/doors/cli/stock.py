"""`numberline stock`: bring numbers in and see what is there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from numberline.doors.cli.home import HomeOption, JsonOption, with_store
from numberline.doors.cli.terminal import counted, misused, note, print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from numberline.domain.catalog import Catalog
    from numberline.service.stock import ImportPlan, ImportResult, Problem, Progress, StockFile, StockSummary
    from numberline.store.contract import Store

app = typer.Typer(help="Add numbers, import them from a file, and see what is there.", no_args_is_help=True)

SHOWN_PROBLEMS: Final = 50


@app.command()
def add(
    first: Annotated[str, typer.Argument(help="The first number, international.")],
    region: Annotated[
        int, typer.Option("--region", min=1, help="The region's id; `catalog show US` tells it.")
    ],
    last: Annotated[str | None, typer.Argument(help="The last number; the first alone unless told.")] = None,
    tier: Annotated[str, typer.Option("--tier", help="A price tier of its own.")] = "",
    home: HomeOption = None,
) -> None:
    """Add one range of numbers to a region."""
    from numberline.service.stock import ImportRefused, add_range  # noqa: PLC0415 - heavy parts on demand

    ends = _number(first), _number(last or first)

    async def work(store: Store) -> ImportResult:
        return await add_range(store, await _catalog(store), region, tier, *ends)

    try:
        result = with_store(home, work)
    except ImportRefused as refused:
        _print_problems(refused.problems)
        raise typer.Exit(1) from None
    say(f"Added: {counted(result.numbers, 'number')}.")


@app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A CSV file.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would be added.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import a CSV file with country_code, category, region_id, tier, first_number and last_number.

    All of it is imported or, when a line is wrong, nothing; the wrong lines are listed.
    """
    plan, result = _import(file, dry_run, home)
    if as_json:
        _print_plan_json(plan, is_done=result is not None)
    else:
        _print_plan(plan)
        say(_outcome(plan, result))
    if plan.problems:
        raise typer.Exit(1)


@app.command()
def show(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show how many numbers each region has, and how many of them are free."""
    from numberline.service.stock import show_stock  # noqa: PLC0415

    async def work(store: Store) -> list[StockSummary]:
        return await show_stock(store, await _catalog(store))

    found = with_store(home, work)
    heads = ("Country", "Category", "Region", "Name", "Tier", "Blocks", "Numbers", "Free")
    rows = [
        (s.country, s.category, s.region_id, s.region_name, s.tier, s.blocks, s.stocked, s.free)
        for s in found
    ]
    if as_json:
        print_json([dict(zip(map(str.lower, heads), row, strict=True)) for row in rows])
        return
    print_table(heads, rows)
    say(f"{sum(s.free for s in found):,} of {sum(s.stocked for s in found):,} numbers are free.")


async def _catalog(store: Store) -> Catalog:
    from numberline.service.catalog import CatalogCache  # noqa: PLC0415

    return await CatalogCache(store).current()


def _number(text: str) -> int:
    from numberline.service.stock_csv import Damaged, read_number  # noqa: PLC0415

    try:
        return read_number(text)
    except Damaged as fault:
        misused(f"{text}: {fault}")


# Importing.


def _import(file: Path, dry_run: bool, home: Path | None) -> tuple[ImportPlan, ImportResult | None]:
    import msgspec  # noqa: PLC0415

    from numberline.service.stock import apply_import, plan_import  # noqa: PLC0415

    with progress_bar() as bar:
        task = bar.add_task("Reading", total=None)

        def tell(done: int, total: int) -> None:
            bar.update(task, completed=done, total=total or None)

        read = _read(file, tell)

        async def work(store: Store) -> tuple[ImportPlan, ImportResult | None]:
            bar.update(task, description="Checking", completed=0, total=None)
            plan = await plan_import(store, await _catalog(store), read.lines)
            # What could not be read stands in the way as much as what makes no sense.
            problems = sorted([*read.problems, *plan.problems], key=lambda problem: problem.line)
            plan = msgspec.structs.replace(plan, problems=problems)
            if dry_run or problems:
                return plan, None
            bar.update(task, description="Importing", completed=0, total=plan.numbers)
            return plan, await apply_import(store, plan, progress=tell)

        return with_store(home, work)


def _read(file: Path, tell: Progress) -> StockFile:
    from numberline.service.stock import read_stock_csv  # noqa: PLC0415

    with file.open("rb") as stream:
        return read_stock_csv(stream, progress=tell)


def _print_plan(plan: ImportPlan) -> None:
    heads = ("Country", "Category", "Region", "Name", "Tier", "Numbers", "New blocks")
    rows = [
        (c.country, c.category, c.region_id, c.region_name, c.tier, c.numbers, c.new_blocks)
        for c in plan.changes
    ]
    if rows:
        print_table(heads, rows)
    if plan.problems:
        _print_problems(plan.problems)
    if plan.warnings:
        _print_problems(plan.warnings, head="Warning")


def _print_problems(problems: Sequence[Problem], head: str = "Problem") -> None:
    print_table(("Line", "Text", head), ((p.line, p.text, p.sentence) for p in problems[:SHOWN_PROBLEMS]))
    if len(problems) > SHOWN_PROBLEMS:
        note(f"... and {len(problems) - SHOWN_PROBLEMS:,} more; --json lists all.")


def _outcome(plan: ImportPlan, result: ImportResult | None) -> str:
    if plan.problems:
        return f"Nothing is imported: {counted(len(plan.problems), 'problem')}."
    if result is None:
        return f"{counted(plan.numbers, 'number')} would be added: this was a dry run."
    return f"Imported: {counted(result.numbers, 'number')}."


def _print_plan_json(plan: ImportPlan, *, is_done: bool) -> None:
    def listed(problems: Sequence[Problem]) -> list[dict[str, object]]:
        return [{"line": p.line, "text": p.text, "problem": p.sentence} for p in problems]

    print_json(
        {
            "imported": is_done,
            "numbers": plan.numbers,
            "problems": listed(plan.problems),
            "warnings": listed(plan.warnings),
            "changes": [
                {
                    "country": c.country,
                    "category": c.category,
                    "region": c.region_id,
                    "tier": c.tier,
                    "numbers": c.numbers,
                    "new_blocks": c.new_blocks,
                }
                for c in plan.changes
            ],
        }
    )
