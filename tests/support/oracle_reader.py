"""A Reader over Arrow tables held in memory: no engine, no versions, no pruning.

The binder's tests run on it, and it is the oracle that the engine's scans are compared with: filters that are pushed to
it are evaluated row by row, or not at all with ``ignore_filters``, which must never change an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from weftdb.base.rows import to_batch
from weftdb.engine.catalog import Catalog
from weftdb.engine.computed import ComputedScan
from weftdb.engine.expression.evaluate import evaluate
from weftdb.engine.expression.node import Expression
from weftdb.engine.schema import ROW_ID_NAME, Relation, Table


class OracleScan:
    """All rows of one table reference, as often as asked."""

    def __init__(self, batch: pa.RecordBatch) -> None:
        self._batch = batch
        self.opened = 0

    @property
    def schema(self) -> pa.Schema:
        return self._batch.schema

    @property
    def rows_estimate(self) -> int:
        return self._batch.num_rows

    def batches(self) -> Iterator[pa.RecordBatch]:
        self.opened += 1
        yield self._batch

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return pa.RecordBatchReader.from_batches(self.schema, self.batches()).__arrow_c_stream__(requested_schema)


@dataclass(kw_only=True)
class OracleReader:
    """``rows`` by table name, as tuples in column order. ``asked`` lists what each scan was asked for."""

    relations: Sequence[Relation]
    rows: Mapping[str, list[tuple[Any, ...]]]
    ignore_filters: bool = False
    version: int = 1
    asked: list[tuple[str, tuple[int, ...], Expression | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.catalog = Catalog(version=1, relations={relation.name: relation for relation in self.relations})
        self._batches = {
            table.name: to_batch(self.rows[table.name], table.arrow_schema)
            if self.rows[table.name]
            else pa.RecordBatch.from_pylist([], schema=table.arrow_schema)
            for table in self.relations
            if isinstance(table, Table)
        }

    def put(self, table: Table, rows: pa.RecordBatch) -> None:
        """Rows of a table that is no relation of its own: the groups of a view."""
        self._batches[table.name] = rows

    def scan(
        self,
        table: Table,
        *,
        columns: Sequence[int] | None = None,
        filter: Expression | None = None,
        row_ids: bool = False,
    ) -> OracleScan | ComputedScan:
        if table.stored is not None:
            return table.computed.scan(self.scan, columns, filter)
        wanted = [column.id for column in table.columns] if columns is None else list(columns)
        self.asked.append((table.name, tuple(wanted), filter))
        batch = self._batches[table.name]
        numbers = pa.array(range(batch.num_rows), pa.int64())
        if filter is not None and not self.ignore_filters:
            mask = evaluate(filter, batch, column_ids=[column.id for column in table.columns])
            batch, numbers = batch.filter(mask), numbers.filter(mask)
        selected = batch.select([table.by_id[id].name for id in wanted])
        return OracleScan(selected.append_column(ROW_ID_NAME, numbers) if row_ids else selected)

    def series(self, *_: object, **__: object) -> None:
        """Queries scan."""

    def windows(self, *_: object, **__: object) -> None:
        """Queries scan."""

    def get(self, table: Table, key: tuple[Any, ...]) -> dict[str, Any] | None:
        raise NotImplementedError("queries scan")

    def get_many(self, table: Table, keys: pa.RecordBatch) -> Any:
        raise NotImplementedError("queries scan")
