"""Random tables, rows and queries from a seed, for oracles that know the answers (fuzz_oracles.py).

    world = World(seed)          tables, and the statements that fill and change them
    query = world.query(number)  the query of that number: the same one whatever was asked before

Expressions are made by type, so that every query is valid PostgreSQL. What may fail on some value (overflow, division
by zero) occurs only in queries that say so (``may_fail``): which rows a condition is computed for is nobody's promise.
Sums are of floats that add without rounding; what depends on the order of rows is asked only where the order is given.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

INTEGERS: Final = ("SMALLINT", "INTEGER", "BIGINT")
NUMBER: Final = "NUMERIC(12,4)"
TYPES: Final = (*INTEGERS, NUMBER, "DOUBLE PRECISION", "TEXT", "BOOLEAN", "DATE", "TIMESTAMP")
_LIMITS: Final = {"SMALLINT": 2**15, "INTEGER": 2**31, "BIGINT": 2**63}

VALUES: Final[dict[str, tuple[str, ...]]] = {
    "SMALLINT": ("0", "1", "-1", "2", "3", "7", "32767", "-32768"),
    "INTEGER": ("0", "1", "-1", "2", "3", "10", "2147483647", "-2147483648"),
    "BIGINT": ("0", "1", "-1", "2", "5", "9223372036854775807", "-9223372036854775808"),
    NUMBER: ("0", "1", "-1", "0.5", "2.25", "-0.0001", "9999999.9999", "-9999999.9999"),
    "DOUBLE PRECISION": ("0", "'-0'", "1", "-1", "0.25", "2.5", "-1000.75", "'NaN'", "'Infinity'", "'-Infinity'"),
    "TEXT": ("''", "'a'", "'A'", "'ab'", "'b'", "' a'", "'é'", "'aé😀'", "'%'", "'a_b'", "'0'", "'12'", "'it''s'"),
    "BOOLEAN": ("true", "false"),
    "DATE": ("'2024-02-29'", "'2024-03-01'", "'1999-12-31'", "'0001-01-01'", "'9999-12-31'", "'2000-01-03'"),
    "TIMESTAMP": (
        "'2024-02-29 12:30:00'", "'2024-03-01'", "'1969-12-31 23:59:59.999999'", "'2000-01-03'",
        "'2024-03-01 00:00:01'",
    ),
}  # fmt: skip


_FRAMES: Final = (
    "",
    " RANGE BETWEEN UNBOUNDED PRECEDING AND CURRENT ROW",
    " GROUPS BETWEEN 1 PRECEDING AND 1 FOLLOWING",
    " RANGE BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING EXCLUDE GROUP",
)


def literal(type: str, text: str) -> str:
    return f"CAST({text} AS {type})"


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    type: str


@dataclass(slots=True)
class Table:
    """``options`` are WeftDB's alone; ``pasts``: names of copies that were made of it, by number."""

    name: str
    columns: list[Column]
    primary_key: tuple[str, ...] = ()
    options: str = ""
    pasts: list[int] = field(default_factory=list)

    def ddl(self) -> str:
        columns = ", ".join(f"{column.name} {column.type}" for column in self.columns)
        key = f", PRIMARY KEY ({', '.join(self.primary_key)})" if self.primary_key else ""
        return f"CREATE TABLE {self.name} ({columns}{key})"


@dataclass(frozen=True, slots=True)
class Query:
    """``sql`` has table references such as ``{t0}`` and, as it was at moment 2, ``{t0@2}``.

    ``ordered``: rows come in this order. ``may_fail``: on some values, which row by row evaluation may or may not meet.
    ``where``: a condition that can be put after ``sql`` (which has none), or nothing; ``source`` is then its FROM.
    """

    sql: str
    ordered: bool = False
    may_fail: bool = False
    where: str = ""
    source: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A statement of the history, with what WeftDB alone gets to read behind it.

    ``moment``: remember the tables as they are now instead. ``ours``: the statement is for WeftDB alone. ``begins``: a
    transaction begins, which the queries are then in.
    """

    sql: str = ""
    options: str = ""
    moment: int | None = None
    ours: bool = False
    begins: bool = False


class World:
    """Everything that follows from one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        rng = random.Random(f"world {seed}")
        self.tables = [_table(rng, f"t{number}") for number in range(rng.randint(2, 3))]
        self.steps = [*_history(rng, self.tables)]

    def query(self, number: int) -> Query:
        return _Maker(random.Random(f"query {self.seed} {number}"), self.tables).query()


