"""An expression over a batch, vectorized with pyarrow.compute: CHECK, DEFAULT, and the engine's scan filter.

Each node becomes an Arrow array, or a scalar for what is the same on every row. A function is computed by its Arrow
form; where it has none, or Arrow refuses (overflow, a rounding it cannot do), the naive form is mapped over the rows,
which gives the value or PostgreSQL's error with its row number. So speed differs from function to function, meaning
does not.

What may fail is computed only for the rows that need it: CASE by its conditions, AND, OR and COALESCE from left to
right. Extension types (UUID, JSON) travel as their storage and are wrapped at the end.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, assert_never

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...base.errors import Invalid, LimitExceeded
from ...base.rows import python_values
from ...base.types import Kind, Type, bare, stored, wrapped
from .context import Context, literal_arguments, resolution_of
from .conversion import cast_value
from .functions import FUNCTIONS, FunctionKind, Resolution, Volatility, session_literal
from .functions.vector import NotVectorized
from .naive import apply
from .node import Call, Case, Cast, Column, Expression, Literal, Parameter
from .tree import walk

__all__ = ["Context", "can_fail", "check_supported", "evaluate", "evaluate_filter"]

Datum = Any  # pa.Array | pa.Scalar, of the storage type


def evaluate(
    expression: Expression, batch: pa.RecordBatch, *, column_ids: Sequence[int], context: Context | None = None
) -> pa.Array:
    """The expression's value for each row of ``batch``, whose columns have the identifiers ``column_ids``.

    The result has ``expression.type``'s public Arrow type. Raises Invalid with the row's number (from 1).
    """
    if isinstance(expression, Column):
        array = batch.column(column_ids.index(expression.id))
        if array.type == expression.type.arrow:
            return array
    places = {id: place for place, id in enumerate(column_ids)}
    rows = _Rows(batch=batch, places=places, context=context or Context(), numbers=None)
    array = _as_array(_value(expression, rows), batch.num_rows, expression.type)
    return wrapped(array, expression.type)


def evaluate_filter(
    expression: Expression, batch: pa.RecordBatch, *, column_ids: Sequence[int], context: Context | None = None
) -> pa.Array:
    """A boolean mask without NULL: true where the expression is true."""
    return pc.fill_null(evaluate(expression, batch, column_ids=column_ids, context=context), False)


def check_supported(expression: Expression) -> None:
    """Raise Invalid (0A000), by name, if the engine cannot evaluate a function in it; queries still can."""
    for part in walk(expression):
        if not isinstance(part, Call):
            continue
        function = FUNCTIONS[part.function]
        if function.kind is not FunctionKind.SCALAR:
            message = f'{function.kind.value} function "{part.function}" is not allowed here'
            raise Invalid(message, hint="Use it in a query.", sqlstate="42803")
        if function.volatility is Volatility.STABLE:
            continue
        overload = resolution_of(part).overload
        if overload.naive is None and overload.arrow is None:
            message = f'function "{part.function}" cannot be used here: only queries can compute it'
            raise Invalid(message, hint="Compute the value in the statement that writes the row.", sqlstate="0A000")
        if missing := [index for index in overload.constants if index not in literal_arguments(part)]:
            message = f'argument {missing[0] + 1} of "{part.function}" must be a constant'
            raise Invalid(message, sqlstate="0A000")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """The rows at hand. ``numbers``: their places in the batch that was given; None: all of it."""

    batch: pa.RecordBatch
    places: dict[int, int]
    context: Context
    numbers: np.ndarray[Any, Any] | None

    @property
    def count(self) -> int:
        return self.batch.num_rows

    def where(self, mask: pa.Array) -> _Rows:
        """The rows for which ``mask`` is true."""
        chosen = np.flatnonzero(mask.to_numpy(zero_copy_only=False))
        numbers = chosen if self.numbers is None else self.numbers[chosen]
        return _Rows(batch=self.batch.filter(mask), places=self.places, context=self.context, numbers=numbers)

    def at(self, places: np.ndarray[Any, Any]) -> _Rows:
        """The rows at these places."""
        numbers = places if self.numbers is None else self.numbers[places]
        return _Rows(batch=self.batch.take(pa.array(places)), places=self.places, context=self.context, numbers=numbers)

    def number(self, row: int) -> int:
        """The row's number for a message, from 1."""
        return (row if self.numbers is None else int(self.numbers[row])) + 1


