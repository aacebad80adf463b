"""What the benchmarks ask the engine for beyond the public interface: to finish its background work, and sizes.

Everything else goes through ``weftdb`` as a user's program does.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any


def seal(database: Any) -> None:
    """Wait until every acknowledged row lies in a segment and the log is trimmed."""
    engine = database.engine
    if hasattr(engine, "flush"):
        engine.flush()


def settle(database: Any) -> None:
    """``seal``, and wait until compaction has nothing left that it wants to merge."""
    seal(database)
    engine = database.engine
    if hasattr(engine, "compact"):
        engine.compact()


def metrics(database: Any) -> dict[str, float]:
    """``weft_metrics``, by name."""
    try:
        rows = database.execute("SELECT name, value FROM weft_metrics").rows()
    except Exception:
        return {}
    return {name: float(value) for name, value in rows}


def bytes_on_disk(folder: Path) -> dict[str, int]:
    """Bytes that the files of a folder take on the disk, by the first part of their names, ``segments`` for example.

    What a file takes, not how long it claims to be: the log's map has holes.
    """
    found: dict[str, int] = {}
    for file in folder.rglob("*"):
        if file.is_file():
            first = file.relative_to(folder).parts[0]
            found[first] = found.get(first, 0) + file.stat().st_blocks * 512
    return found
