"""`numberline account`: the customers, and their money."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from numberline.doors.cli.home import HomeOption, JsonOption, with_store
from numberline.doors.cli.terminal import misused, print_json, print_table, say

if TYPE_CHECKING:
    from numberline.store.accounts import AccountRecord

app = typer.Typer(help="Create accounts, credit them and look at them.", no_args_is_help=True)

AccountArgument = Annotated[int, typer.Argument(min=1, help="The account's id.")]


@app.command()
def create(
    name: Annotated[str, typer.Option("--name", help="A name no other account has.")],
    email: Annotated[str, typer.Option("--email", help="Its e-mail address.")],
    currency: Annotated[str, typer.Option("--currency", help="ISO 4217, such as USD.")] = "USD",
    billing_country: Annotated[
        str, typer.Option("--billing-country", help="Where it is taxed, such as US; empty for nowhere.")
    ] = "",
    parent: Annotated[int | None, typer.Option("--parent", min=1, help="The parent account's id.")] = None,
    credit_limit: Annotated[
        str, typer.Option("--credit-limit", help="What it may owe, such as 50 or 12.50.")
    ] = "0",
    rental_limit: Annotated[
        int | None,
        typer.Option("--rental-limit", min=0, help="How many numbers it may hold; no limit unless told."),
    ] = None,
    active: Annotated[bool, typer.Option(help="Whether it may use the API.")] = True,
    api_key: Annotated[bool, typer.Option("--api-key", help="Make an API key as well, shown once.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create an account and print its id."""
    from numberline.domain.account import Profile  # noqa: PLC0415 - heavy parts are loaded by who needs them
    from numberline.domain.clock import SystemClock  # noqa: PLC0415
    from numberline.service.accounts import create_account  # noqa: PLC0415

    limit_micros = _micros(credit_limit)
    made = with_store(
        home,
        lambda store: create_account(
            store,
            SystemClock(),
            name=name,
            email=email,
            currency=currency.upper(),
            billing_country=billing_country.upper(),
            parent_id=parent,
            credit_limit_micros=limit_micros,
            rental_limit=rental_limit,
            is_active=active,
            profile=Profile(),
            with_api_key=api_key,
        ),
    )
    if as_json:
        print_json({"account_id": made.account_id, "api_key": made.api_key})
        return
    say(f"Account {made.account_id} is created.")
    if made.api_key:
        say(f"Its API key, shown this once: {made.api_key}")


@app.command()
def credit(
    account_id: AccountArgument,
    amount: Annotated[str, typer.Argument(help="In its currency: 100 or 12.50; `-- -5` takes out.")],
    note: Annotated[str, typer.Option("--note", help="What the books say of it.")] = "",
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Pay money into an account, or out of it."""
    from numberline.domain.clock import SystemClock  # noqa: PLC0415
    from numberline.domain.money import format_amount  # noqa: PLC0415
    from numberline.service.accounts import credit_account  # noqa: PLC0415

    amount_micros = _micros(amount)
    wallet = with_store(
        home,
        lambda store: credit_account(
            store, SystemClock(), account_id, amount_micros, actor=_actor(), note=note
        ),
    )
    if as_json:
        print_json({"account_id": account_id, "balance": format_amount(wallet.funds_micros)})
        return
    say(f"Account {account_id} has {format_amount(wallet.funds_micros)} now.")


@app.command()
def show(account_id: AccountArgument, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show an account with its money."""
    from numberline.service.accounts import show_account_record  # noqa: PLC0415

    record = with_store(home, lambda store: show_account_record(store, account_id))
    view = _view(record)
    if as_json:
        print_json(view)
        return
    print_table(("", ""), ((name.replace("_", " "), _plain(value)) for name, value in view.items()))


@app.command("set")
def set_(
    account_id: AccountArgument,
    active: Annotated[bool | None, typer.Option("--active/--inactive", help="May it use the API?")] = None,
    frozen: Annotated[bool | None, typer.Option("--frozen/--thawed", help="May it buy nothing more?")] = None,
    home: HomeOption = None,
) -> None:
    """Activate, deactivate, freeze or thaw an account."""
    from numberline.service.accounts import set_account_flags  # noqa: PLC0415

    if active is None and frozen is None:
        misused("Say what to set: --active, --inactive, --frozen or --thawed.")
    record = with_store(
        home, lambda store: set_account_flags(store, account_id, is_active=active, is_frozen=frozen)
    )
    state = record.account
    say(
        f"Account {account_id} is {'active' if state.is_active else 'inactive'}"
        f" and {'frozen' if state.is_frozen else 'not frozen'}."
    )


@app.command("list")
def list_(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List all accounts."""
    from numberline.service.accounts import list_accounts  # noqa: PLC0415

    views = [_view(record) for record in with_store(home, list_accounts)]
    if as_json:
        print_json(views)
        return
    # Without the e-mail address a line fits a terminal; --json has everything.
    shown = ("account_id", "name", "parent_id", "currency", "balance", "held", "numbers", "active", "frozen")
    heads = [name.replace("_id", "").capitalize() for name in shown]
    print_table(heads, ([_plain(view[name]) for name in shown] for view in views))


def _view(record: AccountRecord) -> dict[str, Any]:
    from numberline.domain.money import format_amount  # noqa: PLC0415

    account, wallet = record.account, record.wallet
    return {
        "account_id": account.id,
        "name": account.name,
        "email": record.email,
        "parent_id": account.parent_id,
        "active": account.is_active,
        "frozen": account.is_frozen,
        "billing_country": record.account.billing_country or None,
        "currency": account.currency,
        "balance": format_amount(wallet.funds_micros),
        "held": format_amount(wallet.held_micros),
        "credit_limit": format_amount(wallet.credit_limit_micros),
        "numbers": wallet.rental_count,
        "numbers_at_most": wallet.rental_limit,
        "created": record.created_at.isoformat(timespec="seconds"),
    }


def _plain(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value


def _micros(text: str) -> int:
    from numberline.domain.money import parse_amount  # noqa: PLC0415

    try:
        return parse_amount(text)
    except ValueError:
        misused(f"{text!r} is no amount of money: write 100 or 12.50.")


def _actor() -> str:
    """Who the books say it was: the person at this machine."""
    try:
        return f"operator:{getpass.getuser()}"
    except (KeyError, OSError):
        return "operator"  # a container may run under a user without a name
