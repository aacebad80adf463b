"""Groups as the result of a query, without the executor: some left out, sorted, cut, and columns under other names.

    Select(ArrowScan groups, WHERE having, outputs, ORDER BY, LIMIT, OFFSET)
      having     a condition that the engine evaluates and that cannot fail      engine/expression/evaluate.py
      outputs    columns of the groups, as they are
      order      columns as numbers that sort so (``_ranks``); with a LIMIT only what can be among the first rows

The executor takes one to two milliseconds for it, which is as long as many a pipeline. What it does is what the
executor does: text by its bytes, NaN greatest, both zeros equal, NULLs where they are asked for; rows that are equal
in all sort keys come in any order. All else is left to the executor: ``arranged`` gives None.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ..base.errors import WeftError
from ..base.types import Kind, Type
from ..engine.expression.evaluate import can_fail, check_supported, evaluate_filter
from ..engine.expression.node import Column, Expression
from ..engine.pipeline.describe import FLOATS, INTEGERS
from ..engine.pipeline.ranks import places_of_reals
from ..storage.column_values import FixedValues, values_of
from ..storage.encoding import HIGHEST, LOWEST
from . import bound
from .pushdown import Moment, constant, finish
from .walk import columns_read, is_scalar

ROWS_MAX: Final = 1 << 16
"""More rows are sorted faster by the executor's threads, if more than a few of them are wanted."""
FEW: Final = 8
"""One row in so many is few."""

_TEXTS: Final = frozenset((Kind.TEXT, Kind.VARCHAR))
_KINDS: Final = INTEGERS | FLOATS | _TEXTS | {Kind.BOOLEAN}


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """A sort key: the column at ``place``."""

    place: int
    type: Type
    descending: bool
    nulls_first: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Arrangement:
    """``places``: of the outputs, among the columns of ``scan``."""

    scan: bound.ArrowScan
    places: tuple[int, ...]
    having: Expression | None
    order: tuple[Key, ...]
    limit: Expression | None
    offset: Expression | None


def arranged(query: bound.BoundQuery, relations: Mapping[str, pa.Table], moment: Moment) -> pa.RecordBatch | None:
    """The rows of a query over groups, under its own columns' names; None: the executor has to answer it."""
    if "arrangement" not in query.memo:
        query.memo["arrangement"] = _arrangement(query)
    found: _Arrangement | None = query.memo["arrangement"]
    return None if found is None else _rows(found, query, relations[found.scan.name], moment)


def _arrangement(query: bound.BoundQuery) -> _Arrangement | None:
    select = query.query
    if not isinstance(select, bound.Select) or not isinstance(select.source, bound.ArrowScan):
        return None
    if select.grouping is not None or select.having is not None or select.distinct or select.distinct_on:
        return None
    scan = select.source
    columns = {column.id: place for place, column in enumerate(scan.columns)}
    if any(column.type.kind not in _KINDS for column in scan.columns):
        return None
    places: list[int] = []
    for output in select.outputs:
        node = output.expression
        if not isinstance(node, Column) or node.id not in columns:
            return None
        columns.setdefault(output.column.id, columns[node.id])
        places.append(columns[node.id])
    order = keys_of(select, columns, [column.type for column in scan.columns])
    if order is None:
        return None
    for node in (select.where, select.limit, select.offset):
        if node is not None and not is_scalar(node):
            return None
    for node in (select.limit, select.offset):
        if node is not None and columns_read(node):
            return None
    return _Arrangement(
        scan=scan,
        places=tuple(places),
        having=None if select.where is None else bound.expression(select.where),
        order=order,
        limit=None if select.limit is None else bound.expression(select.limit),
        offset=None if select.offset is None else bound.expression(select.offset),
    )


def keys_of(select: bound.Select, places: Mapping[int, int], types: Sequence[Type]) -> tuple[Key, ...] | None:
    """The sort keys of a SELECT, as places among columns with ``types``; None where one is something else.

    ``places``: by the identifiers of columns and of outputs that are columns.
    """
    found: list[Key] = []
    for key in select.order:
        place = places.get(key.expression.id) if isinstance(key.expression, Column) else None
        if place is None or types[place].kind not in _KINDS:
            return None
        found.append(Key(place=place, type=types[place], descending=key.descending, nulls_first=key.nulls_first))
    return tuple(found)


