"""Random stars by pipelines and by the relational executor, at one snapshot: a table, and what it is joined with.

Every world has the same tables with other rows: keys that stand close together or far apart, negative ones, NULL, keys
without a partner, and relations that have a key twice. Kernels are run as plain Python, or compiled (fuzz_tiers.py).

    python tests/support/fuzz_stars.py --seed 1 --worlds 100 --queries 200
    python tests/support/fuzz_stars.py --compiled /tmp/kernels --structures 100 --worlds 50 --queries 200
"""

from __future__ import annotations

import datetime as dt
import random
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Final

from fuzz_tiers import Worlds, main
from fuzz_tiers_queries import Query
from weftdb.engine.database import Engine
from weftdb.engine.options import Options
from weftdb.sql.session import Session

_VALUES: Final = "t TEXT, i INTEGER, g BIGINT NOT NULL, p NUMERIC(12,2), x DOUBLE PRECISION, r REAL, d DATE, f BOOLEAN"
TABLES: Final = {
    "fact": f"id BIGINT PRIMARY KEY, a INTEGER, b BIGINT, c BIGINT NOT NULL, e DATE, {_VALUES}",
    "near": f"k INTEGER PRIMARY KEY, up BIGINT, {_VALUES}",
    "far": f"k BIGINT PRIMARY KEY, up BIGINT, {_VALUES}",
    "pair": f"k BIGINT, l BIGINT, {_VALUES}, PRIMARY KEY (k, l)",
    "days": f"k DATE PRIMARY KEY, {_VALUES}",
    "loose": f"k BIGINT, up BIGINT, {_VALUES}",
    "high": f"k BIGINT PRIMARY KEY, {_VALUES}",
}
JOINS: Final = {
    "near": ("n", ("fact.a = n.k",)),
    "far": ("m", ("fact.b = m.k",)),
    "pair": ("q", ("fact.c = q.l", "q.k = fact.a")),
    "days": ("y", ("fact.e = y.k",)),
    "loose": ("o", ("o.k = fact.c",)),
}
"""Alias, and the equalities with the fact."""


class World:
    """An engine with the tables of one seed."""

    def __init__(self, seed: int) -> None:
        self.rng = rng = random.Random(f"stars {seed}")
        self.threads = rng.choice((1, 2, 3))
        self.versions = ()
        self.engine = Engine.open(options=Options(maintenance=False))
        self._spread = rng.choice((1, 1, 1_000, 10**12))
        self._low = rng.choice((0, -20, 10**9))
        self._twice = rng.random() < 0.3
        self._nulls = rng.choice((0.0, 0.1, 0.5))
        with Session(self.engine) as session:
            for name, columns in TABLES.items():
                session.execute(f"CREATE TABLE {name} ({columns})")
            for round in range(rng.randint(1, 3)):
                for name in TABLES:
                    rows = self._rows(name, rng.choice((40, 200) if name == "fact" else (0, 5, 30)), round)
                    if rows:
                        (session.insert if name == "loose" else session.put)(name, rows)
                session.execute(f"DELETE FROM fact WHERE id % 5 = {round}")
                if rng.random() < 0.7:
                    self.engine.flush()

    def _rows(self, table: str, count: int, round: int) -> list[dict[str, Any]]:
        rng = self.rng
        rows: dict[Any, dict[str, Any]] = {}
        for number in range(count):
            row = self._values()
            if table == "fact":
                row |= {"id": rng.randint(0, 400), "a": self._near(), "b": self._far(), "c": rng.randint(0, 9)}
                row["e"] = self._day()
            elif table == "days":
                row["k"] = self._day()
            elif table == "pair":
                row |= {"k": self._near(), "l": rng.randint(0, 9)}
            elif table == "loose":
                row |= {"k": rng.randint(0, 9) if self._twice else 30 * round + number, "up": rng.randint(0, 5)}
                row["k"] = None if rng.random() < self._nulls else row["k"]
            elif table == "high":
                row["k"] = rng.randint(0, 5)
            else:
                row |= {"k": self._near() if table == "near" else self._far(), "up": rng.randint(0, 5)}
            if table not in ("fact", "loose") and (row["k"] is None):
                continue
            rows[number if table == "loose" else (row.get("id"), row.get("k"), row.get("l"))] = row
        return list(rows.values())

    def _near(self) -> int | None:
        return None if self.rng.random() < self._nulls else self._low + self.rng.randint(0, 25)

    def _far(self) -> int | None:
        return None if self.rng.random() < self._nulls else self.rng.randint(-15, 15) * self._spread + self._low

    def _day(self) -> dt.date | None:
        return None if self.rng.random() < self._nulls else dt.date(2024, 1, 1) + dt.timedelta(self.rng.randint(0, 30))

    def _values(self) -> dict[str, Any]:
        rng = self.rng
        row = {
            "t": rng.choice(("a", "b", "ab", "", "zebra")),
            "i": rng.randint(-3, 5),
            "p": Decimal(rng.randint(-500, 500)).scaleb(-2),
            "x": rng.choice((rng.randint(-40, 40) / 4, float("nan") if rng.random() < 0.1 else 0.5)),
            "r": rng.randint(-3, 3) / 4,
            "d": dt.date(2023, 5, 1) + dt.timedelta(rng.randint(0, 90)),
            "f": rng.random() < 0.5,
        }
        row = {name: None if rng.random() < 0.15 else value for name, value in row.items()}
        return row | {"g": rng.randint(0, 3)}

    def close(self) -> None:
        self.engine.close()


