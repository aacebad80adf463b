"""Binding: types of parameters, what is pushed to the engine, pruning, views, expressions for the engine, zones."""

from __future__ import annotations

import dataclasses
import datetime as dt
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
import shop
from oracle_reader import OracleReader
from weftdb.base.errors import Invalid, LimitExceeded, Unavailable
from weftdb.base.types import (
    BIGINT,
    BOOLEAN,
    DOUBLE,
    INTEGER,
    SMALLINT,
    TEXT,
    TIMESTAMP,
    Type,
    array_of,
    numeric,
    varchar,
)
from weftdb.engine.expression.node import Call, Column, Literal
from weftdb.sql.bind import Settings, bind_expression, bind_query, type_of
from weftdb.sql.bound import BoundQuery
from weftdb.sql.duck import INTERRUPT_SECONDS, Interrupts
from weftdb.sql.parse import parse, pointing, split
from weftdb.sql.plan import Plan, Relational, plan
from weftdb.sql.relational import Cancel, DuckDbExecutor
from weftdb.sql.run import run_plan
from weftdb.sql.shown import Reason

NOW = 1_717_243_200_000_000  # 2024-06-01 12:00 UTC
CATALOG = shop.reader().catalog


@pytest.fixture(scope="module")
def executor() -> Iterator[DuckDbExecutor]:
    executor = DuckDbExecutor(threads=2)
    yield executor
    executor.close()


def bound(sql: str, **options: Any) -> BoundQuery:
    (source,) = split(sql)
    with pointing(source):
        return bind_query(parse(source), CATALOG, **options)


def planned(sql: str, **options: Any) -> Plan:
    return plan(bound(sql, **options))


def rows(
    sql: str, executor: DuckDbExecutor, *parameters: object, reader: OracleReader | None = None, **options: Any
) -> list[tuple[Any, ...]]:
    return run_plan(planned(sql, **options), reader or shop.reader(), parameters, executor=executor, now=NOW).rows()


# Parameters


@pytest.mark.parametrize(
    ("sql", "types"),
    [
        ("SELECT $1", [TEXT]),
        ("SELECT $1::int, $2::varchar(3)", [INTEGER, varchar()]),
        ("SELECT id FROM people WHERE id = $1", [INTEGER]),
        ("SELECT id FROM people WHERE age > $1", [SMALLINT]),
        ("SELECT id FROM orders WHERE at BETWEEN $1 AND $2", [TIMESTAMP, TIMESTAMP]),
        ("SELECT id FROM orders WHERE amount > $1", [numeric(38, 9)]),
        ("SELECT id FROM people WHERE name LIKE $1", [TEXT]),
        ("SELECT id FROM people WHERE id IN ($1, $2)", [INTEGER, INTEGER]),
        ("SELECT id FROM people WHERE id = ANY ($1)", [array_of(INTEGER)]),
        ("SELECT id FROM people WHERE (id, score) = ($1, $2)", [INTEGER, DOUBLE]),
        ("SELECT id FROM people LIMIT $1 OFFSET $2", [BIGINT, BIGINT]),
        ("SELECT id + $1 FROM people", [INTEGER]),
        ("SELECT $1 + 1.5", [numeric(38, 9)]),
        ("SELECT coalesce($1, 5)", [INTEGER]),
        ("SELECT CASE WHEN $1 THEN 1 ELSE $2 END", [BOOLEAN, INTEGER]),
        ("SELECT 1 UNION SELECT $1", [INTEGER]),
        ("VALUES (1), ($1)", [INTEGER]),
        ("SELECT $1 = $1", [TEXT]),
        ("SELECT $1 || 'x'", [TEXT]),
        ("SELECT * FROM (SELECT $1 AS a) q WHERE a = 'x'", [TEXT]),
        ("SELECT interval '1 day' * $1", [DOUBLE]),
    ],
)
def test_parameters_get_the_type_that_postgresql_infers(sql: str, types: list[Type]) -> None:
    assert list(bound(sql).parameters.values()) == types