def _table(rng: random.Random, name: str) -> Table:
    types = [*rng.sample(TYPES, rng.randint(3, 6)), rng.choice(INTEGERS)]
    columns = [Column(f"c{number}", type) for number, type in enumerate(types)]
    kind = rng.random()
    if kind < 0.3:
        return Table(name, columns)
    key = Column("k", rng.choice(("INTEGER", "BIGINT", "TEXT")))
    if kind < 0.7:
        return Table(name, [key, *columns], ("k",), f" WITH (shards = {rng.randint(1, 3)})")
    time = Column("moment", "TIMESTAMP")
    every = rng.choice(("1 day", "30 days"))
    options = f" WITH (key = 'k', time = 'moment', every = '{every}', shards = {rng.randint(1, 2)})"
    return Table(name, [key, time, *columns], ("k", "moment"), options)


def _history(rng: random.Random, tables: Sequence[Table]) -> list[Step]:
    """Inserts, updates and deletes, with moments to look back to, segments and indexes in between."""
    steps = [Step(table.ddl(), table.options) for table in tables]
    for round in range(rng.randint(2, 4)):
        for table in tables:
            steps.append(Step(_insert(rng, table)))
            if round and rng.random() < 0.7:
                steps.append(Step(_update(rng, table)))
            if round and rng.random() < 0.5:
                steps.append(Step(f"DELETE FROM {table.name} WHERE {_simple(rng, table)}"))
        if rng.random() < 0.5:
            steps.append(Step(rng.choice(("CHECKPOINT", "VACUUM")), ours=True))
        table = rng.choice(tables)
        columns = ", ".join(column.name for column in rng.sample(table.columns, rng.randint(1, 2)))
        steps.append(Step(f"CREATE INDEX i{round} ON {table.name} ({columns})", ours=True))
        if rng.random() < 0.5:
            steps.append(Step(moment=round))
            for table in tables:
                table.pasts.append(round)
    if rng.random() < 0.3:
        steps.append(Step("BEGIN", begins=True))
        steps.extend(Step(make(rng, table)) for table in tables for make in (_insert, _update))
    return steps


def _insert(rng: random.Random, table: Table) -> str:
    rows: dict[tuple[str, ...] | int, str] = {}
    for number in range(rng.choice((3, 8, 20))):
        values = {column.name: _value(rng, table, column) for column in table.columns}
        key = tuple(values[name] for name in table.primary_key) or number
        rows[key] = "(" + ", ".join(values.values()) + ")"
    conflict = f" ON CONFLICT ({', '.join(table.primary_key)}) DO NOTHING" if table.primary_key else ""
    return f"INSERT INTO {table.name} VALUES {', '.join(rows.values())}{conflict}"


def _value(rng: random.Random, table: Table, column: Column) -> str:
    if column.name not in table.primary_key:
        return "NULL" if rng.random() < 0.2 else rng.choice(VALUES[column.type])
    if column.type == "TIMESTAMP":
        return f"'2024-0{rng.randint(1, 3)}-1{rng.randint(0, 9)} 0{rng.randint(0, 9)}:00:00'"
    return rng.choice(VALUES[column.type]) if rng.random() < 0.3 else f"'{rng.randint(0, 40)}'"


def _update(rng: random.Random, table: Table) -> str:
    column = rng.choice([column for column in table.columns if column.name not in table.primary_key])
    same = [other.name for other in table.columns if other.type == column.type]
    value = rng.choice((*same, "NULL", literal(column.type, rng.choice(VALUES[column.type]))))
    return f"UPDATE {table.name} SET {column.name} = {value} WHERE {_simple(rng, table)}"


def _simple(rng: random.Random, table: Table) -> str:
    """A condition that every system reads alike."""
    column = rng.choice(table.columns)
    value = literal(column.type, rng.choice(VALUES[column.type]))
    return rng.choice(
        (
            f"{column.name} {rng.choice(('=', '<', '>=', '<>'))} {value}",
            f"{column.name} IS {rng.choice(('', 'NOT '))}NULL",
            f"{column.name} IN ({value}, {literal(column.type, rng.choice(VALUES[column.type]))})",
        )
    )


