"""Rebuild the packaged catalogue: countries, states and regions of the world as three CSV files.

Region ids are what customers' code holds, so they outlive every rebuild: a region keeps its id while its country,
category, state, area code and English name stay the same, new ones are numbered after the highest id ever given, and a
region the sources no longer know keeps its row. Two runs over the same sources write the same bytes.
"""

import csv
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from numberline.service.catalog_regions import Region, plan_regions
from numberline.service.catalog_sources import Country, State, read_countries, read_states

DATA_FOLDER = Path(__file__).resolve().parent.parent / "data"

# Below it are the regions of operators and of the demo world.
FIRST_GENERATED_ID = 1000

_REGION_HEADER = ("region_id", *(field.name for field in fields(Region)))


@dataclass(frozen=True, slots=True)
class CatalogBuild:
    """What a rebuild wrote: rows per file, and how many regions were added or are kept though the sources lost them."""

    countries: int
    states: int
    regions: int
    regions_added: int
    regions_retired: int


def build_catalog(folder: Path = DATA_FOLDER, *, progress: Callable[[int, int], None]) -> CatalogBuild:
    """Write ``countries.csv``, ``states.csv`` and ``regions.csv`` into the folder, each replaced whole.

    ``progress`` is called with (steps done, steps in all). Raises ValueError if the regions.csv already there is not one
    of ours, before anything is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    existing = _read_regions(folder / "regions.csv")
    countries, states = read_countries(), read_states()
    planned = plan_regions(countries, progress)
    numbered = number_regions(existing, planned)
    _write(folder / "countries.csv", [field.name for field in fields(Country)], map(astuple, countries))
    _write(folder / "states.csv", [field.name for field in fields(State)], map(astuple, states))
    _write(
        folder / "regions.csv", _REGION_HEADER, ((number, *astuple(numbered[number])) for number in numbered)
    )
    return CatalogBuild(
        countries=len(countries),
        states=len(states),
        regions=len(numbered),
        regions_added=len(numbered) - len(existing),
        regions_retired=len(numbered) - len(planned),
    )


def number_regions(existing: dict[int, Region], planned: Iterable[Region]) -> dict[int, Region]:
    """All regions by id, ascending: the existing ones under their ids, the unknown ones of ``planned`` after them.

    ``planned`` is numbered in its own order. A known region takes its Russian name from ``planned``.
    """
    ids = {_identity(region): number for number, region in existing.items()}
    numbered = dict(existing)
    next_id = max(existing, default=FIRST_GENERATED_ID - 1) + 1
    for region in planned:
        number = ids.setdefault(_identity(region), next_id)
        next_id += number == next_id
        numbered[number] = region
    return dict(sorted(numbered.items()))


def _identity(region: Region) -> tuple[str, ...]:
    """The fields an id stands for: all but the Russian name."""
    return (region.country_code, region.category, region.state_code, region.area_code, region.name_en)


def _read_regions(path: Path) -> dict[int, Region]:
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        if tuple(next(rows, ())) != _REGION_HEADER:
            raise ValueError(f"{path} does not begin with the columns {', '.join(_REGION_HEADER)}")
        regions = {int(number): Region(*values) for number, *values in rows}
    if min(regions, default=FIRST_GENERATED_ID) < FIRST_GENERATED_ID:
        raise ValueError(f"{path} holds a region id below {FIRST_GENERATED_ID}: generated ids start there")
    return regions


def _write(path: Path, header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Replace a CSV file whole: a reader, or a build cut short, never sees half of one."""
    draft = path.with_suffix(".csv.new")
    with draft.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    draft.replace(path)
