"""The catalogue: names are read in any case, and of several rules or prices the most specific one counts."""

from __future__ import annotations

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from numberline.domain import errors
from numberline.domain.catalog import (
    DEFAULT_RULE,
    Catalog,
    CatalogRows,
    Country,
    Offer,
    Price,
    Region,
    Rule,
    State,
    canonical_category,
)
from numberline.domain.errors import ErrorKind, Refusal

LOS_ANGELES = Region(1, "US", "GEOGRAPHIC", "CA", "213", "Los Angeles", "Лос-Анджелес")
NEW_YORK = Region(2, "US", "GEOGRAPHIC", "NY", "212", "New York", "Нью-Йорк")
TOLLFREE = Region(3, "US", "TOLLFREE", "", "800", "United States", "США")
BERLIN = Region(4, "DE", "GEOGRAPHIC", "", "30", "Berlin", "Берлин")
REGIONS = [LOS_ANGELES, NEW_YORK, TOLLFREE, BERLIN]
# Most specific first: which keys may speak about Los Angeles.
KEYS = [
    ("US", "GEOGRAPHIC", 1),
    ("US", "GEOGRAPHIC", 0),
    ("US", "*", 0),
    ("*", "GEOGRAPHIC", 0),
    ("*", "*", 0),
]


def build(
    *, prices: list[Price] | None = None, rules: list[Rule] | None = None, offers: list[Offer] | None = None
) -> Catalog:
    return Catalog(
        CatalogRows(
            revision=1,
            countries=[
                Country("US", "1", "United States", "США"),
                Country("DE", "49", "Germany", "Германия"),
                Country("AQ", "672", "Antarctica", "Антарктида"),
            ],
            states=[State("US", "NY", "New York"), State("US", "CA", "California")],
            regions=REGIONS,
            prices=prices or [],
            rules=rules or [],
            tax_ppm={},
            per_usd_micros={},
            offers=offers or [],
        )
    )


def refusal_of(action: object, *arguments: object) -> ErrorKind:
    with pytest.raises(Refusal) as caught:
        action(*arguments)  # type: ignore[operator]
    return caught.value.kind


# --- names -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", ["US", "us", " Us "])
def test_countries_are_found_in_any_case(code: str) -> None:
    assert build().country(code).code == "US"


@pytest.mark.parametrize("code", ["", "ZZ", "USA", "AQ", "ＵＳ"])
def test_a_country_without_regions_is_unknown(code: str) -> None:
    assert refusal_of(build().country, code) is errors.INVALID_COUNTRY


@pytest.mark.parametrize("name", ["GEOGRAPHIC", "geographic", "local", "LOCAL", " Local "])
def test_local_is_another_name_of_geographic(name: str) -> None:
    catalog = build()
    assert catalog.category(catalog.countries["US"], name) == "GEOGRAPHIC"
    assert canonical_category(name) == "GEOGRAPHIC"


@pytest.mark.parametrize("name", ["TOLLFREE", "MOBILE", "", "locale"])
def test_a_category_the_country_lacks_is_refused(name: str) -> None:
    catalog = build()
    assert refusal_of(catalog.category, catalog.countries["DE"], name) is errors.INVALID_CATEGORY


def test_states_are_found_in_any_case_and_may_be_left_out() -> None:
    catalog = build()
    country = catalog.countries["US"]
    assert (catalog.state(country, "ca"), catalog.state(country, " NY "), catalog.state(country, None)) == (
        "CA",
        "NY",
        None,
    )
    assert refusal_of(catalog.state, country, "TX") is errors.INVALID_STATE
    assert refusal_of(catalog.state, catalog.countries["DE"], "CA") is errors.INVALID_STATE


@pytest.mark.parametrize(
    ("country", "category", "state", "region_id", "kind"),
    [
        ("US", "GEOGRAPHIC", None, 9, errors.INVALID_REGION),
        ("US", "GEOGRAPHIC", None, 4, errors.INVALID_REGION),
        ("US", "TOLLFREE", None, 1, errors.INVALID_REGION),
        ("US", "GEOGRAPHIC", "NY", 1, errors.INVALID_STATE),
        ("US", "TOLLFREE", "CA", 3, errors.INVALID_STATE),
    ],
)
def test_a_region_elsewhere_is_refused(
    country: str, category: str, state: str | None, region_id: int, kind: ErrorKind
) -> None:
    catalog = build()
    assert refusal_of(catalog.region, catalog.countries[country], category, state, region_id) is kind


def test_a_region_is_found_with_its_state_and_without() -> None:
    catalog = build()
    country = catalog.countries["US"]
    assert catalog.region(country, "GEOGRAPHIC", "CA", 1) is LOS_ANGELES
    assert catalog.region(country, "GEOGRAPHIC", None, 1) is LOS_ANGELES


