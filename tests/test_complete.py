"""Nothing is half there: every method has its tests, example, words, roles and refusals, every refusal a use.

And wire names stay in the declarations: a telltale name elsewhere in the source means that the wire leaks inward.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import Any, Final

import jsonschema
import pytest

from numberline.api.method import Effect, Field, Method, Shape
from numberline.api.methods import REGISTRY
from numberline.api.openapi import build_openapi
from numberline.api.params import OrderParser
from numberline.api.reference import render_reference
from numberline.api.registry import refusals_of
from numberline.domain import errors
from numberline.domain.access import RoleRule
from numberline.domain.errors import ErrorKind, Refusal

ROOT: Final = Path(__file__).parent.parent
SOURCE: Final = ROOT / "src" / "numberline"
DOCUMENT: Final = build_openapi(REGISTRY)
KINDS: Final = {name: value for name, value in vars(errors).items() if isinstance(value, ErrorKind)}
_SENTENCE_VALUE: Final = re.compile(r"\{(\w+)\}")

each_method: Final = pytest.mark.parametrize("method", REGISTRY.methods, ids=lambda method: method.wire)


# --- Methods ---------------------------------------------------------------------------------------------------------


@each_method
def test_a_method_has_a_contract_test(method: Method) -> None:
    tests = [each for each in (ROOT / "tests" / "contract").rglob("test_*.py") if _own(each)]
    snake = re.sub(r"(?<!^)(?=[A-Z])", "_", method.wire).lower()
    named = [each for each in tests if snake in each.stem]
    mentioned = [each for each in tests if re.search(rf"\b{method.wire}\b", each.read_text())]
    assert named or mentioned, f"no test in tests/contract speaks of {method.wire}"


def _own(path: Path) -> bool:
    """Suites that walk the register mention methods without being about one."""
    return path.name not in ("test_schemathesis.py", "test_declared_strategies.py")


@each_method
def test_a_method_has_words(method: Method) -> None:
    assert method.summary.endswith(".")
    assert method.group
    assert not method.notes or method.notes.endswith(".")
    for param in method.params:
        assert param.doc.endswith("."), param.wire
    for field in _fields(method):
        assert field.doc.endswith("."), field.wire
    # The page lets long names break.
    page = render_reference(REGISTRY).replace("<wbr>", "")
    assert method.wire in page
    assert all(param.wire in page for param in method.params)
    assert DOCUMENT["paths"][f"/{method.wire}"]["post"]["summary"] == method.summary


def _fields(method: Method) -> list[Field]:
    def inside(shape: Shape | None) -> list[Field]:
        fields = list(shape.fields) if shape else []
        return fields + [inner for field in fields for inner in inside(field.shape)]

    return inside(method.answer.shape) + list(method.answer.beside)


@each_method
def test_a_methods_example_is_one_that_works(method: Method) -> None:
    raw = {name: [value] for name, value in method.example.request.items()}
    assert isinstance(OrderParser(method).parse(raw), method.order)
    assert raw.keys() <= {param.wire for param in method.params}
    media = DOCUMENT["paths"][f"/{method.wire}"]["post"]["responses"]["200"]["content"]["application/json"]
    answer: dict[str, Any] = dict(method.example.answer)
    jsonschema.Draft202012Validator(media["schema"] | {"components": DOCUMENT["components"]}).validate(answer)
    assert "result" in answer
    known = {field.wire for field in _fields(method)} | {
        "result",
        "total_count",
        "count",
        method.answer.list_name,
    }
    assert set(_names(answer)) <= known


def _names(value: Any) -> list[str]:
    if isinstance(value, list):
        return [name for each in value for name in _names(each)]
    if not isinstance(value, dict):
        return []
    return [*value, *(name for each in value.values() for name in _names(each))]


@each_method
def test_a_method_has_roles_and_refusals(method: Method) -> None:
    assert isinstance(method.roles, RoleRule)
    found = refusals_of(method)
    wires = {param.wire for param in method.params}
    for kind, field in found.items():
        assert 0 < kind.code < 1_000, kind
        assert kind.name == kind.name.upper()
        assert field is None or field in wires, (kind, field)
        values: dict[str, Any] = dict.fromkeys(_SENTENCE_VALUE.findall(kind.sentence), "x")
        sentence = Refusal(kind, **values).sentence
        assert "{" not in sentence
    assert errors.FORBIDDEN_COMMAND in found
    assert (errors.COMMIT_UNKNOWN in found) == (method.effect is not Effect.READS)
    written = DOCUMENT["paths"][f"/{method.wire}"]["post"]["x-refusals"]
    assert {(each["code"], each["name"]) for each in written} == {(kind.code, kind.name) for kind in found}


def test_names_are_unique_without_regard_to_case() -> None:
    names = [name.lower() for method in REGISTRY for name in (method.wire, *method.aliases)]
    assert len(names) == len(set(names))


# --- The error table -------------------------------------------------------------------------------------------------


def test_every_kind_of_error_is_used_and_declared() -> None:
    """A kind nobody raises is a promise without a door; one nobody declares would be an undeclared refusal."""
    sources = {path: path.read_text() for path in SOURCE.rglob("*.py") if path.name != "errors.py"}
    unused = {name for name in KINDS if not any(re.search(rf"\b{name}\b", text) for text in sources.values())}
    assert unused == set()
    declared = {kind for method in REGISTRY for kind in refusals_of(method)}
    undeclared = {name for name, kind in KINDS.items() if kind not in declared}
    # Answered before it is known which method is called.
    assert undeclared == {"MISSING_CMD", "UNKNOWN_COMMAND"}


def test_every_declared_refusal_can_be_raised() -> None:
    """A refusal that only declarations mention is never answered: it would mislead every reader of the reference."""
    raised = "\n".join(
        path.read_text()
        for path in SOURCE.rglob("*.py")
        if "methods" not in path.parts and path.name != "errors.py"
    )
    own = {param.refused_as for method in REGISTRY for param in method.params}
    own |= {span.refused_as for method in REGISTRY for span in method.ranges}
    silent = {
        name for name, kind in KINDS.items() if kind not in own and not re.search(rf"\b{name}\b", raised)
    }
    assert silent == set()


def test_every_kind_has_a_code_a_name_and_a_sentence() -> None:
    assert len(KINDS) > 30
    for name, kind in KINDS.items():
        assert 0 < kind.code < 1_000, name
        assert re.fullmatch(r"[A-Z][A-Z0-9_]+", kind.name), name
        assert kind.sentence[0].isupper(), name
        assert kind.sentence.endswith((".", "}")), name
    by_code: dict[int, set[str]] = {}
    for kind in KINDS.values():
        by_code.setdefault(kind.code, set()).add(kind.name)
    assert all(len(names) == 1 for names in by_code.values()), "one code, one name"


# --- Names of the wire -----------------------------------------------------------------------------------------------

# Names that mean nothing but the wire; `count` or `country_code` are words of the store and of files too.
TELLTALES: Final = (
    "phone_region_id",
    "phone_category_name",
    "phone_number_mask",
    "phone_purchase_date",
    "phone_next_renewal",
    "child_account_id",
    "children_phones_only",
    "country_state",
    "is_bound_to_application",
    "phone_installation_price",
    "account_installation_price",
    "total_count",
    "unverified_hold_until",
    "AttachPhoneNumber",
    "GetPhoneNumberRegions",
)
# Where a name of the wire may stand, and why.
_EXEMPT: Final = {
    "api/methods": "the declarations",
    "api/auth.py": "credentials in parameters belong to no method",
    "api/render.py": "the layout of a page",
    "api/openapi.py": "the layout of a page",
    "api/reference.py": "words for readers",
    "domain/errors.py": "sentences for readers",
    "doors/cli": "calls a user would make, printed or made for them",
    "doors/console": "calls a user would make",
}


def test_wire_names_occur_in_the_declarations_only() -> None:
    found = []
    for path in SOURCE.rglob("*.py"):
        place = path.relative_to(SOURCE).as_posix()
        if not place.startswith(tuple(_EXEMPT)):
            found += [f"{place}: {name}" for name in sorted(_wire_names(path.read_text()))]
    assert found == []


def test_every_telltale_is_a_name_of_the_wire() -> None:
    declared = "\n".join(path.read_text() for path in (SOURCE / "api" / "methods").rglob("*.py"))
    assert {name for name in TELLTALES if name not in declared} == set()


def _wire_names(source: str) -> set[str]:
    """The telltales in a file's code; what its docstrings and comments say to readers does not count."""
    prose = _docstring_lines(ast.parse(source))
    found: set[str] = set()
    for each in tokenize.generate_tokens(io.StringIO(source).readline):
        if each.type in (tokenize.NAME, tokenize.STRING) and each.start[0] not in prose:
            found |= {name for name in TELLTALES if re.search(rf"\b{name}\b", each.string)}
    return found


def _docstring_lines(tree: ast.AST) -> set[int]:
    lines: set[int] = set()
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)):
            continue
        if isinstance(node.value.value, str):
            lines |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    return lines


def test_the_scan_bites() -> None:
    assert _wire_names("x = {'phone_region_id': 1}") == {"phone_region_id"}
    assert _wire_names("def f(country_state): ...") == {"country_state"}
    assert _wire_names('"""Speaks of country_state."""\nx = 1  # country_state\n') == set()
