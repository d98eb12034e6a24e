"""The reference page: one HTML document, derived from the register, that needs no network and no JavaScript."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from html import escape
from typing import Final
from urllib.parse import urlencode

from numberline import __version__
from numberline.api.method import Effect, Field, Form, Method, Shape
from numberline.api.openapi import is_sent, roles_in_words
from numberline.api.registry import COMMON_REFUSALS, Bound, Registry, bind, refusals_of
from numberline.domain.errors import ErrorKind

STYLE: Final = """
:root { color-scheme: light dark; --ink: #1b2430; --soft: #5a6675; --line: #dfe4ea; --paper: #ffffff;
  --panel: #f5f7f9; --accent: #0b6b57; --accent-soft: #e2f3ee; --warn: #9a3412; --warn-soft: #fdeee4; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e9ef; --soft: #9aa7b5; --line: #2a333d; --paper: #12171d;
  --panel: #1a2129; --accent: #5fd0b4; --accent-soft: #16332c; --warn: #f2a477; --warn-soft: #3a2418; } }
* { box-sizing: border-box; }
html { scroll-padding-top: 1rem; }
body { margin: 0; color: var(--ink); background: var(--paper); font: 16px/1.6 system-ui, sans-serif; }
a { color: var(--accent); text-underline-offset: .2em; }
a:focus-visible, summary:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; border-radius: 4px; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .875em; }
.frame { display: grid; grid-template-columns: 18rem minmax(0, 1fr); max-width: 84rem; margin: 0 auto; }
nav { position: sticky; top: 0; align-self: start; max-height: 100vh; overflow: auto; padding: 2rem 1.5rem;
  border-right: 1px solid var(--line); }
nav h2 { margin: 1.5rem 0 .25rem; font-size: .75rem; letter-spacing: .08em; text-transform: uppercase; color: var(--soft); }
nav ul { list-style: none; margin: 0; padding: 0; }
nav a { display: block; padding: .15rem 0; text-decoration: none; font-size: .9rem; overflow-wrap: anywhere; }
main { padding: 2rem clamp(1rem, 4vw, 3.5rem) 6rem; min-width: 0; }
h1 { font-size: 2.1rem; line-height: 1.2; margin: 0 0 .5rem; letter-spacing: -.02em; }
section { padding-top: 2.5rem; margin-top: 2.5rem; border-top: 1px solid var(--line); }
section h2 { font-size: 1.5rem; line-height: 1.3; margin: 0; overflow-wrap: anywhere; }
section h2 a { color: inherit; text-decoration: none; }
h3 { margin: 1.75rem 0 .5rem; font-size: 1rem; }
.lead, .soft { color: var(--soft); }
.lead { font-size: 1.1rem; margin: .25rem 0 1rem; }
.chips { display: flex; flex-wrap: wrap; gap: .4rem; margin: .75rem 0; padding: 0; list-style: none; }
.chips li { padding: .1rem .6rem; border-radius: 1rem; background: var(--panel); border: 1px solid var(--line);
  font-size: .8rem; }
.chips .effect { background: var(--accent-soft); border-color: transparent; color: var(--accent); font-weight: 600; }
.chips .spends { background: var(--warn-soft); color: var(--warn); }
.scroll { overflow-x: auto; }
table { width: 100%; border-collapse: collapse; font-size: .92rem; }
th, td { text-align: left; vertical-align: top; padding: .5rem .75rem .5rem 0; border-bottom: 1px solid var(--line); }
th { font-size: .75rem; letter-spacing: .05em; text-transform: uppercase; color: var(--soft); }
td:first-child { white-space: nowrap; }
.must { color: var(--warn); font-size: .8rem; font-weight: 600; }
pre { background: var(--panel); border: 1px solid var(--line); border-radius: 8px; padding: 1rem; overflow-x: auto;
  white-space: pre-wrap; overflow-wrap: anywhere; }
details { margin: 1rem 0; }
summary { cursor: pointer; font-weight: 600; }
.landing { max-width: 44rem; margin: 12vh auto; padding: 0 1.5rem; }
.landing ul { padding: 0; list-style: none; border-top: 1px solid var(--line); }
.landing li { padding: .75rem 0; border-bottom: 1px solid var(--line); }
@media (max-width: 60rem) { .frame { grid-template-columns: minmax(0, 1fr); }
  nav { position: static; max-height: none; border-right: 0; border-bottom: 1px solid var(--line); } }
