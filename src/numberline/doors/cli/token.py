"""`numberline token`: a bearer token for curl and for clients that cannot sign."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from numberline.doors.cli.home import CREDENTIALS, DEFAULT_HOME, HomeOption, command, read_json
from numberline.doors.cli.terminal import Trouble, misused, say

TTL_SECONDS = 60

CredentialsOption = Annotated[
    Path | None,
    typer.Option(
        "--credentials", help="A key file in the SDKs' format; the home's credentials.json unless told."
    ),
]
AccountOption = Annotated[
    int | None,
    typer.Option("--account", min=1, help="Act as this account: the key's own or a child of it."),
]


def token(
    home: HomeOption = None,
    credentials: CredentialsOption = None,
    account: AccountOption = None,
    ttl: Annotated[
        int, typer.Option("--ttl", min=1, max=3_600, help="Seconds until it expires.")
    ] = TTL_SECONDS,
) -> None:
    """Print a signed token for the Authorization header."""
    say(sign_token(read_credentials(home, credentials), account, ttl))


def read_credentials(home: Path | None, file: Path | None) -> dict[str, Any]:
    """The key to sign with; Trouble when there is none or it is no key file."""
    # Without reading the home's settings: signing needs none of them.
    path = file or (home or DEFAULT_HOME).expanduser() / CREDENTIALS
    found = read_json(path)
    if found is None:
        hint = "" if file else f" `{command('up')}` makes one, `{command('key create')}` makes more."
        raise Trouble(f"There is no key file at {path}.{hint}")
    if not isinstance(found, dict) or not {"account_id", "key_id", "private_key"} <= found.keys():
        raise Trouble(f"{path} is no key file: it needs account_id, key_id and private_key.")
    return found


def sign_token(credentials: dict[str, Any], account_id: int | None, ttl_seconds: int) -> str:
    """A token of the key, for its own account unless another is told."""
    import jwt  # noqa: PLC0415 - cryptography is slow to load

    from numberline.domain.clock import SystemClock  # noqa: PLC0415

    now = int(SystemClock().now().timestamp())
    claims = {
        "iss": str(account_id or credentials["account_id"]),
        "iat": now,
        "exp": now + ttl_seconds,
    }
    try:
        return jwt.encode(
            claims, credentials["private_key"], algorithm="RS256", headers={"kid": str(credentials["key_id"])}
        )
    except (ValueError, TypeError, jwt.PyJWTError):
        misused("The private key in the key file cannot be read.")
