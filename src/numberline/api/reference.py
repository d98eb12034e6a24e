"""The pages for people: the reference and the landing page, derived from the register.

Each is one HTML document that needs no network and no JavaScript, in light and dark, on paper and on a phone.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterable, Iterator
from html import escape
from typing import Final

from numberline import __version__
from numberline.api.method import Effect, Field, Form, Method, Shape
from numberline.api.openapi import is_sent, roles_in_words
from numberline.api.registry import COMMON_REFUSALS, Bound, Registry, bind, refusals_of
from numberline.domain.errors import ErrorKind

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b2430; --soft: #566271; --line: #dfe4ea; --paper: #ffffff;
  --panel: #f5f7f9; --accent: #0b6b57; --accent-soft: #e2f3ee; --warn: #9a3412; --warn-soft: #fdeee4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ef; --soft: #a3afbc; --line: #2c3641; --paper: #12171d;
  --panel: #1a2129; --accent: #5fd0b4; --accent-soft: #16332c; --warn: #f2a477; --warn-soft: #3a2418; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1.5rem; -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; color: var(--ink); background: var(--paper); font: 16px/1.6 system-ui, sans-serif; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: .2em; }
a:hover { text-decoration-thickness: 2px; }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 3px; border-radius: 3px; }
main:focus { outline: none; }
code, pre { font-family: ui-monospace, "SF Mono", SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .875em; }
pre code { font-size: inherit; }
p code, li code, dd code { overflow-wrap: anywhere; }
.skip { position: absolute; left: 1rem; top: -10rem; padding: .5rem 1rem; background: var(--paper); z-index: 1; }
.skip:focus { top: 1rem; }
.frame { display: grid; grid-template-columns: 18.5rem minmax(0, 1fr); max-width: 80rem; margin: 0 auto; }
.side { position: sticky; top: 0; height: 100vh; overflow: auto; padding: 2.5rem 1.5rem;
  border-right: 1px solid var(--line); font-size: .9rem; }
.side .home { font-weight: 700; font-size: 1.05rem; color: var(--ink); }
.side p, .index p { margin: 1.75rem 0 .35rem; font-size: .8rem; font-weight: 600; color: var(--soft); }
.side ul, .index ul, .landing ul { list-style: none; margin: 0; padding: 0; }
.side a { display: block; padding: .2rem 0; text-decoration: none; overflow-wrap: anywhere; }
.side a:hover { text-decoration: underline; }
main { padding: 2.25rem clamp(1.25rem, 5vw, 4rem) 4rem; min-width: 0; }
h1 { font-size: clamp(1.8rem, 5vw, 2.25rem); line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.02em; }
section { padding-top: 3rem; margin-top: 3rem; border-top: 1px solid var(--line); }
section > :not(.index, pre, dl, figure, details) { max-width: 46rem; }
h2 { font-size: clamp(1.2rem, 5vw, 1.5rem); line-height: 1.3; margin: 0; overflow-wrap: anywhere; letter-spacing: -.01em; }
h2 a { color: inherit; text-decoration: none; }
h2 a::after { content: " #"; color: var(--soft); font-weight: 400; opacity: 0; }
h2 a:hover::after, h2 a:focus-visible::after { opacity: 1; }
section:target h2 { box-shadow: -.75rem 0 0 var(--paper), -1rem 0 0 var(--accent); }
h3 { margin: 2.25rem 0 .6rem; font-size: 1.05rem; line-height: 1.4; }
.soft, figcaption, .kind { color: var(--soft); }
.lead { font-size: 1.1rem; margin: .35rem 0 1rem; color: var(--soft); }
.chips { display: flex; flex-wrap: wrap; gap: .4rem; margin: .75rem 0 1.25rem; padding: 0; list-style: none; }
.chips li { padding: .15rem .7rem; border-radius: 1rem; background: var(--panel); border: 1px solid var(--line);
  font-size: .8rem; }
.chips .effect { background: var(--accent-soft); border-color: transparent; color: var(--accent); font-weight: 600; }
.chips .spends { background: var(--warn-soft); color: var(--warn); }
.index li { display: grid; grid-template-columns: 17rem minmax(0, 1fr); gap: 0 1.5rem; padding: .3rem 0; }
.index a { overflow-wrap: anywhere; }
dl { margin: 0; border-top: 1px solid var(--line); }
dl > div { display: grid; grid-template-columns: 17rem minmax(0, 1fr); gap: 0 1.5rem; padding: .6rem 0;
  border-bottom: 1px solid var(--line); font-size: .95rem; }
dt code { font-size: .9rem; font-weight: 600; overflow-wrap: anywhere; }
dt span { display: block; font-size: .8rem; line-height: 1.5; }
dd { margin: 0; overflow-wrap: anywhere; }
.must { color: var(--warn); font-weight: 600; }
figure { margin: 0 0 1rem; }
figcaption { font-size: .8rem; font-weight: 600; margin-bottom: .3rem; }
pre { margin: 0 0 1rem; background: var(--panel); border: 1px solid var(--line); border-radius: 8px;
  padding: .85rem 1rem; line-height: 1.55; white-space: pre-wrap; overflow-wrap: anywhere; }
.whole { user-select: all; -webkit-user-select: all; }
details { margin: 2.25rem 0 0; }
summary { cursor: pointer; width: fit-content; padding: .2rem 0; }
summary h3 { display: inline; }
details[open] summary { margin-bottom: .6rem; }
.up { display: none; margin: 2rem 0 0; font-size: .9rem; }
footer { margin-top: 4rem; padding-top: 1.25rem; border-top: 1px solid var(--line); font-size: .9rem; color: var(--soft); }
.landing { max-width: 52rem; margin: 0 auto; padding-top: clamp(2.5rem, 9vh, 6rem); }
.landing section { padding-top: 2rem; margin-top: 2.25rem; }
.landing h2 { font-size: 1.2rem; margin-bottom: .75rem; }
.doors { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(14rem, 100%), 1fr)); gap: .75rem; }
.landing .doors { margin-top: 1.75rem; }
.doors a { display: block; height: 100%; padding: .9rem 1.1rem; border: 1px solid var(--line); border-radius: 10px;
  text-decoration: none; background: var(--panel); }
.doors a:hover { border-color: var(--accent); }
.doors strong, .doors span { display: block; }
.doors span { font-size: .9rem; color: var(--soft); }
@media (max-width: 64rem) { .frame { display: block; } .side { display: none; } .up { display: block; } }
@media (max-width: 44rem) { dl > div, .index li { grid-template-columns: minmax(0, 1fr); gap: .15rem; }
  .index li { padding: .45rem 0; } section { padding-top: 2.25rem; margin-top: 2.25rem; } dt span { display: inline; }
  pre { font-size: .8em; } dt .must::before { content: "· "; } }
@media print { .side, .skip, .up { display: none; } .frame { display: block; } pre, dl > div { break-inside: avoid; } }
"""

