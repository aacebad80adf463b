"""What a transaction has read: at its commit nobody else may have changed it.

    get, get_many, present     primary keys, of rows that are there and of those that are not   ┐
    scan, series               the filter: all rows that it is true of, those to come included   ├─► Reads per table
    a lock (FOR UPDATE)        primary keys or row ids                                          ┘
                                                              │
    settle   beside other commits: compared with all that was committed so far
    check    under the commit lock, for what was committed since

A SERIALIZABLE transaction notes all that it reads, so that it commits only if it would read the same at its commit:
the order of commits is an order in which one could have run after the other. One that writes nothing is in its place
at its snapshot, and needs no look. A lock notes some rows, at any level.

Always true: what is compared contains what was read. It may be more: a scan counts with its filter even where LIMIT
ended it early, any change of a row counts even where the columns that were read stayed, and of more than
``READ_KEYS_MAX`` keys or ``READ_RANGES_MAX`` filters what counts is the whole table. Going back to a savepoint makes
nothing unread.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pyarrow as pa

from ..base.errors import Conflict, Invalid
from ..base.limits import READ_KEYS_MAX, READ_RANGES_MAX
from ..base.rows import to_keys
from ..base.types import BOOLEAN, Kind
from .cells import TableStore
from .conflict import concatenated, key_at, key_columns, row_ids_of, row_text
from .expression.evaluate import Context, evaluate_filter
from .expression.node import Call, Column, Expression, Literal
from .internal import CATALOG
from .prepared import LookAgain
from .prune import column_ids, conjuncts, prune
from .schema import Table
from .zones import comparison

if TYPE_CHECKING:
    from .apply import State
    from .catalog import Catalog

PASSES_MAX: Final = 8
"""Filters that are looked for one by one, where their rows can be; more are compared with all that changed."""

LAST_TESTS_MAX: Final = 500_000
"""Changed rows times filters that are compared under the commit lock; more are compared before it is taken again."""

_NO_KEYS: Final = (Kind.REAL, Kind.DOUBLE)
"""Key columns of these types have values that are equal and not the same."""


@dataclass(frozen=True, kw_only=True)
class Reads:
    """What of one table must not have changed after ``version``, under the definition of that version.

    ``keys`` are primary keys or row ids (with key and time columns), ``singles`` primary keys as Python values,
    ``filters`` stand for all rows that they are true of, ``whole`` for all rows.
    """

    table: Table
    version: int
    keys: tuple[pa.RecordBatch, ...] = ()
    singles: tuple[tuple[Any, ...], ...] = ()
    filters: tuple[Expression, ...] = ()
    whole: bool = False

    @property
    def keys_count(self) -> int:
        return sum(keys.num_rows for keys in self.keys) + len(self.singles)

    @cached_property
    def key_batches(self) -> tuple[pa.RecordBatch, ...] | None:
        """All keys, made when somebody changed the table; None for a single one that is no value of its column."""
        if not self.singles:
            return self.keys
        try:
            return (*self.keys, to_keys(list(self.singles), self.table.key_schema))
        except Invalid:
            return None


@dataclass(slots=True)
class _Noted:
    table: Table
    singles: dict[tuple[Any, ...], None] = field(default_factory=dict[tuple[Any, ...], None])
    batches: list[pa.RecordBatch] = field(default_factory=list[pa.RecordBatch])
    batches_rows: int = 0
    filters: dict[Expression, None] = field(default_factory=dict[Expression, None])
    whole: bool = False

    def bound(self) -> None:
        """Too much to be told apart is all."""
        if len(self.singles) + self.batches_rows > READ_KEYS_MAX or len(self.filters) > READ_RANGES_MAX:
            self.everything()

    def everything(self) -> None:
        self.whole = True
        self.singles.clear()
        self.batches.clear()
        self.filters.clear()


class ReadSet:
    """What one SERIALIZABLE transaction has read. It only grows."""

    def __init__(self) -> None:
        self._noted: dict[int, _Noted] = {}

    def note_key(self, table: Table, key: tuple[Any, ...]) -> None:
        """A row was looked up by its primary key (Python values), and found or not."""
        noted = self._of(table)
        if not noted.whole:
            noted.singles[key] = None
            noted.bound()

    def note_keys(self, table: Table, keys: pa.RecordBatch) -> None:
        """Rows were looked up by primary key or row id, and found or not."""
        noted = self._of(table)
        if not noted.whole and keys.num_rows:
            noted.batches.append(_copied(keys))
            noted.batches_rows += keys.num_rows
            noted.bound()

    def note_filter(self, table: Table, filter: Expression | None) -> None:
        """All rows were asked for that ``filter`` is true of; None: all."""
        noted = self._of(table)
        if filter is None:
            noted.everything()
        elif not noted.whole:
            keys = _keys_in(filter, table)
            if keys is not None:
                self.note_keys(table, keys)
            else:
                noted.filters[filter] = None
                noted.bound()

    def note_series(self, table: Table, key: tuple[Any, ...], low: int | None, high: int | None) -> None:
        """The rows of one key in a window of event time were asked for, as ``Reader.series`` takes it."""
        self.note_filter(table, _series_filter(table, key, low, high))

    def note_table(self, table: Table) -> None:
        """Something was asked that any change of the table may change."""
        self._of(table).everything()

    def reads(self, catalog: Catalog, *, version: int) -> tuple[Reads, ...]:
        """What must not have changed since ``version``, with its ``catalog``: which itself has been read."""
        found = [Reads(table=CATALOG, version=version, whole=True)]
        for id, noted in self._noted.items():
            table = catalog.stored.get(id)
            if table is not None:  # else the transaction has made it
                found.append(_frozen(noted, table, version=version))
        return tuple(found)

    def _of(self, table: Table) -> _Noted:
        noted = self._noted.get(table.id)
        if noted is None:
            noted = self._noted[table.id] = _Noted(table)
        elif noted.table is not table and noted.table != table:
            noted.everything()  # the transaction altered it: what was noted may have other names
        return noted


class Locks:
    """Rows that a transaction has locked, and the version that it read them at. In order, so that the last can go."""

    def __init__(self) -> None:
        self._noted: list[Reads] = []
        self._rows_count = 0

    def __len__(self) -> int:
        return len(self._noted)

    def note(self, table: Table, keys: pa.RecordBatch, *, version: int) -> None:
        """Rows, by primary keys or row ids."""
        if self._rows_count + keys.num_rows <= READ_KEYS_MAX:
            self._noted.append(Reads(table=table, version=version, keys=(_copied(keys),)))
            self._rows_count += keys.num_rows
        elif not any(one.whole and one.table.id == table.id for one in self._noted):
            self._noted.append(Reads(table=table, version=version, whole=True))

    def forget_after(self, count: int) -> None:
        """Only the first ``count`` are locked."""
        del self._noted[count:]
        self._rows_count = sum(one.keys_count for one in self._noted)

    def reads(self) -> tuple[Reads, ...]:
        """What must not have changed."""
        found: dict[tuple[int, int, bool], Reads] = {}
        for one in self._noted:
            place = one.table.id, one.version, one.whole
            before = found.get(place)
            found[place] = one if before is None else replace(one, keys=(*before.keys, *one.keys))
        return tuple(
            replace(one, keys=(concatenated(one.keys),)) if len(one.keys) > 1 else one for one in found.values()
        )


def settle(reads: Sequence[Reads], state: State, *, since: int) -> int:
    """Compare beside commits of others; returns the version up to which nothing has changed. Raises Conflict."""
    version = state.version
    _check(reads, state, since=since, tests_max=None)
    return version


def check(reads: Sequence[Reads], state: State, *, since: int) -> None:
    """The same under the commit lock, for what was committed after ``since``. Raises Conflict, LookAgain."""
    _check(reads, state, since=since, tests_max=LAST_TESTS_MAX)


def _check(reads: Sequence[Reads], state: State, *, since: int, tests_max: int | None) -> None:
    for one in reads:
        low = max(one.version, since)
        if state.changed_at.get(one.table.id, 0) <= low:
            continue
        store = state.stores.get(one.table.id)
        if one.whole or one.key_batches is None or store is None or not _is_defined_so(one.table, state):
            raise _conflict(one.table, None)
        store = store if store.table is one.table else store.with_definition(one.table)
        for keys in one.key_batches:
            changed = store.changed_since(keys, low, ignore_deltas=False)
            if changed.any():
                raise _conflict(one.table, key_at(keys, int(changed.argmax())))
        if one.filters:
            _check_filters(one, store, low=low, high=state.version, tests_max=tests_max)


def _is_defined_so(table: Table, state: State) -> bool:
    current = state.catalog.stored.get(table.id)
    return current is not None and current.schema_version == table.schema_version


def _check_filters(reads: Reads, store: TableStore, *, low: int, high: int, tests_max: int | None) -> None:
    table, filters = reads.table, reads.filters
    asked = set[int]().union(*map(column_ids, filters))
    if not asked <= table.by_id.keys():
        raise _conflict(table, None)  # a column that the transaction itself has added
    columns = [column.id for column in table.columns if column.id in asked or column.id in table.primary_key]
    if len(filters) <= PASSES_MAX:
        passes = [(prune(filter, store.layout), (filter,)) for filter in filters]
    else:
        passes = [(None, filters)]
    tests = 0
    for pruning, some in passes:
        for changes in store.changes(low, high, pruning=pruning, columns=columns):
            for rows in (changes.begun, changes.ended):
                tests += rows.num_rows * len(some)
                if tests_max is not None and tests > tests_max:
                    raise LookAgain("others changed much of what was read while the transaction committed")
                for filter in some if rows.num_rows else ():
                    met = _first_met(filter, rows, table)
                    if met is not None:
                        keys = key_columns(table, rows)
                        raise _conflict(table, key_at(keys, met) if table.primary_key else None)


def _first_met(filter: Expression, rows: pa.RecordBatch, table: Table) -> int | None:
    """The first row that the filter is true of, or that it cannot say it of."""
    try:
        truth = evaluate_filter(filter, rows, column_ids=row_ids_of(table, rows), context=Context(now=0, parameters=()))
    except (Invalid, OverflowError, pa.ArrowException):
        return 0
    found = np.flatnonzero(truth.to_numpy(zero_copy_only=False))
    return int(found[0]) if len(found) else None


def _conflict(table: Table, key: tuple[object, ...] | None) -> Conflict:
    if table.id == CATALOG.id:
        return Conflict(
            "another transaction changed the catalog since this one began",
            hint="Retry the transaction.",
            kind="definition",
        )
    what = f'rows of "{table.name}" were' if key is None else f"{row_text(table, key)} was"
    return Conflict(
        f"{what} changed by another transaction, after this one read there",
        hint="Retry the transaction: it will see the other's change.",
        kind="read",
        table=table.name,
        key=key if table.primary_key else None,
    )


def _copied(keys: pa.RecordBatch) -> pa.RecordBatch:
    """The same in memory of its own: a slice would keep all that it was cut from."""
    return keys.take(pa.array(np.arange(keys.num_rows)))


def _frozen(noted: _Noted, table: Table, *, version: int) -> Reads:
    if noted.whole:
        return Reads(table=table, version=version, whole=True)
    keys = (concatenated(noted.batches),) if noted.batches else ()
    return Reads(table=table, version=version, keys=keys, singles=tuple(noted.singles), filters=tuple(noted.filters))


def _keys_in(filter: Expression, table: Table) -> pa.RecordBatch | None:
    """The primary keys of all rows that ``filter`` can be true of, where it says each column of them."""
    values: dict[int, list[Any]] = {}
    for part in conjuncts(filter):
        found = comparison(part)
        if found is None or found[1] not in ("equal", "in_list"):
            continue
        column, _, literals = found
        if column.id in table.primary_key and column.type.kind not in _NO_KEYS and column.id not in values:
            values[column.id] = list(dict.fromkeys(literal.value for literal in literals))
    if not table.primary_key or len(values) < len(table.primary_key):
        return None
    combinations = itertools.product(*(values[id] for id in table.primary_key))
    keys = list(itertools.islice(combinations, READ_RANGES_MAX + 1))
    if len(keys) > READ_RANGES_MAX:
        return None
    try:
        return to_keys(keys, table.key_schema)
    except Invalid:  # such as a text that is too long for its column
        return None


def _series_filter(table: Table, key: tuple[Any, ...], low: int | None, high: int | None) -> Expression:
    """The filter that ``series.series_of`` would take apart again."""
    parts: list[Expression] = []

    def compare(function: str, id: int, value: object) -> None:
        column = table.by_id[id]
        reference = Column(id=id, type=column.type, name=column.name)
        literal = Literal(value=value, type=column.type)
        parts.append(Call(function=function, arguments=(reference, literal), type=BOOLEAN))

    for id, value in zip(table.key, key, strict=True):
        compare("equal", id, value)
    for function, bound in (("greater_equal", low), ("less", high)):
        if bound is not None:
            assert table.time is not None, "there is a window of event time"
            compare(function, table.time, bound)
    return parts[0] if len(parts) == 1 else Call(function="and", arguments=tuple(parts), type=BOOLEAN)
