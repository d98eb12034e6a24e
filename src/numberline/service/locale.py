"""Words of the catalogue in the languages the wire offers."""

from __future__ import annotations

from typing import Final

from numberline.domain.catalog import CATEGORIES, Country, Region

RUSSIAN: Final = "RU"
_REGION_WORDS: Final = {"EN": "Region", "RU": "Регион"}


def country_name(country: Country, locale: str | None) -> str:
    """The country's name, in English unless Russian is asked for."""
    return country.name_ru if locale == RUSSIAN else country.name_en


def category_name(category: str, locale: str | None) -> str:
    """The category's name for people."""
    found = CATEGORIES.get(category)
    if found is None:
        return category
    return found.name_ru if locale == RUSSIAN else found.name_en


def region_name(region: Region, locale: str | None) -> str:
    """The region's name."""
    return region.name_ru if locale == RUSSIAN else region.name_en


def region_word(locale: str | None) -> str:
    """What the level of regions is called."""
    return _REGION_WORDS.get(locale or "EN", _REGION_WORDS["EN"])
