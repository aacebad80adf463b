"""The tables of a segment's section as numpy reads them in place; docs/storage.md, "Segments", explains each field.

    blocks of column 1 | its dictionary | blocks of column 2 | … | index arrays | directory | footer

The footer is the column table, the index table, zeros up to a multiple of 64, and the tail. The directory's entries are
in kernels/blocks.py, since kernels read them. Whoever changes anything here changes the format.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xxhash

FORMAT: Final = 1
"""What this program writes, and the newest that it reads."""

MAGIC: Final = b"WeSG"
ALIGNMENT: Final = 64

COLUMN: Final = np.dtype(
    [
        ("id", "<i8"),
        ("physical", "u1"),
        ("order", "u1"),
        ("flags", "<u2"),
        ("codes", "<u4"),  # values of the dictionary
        ("nulls", "<u8"),
        ("offset", "<u8"),  # of the blocks
        ("length", "<u8"),
        ("directory", "<u8"),  # checksum of the column's part of the directory
        ("dictionary_offset", "<u8"),
        ("dictionary_length", "<u8"),
        ("dictionary_checksum", "<u8"),
        ("low", "<i8"),
        ("high", "<i8"),
        ("plain", "<u8"),  # bytes of the values without encoding
    ]
)

DICTIONARY: Final = 1
"""Flag of a column: its blocks hold codes."""

IN_PLACE: Final = 2
"""Flag of a column: its blocks are PLAIN or WIDE without NULLs, one after another, an array as it stands."""

INDEX: Final = np.dtype([("kind", "<u4"), ("zero", "<u4"), ("offset", "<u8"), ("length", "<u8"), ("checksum", "<u8")])

SAMPLE_WORDS: Final = 1
SAMPLE_OFFSETS: Final = 2
KEY_FILTER: Final = 3
PK_FILTER: Final = 4
SKETCHES: Final = 5
"""For each column: its identifier (int64), then the 256 registers of its sketch (storage/kernels/sketch.py)."""

SKETCH_WORDS: Final = 33
SKETCH_ROWS_MIN: Final = 1_024
"""A segment of fewer rows has no sketches: they would be larger than it."""

TAIL: Final = np.dtype(
    [
        ("magic", "S4"),
        ("format", "<u2"),
        ("zero", "<u2"),
        ("rows", "<u8"),
        ("blocks", "<u4"),
        ("block_rows", "<u4"),
        ("columns", "<u4"),
        ("indexes", "<u4"),
        ("directory", "<u8"),  # offset of the directory
        ("footer", "<u8"),  # offset of the column table, where the footer begins
        ("length", "<u8"),  # of the section
        ("checksum", "<u8"),  # of all of the footer before it
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SectionRef:
    """A section of a file. ``checksum`` is its footer's, and so depends on every byte."""

    offset: int
    length: int
    checksum: int


def checksum_of(data: Any) -> int:
    """xxh3_64; lets go of the interpreter for long data."""
    return xxhash.xxh3_64_intdigest(data)
