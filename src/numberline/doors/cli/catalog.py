"""`numberline catalog`: countries, regions, prices, rules, taxes and rates, as a folder of CSV files."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from numberline.doors.cli.home import HomeOption, JsonOption, with_store
from numberline.doors.cli.terminal import Trouble, counted, note, print_json, print_table, progress_bar, say

if TYPE_CHECKING:
    from numberline.domain.catalog import Catalog
    from numberline.service.catalog_files import CatalogDiff, CatalogRefused
    from numberline.store.contract import Store

app = typer.Typer(help="Import, export and rebuild the catalogue.", no_args_is_help=True)


@app.command()
def build(
    folder: Annotated[
        Path | None, typer.Argument(file_okay=False, help="Where to; the packaged catalogue unless told.")
    ] = None,
) -> None:
    """Rebuild the catalogue of the world from its public sources; regions keep their ids."""
    from numberline.service.build_catalog import DATA_FOLDER, build_catalog  # noqa: PLC0415 - slow to load

    with progress_bar() as bar:
        task = bar.add_task("Regions", total=None)
        built = build_catalog(
            folder or DATA_FOLDER, progress=lambda done, total: bar.update(task, completed=done, total=total)
        )
    say(
        f"{built.countries} countries, {built.states} states and {built.regions} regions,"
        f" {built.regions_added} of them new and {built.regions_retired} no longer in the sources."
    )


@app.command("import")
def import_(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="The folder of CSV files.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would change.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a folder's files in place of the store's catalogue, all of it or, when anything is wrong, nothing.

    A file that is missing leaves its part as it is. A running server takes the change up within a second.
    """
    from numberline.service.catalog_files import CatalogRefused, import_catalog  # noqa: PLC0415

    try:
        diff = with_store(home, lambda store: import_catalog(store, folder, dry_run=dry_run))
    except CatalogRefused as refused:
        _refuse(refused, as_json)
    _show_diff(diff, dry_run, as_json)


@app.command()
def export(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Where to write the CSV files.")],
    home: HomeOption = None,
) -> None:
    """Write the store's catalogue into a folder, from which it can be imported again."""
    from numberline.service.catalog_files import export_catalog  # noqa: PLC0415

    with_store(home, lambda store: export_catalog(store, folder))
    note(f"The catalogue is in {folder}.")


@app.command()
def show(
    country: Annotated[
        str | None, typer.Argument(help="A country's code; none shows how much there is.")
    ] = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what the catalogue holds, in all or of one country."""
    catalog = with_store(home, _catalog)
    if country is None:
        _show_counts(catalog, as_json)
    else:
        _show_country(catalog, country.upper(), as_json)


async def _catalog(store: Store) -> Catalog:
    from numberline.service.catalog import CatalogCache  # noqa: PLC0415

    return await CatalogCache(store).current()


def _show_diff(diff: CatalogDiff, dry_run: bool, as_json: bool) -> None:
    rows = [(name, part.added, part.changed, part.removed) for name, part in diff.files.items()]
    if as_json:
        print_json({name: {"added": a, "changed": c, "removed": r} for name, a, c, r in rows})
        return
    print_table(("File", "Added", "Changed", "Removed"), rows)
    if not diff:
        say("Nothing changes.")
    else:
        say("Nothing is changed yet: this was a dry run." if dry_run else "The catalogue is changed.")


def _refuse(refused: CatalogRefused, as_json: bool) -> NoReturn:
    if as_json:
        print_json(
            [
                {"file": p.file, "line": p.line, "text": p.text, "problem": p.sentence}
                for p in refused.problems
            ]
        )
    else:
        rows = ((p.file, p.line, p.text, p.sentence) for p in refused.problems)
        print_table(("File", "Line", "Text", "Problem"), rows)
        note(f"Nothing is imported: {counted(len(refused.problems), 'problem')}.")
    raise typer.Exit(1)


def _show_counts(catalog: Catalog, as_json: bool) -> None:
    regions = Counter(region.category for region in catalog.regions.values())
    counts: dict[str, int] = {
        "revision": catalog.revision,
        "countries": len(catalog.countries),
        "regions": len(catalog.regions),
        **{f"regions {category}": count for category, count in sorted(regions.items())},
    }
    if as_json:
        print_json(counts)
    else:
        print_table(("Catalogue", ""), counts.items())


def _show_country(catalog: Catalog, code: str, as_json: bool) -> None:
    from numberline.domain.money import format_amount  # noqa: PLC0415

    country = catalog.countries.get(code)
    if country is None:
        raise Trouble(f"The catalogue has no country {code}.")
    rows: list[tuple[Any, ...]] = []
    for category in catalog.categories_of(country.code):
        for region in catalog.regions_of(country.code, category):
            price = catalog.first_price(region)
            fees = (
                (format_amount(price.setup_micros), format_amount(price.monthly_micros))
                if price
                else ("", "")
            )
            rows.append((category, region.id, region.state, region.area_code, region.name_en, *fees))
    heads = ("Category", "Region", "State", "Area code", "Name", "Set-up", "Month")
    if as_json:
        names = [head.lower().replace(" ", "_").replace("-", "_") for head in heads]
        print_json([dict(zip(names, row, strict=True)) for row in rows])
    else:
        print_table(heads, rows, title=f"{country.name_en} (+{country.calling_code})")
