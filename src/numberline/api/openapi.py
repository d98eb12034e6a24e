"""The OpenAPI 3.1 document, derived from the register of methods.

It describes the path style with parameters in the query; every method takes them in a body too. Lists are written
as repeated keys, the one spelling that OpenAPI and the API share; `a;b` means the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from numberline import __version__
from numberline.api.dispatch import IDEMPOTENCY_HEADER
from numberline.api.method import Answer, Effect, Field, Form, Kind, Method, Shape
from numberline.api.registry import Bound, Registry, bind, refusals_of
from numberline.domain import limits
from numberline.domain.access import RoleRule

Schema = dict[str, Any]

_TIMESTAMP_PATTERN: Final = r"^\d{4}-\d{2}-\d{2}( \d{2}:\d{2}:\d{2})?$"
_INTEGER_MAX: Final = 2**53 - 1
_OF_KIND: Final[dict[Kind, Schema]] = {
    Kind.TEXT: {"type": "string"},
    Kind.CHOICE: {"type": "string"},
    Kind.CURRENCY: {"type": "string", "pattern": "^[A-Z]{3}$"},
    Kind.INTEGER: {"type": "integer"},
    Kind.BOOLEAN: {"type": "boolean"},
    Kind.DATE: {"type": "string", "format": "date"},
    Kind.TIMESTAMP: {"type": "string", "pattern": _TIMESTAMP_PATTERN},
    Kind.NUMBER: {"type": "string", "pattern": r"^\+?[1-9][0-9]{3,14}$"},
    Kind.MONEY: {"type": "number"},
}
_ERROR: Final[Schema] = {
    "type": "object",
    "description": "A refusal. Its HTTP status is 200 like that of any answer.",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "msg"],
            "additionalProperties": False,
            "properties": {
                "code": {"type": "integer", "description": "What was refused; see the list of the method."},
                "msg": {"type": "string", "description": "The same in a sentence."},
                "field_name": {"type": "string", "description": "The parameter at fault, if it is one."},
                "details": {
                    "type": "object",
                    "description": "What a program may want to know of the refusal.",
                    "properties": {
                        "verification_name": {
                            "type": "string",
                            "description": "The verification that is missing.",
                        }
                    },
                },
            },
        }
    },
}
_SECURITY_SCHEMES: Final[Schema] = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": (
            "A token signed with RS256 by a service-account key: `kid` names the key, `iss` the account to act as,"
            " `iat` and `exp` lie one hour apart at most."
        ),
    },
    "accountId": {"type": "apiKey", "in": "query", "name": "account_id", "description": "The account's id."},
    "accountName": {
        "type": "apiKey",
        "in": "query",
        "name": "account_name",
        "description": "The account's name.",
    },
    "accountEmail": {
        "type": "apiKey",
        "in": "query",
        "name": "account_email",
        "description": "The account's e-mail.",
    },
    "apiKey": {"type": "apiKey", "in": "query", "name": "api_key", "description": "The account's API key."},
}
_SECURITY: Final[list[dict[str, list[str]]]] = [
    {"bearer": []},
    {"accountId": [], "apiKey": []},
    {"accountName": [], "apiKey": []},
    {"accountEmail": [], "apiKey": []},
]


def build_openapi(registry: Registry) -> Schema:
    """The whole document, as plain values ready to be written as JSON."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Numberline",
            "version": __version__,
            "summary": "Phone-number provisioning over the wire API of Voximplant's Management API.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/platform_api"}],
        "security": _SECURITY,
        "tags": [{"name": group} for group in dict.fromkeys(method.group for method in registry)],
        "paths": {f"/{method.wire}": {"post": _operation(method)} for method in registry},
        "components": {
            "securitySchemes": _SECURITY_SCHEMES,
            "schemas": {"Error": _ERROR, **_schemas(method.answer.shape for method in registry)},
        },
    }


def _operation(method: Method) -> Schema:
    parameters = [_parameter(bound, is_rival=_is_rival(method, bound)) for bound in bind(method)]
    if method.effect is not Effect.READS:
        parameters.append(_idempotency_header())
    return {
        "operationId": method.wire,
        "summary": method.summary,
        "description": _description(method),
        "tags": [method.group],
        "parameters": parameters,
        "responses": {"200": _response(method)},
        "x-roles": roles_in_words(method.roles),
        "x-refusals": [
            {
                "code": kind.code,
                "name": kind.name,
                "msg": kind.sentence,
                **({"field_name": name} if name else {}),
            }
            for kind, name in sorted(refusals_of(method).items(), key=lambda item: item[0].code)
        ],
    }


def _description(method: Method) -> str:
    rules = [f"At most one of {_names(group)} may be given." for group in method.exclusive]
    rules += [f"{_names(group)} are given together or not at all." for group in method.together]
    return "\n\n".join(
        text for text in (method.notes, *rules, f"Roles: {roles_in_words(method.roles)}.") if text
    )


