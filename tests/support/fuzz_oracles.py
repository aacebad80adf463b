"""Random queries (fuzz.py) against what knows their answers.

    PostgreSQL    the same statements and queries, where it is installed: binder, types, functions, changes of rows
    plain tables  DuckDB on tables of its own that the same statements filled: what versions, segments, filters that are
                  pushed, pruning, rules and choices of the planner make of the text that our binder and renderer wrote
    TLP           rows where p, where not p and where p is unknown are all rows
    NoREC         rows that pass a condition are as many as those for which it is computed to be true
    again         the same text once more, whose plan is kept
    parameters    constants given as $1, $2, …
    slowly        the question in other words (time series)

The first judge is asked about every query. The others cost as much as the query itself and are asked about some, by
lot; ``asked`` counts for whom it fell. Replay what a run printed (then all are asked), or look for more:

    python tests/support/fuzz_oracles.py --seed 17 --query 23
    python tests/support/fuzz_oracles.py --seed 1 --worlds 100 --queries 50
"""

from __future__ import annotations

import argparse
import random
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, Protocol

import duckdb
import weftdb
from fuzz import Query, World
from pyarrow import MonthDayNano
from weftdb.base.errors import WeftError
from weftdb.base.result import Result
from weftdb.base.types import Kind
from weftdb.bench.sqllogic_systems import Refused
from weftdb.engine.catalog import Catalog
from weftdb.engine.expression.functions import DUCKDB_PRELUDE, translate_error
from weftdb.engine.schema import ROW_ID
from weftdb.sql import bound as tree
from weftdb.sql.bind import Settings, bind_query
from weftdb.sql.duck import create_callbacks
from weftdb.sql.render import render, scan_name
from weftdb.sql.run import _conform
from weftdb.sql.session import Session
from weftdb.sql.walk import walk

try:
    import psycopg
    from psycopg.adapt import Loader
    from psycopg.types.string import TextLoader
except ImportError:
    psycopg = None

_REFERENCE: Final = re.compile(r"\{(t\d+)(?:@(\d+))?\}")
_CONSTANT: Final = re.compile(
    r"CAST\(('(?:[^']|'')*'|-?[\d.]+|true|false) AS "
    r"(SMALLINT|INTEGER|BIGINT|NUMERIC\(12,4\)|DOUBLE PRECISION|TEXT|BOOLEAN|DATE|TIMESTAMP|TIMESTAMPTZ)\)"
)
_DATA: Final = "22"
"""The class of SQLSTATE of what values cause: overflow, division by zero."""
_REASONS: Final = ("21", "22", "23")
"""These, a row that is met twice, and constraints: why a change may be refused."""

_SECONDS_MAX: Final = 1800
"""No query takes so long; a machine that does other things may keep one waiting."""

