"""Who is calling: a bearer token signed with a service-account key, or an account's API key in the parameters.

The order of checks is fixed: form of the token (447), key, account and signature (100), then its times (454, 455,
456), then whether the account is active (131). The signature comes before the times, so that only a holder of the
key learns anything about them. Whatever could tell a stranger which keys or accounts exist answers 100.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from asyncio import Future
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from numberline.api.callers import OWN_ACCOUNT, Callers
from numberline.api.params import RawParameters, read_text
from numberline.api.token import Token, read_token
from numberline.domain.access import OWNER, AccessKey, Account, Caller, may_act_as
from numberline.domain.clock import Clock
from numberline.domain.errors import (
    ACCOUNT_NOT_ACTIVATED,
    AUTHORIZATION_FAILED,
    INVALID_TOKEN_TTL,
    TOKEN_EXPIRED,
    TOKEN_ISSUED_IN_FUTURE,
    Refusal,
)
from numberline.store.access import Claim, FoundCaller

if TYPE_CHECKING:
    from numberline.store.contract import State, Store

TOKEN_SECONDS_MAX: Final = 3_600
# For clients whose clock runs ahead. Expiry has no leeway: a token that says it is dead is dead.
CLOCK_LEEWAY_SECONDS: Final = 60
KEY_BITS_MIN: Final = 2_048

# Only texts of this form can be key ids, so nothing else is worth a question to the store.
_KEY_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:-]{0,127}", re.ASCII)
_ACCOUNT_ID = re.compile(r"[1-9][0-9]{0,15}", re.ASCII)
_ACCOUNT_ID_MAX: Final = 2**53 - 1
_RS256: Final = (PKCS1v15(), SHA256())
_IDENTIFIERS: Final = ("account_id", "account_name", "account_email")
# Compared against where there is no account or no key, so that both take the same path.
_NO_HASH: Final = hashlib.sha256(b"").digest()


class Authenticator:
    """Finds the caller of a request. Who only looks is asked of the store each time; see `authenticate` for others."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store: Final = store
        self._clock: Final = clock
        self._callers: Final = Callers(store)

    async def authenticate(
        self, authorization: tuple[str, ...], raw: RawParameters, *, may_recall: bool = False
    ) -> Caller:
        """The caller, by the Authorization header if there is one, else by the API key in the parameters.

        With `may_recall` it may be one whom the store vouched for a moment ago; then `remembered_at` tells the revision that
        must still hold in the transaction which spends. Nobody is refused for what is only remembered.
        """
        if not authorization:
            return await self._by_api_key(raw)
        token = _read_bearer(authorization)
        claim = _claim_of(token)
        if may_recall and (caller := self._recall(token, claim)) is not None:
            return caller
        found = await self._callers.find(claim)
        if found is None:
            raise Refusal(AUTHORIZATION_FAILED)
        return self._judge(token, claim, found)

    def recall(self, authorization: tuple[str, ...]) -> Caller | None:
        """The caller of a token without asking the store, as with `may_recall`; None if that takes a question or a refusal."""
        if not authorization:
            return None
        try:
            token = _read_bearer(authorization)
            return self._recall(token, _claim_of(token))
        except Refusal:
            return None

    @property
    def is_store_changing(self) -> bool:
        """Whether something was written between the last two looks at the store."""
        return self._callers.is_store_changing

    def ask_revision(self) -> Future[tuple[int, State]]:
        """The revision of access from now on: whoever is remembered at another has to be asked for."""
        return self._callers.ask_revision()

    def _recall(self, token: Token, claim: Claim) -> Caller | None:
        known = self._callers.recall(claim)
        if known is None:
            return None
        try:
            return self._judge(token, claim, known, is_remembered=True)
        except Refusal:
            return None

    def _judge(
        self, token: Token, claim: Claim, found: FoundCaller, *, is_remembered: bool = False
    ) -> Caller:
        """The caller, if the token, its key and the accounts admit one."""
        key, owner, acting, state, revision = found
        if claim[1] == OWN_ACCOUNT:
            acting = owner
        _check_signature(token, key)
        if acting is None or not may_act_as(owner, acting):
            raise Refusal(AUTHORIZATION_FAILED)
        self._check_times(token)
        if not (owner.is_active and acting.is_active):
            raise Refusal(ACCOUNT_NOT_ACTIVATED)
        actor = f"key:{key.id}"
        if is_remembered:
            return Caller(acting, key.roles, actor, remembered_at=revision)
        return Caller(acting, key.roles, actor, known_in=state)

    def _check_times(self, token: Token) -> None:
        now = self._clock.now().timestamp()
        if not 0 < token.expires_at - token.issued_at <= TOKEN_SECONDS_MAX:
            raise Refusal(INVALID_TOKEN_TTL)
        if max(token.issued_at, token.not_before or 0) > now + CLOCK_LEEWAY_SECONDS:
            raise Refusal(TOKEN_ISSUED_IN_FUTURE)
        if token.expires_at <= now:
            raise Refusal(TOKEN_EXPIRED)

    async def _by_api_key(self, raw: RawParameters) -> Caller:
        given = [(name, value) for name in _IDENTIFIERS if (value := _credential(raw, name))]
        api_key = _credential(raw, "api_key")
        if len(given) != 1 or not api_key:
            raise Refusal(AUTHORIZATION_FAILED)
        account = await self._find_account(*given[0])
        kept = account.api_key_hash if account and account.api_key_hash else _NO_HASH
        matches = hmac.compare_digest(hashlib.sha256(api_key.encode()).digest(), kept)
        if account is None or not matches:
            raise Refusal(AUTHORIZATION_FAILED)
        if not account.is_active:
            raise Refusal(ACCOUNT_NOT_ACTIVATED)
        return Caller(account, OWNER, "api-key", api_key=api_key)

    async def _find_account(self, name: str, value: str) -> Account | None:
        if name == "account_name":
            return await self._store.read(lambda reading: reading.find_account_by_name(value), brief=True)
        if name == "account_email":
            return await self._store.read(lambda reading: reading.find_account_by_email(value), brief=True)
        account_id = _read_account_id(value)
        if account_id is None:
            return None
        return await self._store.read(lambda reading: reading.find_account(account_id), brief=True)


