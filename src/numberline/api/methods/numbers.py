"""The methods about phone numbers: buying them, and listing what is rented."""

from __future__ import annotations

from typing import Final

from numberline.api.method import Answer, Effect, Example, Field, Form, Kind, Method, Param, Range, Shape
from numberline.domain import errors, limits
from numberline.domain.access import Role, any_of
from numberline.service.attach import AttachedNumber, AttachOrder, attach_numbers
from numberline.service.rentals import OwnershipOrder, RentalsOrder, RentalView, list_rentals, owns_number

GROUP: Final = "PhoneNumbers"

_VERIFICATION_STATUSES: Final = ("REQUIRED", "IN_PROGRESS")
_ACTIVATION_STATUSES: Final = (
    "ACTIVE",
    "ACTIVATING",
    "DEACTIVATED",
    "PROVISIONING",
    "AWAITING_BUSINESS_PHONE_NUMBER_CONFIGURATION",
    "LEGAL_OWNERSHIP_LIMIT_REACHED",
    "GOSUSLUGI_DECLINED",
    "SELF_BAN_ENABLED",
)
_SORT_KEYS: Final = {
    "phone_number": "number",
    "phone_price": "fee",
    "phone_country_code": "country",
    "deactivated": "frozen",
    "purchase_date": "purchased",
    "phone_next_renewal": "renews",
    "verification_status": "verification_status",
    "unverified_hold_until": "hold",
    "verification_name": "verification",
}
_READERS: Final = any_of(
    Role.OWNER, Role.ADMIN, Role.DEVELOPER, Role.SUPERVISOR, Role.ACCOUNTANT, Role.SUPPORT, Role.PAYER
)

ATTACHED: Final = Shape(
    "NewAttachedPhoneInfoType",
    AttachedNumber,
    (
        Field("phone_id", "number", Kind.INTEGER, "The id of the number: the number itself."),
        Field("phone_number", "number", Kind.NUMBER, "The number, international, digits only."),
        Field(
            "required_verification",
            "required_verification",
            Kind.TEXT,
            "The country whose account verification is missing; absent when none is.",
            optional=True,
        ),
        Field(
            "verification_status",
            "verification_status",
            Kind.CHOICE,
            "How far that verification is.",
            optional=True,
            choices=_VERIFICATION_STATUSES,
        ),
        Field(
            "unverified_hold_until",
            "unverified_until",
            Kind.DATE,
            "The day on which the number is taken back unless the account is verified by then.",
            optional=True,
        ),
    ),
)

