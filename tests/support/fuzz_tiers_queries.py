"""The queries of fuzz_tiers.py: groups of every kind, DISTINCT, the first rows of an order, projections, joins."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Final

from fuzz_tiers_world import COLUMNS, INTEGERS, LATE, TABLES, TYPES, value

_NO_KEYS: Final = ("REAL", "DOUBLE PRECISION", "VARCHAR(9)")
"""What few pipelines group by."""


class Maker:
    """One query: its structure by ``rng``, its constants by ``values``."""

    def __init__(self, rng: random.Random, values: random.Random, versions: Sequence[int]) -> None:
        self.rng = rng
        self.values = values
        self._versions = versions
        self._past = rng.random() < 0.1
        self._usual = rng.random() < 0.75
        self._columns = [(name, type) for name, type, _ in COLUMNS] + list(LATE)

    def query(self) -> tuple[str, str]:
        """Its kind, and the text."""
        kind = self.rng.choices(
            ("groups", "distinct", "counted", "top", "projection", "nested", "joined"), (50, 6, 8, 10, 8, 12, 8)
        )[0]
        return kind, getattr(self, f"_{kind}")()

    # Queries.

    def _table(self) -> str:
        name = self.rng.choice(tuple(TABLES))
        return f"{name} AS OF VERSION {self.values.choice(self._versions)}" if self._past else name

    def _where(self) -> str:
        parts = [self.condition(self.rng.choice((0, 0, 1))) for _ in range(self.rng.choice((0, 1, 1, 2, 3)))]
        if self.rng.random() < 0.15:
            parts.append(self._keys())
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def _keys(self) -> str:
        """A condition on the key, by which runs of rows are found."""
        numbers = sorted(self.values.randint(0, 60) for _ in range(3))
        return self.rng.choice(
            (
                f"k BETWEEN {numbers[0]} AND {numbers[2]}",
                f"k IN ({numbers[0]}, {numbers[1]}, {numbers[2]})",
                f"k = {numbers[0]}",
                f"(k < {numbers[0]} OR k > {numbers[2] * 4})",
            )
        )

    def _grouped(self, source: str, aggregates: Sequence[str]) -> tuple[str, int]:
        keys = list(dict.fromkeys(self.key() for _ in range(self.rng.choice((0, 0, 1, 1, 1, 2, 3)))))
        outputs = [*keys, *aggregates]
        text = f"SELECT {', '.join(outputs)} FROM {source}{self._where()}"
        if keys:
            text += f" GROUP BY {', '.join(map(str, range(1, len(keys) + 1)))}"
        if self.rng.random() < 0.15:
            text += f" HAVING {self.rng.choice(('count(*) > 1', 'min(c) < 3', 'count(b) = 0'))}"
        return text, len(outputs)

    def _groups(self) -> str:
        text, count = self._grouped(self._table(), [self.aggregate() for _ in range(self.rng.randint(1, 5))])
        return text + self._order(count, 0.15)

    def _order(self, count: int, share: float) -> str:
        """By all that is seen: the order is one."""
        rng = self.rng
        if rng.random() > share:
            return ""
        words = ("", " DESC", " NULLS FIRST", " DESC NULLS LAST")
        places = rng.sample(range(1, count + 1), count)
        limit = rng.choice(("", f" LIMIT {self.values.randint(0, 12)}", f" LIMIT {self.values.randint(0, 9)} OFFSET 3"))
        return f" ORDER BY {', '.join(f'{place}{rng.choice(words)}' for place in places)}{limit}"

    def _distinct(self) -> str:
        outputs = list(dict.fromkeys(self.key() for _ in range(self.rng.randint(1, 3))))
        text = f"SELECT DISTINCT {', '.join(outputs)} FROM {self._table()}{self._where()}"
        return text + self._order(len(outputs), 0.3)

    def _counted(self) -> str:
        function, number = self.rng.choice(("count", "count", "sum", "min")), self.integer(self.rng.choice(INTEGERS), 0)
        words = [f"{function}(DISTINCT {number})", f"count(DISTINCT {self.key()})"]
        aggregates = [*self.rng.sample(words, self.rng.randint(1, 2)), *([self.aggregate()] * self.rng.randint(0, 1))]
        return self._grouped(self._table(), aggregates)[0]

    def _top(self) -> str:
        outputs = list(dict.fromkeys(self.key() for _ in range(self.rng.randint(1, 5))))
        text = f"SELECT {', '.join(outputs)} FROM {self._table()}{self._where()}"
        words = ("", " DESC", " NULLS FIRST", " DESC NULLS LAST")
        places = self.rng.sample(range(1, len(outputs) + 1), len(outputs))
        order = ", ".join(f"{place}{self.rng.choice(words)}" for place in places)
        return f"{text} ORDER BY {order} LIMIT {self.values.randint(0, 20)}"

    def _projection(self) -> str:
        outputs = [self.rng.choice((self.key, self.number))() for _ in range(self.rng.randint(1, 4))]
        return f"SELECT {', '.join(outputs)} FROM {self._table()}{self._where()}"

    def _from(self) -> str:
        return f"FROM {self._table()}{self._where()}"

    def _nested(self) -> str:
        """Groups inside of a query, and groups of a subquery."""
        rng = self.rng
        one = f"SELECT {{}} AS g, count(*) AS n, sum(c) AS total, max(q) AS most {self._from()} GROUP BY {{}}"
        texts, numbers = one.format("s", "s"), one.format("n", "n")
        inner = f"SELECT {self.key()} AS k1, {self.integer('INTEGER', 1)} AS v1, s {self._from()}"
        return rng.choice(
            (
                lambda: f"SELECT n, count(*), sum(total), max(most) FROM ({texts}) one GROUP BY n",
                lambda: f"WITH one AS ({texts}) SELECT a.g, b.n FROM one a JOIN one b ON a.n = b.n",
                lambda: f"{numbers} UNION ALL SELECT c, count(*), sum(n), min(q) {self._from()} GROUP BY c",
                lambda: f"SELECT count(*) FROM ({self._grouped(self._table(), ['count(*)'])[0]}) y",
                lambda: f"SELECT k1, count(*), sum(v1), min(s) FROM ({inner}) y GROUP BY k1",
                lambda: f"SELECT count(*), min(n) FROM plain WHERE c > (SELECT min(c) {self._from()})",
                lambda: f"SELECT k, c FROM plain WHERE s IN (SELECT g FROM ({texts}) one WHERE n > 3)",
            )
        )()

    def _joined(self) -> str:
        """Joins with a small table, also as IN and EXISTS."""
        rng = self.rng
        aggregates = ", ".join(self.aggregate() for _ in range(rng.randint(1, 3)))
        key, name = rng.choice(("name", "one.n", "one.s", "name, one.n")), rng.choice(tuple(TABLES))
        some = f"SELECT s FROM other WHERE b > {self.values.randint(-3, 3)}"
        equal = f"SELECT 1 FROM other WHERE other.b = {name}.b"
        return rng.choice(
            (
                lambda: (
                    f"SELECT {key}, count(*), sum(one.c), max(one.d) FROM (SELECT * {self._from()}) one"
                    f" JOIN other ON other.s = one.s GROUP BY {key}"
                ),
                lambda: f"SELECT {aggregates} FROM {name} WHERE s IN ({some})",
                lambda: f"SELECT n, count(*) FROM {name} WHERE t NOT IN ({some}) GROUP BY n",
                lambda: f"SELECT c, count(*) FROM {name} WHERE EXISTS ({equal}) GROUP BY c",
            )
        )()

    # Expressions.

    def _pick(self, usual: Sequence[Callable[[], str]], others: Sequence[Callable[[], str]]) -> str:
        """One of these. Three queries of four have none of the others, which pipelines leave to the executor."""
        return self.rng.choice(usual if self._usual else (*usual, *others))()

    def column(self, *types: str) -> str:
        return self.rng.choice([name for name, type in self._columns if type in types])

    def literal(self, type: str) -> str:
        """A constant, mostly one that rows have."""
        found = value(self.values, type, self.values.choice(("few", "few", "few", "wide", "extreme")))
        if type in ("DOUBLE PRECISION", "REAL"):
            found = {math.inf: "Infinity", -math.inf: "-Infinity"}.get(found, found)
        text = str(found).replace("'", "''")
        return f"CAST('{text}' AS {type})"

    def key(self) -> str:
        """What rows are grouped by or shown as."""
        rng = self.rng
        if rng.random() < 0.7:
            return self.column(*(type for type in TYPES if not self._usual or type not in _NO_KEYS))
        return self._pick(
            (
                lambda: f"date_trunc('{rng.choice(('hour', 'day', 'week', 'minute'))}', m)",
                lambda: f"time_bucket('{rng.choice(('1 hour', '15 minutes', '7 days'))}', m)",
                lambda: self.integer(rng.choice(INTEGERS), 1),
                lambda: self.numeric(1),
                lambda: self.condition(1),
                lambda: f"CAST({self.column('DATE')} AS TIMESTAMP)",
            ),
            (
                lambda: self.real(1),
                lambda: "date_trunc('month', m)",
                lambda: f"CASE WHEN {self.condition(0)} THEN {self.column('TEXT')} ELSE 'other' END",
                lambda: f"coalesce({self.column('TEXT')}, 'none')",
                lambda: f"extract({rng.choice(('year', 'month', 'day'))} FROM d)",
                lambda: f"upper({self.column('TEXT')})",
                lambda: f"substr({self.column('TEXT')}, 1, 1)",
            ),
        )

    def number(self) -> str:
        rng = self.rng
        return rng.choice(
            (lambda: self.integer(rng.choice(INTEGERS), 1), lambda: self.numeric(1), lambda: self.real(1))
        )()

    def aggregate(self) -> str:
        rng = self.rng
        four = ("sum", "avg", "min", "max")
        text = self._pick(
            (
                lambda: "count(*)",
                lambda: f"count({self.column(*TYPES)})",
                lambda: f"{rng.choice(four)}({self.integer(rng.choice(INTEGERS), 1)})",
                lambda: f"{rng.choice(four)}({self.integer(rng.choice(INTEGERS), 1)})",
                lambda: f"{rng.choice(four)}({self.numeric(1)})",
                lambda: f"{rng.choice(four)}({self.real(1)})",
                lambda: f"{rng.choice(('min', 'max'))}({self.column('DATE', 'TIME', 'TIMESTAMP', 'TIMESTAMPTZ')})",
                lambda: f"{rng.choice(('min', 'max'))}({self.column('REAL')})",
            ),
            (
                lambda: f"count({self.key()})",
                lambda: f"{rng.choice(('min', 'max'))}({self.column('TEXT', 'VARCHAR(9)')})",
                lambda: f"{rng.choice(('bool_and', 'bool_or'))}({self.column('BOOLEAN')})",
            ),
        )
        return f"{text} FILTER (WHERE {self.condition(0)})" if rng.random() < 0.15 else text

    def integer(self, type: str, depth: int) -> str:
        rng = self.rng
        column = self.column(type)
        if not depth or rng.random() < 0.5:
            return column
        other, constant = self.integer(type, depth - 1), f"CAST({self.values.randint(-3, 9)} AS {type})"
        return self._pick(
            (
                lambda: f"({column} + {constant})",
                lambda: f"({other} - {column})",
                lambda: f"({column} * {constant})",
                lambda: f"({column} * {other})",
                lambda: f"(-{column})",
                lambda: f"coalesce({column}, {other}, {constant})",
                lambda: f"CASE WHEN {self.condition(0)} THEN {column} ELSE {constant} END",
                lambda: f"CASE WHEN {self.condition(0)} THEN 1 WHEN {self.condition(0)} THEN {other} END",
                lambda: f"CASE WHEN {self.condition(0)} THEN {other} END",
                lambda: f"CAST({self.column(*INTEGERS)} AS {type})",
            ),
            (lambda: f"({column} % {constant})", lambda: f"({column} / 2)", lambda: f"abs({column})"),
        )

    def numeric(self, depth: int) -> str:
        rng = self.rng
        column, other = self.column("NUMERIC(12,4)", "NUMERIC(15,2)"), self.column("NUMERIC(15,2)")
        if not depth or rng.random() < 0.4:
            return rng.choice((column, "w"))
        return rng.choice(
            (
                f"({column} + {self.literal('NUMERIC(12,4)')})",
                f"({column} - {other})",
                f"({column} * {other})",
                f"({column} * (1 - {other}))",
                f"(-{column})",
                f"coalesce({column}, {other}, 0)",
                f"CAST({self.column(*INTEGERS)} AS NUMERIC(15,2))",
                f"CAST({other} AS NUMERIC(18,6))",
                f"CASE WHEN {self.condition(0)} THEN {column} END",
                f"({self.column(*INTEGERS)} * {other})",
            )
        )

    def real(self, depth: int) -> str:
        rng = self.rng
        column, other = self.column("DOUBLE PRECISION"), self.column("DOUBLE PRECISION")
        if not depth or rng.random() < 0.5:
            return column
        return rng.choice(
            (
                f"({column} + {self.literal('DOUBLE PRECISION')})",
                f"({column} - {other})",
                f"({column} * {other})",
                f"(-{column})",
                f"coalesce({column}, {other}, 0.5)",
                f"CAST({self.column(*INTEGERS)} AS DOUBLE PRECISION)",
                f"CASE WHEN {self.condition(0)} THEN {column} ELSE {other} END",
                f"({self.column('REAL')} * 2)",
                f"CAST({self.column('REAL')} AS DOUBLE PRECISION)",
            )
        )

    def condition(self, depth: int) -> str:
        rng = self.rng
        if depth and rng.random() < 0.6:
            word = rng.choice((" AND ", " OR ", " OR NOT "))
            return f"({self.condition(depth - 1)}{word}{self.condition(depth - 1)})"
        column, type = rng.choice(
            [(name, type) for name, type in self._columns if not self._usual or type not in ("REAL", "VARCHAR(9)")]
        )
        compared = rng.choice(("=", "<>", "<", "<=", ">", ">="))
        found: list[Callable[[], str]] = [
            lambda: f"{column} {compared} {self.literal(type)}",
            lambda: f"{column} {compared} {self.literal(type)}",
            lambda: f"{column} {compared} {self.column(type)}",
            lambda: f"{column} IN ({', '.join(self.literal(type) for _ in range(rng.randint(1, 4)))})",
            lambda: f"{column} NOT IN ({', '.join(self.literal(type) for _ in range(rng.randint(1, 2)))})",
            lambda: f"{column} IS {rng.choice(('', 'NOT '))}NULL",
            lambda: f"{column} BETWEEN {self.literal(type)} AND {self.literal(type)}",
            lambda: f"NOT ({column} {compared} {self.literal(type)})",
            lambda: f"{self.number()} {compared} {self.number()}",
        ]
        if type == "BOOLEAN":
            found += [lambda: column, lambda: f"{column} IS {rng.choice(('', 'NOT '))}{rng.choice(('TRUE', 'FALSE'))}"]
        if type == "TEXT":
            found += 2 * [
                lambda: (
                    f"{column} {rng.choice(('', 'NOT '))}LIKE '{self.values.choice(('%a%', 'a%', '_', '%', 'zebra'))}'"
                ),
                lambda: f"upper({column}) = 'A'",
                lambda: f"length({column}) {compared} {self.values.randint(0, 3)}",
                lambda: f"coalesce({column}, 'a') {compared} {self.literal(type)}",
            ]
        if type in ("DATE", "TIMESTAMP"):
            found.append(lambda: f"{column} {compared} {self.literal(type)} - INTERVAL '9' DAY")
        return rng.choice(found)()
