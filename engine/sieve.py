"""Which rows of a segment can pass a filter, told from encoded values: numbers as stored, texts by their codes.

A sieve is the filter's zone test (zones.py) asked of single values. Like that it may let rows through for which the
filter is not true (of text it looks at eight bytes, of floats and of text without a dictionary at nothing), and never
holds one back: whoever reads through it evaluates the filter again.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Final

import numpy as np

from ..base.types import Kind
from ..storage.column_values import FixedValues
from ..storage.encoding import zone_of
from .layout import Layout
from .segment import Segment
from .zones import AllOf, AnyOf, ColumnTest, ZoneTest

Read = Callable[[int], FixedValues]
"""The values of a column in the rows at hand, by its identifier: as stored, unscaled, or codes."""

_EXACT: Final = frozenset(
    (Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.NUMERIC)
)
"""Kinds whose stored numbers are their places."""

_FEW_INTERVALS: Final = 8


class Sieve:
    """``readable``: the columns that can be asked of; of those in ``coded`` the codes are read."""

    def __init__(
        self, test: ZoneTest | None, layout: Layout, *, readable: frozenset[int], coded: frozenset[int]
    ) -> None:
        self._layout = layout
        self._coded = coded
        exact = {id for id in readable if layout.by_id[id].type.kind in _EXACT} | coded
        self._test = None if test is None else _known(test, exact)
        self._passing: dict[tuple[int, int], np.ndarray] = {}

    @property
    def is_open(self) -> bool:
        """Whether every row passes."""
        return self._test is None

    def mask(self, segment: Segment, read: Read) -> np.ndarray:
        """Which of the rows that ``read`` reads can pass: bool[n]."""
        assert self._test is not None, "an open sieve is not asked"
        return self._mask(self._test, segment, read)

    def _mask(self, test: ZoneTest, segment: Segment, read: Read) -> np.ndarray:
        match test:
            case ColumnTest():
                return self._column(test, segment, read(test.id))
            case AllOf(parts=parts):
                mask = self._mask(parts[0], segment, read)
                for part in parts[1:]:
                    if not mask.any():
                        break
                    mask &= self._mask(part, segment, read)
                return mask
            case AnyOf(parts=parts):
                return np.logical_or.reduce([self._mask(part, segment, read) for part in parts])

    def _column(self, test: ColumnTest, segment: Segment, values: FixedValues) -> np.ndarray:
        if test.id in self._coded:
            mask = self._of_codes(test, segment).take(values.values, mode="clip")
        else:
            mask = _within(test, values.values)
        if values.valid is not None:
            there = values.valid.view(np.bool_)
            mask &= there
            if test.nulls:
                mask |= ~there
        return mask

    def _of_codes(self, test: ColumnTest, segment: Segment) -> np.ndarray:
        """Which codes of a segment's dictionary can pass: bool[codes]."""
        key = id(segment), id(test)
        known = self._passing.get(key)
        if known is None:
            dictionary = segment.reader.dictionary(test.id)
            assert dictionary is not None, f"column {test.id} reads as codes"
            data, type = dictionary.data.tobytes(), self._layout.by_id[test.id].type
            texts = [data[low:high].decode() for low, high in pairwise(dictionary.offsets.tolist())]
            places = np.array([zone_of(type, text)[0] for text in texts] or [0], np.int64)
            known = self._passing[key] = _within(test, places)
        return known


def _known(test: ZoneTest, exact: set[int]) -> ZoneTest | None:
    """What of a test asks of these columns alone; None: nothing is known."""
    match test:
        case ColumnTest(id=id):
            return test if id in exact else None
        case AllOf() | AnyOf():
            found = [known for part in test.parts if (known := _known(part, exact)) is not None]
            if isinstance(test, AllOf):
                return AllOf(parts=tuple(found)) if found else None
            return AnyOf(parts=tuple(found)) if len(found) == len(test.parts) else None


def _within(test: ColumnTest, places: np.ndarray) -> np.ndarray:
    """Which integers lie in one of the test's intervals."""
    least, most = np.iinfo(places.dtype).min, np.iinfo(places.dtype).max
    pairs = [(low, high) for low, high in zip(test.lows.tolist(), test.highs.tolist(), strict=True)]
    pairs = [(max(low, least), min(high, most)) for low, high in pairs if high >= least and low <= most]
    if not pairs:
        return np.zeros(len(places), np.bool_)
    if len(pairs) > _FEW_INTERVALS:
        lows, highs = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
        first = np.minimum(np.searchsorted(highs, places), len(pairs) - 1)
        return (lows[first] <= places) & (places <= highs[first])
    mask: np.ndarray | None = None
    for low, high in pairs:
        if low == high:
            found = places == low
        else:
            found = places <= high if low == least else places >= low
            if low != least and high != most:
                found &= places <= high
        mask = found if mask is None else mask | found
    assert mask is not None, "there are intervals"
    return mask
