"""Which type becomes which, by PostgreSQL's rules.

    implicit      in any expression: smallint → integer → bigint → numeric → real → double;
                  date → timestamp → timestamptz
    assignment    storing into a column: also back down the numeric chain, anything to text
    explicit      CAST(x AS type): also from text to anything, boolean ↔ integer

NUMERIC here always has precision and scale. Integers enter as NUMERIC(5|10|19, 0); the common type of two NUMERICs
keeps the larger scale and as many digits before the point as fit in 38.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ....base.errors import Invalid
from ....base.types import DOUBLE, TEXT, UNKNOWN, Kind, Type, array_of, numeric

_IMPLICIT: Final[dict[Kind, tuple[Kind, ...]]] = {
    Kind.SMALLINT: (Kind.INTEGER, Kind.BIGINT, Kind.NUMERIC, Kind.REAL, Kind.DOUBLE),
    Kind.INTEGER: (Kind.BIGINT, Kind.NUMERIC, Kind.REAL, Kind.DOUBLE),
    Kind.BIGINT: (Kind.NUMERIC, Kind.REAL, Kind.DOUBLE),
    Kind.NUMERIC: (Kind.REAL, Kind.DOUBLE),
    Kind.REAL: (Kind.DOUBLE,),
    Kind.VARCHAR: (Kind.TEXT,),
    Kind.TEXT: (Kind.VARCHAR,),
    Kind.DATE: (Kind.TIMESTAMP, Kind.TIMESTAMPTZ),
    Kind.TIMESTAMP: (Kind.TIMESTAMPTZ,),
    Kind.TIME: (Kind.INTERVAL,),
}

_NUMBERS: Final = (Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.NUMERIC, Kind.REAL, Kind.DOUBLE)

_ASSIGNMENT: Final[dict[Kind, tuple[Kind, ...]]] = {
    **dict.fromkeys(_NUMBERS, _NUMBERS),
    Kind.TIMESTAMP: (Kind.DATE, Kind.TIME),
    Kind.TIMESTAMPTZ: (Kind.TIMESTAMP, Kind.DATE, Kind.TIME),
    Kind.INTERVAL: (Kind.TIME,),
    Kind.JSON: (Kind.JSONB,),
    Kind.JSONB: (Kind.JSON,),
}

_EXPLICIT: Final[dict[Kind, tuple[Kind, ...]]] = {
    Kind.BOOLEAN: (Kind.INTEGER,),
    Kind.INTEGER: (Kind.BOOLEAN,),
}

# The categories within which types have a common type, narrowest first; the last one is PostgreSQL's preferred type.
_CHAINS: Final[tuple[tuple[Kind, ...], ...]] = (
    _NUMBERS,
    (Kind.VARCHAR, Kind.TEXT),
    (Kind.DATE, Kind.TIMESTAMP, Kind.TIMESTAMPTZ),
    (Kind.TIME, Kind.INTERVAL),
)

PREFERRED: Final = frozenset((Kind.DOUBLE, Kind.TEXT, Kind.TIMESTAMPTZ, Kind.INTERVAL, Kind.BOOLEAN))


def implicit_cast(source: Type, target: Type) -> bool:
    """Whether ``source`` becomes ``target`` in any expression, without being asked."""
    if source.kind is Kind.ARRAY or target.kind is Kind.ARRAY:
        return source == target or source.kind is Kind.UNKNOWN
    return source.kind is target.kind or source.kind is Kind.UNKNOWN or target.kind in _IMPLICIT.get(source.kind, ())


def assignment_cast(source: Type, target: Type) -> bool:
    """Whether a value of ``source`` may be stored into a column of ``target``; an array, if its items may."""
    if source.element is not None and target.element is not None:
        return assignment_cast(source.element, target.element)
    if implicit_cast(source, target) or target.kind in _ASSIGNMENT.get(source.kind, ()):
        return True
    return target.is_text and source.kind is not Kind.UNKNOWN


def explicit_cast(source: Type, target: Type) -> bool:
    """Whether CAST(source AS target) exists."""
    if source.kind is Kind.ARRAY and target.kind is Kind.ARRAY:
        assert source.element is not None, "an array type has an element type"
        assert target.element is not None, "an array type has an element type"
        return explicit_cast(source.element, target.element)
    if assignment_cast(source, target) or target.kind in _EXPLICIT.get(source.kind, ()):
        return True
    return source.is_text and target.kind is not Kind.ARRAY


def category(kind: Kind) -> object:
    """Types of one category are candidates for one another; PostgreSQL's pg_type.typcategory."""
    return next((chain for chain in _CHAINS if kind in chain), kind)


def as_numeric(type: Type) -> Type:
    """The NUMERIC that holds every value of an integer type; a NUMERIC itself."""
    match type.kind:
        case Kind.NUMERIC:
            return type
        case Kind.SMALLINT:
            return numeric(5, 0)
        case Kind.INTEGER:
            return numeric(10, 0)
        case Kind.BIGINT:
            return numeric(19, 0)
        case _:
            return numeric()


def limited(digits: int, scale: int) -> Type:
    """NUMERIC with ``digits`` before the point and ``scale`` after it, cut before the point to 38 in all."""
    scale = min(scale, 38)
    return numeric(max(min(digits + scale, 38), 1), scale)


def digits(type: Type) -> int:
    """Digits before the point of a NUMERIC."""
    assert type.precision is not None, "a NUMERIC type has a precision"
    assert type.scale is not None, "a NUMERIC type has a scale"
    return type.precision - type.scale


def common_numeric(types: Sequence[Type]) -> Type:
    """The NUMERIC that holds all of them, as far as 38 digits go."""
    all = [as_numeric(type) for type in types]
    return limited(max(digits(type) for type in all), max(type.scale or 0 for type in all))


def common_type(types: Sequence[Type], *, context: str = "CASE") -> Type:
    """The one type of CASE, COALESCE, UNION, VALUES, IN. All untyped: TEXT. Raises Invalid (42804)."""
    known = [type for type in types if type.kind is not Kind.UNKNOWN]
    if not known:
        return TEXT
    first = known[0]
    if all(type == first for type in known):
        return first
    if all(type.kind is Kind.ARRAY for type in known):
        return array_of(common_type([type.element or UNKNOWN for type in known], context=context))
    chain = next((chain for chain in _CHAINS if first.kind in chain), (first.kind,))
    for type in known:
        if type.kind not in chain or (Kind.TIME in chain and type.kind is not first.kind):
            raise Invalid(f"{context} types {first} and {type} cannot be matched", sqlstate="42804")
    if first.is_text:  # VARCHAR and TEXT become each other, so the first stays
        return first if first == TEXT else Type(kind=Kind.VARCHAR)
    widest = max(known, key=lambda each: chain.index(each.kind))
    if widest.kind is Kind.NUMERIC:
        return common_numeric(known)
    if widest.kind is Kind.REAL and any(type.kind not in (Kind.REAL, Kind.SMALLINT, Kind.INTEGER) for type in known):
        return DOUBLE if any(type.kind is Kind.DOUBLE for type in known) else widest
    return widest
