"""What the engine can filter by itself: simple conditions on one table's columns.

A filter goes with a scan so that the engine can leave out cells, chunks and rows, or probe the primary-key index;
DuckDB still evaluates the whole WHERE, so a filter may always say less than the query does, never more.

    simple(condition, columns)      when the query is planned: the condition over the table's own column identifiers,
                                    or None where it is not of the shapes below
    finish(filter, parameters)      when the query runs: parameters and now() put in, constants computed, casts around
                                    columns taken off where the constant fits the column's type exactly

Shapes: column = < <= > >= constant, column IN (constants), column = ANY (constant array), column LIKE constant, column
IS NULL, and AND and OR of these; in place of a column also an expression that an index has the values of, and in a
comparison the date of a timestamp. A constant is anything without columns that is the same for the whole statement,
such as ``now() - interval '7 days'``.
``<>`` and IS NOT NULL keep almost every row; they are not worth a copy.
"""

from __future__ import annotations

import datetime
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from ..base.errors import Invalid, WeftError
from ..base.rows import python_values
from ..base.types import BOOLEAN, INTEGER, Kind, Type
from ..base.values import literal_value
from ..engine import schema
from ..engine.expression.evaluate import Context, check_supported, evaluate
from ..engine.expression.functions import FUNCTIONS, Volatility, session_literal
from ..engine.expression.node import Call, Cast, Column, Expression, Literal, Parameter
from ..engine.expression.tree import columns_of, nameless, transform
from . import bound
from .walk import is_scalar, walk

MIRRORED: Final = {
    "equal": "equal",
    "less": "greater",
    "less_equal": "greater_equal",
    "greater": "less",
    "greater_equal": "less_equal",
}

Sources = Mapping[int, int]
"""Column identifiers of the query → those of the table."""


def conjuncts(node: bound.Bound | None) -> list[bound.Bound]:
    """The parts of a top-level AND; nothing for None."""
    if node is None:
        return []
    if isinstance(node, Call) and node.function == "and":
        return [part for argument in node.arguments for part in conjuncts(argument)]
    return [node]


def rejects_null(node: bound.Bound) -> bool:
    """Whether a simple condition is not true for a NULL column: true of every shape but IS NULL."""
    return all(not (isinstance(part, Call) and part.function == "is_null") for part in walk(node))


@dataclass(frozen=True, slots=True)
class _Table:
    """What conditions may speak of: its columns, and expressions over these, without names."""

    sources: Sources
    indexed: Collection[Expression]


def simple(node: bound.Bound, sources: Sources, indexed: Collection[Expression] = ()) -> Expression | None:
    """``node`` over the table's columns, or None if the engine shall not see it.

    ``indexed``: the expressions of its indexes, without names (``tree.nameless``).
    """
    found = _simple(node, _Table(sources, indexed))
    if found is None:
        return None
    try:
        check_supported(transform(found, _any_element))
    except Invalid:
        return None
    return found


def _any_element(node: Expression) -> Expression:
    """``column IN array`` as it will look when the array is known."""
    if not isinstance(node, Call) or node.function != "in_list" or node.arguments[-1].type.element is None:
        return node
    element = Literal(value=None, type=node.arguments[-1].type.element)
    return _call("in_list", node.arguments[0], element)


def _simple(node: bound.Bound, sources: _Table) -> Expression | None:
    if isinstance(node, bound.QuantifiedArray):
        column = _column(node.operand, sources)
        if column is None or node.operator != "equal" or node.all or not _constant(node.array):
            return None
        return _call("in_list", column, bound.expression(node.array))
    if not isinstance(node, Call):
        return None
    arguments = node.arguments
    match node.function:
        case "and":
            parts = [part for argument in arguments if (part := _simple(argument, sources)) is not None]
            return _call("and", *parts) if len(parts) > 1 else parts[0] if parts else None
        case "or":
            parts = [_simple(argument, sources) for argument in arguments]
            known = [part for part in parts if part is not None]
            return _call("or", *known) if len(known) == len(parts) else None
        case "is_null":
            column = _column(arguments[0], sources)
            return _call("is_null", column) if column is not None else None
        case "in_list":
            column = _column(arguments[0], sources)
            if column is None or column.type.element or not all(_constant(item) for item in arguments[1:]):
                return None
            return _call("in_list", column, *arguments[1:])
        case "like":
            column = _column(arguments[0], sources)
            if column is None or not _constant(arguments[1]):
                return None
            return _call("like", column, bound.expression(arguments[1]))
        case function if function in MIRRORED and arguments[0].type.element is None:  # DuckDB compares arrays faster
            left, right = arguments
            column = _column(left, sources)
            if column is not None and _constant(right):
                return _call(function, column, right)
            column = _column(right, sources)
            if column is not None and _constant(left):
                return _call(MIRRORED[function], column, left)
            return _of_moments(function, left, right, sources) or _of_moments(MIRRORED[function], right, left, sources)
        case _:
            return None


