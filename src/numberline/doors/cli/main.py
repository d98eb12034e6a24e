"""The command `numberline`: its nouns, and what becomes of errors.

Everything heavy is imported inside the commands, so that `numberline --help` answers at once.
"""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from numberline import __version__
from numberline.doors.cli import account, call, catalog, doctor, key, serve, stock, token, up
from numberline.doors.cli.terminal import Trouble, note

_HELP: Final = "Numberline: a phone-number provisioning server behind the wire API of Voximplant."
_NAMES: Final = {"help_option_names": ["-h", "--help"]}

app = typer.Typer(
    name="numberline",
    help=_HELP,
    context_settings=_NAMES,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

_TRY: Final = "Try it"
_RUN: Final = "Run a server"
_KEEP: Final = "Look after a store"

app.command("up", rich_help_panel=_TRY)(up.up)
app.command("token", rich_help_panel=_TRY)(token.token)
app.command("call", rich_help_panel=_TRY, context_settings=call.CONTEXT, add_help_option=False)(call.call)
app.command("init", rich_help_panel=_RUN)(serve.init)
app.command("serve", rich_help_panel=_RUN)(serve.serve)
app.add_typer(account.app, name="account", rich_help_panel=_KEEP)
app.add_typer(key.app, name="key", rich_help_panel=_KEEP)
app.add_typer(catalog.app, name="catalog", rich_help_panel=_KEEP)
app.add_typer(stock.app, name="stock", rich_help_panel=_KEEP)
app.command("doctor", rich_help_panel=_KEEP)(doctor.doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"numberline {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_show_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Numberline: a phone-number provisioning server behind the wire API of Voximplant."""
    del version, debug  # `run` looks for --debug itself: errors may come before this function


def run() -> None:
    """Run the command line and end the process with its exit code."""
    try:
        app()
    except Exception as error:
        if "--debug" in sys.argv[1:]:
            raise
        sys.exit(_tell(error))


def _tell(error: Exception) -> int:
    if isinstance(error, Trouble):
        note(str(error))
        return error.exit_code
    from numberline.doors.cli.sentences import describe  # noqa: PLC0415 - only needed when something failed

    sentence, code = describe(error)
    note(sentence)
    return code
