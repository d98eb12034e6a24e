"""Whom claims of callers speak of: asked of the store, and remembered while it says that nothing has changed."""

from __future__ import annotations

import time
from asyncio import Future
from collections.abc import Collection
from typing import TYPE_CHECKING, Final

from numberline.service.coalesce import GatheredReads, SharedReads
from numberline.store.access import Claim, FoundCaller
from numberline.store.contract import State

if TYPE_CHECKING:
    from numberline.store.contract import Store

# What a claim says instead of an account: the one that owns the key.
OWN_ACCOUNT: Final = 0
KNOWN_MAX: Final = 4_096
# A database that was put back to an earlier day counts its revisions anew; that takes longer than this.
KNOWN_SECONDS: Final = 10.0


class Callers:
    """Finds callers by what they claim; requests that come together ask together.

    `is_store_changing` tells whether the store was in another state at each of the last two looks.
    """

    def __init__(self, store: Store) -> None:
        self.is_store_changing = False
        self._last_state: State | None = None
        self._store: Final = store
        self._asked: Final = GatheredReads(self._ask)
        self._revisions: Final = SharedReads()
        self._known: Final[dict[Claim, tuple[float, FoundCaller]]] = {}

    async def find(self, claim: Claim) -> FoundCaller | None:
        """What the store says of a claim from now on; None when it does not know the key.

        For who is remembered it need only say that the revision is still the same, which is one answer for all of them.
        """
        if (known := self.recall(claim)) is not None:
            revision, state = await self.ask_revision()
            if revision == known.revision:
                return known._replace(state=state)
        self._known.pop(claim, None)
        found = await self._asked.find(claim)
        # A new account raises no revision, so that there is none is never remembered.
        if found is not None and (found.acting is not None or claim[1] == OWN_ACCOUNT):
            self._known[claim] = time.monotonic(), found
        if len(self._known) > KNOWN_MAX:
            del self._known[next(iter(self._known))]
        return found

    def recall(self, claim: Claim) -> FoundCaller | None:
        """What the store said a moment ago. Nothing may be refused for it, nor granted without comparing its revision."""
        found_at, found = self._known.get(claim, (0.0, None))
        return found if time.monotonic() - found_at < KNOWN_SECONDS else None

    def ask_revision(self) -> Future[tuple[int, State]]:
        """The revision of access from now on, and the store's state."""
        return self._revisions.begin("revision", self._read_revision)

    async def _read_revision(self) -> tuple[int, State]:
        revision, state = await self._store.read(lambda reading: reading.find_access_revision(), brief=True)
        self._note(state)
        return revision, state

    async def _ask(self, claims: Collection[Claim]) -> dict[Claim, FoundCaller]:
        found = await self._store.read(lambda reading: reading.find_callers(claims), brief=True)
        for one in found.values():
            self._note(one.state)
            break  # they were all found in one state
        return found

    def _note(self, state: State) -> None:
        self.is_store_changing = self._last_state not in (None, state)
        self._last_state = state
