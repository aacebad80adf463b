"""Deltas: commutative changes (``x += 5``) that never conflict with one another.

A delta is resolved where the order is decided: the sequencer takes the newest row (or what the group's earlier deltas
made of it), adds the amounts exactly, and refuses an overflow, or what the delta's bounds forbid. What all deltas of
the group made of a row is logged as one row. So ``apply`` knows only rows, a replica needs no arithmetic, and still no
two deltas conflict. A row that is absent starts from ``default_row``, with NULL and absent amounts counted from zero.
"""

from __future__ import annotations

import decimal
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final, TypeAlias

import pyarrow as pa

from ..base.errors import Conflict, Invalid
from ..base.rows import python_rows
from ..base.types import Kind
from .apply import State
from .cells import TableStore
from .conflict import row_text
from .constraints import IdentityAllocator, check, fill
from .expression.evaluate import Context
from .row_writes import columns_of, key_batch
from .schema import Column, Table
from .unique import check_made

ADDABLE = frozenset((Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.REAL, Kind.DOUBLE, Kind.NUMERIC))

_BITS = {Kind.SMALLINT: 16, Kind.INTEGER: 32, Kind.BIGINT: 64}

Number: TypeAlias = int | float | Decimal

ONE_BY_ONE_MAX: Final = 4
"""Rows that are read one after the other: faster than all at once."""

OUT_OF_BOUNDS: Final = "23514"
"""The Conflict of a delta beyond its bounds: to try again at once would change nothing."""

_EXACT = decimal.Context(prec=80)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """What a delta must leave in columns, by name: at least ``lower``, at most ``upper``. NULL counts as zero.

    Numbers are compared exactly; NaN is above all bounds.
    """

    lower: Mapping[str, Number] = field(default_factory=dict[str, Number])
    upper: Mapping[str, Number] = field(default_factory=dict[str, Number])

    def check(self, table: Table, key: tuple[object, ...], row: Mapping[str, Any]) -> None:
        """Raise Conflict (23514) for the first column of ``row`` that is beyond a bound."""
        for name, bound in self.lower.items():
            if (row.get(name) or 0) < bound:
                raise _out_of_bounds(table, key, name, row.get(name), bound, where="below")
        for name, bound in self.upper.items():
            if not (row.get(name) or 0) <= bound:
                raise _out_of_bounds(table, key, name, row.get(name), bound, where="above")

    def narrowed(self, other: Bounds) -> Bounds:
        """What keeps both."""
        lower, upper = dict(self.lower), dict(self.upper)
        for name, bound in other.lower.items():
            lower[name] = max(bound, lower.get(name, bound))
        for name, bound in other.upper.items():
            upper[name] = min(bound, upper.get(name, bound))
        return Bounds(lower=lower, upper=upper)


NO_BOUNDS: Final = Bounds()


def bounds_of(names: Sequence[str], *, lower: object = None, upper: object = None) -> Bounds:
    """Bounds of columns ``names`` that are added to: one number for all of them, or numbers by column name.

    Raises Invalid for what is no number, and for a column that nothing is added to.
    """
    if lower is None and upper is None:
        return NO_BOUNDS
    bounds = Bounds(lower=_by_name(names, lower, "min"), upper=_by_name(names, upper, "max"))
    for name, low in bounds.lower.items():
        if name in bounds.upper and low > bounds.upper[name]:
            raise Invalid(f'column "{name}": min {low} is above max {bounds.upper[name]}', sqlstate="22023")
    return bounds


def _by_name(names: Sequence[str], given: object, which: str) -> dict[str, Number]:
    if given is None:
        return {}
    by_name: Mapping[Any, Any] = given if isinstance(given, Mapping) else dict.fromkeys(names, given)
    for name, bound in by_name.items():
        if name not in names:
            raise Invalid(
                f'{which} is given for the column "{name}", and nothing is added to it',
                hint=f"The columns added to are: {', '.join(names)}.",
                sqlstate="42703",
            )
        if not isinstance(bound, int | float | Decimal) or isinstance(bound, bool) or Decimal(bound).is_nan():
            raise Invalid(f'{which} of column "{name}" is {bound!r}: give a number', sqlstate="22023")
    return dict(by_name)


