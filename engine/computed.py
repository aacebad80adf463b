"""Tables with the rows of another one, some columns of which are computed when they are read: a materialized view's.

    groups of v    1 (a), 2 (rows), 3, 4 (a sum's limbs)          stored: cells, versions, indexes
    v              a, n, total                                    a is 1, n is 2, total = weft_sum_integer(3, 4)

A column that is one of the stored ones has its identifier, so that keys, filters, zones and statistics are those of the
stored table. The others have identifiers beyond, and an expression. Who reads gets the stored rows (``Snapshot.scan``
and its like), and computes what was asked for: a batch at a time, or one row as Python values. What a value cannot be,
such as a sum beyond its type, is an error of who reads that column.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from functools import cache
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..base.errors import Invalid
from ..base.types import Type
from .expression.evaluate import evaluate, without_row
from .expression.node import Cast, Expression
from .expression.node import Column as ColumnNode
from .expression.rowwise import function_of_row, functions_of_row
from .expression.tree import columns_of, transform
from .projection import Projection
from .schema import Column, Table

if TYPE_CHECKING:
    from .reader import RowStream
    from .scan_statistics import ScanStatistics


def read_as(stored: Table, outputs: Sequence[tuple[str, Type, Expression]]) -> Table:
    """The table whose columns are ``outputs`` of the columns of ``stored``: name, type, and what each is."""
    columns: list[Column] = []
    taken: set[int] = set()
    for id, (name, type, value) in enumerate(outputs, stored.next_column_id):
        if isinstance(value, ColumnNode) and value.type == type and value.id not in taken:
            columns.append(dataclasses.replace(stored.by_id[value.id], name=name))
            taken.add(value.id)
        else:
            value = value if value.type == type else Cast(argument=value, type=type)
            columns.append(Column(id=id, name=name, type=type, expression=value))
    return dataclasses.replace(
        stored,
        columns=tuple(columns),
        primary_key=stored.primary_key if taken.issuperset(stored.primary_key) else (),
        key=stored.key if taken.issuperset(stored.key) else (),
        next_column_id=stored.next_column_id + len(outputs),
        stored=stored,
    )


class Computed:
    """How rows of ``table`` are made of those of ``table.stored``."""

    def __init__(self, table: Table) -> None:
        assert table.stored is not None, f"{table.name} has rows of its own"
        self._table = table
        self._stored = table.stored
        self._values = {column.id: column.expression or column.node for column in table.columns}
        self.row = cache(self._row)

    def stored_ids(self, ids: Sequence[int] | None) -> tuple[int, ...]:
        """The stored columns that some columns (all unless told) are made of; none where these are constants."""
        values = [self._values[column.id] for column in self.columns(ids)]
        return tuple(dict.fromkeys(id for value in values for id in sorted(columns_of(value))))

    def scan(
        self, scan: Callable[..., RowStream], columns: Sequence[int] | None, filter: Expression | None
    ) -> ComputedScan:
        """A scan of the table, by ``scan`` of the stored one."""
        ids = self.stored_ids(columns)
        rows = scan(self._stored, columns=ids, filter=self.over_stored(filter))
        return ComputedScan(self._table, rows, self.columns(columns), ids)

    def columns(self, ids: Sequence[int] | None) -> tuple[Column, ...]:
        """Columns by identifier; all unless told."""
        return self._table.columns if ids is None else tuple([self._table.by_id[id] for id in ids])

    def over_stored(self, filter: Expression | None) -> Expression | None:
        """A condition on the table's columns as one on the stored columns."""
        if filter is None:
            return None
        return transform(filter, lambda node: self._values[node.id] if isinstance(node, ColumnNode) else node)

    def _row(self, names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
        """What makes the values of some columns of a stored row."""
        stored = {column.id: column.name for column in self._stored.columns}
        functions = [function_of_row(self._values[self._table.by_name[name].id], stored) for name in names]
        return functions_of_row(functions)

    def row_of(self, stored: Mapping[str, Any]) -> dict[str, Any]:
        """All columns of a stored row, by name."""
        names = tuple(self._table.by_name)
        return dict(zip(names, self.row(names)(stored), strict=True))

    def stored_keys(self, keys: pa.RecordBatch) -> pa.RecordBatch:
        """Primary keys, under the names that the stored table has for them."""
        names = {column.name: self._stored.by_id[column.id].name for column in self._table.primary_key_columns}
        return keys.rename_columns([names[name] for name in keys.schema.names])

    def rows_of(self, rows: pa.RecordBatch, columns: Sequence[int] | None = None) -> pa.RecordBatch:
        """Columns of stored rows, which have the columns ``stored_ids`` of these."""
        return self.batch_of(rows, self.stored_ids(columns), Projection(self.columns(columns)))

    def batch_of(self, rows: pa.RecordBatch, stored_ids: Sequence[int], projection: Projection) -> pa.RecordBatch:
        """Columns of stored rows. Raises Invalid for a value that its type cannot hold."""
        places = {id: place for place, id in enumerate(stored_ids)}
        arrays = [
            rows.column(places[column.id])
            if column.expression is None
            else evaluated(column.expression, rows, stored_ids)
            for column in projection.columns
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=projection.schema)


def evaluated(value: Expression, rows: pa.RecordBatch, ids: Sequence[int]) -> pa.Array:
    """A value of each of the rows, whose columns are ``ids``. Raises Invalid, without the number of a row."""
    try:
        return evaluate(value, rows, column_ids=ids)
    except Invalid as error:  # its row is no row that the user knows
        raise Invalid(without_row(error), hint=error.hint, sqlstate=error.sqlstate) from None


class ComputedScan:
    """A RowStream of ``columns`` of a table, made of a scan of the stored columns ``ids``.

    Without columns to compute it can whatever that scan can: be handed over, tell and expect keys, be looked at.
    """

    __slots__ = ("_computes", "_ids", "_projection", "_scan", "_table")

    def __init__(self, table: Table, scan: RowStream, columns: Sequence[Column], ids: Sequence[int]) -> None:
        self._table = table
        self._scan = scan
        self._projection = Projection(columns)
        self._ids = ids
        self._computes = any(column.expression is not None for column in columns)

    def __getattr__(self, name: str) -> Any:
        if self._computes:
            raise AttributeError(name)
        found = getattr(self._scan, name)
        return self._handed if name == "handed" else found

    @property
    def schema(self) -> pa.Schema:
        return self._projection.schema

    @property
    def rows_estimate(self) -> int:
        return self._scan.rows_estimate

    @property
    def statistics(self) -> ScanStatistics:
        return self._scan.statistics

    def _handed(
        self, places: Sequence[int] | None = None, *, pool: Executor | None = None
    ) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        scan: Any = self._scan
        schema, batches = scan.handed(places, pool=pool)
        names = self.schema.names if places is None else [self.schema.names[place] for place in places]
        fields = [field.with_name(name) for field, name in zip(schema, names, strict=True)]
        return pa.schema(fields), (batch.rename_columns(names) for batch in batches)

    def batches(self) -> Iterator[pa.RecordBatch]:
        computed = self._table.computed
        for batch in self._scan.batches():
            yield computed.batch_of(batch, self._ids, self._projection)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(self.schema, self.batches()).__arrow_c_stream__(requested_schema)
