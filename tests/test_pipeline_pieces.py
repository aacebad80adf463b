"""What kernels of pipelines do with a chunk of rows, against a few lines of Python each."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from fuzz_pipelines import PlainKernels
from hypothesis import example, given, settings
from hypothesis import strategies as st
from weftdb.engine.database import Engine
from weftdb.engine.kernels.pieces import divided, keep_seen, magic_of, places_of, shift_of
from weftdb.engine.options import Options
from weftdb.engine.overlay import bits_of
from weftdb.engine.pipeline import pieces
from weftdb.engine.pipeline.pieces import Source
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session
from weftdb.storage.kernels.blocks import DIRECTORY


@given(
    hidden=st.lists(st.booleans(), max_size=200), start=st.integers(0, 200), done=st.integers(0, 150), data=st.data()
)
@settings(max_examples=200, deadline=None)
def test_rows_are_kept_that_nothing_hides(hidden: list[bool], start: int, done: int, data: st.DataObject) -> None:
    done = min(done, len(hidden))
    count = data.draw(st.integers(0, len(hidden) - done))
    bits = bits_of(np.array([not one for one in hidden], np.uint8), start)
    keep = np.full(256, 7, np.uint8)
    keep_seen(np.uint64(bits.ctypes.data * 8 + start % 64), done, count, keep)
    expected = [not one for one in hidden[done : done + count]]
    assert keep[:count].tolist() == expected
    assert keep[(count + 63) // 64 * 64 :].tolist() == [7] * (256 - (count + 63) // 64 * 64)
    chosen = np.zeros(256, np.uint64)
    assert places_of(keep, count, chosen) == sum(expected)
    assert chosen[: sum(expected)].tolist() == [row for row, there in enumerate(expected) if there]
    keep_seen(np.uint64(0), done, count, keep)
    assert keep[:count].all()


@given(
    value=st.integers(-(2**63), 2**63 - 1), divisor=st.integers(1, 2**63 - 1) | st.integers(0, 62).map(lambda n: 1 << n)
)
@example(value=2**63 - 1, divisor=1)
@example(value=-(2**63), divisor=2**63 - 1)
@example(value=2**63 - 1, divisor=2**62 + 1)
@settings(max_examples=1_000, deadline=None)
def test_products_are_quotients(value: int, divisor: int) -> None:
    magic, shift = np.uint64(magic_of(divisor)), np.uint64(shift_of(divisor))
    near = value // divisor * divisor
    for number in (value, near, near - 1):
        number = np.int64(max(-(2**63), min(number, 2**63 - 1)))
        assert divided(number, magic, shift) == int(number) // divisor


def test_chunks_together_are_what_each_of_them_is_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Widths, NULLs from some row on, texts by number and by their presence; some chunks with rows that ended."""
    together: Callable[..., Source] = pieces._of_chunks
    chunks_seen: list[int] = []

    def compared(chunks: Any, pipeline: Any, columns: Any, words: int, numberings: Any) -> Source:
        found = together(chunks, pipeline, columns, words, numberings)
        alone = [pieces._of_chunk(chunk, count, None, pipeline, columns, words, numberings) for chunk, count in chunks]
        assert described(found) == [piece for source in alone for piece in described(source)]
        assert found.rows_count == sum(source.rows_count for source in alone)
        for number, numbers in found.numbers.items():
            each = [source.numbers[number].numbers for source in alone]
            assert [of.tolist() for of in (numbers.numbers, *numbers.more)] == [of.tolist() for of in each]
        chunks_seen.append(len(chunks))
        return found

    monkeypatch.setattr(pieces, "_of_chunks", compared)
    monkeypatch.setattr(pieces, "PIECE_ROWS", 300)
    pieces._places.cache_clear()
    choose = random.Random(3)
    sql = (
        "SELECT s, count(*) AS n, sum(i) AS i, sum(d) AS d, max(x) AS x, count(t) AS t, min(at) AS at FROM p"
        " WHERE b IS NOT FALSE OR m > 3 GROUP BY s ORDER BY s NULLS FIRST"
    )
    with Engine.open(options=Options(maintenance=False)) as engine, Session(engine) as session:
        resources_of(engine).kernels = PlainKernels(threads=2)
        session.execute(
            "CREATE TABLE p (k BIGINT PRIMARY KEY, s TEXT, i INTEGER, d NUMERIC(20, 2), x DOUBLE PRECISION, t TEXT,"
            " b BOOLEAN, m SMALLINT, at TIMESTAMP)"
        )

        def maybe(value: object, step: int) -> object:
            return None if step >= 6 and choose.random() < 0.1 else value

        for step in range(12):
            rows = range(400 * step, 400 * step + 400)
            session.put(
                "p",
                [
                    {
                        "k": k, "s": maybe(f"s{k % 7}", step), "i": maybe(k - 900, step),
                        "d": maybe(k * 1_000_003, step), "x": maybe(k / 7, step),
                        "t": maybe(str(k), step), "b": maybe(k % 3 > 0, step),
                        "m": maybe(k % 11, step), "at": maybe(np.datetime64(k, "us").item(), step),
                    }
                    for k in rows
                ],
            )  # fmt: skip
            if step == 8:
                session.execute("DELETE FROM p WHERE k BETWEEN 1000 AND 1010")
            answers: list[list[tuple[Any, ...]]] = []
            for tier in ("relational", "pipeline"):
                session.execute(f"SET weft.tier = {tier}")
                answers.append(session.execute(sql).rows())
            assert answers[0] == answers[1]
    pieces._places.cache_clear()
    assert max(chunks_seen) > 2


def described(source: Source) -> list[list[Any]]:
    """Of each piece its rows, and of each column what its entry says, which row is its first, and where validity is."""
    found: list[list[Any]] = []
    for words in source.words.tolist():
        piece: list[Any] = words[:2]
        for at in range(2, len(words) - 3, 4):
            entry = ctypes.string_at(words[at], DIRECTORY.itemsize) if words[at] else None
            piece.append((entry, *words[at + 1 : at + 4]))
        found.append(piece)
    return found
