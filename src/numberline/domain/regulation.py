"""Regulation addresses: some regions' numbers are sold only to holders of a verified address."""

from __future__ import annotations

from typing import Final

import msgspec

from numberline.domain import errors
from numberline.domain.catalog import Region
from numberline.domain.errors import Refusal

LOCAL: Final = "LOCAL"
NATIONAL: Final = "NATIONAL"
WORLDWIDE: Final = "WORLDWIDE"
ADDRESS_TYPES: Final = (LOCAL, NATIONAL, WORLDWIDE)


class AddressDetails(msgspec.Struct, frozen=True, omit_defaults=True):
    """The postal part of a regulation address."""

    salutation: str = ""
    company: str | None = None
    first_name: str | None = None
    last_name: str | None = None
    owner_country: str | None = None
    city: str = ""
    zip_code: str = ""
    street: str = ""
    house_number: str = ""
    house_letter: str | None = None
    reject_message: str | None = None


class RegulationAddress(msgspec.Struct, frozen=True):
    """An address of an account, good for the numbers of one country and category; `area_code` empty: all of it."""

    id: int
    account_id: int
    country: str
    category: str
    area_code: str
    status: str
    details: AddressDetails = AddressDetails()


def check_address(
    region: Region, address_type: str, address: RegulationAddress | None, buyer_id: int
) -> None:
    """Refuse an address that does not serve a region with the given address type.

    `address` is None when the id named none; an address of another account is answered in the same way.
    """
    if address is None or address.account_id != buyer_id:
        raise Refusal(errors.ADDRESS_UNKNOWN)
    if address.status == "DECLINED":
        raise Refusal(errors.ADDRESS_DECLINED)
    if address.status != "VERIFIED":
        raise Refusal(errors.ADDRESS_PENDING)
    if not _fits(region, address_type, address):
        raise Refusal(errors.ADDRESS_MISMATCH)


def _fits(region: Region, address_type: str, address: RegulationAddress) -> bool:
    if address_type == WORLDWIDE:
        return True
    if (address.country, address.category) != (region.country, region.category):
        return False
    return address_type == NATIONAL or address.area_code == region.area_code
