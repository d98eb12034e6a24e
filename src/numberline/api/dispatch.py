"""The server on one screen: from a raw request to a raw answer, for every method there is.

command -> credentials -> role -> parameters -> use case -> answer. A refusal anywhere becomes the error envelope;
anything else that is raised is a defect, logged under a reference that the caller is told instead of its text.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from collections import deque
from functools import partial
from typing import Any, Final

import msgspec

from numberline.api.auth import Authenticator
from numberline.api.codec import RawAnswer, RawRequest, read_parameters
from numberline.api.method import Effect, Method
from numberline.api.params import OrderParser, RawParameters
from numberline.api.registry import Registry, refusals_of
from numberline.api.render import build_render, render_error
from numberline.domain import limits
from numberline.domain.access import Caller
from numberline.domain.errors import (
    COMMIT_UNKNOWN,
    FORBIDDEN_COMMAND,
    INTERNAL_ERROR,
    INVALID,
    MISSING_CMD,
    STORE_UNAVAILABLE,
    TRY_LATER,
    UNKNOWN_COMMAND,
    ErrorKind,
    Refusal,
)
from numberline.service.context import Call, IdempotencyKey, Services
from numberline.service.desk import CallerOutdated
from numberline.store.errors import CommitUnknown, LockNotFree, StoreBusy, StoreError, StoreUnavailable

log = logging.getLogger(__name__)

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
_STORE_TROUBLES: Final[dict[type[StoreError], ErrorKind]] = {
    CommitUnknown: COMMIT_UNKNOWN,
    StoreBusy: TRY_LATER,
    LockNotFree: TRY_LATER,
    StoreUnavailable: STORE_UNAVAILABLE,
}
_IDEMPOTENCY_KEY = re.compile(r"[ -~]+", re.ASCII)


class Endpoint:
    """One method made ready to serve: everything that can be worked out beforehand is."""

    def __init__(self, method: Method) -> None:
        self.method: Final = method
        self.wire: Final = method.wire
        self.parse: Final = OrderParser(method).parse
        self.refusals: Final = refusals_of(method)
        self._render: Final = build_render(method.answer)
        self._last_view: object = self
        self._last_body = b""

    async def run(self, call: Call, order: Any) -> bytes:
        """The body of the answer; written inside the use case where it must be kept with its effect."""
        if self.method.effect is Effect.READS:
            return self._render_shared(await self.method.run(call, order))
        body: bytes = await self.method.run(call, order, self._render)
        return body

    def _render_shared(self, view: object) -> bytes:
        """Requests that shared a read have been given one view, and share its answer."""
        if view is not self._last_view:
            self._last_body, self._last_view = self._render(view), view
        return self._last_body


class Dispatcher:
    """Answers requests. `undeclared` holds the latest refusals that no declaration knew of, for tests to fail on."""

    def __init__(self, services: Services, registry: Registry) -> None:
        self._services: Final = services
        self._authenticator: Final = Authenticator(services.store, services.clock)
        self._registry: Final = registry
        self._endpoints: Final = {method.wire: Endpoint(method) for method in registry}
        self.undeclared: Final[deque[tuple[str, ErrorKind]]] = deque(maxlen=100)

    async def answer(self, request: RawRequest) -> RawAnswer:
        """Answer one request; never raises for what a request may hold or a use case may do."""
        endpoint = None
        try:
            endpoint, raw = self._resolve(request)
            serve = self._look if endpoint.method.effect is Effect.READS else self._serve
            body = await serve(endpoint, request, raw)
        except Refusal as refusal:
            return self._refuse(endpoint, refusal)
        except Exception as trouble:  # noqa: BLE001 - the last wall: whatever it is, the caller gets an envelope
            return self._refuse(endpoint, _explain(endpoint, trouble))
        return RawAnswer(status=200, body=body, method=endpoint.wire)

    async def _serve(self, endpoint: Endpoint, request: RawRequest, raw: RawParameters) -> bytes:
        """Carry a request out. Whatever speaks against a caller who is only remembered is asked of the store anew."""
        authenticate = partial(self._authenticator.authenticate, request.authorization, raw)
        caller = await authenticate(may_recall=endpoint.method.effect is Effect.SPENDS)
        try:
            call, order = self._admit(endpoint, caller, request, raw)
        except Refusal:
            if caller.remembered_at is None:
                raise
            call, order = self._admit(endpoint, await authenticate(), request, raw)
        try:
            return await endpoint.run(call, order)
        except CallerOutdated:
            call, order = self._admit(endpoint, await authenticate(), request, raw)
            return await endpoint.run(call, order)

    async def _look(self, endpoint: Endpoint, request: RawRequest, raw: RawParameters) -> bytes:
        """Carry out a request that only reads.

        While others write, nothing that was read before could be told again, and the read of one who is remembered begins
        at once; it counts if the store confirms the caller meanwhile.
        """
        authenticate = partial(self._authenticator.authenticate, request.authorization, raw)
        caller = await authenticate(may_recall=self._authenticator.is_store_changing)
        if caller.remembered_at is not None:
            asked = self._authenticator.ask_revision()
            try:
                told = await self._try(endpoint, caller, request, raw)
            except BaseException:
                asked.cancel()
                raise
            revision, _ = await asked
            if revision != caller.remembered_at:
                caller = await authenticate()
            elif isinstance(told, Exception):
                raise told
            else:
                return told
        return await endpoint.run(*self._admit(endpoint, caller, request, raw))

    async def _try(
        self, endpoint: Endpoint, caller: Caller, request: RawRequest, raw: RawParameters
    ) -> bytes | Exception:
        try:
            return await endpoint.run(*self._admit(endpoint, caller, request, raw))
        except Exception as trouble:  # noqa: BLE001 - whose it is, is not known yet
            return trouble

    def _admit(
        self, endpoint: Endpoint, caller: Caller, request: RawRequest, raw: RawParameters
    ) -> tuple[Call, Any]:
        if not endpoint.method.roles.admits(caller.roles):
            raise Refusal(FORBIDDEN_COMMAND)
        order = endpoint.parse(raw)
        return Call(caller, self._services, _read_idempotency(endpoint.method, request, order)), order

    def _resolve(self, request: RawRequest) -> tuple[Endpoint, RawParameters]:
        # The path wins over `cmd`, and is judged before a body that may be unreadable.
        if request.command is not None:
            return self._find(request.command), read_parameters(request)
        raw = read_parameters(request)
        command = raw.get("cmd", [""])[-1].strip()
        if not command:
            raise Refusal(MISSING_CMD)
        return self._find(command), raw

    def _find(self, name: str) -> Endpoint:
        method = self._registry.find(name)
        if method is None:
            raise Refusal(UNKNOWN_COMMAND)
        return self._endpoints[method.wire]

    def _refuse(self, endpoint: Endpoint | None, refusal: Refusal) -> RawAnswer:
        wire, parameter = None, refusal.parameter
        if endpoint is not None:
            wire = endpoint.wire
            parameter = parameter or endpoint.refusals.get(refusal.kind)
            if refusal.kind not in endpoint.refusals:
                self.undeclared.append((wire, refusal.kind))
                log.error("%s answered the undeclared refusal %s", wire, refusal.kind.name)
        return RawAnswer(
            status=200, body=render_error(refusal, parameter), method=wire, code=refusal.kind.code
        )


def _explain(endpoint: Endpoint | None, trouble: Exception) -> Refusal:
    """What the caller is told of an exception: troubles of the store by their kind, all else by a reference."""
    for kind, told in _STORE_TROUBLES.items():
        if isinstance(trouble, kind):
            log.warning("the store failed a request: %s", trouble, exc_info=trouble)
            return Refusal(told)
    reference = secrets.token_hex(6)
    called = endpoint.wire if endpoint else "a request without a method"
    log.error("%s failed; reference %s", called, reference, exc_info=trouble)
    return Refusal(INTERNAL_ERROR, reference=reference)


def _read_idempotency(method: Method, request: RawRequest, order: msgspec.Struct) -> IdempotencyKey | None:
    if not request.idempotency_key or method.effect is Effect.READS:
        return None
    key = request.idempotency_key[0]
    is_fit = len(key) <= limits.IDEMPOTENCY_KEY_CHARACTERS and _IDEMPOTENCY_KEY.fullmatch(key)
    if len(request.idempotency_key) > 1 or not is_fit:
        raise Refusal(INVALID, parameter=IDEMPOTENCY_HEADER)
    # The typed order, not the text it came as: the same request in another spelling is the same request.
    understood = method.wire.encode() + b"\0" + msgspec.json.encode(order)
    return IdempotencyKey(method.wire, key, hashlib.sha256(understood).digest())
