"""Which rows of a segment can pass a filter, told from encoded values: numbers as stored, texts by their codes.

A sieve is the filter's zone test (zones.py) asked of single values, and what the filter says of one text column asked
of that column's dictionary. It may let rows through for which the filter is not true (of floats and of text without a
dictionary it knows nothing), and never holds one back: whoever reads through it evaluates the filter again.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterator, Sequence
from typing import Final, TypeVar

import numpy as np
import pyarrow as pa

from ..base.errors import WeftError
from ..base.types import Kind
from ..storage.column_values import FixedValues, array_of
from ..storage.encoding import zone_of
from .expression.node import Expression
from .join_keys import KeySet
from .layout import Layout
from .prune import column_ids, conjuncts
from .segment import Segment
from .zones import AllOf, AnyOf, ColumnTest, ZoneTest

T = TypeVar("T")

Read = Callable[[int], FixedValues]
"""The values of a column in the rows at hand, by its identifier: as stored, unscaled, or codes."""

_EXACT: Final = frozenset(
    (Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ, Kind.NUMERIC)
)
"""Kinds whose stored numbers are their places."""

_FEW_INTERVALS: Final = 8


class Sieve:
    """``readable``: the columns that can be asked of; of those in ``coded`` the codes are read.

    ``filter`` is what the test says less exactly.
    """

    def __init__(
        self,
        test: ZoneTest | None,
        layout: Layout,
        *,
        filter: Expression | None,
        readable: frozenset[int],
        coded: frozenset[int],
    ) -> None:
        self._layout = layout
        self._coded = coded
        exact = {id for id in readable if layout.by_id[id].type.kind in _EXACT} | coded
        texts = list(_of_texts(filter, layout))
        self._texts = [(id, part) for id, part in texts if id in coded]
        self._plain = [(id, part) for id, part in texts if id not in coded]
        self._test = _without(None if test is None else _known(test, exact), {id for id, _ in self._texts})
        self._passing: dict[tuple[int, int], KeySet] = {}

    @property
    def is_open(self) -> bool:
        """Whether every row passes."""
        return self._test is None and not self._texts

    @property
    def reads_texts(self) -> bool:
        """Whether ``keep_texts`` may hold rows back."""
        return bool(self._plain)

    def keep_texts(self, segment: Segment, start: int, stop: int, mask: np.ndarray) -> None:
        """Clear ``mask`` (bool[n]) where texts without a dictionary cannot pass. It costs reading them."""
        for id, part in self._plain:
            if id in segment.description.columns and mask.any():
                column = self._layout.by_id[id]
                mask &= _can_be_true_of(part, array_of(segment.values(column, start, stop), column.type))

    def mask(self, segment: Segment, read: Read, *, count: int) -> np.ndarray:
        """Which of the ``count`` rows that ``read`` reads can pass: bool[count]."""
        mask = np.ones(count, np.bool_) if self._test is None else self._mask(self._test, segment, read, count)
        for id, part in self._texts:
            if not mask.any():
                break
            self._among(segment, id, part, self._passing_texts).keep(read(id), mask)
        return mask

    def _mask(self, test: ZoneTest, segment: Segment, read: Read, count: int) -> np.ndarray:
        match test:
            case ColumnTest():
                return self._column(test, segment, read(test.id))
            case AllOf(parts=parts):
                mask = self._mask(parts[0], segment, read, count)
                for part in parts[1:]:
                    if not mask.any():
                        break
                    mask &= self._mask(part, segment, read, count)
                return mask
            case AnyOf(parts=parts):
                mask = np.zeros(count, np.bool_)
                for part in parts:
                    mask |= self._mask(part, segment, read, count)
                return mask

    def _column(self, test: ColumnTest, segment: Segment, values: FixedValues) -> np.ndarray:
        if test.id in self._coded:
            mask = np.ones(len(values.values), np.bool_)
            self._among(segment, test.id, test, self._passing_places).keep(values, mask)
        else:
            mask = within(test, values.values)
        if values.valid is not None:
            there = values.valid.view(np.bool_)
            mask &= there
            if test.nulls:
                mask |= ~there
        return mask

    def _among(self, segment: Segment, id: int, what: T, passing: Callable[[T, pa.Array], np.ndarray]) -> KeySet:
        """The codes of a segment's dictionary that can pass ``what``."""
        key = builtins.id(segment), builtins.id(what)
        known = self._passing.get(key)
        if known is None:
            dictionary = segment.reader.dictionary(id)
            assert dictionary is not None, f"column {id} reads as codes"
            texts = array_of(dictionary, self._layout.by_id[id].type)
            known = KeySet.of([np.flatnonzero(passing(what, texts))])
            assert known is not None, "codes lie close together"
            self._passing[key] = known
        return known

    def _passing_places(self, test: ColumnTest, texts: pa.Array) -> np.ndarray:
        type = self._layout.by_id[test.id].type
        return within(test, np.array([zone_of(type, text)[0] for text in texts.to_pylist()] or [0], np.int64))

    def _passing_texts(self, part: Expression, texts: pa.Array) -> np.ndarray:
        return _can_be_true_of(part, texts)


