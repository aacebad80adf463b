"""The embedded writer: rows one at a time, committed in batches by a thread of its own.

    put ──► open batch ──sealed when full, or after a while──► queue ──► thread: Arrow, commit ──► acknowledged

A batch holds rows of one sort (one change, tuples or dicts with one set of columns), so that each is one call of the
engine. It is sealed at WRITER_BATCH_ROWS, or when its first row has waited for WRITER_LINGER_SECONDS, or by ``flush``.
``put`` blocks while the queue is full.

A writer with a name gives each batch a sequence number, so that it goes on after what was applied (engine/changes.py).

What always holds: batches are committed in order. When one fails, everything handed over after it is dropped and the
next call raises the error, once; then the writer starts afresh. The remote writer keeps the same promises.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self, TypeAlias, cast

import pyarrow as pa

from ..base import interface
from ..base.errors import Closed, Invalid
from ..base.interface import Key, Keys, Rows
from ..base.limits import WRITER_BATCH_ROWS, WRITER_BATCHES_IN_FLIGHT, WRITER_LINGER_SECONDS
from ..base.rows import amounts_row, to_batch, to_keys
from ..engine.changes import Change, WriterToken, writer_rows
from ..engine.clock import monotonic
from ..engine.delta import NO_BOUNDS, Bounds
from . import keyvalue
from .session import Session

_Bounds: TypeAlias = tuple[object, object]
_NO_BOUNDS: Final = (None, None)


@dataclass(slots=True, kw_only=True)
class _Batch:
    """Rows of one sort. ``rows`` is a list of rows, or something Arrow; ``bounds`` are those of an ADD."""

    change: Change
    bounds: _Bounds
    sort: object
    rows: Any
    since: float


class EmbeddedWriter(interface.Writer):
    """See ``base.interface.Writer``."""

    def __init__(
        self,
        session: Session,
        table: str,
        *,
        batch_rows: int = WRITER_BATCH_ROWS,
        linger: float = WRITER_LINGER_SECONDS,
        name: str | None = None,
    ) -> None:
        self._primary_key = [column.name for column in session.writable(table).primary_key_columns]
        self._name = name
        self._sequence = self._acknowledged_sequence = 0 if name is None else session.engine.open_writer(name)
        self._session = session
        self._table = table
        self._batch_rows = batch_rows
        self._linger = linger
        self._changed = threading.Condition()
        self._open: _Batch | None = None
        self._queue: deque[_Batch] = deque()
        self._working = False
        self._error: BaseException | None = None
        self._acknowledged = 0
        self._version = session.version
        self._closed = False
        self._thread: threading.Thread | None = None

    def put(self, rows: Rows, /) -> None:
        self._take(Change.PUT, rows)

    def insert(self, rows: Rows, /) -> None:
        self._take(Change.INSERT, rows)

    def delete(self, keys: Keys, /) -> None:
        if _is_arrow(keys):
            self._take(Change.DELETE, keys)
        else:
            listed = keys if isinstance(keys, list) else [keys]
            self._take(Change.DELETE, [key if isinstance(key, dict | tuple) else (key,) for key in listed])

    def add(
        self,
        key: Key | Rows,
        amounts: Mapping[str, object] | None = None,
        /,
        *,
        min: object = None,
        max: object = None,
        **more: object,
    ) -> None:
        given = more if amounts is None else {**amounts, **more}
        rows = amounts_row(key, self._primary_key, given) if given else key
        bounds = _NO_BOUNDS if min is None and max is None else (_kept(min), _kept(max))
        self._take(Change.ADD, rows, bounds=bounds)

    @property
    def rows_acknowledged(self) -> int:
        return self._acknowledged

    @property
    def sequence(self) -> int:
        return writer_rows(self._acknowledged_sequence)

    def flush(self) -> int:
        with self._changed:
            self._check()
            self._seal()
            self._changed.wait_for(lambda: self._error is not None or not (self._queue or self._working))
            self._check()
            return self._version

    def close(self) -> None:
        with self._changed:
            done = self._closed and self._error is None
        if done:
            return
        try:
            if not self._closed:
                self.flush()
            else:
                self._raise_error()
        finally:
            self._stop()

    def abandon(self) -> None:
        """The database closes: write what is there. An error waits for the next call."""
        try:
            self.flush()
        except BaseException as error:
            if not isinstance(error, Closed):
                self._error = error
        self._stop()

    def _stop(self) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
        self._session.close()

    def _take(self, change: Change, rows: Any, *, bounds: _Bounds = _NO_BOUNDS) -> None:
        with self._changed:
            self._check()
            if _is_arrow(rows):
                self._seal()
                self._queue.extend(_slices(change, rows, self._batch_rows, bounds=bounds))
                self._changed.notify_all()
            elif isinstance(rows, list):
                for at in range(0, len(rows), self._batch_rows):
                    self._add(change, rows[at : at + self._batch_rows], bounds)
            else:
                self._add(change, [_row(rows)], bounds)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="weftdb-writer", daemon=True)
                self._thread.start()
            if len(self._queue) >= WRITER_BATCHES_IN_FLIGHT:
                self._changed.wait_for(lambda: self._error is not None or len(self._queue) < WRITER_BATCHES_IN_FLIGHT)

    def _add(self, change: Change, rows: list[Any], bounds: _Bounds) -> None:
        """Rows into the open batch; a new one where they are of another sort."""
        sort = tuple(rows[0]) if isinstance(rows[0], dict) else type(rows[0])
        last = self._open
        if last is not None and (last.change is not change or last.sort != sort or last.bounds != bounds):
            self._seal()
        if self._open is None:
            self._open = _Batch(change=change, bounds=bounds, sort=sort, rows=rows, since=monotonic())
            self._changed.notify_all()
        else:
            self._open.rows += rows
        if len(self._open.rows) >= self._batch_rows:
            self._seal()

    def _seal(self) -> None:
        batch, self._open = self._open, None
        if batch is not None:
            self._queue.append(batch)
            self._changed.notify_all()

    def _check(self) -> None:
        self._raise_error()
        if self._closed:
            raise Closed("the writer is closed", hint="Make a new one: table.writer().")

    def _raise_error(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        while True:
            with self._changed:
                batch = self._next()
                if batch is None:
                    return
                self._working = True
                self._changed.notify_all()
            self._sequence += len(batch.rows)
            token = None if self._name is None else WriterToken(writer=self._name, sequence=self._sequence)
            try:
                rows, bounds = self._batch(batch)
                commit = self._session.write(self._table, batch.change, rows, token=token, bounds=bounds)
            except BaseException as error:
                self._fail(error)
                continue
            with self._changed:
                self._working = False
                self._acknowledged += len(batch.rows)
                self._acknowledged_sequence = self._sequence
                self._version = max(self._version, commit.version)
                self._changed.notify_all()

    def _next(self) -> _Batch | None:
        """The next batch to commit; None when the writer was closed and everything is done."""
        while not self._queue:
            if self._open is None:
                if self._closed:
                    return None
                self._changed.wait()
                continue
            left = self._open.since + self._linger - monotonic()
            if left <= 0 or self._closed:
                self._seal()
            else:
                self._changed.wait(left)
        return self._queue.popleft()

    def _batch(self, batch: _Batch) -> tuple[pa.RecordBatch, Bounds]:
        definition = self._session.describe(self._table)
        if batch.change is Change.DELETE:
            return to_keys(batch.rows, keyvalue.keys_schema(definition)), NO_BOUNDS
        rows = to_batch(batch.rows, definition.arrow_schema)
        lower, upper = batch.bounds
        return rows, keyvalue.row_bounds(definition, rows, lower=lower, upper=upper)

    def _fail(self, error: BaseException) -> None:
        with self._changed:
            self._error = error
            self._sequence += sum(len(batch.rows) for batch in (*self._queue, *([self._open] if self._open else ())))
            self._queue.clear()
            self._open = None
            self._working = False
            self._changed.notify_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


def _kept(bound: object) -> object:
    """A bound that nobody else will change."""
    return dict(cast("Mapping[object, object]", bound)) if isinstance(bound, Mapping) else bound


def _row(row: Any) -> Any:
    """One row that nobody else will change. Raises Invalid for what is none."""
    if isinstance(row, tuple):
        return row
    if isinstance(row, dict):
        return dict(row)
    raise Invalid(
        f"rows are dicts, tuples or Arrow data, not {type(row).__name__}",
        hint="Give a dict, a tuple, a list of one of these, or anything Arrow.",
    )


def _is_arrow(rows: object) -> bool:
    names = ("__arrow_c_stream__", "__arrow_c_array__")
    return isinstance(rows, pa.RecordBatchReader) or any(hasattr(rows, name) for name in names)


def _slices(change: Change, rows: Any, size: int, *, bounds: _Bounds) -> list[_Batch]:
    """Anything Arrow in batches. Raises Invalid for what is malformed."""
    try:
        table = rows if isinstance(rows, pa.Table) else pa.table(rows)
    except (pa.ArrowException, TypeError) as error:
        raise Invalid(f"malformed Arrow data: {error}", hint="Check how the data was made.") from None
    pieces = [table.slice(at, size) for at in range(0, table.num_rows, size)]
    return [_Batch(change=change, bounds=bounds, sort=None, rows=piece, since=0.0) for piece in pieces]
