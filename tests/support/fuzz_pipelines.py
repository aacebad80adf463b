"""Random queries (fuzz.py) by pipelines and by the relational executor, at one snapshot: the same answers, or errors.

Kernels are run as plain Python, since every query has another shape. Besides the queries of fuzz.py there are those
that pipelines are for, one grouped table each.

    python tests/support/fuzz_pipelines.py --seed 1 --worlds 100 --queries 50
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from fuzz import Query, World
from fuzz_oracles import Answer, Ours, Refused, _plain
from fuzz_queries import Maker
from fuzz_schema import INTEGERS, NUMBER, TYPES, VALUES, literal
from weftdb.engine.pipeline.kernels import Kernels, Known, plain
from weftdb.engine.pipeline.shape import Shape
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session

_AGGREGATES = (
    "count(*)", "count({any})", "sum({SMALLINT})", "sum({INTEGER})", "avg({INTEGER})", "sum({BIGINT})", "avg({BIGINT})",
    "min({any})", "max({any})", "sum({NUMERIC(12,4)})", "avg({NUMERIC(12,4)})", "min({DATE})", "max({TIMESTAMP})",
    "sum({DOUBLE PRECISION})", "min({DOUBLE PRECISION})", "avg({SMALLINT})", "count(DISTINCT {any})",
)  # fmt: skip


class PlainKernels(Kernels):
    """Kernels that Python runs. ``used``: how often."""

    used = 0

    def __init__(self, *, threads: int) -> None:
        super().__init__(threads=threads)
        self.rows_min = 0
        self.side_cost = 0
        self.runs_programs = False

    def kernel(self, shape: Shape, **_: Any) -> Known:
        self.used += 1
        kernel = np.errstate(all="ignore")(plain(shape))
        return Known(_name="plain", shape=shape, state="ready", kernel=kernel)


def grouped(world: World, number: int) -> Query:
    """A query of one grouped table."""
    maker = Maker(
        random.Random(f"grouped {world.seed} {number}"),
        random.Random(f"grouped values {world.seed} {number}"),
        world.tables,
    )
    maker.may_fail = False
    rng = maker.rng
    table = rng.choice(world.tables)
    past = f"@{rng.choice(table.pasts)}" if table.pasts and rng.random() < 0.2 else ""
    maker.scope = [(f"a.{column.name}", column.type) for column in table.columns if column.type in TYPES]

    def aggregate() -> str:
        text = rng.choice(_AGGREGATES)
        name, _, rest = text.partition("{")
        if rest:
            type = rest.partition("}")[0]
            value = _value(maker, maker.any_type() if type == "any" else type)
            text = f"{name}{value})"
        if rng.random() < 0.2:
            text += f" FILTER (WHERE {_condition(maker)})"
        return text

    keys = [_value(maker, maker.any_type()) for _ in range(rng.randint(0, 2))]
    keys = [key for key in keys if "a." in key]
    outputs = [*keys, *(aggregate() for _ in range(rng.randint(1, 4)))]
    conditions = [_condition(maker) for _ in range(rng.randint(0, 3))]
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    by = f" GROUP BY {', '.join(map(str, range(1, len(keys) + 1)))}" if keys else ""
    return Query(f"SELECT {', '.join(outputs)} FROM {{{table.name}{past}}} AS a{where}{by}", may_fail=maker.failing)


def _value(maker: Maker, type: str) -> str:
    rng = maker.rng
    column = maker.column(type)
    if rng.random() < 0.1 or column is None:
        return maker.expression(type, 1)
    if rng.random() < 0.6 or type not in (*INTEGERS, NUMBER):
        return column
    other = maker.column(type) or column
    return rng.choice(
        (
            f"({column} + 1)",
            f"({other} - {column})",
            f"(-{column})",
            f"({column} * 2)",
            f"coalesce({column}, {other}, 3)",
            f"CASE WHEN {_condition(maker)} THEN {column} WHEN {_condition(maker)} THEN {other} ELSE 0 END",
            f"CASE WHEN {_condition(maker)} THEN {column} END",
        )
    )


def _condition(maker: Maker) -> str:
    """Mostly what pipelines evaluate."""
    rng = maker.rng
    if rng.random() < 0.1:
        return maker.condition(1)
    if rng.random() < 0.25:
        word = rng.choice(("AND", "OR"))
        return f"({_condition(maker)} {word} {_condition(maker)})"
    if rng.random() < 0.15:
        return f"NOT {_condition(maker)}"
    column, type = rng.choice(maker.scope)
    other = maker.column(type) or column
    constants = ", ".join(literal(type, value) for value in rng.sample(VALUES[type], min(3, len(VALUES[type]))))
    compared = rng.choice(("=", "<>", "<", "<=", ">", ">="))
    found = [
        f"{column} {compared} {literal(type, rng.choice(VALUES[type]))}",
        f"{column} {compared} {other}",
        f"{column} IN ({constants})",
        f"{column} IS {rng.choice(('', 'NOT '))}NULL",
    ]
    if type == "BOOLEAN":
        found += [column, f"{column} IS {rng.choice(('', 'NOT '))}{rng.choice(('TRUE', 'FALSE'))}"]
    if type == "TEXT":
        found.append(f"{column} LIKE '{rng.choice(('%a%', 'a%', '_', '%'))}'")
    return rng.choice(found)


def differences(seed: int, numbers: Sequence[int], used: list[int] | None = None) -> Iterator[str]:
    """What one tier answers otherwise than the other, in words."""
    world = World(seed)
    ours = Ours(world)
    kernels = PlainKernels(threads=2)
    resources_of(ours.session.engine).kernels = kernels
    inside, outside = (ours.session, ours._begun), (Session(ours.session.engine), False)
    try:
        for number in numbers:
            for query in (world.query(number), grouped(world, number)):
                # What the world's own transaction wrote, pipelines leave to the executor.
                ours.session, ours._begun = inside if number % 8 == 0 else outside
                answers: list[Answer | Refused] = []
                for tier in ("relational", "auto"):
                    ours.session.execute(f"SET weft.tier = {tier}")
                    try:
                        answers.append(ours.answer(query))
                    except Refused as error:
                        answers.append(error)
                if not _same(*answers, query):
                    yield f"seed {seed} query {number}: {ours.text(query.sql)}\n  {answers[0]}\n  {answers[1]}"
    finally:
        ours.session = inside[0]
        outside[0].close()
        ours.close()
    if used is not None:
        used.append(kernels.used)


def _same(one: Answer | Refused, other: Answer | Refused, query: Query) -> bool:
    if isinstance(one, Refused) or isinstance(other, Refused):
        if isinstance(one, Refused) and isinstance(other, Refused):
            return one.sqlstate == other.sqlstate
        return query.may_fail
    return one.kinds == other.kinds and _plain(one, query) == _plain(other, query)


def main(argv: Sequence[str] | None = None) -> int:
    """Compare as many queries as asked for; returns 1 where some differ."""
    parser = argparse.ArgumentParser(description="Pipelines against the relational executor.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--worlds", type=int, default=20)
    parser.add_argument("--queries", type=int, default=40)
    given = parser.parse_args(argv)
    found, used = 0, list[int]()
    for seed in range(given.seed, given.seed + given.worlds):
        for text in differences(seed, range(given.queries), used):
            found += 1
            print(text, flush=True)
    print(f"{2 * given.worlds * given.queries} queries, {sum(used)} kernels run, {found} differences")
    return found > 0


if __name__ == "__main__":
    sys.exit(main())