_SHARES: Final = {"judge": 0.25, "TLP": 0.1, "NoREC": 0.1, "again": 0.06, "parameters": 0.06}
"""How many of the queries that it fits each is asked about; "judge": any but the first."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of Python values, and the kind of each column."""

    rows: list[tuple[Any, ...]]
    kinds: tuple[Kind, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    seed: int
    number: int
    oracle: str
    sql: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return (
            f"seed {self.seed}, query {self.number}, {self.oracle}\n{self.sql}\n"
            f"  ours:   {self.ours}\n  theirs: {self.theirs}\n"
            f"  replay: python tests/support/fuzz_oracles.py --seed {self.seed} --query {self.number}"
        )


class Judge(Protocol):
    """Another way to the answer. ``answer`` raises Refused."""

    name: str

    def begin(self, world: World, ours: Ours) -> None: ...

    def knows(self, query: Query) -> bool: ...

    def answer(self, query: Query) -> Answer: ...


class Ours:
    """WeftDB, one session, with the world's history behind it. ``settings``: statements that come first."""

    def __init__(self, world: World, *, settings: Sequence[str] = ()) -> None:
        self._database = weftdb.open(threads=2 if world.seed % 4 == 0 else 1)  # the more threads the slower
        self.session = Session(self._database.engine)
        self.timezone = world.timezone
        self.versions: dict[int, int] = {}
        self._begun = False
        for setting in (f"SET timezone = '{world.timezone}'", *settings):
            self.session.execute(setting)
        for step in world.steps:
            if step.moment is not None:
                self.versions[step.moment] = self.session.version
            else:
                self.session.execute(step.sql + step.options)
            self._begun |= step.begins

    @property
    def catalog(self) -> Catalog:
        return self.session.read_now(lambda reader: reader.catalog)

    def text(self, sql: str) -> str:
        def reference(found: re.Match[str]) -> str:
            name, moment = found.groups()
            return name if moment is None else f"{name} AS OF VERSION {self.versions[int(moment)]}"

        return _REFERENCE.sub(reference, sql)

    def ask(self, sql: str, parameters: Sequence[object] = ()) -> Answer:
        if self._begun:
            self.session.execute("SAVEPOINT asked")
        try:
            return self._run(self.text(sql), parameters)
        except WeftError as error:
            if self._begun:
                self.session.execute("ROLLBACK TO asked")
            raise Refused(error.sqlstate, error.message) from error

    def answer(self, query: Query) -> Answer:
        if not query.changed:
            return self.ask(query.text)
        return _changed(self.session.execute, lambda sql: self.ask(sql), query, begun=self._begun)

    def _run(self, text: str, parameters: Sequence[object]) -> Answer:
        result = self.session.execute(text, parameters, timeout=_SECONDS_MAX)
        return Answer(result.rows(), tuple(type.kind for type in result.types))

    def close(self) -> None:
        self.session.close()
        self._database.close()


def _changed(execute: Callable[[str], Any], ask: Callable[[str], Answer], query: Query, *, begun: bool) -> Answer:
    """What a change returns, and its table afterwards; undone."""
    execute("SAVEPOINT changed" if begun else "BEGIN")
    try:
        returned = ask(query.sql)
        after = ask(f"SELECT * FROM {query.changed}")
    finally:
        execute("ROLLBACK TO changed" if begun else "ROLLBACK")
    rows = [*(("returned", *row) for row in returned.rows), *(("after", *row) for row in after.rows)]
    return Answer(rows, (*returned.kinds, *after.kinds))


class Plain:
    """DuckDB's own tables under the text that our binder and renderer make of the query."""

    name = "plain tables"

    def __init__(self) -> None:
        self._connection: Any = None
        self._ours: Ours | None = None
        self._callbacks: set[str] = set()

    def begin(self, world: World, ours: Ours) -> None:
        if self._connection is None:
            self._connection = duckdb.connect(":memory:", config={"threads": "1"})
            for statement in ("SET TimeZone = 'UTC'", "SET arrow_lossless_conversion = true", *DUCKDB_PRELUDE):
                self._connection.execute(statement)
        for statement in (
            "DROP SCHEMA IF EXISTS world CASCADE",
            "CREATE SCHEMA world",
            "SET search_path = 'world,main'",
        ):
            self._connection.execute(statement)
        self._ours = ours
        for step in world.steps:
            if step.moment is not None:
                for table in world.tables:
                    self._connection.execute(f"CREATE TABLE {_copy(table.name, step.moment)} AS FROM {table.name}")
            elif not step.ours and not step.begins:
                self._connection.execute(step.sql.replace(" JSONB", " VARCHAR"))

    def knows(self, query: Query) -> bool:
        return not query.changed

    def answer(self, query: Query) -> Answer:
        ours = self._ours
        assert ours is not None, "begin comes first"
        resources = ours.session.resources
        try:
            (source,) = resources.script(ours.text(query.text)).sources
            parsed = resources.parse(source)
            catalog = ours.catalog
            bound = bind_query(
                parsed.tree,
                catalog,
                settings=Settings(timezone=ours.timezone),
                pasts={clause: (number, catalog) for number, clause in enumerate(parsed.past)},
            )
            text = render(bound.query).fill({}, now=0)
        except WeftError as error:
            raise Refused(error.sqlstate, error.message) from error
        moments = {version: moment for moment, version in ours.versions.items()}
        past = [moments[int(clause.expression.name)] for clause in parsed.past]
        scans: dict[str, str] = {}
        for scan in walk(bound.query):
            if isinstance(scan, tree.Scan):
                name = scan.table.name if scan.past is None else _copy(scan.table.name, past[scan.past])
                names = ["rowid" if id == ROW_ID else scan.table.by_id[id].name for id in scan.sources]
                scans[scan_name(scan.reference)] = f"SELECT {', '.join(names) or '1'} FROM {name}"
        return self._run(_with(scans, text), bound)

    def _run(self, text: str, query: tree.BoundQuery) -> Answer:
        create_callbacks(self._connection, text, made=self._callbacks)
        try:
            batches = self._connection.sql(text).to_arrow_table().to_batches()
        except duckdb.Error as error:
            translated = translate_error(str(error))
            if translated is None:
                raise
            raise Refused(translated.sqlstate, translated.message) from error
        batches = [_conform(batch, query.schema) for batch in batches]
        result = Result(schema=query.schema, batches=batches, version=0, types=query.types)
        return Answer(result.rows(), tuple(type.kind for type in query.types))


def _with(scans: dict[str, str], text: str) -> str:
    """The text with these queries under these names."""
    named = ", ".join(f"{name} AS NOT MATERIALIZED ({query})" for name, query in scans.items())
    if not named:
        return text
    for begin in ("WITH RECURSIVE ", "WITH "):
        if text.startswith(begin):
            return f"{begin}{named}, {text.removeprefix(begin)}"
    return f"WITH {named} {text}"


class PostgresJudge:
    """A database of a server that runs; see bench/sqllogic_systems.py."""

    name = "PostgreSQL"

    def __init__(self, connection: Any) -> None:
        assert psycopg is not None
        self._connection = connection
        self._begun = False
        for name in ("json", "jsonb"):
            connection.adapters.register_loader(name, TextLoader)
        connection.adapters.register_loader("interval", _IntervalLoader)

    def begin(self, world: World, ours: Ours) -> None:
        execute = self._connection.execute
        execute("ROLLBACK")
        execute(f"DROP SCHEMA IF EXISTS public CASCADE; CREATE SCHEMA public; SET timezone = '{world.timezone}'")
        self._begun = False
        for step in world.steps:
            if step.moment is not None:
                for table in world.tables:
                    execute(f"CREATE TABLE {_copy(table.name, step.moment)} AS TABLE {table.name}")
            elif not step.ours:
                execute(step.sql)
            self._begun |= step.begins

    def knows(self, query: Query) -> bool:
        return True

    def answer(self, query: Query) -> Answer:
        if query.changed:
            return _changed(self._connection.execute, self._ask, query, begun=self._begun)
        return self._ask(query.slow or query.text)

    def _ask(self, sql: str) -> Answer:
        assert psycopg is not None
        if self._begun:
            self._connection.execute("SAVEPOINT asked")
        try:
            cursor = self._connection.execute(_REFERENCE.sub(_copied, sql))
            if cursor.description is None:
                return Answer([], ())
            return Answer(cursor.fetchall(), tuple(_KINDS[column.type_code] for column in cursor.description))
        except psycopg.Error as error:
            if self._begun:
                self._connection.execute("ROLLBACK TO asked")
            raise Refused(error.sqlstate or "", str(error)) from error


if psycopg is not None:

    class _IntervalLoader(Loader):
        """PostgreSQL's text of an interval as months, days and microseconds, which ``timedelta`` cannot tell."""

        def load(self, data: Any) -> MonthDayNano:
            text = bytes(data).decode()
            parts = Counter[str]()
            for number, unit in re.findall(r"(-?\d+) (year|mon|day)", text):
                parts[unit] += int(number)
            microseconds = 0
            if clock := re.search(r"(-?)(\d+):(\d\d):(\d\d)(?:\.(\d+))?", text):
                sign, hours, minutes, seconds, rest = clock.groups()
                microseconds = (int(hours) * 3600 + int(minutes) * 60 + int(seconds)) * 1_000_000
                microseconds = (microseconds + int((rest or "").ljust(6, "0"))) * (-1 if sign else 1)
            return MonthDayNano([parts["year"] * 12 + parts["mon"], parts["day"], microseconds * 1000])


_KINDS: Final = {
    16: Kind.BOOLEAN, 20: Kind.BIGINT, 21: Kind.SMALLINT, 23: Kind.INTEGER, 25: Kind.TEXT, 701: Kind.DOUBLE,
    1082: Kind.DATE, 1114: Kind.TIMESTAMP, 1184: Kind.TIMESTAMPTZ, 1700: Kind.NUMERIC, 1186: Kind.INTERVAL,
    1043: Kind.VARCHAR, 3802: Kind.JSONB, 1007: Kind.ARRAY, 1009: Kind.ARRAY,
}  # fmt: skip


def _copy(table: str, moment: int) -> str:
    return f"{table}_at_{moment}"


def _copied(found: re.Match[str]) -> str:
    name, moment = found.groups()
    return name if moment is None else _copy(name, int(moment))


def differences(
    seed: int,
    numbers: Sequence[int],
    judges: Sequence[Judge],
    *,
    everything: bool = False,
    settings: Sequence[str] = (),
    asked: Counter[str] | None = None,
) -> Iterator[Difference]:
    """What some oracle says otherwise about these queries of a world. ``everything``: all are asked about each."""
    world = World(seed)
    ours = Ours(world, settings=settings)
    asked = Counter() if asked is None else asked
    try:
        for judge in judges:
            judge.begin(world, ours)
        for number in numbers:
            lot = random.Random(f"oracles {seed} {number}")
            yield from _asked_about(seed, number, world.query(number), ours, judges, lot, everything, asked)
    finally:
        ours.close()


def _asked_about(
    seed: int,
    number: int,
    query: Query,
    ours: Ours,
    judges: Sequence[Judge],
    lot: random.Random,
    everything: bool,
    asked: Counter[str],
) -> Iterator[Difference]:
    def falls(share: str) -> bool:
        return lot.random() < _SHARES[share] or everything

    def difference(oracle: str, one: Answer | Refused, other: Answer | Refused) -> Iterator[Difference]:
        asked[oracle] += 1
        if not agree(one, other, query):
            shown_as = ours.text(query.text)
            yield Difference(seed, number, oracle, shown_as, shown(one, query, other), shown(other, query, one))

    found = _asked(ours.answer, query)
    asked["queries"] += 1
    asked["refused"] += isinstance(found, Refused)
    for place, judge in enumerate(judges):
        if (falls("judge") or place == 0) and judge.knows(query):
            yield from difference(judge.name, found, _asked(judge.answer, query))
    if query.slow:
        yield from difference("slowly", found, _asked(ours.ask, query.slow))
    if query.where and falls("TLP") and isinstance(found, Answer):
        yield from difference("TLP", *_partitions(ours, query, found))
    if query.where and falls("NoREC") and isinstance(found, Answer):
        counted = _asked(
            ours.ask, f"SELECT coalesce(sum(CASE WHEN {query.where} THEN 1 ELSE 0 END), 0) FROM {query.source}"
        )
        yield from difference("NoREC", Answer([(len(found.rows),)], (Kind.BIGINT,)), counted)
    if falls("again"):
        yield from difference("again", found, _asked(ours.answer, query))
    if falls("parameters") and not query.changed:
        values: dict[tuple[str, str], int] = {}
        text = _CONSTANT.sub(lambda each: _parameter(values, *each.groups()), query.text)
        parameters = [value[1:-1].replace("''", "'") if value[0] == "'" else value for value, _ in values]
        for _ in range(2):  # the second time its plan is kept
            yield from difference("parameters", found, _asked(lambda sql: ours.ask(sql, parameters), text))


def _parameter(values: dict[tuple[str, str], int], text: str, type: str) -> str:
    return f"CAST(${values.setdefault((text, type), len(values) + 1)} AS {type})"


def _asked(answer: Callable[[Any], Answer], query: Any) -> Answer | Refused:
    try:
        return answer(query)
    except Refused as error:
        return error
    except Exception as error:
        return Refused("crash", repr(error))


def agree(found: Answer | Refused, expected: Answer | Refused, query: Query) -> bool:
    """Whether two answers are one. Only a query that may fail may do so, and then one of two may be luckier.

    A change that several rules forbid may be refused for any of them.
    """
    refused = [each for each in (found, expected) if isinstance(each, Refused)]
    if refused:
        states = [each.sqlstate for each in refused]
        if query.may_fail and all(state.startswith(_DATA) for state in states):
            return True
        return bool(query.changed) and len(states) == 2 and all(state[:2] in _REASONS for state in states)
    assert isinstance(found, Answer)
    assert isinstance(expected, Answer)
    return found.kinds == expected.kinds and _plain(found, query) == _plain(expected, query)


def _plain(answer: Answer, query: Query) -> list[Any]:
    rows = [tuple(map(_value, row)) for row in answer.rows]
    return rows if query.ordered else sorted(rows, key=repr)


def _value(value: Any) -> Any:
    """Comparable: NaN equals NaN, 0.0 equals -0.0, 1.50 equals 1.5, but 1 is not 1.0."""
    if isinstance(value, float):
        return ("float", repr(value + 0.0))
    if isinstance(value, Decimal):
        return ("numeric", str(value.normalize() + 0))
    if isinstance(value, datetime) and value.tzinfo is not None:
        return ("moment", value.astimezone(UTC))
    if isinstance(value, list):
        return ("list", *map(_value, value))
    return (type(value).__name__, value)


def shown(answer: Answer | Refused, query: Query, other: Answer | Refused) -> str:
    """An answer in words, shortened to what the other one has not."""
    if isinstance(answer, Refused):
        return str(answer)
    text = f"{len(answer.rows)} rows of ({', '.join(kind.name for kind in answer.kinds)})"
    if isinstance(other, Answer) and len(answer.rows) > 6:
        theirs = Counter(map(repr, _plain(other, query)))
        return f"{text}, alone with {list((Counter(map(repr, _plain(answer, query))) - theirs).elements())[:4]}"
    return f"{text}: {answer.rows[:6]}"


def _partitions(ours: Ours, query: Query, passing: Answer) -> tuple[Answer | Refused, Answer | Refused]:
    """TLP: the rows of the three parts, and all rows."""
    others = [
        _asked(ours.ask, f"{query.sql} WHERE {part}") for part in (f"NOT ({query.where})", f"({query.where}) IS NULL")
    ]
    rows = list(passing.rows)
    for part in others:
        if isinstance(part, Refused):
            return part, passing
        rows += part.rows
    return Answer(rows, passing.kinds), _asked(ours.ask, query.sql)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Look for differences; replay one.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--query", type=int)
    parser.add_argument("--worlds", type=int, default=1)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--postgres", help="how to reach a server, such as: host=127.0.0.1 user=postgres")
    parser.add_argument("--set", action="append", default=[], help="a statement for WeftDB alone that comes first")
    parser.add_argument("--history", action="store_true", help="print the statements before the query")
    arguments = parser.parse_args(argv)
    judges: list[Judge] = [Plain()]
    if arguments.postgres:
        connection = psycopg.connect(arguments.postgres, autocommit=True, prepare_threshold=None)
        judges.insert(0, PostgresJudge(connection))
    found, asked, began = 0, Counter[str](), time.process_time()
    for seed in range(arguments.seed, arguments.seed + arguments.worlds):
        if arguments.history:
            print(*(f"{step.sql}{step.options};" for step in World(seed).steps if step.moment is None), sep="\n")
        one = arguments.query
        numbers = range(arguments.queries) if one is None else [one]
        for difference in differences(
            seed, numbers, judges, everything=one is not None, settings=arguments.set, asked=asked
        ):
            found += 1
            print(difference, flush=True)
        if arguments.worlds > 1:
            counts = ", ".join(f"{name} {count}" for name, count in asked.items())
            print(f"seed {seed}: {counts}; {time.process_time() - began:.0f} s", flush=True)
    print(f"{found} differences")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
