"""Collecting raw parameters from every place and spelling a client may use."""

from __future__ import annotations

import json

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from numberline.api.codec import RawRequest, read_parameters
from numberline.domain import limits
from numberline.domain.errors import INVALID_ARGUMENTS, Refusal


def read(query: bytes = b"", body: bytes = b"", content_type: str = "") -> dict[str, list[str]]:
    return read_parameters(RawRequest(command=None, query=query, body=body, content_type=content_type))


def multipart(fields: dict[str, str]) -> tuple[bytes, str]:
    request = httpx.Request("POST", "http://x", files={name: (None, value) for name, value in fields.items()})
    return request.read(), request.headers["content-type"]


FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


def test_the_query_is_decoded():
    assert read(b"phone_number=%5B%22%2B15552850126%22%5D&name=a+b&empty=&flag") == {
        "phone_number": ['["+15552850126"]'],
        "name": ["a b"],
        "empty": [""],
        "flag": [""],
    }


def test_repeated_keys_form_a_list():
    assert read(b"a=1&a=2")["a"] == ["1", "2"]


@pytest.mark.parametrize(
    "content_type", [FORM, FORM + "; charset=utf-8", "APPLICATION/X-WWW-FORM-URLENCODED", "", "text/plain"]
)
def test_the_body_wins_over_the_query(content_type: str):
    assert read(b"a=1&a=2&b=3", b"a=4", content_type) == {"a": ["4"], "b": ["3"]}


@pytest.mark.parametrize("body", [b"", b"{}", b" \n", b"{ }"])
def test_an_empty_json_body_means_nothing(body: bytes):
    assert read(b"a=1", body, JSON) == {"a": ["1"]}


def test_json_values_become_texts():
    body = json.dumps({"a": 1, "b": True, "c": None, "d": ["x;y", 2], "e": "t", "f": 1.5}).encode()
    assert read(body=body, content_type=JSON) == {
        "a": ["1"],
        "b": ["true"],
        "c": [""],
        "d": ['["x;y",2]'],
        "e": ["t"],
        "f": ["1.5"],
    }


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"1",
        b"{",
        b'{"a":{}}',
        b'{"a":[[]]}',
        b'{"a":' + b"[" * 200_000,
        b'{"a":NaN}',
        b'{"a":' + b"9" * 100_000 + b"}",
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b"\xef\xbb\xbf{}",
    ],
)
def test_unreadable_json_is_refused(body: bytes):
    with pytest.raises(Refusal) as caught:
        read(body=body, content_type=JSON)
    assert caught.value.kind is INVALID_ARGUMENTS


def test_multipart_of_python_is_read():
    body, content_type = multipart({"cmd": "AttachPhoneNumber", "phone_region_name": "Möön; x"})
    assert read(b"", body, content_type) == {"cmd": ["AttachPhoneNumber"], "phone_region_name": ["Möön; x"]}


def test_multipart_of_dotnet_is_read():
    body = (
        b"--b-1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=cmd\r\n\r\nGetAccountInfo"
        b"\r\n--b-1\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Disposition: form-data; name=count\r\n\r\n2\r\n--b-1--\r\n"
    )
    assert read(b"", body, 'multipart/form-data; boundary="b-1"') == {
        "cmd": ["GetAccountInfo"],
        "count": ["2"],
    }


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"--b\r\n\r\nx\r\n--b--\r\n", "multipart/form-data; boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx', "multipart/form-data; boundary=b"),
        (b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--\r\n', "multipart/form-data"),
        (
            b'--b\r\nContent-Disposition: form-data; name="a"\r\n\r\nx\r\n--b--\r\n',
            "multipart/form-data; boundary=c",
        ),
        (b"nothing", "multipart/form-data; boundary=b"),
    ],
)
def test_broken_multipart_is_refused(body: bytes, content_type: str):
    with pytest.raises(Refusal) as caught:
        read(body=body, content_type=content_type)
    assert caught.value.kind is INVALID_ARGUMENTS


def test_bytes_that_are_no_utf8_do_not_break_the_reading():
    assert read(b"a=%ED%A0%80&b=%FF")["b"] == ["\udcff"]


def test_too_many_parameters_are_refused():
    pairs = "&".join(f"p{index}=1" for index in range(limits.PARAMETER_COUNT + 1)).encode()
    for query, body in ((pairs, b""), (b"", pairs)):
        with pytest.raises(Refusal) as caught:
            read(query, body, FORM)
        assert caught.value.kind is INVALID_ARGUMENTS


PLAIN = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)


@given(st.dictionaries(st.from_regex(r"[a-z_]{1,12}", fullmatch=True), PLAIN, max_size=6))
def test_all_spellings_of_a_request_read_alike(fields: dict[str, str]):
    expected = {name: [value] for name, value in fields.items()}
    encoded = str(httpx.QueryParams(fields)).encode()
    assert read(encoded) == expected
    assert read(body=encoded, content_type=FORM) == expected
    assert read(body=json.dumps(fields).encode(), content_type=JSON) == expected
    if fields:
        body, content_type = multipart(fields)
        assert read(body=body, content_type=content_type) == expected


@given(st.binary(max_size=200), st.sampled_from([FORM, JSON, "multipart/form-data; boundary=b", ""]))
def test_no_body_is_answered_with_anything_but_parameters_or_a_refusal(body: bytes, content_type: str):
    try:
        found = read(body=body, content_type=content_type)
    except Refusal:
        return
    assert all(isinstance(value, str) for values in found.values() for value in values)
