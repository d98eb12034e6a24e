"""The life of desks' processes: begun before anything else runs, begun again when they die, ended with their server.

A process in between, the keeper, waits for its desk and begins it again: it runs nothing else, so a fork of it is a
fresh start, where a fork of a serving process would copy its threads' locks. Both hold the same listening socket; while
the desk is away, doors queue there.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Final, NoReturn

from numberline.domain import limits

log = logging.getLogger(__name__)

# A desk that ends at once is begun again later each time.
_REST_SECONDS: Final = 0.1
_REST_SECONDS_MAX: Final = 5.0
_LONG_LIFE_SECONDS: Final = 10.0

_PREFIX: Final = "numberline-desk-"
_NAME: Final = "socket"
_DOOR_NAME: Final = "door"
_SWEEP_SECONDS: Final = 60.0

# Serves orders on a listening socket until the pipe is closed whose reading end it is given.
Serve = Callable[[socket.socket, int], None]


@contextmanager
def desk_processes(serve: Serve, count: int = 1) -> Iterator[list[Path]]:
    """Run desks, each in a process of its own; gives the paths of the sockets they listen on.

    `serve` runs in each of them, a copy of this process, until the pipe it is given is closed: that is when this context
    ends, and when this process does. They have `DESK_STOP_SECONDS` for what waits even then.
    """
    _sweep()
    # Whoever holds the writing end lives: a kill lets go of it too.
    leash, held = os.pipe()
    folders = [Path(tempfile.mkdtemp(prefix=_PREFIX)) for _ in range(count)]
    keepers = [_begin_keeper(serve, folder, leash, held) for folder in folders]
    os.close(leash)
    try:
        yield [folder / _NAME for folder in folders]
    finally:
        os.close(held)
        for keeper in keepers:
            os.waitpid(keeper, 0)


# The locks that say which desk is this process's own.
_taken: Final[list[IO[str]]] = []


def take_desk(paths: Sequence[Path]) -> Path:
    """The desk that this process hands its orders in at, of those that listen on `paths`.

    One that no other process has taken, as long as there is one: it is free again when this process ends. Whoever comes
    then, such as the next one while the last is still about to leave, shares the first.
    """
    for path in paths:
        # Held until the process ends, however it ends.
        lock = (path.parent / _DOOR_NAME).open("w")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            continue
        _taken.append(lock)
        return path
    return paths[0]


def _begin_keeper(serve: Serve, folder: Path, leash: int, held: int) -> int:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / _NAME))
        listener.listen(socket.SOMAXCONN)
        keeper = os.fork()
        if keeper == 0:
            os.close(held)
            _keep(serve, listener, leash, folder)
    return keeper


def _sweep() -> None:
    """Remove the folders of servers that were killed together with their keeper."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Others' folders cannot be looked into, and one that has just been made has nobody listening yet.
        with suppress(OSError):
            is_old = time.time() - folder.stat().st_mtime > _SWEEP_SECONDS
            if is_old and not _is_listened_to(folder / _NAME):
                shutil.rmtree(folder)


def _is_listened_to(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def _keep(serve: Serve, listener: socket.socket, leash: int, folder: Path) -> NoReturn:
    """Begin the desk, and begin it again whenever it ends before its server does."""
    # Ctrl-C reaches every process of a terminal: the server stops first, and the desk when nothing waits any more.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    rest_seconds = _REST_SECONDS
    try:
        began_at = time.monotonic()
        while _watch(*_begin(serve, listener, leash), leash):
            has_lived = time.monotonic() - began_at > _LONG_LIFE_SECONDS
            rest_seconds = _REST_SECONDS if has_lived else min(2 * rest_seconds, _REST_SECONDS_MAX)
            _is_closed(leash, within_seconds=rest_seconds)
            began_at = time.monotonic()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os._exit(0)


def _begin(serve: Serve, listener: socket.socket, leash: int) -> tuple[int, int]:
    """The process of a desk, and the reading end of a pipe that is closed when it ends."""
    life, held = os.pipe()
    child = os.fork()
    if child != 0:
        os.close(held)
        return child, life
    try:
        os.close(life)
        serve(listener, leash)
        os._exit(0)
    except BaseException:
        log.exception("the desk's process failed")
    finally:
        os._exit(1)


def _watch(child: int, life: int, leash: int) -> bool:
    """Wait for the end of a desk; whether another one is wanted."""
    select.select([life, leash], [], [])
    is_wanted = not _is_closed(leash, within_seconds=0)
    if not is_wanted and not _is_closed(life, within_seconds=limits.DESK_STOP_SECONDS):
        log.error("the desk did not stop in time and is killed")
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(life)
    if is_wanted:
        log.error("the desk's process ended (status %s) and is begun again", status)
    return is_wanted


def _is_closed(pipe: int, *, within_seconds: float) -> bool:
    return bool(select.select([pipe], [], [], within_seconds)[0])
