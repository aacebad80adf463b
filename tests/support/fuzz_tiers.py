"""Random queries of the shapes that pipelines are for, by pipelines and by the relational executor at one snapshot.

Tables of one definition (fuzz_tiers_world.py) hold other rows in every world, so that worlds share shapes, which are
compiled once; fuzz_tiers_queries.py asks. Blocks, pieces, morsels and tables of groups are made so small that a few
hundred rows fill and cross all of them (``SMALL``).

    interpreted   kernels are run as plain Python: any query, for breadth
    compiled      as numba makes them, in this process; queries have one of a few structures, with other constants
    programs      the kernel of every shape goes through the program of each: any query

Both tiers are forced. What no pipeline covers is counted with its reason, and asked at the tier auto now and then.

    python tests/support/fuzz_tiers.py --seed 1 --worlds 100 --queries 200
    python tests/support/fuzz_tiers.py --compiled /tmp/kernels --structures 100 --worlds 50 --queries 200
    python tests/support/fuzz_tiers.py --programs --seed 1 --worlds 100 --queries 200
    python tests/support/fuzz_tiers.py --seed 17 --query 23
"""

from __future__ import annotations

import argparse
import importlib
import math
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, Final

import numpy as np
from fuzz_tiers_queries import Maker, Query
from fuzz_tiers_world import World
from weftdb.base.errors import WeftError
from weftdb.engine.pipeline.files import load
from weftdb.engine.pipeline.generate import source
from weftdb.engine.pipeline.kernels import Kernels, Known, plain
from weftdb.engine.pipeline.program import Program
from weftdb.engine.pipeline.shape import Shape
from weftdb.engine.pipeline.texts import Texts
from weftdb.sql import run
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session

_EXACT: Final = Context(prec=80)

SMALL: Final[dict[str, tuple[int, ...]]] = {
    "storage.segment_writer.BLOCK_ROWS engine.merge.BLOCK_ROWS": (64, 128),
    "engine.memtable.CHUNK_ROWS_MIN": (32,),
    "engine.column_store.DISTINCT_MAX": (8, 4_096),
    "engine.memtable.CHUNK_ROWS_MAX": (128,),
    "engine.pipeline.generate.CHUNK": (16, 64, 1024),
    "engine.pipeline.pieces.PIECE_ROWS": (48, 200),
    "engine.pipeline.pieces.MORSEL_PIECES": (1, 3),
    "engine.pipeline.texts.UNIT_ROWS engine.pipeline.texts.UNIT_FIRST": (1, 30, 1 << 16),
    "engine.pipeline.texts.UNIT_ALONE engine.pipeline.texts.TEXTS_FEW": (0, 1 << 12),
    "engine.pipeline.texts.HEAP_MAX": (200, 1 << 30, 1 << 30),
    "engine.pipeline.run.TEXTS_ANYWAY engine.pipeline.run.TRUTHS_AT_ONCE": (1, 10, 1 << 14),
    "engine.pipeline.sides.SPAN_MAX": (16, 1 << 26),
    "engine.pipeline.bits.PIPELINE_BITS_MAX": (64, 1 << 20),
    "engine.pipeline.packing.PIPELINE_DENSE_MAX": (4, 100, 1 << 16),
    "engine.pipeline.generate.TABLE_BYTES": (1, 1 << 18),
    "engine.pipeline.cut.GROUPS_MIN": (1, 1 << 12),
    "engine.pipeline.run.PIPELINE_LANE_ROWS": (40, 1 << 20),
    "engine.pipeline.states.CHUNK_PLACES": (8, 1 << 14),
    "engine.pipeline.newest.NEWEST_GROUPS_MAX": (8, 1 << 24),
    "engine.pipeline.newest.LOOKED_UP_MAX": (100, 1 << 20),
    "engine.pipeline.metadata.READ_ROWS_MAX": (60, 1 << 20),
    "engine.pipeline.metadata.EXTREME_BLOCKS_MAX": (1, 64),
    "engine.pipeline.top.LATER_ROWS": (4, 4_096),
    "engine.pipeline.top.LATER_BLOCKS": (1, 16),
    "engine.pipeline.top.TOP_TIES_MAX": (9, 1 << 17),
}
"""Limits of the engine, and what they are in these worlds, by lot. In the compiled form CHUNK is as it is."""


def in_any_order(given: Sequence[Any]) -> Sequence[Any]:
    """What kernels are given, of every second morsel with an order of conditions by lot: all give the same rows."""
    asked = given[-1]
    count = len(asked) // 3
    lot = random.Random(int(given[0][:, 0].sum()) + count)
    if count and lot.random() < 0.5:
        asked[:count] = lot.sample(range(count), count)
    return given


class AnyOrder(Program):
    """A program that asks in any order."""

    def __call__(self, *given: Any) -> int:
        return super().__call__(*in_any_order(given))


