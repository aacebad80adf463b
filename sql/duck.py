"""The relational executor: who computes joins, sorts, windows and aggregates. Today DuckDB, behind a Protocol.

DuckDB runs in memory, alone: no files but those that it spills to, no network, no extensions; it sees nothing but the
SQL that ``render`` wrote and one Arrow stream object per table reference. Such an object is lazy and repeatable: DuckDB
opens it several times for one statement (to learn the schema, to plan, to read), and rows come from the snapshot each
time.

    DuckDbExecutor        one database of DuckDB for the whole engine, replaced if it fails; safe for threads
    └── _Lane             one cursor with its registered sources and plans, for one statement at a time
        └── _Source       what is registered: forwards to the scan of the moment, and keeps what it raised

Registering and planning cost more than many a query, so a lane is kept after use under the *shape* of its query (the
key that ``run_relational`` makes) and used again with other scans; ``LANES_MAX`` bounds how many wait. A lane has its
texts prepared, those with small results: DuckDB plans each at its first and second time, and anew when a source has
grown or shrunk by about two.

DuckDB takes the batches of a stream in turn, so threads of ours make some of them ahead, side by side.

Always true: a lane that waits holds no scan, hence no snapshot; whatever it is loaded with has the Arrow types that its
plans were made for, since they are in the shape. What DuckDB raises leaves here as one of our errors.
"""

from __future__ import annotations

import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any, Final, Protocol

import duckdb
import pyarrow as pa

from ..base.errors import Closed, Internal, Invalid, LimitExceeded, Unavailable, WeftError
from ..engine.expression import callback
from ..engine.expression.functions import DUCKDB_PRELUDE, translate_error
from ..engine.held import Held
from .cancel import Cancel
from .operators import Operator, is_measured, operators_of

try:
    # Not a public name of DuckDB's package: where it is missing, plans are worse and answers the same.
    from duckdb._sources import ArrowScanSource as _ScanSource  # pyright: ignore[reportAssignmentType]
except ImportError:

    class _ScanSource:
        def __init__(self, obj: object) -> None: ...


try:
    # Nor is this: without it, DuckDB plans each statement twice, and each time.
    from duckdb._seam import submit as _submit
except ImportError:
    _submit = None

LANES_MAX: Final = 64
PREPARED_MAX: Final = 4
"""Plans that a lane keeps."""
PREPARED_CHARACTERS_MAX: Final = 65_536
"""A longer text is not kept."""
KEPT_BYTES_MAX: Final = 16 * 1024 * 1024
"""Nor is that of a text with a larger result: DuckDB streams what it plans anew, and keeps a prepared one's whole."""
_USAGE: Final = "SELECT sum(memory_usage_bytes), sum(temporary_storage_bytes) FROM duckdb_memory()"
BATCH_ROWS: Final = 65_536
INTERRUPT_SECONDS: Final = 0.02
_RAISED: Final = (duckdb.Error, pa.ArrowException, RuntimeError, OSError)
"""What DuckDB raises: before the first row its own errors, then Arrow's with its text."""


class RelationalExecutor(Protocol):
    """Runs SQL text over Arrow streams.

    ``execute`` gives the batches lazily, with whatever Arrow types the executor has; the caller makes them ours. The
    iterator's ``close`` gives up the rest. What was made for a ``shape`` may be used again for it; None: for nothing.
    Errors are ours: Invalid for what the data caused (division by zero, out of range), LimitExceeded for memory,
    Unavailable when cancelled (57014) or when another statement's bug ended the executor's database, Internal for
    anything else. ``held`` counts the keys that scans of its statements tell each other.
    """

    held: Held

    def execute(
        self, sql: str, sources: Mapping[str, Any], *, shape: Hashable, cancel: Cancel | None = None
    ) -> Iterator[pa.RecordBatch]: ...

    def explain(
        self, sql: str, sources: Mapping[str, Any], *, analyze: bool = False, cancel: Cancel | None = None
    ) -> Operator:
        """The executor's own plan of the text; with ``analyze`` after running it, with what was measured."""
        ...

    def close(self) -> None: ...