def test_a_declared_type_stays() -> None:
    query = bound("SELECT $1 + 1, id FROM people WHERE id = $2", parameter_types={1: DOUBLE, 2: BIGINT})
    assert query.parameters == {1: DOUBLE, 2: BIGINT}
    assert query.columns[0][1] == DOUBLE


def test_parameters_are_values_never_text(executor: DuckDbExecutor) -> None:
    evil = "x' OR '1'='1"
    assert rows("SELECT $1::text, $2::int", executor, evil, 5) == [(evil, 5)]
    assert rows("SELECT name FROM people WHERE name = $1", executor, evil) == []
    assert rows("SELECT id FROM people WHERE id = ANY ($1) ORDER BY id", executor, [2, 3, None]) == [(2,), (3,)]
    assert rows("SELECT id FROM people WHERE id = ANY ($1)", executor, []) == []
    assert rows("SELECT count(*) FROM orders WHERE amount > $1", executor, "10.495") == [(3,)]
    assert rows("SELECT date_trunc($1, at) FROM orders WHERE id = $2", executor, "month", 1) == [
        (dt.datetime(2024, 1, 1),)
    ]
    assert rows("SELECT name FROM people ORDER BY id LIMIT $1", executor, None)[0] == ("Ada",)


def test_wrong_parameters_are_refused_by_number(executor: DuckDbExecutor) -> None:
    with pytest.raises(Invalid, match=r"needs 2 parameters, 1"):
        rows("SELECT $1::int + $2", executor, 1)
    with pytest.raises(Invalid, match=r"2 parameters were given, the statement has 1"):
        rows("SELECT $1::int", executor, 1, 2)
    with pytest.raises(Invalid, match=r'parameter \$1: invalid input syntax for type integer: "x"'):
        rows("SELECT id FROM people WHERE id = $1", executor, "x")
    with pytest.raises(Invalid) as caught:
        rows("SELECT id FROM people LIMIT $1", executor, -1)
    assert caught.value.sqlstate == "2201W"


def test_targets_give_their_types_to_what_has_none() -> None:
    query = bound("VALUES (1, 'x', $1), (2, NULL, $2)", targets=[BIGINT, varchar(3), numeric(10, 2)])
    assert [type for _, type in query.columns] == [INTEGER, varchar(3), numeric(10, 2)]
    assert list(query.parameters.values()) == [numeric(10, 2), numeric(10, 2)]
    assert [type for _, type in bound("SELECT id, 'x' FROM people", targets=[TEXT, TEXT]).columns] == [INTEGER, TEXT]


# What the engine is asked for


def asked(sql: str, executor: DuckDbExecutor, *parameters: object) -> list[tuple[str, list[str], str]]:
    """(table, columns, filter) of each scan, the filter as short text."""
    reader = shop.reader()
    rows(sql, executor, *parameters, reader=reader)
    tables = {table.name: table for table in reader.relations}
    return [
        (name, [tables[name].by_id[id].name for id in columns], short(filter))  # type: ignore[union-attr]
        for name, columns, filter in reader.asked
    ]


def short(node: Any) -> str:
    match node:
        case None:
            return ""
        case Call():
            return f"{node.function}({', '.join(short(argument) for argument in node.arguments)})"
        case Column():
            return node.name
        case Literal():
            return repr(node.value) if not isinstance(node.value, Decimal) else str(node.value)
        case _:
            return f"cast({short(node.argument)})"