def _of_texts(filter: Expression | None, layout: Layout) -> Iterator[tuple[int, Expression]]:
    """The conditions on one column of text each, which is not NULL where they are true."""
    for part in () if filter is None else conjuncts(filter):
        ids = column_ids(part)
        if len(ids) == 1:
            (id,) = ids
            if layout.by_id[id].type.is_text and not _can_be_true_of(part, pa.nulls(1, pa.string()))[0]:
                yield id, part


def true_of(part: Expression, texts: pa.Array) -> np.ndarray | None:
    """Which texts a condition on one column is true of: bool[n]; None where it fails for one of them."""
    from .expression.evaluate import evaluate_filter

    batch = pa.RecordBatch.from_arrays([texts], names=["text"])
    try:
        return evaluate_filter(part, batch, column_ids=list(column_ids(part))).to_numpy(zero_copy_only=False)
    except WeftError:
        return None


def _can_be_true_of(part: Expression, texts: pa.Array) -> np.ndarray:
    """Which texts it can be true of: where it fails, whoever reads the rows is told, if one of them has that text."""
    true = true_of(part, texts)
    return np.ones(len(texts), np.bool_) if true is None else true


def _known(test: ZoneTest, exact: set[int]) -> ZoneTest | None:
    """What of a test asks of these columns alone; None: nothing is known."""
    match test:
        case ColumnTest(id=id):
            return test if id in exact else None
        case AllOf() | AnyOf():
            found = [known for part in test.parts if (known := _known(part, exact)) is not None]
            if isinstance(test, AllOf):
                return AllOf(parts=tuple(found)) if found else None
            return _factored(found) if len(found) == len(test.parts) else None


def _factored(tests: Sequence[ZoneTest]) -> ZoneTest:
    """One of the tests, with what all of them ask asked once: ``(a AND b) OR (a AND c)`` as ``a AND (b OR c)``."""
    branches = [list(test.parts) if isinstance(test, AllOf) else [test] for test in tests]
    common: list[ZoneTest] = []
    for part in branches[0] if len(branches) > 1 else ():
        places = [next((i for i, other in enumerate(branch) if _are_same(part, other)), None) for branch in branches]
        if all(place is not None for place in places):
            common.append(part)
            branches = [
                branch[:i] + branch[i + 1 :] for branch, i in zip(branches, places, strict=True) if i is not None
            ]
    rest = AnyOf(parts=tuple(AllOf(parts=tuple(branch)) for branch in branches))
    return AllOf(parts=(*common, rest)) if all(branches) else AllOf(parts=tuple(common))


def _are_same(one: ZoneTest, other: ZoneTest) -> bool:
    """Whether two tests of one column ask the same."""
    return (
        isinstance(one, ColumnTest)
        and isinstance(other, ColumnTest)
        and (one.id, one.nulls) == (other.id, other.nulls)
        and np.array_equal(one.lows, other.lows)
        and np.array_equal(one.highs, other.highs)
    )


def _without(test: ZoneTest | None, ids: set[int]) -> ZoneTest | None:
    """What of a test is more than conditions on these columns, each for itself."""
    match test:
        case ColumnTest(id=id, nulls=False) if id in ids:
            return None
        case AllOf():
            parts = tuple(known for part in test.parts if (known := _without(part, ids)) is not None)
            return AllOf(parts=parts) if parts else None
        case _:
            return test


def within(test: ColumnTest, places: np.ndarray) -> np.ndarray:
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
