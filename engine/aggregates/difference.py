"""What rows add to a view: to its groups, and to the counts of the values in them (values.py), grouped together.

    rows ─ where, keys ─► group of each row ─► states per group
                                 └─ where, arguments ─► (group, value) of each row ─► count per value

A value is told apart from others by its group's number, not by its group's key, and it is known of which group each is.
It comes to the same as grouping by the keys and the value (``Grouper.change_of`` of ``Maintained.value_views``).

The pieces of a difference are differences with different groups, each with all of its values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa

from ...base.types import BIGINT
from ..expression.evaluate import evaluate
from ..numbered import numbered
from .accumulators import Sort, partial
from .definition import Maintained


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """``groups``: a change of the groups (groups.py), each once. ``values``: for each of the view's ``value_views`` one
    of theirs; ``places``: of each value the place of its group in ``groups`` (int64[n]).
    """

    groups: pa.RecordBatch
    values: tuple[pa.RecordBatch, ...] = ()
    places: tuple[np.ndarray, ...] = ()

    @property
    def bytes_count(self) -> int:
        return sum(batch.nbytes for batch in (self.groups, *self.values)) + sum(each.nbytes for each in self.places)


def difference_of(view: Maintained, rows: pa.RecordBatch, signs: np.ndarray | int) -> Difference:
    """Of rows that come (+1) and go (-1; int8[n], or one for all). Columns are named by identifier."""
    rows, signs = view.grouper.kept(rows, signs)
    groups, numbers = view.grouper.change_of_kept(rows, signs)
    values: list[pa.RecordBatch] = []
    places: list[np.ndarray] = []
    for part in view.value_views:
        change, of = _values_of(part, rows, signs, groups.columns[: len(view.keys)], numbers)
        values.append(change)
        places.append(of)
    return Difference(groups, tuple(values), tuple(places))


def combined(view: Maintained, differences: Sequence[Difference]) -> Difference:
    """Several as one."""
    if len(differences) == 1:
        return differences[0]
    starts = np.cumsum([0, *(difference.groups.num_rows for difference in differences)])
    groups, numbers = view.grouper.fold(pa.concat_batches([difference.groups for difference in differences]))
    values: list[pa.RecordBatch] = []
    places: list[np.ndarray] = []
    for place, part in enumerate(view.value_views):
        whole = pa.concat_batches([difference.values[place] for difference in differences])
        of = [difference.places[place] + start for difference, start in zip(differences, starts[:-1], strict=True)]
        groups_of = numbers[np.concatenate(of)]
        arguments = whole.columns[len(view.keys) : -1]
        each, firsts = _numbered(part, groups_of, arguments)
        values.append(part.grouper.sums_of(whole, each, pa.array(firsts)))
        places.append(groups_of[firsts])
    return Difference(groups, tuple(values), tuple(places))


def pieces(difference: Difference, *, rows_max: int) -> Iterator[Difference]:
    """Pieces of about ``rows_max`` groups and values; a group stays whole."""
    count = difference.groups.num_rows
    if count + sum(batch.num_rows for batch in difference.values) <= rows_max:
        yield difference
        return
    sizes = sum((np.bincount(each, minlength=count) for each in difference.places), np.ones(count, np.int64))
    of = (np.cumsum(sizes) - 1) // rows_max
    of = np.cumsum(np.diff(of, prepend=of[0]) != 0)  # of each group the number of its piece
    bounds = np.searchsorted(of, np.arange(int(of[-1]) + 2)).tolist()
    values = [_sorted(*each, of, bounds) for each in zip(difference.values, difference.places, strict=True)]
    for start, stop, *own in zip(bounds, bounds[1:], *values, strict=False):
        groups = difference.groups.slice(start, stop - start)
        yield Difference(groups, tuple(batch for batch, _ in own), tuple(places for _, places in own))


def _sorted(
    values: pa.RecordBatch, places: np.ndarray, of: np.ndarray, bounds: Sequence[int]
) -> Iterator[tuple[pa.RecordBatch, np.ndarray]]:
    """The values of piece after piece, and their groups' places in it."""
    order, ends = sorted_by(of[places], len(bounds) - 1)
    values, places = values.take(pa.array(order)), places[order]
    for start, (low, high) in zip(bounds, pairwise(ends), strict=False):
        yield values.slice(low, high - low), places[low:high] - start


def sorted_by(numbers: np.ndarray, count: int) -> tuple[np.ndarray, Sequence[int]]:
    """The order (int64[n]) of rows by their numbers, below ``count``, else as they are; and where each number begins,
    and behind the last. Few numbers are sorted without comparing.
    """
    narrow = numbers.astype(np.uint16, copy=False) if count <= 1 << 16 else numbers
    ends = np.cumsum(np.bincount(narrow, minlength=count))
    return np.argsort(narrow, kind="stable"), [0, *ends.tolist()]


def _values_of(
    part: Maintained, rows: pa.RecordBatch, signs: np.ndarray | int, keys: Sequence[pa.Array], numbers: np.ndarray
) -> tuple[pa.RecordBatch, np.ndarray]:
    """A change of the values in rows, whose groups have these ``numbers`` and, each once, these ``keys``; and the
    groups of the values.
    """
    if (counting := part.grouper.mask(rows)) is not None:
        mask = counting.to_numpy(zero_copy_only=False)
        rows, numbers = rows.filter(counting), numbers[mask]
        signs = signs if isinstance(signs, int) else signs[mask]
    ids = [int(name) for name in rows.schema.names]
    arguments = [evaluate(argument, rows, column_ids=ids) for argument in part.keys[len(keys) :]]
    each, firsts = _numbered(part, numbers, arguments)
    groups, first_rows = numbers[firsts], pa.array(firsts)
    counts = partial(Sort.COUNT, groups=each, count=len(firsts), values=None, kept=None, signs=signs)
    columns = [key.take(pa.array(groups)) for key in keys] + [argument.take(first_rows) for argument in arguments]
    return part.grouper.batch([*columns, *counts]), groups


def _numbered(
    part: Maintained, groups: np.ndarray, arguments: Sequence[pa.Array]
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """The number of each (group, value), and the first row of each number."""
    types = [key.type for key in part.keys[len(part.keys) - len(arguments) :]]
    return numbered([pa.array(groups), *arguments], [BIGINT, *types], len(groups))