@pytest.mark.parametrize(
    ("sql", "filter"),
    [
        ("id = 1", "equal(id, 1)"),
        ("1 = id", "equal(id, 1)"),
        ("5 > id", "less(id, 5)"),
        ("id = 1::bigint", "equal(id, 1)"),
        ("id = 10000000000", "equal(cast(id), 10000000000)"),
        ("age = 36", "equal(age, 36)"),
        ("age > 1.5", "greater(cast(age), 1.5)"),
        ("age = 36.0", "equal(age, 36)"),
        ("id IN (1, 2) AND name = 'Ada'", "and(in_list(id, 1, 2), equal(name, 'Ada'))"),
        ("id = ANY (ARRAY[1, 2])", ""),
        ("id = ANY ('{1,2}')", "in_list(id, 1, 2)"),
        ("id BETWEEN 1 + 1 AND 2 * 2", "and(greater_equal(id, 2), less_equal(id, 4))"),
        ("id = 1 OR city IS NULL", "or(equal(id, 1), is_null(city))"),
        ("id = 1 OR length(city) = 5", ""),
        ("id = 1 AND length(city) = 5", "equal(id, 1)"),
        ("id = age", ""),
        ("id <> 1", ""),
        ("score > random()", ""),
        ("id = (SELECT 1)", ""),
        ("id = 1 / 0", ""),
    ],
)
def test_simple_conditions_go_to_the_engine(sql: str, filter: str, executor: DuckDbExecutor) -> None:
    query = f"SELECT id FROM people WHERE {sql}"
    if "1 / 0" in sql:
        with pytest.raises(Invalid, match="division by zero"):
            asked(query, executor)
        return
    assert asked(query, executor)[0][2] == filter


@pytest.mark.parametrize(
    ("sql", "filters"),
    [
        ("people p JOIN orders o ON o.person_id = p.id AND o.paid AND o.id > 1 WHERE p.id = 2",
         ["equal(id, 2)", "and(greater(id, 1), equal(person_id, 2))"]),
        ("people p LEFT JOIN orders o ON o.person_id = p.id WHERE p.id = 2", ["equal(id, 2)", "equal(person_id, 2)"]),
        ("people p RIGHT JOIN orders o ON o.person_id = p.id WHERE p.id = 2", ["equal(id, 2)", ""]),
        ("people p RIGHT JOIN orders o ON o.person_id = p.id WHERE o.person_id = 2",
         ["equal(id, 2)", "equal(person_id, 2)"]),
        ("people p LEFT JOIN orders o ON o.person_id = p.id AND o.id > 1 AND p.id > 3",
         ["", "greater(id, 1)"]),
        ("people p LEFT JOIN orders o ON o.person_id = p.id WHERE o.id > 1", ["", "greater(id, 1)"]),
        ("people p LEFT JOIN orders o ON o.person_id = p.id WHERE o.id IS NULL AND p.id > 3",
         ["greater(id, 3)", "greater(person_id, 3)"]),
        ("people p RIGHT JOIN orders o ON o.person_id = p.id WHERE o.id > 3", ["", "greater(id, 3)"]),
        ("people p FULL JOIN orders o ON o.person_id = p.id AND p.id > 1", ["", ""]),
        ("(SELECT id + 0 AS x, id FROM people) q WHERE id = 1 AND x = 1", ["equal(id, 1)"]),
        ("(SELECT id FROM people LIMIT 3) q WHERE id = 1", [""]),
        ("(SELECT id, rank() OVER (ORDER BY id) AS r FROM people) q WHERE id = 1 AND r = 1", [""]),
        ("(SELECT id FROM people UNION ALL SELECT person_id FROM orders) q WHERE id = 1",
         ["equal(id, 1)", "equal(person_id, 1)"]),
        ("(SELECT person_id, count(*) AS n FROM orders GROUP BY 1) q WHERE person_id = 1 AND n > 1",
         ["equal(person_id, 1)"]),
    ],
)  # fmt: skip
def test_conditions_go_through_joins_and_subqueries(sql: str, filters: list[str], executor: DuckDbExecutor) -> None:
    assert [filter for _, _, filter in asked(f"SELECT count(*) FROM {sql}", executor)] == filters


