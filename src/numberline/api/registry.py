"""The register of methods: checks every declaration once, at import, and finds methods by name.

A declaration that contradicts the order or the view it speaks about never gets as far as a request.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, Final

import msgspec
from msgspec import inspect as types

from numberline.api.method import Answer, Effect, Field, Form, Kind, Method, Param, Shape
from numberline.domain import errors
from numberline.domain.access import RoleRule
from numberline.domain.errors import ErrorKind


class BadDeclaration(TypeError):
    """A declaration that contradicts itself, its order or its view."""


class Bound(msgspec.Struct, frozen=True):
    """A parameter joined with what its order's field says: kind, whether it is a list, default for readers."""

    param: Param
    kind: Kind
    many: bool
    default: str | int | bool | None


class _Type(msgspec.Struct, frozen=True):
    kind: Kind
    many: bool = False
    nullable: bool = False
    takes_all: bool = False


_KIND_OF_TYPE: Final[dict[type[types.Type], Kind]] = {
    types.StrType: Kind.TEXT,
    types.IntType: Kind.INTEGER,
    types.BoolType: Kind.BOOLEAN,
    types.DateType: Kind.DATE,
    types.DateTimeType: Kind.TIMESTAMP,
    types.StructType: Kind.OBJECT,
}
_KINDS_OVER: Final[dict[Kind, frozenset[Kind]]] = {
    Kind.TEXT: frozenset({Kind.TEXT, Kind.CHOICE, Kind.CURRENCY}),
    Kind.INTEGER: frozenset({Kind.INTEGER, Kind.NUMBER, Kind.MONEY}),
}
_PARAM_KINDS: Final = frozenset(Kind) - {Kind.MONEY, Kind.CURRENCY, Kind.OBJECT}

# What any request may meet before its use case runs, or because of the machinery around it.
COMMON_REFUSALS: Final[tuple[ErrorKind, ...]] = (
    errors.INTERNAL_ERROR,
    errors.STORE_UNAVAILABLE,
    errors.TRY_LATER,
    errors.AUTHORIZATION_FAILED,
    errors.INVALID_ARGUMENTS,
    errors.FORBIDDEN_COMMAND,
    errors.ACCOUNT_NOT_ACTIVATED,
    errors.INVALID_TOKEN_FORMAT,
    errors.INVALID_TOKEN_TTL,
    errors.TOKEN_ISSUED_IN_FUTURE,
    errors.TOKEN_EXPIRED,
)
_CHANGE_REFUSALS: Final = (errors.COMMIT_UNKNOWN, errors.VALUE_NOT_UNIQUE)
_DEFAULT_REFUSAL: Final[dict[Kind, ErrorKind]] = {
    Kind.DATE: errors.INVALID_DATE_FORMAT,
    Kind.TIMESTAMP: errors.INVALID_DATE_FORMAT,
    Kind.NUMBER: errors.INVALID_NUMBER,
}


class Registry:
    """All methods of one API, each checked, found without regard to case by name or alias."""

    def __init__(self, methods: Iterable[Method]) -> None:
        self.methods: Final = tuple(methods)
        self._by_name: Final[dict[str, Method]] = {}
        for method in self.methods:
            check(method)
            for name in (method.wire, *method.aliases):
                self._enter(name, method)

    def _enter(self, name: str, method: Method) -> None:
        taken = self._by_name.setdefault(name.lower(), method)
        if taken is not method:
            raise BadDeclaration(f"{method.wire}: the name {name} already belongs to {taken.wire}")

    def __iter__(self) -> Iterator[Method]:
        return iter(self.methods)

    def find(self, name: str) -> Method | None:
        """The method of that name or alias, or None."""
        return self._by_name.get(name.lower())


def refusal_of(bound: Bound) -> ErrorKind:
    """The refusal of an ill-formed value of a parameter."""
    return bound.param.refused_as or _DEFAULT_REFUSAL.get(bound.kind, errors.INVALID)


def refusals_of(method: Method) -> dict[ErrorKind, str | None]:
    """Every refusal a method may answer with, and the parameter each speaks about by declaration."""
    found: dict[ErrorKind, str | None] = dict.fromkeys(COMMON_REFUSALS)
    if method.effect is not Effect.READS:
        found |= dict.fromkeys((*_CHANGE_REFUSALS, errors.INVALID))
    found |= _shape_refusals(method)
    found |= dict(method.refusals)
    return found


def _shape_refusals(method: Method) -> dict[ErrorKind, str | None]:
    found: dict[ErrorKind, str | None] = {}
    if method.params:
        found |= dict.fromkeys((errors.INVALID, errors.LENGTH_EXCEEDED))
    if method.together or any(param.required or param.required_unless for param in method.params):
        found[errors.REQUIRED_IS_EMPTY] = None
    if method.exclusive:
        found[errors.ONLY_ONE_OF] = None
    for bound in bind(method):
        found.setdefault(refusal_of(bound), None)
    for span in method.ranges:
        found[span.refused_as] = span.upper
    return found


def bind(method: Method) -> tuple[Bound, ...]:
    """Join each parameter with the field of the order it fills; BadDeclaration where they disagree."""
    fields = {field.name: field for field in _struct(method.order).fields}
    return tuple(_bind(method, param, fields) for param in method.params)


def _bind(method: Method, param: Param, fields: dict[str, types.Field]) -> Bound:
    where = f"{method.wire}.{param.wire}"
    field = fields.get(param.into)
    if field is None:
        raise BadDeclaration(f"{where}: {method.order.__name__} has no field {param.into}")
    held = _read_type(where, field.type)
    kind = param.kind or (Kind.CHOICE if param.choices else held.kind)
    if kind not in _PARAM_KINDS:
        raise BadDeclaration(f"{where}: {kind!r} is not a kind of parameter")
    _check_kind(where, kind, held.kind)
    if (kind is Kind.CHOICE) != bool(param.choices):
        raise BadDeclaration(f"{where}: a choice lists its choices, and only a choice does")
    if param.accepts_all != held.takes_all:
        raise BadDeclaration(f"{where}: accepts_all and the order's field disagree")
    return Bound(param, kind, held.many, _default(param, field))


