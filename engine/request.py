"""What wants to commit: the changes of one transaction or blind write, as the sequencer takes them.

A request goes to the sequencer whole, and comes back with a ``Commit`` or an error (sequencer.py). Batches are complete
and checked; the table that they were made for goes along, so that a definition which has changed meanwhile is noticed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from types import MappingProxyType
from typing import Final

import pyarrow as pa

from ..base.errors import Conflict, Internal, WeftError
from .aggregates.early import Early
from .changes import Commit, WriterToken
from .delta import Delta
from .prepared import Prepared
from .read_set import Reads
from .row_writes import RowWrites, in_columns
from .schema import Relation, Table

DELTA_BYTES: Final = 64
"""What a delta counts, roughly: it becomes a row where the newest is known."""

_NO_NAMES: Final = frozenset[tuple[str, int]]()
_NO_UNIQUE: Final[Mapping[int, set[int] | None]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class First:
    """Primary keys (or row ids) that a READ COMMITTED transaction wrote first in a statement at ``version``.

    ``deltas``: by adding amounts, else by put or delete; a row may be here once for each.
    """

    version: int
    keys: pa.RecordBatch
    deltas: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class TableChanges:
    """What one request does to one table: ``rows`` alone, or ``truncate``, ``prepared``, ``deletes``, ``puts``,
    ``deltas``, in this order.

    ``table`` is the definition that the batches were made for. ``inserts`` says that the puts' primary keys must be
    absent (blind requests; a transaction has checked that at its snapshot). ``strict`` marks a transaction's changes:
    no group mate may touch their rows. Keys of a transaction's deletes and puts are disjoint. ``prepared`` are rows in
    files, in the place of deletes and puts; such a request has a record of its own. ``firsts`` are the written keys of
    a READ COMMITTED transaction, each to be validated against its own snapshot; empty: all against the request's.
    ``early``: what puts come to in the table's views, where that is being found out already.
    """

    table: Table
    rows: RowWrites | None = None
    puts: tuple[pa.RecordBatch, ...] = ()
    deletes: tuple[pa.RecordBatch, ...] = ()
    deltas: tuple[Delta, ...] = ()
    inserts: bool = False
    strict: bool = False
    truncate: bool = False
    prepared: Prepared | None = None
    firsts: tuple[First, ...] = ()
    early: tuple[Early, ...] = ()

    @property
    def rows_count(self) -> int:
        if self.rows is not None:
            return len(self.rows.changes)
        prepared = 0 if self.prepared is None else self.prepared.rows_count
        return sum(batch.num_rows for batch in (*self.puts, *self.deletes)) + len(self.deltas) + prepared

    @property
    def plain(self) -> bool:
        """Whether it is rows that were written one by one, or deltas, and nothing else."""
        return self.rows is not None or not (self.puts or self.deletes or self.truncate or self.prepared)

    @property
    def bytes_count(self) -> int:
        if self.rows is not None:
            return self.rows.bytes_used
        rows = sum(batch.nbytes for batch in (*self.puts, *self.deletes))
        return rows + DELTA_BYTES * len(self.deltas)

    def in_columns(self) -> TableChanges:
        """The same changes with batches in the place of ``rows``."""
        if self.rows is None:
            return self
        keys, puts = in_columns(self.table, self.rows.changes.values())
        return replace(self, rows=None, deletes=() if keys is None else (keys,), puts=() if puts is None else (puts,))


@dataclass(slots=True, kw_only=True, eq=False)
class Request:
    """One transaction or blind write that wants to commit. ``snapshot`` is None for blind ones.

    ``catalog`` holds relations by name, None for a dropped name. ``unchanged`` are tables of which no row may have
    changed since the snapshot: a new definition was checked against all of them. ``retains`` are tables whose slices
    below the boundary are to be dropped (retention.py); such a request has no changes. ``reads`` is what must not have
    changed either (read_set.py). ``catch_up`` gives the changes anew, when nothing else can commit before them
    (index_build.py). The sequencer fills in ``commit`` or ``error``.
    """

    changes: tuple[TableChanges, ...]
    catalog: Mapping[str, Relation | None] = field(default_factory=dict[str, Relation | None])
    snapshot: int | None = None
    unchanged: tuple[int, ...] = ()
    retains: tuple[int, ...] = ()
    reads: tuple[Reads, ...] = ()
    token: WriterToken | None = None
    transaction_id: str | None = None
    catch_up: Callable[[Request], tuple[TableChanges, ...]] | None = None
    commit: Commit | None = None
    error: WeftError | None = None
    absent_count: int = 0  # rows that a blind delete did not find
    late_count: int = 0  # rows that came too late, and were left out here
    left_out: int = 0  # those that the transaction has left out before
    settled_at: int = 0  # nothing that it read has changed up to this version
    refused: Conflict | None = None  # or this has
    woken: SimpleQueue[None] = field(default_factory=SimpleQueue[None])  # finished, or it is its turn to lead
    abandoned: bool = False  # nobody waits for it any more
    unique: Mapping[int, set[int] | None] = field(default_factory=lambda: _NO_UNIQUE)  # see unique.py
    rows_count: int = field(init=False)
    bytes_count: int = field(init=False)
    replay_bytes: int = field(init=False)  # prepared rows that a replay of the log would have to look up
    alone: bool = field(init=False)  # its record has no other requests
    names: frozenset[tuple[str, int]] = field(init=False)  # a repeat must not join the group of its first try

    def __post_init__(self) -> None:
        self.alone = bool(self.catalog or self.retains)
        self.rows_count = self.bytes_count = self.replay_bytes = 0
        for changes in self.changes:
            self.rows_count += changes.rows_count
            self.bytes_count += changes.bytes_count
            if changes.truncate or changes.prepared is not None:
                self.alone = True
            if changes.prepared is not None:
                work = changes.prepared.install
                self.replay_bytes += work.bytes_count if work.replaces or work.keys else 0
        self.names = _NO_NAMES
        if self.token is not None:
            self.names |= {(self.token.writer, self.token.sequence)}
        if self.transaction_id is not None:
            self.names |= {(self.transaction_id, -1)}

    @property
    def finished(self) -> bool:
        return self.commit is not None or self.error is not None

    def reject(self, error: Exception) -> None:
        self.error = error if isinstance(error, WeftError) else Internal(f"{type(error).__name__}: {error}")