def test_a_view_gets_the_conditions_of_its_reader(executor: DuckDbExecutor) -> None:
    (scan,) = asked("SELECT n FROM big_orders WHERE person_id = 1", executor)
    assert scan == ("orders", ["person_id", "amount"], "and(greater(amount, 10.00), equal(person_id, 1))")


def test_parameters_and_the_time_reach_the_engine_as_constants(executor: DuckDbExecutor) -> None:
    (scan,) = asked("SELECT id FROM orders WHERE id = $1 AND at < now()::timestamp - interval '1 day'", executor, 7)
    assert scan[2] == "and(equal(id, 7), less(at, datetime.datetime(2024, 5, 31, 12, 0)))"
    (scan,) = asked("SELECT id FROM people WHERE id = ANY ($1)", executor, [1, 2])
    assert scan[2] == "in_list(id, 1, 2)"


@pytest.mark.parametrize(
    ("sql", "columns"),
    [
        ("SELECT count(*) FROM people", ["age"]),
        ("SELECT name FROM people WHERE age > 3", ["name", "age"]),
        ("SELECT a FROM (SELECT *, id AS a FROM people) q", ["id"]),
        ("SELECT name FROM rich", ["id", "name", "person_id", "amount"]),
        ("SELECT 1 FROM (SELECT DISTINCT city, name FROM people) q", ["name", "city"]),
        ("WITH q AS (SELECT * FROM people) SELECT 1 FROM people WHERE name = 'x'", None),
        ("SELECT * FROM people", ["id", "name", "city", "age", "score"]),
    ],
)
def test_only_columns_that_are_used_are_read(sql: str, columns: list[str] | None, executor: DuckDbExecutor) -> None:
    scans = asked(sql, executor)
    if columns is not None:
        assert [column for _, names, _ in scans for column in names] == columns


@pytest.mark.parametrize(
    ("sql", "direct"),
    [
        ("SELECT name FROM people WHERE id = 3", True),
        ("SELECT * FROM kinds", True),
        ("SELECT name, name FROM people WHERE id > 1 AND (age > 40 OR city IS NULL) LIMIT 2", True),
        ("SELECT name FROM people WHERE id > 1 AND length(name) > 2", False),
        ("SELECT name FROM people WHERE id > 1 OR (id = 0 AND length(name) > 2)", False),
        ("SELECT upper(name) FROM people", False),
        ("SELECT name FROM people ORDER BY id", False),
        ("SELECT weft_row_id FROM loose", False),
    ],
)
def test_a_filtered_scan_skips_the_executor(sql: str, direct: bool, executor: DuckDbExecutor) -> None:
    query = planned(sql)
    assert isinstance(query.choice, Relational) != direct
    by_executor = dataclasses.replace(query, choice=Relational(reason=Reason(text="it is the oracle")))
    one, other = (run_plan(item, shop.reader(), executor=executor, now=NOW).arrow() for item in (query, by_executor))
    assert one.schema == other.schema
    assert sorted(map(str, one.to_pylist())) == sorted(map(str, other.to_pylist()))


def test_filters_never_change_an_answer(executor: DuckDbExecutor) -> None:
    """The same queries with an engine that ignores every filter."""
    for sql in (
        "SELECT p.id, o.id FROM people p LEFT JOIN orders o ON o.person_id = p.id AND o.amount > 6 ORDER BY 1, 2",
        "SELECT p.id, o.id FROM people p FULL JOIN orders o ON o.person_id = p.id AND p.id > 2 ORDER BY 1, 2",
        "SELECT p.id FROM people p LEFT JOIN orders o ON o.person_id = p.id WHERE o.id IS NULL OR o.id = 1 ORDER BY 1",
        "SELECT id FROM kinds WHERE n IN (2.5, -0.0001) OR d IS NULL ORDER BY id",
        "SELECT id FROM kinds WHERE s <= 0 AND tz > '1990-01-01' ORDER BY id",
    ):
        assert rows(sql, executor) == rows(sql, executor, reader=shop.reader(ignore_filters=True)), sql


