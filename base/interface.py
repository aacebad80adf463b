"""The public interface: what an embedded and a remote database both are.

    weftdb.open("data")                     sql/embedded.py      a thin encoder over Session
    weftdb.connect("weft://host:7401")      client/              the same calls over gRPC

A program is written against these Protocols and runs with either. One suite, tests/test_conformance.py, runs over
both, so what the docstrings here promise is tested twice. Whatever raises, raises ``base.errors``.

What holds everywhere:

- **Rows** are one dict, a list of dicts, one tuple, a list of tuples, or anything Arrow (Table, RecordBatch,
  RecordBatchReader, pandas, Polars, our own ``Result``). Tuples have all columns in the table's order; dicts and Arrow
  may leave out columns, which then take their DEFAULT. Nothing is lost in silence: a value that does not fit its
  column is Invalid, naming column, row number (from 1) and value.
- **Keys** are primary keys: a plain value where the primary key has one column, else a tuple in its order, or a dict;
  or a list of these, or anything Arrow with exactly the primary key's columns.
- Every call outside a transaction is a transaction of its own and is all or nothing. A write has *returned* when it is
  durable and visible to everybody. Writes of a table and COMMIT are done once, also when a connection or the server
  breaks on the way; where nobody can tell in time what became of one, it is Unavailable (08007).
- **Versions** are tokens of consistency: ``at_least=version`` of a read (the version of a write, a commit or a result,
  from wherever) waits until that version is visible, so that it sees what was written or read before. Arrow data that
  come out carry theirs as ``weft.version`` in the schema's metadata; for ``get``, which gives a dict, ``version`` asked
  afterwards will do. A version that does not come is Unavailable (57014) after 30 seconds, or after ``timeout``. In a
  transaction or snapshot that reads at an older one it is Invalid (22023).
- A ``Database`` may be used from several threads at once; a ``Transaction``, a ``Snapshot``, a ``Writer`` and
  ``Changes`` by one thread at a time. Different ones are independent of each other.
- Closing twice is allowed; any other use after ``close`` raises Closed.

Not here: sessions that last. ``Database.execute`` runs each call in a session of its own that ends with it, so a text
that leaves a BEGIN open is refused; ``transaction`` is how several calls belong together. Settings go with the call, or
with the transaction: ``db.execute(text, settings={"timezone": "Europe/Berlin"})``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Literal, Protocol, Self, TypeAlias

import pyarrow as pa

from .result import Result

Rows: TypeAlias = object
"""One dict or tuple, a list of them, or anything Arrow; see the module's docstring."""

Keys: TypeAlias = object
"""One primary key, a list of them, or anything Arrow; see the module's docstring."""

Key: TypeAlias = object
"""One primary key: a value, a tuple in the primary key's order, or a dict."""

Isolation: TypeAlias = Literal["snapshot", "read committed", "serializable"]
"""Names of isolation levels. ``repeatable read`` is PostgreSQL's name for snapshot and is accepted, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What a write did.

    ``version`` is the version that made it visible; inside a transaction, where nothing is visible yet, the version
    that the transaction reads at. ``rows`` counts the rows that were written, or that a delete found.
    """

    version: int
    rows: int