_EFFECTS: Final = {
    Effect.READS: ("effect", "reads"),
    Effect.CHANGES: ("effect", "changes"),
    Effect.SPENDS: ("effect spends", "spends money"),
}
# A name of a method within prose.
_NAME: Final = re.compile(r"[A-Z][A-Za-z]+")
_SETUP: Final = """\
export NUMBERLINE=https://localhost:8443
export CURL_CA_BUNDLE=.numberline/ca.pem
export TOKEN=$(numberline token)"""
_UP: Final = '<p class="up"><a href="#contents">Back to the contents</a></p>'
_CALLING: Final = f"""
<section id="calling"><h2><a href="#calling">Calling</a></h2>
<p>Send <code>POST</code> or <code>GET</code> to <code>/platform_api/<em>Method</em></code>, or to
<code>/platform_api</code> with <code>cmd=<em>Method</em></code>. Parameters go into the query, a form, a multipart
form or a JSON object, in any mix; the body wins over the query, and unknown names are ignored. An empty value is no
value.</p>
<ul><li>A list is written <code>a;b</code>, as a JSON array, or by repeating its name.</li>
<li>A boolean is <code>true</code>, <code>false</code>, <code>1</code> or <code>0</code>, in any case.</li>
<li>A date is <code>YYYY-MM-DD</code>; an instant is <code>YYYY-MM-DD HH:MM:SS</code> in UTC.</li>
<li>Every answer has HTTP status 200; a refusal is
<code>{{"error": {{"code", "msg", "field_name"?}}}}</code>.</li></ul>
<h3>Trying the examples</h3>
<p>The requests on this page run as they stand, once a shell in the server's folder knows its address, its
certificate and a token. A click on a request selects all of it.</p>
<pre class="whole"><code>{_SETUP}</code></pre>
<h3>Who is calling</h3>
<p>Put a token into <code>Authorization: Bearer</code>: a JWT signed with RS256, whose <code>kid</code> names a
service-account key, whose <code>iss</code> is the account to act as (the key's own, or a child of it), and whose
<code>iat</code> and <code>exp</code> are an hour apart at most. Or give <code>api_key</code> with one of
<code>account_id</code>, <code>account_name</code> and <code>account_email</code>.</p>
<h3>Repeating safely</h3>
<p>Methods that change something take an <code>Idempotency-Key</code> header: equal requests under one key have one
effect and one answer.</p>{_UP}</section>
"""


