"""The life of the desk's process for real: it is begun again when it dies, and outlives neither its use nor its server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import psutil
import pytest

# Serves the ids of its desk and of its keeper to whoever connects, until its standard input ends.
RUN: Final = """
import os, select, signal, sys, time
from numberline.domain import limits
from numberline.doors.desk.process import desk_processes

limits.DESK_STOP_SECONDS = 0.5
way = sys.argv[1]


def serve(listener, leash):
    if way == "failing" and not os.path.exists(sys.argv[2]):
        open(sys.argv[2], "x").close()
        raise RuntimeError("no settings")
    while True:
        ready, _, _ = select.select([listener, leash], [], [])
        if leash in ready:
            time.sleep(60 if way == "stubborn" else 0)
            return
        door, _ = listener.accept()
        with door:
            door.sendall(f"{os.getpid()} {os.getppid()}".encode())


with desk_processes(serve, 2 if way == "two" else 1) as paths:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: print(number, flush=True))
    print(*paths, sep=os.linesep, flush=True)
    sys.stdin.read()
    if way == "broken":
        raise RuntimeError("the server failed")
print("left", flush=True)
"""


class Served:
    """A server in a process of its own, with a desk that tells who it is."""

    def __init__(self, folder: Path, way: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN, way, str(folder / "flag")],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.path = Path(self.read_line())
        self.desk, self.keeper = self.ask()

    def read_line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")

    def ask(self) -> tuple[int, int]:
        """The ids of the desk and its keeper; whoever asks while there is no desk waits for it."""
        return self.ask_at(self.path)

    def ask_at(self, path: Path) -> tuple[int, int]:
        """The same of the desk that listens elsewhere."""
        with socket.socket(socket.AF_UNIX) as door:
            door.settimeout(10)
            door.connect(str(path))
            desk, keeper = door.recv(100).split()
        return int(desk), int(keeper)

    def leave(self) -> tuple[int, float, str, str]:
        """Have the server leave the context: exit code, seconds it took, standard output and error."""
        began = time.monotonic()
        out, err = self.process.communicate(timeout=20)
        return self.process.returncode, time.monotonic() - began, out, err

    def is_gone(self) -> bool:
        """Whether all processes have ended and nothing is left in the file system."""
        return not any(is_running(pid) for pid in (self.desk, self.keeper)) and not self.path.parent.exists()

    def end(self) -> None:
        """Whatever a test has left."""
        for pid in (self.process.pid, self.keeper, self.desk):
            if is_running(pid):
                os.kill(pid, signal.SIGKILL)
        self.process.communicate(timeout=20)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., Served]]:
    started: list[Served] = []

    def start(way: str = "") -> Served:
        started.append(Served(tmp_path, way))
        return started[-1]

    yield start
    for server in started:
        server.end()


def is_running(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def wait_until(is_so: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


# Serving.


def test_the_desk_answers_from_a_process_of_its_own(served: Callable[..., Served]) -> None:
    server = served()
    assert len({server.process.pid, server.keeper, server.desk}) == 3
    assert psutil.Process(server.keeper).ppid() == server.process.pid
    assert server.ask() == (server.desk, server.keeper)


def test_only_its_user_may_come_to_the_socket(served: Callable[..., Served]) -> None:
    folder = served().path.parent
    assert folder.parent == Path(tempfile.gettempdir())
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_desk_that_was_killed_is_begun_again_on_its_path(served: Callable[..., Served]) -> None:
    server = served()
    for _ in range(2):
        before = server.desk
        os.kill(before, signal.SIGKILL)
        server.desk, keeper = server.ask()
        assert server.desk != before
        assert keeper == server.keeper
    code, _, out, err = server.leave()
    assert (code, out) == (0, "left\n")
    assert err.count("is begun again") == 2
    assert server.is_gone()


def test_a_desk_that_fails_tells_why_and_is_begun_again(served: Callable[..., Served]) -> None:
    server = served("failing")
    code, _, _, err = server.leave()
    assert code == 0
    assert "RuntimeError: no settings" in err
    assert err.count("is begun again") == 1
    assert server.is_gone()


# Several desks.

TAKE: Final = """
import sys
from pathlib import Path
from numberline.doors.desk.process import take_desk

