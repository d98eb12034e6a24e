"""Service-account keys: made, registered, listed, revoked. The store never sees a private half."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterable
from typing import Final

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from numberline.domain.access import AccessKey, Account, Role
from numberline.domain.clock import Clock
from numberline.service.accounts import UnknownAccount
from numberline.store.accounts import AccountRecord
from numberline.store.contract import Store
from numberline.store.transaction import Transaction

RSA_BITS: Final = 2048
# Above it a signature takes so long to check that a key would be a way to keep the server busy.
RSA_BITS_MAX: Final = 8192
PEM_BYTES_MAX: Final = 16_384
DESCRIPTION_CHARACTERS_MAX: Final = 255
_EXPONENT: Final = 65_537


class KeyRefused(ValueError):
    """A key that cannot be accepted; the message is a sentence for the person who gave it."""


class UnknownKey(ValueError):
    """There is no key of this id."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"There is no key {key_id}.")
        self.key_id = key_id


class ServiceAccountFile(msgspec.Struct, frozen=True):
    """The file that the vendor's SDKs read; it exists only where its owner saves it."""

    account_email: str
    account_id: int
    key_id: str
    private_key: str

    def to_json(self) -> bytes:
        """The file's content."""
        return msgspec.json.format(msgspec.json.encode(self), indent=2) + b"\n"


class KeyPair(msgspec.Struct, frozen=True):
    """A new key: its id, and both halves as PEM."""

    key_id: str
    private_pem: bytes
    public_pem: bytes


async def create_key(
    store: Store, clock: Clock, account_id: int, roles: Iterable[Role], *, description: str = ""
) -> ServiceAccountFile:
    """Make a key for an account; raises `UnknownAccount`. Whoever calls has the only copy of the private half."""
    pair = await asyncio.to_thread(generate_pair)
    key = AccessKey(pair.key_id, account_id, pair.public_pem, frozenset(roles))
    record = await _register(store, clock, key, description)
    return service_account_file(record.email, account_id, pair)


def generate_pair() -> KeyPair:
    """Make an RSA key under a random id; takes a tenth of a second, so not on the event loop."""
    private = generate_private_key(_EXPONENT, RSA_BITS)
    return KeyPair(str(uuid.uuid4()), _private_pem(private), _public_pem(private.public_key()))


def service_account_file(email: str, account_id: int, pair: KeyPair) -> ServiceAccountFile:
    """The SDKs' file for a new key."""
    return ServiceAccountFile(email, account_id, pair.key_id, pair.private_pem.decode())


async def register_key(
    store: Store,
    clock: Clock,
    account_id: int,
    roles: Iterable[Role],
    *,
    public_key_pem: bytes,
    description: str = "",
) -> str:
    """Register the public half of a key that was made elsewhere, and return its new id.

    Raises `KeyRefused` for anything but a sound RSA key of 2048 to 8192 bits, and `UnknownAccount`.
    """
    key_id = str(uuid.uuid4())
    key = AccessKey(key_id, account_id, _checked_pem(public_key_pem), frozenset(roles))
    await _register(store, clock, key, description)
    return key_id


async def list_keys(store: Store, account_id: int) -> list[tuple[AccessKey, str]]:
    """The keys of an account, oldest first, each with its description; raises `UnknownAccount`."""

    async def ask_both(ask: Transaction) -> tuple[Account | None, list[tuple[AccessKey, str]]]:
        return await ask.find_account(account_id), await ask.list_keys(account_id)

    account, found = await store.read(ask_both)
    if account is None:
        raise UnknownAccount(account_id)
    return found


async def revoke_key(store: Store, key_id: str) -> bool:
    """Remove a key for good; False when there is none of this id."""
    return await store.write(lambda work: work.delete_key(key_id))


async def set_key_roles(store: Store, key_id: str, roles: Iterable[Role]) -> None:
    """Replace the roles of a key; raises `UnknownKey`."""
    wanted = frozenset(roles)

    async def change(work: Transaction) -> None:
        if not await work.find_callers({(key_id, 0)}):
            raise UnknownKey(key_id)
        await work.set_roles(key_id, wanted)

    await store.write(change)


async def _register(store: Store, clock: Clock, key: AccessKey, description: str) -> AccountRecord:
    if len(description) > DESCRIPTION_CHARACTERS_MAX:
        raise KeyRefused(f"A description has {DESCRIPTION_CHARACTERS_MAX} characters at most.")
    now = clock.now()

    async def insert(work: Transaction) -> AccountRecord:
        record = await work.find_record(key.account_id)
        if record is None:
            raise UnknownAccount(key.account_id)
        await work.insert_key(key, description, now)
        return record

    return await store.write(insert)


# --- PEM -------------------------------------------------------------------------------------------------------


def _checked_pem(pem: bytes) -> bytes:
    """The public key in one canonical spelling; raises `KeyRefused` unless tokens signed with it can be trusted."""
    if b"PRIVATE KEY" in pem:
        raise KeyRefused("This is a private key. Keep it to yourself and register its public half.")
    if len(pem) > PEM_BYTES_MAX:
        raise KeyRefused("This is too long to be a public key.")
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyRefused("This is not a public key in PEM form.") from None
    if not isinstance(key, RSAPublicKey):
        raise KeyRefused("Tokens are signed with RS256: only an RSA key will do.")
    if not RSA_BITS <= key.key_size <= RSA_BITS_MAX:
        raise KeyRefused(f"An RSA key has {RSA_BITS} to {RSA_BITS_MAX} bits; this one has {key.key_size}.")
    exponent = key.public_numbers().e
    if exponent == 1 or exponent % 2 == 0:
        raise KeyRefused(f"An RSA key with the exponent {exponent} protects nothing.")
    return _public_pem(key)


def _public_pem(key: RSAPublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _private_pem(key: RSAPrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