def render_reference(registry: Registry) -> str:
    """The reference page."""
    sections = "".join(_Section(method, registry).render() for method in registry)
    content = (
        f'<div class="frame">{_navigation(registry)}<main id="content" tabindex="-1"><h1>Numberline API</h1>'
        f'<p class="lead">Every method with its parameters, answer and refusals, as version {escape(__version__)}'
        ' serves them. For programs, the same is at <a href="/openapi.json">/openapi.json</a>.</p>'
        f'<section id="contents"><h2><a href="#contents">Contents</a></h2>{_index(registry, before=_GENERAL)}</section>'
        f"{_CALLING}{sections}{_common_refusals()}</main></div>"
    )
    return _page("Numberline API", content)


def render_landing(registry: Registry) -> str:
    """The page at the root: what this server is, how to call it and where to read on."""
    doors = (
        ("/docs", "Reference", f"{len(registry.methods)} methods with parameters, refusals and examples"),
        ("/openapi.json", "OpenAPI", "The same for programs, as JSON"),
    )
    items = "".join(
        f'<li><a href="{address}"><strong>{name}</strong><span>{text}</span></a></li>'
        for address, name, text in doors
    )
    content = (
        '<main class="landing" id="content" tabindex="-1"><h1>Numberline</h1>'
        '<p class="lead">This server provisions phone numbers: it searches its stock, prices numbers, and attaches'
        " them to accounts. Its API is at <code>/platform_api</code>.</p>"
        f'<ul class="doors">{items}</ul>'
        "<section><h2>A first call</h2><p>In the folder of a server started with <code>numberline up</code>:</p>"
        f'<pre class="whole"><code>{escape(_SETUP)}\n\n{escape(_curl("GetAccountInfo", {}))}</code></pre>'
        '<p><a href="/docs#calling">Calling</a> tells how parameters, lists, dates and refusals are written.</p>'
        f"</section><section><h2>Methods</h2>{_index(registry, page='/docs')}</section>"
        '<section><h2>Operations</h2><p><a href="/readyz">/readyz</a> tells whether the server can serve,'
        ' <a href="/healthz">/healthz</a> whether its process is alive, and <a href="/metrics">/metrics</a> is for'
        f" Prometheus.</p></section><footer>Numberline {escape(__version__)}</footer></main>"
    )
    return _page("Numberline", content)


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        f'<a class="skip" href="#content">Skip to the content</a>{content}</body></html>'
    )


# The parts of the reference that are of no method, with what they tell.
_GENERAL: Final = (
    ("calling", "Calling", "How to write a request, who is calling, and how to repeat it safely."),
    ("refusals", "Common refusals", "What any method may answer instead of a result."),
)


