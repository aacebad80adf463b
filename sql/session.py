"""The session: the one door to the engine. gRPC, embedded use and every later protocol are thin encoders over it.

    text ──split──► statement ──read──► BEGIN, SET, PREPARE, …     sql/dispatch.py
                                  └──► sqlglot ──► query           binder, relational executor     ──► Result
                                              ├──► INSERT, …       sql/mutate.py  ┐ one call of the
                                              └──► CREATE, …       sql/ddl.py     ┘ engine's transaction

It holds what belongs to one client: the principal, settings, prepared statements, and the state of its transaction
(sql/access.py). What always holds:

- A statement, text or call that fails changes nothing. A transaction that a text began by BEGIN is then failed (25P02)
  until ROLLBACK or ROLLBACK TO, as in PostgreSQL; one that a program holds goes on. A key-value call that fails leaves
  both usable.
- A statement outside a transaction that meets a Conflict is run again at a new snapshot, until its time is over; nobody
  has seen anything of it yet. Several statements in one text are one transaction unless the text says BEGIN itself.
- ``now()`` is read once: per transaction, or per statement outside one.
- A result keeps the snapshot that it reads pinned until it is read, closed or forgotten, and needs the session no more.
  Inside a transaction results are read at once, so that errors belong to the statement that has them.
- ``cancel`` reaches the statement that runs, and the result of the last one while it streams; never a later statement.

A session serves one caller at a time; only ``cancel`` may come from another thread.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import pyarrow as pa

from ..base.arguments import check_scan, check_statement
from ..base.errors import Conflict, Invalid, Unavailable
from ..base.interface import Written
from ..base.limits import AT_LEAST_SECONDS
from ..base.result import Result
from ..base.rows import to_batch, to_keys
from ..base.types import Type
from ..base.values import version_of
from ..engine import interrupts
from ..engine.changes import Change, Commit, WriterToken
from ..engine.clock import AsOf, wall_clock
from ..engine.database import Engine
from ..engine.delta import NO_BOUNDS, OUT_OF_BOUNDS, Bounds, bounds_of, check_addable
from ..engine.reader import Reader
from ..engine.schema import Table
from ..engine.snapshot import Snapshot
from ..engine.transaction import Transaction
from . import dispatch, keyvalue
from .access import LOCAL, Access
from .as_of import NO_PAST
from .assign import counted_from
from .bind import Settings as BinderSettings
from .bind import parameter_type
from .block import Running
from .copy.files import Files, files_in
from .execution import EMPTY_SCHEMA, Execution
from .plan import Plan
from .point import CLASSES, point_read
from .resources import Kept, Lifted, Script, resources_of
from .source import Source

_TICK_SECONDS: Final = 0.05
"""How often a read that waits for a version looks whether it was cancelled."""

_POINTS_MAX: Final = 8
"""For so many combinations of its parameters' classes a text's way to read one row is remembered."""

READ_AHEAD_ROWS: Final = 4_096
"""A scan of at most so many rows is read before it is returned, so that it holds no snapshot."""


class Session(Access):
    """One client's session. ``as_of`` makes it a snapshot: every read is at that version, every write refused.

    ``single_call`` is for a door that makes a session for one call only: a text that leaves a transaction open, or that
    only sets what ends with the session, is then an error and not a surprise. With ``settings``, which may be empty,
    SET is none: the result's ``settings`` tell the door what to give to the next session.

    ``files``: those that COPY may name; unless told, what the engine's options give to clients.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        principal: str = LOCAL,
        as_of: AsOf | None = None,
        settings: Mapping[str, str] | None = None,
        single_call: bool = False,
        files: Files | None = None,
    ) -> None:
        super().__init__(engine, principal=principal, as_of=as_of, settings=settings)
        self.notices: list[str] = []
        self.prepared: dict[str, dispatch.Prepared] = {}
        self.resources = resources_of(engine)
        self.files = files or files_in(engine.options.copy_folder)
        self._single_call = single_call
        self._keeps_settings = settings is not None
        self._running: Running | None = None
        self._text: Script | None = None

    # SQL

    def execute(
        self,
        sql: str,
        parameters: Sequence[object] = (),
        *,
        timeout: float | None = None,
        at_least: int | None = None,
    ) -> Result:
        """Run the statements of a text, separated by semicolons, and return the last one's result.

        ``parameters`` stand for ``$1``, ``$2``, … of a single statement. ``timeout`` in seconds counts for the whole
        text; the setting statement_timeout holds where it is shorter. Raises what ``base.interface`` says.
        """
        self.check_open()
        check_statement(sql, parameters, timeout)
        if not parameters and (lifted := self.resources.lifted(sql)) is not None:
            result = self._run_lifted(lifted, timeout, at_least)
            if result is None:
                result = self._run_script(self.resources.script(sql), parameters, timeout, at_least)
                lifted.shape.lifts = ()
            return result
        return self._run_script(self.resources.script(sql), parameters, timeout, at_least)

    def _run_lifted(self, lifted: Lifted, timeout: float | None, at_least: int | None) -> Result | None:
        """The result of a text whose literals became parameters; None: it has to be run as it was written."""
        block = self.block
        failed = block is not None and block.failed
        try:
            return self._run_script(lifted.script, lifted.values, timeout, at_least)
        except Invalid:
            if block is not None:
                block.failed = failed
            return None

    def _run_script(
        self, script: Script, parameters: Sequence[object], timeout: float | None, at_least: int | None
    ) -> Result:
        if script.points and at_least is None and (timeout is None or timeout > 0):  # it needs no clock
            row = self._point(script, parameters)
            if row is not None:
                return row
        sources = script.sources
        if len(sources) > 1 and parameters:
            raise Invalid(f"parameters go with one statement, the text has {len(sources)}", hint="Run them one by one.")
        if self._single_call:
            dispatch.check_single_call(sources, keeps_settings=self._keeps_settings)
        before = self.settings.values
        limits = [seconds for seconds in (timeout, self.settings.statement_timeout_seconds) if seconds is not None]
        running = self._running = Running(seconds=min(limits, default=None))
        self._text = script
        try:
            with interrupts.cancellable(running.cancel.check):
                if at_least is not None:
                    self._reach(at_least, running, seconds=min(limits, default=AT_LEAST_SECONDS))
                result = self._run(sources, parameters, running)
            if self._single_call and self.block is not None:
                raise Invalid(
                    "the text leaves a transaction open, which ends with it: it was rolled back",
                    hint="Add COMMIT, or use db.transaction() for several calls.",
                    sqlstate="25001",
                )
        except BaseException:
            running.finish()
            if self._single_call:
                self.rollback()
            raise
        finally:
            notices, self.notices = self.notices, []
        if not running.streaming:
            running.finish()
        if notices:
            result.notices = tuple(notices)
        if self.settings.values is not before:
            result.settings = self.settings.values
        return result

    def _point(self, script: Script, parameters: Sequence[object]) -> Result | None:
        """The result of a text that reads one row by its primary key (sql/point.py); None where it is not that."""
        read = script.points.get(tuple(map(type, parameters)))
        key = None if read is None else read.key.values(parameters)
        if read is None or key is None:
            return None
        try:
            if self.block is None and not self.pinned:
                found = self.engine.newest_row(read.stored, key)
            else:
                found = self._point_within(read.stored, key)
        except Invalid as error:
            if error.sqlstate != "22008":  # beyond the years that Python can say, but not those of Arrow
                raise
            return None
        if found is None:
            return None
        row, version = found
        return Result.of_rows(read.rows(row), schema=read.schema, types=read.types, version=version)

    def _point_within(self, table: Table, key: tuple[Any, ...]) -> tuple[dict[str, Any] | None, int] | None:
        """The row as the open transaction or snapshot sees it; None where it has another definition of the table."""

        def work(reader: Reader) -> tuple[dict[str, Any] | None, int] | None:
            if not reader.catalog.has(table):
                return None
            if table.derived_from is not None and isinstance(reader, Transaction) and table.id in reader.behind:
                return None
            return reader.get(table, key), reader.version

        return self.read_now(work)

    @contextmanager
    def instead(self, script: Script) -> Generator[None]:
        """Run another text in the place of the one that says so: plans are remembered with it."""
        outer, self._text = self._text, script
        try:
            yield
        finally:
            self._text = outer

    def kept_plan(self, source: Source, types: Mapping[int, Type]) -> Kept | None:
        """The plan that ``note_plan`` remembered for a statement of the text that runs."""
        script = self._text
        if script is None or not script.kept or script.sources[0] is not source:
            return None
        if self.block is not None and (self.block.altered or self.block.behind):
            return None
        settings = self.settings
        return script.plan_for(
            tuple(types.values()), settings.get("timezone"), settings.get("weft.tier"), settings.match_views
        )

    def note_plan(self, source: Source, plan: Plan, execution: Execution) -> None:
        """Remember how the only statement of the text that runs can be run next time."""
        script = self._text
        if script is None or len(script.sources) != 1 or script.sources[0] is not source or execution.key is None:
            return
        if execution.binder.computed:
            return
        if execution.past is NO_PAST:
            types = tuple(execution.parameter_types.values())
            zone, tier, match_views = execution.binder.timezone, execution.tier, execution.match_views
            script.keep(Kept(types, zone, tier, match_views, execution.catalog.version, plan))
        classes = tuple(map(type, execution.parameters))
        if classes in script.points or (len(script.points) < _POINTS_MAX and CLASSES.issuperset(classes)):
            script.points[classes] = point_read(plan)

    def _run(self, sources: Sequence[Source], parameters: Sequence[object], running: Running) -> Result:
        if not sources:
            return Result(schema=EMPTY_SCHEMA, batches=(), version=self.version, tag="")
        if len(sources) == 1:
            types = {number: parameter_type(value) for number, value in enumerate(parameters, 1)}
            return dispatch.run(self, sources[0], parameters, running=running, types=types)
        if self.block is None and dispatch.may_repeat(sources):
            return self.retried(lambda: self._script(sources, running), running)
        return self._script(sources, running)

    def _script(self, sources: Sequence[Source], running: Running) -> Result:
        """Several statements: one implicit transaction, as far as the text does not say BEGIN and COMMIT itself."""
        result: Result | None = None
        if self.block is not None and self.block.held:
            with self.block.undone_alone():
                for source in sources:
                    result = dispatch.run(self, source, (), running=running, types={})
            assert result is not None, "a script has statements"
            return result
        try:
            for source in sources:
                if self.block is None:
                    self.open_block(explicit=False)
                result = dispatch.run(self, source, (), running=running, types={})
            assert result is not None, "a script has statements"
            if self.block is not None and not self.block.explicit:
                result.version = max(result.version, self.commit())
        except BaseException:
            if self.block is not None and not self.block.explicit:
                self.rollback()
            raise
        return result

    def cancel(self) -> None:
        """Cancel the statement that runs, if any; it raises Unavailable (57014). From any thread."""
        running = self._running
        if running is not None:
            running.cancel.cancel()

    # Key-value calls

    def describe(self, table: str) -> Table:
        """The definition of a table, or of a view that is maintained. Raises Invalid (42P01) with the nearest name."""
        return self.read_now(lambda reader: reader.catalog.readable(table))

    def writable(self, table: str) -> Table:
        """The same of a table alone. Raises Invalid (42809) for a view."""
        return self.read_now(lambda reader: reader.catalog.table(table))

    def described(self, table: str) -> tuple[Table, int]:
        """The same, and the version of the catalog that it is from: -1 where the transaction has changed it."""
        table_and_version = self.read_now(lambda reader: (reader.catalog.readable(table), reader.catalog.version))
        altered = self.block is not None and self.block.altered
        return (table_and_version[0], -1) if altered else table_and_version

    def insert(self, table: str, rows: object) -> Written:
        """See ``base.interface.Table``; likewise the calls below."""
        return self._write_rows(table, Change.INSERT, rows)

    def put(self, table: str, rows: object) -> Written:
        return self._write_rows(table, Change.PUT, rows)

    def delete(self, table: str, keys: object) -> Written:
        return self._write_rows(table, Change.DELETE, keys)

    def _write_rows(self, table: str, change: Change, rows: object) -> Written:
        self.check_writable(change.name)
        definition = self.writable(table)
        if self.block is None and keyvalue.is_stream(rows):
            return self._load(definition, change, rows)
        if not isinstance(rows, list):
            done = self.write_row(definition, change, rows)
            if done is not None:
                return done
        if change is Change.DELETE:
            batch = to_keys(rows, keyvalue.keys_schema(definition))
        else:
            batch = to_batch(rows, definition.arrow_schema)
        if not batch.num_rows:
            return Written(version=self.version, rows=0)
        if self.block is None:
            commit = self.write(table, change, batch)
            return Written(version=commit.version, rows=commit.rows)

        def work(transaction: Transaction) -> int:
            match change:
                case Change.INSERT:
                    return transaction.insert(definition, batch)
                case Change.PUT:
                    return transaction.put(definition, batch)
                case _:
                    return transaction.delete(definition, batch)

        count, version = self.transact(change.name, work)
        return Written(version=version, rows=count)

    def write_row(self, table: Table, change: Change, row: object) -> Written | None:
        """One row as it is (engine/row_writes.py); None: nothing was done."""
        if self.block is None:
            commit = self._at_once(lambda: self.engine.write_row(table, change, row, id=self.commit_id))
            return None if commit is None else Written(version=commit.version, rows=commit.rows)
        self.block.check_usable()
        transaction = self.block.transaction
        with transaction.gate:
            if change is not Change.DELETE:
                done = transaction.put_row(table, row, insert=change is Change.INSERT)
            else:
                key = table.shape.key(row)
                done = key is not None and transaction.delete_row(table, key)
        return Written(version=transaction.version, rows=1) if done else None

    def _at_once(self, write: Callable[[], Commit | None]) -> Commit | None:
        """What ``write`` did; None also where the table was altered meanwhile, so that it has to be tried again."""
        try:
            return write()
        except Conflict as error:
            if error.sqlstate == OUT_OF_BOUNDS:
                raise
            return None

    def _load(self, table: Table, change: Change, rows: object) -> Written:
        """Write a stream of any length: all or nothing, without holding it in memory."""
        with self.engine.load(table.name, change, id=self.commit_id) as load:
            for batch in keyvalue.batches_of(rows):
                with counted_from(load.rows_count):
                    if change is Change.DELETE:
                        load.add(to_keys(batch, keyvalue.keys_schema(table)))
                    else:
                        load.add(to_batch(batch, table.arrow_schema))
            commit = load.commit()
        return Written(version=commit.version, rows=commit.rows)

    def update(self, table: str, key: object, changes: Mapping[str, object]) -> Written:
        """Set columns of one row. Raises NotFound."""

        def at_once(transaction: Transaction) -> int | None:
            definition = transaction.catalog.table(table)
            one = definition.shape.key(key)
            return 1 if one is not None and transaction.update_row(definition, one, changes) else None

        def work(transaction: Transaction) -> int:
            definition = transaction.catalog.table(table)
            keys = keyvalue.one_key(definition, key)
            rows = keyvalue.changed_row(transaction, definition, keys, changes)
            return transaction.update(definition, keys, rows)

        count, version = self.transact("UPDATE", work, at_once=at_once)
        return Written(version=version, rows=count)

    def add(
        self, table: str, key: object, amounts: Mapping[str, object], *, lower: object = None, upper: object = None
    ) -> Written:
        """Add amounts to numeric columns of one row, commutatively.

        ``lower`` and ``upper`` are what the sums must not leave: a number for all of them, or by column name. Raises
        Conflict (23514) where they would.
        """
        self.check_writable("ADD")
        definition = self.writable(table)
        check_addable(definition, list(amounts))
        bounds = bounds_of(list(amounts), lower=lower, upper=upper)
        if self.block is None:
            plain_key, plain = definition.shape.key(key), definition.shape.changes(amounts)
            if plain_key is not None and plain and None not in plain.values():
                commit = self._at_once(
                    lambda: self.engine.add_row(definition, plain_key, plain, bounds=bounds, id=self.commit_id)
                )
                if commit is not None:
                    return Written(version=commit.version, rows=commit.rows)
        keys = keyvalue.one_key(definition, key)
        batch = to_batch([dict(amounts)], definition.arrow_schema)
        if self.block is None:
            both = pa.RecordBatch.from_arrays(
                [*keys.columns, *batch.columns], schema=pa.schema([*keys.schema, *batch.schema])
            )
            commit = self.write(table, Change.ADD, both, bounds=bounds)
            return Written(version=commit.version, rows=commit.rows)
        values = {name: batch.column(name)[0].as_py() for name in batch.schema.names}
        one = keyvalue.key_values(definition, key)
        _, version = self.transact("ADD", lambda transaction: transaction.add(definition, one, values, bounds=bounds))
        return Written(version=version, rows=1)

    def get(self, table: str, key: object, at_least: int | None = None) -> dict[str, Any] | None:
        """One row by primary key, as column name → Python value."""
        return self.found(table, key, at_least)[0]

    def found(self, table: str, key: object, at_least: int | None = None) -> tuple[dict[str, Any] | None, int]:
        """The same, and the version that was read at."""
        self.reach(at_least)
        if self.block is None and not self.pinned:
            row = self.engine.newest_row_of(table, key)
            if row is not None:
                return row

        def work(reader: Reader) -> tuple[dict[str, Any] | None, int]:
            definition = keyvalue.readable(reader, table)
            return reader.get(definition, keyvalue.key_values(definition, key)), reader.version

        return self.read_now(work)

    def get_many(self, table: str, keys: object, at_least: int | None = None) -> Result:
        """The rows found, in the order of the keys."""
        self.reach(at_least)

        def work(reader: Reader) -> Result:
            definition = keyvalue.readable(reader, table)
            rows, _ = reader.get_many(definition, to_keys(keys, keyvalue.keys_schema(definition)))
            types = [column.type for column in definition.columns]
            return Result(schema=rows.schema, batches=(rows,), version=reader.version, tag="SELECT", types=types)

        return self.read_now(work)

    def scan(
        self,
        table: str,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        key: object = None,
        time: tuple[object, object] | None = None,
        at_least: int | None = None,
    ) -> Result:
        """Rows of a table, at one snapshot, as a stream."""
        check_scan(columns, where, time)
        self.reach(at_least)
        if key is not None and where is None:
            found = self.read_now(lambda reader: self._series(reader, table, columns, key, time))
            if found is not None:
                return found

        def work(reader: Reader, on_close: Callable[[], None] | None) -> Result:
            definition = keyvalue.readable(reader, table)
            rows = keyvalue.scan(
                reader, definition, columns=columns, where=where, key=key, time=time, settings=self.binder_settings
            )
            read = definition.columns if columns is None else [definition.column(name) for name in columns]
            batches: Iterable[pa.RecordBatch] = rows.batches()
            if on_close is not None and rows.rows_estimate <= READ_AHEAD_ROWS:
                batches = list(batches)
                on_close()
                on_close = None
            return Result(
                schema=rows.schema,
                batches=batches,
                version=reader.version,
                types=[column.type for column in read],
                on_close=on_close,
            )

        return self.read_stream(work, Running(seconds=None))

    def _series(
        self,
        reader: Reader,
        table: str,
        columns: Sequence[str] | None,
        key: object,
        time: tuple[object, object] | None,
    ) -> Result | None:
        """A scan of the few rows of one key, if it is that."""
        definition = keyvalue.readable(reader, table)
        batch = keyvalue.series(reader, definition, columns=columns, key=key, time=time)
        if batch is None:
            return None
        read = definition.columns if columns is None else [definition.column(name) for name in columns]
        return Result(
            schema=batch.schema,
            batches=(batch,) if batch.num_rows else (),
            version=reader.version,
            types=[column.type for column in read],
        )

    def export(self, table: str, columns: Sequence[str] | None = None, at_least: int | None = None) -> Result:
        """Rows of a table by slice, shard and primary key, as a stream. Raises Invalid (25001) in a transaction."""
        self.reach(at_least)

        def work(reader: Reader, on_close: Callable[[], None] | None) -> Result:
            if not isinstance(reader, Snapshot):
                raise Invalid(
                    f'"{table}" cannot be exported inside of a transaction, whose own writes are in no order',
                    hint="Commit, and export from db.snapshot().",
                    sqlstate="25001",
                )
            definition = keyvalue.readable(reader, table)
            read = definition.columns if columns is None else [definition.column(name) for name in columns]
            rows = reader.export(definition, columns=[column.id for column in read])
            return Result(
                schema=rows.schema,
                batches=rows.batches(),
                version=reader.version,
                types=[column.type for column in read],
                on_close=on_close,
            )

        return self.read_stream(work, Running(seconds=None))

    def write(
        self,
        table: str,
        change: Change,
        batch: pa.RecordBatch,
        token: WriterToken | None = None,
        *,
        bounds: Bounds = NO_BOUNDS,
    ) -> Commit:
        """Write a batch outside of any transaction: blind, so without Conflict but that of a bound.

        Raises what ``Engine.write`` raises.
        """
        self.check_writable(change.name)
        return self.retried(
            lambda: self.engine.write(table, change, batch, token=token, bounds=bounds, id=self.commit_id)
        )

    def reach(self, version: int | None) -> None:
        """Wait until reads see ``version``, if one is given.

        Raises Unavailable (57014) when that takes too long; Invalid (22023) where a transaction or snapshot reads at an
        older one, and for what is no version.
        """
        if version is not None:
            self._running = Running(seconds=None)
            self._reach(version, self._running, seconds=AT_LEAST_SECONDS)

    def _reach(self, version: int, running: Running, *, seconds: float) -> None:
        self.check_open()
        version_of(version, "at_least")
        while not self.engine.wait_for(version, seconds=_TICK_SECONDS):
            if running.age <= seconds:
                running.cancel.check()
            else:
                newest = self.engine.version
                raise Unavailable(
                    f"version {version} did not become visible within {seconds:g} s: the newest is {newest}",
                    hint="Wait longer; or is it a version of another database?",
                    sqlstate="57014",
                )
        moves = self.block is not None and self.block.isolation == "read committed"
        if (self.block is not None or self.pinned) and not moves and self.version < version:
            raise Invalid(
                f"the transaction or snapshot reads at version {self.version}, which is before {version}",
                hint="Begin a new one.",
                sqlstate="22023",
            )

    # For dispatch

    def notice(self, text: str) -> None:
        self.notices.append(text)
        del self.notices[:-100]

    @property
    def binder_settings(self) -> BinderSettings:
        return BinderSettings(timezone=self.settings.get("timezone"))

    def execution(
        self,
        reader: Reader,
        running: Running,
        parameters: Sequence[object] = (),
        types: Mapping[int, Type] | None = None,
        source: Source | None = None,
    ) -> Execution:
        """What a statement runs in. With ``source`` its bound queries are kept, where no table was altered."""
        key, tier, match_views = None, self.settings.get("weft.tier"), self.settings.match_views
        binder = self.binder_settings
        if isinstance(reader, Transaction) and (behind := reader.behind):
            binder = replace(binder, computed=behind, incomplete=reader.incomplete)
        if source is not None and not (self.block is not None and self.block.altered):
            declared = tuple(sorted((types or {}).items(), key=lambda item: item[0]))
            key = (source.rewritten, (declared, binder, tier, match_views, reader.catalog.version))
        return Execution(
            engine=self.engine,
            reader=reader,
            new_id=self.engine.new_id,
            resources=self.resources,
            cancel=running.cancel,
            now=reader.now if isinstance(reader, Transaction) else wall_clock(),
            binder=binder,
            parameters=parameters,
            parameter_types=types or {},
            notice=self.notice,
            key=key,
            alone=self.block is None,
            tier=tier,
            match_views=match_views,
            holder=self.holder,
        )