# Results


def test_results_have_exactly_the_public_types(executor: DuckDbExecutor) -> None:
    result = run_plan(planned("SELECT *, id + 1.5 AS x FROM kinds"), shop.reader(), executor=executor, now=NOW)
    table = result.arrow()
    assert table.schema.types == [*shop.KINDS.arrow_schema.types, pa.decimal128(12, 1)]
    assert result.types[:-1] == tuple(column.type for column in shop.KINDS.columns)


def test_a_small_result_is_read_before_it_is_returned(executor: DuckDbExecutor) -> None:
    closed: list[bool] = []
    query = planned("SELECT id FROM people")
    result = run_plan(query, shop.reader(), executor=executor, now=NOW, on_close=lambda: closed.append(True))
    assert closed == [True]
    assert len(result.rows()) == 6


def test_a_large_result_streams_and_lets_go_when_closed(executor: DuckDbExecutor) -> None:
    closed: list[bool] = []
    query = planned("SELECT g, repeat('x', 100) FROM generate_series(1, 1000000) AS g")
    result = run_plan(query, shop.reader(), executor=executor, now=NOW, on_close=lambda: closed.append(True))
    reader = result.reader()
    assert reader.read_next_batch().num_rows > 0
    assert closed == []
    result.close()
    assert closed == [True]


def test_on_close_is_called_when_the_query_fails(executor: DuckDbExecutor) -> None:
    closed: list[bool] = []
    with pytest.raises(Invalid):
        run_plan(
            planned("SELECT 1/(id - 1) FROM people"),
            shop.reader(),
            executor=executor,
            now=NOW,
            on_close=lambda: closed.append(True),
        )
    assert closed == [True]


def test_a_cancel_is_repeated_until_the_statement_ends_and_never_after() -> None:
    class Forgetful:
        """As DuckDB does while it binds: an interrupt that comes too early is lost."""

        times = 0
        again = threading.Event()

        def interrupt(self) -> None:
            self.times += 1
            if self.times == 3:
                self.again.set()

    cursor, cancel = Forgetful(), Cancel()
    end = Interrupts(cursor).on(cancel)
    assert cursor.times == 0
    cancel.cancel()
    assert cursor.again.wait(10)
    end()
    times = cursor.times
    time.sleep(3 * INTERRUPT_SECONDS)
    assert cursor.times == times


def test_cancel_stops_a_running_query(executor: DuckDbExecutor) -> None:
    cancel = Cancel()
    query = planned("SELECT sum(a.g % 7 + b.g) FROM generate_series(1, 100000) a(g), generate_series(1, 1000000) b(g)")
    import threading

    timer = threading.Timer(0.2, cancel.cancel, kwargs={"reason": "canceling statement due to statement timeout"})
    timer.start()
    with pytest.raises(Unavailable, match="statement timeout") as caught:
        run_plan(query, shop.reader(), executor=executor, now=NOW, cancel=cancel)
    assert caught.value.sqlstate == "57014"
    with pytest.raises(Unavailable):
        run_plan(planned("SELECT 1"), shop.reader(), executor=executor, now=NOW, cancel=cancel)


def test_an_error_inside_a_scan_arrives_as_it_was_raised(executor: DuckDbExecutor) -> None:
    class Broken(OracleReader):
        def scan(self, *arguments: Any, **options: Any) -> Any:
            scan = super().scan(*arguments, **options)

            def batches() -> Iterator[pa.RecordBatch]:
                raise LimitExceeded("the disk is full")
                yield

            scan.batches = batches  # type: ignore[method-assign]
            return scan

    reader = Broken(relations=shop.RELATIONS, rows=shop.ROWS)
    with pytest.raises(LimitExceeded, match="the disk is full"):
        rows("SELECT id FROM people", executor, reader=reader)


