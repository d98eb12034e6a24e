"""The load generator for top rates: wrk, one thread, sending requests that were made beforehand.

wrk costs about a tenth of a generator in Python, which matters where it shares the cores with what it measures. It
does not look into answers: whoever starts a load compares the server's own counters before and after.
"""

from __future__ import annotations

import json
import signal
import subprocess
from pathlib import Path
from typing import Final

from benchmarks import tools
from benchmarks.messages import MessageFile
from benchmarks.report import Measured

_SCRIPT: Final = Path(__file__).with_suffix(".lua")
_TIMEOUT: Final = "10s"
_WARM_UP_SECONDS: Final = 2


class BadLoad(RuntimeError):
    """A load did not go as it must: answers other than success, broken connections, or counts that differ."""


def drive(
    port: int, messages: MessageFile, *, connections: int, seconds: float, once: bool = False
) -> Measured:
    """Keep connections busy for a while; rate and latencies. `once` ends the run after the last message."""
    program, environment = tools.wrk()
    command = [
        *program,
        *("-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", _TIMEOUT, "--latency"),
        *("-s", str(_SCRIPT), f"http://127.0.0.1:{port}/", "--"),
        *(
            str(messages.path),
            str(0 if once else messages.first),
            "once" if once else "again",
            str(connections),
        ),
    ]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        assert process.stdout is not None, "it is a pipe"
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line == "answered\n":
                process.send_signal(signal.SIGINT)
    if process.returncode != 0:
        raise BadLoad(f"wrk: {''.join(lines)}")
    found: Measured = json.loads(lines[-1])
    if found["bad_status"] or found["broken"]:
        raise BadLoad(f"wrk: {found}")
    # The next load goes on where this one stopped, so that no server sees a token again soon.
    messages.advance(int(found["answers"]))
    found["per_second"] = found["answers"] / found["seconds"]
    return found


def warm_up(port: int, messages: MessageFile) -> None:
    """Let a server open its connections and compile what it compiles, before anything counts."""
    drive(port, messages, connections=32, seconds=_WARM_UP_SECONDS)