def _value(expression: Expression, rows: _Rows) -> Datum:
    match expression:
        case Literal():
            return _scalar(expression.value, expression.type)
        case Column():
            return bare(rows.batch.column(rows.places[expression.id]))
        case Parameter():
            return _scalar(rows.context.literal(expression).value, expression.type)
        case Cast():
            return _cast(expression, rows)
        case Case():
            return _case(expression, rows)
        case Call():
            return _call(expression, rows)
        case _:
            assert_never(expression)


# -- calls -----------------------------------------------------------------------------------------------------------


def _call(call: Call, rows: _Rows) -> Datum:
    function = FUNCTIONS[call.function]
    if function.volatility is Volatility.STABLE:
        return _scalar(session_literal(call.function, now=rows.context.now).value, call.type)
    if call.function in _LAZY and any(map(can_fail, call.arguments[1:])):
        return _lazily(call, rows)
    resolution = resolution_of(call)
    arguments = [_value(argument, rows) for argument in call.arguments]
    overload = resolution.overload
    if overload.strict and any(isinstance(a, pa.Scalar) and not a.is_valid for a in arguments):
        return _scalar(None, call.type)
    if overload.arrow is not None and not all(isinstance(a, pa.Scalar) for a in arguments):
        try:
            return _fitted(overload.arrow(*arguments), call.type, can_fail=overload.can_fail)
        except (NotVectorized, pa.ArrowException, Invalid):
            pass  # the naive form gives the value, or the error with its row
    return _mapped(call, resolution, arguments, rows)


def _fitted(result: Datum, type: Type, *, can_fail: bool) -> Datum:
    """A kernel's result as exactly the type's storage; NotVectorized where a float overflowed."""
    storage = _storage(type)
    if not result.type.equals(storage):
        result = result.cast(storage)
    if (
        can_fail
        and pa.types.is_floating(storage)
        and isinstance(result, pa.Array)
        and pc.any(pc.is_inf(result)).as_py()
    ):
        raise NotVectorized
    return result


def _mapped(call: Call, resolution: Resolution, arguments: Sequence[Datum], rows: _Rows) -> Datum:
    """The naive form over the rows; once, if all arguments are the same everywhere."""
    types = [argument.type for argument in call.arguments]
    volatile = resolution.function.volatility is Volatility.VOLATILE
    if not volatile and all(isinstance(argument, pa.Scalar) for argument in arguments):
        if not rows.count:
            return _scalar(None, call.type)
        columns = [_python_values(argument, 1, type) for argument, type in zip(arguments, types, strict=True)]
        return _scalar(_applied(call, resolution, [column[0] for column in columns], 0, rows), call.type)
    arrays = [argument for argument in arguments if isinstance(argument, pa.Array)]
    if not volatile and len(arrays) == 1 and _repeats(arrays[0]):
        return _mapped_once(call, resolution, arguments, rows)
    columns = [_python_values(argument, rows.count, type) for argument, type in zip(arguments, types, strict=True)]
    tuples = zip(*columns, strict=True) if columns else (() for _ in range(rows.count))
    values = [_applied(call, resolution, values, row, rows) for row, values in enumerate(tuples)]
    return _array(values, call.type)


_REPEATING: Final = (pa.types.is_string, pa.types.is_integer, pa.types.is_date)
_SAMPLE: Final = 64


def _repeats(array: pa.Array) -> bool:
    """Whether computing each different value once would save much, by the looks of the first ones."""
    if len(array) < _SAMPLE or not any(test(array.type) for test in _REPEATING):
        return False
    return 2 * pc.count_distinct(array.slice(0, _SAMPLE), mode="all").as_py() < _SAMPLE


def _mapped_once(call: Call, resolution: Resolution, arguments: Sequence[Datum], rows: _Rows) -> Datum:
    """``_mapped`` with one argument that differs from row to row, in few ways."""
    place = next(place for place, argument in enumerate(arguments) if isinstance(argument, pa.Array))
    encoded = arguments[place].dictionary_encode(null_encoding="encode")
    firsts = np.unique(encoded.indices.to_numpy(), return_index=True)[1]
    distinct = [encoded.dictionary if i == place else argument for i, argument in enumerate(arguments)]
    return _mapped(call, resolution, distinct, rows.at(firsts)).take(encoded.indices)


