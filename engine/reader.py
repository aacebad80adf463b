"""Reading: what SQL and key-value calls need from whatever is read, a snapshot or an open transaction."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from .catalog import Catalog
from .expression.node import Expression
from .scan import ScanStatistics
from .schema import Table
from .statistics import TableStatistics


class RowStream(Protocol):
    """Rows of one table reference, lazily, as often as asked: each iteration and each Arrow stream starts anew."""

    @property
    def schema(self) -> pa.Schema: ...

    @property
    def rows_estimate(self) -> int: ...

    @property
    def statistics(self) -> ScanStatistics: ...

    def batches(self) -> Iterator[pa.RecordBatch]: ...

    def __arrow_c_stream__(self, requested_schema: object = None) -> object: ...


class Reader(Protocol):
    """One version of the database, with a transaction's own writes where it is one."""

    @property
    def version(self) -> int: ...

    @property
    def catalog(self) -> Catalog: ...

    def scan(
        self,
        table: Table,
        *,
        columns: Sequence[int] | None = None,
        filter: Expression | None = None,
        row_ids: bool = False,
    ) -> RowStream:
        """Rows of ``table``: ``columns`` by identifier in the order given (all unless told), where ``filter`` is true.

        ``row_ids`` appends the column ``weft_row_id`` (BIGINT) of a table without primary key.
        """
        ...

    def statistics(self, table: Table) -> TableStatistics:
        """What is known of the rows of ``table``, about, and of now: plans are judged by it."""
        ...

    def series(
        self,
        table: Table,
        key: tuple[Any, ...],
        low: int | None,
        high: int | None,
        *,
        columns: Sequence[int] | None = None,
    ) -> pa.RecordBatch | None:
        """The rows of one key (Python values of the key columns, none None) with event time in ``[low, high)``.

        Times count as the column stores them, microseconds or days; None is no bound. Returns None where it is not as
        simple as that, or the rows are many: ``scan`` gives them.
        """
        ...

    def windows(
        self,
        table: Table,
        windows: Sequence[tuple[int, int]],
        *,
        columns: Sequence[int],
        filter: Expression | None = None,
    ) -> tuple[pa.RecordBatch, np.ndarray] | None:
        """The rows of a stored table with event time in each window ``[low, high)`` for which ``filter`` is true, and
        the place of the window for each row (int64[n]).

        Times count as for ``series``. Returns None where it is not as simple as that, or the rows are many.
        """
        ...

    def get(self, table: Table, key: tuple[Any, ...]) -> dict[str, Any] | None:
        """The row with this primary key (Python values in primary-key order) as a dict by column name, or None."""
        ...

    def get_many(self, table: Table, keys: pa.RecordBatch) -> tuple[pa.RecordBatch, np.ndarray]:
        """The rows found, in the order of ``keys``, and for each of them the index of its key (int64)."""
        ...