class Interpreted(Kernels):
    """Kernels that Python runs. ``used``: how often one was given."""

    def __init__(self, *, threads: int) -> None:
        super().__init__(threads=threads)
        self.rows_min = 0
        self.side_cost = 0
        self.runs_programs = False
        self.used = 0

    def kernel(self, shape: Shape, **_: Any) -> Known:
        self.used += 1
        return Known(_name="plain", shape=shape, state="ready", kernel=self.compiled(shape))

    def compiled(self, shape: Shape) -> Any:
        kernel = np.errstate(all="ignore")(self.made(shape))
        return lambda *given: kernel(*in_any_order(given))

    def made(self, shape: Shape) -> Any:
        return plain(shape)


class Compiled(Interpreted):
    """Kernels that numba compiles in this process, each once. ``KERNELS``: by their text."""

    KERNELS: Final[dict[str, Any]] = {}

    def __init__(self, *, threads: int, folder: Path) -> None:
        super().__init__(threads=threads)
        self._own = folder

    def made(self, shape: Shape) -> Any:
        text = source(shape)
        if text not in self.KERNELS:
            path = self._own / f"fuzz{len(self.KERNELS)}.py"
            path.write_text(text.replace("cache=True", "cache=False"))
            self.KERNELS[text] = load(path)
        return self.KERNELS[text]


class Programs(Interpreted):
    """Programs, one for each shape, that one kernel goes through."""

    def compiled(self, shape: Shape) -> Any:
        return AnyOrder(shape)


@contextmanager
def small(seed: int, *, compiled: bool = False) -> Iterator[None]:
    """The engine with small limits."""
    rng = random.Random(f"small {seed}")
    before: list[tuple[Any, str, int]] = []
    for paths, values in SMALL.items():
        value = rng.choice(values)
        for path in paths.split():
            module, _, name = path.rpartition(".")
            holder = importlib.import_module(f"weftdb.{module}")
            if not (compiled and name == "CHUNK"):
                before.append((holder, name, getattr(holder, name)))
                setattr(holder, name, value)
    try:
        yield
    finally:
        for holder, name, value in reversed(before):
            setattr(holder, name, value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Worlds:
    """What is asked of what. ``world`` makes an engine with tables of a seed, with ``threads`` and ``versions`` to look
    back to; ``query`` a query of two sources of chance: for its structure, and for constants.
    """

    world: Callable[[int], Any]
    query: Callable[[random.Random, random.Random, Any], Query]

    def query_of(self, seed: int, number: int, versions: Sequence[int] = (), *, structures: int = 0) -> Query:
        """The query of a number. ``structures``: with as many different ones, 0: each has its own."""
        structure = f"structure {number % structures}" if structures else f"structure {seed} {number}"
        return self.query(random.Random(structure), random.Random(f"values {seed} {number}"), versions)


TIERS: Final = Worlds(world=World, query=lambda rng, values, versions: Maker(rng, values, versions).query())


def differences(
    seed: int, numbers: Sequence[int], *, of: Worlds = TIERS, counts: Counter[str] | None = None,
    folder: Path | None = None, structures: int = 0, programs: bool = False, only: Collection[str] = (),
) -> Iterator[str]:  # fmt: skip
    """What one tier answers otherwise than the other, in words. ``folder``: kernels are compiled, and lie there.
    ``programs``: they are programs. ``only``: of these kinds of queries.

    ``counts``: queries "asked" and "reached" (a pipeline made the answer), by kind as well, and why others did not.
    """
    counts = Counter() if counts is None else counts
    with small(seed, compiled=folder is not None):
        world = of.world(seed)
        kernels = (
            Compiled(threads=world.threads, folder=folder)
            if folder is not None
            else (Programs if programs else Interpreted)(threads=world.threads)
        )
        resources_of(world.engine).kernels = kernels
        if random.Random(f"texts {seed}").random() < 0.3:
            kernels.texts = Texts(limit=20_000)
        try:
            with Session(world.engine) as session:
                session.execute(f"SET timezone = '{random.Random(f'zone {seed}').choice(ZONES)}'")
                for number in numbers:
                    query = of.query_of(seed, number, world.versions, structures=structures)
                    if only and query.kind not in only:
                        continue
                    found = _compared(session, query, counts, always=number % 10 == 0)
                    if found is not None:
                        given = f" {list(query.parameters)}" if query.parameters else ""
                        yield f"seed {seed} query {number} {query.sql}{given}\n  {found[0]}\n  {found[1]}"
        finally:
            world.close()


ZONES: Final = ("UTC", "UTC", "Europe/Berlin", "America/St_Johns")


@contextmanager
def _answers_of_pipelines() -> Iterator[list[bool]]:
    """Of each time that parts of a query were given to pipelines, whether these answered."""
    found: list[bool] = []
    before = run.run_parts

    def noted(*given: Any, **named: Any) -> Any:
        groups = before(*given, **named)
        found.append(groups is not None)
        return groups

    run.run_parts = noted
    try:
        yield found
    finally:
        run.run_parts = before


def _compared(session: Session, query: Query, counts: Counter[str], *, always: bool) -> tuple[str, str] | None:
    """Two answers that differ. ``always``: also where no pipeline covers the query."""
    counts["asked"] += 1
    counts[f"asked {query.kind}"] += 1
    with _answers_of_pipelines() as answered:
        found = _answer(session, "pipeline", query)
    if isinstance(found, WeftError) and found.sqlstate == "0A000":
        counts[f"why: {found.message.partition(': ')[2].partition(':')[0]}"] += 1
        if not always:
            return None
        found = _answer(session, "auto", query)
    elif any(answered):
        counts["reached"] += 1
        counts[f"reached {query.kind}"] += 1
    elif not always:
        return None
    expected = _answer(session, "relational", query)
    return None if _same(expected, found, query) else _only(_shown(expected, query), _shown(found, query))


def _answer(session: Session, tier: str, query: Query) -> Any:
    session.execute(f"SET weft.tier = {tier}")
    try:
        result = session.execute(query.sql, query.parameters, timeout=3_600)
        return result.types, result.rows()
    except Exception as error:
        return error


def _same(one: Any, other: Any, query: Query) -> bool:
    """NaN equals NaN, 0.0 equals -0.0, 1.50 equals 1.5, but 1 is not 1.0. Sums of floats depend on the order of their
    terms, and the executor rounds deviations at every row: floats may differ by 1e-9.
    """
    if isinstance(other, tuple) and isinstance(one, WeftError) and one.sqlstate == "22003":
        return query.is_late  # an error of a row that is not put out
    if isinstance(one, Exception) or isinstance(other, Exception):
        return _shown(one, query) == _shown(other, query)
    if one[0] != other[0] or len(one[1]) != len(other[1]):
        return False
    for first, second in zip(_rows(one, query), _rows(other, query), strict=True):
        if first[0] != second[0] or not all(map(_is_close, first[1], second[1])):
            return False
    return True


def _is_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-9) or (math.isnan(one) and math.isnan(other))