class _Maker:
    """Makes one query. ``scope`` is what an expression may speak of: (text, type); the outer queries' come first."""

    def __init__(self, rng: random.Random, tables: Sequence[Table]) -> None:
        self.rng = rng
        self.tables = tables
        self.may_fail = rng.random() < 0.15
        self.failing = False
        self.aliases = 0
        self.scope: list[tuple[str, str]] = []

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    # Queries

    def query(self) -> Query:
        kind = self.rng.random()
        if kind < 0.25:
            source, columns = self.source()
            self.scope = columns
            outputs = ", ".join(self.expression(self.any_type(), 2) for _ in range(self.rng.randint(1, 3)))
            where = self.condition(3)
            return Query(f"SELECT {outputs} FROM {source}", where=where, source=source, may_fail=self.failing)
        if kind < 0.35:
            body, types = self.set_operation()
        elif kind < 0.45:
            inner, types = self.select(1)
            name = self.alias()
            self.scope = [(f"{name}.x{number}", type) for number, type in enumerate(types)]
            outputs = [self.expression(type, 1) for type in types]
            columns = ", ".join(f"x{number}" for number in range(len(types)))
            word = self.rng.choice(("", "MATERIALIZED ", "NOT MATERIALIZED "))
            body = f"WITH {name} ({columns}) AS {word}({inner}) SELECT {', '.join(outputs)} FROM {name}"
        else:
            body, types = self.select(2)
        ordered = self.chance(0.4)
        if ordered:
            body += f" ORDER BY {self.order(len(types))}"
            if self.chance(0.4):
                body += f" LIMIT {self.rng.randint(0, 9)}" + (
                    f" OFFSET {self.rng.randint(0, 5)}" if self.chance(0.4) else ""
                )
        return Query(body, ordered=ordered, may_fail=self.failing)

    def order(self, count: int) -> str:
        places = self.rng.sample(range(1, count + 1), count)
        words = ("", " DESC", " ASC NULLS FIRST", " DESC NULLS LAST")
        return ", ".join(f"{place}{self.rng.choice(words)}" for place in places)

    def set_operation(self) -> tuple[str, list[str]]:
        types = [self.any_type() for _ in range(self.rng.randint(1, 3))]
        word = self.rng.choice(("UNION", "UNION ALL", "INTERSECT", "INTERSECT ALL", "EXCEPT", "EXCEPT ALL"))
        sides = [self.select(1, types)[0] for _ in range(2)]
        return f"{sides[0]} {word} {sides[1]}", types

    def select(self, depth: int, types: Sequence[str] | None = None) -> tuple[str, list[str]]:
        """A SELECT with outputs of these types, or of any."""
        before = self.scope
        source, columns = self.source(depth)
        self.scope = [*before, *columns]
        where = f" WHERE {self.condition(depth)}" if self.chance(0.7) else ""
        wanted = list(types) if types is not None else [self.any_type() for _ in range(self.rng.randint(1, 4))]
        if self.chance(0.3):
            text = self.grouped(source, where, wanted, depth)
        elif self.chance(0.15) and types is None:
            text = self.windowed(source, where, wanted, columns)
        else:
            outputs = [self.expression(type, depth) for type in wanted]
            distinct = "DISTINCT " if self.chance(0.2) else ""
            text = f"SELECT {distinct}{', '.join(outputs)} FROM {source}{where}"
        self.scope = before
        return text, wanted

    def grouped(self, source: str, where: str, wanted: list[str], depth: int) -> str:
        """Outputs are keys or aggregates; the types of aggregates are as they are: ``wanted`` is changed to say so."""
        keys = [(self.expression(type, 1), type) for type in (self.any_type() for _ in range(self.rng.randint(0, 2)))]
        keys = [key for key in keys if not key[0].startswith("CAST(")]  # a constant is no key
        outputs: list[str] = []
        for place, type in enumerate(wanted):
            same = [text for text, of in keys if of == type]
            outputs.append(self.rng.choice(same) if same and self.chance(0.5) else self.aggregate(type))
            wanted[place] = type
        having = f" HAVING {self.aggregate('BOOLEAN')}" if self.chance(0.3) else ""
        group = ", ".join(text for text, _ in keys)
        if keys and self.chance(0.2):
            group = self.rng.choice((f"ROLLUP ({group})", f"CUBE ({group})", f"GROUPING SETS (({group}), ())"))
        by = f" GROUP BY {group}" if keys else ""
        return f"SELECT {', '.join(outputs)} FROM {source}{where}{by}{having}"

    def windowed(self, source: str, where: str, wanted: list[str], columns: list[tuple[str, str]]) -> str:
        """Functions whose answer does not depend on the order of peers."""
        outputs = []
        for place in range(len(wanted)):
            partition = f"PARTITION BY {self.rng.choice(columns)[0]} " if self.chance(0.6) else ""
            order = f"ORDER BY {self.rng.choice(columns)[0]}{self.rng.choice(('', ' DESC', ' NULLS FIRST'))}"
            frame = self.rng.choice(_FRAMES)
            wanted[place] = "BIGINT"
            function = self.rng.choice(("rank()", "dense_rank()", "count(*)", f"count({self.rng.choice(columns)[0]})"))
            outputs.append(f"{function} OVER ({partition}{order}{frame})")
        return f"SELECT {', '.join(outputs)} FROM {source}{where}"

    # FROM

    def alias(self) -> str:
        self.aliases += 1
        return f"a{self.aliases}"

    def relation(self, depth: int) -> tuple[str, list[tuple[str, str]]]:
        name = self.alias()
        if depth > 1 and self.chance(0.15):
            before, self.scope = self.scope, []
            inner, types = self.select(1)
            self.scope = before
            columns = ", ".join(f"x{number}" for number in range(len(types)))
            return f"({inner}) AS {name} ({columns})", [(f"{name}.x{n}", type) for n, type in enumerate(types)]
        table = self.rng.choice(self.tables)
        past = f"@{self.rng.choice(table.pasts)}" if table.pasts and self.chance(0.15) else ""
        return f"{{{table.name}{past}}} AS {name}", [(f"{name}.{c.name}", c.type) for c in table.columns]

    def source(self, depth: int = 1) -> tuple[str, list[tuple[str, str]]]:
        text, columns = self.relation(depth)
        if not self.chance(0.4):
            return text, columns
        other, more = self.relation(depth)
        kind = self.rng.choice(("JOIN", "LEFT JOIN", "RIGHT JOIN", "FULL JOIN", "CROSS JOIN"))
        both = [*columns, *more]
        if kind == "CROSS JOIN":
            return f"{text} CROSS JOIN {other}", both
        pairs = [(a, b) for a, type in columns for b, of in more if type == of or {type, of} <= set(INTEGERS)]
        if not pairs:
            return f"{text} CROSS JOIN {other}", both
        on = " = ".join(self.rng.choice(pairs))
        if self.chance(0.3) and kind != "FULL JOIN":
            before, self.scope = self.scope, both
            on = f"{on} AND {self.condition(1)}"
            self.scope = before
        return f"{text} {kind} {other} ON {on}", both

    # Expressions

    def any_type(self) -> str:
        return self.rng.choice(TYPES)

    def column(self, type: str) -> str | None:
        found = [text for text, of in self.scope if of == type]
        return self.rng.choice(found) if found else None

    def constant(self, type: str) -> str:
        return literal(type, "NULL" if self.chance(0.08) else self.rng.choice(VALUES[type]))

    def leaf(self, type: str) -> str:
        column = self.column(type)
        return column if column is not None and self.chance(0.8) else self.constant(type)

    def expression(self, type: str, depth: int) -> str:
        if depth <= 0 or self.chance(0.3):
            return self.leaf(type)
        if self.chance(0.25):
            return self.of_any_type(type, depth - 1)
        return self.rng.choice(_BY_TYPE[type])(self, depth - 1)

    def of_any_type(self, type: str, depth: int) -> str:
        match self.rng.randrange(5):
            case 0:
                return f"coalesce({self.expression(type, depth)}, {self.expression(type, depth)})"
            case 1:
                return f"nullif({self.expression(type, depth)}, {self.leaf(type)})"
            case 2:
                word = self.rng.choice(("greatest", "least"))
                return f"{word}({self.expression(type, depth)}, {self.leaf(type)}, {self.leaf(type)})"
            case 3 if depth > 0 and self.scope:
                return f"({self.scalar_subquery(type)})"
            case _:
                branches = "".join(
                    f" WHEN {self.condition(depth)} THEN {self.expression(type, depth)}"
                    for _ in range(self.rng.randint(1, 2))
                )
                other = f" ELSE {self.expression(type, depth)}" if self.chance(0.7) else ""
                return f"CASE{branches}{other} END"

    def scalar_subquery(self, type: str) -> str:
        before = self.scope
        source, columns = self.relation(1)
        self.scope = [*before, *columns]
        where = f" WHERE {self.condition(1)}" if self.chance(0.7) else ""
        self.scope = columns  # an aggregate of outer columns alone would be the outer query's
        function = self.rng.choice(("min", "max")) if type != "BOOLEAN" else self.rng.choice(("bool_and", "bool_or"))
        text = f"SELECT {function}({self.inner_leaf(type)}) FROM {source}{where}"
        self.scope = before
        return text

    def inner_leaf(self, type: str) -> str:
        """A column of the innermost query, or a constant."""
        return self.leaf(type)

    def aggregate(self, type: str) -> str:
        filter = f" FILTER (WHERE {self.condition(1)})" if self.chance(0.2) else ""
        match type:
            case "BIGINT":
                any = self.expression(self.any_type(), 1)
                small = self.expression(self.rng.choice(("SMALLINT",)), 1)
                distinct = self.rng.choice(("", "DISTINCT "))
                return self.rng.choice(("count(*)", f"count({distinct}{any})", f"sum({distinct}{small})")) + filter
            case "BOOLEAN":
                if self.chance(0.5):
                    return f"{self.rng.choice(('bool_and', 'bool_or'))}({self.condition(1)}){filter}"
                other = self.any_type()
                if other == "BOOLEAN":
                    return f"count(*){filter} {self.comparison()} {self.rng.randint(0, 5)}"
                return f"{self.aggregate(other)} {self.comparison()} {self.constant(other)}"
            case "DOUBLE PRECISION":
                return f"{self.rng.choice(('min', 'max', 'sum'))}({self.leaf(type)}){filter}"
            case _ if type == NUMBER:
                return f"CAST({self.rng.choice(('min', 'max'))}({self.leaf(type)}){filter} AS {NUMBER})"
            case "TEXT":
                one = self.expression("TEXT", 1)
                if self.chance(0.4):
                    return f"string_agg({one}, ',' ORDER BY {one}){filter}"
                return f"{self.rng.choice(('min', 'max'))}({one}){filter}"
            case _:
                return f"{self.rng.choice(('min', 'max'))}({self.expression(type, 1)}){filter}"

    def comparison(self) -> str:
        return self.rng.choice(("=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"))

    def condition(self, depth: int) -> str:
        if depth > 0 and self.chance(0.3):
            word = self.rng.choice(("AND", "OR"))
            return f"({self.condition(depth - 1)} {word} {self.condition(depth - 1)})"
        if depth > 0 and self.chance(0.1):
            return f"NOT ({self.condition(depth - 1)})"
        return self.rng.choice(_CONDITIONS)(self, depth - 1)

    # What a failing function needs

    def fails(self) -> bool:
        """Whether a failing function may stand here; if so, it does."""
        if self.may_fail and self.chance(0.5):
            self.failing = True
            return True
        return False