@dataclass(slots=True, kw_only=True, eq=False)
class Delta:
    """Amounts by column name for the row with ``key`` (Python values in primary-key order, and ``encoded``).

    ``default`` makes the row to start from where there is none; ``bounds`` is what the row after it must keep.
    """

    table: Table
    key: tuple[object, ...]
    encoded: bytes
    amounts: Mapping[str, Any]
    default: Callable[[], Mapping[str, Any]]
    bounds: Bounds = NO_BOUNDS

    @property
    def key_batch(self) -> pa.RecordBatch:
        """The key as a batch of one row."""
        return key_batch(self.table, [self.key])

    @property
    def default_row(self) -> Mapping[str, Any]:
        """The row to start from where there is none."""
        return self.default()

    def after(self, table: Table, row: Mapping[str, Any] | None) -> dict[str, Any]:
        """``row`` (None: there is none) with the amounts. Raises Invalid (22003) on overflow, Conflict by a bound."""
        changed = add_amounts(table, self.default_row if row is None else row, self.amounts)
        self.bounds.check(table, self.key, changed)
        return changed

    def and_then(self, table: Table, later: Delta) -> Delta:
        """This delta and a later one of one row as one; the sum has to keep the bounds of both."""
        names = (*self.amounts, *later.amounts)
        amounts = add_amounts(table, {name: self.amounts.get(name) for name in names}, later.amounts)
        return replace(later, amounts=amounts, bounds=self.bounds.narrowed(later.bounds))


class DefaultRows:
    """The rows that deltas start from where there is none, the key and defaults: made when one is asked for first."""

    def __init__(
        self, table: Table, keys: Sequence[tuple[object, ...]], *, now: int, identities: IdentityAllocator
    ) -> None:
        self._table = table
        self._keys = keys
        self._context = Context(now=now)
        self._identities = identities
        self._rows: list[dict[str, Any]] = []

    def at(self, index: int = 0) -> dict[str, Any]:
        """That of one of the keys."""
        if not self._rows:
            keys = key_batch(self._table, self._keys)
            rows = fill(self._table, keys, context=self._context, identities=self._identities, overriding=True)
            self._rows = rows.to_pylist()
        return self._rows[index]


