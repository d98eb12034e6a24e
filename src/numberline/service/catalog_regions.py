"""Which regions the catalogue offers: the choice among what the sources know.

Geographic regions are the principal places of each area code, by how many numbers serve them. Mobile and national (VoIP,
company-wide) numbers have one region a country, freephone numbers one for each prefix. Russia's code 495 is a category of
its own, as the vendor sells it.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from phonenumbers import PhoneMetadata, PhoneNumberDesc

from numberline.service.catalog_names import PRINCIPAL_CITIES, SUPPLEMENT, folded, russian_city
from numberline.service.catalog_sources import (
    COUNTRIES_SOLD_BY_STATE,
    Country,
    Exchange,
    has_numbers,
    nanp_area_codes,
    pattern_of,
    read_exchanges,
)

CATEGORIES = ("GEOGRAPHIC", "MOBILE", "MOSCOW495", "NATIONAL", "TOLLFREE")

# How many places one area code, and one country, may have. Short codes serve many cities, so they get more.
_PLACES_PER_CODE = {"AU": 60, "BR": 15, "CA": 8, "FR": 100, "MY": 40, "NZ": 40, "US": 8}
_PLACES_PER_CODE_DEFAULT = 20
# The geodata lists some countries village by village; these limits keep the catalogue near 15,000 regions.
_PLACES_PER_COUNTRY = {
    "AL": 80, "AM": 80, "AT": 250, "BD": 120, "BG": 120, "BR": 600, "CA": 500, "CN": 330, "DE": 1500, "ET": 80, "GA": 25,
    "GB": 700, "GM": 30, "GY": 30, "HN": 60, "ID": 300, "IN": 600, "JP": 450, "KI": 10, "KZ": 200, "LU": 60, "LY": 60,
    "MN": 60, "MX": 420, "MY": 120, "NA": 50, "SE": 270, "UA": 200, "US": 3000,
}  # fmt: skip
_PLACES_PER_COUNTRY_DEFAULT = 250

# More freephone prefixes than this are no choice a buyer would make; the country then has one freephone region.
_TOLLFREE_PREFIXES_MAX = 10
_FILLERS = "2056"


@dataclass(frozen=True, slots=True, order=True)
class Region:
    """A region without its id. The first five fields are what the id stands for; ``name_ru`` may be corrected."""

    country_code: str
    category: str
    state_code: str
    area_code: str
    name_en: str
    name_ru: str


def plan_regions(countries: Iterable[Country], progress: Callable[[int, int], None]) -> list[Region]:
    """Every region of the world worth selling, sorted, no two alike but for ``name_ru``."""
    listed = list(countries)
    regions = [_as_sold(region) for region in _geographic_regions(progress)]
    regions += [Region(code, "GEOGRAPHIC", "", area, name, ru) for code, area, name, ru in SUPPLEMENT]
    regions += _country_wide_regions(listed, {(region.country_code, region.area_code) for region in regions})
    for country in listed:
        regions += _non_geographic_regions(country)
    return sorted(regions)


def _as_sold(region: Region) -> Region:
    if (region.country_code, region.area_code) != ("RU", "495"):
        return region
    return Region("RU", "MOSCOW495", "", "495", "Moscow", "Москва")


def _geographic_regions(progress: Callable[[int, int], None]) -> Iterator[Region]:
    by_code: dict[tuple[str, str], list[Exchange]] = defaultdict(list)
    for exchange in read_exchanges(progress):
        by_code[exchange.country_code, exchange.area_code].append(exchange)
    by_country: dict[str, list[tuple[int, Region]]] = defaultdict(list)
    for (country, _), exchanges in by_code.items():
        by_country[country] += _principal_places(country, exchanges)
    for country, places in by_country.items():
        places.sort(key=lambda place: (-place[0], place[1]))
        limit = _PLACES_PER_COUNTRY.get(country, _PLACES_PER_COUNTRY_DEFAULT)
        yield from (region for _, region in places[:limit])


def _principal_places(country: str, exchanges: list[Exchange]) -> list[tuple[int, Region]]:
    """The places of one area code that have most numbers, each with its weight."""
    towns = [exchange for exchange in exchanges if not exchange.is_wide] or exchanges
    weights: dict[Region, int] = defaultdict(int)
    for town in towns:
        if town.state_code or country not in COUNTRIES_SOLD_BY_STATE:
            weights[_region(town)] += town.weight
    ranked = sorted(weights.items(), key=lambda item: (-item[1], item[0]))
    chosen: dict[str, tuple[int, Region]] = {}
    for region, weight in ranked:
        # The same town may be spelled in two ways; the one with more numbers wins.
        chosen.setdefault(f"{region.state_code} {folded(region.name_en)}", (weight, region))
    return list(chosen.values())[: _PLACES_PER_CODE.get(country, _PLACES_PER_CODE_DEFAULT)]


def _region(exchange: Exchange) -> Region:
    country, area_code = exchange.country_code, exchange.area_code
    name_en, name_ru = PRINCIPAL_CITIES.get((country, area_code), (exchange.name_en, ""))
    name_ru = name_ru or russian_city(country, name_en) or exchange.name_ru or name_en
    return Region(country, "GEOGRAPHIC", exchange.state_code, area_code, name_en, name_ru)


def _country_wide_regions(countries: Iterable[Country], known: set[tuple[str, str]]) -> Iterator[Region]:
    """Regions named after the country: for NANP area codes no source locates, and for countries without geodata."""
    nanp = nanp_area_codes()
    located = {country for country, _ in known}
    for country in countries:
        code = country.country_code
        metadata = PhoneMetadata.metadata_for_region(code)
        if code in COUNTRIES_SOLD_BY_STATE or metadata is None or not has_numbers(metadata.fixed_line):
            continue
        without_nanp = [] if code in located else [""]
        for area_code in nanp.get(code, without_nanp):
            if (code, area_code) not in known:
                yield _whole(country, "GEOGRAPHIC", area_code)


def _non_geographic_regions(country: Country) -> Iterator[Region]:
    metadata = PhoneMetadata.metadata_for_region(country.country_code)
    if metadata is None:
        return
    # Where mobile numbers cannot be told from fixed ones (as in the US) there is no mobile category to sell.
    if has_numbers(metadata.mobile) and pattern_of(metadata.mobile) != pattern_of(metadata.fixed_line):
        yield _whole(country, "MOBILE", "")
    if has_numbers(metadata.voip) or has_numbers(metadata.uan):
        yield _whole(country, "NATIONAL", "")
    if has_numbers(metadata.toll_free):
        for prefix in _prefixes(metadata.toll_free):
            yield _whole(country, "TOLLFREE", prefix)


def _whole(country: Country, category: str, area_code: str) -> Region:
    return Region(country.country_code, category, "", area_code, country.name_en, country.name_ru)


def _prefixes(desc: PhoneNumberDesc | None) -> list[str]:
    """The leading digits numbers of this kind may have, three or four of them; [""] if there are too many."""
    short = [f"{number:03}" for number in range(1000) if _begins(desc, f"{number:03}")]
    prefixes: list[str] = []
    for prefix in short:
        longer = [f"{prefix}{digit}" for digit in range(10) if _begins(desc, f"{prefix}{digit}")]
        # Nearly every next digit is allowed after a true prefix; one or two mean that it runs on (180 -> 1800).
        prefixes += longer if 1 <= len(longer) <= 2 else [prefix]
    return prefixes if 1 <= len(prefixes) <= _TOLLFREE_PREFIXES_MAX else [""]


def _begins(desc: PhoneNumberDesc | None, prefix: str) -> bool:
    if desc is None:
        return False
    pattern = re.compile(pattern_of(desc))
    return any(
        pattern.fullmatch(prefix + filler * (length - len(prefix)))
        for length in desc.possible_length
        if length > len(prefix)
        for filler in _FILLERS
    )
