"""Who is calling: what a token must be, whom it may act for, and what strangers are told."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import sys
from datetime import timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from numberline.api import callers
from numberline.api.auth import Authenticator
from numberline.domain import errors, limits
from numberline.domain.access import OWNER, Caller, Role
from numberline.domain.clock import ManualClock
from numberline.domain.errors import ErrorKind, Refusal
from tests.unit.api.fakes import EPOCH, KEY_ID, NOW, FakeStore, encode_part, make_token, pem_of, private_key

GOOD_HEADER = {"typ": "JWT", "alg": "RS256", "kid": KEY_ID}


def ask(
    *authorization: str,
    store: FakeStore | None = None,
    clock: ManualClock | None = None,
    raw: dict[str, str] | None = None,
) -> Caller:
    store = store or FakeStore()
    authenticator = Authenticator(store, clock or ManualClock(NOW))  # type: ignore[arg-type]
    parameters = {name: [value] for name, value in (raw or {}).items()}
    return asyncio.run(authenticator.authenticate(authorization, parameters))


def refused(
    *authorization: str, store: FakeStore | None = None, raw: dict[str, str] | None = None
) -> ErrorKind:
    with pytest.raises(Refusal) as caught:
        ask(*authorization, store=store, raw=raw)
    return caught.value.kind


def bearer(**changed: Any) -> str:
    return "Bearer " + make_token(**changed)


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "7", "iat": EPOCH - 5, "exp": EPOCH + 24},  # Python
        {"iss": 7, "iat": EPOCH, "exp": EPOCH + 64},  # Node
        {"iss": 7, "iat": EPOCH, "exp": EPOCH + 30},  # Go
        {"iss": 7, "iat": EPOCH, "exp": EPOCH + 60},  # PHP
        {"iss": "7", "iat": EPOCH - 5, "exp": EPOCH + 60},  # Java
        {"iss": "7", "iat": EPOCH, "nbf": EPOCH, "exp": EPOCH + 3600},  # .NET
        {"iss": 7, "iat": EPOCH, "exp": EPOCH + 1},
        {"iss": 7, "iat": EPOCH + 60, "exp": EPOCH + 61},
    ],
)
def test_what_honest_clients_send_is_accepted(claims: dict[str, object]):
    caller = ask(bearer(claims=claims))
    assert (caller.account.id, caller.roles, caller.actor) == (7, frozenset({Role.ADMIN}), f"key:{KEY_ID}")


def test_the_scheme_has_no_case_and_the_header_wins_over_parameters():
    assert ask("bearer " + make_token(), raw={"account_id": "9", "api_key": "x"}).account.id == 7


def test_a_parent_acts_for_its_child_with_the_roles_of_its_key():
    caller = ask(bearer(iss="8"))
    assert (caller.account.id, caller.roles) == (8, frozenset({Role.ADMIN}))


@pytest.mark.parametrize("issuer", [0, "0"])
def test_an_issuer_of_0_is_the_keys_own_account(issuer: object):
    assert ask(bearer(iss=issuer)).account.id == 7


@pytest.mark.parametrize(
    "issuer",
    [
        9,
        99,
        "00",
        -7,
        7.0,
        True,
        None,
        "",
        "07",
        "7.0",
        "1e3",
        "+7",
        " 7",
        "٧",
        [7],
        {"id": 7},
        2**53,
        "9" * 400,
    ],
)
def test_any_other_issuer_fails_authorization(issuer: object):
    assert refused(bearer(iss=issuer)) is errors.AUTHORIZATION_FAILED


@pytest.mark.parametrize(
    "header",
    [
        {**GOOD_HEADER, "alg": "none"},
        {**GOOD_HEADER, "alg": "NONE"},
        {**GOOD_HEADER, "alg": "HS256"},
        {**GOOD_HEADER, "alg": "rs256"},
        {**GOOD_HEADER, "alg": "RS512"},
        {**GOOD_HEADER, "alg": "PS256"},
        {**GOOD_HEADER, "alg": None},
        {**GOOD_HEADER, "alg": ["RS256"]},
        {"kid": KEY_ID},
        {**GOOD_HEADER, "crit": ["exp"]},
        {**GOOD_HEADER, "b64": False},
        {**GOOD_HEADER, "zip": "DEF"},
        {"alg": "RS256"},
        {**GOOD_HEADER, "kid": ""},
        {**GOOD_HEADER, "kid": None},
        {**GOOD_HEADER, "kid": 7},
        {**GOOD_HEADER, "kid": [KEY_ID]},
        b'{"alg":"RS256","kid":"a","kid":"a"}',
        b'{"alg":"RS256","kid":NaN}',
        b"\xef\xbb\xbf{}",
        b"\xff",
        b"[" * 6000,
        [],
    ],
)
def test_headers_of_another_make_are_unreadable(header: object):
    assert refused(bearer(header=header)) is errors.INVALID_TOKEN_FORMAT


@pytest.mark.parametrize("name", ["iat", "exp", "nbf"])
@pytest.mark.parametrize("value", [None, "1", 1.5, True, [1], 2**60])
def test_instants_are_whole_seconds(name: str, value: object):
    assert refused(bearer(**{name: value})) is errors.INVALID_TOKEN_FORMAT


@pytest.mark.parametrize("missing", ["iat", "exp"])
def test_instants_must_be_there(missing: str):
    claims = {"iss": 7, "iat": EPOCH, "exp": EPOCH + 60}
    del claims[missing]
    assert refused(bearer(claims=claims)) is errors.INVALID_TOKEN_FORMAT


def test_duplicate_claims_are_unreadable():
    claims = f'{{"iss":9,"iss":7,"iat":{EPOCH},"exp":{EPOCH + 60}}}'.encode()
    assert refused(bearer(claims=claims)) is errors.INVALID_TOKEN_FORMAT


def test_texts_of_another_shape_are_unreadable():
    token = make_token()
    header, claims, signature = token.split(".")
    tail = "AQgw"  # the only last letters of a canonical signature of 256 bytes
    other_tail = chr(ord(signature[-1]) + 1)
    assert signature[-1] in tail
    assert other_tail not in tail
    for text in (
        "",
        "x",
        f"{header}.{claims}",
        f"{header}.{claims}.",
        f"{token}.{signature}",
        f"{token}=",
        f"{token} ",
        f"Bearer {token}",
        f"\t{token}",
        f"{header}\n.{claims}.{signature}",
        f"{header}+.{claims}.{signature}",
        f"{header}.{claims}.{signature[:-1]}{other_tail}",
        "a" * (limits.TOKEN_BYTES + 1),
    ):
        assert refused("Bearer " + text) is errors.INVALID_TOKEN_FORMAT, text


def test_a_wrong_signature_fails_authorization():
    header, claims, signature = make_token().split(".")
    other = make_token(iss="7").split(".")[2]
    for text in (
        make_token(key=private_key(1)),
        f"{header}.{claims}.{other}",
        f"{header}.{claims}.{encode_part(bytes(256))}",
        f"{header}.{claims}.{encode_part(b'x')}",
        f"{header}.{claims}.{signature[:-2]}",
        f"{header}.{encode_part({'iss': 8, 'iat': EPOCH, 'exp': EPOCH + 60})}.{signature}",
    ):
        assert refused("Bearer " + text) is errors.AUTHORIZATION_FAILED


def test_the_public_key_is_no_secret_for_hs256():
    signed = f"{encode_part({**GOOD_HEADER, 'alg': 'HS256'})}.{encode_part({'iss': 7, 'iat': EPOCH, 'exp': EPOCH + 60})}"
    signature = hmac.new(pem_of(private_key()), signed.encode(), hashlib.sha256).digest()
    assert refused(f"Bearer {signed}.{encode_part(signature)}") is errors.INVALID_TOKEN_FORMAT


@pytest.mark.parametrize(
    "key_id",
    ["unknown", "' OR 1=1--", "../../dev/null", "/proc/self/environ", "a\0b", "a\r\nb", "%s", "*", "x" * 200],
)
def test_strange_key_ids_fail_and_never_reach_the_store(key_id: str):
    store = FakeStore()
    assert refused(bearer(header={**GOOD_HEADER, "kid": key_id}), store=store) is errors.AUTHORIZATION_FAILED
    assert store.asked == (["unknown"] if key_id == "unknown" else [])


def test_smuggled_keys_are_never_followed():
    opened: list[str] = []
    watching = [True]
    sys.addaudithook(
        lambda event, _arguments: (
            opened.append(event) if watching and event.startswith("socket.connect") else None
        )
    )
    for name in ("jku", "x5u"):
        header = {**GOOD_HEADER, name: "http://127.0.0.1:1/key", "jwk": {"kty": "RSA"}, "x5c": ["x"]}
        assert refused(bearer(header=header, key=private_key(1))) is errors.AUTHORIZATION_FAILED
    watching.clear()
    assert opened == []


def test_weak_and_foreign_keys_verify_nothing():
    store = FakeStore()
    weak = private_key(2, 1024)
    store.pem = pem_of(weak)
    assert refused(bearer(key=weak), store=store) is errors.AUTHORIZATION_FAILED
    store.pem = (
        ec.generate_private_key(ec.SECP256R1())
        .public_key()
        .public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    assert refused(bearer(), store=store) is errors.AUTHORIZATION_FAILED
    store.pem = b"rubbish"
    assert refused(bearer(), store=store) is errors.AUTHORIZATION_FAILED


@pytest.mark.parametrize(
    ("changed", "kind"),
    [
        ({"exp": EPOCH + 3601}, errors.INVALID_TOKEN_TTL),
        ({"exp": EPOCH}, errors.INVALID_TOKEN_TTL),
        ({"iat": 0, "exp": 2**52}, errors.INVALID_TOKEN_TTL),
        ({"iat": EPOCH + 61, "exp": EPOCH + 90}, errors.TOKEN_ISSUED_IN_FUTURE),
        ({"nbf": EPOCH + 61}, errors.TOKEN_ISSUED_IN_FUTURE),
        ({"iat": EPOCH - 60, "exp": EPOCH - 1}, errors.TOKEN_EXPIRED),
        ({"iat": EPOCH - 60, "exp": EPOCH}, errors.TOKEN_EXPIRED),
        ({"iat": -100, "exp": -50}, errors.TOKEN_EXPIRED),
    ],
)
def test_times_are_judged(changed: dict[str, object], kind: ErrorKind):
    assert refused(bearer(**changed)) is kind
    # Only the holder of the key learns anything about times.
    assert refused(bearer(**changed, key=private_key(1))) is errors.AUTHORIZATION_FAILED


def test_a_token_used_again_is_judged_again():
    store, clock, token = FakeStore(), ManualClock(NOW), bearer()
    assert ask(token, store=store, clock=clock).account.id == 7
    clock.advance(timedelta(seconds=60))
    with pytest.raises(Refusal) as caught:
        ask(token, store=store, clock=clock)
    assert caught.value.kind is errors.TOKEN_EXPIRED


def test_a_replaced_key_ends_its_tokens_at_once():
    store, token = FakeStore(), bearer()
    assert ask(token, store=store).account.id == 7
    store.pem = pem_of(private_key(1))
    assert refused(token, store=store) is errors.AUTHORIZATION_FAILED


def test_who_may_be_recalled_is_asked_for_once_and_told_by_which_revision():
    store = FakeStore()
    store.revision = 5
    authenticator = Authenticator(store, ManualClock(NOW))  # type: ignore[arg-type]

    async def ask_twice(*, may_recall: bool) -> list[Caller]:
        return [
            await authenticator.authenticate((bearer(iss="8"),), {}, may_recall=may_recall) for _ in range(2)
        ]

    first, second = asyncio.run(ask_twice(may_recall=True))
    assert (first.remembered_at, second.remembered_at, store.asked) == (None, 5, [KEY_ID])
    assert (second.account, second.roles, second.actor) == (first.account, first.roles, first.actor)
    assert second.known_in is None, "nothing that was read since then is known to hold"
    assert [one.remembered_at for one in asyncio.run(ask_twice(may_recall=False))] == [None, None]


def test_who_is_remembered_is_not_asked_for_anew_while_the_revision_is_the_same():
    store = FakeStore()
    authenticator = Authenticator(store, ManualClock(NOW))  # type: ignore[arg-type]

    async def attempt() -> list[bool]:
        found = []
        for is_active in (True, True, False, False, True):
            if is_active != store.accounts[8].is_active:
                store.change(8, is_active=is_active)
            try:
                await authenticator.authenticate((bearer(iss="8"),), {})
            except Refusal:
                found.append(False)
            else:
                found.append(True)
        return found

    assert asyncio.run(attempt()) == [True, True, False, False, True]
    assert len(store.asked) == 3, "once, and once after each change"


def test_an_account_that_is_opened_counts_at_once():
    """Opening one raises no revision: nobody can have been admitted or refused for its sake, but for asking too early."""
    store = FakeStore()
    child = store.accounts.pop(8)
    authenticator = Authenticator(store, ManualClock(NOW))  # type: ignore[arg-type]

    async def attempt() -> Caller:
        with pytest.raises(Refusal):
            await authenticator.authenticate((bearer(iss="8"),), {})
        store.accounts[8] = child
        return await authenticator.authenticate((bearer(iss="8"),), {})

    assert asyncio.run(attempt()).account == child


def test_nobody_is_refused_for_what_is_only_remembered():
    store = FakeStore()
    store.pem = pem_of(private_key(1))
    authenticator = Authenticator(store, ManualClock(NOW))  # type: ignore[arg-type]

    async def attempt() -> Caller:
        with pytest.raises(Refusal):
            await authenticator.authenticate((bearer(),), {}, may_recall=True)
        store.pem = pem_of(private_key())
        store.revision += 1
        return await authenticator.authenticate((bearer(),), {}, may_recall=True)

    assert asyncio.run(attempt()).remembered_at is None
    assert len(store.asked) == 2


def test_as_many_callers_are_remembered_as_there_is_room_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(callers, "KNOWN_MAX", 1)
    store = FakeStore()
    authenticator = Authenticator(store, ManualClock(NOW))  # type: ignore[arg-type]

    async def attempt() -> list[int | None]:
        wanted = ("7", "8", "8", "7")
        found = [await authenticator.authenticate((bearer(iss=iss),), {}, may_recall=True) for iss in wanted]
        return [one.remembered_at for one in found]

    assert asyncio.run(attempt()) == [None, None, 0, None]


@pytest.mark.parametrize("account_id", [7, 8])
def test_inactive_accounts_are_told_so(account_id: int):
    store = FakeStore()
    store.change(account_id, is_active=False)
    assert refused(bearer(iss=8), store=store) is errors.ACCOUNT_NOT_ACTIVATED


def test_no_or_doubtful_credentials_fail():
    assert refused() is errors.AUTHORIZATION_FAILED
    for values in (("",), ("Basic x",), ("Bearer",), (bearer(), bearer())):
        assert refused(*values) in (errors.AUTHORIZATION_FAILED, errors.INVALID_TOKEN_FORMAT)
    assert refused(bearer(), bearer()) is errors.AUTHORIZATION_FAILED


def keyed() -> FakeStore:
    store = FakeStore()
    store.change(7, api_key_hash=hashlib.sha256(b"secret").digest())
    return store


@pytest.mark.parametrize(
    "identifier", [{"account_id": "7"}, {"account_name": "acme"}, {"account_email": "acme@x.example"}]
)
def test_an_api_key_is_an_owner(identifier: dict[str, str]):
    caller = ask(store=keyed(), raw={"api_key": "secret", **identifier})
    assert (caller.account.id, caller.roles, caller.actor, caller.api_key) == (7, OWNER, "api-key", "secret")


@pytest.mark.parametrize(
    "raw",
    [
        {"account_id": "7"},
        {"api_key": "secret"},
        {"account_id": "7", "api_key": "wrong"},
        {"account_id": "8", "api_key": "secret"},
        {"account_id": "8", "api_key": ""},
        {"account_id": "99", "api_key": "secret"},
        {"account_id": "07", "api_key": "secret"},
        {"account_id": "x", "api_key": "secret"},
        {"account_id": "9" * 16, "api_key": "secret"},
        {"account_name": "nobody", "api_key": "secret"},
        {"account_name": "ac\0me", "api_key": "secret"},
        {"account_name": "acme", "api_key": "sec\udcffret"},
        {"account_name": "acme", "account_id": "7", "api_key": "secret"},
        {"account_id": "7", "account_password": "secret"},
        {"account_id": "7", "session_id": "secret"},
    ],
)
def test_other_api_key_calls_fail(raw: dict[str, str]):
    assert refused(store=keyed(), raw=raw) is errors.AUTHORIZATION_FAILED


def test_an_account_without_a_key_has_no_empty_key():
    store = FakeStore()
    assert refused(store=store, raw={"account_id": "7", "api_key": " "}) is errors.AUTHORIZATION_FAILED


def test_an_inactive_account_with_the_right_key_is_told_so():
    store = keyed()
    store.change(7, is_active=False)
    assert refused(store=store, raw={"account_id": "7", "api_key": "secret"}) is errors.ACCOUNT_NOT_ACTIVATED
