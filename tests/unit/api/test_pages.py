"""The pages for people, read as a browser and a screen reader would: structure, links and what they may load."""

from __future__ import annotations

import asyncio
import re
from html.parser import HTMLParser
from itertools import pairwise

import httpx
import pytest

from numberline.api.methods import REGISTRY
from numberline.doors.http.app import create_app
from tests.unit.api.fakes import FakeServices

PATHS = ("/", "/docs")
# Elements that stand alone, without an end tag.
VOID = {"meta", "wbr", "br", "hr", "img", "input", "link"}
LOADS = {"src", "srcset", "poster", "data", "action", "background", "style"}


class Page(HTMLParser):
    """One page, taken apart."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.headings: list[tuple[int, str]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.samples: list[str] = []
        self.title = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.elements.append((tag, given))
        if given.get("id"):
            self.ids.append(given["id"] or "")
        if tag == "a":
            self.links.append(given["href"] or "")
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append((int(tag[1]), ""))
        if tag == "pre":
            self.samples.append("")
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "pre" in self.open:
            self.samples[-1] += data
        if "title" in self.open:
            self.title += data
        if self.headings and re.fullmatch(r"h[1-6]|a", self.open[-1]) and {"h1", "h2", "h3"} & {*self.open}:
            level, text = self.headings[-1]
            self.headings[-1] = level, text + data

    def attributes_of(self, tag: str) -> list[dict[str, str | None]]:
        return [given for name, given in self.elements if name == tag]


def read_pages() -> dict[str, Page]:
    app = create_app(FakeServices(), None, REGISTRY)  # type: ignore[arg-type]

    async def read() -> dict[str, Page]:
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://numberline.invalid"
        ) as client:
            answers = {path: await client.get(path) for path in PATHS}
        assert {answer.headers["content-type"] for answer in answers.values()} == {"text/html; charset=utf-8"}
        return {path: Page(answer.text) for path, answer in answers.items()}

    return asyncio.run(read())


PAGES = read_pages()


@pytest.fixture(params=PATHS)
def page(request: pytest.FixtureRequest) -> Page:
    return PAGES[request.param]


def test_every_element_is_closed(page: Page):
    assert page.open == []


def test_a_page_names_its_language_and_itself(page: Page):
    assert page.attributes_of("html") == [{"lang": "en"}]
    assert page.title
    assert any(given.get("name") == "viewport" for given in page.attributes_of("meta"))


def test_ids_are_unique(page: Page):
    assert sorted(page.ids) == sorted(set(page.ids))


def test_links_lead_somewhere(page: Page):
    known = {"/", "/docs", "/openapi.json", "/healthz", "/readyz", "/metrics"}
    for link in page.links:
        path, _, anchor = link.partition("#")
        assert not path or path in known, link
        target = PAGES.get(path, page)
        assert not anchor or anchor in target.ids, link


def test_headings_descend_one_step_at_a_time(page: Page):
    levels = [level for level, _ in page.headings]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert all(text.strip() for _, text in page.headings)


def test_the_first_link_skips_to_the_content(page: Page):
    assert len(page.attributes_of("main")) == 1
    assert page.links[0] == "#" + str(page.attributes_of("main")[0]["id"])
    # Without a tabindex some browsers scroll there and leave the focus behind.
    assert page.attributes_of("main")[0]["tabindex"] == "-1"


def test_a_page_loads_nothing(page: Page):
    assert not {tag for tag, _ in page.elements} & {"script", "link", "img", "iframe", "object", "form"}
    for tag, given in page.elements:
        assert not LOADS & given.keys(), tag
        assert not [name for name in given if name.startswith("on")], tag


@pytest.mark.parametrize("method", [method.wire for method in REGISTRY])
def test_a_method_has_its_section_and_is_linked_from_both_pages(method: str):
    assert (2, method) in PAGES["/docs"].headings
    assert "#" + method in PAGES["/docs"].links
    assert "/docs#" + method in PAGES["/"].links
    assert any(f"/platform_api/{method}" in sample for sample in PAGES["/docs"].samples)


def test_navigations_have_names():
    assert [given.get("aria-label") for given in PAGES["/docs"].attributes_of("nav")] == ["Contents"]
