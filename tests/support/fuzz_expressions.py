"""Random expressions by type, valid in PostgreSQL and with one answer each.

``Expressions`` knows what may be spoken of (``scope``). What may fail on some value (overflow, division by zero) occurs
only where ``may_fail`` says so: which rows a condition is computed for is nobody's promise. Constants come from a
generator of their own (``values``), so that two queries of one shape differ in these alone.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Final

from fuzz_schema import ARRAYS, DOUBLE, INTEGERS, LIMITS, NUMBER, OTHERS, TYPES, VALUES, Table, literal

ZONES: Final = ("UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata")
REGEXES: Final = (
    "'^a'", "'b$'", "'[0-9]+'", "'a.b'", "'^$'", "'(a|b)'", "'\\d'", "'[[:alpha:]]+'", "'^.$'", "'é'", "'[^a]'",
    "'(a)(b)?'", "'b*'", "'\\s'",
)  # fmt: skip
_KEYS: Final = ("'a'", "'b'", "'aa'", "'é'", "'none'")
_PATHS: Final = ("'{a,b}'", "'{b,0}'", "'{b,2,c}'", "'{}'", "'{1}'")
_TIME_PATTERNS: Final = (
    "YYYY-MM-DD HH24:MI:SS.US", "FMDay, DD FMMonth YYYY", "DDD Q IYYY-IW ID", "HH12:MI AM", "Mon Dy D", "SSSS MS",
    "Y,YYY CC WW", "YY J",
)  # fmt: skip
_NUMBER_PATTERNS: Final = ("999", "FM9990", "0000", "S999", "9,999", "999MI", "FM99.0", "999PR")


class Expressions:
    """``scope`` is what an expression may speak of: (text, type); the outer queries' come first."""

    def __init__(self, rng: random.Random, values: random.Random, tables: Sequence[Table]) -> None:
        self.rng = rng
        self.values = values
        self.tables = tables
        self.may_fail = rng.random() < 0.25
        self.failing = False
        self.aliases = 0
        self.scope: list[tuple[str, str]] = []

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def alias(self) -> str:
        self.aliases += 1
        return f"a{self.aliases}"

    def relation(self, depth: int) -> tuple[str, list[tuple[str, str]]]:
        """Something to read from, and its columns."""
        raise NotImplementedError

    def any_type(self) -> str:
        """Mostly one of which there is something."""
        found = [type for _, type in self.scope if type in TYPES]
        return self.rng.choice(found) if found and self.chance(0.7) else self.rng.choice(TYPES)

    def output_type(self) -> str:
        """Of a column that is neither sorted nor compared."""
        return self.rng.choice(OTHERS) if self.chance(0.2) else self.any_type()

    def column(self, type: str) -> str | None:
        found = [text for text, of in self.scope if of == type]
        return self.rng.choice(found) if found else None

    def constant(self, type: str) -> str:
        return literal(type, "NULL" if self.values.random() < 0.08 else self.values.choice(VALUES[type]))

    def loose(self, type: str) -> str:
        """A constant beside something of that type, which may be left to give it its own."""
        if self.chance(0.5):
            return self.constant(type)
        text = self.values.choice(VALUES[type])
        return literal(type, text) if text.startswith("ARRAY") or (type == DOUBLE and "-0" in text) else text

    def leaf(self, type: str) -> str:
        column = self.column(type)
        return column if column is not None and self.chance(0.8) else self.constant(type)

    def expression(self, type: str, depth: int) -> str:
        if depth <= 0 or self.chance(0.35):
            return self.leaf(type)
        if self.chance(0.2):
            return self._of_any_type(type, depth - 1)
        return self.rng.choice(_BY_TYPE[type])(self, depth - 1)

    def _of_any_type(self, type: str, depth: int) -> str:
        match self.rng.randrange(5):
            case 0:
                return f"coalesce({self.expression(type, depth)}, {self.expression(type, depth)})"
            case 1 if type != "INTERVAL":
                return f"nullif({self.expression(type, depth)}, {self.leaf(type)})"
            case 2 if type in TYPES:
                word = self.rng.choice(("greatest", "least"))
                return f"{word}({self.expression(type, depth)}, {self.leaf(type)}, {self.leaf(type)})"
            case 3 if depth > 0 and self.scope and type in TYPES:
                return f"({self._scalar_subquery(type)})"
            case _:
                other = f" ELSE {self.expression(type, depth)}" if self.chance(0.7) else ""
                if self.chance(0.3):
                    of = self.any_type()
                    return (
                        f"CASE {self.leaf(of)} WHEN {self.constant(of)} THEN {self.expression(type, depth)}{other} END"
                    )
                branches = "".join(
                    f" WHEN {self.condition(depth)} THEN {self.expression(type, depth)}"
                    for _ in range(self.rng.randint(1, 2))
                )
                return f"CASE{branches}{other} END"

    def _scalar_subquery(self, type: str) -> str:
        before = self.scope
        source, columns = self.relation(1)
        self.scope = [*before, *columns]
        where = f" WHERE {self.condition(1)}" if self.chance(0.7) else ""
        self.scope = columns  # an aggregate of outer columns alone would be the outer query's
        function = self.rng.choice(("min", "max")) if type != "BOOLEAN" else self.rng.choice(("bool_and", "bool_or"))
        text = f"SELECT {function}({self.leaf(type)}) FROM {source}{where}"
        self.scope = before
        return text

    def comparison(self) -> str:
        return self.rng.choice(("=", "<>", "<", "<=", ">", ">=", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"))

    def condition(self, depth: int) -> str:
        if depth > 0 and self.chance(0.3):
            word = self.rng.choice(("AND", "OR"))
            return f"({self.condition(depth - 1)} {word} {self.condition(depth - 1)})"
        if depth > 0 and self.chance(0.1):
            return f"NOT ({self.condition(depth - 1)})"
        return self.rng.choice(_CONDITIONS)(self, depth - 1)

    def fails(self) -> bool:
        """Whether a failing function may stand here; if so, it does."""
        if self.may_fail and self.chance(0.9):
            self.failing = True
            return True
        return False

    # Aggregates

    def aggregate(self, type: str) -> str:
        filter = f" FILTER (WHERE {self.condition(1)})" if self.chance(0.2) else ""
        match type:
            case "BIGINT":
                any = self.expression(self.any_type(), 1)
                small = self.expression("SMALLINT", 1)
                distinct = self.rng.choice(("", "DISTINCT "))
                return self.rng.choice(("count(*)", f"count({distinct}{any})", f"sum({distinct}{small})")) + filter
            case "SMALLINT" | "INTEGER" if self.chance(0.3):
                return f"{self.rng.choice(('bit_and', 'bit_or', 'bit_xor'))}({self.expression(type, 1)}){filter}"
            case "BOOLEAN":
                if self.chance(0.5):
                    return f"{self.rng.choice(('bool_and', 'bool_or', 'every'))}({self.condition(1)}){filter}"
                other = self.any_type()
                if other == "BOOLEAN":
                    return f"count(*){filter} {self.comparison()} {self.rng.randint(0, 5)}"
                return f"{self.aggregate(other)} {self.comparison()} {self.constant(other)}"
            case _ if type == DOUBLE:
                if self.chance(0.2):
                    fraction = self.rng.choice(("0.5", "0", "1", "0.25"))
                    finite = f"CAST({self.leaf('INTEGER')} AS {type})"
                    return f"percentile_cont({fraction}) WITHIN GROUP (ORDER BY {finite}){filter}"
                return f"{self.rng.choice(('min', 'max', 'sum', 'avg'))}({self.leaf(type)}){filter}"
            case _ if type == NUMBER:
                one = f"{self.rng.choice(('min', 'max'))}({self.leaf(type)})"
                if self.chance(0.3):
                    one = f"avg({self.expression('SMALLINT', 1)})"
                return f"CAST({one}{filter} AS {NUMBER})"
            case "TEXT":
                one = self.expression("TEXT", 1)
                if self.chance(0.4):
                    order = f"{one}{self.rng.choice(('', ' DESC', ' NULLS FIRST'))}"
                    return f"string_agg({one}, ',' ORDER BY {order}){filter}"
                return f"{self.rng.choice(('min', 'max'))}({one}){filter}"
            case "INTERVAL":
                return f"max({self.leaf('TIMESTAMP')}){filter} - min({self.leaf('TIMESTAMP')})"
            case "JSONB":
                one = self.expression(self.rng.choice((*INTEGERS, "TEXT", "BOOLEAN", "DATE")), 1)
                return f"jsonb_agg({one} ORDER BY {one}){filter}"
            case "INTEGER[]" | "TEXT[]":
                one = self.expression(type[:-2], 1)
                order = f"{one}{self.rng.choice(('', ' DESC', ' NULLS FIRST'))}"
                distinct = "DISTINCT " if self.chance(0.3) else ""
                return f"array_agg({distinct}{one} ORDER BY {order}){filter}"
            case _:
                one = self.expression(type, 1)
                if self.chance(0.2):
                    fraction = self.rng.choice(("0.5", "0", "1", "0.3"))
                    function = self.rng.choice((f"percentile_disc({fraction})", "mode()"))
                    return f"{function} WITHIN GROUP (ORDER BY {one}){filter}"
                return f"{self.rng.choice(('min', 'max'))}({one}){filter}"


_Make = Callable[[Expressions, int], str]


def _integer(type: str) -> tuple[_Make, ...]:
    """Arithmetic that stays in range: two types wider than its operands, or a remainder."""

    def wide(maker: Expressions, depth: int) -> str:
        narrow = {"SMALLINT": None, "INTEGER": "SMALLINT", "BIGINT": "INTEGER"}[type]
        if narrow is None:
            return f"CAST({maker.leaf('SMALLINT')} % CAST({maker.rng.randint(2, 99)} AS SMALLINT) AS SMALLINT)"
        left, right = (f"CAST({maker.expression(narrow, depth)} AS {type})" for _ in range(2))
        return f"({left} {maker.rng.choice('+-*')} {right})" if narrow == "SMALLINT" else f"({left} - {right})"

    def divided(maker: Expressions, depth: int) -> str:
        divisor = literal(type, maker.rng.choice(("2", "3", "-7", "10")))
        return f"({maker.expression(type, depth)} {maker.rng.choice('/%')} {divisor})"

    def risky(maker: Expressions, depth: int) -> str:
        if not maker.fails():
            return maker.leaf(type)
        left, right = maker.expression(type, depth), maker.expression(type, depth)
        return maker.rng.choice(
            (f"({left} {maker.rng.choice('+-*/%')} {right})", f"abs({left})", f"(- {left})", f"CAST({left} AS {type})")
        )

    def counted(maker: Expressions, depth: int) -> str:
        text = maker.leaf("TEXT")
        array = maker.expression(maker.rng.choice(ARRAYS), depth)
        words = (
            f"length({maker.expression('TEXT', depth)})",
            f"strpos({text}, 'a')",
            f"octet_length({text})",
            f"regexp_count({text}, {maker.rng.choice(REGEXES)})",
            f"cardinality({array})",
            f"array_length({array}, 1)",
            f"array_position({maker.expression('TEXT[]', depth)}, 'a')",
            f"(SELECT count(*) FROM unnest({array}) AS u (x) WHERE x IS NOT NULL)",
            f"num_nulls({text}, {array})",
        )
        wider = (f"({maker.leaf('DATE')} - {maker.leaf('DATE')})", f"ascii({text})")
        return f"CAST({maker.rng.choice((*words, *wider) if type != 'SMALLINT' else words)} AS {type})"

    def cast(maker: Expressions, depth: int) -> str:
        narrow = [of for of in INTEGERS if LIMITS[of] <= LIMITS[type]]
        return f"CAST({maker.expression(maker.rng.choice(narrow), depth)} AS {type})"

    def extracted(maker: Expressions, depth: int) -> str:
        part = maker.rng.choice(("year", "month", "day", "hour", "doy", "isodow", "dow", "week", "quarter", "isoyear"))
        of = maker.rng.choice(("TIMESTAMP", "TIMESTAMPTZ"))
        return f"CAST(extract({part} FROM {maker.expression(of, depth)}) AS {type})"

    def bits(maker: Expressions, depth: int) -> str:
        return f"({maker.expression(type, depth)} {maker.rng.choice('&|#')} {maker.leaf(type)})"

    return wide, divided, risky, risky, counted, cast, extracted, bits


def _numbers(maker: Expressions, depth: int) -> str:
    one = maker.expression(NUMBER, depth)
    match maker.rng.randrange(6):
        case 0:
            return f"CAST(round({one} / 10, 2) AS {NUMBER})"
        case 1:
            return f"CAST(({one} + {maker.leaf(NUMBER)}) / 4 AS {NUMBER})"
        case 2:
            return f"CAST({maker.rng.choice(('floor', 'ceil', 'abs', 'trunc', 'sign', 'round'))}({one}) AS {NUMBER})"
        case 3:
            return f"CAST({maker.expression('SMALLINT', depth)} AS {NUMBER})"
        case 4:
            part = maker.rng.choice(("day", "hour", "second", "month"))
            return f"CAST(extract({part} FROM {maker.expression('INTERVAL', depth)}) AS {NUMBER})"
        case _:
            return f"CAST({one} % 7 AS {NUMBER})"


def _doubles(maker: Expressions, depth: int) -> str:
    one = maker.expression(DOUBLE, depth)
    match maker.rng.randrange(5):
        case 0:
            return f"({one} {maker.rng.choice('+-*')} {maker.leaf(DOUBLE)})"
        case 1:
            return f"{maker.rng.choice(('abs', 'floor', 'ceil', '-', 'trunc', 'round', 'sign'))}({one})"
        case 2:
            return f"CAST({maker.expression(maker.rng.choice(('SMALLINT', 'INTEGER', NUMBER)), depth)} AS {DOUBLE})"
        case 3:
            return f"date_part('{maker.rng.choice(('day', 'hour', 'year'))}', {maker.leaf('TIMESTAMP')})"
        case _:
            return f"({one} / 4)"


def _texts(maker: Expressions, depth: int) -> str:
    one = maker.expression("TEXT", depth)
    rng = maker.rng
    number = rng.randint(-1, 3)
    match rng.randrange(12):
        case 0:
            return f"({one} || {maker.leaf('TEXT')})"
        case 1:
            return f"substr({one}, {number}, {rng.randint(0, 3)})"
        case 2:
            return f"{rng.choice(('left', 'right'))}({one}, {number})"
        case 3:
            return f"replace({one}, 'a', {maker.leaf('TEXT')})"
        case 4:
            return (
                f"{rng.choice(('trim', 'ltrim', 'rtrim', 'reverse', 'md5', 'quote_literal', 'quote_nullable'))}({one})"
            )
        case 5:
            types = (*INTEGERS, NUMBER, "DATE", "BOOLEAN", "TIMESTAMP", "TIMESTAMPTZ", *OTHERS)
            return f"CAST({maker.expression(rng.choice(types), depth)} AS TEXT)"
        case 6:
            return f"{rng.choice('lr')}pad({one}, {rng.randint(0, 5)}, 'xy')"
        case 7:
            return rng.choice(
                (
                    f"regexp_replace({one}, {rng.choice(REGEXES)}, '<\\&>', '{rng.choice(('', 'g', 'i'))}')",
                    f"split_part({one}, 'a', {rng.choice((1, 2, -1))})",
                    f"translate({one}, 'ab0', 'x')",
                    f"substring({one} FROM {rng.choice(REGEXES)})",
                    f"(regexp_match({one}, {rng.choice(REGEXES)}))[1]",
                )
            )
        case 8:
            values = ", ".join(maker.expression(rng.choice((*INTEGERS, "TEXT", "BOOLEAN")), 0) for _ in range(2))
            return rng.choice(
                (f"concat({values}, {one})", f"concat_ws('-', {values}, {one})", f"format('%s:%L', {values})")
            )
        case 9:
            if rng.random() < 0.5:
                of = rng.choice((*INTEGERS, NUMBER))
                return f"to_char({maker.leaf(of)}, '{rng.choice(_NUMBER_PATTERNS)}')"
            of = rng.choice(("TIMESTAMP", "TIMESTAMPTZ"))
            return f"to_char({maker.expression(of, depth)}, '{rng.choice(_TIME_PATTERNS)}')"
        case 10:
            array = maker.expression("TEXT[]", depth)
            return rng.choice((f"array_to_string({array}, ',')", f"({array})[{rng.randint(0, 3)}]"))
        case _:
            json = maker.expression("JSONB", depth)
            return rng.choice(
                (f"({json} ->> {rng.choice(_KEYS)})", f"({json} #>> {rng.choice(_PATHS)})", f"jsonb_typeof({json})")
            )


def _booleans(maker: Expressions, depth: int) -> str:
    return f"({maker.condition(depth)})"


def _dates(maker: Expressions, depth: int) -> str:
    match maker.rng.randrange(4):
        case 0:
            return f"CAST({maker.expression('TIMESTAMP', depth)} AS DATE)"
        case 1:
            return f"CAST({maker.expression('TIMESTAMPTZ', depth)} AS DATE)"
        case 2:
            return f"(CAST({maker.leaf('TIMESTAMP')} AS DATE) {maker.rng.choice('+-')} {maker.rng.randint(0, 400)})"
        case _:
            unit = maker.rng.choice(("day", "month", "year", "week"))
            return f"CAST(date_trunc('{unit}', {maker.leaf('TIMESTAMP')}) AS DATE)"


def _timestamps(maker: Expressions, depth: int) -> str:
    one = maker.expression("TIMESTAMP", depth)
    match maker.rng.randrange(6):
        case 0 | 1:
            unit = maker.rng.choice(("hour", "day", "month", "quarter", "week", "decade", "milliseconds"))
            return f"date_trunc('{unit}', {one})"
        case 2:
            return f"({maker.expression('TIMESTAMPTZ', depth)} AT TIME ZONE '{maker.rng.choice(ZONES)}')"
        case 3:
            return f"CAST({maker.expression('TIMESTAMPTZ', depth)} AS TIMESTAMP)"
        case _:
            return f"({maker.leaf('TIMESTAMP')} {maker.rng.choice('+-')} {maker.leaf('INTERVAL')})"


def _moments(maker: Expressions, depth: int) -> str:
    """TIMESTAMPTZ."""
    match maker.rng.randrange(5):
        case 0:
            unit = maker.rng.choice(("hour", "day", "month", "week"))
            zone = maker.rng.choice(("", *(f", '{zone}'" for zone in ZONES)))
            return f"date_trunc('{unit}', {maker.expression('TIMESTAMPTZ', depth)}{zone})"
        case 1:
            return f"({maker.expression('TIMESTAMP', depth)} AT TIME ZONE '{maker.rng.choice(ZONES)}')"
        case 2:
            return f"CAST({maker.expression('TIMESTAMP', depth)} AS TIMESTAMPTZ)"
        case _:
            return f"({maker.leaf('TIMESTAMPTZ')} {maker.rng.choice('+-')} {maker.leaf('INTERVAL')})"


def _intervals(maker: Expressions, depth: int) -> str:
    match maker.rng.randrange(6):
        case 0:
            return f"({maker.expression('TIMESTAMP', depth)} - {maker.leaf('TIMESTAMP')})"
        case 1:
            return f"age({maker.leaf('TIMESTAMP')}, {maker.leaf('TIMESTAMP')})"
        case 2:
            return f"({maker.expression('INTERVAL', depth)} {maker.rng.choice('+-')} {maker.leaf('INTERVAL')})"
        case 3:
            return f"({maker.leaf('INTERVAL')} * {maker.rng.choice((2, -3, 0))})"
        case 4:
            return f"justify_{maker.rng.choice(('hours', 'days', 'interval'))}({maker.leaf('INTERVAL')})"
        case _:
            return f"({maker.leaf('TIMESTAMPTZ')} - {maker.leaf('TIMESTAMPTZ')})"


def _jsons(maker: Expressions, depth: int) -> str:
    json = maker.expression("JSONB", depth)
    types = (*INTEGERS, NUMBER, "TEXT", "BOOLEAN", "DATE", "TIMESTAMP", "JSONB", "INTEGER[]")
    one, other = (maker.expression(maker.rng.choice(types), depth) for _ in range(2))
    keys = _KEYS
    match maker.rng.randrange(9):
        case 0:
            return f"jsonb_build_object('a', {one}, 'b', {other})"
        case 1:
            return f"jsonb_build_array({one}, {other})"
        case 2:
            return f"to_jsonb({one})"
        case 3:
            return f"({json} -> {maker.rng.choice((*keys, '0', '-1'))})"
        case 4:
            return f"({json} #> {maker.rng.choice(_PATHS)})"
        case 5:
            return f"(jsonb_build_object('a', {one}, 'c', {json}) || {maker.leaf('JSONB')})"
        case 6:
            return literal("JSONB", """'{"b": null,"aa":2 , "b":[ 3.10, 1e2]}'""")
        case 7:
            return f"jsonb_set(jsonb_build_object('a', {json}), '{{a}}', to_jsonb({one}))"
        case _:
            return f"(jsonb_strip_nulls(jsonb_build_object('a', {json}, 'b', {one})) - {maker.rng.choice(keys)})"


def _array(type: str) -> _Make:
    item = type[:-2]

    def make(maker: Expressions, depth: int) -> str:
        one, other = maker.expression(type, depth), maker.expression(item, depth)
        match maker.rng.randrange(7):
            case 0:
                return f"ARRAY[{other}, {maker.leaf(item)}]"
            case 1:
                return f"array_append({one}, {other})"
            case 2:
                return f"({one} || {maker.leaf(type)})"
            case 3:
                return f"array_remove({one}, {maker.leaf(item)})"
            case 4:
                return f"({one})[{maker.rng.choice(('1:2', '2:3', '2:', ':1'))}]"
            case 5 if item == "TEXT":
                return maker.rng.choice(
                    (f"string_to_array({other}, 'a')", f"regexp_split_to_array({other}, {maker.rng.choice(REGEXES)})")
                )
            case 5:
                return f"ARRAY(SELECT CAST(g AS INTEGER) FROM generate_series(1, {maker.rng.randint(0, 4)}) AS g)"
            case _:
                return f"array_replace({one}, {maker.leaf(item)}, {other})"

    return make


_BY_TYPE: Final[dict[str, tuple[_Make, ...]]] = {
    **{type: _integer(type) for type in INTEGERS},
    **{type: (_array(type),) for type in ARRAYS},
    NUMBER: (_numbers,),
    DOUBLE: (_doubles,),
    "TEXT": (_texts,),
    "BOOLEAN": (_booleans,),
    "DATE": (_dates,),
    "TIMESTAMP": (_timestamps,),
    "TIMESTAMPTZ": (_moments,),
    "INTERVAL": (_intervals,),
    "JSONB": (_jsons,),
}


# Conditions


def evaluated(maker: Expressions, depth: int) -> str:
    """Of the shapes that the engine evaluates by itself: a column, and constants."""
    column, type = maker.rng.choice([(text, type) for text, type in maker.scope if type in TYPES])
    match maker.rng.randrange(6):
        case 0:
            return f"{column} IS NULL"
        case 1:
            return f"{column} IN ({', '.join(maker.loose(type) for _ in range(maker.rng.randint(1, 4)))})"
        case 2:
            return f"{column} BETWEEN {maker.loose(type)} AND {maker.loose(type)}"
        case 3:
            items = ", ".join(maker.constant(type) for _ in range(maker.rng.randint(1, 3)))
            return f"{column} = ANY (ARRAY[{items}])"
        case _:
            sides = (column, maker.loose(type)) if maker.chance(0.8) else (maker.loose(type), column)
            return f"{sides[0]} {maker.rng.choice(('=', '<', '<=', '>', '>='))} {sides[1]}"


def compared_with_constant(maker: Expressions, depth: int) -> str:
    type = maker.any_type()
    return f"{maker.leaf(type)} {maker.comparison()} {maker.loose(type)}"


def in_list(maker: Expressions, depth: int) -> str:
    type = maker.any_type()
    values = ", ".join(maker.rng.choice((maker.leaf, maker.loose))(type) for _ in range(maker.rng.randint(1, 4)))
    return f"{maker.expression(type, depth)} {maker.rng.choice(('IN', 'NOT IN'))} ({values})"


def between(maker: Expressions, depth: int) -> str:
    type = maker.any_type()
    word = maker.rng.choice(("BETWEEN", "NOT BETWEEN", "BETWEEN SYMMETRIC"))
    return f"{maker.expression(type, depth)} {word} {maker.loose(type)} AND {maker.leaf(type)}"


def like(maker: Expressions, depth: int) -> str:
    pattern = maker.rng.choice(("'a%'", "'%'", "'_'", "'%é%'", "'a\\_b'", "''", "'%b'", "'a!_b' ESCAPE '!'"))
    return f"{maker.expression('TEXT', depth)} {maker.rng.choice(('LIKE', 'NOT LIKE', 'ILIKE'))} {pattern}"


def null_test(maker: Expressions, depth: int) -> str:
    return f"{maker.expression(maker.output_type(), depth)} IS {maker.rng.choice(('NULL', 'NOT NULL'))}"


def _compared(maker: Expressions, depth: int) -> str:
    type = maker.any_type()
    left = maker.expression(type, depth)
    if type in INTEGERS and maker.chance(0.3):
        type = maker.rng.choice((*INTEGERS, NUMBER, DOUBLE))
    return f"{left} {maker.comparison()} {maker.expression(type, depth)}"


def _rows_compared(maker: Expressions, depth: int) -> str:
    types = [maker.any_type() for _ in range(2)]
    one, *others = [f"({', '.join(maker.leaf(type) for type in types)})" for _ in range(3)]
    return maker.rng.choice(
        (f"{one} IN ({', '.join(others)})", f"{one} {maker.rng.choice(('=', '<', '>='))} {others[0]}")
    )


def _any_of_array(maker: Expressions, depth: int) -> str:
    word = maker.rng.choice(("= ANY", "<> ALL", "< ANY"))
    if maker.chance(0.4):
        type = maker.rng.choice(ARRAYS)
        return f"{maker.leaf(type[:-2])} {word} ({maker.expression(type, depth)})"
    type = maker.any_type()
    items = ", ".join(maker.constant(type) for _ in range(maker.rng.randint(1, 3)))
    return f"{maker.leaf(type)} {word} (ARRAY[{items}])"


def _truth_test(maker: Expressions, depth: int) -> str:
    word = maker.rng.choice(("TRUE", "FALSE", "UNKNOWN", "NOT TRUE", "NOT FALSE"))
    return f"({maker.condition(max(depth, 0))}) IS {word}"


def _matched(maker: Expressions, depth: int) -> str:
    one = maker.expression("TEXT", depth)
    if maker.chance(0.2):
        return f"{one} SIMILAR TO {maker.rng.choice(('%(a|b)%', '_', 'a%', '[0-9]+'))!r}"
    return f"{one} {maker.rng.choice(('~', '!~', '~*'))} {maker.rng.choice(REGEXES)}"


def _contained(maker: Expressions, depth: int) -> str:
    """Conditions on arrays and JSONB."""
    json, type = maker.expression("JSONB", depth), maker.rng.choice(ARRAYS)
    match maker.rng.randrange(5):
        case 0:
            return f"{json} {maker.rng.choice(('@>', '<@'))} {maker.leaf('JSONB')}"
        case 1:
            return f"jsonb_exists({json}, {maker.rng.choice(_KEYS)})"
        case 2:
            return f"({json} {maker.rng.choice(('=', '<>', 'IS NOT DISTINCT FROM'))} {maker.leaf('JSONB')})"
        case _:
            word = maker.rng.choice(("@>", "<@", "&&", "=", "<>", "<", ">=", "IS DISTINCT FROM"))
            return f"{maker.expression(type, depth)} {word} {maker.leaf(type)}"


def _intervals_compared(maker: Expressions, depth: int) -> str:
    return f"{maker.expression('INTERVAL', depth)} {maker.comparison()} {maker.loose('INTERVAL')}"


def _subquery(maker: Expressions, depth: int) -> str:
    if depth < 0:
        return compared_with_constant(maker, depth)
    before = maker.scope
    source, columns = maker.relation(1)
    maker.scope = [*before, *columns]
    where = f" WHERE {maker.condition(0)}" if maker.chance(0.7) else ""
    types = [maker.any_type() for _ in range(2)]
    value, second = map(maker.leaf, types)
    maker.scope = before
    one, other = (maker.expression(type, 0) for type in types)
    match maker.rng.randrange(4):
        case 0:
            return f"{maker.rng.choice(('', 'NOT '))}EXISTS (SELECT 1 FROM {source}{where})"
        case 1:
            return f"{one} {maker.rng.choice(('IN', 'NOT IN'))} (SELECT {value} FROM {source}{where})"
        case 2:
            return (
                f"({one}, {other}) {maker.rng.choice(('IN', 'NOT IN'))} (SELECT {value}, {second} FROM {source}{where})"
            )
        case _:
            word = f"{maker.rng.choice(('=', '<', '>=', '<>'))} {maker.rng.choice(('ANY', 'ALL'))}"
            return f"{one} {word} (SELECT {value} FROM {source}{where})"


_CONDITIONS: Final[tuple[_Make, ...]] = (
    _compared,
    _compared,
    compared_with_constant,
    compared_with_constant,
    null_test,
    _truth_test,
    in_list,
    between,
    like,
    _matched,
    _rows_compared,
    _any_of_array,
    _contained,
    _intervals_compared,
    _subquery,
)
