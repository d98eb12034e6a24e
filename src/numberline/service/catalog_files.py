"""The catalogue as a folder of CSV files: read, checked, compared, imported, exported.

What is exported can be imported again without a change, and a second export has the same bytes. A file that is missing
leaves its part of the catalogue as it is; `regions.csv` adds and changes regions, every other file replaces its part.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from numberline.domain.catalog import CatalogRows
from numberline.service.catalog_check import FileProblem, check_catalog
from numberline.service.catalog_lines import FILES, FileFormat, read_lines
from numberline.store.contract import Store
from numberline.store.transaction import Transaction

__all__ = [
    "CatalogDiff",
    "CatalogFiles",
    "CatalogRefused",
    "FileDiff",
    "FileProblem",
    "export_catalog",
    "import_catalog",
    "merge_files",
    "packaged_catalog",
    "read_catalog",
    "write_catalog",
]

DATA_FOLDER: Final = Path(__file__).resolve().parent.parent / "data"
EMPTY: Final = CatalogRows(0, [], [], [], [], [], {}, {}, [])


class CatalogFiles(msgspec.Struct, frozen=True):
    """What a folder's files say, by the name of the file: rows by their key, in the order of the file.

    `lines` tells for each file on which line a key stands.
    """

    rows: dict[str, dict[Any, Any]]
    lines: dict[str, dict[Any, int]]
    problems: list[FileProblem]


class FileDiff(msgspec.Struct, frozen=True):
    """How many rows of a file's part of the catalogue are added, changed and removed."""

    added: int
    changed: int
    removed: int

    def __bool__(self) -> bool:
        return bool(self.added or self.changed or self.removed)


class CatalogDiff(msgspec.Struct, frozen=True):
    """What an import changes, by the name of the file; files that are missing are left out."""

    files: dict[str, FileDiff]

    def __bool__(self) -> bool:
        return any(self.files.values())


class CatalogRefused(ValueError):
    """Files that cannot be imported, with all that is wrong with them; nothing was changed."""

    def __init__(self, problems: Sequence[FileProblem]) -> None:
        first = problems[0]
        super().__init__(
            f"The files have {len(problems)} problems, the first in {first.file}, line {first.line}: {first.sentence}"
        )
        self.problems = list(problems)


# --- files -----------------------------------------------------------------------------------------------------


def read_catalog(folder: Path) -> CatalogFiles:
    """Read what files there are in a folder and check each line by itself."""
    files = CatalogFiles({}, {}, [])
    for kind in FILES:
        path = folder / kind.name
        if path.exists():
            with path.open("rb") as stream:
                rows, lines, problems = read_lines(kind, stream)
            files.rows[kind.name], files.lines[kind.name] = rows, lines
            files.problems.extend(problems)
    if not files.rows and not files.problems:
        names = ", ".join(kind.name for kind in FILES)
        files.problems.append(FileProblem(str(folder), 0, "", f"The folder has none of the files {names}."))
    return files


def write_catalog(rows: CatalogRows, folder: Path) -> None:
    """Write all files of a catalogue, each replaced whole; equal catalogues give equal bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    for kind in FILES:
        part = kind.part(rows)
        draft = folder / f"{kind.name}.new"
        with draft.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(kind.columns)
            writer.writerows(kind.write(part[key]) for key in sorted(part))
        draft.replace(folder / kind.name)


def packaged_catalog() -> CatalogRows:
    """The countries, states and regions of the world that come with the program."""
    return _merged(read_catalog(DATA_FOLDER), EMPTY)


# --- import and export -----------------------------------------------------------------------------------------


async def import_catalog(store: Store, source: Path | CatalogRows, *, dry_run: bool = False) -> CatalogDiff:
    """Put a folder's files in place of the store's catalogue, or with `dry_run` only tell what would change.

    Rows stand for a folder that lacks the files of their empty parts. Raises `CatalogRefused` with every problem of
    every file.
    """
    files = _as_files(source) if isinstance(source, CatalogRows) else read_catalog(source)
    diff = await store.read(lambda ask: _compare(ask, files), snapshot=True)
    if dry_run or not diff:
        return diff
    return await store.write(lambda work: _replace(work, files))


async def export_catalog(store: Store, folder: Path) -> None:
    """Write the store's catalogue into a folder."""
    write_catalog(await store.read(lambda ask: ask.load_catalog(), snapshot=True), folder)


def _as_files(rows: CatalogRows) -> CatalogFiles:
    parts = {kind.name: kind.part(rows) for kind in FILES}
    return CatalogFiles({name: part for name, part in parts.items() if part}, {}, [])


async def _compare(ask: Transaction, files: CatalogFiles) -> CatalogDiff:
    present = await ask.load_catalog()
    return _diff(files, present, _merged(files, present))


async def _replace(work: Transaction, files: CatalogFiles) -> CatalogDiff:
    await work.lock_catalog()
    present = await work.load_catalog()
    merged = _merged(files, present)
    await work.replace_catalog(merged)
    return _diff(files, present, merged)


def merge_files(files: CatalogFiles, present: CatalogRows) -> CatalogRows:
    """A catalogue as it is after an import of files; raises `CatalogRefused`."""
    return _merged(files, present)


def _merged(files: CatalogFiles, present: CatalogRows) -> CatalogRows:
    parts = {kind: _merged_part(kind, files.rows.get(kind.name), kind.part(present)) for kind in FILES}
    merged = present
    for kind, part in parts.items():
        merged = kind.replace(merged, [part[key] for key in part])
    if problems := files.problems + check_catalog(merged, present, files.lines):
        raise CatalogRefused(problems)
    return merged


def _merged_part(kind: FileFormat, given: dict[Any, Any] | None, present: dict[Any, Any]) -> dict[Any, Any]:
    if given is None:
        return present
    return present | given if kind.keeps else given


def _diff(files: CatalogFiles, present: CatalogRows, merged: CatalogRows) -> CatalogDiff:
    kinds = [kind for kind in FILES if kind.name in files.rows]
    return CatalogDiff({kind.name: _part_diff(kind.part(present), kind.part(merged)) for kind in kinds})


def _part_diff(before: Mapping[Any, Any], after: Mapping[Any, Any]) -> FileDiff:
    return FileDiff(
        added=sum(1 for key in after if key not in before),
        changed=sum(1 for key, row in after.items() if key in before and before[key] != row),
        removed=sum(1 for key in before if key not in after),
    )
