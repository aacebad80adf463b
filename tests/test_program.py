"""Programs (engine/pipeline/program.py) do what generated kernels do, and each instruction what numpy does.

Whole queries: test_pipeline.py and test_tiers.py ask them of programs as well.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from weftdb.engine.kernels import program as op
from weftdb.engine.kernels.groups import PAGE, PARTS, hashed
from weftdb.engine.overlay import bits_of
from weftdb.engine.pipeline.program import program_of
from weftdb.engine.pipeline.shape import NotCovered, Shape

ROWS = 100
EXTREMES = np.array([0, 1, -1, 2**62, -(2**62), 2**53 + 1, -(2**53) - 1, 4_095, 4_096, -4_096], np.int64)
REALS = np.array([0.0, -0.0, 1.5, -1.5, math.nan, math.inf, -math.inf, 1e308, -1e308, 1e-310])


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)


def _words(rng: np.random.Generator) -> np.ndarray:
    found = rng.integers(-(2**40), 2**40, ROWS) >> rng.integers(0, 40, ROWS)
    found[:10] = rng.permutation(EXTREMES)
    return found


def _reals(rng: np.random.Generator) -> np.ndarray:
    return rng.permutation(np.concatenate([REALS, REALS, rng.normal(size=ROWS - 20)]))


def _truths(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 2, ROWS).astype(np.uint8)


def _at(array: np.ndarray) -> np.uint64:
    return np.uint64(array.ctypes.data)


@pytest.mark.parametrize("one", [False, True])
@pytest.mark.parametrize(
    ("what", "twin"), [(op.ADD, np.add), (op.SUB, np.subtract), (op.MUL, np.multiply)], ids=["add", "sub", "mul"]
)
def test_arithmetic_wraps_in_64_bits(rng: np.random.Generator, what: int, twin: Any, one: bool) -> None:
    a, b, out = _words(rng), _words(rng), np.zeros(ROWS, np.int64)
    op._words(what, _at(out), _at(a), _at(b), one, ROWS)
    assert np.array_equal(out, twin(a, b[0] if one else b))


def test_words_of_one_word(rng: np.random.Generator) -> None:
    a, out = _words(rng), np.zeros(ROWS, np.int64)
    op._words(op.ABS, _at(out), _at(a), _at(a), False, ROWS)
    assert np.array_equal(out, np.abs(a))
    seeds = _words(rng)
    op._words(op.HASH, _at(out), _at(a), _at(seeds), False, ROWS)
    assert [int(word) for word in out.view(np.uint64)] == [
        int(hashed(one, seed)) for one, seed in zip(a, seeds.view(np.uint64), strict=True)
    ]
    reals = _reals(rng)
    op._words(op.REAL_KEY, _at(out), _at(reals), _at(reals), False, ROWS)
    alike = out[:, None] == out[None, :]
    same = (reals[:, None] == reals[None, :]) | (np.isnan(reals)[:, None] & np.isnan(reals)[None, :])
    assert np.array_equal(alike, same)


@pytest.mark.parametrize("divisor", [1, 2, 7, 4_095, 4_096, 86_400_000_000, 2**40 - 1, 2**61, 2**62 + 1])
def test_quotients_are_exact(rng: np.random.Generator, divisor: int) -> None:
    a, out = _words(rng), np.zeros(ROWS, np.int64)
    near = np.arange(-20, 20) * divisor if divisor < 2**56 else np.arange(-1, 1) * divisor
    a[20 : 20 + len(near)] = near
    a[60 : 60 + len(near)] = near[: ROWS - 60] - 1
    op._divide(_at(out), _at(a), np.int64(divisor), ROWS)
    assert out.tolist() == [value // divisor for value in a.tolist()]
    op._truncate(_at(out), ROWS, _at(a), np.int64(divisor))
    assert out.tolist() == [abs(value) // divisor * (1 if value >= 0 else -1) for value in a.tolist()]


@pytest.mark.parametrize(
    ("what", "twin"),
    [
        (op.EQUAL, np.equal),
        (op.DIFFERENT, np.not_equal),
        (op.LESS, np.less),
        (op.LESS_EQUAL, np.less_equal),
        (op.GREATER, np.greater),
        (op.GREATER_EQUAL, np.greater_equal),
        (op.BEYOND, lambda a, b: a.view(np.uint64) >= np.uint64(b)),
    ],
)
def test_comparisons_of_words(rng: np.random.Generator, what: int, twin: Any) -> None:
    a, b, out = _words(rng), _words(rng), np.zeros(ROWS, np.uint8)
    b[20:60] = a[20:60]
    b[0] = abs(b[0])
    op._compare(what, _at(out), _at(a), _at(b), True, ROWS)
    assert np.array_equal(out.view(np.bool_), twin(a, b[0]))
    if what in (op.EQUAL, op.DIFFERENT, op.LESS, op.LESS_EQUAL):  # the sides of others are turned
        op._compare(what, _at(out), _at(a), _at(b), False, ROWS)
        assert np.array_equal(out.view(np.bool_), twin(a, b))


def test_floats(rng: np.random.Generator) -> None:
    a, b, out, truths = _reals(rng), _reals(rng), np.zeros(ROWS), np.zeros(ROWS, np.uint8)
    with np.errstate(all="ignore"):
        for what, twin in ((op.ADD_REALS, np.add), (op.SUB_REALS, np.subtract), (op.MUL_REALS, np.multiply)):
            for size in (1, ROWS):
                failed = op._reals(what, _at(out), _at(a), _at(b), size)
                wanted = twin(a, b)[:size]
                assert np.array_equal(out[:size], wanted, equal_nan=True)
                assert bool(failed) == bool((np.isinf(wanted) & ~np.isinf(a[:size]) & ~np.isinf(b[:size])).any())
        op._reals(op.DIVIDE_REALS, _at(out), _at(a), _at(b), ROWS)
        assert np.array_equal(out, a / b, equal_nan=True)
    op._reals(op.NEGATE_REAL, _at(out), _at(a), _at(a), ROWS)
    assert np.array_equal(out.view(np.int64), (-a).view(np.int64))
    words = _words(rng)
    op._reals(op.TO_REAL, _at(out), _at(words), _at(words), ROWS)
    assert np.array_equal(out, words.astype(np.float64))
    singles = np.zeros(2 * ROWS, np.float32)
    singles[::2] = rng.normal(size=ROWS)
    op._reals(op.SINGLE, _at(out), _at(singles), _at(singles), ROWS)
    assert np.array_equal(out, singles[::2].astype(np.float64))
    place = {id: place for place, id in enumerate(sorted({*a.tolist(), *b.tolist()} - {math.nan}, key=_order))}
    ranks = [[place.get(value, 10**6) if value == value else 10**6 for value in of.tolist()] for of in (a, b)]
    for what, holds in (
        (op.EQUAL_REALS, lambda one, other: one == other),
        (op.LESS_REALS, lambda one, other: one < other),
        (op.LESS_EQUAL_REALS, lambda one, other: one <= other),
    ):
        op._reals(what, _at(truths), _at(a), _at(b), ROWS)
        assert truths.tolist() == [holds(one, other) for one, other in zip(*ranks, strict=True)]


def _order(value: float) -> tuple[bool, float]:
    return (value != value, value)


def test_truths_and_choices(rng: np.random.Generator) -> None:
    a, b, truth, out = _truths(rng), _truths(rng), _truths(rng), np.zeros(ROWS, np.uint8)
    for what, wanted in (
        (op.AND, a & b),
        (op.OR, a | b),
        (op.AND_NOT, a & (1 - b)),
        (op.NOT, 1 - a),
        (op.CHOOSE_TRUTHS, np.where(truth, a, b)),
    ):
        op._truths(what, _at(out), _at(a), _at(b), _at(truth), ROWS)
        assert np.array_equal(out, wanted)
    op._is(_at(out), _at(a + b), 2, ROWS)
    assert np.array_equal(out, a & b)
    words, others, found = _words(rng), _words(rng), np.zeros(ROWS, np.int64)
    op._truths(op.CHOOSE, _at(found), _at(words), _at(others), _at(truth), ROWS)
    assert np.array_equal(found, np.where(truth, words, others))
    op._truths(op.WORDS, _at(found), _at(a), _at(a), _at(a), ROWS)
    assert np.array_equal(found, a)


def test_chosen_rows_stay_in_order(rng: np.random.Generator) -> None:
    words = np.zeros(4_096, np.int64)
    truths, base = words.view(np.uint8), _at(words)
    flags, chosen, spare = 64, 256, 256 + 8 * ROWS + 64
    first, visible, again = _truths(rng), _truths(rng), _truths(rng)
    truths[flags : flags + ROWS] = first
    hidden = bits_of(visible, 0)
    left = op._keep(words, truths, base, flags, chosen, spare, _at(hidden) * np.uint64(8), ROWS, True)
    places = np.flatnonzero(first & visible)
    assert words[chosen // 8 : chosen // 8 + left].tolist() == places.tolist()
    truths[flags : flags + left] = again[:left]
    left = op._keep(words, truths, base, flags, chosen, spare, np.uint64(0), left, False)
    places = places[again[: len(places)] == 1]
    assert words[chosen // 8 : chosen // 8 + left].tolist() == places.tolist()
    values, out = _words(rng), np.zeros(ROWS, np.int64)
    op._again(op.AGAIN, _at(out), _at(values), base + np.uint64(chosen), left)
    assert np.array_equal(out[:left], values[places])


@pytest.mark.parametrize("grouped", [False, True])
def test_accumulators(rng: np.random.Generator, grouped: bool) -> None:
    groups = rng.integers(0, 5, ROWS) if grouped else np.zeros(ROWS, np.int64)
    at, words, reals, truths = groups * 8, _words(rng), _reals(rng), _truths(rng)
    finite = np.where(np.isfinite(reals) & (np.abs(reals) < 1e300), reals, 1.0)

    def found(what: int, values: np.ndarray) -> np.ndarray:
        state = np.full(5, op._start(what), np.int64)
        if grouped:
            op._grouped(what, _at(state), _at(at), _at(values), ROWS)
        else:
            op._whole(what, _at(state), _at(values), ROWS)
        return state

    for group in set(groups.tolist()):
        of = groups == group
        assert found(op.COUNT, words)[group] == of.sum()
        assert found(op.COUNT_TRUTHS, truths)[group] == truths[of].sum()
        assert found(op.SUM, words)[group] == words[of].sum()
        assert found(op.LEAST, words)[group] == words[of].min()
        assert found(op.GREATEST, words)[group] == words[of].max()
        assert math.isclose(found(op.SUM_REALS, finite).view(np.float64)[group], finite[of].sum(), abs_tol=1e-9)
        for what, twin in ((op.LEAST_REAL, np.fmin), (op.GREATEST_REAL, np.maximum)):
            value = found(what, reals).view(np.float64)[group]
            assert np.array_equal(value, twin.reduce(reals[of]), equal_nan=True)


def test_records_are_found_again_until_another_key_takes_their_place() -> None:
    keys = np.array([3, 3, 4, 3, 3, 9, 4], np.int64)
    hashes = np.array([1 << 63, 1 << 63, 1 << 63, 1 << 63, 1 << 63, 0, 1 << 63], np.uint64)
    buffers = np.zeros(64, np.int64)
    buffers[8:15], buffers[16:23] = keys, hashes.view(np.int64)
    line = np.array([op.FIND, 8 * 32, 8 * 16, 8 * 8, *[0] * 12], np.int64)
    state, pool = np.zeros(2, np.int64), np.zeros(3 * PAGE * PARTS * 2, np.int64)
    ends, chain = np.append(np.arange(PARTS) * PAGE, PARTS), np.zeros(2 * PARTS, np.int64)
    op._find(_at(buffers), line, np.array([0, 0, 77]), state, pool, ends, chain, 1, 7)
    records = buffers[32:39] // 24
    assert records.tolist() == [
        128 * PAGE,
        128 * PAGE,
        128 * PAGE + 1,
        128 * PAGE + 2,
        128 * PAGE + 2,
        0,
        128 * PAGE + 3,
    ]
    assert pool.reshape(-1, 3)[records].tolist() == [[key, 0, 77] for key in keys]
    assert ends[128] == 128 * PAGE + 4


def test_what_no_instruction_does_has_no_program() -> None:
    shape = Shape(
        slots=(), tables=0, filters=(), keys=(), sink="one", accumulators=(("count", None, None),), key_arguments=0
    )
    assert len(program_of(shape).lines) == 3
    for other in ({"sink": "elsewhere"}, {"accumulators": (("median", None, None),)}, {"filters": (("guess", 1),)}):
        with pytest.raises(NotCovered, match="no program has"):
            program_of(Shape(**{name: other.get(name, getattr(shape, name)) for name in shape.__dataclass_fields__}))
