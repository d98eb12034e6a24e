"""Tokens: what reading and verifying one costs, step by step, beside OpenSSL's own verification."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from benchmarks.bench import Bench
from benchmarks.report import Grid, Measured, Report, median
from benchmarks.world import FIRST_ACCOUNT
from numberline.api.auth import Authenticator
from numberline.api.token import read_token
from numberline.domain.access import OWNER, AccessKey, Account
from numberline.domain.clock import SystemClock
from numberline.store.access import FoundCaller
from tests.kit.tokens import public_pem

TITLE: Final = "Tokens"

READ, LOAD, VERIFY = "read and parse", "load a key from PEM", "RSA verification by cryptography"
PYJWT, PRODUCT, OPENSSL = (
    "PyJWT, end to end",
    "the product, end to end, store aside",
    "OpenSSL's RSA verification",
)


def run(bench: Bench) -> Report:
    """Measure."""
    report = Report("token", TITLE)
    tokens = bench.tokens(1)
    key = load_pem_public_key(public_pem())
    assert isinstance(key, RSAPublicKey), "the keys are RSA keys"
    # What is remembered of a token would hide what reading it costs.
    read: Callable[[str], Any] = getattr(read_token, "__wrapped__", read_token)
    parts = [
        (text.rpartition(".")[0].encode(), jwt.utils.base64url_decode(text.rpartition(".")[2]))
        for text in tokens
    ]
    padding, digest = PKCS1v15(), SHA256()
    options: Any = {"verify_iss": False}
    steps = {
        READ: lambda: _each(read, tokens),
        LOAD: lambda: _each(load_pem_public_key, [public_pem()] * 1_000),
        VERIFY: lambda: _each(lambda one: key.verify(one[1], one[0], padding, digest), parts),
        PYJWT: lambda: _each(
            lambda text: jwt.decode(text, key, algorithms=["RS256"], options=options), tokens
        ),
        PRODUCT: lambda: asyncio.run(_authenticate(tokens)),
    }
    if shutil.which("openssl"):
        steps[OPENSSL] = _openssl
    report.figures = bench.measure(steps)
    floor = median(report.figures, OPENSSL, "us") if OPENSSL in steps else None
    rows = []
    for step in steps:
        cost = median(report.figures, step, "us")
        rows.append([step, f"{cost:.1f}", f"{cost / floor:.2f}" if floor else ""])
    report.tables.append(Grid("One token, RS256 with 2048 bits", ("what", "µs", "x OpenSSL"), rows))
    report.notes.append(
        "A key is loaded once; a token is read and verified once for all requests that bring it."
    )
    return report


def _each(work: Callable[[Any], object], items: Sequence[Any]) -> Measured:
    began_at = time.perf_counter()
    for item in items:
        work(item)
    return {"us": 1e6 * (time.perf_counter() - began_at) / len(items)}


class _KnownStore:
    """Stands for a store that finds every key at once."""

    def __init__(self) -> None:
        account = Account(FIRST_ACCOUNT, "a", None, True, False, "USD")
        key = AccessKey(f"k{FIRST_ACCOUNT}", FIRST_ACCOUNT, public_pem(), OWNER)
        self._found = {(key.id, account.id): FoundCaller(key, account, account, None, 0)}

    async def read(self, ask: Callable[[Any], Awaitable[object]], **_: object) -> object:
        """Whatever is asked."""
        return await ask(self)

    async def find_callers(self, _claims: object) -> object:
        """The one caller there is."""
        return self._found

    async def find_access_revision(self) -> tuple[int, None]:
        """Nothing ever changes."""
        return 0, None


async def _authenticate(tokens: Sequence[str]) -> Measured:
    authenticator = Authenticator(_KnownStore(), SystemClock())  # type: ignore[arg-type]
    # Its account is remembered from now on. Of the tokens there are more than are remembered, so that none of them is known.
    await authenticator.authenticate((f"Bearer {tokens[0]}",), {})
    began_at = time.perf_counter()
    for text in tokens:
        assert authenticator.recall((f"Bearer {text}",)) is not None, "a good token of one who is remembered"
    return {"us": 1e6 * (time.perf_counter() - began_at) / len(tokens)}


def _openssl() -> Measured:
    done = subprocess.run(
        ["openssl", "speed", "-seconds", "1", "rsa2048"], capture_output=True, text=True, check=True
    )
    lines = done.stdout.splitlines()
    heads = next(line for line in lines if "verify/s" in line).split()
    columns = next(line for line in lines if line.startswith("rsa")).split()
    return {"us": 1e6 / float(columns[heads.index("verify/s") - len(heads)])}