def _grouped(registry: Registry) -> dict[str, list[Method]]:
    groups: dict[str, list[Method]] = {}
    for method in registry:
        groups.setdefault(_words(method.group), []).append(method)
    return groups


def _words(group: str) -> str:
    """`PhoneNumbers` as people write it."""
    return re.sub(r"(?<=[a-z])[A-Z]", lambda found: f" {found[0].lower()}", group)


def _navigation(registry: Registry) -> str:
    lists = "".join(
        f"<p>{escape(group)}</p><ul>{''.join(_link(method.wire, method.wire) for method in methods)}</ul>"
        for group, methods in _grouped(registry).items()
    )
    general = "".join(_link(anchor, name) for anchor, name, _ in _GENERAL)
    return (
        '<nav class="side" aria-label="Contents"><a class="home" href="/">Numberline</a>'
        f"<p>General</p><ul>{general}</ul>{lists}</nav>"
    )


def _link(anchor: str, text: str) -> str:
    return f'<li><a href="#{escape(anchor)}">{escape(text)}</a></li>'


def _index(registry: Registry, *, page: str = "", before: Iterable[tuple[str, str, str]] = ()) -> str:
    """All methods with their summaries, linked to their sections on `page`."""
    groups = {"General": list(before)} if before else {}
    for group, methods in _grouped(registry).items():
        groups[group] = [(method.wire, method.wire, method.summary) for method in methods]
    lists = (
        f"<p>{escape(group)}</p><ul>{''.join(_entry(page, *entry) for entry in entries)}</ul>"
        for group, entries in groups.items()
    )
    return f'<div class="index">{"".join(lists)}</div>'


def _entry(page: str, anchor: str, name: str, summary: str) -> str:
    return f'<li><a href="{page}#{escape(anchor)}">{escape(name)}</a><span class="soft">{_prose(summary)}</span></li>'


class _Section:
    """What the reference says of one method."""

    def __init__(self, method: Method, registry: Registry) -> None:
        self._method: Final = method
        self._others: Final = {other.wire for other in registry} - {method.wire}

    def render(self) -> str:
        method, name = self._method, escape(self._method.wire)
        css, effect = _EFFECTS[method.effect]
        notes = f"<p>{self._prose(method.notes)}</p>" if method.notes else ""
        return (
            f'<section id="{name}"><h2><a href="#{name}">{name}</a></h2>'
            f'<p class="lead">{self._prose(method.summary)}</p><ul class="chips"><li class="{css}">{effect}</li>'
            f"<li>roles: {escape(roles_in_words(method.roles))}</li></ul>{notes}"
            f"{self._parameters()}{self._answer()}{self._refusals()}{_example(method)}{_UP}</section>"
        )

    def _prose(self, text: str) -> str:
        """Prose in which the names of other methods lead to them."""

        def lead(found: re.Match[str]) -> str:
            name = found[0]
            return f'<a href="#{name}">{name}</a>' if name in self._others else name

        return _NAME.sub(lead, _prose(text))

    def _parameters(self) -> str:
        rows = [self._parameter(bound) for bound in bind(self._method)]
        if not rows:
            return "<h3>Parameters</h3><p>None.</p>"
        rules = [f"Give at most one of {_codes(group)}." for group in self._method.exclusive]
        rules += [f"Give {_codes(group)} together or not at all." for group in self._method.together]
        return f"<h3>Parameters</h3>{''.join(f'<p>{rule}</p>' for rule in rules)}{_terms(rows)}"

    def _parameter(self, bound: Bound) -> tuple[str, str]:
        param = bound.param
        demand = "required" if param.required else ""
        if param.required_unless:
            demand = f"required without {param.required_unless}"
        extras = [f"One of {_codes(param.choices)}."] if param.choices else []
        if bound.default is not None:
            extras.append(f"Default <code>{escape(_wire_text(bound.default))}</code>.")
        term = _term(param.wire, _kind(str(bound.kind), many=bound.many), demand=demand)
        return term, " ".join([self._prose(param.doc), *extras])

    def _answer(self) -> str:
        answer = self._method.answer
        if answer.shape is None:
            return "<h3>Answer</h3><p><code>result</code> is a boolean.</p>"
        where = {
            Form.OBJECT: "<code>result</code> is an object with:",
            Form.LIST: "<code>result</code> is a list; each item has:",
            Form.PAGE: "<code>result</code> is a page of a list, beside <code>total_count</code> and"
            " <code>count</code>; each item has:",
            Form.DONE: f"<code>result</code> is 1; each item of <code>{escape(answer.list_name or '')}</code> has:",
        }[answer.form]
        beside = [self._member(field, "") for field in answer.beside]
        after = f"<p>Beside <code>result</code> there is:</p>{_terms(beside)}" if beside else ""
        return f"<h3>Answer</h3><p>{where}</p>{_terms(self._members(answer.shape))}{after}"

    def _members(self, shape: Shape, before: str = "") -> Iterator[tuple[str, str]]:
        for field in shape.fields:
            if is_sent(field):
                yield self._member(field, before)
                if field.shape is not None:
                    yield from self._members(field.shape, f"{before}{field.wire}.")

    def _member(self, field: Field, before: str) -> tuple[str, str]:
        kind = _kind(str(field.kind), many=field.many) + (", may be absent" if field.optional else "")
        choices = f" One of {_codes(field.choices)}." if field.choices else ""
        return _term(before + field.wire, kind), self._prose(field.doc) + choices

    def _refusals(self) -> str:
        own = {kind: name for kind, name in refusals_of(self._method).items() if kind not in COMMON_REFUSALS}
        if not own:
            return ""
        rows = [_refusal(kind, name) for kind, name in sorted(own.items(), key=lambda item: item[0].code)]
        return (
            f'<details><summary><h3>Refusals</h3> <span class="soft">({len(rows)})</span></summary>'
            f"{_terms(rows)}</details>"
        )


