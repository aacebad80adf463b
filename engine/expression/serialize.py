"""The expression tree as JSON: what catalog and log hold. Versioned, and total over nodes and types.

    {"version": 1, "expression": {"node": "call", "function": "greater", "type": "boolean", "arguments": [...]}}

A node written by a newer version is refused with a message that says so, never guessed at.
"""

from __future__ import annotations

import datetime as dt
import json
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, assert_never

import pyarrow as pa

from ...base.errors import Corrupt, Unavailable
from ...base.types import Kind, Type, parse_type
from .node import Call, Case, Cast, Column, Expression, Literal, Parameter

VERSION: Final = 1


def to_json(expression: Expression) -> str:
    """The tree as one line of JSON."""
    return json.dumps({"version": VERSION, "expression": encode(expression)}, ensure_ascii=False, separators=(",", ":"))


def from_json(text: str) -> Expression:
    """The inverse. Raises Unavailable for a newer version, Corrupt for anything else that is not ours."""
    try:
        document = json.loads(text)
        version = document["version"]
        if version > VERSION:
            message = f"an expression has format version {version}, this program knows up to {VERSION}"
            raise Unavailable(message, hint="Use the newer WeftDB that wrote it.")
        return decode(document["expression"])
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise Corrupt(f"a stored expression cannot be read: {error!r}") from error


def encode(expression: Expression) -> dict[str, Any]:
    """The tree as JSON values, without the version: for documents that carry their own."""
    match expression:
        case Literal():
            return {
                "node": "literal",
                "type": str(expression.type),
                "value": _encoded(expression.value, expression.type),
            }
        case Column():
            return {"node": "column", "type": str(expression.type), "id": expression.id, "name": expression.name}
        case Parameter():
            return {"node": "parameter", "type": str(expression.type), "number": expression.number}
        case Call():
            arguments = [encode(argument) for argument in expression.arguments]
            return {
                "node": "call",
                "type": str(expression.type),
                "function": expression.function,
                "arguments": arguments,
            }
        case Cast():
            return {"node": "cast", "type": str(expression.type), "argument": encode(expression.argument)}
        case Case():
            branches = [[encode(test), encode(then)] for test, then in expression.branches]
            default = encode(expression.default)
            return {"node": "case", "type": str(expression.type), "branches": branches, "default": default}
        case _:
            assert_never(expression)


def decode(document: dict[str, Any]) -> Expression:
    """The inverse of ``encode``."""
    type = parse_type(document["type"])
    match document["node"]:
        case "literal":
            return Literal(value=_decoded(document["value"], type), type=type)
        case "column":
            return Column(id=document["id"], type=type, name=document["name"])
        case "parameter":
            return Parameter(number=document["number"], type=type)
        case "call":
            arguments = tuple(decode(argument) for argument in document["arguments"])
            return Call(function=document["function"], arguments=arguments, type=type)
        case "cast":
            return Cast(argument=decode(document["argument"]), type=type)
        case "case":
            branches = tuple((decode(test), decode(then)) for test, then in document["branches"])
            return Case(branches=branches, default=decode(document["default"]), type=type)
        case other:
            raise ValueError(f"unknown node {other!r}")


def _encoded(value: Any, type: Type) -> Any:
    if value is None:
        return None
    if type.kind is Kind.ARRAY and type.element is not None:
        return [_encoded(item, type.element) for item in value]
    return _CODECS[type.kind][0](value)


def _decoded(value: Any, type: Type) -> Any:
    if value is None:
        return None
    if type.kind is Kind.ARRAY and type.element is not None:
        return [_decoded(item, type.element) for item in value]
    return _CODECS[type.kind][1](value)


def _same(value: Any) -> Any:
    return value


_Codec = tuple[Callable[[Any], Any], Callable[[Any], Any]]
_AS_IS: Final[_Codec] = (_same, _same)
_FLOAT: Final[_Codec] = (lambda value: repr(float(value)), float)
_UUID: Final[_Codec] = (
    lambda value: (value if isinstance(value, uuid.UUID) else uuid.UUID(bytes=value)).hex,
    uuid.UUID,
)

_CODECS: Final[dict[Kind, _Codec]] = {
    Kind.BOOLEAN: _AS_IS,
    Kind.SMALLINT: _AS_IS,
    Kind.INTEGER: _AS_IS,
    Kind.BIGINT: _AS_IS,
    Kind.REAL: _FLOAT,
    Kind.DOUBLE: _FLOAT,
    Kind.NUMERIC: (str, Decimal),
    Kind.TEXT: _AS_IS,
    Kind.VARCHAR: _AS_IS,
    Kind.UNKNOWN: _AS_IS,
    Kind.JSON: _AS_IS,
    Kind.JSONB: _AS_IS,
    Kind.BYTEA: (bytes.hex, bytes.fromhex),
    Kind.DATE: (dt.date.isoformat, dt.date.fromisoformat),
    Kind.TIME: (dt.time.isoformat, dt.time.fromisoformat),
    Kind.TIMESTAMP: (dt.datetime.isoformat, dt.datetime.fromisoformat),
    Kind.TIMESTAMPTZ: (dt.datetime.isoformat, dt.datetime.fromisoformat),
    Kind.INTERVAL: (lambda value: [value.months, value.days, value.nanoseconds], pa.MonthDayNano),
    Kind.UUID: _UUID,
}