def _applied(call: Call, resolution: Resolution, values: Sequence[Any], row: int, rows: _Rows) -> Any:
    try:
        return apply(resolution, values, call)
    except Invalid as error:
        raise _at_row(error, rows.number(row)) from None
    except RecursionError:
        message = f"row {rows.number(row)}: an argument of {call.function} is nested too deeply"
        raise LimitExceeded(message, sqlstate="54001") from None


def _at_row(error: Invalid, number: int) -> Invalid:
    return Invalid(f"row {number}: {error.message}", hint=error.hint, sqlstate=error.sqlstate)


def without_row(error: Invalid) -> str:
    """The message of an error of ``evaluate``, of rows whose numbers nobody knows."""
    return re.sub("^row [0-9]+: ", "", error.message)


# -- what is computed only where needed ------------------------------------------------------------------------------


def can_fail(expression: Expression) -> bool:
    """Whether some row's value may raise."""
    try:
        return _may_raise(expression)
    except TypeError:  # it holds an array, which is a list and has no hash
        return _may_raise.__wrapped__(expression)


@lru_cache(maxsize=4096)
def _may_raise(expression: Expression) -> bool:
    for part in walk(expression):
        if isinstance(part, Cast) and not (
            _is_safe(part.argument.type, part.type) or (part.argument.type.kind, part.type.kind) in _TOTAL_CASTS
        ):
            return True
        if isinstance(part, Call) and resolution_of(part).overload.can_fail:
            return True
    return False


def _is_safe(source: Type, target: Type) -> bool:
    """Whether a cast takes every value."""
    if source.kind is Kind.NUMERIC and target.kind is Kind.NUMERIC:
        if source.precision is None or target.precision is None:
            return False
        more = (target.scale or 0) - (source.scale or 0)
        return more >= 0 and target.precision - source.precision >= more
    return (source.kind, target.kind) in _SAFE_CASTS


def _lazily(call: Call, rows: _Rows) -> Datum:
    """AND, OR, COALESCE: each argument for the rows that the ones before left open."""
    result = _as_array(_value(call.arguments[0], rows), rows.count, call.type)
    for argument in call.arguments[1:]:
        open = _LAZY[call.function](result)
        if not pc.any(open).as_py():
            break
        chosen = rows.where(open)
        values = _as_array(_value(argument, chosen), chosen.count, call.type)
        spread = _replaced(pa.nulls(rows.count, result.type), open, values)
        result = _JOIN[call.function](result, spread, open)
    return result


_LAZY: Final[dict[str, Any]] = {
    "and": lambda result: pc.fill_null(result, True),
    "or": lambda result: pc.invert(pc.fill_null(result, False)),
    "coalesce": pc.is_null,
}

_JOIN: Final[dict[str, Any]] = {
    "and": lambda result, spread, left: pc.if_else(left, pc.and_kleene(result, spread), result),
    "or": lambda result, spread, left: pc.if_else(left, pc.or_kleene(result, spread), result),
    "coalesce": lambda result, spread, left: pc.if_else(left, spread, result),
}


def _case(case: Case, rows: _Rows) -> Datum:
    """Each branch for the rows whose first true condition is its own."""
    result = pa.nulls(rows.count, _storage(case.type))
    left, place = rows, np.arange(rows.count)
    for test, then in (*case.branches, (None, case.default)):
        if not left.count:
            break
        taken = None if test is None else _as_array(_value(test, left), left.count, test.type)
        mask = pa.array(np.ones(left.count, dtype=bool)) if taken is None else pc.fill_null(taken, False)
        count = mask.true_count
        if not count:
            continue
        if count == rows.count:
            return _as_array(_value(then, rows), count, case.type)
        chosen = left if count == left.count else left.where(mask)
        values = _as_array(_value(then, chosen), count, case.type)
        flags = mask.to_numpy(zero_copy_only=False)
        spots = np.zeros(rows.count, dtype=bool)
        spots[place[flags]] = True
        result = _replaced(result, pa.array(spots), values)
        left, place = left.where(pc.invert(mask)), place[~flags]
    return result


# -- casts -----------------------------------------------------------------------------------------------------------


