"""The tables of fuzz_tiers.py: one definition for all worlds, other rows in each.

Rows lie in several segments of several blocks, merged ones among them, and in memtables of several chunks; many were
updated, deleted, or are older than a column.
"""

from __future__ import annotations

import datetime as dt
import json
import math
import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.sql.session import Session

STRINGS: Final = ("", "a", "A", "ab", "b", " a", "é", "aé😀", "%", "a_b", "0", "12", "it's", "zebra")
_NAMES: Final = ("a", "b", "ab", "zebra", "none")
_EPOCH: Final = dt.datetime(2024, 2, 28, 22, 30)

# Name, type, whether it may be NULL.
COLUMNS: Final = (
    ("n", "SMALLINT", False), ("a", "SMALLINT", True), ("b", "INTEGER", True), ("c", "INTEGER", False),
    ("e", "BIGINT", True), ("g", "BIGINT", False), ("q", "NUMERIC(12,4)", True), ("p", "NUMERIC(15,2)", False),
    ("w", "NUMERIC(38,4)", True), ("x", "DOUBLE PRECISION", True), ("y", "DOUBLE PRECISION", False),
    ("r", "REAL", True), ("s", "TEXT", True), ("t", "TEXT", False), ("z", "TEXT", True), ("v", "VARCHAR(9)", True),
    ("f", "BOOLEAN", True), ("h", "BOOLEAN", False), ("d", "DATE", True), ("i", "TIME", True), ("m", "TIMESTAMP", True),
    ("o", "TIMESTAMPTZ", False), ("bytes", "BYTEA", True), ("json", "JSONB", True),
)  # fmt: skip
LATE: Final = (("la", "INTEGER"), ("ls", "TEXT"), ("ld", "DATE"), ("lw", "NUMERIC(38,4)"))
"""Columns that were added when there were segments."""
LATE_DEFAULTS: Final = (" DEFAULT 5", " DEFAULT 'a'", "", " DEFAULT -2.5")
TABLES: Final = {
    "plain": ("k BIGINT PRIMARY KEY", ""),
    "series": (
        "k INTEGER, moment TIMESTAMP, PRIMARY KEY (k, moment)",
        " WITH (key = 'k', time = 'moment', every = '7 days', shards = 2)",
    ),
    "bag": ("k BIGINT", ""),
}
INTEGERS: Final = ("SMALLINT", "INTEGER", "BIGINT")
_LIMITS: Final = {"SMALLINT": 2**15, "INTEGER": 2**31, "BIGINT": 2**63}
_SCALES: Final = {"NUMERIC(12,4)": 4, "NUMERIC(15,2)": 2, "NUMERIC(38,4)": 4}
TYPES: Final = tuple(dict.fromkeys(type for _, type, _ in COLUMNS))


