"""`numberline init` and `numberline serve`: the operator's server. Neither ever makes demo data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from numberline.doors.cli.home import (
    DatabaseOption,
    HomeOption,
    command,
    make_home,
    refuse_newer,
    require_store,
    settings_of,
    shown,
    write_file,
)
from numberline.doors.cli.terminal import run, say, spinner

if TYPE_CHECKING:
    from numberline.settings import Settings
    from numberline.store.contract import Store

_FILE: Final = """\
# Settings of this server. A line that begins with # shows the value that holds without it.
# The environment wins over this file (NUMBERLINE_PORT=443), the command line over both (--port 443).

# Where everything is kept: sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME.
{database}

# Where to listen. "*" means every address of this machine.
# host = "localhost"
# port = 8443

# How many processes take requests. On PostgreSQL each has one more that settles what it sells, on SQLite all have one
# together.
# processes = 1

# HTTPS needs a certificate. Without these two the server makes one under an authority of its own, ca.pem in this
# folder, for localhost, `host` and `host_names`. `plain_http = true` is for a proxy in front that does HTTPS.
# certificate = "/etc/numberline/server.pem"
# private_key = "/etc/numberline/server-key.pem"
# host_names = ["numbers.example.com"]
# plain_http = false

# Proxies whose X-Forwarded-For header is believed.
# trusted_proxies = ["127.0.0.1"]

# debug, info, warning, error or critical; text for people or json for machines.
# log_level = "info"
# log_format = "text"

# How many days a number is held for an account that still has to verify itself.
# unverified_hold_days = 14

# How many numbers one request may buy, 100 at most.
# attach_count_max = 100

# The host name told to clients as their API node; host and port unless told.
# api_address = "numbers.example.com"
"""


def init(home: HomeOption = None, database: DatabaseOption = None) -> None:
    """Set a server up, or bring its store up to date: settings file, schema, catalogue of the world, certificate.

    There are no prices, numbers or accounts in it: `account`, `key`, `catalog` and `stock` put them there.
    """
    from numberline.doors.cli.start import certificates_of  # noqa: PLC0415

    settings = settings_of(home, database=database)
    make_home(settings.home)
    write_settings_file(settings, database)
    certificates_of(settings)
    with spinner("Preparing the store"):
        added = run(_prepare(settings))
    say(f"The server in {shown(settings.home)} is ready: store {settings.masked()['database']}.")
    if added:
        say(f"The catalogue has {added} regions, without prices. What comes next:")
        _say_next(settings)


def serve(
    home: HomeOption = None,
    host: Annotated[str | None, typer.Option("--host", help='Address to listen on; "*" for all.')] = None,
    port: Annotated[int | None, typer.Option("--port", help="Port to listen on; 8443 unless told.")] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", help="Processes that take requests.")
    ] = None,
    database: DatabaseOption = None,
    plain_http: Annotated[
        bool, typer.Option("--plain-http", help="HTTP, behind a proxy that does HTTPS.")
    ] = False,
) -> None:
    """Serve what `numberline init` has set up."""
    from numberline.doors.cli.start import certificates_of, hasten, start_server  # noqa: PLC0415

    hasten()
    settings = settings_of(
        home,
        host=host,
        port=port,
        processes=processes,
        database=database,
        plain_http=plain_http or None,
    )
    run(require_store(settings))
    make_home(settings.home)
    certificates = certificates_of(settings)
    start_server(settings, certificates, lambda: say(f"Numberline serves {settings.base_url}"))


def write_settings_file(settings: Settings, database: str | None) -> None:
    """Write a commented settings file unless there is one; it remembers the database that was named."""
    from numberline.settings import FILE_NAME  # noqa: PLC0415

    path = settings.home / FILE_NAME
    if path.exists():
        return
    line = f"database = {_quoted(database)}" if database else f"# database = {_quoted(settings.database)}"
    write_file(path, _FILE.format(database=line))


def _quoted(text: str) -> str:
    import json  # noqa: PLC0415

    return json.dumps(text)  # a JSON string is a TOML string


async def _prepare(settings: Settings) -> int:
    """Migrate the store and load the packaged catalogue into an empty one; how many regions that added."""
    from numberline.store import migrate  # noqa: PLC0415
    from numberline.store.opening import open_store  # noqa: PLC0415

    refuse_newer(await migrate.current_revision(settings.database))
    await migrate.migrate(settings.database)
    store = open_store(settings.database)
    try:
        return await _load_catalog(store)
    finally:
        await store.close()


async def _load_catalog(store: Store) -> int:
    from numberline.service.build_catalog import DATA_FOLDER  # noqa: PLC0415
    from numberline.service.catalog_files import import_catalog  # noqa: PLC0415

    if (await store.read(lambda ask: ask.load_catalog())).regions:
        return 0
    await import_catalog(store, DATA_FOLDER)
    return len((await store.read(lambda ask: ask.load_catalog())).regions)


def _say_next(settings: Settings) -> None:
    for name in (
        "catalog import FOLDER",
        "stock import FILE.csv",
        "account create --name NAME --email ADDRESS --currency USD",
        "account credit ACCOUNT_ID 100",
        "key create ACCOUNT_ID --role Owner --output credentials.json",
        "serve",
    ):
        say(f"  {command(name, settings.home)}")
