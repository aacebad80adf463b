"""The overlay of a segment against a dictionary from row to end."""

from __future__ import annotations

import threading
from unittest import mock

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from weftdb.engine import overlay as overlay_module
from weftdb.engine.maintenance import _carry as carry
from weftdb.engine.overlay import OPEN, Overlay


@given(
    layer_rows_min=st.sampled_from([1, 5, 1_024]),
    rows_count=st.integers(1, 300),
    commits=st.lists(st.lists(st.integers(0, 299), unique=True, max_size=40), max_size=12),
    truncate=st.none() | st.integers(0, 12),
    ranges=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300), st.integers(0, 14)), max_size=6),
)
@settings(max_examples=150, deadline=None)
def test_an_overlay_says_what_a_dictionary_says(
    layer_rows_min: int,
    rows_count: int,
    commits: list[list[int]],
    truncate: int | None,
    ranges: list[tuple[int, int, int]],
) -> None:
    with (
        mock.patch.object(overlay_module, "LAYER_ROWS_MIN", layer_rows_min),
        mock.patch.object(overlay_module, "PIECE_ROWS", 64),
    ):
        _compare(rows_count, commits, truncate, ranges)


def _compare(
    rows_count: int, commits: list[list[int]], truncate: int | None, ranges: list[tuple[int, int, int]]
) -> None:
    overlay, naive, rest = Overlay(rows_count), dict[int, int](), OPEN
    for version, rows in enumerate(commits, 1):
        rows = [row for row in rows if row < rows_count]
        expected = [row not in naive and rest == OPEN for row in rows]
        assert overlay.end(np.array([*rows, -1], np.int64), version).tolist() == [*expected, False]
        naive.update({row: version for row, fresh in zip(rows, expected, strict=True) if fresh})
        if truncate == version:
            assert overlay.end_rest(version) == rows_count - len(naive)
            rest = version
    every = np.arange(rows_count, dtype=np.int64)
    ends = [naive.get(row, rest) for row in range(rows_count)]
    assert overlay.ends_of(every).tolist() == ends
    assert overlay.last_end >= max([*naive.values(), 0 if rest == OPEN else rest])
    assert overlay.ended_count == sum(end != OPEN for end in ends)
    for first, second, version in ranges:
        start, stop = sorted((min(first, rows_count), min(second, rows_count)))
        mask = overlay.visible(version, start, stop)
        seen = [True] * (stop - start) if mask is None else mask.astype(bool).tolist()
        assert seen == [end > version for end in ends[start:stop]]
        assert _bits(overlay.hidden(version, start, stop), start, stop) == [end <= version for end in ends[start:stop]]
        at, when = overlay.items(version)
        assert dict(zip(at.tolist(), when.tolist(), strict=True)) == {r: e for r, e in naive.items() if e <= version}
        for low in (0, version // 2, version):
            found: list[tuple[int, int]] = []
            for rows, when in overlay.between(low, version):
                assert 0 < len(rows) <= 64
                assert (np.diff(rows) > 0).all()
                found += zip(rows.tolist(), when.tolist(), strict=True)
            assert sorted(found) == [(row, end) for row, end in enumerate(ends) if low < end <= version]
    assert overlay.ends_of(np.array([-1], np.int64)).tolist() == [rest]
    copy = Overlay(rows_count)
    copy.end_at(*overlay.items(OPEN))
    assert copy.items(OPEN)[0].shape == (len(naive),)
    assert copy.ends_of(every).tolist() == [naive.get(row, OPEN) for row in range(rows_count)]


def _bits(words: np.ndarray | None, start: int, stop: int) -> list[bool]:
    if words is None:
        return [False] * (stop - start)
    assert len(words) == (stop + 63) // 64 - start // 64 + 2
    bits = np.unpackbits(words.view(np.uint8), bitorder="little")
    return bits[start % 64 : start % 64 + stop - start].astype(bool).tolist()


def test_rows_that_end_together_take_a_bit_each() -> None:
    overlay = Overlay(1_000_000)
    rows = np.arange(0, 1_000_000, 5, dtype=np.int64)
    assert overlay.end(rows, 7).all()
    assert not overlay.end(rows[:10], 8).any()
    assert overlay.bytes_used < 300_000
    assert overlay.ended_count == len(rows)
    assert overlay.ends_of(np.array([0, 1, 5], np.int64)).tolist() == [7, OPEN, 7]
    mask = overlay.visible(7, 0, 10)
    assert mask is not None
    assert mask.tolist() == [0, 1, 1, 1, 1, 0, 1, 1, 1, 1]
    assert overlay.visible(6, 0, 10) is None
    restored = Overlay(1_000_000)
    restored.end_at(*overlay.items(OPEN))
    assert restored.bytes_used < 300_000


def test_what_a_merge_leaves_behind_ends_nothing_in_what_it_makes() -> None:
    """Else each version of the rows that history has forgotten costs a layer, and a look at all rows."""
    versions, together, living = 40, 2_000, 1_000
    old = Overlay(versions * together + living)
    for version in range(1, versions + 1):
        old.end(np.arange((version - 1) * together, version * together, dtype=np.int64), version)
    mapping = np.full(old.rows_count, -1, np.int32)
    kept = np.r_[versions * together - 10 : old.rows_count]  # ten rows of the last version, and those that live
    mapping[kept] = np.arange(len(kept))
    new = Overlay(len(kept))
    carry(old, mapping, new, rows_count=old.rows_count)
    assert new.ended_count == 10
    assert new.bytes_used < 2_000
    ends = new.ends_of(np.arange(len(kept), dtype=np.int64))
    assert ends.tolist() == [versions] * 10 + [OPEN] * living


def test_what_has_ended_is_collected_whole_while_the_writer_goes_on() -> None:
    """A merge carries ends over without a lock. It may miss ends that come meanwhile, and none that were there."""
    rows_count = 200_000
    overlay = Overlay(rows_count)
    early = np.arange(0, rows_count, 1_000, dtype=np.int64)
    overlay.end(early, 1)
    done = threading.Event()

    def write() -> None:
        rest = np.setdiff1d(np.arange(rows_count, dtype=np.int64), early)
        for version, rows in enumerate(np.array_split(rest, 2_000), 2):
            overlay.end(rows, version)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        rows, ends = overlay.items(OPEN)
        assert len(np.unique(rows)) == len(rows)
        assert np.isin(early, rows).all()
        assert (ends[np.isin(rows, early)] == 1).all()
    writer.join()
    assert len(overlay.items(OPEN)[0]) == rows_count
