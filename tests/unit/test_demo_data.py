"""The demo world: nobody real in it, and nothing missing from it."""

import csv
from decimal import Decimal
from itertools import pairwise

import phonenumbers
import pytest

from numberline.service.build_catalog import DATA_FOLDER, FIRST_GENERATED_ID
from numberline.service.catalog_regions import CATEGORIES

DEMO_FOLDER = DATA_FOLDER / "demo"

HEADERS = {
    "regions.csv": "region_id,country_code,category,state_code,area_code,name_en,name_ru",
    "stock.csv": "country_code,category,region_id,tier,first_number,last_number",
    "prices.csv": "country_code,category,region_id,tier,currency,monthly_fee,setup_fee",
    "rules.csv": "country_code,category,region_id,can_list,can_buy_by_number,sms,regulation_address,verification,"
    "sandbox,emergency_calls",
    "taxes.csv": "billing_country,rate_percent",
    "rates.csv": "currency,per_usd",
}

# Prefixes whose numbers look valid and yet are nobody's: kept for fiction, or, for Russia, never begun with.
NOBODYS = {
    "NANPA: 555-01xx in every area code": [
        f"1{area}55501"
        for area in (202, 206, 212, 213, 242, 246, 305, 312, 415, 416, 514, 604, 613, 617, 702)
    ]
    + [f"1{area}55501" for area in (787, 809, 868, 876)],
    "Ofcom: drama numbers": [
        f"44{city}4960" for city in (113, 114, 115, 116, 117, 118, 121, 131, 141, 151, 161)
    ]
    + ["442079460", "442896496", "442920180", "441632960", "447700900", "443069990", "448081570"],
    "ACMA: creative works": [f"61{area}{block}" for area in (2, 3, 7, 8) for block in (5550, 7010)]
    + ["61491570006", "61491570110", "61491570156", "61491570157", "61491570158", "61491570159"]
    + ["611800160401", "611800975707", "611800975708", "611800975709"]
    + ["611800975710", "611800975711"],
    "Arcep: audio-visual works": ["3319900", "3326191", "3335301", "3346571", "3353649", "3363998"],
    "Bundesnetzagentur: drama numbers": ["493023125", "496990009", "494066969", "492214710", "498999998"]
    + [f"49{prefix}" for prefix in (17139200, 176040690)],
    "ComReg: drama numbers": ["3532091"],
    "PTS: books and films": ["463139006", "464062804", "468465004", "469803192", "467017406"],
    "Russia: no local number begins with 0": ["74950", "74990", "78120"],
}


