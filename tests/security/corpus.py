"""The token corpus: every known way to forge, bend or misspell a token, as data.

A case is a name, the group it belongs to, the code it must be answered with (None: accepted) and a function that
makes the Authorization headers. Groups follow the ways in which servers were broken before. Each forgery is made
as an attacker would make it, with a true signature wherever the trick allows one.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from functools import cache, partial
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.kit import world
from tests.kit.tokens import private_key, public_pem

KEY_ID: Final = f"owner-{world.PARENT}"
GONE, WEAK, CURVED, RUBBISH, EXPONENT_ONE = "gone", "weak", "curved", "rubbish", "exponent-one"
_PKCS1: Final = padding.PKCS1v15()


@cache
def attackers_key() -> rsa.RSAPrivateKey:
    """A sound key that nobody registered."""
    return rsa.generate_private_key(65_537, 2_048)


@cache
def weak_key() -> rsa.RSAPrivateKey:
    """A key too short to be trusted, which got into the store all the same."""
    return rsa.generate_private_key(65_537, 1_024)


@cache
def curve_key() -> ec.EllipticCurvePrivateKey:
    """An elliptic key."""
    return ec.generate_private_key(ec.SECP256R1())


def curve_pem() -> bytes:
    """The public half of the elliptic key."""
    return curve_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def exponent_one_pem() -> bytes:
    """A public key of sound size whose exponent is 1: its signatures are their own padded digests."""

    def der(tag: int, content: bytes) -> bytes:
        size = len(content)
        head = bytes([size]) if size < 128 else b"\x82" + size.to_bytes(2, "big")
        return bytes([tag]) + head + content

    def integer(value: int) -> bytes:
        return der(2, value.to_bytes(value.bit_length() // 8 + 1, "big"))

    numbers = der(0x30, integer(_modulus()) + integer(1))
    algorithm = der(0x30, bytes.fromhex("06092a864886f70d010101") + b"\x05\x00")
    body = base64.encodebytes(der(0x30, algorithm + der(3, b"\0" + numbers)))
    return b"-----BEGIN PUBLIC KEY-----\n" + body + b"-----END PUBLIC KEY-----\n"


def _modulus() -> int:
    return private_key().public_key().public_numbers().n


def part(value: Any) -> str:
    """One part of a token: bytes as they are, anything else as JSON."""
    text = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def unpart(text: str) -> bytes:
    """What one part of a token says."""
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def rs256(signed: bytes, key: rsa.RSAPrivateKey) -> bytes:
    """The signature that honest tokens carry."""
    return key.sign(signed, _PKCS1, hashes.SHA256())


class Mint(NamedTuple):
    """Makes tokens for one instant; what is not said is as in an honest token of the town's parent."""

    now: int

    def header(self, **changed: Any) -> dict[str, Any]:
        """An honest header with changes."""
        return {"typ": "JWT", "alg": "RS256", "kid": KEY_ID} | changed

    def claims(self, **changed: Any) -> dict[str, Any]:
        """Honest claims with changes."""
        return {"iss": world.PARENT, "iat": self.now, "exp": self.now + 60} | changed

    def token(
        self,
        header: Any = None,
        claims: Any = None,
        *,
        key: rsa.RSAPrivateKey | None = None,
        sign: Callable[[bytes], bytes] | None = None,
    ) -> str:
        """A token with any header and claims under an RS256 signature, or whatever `sign` makes."""
        signed = f"{part(self.header() if header is None else header)}.{part(self.claims() if claims is None else claims)}"
        signature = sign(signed.encode()) if sign else rs256(signed.encode(), key or private_key())
        return f"{signed}.{part(signature)}"

    def parts(self) -> tuple[str, str, str]:
        """The three parts of an honest token."""
        header, claims, signature = self.token().split(".")
        return header, claims, signature


Headers = tuple[str, ...]
Make = Callable[[Mint], str | Headers]


class Case(NamedTuple):
    """One case; `make` gives a token, or all Authorization headers where the header itself is the matter."""

    group: str
    name: str
    code: int | None
    make: Make

    @property
    def label(self) -> str:
        """Group and name, as reports show them."""
        return f"{self.group}: {self.name}"

    def headers(self, mint: Mint) -> Headers:
        """The Authorization headers to send."""
        made = self.make(mint)
        return made if isinstance(made, tuple) else (f"Bearer {made}",)


# --- Ways to change an honest token ----------------------------------------------------------------------------------


