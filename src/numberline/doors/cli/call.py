"""`numberline call`: call a method of the API over HTTPS, its parameters as options."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from numberline.doors.cli.home import RUNNING, HomeOption, command, read_json, settings_of
from numberline.doors.cli.terminal import Trouble, misused, note, print_table, say
from numberline.doors.cli.token import (
    TTL_SECONDS,
    AccountOption,
    CredentialsOption,
    read_credentials,
    sign_token,
)

if TYPE_CHECKING:
    import ssl

    import httpx

    from numberline.api.method import Method
    from numberline.api.registry import Bound

CONTEXT: Final = {"allow_extra_args": True, "ignore_unknown_options": True}
_WAIT_SECONDS: Final = 60.0

Parameters = dict[str, list[str]]


def call(
    context: typer.Context,
    method: Annotated[str | None, typer.Argument(help="The method's name; none lists all.")] = None,
    home: HomeOption = None,
    url: Annotated[str | None, typer.Option("--url", help="Another server, as https://HOST:PORT.")] = None,
    ca: Annotated[Path | None, typer.Option("--ca", help="The authority to trust, a PEM file.")] = None,
    credentials: CredentialsOption = None,
    account: AccountOption = None,
    raw: Annotated[bool, typer.Option("--json", help="Print the answer as it came.")] = False,
    wants_help: Annotated[
        bool, typer.Option("--help", "-h", help="Show this, or a method's parameters.")
    ] = False,
) -> None:
    """Call a method of the API; exit code 1 when it answers an error.

    numberline call AttachPhoneNumber --country-code US --phone-category-name local --phone-region-id 101
    """
    if method is None:
        if wants_help:
            say(context.get_help())
        else:
            _list_methods()
        return
    found = _find_method(method)
    if wants_help:
        _explain(found)
        return
    parameters = read_parameters(found, context.args)
    signed = sign_token(read_credentials(home, credentials), account, TTL_SECONDS)
    answer = _post(found, parameters, signed, _address(home, url), _trust(home, ca, is_other=url is not None))
    _show(answer, raw)


def _find_method(name: str) -> Method:
    from numberline.api.methods import REGISTRY  # noqa: PLC0415 - the API is slow to load

    found = REGISTRY.find(name)
    if found is None:
        _unknown("method", name, [method.wire for method in REGISTRY])
    return found


def _unknown(what: str, name: str, known: Iterable[str]) -> NoReturn:
    by_lower = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), by_lower, 1, cutoff=0.5)
    hint = f" Did you mean {by_lower[close[0]]}?" if close else ""
    misused(f"There is no {what} {name}.{hint}")


# Parameters.


def read_parameters(method: Method, arguments: list[str]) -> Parameters:
    """Read `--name value`, `--name=value` and, for a boolean, `--name` alone, in either spelling of the name.

    A parameter given several times is a list. Trouble for a name the method does not know.
    """
    from numberline.api.method import Kind  # noqa: PLC0415
    from numberline.api.registry import bind  # noqa: PLC0415

    known = {bound.param.wire: bound for bound in bind(method)}
    found: Parameters = {}
    waiting = list(arguments)
    while waiting:
        name, has_value, value = _option(waiting.pop(0)).partition("=")
        bound = known.get(name)
        if bound is None:
            _unknown(f"parameter of {method.wire} called", _as_option(name), map(_as_option, known))
        if not has_value:
            is_flag = bound.kind is Kind.BOOLEAN and (not waiting or waiting[0].startswith("--"))
            if not is_flag and not waiting:
                misused(f"{_as_option(name)} needs a value.")
            value = "true" if is_flag else waiting.pop(0)
        found.setdefault(name, []).append(value)
    return found


def _option(text: str) -> str:
    if not text.startswith("--"):
        misused(f"{text!r} stands alone: parameters are written --name value.")
    name, equals, value = text[2:].partition("=")
    return name.replace("-", "_") + equals + value


def _as_option(name: str) -> str:
    return "--" + name.replace("_", "-")


# The request.


def _address(home: Path | None, url: str | None) -> str:
    """Where the server is: as told, else where the home's server runs, else where its settings would put it."""
    if url is not None:
        return url.rstrip("/")
    settings = settings_of(home)
    running = read_json(settings.home / RUNNING) or {}
    return str(running.get("url") or settings.base_url)