def test_out_of_memory_is_a_limit_and_not_a_crash() -> None:
    executor = DuckDbExecutor(threads=1, memory_limit="30MB")
    try:
        with pytest.raises(LimitExceeded, match="memory"):
            rows("SELECT array_agg(g || repeat('x', 200)) FROM generate_series(1, 1000000) AS g", executor)
        assert rows("SELECT 1", executor) == [(1,)]
    finally:
        executor.close()


def test_the_executor_reaches_no_file(executor: DuckDbExecutor) -> None:
    with pytest.raises(Invalid):
        rows("SELECT * FROM read_csv('/etc/passwd')", executor)
    with pytest.raises(Exception, match="disabled by configuration"):
        list(executor.execute("SELECT * FROM read_text('/etc/passwd')", {}, shape=None))


def test_given_relations_come_before_the_catalog(executor: DuckDbExecutor) -> None:
    batch = pa.table({"id": pa.array([7], pa.int64()), "x y": ["z"]})
    query = planned(
        'SELECT p.id, "x y", q.table_name FROM people p, information_schema.tables q',
        relations={"people": batch.schema, "information_schema.tables": pa.schema([("table_name", pa.utf8())])},
    )
    tables = pa.table({"table_name": ["people"]})
    result = run_plan(
        query,
        shop.reader(),
        executor=executor,
        now=NOW,
        relations={"people": batch, "information_schema.tables": tables},
    )
    assert result.rows() == [(7, "z", "people")]


def test_the_row_id_of_a_table_without_primary_key_can_be_asked_for(executor: DuckDbExecutor) -> None:
    assert rows("SELECT weft_row_id, a FROM loose ORDER BY 1", executor) == [(0, 1), (1, 1), (2, None)]
    assert len(bound("SELECT * FROM loose").columns) == 2
    with pytest.raises(Invalid, match="weft_row_id"):
        bound("SELECT weft_row_id FROM people")


# Time zones


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("timestamptz '2024-07-01 00:00'", dt.datetime(2024, 6, 30, 22, tzinfo=dt.UTC)),
        ("timestamptz '2024-07-01 00:00Z'", dt.datetime(2024, 7, 1, tzinfo=dt.UTC)),
        ("timestamptz '2024-06-30 22:30Z'::date", dt.date(2024, 7, 1)),
        ("date '2024-07-01'::timestamptz", dt.datetime(2024, 6, 30, 22, tzinfo=dt.UTC)),
        ("extract(hour FROM timestamptz '2024-07-01 12:00Z')::int", 14),
        ("date_trunc('day', timestamptz '2024-07-01 23:30Z')", dt.datetime(2024, 7, 1, 22, tzinfo=dt.UTC)),
        ("timestamptz '2024-10-26 22:30Z' + interval '1 day'", dt.datetime(2024, 10, 27, 23, 30, tzinfo=dt.UTC)),
        ("timestamptz '2024-10-26 22:30Z' + interval '24 hours'", dt.datetime(2024, 10, 27, 22, 30, tzinfo=dt.UTC)),
        ("timestamp '2024-07-01' = timestamptz '2024-06-30 22:00Z'", True),
        ("localtimestamp", dt.datetime(2024, 6, 1, 14)),
    ],
)
def test_moments_are_seen_in_the_zone_of_the_session(sql: str, expected: object, executor: DuckDbExecutor) -> None:
    assert rows(f"SELECT {sql}", executor, settings=Settings(timezone="Europe/Berlin")) == [(expected,)]


def test_what_a_zone_makes_hard_is_refused() -> None:
    for sql in ("to_timestamp('2024', 'YYYY')",):
        with pytest.raises(Invalid) as caught:
            bound(f"SELECT {sql}", settings=Settings(timezone="Europe/Berlin"))
        assert caught.value.sqlstate == "0A000"


# Expressions for the engine


