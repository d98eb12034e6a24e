"""A small, fast HTTP client for storms: one keep-alive connection per client, nothing between it and the socket."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlencode


class Broken(Exception):
    """The connection ended before the whole answer was read: whether the request had its effect is unknown."""


class Client:
    """One connection to one server, opened when it is first needed and again after it broke."""

    def __init__(self, port: int, trust: ssl.SSLContext | None = None, host: str = "localhost") -> None:
        self._port, self._trust, self._host = port, trust, host
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def call(
        self, method: str, params: Mapping[str, Any], bearer: str, *, idempotency_key: str | None = None
    ) -> tuple[int, dict[str, Any]]:
        """The HTTP status and the decoded answer; raises Broken when the connection ends first."""
        extra = f"Idempotency-Key: {idempotency_key}\r\n" if idempotency_key else ""
        body = urlencode(params).encode()
        head = (
            f"POST /platform_api/{method} HTTP/1.1\r\nHost: {self._host}:{self._port}\r\n"
            f"Authorization: {bearer}\r\n{extra}"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        status, answer = await self.exchange(head.encode() + body)
        return status, json.loads(answer)

    async def exchange(self, request: bytes) -> tuple[int, bytes]:
        """Send bytes and read one answer with a Content-Length."""
        try:
            if self._writer is None:
                self._reader, self._writer = await asyncio.open_connection(
                    self._host, self._port, ssl=self._trust
                )
            assert self._reader is not None
            self._writer.write(request)
            head = await self._reader.readuntil(b"\r\n\r\n")
            status = int(head[9:12])
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            return status, await self._reader.readexactly(length)
        except (OSError, EOFError, asyncio.IncompleteReadError, IndexError) as error:
            await self.close()
            raise Broken(str(error)) from error

    async def close(self) -> None:
        """Let go of the connection."""
        if self._writer is not None:
            self._writer.close()
            with contextlib.suppress(OSError):
                await self._writer.wait_closed()
        self._reader = self._writer = None