_Make = Callable[[_Maker, int], str]


def _integer(type: str) -> tuple[_Make, ...]:
    """Arithmetic that stays in range: two types wider than its operands, or a remainder."""

    def wide(maker: _Maker, depth: int) -> str:
        narrow = {"SMALLINT": None, "INTEGER": "SMALLINT", "BIGINT": "INTEGER"}[type]
        if narrow is None:
            return f"CAST({maker.leaf('SMALLINT')} % CAST({maker.rng.randint(2, 99)} AS SMALLINT) AS SMALLINT)"
        left, right = (f"CAST({maker.expression(narrow, depth)} AS {type})" for _ in range(2))
        return f"({left} {maker.rng.choice('+-*')} {right})" if narrow == "SMALLINT" else f"({left} - {right})"

    def divided(maker: _Maker, depth: int) -> str:
        divisor = literal(type, maker.rng.choice(("2", "3", "-7", "10")))
        return f"({maker.expression(type, depth)} {maker.rng.choice('/%')} {divisor})"

    def risky(maker: _Maker, depth: int) -> str:
        if not maker.fails():
            return maker.leaf(type)
        left, right = maker.expression(type, depth), maker.expression(type, depth)
        return maker.rng.choice(
            (f"({left} {maker.rng.choice('+-*/%')} {right})", f"abs({left})", f"(- {left})", f"CAST({left} AS {type})")
        )

    def counted(maker: _Maker, depth: int) -> str:
        words = (f"length({maker.expression('TEXT', depth)})", f"strpos({maker.leaf('TEXT')}, 'a')")
        dates = (f"({maker.leaf('DATE')} - {maker.leaf('DATE')})",)
        return f"CAST({maker.rng.choice((*words, *dates) if type != 'SMALLINT' else words)} AS {type})"

    def cast(maker: _Maker, depth: int) -> str:
        narrow = [of for of in INTEGERS if _LIMITS[of] <= _LIMITS[type]]
        return f"CAST({maker.expression(maker.rng.choice(narrow), depth)} AS {type})"

    def extracted(maker: _Maker, depth: int) -> str:
        part = maker.rng.choice(("year", "month", "day", "hour", "doy", "isodow", "week", "quarter"))
        return f"CAST(extract({part} FROM {maker.expression('TIMESTAMP', depth)}) AS {type})"

    return wide, divided, risky, counted, cast, extracted