# --- browsing --------------------------------------------------------------------------------------------------


def test_only_positions_with_regions_by_state_have_states() -> None:
    catalog = build()
    assert catalog.has_states("US", "GEOGRAPHIC")
    assert not catalog.has_states("US", "TOLLFREE")
    assert not catalog.has_states("DE", "GEOGRAPHIC")
    assert [state.code for state in catalog.states_of("US")] == ["CA", "NY"]
    assert catalog.states_of("DE") == []


def test_categories_and_regions_of_a_country() -> None:
    catalog = build()
    assert catalog.categories_of("US") == ["GEOGRAPHIC", "TOLLFREE"]
    assert catalog.categories_of("AQ") == []
    assert catalog.regions_of("US", "GEOGRAPHIC") == [LOS_ANGELES, NEW_YORK]
    assert catalog.regions_of("US", "MOBILE") == []


# --- the most specific entry counts ----------------------------------------------------------------------------


@given(st.sets(st.sampled_from(range(len(KEYS)))), st.randoms(use_true_random=False))
def test_the_most_specific_rule_counts_in_whatever_order_they_come(present: set[int], chance: object) -> None:
    rules = [Rule(*KEYS[place], verification=f"rank {place}") for place in present]
    chance.shuffle(rules)  # type: ignore[attr-defined]
    found = build(rules=rules).rule(LOS_ANGELES)
    assert found.verification == (f"rank {min(present)}" if present else "")
    assert present or found is DEFAULT_RULE


@given(st.sets(st.sampled_from(range(len(KEYS)))))
def test_the_most_specific_price_of_the_tier_counts(present: set[int]) -> None:
    prices = [Price(*KEYS[place], "", "USD", place, 0) for place in present]
    others = [Price(*key, "gold", "USD", 99, 0) for key in KEYS]
    catalog = build(prices=prices + others)
    found = catalog.price(LOS_ANGELES)
    assert (found.monthly_micros if found else None) == (min(present) if present else None)
    gold = catalog.price(LOS_ANGELES, "gold")
    assert gold is not None
    assert gold.monthly_micros == 99
    assert catalog.price(LOS_ANGELES, "silver") is None


def test_what_is_said_of_another_place_does_not_count() -> None:
    elsewhere = [("DE", "GEOGRAPHIC", 0), ("US", "TOLLFREE", 0), ("US", "GEOGRAPHIC", 2), ("DE", "*", 0)]
    catalog = build(
        rules=[Rule(*key, sms=True) for key in elsewhere],
        prices=[Price(*key, "", "USD", 1, 1) for key in elsewhere],
    )
    assert catalog.rule(LOS_ANGELES) is DEFAULT_RULE
    assert catalog.price(LOS_ANGELES) is None


@pytest.mark.parametrize(("country", "category"), [*product(["US", "*"], ["GEOGRAPHIC", "*"])])
def test_a_whole_category_has_a_rule_too(country: str, category: str) -> None:
    rules = [Rule(country, category, sms=True), Rule("US", "GEOGRAPHIC", 1, sandbox=True)]
    found = build(rules=rules).position_rule("US", "GEOGRAPHIC")
    assert found.sms
    assert not found.sandbox, "a rule of one region says nothing of the others"


def test_without_rules_everything_is_allowed() -> None:
    assert build().position_rule("US", "GEOGRAPHIC") is DEFAULT_RULE
    assert DEFAULT_RULE.can_list
    assert DEFAULT_RULE.can_buy_by_number


# --- offers ----------------------------------------------------------------------------------------------------


def test_the_cheapest_offer_stands_first_and_an_unpriced_one_last() -> None:
    catalog = build(
        prices=[
            Price("US", "GEOGRAPHIC", 0, "", "USD", 2, 3),
            Price("US", "GEOGRAPHIC", 0, "gold", "USD", 4, 9),
            Price("US", "GEOGRAPHIC", 0, "sale", "USD", 4, 0),
        ],
        offers=[
            Offer(1, 1, "unpriced"),
            Offer(2, 1, "gold"),
            Offer(3, 1, ""),
            Offer(4, 1, "sale"),
            Offer(5, 2, ""),
        ],
    )
    assert [offer.id for offer in catalog.offers_of(1)] == [4, 3, 2, 1]
    assert [offer.id for offer in catalog.offers_of(2)] == [5]
    assert catalog.offers_of(3) == []
    first = catalog.first_price(LOS_ANGELES)
    assert first is not None
    assert first.tier == "sale"


def test_without_stock_the_ordinary_tier_is_the_price() -> None:
    catalog = build(prices=[Price("*", "*", 0, "", "USD", 7, 0)])
    found = catalog.first_price(BERLIN)
    assert found is not None
    assert found.monthly_micros == 7
    assert build().first_price(BERLIN) is None
