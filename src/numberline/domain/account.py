"""What an account says of itself; money and identity live elsewhere."""

from __future__ import annotations

import msgspec


class Profile(msgspec.Struct, frozen=True, omit_defaults=True):
    """The descriptive part of an account; every field may be missing.

    `min_balance_to_notify_micros` is in the account's currency.
    """

    first_name: str | None = None
    last_name: str | None = None
    language_code: str | None = None
    location: str | None = None
    min_balance_to_notify_micros: int | None = None
    account_notifications: bool | None = None
    tariff_changing_notifications: bool | None = None
    news_notifications: bool | None = None
    billing_name: str | None = None
    billing_address: str | None = None
    billing_zip: str | None = None
    billing_phone: str | None = None
    billing_state: str | None = None
    custom_data: str | None = None
    callback_url: str | None = None
    callback_salt: str | None = None
    send_js_error: bool | None = None


class WalletChange(msgspec.Struct):
    """What is added to each part of a wallet, whatever else happens to it."""

    funds_micros: int = 0
    held_micros: int = 0
    rental_count: int = 0

    def add(self, other: WalletChange) -> None:
        """Join what another movement does to the same wallet."""
        self.funds_micros += other.funds_micros
        self.held_micros += other.held_micros
        self.rental_count += other.rental_count


class Wallet(msgspec.Struct):
    """The money of one account, in micros of its currency, and the count of its live rentals.

    `funds_micros` is neither spent nor held; `funds_micros + credit_limit_micros` is what a purchase may use.
    """

    funds_micros: int
    held_micros: int
    credit_limit_micros: int
    rental_count: int
    rental_limit: int | None = None

    @property
    def available_micros(self) -> int:
        """What a purchase may use: own funds and the credit limit."""
        return self.funds_micros + self.credit_limit_micros

    def change(self, by: WalletChange) -> None:
        """Add a change."""
        self.funds_micros += by.funds_micros
        self.held_micros += by.held_micros
        self.rental_count += by.rental_count

    def has_room_for(self, count: int) -> bool:
        """Tell whether the account may hold `count` rentals more."""
        return self.rental_limit is None or self.rental_count + count <= self.rental_limit
