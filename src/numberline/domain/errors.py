"""Every way a request can be refused: the vendor's code and a sentence a person understands.

One table. Code above raises `Refusal(KIND, ...)`; the wire layer renders it. The declaration of each API method
says which kinds it may answer with and which of its parameters a kind speaks about.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec


class ErrorKind(msgspec.Struct, frozen=True):
    """One entry of the error table.

    `code` and `name` are the vendor's; `sentence` is ours, a format string over the refusal's values.
    """

    code: int
    name: str
    sentence: str


class Refusal(Exception):
    """A request that is refused, with the values its sentence needs and the details the wire may carry.

    `parameter` is the wire name of the parameter at fault where only the raiser can know it (parsing);
    elsewhere the method's declaration supplies it.
    """

    def __init__(
        self,
        kind: ErrorKind,
        *,
        parameter: str | None = None,
        details: Mapping[str, str] | None = None,
        **values: object,
    ) -> None:
        super().__init__(kind.name)
        self.kind = kind
        self.parameter = parameter
        self.details = details
        self.values = values

    @property
    def sentence(self) -> str:
        """The message for a person, with the values filled in."""
        return self.kind.sentence.format(**{"parameter": self.parameter} | self.values)

    def __repr__(self) -> str:
        return f"Refusal({self.kind.code} {self.kind.name}: {self.sentence})"


# The service itself
INTERNAL_ERROR: Final = ErrorKind(
    2, "INTERNAL_ERROR", "Something failed inside the service; reference {reference}."
)
STORE_UNAVAILABLE: Final = ErrorKind(
    4, "DB_ERROR", "The store is out of reach for the moment; nothing was changed. Repeat the request later."
)
COMMIT_UNKNOWN: Final = ErrorKind(
    4,
    "DB_ERROR",
    "The store broke off while the change was being made durable, so its outcome is unknown."
    " Repeat with the same Idempotency-Key, or look before repeating.",
)
NOT_PRICED: Final = ErrorKind(
    5, "BILLING_ERROR", "No price in {currency} is set for this position of the catalogue."
)
TRY_LATER: Final = ErrorKind(
    162, "TRY_LATER", "The service is busy; nothing was changed. Repeat the request later."
)

# Who is calling, and what
AUTHORIZATION_FAILED: Final = ErrorKind(100, "AUTHORIZATION_FAILED", "Authorization failed.")
INVALID_ARGUMENTS: Final = ErrorKind(101, "INVALID_ARGUMENTS", "The request cannot be read: {reason}.")
MISSING_CMD: Final = ErrorKind(102, "MISSING_CMD", "The 'cmd' parameter is missing.")
UNKNOWN_COMMAND: Final = ErrorKind(103, "UNKNOWN_COMMAND", "Unknown command.")
FORBIDDEN_COMMAND: Final = ErrorKind(
    104, "FORBIDDEN_COMMAND", "None of the caller's roles allows this command."
)
ACCOUNT_FROZEN: Final = ErrorKind(104, "FORBIDDEN_COMMAND", "The account is frozen and may not buy.")
ACCOUNT_NOT_ACTIVATED: Final = ErrorKind(131, "ACCOUNT_ISNT_ACTIVATED", "The account was never activated.")
INVALID_TOKEN_FORMAT: Final = ErrorKind(447, "INVALID_TOKEN_FORMAT", "The bearer token cannot be read.")
INVALID_TOKEN_TTL: Final = ErrorKind(454, "INVALID_TOKEN_TTL", "The token may live for one hour at most.")
TOKEN_ISSUED_IN_FUTURE: Final = ErrorKind(
    455, "TOKEN_ISSUED_IN_FUTURE", "The token says it was issued in the future."
)
TOKEN_EXPIRED: Final = ErrorKind(456, "TOKEN_EXPIRED", "The token has expired.")

# The shape of parameters
REQUIRED_IS_EMPTY: Final = ErrorKind(134, "REQUIRED_IS_EMPTY", "The '{parameter}' parameter is required.")
INVALID_DATE_FORMAT: Final = ErrorKind(
    111,
    "INVALID_DATE_FORMAT",
    "The '{parameter}' parameter must look like YYYY-MM-DD or YYYY-MM-DD HH:MM:SS.",
)
ONLY_ONE_OF: Final = ErrorKind(
    458, "ONLY_ONE_OF_PARAMETERS", "Only one of these parameters may be given: {names}."
)
LENGTH_EXCEEDED: Final = ErrorKind(
    477, "LENGTH_EXCEEDED", "The '{parameter}' parameter is longer than {limit}."
)
INVALID: Final = ErrorKind(496, "INVALID", "The '{parameter}' parameter is invalid.")
VALUE_NOT_UNIQUE: Final = ErrorKind(
    493, "VALUE_NOT_UNIQUE", "The '{parameter}' was already used for a request with other parameters."
)

# The catalogue
INVALID_COUNTRY: Final = ErrorKind(239, "INVALID_COUNTRY_CODE", "The 'country_code' parameter is invalid.")
INVALID_CATEGORY: Final = ErrorKind(
    240, "INVALID_PHONE_CATEGORY_NAME", "The 'phone_category_name' parameter is invalid."
)
INVALID_REGION: Final = ErrorKind(
    241, "INVALID_PHONE_REGION_ID", "The 'phone_region_id' parameter is invalid."
)
INVALID_STATE: Final = ErrorKind(242, "INVALID_COUNTRY_STATE", "The 'country_state' parameter is invalid.")
NOT_LISTED: Final = ErrorKind(
    529, "PHONE_NUMBERS_LIST_IS_NOT_AVAILABLE", "Numbers of this category are not listed; buy them by count."
)
NOT_SOLD_BY_NUMBER: Final = ErrorKind(
    530, "BUYING_BY_PHONE_NUMBER_IS_NOT_SUPPORTED", "Numbers of this category are sold by count only."
)

# The stock and the rentals
INVALID_NUMBER: Final = ErrorKind(
    121, "INVALID_PHONE_NUMBER", "The phone number '{number}' is invalid or unknown."
)
INVALID_PHONE_ID: Final = ErrorKind(181, "INVALID_PHONE_ID", "The 'phone_id' parameter is invalid.")
NUMBER_TAKEN: Final = ErrorKind(182, "OCCUPIED_PHONE_NUMBER", "The phone number {number} is already rented.")
NUMBER_ALREADY_YOURS: Final = ErrorKind(
    395, "PHONE_NUMBER_UNUSABLE", "The phone number {number} already belongs to this account."
)
INVALID_COUNT: Final = ErrorKind(
    243, "INVALID_PHONE_COUNT", "The number of phone numbers to buy must lie between 1 and {limit}."
)
NO_STOCK: Final = ErrorKind(331, "NO_PHONES_IN_STOCK", "No phone number is left in this region.")
LESS_STOCK: Final = ErrorKind(
    332, "INSUFFICIENT_PHONES", "Fewer phone numbers are in stock than were asked for: {left}"
)
RENTAL_LIMIT: Final = ErrorKind(
    314, "CONCURRENT_RESOURCE_LIMIT_EXCEEDED", "The account may hold {limit} phone numbers at most."
)
INVALID_CHILD: Final = ErrorKind(
    194, "INVALID_CHILD_ACCOUNT_ID", "The 'child_account_id' parameter is invalid."
)
INVALID_APPLICATION: Final = ErrorKind(
    116, "INVALID_APPLICATION_ID", "The 'application_id' parameter is invalid."
)
INVALID_APPLICATION_NAME: Final = ErrorKind(
    107, "INVALID_APPLICATION_NAME", "The 'application_name' parameter is invalid."
)
INVALID_ACTIVATION_STATUS: Final = ErrorKind(
    542, "INVALID_NUMBER_STATUS", "The 'activation_status' parameter is invalid."
)
INVALID_RENEWAL_RANGE: Final = ErrorKind(
    258, "INVALID_TO_PHONE_NEXT_RENEWAL", "The renewal dates asked for end before they begin."
)
INVALID_PURCHASE_RANGE: Final = ErrorKind(
    283, "INVALID_TO_PURCHASE_DATE", "The purchase dates asked for end before they begin."
)
INVALID_HOLD_RANGE: Final = ErrorKind(
    325, "INVALID_TO_UNVERIFIED_HOLD_UNTIL", "The hold dates asked for end before they begin."
)

# Verification and regulation
VERIFICATION_REQUIRED: Final = ErrorKind(
    281, "ACCOUNT_VERIFICATION_REQUIRED", "The account must be verified first: {verification}."
)
VERIFICATION_IN_PROGRESS: Final = ErrorKind(
    282,
    "ACCOUNT_VERIFICATION_IN_PROGRESS",
    "The verification of the account is overdue and still in progress: {verification}.",
)
INVALID_VERIFICATION_NAME: Final = ErrorKind(
    324, "INVALID_VERIFICATION_NAME", "The 'verification_name' parameter is invalid."
)
INVALID_VERIFICATION_STATUS: Final = ErrorKind(
    326, "INVALID_VERIFICATION_STATUS", "The 'verification_status' parameter is invalid."
)
ADDRESS_REQUIRED: Final = ErrorKind(
    134, "REQUIRED_IS_EMPTY", "Numbers of this region need the 'regulation_address_id' of a verified address."
)
ADDRESS_PENDING: Final = ErrorKind(
    366, "PENDING_ADDRESS_VALIDATION", "The regulation address is still being verified."
)
ADDRESS_MISMATCH: Final = ErrorKind(
    424,
    "REGULATION_ADDRESS_AND_REGION_MISMATCH",
    "The regulation address does not fit the region of the number.",
)
ADDRESS_UNKNOWN: Final = ErrorKind(496, "INVALID", "The 'regulation_address_id' parameter is invalid.")
ADDRESS_DECLINED: Final = ErrorKind(496, "INVALID", "The regulation address was declined.")

# Money
INSUFFICIENT_MONEY: Final = ErrorKind(
    127, "INSUFFICIENT_MONEY", "Insufficient money: {needed} {currency} needed, {available} available."
)
BILLING_ADDRESS_REQUIRED: Final = ErrorKind(
    543,
    "CAN_NOT_PAY_WITHOUT_VALID_ADDR",
    "The account has no billing country, so its taxes cannot be computed.",
)