@media print { nav { display: none; } .frame { display: block; } }
"""

_EFFECTS: Final = {
    Effect.READS: ("effect", "reads"),
    Effect.CHANGES: ("effect", "changes"),
    Effect.SPENDS: ("effect spends", "spends money"),
}
_CALLING: Final = """
<section id="calling"><h2>Calling</h2>
<p>Send <code>POST</code> or <code>GET</code> to <code>/platform_api/<em>Method</em></code>, or to
<code>/platform_api</code> with <code>cmd=<em>Method</em></code>. Parameters go into the query, a form, a multipart
form or a JSON object, in any mix; the body wins over the query, and unknown names are ignored. An empty value is no
value.</p>
<ul><li>A list is written <code>a;b</code>, as a JSON array, or by repeating its name.</li>
<li>A boolean is <code>true</code>, <code>false</code>, <code>1</code> or <code>0</code>, in any case.</li>
<li>A date is <code>YYYY-MM-DD</code>; an instant is <code>YYYY-MM-DD HH:MM:SS</code> in UTC.</li>
<li>Every answer has HTTP status 200; a refusal is <code>{"error": {"code", "msg", "field_name"?}}</code>.</li></ul>
<h3>Who is calling</h3>
<p>Put a token into <code>Authorization: Bearer</code>: a JWT signed with RS256, whose <code>kid</code> names a
service-account key, whose <code>iss</code> is the account to act as (the key's own, or a child of it), and whose
<code>iat</code> and <code>exp</code> are an hour apart at most. Or give <code>api_key</code> with one of
<code>account_id</code>, <code>account_name</code> and <code>account_email</code>.</p>
<h3>Repeating safely</h3>
<p>Methods that change something take an <code>Idempotency-Key</code> header: equal requests under one key have one
effect and one answer.</p></section>
"""


def render_reference(registry: Registry) -> str:
    """The reference page."""
    sections = "".join(_section(method) for method in registry)
    content = (
        f'<div class="frame">{_navigation(registry)}<main id="top"><h1>Numberline API</h1>'
        f'<p class="lead">Every method, its parameters, answers and refusals. Version {escape(__version__)};'
        ' the same as <a href="/openapi.json">OpenAPI</a>.</p>'
        f"{_CALLING}{sections}{_common_refusals()}</main></div>"
    )
    return _page("Numberline API", content)


def render_landing(registry: Registry) -> str:
    """The page at the root: what this server is and where to go."""
    count = len(registry.methods)
    links = (
        ("/docs", "Reference", f"{count} methods, with parameters, refusals and examples"),
        ("/openapi.json", "OpenAPI", "the same for programs"),
        ("/healthz", "Health", "is the process alive"),
        ("/readyz", "Readiness", "can it serve"),
        ("/metrics", "Metrics", "for Prometheus"),
    )
    items = "".join(
        f'<li><a href="{address}">{name}</a> <span class="soft">{text}</span></li>'
        for address, name, text in links
    )
    return _page(
        "Numberline",
        f'<main class="landing"><h1>Numberline</h1><p class="lead">Phone-number provisioning at'
        f" <code>/platform_api</code>. Version {escape(__version__)}.</p><ul>{items}</ul></main>",
    )


def _page(title: str, content: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>{content}</body></html>"
    )


def _navigation(registry: Registry) -> str:
    groups: dict[str, list[str]] = {}
    for method in registry:
        groups.setdefault(method.group, []).append(method.wire)
    lists = "".join(
        f"<h2>{escape(group)}</h2><ul>{''.join(_link(name) for name in names)}</ul>"
        for group, names in groups.items()
    )
    start = '<ul><li><a href="#calling">Calling</a></li><li><a href="#refusals">Common refusals</a></li></ul>'
    return f'<nav aria-label="Methods"><strong>Numberline</strong>{start}{lists}</nav>'


def _link(name: str) -> str:
    return f'<li><a href="#{escape(name)}">{escape(name)}</a></li>'


def _section(method: Method) -> str:
    name, (css, effect) = escape(method.wire), _EFFECTS[method.effect]
    notes = f"<p>{_prose(method.notes)}</p>" if method.notes else ""
    return (
        f'<section id="{name}"><h2><a href="#{name}">{name}</a></h2><p class="lead">{_prose(method.summary)}</p>'
        f'<ul class="chips"><li class="{css}">{effect}</li><li>roles: {escape(roles_in_words(method.roles))}</li></ul>'
        f"{notes}{_parameters(method)}{_answer(method)}{_refusals(method)}{_example(method)}</section>"
    )


def _prose(text: str) -> str:
    """Plain sentences, with names between backticks set as code."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f'<th scope="col">{each}</th>' for each in heads)
    body = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'


def _parameters(method: Method) -> str:
    rows = [_parameter(bound) for bound in bind(method)]
    if not rows:
        return "<h3>Parameters</h3><p>None.</p>"
    rules = [f"Give at most one of {_codes(group)}." for group in method.exclusive]
    rules += [f"Give {_codes(group)} together or not at all." for group in method.together]
    return (
        "<h3>Parameters</h3>"
        + _table(("Name", "Type", "Meaning"), rows)
        + "".join(f"<p>{rule}</p>" for rule in rules)
    )


def _codes(names: Iterable[str]) -> str:
    return ", ".join(f"<code>{escape(name)}</code>" for name in names)


def _parameter(bound: Bound) -> tuple[str, str, str]:
    param = bound.param
    demand = ' <span class="must">required</span>' if param.required else ""
    if param.required_unless:
        demand = f' <span class="must">required without {escape(param.required_unless)}</span>'
    kind = f"list of {bound.kind}s" if bound.many else str(bound.kind)
    extras = [f"One of {_codes(param.choices)}."] if param.choices else []
    if bound.default is not None:
        extras.append(f"Default <code>{escape(_wire_text(bound.default))}</code>.")
    return f"<code>{escape(param.wire)}</code>{demand}", kind, " ".join([_prose(param.doc), *extras])


def _wire_text(value: str | int | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _answer(method: Method) -> str:
    answer = method.answer
    if answer.shape is None:
        return "<h3>Answer</h3><p><code>result</code> is a boolean.</p>"
    where = {
        Form.OBJECT: "<code>result</code> is an object with",
        Form.LIST: "<code>result</code> is a list; each item has",
        Form.PAGE: "<code>result</code> is a page of a list, beside <code>total_count</code> and <code>count</code>;"
        " each item has",
        Form.DONE: f"<code>result</code> is 1; each item of <code>{escape(answer.list_name or '')}</code> has",
    }[answer.form]
    rows = [*_members(answer.shape)]
    rows += [
        (f"<code>{escape(field.wire)}</code>", str(field.kind), _prose(field.doc)) for field in answer.beside
    ]
    return f"<h3>Answer</h3><p>{where}:</p>" + _table(("Name", "Type", "Meaning"), rows)


def _members(shape: Shape, before: str = "") -> Iterator[tuple[str, str, str]]:
    for field in shape.fields:
        if is_sent(field):
            yield _member(field, before)
            if field.shape is not None:
                yield from _members(field.shape, f"{before}{field.wire}.")


def _member(field: Field, before: str) -> tuple[str, str, str]:
    kind = f"list of {field.kind}s" if field.many else str(field.kind)
    rare = " May be absent." if field.optional else ""
    return f"<code>{escape(before + field.wire)}</code>", kind, _prose(field.doc) + rare


def _refusals(method: Method) -> str:
    own = {kind: name for kind, name in refusals_of(method).items() if kind not in COMMON_REFUSALS}
    rows = [_refusal(kind, name) for kind, name in sorted(own.items(), key=lambda item: item[0].code)]
    return (
        f"<details><summary>Refusals ({len(rows)})</summary>{_refusal_table(rows)}</details>" if rows else ""
    )


def _refusal(kind: ErrorKind, name: str | None) -> tuple[str, str, str]:
    about = f" <span class='soft'>on <code>{escape(name)}</code></span>" if name else ""
    return str(kind.code), f"<code>{escape(kind.name)}</code>{about}", escape(kind.sentence)


def _refusal_table(rows: list[tuple[str, str, str]]) -> str:
    return _table(("Code", "Name", "Sentence"), rows)


def _common_refusals() -> str:
    rows = [_refusal(kind, None) for kind in sorted(COMMON_REFUSALS, key=lambda kind: kind.code)]
    return f'<section id="refusals"><h2>Common refusals</h2><p>Any method may answer these.</p>{_refusal_table(rows)}</section>'


def _example(method: Method) -> str:
    query = urlencode(dict(method.example.request))
    line = f"POST /platform_api/{method.wire}{'?' + query if query else ''}\nAuthorization: Bearer …"
    answer = json.dumps(dict(method.example.answer), indent=2, ensure_ascii=False)
    return f"<h3>Example</h3><pre>{escape(line)}</pre><pre>{escape(answer)}</pre>"
