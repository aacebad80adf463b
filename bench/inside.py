"""What the benchmarks ask the engine for beyond the public interface: to finish its background work, and sizes.

Everything else goes through ``weftdb`` as a user's program does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from weftdb.engine.inventory import bytes_of
from weftdb.sql.resources import resources_of
from weftdb.sql.session import Session

_HIDDEN: Final = {0: "row id", -1: "begin version", -2: "delta flags", None: "segment"}


def seal(database: Any) -> None:
    """Wait until every acknowledged row lies in a segment and the log is trimmed."""
    database.engine.flush()


def settle(database: Any) -> None:
    """``seal``, and merge until compaction finds nothing more to merge, but for what waits for ``rest``."""
    seal(database)
    while database.engine.maintenance.compact_once(cold=False):
        pass


def rest(database: Any) -> None:
    """What the database does by itself after a minute without commits: merges that could wait, the log's room back."""
    database.engine.maintenance.rest()


def session(database: Any, settings: Mapping[str, str]) -> Session:
    """One that keeps its settings from statement to statement, as a client's connection does."""
    return Session(database.engine, settings=settings)


def await_kernels(database: Any, *, seconds: float = 600) -> None:
    """Until no kernel of a pipeline is being compiled."""
    pending = "SELECT count(*) FROM weft_kernels WHERE state IN ('waiting', 'compiling')"
    deadline = time.monotonic() + seconds
    while database.execute(pending).scalar() and time.monotonic() < deadline:
        time.sleep(0.2)


def metrics(database: Any) -> dict[str, float]:
    """``weft_metrics``, by name."""
    return {name: float(value) for name, value in database.execute("SELECT name, value FROM weft_metrics").rows()}


def lift(database: Any, text: str) -> object:
    """What the plan cache finds out about a text that it has not seen: its literals become parameters."""
    return resources_of(database.engine).lifted(text)


def find_plan(session: Any, text: str) -> object:
    """What is looked up to run a text without parameters that was run before: the plan."""
    script = session.resources.script(text)
    settings = session.settings
    return script.plan_for((), settings.get("timezone"), settings.get("weft.tier"), settings.match_views)


def columns_of(database: Any, table: str) -> list[tuple[str, str, int, int]]:
    """Column, encoding, blocks and bytes, summed over all segments of a table; largest first."""
    found: dict[tuple[str, str], list[int]] = {}
    for store in database.engine._state.stores.values():
        if store.table.name != table:
            continue
        names = {**_HIDDEN, **{column.id: column.name for column in store.table.columns}}
        for segment in store.segments:
            for size in segment.reader.sizes():
                sums = found.setdefault((names[size.column], size.encoding), [0, 0])
                sums[0] += size.blocks
                sums[1] += size.bytes
    rows = [(column, encoding, blocks, size) for (column, encoding), (blocks, size) in found.items() if size or blocks]
    return sorted(rows, key=lambda row: -row[3])


def segments_of(database: Any, table: str) -> list[int]:
    """How many segments each cell of a table has."""
    for store in database.engine._state.stores.values():
        if store.table.name == table:
            return [sum(1 for part in cell.parts if hasattr(part, "reader")) for cell in store.cells]
    return []


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """One internal table of a view: rows that live, bytes of all versions."""

    rows: int
    memory: int
    disk: int


def kept_of(database: Any, view: str) -> list[Kept]:
    """The internal tables of a view that is maintained: of its groups first, then of the different values in them."""
    state = database.engine._state
    stores = [state.stores[table.id] for table in state.catalog.relations[view].tables]
    return [
        Kept(rows=store.rows_count, memory=store.bytes_used, disk=sum(map(bytes_of, store.segments)))
        for store in stores
    ]


def versions_of(database: Any, view: str) -> int:
    """How many versions of rows the table of a view's groups keeps, ended ones included."""
    state = database.engine._state
    relation = state.catalog.relations[view]
    cells = state.stores[relation.maintained.id].cells
    return sum(_rows_kept(part) for cell in cells for part in cell.parts)


def _rows_kept(part: Any) -> int:
    """Rows of a part, ended ones included: a memtable counts those that live."""
    return part.rows_count if hasattr(part, "reader") else sum(chunk.count for chunk in part.chunks)


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