class Closes(Protocol):
    """Something to close, by hand or by ``with``."""

    def close(self) -> None:
        """Release everything. May be called again. Never raises for what happened earlier, except in ``Writer``."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.close()


class Table(Protocol):
    """One table, as seen by a database, a transaction or a snapshot. Cheap to make; holds no data."""

    @property
    def name(self) -> str: ...

    @property
    def schema(self) -> pa.Schema:
        """Columns in order, with Arrow types, nullability, and the SQL type in each field's metadata."""
        ...

    @property
    def primary_key(self) -> tuple[str, ...]:
        """Names of the primary key's columns in its order; empty for a table without one."""
        ...

    def insert(self, rows: Rows, /) -> Written:
        """Add rows whose primary keys do not exist yet; all or none.

        Raises Invalid: 23505 for a primary key that exists or stands twice in ``rows``; 23502, 23514, 22003 and so on
        for values that the table refuses; 42703 for an unknown column. Raises Conflict inside a transaction.
        """
        ...

    def put(self, rows: Rows, /) -> Written:
        """Insert or replace whole rows; columns left out take their DEFAULT, also where a row existed.

        Outside a transaction it never conflicts: the last put in commit order wins, in one call the last in its rows.
        """
        ...

    def update(self, key: Key, /, **changes: object) -> Written:
        """Set some columns of one row to values. Raises NotFound if there is no such row; else as ``insert``."""
        ...

    def add(
        self,
        key: Key,
        amounts: Mapping[str, object] | None = None,
        /,
        *,
        min: object = None,
        max: object = None,
        **more: object,
    ) -> Written:
        """Add amounts to numeric columns of one row, commutatively: adds do not conflict with adds.

        Amounts are named arguments, ``add(7, stock=-1)``, or a dict by column, which also names those called ``min``
        and ``max``. A row that does not exist is made from the columns' DEFAULTs first, where a NULL counts as 0.
        ``min`` and ``max`` are what a sum may be at least and at most: a number for all columns, or a dict by column.
        They are decided in commit order.

        Raises Conflict (23514) where a sum would be beyond a bound: nothing was added, and it is not tried again by
        itself; in a transaction that may be at the commit. Raises Invalid on overflow (22003), for columns that are not
        numeric, and for columns of the primary key.
        """
        ...

    def delete(self, keys: Keys, /) -> Written:
        """Delete rows by primary key. Keys that do not exist are no error; ``Written.rows`` tells how many did."""
        ...

    def get(self, key: Key, /, *, at_least: int | None = None) -> dict[str, object] | None:
        """The row with this primary key, as column name → Python value, or None."""
        ...

    def get_many(self, keys: Keys, /, *, at_least: int | None = None) -> pa.Table:
        """The rows found, all columns, at one snapshot and in the order of ``keys``; keys not found are left out."""
        ...

    def scan(
        self,
        *,
        columns: Sequence[str] | None = None,
        where: str | None = None,
        key: object = None,
        time: tuple[object, object] | None = None,
        at_least: int | None = None,
    ) -> pa.RecordBatchReader:
        """Rows at one snapshot, in no particular order, as a stream of batches.

        ``columns`` in the order given, all if None. ``where`` is an SQL condition on this table's columns. ``key`` is
        a value (a tuple, where several columns make up the key) or a list of them. ``time`` is half-open,
        ``(lower, upper)``, either of them None for no bound. Conditions given together must all hold.
        Raises Invalid for what does not parse, bind or exist.
        """
        ...

    def export(self, *, columns: Sequence[str] | None = None, at_least: int | None = None) -> pa.RecordBatchReader:
        """All rows at one snapshot, in an order and in batches that depend on its version alone.

        By slice of event time, by shard, and by primary key (by key, event time and order of arrival where there is
        none); a batch ends after 65,536 rows, or where its text would be more than 64 MiB. So two exports of one
        snapshot are the same bytes, whatever was flushed, merged or restarted meanwhile. Raises Invalid inside of a
        transaction (25001), where its own writes are in no order: export from a snapshot.
        """
        ...

    def writer(self, *, name: str | None = None) -> Writer:
        """A pipelined writer for many rows, one at a time or in batches. Not inside a transaction or snapshot.

        With a ``name`` (one to 63 bytes, for the whole database) it goes on where the last writer of that name stopped,
        also after this program or the server crashed: see ``Writer.sequence``. Opening it takes it over: a batch of
        whoever had it before is refused with Closed.
        """
        ...


