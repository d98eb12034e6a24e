"""The demo world in a home folder: built on the first start, whole or not at all, and found again on every other.

`demo.started` is there while the world is being built, `demo.json` once everything else is written. A start that finds
the first without the second was preceded by one that was cut short, and begins anew.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import msgspec

from numberline.doors.cli.home import CREDENTIALS, command, read_json, refuse_newer, write_file, write_json
from numberline.doors.cli.terminal import Trouble, run, spinner

if TYPE_CHECKING:
    from pathlib import Path

    from numberline.service.demo import DemoWorld
    from numberline.settings import Settings
    from numberline.store.contract import Store

DEMO: Final = "demo.json"
STARTED: Final = "demo.started"
KEYS: Final = "keys"


class Demo(msgspec.Struct, frozen=True):
    """What the home remembers of its demo world; `database` without a password."""

    database: str
    account_id: int
    accounts: dict[str, int]
    addresses: list[dict[str, Any]]
    api_key: str
    numbers: int


def ensure_demo(settings: Settings) -> Demo:
    """The demo world of a home; built when the home is new. Trouble when its store belongs to somebody else."""
    with _locked(settings.home / "demo.lock"):
        found = _find(settings)
        if found is None:
            with spinner("Building the demo world"):
                return run(_build(settings))
        run(_upgrade(settings))
        return found


def _find(settings: Settings) -> Demo | None:
    content = read_json(settings.home / DEMO)
    if content is None:
        return None
    try:
        found = msgspec.convert(content, Demo)
    except msgspec.ValidationError:
        raise Trouble(f"{settings.home / DEMO} is damaged: choose another --home.") from None
    database = settings.masked()["database"]
    if found.database != database:
        raise Trouble(
            f"The demo world of {settings.home} is in {found.database}, not in {database}: choose another --home."
        )
    return found


async def _upgrade(settings: Settings) -> None:
    from numberline.store import migrate  # noqa: PLC0415 - the store is slow to load

    revision = await migrate.current_revision(settings.database)
    refuse_newer(revision)
    if revision is None:
        raise Trouble(f"The demo world is gone from its store: remove {settings.home} and start again.")
    if revision != migrate.HEAD:
        await migrate.migrate(settings.database)


async def _build(settings: Settings) -> Demo:
    from numberline.domain.clock import SystemClock  # noqa: PLC0415
    from numberline.service.demo import build_demo_world  # noqa: PLC0415
    from numberline.store import migrate  # noqa: PLC0415
    from numberline.store.opening import open_store  # noqa: PLC0415

    await _make_way(settings)
    await migrate.migrate(settings.database)
    store = open_store(settings.database)
    try:
        world = await build_demo_world(store, SystemClock())
    finally:
        await store.close()
    return _keep(settings, world)


async def _make_way(settings: Settings) -> None:
    """Remove what a start that was cut short has left, refuse a store in use, and mark the beginning."""
    from numberline.store import migrate  # noqa: PLC0415

    started = settings.home / STARTED
    if started.exists() and settings.database == settings.own_database:
        for file in settings.home.glob("numberline.db*"):
            file.unlink()
    revision = await migrate.current_revision(settings.database)
    refuse_newer(revision)
    if revision is not None and await _is_used(settings):
        where = settings.masked()["database"]
        if started.exists():
            raise Trouble(
                f"A first start was cut short and left its half in {where}: give an empty database."
            )
        raise Trouble(
            f"{where} is in use and has no demo world: `{command('serve', settings.home)}` serves it,"
            " `up` wants a home and a database of its own."
        )
    write_file(started, "The demo world is being built.\n")


async def _is_used(settings: Settings) -> bool:
    from numberline.store.opening import open_store  # noqa: PLC0415

    store = open_store(settings.database)
    try:
        return await _has_content(store)
    finally:
        await store.close()


async def _has_content(store: Store) -> bool:
    records = await store.read(lambda ask: ask.list_records())
    return bool(records) or bool((await store.read(lambda ask: ask.load_catalog())).countries)


def _keep(settings: Settings, world: DemoWorld) -> Demo:
    """Write the keys, then the file that says that all is done."""
    home = settings.home
    keys = home / KEYS
    keys.mkdir(mode=0o700, exist_ok=True)
    for name, key in world.keys.items():
        write_json(keys / f"{name}.json", msgspec.to_builtins(key))
    write_json(home / CREDENTIALS, msgspec.to_builtins(world.credentials))
    demo = Demo(
        database=settings.masked()["database"],
        account_id=world.credentials.account_id,
        accounts=world.accounts,
        addresses=msgspec.to_builtins(world.addresses),
        api_key=world.api_key,
        numbers=world.numbers,
    )
    write_json(home / DEMO, msgspec.to_builtins(demo))
    (home / STARTED).unlink()
    return demo


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Two first starts in one home come one after the other."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
