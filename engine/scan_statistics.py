"""What a scan left out and what it did; EXPLAIN ANALYZE prints it (sql/explain.py)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True, kw_only=True)
class ScanStatistics:
    """``…_pruned`` of ``…_total`` were left out, settled once; ``…_read`` counts over all passes.

    Chunks are those of memtables; blocks are a segment's, 16,384 rows each. ``rows_read`` were visible and looked at.
    ``index``: that rows were found by, see index_scan.py.
    """

    cells_total: int = 0
    cells_pruned: int = 0
    cells_read: int = 0
    segments_total: int = 0
    segments_pruned: int = 0
    segments_read: int = 0
    blocks_total: int = 0
    blocks_pruned: int = 0
    blocks_read: int = 0
    chunks_total: int = 0
    chunks_pruned: int = 0
    chunks_read: int = 0
    rows_total: int = 0
    rows_read: int = 0
    rows_returned: int = 0
    passes: int = 0
    index: str | None = None