def _names(group: tuple[str, ...]) -> str:
    return ", ".join(f"`{name}`" for name in group)


def roles_in_words(rule: RoleRule) -> str:
    """Whom a role rule admits, for readers."""
    if rule.roles:
        return ", ".join(sorted(role.value for role in rule.roles))
    return "any, and keys without a role" if rule.without_roles else "any"


def _is_rival(method: Method, bound: Bound) -> bool:
    """Tell whether a parameter excludes one that the method's example gives."""
    rivals = {name for group in method.exclusive if bound.param.wire in group for name in group}
    return bool((rivals - {bound.param.wire}) & method.example.request.keys())


def _parameter(bound: Bound, *, is_rival: bool) -> Schema:
    param = bound.param
    schema = _param_schema(bound)
    if is_rival:
        # Tools send the examples and defaults of all parameters at once, and these two may not come together.
        schema.pop("default", None)
    found: Schema = {
        "name": param.wire,
        "in": "query",
        "description": param.doc + (" Items may also be joined with `;`." if bound.many else ""),
        "required": param.required or param.documented_required,
        "schema": schema,
    }
    if bound.many:
        found |= {"style": "form", "explode": True}
    if not is_rival and param.example is not None:
        found["example"] = [param.example] if bound.many else param.example
    return found


def _param_schema(bound: Bound) -> Schema:
    param = bound.param
    schema = dict(_OF_KIND[bound.kind])
    if bound.kind is Kind.INTEGER:
        schema |= {"minimum": param.at_least, "maximum": param.at_most or _INTEGER_MAX}
    if param.choices:
        schema["enum"] = list(param.choices)
    if bound.many:
        schema = {"type": "array", "items": schema, "maxItems": param.items_max or limits.LIST_ITEMS}
    if param.accepts_all:
        schema = {"anyOf": [schema, {"const": "all"}]}
    if bound.default is not None:
        schema["default"] = bound.default
    return schema


def _idempotency_header() -> Schema:
    return {
        "name": IDEMPOTENCY_HEADER,
        "in": "header",
        "description": "A text of the caller's choice: equal requests under one key have one effect and one answer.",
        "required": False,
        "schema": {"type": "string", "minLength": 1, "maxLength": limits.IDEMPOTENCY_KEY_CHARACTERS},
    }


def _response(method: Method) -> Schema:
    media = {
        "schema": {"oneOf": [_answer_schema(method.answer), {"$ref": "#/components/schemas/Error"}]},
        "example": dict(method.example.answer),
    }
    return {"description": "The answer, or a refusal.", "content": {"application/json": media}}


def _answer_schema(answer: Answer) -> Schema:
    members = _answer_members(answer)
    return {"type": "object", "required": list(members), "properties": members}


def _answer_members(answer: Answer) -> Schema:
    if answer.shape is None:
        return {"result": {"type": "boolean"}}
    item = _reference(answer.shape)
    if answer.form is Form.DONE:
        return {"result": {"const": 1}, str(answer.list_name): {"type": "array", "items": item}}
    if answer.form is Form.OBJECT:
        return {"result": item, **{field.wire: _field_schema(field) for field in answer.beside}}
    members: Schema = {"result": {"type": "array", "items": item}}
    if answer.form is Form.PAGE:
        members["total_count"] = {
            "type": "integer",
            "minimum": 0,
            "description": "How many there are in all.",
        }
    if answer.form is Form.PAGE or answer.counted:
        members["count"] = {"type": "integer", "minimum": 0, "description": "How many this answer holds."}
    return members


def _schemas(shapes: Iterable[Shape | None]) -> Schema:
    found: Schema = {}
    for shape in shapes:
        if shape is not None:
            inner = _schemas(field.shape for field in shape.fields)
            found |= {shape.name: _shape_schema(shape), **inner}
    return found


def _shape_schema(shape: Shape) -> Schema:
    return {
        "type": "object",
        "required": [field.wire for field in shape.fields if not field.optional],
        "properties": {field.wire: _field_schema(field) for field in shape.fields},
    }


def _reference(shape: Shape) -> Schema:
    return {"$ref": f"#/components/schemas/{shape.name}"}


def _field_schema(field: Field) -> Schema:
    schema = _reference(field.shape) if field.shape is not None else dict(_OF_KIND[field.kind])
    if field.choices:
        schema["enum"] = list(field.choices)
    if field.always_empty:
        return {"type": "array", "maxItems": 0, "description": field.doc}
    if field.many:
        schema = {"type": "array", "items": schema}
    return {**schema, "description": field.doc + ("" if is_sent(field) else " Not sent by this server.")}


def is_sent(field: Field) -> bool:
    """Tell whether the server ever sends a member."""
    return field.source is not None or field.always_empty
