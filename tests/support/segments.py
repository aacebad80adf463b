"""Writing small segments in memory, and values as plain lists to compare."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from weftdb.base.types import Type
from weftdb.storage.column_values import Values, VariableValues
from weftdb.storage.encoding import count_of
from weftdb.storage.segment import SectionRef, SegmentWriter

Column = tuple[Type, Values, VariableValues | None]
"""Type, values or codes, dictionary."""


class Buffer:
    """A file in memory."""

    def __init__(self) -> None:
        self.data = bytearray()

    @property
    def position(self) -> int:
        return len(self.data)

    def write(self, data: memoryview, /) -> None:
        self.data += data


def pieces_of(values: Values, rows: int) -> Iterator[Values]:
    """Values in pieces of ``rows``."""
    for start in range(0, count_of(values), rows):
        yield values.take(np.arange(start, min(start + rows, count_of(values))))


def write(
    columns: Mapping[int, Column], *, rows: int, block_rows: int = 64, piece: int = 128, out: Buffer | None = None,
    **indexes: np.ndarray,
) -> tuple[bytes, SectionRef]:  # fmt: skip
    """The section of a segment, and where it is in ``out``."""
    out = out or Buffer()
    start = out.position
    writer = SegmentWriter(out, rows_count=rows, block_rows=block_rows)
    for id, (type, values, dictionary) in columns.items():
        writer.column(id, type, pieces_of(values, piece), dictionary=dictionary)
    writer.index(**indexes)
    section = writer.finish()
    assert (section.offset, section.offset + section.length) == (start, out.position)
    return bytes(out.data[start:]), section


def listed(values: Values) -> list[Any]:
    """Integers (of floats, their bits), pairs of words, or bytes; None where NULL. As ``naive_segment`` gives them."""
    found: list[Any]
    if isinstance(values, VariableValues):
        offsets = values.offsets.tolist()
        found = [values.data[a:b].tobytes() for a, b in itertools.pairwise(offsets)]
    elif values.values.ndim == 2:
        found = [tuple(pair) for pair in values.values.tolist()]
    else:
        array = values.values
        if array.dtype.kind == "f":
            array = array.view(f"i{array.itemsize}")
        found = array.tolist()
    if values.valid is None:
        return found
    return [value if there else None for value, there in zip(found, values.valid.tolist(), strict=True)]