def _with_header(mint: Mint, **changed: Any) -> str:
    return mint.token(mint.header(**changed))


def _with_claims(mint: Mint, **changed: Any) -> str:
    return mint.token(claims=mint.claims(**changed))


def _without_header(name: str, mint: Mint) -> str:
    return mint.token({each: value for each, value in mint.header().items() if each != name})


def _without_claim(name: str, mint: Mint) -> str:
    return mint.token(claims={each: value for each, value in mint.claims().items() if each != name})


def _times(offsets: dict[str, int], mint: Mint) -> str:
    return mint.token(claims=mint.claims(**{name: mint.now + value for name, value in offsets.items()}))


def _unsigned(mint: Mint, alg: str) -> str:
    return f"{part(mint.header(alg=alg))}.{part(mint.claims())}."


def _hmac(mint: Mint, alg: str, secret: bytes) -> str:
    digest = f"sha{alg[2:]}"
    return mint.token(mint.header(alg=alg), sign=lambda signed: hmac.digest(secret, signed, digest))


def _stripped(pem: bytes) -> bytes:
    return b"".join(pem.splitlines()[1:-1])


def _rsa_as(mint: Mint, alg: str, hashed: hashes.HashAlgorithm, *, pss: bool = False) -> str:
    scheme = padding.PSS(padding.MGF1(hashed), padding.PSS.DIGEST_LENGTH) if pss else _PKCS1
    return mint.token(mint.header(alg=alg), sign=lambda signed: private_key().sign(signed, scheme, hashed))


