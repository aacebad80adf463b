"""The slow oracle of TableStore: a dictionary from primary key to all versions of the row, judged by plain loops."""

from __future__ import annotations

import datetime
from dataclasses import dataclass, field
from typing import Any

from weftdb.engine.schema import Table

OPEN = 2**63 - 1


@dataclass
class RowVersion:
    begin: int
    row: dict[str, Any]
    delta: bool = False
    end: int = OPEN


@dataclass
class NaiveCells:
    """The same calls as TableStore, with rows as dicts and keys as tuples. Row ids stand in for absent primary keys."""

    table: Table
    versions: dict[tuple[Any, ...], list[RowVersion]] = field(default_factory=dict)
    next_row_id: int = 1

    def put(self, rows: list[dict[str, Any]], *, version: int, delta: bool = False) -> None:
        for row in rows:
            chain = self.versions.setdefault(self._key_of(row), [])
            if chain and chain[-1].end == OPEN:
                chain[-1].end = version
            chain.append(RowVersion(version, row, delta))

    def delete(self, keys: list[tuple[Any, ...]], *, version: int) -> None:
        for key in keys:
            chain = self.versions.get(canonical(key), [])
            if chain and chain[-1].end == OPEN:
                chain[-1].end = version

    def truncate(self, *, version: int) -> None:
        self.delete(list(self.versions), version=version)

    def get(self, key: tuple[Any, ...], *, version: int) -> dict[str, Any] | None:
        for row in self.versions.get(canonical(key), []):
            if row.begin <= version < row.end:
                return row.row
        return None

    def scan(self, *, version: int) -> list[dict[str, Any]]:
        return [row for key in self.versions if (row := self.get(key, version=version)) is not None]

    def newest(self, key: tuple[Any, ...]) -> RowVersion | None:
        chain = self.versions.get(canonical(key))
        return chain[-1] if chain else None

    def changed_since(self, key: tuple[Any, ...], version: int, *, ignore_deltas: bool) -> bool:
        chain = self.versions.get(canonical(key), [])
        for index, row in enumerate(chain):
            if row.begin > version and not (row.delta and ignore_deltas):
                return True
            replaced_at = chain[index + 1].begin if index + 1 < len(chain) else OPEN
            if version < row.end < replaced_at:
                return True
        return False

    def changes(self, low: int, high: int) -> tuple[list[tuple[RowVersion, int]], list[tuple[RowVersion, int]]]:
        """The row versions that began in (low, high], and those that ended, each with when it did."""
        rows = [row for chain in self.versions.values() for row in chain]
        return (
            [(row, row.begin) for row in rows if low < row.begin <= high],
            [(row, row.end) for row in rows if low < row.end <= high],
        )

    def _key_of(self, row: dict[str, Any]) -> tuple[Any, ...]:
        if self.table.primary_key:
            return canonical(tuple(row[column.name] for column in self.table.primary_key_columns))
        self.next_row_id += 1
        return (self.next_row_id - 1,)


def canonical(key: tuple[Any, ...]) -> tuple[Any, ...]:
    """Keys equal exactly where primary keys are: one NaN, and no negative zero."""
    return tuple(("NaN" if value != value else value + 0.0) if isinstance(value, float) else value for value in key)


def comparable(row: dict[str, Any] | None) -> object:
    """A row such that equal means the same values, NaN and negative zero included."""
    return None if row is None else tuple((name, repr(_in_utc(value))) for name, value in sorted(row.items()))


def _in_utc(value: Any) -> Any:
    """An aware datetime with one name of UTC, of which Arrow has another."""
    if isinstance(value, list):
        return [_in_utc(item) for item in value]
    aware = isinstance(value, datetime.datetime) and value.tzinfo is not None
    return value.replace(tzinfo=datetime.UTC) if aware else value