def test_an_expression_speaks_of_columns_by_identifier() -> None:
    node = bind_expression("age > 18 AND people.city IS NOT NULL", shop.PEOPLE, type=BOOLEAN)
    assert short(node) == "and(greater(cast(age), 18), is_not_null(city))"
    assert bind_expression("'5'", None, type=numeric(10, 2)) == Literal(value=Decimal("5.00"), type=numeric(10, 2))
    assert bind_expression("1", None, type=BIGINT) == Literal(value=1, type=BIGINT)
    assert short(bind_expression("now()", None)) == "now()"


@pytest.mark.parametrize(
    ("text", "sqlstate"),
    [
        ("nosuch > 1", "42703"),
        ("count(*) > 1", "42803"),
        ("(SELECT 1) = 1", "0A000"),
        ("row_number() OVER () = 1", "42P20"),
        ("age", "42804"),
        ("age >", "42601"),
        ("ARRAY(SELECT 1) = ARRAY[1]", "0A000"),
    ],
)
def test_what_the_engine_cannot_evaluate_is_refused(text: str, sqlstate: str) -> None:
    with pytest.raises(Invalid) as caught:
        bind_expression(text, shop.PEOPLE, type=BOOLEAN)
    assert caught.value.sqlstate == sqlstate


# Refusals


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("SELECT id FROM people FOR UPDATE", "FOR UPDATE"),
        ("SELECT id FROM people TABLESAMPLE BERNOULLI (10) REPEATABLE (1)", "SEED"),
        ("SELECT unnest(ARRAY[generate_series(1, 3)])", "set-returning function"),
        ("SELECT (ROW(1, 2)).f1 FROM people", "composite"),
        ("SELECT (1, 2)", "row"),
        ("SELECT 'x' COLLATE \"de_DE\"", "collation"),
        ("SELECT id FROM people ORDER BY id FETCH FIRST 3 PERCENT ROWS ONLY", "PERCENT"),
        ("SELECT lag(id) IGNORE NULLS OVER (ORDER BY id) FROM people", "IGNORE NULLS"),
        ("SELECT count(DISTINCT id) OVER () FROM people", "DISTINCT"),
        ("SELECT 'x'::char(3)", "char"),
        ("SELECT ARRAY[[1, 2], [3, 4]]", "several dimensions"),
        ("WITH RECURSIVE t(n) AS (SELECT 1 UNION SELECT n FROM t) CYCLE n SET c USING p SELECT n FROM t", "CYCLE"),
        ("WITH RECURSIVE t(n) AS (SELECT 1 UNION SELECT n FROM t) SEARCH DEPTH FIRST BY n SET o SELECT 1", "SEARCH"),
        ("WITH x AS (DELETE FROM people RETURNING id) SELECT * FROM x", "DELETE"),
        ("SELECT * FROM ROWS FROM (generate_series(1, 2)) AS t", "ROWS FROM"),
    ],
)
def test_what_is_not_supported_is_refused_by_name(sql: str, what: str) -> None:
    with pytest.raises(Invalid) as caught:
        bound(sql)
    assert caught.value.sqlstate == "0A000"
    assert what.lower() in caught.value.message.lower()


def test_errors_name_the_nearest() -> None:
    for sql, hint in (
        ("SELECT nmae FROM people", '"name"'),
        ("SELECT p.ctiy FROM people p", '"city"'),
        ("SELECT * FROM poeple", '"people"'),
        ("SELECT peopl.id FROM people", '"people"'),
        ("SELECT uper('x')", '"upper"'),
        ("SELECT id FROM people JOIN orders USING (pid)", "id"),
    ):
        with pytest.raises(Invalid) as caught:
            bound(sql)
        assert hint in (caught.value.hint or ""), sql


def test_names_of_types() -> None:
    tree = parse("SELECT x::int4, x::character varying(7), x::numeric(5), x::double precision[], x::float(10)")
    casts = [type_of(item.args["to"]) for item in tree.args["expressions"]]
    assert [str(type) for type in casts] == [
        "integer", "character varying(7)", "numeric(5,0)", "double precision[]", "real",
    ]  # fmt: skip
