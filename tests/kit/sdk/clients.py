"""An SDK in a process of its own, called one method at a time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Final, Self

from tests.kit.sdk.runtime import NODE_FOLDER, install_node_sdk

CALL_SECONDS_MAX: Final = 30.0
# What would change whom the SDKs trust or speak as, from the shell that runs the tests.
_INHERITED_NOT: Final = (
    "CURL_CA_BUNDLE",
    "NODE_EXTRA_CA_CERTS",
    "REQUESTS_CA_BUNDLE",
    "VOXIMPLANT_CREDENTIALS",
)


class SdkRefusedError(Exception):
    """The server refused; `code` and `msg` as the SDK reported them."""

    def __init__(self, code: int, msg: str) -> None:
        super().__init__(f"{code}: {msg}")
        self.code = code
        self.msg = msg


class SdkFailedError(Exception):
    """The SDK itself failed: no connection, no trust, an answer it could not read."""


class Sdk:
    """A running scenario of one SDK; a context manager."""

    def __init__(self, command: list[str], trust: dict[str, str], *, cwd: Path | None = None) -> None:
        environment = {name: value for name, value in os.environ.items() if name not in _INHERITED_NOT}
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=cwd,
            env={**environment, **trust},
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(self, method: str, **params: Any) -> Any:
        """Call one method of the SDK by its own name with its own parameter names, and return what it returned.

        Raises SdkRefusedError for an error of the API and SdkFailedError for anything else.
        """
        answer = self._exchange({"method": method, "params": params})
        if "error" in answer:
            raise SdkRefusedError(answer["error"]["code"], answer["error"]["msg"])
        if "thrown" in answer:
            raise SdkFailedError(f"{answer['thrown']['name']}: {answer['thrown']['message']}")
        return answer["result"]

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _exchange(self, request: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        deadline = threading.Timer(CALL_SECONDS_MAX, self._process.kill)
        deadline.start()
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        finally:
            deadline.cancel()
        if not line:
            raise SdkFailedError(f"the SDK's process ended or hung in {request['method']}")
        answer: dict[str, Any] = json.loads(line)
        return answer


def python_sdk(host: str, credentials: Path, ca: Path, account_id: int | None = None) -> Sdk:
    """The Python SDK against `host` ("localhost:8443"); methods by name, such as `attach_phone_number`."""
    script = Path(__file__).with_name("python_scenario.py")
    command = [sys.executable, str(script), *_options(host, credentials, account_id)]
    return Sdk(command, {"REQUESTS_CA_BUNDLE": str(ca)})


def node_sdk(host: str, credentials: Path, ca: Path, account_id: int | None = None) -> Sdk:
    """The Node SDK against `host`; methods with their group, such as `PhoneNumbers.attachPhoneNumber`."""
    runtime = install_node_sdk()
    command = [*runtime.node, "scenario.js", *_options(host, credentials, account_id)]
    return Sdk(command, {"NODE_EXTRA_CA_CERTS": str(ca)}, cwd=NODE_FOLDER)


def _options(host: str, credentials: Path, account_id: int | None) -> list[str]:
    options = ["--host", host, "--credentials", str(credentials)]
    return options if account_id is None else [*options, "--account-id", str(account_id)]