class World:
    """An engine with the tables of one seed. ``versions``: some to look back to."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(f"tiers {seed}")
        self.engine = Engine.open(options=Options(maintenance=False, history_seconds=10**6))
        self.versions: list[int] = []
        self.threads = self.rng.choice((1, 2, 3))
        self._makers = {
            table: {name: self._maker(type, nullable) for name, type, nullable in COLUMNS} for table in TABLES
        }
        self._late = [self._maker(type, True) for _, type in LATE]
        with Session(self.engine) as session:
            self._fill(session)

    def _fill(self, session: Session) -> None:
        rng = self.rng
        session.execute("CREATE TABLE other (s TEXT PRIMARY KEY, b INTEGER, name TEXT)")
        session.put("other", [{"s": name, "b": rng.randint(-3, 3), "name": rng.choice("xy")} for name in _NAMES])
        for name, (keys, options) in TABLES.items():
            columns = ", ".join(f"{column} {type}{'' if null else ' NOT NULL'}" for column, type, null in COLUMNS)
            tail = keys.partition(", PRIMARY KEY")
            session.execute(f"CREATE TABLE {name} ({tail[0]}, {columns}{''.join(tail[1:])}){options}")
        rounds = rng.randint(2, 4)
        late_from = rng.randint(1, rounds)
        for round in range(rounds + 1):
            if round == late_from:
                for name in TABLES:
                    for (column, type), default in zip(LATE, LATE_DEFAULTS, strict=True):
                        session.execute(f"ALTER TABLE {name} ADD COLUMN {column} {type}{default}")
            for name in TABLES:
                rows = self._rows(name, rng.choice((0, 5, 60, 300)), late=round >= late_from)
                if rows:
                    (session.insert if name == "bag" else session.put)(name, rows)
                if round and rng.random() < 0.6:
                    session.execute(f"DELETE FROM {name} WHERE k % {rng.randint(2, 9)} = {rng.randint(0, 1)}")
                if round and rng.random() < 0.4:
                    session.execute(f"UPDATE {name} SET c = c, s = 'b', x = 0.5 WHERE k < {rng.randint(0, 300)}")
            self.versions.append(session.version)
            if round < rounds and rng.random() < 0.8:
                self.engine.flush()
                if rng.random() < 0.2:
                    self.engine.compact()

    def _rows(self, table: str, count: int, *, late: bool) -> list[dict[str, Any]]:
        rng = self.rng
        rows: dict[Any, dict[str, Any]] = {}
        for number in range(count):
            row: dict[str, Any] = {name: make() for name, make in self._makers[table].items()}
            row["k"] = rng.randint(0, 40 if table == "series" else 400)
            if table == "series":
                row["moment"] = _EPOCH + dt.timedelta(hours=rng.randint(0, 24 * 20))
            if late:
                row |= {name: make() for (name, _), make in zip(LATE, self._late, strict=True)}
            rows[number if table == "bag" else (row["k"], row.get("moment"))] = row
        return list(rows.values())

    def _maker(self, type: str, nullable: bool) -> Callable[[], Any]:
        """Values of one column: one and the same, few, or many; NULL never, now and then, mostly or always."""
        rng = self.rng
        nulls = rng.choice((0.0, 0.1, 0.1, 0.9, 1.0)) if nullable else 0.0
        spread = rng.choice(("one", "few", "few", "some", "some", "wide", "many", "extreme"))
        count = {"one": 1, "few": 3, "many": 400}.get(spread)
        pool = [value(rng, type, spread) for _ in range(count or 40)]
        return lambda: None if rng.random() < nulls else rng.choice(pool)

    def close(self) -> None:
        self.engine.close()


def value(rng: random.Random, type: str, spread: str) -> Any:
    """A value of a type; those at its ends only where all is ``extreme``."""
    if type in INTEGERS or type in _SCALES:
        limit = _LIMITS.get(type) or 10 ** {"NUMERIC(12,4)": 12, "NUMERIC(15,2)": 15, "NUMERIC(38,4)": 38}[type]
        number = rng.randint(-5, 5)
        if spread in ("wide", "many"):
            number = rng.randint(-min(limit - 1, 10**9), min(limit - 1, 10**9))
        elif spread == "extreme":
            number = rng.choice((limit - 1, -limit + (type in _SCALES), number, limit // 3))
        return number if type in INTEGERS else Decimal(f"{number}E-{_SCALES[type]}")
    match type:
        case "DOUBLE PRECISION" | "REAL":  # they add without rounding
            special = (math.nan, math.inf, -math.inf, -0.0) if spread == "extreme" else (-0.0,)
            return rng.choice((*special, rng.randint(-4_000, 4_000) / 4, rng.randint(-3, 3) / 4))
        case "TEXT" | "VARCHAR(9)":
            if spread in ("wide", "many", "extreme"):
                return rng.choice(STRINGS)[:2] + str(rng.randint(0, 10**4))
            return rng.choice(STRINGS)
        case "BYTEA":
            return "\\x" + value(rng, "TEXT", spread).encode()[: rng.randint(0, 4)].hex() + rng.choice(("", "00", "ff"))
        case "JSONB":
            return json.dumps(rng.choice((value(rng, "TEXT", spread), rng.randint(0, 3), None, [], ["a", None])))
        case "BOOLEAN":
            return rng.random() < 0.5
        case "DATE":
            ends = (dt.date.min, dt.date.max) if spread == "extreme" else ()
            return rng.choice((*ends, _EPOCH.date() + dt.timedelta(rng.randint(-40, 40))))
        case "TIME":
            return dt.time(rng.randint(0, 23), rng.choice((0, 59)), rng.choice((0, 1)), rng.choice((0, 999_999)))
        case _:
            ends = (dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999), dt.datetime(1969, 12, 31, 23))
            moment = _EPOCH + dt.timedelta(seconds=rng.choice((rng.randint(0, 40), rng.randint(-(10**7), 10**7))))
            moment = rng.choice((*ends, moment)) if spread == "extreme" else moment
            return moment.replace(tzinfo=dt.UTC) if type == "TIMESTAMPTZ" else moment
