"""A Numberline server as its users run it: a process of its own, reached over TLS."""

from __future__ import annotations

import http.client
import os
import ssl
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, Self

from numberline.doors.cli.home import RUNNING
from tests.kit.leash import Leash, free_port, kill_tree, stop

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 20.0


class ServerProcess:
    """`numberline up` (or another command that serves) on a free port of this machine; also a context manager.

    The port stays the same when the server is started again after stop() or kill9(), and so do its files in `home`:
    the certificate authority, the first account's credentials and, without `database`, the SQLite file.
    `options` go to the command line, `environment` adds to ours, `module` is run in place of the product's own.
    """

    def __init__(
        self,
        home: Path,
        *,
        database: str | None = None,
        command: str = "up",
        options: tuple[str, ...] = (),
        environment: dict[str, str] | None = None,
        port: int | None = None,
        module: str = "numberline",
    ) -> None:
        self.home = home
        self.port = port or free_port()
        self.log_file = home.with_name(f"{home.name}.log")
        self._arguments = [command, "--home", str(home), "--port", str(self.port)]
        self._arguments += ["--database", database] if database else []
        self._arguments += options
        self._environment = environment or {}
        self._module = module
        self._process: subprocess.Popen[bytes] | None = None
        self._leash: Leash | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def host(self) -> str:
        """Host and port as the SDKs take them."""
        return f"localhost:{self.port}"

    @property
    def base_url(self) -> str:
        """The server's address without a path."""
        return f"https://{self.host}"

    @property
    def ca(self) -> Path:
        """The certificate authority to trust."""
        return self.home / "ca.pem"

    @property
    def credentials(self) -> Path:
        """The key of the first account, in the vendor's file format."""
        return self.home / "credentials.json"

    @property
    def pid(self) -> int:
        """The id of the running server's first process."""
        assert self._process is not None, "the server is not running"
        return self._process.pid

    def trust(self) -> ssl.SSLContext:
        """What a client in this process needs to trust the server."""
        return ssl.create_default_context(cafile=self.ca)

    def log(self) -> str:
        """What the server has written so far, on both streams."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    def start(self) -> None:
        """Run the server until it says that it is ready; raise with its log when it ends or takes too long."""
        assert self._process is None, "the server is running already"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBERLINE_")}
        self.home.parent.mkdir(parents=True, exist_ok=True)
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", self._module, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.home.parent,
                env={**inherited, "PYTHONUNBUFFERED": "1", **self._environment},
                start_new_session=True,
            )
        self._leash = Leash(self._process.pid)
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            if self.is_ready():
                return
            time.sleep(0.05)
        code = self._process.poll()
        self.kill9()
        how = "did not become ready" if code is None else f"ended with exit code {code}"
        raise RuntimeError(f"the server {how}:\n{self.log()[-8000:]}")

    def is_ready(self) -> bool:
        """Whether /readyz answers 200 under the server's own certificate authority, and commands can find the server."""
        if not self.ca.exists() or not (self.home / RUNNING).exists():
            return False
        try:
            connection = http.client.HTTPSConnection("localhost", self.port, timeout=2, context=self.trust())
            try:
                connection.request("GET", "/readyz")
                return connection.getresponse().status == http.HTTPStatus.OK
            finally:
                connection.close()
        except (OSError, http.client.HTTPException):
            return False

    def stop(self) -> int | None:
        """Interrupt the server as Ctrl-C does and return its exit code; None when it was not running."""
        if self._process is None:
            return None
        try:
            return stop(self._process, within_seconds=_STOP_SECONDS)
        finally:
            self._let_go()

    def kill9(self) -> None:
        """Kill the server and its workers at once; start() may follow."""
        if self._process is not None:
            kill_tree(self._process)
            self._let_go()

    def _let_go(self) -> None:
        self._process = None
        if self._leash is not None:
            self._leash.release()
            self._leash = None