def read(name: str) -> list[dict[str, str]]:
    with (DEMO_FOLDER / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def catalogue() -> dict[str, dict[str, str]]:
    with (DATA_FOLDER / "regions.csv").open(encoding="utf-8", newline="") as file:
        return {region["region_id"]: region for region in [*csv.DictReader(file), *read("regions.csv")]}


def span(row: dict[str, str]) -> range:
    first = int(row["first_number"])
    return range(first, int(row["last_number"] or first) + 1)


STOCK = read("stock.csv")


@pytest.mark.parametrize("name", HEADERS)
def test_every_file_has_its_columns_and_whole_rows(name: str) -> None:
    lines = (DEMO_FOLDER / name).read_text(encoding="utf-8").splitlines()
    assert lines[0] == HEADERS[name]
    assert len(lines) > 1
    assert all(len(row) == len(lines[0].split(",")) for row in csv.reader(lines))


@pytest.mark.parametrize("row", STOCK, ids=lambda row: row["first_number"])
def test_a_range_is_nobodys(row: dict[str, str]) -> None:
    numbers = span(row)
    assert len(numbers) > 0
    # Both ends and a stride that meets every ending: a plan decides by leading digits, and a range has few of those.
    for number in {numbers[0], numbers[-1], *numbers[:: max(1, len(numbers) // 97)]}:
        kept = any(str(number).startswith(prefix) for prefixes in NOBODYS.values() for prefix in prefixes)
        assert kept or not phonenumbers.is_valid_number(phonenumbers.parse(f"+{number}")), number


@pytest.mark.parametrize("row", STOCK, ids=lambda row: row["first_number"])
def test_a_range_lies_in_its_region(row: dict[str, str]) -> None:
    region = catalogue()[row["region_id"]]
    assert (region["country_code"], region["category"]) == (row["country_code"], row["category"])
    calling_code = phonenumbers.country_code_for_region(row["country_code"])
    for number in (span(row)[0], span(row)[-1]):
        assert str(number).startswith(f"{calling_code}{region['area_code']}")


def test_ranges_do_not_overlap() -> None:
    spans = sorted((span(row)[0], span(row)[-1]) for row in STOCK)
    assert all(last < following for (_, last), (following, _) in pairwise(spans))


def test_there_are_many_countries_and_categories() -> None:
    assert len({row["country_code"] for row in STOCK}) >= 20
    assert {row["category"] for row in STOCK} == set(CATEGORIES)


def test_the_vendors_example_number_has_company() -> None:
    hollywood = [span(row) for row in STOCK if row["region_id"] == "101"]
    assert any(15552850126 in numbers for numbers in hollywood)
    assert sum(map(len, hollywood)) > 10_000
    assert all(numbers[0] % 1000 == 0 and numbers[-1] % 1000 == 999 for numbers in hollywood)


def test_russia_has_thousands() -> None:
    assert sum(len(span(row)) for row in STOCK if row["country_code"] == "RU") >= 3000


def test_demo_regions_stay_below_the_generated_ids() -> None:
    assert all(100 < int(region["region_id"]) < FIRST_GENERATED_ID for region in read("regions.csv"))


def rows_for(rows: list[dict[str, str]], stocked: dict[str, str]) -> list[dict[str, str]]:
    """The rows whose country, category and region fit, wildcards included."""
    return [
        row
        for row in rows
        if row["country_code"] in ("*", stocked["country_code"])
        and row["category"] in ("*", stocked["category"])
        and row["region_id"] in ("", stocked["region_id"])
    ]


@pytest.mark.parametrize("name", ["prices.csv", "rules.csv"])
def test_every_stocked_region_is_covered(name: str) -> None:
    rows = read(name)
    assert all(rows_for(rows, stocked) for stocked in STOCK)
    keys = [(row["country_code"], row["category"], row["region_id"]) for row in rows]
    assert len(keys) == len(set(keys))
    assert all(not region_id or region_id in catalogue() for _, _, region_id in keys)


def test_prices_are_exact_and_in_a_currency_with_a_rate() -> None:
    rates = {row["currency"]: Decimal(row["per_usd"]) for row in read("rates.csv")}
    assert rates["USD"] == 1
    assert all(rate > 0 for rate in rates.values())
    for row in read("prices.csv"):
        assert row["currency"] in rates
        assert min(Decimal(row["monthly_fee"]), Decimal(row["setup_fee"])) >= 0


def test_rules_show_every_restriction() -> None:
    rows = read("rules.csv")
    for column in ("can_list", "can_buy_by_number", "sms", "sandbox", "emergency_calls"):
        assert {row[column] for row in rows} == {"true", "false"}
    assert {row["regulation_address"] for row in rows} == {"", "LOCAL", "NATIONAL", "WORLDWIDE"}
    verified = {(row["country_code"], row["category"]) for row in rows if row["verification"] == "RU"}
    assert verified == {("RU", "GEOGRAPHIC"), ("RU", "MOSCOW495"), ("RU", "MOBILE")}


def test_tax_rates_are_percentages() -> None:
    taxes = {row["billing_country"]: Decimal(row["rate_percent"]) for row in read("taxes.csv")}
    assert all(0 <= rate < 30 for rate in taxes.values())
    assert [str(taxes[country]) for country in ("DE", "GB", "US", "RU")] == ["19", "20", "0", "22"]
