"""Keys: made or registered, weak ones refused, revoked for good."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime

import jwt
import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from numberline.domain.access import OWNER, Role
from numberline.domain.clock import ManualClock
from numberline.service.accounts import UnknownAccount, create_account
from numberline.service.keys import (
    KeyRefused,
    UnknownKey,
    create_key,
    list_keys,
    register_key,
    revoke_key,
    set_key_roles,
)
from numberline.store.contract import Store
from numberline.store.migrate import migrate
from numberline.store.opening import open_store

CLOCK = ManualClock(datetime(2026, 5, 1, tzinfo=UTC))


@pytest.fixture
async def store(store_url: str) -> AsyncIterator[Store]:
    await migrate(store_url)
    opened = open_store(store_url)
    yield opened
    await opened.close()


async def an_account(store: Store) -> int:
    created = await create_account(
        store, CLOCK, name="ann", email="ann@example.com", currency="USD", billing_country="US"
    )
    return created.account_id


def pem(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey) -> bytes:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


async def test_a_new_key_signs_what_the_stored_half_verifies(store: Store) -> None:
    account_id = await an_account(store)
    file = await create_key(store, CLOCK, account_id, OWNER, description="laptop")
    assert (file.account_id, file.account_email) == (account_id, "ann@example.com")
    assert set(msgspec.json.decode(file.to_json())) == {
        "account_email",
        "account_id",
        "key_id",
        "private_key",
    }
    ((key, description),) = await list_keys(store, account_id)
    assert (key.id, key.roles, description) == (file.key_id, OWNER, "laptop")
    assert b"PRIVATE" not in key.public_key_pem
    signed = jwt.encode({"sub": "x"}, file.private_key, algorithm="RS256")
    assert jwt.decode(signed, key.public_key_pem, algorithms=["RS256"]) == {"sub": "x"}
    private = load_pem_private_key(file.private_key.encode(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    assert private.key_size == 2048


async def test_roles_change_and_a_revoked_key_is_gone(store: Store) -> None:
    account_id = await an_account(store)
    public = rsa.generate_private_key(65537, 2048).public_key()
    key_id = await register_key(store, CLOCK, account_id, [Role.PAYER], public_key_pem=pem(public))
    await set_key_roles(store, key_id, [Role.ADMIN, Role.DEVELOPER])
    ((key, _),) = await list_keys(store, account_id)
    assert key.roles == {Role.ADMIN, Role.DEVELOPER}
    await set_key_roles(store, key_id, [])
    assert (await list_keys(store, account_id))[0][0].roles == frozenset()
    assert await revoke_key(store, key_id)
    assert not await revoke_key(store, key_id)
    assert await list_keys(store, account_id) == []
    with pytest.raises(UnknownKey):
        await set_key_roles(store, key_id, [])


async def test_nobodys_keys(store: Store) -> None:
    with pytest.raises(UnknownAccount):
        await create_key(store, CLOCK, 77, OWNER)
    with pytest.raises(UnknownAccount):
        await list_keys(store, 77)


def small_exponent(exponent: int) -> bytes:
    """A key of sound size whose exponent is not; written by hand, since no library makes one."""
    modulus = rsa.generate_private_key(65537, 2048).public_key().public_numbers().n

    def der(tag: int, content: bytes) -> bytes:
        size = len(content)
        head = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
        return bytes([tag]) + head + content

    def integer(value: int) -> bytes:
        return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    numbers = der(0x30, integer(modulus) + integer(exponent))
    algorithm = der(0x30, bytes.fromhex("06092a864886f70d010101") + b"\x05\x00")
    import base64

    body = base64.encodebytes(der(0x30, algorithm + der(3, b"\0" + numbers)))
    return b"-----BEGIN PUBLIC KEY-----\n" + body + b"-----END PUBLIC KEY-----\n"


def weak_keys() -> dict[str, bytes]:
    private = rsa.generate_private_key(65537, 2048)
    return {
        "1024 bits": pem(rsa.generate_private_key(65537, 1024).public_key()),
        "elliptic": pem(ec.generate_private_key(ec.SECP256R1()).public_key()),
        "edwards": pem(ed25519.Ed25519PrivateKey.generate().public_key()),
        "e = 1": small_exponent(1),
        "e even": small_exponent(65536),
        "private": private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        "text": b"hello",
        "empty": b"",
        "long": pem(private.public_key()) + b"\n" * 20_000,
        "cut": pem(private.public_key())[:200],
    }


async def test_weak_keys_are_refused(store: Store) -> None:
    account_id = await an_account(store)
    for name, weak in weak_keys().items():
        with pytest.raises(KeyRefused):
            await register_key(store, CLOCK, account_id, OWNER, public_key_pem=weak, description=name)
    with pytest.raises(KeyRefused):
        await create_key(store, CLOCK, account_id, OWNER, description="x" * 256)
    assert await list_keys(store, account_id) == []
