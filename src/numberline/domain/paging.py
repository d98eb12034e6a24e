"""One page of a longer list."""

from __future__ import annotations

from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Page(msgspec.Struct, Generic[T], frozen=True):
    """The items of one page and how many there are in all."""

    items: list[T]
    total: int
