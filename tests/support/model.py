"""The slow oracle of the engine: a dictionary per version, and the rules of conflict in a few lines.

Nothing here is shared with the engine: no index, no cell, no chain of versions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

Key = tuple[Any, ...]
Row = dict[str, Any]
Rows = dict[Key, Row]


class ModelConflict(Exception):
    """The model says: first committer wins, and this one was not the first."""


class ModelDuplicate(Exception):
    """The model says: the primary key exists."""


@dataclass
class ModelTransaction:
    """``written``: key → ("put", row) | ("delete", None) | ("delta", amounts).

    ``version`` is the one that it reads at now; ``firsts``: where each row was first put or deleted (True), and where
    first added to (False).
    """

    version: int
    rows: Rows
    default: Row
    written: dict[Key, tuple[str, Any]] = field(default_factory=dict)
    firsts: dict[tuple[Key, bool], int] = field(default_factory=dict)

    def put(self, key: Key, row: Row) -> None:
        self.rows[key] = row
        self.written[key] = ("put", row)
        self.firsts.setdefault((key, True), self.version)

    def insert(self, key: Key, row: Row) -> None:
        if key in self.rows:
            raise ModelDuplicate
        self.put(key, row)

    def delete(self, key: Key) -> None:
        self.rows.pop(key, None)
        self.written[key] = ("delete", None)
        self.firsts.setdefault((key, True), self.version)

    def add(self, key: Key, amount: int, default: Row) -> None:
        row = dict(self.rows.get(key, default))
        row["amount"] = (row["amount"] or 0) + amount
        self.rows[key] = row
        kind, before = self.written.get(key, ("delta", 0))
        self.written[key] = ("delta", before + amount) if kind == "delta" else ("put", row)
        self.firsts.setdefault((key, kind != "delta"), self.version)

    def copy(self) -> ModelTransaction:
        """For a savepoint."""
        return replace(self, rows=dict(self.rows), written=dict(self.written), firsts=dict(self.firsts))

    def read_at(self, version: int, rows: Rows) -> None:
        """Read the rows of a version from now on, with its own writes over them."""
        self.version, self.rows = version, dict(rows)
        for key, (kind, value) in self.written.items():
            if kind == "put":
                self.rows[key] = value
            elif kind == "delete":
                self.rows.pop(key, None)
            else:
                self.rows[key] = added(self.rows.get(key), self.default, key, value)


def added(row: Row | None, default: Row, key: Key, amount: int) -> Row:
    row = dict(row or {**default, "k": key[0], "t": key[1]})
    row["amount"] = (row["amount"] or 0) + amount
    return row


class Model:
    """Every version is a whole dictionary; ``changed`` remembers who changed a row last, and how."""

    def __init__(self) -> None:
        self.versions: dict[int, Rows] = {0: {}}
        self.newest = 0
        self._changed: dict[Key, int] = {}
        self._changed_by_delta: dict[Key, int] = {}

    def rows_at(self, version: int) -> Rows:
        """The rows at the newest modelled version at or below ``version``."""
        return self.versions[max(known for known in self.versions if known <= version)]

    def begin(self, version: int, *, default: Row) -> ModelTransaction:
        return ModelTransaction(version=version, rows=dict(self.rows_at(version)), default=default)

    def check(self, transaction: ModelTransaction) -> None:
        """Raise ModelConflict where another commit changed a written row after what its writer had read."""
        for (key, strict), since in transaction.firsts.items():
            changed = self._changed.get(key, 0)
            if strict:
                changed = max(changed, self._changed_by_delta.get(key, 0))
            if changed > since:
                raise ModelConflict(key)

    def commit(self, transaction: ModelTransaction, *, version: int) -> None:
        rows = dict(self.rows_at(self.newest))
        for key, (kind, value) in transaction.written.items():
            if kind == "put":
                rows[key] = value
                self._changed[key] = version
            elif kind == "delete":
                if rows.pop(key, None) is not None:  # a delete that finds nothing writes nothing
                    self._changed[key] = version
            else:
                rows[key] = added(rows.get(key), transaction.default, key, value)
                self._changed_by_delta[key] = version
        self.versions[version] = rows
        self.newest = version
