"""Which cells and chunks a filter can have rows in, seen from its conjunction of simple comparisons.

    key columns each equal to constants      those shards
    event time between constants             those slices, and chunks whose event times meet the range
    primary key equal to one constant        one row, found by the index

Only ``column <op> literal`` of one type counts, in either order; all else is left to the filter, which is evaluated in
any case. So pruning may only ever leave out rows for which the filter is not true. Ranges here are closed,
``[low, high]``, in the column's stored unit (microseconds, or days for DATE), since a literal is one point.
"""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice, product
from typing import Any, Final

from ..base.errors import Invalid
from ..base.types import Kind
from .expression.node import Call, Column, Expression, Literal
from .key_encoding import microseconds_of
from .layout import DAY, Layout

MIRRORED: Final = {
    "equal": "equal",
    "less": "greater",
    "less_equal": "greater_equal",
    "greater": "less",
    "greater_equal": "less_equal",
}
"""Comparison functions of the function table, and each one's name with its arguments exchanged."""

COMBINATIONS_MAX: Final = 1_024
"""Beyond this many combinations of key values, all shards are read."""


@dataclass(slots=True)
class Pruning:
    """``shards`` None: any. ``low`` and ``high`` bound the stored event time. ``key``: the one primary key, encoded."""

    shards: frozenset[int] | None = None
    low: int | None = None
    high: int | None = None
    slice_low: int | None = None
    slice_high: int | None = None
    key: bytes | None = None

    def keeps_cell(self, slice: int, shard: int) -> bool:
        if self.shards is not None and shard not in self.shards:
            return False
        if self.slice_low is not None and slice < self.slice_low:
            return False
        return self.slice_high is None or slice <= self.slice_high

    def keeps_times(self, low: int, high: int) -> bool:
        """Whether a chunk with event times ``low`` to ``high`` may have rows."""
        return (self.low is None or high >= self.low) and (self.high is None or low <= self.high)


def prune(filter: Expression | None, layout: Layout) -> Pruning:
    """What ``filter`` says about where rows can be."""
    pruning = Pruning()
    if filter is None:
        return pruning
    values: dict[int, tuple[Any, ...]] = {}
    for id, function, constants in _comparisons(filter, layout):
        if function == "equal" and (id not in values or len(constants) < len(values[id])):
            values[id] = constants
        if layout.time is not None and id == layout.time.id:
            _bound(pruning, function, [stored_time(value, layout.time.type.kind) for value in constants])
    if layout.sliced:
        scale = DAY if layout.time is not None and layout.time.type.kind is Kind.DATE else 1
        pruning.slice_low = None if pruning.low is None else layout.slice_of(pruning.low * scale)
        pruning.slice_high = None if pruning.high is None else layout.slice_of(pruning.high * scale)
    with contextlib.suppress(Invalid):  # A constant that the column cannot hold: the filter itself finds no row.
        _prune_keys(pruning, values, layout)
    return pruning


def _prune_keys(pruning: Pruning, values: dict[int, tuple[Any, ...]], layout: Layout) -> None:
    table = layout.table
    if layout.sharded and all(id in values for id in table.key):
        keys = list(islice(product(*(values[id] for id in table.key)), COMBINATIONS_MAX + 1))
        if len(keys) <= COMBINATIONS_MAX:
            pruning.shards = frozenset(layout.shard_of(key) for key in keys)
    if layout.encoder is not None and all(len(values.get(id, ())) == 1 for id in table.primary_key):
        pruning.key = layout.encoder.encode_one([values[id][0] for id in table.primary_key])


def stored_time(value: Any, kind: Kind) -> int:
    """An event time as its column stores it: microseconds, or days for DATE."""
    if isinstance(value, int):
        return value
    if kind is Kind.DATE:
        return value.toordinal() - datetime.date(1970, 1, 1).toordinal()
    return microseconds_of(value)


def conjuncts(expression: Expression) -> Iterator[Expression]:
    """The expressions that must all be true for ``expression`` to be true."""
    if isinstance(expression, Call) and expression.function == "and":
        for argument in expression.arguments:
            yield from conjuncts(argument)
    else:
        yield expression


def column_ids(expression: Expression | None) -> set[int]:
    """The columns that an expression reads."""
    match expression:
        case Column():
            return {expression.id}
        case Call():
            return set().union(*(column_ids(argument) for argument in expression.arguments))
        case None | Literal():
            return set()
        case _:
            parts: list[Expression] = []
            for branch in getattr(expression, "branches", ()):
                parts.extend(branch)
            parts += [part for name in ("argument", "default") if (part := getattr(expression, name, None)) is not None]
            return set().union(*(column_ids(part) for part in parts))


def _comparisons(filter: Expression, layout: Layout) -> Iterator[tuple[int, str, tuple[Any, ...]]]:
    """(column, comparison, constants) for each usable conjunct; more than one constant stands for IN."""
    for conjunct in conjuncts(filter):
        if not isinstance(conjunct, Call) or len(conjunct.arguments) < 2:
            continue
        function, arguments = conjunct.function, list(conjunct.arguments)
        if isinstance(arguments[0], Literal) and function in MIRRORED:
            function = MIRRORED[function]
            arguments.reverse()
        column, *constants = arguments
        if not isinstance(column, Column) or function not in (*MIRRORED, "in_list") or column.id not in layout.by_id:
            continue
        kind = layout.by_id[column.id].type.kind
        values = [literal.value for literal in constants if isinstance(literal, Literal) and _same(literal, kind)]
        if len(values) == len(constants) and None not in values:
            yield column.id, "equal" if function == "in_list" else function, tuple(values)


def _same(literal: Literal, kind: Kind) -> bool:
    texts = (Kind.TEXT, Kind.VARCHAR)
    return literal.type.kind is kind or (literal.type.kind in texts and kind in texts)


def _bound(pruning: Pruning, function: str, times: list[int]) -> None:
    low = high = None
    match function:
        case "equal":
            low, high = min(times), max(times)
        case "less":
            high = times[0] - 1
        case "less_equal":
            high = times[0]
        case "greater":
            low = times[0] + 1
        case _:
            low = times[0]
    if low is not None:
        pruning.low = low if pruning.low is None else max(pruning.low, low)
    if high is not None:
        pruning.high = high if pruning.high is None else min(pruning.high, high)