ATTACH_PHONE_NUMBER: Final = Method(
    wire="AttachPhoneNumber",
    summary="Buy phone numbers for the calling account.",
    group=GROUP,
    roles=any_of(Role.OWNER, Role.ADMIN, Role.ACCOUNTANT),
    effect=Effect.SPENDS,
    order=AttachOrder,
    run=attach_numbers,
    notes=(
        "Either `phone_number` names the numbers, or `phone_count` numbers are picked from a position of the"
        " catalogue, which country, category and region then must name. With neither, one number is picked. All"
        " numbers are attached, or none. Beside exact numbers, a position of the catalogue is only compared."
        " With an `Idempotency-Key` header the same request may be repeated without buying twice."
    ),
    params=(
        Param(
            wire="country_code",
            into="country",
            doc="The country, two letters of ISO 3166. May be left out beside exact numbers.",
            required_unless="phone_number",
            documented_required=True,
            example="US",
            refused_as=errors.INVALID_COUNTRY,
        ),
        Param(
            wire="phone_category_name",
            into="category",
            doc="The kind of number, as GetPhoneNumberCategories names it. May be left out beside exact numbers.",
            required_unless="phone_number",
            documented_required=True,
            example="local",
            refused_as=errors.INVALID_CATEGORY,
        ),
        Param(
            wire="phone_region_id",
            into="region_id",
            doc="The region, as GetPhoneNumberRegions numbers it. May be left out beside exact numbers.",
            required_unless="phone_number",
            documented_required=True,
            example=101,
            refused_as=errors.INVALID_REGION,
        ),
        Param(
            wire="phone_count",
            into="count",
            doc="How many numbers to pick from the catalogue; `0` counts as not given, as some of the SDKs send it.",
            default=1,
            example=1,
            zero_is_absent=True,
            at_least=1,
            at_most=limits.ATTACH_COUNT,
            refused_as=errors.INVALID_COUNT,
        ),
        Param(
            wire="phone_number",
            into="numbers",
            doc="The exact numbers to buy, as GetNewPhoneNumbers lists them; with or without `+`.",
            kind=Kind.NUMBER,
            example="15552850126",
            zero_is_absent=True,
        ),
        Param(
            wire="country_state",
            into="state",
            doc="The state, in countries that are sold by state.",
            example="CA",
            refused_as=errors.INVALID_STATE,
        ),
        Param(
            wire="regulation_address_id",
            into="regulation_address_id",
            doc="A verified address of the account, where the region demands one.",
            example=1,
            zero_is_absent=True,
        ),
        Param(
            wire="force_verification",
            into="force_verification",
            doc="Sent by older clients; accepted and without effect.",
            example=False,
        ),
    ),
    exclusive=(("phone_count", "phone_number"),),
    answer=Answer(form=Form.DONE, shape=ATTACHED, list_name="phone_numbers"),
    refusals=(
        (errors.INVALID_COUNTRY, "country_code"),
        (errors.INVALID_CATEGORY, "phone_category_name"),
        (errors.INVALID_REGION, "phone_region_id"),
        (errors.INVALID_STATE, "country_state"),
        (errors.INVALID_COUNT, "phone_count"),
        (errors.INVALID_NUMBER, "phone_number"),
        (errors.NUMBER_TAKEN, "phone_number"),
        (errors.NUMBER_ALREADY_YOURS, "phone_number"),
        (errors.NOT_SOLD_BY_NUMBER, "phone_number"),
        (errors.NO_STOCK, None),
        (errors.LESS_STOCK, "phone_count"),
        (errors.RENTAL_LIMIT, None),
        (errors.ADDRESS_REQUIRED, "regulation_address_id"),
        (errors.ADDRESS_UNKNOWN, "regulation_address_id"),
        (errors.ADDRESS_DECLINED, "regulation_address_id"),
        (errors.ADDRESS_PENDING, "regulation_address_id"),
        (errors.ADDRESS_MISMATCH, "regulation_address_id"),
        (errors.VERIFICATION_REQUIRED, None),
        (errors.VERIFICATION_IN_PROGRESS, None),
        (errors.ACCOUNT_FROZEN, None),
        (errors.INSUFFICIENT_MONEY, None),
        (errors.BILLING_ADDRESS_REQUIRED, None),
        (errors.NOT_PRICED, None),
    ),
    example=Example(
        {
            "country_code": "US",
            "phone_category_name": "local",
            "phone_region_id": "101",
            "phone_number": '["+15552850126"]',
        },
        {"result": 1, "phone_numbers": [{"phone_id": 15552850126, "phone_number": "15552850126"}]},
    ),
)

RENTED: Final = Shape(
    "AttachedPhoneInfoType",
    RentalView,
    (
        Field("phone_id", "number", Kind.INTEGER, "The id of the number: the number itself."),
        Field("phone_number", "number", Kind.NUMBER, "The number, international, digits only."),
        Field(
            "phone_price", "fee_micros", Kind.MONEY, "The monthly fee in the account's currency, without tax."
        ),
        Field("phone_country_code", "country", Kind.TEXT, "The country of the number."),
        Field(
            "activation_status",
            "activation_status",
            Kind.CHOICE,
            "How far the carrier is with the number.",
            choices=_ACTIVATION_STATUSES,
        ),
        Field("phone_next_renewal", "renews_on", Kind.DATE, "When the next month begins and is charged."),
        Field("phone_purchase_date", "purchased_at", Kind.TIMESTAMP, "When the number was bought, in UTC."),
        Field("deactivated", "is_frozen", Kind.BOOLEAN, "Frozen, since a renewal was not paid."),
        Field(
            "canceled", "is_canceled", Kind.BOOLEAN, "Given up; the number stays until the paid month ends."
        ),
        Field("auto_charge", "auto_charge", Kind.BOOLEAN, "Whether renewals are charged by themselves."),
        Field("application_id", None, Kind.INTEGER, "The application the number is bound to.", optional=True),
        Field("application_name", None, Kind.TEXT, "The full name of that application.", optional=True),
        Field("extended_application_name", None, Kind.TEXT, "That name with its node.", optional=True),
        Field("rule_id", None, Kind.INTEGER, "The rule the number is bound to.", optional=True),
        Field("rule_name", None, Kind.TEXT, "The name of that rule.", optional=True),
        Field("category_name", "category", Kind.TEXT, "The kind of number."),
        Field(
            "required_verification",
            "required_verification",
            Kind.TEXT,
            "The country whose account verification the number needs.",
            optional=True,
        ),
        Field(
            "verification_status",
            "verification_status",
            Kind.CHOICE,
            "How far that verification is; absent where none is needed.",
            optional=True,
            choices=(*_VERIFICATION_STATUSES, "VERIFIED"),
        ),
        Field(
            "unverified_hold_until",
            "unverified_until",
            Kind.DATE,
            "The day on which the number is taken back unless the account is verified by then.",
            optional=True,
        ),
        Field(
            "can_be_used",
            "can_be_used",
            Kind.BOOLEAN,
            "Whether the account may use the number as verified as it is.",
        ),
        Field("is_sms_supported", "is_sms_supported", Kind.BOOLEAN, "Whether the number can take SMS."),
        Field("is_sms_enabled", "is_sms_enabled", Kind.BOOLEAN, "Whether SMS is switched on."),
        Field(
            "incoming_sms_callback_url", None, Kind.TEXT, "Where incoming SMS are reported to.", optional=True
        ),
        Field(
            "emergency_calls_to_be_enabled",
            "emergency_calls_to_be_enabled",
            Kind.BOOLEAN,
            "Whether emergency calls can be enabled.",
        ),
        Field(
            "emergency_calls_enabled",
            "emergency_calls_enabled",
            Kind.BOOLEAN,
            "Whether emergency calls are enabled.",
        ),
        Field("subscription_id", "rental_id", Kind.INTEGER, "The id of the rental."),
        Field("phone_region_name", "region_name", Kind.TEXT, "The region of the number.", optional=True),
        Field("modified", "modified_at", Kind.TIMESTAMP, "When the rental last changed, in UTC."),
    ),
)

