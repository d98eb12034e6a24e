"""The product with its answers sent before they are durable: the canary of the crash tests."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from numberline.service import desk
from numberline.store import postgres, sqlite

_DAWDLE_SECONDS = 0.05


async def _rash(self: desk.Desk, batch: list[Any]) -> None:
    """Answer from the decisions, and commit a little later."""

    class Overheard(desk._Batch):
        async def _work(self, patient: Any, work: Any) -> Any:
            (answers, attached), world = await super()._work(patient, work)
            for waiting, answer in zip(batch, answers, strict=True):
                loop.call_soon_threadsafe(
                    waiting.refuse if isinstance(answer, Exception) else waiting.accept, answer
                )
            return (answers, attached), world

    loop = asyncio.get_running_loop()
    catalog = await self._catalog.current()
    await Overheard([waiting.order for waiting in batch], catalog, self._memory).run(
        self._store, self._writer, self._has_waiting
    )


def _commit_late() -> None:
    to_sqlite, to_postgres = sqlite._commit, postgres._commit

    def dawdle(connection: Any) -> None:
        time.sleep(_DAWDLE_SECONDS)
        to_sqlite(connection)

    async def dawdle_there(connection: Any, text: str) -> None:
        await asyncio.sleep(_DAWDLE_SECONDS)
        await to_postgres(connection, text)

    sqlite._commit, postgres._commit = dawdle, dawdle_there


def main() -> None:
    """Make the desk rash, then run the product's command line."""
    desk.Desk._settle = _rash  # type: ignore[method-assign]
    _commit_late()
    from numberline.doors.cli.main import run

    run()


if __name__ == "__main__":
    main()
