"""The catalogue as files: round trips, every problem of every file, and imports that change only what they say."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from numberline.domain.catalog import CatalogRows, Offer, Rule
from numberline.service.catalog_files import (
    DATA_FOLDER,
    CatalogRefused,
    FileDiff,
    export_catalog,
    import_catalog,
    merge_files,
    packaged_catalog,
    read_catalog,
    write_catalog,
)
from numberline.store.contract import Store
from numberline.store.migrate import migrate
from numberline.store.opening import open_store

DEMO = DATA_FOLDER / "demo"
NAMES = ("countries.csv", "states.csv", "regions.csv", "prices.csv", "rules.csv", "taxes.csv", "rates.csv")


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    await migrate(store_url)
    opened = open_store(store_url)
    yield opened
    await opened.close()


async def rows_of(store: Store) -> CatalogRows:
    return await store.read(lambda ask: ask.load_catalog())


def write(folder: Path, **files: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
    return folder


SMALL = {
    "countries": "country_code,calling_code,name_en,name_ru\nUS,1,United States,США\nDE,49,Germany,Германия\n",
    "states": "country_code,state_code,name_en\nUS,NY,New York\n",
    "regions": (
        "region_id,country_code,category,state_code,area_code,name_en,name_ru\n"
        '101,US,GEOGRAPHIC,NY,212,"New York, ""the"" City",Нью-Йорк\n'
        "102,DE,MOBILE,,,Germany,Германия\n"
    ),
    "prices": (
        "country_code,category,region_id,tier,currency,monthly_fee,setup_fee\n"
        "*,*,,,USD,3.00,0.000001\nUS,GEOGRAPHIC,101,gold,USD,999999.999999,0\n"
    ),
    "rules": (
        "country_code,category,region_id,can_list,can_buy_by_number,sms,regulation_address,verification,sandbox,"
        "emergency_calls\n*,*,,true,TRUE,0,,,no,false\nUS,GEOGRAPHIC,101,false,1,yes,LOCAL,RU,true,true\n"
    ),
    "taxes": "billing_country,rate_percent\nDE,19\nBB,17.5\nUS,8.8875\n",
    "rates": "currency,per_usd\nUSD,1.00\nEUR,0.92\nJPY,152.123456\n",
}


async def test_export_and_import_change_nothing(store: Store, tmp_path: Path) -> None:
    diff = await import_catalog(store, write(tmp_path / "in", **SMALL))
    assert diff.files["regions.csv"] == FileDiff(added=2, changed=0, removed=0)
    await export_catalog(store, tmp_path / "first")
    before = await rows_of(store)
    again = await import_catalog(store, tmp_path / "first")
    assert not again
    assert set(again.files) == set(NAMES)
    assert await rows_of(store) == before
    await export_catalog(store, tmp_path / "second")
    for name in NAMES:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes()


async def test_values_survive(store: Store, tmp_path: Path) -> None:
    await import_catalog(store, write(tmp_path / "in", **SMALL))
    rows = await rows_of(store)
    assert rows.tax_ppm == {"DE": 190_000, "BB": 175_000, "US": 88_875}
    assert rows.per_usd_micros == {"USD": 1_000_000, "EUR": 920_000, "JPY": 152_123_456}
    assert {region.id: region.name_en for region in rows.regions}[101] == 'New York, "the" City'
    assert {price.tier: (price.monthly_micros, price.setup_micros) for price in rows.prices} == {
        "": (3_000_000, 1),
        "gold": (999_999_999_999, 0),
    }
    assert Rule("US", "GEOGRAPHIC", 101, False, True, True, "LOCAL", "RU", True, True) in rows.rules
    await export_catalog(store, tmp_path / "out")
    assert (
        tmp_path / "out" / "taxes.csv"
    ).read_text() == "billing_country,rate_percent\nBB,17.5\nDE,19\nUS,8.8875\n"


async def test_the_packaged_catalogue_and_the_demo_world_round_trip(store: Store, tmp_path: Path) -> None:
    await import_catalog(store, packaged_catalog())
    diff = await import_catalog(store, DEMO)
    assert diff.files["regions.csv"] == FileDiff(added=4, changed=0, removed=0)
    await export_catalog(store, tmp_path / "out")
    assert not await import_catalog(store, tmp_path / "out", dry_run=True)
    for name in ("countries.csv", "states.csv"):
        assert (tmp_path / "out" / name).read_bytes() == (DATA_FOLDER / name).read_bytes()
    # Rows without prices leave the prices alone.
    assert not await import_catalog(store, packaged_catalog())


async def test_a_dry_run_changes_nothing(store: Store, tmp_path: Path) -> None:
    before = await rows_of(store)
    diff = await import_catalog(store, write(tmp_path / "in", **SMALL), dry_run=True)
    assert diff.files["rules.csv"] == FileDiff(added=2, changed=0, removed=0)
    assert await rows_of(store) == before


async def test_a_missing_file_leaves_its_part_alone_and_regions_stay(store: Store, tmp_path: Path) -> None:
    await import_catalog(store, write(tmp_path / "in", **SMALL))
    header, _, german = SMALL["regions"].splitlines(keepends=True)
    files = {
        "regions": header + german.replace("Germany", "Deutschland"),
        "taxes": "billing_country,rate_percent\nDE,16\nFR,20\n",
    }
    diff = await import_catalog(store, write(tmp_path / "next", **files))
    assert diff.files == {"regions.csv": FileDiff(0, 1, 0), "taxes.csv": FileDiff(1, 1, 2)}
    rows = await rows_of(store)
    assert rows.tax_ppm == {"DE": 160_000, "FR": 200_000}
    assert {region.id: region.name_en for region in rows.regions} == {
        101: 'New York, "the" City',
        102: "Deutschland",
    }
    assert len(rows.prices) == 2


async def test_a_region_with_stock_stays_what_it_is(store: Store, tmp_path: Path) -> None:
    await import_catalog(store, write(tmp_path / "in", **SMALL))
    await store.write(lambda work: work.insert_offers([Offer(1, 102, "")]))
    moved = SMALL["regions"].replace("102,DE,MOBILE", "102,DE,GEOGRAPHIC")
    with pytest.raises(CatalogRefused) as refused:
        await import_catalog(store, write(tmp_path / "next", regions=moved))
    (problem,) = refused.value.problems
    assert (problem.file, problem.line, problem.sentence) == (
        "regions.csv",
        3,
        "Region 102 has stock of DE MOBILE.",
    )


async def test_imports_at_once_do_not_lose_each_others_parts(store: Store, tmp_path: Path) -> None:
    await import_catalog(store, write(tmp_path / "in", **SMALL))
    taxes = write(tmp_path / "taxes", taxes="billing_country,rate_percent\nIT,22\n")
    rates = write(tmp_path / "rates", rates="currency,per_usd\nSEK,10.4\n")
    await asyncio.gather(import_catalog(store, taxes), import_catalog(store, rates))
    rows = await rows_of(store)
    assert (rows.tax_ppm, rows.per_usd_micros) == ({"IT": 220_000}, {"SEK": 10_400_000})


# --- what is wrong with files; no store needed ---

EMPTY = CatalogRows(0, [], [], [], [], [], {}, {}, [])


def refused(folder: Path, **changed: str) -> list[tuple[str, int]]:
    with pytest.raises(CatalogRefused) as raised:
        merge_files(read_catalog(write(folder, **SMALL | changed)), EMPTY)
    assert all(problem.sentence for problem in raised.value.problems)
    return [(problem.file, problem.line) for problem in raised.value.problems]


def with_line(name: str, *lines: str) -> dict[str, str]:
    return {name: SMALL[name] + "".join(f"{line}\n" for line in lines)}


def test_every_problem_of_every_file_is_reported(tmp_path: Path) -> None:
    files = (
        with_line("taxes", "FRA,20", "FR,20%", "GB,100.00001", "GB,-1", "IT,1.23456")
        | with_line("rates", "EURO,1", "GBP,0", "CHF,1e3", "EUR,2")
        | with_line("countries", "us,1,x,x", "FR,0033,France,Франция", "IT,39,,Италия")
    )
    assert refused(tmp_path, **files) == [
        *(("countries.csv", line) for line in (4, 5, 6)),
        *(("taxes.csv", line) for line in (5, 6, 7, 8, 9)),
        *(("rates.csv", line) for line in (5, 6, 7, 8)),
    ]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("countries", "US,1,Twice,Дважды"),
        ("states", "FR,XX,Nowhere"),
        ("states", "US,ny,New York"),
        ("regions", "0,US,GEOGRAPHIC,NY,212,Zero,Нуль"),
        ("regions", "101,US,GEOGRAPHIC,NY,213,Twice,Дважды"),
        ("regions", "103,FR,GEOGRAPHIC,,1,Paris,Париж"),
        ("regions", "103,US,GEOGRAPHIC,TX,1,Dallas,Даллас"),
        ("regions", "103,US,FAX,,1,Fax,Факс"),
        ("regions", "103,US,GEOGRAPHIC,,x,Letters,Буквы"),
        ("regions", "103,US,GEOGRAPHIC,,1,,"),
        ("prices", "*,*,,,USD,4,0"),
        ("prices", "US,GEOGRAPHIC,,,USD,-1,0"),
        ("prices", "US,GEOGRAPHIC,,,USD,1.1234567,0"),
        ("prices", "US,GEOGRAPHIC,,,$,1,0"),
        ("prices", "FR,GEOGRAPHIC,,,USD,1,0"),
        ("prices", "US,GEOGRAPHIC,999,,USD,1,0"),
        ("prices", "US,GEOGRAPHIC,102,,USD,1,0"),
        ("prices", "*,*,101,,USD,1,0"),
        ("prices", f"US,GEOGRAPHIC,,{'x' * 65},USD,1,0"),
        ("rules", "DE,MOBILE,,maybe,true,true,,,false,false"),
        ("rules", "DE,MOBILE,,true,true,true,EVERYWHERE,,false,false"),
        ("rules", "DE,MOBILE,,true,true,true,,ru,false,false"),
        ("rules", "DE,MOBILE,101,true,true,true,,,false,false"),
        ("rules", "DE,MOBILE"),
        ("rules", "DE,MOBILE,,true,true,true,,,false,false,surplus"),
        ("rates", "USD,2"),
        ("taxes", '"US,1'),
    ],
)
def test_a_line_that_will_not_do(tmp_path: Path, name: str, line: str) -> None:
    place = len(SMALL[name].splitlines()) + 1
    assert refused(tmp_path, **with_line(name, line)) == [(f"{name}.csv", place)]


def test_a_dollar_costs_a_dollar(tmp_path: Path) -> None:
    assert refused(tmp_path, rates="currency,per_usd\nUSD,2\n") == [("rates.csv", 2)]


def test_a_folder_without_files(tmp_path: Path) -> None:
    (problem,) = read_catalog(tmp_path).problems
    assert "none of the files" in problem.sentence


def test_a_missing_column(tmp_path: Path) -> None:
    assert refused(tmp_path, taxes="billing_country\nDE\n") == [("taxes.csv", 1)]


def test_the_packaged_catalogue(tmp_path: Path) -> None:
    rows = packaged_catalog()
    assert len(rows.regions) > 14_000
    assert len(rows.countries) > 240
    write_catalog(rows, tmp_path)
    assert merge_files(read_catalog(tmp_path), EMPTY) == msgspec.structs.replace(rows)
