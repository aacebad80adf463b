"""What runs sqllogictest's statements: WeftDB, and the systems that it is judged by.

Each stands behind ``System``. A refusal leaves as ``Refused`` with the SQLSTATE, where the system has such a thing.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Sequence
from typing import Any, Final, Protocol

import weftdb
from weftdb.base.errors import WeftError
from weftdb.sql.embedded import EmbeddedDatabase
from weftdb.sql.session import Session

try:
    import psycopg
except ImportError:
    psycopg = None

STATEMENT_SECONDS: Final = 60.0
"""A statement that takes longer is refused (57014)."""


class Refused(Exception):
    """A system did not run a statement."""

    def __init__(self, sqlstate: str, message: str) -> None:
        super().__init__(sqlstate, message)
        self.sqlstate = sqlstate
        self.message = message.strip().split("\n")[0]

    def __str__(self) -> str:
        return f"{self.sqlstate} {self.message}".strip()


class System(Protocol):
    """``name`` is what ``skipif`` and ``onlyif`` call its dialect. ``reset`` makes an empty database."""

    name: str

    def reset(self) -> None: ...

    def execute(self, sql: str) -> Sequence[Sequence[Any]]:
        """The rows of one statement, none where it has none. Raises Refused."""
        ...

    def close(self) -> None: ...


class Weft:
    """WeftDB, embedded, in memory: one session, since scripts may begin transactions."""

    name = "postgresql"

    def __init__(self) -> None:
        self._database: EmbeddedDatabase | None = None
        self._session: Session | None = None

    def reset(self) -> None:
        self.close()
        self._database = weftdb.open()
        self._session = Session(self._database.engine)

    def execute(self, sql: str) -> Sequence[Sequence[Any]]:
        assert self._session is not None, "reset makes the database"
        try:
            return self._session.execute(sql, timeout=STATEMENT_SECONDS).rows()
        except WeftError as error:
            raise Refused(error.sqlstate, error.message) from error

    def close(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None
        if self._database is not None:
            self._database.close()
            self._database = None


class Postgres:
    """A database of its own, named after this process, in a server that runs (bench/postgres.py starts one)."""

    name = "postgresql"

    def __init__(self, address: str) -> None:
        assert psycopg is not None, "who has the address of a server has started it"
        database = f"sqllogic_{os.getpid()}"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {database}")
            connection.execute(f"CREATE DATABASE {database} TEMPLATE template0")
        self._connection = psycopg.connect(address, dbname=database, autocommit=True, prepare_threshold=None)
        self._connection.execute(f"SET statement_timeout = {int(STATEMENT_SECONDS * 1000)}")
        self._connection.execute("SET client_min_messages = error")

    def reset(self) -> None:
        self._connection.execute("DROP SCHEMA public CASCADE")
        self._connection.execute("CREATE SCHEMA public")

    def execute(self, sql: str) -> Sequence[Sequence[Any]]:
        assert psycopg is not None
        try:
            cursor = self._connection.execute(sql)
            return cursor.fetchall() if cursor.description else ()
        except psycopg.Error as error:
            raise Refused(error.sqlstate or "", str(error)) from error

    def close(self) -> None:
        self._connection.close()


class Sqlite:
    """SQLite in memory: who wrote the public corpus. It shows that the runner reads the format as it is meant."""

    name = "sqlite"

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None

    def reset(self) -> None:
        self.close()
        self._connection = sqlite3.connect(":memory:", isolation_level=None)

    def execute(self, sql: str) -> Sequence[Sequence[Any]]:
        assert self._connection is not None, "reset makes the database"
        try:
            return self._connection.execute(sql).fetchall()
        except sqlite3.Error as error:
            raise Refused("", str(error)) from error

    def close(self) -> None:
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
