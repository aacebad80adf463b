"""A filter asked of rows in segments, condition by condition, as they are stored: exact where it knows, else left.

    action = 'cart'       one column of text      asked of its dictionary, of rows by their codes
    at < …                integers and times      asked of zones; of numbers, if it is not true of all in these
    lower(s) LIKE x       all else                left, to be asked of rows that are decoded

A condition that fails for a text is left, since perhaps no row has that text. sieve.py asks less exactly, of more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ..base.types import Kind, Type
from ..storage.column_values import FixedValues, VariableValues, array_of, width_of
from .expression.node import Expression
from .expression.tree import all_of, conjuncts
from .join_keys import KeySet
from .layout import Layout
from .prune import column_ids
from .schema import Column
from .segment import Segment
from .sieve import true_of, within
from .zones import ColumnTest, comparison, place_range, zone_test

SAME_BYTES: Final = 4_096
"""Dictionaries of so many bytes are looked for among those of other segments: mostly these have the same texts."""

_NUMBERS: Final = frozenset(
    (Kind.SMALLINT, Kind.INTEGER, Kind.BIGINT, Kind.DATE, Kind.TIME, Kind.TIMESTAMP, Kind.TIMESTAMPTZ)
)
"""Kinds whose stored numbers are their places, all of which can be told apart."""

Read = Callable[[Column], FixedValues]
"""The values of a column in the rows at hand: as stored, or codes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Texts:
    """Of what a condition is true: of the texts with these codes, and whether of NULL."""

    codes: KeySet
    null: bool


class Conditions:
    """Those of one filter over one table."""

    __slots__ = ("_known", "_parts")

    def __init__(self, filter: Expression, layout: Layout) -> None:
        self._parts = [(part, *_asked_of(part, layout)) for part in conjuncts(filter)]
        self._known: dict[Any, _Texts | None] = {}

    def ask(
        self, segment: Segment, read: Read, *, count: int, run: tuple[int, int] | None = None
    ) -> tuple[np.ndarray | None, Expression | None]:
        """Which of ``count`` rows can pass (bool[count]; None: all), and what is left to be asked of those.

        ``run``: the rows are those from one to another.
        """
        mask: np.ndarray | None = None
        left: list[Expression] = []
        for place, (part, column, test) in enumerate(self._parts):
            asked: ColumnTest | _Texts | None = None
            if column is not None and column.id in segment.description.columns:
                asked = test or self._texts_of(segment, column, place, count)
            if column is None or asked is None:
                left.append(part)
                continue
            if run is not None and isinstance(asked, ColumnTest) and _is_true_of_all(asked, segment, *run):
                continue
            true = _true_of(read(column), asked)
            mask = true if mask is None else mask & true
        return mask, all_of(left)

    def _texts_of(self, segment: Segment, column: Column, place: int, count: int) -> _Texts | None:
        """Of which texts of a segment's dictionary a condition is true; None: rows are to be asked."""
        dictionary = segment.reader.dictionary(column.id)
        if dictionary is None or len(dictionary.offsets) - 1 > count:
            return None
        small = dictionary.data.nbytes <= SAME_BYTES
        key = (place, dictionary.offsets.tobytes(), dictionary.data.tobytes()) if small else (place, segment)
        if key not in self._known:
            self._known[key] = _texts(self._parts[place][0], dictionary, column)
        return self._known[key]


def _true_of(values: FixedValues, asked: ColumnTest | _Texts) -> np.ndarray:
    """Of which rows a condition is true: bool[n]."""
    if isinstance(asked, ColumnTest):
        true = within(asked, values.values)
        return true if values.valid is None else true & values.valid.view(np.bool_)
    true = np.ones(len(values.values), np.bool_)
    if not asked.null:
        asked.codes.keep(values, true)
        return true
    asked.codes.keep(FixedValues(values.values, None), true)
    return true if values.valid is None else true | ~values.valid.view(np.bool_)


def _asked_of(part: Expression, layout: Layout) -> tuple[Column | None, ColumnTest | None]:
    """The one column of text or numbers that a condition reads, and what it asks of numbers."""
    ids = column_ids(part)
    column = layout.by_id[next(iter(ids))] if len(ids) == 1 else None
    if column is None or column.type.is_text:
        return column, None
    found = comparison(part) if column.type.kind in _NUMBERS else None
    if found is None or not all(_is_one_place(constant.value, column.type) for constant in found[2]):
        return None, None
    test = zone_test(part, lambda _: column.type)
    return (column, test) if isinstance(test, ColumnTest) else (None, None)


def _is_one_place(value: Any, type: Type) -> bool:
    """Whether the constant has a place of its own, with others below and above."""
    low, high, exact = place_range(value, type) or (0, 0, False)
    return exact and low == high


def _is_true_of_all(test: ColumnTest, segment: Segment, start: int, stop: int) -> bool:
    """Whether the zones of the blocks from row ``start`` to ``stop`` say that all rows pass."""
    size = segment.reader.block_rows
    blocks = segment.reader.directory(test.id)[start // size : -(-stop // size)]
    if blocks["nulls"].any():
        return False
    low, high = blocks["low"].min(), blocks["high"].max()
    return bool(((test.lows <= low) & (high <= test.highs)).any())


def _texts(part: Expression, dictionary: VariableValues, column: Column) -> _Texts | None:
    """Of which texts a condition is true; None where it fails for one."""
    texts = array_of(dictionary, column.type)
    true = true_of(part, pa.concat_arrays([texts, pa.nulls(1, texts.type)]))
    if true is None:
        return None
    found = KeySet.of([np.flatnonzero(true[:-1])])
    return None if found is None else _Texts(codes=found, null=bool(true[-1]))


def dtype_asked(column: Column) -> np.dtype:
    """As what ``Conditions.ask`` reads a column: codes, or numbers as they are."""
    return np.dtype(f"i{width_of(column.type)}")


__all__ = ["Conditions", "dtype_asked"]
