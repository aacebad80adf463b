"""The pipelined writer: rows or batches in, exactly once, in order.

    with table.writer() as w:
        for row in rows:
            w.put(row)            # a tuple or a dict: gathered into batches
        w.put(arrow)              # many rows: cut into batches

    with table.writer(name="loader") as w:
        for row in rows[w.sequence :]:        # goes on where the last one of this name stopped
            w.put(row)

Rows are gathered until there are ``batch_rows`` of them, or until ``linger`` seconds have passed and the pipe is nearly
empty; so a fast producer gets large batches and a slow one gets its rows written soon. A batch is made Arrow by the
caller's thread (or by the thread that lingers), sent by gRPC's, acknowledged to the pipe's: see ``pipe``.

Estimate for put(tuple): 0.3 µs for the call, 0.5 µs per row of four columns into Arrow, which is a million rows/s.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

import pyarrow as pa

from ..base.errors import Closed, Invalid, WeftError
from ..base.interface import Key, Keys, Rows
from ..base.limits import RECORD_BYTES_MAX, WRITER_BATCH_ROWS, WRITER_LINGER_SECONDS, WRITER_ROWS_BITS
from ..base.rows import amounts_row
from ..proto.frames import cut, write_schema
from ..proto.values import to_values
from ..proto.weftdb.v1.kv_pb2 import Action, Bounds, OpenWriterRequest, OpenWriterResponse, WriterLayout
from .pipe import Pipe, closed
from .wire import Again, Wire

if TYPE_CHECKING:
    from .table import RemoteTable

RETRY_SECONDS: Final = 60.0
_ROWS: Final = (1 << WRITER_ROWS_BITS) - 1
_BATCH_BYTES: Final = RECORD_BYTES_MAX // 2
"""A batch of wide rows is cut at this; Arrow and log record add something on top."""


_LAYOUTS_MAX: Final = 1_000
"""Layouts that are kept to be sent by reference: who has new bounds for each row has as many."""


class What(NamedTuple):
    """What is done with rows; bounds as messages, serialized."""

    action: Action
    lower: bytes | None = None
    upper: bytes | None = None


_PUT: Final = What(Action.ACTION_PUT)
_INSERT: Final = What(Action.ACTION_INSERT)
_DELETE: Final = What(Action.ACTION_DELETE)
_ADD: Final = What(Action.ACTION_ADD)


class RemoteWriter:
    """Implements ``base.interface.Writer``. For one producer thread.

    ``batch_rows``: rows of a batch. ``linger``: seconds that a row waits for company. ``retry_seconds``: how long a
    broken connection is tried again before the writer fails with Unavailable. ``name``: see ``Table.writer``.
    """

    def __init__(
        self,
        wire: Wire,
        table: RemoteTable,
        *,
        batch_rows: int = WRITER_BATCH_ROWS,
        linger: float = WRITER_LINGER_SECONDS,
        retry_seconds: float = RETRY_SECONDS,
        name: str | None = None,
    ) -> None:
        if batch_rows < 1 or linger < 0 or retry_seconds < 0:
            raise Invalid("batch_rows is at least 1, linger and retry_seconds at least 0", sqlstate="22023")
        self._table = table
        self._primary_key = table.primary_key
        self._batch_rows = batch_rows
        self._linger = linger
        self._pipe = Pipe(wire, retry_seconds=retry_seconds, name=name, sequence=_opened(wire, name))
        self._lock = threading.Lock()
        self._arrived = threading.Event()
        self._rows: list[Any] = []
        self._kind: tuple[object, What] | None = None
        self._rows_taken = 0
        self._layouts: dict[tuple[What, bytes], WriterLayout] = {}
        self._unseen: WeftError | None = None
        self._closed = False
        self._flusher: threading.Thread | None = None

    def put(self, rows: Rows, /) -> None:
        self._take(_PUT, rows)

    def insert(self, rows: Rows, /) -> None:
        self._take(_INSERT, rows)

    def delete(self, keys: Keys, /) -> None:
        self._take(_DELETE, keys)

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
        what = _ADD if min is None and max is None else What(Action.ACTION_ADD, _serialized(min), _serialized(max))
        given = more if amounts is None else {**amounts, **more}
        if not given:
            self._take(what, key)
            return
        if self._pipe.failed or self._unseen or self._closed:
            self._check()
        row = amounts_row(key, self._primary_key, given)
        self._gather((tuple(row), what), (row,))

    def flush(self) -> int:
        self._check()
        with self._lock:
            self._send_gathered()
        self._pipe.drain()
        self._check()
        return self._pipe.version or self._table.version()

    @property
    def rows_acknowledged(self) -> int:
        return self._pipe.rows_acknowledged

    @property
    def sequence(self) -> int:
        return self._pipe.sequence & _ROWS

    def close(self) -> None:
        """Flush, and end the stream. Raises what the last batches gave. A second close does nothing."""
        if self._closed:
            return
        try:
            self.flush()
        finally:
            self._closed = True
            self._arrived.set()
            self._pipe.close()

    def abandon(self) -> None:
        """Give up what is not acknowledged; the database is being closed."""
        self._closed = True
        self._rows = []
        self._arrived.set()
        self._pipe.abandon(Closed("the database was closed before the writer was", hint="Close the writer first."))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if kind is None:
            self.close()
        else:
            with contextlib.suppress(WeftError):
                self.close()

    def _take(self, what: What, rows: object) -> None:
        """Gather single rows and lists of them, cut up what is Arrow."""
        if self._pipe.failed or self._unseen or self._closed:
            self._check()
        kind = rows.__class__
        if kind is tuple or kind is dict:
            self._gather((kind, what), (rows,))
        elif isinstance(rows, list):
            for start in range(0, len(rows), self._batch_rows):
                self._gather((rows[start].__class__, what), rows[start : start + self._batch_rows])
        elif isinstance(rows, pa.RecordBatchReader):
            reader: Any = rows
            for batch in reader:
                self._take(what, batch)
        elif hasattr(rows, "__arrow_c_stream__") or hasattr(rows, "__arrow_c_array__"):
            with self._lock:
                self._send_gathered()
                self._send(what, rows)
        else:  # a plain key, a named tuple, or an error that shows when the batch is made
            self._gather((kind, what), (rows,))
        if self._pipe.failed or self._unseen:
            self._check()

    def _gather(self, kind: tuple[object, What], rows: Sequence[Any]) -> None:
        """Add rows of one kind to those that wait; a full batch goes out."""
        with self._lock:
            gathered = self._rows
            if self._kind != kind:
                self._send_gathered()
                gathered, self._kind = self._rows, kind
            started = not gathered
            gathered.extend(rows)
            if len(gathered) >= self._batch_rows:
                self._send_gathered()
                return
        if started:
            self._linger_from_now()

    def _check(self) -> None:
        """Raise what went wrong and was not seen yet, dropping what was gathered; or Closed."""
        if self._closed:
            raise closed()
        if self._pipe.failed or self._unseen:
            with self._lock:
                self._rows_taken += len(self._rows)
                self._rows = []
                unseen, self._unseen = self._unseen, None
            self._pipe.take_failure()
            if unseen is not None:
                raise unseen

    def _send_gathered(self) -> None:
        """Under the lock: make the gathered rows one batch."""
        if self._rows and self._kind is not None:
            rows, self._rows = self._rows, []
            self._send(self._kind[1], rows)

    def _send(self, what: What, rows: object) -> None:
        """Under the lock: make rows Arrow and hand them to the pipe, which may block."""
        first = self._rows_taken + 1
        try:
            batch = self._table.keys(rows) if what is _DELETE else self._table.rows(rows)
        except Invalid as error:
            self._rows_taken += len(rows) if isinstance(rows, list) else getattr(rows, "num_rows", 0)
            error.message = f"in a batch from row {first:,} of this writer on: {error.message}"
            raise
        self._rows_taken += batch.num_rows
        layout = self._layout(what, batch.schema)
        for piece in cut([batch], bytes_max=_BATCH_BYTES):
            for start in range(0, piece.num_rows, self._batch_rows):
                part = piece.slice(start, self._batch_rows)
                self._pipe.hand_over(layout, part, first_row=first)
                first += part.num_rows

    def _layout(self, what: What, schema: pa.Schema) -> WriterLayout:
        data = write_schema(schema)
        found = self._layouts.get((what, data))
        if found is None:
            found = WriterLayout(table=self._table.name, action=what.action, schema=data)
            for given, field in ((what.lower, found.lower), (what.upper, found.upper)):
                if given is not None:
                    field.ParseFromString(given)
            if len(self._layouts) >= _LAYOUTS_MAX:
                self._layouts.clear()
            self._layouts[what, data] = found
        return found

    # -- lingering -----------------------------------------------------------------------------------------------------

    def _linger_from_now(self) -> None:
        if self._flusher is None:
            self._flusher = threading.Thread(target=self._run_flusher, name="weftdb-linger", daemon=True)
            self._flusher.start()
        self._arrived.set()

    def _run_flusher(self) -> None:
        """After the first row of a batch: wait a little, then send what there is, unless batches are on the way."""
        pause = threading.Event()
        while True:
            self._arrived.wait()
            self._arrived.clear()
            if self._closed:
                return
            pause.wait(self._linger)
            while self._pipe.is_busy and not self._closed:
                pause.wait(self._linger)
            with self._lock:
                try:
                    self._send_gathered()
                except WeftError as error:
                    self._unseen = error


def to_bounds(given: object) -> Bounds | None:
    """One number for all columns, or a dict by column; the server judges them."""
    if given is None or given == {}:
        return None
    if isinstance(given, Mapping):
        by_column: Mapping[Any, object] = given
        return Bounds(columns=map(str, by_column), values=to_values(by_column.values()))
    return Bounds(values=to_values([given]))


def _serialized(given: object) -> bytes | None:
    bounds = to_bounds(given)
    return None if bounds is None else bounds.SerializeToString()


def _opened(wire: Wire, name: str | None) -> int:
    """What the sequence numbers go on after: 0 for a writer without a name."""
    if name is None:
        return 0
    request = OpenWriterRequest(writer=name)
    return wire.ask("KeyValue/OpenWriter", request, OpenWriterResponse, again=Again.ALWAYS).sequence
