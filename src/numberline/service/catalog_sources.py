"""What the catalogue is built from, read into plain values.

Three public data sets answer: libphonenumber (numbering plans and the geodata that names area codes and exchanges), CLDR
through Babel (countries in English and Russian) and pycountry (states). Nothing here decides which regions are sold;
``build_catalog`` does.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import phonenumbers
import pycountry
from babel import Locale
from phonenumbers import PhoneMetadata, PhoneNumber, PhoneNumberDesc, PhoneNumberType
from phonenumbers.geodata import GEOCODE_DATA

from numberline.service.catalog_names import clean_english, clean_russian

DIGITS = "0123456789"
COUNTRIES_SOLD_BY_STATE = ("CA", "US")

# A sample number is prolonged with these digits in turn: most plans give 2..8 to subscribers, few 0, 1 or 9.
_FILLERS = "2345678109"
_FIXED = (PhoneNumberType.FIXED_LINE, PhoneNumberType.FIXED_LINE_OR_MOBILE)

# Numbers that share this many leading national digits share plan and area code; classifying one classifies all.
# The five plans with the most geodata are told apart earlier (Cocos and Christmas Island need five digits of AU).
_CLASS_DIGITS = {1: 3, 33: 3, 55: 4, 61: 5, 86: 4}
_CLASS_DIGITS_DEFAULT = 6

# Where callers always dial the whole number there is no area code; the leading digits that tell towns apart stand in.
_CLOSED_PLAN_DIGITS = {
    "AO": 3, "CL": 2, "CM": 3, "GL": 2, "GM": 3, "GQ": 2, "NO": 2, "SJ": 2, "UY": 3, "YE": 2,
}  # fmt: skip
_CLOSED_PLAN_DIGITS_DEFAULT = 4

# libphonenumber groups German and Bulgarian numbers more coarsely than their area codes run: where it sees at least
# so many digits of code, the geodata's own prefix is the code.
_GEODATA_IS_EXACT = {"BG": 2, "DE": 4}

# Indian geodata runs one digit into the subscriber's number.
_CODE_DIGITS_MAX = {"IN": 4}

# Geodata of these countries shortens "all codes that begin so" to their common start; spell the codes out.
_SHORTENED = frozenset({"AR", "KE", "MD", "MX", "RU", "VE"})

# Subdivisions of the US by ISO 3166-2 which have plans, and so countries, of their own.
_NOT_STATES = frozenset({"US-AS", "US-GU", "US-MP", "US-PR", "US-UM", "US-VI"})


@dataclass(frozen=True, slots=True)
class Country:
    """A country or territory with its own numbering plan; ``calling_code`` is digits without ``+``."""

    country_code: str
    calling_code: str
    name_en: str
    name_ru: str


@dataclass(frozen=True, slots=True)
class State:
    """A state, province or territory; ``state_code`` without the country ("NJ")."""

    country_code: str
    state_code: str
    name_en: str


@dataclass(frozen=True, slots=True)
class Exchange:
    """A range of fixed numbers and the place it serves; ``weight`` grows with the count of its numbers.

    ``is_wide`` marks descriptions of a state or a quarter of a country, a last resort where no town is known.
    """

    country_code: str
    area_code: str
    state_code: str
    name_en: str
    name_ru: str
    weight: int
    is_wide: bool


def read_countries() -> list[Country]:
    """Every country libphonenumber has a plan for, sorted by code."""
    english, russian = Locale("en").territories, Locale("ru").territories
    return [
        Country(code, str(phonenumbers.country_code_for_region(code)), english[code], russian[code])
        for code in sorted(phonenumbers.SUPPORTED_REGIONS)
    ]


@cache
def read_states() -> tuple[State, ...]:
    """States of the countries that sell by state, sorted by country and code."""
    found = [
        State(country, entry.code.split("-", 1)[1], entry.name)
        for country in COUNTRIES_SOLD_BY_STATE
        for entry in pycountry.subdivisions
        if entry.country_code == country and entry.code not in _NOT_STATES
    ]
    return tuple(sorted(found, key=lambda state: (state.country_code, state.state_code)))


def read_exchanges(progress: Callable[[int, int], None]) -> Iterator[Exchange]:
    """Named ranges of fixed numbers of the whole world, in the geodata's order.

    ``progress`` is called with (ranges read, ranges in all), the last time with both equal.
    """
    total = len(GEOCODE_DATA)
    for done, (digits, names) in enumerate(GEOCODE_DATA.items(), start=1):
        if done % 4096 == 0 or done == total:
            progress(done, total)
        if "en" not in names:
            continue
        calling_code, national = split_calling_code(digits)
        yield from _exchanges(calling_code, national, names["en"], names.get("ru", ""))


def split_calling_code(digits: str) -> tuple[int, str]:
    """International digits as (calling code, national prefix). Calling codes are prefix-free, so one fits."""
    for length in (1, 2, 3):
        if int(digits[:length]) in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            return int(digits[:length]), digits[length:]
    raise ValueError(f"no calling code begins {digits}")


def _exchanges(calling_code: int, national: str, english: str, russian: str) -> Iterator[Exchange]:
    prefixes = _spelled_out(calling_code, national)
    for prefix in prefixes:
        place = classify(calling_code, prefix[: _CLASS_DIGITS.get(calling_code, _CLASS_DIGITS_DEFAULT)])
        if place is None:
            continue
        country, code_length = place
        city, state, is_wide = _split_state(country, english)
        name_en = clean_english(country, city)
        if name_en:
            yield Exchange(
                country,
                _area_code(country, prefix, code_length),
                state,
                name_en,
                clean_russian(russian),
                10 ** max(0, 12 - len(prefix)),
                is_wide or len(prefixes) > 1,
            )


def _area_code(country: str, prefix: str, code_length: int) -> str:
    """The area code that a national prefix begins with, or the whole prefix if it is shorter."""
    if code_length == 0:
        return prefix[: _CLOSED_PLAN_DIGITS.get(country, _CLOSED_PLAN_DIGITS_DEFAULT)]
    if code_length >= _GEODATA_IS_EXACT.get(country, 99):
        return prefix
    return prefix[: min(code_length, _CODE_DIGITS_MAX.get(country, code_length))]


def _spelled_out(calling_code: int, national: str) -> list[str]:
    """The prefix itself, or the area codes it stands for where the geodata shortened them."""
    if not _SHORTENED.intersection(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[calling_code]):
        return [national]
    place = classify(calling_code, national)
    if place is None or len(national) != place[1] - 1:
        return [national]
    longer = [national + digit for digit in DIGITS]
    return [prefix for prefix in longer if classify(calling_code, prefix) is not None]


@cache
def classify(calling_code: int, prefix: str) -> tuple[str, int] | None:
    """(country, length of its area codes) of the fixed numbers that begin so; None if there are none."""
    if calling_code == 1 and prefix[:3] in _nanp_islands():
        return _nanp_islands()[prefix[:3]], 3
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(
        calling_code, phonenumbers.region_code_for_country_code(calling_code)
    )
    if metadata is None or metadata.general_desc is None:
        return None
    for number in _samples(calling_code, prefix, metadata.general_desc.possible_length):
        # number_type is UNKNOWN for what the plan does not allow, so this is the test of validity too.
        if phonenumbers.number_type(number) in _FIXED:
            country = phonenumbers.region_code_for_number(number)
            if country is not None:
                return country, phonenumbers.length_of_geographical_area_code(number)
    return None


def _samples(calling_code: int, prefix: str, lengths: tuple[int, ...]) -> Iterator[PhoneNumber]:
    for length in lengths:
        if length <= len(prefix):
            continue
        for filler in _FILLERS:
            national = prefix + filler * (length - len(prefix))
            zeros = len(national) - len(national.lstrip("0"))
            yield PhoneNumber(
                country_code=calling_code,
                national_number=int(national),
                italian_leading_zero=True if zeros else None,
                number_of_leading_zeros=zeros or None,
            )


def _split_state(country: str, english: str) -> tuple[str, str, bool]:
    """(place, state code, whether it is wider than one place) of a description such as "Jersey City, NJ"."""
    if country not in COUNTRIES_SOLD_BY_STATE:
        return english, "", english in _WIDE_AREAS or (country == "BR" and " - " not in english)
    place, _, code = english.rpartition(", ")
    codes = _state_codes(country)
    if place and code in codes.values():
        return place, code, False
    return english, codes.get(_STATE_SPELLINGS.get(english, english), ""), True


# Descriptions that name a quarter of a country: worth a region only where no town is known.
_WIDE_AREAS = frozenset(
    {"Ile de France", "Nord Est", "Nord Ouest", "Sud Est", "Sud Ouest"}
    | {"New South Wales", "Northern Territory", "Queensland", "South Australia", "Tasmania", "Victoria"}
    | {"Western Australia"}
)

# Spellings of the geodata that pycountry has otherwise; an overlay of three territories goes to the first.
_STATE_SPELLINGS = {
    "British Colombia": "British Columbia",
    "Northwest Territories/Nunavut/Yukon": "Northwest Territories",
    "Nova Scotia/Prince Edward Island": "Nova Scotia",
    "Washington D.C.": "District of Columbia",
    "Washington State": "Washington",
}


@cache
def _state_codes(country: str) -> dict[str, str]:
    return {state.name_en: state.state_code for state in read_states() if state.country_code == country}


def nanp_area_codes() -> dict[str, list[str]]:
    """Area codes of calling code 1 by country, from the plan alone: also those the geodata does not know."""
    found: dict[str, list[str]] = defaultdict(list)
    for code in range(200, 1000):
        place = classify(1, str(code))
        if place is not None:
            found[place[0]].append(str(code))
    return found


@cache
def _nanp_islands() -> dict[str, str]:
    """Area code -> country for the NANP members whose plan names their area codes; US and CA name none."""
    found: dict[str, str] = {}
    for country in phonenumbers.region_codes_for_country_code(1):
        metadata = PhoneMetadata.metadata_for_region(country)
        if metadata is not None and metadata.leading_digits is not None:
            codes = re.compile(metadata.leading_digits)
            found |= {str(code): country for code in range(200, 1000) if codes.fullmatch(str(code))}
    return found


def pattern_of(desc: PhoneNumberDesc | None) -> str:
    """The regular expression of this kind of national number; "" if the plan has none."""
    pattern = desc.national_number_pattern if desc is not None else None
    return pattern if pattern and pattern != "NA" else ""


def has_numbers(desc: PhoneNumberDesc | None) -> bool:
    """Whether the plan has numbers of this kind at all."""
    return pattern_of(desc) != ""