def _of_moments(function: str, day: Expression, constant: Expression, sources: _Table) -> Expression | None:
    """``CAST(timestamp AS DATE)`` compared with a date, as the timestamp compared with midnights: so zones tell."""
    if not (isinstance(day, Cast) and day.type.kind is constant.type.kind is Kind.DATE and _constant(constant)):
        return None
    moment = _column(day.argument, sources)
    if not isinstance(moment, Column) or moment.type.kind is not Kind.TIMESTAMP:
        return None
    one = Literal(value=1, type=INTEGER)
    next = Call(function="add", arguments=(constant, one), type=constant.type)
    midnight, end = Cast(argument=constant, type=moment.type), Cast(argument=next, type=moment.type)
    match function:
        case "equal":
            return _call("and", _call("greater_equal", moment, midnight), _call("less", moment, end))
        case "less":
            return _call("less", moment, midnight)
        case "less_equal":
            return _call("less", moment, end)
        case "greater":
            return _call("greater_equal", moment, end)
        case _:
            return _call("greater_equal", moment, midnight)


def _call(function: str, *arguments: Expression) -> Call:
    return Call(function=function, arguments=arguments, type=BOOLEAN)


def _column(node: bound.Bound, sources: _Table) -> Expression | None:
    """A column of the table, or a widening cast of one, or an expression that an index has."""
    found = _indexed(node, sources) if sources.indexed else None
    if found is not None:
        return found
    if isinstance(node, Cast):
        inner = _column(node.argument, sources)
        return (
            Cast(argument=inner, type=node.type)
            if isinstance(inner, Column) and _widens(inner.type, node.type)
            else None
        )
    if isinstance(node, Column) and sources.sources.get(node.id, schema.ROW_ID) != schema.ROW_ID:
        return Column(id=sources.sources[node.id], type=node.type, name=node.name)
    return None


def _indexed(node: bound.Bound, table: _Table) -> Expression | None:
    if isinstance(node, Column) or not is_scalar(node):
        return None
    own = bound.expression(node)
    if not columns_of(own) <= table.sources.keys():
        return None

    def of_table(part: Expression) -> Expression:
        return replace(part, id=table.sources[part.id]) if isinstance(part, Column) else part

    own = transform(own, of_table)
    try:
        return own if nameless(own) in table.indexed else None
    except TypeError:  # it holds an array, which is a list and has no hash
        return None


def _widens(source: Type, target: Type) -> bool:
    """Whether the cast keeps every value and its order."""
    if source.is_text and target.is_text:
        return target.length is None
    if source.is_integer:
        return target.is_integer or target.kind is Kind.NUMERIC
    if source.kind is Kind.NUMERIC and target.kind is Kind.NUMERIC:
        return (target.scale or 0) >= (source.scale or 0)
    return source.kind is Kind.DATE and target.kind is Kind.TIMESTAMP


def _constant(node: bound.Bound) -> bool:
    """Whether a value is the same for the whole statement, and the engine's nodes can say it."""
    for part in walk(node):
        if isinstance(part, Column) or not isinstance(part, Literal | Parameter | Call | Cast):
            return False
        if isinstance(part, Call) and FUNCTIONS[part.function].volatility is Volatility.VOLATILE:
            return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """What is known when a statement runs: the values of its parameters, and its time (microseconds, UTC)."""

    parameters: Mapping[int, Literal]
    now: int


def finish(filter: Expression | None, moment: Moment) -> Expression | None:
    """The filter with constants computed; None where a constant cannot be (DuckDB then raises the error)."""
    if filter is None:
        return None
    try:
        return transform(_fold(filter, moment), _unwrap)
    except WeftError:
        return None


def constant(node: Expression, moment: Moment) -> Literal:
    """The value of an expression without columns. Raises what computing it raises, and Invalid (0A000)."""
    found = _fold(node, moment)
    if isinstance(found, Literal):
        return found
    return _computed(found, moment)


