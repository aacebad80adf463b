"""Deltas: commutative changes (``x += 5``) that never conflict with one another.

A delta is resolved where the order is decided: the sequencer takes the newest row (or what the group's earlier deltas
made of it), adds the amounts exactly, refuses an overflow, and logs the row after it. So ``apply`` knows only rows, a
replica needs no arithmetic, and still no two deltas conflict. A row that is absent starts from ``default_row``, with
NULL and absent amounts counted from zero.
"""

from __future__ import annotations

import decimal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pyarrow as pa

from ..base.errors import Invalid
from ..base.types import Kind
from .apply import State
from .constraints import check
from .expression.evaluate import Context
from .schema import Column, Table

ADDABLE = frozenset((Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.REAL, Kind.DOUBLE, Kind.NUMERIC))

_BITS = {Kind.SMALLINT: 16, Kind.INTEGER: 32, Kind.BIGINT: 64}

_EXACT = decimal.Context(prec=80)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delta:
    """Amounts by column name for the row with ``key`` (Python values in primary-key order).

    ``key_batch`` is the same key as one-row batch; ``default_row`` the row to start from where there is none.
    """

    key: tuple[object, ...]
    key_batch: pa.RecordBatch
    amounts: Mapping[str, Any]
    default_row: Mapping[str, Any]


class DeltaResolver:
    """Rows after the deltas of one group, by table and primary key."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[tuple[object, ...], dict[str, Any]]] = {}

    def has_rows(self, table_id: int) -> bool:
        return table_id in self._rows

    def resolve(self, table: Table, deltas: Sequence[Delta], *, state: State) -> pa.RecordBatch:
        """The rows after ``deltas``, one per touched row.

        Raises Invalid on overflow (22003) or where a constraint refuses the row; then nothing is kept.
        """
        known = self._rows.get(table.id, {})
        store = state.stores[table.id]
        touched: dict[tuple[object, ...], dict[str, Any]] = {}
        for delta in deltas:
            row = touched.get(delta.key) or known.get(delta.key) or store.get(delta.key, version=state.version)
            touched[delta.key] = add_amounts(table, row or delta.default_row, delta.amounts)
        rows = row_batch(table, list(touched.values()))
        self._rows.setdefault(table.id, {}).update(touched)
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


def row_batch(table: Table, rows: Sequence[Mapping[str, Any]]) -> pa.RecordBatch:
    """Full rows of Python values as a checked batch. Raises Invalid where a constraint refuses one."""
    batch = pa.RecordBatch.from_pylist([_storable(table, row) for row in rows], schema=table.arrow_schema)
    check(table, batch, context=Context())
    return batch


def _storable(table: Table, row: Mapping[str, Any]) -> dict[str, Any]:
    """Values that pyarrow takes for the table's extension types (UUID as bytes)."""
    return {
        column.name: value.bytes if column.type.kind is Kind.UUID and value is not None else value
        for column in table.columns
        for value in (row.get(column.name),)
    }


def _sum(column: Column, value: Any, amount: Any) -> Any:
    type = column.type
    if amount is None:
        return value
    if type.kind is Kind.NUMERIC:
        total = _EXACT.add(Decimal(value or 0), Decimal(amount))
        if abs(_EXACT.scaleb(total, type.scale or 0)) >= 10 ** (type.precision or 38):
            raise _out_of_range(column, total)
        return total
    total = (value or 0) + amount
    bits = _BITS.get(type.kind)
    if bits is not None and not -(2 ** (bits - 1)) <= total < 2 ** (bits - 1):
        raise _out_of_range(column, total)
    return total


def _out_of_range(column: Column, total: object) -> Invalid:
    return Invalid(f'column "{column.name}": {total} is out of range for {column.type}', sqlstate="22003")
