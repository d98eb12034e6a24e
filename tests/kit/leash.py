"""Child processes that never outlive the tests, however the tests end."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from pathlib import Path

import psutil

# Waits until the pipe it reads closes: that happens when the test process is gone, by whatever death. Then it ends the
# process named first ($0), with time to close down, and removes the folder named second ($1), if any.
_WATCH = """
read -r _
kill -INT "$0" 2>/dev/null
tries=0
while kill -0 "$0" 2>/dev/null && [ "$tries" -lt 50 ]; do sleep 0.1; tries=$((tries + 1)); done
kill -KILL "$0" 2>/dev/null
[ -z "$1" ] || rm -rf -- "$1"
"""


class Leash:
    """Ends a process, and removes its folder, should the test process die without doing so itself."""

    def __init__(self, pid: int, folder: Path | None = None) -> None:
        self._watcher = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH, str(pid), str(folder or "")],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def release(self) -> None:
        """Stop watching. To be called once the process has ended: its id may soon be another's."""
        self._watcher.kill()
        if self._watcher.stdin is not None:
            self._watcher.stdin.close()
        self._watcher.wait()


def free_port() -> int:
    """A port on 127.0.0.1 that nobody listens on. Another program may still take it before it is used."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def kill_tree(process: subprocess.Popen[bytes]) -> None:
    """End a process and all its children with SIGKILL, the parent first so that it starts no new ones."""
    try:
        parent = psutil.Process(process.pid)
        parent.suspend()
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(family[1:], timeout=10)
    process.wait(timeout=10)


def stop(process: subprocess.Popen[bytes], *, within_seconds: float) -> int:
    """Ask a process to end with SIGINT, insist with SIGKILL, and return its exit code."""
    if process.poll() is None:
        os.kill(process.pid, signal.SIGINT)
        try:
            process.wait(timeout=within_seconds)
        except subprocess.TimeoutExpired:
            kill_tree(process)
    return process.wait()