def _cast(cast: Cast, rows: _Rows) -> Datum:
    value = _value(cast.argument, rows)
    source, target = cast.argument.type, cast.type
    if source == target:
        return value
    kinds = source.kind, target.kind
    if (kinds in _SAFE_CASTS or kinds in _NUMERIC_CASTS) and target.length is None:
        try:
            return value.cast(_storage(target))
        except pa.ArrowException:
            pass
    if isinstance(value, pa.Scalar):
        if not rows.count:
            return _scalar(None, target)
        return _scalar(_cast_one(_python_values(value, 1, source)[0], source, target, 0, rows), target)
    values = _python_values(value, rows.count, source)
    return _array([_cast_one(item, source, target, row, rows) for row, item in enumerate(values)], target)


def _cast_one(value: Any, source: Type, target: Type, row: int, rows: _Rows) -> Any:
    try:
        return cast_value(value, source, target)
    except Invalid as error:
        raise _at_row(error, rows.number(row)) from None


# Casts that Arrow does exactly as PostgreSQL and that cannot fail.
_SAFE_CASTS: Final = frozenset(
    (
        (Kind.SMALLINT, Kind.INTEGER),
        (Kind.SMALLINT, Kind.BIGINT),
        (Kind.INTEGER, Kind.BIGINT),
        (Kind.SMALLINT, Kind.REAL),
        (Kind.SMALLINT, Kind.DOUBLE),
        (Kind.INTEGER, Kind.DOUBLE),
        (Kind.BIGINT, Kind.DOUBLE),  # beyond 2^53 Arrow refuses, and each value is rounded
        (Kind.REAL, Kind.DOUBLE),
        (Kind.DATE, Kind.TIMESTAMP),
        (Kind.DATE, Kind.TIMESTAMPTZ),
        (Kind.TIMESTAMP, Kind.DATE),
        (Kind.TIMESTAMP, Kind.TIMESTAMPTZ),
        (Kind.TIMESTAMPTZ, Kind.TIMESTAMP),
        (Kind.TEXT, Kind.TEXT),
        (Kind.VARCHAR, Kind.TEXT),
        (Kind.TEXT, Kind.VARCHAR),
        (Kind.UNKNOWN, Kind.TEXT),
    )
)

_NUMERIC_CASTS: Final = frozenset(
    (kind, Kind.NUMERIC) for kind in (Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.NUMERIC)
)
"""Casts that Arrow does exactly, or refuses where a value does not fit or has to be rounded."""

_TOTAL_CASTS: Final = frozenset(
    (
        (Kind.TIMESTAMP, Kind.TIME),
        *((kind, Kind.TEXT) for kind in (Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.NUMERIC, Kind.DATE, Kind.UUID)),
    )
)
"""Others that cannot fail."""


# -- arrays and scalars ----------------------------------------------------------------------------------------------


@lru_cache(maxsize=1024)
def _storage(type: Type) -> pa.DataType:
    return type.storage


def _scalar(value: Any, type: Type) -> pa.Scalar:
    return pa.scalar(stored(value, type), _storage(type))


def _array(values: list[Any], type: Type) -> pa.Array:
    return pa.array([stored(value, type) for value in values], _storage(type))


def _replaced(array: pa.Array, mask: pa.Array, values: pa.Array) -> pa.Array:
    """``array`` with ``values``, in their order, where ``mask`` is true."""
    if not pa.types.is_list(array.type):
        return pc.replace_with_mask(array, mask, values)
    places = np.arange(len(array))
    places[mask.to_numpy(zero_copy_only=False)] = len(array) + np.arange(len(values))
    return pa.concat_arrays([array, values]).take(pa.array(places))


def _as_array(value: Datum, count: int, type: Type) -> pa.Array:
    if isinstance(value, pa.Scalar):
        return pa.nulls(count, _storage(type)) if not value.is_valid else pa.repeat(value, count)
    return value.combine_chunks() if isinstance(value, pa.ChunkedArray) else value


def _python_values(value: Datum, count: int, type: Type) -> list[Any]:
    """The Python values of an array or a scalar, ``count`` of them."""
    array = _as_array(value, 1, type) if isinstance(value, pa.Scalar) else value
    values = python_values(array, type)
    return values * count if isinstance(value, pa.Scalar) else values