def _prose(text: str) -> str:
    """Plain sentences, with names between backticks set as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"<code>{escape(name)}</code>" for name in names)


def _terms(rows: Iterable[tuple[str, str]]) -> str:
    """Names with their meanings: side by side, or one above the other where the screen is narrow."""
    return f"<dl>{''.join(f'<div><dt>{term}</dt><dd>{meaning}</dd></div>' for term, meaning in rows)}</dl>"


def _term(name: str, kind: str, *, demand: str = "") -> str:
    must = f' <span class="must">{escape(demand)}</span>' if demand else ""
    return f'<code>{escape(name)}</code> <span class="kind">{escape(kind)}</span>{must}'


def _kind(kind: str, *, many: bool) -> str:
    return f"list of {kind}s" if many else kind


def _wire_text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _refusal(kind: ErrorKind, name: str | None) -> tuple[str, str]:
    about = f"{kind.code}, on {name}" if name else str(kind.code)
    return _term(kind.name, about), escape(kind.sentence)


def _common_refusals() -> str:
    rows = [_refusal(kind, None) for kind in sorted(COMMON_REFUSALS, key=lambda kind: kind.code)]
    return (
        '<section id="refusals"><h2><a href="#refusals">Common refusals</a></h2>'
        f"<p>Any method may answer these.</p>{_terms(rows)}{_UP}</section>"
    )


def _example(method: Method) -> str:
    request = _curl(method.wire, dict(method.example.request))
    answer = json.dumps(dict(method.example.answer), indent=2, ensure_ascii=False)
    return (
        "<h3>Example</h3>"
        f'<figure><figcaption>Request</figcaption><pre class="whole"><code>{escape(request)}</code></pre></figure>'
        f"<figure><figcaption>Answer</figcaption><pre><code>{escape(answer)}</code></pre></figure>"
    )


def _curl(wire: str, parameters: dict[str, str]) -> str:
    """A call as a shell command, in the words of `_SETUP`."""
    lines = [f'curl "$NUMBERLINE/platform_api/{wire}"', '-H "Authorization: Bearer $TOKEN"']
    lines += [f"--data-urlencode {shlex.quote(f'{name}={value}')}" for name, value in parameters.items()]
    return " \\\n  ".join(lines)
