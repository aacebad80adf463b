"""What runs the scripts of tests/golden/views: WeftDB, asked twice, and PostgreSQL, which computes views when it reads.

A query's leading comments are lines that EXPLAIN has to print, word for word:

    query IR nosort
    -- View v answers for t, since
    -- k > 1 is about whole groups: k > 1
    SELECT k, sum(x) FROM t WHERE k > 1 GROUP BY k ORDER BY k

If none says that a view answers, none may, and the view that EXPLAIN names instead has to answer. The golden answers
are PostgreSQL's over plain views:

    python tests/support/view_scripts.py "host=127.0.0.1 port=5432 user=postgres" tests/golden/views/*.test
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import sqllogic_complete
from from_rows import from_rows, from_views
from weftdb.bench.sqllogic_script import answer
from weftdb.bench.sqllogic_systems import Postgres, Refused, Weft

_ANSWERS: Final = re.compile(r"View \w+ answers for")
_OURS: Final = re.compile(r"\) WITH \(\w+ = .*\)$")
"""Options of our tables alone."""

_TIME_BUCKET: Final = """
CREATE FUNCTION time_bucket(width interval, moment timestamp) RETURNS timestamp IMMUTABLE LANGUAGE sql
AS 'SELECT date_bin(width, moment, timestamp ''2000-01-03'')'
"""

_BY_TIME: Final = """
CREATE TYPE timed AS (at timestamp, x integer);
CREATE FUNCTION value_of(state timed) RETURNS integer IMMUTABLE LANGUAGE sql AS 'SELECT (state).x';
CREATE FUNCTION first_of(state timed, x integer, at timestamp) RETURNS timed IMMUTABLE LANGUAGE sql AS
'SELECT CASE WHEN at IS NULL OR row(at, x)::timed >= state THEN state ELSE row(at, x)::timed END';
CREATE FUNCTION last_of(state timed, x integer, at timestamp) RETURNS timed IMMUTABLE LANGUAGE sql AS
'SELECT CASE WHEN at IS NULL OR row(at, x)::timed <= state THEN state ELSE row(at, x)::timed END';
CREATE AGGREGATE first(integer, timestamp) (SFUNC = first_of, STYPE = timed, FINALFUNC = value_of);
CREATE AGGREGATE last(integer, timestamp) (SFUNC = last_of, STYPE = timed, FINALFUNC = value_of);
"""
"""Rows compare value after value, NULL above all else."""


class Twice(Weft):
    """Answers each query with and without views, which must be the same, and verifies all views after each change.

    ``flushes``: rows and groups go to segments after each change.
    """

    name = "weft"

    def __init__(self, *, flushes: bool = False) -> None:
        super().__init__()
        self._flushes = flushes
        self._open = False

    def execute(self, sql: str) -> Sequence[Sequence[Any]]:
        rows = super().execute(sql)
        assert self._session is not None, "reset makes the database"
        if re.match(r"(--.*\n)*\s*(SELECT|WITH)\b", sql):
            self._compare(sql, rows)
        else:
            self._open = sql == "BEGIN" or (self._open and sql not in ("COMMIT", "ROLLBACK"))
            if not self._open:
                self._settle()
        return rows

    def _compare(self, sql: str, rows: Sequence[Sequence[Any]]) -> None:
        said = re.findall(r"^-- (.*)$", sql, re.MULTILINE)
        query = re.sub(r"^--.*\n", "", sql, flags=re.MULTILINE)
        lines = [line.strip() for (line,) in super().execute(f"EXPLAIN {query}")]
        missing = [line for line in said if line not in lines]
        answered = any(map(_ANSWERS.match, lines))
        if missing or (said and answered != any(map(_ANSWERS.match, said))):
            raise Refused("XX000", f"EXPLAIN says {lines}, not {missing}")
        for line in () if answered or self._open else lines:
            self._try(line, query)
        plain = from_rows(self._session, query).rows()
        from_views(self._session, "SELECT 1")
        types = "T" * len(rows[0]) if rows else ""
        if answer(_rounded(rows), types=types, sort="rowsort") != answer(_rounded(plain), types=types, sort="rowsort"):
            raise Refused("XX000", f"views answer {rows}, rows {plain}")

    def _try(self, line: str, query: str) -> None:
        """The view that EXPLAIN names answers the query."""
        made = line.removeprefix("this one would: CREATE MATERIALIZED VIEW name AS ")
        if made == line:
            return
        try:
            super().execute(f"CREATE MATERIALIZED VIEW suggested AS {made}")
        except Refused as why:
            raise Refused("XX000", f"{line}: {why}") from None
        lines = [line for (line,) in super().execute(f"EXPLAIN {query}")]
        super().execute("DROP MATERIALIZED VIEW suggested")
        if not any(line.startswith("View suggested answers for") for line in lines):
            raise Refused("XX000", f"{line}: it does not: {lines}")

    def _settle(self) -> None:
        assert self._database is not None, "reset makes the database"
        if self._flushes:
            self._database.engine.maintenance.flush()
        for (name,) in super().execute("SELECT view_name FROM weft_views WHERE maintained"):
            differ = super().execute(f"VERIFY MATERIALIZED VIEW {name}")
            if differ:
                raise Refused("XX000", f"{name} is not what its rows say: {differ}")


class Judge:
    """PostgreSQL with plain views in place of materialized ones: exact always, since nothing is kept."""

    name = "postgresql"

    def __init__(self, postgres: Postgres) -> None:
        self._postgres = postgres

    def reset(self) -> None:
        self._postgres.reset()
        for statement in (_TIME_BUCKET, *_BY_TIME.split(";\n")):
            self._postgres.execute(statement)

    def execute(self, sql: str) -> Sequence[Sequence[Any]]:
        return self._postgres.execute(_OURS.sub(")", sql.replace(" MATERIALIZED VIEW ", " VIEW ")))

    def close(self) -> None:
        self._postgres.close()


def _rounded(rows: Sequence[Sequence[Any]]) -> list[list[Any]]:
    """Floats may differ in what their sums by rows lose."""
    return [[float(f"{value:.9g}") if isinstance(value, float) else value for value in row] for row in rows]


if __name__ == "__main__":
    judge = Judge(Postgres(sys.argv[1]))
    for name in sys.argv[2:]:
        Path(name).write_text(sqllogic_complete.completed(Path(name), judge))
