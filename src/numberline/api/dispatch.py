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
from collections.abc import Callable
from functools import partial
from typing import Any, Final, Protocol

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
from numberline.service.desk import CallerOutdated, PortableOrder
from numberline.store.errors import CommitUnknown, LockNotFree, StoreBusy, StoreError, StoreUnavailable

log = logging.getLogger(__name__)

IDEMPOTENCY_HEADER: Final = "Idempotency-Key"
_STORE_TROUBLES: Final[dict[type[StoreError], ErrorKind]] = {
    CommitUnknown: COMMIT_UNKNOWN,
    StoreBusy: TRY_LATER,
    LockNotFree: TRY_LATER,
    StoreUnavailable: STORE_UNAVAILABLE,
}
# The bytes of a request that tell what it asks for, whoever asks.
_Question = tuple[str | None, bytes, str, bytes]
_ASKED_MAX: Final = 1_024
_ASKED_BYTES_MAX: Final = 1_024
_IDEMPOTENCY_KEY = re.compile(r"[ -~]+", re.ASCII)


class Reply(Protocol):
    """Whoever waits for an answer."""

    def is_gone(self) -> bool:
        """Whether nobody waits any more."""

    def take(self, answer: RawAnswer) -> None:
        """Here it is."""

    def start_over(self) -> None:
        """The request had no effect: `answer` it, without recalling its caller."""


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
        if self.method.effect is Effect.SPENDS:
            return await call.services.desk.submit(self.order_at_desk(call, order))
        body: bytes = await self.method.run(call, order, self._render)
        return body

    def order_at_desk(self, call: Call, order: Any) -> PortableOrder:
        """What a request that spends hands in at the desk."""
        found: PortableOrder = self.method.run(call, order, self._render)
        return found

    def _render_shared(self, view: object) -> bytes:
        """Requests that shared a read have been given one view, and share its answer."""
        if view is not self._last_view:
            self._last_body, self._last_view = self._render(view), view
        return self._last_body


class _Asked(msgspec.Struct):
    """What a request asks for: the method, its parameters, and the order they make, once they have been read."""

    endpoint: Endpoint
    raw: RawParameters
    order: Any = None


