"""PostgreSQL's numbers for types, by which programs and its wire protocol name them."""

from __future__ import annotations

from typing import Final

from .types import Kind, Type

_PLAIN: Final = {
    Kind.BOOLEAN: 16, Kind.BYTEA: 17, Kind.BIGINT: 20, Kind.SMALLINT: 21, Kind.INTEGER: 23, Kind.TEXT: 25,
    Kind.JSON: 114, Kind.REAL: 700, Kind.DOUBLE: 701, Kind.VARCHAR: 1043, Kind.DATE: 1082, Kind.TIME: 1083,
    Kind.TIMESTAMP: 1114, Kind.TIMESTAMPTZ: 1184, Kind.INTERVAL: 1186, Kind.NUMERIC: 1700, Kind.UUID: 2950,
    Kind.JSONB: 3802,
}  # fmt: skip
_ARRAYS: Final = {
    Kind.BOOLEAN: 1000, Kind.BYTEA: 1001, Kind.BIGINT: 1016, Kind.SMALLINT: 1005, Kind.INTEGER: 1007, Kind.TEXT: 1009,
    Kind.JSON: 199, Kind.REAL: 1021, Kind.DOUBLE: 1022, Kind.VARCHAR: 1015, Kind.DATE: 1182, Kind.TIME: 1183,
    Kind.TIMESTAMP: 1115, Kind.TIMESTAMPTZ: 1185, Kind.INTERVAL: 1187, Kind.NUMERIC: 1231, Kind.UUID: 2951,
    Kind.JSONB: 3807,
}  # fmt: skip
_SIZES: Final = {
    Kind.BOOLEAN: 1, Kind.SMALLINT: 2, Kind.INTEGER: 4, Kind.BIGINT: 8, Kind.REAL: 4, Kind.DOUBLE: 8, Kind.DATE: 4,
    Kind.TIME: 8, Kind.TIMESTAMP: 8, Kind.TIMESTAMPTZ: 8, Kind.INTERVAL: 16, Kind.UUID: 16,
}  # fmt: skip

KINDS: Final = {oid: kind for kind, oid in _PLAIN.items()}
"""The type of each number; arrays by ``ELEMENTS``."""

ELEMENTS: Final = {oid: kind for kind, oid in _ARRAYS.items()}


def oid_of(type: Type) -> int:
    """The number of a type; 705 is that of an untyped literal."""
    if type.element is not None:
        return _ARRAYS[type.element.kind]
    return _PLAIN.get(type.kind, 705)


def array_oid(kind: Kind) -> int:
    return _ARRAYS[kind]


def size_of(kind: Kind) -> int:
    """Bytes of a value in PostgreSQL, -1 where they vary."""
    return _SIZES.get(kind, -1)


def modifier_of(type: Type) -> int:
    """Length, or precision and scale, as PostgreSQL's one number; -1 without."""
    if type.kind is Kind.VARCHAR and type.length is not None:
        return type.length + 4
    if type.kind is Kind.NUMERIC and type.precision is not None:
        return (type.precision << 16 | (type.scale or 0)) + 4
    return -1


def format_type(oid: int, modifier: int | None = None) -> str:
    """A type's name in SQL, of its number and modifier; ``???`` of a number that is no type's."""
    if oid in ELEMENTS:
        return f"{ELEMENTS[oid].value}[]"
    kind = KINDS.get(oid)
    if kind is None:
        return "unknown" if oid == 705 else "-" if oid == 0 else "???"
    if modifier is None or modifier < 4:
        return kind.value
    if kind is Kind.VARCHAR:
        return f"{kind.value}({modifier - 4})"
    if kind is Kind.NUMERIC:
        return f"numeric({modifier - 4 >> 16},{modifier - 4 & 0xFFFF})"
    return kind.value
