"""Every token of the corpus is answered as documented, and none makes the server reach for anything.

The corpus runs on both engines, each case as a call with its parameters in the query and as one in a form. Its
controls are what the vendor's SDKs send; a canary without the signature check shows that the corpus bites.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from sqlalchemy import bindparam, update

from numberline.api import auth
from numberline.api import token as api_token
from numberline.api.codec import RawRequest
from numberline.domain import limits
from numberline.domain.access import OWNER, AccessKey, Role
from numberline.service.keys import KeyRefused, register_key
from numberline.store.opening import open_store
from numberline.store.schema import account
from numberline.store.statements import Statement
from numberline.store.transaction import Transaction
from tests.kit import world
from tests.kit.tokens import public_pem
from tests.kit.world import START, Town, role_key
from tests.security import corpus
from tests.security.corpus import CASES, CONTROLS, Case, Mint

HARMLESS: Final = "GetAccountInfo"
PURCHASE: Final = "AttachPhoneNumber"
MUTANTS: Final = 3_000
_WATCHED: Final = ("open", "os.system", "socket.bind", "socket.connect", "socket.get", "subprocess", "urllib")


def mint_of(town: Town) -> Mint:
    return Mint(int(town.clock.now().timestamp()))


async def ask(town: Town, request: RawRequest) -> tuple[int | None, bytes]:
    """The code of an answer, None for success, and its body."""
    answer = await town.dispatcher.answer(request)
    decoded = json.loads(answer.body)
    assert answer.status == 200
    assert set(decoded) == {"error"} if answer.code else "error" not in decoded
    assert not town.dispatcher.undeclared
    return answer.code, answer.body


def by_query(headers: tuple[str, ...], method: str = HARMLESS) -> RawRequest:
    return RawRequest(command=method, query=b"return_live_balance=true", authorization=headers)


def by_form(headers: tuple[str, ...], method: str = HARMLESS) -> RawRequest:
    return RawRequest(
        command=None,
        body=f"cmd={method}&return_live_balance=true".encode(),
        content_type="application/x-www-form-urlencoded",
        authorization=headers,
    )


async def code_of(town: Town, text: str, method: str = HARMLESS) -> int | None:
    return (await ask(town, by_query((f"Bearer {text}",), method)))[0]


async def judge(town: Town, cases: list[Case]) -> dict[str, tuple[int | None, int | None]]:
    """The cases answered otherwise than they should be: expected and found, by name."""
    wrong = {}
    for case in cases:
        headers = case.headers(mint_of(town))
        found, body = await ask(town, by_query(headers))
        again, same = await ask(town, by_form(headers))
        if found != case.code or again != case.code or body != same:
            wrong[case.label] = (case.code, found)
    return wrong


async def _add_doubtful_keys(work: Transaction) -> None:
    """Keys that no registration would take, or that are gone again."""
    weak_pem = public_pem(corpus.weak_key())
    stored = {
        corpus.GONE: public_pem(),
        corpus.WEAK: weak_pem,
        corpus.CURVED: corpus.curve_pem(),
        corpus.RUBBISH: b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        corpus.EXPONENT_ONE: corpus.exponent_one_pem(),
    }
    for key_id, pem in stored.items():
        await work.insert_key(AccessKey(key_id, world.PARENT, pem, OWNER), "", START)
    await work.delete_key(corpus.GONE)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
async def corpus_town(
    request: pytest.FixtureRequest, town_template: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Town]:
    """One town for the whole corpus, which changes nothing in it."""
    postgres = request.getfixturevalue("hasty_postgres_server")
    template = town_template[request.param]
    if request.param == "sqlite":
        copy = tmp_path_factory.mktemp("corpus") / "town.db"
        shutil.copy(template.removeprefix("sqlite:///"), copy)
        url = f"sqlite:///{copy}"
    else:
        url = postgres.create_database(template=template.rpartition("/")[2].partition("?")[0])
    town = Town(open_store(url))
    await town.store.write(_add_doubtful_keys)
    yield town
    await town.close()
    if request.param == "postgres":
        postgres.drop(url)


# --- Nothing is opened -----------------------------------------------------------------------------------------------


class Watch:
    """What the interpreter was asked to open while the watch was on. An audit hook stays for good: it must be cheap."""

    def __init__(self) -> None:
        self.is_armed = False
        self.seen: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.is_armed and event.startswith(_WATCHED):
            self.seen.append(f"{event}{arguments!r:.100}")

    @contextmanager
    def armed(self) -> Iterator[list[str]]:
        """Watch a block; what was opened in it is in the list."""
        self.seen.clear()
        self.is_armed = True
        try:
            yield self.seen
        finally:
            self.is_armed = False


@pytest.fixture(scope="module")
def watch() -> Watch:
    return Watch()


# --- The corpus ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.label)
async def test_every_token_is_answered_as_documented(corpus_town: Town, watch: Watch, case: Case) -> None:
    headers = case.headers(mint_of(corpus_town))
    await ask(corpus_town, by_query(CONTROLS[0].headers(mint_of(corpus_town))))
    with watch.armed() as opened:
        found, body = await ask(corpus_town, by_query(headers))
        again, same = await ask(corpus_town, by_form(headers))
    assert (found, again) == (case.code, case.code)
    assert body == same
    assert opened == []


def test_the_watch_sees_what_is_opened(watch: Watch, tmp_path: Path) -> None:
    with watch.armed() as opened, (tmp_path / "x").open("w"):
        pass
    assert len(opened) == 1
    with (tmp_path / "x").open():
        assert len(opened) == 1


def test_the_corpus_has_what_it_claims() -> None:
    labels = [case.label for case in CASES]
    assert len(labels) == len(set(labels))
    sizes = Counter(case.group for case in CASES)
    least = {
        "algorithm": 18,
        "key choice": 20,
        "smuggled keys": 9,
        "signature": 12,
        "shape": 16,
        "issuer": 9,
        "time": 16,
        "controls": 6,
    }
    assert all(sizes[group] >= size for group, size in least.items()), sizes
    assert len(AFTER_ISSUE) >= 8
    print(f"token corpus: {len(CASES)} cases and {len(AFTER_ISSUE)} stories, {dict(sizes)}")


async def test_every_failed_authorization_reads_the_same(corpus_town: Town) -> None:
    mint = mint_of(corpus_town)
    bodies = {(await ask(corpus_town, by_query(case.headers(mint))))[1] for case in CASES if case.code == 100}
    assert len(bodies) == 1


async def test_without_the_signature_check_the_corpus_fails(
    corpus_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await judge(corpus_town, CASES) == {}
    monkeypatch.setattr(auth, "_is_signed", lambda *_: True)
    wrong = await judge(corpus_town, CASES)
    let_in = [name for name, (expected, found) in wrong.items() if expected is not None and found is None]
    assert len(let_in) > 20, wrong
    assert any(name.startswith("smuggled") for name in let_in)
    assert any(name.startswith("signature") for name in let_in)


async def test_without_the_issuer_check_the_corpus_fails(
    corpus_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "may_act_as", lambda *_: True)
    wrong = await judge(corpus_town, CASES)
    assert {name for name, (_, found) in wrong.items() if found is None} >= {
        "issuer: other account",
        "issuer: a parent, by its child's key",
    }


async def test_oversized_tokens_are_refused_before_any_work(
    corpus_town: Town, monkeypatch: pytest.MonkeyPatch
) -> None:
    long = mint_of(corpus_town).token(claims=mint_of(corpus_town).claims(pad="x" * 6_200))
    assert len(long) > limits.TOKEN_BYTES

    def fail(*_: object) -> Any:
        raise AssertionError("an oversized token was read")

    monkeypatch.setattr(api_token, "_read_part", fail)
    monkeypatch.setattr(auth, "_is_signed", fail)
    monkeypatch.setattr(corpus_town.store, "read", fail)
    for text in (long, "x" * (limits.TOKEN_BYTES + 1), "." * 100_000, "a.b." + "c" * 10_000_000):
        assert await code_of(corpus_town, text) == 447


# --- Mutants ---------------------------------------------------------------------------------------------------------


def mutants(rng: random.Random, good: list[str]) -> Iterator[str]:
    """Tokens that differ from good ones by a small accident."""
    kinds = [_flip_letter_bit, _flip_byte_bit, _cut, _swap_part, _insert, _recase, _double, _reorder]
    while True:
        yield rng.choice(kinds)(rng, rng.choice(good), rng.choice(good))


def _flip_letter_bit(rng: random.Random, text: str, _other: str) -> str:
    at = rng.randrange(len(text))
    return text[:at] + chr(ord(text[at]) ^ (1 << rng.randrange(8))) + text[at + 1 :]


def _flip_byte_bit(rng: random.Random, text: str, _other: str) -> str:
    """One bit of what a part says, spelled canonically again."""
    parts = text.split(".")
    which = rng.randrange(3)
    decoded = bytearray(corpus.unpart(parts[which]))
    decoded[rng.randrange(len(decoded))] ^= 1 << rng.randrange(8)
    parts[which] = corpus.part(bytes(decoded))
    return ".".join(parts)


def _cut(rng: random.Random, text: str, _other: str) -> str:
    first, last = sorted(rng.sample(range(len(text) + 1), 2))
    return text[first:last]


def _swap_part(rng: random.Random, text: str, other: str) -> str:
    which = rng.randrange(3)
    mixed = [
        theirs if at == which else ours
        for at, (ours, theirs) in enumerate(zip(text.split("."), other.split("."), strict=True))
    ]
    return ".".join(mixed)


def _insert(rng: random.Random, text: str, _other: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice("=. \t\n\0AZaz09-_+/~é") + text[at:]


def _recase(rng: random.Random, text: str, _other: str) -> str:
    at = rng.choice([at for at, letter in enumerate(text) if letter.isalpha()])
    return text[:at] + text[at].swapcase() + text[at + 1 :]


def _double(rng: random.Random, text: str, _other: str) -> str:
    parts = text.split(".")
    which = rng.randrange(3)
    parts[which] *= 2
    return ".".join(parts)


def _reorder(rng: random.Random, text: str, _other: str) -> str:
    """The same members in another order or with other blanks: the same meaning, but not what was signed."""
    parts = text.split(".")
    which = rng.randrange(2)
    members = list(json.loads(corpus.unpart(parts[which])).items())
    rng.shuffle(members)
    parts[which] = corpus.part(json.dumps(dict(members), indent=rng.choice([None, 0, 1])).encode())
    return ".".join(parts)


async def test_no_mutant_is_accepted(corpus_town: Town, rng: random.Random) -> None:
    mint = mint_of(corpus_town)
    good = [
        mint.token(),
        mint.token(claims=mint.claims(iss=str(world.PARENT), exp=mint.now + 3_600)),
        mint.token(mint.header(kid=role_key(None))),
        mint.token(mint.header(kid=f"owner-{world.STRANGER}"), mint.claims(iss=world.STRANGER)),
    ]
    assert [await code_of(corpus_town, text) for text in good] == [None] * 4
    codes: Counter[int | None] = Counter()
    made = mutants(rng, good)
    while codes.total() < MUTANTS:
        mutant = next(made)
        if mutant in good:
            continue
        code = await code_of(corpus_town, mutant)
        assert code in (100, 447), mutant
        codes[code] += 1
    print(f"token mutants: {codes.total()} made, refused with {dict(codes)}")
    assert codes[100] > MUTANTS / 20, "the mutants hardly reached the signature"


# --- After issue -----------------------------------------------------------------------------------------------------


async def _role_removed(town: Town, mint: Mint) -> list[tuple[str, str, int | None]]:
    key_id = role_key(Role.ACCOUNTANT)
    text = mint.token(mint.header(kid=key_id))
    assert await code_of(town, text, PURCHASE) == 134
    await town.store.write(lambda work: work.set_roles(key_id, [Role.SUPPORT]))
    return [(text, PURCHASE, 104), (text, HARMLESS, None)]


async def _account_frozen(town: Town, mint: Mint) -> list[tuple[str, str, int | None]]:
    text = mint.token()
    await town.store.write(lambda work: work.set_flags(world.PARENT, is_active=True, is_frozen=True))
    return [(text, HARMLESS, None)]


async def _account_closed(town: Town, mint: Mint) -> list[tuple[str, str, int | None]]:
    text, child = mint.token(), mint.token(claims=mint.claims(iss=world.CHILD))
    await town.store.write(lambda work: work.set_flags(world.PARENT, is_active=False, is_frozen=False))
    return [(text, HARMLESS, 131), (child, HARMLESS, 131)]


async def _key_rotated(town: Town, mint: Mint) -> list[tuple[str, str, int | None]]:
    text = mint.token()
    new = AccessKey("rotated", world.PARENT, public_pem(corpus.attackers_key()), OWNER)

    async def rotate(work: Transaction) -> None:
        await work.insert_key(new, "", START)
        await work.delete_key(corpus.KEY_ID)

    await town.store.write(rotate)
    fresh = mint.token(mint.header(kid="rotated"), key=corpus.attackers_key())
    return [(text, HARMLESS, 100), (fresh, HARMLESS, None)]


async def _same_id_other_material(town: Town, mint: Mint) -> list[tuple[str, str, int | None]]:
    text = mint.token()
    again = AccessKey(corpus.KEY_ID, world.PARENT, public_pem(corpus.attackers_key()), OWNER)

    async def replace(work: Transaction) -> None:
        await work.delete_key(corpus.KEY_ID)
        await work.insert_key(again, "", START)

    await town.store.write(replace)
    return [(text, HARMLESS, 100), (mint.token(key=corpus.attackers_key()), HARMLESS, None)]


async def _key_deleted(town: Town, mint: Mint) -> list[tuple[str, str, int | None]]:
    text = mint.token()
    await town.store.write(lambda work: work.delete_key(corpus.KEY_ID))
    return [(text, HARMLESS, 100), (text, PURCHASE, 100), (text, HARMLESS, 100)]


async def _child_lost(town: Town, mint: Mint) -> list[tuple[str, str, int | None]]:
    text = mint.token(claims=mint.claims(iss=world.CHILD))
    orphan = Statement(
        update(account).where(account.c.id == bindparam("child")).values(parent_id=bindparam("nobody"))
    )
    assert await code_of(town, text) is None
    await town.store.write(
        lambda work: work.connection.execute(orphan, {"child": world.CHILD, "nobody": None})
    )
    return [(text, HARMLESS, 100), (mint.token(), HARMLESS, None)]


async def _clock_stepped_back(town: Town, mint: Mint) -> list[tuple[str, str, int | None]]:
    text = mint.token()
    town.clock.advance(timedelta(seconds=-61))
    return [(text, HARMLESS, 455)]


async def _clock_ran_on(town: Town, mint: Mint) -> list[tuple[str, str, int | None]]:
    text = mint.token()
    assert await code_of(town, text) is None
    town.clock.advance(timedelta(seconds=60))
    return [(text, HARMLESS, 456)]


async def _other_methods_other_roles(town: Town, mint: Mint) -> list[tuple[str, str, int | None]]:
    text = mint.token(mint.header(kid=role_key(Role.PAYER)))
    return [
        (text, "GetPhoneNumbers", None),
        (text, PURCHASE, 104),
        (text, "GetNewPhoneNumbers", 104),
        (text, "GetPhoneNumberCategories", None),
    ]


Story = Callable[[Town, Mint], Awaitable[list[tuple[str, str, int | None]]]]
AFTER_ISSUE: Final[dict[str, Story]] = {
    "role removed": _role_removed,
    "account frozen": _account_frozen,
    "account closed": _account_closed,
    "key rotated": _key_rotated,
    "same id, other material": _same_id_other_material,
    "key deleted": _key_deleted,
    "child lost": _child_lost,
    "clock stepped back": _clock_stepped_back,
    "clock ran on": _clock_ran_on,
    "other methods, other roles": _other_methods_other_roles,
}


@pytest.mark.parametrize("story", AFTER_ISSUE.values(), ids=AFTER_ISSUE.keys())
async def test_what_changes_after_issue_counts_at_once(town: Town, story: Story) -> None:
    mint = mint_of(town)
    # The token has been used, so that whatever is remembered of it is remembered.
    assert await code_of(town, mint.token()) is None
    for text, method, code in await story(town, mint):
        assert (method, await code_of(town, text, method)) == (method, code)


# --- Registration ----------------------------------------------------------------------------------------------------


async def test_weak_keys_cannot_be_registered(town: Town) -> None:
    sound = public_pem(corpus.attackers_key())
    doubtful = {
        "1024 bits": public_pem(corpus.weak_key()),
        "2040 bits": public_pem(rsa.generate_private_key(65_537, 2_040)),
        "exponent 1": corpus.exponent_one_pem(),
        "elliptic": corpus.curve_pem(),
        "PKCS 1 of 1024 bits": corpus.weak_key().public_key().public_bytes(Encoding.PEM, PublicFormat.PKCS1),
    }
    for name, pem in doubtful.items():
        with pytest.raises(KeyRefused):
            await register_key(
                town.store, town.clock, world.PARENT, OWNER, public_key_pem=pem, description=name
            )
    key_id = await register_key(town.store, town.clock, world.PARENT, OWNER, public_key_pem=sound)
    mint = mint_of(town)
    assert await code_of(town, mint.token(mint.header(kid=key_id), key=corpus.attackers_key())) is None
