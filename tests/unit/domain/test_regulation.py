"""Which regulation address opens which region: owner first, then its state, then its place."""

from __future__ import annotations

from itertools import product

import msgspec
import pytest

from numberline.domain import errors
from numberline.domain.catalog import Region
from numberline.domain.errors import ErrorKind, Refusal
from numberline.domain.regulation import ADDRESS_TYPES, RegulationAddress, check_address

BERLIN = Region(1, "DE", "GEOGRAPHIC", "", "30", "Berlin", "Берлин")
ADDRESS = RegulationAddress(1, 7, "DE", "GEOGRAPHIC", "30", "VERIFIED")


def _refusal(address_type: str, address: RegulationAddress | None) -> ErrorKind | None:
    try:
        check_address(BERLIN, address_type, address, 7)
    except Refusal as refusal:
        return refusal.kind
    return None


@pytest.mark.parametrize("address_type", ADDRESS_TYPES)
def test_an_address_of_the_place_serves_every_type(address_type: str) -> None:
    assert _refusal(address_type, ADDRESS) is None


@pytest.mark.parametrize(
    ("change", "local", "national", "worldwide"),
    [
        ({"area_code": "40"}, False, True, True),
        ({"area_code": ""}, False, True, True),
        ({"category": "MOBILE"}, False, False, True),
        ({"country": "FR"}, False, False, True),
        ({"country": "FR", "category": "MOBILE", "area_code": "1"}, False, False, True),
    ],
)
def test_how_far_an_address_reaches(
    change: dict[str, str], local: bool, national: bool, worldwide: bool
) -> None:
    address = msgspec.structs.replace(ADDRESS, **change)
    for address_type, fits in zip(ADDRESS_TYPES, (local, national, worldwide), strict=True):
        assert _refusal(address_type, address) is (None if fits else errors.ADDRESS_MISMATCH)


@pytest.mark.parametrize(
    ("address_type", "state"),
    [
        *product(
            ADDRESS_TYPES,
            [
                ("IN_PROGRESS", errors.ADDRESS_PENDING),
                ("PENDING", errors.ADDRESS_PENDING),
                ("DECLINED", errors.ADDRESS_DECLINED),
            ],
        )
    ],
)
def test_only_a_verified_address_counts(address_type: str, state: tuple[str, ErrorKind]) -> None:
    status, kind = state
    elsewhere = msgspec.structs.replace(ADDRESS, status=status, country="FR")
    assert _refusal(address_type, msgspec.structs.replace(ADDRESS, status=status)) is kind
    assert _refusal(address_type, elsewhere) is kind, "the state is told before the place"


@pytest.mark.parametrize("status", ["VERIFIED", "IN_PROGRESS", "PENDING", "DECLINED"])
def test_another_accounts_address_is_as_unknown_as_none(status: str) -> None:
    theirs = msgspec.structs.replace(ADDRESS, account_id=8, status=status)
    assert _refusal("WORLDWIDE", theirs) is errors.ADDRESS_UNKNOWN
    assert _refusal("WORLDWIDE", None) is errors.ADDRESS_UNKNOWN