def _trust(home: Path | None, ca: Path | None, *, is_other: bool) -> ssl.SSLContext:
    import ssl  # noqa: PLC0415 - light commands go without it

    file = ca
    if file is None and not is_other:
        settings = settings_of(home)
        own = settings.home / "ca.pem"
        file = own if own.exists() and settings.certificate is None else None
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError):
        raise Trouble(f"{file} holds no certificate authority that can be read.") from None


def _post(
    method: Method, parameters: Parameters, signed: str, address: str, trust: ssl.SSLContext
) -> httpx.Response:
    import httpx  # noqa: PLC0415 - slow to load

    try:
        with httpx.Client(verify=trust, timeout=_WAIT_SECONDS, trust_env=False) as client:
            return client.post(
                f"{address}/platform_api/{method.wire}",
                data=parameters,
                headers={"Authorization": f"Bearer {signed}"},
            )
    except httpx.InvalidURL:
        misused(f"{address} is no address: write https://HOST:PORT.")
    except httpx.UnsupportedProtocol:
        misused(f"{address} is no address: it begins with https:// or http://.")
    except httpx.ConnectError as error:
        if "CERTIFICATE_VERIFY_FAILED" in str(error):
            raise Trouble(f"{address} is not trusted: give its authority with --ca.") from None
        raise Trouble(f"No server answers at {address}; `{command('up')}` starts one.") from None
    except httpx.HTTPError as error:
        raise Trouble(f"{address} did not answer: {str(error) or type(error).__name__}.") from None


def _show(answer: httpx.Response, raw: bool) -> None:
    if raw:
        say(answer.text)
    body = _body(answer)
    error = body.get("error")
    if not raw and error is not None:
        note(f"Error {error.get('code')}: {error.get('msg')}")
    elif not raw:
        _print_pretty(body)
    if error is not None:
        raise typer.Exit(1)


def _body(answer: httpx.Response) -> dict[str, Any]:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or (answer.status_code != 200 and "error" not in body):
        raise Trouble(f"{answer.url} answered {answer.status_code}: it is no Numberline, or not well.")
    return body


def _print_pretty(body: dict[str, Any]) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console()
    text = json.dumps(body, ensure_ascii=False, indent=2)
    if console.is_terminal:
        console.print_json(text, ensure_ascii=False)
    else:
        say(text)


# Help.


def _list_methods() -> None:
    from numberline.api.methods import REGISTRY  # noqa: PLC0415

    print_table(("Method", "What it does"), ((method.wire, method.summary) for method in REGISTRY))
    say(f"`{command('call')} METHOD --help` lists a method's parameters.")


def _explain(method: Method) -> None:
    from numberline.api.registry import bind  # noqa: PLC0415

    say(f"{method.wire}: {method.summary}")
    if method.notes:
        say(method.notes)
    bound = bind(method)
    if bound:
        print_table(
            ("Parameter", "Kind", "Needed", "Meaning"),
            ((_as_option(b.param.wire), _kind(b), _needed(b), _meaning(b)) for b in bound),
        )
    example = " ".join(
        f"{_as_option(name)} {_quoted(value)}" for name, value in method.example.request.items()
    )
    say(f"Example: {command('call ' + method.wire)} {example}".rstrip())


def _quoted(value: str) -> str:
    import shlex  # noqa: PLC0415

    return shlex.quote(value)


def _kind(bound: Bound) -> str:
    return f"{bound.kind} list" if bound.many else str(bound.kind)


def _needed(bound: Bound) -> str:
    if bound.param.required:
        return "yes"
    if bound.param.required_unless:
        return f"unless {_as_option(bound.param.required_unless)}"
    return "" if bound.default is None else f"default {bound.default}"


def _meaning(bound: Bound) -> str:
    choices = f" One of {', '.join(bound.param.choices)}." if bound.param.choices else ""
    return bound.param.doc + choices