class _Source(_ScanSource):
    """A name that DuckDB knows; what it reads is set for each execution.

    To DuckDB's Arrow scan it is one of its own sources, of which it asks ``rows``: without that it takes every table
    for one row, and builds its hash tables from the largest.
    """

    def __init__(self, scan: Any, pool: Executor | None) -> None:
        super().__init__(None)
        self.scan = scan
        self._pool = pool
        self.error: BaseException | None = None

    def stream(self, columns: Any, filters: Any) -> tuple[object, bool]:
        """The stream, and whether it has the columns at these places alone."""
        if not columns or not hasattr(self.scan, "handed"):
            return self.__arrow_c_stream__(), False
        return self._stream(columns), True

    def rows(self) -> int | None:
        """An upper bound of the rows that the scan will give; None where it does not know."""
        scan = self.scan
        return len(scan) if isinstance(scan, pa.Table) else getattr(scan, "rows_estimate", None)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self._stream(None)

    def _stream(self, places: Sequence[int] | None) -> object:
        scan = self.scan
        if scan is None:
            raise Closed("this result was closed")
        try:
            if not hasattr(scan, "batches"):
                return scan.__arrow_c_stream__()
            if hasattr(scan, "handed"):
                schema, batches = scan.handed(places, pool=self._pool)
            else:
                schema, batches = scan.schema, scan.batches()
            return pa.RecordBatchReader.from_batches(schema, self._guarded(batches)).__arrow_c_stream__()
        except BaseException as error:
            self.error = error
            raise

    def _guarded(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """The scan's batches; an error would reach the caller as text, so it is kept here as well."""
        try:
            yield from batches
        except GeneratorExit:
            raise
        except BaseException as error:
            self.error = error
            raise


class _Reading:
    """The rows of a text as they are read, and how many bytes they were; ``key``: of its plan."""

    __slots__ = ("bytes", "key", "reader")

    def __init__(self, reader: pa.RecordBatchReader, key: tuple[Any, ...] | None) -> None:
        self.reader = reader
        self.key = key
        self.bytes = 0


class _Lane:
    """One cursor and its sources."""

    __slots__ = ("_plans", "_plans_made", "cursor", "database", "sources")

    def __init__(self, database: _Database, sources: Mapping[str, Any], pool: Executor | None) -> None:
        self.database = database
        self.cursor = cursor = database.connection.cursor()
        self._plans: OrderedDict[tuple[Any, ...], str | None] = OrderedDict()  # by text and sizes of the sources
        self._plans_made = 0
        self.sources = {name: _Source(scan, pool) for name, scan in sources.items()}
        for name, source in self.sources.items():
            try:
                cursor.register(name, source)
            except duckdb.Error as error:
                raise source.error or error from None

    def load(self, sources: Mapping[str, Any]) -> None:
        for name, scan in sources.items():
            self.sources[name].scan = scan

    def unload(self) -> None:
        for source in self.sources.values():
            source.scan = None
            source.error = None

    def read(self, sql: str) -> _Reading:
        """The rows of a text, lazily; at once where the last time they were few."""
        if _submit is None:
            return _Reading(self.cursor.sql(sql).to_arrow_reader(BATCH_ROWS), None)
        key = (sql, *((source.rows() or 0).bit_length() for source in self.sources.values()))
        if key in self._plans:
            self._plans.move_to_end(key)
            name = self._plans[key] or self._prepare(key)
            sql = f"EXECUTE {name}"
        return _Reading(_submit(self.cursor, sql, None, "stream", BATCH_ROWS).arrow_reader(), key)

    def _prepare(self, key: tuple[Any, ...]) -> str:
        self._plans_made += 1
        name = self._plans[key] = f"weft_plan_{self._plans_made}"
        self.cursor.execute(f"PREPARE {name} AS {key[0]}")
        return name

    def note(self, reading: _Reading) -> None:
        """What was read to its end is prepared at the next time, if it is few: DuckDB keeps all of it meanwhile."""
        key = reading.key
        if key is None:
            return
        if reading.bytes > KEPT_BYTES_MAX or len(key[0]) > PREPARED_CHARACTERS_MAX:
            self._forget(key)
        else:
            self._plans.setdefault(key, None)
            if len(self._plans) > PREPARED_MAX:
                self._forget(next(iter(self._plans)))

    def _forget(self, key: tuple[Any, ...]) -> None:
        name = self._plans.pop(key, None)
        if name is not None:
            self.cursor.execute(f"DEALLOCATE {name}")

    def error(self) -> BaseException | None:
        return next((source.error for source in self.sources.values() if source.error is not None), None)


class _Database:
    """A DuckDB with our functions. A bug of DuckDB ends it: all that it is asked from then on fails."""

    def __init__(self, config: Mapping[str, str]) -> None:
        self.connection: Any = duckdb.connect(":memory:", config=dict(config))
        self.connection.execute("SET TimeZone = 'UTC'")
        self.connection.execute("SET GLOBAL arrow_lossless_conversion = true")
        self.connection.execute("SET GLOBAL enable_external_access = false")
        self._lock = threading.Lock()
        self._macros_made = False
        self._callbacks: set[str] = set()
        self._usage_cursor: Any = self.connection.cursor()

    def make_macros(self, cursor: Any, sql: str) -> None:
        """The macros come with the first statement that names one: they cost as much as all else of DuckDB's start."""
        if "weft_" not in sql:
            return
        if self._macros_made and "weft_py_" not in sql:
            return
        with self._lock:
            create_callbacks(cursor, sql, made=self._callbacks)
            if not self._macros_made:
                for statement in DUCKDB_PRELUDE:
                    cursor.execute(statement)
                self._macros_made = True

    def usage(self) -> tuple[int, int] | None:
        """Bytes of memory and of files; None while it cannot say."""
        try:
            row = self._usage_cursor.execute(_USAGE).fetchone()
        except duckdb.Error:  # it is being closed, or has no memory left to say so
            return None
        return int(row[0] or 0), int(row[1] or 0)


class DuckDbExecutor:
    """DuckDB as the relational executor.

    ``memory_limit`` as DuckDB writes it ("4GB"), 60 % of the machine unless told. Beyond it joins, sorts and aggregates
    spill into ``temp_directory``. Without one nothing is ever written to disk, and a query that does not fit in memory
    raises LimitExceeded, as does what DuckDB cannot spill (one value of hundreds of megabytes, say).
    """

    def __init__(
        self,
        *,
        threads: int | None = None,
        memory_limit: str | None = None,
        temp_directory: str | None = None,
        held: Held | None = None,
    ) -> None:
        self.held = held or Held()
        config: dict[str, Any] = {
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "allow_community_extensions": "false",
            "temp_directory": temp_directory or "",
            "memory_limit": memory_limit or "60%",
            # It makes sum(x + 1) of sum(x) and count(x), where an x that has no x + 1 in its type is no error any more.
            "disabled_optimizers": "aggregate_function_rewriter",
        }
        if threads is not None:
            config["threads"] = str(threads)
        self._config = config
        self._database = _Database(config)
        threads = threads or os.cpu_count() or 1
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="weftdb-scan") if threads > 1 else None
        self._lock = threading.Lock()
        self._waiting: OrderedDict[Hashable, list[_Lane]] = OrderedDict()
        self._waiting_count = 0
        self._closed = False
        self._running = 0
        self._usage_lock = threading.Lock()
        self._usage = (0, 0)
        self._usage_changes = True

    def execute(
        self, sql: str, sources: Mapping[str, Any], *, shape: Hashable, cancel: Cancel | None = None
    ) -> Iterator[pa.RecordBatch]:
        if cancel is not None:
            cancel.check()
        lane: _Lane | None = None
        remove: Callable[[], None] | None = None
        done = False
        try:
            lane = self._lane(shape, sources)
            lane.database.make_macros(lane.cursor, sql)
            if cancel is not None:
                remove = Interrupts(lane.cursor).on(cancel)
            reading = lane.read(sql)
            try:
                while True:
                    try:
                        batch = reading.reader.read_next_batch()
                    except StopIteration:
                        break
                    if cancel is not None:
                        cancel.check()
                    reading.bytes += batch.nbytes
                    yield batch
            finally:
                reading.reader.close()
            lane.note(reading)
            done = True
        except GeneratorExit:
            raise
        except _RAISED as error:
            raise self._failed(error, lane, cancel, sql) from None
        finally:
            if remove is not None:
                remove()
            if lane is not None:
                self._release(shape, lane, reusable=done)

    def explain(
        self, sql: str, sources: Mapping[str, Any], *, analyze: bool = False, cancel: Cancel | None = None
    ) -> Operator:
        lane: _Lane | None = None
        remove: Callable[[], None] | None = None
        try:
            lane = self._lane(None, sources)
            lane.database.make_macros(lane.cursor, sql)
            if cancel is not None:
                remove = Interrupts(lane.cursor).on(cancel)
            if analyze:
                rows = lane.cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}").fetchall()
                if is_measured(rows[-1][-1]):
                    return operators_of(rows[-1][-1])
            rows = lane.cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}").fetchall()
            return operators_of(rows[-1][-1])
        except _RAISED as error:
            raise self._failed(error, lane, cancel, sql) from None
        finally:
            if remove is not None:
                remove()
            if lane is not None:
                self._release(None, lane, reusable=False)

    def usage(self) -> tuple[int, int]:
        """Bytes of memory, and bytes spilled to disk, that DuckDB holds now.

        Asking costs DuckDB up to a millisecond, so it is only asked while a statement runs, and once afterwards.
        """
        with self._usage_lock:
            if self._usage_changes and not self._closed:
                self._usage_changes = self._running > 0
                usage = self._database.usage()
                if usage is None:
                    self._usage_changes = True  # what was known stays
                else:
                    self._usage = usage
            return (0, 0) if self._closed else self._usage

    def close(self) -> None:
        """Close DuckDB; queries that still run end with an error."""
        with self._lock:
            self._closed = True
            lanes = self._take_waiting()
        for lane in lanes:
            lane.cursor.close()
        self._database.connection.close()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _take_waiting(self) -> list[_Lane]:
        lanes = [lane for waiting in self._waiting.values() for lane in waiting]
        self._waiting.clear()
        self._waiting_count = 0
        return lanes

    def _failed(self, error: BaseException, lane: _Lane | None, cancel: Cancel | None, sql: str) -> WeftError:
        """Our error for what was raised while ``sql`` ran; after a bug of DuckDB the next one has a new database."""
        if self._closed:
            return Closed("the database was closed while the statement ran")
        if lane is not None and lane.error() is None:
            self._replace_if_ended(lane.database, error)
        return _translated(error, lane, cancel, sql)

    def _replace_if_ended(self, database: _Database, error: BaseException) -> None:
        if not _is_ending(error):
            return
        with self._lock:
            if database is not self._database or self._closed:
                return
            self._database = _Database(self._config)
            lanes = self._take_waiting()
        for old in lanes:
            old.cursor.close()

    def _lane(self, shape: Hashable, sources: Mapping[str, Any]) -> _Lane:
        with self._lock:
            if self._closed:
                raise Closed("the database is closed")
            self._running += 1
            self._usage_changes = True
            waiting = self._waiting.get(shape)
            if waiting:
                lane = waiting.pop()
                self._waiting_count -= 1
                if not waiting:
                    del self._waiting[shape]
                lane.load(sources)
                return lane
        database = self._database
        try:
            return _Lane(database, sources, self._pool)
        except BaseException as error:
            with self._lock:
                self._running -= 1
            self._replace_if_ended(database, error)
            raise

    def _release(self, shape: Hashable, lane: _Lane, *, reusable: bool) -> None:
        lane.unload()
        dropped: list[_Lane] = []
        with self._lock:
            self._running -= 1
            old = lane.database is not self._database
            if not reusable or old or shape is None or self._closed or not lane.sources:
                dropped.append(lane)
            else:
                self._waiting.setdefault(shape, []).append(lane)
                self._waiting.move_to_end(shape)
                self._waiting_count += 1
                while self._waiting_count > LANES_MAX:
                    _, oldest = self._waiting.popitem(last=False)
                    dropped.extend(oldest)
                    self._waiting_count -= len(oldest)
        for lane in dropped:
            lane.cursor.close()


