"""Random queries (fuzz.py) against what knows their answers.

    PostgreSQL    the same statements and queries, where it is installed: binder, types, functions, everything
    plain tables  DuckDB on tables of its own that the same statements filled: what versions, segments, filters that are
                  pushed, pruning, rules and choices of the planner make of the text that our binder and renderer wrote
    TLP           rows where p, where not p and where p is unknown are all rows
    NoREC         rows that pass a condition are as many as those for which it is computed to be true

Replay what a run printed, or look for more:

    python tests/support/fuzz_oracles.py --seed 17 --query 23
    python tests/support/fuzz_oracles.py --seed 1 --worlds 100 --queries 50
"""

from __future__ import annotations

import argparse
import re
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Protocol

import duckdb
import weftdb
from fuzz import Query, World
from weftdb.base.errors import WeftError
from weftdb.base.result import Result
from weftdb.base.types import Kind
from weftdb.bench.sqllogic_systems import Refused
from weftdb.engine.catalog import Catalog
from weftdb.engine.expression.functions import DUCKDB_PRELUDE, translate_error
from weftdb.engine.schema import ROW_ID
from weftdb.sql import bound as tree
from weftdb.sql.bind import Settings, bind_query
from weftdb.sql.parse import parse, split
from weftdb.sql.render import render, scan_name
from weftdb.sql.resources import past_of
from weftdb.sql.run import _conform
from weftdb.sql.session import Session
from weftdb.sql.walk import walk

try:
    import psycopg
except ImportError:
    psycopg = None

_REFERENCE: Final = re.compile(r"\{(\w+)(?:@(\d+))?\}")
_DATA: Final = "22"
"""The class of SQLSTATE of what values cause: overflow, division by zero."""


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
    """Another way to the answer. Both raise Refused."""

    name: str

    def begin(self, world: World, ours: Ours) -> None: ...

    def answer(self, query: Query) -> Answer: ...


class Ours:
    """WeftDB, one session, with the world's history behind it."""

    def __init__(self, world: World) -> None:
        self._database = weftdb.open()
        self.session = Session(self._database.engine)
        self.versions: dict[int, int] = {}
        self._begun = False
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

    def ask(self, sql: str) -> Answer:
        if self._begun:
            self.session.execute("SAVEPOINT asked")
        try:
            result = self.session.execute(self.text(sql), timeout=60)
            return Answer(result.rows(), tuple(type.kind for type in result.types))
        except WeftError as error:
            if self._begun:
                self.session.execute("ROLLBACK TO asked")
            raise Refused(error.sqlstate, error.message) from error

    def answer(self, query: Query) -> Answer:
        return self.ask(query.sql + (f" WHERE {query.where}" if query.where else ""))

    def close(self) -> None:
        self.session.close()
        self._database.close()


class Plain:
    """DuckDB's own tables under the text that our binder and renderer make of the query."""

    name = "plain tables"

    def __init__(self) -> None:
        self._connection: Any = None
        self._ours: Ours | None = None

    def begin(self, world: World, ours: Ours) -> None:
        self.close()
        self._connection = duckdb.connect(":memory:", config={"threads": "1"})
        for statement in ("SET TimeZone = 'UTC'", "SET arrow_lossless_conversion = true", *DUCKDB_PRELUDE):
            self._connection.execute(statement)
        self._ours = ours
        for step in world.steps:
            if step.moment is not None:
                for table in world.tables:
                    self._connection.execute(f"CREATE TABLE {_copy(table.name, step.moment)} AS FROM {table.name}")
            elif not step.ours and not step.begins:
                self._connection.execute(step.sql)

    def answer(self, query: Query) -> Answer:
        assert self._ours is not None, "begin comes first"
        sql = query.sql + (f" WHERE {query.where}" if query.where else "")
        (source,) = split(self._ours.text(sql))
        syntax = parse(source)
        catalog = self._ours.catalog
        moments = {version: moment for moment, version in self._ours.versions.items()}
        clauses = past_of(syntax, source)
        try:
            query_bound = bind_query(
                syntax,
                catalog,
                settings=Settings(),
                pasts={clause: (number, catalog) for number, clause in enumerate(clauses)},
            )
            text = render(query_bound.query).fill({}, now=0)
        except WeftError as error:
            raise Refused(error.sqlstate, error.message) from error
        past = [moments[int(clause.expression.name)] for clause in clauses]
        for scan in walk(query_bound.query):
            if isinstance(scan, tree.Scan):
                name = scan.table.name if scan.past is None else _copy(scan.table.name, past[scan.past])
                names = ["rowid" if id == ROW_ID else scan.table.by_id[id].name for id in scan.sources]
                view = f"CREATE OR REPLACE TEMP VIEW {scan_name(scan.reference)}"
                self._connection.execute(f"{view} AS SELECT {', '.join(names)} FROM {name}")
        return self._run(text, query_bound)

    def _run(self, text: str, query: tree.BoundQuery) -> Answer:
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

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()


