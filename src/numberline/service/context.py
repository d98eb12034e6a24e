"""What every use case is given: the caller and the parts of the running service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from numberline.domain.access import Caller
from numberline.domain.clock import Clock
from numberline.service.coalesce import SharedReads

if TYPE_CHECKING:
    from numberline.service.catalog import CatalogCache
    from numberline.service.desk import Counter
    from numberline.store.contract import Store


class Policy(msgspec.Struct, frozen=True):
    """The operator's choices that rules depend on.

    `unverified_hold_days`: how long a number is held for an account that still has to verify itself.
    `attach_count_max`: how many numbers one request may buy.
    `api_address`: the host name told to clients as their API node.
    """

    unverified_hold_days: int = 14
    attach_count_max: int = 100
    api_address: str = "localhost:8443"


class Services(msgspec.Struct, frozen=True):
    """The running parts, composed once in `app.py`."""

    store: Store
    catalog: CatalogCache
    desk: Counter
    clock: Clock
    policy: Policy
    shared: SharedReads = msgspec.field(default_factory=SharedReads)


class IdempotencyKey(msgspec.Struct, frozen=True):
    """A caller's promise that equal requests under one key mean one effect.

    `method` is the method's name on the wire, `fingerprint` the SHA-256 of the request as it was understood.
    """

    method: str
    key: str
    fingerprint: bytes


class Call(msgspec.Struct, frozen=True):
    """One authenticated request on its way to a use case."""

    caller: Caller
    services: Services
    idempotency: IdempotencyKey | None = None
