"""The planner: what each rule does, what is chosen and why, that neither changes an answer, and what EXPLAIN says."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from typing import Any

import golden
import pyarrow as pa
import pytest
import rule_fixtures
import weftdb
from weftdb.base.types import BIGINT, BOOLEAN, DOUBLE, INTEGER
from weftdb.engine.expression.node import Call, Column, Literal
from weftdb.sql import rules
from weftdb.sql.bound import BoundQuery
from weftdb.sql.embedded import EmbeddedDatabase
from weftdb.sql.plan import Plan, Relational, plan
from weftdb.sql.relational import DuckDbExecutor
from weftdb.sql.rules import RULES, Rule
from weftdb.sql.run import run_plan
from weftdb.sql.shown import Reason
from weftdb.sql.verify import difference

NOW = 1_717_243_200_000_000  # 2024-06-01 12:00 UTC
CASES = [(name, case) for name in rule_fixtures.names() for case in golden.read(rule_fixtures.FOLDER / f"{name}.txt")]
IDS = [f"{name}:{case.line}" for name, case in CASES]


@pytest.fixture(scope="module")
def executor() -> Iterator[DuckDbExecutor]:
    executor = DuckDbExecutor(threads=2)
    yield executor
    executor.close()


@pytest.mark.parametrize(("name", "case"), CASES, ids=IDS)
def test_the_planner_does_what_its_fixtures_say(name: str, case: golden.Case) -> None:
    assert rule_fixtures.lines_of(name, case.sql) == case.expected


def test_every_rule_has_a_fixture_and_does_nothing_a_second_time() -> None:
    assert {path.stem for path in rule_fixtures.FOLDER.glob("*.txt")} == {*(rule.name for rule in RULES), "choose"}
    for _, case in CASES:
        query = rule_fixtures.bound(case.sql)
        for rule in RULES:
            query = rule.rewrite(query)
        for rule in RULES:
            again = rule.rewrite(query)
            assert (again.query, again.uses) == (query.query, query.uses), f"{rule.name}: {case.sql}"


def test_neither_rules_nor_choice_change_an_answer(executor: DuckDbExecutor) -> None:
    oracle = Relational(reason=Reason(text="it is the oracle"))
    for _, case in CASES:
        if "events" in case.sql or "LIMIT" in case.sql or "OFFSET" in case.sql:
            continue
        query = rule_fixtures.bound(case.sql)
        parameters = [3] * max(query.parameters, default=0)
        plain = Plan(bound=query, fired=(), choice=oracle, declined=())
        for other in (plan(query), dataclasses.replace(plan(query), choice=oracle)):
            one, two = (
                sorted(map(repr, run_plan(item, rule_fixtures.reader(), parameters, executor=executor, now=NOW).rows()))
                for item in (plain, other)
            )
            assert one == two, case.sql


# EXPLAIN


@pytest.fixture(scope="module")
def db() -> Iterator[EmbeddedDatabase]:
    with weftdb.open() as db:
        db.execute("""
            CREATE TABLE e (k BIGINT, at TIMESTAMP, v INT, w TEXT, PRIMARY KEY (k, at))
            WITH (key = 'k', time = 'at', every = '1 day', shards = 4)
        """)
        db.execute(
            "INSERT INTO e SELECT x % 100, TIMESTAMP '2024-01-01' + x * INTERVAL '1 minute', x, 'w' "
            "FROM generate_series(1, 10000) AS g(x)"
        )
        db.engine.flush()
        yield db


def lines(db: EmbeddedDatabase, sql: str, *parameters: object) -> list[str]:
    return [line for (line,) in db.execute(sql, parameters).rows()]


def document(db: EmbeddedDatabase, sql: str, *parameters: object) -> dict[str, Any]:
    (found,) = json.loads(db.execute(sql, parameters).scalar())
    return found


def test_explain_says_what_rules_did_what_was_chosen_and_why(db: EmbeddedDatabase) -> None:
    assert lines(db, "EXPLAIN SELECT w FROM e WHERE k = $1", 7) == [
        "Rule prune_columns: e: 2 of 4 columns",
        "Rule push_filters: e: k = $1::bigint",
        "Choice: Key and Time Read, since the condition gives the key: k = $1::bigint",
        "  not Primary Key Get: no condition at = constant",
        "Key and Time Read on e  (7 of 28 cells, 7 of 7 segments, 7 of 7 blocks, about 100, at most 100 rows)",
        "  Columns: k, w",
        "  Filter: k = 7",
    ]


def test_explain_shows_the_executors_operators_with_the_names_of_the_query(db: EmbeddedDatabase) -> None:
    text = lines(db, "EXPLAIN SELECT a.w, count(*) AS n FROM e a JOIN e b ON a.k = b.k WHERE a.v > 3 GROUP BY a.w")
    assert "Choice: Relational Executor, since FROM is not one table" in text
    at = text.index("Relational Executor (DuckDB):")
    operators = [line.strip() for line in text[at + 1 :]]
    assert any(line.startswith("Hash Join  (about ") for line in operators)
    assert "Conditions: k = k" in operators
    assert not any("gave" in line for line in operators)


def test_explain_of_a_system_relation_shows_its_plan(db: EmbeddedDatabase) -> None:
    assert any(
        line.strip().startswith("Filter") for line in lines(db, "EXPLAIN SELECT * FROM weft_tables WHERE rows > 1")
    )


def test_explain_analyze_measures_every_step(db: EmbeddedDatabase) -> None:
    text = lines(db, "EXPLAIN ANALYZE SELECT sum(v) FROM e WHERE v > 9000")
    (read,) = (line for line in text if line.startswith("  Read e: "))
    assert read.startswith("  Read e: gave 1,000 of ")
    assert " bytes, " in read
    assert any("gave 1 rows" in line for line in text)
    planning, execution = text[-2:]
    assert planning.startswith("Planning time: ")
    assert all(f"{step} " in planning for step in ("parse", "bind", "rules", "choose"))
    assert execution.startswith("Execution time: ")
    assert execution.endswith(", rows: 1")


def test_explain_as_json_has_postgresqls_names_and_ours(db: EmbeddedDatabase) -> None:
    found = document(db, "EXPLAIN (ANALYZE, FORMAT JSON) SELECT w FROM e WHERE k = 7 AND at < '2024-01-03'")
    assert found["Choice"] == "Key and Time Read"
    assert [rule["Rule"] for rule in found["Rules"]] == ["prune_columns", "push_filters"]
    root = found["Plan"]
    assert (root["Node Type"], root["Relation Name"], root["Actual Rows"]) == ("Key and Time Read", "e", 29)
    assert root["Bytes"] > 0
    assert root["Actual Total Time"] > 0
    assert root["Cells Left Out"] > 0
    assert found["Planning Time"] > 0
    assert found["Execution Time"] > 0

    found = document(db, "EXPLAIN (ANALYZE, FORMAT JSON) SELECT k, min(w), sum(v::float8) FROM e GROUP BY k")
    assert found["Plan"]["Actual Rows"] == 100
    assert found["Plan"]["Plans"][0]["Actual Total Time"] >= 0
    assert [table["Bytes"] > 0 for table in found["Tables"]] == [True]

    found = document(db, "EXPLAIN (FORMAT JSON) UPDATE e SET v = v + 1 WHERE k = 7")
    assert (found["Plan"]["Node Type"], found["Plan"]["Operation"]) == ("ModifyTable", "Update")
    assert found["Plan"]["Notes"] == ["Deltas: v = v + 1"]
    assert "Execution Time" not in found


def test_explain_without_values_of_parameters_shows_what_does_not_depend_on_them(db: EmbeddedDatabase) -> None:
    text = lines(db, "EXPLAIN SELECT count(*) FROM e WHERE k = $1")
    assert "  Filter: k = $1" in text
    assert not any("DuckDB" in line for line in text)
    with pytest.raises(weftdb.Invalid, match="parameters"):
        db.execute("EXPLAIN ANALYZE SELECT count(*) FROM e WHERE k = $1")


@pytest.mark.parametrize(
    ("options", "state"), [("(FORMAT XML)", "0A000"), ("(NONSENSE)", "42601"), ("(ANALYZE, FORMAT YAML)", "0A000")]
)
def test_explain_refuses_what_it_does_not_know(db: EmbeddedDatabase, options: str, state: str) -> None:
    with pytest.raises(weftdb.Invalid) as caught:
        db.execute(f"EXPLAIN {options} SELECT 1")
    assert caught.value.sqlstate == state


@pytest.mark.parametrize("query", ["(SELECT k FROM e) UNION ALL (SELECT 1)", "((SELECT k FROM e))", "(VALUES (1))"])
@pytest.mark.parametrize("how", ["", "ANALYZE", "VERIFY", "(COSTS off)"])
def test_explain_of_a_query_in_parentheses(db: EmbeddedDatabase, how: str, query: str) -> None:
    assert any(line.startswith("Choice: ") for line in lines(db, f"EXPLAIN {how} {query}"))


# EXPLAIN VERIFY


VERIFIED = (
    "SELECT w FROM e WHERE k = 7",
    "SELECT v FROM e WHERE k = 7 AND at = TIMESTAMP '2024-01-01 00:07'",
    "SELECT k, count(*), sum(v), avg(v)::float8 FROM e WHERE v % 3 = 1 GROUP BY k",
    "SELECT a.k, b.v FROM e a LEFT JOIN e b ON a.k = b.k AND a.at = b.at AND b.v < 500 WHERE a.v < 900",
    "SELECT k FROM e WHERE v > 5 EXCEPT SELECT k FROM e WHERE v > 9990",
    "SELECT table_name, rows FROM weft_tables",
)


@pytest.mark.parametrize("sql", VERIFIED)
def test_verify_says_that_both_plans_agree(db: EmbeddedDatabase, sql: str) -> None:
    count = db.execute(sql).arrow().num_rows
    assert lines(db, f"EXPLAIN VERIFY {sql}")[-1].startswith(f"Verify: both plans give the same {count:,} rows (")
    found = document(db, f"EXPLAIN (VERIFY, FORMAT JSON) {sql}")["Verify"]
    assert (found["Agree"], found["Rows"], found["Rows Without Planner"]) == (True, count, count)


def test_verify_finds_a_rule_that_loses_rows(db: EmbeddedDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(query: BoundQuery) -> BoundQuery:
        use = query.uses[0]
        column = use.table.column("v")
        filter = Call(
            function="less",
            arguments=(Column(id=column.id, type=INTEGER, name="v"), Literal(value=9_000, type=INTEGER)),
            type=BOOLEAN,
        )
        return dataclasses.replace(query, uses=(dataclasses.replace(use, filter=filter),))

    rule = Rule(name="wrong", rewrite=wrong, effects=lambda before, after: ())
    monkeypatch.setattr(rules, "RULES", (*RULES, rule))
    text = lines(db, "EXPLAIN VERIFY SELECT k, count(*), min(w), sum(v::float8) FROM e GROUP BY k")
    (found,) = (line for line in text if line.startswith("Verify:"))
    assert "100 rows by this plan, 100 without a planner differ, WHICH IS A BUG" in found
    assert sum(line.startswith("  only ") for line in text) == 6
    text = lines(db, "EXPLAIN VERIFY SELECT sum(v), string_agg(w, ',') FROM e")
    assert any("differ, which the order of rows in string_agg allows" in line for line in text)


@pytest.mark.parametrize(
    "sql",
    ["SELECT random() FROM e", "UPDATE e SET v = 1", "SELECT * FROM e FOR UPDATE"],
)
def test_verify_refuses_what_cannot_be_compared(db: EmbeddedDatabase, sql: str) -> None:
    with pytest.raises(weftdb.Invalid) as caught:
        db.execute(f"EXPLAIN VERIFY {sql}")
    assert caught.value.sqlstate == "0A000"


def test_differences_are_those_of_bags_with_floats_that_may_be_near() -> None:
    types = (BIGINT, DOUBLE)

    def table(*rows: tuple[int | None, float | None]) -> pa.Table:
        numbers, floats = zip(*rows, strict=True)
        return pa.table({"a": pa.array(numbers, pa.int64()), "b": pa.array(floats, pa.float64())})

    base = table((1, 1.0), (1, 1.0), (2, math.nan), (None, 1e6))
    assert difference(base, table((None, 1e6), (2, math.nan), (1, 1.0), (1, 1.0 + 1e-12)), types) == ([], [])
    assert difference(base, table((1, 1.0), (2, math.nan), (None, 1e6)), types) == ([(1, 1.0)], [])
    added, missing = difference(base, table((1, 1.0), (1, 2.0), (2, None), (None, 1e6)), types)
    assert added[0] == (1, 1.0)
    assert repr(added[1]) == "(2, nan)"
    assert sorted(missing) == [(1, 2.0), (2, None)]


def test_a_join_of_ten_tables_is_planned(db: EmbeddedDatabase) -> None:
    """What it takes is measured by ``bench point``."""
    joins = " ".join(f"JOIN e e{n} ON e{n}.k = e{n - 1}.k AND e{n}.at = e{n - 1}.at" for n in range(1, 10))
    text = lines(db, f"EXPLAIN SELECT e0.w, count(*) FROM e e0 {joins} WHERE e3.v > 1 AND e5.w = 'w' GROUP BY e0.w")
    assert sum(line.startswith("Scan on e AS e") for line in text) == 10
