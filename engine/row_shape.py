"""Which Python values a table's columns take as they are: *plain* ones, those that a read would give back.

A value is plain where converting it to Arrow and reading it again gives the same value, whatever it is, and no
constraint of the column alone refuses it. What is not plain (text for a date, an int for a NUMERIC, NULL where it may
not be) is not wrong: the way of batches (base/rows.py, constraints.py) converts it, or says what is wrong with it.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from ..base.types import Kind, Type
from .unrolled import unrolled

if TYPE_CHECKING:
    from .schema import Column, Table

_PLAIN_LENGTH_MAX: Final = 4_096
"""Longer text is left to batches."""

NOT_PLAIN: Final = object()
"""What a taker gives for a value that is not plain."""

_Taker = Callable[[Any], Any]


class RowShape:
    """Which Python values the columns of a table take as they are."""

    def __init__(self, table: Table) -> None:
        self._takers = {column.name: _taker(column) for column in table.columns}
        self._names = tuple(column.name for column in table.columns)
        self._key_names = tuple(column.name for column in table.primary_key_columns)
        self._absent = frozenset(column.name for column in table.columns if column.nullable and column.default is None)
        self._key_set = frozenset(self._key_names)
        self._taken_key = unrolled([self._takers[name] for name in self._key_names])
        self._inserts = not any(column.identity for column in table.columns)
        self._variable = tuple(column.name for column in table.columns if column.type.is_variable)

    def changes(self, values: Mapping[str, object]) -> dict[str, Any] | None:
        """Columns to be set, as a read gives them; None where they are not plain, or of the primary key."""
        if not self._key_set.isdisjoint(values):
            return None
        return self._taken(values)

    def row(self, values: object) -> dict[str, Any] | None:
        """One whole row, given as tuple or dict; None where it is neither, or not plain."""
        if not self._inserts:
            return None
        if type(values) is tuple:
            if len(values) != len(self._names):
                return None
            return self._taken(dict(zip(self._names, values, strict=True)))
        if type(values) is not dict:
            return None
        row = self._taken(values)
        if row is None or len(row) == len(self._names):
            return row
        if not self._absent.issuperset([name for name in self._names if name not in row]):
            return None
        return {name: row.get(name) for name in self._names}

    def key(self, key: object) -> tuple[Any, ...] | None:
        """One primary key, a value or a tuple; None where it is something else, or not plain."""
        values = key if isinstance(key, tuple) else (key,)
        if len(values) != len(self._key_names):
            return None
        taken = self._taken_key(values)
        return None if NOT_PLAIN in taken or None in taken else taken

    def key_of(self, row: Mapping[str, Any]) -> tuple[Any, ...]:
        """The primary key of a whole row."""
        return tuple([row[name] for name in self._key_names])

    def bytes_of(self, row: Mapping[str, Any]) -> int:
        """Bytes that the row's values of variable width take, at most."""
        if not self._variable:
            return 0
        return sum([4 * len(row[name]) for name in self._variable if row[name] is not None])

    def _taken(self, values: Mapping[str, object]) -> dict[str, Any] | None:
        taken: dict[str, Any] = {}
        for name, value in values.items():
            take = self._takers.get(name)
            if take is None:
                return None
            value = take(value)
            if value is NOT_PLAIN:
                return None
            taken[name] = value
        return taken


def _taker(column: Column) -> _Taker:
    take = plain_taker(column.type)
    if not column.nullable:
        return take
    return lambda value: None if value is None else take(value)


def plain_taker(type: Type) -> _Taker:
    """What gives a value of the type, not None, as a read would give it back, or ``NOT_PLAIN``."""
    match type.kind:
        case Kind.SMALLINT | Kind.INTEGER | Kind.BIGINT:
            return _integers(_BITS[type.kind])
        case Kind.NUMERIC:
            assert type.precision is not None, "NUMERIC has a precision"
            return _decimals(type.precision, type.scale or 0)
        case Kind.TEXT | Kind.VARCHAR:
            return _texts(_PLAIN_LENGTH_MAX if type.length is None else min(type.length, _PLAIN_LENGTH_MAX))
        case Kind.BYTEA:
            return lambda value: value if value.__class__ is bytes and len(value) <= _PLAIN_LENGTH_MAX else NOT_PLAIN
        case Kind.TIMESTAMP | Kind.TIME:
            python = dt.datetime if type.kind is Kind.TIMESTAMP else dt.time
            return lambda value: value if value.__class__ is python and value.tzinfo is None else NOT_PLAIN
        case Kind.TIMESTAMPTZ:
            return lambda value: value if value.__class__ is dt.datetime and value.tzinfo is dt.UTC else NOT_PLAIN
        case _:
            python = _SAME.get(type.kind)
            return lambda value: value if python is not None and value.__class__ is python else NOT_PLAIN


def _integers(bits: int) -> _Taker:
    low, high = -(1 << (bits - 1)), (1 << (bits - 1)) - 1
    return lambda value: value if value.__class__ is int and low <= value <= high else NOT_PLAIN


def _texts(length: int) -> _Taker:
    def take(value: Any) -> Any:
        if value.__class__ is not str or len(value) > length or "\0" in value:
            return NOT_PLAIN
        if not value.isascii():
            try:
                value.encode()
            except UnicodeEncodeError:
                return NOT_PLAIN
        return value

    return take


def _decimals(precision: int, scale: int) -> _Taker:
    unit = Decimal(1).scaleb(-scale)
    limit = Decimal(10) ** (precision - scale)

    def take(value: Any) -> Any:
        if value.__class__ is not Decimal or not value.is_finite() or value.copy_abs() >= limit:
            return NOT_PLAIN
        exact = _EXACT.quantize(value, unit)
        return exact if exact == value and (exact or not exact.is_signed()) else NOT_PLAIN

    return take


_EXACT: Final = decimal.Context(prec=80)
_BITS: Final = {Kind.SMALLINT: 16, Kind.INTEGER: 32, Kind.BIGINT: 64}
_SAME: Final[Mapping[Kind, type]] = {
    Kind.BOOLEAN: bool,
    Kind.DOUBLE: float,
    Kind.DATE: dt.date,
    Kind.UUID: uuid.UUID,
}
