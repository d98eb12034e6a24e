"""What the server tells its operator: metrics for Prometheus and logs on standard error.

Labels come from closed sets, so that no caller can make the server keep a time series of its choosing.
Secrets are masked in one place, the last step before a line is written, for our own lines and for every
library's.
"""

import asyncio
import logging
import os
import re
import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import structlog
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    REGISTRY,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
)
from prometheus_client.multiprocess import MultiProcessCollector
from structlog.typing import EventDict, Processor, WrappedLogger

UNKNOWN_METHOD = "unknown"
MASK = "***"

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def _no_counts() -> list[int]:
    return [0] * (len(_SECONDS) + 1)


class _Seconds(Histogram):
    """A histogram that takes many observations at once."""

    def add(self, counts: Sequence[int], sum_seconds: float) -> None:
        """Add observations by the bucket they belong to, the last one being for all that is longer."""
        self._sum.inc(sum_seconds)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


_REQUESTS = Counter(
    "numberline_requests", "Requests answered, by API method and outcome.", ("method", "outcome")
)
_REQUEST_SECONDS = _Seconds(
    "numberline_request_seconds", "Seconds to answer, by API method.", ("method",), buckets=_SECONDS
)
_REFUSALS = Counter(
    "numberline_refused_requests", "Requests refused before they reached the API, by status.", ("status",)
)
_BATCH_SIZE = Histogram(
    "numberline_desk_batch_size",
    "Requests decided in one transaction.",
    buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256),
)
_WAIT_SECONDS = _Seconds(
    "numberline_desk_wait_seconds", "Seconds a request waited for its transaction.", buckets=_SECONDS
)
_ATTACHED = Counter("numberline_attached_numbers", "Numbers attached.")

# Whether other processes show what this one counts. The library decides by the same variable at the same time.
_IS_SHARED: Final = bool(os.environ.get("PROMETHEUS_MULTIPROC_DIR"))
_HAND_OVER_SECONDS: Final = 0.05


class _Tally:
    """Requests of one method and outcome that the metrics do not show yet.

    Counting is cheap here and dear in the library, above all where it counts into a file.
    """

    __slots__ = ("_requests", "_seconds", "counts", "is_waiting", "sum_seconds")

    def __init__(self, name: str, error_code: int | None) -> None:
        self._requests = _REQUESTS.labels(name, "ok" if error_code is None else str(error_code))
        self._seconds = _REQUEST_SECONDS.labels(name)
        self._empty()

    def _empty(self) -> None:
        self.counts = _no_counts()
        self.sum_seconds = 0.0
        self.is_waiting = False

    def hand_over(self) -> None:
        counts, sum_seconds = self.counts, self.sum_seconds
        self._empty()
        self._requests.inc(sum(counts))
        self._seconds.add(counts, sum_seconds)


_known_methods: frozenset[str] = frozenset()
_tallies: dict[tuple[str, int | None], _Tally] = {}
_waiting: list[_Tally] = []
_handing_over: asyncio.AbstractEventLoop | None = None  # the loop that is going to


def know_methods(names: Iterable[str]) -> None:
    """Declare the API method names that may become label values; any other name counts as ``unknown``."""
    global _known_methods
    _hand_over()
    _known_methods = frozenset(names)
    _tallies.clear()


def count_request(method: str, error_code: int | None, seconds: float) -> None:
    """Count one answered request. ``error_code`` is the wire code of the error table, None for success.

    The page of this process shows it at once; that of another process within `_HAND_OVER_SECONDS`.
    """
    tally = _tallies.get((method, error_code)) or _find_tally(method, error_code)
    tally.counts[bisect_left(_SECONDS, seconds)] += 1
    tally.sum_seconds += seconds
    if not tally.is_waiting:
        tally.is_waiting = True
        _waiting.append(tally)
        if _IS_SHARED:
            _hand_over_soon()


def _find_tally(method: str, error_code: int | None) -> _Tally:
    key = method if method in _known_methods else UNKNOWN_METHOD, error_code
    tally = _tallies.get(key)
    if tally is None:
        tally = _tallies[key] = _Tally(*key)
    return tally


def _hand_over_soon() -> None:
    global _handing_over
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        _hand_over()
        return
    if _handing_over is not loop:
        _handing_over = loop
        loop.call_later(_HAND_OVER_SECONDS, _hand_over)


