"""What the files of a catalogue must agree upon: no line may point to what is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from numberline.domain.catalog import ANY, ANY_REGION, CatalogRows, Price, Region, Rule

# The lines on which the files have a key; a row that comes from the store has none.
LinesByFile = Mapping[str, Mapping[Any, int]]


class FileProblem(msgspec.Struct, frozen=True):
    """What is wrong on one line of a file; line 0 is the file as a whole, or what is in the store already."""

    file: str
    line: int
    text: str
    sentence: str


class _Places(msgspec.Struct, frozen=True):
    """What lines may point to."""

    countries: set[str]
    states: set[tuple[str, str]]
    regions: dict[int, Region]


def check_catalog(merged: CatalogRows, present: CatalogRows, lines: LinesByFile) -> list[FileProblem]:
    """What is wrong between the rows of a catalogue that is to replace the present one."""
    places = _Places(
        {country.code for country in merged.countries},
        {(state.country, state.code) for state in merged.states},
        {region.id: region for region in merged.regions},
    )
    return [
        *_check_states(merged, places, lines),
        *_check_regions(merged, places, lines),
        *_check_moved(places, present, lines),
        *_check_positions("prices.csv", merged.prices, places, lines),
        *_check_positions("rules.csv", merged.rules, places, lines),
    ]


def _check_states(merged: CatalogRows, places: _Places, lines: LinesByFile) -> Iterator[FileProblem]:
    for state in merged.states:
        if state.country not in places.countries:
            key = (state.country, state.code)
            yield _problem("states.csv", key, lines, f"There is no country {state.country}.")


def _check_regions(merged: CatalogRows, places: _Places, lines: LinesByFile) -> Iterator[FileProblem]:
    for region in merged.regions:
        if region.country not in places.countries:
            yield _problem("regions.csv", region.id, lines, f"There is no country {region.country}.")
        elif region.state and (region.country, region.state) not in places.states:
            sentence = f"There is no state {region.state} of {region.country}."
            yield _problem("regions.csv", region.id, lines, sentence)


def _check_moved(places: _Places, present: CatalogRows, lines: LinesByFile) -> Iterator[FileProblem]:
    """A region with stock stays what it is: its numbers cannot move to another country or category."""
    stocked = {offer.region_id for offer in present.offers}
    for region in present.regions:
        if region.id not in stocked:
            continue
        after = places.regions[region.id]
        if (after.country, after.category) != (region.country, region.category):
            sentence = f"Region {region.id} has stock of {region.country} {region.category}."
            yield _problem("regions.csv", region.id, lines, sentence)


def _check_positions(
    file: str, rows: list[Price] | list[Rule], places: _Places, lines: LinesByFile
) -> Iterator[FileProblem]:
    for row in rows:
        key: tuple[Any, ...] = (row.country, row.category, row.region_id)
        if isinstance(row, Price):
            key = (*key, row.tier)
        fault = _position_fault(row, places)
        if fault is not None:
            yield _problem(file, key, lines, fault)


def _position_fault(row: Price | Rule, places: _Places) -> str | None:
    if row.country not in (ANY, *places.countries):
        return f"There is no country {row.country}."
    if row.region_id == ANY_REGION:
        return None
    region = places.regions.get(row.region_id)
    if region is None:
        return f"There is no region {row.region_id}."
    if (region.country, region.category) != (row.country, row.category):
        return f"Region {region.id} is {region.country} {region.category}."
    return None


def _problem(file: str, key: object, lines: LinesByFile, sentence: str) -> FileProblem:
    parts = key if isinstance(key, tuple) else (key,)
    text = ",".join(str(part) for part in parts)
    return FileProblem(file, lines.get(file, {}).get(key, 0), text, sentence)