def with_constants(node: Expression, moment: Moment) -> Expression:
    """The values of parameters and the statement's time in their places, nothing else computed."""

    def known(part: Expression) -> Expression:
        if isinstance(part, Parameter):
            return moment.parameters[part.number]
        if not isinstance(part, Call) or part.arguments:
            return part
        stable = FUNCTIONS[part.function].volatility is Volatility.STABLE
        return session_literal(part.function, now=moment.now) if stable else part

    return transform(node, known)


def _fold(node: Expression, moment: Moment) -> Expression:
    """Constants as literals, everything else kept."""
    match node:
        case Parameter():
            return moment.parameters[node.number]
        case Call() if not node.arguments and FUNCTIONS[node.function].volatility is Volatility.STABLE:
            return session_literal(node.function, now=moment.now)
        case Call() | Cast():
            parts = node.arguments if isinstance(node, Call) else (node.argument,)
            parts = tuple(_fold(part, moment) for part in parts)
            if isinstance(node, Cast):
                changed: Expression = Cast(argument=parts[0], type=node.type)
            else:
                changed = Call(function=node.function, arguments=parts, type=node.type)
            return _computed(changed, moment) if all(isinstance(part, Literal) for part in parts) else changed
        case _:
            return node


_ONE_ROW: Final = pa.RecordBatch.from_arrays([pa.array([True])], names=["0"])


def _computed(node: Expression, moment: Moment) -> Literal:
    if isinstance(node, Cast) and node.type.is_integer and node.argument.type.is_integer:
        whole = _exact(node.argument, node.type)  # what every $1 that is an int would wait for
        if whole is not None:
            return whole
    array = evaluate(node, _ONE_ROW, column_ids=[-1], context=Context(now=moment.now))
    return Literal(value=python_values(array, node.type)[0], type=node.type)


def _unwrap(node: Expression) -> Expression:
    """``CAST(column) = constant`` as ``column = constant``, in this order; ``column = ANY (array)`` as IN."""
    if not isinstance(node, Call) or node.function not in ("in_list", *MIRRORED):
        return node
    column, *constants = node.arguments
    if isinstance(column, Literal) and node.function != "in_list":
        node = Call(function=MIRRORED[node.function], arguments=(*constants, column), type=node.type)
        column, *constants = node.arguments
    if node.function == "in_list" and len(constants) == 1 and constants[0].type.element is not None:
        constants = _elements(constants[0], constants[0].type.element)
    if not constants:
        return Literal(value=False, type=BOOLEAN)
    if isinstance(column, Cast) and isinstance(column.argument, Column) and _widens(column.argument.type, column.type):
        if column.argument.type.kind is Kind.DATE:
            return _of_days(node.function, column.argument, constants) or node
        exact = [_exact(constant, column.argument.type) for constant in constants]
        if all(item is not None for item in exact):
            column, constants = column.argument, [item for item in exact if item is not None]
    return Call(function=node.function, arguments=(column, *constants), type=BOOLEAN)


def _of_days(function: str, column: Column, constants: Sequence[Expression]) -> Expression | None:
    """A comparison of a DATE with timestamps as one with dates: a day is its midnight."""
    days: list[Expression] = []
    for constant in constants:
        moment = constant.value if isinstance(constant, Literal) else None
        if not isinstance(moment, datetime.datetime) or moment.tzinfo is not None:
            return None
        day = moment.date()
        if moment.time() == datetime.time():
            days.append(Literal(value=day, type=column.type))
        elif function in ("less", "greater_equal") and day < datetime.date.max:  # before noon is before the next day
            days.append(Literal(value=day + datetime.timedelta(days=1), type=column.type))
        elif function in ("less_equal", "greater"):
            days.append(Literal(value=day, type=column.type))
        elif function != "in_list":
            return Literal(value=False, type=BOOLEAN) if function == "equal" else None
    if not days:
        return Literal(value=False, type=BOOLEAN)
    return Call(function=function, arguments=(column, *days), type=BOOLEAN)


def _elements(array: Expression, element: Type) -> list[Expression]:
    """The elements of a constant array; a NULL array has one, NULL, which equals nothing."""
    assert isinstance(array, Literal), "constants were computed"
    values: Sequence[Any] = [None] if array.value is None else array.value  # pyright: ignore[reportAssignmentType]
    return [Literal(value=value, type=element) for value in values]


def _exact(constant: Expression, type: Type) -> Literal | None:
    """The constant as a value of the column's own type, if it is one."""
    if not isinstance(constant, Literal):
        return None
    if type.kind is Kind.DATE and constant.value is not None:
        return None
    try:
        return Literal(value=literal_value(constant.value, type), type=type)
    except WeftError:
        return None