def _numbers(maker: _Maker, depth: int) -> str:
    one = maker.expression(NUMBER, depth)
    match maker.rng.randrange(5):
        case 0:
            return f"CAST(round({one} / 10, 2) AS {NUMBER})"
        case 1:
            return f"CAST(({one} + {maker.leaf(NUMBER)}) / 4 AS {NUMBER})"
        case 2:
            return f"CAST({maker.rng.choice(('floor', 'abs', 'trunc', 'sign'))}({one}) AS {NUMBER})"
        case 3:
            return f"CAST({maker.expression('SMALLINT', depth)} AS {NUMBER})"
        case _:
            return f"CAST({one} % 7 AS {NUMBER})"


def _doubles(maker: _Maker, depth: int) -> str:
    one = maker.expression("DOUBLE PRECISION", depth)
    match maker.rng.randrange(4):
        case 0:
            return f"({one} {maker.rng.choice('+-*')} {maker.leaf('DOUBLE PRECISION')})"
        case 1:
            return f"{maker.rng.choice(('abs', 'floor', 'ceil', '-'))}({one})"
        case 2:
            return f"CAST({maker.expression(maker.rng.choice(('SMALLINT', 'INTEGER')), depth)} AS DOUBLE PRECISION)"
        case _:
            return f"({one} / 4)"