def _es256(mint: Mint, key_id: str = KEY_ID, alg: str = "ES256") -> str:
    def sign(signed: bytes) -> bytes:
        r, s = decode_dss_signature(curve_key().sign(signed, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")

    return mint.token(mint.header(alg=alg, kid=key_id), sign=sign)


def _eddsa(mint: Mint) -> str:
    return mint.token(mint.header(alg="EdDSA"), sign=ed25519.Ed25519PrivateKey.generate().sign)


def _exponent_one(mint: Mint) -> str:
    info = bytes.fromhex("3031300d060960864801650304020105000420")

    def forge(signed: bytes) -> bytes:
        tail = b"\0" + info + hashlib.sha256(signed).digest()
        return b"\0\1" + b"\xff" * (256 - 2 - len(tail)) + tail

    return mint.token(mint.header(kid=EXPONENT_ONE), sign=forge)


def _smuggled(mint: Mint, **header: Any) -> str:
    return mint.token(mint.header(**header), key=attackers_key())


def _attackers_jwk() -> dict[str, str]:
    numbers = attackers_key().public_key().public_numbers()
    n, e = numbers.n.to_bytes(256, "big"), numbers.e.to_bytes(3, "big")
    return {"kty": "RSA", "kid": KEY_ID, "alg": "RS256", "n": part(n), "e": part(e)}


def _changed_signature(mint: Mint, change: Callable[[bytes], bytes]) -> str:
    return mint.token(sign=lambda signed: change(rs256(signed, private_key())))


def _added_modulus(signature: bytes) -> bytes:
    total = int.from_bytes(signature, "big") + _modulus()
    return total.to_bytes((total.bit_length() + 7) // 8, "big")


def _flipped(signature: bytes) -> bytes:
    return signature[:100] + bytes([signature[100] ^ 1]) + signature[101:]


def _other_signature(mint: Mint) -> str:
    header, claims, _ = mint.parts()
    other = _with_claims(mint, exp=mint.now + 61).split(".")[2]
    return f"{header}.{claims}.{other}"


def _moved_claims(mint: Mint) -> str:
    header, _, signature = mint.parts()
    return f"{header}.{part(mint.claims(exp=mint.now + 61))}.{signature}"


def _respaced_claims(mint: Mint) -> str:
    header, _, signature = mint.parts()
    return f"{header}.{part(json.dumps(mint.claims(), separators=(',', ':')).encode())}.{signature}"


def _loose_tail(mint: Mint) -> str:
    token = mint.token()
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    # 256 bytes end in a letter of which two bits count; the next letter decodes to the same bytes.
    return token[:-1] + alphabet[alphabet.index(token[-1]) + 1]


def _standard_alphabet(mint: Mint) -> str:
    for extra in range(64):
        token = _with_claims(mint, jti=extra)
        if {"-", "_"} & set(token):
            return token.translate(str.maketrans("-_", "+/"))
    raise AssertionError("64 signatures without a 62nd or 63rd letter")


def _rejoined(mint: Mint, order: Callable[[str, str, str], str]) -> str:
    return order(*mint.parts())


def _raw(mint: Mint, header: str | None = None, claims: str | None = None) -> str:
    """A header or claims as text, `%KID`, `%IAT` and `%EXP` filled in."""

    def fill(text: str) -> bytes:
        text = text.replace("%KID", KEY_ID).replace("%IAT", str(mint.now))
        return text.replace("%EXP", str(mint.now + 60)).encode("utf-8", "surrogateescape")

    return mint.token(fill(header) if header else None, fill(claims) if claims else None)


def _headers(mint: Mint, *patterns: str) -> Headers:
    return tuple(pattern.replace("%T", mint.token()) for pattern in patterns)


# --- The table -------------------------------------------------------------------------------------------------------


def _group(name: str, code: int | None, **cases: Make) -> list[Case]:
    return [Case(name, case.replace("_", " "), code, make) for case, make in cases.items()]


def _key_ids(code: int, **key_ids: Any) -> list[Case]:
    return [
        Case("key choice", name.replace("_", " "), code, partial(_with_header, kid=key_id))
        for name, key_id in key_ids.items()
    ]


def _issuers(code: int | None, **issuers: Any) -> list[Case]:
    return [
        Case("issuer", name.replace("_", " "), code, partial(_with_claims, iss=issuer))
        for name, issuer in issuers.items()
    ]


def _instants(code: int | None, **times: dict[str, int]) -> list[Case]:
    return [
        Case("time", name.replace("_", " "), code, partial(_times, offsets))
        for name, offsets in times.items()
    ]


ALGORITHM: Final = _group(
    "algorithm",
    447,
    none=lambda mint: _unsigned(mint, "none"),
    none_capitalised=lambda mint: _unsigned(mint, "None"),
    none_upper=lambda mint: _unsigned(mint, "NONE"),
    none_mixed=lambda mint: _unsigned(mint, "nOnE"),
    none_with_blank=lambda mint: _unsigned(mint, "none "),
    none_with_nul=lambda mint: _unsigned(mint, "none\0"),
    none_with_a_signature=lambda mint: _with_header(mint, alg="none"),
    empty=lambda mint: _with_header(mint, alg=""),
    hs256_with_the_public_pem=lambda mint: _hmac(mint, "HS256", public_pem()),
    hs384_with_the_public_pem=lambda mint: _hmac(mint, "HS384", public_pem()),
    hs512_with_the_public_pem=lambda mint: _hmac(mint, "HS512", public_pem()),
    hs256_with_the_stripped_pem=lambda mint: _hmac(mint, "HS256", _stripped(public_pem())),
    hs256_with_the_der=lambda mint: _hmac(mint, "HS256", base64.b64decode(_stripped(public_pem()))),
    hs256_with_a_crlf_pem=lambda mint: _hmac(mint, "HS256", public_pem().replace(b"\n", b"\r\n")),
    hs256_with_a_blank_secret=lambda mint: _hmac(mint, "HS256", b""),
    rs384=lambda mint: _rsa_as(mint, "RS384", hashes.SHA384()),
    rs512=lambda mint: _rsa_as(mint, "RS512", hashes.SHA512()),
    ps256=lambda mint: _rsa_as(mint, "PS256", hashes.SHA256(), pss=True),
    es256=_es256,
    eddsa=_eddsa,
    missing=partial(_without_header, "alg"),
    null=lambda mint: _with_header(mint, alg=None),
    number=lambda mint: _with_header(mint, alg=256),
    list_of_one=lambda mint: _with_header(mint, alg=["RS256"]),
    lower_case=lambda mint: _with_header(mint, alg="rs256"),
    b64_false=lambda mint: _with_header(mint, b64=False, crit=["b64"]),
    unknown_crit=lambda mint: _with_header(mint, crit=["x-unknown"]),
    empty_crit=lambda mint: _with_header(mint, crit=[]),
)

KEY_CHOICE: Final = [
    Case("key choice", "missing", 447, partial(_without_header, "kid")),
    *_key_ids(
        447, empty="", null=None, number=1, list=[KEY_ID], object={"kid": KEY_ID}, ten_kilobytes="k" * 10_240
    ),
    *_key_ids(
        100,
        unknown="nobody",
        long="k" * 300,
        of_another_account=f"owner-{world.STRANGER}",
        of_a_child=f"owner-{world.CHILD}",
        deleted=GONE,
        other_case=KEY_ID.upper(),
        leading_blank=f" {KEY_ID}",
        path_upwards="../../dev/null",
        path_to_secrets="/proc/self/environ",
        sql_or="' OR 1=1--",
        sql_union="' UNION SELECT id FROM access_key--",
        sql_like=f"{KEY_ID[:-1]}_",
        nul=f"{KEY_ID}\0",
        crlf=f"{KEY_ID}\r\nX-Role: Owner",
        format_string="%s%n{0.__class__}",
        address="https://127.0.0.1/key.pem",
        wildcard="*",
        fullwidth="ｏｗｎｅｒ-1000",
    ),
    Case("key choice", "too short a key", 100, lambda m: m.token(m.header(kid=WEAK), key=weak_key())),
    Case("key choice", "an elliptic key", 100, lambda m: _es256(m, CURVED, "RS256")),
    Case("key choice", "a stored key that is none", 100, partial(_with_header, kid=RUBBISH)),
    Case("key choice", "a stored key of exponent 1", 100, _exponent_one),
]

SMUGGLED: Final = _group(
    "smuggled keys",
    100,
    jwk=lambda mint: _smuggled(mint, jwk=_attackers_jwk()),
    jku=lambda mint: _smuggled(mint, jku="http://127.0.0.1:9/keys.json"),
    x5u_loopback=lambda mint: _smuggled(mint, x5u="http://127.0.0.1:9/chain.pem"),
    x5u_metadata=lambda mint: _smuggled(mint, x5u="http://169.254.169.254/latest/meta-data/"),
    x5u_file=lambda mint: _smuggled(mint, x5u="file:///etc/passwd"),
    x5u_gopher=lambda mint: _smuggled(mint, x5u="gopher://127.0.0.1:9/_x"),
    x5c=lambda mint: _smuggled(mint, x5c=["MIIB"]),
    x5t_of_another=lambda mint: _smuggled(mint, **{"x5t#S256": part(bytes(32)), "x5t": part(bytes(20))}),
    kid_as_jku=lambda mint: _smuggled(mint, kid="http://127.0.0.1:9/keys.json"),
)

SIGNATURE: Final = [
    *_group(
        "signature",
        447,
        empty=lambda mint: _rejoined(mint, lambda h, c, s: f"{h}.{c}."),
        padded=lambda mint: f"{mint.token()}=",
        padded_twice=lambda mint: f"{mint.token()}==",
        blank_behind=lambda mint: f"{mint.token()} ",
        newline_behind=lambda mint: f"{mint.token()}\n",
        blank_within=lambda mint: _rejoined(mint, lambda h, c, s: f"{h}.{c}.{s[:9]} {s[9:]}"),
        loose_tail=_loose_tail,
        one_letter_short=lambda mint: mint.token()[:-1],
    ),
    *_group(
        "signature",
        100,
        null=lambda mint: _rejoined(mint, lambda h, c, s: f"{h}.{c}.null"),
        one_nul=lambda mint: _changed_signature(mint, lambda _: b"\0"),
        truncated=lambda mint: _changed_signature(mint, lambda s: s[:-1]),
        one_bit=lambda mint: _changed_signature(mint, _flipped),
        of_another_token=_other_signature,
        zero_filled=lambda mint: _changed_signature(mint, lambda s: bytes(len(s))),
        all_ones=lambda mint: _changed_signature(mint, lambda s: b"\xff" * len(s)),
        the_modulus=lambda mint: _changed_signature(mint, lambda _: _modulus().to_bytes(256, "big")),
        added_modulus=lambda mint: _changed_signature(mint, _added_modulus),
        leading_zero=lambda mint: _changed_signature(mint, lambda s: b"\0" + s),
        trailing_zero=lambda mint: _changed_signature(mint, lambda s: s + b"\0"),
        reversed=lambda mint: _changed_signature(mint, lambda s: s[::-1]),
        pss_for_pkcs1=lambda mint: _rsa_as(mint, "RS256", hashes.SHA256(), pss=True),
        sha384_inside=lambda mint: _rsa_as(mint, "RS256", hashes.SHA384()),
        sha512_inside=lambda mint: _rsa_as(mint, "RS256", hashes.SHA512()),
        by_another_key=lambda mint: mint.token(key=attackers_key()),
        claims_moved=_moved_claims,
        claims_respaced=_respaced_claims,
    ),
]

SHAPE: Final = [
    *_group(
        "shape",
        447,
        nothing=lambda mint: "",
        one_part=lambda mint: mint.parts()[0],
        two_parts=lambda mint: _rejoined(mint, lambda h, c, s: f"{h}.{c}"),
        four_parts=lambda mint: _rejoined(mint, lambda h, c, s: f"{h}.{c}.{s}.{s}"),
        five_parts=lambda mint: _rejoined(mint, lambda h, c, s: f"{h}.{s}.{c}.{c}.{s}"),
        empty_claims=lambda mint: _rejoined(mint, lambda h, c, s: f"{h}..{s}"),
        nested=lambda mint: mint.token(mint.header(cty="JWT"), mint.token().encode()),
        compressed=lambda mint: _with_header(mint, zip="DEF"),
        header_name_twice=lambda mint: _raw(mint, '{"alg":"none","alg":"RS256","kid":"%KID"}'),
        claim_twice=lambda mint: _raw(mint, claims='{"iss":1003,"iss":1000,"iat":%IAT,"exp":%EXP}'),
        not_a_number=lambda mint: _raw(mint, claims='{"iss":1000,"iat":%IAT,"exp":%EXP,"x":NaN}'),
        infinite=lambda mint: _raw(mint, claims='{"iss":1000,"iat":%IAT,"exp":Infinity}'),
        byte_order_mark=lambda mint: _raw(mint, '\ufeff{"alg":"RS256","kid":"%KID"}'),
        deep=lambda mint: mint.token(claims=b"[" * 3_000 + b"]" * 3_000),
        deep_objects=lambda mint: mint.token(claims=b'{"a":' * 900 + b"1" + b"}" * 900),
        one_megabyte=lambda mint: _with_claims(mint, pad="x" * 1_000_000),
        just_too_long=lambda mint: _with_claims(mint, pad="x" * 6_200),
        no_utf8=lambda mint: mint.token(b'{"alg":"RS256","kid":"\xff"}'),
        utf16=lambda mint: mint.token(json.dumps(mint.header()).encode("utf-16")),
        standard_alphabet=_standard_alphabet,
        header_no_object=lambda mint: mint.token(["RS256", KEY_ID]),
        claims_no_object=lambda mint: mint.token(claims=[1000]),
        rubbish_behind_the_header=lambda mint: _raw(mint, '{"alg":"RS256","kid":"%KID"}{}'),
        scheme_twice=lambda mint: _headers(mint, "Bearer Bearer %T"),
        two_tokens=lambda mint: _headers(mint, "Bearer %T, Bearer %T"),
        two_blanks=lambda mint: _headers(mint, "Bearer  %T"),
        quoted=lambda mint: _headers(mint, 'Bearer "%T"'),
    ),
    *_group(
        "shape",
        100,
        two_headers=lambda mint: _headers(mint, "Bearer %T", "Bearer %T"),
        empty_header=lambda mint: _headers(mint, ""),
        no_scheme=lambda mint: _headers(mint, "%T"),
        basic=lambda mint: _headers(mint, "Basic %T"),
        tab_for_a_blank=lambda mint: _headers(mint, "Bearer\t%T"),
        scheme_in_other_letters=lambda mint: _headers(mint, "Ｂearer %T"),
    ),
]

ISSUER: Final = [
    *_issuers(
        100,
        float=1000.0,
        exponent_text="1e3",
        leading_zero="01000",
        plus="+1000",
        blank=" 1000",
        underscore="1_000",
        foreign_digits="١٠٠٠",
        other_account=world.STRANGER,
        other_account_as_text=str(world.STRANGER),
        nobody=999_999,
        negative=-1000,
        beyond_53_bits=2**53,
        huge=10**40,
        huge_text="9" * 400,
        true=True,
        null=None,
        empty="",
        list=[1000],
        object={"id": 1000},
        nul_behind="1000\0",
        sql="1000 OR 1=1",
        zero_and_point="0.0",
    ),
    Case("issuer", "missing", 100, partial(_without_claim, "iss")),
    Case("issuer", "exponent number", 100, lambda m: _raw(m, claims='{"iss":1e3,"iat":%IAT,"exp":%EXP}')),
    Case(
        "issuer",
        "a parent, by its child's key",
        100,
        lambda m: m.token(m.header(kid=f"owner-{world.CHILD}"), m.claims()),
    ),
    Case(
        "issuer",
        "a sibling, by its sibling's key",
        100,
        lambda m: m.token(m.header(kid=f"owner-{world.CHILD}"), m.claims(iss=world.SIBLING)),
    ),
    Case(
        "issuer",
        "an account that is not active",
        131,
        lambda m: m.token(m.header(kid=f"owner-{world.INACTIVE}"), m.claims(iss=world.INACTIVE)),
    ),
]

TIME: Final = [
    *_instants(None, an_hour={"iat": 0, "exp": 3_600}, a_minute_ahead={"iat": 60, "exp": 61}),
    *_instants(
        454,
        an_hour_and_a_second={"iat": 0, "exp": 3_601},
        no_life={"iat": 0, "exp": 0},
        ends_before_it_begins={"iat": 30, "exp": 10},
        a_century={"iat": 0, "exp": 3_155_760_000},
        an_hour_and_more_in_the_past={"iat": -7_200, "exp": -3_599},
    ),
    *_instants(
        455,
        too_far_ahead={"iat": 61, "exp": 90},
        not_before_later={"iat": 0, "exp": 90, "nbf": 61},
    ),
    *_instants(456, ends_now={"iat": -60, "exp": 0}, ended={"iat": -60, "exp": -1}),
    Case("time", "before 1970", 456, lambda m: _with_claims(m, iat=-100, exp=-50)),
    Case("time", "fractional iat", 447, lambda m: _with_claims(m, iat=m.now + 0.5)),
    Case("time", "fractional exp", 447, lambda m: _with_claims(m, exp=m.now + 60.0)),
    Case("time", "iat as text", 447, lambda m: _with_claims(m, iat=str(m.now))),
    Case("time", "exp as text", 447, lambda m: _with_claims(m, exp=str(m.now + 60))),
    Case("time", "boolean exp", 447, lambda m: _with_claims(m, exp=True)),
    Case("time", "null exp", 447, lambda m: _with_claims(m, exp=None)),
    Case("time", "null nbf", 447, lambda m: _with_claims(m, nbf=None)),
    Case("time", "list of one", 447, lambda m: _with_claims(m, iat=[m.now])),
    Case("time", "beyond every clock", 447, lambda m: _with_claims(m, exp=10**30)),
    Case("time", "exponent", 447, lambda m: _raw(m, claims='{"iss":1000,"iat":%IAT,"exp":1e18}')),
    Case(
        "time",
        "more digits than Python reads",
        447,
        lambda m: _raw(m, claims=f'{{"iss":1,"exp":{"9" * 5_000}}}'),
    ),
    Case("time", "no iat", 447, partial(_without_claim, "iat")),
    Case("time", "no exp", 447, partial(_without_claim, "exp")),
]

CONTROLS: Final = _group(
    "controls",
    None,
    python=lambda m: _with_claims(m, iss=str(world.PARENT), iat=m.now - 5, exp=m.now + 24),
    python_without_an_account=lambda m: _with_claims(m, iss="0", iat=m.now - 5, exp=m.now + 24),
    node=lambda m: _with_claims(m, exp=m.now + 64),
    go=lambda m: _with_claims(m, exp=m.now + 30),
    php=lambda m: _with_claims(m, exp=m.now + 60),
    java=lambda m: _with_claims(m, iss=str(world.PARENT), iat=m.now - 5, exp=m.now + 60),
    dot_net=lambda m: _with_claims(m, iss=str(world.PARENT), nbf=m.now, exp=m.now + 3_600),
    one_second=lambda m: _with_claims(m, exp=m.now + 1),
    one_hour=lambda m: _with_claims(m, exp=m.now + 3_600),
    for_a_child=lambda m: _with_claims(m, iss=world.CHILD),
    unknown_claims=lambda m: _with_claims(m, jti="x", aud=["y"], sub="z"),
    no_type=partial(_without_header, "typ"),
    scheme_in_lower_case=lambda m: _headers(m, "bearer %T"),
    # Pointers to keys are not followed; beside a true signature they are only noise.
    pointers_beside_a_true_signature=lambda m: _with_header(
        m, jku="http://127.0.0.1:9/", x5u="file:///etc/passwd", jwk=_attackers_jwk()
    ),
)

CASES: Final[list[Case]] = [
    *ALGORITHM,
    *KEY_CHOICE,
    *SMUGGLED,
    *SIGNATURE,
    *SHAPE,
    *ISSUER,
    *TIME,
    *CONTROLS,
]