def _credential(raw: RawParameters, name: str) -> str | None:
    values = raw.get(name)
    if not values:
        return None
    try:
        return read_text(values[-1].strip())
    except ValueError:
        raise Refusal(AUTHORIZATION_FAILED) from None


def _read_bearer(authorization: tuple[str, ...]) -> Token:
    if len(authorization) > 1:
        raise Refusal(AUTHORIZATION_FAILED)
    scheme, _, text = authorization[0].partition(" ")
    if scheme.lower() != "bearer":
        raise Refusal(AUTHORIZATION_FAILED)
    return read_token(text)


def _claim_of(token: Token) -> Claim:
    acting_id = _read_issuer(token.issuer)
    # 0 is what the vendor's Python SDK sends when it was configured without an account: the key's own.
    if acting_id is None or not _KEY_ID.fullmatch(token.key_id):
        raise Refusal(AUTHORIZATION_FAILED)
    return token.key_id, acting_id


def _read_account_id(text: str) -> int | None:
    if not _ACCOUNT_ID.fullmatch(text):
        return None
    account_id = int(text)
    return account_id if account_id <= _ACCOUNT_ID_MAX else None


def _read_issuer(issuer: object) -> int | None:
    """Clients write the account id as a number or as a text; a text counts only in its canonical spelling."""
    if type(issuer) is int:
        return issuer if 0 <= issuer <= _ACCOUNT_ID_MAX else None
    if issuer == str(OWN_ACCOUNT):
        return OWN_ACCOUNT
    return _read_account_id(issuer) if isinstance(issuer, str) else None


def _check_signature(token: Token, key: AccessKey) -> None:
    if not _is_signed(token.signed, token.signature, key.public_key_pem):
        raise Refusal(AUTHORIZATION_FAILED)


@lru_cache(maxsize=1_024)
def _is_signed(signed: bytes, signature: bytes, pem: bytes) -> bool:
    """Verify a signature; remembered, since it depends on these bytes alone and clients use a token repeatedly.

    Whether the key still exists, and whom it may act for, is asked of the store every time.
    """
    public_key = _parse_key(pem)
    if public_key is None:
        return False
    try:
        public_key.verify(signature, signed, *_RS256)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=4_096)
def _parse_key(pem: bytes) -> RSAPublicKey | None:
    """Parse a public key once; by its bytes, so that a replaced key can never be mistaken for the old one."""
    try:
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, RSAPublicKey) and key.key_size >= KEY_BITS_MIN else None
