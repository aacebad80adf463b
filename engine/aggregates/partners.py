"""Rows that groups are joined with: a small relation, looked up by its key.

    rows of a side, keys first ─ encoded, numbered ─► slots
    batch of groups or rows ─ its keys encoded ─ looked up ─► its columns, and those of the partners

Keys are compared as encoded (engine/key_encoding.py), so by value: -0.0 is 0.0, NaN equals itself, as in ``=`` of SQL.
NULL is nobody's partner: rows of the side whose key has one are left out, and no key of a batch that has one is there.

Always true: a batch that comes back has no row twice; for "inner" and "left" the side has each of its keys once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from ...base.types import Type
from ...storage.column_values import values_of
from ..kernels.numbering import look_up, number
from ..key_encoding import KeyEncoder, Keys
from ..pipeline.shape import NotCovered
from ..schema import Column


class Partners:
    """``kind``, ``null_matters``: as ``engine.pipeline.shape.Side``. ``types``: of the keys, the first columns of
    ``rows``; ``names``: what batches call the others. Raises NotCovered where a key is there twice.
    """

    def __init__(
        self, rows: pa.Table, *, kind: str, types: Sequence[Type], names: Sequence[str], null_matters: bool
    ) -> None:
        assert len(types) == 1 or not null_matters, "NOT IN of rows is another matter"
        self.kind, self.names, self.null_matters = kind, tuple(names), null_matters
        self._types = tuple(types)
        self._encoder = KeyEncoder([Column(id=n, name=str(n), type=type) for n, type in enumerate(types, 1)])
        columns = [column.combine_chunks() for column in rows.columns]
        there = _none_is_null(columns[: len(types)], rows.num_rows)
        self._is_empty, self._has_null = not rows.num_rows, not there.all()
        if self._has_null:
            columns = [column.filter(pa.array(there)) for column in columns]
        self._columns = columns[len(types) :]
        self._keys = self._encoded(columns[: len(types)], int(there.sum()))
        count = len(self._keys)
        self._slots = np.zeros(1 << max(2 * count - 1, 1).bit_length(), np.int64)
        self._firsts = np.empty(count, np.int64)
        keys, numbers = self._keys, np.empty(count, np.int64)
        found = number(keys.words, keys.offsets, keys.width, keys.hashes, self._slots, numbers, self._firsts)
        if found < count and kind in ("inner", "left"):
            raise NotCovered("a joined side has a key twice")

    def joined(self, batch: pa.RecordBatch, keys: Sequence[pa.Array]) -> pa.RecordBatch:
        """The rows of a batch that the join leaves, with their partners' columns. ``keys``: of each of its rows."""
        count = batch.num_rows
        places = self._places(keys, count)
        there = places >= 0
        match self.kind:
            case "semi":
                return _kept(batch, there)
            case "anti":
                return _kept(batch, self._absent(there, keys))
            case "inner":
                batch, places = _kept(batch, there), places[there]
                indices = pa.array(places)
            case _:
                indices = pa.array(places, mask=~there)
        columns = [*batch.columns, *(column.take(indices) for column in self._columns)]
        return pa.RecordBatch.from_arrays(columns, names=[*batch.schema.names, *self.names])

    def _absent(self, there: np.ndarray, keys: Sequence[pa.Array]) -> np.ndarray:
        """Of which rows it is certain that they have no partner."""
        if not self.null_matters or self._is_empty:
            return ~there
        if self._has_null:
            return np.zeros(len(there), np.bool_)
        return ~there & _none_is_null(keys, len(there))

    def _places(self, keys: Sequence[pa.Array], count: int) -> np.ndarray:
        known, own = self._keys, self._encoded(keys, count)
        places = np.empty(count, np.int64)
        others = (known.words, known.offsets, known.width, known.hashes, self._slots, self._firsts)
        look_up(*others, own.words, own.offsets, own.hashes, places)
        return places

    def _encoded(self, keys: Sequence[pa.Array], count: int) -> Keys:
        values = [values_of(key, type) for key, type in zip(keys, self._types, strict=True)]
        return self._encoder.encode(values, count=count)


def _none_is_null(keys: Sequence[pa.Array], count: int) -> np.ndarray:
    there = np.ones(count, np.bool_)
    for key in keys:
        if key.null_count:
            there &= key.is_valid().to_numpy(zero_copy_only=False)
    return there


def _kept(batch: pa.RecordBatch, rows: np.ndarray) -> pa.RecordBatch:
    return batch if rows.all() else batch.filter(pa.array(rows))


__all__ = ["Partners"]
