"""Fixtures of the planner: queries with what each rule makes of them, and with what is chosen and why.

    SELECT name FROM people WHERE age > 3;
    -- before people(id, name, city, age, score)
    -- after  people(name, age)

tests/rules/<rule>.txt has what the rule of that name makes of a query after the rules before it: what each table
reference asks, and the text of the query where it changed. tests/rules/choose.txt has the choice. They are written by

    python tests/support/rule_fixtures.py

which keeps the queries and makes the rest anew: read the difference before it is committed.
"""

from __future__ import annotations

from pathlib import Path

import golden
import pyarrow as pa
import shop
from oracle_reader import OracleReader
from weftdb.base.types import TIMESTAMP
from weftdb.engine.catalog import Catalog
from weftdb.engine.schema import Column, Table, View
from weftdb.sql.bind import bind_query
from weftdb.sql.bound import BoundQuery
from weftdb.sql.maintained import maintained_of
from weftdb.sql.parse import parse, pointing, split
from weftdb.sql.plan import plan
from weftdb.sql.render import render
from weftdb.sql.rules import RULES, Rule
from weftdb.sql.shown import expression_text

FOLDER = Path(__file__).parents[1] / "rules"

EVENTS = Table(
    id=20,
    name="events",
    columns=(
        Column(id=1, name="customer", type=shop.BIGINT, nullable=False),
        Column(id=2, name="at", type=TIMESTAMP, nullable=False),
        Column(id=3, name="n", type=shop.INTEGER, nullable=False),
        Column(id=4, name="what", type=shop.TEXT, nullable=True),
    ),
    primary_key=(1, 2, 3),
    key=(1,),
    time=2,
    every=86_400_000_000,
    next_column_id=5,
)
TABLES = Catalog(version=1, relations={relation.name: relation for relation in [*shop.RELATIONS, EVENTS]})


def spend() -> View:
    """A materialized view that is maintained."""
    query = "SELECT customer, what, count(*) AS n, sum(n) + 1 AS total FROM events GROUP BY 1, 2"
    (source,) = split(query)
    bound = bind_query(parse(source), TABLES)
    maintained, _ = maintained_of(bound.query, new_id=iter(range(31, 99)).__next__)
    return View(
        id=30,
        name="spend",
        query=query,
        columns=bound.columns,
        materialized=True,
        maintained=maintained,
        depends_on=bound.depends_on,
    )


CATALOG = Catalog(version=1, relations={**TABLES.relations, "spend": spend()})


def reader() -> OracleReader:
    """Of the shop's tables, and of some groups of ``spend``: customer, what, how many, the sum in two words."""
    found, groups = shop.reader(), CATALOG.stored[31]
    rows = [(7, "buy", 9, 12, 0), (7, None, 2, -5, -1), (3, "look", 6, 2, 0), (None, "buy", 1, 0, 0)]
    found.put(
        groups, pa.RecordBatch.from_pylist([dict(zip("12345", row, strict=True)) for row in rows], groups.arrow_schema)
    )
    return found


def bound(sql: str) -> BoundQuery:
    (source,) = split(sql)
    with pointing(source):
        return bind_query(parse(source), CATALOG)


def rule_lines(rule: Rule, sql: str) -> list[str]:
    """What ``rule`` makes of a query, after the rules before it."""
    before = bound(sql)
    for earlier in RULES[: RULES.index(rule)]:
        before = earlier.rewrite(before)
    after = rule.rewrite(before)
    if after is before:
        return ["does not fire"]
    one, other = render(before.query).shown(), render(after.query).shown()
    lines = [f"before {line}" for line in [*_uses(before), *([one] if one != other else [])]]
    return lines + [f"after  {line}" for line in [*_uses(after), *([other] if one != other else [])]]


def choice_lines(sql: str) -> list[str]:
    """The choice for a query, and its reasons."""
    return [line for line in plan(bound(sql)).explain() if not line.startswith("Rule ")]


def lines_of(name: str, sql: str) -> list[str]:
    """What the fixture called ``name`` has for a query."""
    return choice_lines(sql) if name == "choose" else rule_lines({rule.name: rule for rule in RULES}[name], sql)


def _uses(query: BoundQuery) -> list[str]:
    aliases = {use.reference: use.alias for use in query.uses}
    return [
        f"{use.alias}({', '.join(use.table.by_id[id].name for id in use.columns)})"
        + ("" if use.filter is None else f" WHERE {expression_text(use.filter)}")
        + "".join(f" EXPECTS {use.table.by_id[one.column].name} OF {aliases[one.reference]}" for one in use.partners)
        for use in query.uses
    ]


def names() -> list[str]:
    return [*(rule.name for rule in RULES), "choose"]


def write() -> None:
    for name in names():
        path = FOLDER / f"{name}.txt"
        cases = [
            f"{case.sql};\n" + "".join(f"-- {line}\n" for line in lines_of(name, case.sql))
            for case in golden.read(path)
        ]
        path.write_text("\n".join(cases))


if __name__ == "__main__":
    write()
