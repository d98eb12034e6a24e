"""The home folder: where a server keeps its settings, certificates, keys and, on SQLite, its data."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar

import typer

from numberline.doors.cli.terminal import Trouble, run

if TYPE_CHECKING:
    from numberline.settings import Settings
    from numberline.store.contract import Store

T = TypeVar("T")

DEFAULT_HOME: Final = Path(".numberline")
CREDENTIALS: Final = "credentials.json"
RUNNING: Final = "running.json"

HomeOption = Annotated[
    Path | None,
    typer.Option(
        "--home", help="The server's folder; .numberline here unless told.", envvar="NUMBERLINE_HOME"
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
DatabaseOption = Annotated[
    str | None,
    typer.Option("--database", help="sqlite:///PATH or postgresql://USER:PASSWORD@HOST:PORT/NAME."),
]


def settings_of(home: Path | None, **given: Any) -> Settings:
    """The settings of a home folder."""
    from numberline.settings import load_settings  # noqa: PLC0415 - light commands go without it

    return load_settings(home or DEFAULT_HOME, **given)


def with_store(home: Path | None, work: Callable[[Store], Awaitable[T]]) -> T:
    """Run some work on the store of a home, which must be up to date."""
    settings = settings_of(home)
    return run(_with_store(settings, work))


async def _with_store(settings: Settings, work: Callable[[Store], Awaitable[T]]) -> T:
    from numberline.store.opening import open_store  # noqa: PLC0415

    await require_store(settings)
    store = open_store(settings.database)
    try:
        return await work(store)
    finally:
        await store.close()


async def require_store(settings: Settings) -> None:
    """Refuse a store that is not there or has another program's schema, without creating it."""
    from numberline.store import migrate  # noqa: PLC0415
    from numberline.store.errors import SchemaMismatch  # noqa: PLC0415

    found = await migrate.current_revision(settings.database)
    if found is None:
        where = settings.masked()["database"]
        raise Trouble(f"There is no store at {where} yet: run `{command('init', settings.home)}` first.")
    refuse_newer(found)
    if found != migrate.HEAD:
        raise SchemaMismatch(f"the store's schema is at {found}, this program needs {migrate.HEAD}")
    if not await _has_catalog(settings.database):
        raise Trouble(f"The store was not finished: run `{command('init', settings.home)}` again.")


async def _has_catalog(url: str) -> bool:
    """Tell whether a catalogue was ever put into the store, which is the last that `init` and `up` do."""
    from numberline.store.opening import open_store  # noqa: PLC0415

    store = open_store(url)
    try:
        return bool(await store.read(lambda ask: ask.find_catalog_revision()))
    finally:
        await store.close()


def refuse_newer(revision: str | None) -> None:
    """Refuse a schema that a newer program made."""
    from numberline.store.migrate import HEAD  # noqa: PLC0415

    if revision is not None and revision > HEAD:
        raise Trouble(
            f"The store was made by a newer Numberline: its schema is at {revision}, this program knows {HEAD}."
        )


def make_home(home: Path) -> None:
    """Have the folder, for its owner only."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except FileExistsError:
        raise Trouble(f"{home} is a file; the home must be a folder.") from None
    except OSError as error:
        raise Trouble(f"The folder {home} cannot be made: {error.strerror}.") from None
    if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
        raise Trouble(f"The folder {home} cannot be read and written by this user.")


def write_file(path: Path, text: str, *, mode: int = 0o600) -> None:
    """Replace a file in one step, durable; for its owner only unless told."""
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, mode)
            file.write(text)
            file.flush()
            os.fsync(handle)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise


def write_json(path: Path, value: Any) -> None:
    """Replace a file by a value as JSON, for its owner only."""
    write_file(path, json.dumps(value, ensure_ascii=False, indent=2) + "\n")


def read_json(path: Path) -> Any:
    """The value in a JSON file; None when there is no file."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Trouble(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError:
        raise Trouble(f"{path} is not JSON.") from None


def command(name: str, home: Path | None = None) -> str:
    """How a command is typed here: by name when the shell would find this program, else by its path."""
    words = [*_program(), *name.split()]
    if home is not None and home != DEFAULT_HOME.absolute():
        words += ["--home", shown(home)]
    return shlex.join(words)


def shown(path: Path) -> str:
    """A path as short as it can be typed here."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def _program() -> list[str]:
    script = Path(sys.argv[0])
    if script.name == "__main__.py":
        return [shown(Path(sys.executable)), "-m", "numberline"]
    found = shutil.which(script.name)
    if found is not None and Path(found).absolute() == script.absolute():
        return [script.name]
    return [shown(script.absolute())]
