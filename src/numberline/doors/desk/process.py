"""The life of the desk's process: begun before anything else runs, begun again when it dies, ended with its server.

A process in between, the keeper, waits for the desk and begins it again: it runs nothing else, so a fork of it is a
fresh start, where a fork of a serving process would copy its threads' locks. All hold the same listening socket; while
the desk is away, doors queue there.
"""

from __future__ import annotations

import logging
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final, NoReturn

from numberline.domain import limits

log = logging.getLogger(__name__)

_REST_SECONDS: Final = 0.1

# Serves orders on a listening socket until the pipe is closed whose reading end it is given.
Serve = Callable[[socket.socket, int], None]


@contextmanager
def desk_process(serve: Serve) -> Iterator[Path]:
    """Run a desk in a process of its own; gives the path of the socket it listens on.

    `serve` runs in that process, a copy of this one, until the pipe it is given is closed: that is when this context
    ends, and when this process does. It has `STOP_SECONDS` to answer what waits.
    """
    folder = Path(tempfile.mkdtemp(prefix="numberline-desk-"))
    path = folder / "socket"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(socket.SOMAXCONN)
        # Whoever holds the writing end lives: a kill lets go of it too.
        leash, held = os.pipe()
        keeper = os.fork()
        if keeper == 0:
            os.close(held)
            _keep(serve, listener, leash, folder)
    os.close(leash)
    try:
        yield path
    finally:
        os.close(held)
        os.waitpid(keeper, 0)


def _keep(serve: Serve, listener: socket.socket, leash: int, folder: Path) -> NoReturn:
    """Begin the desk, and begin it again whenever it ends before its server does."""
    # Ctrl-C reaches every process of a terminal: the server stops first, and the desk when nothing waits any more.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    try:
        while _watch(*_begin(serve, listener, leash), leash):
            time.sleep(_REST_SECONDS)
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
    if not is_wanted and not _is_closed(life, within_seconds=limits.STOP_SECONDS):
        log.error("the desk did not stop in time and is killed")
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(life)
    if is_wanted:
        log.error("the desk's process ended (status %s) and is begun again", status)
    return is_wanted


def _is_closed(pipe: int, *, within_seconds: float) -> bool:
    return bool(select.select([pipe], [], [], within_seconds)[0])
