"""`numberline key`: the keys with which accounts sign their tokens."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from numberline.doors.cli.home import HomeOption, JsonOption, with_store, write_json
from numberline.doors.cli.terminal import Trouble, misused, note, print_json, print_table, say

if TYPE_CHECKING:
    from numberline.domain.access import Role

app = typer.Typer(help="Create, list and revoke the keys of accounts.", no_args_is_help=True)


@app.command()
def create(
    account_id: Annotated[int, typer.Argument(min=1, help="Whose key it is.")],
    role: Annotated[
        list[str] | None, typer.Option("--role", help="A role, such as Owner or Accountant; repeat for more.")
    ] = None,
    description: Annotated[str, typer.Option("--description", help="What it is for.")] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the key file here, not to the terminal.")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Create a key and hand out its file, which the SDKs read. The private half is kept nowhere else."""
    import msgspec  # noqa: PLC0415 - heavy parts are loaded by the commands that need them

    from numberline.domain.clock import SystemClock  # noqa: PLC0415
    from numberline.service.keys import create_key  # noqa: PLC0415

    roles = _roles(role or ["Owner"])
    if output is not None and output.exists():
        raise Trouble(f"{output} exists already; a key file is never overwritten.")
    made = with_store(
        home, lambda store: create_key(store, SystemClock(), account_id, roles, description=description)
    )
    content = msgspec.to_builtins(made)
    if output is None:
        print_json(content)
        return
    write_json(output, content)
    say(f"Key {made.key_id} of account {account_id} is in {output}.")


@app.command("list")
def list_(
    account_id: Annotated[int, typer.Argument(min=1, help="Whose keys to list.")],
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the keys of an account, without their secrets."""
    from numberline.service.keys import list_keys  # noqa: PLC0415

    found = with_store(home, lambda store: list_keys(store, account_id))
    rows = [(key.id, sorted(role.value for role in key.roles), text) for key, text in found]
    if as_json:
        print_json([{"key_id": id_, "roles": roles, "description": text} for id_, roles, text in rows])
        return
    print_table(("Key", "Roles", "Description"), ((id_, ", ".join(roles), text) for id_, roles, text in rows))


@app.command()
def revoke(
    key_id: Annotated[str, typer.Argument(help="The key, as `key list` shows it.")],
    home: HomeOption = None,
) -> None:
    """Revoke a key: tokens signed with it are refused from now on."""
    from numberline.service.keys import revoke_key  # noqa: PLC0415

    if not with_store(home, lambda store: revoke_key(store, key_id)):
        raise Trouble(f"There is no key {key_id}.")
    note(f"Key {key_id} is revoked.")


def _roles(names: list[str]) -> frozenset[Role]:
    from numberline.domain.access import Role, parse_roles  # noqa: PLC0415

    try:
        return parse_roles(names)
    except ValueError as error:
        misused(f"{str(error).capitalize()}. The roles are {', '.join(role.value for role in Role)}.")
