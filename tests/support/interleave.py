"""Interleavings of transactions, step by step, as the isolation tests of Hermitage write them.

``Side`` is one transaction of an interleaving over the table ``test (id, value)``. Nothing blocks in WeftDB, so one
thread plays all sides in the order of the script. The same script runs through two doors: ``SqlSide`` says everything
in SQL, ``KeyValueSide`` by get, put, update, delete and scan.

A Conflict ends a side, wherever it comes: its later steps do nothing, ``commit`` is False, ``conflicted`` True.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TypeVar

from weftdb.base.errors import Conflict
from weftdb.base.interface import Database, Table

Answer = TypeVar("Answer")
START = {1: 10, 2: 20}


def reset(database: Database) -> None:
    """The two rows that every script begins with, and no others."""
    database.execute("DELETE FROM test")
    database.table("test").put(list(START.items()))


def state(database: Database) -> dict[int, int]:
    """What is committed: id → value."""
    return dict(database.execute("SELECT id, value FROM test").rows())


class Side(ABC):
    """One transaction. ``conflicted`` once it was ended by a Conflict."""

    def __init__(self, database: Database, *, isolation: str) -> None:
        self.conflicted = False
        self._transaction = database.transaction(isolation=isolation)

    @property
    def _table(self) -> Table:
        return self._transaction.table("test")  # not before a step wants it: the first call takes the snapshot

    # What a script may say, in the order of its steps.

    def get(self, id: int) -> int | None:
        return self._step(lambda: self._get(id), None)

    def where(self, condition: str) -> dict[int, int]:
        """The rows with this condition (SQL in both doors): id → value."""
        return self._step(lambda: self._where(condition), {})

    def update(self, id: int, value: int) -> None:
        self._step(lambda: self._update(id, value), None)

    def increase(self, condition: str, amount: int) -> None:
        """Read and write: the value of every row with the condition, plus ``amount``."""
        self._step(lambda: self._increase(condition, amount), None)

    def add(self, id: int, amount: int) -> None:
        """The same as a delta: nothing is read."""
        self._step(lambda: self._table.add(id, value=amount), None)

    def insert(self, id: int, value: int) -> None:
        self._step(lambda: self._insert(id, value), None)

    def delete(self, condition: str) -> None:
        self._step(lambda: self._delete(condition), None)

    def commit(self) -> bool:
        """Whether it is committed."""
        self._step(self._transaction.commit, 0)
        return not self.conflicted

    def rollback(self) -> None:
        self._transaction.rollback()

    def close(self) -> None:
        self._transaction.close()

    def _step(self, work: Callable[[], Answer], otherwise: Answer) -> Answer:
        if self.conflicted:
            return otherwise
        try:
            return work()
        except Conflict:
            self.conflicted = True
            self._transaction.close()
            return otherwise

    @abstractmethod
    def _get(self, id: int) -> int | None: ...

    @abstractmethod
    def _where(self, condition: str) -> dict[int, int]: ...

    @abstractmethod
    def _update(self, id: int, value: int) -> object: ...

    @abstractmethod
    def _increase(self, condition: str, amount: int) -> object: ...

    @abstractmethod
    def _insert(self, id: int, value: int) -> object: ...

    @abstractmethod
    def _delete(self, condition: str) -> object: ...


class SqlSide(Side):
    def _get(self, id: int) -> int | None:
        value = self._transaction.execute("SELECT value FROM test WHERE id = $1", [id]).scalar()
        assert value is None or isinstance(value, int)
        return value

    def _where(self, condition: str) -> dict[int, int]:
        return dict(self._transaction.execute(f"SELECT id, value FROM test WHERE {condition}").rows())

    def _update(self, id: int, value: int) -> object:
        return self._transaction.execute("UPDATE test SET value = $2 WHERE id = $1", [id, value])

    def _increase(self, condition: str, amount: int) -> object:
        return self._transaction.execute(f"UPDATE test SET value = value + {amount} WHERE {condition}")

    def _insert(self, id: int, value: int) -> object:
        return self._transaction.execute("INSERT INTO test VALUES ($1, $2)", [id, value])

    def _delete(self, condition: str) -> object:
        return self._transaction.execute(f"DELETE FROM test WHERE {condition}")


class KeyValueSide(Side):
    def _get(self, id: int) -> int | None:
        row = self._table.get(id)
        if row is None:
            return None
        value = row["value"]
        assert isinstance(value, int)
        return value

    def _where(self, condition: str) -> dict[int, int]:
        rows = self._table.scan(where=condition).read_all()
        return dict(zip(rows["id"].to_pylist(), rows["value"].to_pylist(), strict=True))

    def _update(self, id: int, value: int) -> object:
        return self._table.update(id, value=value)

    def _increase(self, condition: str, amount: int) -> object:
        return self._table.put([(id, value + amount) for id, value in self._where(condition).items()])

    def _insert(self, id: int, value: int) -> object:
        return self._table.insert((id, value))

    def _delete(self, condition: str) -> object:
        return self._table.delete(list(self._where(condition)))