class Writer(Closes, Protocol):
    """A stream of writes to one table, in order, batched and pipelined by the writer itself.

    Rows are applied in the order of the calls, in batches of which each is all or nothing. It is no transaction: a
    batch is visible as soon as it is durable. A row is applied exactly once, also when a connection breaks on the way.

    When a batch fails, the batches after it are refused, and the next call (``put``, ``flush``, ``close``, …) raises
    the error. With that the failure is seen: nothing is buffered any more, and later calls start afresh.
    ``rows_acknowledged`` tells how many rows, from the first on, are in the database for certain.

    Leaving a ``with`` block flushes, also after an exception in the block, which is then the one that is raised.
    """

    def put(self, rows: Rows, /) -> None:
        """Hand over rows to insert or replace. Blocks while too many batches wait for acknowledgement."""
        ...

    def insert(self, rows: Rows, /) -> None:
        """Hand over rows that must not exist yet."""
        ...

    def delete(self, keys: Keys, /) -> None:
        """Hand over primary keys to delete."""
        ...

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
        """Hand over amounts to add to one row, as ``Table.add``; also that is applied exactly once.

        Without amounts: rows (dicts or Arrow) that have primary key and amounts as columns. A sum beyond its bounds
        fails its whole batch, with Conflict (23514).
        """
        ...

    def flush(self) -> int:
        """Wait until all rows handed over are durable and visible, and return the version at which they are."""
        ...

    @property
    def rows_acknowledged(self) -> int: ...

    @property
    def sequence(self) -> int:
        """How many rows all writers of this name were handed over, up to the last one that is in the database.

        Known when it opens, so that a program that starts again knows from which row of its source to go on: hand over
        the rows after it, and each is applied exactly once. Rows that were refused count, since others came after them.
        """
        ...


class Reads(Closes, Protocol):
    """What can be asked: a database (the newest snapshot per call), a transaction, a snapshot."""

    @property
    def version(self) -> int:
        """The version that reads see: the newest visible one, or the one that the transaction or snapshot is at."""
        ...

    def execute(
        self,
        sql: str,
        parameters: Sequence[object] = (),
        /,
        *,
        timeout: float | None = None,
        at_least: int | None = None,
    ) -> Result:
        """Run one or more SQL statements, separated by semicolons, and return the last one's result.

        ``$1`` is ``parameters[0]``; parameters go with a single statement only. ``timeout`` in seconds counts for the
        whole call; when it is over the statement is cancelled. Several statements outside a transaction are one
        transaction unless the text says BEGIN and COMMIT itself. ``at_least``: see above. Raises Invalid (42601 with
        line, column and caret for syntax), Conflict inside a transaction, Unavailable (57014) for the time-out.
        """
        ...

    def table(self, name: str, /) -> Table:
        """The table called ``name``, exactly. Raises Invalid (42P01) with the nearest name; where a remote database
        knew it before, and others dropped it since, its first use does.
        """
        ...


class Changes(Closes, Protocol):
    """The committed changes of one table, in the order of versions: batch after batch, and at the end it waits.

        snapshot at version v  +  the changes after v  =  snapshot at ``position``

    A batch is Arrow: ``weft_operation`` (``insert``, ``update``, ``delete``, and on request ``before``: the row as it
    was, in front of its update), ``weft_version``, and the table's columns: the row as it is since, or as it was when
    it was deleted. A row changes at most once a version: what one version made and undid is no change. Rows of one
    version come in no particular order. Tables without primary key have a last column ``weft_row_id``, and no updates.

    A batch holds whole versions, unless one version alone has more rows than fit: it comes in several, and the
    ``position`` moves with the last of them. The schema of a batch is that of the table at its versions: it changes
    from one batch to the next when the table was altered between them.

    For one thread at a time; ``close`` may be called by another.
    """

    @property
    def position(self) -> int:
        """What came until now brings a copy of the table to this version: the ``from_version`` to go on from."""
        ...

    def poll(self, timeout: float | None = None) -> pa.RecordBatch | None:
        """The next batch; None where there is none within ``timeout`` seconds. Without one it waits for ever.

        Raises Invalid (72000), naming the oldest version that is left, where the next changes are not kept any more;
        NotFound (42P01) behind the last change of a table that was dropped; Unavailable where the connection broke amid
        the batches of one version: another call begins that version anew.
        """
        ...

    def acknowledge(self, version: int | None = None) -> None:
        """All changes up to ``version`` (``position`` unless told) are done with: the feed's name goes on from there.

        It is a commit. Raises Invalid (55000) for a feed without a name.
        """
        ...

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self

    def __next__(self) -> pa.RecordBatch:
        """``poll()``."""
        batch = self.poll()
        assert batch is not None, "without a time-out it waits for one"
        return batch


