"""SQL's names of types, as the parser gives them, to ``base.types.Type`` and back to PostgreSQL's internal names."""

from __future__ import annotations

from typing import Final

from sqlglot import exp

from ...base.errors import Invalid
from ...base.types import (
    BIGINT,
    BOOLEAN,
    BYTEA,
    DATE,
    DOUBLE,
    INTEGER,
    INTERVAL,
    JSON,
    JSONB,
    REAL,
    SMALLINT,
    TEXT,
    TIME,
    TIMESTAMP,
    TIMESTAMPTZ,
    UUID,
    Kind,
    Type,
    array_of,
    numeric,
    varchar,
)
from ..parse import place

_SIMPLE: Final[dict[exp.DType, Type]] = {
    exp.DType.BOOLEAN: BOOLEAN,
    exp.DType.SMALLINT: SMALLINT,
    exp.DType.INT: INTEGER,
    exp.DType.BIGINT: BIGINT,
    exp.DType.FLOAT: REAL,
    exp.DType.DOUBLE: DOUBLE,
    exp.DType.TEXT: TEXT,
    exp.DType.VARBINARY: BYTEA,
    exp.DType.DATE: DATE,
    exp.DType.TIME: TIME,
    exp.DType.TIMESTAMP: TIMESTAMP,
    exp.DType.TIMESTAMPTZ: TIMESTAMPTZ,
    exp.DType.INTERVAL: INTERVAL,
    exp.DType.UUID: UUID,
    exp.DType.JSON: JSON,
    exp.DType.JSONB: JSONB,
}

_HINTS: Final[dict[str, str]] = {
    "char": "Use VARCHAR(n) or TEXT; blank-padded text is not supported.",
    "bpchar": "Use VARCHAR(n) or TEXT; blank-padded text is not supported.",
    "timetz": "Use TIME or TIMESTAMPTZ.",
}

INTERNAL_NAMES: Final[dict[Kind, str]] = {
    Kind.BOOLEAN: "bool",
    Kind.SMALLINT: "int2",
    Kind.INTEGER: "int4",
    Kind.BIGINT: "int8",
    Kind.REAL: "float4",
    Kind.DOUBLE: "float8",
    Kind.NUMERIC: "numeric",
    Kind.TEXT: "text",
    Kind.VARCHAR: "varchar",
    Kind.BYTEA: "bytea",
    Kind.DATE: "date",
    Kind.TIME: "time",
    Kind.TIMESTAMP: "timestamp",
    Kind.TIMESTAMPTZ: "timestamptz",
    Kind.INTERVAL: "interval",
    Kind.UUID: "uuid",
    Kind.JSON: "json",
    Kind.JSONB: "jsonb",
}
"""PostgreSQL's internal names; a column that is a cast is called like its type."""

_BY_INTERNAL_NAME: Final = {name: kind for kind, name in INTERNAL_NAMES.items()}


def type_of(node: exp.Expr) -> Type:
    """The type that a type name in SQL means. Raises Invalid: 42704 unknown, 0A000 not supported."""
    if not isinstance(node, exp.DataType):
        raise _unsupported(node, node.name)
    kind = node.this
    parameters = [parameter.this for parameter in node.expressions if isinstance(parameter, exp.DataTypeParam)]
    if isinstance(kind, exp.Interval):
        raise _unsupported(node, "an INTERVAL restricted to fields")
    match kind:
        case exp.DType.ARRAY:
            if len(node.expressions) != 1:
                raise _unsupported(node, "this array type")
            element = type_of(node.expressions[0])
            return element if element.kind is Kind.ARRAY else array_of(element)  # int[][] is int[]
        case exp.DType.DECIMAL:
            numbers = [_number(parameter, node) for parameter in parameters]
            return numeric(*numbers) if len(numbers) != 1 else numeric(numbers[0], 0)
        case exp.DType.VARCHAR:
            if not parameters:
                return varchar()
            length = _number(parameters[0], node)
            if not 1 <= length <= 10_485_760:
                raise Invalid(
                    f"length for type varchar must be at least 1 and at most 10485760, not {length}",
                    sqlstate="22023",
                    position=place(node),
                )
            return varchar(length)
        case exp.DType.TIMESTAMP | exp.DType.TIMESTAMPTZ | exp.DType.TIME if parameters:
            if _number(parameters[0], node) != 6:
                hint = "Leave it out, and round what is written: now()::timestamp(3)."
                raise _unsupported(node, f"a precision of {parameters[0].name} for {_SIMPLE[kind]}", hint)
            return _SIMPLE[kind]
        case exp.DType.DOUBLE if parameters:
            return REAL if _number(parameters[0], node) <= 24 else DOUBLE
        case exp.DType.USERDEFINED:
            return _named(node)
        case _ if kind in _SIMPLE and not parameters:
            return _SIMPLE[kind]
        case _:
            raise _unsupported(node, f'the type "{kind.value.lower()}"', _HINTS.get(kind.value.lower()))


def is_bare_numeric(node: exp.Expr) -> bool:
    """Whether a type name is NUMERIC without precision: in a cast it keeps the value's own scale."""
    return isinstance(node, exp.DataType) and node.this == exp.DType.DECIMAL and not node.expressions


def precision_of(node: exp.Expr) -> int | None:
    """The digits of a second that TIMESTAMP(3) and its like keep, if fewer than six."""
    if not isinstance(node, exp.DataType) or node.this not in _TIMES:
        return None
    parameters = [parameter.this for parameter in node.expressions if isinstance(parameter, exp.DataTypeParam)]
    digits = _number(parameters[0], node) if parameters else 6
    return digits if digits < 6 else None


def imprecise(node: exp.Expr) -> exp.Expr:
    """The type name without such digits."""
    return node if precision_of(node) is None else exp.DataType(this=node.this)


_TIMES: Final = (exp.DType.TIMESTAMP, exp.DType.TIMESTAMPTZ, exp.DType.TIME)


def _named(node: exp.DataType) -> Type:
    """A name the parser does not know; ``pg_catalog.int4`` is one."""
    kind = node.args.get("kind")
    name = kind.sql() if isinstance(kind, exp.Expr) else str(kind)
    if isinstance(kind, exp.Dot) and kind.this.name.lower() == "pg_catalog":
        found = _BY_INTERNAL_NAME.get(kind.expression.name.lower())
        if found is not None:
            return numeric() if found is Kind.NUMERIC else Type(kind=found)
    if name.lower() in _HINTS:
        raise _unsupported(node, f'the type "{name}"', _HINTS[name.lower()])
    raise Invalid(
        f'type "{name}" does not exist', sqlstate="42704", position=place(node), hint="docs/sql.md lists the types."
    )


def _number(node: exp.Expr, owner: exp.Expr) -> int:
    if not isinstance(node, exp.Literal) or node.is_string or not node.name.isdigit():
        raise Invalid("a type's modifiers must be whole numbers", sqlstate="42601", position=place(owner))
    return int(node.name)


def _unsupported(node: exp.Expr, what: str, hint: str | None = None) -> Invalid:
    return Invalid(f"{what} is not supported", sqlstate="0A000", position=place(node), hint=hint)
