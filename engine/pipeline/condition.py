"""A condition asked of the rows of a view: first of encoded values (sieve.py), then of the rows that are left."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from ...base.errors import WeftError
from ..expression.evaluate import Context, evaluate_filter
from ..expression.node import Call, Expression
from ..gather import batch_of
from ..layout import Layout
from ..projection import Projection
from ..prune import column_ids, conjuncts
from ..sieve import Sieve
from ..zones import comparison, place_range, zone_test
from .describe import INTEGERS
from .ranks import FEW, View
from .shape import NotCovered


class Condition:
    """Both methods raise NotCovered where it fails."""

    def __init__(self, expression: Expression, layout: Layout) -> None:
        self._expression = expression
        self._layout = layout
        self.columns = [layout.by_id[id] for id in sorted(column_ids(expression))]
        self._sieves: dict[int, tuple[Sieve, bool]] = {}

    def passing(self, view: View, rows: np.ndarray | None) -> np.ndarray:
        """Those of the rows of a view for which it is true; ``rows`` None: all."""
        if rows is None or len(rows) * FEW > view.count:
            mask, is_exact = self._sieve(view)
            if mask is not None:
                if rows is not None:
                    mask = mask[rows]
                kept = np.flatnonzero(mask)
                rows = kept if rows is None else rows[kept]
                if is_exact:
                    return rows
        if rows is not None and not len(rows):
            return rows
        batch = batch_of(
            [view.array(column, rows) for column in self.columns],
            Projection(self.columns).schema,
            view.count if rows is None else len(rows),
        )
        kept = np.flatnonzero(self.truth(batch))
        return kept if rows is None else rows[kept]

    def truth(self, batch: pa.RecordBatch) -> np.ndarray:
        """For which rows of a batch of its columns it is true (bool[n])."""
        ids = [column.id for column in self.columns]
        try:
            found = evaluate_filter(self._expression, batch, column_ids=ids, context=Context(now=0, parameters=()))
        except WeftError as error:
            raise NotCovered(f"the condition fails: {error.message}") from None
        return found.to_numpy(zero_copy_only=False)

    def _sieve(self, view: View) -> tuple[np.ndarray | None, bool]:
        """Which rows of a block of a segment can pass, None: nothing is known; and whether those are all that do."""
        segment, stretch = view.stretch.segment, view.stretch
        if segment is None or stretch.chosen is not None:
            return None, False
        if id(segment) not in self._sieves:
            there = [column for column in self.columns if column.id in segment.description.columns]
            coded = {
                column.id
                for column in there
                if column.type.is_text and segment.reader.dictionary(column.id) is not None
            }
            readable = {column.id for column in there if column.type.kind in INTEGERS and stretch.fits(column)} | coded
            test = zone_test(self._expression, lambda column: self._layout.by_id[column].type)
            sieve = Sieve(
                test, self._layout, filter=self._expression, readable=frozenset(readable), coded=frozenset(coded)
            )
            is_exact = all(_is_exact(part, readable - coded) for part in conjuncts(self._expression))
            self._sieves[id(segment)] = sieve, is_exact
        sieve, is_exact = self._sieves[id(segment)]
        if sieve.is_open:
            return None, False
        return sieve.mask(segment, lambda column: view.numbers(self._layout.by_id[column]), count=view.count), is_exact


def _is_exact(expression: Expression, numbers: set[int]) -> bool:
    """Whether zones of single values say all that a condition on these columns of numbers does."""
    if isinstance(expression, Call) and expression.function in ("and", "or"):
        return all(_is_exact(part, numbers) for part in expression.arguments)
    found = comparison(expression)
    if found is None or found[0].id not in numbers:
        return False
    places = [place_range(literal.value, found[0].type) for literal in found[2]]
    return all(place is not None and place[2] for place in places)