print(take_desk([Path(path) for path in sys.argv[1:]]), flush=True)
sys.stdin.read()
"""


def test_each_door_has_a_desk_of_its_own_as_long_as_there_is_one(tmp_path: Path) -> None:
    paths = [tmp_path / name / "socket" for name in ("a", "b")]
    for path in paths:
        path.parent.mkdir()

    def take() -> tuple[subprocess.Popen[str], Path]:
        door = subprocess.Popen(
            [sys.executable, "-c", TAKE, *map(str, paths)],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert door.stdout is not None
        return door, Path(door.stdout.readline().rstrip("\n"))

    doors = [take() for _ in range(3)]
    try:
        assert [path for _, path in doors] == [*paths, paths[0]], "the third shares the first one's"
        doors[1][0].kill()
        doors[1][0].communicate(timeout=10)
        doors.append(take())
        assert doors[-1][1] == paths[1], "what was taken is free when its door has ended"
    finally:
        for door, _ in doors:
            door.kill()
            door.communicate(timeout=10)


def test_several_desks_end_with_their_server(served: Callable[..., Served]) -> None:
    server = served("two")
    second = server.ask_at(Path(server.read_line()))
    assert len({server.desk, server.keeper, *second}) == 4
    code, seconds, out, _ = server.leave()
    assert (code, out) == (0, "left\n")
    assert seconds < 3
    assert server.is_gone()
    assert not any(map(is_running, second))


def test_several_desks_end_when_their_server_is_killed(served: Callable[..., Served]) -> None:
    server = served("two")
    second = server.ask_at(Path(server.read_line()))
    server.process.kill()
    server.process.wait(timeout=10)
    wait_until(lambda: server.is_gone() and not any(map(is_running, second)))


# Stopping.


@pytest.mark.parametrize(("way", "expected"), [("", 0), ("broken", 1)])
def test_leaving_the_context_ends_all_and_leaves_nothing(
    served: Callable[..., Served], way: str, expected: int
) -> None:
    server = served(way)
    code, seconds, out, err = server.leave()
    assert server.is_gone()
    assert code == expected
    assert (out, "RuntimeError: the server failed" in err) == (("", True) if way else ("left\n", False))
    assert seconds < 3


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_of_the_whole_group_leaves_the_desk_to_its_server(
    served: Callable[..., Served], number: signal.Signals
) -> None:
    server = served()
    os.killpg(server.process.pid, number)
    assert server.read_line() == str(int(number)), "the server was told"
    assert server.ask() == (server.desk, server.keeper)
    code, _, out, err = server.leave()
    assert (code, out, err) == (0, "left\n", "")
    assert server.is_gone()


@pytest.mark.parametrize("way", ["", "stubborn"])
def test_nothing_outlives_a_server_that_was_killed(served: Callable[..., Served], way: str) -> None:
    server = served(way)
    server.process.kill()
    server.process.wait(timeout=10)
    wait_until(server.is_gone)


def test_a_server_that_is_killed_without_a_desk_leaves_nothing_either(served: Callable[..., Served]) -> None:
    server = served()
    os.kill(server.desk, signal.SIGKILL)
    server.process.kill()
    server.process.wait(timeout=10)
    wait_until(server.is_gone)


def test_a_desk_that_does_not_stop_is_killed(served: Callable[..., Served]) -> None:
    server = served("stubborn")
    code, seconds, out, err = server.leave()
    assert server.is_gone()
    assert (code, out) == (0, "left\n")
    assert 0.5 <= seconds < 3
    assert err == "the desk did not stop in time and is killed\n"