def _hand_over() -> None:
    global _handing_over
    _handing_over = None
    while _waiting:
        _waiting.pop().hand_over()


def count_refusal(status: int) -> None:
    """Count one request that the guard refused with an HTTP status."""
    _REFUSALS.labels(str(status)).inc()


def count_batch(waits_seconds: Sequence[float]) -> None:
    """Count one transaction of the desk by how long each request that it decided had waited."""
    _BATCH_SIZE.observe(len(waits_seconds))
    counts = _no_counts()
    for seconds in waits_seconds:
        counts[bisect_left(_SECONDS, seconds)] += 1
    _WAIT_SECONDS.add(counts, sum(waits_seconds))


def count_attached(numbers: int) -> None:
    """Count numbers attached."""
    _ATTACHED.inc(numbers)


def render_metrics() -> tuple[bytes, str]:
    """The metrics page and its content type.

    With several processes (``PROMETHEUS_MULTIPROC_DIR`` is set) any of them renders the sum of all.
    """
    _hand_over()
    registry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry), CONTENT_TYPE_LATEST


_SECRET_KEY = re.compile(
    r"token|secret|api_?key|passw|passphrase|authorization|private_?key|cookie", re.IGNORECASE
)
# Logged text may come from callers, so every piece is bounded or possessive: the search is linear. A quoted value
# ends at the first quote without a backslash, or with the text: of two readings, the one that masks more.
_SECRET_TEXT = re.compile(
    r"""
    (?P<pem>-----BEGIN[ ][A-Z ]{0,40}PRIVATE[ ]KEY-----.*?(?:-----END[ ][A-Z ]{0,40}PRIVATE[ ]KEY-----|\Z))
    | (?P<jwt>(?<![\w-])eyJ[\w-]{4,}+\.[\w-]++(?:\.[\w-]*+)?)
    | (?P<bearer>\bBearer\s{1,8}+)[\w.~+/=-]{8,}+
    | (?P<name>
        (?:token|secret|api_?key|passw(?:or)?d|passphrase|authorization|private_?key)[\w-]{0,32}+
        \\{0,8}+["']?\s{0,8}+[=:]\s{0,8}+(?:(?:Bearer|Basic|Digest|Negotiate)\s{1,8}+)?
      )
      (?:\\{0,8}+"(?:[^"\\]++|\\++.?)*+"? | \\{0,8}+'(?:[^'\\]++|\\++.?)*+'? | [^\s&,;'")}\]]++)
    """,
    re.VERBOSE | re.DOTALL | re.IGNORECASE,
)
# One event is one line: text from outside must not be able to start another.
_CONTROLS = {code: ascii(chr(code))[1:-1] for code in (*range(32), *range(127, 160))}
_MANY_LINED = frozenset({"exception", "stack"})


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Mask what must never be printed: values under telling keys, tokens and private keys inside any text."""
    for key, value in event.items():
        masked = _masked(key, value)
        if isinstance(masked, str) and key not in _MANY_LINED:
            masked = masked.translate(_CONTROLS)
        event[key] = masked
    return event


def _masked(key: str, value: Any) -> Any:
    if _SECRET_KEY.search(key):
        return MASK
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(inner): _masked(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked("", item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        value = bytes(value).decode("utf-8", "backslashreplace")
    return _SECRET_TEXT.sub(_mask_text, value if isinstance(value, str) else repr(value))


def _mask_text(found: re.Match[str]) -> str:
    return (found["bearer"] or found["name"] or "") + MASK


def configure_logging(level: str, as_json: bool) -> None:
    """Send all logs, ours and the libraries', to standard error: JSON lines, or text for people.

    ``level`` is debug, info, warning, error or critical; anything else is a ValueError. May be called again.
    """
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"There is no log level {level!r}; choose debug, info, warning, error or critical.")
    first: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        processors=[*first, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(number),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=first, processors=_last_processors(as_json))
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)


def _last_processors(as_json: bool) -> list[Processor]:
    # Tracebacks become text before the mask, so that a secret in an exception's message is masked too.
    renderer: Processor
    if as_json:
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        mask_secrets,
        renderer,
    ]
