"""The joined sides of a star: small relations in which a kernel looks up each row of the large table.

    rows of a side (Arrow) ─ built ─► from key to place, and columns by place: addresses, as arguments of the kernel

Keys are integers, several of them packed into one, the sum of (value - least) * stride. Where their range is small
there is a bit for each possible key, and a key's place is the number of bits below its own (16 bytes for 64 possible
keys, so that most of it stays in the cache); else it is a place in a hash table. The place behind the last has NULL in
every column: that of a row without a partner, where the join keeps it.

Always true: a side has each of its keys once, but for "semi" and "anti", else ``NotCovered``; NULL is nobody's partner.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa

from ...base.types import Kind, Type, bare
from ...storage.column_values import fixed_of
from ..kernels.pieces import place_all, put_ranks, ranks_of
from .bounds import Bounds
from .describe import FLOATS, INTEGERS, TEXTS
from .shape import NotCovered, Side

SPAN_MAX: Final = 1 << 26
"""Possible keys that have a bit: 16 MiB with what is set before each word of them."""
SPARSE: Final = 1 << 12
"""So many possible keys for one that there is are as good as hashing: a cache line for each look-up in both."""

_FAR: Final = 1 << 62


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """``values`` by place (int64, or the bits of floats); ``valid`` (uint8) None: never NULL."""

    values: np.ndarray
    valid: np.ndarray | None
    bounds: Bounds
    texts: pa.Array | None
    """Of a text, what its numbers stand for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """``table``: of places. ``keys``: least value, size and stride of each."""

    hashed: bool
    table: np.ndarray
    places: int
    none: int
    keys: tuple[tuple[int, int, int], ...]
    columns: tuple[Column, ...]
    rows_count: int
    has_null: bool

    @property
    def arguments(self) -> list[int]:
        """As ``generate`` reads them; see ``shape.Probe``."""
        addresses = [
            0 if array is None else array.ctypes.data
            for column in self.columns
            for array in (column.values, column.valid)
        ]
        return [
            self.table.ctypes.data,
            len(self.table) - 1 if self.hashed else self.places,
            self.none,
            *(number for key in self.keys for number in key),
            *addresses,
        ]

    @property
    def bytes_count(self) -> int:
        arrays = [array for column in self.columns for array in (column.values, column.valid) if array is not None]
        return self.table.nbytes + sum(array.nbytes for array in arrays)


def built(rows: pa.Table, side: Side) -> Built:
    """The side of these rows, keys first. Raises NotCovered."""
    keys: list[np.ndarray] = []
    there: np.ndarray | None = None
    for number, key in enumerate(side.keys):
        values, valid = _integers(rows.column(number), key.type)
        keys.append(values)
        if valid is not None:
            there = valid if there is None else there & valid
    has_null = there is not None and not there.all()
    if has_null:
        keys = [values[there] for values in keys]
    packing, span, packed = _packed(keys)
    count = len(packed)
    hashed = span > SPAN_MAX or span > max(count, 1) * SPARSE
    if hashed:
        table = np.zeros(1 << max((2 * count).bit_length(), 4), np.int64)
        used, at = np.zeros(1, np.int64), np.empty(count, np.int64)
        place_all(table, packed + 1, used, at)
        different, places = int(used[0]), len(table)
    else:
        table = np.zeros((span // 64 + 1, 2), np.uint64)
        different = places = int(put_ranks(packed, table))
        if (packed[1:] > packed[:-1]).all():
            at = slice(count)
        else:
            at = np.empty(count, np.int64)
            ranks_of(packed, table, at)
    if side.kind in ("inner", "left") and different != count:
        raise NotCovered("a joined side has a key twice")
    columns = tuple(
        _column(
            rows.column(len(side.keys) + number), type, at, places, chosen=there if has_null else None, kind=side.kind
        )
        for number, (_, type) in enumerate(side.columns)
    )
    return Built(
        hashed=hashed,
        table=table,
        places=span,
        none=places,
        keys=packing,
        columns=columns,
        rows_count=count,
        has_null=has_null,
    )


def _packed(keys: list[np.ndarray]) -> tuple[tuple[tuple[int, int, int], ...], int, np.ndarray]:
    """Least value, size and stride of each key; how many packed ones are possible; those that there are."""
    if not len(keys[0]):
        return tuple((0, 0, 1) for _ in keys), 0, np.empty(0, np.int64)
    stride = 1
    found: list[tuple[int, int, int]] = []
    packed: np.ndarray | None = None
    for values in keys:
        low, high = int(values.min()), int(values.max())
        if low <= -_FAR or high >= _FAR:
            raise NotCovered("a joined key is too large")
        found.append((low, high - low + 1, stride))
        packed = values - low if packed is None else packed + (values - low) * stride
        stride *= high - low + 1
        if stride >= _FAR:
            raise NotCovered("joined keys have too many values")
    assert packed is not None, "a side has keys"
    return tuple(found), stride, packed


_WORDS: Final = INTEGERS | FLOATS | {Kind.BOOLEAN}


def _column(
    rows: pa.ChunkedArray, type: Type, at: np.ndarray | slice, places: int, *, chosen: np.ndarray | None, kind: str
) -> Column:
    texts = None
    if type.kind in TEXTS:
        codes: Any = bare(rows.combine_chunks()).dictionary_encode()
        texts = codes.dictionary
        values = codes.indices.fill_null(0).to_numpy(zero_copy_only=False).astype(np.int64)
        valid = np.asarray(codes.is_valid()) if rows.null_count else None
    elif type.kind in _WORDS:
        values, valid = _integers(rows, type)
    else:  # kernels ask only whether there is one
        values, valid = np.zeros(len(rows), np.int64), np.asarray(rows.is_valid()) if rows.null_count else None
    if chosen is not None:
        values, valid = values[chosen], None if valid is None else valid[chosen]
    by_place = np.zeros(places + 1, np.int64)
    by_place[at] = values
    there = None
    if kind == "left" or (valid is not None and not valid.all()):
        there = np.zeros(places + 1, np.uint8)
        there[at] = 1 if valid is None else valid
    seen = values if valid is None else values[valid]
    bounds = (0, 1) if type.kind in FLOATS or not len(seen) else (int(seen.min()), int(seen.max()))
    return Column(values=by_place, valid=there, bounds=bounds, texts=texts)


def _integers(rows: pa.ChunkedArray, type: Type) -> tuple[np.ndarray, np.ndarray | None]:
    """Values as int64, floats by their bits, and where there are some (bool). Raises NotCovered beyond 64 bits."""
    found = np.empty(len(rows), np.int64)
    there = np.ones(len(rows), np.bool_) if rows.null_count else None
    start = 0
    for chunk in rows.chunks:
        fixed = fixed_of(chunk, type)
        values: np.ndarray = fixed.values
        into = found[start : start + len(values)]
        if values.ndim == 2:
            into[:] = values[:, 0].view(np.int64)
            wide = values[:, 1].view(np.int64) != into >> 63
            if (wide if fixed.valid is None else wide & fixed.valid.view(np.bool_)).any():
                raise NotCovered("a number of a joined side is too large")
        else:
            into[:] = values.view(f"i{values.itemsize}") if type.kind in FLOATS else values
        if there is not None and fixed.valid is not None:
            there[start : start + len(values)] = fixed.valid.view(np.bool_)
        start += len(values)
    if there is not None:
        found[~there] = 0
    return found, there


__all__ = ["SPAN_MAX", "Built", "Column", "built"]
