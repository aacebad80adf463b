"""What kernels of pipelines do with a chunk of rows, against a few lines of Python each."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st
from weftdb.engine.kernels.pieces import divided, keep_seen, magic_of, places_of, shift_of
from weftdb.engine.overlay import bits_of


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