class Maker:
    """One query: its structure by ``rng``, its constants by ``values``."""

    def __init__(self, rng: random.Random, values: random.Random) -> None:
        self.rng = rng
        self.values = values
        self._aliases = ["fact"]

    def query(self) -> str:
        rng = self.rng
        conditions: list[str] = []
        sources = ["fact"]
        text = "fact"
        for name in rng.sample(tuple(JOINS), rng.choice((0, 1, 1, 2, 2, 3))):
            alias, equal = JOINS[name]
            self._aliases.append(alias)
            source = f"{name} {alias}"
            if rng.random() < 0.15:
                source = f"(SELECT k, {'l, ' if name == 'pair' else ''}t, i, i + 1 AS j, g, p, x, r, d, f FROM {name}"
                source += f"{' WHERE ' + self._condition((name,)) if rng.random() < 0.5 else ''}) {alias}"
            on = [*equal, *([self._condition((alias,))] if rng.random() < 0.2 else [])]
            if rng.random() < 0.2:
                text += f" LEFT JOIN {source} ON {' AND '.join(on)}"
            elif rng.random() < 0.5:
                text += f" JOIN {source} ON {' AND '.join(on)}"
            else:
                sources.append(source)
                conditions += on
            if name in ("near", "far", "loose") and rng.random() < 0.4 and source.startswith(name):
                sources.append(f"high h{alias}")
                conditions.append(f"{alias}.up = h{alias}.k")
                self._aliases.append(f"h{alias}")
        sources[0] = text
        conditions += [self._condition(self._aliases) for _ in range(rng.choice((0, 1, 1, 2)))]
        if rng.random() < 0.3:
            conditions.append(self._presence())
        rng.shuffle(conditions)
        keys = list(dict.fromkeys(self._key() for _ in range(rng.choice((0, 1, 1, 2, 3)))))
        outputs = [*keys, *(self._aggregate() for _ in range(rng.randint(1, 4)))]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        by = f" GROUP BY {', '.join(map(str, range(1, len(keys) + 1)))}" if keys else ""
        return f"SELECT {', '.join(outputs)} FROM {', '.join(sources)}{where}{by}"

    def _column(self, name: str, aliases: Sequence[str] | None = None) -> str:
        return f"{self.rng.choice(aliases or self._aliases)}.{name}"

    def _key(self) -> str:
        one, other = self._column("i"), self._column("i")
        return self.rng.choice(
            (
                self._column(self.rng.choice("tigdf")),
                self._column(self.rng.choice("tigdf")),
                f"{one} + {other}",
                f"upper({self._column('t')})",
                f"{self._column('p')} > {self._column('p')}",
                "fact.a",
                "fact.c",
                f"coalesce({one}, {other}, 7)",
            )
        )

    def _number(self) -> str:
        one, other, p = self._column("i"), self._column("g"), self._column("p")
        return self.rng.choice(
            (
                one,
                p,
                f"{one} * {other}",
                f"{p} * (1 - {self._column('p')})",
                self._column("x"),
                f"{self._column('x')} * {self._column('x')}",
                f"CASE WHEN {self._condition(self._aliases)} THEN {one} ELSE {other} END",
                f"coalesce({one}, 3)",
                f"length({self._column('t')})",
            )
        )

    def _aggregate(self) -> str:
        function = self.rng.choice(("sum", "sum", "min", "max", "avg", "count"))
        text = self.rng.choice(
            (
                "count(*)",
                f"{function}({self._number()})",
                f"{function}({self._number()})",
                f"count({self._column('t')})",
                f"min({self._column('d')})",
                f"max({self._column('r')})",
            )
        )
        return f"{text} FILTER (WHERE {self._condition(self._aliases)})" if self.rng.random() < 0.1 else text

    def _condition(self, aliases: Sequence[str]) -> str:
        rng, values = self.rng, self.values
        compared = rng.choice(("=", "<>", "<", "<=", ">", ">="))
        one = self._column("i", aliases)
        found: tuple[Callable[[], str], ...] = (
            lambda: f"{one} {compared} {values.randint(-3, 5)}",
            lambda: f"{one} {compared} {self._column('i', aliases)}",
            lambda: f"{self._column('t', aliases)} LIKE '{values.choice(('a%', '%b', '%'))}'",
            lambda: f"{self._column('p', aliases)} {compared} {self._column('p', aliases)}",
            lambda: f"{self._column('x', aliases)} < {values.randint(-3, 5)}",
            lambda: f"{self._column(rng.choice('tipxdf'), aliases)} IS {rng.choice(('', 'NOT '))}NULL",
            lambda: f"({self._condition(aliases)} OR {self._condition(aliases)})",
            lambda: f"NOT {self._column('f', aliases)}",
            lambda: f"{self._column('d', aliases)} >= DATE '2023-05-01' + {values.randint(0, 90)}",
        )
        return rng.choice(found)()

    def _presence(self) -> str:
        rng = self.rng
        name = rng.choice(tuple(JOINS))
        _, equal = JOINS[name]
        word = rng.choice(("", "", "NOT "))
        conditions = [self._condition((name,))] if rng.random() < 0.5 else []
        if rng.random() < 0.5 or name == "pair":
            on = [part.replace(f"{JOINS[name][0]}.", f"{name}.") for part in equal]
            return f"{word}EXISTS (SELECT 1 FROM {name} WHERE {' AND '.join([*conditions, *on])})"
        own = {"near": "fact.a", "far": "fact.b", "days": "fact.e", "loose": "fact.c"}[name]
        where = f" WHERE {conditions[0]}" if conditions else ""
        return f"{own} {word}IN (SELECT k FROM {name}{where})"


STARS: Final = Worlds(world=World, query=lambda rng, values, _: Query("star", Maker(rng, values).query()))

if __name__ == "__main__":
    sys.exit(main(of=STARS))
