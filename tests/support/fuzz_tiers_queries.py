"""The queries of fuzz_tiers.py: groups of every kind, DISTINCT, the first rows of an order, the newest of each key,
projections, joins; some constants are parameters.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, NamedTuple

from fuzz_tiers_world import COLUMNS, INTEGERS, LATE, TABLES, TYPES, value

_NO_KEYS: Final = ("REAL", "DOUBLE PRECISION")
"""What few pipelines group by."""


_KINDS: Final = {
    "groups": 40, "distinct": 6, "counted": 10, "whole": 5, "top": 8, "best": 8, "newest": 7, "projection": 5,
    "nested": 12, "joined": 8, "computed": 14,
}  # fmt: skip
_SPREADS: Final = ("stddev", "stddev_pop", "stddev_samp", "variance", "var_pop", "var_samp")
_UNIQUE: Final = {"plain": ("k",), "series": ("k", "moment")}
"""What tells the rows of a table apart."""

_WORDS: Final = ("", " DESC", " NULLS FIRST", " DESC NULLS LAST")


_NO_CONDITIONS: Final = ("REAL", "BYTEA", "JSONB")


class Query(NamedTuple):
    """``kind``: for counting."""

    kind: str
    sql: str
    parameters: tuple[Any, ...] = ()

    @property
    def is_ordered(self) -> bool:
        """Whether the order of its rows is told, and not only one inside of parentheses."""
        text = self.sql
        while (inner := re.sub(r"\([^()]*\)", "", text)) != text:
            text = inner
        return "ORDER BY" in text

    @property
    def is_late(self) -> bool:
        """Whether what is put out may be computed of the rows that are left alone (docs/sql.md)."""
        return re.search("DISTINCT ON|row_number|LIMIT|FETCH", self.sql) is not None


class Maker:
    """One query: its structure by ``rng``, its constants by ``values``."""

    def __init__(self, rng: random.Random, values: random.Random, versions: Sequence[int]) -> None:
        self.rng = rng
        self.values = values
        self._versions = versions
        self._past = rng.random() < 0.1
        self._usual = rng.random() < 0.75
        self._columns = [(name, type) for name, type, _ in COLUMNS] + list(LATE)
        self._parameters: list[str] | None = [] if rng.random() < 0.15 else None

    def query(self) -> Query:
        kind = self.rng.choices(tuple(_KINDS), tuple(_KINDS.values()))[0]
        text = getattr(self, f"_{kind}")()
        given: list[str] = []

        def numbered(match: re.Match[str]) -> str:
            value = (self._parameters or [])[int(match[1]) - 1]
            given.append(value)
            return f"${len(given)}"

        return Query(kind, re.sub(r"\$(\d+)", numbered, text), tuple(given))

    # Queries.

    def _table(self) -> str:
        return self._of(self.rng.choice(tuple(TABLES)))

    def _of(self, name: str) -> str:
        return f"{name} AS OF VERSION {self.values.choice(self._versions)}" if self._past else name

    def _where(self) -> str:
        parts = [self.condition(self.rng.choice((0, 0, 1))) for _ in range(self.rng.choice((0, 1, 1, 2, 3)))]
        if self.rng.random() < 0.15:
            parts.append(self._key_condition())
        if self.rng.random() < 0.1:
            parts.append(self._long_list())
        return f" WHERE {' AND '.join(parts)}" if parts else ""

    def _key_condition(self) -> str:
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

    def _long_list(self) -> str:
        """More constants than are compared one by one."""
        rng = self.rng
        type = rng.choice((*INTEGERS, "NUMERIC(15,2)", "DATE", "TIMESTAMP", "TEXT"))
        values = ", ".join(self.literal(type) for _ in range(rng.choice((17, 40, 200))))
        column, word = self.column(type), rng.choice(("IN", "IN", "NOT IN", "ANY"))
        return f"{column} = ANY (ARRAY[{values}])" if word == "ANY" else f"{column} {word} ({values})"

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
        return text + self._order(text, count, 0.15)

    def _computed(self) -> str:
        """What no pipeline computes, of what it groups by."""
        rng = self.rng
        keys = [self._of_values() for _ in range(rng.choice((0, 1, 1, 1, 2)))]
        keys = list(dict.fromkeys([*keys, *(self.key() for _ in range(rng.choice((0, 0, 0, 1))))]))
        words = [self._of_groups() for _ in range(rng.randint(1, 4))]
        places = ", ".join(map(str, range(1, len(keys) + 1)))
        group = ""
        if keys:
            group = f" GROUP BY {places}"
            if rng.random() < 0.15:
                names = [f"x{number}" for number in range(len(keys))]
                inner = ", ".join(f"{key} AS {name}" for key, name in zip(keys, names, strict=True))
                keys = names
                words = [f"GROUPING({rng.choice(names)})", "count(*)"]
                group = f" GROUP BY {rng.choice(('ROLLUP', 'CUBE'))} ({', '.join(names)})"
                return f"SELECT {', '.join([*keys, *words])} FROM (SELECT {inner} FROM {self._table()}) y{group}"
            if rng.random() < 0.15:
                group = f" GROUP BY ROLLUP ({places})"
        where = self._where()
        if rng.random() < 0.3:
            where += (" AND " if where else " WHERE ") + self._of_texts_together()
        having = rng.choice(("", "", "", "", " HAVING count(*) > 1", " HAVING avg(c) < 3", " HAVING max(t) > 'a'"))
        text = f"SELECT {', '.join([*keys, *words])} FROM {self._table()}{where}{group}{having if keys else ''}"
        return text + self._order(text, len(keys) + len(words), 0.15)

    def _of_texts_together(self) -> str:
        one, other = self.column("TEXT"), self.column("TEXT", "VARCHAR(9)")
        return self.rng.choice(
            (
                f"{one} || {other} > {self.literal('TEXT')}", f"upper({one}) || {other} = 'AA'",
                f"coalesce({one}, {other}) IS NOT NULL", f"length({one} || {other}) < 3",
            )
        )  # fmt: skip

    def _of_values(self) -> str:
        """Computed of columns that have few different values."""
        rng = self.rng
        one, other, number = self.column("TEXT"), self.column("TEXT", "VARCHAR(9)"), self.column(*INTEGERS)
        exact = self.column("NUMERIC(12,4)", "NUMERIC(15,2)", "NUMERIC(38,4)")
        field = rng.choice(("week", "doy", "isoyear", "decade", "century", "quarter", "hour", "epoch", "WEEK"))
        format = rng.choice(("YYYY-MM", "IYYY-IW", "YYYY-MM-DD HH24", "Mon DD", "Dy", "DDD/Q"))
        return rng.choice(
            (
                f"{one} || {other}", f"coalesce({one}, {other})", f"upper({one}) || '/' || {other}",
                f"CASE WHEN {self.condition(0)} THEN {one} ELSE {other} END", f"length({one} || {other})",
                f"CAST({number} AS TEXT)", f"CAST({number} AS TEXT) || {one}", f"floor({exact})", f"round({exact}, 1)",
                "width_bucket(q, -100, 100, 5)", f"CASE WHEN b <> 0 THEN CAST(c / b AS TEXT) ELSE {one} END",
                f"extract({field} FROM m)", f"extract({field} FROM d)", f"to_char(m, '{format}')",
                f"to_char(o, '{format}')", "CAST(d AS TEXT)", f"{one} = {other}", f"greatest({one}, {other})",
                f"abs({exact}) || {one}", "extract(week FROM date_trunc('month', m))", "CAST(y AS TEXT)",
            )
        )  # fmt: skip

    def _of_groups(self) -> str:
        rng = self.rng
        four = ("sum", "avg", "min", "max")
        text = rng.choice(
            (
                lambda: "count(*)",
                lambda: f"count({self.column(*TYPES)})",
                lambda: f"{rng.choice(four)}({self.integer(rng.choice(INTEGERS), 1)})",
                lambda: f"{rng.choice(four)}({self.column(*INTEGERS)})",
                lambda: f"{rng.choice(four)}({self.numeric(0)})",
                lambda: f"{rng.choice(('min', 'max'))}({self.column('TEXT', 'VARCHAR(9)')})",
                lambda: f"{rng.choice(('min', 'max'))}({self.column('TEXT')} || {self.column('TEXT')})",
                lambda: f"{rng.choice(('min', 'max'))}({self.column('DATE', 'TIME', 'TIMESTAMP', 'DOUBLE PRECISION')})",
            )
        )()
        return f"{text} FILTER (WHERE {self.condition(0)})" if rng.random() < 0.15 else text

    def _order(self, text: str, count: int, share: float) -> str:
        """By all that is seen: the order is one, but for what the executor rounds at each step."""
        rng = self.rng
        if rng.random() > share or any(spread in text for spread in _SPREADS):
            return ""
        places = rng.sample(range(1, count + 1), count)
        return f" ORDER BY {', '.join(f'{place}{rng.choice(_WORDS)}' for place in places)}{self._limit('')}"

    def _limit(self, *others: str) -> str:
        count = self.values.randint(0, 12)
        return self.rng.choice((*others, f" LIMIT {count}", f" LIMIT {count}", f" LIMIT {count} OFFSET 3"))

    def _distinct(self) -> str:
        outputs = list(dict.fromkeys(self.key() for _ in range(self.rng.randint(1, 3))))
        text = f"SELECT DISTINCT {', '.join(outputs)} FROM {self._table()}{self._where()}"
        return text + self._order(text, len(outputs), 0.3)

    def _counted(self) -> str:
        rng = self.rng
        function, number = rng.choice(("count", "count", "sum", "min", "avg")), self.integer(rng.choice(INTEGERS), 0)
        words = [f"{function}(DISTINCT {number})", f"count(DISTINCT {self.key()})", f"count(DISTINCT {self.key()})"]
        words = rng.sample(words, rng.choice((1, 1, 2)))
        if rng.random() < 0.1:
            words[0] += f" FILTER (WHERE {self.condition(0)})"
        aggregates = [*words, *(self.aggregate() for _ in range(rng.choice((0, 0, 1, 2))))]
        text, count = self._grouped(self._table(), aggregates)
        return text + self._order(text, count, 0.15)

    def _whole(self) -> str:
        """What segments and chunks may know of themselves."""
        rng = self.rng
        of = ("count(*)", "min({})", "max({})", "count({})", "min({})", "max({})")
        found = [rng.choice(of).format(self.column(*TYPES, "k", "moment")) for _ in range(rng.randint(1, 4))]
        where = rng.choice(("", "", "", f" WHERE {self._key_condition()}", f" WHERE {self.condition(0)}"))
        text = f"SELECT {', '.join(found)} FROM {self._table()}{where}"
        return rng.choice(
            (text, text, text, f"{text} UNION ALL {text}", f"SELECT * FROM ({text}) y", f"{text} LIMIT 1")
        )

    def _top(self) -> str:
        """Ordered by all that is seen, or by what tells rows apart in the end."""
        rng, name = self.rng, self.rng.choice(tuple(TABLES))

        def one(*others: Callable[[], str]) -> str:
            return self.column(*TYPES) if rng.random() < 0.8 else rng.choice((self.key, *others))()

        outputs = list(dict.fromkeys(one() for _ in range(rng.randint(1, 5))))
        source = f"{self._of(name)}{self._where()}"
        if name in _UNIQUE and rng.random() < 0.6:
            order = [*(one(self.number) for _ in range(rng.choice((0, 1, 1, 2)))), *_UNIQUE[name]]
        else:
            order = [str(place) for place in rng.sample(range(1, len(outputs) + 1), len(outputs))]
        by = ", ".join(f"{part}{rng.choice(_WORDS)}" for part in order)
        return f"SELECT {', '.join(outputs)} FROM {source} ORDER BY {by}{self._limit()}"

    def _best(self) -> str:
        """Groups by what is known of them."""
        rng = self.rng
        keys = list(dict.fromkeys(self.key() for _ in range(rng.choice((1, 1, 2)))))
        outputs = [*keys, *(self.aggregate() for _ in range(rng.randint(1, 3)))]
        if any(spread in outputs[len(keys)] for spread in _SPREADS):
            outputs[len(keys)] = "count(*)"
        places = [len(keys) + 1, *range(1, len(keys) + 1)]
        having = f" HAVING {rng.choice(('count(*) >= 2', 'sum(c) > 0', 'min(k) < 30'))}" if rng.random() < 0.2 else ""
        by = ", ".join(f"{place}{rng.choice(_WORDS)}" for place in places)
        return (
            f"SELECT {', '.join(outputs)} FROM {self._table()}{self._where()}"
            f" GROUP BY {', '.join(map(str, range(1, len(keys) + 1)))}{having} ORDER BY {by}{self._limit()}"
        )

    def _newest(self) -> str:
        """One row, or some, of each key."""
        rng, name = self.rng, self.rng.choice(tuple(_UNIQUE))
        unique = _UNIQUE[name]
        of = rng.choice((unique[0], unique[0], self.column("TEXT", *INTEGERS, "DATE"), "s, n"))
        order = rng.choice((unique[-1:], unique[-1:], (self.column("TIMESTAMP", *INTEGERS, "DOUBLE PRECISION"),)))
        last = [part for part in unique if part not in order and part not in of.split(", ")]
        by = ", ".join([*(f"{part}{rng.choice(_WORDS)}" for part in order), *last])
        source = f"{self._of(name)}{self._where()}"
        if rng.random() < 0.3:
            first = ", ".join(f"{part}{rng.choice(_WORDS)}" for part in of.split(", "))
            return f"SELECT DISTINCT ON ({of}) {of}, {self.key()}, {self.number()} FROM {source} ORDER BY {first}, {by}"
        ranked = f"SELECT *, row_number() OVER (PARTITION BY {of} ORDER BY {by}) AS place FROM {source}"
        chosen = f"({ranked}) one WHERE place {rng.choice(('= 1', '= 1', '= 1', '<= 2', '< 2'))}"
        chosen += f" AND {self.condition(0)}" if rng.random() < 0.2 else ""
        if rng.random() < 0.5:
            return f"SELECT {self.key()}, {self.aggregate()}, count(*) FROM {chosen} GROUP BY 1"
        return f"SELECT {', '.join([unique[0], self.key(), self.number()])} FROM {chosen}"

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
                lambda: f"SELECT g, n, rank() OVER (PARTITION BY n % 3 ORDER BY total, g) FROM ({texts}) one",
                lambda: f"SELECT g, total FROM ({texts}) one ORDER BY n DESC, g{self._limit('')}",
                lambda: f"SELECT s, n, count(*) {self._from()} GROUP BY {rng.choice(('ROLLUP', 'CUBE'))} (s, n)",
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
        """A column of one of these types; a key's by its name."""
        found = [name for name, type in self._columns if type in types]
        return self.rng.choice([*found, *(["k"] if "k" in types else [])])

    def literal(self, type: str) -> str:
        """A constant, mostly one that rows have."""
        found = value(self.values, type, self.values.choice(("few", "few", "few", "wide", "extreme")))
        if type in ("DOUBLE PRECISION", "REAL"):
            found = {math.inf: "Infinity", -math.inf: "-Infinity"}.get(found, found)
        if self._parameters is not None and self.rng.random() < 0.4:
            self._parameters.append(str(found))
            return f"CAST(${len(self._parameters)} AS {type})"
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
                lambda: "CAST(m AS DATE)",
                lambda: f"date_trunc('{rng.choice(('month', 'quarter', 'year'))}', m)",
                lambda: f"extract({rng.choice(('year', 'month', 'day', 'hour', 'dow', 'isodow'))} FROM m)",
                lambda: self._of_text(self.column("TEXT", "TEXT", "VARCHAR(9)")),
                lambda: self._of_text(self.column("TEXT", "TEXT", "VARCHAR(9)")),
                self._named,
            ),
            (
                lambda: f"date_trunc('{rng.choice(('hour', 'day', 'month'))}', o)",
                lambda: f"extract({rng.choice(('year', 'dow', 'hour', 'doy'))} FROM {rng.choice('mo')})",
                lambda: f"{self.column('TEXT')} || {rng.choice(('s', 't'))}",
                lambda: self.real(1),
                lambda: f"CASE WHEN {self.condition(0)} THEN {self.column('TEXT')} ELSE 'other' END",
                lambda: f"extract({rng.choice(('year', 'month', 'day', 'isodow'))} FROM {rng.choice('do')})",
            ),
        )

    def _named(self) -> str:
        """Texts by conditions."""
        other = self.rng.choice(("", " ELSE 'none'", " ELSE 'one'", " ELSE lower('ONE')", " ELSE NULL"))
        return f"CASE WHEN {self.condition(0)} THEN 'one' WHEN {self.condition(0)} THEN 'two'{other} END"

    def _of_text(self, column: str) -> str:
        """What is computed of a text, so that some texts have the same, and some have what NULL has."""
        return self.rng.choice(
            (
                "coalesce({}, 'none')", "coalesce({}, 'a')", "upper({})", "substr({}, 1, 1)", "length({})",
                "nullif({}, 'a')", "CASE WHEN {} = 'a' THEN 'first' ELSE 'other' END", "length(coalesce({}, 'ab')) + 1",
                "CASE WHEN {} IN ('a', 'b') THEN 1 WHEN {} LIKE 'a%' THEN 2 END", "lower({}) || '!'",
                "CASE {} WHEN 'a' THEN 'A' WHEN 'b' THEN {} END", "CAST(length({}) AS NUMERIC(5,2))",
            )
        ).replace("{}", column)  # fmt: skip

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
                lambda: f"{rng.choice(('bool_and', 'bool_or', 'every'))}({self.condition(rng.choice((0, 1)))})",
                lambda: f"{rng.choice(_SPREADS)}({self.integer(rng.choice(INTEGERS[:2]), 1)})",
                lambda: f"{rng.choice(_SPREADS)}({self.numeric(0)})",
            ),
            (
                lambda: f"count({self.key()})",
                lambda: f"{rng.choice(('min', 'max'))}({self.column('TEXT', 'VARCHAR(9)')})",
                lambda: f"{rng.choice(_SPREADS)}({self.column('DOUBLE PRECISION', *INTEGERS)})",
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
                lambda: f"CASE WHEN {self.condition(1)} THEN CAST(1 AS {type}) ELSE CAST(0 AS {type}) END",
                lambda: f"{rng.choice(('greatest', 'least'))}({column}, {other}, {constant})",
                lambda: f"nullif({column}, {constant})",
            ),
            (
                lambda: f"({column} % {constant})",
                lambda: f"({column} / 2)",
                lambda: f"abs({column})",
            ),
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
                f"{rng.choice(('greatest', 'least'))}({column}, {self.literal('NUMERIC(12,4)')})",
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
                f"{rng.choice(('greatest', 'least'))}({column}, {other}, {self.literal('DOUBLE PRECISION')})",
                f"nullif({column}, {other})",
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
            [(name, type) for name, type in self._columns if not self._usual or type not in _NO_CONDITIONS]
        )
        compared = rng.choice(("=", "<>", "<", "<=", ">", ">="))
        found: list[Callable[[], str]] = [
            lambda: f"{column} {compared} {self.literal(type)}",
            lambda: f"{column} {compared} {self.literal(type)}",
            lambda: f"{column} {compared} {self.column(type)}",
            lambda: f"{column} IN ({', '.join(self.literal(type) for _ in range(rng.randint(1, 4)))})",
            lambda: f"{column} NOT IN ({', '.join(self.literal(type) for _ in range(rng.randint(1, 2)))})",
            lambda: f"({column} {compared} {self.literal(type)}) IS NOT TRUE",
            lambda: f"{column} IS {rng.choice(('', 'NOT '))}NULL",
            lambda: f"{column} BETWEEN {self.literal(type)} AND {self.literal(type)}",
            lambda: f"NOT ({column} {compared} {self.literal(type)})",
            lambda: f"{self.number()} {compared} {self.number()}",
            lambda: f"{column} IS {rng.choice(('', 'NOT '))}DISTINCT FROM {self.column(type)}",
            lambda: f"{self.literal(type)} IS {rng.choice(('', 'NOT '))}DISTINCT FROM {column}",
        ]
        if not self._usual:
            found += [lambda: f"{column} IN ({', '.join(self.literal(type) for _ in range(rng.randint(5, 40)))})"]
        if type == "BOOLEAN" and self._usual:
            equal = rng.choice(("=", "<>", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"))
            found = [
                lambda: f"{column} IS {rng.choice(('', 'NOT '))}NULL",
                lambda: f"{column} {equal} {rng.choice((self.literal(type), f'({self.number()} > 0)'))}",
            ]
        if type == "BOOLEAN":
            found += [lambda: column, lambda: f"{column} IS {rng.choice(('', 'NOT '))}{rng.choice(('TRUE', 'FALSE'))}"]
        if type in ("TEXT", "VARCHAR(9)"):
            found += 2 * [
                lambda: (
                    f"{column} {rng.choice(('', 'NOT '))}LIKE '{self.values.choice(('%a%', 'a%', '_', '%', 'zebra'))}'"
                ),
                lambda: f"upper({column}) = 'A'",
                lambda: f"{column} {rng.choice(('ILIKE', 'NOT ILIKE'))} '{self.values.choice(('%A%', 'z_BRA', ' %'))}'",
                lambda: f"{column} ~ '{self.values.choice(('^a', 'b$', '[0-9]+', '^$'))}'",
                lambda: f"starts_with({column}, '{self.values.choice('ab0')}')",
                lambda: f"({column} || '!') {compared} '{self.values.choice(('a!', 'b!'))}'",
                lambda: f"length({column}) {compared} {self.values.randint(0, 3)}",
                lambda: f"coalesce({column}, 'a') {compared} {self.literal(type)}",
            ]
        if type == "TIMESTAMP":
            unit = rng.choice(("hour", "day", "week", "minute"))
            found += [
                lambda: f"date_trunc('{unit}', {column}) {compared} {self.literal(type)}",
                lambda: f"time_bucket('15 minutes', {column}) {compared} date_trunc('{unit}', {self.column(type)})",
            ]
        if type in ("DATE", "TIMESTAMP"):
            found += [
                lambda: f"{column} {compared} {self.literal(type)} - INTERVAL '9' DAY",
                lambda: f"extract(day FROM {column}) {compared} {self.values.randint(1, 31)}",
                lambda: (
                    f"extract({rng.choice(('year', 'month'))} FROM {column}) {compared} {self.values.randint(1, 2024)}"
                ),
                lambda: f"CAST({column} AS DATE) {compared} {self.literal('DATE')}",
            ]
        return rng.choice(found)()
