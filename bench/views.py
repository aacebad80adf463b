"""The materialized views over the events of ``data``, in the systems that keep them, and what they must come to.

    per_device    count and sum of amounts per device
    per_minute    the same per minute and kind
    extremes      least and greatest amount per device: WeftDB keeps all different amounts of a device beside them

WeftDB's are exact inside the commit. ClickHouse's are of AggregatingMergeTree, which gets their parts written by the
same insert as the rows. ``compare`` holds every view of every system to what its rows come to, computed anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import pyarrow as pa
from weftdb.bench.clickhouse import ClickHouseStore
from weftdb.bench.systems import Store, WrongAnswer
from weftdb.bench.weft import WEEKS, WeftStore

DEVICE: Final = "per_device"
MINUTE: Final = "per_minute"
EXTREMES: Final = "extremes"
KEYS: Final = {DEVICE: ("device",), MINUTE: ("minute", "kind"), EXTREMES: ("device",)}
_STATES: Final = {"n": "count", "total": "sum", "least": "min", "most": "max"}
"""What the columns of views are, as Arrow names it."""
_COLUMNS: Final = {DEVICE: ("n", "total"), MINUTE: ("n", "total"), EXTREMES: ("least", "most")}
_QUERIES: Final = {
    DEVICE: "SELECT device, count(*) AS n, sum(amount) AS total FROM events GROUP BY device",
    MINUTE: "SELECT time_bucket('1 minute', event_time) AS minute, kind, count(*) AS n, sum(amount) AS total"
    " FROM events GROUP BY 1, 2",
    EXTREMES: "SELECT device, min(amount) AS least, max(amount) AS most FROM events GROUP BY device",
}
_THEIRS: Final = {
    DEVICE: ("device", "device"),
    MINUTE: ("toStartOfMinute(event_time) AS minute, kind", "minute, kind"),
}
_SHORT: Final = {
    (): "no views",
    (DEVICE,): "per key",
    (MINUTE,): "per minute and kind",
    (EXTREMES,): "min and max per key",
}


class Aggregating(Store, Protocol):
    """A store that keeps ``views``."""

    views: tuple[str, ...]

    def groups(self, view: str) -> pa.Table:
        """The groups of a view: its keys and what is kept of them, in any order."""
        ...


class WeftViews(WeftStore):
    """WeftDB, with views that are made before the first row."""

    def __init__(self, *views: str, cells: str = WEEKS, **options: int | None) -> None:
        super().__init__(cells=cells, **options)
        self.views = views
        self.name = name_of("WeftDB", views)

    def open(self, folder: Path) -> None:
        super().open(folder)
        for view in self.views:
            make_view(self.database, view)

    def groups(self, view: str) -> pa.Table:
        return self.execute(f"SELECT * FROM {view}")

    @property
    def nanoseconds_per_row(self) -> float:
        """What its views have cost inside of commits since it was opened, together."""
        return self.database.execute("SELECT sum(nanoseconds_per_row) FROM weft_views").scalar() or 0.0


class ClickHouseViews(ClickHouseStore):
    """ClickHouse, with views of AggregatingMergeTree."""

    def __init__(self, *views: str) -> None:
        super().__init__(sync=True)
        self.views = views
        self.name = name_of("ClickHouse", views)

    def open(self, folder: Path) -> None:
        super().open(folder)
        for view in self.views:
            columns, keys = _THEIRS[view]
            self.execute(
                f"CREATE MATERIALIZED VIEW IF NOT EXISTS bench.{view} ENGINE = AggregatingMergeTree ORDER BY ({keys})"
                " SETTINGS fsync_after_insert = 1, fsync_part_directory = 1"
                f" AS SELECT {columns}, countState() AS n, sumState(amount) AS total FROM bench.events GROUP BY {keys}"
            )

    def groups(self, view: str) -> pa.Table:
        keys = ", ".join(KEYS[view])
        query = f"SELECT {keys}, countMerge(n) AS n, sumMerge(total) AS total FROM bench.{view} GROUP BY {keys}"
        found = self.execute(query)
        if view == MINUTE:  # seconds since 1970
            minutes = found["minute"].cast(pa.int64()).to_numpy() * 1_000_000
            found = found.set_column(0, "minute", pa.array(minutes).cast(pa.timestamp("us")))
        return found


def name_of(system: str, views: Sequence[str]) -> str:
    """What a system with these views is called in a report."""
    return f"{system}, {_SHORT.get(tuple(views), 'both views')}"


def make_view(database: Any, view: str) -> None:
    """CREATE MATERIALIZED VIEW."""
    database.execute(f"CREATE MATERIALIZED VIEW IF NOT EXISTS {view} AS {_QUERIES[view]}")


def recomputed(table: pa.Table, view: str) -> pa.Table:
    """What a view should show of these rows."""
    if view == MINUTE:
        microseconds = table["event_time"].cast(pa.int64()).to_numpy()
        minutes = pa.array(microseconds - microseconds % 60_000_000).cast(pa.timestamp("us"))
        table = table.append_column("minute", minutes)
    states = [_STATES[name] for name in _COLUMNS[view]]
    found = table.group_by(list(KEYS[view])).aggregate([("amount", state) for state in states])
    found = found.select([*KEYS[view], *(f"amount_{state}" for state in states)])
    return found.rename_columns([*KEYS[view], *_COLUMNS[view]])


def compare(system: str, view: str, found: pa.Table, wanted: pa.Table) -> None:
    """Raise WrongAnswer unless both have the same groups: sums to 1e-9, all else exactly."""
    order = [(key, "ascending") for key in KEYS[view]]
    found, wanted = found.sort_by(order), wanted.sort_by(order)
    for name in wanted.column_names:
        if name != "total" and not np.array_equal(_numbers(found[name]), _numbers(wanted[name])):
            raise WrongAnswer(f"{system}: {name} of {view} differs from that of the rows")
    if "total" not in wanted.column_names:
        return
    sums, expected = _numbers(found["total"]), _numbers(wanted["total"])
    if not np.allclose(sums, expected, rtol=1e-9, atol=0):
        place = int(np.argmax(np.abs(sums - expected)))
        raise WrongAnswer(f"{system}: a sum of {view} is {sums[place]}, that of the rows {expected[place]}")


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    if pa.types.is_timestamp(column.type):
        return column.cast(pa.timestamp("us")).cast(pa.int64()).to_numpy()
    return column.to_numpy()
