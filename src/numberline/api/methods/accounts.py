"""The methods about accounts and their money."""

from __future__ import annotations

from typing import Final

from numberline.api.method import Answer, Effect, Example, Field, Form, Kind, Method, Param, Shape
from numberline.domain.access import ANYONE_EVEN_WITHOUT_ROLES
from numberline.service.show_account import AccountOrder, AccountView, show_account

GROUP: Final = "Accounts"


def _profile(wire: str, source: str, kind: Kind, doc: str) -> Field:
    return Field(wire, f"profile.{source}", kind, doc, optional=True)


def _unsent(wire: str, kind: Kind, doc: str) -> Field:
    return Field(wire, None, kind, doc, optional=True)


_LIMIT: Final = Shape(
    "BillingLimitInfoType",
    AccountView,
    (
        _unsent("min_amount", Kind.MONEY, "The least payment."),
        _unsent("currency", Kind.CURRENCY, "Its currency."),
    ),
)
_LIMITS: Final = Shape(
    "BillingLimitsType",
    AccountView,
    tuple(
        Field(wire, None, Kind.OBJECT, f"Limits of payments by {wire}.", optional=True, shape=_LIMIT)
        for wire in ("robokassa", "bank_card", "invoice")
    ),
)

ACCOUNT: Final = Shape(
    "AccountInfoType",
    AccountView,
    (
        Field("account_id", "account_id", Kind.INTEGER, "The account's id."),
        Field("account_name", "name", Kind.TEXT, "The account's name."),
        Field("account_email", "email", Kind.TEXT, "The account's e-mail address."),
        Field(
            "api_key", "api_key", Kind.TEXT, "The API key, only to a caller who presented it.", optional=True
        ),
        _profile("account_first_name", "first_name", Kind.TEXT, "The owner's first name."),
        _profile("account_last_name", "last_name", Kind.TEXT, "The owner's last name."),
        Field("created", "created_at", Kind.TIMESTAMP, "When the account was made, in UTC."),
        _profile("language_code", "language_code", Kind.TEXT, "The owner's language."),
        _profile("location", "location", Kind.TEXT, "The owner's time zone."),
        _profile(
            "min_balance_to_notify",
            "min_balance_to_notify_micros",
            Kind.MONEY,
            "The balance below which the owner is told.",
        ),
        _profile(
            "account_notifications",
            "account_notifications",
            Kind.BOOLEAN,
            "Whether news of the account are sent.",
        ),
        _profile(
            "tariff_changing_notifications",
            "tariff_changing_notifications",
            Kind.BOOLEAN,
            "Whether changes of prices are sent.",
        ),
        _profile("news_notifications", "news_notifications", Kind.BOOLEAN, "Whether news are sent."),
        _profile("billing_address_name", "billing_name", Kind.TEXT, "The name on invoices."),
        Field(
            "billing_address_country_code",
            "billing_country",
            Kind.TEXT,
            "The country that decides the taxes.",
            optional=True,
        ),
        _profile("billing_address_address", "billing_address", Kind.TEXT, "The address on invoices."),
        _profile("billing_address_zip", "billing_zip", Kind.TEXT, "The postal code on invoices."),
        _profile("billing_address_phone", "billing_phone", Kind.TEXT, "The phone number on invoices."),
        _profile("billing_address_state", "billing_state", Kind.TEXT, "The state on invoices."),
        Field("active", "is_active", Kind.BOOLEAN, "Whether the account was activated."),
        Field("frozen", "is_frozen", Kind.BOOLEAN, "Whether the account is barred from buying."),
        Field("balance", "balance_micros", Kind.MONEY, "Money that is neither spent nor held."),
        Field(
            "live_balance",
            "live_balance_micros",
            Kind.MONEY,
            "The balance of this moment, unless it was declined.",
            optional=True,
        ),
        Field(
            "fixed_balance", "fixed_balance_micros", Kind.MONEY, "The balance and the held money together."
        ),
        Field("money_on_hold", "held_micros", Kind.MONEY, "Money held for fees to come."),
        Field("credit_limit", "credit_limit_micros", Kind.MONEY, "How far the balance may fall below zero."),
        Field("currency", "currency", Kind.CURRENCY, "The account's currency; the rouble is written RUR."),
        _unsent("support_robokassa", Kind.BOOLEAN, "Whether payments through Robokassa are taken."),
        _unsent("support_bank_card", Kind.BOOLEAN, "Whether payments by card are taken."),
        _unsent("support_invoice", Kind.BOOLEAN, "Whether payments by invoice are taken."),
        _profile("account_custom_data", "custom_data", Kind.TEXT, "Whatever the owner stored here."),
        Field("access_entries", None, Kind.TEXT, "Rights of the session.", optional=True, many=True),
        _unsent("with_access_entries", Kind.BOOLEAN, "Whether those rights were asked for."),
        _profile("callback_url", "callback_url", Kind.TEXT, "Where events are reported to."),
        _profile("callback_salt", "callback_salt", Kind.TEXT, "The salt of those reports' signatures."),
        _profile("send_js_error", "send_js_error", Kind.BOOLEAN, "Whether script errors are sent."),
        Field("billing_limits", None, Kind.OBJECT, "Limits of payments.", optional=True, shape=_LIMITS),
        _unsent("a2p_sms_enabled", Kind.BOOLEAN, "Whether application-to-person SMS is allowed."),
    ),
)

GET_ACCOUNT_INFO: Final = Method(
    wire="GetAccountInfo",
    summary="Show the calling account and its balance.",
    group=GROUP,
    roles=ANYONE_EVEN_WITHOUT_ROLES,
    effect=Effect.READS,
    order=AccountOrder,
    run=show_account,
    params=(Param(wire="return_live_balance", into="live_balance", doc="Whether to show `live_balance`."),),
    answer=Answer(
        form=Form.OBJECT,
        shape=ACCOUNT,
        beside=(
            Field("api_address", "api_address", Kind.TEXT, "The host name of the account's API node."),
            Field("debugger_address", "api_address", Kind.TEXT, "The host name of its debugger: the same."),
        ),
    ),
    example=Example(
        {},
        {
            "result": {
                "account_id": 1,
                "account_name": "acme",
                "account_email": "owner@acme.example",
                "created": "2026-01-31 12:00:53",
                "language_code": "en",
                "active": True,
                "frozen": False,
                "balance": 19772.35,
                "live_balance": 19772.35,
                "fixed_balance": 20169.93,
                "money_on_hold": 397.58,
                "credit_limit": 0,
                "currency": "USD",
            },
            "api_address": "localhost:8443",
            "debugger_address": "localhost:8443",
        },
    ),
)

METHODS: Final = (GET_ACCOUNT_INFO,)
