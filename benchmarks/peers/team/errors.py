"""Refusals, which the wire answers with 200 and an envelope."""

from __future__ import annotations


class Refused(Exception):
    """A request that is not carried out."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