class Transaction(Reads, Protocol):
    """Several calls that happen at once or not at all, at one snapshot that sees their own writes.

    Leaving the ``with`` block commits, or rolls back after an exception. A call that raises changes nothing, whether of
    a table or SQL of one or several statements, and the transaction goes on. ``close`` rolls back what was not
    committed.
    """

    def commit(self) -> int:
        """Make everything durable and visible; returns the version. Raises Conflict if another was first."""
        ...

    def rollback(self) -> None: ...

    def savepoint(self, name: str, /) -> None:
        """Remember this moment, to go back to it. An earlier one of this name is hidden until it is released."""
        ...

    def rollback_to(self, name: str, /) -> None:
        """Undo everything since the savepoint, which stays. Raises Invalid (3B001) for a name that there is not."""
        ...

    def release(self, name: str, /) -> None:
        """Forget the savepoint and those after it; what was done since stays. Raises Invalid (3B001)."""
        ...


class Snapshot(Reads, Protocol):
    """The database as of one version, for reading only: writes raise Invalid (25006). Pins the version until closed."""


class Database(Reads, Protocol):
    """A database. ``close`` ends everything that was opened from it.

    ``settings``, where they are given, are set before anything is run; ``SHOW ALL`` lists what there is. Raises
    Invalid: 42704 for a name that there is not, 22023 for a value that it does not take.
    """

    def execute(
        self,
        sql: str,
        parameters: Sequence[object] = (),
        /,
        *,
        timeout: float | None = None,
        at_least: int | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> Result:
        """See ``Reads.execute``. ``settings`` hold for this text.

        What the text itself sets ends with it, so a text that is only SET is refused (0A000) where no ``settings`` are
        given. Where they are, be they empty, ``result.settings`` has what is set after the text, if that changed them:
        whoever gives them to the next call, as ``weft sql`` does, has a session.
        """
        ...

    def transaction(
        self,
        *,
        isolation: str = "snapshot",
        read_only: bool = False,
        settings: Mapping[str, object] | None = None,
    ) -> Transaction:
        """Begin a transaction. Its snapshot is taken by its first call. ``isolation`` is one of ``Isolation``.
        SET in it holds until its end.

        Raises Invalid (22023) for what is no level.
        """
        ...

    def snapshot(
        self, as_of: int | datetime | str | None = None, *, settings: Mapping[str, object] | None = None
    ) -> Snapshot:
        """Read at one version: the newest, a version number, the last at or before a datetime (naive means UTC), or
        that of a named snapshot. SET in it holds until its end.

        Raises Invalid for a version that does not exist yet (22023), or that history has forgotten (72000); NotFound
        (42704) for a name that there is not, or that was given up.
        """
        ...

    def changes(
        self, table: str, from_version: int | None = None, *, before: bool = False, name: str | None = None
    ) -> Changes:
        """The changes of a table that were committed after ``from_version``, the newest version unless told.

        They reach back as far as history does (the option ``history_seconds``). With a ``name`` (one to 63 bytes, for
        the whole database) the position is kept, and all changes after it: opened anew, the feed goes on after what was
        acknowledged last. ``DROP FEED name`` forgets it; ``weft_feeds`` lists all. ``before``: with the rows as they
        were before updates.

        Raises Invalid: 42P01 for no such table, 22023 for a version yet to come, 72000 for a name at a version that
        history does not reach back to or that was given up since it kept too much, 42710 for a name of another table;
        LimitExceeded for too many names, or feeds that are open at one server.
        """
        ...