def _texts(maker: _Maker, depth: int) -> str:
    one = maker.expression("TEXT", depth)
    number = maker.rng.randint(-1, 3)
    match maker.rng.randrange(7):
        case 0:
            return f"({one} || {maker.leaf('TEXT')})"
        case 1:
            return f"substr({one}, {number}, {maker.rng.randint(0, 3)})"
        case 2:
            return f"{maker.rng.choice(('left', 'right'))}({one}, {number})"
        case 3:
            return f"replace({one}, 'a', {maker.leaf('TEXT')})"
        case 4:
            return f"{maker.rng.choice(('trim', 'ltrim', 'rtrim', 'reverse', 'md5'))}({one})"
        case 5:
            return f"CAST({maker.expression(maker.rng.choice((*INTEGERS, 'DATE', 'BOOLEAN')), depth)} AS TEXT)"
        case _:
            return f"lpad({one}, {maker.rng.randint(0, 5)}, 'xy')"


def _booleans(maker: _Maker, depth: int) -> str:
    return f"({maker.condition(depth)})"


def _dates(maker: _Maker, depth: int) -> str:
    if maker.chance(0.5):
        return f"CAST({maker.expression('TIMESTAMP', depth)} AS DATE)"
    return (
        f"CAST(date_trunc('{maker.rng.choice(('day', 'month', 'year', 'week'))}', {maker.leaf('TIMESTAMP')}) AS DATE)"
    )


def _timestamps(maker: _Maker, depth: int) -> str:
    one = maker.expression("TIMESTAMP", depth)
    if maker.chance(0.4):
        return f"date_trunc('{maker.rng.choice(('hour', 'day', 'month', 'quarter', 'week'))}', {one})"
    span = maker.rng.choice(("1 day", "-1 month", "36 hours", "1 year 2 months", "0.5 seconds"))
    return f"({maker.leaf('TIMESTAMP')} {maker.rng.choice('+-')} INTERVAL '{span}')"


_BY_TYPE: Final[dict[str, tuple[_Make, ...]]] = {
    **{type: _integer(type) for type in INTEGERS},
    NUMBER: (_numbers,),
    "DOUBLE PRECISION": (_doubles,),
    "TEXT": (_texts,),
    "BOOLEAN": (_booleans,),
    "DATE": (_dates,),
    "TIMESTAMP": (_timestamps,),
}