def _rows(
    arrangement: _Arrangement, query: bound.BoundQuery, groups: pa.Table, moment: Moment
) -> pa.RecordBatch | None:
    try:
        first = _number(arrangement.offset, moment) or 0
        count = _number(arrangement.limit, moment)
    except (WeftError, ValueError):
        return None
    columns = [_whole(groups.column(name)) for name in arrangement.scan.sources]
    if arrangement.having is not None:
        having = finish(arrangement.having, moment)
        ids = [column.id for column in arrangement.scan.columns]
        try:
            if having is None or can_fail(having):
                return None
            check_supported(having)
            batch = pa.RecordBatch.from_arrays(columns, names=[str(id) for id in ids])
            mask = evaluate_filter(having, batch, column_ids=ids)
        except WeftError:
            return None
        columns = [column.filter(mask) for column in columns]
    rows_count = len(columns[0])
    last = rows_count if count is None else min(first + count, rows_count)
    chosen: np.ndarray | None = None
    if arrangement.order and first < last:
        if rows_count > ROWS_MAX and last * FEW > rows_count:
            return None
        chosen = sorted_rows([(columns[key.place], key) for key in arrangement.order], last)
    outputs = [columns[place] for place in arrangement.places]
    if chosen is not None:
        indexes = pa.array(chosen[first:last])
        outputs = [column.take(indexes) for column in outputs]
    else:
        outputs = [column.slice(first, max(last - first, 0)) for column in outputs]
    return pa.RecordBatch.from_arrays(outputs, names=[name for name, _ in query.columns])


def _number(node: Expression | None, moment: Moment) -> int | None:
    """The value of LIMIT or OFFSET. Raises ValueError for what is not a number of rows."""
    if node is None:
        return None
    value = constant(node, moment).value
    if not isinstance(value, int) or value < 0:
        raise ValueError(value)
    return value


def _whole(column: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
    return column


def sorted_rows(keys: Sequence[tuple[pa.Array, Key]], count: int) -> np.ndarray | None:
    """The first ``count`` rows (int64) or more, in the order of keys; None: all, and they are in order."""
    ranks = _ranks(*keys[0])
    leading = ranks[0]
    rows = None
    if count * FEW <= len(leading):
        rows = np.flatnonzero(leading <= np.partition(leading, count - 1)[count - 1])
        ranks = [rank[rows] for rank in ranks]
    elif len(keys) == len(ranks) == 1 and (leading[1:] >= leading[:-1]).all():
        return None
    for column, key in keys[1:]:
        ranks += _ranks(column if rows is None else column.take(pa.array(rows)), key)
    order = np.argsort(ranks[0], kind="stable") if len(ranks) == 1 else np.lexsort(ranks[::-1])
    return order if rows is None else rows[order]


def _ranks(column: pa.Array, key: Key) -> list[np.ndarray]:
    """A sort key as arrays of int64 that ascend in its order, the first one first."""
    kind = key.type.kind
    valid = None
    if column.null_count:
        valid = np.asarray(column.is_valid())
    if kind in _TEXTS:
        column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        ranks = [np.asarray(pc.rank(column, tiebreaker="dense")).astype(np.int64)]
    else:
        values = values_of(column, key.type)
        assert isinstance(values, FixedValues), f"{key.type} has a fixed width"
        ranks = _numbers(values.values, kind)
    if key.descending:
        ranks = [~rank for rank in ranks]
    if valid is None:
        return ranks
    null = LOWEST if key.nulls_first else HIGHEST
    if len(ranks) == 1 and not ((ranks[0] == null) & valid).any():
        return [np.where(valid, ranks[0], null)]
    return [np.where(valid, 0, -1 if key.nulls_first else 1), *(np.where(valid, rank, 0) for rank in ranks)]


def _numbers(values: np.ndarray, kind: Kind) -> list[np.ndarray]:
    if kind in FLOATS:
        return [places_of_reals(values)]
    if values.ndim == 1:
        return [values.astype(np.int64, copy=False)]
    low, high = values[:, 0], values[:, 1].view(np.int64)
    if (high == low.view(np.int64) >> 63).all():
        return [np.ascontiguousarray(low.view(np.int64))]
    return [np.ascontiguousarray(high), (low ^ np.uint64(1 << 63)).view(np.int64)]
