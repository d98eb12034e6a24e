"""Whom claims of callers speak of: asked of the store, and remembered for orders that will be compared with it anyway."""

from __future__ import annotations

import time
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from numberline.service.coalesce import GatheredReads
from numberline.store.access import Claim, FoundCaller

if TYPE_CHECKING:
    from numberline.store.contract import Store

KNOWN_MAX: Final = 4_096
# A database that was put back to an earlier day counts its revisions anew; that takes longer than this.
KNOWN_SECONDS: Final = 10.0


class Callers:
    """Finds callers by what they claim; requests that come together ask together."""

    def __init__(self, store: Store) -> None:
        self._store: Final = store
        self._asked: Final = GatheredReads(self._ask)
        self._known: Final[dict[Claim, tuple[float, FoundCaller]]] = {}

    async def find(self, claim: Claim) -> FoundCaller | None:
        """What the store says of a claim from now on; None when it does not know the key."""
        self._known.pop(claim, None)
        found = await self._asked.find(claim)
        if found is not None:
            self._known[claim] = time.monotonic(), found
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]
        return found

    def recall(self, claim: Claim) -> FoundCaller | None:
        """What the store said a moment ago. Nothing may be refused for it, nor granted without comparing its revision."""
        found_at, found = self._known.get(claim, (0.0, None))
        return found if time.monotonic() - found_at < KNOWN_SECONDS else None

    async def _ask(self, claims: Collection[Claim]) -> dict[Claim, FoundCaller]:
        return await self._store.read(lambda reading: reading.find_callers(claims), brief=True)