class PostgresJudge:
    """A database of a server that runs; see bench/sqllogic_systems.py."""

    name = "PostgreSQL"

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._begun = False

    def begin(self, world: World, ours: Ours) -> None:
        self._connection.execute("ROLLBACK")
        self._connection.execute("DROP SCHEMA public CASCADE")
        self._connection.execute("CREATE SCHEMA public")
        self._begun = False
        for step in world.steps:
            if step.moment is not None:
                for table in world.tables:
                    self._connection.execute(f"CREATE TABLE {_copy(table.name, step.moment)} AS TABLE {table.name}")
            elif not step.ours:
                self._connection.execute(step.sql)
            self._begun |= step.begins

    def answer(self, query: Query) -> Answer:
        assert psycopg is not None
        sql = query.sql + (f" WHERE {query.where}" if query.where else "")
        if self._begun:
            self._connection.execute("SAVEPOINT asked")
        try:
            cursor = self._connection.execute(_REFERENCE.sub(_copied, sql))
            return Answer(cursor.fetchall(), tuple(_KINDS[column.type_code] for column in cursor.description))
        except psycopg.Error as error:
            if self._begun:
                self._connection.execute("ROLLBACK TO asked")
            raise Refused(error.sqlstate or "", str(error)) from error


_KINDS: Final = {
    16: Kind.BOOLEAN, 20: Kind.BIGINT, 21: Kind.SMALLINT, 23: Kind.INTEGER, 25: Kind.TEXT, 701: Kind.DOUBLE,
    1082: Kind.DATE, 1114: Kind.TIMESTAMP, 1700: Kind.NUMERIC, 1186: Kind.INTERVAL, 1043: Kind.VARCHAR,
}  # fmt: skip


def _copy(table: str, moment: int) -> str:
    return f"{table}_at_{moment}"


def _copied(found: re.Match[str]) -> str:
    name, moment = found.groups()
    return name if moment is None else _copy(name, int(moment))


def differences(
    seed: int, numbers: Sequence[int], judges: Sequence[Judge], *, partitions: bool = True
) -> Iterator[Difference]:
    """What some oracle says otherwise about these queries of a world. ``partitions``: TLP and NoREC are asked, too."""
    world = World(seed)
    ours = Ours(world)
    try:
        for judge in judges:
            judge.begin(world, ours)
        for number in numbers:
            query = world.query(number)
            found = _asked(ours.answer, query)
            for judge in judges:
                expected = _asked(judge.answer, query)
                if not agree(found, expected, query):
                    yield _difference(seed, number, judge.name, ours, query, found, expected)
            if query.where and partitions:
                yield from _partitions(seed, number, ours, query, found)
    finally:
        ours.close()


def _asked(answer: Any, query: Any) -> Answer | Refused:
    try:
        return answer(query)
    except Refused as error:
        return error


def _difference(
    seed: int, number: int, oracle: str, ours: Ours, query: Query, found: Answer | Refused, expected: Answer | Refused
) -> Difference:
    sql = ours.text(query.sql + (f" WHERE {query.where}" if query.where else ""))
    return Difference(seed, number, oracle, sql, shown(found, query, expected), shown(expected, query, found))


def agree(found: Answer | Refused, expected: Answer | Refused, query: Query) -> bool:
    """Whether two answers are one. Only a query that may fail may do so, and then one of two may be luckier."""
    refused = [each for each in (found, expected) if isinstance(each, Refused)]
    if refused:
        return query.may_fail and all(each.sqlstate.startswith(_DATA) for each in refused)
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


def _partitions(seed: int, number: int, ours: Ours, query: Query, passing: Answer | Refused) -> Iterator[Difference]:
    """TLP and NoREC."""
    if isinstance(passing, Refused):
        return
    try:
        whole = ours.ask(query.sql)
        parts = [ours.ask(f"{query.sql} WHERE {part}") for part in (f"NOT ({query.where})", f"({query.where}) IS NULL")]
        counted = ours.ask(f"SELECT coalesce(sum(CASE WHEN {query.where} THEN 1 ELSE 0 END), 0) FROM {query.source}")
    except Refused as error:
        if not query.may_fail:
            yield _difference(seed, number, "TLP", ours, query, error, passing)
        return
    together = Answer([*passing.rows, *parts[0].rows, *parts[1].rows], passing.kinds)
    if not agree(together, whole, query):
        yield _difference(seed, number, "TLP", ours, query, together, whole)
    if counted.rows != [(len(passing.rows),)]:
        yield _difference(seed, number, "NoREC", ours, query, passing, counted)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Look for differences; replay one.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--query", type=int)
    parser.add_argument("--worlds", type=int, default=1)
    parser.add_argument("--queries", type=int, default=50)
    parser.add_argument("--postgres", help="how to reach a server, such as: host=127.0.0.1 user=postgres")
    parser.add_argument("--history", action="store_true", help="print the statements before the query")
    arguments = parser.parse_args(argv)
    judges: list[Judge] = [Plain()]
    if arguments.postgres:
        judges.append(PostgresJudge(psycopg.connect(arguments.postgres, autocommit=True, prepare_threshold=None)))
    count = 0
    for seed in range(arguments.seed, arguments.seed + arguments.worlds):
        if arguments.history:
            print(*(f"{step.sql}{step.options};" for step in World(seed).steps if step.moment is None), sep="\n")
        numbers = [arguments.query] if arguments.query is not None else range(arguments.queries)
        for difference in differences(seed, numbers, judges):
            count += 1
            print(difference, flush=True)
    print(f"{count} differences")
    return 1 if count else 0


if __name__ == "__main__":
    sys.exit(main())
