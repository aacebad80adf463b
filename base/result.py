"""What a statement gives back: Arrow batches, rows, one value.

A ``Result`` is a stream until somebody asks for all of it. ``reader()`` and ``__arrow_c_stream__`` hand batches through
as they come, once; ``arrow()``, ``rows()`` and ``scalar()`` read the rest, keep it, and may be called again. After a
result was streamed, what is gone is gone: asking again is an error, not an empty answer.

A short answer may come as tuples instead (``of_rows``); Arrow is then made of it when somebody asks for Arrow.

``rows_affected`` is the count of INSERT, UPDATE, DELETE; None for a query. ``tag`` is the command in capitals.
``notices`` are what the text had to say beside its result (``relation "t" already exists, skipping``). ``settings``, of
a text that changed some, are what its session had set at its end: see ``Database.execute``.

The version goes with the Arrow data, too, wherever they are carried: as ``weft.version`` in the schema's metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import pyarrow as pa

from .errors import Closed, Invalid
from .rows import array_of_values, python_rows
from .types import Type, type_of_field

METADATA_VERSION: Final = b"weft.version"
"""In an Arrow schema's metadata: the version that the rows were read at, as decimal digits."""


class Result:
    """The outcome of one statement at snapshot ``version``. Also an iterator of row tuples, and a context manager."""

    def __init__(
        self,
        *,
        schema: pa.Schema,
        batches: Iterable[pa.RecordBatch],
        version: int,
        tag: str = "SELECT",
        rows_affected: int | None = None,
        types: Sequence[Type] | None = None,
        on_close: Callable[[], None] | None = None,
    ) -> None:
        self.schema = schema
        self.types: tuple[Type, ...] = tuple(types or map(type_of_field, schema))
        self.version = version
        self.tag = tag
        self.rows_affected = rows_affected
        self.notices: tuple[str, ...] = ()
        self.settings: Mapping[str, str] | None = None
        self._batches: Iterator[pa.RecordBatch] | None = iter(batches)
        self._table: pa.Table | None = None
        self._rows: list[tuple[Any, ...]] | None = None
        self._on_close = on_close
        assert len(self.types) == len(schema), f"{len(self.types)} types for {len(schema)} columns"

    @classmethod
    def of_rows(
        cls, rows: list[tuple[Any, ...]], *, schema: pa.Schema, types: tuple[Type, ...], version: int
    ) -> Result:
        """A query's few rows, as tuples of what ``python_values`` gives for ``types``; the list is the result's own."""
        result = cls(schema=schema, batches=_lazily(rows, schema, types), version=version, types=types)
        result._rows = rows
        return result

    @property
    def names(self) -> tuple[str, ...]:
        """The column names; they may repeat, as SQL's may."""
        return tuple(self.schema.names)

    @property
    def values(self) -> list[tuple[Any, ...]] | None:
        """The rows, where they are there as tuples and nobody has streamed them; the list is the result's own."""
        return self._rows if self._batches is not None else None

    def arrow(self) -> pa.Table:
        """All rows as a table. Raises Closed after ``close`` or after the batches were streamed."""
        if self._table is None:
            self._table = pa.Table.from_batches(self._stream(), schema=self._versioned())
        return self._table

    def reader(self) -> pa.RecordBatchReader:
        """The batches as they come, once; nothing is kept."""
        if self._table is not None:
            return self._table.to_reader()
        return pa.RecordBatchReader.from_batches(self._versioned(), self._stream())

    def rows(self) -> list[tuple[Any, ...]]:
        """All rows as tuples of Python values."""
        if self.values is not None:
            return list(self.values)
        return python_rows(self.arrow(), self.types)

    def scalar(self) -> Any:
        """The one value; None without a row. Raises Invalid unless there is one column and at most one row."""
        if len(self.schema) != 1:
            raise Invalid(f"scalar() needs a result of one column, this one has {len(self.schema)}")
        if self.values is not None:
            rows, count = self.values, len(self.values)
        else:
            table = self.arrow()
            rows, count = python_rows(table.slice(0, 1), self.types), table.num_rows
        if count > 1:
            raise Invalid(f"scalar() needs a result of one row, this one has {count:,}")
        return rows[0][0] if count else None

    def close(self) -> None:
        """Give up what was not read, and the snapshot below it. May be called again."""
        self._batches = None
        self._release()

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.reader().__arrow_c_stream__(requested_schema)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        for batch in self.reader():
            yield from python_rows(batch, self.types)

    def __enter__(self) -> Result:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        columns = ", ".join(f"{name} {type}" for name, type in zip(self.names, self.types, strict=True))
        affected = "" if self.rows_affected is None else f", {self.rows_affected} rows affected"
        return f"<Result {self.tag} at version {self.version}{affected} ({columns})>"

    def _versioned(self) -> pa.Schema:
        return self.schema.with_metadata({**(self.schema.metadata or {}), METADATA_VERSION: str(self.version)})

    def _stream(self) -> Iterator[pa.RecordBatch]:
        """The batches, once; the source is released when they end or fail."""
        batches, self._batches = self._batches, None
        if batches is None:
            raise Closed("this result was closed or streamed already", hint="Use arrow() or rows() to read it twice.")
        return self._released_after(batches)

    def _released_after(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            yield from batches
        finally:
            self._release()

    def _release(self) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()


def _lazily(rows: list[tuple[Any, ...]], schema: pa.Schema, types: Sequence[Type]) -> Iterator[pa.RecordBatch]:
    if rows:
        columns = zip(*rows, strict=True)
        arrays = [array_of_values(column, type) for column, type in zip(columns, types, strict=True)]
        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