def _rows(answer: Any, query: Query) -> list[tuple[str, list[float]]]:
    """Of each row all else as text, and its floats; in the order of these where there is no other."""
    rows = [
        (
            repr(tuple("float" if isinstance(value, float) else _plain(value) for value in row)),
            [value + 0.0 for value in row if isinstance(value, float)],
        )
        for row in answer[1]
    ]
    return rows if query.is_ordered else sorted(rows, key=lambda row: (row[0], [(math.isnan(x), x) for x in row[1]]))


def _shown(answer: Any, query: Query) -> list[str]:
    """To be read: types and number of rows, then these."""
    if isinstance(answer, WeftError):
        return [f"{answer.sqlstate} {answer.message}"]
    if isinstance(answer, Exception):
        return ["".join(traceback.format_exception(answer))]
    types, rows = answer
    shown = [f"{[str(type) for type in types]} {len(rows)} rows:"]
    shown += [f"{text} {floats if floats else ''}" for text, floats in _rows(answer, query)]
    return shown


def _only(one: Sequence[str], other: Sequence[str]) -> tuple[str, str]:
    """What the other one has not, and a few lines are enough."""
    return "\n".join(_few(one, other)), "\n".join(_few(other, one))


def _few(lines: Sequence[str], but: Collection[str]) -> list[str]:
    known = set(but)
    return [lines[0], *[line for line in lines[1:] if line not in known][:5]]


def _plain(value: Any) -> Any:
    return _EXACT.plus(_EXACT.normalize(value)) if isinstance(value, Decimal) else value


def main(argv: Sequence[str] | None = None, *, of: Worlds = TIERS) -> int:
    """Compare as many queries as asked for; returns 1 where some differ."""
    parser = argparse.ArgumentParser(description="Pipelines against the relational executor.")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--query", type=int)
    parser.add_argument("--worlds", type=int, default=1)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--compiled", metavar="FOLDER", type=Path, help="compile kernels, into this folder")
    parser.add_argument("--programs", action="store_true", help="of kernels, that one kernel interprets")
    parser.add_argument("--structures", type=int, default=0, help="of queries, that share kernels")
    parser.add_argument("--only", nargs="+", default=(), metavar="KIND", help="such as top, newest, counted")
    given = parser.parse_args(argv)
    found, counts, began = 0, Counter[str](), time.monotonic()
    numbers = range(given.queries) if given.query is None else [given.query]
    if given.compiled:
        given.compiled.mkdir(parents=True, exist_ok=True)
    for seed in range(given.seed, given.seed + given.worlds):
        for text in differences(
            seed,
            numbers,
            of=of,
            counts=counts,
            folder=given.compiled,
            structures=given.structures,
            programs=given.programs,
            only=given.only,
        ):
            found += 1
            print(text, flush=True)
        print(
            f"seed {seed}: {counts['asked']} queries, {counts['reached']} by kernels, {len(Compiled.KERNELS)} compiled,"
            f" {found} differences, {time.monotonic() - began:.0f} s",
            flush=True,
        )
    print(*(f"{count:8} {what}" for what, count in sorted(counts.items())), sep="\n")
    return found > 0


if __name__ == "__main__":
    sys.exit(main())
