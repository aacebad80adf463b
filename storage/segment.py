"""Segments: the rows of one cell, sorted, column by column, immutable: written once as a stream, read in place.

    writer = SegmentWriter(file, rows_count=n)
    writer.column(7, BIGINT, pieces)            # pieces of Values, in row order
    writer.index(sample_words=..., ...)
    section = writer.finish()                   # where it is, and the checksum that the manifest keeps

    reader = SegmentReader.open(mapped[section.offset:][:section.length], name="000012.segments at 0")
    reader.read(7, BIGINT, 1_000, 2_000)        # decoded rows, one kernel call
    reader.take(7, BIGINT, rows)                # any rows in any order

A segment is one *section* of a file (a file has many), with a footer of its own and offsets of its own:

    blocks of column 1 | its dictionary | blocks of column 2 | … | index arrays | directory | column table |
    index table | tail

Always true: every byte of a section is covered by a checksum, or is padding (zeros) that ``check`` looks at. The tail
covers the tables, the tables the directory, dictionaries and index arrays, the directory the blocks. Opening verifies
the footer alone and parses nothing else; everything else is verified at first touch, and a thread that finds
``verified`` set may read without asking. Nothing of a section is ever written after ``finish``.

What this does not know: the meaning of columns, sort order, versions, visibility. docs/storage.md, "Segments", has the
format byte by byte; storage/kernels/blocks.py has the blocks.
"""

from __future__ import annotations

from .kernels.blocks import BLOCK_ROWS
from .segment_format import SectionRef
from .segment_reader import SegmentReader, Size
from .segment_writer import ColumnSize, Output, SegmentWriter, block_rows_for

__all__ = [
    "BLOCK_ROWS",
    "ColumnSize",
    "Output",
    "SectionRef",
    "SegmentReader",
    "SegmentWriter",
    "Size",
    "block_rows_for",
]