def create_callbacks(cursor: Any, sql: str, *, made: set[str]) -> None:
    """Give DuckDB the functions of ``sql`` that Python computes; they are the whole database's from then on."""
    for name in callback.named(sql) - made:
        arguments, result = callback.signature(name)
        cursor.create_function(name, callback.compute(name), arguments, result, type="arrow", null_handling="special")
        made.add(name)


class Interrupts:
    """Interrupts a cursor until its statement ends: DuckDB forgets one that comes while it binds."""

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._ended = threading.Event()
        self._lock = threading.Lock()

    def on(self, cancel: Cancel) -> Callable[[], None]:
        """Begin when ``cancel`` says so; gives what is to be called when the statement has ended."""
        remove = cancel.on_cancel(self._begin)

        def end() -> None:
            remove()
            with self._lock:  # no interrupt comes after this, when the cursor may be at another statement
                self._ended.set()

        return end

    def _begin(self) -> None:
        threading.Thread(target=self._run, name="weftdb-interrupt", daemon=True).start()

    def _run(self) -> None:
        while True:
            with self._lock:
                if self._ended.is_set():
                    return
                self._cursor.interrupt()
            if self._ended.wait(INTERRUPT_SECONDS):
                return


def _translated(error: BaseException, lane: _Lane | None, cancel: Cancel | None, sql: str) -> WeftError:
    """Our error for whatever was raised while DuckDB ran ``sql``."""
    inner = lane.error() if lane is not None else None
    if isinstance(inner, WeftError):
        return inner
    if cancel is not None and cancel.cancelled:
        return cancel.error()
    message = str(error)
    if isinstance(error, duckdb.InterruptException) or "INTERRUPT" in message:
        return Unavailable("canceling statement due to user request", sqlstate="57014")
    if isinstance(error, duckdb.OutOfMemoryException) or "Out of Memory Error" in message:
        return LimitExceeded(
            "out of memory: the query needs more than the memory limit of the relational executor",
            hint="Select fewer rows or columns, raise memory_limit, or make room in temp_directory.",
            sqlstate="53200",
        )
    if _plain(message).startswith("FATAL Error: "):
        return Unavailable(
            "the relational executor was started anew after a failure in another statement",
            hint="Run the statement again.",
            sqlstate="57P02",
        )
    if "LIMIT/OFFSET cannot be negative" in message:
        return Invalid("LIMIT and OFFSET must not be negative", sqlstate="2201W")
    if "step size cannot equal zero" in message:
        return Invalid("step size cannot equal zero", sqlstate="22023")
    translated = translate_error(_plain(message))
    if translated is not None:
        return translated
    if isinstance(inner, Exception):
        return Internal(f"reading a table failed: {inner!r}")
    return Internal(
        f"the relational executor failed: {message.splitlines()[0] if message else error!r}",
        hint=f"This is a bug; please report it with the statement. SQL: {sql[:2000]}",
    )


def _is_ending(error: BaseException) -> bool:
    """Whether DuckDB has met a bug of its own, after which it fails whatever it is asked."""
    return isinstance(error, _RAISED) and _plain(str(error)).startswith(("INTERNAL Error: ", "FATAL Error: "))


def _plain(message: str) -> str:
    """The message without what streaming puts in front of it."""
    return re.sub(r"^.*?(?=[A-Z][A-Za-z -]* Error: )", "", message, count=1, flags=re.DOTALL)