class GroupDeltas:
    """Rows after the deltas of one group: however many requests add to a row, one version of it is logged."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[bytes, dict[str, Any]]] = {}  # by table and encoded primary key
        self._last: dict[int, tuple[Table, int]] = {}

    def take(self, request: Sequence[tuple[Table, Sequence[Delta]]], *, ordinal: int, state: State) -> None:
        """Add the amounts of one request, which is the group's ``ordinal``-th, to what the requests before left.

        Raises Invalid on overflow (22003) or where a constraint refuses a row, Conflict (23514) where a bound does;
        then nothing of the request is kept.
        """
        resolved = [(table, self._resolved(table, deltas, state=state)) for table, deltas in request if deltas]
        for table, rows in resolved:
            self._rows.setdefault(table.id, {}).update(rows)
            self._last[table.id] = table, ordinal

    def keys(self, table: int) -> Collection[bytes]:
        """The encoded primary keys of the rows of a table that were added to."""
        return self._rows.get(table, ())

    def rows(self) -> Iterator[tuple[Table, int, pa.RecordBatch]]:
        """Per table the rows after all deltas, and the ordinal of the last request that added to any."""
        for id, (table, ordinal) in self._last.items():
            yield table, ordinal, _batch(table, list(self._rows[id].values()))

    def _resolved(self, table: Table, deltas: Sequence[Delta], *, state: State) -> dict[bytes, dict[str, Any]]:
        """The rows after ``deltas``, by encoded primary key: equal keys are one, however Python writes them."""
        store = state.stores[table.id]
        known = self._rows.get(table.id, {})
        keys = [delta.encoded for delta in deltas]
        asked = {key: delta for key, delta in zip(keys, deltas, strict=True) if key not in known}
        stored = dict(zip(asked, _stored(store, list(asked.values()), version=state.version), strict=True))
        rows: dict[bytes, dict[str, Any]] = {}
        made: set[bytes] = set()
        for key, delta in zip(keys, deltas, strict=True):
            row = rows.get(key) or known.get(key) or stored[key]
            if row is None:
                made.add(key)
            rows[key] = delta.after(table, row)
        # Only numbers changed in a row that was valid: without a CHECK it still is.
        doubtful = list(rows.values()) if table.checks or table.guards else [rows[key] for key in made]
        if doubtful:
            row_batch(table, doubtful)
        if made and table.unique:
            check_made(table, _batch(table, [rows[key] for key in made]))
        return rows


def _stored(store: TableStore, deltas: Sequence[Delta], *, version: int) -> list[dict[str, Any] | None]:
    """The rows that deltas begin with, None where there is none."""
    if len(deltas) <= ONE_BY_ONE_MAX:
        return [store.get(delta.key, version=version) for delta in deltas]
    keys = key_batch(store.table, [delta.key for delta in deltas])
    batch, places = store.get_many(keys, version=version)
    try:
        values = python_rows(batch, [column.type for column in store.table.columns])
    except (OverflowError, ValueError):  # of years beyond those of Python: ``get`` says which row
        return [store.get(delta.key, version=version) for delta in deltas]
    rows: list[dict[str, Any] | None] = [None] * len(deltas)
    for place, row in zip(places.tolist(), values, strict=True):
        rows[place] = dict(zip(batch.schema.names, row, strict=True))
    return rows


def add_amounts(table: Table, row: Mapping[str, Any], amounts: Mapping[str, Any]) -> dict[str, Any]:
    """``row`` with ``amounts`` added, exactly; NULL counts as zero. Raises Invalid (22003) out of range."""
    changed = dict(row)
    for name, amount in amounts.items():
        column = table.by_name[name]
        changed[name] = _sum(column, changed.get(name), amount)
    return changed


def check_addable(table: Table, names: Sequence[str]) -> None:
    """Raise Invalid for a column that cannot take amounts: unknown, not numeric, or part of the primary key."""
    for name in names:
        column = table.column(name)
        if column.type.kind not in ADDABLE:
            raise Invalid(
                f'column "{name}" of table "{table.name}" is {column.type}: only numbers can be added to',
                sqlstate="42804",
            )
        if column.id in table.primary_key:
            raise Invalid(
                f'column "{name}" is in the primary key of "{table.name}" and cannot be added to', sqlstate="42P10"
            )
        if any(column.id in index.reads for index in table.unique):
            raise Invalid(
                f'column "{name}" is in a unique index of "{table.name}" and cannot be added to',
                hint="Update it: others may not change the row meanwhile.",
                sqlstate="42P10",
            )


def row_batch(table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """Full rows of Python values as a checked batch. Raises Invalid where a constraint refuses one."""
    batch = _batch(table, rows)
    check(table, batch, context=Context())
    return batch


def _batch(table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    return columns_of(table, [{column.name: row.get(column.name) for column in table.columns} for row in rows])


def _sum(column: Column, value: Any, amount: Any) -> Any:
    type = column.type
    if amount is None:
        return value
    if type.kind is Kind.NUMERIC:
        total = _EXACT.add(Decimal(value or 0), Decimal(amount))
        if total != round(total, type.scale or 0):
            raise _not_of(column, amount)
        if abs(_EXACT.scaleb(total, type.scale or 0)) >= 10 ** (type.precision or 38):
            raise _out_of_range(column, total)
        return total
    total = (value or 0) + amount
    bits = _BITS.get(type.kind)
    if bits is not None and not isinstance(total, int):
        raise _not_of(column, amount)
    if bits is not None and not -(2 ** (bits - 1)) <= total < 2 ** (bits - 1):
        raise _out_of_range(column, total)
    return total


def _out_of_range(column: Column, total: object) -> Invalid:
    return Invalid(f'column "{column.name}": {total} is out of range for {column.type}', sqlstate="22003")


def _out_of_bounds(
    table: Table, key: tuple[object, ...], name: str, value: object, bound: object, *, where: str
) -> Conflict:
    return Conflict(
        f'{row_text(table, key)}: "{name}" would be {value}, {where} its bound {bound}',
        hint="Nothing was added. Add less, or again once others have changed the row.",
        sqlstate=OUT_OF_BOUNDS,
        kind="bound",
        table=table.name,
        key=key,
        column=name,
        bound=bound,
        value=value,
    )


def _not_of(column: Column, amount: object) -> Invalid:
    return Invalid(f'column "{column.name}": {amount} cannot be added to {column.type}', sqlstate="22P02")