def _compared(maker: _Maker, depth: int) -> str:
    type = maker.any_type()
    left = maker.expression(type, depth)
    if type in INTEGERS and maker.chance(0.3):
        type = maker.rng.choice((*INTEGERS, NUMBER, "DOUBLE PRECISION"))
    return f"{left} {maker.comparison()} {maker.expression(type, depth)}"


def _compared_with_constant(maker: _Maker, depth: int) -> str:
    type = maker.any_type()
    return f"{maker.leaf(type)} {maker.comparison()} {maker.constant(type)}"


def _rows_compared(maker: _Maker, depth: int) -> str:
    types = [maker.any_type() for _ in range(2)]
    one, *others = [f"({', '.join(maker.leaf(type) for type in types)})" for _ in range(3)]
    return maker.rng.choice(
        (f"{one} IN ({', '.join(others)})", f"{one} {maker.rng.choice(('=', '<', '>='))} {others[0]}")
    )


def _any_of_array(maker: _Maker, depth: int) -> str:
    type = maker.any_type()
    items = ", ".join(maker.constant(type) for _ in range(maker.rng.randint(1, 3)))
    return f"{maker.leaf(type)} {maker.rng.choice(('= ANY', '<> ALL', '< ANY'))} (ARRAY[{items}])"


def _null_test(maker: _Maker, depth: int) -> str:
    return f"{maker.expression(maker.any_type(), depth)} IS {maker.rng.choice(('NULL', 'NOT NULL'))}"


def _truth_test(maker: _Maker, depth: int) -> str:
    word = maker.rng.choice(("TRUE", "FALSE", "UNKNOWN", "NOT TRUE", "NOT FALSE"))
    return f"({maker.condition(max(depth, 0))}) IS {word}"


def _in_list(maker: _Maker, depth: int) -> str:
    type = maker.any_type()
    values = ", ".join(maker.leaf(type) for _ in range(maker.rng.randint(1, 4)))
    return f"{maker.expression(type, depth)} {maker.rng.choice(('IN', 'NOT IN'))} ({values})"


def _between(maker: _Maker, depth: int) -> str:
    type = maker.any_type()
    word = maker.rng.choice(("BETWEEN", "NOT BETWEEN", "BETWEEN SYMMETRIC"))
    return f"{maker.expression(type, depth)} {word} {maker.leaf(type)} AND {maker.leaf(type)}"


def _like(maker: _Maker, depth: int) -> str:
    pattern = maker.rng.choice(("'a%'", "'%'", "'_'", "'%é%'", "'a\\_b'", "''", "'%b'"))
    return f"{maker.expression('TEXT', depth)} {maker.rng.choice(('LIKE', 'NOT LIKE', 'ILIKE'))} {pattern}"


def _matched(maker: _Maker, depth: int) -> str:
    return f"{maker.expression('TEXT', depth)} {maker.rng.choice(('~', '!~'))} {maker.rng.choice(VALUES_OF_REGEX)}"


VALUES_OF_REGEX: Final = ("'^a'", "'b$'", "'[0-9]+'", "'a.b'", "'^$'", "'(a|b)'")


def _subquery(maker: _Maker, depth: int) -> str:
    if depth < 0:
        return _compared_with_constant(maker, depth)
    before = maker.scope
    source, columns = maker.relation(1)
    maker.scope = [*before, *columns]
    where = f" WHERE {maker.condition(0)}" if maker.chance(0.7) else ""
    type = maker.any_type()
    value = maker.leaf(type)
    maker.scope = before
    match maker.rng.randrange(3):
        case 0:
            return f"{maker.rng.choice(('', 'NOT '))}EXISTS (SELECT 1 FROM {source}{where})"
        case 1:
            word = maker.rng.choice(("IN", "NOT IN"))
            return f"{maker.expression(type, 0)} {word} (SELECT {value} FROM {source}{where})"
        case _:
            word = f"{maker.rng.choice(('=', '<', '>=', '<>'))} {maker.rng.choice(('ANY', 'ALL'))}"
            return f"{maker.expression(type, 0)} {word} (SELECT {value} FROM {source}{where})"


_CONDITIONS: Final[tuple[_Make, ...]] = (
    _compared,
    _compared,
    _compared_with_constant,
    _compared_with_constant,
    _null_test,
    _truth_test,
    _in_list,
    _between,
    _like,
    _matched,
    _rows_compared,
    _any_of_array,
    _subquery,
)
