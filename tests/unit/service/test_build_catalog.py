"""The packaged catalogue, and the rebuild that must never give a region another id."""

import csv
from pathlib import Path

import pytest
from phonenumbers.geodata import GEOCODE_DATA

from numberline.service import catalog_sources
from numberline.service.build_catalog import (
    DATA_FOLDER,
    FIRST_GENERATED_ID,
    CatalogBuild,
    build_catalog,
    number_regions,
)
from numberline.service.catalog_names import clean_english, clean_russian, russian_city
from numberline.service.catalog_regions import CATEGORIES, Region

FILES = ("countries.csv", "regions.csv", "states.csv")

# Enough of the geodata to meet every kind of country: states, shared codes, closed plans, Moscow. A whole build
# takes some fifteen seconds.
SAMPLE = ("1201", "1212", "1416", "1876", "7343", "7495", "7499", "4930", "44113", "4822", "551130", "813")


def row(
    country: str, area_code: str, name: str, *, category: str = "GEOGRAPHIC", name_ru: str = ""
) -> Region:
    return Region(country, category, "", area_code, name, name_ru or name)


def packaged() -> list[dict[str, str]]:
    with (DATA_FOLDER / "regions.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def build(folder: Path) -> CatalogBuild:
    return build_catalog(folder, progress=lambda _done, _total: None)


@pytest.fixture
def small_world(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources that know only a few places."""
    some = {digits: names for digits, names in GEOCODE_DATA.items() if digits.startswith(SAMPLE)}
    monkeypatch.setattr(catalog_sources, "GEOCODE_DATA", some)
    countries = [
        c for c in catalog_sources.read_countries() if c.country_code in {"US", "JM", "RU", "DE", "DK"}
    ]
    monkeypatch.setattr("numberline.service.build_catalog.read_countries", lambda: countries)


class TestNumbering:
    def test_the_first_region_gets_the_first_generated_id(self) -> None:
        assert list(number_regions({}, [row("DE", "30", "Berlin")])) == [FIRST_GENERATED_ID]

    def test_a_known_region_keeps_its_id_whatever_comes_before_it(self) -> None:
        known = {1005: row("DE", "30", "Berlin")}
        numbered = number_regions(known, [row("AT", "1", "Vienna"), row("DE", "30", "Berlin")])
        assert numbered == {1005: row("DE", "30", "Berlin"), 1006: row("AT", "1", "Vienna")}

    def test_a_region_the_sources_lost_keeps_its_row_and_its_id_is_not_given_again(self) -> None:
        known = {1000: row("DE", "30", "Berlin"), 1001: row("DE", "999", "Atlantis")}
        numbered = number_regions(known, [row("DE", "30", "Berlin"), row("DE", "40", "Hamburg")])
        assert numbered[1001].name_en == "Atlantis"
        assert numbered[1002].name_en == "Hamburg"

    def test_a_corrected_russian_name_is_taken_over(self) -> None:
        known = {1000: row("DE", "30", "Berlin")}
        numbered = number_regions(known, [row("DE", "30", "Berlin", name_ru="Берлин")])
        assert numbered == {1000: row("DE", "30", "Berlin", name_ru="Берлин")}

    def test_the_same_name_under_another_category_is_another_region(self) -> None:
        known = {1000: row("DE", "", "Germany", category="MOBILE")}
        assert len(number_regions(known, [row("DE", "", "Germany", category="NATIONAL")])) == 2


@pytest.mark.usefixtures("small_world")
class TestRebuild:
    def test_two_runs_write_the_same_bytes(self, tmp_path: Path) -> None:
        first = build(tmp_path)
        before = {name: (tmp_path / name).read_bytes() for name in FILES}
        second = build(tmp_path)
        assert {name: (tmp_path / name).read_bytes() for name in FILES} == before
        assert first.regions_added == first.regions == second.regions
        assert second.regions_added == second.regions_retired == 0

    def test_a_fresh_folder_gets_the_same_bytes(self, tmp_path: Path) -> None:
        build(tmp_path / "one")
        build(tmp_path / "two")
        for name in FILES:
            assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()

    def test_vanished_rows_stay(self, tmp_path: Path) -> None:
        build(tmp_path)
        path = tmp_path / "regions.csv"
        path.write_text(path.read_text() + "70000,DE,GEOGRAPHIC,,999,Atlantis,Атлантида\n")
        result = build(tmp_path)
        assert "70000,DE,GEOGRAPHIC,,999,Atlantis,Атлантида\n" in path.read_text()
        assert result.regions_retired == 1

    def test_moscow_495_is_a_category_of_its_own(self, tmp_path: Path) -> None:
        build(tmp_path)
        rows = (tmp_path / "regions.csv").read_text()
        assert ",RU,MOSCOW495,,495,Moscow,Москва\n" in rows
        assert ",RU,GEOGRAPHIC,,495," not in rows

    def test_progress_ends_complete(self, tmp_path: Path) -> None:
        steps: list[tuple[int, int]] = []
        build_catalog(tmp_path, progress=lambda done, total: steps.append((done, total)))
        assert steps[-1][0] == steps[-1][1] > 0

    @pytest.mark.parametrize(
        "content",
        [
            "name,id\nBerlin,1\n",
            "region_id,country_code,category,state_code,area_code,name_en,name_ru\n101,US,,,,x,x\n",
        ],
    )
    def test_a_file_that_is_not_ours_is_left_alone(self, tmp_path: Path, content: str) -> None:
        (tmp_path / "regions.csv").write_text(content)
        with pytest.raises(ValueError, match=r"regions\.csv"):
            build(tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["regions.csv"]
        assert (tmp_path / "regions.csv").read_text() == content


class TestPackaged:
    def test_ids_ascend_from_the_first_generated_one(self) -> None:
        ids = [int(region["region_id"]) for region in packaged()]
        assert ids == sorted(set(ids))
        assert ids[0] == FIRST_GENERATED_ID

    def test_no_two_regions_are_alike(self) -> None:
        kinds = [tuple(region.values())[1:6] for region in packaged()]
        assert len(kinds) == len(set(kinds))

    def test_size_is_sensible(self) -> None:
        assert 10_000 < len(packaged()) < 16_000

    def test_every_value_is_well_formed(self) -> None:
        with (DATA_FOLDER / "states.csv").open(encoding="utf-8", newline="") as file:
            states = {(state["country_code"], state["state_code"]) for state in csv.DictReader(file)}
        with (DATA_FOLDER / "countries.csv").open(encoding="utf-8", newline="") as file:
            countries = {country["country_code"] for country in csv.DictReader(file)}
        for region in packaged():
            country, state = region["country_code"], region["state_code"]
            assert region["category"] in CATEGORIES
            assert country in countries
            assert not region["area_code"] or (
                region["area_code"].isascii() and region["area_code"].isdigit()
            )
            assert region["name_en"].strip() == region["name_en"] != ""
            assert region["name_ru"].strip() == region["name_ru"] != ""
            needs_state = (
                country in catalog_sources.COUNTRIES_SOLD_BY_STATE and region["category"] == "GEOGRAPHIC"
            )
            assert ((country, state) in states) if needs_state else not state, region

    def test_every_country_sells_fixed_numbers(self) -> None:
        with (DATA_FOLDER / "countries.csv").open(encoding="utf-8", newline="") as file:
            countries = {country["country_code"] for country in csv.DictReader(file)}
        assert {
            region["country_code"] for region in packaged() if region["category"] == "GEOGRAPHIC"
        } == countries

    @pytest.mark.parametrize(
        "place",
        [
            ("AU", "", "2", "Sydney", "Сидней"),
            ("BR", "", "11", "São Paulo", "Сан-Паулу"),
            ("CA", "ON", "416", "Toronto", "Торонто"),
            ("DE", "", "30", "Berlin", "Берлин"),
            ("ES", "", "91", "Madrid", "Мадрид"),
            ("FR", "", "1", "Paris", "Париж"),
            ("GB", "", "20", "London", "Лондон"),
            ("IT", "", "06", "Rome", "Рим"),
            ("JP", "", "3", "Tokyo", "Токио"),
            ("KZ", "", "727", "Almaty", "Алматы"),
            ("RU", "", "499", "Moscow", "Москва"),
            ("RU", "", "812", "Saint Petersburg", "Санкт-Петербург"),
            ("US", "NJ", "201", "Jersey City", "Джерси-Сити"),
            ("US", "NY", "212", "New York", "Нью-Йорк"),
        ],
        ids=lambda place: place[3],
    )
    def test_known_city(self, place: tuple[str, ...]) -> None:
        country, *rest = place
        assert [country, "GEOGRAPHIC", *rest] in [list(region.values())[1:] for region in packaged()]

    def test_freephone_prefixes_of_the_us(self) -> None:
        prefixes = {
            region["area_code"]
            for region in packaged()
            if (region["country_code"], region["category"]) == ("US", "TOLLFREE")
        }
        assert prefixes == {"800", "833", "844", "855", "866", "877", "888"}


@pytest.mark.parametrize(
    ("country", "description", "name"),
    [
        ("US", "Hasbrouck Hts", "Hasbrouck Heights"),
        ("US", "South 7th Street, Minneapolis", "Minneapolis"),
        ("BR", "São Paulo - SP", "São Paulo"),
        ("JP", "Sapporo, Hokkaido", "Sapporo"),
        ("UA", "Kyiv city", "Kyiv"),
        ("VN", "Quang Ninh province", "Quang Ninh"),
        ("PY", "Santa Rosa / Misiones", "Santa Rosa/Misiones"),
        ("TH", "Bangkok/Nonthaburi/Pathum Thani/Samut Prakan", "Bangkok/Nonthaburi/Pathum Thani"),
        ("GE", "lanchxuti", "Lanchxuti"),
        ("MX", "Mexico City, FD", "Mexico City"),
    ],
)
def test_english_names_are_cleaned(country: str, description: str, name: str) -> None:
    assert clean_english(country, description) == name


@pytest.mark.parametrize(
    ("description", "name"),
    [("г. Москва", "Москва"), ("Омская обл.", "Омская область"), ("Шетский р-н", "Шетский район"), ("", "")],
)
def test_russian_names_are_cleaned(description: str, name: str) -> None:
    assert clean_russian(description) == name


def test_a_russian_name_belongs_to_the_city_of_that_country() -> None:
    assert russian_city("FR", "Paris") == "Париж"
    assert russian_city("US", "Paris") is None
