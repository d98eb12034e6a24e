"""What the tests of the API machine share: an account, a key, tokens, and a store that answers from memory."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from numberline.domain.access import AccessKey, Account, Role
from numberline.domain.clock import ManualClock
from numberline.service.desk import Taker
from numberline.store.access import FoundCaller

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
EPOCH = int(NOW.timestamp())
ACCOUNT = Account(7, "acme", None, is_active=True, is_frozen=False, currency="USD")
CHILD = Account(8, "child", 7, is_active=True, is_frozen=False, currency="USD")
STRANGER = Account(9, "stranger", None, is_active=True, is_frozen=False, currency="USD")
KEY_ID = "ac4f6b7e-0000-4a3c-9e1e-7f0a3b5d9c11"


@cache
def private_key(number: int = 0, bits: int = 2048) -> rsa.RSAPrivateKey:
    """One of a few keys, made once per run."""
    del number
    return rsa.generate_private_key(65537, bits)


def pem_of(key: rsa.RSAPrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def encode_part(part: object) -> str:
    text = part if isinstance(part, bytes) else json.dumps(part).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def make_token(
    *,
    header: Any = None,
    claims: Any = None,
    key: rsa.RSAPrivateKey | None = None,
    **changed: object,
) -> str:
    """A good token, with header, claims or single claims replaced."""
    whole = {"iss": 7, "iat": EPOCH, "exp": EPOCH + 60, **changed}
    start = encode_part(header if header is not None else {"typ": "JWT", "alg": "RS256", "kid": KEY_ID})
    signed = f"{start}.{encode_part(claims if claims is not None else whole)}"
    signature = RSAAlgorithm(RSAAlgorithm.SHA256).sign(signed.encode(), key or private_key())
    return f"{signed}.{encode_part(signature)}"


class FakeTransaction:
    """Answers the questions of authentication."""

    def __init__(self, store: FakeStore) -> None:
        self.store = store

    async def find_callers(self, claims: Collection[tuple[str, int]]) -> dict[tuple[str, int], Any]:
        self.store.asked += [key_id for key_id, _ in claims]
        key, accounts = AccessKey(KEY_ID, 7, self.store.pem, self.store.roles), self.store.accounts
        return {
            (key_id, acting_id): FoundCaller(
                key, accounts[7], accounts.get(acting_id), None, self.store.revision
            )
            for key_id, acting_id in claims
            if key_id == KEY_ID
        }

    async def find_access_revision(self) -> tuple[int, None]:
        return self.store.revision, None

    async def find_account(self, account_id: int) -> Account | None:
        return self.store.accounts.get(account_id)

    async def find_account_by_name(self, name: str) -> Account | None:
        return next((each for each in self.store.accounts.values() if each.name == name), None)

    async def find_account_by_email(self, email: str) -> Account | None:
        return next(
            (each for each in self.store.accounts.values() if f"{each.name}@x.example" == email), None
        )


class FakeStore:
    """A store with three accounts and one key."""

    def __init__(self) -> None:
        self.pem = pem_of(private_key())
        self.roles = frozenset({Role.ADMIN})
        self.accounts = {each.id: each for each in (ACCOUNT, CHILD, STRANGER)}
        self.asked: list[str] = []
        self.revision = 0
        self.trouble: Exception | None = None

    def change(self, account_id: int, **changes: Any) -> None:
        self.accounts[account_id] = msgspec.structs.replace(self.accounts[account_id], **changes)
        self.revision += 1

    async def read(self, ask: Callable[[Any], Any], *, snapshot: bool = False, brief: bool = False) -> Any:
        del snapshot
        return await ask(FakeTransaction(self))

    async def check(self) -> None:
        if self.trouble is not None:
            raise self.trouble


class FakeOrder(msgspec.Struct):
    """An order whose answer is known."""

    body: bytes


class FakeDesk:
    """A desk that is there or away. It keeps the takers of what is handed in, and answers what is submitted at once."""

    def __init__(self) -> None:
        self.trouble: Exception | None = None
        self.takers: list[tuple[FakeOrder, Taker]] = []

    async def check(self) -> None:
        if self.trouble is not None:
            raise self.trouble

    async def submit(self, order: FakeOrder) -> bytes:
        return order.body

    def hand_in(self, order: FakeOrder, taker: Taker) -> bool:
        if self.trouble is None:
            self.takers.append((order, taker))
        return self.trouble is None


class FakeServices:
    """As much of the services as the machine itself touches."""

    def __init__(self) -> None:
        self.store = FakeStore()
        self.desk = FakeDesk()
        self.clock = ManualClock(NOW)
