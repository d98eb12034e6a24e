"""Keys and tokens for tests: one RSA pair for every key of the town, made once a session."""

from __future__ import annotations

import time
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa


@cache
def private_key() -> rsa.RSAPrivateKey:
    """The town's private key."""
    return rsa.generate_private_key(public_exponent=65_537, key_size=2_048)


@cache
def public_pem(key: rsa.RSAPrivateKey | None = None) -> bytes:
    """The public half, as the store keeps it."""
    return (
        (key or private_key())
        .public_key()
        .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )


@cache
def private_pem() -> bytes:
    """The private half, as an SDK keeps it."""
    return private_key().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def token(issuer: Any, key_id: str, *, now: float | None = None, life: int = 60, **claims: Any) -> str:
    """A token as the SDKs make it; `issuer` is the account to act as, a number or a text."""
    at = int(time.time() if now is None else now)
    payload = {"iss": issuer, "iat": at, "exp": at + life} | claims
    # PyJWT refuses to encode a number as `iss`, which is what most of the vendor's SDKs send.
    header = {"kid": key_id, "typ": "JWT", "alg": "RS256"}
    return sign(header, payload)


def sign(header: dict[str, Any], payload: Any, key: rsa.RSAPrivateKey | None = None) -> str:
    """Any header and payload under a good RS256 signature."""
    return jwt.PyJWS().encode(
        jwt.utils.force_bytes(_dump(payload)), key or private_key(), algorithm="RS256", headers=header
    )


def _dump(payload: Any) -> str:
    import json

    return payload if isinstance(payload, str) else json.dumps(payload)
