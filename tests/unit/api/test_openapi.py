"""The derived documents: valid OpenAPI with the contract's facts, and a reference page that holds everything."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from numberline.api.method import Method
from numberline.api.methods import REGISTRY
from numberline.api.openapi import build_openapi
from numberline.api.reference import render_landing, render_reference

DOCUMENT = build_openapi(REGISTRY)


def parameters_of(name: str) -> dict[str, dict[str, Any]]:
    listed = DOCUMENT["paths"][f"/{name}"]["post"]["parameters"]
    return {each["name"]: each for each in listed if each["in"] == "query"}


def schema_of(name: str) -> dict[str, Any]:
    response = DOCUMENT["paths"][f"/{name}"]["post"]["responses"]["200"]
    schema: dict[str, Any] = response["content"]["application/json"]["schema"]
    return {**schema, "components": DOCUMENT["components"]}


def test_the_document_is_valid():
    validate(DOCUMENT)


def test_attaching_has_the_parameters_of_the_contract():
    found = parameters_of("AttachPhoneNumber")
    assert {name: each["schema"]["type"] for name, each in found.items()} == {
        "country_code": "string",
        "phone_category_name": "string",
        "phone_region_id": "integer",
        "phone_count": "integer",
        "phone_number": "array",
        "country_state": "string",
        "regulation_address_id": "integer",
        "force_verification": "boolean",
    }
    assert {name for name, each in found.items() if each["required"]} == {
        "country_code",
        "phone_category_name",
        "phone_region_id",
    }
    assert found["phone_number"]["schema"]["items"]["type"] == "string"
    assert found["phone_region_id"]["example"] == 101
    # A tool that sends every default and example must not send two that exclude each other.
    assert "default" not in found["phone_count"]["schema"]
    assert [name in found for name in ("phone_count", "phone_number")] == [True, True]
    assert ["example" in found[name] for name in ("phone_count", "phone_number")] == [False, True]


def test_changing_methods_take_an_idempotency_key():
    names = [each["name"] for each in DOCUMENT["paths"]["/AttachPhoneNumber"]["post"]["parameters"]]
    assert "Idempotency-Key" in names
    assert "Idempotency-Key" not in str(DOCUMENT["paths"]["/GetPhoneNumbers"])


@pytest.mark.parametrize("method", list(REGISTRY), ids=lambda method: method.wire)
def test_examples_and_errors_fit_their_schema(method: Method):
    validator = Draft202012Validator(schema_of(method.wire))
    validator.validate(dict(method.example.answer))
    validator.validate({"error": {"code": 182, "msg": "Taken.", "field_name": "phone_number"}})
    assert not validator.is_valid({"error": {"code": 182}})
    assert not validator.is_valid({})


class Page(HTMLParser):
    """Collects ids, links and tags that would fetch or run something."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self.fetching: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in ("meta", "br"):
            self.open.append(tag)
        self.ids |= {given["id"]} if given.get("id") else set()  # type: ignore[arg-type]
        self.links |= {given["href"]} if given.get("href") else set()  # type: ignore[arg-type]
        if tag in ("script", "link", "img", "iframe") or "style" in given or "src" in given:
            self.fetching.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.mark.parametrize(
    "text", [render_reference(REGISTRY), render_landing(REGISTRY)], ids=["reference", "landing"]
)
def test_pages_are_whole_and_fetch_nothing(text: str):
    page = Page()
    page.feed(text)
    assert page.open == []
    assert page.fetching == []
    assert {link[1:] for link in page.links if link.startswith("#")} <= page.ids
    assert all(link.startswith(("#", "/")) for link in page.links)


def test_the_reference_names_everything():
    text = render_reference(REGISTRY)
    for method in REGISTRY:
        assert f'id="{method.wire}"' in text
        assert all(f"<code>{param.wire}</code>" in text for param in method.params)
