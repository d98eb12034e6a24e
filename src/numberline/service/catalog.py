"""The catalogue as a process holds it: one snapshot, renewed when the store's revision has moved on."""

from __future__ import annotations

import asyncio
import time
from typing import Final

from numberline.domain.catalog import Catalog
from numberline.store.contract import Store

# Reads may lag behind an operator's change by this much; the desk never does, it compares revisions.
FRESH_SECONDS: Final = 1.0


class CatalogCache:
    """Holds the present `Catalog` of a store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._catalog: Catalog | None = None
        self._checked_at = 0.0
        self._loading = asyncio.Lock()

    async def current(self) -> Catalog:
        """The catalogue, at most `FRESH_SECONDS` behind the store."""
        if self._catalog is not None and time.monotonic() - self._checked_at < FRESH_SECONDS:
            return self._catalog
        return await self.of(await self._store.read(lambda ask: ask.find_catalog_revision(), brief=True))

    async def of(self, revision: int) -> Catalog:
        """The catalogue of the revision the store is said to have, or of the one it has by now."""
        async with self._loading:
            if self._catalog is None or self._catalog.revision != revision:
                rows = await self._store.read(lambda ask: ask.load_catalog(), snapshot=True)
                self._catalog = Catalog(rows)
            self._checked_at = time.monotonic()
            return self._catalog