GET_PHONE_NUMBERS: Final = Method(
    wire="GetPhoneNumbers",
    summary="List the phone numbers an account rents.",
    group=GROUP,
    roles=_READERS,
    effect=Effect.READS,
    order=RentalsOrder,
    run=list_rentals,
    notes="Filters are joined by AND; dates are inclusive at both ends.",
    params=(
        Param(
            wire="phone_id", into="ids", doc="Only these numbers, by id.", refused_as=errors.INVALID_PHONE_ID
        ),
        Param(
            wire="phone_number",
            into="numbers",
            kind=Kind.NUMBER,
            doc="Only these numbers.",
            example="15552850126",
        ),
        Param(
            wire="activation_status",
            into="activation_statuses",
            doc="Only numbers in these states of activation.",
            choices=_ACTIVATION_STATUSES,
            refused_as=errors.INVALID_ACTIVATION_STATUS,
        ),
        Param(
            wire="application_id",
            into="application_ids",
            doc="Only numbers bound to these applications.",
            zero_is_absent=True,
            refused_as=errors.INVALID_APPLICATION,
        ),
        Param(
            wire="application_name",
            into="application_names",
            doc="Only numbers bound to the applications of these names.",
            zero_is_absent=True,
            refused_as=errors.INVALID_APPLICATION_NAME,
        ),
        Param(
            wire="is_bound_to_application", into="is_bound", doc="Only numbers that are, or are not, bound."
        ),
        Param(
            wire="phone_template",
            into="template",
            doc="Only numbers that begin with these digits.",
            example="1555",
        ),
        Param(
            wire="country_code",
            into="countries",
            doc="Only numbers of these countries.",
            example="US",
            refused_as=errors.INVALID_COUNTRY,
        ),
        Param(
            wire="phone_category_name",
            into="categories",
            doc="Only numbers of these kinds.",
            example="GEOGRAPHIC",
            refused_as=errors.INVALID_CATEGORY,
        ),
        Param(wire="canceled", into="is_canceled", doc="Only numbers that are, or are not, given up."),
        Param(wire="deactivated", into="is_frozen", doc="Only numbers that are, or are not, frozen."),
        Param(
            wire="auto_charge",
            into="auto_charge",
            doc="Only numbers that do, or do not, renew by themselves.",
        ),
        Param(wire="from_phone_next_renewal", into="renews_from", doc="Renewal on this day or later."),
        Param(wire="to_phone_next_renewal", into="renews_to", doc="Renewal on this day or earlier."),
        Param(
            wire="from_phone_purchase_date",
            into="purchased_from",
            doc="Bought at this instant or later, in UTC.",
        ),
        Param(
            wire="to_phone_purchase_date",
            into="purchased_to",
            doc="Bought at this instant or earlier, in UTC.",
        ),
        Param(
            wire="child_account_id",
            into="child_ids",
            doc="Numbers of these child accounts too, or of `all`.",
            accepts_all=True,
            refused_as=errors.INVALID_CHILD,
        ),
        Param(wire="children_phones_only", into="children_only", doc="Leave the account's own numbers out."),
        Param(
            wire="verification_name",
            into="verification_name",
            doc="Only numbers that need this verification.",
            example="RU",
            refused_as=errors.INVALID_VERIFICATION_NAME,
        ),
        Param(
            wire="verification_status",
            into="verification_statuses",
            doc="Only numbers whose verification stands so.",
            choices=(*_VERIFICATION_STATUSES, "VERIFIED"),
            refused_as=errors.INVALID_VERIFICATION_STATUS,
        ),
        Param(wire="from_unverified_hold_until", into="hold_from", doc="Held until this day or longer."),
        Param(wire="to_unverified_hold_until", into="hold_to", doc="Held until this day or shorter."),
        Param(wire="can_be_used", into="can_be_used", doc="Only numbers that can, or cannot, be used."),
        Param(
            wire="order_by",
            into="order_by",
            doc="The order of the list. Purchases sort newest first, frozen numbers come first, the rest ascends.",
            choices=tuple(_SORT_KEYS),
            meanings=_SORT_KEYS,
            example="phone_number",
        ),
        Param(
            wire="sandbox",
            into="sandbox",
            doc="Test numbers, real numbers, or both.",
            choices=("all", "true", "false"),
        ),
        Param(
            wire="count",
            into="count",
            doc=f"How many numbers a page holds; above {limits.PAGE_SIZE} it is lowered to that.",
            at_least=1,
            capped_at=limits.PAGE_SIZE,
        ),
        Param(wire="offset", into="offset", doc="How many numbers to skip."),
        Param(wire="phone_region_name", into="region_names", doc="Only numbers of these regions."),
        Param(wire="rule_id", into="rule_ids", doc="Only numbers bound to these rules."),
        Param(wire="rule_name", into="rule_names", doc="Only numbers bound to the rules of these names."),
        Param(
            wire="is_bound_to_rule",
            into="is_bound_to_rule",
            doc="Only numbers that are, or are not, bound to a rule.",
        ),
        Param(wire="sms_supported", into="sms_supported", doc="Only numbers that can, or cannot, take SMS."),
    ),
    exclusive=(("application_id", "application_name"),),
    ranges=(
        Range("from_phone_next_renewal", "to_phone_next_renewal", errors.INVALID_RENEWAL_RANGE),
        Range("from_phone_purchase_date", "to_phone_purchase_date", errors.INVALID_PURCHASE_RANGE),
        Range("from_unverified_hold_until", "to_unverified_hold_until", errors.INVALID_HOLD_RANGE),
    ),
    answer=Answer(form=Form.PAGE, shape=RENTED),
    refusals=(
        (errors.INVALID_PHONE_ID, "phone_id"),
        (errors.INVALID_NUMBER, "phone_number"),
        (errors.INVALID_APPLICATION, "application_id"),
        (errors.INVALID_APPLICATION_NAME, "application_name"),
        (errors.INVALID_COUNTRY, "country_code"),
        (errors.INVALID_CATEGORY, "phone_category_name"),
        (errors.INVALID_CHILD, "child_account_id"),
        (errors.INVALID_VERIFICATION_NAME, "verification_name"),
    ),
    example=Example(
        {"count": "1"},
        {
            "result": [
                {
                    "phone_id": 15552850126,
                    "phone_number": "15552850126",
                    "phone_price": 0.45,
                    "phone_country_code": "US",
                    "activation_status": "ACTIVE",
                    "phone_next_renewal": "2026-02-28",
                    "phone_purchase_date": "2026-01-31 04:02:47",
                    "deactivated": False,
                    "canceled": False,
                    "auto_charge": True,
                    "category_name": "GEOGRAPHIC",
                    "can_be_used": True,
                    "is_sms_supported": True,
                    "is_sms_enabled": False,
                    "emergency_calls_to_be_enabled": False,
                    "emergency_calls_enabled": False,
                    "subscription_id": 12,
                    "phone_region_name": "California",
                    "modified": "2026-01-31 04:02:47",
                }
            ],
            "total_count": 4,
            "count": 1,
        },
    ),
)

IS_ACCOUNT_PHONE_NUMBER: Final = Method(
    wire="IsAccountPhoneNumber",
    summary="Tell whether the calling account rents a phone number.",
    group=GROUP,
    roles=_READERS,
    effect=Effect.READS,
    order=OwnershipOrder,
    run=owns_number,
    notes="Numbers of child accounts do not count; a number nobody knows is simply not owned.",
    params=(
        Param(
            wire="phone_number",
            into="number",
            kind=Kind.NUMBER,
            doc="The number, international, with or without `+`.",
            required=True,
            example="15552850126",
        ),
    ),
    answer=Answer(form=Form.FLAG),
    refusals=((errors.INVALID_NUMBER, "phone_number"),),
    example=Example({"phone_number": "15552850126"}, {"result": True}),
)

METHODS: Final = (ATTACH_PHONE_NUMBER, GET_PHONE_NUMBERS, IS_ACCOUNT_PHONE_NUMBER)