class Dispatcher:
    """Answers requests. `undeclared` holds the latest refusals that no declaration knew of, for tests to fail on."""

    def __init__(self, services: Services, registry: Registry) -> None:
        self._services: Final = services
        self._authenticator: Final = Authenticator(services.store, services.clock)
        self._registry: Final = registry
        self._endpoints: Final = {method.wire: Endpoint(method) for method in registry}
        # What good requests asked for, by their bytes: what follows from these alone is worked out once.
        self._asked: Final[dict[_Question, _Asked]] = {}
        self.undeclared: Final[deque[tuple[str, ErrorKind]]] = deque(maxlen=100)

    async def answer(self, request: RawRequest, *, may_recall: bool = True) -> RawAnswer:
        """Answer one request; never raises for what a request may hold or a use case may do.

        Without `may_recall` its caller is asked for, whoever is remembered.
        """
        endpoint = None
        try:
            asked = self._resolve(request)
            endpoint = asked.endpoint
            if endpoint.method.effect is Effect.READS:
                body = await self._look(asked, request)
            else:
                body = await self._serve(asked, request, may_recall=may_recall)
        except Exception as trouble:  # noqa: BLE001 - the last wall: whatever it is, the caller gets an envelope
            return self._refuse(endpoint, trouble)
        return RawAnswer(status=200, body=body, method=endpoint.wire)

    def begin(self, request: RawRequest, reply: Reply) -> bool:
        """Hand a request that spends in at the desk at once, if it asks for what was asked before and its caller is remembered.

        The reply is told how it ends. False: nothing has happened, and the request wants to be answered.
        """
        asked = self._asked.get(_question(request))
        if asked is None or asked.endpoint.method.effect is not Effect.SPENDS:
            return False
        try:
            caller = self._authenticator.recall(request.authorization)
            if caller is None:
                return False
            at_desk = asked.endpoint.order_at_desk(*self._admit(asked, caller, request))
        except Exception:  # noqa: BLE001 - whatever it is, `answer` will meet it again and tell the caller
            return False
        return self._services.desk.hand_in(at_desk, _HandedIn(self._refuse, asked.endpoint, reply))

    async def _serve(self, asked: _Asked, request: RawRequest, *, may_recall: bool) -> bytes:
        """Carry a request out. Whatever speaks against a caller who is only remembered is asked of the store anew."""
        endpoint = asked.endpoint
        authenticate = partial(self._authenticator.authenticate, request.authorization, asked.raw)
        caller = await authenticate(may_recall=may_recall and endpoint.method.effect is Effect.SPENDS)
        try:
            call, order = self._admit(asked, caller, request)
        except Refusal:
            if caller.remembered_at is None:
                raise
            call, order = self._admit(asked, await authenticate(), request)
        try:
            return await endpoint.run(call, order)
        except CallerOutdated:
            call, order = self._admit(asked, await authenticate(), request)
            return await endpoint.run(call, order)

    async def _look(self, asked: _Asked, request: RawRequest) -> bytes:
        """Carry out a request that only reads.

        While others write, nothing that was read before could be told again, and the read of one who is remembered begins
        at once; it counts if the store confirms the caller meanwhile.
        """
        authenticate = partial(self._authenticator.authenticate, request.authorization, asked.raw)
        caller = await authenticate(may_recall=self._authenticator.is_store_changing)
        if caller.remembered_at is not None:
            confirmed = self._authenticator.ask_revision()
            try:
                told = await self._try(asked, caller, request)
            except BaseException:
                confirmed.cancel()
                raise
            revision, _ = await confirmed
            if revision != caller.remembered_at:
                caller = await authenticate()
            elif isinstance(told, Exception):
                raise told
            else:
                return told
        return await asked.endpoint.run(*self._admit(asked, caller, request))

    async def _try(self, asked: _Asked, caller: Caller, request: RawRequest) -> bytes | Exception:
        try:
            return await asked.endpoint.run(*self._admit(asked, caller, request))
        except Exception as trouble:  # noqa: BLE001 - whose it is, is not known yet
            return trouble

    def _admit(self, asked: _Asked, caller: Caller, request: RawRequest) -> tuple[Call, Any]:
        method = asked.endpoint.method
        if not method.roles.admits(caller.roles):
            raise Refusal(FORBIDDEN_COMMAND)
        if asked.order is None:
            asked.order = asked.endpoint.parse(asked.raw)
            self._remember(request, asked)
        return Call(caller, self._services, _read_idempotency(method, request, asked.order)), asked.order

    def _remember(self, request: RawRequest, asked: _Asked) -> None:
        # Parameters may hold an API key, and then are not kept.
        if not request.authorization or "api_key" in asked.raw:
            return
        if len(request.query) + len(request.content_type) + len(request.body) <= _ASKED_BYTES_MAX:
            # Whoever brings a token is not asked for parameters again.
            self._asked[_question(request)] = _Asked(asked.endpoint, {}, asked.order)
            if len(self._asked) > _ASKED_MAX:
                del self._asked[next(iter(self._asked))]

    def _resolve(self, request: RawRequest) -> _Asked:
        if request.authorization and (known := self._asked.get(_question(request))) is not None:
            return known
        # The path wins over `cmd`, and is judged before a body that may be unreadable.
        if request.command is not None:
            return _Asked(self._find(request.command), read_parameters(request))
        raw = read_parameters(request)
        command = raw.get("cmd", [""])[-1].strip()
        if not command:
            raise Refusal(MISSING_CMD)
        return _Asked(self._find(command), raw)

    def _find(self, name: str) -> Endpoint:
        method = self._registry.find(name)
        if method is None:
            raise Refusal(UNKNOWN_COMMAND)
        return self._endpoints[method.wire]

    def _refuse(self, endpoint: Endpoint | None, trouble: Exception) -> RawAnswer:
        refusal = trouble if isinstance(trouble, Refusal) else _explain(endpoint, trouble)
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


class _HandedIn:
    """Takes the desk's answer to a request for whoever waits for it."""

    __slots__ = ("_endpoint", "_is_answered", "_refuse", "_reply")

    def __init__(
        self, refuse: Callable[[Endpoint, Exception], RawAnswer], endpoint: Endpoint, reply: Reply
    ) -> None:
        self._refuse = refuse
        self._endpoint = endpoint
        self._reply = reply
        self._is_answered = False

    def is_gone(self) -> bool:
        """Whether there is an answer already, or nobody for it."""
        return self._is_answered or self._reply.is_gone()

    def accept(self, body: bytes) -> None:
        """Reply with a body."""
        if not self._is_answered:
            self._is_answered = True
            self._reply.take(RawAnswer(status=200, body=body, method=self._endpoint.wire))

    def refuse(self, reason: BaseException) -> None:
        """Reply with the envelope of a refusal, or begin again with a caller who is asked for."""
        if self._is_answered:
            return
        self._is_answered = True
        if isinstance(reason, CallerOutdated):
            self._reply.start_over()
        else:
            trouble = reason if isinstance(reason, Exception) else StoreUnavailable("the server is stopping")
            self._reply.take(self._refuse(self._endpoint, trouble))


def _question(request: RawRequest) -> _Question:
    return request.command, request.query, request.content_type, request.body


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
