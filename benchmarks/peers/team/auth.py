"""Who is calling: a token signed with the key that its header names."""

from __future__ import annotations

from functools import lru_cache
from typing import Annotated

import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from fastapi import Depends
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from benchmarks.peers.team.database import Session
from benchmarks.peers.team.errors import Refused
from benchmarks.peers.team.models import AccessKey

_CLAIMS = ["iss", "iat", "exp"]
Bearer = Annotated[HTTPAuthorizationCredentials, Depends(HTTPBearer())]


async def _authenticate(bearer: Bearer, session: Session) -> AccessKey:
    try:
        key_id = jwt.get_unverified_header(bearer.credentials).get("kid", "")
    except jwt.PyJWTError:
        raise Refused(447, "Invalid token format.") from None
    key = await session.get(AccessKey, key_id)
    if key is None:
        raise Refused(100, "Authorization failed.")
    try:
        claims = jwt.decode(
            bearer.credentials,
            _public_key(key.public_key_pem),
            algorithms=["RS256"],
            options={"require": _CLAIMS, "verify_iss": False},
        )
    except jwt.ExpiredSignatureError:
        raise Refused(454, "The token has expired.") from None
    except jwt.PyJWTError:
        raise Refused(100, "Authorization failed.") from None
    if str(claims["iss"]) != str(key.account_id) or claims["exp"] - claims["iat"] > 3_600:
        raise Refused(100, "Authorization failed.")
    if not key.account.is_active:
        raise Refused(131, "The account is not activated.")
    return key


@lru_cache(maxsize=4_096)
def _public_key(pem: str) -> RSAPublicKey:
    key = load_pem_public_key(pem.encode())
    assert isinstance(key, RSAPublicKey), "only RSA keys are ever stored"
    return key


Key = Annotated[AccessKey, Depends(_authenticate)]