def _default(param: Param, field: types.Field) -> str | int | bool | None:
    if param.default is not None:
        return param.default
    return field.default if isinstance(field.default, str | int | bool) else None


def check(method: Method) -> None:
    """Check one declaration against its order, views and function; BadDeclaration says what is wrong."""
    if not isinstance(method.roles, RoleRule):
        raise BadDeclaration(f"{method.wire}: no role rule")
    bound = bind(method)
    names = [param.wire for param in method.params]
    _check_once(method.wire, names)
    _check_once(method.wire, [param.into for param in method.params])
    _check_required(method, bound)
    _check_mentions(method, set(names))
    _check_run(method)
    _check_answer(method.wire, method.answer)


def _check_once(where: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise BadDeclaration(f"{where}: {name} is declared twice")


def _check_required(method: Method, bound: tuple[Bound, ...]) -> None:
    required = {each.param.into for each in bound if each.param.required}
    for field in _struct(method.order).fields:
        if field.required and field.name not in required:
            raise BadDeclaration(
                f"{method.wire}: the order needs {field.name}, which no required parameter fills"
            )


def _check_mentions(method: Method, names: set[str]) -> None:
    mentioned = {name for group in (*method.exclusive, *method.together) for name in group}
    mentioned |= {param.required_unless for param in method.params if param.required_unless is not None}
    mentioned |= {name for span in method.ranges for name in (span.lower, span.upper)}
    mentioned |= {name for _, name in method.refusals if name is not None}
    if unknown := mentioned - names:
        raise BadDeclaration(f"{method.wire}: speaks of undeclared parameters {sorted(unknown)}")


def _check_run(method: Method) -> None:
    expected = 2 if method.effect is Effect.READS else 3
    if len(inspect.signature(method.run).parameters) != expected:
        raise BadDeclaration(
            f"{method.wire}: a method that {method.effect.name} is run with {expected} arguments"
        )


def _check_answer(where: str, answer: Answer) -> None:
    if (answer.shape is None) != (answer.form is Form.FLAG):
        raise BadDeclaration(f"{where}: an answer has a shape unless it is a flag")
    if (answer.list_name is None) == (answer.form is Form.DONE):
        raise BadDeclaration(f"{where}: the list beside a done result needs a name, and only it")
    if answer.shape is not None:
        _check_shape(where, answer.shape)
        for field in answer.beside:
            _check_field(where, field, answer.shape.view)


def _check_shape(where: str, shape: Shape) -> None:
    for field in shape.fields:
        _check_field(f"{where}.{shape.name}", field, shape.view)


def _check_field(where: str, field: Field, view: type[Any]) -> None:
    where = f"{where}.{field.wire}"
    if (field.kind is Kind.OBJECT) != (field.shape is not None):
        raise BadDeclaration(f"{where}: an object has a shape, and only an object")
    if field.source is None:
        if not (field.optional or field.always_empty):
            raise BadDeclaration(f"{where}: has no source and is not optional")
        return
    held = _resolve(where, view, field.source)
    _check_kind(where, field.kind, held.kind)
    if held.many != field.many:
        raise BadDeclaration(f"{where}: one of declaration and view says list, the other does not")
    if held.nullable and not field.optional:
        raise BadDeclaration(f"{where}: may be None in the view but is not declared optional")
    if field.shape is not None:
        _check_shape(where, field.shape)


def _check_kind(where: str, kind: Kind, held: Kind) -> None:
    if kind not in _KINDS_OVER.get(held, frozenset({held})):
        raise BadDeclaration(f"{where}: declared as {kind}, but holds {held}")


def _resolve(where: str, view: type[Any], path: str) -> _Type:
    struct = _struct(view)  # type: ignore[arg-type]  # mypy sees no hash in type[Any]
    *parents, last = path.split(".")
    for name in parents:
        inner = _field_type(where, struct, name)
        if not isinstance(inner, types.StructType):
            raise BadDeclaration(f"{where}: {name} is no object in {view.__name__}")
        struct = inner
    return _read_type(where, _field_type(where, struct, last))


def _field_type(where: str, struct: types.StructType, name: str) -> types.Type:
    for field in struct.fields:
        if field.name == name:
            return field.type
    raise BadDeclaration(f"{where}: {struct.cls.__name__} has no field {name}")


@cache
def _struct(cls: type[Any]) -> types.StructType:
    found = types.type_info(cls)
    if not isinstance(found, types.StructType):
        raise BadDeclaration(f"{cls!r} is not a struct")
    return found


def _read_type(where: str, found: types.Type) -> _Type:
    members = found.types if isinstance(found, types.UnionType) else (found,)
    nullable = any(isinstance(member, types.NoneType) for member in members)
    takes_all = any(isinstance(member, types.LiteralType) for member in members)
    plain = [m for m in members if not isinstance(m, types.NoneType | types.LiteralType)]
    if len(plain) != 1:
        raise BadDeclaration(f"{where}: its type is not one plain type")
    many = isinstance(plain[0], types.ListType)
    item = plain[0].item_type if isinstance(plain[0], types.ListType) else plain[0]
    kind = _KIND_OF_TYPE.get(type(item))
    if kind is None:
        raise BadDeclaration(f"{where}: no kind stands for {type(item).__name__}")
    return _Type(kind, many, nullable, takes_all)
